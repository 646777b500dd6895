/* SPDX-License-Identifier: MIT */

/*
 * Barriers.
 *
 * 1. `waiting` is the length of `waiters`, and less than `parties`.
 * 2. While the barrier is broken, nobody waits.
 *
 * A waiter learns its place when the round is complete, not when it comes: those before it may be
 * cancelled meanwhile.
 */

#include "core/report.h"
#include "sync/describe.h"
#include "sync/enter.h"

#include <errno.h>

struct barrier_waiter {
    struct uco__sync_waiter waiter;
    uco_barrier *barrier;
};

int
uco_barrier_init(uco_barrier *b, size_t parties)
{
    if (b == NULL || parties == 0)
        return uco__misuse(-EINVAL, "uco_barrier_init: the barrier is NULL, or has 0 parties");
    *b = (uco_barrier){.parties = parties};
    return 0;
}

static enum uco__abort
barrier_abort(struct uco__wait *wait)
{
    struct barrier_waiter *self = UCO__CONTAINER(wait, struct barrier_waiter, waiter.wait);

    uco__waiters_remove(&self->waiter);
    self->barrier->waiting--;
    return UCO__UNLINKED;
}

/* All have come. */
static ssize_t
barrier_release(uco_barrier *b)
{
    ssize_t place = 0;

    b->waiting = 0;
    while (uco__waiters_wake_first(&b->waiters, place))
        place++;
    return place;
}

ssize_t
uco_barrier_wait(uco_barrier *b)
{
    struct barrier_waiter self = {.barrier = b};
    struct uco__task *task;
    intptr_t place;
    int r = uco__sync_enter(b != NULL && b->parties > 0 ? &b->loop : NULL, &task);

    if (r == 0)
        r = uco__task_checkpoint(task);
    if (r < 0)
        return r;
    if (b->broken)
        return -EPIPE;
    if (b->waiting + 1 == b->parties)
        return barrier_release(b);
    uco__wait_init(&self.waiter.wait, &uco__wait_barrier, barrier_abort);
    uco__waiters_push(&b->waiters, &self.waiter);
    b->waiting++;
    place = uco__task_park(task, &self.waiter.wait);
    return place == UCO__INTERRUPTED ? -ECANCELED : place;
}

static int
barrier_break(uco_barrier *b, bool broken)
{
    int r;

    if (b == NULL || b->parties == 0)
        return uco__misuse(-EINVAL, "the barrier is NULL, or was not initialised");
    r = uco__sync_bind(&b->loop);
    if (r < 0)
        return r;
    b->broken = broken;
    b->waiting = 0;
    uco__waiters_wake_all(&b->waiters, -EPIPE);
    return 0;
}

int
uco_barrier_abort(uco_barrier *b)
{
    return barrier_break(b, true);
}

int
uco_barrier_reset(uco_barrier *b)
{
    return barrier_break(b, false);
}
