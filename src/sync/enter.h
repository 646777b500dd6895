/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_ENTER_H
#define UCO_SYNC_ENTER_H

/*
 * How each call on a primitive begins: may the caller use it here?
 *
 * A primitive names its loop by number, not by address, so one that outlives its loop is harmless;
 * 0 is none yet.
 */

#include "core/loop.h"
#include "task/task.h"

#include "sync/waiters.h"

int uco__sync_bind_slow(uint32_t *number);
int uco__sync_enter_slow(uint32_t *number, struct uco__task **task);

/* Calls that do not suspend: 0, -EPERM or -ESTALE. Inside a running loop, binds what is not bound
 * yet. */
static inline int
uco__sync_bind(uint32_t *number)
{
    const struct uco_loop *loop = uco__running;

    if (UCO__LIKELY(loop != NULL && *number == loop->number && !uco__loop_stale(loop)))
        return 0;
    return uco__sync_bind_slow(number);
}

/* Suspending calls, before anything else: the calling task and, if number is not NULL, the
 * primitive's loop. 0, -EPERM or -ESTALE; -EINVAL when number is NULL. No cancellation point:
 * uco__task_checkpoint() comes next. */
static inline int
uco__sync_enter(uint32_t *number, struct uco__task **task)
{
    struct uco__task *self = uco__task_here();

    if (UCO__LIKELY(self != NULL && number != NULL && *number == self->future.loop->number)) {
        *task = self;
        return 0;
    }
    return uco__sync_enter_slow(number, task);
}

/* Both at once, for a task and a primitive in the usual state: the calling task's fiber, which has
 * passed its checkpoint. NULL: nothing has happened, and it must be done step by step. */
static inline struct uco__fiber *
uco__sync_pass(const uint32_t *number)
{
    const struct uco_loop *loop = uco__running;
    struct uco__fiber *fiber;

    if (UCO__UNLIKELY(loop == NULL || *number != loop->number || uco__loop_stale(loop)))
        return NULL;
    fiber = loop->scheduler.current;
    return fiber != NULL && uco__fiber_pass(fiber) ? fiber : NULL;
}

/* Of a wait in a list: leaves it. */
enum uco__abort uco__sync_abort(struct uco__wait *wait);
/* Suspends the calling fiber for the first time since its checkpoint: nobody has cancelled it in
 * between. The wait's result, or -ECANCELED. */
static inline __attribute__((always_inline)) intptr_t
uco__sync_park(struct uco__fiber *fiber, struct uco__wait *wait)
{
    fiber->wait = wait;
    uco__scheduler_leave(wait->loop, fiber);
    fiber->ready.successes = 0;
    if (UCO__LIKELY(wait->result != UCO__INTERRUPTED))
        return wait->result;
    uco__task_deliver(uco__task_of_fiber(fiber));
    return -ECANCELED;
}

/* A wait of the calling task's in a list, until it is woken or cancelled: the result, or
 * -ECANCELED. The last thing that a call does (core/jump.h). */
int uco__sync_wait(struct uco__fiber *fiber, struct uco_waiters *list,
                   const struct uco__wait_kind *kind);

#endif
