/* SPDX-License-Identifier: MIT */

/*
 * The way through a tree of tasks that may be damaged, or half changed.
 *
 * 1. Tasks are copied and then looked at. One that does not lie where tasks do, or is not this
 *    loop's, is none.
 * 2. Each step forward is checked backwards: a task's `prev` and `parent` must be where the walk
 *    came from. So no task has two ways that lead to it, and a walk through memory that stands
 *    still ends. Where another thread changes it meanwhile, `left` ends it.
 */

#include "task/dump.h"
#include "task/runtime.h"

#define STEPS_SPARE 1000   /* that a walk may take beyond the number of tasks */
#define TASKS_NAMED 4      /* of a list of those that somebody waits for */
#define TASKS_COUNTED 1000 /* of all in it */

/* --- one task --- */

/* Whether a task could be there at all. */
static bool
task_is_in_place(const struct uco__task *at)
{
    uintptr_t offset = (uintptr_t) at & (UCO__TASK_SEGMENT_BYTES - 1);
    uintptr_t first = offsetof(struct uco__task_segment, tasks);

    return offset >= first && (offset - first) % sizeof *at == 0 &&
           (offset - first) / sizeof *at < UCO__TASK_SEGMENT_TASKS;
}

bool
uco__task_view_read(struct uco__dump *dump, const struct uco__task *at, struct uco__task_view *view)
{
    if (!task_is_in_place(at) || !UCO__DUMP_GET(dump, &view->task, at) ||
        !UCO__DUMP_GET(dump, &view->fiber, uco__task_fiber(at)))
        return false;
    view->at = at;
    return view->task.future.kind == UCO__FUTURE_TASK && view->task.future.loop == dump->loop &&
           view->task.phase < UCO__TASK_ENDED;
}

void
uco__task_view_name(struct uco__dump *dump, const struct uco__task_view *view)
{
    const char *name = NULL;

    if (dump->silent)
        return;
    name = atomic_load_explicit(&view->task.name, memory_order_relaxed);

    uco__dump_text(dump, "'");
    if (name == NULL || !uco__dump_string(dump, name)) {
        uco__dump_text(dump, "Task-");
        uco__dump_number(dump, view->task.id);
    }
    uco__dump_text(dump, "' (");
    uco__dump_number(dump, view->task.id);
    uco__dump_text(dump, ")");
}

bool
uco__task_view_wait(struct uco__dump *dump, const struct uco__task_view *view,
                    struct uco__wait *wait)
{
    return view->fiber.wait != NULL && UCO__DUMP_GET(dump, wait, view->fiber.wait) &&
           wait->fiber == uco__task_fiber(view->at);
}

/* --- for whoever describes a wait --- */

bool
uco__dump_task(struct uco__dump *dump, const struct uco__task *task)
{
    struct uco__task_view view;

    if (dump->silent)
        return true;
    if (!uco__task_view_read(dump, task, &view))
        return false;
    uco__dump_text(dump, "task ");
    uco__task_view_name(dump, &view);
    return true;
}

void
uco__dump_edge(struct uco__dump *dump, const struct uco__task *task)
{
    if (dump->edges++ == dump->edge_wanted)
        dump->edge = task;
}

bool
uco__dump_holder(struct uco__dump *dump, const struct uco__task *task, uint64_t id)
{
    struct uco__task_view view;

    if (!uco__task_view_read(dump, task, &view) || view.task.id != id || !view.task.holding)
        return false;
    uco__dump_edge(dump, task);
    uco__dump_text(dump, "task ");
    uco__task_view_name(dump, &view);
    return true;
}

void
uco__dump_tasks(struct uco__dump *dump, const struct uco__list *list, size_t place)
{
    const struct uco__list *before = list;
    struct uco__list link;
    unsigned count = 0;

    if (!UCO__DUMP_GET(dump, &link, list))
        return;
    while (link.next != list && count < TASKS_COUNTED) {
        const struct uco__list *at = link.next;
        const struct uco__task *task = (const struct uco__task *) ((uintptr_t) at - place);

        if (!UCO__DUMP_GET(dump, &link, at) || link.prev != before)
            break;
        before = at;
        uco__dump_edge(dump, task);
        if (count++ >= TASKS_NAMED)
            continue;
        uco__dump_text(dump, count == 1 ? ": " : ", ");
        if (!uco__dump_task(dump, task))
            uco__dump_text(dump, "?");
    }
    if (count > TASKS_NAMED) {
        uco__dump_text(dump, " and ");
        uco__dump_number(dump, count - TASKS_NAMED);
        uco__dump_text(dump, count == TASKS_COUNTED ? " or more others" : " more");
    }
}

static bool
children_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco__wait copy;

    if (!UCO__DUMP_GET(dump, &copy, wait))
        return false;
    uco__dump_text(dump, "its children to end");
    uco__dump_tasks(dump, &uco__task_of_fiber(copy.fiber)->children,
                    offsetof(struct uco__task, sibling));
    return true;
}

UCO__WAIT_KIND(uco__wait_children, "its children", children_describe);

bool
uco__dump_future(struct uco__dump *dump, const uco_future *future, bool must)
{
    struct uco_future copy;

    if (future == NULL || !UCO__DUMP_GET(dump, &copy, future))
        return false;
    switch (copy.kind) {
    case UCO__FUTURE_TASK:
        if (copy.loop != dump->loop) {
            uco__dump_text(dump, "a task of another loop");
            return true;
        }
        if (must)
            uco__dump_edge(dump, uco__task_of(future));
        return uco__dump_task(dump, uco__task_of(future));
    case UCO__FUTURE_JOB:
        uco__dump_text(dump, "a job in another thread");
        return true;
    default:
        uco__dump_text(dump, "a future (");
        uco__dump_address(dump, future);
        uco__dump_text(dump, ")");
        return true;
    }
}

/* --- the way --- */

void
uco__task_walk_begin(struct uco__task_walk *walk, struct uco__dump *dump,
                     const struct uco__runtime *runtime)
{
    uint64_t tasks = 0;

    UCO__DUMP_GET(dump, &tasks, &runtime->tasks);
    walk->dump = dump;
    walk->runtime = runtime;
    walk->left = tasks < UINT64_MAX / 4 ? 4 * tasks + STEPS_SPARE : STEPS_SPARE;
    walk->depth = 0;
    walk->way = UCO__WALK_DOWN;
    walk->view.at = NULL;
}

/* To a task that must be `parent`'s and come after `before`. */
static bool
walk_to(struct uco__task_walk *walk, const struct uco__list *link, const struct uco__list *before,
        const struct uco__task *parent)
{
    struct uco__task_view view;

    if (!uco__task_view_read(walk->dump, UCO__DUMP_AROUND(link, struct uco__task, sibling),
                             &view) ||
        view.task.sibling.prev != before || view.task.parent != parent)
        return false;
    walk->view = view;
    walk->way = UCO__WALK_DOWN;
    return true;
}

static enum uco__walk_step
walk_begin(struct uco__task_walk *walk)
{
    const struct uco__list *roots = &walk->runtime->roots;
    struct uco__list head;

    if (walk->way == UCO__WALK_UP)
        return UCO__WALK_END;
    if (UCO__DUMP_GET(walk->dump, &head, roots)) {
        if (head.next == roots)
            return UCO__WALK_END;
        if (walk_to(walk, head.next, roots, NULL))
            return UCO__WALK_TASK;
    }
    walk->way = UCO__WALK_UP;
    return UCO__WALK_DAMAGE;
}

static enum uco__walk_step
walk_down(struct uco__task_walk *walk)
{
    const struct uco__task *at = walk->view.at;

    if (walk_to(walk, walk->view.task.children.next, &at->children, at)) {
        walk->depth++;
        return UCO__WALK_TASK;
    }
    walk->way = UCO__WALK_ALONG;
    return UCO__WALK_DAMAGE;
}

static enum uco__walk_step
walk_along(struct uco__task_walk *walk)
{
    if (walk_to(walk, walk->view.task.sibling.next, &walk->view.at->sibling,
                walk->view.task.parent))
        return UCO__WALK_TASK;
    walk->way = UCO__WALK_UP;
    return UCO__WALK_DAMAGE;
}

enum uco__walk_step
uco__task_walk_next(struct uco__task_walk *walk)
{
    if (walk->view.at == NULL)
        return walk_begin(walk);
    while (walk->left-- > 0) {
        const struct uco__task *parent = walk->view.task.parent;
        const struct uco__list *head = parent != NULL ? &parent->children : &walk->runtime->roots;

        if (walk->way == UCO__WALK_DOWN &&
            walk->view.task.children.next != &walk->view.at->children)
            return walk_down(walk);
        if (walk->way != UCO__WALK_UP && walk->view.task.sibling.next != head)
            return walk_along(walk);
        if (parent == NULL)
            return UCO__WALK_END;
        if (!uco__task_view_read(walk->dump, parent, &walk->view))
            return UCO__WALK_STOPPED;
        walk->depth--;
        walk->way = UCO__WALK_ALONG;
    }
    return UCO__WALK_STOPPED;
}
