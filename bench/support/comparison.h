/* SPDX-License-Identifier: MIT */
#ifndef COMPARISON_H
#define COMPARISON_H

/*
 * What bench_compare() has measured, for those that print it.
 */

#include "bench.h"

/** Told by the beginning of a subject's name: "floor", "uco". */
enum role {
    ROLE_FLOOR,
    ROLE_UCO,
    ROLE_PEER,  /* of bench_compare_peers(): all others */
    ROLE_OTHER, /* of bench_compare(): all others */
};

/** [subject][metric][round] */
typedef double samples[BENCH_SUBJECTS_MAX][BENCH_METRICS_MAX][BENCH_ROUNDS_MAX];

struct comparison {
    const char *what;
    const struct bench_metric *metrics;
    size_t metric_count;
    const struct bench_subject *subjects;
    size_t subject_count;
    bool with_peers;
    unsigned rounds;
    bool wrong[BENCH_SUBJECTS_MAX]; /* the counts of these did not add up */
    samples *measured;
};

enum role comparison_role(const struct comparison *comparison, size_t subject);

/** NULL for a subject that was skipped or is wrong; otherwise a value for each round. */
const double *comparison_values(const struct comparison *comparison, size_t subject, size_t metric);

/** One subject's standing in one metric. */
struct standing {
    double median;
    double best;
    double worst;
    double low;     /* the lower quartile */
    double high;    /* the upper quartile */
    double ratio;   /* to the first subject; NaN: there is none */
    double to_peer; /* to the peer with the best median; NaN: there is none */
};

/** Of a subject that has values. */
struct standing comparison_standing(const struct comparison *comparison, size_t subject,
                                    size_t metric);

/** The index of the peer with the best median; the number of subjects when there is none. */
size_t comparison_best_peer(const struct comparison *comparison, size_t metric);

#endif
