/* SPDX-License-Identifier: MIT */

/*
 * Loops: making, running, stopping and closing them; callbacks, timers and watchers.
 *
 * 1. What was accepted is called once, or dropped by the loop's close; what was refused never.
 * 2. Closing a loop succeeds, whatever is left in it.
 */

#include "scenarios.h"

#include <fcntl.h>
#include <unistd.h>

static void
callback_counts(void *arg)
{
    ++*(int *) arg;
}

static void
callback_stops(void *arg)
{
    uco_loop_stop(arg);
}

static intptr_t
body_sleeps(void *arg)
{
    (void) arg;
    SURE(uco_sleep(0.001));
    return 7;
}

/* Running */

static void
loop_forever(uco_loop *loop)
{
    int called = 0, accepted = 0;
    uco_post post = {.callback = callback_counts, .arg = &called};
    uco_timer timer;

    accepted += MAY(uco_loop_call_soon(loop, callback_counts, &called), ENOMEM) == 0;
    accepted += MAY(uco_loop_call_soon_threadsafe(loop, callback_counts, &called), ENOMEM) == 0;
    accepted += SURE(uco_loop_post(loop, &post)) == 0;
    MUST(uco_loop_post(loop, &post) == 1);
    MADE(timer, uco_loop_call_later(loop, 0.002, callback_stops, loop), ENOMEM);
    if (timer == 0)
        uco_loop_stop(loop);
    SURE(uco_loop_run_forever(loop));
    MUST(called == accepted);
}

static void
loop_wakes(uco_loop *loop)
{
    int called = 0;

    SURE(uco_loop_set_wake_callback(loop, callback_counts, &called));
    SURE(uco_wake_from_signal(loop));
    uco_loop_stop(loop);
    SURE(uco_loop_run_forever(loop));
    SURE(uco_loop_set_wake_callback(loop, NULL, NULL));
    MUST(called == 1);
}

static void
loops_run(void)
{
    uco_loop *loop = torture_loop_new();
    intptr_t r;

    if (loop == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        r = MAY(uco_loop_run_until_complete(loop, body_sleeps, NULL), ENOMEM);
        MUST(r == 7 || r == -ENOMEM);
        loop_forever(loop);
        loop_wakes(loop);
    }
    SURE(uco_loop_close(loop));
    MUST(uco_loop_post(loop, &(uco_post){.callback = callback_counts}) == -ESHUTDOWN);
    uco_loop_unref(loop);
}

/* Callbacks and timers */

static void
callbacks_run(void)
{
    uco_loop *loop = uco_get_running_loop();
    int called = 0, accepted = 0;
    uco_timer timers[40], never;

    for (int i = 0; i < 40; i++) {
        accepted += MAY(uco_loop_call_soon(loop, callback_counts, &called), ENOMEM) == 0;
        MADE(timers[i],
             i % 2 == 0 ? uco_loop_call_later(loop, i, callback_counts, &called)
                        : uco_loop_call_at(loop, uco_time() + 0.5, callback_counts, &called),
             ENOMEM);
    }
    MADE(never, uco_loop_call_later(loop, UCO_FOREVER, callback_counts, &called), ENOMEM);
    for (int i = 0; i < 40; i++) {
        if (timers[i] != 0 && i % 4 == 3)
            SURE(uco_timer_cancel(loop, timers[i]));
        else
            accepted += timers[i] != 0;
    }
    SURE(uco_sleep(100));
    MUST(called == accepted);
    if (never != 0)
        SURE(uco_timer_cancel(loop, never));
}

/* Watchers */

struct watch {
    int ends[2];
    int read;
    int written;
};

static void
watch_reads(void *arg)
{
    struct watch *watch = arg;
    char byte;

    while (read(watch->ends[0], &byte, 1) == 1)
        watch->read++;
}

static void
watch_writes(void *arg)
{
    struct watch *watch = arg;

    if (write(watch->ends[1], "x", 1) == 1)
        watch->written++;
    SURE(uco_loop_remove_writer(uco_get_running_loop(), watch->ends[1]));
}

static void
watches_run(void)
{
    uco_loop *loop = uco_get_running_loop();
    struct watch watch = {.read = 0};
    bool reads, writes;

    MUST(pipe2(watch.ends, O_CLOEXEC | O_NONBLOCK) == 0);
    reads = MAY(uco_loop_add_reader(loop, watch.ends[0], watch_reads, &watch), ENOMEM, ENOSPC,
                THE_ERROR) == 0;
    writes = MAY(uco_loop_add_writer(loop, watch.ends[1], watch_writes, &watch), ENOMEM, ENOSPC,
                 THE_ERROR) == 0;
    SURE(uco_sleep(0.001));
    SURE(uco_test_settle());
    MUST(watch.written == writes || !torture_clean());
    if (watch.written < writes)
        SURE(uco_loop_remove_writer(loop, watch.ends[1]));
    MUST(uco_loop_remove_writer(loop, watch.ends[1]) == -ENOENT);
    SURE(uco_sleep(0.001));
    MUST(watch.read == watch.written || !reads || !torture_clean());
    if (reads)
        SURE(uco_loop_remove_reader(loop, watch.ends[0]));
    close(watch.ends[0]);
    close(watch.ends[1]);
}

/* Closing */

static intptr_t
body_forever(void *arg)
{
    (void) arg;
    return uco_sleep(UCO_FOREVER);
}

static intptr_t
body_leaves_much(void *arg)
{
    const int *ends = arg;
    uco_loop *loop = uco_get_running_loop();
    static int called;
    uco_task *task;
    uco_timer timer;

    for (int i = 0; i < 5; i++) {
        MADE(task, uco_create_task(body_forever, NULL), ENOMEM);
        if (task != NULL)
            SURE(uco_detach(task));
        uco_unref(task);
        MADE(timer, uco_loop_call_later(loop, 10, callback_counts, &called), ENOMEM);
    }
    MAY(uco_loop_add_reader(loop, ends[0], callback_counts, &called), ENOMEM, ENOSPC, THE_ERROR);
    SURE(uco_yield());
    MAY(uco_loop_call_soon(loop, callback_stops, loop), ENOMEM);
    MAY(uco_loop_call_soon_threadsafe(loop, callback_stops, loop), ENOMEM);
    uco_loop_stop(loop);
    return uco_sleep(UCO_FOREVER);
}

static void
closes_run(void)
{
    uco_loop *loop = torture_loop_new();
    int ends[2], called = 0, accepted;
    intptr_t r;

    if (loop == NULL)
        return;
    MUST(pipe2(ends, O_CLOEXEC) == 0);
    r = uco_loop_run_until_complete(loop, body_leaves_much, ends);
    MUST(r == -EINTR || (r == -ENOMEM && !torture_clean()));
    accepted = MAY(uco_loop_call_soon_threadsafe(loop, callback_counts, &called), ENOMEM) == 0;
    SURE(uco_loop_close(loop));
    MUST(called == accepted);
    uco_loop_unref(loop);
    close(ends[0]);
    close(ends[1]);
    /* Nobody closes this one but its last reference. */
    loop = torture_loop_new();
    if (loop != NULL)
        MAY(uco_loop_call_soon(loop, callback_counts, &called), ENOMEM);
    uco_loop_unref(loop);
}

const struct scenario torture_loops = {
    .name = "loops", .run = loops_run, .outside = true, .real = true};
const struct scenario torture_callbacks = {.name = "callbacks", .run = callbacks_run};
const struct scenario torture_watches = {.name = "watches", .run = watches_run};
const struct scenario torture_closes = {.name = "closes", .run = closes_run, .outside = true};
