/* SPDX-License-Identifier: MIT */

/* Reports, misuse, panic. */

#include "core/report.h"

#include "base/system.h"
#include "core/loop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_MAX 1024 /* bytes of a message */

bool
uco__debug_environment(void)
{
    const char *value = getenv("UCO_DEBUG");

    return value != NULL && *value != '\0' && strcmp(value, "0") != 0;
}

/* On whatever stack that is. As every callback it finds nothing of what runs there, leaves nothing,
 * and nothing that it throws gets past it. */
static UCO__NOINLINE void
report_call(uco_loop *loop, uco_task *task, const char *message)
{
    struct uco__belongings belongings;
    struct uco__fiber *current;

    UCO__FOREIGN_BARRIER();
    uco__foreign_take(&loop->foreign, &belongings);
    current = uco__scheduler_callback_begin(loop);
    loop->options.exception_handler(message, task, loop->options.exception_arg);
    uco__scheduler_callback_end(loop, current);
    uco__foreign_drop(&loop->foreign);
    uco__foreign_put(&loop->foreign, &belongings);
}

/* The loop's handler is called on the loop's thread, and not from inside itself: what it does wrong
 * goes to stderr. */
static bool
report_handle(uco_loop *loop, uco_task *task, const char *message)
{
    if (loop == NULL || loop->options.exception_handler == NULL || loop->reporting ||
        atomic_load(&loop->runner) != uco__thread_self())
        return false;
    loop->reporting = true;
    report_call(loop, task, message);
    loop->reporting = false;
    return true;
}

void
uco__report(uco_loop *loop, uco_task *task, const char *format, ...)
{
    char message[REPORT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (!report_handle(loop, task, message))
        fprintf(stderr, "uco: %s\n", message);
}

static const char *
current_name(void)
{
    const struct uco_loop *loop = uco__running;
    struct uco__fiber *fiber = loop != NULL ? loop->scheduler.current : NULL;

    return fiber != NULL ? loop->operations->fiber->name(fiber) : NULL;
}

UCO__NORETURN UCO__PRINTF(2, 0)
    __attribute__((nonnull(2))) static void die(const char *kind, const char *format,
                                                va_list arguments)
{
    const char *name = current_name();
    char message[REPORT_MAX];

    vsnprintf(message, sizeof message, format, arguments);
    if (name != NULL)
        fprintf(stderr, "uco: %s: %s (in task '%s')\n", kind, message, name);
    else
        fprintf(stderr, "uco: %s: %s\n", kind, message);
    abort();
}

int
uco__misuse(int error, const char *format, ...)
{
    va_list arguments;

    if ((uco__running == NULL || !uco__running->options.debug) && !uco__debug_environment())
        return error;
    va_start(arguments, format);
    die("misuse", format, arguments);
}

int
uco__misuse_of(const uco_loop *loop, int error, const char *format, ...)
{
    va_list arguments;

    if (!loop->options.debug && !uco__debug_environment())
        return error;
    va_start(arguments, format);
    die("misuse", format, arguments);
}

void
uco__panic(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    die("broken", format, arguments);
}
