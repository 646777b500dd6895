/* SPDX-License-Identifier: MIT */

/*
 * The life of a short coroutine: created, run, waited for, gone. One by one, and a thousand at a
 * time. Each counts itself and returns a number, which is checked. A subject does some batches for
 * warming up, then those that are measured.
 *
 * The peers (peers/spawn.*) are programs, started anew for each round. They wait for a thousand in
 * the way that suits them best.
 */

#include "support/bench.h"
#include "support/floor_tasks.h"
#include "support/peer.h"

#include <stdlib.h>
#include <uco/uco.h>

enum {
    TASKS = 200 * 1000, /* a round */
    BATCH = 1000,       /* the peers have the same */
    RESULT = 3,         /* of each */
};

struct row {
    const char *name; /* the peers' */
    const char *what;
    size_t batch;
};

/** Does batches of tasks; how many have run and gave the right result. */
typedef size_t work(size_t batch, size_t batches);

static size_t
row_batches(const struct row *row)
{
    size_t batches = bench_scaled(TASKS) / row->batch;

    return batches > 0 ? batches : 1;
}

static bool
work_measure(const struct row *row, work *run, double values[])
{
    size_t batches = row_batches(row), tasks = batches * row->batch, right;
    uint64_t began;

    run(row->batch, batches / 10 + 1);
    began = bench_clock();
    right = run(row->batch, batches);
    values[0] = (double) (bench_clock() - began) / (double) tasks;
    return right == tasks;
}

static intptr_t
body(void *arg)
{
    ++*(size_t *) arg;
    return RESULT;
}

/* As many as have both run and been collected: 0 if these are not the same. */
static size_t
tally(size_t ran, intptr_t sum)
{
    return (intptr_t) ran * RESULT == sum ? ran : 0;
}

/* --- the floor --- */

#if FLOOR_SWITCH

static size_t
floor_work(size_t batch, size_t batches)
{
    static struct floor_task pool[BATCH];
    static struct floor_task *tasks[BATCH];
    struct floor_stack home_stack = {.next = NULL};
    struct floor_task home = {.stack = &home_stack};
    char *stacks = floor_stacks_map(2);
    size_t ran = 0;
    intptr_t sum = 0;

    floor_pools_fill(stacks, pool, batch);
    floor_queue.current = &home;
    for (size_t i = 0; i < batches; i++) {
        for (size_t k = 0; k < batch; k++)
            tasks[k] = floor_spawn(body, &ran);
        for (size_t k = 0; k < batch; k++)
            sum += floor_join(tasks[k]);
    }
    floor_stacks_unmap(stacks, 2);
    return tally(ran, sum);
}

static bool
floor_run(const void *row, double values[])
{
    return work_measure(row, floor_work, values);
}

#else
#define floor_run NULL
#endif

/* --- uco --- */

static size_t
join_work(size_t batch, size_t batches)
{
    static uco_task *tasks[BATCH];
    size_t ran = 0;
    intptr_t sum = 0;

    for (size_t i = 0; i < batches; i++) {
        for (size_t k = 0; k < batch; k++)
            tasks[k] = uco_create_task(body, &ran);
        for (size_t k = 0; k < batch; k++)
            sum += uco_join(tasks[k]);
    }
    return tally(ran, sum);
}

static size_t
gather_work(size_t batch, size_t batches)
{
    static uco_future *tasks[BATCH];
    static intptr_t results[BATCH];
    size_t ran = 0;
    intptr_t sum = 0;

    for (size_t i = 0; i < batches; i++) {
        for (size_t k = 0; k < batch; k++)
            tasks[k] = uco_create_task(body, &ran);
        uco_gather(tasks, batch, results);
        uco_unref_all(tasks, batch);
        for (size_t k = 0; k < batch; k++)
            sum += results[k];
    }
    return tally(ran, sum);
}

/* A group has no use for its members' results. */
static size_t
group_work(size_t batch, size_t batches)
{
    size_t ran = 0;

    for (size_t i = 0; i < batches; i++) {
        uco_group *group = uco_group_new();
        int r;

        for (size_t k = 0; k < batch; k++)
            uco_group_create_task(group, body, &ran);
        r = uco_group_wait(group);
        uco_group_free(group);
        if (r < 0)
            return 0;
    }
    return ran;
}

struct measuring {
    const struct row *row;
    work *run;
    double *values;
};

static intptr_t
measuring_main(void *arg)
{
    const struct measuring *measuring = arg;

    return work_measure(measuring->row, measuring->run, measuring->values);
}

static bool
uco_measure(const void *row, work *run, double values[])
{
    struct measuring measuring = {.row = row, .run = run, .values = values};
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    return uco_run_with(&options, measuring_main, &measuring) == true;
}

static bool
uco_run_join(const void *row, double values[])
{
    return uco_measure(row, join_work, values);
}

static bool
uco_run_gather(const void *row, double values[])
{
    return uco_measure(row, gather_work, values);
}

static bool
uco_run_group(const void *row, double values[])
{
    return uco_measure(row, group_work, values);
}

/* --- the peers --- */

enum { SLOW_DIVISOR = 20 }; /* Pth and Python do a part of the work */

static const struct peer_program boost = {.path = PEER_BOOST};
static const struct peer_program st = {.path = PEER_ST};
static const struct peer_program pth = {.path = PEER_PTH, .divisor = SLOW_DIVISOR};
static const struct peer_program go = {.path = PEER_GO};
static const struct peer_program asyncio = {
    .path = PEER_PYTHON,
    .script = PEER_PYTHON_SCRIPT,
    .divisor = SLOW_DIVISOR,
};
static const struct peer_program uvloop = {
    .path = PEER_UVLOOP,
    .script = PEER_PYTHON_SCRIPT,
    .loop = "uvloop",
    .divisor = SLOW_DIVISOR,
};

static bool
peer_run(const struct row *row, const struct peer_program *peer, double values[])
{
    return peer_run_row(peer, row->name, row_batches(row), values, 1);
}

static bool
boost_run(const void *row, double values[])
{
    return peer_run(row, &boost, values);
}

static bool
st_run(const void *row, double values[])
{
    return peer_run(row, &st, values);
}

static bool
pth_run(const void *row, double values[])
{
    return peer_run(row, &pth, values);
}

static bool
go_run(const void *row, double values[])
{
    return peer_run(row, &go, values);
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

static void
row_compare(const struct row *row)
{
    static const struct bench_metric metric = {.name = "a task", .unit = "ns"};
    const char *one = row->batch == 1 ? "it is for more than one" : NULL;
    const struct bench_subject subjects[] = {
        {"floor: pooled stacks and inline switch", floor_run, FLOOR_WITHOUT},
        {"uco_create_task, uco_join", uco_run_join, NULL},
        {"uco_create_task, uco_gather", one == NULL ? uco_run_gather : NULL, one},
        {"uco_group_create_task, uco_group_wait", one == NULL ? uco_run_group : NULL, one},
        peer_subject_of("boost.fiber", &boost, boost_run, NULL),
        peer_subject_of("State Threads", &st, st_run, NULL),
        peer_subject_of("Pth", &pth, pth_run, NULL),
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("asyncio", &asyncio, asyncio_run, NULL),
        peer_subject_of("uvloop", &uvloop, uvloop_run, NULL),
    };

    bench_compare_peers(row->what, &metric, 1, subjects, COUNT(subjects), row);
}

int
main(int argc, char **argv)
{
    static const struct row rows[] = {
        {"one", "one by one", 1},
        {"batch", "1,000 at a time", BATCH},
    };

    bench_begin("bench_spawn", "tasks that are created, run and waited for", argc, argv);
    for (size_t i = 0; i < COUNT(rows); i++)
        row_compare(&rows[i]);
    return bench_end();
}
