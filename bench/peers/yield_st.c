/* SPDX-License-Identifier: MIT */

/*
 * What bench_yield measures, with State Threads. Its arguments are how many threads there are and
 * how many laps to measure; it prints nanoseconds per switch, and fails when its counts do not add
 * up, or the threads do not end in the order in which they began.
 *
 * State Threads 1.9 has no yield. st_usleep(0) sorts each thread into the timers and makes a system
 * call a lap. Conditions do better: a thread wakes the only one that waits, which lines up behind
 * all others, and waits in its place. Each has a condition of its own: signalling one passes over
 * all that have been woken and have not run yet.
 */

#include "clock.h"

#include <st.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARM_LAPS = 2, STACK_BYTES = 64 * 1024 };

static struct {
    size_t runners;
    size_t laps;
    uint64_t began;
    uint64_t ended;
    size_t finished;
    size_t yields;
    bool wrong;
    st_cond_t waiting; /* the last one's to yield; NULL: there was none, or it is awake */
} course;

static void
wake(void)
{
    if (course.waiting != NULL)
        st_cond_signal(course.waiting);
    course.waiting = NULL;
}

static void
yield(st_cond_t own)
{
    wake();
    course.waiting = own;
    if (st_cond_wait(own) != 0)
        course.wrong = true;
}

static void *
run(void *arg)
{
    size_t index = (uintptr_t) arg;
    st_cond_t own = st_cond_new();
    size_t yields = 0;

    for (; yields < WARM_LAPS; yields++)
        yield(own);
    if (index == 0)
        course.began = clock_read();
    for (; yields < WARM_LAPS + course.laps; yields++)
        yield(own);
    if (index == 0)
        course.ended = clock_read();
    course.yields += yields;
    if (course.finished++ != index)
        course.wrong = true;
    wake();
    st_cond_destroy(own);
    return NULL;
}

static int
measure(void)
{
    st_thread_t *threads = calloc(course.runners, sizeof(st_thread_t));
    size_t expected = course.runners * (WARM_LAPS + course.laps);

    if (threads == NULL || st_init() != 0)
        return 1;
    st_randomize_stacks(1); /* or they would all begin at the same cache lines */
    for (size_t i = 0; i < course.runners; i++) {
        threads[i] = st_thread_create(run, (void *) (uintptr_t) i, 1, STACK_BYTES);
        if (threads[i] == NULL) {
            perror("creating a thread");
            return 1;
        }
    }
    for (size_t i = 0; i < course.runners; i++)
        st_thread_join(threads[i], NULL);
    if (course.wrong || course.finished != course.runners || course.yields != expected) {
        fprintf(stderr, "%zu yields instead of %zu, or another order\n", course.yields, expected);
        return 1;
    }
    printf("%f\n",
           (double) (course.ended - course.began) / (double) (course.runners * course.laps));
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
        fprintf(stderr, "usage: yield_st THREADS LAPS\n");
        return 2;
    }
    return measure();
}
