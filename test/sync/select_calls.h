/* SPDX-License-Identifier: MIT */
#ifndef TEST_SELECT_CALLS_H
#define TEST_SELECT_CALLS_H

/* What the tests of uco_select() share. */

#include "sync/queue_calls.h"

/* A task that selects once, and what became of it. */
struct selection {
    uco_select_case cases[4];
    int items[4];
    size_t n;
    double timeout;
    uco_task *task;
    int next; /* what a suspending call gave after it */
};

static inline intptr_t
select_once(void *arg)
{
    struct selection *s = arg;
    ssize_t r = uco_select(s->cases, s->n, s->timeout);

    s->next = uco_yield();
    return r;
}

/* One more case; an item of -1 is one to get, another is put. */
static inline void
add_case(struct selection *s, uco_queue *queue, int item)
{
    s->items[s->n] = item;
    s->cases[s->n] = (uco_select_case){
        .queue = queue,
        .op = item < 0 ? UCO_SELECT_GET : UCO_SELECT_PUT,
        .item = &s->items[s->n],
        .result = -EINPROGRESS,
    };
    s->n++;
}

/* Two cases, without limit. */
static inline struct selection
either(uco_queue *a, int item_a, uco_queue *b, int item_b)
{
    struct selection s = {.timeout = UCO_FOREVER};

    add_case(&s, a, item_a);
    add_case(&s, b, item_b);
    return s;
}

/* The struct must stay where it is from here on. */
static inline void
selection_start(struct selection *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->cases[i].item = &s->items[i];
    s->task = uco_create_task(select_once, s);
    ck_assert_int_eq(uco_test_settle(), 0);
}

static inline void
selection_ends(struct selection *s, intptr_t result, int next)
{
    ck_assert_int_eq(uco_join(s->task), result);
    ck_assert_int_eq(s->next, next);
}

/* That case happened, with that result, and that is in its item now. */
static inline void
selection_did(struct selection *s, size_t index, int result, int item)
{
    selection_ends(s, (intptr_t) index, 0);
    ck_assert_int_eq(s->cases[index].result, result);
    ck_assert_int_eq(s->items[index], item);
}

static inline ssize_t
select_now(struct selection *s, double timeout)
{
    for (size_t i = 0; i < s->n; i++)
        s->cases[i].item = &s->items[i];
    return uco_select(s->cases, s->n, timeout);
}

static inline void
check_size(uco_queue *q, size_t size)
{
    ck_assert_uint_eq(uco_queue_size(q), size);
}

/* Two queues of one place; the second has the item 2. */
struct pair {
    uco_queue *empty;
    uco_queue *full;
};

static inline struct pair
pair_new(void)
{
    struct pair p = {queue_of_ints(1), queue_of_ints(1)};

    put_now(p.full, 2);
    return p;
}

static inline void
pair_free(struct pair *p)
{
    uco_queue_free(p->empty);
    uco_queue_free(p->full);
}

#endif
