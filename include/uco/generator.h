/* SPDX-License-Identifier: MIT */
#ifndef UCO_GENERATOR_H
#define UCO_GENERATOR_H

/*
 * Generators: a coroutine that hands out values one at a time, when it is asked for the next.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_generator uco_generator;

/**
 * uco_generator_new() - Make a generator. fn does not run before the first value is asked for.
 *
 * @fn:       Calls uco_generator_yield() for each value, and returns at the end. Runs as a child
 *            task of the caller: when the caller returns, it is cancelled (unless it has detached
 *            itself).
 * @arg:      Handed to fn; must live until it no longer uses it.
 *
 * Context:   Coroutine. Does not suspend.
 * Ownership: uco_generator_free().
 * Returns:   The generator, or NULL with errno EPERM (not in a coroutine), EINVAL (fn is NULL),
 *            ENOMEM or ESTALE.
 */
UCO_API uco_generator *uco_generator_new(uco_fn *fn, void *arg);

/**
 * uco_generator_new_at() - uco_generator_new(), and remembers the line that called it, for reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_generator *uco_generator_new_at(const char *file, int line, uco_fn *fn, void *arg);
#define uco_generator_new(...) uco_generator_new_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_generator_yield() - Hand out a value, and wait until the next one is asked for.
 *
 * @value:  Anything; borrowed by whoever gets it, usually until it asks for the next one.
 *
 * Context: Coroutine, the generator's own. Suspends.
 * Returns: 0
 *          -ECANCELED  cancelled, as by uco_generator_free(); a value that was not fetched yet is
 *                      withdrawn
 *          -EPERM      not in a generator's coroutine
 */
UCO_API int uco_generator_yield(void *value);

/**
 * uco_generator_next() - Get the next value.
 *
 * When the caller is cancelled meanwhile, the value stays for the next call.
 *
 * @value:  Filled in when 1 is returned; may be NULL.
 *
 * Context: Coroutine, any of the loop's. Suspends.
 * Returns: 1           there is a value
 *          0           fn has returned zero or more: the end
 *          a negative result of fn: the end too (-ENOMEM if it could not start). Each call after
 *          the end returns the same
 *          -ECANCELED  the caller was cancelled (see uco_cancelled())
 *          -EBUSY      another task is in this call
 *          -EDEADLK    called by the generator itself
 *          -EINVAL     g is NULL
 *          -EPERM      not in a coroutine, or on another loop's
 */
UCO_API int uco_generator_next(uco_generator *g, void **value);

/**
 * uco_generator_free() - Cancel fn, wait until it has ended, and free the generator. NULL is fine.
 *
 * A completing call. Whoever is in uco_generator_next() gets fn's result, mostly -ECANCELED. fn's
 * failure that no uco_generator_next() has returned is reported.
 *
 * Outside a coroutine, and in the generator's own, nothing can be waited for: fn is cancelled, and
 * the generator freed when it has ended. From another loop's thread it does nothing (in debug mode
 * it aborts).
 *
 * Context: Loop's thread. Suspends, in a coroutine, unless fn has ended or never began.
 */
UCO_API void uco_generator_free(uco_generator *g);

UCO_END_DECLS

#endif
