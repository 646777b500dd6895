/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_POOL_H
#define UCO_TASK_POOL_H

/* Pools of threads for blocking functions, a loop's: one for users, made by uco_to_thread(), and
 * those that upper layers make for themselves. A pool outlives its loop while a job still runs. */

#include <stdbool.h>
#include <uco/common.h>

struct uco__pool;

/* With no thread yet; NULL without memory. */
struct uco__pool *uco__pool_new(size_t threads_max);
/* Cancels the jobs that have not started; joins the threads that have nothing to do, leaves the
 * others to end on their own. NULL is fine. */
void uco__pool_close(struct uco__pool *pool);
/* NULL is fine. */
void uco__pool_count(struct uco__pool *pool, uint64_t *threads, uint64_t *jobs);

/* Loop's thread. The job's future, with one reference for the caller; NULL, and -ENOMEM or -EAGAIN
 * (the pool has no thread and the system gives none) in *error. Jobs start in their order. */
uco_future *uco__pool_start(struct uco__pool *pool, struct uco_loop *loop, uco_fn *fn, void *arg,
                            int *error);
/* Loop's thread. Nobody wants the job's result any more, or somebody does again: one that goes on
 * for nobody does not hold a virtual clock. */
void uco__job_forget(struct uco_future *future);
void uco__job_remember(struct uco_future *future);
/* Any thread. 0, also for a job that has started: it goes on. */
int uco__job_cancel(struct uco_future *future);
void uco__job_free(struct uco_future *future);

#endif
