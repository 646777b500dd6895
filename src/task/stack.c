/* SPDX-License-Identifier: MIT */

/* How much of their stacks tasks use, and who they are if that was too much. */

#include "task/stack.h"

#include "core/overflow.h"
#include "core/report.h"
#include "task/task.h"

/* Of a stack, in eighths: a task that has used more is reported. */
#define USED_MOST 7

void
uco__task_about(const struct uco__fiber *fiber, struct uco__fiber_about *about)
{
    struct uco__task *task = uco__task_of_fiber(fiber);

    *about = (struct uco__fiber_about){
        .name = atomic_load_explicit(&task->name, memory_order_acquire),
        .id = task->id,
        .file = task->file,
        .line = task->line,
    };
}

static size_t
task_stack_used(const struct uco__task *task)
{
    struct uco__stacks *stacks = &task->future.loop->stacks;
    size_t used = uco__stack_used(uco__task_fiber(task)->stack);

    if (used > stacks->deepest)
        stacks->deepest = used;
    return used;
}

static void
task_report_deep(struct uco__task *task, size_t used, size_t size)
{
    uco__report(
        task->future.loop, &task->future,
        "task '%s' (created at %s:%d) used %zu of the %zu bytes of its stack, and was close "
        "to an overflow: give such tasks more by stack_size in uco_task_options",
        uco__task_name(task), task->file != NULL ? task->file : "?", task->line, used, size);
}

void
uco__task_check_stack(struct uco__task *task)
{
    struct uco_loop *loop = task->future.loop;
    struct uco__fiber *fiber = uco__task_fiber(task);
    size_t size = uco__stack_size(fiber->stack);
    size_t used;

    if (uco__stack_overflowed(fiber->stack))
        uco__overflow_panic(loop, fiber);
    if (!loop->stacks.measured)
        return;
    used = task_stack_used(task);
    /* Those that run the same function will do the same. */
    if (used > size / 8 * USED_MOST &&
        uco__stacks_note(&loop->stacks, (const void *) (uintptr_t) task->fn))
        task_report_deep(task, used, size);
    uco__stack_wipe(fiber->stack, used);
}

size_t
uco_task_stack_used(const uco_task *t)
{
    const struct uco__task *task;

    if (t == NULL || t->kind != UCO__FUTURE_TASK) {
        uco__misuse(-EINVAL, "uco_task_stack_used: NULL, or not a task");
        return 0;
    }
    if (uco__future_is_resolved(t) || uco__loop_check(t->loop) < 0 || !t->loop->stacks.measured)
        return 0;
    task = uco__task_of(t);
    if (task->phase != UCO__TASK_RUNNING && task->phase != UCO__TASK_RETURNED)
        return 0;
    return task_stack_used(task);
}
