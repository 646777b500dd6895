/* SPDX-License-Identifier: MIT */

/*
 * Locks, conditions, events, semaphores and barriers.
 *
 * None of them needs memory: only the tasks that use them may be missing, and those that are there
 * get what they wait for.
 */

#include "scenarios.h"

#define WORKERS 6

/* Creates them and waits for all; how many of them ran. */
static int
workers_run(uco_fn *fn, void *arg)
{
    uco_task *tasks[WORKERS];
    int ran = 0;

    for (int i = 0; i < WORKERS; i++)
        MADE(tasks[i], uco_create_task(fn, arg), ENOMEM);
    for (int i = 0; i < WORKERS; i++)
        ran += MAY(uco_join(tasks[i]), ENOMEM) >= 0;
    MUST(ran == WORKERS || !torture_clean());
    return ran;
}

/* Locks and conditions */

struct shared {
    uco_lock lock;
    uco_condition condition;
    int count;
    int inside;
    bool open;
};

static intptr_t
lock_user(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < 3; i++) {
        int seen;

        SURE(uco_lock_acquire(&shared->lock));
        MUST(shared->inside++ == 0);
        seen = shared->count;
        SURE(uco_sleep(0.125));
        shared->count = seen + 1;
        shared->inside--;
        SURE(uco_lock_release(&shared->lock));
    }
    return 0;
}

static intptr_t
lock_waits_shortly(void *arg)
{
    return uco_lock_acquire(arg);
}

static bool
is_open(void *arg)
{
    return ((struct shared *) arg)->open;
}

static intptr_t
condition_user(void *arg)
{
    struct shared *shared = arg;

    SURE(uco_lock_acquire(&shared->lock));
    SURE(uco_condition_wait_for(&shared->condition, &shared->lock, is_open, shared));
    shared->count++;
    SURE(uco_lock_release(&shared->lock));
    return 0;
}

static intptr_t
condition_opens(void *arg)
{
    struct shared *shared = arg;

    SURE(uco_sleep(1));
    shared->open = true;
    SURE(uco_condition_notify_all(&shared->condition));
    return 0;
}

static intptr_t
lock_abandoner(void *arg)
{
    SURE(uco_lock_acquire(arg));
    return 0;
}

static void
locks_run(void)
{
    struct shared shared = {0};
    uco_task *opener, *abandoner;
    int ran = workers_run(lock_user, &shared);

    MUST(shared.count == 3 * ran && !uco_lock_is_held(&shared.lock));
    SURE(uco_lock_acquire(&shared.lock));
    MUST(uco_with_timeout(1, lock_waits_shortly, &(uco_lock){0}) == 0);
    SURE(uco_lock_release(&shared.lock));

    shared.count = 0;
    MADE(opener, uco_create_task(condition_opens, &shared), ENOMEM);
    if (opener == NULL || (SURE(uco_yield()), uco_done(opener)))
        shared.open = true;
    ran = workers_run(condition_user, &shared);
    MUST(shared.count == ran);
    MAY(uco_join(opener), ENOMEM);

    MADE(abandoner, uco_create_task(lock_abandoner, &shared.lock), ENOMEM);
    if (MAY(uco_join(abandoner), ENOMEM) == 0) {
        MUST(uco_lock_acquire(&shared.lock) == -EOWNERDEAD);
        SURE(uco_lock_repair(&shared.lock));
    }
    SURE(uco_lock_acquire(&shared.lock));
    SURE(uco_lock_release(&shared.lock));
}

/* Events and semaphores */

struct signals {
    uco_event event;
    uco_semaphore permits;
    int holders;
};

static intptr_t
event_user(void *arg)
{
    struct signals *signals = arg;

    SURE(uco_event_wait(&signals->event));
    SURE(uco_semaphore_acquire(&signals->permits));
    MUST(++signals->holders <= 2);
    SURE(uco_sleep(0.25));
    signals->holders--;
    SURE(uco_semaphore_release(&signals->permits));
    return 0;
}

static intptr_t
event_setter(void *arg)
{
    SURE(uco_event_set(arg));
    return 0;
}

static intptr_t
semaphore_waiter(void *arg)
{
    return uco_semaphore_acquire(arg);
}

static void
events_run(void)
{
    struct signals signals = {0};
    uco_task *setter;

    SURE(uco_semaphore_init(&signals.permits, 2));
    MADE(setter, uco_create_task(event_setter, &signals.event), ENOMEM);
    if (MAY(uco_join(setter), ENOMEM) < 0)
        SURE(uco_event_set(&signals.event));
    workers_run(event_user, &signals);
    MUST(uco_semaphore_value(&signals.permits) == 2 && signals.holders == 0);
    SURE(uco_semaphore_acquire(&signals.permits));
    SURE(uco_semaphore_try_acquire(&signals.permits));
    MUST(uco_with_timeout(1, semaphore_waiter, &signals.permits) == -ETIMEDOUT);
    SURE(uco_semaphore_release(&signals.permits));
    SURE(uco_semaphore_release(&signals.permits));
}

/* Barriers: without one of its parties the others wait until somebody breaks it. */

static intptr_t
barrier_user(void *arg)
{
    ssize_t r = 0;

    for (int i = 0; i < 3 && r >= 0; i++) {
        SURE(uco_sleep(0.125));
        r = uco_barrier_wait(arg);
    }
    MUST(r >= 0 || r == -EPIPE);
    return r >= 0 ? 0 : r;
}

static void
barriers_run(void)
{
    uco_barrier barrier;
    uco_task *tasks[WORKERS];
    int ended = 0, r;

    SURE(uco_barrier_init(&barrier, WORKERS));
    for (int i = 0; i < WORKERS; i++)
        MADE(tasks[i], uco_create_task(barrier_user, &barrier), ENOMEM);
    r = uco_wait_all(tasks, WORKERS, 10);
    MUST(r == 0 || !torture_clean());
    for (int i = 0; i < WORKERS; i++)
        ended += tasks[i] != NULL && uco_result(tasks[i]) == 0;
    MUST(ended == WORKERS || (ended == 0 && !torture_clean()));
    SURE(uco_barrier_abort(&barrier));
    MUST(uco_barrier_wait(&barrier) == -EPIPE);
    for (int i = 0; i < WORKERS; i++) {
        intptr_t result = uco_join(tasks[i]);

        MUST(result == 0 || result == -EPIPE || result == -ENOMEM);
    }
    SURE(uco_barrier_reset(&barrier));
}

const struct scenario torture_locks = {.name = "locks", .run = locks_run};
const struct scenario torture_events = {.name = "events", .run = events_run};
const struct scenario torture_barriers = {.name = "barriers", .run = barriers_run};
