/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_REPORT_H
#define UCO_CORE_REPORT_H

/* What uco has to say to its user: reports, misuse, and the end when an invariant of its own is
 * broken. */

#include "base/compiler.h"

#include <stdbool.h>
#include <uco/common.h>

/* To the loop's exception handler (loop's thread), else (also loop NULL) a line on stderr. The task
 * may be NULL. */
UCO__EXPORT void uco__report(uco_loop *loop, uco_task *task, const char *format, ...)
    UCO__PRINTF(3, 4);

/* The caller did something wrong: returns `error`; in debug mode prints the message and aborts
 * instead. */
UCO__EXPORT int uco__misuse(int error, const char *format, ...) UCO__PRINTF(2, 3);

/* The same about a loop that may be another thread's: its debug mode counts. */
int uco__misuse_of(const uco_loop *loop, int error, const char *format, ...) UCO__PRINTF(3, 4);

/* An invariant of uco's is broken: prints the message and the current task, and aborts. */
UCO__NORETURN void uco__panic(const char *format, ...) UCO__PRINTF(1, 2);

/* UCO_DEBUG=1 in the environment. */
bool uco__debug_environment(void);

#define UCO__ASSERT(condition)                                                                     \
    ((condition) ? (void) 0 : uco__panic("%s:%d: %s does not hold", __FILE__, __LINE__, #condition))

#endif
