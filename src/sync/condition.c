/* SPDX-License-Identifier: MIT */

/*
 * Conditions.
 *
 * 1. A waiter is in the condition's list until it is notified or cancelled; from then on it only
 *    waits for the lock, and nothing interrupts that.
 *
 * Whoever notifies moves the waiter over to its lock, and so wakes nobody who would have to wait
 * for the lock at once. A waiter that was notified has the notification: a cancellation that comes
 * while it waits for the lock is its next call's.
 */

#include "core/jump.h"
#include "core/report.h"
#include "sync/describe.h"
#include "sync/lock.h"

#include <errno.h>
#include <stdint.h>

/* Waits without being interrupted until the task has the lock again: 0 or -EOWNERDEAD. */
static int
condition_reacquire(struct uco__task *task, uco_lock *l)
{
    struct uco__lock_waiter self = {.task = task, .lock = l};

    uco__wait_init(&self.waiter.wait, &uco__wait_condition_lock, NULL);
    uco__lock_request(&self);
    return (int) uco__task_park(task, &self.waiter.wait);
}

UCO__JUMP_BODY int uco__condition_suspend_body(struct uco__task *task, uco_condition *c,
                                               uco_lock *l);
int uco__condition_suspend(struct uco__task *task, uco_condition *c, uco_lock *l);

/* The caller may wait here, and holds the lock. */
int
uco__condition_suspend_body(struct uco__task *task, uco_condition *c, uco_lock *l)
{
    struct uco__lock_waiter self;
    intptr_t r;
    int owner;

    self.task = task;
    self.lock = l;
    uco__wait_init(&self.waiter.wait, &uco__wait_condition, uco__sync_abort);
    uco__waiters_push(&c->waiters, &self.waiter);
    uco__lock_hand_on(l);
    r = uco__sync_park(self.waiter.wait.fiber, &self.waiter.wait);
    if (r != -ECANCELED)
        return (int) r;
    owner = condition_reacquire(task, l);
    return owner < 0 ? owner : -ECANCELED;
}

UCO__RETURNS_BY_JUMP(uco__condition_suspend);

/* Whether it holds the lock is asked each time, since a predicate may have let go of it. */
static int
condition_wait(struct uco__task *task, uco_condition *c, uco_lock *l)
{
    int r;

    if (!uco__lock_is_mine(l, task))
        return uco__misuse(-EPERM, "uco_condition_wait: task '%s' does not hold the lock",
                           uco__task_name(task));
    r = uco__task_checkpoint_suspending(task);
    return r < 0 ? r : uco__condition_suspend(task, c, l);
}

static int
condition_begin(uco_condition *c, uco_lock *l, struct uco__task **task, bool arguments)
{
    int r = uco__sync_enter(c != NULL && l != NULL && arguments ? &l->loop : NULL, task);

    if (r < 0)
        return r;
    if (!uco__lock_is_mine(l, *task))
        return uco__misuse(-EPERM, "a condition: task '%s' does not hold the lock",
                           uco__task_name(*task));
    return uco__sync_bind(&c->loop);
}

static UCO__NOINLINE int
condition_wait_slow(uco_condition *c, uco_lock *l)
{
    struct uco__task *task;
    int r = condition_begin(c, l, &task, true);

    return r < 0 ? r : condition_wait(task, c, l);
}

int
uco_condition_wait(uco_condition *c, uco_lock *l)
{
    struct uco__fiber *fiber = c != NULL && l != NULL ? uco__sync_pass(&l->loop) : NULL;
    struct uco__task *task;

    if (UCO__UNLIKELY(fiber == NULL || c->loop != l->loop))
        return condition_wait_slow(c, l);
    task = uco__task_of_fiber(fiber);
    return UCO__LIKELY(uco__lock_is_mine(l, task)) ? uco__condition_suspend(task, c, l)
                                                   : condition_wait_slow(c, l);
}

int
uco_condition_wait_for(uco_condition *c, uco_lock *l, bool (*predicate)(void *arg), void *arg)
{
    struct uco__task *task;
    int r = condition_begin(c, l, &task, predicate != NULL);

    if (r == 0)
        r = uco__task_checkpoint(task);
    while (r == 0 && !predicate(arg))
        r = condition_wait(task, c, l);
    return r;
}

int
uco_condition_notify(uco_condition *c, size_t n)
{
    int r;

    if (c == NULL)
        return uco__misuse(-EINVAL, "uco_condition_notify: the condition is NULL");
    r = uco__sync_bind(&c->loop);
    if (r < 0)
        return r;
    for (; n > 0 && !uco__waiters_empty(&c->waiters); n--)
        uco__lock_request(
            UCO__CONTAINER(uco__waiters_pop(&c->waiters), struct uco__lock_waiter, waiter));
    return 0;
}

int
uco_condition_notify_all(uco_condition *c)
{
    return uco_condition_notify(c, SIZE_MAX);
}
