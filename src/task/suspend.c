/* SPDX-License-Identifier: MIT */

/*
 * Where every suspending call begins and ends, and the two that do nothing else: yield and sleep.
 *
 * 1. A call that is not a completing one fails in a cancelled scope before it does anything, having
 *    let others run.
 * 2. So many calls in a row may finish without suspending; the next lets others run first. A
 *    suspension begins a new row.
 */

#include "core/dump.h"
#include "core/jump.h"
#include "core/report.h"
#include "task/task.h"

#include <errno.h>
#include <math.h>

struct uco__task *
uco__task_current(int *error)
{
    struct uco_loop *loop = uco__loop_current(error);

    if (UCO__UNLIKELY(loop == NULL))
        return NULL;
    if (UCO__UNLIKELY(loop->scheduler.current == NULL)) {
        *error = -EPERM;
        return NULL;
    }
    return uco__task_of_fiber(loop->scheduler.current);
}

void
uco__task_deliver(struct uco__task *task)
{
    uco__scope_delivered(task);
    uco__task_fiber(task)->ready.successes = 0;
    if (++uco__task_fiber(task)->ready.ignored == UCO__TASK_IGNORED_MAX)
        uco__report(task->future.loop, &task->future,
                    "task '%s' has ignored its cancellation %d times in a row: a loop that does "
                    "not end on -ECANCELED?",
                    uco__task_name(task), UCO__TASK_IGNORED_MAX);
}

static int
checkpoint(struct uco__task *task, bool completing)
{
    if (!completing && UCO__UNLIKELY(uco__scope_cancelled(task))) {
        uco__scheduler_yield(task->future.loop);
        uco__task_deliver(task);
        return -ECANCELED;
    }
    uco__task_fiber(task)->ready.ignored = 0;
    if (UCO__LIKELY(++uco__task_fiber(task)->ready.successes < UCO__TASK_SUCCESSES_MAX))
        return 0;
    uco__task_fiber(task)->ready.successes = 0;
    uco__scheduler_yield(task->future.loop);
    if (!completing && uco__scope_cancelled(task)) {
        uco__task_deliver(task);
        return -ECANCELED;
    }
    return 0;
}

int
uco__task_checkpoint_slow(struct uco__task *task)
{
    return checkpoint(task, false);
}

int
uco__task_checkpoint_completing(struct uco__task *task)
{
    return checkpoint(task, true);
}

int
uco__task_checkpoint_suspending(struct uco__task *task)
{
    uco__task_fiber(task)->ready.successes = 0;
    return checkpoint(task, false);
}

int
uco__checkpoint(void)
{
    int error;
    struct uco__task *task = uco__task_current(&error);

    if (UCO__UNLIKELY(task == NULL))
        return uco__misuse(error, "a suspending function was called outside a coroutine");
    return checkpoint(task, false);
}

int
uco__checkpoint_completing(struct uco__task **task)
{
    int error;

    *task = uco__task_current(&error);
    if (UCO__UNLIKELY(*task == NULL))
        return uco__misuse(error, "a suspending function was called outside a coroutine");
    return checkpoint(*task, true);
}

intptr_t
uco__task_park(struct uco__task *task, struct uco__wait *wait)
{
    return uco__task_park_here(task, wait);
}

/* --- yield and sleep --- */

static UCO__NOINLINE int
yield_slow(void)
{
    int error;
    struct uco__task *task = uco__task_current(&error);

    if (UCO__UNLIKELY(task == NULL))
        return uco__misuse(error, "uco_yield: not in a coroutine");
    uco__task_fiber(task)->ready.successes =
        0; /* it is about to let others run, and need not do so twice */
    error = checkpoint(task, false);
    uco__task_fiber(task)->ready.successes = 0;
    if (error == 0)
        uco__scheduler_yield(task->future.loop);
    return error;
}

int
uco_yield(void)
{
    struct uco_loop *loop = uco__running;
    struct uco__fiber *fiber;

    if (UCO__UNLIKELY(loop == NULL || uco__loop_stale(loop)))
        return yield_slow();
    fiber = loop->scheduler.current;
    if (UCO__UNLIKELY(fiber == NULL || fiber->ready.attention))
        return yield_slow();
    if (fiber->ready.successes != 0 || fiber->ready.ignored != 0) {
        fiber->ready.successes = 0;
        fiber->ready.ignored = 0;
    }
    uco__ready_queue_push_open(&loop->scheduler.ready, &fiber->ready);
    uco__scheduler_leave(loop, fiber);
    return 0;
}

struct sleeper {
    struct uco__timer timer;
    struct uco__wait wait;
};

static void
sleeper_fire(struct uco__timer *timer)
{
    uco__wake(&UCO__CONTAINER(timer, struct sleeper, timer)->wait, 0);
}

static enum uco__abort
sleeper_abort(struct uco__wait *wait)
{
    uco__timer_stop(uco__running, &UCO__CONTAINER(wait, struct sleeper, wait)->timer);
    return UCO__UNLINKED;
}

static bool
sleeper_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct sleeper sleeper;

    if (!UCO__DUMP_READ_AROUND(dump, &sleeper, wait, struct sleeper, wait))
        return false;
    uco__dump_text(dump, "a sleep");
    if (sleeper.timer.node.link.next ==
        &UCO__DUMP_AROUND(wait, struct sleeper, wait)->timer.node.link)
        uco__dump_text(dump, " without end");
    else
        uco__dump_limit(dump, &UCO__DUMP_AROUND(wait, struct sleeper, wait)->timer);
    return true;
}

static UCO__WAIT_KIND(wait_sleep, "a sleep", sleeper_describe);

UCO__JUMP_BODY int uco__sleep_until_body(struct uco__task *task, uint64_t deadline);
int uco__sleep_until(struct uco__task *task, uint64_t deadline);

int
uco__sleep_until_body(struct uco__task *task, uint64_t deadline)
{
    struct uco_loop *loop = task->future.loop;
    struct sleeper sleeper;
    int r;

    uco__wait_init(&sleeper.wait, &wait_sleep, sleeper_abort);
    uco__timer_init(&sleeper.timer, sleeper_fire);
    uco__timer_start(loop, &sleeper.timer, deadline);
    loop->sleepers += deadline == UCO__NEVER; /* to serve until a signal cancels is no deadlock */
    r = uco__task_park_here(task, &sleeper.wait) == 0 ? 0 : -ECANCELED;
    loop->sleepers -= deadline == UCO__NEVER;
    return r;
}

UCO__RETURNS_BY_JUMP(uco__sleep_until);

int
uco_sleep(double seconds)
{
    struct uco__task *task = uco__task_here();
    uint64_t deadline;
    int r;

    if (UCO__UNLIKELY(task == NULL)) {
        uco__task_current(&r);
        return uco__misuse(r, "uco_sleep: not in a coroutine");
    }
    if (isnan(seconds))
        return uco__misuse(-EINVAL, "uco_sleep: the time is not a number");
    if (seconds <= 0)
        return uco_yield();
    deadline = uco__clock_after(uco__loop_now(task->future.loop), seconds);
    r = uco__task_checkpoint_suspending(task);
    return r < 0 ? r : uco__sleep_until(task, deadline);
}
