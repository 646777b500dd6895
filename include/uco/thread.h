/* SPDX-License-Identifier: MIT */
#ifndef UCO_THREAD_H
#define UCO_THREAD_H

/* Threads: coroutines submitted from other threads, blocking functions run on a pool, and a loop in
 * a thread of its own. */

#include <uco/common.h>
#include <uco/loop.h>
#include <uco/task.h>

UCO_BEGIN_DECLS

/**
 * uco_run_coroutine_threadsafe() - Submit a coroutine to a loop from any thread.
 *
 * @fn:       The body of a task that belongs to the loop.
 * @arg:      Handed to fn.
 *
 * Context:   Any thread, the loop's included.
 * Ownership: One reference: uco_unref().
 * Returns:   The task, or NULL with errno ESHUTDOWN (from the start of the loop's close), EINVAL
 *            (loop or fn is NULL), ENOMEM or ESTALE.
 */
UCO_API uco_task *uco_run_coroutine_threadsafe(uco_loop *loop, uco_fn *fn, void *arg);

/**
 * uco_run_coroutine_threadsafe_with() - uco_run_coroutine_threadsafe() with options.
 *
 * @options:  NULL = the defaults. Read during the call only. `eager` is of no effect here.
 *
 * Context:   As uco_run_coroutine_threadsafe().
 * Ownership: As uco_run_coroutine_threadsafe().
 * Returns:   As uco_run_coroutine_threadsafe(); errno EINVAL also for a stack size out of range.
 */
UCO_API uco_task *uco_run_coroutine_threadsafe_with(uco_loop *loop, const uco_task_options *options,
                                                    uco_fn *fn, void *arg);

/**
 * uco_run_coroutine_threadsafe_at() - The same, and remembers the line that called it, for reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_task *uco_run_coroutine_threadsafe_at(const char *file, int line, uco_loop *loop,
                                                  const uco_task_options *options, uco_fn *fn,
                                                  void *arg);
#define uco_run_coroutine_threadsafe(loop, ...)                                                    \
    uco_run_coroutine_threadsafe_at(__FILE__, __LINE__, loop, NULL, __VA_ARGS__)
#define uco_run_coroutine_threadsafe_with(...)                                                     \
    uco_run_coroutine_threadsafe_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_future_wait() - Block the calling thread until a future is done.
 *
 * @timeout: Seconds of CLOCK_MONOTONIC; UCO_FOREVER = no limit; zero or less = only look.
 *
 * Context:  Any thread outside a running loop. Blocks the thread.
 * Returns:  The result
 *           -ETIMEDOUT  f is left alone
 *           -EDEADLK    inside a running loop
 *           -EINVAL     timeout is NaN
 *           -ENOMEM     f is NULL
 *           -ESTALE     in the child of a fork(): the pending task or job of a loop of the parent's
 */
UCO_API intptr_t uco_future_wait(uco_future *f, double timeout);

/**
 * uco_to_thread() - Run a blocking function on the loop's pool of threads, and wait for its result.
 *
 * Completing once fn has started: a cancelled caller then still waits for fn, which goes on. Before
 * that a cancelled caller takes fn back.
 *
 * @fn:     Runs in a thread with all signals blocked and no running loop.
 * @arg:    Handed to fn; may be the caller's locals.
 *
 * Context: Coroutine. Suspends.
 * Returns: fn's result
 *          -ECANCELED  an enclosing scope was cancelled before fn started: fn never runs; or fn's
 *                      thread exited
 *          -EINVAL     fn is NULL
 *          -ENOMEM     no memory for the job
 *          -EAGAIN     the system allows no thread, and the pool has none
 *          -EPERM      not in a coroutine
 */
UCO_API intptr_t uco_to_thread(uco_fn *fn, void *arg);

/**
 * uco_to_thread_start() - Run a blocking function on the loop's pool, without waiting
 * (run_in_executor).
 *
 * A job that has not started when its loop closes is cancelled; one that has goes on, and its
 * result can still be read.
 *
 * @arg:      Handed to fn; must live until the future is done.
 *
 * Context:   Inside a running loop.
 * Ownership: One reference: uco_unref() or uco_join().
 * Returns:   The job's future, or NULL with errno EINVAL (fn is NULL), ENOMEM, EAGAIN (no thread),
 *            EPERM (outside a running loop), ESHUTDOWN (the loop is closing) or ESTALE.
 */
UCO_API uco_future *uco_to_thread_start(uco_fn *fn, void *arg);

/** A loop that runs in a thread of its own. */
typedef struct uco_loop_thread uco_loop_thread;

/**
 * uco_loop_thread_start() - Start a thread that runs a new loop for ever. The loop runs when this
 * returns.
 *
 * @options:  The loop's; NULL = the defaults.
 *
 * Context:   Any thread. Blocks until the loop runs.
 * Ownership: Ended and freed by uco_loop_thread_stop().
 * Returns:   NULL with errno ENOMEM, EAGAIN (no thread), or as uco_loop_new().
 */
UCO_API uco_loop_thread *uco_loop_thread_start(const uco_loop_options *options);

/**
 * uco_loop_thread_loop() - The loop of a loop thread.
 *
 * Context:   Any thread.
 * Ownership: Borrowed until uco_loop_thread_stop(): who may post later takes uco_loop_ref().
 * Returns:   NULL with errno EINVAL for NULL.
 */
UCO_API uco_loop *uco_loop_thread_loop(uco_loop_thread *t);

/**
 * uco_loop_thread_stop() - Refuse new work, cancel, drain and close the loop, join the thread and
 * free t.
 *
 * Context:   Any thread but the loop's own. Blocks until all has ended.
 * Ownership: Frees t, but not on an error.
 * Returns:   0 (also for NULL), -EDEADLK (from its own loop).
 */
UCO_API int uco_loop_thread_stop(uco_loop_thread *t);

UCO_END_DECLS

#endif
