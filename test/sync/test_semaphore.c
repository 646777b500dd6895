/* SPDX-License-Identifier: MIT */

/*
 * Semaphores: permits are handed over in order, and no cancellation loses or doubles one.
 */

#include "scene.h"

static uco_semaphore semaphore;
static struct trace trace;

static void
begin(size_t permits)
{
    ck_assert_int_eq(uco_semaphore_init(&semaphore, permits), 0);
    memset(&trace, 0, sizeof trace);
}

static void
release(int times)
{
    for (int i = 0; i < times; i++)
        ck_assert_int_eq(uco_semaphore_release(&semaphore), 0);
}

/* So many permits are free, and are taken. */
static void
drain(int permits)
{
    for (; permits > 0; permits--) {
        ck_assert_uint_eq(uco_semaphore_value(&semaphore), (size_t) permits);
        ck_assert_int_eq(uco_semaphore_try_acquire(&semaphore), 0);
    }
    ck_assert_int_eq(uco_semaphore_try_acquire(&semaphore), -EAGAIN);
    ck_assert_uint_eq(uco_semaphore_value(&semaphore), 0);
}

/* Takes a permit and keeps it. */
static intptr_t
takes(void *name)
{
    int r = uco_semaphore_acquire(&semaphore);

    if (r == 0)
        trace_add(&trace, (char) (intptr_t) name);
    return r;
}

static intptr_t
initial_main(void *arg)
{
    uco_semaphore zeroed = {0};
    uint64_t before;
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(uco_semaphore_try_acquire(&zeroed), -EAGAIN);
    begin(3);
    settle();
    before = switches();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_semaphore_acquire(&semaphore), 0);
    ck_assert_uint_eq(switches(), before); /* a free permit is taken without suspending */
    task = arrive(takes, 'a');
    ck_assert(!uco_done(task));
    release(1);
    ck_assert_int_eq(uco_join(task), 0);
    release(2);
    drain(2);
    return 0;
}

/* SM1: as many are let in as there are permits; a zeroed one has none. */
START_TEST(as_many_as_there_are_permits_need_not_wait)
{
    run_in_all_orders(initial_main, NULL);
}
END_TEST

static intptr_t
overflow_main(void *arg)
{
    (void) arg;
    begin(SIZE_MAX);
    ck_assert_int_eq(uco_semaphore_release(&semaphore), -EOVERFLOW);
    ck_assert_int_eq(uco_semaphore_acquire(&semaphore), 0);
    release(1);
    ck_assert_int_eq(uco_semaphore_release(&semaphore), -EOVERFLOW);
    return uco_semaphore_acquire(&semaphore);
}

/* SM1: a release too many is refused where the count would overflow, and changes nothing. */
START_TEST(there_can_be_SIZE_MAX_permits_and_no_more)
{
    run_in_all_orders(overflow_main, NULL);
}
END_TEST

static intptr_t
takes_thrice(void *name)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(takes(name), 0);
        release(1);
    }
    return 0;
}

static intptr_t
repeated_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    begin(0);
    arrive_all(tasks, 3, takes_thrice);
    release(1);
    join_all(tasks, 3);
    ck_assert_str_eq(trace.text, "abcabcabc");
    drain(1);
    return 0;
}

/* SM4: waiters are served in the order of their coming, and who wants a permit again stands behind
 * the others. */
START_TEST(tasks_that_acquire_again_and_again_take_turns)
{
    run_in_all_orders(repeated_main, NULL);
}
END_TEST

static intptr_t
barging_main(void *arg)
{
    uco_task *tasks[4];

    (void) arg;
    begin(0);
    arrive_all(tasks, 3, takes);
    tasks[3] = uco_create_task(takes, (void *) (intptr_t) 'd');
    release(3);
    ck_assert_int_eq(uco_semaphore_try_acquire(&semaphore), -EAGAIN);
    ck_assert_str_eq(trace.text, "");
    settle();
    ck_assert_uint_eq(trace.size, 3);
    ck_assert_ptr_null(strchr(trace.text, 'd'));
    release(1);
    join_all(tasks, 4);
    return 0;
}

/*
 * SM5: permits that were handed over are not free, though nobody has run yet.
 *
 * main                         a, b, c        d
 * ----                         -------        -
 *                              acquire
 * starts d
 * release, three times
 * try_acquire: -EAGAIN
 *                              0              acquire, in any order: d waits
 */
START_TEST(three_releases_at_once_serve_three_and_no_newcomer)
{
    run_in_all_orders(barging_main, NULL);
}
END_TEST

static intptr_t
barging_acquire_main(void *arg)
{
    uco_task *task;

    (void) arg;
    begin(0);
    task = arrive(takes_thrice, 'a');
    release(1);
    ck_assert_int_eq(takes((void *) (intptr_t) 'm'), 0);
    ck_assert_str_eq(trace.text, "am");
    release(1);
    return uco_join(task);
}

START_TEST(who_releases_and_acquires_at_once_does_not_take_the_permit_back)
{
    run_in_all_orders(barging_acquire_main, NULL);
}
END_TEST

static intptr_t
cancel_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    for (int cancelled = 0; cancelled < 3; cancelled++) {
        begin(0);
        arrive_all(tasks, 3, takes);
        ck_assert_int_eq(uco_cancel(tasks[cancelled]), 0);
        release(3);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(uco_join(tasks[i]), i == cancelled ? -ECANCELED : 0);
        drain(1);
    }
    return 0;
}

/*
 * SM3: cancel and release in one step, the cancellation first.
 *
 * main                     a              b              c
 * ----                     -              -              -
 *                          acquire
 *                                         acquire
 *                                                        acquire
 * cancel one, here b
 * release, three times
 *                          0              -ECANCELED     0
 * one permit is left
 */
START_TEST(a_waiter_that_is_cancelled_first_takes_no_permit)
{
    run_in_all_orders(cancel_main, NULL);
}
END_TEST

static intptr_t
granted_then_cancelled(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_semaphore_acquire(&semaphore), 0);
    ck_assert_int_eq(uco_semaphore_acquire(&semaphore), -ECANCELED);
    release(1); /* works in a cancelled task */
    return 0;
}

static intptr_t
grant_main(void *arg)
{
    uco_task *a, *b;

    (void) arg;
    begin(0);
    a = arrive(granted_then_cancelled, 'a');
    b = arrive(takes, 'b');
    release(1);
    ck_assert_int_eq(uco_cancel(a), 0);
    ck_assert_int_eq(uco_join(a), 0);
    ck_assert_int_eq(uco_join(b), 0);
    drain(0);
    return 0;
}

/*
 * SM3: the same, the release first.
 *
 * main                a                            b
 * ----                -                            -
 *                     acquire
 *                                                  acquire
 * release: a's
 * cancel a
 *                     0: it was granted
 *                     acquire: -ECANCELED
 *                     release: b's
 *                                                  0
 */
START_TEST(a_permit_that_was_granted_stays_so_when_its_taker_is_cancelled)
{
    run_in_all_orders(grant_main, NULL);
}
END_TEST

static intptr_t
takes_in_a_second(void *name)
{
    return uco_with_timeout(1.0, takes, name);
}

static void
callback_release(void *s)
{
    ck_assert_int_eq(uco_semaphore_release(s), 0);
}

static intptr_t
timeout_main(void *arg)
{
    uco_task *hasty, *patient;

    (void) arg;
    begin(0);
    hasty = arrive(takes_in_a_second, 'a');
    patient = arrive(takes, 'b');
    ck_assert_uint_ne(
        uco_loop_call_later(uco_get_running_loop(), 2.0, callback_release, &semaphore), 0);
    ck_assert_int_eq(uco_join(hasty), -ETIMEDOUT);
    assert_time(1.0);
    ck_assert_int_eq(uco_join(patient), 0);
    assert_time(2.0);
    drain(0);
    return 0;
}

START_TEST(a_waiter_that_times_out_is_passed_over)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

/* Holds a permit, for a time that several share. */
static intptr_t
uses(void *number)
{
    int r = uco_semaphore_acquire(&semaphore);

    if (r < 0)
        return r;
    trace.size++;
    ck_assert_uint_le(trace.size, 2);
    r = uco_sleep((double) (1 + (intptr_t) number % 3));
    trace.size--;
    release(1);
    return r;
}

static intptr_t
uses_or_gives_up(void *number)
{
    return uco_with_timeout((double) (1 + (intptr_t) number % 5), uses, number);
}

static intptr_t
crowd_main(void *arg)
{
    uco_task *tasks[20];

    (void) arg;
    begin(2);
    for (intptr_t i = 0; i < 20; i++)
        tasks[i] = uco_create_task(uses_or_gives_up, (void *) i);
    for (int i = 0; i < 20; i++) {
        intptr_t r = uco_join(tasks[i]);

        ck_assert(r == 0 || r == -ETIMEDOUT);
    }
    drain(2);
    return 0;
}

START_TEST(whatever_times_out_when_no_permit_is_lost_or_doubled)
{
    run_in_all_orders(crowd_main, NULL);
}
END_TEST

static int
acquire_here(void)
{
    return uco_semaphore_acquire(&semaphore);
}

static intptr_t
checkpoint_main(void *arg)
{
    uco_scope scope;

    (void) arg;
    begin(0);
    assert_cancellation_point(acquire_here);
    release(1);
    assert_cancellation_point(acquire_here);
    open_cancelled(&scope);
    drain(1); /* trying is no cancellation point */
    return uco_scope_close(&scope, 0);
}

START_TEST(in_a_cancelled_scope_acquire_takes_no_permit_and_try_acquire_does)
{
    run_in_all_orders(checkpoint_main, NULL);
}
END_TEST

static intptr_t
fair_main(void *arg)
{
    (void) arg;
    begin(1000);
    assert_lets_others_run(acquire_here);
    return 0;
}

START_TEST(each_64th_acquire_that_need_not_wait_lets_others_run)
{
    run_in_all_orders(fair_main, NULL);
}
END_TEST

static void
callback_uses(void *s)
{
    ck_assert_int_eq(uco_semaphore_acquire(s), -EPERM);
    ck_assert_int_eq(uco_semaphore_acquire(NULL), -EPERM);
    ck_assert_int_eq(uco_semaphore_release(s), 0); /* goes to the one who waits */
    ck_assert_int_eq(uco_semaphore_try_acquire(s), -EAGAIN);
    ck_assert_int_eq(uco_semaphore_release(s), 0);
    ck_assert_int_eq(uco_semaphore_try_acquire(s), 0);
}

static intptr_t
callback_main(void *arg)
{
    (void) arg;
    begin(0);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_uses, &semaphore), 0);
    return takes(NULL);
}

START_TEST(a_callback_can_try_and_release_but_not_wait)
{
    run_in_all_orders(callback_main, NULL);
}
END_TEST

static intptr_t
null_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_semaphore_init(NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_semaphore_acquire(NULL), -EINVAL);
    ck_assert_int_eq(uco_semaphore_try_acquire(NULL), -EINVAL);
    ck_assert_int_eq(uco_semaphore_release(NULL), -EINVAL);
    ck_assert_uint_eq(uco_semaphore_value(NULL), 0);
    return 0;
}

static intptr_t
drain_one_main(void *arg)
{
    (void) arg;
    drain(1);
    return 0;
}

START_TEST(null_is_refused)
{
    run_in_all_orders(null_main, NULL);
    ck_assert_int_eq(uco_semaphore_acquire(NULL), -EPERM); /* the caller is looked at first */
    ck_assert_int_eq(uco_semaphore_try_acquire(NULL), -EINVAL);
    ck_assert_int_eq(uco_semaphore_release(NULL), -EINVAL);
}
END_TEST

START_TEST(before_any_loop_permits_can_be_released_and_tried)
{
    begin(1);
    ck_assert_int_eq(uco_semaphore_acquire(&semaphore), -EPERM);
    drain(1);
    release(1);
    ck_assert_int_eq(run_virtual(drain_one_main, NULL), 0);
}
END_TEST

static intptr_t
refused_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_semaphore_acquire(&semaphore), -EPERM);
    ck_assert_int_eq(uco_semaphore_try_acquire(&semaphore), -EPERM);
    ck_assert_int_eq(uco_semaphore_release(&semaphore), -EPERM);
    return 0;
}

START_TEST(a_semaphore_of_an_earlier_run_is_refused_until_it_is_made_anew)
{
    begin(1);
    ck_assert_int_eq(run_virtual(drain_one_main, NULL), 0);
    run_in_all_orders(refused_main, NULL);
    release(1); /* its loop does not run */
    drain(1);
    run_in_all_orders(refused_main, NULL);
    run_in_all_orders(initial_main, NULL); /* makes it anew */
}
END_TEST

static intptr_t
elsewhere_main(void *other_loop)
{
    uco_task *waiter;

    begin(0);
    waiter = arrive(takes, 'a');
    in_loop(other_loop, refused_main);
    settle();
    ck_assert(!uco_done(waiter));
    release(2);
    in_loop(other_loop, refused_main);
    drain(1);
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
    refused_main(NULL);
    ck_assert_int_eq(uco_semaphore_init(unbound, 0), 0); /* any thread */
    ck_assert_int_eq(uco_semaphore_release(unbound), 0);
    return NULL;
}

static intptr_t
foreign_main(void *arg)
{
    uco_semaphore unbound;
    uco_task *waiter;

    (void) arg;
    begin(0);
    waiter = arrive(takes, 'a');
    in_thread(foreign_thread, &unbound);
    ck_assert_int_eq(uco_semaphore_try_acquire(&unbound), 0);
    release(1);
    return uco_join(waiter);
}

START_TEST(a_thread_without_a_loop_is_refused_while_the_semaphores_loop_runs)
{
    run_in_all_orders(foreign_main, NULL);
}
END_TEST

static void
release_two_take_one(void)
{
    release(2);
    drain(1);
}

START_TEST(between_two_runs_of_its_loop_a_release_serves_for_the_second)
{
    begin(0);
    run_twice(takes, release_two_take_one);
    ck_assert_str_eq(trace.text, "a");
}
END_TEST

static void
add_waiting(Suite *suite)
{
    TCase *tcase = case_new(suite, "waiting");

    tcase_add_test(tcase, as_many_as_there_are_permits_need_not_wait);
    tcase_add_test(tcase, there_can_be_SIZE_MAX_permits_and_no_more);
    tcase_add_test(tcase, tasks_that_acquire_again_and_again_take_turns);
    tcase_add_test(tcase, three_releases_at_once_serve_three_and_no_newcomer);
    tcase_add_test(tcase, who_releases_and_acquires_at_once_does_not_take_the_permit_back);
    tcase_add_test(tcase, a_waiter_that_is_cancelled_first_takes_no_permit);
    tcase_add_test(tcase, a_permit_that_was_granted_stays_so_when_its_taker_is_cancelled);
    tcase_add_test(tcase, a_waiter_that_times_out_is_passed_over);
    tcase_add_test(tcase, whatever_times_out_when_no_permit_is_lost_or_doubled);
    tcase_add_test(tcase, in_a_cancelled_scope_acquire_takes_no_permit_and_try_acquire_does);
    tcase_add_test(tcase, each_64th_acquire_that_need_not_wait_lets_others_run);
}

static void
add_misuse(Suite *suite)
{
    TCase *tcase = case_new(suite, "whose it is");

    tcase_add_test(tcase, a_callback_can_try_and_release_but_not_wait);
    tcase_add_test(tcase, null_is_refused);
    tcase_add_test(tcase, before_any_loop_permits_can_be_released_and_tried);
    tcase_add_test(tcase, a_semaphore_of_an_earlier_run_is_refused_until_it_is_made_anew);
    tcase_add_test(tcase, a_task_of_another_loop_is_refused_with_waiters_and_without);
    tcase_add_test(tcase, a_thread_without_a_loop_is_refused_while_the_semaphores_loop_runs);
    tcase_add_test(tcase, between_two_runs_of_its_loop_a_release_serves_for_the_second);
}

int
main(void)
{
    Suite *suite = suite_create("semaphore");

    add_waiting(suite);
    add_misuse(suite);
    return suite_end(suite);
}
