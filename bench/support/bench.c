/* SPDX-License-Identifier: MIT */

/*
 * 1. A subject's round 0 warms it up and is not kept.
 * 2. samples[s][m] has `rounds` values of each subject that can be had, in the order of the rounds:
 *    values of the same index were measured one after the other.
 */

#include "bench.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <uco/uco.h>

#define QUICK_DIVISOR 100

/* Of bench_compare_peers()' subjects. */
enum { OURS = 1, FIRST_PEER = 2 };

/* How uco did beside its peers in one comparison. */
struct verdict {
    char what[80];
    const char *peer;
    double ratio;
};

static struct {
    const char *name;
    bool quick;
    bool json;
    bool wrong;
    unsigned rounds;
    unsigned rows; /* printed so far */
    unsigned places;
    cpu_set_t allowed;
    struct verdict verdicts[BENCH_VERDICTS_MAX];
    unsigned verdict_count;
} bench;

void
bench_die(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "%s: ", bench.name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *
bench_allocate(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);

    if (memory == NULL)
        bench_die("no memory for %zu bytes", size);
    memset(memory, 0, size);
    return memory;
}

uint64_t
bench_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* --- processors --- */

unsigned
bench_places(void)
{
    return bench.places;
}

/* Counted from the highest number down: the lowest ones tend to have the machine's interrupts. */
void
bench_pin(unsigned place)
{
    unsigned skip = place % bench_places();
    cpu_set_t one;

    CPU_ZERO(&one);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
        if (!CPU_ISSET(cpu, &bench.allowed) || skip-- > 0)
            continue;
        CPU_SET(cpu, &one);
        break;
    }
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        bench_die("pinning to a processor: %s", strerror(errno));
}

void
bench_relax(unsigned turn)
{
    if (turn % 64 == 63 || bench_places() == 1) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* --- beginning and end --- */

static void
processor_name(char *name, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];

    snprintf(name, size, "unknown processor");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(name, size, "%s", value + 1 + strspn(value + 1, " "));
        break;
    }
    if (file != NULL)
        fclose(file);
}

static void
json_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char) *text >= ' ')
            putchar(*text);
    }
    putchar('"');
}

static void
json_member(const char *name, const char *text)
{
    printf("\"%s\": ", name);
    json_string(text);
    printf(", ");
}

static void
header_print(const char *title)
{
    char processor[128], machine[512];
    struct utsname system;

    uname(&system);
    processor_name(processor, sizeof processor);
    snprintf(machine, sizeof machine, "%u x %s, %s %s, compiler %s", bench_places(), processor,
             system.sysname, system.release, __VERSION__);
    if (bench.json) {
        printf("{");
        json_member("benchmark", bench.name);
        json_member("title", title);
        json_member("machine", machine);
        json_member("uco", uco_version());
        printf("\"quick\": %s, \"rounds\": %u, \"rows\": [", bench.quick ? "true" : "false",
               bench.rounds);
        return;
    }
    printf("%s: %s\n", bench.name, title);
    printf("uco %s, %s; %u rounds%s\n", uco_version(), machine, bench.rounds,
           bench.quick ? ", quick: the figures mean nothing" : "");
}

static unsigned
rounds_parse(const char *text)
{
    char *end = NULL;
    unsigned long rounds = text != NULL ? strtoul(text, &end, 10) : 0;

    if (rounds == 0 || rounds > BENCH_ROUNDS_MAX || *end != '\0')
        bench_die("--rounds wants a number from 1 to %d", BENCH_ROUNDS_MAX);
    return (unsigned) rounds;
}

void
bench_begin(const char *name, const char *title, int argc, char **argv)
{
    bench.name = name;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            bench.quick = true;
        else if (strcmp(argv[i], "--json") == 0)
            bench.json = true;
        else if (strcmp(argv[i], "--rounds") == 0)
            bench.rounds = rounds_parse(argv[++i]);
        else
            bench_die("usage: %s [--quick] [--json] [--rounds N]", name);
    }
    if (bench.rounds == 0)
        bench.rounds = bench.quick ? BENCH_ROUNDS_QUICK : BENCH_ROUNDS;
    if (sched_getaffinity(0, sizeof bench.allowed, &bench.allowed) < 0)
        bench_die("which processors may be used: %s", strerror(errno));
    bench.places = (unsigned) CPU_COUNT(&bench.allowed);
    bench_pin(0);
    header_print(title);
}

bool
bench_quick(void)
{
    return bench.quick;
}

size_t
bench_scaled(size_t full)
{
    size_t scaled = bench.quick ? full / QUICK_DIVISOR : full;

    return scaled > 0 ? scaled : 1;
}

static void
verdicts_print(void)
{
    printf("\n%-44s %11s\n", "uco, to the best of its peers", "ratio");
    for (unsigned i = 0; i < bench.verdict_count; i++) {
        const struct verdict *verdict = &bench.verdicts[i];

        printf("  %-42s %11.2f  %s\n", verdict->what, verdict->ratio, verdict->peer);
    }
}

int
bench_end(void)
{
    if (!bench.json && bench.verdict_count > 0)
        verdicts_print();
    if (bench.json)
        printf("%s], \"correct\": %s}\n", bench.rows > 0 ? "\n" : "",
               bench.wrong ? "false" : "true");
    return bench.wrong || fflush(stdout) != 0 ? 1 : 0;
}

/* --- statistics --- */

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

struct summary {
    double median;
    double best;
    double ratio;   /* NaN: no floor */
    double to_peer; /* NaN: no peer */
};

static double
median(const double values[], unsigned count)
{
    double sorted[BENCH_ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof sorted[0]);
    bench_sort(sorted, count);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* Taken within each round, so that a drift of the machine's speed falls out of it; NaN to nothing.
 */
static double
ratio_median(const double values[], const double other[])
{
    double ratios[BENCH_ROUNDS_MAX];

    if (other == NULL)
        return NAN;
    for (unsigned i = 0; i < bench.rounds; i++)
        ratios[i] = values[i] / other[i];
    return median(ratios, bench.rounds);
}

static struct summary
summarize(const double values[], const double floor[], const double peer[], bool more_is_better)
{
    struct summary summary = {
        .median = median(values, bench.rounds),
        .best = values[0],
        .ratio = ratio_median(values, floor),
        .to_peer = ratio_median(values, peer),
    };

    for (unsigned i = 0; i < bench.rounds; i++) {
        if (more_is_better ? values[i] > summary.best : values[i] < summary.best)
            summary.best = values[i];
    }
    return summary;
}

/* --- comparing --- */

/* Three digits that mean something, as far as they go. */
static void
value_print(double value)
{
    printf(" %11.*f", value < 10 ? 2 : value < 1000 ? 1 : 0, value);
}

static void
ratio_print(double ratio)
{
    if (isnan(ratio))
        printf(" %8s", "-");
    else
        printf(" %8.2f", ratio);
}

static void
summary_print(const struct summary *summary, bool with_peers)
{
    value_print(summary->median);
    value_print(summary->best);
    ratio_print(summary->ratio);
    if (with_peers)
        ratio_print(summary->to_peer);
    putchar('\n');
}

static void
ratio_print_json(const char *name, double ratio)
{
    if (isnan(ratio))
        printf(", \"%s\": null", name);
    else
        printf(", \"%s\": %.4g", name, ratio);
}

static void
summary_print_json(const char *what, const struct bench_metric *metric, const char *subject,
                   const struct summary *summary, bool with_peers)
{
    printf("%s\n  {", bench.rows > 0 ? "," : "");
    json_member("case", what);
    json_member("metric", metric->name);
    json_member("unit", metric->unit);
    json_member("better", metric->more_is_better ? "more" : "less");
    json_member("subject", subject);
    printf("\"median\": %.6g, \"best\": %.6g", summary->median, summary->best);
    ratio_print_json("ratio", summary->ratio);
    if (with_peers)
        ratio_print_json("to_peer", summary->to_peer);
    printf("}");
}

struct comparison {
    const char *what;
    const struct bench_metric *metrics;
    size_t metric_count;
    const struct bench_subject *subjects;
    size_t subject_count;
    bool with_peers;
};

typedef double samples[BENCH_SUBJECTS_MAX][BENCH_METRICS_MAX][BENCH_ROUNDS_MAX];

static void
metric_head_print(const struct comparison *comparison, const struct bench_metric *metric)
{
    char heading[80];

    if (bench.json)
        return;
    snprintf(heading, sizeof heading, "%s: %s, %s", comparison->what, metric->name, metric->unit);
    printf("\n%-44s %11s %11s %8s%s\n", heading, "median", "best", "ratio",
           comparison->with_peers ? "  to peer" : "");
}

static void
metric_print(const struct comparison *comparison, size_t m, samples *measured, const double peer[])
{
    const struct bench_subject *subjects = comparison->subjects;
    const struct bench_metric *metric = &comparison->metrics[m];
    const double *floor = subjects[0].run != NULL ? (*measured)[0][m] : NULL;

    metric_head_print(comparison, metric);
    for (size_t i = 0; i < comparison->subject_count; i++) {
        struct summary summary;

        if (subjects[i].run == NULL) {
            if (!bench.json)
                printf("  %-42s skipped: %s\n", subjects[i].name, subjects[i].without);
            continue;
        }
        summary = summarize((*measured)[i][m], floor, peer, metric->more_is_better);
        if (bench.json) {
            summary_print_json(comparison->what, metric, subjects[i].name, &summary,
                               comparison->with_peers);
        } else {
            printf("  %-42s", subjects[i].name);
            summary_print(&summary, comparison->with_peers);
        }
        bench.rows++;
    }
    fflush(stdout);
}

static bool
round_measure(const struct comparison *comparison, const void *arg, unsigned round,
              samples *measured)
{
    for (size_t i = 0; i < comparison->subject_count; i++) {
        const struct bench_subject *subject = &comparison->subjects[i];
        double values[BENCH_METRICS_MAX] = {0};

        if (subject->run == NULL)
            continue;
        if (!subject->run(arg, values)) {
            fflush(stdout);
            fprintf(stderr, "%s: %s: %s: the counts are wrong\n", bench.name, comparison->what,
                    subject->name);
            return false;
        }
        for (size_t m = 0; round > 0 && m < comparison->metric_count; m++)
            (*measured)[i][m][round - 1] = values[m];
    }
    return true;
}

static bool
comparison_measure(const struct comparison *comparison, const void *arg, samples *measured)
{
    if (comparison->metric_count > BENCH_METRICS_MAX ||
        comparison->subject_count > BENCH_SUBJECTS_MAX)
        bench_die("%s: too many subjects or metrics", comparison->what);
    for (unsigned round = 0; round <= bench.rounds; round++) {
        if (!round_measure(comparison, arg, round, measured)) {
            bench.wrong = true;
            return false;
        }
    }
    return true;
}

void
bench_compare(const char *what, const struct bench_metric metrics[], size_t metric_count,
              const struct bench_subject subjects[], size_t subject_count, const void *arg)
{
    static samples measured;
    const struct comparison comparison = {
        .what = what,
        .metrics = metrics,
        .metric_count = metric_count,
        .subjects = subjects,
        .subject_count = subject_count,
    };

    if (!comparison_measure(&comparison, arg, &measured))
        return;
    for (size_t m = 0; m < metric_count; m++)
        metric_print(&comparison, m, &measured, NULL);
}

/* The index of the peer with the best median; the number of subjects when there is none. */
static size_t
peer_find(const struct comparison *comparison, size_t m, samples *measured)
{
    size_t best = comparison->subject_count;
    double best_median = 0;

    for (size_t i = FIRST_PEER; i < comparison->subject_count; i++) {
        double value;

        if (comparison->subjects[i].run == NULL)
            continue;
        value = median((*measured)[i][m], bench.rounds);
        if (best == comparison->subject_count ||
            (comparison->metrics[m].more_is_better ? value > best_median : value < best_median)) {
            best = i;
            best_median = value;
        }
    }
    return best;
}

static void
verdict_add(const struct comparison *comparison, size_t m, samples *measured, size_t peer)
{
    struct verdict *verdict;

    if (bench.verdict_count == BENCH_VERDICTS_MAX)
        bench_die("%s: too many comparisons", comparison->what);
    verdict = &bench.verdicts[bench.verdict_count++];
    snprintf(verdict->what, sizeof verdict->what, "%s%s%s", comparison->what,
             comparison->metric_count > 1 ? ", " : "",
             comparison->metric_count > 1 ? comparison->metrics[m].name : "");
    verdict->peer = comparison->subjects[peer].name;
    verdict->ratio = ratio_median((*measured)[OURS][m], (*measured)[peer][m]);
}

void
bench_compare_peers(const char *what, const struct bench_metric metrics[], size_t metric_count,
                    const struct bench_subject subjects[], size_t subject_count, const void *arg)
{
    static samples measured;
    const struct comparison comparison = {
        .what = what,
        .metrics = metrics,
        .metric_count = metric_count,
        .subjects = subjects,
        .subject_count = subject_count,
        .with_peers = true,
    };

    if (!comparison_measure(&comparison, arg, &measured))
        return;
    for (size_t m = 0; m < metric_count; m++) {
        size_t best = peer_find(&comparison, m, &measured);

        metric_print(&comparison, m, &measured, best < subject_count ? measured[best][m] : NULL);
        if (best < subject_count)
            verdict_add(&comparison, m, &measured, best);
    }
}
