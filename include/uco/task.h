/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_H
#define UCO_TASK_H

/*
 * Tasks and futures.
 *
 * Tasks form a tree: a task belongs to the task that created it. When a coroutine returns, those of
 * its tasks that still run are cancelled and waited for before its own result is published. Tasks
 * that callbacks and other threads create belong to the loop.
 *
 * A NULL future is a task that could not be created: awaiting, joining or gathering it gives
 * -ENOMEM, so that creation needs no check of its own.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/** Zeroed, all fields mean their default. */
typedef struct uco_task_options {
    const char *name;           /* copied; NULL = "Task-<id>" */
    size_t stack_size;          /* bytes, rounded up to pages; 0 = the loop's. -EINVAL under 16 KiB
                                   or over 1 GiB */
    bool eager;                 /* runs at once until it first suspends */
    void (*discard)(void *arg); /* called instead of fn if the task ends before it started
                                   (cancelled, closed, no stack: then -ENOMEM); on the loop's
                                   thread, before the result is published. Not called when creation
                                   itself returned NULL: arg is the caller's still */
    uintptr_t reserved[8];
} uco_task_options;

/**
 * uco_create_task() - Start a coroutine beside the caller. Does not suspend.
 *
 * The task starts at the caller's next suspension, in the order of creation. Dropping its reference
 * does not stop it.
 *
 * @fn:       The body.
 * @arg:      Handed to fn; must live until it no longer uses it.
 *
 * Context:   Inside a running loop: a coroutine (the task is its child) or a callback (the task is
 *            the loop's).
 * Ownership: One reference: uco_unref() or uco_join().
 * Returns:   The task, or NULL with errno EPERM (outside a running loop), EINVAL (fn is NULL),
 *            ENOMEM or ESTALE.
 */
UCO_API uco_task *uco_create_task(uco_fn *fn, void *arg);

/**
 * uco_create_task_with() - uco_create_task() with options.
 *
 * @options:  NULL = the defaults. Read during the call only.
 *
 * Context:   As uco_create_task().
 * Ownership: As uco_create_task().
 * Returns:   As uco_create_task(); errno EINVAL also for a stack size out of range.
 */
UCO_API uco_task *uco_create_task_with(const uco_task_options *options, uco_fn *fn, void *arg);

/**
 * uco_create_task_at() - uco_create_task_with(), and remembers the line that called it, for
 * reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_task *uco_create_task_at(const char *file, int line, const uco_task_options *options,
                                     uco_fn *fn, void *arg);
#define uco_create_task(...) uco_create_task_at(__FILE__, __LINE__, NULL, __VA_ARGS__)
#define uco_create_task_with(...) uco_create_task_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_await() - Wait for a future and get its result. Any number of tasks may wait, on any loop.
 *
 * @f:       A future or task; the caller need not own a reference of its own while it waits.
 *
 * Context:  Coroutine. Suspends, unless f is done.
 * Returns:  f's result
 *           -ECANCELED  the caller was cancelled: f goes on. uco_cancelled() tells this from f's
 *                       own -ECANCELED
 *           -EDEADLK    the wait would close a cycle of waits among the loop's tasks
 *           -ENOMEM     f is NULL
 *           -EPERM      not in a coroutine
 */
UCO_API intptr_t uco_await(uco_future *f);

/**
 * uco_join() - Wait for a future to its very end, get its result and give the reference back.
 *
 * A completing call: when the caller is cancelled, f is cancelled and still waited for, so f never
 * outlives the call. The reference is given back when f's result is returned; on -EDEADLK and
 * -EPERM it stays the caller's.
 *
 * Context:   Coroutine. Suspends, unless f is done.
 * Ownership: Takes the caller's reference.
 * Returns:   f's result
 *            -EDEADLK    the wait would close a cycle of waits
 *            -ENOMEM     f is NULL
 *            -EPERM      not in a coroutine
 */
UCO_API intptr_t uco_join(uco_future *f);

/**
 * uco_sleep() - Suspend for a time, measured from this call. Never wakes early.
 *
 * @seconds: Zero or less is uco_yield(); UCO_FOREVER sleeps until cancelled.
 *
 * Context:  Coroutine. Suspends.
 * Returns:  0
 *           -ECANCELED  an enclosing scope was cancelled
 *           -EINVAL     NaN
 *           -EPERM      not in a coroutine
 */
UCO_API int uco_sleep(double seconds);

/**
 * uco_yield() - Let what is ready run first.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0, -ECANCELED (an enclosing scope was cancelled), -EPERM (not in a coroutine).
 */
UCO_API int uco_yield(void);

/**
 * uco_future_new() - Make a pending future.
 *
 * Context:   Any thread; done callbacks of a future that was made outside a running loop need a
 *            running loop to be added.
 * Ownership: One reference: uco_unref().
 * Returns:   The future, or NULL with errno ENOMEM.
 */
UCO_API uco_future *uco_future_new(void);

/**
 * uco_future_set_result() - Resolve a future: wakes whoever waits for it, on whatever loop or
 * thread. Needs no memory.
 *
 * @result: Zero or more, or a negative errno not below -UCO_MAX_ERROR.
 *
 * Context: Any thread.
 * Returns: 0
 *          -EALREADY   it was resolved before: the first result stays
 *          -EINVAL     f is NULL, a task or a pool job, or result is out of range
 */
UCO_API int uco_future_set_result(uco_future *f, intptr_t result);

/**
 * uco_done() - Whether a future has its result.
 *
 * Context: Any thread.
 * Returns: true also for NULL (a task that could not be created), and for every task of a closed
 *          loop.
 */
UCO_API bool uco_done(const uco_future *f);

/**
 * uco_result() - A future's result, without waiting. Can be read any number of times.
 *
 * Context: Any thread.
 * Returns: The result; -EINPROGRESS while pending; -EINVAL for NULL.
 */
UCO_API intptr_t uco_result(const uco_future *f);

/**
 * uco_add_done_callback() - Have a callback queued when a future is resolved; at once when it is
 * already.
 *
 * Callbacks are queued in the order in which they were added, on the caller's running loop, or else
 * on the loop that the future was made in; they never run inside uco_future_set_result(). A loop
 * that has closed drops them.
 *
 * Context: Any thread.
 * Returns: 0, -EINVAL (f or cb is NULL), -EPERM (no loop to run it), -ESHUTDOWN (that loop is
 *          closed), -ENOMEM, -ESTALE.
 */
UCO_API int uco_add_done_callback(uco_future *f, uco_callback *cb, void *arg);

/**
 * uco_remove_done_callback() - Remove all callbacks that are equal in both cb and arg and not
 * queued yet.
 *
 * Context: Any thread.
 * Returns: How many were removed; -EINVAL (f or cb is NULL).
 */
UCO_API int uco_remove_done_callback(uco_future *f, uco_callback *cb, void *arg);

/**
 * uco_ref() - Take a reference.
 *
 * Context: Any thread.
 * Returns: f. NULL, with errno EINVAL, for NULL.
 */
UCO_API uco_future *uco_ref(uco_future *f);

/**
 * uco_unref() - Give a reference back. Never stops a running task. NULL is fine.
 *
 * The last reference to a task that failed and whose result nobody read reports it, by name
 * (cancelled ones are not).
 *
 * Context: Any thread.
 */
UCO_API void uco_unref(uco_future *f);

/**
 * uco_unref_all() - uco_unref() for each of an array.
 *
 * @fs:     n futures; NULL entries are fine, and so is NULL for n = 0.
 *
 * Context: Any thread.
 */
UCO_API void uco_unref_all(uco_future *fs[], size_t n);

/**
 * uco_detach() - Hand a running task to the loop: it then outlives the task that created it. The
 * reference stays.
 *
 * Context: Loop's thread.
 * Returns: 0, -EINVAL (NULL, not a task, or finished), -EPERM (another thread's).
 */
UCO_API int uco_detach(uco_task *t);

/**
 * uco_cancel() - Ask a task to end, or resolve a plain future with -ECANCELED. Needs no memory.
 *
 * Cancels the task's outermost scope: from then on each of its suspending calls returns -ECANCELED.
 * A task that has not started never runs (its discard does). A pool job that has not started never
 * runs; one that has goes on, and its future resolves when it ends.
 *
 * Context: Any thread.
 * Returns: 0           asked, also when it was before
 *          -EALREADY   finished
 *          -EINVAL     NULL
 */
UCO_API int uco_cancel(uco_future *f);

/**
 * uco_current_task() - The task that is running.
 *
 * Context:   Any thread.
 * Ownership: Borrowed: valid until it returns, unless uco_ref'd.
 * Returns:   NULL outside a coroutine, also in callbacks.
 */
UCO_API uco_task *uco_current_task(void);

/**
 * uco_task_name() - A task's name.
 *
 * Context:   Any thread.
 * Ownership: Borrowed from the task.
 * Returns:   The name it was given, or "Task-<id>" ("Task" if there is no memory to write that in).
 *            NULL with errno EINVAL for NULL or what is not a task.
 */
UCO_API const char *uco_task_name(const uco_task *t);

/**
 * uco_task_id() - A task's number, unique in the process.
 *
 * Context: Any thread.
 * Returns: 0 for NULL or what is not a task.
 */
UCO_API uint64_t uco_task_id(const uco_task *t);

/**
 * uco_task_stack_used() - How much of its stack a task has used so far, where it went deepest. In
 * debug mode (UCO_DEBUG=1, or the loop's options).
 *
 * What the task has only stepped over, or filled with zeros, at the very end of it does not count.
 *
 * Context: Loop's thread; of any task, also the caller itself. Does not suspend.
 * Returns: Bytes. 0 when it is not known: not in debug mode, not begun, ended, another thread's
 *          loop, NULL, or not a task.
 */
UCO_API size_t uco_task_stack_used(const uco_task *t);

UCO_END_DECLS

#endif
