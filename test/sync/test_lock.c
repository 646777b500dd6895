/* SPDX-License-Identifier: MIT */

/*
 * Locks: who gets one next, and who may take it and give it back. (Owners that end without that are
 * test_lock_owner.c's.)
 */

#include "scene.h"

static uco_lock lock;
static struct trace trace;

static void
begin(void)
{
    memset(&lock, 0, sizeof lock);
    memset(&trace, 0, sizeof trace);
}

static void
acquire(void)
{
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
}

static void
release(void)
{
    ck_assert_int_eq(uco_lock_release(&lock), 0);
}

/* Takes the lock, lets others run while it holds it, and gives it back. */
static intptr_t
passes(void *name)
{
    int r = uco_lock_acquire(&lock);

    if (r < 0)
        return r;
    trace_add(&trace, (char) (intptr_t) name);
    r = uco_yield();
    trace_add(&trace, '.');
    release();
    return r;
}

static intptr_t
order_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    begin();
    acquire();
    arrive_all(tasks, 3, passes);
    ck_assert_str_eq(trace.text, "");
    release();
    join_all(tasks, 3);
    ck_assert_str_eq(trace.text, "a.b.c.");
    ck_assert(!uco_lock_is_held(&lock));
    return 0;
}

/* LK1: in the order of their coming, one at a time. */
START_TEST(waiters_get_the_lock_one_by_one_in_order)
{
    run_in_all_orders(order_main, NULL);
}
END_TEST

static intptr_t
free_main(void *arg)
{
    uint64_t before;

    (void) arg;
    begin();
    ck_assert(!uco_lock_is_held(&lock));
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    settle();
    before = switches();
    for (int i = 0; i < 2; i++) {
        acquire();
        ck_assert(uco_lock_is_held(&lock));
        release();
        ck_assert(!uco_lock_is_held(&lock));
    }
    ck_assert_uint_eq(switches(), before);
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    return 0;
}

/* LK2: a release of what is not held is refused; without waiters it frees the lock. */
START_TEST(a_free_lock_is_taken_without_suspending_and_released_once)
{
    run_in_all_orders(free_main, NULL);
}
END_TEST

static intptr_t
cancel_main(void *arg)
{
    static const char *const passed[] = {"b.c.", "a.c.", "a.b."};
    uco_task *tasks[3];

    (void) arg;
    for (int cancelled = 0; cancelled < 3; cancelled++) {
        begin();
        acquire();
        arrive_all(tasks, 3, passes);
        ck_assert_int_eq(uco_cancel(tasks[cancelled]), 0);
        release();
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(uco_join(tasks[i]), i == cancelled ? -ECANCELED : 0);
        ck_assert_str_eq(trace.text, passed[cancelled]);
        ck_assert(!uco_lock_is_held(&lock));
    }
    return 0;
}

/*
 * LK3: a cancelled waiter is gone; cancel and release in one step, the cancellation first.
 *
 * main           a                        b            c
 * ----           -                        -            -
 * acquire
 *                acquire
 *                                         acquire
 *                                                      acquire
 * cancel a
 * release: b's
 *                -ECANCELED               0
 */
START_TEST(a_cancelled_waiter_is_passed_over)
{
    run_in_all_orders(cancel_main, NULL);
}
END_TEST

static intptr_t
granted_then_cancelled(void *arg)
{
    (void) arg;
    acquire();
    ck_assert_int_eq(uco_yield(), -ECANCELED);
    ck_assert(uco_lock_is_held(&lock));
    release();
    ck_assert_int_eq(uco_lock_acquire(&lock), -ECANCELED);
    return 0;
}

static intptr_t
grant_main(void *arg)
{
    uco_task *a, *b;

    (void) arg;
    begin();
    acquire();
    a = arrive(granted_then_cancelled, 'a');
    b = arrive(passes, 'b');
    release();
    ck_assert_int_eq(uco_cancel(a), 0);
    ck_assert_int_eq(uco_join(a), 0);
    ck_assert_int_eq(uco_join(b), 0);
    return 0;
}

/*
 * main              a                            b
 * ----              -                            -
 * acquire
 *                   acquire
 *                                                acquire
 * release: a's
 * cancel a
 *                   0: it was granted
 *                   yield: -ECANCELED
 *                   release: b's
 *                                                0
 */
START_TEST(a_waiter_that_was_given_the_lock_and_then_cancelled_has_it)
{
    run_in_all_orders(grant_main, NULL);
}
END_TEST

static intptr_t
barging_main(void *arg)
{
    uco_task *a, *late;

    (void) arg;
    begin();
    acquire();
    a = arrive(passes, 'a');
    late = uco_create_task(passes, (void *) (intptr_t) 'b');
    release();
    ck_assert_int_eq(uco_lock_try_acquire(&lock), -EBUSY);
    acquire();
    ck_assert_str_eq(trace.text, "a.");
    release();
    ck_assert_int_eq(uco_join(a), 0);
    ck_assert_int_eq(uco_join(late), 0);
    ck_assert_str_eq(trace.text, "a.b.");
    return 0;
}

/*
 * LK7: nobody takes what is handed over to another.
 *
 * main                    a             b
 * ----                    -             -
 * acquire
 *                         acquire
 * starts b
 * release: a's
 * try_acquire: -EBUSY
 * acquire
 *                         0             acquire, before or after a goes on
 *                         release
 * 0
 * release
 *                                       0
 */
START_TEST(a_newcomer_does_not_overtake_a_waiter)
{
    run_in_all_orders(barging_main, NULL);
}
END_TEST

static intptr_t
releases_anothers(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_try_acquire(&lock), -EBUSY);
    return 0;
}

static intptr_t
owner_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin();
    acquire();
    ck_assert_int_eq(uco_lock_acquire(&lock), -EDEADLK);
    ck_assert_int_eq(uco_lock_try_acquire(&lock), -EDEADLK);
    waiter = arrive(passes, 'a');
    ck_assert_int_eq(uco_lock_acquire(&lock), -EDEADLK);
    ck_assert_int_eq(uco_join(uco_create_task(releases_anothers, NULL)), 0);
    ck_assert(uco_lock_is_held(&lock));
    release(); /* one is enough */
    return uco_join(waiter);
}

/* LK8: the owner can't take it again, and nobody else can release it. */
START_TEST(a_lock_is_its_owners_and_is_taken_once)
{
    run_in_all_orders(owner_main, NULL);
}
END_TEST

static intptr_t
handover_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin();
    ck_assert_int_eq(uco_lock_try_acquire(&lock), 0);
    waiter = arrive(passes, 'a');
    release();
    ck_assert(uco_lock_is_held(&lock));
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    ck_assert_str_eq(trace.text, ""); /* it has not run yet */
    return uco_join(waiter);
}

/* LK10: the next owner is it from the release on, before it runs. */
START_TEST(the_lock_belongs_to_the_waiter_when_release_returns)
{
    run_in_all_orders(handover_main, NULL);
}
END_TEST

static intptr_t
passes_in_a_second(void *name)
{
    return uco_with_timeout(1.0, passes, name);
}

static intptr_t
works(void *number)
{
    int r = uco_lock_acquire(&lock);

    if (r < 0)
        return r;
    ck_assert_uint_eq(trace.size++, 0); /* it is the only one inside */
    r = uco_sleep((double) ((intptr_t) number % 3));
    trace.size--;
    release();
    return r;
}

static intptr_t
works_or_gives_up(void *number)
{
    return uco_with_timeout((double) (1 + (intptr_t) number % 7), works, number);
}

static intptr_t
crowd_main(void *arg)
{
    uco_task *tasks[20];

    (void) arg;
    begin();
    for (intptr_t i = 0; i < 20; i++)
        tasks[i] = uco_create_task(works_or_gives_up, (void *) i);
    for (int i = 0; i < 20; i++) {
        intptr_t r = uco_join(tasks[i]);

        ck_assert(r == 0 || r == -ETIMEDOUT);
    }
    ck_assert(!uco_lock_is_held(&lock));
    return works(NULL);
}

START_TEST(whatever_times_out_when_one_at_a_time_holds_the_lock)
{
    run_in_all_orders(crowd_main, NULL);
}
END_TEST

static int
acquire_here(void)
{
    return uco_lock_acquire(&lock);
}

static int
pass_here(void)
{
    return uco_lock_acquire(&lock) == 0 ? uco_lock_release(&lock) : -1;
}

static intptr_t
checkpoint_main(void *arg)
{
    uco_scope scope;

    (void) arg;
    begin();
    assert_cancellation_point(acquire_here);
    ck_assert(!uco_lock_is_held(&lock));
    assert_lets_others_run(pass_here);
    open_cancelled(&scope);
    ck_assert_int_eq(uco_lock_try_acquire(&lock), 0); /* is no cancellation point */
    release();
    return uco_scope_close(&scope, 0);
}

START_TEST(acquire_is_a_cancellation_point_and_lets_others_run_each_64th_time)
{
    run_in_all_orders(checkpoint_main, NULL);
}
END_TEST

static void
callback_misuses(void *arg)
{
    ck_assert_int_eq(uco_lock_acquire(arg), -EPERM);
    ck_assert_int_eq(uco_lock_acquire(NULL), -EPERM);
    ck_assert_int_eq(uco_lock_try_acquire(arg), -EPERM);
    ck_assert_int_eq(uco_lock_release(arg), -EPERM);
    ck_assert(uco_lock_is_held(arg));
}

static intptr_t
callback_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin();
    acquire();
    waiter = arrive(passes, 'a');
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_misuses, &lock), 0);
    settle();
    ck_assert(!uco_done(waiter));
    release();
    return uco_join(waiter);
}

START_TEST(a_callback_is_no_coroutine_and_no_owner)
{
    run_in_all_orders(callback_main, NULL);
}
END_TEST

static intptr_t
null_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(NULL), -EINVAL);
    ck_assert_int_eq(uco_lock_try_acquire(NULL), -EINVAL);
    ck_assert_int_eq(uco_lock_release(NULL), -EINVAL);
    ck_assert(!uco_lock_is_held(NULL));
    return 0;
}

/* Suspending calls look at the caller first, others at the lock. */
START_TEST(null_and_callers_outside_a_coroutine_are_refused)
{
    run_in_all_orders(null_main, NULL);
    begin();
    ck_assert_int_eq(uco_lock_acquire(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_acquire(NULL), -EPERM);
    ck_assert_int_eq(uco_lock_try_acquire(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_try_acquire(NULL), -EINVAL);
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_release(NULL), -EINVAL);
    ck_assert(!uco_lock_is_held(&lock));
}
END_TEST

static intptr_t
refused_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_try_acquire(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    return 0;
}

START_TEST(a_lock_of_an_earlier_run_is_refused_until_it_is_zeroed)
{
    begin();
    ck_assert_int_eq(run_virtual(passes, NULL), 0);
    run_in_all_orders(refused_main, NULL);
    ck_assert(!uco_lock_is_held(&lock));
    run_in_all_orders(free_main, NULL); /* zeroes it */
}
END_TEST

static intptr_t
release_unowned_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    return 0;
}

START_TEST(a_refused_release_binds_the_lock_to_no_loop)
{
    begin();
    ck_assert_int_eq(run_virtual(release_unowned_main, NULL), 0);
    ck_assert_int_eq(run_virtual(passes, NULL), 0);
}
END_TEST

static intptr_t
elsewhere_main(void *other_loop)
{
    uco_task *waiter;

    begin();
    acquire();
    in_loop(other_loop, refused_main);
    waiter = arrive(passes, 'a');
    in_loop(other_loop, refused_main);
    ck_assert(!uco_done(waiter));
    release();
    ck_assert_int_eq(uco_join(waiter), 0);
    in_loop(other_loop, refused_main); /* also while it is free */
    return passes(NULL);
}

START_TEST(a_task_of_another_loop_is_refused_contended_or_not)
{
    run_beside_a_loop(elsewhere_main);
}
END_TEST

static void *
foreign_thread(void *arg)
{
    refused_main(arg);
    return NULL;
}

static intptr_t
foreign_main(void *arg)
{
    (void) arg;
    begin();
    acquire();
    in_thread(foreign_thread, NULL);
    ck_assert(uco_lock_is_held(&lock));
    release();
    in_thread(foreign_thread, NULL);
    ck_assert(!uco_lock_is_held(&lock));
    return 0;
}

START_TEST(a_thread_without_a_loop_is_refused)
{
    run_in_all_orders(foreign_main, NULL);
}
END_TEST

static intptr_t
acquires_after_a_while(void *name)
{
    acquire();
    ck_assert_int_eq(uco_sleep(5.0), 0);
    release();
    return passes(name);
}

static void
look_while_held(void)
{
    ck_assert(uco_lock_is_held(&lock));
    refused_main(NULL);
}

START_TEST(between_two_runs_of_its_loop_a_lock_stays_held)
{
    begin();
    run_twice(acquires_after_a_while, look_while_held);
    ck_assert_str_eq(trace.text, "a.");
    ck_assert(!uco_lock_is_held(&lock));
}
END_TEST

static intptr_t
moved_main(void *arg)
{
    uco_lock moved;

    (void) arg;
    begin();
    acquire();
    ck_assert_int_eq(uco_join(arrive(passes_in_a_second, 'a')), -ETIMEDOUT);
    moved = lock;
    memset(&lock, 0xff, sizeof lock);
    ck_assert_int_eq(uco_lock_acquire(&moved), -EDEADLK);
    ck_assert_int_eq(uco_lock_release(&moved), 0);
    ck_assert(!uco_lock_is_held(&moved));
    return 0;
}

START_TEST(a_lock_that_nobody_waits_for_can_be_moved)
{
    run_in_all_orders(moved_main, NULL);
}
END_TEST

static void
add_waiting(Suite *suite)
{
    TCase *tcase = case_new(suite, "waiting");

    tcase_add_test(tcase, waiters_get_the_lock_one_by_one_in_order);
    tcase_add_test(tcase, a_free_lock_is_taken_without_suspending_and_released_once);
    tcase_add_test(tcase, a_cancelled_waiter_is_passed_over);
    tcase_add_test(tcase, a_waiter_that_was_given_the_lock_and_then_cancelled_has_it);
    tcase_add_test(tcase, a_newcomer_does_not_overtake_a_waiter);
    tcase_add_test(tcase, a_lock_is_its_owners_and_is_taken_once);
    tcase_add_test(tcase, the_lock_belongs_to_the_waiter_when_release_returns);
    tcase_add_test(tcase, whatever_times_out_when_one_at_a_time_holds_the_lock);
    tcase_add_test(tcase, acquire_is_a_cancellation_point_and_lets_others_run_each_64th_time);
    tcase_add_test(tcase, a_lock_that_nobody_waits_for_can_be_moved);
}

static void
add_misuse(Suite *suite)
{
    TCase *tcase = case_new(suite, "whose it is");

    tcase_add_test(tcase, a_callback_is_no_coroutine_and_no_owner);
    tcase_add_test(tcase, null_and_callers_outside_a_coroutine_are_refused);
    tcase_add_test(tcase, a_lock_of_an_earlier_run_is_refused_until_it_is_zeroed);
    tcase_add_test(tcase, a_refused_release_binds_the_lock_to_no_loop);
    tcase_add_test(tcase, a_task_of_another_loop_is_refused_contended_or_not);
    tcase_add_test(tcase, a_thread_without_a_loop_is_refused);
    tcase_add_test(tcase, between_two_runs_of_its_loop_a_lock_stays_held);
}

int
main(void)
{
    Suite *suite = suite_create("lock");

    add_waiting(suite);
    add_misuse(suite);
    return suite_end(suite);
}
