/* SPDX-License-Identifier: MIT */

/*
 * Locks whose owner has ended while it held them: who makes them whole again.
 */

#include "scene.h"

static uco_lock lock;

static void
begin(void)
{
    memset(&lock, 0, sizeof lock);
}

static intptr_t
passes(void *arg)
{
    int r = uco_lock_acquire(&lock);

    (void) arg;
    return r < 0 ? r : uco_lock_release(&lock);
}

/* Runs fn in all orders: each run reports once, and names the task "culprit". */
static void
run_culprit(uco_fn *fn)
{
    for (uint64_t seed = 0; seed <= 200; seed++) {
        struct reports reports;
        uco_loop_options options = reporting(&reports);

        options.seed = seed;
        ck_assert_int_eq(uco_run_with(&options, fn, NULL), 0);
        ck_assert_uint_eq(reports.count, 1);
        ck_assert_ptr_nonnull(strstr(reports.last, "culprit"));
    }
}

static uco_task *
culprit(uco_fn *fn, void *arg)
{
    const uco_task_options options = {.name = "culprit"};
    uco_task *task = uco_create_task_with(&options, fn, arg);

    settle();
    return task;
}

/* Takes the lock, and keeps it until it is cancelled and beyond. */
static intptr_t
keeps(void *l)
{
    int r = uco_lock_acquire(l);

    return r < 0 ? r : uco_sleep(UCO_FOREVER);
}

static void
assert_broken(uco_lock *l)
{
    ck_assert_int_eq(uco_lock_acquire(l), -EOWNERDEAD);
    ck_assert_int_eq(uco_lock_try_acquire(l), -EOWNERDEAD);
    ck_assert_int_eq(uco_lock_release(l), -EPERM);
    ck_assert(!uco_lock_is_held(l));
}

static int inside;
static int repaired;

static intptr_t
repairs(void *name)
{
    int r = uco_lock_acquire(&lock);

    (void) name;
    ck_assert_int_eq(r, -EOWNERDEAD);
    r = uco_lock_repair(&lock);
    ck_assert(r == 0 || r == -EALREADY);
    repaired += r == 0;
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
    ck_assert_int_eq(inside++, 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(--inside, 0);
    return uco_lock_release(&lock);
}

static intptr_t
several_repair_main(void *arg)
{
    uco_task *owner, *tasks[3];

    (void) arg;
    begin();
    inside = repaired = 0;
    owner = culprit(keeps, &lock);
    arrive_all(tasks, 3, repairs);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    join_all(tasks, 3);
    ck_assert_int_eq(repaired, 1);
    assert_time(3.0);
    return passes(NULL);
}

/*
 * owner                 a                          b                       c
 * -----                 -                          -                       -
 * acquire
 *                       acquire                    acquire                 acquire
 * returns, holding it
 *                       -EOWNERDEAD                -EOWNERDEAD             -EOWNERDEAD
 *                       repair: 0, acquire
 *                                                  repair: -EALREADY       repair: -EALREADY
 *                                                  acquire                 acquire
 *                       release
 *                                                  has it
 */
START_TEST(of_several_who_are_told_one_repairs_the_lock)
{
    run_culprit(several_repair_main);
}
END_TEST

static void
callback_repair(void *arg)
{
    ck_assert_int_eq(uco_lock_repair(&lock), *(const int *) arg);
}

static intptr_t
repair_unseen_main(void *arg)
{
    int expected = 0;
    uco_task *owner;

    begin();
    owner = culprit(keeps, &lock);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    if (arg == NULL) {
        ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_repair, &expected), 0);
        settle();
    } else {
        callback_repair(&expected);
    }
    ck_assert_int_eq(uco_lock_repair(&lock), -EALREADY);
    ck_assert(!uco_lock_is_held(&lock));
    return passes(NULL);
}

static intptr_t
repair_twice_main(void *arg)
{
    ck_assert_int_eq(repair_unseen_main(NULL), 0);
    return repair_unseen_main(&arg);
}

START_TEST(a_lock_that_broke_unseen_is_repaired_also_by_a_callback_and_can_break_again)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, repair_twice_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 2);
}
END_TEST

static intptr_t
whole_main(void *arg)
{
    uco_task *waiter;
    int expected = -EALREADY;

    (void) arg;
    begin();
    ck_assert_int_eq(uco_lock_repair(&lock), -EALREADY);
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
    waiter = arrive(passes, 'a');
    ck_assert_int_eq(uco_lock_repair(&lock), -EALREADY);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_repair, &expected), 0);
    settle();
    ck_assert(!uco_done(waiter));
    ck_assert(uco_lock_is_held(&lock));
    ck_assert_int_eq(uco_lock_release(&lock), 0);
    return uco_join(waiter);
}

START_TEST(what_is_not_broken_is_not_repaired)
{
    run_in_all_orders(whole_main, NULL);
}
END_TEST

static intptr_t
waits_for_notification(void *c)
{
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
    ck_assert_int_eq(uco_condition_wait(c, &lock), 0);
    return uco_lock_release(&lock);
}

static intptr_t
condition_main(void *arg)
{
    uco_condition condition = {0};
    uco_task *waiter = NULL, *owner;

    (void) arg;
    begin();
    waiter = uco_create_task(waits_for_notification, &condition);
    settle();
    owner = culprit(keeps, &lock);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    ck_assert_int_eq(uco_lock_repair(&lock), 0);
    ck_assert_int_eq(uco_condition_notify(&condition, 1), 0);
    return uco_join(waiter);
}

START_TEST(who_waits_for_a_condition_meanwhile_gets_the_repaired_lock)
{
    run_culprit(condition_main);
}
END_TEST

static intptr_t
refused_repair(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_repair(&lock), -EPERM);
    return 0;
}

static void *
repair_thread(void *arg)
{
    ck_assert_int_eq(uco_lock_repair(NULL), -EINVAL);
    refused_repair(NULL);
    return arg;
}

static intptr_t
others_repair_main(void *other_loop)
{
    uco_task *owner;

    begin();
    owner = culprit(keeps, &lock);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    ck_assert_int_eq(uco_lock_repair(NULL), -EINVAL);
    in_loop(other_loop, refused_repair);
    in_thread(repair_thread, NULL);
    assert_broken(&lock);
    return uco_lock_repair(&lock);
}

START_TEST(only_its_own_loops_thread_repairs_a_lock)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);
    uco_loop_thread *other = uco_loop_thread_start(NULL);

    ck_assert_int_eq(uco_run_with(&options, others_repair_main, uco_loop_thread_loop(other)), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_int_eq(uco_loop_thread_stop(other), 0);
    ck_assert_int_eq(run_virtual(refused_repair, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("lock repair");
    TCase *tcase = case_new(suite, "repair");

    tcase_add_test(tcase, of_several_who_are_told_one_repairs_the_lock);
    tcase_add_test(tcase,
                   a_lock_that_broke_unseen_is_repaired_also_by_a_callback_and_can_break_again);
    tcase_add_test(tcase, what_is_not_broken_is_not_repaired);
    tcase_add_test(tcase, who_waits_for_a_condition_meanwhile_gets_the_repaired_lock);
    tcase_add_test(tcase, only_its_own_loops_thread_repairs_a_lock);
    return suite_end(suite);
}
