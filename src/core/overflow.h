/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_OVERFLOW_H
#define UCO_CORE_OVERFLOW_H

/*
 * The report of a stack overflow: the task's name, its stack's size and what to do, on stderr. Then
 * the process dies as it would have died without.
 */

#include "base/compiler.h"

struct uco_loop;
struct uco__fiber;

/* A loop is about to run: from now on faults of this process come here first. */
void uco__overflow_watch(void);

/* The fiber, in which the caller runs, has gone beyond a stack that has no guard: tells so, and
 * aborts. */
UCO__NORETURN void uco__overflow_panic(const struct uco_loop *loop, struct uco__fiber *fiber);

#endif
