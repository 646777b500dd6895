/* SPDX-License-Identifier: MIT */
/*
 * The switch, by registers and by swapcontext: most tests run with both.
 *
 * A side is a stack with what runs on it. Sides are switched as the scheduler switches stacks, with
 * the sanitizers told.
 */
#include "../support/support.h"

#include "base/system.h"
#include "core/context.h"
#include "core/fiber.h"
#include "core/sanitizer.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define SIDES_MAX 16
#define STACK_SIZE ((size_t) 256 * 1024)

struct side {
    struct uco__context context;
    struct uco__sanitizer sanitizer;
    char *stack;
    void (*body)(struct side *self);
    long count;
    int index;
};

static struct side home;
static struct side sides[SIDES_MAX];
static struct side *starting; /* the side whose stack is entered next */

static inline __attribute__((always_inline)) void
side_switch(struct side *from, struct side *to, bool ends)
{
    starting = to;
    uco__sanitizer_leave(&from->sanitizer, &to->sanitizer, ends);
    uco__context_switch(&from->context, &to->context);
    uco__sanitizer_arrive(&from->sanitizer);
}

/* A switch in a function of its own: its caller's values are in callee-saved registers. */
static UCO__NOINLINE void
side_call(struct side *from, struct side *to)
{
    side_switch(from, to, false);
}

static UCO__NO_SANITIZE void
side_entry(void)
{
#if defined(__x86_64__)
    __asm__ volatile(".cfi_undefined rip");
#elif defined(__aarch64__)
    __asm__ volatile(".cfi_undefined x30");
#endif
    uco__sanitizer_arrive(&starting->sanitizer);
    for (;;) {
        struct side *self = starting;

        self->body(self);
        side_switch(self, &home, false);
    }
}

static struct side *
side_new(void (*body)(struct side *self))
{
    static int used;
    struct side *side = &sides[used];
    void *stack;

    ck_assert_int_lt(used, SIDES_MAX);
    ck_assert_int_eq(uco__map(STACK_SIZE, &stack), 0);
    *side = (struct side){.stack = stack, .body = body, .index = used++};
    uco__context_init(&side->context, stack, STACK_SIZE, side_entry);
    uco__sanitizer_init(&side->sanitizer, stack, STACK_SIZE);
    return side;
}

static void
side_free(struct side *side)
{
    uco__sanitizer_done(&side->sanitizer);
    uco__unmap(side->stack, STACK_SIZE);
}

/* The way the loop's number says: 0 as this build and machine do it, 1 by swapcontext. */
static void
home_init(int way)
{
    uco__context_setup();
#if UCO__SWITCH_REGISTERS
    if (way == 1)
        uco__context_by_ucontext = true;
#endif
    (void) way;
    uco__sanitizer_init(&home.sanitizer, NULL, 0);
}

static void
body_count(struct side *self)
{
    for (;;) {
        self->count++;
        side_switch(self, &home, false);
    }
}

START_TEST(a_fresh_context_is_entered_and_left_many_times)
{
    long rounds = scaled(200000);
    struct side *side;

    home_init(_i);
    side = side_new(body_count);
    ck_assert(!uco__context_entered(&side->context));
    for (long i = 1; i <= rounds; i++) {
        side_switch(&home, side, false);
        if (side->count != i)
            ck_abort_msg("%ld instead of %ld", side->count, i);
    }
    ck_assert_ptr_nonnull(side->context.pc);
    side_free(side);
}
END_TEST

static void
body_look_at_stack(struct side *self)
{
    const char *frame = __builtin_frame_address(0);

    ck_assert(frame > self->stack && frame < self->stack + STACK_SIZE);
    ck_assert_uint_eq((uintptr_t) frame % 16, 0);
    /* Near the top: nothing else has been put there. */
    ck_assert(frame > self->stack + STACK_SIZE - 8192);
    self->count++;
}

START_TEST(a_body_runs_on_its_own_stack)
{
    home_init(_i);
    for (int i = 0; i < 3; i++) {
        struct side *side = side_new(body_look_at_stack);

        side_switch(&home, side, false);
        ck_assert_int_eq(side->count, 1);
        side_switch(&home, side, false);
        ck_assert_int_eq(side->count, 2);
        side_free(side);
    }
}
END_TEST

/* What lives across the switch: more whole numbers and fractions than there are registers, in a
 * function with a given optimization. First the switch is inline, then in a function. */
#define VALUES_ROUND(do_switch)                                                                    \
    do {                                                                                           \
        do_switch;                                                                                 \
        a += b ^ 1, b += c ^ 2, c += d ^ 3, d += e ^ 4, e += f ^ 5, f += g ^ 6, g += h ^ 7;        \
        h += i ^ 8, i += j ^ 9, j += k ^ 10, k += l ^ 11, l += a ^ 12;                             \
        p = p * 0.5 + q, q = q * 0.25 + r, r = r * 0.5 + s, s = s * 0.25 + t, t = t * 0.5 + u;     \
        u = u * 0.25 + v, v = v * 0.5 + w, w = w * 0.25 + x, x = x * 0.5 + p;                      \
    } while (0)

#define VALUES(name, attribute)                                                                    \
    attribute static UCO__NOINLINE double name(struct side *from, struct side *to, uint64_t seed,  \
                                               int rounds)                                         \
    {                                                                                              \
        uint64_t a = seed, b = a * 3, c = b * 5, d = c * 7, e = d * 11, f = e * 13, g = f * 17,    \
                 h = g * 19, i = h * 23, j = i * 29, k = j * 31, l = k * 37;                       \
        double p = (double) (seed % 1000), q = p + 1, r = q + 2, s = r + 3, t = s + 4, u = t + 5,  \
               v = u + 6, w = v + 7, x = w + 8;                                                    \
        volatile uint64_t guard[4] = {seed, ~seed, seed + 1, ~seed + 1};                           \
                                                                                                   \
        for (int round = 0; round < rounds; round++) {                                             \
            if (from == NULL) {                                                                    \
                VALUES_ROUND((void) 0);                                                            \
                VALUES_ROUND((void) 0);                                                            \
                continue;                                                                          \
            }                                                                                      \
            VALUES_ROUND(side_switch(from, to, false));                                            \
            VALUES_ROUND(side_call(from, to));                                                     \
            if (guard[0] != seed || guard[1] != ~seed || guard[2] != seed + 1 ||                   \
                guard[3] != ~seed + 1)                                                             \
                ck_abort_msg("the stack has changed");                                             \
        }                                                                                          \
        return (double) ((a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l) >> 11) + p + q + r + s +  \
               t + u + v + w + x;                                                                  \
    }

#if defined(__clang__)
#define UNOPTIMIZED __attribute__((optnone))
#define OPTIMIZED
#else
#define UNOPTIMIZED __attribute__((optimize("O0")))
#define OPTIMIZED __attribute__((optimize("O2")))
#endif

VALUES(values_unoptimized, UNOPTIMIZED)
VALUES(values_optimized, OPTIMIZED)
VALUES(values_as_built, )

#define VALUES_ROUNDS 2000

typedef double values_fn(struct side *from, struct side *to, uint64_t seed, int rounds);
static values_fn *const values[] = {values_unoptimized, values_optimized, values_as_built};

static double outcomes[SIDES_MAX];
static struct side *partner;

static void
body_values(struct side *self)
{
    values_fn *fn = values[self->index % (int) COUNT(values)];

    outcomes[self->index] = fn(self, partner, (uint64_t) self->index + 12345, VALUES_ROUNDS);
    self->count = 1;
}

/* Home computes too, between the same switches. Without any switch the outcome must be the same. */
START_TEST(registers_and_stacks_survive_a_switch)
{
    partner = &home;
    home_init(_i);
    for (size_t i = 0; i < COUNT(values) * COUNT(values); i++) {
        struct side *side = side_new(body_values);
        values_fn *here = values[i / COUNT(values)];
        double outcome = here(&home, side, 999, VALUES_ROUNDS);

        side_switch(&home, side, false);
        ck_assert_int_eq(side->count, 1);
        ck_assert_double_eq(outcome, values_unoptimized(NULL, NULL, 999, VALUES_ROUNDS));
        ck_assert_double_eq(outcomes[i], values_unoptimized(NULL, NULL, i + 12345, VALUES_ROUNDS));
        side_free(side);
    }
}
END_TEST

enum { RING = 5 };
static struct side *ring[RING];
static char ring_order[64];

static void
body_ring(struct side *self)
{
    struct side *next = ring[(self->index + 1) % RING];

    for (;;) {
        size_t size = strlen(ring_order);

        if (size == sizeof ring_order - 1)
            side_switch(self, &home, false);
        else
            ring_order[size] = (char) ('a' + self->index);
        side_switch(self, next, false);
    }
}

/* Each enters the next one for the first time from its own stack. */
START_TEST(contexts_take_turns_without_home)
{
    home_init(_i);
    for (int i = 0; i < RING; i++)
        ring[i] = side_new(body_ring);
    side_switch(&home, ring[0], false);
    ck_assert_uint_eq(strlen(ring_order), sizeof ring_order - 1);
    for (size_t i = 0; i < sizeof ring_order - 1; i++)
        ck_assert_int_eq(ring_order[i], 'a' + (char) (i % RING));
    for (int i = 0; i < RING; i++)
        side_free(ring[i]);
}
END_TEST

static UCO__NOINLINE long
descend(struct side *self, int depth)
{
    volatile char frame[64];
    long below = 0;

    memset((char *) frame, depth, sizeof frame);
    if (depth > 0)
        below = descend(self, depth - 1);
    else
        side_switch(self, &home, false);
    for (size_t i = 0; i < sizeof frame; i++) {
        if (frame[i] != (char) depth)
            ck_abort_msg("frame %d has changed", depth);
    }
    return below + depth;
}

static void
body_descend(struct side *self)
{
    self->count = descend(self, 200);
}

/* Parked two hundred frames deep, while home uses its own stack as deeply. */
START_TEST(a_deep_stack_is_whole_when_it_goes_on)
{
    struct side *side;

    home_init(_i);
    side = side_new(body_descend);
    side_switch(&home, side, false);
    ck_assert_int_eq(side->count, 0);
    for (int i = 0; i < 10; i++) {
        struct side *other = side_new(body_descend);

        side_switch(&home, other, false);
        side_switch(&home, other, false);
        ck_assert_int_eq(other->count, 200 * 201 / 2);
        side_free(other);
    }
    side_switch(&home, side, false);
    ck_assert_int_eq(side->count, 200 * 201 / 2);
    side_free(side);
}
END_TEST

static void
body_mask(struct side *self)
{
    sigset_t set;

    pthread_sigmask(SIG_BLOCK, NULL, &set);
    self->count = sigismember(&set, SIGUSR1);
}

START_TEST(a_stack_begins_with_the_signal_mask_of_the_moment)
{
    struct side *one, *other;
    sigset_t set;

    home_init(_i);
    one = side_new(body_mask);
    other = side_new(body_mask);
    side_switch(&home, one, false);
    ck_assert_int_eq(one->count, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    side_switch(&home, other, false);
    ck_assert_int_eq(other->count, 1);
    side_free(one);
    side_free(other);
}
END_TEST

/* --- unwinding --- */

struct unwound {
    void *frames[64];
    int count;
};

static UCO__NOINLINE int
unwind_below(struct unwound *unwound, int depth)
{
    int r = depth == 0 ? 0 : unwind_below(unwound, depth - 1);

    if (depth == 0)
        unwound->count = backtrace(unwound->frames, (int) COUNT(unwound->frames));
    return r + 1;
}

static intptr_t
unwind(void *arg)
{
    unwind_below(arg, 3);
    ck_assert_int_eq(uco_yield(), 0);
    return unwind_below(arg, 3);
}

/* Not by chance a short one: the last frame is the entry, and there are few above this coroutine's
 * own. */
START_TEST(a_backtrace_ends_at_the_entry)
{
    struct unwound unwound = {0};
    const char *entry = (const char *) (uintptr_t) uco__fiber_entry;
    const char *last;

    run_virtual(body_return, NULL); /* the first loop decides on the way for itself */
    home_init(_i);
    ck_assert_int_eq(run_virtual(unwind, &unwound), 4);
    ck_assert_int_gt(unwound.count, 3);
    ck_assert_int_lt(unwound.count, 24);
    last = unwound.frames[unwound.count - 1];
    ck_assert(last > entry && last < entry + 1024);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("context");
    TCase *tc = case_new(suite, "switch");

    tcase_add_loop_test(tc, a_fresh_context_is_entered_and_left_many_times, 0, 2);
    tcase_add_loop_test(tc, a_body_runs_on_its_own_stack, 0, 2);
    tcase_add_loop_test(tc, registers_and_stacks_survive_a_switch, 0, 2);
    tcase_add_loop_test(tc, contexts_take_turns_without_home, 0, 2);
    tcase_add_loop_test(tc, a_deep_stack_is_whole_when_it_goes_on, 0, 2);
    tcase_add_loop_test(tc, a_stack_begins_with_the_signal_mask_of_the_moment, 0, 2);

    tc = case_new(suite, "unwinding");
    tcase_add_loop_test(tc, a_backtrace_ends_at_the_entry, 0, 2);
    return suite_end(suite);
}
