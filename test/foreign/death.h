/* SPDX-License-Identifier: MIT */
#ifndef TEST_FOREIGN_DEATH_H
#define TEST_FOREIGN_DEATH_H

/* What is expected to end the process does so in a child, whose last words are kept. C and C++. */

#ifdef __cplusplus
#include <check.h>
#include <uco/testing.h>
#include <uco/uco.h>

#include <cerrno>
extern "C" {
#endif

#include "../support/support.h"

/* ThreadSanitizer ends a process that leaves a fiber by longjmp() or pthread_exit(), or starts a
 * thread in a child, by itself. */
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

struct death {
    int signal;        /* that ended it; 0: none */
    int status;        /* that it exited with; -1: it did not exit */
    char output[8192]; /* to stdout and stderr */
};

/* Runs fn in a child, which exits with SURVIVED if it returns. */
struct death death_of(void (*fn)(void *arg), void *arg);
#define SURVIVED 77

/* It aborted, saying so. */
void assert_aborted(const struct death *death, const char *message);

#ifdef __cplusplus
}
#endif

#endif
