/* SPDX-License-Identifier: MIT */
#ifndef UCO_TESTING_H
#define UCO_TESTING_H

/*
 * For tests, uco's own and its users': settle instead of sleeping, move the clock by hand, make
 * system calls fail. The virtual clock and the seeded order are options of the loop.
 * docs/testing-your-code.md tells how to use them together.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_test_settle() - Wait until every other task of the loop is blocked and no callback is queued.
 *
 * Blocked is who waits for anything: a task, a time, a file descriptor that is not ready, a job of
 * the pool (which may be running still). Works on every clock, and comes before a jump of the
 * virtual one. When several tasks are in this call, all of them return.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0, -ECANCELED (an enclosing scope was cancelled), -EPERM (not in a coroutine).
 */
UCO_API int uco_test_settle(void);

/**
 * uco_test_advance() - Move the clock of a loop that has UCO_CLOCK_MANUAL. What falls due runs in
 * the loop's next turns: when uco_test_settle() returns it has.
 *
 * @seconds: Zero or more.
 *
 * Context:  Loop's thread.
 * Returns:  The loop's time after it; NaN, changing nothing, for a NULL loop, another clock,
 *           another thread's loop, or seconds that are negative, infinite or NaN.
 */
UCO_API double uco_test_advance(uco_loop *loop, double seconds);

/**
 * uco_test_fail() - Make one of uco's system calls or allocations fail.
 *
 * Only calls that uco itself makes fail, in every thread and loop; those of the program and of
 * other libraries do not. A call that fails so is not made: what was to be closed stays open.
 * Several names may be set at the same time, each once: setting it again begins anew.
 *
 * @what:     "malloc" (also calloc and realloc), "mmap" (stacks), "munmap", "madvise", "mprotect",
 *            "read" (also recv and its kin), "write" (also send), "accept4", "connect", "socket",
 *            "bind", "listen", "close", "fcntl", "poll", "eventfd", "epoll_create1", "epoll_ctl"
 *            (waiting for a file descriptor), "epoll_wait", "pthread_create" (the pools,
 *            uco_loop_thread), "prctl", "open", "fsync", "sendfile", "getsockopt", "setsockopt",
 *            "getsockname" (also getpeername), "shutdown", "pipe2", "posix_spawn", "pidfd_open",
 *            "waitid", "kill", "sigaction", "sigaltstack", "getaddrinfo" (look-ups),
 *            "io_uring_queue_init", "io_uring_enter", "stat" (also fstat, lstat and readlink),
 *            "access", "lseek", "ftruncate", "fchmod", "flock", "rename" (also link), "unlink",
 *            "getrandom", "process_vm_readv" (uco_dump).
 * @nth:      1 = the next call, 2 = the one after it; 0 = switch this one off. Every attempt
 *            counts, also a read that finds nothing and is made again later.
 * @for_ever: From the nth on all of them, not just that one. uco copes with some single failures.
 * @error:    A positive errno: what the call fails with. "malloc" fails with ENOMEM whatever it is.
 *
 * Context:   Any thread.
 * Returns:   0, -EINVAL (an unknown name, an error out of range).
 */
UCO_API int uco_test_fail(const char *what, unsigned long nth, bool for_ever, int error);

/**
 * uco_test_fail_off() - Undo every uco_test_fail().
 *
 * Context: Any thread.
 */
UCO_API void uco_test_fail_off(void);

UCO_END_DECLS

#endif
