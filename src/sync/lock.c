/* SPDX-License-Identifier: MIT */

/*
 * Locks.
 *
 * 1. While somebody waits, a task holds the lock, and the lock is in that task's `contended` list.
 * 2. The owner is known by its control block and its id: the block stays readable for as long as
 *    the loop lives, and says by `holding` whether that task's body still runs. So a lock that
 *    nobody waits for need not be found when its owner ends; it may lie in the frame that is just
 *    gone, or in memory that was freed. Who comes later sees that the owner has ended.
 * 3. A broken lock has neither owner nor waiters.
 */

#include "sync/lock.h"

#include "core/jump.h"
#include "core/report.h"
#include "sync/describe.h"

#include <errno.h>

/* --- owners --- */

static bool
lock_owner_lives(const uco_lock *l)
{
    const struct uco__task *holder = l->holder;

    return holder->holding && holder->id == l->owner;
}

static struct uco__task *
lock_owner(const uco_lock *l)
{
    return l->holder;
}

static void
contended_link(uco_lock *l)
{
    struct uco__task *owner = lock_owner(l);

    l->previous = NULL;
    l->next = owner->contended;
    if (l->next != NULL)
        l->next->previous = l;
    owner->contended = l;
}

static void
contended_unlink(uco_lock *l)
{
    if (l->previous != NULL)
        l->previous->next = l->next;
    else
        lock_owner(l)->contended = l->next;
    if (l->next != NULL)
        l->next->previous = l->previous;
    l->next = NULL;
    l->previous = NULL;
}

static void
lock_break(uco_lock *l)
{
    l->broken = true;
    l->owner = 0;
    l->holder = NULL;
    uco__waiters_wake_all(&l->waiters, -EOWNERDEAD);
}

static void
owner_ended(struct uco__task *task)
{
    uco_lock *l;

    uco__report(task->future.loop, &task->future,
                "task '%s' ended while it held %u lock%s: who waits for what it held gets "
                "-EOWNERDEAD",
                uco__task_name(task), task->locks, task->locks == 1 ? "" : "s");
    while ((l = task->contended) != NULL) {
        contended_unlink(l);
        lock_break(l);
    }
}

static inline void
lock_give(uco_lock *l, struct uco__task *task)
{
    l->owner = task->id;
    l->holder = task;
    task->locks++;
    /* Relaxed: whichever thread is the first, they all set the same. */
    if (UCO__UNLIKELY(atomic_load_explicit(&uco__task_lost_locks, memory_order_relaxed) == NULL))
        atomic_store_explicit(&uco__task_lost_locks, owner_ended, memory_order_relaxed);
}

/* --- waiting --- */

static void
lock_queue(struct uco__lock_waiter *waiter)
{
    uco_lock *l = waiter->lock;

    if (uco__waiters_empty(&l->waiters))
        contended_link(l);
    uco__waiters_push(&l->waiters, &waiter->waiter);
}

static enum uco__abort
lock_abort(struct uco__wait *wait)
{
    struct uco__lock_waiter *self = UCO__CONTAINER(wait, struct uco__lock_waiter, waiter.wait);

    uco__waiters_remove(&self->waiter);
    if (uco__waiters_empty(&self->lock->waiters))
        contended_unlink(self->lock);
    return UCO__UNLINKED;
}

/* What a task that wants the lock finds: 0 and it has it, -EBUSY, -EDEADLK or -EOWNERDEAD. */
static inline int
lock_try(uco_lock *l, struct uco__task *task)
{
    if (UCO__UNLIKELY(l->broken))
        return -EOWNERDEAD;
    if (UCO__LIKELY(l->owner == 0)) {
        lock_give(l, task);
        return 0;
    }
    if (l->owner == task->id)
        return -EDEADLK;
    if (UCO__LIKELY(lock_owner_lives(l)))
        return -EBUSY;
    lock_break(l);
    return -EOWNERDEAD;
}

void
uco__lock_request(struct uco__lock_waiter *waiter)
{
    uint32_t number = waiter->task->future.loop->number;
    int r = -EPERM;

    /* Somebody may have zeroed it, while nobody waited for it itself. */
    if (waiter->lock->loop == 0)
        waiter->lock->loop = number;
    if (waiter->lock->loop == number)
        r = lock_try(waiter->lock, waiter->task);
    waiter->waiter.wait.abort = NULL;
    waiter->waiter.wait.kind = &uco__wait_condition_lock;
    if (r == -EBUSY)
        lock_queue(waiter);
    else
        uco__wake(&waiter->waiter.wait, r);
}

void
uco__lock_hand_on(uco_lock *l)
{
    struct uco__task *owner = lock_owner(l);
    struct uco__sync_waiter *first = uco__waiters_first(&l->waiters);

    owner->locks--;
    if (UCO__LIKELY(first == NULL)) {
        l->owner = 0;
        l->holder = NULL;
        return;
    }
    contended_unlink(l);
    uco__waiters_remove(first);
    lock_give(l, UCO__CONTAINER(first, struct uco__lock_waiter, waiter)->task);
    if (!uco__waiters_empty(&l->waiters))
        contended_link(l);
    uco__wake(&first->wait, 0);
}

/* --- the API --- */

UCO__JUMP_BODY int uco__lock_wait_body(struct uco__task *task, uco_lock *l);
int uco__lock_wait(struct uco__task *task, uco_lock *l);

int
uco__lock_wait_body(struct uco__task *task, uco_lock *l)
{
    struct uco__lock_waiter self;

    self.task = task;
    self.lock = l;
    uco__wait_init(&self.waiter.wait, &uco__wait_lock, lock_abort);
    lock_queue(&self);
    return (int) uco__sync_park(self.waiter.wait.fiber, &self.waiter.wait);
}

UCO__RETURNS_BY_JUMP(uco__lock_wait);

static int
lock_take(uco_lock *l, struct uco__task *task)
{
    int r = lock_try(l, task);

    return UCO__UNLIKELY(r == -EBUSY) ? uco__lock_wait(task, l) : r;
}

static UCO__NOINLINE int
lock_acquire_slow(uco_lock *l)
{
    struct uco__task *task;
    int r = uco__sync_enter(l != NULL ? &l->loop : NULL, &task);

    if (r == 0)
        r = uco__task_checkpoint(task);
    return r < 0 ? r : lock_take(l, task);
}

int
uco_lock_acquire(uco_lock *l)
{
    struct uco__fiber *fiber = l != NULL ? uco__sync_pass(&l->loop) : NULL;

    return UCO__LIKELY(fiber != NULL) ? lock_take(l, uco__task_of_fiber(fiber))
                                      : lock_acquire_slow(l);
}

int
uco_lock_try_acquire(uco_lock *l)
{
    struct uco__task *task;
    int r;

    if (l == NULL)
        return uco__misuse(-EINVAL, "uco_lock_try_acquire: the lock is NULL");
    r = uco__sync_enter(&l->loop, &task);
    return r < 0 ? r : lock_try(l, task);
}

int
uco_lock_release(uco_lock *l)
{
    struct uco__task *task;
    int r;

    if (l == NULL)
        return uco__misuse(-EINVAL, "uco_lock_release: the lock is NULL");
    task = uco__task_here();
    if (UCO__UNLIKELY(task == NULL)) {
        uco__task_current(&r);
        return uco__misuse(r, "uco_lock_release: not in a coroutine");
    }
    if (!uco__lock_is_mine(l, task))
        return uco__misuse(-EPERM, "uco_lock_release: task '%s' does not hold the lock",
                           uco__task_name(task));
    uco__lock_hand_on(l);
    return 0;
}

int
uco_lock_repair(uco_lock *l)
{
    int r;

    if (l == NULL)
        return uco__misuse(-EINVAL, "uco_lock_repair: the lock is NULL");
    r = uco__sync_bind(&l->loop);
    if (r < 0)
        return r;
    if (!l->broken && (l->owner == 0 || lock_owner_lives(l)))
        return -EALREADY;
    lock_break(l);
    l->broken = false;
    return 0;
}

bool
uco_lock_is_held(const uco_lock *l)
{
    const struct uco_loop *loop = uco__running;

    if (l == NULL || l->owner == 0)
        return false;
    /* When the loop has gone, so has the owner. */
    if ((loop == NULL || loop->number != l->loop) && !uco__loop_is_open(l->loop))
        return false;
    return lock_owner_lives(l);
}
