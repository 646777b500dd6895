/* SPDX-License-Identifier: MIT */
#ifndef STATISTICS_H
#define STATISTICS_H

/*
 * Of the rounds of a comparison: at most BENCH_ROUNDS_MAX values, in the order of the rounds.
 */

/** With `part` 0.5 the median. Between two values where the part falls there. */
double statistics_quantile(const double values[], unsigned count, double part);

/** The median of the rounds' ratios; NaN to NULL. Taken within each round, so that a drift of the
 * machine's speed falls out of it. */
double statistics_ratio(const double values[], const double others[], unsigned count);

#endif
