/* SPDX-License-Identifier: MIT */

/*
 * What bench_yield measures, with GNU Pth. Its arguments are how many threads there are and how
 * many laps to measure; it prints nanoseconds per switch, and fails when its counts do not add up.
 *
 * Pth promises no order: a thread's priority grows with the time that it has waited. So what is
 * measured are the yields that all of them made while the first one made its laps.
 */

#include "clock.h"

#include <pth.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARM_LAPS = 2, STACK_BYTES = 64 * 1024 };

static struct {
    size_t runners;
    size_t laps;
    size_t yields; /* of all */
    size_t finished;
    uint64_t took;
    size_t switches; /* meanwhile */
} course;

static void
yield(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        course.yields++;
        pth_yield(NULL);
    }
}

static void *
run(void *first)
{
    uint64_t began;
    size_t before;

    yield(WARM_LAPS);
    before = course.yields;
    began = clock_read();
    yield(course.laps);
    if (first != NULL) {
        course.took = clock_read() - began;
        course.switches = course.yields - before;
    }
    course.finished++;
    return NULL;
}

static int
measure(void)
{
    pth_t *threads = calloc(course.runners, sizeof(pth_t));
    size_t expected = course.runners * (WARM_LAPS + course.laps);
    pth_attr_t attributes;

    if (threads == NULL || !pth_init())
        return 1;
    attributes = pth_attr_new();
    pth_attr_set(attributes, PTH_ATTR_STACK_SIZE, (unsigned int) STACK_BYTES);
    for (size_t i = 0; i < course.runners; i++) {
        threads[i] = pth_spawn(attributes, run, i == 0 ? &course : NULL);
        if (threads[i] == NULL) {
            perror("creating a thread");
            return 1;
        }
    }
    for (size_t i = 0; i < course.runners; i++)
        pth_join(threads[i], NULL);
    if (course.finished != course.runners || course.yields != expected) {
        fprintf(stderr, "%zu yields instead of %zu\n", course.yields, expected);
        return 1;
    }
    printf("%f\n", (double) course.took / (double) course.switches);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 3) {
        course.runners = strtoul(argv[1], NULL, 10);
        course.laps = strtoul(argv[2], NULL, 10);
    }
    if (course.runners == 0 || course.laps == 0) {
        fprintf(stderr, "usage: yield_pth THREADS LAPS\n");
        return 2;
    }
    return measure();
}
