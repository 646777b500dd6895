/* SPDX-License-Identifier: MIT */

/*
 * Waiting for one future: await and join, which is what programs do most. One node in the frame, no
 * counting.
 *
 * 1. The wait holds a reference to what it waits for.
 * 2. News of a future that is resolved on the waiting loop's thread arrives at once; from other
 *    threads it is posted to the loop, and an interruption then comes too late.
 */

#include "core/jump.h"
#include "core/report.h"
#include "task/deadlock.h"
#include "task/dump.h"
#include "task/future.h"
#include "task/task.h"
#include "task/wait.h"

#include <uco/wait.h>

struct single {
    struct uco__waiter waiter;
    struct uco__ready ready;
    struct uco__wait wait;
    struct uco_loop *loop;
    uco_future *future;
};

static void
single_arrive(struct uco__ready *node)
{
    uco__wake(&UCO__CONTAINER(node, struct single, ready)->wait, 0);
}

static void
single_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    struct single *single = UCO__CONTAINER(waiter, struct single, waiter);

    (void) future;
    if (uco__loop_is_here(single->loop))
        uco__wake(&single->wait, 0);
    else
        /* not refused: a loop with a task is open */
        uco__loop_push(single->loop, &single->ready);
}

static enum uco__abort
single_abort(struct uco__wait *wait)
{
    struct single *single = UCO__CONTAINER(wait, struct single, wait);

    return uco__future_remove_waiter(single->future, &single->waiter) ? UCO__UNLINKED
                                                                      : UCO__TOO_LATE;
}

static bool
single_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct single single;

    return UCO__DUMP_READ_AROUND(dump, &single, wait, struct single, wait) &&
           uco__dump_future(dump, single.future, true);
}

static UCO__WAIT_KIND(wait_single, "a future", single_describe);

/* Until it is resolved: 0, or UCO__INTERRUPTED. */
static inline __attribute__((always_inline)) intptr_t
single_park(struct uco__task *task, uco_future *f)
{
    struct single single;

    single.waiter.notify = single_notify;
    single.waiter.task = &task->future;
    single.ready.run = single_arrive;
    single.loop = task->future.loop;
    single.future = f;
    uco__wait_init(&single.wait, &wait_single, single_abort);
    return uco__future_add_waiter(f, &single.waiter) ? uco__task_park_here(task, &single.wait) : 0;
}

static intptr_t
await(struct uco__task *task, uco_future *f)
{
    int r = uco__checkpoint();

    if (r < 0)
        return r;
    if (f == NULL)
        return -ENOMEM;
    if (uco__future_is_resolved(f))
        return uco__future_read(f);
    if (uco__deadlock_closes_cycle(task, f))
        return -EDEADLK;
    return single_park(task, f) == UCO__INTERRUPTED ? -ECANCELED : uco__future_read(f);
}

UCO__JUMP_BODY intptr_t uco__await_pending_body(struct uco__task *task, uco_future *f);
intptr_t uco__await_pending(struct uco__task *task, uco_future *f);

/* What is not resolved, or must be looked at more closely. */
intptr_t
uco__await_pending_body(struct uco__task *task, uco_future *f)
{
    intptr_t result;

    /* From the start: already the checkpoint may let others run, who may drop theirs. */
    if (f != NULL)
        uco_ref(f);
    result = await(task, f);
    uco_unref(f);
    return result;
}

UCO__RETURNS_BY_JUMP(uco__await_pending);

static UCO__NOINLINE intptr_t
await_nowhere(void)
{
    int error;

    uco__task_current(&error);
    return uco__misuse(error, "uco_await: not in a coroutine");
}

intptr_t
uco_await(uco_future *f)
{
    struct uco__task *task = uco__task_here();

    if (UCO__UNLIKELY(task == NULL))
        return await_nowhere();
    if (f != NULL && uco__future_is_resolved(f) && UCO__LIKELY(uco__task_pass(task)))
        return uco__future_read(f);
    return uco__await_pending(task, f);
}

UCO__JUMP_BODY intptr_t uco__join_pending_body(struct uco__task *task, uco_future *f);
intptr_t uco__join_pending(struct uco__task *task, uco_future *f);

/* Takes the reference, unless it is -EDEADLK. */
intptr_t
uco__join_pending_body(struct uco__task *task, uco_future *f)
{
    bool told = false, expired;
    intptr_t result;

    if (uco__deadlock_closes_cycle(task, f))
        return -EDEADLK;
    if (UCO__LIKELY(!uco__scope_cancelled(task))) {
        if (UCO__LIKELY(single_park(task, f) == 0)) {
            result = uco__future_read(f);
            uco_unref(f);
            return result;
        }
        told = true;
    }
    result = uco__wait_complete(task, f, UCO_FOREVER, told, &expired);
    uco_unref(f);
    return result;
}

UCO__RETURNS_BY_JUMP(uco__join_pending);

static UCO__NOINLINE intptr_t
join_slow(uco_future *f)
{
    struct uco__task *task;
    intptr_t result;
    int r = uco__checkpoint_completing(&task);

    if (r < 0)
        return r;
    if (f == NULL)
        return -ENOMEM;
    if (!uco__future_is_resolved(f))
        return uco__join_pending_body(task, f);
    result = uco__future_read(f);
    uco_unref(f);
    return result;
}

intptr_t
uco_join(uco_future *f)
{
    struct uco__task *task = uco__task_here();
    intptr_t result;

    if (UCO__UNLIKELY(task == NULL || f == NULL || !uco__task_pass_completing(task)))
        return join_slow(f);
    if (!uco__future_is_resolved(f))
        return uco__join_pending(task, f);
    result = uco__future_read(f);
    uco_unref(f);
    return result;
}
