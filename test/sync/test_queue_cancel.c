/* SPDX-License-Identifier: MIT */

/*
 * Queues and cancellation: what was handed over is kept, what was not leaves no trace.
 */

#include "sync/queue_calls.h"

#include <malloc.h>
#include <string.h>

static void
open_cancelled(uco_scope *s)
{
    ck_assert_int_eq(uco_scope_open(s, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(s), 0);
}

/* --- one of several --- */

static intptr_t
first_getter_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call getters[3];

    (void) arg;
    for (int i = 0; i < 3; i++)
        call_start(&getters[i], get_once, q, -1);
    call_cancel(&getters[0]);
    put_now(q, 1);
    put_now(q, 2);
    call_ends(&getters[0], -ECANCELED, -ECANCELED);
    ck_assert_int_eq(getters[0].item, -1);
    call_ends(&getters[1], 0, 0);
    call_ends(&getters[2], 0, 0);
    ck_assert_int_eq(getters[1].item, 1);
    ck_assert_int_eq(getters[2].item, 2);
    uco_queue_free(q);
    return 0;
}

/*  main          | 1st getter | 2nd     | 3rd
 *                | waits      | waits   | waits
 *  cancel 1st    |
 *  put, put      |
 *                | -ECANCELED | has the first item | has the second
 */
/* QU5: of three getters the first is cancelled; the others get both items. */
START_TEST(a_cancelled_getter_leaves_the_items_to_the_others)
{
    run_in_all_orders(first_getter_main, NULL);
}
END_TEST

static intptr_t
middle_putter_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call putters[3];

    (void) arg;
    put_now(q, 0);
    for (int i = 0; i < 3; i++)
        call_start(&putters[i], put_once, q, i + 1);
    call_cancel(&putters[1]);
    get_now(q, 0);
    get_now(q, 1);
    get_now(q, 3);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    call_ends(&putters[0], 0, 0);
    call_ends(&putters[1], -ECANCELED, -ECANCELED);
    call_ends(&putters[2], 0, 0);
    uco_queue_free(q);
    return 0;
}

/*  main          | 1st putter | 2nd     | 3rd
 *                | waits      | waits   | waits
 *  cancel 2nd    |
 *  get           | is in
 *  get           |                      | is in
 */
/* QU6: a cancelled putter neither inserts nor blocks the next one. */
START_TEST(a_cancelled_putter_leaves_the_place_to_the_next)
{
    run_in_all_orders(middle_putter_main, NULL);
}
END_TEST

static intptr_t
cancelled_in_reverse_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call calls[4];

    (void) arg;
    for (int i = 0; i < 4; i++)
        call_start(&calls[i], get_once, q, -1);
    for (int i = 3; i >= 0; i--)
        call_cancel(&calls[i]);
    for (int i = 0; i < 4; i++)
        call_ends(&calls[i], -ECANCELED, -ECANCELED);
    put_now(q, 0);
    for (int i = 0; i < 4; i++)
        call_start(&calls[i], put_once, q, i + 1);
    for (int i = 3; i >= 0; i--)
        call_cancel(&calls[i]);
    for (int i = 0; i < 4; i++)
        call_ends(&calls[i], -ECANCELED, -ECANCELED);
    get_now(q, 0);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    uco_queue_free(q);
    return 0;
}

START_TEST(all_who_wait_can_be_cancelled_in_any_order)
{
    run_in_all_orders(cancelled_in_reverse_main, NULL);
}
END_TEST

/* --- in the same step --- */

static intptr_t
granted_getter_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter;

    (void) arg;
    call_start(&getter, get_once, q, -1);
    put_now(q, 1);
    call_cancel(&getter);
    call_ends(&getter, 0, -ECANCELED);
    ck_assert_int_eq(getter.item, 1);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    uco_queue_free(q);
    return 0;
}

/*  main               | getter
 *                     | get: waits
 *  put: hands over    |
 *  cancel             |
 *                     | get: 0, and has the item
 *                     | yield: -ECANCELED
 */
START_TEST(a_getter_that_was_handed_an_item_keeps_it_when_cancelled)
{
    run_in_all_orders(granted_getter_main, NULL);
}
END_TEST

static intptr_t
granted_putter_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call first, second;

    (void) arg;
    put_now(q, 0);
    call_start(&first, put_once, q, 1);
    call_start(&second, put_once, q, 2);
    get_now(q, 0);
    call_cancel(&first);
    call_ends(&first, 0, -ECANCELED);
    ck_assert(!uco_done(second.task));
    get_now(q, 1);
    get_now(q, 2);
    call_ends(&second, 0, 0);
    uco_queue_free(q);
    return 0;
}

/*  main               | 1st putter        | 2nd
 *                     | put: waits        | put: waits
 *  get: a place       | its item is in    |
 *  cancel 1st         |                   |
 *                     | put: 0            |
 *                     | yield: -ECANCELED |
 *  get                |                   | its item is in
 */
/* QU8: a putter that is off the list when it is cancelled is not removed twice. */
START_TEST(a_putter_whose_item_got_in_has_put_it_when_cancelled)
{
    run_in_all_orders(granted_putter_main, NULL);
}
END_TEST

static intptr_t
cancelled_first_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter, putter;

    (void) arg;
    call_start(&getter, get_once, q, -1);
    call_cancel(&getter);
    put_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 1);
    call_ends(&getter, -ECANCELED, -ECANCELED);
    ck_assert_int_eq(getter.item, -1);
    call_start(&putter, put_once, q, 2);
    call_cancel(&putter);
    get_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    call_ends(&putter, -ECANCELED, -ECANCELED);
    uco_queue_free(q);
    return 0;
}

/*  main               | getter              main    | putter
 *                     | get: waits                  | put: waits
 *  cancel             |                     cancel  |
 *  put: stays         |                     get: nothing comes after it
 *                     | -ECANCELED                  | -ECANCELED
 */
START_TEST(who_is_cancelled_first_is_handed_nothing)
{
    run_in_all_orders(cancelled_first_main, NULL);
}
END_TEST

static intptr_t
granted_joiner_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call joiner, other;

    (void) arg;
    put_now(q, 1);
    call_start(&joiner, join_once, q, 0);
    call_start(&other, join_once, q, 0);
    call_cancel(&other);
    get_now(q, 1);
    ck_assert_int_eq(uco_queue_task_done(q), 0);
    call_cancel(&joiner);
    put_now(q, 2);
    call_ends(&joiner, 0, -ECANCELED);
    call_ends(&other, -ECANCELED, -ECANCELED);
    uco_queue_free(q);
    return 0;
}

/*  main                     | joiner      | other
 *                           | join: waits | join: waits
 *  cancel other             |             |
 *  get, task_done: all done |             |
 *  cancel joiner, put       |             |
 *                           | 0           | -ECANCELED
 */
START_TEST(a_joiner_whose_items_were_done_returns_0_when_cancelled)
{
    run_in_all_orders(granted_joiner_main, NULL);
}
END_TEST

/* Tasks that get and put in scopes that expire, while others do without: nothing is lost. */
struct turmoil {
    uco_queue *queue;
    int put; /* how many, and got; each that returned 0 */
    int got;
};

static intptr_t
turmoil_put(void *arg)
{
    struct turmoil *t = arg;
    uco_scope s;

    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(uco_scope_open(&s, (i % 3) * 0.1), 0);
        t->put += uco_queue_put(t->queue, &i) == 0;
        uco_scope_close(&s, 0);
        uco_sleep((i % 4) * 0.1);
    }
    return 0;
}

static intptr_t
turmoil_get(void *arg)
{
    struct turmoil *t = arg;
    uco_scope s;
    int item;

    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(uco_scope_open(&s, (i % 4) * 0.1), 0);
        t->got += uco_queue_get(t->queue, &item) == 0;
        uco_scope_close(&s, 0);
        uco_sleep((i % 3) * 0.1);
    }
    return 0;
}

static intptr_t
turmoil_main(void *arg)
{
    struct turmoil t = {.queue = queue_of_ints(2)};
    uco_task *tasks[8];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(i % 2 == 0 ? turmoil_put : turmoil_get, &t);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    ck_assert_int_gt(t.got, 0);
    ck_assert_uint_eq(uco_queue_size(t.queue), (size_t) (t.put - t.got));
    uco_queue_free(t.queue);
    return 0;
}

START_TEST(what_was_put_is_got_or_queued_whatever_expires)
{
    run_in_all_orders(turmoil_main, NULL);
}
END_TEST

/* --- in a cancelled scope --- */

static intptr_t
level_main(void *arg)
{
    uco_queue *q = queue_of_ints(2);
    uco_scope s;
    int item = 7;

    (void) arg;
    put_now(q, 1);
    open_cancelled(&s);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_queue_put(q, &item), -ECANCELED);
        ck_assert_int_eq(uco_queue_get(q, &item), -ECANCELED);
        ck_assert_int_eq(uco_queue_join(q), -ECANCELED);
    }
    ck_assert_int_eq(item, 7);
    ck_assert_uint_eq(uco_queue_size(q), 1);
    get_now(q, 1);
    ck_assert_int_eq(uco_queue_task_done(q), 0);
    ck_assert_int_eq(uco_queue_join(q), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, 0), 0);
    ck_assert_int_eq(uco_queue_join(q), 0);
    uco_queue_free(q);
    return 0;
}

START_TEST(in_a_cancelled_scope_also_what_could_be_done_is_not)
{
    run_in_all_orders(level_main, NULL);
}
END_TEST

static intptr_t
nowait_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    uco_scope s;

    (void) arg;
    open_cancelled(&s);
    for (int i = 0; i < 200; i++) {
        put_now(q, i);
        get_now(q, i);
        ck_assert_int_eq(uco_queue_task_done(q), 0);
    }
    ck_assert_int_eq(uco_queue_shutdown(q, false), 0);
    ck_assert_int_eq(uco_scope_close(&s, 0), 0);
    uco_queue_free(q);
    return 0;
}

START_TEST(what_does_not_suspend_is_no_cancellation_point)
{
    run_in_all_orders(nowait_main, NULL);
}
END_TEST

static intptr_t
put_until_refused(void *arg)
{
    struct call *call = arg;
    int r;

    while ((r = uco_queue_put(call->queue, &call->item)) == 0)
        call->item++;
    return r;
}

static intptr_t
checkpoint_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call putter = {.queue = q};

    (void) arg;
    putter.task = uco_create_task(put_until_refused, &putter);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_yield(), 0);
    call_cancel(&putter);
    ck_assert_int_eq(uco_join(putter.task), -ECANCELED);
    ck_assert_uint_eq(uco_queue_size(q), (size_t) putter.item);
    ck_assert_int_eq(putter.item % 64, 63);
    uco_queue_free(q);
    return 0;
}

/*  putter                       | main
 *  puts 63 or more              |
 *  the 64th lets others run     |
 *                               | cancel
 *  it has put nothing           |
 */
START_TEST(a_call_that_lets_others_run_does_nothing_when_they_cancel_it)
{
    run_in_all_orders(checkpoint_main, NULL);
}
END_TEST

/* The end is told from the cancellation: the scope comes first. */
static intptr_t
end_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    uco_scope s;
    int item = 7;

    (void) arg;
    ck_assert_int_eq(uco_queue_shutdown(q, false), 0);
    open_cancelled(&s);
    ck_assert_int_eq(uco_queue_put(q, &item), -ECANCELED);
    ck_assert_int_eq(uco_queue_get(q, &item), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), 0);
    ck_assert_int_eq(uco_queue_put(q, &item), -ESHUTDOWN);
    ck_assert_int_eq(uco_queue_get(q, &item), -ESHUTDOWN);
    uco_queue_free(q);
    return 0;
}

START_TEST(a_cancelled_caller_does_not_learn_of_a_shutdown)
{
    run_in_all_orders(end_main, NULL);
}
END_TEST

static intptr_t
nobody_puts_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    int item = 7, r = uco_queue_get(q, &item);

    (void) arg;
    ck_assert_int_eq(item, 7);
    uco_queue_free(q);
    return r;
}

START_TEST(a_getter_whom_nobody_can_serve_is_a_deadlock)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    if (count_threads() > 1)
        return; /* ThreadSanitizer has a thread; for all the loop knows, it could put something in */
    ck_assert_int_eq(uco_run_with(&options, nobody_puts_main, NULL), -EDEADLK);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "queue"));
}
END_TEST

/* --- timeouts --- */

static intptr_t
timed_get(void *arg)
{
    int item;

    return uco_queue_get(arg, &item);
}

static intptr_t
timed_put(void *arg)
{
    int item = 7;

    return uco_queue_put(arg, &item);
}

static intptr_t
timed_join(void *arg)
{
    return uco_queue_join(arg);
}

static intptr_t
timeout_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(1.0, timed_get, q), -ETIMEDOUT);
    put_now(q, 1);
    ck_assert_int_eq(uco_with_timeout(1.0, timed_put, q), -ETIMEDOUT);
    ck_assert_int_eq(uco_with_timeout(1.0, timed_join, q), -ETIMEDOUT);
    ck_assert_double_eq_tol(uco_time(), 3.0, 1e-6);
    get_now(q, 1);
    ck_assert_int_eq(uco_queue_task_done(q), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, timed_put, q), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, timed_get, q), 0);
    ck_assert_double_eq_tol(uco_time(), 3.0, 1e-6);
    uco_queue_free(q);
    return 0;
}

START_TEST(each_wait_can_time_out_and_the_queue_stays_usable)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

/* On the manual clock, which a test may move in the middle of a step. */
static void
run_manual_in_all_orders(uco_fn *fn)
{
    for (uint64_t seed = 0; seed <= 200; seed++) {
        uco_loop_options options = {.clock = UCO_CLOCK_MANUAL, .seed = seed};

        ck_assert_int_eq(uco_run_with(&options, fn, NULL), 0);
    }
}

static intptr_t
get_within_1s(void *arg)
{
    struct call *call = arg;
    uco_scope s;
    int r;

    ck_assert_int_eq(uco_scope_open(&s, 1.0), 0);
    r = uco_queue_get(call->queue, &call->item);
    call->next = uco_yield();
    return uco_scope_close(&s, r);
}

static void
pass_a_second(void)
{
    ck_assert(!isnan(uco_test_advance(uco_get_running_loop(), 1.0)));
}

static intptr_t
same_turn_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter;

    (void) arg;
    call_start(&getter, get_within_1s, q, -1);
    put_now(q, 1);
    pass_a_second();
    call_ends(&getter, 0, -ECANCELED);
    ck_assert_int_eq(getter.item, 1);
    call_start(&getter, get_within_1s, q, -1);
    pass_a_second();
    put_now(q, 2);
    call_ends(&getter, -ETIMEDOUT, -ECANCELED);
    ck_assert_int_eq(getter.item, -1);
    get_now(q, 2);
    uco_queue_free(q);
    return 0;
}

/*  main              | getter           main                | getter
 *                    | waits                                | waits
 *  put: hands over   |                  a second: expires   |
 *  a second: expires |                  put: stays          |
 *                    | has the item                         | -ETIMEDOUT
 */
START_TEST(an_item_and_an_expiry_in_the_same_step_happen_in_their_order)
{
    run_manual_in_all_orders(same_turn_main);
}
END_TEST

static size_t
allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static intptr_t
many_timeouts_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    size_t before = 0;

    (void) arg;
    for (int i = 0; i < scaled(100000) + 100; i++) {
        if (i == 100)
            before = allocated();
        ck_assert_int_eq(uco_with_timeout(0.001, timed_get, q), -ETIMEDOUT);
    }
    put_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 1);
    for (int i = 0; i < scaled(100000); i++)
        ck_assert_int_eq(uco_with_timeout(0.001, timed_put, q), -ETIMEDOUT);
    get_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    ck_assert_uint_le(allocated(), before + 4096);
    uco_queue_free(q);
    return 0;
}

/* QU7: who has timed out is not kept in the lists. */
START_TEST(a_hundred_thousand_timeouts_leave_nothing_behind)
{
    ck_assert_int_eq(run_virtual(many_timeouts_main, NULL), 0);
}
END_TEST

static void
add_cancellation(Suite *suite)
{
    TCase *tc = case_new(suite, "cancellation");

    tcase_add_test(tc, a_cancelled_getter_leaves_the_items_to_the_others);
    tcase_add_test(tc, a_cancelled_putter_leaves_the_place_to_the_next);
    tcase_add_test(tc, all_who_wait_can_be_cancelled_in_any_order);
    tcase_add_test(tc, a_getter_that_was_handed_an_item_keeps_it_when_cancelled);
    tcase_add_test(tc, a_putter_whose_item_got_in_has_put_it_when_cancelled);
    tcase_add_test(tc, who_is_cancelled_first_is_handed_nothing);
    tcase_add_test(tc, a_joiner_whose_items_were_done_returns_0_when_cancelled);
    tcase_add_test(tc, what_was_put_is_got_or_queued_whatever_expires);
    tcase_add_test(tc, in_a_cancelled_scope_also_what_could_be_done_is_not);
    tcase_add_test(tc, what_does_not_suspend_is_no_cancellation_point);
    tcase_add_test(tc, a_call_that_lets_others_run_does_nothing_when_they_cancel_it);
    tcase_add_test(tc, a_cancelled_caller_does_not_learn_of_a_shutdown);
    tcase_add_test(tc, a_getter_whom_nobody_can_serve_is_a_deadlock);
}

static void
add_timeouts(Suite *suite)
{
    TCase *tc = case_new(suite, "timeouts");

    tcase_add_test(tc, each_wait_can_time_out_and_the_queue_stays_usable);
    tcase_add_test(tc, an_item_and_an_expiry_in_the_same_step_happen_in_their_order);
    tcase_add_test(tc, a_hundred_thousand_timeouts_leave_nothing_behind);
}

int
main(void)
{
    Suite *suite = suite_create("queue cancel");

    add_cancellation(suite);
    add_timeouts(suite);
    return suite_end(suite);
}
