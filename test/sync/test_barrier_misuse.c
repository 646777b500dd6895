/* SPDX-License-Identifier: MIT */

/*
 * Barriers used where they can't be: not initialised, outside a coroutine, on two loops, between
 * two runs.
 */

#include "scene.h"

static uco_barrier barrier;

static void
begin(size_t parties)
{
    ck_assert_int_eq(uco_barrier_init(&barrier, parties), 0);
}

static intptr_t
waits(void *arg)
{
    (void) arg;
    return uco_barrier_wait(&barrier);
}

static intptr_t
not_initialised_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EINVAL);
    ck_assert_int_eq(uco_barrier_abort(&barrier), -EINVAL);
    ck_assert_int_eq(uco_barrier_reset(&barrier), -EINVAL);
    return 0;
}

START_TEST(a_zeroed_barrier_is_refused_on_any_loop)
{
    memset(&barrier, 0, sizeof barrier);
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EPERM); /* the caller is looked at first */
    ck_assert_int_eq(uco_barrier_abort(&barrier), -EINVAL);
    ck_assert_int_eq(uco_barrier_reset(&barrier), -EINVAL);
    run_in_all_orders(not_initialised_main, NULL);
}
END_TEST

static intptr_t
no_parties_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin(2);
    ck_assert_int_eq(uco_barrier_init(&barrier, 0), -EINVAL);
    waiter = arrive(waits, 'a'); /* it is what it was */
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    return uco_join(waiter);
}

START_TEST(a_barrier_of_no_parties_is_refused)
{
    run_in_all_orders(no_parties_main, NULL);
}
END_TEST

static intptr_t
null_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_barrier_init(NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_barrier_init(NULL, 0), -EINVAL);
    ck_assert_int_eq(uco_barrier_wait(NULL), -EINVAL);
    ck_assert_int_eq(uco_barrier_abort(NULL), -EINVAL);
    ck_assert_int_eq(uco_barrier_reset(NULL), -EINVAL);
    return 0;
}

START_TEST(null_is_refused)
{
    run_in_all_orders(null_main, NULL);
    ck_assert_int_eq(uco_barrier_wait(NULL), -EPERM);
    ck_assert_int_eq(uco_barrier_abort(NULL), -EINVAL);
    ck_assert_int_eq(uco_barrier_reset(NULL), -EINVAL);
}
END_TEST

static void
callback_uses(void *arg)
{
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EPERM);
    ck_assert_int_eq(uco_barrier_wait(NULL), -EPERM);
    if (arg != NULL)
        ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    else
        ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
}

static intptr_t
callback_main(void *aborts)
{
    begin(2);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_uses, aborts), 0);
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EPIPE);
    return 0;
}

START_TEST(a_callback_can_break_a_barrier_but_not_wait)
{
    run_in_all_orders(callback_main, &barrier);
    run_in_all_orders(callback_main, NULL);
}
END_TEST

static intptr_t
passes_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_barrier_wait(&barrier), 0);
    return 0;
}

static intptr_t
broken_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EPIPE);
    return 0;
}

START_TEST(before_any_loop_a_barrier_can_be_broken_and_reset)
{
    begin(1);
    ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
    ck_assert_int_eq(run_virtual(passes_main, NULL), 0);
    begin(1);
    ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    ck_assert_int_eq(run_virtual(broken_main, NULL), 0);
}
END_TEST

static intptr_t
refused_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EPERM);
    ck_assert_int_eq(uco_barrier_abort(&barrier), -EPERM);
    ck_assert_int_eq(uco_barrier_reset(&barrier), -EPERM);
    return 0;
}

START_TEST(a_barrier_of_an_earlier_run_is_refused_until_it_is_made_anew)
{
    begin(1);
    ck_assert_int_eq(run_virtual(passes_main, NULL), 0);
    run_in_all_orders(refused_main, NULL);
    ck_assert_int_eq(uco_barrier_abort(&barrier), 0); /* its loop does not run */
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
    run_in_all_orders(refused_main, NULL);
    begin(1);
    ck_assert_int_eq(run_virtual(passes_main, NULL), 0);
}
END_TEST

static intptr_t
elsewhere_main(void *other_loop)
{
    uco_task *waiter;

    begin(2);
    waiter = arrive(waits, 'a');
    in_loop(other_loop, refused_main);
    settle();
    ck_assert(!uco_done(waiter));
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    ck_assert_int_eq(uco_join(waiter), 0);
    in_loop(other_loop, refused_main);
    return 0;
}

START_TEST(a_task_of_another_loop_is_refused_with_waiters_and_without)
{
    run_beside_a_loop(elsewhere_main);
}
END_TEST

static void *
foreign_thread(void *unbound)
{
    refused_main(NULL);
    ck_assert_int_eq(uco_barrier_init(unbound, 1), 0); /* any thread */
    ck_assert_int_eq(uco_barrier_abort(unbound), 0);
    return NULL;
}

static intptr_t
foreign_main(void *arg)
{
    uco_barrier unbound;
    uco_task *waiter;

    (void) arg;
    begin(2);
    waiter = arrive(waits, 'a');
    in_thread(foreign_thread, &unbound);
    ck_assert_int_eq(uco_barrier_wait(&unbound), -EPIPE);
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    return uco_join(waiter);
}

START_TEST(a_thread_without_a_loop_is_refused_while_the_barriers_loop_runs)
{
    run_in_all_orders(foreign_main, NULL);
}
END_TEST

static intptr_t
waits_until_broken(void *arg)
{
    return waits(arg) == -EPIPE ? 0 : -EINVAL;
}

static void
reset_barrier(void)
{
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
}

static void
abort_barrier(void)
{
    ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
}

START_TEST(between_two_runs_of_its_loop_a_break_counts_for_the_second)
{
    begin(2);
    run_twice(waits_until_broken, reset_barrier);
    begin(2);
    run_twice(waits_until_broken, abort_barrier);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("barrier misuse");
    TCase *tcase = case_new(suite, "whose it is");

    tcase_add_test(tcase, a_zeroed_barrier_is_refused_on_any_loop);
    tcase_add_test(tcase, a_barrier_of_no_parties_is_refused);
    tcase_add_test(tcase, null_is_refused);
    tcase_add_test(tcase, a_callback_can_break_a_barrier_but_not_wait);
    tcase_add_test(tcase, before_any_loop_a_barrier_can_be_broken_and_reset);
    tcase_add_test(tcase, a_barrier_of_an_earlier_run_is_refused_until_it_is_made_anew);
    tcase_add_test(tcase, a_task_of_another_loop_is_refused_with_waiters_and_without);
    tcase_add_test(tcase, a_thread_without_a_loop_is_refused_while_the_barriers_loop_runs);
    tcase_add_test(tcase, between_two_runs_of_its_loop_a_break_counts_for_the_second);
    return suite_end(suite);
}
