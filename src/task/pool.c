/* SPDX-License-Identifier: MIT */

/*
 * Pools of threads.
 *
 * 1. A job is QUEUED (in the queue), then RUNNING (a worker's) for the rest of its life; one that
 *    is cancelled before, or whose thread exits, is ENDED. Each step is made under the mutex.
 * 2. A job holds a reference to its future from the start to its end; each worker and the loop hold
 *    one to the pool.
 * 3. Workers are made only when a job finds none idle. They stay until the pool closes; one that
 *    runs a job then is detached, and ends after it.
 * 4. A job that is awaited counts as one of the loop's `busy`, from its start until its result is
 *    published.
 */

#include "task/pool.h"

#include "base/error.h"
#include "base/list.h"
#include "base/system.h"
#include "core/report.h"
#include "task/runtime.h"
#include "task/task.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <uco/thread.h>
#include <unistd.h>

#define THREADS_MIN 8
#define THREADS_MAX 32
#define THREADS_BESIDE_CPUS 4 /* so many more than processors: jobs mostly wait */
#define WORKER_STACK ((size_t) 1024 * 1024)

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_ENDED };
enum job_interest { JOB_AWAITED, JOB_FORGOTTEN, JOB_PUBLISHED };

struct job {
    struct uco_future future; /* first: a job is a future */
    struct uco__list link;    /* in the queue */
    struct uco__pool *pool;   /* held */
    uco_fn *fn;
    void *arg;
    enum job_state state;
    atomic_uchar interest; /* enum job_interest */
};

struct worker {
    struct uco__list link; /* in the pool's */
    struct uco__pool *pool;
    pthread_t thread;
    long timer_slack; /* for its thread; -1: as it comes */
    struct job *job;
    /* who frees it: see worker_end() */
    enum { WORKER_ATTACHED, WORKER_DETACHED, WORKER_JOINED } end;
};

struct uco__pool {
    atomic_uint references;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t work;
    struct uco__list queue;
    struct uco__list workers;
    size_t queued, running, idle, threads, threads_max;
    bool closing;
};

struct uco__pool *
uco__pool_new(size_t threads_max)
{
    struct uco__pool *pool = uco__allocate(sizeof *pool);

    if (pool == NULL)
        return NULL;
    atomic_init(&pool->references, 1);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    uco__list_init(&pool->queue);
    uco__list_init(&pool->workers);
    pool->threads_max = threads_max;
    return pool;
}

static struct uco__pool *
pool_hold(struct uco__pool *pool)
{
    atomic_fetch_add_explicit(&pool->references, 1, memory_order_relaxed);
    return pool;
}

static void
pool_release(struct uco__pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->references, 1, memory_order_acq_rel) != 1)
        return;
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    uco__free(pool);
}

/* --- jobs --- */

/* Publishes a job's result, without the mutex. */
static void
job_end(struct job *job, intptr_t result)
{
    struct uco_loop *loop = job->future.loop;

    uco__loop_hold(loop);
    uco__future_resolve(&job->future, result);
    /* After the news has been posted: while the job counts, a virtual clock stands still. */
    if (atomic_exchange(&job->interest, JOB_PUBLISHED) == JOB_AWAITED)
        atomic_fetch_sub(&loop->busy, 1);
    uco_unref(&job->future);
    if (!uco__loop_stale(loop))
        uco__inbox_wake(&loop->inbox);
    uco__loop_release(loop);
}

void
uco__job_forget(struct uco_future *future)
{
    struct job *job = (struct job *) future;
    unsigned char before = JOB_AWAITED;

    if (atomic_compare_exchange_strong(&job->interest, &before, JOB_FORGOTTEN))
        atomic_fetch_sub(&future->loop->busy, 1);
}

void
uco__job_remember(struct uco_future *future)
{
    struct job *job = (struct job *) future;
    unsigned char before = JOB_FORGOTTEN;

    /* Counted before: from the exchange on, the job's end takes it off. */
    atomic_fetch_add(&future->loop->busy, 1);
    if (!atomic_compare_exchange_strong(&job->interest, &before, JOB_AWAITED))
        atomic_fetch_sub(&future->loop->busy, 1);
}

void
uco__job_free(struct uco_future *future)
{
    struct job *job = (struct job *) future;

    pool_release(job->pool);
    uco__future_done(future);
    uco__free(job);
}

int
uco__job_cancel(struct uco_future *future)
{
    struct job *job = (struct job *) future;
    struct uco__pool *pool = job->pool;
    bool taken;

    pthread_mutex_lock(&pool->mutex);
    taken = job->state == JOB_QUEUED;
    if (taken) {
        uco__list_remove(&job->link);
        pool->queued--;
        job->state = JOB_ENDED;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (taken)
        job_end(job, -ECANCELED);
    return 0;
}

/* --- workers --- */

static void *worker_main(void *arg);

/* With the mutex held. 0, or a negative error. */
static int
worker_start(struct uco__pool *pool)
{
    struct worker *worker = uco__allocate(sizeof *worker);
    pthread_attr_t attributes;
    sigset_t all, before;
    int r;

    if (worker == NULL)
        return -ENOMEM;
    worker->pool = pool_hold(pool);
    /* A thread that runs a loop has another than it had: that is nothing for users' code. */
    worker->timer_slack = uco__running != NULL ? uco__running->timer_slack : -1;
    /* Signals are the main thread's and the loops': a worker has them all blocked. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    r = uco__thread_start(&worker->thread, &attributes, worker_main, worker);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0) {
        uco__free(worker);
        pool_release(pool);
        return r;
    }
    uco__list_push_back(&pool->workers, &worker->link);
    pool->threads++;
    return 0;
}

/* The worker's thread ends: by itself in a closing pool, or because a job called pthread_exit(). */
static void
worker_end(void *arg)
{
    struct worker *worker = arg;
    struct uco__pool *pool = worker->pool;
    struct job *job = worker->job;
    bool joined;

    pthread_mutex_lock(&pool->mutex);
    if (job != NULL) {
        job->state = JOB_ENDED;
        pool->running--;
        if (worker->end == WORKER_ATTACHED)
            pthread_detach(worker->thread);
        worker->end = WORKER_DETACHED;
    }
    pool->threads--;
    /* One that ends because the pool closes is joined and freed by uco__pool_close(), now or in a
     * moment. */
    joined = worker->end != WORKER_DETACHED;
    if (!joined)
        uco__list_remove(&worker->link);
    if (pool->queued > pool->idle && !pool->closing)
        worker_start(pool); /* on failure, the next submission tries again */
    pthread_mutex_unlock(&pool->mutex);
    if (job != NULL)
        job_end(job, -ECANCELED);
    if (!joined)
        uco__free(worker);
    pool_release(pool);
}

/* The next job, waiting for one; NULL in a closing pool. */
static struct job *
worker_next(struct worker *worker)
{
    struct uco__pool *pool = worker->pool;
    struct uco__list *link;
    struct job *job = NULL;

    pthread_mutex_lock(&pool->mutex);
    if (worker->job != NULL) {
        worker->job = NULL;
        pool->running--;
    }
    while (uco__list_empty(&pool->queue) && !pool->closing) {
        pool->idle++;
        pthread_cond_wait(&pool->work, &pool->mutex);
        pool->idle--;
    }
    link = uco__list_pop_front(&pool->queue);
    if (link != NULL) {
        job = UCO__CONTAINER(link, struct job, link);
        job->state = JOB_RUNNING;
        pool->queued--;
        pool->running++;
    }
    worker->job = job;
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

static void *
worker_main(void *arg)
{
    struct worker *worker = arg;
    struct job *job;

    if (worker->timer_slack >= 0)
        UCO__SYSTEM(prctl, prctl(PR_SET_TIMERSLACK, worker->timer_slack));
    pthread_cleanup_push(worker_end, worker);
    while ((job = worker_next(worker)) != NULL) {
        intptr_t result = job->fn(job->arg);

        job_end(job, uco__future_result_valid(result) ? result : -EINVAL);
    }
    pthread_cleanup_pop(1);
    return NULL;
}

/* A worker that nobody has detached or begun to join, or NULL. */
static struct worker *
pool_attached(const struct uco__pool *pool)
{
    UCO__LIST_EACH(link, &pool->workers) {
        struct worker *worker = UCO__CONTAINER(link, struct worker, link);

        if (worker->end == WORKER_ATTACHED)
            return worker;
    }
    return NULL;
}

void
uco__pool_close(struct uco__pool *pool)
{
    struct uco__list *link;
    struct worker *worker;

    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->closing = true;
    while ((link = uco__list_pop_front(&pool->queue)) != NULL) {
        struct job *job = UCO__CONTAINER(link, struct job, link);

        job->state = JOB_ENDED;
        pool->queued--;
        pthread_mutex_unlock(&pool->mutex);
        job_end(job, -ECANCELED);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_cond_broadcast(&pool->work);
    while ((worker = pool_attached(pool)) != NULL) {
        if (worker->job != NULL) {
            worker->end = WORKER_DETACHED;
            pthread_detach(worker->thread);
            continue;
        }
        worker->end = WORKER_JOINED;
        uco__list_remove(&worker->link);
        pthread_mutex_unlock(&pool->mutex);
        pthread_join(worker->thread, NULL);
        uco__free(worker);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    pool_release(pool);
}

void
uco__pool_count(struct uco__pool *pool, uint64_t *threads, uint64_t *jobs)
{
    if (pool == NULL) {
        *threads = 0;
        *jobs = 0;
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    *threads = pool->threads;
    *jobs = pool->queued + pool->running;
    pthread_mutex_unlock(&pool->mutex);
}

/* --- starting --- */

/* Queues a job; -EAGAIN or -ENOMEM if there is no thread for it and none can be made. */
static int
pool_submit(struct uco__pool *pool, struct job *job)
{
    int r = 0;

    pthread_mutex_lock(&pool->mutex);
    uco__list_push_back(&pool->queue, &job->link);
    pool->queued++;
    if (pool->queued > pool->idle && pool->threads < pool->threads_max)
        r = worker_start(pool);
    if (pool->threads > 0)
        r = 0;
    if (r < 0) {
        uco__list_remove(&job->link);
        pool->queued--;
    }
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    return r;
}

static struct job *
job_new(struct uco__pool *pool, struct uco_loop *loop, uco_fn *fn, void *arg)
{
    struct job *job = uco__allocate(sizeof *job);

    if (job == NULL)
        return NULL;
    uco__loop_hold(loop);
    uco__future_init(&job->future, UCO__FUTURE_JOB, loop);
    uco__list_init(&job->link);
    job->pool = pool_hold(pool);
    job->fn = fn;
    job->arg = arg;
    return job;
}

uco_future *
uco__pool_start(struct uco__pool *pool, struct uco_loop *loop, uco_fn *fn, void *arg, int *error)
{
    struct job *job = job_new(pool, loop, fn, arg);

    *error = -ENOMEM;
    if (job == NULL)
        return NULL;
    atomic_fetch_add(&loop->busy, 1);
    uco_ref(&job->future); /* the pool's, until job_end() */
    *error = pool_submit(pool, job);
    if (*error == 0)
        return &job->future;
    atomic_fetch_sub(&loop->busy, 1);
    uco_unref(&job->future);
    uco_unref(&job->future);
    return NULL;
}

/* --- the users' pool --- */

static size_t
users_threads_max(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = (processors > 0 ? (size_t) processors : 1) + THREADS_BESIDE_CPUS;

    if (threads < THREADS_MIN)
        return THREADS_MIN;
    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

static uco_future *
job_start(struct uco_loop *loop, uco_fn *fn, void *arg, int *error)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);

    *error = loop->ending ? -ESHUTDOWN : 0;
    if (*error < 0)
        return NULL;
    *error = -ENOMEM;
    if (runtime->pool == NULL)
        runtime->pool = uco__pool_new(users_threads_max());
    return runtime->pool != NULL ? uco__pool_start(runtime->pool, loop, fn, arg, error) : NULL;
}

uco_future *
uco_to_thread_start(uco_fn *fn, void *arg)
{
    struct uco_loop *loop;
    uco_future *future;
    int error;

    if (fn == NULL)
        return uco__error_null(uco__misuse(-EINVAL, "uco_to_thread_start: the function is NULL"));
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__error_null(uco__misuse(error, "uco_to_thread_start: outside a running loop"));
    future = job_start(loop, fn, arg, &error);
    return future != NULL ? future : uco__error_null(error);
}

intptr_t
uco_to_thread(uco_fn *fn, void *arg)
{
    int r = uco__checkpoint();
    uco_future *future;

    if (r == -EPERM || r == -ESTALE)
        return r;
    if (fn == NULL)
        return uco__misuse(-EINVAL, "uco_to_thread: the function is NULL");
    if (r < 0)
        return r;
    future = job_start(uco__running, fn, arg, &r);
    return future != NULL ? uco_join(future) : r;
}
