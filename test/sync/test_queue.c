/* SPDX-License-Identifier: MIT */

/*
 * Queues between the tasks of a loop: the order of the items, and of those who wait. What a
 * cancellation leaves is in test_queue_cancel.c, how a queue ends in test_queue_shutdown.c.
 */

#include "sync/queue_calls.h"

#include <stdlib.h>
#include <string.h>

/* --- the order of items --- */

static void
check_order(uco_queue *q, const int *expected)
{
    put_now(q, 1);
    put_now(q, 3);
    put_now(q, 2);
    ck_assert_uint_eq(uco_queue_size(q), 3);
    for (int i = 0; i < 3; i++)
        get_now(q, expected[i]);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    uco_queue_free(q);
}

/* QU1: each kind in its order, bounded or not; outside of a loop, as everything that does not
 * suspend. */
START_TEST(each_kind_gives_its_items_in_its_own_order)
{
    for (size_t capacity = 0; capacity <= 4; capacity += 4) {
        check_order(uco_queue_new(sizeof(int), capacity), (int[]){1, 3, 2});
        check_order(uco_queue_new_lifo(sizeof(int), capacity), (int[]){2, 3, 1});
        check_order(uco_queue_new_priority(sizeof(int), capacity, compare_ints), (int[]){1, 2, 3});
    }
}
END_TEST

struct ranked {
    int rank;
    int serial;
};

static int
compare_ranks(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    return (x->rank > y->rank) - (x->rank < y->rank);
}

START_TEST(equal_items_of_a_priority_queue_stay_in_the_order_of_putting)
{
    uco_queue *q = uco_queue_new_priority(sizeof(struct ranked), 0, compare_ranks);
    struct ranked item, before = {.rank = -1};

    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(
            uco_queue_put_nowait(q, &(struct ranked){.rank = i * 7919 % 5, .serial = i}), 0);
    for (int i = 0; i < 2000; i++) {
        ck_assert_int_eq(uco_queue_get_nowait(q, &item), 0);
        ck_assert_int_ge(item.rank, before.rank);
        if (item.rank == before.rank)
            ck_assert_int_gt(item.serial, before.serial);
        before = item;
    }
    uco_queue_free(q);
}
END_TEST

enum kind { FIFO, LIFO, PRIORITY, KINDS };

/* A queue and what it must behave like: a plain array, the next item to get found by looking. */
struct model {
    uco_queue *queue;
    enum kind kind;
    size_t capacity;
    struct ranked items[400];
    size_t size;
    int serial;
};

static void
model_put(struct model *m)
{
    struct ranked item = {.rank = rand() % 4, .serial = m->serial++};
    bool full = m->capacity > 0 && m->size == m->capacity;

    ck_assert_int_eq(uco_queue_put_nowait(m->queue, &item), full ? -EAGAIN : 0);
    if (!full)
        m->items[m->size++] = item;
}

static void
model_get(struct model *m)
{
    size_t next = m->kind == LIFO ? m->size - 1 : 0;
    struct ranked item;

    if (m->size == 0) {
        ck_assert_int_eq(uco_queue_get_nowait(m->queue, &item), -EAGAIN);
        return;
    }
    for (size_t i = 1; i < m->size && m->kind == PRIORITY; i++)
        if (m->items[i].rank < m->items[next].rank)
            next = i;
    ck_assert_int_eq(uco_queue_get_nowait(m->queue, &item), 0);
    ck_assert_int_eq(item.rank, m->items[next].rank);
    ck_assert_int_eq(item.serial, m->items[next].serial);
    m->size--;
    memmove(m->items + next, m->items + next + 1, (m->size - next) * sizeof m->items[0]);
}

static uco_queue *
model_queue(enum kind kind, size_t capacity)
{
    switch (kind) {
    case LIFO:
        return uco_queue_new_lifo(sizeof(struct ranked), capacity);
    case PRIORITY:
        return uco_queue_new_priority(sizeof(struct ranked), capacity, compare_ranks);
    default:
        return uco_queue_new(sizeof(struct ranked), capacity);
    }
}

static void
check_model(enum kind kind, size_t capacity)
{
    struct model m = {.queue = model_queue(kind, capacity), .kind = kind, .capacity = capacity};

    for (int i = 0; i < 5000; i++) {
        bool growing = i / 300 % 2 == 0;

        if (m.size < COUNT(m.items) && rand() % 100 < (growing ? 70 : 30))
            model_put(&m);
        else
            model_get(&m);
        ck_assert_uint_eq(uco_queue_size(m.queue), m.size);
    }
    uco_queue_free(m.queue);
}

/* Growing and shrinking by turns, so that what is stored moves around in its memory. */
START_TEST(each_kind_behaves_like_its_model)
{
    static const size_t capacities[] = {0, 1, 2, 3, 64, 100};

    srand(1);
    for (enum kind kind = FIFO; kind < KINDS; kind++)
        for (size_t i = 0; i < COUNT(capacities); i++)
            check_model(kind, capacities[i]);
}
END_TEST

static int
compare_first_bytes(const void *a, const void *b)
{
    const unsigned char *x = a, *y = b;

    return *x - *y;
}

/* Items of that size arrive whole, and nothing is written beside the room for one. */
static void
check_item_size(uco_queue *q, size_t size)
{
    unsigned char item[4096 + 2], expected[4096];

    for (int i = 0; i < 40; i++) {
        memset(item, i, size);
        ck_assert_int_eq(uco_queue_put_nowait(q, item), 0);
    }
    for (int i = 0; i < 40; i++) {
        memset(item, 0xee, sizeof item);
        ck_assert_int_eq(uco_queue_get_nowait(q, item + 1), 0);
        memset(expected, i, size);
        ck_assert_mem_eq(item + 1, expected, size);
        ck_assert_uint_eq(item[0], 0xee);
        ck_assert_uint_eq(item[size + 1], 0xee);
    }
    uco_queue_free(q);
}

START_TEST(items_of_any_size_are_copied_whole)
{
    static const size_t sizes[] = {1, 3, 8, 24, 4096};

    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t capacity = 0; capacity <= 40; capacity += 40) {
            check_item_size(uco_queue_new(sizes[i], capacity), sizes[i]);
            check_item_size(uco_queue_new_priority(sizes[i], capacity, compare_first_bytes),
                            sizes[i]);
        }
}
END_TEST

START_TEST(a_bounded_queue_holds_as_many_as_its_capacity)
{
    static const size_t capacities[] = {1, 2, 7, 1000};

    for (size_t i = 0; i < COUNT(capacities); i++) {
        uco_queue *q = queue_of_ints(capacities[i]);
        int more = -1;

        for (size_t n = 0; n < capacities[i]; n++)
            put_now(q, (int) n);
        ck_assert_int_eq(uco_queue_put_nowait(q, &more), -EAGAIN);
        ck_assert_uint_eq(uco_queue_size(q), capacities[i]);
        get_now(q, 0);
        put_now(q, (int) capacities[i]);
        for (size_t n = 1; n <= capacities[i]; n++)
            get_now(q, (int) n);
        uco_queue_free(q);
    }
}
END_TEST

/* QU2: what cannot be done at once is refused, and nothing is written. */
START_TEST(nowait_calls_fail_at_once)
{
    uco_queue *q = queue_of_ints(1);
    int item = 7;

    ck_assert_int_eq(uco_queue_get_nowait(q, &item), -EAGAIN);
    ck_assert_int_eq(item, 7);
    put_now(q, 1);
    ck_assert_int_eq(uco_queue_put_nowait(q, &item), -EAGAIN);
    get_now(q, 1);
    ck_assert_int_eq(uco_queue_get_nowait(q, &item), -EAGAIN);
    uco_queue_free(q);
}
END_TEST

/* --- waiting --- */

static intptr_t
getters_main(void *arg)
{
    uco_queue *q = queue_of_ints(0);
    struct call getters[3];

    (void) arg;
    for (int i = 0; i < 3; i++)
        call_start(&getters[i], get_once, q, -1);
    for (int i = 0; i < 3; i++)
        put_now(q, i);
    for (int i = 0; i < 3; i++)
        call_gets(&getters[i], i);
    uco_queue_free(q);
    return 0;
}

/* QU3: a blocked get is woken by a put, the one that has waited longest first. */
START_TEST(getters_are_served_in_the_order_of_their_coming)
{
    run_in_all_orders(getters_main, NULL);
}
END_TEST

static intptr_t
putters_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call putters[3];

    (void) arg;
    put_now(q, 0);
    for (int i = 0; i < 3; i++)
        call_start(&putters[i], put_once, q, i + 1);
    for (int i = 0; i < 3; i++) {
        ck_assert(!uco_done(putters[i].task));
        get_now(q, i);
        call_ends(&putters[i], 0, 0);
    }
    get_now(q, 3);
    uco_queue_free(q);
    return 0;
}

/* QU3: a blocked put is woken by a get, the one that has waited longest first. */
START_TEST(putters_are_served_in_the_order_of_their_coming)
{
    run_in_all_orders(putters_main, NULL);
}
END_TEST

static intptr_t
handed_item_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call getter;
    int item = 7;

    (void) arg;
    call_start(&getter, get_once, q, -1);
    put_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 0);
    ck_assert_int_eq(uco_queue_get_nowait(q, &item), -EAGAIN);
    put_now(q, 2);
    ck_assert(!uco_done(getter.task));
    call_gets(&getter, 1);
    get_now(q, 2);
    uco_queue_free(q);
    return 0;
}

/*  main              | getter
 *                    | get: waits
 *  put: hands over   |
 *  get: nothing      |
 *                    | has it
 */
START_TEST(an_item_that_was_handed_over_cannot_be_taken_by_another)
{
    run_in_all_orders(handed_item_main, NULL);
}
END_TEST

static intptr_t
handed_place_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call putter;
    int item = 7;

    (void) arg;
    put_now(q, 1);
    call_start(&putter, put_once, q, 2);
    get_now(q, 1);
    ck_assert_uint_eq(uco_queue_size(q), 1);
    ck_assert_int_eq(uco_queue_put_nowait(q, &item), -EAGAIN);
    get_now(q, 2);
    call_ends(&putter, 0, 0);
    uco_queue_free(q);
    return 0;
}

/*  main              | putter
 *                    | put: waits
 *  get: frees a place, and the putter's item is in it
 *  put: full         |
 *                    | has put
 */
START_TEST(a_place_that_was_handed_over_cannot_be_taken_by_another)
{
    run_in_all_orders(handed_place_main, NULL);
}
END_TEST

static intptr_t
late_putter_main(void *arg)
{
    uco_queue *lifo = uco_queue_new_lifo(sizeof(int), 2);
    uco_queue *priority = uco_queue_new_priority(sizeof(int), 2, compare_ints);
    struct call putters[2];

    (void) arg;
    for (int i = 5; i <= 6; i++) {
        put_now(lifo, i);
        put_now(priority, i);
    }
    call_start(&putters[0], put_once, lifo, 1);
    call_start(&putters[1], put_once, priority, 1);
    get_now(lifo, 6);
    get_now(lifo, 1);
    get_now(lifo, 5);
    get_now(priority, 5);
    get_now(priority, 1);
    get_now(priority, 6);
    call_ends(&putters[0], 0, 0);
    call_ends(&putters[1], 0, 0);
    uco_queue_free(lifo);
    uco_queue_free(priority);
    return 0;
}

/* The item of a putter that waits is not in the queue yet: it takes its rank when it gets in. */
START_TEST(a_waiting_item_is_ranked_when_it_gets_its_place)
{
    run_in_all_orders(late_putter_main, NULL);
}
END_TEST

static intptr_t
set_flag(void *arg)
{
    *(bool *) arg = true;
    return 0;
}

static intptr_t
no_suspension_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    bool others_ran = false;
    uco_task *other;
    int item = 0, calls;

    (void) arg;
    ck_assert_int_eq(uco_yield(), 0);
    other = uco_create_task(set_flag, &others_ran);
    for (calls = 0; calls < 60; calls += 2) {
        ck_assert_int_eq(uco_queue_put(q, &item), 0);
        ck_assert_int_eq(uco_queue_get(q, &item), 0);
        ck_assert(!others_ran);
    }
    for (; calls < 130; calls += 2) {
        ck_assert_int_eq(uco_queue_put(q, &item), 0);
        ck_assert_int_eq(uco_queue_get(q, &item), 0);
    }
    ck_assert(others_ran);
    uco_queue_free(q);
    return uco_join(other);
}

START_TEST(what_can_be_done_at_once_does_not_suspend_but_each_64th_time)
{
    run_in_all_orders(no_suspension_main, NULL);
}
END_TEST

/* --- chains --- */

struct chain {
    uco_queue *queue;
    int each; /* items for every putter and getter */
    int64_t sum;
};

static intptr_t
chain_put(void *arg)
{
    struct chain *chain = arg;

    for (int i = 1; i <= chain->each; i++) {
        int r = uco_queue_put(chain->queue, &i);

        if (r < 0)
            return r;
    }
    return 0;
}

static intptr_t
chain_get(void *arg)
{
    struct chain *chain = arg;
    int item;

    for (int i = 1; i <= chain->each; i++) {
        int r = uco_queue_get(chain->queue, &item);

        if (r < 0)
            return r;
        chain->sum += item;
    }
    return 0;
}

static intptr_t
chain_main(void *arg)
{
    struct chain chain = {.queue = queue_of_ints(1), .each = 20};
    uco_task *tasks[20];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(i % 2 == 0 ? chain_put : chain_get, &chain);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    ck_assert_int_eq(chain.sum, 10 * (20 * 21 / 2));
    ck_assert_uint_eq(uco_queue_size(chain.queue), 0);
    uco_queue_free(chain.queue);
    return 0;
}

/* QU12: many putters and getters at a queue of one place never stall. */
START_TEST(chains_of_putters_and_getters_do_not_stall)
{
    run_in_all_orders(chain_main, NULL);
}
END_TEST

static intptr_t
chain_in_order(void *arg)
{
    struct chain *chain = arg;
    int item;

    for (int i = 1; i <= chain->each; i++) {
        int r = uco_queue_get(chain->queue, &item);

        if (r < 0)
            return r;
        if (item != i)
            ck_abort_msg("item %d came in the place of %d", item, i);
    }
    return 0;
}

static intptr_t
million_main(void *arg)
{
    struct chain chain = {.queue = queue_of_ints(1), .each = scaled(1000000)};
    uco_task *tasks[] = {uco_create_task(chain_put, &chain),
                         uco_create_task(chain_in_order, &chain)};

    (void) arg;
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    uco_queue_free(chain.queue);
    return 0;
}

START_TEST(a_million_items_pass_through_one_place_in_order)
{
    ck_assert_int_eq(run_virtual(million_main, NULL), 0);
}
END_TEST

static intptr_t
consumer(void *arg)
{
    struct call *call = arg;

    call->next = 0; /* how many it got */
    while (uco_queue_get(call->queue, &call->item) == 0)
        call->next++;
    return 0;
}

static intptr_t
consumers_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    struct call consumers[5];

    (void) arg;
    for (int i = 0; i < 5; i++)
        call_start(&consumers[i], consumer, q, -1);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(uco_queue_put(q, &i), 0);
        ck_assert_int_eq(uco_test_settle(), 0);
    }
    ck_assert_int_eq(uco_queue_shutdown(q, false), 0);
    for (int i = 0; i < 5; i++) {
        call_ends(&consumers[i], 0, 2);
    }
    uco_queue_free(q);
    return 0;
}

START_TEST(consumers_take_turns)
{
    run_in_all_orders(consumers_main, NULL);
}
END_TEST

static void
callback_passes_on(void *arg)
{
    struct call *call = arg;

    put_now(call->queue, 1);
    ck_assert_uint_eq(uco_queue_size(call->queue), 0);
    put_now(call->queue, 2);
    get_now(call->queue, 2);
    ck_assert_int_eq(uco_queue_task_done(call->queue), 0);
}

static intptr_t
callbacks_use_main(void *arg)
{
    struct call getter;
    uco_queue *q = queue_of_ints(1);

    (void) arg;
    call_start(&getter, get_once, q, -1);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_passes_on, &getter), 0);
    call_gets(&getter, 1);
    uco_queue_free(q);
    return 0;
}

START_TEST(callbacks_may_use_what_does_not_suspend)
{
    run_in_all_orders(callbacks_use_main, NULL);
}
END_TEST

static void
add_items(Suite *suite)
{
    TCase *tc = case_new(suite, "items");

    tcase_add_test(tc, each_kind_gives_its_items_in_its_own_order);
    tcase_add_test(tc, equal_items_of_a_priority_queue_stay_in_the_order_of_putting);
    tcase_add_test(tc, each_kind_behaves_like_its_model);
    tcase_add_test(tc, items_of_any_size_are_copied_whole);
    tcase_add_test(tc, a_bounded_queue_holds_as_many_as_its_capacity);
    tcase_add_test(tc, nowait_calls_fail_at_once);
}

static void
add_waiting(Suite *suite)
{
    TCase *tc = case_new(suite, "waiting");

    tcase_add_test(tc, getters_are_served_in_the_order_of_their_coming);
    tcase_add_test(tc, putters_are_served_in_the_order_of_their_coming);
    tcase_add_test(tc, an_item_that_was_handed_over_cannot_be_taken_by_another);
    tcase_add_test(tc, a_place_that_was_handed_over_cannot_be_taken_by_another);
    tcase_add_test(tc, a_waiting_item_is_ranked_when_it_gets_its_place);
    tcase_add_test(tc, what_can_be_done_at_once_does_not_suspend_but_each_64th_time);
    tcase_add_test(tc, chains_of_putters_and_getters_do_not_stall);
    tcase_add_test(tc, a_million_items_pass_through_one_place_in_order);
    tcase_add_test(tc, consumers_take_turns);
    tcase_add_test(tc, callbacks_may_use_what_does_not_suspend);
}

int
main(void)
{
    Suite *suite = suite_create("queue");

    add_items(suite);
    add_waiting(suite);
    return suite_end(suite);
}
