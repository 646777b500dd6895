/* SPDX-License-Identifier: MIT */
#ifndef UCO_SIGNAL_H
#define UCO_SIGNAL_H

/*
 * Signals, told to a loop instead of interrupting what runs.
 *
 * A loop begins to want a signal with its first uco_signal_wait() for it, or with
 * uco_loop_add_signal_handler(). While any loop of the process wants it, uco's handler is
 * installed; the first interest saves what was in place before, and when the last one ends that
 * comes back, unless the program has replaced the handler itself meanwhile. A signal that has come
 * but that nobody has seen by then is sent again, to what is in place now: it is not lost, and may
 * kill.
 *
 * A signal is told to all loops that want it, in whatever threads they run, and there to all tasks
 * that wait for it and to the callback. As everywhere in POSIX, signals of one kind that come in
 * quick succession merge. It reaches a loop only if some thread of the process does not block it.
 *
 * SIGINT and SIGTERM: while a loop wants one of them, it does not cancel uco_run()'s main task.
 *
 * After fork() the child's signals are as they were before any loop wanted one.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_signal_wait() - Wait for a signal.
 *
 * From the first wait for it on, a signal that comes while no task of the loop waits is remembered,
 * and the next wait returns at once: one time, however many came. So no signal is missed between
 * two waits, nor before the first one after uco_signal_remember(). That ends with the loop, or with
 * uco_signal_forget().
 *
 * A wait for a signal does not hold a virtual clock, and a loop that only waits for one is not
 * deadlocked.
 *
 * @signo:  SIGTERM, SIGHUP, SIGCHLD, SIGRTMIN ...
 *
 * Context: Coroutine. Suspends; a cancellation point also when the signal is there.
 * Returns: 0           it came
 *          -ECANCELED  an enclosing scope was cancelled; the signal is remembered when it comes
 *          -EINVAL     no signal, or one that cannot be waited for: SIGKILL, SIGSTOP, those that
 *                      stand for a fault of the code that runs (SIGSEGV, SIGBUS, SIGFPE, SIGILL,
 *                      SIGTRAP, SIGSYS), those that libc keeps for itself
 *          -ENOMEM     (the first wait only)
 *          -ESHUTDOWN  (the first wait only) the loop is at the end of its close
 *          -EPERM      not in a coroutine
 *          -ESTALE
 */
UCO_API int uco_signal_wait(int signo);

/**
 * uco_signal_remember() - Begin to remember a signal, as the first uco_signal_wait() does: so that
 * what is done before that wait cannot be overtaken.
 *
 * Context: Inside a running loop. Does not suspend.
 * Returns: 0, also when it is remembered already
 *          -EINVAL     as uco_signal_wait()
 *          -ENOMEM, -EPERM, -ESHUTDOWN, -ESTALE
 */
UCO_API int uco_signal_remember(int signo);

/**
 * uco_signal_forget() - End what the first uco_signal_wait() began: the signal is no longer
 * remembered between waits. Needs no memory.
 *
 * Without another interest in it the signal is again what it was before. If one is remembered, it
 * is sent again.
 *
 * Context: Inside a running loop. Does not suspend.
 * Returns: 0
 *          -EBUSY      a task waits for it: nothing has changed
 *          -ENOENT     this loop has not waited for it
 *          -EINVAL     as uco_signal_wait()
 *          -EPERM, -ESTALE
 */
UCO_API int uco_signal_forget(int signo);

/**
 * uco_loop_add_signal_handler() - Run a callback in the loop when a signal comes.
 *
 * The callback runs as any other of the loop, so it may do what it likes but suspend: once for one
 * or more signals that came since its last run. A second call for the same signal replaces the
 * callback.
 *
 * @signo:  As uco_signal_wait().
 * @arg:    Must stay valid until the handler is removed or replaced, or the loop has closed.
 *
 * Context: Loop's thread; also before the loop runs.
 * Returns: 0
 *          -EINVAL     loop or cb is NULL, or a signal that cannot be had: see uco_signal_wait()
 *          -EPERM      the loop runs in another thread
 *          -ENOMEM, -ESHUTDOWN, -ESTALE: nothing has changed
 */
UCO_API int uco_loop_add_signal_handler(uco_loop *loop, int signo, uco_callback *cb, void *arg);

/**
 * uco_loop_remove_signal_handler() - Stop calling back. Needs no memory.
 *
 * The callback does not run again. If it was due, and no loop wants the signal any more, the signal
 * is sent again.
 *
 * Context: Loop's thread.
 * Returns: 0           removed
 *          -ENOENT     there was none
 *          -EINVAL     loop is NULL, or as uco_signal_wait()
 *          -EPERM, -ESHUTDOWN, -ESTALE
 */
UCO_API int uco_loop_remove_signal_handler(uco_loop *loop, int signo);

UCO_END_DECLS

#endif
