/* SPDX-License-Identifier: MIT */

/*
 * How a queue ends: marking items done and waiting for that, the shutdown, and freeing.
 */

#include "sync/queue_calls.h"

static void
done(uco_queue *q)
{
    ck_assert_int_eq(uco_queue_task_done(q), 0);
}

static void
shut_down(uco_queue *q, bool immediate)
{
    ck_assert_int_eq(uco_queue_shutdown(q, immediate), 0);
}

/* Shut down and empty: each call says so, as often as it is asked. */
static void
check_ended(uco_queue *q)
{
    int item = 7;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_queue_put(q, &item), -ESHUTDOWN);
        ck_assert_int_eq(uco_queue_get(q, &item), -ESHUTDOWN);
        ck_assert_int_eq(uco_queue_put_nowait(q, &item), -ESHUTDOWN);
        ck_assert_int_eq(uco_queue_get_nowait(q, &item), -ESHUTDOWN);
        ck_assert_int_eq(uco_queue_put_threadsafe(q, &item), -ESHUTDOWN);
    }
    ck_assert_int_eq(item, 7);
    ck_assert_uint_eq(uco_queue_size(q), 0);
}

/* --- done and join --- */

/* QU9: no more can be marked done than were put. */
START_TEST(task_done_more_often_than_put_is_refused)
{
    uco_queue *q = queue_of_ints(0);

    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    for (int i = 0; i < 3; i++)
        put_now(q, i);
    for (int i = 0; i < 3; i++) {
        get_now(q, i);
        done(q);
    }
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    put_now(q, 1);
    done(q);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    uco_queue_free(q);
}
END_TEST

static intptr_t
join_empty_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);

    (void) arg;
    ck_assert_int_eq(uco_queue_join(q), 0);
    ck_assert_int_eq(uco_queue_join(q), 0);
    put_now(q, 1);
    get_now(q, 1);
    done(q);
    ck_assert_int_eq(uco_queue_join(q), 0);
    uco_queue_free(q);
    return 0;
}

/* QU9: with nothing to be done join returns at once. */
START_TEST(join_returns_at_once_when_there_is_nothing_to_be_done)
{
    run_in_all_orders(join_empty_main, NULL);
}
END_TEST

struct work {
    uco_queue *queue;
    int done;
};

static intptr_t
worker(void *arg)
{
    struct work *work = arg;
    int item;

    while (uco_queue_get(work->queue, &item) == 0) {
        uco_sleep(item * 0.1);
        work->done++;
        done(work->queue);
    }
    return 0;
}

static intptr_t
workers_main(void *arg)
{
    struct work work = {.queue = queue_of_ints(3)};
    uco_task *workers[2];

    (void) arg;
    for (int i = 0; i < 2; i++)
        workers[i] = uco_create_task(worker, &work);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(uco_queue_put(work.queue, &(int){i % 3}), 0);
    ck_assert_int_eq(uco_queue_join(work.queue), 0);
    ck_assert_int_eq(work.done, 20);
    shut_down(work.queue, false);
    ck_assert_int_eq(uco_gather(workers, 2, NULL), 0);
    uco_unref_all(workers, 2);
    uco_queue_free(work.queue);
    return 0;
}

/* QU9: join waits until all were marked done, not just fetched. */
START_TEST(join_waits_until_the_workers_have_done_everything)
{
    run_in_all_orders(workers_main, NULL);
}
END_TEST

static intptr_t
several_joiners_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter, joiners[3];

    (void) arg;
    call_start(&getter, get_once, q, -1);
    put_now(q, 1);
    put_now(q, 2);
    for (int i = 0; i < 3; i++)
        call_start(&joiners[i], join_once, q, 0);
    call_ends(&getter, 0, 0);
    done(q);
    get_now(q, 2);
    ck_assert_int_eq(uco_test_settle(), 0);
    for (int i = 0; i < 3; i++)
        ck_assert(!uco_done(joiners[i].task));
    done(q);
    for (int i = 0; i < 3; i++)
        call_ends(&joiners[i], 0, 0);
    uco_queue_free(q);
    return 0;
}

/* An item that went to a waiting getter was put in as well. */
START_TEST(all_joiners_return_when_the_last_item_is_done)
{
    run_in_all_orders(several_joiners_main, NULL);
}
END_TEST

static intptr_t
waiting_putter_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call putter, joiner;

    (void) arg;
    put_now(q, 1);
    call_start(&putter, put_once, q, 2);
    call_start(&joiner, join_once, q, 0);
    done(q);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    call_ends(&joiner, 0, 0);
    get_now(q, 1);
    call_start(&joiner, join_once, q, 0);
    ck_assert(!uco_done(joiner.task));
    done(q);
    call_ends(&joiner, 0, 0);
    call_ends(&putter, 0, 0);
    uco_queue_free(q);
    return 0;
}

START_TEST(the_item_of_a_putter_that_waits_has_not_been_put)
{
    run_in_all_orders(waiting_putter_main, NULL);
}
END_TEST

/* --- shutdown --- */

static intptr_t
shutdown_empty_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    bool immediate = *(bool *) arg;
    struct call getters[2];

    for (int i = 0; i < 2; i++)
        call_start(&getters[i], get_once, q, -1);
    shut_down(q, immediate);
    for (int i = 0; i < 2; i++) {
        call_ends(&getters[i], -ESHUTDOWN, 0);
        ck_assert_int_eq(getters[i].item, -1);
    }
    check_ended(q);
    ck_assert_int_eq(uco_queue_join(q), 0);
    uco_queue_free(q);
    return 0;
}

/* QU10: who waits for an item of an empty queue learns that none will come. */
START_TEST(a_shutdown_ends_the_waits_of_getters)
{
    run_in_all_orders(shutdown_empty_main, &(bool){false});
    run_in_all_orders(shutdown_empty_main, &(bool){true});
}
END_TEST

static intptr_t
shutdown_full_main(void *arg)
{
    uco_queue *q = queue_of_ints(2);
    struct call putters[2];
    int item = -1;

    (void) arg;
    put_now(q, 1);
    put_now(q, 2);
    for (int i = 0; i < 2; i++)
        call_start(&putters[i], put_once, q, 3 + i);
    shut_down(q, false);
    ck_assert_int_eq(uco_queue_put(q, &item), -ESHUTDOWN);
    ck_assert_int_eq(uco_queue_get(q, &item), 0);
    ck_assert_int_eq(item, 1);
    for (int i = 0; i < 2; i++)
        call_ends(&putters[i], -ESHUTDOWN, 0);
    get_now(q, 2);
    check_ended(q);
    uco_queue_free(q);
    return 0;
}

/* QU10: blocked putters fail; what is queued can still be fetched, and then no more. */
START_TEST(after_a_shutdown_what_is_queued_can_still_be_fetched)
{
    run_in_all_orders(shutdown_full_main, NULL);
}
END_TEST

static intptr_t
shutdown_immediate_main(void *arg)
{
    uco_queue *q = queue_of_ints(2);
    struct call putter, joiner;

    (void) arg;
    put_now(q, 1);
    put_now(q, 2);
    call_start(&putter, put_once, q, 3);
    call_start(&joiner, join_once, q, 0);
    shut_down(q, true);
    check_ended(q);
    call_ends(&putter, -ESHUTDOWN, 0);
    call_ends(&joiner, 0, 0);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    uco_queue_free(q);
    return 0;
}

START_TEST(an_immediate_shutdown_drops_what_is_queued_and_counts_it_as_done)
{
    run_in_all_orders(shutdown_immediate_main, NULL);
}
END_TEST

static intptr_t
fetched_before_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call joiner;

    (void) arg;
    for (int i = 0; i < 5; i++)
        put_now(q, i);
    get_now(q, 0);
    get_now(q, 1);
    call_start(&joiner, join_once, q, 0);
    shut_down(q, true);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert(!uco_done(joiner.task));
        done(q);
    }
    call_ends(&joiner, 0, 0);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    uco_queue_free(q);
    return 0;
}

START_TEST(items_fetched_before_an_immediate_shutdown_still_need_to_be_done)
{
    run_in_all_orders(fetched_before_main, NULL);
}
END_TEST

static intptr_t
join_after_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call joiner;

    (void) arg;
    put_now(q, 1);
    put_now(q, 2);
    shut_down(q, false);
    call_start(&joiner, join_once, q, 0);
    get_now(q, 1);
    done(q);
    get_now(q, 2);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(joiner.task));
    done(q);
    call_ends(&joiner, 0, 0);
    ck_assert_int_eq(uco_queue_join(q), 0);
    uco_queue_free(q);
    return 0;
}

START_TEST(join_also_works_after_a_shutdown)
{
    run_in_all_orders(join_after_main, NULL);
}
END_TEST

static intptr_t
early_done_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);

    (void) arg;
    for (int i = 0; i < 3; i++)
        put_now(q, i);
    done(q);
    done(q);
    shut_down(q, true);
    ck_assert_int_eq(uco_queue_join(q), 0);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    uco_queue_free(q);
    return 0;
}

START_TEST(what_was_marked_before_it_was_fetched_is_not_counted_twice_when_dropped)
{
    run_in_all_orders(early_done_main, NULL);
}
END_TEST

static intptr_t
twice_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);

    (void) arg;
    put_now(q, 1);
    put_now(q, 2);
    shut_down(q, false);
    shut_down(q, false);
    ck_assert_uint_eq(uco_queue_size(q), 2);
    shut_down(q, true);
    check_ended(q);
    ck_assert_int_eq(uco_queue_join(q), 0);
    shut_down(q, true);
    shut_down(q, false);
    check_ended(q);
    uco_queue_free(q);
    return 0;
}

START_TEST(a_second_shutdown_may_drop_what_the_first_one_left)
{
    run_in_all_orders(twice_main, NULL);
}
END_TEST

START_TEST(a_queue_can_be_shut_down_outside_of_a_loop)
{
    uco_queue *q = uco_queue_new_lifo(sizeof(int), 2);
    int item = 3;

    put_now(q, 1);
    put_now(q, 2);
    shut_down(q, false);
    ck_assert_int_eq(uco_queue_put_nowait(q, &item), -ESHUTDOWN);
    get_now(q, 2);
    get_now(q, 1);
    ck_assert_int_eq(uco_queue_get_nowait(q, &item), -ESHUTDOWN);
    uco_queue_free(q);
}
END_TEST

static intptr_t
produce(void *arg)
{
    int item = 0;

    while (uco_queue_put(arg, &item) == 0)
        item++;
    return item;
}

static intptr_t
consume(void *arg)
{
    int item, n = 0;

    while (uco_queue_get(arg, &item) == 0)
        n++;
    return n;
}

static intptr_t
pipeline_main(void *arg)
{
    uco_queue *q = queue_of_ints(3);
    uco_task *tasks[6];
    intptr_t counts[6];

    (void) arg;
    for (int i = 0; i < 6; i++)
        tasks[i] = uco_create_task(i % 2 == 0 ? produce : consume, q);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(uco_yield(), 0);
    shut_down(q, false);
    ck_assert_int_eq(uco_gather(tasks, 6, counts), 0);
    ck_assert_int_gt(counts[0] + counts[2] + counts[4], 0);
    ck_assert_int_eq(counts[0] + counts[2] + counts[4], counts[1] + counts[3] + counts[5]);
    uco_unref_all(tasks, 6);
    uco_queue_free(q);
    return 0;
}

/* QU13: closing ends the senders at once, and the receivers when they have everything. */
START_TEST(a_shutdown_ends_producers_and_consumers_and_loses_nothing)
{
    run_in_all_orders(pipeline_main, NULL);
}
END_TEST

static intptr_t
granted_then_shutdown_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct call getter, putter, joiner;

    (void) arg;
    put_now(b, 2);
    call_start(&getter, get_once, a, -1);
    call_start(&putter, put_once, b, 3);
    call_start(&joiner, join_once, b, 0);
    put_now(a, 1);
    get_now(b, 2);
    shut_down(a, true);
    shut_down(b, true);
    call_gets(&getter, 1);
    call_ends(&putter, 0, 0);
    done(a);
    ck_assert_int_eq(uco_queue_task_done(a), -EINVAL);
    ck_assert(!uco_done(joiner.task));
    done(b);
    call_ends(&joiner, 0, 0);
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

/*  main                     | getter of a | putter to b | joiner of b
 *                           | waits       | 3: waits    | waits
 *  put 1 to a: hands over   |             |             |
 *  get 2 from b: 3 is in    |             |             |
 *  shut both down, drops 3  |             |             |
 *                           | has 1       | 0           |
 *  2 is done                |             |             | 0
 */
START_TEST(what_was_handed_over_before_a_shutdown_is_kept)
{
    run_in_all_orders(granted_then_shutdown_main, NULL);
}
END_TEST

static intptr_t
shutdown_and_cancel_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call before, after;

    (void) arg;
    call_start(&before, get_once, q, -1);
    call_start(&after, get_once, q, -1);
    ck_assert_int_eq(uco_cancel(before.task), 0);
    shut_down(q, false);
    ck_assert_int_eq(uco_cancel(after.task), 0);
    call_ends(&before, -ECANCELED, -ECANCELED);
    call_ends(&after, -ESHUTDOWN, -ECANCELED);
    uco_queue_free(q);
    return 0;
}

/*  main           | getter before | getter after
 *                 | waits         | waits
 *  cancel before  |               |
 *  shut down      |               |
 *  cancel after   |               |
 *                 | -ECANCELED    | -ESHUTDOWN, the next call -ECANCELED
 */
START_TEST(a_shutdown_and_a_cancellation_in_the_same_step_happen_in_their_order)
{
    run_in_all_orders(shutdown_and_cancel_main, NULL);
}
END_TEST

/* --- free --- */

static intptr_t
free_main(void *arg)
{
    uco_queue *full = queue_of_ints(1), *empty = queue_of_ints(1);
    struct call getters[2], putters[2], joiners[2];

    (void) arg;
    put_now(full, 1);
    for (int i = 0; i < 2; i++) {
        call_start(&getters[i], get_once, empty, -1);
        call_start(&putters[i], put_once, full, 2);
        call_start(&joiners[i], join_once, full, 0);
    }
    uco_queue_free(full);
    uco_queue_free(empty);
    for (int i = 0; i < 2; i++) {
        call_ends(&getters[i], -ESHUTDOWN, 0);
        ck_assert_int_eq(getters[i].item, -1);
        call_ends(&putters[i], -ESHUTDOWN, 0);
        call_ends(&joiners[i], -ESHUTDOWN, 0);
    }
    return 0;
}

START_TEST(freeing_a_queue_ends_every_wait_for_it)
{
    run_in_all_orders(free_main, NULL);
}
END_TEST

static intptr_t
granted_then_freed_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct call getter, cancelled, putter, joiner;

    (void) arg;
    put_now(b, 2);
    call_start(&getter, get_once, a, -1);
    call_start(&cancelled, get_once, a, -1);
    call_start(&putter, put_once, b, 3);
    call_start(&joiner, join_once, b, 0);
    put_now(a, 1);
    call_cancel(&cancelled);
    done(b);
    get_now(b, 2);
    uco_queue_free(a);
    uco_queue_free(b);
    call_gets(&getter, 1);
    call_ends(&cancelled, -ECANCELED, -ECANCELED);
    call_ends(&putter, 0, 0);
    call_ends(&joiner, 0, 0);
    return 0;
}

/*  main                    | getter of a | another    | putter to b | joiner of b
 *                          | waits       | waits      | 3: waits    | waits
 *  put 1 to a: hands over  |             |            |             |
 *  cancel the other        |             |            |             |
 *  all of b's is done      |             |            |             |
 *  get 2 from b: 3 is in   |             |            |             |
 *  free both               |             |            |             |
 *                          | has 1       | -ECANCELED | 0           | 0
 */
START_TEST(what_was_decided_before_a_queue_was_freed_stays)
{
    run_in_all_orders(granted_then_freed_main, NULL);
}
END_TEST

static void
callback_free(void *arg)
{
    uco_queue_free(arg);
}

static intptr_t
callback_free_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter;

    (void) arg;
    call_start(&getter, get_once, q, -1);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_free, q), 0);
    call_ends(&getter, -ESHUTDOWN, 0);
    return 0;
}

START_TEST(a_callback_may_free_a_queue)
{
    run_in_all_orders(callback_free_main, NULL);
}
END_TEST

static intptr_t
left_waiting_main(void *arg)
{
    static struct call getter;

    call_start(&getter, get_once, *(uco_queue **) arg, -1);
    uco_unref(getter.task);
    return 0;
}

START_TEST(a_queue_outlives_its_loop)
{
    uco_queue *q = queue_of_ints(0);

    ck_assert_int_eq(run_virtual(left_waiting_main, &q), 0);
    put_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 1);
    get_now(q, 1);
    done(q);
    put_now(q, 2);
    uco_queue_free(q);
    uco_queue_free(NULL);
}
END_TEST

static void
add_join(Suite *suite)
{
    TCase *tc = case_new(suite, "join");

    tcase_add_test(tc, task_done_more_often_than_put_is_refused);
    tcase_add_test(tc, join_returns_at_once_when_there_is_nothing_to_be_done);
    tcase_add_test(tc, join_waits_until_the_workers_have_done_everything);
    tcase_add_test(tc, all_joiners_return_when_the_last_item_is_done);
    tcase_add_test(tc, the_item_of_a_putter_that_waits_has_not_been_put);
}

static void
add_shutdown(Suite *suite)
{
    TCase *tc = case_new(suite, "shutdown");

    tcase_add_test(tc, a_shutdown_ends_the_waits_of_getters);
    tcase_add_test(tc, after_a_shutdown_what_is_queued_can_still_be_fetched);
    tcase_add_test(tc, an_immediate_shutdown_drops_what_is_queued_and_counts_it_as_done);
    tcase_add_test(tc, items_fetched_before_an_immediate_shutdown_still_need_to_be_done);
    tcase_add_test(tc, join_also_works_after_a_shutdown);
    tcase_add_test(tc, what_was_marked_before_it_was_fetched_is_not_counted_twice_when_dropped);
    tcase_add_test(tc, a_second_shutdown_may_drop_what_the_first_one_left);
    tcase_add_test(tc, a_queue_can_be_shut_down_outside_of_a_loop);
    tcase_add_test(tc, a_shutdown_ends_producers_and_consumers_and_loses_nothing);
    tcase_add_test(tc, what_was_handed_over_before_a_shutdown_is_kept);
    tcase_add_test(tc, a_shutdown_and_a_cancellation_in_the_same_step_happen_in_their_order);
}

static void
add_free(Suite *suite)
{
    TCase *tc = case_new(suite, "free");

    tcase_add_test(tc, freeing_a_queue_ends_every_wait_for_it);
    tcase_add_test(tc, what_was_decided_before_a_queue_was_freed_stays);
    tcase_add_test(tc, a_callback_may_free_a_queue);
    tcase_add_test(tc, a_queue_outlives_its_loop);
}

int
main(void)
{
    Suite *suite = suite_create("queue shutdown");

    add_join(suite);
    add_shutdown(suite);
    add_free(suite);
    return suite_end(suite);
}
