/* SPDX-License-Identifier: MIT */

#include "table.h"

#include <math.h>
#include <stdio.h>

/* How uco did beside its peers in one comparison. */
struct verdict {
    char what[96];
    const char *peer;
    double ratio;
};

static struct {
    struct verdict list[BENCH_VERDICTS_MAX];
    unsigned count;
} verdicts;

/* Three digits that mean something, as far as they go. */
static void
value_print(double value)
{
    printf(" %11.*f", value < 1 ? 3 : value < 10 ? 2 : value < 1000 ? 1 : 0, value);
}

static void
ratio_print(double ratio)
{
    if (isfinite(ratio))
        printf(" %8.2f", ratio);
    else
        printf(" %8s", "-");
}

static void
subject_print(const struct comparison *comparison, size_t subject, size_t metric)
{
    struct standing standing = comparison_standing(comparison, subject, metric);

    value_print(standing.median);
    value_print(standing.best);
    ratio_print(standing.ratio);
    if (comparison->with_peers)
        ratio_print(standing.to_peer);
    putchar('\n');
}

static void
metric_print(const struct comparison *comparison, size_t metric)
{
    char heading[80];

    snprintf(heading, sizeof heading, "%s: %s, %s", comparison->what,
             comparison->metrics[metric].name, comparison->metrics[metric].unit);
    printf("\n%-44s %11s %11s %8s%s\n", heading, "median", "best", "ratio",
           comparison->with_peers ? "  to peer" : "");
    for (size_t i = 0; i < comparison->subject_count; i++) {
        const struct bench_subject *subject = &comparison->subjects[i];

        printf("  %-42s", subject->name);
        if (subject->run == NULL)
            printf(" skipped: %s\n", subject->without);
        else if (comparison->wrong[i])
            printf(" wrong: its counts did not add up\n");
        else
            subject_print(comparison, i, metric);
    }
}

/* One for each of uco's ways to do it. */
static void
verdicts_add(const struct comparison *comparison, size_t metric)
{
    size_t peer = comparison_best_peer(comparison, metric), ways = 0;

    if (peer == comparison->subject_count)
        return;
    for (size_t i = 0; i < comparison->subject_count; i++)
        ways += comparison_role(comparison, i) == ROLE_UCO;
    for (size_t i = 0; i < comparison->subject_count; i++) {
        struct verdict *verdict = &verdicts.list[verdicts.count];
        const char *way = comparison->subjects[i].name;

        if (comparison_role(comparison, i) != ROLE_UCO ||
            comparison_values(comparison, i, metric) == NULL)
            continue;
        if (verdicts.count++ == BENCH_VERDICTS_MAX)
            bench_die("%s: too many comparisons", comparison->what);
        snprintf(verdict->what, sizeof verdict->what, "%s%s%s%s%s", comparison->what,
                 comparison->metric_count > 1 ? ", " : "",
                 comparison->metric_count > 1 ? comparison->metrics[metric].name : "",
                 ways > 1 ? ": " : "", ways > 1 ? way : "");
        verdict->peer = comparison->subjects[peer].name;
        verdict->ratio = comparison_standing(comparison, i, metric).to_peer;
    }
}

void
table_print(const struct comparison *comparison)
{
    for (size_t m = 0; m < comparison->metric_count; m++) {
        metric_print(comparison, m);
        verdicts_add(comparison, m);
    }
    fflush(stdout);
}

void
table_print_verdicts(void)
{
    if (verdicts.count == 0)
        return;
    printf("\n%-60s %8s\n", "uco, to the best of its peers", "ratio");
    for (unsigned i = 0; i < verdicts.count; i++) {
        printf("  %-58s", verdicts.list[i].what);
        ratio_print(verdicts.list[i].ratio);
        printf("  %s\n", verdicts.list[i].peer);
    }
}
