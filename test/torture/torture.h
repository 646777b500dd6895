/* SPDX-License-Identifier: MIT */
#ifndef TEST_TORTURE_TORTURE_H
#define TEST_TORTURE_TORTURE_H

/*
 * Each call that uco makes fails in turn: what scenarios and the driver share.
 *
 * A scenario uses one area of the library, richly, and says of each call which errors it may have
 * when the environment fails. The driver (torture.c) runs it again and again, each time with
 * another call failing (a case), and case.c proves after each run that nothing was left over and
 * that the same still works.
 */

#include "failures.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <uco/stats.h>
#include <uco/testing.h>
#include <uco/uco.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct scenario {
    const char *name;
    void (*run)(void);
    bool outside; /* runs on a bare thread, not as the main task of a loop */
    bool real;    /* needs the real clock */
    bool network; /* the other side may have to give up, and may be waited for in vain */
    bool once;    /* makes its calls fail itself: nothing is swept */
    /* NULL: can run everywhere */
    bool (*can_run)(void);
};

extern const struct scenario *const torture_scenarios[]; /* ends with NULL */

struct torture_case {
    const struct scenario *scenario;
    const struct failure *failure; /* NULL: nothing fails */
    unsigned long nth;
    struct failure_mode mode;
    enum uco_backend backend;
};

/* The one that runs, and whether something may fail now. */
extern struct torture_case torture_case;
extern bool torture_faulty;

/* Ends the process with a message that names the case. Any thread. */
void torture_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/* What must hold whatever fails. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            torture_fail(__FILE__, __LINE__, "not so: %s", #condition);                            \
    } while (0)

/* In a list of errors: the one that the present case injects. */
#define THE_ERROR (-1)

intptr_t torture_may(intptr_t r, const char *call, const char *file, int line, const int errors[]);

/* A call that may have the errors that are listed (positive), but only while something may fail.
 * Gives its result. */
#define MAY(call, ...)                                                                             \
    torture_may((intptr_t) (call), #call, __FILE__, __LINE__, (const int[]){__VA_ARGS__, 0})

/* A call that succeeds whatever fails. Gives its result. */
#define SURE(call) torture_may((intptr_t) (call), #call, __FILE__, __LINE__, (const int[]){0})

/* The same for calls that give a pointer or a timer, and NULL or 0 with errno: the result as a
 * negative error, or 0. */
#define MADE(place, call, ...)                                                                     \
    torture_may(((place) = (call)) ? 0 : (intptr_t) -errno, #call, __FILE__, __LINE__,             \
                (const int[]){__VA_ARGS__, 0})

/* What whoever talks to somebody else may meet, besides the other side's wrong: that gives up. */
#define NETWORK THE_ERROR, ENOMEM, ECONNRESET, EPIPE, ETIMEDOUT, ECANCELED, ENODATA

/* Whether something that passes may have made this one result a surprise: nothing is being failed,
 * or what is told by nobody. */
bool torture_clean(void);

/* Memory is gone from here on, for good; and back again. */
void torture_memory_gone(void);
void torture_memory_back(void);

/* The options of the loops of the present case. */
uco_loop_options torture_options(void);

/* A loop of the present case, or NULL if it could not be made. */
uco_loop *torture_loop_new(void);

/* case.c: runs the present case and proves the rest. Whether anything was failed. */
bool torture_case_run(void);
/* How many calls a run in which nothing fails makes of each kind. */
void torture_case_count(unsigned long calls[UCO__FAULT_COUNT]);
/* Before the first case of a process. */
void torture_case_begin(void);
/* Many cases may not have made the process grow. */
void torture_case_end(void);

/* For a hang: prints what the present loop's tasks wait for. Async-signal-safe. */
void torture_case_dump(void);

#endif
