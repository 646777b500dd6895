/* SPDX-License-Identifier: MIT */
#ifndef TEST_QUEUE_CALLS_H
#define TEST_QUEUE_CALLS_H

/* What the tests of queues share: queues of ints, tasks that make one call, and other threads. */

#include "support.h"

#include <pthread.h>
#include <uco/queue.h>

/* A task that gets, puts or joins once, and what became of it. */
struct call {
    uco_queue *queue;
    uco_task *task;
    int item; /* put, or got */
    int next; /* what a suspending call gave after it */
};

static inline intptr_t
get_once(void *arg)
{
    struct call *call = arg;
    int r = uco_queue_get(call->queue, &call->item);

    call->next = uco_yield();
    return r;
}

static inline intptr_t
put_once(void *arg)
{
    struct call *call = arg;
    int r = uco_queue_put(call->queue, &call->item);

    call->next = uco_yield();
    return r;
}

static inline intptr_t
join_once(void *arg)
{
    struct call *call = arg;
    int r = uco_queue_join(call->queue);

    call->next = uco_yield();
    return r;
}

/* Starts the task, and returns when it waits or has ended. Whoever was woken before runs, too. */
static inline void
call_start(struct call *call, uco_fn *fn, uco_queue *queue, int item)
{
    *call = (struct call){.queue = queue, .item = item};
    call->task = uco_create_task(fn, call);
    ck_assert_int_eq(uco_test_settle(), 0);
}

static inline void
call_cancel(struct call *call)
{
    ck_assert_int_eq(uco_cancel(call->task), 0);
}

/* Waits for its end: the result, and what the next call gave. */
static inline void
call_ends(struct call *call, int result, int next)
{
    ck_assert_int_eq(uco_join(call->task), result);
    ck_assert_int_eq(call->next, next);
}

static inline void
call_gets(struct call *call, int item)
{
    call_ends(call, 0, 0);
    ck_assert_int_eq(call->item, item);
}

static inline uco_queue *
queue_of_ints(size_t capacity)
{
    uco_queue *q = uco_queue_new(sizeof(int), capacity);

    ck_assert_ptr_nonnull(q);
    return q;
}

static inline void
put_now(uco_queue *q, int item)
{
    ck_assert_int_eq(uco_queue_put_nowait(q, &item), 0);
}

static inline void
get_now(uco_queue *q, int item)
{
    int got = -1;

    ck_assert_int_eq(uco_queue_get_nowait(q, &got), 0);
    ck_assert_int_eq(got, item);
}

static inline int
compare_ints(const void *a, const void *b)
{
    const int *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static inline pthread_t
thread_start(void *(*fn)(void *arg), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static inline void
thread_ends(pthread_t thread)
{
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* Puts the items from, from + 1, ... in, from a thread of its own, and returns when they are. */
struct batch {
    uco_queue *queue;
    int from;
    int n;
    int result; /* of each */
};

static inline void *
batch_put(void *arg)
{
    struct batch *batch = arg;

    for (int i = 0; i < batch->n; i++) {
        int item = batch->from + i;

        ck_assert_int_eq(uco_queue_put_threadsafe(batch->queue, &item), batch->result);
        item = -1; /* it was copied */
    }
    return NULL;
}

static inline void
put_from_thread(uco_queue *q, int from, int n, int result)
{
    thread_ends(thread_start(batch_put, &(struct batch){q, from, n, result}));
}

#endif
