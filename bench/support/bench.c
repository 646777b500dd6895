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

static struct {
    const char *name;
    bool quick;
    bool json;
    bool wrong;
    unsigned rounds;
    unsigned rows; /* printed so far */
    unsigned places;
    cpu_set_t allowed;
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

int
bench_end(void)
{
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
    double ratio; /* NaN: no floor */
};

static double
median(const double values[], unsigned count)
{
    double sorted[BENCH_ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof sorted[0]);
    bench_sort(sorted, count);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* The ratio is taken within each round, so that a drift of the machine's speed falls out of it. */
static struct summary
summarize(const double values[], const double floor[], bool more_is_better)
{
    struct summary summary = {
        .median = median(values, bench.rounds), .best = values[0], .ratio = NAN};
    double ratios[BENCH_ROUNDS_MAX];

    for (unsigned i = 0; i < bench.rounds; i++) {
        if (more_is_better ? values[i] > summary.best : values[i] < summary.best)
            summary.best = values[i];
        if (floor != NULL)
            ratios[i] = values[i] / floor[i];
    }
    if (floor != NULL)
        summary.ratio = median(ratios, bench.rounds);
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
summary_print(const struct summary *summary)
{
    value_print(summary->median);
    value_print(summary->best);
    if (isnan(summary->ratio))
        printf(" %8s\n", "-");
    else
        printf(" %8.2f\n", summary->ratio);
}

static void
summary_print_json(const char *what, const struct bench_metric *metric, const char *subject,
                   const struct summary *summary)
{
    printf("%s\n  {", bench.rows > 0 ? "," : "");
    json_member("case", what);
    json_member("metric", metric->name);
    json_member("unit", metric->unit);
    json_member("better", metric->more_is_better ? "more" : "less");
    json_member("subject", subject);
    printf("\"median\": %.6g, \"best\": %.6g, \"ratio\": ", summary->median, summary->best);
    if (isnan(summary->ratio))
        printf("null}");
    else
        printf("%.4g}", summary->ratio);
}

typedef double samples[BENCH_SUBJECTS_MAX][BENCH_METRICS_MAX][BENCH_ROUNDS_MAX];

static void
metric_print(const char *what, const struct bench_metric *metric, size_t metric_index,
             const struct bench_subject subjects[], size_t count, samples *measured)
{
    const double *floor = subjects[0].run != NULL ? (*measured)[0][metric_index] : NULL;
    char heading[80];

    snprintf(heading, sizeof heading, "%s: %s, %s", what, metric->name, metric->unit);
    if (!bench.json)
        printf("\n%-44s %11s %11s %8s\n", heading, "median", "best", "ratio");
    for (size_t i = 0; i < count; i++) {
        struct summary summary;

        if (subjects[i].run == NULL) {
            if (!bench.json)
                printf("  %-42s skipped: %s\n", subjects[i].name, subjects[i].without);
            continue;
        }
        summary = summarize((*measured)[i][metric_index], floor, metric->more_is_better);
        if (bench.json) {
            summary_print_json(what, metric, subjects[i].name, &summary);
        } else {
            printf("  %-42s", subjects[i].name);
            summary_print(&summary);
        }
        bench.rows++;
    }
    fflush(stdout);
}

static bool
round_measure(const struct bench_subject subjects[], size_t count, const void *arg, unsigned round,
              size_t metric_count, samples *measured)
{
    for (size_t i = 0; i < count; i++) {
        double values[BENCH_METRICS_MAX] = {0};

        if (subjects[i].run == NULL)
            continue;
        if (!subjects[i].run(arg, values)) {
            fflush(stdout);
            fprintf(stderr, "%s: %s: the counts are wrong\n", bench.name, subjects[i].name);
            return false;
        }
        for (size_t m = 0; round > 0 && m < metric_count; m++)
            (*measured)[i][m][round - 1] = values[m];
    }
    return true;
}

void
bench_compare(const char *what, const struct bench_metric metrics[], size_t metric_count,
              const struct bench_subject subjects[], size_t subject_count, const void *arg)
{
    static samples measured;

    if (metric_count > BENCH_METRICS_MAX || subject_count > BENCH_SUBJECTS_MAX)
        bench_die("%s: too many subjects or metrics", what);
    for (unsigned round = 0; round <= bench.rounds; round++) {
        if (!round_measure(subjects, subject_count, arg, round, metric_count, &measured)) {
            bench.wrong = true;
            return;
        }
    }
    for (size_t m = 0; m < metric_count; m++)
        metric_print(what, &metrics[m], m, subjects, subject_count, &measured);
}
