/* SPDX-License-Identifier: MIT */
#ifndef CHILD_H
#define CHILD_H

/*
 * Rounds in a process of their own: memory that one round has touched, and whatever it has set for
 * its thread, must be nothing to the next.
 */

#include "bench.h"

/**
 * Forks, runs one round in the child, and waits for it. The caller must have no other threads.
 *
 * @values: So many, as the child filled them in. Written on success only.
 *
 * Returns: what the round returned; false when its process failed.
 */
bool child_measure(bench_run *run, const void *arg, double values[], size_t count);

#endif
