/* SPDX-License-Identifier: MIT */

/*
 * 1. A subject's round 0 warms it up and is not kept.
 * 2. Values of the same index were measured one after the other, in the same round.
 * 3. A subject whose counts were wrong once is out of the comparison, with all of its rounds.
 */

#include "compare.h"

#include "json.h"
#include "statistics.h"
#include "table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct {
    unsigned rounds;
    unsigned at_most; /* in the next comparison; 0: no matter */
    bool wrong;
} state;

void
compare_begin(unsigned rounds)
{
    state.rounds = rounds;
}

bool
compare_end(void)
{
    table_print_verdicts();
    return !state.wrong;
}

void
bench_rounds_at_most(unsigned rounds)
{
    state.at_most = rounds;
}

/* --- what was measured --- */

enum role
comparison_role(const struct comparison *comparison, size_t subject)
{
    const char *name = comparison->subjects[subject].name;

    if (strncmp(name, "floor", 5) == 0)
        return ROLE_FLOOR;
    if (strncmp(name, "uco", 3) == 0)
        return ROLE_UCO;
    return comparison->with_peers ? ROLE_PEER : ROLE_OTHER;
}

const double *
comparison_values(const struct comparison *comparison, size_t subject, size_t metric)
{
    if (comparison->subjects[subject].run == NULL || comparison->wrong[subject])
        return NULL;
    return (*comparison->measured)[subject][metric];
}

size_t
comparison_best_peer(const struct comparison *comparison, size_t metric)
{
    bool more_is_better = comparison->metrics[metric].more_is_better;
    size_t best = comparison->subject_count;
    double best_median = 0;

    for (size_t i = 0; i < comparison->subject_count; i++) {
        const double *values = comparison_values(comparison, i, metric);
        double median;

        if (values == NULL || comparison_role(comparison, i) != ROLE_PEER)
            continue;
        median = statistics_quantile(values, comparison->rounds, 0.5);
        if (best == comparison->subject_count ||
            (more_is_better ? median > best_median : median < best_median)) {
            best = i;
            best_median = median;
        }
    }
    return best;
}

struct standing
comparison_standing(const struct comparison *comparison, size_t subject, size_t metric)
{
    const double *values = comparison_values(comparison, subject, metric);
    const double *first = comparison_values(comparison, 0, metric);
    size_t peer = comparison_best_peer(comparison, metric);
    unsigned rounds = comparison->rounds;
    bool more_is_better = comparison->metrics[metric].more_is_better;

    return (struct standing){
        .median = statistics_quantile(values, rounds, 0.5),
        .best = statistics_quantile(values, rounds, more_is_better ? 1 : 0),
        .worst = statistics_quantile(values, rounds, more_is_better ? 0 : 1),
        .low = statistics_quantile(values, rounds, 0.25),
        .high = statistics_quantile(values, rounds, 0.75),
        .ratio = statistics_ratio(values, first, rounds),
        .to_peer =
            peer == comparison->subject_count
                ? NAN
                : statistics_ratio(values, comparison_values(comparison, peer, metric), rounds),
    };
}

/* --- measuring --- */

static void
subject_measure(struct comparison *comparison, size_t subject, const void *arg, unsigned round)
{
    double values[BENCH_METRICS_MAX] = {0};

    if (!comparison->subjects[subject].run(arg, values)) {
        fflush(stdout);
        fprintf(stderr, "%s: %s: the counts are wrong\n", comparison->what,
                comparison->subjects[subject].name);
        comparison->wrong[subject] = true;
        state.wrong = true;
        return;
    }
    for (size_t m = 0; round > 0 && m < comparison->metric_count; m++)
        (*comparison->measured)[subject][m][round - 1] = values[m];
}

static void
comparison_run(struct comparison comparison, const void *arg)
{
    static samples measured;

    if (comparison.metric_count > BENCH_METRICS_MAX ||
        comparison.subject_count > BENCH_SUBJECTS_MAX)
        bench_die("%s: too many subjects or metrics", comparison.what);
    comparison.measured = &measured;
    comparison.rounds =
        state.at_most > 0 && state.at_most < state.rounds ? state.at_most : state.rounds;
    state.at_most = 0;

    for (unsigned round = 0; round <= comparison.rounds; round++) {
        for (size_t i = 0; i < comparison.subject_count; i++) {
            if (comparison.subjects[i].run != NULL && !comparison.wrong[i])
                subject_measure(&comparison, i, arg, round);
        }
    }
    table_print(&comparison);
    json_add(&comparison);
}

void
bench_compare(const char *what, const struct bench_metric metrics[], size_t metric_count,
              const struct bench_subject subjects[], size_t subject_count, const void *arg)
{
    comparison_run(
        (struct comparison){
            .what = what,
            .metrics = metrics,
            .metric_count = metric_count,
            .subjects = subjects,
            .subject_count = subject_count,
        },
        arg);
}

void
bench_compare_peers(const char *what, const struct bench_metric metrics[], size_t metric_count,
                    const struct bench_subject subjects[], size_t subject_count, const void *arg)
{
    comparison_run(
        (struct comparison){
            .what = what,
            .metrics = metrics,
            .metric_count = metric_count,
            .subjects = subjects,
            .subject_count = subject_count,
            .with_peers = true,
        },
        arg);
}
