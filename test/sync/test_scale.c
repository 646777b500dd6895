/* SPDX-License-Identifier: MIT */

/*
 * A hundred thousand waiters at once: woken, served, cancelled. What took a time that grows with
 * their square would run into the timeout.
 */

#include "scene.h"

#include <stdlib.h>

#define NUMBER(n) ((void *) (intptr_t) (n))

/* ThreadSanitizer of gcc 12 dies of some 4,000 live fibres. */
static int
live_tasks(void)
{
    return scaled(100000) < 100000 ? 1000 : 100000;
}

static struct {
    uco_lock lock;
    uco_event event;
    uco_condition condition;
    uco_semaphore semaphore;
    uco_barrier barrier;
    int n;
    uco_task **tasks;
    int arrived, served; /* in this order */
} many;

static void
begin(void)
{
    memset(&many, 0, sizeof many);
    many.n = live_tasks();
    many.tasks = calloc((size_t) many.n, sizeof *many.tasks);
    ck_assert_ptr_nonnull(many.tasks);
}

/* Starts all, and lets them come as far as they can. */
static void
start(uco_fn *fn)
{
    for (int i = 0; i < many.n; i++)
        many.tasks[i] = uco_create_task(fn, NUMBER(i));
    settle();
}

static void
cancel_all(bool backwards)
{
    for (int i = 0; i < many.n; i++) {
        if (uco_cancel(many.tasks[backwards ? many.n - 1 - i : i]) != 0)
            ck_abort_msg("task %d was not cancelled", i);
    }
}

/* Waits for all, which end with that, and ends the scene. */
static void
finish(intptr_t expected)
{
    for (int i = 0; i < many.n; i++) {
        intptr_t r = uco_join(many.tasks[i]);

        if (r != expected)
            ck_abort_msg("task %d ended with %d", i, (int) r);
    }
    free(many.tasks);
}

/* The turn of who came as the n-th. */
static void
be_served(int n)
{
    if (n != many.served++)
        ck_abort_msg("%d was served as %d", n, many.served - 1);
}

/* That a step with so many takes its time is none of these tests'. */
static void
run(uint64_t seed, uco_fn *fn, void *arg)
{
    const uco_loop_options options = {
        .clock = UCO_CLOCK_VIRTUAL,
        .seed = seed,
        .slow_callback = UCO_FOREVER,
    };

    ck_assert_int_eq(uco_run_with(&options, fn, arg), 0);
}

/* FIFO, and in an order of its own. */
static void
run_both(uco_fn *fn)
{
    run(0, fn, NULL);
    run(7, fn, NULL);
}

static intptr_t
waits_for_event(void *arg)
{
    (void) arg;
    return uco_event_wait(&many.event);
}

static intptr_t
event_main(void *arg)
{
    (void) arg;
    begin();
    start(waits_for_event);
    ck_assert_int_eq(uco_event_set(&many.event), 0);
    finish(0);
    return 0;
}

START_TEST(one_set_wakes_a_hundred_thousand)
{
    run_both(event_main);
}
END_TEST

static intptr_t
takes_permit(void *arg)
{
    int ticket = many.arrived++;
    int r = uco_semaphore_acquire(&many.semaphore);

    (void) arg;
    if (r == 0)
        be_served(ticket);
    return r;
}

static intptr_t
semaphore_main(void *arg)
{
    (void) arg;
    begin();
    start(takes_permit);
    for (int i = 0; i < many.n; i++) {
        if (uco_semaphore_release(&many.semaphore) != 0)
            ck_abort_msg("release %d failed", i);
    }
    finish(0);
    return 0;
}

/* With a seed, those who are served in the same turn go on in any order. */
START_TEST(a_hundred_thousand_permits_are_handed_over_in_order)
{
    unsetenv("UCO_SEED");
    run(0, semaphore_main, NULL);
}
END_TEST

static intptr_t
semaphore_cancel_main(void *backwards)
{
    begin();
    start(takes_permit);
    cancel_all(backwards != NULL);
    ck_assert_int_eq(uco_semaphore_release(&many.semaphore), 0);
    finish(-ECANCELED);
    return uco_semaphore_try_acquire(&many.semaphore);
}

START_TEST(a_hundred_thousand_waiters_for_a_permit_are_cancelled_at_once)
{
    run_both(semaphore_cancel_main);
    run(0, semaphore_cancel_main, &many);
}
END_TEST

static intptr_t
has_many_children(void *arg)
{
    start(takes_permit);
    uco_unref_all(many.tasks, (size_t) many.n);
    return body_sleep_forever(arg);
}

static intptr_t
parent_main(void *arg)
{
    uco_task *parent;

    begin();
    parent = uco_create_task(has_many_children, arg);
    settle();
    ck_assert_int_eq(many.arrived, many.n);
    ck_assert_int_eq(uco_cancel(parent), 0);
    ck_assert_int_eq(uco_join(parent), -ECANCELED);
    ck_assert_int_eq(uco_semaphore_release(&many.semaphore), 0);
    free(many.tasks);
    return uco_semaphore_try_acquire(&many.semaphore);
}

START_TEST(a_hundred_thousand_waiting_children_end_with_their_parent)
{
    run_both(parent_main);
}
END_TEST

static intptr_t
group_main(void *arg)
{
    uco_group *group = uco_group_new();

    (void) arg;
    begin();
    for (int i = 0; i < many.n; i++) {
        if (uco_group_create_task(group, takes_permit, NULL) == NULL)
            ck_abort_msg("member %d was not created", i);
    }
    settle();
    ck_assert_int_eq(many.arrived, many.n);
    ck_assert_int_eq(uco_group_cancel(group), 0);
    ck_assert_int_eq(uco_group_wait(group), 0);
    uco_group_free(group);
    ck_assert_int_eq(uco_semaphore_release(&many.semaphore), 0);
    free(many.tasks);
    return uco_semaphore_try_acquire(&many.semaphore);
}

START_TEST(a_hundred_thousand_waiting_members_are_cancelled_with_their_group)
{
    run_both(group_main);
}
END_TEST

static intptr_t
passes_lock(void *arg)
{
    int ticket = many.arrived++;
    int r = uco_lock_acquire(&many.lock);

    (void) arg;
    if (r < 0)
        return r;
    be_served(ticket);
    return uco_lock_release(&many.lock);
}

static intptr_t
lock_main(void *arg)
{
    (void) arg;
    begin();
    ck_assert_int_eq(uco_lock_acquire(&many.lock), 0);
    start(passes_lock);
    ck_assert_int_eq(uco_lock_release(&many.lock), 0);
    finish(0);
    return 0;
}

START_TEST(a_lock_goes_through_a_hundred_thousand_hands_in_order)
{
    run_both(lock_main);
}
END_TEST

static intptr_t
lock_cancel_main(void *backwards)
{
    begin();
    ck_assert_int_eq(uco_lock_acquire(&many.lock), 0);
    start(passes_lock);
    cancel_all(backwards != NULL);
    ck_assert_int_eq(uco_lock_release(&many.lock), 0);
    finish(-ECANCELED);
    ck_assert(!uco_lock_is_held(&many.lock));
    return 0;
}

START_TEST(a_hundred_thousand_waiters_for_a_lock_are_cancelled_at_once)
{
    run_both(lock_cancel_main);
    run(0, lock_cancel_main, &many);
}
END_TEST

static intptr_t
ends_as_owner(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&many.lock), 0);
    return uco_sleep(1.0);
}

static intptr_t
dead_main(void *arg)
{
    uco_task *owner = uco_create_task(ends_as_owner, NULL);

    (void) arg;
    begin();
    settle();
    start(passes_lock);
    ck_assert_int_eq(uco_join(owner), 0);
    finish(-EOWNERDEAD);
    return 0;
}

START_TEST(a_hundred_thousand_waiters_are_told_that_the_owner_ended)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, dead_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static uco_lock *locks;

static intptr_t
waits_for_its_own(void *number)
{
    return uco_lock_acquire(&locks[(intptr_t) number]);
}

/* Has a lock for each of the others; gives half of them back, and ends with the rest. */
static intptr_t
owns_many(void *arg)
{
    (void) arg;
    for (int i = 0; i < many.n; i++) {
        if (uco_lock_acquire(&locks[i]) != 0)
            ck_abort_msg("lock %d was not free", i);
    }
    if (uco_sleep(1.0) != 0)
        ck_abort_msg("the owner was cancelled");
    for (int i = 0; i < many.n; i += 2) {
        if (uco_lock_release(&locks[i]) != 0)
            ck_abort_msg("lock %d was not held", i);
    }
    return 0;
}

static intptr_t
many_locks_main(void *arg)
{
    uco_task *owner;

    (void) arg;
    begin();
    locks = calloc((size_t) many.n, sizeof *locks);
    owner = uco_create_task(owns_many, NULL);
    settle();
    start(waits_for_its_own);
    ck_assert_int_eq(uco_join(owner), 0);
    for (int i = 0; i < many.n; i++) {
        if (uco_join(many.tasks[i]) != (i % 2 == 0 ? 0 : -EOWNERDEAD))
            ck_abort_msg("the waiter for lock %d was told something else", i);
    }
    free(locks);
    free(many.tasks);
    return 0;
}

START_TEST(an_owner_may_end_with_fifty_thousand_locks_that_are_waited_for)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, many_locks_main, NULL), 0);
    /* One for the owner, and one for each waiter: none of them gives back what it was given. */
    ck_assert_uint_eq(reports.count, 1 + (unsigned) live_tasks() / 2);
}
END_TEST

static intptr_t
waits_for_condition(void *arg)
{
    int ticket, r;

    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&many.lock), 0);
    ticket = many.arrived++;
    r = uco_condition_wait(&many.condition, &many.lock);
    if (r == 0)
        be_served(ticket);
    if (uco_lock_release(&many.lock) != 0)
        ck_abort_msg("%d does not hold the lock again", ticket);
    return r;
}

static intptr_t
condition_main(void *cancel)
{
    begin();
    start(waits_for_condition);
    if (cancel != NULL)
        cancel_all(false);
    ck_assert_int_eq(uco_condition_notify_all(&many.condition), 0);
    finish(cancel != NULL ? -ECANCELED : 0);
    return 0;
}

START_TEST(one_notification_reaches_a_hundred_thousand_in_order)
{
    run_both(condition_main);
}
END_TEST

START_TEST(a_hundred_thousand_waiters_for_a_condition_are_cancelled_at_once)
{
    run(0, condition_main, &many);
}
END_TEST

static intptr_t
meets(void *arg)
{
    intptr_t ticket = many.arrived++;
    intptr_t place = uco_barrier_wait(&many.barrier);

    (void) arg;
    return place >= 0 ? place - ticket : place;
}

static intptr_t
barrier_main(void *arg)
{
    (void) arg;
    begin();
    ck_assert_int_eq(uco_barrier_init(&many.barrier, (size_t) many.n), 0);
    start(meets);
    finish(0);
    return 0;
}

START_TEST(a_hundred_thousand_meet_at_a_barrier)
{
    run_both(barrier_main);
}
END_TEST

static intptr_t
barrier_cancel_main(void *arg)
{
    (void) arg;
    begin();
    ck_assert_int_eq(uco_barrier_init(&many.barrier, (size_t) many.n + 1), 0);
    start(meets);
    cancel_all(true);
    ck_assert_int_eq(uco_barrier_reset(&many.barrier), 0);
    finish(-ECANCELED);
    return 0;
}

START_TEST(a_hundred_thousand_leave_a_barrier_at_once)
{
    run_both(barrier_cancel_main);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("scale of synchronisation");
    TCase *tcase = case_new(suite, "many");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, one_set_wakes_a_hundred_thousand);
    tcase_add_test(tcase, a_hundred_thousand_permits_are_handed_over_in_order);
    tcase_add_test(tcase, a_hundred_thousand_waiters_for_a_permit_are_cancelled_at_once);
    tcase_add_test(tcase, a_hundred_thousand_waiting_children_end_with_their_parent);
    tcase_add_test(tcase, a_hundred_thousand_waiting_members_are_cancelled_with_their_group);
    tcase_add_test(tcase, a_lock_goes_through_a_hundred_thousand_hands_in_order);
    tcase_add_test(tcase, a_hundred_thousand_waiters_for_a_lock_are_cancelled_at_once);
    tcase_add_test(tcase, a_hundred_thousand_waiters_are_told_that_the_owner_ended);
    tcase_add_test(tcase, an_owner_may_end_with_fifty_thousand_locks_that_are_waited_for);
    tcase_add_test(tcase, one_notification_reaches_a_hundred_thousand_in_order);
    tcase_add_test(tcase, a_hundred_thousand_waiters_for_a_condition_are_cancelled_at_once);
    tcase_add_test(tcase, a_hundred_thousand_meet_at_a_barrier);
    tcase_add_test(tcase, a_hundred_thousand_leave_a_barrier_at_once);
    return suite_end(suite);
}
