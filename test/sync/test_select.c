/* SPDX-License-Identifier: MIT */

/*
 * Doing exactly one of several queue operations: which one, fairly, once, and what is left of the
 * others. What becomes of it when a queue ends, and what it refuses, is in test_select_end.c.
 */

#include "sync/select_calls.h"

#include <math.h>

/* --- at once --- */

static intptr_t
only_one_ready_main(void *arg)
{
    struct pair p = pair_new();
    struct selection get = either(p.empty, -1, p.full, -1);
    struct selection put = either(p.empty, 5, p.full, 6);

    (void) arg;
    ck_assert_int_eq(select_now(&get, UCO_FOREVER), 1);
    ck_assert_int_eq(get.cases[1].result, 0);
    ck_assert_int_eq(get.items[1], 2);
    ck_assert_int_eq(get.items[0], -1);
    put_now(p.full, 3);
    ck_assert_int_eq(select_now(&put, 1.0), 0);
    ck_assert_int_eq(put.cases[0].result, 0);
    get_now(p.empty, 5);
    get_now(p.full, 3);
    ck_assert_double_eq_tol(uco_time(), 0.0, 1e-9);
    pair_free(&p);
    return 0;
}

START_TEST(what_can_be_done_at_once_is_done)
{
    run_in_all_orders(only_one_ready_main, NULL);
}
END_TEST

static intptr_t
several_ready_main(void *arg)
{
    struct pair p = pair_new();
    int counts[3] = {0};

    (void) arg;
    for (int i = 0; i < 300; i++) {
        struct selection s = either(p.full, -1, p.empty, 7);
        ssize_t r;

        add_case(&s, p.full, -1);
        r = select_now(&s, UCO_FOREVER);
        ck_assert_int_ge(r, 0);
        ck_assert_int_lt(r, 3);
        counts[r]++;
        check_size(p.full, r == 1 ? 1 : 0);
        check_size(p.empty, r == 1 ? 1 : 0);
        if (r == 1)
            get_now(p.empty, 7);
        else
            put_now(p.full, 2);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_int_gt(counts[i], 40);
    pair_free(&p);
    return 0;
}

/* Gets and puts, and a queue that stands in it twice: a hundred times each on average. */
START_TEST(of_several_that_are_ready_exactly_one_happens_and_none_starves)
{
    run_in_all_orders(several_ready_main, NULL);
}
END_TEST

struct choices {
    ssize_t made[64];
};

static intptr_t
choices_main(void *arg)
{
    struct choices *choices = arg;
    uco_queue *a = queue_of_ints(0), *b = queue_of_ints(0);

    for (size_t i = 0; i < COUNT(choices->made); i++) {
        struct selection s = either(a, 1, b, 1);

        choices->made[i] = select_now(&s, UCO_FOREVER);
    }
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

START_TEST(the_choice_is_repeated_under_the_same_seed)
{
    struct choices first, same, other;

    ck_assert_int_eq(run_seeded(1, choices_main, &first), 0);
    ck_assert_int_eq(run_seeded(1, choices_main, &same), 0);
    ck_assert_int_eq(run_seeded(2, choices_main, &other), 0);
    ck_assert_mem_eq(&first, &same, sizeof first);
    ck_assert_mem_ne(&first, &other, sizeof first);
}
END_TEST

static intptr_t
try_main(void *arg)
{
    static const double over[] = {0.0, -0.0, -1.0, -INFINITY};
    struct pair p = pair_new();

    (void) arg;
    for (size_t i = 0; i < COUNT(over); i++) {
        struct selection blocked = either(p.empty, -1, p.full, 5);
        struct selection ready = either(p.empty, -1, p.full, -1);

        ck_assert_int_eq(select_now(&blocked, over[i]), -ETIMEDOUT);
        ck_assert_int_eq(blocked.items[0], -1);
        ck_assert_int_eq(select_now(&ready, over[i]), 1);
        put_now(p.full, 2);
        check_size(p.empty, 0);
    }
    put_now(p.empty, 1);
    check_size(p.empty, 1);
    ck_assert_double_eq_tol(uco_time(), 0.0, 1e-9);
    pair_free(&p);
    return 0;
}

START_TEST(with_no_time_it_only_tries)
{
    run_in_all_orders(try_main, NULL);
}
END_TEST

static intptr_t
set_flag(void *arg)
{
    *(bool *) arg = true;
    return 0;
}

static intptr_t
spinning_main(void *arg)
{
    struct pair p = pair_new();
    bool others_ran = false;
    uco_task *other = uco_create_task(set_flag, &others_ran);
    int i;

    (void) arg;
    for (i = 0; i < 200 && !others_ran; i++) {
        struct selection s = either(p.empty, -1, p.full, 5);

        ck_assert_int_eq(select_now(&s, 0), -ETIMEDOUT);
    }
    ck_assert(others_ran);
    pair_free(&p);
    return uco_join(other);
}

START_TEST(who_tries_again_and_again_lets_others_run)
{
    run_in_all_orders(spinning_main, NULL);
}
END_TEST

/* --- waiting --- */

static intptr_t
first_that_can_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.empty, -1, p.full, 3);

    (void) arg;
    selection_start(&s);
    put_now(p.empty, 1);
    selection_did(&s, 0, 0, 1);
    s = either(p.empty, -1, p.full, 3);
    selection_start(&s);
    get_now(p.full, 2);
    check_size(p.full, 1);
    put_now(p.empty, 4);
    selection_did(&s, 1, 0, 3);
    ck_assert_int_eq(s.items[0], -1);
    get_now(p.full, 3);
    get_now(p.empty, 4);
    pair_free(&p);
    return 0;
}

/*  main             | selecter
 *                   | get of empty, or put of 3 to full: waits
 *  get from full    | its 3 is in
 *  put to empty: stays
 *                   | the put
 */
START_TEST(the_first_operation_that_can_be_done_ends_the_wait)
{
    run_in_all_orders(first_that_can_main, NULL);
}
END_TEST

static intptr_t
both_in_one_step_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct selection s = either(a, -1, b, -1);

    (void) arg;
    selection_start(&s);
    put_now(b, 2);
    put_now(a, 1);
    check_size(b, 0);
    check_size(a, 1);
    selection_did(&s, 1, 0, 2);
    ck_assert_int_eq(s.items[0], -1);
    get_now(a, 1);
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

/*  main               | selecter
 *                     | waits for a and b
 *  put 2 to b: hands over
 *  put 1 to a: stays  |
 *                     | has 2
 */
START_TEST(of_two_items_in_the_same_step_only_the_first_is_taken)
{
    run_in_all_orders(both_in_one_step_main, NULL);
}
END_TEST

static intptr_t
same_queue_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct selection s = either(q, -1, q, -1);
    struct call getter;

    (void) arg;
    add_case(&s, q, -1);
    selection_start(&s);
    call_start(&getter, get_once, q, -1);
    put_now(q, 1);
    put_now(q, 2);
    put_now(q, 3);
    check_size(q, 1);
    selection_did(&s, 0, 0, 1);
    ck_assert_int_eq(s.items[1], -1);
    ck_assert_int_eq(s.items[2], -1);
    call_gets(&getter, 2);
    get_now(q, 3);
    uco_queue_free(q);
    return 0;
}

START_TEST(a_queue_that_stands_in_it_several_times_is_taken_from_once)
{
    run_in_all_orders(same_queue_main, NULL);
}
END_TEST

static intptr_t
arrival_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct selection second = either(a, -1, b, -1), third = either(b, -1, a, -1);
    struct call first, fourth;

    (void) arg;
    call_start(&first, get_once, a, -1);
    selection_start(&second);
    selection_start(&third);
    call_start(&fourth, get_once, a, -1);
    for (int i = 1; i <= 4; i++)
        put_now(a, i);
    call_gets(&first, 1);
    selection_did(&second, 0, 0, 2);
    selection_did(&third, 1, 0, 3);
    call_gets(&fourth, 4);
    put_now(b, 5);
    check_size(b, 1);
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

START_TEST(selecters_and_getters_are_served_in_the_order_of_their_coming)
{
    run_in_all_orders(arrival_main, NULL);
}
END_TEST

static intptr_t
many_cases_main(void *arg)
{
    enum { N = 300 };
    static uco_queue *queues[N];
    static uco_select_case cases[N];
    int item = -1;
    uco_queue *last;

    (void) arg;
    for (int i = 0; i < N; i++) {
        queues[i] = queue_of_ints(1);
        cases[i] = (uco_select_case){.queue = queues[i], .op = UCO_SELECT_GET, .item = &item};
    }
    last = queues[N - 1];
    ck_assert_int_eq(uco_select(cases, N, 1.0), -ETIMEDOUT);
    ck_assert_double_eq_tol(uco_time(), 1.0, 1e-6);
    put_now(last, 8);
    check_size(last, 1);
    ck_assert_int_eq(uco_select(cases, N, 1.0), N - 1);
    ck_assert_int_eq(item, 8);
    for (int i = 0; i < N; i++)
        uco_queue_free(queues[i]);
    return 0;
}

START_TEST(many_cases_can_be_waited_for)
{
    run_in_all_orders(many_cases_main, NULL);
}
END_TEST

/* Two tasks that pass items to and fro through two queues, each ready to give and to take. */
struct exchange {
    uco_queue *out;
    uco_queue *in;
    int gave;
    int took;
};

static intptr_t
exchange(void *arg)
{
    struct exchange *e = arg;

    while (e->gave + e->took < 100) {
        struct selection s = either(e->out, 1, e->in, -1);
        ssize_t r = select_now(&s, 1.0);

        if (r == -ETIMEDOUT)
            break;
        ck_assert_int_ge(r, 0);
        ck_assert_int_eq(s.items[r], 1);
        e->gave += r == 0;
        e->took += r == 1;
    }
    return 0;
}

static intptr_t
exchange_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct exchange sides[4] = {{a, b, 0, 0}, {b, a, 0, 0}, {a, b, 0, 0}, {b, a, 0, 0}};
    uco_task *tasks[4];

    (void) arg;
    for (int i = 0; i < 4; i++)
        tasks[i] = uco_create_task(exchange, &sides[i]);
    ck_assert_int_eq(uco_gather(tasks, 4, NULL), 0);
    uco_unref_all(tasks, 4);
    check_size(a, (size_t) (sides[0].gave + sides[2].gave - sides[1].took - sides[3].took));
    check_size(b, (size_t) (sides[1].gave + sides[3].gave - sides[0].took - sides[2].took));
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

START_TEST(selecters_that_serve_each_other_lose_nothing)
{
    run_in_all_orders(exchange_main, NULL);
}
END_TEST

/* --- cancellation and timeout --- */

static intptr_t
cancelled_scope_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.empty, 5, p.full, -1);
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(select_now(&s, UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(select_now(&s, 0), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    check_size(p.empty, 0);
    check_size(p.full, 1);
    ck_assert_int_eq(s.items[1], -1);
    pair_free(&p);
    return 0;
}

START_TEST(in_a_cancelled_scope_nothing_is_done)
{
    run_in_all_orders(cancelled_scope_main, NULL);
}
END_TEST

static intptr_t
granted_main(void *arg)
{
    struct pair p = pair_new();
    struct selection getter = either(p.empty, -1, p.full, 3);
    struct selection late = either(p.empty, -1, p.full, 4);

    (void) arg;
    selection_start(&getter);
    selection_start(&late);
    put_now(p.empty, 1);
    ck_assert_int_eq(uco_cancel(getter.task), 0);
    ck_assert_int_eq(uco_cancel(late.task), 0);
    get_now(p.full, 2);
    check_size(p.full, 0);
    put_now(p.empty, 5);
    selection_ends(&getter, 0, -ECANCELED);
    ck_assert_int_eq(getter.cases[0].result, 0);
    ck_assert_int_eq(getter.items[0], 1);
    selection_ends(&late, -ECANCELED, -ECANCELED);
    ck_assert_int_eq(late.items[0], -1);
    get_now(p.empty, 5);
    pair_free(&p);
    return 0;
}

/*  main                        | selecter          | another
 *                              | waits             | waits
 *  put 1 to empty: hands over  |                   |
 *  cancel both                 |                   |
 *  get from full: nothing comes after it           |
 *  put 5 to empty: stays       |                   |
 *                              | the get, with 1   | -ECANCELED
 *                              | yield: -ECANCELED |
 */
START_TEST(what_happened_before_a_cancellation_is_kept)
{
    run_in_all_orders(granted_main, NULL);
}
END_TEST

static intptr_t
timeout_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.empty, -1, p.full, 3);

    (void) arg;
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(select_now(&s, 0.5), -ETIMEDOUT);
    ck_assert_double_eq_tol(uco_time(), 1.5, 1e-6);
    get_now(p.full, 2);
    check_size(p.full, 0);
    put_now(p.empty, 1);
    check_size(p.empty, 1);
    ck_assert_int_eq(s.items[0], -1);
    pair_free(&p);
    return 0;
}

START_TEST(a_timeout_leaves_nothing_in_the_queues)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

static void
pass_a_second(void)
{
    ck_assert(!isnan(uco_test_advance(uco_get_running_loop(), 1.0)));
}

static intptr_t
same_turn_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct selection s = either(a, -1, b, -1);

    (void) arg;
    s.timeout = 1.0;
    selection_start(&s);
    put_now(b, 1);
    pass_a_second();
    selection_did(&s, 1, 0, 1);
    s = either(a, -1, b, -1);
    s.timeout = 1.0;
    selection_start(&s);
    pass_a_second();
    put_now(b, 2);
    check_size(b, 1);
    selection_ends(&s, -ETIMEDOUT, 0);
    ck_assert_int_eq(s.items[1], -1);
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

/*  main              | selecter         main               | selecter
 *                    | waits                               | waits
 *  put: hands over   |                  a second: expires  |
 *  a second: expires |                  put: stays         |
 *                    | has the item                        | -ETIMEDOUT
 */
START_TEST(an_item_and_the_timeout_in_the_same_step_happen_in_their_order)
{
    for (uint64_t seed = 0; seed <= 200; seed++) {
        uco_loop_options options = {.clock = UCO_CLOCK_MANUAL, .seed = seed};

        ck_assert_int_eq(uco_run_with(&options, same_turn_main, NULL), 0);
    }
}
END_TEST

static uint64_t
timers_pending(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.timers;
}

static intptr_t
many_timeouts_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.empty, -1, p.full, 5);
    uint64_t timers = timers_pending();

    (void) arg;
    for (int i = 0; i < scaled(100000); i++)
        ck_assert_int_eq(select_now(&s, 0.001), -ETIMEDOUT);
    s = either(p.empty, -1, p.full, 5);
    s.timeout = 1e6;
    selection_start(&s);
    put_now(p.empty, 1);
    selection_did(&s, 0, 0, 1);
    ck_assert_uint_eq(timers_pending(), timers);
    put_now(p.empty, 1);
    check_size(p.empty, 1);
    get_now(p.full, 2);
    check_size(p.full, 0);
    pair_free(&p);
    return 0;
}

/* QU7: also for selecters. */
START_TEST(a_hundred_thousand_timeouts_leave_no_waiter_and_no_timer)
{
    ck_assert_int_eq(run_virtual(many_timeouts_main, NULL), 0);
}
END_TEST

static void
add_at_once(Suite *suite)
{
    TCase *tc = case_new(suite, "at once");

    tcase_add_test(tc, what_can_be_done_at_once_is_done);
    tcase_add_test(tc, of_several_that_are_ready_exactly_one_happens_and_none_starves);
    tcase_add_test(tc, the_choice_is_repeated_under_the_same_seed);
    tcase_add_test(tc, with_no_time_it_only_tries);
    tcase_add_test(tc, who_tries_again_and_again_lets_others_run);
}

static void
add_waiting(Suite *suite)
{
    TCase *tc = case_new(suite, "waiting");

    tcase_add_test(tc, the_first_operation_that_can_be_done_ends_the_wait);
    tcase_add_test(tc, of_two_items_in_the_same_step_only_the_first_is_taken);
    tcase_add_test(tc, a_queue_that_stands_in_it_several_times_is_taken_from_once);
    tcase_add_test(tc, selecters_and_getters_are_served_in_the_order_of_their_coming);
    tcase_add_test(tc, many_cases_can_be_waited_for);
    tcase_add_test(tc, selecters_that_serve_each_other_lose_nothing);
}

static void
add_cancellation(Suite *suite)
{
    TCase *tc = case_new(suite, "cancellation and timeout");

    tcase_add_test(tc, in_a_cancelled_scope_nothing_is_done);
    tcase_add_test(tc, what_happened_before_a_cancellation_is_kept);
    tcase_add_test(tc, a_timeout_leaves_nothing_in_the_queues);
    tcase_add_test(tc, an_item_and_the_timeout_in_the_same_step_happen_in_their_order);
    tcase_add_test(tc, a_hundred_thousand_timeouts_leave_no_waiter_and_no_timer);
}

int
main(void)
{
    Suite *suite = suite_create("select");

    add_at_once(suite);
    add_waiting(suite);
    add_cancellation(suite);
    return suite_end(suite);
}
