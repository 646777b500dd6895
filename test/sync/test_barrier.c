/* SPDX-License-Identifier: MIT */

/*
 * Barriers: rounds, who belongs to which, and what breaks one.
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

/* The tasks end with these results; gives the references back. */
static void
assert_results(uco_task *tasks[], const intptr_t expected[], int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(uco_join(tasks[i]), expected[i]);
}

static intptr_t
round_main(void *arg)
{
    uco_task *tasks[3];
    uint64_t before;

    (void) arg;
    begin(4);
    for (int round = 0; round < 3; round++) {
        arrive_all(tasks, 3, waits);
        for (int i = 0; i < 3; i++)
            ck_assert(!uco_done(tasks[i]));
        before = switches();
        ck_assert_int_eq(uco_barrier_wait(&barrier), 3);
        ck_assert_uint_eq(switches(), before); /* the last one does not suspend */
        assert_results(tasks, (const intptr_t[]){0, 1, 2}, 3);
    }
    return 0;
}

/* BR1, BR2: the last one lets all go on, each with its place; and again. */
START_TEST(the_last_to_come_releases_all_round_after_round)
{
    run_in_all_orders(round_main, NULL);
}
END_TEST

static intptr_t
fill_main(void *arg)
{
    uco_task *tasks[7];
    unsigned places = 0;

    (void) arg;
    begin(7);
    for (int i = 0; i < 7; i++)
        tasks[i] = uco_create_task(waits, NULL);
    for (int i = 0; i < 7; i++) {
        intptr_t place = uco_join(tasks[i]);

        ck_assert(place >= 0 && place < 7);
        places |= 1u << place;
    }
    ck_assert_uint_eq(places, 0x7f);
    return 0;
}

/* BR1 */
START_TEST(each_of_those_who_come_at_once_has_a_place_of_its_own)
{
    run_in_all_orders(fill_main, NULL);
}
END_TEST

static intptr_t
waits_by_phase(void *counts)
{
    unsigned *count = counts;

    for (int phase = 0; phase < 5; phase++) {
        count[phase]++;
        ck_assert_int_ge(uco_barrier_wait(&barrier), 0);
        ck_assert_uint_eq(count[phase], 3);
        ck_assert_int_ge(uco_barrier_wait(&barrier), 0);
    }
    return 0;
}

static intptr_t
phases_main(void *arg)
{
    unsigned counts[5] = {0};
    uco_task *tasks[3];

    (void) arg;
    begin(3);
    for (int i = 0; i < 3; i++)
        tasks[i] = uco_create_task(waits_by_phase, counts);
    join_all(tasks, 3);
    return 0;
}

/* BR2 */
START_TEST(nobody_is_a_round_ahead_of_the_others)
{
    run_in_all_orders(phases_main, NULL);
}
END_TEST

static intptr_t
drain_main(void *arg)
{
    uco_task *tasks[2], *late;

    (void) arg;
    begin(3);
    arrive_all(tasks, 2, waits);
    late = uco_create_task(waits, NULL);
    ck_assert_int_eq(uco_barrier_wait(&barrier), 2);
    assert_results(tasks, (const intptr_t[]){0, 1}, 2);
    settle();
    ck_assert(!uco_done(late));
    arrive_all(tasks, 1, waits);
    ck_assert_int_eq(uco_barrier_wait(&barrier), 2);
    ck_assert_int_eq(uco_join(late), 0);
    ck_assert_int_eq(uco_join(tasks[0]), 1);
    return 0;
}

/*
 * BR3: who comes while those of a round have not all gone on belongs to the next.
 *
 * main                      a           b           late
 * ----                      -           -           ----
 *                           wait
 *                                       wait
 * starts late
 * wait: 2, a round
 *                           0           1           wait, in any order: stays
 */
START_TEST(a_newcomer_belongs_to_the_next_round)
{
    run_in_all_orders(drain_main, NULL);
}
END_TEST

static intptr_t
one_party_main(void *arg)
{
    uint64_t before;

    (void) arg;
    begin(1);
    settle();
    before = switches();
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(uco_barrier_wait(&barrier), 0);
    ck_assert_uint_eq(switches(), before);
    return 0;
}

START_TEST(a_barrier_of_one_holds_nobody)
{
    run_in_all_orders(one_party_main, NULL);
}
END_TEST

static intptr_t
cancel_main(void *arg)
{
    uco_task *tasks[3], *late;

    (void) arg;
    for (int cancelled = 0; cancelled < 3; cancelled++) {
        intptr_t place = 0;

        begin(4);
        arrive_all(tasks, 3, waits);
        ck_assert_int_eq(uco_cancel(tasks[cancelled]), 0);
        late = arrive(waits, 'd');
        ck_assert(!uco_done(late)); /* the fourth to come, but only the third there */
        ck_assert_int_eq(uco_barrier_wait(&barrier), 3);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(uco_join(tasks[i]), i == cancelled ? -ECANCELED : place++);
        ck_assert_int_eq(uco_join(late), 2);
    }
    return 0;
}

/* BR4: a cancelled waiter leaves the count, and the places of those behind it move up. */
START_TEST(when_a_waiter_is_cancelled_one_more_is_needed)
{
    run_in_all_orders(cancel_main, NULL);
}
END_TEST

static intptr_t
released_then_cancelled(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_barrier_wait(&barrier), 0);
    return uco_barrier_wait(&barrier);
}

static intptr_t
release_then_cancel_main(void *arg)
{
    uco_task *a, *b;

    (void) arg;
    begin(2);
    a = arrive(released_then_cancelled, 'a');
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    ck_assert_int_eq(uco_cancel(a), 0);
    ck_assert_int_eq(uco_join(a), -ECANCELED);
    b = arrive(waits, 'b'); /* the second call of a's was not counted */
    ck_assert(!uco_done(b));
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    return uco_join(b);
}

/*
 * main              a
 * ----              -
 *                   wait
 * wait: 1, a round
 * cancel a
 *                   0
 *                   wait: -ECANCELED
 */
START_TEST(a_waiter_released_and_then_cancelled_returns_its_place)
{
    run_in_all_orders(release_then_cancel_main, NULL);
}
END_TEST

static intptr_t
cancel_then_come_main(void *arg)
{
    uco_task *tasks[3];

    (void) arg;
    begin(2);
    tasks[0] = arrive(waits, 'a');
    tasks[1] = uco_create_task(waits, NULL);
    ck_assert_int_eq(uco_cancel(tasks[0]), 0);
    ck_assert_int_eq(uco_join(tasks[0]), -ECANCELED);
    settle();
    ck_assert(!uco_done(tasks[1]));
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    return uco_join(tasks[1]);
}

/*
 * main              a              b
 * ----              -              -
 *                   wait
 * starts b
 * cancel a
 *                   -ECANCELED     wait, in any order: is the first
 * wait: 1
 *                                  0
 */
START_TEST(who_comes_after_a_cancellation_does_not_meet_the_cancelled)
{
    run_in_all_orders(cancel_then_come_main, NULL);
}
END_TEST

static int
wait_here(void)
{
    return (int) uco_barrier_wait(&barrier);
}

static intptr_t
checkpoint_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin(2);
    assert_cancellation_point(wait_here);
    waiter = arrive(waits, 'a');
    assert_cancellation_point(wait_here); /* it would be the last */
    ck_assert(!uco_done(waiter));
    ck_assert_int_eq(uco_barrier_wait(&barrier), 1);
    ck_assert_int_eq(uco_join(waiter), 0);
    begin(1);
    assert_lets_others_run(wait_here);
    ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    assert_cancellation_point(wait_here);
    return 0;
}

START_TEST(wait_is_a_cancellation_point_and_lets_others_run_each_64th_time)
{
    run_in_all_orders(checkpoint_main, NULL);
}
END_TEST

static intptr_t
timeout_main(void *arg)
{
    uco_task *waiter;

    (void) arg;
    begin(2);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, NULL), -ETIMEDOUT);
    assert_time(1.0);
    waiter = arrive(waits, 'a');
    ck_assert(!uco_done(waiter));
    ck_assert_int_eq(uco_with_timeout(1.0, waits, NULL), 1);
    return uco_join(waiter);
}

/* BR4 */
START_TEST(a_waiter_that_times_out_leaves_the_count)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

static intptr_t
reset_main(void *arg)
{
    uco_task *tasks[2];

    (void) arg;
    begin(3);
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0); /* with nobody there nothing happens */
    arrive_all(tasks, 2, waits);
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
    assert_results(tasks, (const intptr_t[]){-EPIPE, -EPIPE}, 2);
    arrive_all(tasks, 2, waits);
    ck_assert_int_eq(uco_barrier_wait(&barrier), 2);
    assert_results(tasks, (const intptr_t[]){0, 1}, 2);
    return 0;
}

/* BR5: reset breaks the wait of those present, and begins anew. */
START_TEST(a_reset_ends_the_round_and_the_next_is_whole)
{
    run_in_all_orders(reset_main, NULL);
}
END_TEST

static intptr_t
waits_again_if_broken(void *arg)
{
    intptr_t r = uco_barrier_wait(&barrier);

    (void) arg;
    return r == -EPIPE ? uco_barrier_wait(&barrier) : -EINVAL;
}

static intptr_t
reset_again_main(void *arg)
{
    uco_task *tasks[2];

    (void) arg;
    begin(3);
    arrive_all(tasks, 2, waits_again_if_broken);
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
    settle();
    ck_assert_int_eq(uco_barrier_wait(&barrier), 2);
    ck_assert_int_eq(uco_join(tasks[0]) + uco_join(tasks[1]), 1);
    return 0;
}

/* BR5 */
START_TEST(who_was_broken_by_a_reset_can_wait_again)
{
    run_in_all_orders(reset_again_main, NULL);
}
END_TEST

static uco_task *
arrive_at_once(void)
{
    return uco_create_task_with(&(uco_task_options){.eager = true}, waits, NULL);
}

static intptr_t
draining_main(void *function)
{
    int (*breaks)(uco_barrier * b) = *(int (**)(uco_barrier *)) function;
    uco_task *tasks[2], *late;

    begin(3);
    arrive_all(tasks, 2, waits);
    ck_assert_int_eq(uco_barrier_wait(&barrier), 2);
    late = arrive_at_once();
    ck_assert_int_eq(breaks(&barrier), 0);
    assert_results(tasks, (const intptr_t[]){0, 1}, 2);
    ck_assert_int_eq(uco_join(late), -EPIPE);
    return 0;
}

/*
 * BR6, BR7: those of a round that is complete have their places, though they have not run.
 *
 * main                        a              b              late
 * ----                        -              -              ----
 *                             wait
 *                                            wait
 * wait: 2, a round
 *                                                           wait
 * reset | abort
 *                             0              1              -EPIPE
 */
START_TEST(a_round_that_is_complete_is_not_broken_any_more)
{
    static int (*reset)(uco_barrier * b) = uco_barrier_reset;
    static int (*abort)(uco_barrier * b) = uco_barrier_abort;

    run_in_all_orders(draining_main, &reset);
    run_in_all_orders(draining_main, &abort);
}
END_TEST

static intptr_t
abort_main(void *arg)
{
    uco_task *tasks[2];

    (void) arg;
    begin(3);
    arrive_all(tasks, 2, waits);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    assert_results(tasks, (const intptr_t[]){-EPIPE, -EPIPE}, 2);
    arrive_all(tasks, 2, waits);
    ck_assert_int_eq(uco_barrier_wait(&barrier), -EPIPE);
    assert_results(tasks, (const intptr_t[]){-EPIPE, -EPIPE}, 2);
    ck_assert_int_eq(uco_barrier_reset(&barrier), 0);
    arrive_all(tasks, 2, waits);
    ck_assert_int_eq(uco_barrier_wait(&barrier), 2);
    assert_results(tasks, (const intptr_t[]){0, 1}, 2);
    return 0;
}

/* BR7: until a reset, all who wait and all who come are told. */
START_TEST(an_aborted_barrier_is_broken_until_it_is_reset)
{
    run_in_all_orders(abort_main, NULL);
}
END_TEST

static intptr_t
broken_then_cancelled(void *arg)
{
    intptr_t r = uco_barrier_wait(&barrier);

    (void) arg;
    ck_assert_int_eq(uco_barrier_wait(&barrier), -ECANCELED); /* broken, but cancelled first */
    return r;
}

static intptr_t
abort_and_cancel_main(void *abort_first)
{
    uco_task *task;

    begin(2);
    task = arrive(broken_then_cancelled, 'a');
    if (abort_first != NULL)
        ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    if (abort_first == NULL)
        ck_assert_int_eq(uco_barrier_abort(&barrier), 0);
    ck_assert_int_eq(uco_join(task), abort_first != NULL ? -EPIPE : -ECANCELED);
    return 0;
}

/*
 * main                              a
 * ----                              -
 *                                   wait
 * abort, cancel a | cancel a, abort
 *                                   -EPIPE | -ECANCELED
 *                                   wait: -ECANCELED
 */
START_TEST(of_an_abort_and_a_cancellation_the_first_decides)
{
    run_in_all_orders(abort_and_cancel_main, &barrier);
    run_in_all_orders(abort_and_cancel_main, NULL);
}
END_TEST

static void
add_rounds(Suite *suite)
{
    TCase *tcase = case_new(suite, "rounds");

    tcase_add_test(tcase, the_last_to_come_releases_all_round_after_round);
    tcase_add_test(tcase, each_of_those_who_come_at_once_has_a_place_of_its_own);
    tcase_add_test(tcase, nobody_is_a_round_ahead_of_the_others);
    tcase_add_test(tcase, a_newcomer_belongs_to_the_next_round);
    tcase_add_test(tcase, a_barrier_of_one_holds_nobody);
    tcase_add_test(tcase, when_a_waiter_is_cancelled_one_more_is_needed);
    tcase_add_test(tcase, a_waiter_released_and_then_cancelled_returns_its_place);
    tcase_add_test(tcase, who_comes_after_a_cancellation_does_not_meet_the_cancelled);
    tcase_add_test(tcase, wait_is_a_cancellation_point_and_lets_others_run_each_64th_time);
    tcase_add_test(tcase, a_waiter_that_times_out_leaves_the_count);
}

static void
add_breaking(Suite *suite)
{
    TCase *tcase = case_new(suite, "breaking");

    tcase_add_test(tcase, a_reset_ends_the_round_and_the_next_is_whole);
    tcase_add_test(tcase, who_was_broken_by_a_reset_can_wait_again);
    tcase_add_test(tcase, a_round_that_is_complete_is_not_broken_any_more);
    tcase_add_test(tcase, an_aborted_barrier_is_broken_until_it_is_reset);
    tcase_add_test(tcase, of_an_abort_and_a_cancellation_the_first_decides);
}

int
main(void)
{
    Suite *suite = suite_create("barrier");

    add_rounds(suite);
    add_breaking(suite);
    return suite_end(suite);
}
