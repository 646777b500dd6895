/* SPDX-License-Identifier: MIT */

/*
 * What coroutines cost that only wait: memory, creation until each is parked, and their end. Each
 * round runs in a process of its own, since memory that was touched once is there for the next. The
 * peers (peers/memory.*) read their memory in the same way.
 *
 * The floor's guards are installed 1,024 at a time where the kernel can do that, else one by one,
 * else with mprotect(), as far as vm.max_map_count goes; stderr tells where it ended.
 */

#include "support/bench.h"
#include "support/child.h"
#include "support/floor.h"
#include "support/memory.h"
#include "support/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <uco/uco.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

enum {
    AFTER_COUNT = 100 * 1000,
    AFTER_COUNT_QUICK = 10 * 1000,
    AFTER_MS = 5000,
    AFTER_MS_QUICK = 100,
    ROUNDS_FEW = 5,
    ROUNDS_FEWEST = 3,
};

struct crowd {
    size_t count;
    unsigned after_ms; /* 0: not measured */
};

/* What a round does, in this order; the subjects say when each step is over. */
struct steps {
    double start; /* bytes */
    double full;
    uint64_t began; /* ns */
    uint64_t parked;
    uint64_t woken;
    uint64_t ended;
};

static void
steps_begin(struct steps *steps)
{
    steps->start = memory_taken();
    steps->began = bench_clock();
}

static void
steps_parked(struct steps *steps)
{
    steps->parked = bench_clock();
    steps->full = memory_taken();
    steps->woken = bench_clock();
}

static void
steps_ended(struct steps *steps)
{
    steps->ended = bench_clock();
}

static void
steps_values(const struct steps *steps, size_t count, double values[])
{
    values[0] = (steps->full - steps->start) / (double) count;
    values[1] = (double) (steps->parked - steps->began) / (double) count / 1e3;
    values[2] = (double) (steps->ended - steps->woken) / (double) count / 1e3;
}

/* --- the floor --- */

#if FLOOR_SWITCH

enum { GUARD_BYTES = 4096, GUARDS_BATCH = 1024 };

static struct {
    struct floor_context home;
    struct floor_context *current;
    size_t arrived;
    size_t ended;
} floor_crowd;

static struct {
    int process; /* a file descriptor of it */
    bool no_batches;
    bool no_installing;
    size_t protected_left; /* before mappings run out */
    size_t installed;
} guards;

static void
guards_init(void)
{
    double mappings = memory_kib("/proc/sys/vm/max_map_count", "");

    guards.process = (int) syscall(SYS_pidfd_open, getpid(), 0);
    guards.no_batches = guards.process < 0;
    /* Each splits a mapping in three; the other half is for whatever else is mapped. */
    guards.protected_left = mappings > 0 ? (size_t) mappings / 4 : 0;
}

static bool
guards_batch(char *slots, size_t count)
{
    struct iovec pages[GUARDS_BATCH];

    for (size_t i = 0; i < count; i++) {
        pages[i].iov_base = slots + i * FLOOR_STACK_BYTES;
        pages[i].iov_len = GUARD_BYTES;
    }
    return syscall(SYS_process_madvise, guards.process, pages, count, MADV_GUARD_INSTALL, 0) ==
           (ssize_t) (count * GUARD_BYTES);
}

static bool
guard_single(char *slot)
{
    if (!guards.no_installing && madvise(slot, GUARD_BYTES, MADV_GUARD_INSTALL) == 0)
        return true;
    guards.no_installing = true;
    if (guards.protected_left == 0 || mprotect(slot, GUARD_BYTES, PROT_NONE) < 0)
        return false;
    guards.protected_left--;
    return true;
}

static void
guards_install(char *slots, size_t count)
{
    if (!guards.no_batches && guards_batch(slots, count)) {
        guards.installed += count;
        return;
    }
    guards.no_batches = true;
    for (size_t i = 0; i < count; i++)
        guards.installed += guard_single(slots + i * FLOOR_STACK_BYTES);
}

static _Noreturn void
floor_entry(void)
{
    struct floor_context *self = floor_crowd.current;

    floor_crowd.arrived++;
    floor_switch(self, &floor_crowd.home);
    floor_crowd.ended++;
    floor_switch(self, &floor_crowd.home);
    abort();
}

static void
floor_park(char *stacks, size_t index)
{
    struct floor_context *context = floor_stack_top(stacks, index, sizeof *context);

    floor_context_init(context, context, floor_entry);
    floor_crowd.current = context;
    floor_switch(&floor_crowd.home, context);
}

static void
floor_wake(char *stacks, size_t index)
{
    floor_switch(&floor_crowd.home, floor_stack_top(stacks, index, sizeof(struct floor_context)));
}

static bool
floor_round(size_t count, bool guarded, double values[])
{
    struct steps steps;
    char *stacks;

    steps_begin(&steps);
    stacks = floor_stacks_map(count);
    if (guarded)
        guards_init();
    for (size_t i = 0; i < count; i++) {
        if (guarded && i % GUARDS_BATCH == 0)
            guards_install(stacks + i * FLOOR_STACK_BYTES,
                           count - i < GUARDS_BATCH ? count - i : GUARDS_BATCH);
        floor_park(stacks, i);
    }
    steps_parked(&steps);
    for (size_t i = 0; i < count; i++)
        floor_wake(stacks, i);
    steps_ended(&steps);
    steps_values(&steps, count, values);
    if (guarded && guards.installed < count)
        fprintf(stderr, "floor: %zu of %zu stacks have a guard: vm.max_map_count allows no more\n",
                guards.installed, count);
    return floor_crowd.arrived == count && floor_crowd.ended == count;
}

static bool
floor_round_guarded(const void *crowd, double values[])
{
    return floor_round(((const struct crowd *) crowd)->count, true, values);
}

static bool
floor_round_bare(const void *crowd, double values[])
{
    return floor_round(((const struct crowd *) crowd)->count, false, values);
}

static bool
floor_run(const void *crowd, double values[])
{
    return child_measure(floor_round_guarded, crowd, values, 3);
}

static bool
floor_run_bare(const void *crowd, double values[])
{
    return child_measure(floor_round_bare, crowd, values, 3);
}

#else
#define floor_run NULL
#define floor_run_bare NULL
#endif

/* --- uco --- */

static struct {
    uco_event all_parked;
    uco_event release;
    size_t count;
    size_t arrived;
    size_t ended;
} uco_crowd;

struct measuring {
    const struct crowd *crowd;
    double *values;
};

static intptr_t
uco_parked(void *arg)
{
    (void) arg;
    if (++uco_crowd.arrived == uco_crowd.count)
        uco_event_set(&uco_crowd.all_parked);
    uco_event_wait(&uco_crowd.release);
    uco_crowd.ended++;
    return 0;
}

static void
uco_guards_tell(size_t count)
{
    uco_loop_stats stats;

    if (uco_stats(uco_get_running_loop(), &stats) == 0 && stats.stacks_unguarded > 0)
        fprintf(stderr, "uco: %zu of %zu stacks have a guard: vm.max_map_count allows no more\n",
                (size_t) (stats.stacks - stats.stacks_unguarded), count);
}

/* The array is the caller's: its memory does not count. */
static bool
uco_crowd_pass(struct steps *steps, uco_task *tasks[], size_t count)
{
    size_t joined = 0;

    memset(tasks, 0xff, count * sizeof *tasks);
    uco_crowd.count = count;
    steps_begin(steps);
    for (size_t i = 0; i < count; i++)
        tasks[i] = uco_create_task(uco_parked, NULL);
    /* Without memory for a task nobody would ever be the last. */
    if (tasks[count - 1] == NULL)
        return false;
    uco_event_wait(&uco_crowd.all_parked);
    steps_parked(steps);
    uco_event_set(&uco_crowd.release);
    for (size_t i = 0; i < count; i++)
        joined += uco_join(tasks[i]) == 0;
    steps_ended(steps);
    uco_guards_tell(count);
    return joined == count && uco_crowd.arrived == count && uco_crowd.ended == count;
}

static void
uco_crowd_left(const struct crowd *crowd, const struct steps *steps, double values[])
{
    double after[2];

    after[0] = memory_taken();
    uco_sleep(crowd->after_ms / 1e3);
    after[1] = memory_taken();
    memory_left(values, steps->start, steps->full, after);
}

static intptr_t
uco_main(void *arg)
{
    const struct measuring *measuring = arg;
    const struct crowd *crowd = measuring->crowd;
    uco_task **tasks = bench_allocate(crowd->count * sizeof *tasks);
    struct steps steps = {0};
    bool right = uco_crowd_pass(&steps, tasks, crowd->count);

    if (crowd->after_ms != 0)
        uco_crowd_left(crowd, &steps, measuring->values);
    else
        steps_values(&steps, crowd->count, measuring->values);
    free(tasks);
    return right;
}

static bool
uco_round(const void *crowd, double values[])
{
    struct measuring measuring = {.crowd = crowd, .values = values};
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    return uco_run_with(&options, uco_main, &measuring) == true;
}

static bool
uco_run_crowd(const void *crowd, double values[])
{
    return child_measure(uco_round, crowd, values, 3);
}

static bool
uco_run_after(const void *crowd, double values[])
{
    return child_measure(uco_round, crowd, values, 4);
}

/* --- the peers --- */

static const struct peer_program st = {.path = PEER_ST};
static const struct peer_program go = {.path = PEER_GO};
static const struct peer_program boost = {.path = PEER_BOOST};
static const struct peer_program asyncio = {.path = PEER_PYTHON, .script = PEER_PYTHON_SCRIPT};

static bool
peer_run(const struct crowd *crowd, const struct peer_program *peer, double values[])
{
    const char *row = crowd->after_ms == 0 ? "parked" : bench_quick() ? "ended-quick" : "ended";

    return peer_run_row(peer, row, crowd->count, values, crowd->after_ms == 0 ? 3 : 4);
}

static bool
st_run(const void *crowd, double values[])
{
    return peer_run(crowd, &st, values);
}

static bool
go_run(const void *crowd, double values[])
{
    return peer_run(crowd, &go, values);
}

static bool
boost_run(const void *crowd, double values[])
{
    return peer_run(crowd, &boost, values);
}

static bool
asyncio_run(const void *crowd, double values[])
{
    return peer_run(crowd, &asyncio, values);
}

/* --- the rows --- */

/* A machine that has less must not begin to swap, or kill somebody. */
static const char *
memory_lacks(size_t count, size_t bytes_each)
{
    double available = memory_kib("/proc/meminfo", "\nMemAvailable:") * 1024;

    return (double) (count * bytes_each) > available ? "too little memory is free" : NULL;
}

static struct bench_subject
own_subject(const char *name, bench_run *run, size_t count)
{
    const char *lacks = run == NULL ? FLOOR_WITHOUT : memory_lacks(count, 6000);

    return (struct bench_subject){name, lacks == NULL ? run : NULL, lacks};
}

static void
crowd_compare(const char *what, const struct crowd *crowd)
{
    static const struct bench_metric metrics[] = {
        {.name = "memory each", .unit = "bytes"},
        {.name = "create and park", .unit = "us"},
        {.name = "wake and end", .unit = "us"},
    };
    size_t count = crowd->count;
    const char *too_many = count > 100 * 1000 ? "it would take too long" : NULL;
    const struct bench_subject subjects[] = {
        own_subject("floor: 16 KiB slots, guards in batches", floor_run, count),
        own_subject("uco", uco_run_crowd, count),
        own_subject("floor, but without guards", floor_run_bare, count),
        peer_subject_of("State Threads, 16 KiB, no guards", &st, st_run, memory_lacks(count, 6000)),
        peer_subject_of("Go", &go, go_run, memory_lacks(count, 6000)),
        peer_subject_of("boost.fiber, no guards", &boost, boost_run, memory_lacks(count, 14000)),
        {"Pth", NULL, "it looks at every thread in each switch: minutes for 10,000"},
        peer_subject_of("asyncio", &asyncio, asyncio_run, too_many),
    };

    bench_compare_peers(what, metrics, COUNT(metrics), subjects, COUNT(subjects), crowd);
}

static void
after_compare(void)
{
    static const struct bench_metric metrics[] = {
        {.name = "left at once", .unit = "% of what they took"},
        {.name = "left later", .unit = "%"},
        {.name = "left at once", .unit = "KiB"},
        {.name = "left later", .unit = "KiB"},
    };
    const struct bench_subject subjects[] = {
        {"floor", NULL, "plain C gives back what it wants"},
        {"uco", uco_run_after, NULL},
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("asyncio", &asyncio, asyncio_run, NULL),
    };
    const struct crowd crowd = {
        .count = bench_quick() ? AFTER_COUNT_QUICK : AFTER_COUNT,
        .after_ms = bench_quick() ? AFTER_MS_QUICK : AFTER_MS,
    };

    bench_compare_peers(bench_quick() ? "10,000 ended, 0.1 s later" : "100,000 ended, 5 s later",
                        metrics, COUNT(metrics), subjects, COUNT(subjects), &crowd);
}

int
main(int argc, char **argv)
{
    static const struct {
        struct crowd full;
        const char *name;
        struct crowd quick;
        const char *quick_name;
        unsigned rounds;
    } rows[] = {
        {{.count = 10 * 1000}, "10,000 parked", {.count = 1000}, "1,000 parked", ROUNDS_FEW},
        {{.count = 100 * 1000}, "100,000 parked", {.count = 10000}, "10,000 parked", ROUNDS_FEW},
        {{.count = 1000 * 1000},
         "1,000,000 parked",
         {.count = 20000},
         "20,000 parked",
         ROUNDS_FEWEST},
    };

    bench_begin("bench_memory", "parked coroutines: memory, creation and end", argc, argv);
    for (size_t i = 0; i < COUNT(rows); i++) {
        bench_rounds_at_most(bench_quick() ? 1 : rows[i].rounds);
        crowd_compare(bench_quick() ? rows[i].quick_name : rows[i].name,
                      bench_quick() ? &rows[i].quick : &rows[i].full);
    }
    bench_rounds_at_most(bench_quick() ? 1 : ROUNDS_FEWEST);
    after_compare();
    return bench_end();
}
