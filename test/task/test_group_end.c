/* SPDX-License-Identifier: MIT */

/*
 * Groups: how they are cancelled, how they end, and what their callers do wrong.
 */

#include "support.h"

#include <stdio.h>
#include <string.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

#define assert_null(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

static uco_group *
make_group(void)
{
    uco_group *g = uco_group_new();

    ck_assert_ptr_nonnull(g);
    return g;
}

static uco_task *
add(uco_group *g, uco_fn *fn, void *arg)
{
    uco_task *task = uco_group_create_task(g, fn, arg);

    ck_assert_ptr_nonnull(task);
    return task;
}

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static void
discard_count(void *arg)
{
    ++*(int *) arg;
}

/* What the owner of a group does, as a child of main, and what its members saw. */
struct owner {
    uco_group *g;
    uco_task *task;
    double clean_up; /* seconds that a sleeping member takes, once it is cancelled */
    intptr_t returns;
    int cancelled;
    int ended;
    bool done;
};

static intptr_t
sleeper(void *arg)
{
    struct owner *o = arg;
    uco_scope shield;

    o->cancelled += uco_sleep(UCO_FOREVER) == -ECANCELED;
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(o->clean_up), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    o->ended++;
    return o->returns;
}

static intptr_t
waiting_owner(void *arg)
{
    struct owner *o = arg;
    intptr_t r;

    o->g = make_group();
    add(o->g, sleeper, o);
    add(o->g, sleeper, o);
    r = uco_group_wait(o->g);
    ck_assert_int_eq(o->cancelled, 2);
    ck_assert_int_eq(o->ended, 2);
    uco_group_free(o->g);
    return r;
}

static intptr_t
cancelled_wait_main(void *arg)
{
    struct owner o = {.clean_up = 1.0}, failing = {.returns = -EIO};
    uco_task *task = uco_create_task(waiting_owner, &o);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    assert_time(1.0);

    task = uco_create_task(waiting_owner, &failing);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -EIO);
    return 0;
}

/* T6: the wait completes, and gives -ECANCELED, or what a member made of its cancellation. */
START_TEST(cancelling_a_waiting_owner_cancels_the_members)
{
    run_in_all_orders(cancelled_wait_main, NULL);
}
END_TEST

static intptr_t
empty_main(void *arg)
{
    uco_group *g = make_group();
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(uco_group_wait(g), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

/* T10: empty, and its owner cancelled. */
START_TEST(waiting_for_an_empty_group_passes_a_cancellation_on)
{
    run_in_all_orders(empty_main, NULL);
}
END_TEST

static intptr_t
cancelled_scope_main(void *arg)
{
    const uco_task_options options = {.discard = discard_count};
    uco_group *g = make_group();
    uco_scope s;
    int discarded = 0;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, 0.0), 0);
    ck_assert_ptr_nonnull(uco_group_create_task_with(g, &options, body_never, &discarded));
    ck_assert_int_eq(uco_group_wait(g), -ECANCELED);
    ck_assert_int_eq(discarded, 1);
    add(g, body_return, NUMBER(-EIO));
    while (uco_yield() == -ECANCELED && discarded++ < 10)
        ;
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    add(g, body_return, NUMBER(3));
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

START_TEST(wait_in_a_cancelled_scope_completes_and_tells_a_failure_first)
{
    run_in_all_orders(cancelled_scope_main, NULL);
}
END_TEST

static intptr_t
timeout_main(void *arg)
{
    struct owner o = {.clean_up = 1.0}, failing = {.returns = -EIO};
    uco_group *g = make_group();
    uco_scope s;
    int r;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, 1.0), 0);
    add(g, sleeper, &o);
    r = uco_group_wait(g);
    ck_assert_int_eq(r, -ECANCELED);
    assert_time(2.0);
    ck_assert_int_eq(uco_scope_close(&s, r), -ETIMEDOUT);

    ck_assert_int_eq(uco_scope_open(&s, 1.0), 0);
    add(g, sleeper, &failing);
    r = uco_group_wait(g);
    ck_assert_int_eq(uco_scope_close(&s, r), -EIO);
    assert_time(3.0);
    uco_group_free(g);
    return 0;
}

/* T18: a failure in a member's clean-up outranks the timeout. */
START_TEST(a_timeout_around_a_group_cancels_its_members)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

static intptr_t
last_member_owner(void *arg)
{
    struct owner *o = arg;
    int r;

    o->g = make_group();
    add(o->g, body_sleep_1s, NUMBER(1));
    r = uco_group_wait(o->g);
    ck_assert(r == 0 || r == -ECANCELED);
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    uco_group_free(o->g);
    return r;
}

static intptr_t
cancel_after_1s(void *arg)
{
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_cancel(((struct owner *) arg)->task), 0);
    return 0;
}

static intptr_t
last_member_main(void *arg)
{
    struct owner o = {0};
    uco_task *canceller;
    intptr_t r;

    o.task = uco_create_task(last_member_owner, &o);
    ck_assert_int_eq(uco_test_settle(), 0);
    canceller = uco_create_task(cancel_after_1s, &o);
    r = uco_join(o.task);
    ck_assert(r == 0 || (r == -ECANCELED && arg == NULL));
    return uco_join(canceller);
}

/* In every order of the last two:
 *   owner        member          canceller
 *   waits
 *                ends at 1 s
 *                                cancels the owner at 1 s
 *   gives 0 if the member ended before it was cancelled; the next call fails in any case */
START_TEST(the_last_member_may_end_when_its_owner_is_cancelled)
{
    run_in_all_orders(last_member_main, NULL);
    ck_assert_int_eq(run_fifo(last_member_main, NUMBER(1)), 0);
}
END_TEST

static intptr_t
add_and_cancel(void *arg)
{
    struct owner *o = arg;

    ck_assert_int_eq(uco_sleep(1.0), 0);
    add(o->g, sleeper, o);
    ck_assert_int_eq(uco_cancel(o->task), 0);
    return 0;
}

static intptr_t
late_member_main(void *arg)
{
    struct owner o = {0};
    uco_task *adder;

    (void) arg;
    o.task = uco_create_task(last_member_owner, &o);
    ck_assert_int_eq(uco_test_settle(), 0);
    adder = uco_create_task(add_and_cancel, &o);
    ck_assert_int_eq(uco_join(o.task), -ECANCELED);
    assert_time(1.0);
    return uco_join(adder);
}

/*   owner           member         adder
 *   waits
 *                   ends at 1 s,
 *                   which wakes
 *                   the owner
 *                                  adds a member that sleeps for ever, and cancels the owner
 *   cancels the new member */
START_TEST(a_member_added_between_the_last_ones_end_and_a_cancellation_is_cancelled)
{
    run_in_all_orders(late_member_main, NULL);
}
END_TEST

static intptr_t
group_cancel_main(void *arg)
{
    const uco_task_options options = {.discard = discard_count};
    struct owner o = {.clean_up = 1.0, .returns = -ECANCELED};
    uco_group *g = make_group();
    int discarded = 0;

    (void) arg;
    add(g, sleeper, &o);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_ptr_nonnull(uco_group_create_task_with(g, &options, body_never, &discarded));
    ck_assert_int_eq(uco_group_cancel(g), 0);
    ck_assert_int_eq(uco_group_cancel(g), 0);
    assert_null(uco_group_create_task(g, body_never, NULL), ECANCELED);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    assert_time(1.0);
    ck_assert_int_eq(discarded, 1);
    ck_assert_int_eq(o.ended, 1);

    ck_assert_int_eq(uco_group_cancel(g), 0);
    assert_null(uco_group_create_task(g, body_never, NULL), ECANCELED);
    ck_assert_int_eq(uco_group_wait(g), 0);
    add(g, body_return, NUMBER(-EIO));
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    uco_group_free(g);
    return 0;
}

START_TEST(a_cancelled_group_ends_with_0_and_takes_members_again_when_it_was_waited_for)
{
    run_in_all_orders(group_cancel_main, NULL);
}
END_TEST

static intptr_t
cancel_its_group(void *arg)
{
    ck_assert_int_eq(uco_group_cancel(arg), 0);
    return uco_sleep(1.0);
}

static void
callback_cancel_group(void *arg)
{
    ck_assert_int_eq(uco_group_cancel(arg), 0);
}

static intptr_t
cancelled_by_others_main(void *arg)
{
    struct owner o = {0}, failing = {.returns = -EIO};
    uco_group *g = make_group();
    uco_task *other;

    (void) arg;
    add(g, sleeper, &o);
    ck_assert_int_eq(uco_test_settle(), 0);
    add(g, cancel_its_group, g);
    ck_assert_int_eq(uco_group_wait(g), 0);
    add(g, sleeper, &o);
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), 1.0, callback_cancel_group, g),
                      0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    add(g, sleeper, &failing);
    ck_assert_int_eq(uco_test_settle(), 0);
    other = uco_create_task(cancel_its_group, g);
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    ck_assert_int_eq(o.ended, 2);
    assert_time(1.0);
    uco_group_free(g);
    return uco_join(other);
}

START_TEST(members_callbacks_and_other_tasks_can_cancel_a_group)
{
    run_in_all_orders(cancelled_by_others_main, NULL);
}
END_TEST

static intptr_t
detach_main(void *arg)
{
    struct owner o = {.returns = -EIO};
    uco_group *g = make_group();
    uco_task *member = uco_ref(add(g, sleeper, &o));

    (void) arg;
    add(g, body_sleep_1s, NUMBER(1));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_detach(member), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    assert_time(1.0);
    ck_assert_int_eq(uco_group_cancel(g), 0);
    uco_group_free(g);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(o.cancelled, 0);
    ck_assert_int_eq(uco_cancel(member), 0);
    ck_assert_int_eq(uco_join(member), -EIO);
    return 0;
}

START_TEST(a_member_that_is_detached_leaves_its_group)
{
    run_in_all_orders(detach_main, NULL);
}
END_TEST

static void
callback_detach(void *arg)
{
    ck_assert_int_eq(uco_detach(arg), 0);
}

static intptr_t
detach_last_main(void *arg)
{
    struct owner o = {0};
    uco_group *g = make_group();
    uco_task *member = uco_ref(add(g, sleeper, &o));
    uco_timer timer;

    (void) arg;
    timer = uco_loop_call_later(uco_get_running_loop(), 1.0, callback_detach, member);
    ck_assert_uint_ne(timer, 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    assert_time(1.0);
    uco_group_free(g);
    ck_assert_int_eq(uco_cancel(member), 0);
    return (int) uco_join(member);
}

START_TEST(detaching_the_last_member_ends_the_wait)
{
    run_in_all_orders(detach_last_main, NULL);
}
END_TEST

static intptr_t
free_main(void *arg)
{
    struct owner o = {.clean_up = 1.0};
    uco_group *g = make_group();
    uco_scope s;

    (void) arg;
    add(g, sleeper, &o);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_group_free(g);
    ck_assert_int_eq(o.ended, 1);
    assert_time(1.0);

    g = make_group();
    ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
    add(g, sleeper, &o);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    uco_group_free(g);
    ck_assert_int_eq(o.ended, 2);
    ck_assert_int_eq(uco_scope_close(&s, 0), 0);
    uco_group_free(NULL);
    return 0;
}

START_TEST(free_cancels_and_waits_for_who_is_left_also_in_a_cancelled_scope)
{
    run_in_all_orders(free_main, NULL);
}
END_TEST

static intptr_t
unread_failure_main(void *arg)
{
    struct reports *reports = arg;
    uco_group *g = make_group();

    add(g, body_return, NUMBER(-EIO));
    ck_assert_int_eq(uco_group_wait(g), -EIO);
    uco_group_free(g);
    ck_assert_uint_eq(reports->count, 0);

    g = make_group();
    add(g, body_return, NUMBER(-EIO));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(reports->count, 0);
    uco_group_free(g);
    ck_assert_uint_eq(reports->count, 1);
    ck_assert_ptr_nonnull(strstr(reports->last, uco_strerror(-EIO)));
    return 0;
}

START_TEST(free_reports_a_failure_that_no_wait_has_returned)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, unread_failure_main, &reports), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static int left_line;

static intptr_t
leaving_owner(void *arg)
{
    struct owner *o = arg;

    left_line = __LINE__ + 1;
    o->g = uco_group_new();
    add(o->g, sleeper, o);
    ck_assert_int_eq(uco_test_settle(), 0);
    return 4;
}

static intptr_t
leaving_main(void *arg)
{
    const uco_task_options options = {.name = "leaver"};
    struct owner *o = arg;

    ck_assert_int_eq(uco_join(uco_create_task_with(&options, leaving_owner, o)), 4);
    ck_assert_int_eq(o->ended, 1);
    assert_time(o->clean_up);
    return 0;
}

START_TEST(a_group_that_its_owner_leaves_open_ends_with_it_and_is_reported_by_name_and_line)
{
    struct owner o = {.clean_up = 1.0};
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char place[64];

    ck_assert_int_eq(uco_run_with(&options, leaving_main, &o), 0);
    ck_assert_uint_eq(reports.count, 1);
    snprintf(place, sizeof place, "test_group_end.c:%d", left_line);
    ck_assert_ptr_nonnull(strstr(reports.last, place));
    ck_assert_ptr_nonnull(strstr(reports.last, "'leaver'"));
}
END_TEST

START_TEST(the_failure_of_a_member_that_its_owner_left_is_reported)
{
    struct owner o = {.returns = -EIO};
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaving_main, &o), 0);
    ck_assert_uint_eq(reports.count, 2);
    ck_assert_ptr_nonnull(strstr(reports.all, uco_strerror(-EIO)));
}
END_TEST

static intptr_t
late_member(void *arg)
{
    struct owner *o = arg;
    uco_scope shield;

    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    assert_null(uco_group_create_task(o->g, body_never, NULL), ECANCELED);
    ck_assert_int_eq(uco_group_cancel(o->g), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    o->done = true;
    return 0;
}

static intptr_t
leaving_late_owner(void *arg)
{
    struct owner *o = arg;

    o->g = make_group();
    add(o->g, late_member, o);
    return uco_test_settle();
}

static intptr_t
leaving_late_main(void *arg)
{
    struct owner o = {0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(leaving_late_owner, &o)), 0);
    ck_assert(o.done);
    return 0;
}

START_TEST(a_group_whose_owner_has_returned_takes_no_members)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaving_late_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
stubborn_main(void *arg)
{
    const uco_task_options options = {.name = "stubborn"};
    struct owner o = {.clean_up = 25.0};
    uco_group *g = make_group();

    (void) arg;
    ck_assert_ptr_nonnull(uco_group_create_task_with(g, &options, sleeper, &o));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_group_cancel(g), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    assert_time(25.0);
    uco_group_free(g);
    return 0;
}

START_TEST(a_member_that_ignores_its_cancellation_is_reported_every_10_s)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, stubborn_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 2);
    ck_assert_ptr_nonnull(strstr(reports.last, "stubborn"));
}
END_TEST

static intptr_t
two_groups_main(void *arg)
{
    uco_group *failing = make_group(), *g = make_group();
    uco_task *member = uco_ref(add(g, body_sleep_1s, NUMBER(2)));

    (void) arg;
    add(failing, body_return, NUMBER(-EIO));
    ck_assert_int_eq(uco_group_wait(failing), -EIO);
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_int_eq(uco_result(member), 2);
    uco_unref(member);
    uco_group_free(failing);
    uco_group_free(g);
    return 0;
}

START_TEST(the_groups_of_one_owner_fail_each_on_its_own)
{
    run_in_all_orders(two_groups_main, NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("group end");
    TCase *cancel = case_new(suite, "cancel");
    TCase *end = case_new(suite, "end");

    tcase_add_test(cancel, cancelling_a_waiting_owner_cancels_the_members);
    tcase_add_test(cancel, waiting_for_an_empty_group_passes_a_cancellation_on);
    tcase_add_test(cancel, wait_in_a_cancelled_scope_completes_and_tells_a_failure_first);
    tcase_add_test(cancel, a_timeout_around_a_group_cancels_its_members);
    tcase_add_test(cancel, the_last_member_may_end_when_its_owner_is_cancelled);
    tcase_add_test(cancel,
                   a_member_added_between_the_last_ones_end_and_a_cancellation_is_cancelled);
    tcase_add_test(cancel,
                   a_cancelled_group_ends_with_0_and_takes_members_again_when_it_was_waited_for);
    tcase_add_test(cancel, members_callbacks_and_other_tasks_can_cancel_a_group);
    tcase_add_test(end, a_member_that_is_detached_leaves_its_group);
    tcase_add_test(end, detaching_the_last_member_ends_the_wait);
    tcase_add_test(end, free_cancels_and_waits_for_who_is_left_also_in_a_cancelled_scope);
    tcase_add_test(end, free_reports_a_failure_that_no_wait_has_returned);
    tcase_add_test(
        end, a_group_that_its_owner_leaves_open_ends_with_it_and_is_reported_by_name_and_line);
    tcase_add_test(end, the_failure_of_a_member_that_its_owner_left_is_reported);
    tcase_add_test(end, a_group_whose_owner_has_returned_takes_no_members);
    tcase_add_test(end, a_member_that_ignores_its_cancellation_is_reported_every_10_s);
    tcase_add_test(end, the_groups_of_one_owner_fail_each_on_its_own);
    return suite_end(suite);
}
