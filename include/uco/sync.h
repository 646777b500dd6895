/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_H
#define UCO_SYNC_H

/*
 * Synchronisation between the tasks of a loop: lock, event, condition, semaphore, barrier.
 *
 * Zeroed structs are ready to use (a barrier wants its number of parties), and need no clean-up.
 * Each binds to the loop that first uses it, until it is initialised or zeroed again; a task of
 * another loop gets -EPERM, whether it would have to wait or not. While somebody waits, the struct
 * must stay where it is; while a lock is held, it must not be zeroed.
 *
 * All are fair: waiters are served in the order of their coming, and what is released is handed to
 * the first of them by whoever releases it, so that nobody who comes later can take it. What was
 * handed over is kept: a waiter that is cancelled after that returns 0, and its next call fails.
 *
 * What does not suspend can be called by the loop's tasks and callbacks, and by one thread at a
 * time on what is bound to no loop yet, or to one that does not run; nothing is bound by that.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/** Those who wait, the oldest first. uco's own. */
struct uco_waiters {
    void *first;
    void *last;
};

/** A mutual exclusion lock with an owner. */
typedef struct uco_lock {
    uint32_t loop;  /* uco's own, all of them */
    bool broken;    /* its owner ended while it held it */
    uint64_t owner; /* the id of the task that holds it */
    void *holder;   /* the same task */
    struct uco_waiters waiters;
    struct uco_lock *next, *previous; /* of the locks of its owner that others wait for */
    uintptr_t reserved[8];
} uco_lock;

/** A flag that tasks can wait for. */
typedef struct uco_event {
    uint32_t loop; /* uco's own, all of them */
    bool is_set;
    struct uco_waiters waiters;
    uintptr_t reserved[8];
} uco_event;

/** Waiting for a change of what a lock protects. */
typedef struct uco_condition {
    uint32_t loop; /* uco's own, all of them */
    struct uco_waiters waiters;
    uintptr_t reserved[8];
} uco_condition;

/** A number of permits. */
typedef struct uco_semaphore {
    uint32_t loop; /* uco's own, all of them */
    size_t permits;
    struct uco_waiters waiters;
    uintptr_t reserved[8];
} uco_semaphore;

/** A point at which a number of tasks wait for each other, again and again. */
typedef struct uco_barrier {
    uint32_t loop; /* uco's own, all of them */
    bool broken;
    size_t parties;
    size_t waiting;
    struct uco_waiters waiters;
    uintptr_t reserved[8];
} uco_barrier;

/**
 * uco_lock_acquire() - Take the lock, waiting until it is free.
 *
 * @l:      Zeroed, or used before on the calling loop.
 *
 * Context: Coroutine. Suspends if somebody else holds it; a cancellation point in any case.
 * Returns: 0            the lock is held; give it back with uco_lock_release()
 *          -ECANCELED   an enclosing scope was cancelled; the lock is not held
 *          -EDEADLK     the caller holds it already
 *          -EOWNERDEAD  a task ended while it held the lock. Nobody holds it then, and what it
 *                       protects may be half changed; it stays broken until it is repaired by
 *                       uco_lock_repair(), or zeroed while nobody uses it
 *          -EINVAL      l is NULL
 *          -EPERM       not in a coroutine, or on another loop's
 */
UCO_API int uco_lock_acquire(uco_lock *l);

/**
 * uco_lock_try_acquire() - Take the lock if it is free.
 *
 * Context: Coroutine. Does not suspend, and is no cancellation point.
 * Returns: 0, -EBUSY (somebody holds it), -EDEADLK (the caller does), -EOWNERDEAD, -EINVAL, -EPERM.
 */
UCO_API int uco_lock_try_acquire(uco_lock *l);

/**
 * uco_lock_release() - Give the lock back, or hand it to the one who has waited longest.
 *
 * Context: Coroutine, the one that holds it. Does not suspend.
 * Returns: 0, -EINVAL (l is NULL), -EPERM (the caller does not hold it).
 */
UCO_API int uco_lock_release(uco_lock *l);

/**
 * uco_lock_repair() - Make a broken lock whole again, when what it protects is in order. Does
 * nothing to one that is not broken: of several who were told, one repairs it.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EALREADY (it is not broken), -EINVAL (l is NULL), -EPERM (another loop's).
 */
UCO_API int uco_lock_repair(uco_lock *l);

/**
 * uco_lock_is_held() - Whether a task holds the lock.
 *
 * Context: Loop's thread. false for NULL, and for a broken lock.
 */
UCO_API bool uco_lock_is_held(const uco_lock *l);

/**
 * uco_event_wait() - Wait until the event is set.
 *
 * @e:      Zeroed (not set), or used before on the calling loop.
 *
 * Context: Coroutine. Suspends unless it is set; a cancellation point in any case.
 * Returns: 0           it was set, though it may have been cleared since
 *          -ECANCELED  an enclosing scope was cancelled
 *          -EINVAL     e is NULL
 *          -EPERM      not in a coroutine, or on another loop's
 */
UCO_API int uco_event_wait(uco_event *e);

/**
 * uco_event_set() - Set the event, and wake all who wait for it.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0 (also when it is set already), -EINVAL (e is NULL), -EPERM (another loop's).
 */
UCO_API int uco_event_set(uco_event *e);

/**
 * uco_event_clear() - Unset the event. Who was woken before stays woken.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL (e is NULL), -EPERM (another loop's).
 */
UCO_API int uco_event_clear(uco_event *e);

/**
 * uco_event_is_set() - Whether the event is set.
 *
 * Context: Loop's thread. false for NULL.
 */
UCO_API bool uco_event_is_set(const uco_event *e);

/**
 * uco_condition_wait() - Give the lock back, wait to be notified, and take the lock again.
 *
 * The caller owns the lock again whatever is returned (but -EOWNERDEAD): taking it again is a
 * completing step. A notification that was given is kept: a caller that is cancelled after it
 * returns 0.
 *
 * @c:      Zeroed, or used before on the calling loop.
 * @l:      Held by the caller. Several conditions may share a lock.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0            notified; look at what was waited for, since it may have changed again
 *          -ECANCELED   an enclosing scope was cancelled; if it was before the call, the lock has
 *                       not been let go of
 *          -EOWNERDEAD  another task ended while it held the lock: the caller does not hold it. It
 *                       is told when it is notified or cancelled
 *          -EINVAL      c or l is NULL
 *          -EPERM       the caller does not hold l; not in a coroutine, or on another loop's
 */
UCO_API int uco_condition_wait(uco_condition *c, uco_lock *l);

/**
 * uco_condition_wait_for() - Wait until a predicate holds. It is called with the lock held, before
 * the first wait and after each.
 *
 * @predicate: Must not suspend.
 *
 * Context: Coroutine. Suspends unless the predicate holds at once; a cancellation point in any
 *          case.
 * Returns: 0 (the predicate holds), and as uco_condition_wait(); -EINVAL also if predicate is NULL.
 */
UCO_API int uco_condition_wait_for(uco_condition *c, uco_lock *l, bool (*predicate)(void *arg),
                                   void *arg);

/**
 * uco_condition_notify() - Wake the n tasks that have waited longest, or all if they are fewer.
 * Each goes on when it has the lock again.
 *
 * Context: Loop's thread; needs no lock.
 * Returns: 0, -EINVAL (c is NULL), -EPERM (another loop's).
 */
UCO_API int uco_condition_notify(uco_condition *c, size_t n);

/** uco_condition_notify_all() - Wake all who wait; otherwise as uco_condition_notify(). */
UCO_API int uco_condition_notify_all(uco_condition *c);

/**
 * uco_semaphore_init() - Make a semaphore with a number of permits, bound to no loop. A zeroed one
 * has none.
 *
 * Context: Any thread; nobody may be waiting.
 * Returns: 0, -EINVAL (s is NULL).
 */
UCO_API int uco_semaphore_init(uco_semaphore *s, size_t permits);

/**
 * uco_semaphore_acquire() - Take one permit, waiting until one is free.
 *
 * @s:      Used by no other loop.
 *
 * Context: Coroutine. Suspends if no permit is free; a cancellation point in any case.
 * Returns: 0           one permit is held; give it back with uco_semaphore_release()
 *          -ECANCELED  an enclosing scope was cancelled; no permit is held
 *          -EINVAL     s is NULL
 *          -EPERM      not in a coroutine, or on another loop's
 */
UCO_API int uco_semaphore_acquire(uco_semaphore *s);

/**
 * uco_semaphore_try_acquire() - Take one permit if one is free.
 *
 * Context: Loop's thread. Does not suspend, and is no cancellation point.
 * Returns: 0, -EAGAIN (none is free), -EINVAL (s is NULL), -EPERM (another loop's).
 */
UCO_API int uco_semaphore_try_acquire(uco_semaphore *s);

/**
 * uco_semaphore_release() - Give a permit back, or hand it to the one who has waited longest. Need
 * not be done by who took it.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL (s is NULL), -EPERM (another loop's), -EOVERFLOW (SIZE_MAX permits).
 */
UCO_API int uco_semaphore_release(uco_semaphore *s);

/**
 * uco_semaphore_value() - How many permits are free.
 *
 * Context: Loop's thread. 0 for NULL.
 */
UCO_API size_t uco_semaphore_value(const uco_semaphore *s);

/**
 * uco_barrier_init() - Make a barrier for a number of tasks, bound to no loop.
 *
 * Context: Any thread; nobody may be waiting.
 * Returns: 0, -EINVAL (b is NULL, or parties is 0).
 */
UCO_API int uco_barrier_init(uco_barrier *b, size_t parties);

/**
 * uco_barrier_wait() - Wait until as many tasks as the barrier has parties are in this call. The
 * next one begins a new round.
 *
 * A waiter that is cancelled leaves the count: one more is needed then.
 *
 * @b:      Made by uco_barrier_init(), used by no other loop.
 *
 * Context: Coroutine. The last one to arrive does not suspend; a cancellation point in any case.
 * Returns: 0 ... parties - 1, in the order of arrival of those whom the round brought together
 *          -EPIPE      the barrier is broken, or was while the caller waited
 *          -ECANCELED  an enclosing scope was cancelled
 *          -EINVAL     b is NULL, or was not initialised
 *          -EPERM      not in a coroutine, or on another loop's
 */
UCO_API ssize_t uco_barrier_wait(uco_barrier *b);

/**
 * uco_barrier_abort() - Break the barrier: all present and later waiters get -EPIPE, until it is
 * reset.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL (b is NULL, or was not initialised), -EPERM (another loop's).
 */
UCO_API int uco_barrier_abort(uco_barrier *b);

/**
 * uco_barrier_reset() - Begin a new round: those who wait get -EPIPE, and the barrier is whole
 * again.
 *
 * Context: As uco_barrier_abort().
 * Returns: As uco_barrier_abort().
 */
UCO_API int uco_barrier_reset(uco_barrier *b);

UCO_END_DECLS

#endif
