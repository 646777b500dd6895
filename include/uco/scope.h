/* SPDX-License-Identifier: MIT */
#ifndef UCO_SCOPE_H
#define UCO_SCOPE_H

/*
 * Cancellation and timeouts: one mechanism, the scope.
 *
 * Cancellation is level-triggered: from the request on, every suspending call that the task makes
 * inside the cancelled scope, also one that could finish at once, returns -ECANCELED, without doing
 * its operation and after letting others run, until the task leaves that scope. What was granted or
 * finished before stays granted: the call returns its result, and the next one fails. A task that
 * ignores 1,000 in a row is reported by name. Tasks created inside a scope are not inside it.
 *
 * A uco_scope is a ticket: the deadline itself lives in the loop, so a scope that is left open by
 * an early return is safe. The next outer close, or the end of the task, closes and reports it.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_scope {
    uint64_t ticket[2]; /* uco's own; zeroed is no scope */
} uco_scope;

/**
 * uco_scope_open() - Begin a stretch of the calling task that ends after a time, or by
 * uco_scope_cancel(). Scopes nest.
 *
 * @s:       Filled in on success.
 * @timeout: Seconds from now; UCO_FOREVER = no deadline; zero or less = expired at once.
 *
 * Context:  Coroutine. Does not suspend.
 * Returns:  0, -EINVAL (s is NULL, NaN), -EPERM (not in a coroutine), -ENOMEM. On an error there is
 *           no scope.
 */
UCO_API int uco_scope_open(uco_scope *s, double timeout);

/**
 * uco_shield_open() - Begin a stretch that outer cancellations do not reach: for clean-up that must
 * suspend.
 *
 * @s:      Filled in on success; closed by uco_scope_close().
 * @budget: Seconds from now after which the shield itself is cancelled; UCO_FOREVER = none.
 *
 * Context: Coroutine. Does not suspend.
 * Returns: As uco_scope_open().
 */
UCO_API int uco_shield_open(uco_scope *s, double budget);

/**
 * uco_scope_open_at(), uco_shield_open_at() - The same, and remember the line that called, for
 * reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API int uco_scope_open_at(const char *file, int line, uco_scope *s, double timeout);
UCO_API int uco_shield_open_at(const char *file, int line, uco_scope *s, double budget);
#define uco_scope_open(...) uco_scope_open_at(__FILE__, __LINE__, __VA_ARGS__)
#define uco_shield_open(...) uco_shield_open_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_scope_close() - End a scope, and turn a result into what it means outside of it.
 *
 * Scopes that were opened inside it and are still open are closed as well, and reported.
 *
 * @s:      A scope that the calling task opened.
 * @result: What the work inside gave.
 *
 * Context: Coroutine, the one that opened it. Does not suspend.
 * Returns: result; but where result is -ECANCELED, a call inside was cut short by this scope, and
 *          no outer scope that reaches it is cancelled:
 *          -ETIMEDOUT  when its deadline had expired
 *          0           when uco_scope_cancel() had cancelled it
 *          And -EINVAL when it is not an open scope of the calling task, -EPERM not in a coroutine.
 */
UCO_API intptr_t uco_scope_close(uco_scope *s, intptr_t result);

/**
 * uco_scope_cancel() - Cancel what a scope encloses. Needs no memory.
 *
 * Context: Loop's thread: also from other tasks of the loop, and callbacks.
 * Returns: 0 (also when it was cancelled before), -EINVAL (not an open scope of the running loop),
 *          -EPERM (no loop runs here).
 */
UCO_API int uco_scope_cancel(uco_scope *s);

/**
 * uco_scope_reschedule() - Move a scope's deadline.
 *
 * @timeout: Seconds from now; UCO_FOREVER removes the deadline; zero or less expires it now.
 *
 * Context:  Loop's thread: also from other tasks of the loop, and callbacks.
 * Returns:  0
 *           -EALREADY  its deadline has expired, or it was cancelled
 *           -EINVAL    not an open scope of the running loop, or NaN
 *           -EPERM     no loop runs here
 */
UCO_API int uco_scope_reschedule(uco_scope *s, double timeout);

/**
 * uco_with_timeout() - Call a function, in this task, in a scope of its own.
 *
 * @seconds: As uco_scope_open()'s timeout.
 *
 * Context:  Coroutine. Suspends as fn does.
 * Returns:  fn's result; -ETIMEDOUT when the deadline cut it short and it returned -ECANCELED
 *           -EINVAL    fn is NULL, or NaN: fn was not called
 *           -EPERM     not in a coroutine: fn was not called
 */
UCO_API intptr_t uco_with_timeout(double seconds, uco_fn *fn, void *arg);

/**
 * uco_cancelled() - Is the calling task inside a cancelled scope?
 *
 * Context: Any thread; false outside a coroutine.
 */
UCO_API bool uco_cancelled(void);

UCO_END_DECLS

#endif
