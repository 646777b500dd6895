/* SPDX-License-Identifier: MIT */

/*
 * The memory of stacks goes back to the system when it was not needed for a period: how much of
 * it, how much at a time, and that what is left works as before.
 */
#include "../support/support.h"

#include "base/system.h"
#include "core/stack.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE ((size_t) 64 * 1024)
#define SPARE 16                  /* stacks are kept in any case */
#define SLAB UCO__SLAB_STACKS_MAX /* stacks a slab, once there are many */
#define MANY 300
#define NO_LIMIT 1000000u

/* --- stacks that are really run on --- */

static struct uco__stack home;
static struct uco__stack *visited;
static int visits; /* of the visited stack, since it began */

static void
visit_switch(struct uco__stack *from, struct uco__stack *to)
{
    uco__sanitizer_leave(&from->sanitizer, &to->sanitizer, false);
    uco__context_switch(&from->context, &to->context);
    uco__sanitizer_arrive(&from->sanitizer);
}

static void
visit_entry(void)
{
    struct uco__stack *self = visited;
    volatile char frame[2 * 4096];

    uco__sanitizer_arrive(&self->sanitizer);
    for (int count = 1;; count++) {
        memset((void *) (uintptr_t) frame, count, sizeof frame);
        visits = count;
        visit_switch(self, &home);
        for (size_t i = 0; i < sizeof frame; i++) {
            if (frame[i] != (char) count)
                abort();
        }
    }
}

/* How often it was visited, since it began. */
static int
visit(struct uco__stack *stack)
{
    visited = stack;
    visit_switch(&home, stack);
    return visits;
}

static struct uco__stacks stacks;
static struct uco__stack *taken[64 * MANY];

static struct uco__stack_pool *
pool_new(void)
{
    struct uco__stack_pool *pool;

    uco__context_setup();
    uco__sanitizer_init(&home.sanitizer, NULL, 0);
    uco__stacks_init(&stacks, visit_entry);
    pool = uco__stack_pool_get(&stacks, SIZE);
    ck_assert_ptr_nonnull(pool);
    return pool;
}

static void
take(struct uco__stack_pool *pool, int count)
{
    for (int i = 0; i < count; i++) {
        taken[i] = uco__stack_take(pool);
        if (taken[i] == NULL)
            ck_abort_msg("no stack %d", i);
        visit(taken[i]);
    }
}

/* All but every nth; 0: all. */
static int
give_back(int count, int nth)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        if (nth != 0 && i % nth == 0)
            kept++;
        else
            uco__stack_give_back(taken[i]);
    }
    return kept;
}

static void
give_back_nth(int count, int nth)
{
    for (int i = 0; i < count; i += nth)
        uco__stack_give_back(taken[i]);
}

/* What a loop does at the end of a period. */
static void
period(void)
{
    while (uco__stacks_trim(&stacks, 512))
        continue;
    uco__stacks_age(&stacks);
}

static size_t
page(void)
{
    return (size_t) sysconf(_SC_PAGESIZE);
}

static bool
is_mapped(char *address)
{
    unsigned char resident;

    return mincore(address, page(), &resident) == 0;
}

/* Pages that have memory. */
static int
resident_pages(const struct uco__stack *stack)
{
    unsigned char resident[SIZE / 4096];
    int count = 0;

    ck_assert_int_eq(mincore(uco__stack_base(stack), SIZE, resident), 0);
    for (size_t i = 0; i < SIZE / page(); i++)
        count += resident[i] & 1;
    return count;
}

static int
count_slabs(const struct uco__stack_pool *pool)
{
    int count = 0;

    for (const struct uco__stack_slab *slab = pool->slabs; slab != NULL; slab = slab->next)
        count++;
    return count;
}

/* --- how much --- */

START_TEST(what_was_needed_in_the_last_period_stays)
{
    struct uco__stack_pool *pool = pool_new();

    take(pool, MANY);
    give_back(MANY, 0);
    ck_assert(uco__stacks_have_spare(&stacks));
    period();
    ck_assert_uint_eq(pool->free, MANY);
    take(pool, 50);
    give_back(50, 0);
    period();
    ck_assert_uint_eq(pool->free, 50 + SPARE);
    take(pool, 50);
    period();
    ck_assert_uint_eq(pool->free, SPARE);
    give_back(50, 0);
    period();
    period();
    ck_assert_uint_eq(pool->free, SPARE);
    ck_assert(!uco__stacks_have_spare(&stacks));
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(after_two_periods_a_few_stacks_are_left_and_all_other_slabs_are_unmapped)
{
    struct uco__stack_pool *pool = pool_new();
    static char *bases[MANY];
    int mapped = 0;

    take(pool, MANY);
    for (int i = 0; i < MANY; i++)
        bases[i] = uco__stack_base(taken[i]);
    give_back(MANY, 0);
    period();
    period();
    ck_assert_uint_eq(pool->free, SPARE);
    ck_assert_int_eq(count_slabs(pool), 1);
    ck_assert_uint_le(stacks.count, SLAB);
    ck_assert_uint_eq(stacks.bytes, SLAB * (SIZE + page()));
    for (int i = 0; i < MANY; i++)
        mapped += is_mapped(bases[i]);
    if (!under_sanitizer()) /* it may have taken the place for itself */
        ck_assert_int_eq(mapped, (int) stacks.count);
    /* The few are those that were given back last, and as they were. */
    for (int i = MANY - SPARE; i < MANY; i++)
        ck_assert_int_eq(visit(uco__stack_take(pool)), 2);
    take(pool, MANY);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(stacks_beside_one_in_use_lose_their_memory_and_begin_anew)
{
    struct uco__stack_pool *pool = pool_new();
    int kept, clean = 0, begun = 0;

    take(pool, MANY);
    kept = give_back(MANY, 4);
    period();
    period();
    ck_assert_uint_eq(pool->free, SPARE);
    ck_assert_uint_eq(stacks.count, MANY);
    ck_assert_uint_eq(uco__stacks_in_use(&stacks), (uint64_t) kept);
    for (int i = 0; i < MANY; i++) {
        clean += resident_pages(taken[i]) == 0;
        if (i % 4 == 0)
            ck_assert_int_eq(visit(taken[i]), 2);
    }
    ck_assert_int_eq(clean, MANY - kept - SPARE);
    for (int i = 0; i < MANY - kept; i++)
        begun += visit(uco__stack_take(pool)) == 1;
    ck_assert_int_eq(begun, clean);
    ck_assert_uint_eq(stacks.count, MANY);
    uco__stacks_done(&stacks);
}
END_TEST

/* Of each slab one stack is in use for longer, so that the others lose their memory first. */
START_TEST(a_slab_is_unmapped_also_when_its_stacks_were_given_back_little_by_little)
{
    struct uco__stack_pool *pool = pool_new();
    int count = 64 * SLAB, slabs;

    take(pool, count);
    slabs = count_slabs(pool);
    ck_assert_int_gt(slabs, 2 * SPARE);
    give_back(count, SLAB / 4);
    period();
    period();
    give_back_nth(count, SLAB / 4);
    for (int i = 0; i < 5; i++)
        period();
    ck_assert_uint_eq(pool->free, SPARE);
    ck_assert_int_le(count_slabs(pool), SPARE);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(stacks_come_and_go_for_many_periods)
{
    struct uco__stack_pool *pool = pool_new();
    unsigned random = 1;

    for (int round = 0; round < scaled(400); round++) {
        int count, nth;

        random = random * 1103515245 + 12345;
        count = (int) (random >> 16) % MANY;
        nth = (int) (random >> 8) % 40;
        take(pool, count);
        give_back(count, nth);
        period();
        if (nth == 0)
            continue;
        for (int i = 0; i < count; i += nth)
            ck_assert_int_ge(visit(taken[i]), 2);
        give_back_nth(count, nth);
    }
    ck_assert_uint_eq(uco__stacks_in_use(&stacks), 0);
    period();
    period();
    ck_assert_uint_le(pool->free, SPARE);
    uco__stacks_done(&stacks);
}
END_TEST

/* --- how much at a time --- */

START_TEST(a_slice_is_as_many_stacks_as_were_asked_for)
{
    struct uco__stack_pool *pool = pool_new();
    uint64_t spare;
    int kept;

    take(pool, MANY);
    kept = give_back(MANY, 4);
    period();
    spare = (uint64_t) (MANY - kept);
    while (spare > SPARE + 10) {
        ck_assert(uco__stacks_trim(&stacks, 10));
        spare -= 10;
        ck_assert_uint_eq(pool->free, spare);
    }
    ck_assert(!uco__stacks_trim(&stacks, 10));
    ck_assert_uint_eq(pool->free, SPARE);
    ck_assert(!uco__stacks_trim(&stacks, 10));
    uco__stacks_done(&stacks);
}
END_TEST

/* A slab goes as one, so it may be more by less than that: but only once, whatever the number of
 * pools. */
START_TEST(a_slice_ends_with_the_slab_that_reaches_its_size)
{
    struct uco__stack_pool *pool = pool_new();
    struct uco__stack_pool *other = uco__stack_pool_get(&stacks, 2 * SIZE);
    uint64_t before;

    take(pool, MANY);
    give_back(MANY, 0);
    take(other, MANY);
    give_back(MANY, 0);
    uco__stacks_age(&stacks);
    do {
        before = pool->free + other->free;
        if (!uco__stacks_trim(&stacks, 10))
            break;
        ck_assert_uint_lt(before - pool->free - other->free, 10 + SLAB);
    } while (before > 2 * SPARE);
    ck_assert_uint_eq(pool->free + other->free, 2 * SPARE);
    uco__stacks_done(&stacks);
}
END_TEST

/* --- failures --- */

/* _i: only the call for many at once fails; also those one by one. */
START_TEST(where_memory_cannot_be_given_back_nothing_is_lost)
{
    struct uco__stack_pool *pool = pool_new();
    int kept, begun = 0;

    take(pool, MANY);
    kept = give_back(MANY, 4);
    period();
    ck_assert_int_eq(uco_test_fail("madvise", 1, _i == 1, EINVAL), 0);
    uco__stacks_trim(&stacks, NO_LIMIT);
    uco_test_fail_off();
    ck_assert_uint_eq(pool->free, _i == 1 ? (uint64_t) (MANY - kept) : SPARE);
    for (int i = 0; i < MANY - kept; i++)
        begun += visit(uco__stack_take(pool)) == 1;
    ck_assert_int_eq(begun, _i == 1 ? 0 : MANY - kept - SPARE);
    ck_assert_uint_eq(stacks.count, MANY);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(memory_that_could_not_be_given_back_is_given_back_in_a_later_period)
{
    struct uco__stack_pool *pool = pool_new();

    take(pool, MANY);
    give_back(MANY, 4);
    period();
    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    uco__stacks_trim(&stacks, NO_LIMIT);
    uco_test_fail_off();
    period();
    ck_assert_uint_eq(pool->free, SPARE);
    uco__stacks_done(&stacks);
}
END_TEST

/* Memory that is locked (mlockall) cannot be: trying that again at once, for ever, is in vain. */
START_TEST(a_slice_that_could_give_nothing_back_does_not_ask_for_another)
{
    struct uco__stack_pool *pool = pool_new();

    take(pool, MANY);
    give_back(MANY, 4);
    uco__stacks_age(&stacks);
    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert(!uco__stacks_trim(&stacks, 10));
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(a_slab_that_cannot_be_unmapped_loses_its_memory_all_the_same)
{
    struct uco__stack_pool *pool = pool_new();
    unsigned char resident = 1;
    char *top;

    take(pool, MANY);
    top = uco__stack_base(taken[0]) + SIZE - page();
    give_back(MANY, 0);
    uco__stacks_age(&stacks);
    ck_assert_int_eq(uco_test_fail("munmap", 1, true, ENOMEM), 0);
    uco__stacks_trim(&stacks, NO_LIMIT);
    uco_test_fail_off();
    ck_assert_uint_eq(pool->free, SPARE);
    ck_assert_int_eq(mincore(top, page(), &resident), 0);
    ck_assert_int_eq(resident & 1, 0);
    take(pool, MANY);
    uco__stacks_done(&stacks);
}
END_TEST

/* A2: _i stacks of the other size are in use, the rest only kept ready, though it was needed a
 * moment ago. */
START_TEST(without_room_for_a_stack_those_of_other_sizes_give_up_theirs)
{
    struct uco__stack_pool *other = pool_new();
    struct uco__stack_pool *pool = uco__stack_pool_get(&stacks, 4 * SIZE);
    struct uco__stack *stack;

    take(other, MANY);
    for (int i = _i; i < MANY; i++)
        uco__stack_give_back(taken[i]);
    ck_assert_int_eq(uco_test_fail("mmap", 1, false, ENOMEM), 0);
    stack = uco__stack_take(pool);
    ck_assert_ptr_nonnull(stack);
    ck_assert_int_eq(visit(stack), 1);
    ck_assert_uint_le(other->free, SPARE);
    ck_assert_uint_eq(other->in_use, (uint64_t) _i);
    /* And what they have and need is counted as before. */
    for (int i = 0; i < _i; i++) {
        ck_assert_int_eq(visit(taken[i]), 2);
        uco__stack_give_back(taken[i]);
    }
    period();
    period();
    ck_assert_uint_le(other->free, SPARE);
    take(other, MANY);
    uco__stacks_done(&stacks);
}
END_TEST

/* --- guards --- */

/* _i: with guards of the first choice; by mprotect. */
START_TEST(a_stack_that_lost_its_memory_still_has_its_guard)
{
    struct uco__stack_pool *pool = pool_new();
    int kept, begun = 0;

    if (_i == 0 && getenv("UCO_TEST_EMULATED") != NULL) {
        test_skipped("an emulator takes MADV_GUARD_INSTALL for a hint");
        uco__stacks_done(&stacks);
        return;
    }
    if (_i == 1)
        ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    take(pool, 100);
    uco_test_fail_off();
    ck_assert_uint_eq(stacks.unguarded, 0);
    kept = give_back(100, 4);
    period();
    period();
    for (int i = 0; i < 100 - kept; i++) {
        struct uco__stack *stack = uco__stack_take(pool);

        if (visit(stack) != 1 || begun++ % 8 != 0)
            continue;
        ck_assert_int_eq(write_in_child(uco__stack_base(stack) - 1), SIGSEGV);
        ck_assert_int_eq(write_in_child(uco__stack_base(stack) - page()), SIGSEGV);
        ck_assert_int_eq(write_in_child(uco__stack_base(stack)), 0);
    }
    ck_assert_int_eq(begun, 100 - kept - SPARE);
    ck_assert_uint_eq(stacks.unguarded, 0);
    uco__stacks_done(&stacks);
}
END_TEST

START_TEST(a_stack_without_guard_is_not_called_overflowed_after_it_lost_its_memory)
{
    struct uco__stack_pool *pool = pool_new();

    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert_int_eq(uco_test_fail("mprotect", 1, true, ENOMEM), 0);
    take(pool, MANY);
    uco_test_fail_off();
    ck_assert_uint_eq(stacks.unguarded, MANY);
    give_back(MANY, 0);
    period();
    period();
    ck_assert_uint_eq(stacks.unguarded, stacks.count);
    for (uint64_t i = stacks.count; i > 0; i--)
        ck_assert(!uco__stack_overflowed(uco__stack_take(pool)));
    uco__stacks_done(&stacks);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("trim");
    TCase *tc = case_new(suite, "how much");

    tcase_add_test(tc, what_was_needed_in_the_last_period_stays);
    tcase_add_test(tc, after_two_periods_a_few_stacks_are_left_and_all_other_slabs_are_unmapped);
    tcase_add_test(tc, stacks_beside_one_in_use_lose_their_memory_and_begin_anew);
    tcase_add_test(tc, a_slab_is_unmapped_also_when_its_stacks_were_given_back_little_by_little);
    tcase_add_test(tc, stacks_come_and_go_for_many_periods);
    tcase_add_test(tc, a_slice_is_as_many_stacks_as_were_asked_for);
    tcase_add_test(tc, a_slice_ends_with_the_slab_that_reaches_its_size);

    tc = case_new(suite, "failures");
    tcase_add_loop_test(tc, where_memory_cannot_be_given_back_nothing_is_lost, 0, 2);
    tcase_add_test(tc, memory_that_could_not_be_given_back_is_given_back_in_a_later_period);
    tcase_add_test(tc, a_slice_that_could_give_nothing_back_does_not_ask_for_another);
    tcase_add_test(tc, a_slab_that_cannot_be_unmapped_loses_its_memory_all_the_same);
    tcase_add_loop_test(tc, without_room_for_a_stack_those_of_other_sizes_give_up_theirs, 0, 20);

    tc = case_new(suite, "guards");
    tcase_add_loop_test(tc, a_stack_that_lost_its_memory_still_has_its_guard, 0, 2);
    tcase_add_test(tc, a_stack_without_guard_is_not_called_overflowed_after_it_lost_its_memory);
    return suite_end(suite);
}
