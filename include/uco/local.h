/* SPDX-License-Identifier: MIT */
#ifndef UCO_LOCAL_H
#define UCO_LOCAL_H

/*
 * Task-local storage: a value a task, under a key of the whole process (contextvars, in a way).
 *
 * A task inherits the values of the task that creates it, as they are at that moment. A value that
 * several tasks hold is one value; it is destroyed when its last holder has ended or has set
 * another one.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

/** A key. Zero is none. */
typedef uint64_t uco_local;

/**
 * uco_local_new() - Make a key.
 *
 * @key:     Filled in on success.
 * @destroy: Called with each value that is not NULL when nobody holds it any more, on the thread of
 *           the last holder's loop. It is a callback: it must not suspend. May be NULL.
 *
 * Context:  Any thread.
 * Returns:  0, -EINVAL (key is NULL), -ENOMEM.
 */
UCO_API int uco_local_new(uco_local *key, void (*destroy)(void *value));

/**
 * uco_local_get() - The calling task's value.
 *
 * Context:   Coroutine. Does not suspend.
 * Ownership: Borrowed: valid while a task holds it.
 * Returns:   NULL if there is none. Also NULL, with errno EPERM, outside a coroutine, and with
 *            errno EINVAL for a key that was freed or never made.
 */
UCO_API void *uco_local_get(uco_local key);

/**
 * uco_local_set() - Set the calling task's value. Tasks that inherited the old one keep it.
 *
 * @value:    NULL is none. The value that the task has already: nothing happens.
 *
 * Context:   Coroutine. Does not suspend.
 * Ownership: Takes the value, if it succeeds and the key has a destroy function.
 * Returns:   0, -EINVAL (not a key), -EPERM (not in a coroutine), -ENOMEM: the old value stays.
 */
UCO_API int uco_local_set(uco_local key, void *value);

/**
 * uco_local_free() - Give a key back. No task has a value under it any more; those that there are
 * will be destroyed when their last holder ends, or before that when it sets a value under a key
 * that was made later.
 *
 * Context: Any thread.
 * Returns: 0, -EINVAL (not a key).
 */
UCO_API int uco_local_free(uco_local key);

UCO_END_DECLS

#endif
