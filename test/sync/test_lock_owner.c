/* SPDX-License-Identifier: MIT */

/*
 * Owners that end while they hold a lock: who learns of it, and that nothing is touched that may
 * have gone with them.
 */

#include "scene.h"

#include "task/runtime.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uco_lock lock;
static struct trace trace;

static void
begin(void)
{
    memset(&lock, 0, sizeof lock);
    memset(&trace, 0, sizeof trace);
}

static intptr_t
passes(void *name)
{
    int r = uco_lock_acquire(&lock);

    if (r < 0)
        return r;
    trace_add(&trace, (char) (intptr_t) name);
    return uco_lock_release(&lock);
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

static intptr_t
dead_main(void *arg)
{
    uco_task *owner, *tasks[3];
    intptr_t expected;

    (void) arg;
    begin();
    owner = culprit(keeps, &lock);
    arrive_all(tasks, 3, passes);
    ck_assert_int_eq(uco_cancel(tasks[1]), 0);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_yield(), 0);
    expected = uco_done(owner) ? -EOWNERDEAD : -ECANCELED; /* a seed may let main go on first */
    ck_assert_int_eq(uco_cancel(tasks[2]), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    ck_assert_int_eq(uco_join(tasks[0]), -EOWNERDEAD);
    ck_assert_int_eq(uco_join(tasks[1]), -ECANCELED);
    ck_assert_int_eq(uco_join(tasks[2]), expected);
    assert_broken(&lock);
    begin();
    return passes(NULL);
}

/*
 * LK9: present and later waiters learn that the owner has ended, until the lock is zeroed.
 *
 * main                  owner                    a                b              c
 * ----                  -----                    -                -              -
 *                       acquire
 *                                                acquire          acquire        acquire
 * cancel b
 * cancel the owner
 *                       returns, holding it
 * cancel c
 *                                                -EOWNERDEAD      -ECANCELED     -EOWNERDEAD
 * acquire: -EOWNERDEAD
 */
START_TEST(when_the_owner_ends_all_waiters_are_told_and_it_is_reported_by_name)
{
    run_culprit(dead_main);
}
END_TEST

static intptr_t
dead_heir_main(void *arg)
{
    uco_task *owner, *heir, *last;

    (void) arg;
    begin();
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
    owner = culprit(keeps, &lock);
    heir = arrive(passes, 'a');
    last = arrive(passes, 'b');
    ck_assert_int_eq(uco_lock_release(&lock), 0);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    ck_assert_int_eq(uco_join(heir), -EOWNERDEAD);
    ck_assert_int_eq(uco_join(last), -EOWNERDEAD);
    assert_broken(&lock);
    return 0;
}

/* LK9: an owner by hand-over, that is cancelled before it runs, is an owner like others. */
START_TEST(when_an_owner_by_hand_over_ends_those_behind_it_are_told)
{
    run_culprit(dead_heir_main);
}
END_TEST

static intptr_t
keeps_three(void *locks)
{
    uco_lock *three = locks;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_lock_acquire(&three[i]), 0);
    return uco_sleep(UCO_FOREVER);
}

static intptr_t
waits_for(void *l)
{
    return uco_lock_acquire(l);
}

static intptr_t
dead_with_several_main(void *arg)
{
    uco_lock locks[3] = {{0}};
    uco_task *owner = culprit(keeps_three, locks);
    uco_task *first = uco_create_task(waits_for, &locks[0]);
    uco_task *last = uco_create_task(waits_for, &locks[2]);

    (void) arg;
    settle();
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    ck_assert_int_eq(uco_join(first), -EOWNERDEAD);
    ck_assert_int_eq(uco_join(last), -EOWNERDEAD);
    for (int i = 0; i < 3; i++)
        assert_broken(&locks[i]);
    return 0;
}

/* LK9 */
START_TEST(all_locks_that_the_owner_held_are_broken_with_waiters_and_without)
{
    run_culprit(dead_with_several_main);
}
END_TEST

static intptr_t
waits_in_shield(void *arg)
{
    uco_scope shield;

    (void) arg;
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_lock_acquire(&lock), -EOWNERDEAD);
    return uco_scope_close(&shield, 0);
}

static intptr_t
leaves_a_child(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&lock), 0);
    uco_unref(arrive(waits_in_shield, 'a'));
    return 0;
}

static intptr_t
dead_parent_main(void *arg)
{
    (void) arg;
    begin();
    ck_assert_int_eq(uco_join(culprit(leaves_a_child, NULL)), 0);
    assert_broken(&lock);
    return 0;
}

/* LK9: else the owner would wait for its child, and the child for the owner. */
START_TEST(a_child_that_waits_for_its_parents_lock_is_told_when_the_parent_returns)
{
    run_culprit(dead_parent_main);
}
END_TEST

static intptr_t
dead_unseen_main(void *arg)
{
    uco_task *owner, *tasks[8];

    (void) arg;
    begin();
    owner = culprit(keeps, &lock);
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(owner), -ECANCELED);
    for (int i = 0; i < 8; i++) /* some may get the memory that was the owner's */
        tasks[i] = arrive(body_sleep_forever, 'a');
    ck_assert(!uco_lock_is_held(&lock));
    assert_broken(&lock);
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(uco_cancel(tasks[i]), 0);
        ck_assert_int_eq(uco_join(tasks[i]), -ECANCELED);
    }
    return 0;
}

/* LK9: nobody waited when it ended. */
START_TEST(who_comes_long_after_the_owners_end_is_told)
{
    run_culprit(dead_unseen_main);
}
END_TEST

/* The lock is waited for, and given up on, before its owner ends. */
static void
be_waited_for(uco_lock *l)
{
    uco_task *waiter = uco_create_task(waits_for, l);

    settle();
    ck_assert_int_eq(uco_cancel(waiter), 0);
    ck_assert_int_eq(uco_join(waiter), -ECANCELED);
}

static intptr_t
holds_its_own(void *arg)
{
    uco_lock own = {0};

    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&own), 0);
    be_waited_for(&own);
    return uco_sleep(1.0);
}

/* Runs on the stack of the one before, and finds it as it left it. */
static intptr_t
scribbles(void *arg)
{
    volatile unsigned char frame[1024];

    (void) arg;
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = 0xa5;
    settle();
    for (size_t i = 0; i < sizeof frame; i++)
        ck_assert_uint_eq(frame[i], 0xa5);
    return 0;
}

static intptr_t
own_frame_main(void *arg)
{
    uco_task *owner = culprit(holds_its_own, NULL);

    (void) arg;
    ck_assert_int_eq(uco_join(owner), 0);
    return uco_join(uco_create_task(scribbles, NULL));
}

START_TEST(a_lock_in_its_owners_frame_may_go_with_it)
{
    run_culprit(own_frame_main);
}
END_TEST

static intptr_t
holds_what_goes(void *arg)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    uco_lock *gone = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void) arg;
    ck_assert_ptr_ne(gone, MAP_FAILED);
    ck_assert_int_eq(uco_lock_acquire(gone), 0);
    be_waited_for(gone);
    ck_assert_int_eq(munmap(gone, page), 0);
    return 0;
}

static intptr_t
gone_main(void *arg)
{
    (void) arg;
    return uco_join(culprit(holds_what_goes, NULL));
}

START_TEST(a_lock_that_nobody_waits_for_is_not_touched_when_its_owner_ends)
{
    run_culprit(gone_main);
}
END_TEST

enum { MANY_OWNERS = 2000 };

static uco_lock many[MANY_OWNERS];

/* Whatever has become of its owner's memory. */
static void
assert_many_broken(void)
{
    for (int i = 0; i < MANY_OWNERS; i++)
        assert_broken(&many[i]);
}

static intptr_t
forgotten_main(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    const struct uco__task_blocks *blocks = &uco__runtime_of(loop)->blocks;
    uco_task *tasks[MANY_OWNERS];

    (void) arg;
    for (int i = 0; i < MANY_OWNERS; i++)
        uco_unref(uco_create_task(waits_for, &many[i]));
    settle();
    assert_many_broken();
    for (int i = 0; i < 50; i++) { /* periods, at the end of each memory may go */
        loop->trim_at = 0;
        ck_assert_int_eq(uco_sleep(0.0001), 0);
    }
    ck_assert_uint_ge(blocks->bare_count, blocks->segments - 1);
    assert_many_broken();
    for (int i = 0; i < MANY_OWNERS; i++) /* some get the memory that was an owner's */
        tasks[i] = uco_create_task(body_sleep_1s, NULL);
    settle();
    assert_many_broken();
    join_all(tasks, MANY_OWNERS);
    return 0;
}

/* LK9 */
START_TEST(who_comes_when_the_owners_memory_went_back_to_the_system_is_told)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, forgotten_main, NULL), 0);
    ck_assert_uint_eq(reports.count, MANY_OWNERS);
}
END_TEST

static intptr_t
waits_on_the_heap(void *arg)
{
    uco_lock *l = arg;
    int r = uco_lock_acquire(l);

    free(l); /* it is the only one who waited: nobody else knows of it */
    return r;
}

static intptr_t
freed_main(void *arg)
{
    uco_lock *l = calloc(1, sizeof *l);
    uco_task *owner = culprit(keeps, l);
    uco_task *waiter = uco_create_task(waits_on_the_heap, l);

    (void) arg;
    settle();
    ck_assert_int_eq(uco_cancel(owner), 0);
    ck_assert_int_eq(uco_join(waiter), -EOWNERDEAD);
    return uco_join(owner) == -ECANCELED ? 0 : -1;
}

START_TEST(who_is_told_may_free_the_lock)
{
    run_culprit(freed_main);
}
END_TEST

static intptr_t
holds_and_returns(void *arg)
{
    (void) arg;
    return uco_lock_acquire(&lock);
}

static intptr_t
broken_main(void *arg)
{
    (void) arg;
    assert_broken(&lock);
    return 0;
}

START_TEST(in_the_next_run_of_the_loop_the_lock_of_the_last_main_task_is_broken)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);
    uco_loop *loop = uco_loop_new(&options);

    begin();
    ck_assert_int_eq(uco_loop_run_until_complete(loop, holds_and_returns, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert(!uco_lock_is_held(&lock));
    ck_assert_int_eq(uco_loop_run_until_complete(loop, broken_main, NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert(!uco_lock_is_held(&lock));
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
refused_main(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_lock_acquire(&lock), -EPERM);
    ck_assert_int_eq(uco_lock_try_acquire(&lock), -EPERM);
    return 0;
}

START_TEST(a_lock_whose_owner_ended_with_its_loop_is_another_loops)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    begin();
    ck_assert_int_eq(uco_run_with(&options, holds_and_returns, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert(!uco_lock_is_held(&lock));
    run_in_all_orders(refused_main, NULL);
    begin();
    ck_assert_int_eq(run_virtual(passes, NULL), 0);
}
END_TEST

static intptr_t
two_rounds_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < 2; i++) {
        uco_task *owner;

        begin();
        owner = culprit(keeps, &lock);
        ck_assert_int_eq(uco_cancel(owner), 0);
        ck_assert_int_eq(uco_join(owner), -ECANCELED);
        assert_broken(&lock);
    }
    return 0;
}

START_TEST(a_lock_that_was_zeroed_can_break_again)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, two_rounds_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 2);
}
END_TEST

static intptr_t
releases_all(void *locks)
{
    uco_lock *three = locks;

    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_lock_acquire(&three[i]), 0);
    settle();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_lock_release(&three[(i + 1) % 3]), 0);
    return 0;
}

static intptr_t
passes_on(void *l)
{
    int r = uco_lock_acquire(l);

    return r < 0 ? r : uco_lock_release(l);
}

static intptr_t
tidy_main(void *arg)
{
    uco_lock locks[3] = {{0}};
    uco_task *tasks[4];

    (void) arg;
    tasks[3] = uco_create_task_with(&(uco_task_options){.eager = true}, releases_all, locks);
    for (int i = 0; i < 3; i++)
        tasks[i] = uco_create_task(passes_on, &locks[i]);
    join_all(tasks, 4);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(passes_on(&locks[i]), 0);
    return 0;
}

START_TEST(an_owner_that_released_all_in_any_order_has_broken_none)
{
    struct reports reports;
    const uco_loop_options options = reporting(&reports);

    run_in_all_orders(tidy_main, NULL);
    ck_assert_int_eq(uco_run_with(&options, tidy_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("lock owner");
    TCase *tcase = case_new(suite, "ends");

    tcase_add_test(tcase, when_the_owner_ends_all_waiters_are_told_and_it_is_reported_by_name);
    tcase_add_test(tcase, when_an_owner_by_hand_over_ends_those_behind_it_are_told);
    tcase_add_test(tcase, all_locks_that_the_owner_held_are_broken_with_waiters_and_without);
    tcase_add_test(tcase, a_child_that_waits_for_its_parents_lock_is_told_when_the_parent_returns);
    tcase_add_test(tcase, who_comes_long_after_the_owners_end_is_told);
    tcase_add_test(tcase, who_comes_when_the_owners_memory_went_back_to_the_system_is_told);
    tcase_add_test(tcase, a_lock_in_its_owners_frame_may_go_with_it);
    tcase_add_test(tcase, a_lock_that_nobody_waits_for_is_not_touched_when_its_owner_ends);
    tcase_add_test(tcase, who_is_told_may_free_the_lock);
    tcase_add_test(tcase, in_the_next_run_of_the_loop_the_lock_of_the_last_main_task_is_broken);
    tcase_add_test(tcase, a_lock_whose_owner_ended_with_its_loop_is_another_loops);
    tcase_add_test(tcase, a_lock_that_was_zeroed_can_break_again);
    tcase_add_test(tcase, an_owner_that_released_all_in_any_order_has_broken_none);
    return suite_end(suite);
}
