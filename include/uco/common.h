/* SPDX-License-Identifier: MIT */
#ifndef UCO_COMMON_H
#define UCO_COMMON_H

/*
 * What every other header of uco needs: the basic types, and the conventions that hold everywhere.
 *
 * - A function that can fail returns a negative errno (-4095 ... -1); zero or more is success.
 *   Functions that return a pointer return NULL and set errno. A coroutine's own result follows the
 *   same rule.
 * - Time is seconds, a double, on the monotonic clock. Zero or less is already over, NaN is
 *   -EINVAL.
 * - "Context" in a comment tells who may call: "Coroutine" functions suspend only the calling
 *   coroutine, and return -EPERM when they are called outside one; "loop's thread" is the thread
 *   that runs the loop (or, while none does, one thread at a time), and -EPERM elsewhere; "any
 *   thread" functions are safe from everywhere, also while the loop sleeps or closes.
 * - After fork() every call on one of the parent's loops returns -ESTALE in the child.
 * - With UCO_DEBUG=1 in the environment, misuse aborts with a message instead of returning its
 *   error.
 */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#define UCO_BEGIN_DECLS extern "C" {
#define UCO_END_DECLS }
#else
#define UCO_BEGIN_DECLS
#define UCO_END_DECLS
#endif

#if defined(__GNUC__)
#define UCO_API __attribute__((visibility("default")))
#define UCO_PRINTF(format_index, first_index)                                                      \
    __attribute__((format(printf, format_index, first_index)))
#else
#define UCO_API
#define UCO_PRINTF(format_index, first_index)
#endif

/** The time that never comes: as a timeout, wait for ever. */
#define UCO_FOREVER HUGE_VAL

/** The most negative error; a coroutine must not return anything below it. */
#define UCO_MAX_ERROR 4095

UCO_BEGIN_DECLS

/** A coroutine's body. Returns zero or more (a number or a pointer), or a negative errno. */
typedef intptr_t uco_fn(void *arg);

/** A plain callback, run on the loop's own stack: it must not suspend (suspending calls return
 * -EPERM in it). */
typedef void uco_callback(void *arg);

typedef struct uco_loop uco_loop;
typedef struct uco_future uco_future;

/** A task is a future that a coroutine resolves: wherever a future is wanted, a task will do. */
typedef uco_future uco_task;

/**
 * uco_version() - The library's version, as "major.minor.patch".
 *
 * Context:   Any thread.
 * Ownership: A constant string.
 */
UCO_API const char *uco_version(void);

/**
 * uco_strerror() - What an error means, in words.
 *
 * @error:    A negative errno as uco's functions return it; the positive number is understood as
 *            well.
 *
 * Context:   Any thread.
 * Ownership: A constant string.
 * Returns:   Never NULL; "unknown error" for what is none, "success" for zero.
 */
UCO_API const char *uco_strerror(int error);

UCO_END_DECLS

#endif
