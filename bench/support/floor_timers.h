/* SPDX-License-Identifier: MIT */
#ifndef FLOOR_TIMERS_H
#define FLOOR_TIMERS_H

/*
 * The floors of bench_timers: each is one round, in a process of its own, and returns whether its
 * counts are right and nobody was woken early.
 */

#include "floor.h"

#include <stdbool.h>

#if FLOOR_SWITCH
/** Sleepers on stacks of their own, and the heap. Fills in timers_summary()'s numbers. */
bool floor_timers_crowd(size_t count, uint64_t max, double values[]);
#endif

/** Inserts into the heap, and removes by index; in nanoseconds for the two. */
bool floor_timers_pairs(size_t count, double values[]);

/** One sleep after the other in epoll_pwait2(), with a slack of 1 ns; the mean lateness in us. */
bool floor_timers_short(size_t count, double values[]);

/** The same with a timerfd in an epoll. */
bool floor_timers_timerfd(size_t count, double values[]);

#endif
