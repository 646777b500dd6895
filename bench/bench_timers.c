/* SPDX-License-Identifier: MIT */

/*
 * Timers: crowds of sleepers, timers that are armed and cancelled, and one sleeper of a
 * millisecond. Each round runs in a process of its own: what one sets for its thread, such as the
 * slack of its timers, must be nothing to the next. The peers are programs (peers/timers*).
 *
 * All sleepers of a crowd run already; each measures its own sleep, from right before the call to
 * right after it. uco and the floor must never wake one early. CPU is what the process uses from
 * when all of them are ready to run to the last one's end. Of each that is: it is switched to, its
 * sleep is inserted, it waits, is found due, is switched to again, and ends. Making and starting it
 * is not in it, and with uco and the floor nothing has to wake it for the first of the two runs;
 * peers release theirs together, and that is. "Off" is how far from its moment one was woken: late
 * for uco and the floor, late or early for peers.
 */

#include "peers/timers.h"
#include "support/bench.h"
#include "support/child.h"
#include "support/floor_timers.h"
#include "support/memory.h"
#include "support/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/uco.h>

enum {
    SHORT_COUNT = 1000,
    ROUNDS_FEW = 5,
    ROUNDS_FEWEST = 3,
    CROWD_METRICS = 5,
};

struct row {
    const char *name;       /* the peers' */
    const char *name_quick; /* the same, with sleeps of up to 20 ms */
    const char *what;
    size_t count;
    size_t count_quick;
    bool huge; /* only for those that can */
    unsigned rounds;
};

static size_t
row_count(const struct row *row)
{
    return bench_quick() ? row->count_quick : row->count;
}

static uint64_t
sleep_max(void)
{
    return bench_quick() ? TIMERS_SLEEP_MAX_QUICK : TIMERS_SLEEP_MAX;
}

/* --- the floors --- */

#if FLOOR_SWITCH

static bool
floor_round_crowd(const void *row, double values[])
{
    return floor_timers_crowd(row_count(row), sleep_max(), values);
}

static bool
floor_run_crowd(const void *row, double values[])
{
    return child_measure(floor_round_crowd, row, values, CROWD_METRICS);
}

#else
#define floor_run_crowd NULL
#endif

static bool
floor_round_pairs(const void *row, double values[])
{
    return floor_timers_pairs(row_count(row), values);
}

static bool
floor_run_pairs(const void *row, double values[])
{
    return child_measure(floor_round_pairs, row, values, 1);
}

static bool
floor_round_short(const void *row, double values[])
{
    return floor_timers_short(row_count(row), values);
}

static bool
floor_run_short(const void *row, double values[])
{
    return child_measure(floor_round_short, row, values, 1);
}

static bool
floor_round_timerfd(const void *row, double values[])
{
    return floor_timers_timerfd(row_count(row), values);
}

static bool
floor_run_timerfd(const void *row, double values[])
{
    return child_measure(floor_round_timerfd, row, values, 1);
}

/* --- uco --- */

static struct {
    uco_event all_ended;
    double *lateness;
    uint64_t max;
    uint64_t processor; /* the process's, when the first one began its sleep */
    size_t count;
    size_t started;
    size_t ended;
    bool all_started; /* before the first one began its sleep */
} uco_crowd;

struct measuring {
    const struct row *row;
    double *values;
};

static intptr_t
uco_sleeper(void *arg)
{
    size_t index = (uintptr_t) arg;
    uint64_t length = timers_length(index, uco_crowd.max), began;

    /* The run queue is a FIFO: the first to come back finds that all others wait behind it. */
    uco_crowd.started++;
    uco_yield();
    if (uco_crowd.processor == 0) {
        uco_crowd.all_started = uco_crowd.started == uco_crowd.count;
        uco_crowd.processor = timers_processor();
    }
    began = timers_now();
    uco_sleep((double) length / 1e6);
    uco_crowd.lateness[index] = timers_lateness(began, length);
    if (++uco_crowd.ended == uco_crowd.count)
        uco_event_set(&uco_crowd.all_ended);
    return 0;
}

static bool
uco_main_crowd(const struct row *row, double values[])
{
    size_t count = row_count(row);
    uint64_t processor;

    uco_crowd.count = count;
    uco_crowd.max = sleep_max();
    uco_crowd.lateness = bench_allocate(count * sizeof(double));
    for (size_t i = 0; i < count; i++) {
        uco_task *task = uco_create_task(uco_sleeper, (void *) (uintptr_t) i);

        if (task == NULL)
            bench_die("uco: no memory for a task");
        uco_unref(task);
    }
    uco_event_wait(&uco_crowd.all_ended);
    processor = timers_processor() - uco_crowd.processor;
    timers_summary(values, processor, uco_crowd.lateness, count);
    free(uco_crowd.lateness);
    return uco_crowd.all_started && uco_crowd.ended == count && values[4] == 0;
}

static void
uco_timer_ran(void *arg)
{
    ++*(size_t *) arg;
}

static size_t
uco_arm_and_cancel(uco_timer timers[], size_t count)
{
    uco_loop *loop = uco_get_running_loop();
    size_t cancelled = 0, ran = 0;

    for (size_t i = 0; i < count; i++)
        timers[i] =
            uco_loop_call_later(loop, (double) timers_arm_length(i) / 1e6, uco_timer_ran, &ran);
    for (size_t i = 0; i < count; i++)
        cancelled += uco_timer_cancel(loop, timers[i]) == 0;
    return cancelled - ran;
}

static bool
uco_main_pairs(const struct row *row, double values[])
{
    size_t count = row_count(row), right;
    uco_timer *timers = bench_allocate(count * sizeof *timers);
    uint64_t began;

    right = uco_arm_and_cancel(timers, count);
    began = timers_now();
    right += uco_arm_and_cancel(timers, count);
    values[0] = (double) (timers_now() - began) / (double) count;
    free(timers);
    return right == 2 * count;
}

static bool
uco_main_short(const struct row *row, double values[])
{
    size_t count = row_count(row);
    double sum = 0, least = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t began = timers_now();
        double late;

        if (uco_sleep(TIMERS_SHORT_LENGTH / 1e6) < 0)
            return false;
        late = timers_lateness(began, TIMERS_SHORT_LENGTH);
        sum += late;
        least = late < least ? late : least;
    }
    values[0] = sum / (double) count;
    return least >= 0;
}

static intptr_t
uco_main(void *arg)
{
    const struct measuring *measuring = arg;
    const struct row *row = measuring->row;

    if (strcmp(row->name, "crowd") == 0)
        return uco_main_crowd(row, measuring->values);
    if (strcmp(row->name, "pairs") == 0)
        return uco_main_pairs(row, measuring->values);
    return uco_main_short(row, measuring->values);
}

static bool
uco_round(const void *row, double values[])
{
    struct measuring measuring = {.row = row, .values = values};
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    return uco_run_with(&options, uco_main, &measuring) == true;
}

static size_t
row_metrics(const struct row *row)
{
    return strcmp(row->name, "crowd") == 0 ? CROWD_METRICS : 1;
}

static bool
uco_run_row(const void *row, double values[])
{
    return child_measure(uco_round, row, values, row_metrics(row));
}

/* --- the peers --- */

static const struct peer_program libuv = {.path = PEER_LIBUV};
static const struct peer_program st = {.path = PEER_ST};
static const struct peer_program go = {.path = PEER_GO};
static const struct peer_program boost = {.path = PEER_BOOST};
static const struct peer_program asyncio = {.path = PEER_PYTHON, .script = PEER_PYTHON_SCRIPT};
static const struct peer_program uvloop = {
    .path = PEER_UVLOOP, .script = PEER_PYTHON_SCRIPT, .loop = "uvloop"};

static bool
peer_run(const struct row *row, const struct peer_program *peer, double values[])
{
    return peer_run_row(peer, bench_quick() ? row->name_quick : row->name, row_count(row), values,
                        row_metrics(row));
}

static bool
libuv_run(const void *row, double values[])
{
    return peer_run(row, &libuv, values);
}

static bool
st_run(const void *row, double values[])
{
    return peer_run(row, &st, values);
}

static bool
go_run(const void *row, double values[])
{
    return peer_run(row, &go, values);
}

static bool
boost_run(const void *row, double values[])
{
    return peer_run(row, &boost, values);
}

static bool
asyncio_run(const void *row, double values[])
{
    return peer_run(row, &asyncio, values);
}

static bool
uvloop_run(const void *row, double values[])
{
    return peer_run(row, &uvloop, values);
}

/* --- the rows --- */

#define TOO_LONG "it would take too long"
#define TOO_LITTLE "too little memory is free"
#define LACKING "it has no such thing"

/* A machine that has less must not begin to swap, or kill somebody. */
static void
subjects_fit(struct bench_subject subjects[], size_t subject_count, size_t count)
{
    enum { BYTES_EACH = 6000 };

    if (memory_kib("/proc/meminfo", "\nMemAvailable:") * 1024 > (double) (count * BYTES_EACH))
        return;
    for (size_t i = 0; i < subject_count; i++) {
        if (subjects[i].run != NULL) {
            subjects[i].run = NULL;
            subjects[i].without = TOO_LITTLE;
        }
    }
}

static void
crowd_compare(const struct row *row)
{
    static const struct bench_metric metrics[CROWD_METRICS] = {
        {.name = "CPU each", .unit = "us"},    {.name = "off, p50", .unit = "us"},
        {.name = "off, p99", .unit = "us"},    {.name = "off, most", .unit = "us"},
        {.name = "early, most", .unit = "us"},
    };
    const char *slow = row->huge ? TOO_LONG : NULL;
    struct bench_subject subjects[] = {
        {"floor: 4-ary heap, inline switch", floor_run_crowd, FLOOR_WITHOUT},
        {"uco", uco_run_row, NULL},
        peer_subject_of("libuv, callbacks", &libuv, libuv_run, NULL),
        peer_subject_of("State Threads", &st, st_run, NULL),
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("boost.fiber", &boost, boost_run, slow),
        peer_subject_of("asyncio", &asyncio, asyncio_run, slow),
        peer_subject_of("uvloop", &uvloop, uvloop_run, slow),
    };

    subjects_fit(subjects, COUNT(subjects), row_count(row));
    bench_compare_peers(row->what, metrics, CROWD_METRICS, subjects, COUNT(subjects), row);
}

static void
pairs_compare(const struct row *row)
{
    static const struct bench_metric metric = {.name = "armed and cancelled", .unit = "ns"};
    const char *slow = row->huge ? TOO_LONG : NULL;
    const struct bench_subject subjects[] = {
        {"floor: 4-ary heap", floor_run_pairs, NULL},
        {"uco", uco_run_row, NULL},
        peer_subject_of("libuv, without reading the clock", &libuv, libuv_run, NULL),
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("State Threads", &st, st_run, LACKING),
        peer_subject_of("boost.fiber", &boost, boost_run, LACKING),
        peer_subject_of("asyncio", &asyncio, asyncio_run, slow),
        peer_subject_of("uvloop", &uvloop, uvloop_run, slow),
    };

    bench_compare_peers(row->what, &metric, 1, subjects, COUNT(subjects), row);
}

static void
short_compare(const struct row *row)
{
    static const struct bench_metric metric = {.name = "late, mean", .unit = "us"};
    const struct bench_subject subjects[] = {
        {"floor: timerfd", floor_run_timerfd, NULL},
        {"uco", uco_run_row, NULL},
        {"floor: epoll_pwait2, slack of 1 ns", floor_run_short, NULL},
        peer_subject_of("libuv, callbacks", &libuv, libuv_run, NULL),
        peer_subject_of("State Threads", &st, st_run, NULL),
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("boost.fiber", &boost, boost_run, NULL),
        peer_subject_of("asyncio", &asyncio, asyncio_run, NULL),
        peer_subject_of("uvloop", &uvloop, uvloop_run, NULL),
    };

    bench_compare_peers(row->what, &metric, 1, subjects, COUNT(subjects), row);
}

int
main(int argc, char **argv)
{
    static const struct row crowds[] = {
        {"crowd", "crowd-quick", "100,000 sleep up to 1 s", 100 * 1000, 500, false, ROUNDS_FEW},
        {"crowd", "crowd-quick", "1,000,000 sleep up to 1 s", 1000 * 1000, 2000, true,
         ROUNDS_FEWEST},
    };
    static const struct row pairs[] = {
        {"pairs", "pairs", "100,000 timers", 100 * 1000, 1000, false, ROUNDS_FEW},
        {"pairs", "pairs", "1,000,000 timers", 1000 * 1000, 10 * 1000, true, ROUNDS_FEW},
    };
    static const struct row one = {
        .name = "short",
        .name_quick = "short",
        .what = "1 ms again and again",
        .count = SHORT_COUNT,
        .count_quick = 10,
        .rounds = ROUNDS_FEW,
    };

    bench_begin("bench_timers", "timers: crowds of sleepers, cancelling, a short sleep", argc,
                argv);
    for (size_t i = 0; i < COUNT(crowds); i++) {
        bench_rounds_at_most(bench_quick() ? 1 : crowds[i].rounds);
        crowd_compare(&crowds[i]);
    }
    for (size_t i = 0; i < COUNT(pairs); i++) {
        bench_rounds_at_most(bench_quick() ? 1 : pairs[i].rounds);
        pairs_compare(&pairs[i]);
    }
    bench_rounds_at_most(bench_quick() ? 1 : one.rounds);
    short_compare(&one);
    return bench_end();
}
