/* SPDX-License-Identifier: MIT */

/*
 * Selecting where a queue is shut down or freed, without memory, and with bad input.
 */

#include "sync/select_calls.h"

#include <malloc.h>
#include <math.h>

static const double not_a_number = (double) NAN;

static size_t
allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void
shut_down(uco_queue *q, bool immediate)
{
    ck_assert_int_eq(uco_queue_shutdown(q, immediate), 0);
}

/* --- shutdown --- */

static intptr_t
shut_before_main(void *arg)
{
    struct pair p = pair_new();
    struct selection put = either(p.full, 5, p.full, 6), get = either(p.empty, -1, p.full, -1);
    ssize_t r;

    (void) arg;
    shut_down(p.full, false);
    r = select_now(&put, UCO_FOREVER);
    ck_assert(r == 0 || r == 1);
    ck_assert_int_eq(put.cases[r].result, -ESHUTDOWN);
    ck_assert_int_eq(select_now(&get, UCO_FOREVER), 1);
    ck_assert_int_eq(get.cases[1].result, 0);
    ck_assert_int_eq(get.items[1], 2);
    ck_assert_int_eq(select_now(&get, 0), 1);
    ck_assert_int_eq(get.cases[1].result, -ESHUTDOWN);
    ck_assert_int_eq(get.items[1], 2);
    pair_free(&p);
    return 0;
}

/* What is queued can still be fetched. */
START_TEST(a_queue_that_was_shut_down_counts_as_ready)
{
    run_in_all_orders(shut_before_main, NULL);
}
END_TEST

static intptr_t
shut_meanwhile_main(void *arg)
{
    struct pair p = pair_new();
    struct selection getter = either(p.full, 3, p.empty, -1);
    struct selection putter = either(p.empty, -1, p.full, 3);

    (void) arg;
    selection_start(&getter);
    selection_start(&putter);
    shut_down(p.empty, false);
    selection_did(&getter, 1, -ESHUTDOWN, -1);
    selection_did(&putter, 0, -ESHUTDOWN, -1);
    putter = either(p.full, 3, p.full, 4);
    selection_start(&putter);
    shut_down(p.full, true);
    selection_did(&putter, 0, -ESHUTDOWN, 3);
    check_size(p.full, 0);
    ck_assert_int_eq(uco_queue_join(p.full), 0);
    pair_free(&p);
    return 0;
}

START_TEST(a_shutdown_while_selecting_is_what_happens)
{
    run_in_all_orders(shut_meanwhile_main, NULL);
}
END_TEST

static intptr_t
shut_and_item_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct selection first = either(a, -1, b, -1), second = either(a, -1, b, -1);

    (void) arg;
    selection_start(&first);
    put_now(a, 1);
    shut_down(b, false);
    selection_did(&first, 0, 0, 1);
    uco_queue_free(b);
    b = second.cases[1].queue = queue_of_ints(1);
    selection_start(&second);
    shut_down(b, false);
    put_now(a, 2);
    selection_did(&second, 1, -ESHUTDOWN, -1);
    get_now(a, 2);
    uco_queue_free(a);
    uco_queue_free(b);
    return 0;
}

/*  main                 | selecter      main                | selecter
 *                       | waits                             | waits
 *  put to a: hands over |               shut b down         |
 *  shut b down          |               put to a: stays     |
 *                       | has the item                      | b, -ESHUTDOWN
 */
START_TEST(an_item_and_a_shutdown_in_the_same_step_happen_in_their_order)
{
    run_in_all_orders(shut_and_item_main, NULL);
}
END_TEST

/* --- free --- */

static intptr_t
freed_main(void *arg)
{
    struct pair p = pair_new();
    struct selection several = either(p.empty, -1, p.full, 4);
    struct selection alone = either(p.full, 5, p.full, 6);

    (void) arg;
    add_case(&several, p.full, 7);
    selection_start(&several);
    selection_start(&alone);
    uco_queue_free(p.full);
    selection_did(&several, 1, -ESHUTDOWN, 4);
    selection_did(&alone, 0, -ESHUTDOWN, 5);
    put_now(p.empty, 1);
    get_now(p.empty, 1);
    uco_queue_free(p.empty);
    return 0;
}

START_TEST(freeing_a_queue_while_selecting_is_what_happens)
{
    run_in_all_orders(freed_main, NULL);
}
END_TEST

static intptr_t
granted_then_freed_main(void *arg)
{
    uco_queue *a = queue_of_ints(1), *b = queue_of_ints(1);
    struct selection first = either(a, -1, b, -1), cancelled = either(a, -1, b, -1);

    (void) arg;
    selection_start(&first);
    selection_start(&cancelled);
    put_now(b, 1);
    ck_assert_int_eq(uco_cancel(cancelled.task), 0);
    uco_queue_free(b);
    uco_queue_free(a);
    selection_did(&first, 1, 0, 1);
    selection_ends(&cancelled, -ECANCELED, -ECANCELED);
    return 0;
}

/*  main                  | selecter     | another
 *                        | waits        | waits
 *  put to b: hands over  |              |
 *  cancel the other      |              |
 *  free both             |              |
 *                        | has the item | -ECANCELED
 */
START_TEST(what_happened_before_all_queues_were_freed_is_kept)
{
    run_in_all_orders(granted_then_freed_main, NULL);
}
END_TEST

/* --- in the middle of a call that lets others run --- */

/* Calls that all succeed at once, until one does not. */
static intptr_t
get_and_put(void *queue)
{
    int item = 0, r = 0;

    for (bool put = true; r == 0; put = !put)
        r = put ? uco_queue_put(queue, &item) : uco_queue_get(queue, &item);
    return r;
}

static intptr_t
join_always(void *queue)
{
    int r = 0;

    while (r == 0)
        r = uco_queue_join(queue);
    return r;
}

static intptr_t
select_always(void *queue)
{
    struct selection s = {.n = 0};
    ssize_t r;

    add_case(&s, queue, 1);
    add_case(&s, queue, -1);
    do
        r = select_now(&s, UCO_FOREVER);
    while (r >= 0 && s.cases[r].result == 0);
    return r < 0 ? r : s.cases[r].result;
}

struct interrupted {
    uco_fn *fn;
    bool cancel;
};

static intptr_t
interrupted_main(void *arg)
{
    struct interrupted *i = arg;
    uco_queue *q = queue_of_ints(1);
    uco_task *task = uco_create_task(i->fn, q);

    for (int n = 0; n < 3; n++)
        ck_assert_int_eq(uco_yield(), 0);
    if (i->cancel)
        ck_assert_int_eq(uco_cancel(task), 0);
    uco_queue_free(q);
    ck_assert_int_eq(uco_join(task), i->cancel ? -ECANCELED : -ESHUTDOWN);
    return 0;
}

/*  a task                               | main
 *  the 64th call in a row lets others run
 *                                       | may cancel, free
 *  -ESHUTDOWN, or -ECANCELED            |
 */
START_TEST(a_queue_can_be_freed_while_a_call_lets_others_run)
{
    static uco_fn *const calls[] = {get_and_put, join_always, select_always};
    size_t before = 0;

    for (size_t i = 0; i < COUNT(calls); i++) {
        run_in_all_orders(interrupted_main, &(struct interrupted){calls[i], false});
        run_in_all_orders(interrupted_main, &(struct interrupted){calls[i], true});
        if (i == 0)
            before = allocated();
    }
    ck_assert_uint_le(allocated(), before + 16384); /* Check has memory of its own */
}
END_TEST

static intptr_t
selected_and_freed_main(void *arg)
{
    size_t before = 0;

    (void) arg;
    for (int i = 0; i < 1000; i++) {
        struct pair p = pair_new();
        struct selection s = either(p.empty, -1, p.full, 3);

        if (i == 100)
            before = allocated();
        ck_assert_int_eq(select_now(&s, 1.0), -ETIMEDOUT);
        put_now(p.empty, 1);
        ck_assert_int_eq(select_now(&s, 1.0), 0);
        pair_free(&p);
    }
    ck_assert_uint_le(allocated(), before + 16384);
    return 0;
}

START_TEST(queues_that_were_selected_from_give_their_memory_back)
{
    ck_assert_int_eq(run_virtual(selected_and_freed_main, NULL), 0);
}
END_TEST

/* --- other threads --- */

static intptr_t
threadsafe_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.full, 3, p.empty, -1);

    (void) arg;
    selection_start(&s);
    put_from_thread(p.empty, 9, 1, 0);
    selection_did(&s, 1, 0, 9);
    put_from_thread(p.empty, 9, 1, 0);
    ck_assert_int_eq(select_now(&s, 0), 1);
    ck_assert_int_eq(s.items[1], 9);
    pair_free(&p);
    return 0;
}

START_TEST(an_item_of_another_thread_ends_the_wait)
{
    ck_assert_int_eq(run_virtual(threadsafe_main, NULL), 0);
}
END_TEST

/* --- memory --- */

enum { MANY = 4096 };

static uco_select_case many[MANY];

static intptr_t
no_memory_main(void *arg)
{
    struct pair p = pair_new();
    int item = -1;

    (void) arg;
    for (int i = 0; i < MANY; i++)
        many[i] = (uco_select_case){.queue = p.empty, .op = UCO_SELECT_GET, .item = &item};
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_select(many, MANY, UCO_FOREVER), -ENOMEM);
    ck_assert_int_eq(uco_select(many, MANY, 0), -ETIMEDOUT);
    many[MANY - 1].queue = p.full;
    ck_assert_int_eq(uco_select(many, MANY, UCO_FOREVER), MANY - 1);
    ck_assert_int_eq(item, 2);
    uco_test_fail_off();
    put_now(p.empty, 1);
    check_size(p.empty, 1);
    pair_free(&p);
    return 0;
}

START_TEST(without_memory_to_wait_nothing_is_done_and_what_is_ready_needs_none)
{
    run_in_all_orders(no_memory_main, NULL);
}
END_TEST

static intptr_t
cannot_grow_main(void *arg)
{
    uco_queue *unbounded = queue_of_ints(0);
    struct pair p = pair_new();
    struct selection s = either(unbounded, 1, p.full, 2);
    size_t size = 0;
    ssize_t r;

    (void) arg;
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    while ((r = select_now(&s, UCO_FOREVER)) == 0)
        size++;
    uco_test_fail_off();
    ck_assert_int_eq(r, -ENOMEM);
    check_size(unbounded, size);
    check_size(p.full, 1);
    ck_assert_int_eq(select_now(&s, UCO_FOREVER), 0);
    check_size(unbounded, size + 1);
    uco_queue_free(unbounded);
    pair_free(&p);
    return 0;
}

START_TEST(a_queue_that_cannot_grow_is_told_and_nothing_is_done)
{
    run_in_all_orders(cannot_grow_main, NULL);
}
END_TEST

/* --- bad input --- */

static void
check_refused(struct pair *p, const struct selection *bad, double timeout, int error)
{
    struct selection s = *bad;

    ck_assert_int_eq(select_now(&s, timeout), error);
    ck_assert_int_eq(s.items[0], bad->items[0]);
    ck_assert_int_eq(s.items[1], bad->items[1]);
    check_size(p->empty, 0);
    check_size(p->full, 1);
}

static intptr_t
bad_input_main(void *arg)
{
    struct pair p = pair_new();
    struct selection good = either(p.full, -1, p.empty, 4), bad = good;
    uco_select_case no_item = {.queue = p.full, .op = UCO_SELECT_GET};

    (void) arg;
    check_refused(&p, &good, not_a_number, -EINVAL);
    bad.cases[1].queue = NULL;
    check_refused(&p, &bad, 0, -EINVAL);
    bad = good;
    bad.cases[1].op = (enum uco_select_op) 7;
    check_refused(&p, &bad, 0, -EINVAL);
    bad = good;
    bad.n = 0;
    check_refused(&p, &bad, 0, -EINVAL);
    ck_assert_int_eq(uco_select(NULL, 0, 0), -EINVAL);
    ck_assert_int_eq(uco_select(NULL, 1, 0), -EINVAL);
    ck_assert_int_eq(uco_select(&no_item, 1, 0), -EINVAL);
    check_size(p.full, 1);
    ck_assert_int_ge(select_now(&good, 0), 0);
    pair_free(&p);
    return 0;
}

START_TEST(bad_input_is_refused_also_beside_what_is_ready)
{
    run_in_all_orders(bad_input_main, NULL);
}
END_TEST

static intptr_t
bad_and_cancelled_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.full, -1, p.empty, 4);
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&scope, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&scope), 0);
    check_refused(&p, &s, not_a_number, -EINVAL);
    check_refused(&p, &s, 0, -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    pair_free(&p);
    return 0;
}

START_TEST(bad_input_comes_before_the_cancellation)
{
    run_in_all_orders(bad_and_cancelled_main, NULL);
}
END_TEST

static void
select_without_coroutine(void *arg)
{
    struct selection s = *(struct selection *) arg;

    ck_assert_int_eq(select_now(&s, UCO_FOREVER), -EPERM);
    ck_assert_int_eq(select_now(&s, 0), -EPERM);
    ck_assert_int_eq(uco_select(NULL, 0, not_a_number), -EPERM);
    ck_assert_int_eq(s.items[0], -1);
}

static void *
select_in_thread(void *arg)
{
    select_without_coroutine(arg);
    return NULL;
}

static intptr_t
wrong_caller_main(void *arg)
{
    struct pair p = pair_new();
    struct selection s = either(p.full, -1, p.empty, 4);

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), select_without_coroutine, &s), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    thread_ends(thread_start(select_in_thread, &s));
    check_size(p.empty, 0);
    check_size(p.full, 1);
    pair_free(&p);
    return 0;
}

START_TEST(only_a_coroutine_may_select)
{
    struct pair p = pair_new();
    struct selection s = either(p.full, -1, p.empty, 4);

    select_without_coroutine(&s);
    check_size(p.full, 1);
    pair_free(&p);
    run_in_all_orders(wrong_caller_main, NULL);
}
END_TEST

static intptr_t
bind_to_this_loop(void *queue)
{
    return uco_queue_join(queue);
}

static intptr_t
other_loops_main(void *arg)
{
    struct pair p = pair_new();
    struct selection first = either(arg, -1, p.full, -1), last = either(p.full, -1, arg, -1);

    check_refused(&p, &first, UCO_FOREVER, -EPERM);
    check_refused(&p, &last, UCO_FOREVER, -EPERM);
    pair_free(&p);
    return 0;
}

START_TEST(queues_of_another_loop_cannot_be_selected_from)
{
    uco_queue *other = queue_of_ints(1);

    ck_assert_int_eq(run_virtual(bind_to_this_loop, other), 0);
    put_now(other, 1);
    run_in_all_orders(other_loops_main, other);
    check_size(other, 1);
    uco_queue_free(other);
}
END_TEST

static void
add_ends(Suite *suite)
{
    TCase *tc = case_new(suite, "ends");

    tcase_add_test(tc, a_queue_that_was_shut_down_counts_as_ready);
    tcase_add_test(tc, a_shutdown_while_selecting_is_what_happens);
    tcase_add_test(tc, an_item_and_a_shutdown_in_the_same_step_happen_in_their_order);
    tcase_add_test(tc, freeing_a_queue_while_selecting_is_what_happens);
    tcase_add_test(tc, what_happened_before_all_queues_were_freed_is_kept);
    tcase_add_test(tc, a_queue_can_be_freed_while_a_call_lets_others_run);
    tcase_add_test(tc, queues_that_were_selected_from_give_their_memory_back);
    tcase_add_test(tc, an_item_of_another_thread_ends_the_wait);
}

static void
add_refusals(Suite *suite)
{
    TCase *tc = case_new(suite, "refusals");

    tcase_add_test(tc, without_memory_to_wait_nothing_is_done_and_what_is_ready_needs_none);
    tcase_add_test(tc, a_queue_that_cannot_grow_is_told_and_nothing_is_done);
    tcase_add_test(tc, bad_input_is_refused_also_beside_what_is_ready);
    tcase_add_test(tc, bad_input_comes_before_the_cancellation);
    tcase_add_test(tc, only_a_coroutine_may_select);
    tcase_add_test(tc, queues_of_another_loop_cannot_be_selected_from);
}

int
main(void)
{
    Suite *suite = suite_create("select end");

    add_ends(suite);
    add_refusals(suite);
    return suite_end(suite);
}
