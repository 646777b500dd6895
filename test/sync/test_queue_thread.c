/* SPDX-License-Identifier: MIT */

/*
 * Items that other threads put in: each once, in the order of each thread, past the capacity, and
 * none lost when the queue or its loop ends.
 */

#include "sync/queue_calls.h"

#include <stdatomic.h>

#define THREADS 4

struct numbered {
    int thread;
    int serial;
};

/* Threads that put items in until they have put `each`, or are refused. */
struct flood {
    uco_queue *queue;
    int each;
    atomic_int number;   /* of the next thread */
    atomic_int accepted; /* by all */
    int next[THREADS];   /* the serial that must come next from each */
    int received;
};

static void *
flood_put(void *arg)
{
    struct flood *flood = arg;
    struct numbered item = {.thread = atomic_fetch_add(&flood->number, 1)};
    int r = 0;

    for (; item.serial < flood->each; item.serial++) {
        r = uco_queue_put_threadsafe(flood->queue, &item);
        if (r < 0)
            break;
        atomic_fetch_add(&flood->accepted, 1);
    }
    ck_assert(r == 0 || r == -ESHUTDOWN);
    return NULL;
}

static void
flood_start(struct flood *flood, pthread_t threads[])
{
    for (int i = 0; i < THREADS; i++)
        threads[i] = thread_start(flood_put, flood);
}

static void
flood_ends(pthread_t threads[])
{
    for (int i = 0; i < THREADS; i++)
        thread_ends(threads[i]);
}

static void
flood_check(struct flood *flood, const struct numbered *item)
{
    if (item->serial != flood->next[item->thread]++)
        ck_abort_msg("item %d of thread %d is out of order", item->serial, item->thread);
    flood->received++;
}

static uco_queue *
queue_of_numbered(size_t capacity)
{
    uco_queue *q = uco_queue_new(sizeof(struct numbered), capacity);

    ck_assert_ptr_nonnull(q);
    return q;
}

static intptr_t
four_threads_main(void *arg)
{
    struct flood *flood = arg;
    pthread_t threads[THREADS];
    struct numbered item;

    flood_start(flood, threads);
    for (int i = 0; i < THREADS * flood->each; i++) {
        int r = uco_queue_get(flood->queue, &item);

        if (r == 0)
            r = uco_queue_task_done(flood->queue);
        if (r < 0)
            return r;
        flood_check(flood, &item);
    }
    flood_ends(threads);
    ck_assert_int_eq(uco_queue_get_nowait(flood->queue, &item), -EAGAIN);
    ck_assert_int_eq(uco_queue_join(flood->queue), 0);
    return 0;
}

START_TEST(items_of_four_threads_arrive_once_in_each_ones_order)
{
    for (size_t capacity = 0; capacity <= 1; capacity++) {
        struct flood flood = {.queue = queue_of_numbered(capacity), .each = scaled(100000)};

        ck_assert_int_eq(run_real(four_threads_main, &flood), 0);
        ck_assert_int_eq(atomic_load(&flood.accepted), flood.received);
        uco_queue_free(flood.queue);
    }
}
END_TEST

struct consumers {
    struct flood flood;
    uco_queue *second; /* of the same loop, bounded: what the first stage passes on */
};

static intptr_t
pass_on(void *arg)
{
    struct consumers *c = arg;
    struct numbered item;

    while (uco_queue_get(c->flood.queue, &item) == 0)
        ck_assert_int_eq(uco_queue_put(c->second, &item), 0);
    return 0;
}

static intptr_t
two_stages_main(void *arg)
{
    struct consumers *c = arg;
    pthread_t threads[THREADS];
    uco_task *stage = uco_create_task(pass_on, c);
    struct numbered item;

    flood_start(&c->flood, threads);
    while (c->flood.received < THREADS * c->flood.each) {
        ck_assert_int_eq(uco_queue_get(c->second, &item), 0);
        flood_check(&c->flood, &item);
    }
    flood_ends(threads);
    ck_assert_int_eq(uco_queue_shutdown(c->flood.queue, false), 0);
    return uco_join(stage);
}

START_TEST(what_threads_put_in_passes_through_a_chain_of_queues)
{
    struct consumers c = {.flood = {.queue = queue_of_numbered(2), .each = scaled(20000)},
                          .second = queue_of_numbered(2)};

    ck_assert_int_eq(run_real(two_stages_main, &c), 0);
    uco_queue_free(c.flood.queue);
    uco_queue_free(c.second);
}
END_TEST

/* --- one thread at a time --- */

static intptr_t
past_capacity_main(void *arg)
{
    uco_queue *q = queue_of_ints(2);
    struct call putter;
    int item = 7;

    (void) arg;
    put_from_thread(q, 0, 10, 0);
    ck_assert_uint_eq(uco_queue_size(q), 10);
    ck_assert_int_eq(uco_queue_put_nowait(q, &item), -EAGAIN);
    call_start(&putter, put_once, q, 10);
    for (int i = 0; i < 8; i++)
        get_now(q, i);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(putter.task));
    get_now(q, 8);
    call_ends(&putter, 0, 0);
    get_now(q, 9);
    get_now(q, 10);
    uco_queue_free(q);
    return 0;
}

START_TEST(threads_put_past_the_capacity_and_tasks_wait_until_there_is_room)
{
    run_in_all_orders(past_capacity_main, NULL);
}
END_TEST

static intptr_t
waiting_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call getters[3], joiner;

    (void) arg;
    for (int i = 0; i < 3; i++)
        call_start(&getters[i], get_once, q, -1);
    put_from_thread(q, 0, 4, 0);
    for (int i = 0; i < 3; i++)
        call_gets(&getters[i], i);
    call_start(&joiner, join_once, q, 0);
    for (int i = 0; i < 4; i++) {
        ck_assert(!uco_done(joiner.task));
        ck_assert_int_eq(uco_queue_task_done(q), 0);
    }
    call_ends(&joiner, 0, 0);
    get_now(q, 3);
    uco_queue_free(q);
    return 0;
}

START_TEST(getters_and_joiners_know_items_of_other_threads_like_others)
{
    run_in_all_orders(waiting_main, NULL);
}
END_TEST

static intptr_t
getter_of_a_thread_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct batch batch = {q, 5, 1, 0};
    struct call getter;
    pthread_t thread;

    (void) arg;
    call_start(&getter, get_once, q, -1);
    thread = thread_start(batch_put, &batch);
    call_gets(&getter, 5);
    thread_ends(thread);
    uco_queue_free(q);
    return 0;
}

START_TEST(an_item_wakes_a_loop_that_sleeps)
{
    for (int i = 0; i < scaled(200); i++)
        ck_assert_int_eq(run_real(getter_of_a_thread_main, NULL), 0);
}
END_TEST

static intptr_t
kinds_main(void *arg)
{
    uco_queue *lifo = uco_queue_new_lifo(sizeof(int), 1);
    uco_queue *priority = uco_queue_new_priority(sizeof(int), 1, compare_ints);

    (void) arg;
    put_now(lifo, 9);
    put_now(priority, 9);
    put_from_thread(lifo, 1, 3, 0);
    put_from_thread(priority, 8, 3, 0);
    for (int i = 0; i < 4; i++) {
        get_now(lifo, i < 3 ? 3 - i : 9);
        get_now(priority, (int[]){8, 9, 9, 10}[i]);
    }
    uco_queue_free(lifo);
    uco_queue_free(priority);
    return 0;
}

START_TEST(items_of_threads_take_their_rank)
{
    run_in_all_orders(kinds_main, NULL);
}
END_TEST

static intptr_t
own_thread_main(void *arg)
{
    uco_queue *q = queue_of_ints(2);
    struct call getter;

    (void) arg;
    ck_assert_int_eq(uco_queue_put_threadsafe(q, &(int){1}), 0);
    put_now(q, 2);
    ck_assert_int_eq(uco_queue_put_threadsafe(q, &(int){3}), 0);
    for (int i = 1; i <= 3; i++)
        get_now(q, i);
    call_start(&getter, get_once, q, -1);
    ck_assert_int_eq(uco_queue_put_threadsafe(q, &(int){4}), 0);
    call_gets(&getter, 4);
    uco_queue_free(q);
    return 0;
}

START_TEST(the_loops_own_thread_puts_in_order_whichever_call_it_uses)
{
    run_in_all_orders(own_thread_main, NULL);
}
END_TEST

/* --- shutdown and free --- */

static intptr_t
shutdown_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    int item = 7;

    (void) arg;
    put_from_thread(q, 0, 3, 0);
    ck_assert_int_eq(uco_queue_shutdown(q, false), 0);
    put_from_thread(q, 3, 1, -ESHUTDOWN);
    for (int i = 0; i < 3; i++)
        get_now(q, i);
    ck_assert_int_eq(uco_queue_get(q, &item), -ESHUTDOWN);
    uco_queue_free(q);
    return 0;
}

START_TEST(what_was_accepted_before_a_shutdown_is_not_lost)
{
    run_in_all_orders(shutdown_main, NULL);
}
END_TEST

static intptr_t
immediate_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter;
    int item = 7;

    (void) arg;
    put_from_thread(q, 0, 3, 0);
    ck_assert_int_eq(uco_queue_shutdown(q, true), 0);
    put_from_thread(q, 3, 1, -ESHUTDOWN);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    ck_assert_int_eq(uco_queue_get(q, &item), -ESHUTDOWN);
    ck_assert_int_eq(uco_queue_join(q), 0);
    uco_queue_free(q);
    q = queue_of_ints(1);
    call_start(&getter, get_once, q, -1);
    put_from_thread(q, 5, 2, 0);
    ck_assert_int_eq(uco_queue_shutdown(q, true), 0);
    call_gets(&getter, 5);
    ck_assert_int_eq(uco_queue_task_done(q), 0);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    uco_queue_free(q);
    return 0;
}

/* Also one that has not arrived: it goes to who waits, or counts as queued. */
START_TEST(an_immediate_shutdown_drops_what_was_accepted_and_not_fetched)
{
    run_in_all_orders(immediate_main, NULL);
}
END_TEST

static intptr_t
shutdown_in_flood_main(void *arg)
{
    struct flood *flood = arg;
    pthread_t threads[THREADS];
    struct numbered item;

    flood_start(flood, threads);
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(uco_queue_get(flood->queue, &item), 0);
        flood_check(flood, &item);
    }
    ck_assert_int_eq(uco_queue_shutdown(flood->queue, false), 0);
    while (uco_queue_get(flood->queue, &item) == 0)
        flood_check(flood, &item);
    flood_ends(threads);
    ck_assert_int_eq(atomic_load(&flood->accepted), flood->received);
    return 0;
}

START_TEST(a_shutdown_amid_a_flood_loses_nothing_that_was_accepted)
{
    for (int i = 0; i < scaled(40); i++) {
        struct flood flood = {.queue = queue_of_numbered(1), .each = 20000};

        ck_assert_int_eq(run_real(shutdown_in_flood_main, &flood), 0);
        uco_queue_free(flood.queue);
    }
}
END_TEST

static intptr_t
free_in_flight_main(void *arg)
{
    struct call getter;

    (void) arg;
    for (int i = 0; i < 20; i++) {
        uco_queue *q = queue_of_ints(0), *next;

        call_start(&getter, get_once, q, -1);
        put_from_thread(q, 1, 3, 0);
        uco_queue_free(q);
        next = queue_of_ints(0);
        call_gets(&getter, 1);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_uint_eq(uco_queue_size(next), 0);
        uco_queue_free(next);
    }
    return 0;
}

/* What was accepted goes to who waits, as always; the rest is dropped. */
START_TEST(a_queue_can_be_freed_while_items_are_on_their_way)
{
    run_in_all_orders(free_in_flight_main, NULL);
}
END_TEST

/* --- before, between and after the runs of a loop --- */

static intptr_t
get_two_main(void *arg)
{
    int item = -1;

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_queue_get(arg, &item), 0);
        ck_assert_int_eq(item, i);
    }
    return 0;
}

START_TEST(threads_can_put_before_any_loop_runs)
{
    uco_queue *q = queue_of_ints(1);

    put_from_thread(q, 0, 2, 0);
    ck_assert_uint_eq(uco_queue_size(q), 2);
    ck_assert_int_eq(run_virtual(get_two_main, q), 0);
    uco_queue_free(q);
    q = queue_of_ints(1);
    put_from_thread(q, 5, 1, 0);
    get_now(q, 5);
    put_from_thread(q, 6, 1, 0);
    uco_queue_free(q);
}
END_TEST

static intptr_t
first_use_main(void *arg)
{
    return uco_queue_join(arg);
}

START_TEST(threads_can_put_while_the_loop_does_not_run)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_queue *q = queue_of_ints(1);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, first_use_main, q), 0);
    put_from_thread(q, 0, 2, 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, get_two_main, q), 0);
    put_from_thread(q, 3, 2, 0);
    get_now(q, 3);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    put_from_thread(q, 5, 1, -ESHUTDOWN);
    get_now(q, 4);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    uco_queue_free(q);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(a_queue_with_an_item_in_flight_outlives_its_loop)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_queue *kept = queue_of_ints(0), *freed = queue_of_ints(0);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, first_use_main, kept), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, first_use_main, freed), 0);
    put_from_thread(kept, 0, 1, 0);
    put_from_thread(freed, 0, 1, 0);
    uco_queue_free(freed);
    uco_loop_unref(loop);
    get_now(kept, 0);
    put_from_thread(kept, 1, 1, -ESHUTDOWN);
    uco_queue_free(kept);
}
END_TEST

static void
callback_of_the_close(void *arg)
{
    ck_assert_int_eq(uco_queue_put_threadsafe(arg, &(int){1}), -ESHUTDOWN);
    put_from_thread(arg, 1, 1, -ESHUTDOWN);
    put_now(arg, 2);
}

START_TEST(threads_are_refused_from_the_start_of_the_loops_close)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_queue *q = queue_of_ints(0);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, first_use_main, q), 0);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, callback_of_the_close, q), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    get_now(q, 2);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    uco_queue_free(q);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
leave_in_flood_main(void *arg)
{
    struct flood *flood = arg;
    struct numbered item;

    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(uco_queue_get(flood->queue, &item), 0);
        flood_check(flood, &item);
    }
    return 0;
}

START_TEST(the_loops_close_amid_a_flood_loses_nothing_that_was_accepted)
{
    for (int i = 0; i < scaled(40); i++) {
        struct flood flood = {.queue = queue_of_numbered(0), .each = 20000};
        pthread_t threads[THREADS];
        struct numbered item;

        flood_start(&flood, threads);
        ck_assert_int_eq(run_real(leave_in_flood_main, &flood), 0);
        flood_ends(threads);
        while (uco_queue_get_nowait(flood.queue, &item) == 0)
            flood_check(&flood, &item);
        ck_assert_int_eq(atomic_load(&flood.accepted), flood.received);
        uco_queue_free(flood.queue);
    }
}
END_TEST

static void
add_threads(Suite *suite)
{
    TCase *tc = case_new(suite, "threads");

    tcase_add_test(tc, items_of_four_threads_arrive_once_in_each_ones_order);
    tcase_add_test(tc, what_threads_put_in_passes_through_a_chain_of_queues);
    tcase_add_test(tc, threads_put_past_the_capacity_and_tasks_wait_until_there_is_room);
    tcase_add_test(tc, getters_and_joiners_know_items_of_other_threads_like_others);
    tcase_add_test(tc, an_item_wakes_a_loop_that_sleeps);
    tcase_add_test(tc, items_of_threads_take_their_rank);
    tcase_add_test(tc, the_loops_own_thread_puts_in_order_whichever_call_it_uses);
}

static void
add_ends(Suite *suite)
{
    TCase *tc = case_new(suite, "ends");

    tcase_add_test(tc, what_was_accepted_before_a_shutdown_is_not_lost);
    tcase_add_test(tc, an_immediate_shutdown_drops_what_was_accepted_and_not_fetched);
    tcase_add_test(tc, a_shutdown_amid_a_flood_loses_nothing_that_was_accepted);
    tcase_add_test(tc, a_queue_can_be_freed_while_items_are_on_their_way);
    tcase_add_test(tc, threads_can_put_before_any_loop_runs);
    tcase_add_test(tc, threads_can_put_while_the_loop_does_not_run);
    tcase_add_test(tc, a_queue_with_an_item_in_flight_outlives_its_loop);
    tcase_add_test(tc, threads_are_refused_from_the_start_of_the_loops_close);
    tcase_add_test(tc, the_loops_close_amid_a_flood_loses_nothing_that_was_accepted);
}

int
main(void)
{
    Suite *suite = suite_create("queue thread");

    add_threads(suite);
    add_ends(suite);
    return suite_end(suite);
}
