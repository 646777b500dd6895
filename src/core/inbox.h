/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_INBOX_H
#define UCO_CORE_INBOX_H

/*
 * The only door for other threads: a lock-free list that any thread pushes to and the loop takes
 * out whole, in the order of each producer. The eventfd is only a doorbell, rung when the loop may
 * be asleep.
 */

#include "core/ready.h"

#include <stdatomic.h>
#include <stdbool.h>

struct uco__inbox {
    _Atomic(struct uco__ready *) head; /* the newest first; a mark that says closed at the end of
                                          its life */
    atomic_bool asleep;                /* the loop waits in the kernel, or is about to */
    atomic_uint ringing;               /* threads between their look at `closed` and the end of
                                          their write */
    atomic_bool closed;                /* the doorbell must not be rung any more */
    int doorbell;                      /* eventfd */
    unsigned wakes;                    /* that the loop was told of by the doorbell */
};

int uco__inbox_init(struct uco__inbox *inbox);
/* Waits for those who are ringing, then closes the doorbell. After uco__inbox_close(). */
void uco__inbox_done(struct uco__inbox *inbox);

/* Any thread. 0, or -ESHUTDOWN: the node was not taken. */
int uco__inbox_push(struct uco__inbox *inbox, struct uco__ready *node);
/* Any thread, and signal handlers: rings whether the loop sleeps or not. -ESHUTDOWN once closed.
 * Keeps errno. */
int uco__inbox_ring(struct uco__inbox *inbox);
/* Any thread: rings if the loop sleeps. What it is to see must have been stored (sequentially
 * consistent) before. */
void uco__inbox_wake(struct uco__inbox *inbox);

/* The loop: before it sleeps; false if it must not, because something has come in. */
bool uco__inbox_sleep(struct uco__inbox *inbox);
void uco__inbox_awake(struct uco__inbox *inbox);
/* The loop: the poller says that the doorbell was rung. What it may have been rung for is looked at
 * after this. */
void uco__inbox_answer(struct uco__inbox *inbox);

static inline bool
uco__inbox_empty(struct uco__inbox *inbox)
{
    /* Relaxed: what comes in a moment later is seen at the next look, or by uco__inbox_sleep(). */
    return atomic_load_explicit(&inbox->head, memory_order_relaxed) == NULL;
}

/* Any thread. What came in last, and was not taken out yet. */
static inline bool
uco__inbox_newest_is(struct uco__inbox *inbox, const struct uco__ready *node)
{
    /* Relaxed: nothing is read through it. */
    return atomic_load_explicit(&inbox->head, memory_order_relaxed) == node;
}

/* The loop: moves all that has come in to the end of `queue`; how many those were. */
unsigned long uco__inbox_drain(struct uco__inbox *inbox, struct uco__ready_queue *queue);
/* The same, and refuses everything from now on. */
unsigned long uco__inbox_close(struct uco__inbox *inbox, struct uco__ready_queue *queue);

#endif
