/* SPDX-License-Identifier: MIT */

/*
 * Events: whom a set wakes, and what cancellation, clearing and other loops make of it.
 */

#include "scene.h"

static uco_event event;
static struct trace trace;

static void
begin(void)
{
    memset(&event, 0, sizeof event);
    memset(&trace, 0, sizeof trace);
}

static intptr_t
waits(void *name)
{
    int r = uco_event_wait(&event);

    if (r == 0)
        trace_add(&trace, (char) (intptr_t) name);
    return r;
}

static intptr_t
wakes_all_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    begin();
    arrive_all(tasks, 3, waits);
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_str_eq(trace.text, ""); /* set itself runs nobody */
    join_all(tasks, 3);
    ck_assert_uint_eq(trace.size, 3);
    return 0;
}

/* EV1: set wakes all who wait; without a seed they go on in the order of their coming. */
START_TEST(set_wakes_all_present)
{
    run_in_all_orders(wakes_all_main, NULL);
    ck_assert_int_eq(run_fifo(wakes_all_main, NULL), 0);
    ck_assert_str_eq(trace.text, "abc");
}
END_TEST

static intptr_t
wait_on_set_main(void *arg)
{
    uint64_t before;

    (void) arg;
    begin();
    ck_assert_int_eq(uco_event_set(&event), 0);
    settle();
    before = switches();
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(uco_event_wait(&event), 0);
    ck_assert_uint_eq(switches(), before);
    return 0;
}

/* EV1: waiting for a set event does not suspend. */
START_TEST(a_set_event_is_not_waited_for)
{
    run_in_all_orders(wait_on_set_main, NULL);
}
END_TEST

static intptr_t
cancel_main(void *arg)
{
    uco_task *tasks[3];

    for (int cancelled = 0; cancelled < 3; cancelled++) {
        begin();
        arrive_all(tasks, 3, waits);
        ck_assert_int_eq(uco_cancel(tasks[cancelled]), 0);
        ck_assert_int_eq(uco_event_set(&event), 0);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(uco_join(tasks[i]), i == cancelled ? -ECANCELED : 0);
        ck_assert_uint_eq(trace.size, 2);
    }
    (void) arg;
    return 0;
}

/*
 * EV3: a cancelled waiter is gone, whichever of several it was.
 *
 * main                       a              b              c
 * ----                       -              -              -
 *                            wait
 *                                           wait
 *                                                          wait
 * cancel one, here b
 * set: the others are woken
 *                            0              -ECANCELED     0
 */
START_TEST(a_cancelled_waiter_leaves_and_the_others_stay)
{
    run_in_all_orders(cancel_main, NULL);
}
END_TEST

static int
wait_here(void)
{
    return uco_event_wait(&event);
}

static intptr_t
checkpoint_main(void *arg)
{
    (void) arg;
    begin();
    assert_cancellation_point(wait_here);
    ck_assert_int_eq(uco_event_set(&event), 0);
    assert_cancellation_point(wait_here);
    return 0;
}

/* EV4: wait is a cancellation point in any case, and lets others run before it fails. */
START_TEST(in_a_cancelled_scope_no_wait_succeeds)
{
    run_in_all_orders(checkpoint_main, NULL);
}
END_TEST

static intptr_t
pulse_main(void *arg)
{
    uco_task *present, *late;

    (void) arg;
    begin();
    present = arrive(waits, 'a');
    for (int i = 0; i < 3; i++) { /* the second and third find nobody */
        ck_assert_int_eq(uco_event_set(&event), 0);
        ck_assert_int_eq(uco_event_clear(&event), 0);
    }
    late = arrive(waits, 'b');
    ck_assert_int_eq(uco_join(present), 0);
    ck_assert(!uco_event_is_set(&event));
    ck_assert(!uco_done(late));
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_int_eq(uco_join(late), 0);
    ck_assert_str_eq(trace.text, "ab");
    return 0;
}

/*
 * main            a              b
 * ----            -              -
 *                 wait
 * set: a is woken
 * clear
 *                 0              wait: blocks
 */
START_TEST(who_was_woken_before_a_clear_stays_woken)
{
    run_in_all_orders(pulse_main, NULL);
}
END_TEST

static intptr_t
woken_then_cancelled(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_event_wait(&event), 0);
    ck_assert(uco_cancelled());
    return uco_event_wait(&event);
}

static intptr_t
set_then_cancel_main(void *arg)
{
    uco_task *task;

    (void) arg;
    begin();
    task = arrive(woken_then_cancelled, 'a');
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    return 0;
}

/*
 * main              a
 * ----              -
 *                   wait
 * set: a is woken
 * cancel a
 *                   0
 *                   wait: -ECANCELED, though it is set
 */
START_TEST(a_waiter_woken_and_then_cancelled_returns_0_and_its_next_call_fails)
{
    run_in_all_orders(set_then_cancel_main, NULL);
}
END_TEST

static intptr_t
timeout_main(void *arg)
{
    uco_task *patient;

    (void) arg;
    begin();
    patient = arrive(waits, 'a');
    ck_assert_int_eq(uco_with_timeout(1.0, waits, NULL), -ETIMEDOUT);
    assert_time(1.0);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_int_eq(uco_join(patient), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, (void *) (intptr_t) 'b'), 0);
    return 0;
}

START_TEST(a_wait_that_times_out_leaves_the_event_usable)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

static uco_scope deadline;

static intptr_t
waits_in_scope(void *name)
{
    ck_assert_int_eq(uco_scope_open(&deadline, 5.0), 0);
    return uco_scope_close(&deadline, waits(name));
}

static void
callback_set_and_expire(void *set_first)
{
    if (set_first != NULL)
        ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_int_eq(uco_scope_reschedule(&deadline, 0.0), 0);
    if (set_first == NULL)
        ck_assert_int_eq(uco_event_set(&event), 0);
}

static intptr_t
same_moment_main(void *set_first)
{
    uco_loop *loop = uco_get_running_loop();
    intptr_t expected = set_first != NULL ? 0 : -ETIMEDOUT;

    begin();
    ck_assert_uint_ne(uco_loop_call_at(loop, 1.0, callback_set_and_expire, set_first), 0);
    ck_assert_int_eq(uco_join(uco_create_task(waits_in_scope, NULL)), expected);
    assert_time(1.0);
    return uco_event_wait(&event);
}

/*
 * callback                       a
 * --------                       -
 *                                wait, in a scope with a deadline
 * set | the deadline expires
 * the deadline expires | set
 *                                0 | -ETIMEDOUT
 */
START_TEST(of_a_set_and_a_deadline_at_one_moment_the_first_decides)
{
    run_in_all_orders(same_moment_main, &event);
    run_in_all_orders(same_moment_main, NULL);
}
END_TEST

static intptr_t
idempotent_main(void *arg)
{
    (void) arg;
    begin();
    for (int i = 0; i < 6; i++) {
        bool set = i % 4 >= 2; /* clear, clear, set, set, clear, clear */

        ck_assert_int_eq(set ? uco_event_set(&event) : uco_event_clear(&event), 0);
        ck_assert(uco_event_is_set(&event) == set);
    }
    return 0;
}

START_TEST(setting_and_clearing_twice_is_as_good_as_once)
{
    run_in_all_orders(idempotent_main, NULL);
}
END_TEST

static intptr_t
fair_main(void *arg)
{
    (void) arg;
    begin();
    ck_assert_int_eq(uco_event_set(&event), 0);
    assert_lets_others_run(wait_here);
    return 0;
}

START_TEST(each_64th_wait_that_need_not_wait_lets_others_run)
{
    run_in_all_orders(fair_main, NULL);
}
END_TEST

static void
callback_misuses(void *arg)
{
    ck_assert_int_eq(uco_event_wait(arg), -EPERM);
    ck_assert_int_eq(uco_event_wait(NULL), -EPERM);
    ck_assert_int_eq(uco_event_clear(arg), 0);
    ck_assert_int_eq(uco_event_set(arg), 0);
}

static intptr_t
callback_main(void *arg)
{
    (void) arg;
    begin();
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_misuses, &event), 0);
    return uco_event_wait(&event);
}

START_TEST(a_callback_can_set_and_clear_but_not_wait)
{
    run_in_all_orders(callback_main, NULL);
}
END_TEST

static intptr_t
null_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_event_wait(NULL), -EINVAL);
    ck_assert_int_eq(uco_event_set(NULL), -EINVAL);
    ck_assert_int_eq(uco_event_clear(NULL), -EINVAL);
    ck_assert(!uco_event_is_set(NULL));
    return 0;
}

START_TEST(null_is_refused)
{
    run_in_all_orders(null_main, NULL);
    ck_assert_int_eq(uco_event_wait(NULL), -EPERM); /* the caller is looked at first */
    ck_assert_int_eq(uco_event_set(NULL), -EINVAL);
    ck_assert_int_eq(uco_event_clear(NULL), -EINVAL);
    ck_assert(!uco_event_is_set(NULL));
}
END_TEST

static intptr_t
waits_once_main(void *arg)
{
    return uco_event_wait(arg);
}

START_TEST(before_any_loop_an_event_can_be_set_and_cleared)
{
    begin();
    ck_assert_int_eq(uco_event_wait(&event), -EPERM);
    ck_assert_int_eq(uco_event_clear(&event), 0);
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert(uco_event_is_set(&event));
    ck_assert_int_eq(run_virtual(waits_once_main, &event), 0);
}
END_TEST

static intptr_t
refused_main(void *arg)
{
    bool was_set = uco_event_is_set(&event);

    (void) arg;
    ck_assert_int_eq(uco_event_wait(&event), -EPERM);
    ck_assert_int_eq(uco_event_set(&event), -EPERM);
    ck_assert_int_eq(uco_event_clear(&event), -EPERM);
    ck_assert(uco_event_is_set(&event) == was_set);
    return 0;
}

START_TEST(an_event_of_an_earlier_run_is_refused_until_it_is_zeroed)
{
    begin();
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_int_eq(run_virtual(waits_once_main, &event), 0);
    run_in_all_orders(refused_main, NULL);
    ck_assert_int_eq(uco_event_clear(&event), 0); /* its loop does not run */
    run_in_all_orders(refused_main, NULL);
    run_in_all_orders(wait_on_set_main, NULL); /* zeroes it */
}
END_TEST

static intptr_t
elsewhere_main(void *other_loop)
{
    uco_task *waiter;

    begin();
    waiter = arrive(waits, 'a');
    in_loop(other_loop, refused_main);
    settle();
    ck_assert(!uco_done(waiter));
    ck_assert_int_eq(uco_event_set(&event), 0);
    in_loop(other_loop, refused_main);
    return uco_join(waiter);
}

START_TEST(a_task_of_another_loop_is_refused_with_waiters_and_without)
{
    run_beside_a_loop(elsewhere_main);
}
END_TEST

static void *
foreign_thread(void *unbound)
{
    ck_assert_int_eq(uco_event_wait(&event), -EPERM);
    ck_assert_int_eq(uco_event_set(&event), -EPERM);
    ck_assert_int_eq(uco_event_clear(&event), -EPERM);
    ck_assert_int_eq(uco_event_set(unbound), 0);
    return NULL;
}

static intptr_t
foreign_main(void *arg)
{
    uco_event unbound = {0};
    uco_task *waiter;

    (void) arg;
    begin();
    waiter = arrive(waits, 'a');
    in_thread(foreign_thread, &unbound);
    ck_assert(!uco_event_is_set(&event));
    ck_assert_int_eq(uco_event_wait(&unbound), 0);
    ck_assert_int_eq(uco_event_set(&event), 0);
    return uco_join(waiter);
}

START_TEST(a_thread_without_a_loop_is_refused_while_the_events_loop_runs)
{
    run_in_all_orders(foreign_main, NULL);
}
END_TEST

static void
pulse(void)
{
    ck_assert_int_eq(uco_event_set(&event), 0);
    ck_assert_int_eq(uco_event_clear(&event), 0);
}

START_TEST(between_two_runs_of_its_loop_a_set_wakes_for_the_second)
{
    begin();
    run_twice(waits, pulse);
    ck_assert_str_eq(trace.text, "a");
}
END_TEST

static intptr_t
moved_main(void *arg)
{
    uco_event moved;

    (void) arg;
    begin();
    ck_assert_int_eq(uco_with_timeout(1.0, waits, NULL), -ETIMEDOUT);
    ck_assert_int_eq(uco_event_set(&event), 0);
    moved = event;
    memset(&event, 0xff, sizeof event);
    return uco_event_wait(&moved);
}

START_TEST(an_event_without_waiters_can_be_moved)
{
    run_in_all_orders(moved_main, NULL);
}
END_TEST

static void
add_waiting(Suite *suite)
{
    TCase *tcase = case_new(suite, "waiting");

    tcase_add_test(tcase, set_wakes_all_present);
    tcase_add_test(tcase, a_set_event_is_not_waited_for);
    tcase_add_test(tcase, a_cancelled_waiter_leaves_and_the_others_stay);
    tcase_add_test(tcase, in_a_cancelled_scope_no_wait_succeeds);
    tcase_add_test(tcase, who_was_woken_before_a_clear_stays_woken);
    tcase_add_test(tcase, a_waiter_woken_and_then_cancelled_returns_0_and_its_next_call_fails);
    tcase_add_test(tcase, a_wait_that_times_out_leaves_the_event_usable);
    tcase_add_test(tcase, of_a_set_and_a_deadline_at_one_moment_the_first_decides);
    tcase_add_test(tcase, setting_and_clearing_twice_is_as_good_as_once);
    tcase_add_test(tcase, an_event_without_waiters_can_be_moved);
    tcase_add_test(tcase, each_64th_wait_that_need_not_wait_lets_others_run);
}

static void
add_misuse(Suite *suite)
{
    TCase *tcase = case_new(suite, "whose it is");

    tcase_add_test(tcase, a_callback_can_set_and_clear_but_not_wait);
    tcase_add_test(tcase, null_is_refused);
    tcase_add_test(tcase, before_any_loop_an_event_can_be_set_and_cleared);
    tcase_add_test(tcase, an_event_of_an_earlier_run_is_refused_until_it_is_zeroed);
    tcase_add_test(tcase, a_task_of_another_loop_is_refused_with_waiters_and_without);
    tcase_add_test(tcase, a_thread_without_a_loop_is_refused_while_the_events_loop_runs);
    tcase_add_test(tcase, between_two_runs_of_its_loop_a_set_wakes_for_the_second);
}

int
main(void)
{
    Suite *suite = suite_create("event");

    add_waiting(suite);
    add_misuse(suite);
    return suite_end(suite);
}
