/* SPDX-License-Identifier: MIT */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

/*
 * What every test program shares. A program is one suite: it makes cases with case_new(), which
 * puts a ledger around each test, and ends with `return suite_end(suite);`.
 *
 * Check forks for each test, so a failed ck_assert inside a coroutine ends that test only.
 */

#include <check.h>
#include <errno.h>
#include <uco/testing.h>
#include <uco/uco.h>

/** The number of elements of an array. */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/** In sanitizer builds and under an emulator scale tests shrink: so many of `full` are left. */
int scaled(int full);

/** Whether this build runs under ThreadSanitizer, AddressSanitizer or valgrind. */
bool under_sanitizer(void);

/** Notes that the rest of a test makes no sense here, and why: CI counts the test as skipped. */
void test_skipped(const char *reason);

/** For a test of a single wait, or whose own calls cannot be interrupted: no storm of signals from
 * here on. */
void storm_stop(void);

/* How many mappings this process has. */
int count_maps(void);

/* The signal that ends a child that writes to `place`; 0 if none does. */
int write_in_child(char *place);

/** A case whose tests each give back what they take: memory, mappings, fds and threads. What is
 * left fails the test, and is told with the place that made it. */
TCase *case_new(Suite *suite, const char *name);

/** Runs the suite, frees it, and gives main()'s result. */
int suite_end(Suite *suite);

/** uco_run() on the virtual clock, FIFO: the usual way to run a test's coroutine. */
intptr_t run_virtual(uco_fn *fn, void *arg);

/** The same with a seeded order. */
intptr_t run_seeded(uint64_t seed, uco_fn *fn, void *arg);

/** run_virtual() whatever UCO_SEED says: for what is promised of the order without a seed. */
intptr_t run_fifo(uco_fn *fn, void *arg);

/** Runs fn FIFO and in 200 seeded orders, in which a few tasks meet in every way there is. Each run
 * must return 0, so fn begins by making its state afresh. */
void run_in_all_orders(uco_fn *fn, void *arg);

/** uco_run() on the real clock. */
intptr_t run_real(uco_fn *fn, void *arg);

/** What a loop's exception_handler was told. */
struct reports {
    unsigned count;
    char last[512];
    char all[8192]; /* one a line */
};

/** Options with the virtual clock whose reports go to r (zeroed here). */
uco_loop_options reporting(struct reports *r);

/** How many file descriptors and threads this process has. */
int count_fds(void);
int count_threads(void);

/** The current time of CLOCK_MONOTONIC, in seconds: for tests that need to see real time pass. */
double real_time(void);

/** Bodies that many tests need. */
intptr_t body_return(void *arg);        /* returns (intptr_t) arg */
intptr_t body_sleep_forever(void *arg); /* sleeps until cancelled, returns uco_sleep()'s result */
intptr_t body_sleep_1s(void *arg);      /* sleeps a second, returns (intptr_t) arg, or uco_sleep()'s
                                           error */

/** A record of the order in which things happened, as letters. */
struct trace {
    char text[256];
    size_t size;
};
void trace_add(struct trace *t, char letter);

#endif
