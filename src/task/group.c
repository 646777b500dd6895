/* SPDX-License-Identifier: MIT */

/*
 * Groups.
 *
 * 1. `members` are the group's tasks that have not ended; each is a child of the owner, and the
 *    group holds the reference that its creation gave.
 * 2. While `closed`, members are cancelled and new ones refused. It begins with the first failure,
 *    a cancellation of the group or of the owner's wait, or the owner's return; the end of a wait
 *    ends it.
 * 3. A group whose owner has returned has no owner, and is closed for ever. Its memory stays until
 *    the loop's end, since somebody may still hold the pointer.
 */

#include "task/group.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "task/dump.h"
#include "task/local.h"
#include "task/runtime.h"
#include "task/task.h"

#include <stdio.h>

#define FAILED_NAME_MAX 32

struct uco_group {
    struct uco__task *owner; /* NULL: it has returned */
    struct uco_loop *loop;
    struct uco__ending ending; /* of the owner's */
    struct uco__list members;
    struct uco__wait *wait; /* of the owner, for the last member to end */
    struct uco__timer reminder;
    intptr_t error;               /* of the member that failed first; 0: none */
    char failed[FAILED_NAME_MAX]; /* that member's name, maybe cut */
    bool closed;
    const char *file;
    int line;
    struct uco__list left; /* when the owner has ended: in the runtime's left_groups */
};

/* --- members --- */

/* A failure that no wait has returned. */
static void
group_report_error(struct uco_group *group)
{
    if (group->error != 0)
        uco__report(group->loop, NULL,
                    "member '%s' of the group made at %s:%d failed with %jd (%s), and nobody "
                    "waited for it",
                    group->failed, group->file != NULL ? group->file : "?", group->line,
                    (intmax_t) group->error, uco_strerror((int) group->error));
    group->error = 0;
}

/* While the owner waits for members that were cancelled. */
static void
group_start_reminder(struct uco_group *group)
{
    if (!uco__timer_pending(&group->reminder))
        uco__timer_start(group->loop, &group->reminder,
                         uco__clock_after(uco__loop_now(group->loop), UCO__TASK_REMIND));
}

static void
group_close(struct uco_group *group)
{
    if (group->closed)
        return;
    group->closed = true;
    if (group->wait != NULL)
        group_start_reminder(group);
    /* A member that is cancelled does not end at once, so the list stays as it is. */
    UCO__LIST_EACH(link, &group->members)
        uco__task_cancel(&UCO__CONTAINER(link, struct uco__task, member)->future);
}

static void
group_note(struct uco_group *group, const char *name, intptr_t error)
{
    if (group->error != 0)
        return;
    group->error = error;
    snprintf(group->failed, sizeof group->failed, "%s", name);
}

static void
group_remove(struct uco_group *group, struct uco__task *task)
{
    uco__list_remove(&task->member);
    task->group = NULL;
    if (group->wait != NULL && uco__list_empty(&group->members))
        uco__wake(group->wait, 0);
}

void
uco__group_member_ended(struct uco__task *task)
{
    struct uco_group *group = task->group;
    intptr_t result = uco__future_read(&task->future); /* read: the group answers for it */

    if (result < 0 && result != -ECANCELED) {
        group_note(group, uco__task_name(task), result);
        /* One that got no stack could not be created, really. */
        if (uco__task_fiber(task)->ready.began)
            group_close(group);
        if (group->owner == NULL)
            group_report_error(group); /* nobody is left to wait */
    }
    group_remove(group, task);
    uco_unref(&task->future);
}

void
uco__group_member_detached(struct uco__task *task)
{
    group_remove(task->group, task);
    uco_unref(&task->future);
}

/* --- the owner --- */

static void
group_remind(struct uco__timer *timer)
{
    struct uco_group *group = UCO__CONTAINER(timer, struct uco_group, reminder);

    if (group->wait != NULL)
        uco__wake(group->wait, UCO__REMINDED);
}

static void
group_report_members(struct uco_group *group)
{
    UCO__LIST_EACH(link, &group->members)
        uco__task_remind(UCO__CONTAINER(link, struct uco__task, member));
}

/* The owner's body has returned; its children, the members, are cancelled next. */
static void
group_left(struct uco__ending *ending, struct uco__task *task)
{
    struct uco_group *group = UCO__CONTAINER(ending, struct uco_group, ending);

    uco__report(group->loop, &task->future,
                "task '%s' left a group open that it made at %s:%d: free each with "
                "uco_group_free()",
                uco__task_name(task), group->file != NULL ? group->file : "?", group->line);
    group_report_error(group);
    group_close(group);
    group->owner = NULL;
    uco__list_push_back(&uco__runtime_of(group->loop)->left_groups, &group->left);
}

void
uco__groups_done(struct uco__runtime *runtime)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&runtime->left_groups)) != NULL)
        uco__free(UCO__CONTAINER(link, struct uco_group, left));
}

struct group_wait {
    struct uco__wait wait;
    const struct uco_group *group;
};

static bool
group_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct group_wait waiting;

    if (!UCO__DUMP_READ_AROUND(dump, &waiting, wait, struct group_wait, wait))
        return false;
    uco__dump_text(dump, "the members of its group");
    uco__dump_tasks(dump, &waiting.group->members, offsetof(struct uco__task, member));
    return true;
}

static UCO__WAIT_KIND(wait_group, "its group", group_describe);

/* Waits until no member is left; whether the owner was cancelled. */
static bool
group_complete(struct uco_group *group)
{
    struct uco__task *owner = group->owner;
    struct group_wait waiting = {.group = group};
    bool cancelled = uco__scope_cancelled(owner);

    while (!uco__list_empty(&group->members)) {
        if (cancelled)
            group_close(group);
        if (group->closed)
            group_start_reminder(group);
        uco__wait_init(&waiting.wait, &wait_group, cancelled ? NULL : uco__wait_abort_plain);
        group->wait = &waiting.wait;
        switch (uco__task_park(owner, &waiting.wait)) {
        case UCO__INTERRUPTED:
            cancelled = true;
            break;
        case UCO__REMINDED:
            group_report_members(group);
            break;
        default:
            break;
        }
        group->wait = NULL;
    }
    uco__timer_stop(group->loop, &group->reminder);
    return cancelled;
}

/* --- the API --- */

uco_group *
uco_group_new_at(const char *file, int line)
{
    struct uco__task *owner;
    struct uco_group *group;
    int error;

    owner = uco__task_current(&error);
    if (owner == NULL)
        return uco__error_null(uco__misuse(error, "uco_group_new: not in a coroutine"));
    group = uco__allocate(sizeof *group);
    if (group == NULL)
        return uco__error_null(-ENOMEM);
    group->owner = owner;
    group->loop = owner->future.loop;
    group->ending.run = group_left;
    uco__task_add_ending(owner, &group->ending);
    uco__list_init(&group->members);
    uco__timer_init(&group->reminder, group_remind);
    group->reminder.background = true;
    group->file = file;
    group->line = line;
    return group;
}

uco_group *(uco_group_new) (void)
{
    return uco_group_new_at(NULL, 0);
}

/* May the caller use the group? 0, or the error. */
static int
group_check(uco_group *g, const char *who)
{
    const struct uco_loop *loop;
    int error;

    if (g == NULL)
        return uco__misuse(-EINVAL, "%s: the group is NULL", who);
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "%s: outside the group's running loop", who);
    if (loop != g->loop)
        return uco__misuse(-EPERM, "%s: the group is another loop's", who);
    return 0;
}

static void
member_unref_run(struct uco__ready *node)
{
    uco_unref(&uco__task_of_ready(node)->future);
}

/* The caller may look at the task until it suspends. One that has ended already is freed in the
 * next turn therefore. */
static void
member_begin(struct uco_group *group, struct uco__task *task, bool eager)
{
    uco_ref(&task->future);
    uco__task_begin(task, group->owner, eager);
    if (!uco__future_is_resolved(&task->future)) {
        uco_unref(&task->future);
        return;
    }
    uco__task_fiber(task)->ready.run = member_unref_run;
    uco__scheduler_call(group->loop, &uco__task_fiber(task)->ready);
}

uco_task *
uco_group_create_task_at(const char *file, int line, uco_group *g, const uco_task_options *options,
                         uco_fn *fn, void *arg)
{
    struct uco__task *task;
    struct uco__fiber *creator;
    int error = uco__task_check_new(options, fn, "uco_group_create_task");

    if (error == 0)
        error = group_check(g, "uco_group_create_task");
    if (error == 0 && g->closed)
        error = -ECANCELED;
    if (error < 0)
        return uco__error_null(error);
    task = uco__task_new(g->loop, options, fn, arg, &error);
    if (task == NULL) {
        group_note(g, "(not created)", error);
        return uco__error_null(error);
    }
    task->file = file;
    task->line = line;
    task->group = g;
    uco__list_push_back(&g->members, &task->member);
    creator = g->loop->scheduler.current;
    if (creator != NULL)
        uco__locals_inherit(task, uco__task_of_fiber(creator));
    member_begin(g, task, options != NULL && options->eager);
    return &task->future;
}

uco_task *(uco_group_create_task) (uco_group *g, uco_fn *fn, void *arg)
{
    return uco_group_create_task_at(NULL, 0, g, NULL, fn, arg);
}

uco_task *(uco_group_create_task_with) (uco_group *g, const uco_task_options *options, uco_fn *fn,
                                        void *arg)
{
    return uco_group_create_task_at(NULL, 0, g, options, fn, arg);
}

int
uco_group_wait(uco_group *g)
{
    struct uco__task *task;
    bool cancelled;
    intptr_t error;
    int r;

    task = uco__task_current(&r);
    if (task == NULL)
        return uco__misuse(r, "uco_group_wait: not in a coroutine");
    if (g == NULL)
        return uco__misuse(-EINVAL, "uco_group_wait: the group is NULL");
    if (g->owner != task)
        return uco__misuse(-EPERM, "uco_group_wait: only the group's owner can wait for it");
    uco__task_checkpoint_completing(task);
    cancelled = group_complete(g);
    if (cancelled)
        uco__scope_delivered(task);
    error = g->error != 0 ? g->error : cancelled ? -ECANCELED : 0;
    g->error = 0;
    g->closed = false;
    return (int) error;
}

int
uco_group_cancel(uco_group *g)
{
    int r = group_check(g, "uco_group_cancel");

    if (r == 0)
        group_close(g);
    return r;
}

void
uco_group_free(uco_group *g)
{
    struct uco__task *task;
    int error;

    if (g == NULL)
        return;
    task = uco__task_current(&error);
    if (task == NULL || g->owner != task) {
        uco__misuse(-EPERM, "uco_group_free: only the group's owner can free it");
        return;
    }
    group_close(g);
    group_complete(g);
    group_report_error(g);
    uco__ending_remove(&g->ending);
    uco__free(g);
}
