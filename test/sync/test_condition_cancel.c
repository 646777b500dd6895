/* SPDX-License-Identifier: MIT */

/*
 * Conditions in which waiters are cancelled, time out, or lose the lock to one that ends with it:
 * the lock is held again whatever happens, and no notification is lost.
 */

#include "condition_scene.h"

static bool
has_items(void *needed)
{
    return items >= (int) (intptr_t) needed;
}

static intptr_t
cancel_main(void *arg)
{
    uco_task *a, *b;

    (void) arg;
    begin();
    a = arrive(waits, 'a');
    b = arrive(waits, 'b');
    acquire();
    ck_assert_int_eq(uco_cancel(a), 0);
    settle();
    ck_assert(!uco_done(a)); /* taking the lock again is not interrupted */
    release();
    ck_assert_int_eq(uco_join(a), -ECANCELED);
    notify(1);
    ck_assert_int_eq(uco_join(b), 0);
    ck_assert_str_eq(trace.text, "Ab");
    return 0;
}

/*
 * CN4: the cancellation is delivered with the lock held.
 *
 * main              a                     b
 * ----              -                     -
 *                   wait
 *                                         wait
 * acquire
 * cancel a
 *                   waits for the lock
 * release
 *                   -ECANCELED, owner
 * notify(1)
 *                                         0
 */
START_TEST(a_cancelled_waiter_has_the_lock_again_before_it_is_told)
{
    run_in_all_orders(cancel_main, NULL);
}
END_TEST

static intptr_t
cancel_then_notify_main(void *arg)
{
    uco_task *a, *b;

    (void) arg;
    begin();
    a = arrive(waits, 'a');
    b = arrive(waits, 'b');
    ck_assert_int_eq(uco_cancel(a), 0);
    notify(1);
    ck_assert_int_eq(uco_join(a), -ECANCELED);
    ck_assert_int_eq(uco_join(b), 0);
    return 0;
}

/*
 * main              a              b
 * ----              -              -
 *                   wait
 *                                  wait
 * cancel a
 * notify(1): b's
 *                   -ECANCELED     0
 */
START_TEST(a_cancelled_waiter_takes_no_notification)
{
    run_in_all_orders(cancel_then_notify_main, NULL);
}
END_TEST

static intptr_t
notified_then_cancelled(void *name)
{
    acquire();
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), 0);
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -ECANCELED);
    return finish(name, 0);
}

static intptr_t
relock_main(void *while_locked)
{
    uco_task *a, *b;

    begin();
    a = arrive(notified_then_cancelled, 'a');
    b = arrive(waits, 'b');
    if (while_locked != NULL)
        acquire();
    notify(1);
    if (while_locked != NULL)
        settle(); /* a waits for the lock */
    ck_assert_int_eq(uco_cancel(a), 0);
    settle();
    ck_assert(uco_done(a) == (while_locked == NULL));
    if (while_locked != NULL)
        release();
    ck_assert_int_eq(uco_join(a), 0);
    ck_assert(!uco_done(b));
    notify(1);
    ck_assert_int_eq(uco_join(b), 0);
    return 0;
}

/*
 * CN7: cancelled after the notification, also while it waits for the lock.
 *
 * main              a                            b
 * ----              -                            -
 *                   wait
 *                                                wait
 * acquire, or not
 * notify(1): a's
 * cancel a
 * release
 *                   0: it was notified
 *                   wait: -ECANCELED
 *                                                waits still
 */
START_TEST(a_waiter_notified_and_then_cancelled_returns_0_and_its_next_wait_fails)
{
    run_in_all_orders(relock_main, NULL);
    run_in_all_orders(relock_main, &lock);
}
END_TEST

static intptr_t
cancelled_before_main(void *arg)
{
    uco_task *task;
    uco_scope scope;

    (void) arg;
    begin();
    acquire();
    task = uco_create_task(waits, NULL);
    open_cancelled(&scope);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_condition_wait(&condition, &lock), -ECANCELED);
        ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, has_items, NULL), -ECANCELED);
    }
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_lock_acquire(&lock), -EDEADLK); /* it never let go of it */
    release();
    settle();
    notify(1);
    return uco_join(task);
}

/* CN8: also wait_for, though its predicate holds. */
START_TEST(in_a_scope_cancelled_before_wait_fails_without_letting_go_of_the_lock)
{
    run_in_all_orders(cancelled_before_main, NULL);
}
END_TEST

static intptr_t
waits_here(void *arg)
{
    (void) arg;
    return uco_condition_wait(&condition, &lock);
}

static intptr_t
timeout_main(void *arg)
{
    uco_task *other;

    (void) arg;
    begin();
    acquire();
    ck_assert_int_eq(uco_with_timeout(1.0, waits_here, NULL), -ETIMEDOUT);
    assert_time(1.0);
    ck_assert_int_eq(uco_lock_acquire(&lock), -EDEADLK);
    ck_assert(!uco_cancelled());
    release();
    other = arrive(waits, 'a');
    notify(1);
    return uco_join(other);
}

/* CN9, CN8: the timeout is the scope's alone; lock and condition stay usable. */
START_TEST(a_wait_that_times_out_leaves_lock_and_condition_usable)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

static intptr_t
waits_for_item(void *name)
{
    acquire();
    return finish(name, uco_condition_wait_for(&condition, &lock, has_items, (void *) 1));
}

static intptr_t
cancelled_wait_for_main(void *came)
{
    uco_task *task;

    begin();
    task = arrive(waits_for_item, 'a');
    items = came != NULL;
    notify(1);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), came != NULL ? 0 : -ECANCELED);
    ck_assert_str_eq(trace.text, came != NULL ? "a" : "A");
    ck_assert(!uco_lock_is_held(&lock));
    return 0;
}

/*
 * main                          a
 * ----                          -
 *                               wait_for
 * the predicate comes true, or not
 * notify(1)
 * cancel a
 *                               predicate
 *                               0, or waits again: -ECANCELED
 */
START_TEST(a_wait_for_notified_and_then_cancelled_succeeds_if_its_predicate_holds)
{
    run_in_all_orders(cancelled_wait_for_main, &items);
    run_in_all_orders(cancelled_wait_for_main, NULL);
}
END_TEST

static intptr_t
waits_a_while(void *number)
{
    double timeout = 1 + (intptr_t) number % 5;
    uco_scope scope;
    int r;

    acquire();
    ck_assert_int_eq(uco_scope_open(&scope, timeout), 0);
    r = uco_condition_wait(&condition, &lock);
    ck_assert_uint_eq(trace.size++, 0); /* it is the only one inside */
    items += r == 0;
    uco_sleep(0.5);
    trace.size--;
    release();
    return uco_scope_close(&scope, 0);
}

static intptr_t
crowd_main(void *arg)
{
    uco_task *tasks[20];

    (void) arg;
    begin();
    for (int i = 0; i < 20; i++)
        tasks[i] = arrive(waits_a_while, (char) i);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(uco_sleep(i == 0 ? 0.5 : 1.0), 0);
        notify(2);
    }
    join_all(tasks, 20);
    ck_assert_int_eq(items, 10); /* there was always somebody to notify */
    ck_assert(!uco_lock_is_held(&lock));
    return 0;
}

START_TEST(whatever_times_out_when_one_at_a_time_goes_on_and_no_notification_is_lost)
{
    run_in_all_orders(crowd_main, NULL);
}
END_TEST

static intptr_t
ends_as_owner(void *arg)
{
    (void) arg;
    acquire();
    settle();
    return 0;
}

static intptr_t
waits_for_the_dead(void *arg)
{
    (void) arg;
    acquire();
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EOWNERDEAD);
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    return 0;
}

static intptr_t
dead_main(void *arg)
{
    uco_task *tasks[4];

    (void) arg;
    begin();
    arrive_all(tasks, 3, waits_for_the_dead);
    tasks[3] = uco_create_task(ends_as_owner, NULL);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_yield(), 0);
    notify(1);
    ck_assert_int_eq(uco_cancel(tasks[1]), 0);
    ck_assert_int_eq(uco_join(tasks[3]), 0);
    notify(1); /* comes when the lock is broken */
    join_all(tasks, 3);
    return 0;
}

/*
 * main              owner                a                b                c
 * ----              -----                -                -                -
 *                                        wait             wait             wait
 *                   acquire
 * notify(1)
 * cancel b
 *                                        both wait for the lock
 *                   returns
 *                                        -EOWNERDEAD      -EOWNERDEAD
 * notify(1)
 *                                                                          -EOWNERDEAD
 */
START_TEST(who_can_not_have_the_lock_again_is_told_that_its_owner_ended)
{
    for (uint64_t seed = 0; seed <= 200; seed++) {
        struct reports reports;
        uco_loop_options options = reporting(&reports);

        options.seed = seed;
        ck_assert_int_eq(uco_run_with(&options, dead_main, NULL), 0);
        ck_assert_uint_eq(reports.count, 1);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("condition cancel");
    TCase *tcase = case_new(suite, "cancel");

    tcase_add_test(tcase, a_cancelled_waiter_has_the_lock_again_before_it_is_told);
    tcase_add_test(tcase, a_cancelled_waiter_takes_no_notification);
    tcase_add_test(tcase, a_waiter_notified_and_then_cancelled_returns_0_and_its_next_wait_fails);
    tcase_add_test(tcase, in_a_scope_cancelled_before_wait_fails_without_letting_go_of_the_lock);
    tcase_add_test(tcase, a_wait_that_times_out_leaves_lock_and_condition_usable);
    tcase_add_test(tcase, a_wait_for_notified_and_then_cancelled_succeeds_if_its_predicate_holds);
    tcase_add_test(tcase,
                   whatever_times_out_when_one_at_a_time_goes_on_and_no_notification_is_lost);
    tcase_add_test(tcase, who_can_not_have_the_lock_again_is_told_that_its_owner_ended);
    return suite_end(suite);
}
