/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_POOL_H
#define UCO_TASK_POOL_H

/* A loop's pool of threads for blocking functions. It outlives its loop while a job still runs. */

#include <uco/common.h>

struct uco__pool;

/* Cancels the jobs that have not started; joins the threads that have nothing to do, leaves the
 * others to end on their own. NULL is fine. */
void uco__pool_close(struct uco__pool *pool);
void uco__pool_count(struct uco__pool *pool, uint64_t *threads, uint64_t *jobs);

/* Any thread. 0, also for a job that has started: it goes on. */
int uco__job_cancel(struct uco_future *future);
void uco__job_free(struct uco_future *future);

#endif
