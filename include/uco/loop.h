/* SPDX-License-Identifier: MIT */
#ifndef UCO_LOOP_H
#define UCO_LOOP_H

/* Running: the loop, its callbacks and timers. */

#include <uco/common.h>

UCO_BEGIN_DECLS

/** A ticket for a timer; never dereferenced. Zero is none. */
typedef uint64_t uco_timer;

enum uco_clock {
    UCO_CLOCK_REAL = 0, /* CLOCK_MONOTONIC */
    UCO_CLOCK_VIRTUAL,  /* begins at 0; jumps to the next timer when all tasks are blocked, nothing
                           is ready to be read and no pool job runs (other threads do not hold
                           it) */
    UCO_CLOCK_MANUAL    /* begins at 0; only uco_test_advance() moves it */
};

enum uco_backend {
    UCO_BACKEND_AUTO = 0,
    UCO_BACKEND_EPOLL,
    UCO_BACKEND_IO_URING /* -ENOSYS where this build or this kernel has none */
};

/** Zeroed, all fields mean their default. */
typedef struct uco_loop_options {
    enum uco_clock clock;
    uint64_t seed;     /* 0 = FIFO; else the tasks that are ready in the same turn run in a
                          seeded random order, each once; callbacks and posts keep their
                          places. UCO_SEED=n in the environment sets it where it is 0 */
    size_t stack_size; /* bytes, for tasks that do not say; 0 = 120 KiB. Rounded up to pages;
                          16 KiB to 1 GiB */
    enum uco_backend backend;
    double spin;          /* seconds to poll before blocking; 0 = block at once */
    double slow_callback; /* seconds; a task or callback that runs longer without suspending is
                             reported. 0 = 0.1; UCO_FOREVER = never */
    bool debug;           /* as UCO_DEBUG=1 in the environment, for this loop */
    /* gets the reports, on the loop's thread; the task may be NULL and is borrowed. NULL: one
     * line each on stderr */
    void (*exception_handler)(const char *message, uco_task *task, void *arg);
    void *exception_arg;
    uintptr_t reserved[8];
} uco_loop_options;

/**
 * uco_run() - Run a coroutine in a new loop of its own until it returns: the whole life of an
 * ordinary program.
 *
 * When fn has returned, what tasks are left are cancelled and waited for, and the loop is closed.
 * In the main thread, where SIGINT or SIGTERM have their default disposition, the first of them
 * cancels the main task and a second one kills the process. A pthread_cancel() of the thread waits
 * until the loop has ended, as it does with the other calls that run one.
 *
 * @fn:     The main task's body.
 * @arg:    Handed to fn.
 *
 * Context: Any thread that runs no loop. Blocks the thread.
 * Returns: fn's result
 *          -EBUSY     inside a running loop
 *          -EINVAL    fn is NULL
 *          -ENOMEM, -EMFILE, -ENFILE   no memory or no file descriptor for the loop
 */
UCO_API intptr_t uco_run(uco_fn *fn, void *arg);

/**
 * uco_run_with() - uco_run() with options.
 *
 * @options: NULL = the defaults. Read during the call only.
 *
 * Context:  As uco_run().
 * Returns:  As uco_run(); also -EINVAL for options out of range (NaN, a negative spin, an unknown
 *           clock or backend), -ENOSYS or -EPERM for a backend that cannot be had.
 */
UCO_API intptr_t uco_run_with(const uco_loop_options *options, uco_fn *fn, void *arg);

/**
 * uco_loop_new() - Make a loop.
 *
 * @options:  NULL = the defaults. Read during the call only.
 *
 * Context:   Any thread.
 * Ownership: One reference: uco_loop_close(), then uco_loop_unref().
 * Returns:   The loop, or NULL with errno as uco_run_with()'s errors.
 */
UCO_API uco_loop *uco_loop_new(const uco_loop_options *options);

/**
 * uco_loop_run_until_complete() - Run the loop until a coroutine of it has returned.
 *
 * @loop:   A loop that is not running.
 * @fn:     The body of a task that belongs to the loop.
 * @arg:    Handed to fn.
 *
 * Context: Loop's thread, outside any running loop. Blocks the thread.
 * Returns: fn's result
 *          -EINTR      the loop was stopped first: the task stays and goes on when the loop runs
 *                      again
 *          -EBUSY      inside a running loop
 *          -EPERM      the loop runs in another thread
 *          -ESHUTDOWN  the loop is closed
 *          -EINVAL     loop or fn is NULL
 *          -ENOMEM     no memory for the task
 *          -ESTALE     after fork()
 */
UCO_API intptr_t uco_loop_run_until_complete(uco_loop *loop, uco_fn *fn, void *arg);

/**
 * uco_loop_run_forever() - Run the loop until uco_loop_stop().
 *
 * Context: Loop's thread, outside any running loop. Blocks the thread.
 * Returns: 0           stopped
 *          -EBUSY, -EPERM, -ESHUTDOWN, -EINVAL, -ESTALE  as uco_loop_run_until_complete()
 */
UCO_API int uco_loop_run_forever(uco_loop *loop);

/**
 * uco_loop_stop() - Make a running loop return after the turn it is in.
 *
 * On a loop that does not run yet, the next run does one turn without waiting, and returns. NULL
 * and closed loops are left alone.
 *
 * Context: Any thread.
 */
UCO_API void uco_loop_stop(uco_loop *loop);

/**
 * uco_loop_close() - End a loop.
 *
 * Runs each accepted post once, cancels the tasks and waits for them, drops timers and watchers,
 * closes open resources (streams, servers, processes, HTTP clients) and reports each by the line
 * that opened it. Left-over tasks end on the closing thread: uco_loop_thread_stop() is kinder.
 * From its start on, posts are refused with -ESHUTDOWN. Takes no reference.
 *
 * Context: Any thread, while the loop does not run. Blocks until the tasks have ended.
 * Returns: 0           closed, also when it was before; NULL is fine
 *          -EBUSY      the loop runs, or is being closed by another thread, or the caller is inside
 *                      a running loop
 *          -ESTALE     after fork()
 */
UCO_API int uco_loop_close(uco_loop *loop);

/**
 * uco_loop_ref() - Take a reference, so that the handle outlives the loop's close: for those who
 * may post late.
 *
 * Context: Any thread.
 * Returns: loop. NULL, with errno EINVAL, for NULL.
 */
UCO_API uco_loop *uco_loop_ref(uco_loop *loop);

/**
 * uco_loop_unref() - Give a reference back. NULL is fine.
 *
 * With the last one a loop that nobody closed is closed here, and reported.
 *
 * Context: Any thread.
 */
UCO_API void uco_loop_unref(uco_loop *loop);

/**
 * uco_loop_is_running() - Whether a thread is running this loop now.
 *
 * Context: Any thread.
 * Returns: false also for NULL.
 */
UCO_API bool uco_loop_is_running(const uco_loop *loop);

/**
 * uco_get_running_loop() - The loop that the calling thread runs.
 *
 * Context:   Any thread.
 * Ownership: Borrowed.
 * Returns:   NULL outside a running loop.
 */
UCO_API uco_loop *uco_get_running_loop(void);

/**
 * uco_time() - The time, in seconds.
 *
 * Context: Any thread.
 * Returns: The loop's clock inside a running loop, else CLOCK_MONOTONIC.
 */
UCO_API double uco_time(void);

/**
 * uco_loop_call_soon() - Queue a callback for the next turn; callbacks run in the order in which
 * they were queued.
 *
 * Context: Loop's thread.
 * Returns: 0           it will run once
 *          -EINVAL     loop or cb is NULL
 *          -EPERM      the loop runs in another thread
 *          -ESHUTDOWN  the loop is closed
 *          -ENOMEM
 *          -ESTALE     after fork()
 */
UCO_API int uco_loop_call_soon(uco_loop *loop, uco_callback *cb, void *arg);

/**
 * uco_loop_call_soon_threadsafe() - Queue a callback from any thread, and wake the loop.
 *
 * Each thread's posts run in the order in which it made them. Not for signal handlers:
 * uco_wake_from_signal() is.
 *
 * Context: Any thread.
 * Returns: 0           it runs exactly once
 *          -EINVAL     loop or cb is NULL
 *          -ESHUTDOWN  from the start of the loop's close
 *          -ENOMEM
 *          -ESTALE     after fork()
 */
UCO_API int uco_loop_call_soon_threadsafe(uco_loop *loop, uco_callback *cb, void *arg);

/** A callback that is posted without allocating: zeroed, then callback and arg set; must live until
 * it has run. */
typedef struct uco_post {
    uco_callback *callback;
    void *arg;
    uintptr_t reserved[6]; /* uco's own */
} uco_post;

/**
 * uco_loop_post() - uco_loop_call_soon_threadsafe() with a node of the caller's instead of an
 * allocation.
 *
 * A node that is still queued is not queued twice; it may be posted again from its own callback on.
 *
 * @post:     Zeroed before its first use; not touched by the caller while it is queued.
 *
 * Context:   Any thread.
 * Ownership: The caller's; must stay valid until the callback begins.
 * Returns:   0           queued: the callback runs once
 *            1           it was queued already: merged with that one, and runs if it does
 *            -EINVAL     loop, post or its callback is NULL
 *            -ESHUTDOWN  from the start of the loop's close
 *            -ESTALE     after fork()
 */
UCO_API int uco_loop_post(uco_loop *loop, uco_post *post);

/**
 * uco_loop_set_wake_callback() - Choose what runs in the loop after uco_wake_from_signal().
 *
 * @cb:     Run once for one or more wakes that came since its last run; NULL = none.
 *
 * Context: Loop's thread.
 * Returns: 0, -EINVAL (loop is NULL), -EPERM, -ESHUTDOWN, -ESTALE.
 */
UCO_API int uco_loop_set_wake_callback(uco_loop *loop, uco_callback *cb, void *arg);

/**
 * uco_wake_from_signal() - Wake a loop from a signal handler: async-signal-safe, as uco_dump() is. Keeps
 * errno.
 *
 * @loop:   Must outlive the call: hold a reference.
 *
 * Context: Any thread, also signal handlers.
 * Returns: 0, -EINVAL (loop is NULL), -ESHUTDOWN (the loop is closed), -ESTALE.
 */
UCO_API int uco_wake_from_signal(uco_loop *loop);

/**
 * uco_loop_call_later() - Run a callback after a time, measured from this call.
 *
 * Callbacks that fall due together run in the order of their time, and at the same time in the
 * order of these calls.
 *
 * @seconds: Zero or less: in the next turn. UCO_FOREVER: never, but the ticket is good.
 *
 * Context:  Loop's thread.
 * Returns:  A ticket for uco_timer_cancel(), or 0 with errno EINVAL (loop or cb NULL, NaN), EPERM,
 *           ESHUTDOWN, ENOMEM or ESTALE.
 */
UCO_API uco_timer uco_loop_call_later(uco_loop *loop, double seconds, uco_callback *cb, void *arg);

/**
 * uco_loop_call_at() - uco_loop_call_later() at a moment of uco_time()'s clock.
 *
 * Context: As uco_loop_call_later().
 * Returns: As uco_loop_call_later().
 */
UCO_API uco_timer uco_loop_call_at(uco_loop *loop, double when, uco_callback *cb, void *arg);

/**
 * uco_timer_cancel() - Drop a timer. Needs no memory.
 *
 * Context: Loop's thread.
 * Returns: 0           it will not run, also when it was due already
 *          -EALREADY   it has run, or was cancelled
 *          -EINVAL     loop is NULL, or never a ticket of this loop
 *          -EPERM, -ESHUTDOWN, -ESTALE
 */
UCO_API int uco_timer_cancel(uco_loop *loop, uco_timer timer);

UCO_END_DECLS

#endif
