/* SPDX-License-Identifier: MIT */
/*
 * The loop: the order of callbacks and timers, running and stopping, clocks, seeds, reports, posts
 * and wakes.
 *
 * Most tests drive a loop by turns instead of waiting: turn() is uco_loop_stop() before a run,
 * which is one turn exactly.
 */
#include "../support/support.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct trace trace;

static void
trace_reset(void)
{
    memset(&trace, 0, sizeof trace);
}

static void
note(void *letter)
{
    trace_add(&trace, (char) (intptr_t) letter);
}

#define LETTER(c) ((void *) (intptr_t) (c))

static void
stop_running_loop(void *arg)
{
    (void) arg;
    uco_loop_stop(uco_get_running_loop());
}

static void
turn(uco_loop *loop)
{
    uco_loop_stop(loop);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
}

static uco_loop *
loop_with_clock(enum uco_clock clock)
{
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = clock});

    ck_assert_ptr_nonnull(loop);
    return loop;
}

static void
loop_end(uco_loop *loop)
{
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}

static uco_loop_stats
stats_of(uco_loop *loop)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(loop, &stats), 0);
    return stats;
}

/* Callbacks */

static void
note_a_and_queue_c(void *arg)
{
    (void) arg;
    note(LETTER('A'));
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), note, LETTER('C')), 0);
}

/* L1: call_soon is FIFO, and what a callback queues waits for the next turn. */
START_TEST(callbacks_run_in_order_and_what_they_queue_in_the_next_turn)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(uco_loop_call_soon(loop, note_a_and_queue_c, NULL), 0);
    ck_assert_int_eq(uco_loop_call_soon(loop, note, LETTER('B')), 0);
    turn(loop);
    ck_assert_str_eq(trace.text, "AB");
    turn(loop);
    ck_assert_str_eq(trace.text, "ABC");
    loop_end(loop);
}
END_TEST

static intptr_t
mixes_soon_and_threadsafe(void *arg)
{
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    uco_loop_call_soon(loop, note, LETTER('A'));
    uco_loop_call_soon_threadsafe(loop, note, LETTER('B'));
    uco_loop_call_soon(loop, note, LETTER('C'));
    uco_loop_call_soon_threadsafe(loop, note, LETTER('D'));
    return uco_sleep(1.0);
}

/* L2: from the loop's own thread both kinds keep their relative order. */
START_TEST(threadsafe_posts_of_the_loops_thread_keep_their_place)
{
    ck_assert_int_eq(run_virtual(mixes_soon_and_threadsafe, NULL), 0);
    ck_assert_str_eq(trace.text, "ABCD");
}
END_TEST

static intptr_t
queues_then_yields(void *arg)
{
    (void) arg;
    uco_loop_call_soon(uco_get_running_loop(), note, LETTER('A'));
    ck_assert_int_eq(uco_sleep(0), 0);
    ck_assert_str_eq(trace.text, "A");
    return 0;
}

/* L16: sleep(0) yields once, and what was queued before it has run when it returns. */
START_TEST(sleep_zero_lets_a_queued_callback_run_first)
{
    ck_assert_int_eq(run_virtual(queues_then_yields, NULL), 0);
}
END_TEST

static void
cannot_suspend(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_sleep(1.0), -EPERM);
    ck_assert_int_eq(uco_yield(), -EPERM);
    ck_assert_int_eq(uco_test_settle(), -EPERM);
    ck_assert_ptr_null(uco_current_task());
    note(LETTER('A'));
}

START_TEST(a_callback_cannot_suspend)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(uco_loop_call_soon(loop, cannot_suspend, NULL), 0);
    turn(loop);
    ck_assert_str_eq(trace.text, "A");
    loop_end(loop);
}
END_TEST

START_TEST(callbacks_refuse_null)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(uco_loop_call_soon(NULL, note, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon(loop, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(NULL, note, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, NULL, NULL), -EINVAL);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_later(NULL, 1, note, NULL), 0);
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_at(loop, 1, NULL, NULL), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(uco_loop_set_wake_callback(NULL, note, NULL), -EINVAL);
    ck_assert_int_eq(uco_wake_from_signal(NULL), -EINVAL);
    loop_end(loop);
}
END_TEST

START_TEST(a_callback_that_gets_no_memory_is_refused)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    int soon, threadsafe;

    uco_test_fail("malloc", 1, true, ENOMEM);
    soon = uco_loop_call_soon(loop, note, LETTER('A'));
    threadsafe = uco_loop_call_soon_threadsafe(loop, note, LETTER('B'));
    uco_test_fail_off();
    turn(loop);
    /* A node kept from before may serve; but just what was accepted runs. */
    ck_assert(soon == 0 || soon == -ENOMEM);
    ck_assert(threadsafe == 0 || threadsafe == -ENOMEM);
    ck_assert_uint_eq(trace.size, (size_t) (soon == 0) + (size_t) (threadsafe == 0));
    loop_end(loop);
}
END_TEST

/* Timers */

/* L3: by time; equal times in the order of the calls; a negative delay is soon. */
START_TEST(timers_run_by_time_and_equal_ones_by_order)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_uint_ne(uco_loop_call_later(loop, 3.0, note, LETTER('E')), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, 2.0, note, LETTER('C')), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 2.0, note, LETTER('D')), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 1.0, note, LETTER('B')), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, -1.0, note, LETTER('A')), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_sleep_1s, NULL), 0);
    ck_assert_str_eq(trace.text, "AB");
    ck_assert_uint_ne(uco_loop_call_later(loop, 5.0, stop_running_loop, NULL), 0);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(trace.text, "ABCDE");
    loop_end(loop);
}
END_TEST

/* L3 */
START_TEST(timers_that_fell_due_together_run_by_time)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_MANUAL);
    int i;

    ck_assert_uint_ne(uco_loop_call_later(loop, 0.3, note, LETTER('C')), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 0.1, note, LETTER('A')), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 0.2, note, LETTER('B')), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, 0.3, note, LETTER('D')), 0);
    ck_assert_double_eq(uco_test_advance(loop, 1.0), 1.0);
    for (i = 0; i < 4; i++)
        turn(loop);
    ck_assert_str_eq(trace.text, "ABCD");
    loop_end(loop);
}
END_TEST

START_TEST(a_time_that_is_not_a_number_is_refused)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    errno = 0;
    ck_assert_uint_eq(uco_loop_call_later(loop, NAN, note, NULL), 0);
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_at(loop, NAN, note, NULL), 0);
    ck_assert_int_eq(errno, EINVAL);
    loop_end(loop);
}
END_TEST

/* L4: a cancelled timer does not run. */
START_TEST(a_cancelled_timer_does_not_run)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uco_timer timer = uco_loop_call_later(loop, 1.0, note, LETTER('A'));

    ck_assert_int_eq(uco_timer_cancel(loop, timer), 0);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), -EALREADY);
    uco_loop_call_later(loop, 2.0, stop_running_loop, NULL);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(trace.text, "");
    loop_end(loop);
}
END_TEST

static uco_timer due_too;

static void
note_and_cancel_the_other(void *letter)
{
    note(letter);
    ck_assert_int_eq(uco_timer_cancel(uco_get_running_loop(), due_too), 0);
}

/* L4: also when it was due already. */
START_TEST(a_timer_that_is_due_already_can_be_cancelled)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_MANUAL);

    uco_loop_call_later(loop, 1.0, note_and_cancel_the_other, LETTER('A'));
    due_too = uco_loop_call_later(loop, 1.0, note, LETTER('B'));
    uco_test_advance(loop, 2.0);
    turn(loop);
    turn(loop);
    ck_assert_str_eq(trace.text, "A");
    loop_end(loop);
}
END_TEST

/* L4: memory of cancelled timers is given back. */
START_TEST(cancelled_timers_are_not_kept)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uint64_t before = stats_of(loop).timers;
    uco_timer timers[1000];
    int i;

    for (i = 0; i < 1000; i++)
        timers[i] = uco_loop_call_later(loop, 1.0 + i, note, LETTER('A'));
    ck_assert_uint_eq(stats_of(loop).timers, before + 1000);
    for (i = 0; i < 1000; i++)
        ck_assert_int_eq(uco_timer_cancel(loop, timers[i]), 0);
    ck_assert_uint_eq(stats_of(loop).timers, before);
    loop_end(loop);
}
END_TEST

START_TEST(a_ticket_of_a_timer_that_ran_stays_stale)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uco_timer old = uco_loop_call_later(loop, 0, note, LETTER('A'));
    int i;

    turn(loop);
    for (i = 0; i < 100; i++) {
        uco_timer young = uco_loop_call_later(loop, 1.0, note, LETTER('B'));

        ck_assert_uint_ne(young, old);
        ck_assert_int_eq(uco_timer_cancel(loop, old), -EALREADY);
        ck_assert_int_eq(uco_timer_cancel(loop, young), 0);
    }
    ck_assert_str_eq(trace.text, "A");
    loop_end(loop);
}
END_TEST

START_TEST(what_never_was_a_ticket_is_refused)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uco_timer timer = uco_loop_call_later(loop, 1.0, note, NULL);

    ck_assert_int_eq(uco_timer_cancel(loop, 0), -EINVAL);
    ck_assert_int_eq(uco_timer_cancel(loop, UINT64_MAX), -EINVAL);
    ck_assert_int_eq(uco_timer_cancel(NULL, timer), -EINVAL);
    loop_end(loop);
}
END_TEST

START_TEST(a_timer_for_ever_has_a_good_ticket)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uco_timer timer = uco_loop_call_later(loop, UCO_FOREVER, note, LETTER('A'));

    ck_assert_uint_ne(timer, 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 1e9, stop_running_loop, NULL), 0);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(trace.text, "");
    ck_assert_int_eq(uco_timer_cancel(loop, timer), 0);
    loop_end(loop);
}
END_TEST

static intptr_t
cancelled_sleep_leaves_no_timer(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    uint64_t before = stats_of(loop).timers;
    uco_task *task = uco_create_task(body_sleep_1s, arg);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(stats_of(loop).timers, before + 1);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_uint_eq(stats_of(loop).timers, before);
    ck_assert_double_eq(uco_time(), 0.0);
    return 0;
}

/* L17: cancelling a sleep removes its timer. */
START_TEST(a_cancelled_sleep_leaves_no_timer)
{
    ck_assert_int_eq(run_virtual(cancelled_sleep_leaves_no_timer, NULL), 0);
}
END_TEST

static intptr_t
sleeps_a_few_times(void *arg)
{
    static const double naps[] = {1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
    uco_loop *loop = uco_get_running_loop();
    uint64_t turns = stats_of(loop).turns;
    size_t i;

    (void) arg;
    for (i = 0; i < COUNT(naps); i++) {
        double end = uco_time() + naps[i];

        ck_assert_int_eq(uco_sleep(naps[i]), 0);
        ck_assert_double_ge(uco_time(), end);
    }
    ck_assert_uint_le(stats_of(loop).turns - turns, 20);
    return 0;
}

/* L5: small sleeps take a few turns each: no busy waiting by rounding. */
START_TEST(small_sleeps_take_a_few_turns)
{
    ck_assert_int_eq(run_real(sleeps_a_few_times, NULL), 0);
}
END_TEST

/* Clocks */

START_TEST(outside_a_loop_the_time_is_the_monotonic_clocks)
{
    double before = real_time();
    double now = uco_time();

    ck_assert_double_ge(now, before);
    ck_assert_double_le(now, real_time());
}
END_TEST

static intptr_t
sees_time_jump(void *arg)
{
    (void) arg;
    ck_assert_double_eq(uco_time(), 0.0);
    ck_assert_int_eq(uco_sleep(86400.0), 0);
    ck_assert_double_eq(uco_time(), 86400.0);
    return 0;
}

START_TEST(the_virtual_clock_begins_at_zero_and_jumps)
{
    ck_assert_int_eq(run_virtual(sees_time_jump, NULL), 0);
}
END_TEST

static intptr_t
works_before_the_jump(void *arg)
{
    int ends[2], i;
    char c;

    (void) arg;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), 1.0, note, LETTER('T')), 0);
    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        ck_assert_int_eq(uco_poll(ends[0], POLLIN, UCO_FOREVER), POLLIN);
        ck_assert_int_eq(uco_read(ends[0], &c, 1), 1);
        ck_assert_int_eq(uco_yield(), 0);
    }
    ck_assert_double_eq(uco_time(), 0.0);
    uco_close(ends[0]);
    uco_close(ends[1]);
    return 0;
}

/* L20: time jumps only when all tasks are blocked and nothing is ready to be read. */
START_TEST(the_virtual_clock_waits_for_what_is_ready)
{
    ck_assert_int_eq(run_virtual(works_before_the_jump, NULL), 0);
    ck_assert_str_eq(trace.text, "");
}
END_TEST

static intptr_t
job_naps(void *arg)
{
    (void) arg;
    usleep(5000);
    return 0;
}

static intptr_t
waits_for_a_job(void *arg)
{
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), 0.001, note, LETTER('T')), 0);
    ck_assert_int_eq(uco_to_thread(job_naps, arg), 0);
    ck_assert_double_eq(uco_time(), 0.0);
    return 0;
}

/* L20: nor does it jump while a pool job runs. */
START_TEST(the_virtual_clock_waits_for_a_pool_job)
{
    ck_assert_int_eq(run_virtual(waits_for_a_job, NULL), 0);
    ck_assert_str_eq(trace.text, "");
}
END_TEST

START_TEST(the_manual_clock_moves_only_by_hand)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_MANUAL);
    uco_task *task = uco_run_coroutine_threadsafe(loop, body_sleep_1s, LETTER(7));
    int i;

    for (i = 0; i < 5; i++)
        turn(loop);
    ck_assert_double_eq(uco_test_advance(loop, 0.5), 0.5);
    for (i = 0; i < 5; i++)
        turn(loop);
    ck_assert(!uco_done(task));
    ck_assert_double_eq(uco_test_advance(loop, 0.5), 1.0);
    for (i = 0; i < 5; i++)
        turn(loop);
    ck_assert_int_eq(uco_result(task), 7);
    ck_assert_double_eq(uco_test_advance(loop, 0), 1.0);
    uco_unref(task);
    loop_end(loop);
}
END_TEST

START_TEST(the_manual_clock_refuses_what_it_cannot_do)
{
    uco_loop *manual = loop_with_clock(UCO_CLOCK_MANUAL);
    uco_loop *virtual = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uco_loop *real = loop_with_clock(UCO_CLOCK_REAL);

    ck_assert_double_nan(uco_test_advance(NULL, 1.0));
    ck_assert_double_nan(uco_test_advance(virtual, 1.0));
    ck_assert_double_nan(uco_test_advance(real, 1.0));
    ck_assert_double_nan(uco_test_advance(manual, -1.0));
    ck_assert_double_nan(uco_test_advance(manual, UCO_FOREVER));
    ck_assert_double_nan(uco_test_advance(manual, NAN));
    ck_assert_double_eq(uco_test_advance(manual, 0), 0.0);
    loop_end(manual);
    loop_end(virtual);
    loop_end(real);
}
END_TEST

START_TEST(the_manual_clock_belongs_to_the_loops_thread)
{
    uco_loop_thread *thread = uco_loop_thread_start(&(uco_loop_options){.clock = UCO_CLOCK_MANUAL});

    ck_assert_ptr_nonnull(thread);
    ck_assert_double_nan(uco_test_advance(uco_loop_thread_loop(thread), 1.0));
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
}
END_TEST

static intptr_t
yields_and_notes(void *letter)
{
    int i;

    for (i = 0; i < 10; i++)
        ck_assert_int_eq(uco_yield(), 0);
    uco_loop_call_soon(uco_get_running_loop(), note, letter);
    return uco_sleep(1.0);
}

static intptr_t
settles(void *arg)
{
    uco_task *tasks[2] = {
        uco_create_task(yields_and_notes, LETTER('A')),
        uco_create_task(yields_and_notes, LETTER('B')),
    };

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(trace.size, 2); /* in whatever order */
    ck_assert_double_eq(uco_time(), 0.0);
    ck_assert_int_eq(uco_gather(tasks, 2, NULL), 0);
    uco_unref_all(tasks, 2);
    return 0;
}

START_TEST(settle_waits_for_tasks_and_callbacks_but_not_for_time)
{
    ck_assert_int_eq(uco_test_settle(), -EPERM);
    ck_assert_int_eq(run_virtual(settles, NULL), 0);
}
END_TEST

static intptr_t
settles_cancelled(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    return uco_test_settle();
}

START_TEST(settle_is_cancelled_as_others_are)
{
    ck_assert_int_eq(run_virtual(settles_cancelled, NULL), -ECANCELED);
}
END_TEST

START_TEST(a_fault_must_be_known)
{
    ck_assert_int_eq(uco_test_fail(NULL, 1, false, EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("frobnicate", 1, false, EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, 0), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, -EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, 4096), -EINVAL);
}
END_TEST

START_TEST(the_nth_call_fails_and_only_that)
{
    int i, failed = 0;

    ck_assert_int_eq(uco_test_fail("epoll_create1", 2, false, EMFILE), 0);
    for (i = 0; i < 3; i++) {
        uco_loop *loop = uco_loop_new(&(uco_loop_options){.backend = UCO_BACKEND_EPOLL});

        ck_assert_int_eq(loop == NULL, i == 1);
        failed += loop == NULL;
        uco_loop_close(loop);
        uco_loop_unref(loop);
    }
    ck_assert_int_eq(failed, 1);
    ck_assert_int_eq(uco_test_fail("epoll_create1", 1, true, EMFILE), 0);
    ck_assert_int_eq(uco_test_fail("epoll_create1", 0, false, EMFILE), 0);
    loop_end(loop_with_clock(UCO_CLOCK_REAL));
}
END_TEST

/* Running and stopping */

START_TEST(run_returns_what_the_coroutine_returns)
{
    ck_assert_int_eq(uco_run(body_return, LETTER(42)), 42);
    ck_assert_int_eq(uco_run(body_return, LETTER(-EIO)), -EIO);
    ck_assert_int_eq(uco_run(NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_run_with(NULL, body_return, LETTER(42)), 42);
}
END_TEST

START_TEST(options_out_of_range_are_refused)
{
    const uco_loop_options bad[] = {
        {.clock = (enum uco_clock) 3},
        {.backend = (enum uco_backend) 3},
        {.spin = -1.0},
        {.spin = NAN},
        {.slow_callback = NAN},
        {.stack_size = 4096},
        {.stack_size = ((size_t) 1 << 30) + 1},
    };
    size_t i;

    for (i = 0; i < COUNT(bad); i++) {
        ck_assert_int_eq(uco_run_with(&bad[i], body_return, NULL), -EINVAL);
        errno = 0;
        ck_assert_ptr_null(uco_loop_new(&bad[i]));
        ck_assert_int_eq(errno, EINVAL);
    }
}
END_TEST

START_TEST(each_backend_works_or_says_that_it_is_not_there)
{
    uco_loop_options options = {.backend = UCO_BACKEND_EPOLL};
    intptr_t r;

    ck_assert_int_eq(uco_run_with(&options, body_return, LETTER(7)), 7);
    options.backend = UCO_BACKEND_IO_URING;
    r = uco_run_with(&options, body_return, LETTER(7));
    ck_assert(r == 7 || r == -ENOSYS);
    if (r == -ENOSYS) {
        ck_assert_ptr_null(uco_loop_new(&options));
        ck_assert_int_eq(errno, ENOSYS);
    }
}
END_TEST

static void
refuses_for_want_of(const char *what, int error)
{
    uco_loop_options options = {.backend = UCO_BACKEND_EPOLL};

    uco_test_fail(what, 1, true, error);
    ck_assert_int_eq(uco_run_with(&options, body_return, LETTER(7)), -error);
    errno = 0;
    ck_assert_ptr_null(uco_loop_new(&options));
    ck_assert_int_eq(errno, error);
    uco_test_fail_off();
    ck_assert_int_eq(uco_run_with(&options, body_return, LETTER(7)), 7);
}

START_TEST(a_loop_that_lacks_something_is_not_made)
{
    refuses_for_want_of("malloc", ENOMEM);
    refuses_for_want_of("epoll_create1", EMFILE);
    refuses_for_want_of("eventfd", ENFILE);
}
END_TEST

static void
record_turn_and_again(void *arg)
{
    int *count = arg;

    (*count)++;
    uco_loop_call_soon(uco_get_running_loop(), record_turn_and_again, count);
}

/* L6: stopped before it ran, a loop makes exactly one turn and does not wait. */
START_TEST(stop_before_running_gives_one_turn)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_REAL);
    int count = 0;

    uco_loop_call_later(loop, 3600.0, note, LETTER('A'));
    uco_loop_call_soon(loop, record_turn_and_again, &count);
    uco_loop_stop(loop);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_int_eq(count, 1);
    uco_loop_stop(NULL);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_stop(loop);
    uco_loop_unref(loop);
}
END_TEST

static void
stop_and_queue(void *arg)
{
    stop_running_loop(arg);
    uco_loop_call_soon(uco_get_running_loop(), note, LETTER('B'));
}

/* L7: the batch in which stop() came is finished, and the next one kept. */
START_TEST(stop_lets_the_turn_finish)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_REAL);

    uco_loop_call_soon(loop, stop_and_queue, NULL);
    uco_loop_call_soon(loop, note, LETTER('A'));
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(trace.text, "A");
    turn(loop);
    ck_assert_str_eq(trace.text, "AB");
    loop_end(loop);
}
END_TEST

static void *
stop_from_a_thread(void *loop)
{
    while (!uco_loop_is_running(loop))
        usleep(100);
    uco_loop_stop(loop);
    return NULL;
}

START_TEST(another_thread_can_stop_a_sleeping_loop)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_REAL);
    pthread_t thread;

    uco_loop_call_later(loop, 3600.0, note, LETTER('A'));
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_a_thread, loop), 0);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(trace.text, "");
    loop_end(loop);
}
END_TEST

static intptr_t
works_in_two_steps(void *arg)
{
    int *stage = arg;

    ck_assert_int_eq(uco_sleep(1.0), 0);
    *stage = 1;
    ck_assert_int_eq(uco_sleep(1.0), 0);
    *stage = 2;
    return 0;
}

/* L8: a stop during run_until_complete is told, and the task goes on in the next run. */
START_TEST(a_stopped_task_goes_on_when_the_loop_runs_again)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    int stage = 0;

    uco_loop_call_later(loop, 1.5, stop_running_loop, NULL);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, works_in_two_steps, &stage), -EINTR);
    ck_assert_int_eq(stage, 1);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_sleep_1s, LETTER(3)), 3);
    ck_assert_int_eq(stage, 2);
    loop_end(loop);
}
END_TEST

/* L9: a run that ended with an error leaves no stop behind for the next one. */
START_TEST(a_failed_run_leaves_no_stop_behind)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, LETTER(-EIO)), -EIO);
    uco_loop_call_later(loop, 1.0, note, LETTER('A'));
    uco_loop_call_later(loop, 2.0, stop_running_loop, NULL);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(trace.text, "A");
    loop_end(loop);
}
END_TEST

static void
nested_runs_are_refused(void *other)
{
    ck_assert_int_eq(uco_run(body_return, NULL), -EBUSY);
    ck_assert_int_eq(uco_run_with(NULL, body_return, NULL), -EBUSY);
    ck_assert_int_eq(uco_loop_run_until_complete(other, body_return, NULL), -EBUSY);
    ck_assert_int_eq(uco_loop_run_forever(other), -EBUSY);
    ck_assert_int_eq(uco_loop_run_forever(uco_get_running_loop()), -EBUSY);
    note(LETTER('A'));
}

static intptr_t
nests(void *other)
{
    nested_runs_are_refused(other);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), nested_runs_are_refused, other), 0);
    return uco_sleep(1.0);
}

/* L10: inside a running loop none can be run, neither it nor another. */
START_TEST(a_loop_does_not_run_inside_a_loop)
{
    uco_loop *other = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(run_virtual(nests, other), 0);
    ck_assert_str_eq(trace.text, "AA");
    loop_end(other);
}
END_TEST

START_TEST(running_refuses_null_and_memory_that_is_not_there)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(uco_loop_run_until_complete(NULL, body_return, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_run_forever(NULL), -EINVAL);
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, NULL), -ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, LETTER(7)), 7);
    loop_end(loop);
}
END_TEST

static intptr_t
asks_who_runs(void *loop)
{
    ck_assert(uco_loop_is_running(loop));
    ck_assert_ptr_eq(uco_get_running_loop(), loop);
    return 0;
}

START_TEST(a_loop_knows_whether_it_runs)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert(!uco_loop_is_running(NULL));
    ck_assert(!uco_loop_is_running(loop));
    ck_assert_ptr_null(uco_get_running_loop());
    ck_assert_int_eq(uco_loop_run_until_complete(loop, asks_who_runs, loop), 0);
    ck_assert(!uco_loop_is_running(loop));
    ck_assert_ptr_null(uco_get_running_loop());
    loop_end(loop);
    errno = 0;
    ck_assert_ptr_null(uco_loop_ref(NULL));
    ck_assert_int_eq(errno, EINVAL);
    uco_loop_unref(NULL);
}
END_TEST

START_TEST(a_running_loop_belongs_to_its_thread)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(thread);
    uco_loop_stats stats;

    ck_assert(uco_loop_is_running(loop));
    ck_assert_int_eq(uco_loop_call_soon(loop, note, NULL), -EPERM);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_later(loop, 0, note, NULL), 0);
    ck_assert_int_eq(errno, EPERM);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_at(loop, 0, note, NULL), 0);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(uco_timer_cancel(loop, 1), -EPERM);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, note, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_run_forever(loop), -EPERM);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, NULL), -EPERM);
    ck_assert_int_eq(uco_stats(loop, &stats), -EPERM);
    ck_assert_int_eq(uco_loop_close(loop), -EBUSY);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    ck_assert_str_eq(trace.text, "");
}
END_TEST

static intptr_t
waits_for_nobody(void *arg)
{
    uco_future *never = uco_future_new();
    intptr_t r = uco_await(never);

    (void) arg;
    uco_unref(never);
    return r;
}

START_TEST(a_program_whose_every_task_is_blocked_is_told)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    if (count_threads() > 1)
        return; /* ThreadSanitizer has a thread; for all the loop knows, it could wake us. */
    options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&options, waits_for_nobody, NULL), -EDEADLK);
}
END_TEST

/* Seeds */

static intptr_t
notes_its_letter(void *letter)
{
    note(letter);
    return 0;
}

static intptr_t
starts_eight(void *arg)
{
    uco_task *tasks[8];
    int i;

    (void) arg;
    for (i = 0; i < 8; i++)
        tasks[i] = uco_create_task(notes_its_letter, LETTER('A' + i));
    ck_assert_int_eq(uco_gather(tasks, 8, NULL), 0);
    uco_unref_all(tasks, 8);
    return 0;
}

static void
order_of_eight(uint64_t seed, char order[9])
{
    int i;

    trace_reset();
    ck_assert_int_eq(run_seeded(seed, starts_eight, NULL), 0);
    ck_assert_uint_eq(trace.size, 8);
    for (i = 0; i < 8; i++)
        ck_assert_ptr_nonnull(strchr(trace.text, 'A' + i));
    memcpy(order, trace.text, 9);
}

START_TEST(a_seed_repeats_its_order)
{
    char first[9], second[9];

    unsetenv("UCO_SEED");
    order_of_eight(0, first);
    ck_assert_str_eq(first, "ABCDEFGH");
    order_of_eight(12345, first);
    order_of_eight(12345, second);
    ck_assert_str_eq(first, second);
}
END_TEST

START_TEST(other_seeds_give_other_orders)
{
    char orders[20][9];
    int i, j, distinct = 0;

    for (i = 0; i < 20; i++) {
        order_of_eight((uint64_t) i + 1, orders[i]);
        for (j = 0; j < i && strcmp(orders[i], orders[j]) != 0; j++)
            ;
        distinct += j == i;
    }
    /* Of 40,320 orders, 20 random ones are nearly always different. */
    ck_assert_int_ge(distinct, 15);
}
END_TEST

START_TEST(the_environment_gives_the_seed_where_there_is_none)
{
    char from_option[9], from_environment[9];

    order_of_eight(77, from_option);
    ck_assert_int_eq(setenv("UCO_SEED", "77", 1), 0);
    order_of_eight(0, from_environment);
    unsetenv("UCO_SEED");
    ck_assert_str_eq(from_environment, from_option);
}
END_TEST

static intptr_t
queues_sixteen(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int i;

    (void) arg;
    for (i = 0; i < 8; i++)
        uco_loop_call_soon(loop, note, LETTER('A' + i));
    ck_assert_int_eq(uco_sleep(1.0), 0);
    for (i = 0; i < 8; i++)
        uco_loop_call_soon_threadsafe(loop, note, LETTER('a' + i));
    return uco_sleep(1.0);
}

START_TEST(a_seed_leaves_callbacks_and_posts_in_their_places)
{
    uint64_t seed;

    for (seed = 1; seed <= 5; seed++) {
        trace_reset();
        ck_assert_int_eq(run_seeded(seed, queues_sixteen, NULL), 0);
        ck_assert_str_eq(trace.text, "ABCDEFGHabcdefgh");
    }
}
END_TEST

/* Reports */

static intptr_t
loses_a_failure(void *arg)
{
    uco_task_options options = {.name = "loader"};
    uco_task *task = uco_create_task_with(&options, body_return, LETTER(-EIO));

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_unref(task);
    return uco_sleep(1.0);
}

/* L13: the handler gets what nobody looked at, with the task's name. */
START_TEST(the_exception_handler_is_told_of_a_lost_failure)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, loses_a_failure, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "loader"));
}
END_TEST

START_TEST(without_a_handler_a_report_is_one_line_on_stderr)
{
    int ends[2], saved = dup(2);
    char text[1024];
    ssize_t n;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], 2), 2);
    ck_assert_int_eq(run_virtual(loses_a_failure, NULL), 0);
    dup2(saved, 2);
    close(saved);
    close(ends[1]);
    n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_ptr_nonnull(strstr(text, "loader"));
    ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
}
END_TEST

static unsigned handler_calls;

static void
handler_that_loses_failures(const char *message, uco_task *task, void *arg)
{
    uco_task **another = arg;
    uco_task *lost = *another;

    (void) message, (void) task;
    handler_calls++;
    *another = NULL;
    uco_unref(lost);
}

static intptr_t
loses_two_failures(void *arg)
{
    uco_task **another = arg;
    uco_task *one = uco_create_task(body_return, LETTER(-EIO));

    *another = uco_create_task(body_return, LETTER(-EIO));
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_unref(one);
    return uco_sleep(1.0);
}

/* L13: a handler that itself causes reports does not stop the loop. */
START_TEST(a_handler_that_causes_reports_does_no_harm)
{
    uco_task *another = NULL;
    uco_loop_options options = {
        .clock = UCO_CLOCK_VIRTUAL,
        .exception_handler = handler_that_loses_failures,
        .exception_arg = &another,
    };

    ck_assert_int_eq(uco_run_with(&options, loses_two_failures, &another), 0);
    ck_assert_uint_ge(handler_calls, 1);
    ck_assert_uint_le(handler_calls, 2);
}
END_TEST

static void
hog(double seconds)
{
    double end = real_time() + seconds;

    while (real_time() < end)
        continue;
}

static intptr_t
hogs_the_loop(void *arg)
{
    hog(*(const double *) arg);
    return 0;
}

static intptr_t
runs_a_hog(void *seconds)
{
    uco_task_options options = {.name = "glutton"};
    uco_task *task = uco_create_task_with(&options, hogs_the_loop, seconds);

    return uco_join(task);
}

static bool
hog_is_reported(double seconds, double slow_callback, bool debug)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.clock = UCO_CLOCK_REAL;
    options.slow_callback = slow_callback;
    options.debug = debug;
    ck_assert_int_eq(uco_run_with(&options, runs_a_hog, &seconds), 0);
    return strstr(reports.all, "glutton") != NULL;
}

/* L14: who holds the loop for too long is reported by name. */
START_TEST(a_slow_task_is_reported_by_name)
{
    ck_assert(hog_is_reported(0.003, 0.001, false));
    ck_assert(!hog_is_reported(0.003, 60.0, false));
    ck_assert(!hog_is_reported(0.003, UCO_FOREVER, true));
}
END_TEST

/* L14: unasked, a tenth of a second is too long. */
START_TEST(by_default_a_tenth_of_a_second_is_too_long)
{
    ck_assert(hog_is_reported(0.12, 0, true));
    ck_assert(hog_is_reported(0.12, 0, false));
}
END_TEST

static void
slow_callback(void *arg)
{
    (void) arg;
    hog(0.003);
}

/* L14 */
START_TEST(a_slow_callback_is_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_loop *loop;

    options.clock = UCO_CLOCK_REAL;
    options.slow_callback = 0.001;
    loop = uco_loop_new(&options);
    uco_loop_call_soon(loop, slow_callback, NULL);
    turn(loop);
    ck_assert_uint_ge(reports.count, 1);
    loop_end(loop);
}
END_TEST

START_TEST(in_debug_mode_misuse_aborts)
{
    ck_assert_int_eq(setenv("UCO_DEBUG", "1", 1), 0);
    ck_assert_int_eq(close(2), 0);
    uco_sleep(1.0);
}
END_TEST

/* Posts and wakes */

static void
count_one(void *arg)
{
    ++*(int *) arg;
}

/* X10: a node that is queued already is merged. */
START_TEST(a_post_that_is_queued_already_is_merged)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    int count = 0;
    uco_post post = {.callback = count_one, .arg = &count};

    ck_assert_int_eq(uco_loop_post(loop, &post), 0);
    ck_assert_int_eq(uco_loop_post(loop, &post), 1);
    turn(loop);
    ck_assert_int_eq(count, 1);
    ck_assert_int_eq(uco_loop_post(loop, &post), 0);
    turn(loop);
    ck_assert_int_eq(count, 2);
    ck_assert_uint_ge(stats_of(loop).posts, 2);
    loop_end(loop);
}
END_TEST

struct repost {
    uco_post post;
    int left;
};

static void
post_again(void *arg)
{
    struct repost *repost = arg;

    note(LETTER('A'));
    if (--repost->left > 0)
        ck_assert_int_eq(uco_loop_post(uco_get_running_loop(), &repost->post), 0);
}

/* X10: and can be posted again from its own callback. */
START_TEST(a_post_can_be_posted_again_from_its_callback)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    struct repost repost = {.post = {.callback = post_again, .arg = &repost}, .left = 3};

    ck_assert_int_eq(uco_loop_post(loop, &repost.post), 0);
    uco_loop_call_later(loop, 1.0, stop_running_loop, NULL);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(trace.text, "AAA");
    loop_end(loop);
}
END_TEST

START_TEST(a_post_needs_no_memory_but_a_callback)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);
    uco_post empty = {0}, post = {.callback = note, .arg = LETTER('A')};

    ck_assert_int_eq(uco_loop_post(NULL, &post), -EINVAL);
    ck_assert_int_eq(uco_loop_post(loop, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_post(loop, &empty), -EINVAL);
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(uco_loop_post(loop, &post), 0);
    turn(loop);
    ck_assert_str_eq(trace.text, "A");
    uco_test_fail_off();
    loop_end(loop);
}
END_TEST

static uco_loop *signalled_loop;
static volatile sig_atomic_t wake_result, errno_after_wake;

static void
wake_on_signal(int signo)
{
    int saved_errno = errno;

    (void) signo;
    errno = 77;
    wake_result = uco_wake_from_signal(signalled_loop);
    errno_after_wake = errno;
    errno = saved_errno;
}

static void
wake_on(int signo, uco_loop *loop)
{
    signalled_loop = loop;
    ck_assert_int_eq(sigaction(signo, &(struct sigaction){.sa_handler = wake_on_signal}, NULL), 0);
}

static intptr_t
is_woken_by_a_signal(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int count = 0;

    (void) arg;
    wake_on(SIGUSR1, loop);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, count_one, &count), 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    while (count == 0)
        ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(count, 1);
    ck_assert_int_eq(errno_after_wake, 77);
    raise(SIGUSR1);
    while (count == 1)
        ck_assert_int_eq(uco_yield(), 0);
    return wake_result;
}

START_TEST(a_signal_handler_wakes_the_loop_once_for_several_wakes)
{
    ck_assert_int_eq(run_real(is_woken_by_a_signal, NULL), 0);
    signal(SIGUSR1, SIG_DFL);
}
END_TEST

static void *
signal_the_main_thread(void *main_thread)
{
    usleep(5000);
    pthread_kill(*(pthread_t *) main_thread, SIGUSR1);
    return NULL;
}

/* Woken wherever it is: usually in the kernel, waiting. */
START_TEST(a_signal_handler_wakes_a_sleeping_loop)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_REAL);
    pthread_t self = pthread_self(), thread;

    wake_on(SIGUSR1, loop);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, stop_running_loop, NULL), 0);
    uco_loop_call_later(loop, 3600.0, note, LETTER('A'));
    ck_assert_int_eq(pthread_create(&thread, NULL, signal_the_main_thread, &self), 0);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    pthread_join(thread, NULL);
    signal(SIGUSR1, SIG_DFL);
    loop_end(loop);
}
END_TEST

START_TEST(a_wake_without_a_callback_does_nothing)
{
    uco_loop *loop = loop_with_clock(UCO_CLOCK_REAL);
    int count = 0;

    ck_assert_int_eq(uco_wake_from_signal(loop), 0);
    turn(loop);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, count_one, &count), 0);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, NULL, NULL), 0);
    ck_assert_int_eq(uco_wake_from_signal(loop), 0);
    turn(loop);
    ck_assert_int_eq(count, 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_wake_from_signal(loop), -ESHUTDOWN);
    uco_loop_unref(loop);
}
END_TEST

static void *
resolve_soon(void *future)
{
    usleep(2000);
    uco_future_set_result(future, 5);
    return NULL;
}

static intptr_t
is_resolved_by_a_thread(void *arg)
{
    uco_future *future = uco_future_new();
    pthread_t thread;
    intptr_t r;

    (void) arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, resolve_soon, future), 0);
    r = uco_await(future);
    pthread_join(thread, NULL);
    uco_unref(future);
    return r;
}

START_TEST(a_loop_that_spins_hears_all_the_same)
{
    uco_loop_options options = {.spin = 0.0005};

    ck_assert_int_eq(uco_run_with(&options, is_resolved_by_a_thread, NULL), 5);
    options.spin = 60.0;
    ck_assert_int_eq(uco_run_with(&options, is_resolved_by_a_thread, NULL), 5);
}
END_TEST

/* Numbers */

static intptr_t
counts_itself(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    uco_loop_stats before = stats_of(loop), after;
    uco_task *task = uco_create_task(body_sleep_1s, arg);

    ck_assert_int_eq(uco_test_settle(), 0);
    after = stats_of(loop);
    ck_assert_uint_eq(after.tasks_created, before.tasks_created + 1);
    ck_assert_uint_eq(after.tasks, before.tasks + 1);
    ck_assert_uint_eq(after.timers, before.timers + 1);
    ck_assert_uint_gt(after.switches, before.switches);
    ck_assert_uint_ge(after.turns, before.turns);
    ck_assert_uint_eq(after.stacks_in_use, before.stacks_in_use + 1);
    ck_assert_uint_ge(after.stacks, after.stacks_in_use);
    ck_assert_uint_ge(after.stack_bytes, after.stacks_in_use * 120 * 1024);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_uint_eq(stats_of(loop).tasks, before.tasks);
    ck_assert_uint_eq(stats_of(loop).stacks_in_use, before.stacks_in_use);
    return 0;
}

START_TEST(the_numbers_of_a_loop_follow_what_it_does)
{
    uco_loop_stats stats;
    uco_loop *loop = loop_with_clock(UCO_CLOCK_VIRTUAL);

    ck_assert_int_eq(uco_stats(NULL, &stats), -EINVAL);
    ck_assert_int_eq(uco_stats(loop, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, counts_itself, NULL), 0);
    ck_assert_uint_ge(stats_of(loop).turns, stats_of(loop).polls);
    loop_end(loop);
}
END_TEST

static void
add_callbacks(Suite *suite)
{
    TCase *tc = case_new(suite, "callbacks");

    tcase_add_checked_fixture(tc, trace_reset, NULL);
    tcase_add_test(tc, callbacks_run_in_order_and_what_they_queue_in_the_next_turn);
    tcase_add_test(tc, threadsafe_posts_of_the_loops_thread_keep_their_place);
    tcase_add_test(tc, sleep_zero_lets_a_queued_callback_run_first);
    tcase_add_test(tc, a_callback_cannot_suspend);
    tcase_add_test(tc, callbacks_refuse_null);
    tcase_add_test(tc, a_callback_that_gets_no_memory_is_refused);
}

static void
add_timers(Suite *suite)
{
    TCase *tc = case_new(suite, "timers");

    tcase_add_checked_fixture(tc, trace_reset, NULL);
    tcase_add_test(tc, timers_run_by_time_and_equal_ones_by_order);
    tcase_add_test(tc, timers_that_fell_due_together_run_by_time);
    tcase_add_test(tc, a_time_that_is_not_a_number_is_refused);
    tcase_add_test(tc, a_cancelled_timer_does_not_run);
    tcase_add_test(tc, a_timer_that_is_due_already_can_be_cancelled);
    tcase_add_test(tc, cancelled_timers_are_not_kept);
    tcase_add_test(tc, a_ticket_of_a_timer_that_ran_stays_stale);
    tcase_add_test(tc, what_never_was_a_ticket_is_refused);
    tcase_add_test(tc, a_timer_for_ever_has_a_good_ticket);
    tcase_add_test(tc, a_cancelled_sleep_leaves_no_timer);
    tcase_add_test(tc, small_sleeps_take_a_few_turns);
}

static void
add_clocks(Suite *suite)
{
    TCase *tc = case_new(suite, "clocks and faults");

    tcase_add_checked_fixture(tc, trace_reset, NULL);
    tcase_add_test(tc, outside_a_loop_the_time_is_the_monotonic_clocks);
    tcase_add_test(tc, the_virtual_clock_begins_at_zero_and_jumps);
    tcase_add_test(tc, the_virtual_clock_waits_for_what_is_ready);
    tcase_add_test(tc, the_virtual_clock_waits_for_a_pool_job);
    tcase_add_test(tc, the_manual_clock_moves_only_by_hand);
    tcase_add_test(tc, the_manual_clock_refuses_what_it_cannot_do);
    tcase_add_test(tc, the_manual_clock_belongs_to_the_loops_thread);
    tcase_add_test(tc, settle_waits_for_tasks_and_callbacks_but_not_for_time);
    tcase_add_test(tc, settle_is_cancelled_as_others_are);
    tcase_add_test(tc, a_fault_must_be_known);
    tcase_add_test(tc, the_nth_call_fails_and_only_that);
}

static void
add_running(Suite *suite)
{
    TCase *tc = case_new(suite, "running");

    tcase_add_checked_fixture(tc, trace_reset, NULL);
    tcase_add_test(tc, run_returns_what_the_coroutine_returns);
    tcase_add_test(tc, options_out_of_range_are_refused);
    tcase_add_test(tc, each_backend_works_or_says_that_it_is_not_there);
    tcase_add_test(tc, a_loop_that_lacks_something_is_not_made);
    tcase_add_test(tc, stop_before_running_gives_one_turn);
    tcase_add_test(tc, stop_lets_the_turn_finish);
    tcase_add_test(tc, another_thread_can_stop_a_sleeping_loop);
    tcase_add_test(tc, a_stopped_task_goes_on_when_the_loop_runs_again);
    tcase_add_test(tc, a_failed_run_leaves_no_stop_behind);
    tcase_add_test(tc, a_loop_does_not_run_inside_a_loop);
    tcase_add_test(tc, running_refuses_null_and_memory_that_is_not_there);
    tcase_add_test(tc, a_loop_knows_whether_it_runs);
    tcase_add_test(tc, a_running_loop_belongs_to_its_thread);
    tcase_add_test(tc, a_program_whose_every_task_is_blocked_is_told);
    tcase_add_test(tc, the_numbers_of_a_loop_follow_what_it_does);
}

static void
add_seeds_and_reports(Suite *suite)
{
    TCase *tc = case_new(suite, "seeds and reports");

    tcase_add_checked_fixture(tc, trace_reset, NULL);
    tcase_add_test(tc, a_seed_repeats_its_order);
    tcase_add_test(tc, other_seeds_give_other_orders);
    tcase_add_test(tc, the_environment_gives_the_seed_where_there_is_none);
    tcase_add_test(tc, a_seed_leaves_callbacks_and_posts_in_their_places);
    tcase_add_test(tc, the_exception_handler_is_told_of_a_lost_failure);
    tcase_add_test(tc, without_a_handler_a_report_is_one_line_on_stderr);
    tcase_add_test(tc, a_handler_that_causes_reports_does_no_harm);
    tcase_add_test(tc, a_slow_task_is_reported_by_name);
    tcase_add_test(tc, by_default_a_tenth_of_a_second_is_too_long);
    tcase_add_test(tc, a_slow_callback_is_reported);
    tcase_add_test_raise_signal(tc, in_debug_mode_misuse_aborts, SIGABRT);
}

static void
add_posts(Suite *suite)
{
    TCase *tc = case_new(suite, "posts and wakes");

    tcase_add_checked_fixture(tc, trace_reset, NULL);
    tcase_add_test(tc, a_post_that_is_queued_already_is_merged);
    tcase_add_test(tc, a_post_can_be_posted_again_from_its_callback);
    tcase_add_test(tc, a_post_needs_no_memory_but_a_callback);
    tcase_add_test(tc, a_signal_handler_wakes_the_loop_once_for_several_wakes);
    tcase_add_test(tc, a_signal_handler_wakes_a_sleeping_loop);
    tcase_add_test(tc, a_wake_without_a_callback_does_nothing);
    tcase_add_test(tc, a_loop_that_spins_hears_all_the_same);
}

int
main(void)
{
    Suite *suite = suite_create("loop");

    add_callbacks(suite);
    add_timers(suite);
    add_clocks(suite);
    add_running(suite);
    add_seeds_and_reports(suite);
    add_posts(suite);
    return suite_end(suite);
}
