/* SPDX-License-Identifier: MIT */

/*
 * What bench_timers measures, with libuv's callbacks. Its arguments are a row's name and how
 * many timers. libuv counts milliseconds: a length is
 * rounded up. It prints the row's numbers, and fails when its counts do not add up.
 */

#include "timers.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

static struct {
    uv_loop_t loop;
    uv_timer_t *timers;
    uint64_t *began;
    double *lateness;
    uint64_t max;
    size_t count;
    size_t ended;
} crowd;

static uint64_t
milliseconds(uint64_t microseconds)
{
    return (microseconds + 999) / 1000;
}

/* Reads the clock first, as a sleep does elsewhere: libuv measures from when its loop last did. */
static void
timer_begin(size_t index, uint64_t length, uv_timer_cb callback)
{
    uv_update_time(&crowd.loop);
    crowd.began[index] = timers_now();
    uv_timer_start(&crowd.timers[index], callback, milliseconds(length), 0);
}

static void
crowd_wake(uv_timer_t *timer)
{
    size_t index = (size_t) (timer - crowd.timers);

    crowd.lateness[index] = timers_lateness(crowd.began[index], timers_length(index, crowd.max));
    crowd.ended++;
}

static void
crowd_run(void)
{
    uint64_t processor = timers_processor();
    double values[5];

    for (size_t i = 0; i < crowd.count; i++)
        timer_begin(i, timers_length(i, crowd.max), crowd_wake);
    uv_run(&crowd.loop, UV_RUN_DEFAULT);
    timers_summary(values, timers_processor() - processor, crowd.lateness, crowd.count);
    printf("%f %f %f %f %f\n", values[0], values[1], values[2], values[3], values[4]);
}

static void
pairs_pass(void)
{
    for (size_t i = 0; i < crowd.count; i++)
        uv_timer_start(&crowd.timers[i], crowd_wake, milliseconds(timers_arm_length(i)), 0);
    for (size_t i = 0; i < crowd.count; i++)
        crowd.ended +=
            uv_is_active((uv_handle_t *) &crowd.timers[i]) && uv_timer_stop(&crowd.timers[i]) == 0;
}

static void
pairs_run(void)
{
    uint64_t began;

    pairs_pass();
    crowd.ended = 0;
    began = timers_now();
    pairs_pass();
    printf("%f\n", (double) (timers_now() - began) / (double) crowd.count);
}

static void
short_wake(uv_timer_t *timer)
{
    (void) timer;
    crowd.lateness[crowd.ended++] = timers_lateness(crowd.began[0], TIMERS_SHORT_LENGTH);
    if (crowd.ended < crowd.count)
        timer_begin(0, TIMERS_SHORT_LENGTH, short_wake);
}

static void
short_run(void)
{
    double sum = 0;

    timer_begin(0, TIMERS_SHORT_LENGTH, short_wake);
    uv_run(&crowd.loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < crowd.count; i++)
        sum += crowd.lateness[i];
    printf("%f\n", sum / (double) crowd.count);
}

static bool
crowd_init(size_t count, uint64_t max)
{
    crowd.count = count;
    crowd.max = max;
    crowd.timers = calloc(count, sizeof *crowd.timers);
    crowd.began = malloc(count * sizeof *crowd.began);
    crowd.lateness = malloc(count * sizeof *crowd.lateness);
    if (crowd.timers == NULL || crowd.began == NULL || crowd.lateness == NULL ||
        uv_loop_init(&crowd.loop) != 0)
        return false;
    memset(crowd.began, 0xff, count * sizeof *crowd.began);
    memset(crowd.lateness, 0xff, count * sizeof *crowd.lateness);
    for (size_t i = 0; i < count; i++)
        uv_timer_init(&crowd.loop, &crowd.timers[i]);
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
        {"pairs", pairs_run, 0},
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
        fprintf(stderr, "%zu timers instead of %zu\n", crowd.ended, count);
        return 1;
    }
    fprintf(stderr, "usage: timers_libuv ROW COUNT\n");
    return 2;
}
