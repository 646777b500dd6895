/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_QUEUE_H
#define UCO_SYNC_QUEUE_H

/* A queue from the inside: for queue.c and select.c. */

#include "base/futex.h"
#include "core/loop.h"
#include "sync/enter.h"
#include "sync/items.h"

#include <stdatomic.h>
#include <uco/queue.h>

/* An item on its way in from uco_queue_put_threadsafe(). */
struct uco__queue_node {
    struct uco__queue_node *next;
    _Alignas(max_align_t) unsigned char item[];
};

struct uco_queue {
    /* The loop's thread's only. */
    uint32_t number; /* the loop's; 0: none yet */
    bool shut;
    bool freed;    /* only its memory is left, for those inside and for an arrival */
    unsigned uses; /* calls between their begin and their end, in which others may run */
    size_t capacity;
    struct uco__items items;
    size_t unfinished; /* that were put in, and not marked done */
    size_t left;       /* the first of `incoming`, for which there was no memory in `items` */
    struct uco_waiters getters;
    struct uco_waiters putters;
    struct uco_waiters joiners;

    /* Any thread's. */
    _Atomic(struct uco_loop *) loop; /* a hold on it; NULL: none yet */
    atomic_uint references;          /* of the memory: the user's, and an arrival's */
    struct uco__mutex mutex;         /* of all that follows */
    bool refusing;
    bool arriving;                              /* `arrival` is on its way to the loop */
    _Atomic(struct uco__queue_node *) incoming; /* the oldest; written with the mutex */
    struct uco__queue_node *incoming_last;      /* valid unless there is none */
    size_t incoming_count;
    struct uco__ready arrival;
};

/* One who waits to get or put. */
struct uco__queue_waiter {
    struct uco__sync_waiter waiter;
    void *item;
    /* Its wait is over, and it is in no list any more. NULL: waiter.wait is woken. */
    void (*served)(struct uco__queue_waiter *waiter, int result);
    void *owner; /* served's own */
};

/* Of the same loop's thread, or idle: 0, -EPERM or -ESTALE. Binds. */
int uco__queue_bind(struct uco_queue *q);

/* All that other threads have put in so far is in the queue then. */
void uco__queue_take_incoming(struct uco_queue *q);

/* What can be done at once: 0, -EAGAIN, -ESHUTDOWN, -ENOMEM (put). */
int uco__queue_put_now(struct uco_queue *q, const void *item);
int uco__queue_get_now(struct uco_queue *q, void *item);

/* Gives back the reference of the user's, or of an arrival. */
void uco__queue_unref(struct uco_queue *q);

/* Around a call in which others may run: what they free keeps its memory, and is shut. */
static inline void
uco__queue_begin(struct uco_queue *q)
{
    q->uses++;
}

static inline void
uco__queue_end(struct uco_queue *q)
{
    if (--q->uses == 0 && UCO__UNLIKELY(q->freed))
        uco__queue_unref(q);
}

static inline void
uco__queue_update(struct uco_queue *q)
{
    /* Relaxed: what the caller knows to be in is seen, and it is read with the mutex. */
    if (UCO__UNLIKELY(atomic_load_explicit(&q->incoming, memory_order_relaxed) != NULL))
        uco__queue_take_incoming(q);
}

static inline bool
uco__queue_is_full(const struct uco_queue *q)
{
    return q->items.count >= q->capacity;
}

static inline bool
uco__queue_can_put(const struct uco_queue *q)
{
    return q->shut || !uco__queue_is_full(q);
}

static inline bool
uco__queue_can_get(const struct uco_queue *q)
{
    return q->shut || q->items.count > 0;
}

#endif
