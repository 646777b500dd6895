/* SPDX-License-Identifier: MIT */

/*
 * Futures.
 *
 * 1. `resolved` goes from 0 to 1 once, under the mutex, together with `result`; nothing else ever
 *    changes the result.
 * 2. A waiter is in the list until it was notified, which happens in the same stretch under the
 *    mutex, or removed. So whoever fails to remove a waiter knows that its news is on its way.
 * 3. The mutex is held for a few instructions a waiter, and never while anything of a user's runs.
 */

#include "task/future.h"

#include "base/error.h"
#include "base/system.h"
#include "core/loop.h"
#include "core/report.h"
#include "task/pool.h"
#include "task/task.h"

void
uco__future_done(struct uco_future *future)
{
    if (future->loop != NULL)
        uco__loop_release(future->loop);
}

bool
uco__future_resolve(struct uco_future *future, intptr_t result)
{
    struct uco__list *link;

    uco__mutex_lock(&future->mutex);
    if (atomic_load_explicit(&future->resolved, memory_order_relaxed)) {
        uco__mutex_unlock(&future->mutex);
        return false;
    }
    future->result = result;
    atomic_store_explicit(&future->resolved, true, memory_order_release);
    while ((link = uco__list_pop_front(&future->waiters)) != NULL) {
        struct uco__waiter *waiter = UCO__CONTAINER(link, struct uco__waiter, link);

        waiter->notify(waiter, future);
    }
    uco__mutex_unlock(&future->mutex);
    return true;
}

bool
uco__future_add_waiter(struct uco_future *future, struct uco__waiter *waiter)
{
    bool pending;

    uco__mutex_lock(&future->mutex);
    pending = !atomic_load_explicit(&future->resolved, memory_order_relaxed);
    if (pending)
        uco__list_push_back(&future->waiters, &waiter->link);
    else
        uco__list_init(&waiter->link);
    uco__mutex_unlock(&future->mutex);
    return pending;
}

bool
uco__future_remove_waiter(struct uco_future *future, struct uco__waiter *waiter)
{
    bool linked;

    uco__mutex_lock(&future->mutex);
    linked = !uco__list_empty(&waiter->link);
    uco__list_remove(&waiter->link);
    uco__mutex_unlock(&future->mutex);
    return linked;
}

/* --- done callbacks --- */

struct done_callback {
    struct uco__waiter waiter;
    struct uco__ready ready;
    struct uco_loop *loop; /* held */
    uco_callback *callback;
    void *arg;
};

static void
done_callback_free(struct done_callback *done)
{
    uco__loop_release(done->loop);
    uco__free(done);
}

static void
done_callback_run(struct uco__ready *node)
{
    struct done_callback *done = UCO__CONTAINER(node, struct done_callback, ready);
    uco_callback *callback = done->loop->dropping ? NULL : done->callback;
    void *arg = done->arg;

    done_callback_free(done);
    if (callback != NULL)
        callback(arg);
}

static void
done_callback_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    struct done_callback *done = UCO__CONTAINER(waiter, struct done_callback, waiter);
    struct uco_loop *loop = done->loop;

    (void) future;
    uco__loop_hold(loop); /* the callback may run, and give its own back, before the post returns */
    if (uco__loop_post(loop, &done->ready) < 0)
        done_callback_free(done); /* the loop has closed: nobody is left to call */
    uco__loop_release(loop);
}

/* Nobody can resolve it any more, and nobody waits (who does holds a reference): only done
 * callbacks may be left, which are never to be called. */
static void
plain_free(struct uco_future *future)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&future->waiters)) != NULL)
        done_callback_free(UCO__CONTAINER(link, struct done_callback, waiter.link));
    uco__future_done(future);
    uco__free(future);
}

/* --- the future's API --- */

uco_future *
uco_future_new(void)
{
    struct uco_future *future = uco__allocate(sizeof *future);

    if (future == NULL)
        return uco__error_null(-ENOMEM);
    uco__future_init(future, UCO__FUTURE_PLAIN, uco_get_running_loop());
    if (future->loop != NULL)
        uco__loop_hold(future->loop);
    return future;
}

/* Whoever is woken may drop the last reference at once, while this thread still is in the middle of
 * it. */
static int
plain_resolve(uco_future *f, intptr_t result)
{
    bool first;

    uco_ref(f);
    first = uco__future_resolve(f, result);
    uco_unref(f);
    return first ? 0 : -EALREADY;
}

int
uco_future_set_result(uco_future *f, intptr_t result)
{
    if (f == NULL || f->kind != UCO__FUTURE_PLAIN || !uco__future_result_valid(result))
        return uco__misuse(-EINVAL, "uco_future_set_result: NULL, a task, or a result below -%d",
                           UCO_MAX_ERROR);
    return plain_resolve(f, result);
}

bool
uco_done(const uco_future *f)
{
    return f == NULL || uco__future_is_resolved(f);
}

intptr_t
uco_result(const uco_future *f)
{
    if (f == NULL)
        return -EINVAL; /* a task that could not be created: no misuse */
    if (!uco__future_is_resolved(f))
        return -EINPROGRESS;
    return uco__future_read((uco_future *) (uintptr_t) f);
}

uco_future *
uco_ref(uco_future *f)
{
    if (f == NULL)
        return uco__error_null(uco__misuse(-EINVAL, "uco_ref: the future is NULL"));
    uco__count_add(&f->references, 1);
    return f;
}

void
uco__future_drop(struct uco_future *f, unsigned references)
{
    if (!uco__count_drop(&f->references, references))
        return;
    switch (f->kind) {
    case UCO__FUTURE_TASK:
        uco__task_free(f);
        return;
    case UCO__FUTURE_JOB:
        uco__job_free(f);
        return;
    case UCO__FUTURE_PLAIN:
        plain_free(f);
        return;
    }
    __builtin_unreachable();
}

void
uco_unref(uco_future *f)
{
    if (f != NULL)
        uco__future_drop(f, 1);
}

void
uco_unref_all(uco_future *fs[], size_t n)
{
    for (size_t i = 0; fs != NULL && i < n; i++)
        uco_unref(fs[i]);
}

int
uco_cancel(uco_future *f)
{
    if (f == NULL)
        return -EINVAL; /* a task that could not be created: no misuse */
    if (uco__future_is_resolved(f))
        return -EALREADY;
    switch (f->kind) {
    case UCO__FUTURE_TASK:
        return uco__task_cancel(f);
    case UCO__FUTURE_JOB:
        return uco__job_cancel(f);
    case UCO__FUTURE_PLAIN:
        return plain_resolve(f, -ECANCELED);
    }
    __builtin_unreachable();
}

/* --- done callbacks' API --- */

/* The loop that a callback added now will run on; NULL and the error if there is none. */
static struct uco_loop *
done_callback_loop(const uco_future *f, int *error)
{
    struct uco_loop *loop = uco_get_running_loop();

    if (loop == NULL)
        loop = f->loop;
    *error = loop == NULL            ? uco__misuse(-EPERM, "a done callback needs a loop to run on")
             : uco__loop_stale(loop) ? -ESTALE
             : atomic_load(&loop->closed) ? -ESHUTDOWN
                                          : 0;
    return *error < 0 ? NULL : loop;
}

int
uco_add_done_callback(uco_future *f, uco_callback *cb, void *arg)
{
    struct done_callback *done;
    struct uco_loop *loop;
    int r;

    if (f == NULL || cb == NULL)
        return uco__misuse(-EINVAL, "uco_add_done_callback: the future or the callback is NULL");
    loop = done_callback_loop(f, &r);
    if (loop == NULL)
        return r;
    done = uco__allocate(sizeof *done);
    if (done == NULL)
        return -ENOMEM;
    *done = (struct done_callback){
        .waiter.notify = done_callback_notify,
        .ready.run = done_callback_run,
        .loop = loop,
        .callback = cb,
        .arg = arg,
    };
    uco__loop_hold(loop);
    if (uco__future_add_waiter(f, &done->waiter))
        return 0;
    r = uco__loop_post(loop, &done->ready);
    if (r < 0)
        done_callback_free(done);
    return r;
}

int
uco_remove_done_callback(uco_future *f, uco_callback *cb, void *arg)
{
    struct uco__list removed;
    struct uco__list *link;
    int count = 0;

    if (f == NULL || cb == NULL)
        return uco__misuse(-EINVAL, "uco_remove_done_callback: the future or the callback is NULL");
    uco__list_init(&removed);
    uco__mutex_lock(&f->mutex);
    UCO__LIST_EACH_SAFE(node, &f->waiters) {
        struct done_callback *done = UCO__CONTAINER(node, struct done_callback, waiter.link);

        if (done->waiter.notify != done_callback_notify || done->callback != cb || done->arg != arg)
            continue;
        uco__list_remove(node);
        uco__list_push_back(&removed, node);
        count++;
    }
    uco__mutex_unlock(&f->mutex);
    while ((link = uco__list_pop_front(&removed)) != NULL)
        done_callback_free(UCO__CONTAINER(link, struct done_callback, waiter.link));
    return count;
}
