/* SPDX-License-Identifier: MIT */
#ifndef UCO_TESTING_H
#define UCO_TESTING_H

/*
 * For tests, uco's own and its users': settle instead of sleeping, move the clock by hand, make
 * system calls fail. The virtual clock and the seeded order are options of the loop.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_test_settle() - Wait until every other task of the loop is blocked and no callback is queued.
 *
 * Comes before a jump of the virtual clock.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0, -ECANCELED, -EPERM (not in a coroutine).
 */
UCO_API int uco_test_settle(void);

/**
 * uco_test_advance() - Move the clock of a loop that has UCO_CLOCK_MANUAL. What falls due runs in
 * the loop's next turns.
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
 * Several may be set at the same time. Only calls that uco itself makes fail, in every thread.
 *
 * @what:     "malloc" (also calloc and realloc), "mmap", "munmap", "madvise", "mprotect", "read",
 *            "write", "accept4", "connect", "socket", "bind", "listen", "close", "fcntl", "poll",
 *            "eventfd", "epoll_create1", "epoll_ctl", "epoll_wait", "pthread_create", "prctl".
 * @nth:      1 = the next call, 2 = the one after it; 0 = switch this one off.
 * @for_ever: From the nth on all of them, not just that one.
 * @error:    A positive errno: what the call fails with. malloc knows only ENOMEM.
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
