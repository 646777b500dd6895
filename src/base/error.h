/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_ERROR_H
#define UCO_BASE_ERROR_H

/* Errors travel as negative numbers; only this folder touches errno itself. */

#include "base/compiler.h"

/* Sets errno from a negative error and returns NULL: the end of a function that returns a pointer.
 */
UCO__EXPORT void *uco__error_null(int error);

/* Where this thread's errno is. A coroutine must not ask for it itself: the compiler takes the
 * answer for constant, and a coroutine may go on in another thread (one that closes the loop). */
int *uco__error_location(void);

#endif
