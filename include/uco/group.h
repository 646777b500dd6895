/* SPDX-License-Identifier: MIT */
#ifndef UCO_GROUP_H
#define UCO_GROUP_H

/*
 * Groups: tasks that come and go while somebody answers for all of them (asyncio's TaskGroup,
 * Trio's nursery).
 *
 * A group belongs to the task that made it, its owner, and so do its members, whoever creates them.
 * The first member that fails cancels the others; the owner's own body is left alone and learns it
 * from uco_group_wait(). A member that was only cancelled is no failure. A finished member is freed
 * at once, so that a group which a server keeps for a year does not grow. A group ends with its
 * owner: its members are cancelled, and it is reported if it was not freed.
 *
 * So what the members' failure must stop, as whoever feeds a pool of workers, is a member too, and
 * a server's handlers return 0 whatever their connection came to.
 */

#include <uco/task.h>

UCO_BEGIN_DECLS

typedef struct uco_group uco_group;

/**
 * uco_group_new() - Make a group that belongs to the calling task.
 *
 * Context:   Coroutine. Does not suspend.
 * Ownership: uco_group_free(), before the owner returns.
 * Returns:   The group, or NULL with errno EPERM (not in a coroutine), ENOMEM or ESTALE.
 */
UCO_API uco_group *uco_group_new(void);

/**
 * uco_group_new_at() - uco_group_new(), and remembers the line that called it, for reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_group *uco_group_new_at(const char *file, int line);
#define uco_group_new() uco_group_new_at(__FILE__, __LINE__)

/**
 * uco_group_create_task() - Start a member. Does not suspend.
 *
 * It starts at the caller's next suspension, and is a child of the group's owner. Task-locals are
 * inherited from the caller.
 *
 * @fn:       The body.
 * @arg:      Handed to fn; must live until it no longer uses it.
 *
 * Context:   Loop's thread: the owner, a member, any other task of the loop, or a callback.
 * Ownership: The task is borrowed: valid until the caller's next suspension, unless uco_ref'd.
 * Returns:   The task, or NULL with errno ECANCELED (the group is failing or cancelled, or its
 *            owner has returned), EPERM (not inside the group's running loop), EINVAL (g or fn is
 *            NULL), ENOMEM or ESTALE. Not every creation must be checked: uco_group_wait()
 *            returns -ENOMEM for one that failed so (also for a member that later got no stack),
 *            though nobody is cancelled for it.
 */
UCO_API uco_task *uco_group_create_task(uco_group *g, uco_fn *fn, void *arg);

/**
 * uco_group_create_task_with() - uco_group_create_task() with options.
 *
 * @options:  NULL = the defaults. Read during the call only.
 *
 * Context:   As uco_group_create_task().
 * Ownership: As uco_group_create_task().
 * Returns:   As uco_group_create_task(); errno EINVAL also for a stack size out of range.
 */
UCO_API uco_task *uco_group_create_task_with(uco_group *g, const uco_task_options *options,
                                             uco_fn *fn, void *arg);

/**
 * uco_group_create_task_at() - uco_group_create_task_with(), and remembers the line that called it.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_task *uco_group_create_task_at(const char *file, int line, uco_group *g,
                                           const uco_task_options *options, uco_fn *fn, void *arg);
#define uco_group_create_task(g, ...)                                                              \
    uco_group_create_task_at(__FILE__, __LINE__, g, NULL, __VA_ARGS__)
#define uco_group_create_task_with(g, ...)                                                         \
    uco_group_create_task_at(__FILE__, __LINE__, g, __VA_ARGS__)

/**
 * uco_group_wait() - Wait until the group has no member left, those added meanwhile included.
 *
 * A completing call: when the caller is cancelled, the members are cancelled and waited for. The
 * group is then empty and usable again.
 *
 * Context: Coroutine, the group's owner. Suspends, unless the group is empty.
 * Returns: 0 all have succeeded, or were cancelled, also by uco_group_cancel()
 *          the result of the first member that failed; the others were cancelled then
 *          -ENOMEM     a member could not be created, and none failed before
 *          -ECANCELED  the caller was cancelled, and no member failed
 *          -EINVAL     g is NULL
 *          -EPERM      not the owner, or not in a coroutine
 */
UCO_API int uco_group_wait(uco_group *g);

/**
 * uco_group_cancel() - Cancel all members. New ones are refused until the group has been waited
 * for.
 *
 * Context: Loop's thread: the owner, members, other tasks of the loop, callbacks. Does not suspend.
 * Returns: 0 (also when it was cancelled before, or its owner has returned), -EINVAL (g is NULL),
 *          -EPERM (not inside the group's running loop).
 */
UCO_API int uco_group_cancel(uco_group *g);

/**
 * uco_group_free() - Cancel and wait for the members that are left, and free the group. NULL is
 * fine.
 *
 * A completing call. The failure of a member that no uco_group_wait() has returned is reported.
 * Called by another than the owner, it does nothing (in debug mode it aborts).
 *
 * Context: Coroutine, the group's owner. Suspends, unless the group is empty.
 */
UCO_API void uco_group_free(uco_group *g);

UCO_END_DECLS

#endif
