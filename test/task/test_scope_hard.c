/* SPDX-License-Identifier: MIT */

/*
 * Scopes where it gets hard: thousands of them, closed in the wrong order or not at all, shields
 * inside shields, deadlines of one moment, a task that computes past several. test_scope.c has what
 * a scope does, test_scope_calls.c each suspending call in a cancelled one.
 */

#include "support.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

#define DEPTH 10000
static uco_scope deep[DEPTH];

static int
depth(void)
{
    return scaled(DEPTH);
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
callback_cancel_scope(void *arg)
{
    ck_assert_int_eq(uco_scope_cancel(arg), 0);
}

/* Closes from the innermost on, each of which is cut short, until `cancelled`, which ends there. */
static void
close_down_to(int cancelled)
{
    for (int i = depth() - 1; i > cancelled; i--) {
        ck_assert_int_eq(uco_yield(), -ECANCELED);
        ck_assert_int_eq(uco_scope_close(&deep[i], -ECANCELED), -ECANCELED);
    }
    ck_assert_int_eq(uco_scope_close(&deep[cancelled], uco_yield()), 0);
}

static intptr_t
cancel_at(int cancelled, bool with_deadlines)
{
    for (int i = 0; i < depth(); i++)
        open_scope(&deep[i], with_deadlines ? 10.0 + i % 7 : UCO_FOREVER);
    ck_assert_uint_ne(
        uco_loop_call_later(uco_get_running_loop(), 1.0, callback_cancel_scope, &deep[cancelled]),
        0);
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    assert_time(1.0);
    close_down_to(cancelled);
    for (int i = cancelled - 1; i >= 0; i--) {
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(uco_scope_close(&deep[i], i), i);
    }
    ck_assert(!uco_cancelled());
    return uco_yield();
}

static intptr_t
cancel_outermost_main(void *arg)
{
    return cancel_at(0, arg != NULL);
}

START_TEST(cancelling_the_outermost_of_10_000_scopes_reaches_each_of_them)
{
    ck_assert_int_eq(run_virtual(cancel_outermost_main, NULL), 0);
}
END_TEST

START_TEST(cancelling_the_outermost_of_10_000_deadlines_reaches_each_of_them)
{
    ck_assert_int_eq(run_virtual(cancel_outermost_main, NUMBER(1)), 0);
}
END_TEST

static intptr_t
cancel_middle_main(void *arg)
{
    return cancel_at(depth() / 2, arg != NULL);
}

START_TEST(cancelling_one_in_the_middle_reaches_those_inside_it_only)
{
    ck_assert_int_eq(run_virtual(cancel_middle_main, NULL), 0);
}
END_TEST

static intptr_t
one_moment_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < depth(); i++)
        open_scope(&deep[i], 1.0);
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    for (int i = depth() - 1; i > 0; i--)
        ck_assert_int_eq(uco_scope_close(&deep[i], uco_yield()), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&deep[0], -ECANCELED), -ETIMEDOUT);
    assert_time(1.0);
    return uco_yield();
}

START_TEST(of_10_000_deadlines_of_one_moment_the_outermost_one_tells)
{
    ck_assert_int_eq(run_virtual(one_moment_main, NULL), 0);
}
END_TEST

static intptr_t
outside_in_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < depth(); i++)
        open_scope(&deep[i], 1.0 + i);
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    assert_time(1.0);
    for (int i = depth() - 1; i > 0; i--)
        ck_assert_int_eq(uco_scope_close(&deep[i], -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&deep[0], -ECANCELED), -ETIMEDOUT);
    return uco_sleep(2.0);
}

START_TEST(the_earliest_deadline_cuts_short_what_10_000_later_ones_enclose)
{
    ck_assert_int_eq(run_virtual(outside_in_main, NULL), 0);
}
END_TEST

static intptr_t
one_after_the_other_main(void *arg)
{
    uco_scope first, s;
    uco_loop_stats stats;
    size_t before = 0;

    (void) arg;
    open_scope(&first, 1.0);
    ck_assert_int_eq(uco_scope_close(&first, 0), 0);
    for (int i = 0; i < scaled(100000); i++) {
        open_scope(&s, 1.0);
        ck_assert_int_eq(uco_scope_cancel(&first), -EINVAL);
        ck_assert_int_eq(uco_scope_close(&s, i), i);
        if (i == 1000 && !under_sanitizer())
            before = mallinfo2().uordblks;
    }
    if (before > 0)
        ck_assert_uint_le(mallinfo2().uordblks, before);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    ck_assert_uint_eq(stats.timers, 0);
    return 0;
}

START_TEST(a_hundred_thousand_scopes_one_after_the_other_leave_nothing)
{
    ck_assert_int_eq(run_virtual(one_after_the_other_main, NULL), 0);
}
END_TEST

static int left_lines[3];

/* Three early returns, the last one out of a shield. */
static void
leave_open(int which)
{
    uco_scope s;

    if (which == 0) {
        left_lines[0] = __LINE__ + 1;
        ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
        return;
    }
    if (which == 1) {
        left_lines[1] = __LINE__ + 1;
        ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
        return;
    }
    left_lines[2] = __LINE__ + 1;
    ck_assert_int_eq(uco_shield_open(&s, 1.0), 0);
}

static void
assert_left_report(const char *line, const char *name, int number)
{
    char expected[100];

    snprintf(expected, sizeof expected, "task '%s' left a %s open", name,
             number == 2 ? "shield" : "scope");
    ck_assert_ptr_nonnull(strstr(line, expected));
    snprintf(expected, sizeof expected, "test_scope_hard.c:%d:", left_lines[number]);
    ck_assert_ptr_nonnull(strstr(line, expected));
}

static intptr_t
leaving(void *arg)
{
    uco_scope outer;

    if (arg != NULL)
        open_scope(&outer, UCO_FOREVER);
    for (int i = 0; i < 3; i++)
        leave_open(i);
    return arg != NULL ? uco_scope_close(&outer, 7) : 7;
}

static intptr_t
leaving_main(void *arg)
{
    const uco_task_options options = {.name = "leaver"};

    ck_assert_int_eq(uco_join(uco_create_task_with(&options, leaving, arg)), 7);
    return 0;
}

/* By an outer close, and at the task's end: innermost first. */
START_TEST(each_scope_left_open_by_an_early_return_is_reported_by_name_and_line)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char *line;

    ck_assert_int_eq(uco_run_with(&options, leaving_main, NUMBER(_i)), 0);
    ck_assert_uint_eq(reports.count, 3);
    line = strtok(reports.all, "\n");
    for (int i = 2; i >= 0; i--) {
        assert_left_report(line, "leaver", i);
        line = strtok(NULL, "\n");
    }
}
END_TEST

static intptr_t
leave_and_yield(void *arg)
{
    leave_open(1);
    return arg == NULL ? 7 : uco_generator_yield(NULL);
}

static intptr_t
leaving_kinds_main(void *arg)
{
    struct reports *reports = arg;
    const uco_task_options options = {.name = "member"};
    uco_group *group = uco_group_new();
    uco_generator *generator = uco_generator_new(leave_and_yield, NUMBER(1));

    ck_assert_ptr_nonnull(uco_group_create_task_with(group, &options, leave_and_yield, NULL));
    ck_assert_int_eq(uco_group_wait(group), 0);
    uco_group_free(group);
    ck_assert_uint_eq(reports->count, 1);
    assert_left_report(reports->last, "member", 1);
    ck_assert_int_eq(uco_generator_next(generator, NULL), 1);
    ck_assert_uint_eq(reports->count, 1);
    ck_assert_int_eq(uco_generator_next(generator, NULL), 0);
    ck_assert_uint_eq(reports->count, 2);
    uco_generator_free(generator);
    ck_assert_int_eq(uco_with_timeout(1.0, leave_and_yield, NULL), 7);
    ck_assert_uint_eq(reports->count, 3);
    return 0;
}

START_TEST(members_generators_and_functions_with_a_timeout_leave_scopes_open_as_tasks_do)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaving_kinds_main, &reports), 0);
    ck_assert_uint_eq(reports.count, 3);
}
END_TEST

static intptr_t
wrong_order_main(void *arg)
{
    struct reports *reports = arg;
    uco_scope s[5];

    for (int i = 0; i < 5; i++)
        open_scope(&s[i], 1.0 + i);
    ck_assert_int_eq(uco_scope_close(&s[2], 3), 3);
    ck_assert_uint_eq(reports->count, 2);
    for (int i = 2; i < 5; i++) {
        ck_assert_int_eq(uco_scope_close(&s[i], 3), -EINVAL);
        ck_assert_int_eq(uco_scope_cancel(&s[i]), -EINVAL);
        ck_assert_int_eq(uco_scope_reschedule(&s[i], 1.0), -EINVAL);
    }
    open_scope(&s[4], 0.5); /* in a slot that was just freed */
    ck_assert_int_eq(uco_scope_close(&s[3], 3), -EINVAL);
    ck_assert_int_eq(uco_scope_close(&s[4], uco_sleep(5.0)), -ETIMEDOUT);
    ck_assert_int_eq(uco_scope_close(&s[0], uco_sleep(5.0)), -ETIMEDOUT);
    assert_time(1.0);
    ck_assert_int_eq(uco_scope_close(&s[1], 0), -EINVAL);
    ck_assert_uint_eq(reports->count, 3);
    return uco_sleep(5.0);
}

START_TEST(scopes_closed_out_of_order_close_what_is_inside_them)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, wrong_order_main, &reports), 0);
}
END_TEST

static intptr_t
shields_main(void *arg)
{
    uco_scope outer, tight, wide;

    (void) arg;
    open_scope(&outer, 0.0);
    open_shield(&tight, 2.0);
    open_shield(&wide, 5.0);
    ck_assert_int_eq(uco_sleep(3.0), 0); /* past the budget of the shield around it */
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_scope_close(&wide, 4), 4);
    ck_assert_int_eq(uco_sleep(1.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&tight, -ECANCELED), -ETIMEDOUT);

    open_shield(&wide, 5.0);
    open_shield(&tight, 2.0);
    ck_assert_int_eq(uco_scope_close(&tight, uco_sleep(9.0)), -ETIMEDOUT);
    assert_time(5.0);
    ck_assert_int_eq(uco_scope_close(&wide, uco_sleep(9.0)), -ETIMEDOUT);
    assert_time(8.0);
    ck_assert_int_eq(uco_scope_close(&outer, uco_yield()), -ETIMEDOUT);
    return uco_yield();
}

START_TEST(a_shield_keeps_off_the_budget_of_the_shield_around_it)
{
    run_in_all_orders(shields_main, NULL);
}
END_TEST

static intptr_t
deep_shields_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < depth(); i++) {
        open_shield(&deep[i], i % 2 == 0 ? 0.0 : UCO_FOREVER);
        ck_assert_int_eq(uco_cancelled(), i % 2 == 0);
    }
    for (int i = depth() - 1; i >= 0; i--) {
        ck_assert_int_eq(uco_yield(), i % 2 == 0 ? -ECANCELED : 0);
        ck_assert_int_eq(uco_scope_close(&deep[i], i % 2 == 0 ? -ECANCELED : 0),
                         i % 2 == 0 ? -ETIMEDOUT : 0);
    }
    return uco_yield();
}

START_TEST(shields_nest_10_000_deep_cancelled_and_not_in_turn)
{
    ck_assert_int_eq(run_virtual(deep_shields_main, NULL), 0);
}
END_TEST

static intptr_t
moment_in_shield_main(void *arg)
{
    uco_scope outer, shield, inner;

    (void) arg;
    open_scope(&outer, 1.0);
    open_shield(&shield, 1.0);
    open_scope(&inner, 1.0);
    ck_assert_int_eq(uco_sleep(9.0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&inner, -ECANCELED), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&shield, -ECANCELED), -ETIMEDOUT);
    ck_assert_int_eq(uco_scope_close(&outer, 0), 0);

    open_scope(&outer, 1.0);
    open_shield(&shield, UCO_FOREVER);
    open_scope(&inner, 1.0);
    ck_assert_int_eq(uco_scope_close(&inner, uco_sleep(9.0)), -ETIMEDOUT);
    ck_assert_int_eq(uco_scope_close(&shield, uco_yield()), 0);
    ck_assert_int_eq(uco_scope_close(&outer, uco_yield()), -ETIMEDOUT);
    assert_time(2.0);
    return 0;
}

START_TEST(of_deadlines_of_one_moment_the_outermost_one_inside_the_shield_tells)
{
    run_in_all_orders(moment_in_shield_main, NULL);
}
END_TEST

static intptr_t
sleep_for_a_second_at_most(void *arg)
{
    intptr_t r = uco_with_timeout(1.0, body_sleep_forever, NULL);

    *(intptr_t *) arg = r;
    return r;
}

static intptr_t
two_functions_main(void *arg)
{
    intptr_t inner = 0;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(1.0, sleep_for_a_second_at_most, &inner), -ETIMEDOUT);
    ck_assert_int_eq(inner, -ECANCELED);
    assert_time(1.0);
    ck_assert_int_eq(uco_with_timeout(1.0 + 1e-6, sleep_for_a_second_at_most, &inner), -ETIMEDOUT);
    ck_assert_int_eq(inner, -ETIMEDOUT);
    assert_time(2.0);
    return 0;
}

START_TEST(of_two_timeouts_of_one_moment_around_functions_the_outer_one_tells)
{
    run_in_all_orders(two_functions_main, NULL);
}
END_TEST

static intptr_t
busy_main(void *arg)
{
    uco_scope scopes[10];

    (void) arg;
    for (int i = 0; i < 10; i++)
        open_scope(&scopes[i], 10.0 - i);
    /* Each second another deadline passes; each is noticed by the first call that follows. */
    for (int i = 9; i >= 0; i--) {
        for (int tenths = 0; tenths < 9; tenths++) {
            compute(0.1);
            ck_assert_int_eq(uco_yield(), 0);
        }
        compute(0.15);
        ck_assert(uco_cancelled());
        ck_assert_int_eq(uco_scope_close(&scopes[i], uco_yield()), -ETIMEDOUT);
        ck_assert(!uco_cancelled());
        ck_assert_int_eq(i > 0 ? uco_scope_reschedule(&scopes[i - 1], 1.0) : 0, 0);
    }
    return 0;
}

START_TEST(a_task_that_computes_notices_each_deadline_with_its_next_call)
{
    run_manual(busy_main);
}
END_TEST

static intptr_t
never_suspends_main(void *arg)
{
    uco_scope outer, inner;
    int steps = 0;

    (void) arg;
    open_scope(&outer, 2.95);
    open_scope(&inner, 0.95);
    while (!uco_cancelled()) {
        compute(0.1);
        steps++;
    }
    ck_assert_int_eq(steps, 10);
    ck_assert_int_eq(uco_scope_close(&inner, uco_yield()), -ETIMEDOUT);
    while (!uco_cancelled()) {
        compute(0.1);
        steps++;
    }
    ck_assert_int_eq(steps, 30);
    ck_assert_int_eq(uco_scope_close(&outer, 6), 6); /* nothing was cut short */
    return uco_yield();
}

START_TEST(a_loop_that_never_suspends_can_ask_for_its_deadline)
{
    run_manual(never_suspends_main);
}
END_TEST

static intptr_t
passed_in_shield_main(void *arg)
{
    uco_scope outer, shield, inner;

    (void) arg;
    open_scope(&outer, 1.0);
    open_shield(&shield, 3.0);
    open_scope(&inner, 2.0);
    compute(1.5);
    ck_assert_int_eq(uco_yield(), 0);
    compute(1.0);
    ck_assert_int_eq(uco_scope_close(&inner, uco_yield()), -ETIMEDOUT);
    ck_assert_int_eq(uco_yield(), 0);
    compute(1.0);
    ck_assert_int_eq(uco_scope_close(&shield, uco_yield()), -ETIMEDOUT);
    ck_assert_int_eq(uco_scope_close(&outer, uco_yield()), -ETIMEDOUT);
    return uco_yield();
}

START_TEST(of_deadlines_that_a_busy_task_passed_the_shield_keeps_the_outer_one_off)
{
    run_manual(passed_in_shield_main);
}
END_TEST

static intptr_t
passed_together_main(void *arg)
{
    uco_scope s;

    (void) arg;
    for (int i = 0; i < depth(); i++)
        open_scope(&deep[i], (double) (1 + i * 7919 % DEPTH)); /* scattered */
    compute(2.0 * DEPTH);
    for (int i = depth() - 1; i > 0; i--)
        ck_assert_int_eq(uco_scope_close(&deep[i], uco_yield()), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&deep[0], -ECANCELED), -ETIMEDOUT);
    open_scope(&s, 1.0);
    ck_assert_int_eq(uco_yield(), 0);
    return uco_scope_close(&s, 0);
}

START_TEST(a_busy_task_can_pass_10_000_deadlines_at_once)
{
    run_manual(passed_together_main);
}
END_TEST

static uco_scope enclosing;

static intptr_t
closes_the_enclosing(void *arg)
{
    ck_assert_int_eq(uco_scope_close(&enclosing, 0), 0);
    return (intptr_t) arg;
}

static intptr_t
with_timeout_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_scope_open(&enclosing, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, closes_the_enclosing, &enclosing),
                     (intptr_t) &enclosing);
    ck_assert(!uco_cancelled());
    return 0;
}

START_TEST(a_function_under_a_timeout_that_closes_an_outer_scope_keeps_its_result)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, with_timeout_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "uco_with_timeout"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("scope hard");
    TCase *nested = case_new(suite, "nested");
    TCase *left_open = case_new(suite, "left open");
    TCase *shields = case_new(suite, "shields");
    TCase *busy = case_new(suite, "busy");

    unsetenv("UCO_DEBUG");
    tcase_add_test(nested, cancelling_the_outermost_of_10_000_scopes_reaches_each_of_them);
    tcase_add_test(nested, cancelling_the_outermost_of_10_000_deadlines_reaches_each_of_them);
    tcase_add_test(nested, cancelling_one_in_the_middle_reaches_those_inside_it_only);
    tcase_add_test(nested, of_10_000_deadlines_of_one_moment_the_outermost_one_tells);
    tcase_add_test(nested, the_earliest_deadline_cuts_short_what_10_000_later_ones_enclose);
    tcase_add_test(nested, a_hundred_thousand_scopes_one_after_the_other_leave_nothing);
    tcase_add_loop_test(left_open,
                        each_scope_left_open_by_an_early_return_is_reported_by_name_and_line, 0, 2);
    tcase_add_test(left_open,
                   members_generators_and_functions_with_a_timeout_leave_scopes_open_as_tasks_do);
    tcase_add_test(left_open, scopes_closed_out_of_order_close_what_is_inside_them);
    tcase_add_test(shields, a_shield_keeps_off_the_budget_of_the_shield_around_it);
    tcase_add_test(shields, shields_nest_10_000_deep_cancelled_and_not_in_turn);
    tcase_add_test(shields, of_deadlines_of_one_moment_the_outermost_one_inside_the_shield_tells);
    tcase_add_test(shields, of_two_timeouts_of_one_moment_around_functions_the_outer_one_tells);
    tcase_add_test(busy, a_task_that_computes_notices_each_deadline_with_its_next_call);
    tcase_add_test(busy, a_loop_that_never_suspends_can_ask_for_its_deadline);
    tcase_add_test(busy, of_deadlines_that_a_busy_task_passed_the_shield_keeps_the_outer_one_off);
    tcase_add_test(busy, a_busy_task_can_pass_10_000_deadlines_at_once);
    tcase_add_test(busy, a_function_under_a_timeout_that_closes_an_outer_scope_keeps_its_result);
    return suite_end(suite);
}
