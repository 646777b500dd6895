/* SPDX-License-Identifier: MIT */

/*
 * worker_pool [--fail] - Four workers, a bounded queue of jobs, and a producer that is faster.
 *
 * The queue holds the producer back: no more jobs lie about than it has places, however many there
 * are to come. With --fail one job fails: the group cancels whoever still runs, and gives the error
 * to the task that waits for it.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uco/uco.h>

enum { WORKERS = 4, JOBS = 60, PLACES = 8, BAD_JOB = 25 };

#define JOB_TAKES 0.02 /* seconds */

struct job {
    unsigned number;
    bool bad;
};

struct result {
    unsigned number;
    unsigned square;
};

struct pool {
    uco_queue *jobs;    /* of struct job, PLACES of them */
    uco_queue *results; /* of struct result */
    bool fail;
    double held_back; /* seconds that the producer waited for a place */
    size_t most;      /* jobs that were ever queued at once */
    unsigned done;
    unsigned long total; /* of the squares */
};

/* Stands for real work. */
static int
job_do(const struct job *job, struct result *result)
{
    int r = uco_sleep(JOB_TAKES);

    if (r < 0)
        return r;
    if (job->bad)
        return -EIO;
    *result = (struct result){job->number, job->number * job->number};
    return 0;
}

static intptr_t
work(void *arg)
{
    struct pool *pool = arg;
    struct job job;
    int r;

    while ((r = uco_queue_get(pool->jobs, &job)) == 0) {
        struct result result;

        r = job_do(&job, &result);
        if (r == 0)
            r = uco_queue_put(pool->results, &result);
        uco_queue_task_done(pool->jobs); /* also when it failed: it was fetched */
        if (r < 0)
            return r;
    }
    return r == -ESHUTDOWN ? 0 : r; /* no job will come any more: the regular end */
}

static intptr_t
collect(void *arg)
{
    struct pool *pool = arg;
    struct result result;
    int r;

    while ((r = uco_queue_get(pool->results, &result)) == 0) {
        pool->done++;
        pool->total += result.square;
    }
    return r == -ESHUTDOWN ? 0 : r;
}

static intptr_t
produce(void *arg)
{
    struct pool *pool = arg;
    int r;

    for (unsigned i = 0; i < JOBS; i++) {
        struct job job = {.number = i, .bad = pool->fail && i == BAD_JOB};
        double before = uco_time();

        r = uco_queue_put(pool->jobs, &job); /* waits here while the queue is full */
        if (r < 0)
            return r;
        pool->held_back += uco_time() - before;
        if (uco_queue_size(pool->jobs) > pool->most)
            pool->most = uco_queue_size(pool->jobs);
    }
    r = uco_queue_join(pool->jobs); /* until each was marked done: then all results are queued */
    uco_queue_shutdown(pool->jobs, false);
    uco_queue_shutdown(pool->results, false);
    return r;
}

/* The producer and the collector are members too: what waits for the workers must end with them. */
static int
pool_start(struct pool *pool, uco_group *group)
{
    uco_fn *members[WORKERS + 2] = {produce, collect};

    for (size_t i = 0; i < WORKERS; i++)
        members[i + 2] = work;
    for (size_t i = 0; i < WORKERS + 2; i++) {
        if (uco_group_create_task(group, members[i], pool) == NULL)
            return -errno;
    }
    return 0;
}

static intptr_t
pool_run(void *arg)
{
    struct pool *pool = arg;
    uco_group *group = uco_group_new();
    intptr_t r = -ENOMEM;

    pool->jobs = uco_queue_new(sizeof(struct job), PLACES);
    pool->results = uco_queue_new(sizeof(struct result), 0);
    if (group != NULL && pool->jobs != NULL && pool->results != NULL)
        r = pool_start(pool, group);
    if (r == 0)
        r = uco_group_wait(group); /* the first failure, when all members have ended */
    uco_group_free(group);         /* cancels those whom nobody has waited for */
    uco_queue_free(pool->results);
    uco_queue_free(pool->jobs);
    return r;
}

int
main(int argc, char *argv[])
{
    struct pool pool = {.fail = argc > 1 && strcmp(argv[1], "--fail") == 0};
    intptr_t r = uco_run(pool_run, &pool);

    printf("%d jobs to do, never more than %zu queued; the producer was held back for %.2f s\n",
           JOBS, pool.most, pool.held_back);
    if (r < 0)
        printf("a worker failed: %s. The group cancelled the rest\n", uco_strerror((int) r));
    printf("%u jobs done, the squares' sum is %lu\n", pool.done, pool.total);

    if (pool.most > PLACES)
        return 1;
    if (pool.fail)
        return r == -EIO && pool.done < JOBS ? 0 : 1;
    return r == 0 && pool.done == JOBS && pool.total == 70210 && pool.held_back > 0 ? 0 : 1;
}
