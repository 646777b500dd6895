/* SPDX-License-Identifier: MIT */

/*
 * What bench_memory measures, with State Threads: joinable threads on stacks of 16 KiB, without
 * guards. Its arguments are "parked" and how many of them to park; it prints the bytes that each
 * takes, and the microseconds of its creation and of its end, and fails when its counts do not add
 * up.
 */

#include "../support/memory.h"

#include <st.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STACK_BYTES = 16 * 1024 };

static struct {
    st_cond_t release;
    size_t arrived;
    size_t ended;
} crowd;

static double
seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void *
parked(void *arg)
{
    (void) arg;
    crowd.arrived++;
    st_cond_wait(crowd.release);
    crowd.ended++;
    return NULL;
}

static int
measure(size_t count)
{
    st_thread_t *threads = malloc(count * sizeof *threads);
    double start, full, began, created, torn;

    if (threads == NULL)
        return 1;
    memset(threads, 0xff, count * sizeof *threads);
    crowd.release = st_cond_new();
    start = memory_taken();
    began = seconds();
    for (size_t i = 0; i < count; i++) {
        threads[i] = st_thread_create(parked, NULL, 1, STACK_BYTES);
        if (threads[i] == NULL) {
            perror("st_thread_create");
            return 1;
        }
    }
    while (crowd.arrived < count)
        st_usleep(0);
    created = seconds() - began;
    full = memory_taken();

    began = seconds();
    st_cond_broadcast(crowd.release);
    for (size_t i = 0; i < count; i++)
        st_thread_join(threads[i], NULL);
    torn = seconds() - began;
    free(threads);
    if (crowd.arrived != count || crowd.ended != count) {
        fprintf(stderr, "%zu came and %zu left of %zu\n", crowd.arrived, crowd.ended, count);
        return 1;
    }
    printf("%f %f %f\n", (full - start) / (double) count, created * 1e6 / (double) count,
           torn * 1e6 / (double) count);
    return 0;
}

int
main(int argc, char **argv)
{
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

    if (count == 0 || strcmp(argv[1], "parked") != 0) {
        fprintf(stderr, "usage: memory_st parked COUNT\n");
        return 2;
    }
    if (st_set_eventsys(ST_EVENTSYS_ALT) < 0 || st_init() < 0) {
        perror("st_init");
        return 1;
    }
    return measure(count);
}
