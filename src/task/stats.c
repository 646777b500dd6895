/* SPDX-License-Identifier: MIT */

/* Numbers about a loop. */

#include "core/loop.h"
#include "core/report.h"
#include "task/pool.h"
#include "task/runtime.h"

#include <errno.h>
#include <uco/stats.h>

int
uco_stats(const uco_loop *loop, uco_loop_stats *stats)
{
    const struct uco__runtime *runtime = uco__runtime_of(loop);
    int r;

    if (loop == NULL || stats == NULL)
        return uco__misuse(-EINVAL, "uco_stats: NULL");
    r = uco__loop_check(loop);
    if (r < 0)
        return r;
    *stats = (uco_loop_stats){
        .turns = loop->scheduler.turns,
        .polls = loop->polls,
        .switches = uco__scheduler_switches(&loop->scheduler),
        .posts = loop->posts,
        .tasks_created = runtime->tasks_created,
        .tasks = runtime->tasks,
        .timers = loop->timers.wheel.count - loop->timers.background,
        .stacks = loop->stacks.count,
        .stacks_in_use = uco__stacks_in_use(&loop->stacks),
        .stacks_unguarded = loop->stacks.unguarded,
        .stack_bytes = loop->stacks.bytes,
        .stack_size = loop->options.stack_size,
        .stack_high_water = loop->stacks.deepest,
        .resources = loop->resource_count,
    };
    uco__pool_count(runtime->pool, &stats->pool_threads, &stats->pool_jobs);
    return 0;
}
