/* SPDX-License-Identifier: MIT */
#ifndef UCO_STATS_H
#define UCO_STATS_H

/* Numbers about a loop. */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_loop_stats {
    uint64_t turns;    /* of the loop */
    uint64_t polls;    /* of them, those that asked the kernel */
    uint64_t switches; /* times that a task began or went on to run */
    uint64_t posts;    /* received from other threads */
    uint64_t tasks_created;
    uint64_t tasks;  /* that have not ended */
    uint64_t timers; /* pending: sleeps, deadlines and call_later's */
    uint64_t stacks; /* in existence, in use or pooled */
    uint64_t stacks_in_use;
    uint64_t stacks_unguarded; /* without a guard page, because the system allowed no more */
    uint64_t stack_bytes;      /* of address space */
    uint64_t pool_threads;     /* of uco_to_thread() */
    uint64_t pool_jobs;        /* queued or running */
    uint64_t resources;        /* open: streams, servers, processes, HTTP clients */
    uint64_t stack_size;       /* bytes, of tasks that do not say */
    uint64_t stack_high_water; /* bytes that a task used of its stack, of those that have ended or
                                  that uco_task_stack_used() looked at; 0 but in debug mode */
    uint64_t reserved[16];
} uco_loop_stats;

/**
 * uco_stats() - Read a loop's numbers.
 *
 * @stats:  Filled in on success.
 *
 * Context: Loop's thread.
 * Returns: 0, -EINVAL (NULL), -EPERM (the loop runs in another thread), -ESTALE.
 */
UCO_API int uco_stats(const uco_loop *loop, uco_loop_stats *stats);

UCO_END_DECLS

#endif
