/* SPDX-License-Identifier: MIT */
#ifndef BENCH_H
#define BENCH_H

/*
 * What every benchmark shares. A program compares subjects: the floor first, which is the least
 * that plain C can do the same work with, then uco, then others. They take turns, round after
 * round, on the same processor, so that what disturbs the machine disturbs all of them; each round
 * counts what was done, and a wrong count makes the program fail.
 *
 * A program ends with `return bench_end();`. Its arguments: --quick (a check that it works, in less
 * than a second; orders of magnitude only), --json FILE (all figures, for report.py), --rounds N.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The number of elements of an array. */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    BENCH_METRICS_MAX = 6,
    BENCH_SUBJECTS_MAX = 16,
    BENCH_VERDICTS_MAX = 160,
    BENCH_ROUNDS = 9,
    BENCH_ROUNDS_QUICK = 2,
    BENCH_ROUNDS_MAX = 999,
};

/** Something that is measured. */
struct bench_metric {
    const char *name;
    const char *unit;
    bool more_is_better;
};

/**
 * One round of one subject.
 *
 * @arg:    bench_compare()'s.
 * @values: One for each metric.
 *
 * Returns: false when the counters do not add up: then the values are worth nothing.
 */
typedef bool bench_run(const void *arg, double values[]);

struct bench_subject {
    const char *name;
    bench_run *run;      /* NULL: cannot be had here */
    const char *without; /* why, in that case */
};

/** Reads the arguments, pins the thread to place 0, and prints what is measured, and where. */
void bench_begin(const char *name, const char *title, int argc, char **argv);

/** Whether only a check is wanted. */
bool bench_quick(void);

/** How often to do something that is done `full` times when it is measured. */
size_t bench_scaled(size_t full);

/**
 * Measures the subjects in turns and prints, for each metric and subject, the median, the best, and
 * the ratio to the first subject: the median of the rounds' ratios.
 */
void bench_compare(const char *what, const struct bench_metric metrics[], size_t metric_count,
                   const struct bench_subject subjects[], size_t subject_count, const void *arg);

/**
 * The same for the floor, uco and its peers, in this order, with a second ratio: to the peer with
 * the best median. bench_end() sums up where uco stands. There may be several floors and several of
 * uco: their names begin with "floor" and "uco", and all others are peers.
 */
void bench_compare_peers(const char *what, const struct bench_metric metrics[], size_t metric_count,
                         const struct bench_subject subjects[], size_t subject_count,
                         const void *arg);

/** The next comparison alone takes no more rounds than that: for one whose rounds take long. */
void bench_rounds_at_most(unsigned rounds);

/** main()'s result: 0, or 1 when anything was wrong. */
int bench_end(void);

/** How many processors this process may use. */
unsigned bench_places(void);

/** Pins the calling thread to one of them; they are counted round and round. */
void bench_pin(unsigned place);

/** CLOCK_MONOTONIC, in nanoseconds. */
uint64_t bench_clock(void);

/** Waits for another thread a moment; `turn` counts the waits in a row. Lets others run now and
 * then. */
void bench_relax(unsigned turn);

/** Sorts, for bench_quantile() and medians. */
void bench_sort(double values[], size_t count);

/** Of sorted values, the one that `part` (0 to 1) of them lie below. */
double bench_quantile(const double values[], size_t count, double part);

/** What a benchmark cannot go on without. The size must not be 0. */
void *bench_allocate(size_t size);
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
