/* SPDX-License-Identifier: MIT */
#ifndef ECHO_LATENCY_H
#define ECHO_LATENCY_H

/* How long things took: counts of what is alike within 0.4 %, so that no measurement is too long
 * to be kept. */

#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum {
    ECHO_LATENCY_BITS = 8, /* of the mantissa */
    ECHO_LATENCY_BUCKETS = (64 - ECHO_LATENCY_BITS + 1) << ECHO_LATENCY_BITS,
};

struct echo_latency {
    uint64_t count;
    uint64_t *buckets;
};

static inline void
echo_latency_init(struct echo_latency *latency)
{
    latency->count = 0;
    latency->buckets = bench_allocate(ECHO_LATENCY_BUCKETS * sizeof latency->buckets[0]);
}

static inline void
echo_latency_done(struct echo_latency *latency)
{
    free(latency->buckets);
}

static inline void
echo_latency_clear(struct echo_latency *latency)
{
    latency->count = 0;
    memset(latency->buckets, 0, ECHO_LATENCY_BUCKETS * sizeof latency->buckets[0]);
}

static inline void
echo_latency_add(struct echo_latency *latency, uint64_t ns)
{
    int length = 64 - __builtin_clzll(ns | 1);
    int shift = length > ECHO_LATENCY_BITS + 1 ? length - ECHO_LATENCY_BITS - 1 : 0;

    latency->count++;
    latency->buckets[((uint64_t) shift << ECHO_LATENCY_BITS) + (ns >> shift)]++;
}

/* ns: what `part` of all took at most. */
static inline double
echo_latency_quantile(const struct echo_latency *latency, double part)
{
    uint64_t rank = (uint64_t) (part * (double) latency->count), below = 0;

    for (uint64_t i = 0; i < ECHO_LATENCY_BUCKETS; i++) {
        uint64_t half = 1 << ECHO_LATENCY_BITS;
        uint64_t shift = i < 2 * half ? 0 : i / half - 1;

        below += latency->buckets[i];
        if (below > rank)
            return ((double) (i - shift * half) + 0.5) * (double) ((uint64_t) 1 << shift);
    }
    return 0;
}

#endif
