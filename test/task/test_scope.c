/* SPDX-License-Identifier: MIT */

/*
 * Scopes: deadlines, cancelling and shielding a stretch of a task, and what becomes of the result.
 */

#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

static void
run_manual(uco_fn *fn)
{
    uco_loop_options options = {.clock = UCO_CLOCK_MANUAL};

    ck_assert_int_eq(uco_run_with(&options, fn, NULL), 0);
}

/* Time that a task spends computing, on the manual clock. */
static void
compute(double seconds)
{
    ck_assert(!isnan(uco_test_advance(uco_get_running_loop(), seconds)));
}

static void
open_scope(uco_scope *s, double timeout)
{
    ck_assert_int_eq(uco_scope_open(s, timeout), 0);
}

static void
open_shield(uco_scope *s, double budget)
{
    ck_assert_int_eq(uco_shield_open(s, budget), 0);
}

static uint64_t
timers_pending(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.timers;
}

static intptr_t
sleep_in_scope(double timeout, double seconds)
{
    uco_scope s;

    open_scope(&s, timeout);
    return uco_scope_close(&s, uco_sleep(seconds));
}

static void
callback_cancel_scope(void *arg)
{
    ck_assert_int_eq(uco_scope_cancel(arg), 0);
}

/* The scope is cancelled at that time, unless the loop ends before. */
static void
cancel_scope_later(double seconds, uco_scope *s)
{
    ck_assert_uint_ne(
        uco_loop_call_later(uco_get_running_loop(), seconds, callback_cancel_scope, s), 0);
}

static void
callback_cancel_task(void *arg)
{
    ck_assert_int_eq(uco_cancel(arg), 0);
    uco_unref(arg);
}

/* The calling task is cancelled at that time. */
static void
cancel_me_later(double seconds)
{
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), seconds, callback_cancel_task,
                                          uco_ref(uco_current_task())),
                      0);
}

/* Runs fn as a child task, so that it may be cancelled, and gives its result. */
static intptr_t
in_child(uco_fn *fn)
{
    return uco_join(uco_create_task(fn, NULL));
}

static intptr_t
expiry_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert_int_eq(sleep_in_scope(1.0, 5.0), -ETIMEDOUT);
    assert_time(1.5);
    return 0;
}

/* O1: the deadline counts from the opening. */
START_TEST(a_deadline_cuts_a_call_short_and_the_close_tells)
{
    ck_assert_int_eq(run_virtual(expiry_main, NULL), 0);
}
END_TEST

static intptr_t
unused_deadline_main(void *arg)
{
    uint64_t before = timers_pending();

    (void) arg;
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(sleep_in_scope(1e6, 0.001), 0);
    ck_assert_uint_eq(timers_pending(), before);
    assert_time(1.0);
    return 0;
}

/* O1 */
START_TEST(a_deadline_that_does_not_expire_leaves_no_timer)
{
    ck_assert_int_eq(run_virtual(unused_deadline_main, NULL), 0);
}
END_TEST

static intptr_t
in_time_main(void *arg)
{
    static const intptr_t results[] = {0,          5,          INTPTR_MAX,    -EIO,
                                       -ETIMEDOUT, -ECANCELED, -UCO_MAX_ERROR};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_scope s;

        open_scope(&s, 1.0);
        ck_assert_int_eq(uco_sleep(0.5), 0);
        ck_assert_int_eq(uco_scope_close(&s, results[i]), results[i]);
    }
    return 0;
}

START_TEST(a_scope_that_cuts_nothing_short_leaves_every_result_alone)
{
    ck_assert_int_eq(run_virtual(in_time_main, NULL), 0);
}
END_TEST

static intptr_t
late_result_main(void *arg)
{
    static const intptr_t results[] = {0, 5, INTPTR_MAX, -EIO, -ETIMEDOUT, -UCO_MAX_ERROR};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_scope s;

        open_scope(&s, 1.0);
        ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
        ck_assert_int_eq(uco_scope_close(&s, results[i]), results[i]);
    }
    return 0;
}

/* O6: also the error of a clean-up after the expiry. */
START_TEST(after_the_deadline_any_other_result_stays_what_it_is)
{
    ck_assert_int_eq(run_virtual(late_result_main, NULL), 0);
}
END_TEST

static intptr_t
own_cancel_main(void *arg)
{
    uco_future *cancelled = uco_future_new();
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_cancel(cancelled), 0);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_await(cancelled), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ECANCELED);
    uco_unref(cancelled);
    return 0;
}

START_TEST(the_cancellation_of_what_was_awaited_is_no_timeout)
{
    ck_assert_int_eq(run_virtual(own_cancel_main, NULL), 0);
}
END_TEST

static intptr_t
nothing_cut_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    compute(2.0);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ECANCELED);
    open_scope(&s, 1.0);
    compute(2.0);
    ck_assert_int_eq(uco_scope_close(&s, 5), 5);
    open_scope(&s, UCO_FOREVER);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ECANCELED);
    return 0;
}

START_TEST(a_deadline_that_passed_without_cutting_a_call_short_changes_nothing)
{
    run_manual(nothing_cut_main);
}
END_TEST

static intptr_t
forever_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(sleep_in_scope(UCO_FOREVER, 1e9), 0);
    assert_time(1e9);
    return 0;
}

/* O4: no deadline. */
START_TEST(a_scope_may_have_no_deadline)
{
    ck_assert_int_eq(run_virtual(forever_main, NULL), 0);
}
END_TEST

static intptr_t
over_at_once_main(void *arg)
{
    static const double over[] = {0.0, -0.0, -1.0, -1e300, (double) -INFINITY};

    (void) arg;
    for (size_t i = 0; i < COUNT(over); i++) {
        uco_scope s;

        ck_assert_int_eq(sleep_in_scope(over[i], 1.0), -ETIMEDOUT);
        ck_assert_int_eq(sleep_in_scope(over[i], 0.0), -ETIMEDOUT);
        open_scope(&s, over[i]);
        ck_assert(uco_cancelled());
        ck_assert_int_eq(uco_scope_close(&s, uco_yield()), -ETIMEDOUT);
    }
    assert_time(0.0);
    return 0;
}

/* O4, O21: the first suspension fails, also one of no time. */
START_TEST(a_timeout_of_zero_or_less_is_over_at_once)
{
    ck_assert_int_eq(run_virtual(over_at_once_main, NULL), 0);
}
END_TEST

static intptr_t
nan_main(void *arg)
{
    uco_scope s = {{0}};

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, (double) NAN), -EINVAL);
    ck_assert_int_eq(uco_shield_open(&s, (double) NAN), -EINVAL);
    ck_assert_int_eq(uco_scope_close(&s, 0), -EINVAL);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_scope_reschedule(&s, (double) NAN), -EINVAL);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_time(1.0);
    return 0;
}

/* O21: not a number is refused, and changes nothing. */
START_TEST(a_timeout_must_be_a_number)
{
    ck_assert_int_eq(run_virtual(nan_main, NULL), 0);
}
END_TEST

static intptr_t
reschedule_main(void *arg)
{
    static const struct {
        double first, second, expiry;
    } cases[] = {
        {1.0, 3.0, 3.5}, {10.0, 1.0, 1.5}, {UCO_FOREVER, 2.0, 2.5},
        {1.0, 0.0, 0.5}, {1.0, -5.0, 0.5},
    };

    (void) arg;
    for (size_t i = 0; i < COUNT(cases); i++) {
        double start = uco_time();
        uco_scope s;

        open_scope(&s, cases[i].first);
        ck_assert_int_eq(uco_sleep(0.5), 0);
        ck_assert_int_eq(uco_scope_reschedule(&s, cases[i].second), 0);
        ck_assert_int_eq(uco_sleep(100.0), -ECANCELED);
        assert_time(start + cases[i].expiry);
        ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    }
    return 0;
}

/* O7: later, earlier, at last, at once. The time counts from the call. */
START_TEST(a_deadline_can_be_moved)
{
    ck_assert_int_eq(run_virtual(reschedule_main, NULL), 0);
}
END_TEST

static intptr_t
reschedule_never_main(void *arg)
{
    uint64_t before = timers_pending();
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_scope_reschedule(&s, UCO_FOREVER), 0);
    ck_assert_uint_eq(timers_pending(), before);
    ck_assert_int_eq(uco_sleep(100.0), 0);
    ck_assert_int_eq(uco_scope_close(&s, 3), 3);
    return 0;
}

/* O7 */
START_TEST(a_deadline_can_be_removed)
{
    ck_assert_int_eq(run_virtual(reschedule_never_main, NULL), 0);
}
END_TEST

static intptr_t
reschedule_late_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_reschedule(&s, 5.0), -EALREADY);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    open_scope(&s, 0.0);
    ck_assert_int_eq(uco_scope_reschedule(&s, 5.0), -EALREADY);
    ck_assert_int_eq(uco_scope_close(&s, uco_yield()), -ETIMEDOUT);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_scope_reschedule(&s, 5.0), -EALREADY);
    ck_assert_int_eq(uco_scope_close(&s, uco_yield()), 0);
    return 0;
}

/* O7: expired, expired from the beginning, cancelled. */
START_TEST(an_expired_deadline_cannot_be_moved)
{
    ck_assert_int_eq(run_virtual(reschedule_late_main, NULL), 0);
}
END_TEST

static intptr_t
reschedule_closed_main(void *arg)
{
    uco_scope s = {{0}};

    (void) arg;
    ck_assert_int_eq(uco_scope_reschedule(&s, 1.0), -EINVAL);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_scope_close(&s, 0), 0);
    ck_assert_int_eq(uco_scope_reschedule(&s, 1.0), -EINVAL);
    return 0;
}

/* O7: neither before it is open nor after. */
START_TEST(only_an_open_scope_has_a_deadline_to_move)
{
    ck_assert_int_eq(run_virtual(reschedule_closed_main, NULL), 0);
}
END_TEST

static intptr_t
reschedule_passed_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    compute(2.0);
    ck_assert_int_eq(uco_scope_reschedule(&s, 5.0), -EALREADY);
    ck_assert_int_eq(uco_scope_close(&s, uco_yield()), -ETIMEDOUT);
    return 0;
}

/* O7: no turn of the loop lies between the deadline and the call. */
START_TEST(a_deadline_that_passed_while_the_task_computed_cannot_be_moved)
{
    run_manual(reschedule_passed_main);
}
END_TEST

static intptr_t
reschedule_other(void *arg)
{
    ck_assert_int_eq(uco_sleep(0.5), 0);
    ck_assert_int_eq(uco_scope_reschedule(arg, 2.0), 0);
    return 0;
}

static void
callback_reschedule(void *arg)
{
    ck_assert_int_eq(uco_scope_reschedule(arg, 2.0), 0);
}

static intptr_t
reschedule_from_elsewhere_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    uco_unref(uco_create_task(reschedule_other, &s));
    uco_loop_call_later(uco_get_running_loop(), 2.0, callback_reschedule, &s);
    ck_assert_int_eq(uco_sleep(10.0), -ECANCELED);
    assert_time(4.0);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    return 0;
}

START_TEST(another_task_or_a_callback_can_move_a_deadline)
{
    ck_assert_int_eq(run_virtual(reschedule_from_elsewhere_main, NULL), 0);
}
END_TEST

static intptr_t
noticed_late_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    ck_assert(!uco_cancelled());
    compute(2.0);
    ck_assert(uco_cancelled());
    ck_assert_int_eq(uco_sleep(0.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    ck_assert(!uco_cancelled());
    return 0;
}

/* O20: the deadline passed while the task computed. */
START_TEST(the_next_call_notices_a_deadline_that_passed)
{
    run_manual(noticed_late_main);
}
END_TEST

static intptr_t
at_once_main(void *arg)
{
    uco_future *done = uco_future_new();
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_future_set_result(done, 9), 0);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_await(done), 9);
    compute(2.0);
    ck_assert_int_eq(uco_await(done), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    uco_unref(done);
    return 0;
}

/* O20: what could be had at once is cut short as well. */
START_TEST(a_call_that_could_finish_at_once_notices_a_deadline_that_passed)
{
    run_manual(at_once_main);
}
END_TEST

static intptr_t
several_passed_main(void *arg)
{
    uco_scope scopes[4];

    (void) arg;
    for (size_t i = 0; i < COUNT(scopes); i++)
        open_scope(&scopes[i], 4.0 - (double) i);
    compute(3.5);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scopes[3], -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scopes[2], -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scopes[1], -ECANCELED), -ETIMEDOUT);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_scope_close(&scopes[0], 0), 0);
    return 0;
}

START_TEST(of_several_deadlines_that_passed_the_outermost_one_tells)
{
    run_manual(several_passed_main);
}
END_TEST

static intptr_t
passed_in_turn_main(void *arg)
{
    uco_scope outer, inner;

    (void) arg;
    open_scope(&outer, 2.0);
    open_scope(&inner, 1.0);
    compute(1.5);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    compute(1.0);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

START_TEST(an_outer_deadline_that_passes_after_the_inner_one_takes_over)
{
    run_manual(passed_in_turn_main);
}
END_TEST

static intptr_t
same_instant_main(void *arg)
{
    uco_scope scopes[3];

    (void) arg;
    for (int i = 0; i < 3; i++)
        open_scope(&scopes[i], 1.0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    assert_time(1.0);
    ck_assert_int_eq(uco_scope_close(&scopes[2], -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scopes[1], -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scopes[0], -ECANCELED), -ETIMEDOUT);
    return 0;
}

START_TEST(of_deadlines_at_the_same_instant_the_outermost_one_tells)
{
    run_in_all_orders(same_instant_main, NULL);
}
END_TEST

static intptr_t
resolve_after_1s(void *arg)
{
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return uco_future_set_result(arg, 9);
}

static intptr_t
result_at_deadline_main(void *arg)
{
    uco_future *future = uco_future_new();
    uco_task *resolver = uco_create_task(resolve_after_1s, future);
    uco_scope s;
    intptr_t r;

    (void) arg;
    open_scope(&s, 1.0);
    r = uco_await(future);
    ck_assert(r == 9 || r == -ECANCELED);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, r), r == 9 ? 9 : -ETIMEDOUT);
    ck_assert_int_eq(uco_join(resolver), 0);
    ck_assert_int_eq(uco_result(future), 9);
    uco_unref(future);
    return 0;
}

START_TEST(a_result_at_the_instant_of_the_deadline_is_either_there_or_late)
{
    run_in_all_orders(result_at_deadline_main, NULL);
}
END_TEST

static intptr_t
join_in_scope_main(void *arg)
{
    uco_scope s;
    uco_task *task;

    (void) arg;
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_join(uco_create_task(body_sleep_forever, NULL)), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_time(1.0);

    open_scope(&s, 1.0);
    task = uco_create_task(body_sleep_forever, NULL);
    ck_assert_int_eq(uco_gather(&task, 1, NULL), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    assert_time(2.0);
    uco_unref(task);
    return 0;
}

START_TEST(a_deadline_reaches_what_completing_calls_wait_for)
{
    ck_assert_int_eq(run_virtual(join_in_scope_main, NULL), 0);
}
END_TEST

static intptr_t
nested_main(void *arg)
{
    uco_scope outer, inner;

    (void) arg;
    open_scope(&outer, 2.0);
    open_scope(&inner, 1.0);
    ck_assert_int_eq(uco_sleep(10.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ETIMEDOUT);
    assert_time(1.0);
    ck_assert(!uco_cancelled());
    open_scope(&inner, 100.0);
    ck_assert_int_eq(uco_sleep(10.0), -ECANCELED);
    assert_time(2.0);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    return 0;
}

START_TEST(the_scope_whose_deadline_expired_turns_the_result)
{
    ck_assert_int_eq(run_virtual(nested_main, NULL), 0);
}
END_TEST

static intptr_t
cancelled_in_timeout(void *arg)
{
    uco_scope s, shield;
    intptr_t r;

    (void) arg;
    cancel_me_later(1.5);
    open_scope(&s, 1.0);
    r = uco_sleep(10.0);
    ck_assert_int_eq(r, -ECANCELED);
    assert_time(1.0);
    open_shield(&shield, UCO_FOREVER);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    return uco_scope_close(&s, r);
}

static intptr_t
cancelled_in_timeout_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(in_child(cancelled_in_timeout), -ECANCELED);
    assert_time(2.0);
    return 0;
}

/* O10: the task's cancellation outranks the timeout that came before it. */
START_TEST(a_cancellation_inside_an_expired_timeout_is_a_cancellation)
{
    ck_assert_int_eq(run_virtual(cancelled_in_timeout_main, NULL), 0);
}
END_TEST

static intptr_t
cancelled_with_inner_timeout(void *arg)
{
    (void) arg;
    cancel_me_later(1.0);
    return sleep_in_scope(1.0, 10.0);
}

static intptr_t
cancelled_with_inner_timeout_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(in_child(cancelled_with_inner_timeout), -ECANCELED);
    assert_time(1.0);
    return 0;
}

/* O10 */
START_TEST(a_cancellation_at_the_instant_of_a_timeout_is_a_cancellation)
{
    run_in_all_orders(cancelled_with_inner_timeout_main, NULL);
}
END_TEST

static intptr_t
opened_twice_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, UCO_FOREVER);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_scope_close(&s, uco_sleep(5.0)), -ETIMEDOUT);
    ck_assert_int_eq(uco_scope_close(&s, 0), -EINVAL);
    return uco_sleep(1.0);
}

/* O11: the first ticket is lost, so its scope is one that was left open. */
START_TEST(opening_into_an_open_scope_leaves_the_first_one_to_the_tasks_end)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, opened_twice_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static void
callback_open(void *arg)
{
    uco_scope s = {{0}};
    bool *called = arg;

    ck_assert_int_eq(uco_scope_open(&s, 1.0), -EPERM);
    ck_assert_int_eq(uco_shield_open(&s, 1.0), -EPERM);
    ck_assert_int_eq(uco_with_timeout(1.0, body_return, NULL), -EPERM);
    *called = true;
}

static intptr_t
open_in_callback_main(void *arg)
{
    bool called = false;

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_open, &called), 0);
    while (!called)
        ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

/* O11: neither in a callback nor outside of a loop. */
START_TEST(only_a_coroutine_opens_scopes)
{
    bool called = false;

    ck_assert_int_eq(run_virtual(open_in_callback_main, NULL), 0);
    callback_open(&called);
}
END_TEST

static intptr_t
timed_out_inside(void *arg)
{
    (void) arg;
    ck_assert_int_eq(sleep_in_scope(1.0, 10.0), -ETIMEDOUT);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return 7;
}

static intptr_t
timed_out_inside_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(in_child(timed_out_inside), 7);
    assert_time(2.0);
    return 0;
}

/* O12 */
START_TEST(a_task_whose_inner_timeout_expired_is_itself_not_cancelled)
{
    ck_assert_int_eq(run_virtual(timed_out_inside_main, NULL), 0);
}
END_TEST

#define DEPTH 10000
static uco_scope deep[DEPTH];

static intptr_t
deep_main(void *arg)
{
    int depth = scaled(DEPTH);
    intptr_t r;

    (void) arg;
    open_scope(&deep[0], 1.0);
    for (int i = 1; i < depth; i++)
        open_scope(&deep[i], UCO_FOREVER);
    r = uco_sleep(UCO_FOREVER);
    for (int i = depth - 1; i > 0; i--) {
        r = uco_scope_close(&deep[i], r);
        ck_assert_int_eq(r, -ECANCELED);
    }
    ck_assert_int_eq(uco_scope_close(&deep[0], r), -ETIMEDOUT);
    assert_time(1.0);
    return 0;
}

/* K27 */
START_TEST(scopes_nest_10_000_deep)
{
    ck_assert_int_eq(run_virtual(deep_main, NULL), 0);
}
END_TEST

static intptr_t
deep_deadlines_main(void *arg)
{
    int depth = scaled(DEPTH);
    uint64_t before = timers_pending();

    (void) arg;
    for (int i = 0; i < depth; i++)
        open_scope(&deep[i], depth - i);
    for (int i = depth - 1; i >= 0; i--) {
        ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
        assert_time(depth - i);
        ck_assert_int_eq(uco_scope_close(&deep[i], -ECANCELED), -ETIMEDOUT);
    }
    ck_assert_uint_eq(timers_pending(), before);
    return 0;
}

START_TEST(each_of_10_000_nested_deadlines_expires_in_its_time)
{
    ck_assert_int_eq(run_virtual(deep_deadlines_main, NULL), 0);
}
END_TEST

static intptr_t
deep_left_open_main(void *arg)
{
    int depth = scaled(DEPTH);

    (void) arg;
    for (int i = 0; i < depth; i++)
        open_scope(&deep[i], 1.0);
    ck_assert_int_eq(uco_scope_close(&deep[0], 4), 4);
    for (int i = 0; i < depth; i++)
        ck_assert_int_eq(uco_scope_close(&deep[i], 0), -EINVAL);
    return uco_sleep(2.0);
}

START_TEST(closing_the_outermost_of_10_000_closes_them_all)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, deep_left_open_main, NULL), 0);
    ck_assert_uint_gt(reports.count, 0);
}
END_TEST

static int
return_early(double timeout)
{
    uco_scope s;

    open_scope(&s, timeout);
    return uco_sleep(0.1); /* and the scope stays open */
}

static intptr_t
left_open_main(void *arg)
{
    struct reports *reports = arg;
    uint64_t before = timers_pending();
    uco_scope outer;

    open_scope(&outer, UCO_FOREVER);
    ck_assert_int_eq(return_early(1.0), 0);
    ck_assert_uint_eq(reports->count, 0);
    ck_assert_int_eq(uco_scope_close(&outer, 3), 3);
    ck_assert_uint_eq(reports->count, 1);
    ck_assert_uint_eq(timers_pending(), before);
    return uco_sleep(5.0);
}

START_TEST(a_scope_left_open_is_closed_and_reported_by_the_next_outer_close)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, left_open_main, &reports), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "test_scope.c"));
}
END_TEST

static intptr_t
left_open_to_the_end(void *arg)
{
    (void) arg;
    ck_assert_int_eq(return_early(1.0), 0);
    return 4;
}

static intptr_t
left_open_to_the_end_main(void *arg)
{
    struct reports *reports = arg;

    ck_assert_int_eq(in_child(left_open_to_the_end), 4);
    ck_assert_uint_eq(reports->count, 1);
    return uco_sleep(5.0);
}

START_TEST(a_scope_left_open_is_closed_and_reported_at_the_end_of_its_task)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, left_open_to_the_end_main, &reports), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "test_scope.c"));
}
END_TEST

static intptr_t
left_open_expires_main(void *arg)
{
    uco_scope outer;

    (void) arg;
    open_scope(&outer, UCO_FOREVER);
    ck_assert_int_eq(return_early(1.0), 0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    assert_time(1.0);
    ck_assert_int_eq(uco_scope_close(&outer, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_sleep(5.0), 0);
    return 0;
}

START_TEST(the_deadline_of_a_scope_left_open_counts_until_it_is_closed)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, left_open_expires_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
out_of_order_main(void *arg)
{
    uco_scope outer, inner;

    (void) arg;
    open_scope(&outer, 1.0);
    open_scope(&inner, 0.0);
    ck_assert_int_eq(uco_scope_close(&outer, 5), 5);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_scope_close(&inner, 6), -EINVAL);
    ck_assert_int_eq(uco_scope_cancel(&inner), -EINVAL);
    return uco_sleep(2.0);
}

START_TEST(closing_the_outer_scope_first_closes_both)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, out_of_order_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
close_others(void *arg)
{
    ck_assert_int_eq(uco_scope_close(arg, 5), -EINVAL);
    return 0;
}

static intptr_t
close_others_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_join(uco_create_task(close_others, &s)), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_sleep(5.0)), -ETIMEDOUT);
    return 0;
}

START_TEST(a_scope_is_closed_by_the_task_that_opened_it_only)
{
    ck_assert_int_eq(run_virtual(close_others_main, NULL), 0);
}
END_TEST

static intptr_t
copies_main(void *arg)
{
    uco_scope s, first, second;

    (void) arg;
    open_scope(&s, UCO_FOREVER);
    first = s;
    second = s;
    ck_assert_int_eq(uco_scope_reschedule(&first, 1.0), 0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&second, -ECANCELED), -ETIMEDOUT);
    ck_assert_int_eq(uco_scope_close(&s, 0), -EINVAL);
    ck_assert_int_eq(uco_scope_cancel(&first), -EINVAL);
    return 0;
}

START_TEST(a_copy_of_a_ticket_is_as_good_as_the_ticket)
{
    ck_assert_int_eq(run_virtual(copies_main, NULL), 0);
}
END_TEST

static void
assert_stale(const uco_scope *stale)
{
    uco_scope s = *stale;

    ck_assert_int_eq(uco_scope_cancel(&s), -EINVAL);
    ck_assert_int_eq(uco_scope_reschedule(&s, 0.0), -EINVAL);
    ck_assert_int_eq(uco_scope_close(&s, 5), -EINVAL);
}

static intptr_t
stale_main(void *arg)
{
    uco_scope stale, s;

    (void) arg;
    open_scope(&stale, UCO_FOREVER);
    ck_assert_int_eq(uco_scope_close(&stale, 0), 0);
    for (int i = 0; i < 1000; i++) {
        open_scope(&s, UCO_FOREVER);
        assert_stale(&stale);
        ck_assert(!uco_cancelled());
        ck_assert_int_eq(uco_scope_close(&s, 5), 5);
    }
    return 0;
}

START_TEST(a_stale_ticket_does_not_reach_the_scopes_that_came_after)
{
    ck_assert_int_eq(run_virtual(stale_main, NULL), 0);
}
END_TEST

static intptr_t
leave_a_ticket(void *arg)
{
    open_scope(arg, UCO_FOREVER);
    return uco_sleep(1.0);
}

static intptr_t
stale_of_task_main(void *arg)
{
    uco_scope stale;

    (void) arg;
    for (int i = 0; i < 100; i++) {
        uco_scope s;

        ck_assert_int_eq(uco_join(uco_create_task(leave_a_ticket, &stale)), 0);
        open_scope(&s, UCO_FOREVER);
        assert_stale(&stale);
        ck_assert_int_eq(uco_scope_close(&s, 5), 5);
    }
    return 0;
}

START_TEST(the_ticket_of_a_task_that_has_ended_is_stale)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, stale_of_task_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 100);
}
END_TEST

static intptr_t
stale_of_loop_main(void *arg)
{
    uco_scope s;

    open_scope(&s, UCO_FOREVER);
    assert_stale(arg);
    ck_assert_int_eq(uco_scope_close(&s, 5), 5);
    return 0;
}

START_TEST(the_ticket_of_a_loop_that_has_closed_is_stale)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_scope stale;

    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(uco_run_with(&options, leave_a_ticket, &stale), 0);
        ck_assert_int_eq(run_virtual(stale_of_loop_main, &stale), 0);
    }
}
END_TEST

static intptr_t
no_ticket_main(void *arg)
{
    uco_scope made_up[] = {{{0, 0}}, {{1, 1}}, {{0, UINT64_MAX}}, {{UINT64_MAX, UINT64_MAX}}};
    uco_scope s;

    (void) arg;
    open_scope(&s, UCO_FOREVER);
    for (size_t i = 0; i < COUNT(made_up); i++)
        assert_stale(&made_up[i]);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_scope_close(&s, 5), 5);
    return 0;
}

START_TEST(what_never_was_a_ticket_is_refused)
{
    ck_assert_int_eq(run_virtual(no_ticket_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_scope_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, UCO_FOREVER);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert(uco_cancelled());
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), 0);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

START_TEST(a_cancelled_scope_closes_with_0)
{
    ck_assert_int_eq(run_virtual(cancel_scope_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_scope_result_main(void *arg)
{
    static const intptr_t results[] = {0, 7, -EIO, -ETIMEDOUT};

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_scope s;

        open_scope(&s, UCO_FOREVER);
        ck_assert_int_eq(uco_scope_cancel(&s), 0);
        ck_assert_int_eq(uco_yield(), -ECANCELED);
        ck_assert_int_eq(uco_scope_close(&s, results[i]), results[i]);
    }
    return 0;
}

START_TEST(a_cancelled_scope_leaves_any_other_result_alone)
{
    ck_assert_int_eq(run_virtual(cancel_scope_result_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_others_scope(void *arg)
{
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return uco_scope_cancel(arg);
}

static intptr_t
cancel_by_task_main(void *arg)
{
    uco_task *task;
    uco_scope s;

    (void) arg;
    open_scope(&s, 60.0);
    task = uco_create_task(cancel_others_scope, &s);
    ck_assert_int_eq(uco_scope_close(&s, uco_sleep(5.0)), 0);
    assert_time(1.0);
    return uco_join(task);
}

START_TEST(another_task_can_cancel_a_scope)
{
    run_in_all_orders(cancel_by_task_main, NULL);
}
END_TEST

static intptr_t
cancel_by_callback_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 60.0);
    cancel_scope_later(1.0, &s);
    ck_assert_int_eq(uco_scope_close(&s, uco_sleep(5.0)), 0);
    assert_time(1.0);
    return 0;
}

START_TEST(a_callback_can_cancel_a_scope)
{
    ck_assert_int_eq(run_virtual(cancel_by_callback_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_before_deadline_main(void *arg)
{
    uco_scope s, shield;

    (void) arg;
    open_scope(&s, 2.0);
    cancel_scope_later(1.0, &s);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    open_shield(&shield, UCO_FOREVER);
    ck_assert_int_eq(uco_sleep(5.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), 0);
    return 0;
}

START_TEST(the_deadline_of_a_cancelled_scope_no_longer_counts)
{
    ck_assert_int_eq(run_virtual(cancel_before_deadline_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_after_deadline_main(void *arg)
{
    uco_scope s;

    (void) arg;
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_yield()), -ETIMEDOUT);
    return 0;
}

START_TEST(cancelling_an_expired_scope_leaves_it_expired)
{
    ck_assert_int_eq(run_virtual(cancel_after_deadline_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_outer_main(void *arg)
{
    uco_scope outer, inner;

    (void) arg;
    open_scope(&outer, UCO_FOREVER);
    open_scope(&inner, 1.0);
    cancel_scope_later(1.0, &outer);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&outer, -ECANCELED), 0);
    return 0;
}

START_TEST(cancelling_an_outer_scope_outranks_the_deadline_of_an_inner_one)
{
    ck_assert_int_eq(run_virtual(cancel_outer_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_inner_main(void *arg)
{
    uco_scope outer, inner;

    (void) arg;
    open_scope(&outer, 5.0);
    open_scope(&inner, UCO_FOREVER);
    ck_assert_int_eq(uco_scope_cancel(&inner), 0);
    ck_assert_int_eq(uco_scope_close(&inner, uco_yield()), 0);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_scope_close(&outer, 3), 3);
    return 0;
}

START_TEST(cancelling_an_inner_scope_does_not_reach_the_outer_one)
{
    ck_assert_int_eq(run_virtual(cancel_inner_main, NULL), 0);
}
END_TEST

static intptr_t
grant_then_cancel_main(void *arg)
{
    uco_future *future = uco_future_new();
    uco_scope s;
    intptr_t r;

    (void) arg;
    open_scope(&s, UCO_FOREVER);
    uco_unref(uco_create_task(resolve_after_1s, future));
    uco_unref(uco_create_task(cancel_others_scope, &s));
    r = uco_await(future);
    ck_assert(r == 9 || r == -ECANCELED);
    ck_assert_int_eq(uco_sleep(1.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, r), r == 9 ? 9 : 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_result(future), 9);
    uco_unref(future);
    return 0;
}

START_TEST(a_result_and_a_cancellation_at_the_same_instant_lose_neither)
{
    run_in_all_orders(grant_then_cancel_main, NULL);
}
END_TEST

static intptr_t
create_inside_main(void *arg)
{
    uco_task *task;
    uco_scope s;

    (void) arg;
    open_scope(&s, 0.0);
    task = uco_create_task(body_sleep_1s, (void *) 6);
    ck_assert_int_eq(uco_scope_close(&s, uco_yield()), -ETIMEDOUT);
    ck_assert_int_eq(uco_join(task), 6);
    assert_time(1.0);
    return 0;
}

START_TEST(a_task_created_inside_a_scope_is_not_inside_it)
{
    ck_assert_int_eq(run_virtual(create_inside_main, NULL), 0);
}
END_TEST

static intptr_t
clean_up_in_shield(void *arg)
{
    uco_scope shield;

    (void) arg;
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    ck_assert(uco_cancelled());
    open_shield(&shield, 5.0);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 3), 3);
    ck_assert(uco_cancelled());
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    return -ECANCELED;
}

static intptr_t
clean_up_main(void *arg)
{
    uco_task *task = uco_create_task(clean_up_in_shield, NULL);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    assert_time(1.0);
    return 0;
}

START_TEST(a_shield_keeps_a_cancellation_off_until_it_is_closed)
{
    ck_assert_int_eq(run_virtual(clean_up_main, NULL), 0);
}
END_TEST

static intptr_t
cancelled_inside_shield(void *arg)
{
    uco_scope shield;

    (void) arg;
    open_shield(&shield, UCO_FOREVER);
    cancel_me_later(0.5);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    ck_assert(uco_cancelled());
    return uco_sleep(1.0);
}

static intptr_t
cancelled_inside_shield_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(in_child(cancelled_inside_shield), -ECANCELED);
    assert_time(1.0);
    return 0;
}

START_TEST(a_cancellation_that_comes_during_a_shield_waits_for_its_end)
{
    ck_assert_int_eq(run_virtual(cancelled_inside_shield_main, NULL), 0);
}
END_TEST

static intptr_t
over_budget(void *arg)
{
    uco_scope shield;

    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    open_shield(&shield, 1.0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert(uco_cancelled());
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    return uco_scope_close(&shield, -ECANCELED);
}

static intptr_t
over_budget_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(in_child(over_budget), -ETIMEDOUT);
    assert_time(1.0);
    return 0;
}

START_TEST(a_shields_own_budget_ends_it)
{
    ck_assert_int_eq(run_virtual(over_budget_main, NULL), 0);
}
END_TEST

static intptr_t
no_budget_main(void *arg)
{
    static const double none[] = {0.0, -1.0, (double) -INFINITY};

    (void) arg;
    for (size_t i = 0; i < COUNT(none); i++) {
        uco_scope shield;

        open_shield(&shield, none[i]);
        ck_assert(uco_cancelled());
        ck_assert_int_eq(uco_scope_close(&shield, uco_sleep(1.0)), -ETIMEDOUT);
    }
    assert_time(0.0);
    return 0;
}

START_TEST(a_shield_without_a_budget_is_over_at_once)
{
    ck_assert_int_eq(run_virtual(no_budget_main, NULL), 0);
}
END_TEST

static intptr_t
move_budget_main(void *arg)
{
    uco_scope shield;

    (void) arg;
    open_shield(&shield, 1.0);
    ck_assert_int_eq(uco_scope_reschedule(&shield, 3.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, uco_sleep(5.0)), -ETIMEDOUT);
    assert_time(3.0);
    return 0;
}

START_TEST(a_shields_budget_can_be_moved)
{
    ck_assert_int_eq(run_virtual(move_budget_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_shield_main(void *arg)
{
    uco_scope shield, inner;

    (void) arg;
    open_shield(&shield, UCO_FOREVER);
    open_scope(&inner, UCO_FOREVER);
    cancel_scope_later(1.0, &shield);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&shield, -ECANCELED), 0);
    assert_time(1.0);
    return 0;
}

START_TEST(cancelling_a_shield_itself_reaches_its_inside)
{
    ck_assert_int_eq(run_virtual(cancel_shield_main, NULL), 0);
}
END_TEST

static intptr_t
scope_in_shield(void *arg)
{
    uco_scope outer, shield;

    (void) arg;
    open_scope(&outer, 0.5);
    cancel_me_later(0.5);
    open_shield(&shield, UCO_FOREVER);
    ck_assert_int_eq(sleep_in_scope(1.0, 5.0), -ETIMEDOUT);
    assert_time(1.0);
    ck_assert_int_eq(sleep_in_scope(UCO_FOREVER, 1.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    return uco_scope_close(&outer, -ECANCELED);
}

static intptr_t
scope_in_shield_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(in_child(scope_in_shield), -ECANCELED);
    assert_time(2.0);
    return 0;
}

START_TEST(a_timeout_inside_a_shield_looks_no_further_than_the_shield)
{
    ck_assert_int_eq(run_virtual(scope_in_shield_main, NULL), 0);
}
END_TEST

static intptr_t
shield_in_shield_main(void *arg)
{
    uco_scope scope, outer, inner;

    (void) arg;
    open_scope(&scope, 1.0);
    open_shield(&outer, 2.0);
    open_shield(&inner, 3.0);
    ck_assert_int_eq(uco_sleep(2.5), 0);
    ck_assert_int_eq(uco_sleep(2.5), -ECANCELED);
    assert_time(3.0);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ETIMEDOUT);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

START_TEST(shields_nest_each_with_its_own_budget)
{
    ck_assert_int_eq(run_virtual(shield_in_shield_main, NULL), 0);
}
END_TEST

static intptr_t
cut_in_shield_main(void *arg)
{
    uco_scope outer, shield;

    (void) arg;
    open_scope(&outer, 1.0);
    open_shield(&shield, 2.0);
    ck_assert_int_eq(uco_scope_close(&shield, uco_sleep(5.0)), -ETIMEDOUT);
    assert_time(2.0);
    ck_assert_int_eq(uco_scope_close(&outer, -ECANCELED), -ECANCELED);
    return 0;
}

START_TEST(what_a_shields_budget_cuts_short_was_not_cut_by_the_scope_around_it)
{
    ck_assert_int_eq(run_virtual(cut_in_shield_main, NULL), 0);
}
END_TEST

static intptr_t
shield_left_open(void *arg)
{
    uco_scope outer, shield;

    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    open_scope(&outer, UCO_FOREVER);
    open_shield(&shield, UCO_FOREVER);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_scope_close(&outer, 0), 0);
    return uco_yield();
}

static intptr_t
shield_left_open_main(void *arg)
{
    (void) arg;
    return in_child(shield_left_open) == -ECANCELED ? 0 : -EIO;
}

START_TEST(a_shield_left_open_ends_with_the_outer_close)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, shield_left_open_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static intptr_t
with_timeout_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_with_timeout(2.0, body_sleep_1s, (void *) 8), 8);
    assert_time(1.0);
    ck_assert_int_eq(uco_with_timeout(0.5, body_sleep_1s, (void *) 8), -ETIMEDOUT);
    assert_time(1.5);
    ck_assert_int_eq(uco_with_timeout(UCO_FOREVER, body_sleep_1s, (void *) 8), 8);
    ck_assert_int_eq(uco_with_timeout(1.0, body_return, (void *) (intptr_t) -EIO), -EIO);
    ck_assert_int_eq(uco_with_timeout(1.0, body_return, (void *) (intptr_t) -ECANCELED),
                     -ECANCELED);
    ck_assert_int_eq(uco_with_timeout(1.0, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_with_timeout((double) NAN, body_never, NULL), -EINVAL);
    return 0;
}

START_TEST(with_timeout_gives_the_functions_result_or_the_timeout)
{
    ck_assert_int_eq(run_virtual(with_timeout_main, NULL), 0);
}
END_TEST

static intptr_t
note_task(void *arg)
{
    uco_task **task = arg;

    *task = uco_current_task();
    return 8;
}

static intptr_t
with_timeout_zero_main(void *arg)
{
    uco_task *task = NULL;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(0.0, note_task, &task), 8);
    ck_assert_ptr_eq(task, uco_current_task());
    ck_assert_int_eq(uco_with_timeout(0.0, body_sleep_1s, NULL), -ETIMEDOUT);
    ck_assert_int_eq(uco_with_timeout(-1.0, body_sleep_1s, NULL), -ETIMEDOUT);
    assert_time(0.0);
    return 0;
}

START_TEST(with_timeout_calls_the_function_in_the_calling_task_also_when_time_is_up)
{
    ck_assert_int_eq(run_virtual(with_timeout_zero_main, NULL), 0);
}
END_TEST

static intptr_t
inner_with_timeout(void *arg)
{
    double *seconds = arg;

    return uco_with_timeout(*seconds, body_sleep_1s, NULL) == -ETIMEDOUT ? 1 : -ECANCELED;
}

static intptr_t
nested_with_timeout_main(void *arg)
{
    double shorter = 0.25, longer = 0.75;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(0.5, inner_with_timeout, &shorter), 1);
    assert_time(0.25);
    ck_assert_int_eq(uco_with_timeout(0.5, inner_with_timeout, &longer), -ETIMEDOUT);
    assert_time(0.75);
    return 0;
}

START_TEST(with_timeout_nests)
{
    ck_assert_int_eq(run_virtual(nested_with_timeout_main, NULL), 0);
}
END_TEST

static intptr_t
leave_open(void *arg)
{
    (void) arg;
    ck_assert_int_eq(return_early(5.0), 0);
    return 4;
}

static intptr_t
with_timeout_left_open_main(void *arg)
{
    struct reports *reports = arg;

    ck_assert_int_eq(uco_with_timeout(1.0, leave_open, NULL), 4);
    ck_assert_uint_eq(reports->count, 1);
    return uco_sleep(10.0);
}

START_TEST(with_timeout_closes_what_its_function_left_open)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, with_timeout_left_open_main, &reports), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
timed_out_task(void *arg)
{
    double seconds = (double) (intptr_t) arg * 0.001;

    ck_assert_int_eq(sleep_in_scope(seconds, 100.0), -ETIMEDOUT);
    assert_time(seconds);
    return 0;
}

static intptr_t
thousand_main(void *arg)
{
    uco_task *tasks[1000];
    int r;

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(timed_out_task, (void *) (intptr_t) (i * 7919 % COUNT(tasks)));
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return r;
}

START_TEST(a_thousand_tasks_each_have_their_own_deadline)
{
    ck_assert_int_eq(run_virtual(thousand_main, NULL), 0);
}
END_TEST

static intptr_t
no_memory_main(void *arg)
{
    int depth = scaled(DEPTH), open = 0, r = 0;

    (void) arg;
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    memset(deep, 0, sizeof deep);
    while (open < depth && (r = uco_scope_open(&deep[open], 1.0)) == 0)
        open++;
    ck_assert(r == 0 || r == -ENOMEM);
    if (r < 0)
        ck_assert_int_eq(uco_scope_close(&deep[open], 0), -EINVAL);
    ck_assert_int_gt(open, 0);
    ck_assert_int_eq(uco_sleep(5.0), -ECANCELED);
    while (--open > 0)
        ck_assert_int_eq(uco_scope_close(&deep[open], -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&deep[0], -ECANCELED), -ETIMEDOUT);
    uco_test_fail_off();
    return 0;
}

START_TEST(without_memory_scopes_expire_and_close_and_at_most_opening_fails)
{
    ck_assert_int_eq(run_virtual(no_memory_main, NULL), 0);
}
END_TEST

static intptr_t
cancel_without_memory_main(void *arg)
{
    uco_task *task = uco_create_task(body_sleep_forever, NULL);
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_scope_reschedule(&s, 2.0), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_sleep(1.0)), 0);
    uco_test_fail_off();
    return 0;
}

START_TEST(cancelling_needs_no_memory)
{
    ck_assert_int_eq(run_virtual(cancel_without_memory_main, NULL), 0);
}
END_TEST

static void
add_deadline_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "deadline");

    tcase_add_test(tcase, a_deadline_cuts_a_call_short_and_the_close_tells);
    tcase_add_test(tcase, a_deadline_that_does_not_expire_leaves_no_timer);
    tcase_add_test(tcase, a_scope_that_cuts_nothing_short_leaves_every_result_alone);
    tcase_add_test(tcase, after_the_deadline_any_other_result_stays_what_it_is);
    tcase_add_test(tcase, the_cancellation_of_what_was_awaited_is_no_timeout);
    tcase_add_test(tcase, a_deadline_that_passed_without_cutting_a_call_short_changes_nothing);
    tcase_add_test(tcase, a_scope_may_have_no_deadline);
    tcase_add_test(tcase, a_timeout_of_zero_or_less_is_over_at_once);
    tcase_add_test(tcase, a_timeout_must_be_a_number);
    tcase_add_test(tcase, a_deadline_can_be_moved);
    tcase_add_test(tcase, a_deadline_can_be_removed);
    tcase_add_test(tcase, an_expired_deadline_cannot_be_moved);
    tcase_add_test(tcase, only_an_open_scope_has_a_deadline_to_move);
    tcase_add_test(tcase, a_deadline_that_passed_while_the_task_computed_cannot_be_moved);
    tcase_add_test(tcase, another_task_or_a_callback_can_move_a_deadline);
    tcase_add_test(tcase, the_next_call_notices_a_deadline_that_passed);
    tcase_add_test(tcase, a_call_that_could_finish_at_once_notices_a_deadline_that_passed);
    tcase_add_test(tcase, of_several_deadlines_that_passed_the_outermost_one_tells);
    tcase_add_test(tcase, an_outer_deadline_that_passes_after_the_inner_one_takes_over);
    tcase_add_test(tcase, of_deadlines_at_the_same_instant_the_outermost_one_tells);
    tcase_add_test(tcase, a_result_at_the_instant_of_the_deadline_is_either_there_or_late);
    tcase_add_test(tcase, a_deadline_reaches_what_completing_calls_wait_for);
    tcase_add_test(tcase, a_thousand_tasks_each_have_their_own_deadline);
}

static void
add_nesting_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "nesting");

    tcase_add_test(tcase, the_scope_whose_deadline_expired_turns_the_result);
    tcase_add_test(tcase, a_cancellation_inside_an_expired_timeout_is_a_cancellation);
    tcase_add_test(tcase, a_cancellation_at_the_instant_of_a_timeout_is_a_cancellation);
    tcase_add_test(tcase, a_task_whose_inner_timeout_expired_is_itself_not_cancelled);
    tcase_add_test(tcase, scopes_nest_10_000_deep);
    tcase_add_test(tcase, each_of_10_000_nested_deadlines_expires_in_its_time);
    tcase_add_test(tcase, closing_the_outermost_of_10_000_closes_them_all);
    tcase_add_test(tcase, a_scope_left_open_is_closed_and_reported_by_the_next_outer_close);
    tcase_add_test(tcase, a_scope_left_open_is_closed_and_reported_at_the_end_of_its_task);
    tcase_add_test(tcase, the_deadline_of_a_scope_left_open_counts_until_it_is_closed);
    tcase_add_test(tcase, closing_the_outer_scope_first_closes_both);
    tcase_add_test(tcase, a_task_created_inside_a_scope_is_not_inside_it);
}

static void
add_ticket_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "ticket");

    tcase_add_test(tcase, opening_into_an_open_scope_leaves_the_first_one_to_the_tasks_end);
    tcase_add_test(tcase, only_a_coroutine_opens_scopes);
    tcase_add_test(tcase, a_scope_is_closed_by_the_task_that_opened_it_only);
    tcase_add_test(tcase, a_copy_of_a_ticket_is_as_good_as_the_ticket);
    tcase_add_test(tcase, a_stale_ticket_does_not_reach_the_scopes_that_came_after);
    tcase_add_test(tcase, the_ticket_of_a_task_that_has_ended_is_stale);
    tcase_add_test(tcase, the_ticket_of_a_loop_that_has_closed_is_stale);
    tcase_add_test(tcase, what_never_was_a_ticket_is_refused);
}

static void
add_cancel_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "cancel");

    tcase_add_test(tcase, a_cancelled_scope_closes_with_0);
    tcase_add_test(tcase, a_cancelled_scope_leaves_any_other_result_alone);
    tcase_add_test(tcase, another_task_can_cancel_a_scope);
    tcase_add_test(tcase, a_callback_can_cancel_a_scope);
    tcase_add_test(tcase, the_deadline_of_a_cancelled_scope_no_longer_counts);
    tcase_add_test(tcase, cancelling_an_expired_scope_leaves_it_expired);
    tcase_add_test(tcase, cancelling_an_outer_scope_outranks_the_deadline_of_an_inner_one);
    tcase_add_test(tcase, cancelling_an_inner_scope_does_not_reach_the_outer_one);
    tcase_add_test(tcase, a_result_and_a_cancellation_at_the_same_instant_lose_neither);
    tcase_add_test(tcase, without_memory_scopes_expire_and_close_and_at_most_opening_fails);
    tcase_add_test(tcase, cancelling_needs_no_memory);
}

static void
add_shield_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "shield");

    tcase_add_test(tcase, a_shield_keeps_a_cancellation_off_until_it_is_closed);
    tcase_add_test(tcase, a_cancellation_that_comes_during_a_shield_waits_for_its_end);
    tcase_add_test(tcase, a_shields_own_budget_ends_it);
    tcase_add_test(tcase, a_shield_without_a_budget_is_over_at_once);
    tcase_add_test(tcase, a_shields_budget_can_be_moved);
    tcase_add_test(tcase, cancelling_a_shield_itself_reaches_its_inside);
    tcase_add_test(tcase, a_timeout_inside_a_shield_looks_no_further_than_the_shield);
    tcase_add_test(tcase, shields_nest_each_with_its_own_budget);
    tcase_add_test(tcase, what_a_shields_budget_cuts_short_was_not_cut_by_the_scope_around_it);
    tcase_add_test(tcase, a_shield_left_open_ends_with_the_outer_close);
}

static void
add_with_timeout_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "with_timeout");

    tcase_add_test(tcase, with_timeout_gives_the_functions_result_or_the_timeout);
    tcase_add_test(tcase, with_timeout_calls_the_function_in_the_calling_task_also_when_time_is_up);
    tcase_add_test(tcase, with_timeout_nests);
    tcase_add_test(tcase, with_timeout_closes_what_its_function_left_open);
}

int
main(void)
{
    Suite *suite = suite_create("scope");

    unsetenv("UCO_DEBUG");
    add_deadline_tests(suite);
    add_nesting_tests(suite);
    add_ticket_tests(suite);
    add_cancel_tests(suite);
    add_shield_tests(suite);
    add_with_timeout_tests(suite);
    return suite_end(suite);
}
