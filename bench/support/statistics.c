/* SPDX-License-Identifier: MIT */

#include "statistics.h"

#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int
value_compare(const void *left, const void *right)
{
    double a = *(const double *) left, b = *(const double *) right;

    return (a > b) - (a < b);
}

void
bench_sort(double values[], size_t count)
{
    qsort(values, count, sizeof values[0], value_compare);
}

double
bench_quantile(const double values[], size_t count, double part)
{
    size_t rank = (size_t) (part * (double) count);

    return values[rank < count ? rank : count - 1];
}

double
statistics_quantile(const double values[], unsigned count, double part)
{
    double sorted[BENCH_ROUNDS_MAX], place = part * (count - 1);
    unsigned below = (unsigned) place;
    unsigned above = below + 1 < count ? below + 1 : below;

    memcpy(sorted, values, count * sizeof sorted[0]);
    bench_sort(sorted, count);
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

double
statistics_ratio(const double values[], const double others[], unsigned count)
{
    double ratios[BENCH_ROUNDS_MAX];

    if (others == NULL)
        return NAN;
    for (unsigned i = 0; i < count; i++)
        ratios[i] = values[i] / others[i];
    return statistics_quantile(ratios, count, 0.5);
}
