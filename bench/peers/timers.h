/* SPDX-License-Identifier: MIT */
#ifndef TIMERS_H
#define TIMERS_H

/* What all sleepers of bench_timers share, uco and the peers, in C and C++. */

#include "clock.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum {
    TIMERS_SLEEP_MAX = 1000 * 1000, /* us */
    TIMERS_SLEEP_MAX_QUICK = 20 * 1000,
    /* Of those that are cancelled: none may fall due meanwhile. */
    TIMERS_ARM_LEAST = 10 * 1000 * 1000,
    TIMERS_ARM_MAX = 60 * 1000 * 1000,
    TIMERS_SHORT_LENGTH = 1000,
};

/** How long a sleeper sleeps: random, in [0, max) microseconds, the same for every subject. */
static inline uint64_t
timers_length(uint64_t index, uint64_t max)
{
    uint64_t mixed = (index + 1) * 0x9e3779b97f4a7c15;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return (mixed ^ mixed >> 31) % max;
}

static inline uint64_t
timers_arm_length(uint64_t index)
{
    return TIMERS_ARM_LEAST + timers_length(index, TIMERS_ARM_MAX - TIMERS_ARM_LEAST);
}

static inline uint64_t
timers_now(void)
{
    return clock_read();
}

/** The processor's time that this process has had, of all its threads. */
static inline uint64_t
timers_processor(void)
{
    return clock_nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
}

/** In microseconds; negative is too early. */
static inline double
timers_lateness(uint64_t began, uint64_t length)
{
    return (double) (int64_t) (timers_now() - began - length * 1000) / 1e3;
}

static inline int
timers_order(const void *left, const void *right)
{
    double a = *(const double *) left, b = *(const double *) right;

    return (a > b) - (a < b);
}

/** The five numbers of a crowd of sleepers, microseconds all of them: processor time each; how far
 * off the moment of waking was, whether late or early, p50, p99 and the most; and by how much the
 * earliest was too early. */
static inline void
timers_summary(double values[5], uint64_t processor, double lateness[], size_t count)
{
    values[4] = 0;
    for (size_t i = 0; i < count; i++) {
        if (-lateness[i] > values[4])
            values[4] = -lateness[i];
        if (lateness[i] < 0)
            lateness[i] = -lateness[i];
    }
    qsort(lateness, count, sizeof lateness[0], timers_order);
    values[0] = (double) processor / (double) count / 1e3;
    values[1] = lateness[count / 2];
    values[2] = lateness[count * 99 / 100];
    values[3] = lateness[count - 1];
}

#endif
