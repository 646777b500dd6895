/* SPDX-License-Identifier: MIT */

/*
 * Queues and memory: what needs none, what is lost without (nothing), and what is given back.
 */

#include "sync/queue_calls.h"

#include <malloc.h>

static void
fail_malloc(unsigned long nth, bool for_ever)
{
    ck_assert_int_eq(uco_test_fail("malloc", nth, for_ever, ENOMEM), 0);
}

START_TEST(a_queue_without_memory_is_not_made)
{
    for (size_t capacity = 0; capacity < 2; capacity++) {
        uco_queue *q = NULL;
        unsigned long nth;

        for (nth = 1; q == NULL; nth++) {
            fail_malloc(nth, false);
            errno = 0;
            q = uco_queue_new_priority(sizeof(int), capacity, compare_ints);
            ck_assert(q != NULL || errno == ENOMEM);
            ck_assert_uint_lt(nth, 10);
        }
        ck_assert_uint_gt(nth, 2);
        uco_test_fail_off();
        put_now(q, 1);
        get_now(q, 1);
        uco_queue_free(q);
    }
}
END_TEST

/* --- items --- */

struct passing {
    uco_queue *queue;
    int each;
};

static intptr_t
pass_in(void *arg)
{
    struct passing *p = arg;

    ck_assert_int_eq(uco_sleep(1.0), 0);
    for (int i = 0; i < p->each; i++)
        ck_assert_int_eq(uco_queue_put(p->queue, &i), 0);
    return 0;
}

static intptr_t
pass_out(void *arg)
{
    struct passing *p = arg;
    int item;

    for (int i = 0; i < p->each; i++) {
        ck_assert_int_eq(uco_queue_get(p->queue, &item), 0);
        ck_assert_int_eq(uco_queue_task_done(p->queue), 0);
    }
    return 0;
}

static intptr_t
bounded_main(void *arg)
{
    uco_queue *queues[] = {queue_of_ints(3), uco_queue_new_lifo(sizeof(int), 3),
                           uco_queue_new_priority(sizeof(int), 3, compare_ints)};

    (void) arg;
    for (size_t i = 0; i < COUNT(queues); i++) {
        struct passing p = {.queue = queues[i], .each = 200};
        uco_task *in = uco_create_task(pass_in, &p), *out = uco_create_task(pass_out, &p);

        ck_assert_int_eq(uco_test_settle(), 0);
        fail_malloc(1, true);
        ck_assert_int_eq(uco_join(in), 0);
        ck_assert_int_eq(uco_join(out), 0);
        ck_assert_int_eq(uco_queue_join(queues[i]), 0);
        uco_test_fail_off();
        uco_queue_free(queues[i]);
    }
    return 0;
}

START_TEST(a_bounded_queue_needs_no_memory_for_its_items)
{
    run_in_all_orders(bounded_main, NULL);
}
END_TEST

/* So that what is queued does not begin where its memory does. */
static void
rotate(uco_queue *q)
{
    for (int i = 0; i < 5; i++) {
        put_now(q, i);
        get_now(q, i);
        ck_assert_int_eq(uco_queue_task_done(q), 0);
    }
}

/* Returns how many it held when it could not grow. */
static int
fill_without_memory(uco_queue *q)
{
    int n = 0, r;

    fail_malloc(1, true);
    while ((r = uco_queue_put(q, &n)) == 0)
        n++;
    ck_assert_int_eq(r, -ENOMEM);
    ck_assert_int_eq(uco_queue_put_nowait(q, &n), -ENOMEM);
    ck_assert_uint_eq(uco_queue_size(q), (size_t) n);
    return n;
}

static intptr_t
cannot_grow_main(void *arg)
{
    uco_queue *queues[] = {queue_of_ints(0), uco_queue_new_lifo(sizeof(int), 0),
                           uco_queue_new_priority(sizeof(int), 0, compare_ints)};

    (void) arg;
    for (size_t i = 0; i < COUNT(queues); i++) {
        uco_queue *q = queues[i];
        int n;

        rotate(q);
        n = fill_without_memory(q);
        get_now(q, i == 1 ? n - 1 : 0);
        put_now(q, i == 1 ? n - 1 : n);
        uco_test_fail_off();
        put_now(q, n + 1);
        for (int k = 0; k <= n; k++) {
            int fifo = k < n ? k + 1 : n + 1;

            get_now(q, i == 1 ? (k == 0 ? n + 1 : n - k) : fifo);
            ck_assert_int_eq(uco_queue_task_done(q), 0);
        }
        ck_assert_int_eq(uco_queue_task_done(q), 0);
        ck_assert_int_eq(uco_queue_join(q), 0);
        uco_queue_free(q);
    }
    return 0;
}

START_TEST(a_queue_that_cannot_grow_loses_nothing)
{
    run_in_all_orders(cannot_grow_main, NULL);
}
END_TEST

static size_t
allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* Whatever the C library counts: nothing, under a sanitizer. */
static void
check_burst(uco_queue *q, bool drop)
{
    size_t before = allocated(), peak;
    int n = scaled(1000000), put = 0, got = 0, item;

    while (put < n && uco_queue_put_nowait(q, &put) == 0)
        put++;
    ck_assert_uint_eq(uco_queue_size(q), (size_t) n);
    peak = allocated();
    if (drop)
        ck_assert_int_eq(uco_queue_shutdown(q, true), 0);
    else
        while (uco_queue_get_nowait(q, &item) == 0)
            got++;
    ck_assert_int_eq(got, drop ? 0 : n);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    ck_assert(peak == before || allocated() < before + (peak - before) / 100);
    uco_queue_free(q);
    ck_assert_uint_le(allocated(), before + 16384); /* Check has memory of its own */
}

START_TEST(after_a_burst_an_unbounded_queue_gives_its_memory_back)
{
    for (int drop = 0; drop <= 1; drop++) {
        check_burst(queue_of_ints(0), drop);
        check_burst(uco_queue_new_lifo(sizeof(int), 0), drop);
        check_burst(uco_queue_new_priority(sizeof(int), 0, compare_ints), drop);
    }
}
END_TEST

static intptr_t
shrink_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);

    (void) arg;
    for (int i = 0; i < 10000; i++)
        put_now(q, i);
    fail_malloc(1, true);
    for (int i = 0; i < 10000; i++)
        get_now(q, i);
    uco_test_fail_off();
    put_now(q, 1);
    get_now(q, 1);
    uco_queue_free(q);
    return 0;
}

START_TEST(a_queue_that_cannot_shrink_works_on)
{
    ck_assert_int_eq(run_virtual(shrink_main, NULL), 0);
}
END_TEST

/* --- items of other threads --- */

static intptr_t
no_memory_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call getter;

    (void) arg;
    put_from_thread(q, 0, 2, 0);
    fail_malloc(1, true);
    put_from_thread(q, 7, 1, -ENOMEM);
    ck_assert_int_eq(uco_queue_put_threadsafe(q, &(int){7}), -ENOMEM);
    uco_test_fail_off();
    put_from_thread(q, 2, 1, 0);
    for (int i = 0; i < 3; i++)
        get_now(q, i);
    call_start(&getter, get_once, q, -1);
    put_from_thread(q, 3, 1, 0);
    call_gets(&getter, 3);
    uco_queue_free(q);
    return 0;
}

START_TEST(without_memory_an_item_is_refused_and_the_others_stay)
{
    run_in_all_orders(no_memory_main, NULL);
}
END_TEST

static intptr_t
no_room_main(void *arg)
{
    uco_queue *q = queue_of_ints(*(size_t *) arg);

    put_from_thread(q, 0, 200, 0);
    fail_malloc(1, true);
    ck_assert_uint_eq(uco_queue_size(q), 200);
    for (int i = 0; i < 100; i++)
        get_now(q, i);
    ck_assert_uint_eq(uco_queue_size(q), 100);
    ck_assert_int_lt(uco_queue_put_nowait(q, &(int){1}), 0);
    uco_test_fail_off();
    put_from_thread(q, 200, 10, 0);
    for (int i = 100; i < 210; i++)
        get_now(q, i);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    for (int i = 0; i < 210; i++)
        ck_assert_int_eq(uco_queue_task_done(q), 0);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    uco_queue_free(q);
    return 0;
}

START_TEST(what_was_accepted_is_not_lost_when_the_queue_cannot_grow)
{
    run_in_all_orders(no_room_main, &(size_t){0});
    run_in_all_orders(no_room_main, &(size_t){1});
}
END_TEST

static intptr_t
no_room_putter_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call putter;

    (void) arg;
    put_now(q, 0);
    call_start(&putter, put_once, q, 4);
    put_from_thread(q, 1, 3, 0);
    fail_malloc(1, true);
    for (int i = 0; i < 5; i++)
        get_now(q, i);
    uco_test_fail_off();
    call_ends(&putter, 0, 0);
    uco_queue_free(q);
    return 0;
}

/*  main                          | putter
 *                                | put 4: waits
 *  a thread puts 1 to 3          |
 *  memory is short: they can't be moved in
 *  get 0, 1, 2, each a place for the next
 *  get 3                         | its 4 is in
 */
START_TEST(without_room_what_was_accepted_comes_before_those_who_wait)
{
    run_in_all_orders(no_room_putter_main, NULL);
}
END_TEST

static intptr_t
no_room_shutdown_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    int item = 7;

    put_from_thread(q, 0, 3, 0);
    fail_malloc(1, true);
    ck_assert_int_eq(uco_queue_shutdown(q, *(bool *) arg), 0);
    for (int i = 0; i < 3 && !*(bool *) arg; i++) {
        get_now(q, i);
        ck_assert_int_eq(uco_queue_task_done(q), 0);
    }
    ck_assert_int_eq(uco_queue_get_nowait(q, &item), -ESHUTDOWN);
    ck_assert_int_eq(uco_queue_join(q), 0);
    uco_test_fail_off();
    uco_queue_free(q);
    return 0;
}

START_TEST(without_room_what_was_accepted_is_fetched_or_dropped_after_a_shutdown)
{
    run_in_all_orders(no_room_shutdown_main, &(bool){false});
    run_in_all_orders(no_room_shutdown_main, &(bool){true});
}
END_TEST

static void
add_items(Suite *suite)
{
    TCase *tc = case_new(suite, "items");

    tcase_add_test(tc, a_queue_without_memory_is_not_made);
    tcase_add_test(tc, a_bounded_queue_needs_no_memory_for_its_items);
    tcase_add_test(tc, a_queue_that_cannot_grow_loses_nothing);
    tcase_add_test(tc, after_a_burst_an_unbounded_queue_gives_its_memory_back);
    tcase_add_test(tc, a_queue_that_cannot_shrink_works_on);
}

static void
add_threads(Suite *suite)
{
    TCase *tc = case_new(suite, "items of other threads");

    tcase_add_test(tc, without_memory_an_item_is_refused_and_the_others_stay);
    tcase_add_test(tc, what_was_accepted_is_not_lost_when_the_queue_cannot_grow);
    tcase_add_test(tc, without_room_what_was_accepted_comes_before_those_who_wait);
    tcase_add_test(tc, without_room_what_was_accepted_is_fetched_or_dropped_after_a_shutdown);
}

int
main(void)
{
    Suite *suite = suite_create("queue memory");

    add_items(suite);
    add_threads(suite);
    return suite_end(suite);
}
