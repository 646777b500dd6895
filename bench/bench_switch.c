/* SPDX-License-Identifier: MIT */

/*
 * The bare switch: A and B hand over to each other, with nothing between. The seam that uco's
 * scheduler is built on stands between the least that a switch can be, and what boost.context and
 * glibc have: jump_fcontext() and swapcontext().
 */

#include "core/context.h"
#include "support/bench.h"
#include "support/floor.h"
#include "support/peer.h"

#include <ucontext.h>

enum {
    SWITCHES = 10 * 1000 * 1000,
    SWITCHES_BY_SWAPCONTEXT = 400 * 1000,
    STACK_BYTES = 64 * 1024,
};

static uint64_t handed_back; /* by B */

static bool
result(uint64_t began, size_t round_trips, double values[])
{
    values[0] = (double) (bench_clock() - began) / (2.0 * (double) round_trips);
    return handed_back == round_trips;
}

/* --- the floor --- */

#if FLOOR_SWITCH

static struct floor_context floor_a, floor_b;

static void
floor_partner(void)
{
    for (;;) {
        handed_back++;
        floor_switch(&floor_b, &floor_a);
    }
}

static bool
floor_run(const void *stack, double values[])
{
    size_t round_trips = bench_scaled(SWITCHES) / 2;
    uint64_t began;

    handed_back = 0;
    floor_context_init(&floor_b, (char *) (uintptr_t) stack + STACK_BYTES, floor_partner);
    began = bench_clock();
    for (size_t i = 0; i < round_trips; i++)
        floor_switch(&floor_a, &floor_b);
    return result(began, round_trips, values);
}

#else
#define floor_run NULL
#endif

/* --- uco --- */

static struct uco__context uco_a, uco_b;

static void
uco_partner(void)
{
    for (;;) {
        handed_back++;
        uco__context_switch(&uco_b, &uco_a);
    }
}

static bool
uco_run_switches(const void *stack, double values[])
{
    size_t full =
        UCO__SWITCH_REGISTERS && !uco__context_by_ucontext ? SWITCHES : SWITCHES_BY_SWAPCONTEXT;
    size_t round_trips = bench_scaled(full) / 2;
    uint64_t began;

    uco__context_init(&uco_b, (void *) (uintptr_t) stack, STACK_BYTES, uco_partner);
    uco__context_switch(&uco_a,
                        &uco_b); /* the first entry is makecontext's, and not what is measured */
    handed_back = 0;
    began = bench_clock();
    for (size_t i = 0; i < round_trips; i++)
        uco__context_switch(&uco_a, &uco_b);
    return result(began, round_trips, values);
}

/* --- glibc --- */

static ucontext_t libc_a, libc_b;

static void
libc_partner(void)
{
    for (;;) {
        handed_back++;
        swapcontext(&libc_b, &libc_a);
    }
}

static bool
libc_run(const void *stack, double values[])
{
    size_t round_trips = bench_scaled(SWITCHES_BY_SWAPCONTEXT) / 2;
    uint64_t began;

    handed_back = 0;
    getcontext(&libc_b);
    libc_b.uc_stack.ss_sp = (void *) (uintptr_t) stack;
    libc_b.uc_stack.ss_size = STACK_BYTES;
    makecontext(&libc_b, libc_partner, 0);
    began = bench_clock();
    for (size_t i = 0; i < round_trips; i++)
        swapcontext(&libc_a, &libc_b);
    return result(began, round_trips, values);
}

/* --- boost.context --- */

static const struct peer_program boost = {.path = PEER_BOOST};

static bool
boost_fcontext_run(const void *stack, double values[])
{
    (void) stack;
    return peer_run_row(&boost, "fcontext", bench_scaled(SWITCHES) / 2, values, 1);
}

static bool
boost_fiber_run(const void *stack, double values[])
{
    (void) stack;
    return peer_run_row(&boost, "fiber", bench_scaled(SWITCHES) / 2, values, 1);
}

int
main(int argc, char **argv)
{
    static const struct bench_metric metric = {.name = "a switch", .unit = "ns"};
    const struct bench_subject subjects[] = {
        {"floor: inline switch", floor_run, FLOOR_WITHOUT},
        {"uco: core/context.h", uco_run_switches, NULL},
        peer_subject_of("boost.context: jump_fcontext", &boost, boost_fcontext_run, NULL),
        peer_subject_of("boost.context: fiber", &boost, boost_fiber_run, NULL),
        {"swapcontext", libc_run, NULL},
    };
    static _Alignas(64) char stack[STACK_BYTES];

    bench_begin("bench_switch", "from A to B and back, with nothing between", argc, argv);
    uco__context_setup();
    bench_compare_peers("A and B", &metric, 1, subjects, COUNT(subjects), stack);
    return bench_end();
}
