/* SPDX-License-Identifier: MIT */

/*
 * Semaphores.
 *
 * 1. While somebody waits, there is no permit.
 */

#include "core/report.h"
#include "sync/describe.h"
#include "sync/enter.h"

#include <errno.h>
#include <stdint.h>

int
uco_semaphore_init(uco_semaphore *s, size_t permits)
{
    if (s == NULL)
        return uco__misuse(-EINVAL, "uco_semaphore_init: the semaphore is NULL");
    *s = (uco_semaphore){.permits = permits};
    return 0;
}

static int
semaphore_take(uco_semaphore *s, struct uco__fiber *fiber)
{
    if (s->permits == 0)
        return uco__sync_wait(fiber, &s->waiters, &uco__wait_semaphore);
    s->permits--;
    return 0;
}

static UCO__NOINLINE int
semaphore_acquire_slow(uco_semaphore *s)
{
    struct uco__task *task;
    int r = uco__sync_enter(s != NULL ? &s->loop : NULL, &task);

    if (r == 0)
        r = uco__task_checkpoint(task);
    return r < 0 ? r : semaphore_take(s, uco__task_fiber(task));
}

int
uco_semaphore_acquire(uco_semaphore *s)
{
    struct uco__fiber *fiber = s != NULL ? uco__sync_pass(&s->loop) : NULL;

    return UCO__LIKELY(fiber != NULL) ? semaphore_take(s, fiber) : semaphore_acquire_slow(s);
}

static int
semaphore_begin(uco_semaphore *s)
{
    return s != NULL ? uco__sync_bind(&s->loop) : uco__misuse(-EINVAL, "the semaphore is NULL");
}

int
uco_semaphore_try_acquire(uco_semaphore *s)
{
    int r = semaphore_begin(s);

    if (r < 0)
        return r;
    if (s->permits == 0)
        return -EAGAIN;
    s->permits--;
    return 0;
}

int
uco_semaphore_release(uco_semaphore *s)
{
    int r = semaphore_begin(s);

    if (r < 0)
        return r;
    if (s->permits == SIZE_MAX)
        return uco__misuse(-EOVERFLOW, "uco_semaphore_release: there are SIZE_MAX permits");
    /* Handed over, not counted and the waiter woken: a task that runs in between could take the
     * permit otherwise, and the woken one would have to wait again, behind all others. */
    if (!uco__waiters_wake_first(&s->waiters, 0))
        s->permits++;
    return 0;
}

size_t
uco_semaphore_value(const uco_semaphore *s)
{
    return s != NULL ? s->permits : 0;
}
