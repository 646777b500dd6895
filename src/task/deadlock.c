/* SPDX-License-Identifier: MIT */

/*
 * Deadlocks: waits that would close a cycle, and programs in which everybody waits.
 *
 * 1. A task cannot go on before what it awaits or completes has ended, nor end before its children
 *    have. Those are the edges of a cycle; a wait for any of several, or with a timeout, is none.
 */

#include "task/deadlock.h"

#include "base/system.h"
#include "core/report.h"
#include "task/runtime.h"
#include "task/task.h"

#include <stdio.h>

#define CYCLE_STEPS_MAX 1000    /* tasks, of a search for a cycle of waits */
#define CYCLE_WAITERS_MAX 10000 /* of all of them together */
#define DEADLOCK_TEXT_MAX 900   /* bytes of the report */

/* --- cycles --- */

struct search {
    uint64_t visited, target; /* marks of tasks; of this search alone */
    struct uco_loop *loop;
    struct uco__task *pending; /* found, not looked at yet; linked by search_next */
    unsigned steps;            /* tasks looked at */
    unsigned waiters;          /* looked at */
    bool found;
};

static void
search_visit(struct search *search, struct uco__task *task)
{
    if (task == NULL || task->future.loop != search->loop || task->search == search->visited)
        return;
    if (task->search == search->target)
        search->found = true;
    task->search = search->visited;
    task->search_next = search->pending;
    search->pending = task;
}

/* Those who cannot go on before this task has ended: its parent, and who awaits it. */
static void
search_expand(struct search *search, struct uco__task *task)
{
    search_visit(search, task->parent);
    uco__mutex_lock(&task->future.mutex);
    UCO__LIST_EACH(link, &task->future.waiters) {
        const struct uco__waiter *waiter = UCO__CONTAINER(link, struct uco__waiter, link);

        search_visit(search, waiter->task != NULL ? uco__task_of(waiter->task) : NULL);
        if (search->found || ++search->waiters > CYCLE_WAITERS_MAX)
            break;
    }
    uco__mutex_unlock(&task->future.mutex);
}

/* The search goes backwards, from the one who is about to wait: it mostly has few ancestors and
 * nobody who awaits it, whereas what it waits for may have thousands of children. */
bool
uco__deadlock_search(struct uco__task *task, uco_future *fs[], size_t n)
{
    struct uco__runtime *runtime = uco__runtime_of(task->future.loop);
    struct search search = {
        .visited = runtime->searches + 1, .target = runtime->searches + 2, .loop = &runtime->loop};
    bool targets = false;

    runtime->searches += 2;
    for (size_t i = 0; i < n; i++) {
        if (fs[i] == NULL || fs[i]->kind != UCO__FUTURE_TASK || fs[i]->loop != search.loop ||
            uco__future_is_resolved(fs[i]) || uco__task_of(fs[i])->phase == UCO__TASK_NEW)
            continue; /* one that has not begun waits for nobody */
        uco__task_of(fs[i])->search = search.target;
        targets = true;
    }
    if (!targets)
        return false;
    search_visit(&search, task);
    while (!search.found && search.pending != NULL && search.steps++ <= CYCLE_STEPS_MAX) {
        struct uco__task *next = search.pending;

        search.pending = next->search_next;
        search_expand(&search, next);
    }
    return search.found;
}

/* --- nobody is left to wake anybody --- */

static struct uco__task *
task_first(const struct uco__list *siblings)
{
    return uco__list_empty(siblings) ? NULL
                                     : UCO__CONTAINER(siblings->next, struct uco__task, sibling);
}

/* The next task of the tree, parents before children; NULL at the end. */
static struct uco__task *
task_after(struct uco__runtime *runtime, struct uco__task *task)
{
    struct uco__task *child = task_first(&task->children);

    if (child != NULL)
        return child;
    for (; task != NULL; task = task->parent) {
        const struct uco__list *head =
            task->parent != NULL ? &task->parent->children : &runtime->roots;

        if (task->sibling.next != head)
            return UCO__CONTAINER(task->sibling.next, struct uco__task, sibling);
    }
    return NULL;
}

/* Only what is in this process can wake a task, and nothing is left of it: tells who waits for
 * what, and cancels. Not when there are other threads: those may. */
void
uco__deadlock_stuck(struct uco_loop *loop)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);
    char text[DEADLOCK_TEXT_MAX] = "";
    size_t used = 0;

    if (runtime->deadlocked || runtime->tasks == 0 || !uco__thread_is_only())
        return;
    /* The last thread may have posted before it ended, after the loop had looked. */
    if (!uco__inbox_empty(&loop->inbox) || atomic_load(&loop->stopping))
        return;
    runtime->deadlocked = true;
    for (struct uco__task *task = task_first(&runtime->roots); task != NULL;
         task = task_after(runtime, task)) {
        const struct uco__wait *wait = uco__task_fiber(task)->wait;

        used += (size_t) snprintf(text + used, sizeof text - used, "%s '%s' waits for %s",
                                  used > 0 ? "," : "", uco__task_name(task),
                                  wait != NULL && wait->what != NULL ? wait->what : "nothing");
        if (used >= sizeof text)
            break;
    }
    uco__report(loop, NULL,
                "deadlock: every task is blocked, and nothing is left that could wake one:%s; all "
                "are cancelled",
                text);
    UCO__LIST_EACH(link, &runtime->roots)
        uco_cancel(&UCO__CONTAINER(link, struct uco__task, sibling)->future);
}
