/* SPDX-License-Identifier: MIT */

/*
 * How time grows with the number of what is open, waiting or cancelled at once: from 1,000 to
 * 100,000 the time for one must stay about the same. The processor's caches give out on the way, as
 * the floor shows, so a ratio of 1 is not to be had; work that grew with the square would show
 * as 100.
 *
 * In each round every size does as much in all; and once before, unmeasured, so that no size pays
 * for the first touch of its memory.
 */

#include "support/bench.h"
#include "support/floor.h"

#include <errno.h>
#include <stdlib.h>
#include <uco/testing.h>
#include <uco/uco.h>

enum { ELEMENTS_MAX = 100 * 1000 };

/** Does something with n elements, in a coroutine: nanoseconds; 0 when a count was wrong. */
typedef uint64_t growing(size_t n);

/* What the tasks of one pass share. */
struct crowd {
    uco_event event;
    uco_semaphore semaphore;
    uco_group *group;
    uco_task **tasks;
    size_t count; /* of those that ended as they should */
};

static void
crowd_create(struct crowd *crowd, uco_fn *fn, size_t n)
{
    crowd->group = uco_group_new();
    crowd->tasks = bench_allocate(n * sizeof(uco_task *));
    for (size_t i = 0; i < n; i++)
        crowd->tasks[i] = uco_ref(uco_group_create_task(crowd->group, fn, crowd));
    uco_test_settle();
}

/* When all have ended; 0 when they have not all ended as they should. */
static uint64_t
crowd_finish(struct crowd *crowd, uint64_t began, size_t n)
{
    int r = uco_group_wait(crowd->group);
    uint64_t took = bench_clock() - began;

    uco_unref_all(crowd->tasks, n);
    uco_group_free(crowd->group);
    free(crowd->tasks);
    return r == 0 && crowd->count == n ? took : 0;
}

/* --- the floor --- */

#if FLOOR_SWITCH

static struct floor_context floor_home;
static struct floor_context *floor_current;
static size_t floor_visits;

static void
floor_visited(void)
{
    for (;;) {
        floor_visits++;
        floor_switch(floor_current, &floor_home);
    }
}

static void
floor_visit_all(char *stacks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        floor_current = floor_stack_top(stacks, i, sizeof *floor_current);
        floor_switch(&floor_home, floor_current);
    }
}

/* To each of n stacks and back, which is the least that n tasks' wake-ups can be. */
static uint64_t
floor_visit(size_t n)
{
    char *stacks = floor_stacks_map(n);
    uint64_t began;

    for (size_t i = 0; i < n; i++) {
        struct floor_context *context = floor_stack_top(stacks, i, sizeof *context);

        floor_context_init(context, context, floor_visited);
    }
    floor_visits = 0;
    floor_visit_all(stacks, n);
    began = bench_clock();
    floor_visit_all(stacks, n);
    began = bench_clock() - began;
    floor_stacks_unmap(stacks, n);
    return floor_visits == 2 * n ? began : 0;
}

#else
#define floor_visit NULL
#endif

/* --- scopes --- */

static uint64_t
scopes_nest(size_t n)
{
    uco_scope *scopes = bench_allocate(n * sizeof *scopes);
    size_t right = 0;
    uint64_t began = bench_clock();

    for (size_t i = 0; i < n; i++)
        right += uco_scope_open(&scopes[i], 1000.0) == 0;
    for (size_t i = n; i-- > 0;)
        right += uco_scope_close(&scopes[i], 0) == 0;
    began = bench_clock() - began;
    free(scopes);
    return right == 2 * n ? began : 0;
}

/* --- chains of tasks --- */

static intptr_t
link_create_next(void *arg)
{
    size_t *left = arg;
    intptr_t below;

    if (--*left == 0)
        return 1;
    below = uco_join(uco_create_task(link_create_next, left));
    return below < 0 ? below : below + 1;
}

static uint64_t
chain_of_children(size_t n)
{
    size_t left = n;
    uint64_t began = bench_clock();
    intptr_t length = uco_join(uco_create_task(link_create_next, &left));

    return length == (intptr_t) n ? bench_clock() - began : 0;
}

static intptr_t
link_await_previous(void *previous)
{
    intptr_t below = previous != NULL ? uco_await(previous) : uco_yield();

    return below < 0 ? below : below + 1;
}

static uint64_t
chain_of_siblings(size_t n)
{
    uco_task **tasks = bench_allocate(n * sizeof(uco_task *));
    uint64_t began = bench_clock();
    intptr_t length;

    for (size_t i = 0; i < n; i++)
        tasks[i] = uco_create_task(link_await_previous, i > 0 ? tasks[i - 1] : NULL);
    length = uco_await(tasks[n - 1]);
    uco_unref_all(tasks, n);
    began = bench_clock() - began;
    free(tasks);
    return length == (intptr_t) n ? began : 0;
}

/* --- many that wait --- */

static intptr_t
event_waiter(void *arg)
{
    struct crowd *crowd = arg;

    crowd->count += uco_event_wait(&crowd->event) == 0;
    return 0;
}

static uint64_t
event_set_for_all(size_t n)
{
    struct crowd crowd = {.count = 0};
    uint64_t began;

    crowd_create(&crowd, event_waiter, n);
    began = bench_clock();
    uco_event_set(&crowd.event);
    return crowd_finish(&crowd, began, n);
}

static intptr_t
sleeper(void *arg)
{
    struct crowd *crowd = arg;

    crowd->count += uco_sleep(1000.0) == -ECANCELED;
    return 0;
}

static uint64_t
sleepers_cancel(size_t n)
{
    struct crowd crowd = {.count = 0};
    uint64_t began;

    crowd_create(&crowd, sleeper, n);
    began = bench_clock();
    uco_group_cancel(crowd.group);
    return crowd_finish(&crowd, began, n);
}

static intptr_t
semaphore_waiter(void *arg)
{
    struct crowd *crowd = arg;

    crowd->count += uco_semaphore_acquire(&crowd->semaphore) == -ECANCELED;
    return 0;
}

/* From both ends to the middle, which is where a search from either would take longest. */
static uint64_t
semaphore_waiters_cancel(size_t n)
{
    struct crowd crowd = {.count = 0};
    uint64_t began;

    crowd_create(&crowd, semaphore_waiter, n);
    began = bench_clock();
    for (size_t i = 0; i < n; i++)
        uco_cancel(crowd.tasks[i % 2 == 0 ? i / 2 : n - 1 - i / 2]);
    return crowd_finish(&crowd, began, n);
}

/* --- measuring --- */

struct growth {
    const char *what;
    growing *run;
};

struct measuring {
    const struct growth *growth;
    size_t n;
};

static intptr_t
growth_main(void *arg)
{
    const struct measuring *measuring = arg;
    size_t passes = bench_scaled(ELEMENTS_MAX) / measuring->n;
    uint64_t sum = 0;

    if (measuring->growth->run(measuring->n) == 0)
        return -EIO;
    for (size_t i = 0; i < passes; i++) {
        uint64_t took = measuring->growth->run(measuring->n);

        if (took == 0)
            return -EIO;
        sum += took;
    }
    return (intptr_t) sum;
}

static bool
growth_measure(const void *growth, size_t n, double values[])
{
    struct measuring measuring = {.growth = growth, .n = bench_scaled(n)};
    const uco_loop_options options = {.slow_callback = 60};
    intptr_t took = uco_run_with(&options, growth_main, &measuring);

    values[0] = (double) took / (double) bench_scaled(ELEMENTS_MAX);
    return took > 0;
}

static bool
growth_run_1000(const void *growth, double values[])
{
    return growth_measure(growth, 1000, values);
}

static bool
growth_run_10000(const void *growth, double values[])
{
    return growth_measure(growth, 10 * 1000, values);
}

static bool
growth_run_100000(const void *growth, double values[])
{
    return growth_measure(growth, ELEMENTS_MAX, values);
}

int
main(int argc, char **argv)
{
    static const struct bench_metric metric = {.name = "each", .unit = "ns"};
    static const struct bench_subject subjects[] = {
        {"1,000", growth_run_1000, NULL},
        {"10,000", growth_run_10000, NULL},
        {"100,000", growth_run_100000, NULL},
    };
    static const struct growth growths[] = {
        {"floor: to n stacks and back", floor_visit},
        {"nested scopes, open and close", scopes_nest},
        {"tasks: each creates and joins one", chain_of_children},
        {"tasks: each awaits the one before", chain_of_siblings},
        {"waiters of one event, all woken", event_set_for_all},
        {"sleepers, all cancelled", sleepers_cancel},
        {"semaphore waiters, cancelled", semaphore_waiters_cancel},
    };

    bench_begin("bench_growth", "from 1,000 to 100,000 at once", argc, argv);
    for (size_t i = FLOOR_SWITCH ? 0 : 1; i < COUNT(growths); i++)
        bench_compare(growths[i].what, &metric, 1, subjects, COUNT(subjects), &growths[i]);
    return bench_end();
}
