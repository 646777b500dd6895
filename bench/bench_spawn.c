/* SPDX-License-Identifier: MIT */

/*
 * The life of a short coroutine: created, run, waited for, gone. One by one, and a thousand at a
 * time. Each counts itself and returns a number, whose sum is checked.
 */

#include "support/bench.h"
#include "support/floor_tasks.h"

#include <stdlib.h>
#include <uco/uco.h>

enum {
    TASKS = 200 * 1000, /* a round */
    BATCH = 1000,
    RESULT = 3, /* of each */
};

struct spawning {
    size_t batch; /* 1: one by one */
    size_t tasks;
    size_t ran;
    intptr_t sum;
};

static struct spawning
spawning_new(size_t batch)
{
    size_t batches = bench_scaled(TASKS) / batch;

    return (struct spawning){.batch = batch, .tasks = (batches > 0 ? batches : 1) * batch};
}

static bool
spawning_result(const struct spawning *spawning, uint64_t took, double values[])
{
    values[0] = (double) took / (double) spawning->tasks;
    return spawning->ran == spawning->tasks && spawning->sum == (intptr_t) spawning->tasks * RESULT;
}

static intptr_t
spawn_body(void *arg)
{
    struct spawning *spawning = arg;

    spawning->ran++;
    return RESULT;
}

/* --- the floor --- */

#if FLOOR_SWITCH

static bool
floor_run(const void *batch, double values[])
{
    struct spawning spawning = spawning_new(*(const size_t *) batch);
    struct floor_stack home_stack = {.next = NULL};
    struct floor_task home = {.stack = &home_stack};
    struct floor_task *tasks = bench_allocate(spawning.batch * sizeof *tasks);
    struct floor_task **spawned = bench_allocate(spawning.batch * sizeof(struct floor_task *));
    char *stacks = floor_stacks_map(2);
    uint64_t began;

    floor_pools_fill(stacks, tasks, spawning.batch);
    floor_queue.current = &home;
    began = bench_clock();
    for (size_t i = 0; i < spawning.tasks; i += spawning.batch) {
        for (size_t k = 0; k < spawning.batch; k++)
            spawned[k] = floor_spawn(spawn_body, &spawning);
        for (size_t k = 0; k < spawning.batch; k++)
            spawning.sum += floor_join(spawned[k]);
    }
    began = bench_clock() - began;
    floor_stacks_unmap(stacks, 2);
    free(spawned);
    free(tasks);
    return spawning_result(&spawning, began, values);
}

#else
#define floor_run NULL
#endif

/* --- uco --- */

static intptr_t
join_main(void *arg)
{
    struct spawning *spawning = arg;
    uco_future **tasks = bench_allocate(spawning->batch * sizeof *tasks);
    uint64_t began = bench_clock();

    for (size_t i = 0; i < spawning->tasks; i += spawning->batch) {
        for (size_t k = 0; k < spawning->batch; k++)
            tasks[k] = uco_create_task(spawn_body, spawning);
        for (size_t k = 0; k < spawning->batch; k++)
            spawning->sum += uco_join(tasks[k]);
    }
    began = bench_clock() - began;
    free(tasks);
    return (intptr_t) began;
}

static intptr_t
gather_main(void *arg)
{
    struct spawning *spawning = arg;
    uco_future **tasks = bench_allocate(spawning->batch * sizeof *tasks);
    intptr_t *results = bench_allocate(spawning->batch * sizeof *results);
    uint64_t began = bench_clock();

    for (size_t i = 0; i < spawning->tasks; i += spawning->batch) {
        for (size_t k = 0; k < spawning->batch; k++)
            tasks[k] = uco_create_task(spawn_body, spawning);
        uco_gather(tasks, spawning->batch, results);
        uco_unref_all(tasks, spawning->batch);
        for (size_t k = 0; k < spawning->batch; k++)
            spawning->sum += results[k];
    }
    began = bench_clock() - began;
    free(results);
    free(tasks);
    return (intptr_t) began;
}

static bool
uco_measure(const void *batch, uco_fn *fn, double values[])
{
    struct spawning spawning = spawning_new(*(const size_t *) batch);
    intptr_t took = uco_run(fn, &spawning);

    return took > 0 && spawning_result(&spawning, (uint64_t) took, values);
}

static bool
uco_run_join(const void *batch, double values[])
{
    return uco_measure(batch, join_main, values);
}

static bool
uco_run_gather(const void *batch, double values[])
{
    return uco_measure(batch, gather_main, values);
}

int
main(int argc, char **argv)
{
    static const struct bench_metric metric = {.name = "a task", .unit = "ns"};
    static const struct bench_subject subjects[] = {
        {"floor: pooled stacks and inline switch", floor_run, FLOOR_WITHOUT},
        {"uco_create_task, uco_join", uco_run_join, NULL},
        {"uco_create_task, uco_gather", uco_run_gather, NULL},
    };
    size_t batch = BATCH;

    bench_begin("bench_spawn", "tasks that are created, run and waited for", argc, argv);
    bench_compare("one by one", &metric, 1, subjects, COUNT(subjects) - 1, &(size_t){1});
    bench_compare("1,000 at a time", &metric, 1, subjects, COUNT(subjects), &batch);
    return bench_end();
}
