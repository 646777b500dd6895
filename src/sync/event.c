/* SPDX-License-Identifier: MIT */

/*
 * Events.
 *
 * 1. While the event is set, nobody waits for it.
 */

#include "core/report.h"
#include "sync/describe.h"
#include "sync/enter.h"

#include <errno.h>

static UCO__NOINLINE int
event_wait_slow(uco_event *e)
{
    struct uco__task *task;
    int r = uco__sync_enter(e != NULL ? &e->loop : NULL, &task);

    if (r == 0)
        r = uco__task_checkpoint(task);
    if (r < 0 || e->is_set)
        return r;
    return uco__sync_wait(uco__task_fiber(task), &e->waiters, &uco__wait_event);
}

int
uco_event_wait(uco_event *e)
{
    struct uco__fiber *fiber = e != NULL ? uco__sync_pass(&e->loop) : NULL;

    if (UCO__UNLIKELY(fiber == NULL))
        return event_wait_slow(e);
    return e->is_set ? 0 : uco__sync_wait(fiber, &e->waiters, &uco__wait_event);
}

static int
event_begin(uco_event *e)
{
    return e != NULL ? uco__sync_bind(&e->loop) : uco__misuse(-EINVAL, "the event is NULL");
}

int
uco_event_set(uco_event *e)
{
    int r = event_begin(e);

    if (r < 0)
        return r;
    e->is_set = true;
    uco__waiters_wake_all(&e->waiters, 0);
    return 0;
}

int
uco_event_clear(uco_event *e)
{
    int r = event_begin(e);

    if (r == 0)
        e->is_set = false;
    return r;
}

bool
uco_event_is_set(const uco_event *e)
{
    return e != NULL && e->is_set;
}
