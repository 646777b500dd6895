/* SPDX-License-Identifier: MIT */

/*
 * Callbacks for a loop: from its own thread, from others, and from signal handlers.
 *
 * 1. A node is in the run queue, in the inbox, or nowhere. Its `run` gives it back, also when it is
 *    dropped unrun because the loop has closed.
 */

#include "base/system.h"
#include "core/bundle.h"
#include "core/loop.h"
#include "core/report.h"

/* --- nodes of our own --- */

static void
call_run(struct uco__ready *node)
{
    struct uco__call *call = UCO__CONTAINER(node, struct uco__call, ready);
    struct uco_loop *loop = call->loop;
    uco_callback *callback = loop->dropping ? NULL : call->callback;
    void *arg = call->arg;

    uco__call_give(loop, call);
    if (callback != NULL)
        callback(arg);
}

static int
call_soon(uco_loop *loop, uco_callback *cb, void *arg)
{
    struct uco__call *call = uco__call_take(loop);

    if (call == NULL)
        return -ENOMEM;
    *call = (struct uco__call){.ready.run = call_run, .loop = loop, .callback = cb, .arg = arg};
    uco__scheduler_call(loop, &call->ready);
    return 0;
}

int
uco_loop_call_soon(uco_loop *loop, uco_callback *cb, void *arg)
{
    int r;

    if (loop == NULL || cb == NULL)
        return uco__misuse(-EINVAL, "uco_loop_call_soon: the loop or the callback is NULL");
    r = uco__loop_check(loop);
    if (r < 0)
        return r;
    if (loop->ending)
        return -ESHUTDOWN;
    return call_soon(loop, cb, arg);
}

/* What a user may post: not to a loop that has begun to close. */
static int
post_check(const uco_loop *loop)
{
    if (uco__loop_stale(loop))
        return uco__misuse(-ESTALE, "the loop was made before fork(): in the child it is dead");
    return atomic_load(&loop->closing) ? -ESHUTDOWN : 0;
}

int
uco_loop_call_soon_threadsafe(uco_loop *loop, uco_callback *cb, void *arg)
{
    int r;

    if (loop == NULL || cb == NULL)
        return uco__misuse(-EINVAL,
                           "uco_loop_call_soon_threadsafe: the loop or the callback is NULL");
    r = post_check(loop);
    if (r < 0)
        return r;
    return uco__loop_is_here(loop) ? call_soon(loop, cb, arg) : uco__bundle_post(loop, cb, arg);
}

/* --- nodes of the caller's --- */

/* What uco keeps in a uco_post's reserved room. */
struct post {
    uco_callback *callback;
    void *arg;
    struct uco__ready ready;
    atomic_uint queued;
};

_Static_assert(sizeof(struct post) <= sizeof(uco_post), "it fits");
_Static_assert(offsetof(struct post, callback) == offsetof(uco_post, callback) &&
                   offsetof(struct post, arg) == offsetof(uco_post, arg),
               "the public part is the same");

static void
post_run(struct uco__ready *node)
{
    struct post *post = UCO__CONTAINER(node, struct post, ready);
    uco_callback *callback = post->callback;
    void *arg = post->arg;

    /* Release pairs with the exchange in uco_loop_post(): from here on it may be queued again, or
     * be gone. */
    atomic_store_explicit(&post->queued, 0, memory_order_release);
    callback(arg);
}

int
uco_loop_post(uco_loop *loop, uco_post *node)
{
    struct post *post = (struct post *) (void *) node;
    int r;

    if (loop == NULL || node == NULL || node->callback == NULL)
        return uco__misuse(-EINVAL, "uco_loop_post: the loop, the post or its callback is NULL");
    r = post_check(loop);
    if (r < 0)
        return r;
    if (atomic_exchange_explicit(&post->queued, 1, memory_order_acq_rel) != 0)
        return 1;
    post->ready.run = post_run;
    r = uco__loop_post(loop, &post->ready);
    if (r < 0)
        atomic_store_explicit(&post->queued, 0, memory_order_release);
    return r;
}

/* --- the way in --- */

int
uco__loop_post(struct uco_loop *loop, struct uco__ready *node)
{
    if (uco__loop_is_here(loop)) {
        uco__scheduler_call(loop, node);
        return 0;
    }
    return uco__inbox_push(&loop->inbox, node);
}

int
uco__loop_push(struct uco_loop *loop, struct uco__ready *node)
{
    int r;

    uco__loop_hold(loop);
    r = uco__inbox_push(&loop->inbox, node);
    uco__loop_release(loop);
    return r;
}

void
uco_loop_stop(uco_loop *loop)
{
    if (loop == NULL || uco__loop_stale(loop) || atomic_load(&loop->closed))
        return;
    atomic_exchange(&loop->stopping, true);
    uco__inbox_wake(&loop->inbox);
}

int
uco__loop_ring(struct uco_loop *loop)
{
    atomic_store(&loop->woken, true);
    return uco__inbox_ring(&loop->inbox);
}

int
uco_wake_from_signal(uco_loop *loop)
{
    if (loop == NULL)
        return -EINVAL;
    if (uco__loop_stale(loop))
        return -ESTALE;
    atomic_store(&loop->wake_due, true);
    return uco__loop_ring(loop);
}

int
uco_loop_set_wake_callback(uco_loop *loop, uco_callback *cb, void *arg)
{
    int r = uco__loop_check(loop);

    if (r < 0)
        return r;
    loop->wake_callback = cb;
    loop->wake_arg = arg;
    return 0;
}
