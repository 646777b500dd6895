/* SPDX-License-Identifier: MIT */

/*
 * Conditions: whom a notification reaches and when, and who may wait and notify. (What cancellation
 * makes of it is test_condition_cancel.c's.)
 */

#include "condition_scene.h"

static bool
never_asked(void *arg)
{
    (void) arg;
    ck_abort_msg("a predicate was asked without the lock");
    return true;
}

static intptr_t
unowned_main(void *arg)
{
    uco_task *holder;

    (void) arg;
    begin();
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EPERM);
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, never_asked, NULL), -EPERM);
    ck_assert(!uco_lock_is_held(&lock));
    acquire();
    holder = uco_create_task(waits, NULL);
    ck_assert_int_eq(uco_yield(), 0);
    release(); /* it is the other's now */
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EPERM);
    settle();
    notify(1); /* needs no lock */
    return uco_join(holder);
}

/* CN1: wait needs the lock; notify does not, here. */
START_TEST(only_the_locks_owner_can_wait_and_anybody_can_notify)
{
    run_in_all_orders(unowned_main, NULL);
}
END_TEST

static intptr_t
notify_main(void *arg)
{
    static const struct {
        size_t n;
        const char *woken;
    } steps[] = {{0, ""}, {1, "a"}, {2, "abc"}, {9, "abcde"}, {1, "abcde"}};
    uco_task *tasks[5];

    (void) arg;
    begin();
    notify(3); /* is not kept for those who come */
    arrive_all(tasks, 5, waits);
    ck_assert(!uco_lock_is_held(&lock));
    for (size_t i = 0; i < COUNT(steps); i++) {
        notify(steps[i].n);
        settle();
        ck_assert_str_eq(trace.text, steps[i].woken);
    }
    join_all(tasks, 5);
    return 0;
}

/* CN2: notify(n) wakes those who have waited longest, in order. */
START_TEST(notify_wakes_as_many_as_it_says_the_oldest_first)
{
    run_in_all_orders(notify_main, NULL);
}
END_TEST

static intptr_t
waits_and_holds(void *name)
{
    acquire();
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), 0);
    ck_assert_int_eq(uco_yield(), 0); /* nobody else gets the lock meanwhile */
    trace_add(&trace, '(');
    ck_assert_int_eq(uco_yield(), 0);
    return finish(name, 0);
}

static intptr_t
one_by_one_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    begin();
    arrive_all(tasks, 3, waits_and_holds);
    acquire();
    ck_assert_int_eq(uco_condition_notify_all(&condition), 0);
    settle();
    ck_assert_str_eq(trace.text, ""); /* they wait for the lock now */
    release();
    join_all(tasks, 3);
    ck_assert_str_eq(trace.text, "(a(b(c");
    return 0;
}

/* CN2: each goes on only when it has the lock again. */
START_TEST(all_that_are_notified_go_on_one_by_one)
{
    run_in_all_orders(one_by_one_main, NULL);
}
END_TEST

static bool
has_items(void *needed)
{
    ck_assert(uco_lock_is_held(&lock));
    trace_add(&trace, '?');
    return items >= (int) (intptr_t) needed;
}

static intptr_t
waits_for_two(void *name)
{
    acquire();
    return finish(name, uco_condition_wait_for(&condition, &lock, has_items, (void *) 2));
}

static intptr_t
predicate_main(void *arg)
{
    uco_task *task;

    (void) arg;
    begin();
    task = arrive(waits_for_two, 'a');
    for (; items < 2; items++) {
        ck_assert(!uco_done(task));
        notify(1);
        settle();
    }
    ck_assert_str_eq(trace.text, "???");
    notify(1);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_str_eq(trace.text, "????a");
    return 0;
}

/* CN3: the predicate is looked at with the lock held, before the first wait and after each. */
START_TEST(wait_for_looks_again_after_each_notification)
{
    run_in_all_orders(predicate_main, NULL);
}
END_TEST

static intptr_t
holds_already_main(void *arg)
{
    uint64_t before;

    (void) arg;
    begin();
    items = 2;
    acquire();
    settle();
    before = switches();
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, has_items, (void *) 2), 0);
    ck_assert_uint_eq(switches(), before);
    release();
    return 0;
}

START_TEST(wait_for_does_not_suspend_when_the_predicate_holds)
{
    run_in_all_orders(holds_already_main, NULL);
}
END_TEST

static uco_condition full;

static intptr_t
produces(void *count)
{
    for (intptr_t i = (intptr_t) count; i > 0; i--) {
        acquire();
        while (items == 1)
            ck_assert_int_eq(uco_condition_wait(&full, &lock), 0);
        items++;
        notify(1);
        release();
    }
    return 0;
}

static intptr_t
consumes(void *count)
{
    for (intptr_t i = (intptr_t) count; i > 0; i--) {
        acquire();
        ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, has_items, (void *) 1), 0);
        trace.size = 0;
        ck_assert_int_eq(items--, 1);
        ck_assert_int_eq(uco_condition_notify(&full, 1), 0);
        release();
    }
    return 0;
}

static intptr_t
two_conditions_main(void *arg)
{
    uco_task *tasks[6];

    (void) arg;
    begin();
    memset(&full, 0, sizeof full);
    for (int i = 0; i < 6; i++)
        tasks[i] = uco_create_task(i % 2 == 0 ? produces : consumes, (void *) 10);
    join_all(tasks, 6);
    ck_assert_int_eq(items, 0);
    return 0;
}

/* CN10: a buffer of one, with a condition for each side. */
START_TEST(two_conditions_can_share_a_lock)
{
    run_in_all_orders(two_conditions_main, NULL);
}
END_TEST

static void
callback_uses(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EPERM);
    ck_assert_int_eq(uco_condition_wait(NULL, NULL), -EPERM);
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, has_items, NULL), -EPERM);
    ck_assert_int_eq(uco_condition_notify_all(&condition), 0);
}

static intptr_t
callback_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin();
    waiter = arrive(waits, 'a');
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_uses, NULL), 0);
    return uco_join(waiter);
}

START_TEST(a_callback_can_notify_but_not_wait)
{
    run_in_all_orders(callback_main, NULL);
}
END_TEST

static intptr_t
null_main(void *arg)
{
    (void) arg;
    begin();
    /* What is missing is looked at before who holds the lock. */
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, NULL, NULL), -EINVAL);
    acquire();
    ck_assert_int_eq(uco_condition_wait(NULL, &lock), -EINVAL);
    ck_assert_int_eq(uco_condition_wait(&condition, NULL), -EINVAL);
    ck_assert_int_eq(uco_condition_wait_for(NULL, &lock, has_items, NULL), -EINVAL);
    ck_assert_int_eq(uco_condition_wait_for(&condition, NULL, has_items, NULL), -EINVAL);
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_condition_notify(NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_condition_notify_all(NULL), -EINVAL);
    release();
    return 0;
}

START_TEST(null_is_refused_and_the_lock_stays_held)
{
    run_in_all_orders(null_main, NULL);
    ck_assert_int_eq(uco_condition_wait(NULL, NULL), -EPERM); /* the caller is looked at first */
    ck_assert_int_eq(uco_condition_wait_for(NULL, NULL, NULL, NULL), -EPERM);
    ck_assert_int_eq(uco_condition_notify(NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_condition_notify_all(NULL), -EINVAL);
}
END_TEST

/* The condition is another loop's; the lock is this one's, and stays held. */
static intptr_t
refused_main(void *arg)
{
    uco_lock own = {0};

    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&own), 0);
    ck_assert_int_eq(uco_condition_wait(&condition, &own), -EPERM);
    ck_assert_int_eq(uco_condition_wait_for(&condition, &own, has_items, NULL), -EPERM);
    ck_assert_int_eq(uco_condition_notify(&condition, 1), -EPERM);
    ck_assert_int_eq(uco_condition_notify_all(&condition), -EPERM);
    return uco_lock_release(&own);
}

START_TEST(before_any_loop_and_after_its_own_a_condition_can_be_notified)
{
    begin();
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EPERM);
    notify(1);
    ck_assert_int_eq(run_virtual(predicate_main, NULL), 0);
    run_in_all_orders(refused_main, NULL);
    notify(1);
    ck_assert_int_eq(uco_condition_notify_all(&condition), 0);
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
    notify(1);
    ck_assert_int_eq(uco_join(waiter), 0);
    in_loop(other_loop, refused_main);
    return 0;
}

START_TEST(a_task_of_another_loop_is_refused_and_keeps_its_lock)
{
    run_beside_a_loop(elsewhere_main);
}
END_TEST

static void *
foreign_thread(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EPERM);
    ck_assert_int_eq(uco_condition_notify(&condition, 1), -EPERM);
    ck_assert_int_eq(uco_condition_notify_all(&condition), -EPERM);
    return NULL;
}

static intptr_t
foreign_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin();
    waiter = arrive(waits, 'a');
    in_thread(foreign_thread, NULL);
    settle();
    ck_assert(!uco_done(waiter));
    notify(1);
    return uco_join(waiter);
}

START_TEST(a_thread_without_a_loop_is_refused)
{
    run_in_all_orders(foreign_main, NULL);
}
END_TEST

static intptr_t
passes(void *name)
{
    acquire();
    return finish(name, 0);
}

static intptr_t
queue_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    begin();
    tasks[0] = arrive(waits, 'a');
    acquire();
    tasks[1] = arrive(passes, 'b');
    notify(1);
    tasks[2] = arrive(passes, 'c');
    release();
    join_all(tasks, 3);
    ck_assert_str_eq(trace.text, "bac");
    return 0;
}

/*
 * main              a                         b              c
 * ----              -                         -              -
 *                   wait
 * acquire
 *                                             acquire
 * notify(1)
 *                   waits for the lock
 *                                                            acquire
 * release
 *                                             0
 *                   0
 *                                                            0
 */
START_TEST(who_is_notified_stands_in_the_locks_queue_from_then_on)
{
    run_in_all_orders(queue_main, NULL);
}
END_TEST

static bool
lets_go(void *arg)
{
    ++*(int *) arg;
    release();
    return false;
}

static intptr_t
let_go_main(void *arg)
{
    uco_task *waiter;
    int asked = 0;

    (void) arg;
    begin();
    acquire();
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, lets_go, &asked), -EPERM);
    ck_assert(!uco_lock_is_held(&lock));

    acquire();
    waiter = arrive(waits, 'a');
    ck_assert_int_eq(uco_condition_wait_for(&condition, &lock, lets_go, &asked), -EPERM);
    ck_assert(uco_lock_is_held(&lock)); /* it is the other's now */
    ck_assert_int_eq(asked, 2);
    settle();
    ck_assert(!uco_lock_is_held(&lock));
    notify(1);
    return uco_join(waiter);
}

START_TEST(wait_for_is_refused_when_its_predicate_has_let_go_of_the_lock)
{
    run_in_all_orders(let_go_main, NULL);
}
END_TEST

static intptr_t
waits_and_is_refused(void *arg)
{
    (void) arg;
    acquire();
    ck_assert_int_eq(uco_condition_wait(&condition, &lock), -EPERM);
    ck_assert_int_eq(uco_lock_release(&lock), -EPERM);
    return 0;
}

static intptr_t
takes(void *arg)
{
    (void) arg;
    acquire();
    release();
    return 0;
}

static intptr_t
zeroed_main(void *other_loop)
{
    uco_task *waiter;

    begin();
    waiter = arrive(waits_and_is_refused, 'a');
    memset(&lock, 0, sizeof lock);
    in_loop(other_loop, takes);
    notify(1);
    ck_assert_int_eq(uco_join(waiter), 0);
    in_loop(other_loop, takes);
    return 0;
}

/*
 * main                   a                    another loop
 * ----                   -                    ------------
 *                        wait
 * zeroes the lock
 *                                             acquire, release: it is that loop's now
 * notify(1)
 *                        -EPERM
 */
START_TEST(who_waits_while_its_lock_becomes_another_loops_does_not_get_it)
{
    run_beside_a_loop(zeroed_main);
}
END_TEST

static void
notify_one(void)
{
    notify(1);
}

START_TEST(between_two_runs_of_its_loop_a_notification_counts_for_the_second)
{
    begin();
    run_twice(waits, notify_one);
    ck_assert_str_eq(trace.text, "a");
}
END_TEST

static void
add_waiting(Suite *suite)
{
    TCase *tcase = case_new(suite, "waiting");

    tcase_add_test(tcase, only_the_locks_owner_can_wait_and_anybody_can_notify);
    tcase_add_test(tcase, notify_wakes_as_many_as_it_says_the_oldest_first);
    tcase_add_test(tcase, all_that_are_notified_go_on_one_by_one);
    tcase_add_test(tcase, wait_for_looks_again_after_each_notification);
    tcase_add_test(tcase, wait_for_does_not_suspend_when_the_predicate_holds);
    tcase_add_test(tcase, wait_for_is_refused_when_its_predicate_has_let_go_of_the_lock);
    tcase_add_test(tcase, two_conditions_can_share_a_lock);
    tcase_add_test(tcase, who_is_notified_stands_in_the_locks_queue_from_then_on);
}

static void
add_misuse(Suite *suite)
{
    TCase *tcase = case_new(suite, "whose it is");

    tcase_add_test(tcase, a_callback_can_notify_but_not_wait);
    tcase_add_test(tcase, null_is_refused_and_the_lock_stays_held);
    tcase_add_test(tcase, before_any_loop_and_after_its_own_a_condition_can_be_notified);
    tcase_add_test(tcase, a_task_of_another_loop_is_refused_and_keeps_its_lock);
    tcase_add_test(tcase, who_waits_while_its_lock_becomes_another_loops_does_not_get_it);
    tcase_add_test(tcase, a_thread_without_a_loop_is_refused);
    tcase_add_test(tcase, between_two_runs_of_its_loop_a_notification_counts_for_the_second);
}

int
main(void)
{
    Suite *suite = suite_create("condition");

    add_waiting(suite);
    add_misuse(suite);
    return suite_end(suite);
}
