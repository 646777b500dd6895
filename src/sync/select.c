/* SPDX-License-Identifier: MIT */

/*
 * Waiting for the first of several queue operations.
 *
 * 1. A selection that waits has a waiter in the list of each of its cases. Whoever serves one takes
 *    the others out in the same step, so nothing is ever handed to a selection that is over, and
 *    none of its waiters stands in anybody's way.
 * 2. Until it waits, it is inside each of its queues: what the checkpoint lets others free keeps
 *    its memory.
 */

#include "base/random.h"
#include "base/system.h"
#include "core/dump.h"
#include "core/report.h"
#include "sync/queue.h"
#include "task/runtime.h"

#include <errno.h>
#include <math.h>

#define WAITERS_INLINE 8 /* so many cases are waited for without an allocation */

struct selection {
    struct uco__wait wait; /* its result is the index of the case, or -ETIMEDOUT */
    struct uco__timer timer;
    struct uco__queue_waiter *waiters;
    size_t n;
    int result; /* of the case that happened */
    struct uco__queue_waiter inline_waiters[WAITERS_INLINE];
};

/* --- may it be done, and what can be done at once? --- */

static int
select_check(const uco_select_case cases[], size_t n, double timeout)
{
    if (cases == NULL || n == 0 || isnan(timeout))
        return uco__misuse(-EINVAL, "uco_select: there are no cases, or the time is not a number");
    for (size_t i = 0; i < n; i++) {
        if (cases[i].queue == NULL || cases[i].item == NULL ||
            (cases[i].op != UCO_SELECT_GET && cases[i].op != UCO_SELECT_PUT))
            return uco__misuse(-EINVAL, "uco_select: case %zu has no queue, item or operation", i);
    }
    return 0;
}

static void
select_begin(uco_select_case cases[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco__queue_begin(cases[i].queue);
}

static void
select_end(uco_select_case cases[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco__queue_end(cases[i].queue);
}

/* All queues are the calling loop's; none is bound if one of them is another's. */
static int
select_bind(uco_select_case cases[], size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = cases[i].queue->number != 0 ? uco__queue_bind(cases[i].queue) : 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = uco__queue_bind(cases[i].queue);
    return r;
}

static bool
case_is_ready(const uco_select_case *c)
{
    return c->op == UCO_SELECT_GET ? uco__queue_can_get(c->queue) : uco__queue_can_put(c->queue);
}

/* One of those that can be done at once, or NULL. */
static uco_select_case *
select_choose(uco_select_case cases[], size_t n, struct uco_loop *loop)
{
    size_t ready = 0, skip = 0;

    for (size_t i = 0; i < n; i++) {
        uco__queue_update(cases[i].queue);
        ready += case_is_ready(&cases[i]);
    }
    if (ready == 0)
        return NULL;
    if (ready > 1)
        skip = (size_t) (uco__random_next(&uco__runtime_of(loop)->select_random) % ready);
    while (!case_is_ready(cases) || skip-- > 0)
        cases++;
    return cases;
}

/* The index; -EAGAIN when nothing can be done at once. */
static ssize_t
select_now(uco_select_case cases[], size_t n, struct uco_loop *loop)
{
    uco_select_case *chosen = select_choose(cases, n, loop);
    int r;

    if (chosen == NULL)
        return -EAGAIN;
    r = chosen->op == UCO_SELECT_GET ? uco__queue_get_now(chosen->queue, chosen->item)
                                     : uco__queue_put_now(chosen->queue, chosen->item);
    if (r == -ENOMEM)
        return r;
    chosen->result = r;
    return chosen - cases;
}

/* --- the wait --- */

static void
selection_leave(struct selection *selection)
{
    for (size_t i = 0; i < selection->n; i++)
        uco__waiters_remove(&selection->waiters[i].waiter);
}

static void
selection_served(struct uco__queue_waiter *waiter, int result)
{
    struct selection *selection = waiter->owner;

    selection_leave(selection);
    selection->result = result;
    uco__wake(&selection->wait, waiter - selection->waiters);
}

static void
selection_expire(struct uco__timer *timer)
{
    struct selection *selection = UCO__CONTAINER(timer, struct selection, timer);

    selection_leave(selection);
    uco__wake(&selection->wait, -ETIMEDOUT);
}

static enum uco__abort
selection_abort(struct uco__wait *wait)
{
    selection_leave(UCO__CONTAINER(wait, struct selection, wait));
    return UCO__UNLINKED;
}

static bool
selection_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    const struct selection *at = UCO__DUMP_AROUND(wait, struct selection, wait);
    struct selection selection;

    if (!uco__dump_read(dump, &selection, at, offsetof(struct selection, inline_waiters)))
        return false;
    uco__dump_text(dump, "one of ");
    uco__dump_number(dump, selection.n);
    uco__dump_text(dump, " operations on queues");
    uco__dump_limit(dump, &at->timer);
    return true;
}

static UCO__WAIT_KIND(wait_selection, "one of several queues", selection_describe);

static int
selection_init(struct selection *selection, uco_select_case cases[], size_t n)
{
    selection->n = n;
    selection->waiters = selection->inline_waiters;
    if (n > WAITERS_INLINE) {
        if (n > SIZE_MAX / sizeof *selection->waiters)
            return -ENOMEM;
        selection->waiters = uco__allocate(n * sizeof *selection->waiters);
        if (selection->waiters == NULL)
            return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        struct uco__queue_waiter *waiter = &selection->waiters[i];
        struct uco_queue *q = cases[i].queue;

        waiter->item = cases[i].item;
        waiter->served = selection_served;
        waiter->owner = selection;
        uco__waiters_push(cases[i].op == UCO_SELECT_GET ? &q->getters : &q->putters,
                          &waiter->waiter);
    }
    return 0;
}

/* The queues may be gone afterwards. */
static ssize_t
select_wait(struct uco__task *task, uco_select_case cases[], size_t n, uint64_t deadline)
{
    struct selection selection;
    struct uco_loop *loop = task->future.loop;
    intptr_t r = selection_init(&selection, cases, n);

    if (r < 0)
        return r;
    uco__wait_init(&selection.wait, &wait_selection, selection_abort);
    uco__timer_init(&selection.timer, selection_expire);
    uco__timer_start(loop, &selection.timer, deadline);
    r = uco__task_park(task, &selection.wait);
    uco__timer_stop(loop, &selection.timer);
    if (selection.waiters != selection.inline_waiters)
        uco__free(selection.waiters);
    if (r >= 0)
        cases[r].result = selection.result;
    return r == UCO__INTERRUPTED ? -ECANCELED : r;
}

ssize_t
uco_select(uco_select_case cases[], size_t n, double timeout)
{
    struct uco__task *task;
    struct uco_loop *loop;
    uint64_t deadline = UCO__NEVER;
    ssize_t r;
    int error;

    task = uco__task_current(&error);
    if (task == NULL)
        return uco__misuse(error, "uco_select: not in a coroutine");
    r = select_check(cases, n, timeout);
    if (r == 0)
        r = select_bind(cases, n);
    if (r < 0)
        return r;
    loop = task->future.loop;
    if (timeout > 0 && timeout < UCO_FOREVER)
        deadline = uco__clock_after(uco__loop_now(loop), timeout);
    select_begin(cases, n);
    r = uco__task_checkpoint(task);
    if (r == 0)
        r = select_now(cases, n, loop);
    select_end(cases, n);
    if (r != -EAGAIN)
        return r;
    return timeout > 0 ? select_wait(task, cases, n, deadline) : -ETIMEDOUT;
}
