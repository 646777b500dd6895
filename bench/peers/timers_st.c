/* SPDX-License-Identifier: MIT */

/*
 * What bench_timers measures, with State Threads, on stacks of 16 KiB. Its arguments are a row's
 * name and how many sleeps. It prints the row's numbers, and fails when its counts do not add up.
 */

#include "timers.h"

#include <st.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { STACK_BYTES = 16 * 1024 };

static struct {
    st_cond_t release;
    st_thread_t home; /* asleep until the last one has ended */
    double *lateness;
    uint64_t max;
    size_t count;
    size_t started;
    size_t ended;
} crowd;

static void *
sleeper(void *arg)
{
    size_t index = (uintptr_t) arg;
    uint64_t length = timers_length(index, crowd.max), began;

    crowd.started++;
    st_cond_wait(crowd.release);
    began = timers_now();
    st_usleep(length);
    crowd.lateness[index] = timers_lateness(began, length);
    if (++crowd.ended == crowd.count)
        st_thread_interrupt(crowd.home);
    return NULL;
}

static void
crowd_run(void)
{
    uint64_t processor;
    double values[5];

    crowd.home = st_thread_self();
    crowd.release = st_cond_new();
    for (size_t i = 0; i < crowd.count; i++) {
        if (st_thread_create(sleeper, (void *) (uintptr_t) i, 0, STACK_BYTES) == NULL) {
            perror("st_thread_create");
            exit(1);
        }
    }
    while (crowd.started < crowd.count)
        st_usleep(0);
    processor = timers_processor();
    st_cond_broadcast(crowd.release);
    while (crowd.ended < crowd.count)
        st_usleep(ST_UTIME_NO_TIMEOUT);
    timers_summary(values, timers_processor() - processor, crowd.lateness, crowd.count);
    printf("%f %f %f %f %f\n", values[0], values[1], values[2], values[3], values[4]);
}

static void
short_run(void)
{
    double sum = 0;

    for (; crowd.ended < crowd.count; crowd.ended++) {
        uint64_t began = timers_now();

        if (st_usleep(TIMERS_SHORT_LENGTH) < 0)
            return;
        sum += timers_lateness(began, TIMERS_SHORT_LENGTH);
    }
    printf("%f\n", sum / (double) crowd.count);
}

static bool
crowd_init(size_t count, uint64_t max)
{
    crowd.count = count;
    crowd.max = max;
    crowd.lateness = malloc(count * sizeof *crowd.lateness);
    if (crowd.lateness == NULL || st_set_eventsys(ST_EVENTSYS_ALT) < 0 || st_init() < 0)
        return false;
    memset(crowd.lateness, 0xff, count * sizeof *crowd.lateness);
    return true;
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
        uint64_t max;
    } rows[] = {
        {"crowd", crowd_run, TIMERS_SLEEP_MAX},
        {"crowd-quick", crowd_run, TIMERS_SLEEP_MAX_QUICK},
        {"short", short_run, 0},
    };
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

    for (size_t i = 0; count > 0 && i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(argv[1], rows[i].name) != 0)
            continue;
        if (!crowd_init(count, rows[i].max))
            return 1;
        rows[i].run();
        if (crowd.ended == count)
            return 0;
        fprintf(stderr, "%zu sleeps instead of %zu\n", crowd.ended, count);
        return 1;
    }
    fprintf(stderr, "usage: timers_st ROW COUNT\n");
    return 2;
}
