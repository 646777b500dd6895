/* SPDX-License-Identifier: MIT */

/*
 * Waiting for futures: for many, or with a timeout. (await and join have a way of their own.)
 *
 * 1. Each wait holds a reference to what it waits for.
 * 2. News of a future that is resolved on the waiting loop's thread arrives at once; from other
 *    threads it is posted to the loop. What has been posted must arrive before the waiting frame
 *    may go: an interruption then comes too late.
 * 3. A completing call that is interrupted cancels what it waits for and goes on waiting,
 *    uninterruptibly.
 */

#include "task/wait.h"
#include "base/system.h"
#include "core/report.h"
#include "task/deadlock.h"
#include "task/dump.h"
#include "task/future.h"
#include "task/runtime.h"
#include "task/task.h"

#include <math.h>
#include <string.h>
#include <uco/wait.h>

#define NODES_TOLD 4       /* futures that a dump names */
#define NODES_LOOKED_AT 64 /* by a dump */
#define NODES_INLINE 8     /* so many futures are waited for without an allocation */

/* --- many --- */

enum node_state { NODE_WAITING, NODE_POSTED, NODE_DONE };

struct node {
    struct uco__waiter waiter;
    struct uco__ready ready;
    struct many *many;
    uco_future *future;
    atomic_uint state; /* enum node_state; set to POSTED by the thread that resolves */
};

struct many {
    struct uco_loop *loop;
    struct uco__task *task;
    struct uco__wait wait;
    struct uco__timer timer;    /* the timeout */
    struct uco__timer reminder; /* of those that ignore their cancellation */
    bool timed_out;
    bool any;         /* one is enough */
    bool first_error; /* one that failed is enough */
    bool stopping;    /* they have been cancelled */
    bool expired;     /* because of the timeout */
    size_t n;
    size_t pending;
    ssize_t first;  /* the one that was done first; -1: none */
    intptr_t error; /* of the one that failed first; 0: none */
    struct node *nodes;
    struct node inline_nodes[NODES_INLINE]; /* not zeroed: most calls use one */
};

static bool
many_is_over(const struct many *many)
{
    return many->pending == 0 || (many->any && many->first >= 0) ||
           (many->first_error && many->error < 0 && !many->stopping);
}

/* A future's news is here. */
static void
many_arrive(struct many *many, struct node *node)
{
    intptr_t result = node->future != NULL ? node->future->result : -ENOMEM;

    atomic_store_explicit(&node->state, NODE_DONE, memory_order_relaxed);
    many->pending--;
    if (many->first < 0)
        many->first = node - many->nodes;
    if (many->error == 0 && result < 0)
        many->error = result;
}

static void
node_arrive(struct uco__ready *ready)
{
    struct node *node = UCO__CONTAINER(ready, struct node, ready);
    struct many *many = node->many;

    many_arrive(many, node);
    if (many_is_over(many))
        uco__wake(&many->wait, 0);
}

static void
node_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    struct node *node = UCO__CONTAINER(waiter, struct node, waiter);
    struct uco_loop *loop = node->many->loop;

    (void) future;
    if (uco__loop_is_here(loop)) {
        node_arrive(&node->ready);
        return;
    }
    /* Relaxed: the loop looks at it only after it failed to remove the waiter, under the mutex that
     * is held here. */
    atomic_store_explicit(&node->state, NODE_POSTED, memory_order_relaxed);
    uco__loop_push(loop, &node->ready);
}

static void
many_time_out(struct uco__timer *timer)
{
    struct many *many = UCO__CONTAINER(timer, struct many, timer);

    many->timed_out = true;
    uco__wake(&many->wait, 0);
}

static void
many_remind(struct uco__timer *timer)
{
    uco__wake(&UCO__CONTAINER(timer, struct many, reminder)->wait, UCO__REMINDED);
}

static bool
node_is_done(const struct node *node)
{
    return atomic_load_explicit(&node->state, memory_order_relaxed) == NODE_DONE;
}

/* The first of those that are not done. */
static void
many_describe_nodes(struct uco__dump *dump, const struct many *many)
{
    unsigned told = 0;

    for (size_t i = 0; i < many->n && i < NODES_LOOKED_AT; i++) {
        struct node node;

        if (!UCO__DUMP_GET(dump, &node, &many->nodes[i]))
            return;
        if (node_is_done(&node))
            continue;
        if (!dump->silent && told++ == NODES_TOLD) {
            uco__dump_text(dump, ", ...");
            return;
        }
        if (many->n > 1)
            uco__dump_text(dump, told == 1 ? ": " : ", ");
        if (!uco__dump_future(dump, node.future, node.waiter.task != NULL))
            uco__dump_text(dump, "?");
    }
}

static bool
many_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    const struct many *at = UCO__DUMP_AROUND(wait, struct many, wait);
    struct many many;

    if (!uco__dump_read(dump, &many, at, offsetof(struct many, inline_nodes)) || many.n == 0)
        return false;
    if (many.n > 1) {
        if (!many.any)
            uco__dump_number(dump, many.pending);
        uco__dump_text(dump, many.any ? "any of " : " of ");
        uco__dump_number(dump, many.n);
        uco__dump_text(dump, " futures");
    }
    many_describe_nodes(dump, &many);
    uco__dump_limit(dump, &at->timer);
    return true;
}

static UCO__WAIT_KIND(many_kind, "several futures", many_describe);

/* Begins to wait; what is done already counts at once, in order. 0 or -ENOMEM. */
static int
many_begin(struct many *many, struct uco__task *task, uco_future *fs[], size_t n, bool blocks)
{
    memset(many, 0, offsetof(struct many, inline_nodes));
    many->loop = task->future.loop;
    many->task = task;
    many->n = n;
    many->pending = n;
    many->first = -1;
    many->nodes = n <= NODES_INLINE ? many->inline_nodes : uco__allocate(n * sizeof *many->nodes);
    if (many->nodes == NULL)
        return -ENOMEM;
    uco__wait_init(&many->wait, &many_kind, NULL);
    uco__timer_init(&many->timer, many_time_out);
    uco__timer_init(&many->reminder, many_remind);
    many->reminder.background = true;
    for (size_t i = 0; i < n; i++) {
        struct node *node = &many->nodes[i];

        *node = (struct node){.many = many, .future = fs[i], .ready.run = node_arrive};
        node->waiter.notify = node_notify;
        node->waiter.task = blocks ? &task->future : NULL;
        if (node->future == NULL) {
            many_arrive(many, node);
            continue;
        }
        uco_ref(node->future);
        if (!uco__future_add_waiter(node->future, &node->waiter))
            many_arrive(many, node);
    }
    return 0;
}

static bool
many_takes_all(const struct many *many)
{
    for (size_t i = 0; i < many->n; i++) {
        if (atomic_load_explicit(&many->nodes[i].state, memory_order_relaxed) == NODE_POSTED)
            return false;
    }
    return true;
}

/* Stops waiting. What has been posted must still arrive: the next turn brings it, and nothing can
 * keep it away. */
static void
many_end(struct many *many)
{
    uco__timer_stop(many->loop, &many->timer);
    uco__timer_stop(many->loop, &many->reminder);
    for (size_t i = 0; i < many->n; i++) {
        if (!node_is_done(&many->nodes[i]))
            uco__future_remove_waiter(many->nodes[i].future, &many->nodes[i].waiter);
    }
    many->any = false;
    many->first_error = false;
    while (!many_takes_all(many))
        uco__scheduler_yield(many->loop);
    for (size_t i = 0; i < many->n; i++)
        uco_unref(many->nodes[i].future);
    if (many->nodes != many->inline_nodes)
        uco__free(many->nodes);
}

/* One suspension: 0, or UCO__INTERRUPTED. The nodes stay as they are: whoever is interrupted deals
 * with them. */
static intptr_t
many_park(struct many *many, bool interruptible)
{
    uco__wait_init(&many->wait, &many_kind, interruptible ? uco__wait_abort_plain : NULL);
    return uco__task_park(many->task, &many->wait);
}

static void
many_cancel(struct many *many)
{
    many->stopping = true;
    for (size_t i = 0; i < many->n; i++) {
        if (!node_is_done(&many->nodes[i]))
            uco_cancel(many->nodes[i].future);
    }
}

static void
many_report(struct many *many)
{
    for (size_t i = 0; i < many->n; i++) {
        uco_future *future = many->nodes[i].future;

        if (!node_is_done(&many->nodes[i]) && future->kind == UCO__FUTURE_TASK)
            uco__task_remind(uco__task_of(future));
    }
}

/* Waits until all have ended. On the first error (where that is asked for), the timeout or the
 * caller's cancellation (`told`: it knows of that), they are cancelled. Whether the caller was
 * cancelled. */
static bool
many_complete(struct many *many, bool told)
{
    bool cancelled = told || uco__scope_cancelled(many->task);

    if (cancelled && !told && many->pending > 0)
        uco__scope_delivered(many->task);
    for (;;) {
        if (!many->stopping && (cancelled || many->timed_out || many_is_over(many)) &&
            many->pending > 0) {
            many->expired = !cancelled && many->timed_out;
            many_cancel(many);
        }
        if (many->pending == 0)
            return cancelled;
        if (many->stopping && !uco__timer_pending(&many->reminder))
            uco__timer_start(many->loop, &many->reminder,
                             uco__clock_after(uco__loop_now(many->loop), UCO__TASK_REMIND));
        switch (many_park(many, !cancelled)) {
        case UCO__INTERRUPTED:
            cancelled = true;
            break;
        case UCO__REMINDED:
            many_report(many);
            break;
        default:
            break;
        }
    }
}

/* Without memory to wait for all at once, one after the other, so that none outlives the call. */
static void
complete_one_by_one(struct uco__task *task, uco_future *fs[], size_t n)
{
    struct many many;

    for (size_t i = 0; i < n; i++)
        if (fs[i] != NULL)
            uco_cancel(fs[i]);
    for (size_t i = 0; i < n; i++) {
        many_begin(&many, task, &fs[i], 1, true);
        many_complete(&many, false);
        many_end(&many);
    }
}

static void
read_results(uco_future *fs[], size_t n, intptr_t results[])
{
    for (size_t i = 0; i < n; i++) {
        intptr_t result = fs[i] != NULL ? uco__future_read(fs[i]) : -ENOMEM;

        if (results != NULL)
            results[i] = result;
    }
}

/* The checkpoint of a call that waits for futures which the caller may only have borrowed: others
 * may run in it and give them back. If so, they are held (*held) until wait_done(). */
static int
wait_checkpoint(struct uco__task *task, uco_future *fs[], size_t n, bool completing, bool *held)
{
    *held = !(completing ? uco__task_pass_completing(task) : uco__task_pass(task));
    if (!*held)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (fs[i] != NULL)
            uco_ref(fs[i]);
    }
    return completing ? uco__task_checkpoint_completing(task) : uco__task_checkpoint_slow(task);
}

static void
wait_done(uco_future *fs[], size_t n, bool held)
{
    if (held)
        uco_unref_all(fs, n);
}

static int
gather_without_memory(struct uco__task *task, uco_future *fs[], size_t n, intptr_t results[])
{
    for (size_t i = 0; i < n; i++) {
        if (fs[i] != NULL)
            uco_ref(fs[i]);
    }
    complete_one_by_one(task, fs, n);
    read_results(fs, n, results);
    uco_unref_all(fs, n);
    return -ENOMEM;
}

static int
gather_complete(struct uco__task *task, uco_future *fs[], size_t n, intptr_t results[],
                bool first_error)
{
    struct many many;
    bool cancelled;

    if (uco__deadlock_search(task, fs, n))
        return -EDEADLK;
    if (many_begin(&many, task, fs, n, true) < 0)
        return gather_without_memory(task, fs, n, results);
    many.first_error = first_error;
    cancelled = many_complete(&many, false);
    read_results(fs, n, results);
    many_end(&many);
    if (cancelled)
        uco__scope_delivered(task);
    return cancelled ? -ECANCELED : first_error ? (int) many.error : 0;
}

static int
gather(uco_future *fs[], size_t n, intptr_t results[], bool first_error)
{
    struct uco__task *task;
    bool held;
    int r;

    task = uco__task_current(&r);
    if (task == NULL)
        return uco__misuse(r, "gather: not in a coroutine");
    if (fs == NULL && n > 0)
        return uco__misuse(-EINVAL, "gather: the array is NULL");
    r = wait_checkpoint(task, fs, n, true, &held);
    if (r == 0 && n > 0)
        r = gather_complete(task, fs, n, results, first_error);
    wait_done(fs, n, held);
    return r;
}

int
uco_gather(uco_future *fs[], size_t n, intptr_t results[])
{
    return gather(fs, n, results, true);
}

int
uco_gather_all(uco_future *fs[], size_t n, intptr_t results[])
{
    return gather(fs, n, results, false);
}

intptr_t
uco__wait_complete(struct uco__task *task, uco_future *f, double timeout, bool told, bool *expired)
{
    struct many many;
    intptr_t result;

    many_begin(&many, task, &f, 1, true);
    if (timeout <= 0)
        many.timed_out = true;
    else if (timeout < UCO_FOREVER)
        uco__timer_start(many.loop, &many.timer,
                         uco__clock_after(uco__loop_now(many.loop), timeout));
    many_complete(&many, told);
    *expired = many.expired;
    result = uco__future_read(f);
    many_end(&many);
    return result;
}

static intptr_t
wait_for(struct uco__task *task, uco_future *f, double timeout)
{
    intptr_t result;
    bool expired;

    if (uco__deadlock_closes_cycle(task, f))
        return -EDEADLK;
    result = uco__wait_complete(task, f, timeout, false, &expired);
    return expired && result == -ECANCELED ? -ETIMEDOUT : result;
}

intptr_t
uco_wait_for(uco_future *f, double timeout)
{
    struct uco__task *task;
    intptr_t r;
    bool held;
    int error;

    task = uco__task_current(&error);
    if (task == NULL)
        return uco__misuse(error, "uco_wait_for: not in a coroutine");
    if (isnan(timeout))
        return uco__misuse(-EINVAL, "uco_wait_for: the time is not a number");
    r = wait_checkpoint(task, &f, 1, true, &held);
    if (r == 0)
        r = f != NULL ? wait_for(task, f, timeout) : -ENOMEM;
    wait_done(&f, 1, held);
    return r;
}

/* wait_any and wait_all: 0 when it is over, whichever way that was asked for. */
static int
wait_many(struct many *many, struct uco__task *task, uco_future *fs[], size_t n, double timeout,
          bool any)
{
    intptr_t r = many_begin(many, task, fs, n, false);

    if (r < 0)
        return (int) r;
    many->any = any;
    if (timeout <= 0)
        many->timed_out = true;
    else if (timeout < UCO_FOREVER)
        uco__timer_start(many->loop, &many->timer,
                         uco__clock_after(uco__loop_now(many->loop), timeout));
    while (!many_is_over(many) && !many->timed_out && r == 0)
        r = many_park(many, true);
    /* What came with the timeout, in the same turn, counts as come. */
    r = r == UCO__INTERRUPTED ? -ECANCELED : many_is_over(many) ? 0 : -ETIMEDOUT;
    many_end(many);
    return (int) r;
}

static ssize_t
wait(uco_future *fs[], size_t n, double timeout, bool any)
{
    struct many many;
    struct uco__task *task;
    bool held;
    int r;

    task = uco__task_current(&r);
    if (task == NULL)
        return uco__misuse(r, "waiting for futures: not in a coroutine");
    if (isnan(timeout) || (fs == NULL && n > 0) || (any && n == 0))
        return uco__misuse(-EINVAL,
                           "waiting for futures: there are none, the array is NULL, or the "
                           "time is not a number");
    r = wait_checkpoint(task, fs, n, false, &held);
    if (r == 0)
        r = wait_many(&many, task, fs, n, timeout, any);
    wait_done(fs, n, held);
    return r != 0 || !any ? r : many.first;
}

ssize_t
uco_wait_any(uco_future *fs[], size_t n, double timeout)
{
    return wait(fs, n, timeout, true);
}

int
uco_wait_all(uco_future *fs[], size_t n, double timeout)
{
    return (int) wait(fs, n, timeout, false);
}
