/* SPDX-License-Identifier: MIT */

/*
 * Synchronisation between tasks, beside the same in Go, boost.fiber and asyncio. A row's work comes
 * in units of one or more operations; each subject does some for warming up, then those that are
 * measured, and says how many operations came out right.
 *
 * The peers (peers/sync.*) are programs, started anew for each round.
 */

#include "support/bench.h"
#include "support/floor_tasks.h"
#include "support/peer.h"

#include <stdlib.h>
#include <uco/uco.h>

enum {
    MEMBERS = 1000, /* of a group; the peers have the same */
    CAPACITY = 64,  /* of a queue that never blocks; the same */
    STACK_BYTES = 64 * 1024,
};

/** Does units of a row's work; how many operations were right. */
typedef size_t work(size_t units);

struct row {
    const char *name; /* the peers' */
    const char *what;
    size_t units; /* a round */
    size_t each;  /* operations in a unit */
    const char *floor_name;
    work *floor;
    work *uco;
    const char *boost_lacks; /* NULL: boost.fiber can do this */
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

/* What was written before is in memory, where others would see it. */
static inline void
memory_settle(void)
{
    __asm__ volatile("" ::: "memory");
}

static struct {
    bool held;
    const void *owner;
    size_t counter;
} floor_lock;

static size_t
lock_floor(size_t units)
{
    const void *self = &units;

    floor_lock.counter = 0;
    for (size_t i = 0; i < units; i++) {
        if (floor_lock.held)
            break;
        floor_lock.held = true;
        floor_lock.owner = self;
        memory_settle();
        floor_lock.counter++;
        memory_settle();
        if (floor_lock.owner != self)
            break;
        floor_lock.owner = NULL;
        floor_lock.held = false;
        memory_settle();
    }
    return floor_lock.counter;
}

static struct {
    uint64_t items[CAPACITY];
    size_t put;
    size_t got;
} floor_ring;

static size_t
queue_floor(size_t units)
{
    size_t right = 0;

    for (size_t i = 0; i < units; i++) {
        if (floor_ring.put - floor_ring.got == CAPACITY)
            break;
        floor_ring.items[floor_ring.put++ % CAPACITY] = i;
        memory_settle();
        if (floor_ring.put == floor_ring.got)
            break;
        right += floor_ring.items[floor_ring.got++ % CAPACITY] == i;
        memory_settle();
    }
    return right;
}

#if FLOOR_SWITCH

static struct {
    struct floor_context home, partner;
    size_t messages;
    uint64_t item;
    bool full;
} floor_pair;

static _Alignas(64) char floor_stack[STACK_BYTES];

static void
floor_partner_answer(void)
{
    for (;;) {
        floor_pair.messages++;
        floor_switch(&floor_pair.partner, &floor_pair.home);
    }
}

static size_t
event_floor(size_t units)
{
    floor_pair.messages = 0;
    floor_context_init(&floor_pair.partner, floor_stack + STACK_BYTES, floor_partner_answer);
    for (size_t i = 0; i < units; i++) {
        floor_switch(&floor_pair.home, &floor_pair.partner);
        floor_pair.messages++;
    }
    return floor_pair.messages;
}

static void
floor_partner_put(void)
{
    for (uint64_t item = 0;; item++) {
        while (floor_pair.full)
            floor_switch(&floor_pair.partner, &floor_pair.home);
        floor_pair.item = item;
        floor_pair.full = true;
    }
}

static size_t
handover_floor(size_t units)
{
    size_t right = 0;

    floor_pair.full = false;
    floor_context_init(&floor_pair.partner, floor_stack + STACK_BYTES, floor_partner_put);
    for (size_t i = 0; i < units; i++) {
        while (!floor_pair.full)
            floor_switch(&floor_pair.home, &floor_pair.partner);
        right += floor_pair.item == i;
        floor_pair.full = false;
    }
    return right;
}

static intptr_t
floor_member(void *arg)
{
    ++*(size_t *) arg;
    return 0;
}

static size_t
group_floor(size_t units)
{
    struct floor_stack home_stack = {.next = NULL};
    struct floor_task home = {.stack = &home_stack};
    static struct floor_task pool[MEMBERS];
    static struct floor_task *members[MEMBERS];
    char *stacks = floor_stacks_map(2);
    size_t ran = 0;

    floor_pools_fill(stacks, pool, MEMBERS);
    floor_queue.current = &home;
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < MEMBERS; k++)
            members[k] = floor_spawn(floor_member, &ran);
        for (size_t k = 0; k < MEMBERS; k++)
            floor_join(members[k]);
    }
    floor_stacks_unmap(stacks, 2);
    return ran;
}

#else
#define event_floor NULL
#define handover_floor NULL
#define group_floor NULL
#endif

static bool
floor_run(const void *arg, double values[])
{
    const struct row *row = arg;

    return work_measure(row, row->floor, values);
}

/* --- uco --- */

static size_t
lock_work(size_t units)
{
    uco_lock lock = {0};
    size_t counter = 0;

    for (size_t i = 0; i < units; i++) {
        if (uco_lock_acquire(&lock) < 0)
            break;
        counter++;
        uco_lock_release(&lock);
    }
    return counter;
}

struct pair {
    uco_event there, back;
    uco_queue *queue;
    size_t units;
    size_t messages;
};

static intptr_t
event_partner(void *arg)
{
    struct pair *pair = arg;

    for (size_t i = 0; i < pair->units; i++) {
        if (uco_event_wait(&pair->there) < 0)
            break;
        uco_event_clear(&pair->there);
        pair->messages++;
        uco_event_set(&pair->back);
    }
    return 0;
}

static size_t
event_work(size_t units)
{
    struct pair pair = {.units = units};
    uco_task *partner = uco_create_task(event_partner, &pair);

    for (size_t i = 0; i < units; i++) {
        uco_event_set(&pair.there);
        if (uco_event_wait(&pair.back) < 0)
            break;
        uco_event_clear(&pair.back);
        pair.messages++;
    }
    uco_join(partner);
    return pair.messages;
}

static size_t
queue_work(size_t units)
{
    uco_queue *queue = uco_queue_new(sizeof(uint64_t), CAPACITY);
    size_t right = 0;

    for (uint64_t i = 0; i < units; i++) {
        uint64_t item;

        if (uco_queue_put(queue, &i) < 0 || uco_queue_get(queue, &item) < 0)
            break;
        right += item == i;
    }
    uco_queue_free(queue);
    return right;
}

static intptr_t
handover_putter(void *arg)
{
    struct pair *pair = arg;

    for (uint64_t i = 0; i < pair->units; i++) {
        if (uco_queue_put(pair->queue, &i) < 0)
            break;
    }
    return 0;
}

static size_t
handover_work(size_t units)
{
    struct pair pair = {.units = units, .queue = uco_queue_new(sizeof(uint64_t), 1)};
    uco_task *putter = uco_create_task(handover_putter, &pair);
    size_t right = 0;

    for (size_t i = 0; i < units; i++) {
        uint64_t item;

        if (uco_queue_get(pair.queue, &item) < 0)
            break;
        right += item == i;
    }
    uco_join(putter);
    uco_queue_free(pair.queue);
    return right;
}

static size_t
scope_work(size_t units)
{
    size_t right = 0;

    for (size_t i = 0; i < units; i++) {
        uco_scope scope;

        if (uco_scope_open(&scope, 1.0) < 0)
            break;
        right += uco_scope_close(&scope, 0) == 0;
    }
    return right;
}

static intptr_t
group_member(void *arg)
{
    ++*(size_t *) arg;
    return 0;
}

static size_t
group_work(size_t units)
{
    size_t ran = 0;

    for (size_t i = 0; i < units; i++) {
        uco_group *group = uco_group_new();

        for (size_t k = 0; k < MEMBERS; k++)
            uco_group_create_task(group, group_member, &ran);
        uco_group_wait(group);
        uco_group_free(group);
    }
    return ran;
}

struct measuring {
    const struct row *row;
    double *values;
};

static intptr_t
uco_main(void *arg)
{
    const struct measuring *measuring = arg;

    return work_measure(measuring->row, measuring->row->uco, measuring->values);
}

static bool
uco_run_row(const void *row, double values[])
{
    struct measuring measuring = {.row = row, .values = values};
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    return uco_run_with(&options, uco_main, &measuring) == true;
}

/* --- the peers --- */

static const struct peer_program go = {.path = PEER_GO};
static const struct peer_program boost = {.path = PEER_BOOST};
/* The slow one does a part of the work. */
static const struct peer_program asyncio = {
    .path = PEER_PYTHON,
    .script = PEER_PYTHON_SCRIPT,
    .divisor = 20,
};

static bool
peer_run(const struct row *row, const struct peer_program *peer, double values[])
{
    return peer_run_row(peer, row->name, bench_scaled(row->units), values, 1);
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

/* --- the rows --- */

static const struct row rows[] = {
    {
        .name = "lock",
        .what = "lock: acquire and release",
        .units = 3 * 1000 * 1000,
        .each = 1,
        .floor_name = "floor: a flag and an owner",
        .floor = lock_floor,
        .uco = lock_work,
    },
    {
        .name = "event",
        .what = "event: a message to another task",
        .units = 500 * 1000,
        .each = 2,
        .floor_name = "floor: the bare switch",
        .floor = event_floor,
        .uco = event_work,
    },
    {
        .name = "queue",
        .what = "queue of 64: put and get",
        .units = 2 * 1000 * 1000,
        .each = 1,
        .floor_name = "floor: a ring buffer",
        .floor = queue_floor,
        .uco = queue_work,
    },
    {
        .name = "handover",
        .what = "queue of 1: to another task",
        .units = 500 * 1000,
        .each = 1,
        .floor_name = "floor: a place and the bare switch",
        .floor = handover_floor,
        .uco = handover_work,
    },
    {
        .name = "scope",
        .what = "scope of 1 s: open and close",
        .units = 500 * 1000,
        .each = 1,
        .floor_name = "floor",
        .uco = scope_work,
        .boost_lacks = "it has no such thing",
    },
    {
        .name = "group",
        .what = "group of 1,000: a member",
        .units = 200,
        .each = MEMBERS,
        .floor_name = "floor: pooled stacks and inline switch",
        .floor = group_floor,
        .uco = group_work,
    },
};

static void
row_compare(const struct row *row)
{
    static const struct bench_metric metric = {.name = "each", .unit = "ns"};
    const struct bench_subject subjects[] = {
        {row->floor_name, row->floor != NULL ? floor_run : NULL,
         row->uco != scope_work ? FLOOR_WITHOUT : "plain C has no such thing"},
        {"uco", uco_run_row, NULL},
        peer_subject_of("Go", &go, go_run, NULL),
        peer_subject_of("boost.fiber", &boost, boost_run, row->boost_lacks),
        peer_subject_of("asyncio", &asyncio, asyncio_run, NULL),
    };

    bench_compare_peers(row->what, &metric, 1, subjects, COUNT(subjects), row);
}

int
main(int argc, char **argv)
{
    bench_begin("bench_sync", "synchronisation, beside Go, boost.fiber and asyncio", argc, argv);
    for (size_t i = 0; i < COUNT(rows); i++)
        row_compare(&rows[i]);
    return bench_end();
}
