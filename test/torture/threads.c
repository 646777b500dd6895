/* SPDX-License-Identifier: MIT */

/*
 * Threads: jobs of the pool, work that comes from other threads, loops in threads of their own.
 *
 * What was accepted runs, and its result arrives, wherever it is waited for.
 */

#include "scenarios.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* In real time, for a thread that waits for what must come. */
#define SOON 8.0

static intptr_t
job_seven(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    if (arg != NULL)
        atomic_fetch_add((atomic_int *) arg, 1);
    return 7;
}

static intptr_t
job_by_task(void *arg)
{
    return uco_to_thread(job_seven, arg);
}

static void
jobs_run(void)
{
    atomic_int ran = 0;
    uco_future *jobs[6];
    intptr_t results[COUNT(jobs)];
    int sevens = 0;
    bool has_results;
    intptr_t r;

    r = MAY(uco_to_thread(job_seven, &ran), ENOMEM, EAGAIN);
    MUST(r == 7 ? ran == 1 : ran == 0);
    ran = 0;
    for (size_t i = 0; i < COUNT(jobs); i++) {
        if (i % 2 == 0)
            MADE(jobs[i], uco_to_thread_start(job_seven, &ran), ENOMEM, EAGAIN);
        else
            MADE(jobs[i], uco_create_task(job_by_task, &ran), ENOMEM);
    }
    has_results = MAY(uco_gather_all(jobs, COUNT(jobs), results), ENOMEM) == 0;
    for (size_t i = 0; i < COUNT(jobs); i++) {
        r = MAY(uco_join(jobs[i]), ENOMEM, EAGAIN);
        MUST(!has_results || results[i] == r);
        sevens += r == 7;
    }
    MUST(ran == sevens);
    /* A job that has begun is waited for, one that has not never begins. */
    ran = 0;
    r = uco_with_timeout(0.01, job_by_task, &ran);
    MUST(r == 7 || r == -ETIMEDOUT || r == -ECANCELED || !torture_clean());
    MUST(r == 7 ? ran == 1 : ran == 0);
}

/* Work from a bare thread */

struct submission {
    uco_loop *loop;
    uco_future *done;
    uco_post post;
    int ran;
    int accepted;
    int called;
};

static intptr_t
submitted_task(void *arg)
{
    struct submission *submission = arg;

    SURE(uco_yield());
    submission->ran++;
    return 7;
}

static void
submitted_callback(void *arg)
{
    struct submission *submission = arg;

    submission->called++;
}

static void *
submitter(void *arg)
{
    struct submission *submission = arg;
    int ran = 0;

    for (int i = 0; i < 4; i++) {
        uco_task *task;
        intptr_t r;

        MADE(task, uco_run_coroutine_threadsafe(submission->loop, submitted_task, submission),
             ENOMEM);
        r = MAY(uco_future_wait(task, SOON), ENOMEM);
        MUST(r == 7 || r == -ENOMEM);
        ran += r == 7;
        uco_unref(task);
    }
    MUST(submission->ran == ran);
    for (int i = 0; i < 4; i++)
        submission->accepted +=
            MAY(uco_loop_call_soon_threadsafe(submission->loop, submitted_callback, submission),
                ENOMEM) == 0;
    MUST(uco_loop_post(submission->loop, &submission->post) == 0);
    submission->accepted++;
    SURE(uco_future_set_result(submission->done, 7));
    return NULL;
}

static void
submits_run(void)
{
    struct submission submission = {.loop = uco_get_running_loop()};
    pthread_t thread;

    submission.post = (uco_post){.callback = submitted_callback, .arg = &submission};
    MADE(submission.done, uco_future_new(), ENOMEM);
    if (submission.done == NULL)
        return;
    MUST(pthread_create(&thread, NULL, submitter, &submission) == 0);
    MUST(uco_await(submission.done) == 7);
    pthread_join(thread, NULL);
    SURE(uco_test_settle());
    MUST(submission.called == submission.accepted);
    uco_unref(submission.done);
}

/* Loops in threads */

#define NO_THREAD ENOMEM, EAGAIN, EMFILE, ENFILE, THE_ERROR

static uco_loop_thread *
loop_thread(void)
{
    const uco_loop_options options = torture_options();
    uco_loop_thread *thread;

    MADE(thread, uco_loop_thread_start(&options), NO_THREAD);
    return thread;
}

static intptr_t
body_parent(void *arg)
{
    uco_task *tasks[3];
    int r;

    for (size_t i = 0; i < COUNT(tasks); i++)
        MADE(tasks[i], uco_create_task(job_by_task, arg), ENOMEM);
    r = (int) MAY(uco_gather(tasks, COUNT(tasks), NULL), ENOMEM, EAGAIN);
    uco_unref_all(tasks, COUNT(tasks));
    return r < 0 ? r : 7;
}

static intptr_t
body_sleeps(void *arg)
{
    (void) arg;
    return uco_sleep(UCO_FOREVER);
}

static void
loop_threads_run(void)
{
    uco_loop_thread *thread = loop_thread();
    uco_task *parent, *sleeper;
    uco_loop *loop;
    intptr_t r;

    if (thread == NULL)
        return;
    loop = uco_loop_ref(uco_loop_thread_loop(thread));
    MUST(uco_loop_is_running(loop));
    MADE(parent, uco_run_coroutine_threadsafe(loop, body_parent, NULL), ENOMEM);
    MADE(sleeper, uco_run_coroutine_threadsafe(loop, body_sleeps, NULL), ENOMEM);
    r = MAY(uco_future_wait(parent, SOON), ENOMEM, EAGAIN);
    MUST(r == 7 || r < 0);
    SURE(uco_loop_thread_stop(thread));
    r = uco_future_wait(sleeper, SOON);
    MUST(r == -ECANCELED || (r == -ENOMEM && !torture_clean()));
    MUST(uco_loop_call_soon_threadsafe(loop, submitted_callback, NULL) == -ESHUTDOWN);
    uco_unref(parent);
    uco_unref(sleeper);
    uco_loop_unref(loop);
}

/* Futures between loops */

static intptr_t
body_awaits(void *arg)
{
    return arg == NULL ? -ENOMEM : uco_await(arg);
}

static intptr_t
body_resolves(void *arg)
{
    SURE(uco_yield());
    SURE(uco_future_set_result(arg, 7));
    return 7;
}

static void
cross(uco_loop *a, uco_loop *b)
{
    uco_task *waiter, *waiters_waiter, *resolver;
    uco_future *f;
    intptr_t r;

    MADE(f, uco_future_new(), ENOMEM);
    if (f == NULL)
        return;
    MADE(waiter, uco_run_coroutine_threadsafe(a, body_awaits, f), ENOMEM);
    MADE(waiters_waiter, uco_run_coroutine_threadsafe(b, body_awaits, waiter), ENOMEM);
    MADE(resolver, uco_run_coroutine_threadsafe(b, body_resolves, f), ENOMEM);
    if (MAY(uco_future_wait(resolver, SOON), ENOMEM) < 0)
        SURE(uco_future_set_result(f, 7));
    r = MAY(uco_future_wait(waiter, SOON), ENOMEM);
    MUST(r == 7 || r == -ENOMEM);
    r = MAY(uco_future_wait(waiters_waiter, SOON), ENOMEM);
    MUST(r == 7 || r == -ENOMEM);
    uco_unref(waiter);
    uco_unref(waiters_waiter);
    uco_unref(resolver);
    uco_unref(f);
}

static void
crossings_run(void)
{
    uco_loop_thread *a = loop_thread();
    uco_loop_thread *b = a != NULL ? loop_thread() : NULL;

    if (b != NULL) {
        cross(uco_loop_thread_loop(a), uco_loop_thread_loop(b));
        cross(uco_loop_thread_loop(b), uco_loop_thread_loop(a));
    }
    SURE(uco_loop_thread_stop(b));
    SURE(uco_loop_thread_stop(a));
}

const struct scenario torture_jobs = {.name = "jobs", .run = jobs_run};
const struct scenario torture_submits = {.name = "submits", .run = submits_run, .real = true};
const struct scenario torture_loop_threads = {
    .name = "loop_threads", .run = loop_threads_run, .outside = true, .real = true};
const struct scenario torture_crossings = {
    .name = "crossings", .run = crossings_run, .outside = true, .real = true};
