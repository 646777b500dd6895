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
#include "task/dump.h"
#include "task/runtime.h"
#include "task/task.h"

#include <unistd.h>

#define CYCLE_STEPS_MAX 1000    /* tasks, of a search for a cycle of waits */
#define CYCLE_WAITERS_MAX 10000 /* of all of them together */
#define DEADLOCK_TEXT_MAX 800   /* bytes, of a report that names the tasks */

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

uint64_t uco__deadlock_patience = 10 * UCO__SECOND;

/* To whoever reads the program's reports a line with the facts, to stderr all that is known. A
 * handler may keep the line for a person who has no stderr; the dump is for whom it is on the
 * screen of. */
static void
deadlock_tell(struct uco__runtime *runtime, const char *what, const char *then)
{
    char text[DEADLOCK_TEXT_MAX];

    uco__dump_summary(runtime, text, sizeof text);
    uco__report(&runtime->loop, NULL, "%s: %s; %s", what, text, then);
    uco__dump_loop(runtime, STDERR_FILENO, UCO__DUMP_WITHIN);
}

/* Other threads may still bring something. When they have not for a while, in debug mode that is
 * told, once: a thread that has died, or never knew that it is waited for, looks just like that. */
static void
deadlock_suspect(struct uco__runtime *runtime)
{
    struct uco_loop *loop = &runtime->loop;
    uint64_t steps = uco__scheduler_switches(&loop->scheduler) + loop->posts;
    uint64_t now = uco__clock_real();

    if (!loop->options.debug || runtime->stuck_told)
        return;
    if (runtime->stuck_since == 0 || runtime->stuck_steps != steps) {
        runtime->stuck_since = now;
        runtime->stuck_steps = steps;
    } else if (now - runtime->stuck_since >= uco__deadlock_patience) {
        runtime->stuck_told = true;
        deadlock_tell(
            runtime,
            "maybe a deadlock: every task is blocked, and for a while nothing but another "
            "thread could have woken one",
            "it goes on waiting, and says this once");
    }
}

/* Only what is in this process can wake a task, and nothing is left of it. */
void
uco__deadlock_stuck(struct uco_loop *loop)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);

    if (runtime->deadlocked || runtime->tasks == 0)
        return;
    if (!uco__thread_is_only()) {
        deadlock_suspect(runtime);
        return;
    }
    /* The last thread may have posted before it ended, after the loop had looked. */
    if (!uco__inbox_empty(&loop->inbox) || atomic_load(&loop->stopping))
        return;
    runtime->deadlocked = true;
    deadlock_tell(runtime,
                  "deadlock: every task is blocked, and nothing is left that could wake one",
                  "all are cancelled");
    UCO__LIST_EACH(link, &runtime->roots)
        uco_cancel(&UCO__CONTAINER(link, struct uco__task, sibling)->future);
}
