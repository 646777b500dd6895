/* SPDX-License-Identifier: MIT */

/*
 * Yielding: N coroutines that do nothing but let the next one run. What is measured lies between
 * two moments of the first one: `laps` yields of its own, in which each of the others makes as
 * many.
 *
 * In a FIFO they must end in the order in which they began, which is checked.
 *
 * The peers (peers/yield.*) are programs, started anew for each round.
 */

#include "support/bench.h"
#include "support/floor.h"
#include "support/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <uco/uco.h>

enum {
    SWITCHES = 2 * 1000 * 1000, /* a round */
    WARM_LAPS = 2,
};

struct course {
    size_t runners;
    size_t laps;
    uint64_t began;
    uint64_t ended;
    size_t finished;
    size_t yields;
    bool wrong;
};

struct runner {
    struct course *course;
    size_t index;
};

static struct course
course_new(size_t runners)
{
    size_t laps = bench_scaled(SWITCHES) / runners;

    return (struct course){.runners = runners, .laps = laps > 0 ? laps : 1};
}

static struct runner *
course_runners(struct course *course)
{
    struct runner *runners = bench_allocate(course->runners * sizeof *runners);

    for (size_t i = 0; i < course->runners; i++)
        runners[i] = (struct runner){.course = course, .index = i};
    return runners;
}

static void
runner_finish(const struct runner *runner, size_t yields)
{
    struct course *course = runner->course;

    course->yields += yields;
    if (course->finished++ != runner->index)
        course->wrong = true;
}

static bool
course_result(const struct course *course, double values[])
{
    double switches = (double) (course->laps * course->runners);

    values[0] = (double) (course->ended - course->began) / switches;
    return !course->wrong && course->finished == course->runners &&
           course->yields == course->runners * (WARM_LAPS + course->laps);
}

/* --- the floor --- */

#if FLOOR_SWITCH

/* All in one array, not at the hot ends of the stacks: each stack is a page of its own, and a walk
 * along the queue that missed the TLB at every step would be all that is measured. */
struct floor_fiber {
    struct floor_context context;
    struct floor_fiber *next;
    const struct runner *runner;
};

static struct {
    struct floor_fiber *head; /* of those that are ready */
    struct floor_fiber **tail;
    struct floor_fiber *current;
    struct floor_context home;
} queue = {.tail = &queue.head};

static inline void
queue_push(struct floor_fiber *fiber)
{
    fiber->next = NULL;
    *queue.tail = fiber;
    queue.tail = &fiber->next;
}

static inline struct floor_fiber *
queue_pop(void)
{
    struct floor_fiber *fiber = queue.head;

    queue.head = fiber->next;
    if (queue.head == NULL)
        queue.tail = &queue.head;
    queue.current = fiber;
    return fiber;
}

static inline __attribute__((always_inline)) void
floor_yield(bool prefetch)
{
    struct floor_fiber *from = queue.current;
    struct floor_fiber *to;

    queue_push(from);
    to = queue_pop();
    if (prefetch) /* of two or more that yield, one is always left in the queue */
        __builtin_prefetch(queue.head->context.sp);
    floor_switch(&from->context, &to->context);
}

static inline __attribute__((always_inline)) void
floor_body(bool prefetch)
{
    struct floor_fiber *self = queue.current;
    const struct runner *runner = self->runner;
    size_t laps = runner->course->laps;
    size_t yields = 0;

    for (; yields < WARM_LAPS; yields++)
        floor_yield(prefetch);
    if (runner->index == 0)
        runner->course->began = bench_clock();
    for (; yields < WARM_LAPS + laps; yields++)
        floor_yield(prefetch);
    if (runner->index == 0)
        runner->course->ended = bench_clock();
    runner_finish(runner, yields);
    floor_switch(&self->context, queue.head != NULL ? &queue_pop()->context : &queue.home);
}

static void
floor_entry(void)
{
    floor_body(false);
}

static void
floor_entry_prefetching(void)
{
    floor_body(true);
}

static bool
floor_measure(size_t count, size_t bytes, void (*entry)(void), double values[])
{
    struct course course = course_new(count);
    struct runner *runners = course_runners(&course);
    struct floor_fiber *fibers = bench_allocate(count * sizeof *fibers);
    char *stacks = floor_stacks_map_of(count, bytes);

    for (size_t i = 0; i < count; i++) {
        floor_context_init(&fibers[i].context, floor_stack_top_of(stacks, i, 0, bytes), entry);
        fibers[i].runner = &runners[i];
        queue_push(&fibers[i]);
    }
    floor_switch(&queue.home, &queue_pop()->context);
    floor_stacks_unmap_of(stacks, count, bytes);
    free(fibers);
    free(runners);
    return course_result(&course, values);
}

static bool
floor_run(const void *count, double values[])
{
    return floor_measure(*(const size_t *) count, FLOOR_STACK_BYTES, floor_entry, values);
}

static bool
floor_run_prefetching(const void *count, double values[])
{
    return floor_measure(*(const size_t *) count, FLOOR_STACK_BYTES, floor_entry_prefetching,
                         values);
}

/* What room for more than a toy costs: each stack has a line of page tables of its own. */
static bool
floor_run_far(const void *count, double values[])
{
    return floor_measure(*(const size_t *) count, FLOOR_STACK_BYTES_FAR, floor_entry, values);
}

#else
#define floor_run NULL
#define floor_run_far NULL
#define floor_run_prefetching NULL
#endif

/* --- uco --- */

static intptr_t
yield_body(void *arg)
{
    const struct runner *runner = arg;
    size_t laps = runner->course->laps;
    size_t yields = 0;
    int r = 0;

    for (; yields < WARM_LAPS; yields++)
        r |= uco_yield();
    if (runner->index == 0)
        runner->course->began = bench_clock();
    for (; yields < WARM_LAPS + laps; yields++)
        r |= uco_yield();
    if (runner->index == 0)
        runner->course->ended = bench_clock();
    runner_finish(runner, yields);
    return r;
}

static intptr_t
yield_main(void *arg)
{
    struct course *course = arg;
    struct runner *runners = course_runners(course);
    uco_future **tasks = bench_allocate(course->runners * sizeof *tasks);
    int r;

    for (size_t i = 0; i < course->runners; i++)
        tasks[i] = uco_create_task(yield_body, &runners[i]);
    r = uco_gather(tasks, course->runners, NULL);
    uco_unref_all(tasks, course->runners);
    free(tasks);
    free(runners);
    return r;
}

static bool
uco_run_yields(const void *count, double values[])
{
    struct course course = course_new(*(const size_t *) count);
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    return uco_run_with(&options, yield_main, &course) == 0 && course_result(&course, values);
}

/* --- the peers --- */

enum {
    /* Of the full number of switches, what the slow ones do. */
    PTH_DIVISOR = 50,
    PYTHON_DIVISOR = 20,
    PTH_RUNNERS_MAX = 1000,
    /* Creating more takes the slow ones seconds: too long for a quick run. */
    QUICK_RUNNERS_MAX = 10 * 1000,
    ROUNDS_OF_MANY = 7,
};

static const struct peer_program boost = {.path = PEER_BOOST};
static const struct peer_program st = {.path = PEER_ST};
static const struct peer_program pth = {.path = PEER_PTH, .divisor = PTH_DIVISOR};
static const struct peer_program go = {.path = PEER_GO};
static const struct peer_program asyncio = {
    .path = PEER_PYTHON,
    .script = PEER_PYTHON_SCRIPT,
    .divisor = PYTHON_DIVISOR,
};
static const struct peer_program uvloop = {
    .path = PEER_UVLOOP,
    .script = PEER_PYTHON_SCRIPT,
    .loop = "uvloop",
    .divisor = PYTHON_DIVISOR,
};

/* Its rows are the numbers of runners; a unit of work is a lap. */
static bool
peer_run(const struct peer_program *peer, const void *count, double values[])
{
    struct course course = course_new(*(const size_t *) count);
    char row[24];

    snprintf(row, sizeof row, "%zu", course.runners);
    return peer_run_row(peer, row, course.laps, values, 1);
}

static bool
boost_run(const void *count, double values[])
{
    return peer_run(&boost, count, values);
}

static bool
st_run(const void *count, double values[])
{
    return peer_run(&st, count, values);
}

static bool
pth_run(const void *count, double values[])
{
    return peer_run(&pth, count, values);
}

static bool
go_run(const void *count, double values[])
{
    return peer_run(&go, count, values);
}

static bool
asyncio_run(const void *count, double values[])
{
    return peer_run(&asyncio, count, values);
}

static bool
uvloop_run(const void *count, double values[])
{
    return peer_run(&uvloop, count, values);
}

static void
yields_compare(size_t count)
{
    static const struct bench_metric metric = {.name = "a switch", .unit = "ns"};
    const char *slow = bench_quick() && count > QUICK_RUNNERS_MAX
                           ? "so many take it too long for a quick run"
                           : NULL;
    const char *pth_lacks =
        count > PTH_RUNNERS_MAX ? "each yield searches the queue of all that are ready" : NULL;
    const struct bench_subject subjects[] = {
        {"floor: FIFO and inline switch", floor_run, FLOOR_WITHOUT},
        {"floor, prefetching the next but one", floor_run_prefetching, FLOOR_WITHOUT},
        {"floor, stacks as far apart as uco's", floor_run_far, FLOOR_WITHOUT},
        {"uco_yield", uco_run_yields, NULL},
        peer_subject_of("boost.fiber", &boost, boost_run, slow),
        peer_subject_of("State Threads", &st, st_run, slow),
        peer_subject_of("Pth", &pth, pth_run, pth_lacks),
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("asyncio", &asyncio, asyncio_run, slow),
        peer_subject_of("uvloop", &uvloop, uvloop_run, slow),
    };
    char what[32];

    snprintf(what, sizeof what, "N = %zu", count);
    if (count >= QUICK_RUNNERS_MAX)
        bench_rounds_at_most(bench_quick() ? 1 : ROUNDS_OF_MANY);
    bench_compare_peers(what, &metric, 1, subjects, COUNT(subjects), &count);
}

int
main(int argc, char **argv)
{
    static const size_t counts[] = {2, 100, 10000, 100000};

    bench_begin("bench_yield", "N coroutines that let each other run", argc, argv);
    for (size_t i = 0; i < COUNT(counts); i++)
        yields_compare(counts[i]);
    return bench_end();
}
