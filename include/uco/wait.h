/* SPDX-License-Identifier: MIT */
#ifndef UCO_WAIT_H
#define UCO_WAIT_H

/*
 * Waiting for many.
 *
 * Completing calls (uco_join, uco_gather, uco_gather_all, uco_wait_for, a started uco_to_thread)
 * never return early, also inside a cancelled scope: they cancel what they wait for and wait until
 * it has ended. A child that ignores its cancellation is reported every 10 s, by name.
 *
 * A NULL entry is a task that could not be created: it counts as finished, with -ENOMEM. The same
 * future may stand in an array twice. The arrays and futures are borrowed: references stay the
 * caller's (uco_unref_all).
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_gather() - Wait for all of several futures; the first error cancels the others, which are
 * waited for.
 *
 * A completing call. When the caller is cancelled, all are cancelled and waited for.
 *
 * @fs:      n futures.
 * @n:       0 is fine: returns 0, and fs may be NULL.
 * @results: n results in the order of fs, filled in whatever is returned once the wait began; NULL
 *           = not wanted.
 *
 * Context:  Coroutine. Suspends, unless all are done.
 * Returns:  0 all succeeded the first error in time; of those that had ended before the call, the
 *           one with the lowest index
 *           -ECANCELED  the caller was cancelled
 *           -EDEADLK    the wait would close a cycle of waits: nothing was cancelled
 *           -EINVAL     fs is NULL and n is not 0
 *           -ENOMEM     no memory to wait for so many (the others are cancelled and waited for), or
 *                       an entry is NULL
 *           -EPERM      not in a coroutine
 */
UCO_API int uco_gather(uco_future *fs[], size_t n, intptr_t results[]);

/**
 * uco_gather_all() - Wait for all of several futures, whatever they end with
 * (return_exceptions=True).
 *
 * A completing call: cancels them only when the caller is cancelled.
 *
 * @results: Each carries its own error; NULL = not wanted.
 *
 * Context:  Coroutine. Suspends, unless all are done.
 * Returns:  0, -ECANCELED (the caller was cancelled), -EDEADLK, -EINVAL, -ENOMEM (no memory to wait
 *           for so many), -EPERM.
 */
UCO_API int uco_gather_all(uco_future *fs[], size_t n, intptr_t results[]);

/**
 * uco_wait_any() - Wait until one of several futures is done. Cancels nothing.
 *
 * @timeout: Seconds; UCO_FOREVER = no limit; zero or less = only look.
 *
 * Context:  Coroutine. Suspends, unless one is done.
 * Returns:  The index of a finished one: the first in time, or the lowest index where several had
 *           ended before the call -ETIMEDOUT
 *           -ECANCELED  the caller was cancelled
 *           -EINVAL     n is 0, fs is NULL, or timeout is NaN
 *           -ENOMEM     no memory to wait for so many
 *           -EPERM      not in a coroutine
 */
UCO_API ssize_t uco_wait_any(uco_future *fs[], size_t n, double timeout);

/**
 * uco_wait_all() - Wait until all of several futures are done. Cancels nothing.
 *
 * @timeout: Seconds; UCO_FOREVER = no limit; zero or less = only look.
 *
 * Context:  Coroutine. Suspends, unless all are done.
 * Returns:  0 (also for n = 0), -ETIMEDOUT, -ECANCELED, -EINVAL (fs is NULL and n is not 0, NaN),
 *           -ENOMEM, -EPERM.
 */
UCO_API int uco_wait_all(uco_future *fs[], size_t n, double timeout);

/**
 * uco_wait_for() - Wait for a future for at most a time; then cancel it and wait until it has
 * ended.
 *
 * A completing call. When the caller is cancelled, f is cancelled and waited for, and f's result
 * returned.
 *
 * @timeout: Seconds; UCO_FOREVER = no limit; zero or less: a finished future gives its result,
 *           another is cancelled at once (a task that has not started never runs).
 *
 * Context:  Coroutine. Suspends, unless f is done.
 * Returns:  f's result
 *           -ETIMEDOUT  the expiry cancelled f and it ended with -ECANCELED
 *           -EDEADLK    the wait would close a cycle of waits
 *           -EINVAL     timeout is NaN
 *           -ENOMEM     f is NULL
 *           -EPERM      not in a coroutine
 */
UCO_API intptr_t uco_wait_for(uco_future *f, double timeout);

UCO_END_DECLS

#endif
