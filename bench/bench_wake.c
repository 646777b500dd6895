/* SPDX-License-Identifier: MIT */

/*
 * Two coroutines that wake each other in turn, by each primitive that can do it; and one that waits
 * for a thousand. There and back is two messages.
 *
 * The peers (peers/wake.*) do a row's work by what they have that comes nearest, and are programs,
 * started anew for each round.
 */

#include "support/bench.h"
#include "support/floor_tasks.h"
#include "support/peer.h"

#include <errno.h>
#include <uco/uco.h>

enum {
    TASKS = 1000, /* that are gathered; the peers have the same */
    TRIPS = 300 * 1000,
    GATHERS = 200,
    /* The slow ones do a part of the work. */
    SLOW_DIVISOR = 20,
};

/** Does units of work; how many operations were right. */
typedef size_t work(size_t units);

/** A comparison. */
struct row {
    const char *what;
    size_t units; /* a round */
    size_t each;  /* operations in a unit */
};

static bool
work_measure(const struct row *row, work *run, double values[])
{
    size_t units = bench_scaled(row->units), operations;
    uint64_t began;

    run(units / 10 + 1);
    began = bench_clock();
    operations = run(units);
    values[0] = (double) (bench_clock() - began) / (double) (units * row->each);
    return operations == units * row->each;
}

/* --- the floors --- */

#if FLOOR_SWITCH

static struct {
    struct floor_task tasks[2];
    struct floor_stack stacks[2];
    size_t messages;
} floor_pair;

/* The other one becomes ready, and what is ready runs: that is the other one. */
static inline void
floor_send(unsigned self)
{
    floor_queue_push(&floor_pair.tasks[1 - self]);
    floor_switch(&floor_pair.stacks[self].context, &floor_queue_pick()->context);
}

static void
floor_partner(void)
{
    for (;;) {
        floor_pair.messages++;
        floor_send(1);
    }
}

static size_t
message_floor(size_t units)
{
    char *stacks = floor_stacks_map(1);

    floor_pair.messages = 0;
    for (unsigned i = 0; i < 2; i++)
        floor_pair.tasks[i] = (struct floor_task){.stack = &floor_pair.stacks[i]};
    floor_context_init(&floor_pair.stacks[1].context, floor_stack_top(stacks, 0, 64),
                       floor_partner);
    for (size_t i = 0; i < units; i++) {
        floor_send(0);
        floor_pair.messages++;
    }
    floor_stacks_unmap(stacks, 1);
    return floor_pair.messages;
}

static void
floor_yield(void)
{
    struct floor_task *self = floor_queue.current;

    floor_queue_push(self);
    floor_switch(&self->stack->context, &floor_queue_pick()->context);
}

static intptr_t
floor_member(void *arg)
{
    floor_yield();
    return (intptr_t) arg;
}

static size_t
gather_floor(size_t units)
{
    static struct floor_task pool[TASKS];
    static struct floor_task *members[TASKS];
    struct floor_stack home_stack = {.next = NULL};
    struct floor_task home = {.stack = &home_stack};
    char *stacks = floor_stacks_map(TASKS);
    size_t right = 0;

    floor_pools_fill(stacks, pool, TASKS);
    /* All are suspended at once: the two stacks of the pool do not do. */
    for (size_t i = 2; i < TASKS; i++) {
        struct floor_stack *stack = floor_stack_top(stacks, i, sizeof *stack);

        floor_context_init(&stack->context, stack, floor_tasks_entry);
        stack->next = floor_queue.stacks;
        floor_queue.stacks = stack;
    }
    floor_queue.current = &home;
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < TASKS; k++)
            members[k] = floor_spawn(floor_member, (void *) k);
        for (size_t k = 0; k < TASKS; k++)
            right += floor_join(members[k]) == (intptr_t) k;
    }
    floor_stacks_unmap(stacks, TASKS);
    return right;
}

static bool
message_run_floor(const void *row, double values[])
{
    return work_measure(row, message_floor, values);
}

static bool
gather_run_floor(const void *row, double values[])
{
    return work_measure(row, gather_floor, values);
}

#else
#define message_run_floor NULL
#define gather_run_floor NULL
#endif

/* --- uco --- */

enum { THERE, BACK };

struct pair {
    uco_event events[2];
    uco_semaphore semaphores[2];
    uco_queue *queues[2];
    uco_lock lock;
    uco_condition turned;
    unsigned turn;
    size_t units;
    size_t messages; /* that were right */
};

static intptr_t
event_partner(void *arg)
{
    struct pair *pair = arg;

    for (size_t i = 0; i < pair->units; i++) {
        if (uco_event_wait(&pair->events[THERE]) < 0)
            break;
        uco_event_clear(&pair->events[THERE]);
        pair->messages++;
        uco_event_set(&pair->events[BACK]);
    }
    return 0;
}

static size_t
event_work(size_t units)
{
    struct pair pair = {.units = units};
    uco_task *partner = uco_create_task(event_partner, &pair);

    for (size_t i = 0; i < units; i++) {
        uco_event_set(&pair.events[THERE]);
        if (uco_event_wait(&pair.events[BACK]) < 0)
            break;
        uco_event_clear(&pair.events[BACK]);
        pair.messages++;
    }
    uco_join(partner);
    return pair.messages;
}

static intptr_t
semaphore_partner(void *arg)
{
    struct pair *pair = arg;

    for (size_t i = 0; i < pair->units; i++) {
        if (uco_semaphore_acquire(&pair->semaphores[THERE]) < 0)
            break;
        pair->messages++;
        uco_semaphore_release(&pair->semaphores[BACK]);
    }
    return 0;
}

static size_t
semaphore_work(size_t units)
{
    struct pair pair = {.units = units};
    uco_task *partner = uco_create_task(semaphore_partner, &pair);

    for (size_t i = 0; i < units; i++) {
        uco_semaphore_release(&pair.semaphores[THERE]);
        if (uco_semaphore_acquire(&pair.semaphores[BACK]) < 0)
            break;
        pair.messages++;
    }
    uco_join(partner);
    return pair.messages;
}

static intptr_t
queue_partner(void *arg)
{
    struct pair *pair = arg;
    uint64_t item;

    for (uint64_t i = 0; i < pair->units; i++) {
        if (uco_queue_get(pair->queues[THERE], &item) < 0)
            break;
        pair->messages += item == i;
        if (uco_queue_put(pair->queues[BACK], &item) < 0)
            break;
    }
    return 0;
}

static size_t
queue_work(size_t units)
{
    struct pair pair = {
        .units = units,
        .queues = {uco_queue_new(sizeof(uint64_t), 1), uco_queue_new(sizeof(uint64_t), 1)},
    };
    uco_task *partner = uco_create_task(queue_partner, &pair);
    uint64_t item;

    for (uint64_t i = 0; i < units; i++) {
        if (uco_queue_put(pair.queues[THERE], &i) < 0 ||
            uco_queue_get(pair.queues[BACK], &item) < 0)
            break;
        pair.messages += item == i;
    }
    uco_join(partner);
    uco_queue_free(pair.queues[THERE]);
    uco_queue_free(pair.queues[BACK]);
    return pair.messages;
}

/* Holds the lock but for the waits. */
static void
condition_play(struct pair *pair, unsigned self)
{
    if (uco_lock_acquire(&pair->lock) < 0)
        return;
    for (size_t i = 0; i < pair->units; i++) {
        while (pair->turn != self) {
            if (uco_condition_wait(&pair->turned, &pair->lock) < 0) {
                uco_lock_release(&pair->lock);
                return;
            }
        }
        pair->messages++;
        pair->turn = 1 - self;
        uco_condition_notify(&pair->turned, 1);
    }
    uco_lock_release(&pair->lock);
}

static intptr_t
condition_partner(void *arg)
{
    condition_play(arg, 1);
    return 0;
}

static size_t
condition_work(size_t units)
{
    struct pair pair = {.units = units};
    uco_task *partner = uco_create_task(condition_partner, &pair);

    condition_play(&pair, 0);
    uco_join(partner);
    return pair.messages;
}

static intptr_t
gather_member(void *arg)
{
    return uco_yield() == 0 ? (intptr_t) arg : -ECANCELED;
}

static size_t
gather_work(size_t units)
{
    static uco_task *tasks[TASKS];
    static intptr_t results[TASKS];
    size_t right = 0;

    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < TASKS; k++)
            tasks[k] = uco_create_task(gather_member, (void *) k);
        if (uco_gather(tasks, TASKS, results) < 0)
            break;
        for (size_t k = 0; k < TASKS; k++)
            right += results[k] == (intptr_t) k;
        uco_unref_all(tasks, TASKS);
    }
    return right;
}

struct measuring {
    const struct row *row;
    work *run;
    double *values;
};

static intptr_t
uco_main(void *arg)
{
    const struct measuring *measuring = arg;

    return work_measure(measuring->row, measuring->run, measuring->values);
}

static bool
uco_measure(const struct row *row, work *run, double values[])
{
    struct measuring measuring = {.row = row, .run = run, .values = values};
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    return uco_run_with(&options, uco_main, &measuring) == true;
}

static bool
event_run(const void *row, double values[])
{
    return uco_measure(row, event_work, values);
}

static bool
semaphore_run(const void *row, double values[])
{
    return uco_measure(row, semaphore_work, values);
}

static bool
queue_run(const void *row, double values[])
{
    return uco_measure(row, queue_work, values);
}

static bool
condition_run(const void *row, double values[])
{
    return uco_measure(row, condition_work, values);
}

static bool
gather_run(const void *row, double values[])
{
    return uco_measure(row, gather_work, values);
}

/* --- the peers --- */

static const struct peer_program go = {.path = PEER_GO};
static const struct peer_program boost = {.path = PEER_BOOST};
static const struct peer_program st = {.path = PEER_ST};
static const struct peer_program pth = {.path = PEER_PTH, .divisor = SLOW_DIVISOR};
static const struct peer_program asyncio = {
    .path = PEER_PYTHON,
    .script = PEER_PYTHON_SCRIPT,
    .loop = "asyncio",
    .divisor = SLOW_DIVISOR,
};
static const struct peer_program uvloop = {
    .path = PEER_UVLOOP,
    .script = PEER_PYTHON_SCRIPT,
    .loop = "uvloop",
    .divisor = SLOW_DIVISOR,
};

static bool
peer_run(const struct row *row, const struct peer_program *peer, const char *work_name,
         double values[])
{
    return peer_run_row(peer, work_name, bench_scaled(row->units), values, 1);
}

static bool
go_channel_run(const void *row, double values[])
{
    return peer_run(row, &go, "channel", values);
}

static bool
go_gather_run(const void *row, double values[])
{
    return peer_run(row, &go, "gather", values);
}

static bool
boost_unbuffered_run(const void *row, double values[])
{
    return peer_run(row, &boost, "unbuffered", values);
}

static bool
boost_buffered_run(const void *row, double values[])
{
    return peer_run(row, &boost, "buffered", values);
}

static bool
boost_condition_run(const void *row, double values[])
{
    return peer_run(row, &boost, "condition", values);
}

static bool
boost_gather_run(const void *row, double values[])
{
    return peer_run(row, &boost, "gather", values);
}

static bool
st_condition_run(const void *row, double values[])
{
    return peer_run(row, &st, "condition", values);
}

static bool
pth_port_run(const void *row, double values[])
{
    return peer_run(row, &pth, "port", values);
}

static bool
asyncio_event_run(const void *row, double values[])
{
    return peer_run(row, &asyncio, "event", values);
}

static bool
asyncio_queue_run(const void *row, double values[])
{
    return peer_run(row, &asyncio, "queue", values);
}

static bool
asyncio_gather_run(const void *row, double values[])
{
    return peer_run(row, &asyncio, "gather", values);
}

static bool
uvloop_event_run(const void *row, double values[])
{
    return peer_run(row, &uvloop, "event", values);
}

static bool
uvloop_queue_run(const void *row, double values[])
{
    return peer_run(row, &uvloop, "queue", values);
}

static bool
uvloop_gather_run(const void *row, double values[])
{
    return peer_run(row, &uvloop, "gather", values);
}

/* --- the rows --- */

static const struct bench_metric each = {.name = "each", .unit = "ns"};

static void
message_compare(void)
{
    static const struct row row = {
        .what = "a message to another coroutine", .units = TRIPS, .each = 2};
    const struct bench_subject subjects[] = {
        {"floor: run queue and inline switch", message_run_floor, FLOOR_WITHOUT},
        {"uco: event", event_run, NULL},
        {"uco: semaphore", semaphore_run, NULL},
        {"uco: queue of 1", queue_run, NULL},
        {"uco: lock and condition", condition_run, NULL},
        peer_subject_of("Go: channel", &go, go_channel_run, NULL),
        peer_subject_of("boost.fiber: unbuffered_channel", &boost, boost_unbuffered_run, NULL),
        peer_subject_of("boost.fiber: buffered_channel of 1", &boost, boost_buffered_run, NULL),
        peer_subject_of("boost.fiber: mutex and condition", &boost, boost_condition_run, NULL),
        peer_subject_of("State Threads: condition", &st, st_condition_run, NULL),
        peer_subject_of("Pth: message port", &pth, pth_port_run, NULL),
        peer_subject_of("asyncio: Event", &asyncio, asyncio_event_run, NULL),
        peer_subject_of("asyncio: Queue of 1", &asyncio, asyncio_queue_run, NULL),
        peer_subject_of("uvloop: Event", &uvloop, uvloop_event_run, NULL),
        peer_subject_of("uvloop: Queue of 1", &uvloop, uvloop_queue_run, NULL),
    };

    bench_compare_peers(row.what, &each, 1, subjects, COUNT(subjects), &row);
}

static void
gather_compare(void)
{
    static const struct row row = {
        .what = "gather of 1,000 that yield once, a task", .units = GATHERS, .each = TASKS};
    const struct bench_subject subjects[] = {
        {"floor: pooled stacks and inline switch", gather_run_floor, FLOOR_WITHOUT},
        {"uco: gather", gather_run, NULL},
        peer_subject_of("Go: WaitGroup", &go, go_gather_run, NULL),
        peer_subject_of("boost.fiber: join", &boost, boost_gather_run, NULL),
        peer_subject_of("asyncio: gather", &asyncio, asyncio_gather_run, NULL),
        peer_subject_of("uvloop: gather", &uvloop, uvloop_gather_run, NULL),
    };

    bench_compare_peers(row.what, &each, 1, subjects, COUNT(subjects), &row);
}

int
main(int argc, char **argv)
{
    bench_begin("bench_wake", "coroutines that wake each other", argc, argv);
    message_compare();
    gather_compare();
    return bench_end();
}
