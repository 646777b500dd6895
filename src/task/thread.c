/* SPDX-License-Identifier: MIT */

/* Coroutines from other threads, threads that wait for futures, and a loop in a thread of its own.
 */

#include "base/clock.h"
#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "task/future.h"
#include "task/runtime.h"
#include "task/task.h"

#include <math.h>
#include <pthread.h>
#include <uco/thread.h>

/* --- submitting --- */

static uco_task *
submit(const char *file, int line, uco_loop *loop, const uco_task_options *options, uco_fn *fn,
       void *arg)
{
    struct uco__task *task;
    int error;

    if (loop == NULL || fn == NULL)
        return uco__error_null(
            uco__misuse(-EINVAL, "uco_run_coroutine_threadsafe: the loop or the function is NULL"));
    if (uco__loop_stale(loop))
        return uco__error_null(
            uco__misuse(-ESTALE, "the loop was made before fork(): in the child it is dead"));
    if (atomic_load(&loop->closing))
        return uco__error_null(-ESHUTDOWN);
    task = uco__task_new(loop, options, fn, arg, &error);
    if (task == NULL)
        return uco__error_null(error);
    task->file = file;
    task->line = line;
    uco_ref(&task->future); /* the caller may drop its own before the loop has seen the task */
    error = uco__loop_post(loop, &uco__task_fiber(task)->ready);
    if (error == 0)
        return &task->future;
    uco_unref(&task->future);
    uco_unref(&task->future);
    return uco__error_null(error);
}

uco_task *
uco_run_coroutine_threadsafe_at(const char *file, int line, uco_loop *loop,
                                const uco_task_options *options, uco_fn *fn, void *arg)
{
    return submit(file, line, loop, options, fn, arg);
}

uco_task *(uco_run_coroutine_threadsafe) (uco_loop *loop, uco_fn *fn, void *arg)
{
    return submit(NULL, 0, loop, NULL, fn, arg);
}

uco_task *(uco_run_coroutine_threadsafe_with) (uco_loop *loop, const uco_task_options *options,
                                               uco_fn *fn, void *arg)
{
    return submit(NULL, 0, loop, options, fn, arg);
}

/* --- a thread waits --- */

struct thread_waiter {
    struct uco__waiter waiter;
    atomic_uint done;
};

static void
thread_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    struct thread_waiter *self = UCO__CONTAINER(waiter, struct thread_waiter, waiter);

    (void) future;
    atomic_store(&self->done, 1);
    uco__futex_wake_all(&self->done);
}

intptr_t
uco_future_wait(uco_future *f, double timeout)
{
    struct thread_waiter self = {.waiter.notify = thread_notify};
    uint64_t deadline;
    intptr_t result;
    int r = 0;

    if (isnan(timeout))
        return uco__misuse(-EINVAL, "uco_future_wait: the time is not a number");
    if (f == NULL)
        return -ENOMEM;
    if (uco_get_running_loop() != NULL)
        return uco__misuse(-EDEADLK,
                           "uco_future_wait: it would block the running loop; use uco_await");
    deadline = uco__clock_after(uco__clock_real(), timeout);
    uco_ref(f);
    if (uco__future_add_waiter(f, &self.waiter)) {
        /* A plain future can still be resolved in the child of a fork. */
        if (f->kind != UCO__FUTURE_PLAIN && f->loop != NULL && uco__loop_stale(f->loop))
            r = uco__misuse_of(f->loop, -ESTALE,
                               "uco_future_wait: its loop was made before fork(): in the child it "
                               "is dead");
        while (atomic_load(&self.done) == 0 && r == 0)
            r = timeout <= 0 ? -ETIMEDOUT : uco__futex_wait(&self.done, 0, deadline);
        /* Under the mutex: whoever resolves is through with the waiter, or has not seen it. */
        if (uco__future_remove_waiter(f, &self.waiter) && r < 0) {
            uco_unref(f);
            return r;
        }
    }
    result = uco__future_read(f);
    uco_unref(f);
    return result;
}

/* --- a loop in a thread --- */

struct uco_loop_thread {
    struct uco_loop *loop;
    pthread_t thread;
    pthread_mutex_t mutex; /* of the two below */
    pthread_cond_t changed;
    bool running; /* the loop has had its first turn */
    bool quit;    /* uco_loop_thread_stop() */
};

static void
loop_thread_set(struct uco_loop_thread *t, bool *flag)
{
    pthread_mutex_lock(&t->mutex);
    *flag = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mutex);
}

static void
loop_thread_await(struct uco_loop_thread *t, const bool *flag)
{
    pthread_mutex_lock(&t->mutex);
    while (!*flag)
        pthread_cond_wait(&t->changed, &t->mutex);
    pthread_mutex_unlock(&t->mutex);
}

static void
loop_thread_runs(void *arg)
{
    struct uco_loop_thread *t = arg;

    loop_thread_set(t, &t->running);
}

static void *
loop_thread_main(void *arg)
{
    struct uco_loop_thread *t = arg;

    uco_loop_run_forever(t->loop);
    /* Also after a user's own uco_loop_stop(): tasks are to end in the thread that they ran in. */
    loop_thread_await(t, &t->quit);
    uco_loop_close(t->loop);
    return NULL;
}

static void
loop_thread_free(struct uco_loop_thread *t)
{
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->mutex);
    uco__free(t);
}

uco_loop_thread *
uco_loop_thread_start(const uco_loop_options *options)
{
    struct uco_loop_thread *t = uco__allocate(sizeof *t);
    int r = -ENOMEM;

    if (t == NULL)
        return uco__error_null(r);
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->loop = uco__loop_new(options, &r);
    if (t->loop == NULL)
        goto fail_loop;
    r = uco_loop_call_soon(t->loop, loop_thread_runs, t);
    if (r < 0)
        goto fail_thread;
    r = uco__thread_start(&t->thread, NULL, loop_thread_main, t);
    if (r < 0)
        goto fail_thread;
    loop_thread_await(t, &t->running);
    return t;

fail_thread:
    /* The close runs the callback: t must still be there. */
    uco__loop_close_here(t->loop);
    uco_loop_unref(t->loop);
fail_loop:
    loop_thread_free(t);
    return uco__error_null(r);
}

uco_loop *
uco_loop_thread_loop(uco_loop_thread *t)
{
    return t != NULL ? t->loop
                     : uco__error_null(uco__misuse(-EINVAL, "uco_loop_thread_loop: NULL"));
}

int
uco_loop_thread_stop(uco_loop_thread *t)
{
    if (t == NULL)
        return 0;
    if (uco_get_running_loop() == t->loop)
        return uco__misuse(-EDEADLK,
                           "uco_loop_thread_stop: called from the loop that it is to stop");
    if (uco__loop_stale(t->loop))
        return uco__misuse(-ESTALE, "the loop was made before fork(): in the child it is dead");
    atomic_store(&t->loop->closing, true);
    loop_thread_set(t, &t->quit);
    uco_loop_stop(t->loop);
    pthread_join(t->thread, NULL);
    uco_loop_unref(t->loop);
    loop_thread_free(t);
    return 0;
}
