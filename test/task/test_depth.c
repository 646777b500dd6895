/* SPDX-License-Identifier: MIT */

/*
 * Deep and wide trees of tasks: chains that wait for one another, and a hundred thousand that are
 * cancelled at once. A recursion would overflow a stack here, and what is quadratic takes longer
 * than the time that a test has. Sanitizer builds get fewer, for their own limits' sake.
 */

#include "support.h"

#include <stdlib.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

/* ThreadSanitizer of gcc 12 dies of some 4,000 live fibres. */
static size_t
many(void)
{
    return under_sanitizer() ? 1000 : 100000;
}

static uco_group *
make_group(void)
{
    uco_group *g = uco_group_new();

    ck_assert_ptr_nonnull(g);
    return g;
}

static uint64_t
tasks_left(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.tasks;
}

struct chain {
    int left;  /* links to come */
    int ended; /* links that have */
};

/* Awaits the next link, its child; the last one sleeps. */
static intptr_t
link_body(void *arg)
{
    struct chain *chain = arg;
    uco_task *next;
    intptr_t r;

    if (--chain->left > 0) {
        next = uco_create_task(link_body, chain);
        r = uco_await(next);
        uco_unref(next);
    } else {
        r = uco_sleep(1.0);
    }
    chain->ended++;
    return r;
}

static intptr_t
chain_main(void *arg)
{
    int length = scaled(10000);
    bool cancel = arg != NULL;
    struct chain chain = {.left = length};
    uco_task *front = uco_create_task(link_body, &chain);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(chain.left, 0);
    if (cancel)
        ck_assert_int_eq(uco_cancel(front), 0);
    ck_assert_int_eq(uco_join(front), cancel ? -ECANCELED : 0);
    ck_assert_int_eq(chain.ended, length);
    assert_time(cancel ? 0.0 : 1.0);
    ck_assert_uint_eq(tasks_left(), 1);
    return 0;
}

/* K27 */
START_TEST(a_chain_of_10_000_awaits_finishes)
{
    ck_assert_int_eq(run_virtual(chain_main, NULL), 0);
}
END_TEST

/* K27: each link returns, and so ends its child, the next one. */
START_TEST(a_chain_of_10_000_awaits_is_cancelled_from_its_front)
{
    ck_assert_int_eq(run_virtual(chain_main, NUMBER(1)), 0);
}
END_TEST

static intptr_t
chain_in_group_main(void *arg)
{
    int length = scaled(10000);
    struct chain chain = {.left = length};
    uco_group *g = make_group();

    (void) arg;
    ck_assert_ptr_nonnull(uco_group_create_task(g, link_body, &chain));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_group_cancel(g), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_int_eq(chain.ended, length);
    assert_time(0.0);
    uco_group_free(g);
    return 0;
}

START_TEST(a_chain_of_10_000_awaits_is_cancelled_by_its_fronts_group)
{
    ck_assert_int_eq(run_virtual(chain_in_group_main, NULL), 0);
}
END_TEST

static intptr_t
await_body(void *arg)
{
    return uco_await(arg);
}

/* So many members that each await the one before, and the first a future. */
static uco_future *
chain_of_members(uco_group *g, int length)
{
    uco_future *first = uco_future_new(), *last = first;

    for (int i = 0; i < length; i++)
        last = uco_group_create_task(g, await_body, last);
    ck_assert_int_eq(uco_test_settle(), 0);
    return first;
}

static intptr_t
chain_of_members_main(void *arg)
{
    intptr_t results[] = {5, -EIO, -ECANCELED};
    uco_group *g = make_group();

    (void) arg;
    for (size_t i = 0; i < COUNT(results); i++) {
        uco_future *first = chain_of_members(g, scaled(10000));

        ck_assert_int_eq(uco_future_set_result(first, results[i]), 0);
        ck_assert_int_eq(uco_group_wait(g), results[i] == -EIO ? -EIO : 0);
        ck_assert_uint_eq(tasks_left(), 1);
        uco_unref(first);
    }
    uco_group_free(g);
    return 0;
}

/* K27: a value, a failure (which cancels those who still wait), and a cancellation. */
START_TEST(a_result_passes_through_10_000_members_that_await_one_another)
{
    ck_assert_int_eq(run_virtual(chain_of_members_main, NULL), 0);
}
END_TEST

static intptr_t
nested_groups(void *arg)
{
    struct chain *chain = arg;
    uco_group *g = make_group();
    int r;

    ck_assert_ptr_nonnull(--chain->left > 0 ? uco_group_create_task(g, nested_groups, chain)
                                            : uco_group_create_task(g, body_sleep_forever, NULL));
    r = uco_group_wait(g);
    chain->ended++;
    uco_group_free(g);
    return r;
}

static intptr_t
nested_groups_main(void *arg)
{
    int depth = scaled(10000);
    struct chain chain = {.left = depth};
    uco_group *g = make_group();

    (void) arg;
    ck_assert_ptr_nonnull(uco_group_create_task(g, nested_groups, &chain));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(chain.left, 0);
    ck_assert_int_eq(uco_group_cancel(g), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_int_eq(chain.ended, depth);
    uco_group_free(g);
    return 0;
}

START_TEST(groups_nest_10_000_deep_and_are_cancelled_from_the_outermost)
{
    ck_assert_int_eq(run_virtual(nested_groups_main, NULL), 0);
}
END_TEST

static intptr_t
parent_of_many(void *arg)
{
    (void) arg;
    for (size_t i = 0; i < many(); i++)
        uco_unref(uco_create_task(body_sleep_forever, NULL));
    return uco_sleep(UCO_FOREVER);
}

static intptr_t
parent_of_many_main(void *arg)
{
    uco_task *parent = uco_create_task(parent_of_many, NULL);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(tasks_left(), many() + 2);
    ck_assert_int_eq(uco_cancel(parent), 0);
    ck_assert_int_eq(uco_join(parent), -ECANCELED);
    ck_assert_uint_eq(tasks_left(), 1);
    assert_time(0.0);
    return 0;
}

START_TEST(cancelling_a_parent_ends_100_000_sleeping_children)
{
    ck_assert_int_eq(run_virtual(parent_of_many_main, NULL), 0);
}
END_TEST

static intptr_t
many_members_main(void *arg)
{
    uco_group *g = make_group();
    intptr_t failure = (intptr_t) arg;

    for (size_t i = 0; i < many(); i++)
        ck_assert_ptr_nonnull(uco_group_create_task(g, body_sleep_forever, NULL));
    ck_assert_int_eq(uco_test_settle(), 0);
    if (failure == 0)
        ck_assert_int_eq(uco_group_cancel(g), 0);
    else
        ck_assert_ptr_nonnull(uco_group_create_task(g, body_return, arg));
    ck_assert_int_eq(uco_group_wait(g), failure);
    ck_assert_uint_eq(tasks_left(), 1);
    assert_time(0.0);
    uco_group_free(g);
    return 0;
}

START_TEST(cancelling_a_group_ends_100_000_sleeping_members)
{
    ck_assert_int_eq(run_virtual(many_members_main, NULL), 0);
}
END_TEST

START_TEST(one_failure_ends_100_000_sleeping_members)
{
    ck_assert_int_eq(run_virtual(many_members_main, NUMBER(-EIO)), 0);
}
END_TEST

static intptr_t
one_by_one_main(void *arg)
{
    uco_task **tasks = calloc(many(), sizeof *tasks);
    uco_group *g = make_group();

    (void) arg;
    for (size_t i = 0; i < many(); i++)
        tasks[i] = uco_ref(uco_group_create_task(g, body_sleep_forever, NULL));
    ck_assert_int_eq(uco_test_settle(), 0);
    for (size_t i = many(); i-- > 0;)
        ck_assert_int_eq(uco_cancel(tasks[i]), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    uco_unref_all(tasks, many());
    free(tasks);
    return 0;
}

START_TEST(a_hundred_thousand_members_leave_their_group_in_any_order)
{
    ck_assert_int_eq(run_virtual(one_by_one_main, NULL), 0);
}
END_TEST

static intptr_t
pass_on(void *arg)
{
    void *value;
    int r;

    while ((r = uco_generator_next(arg, &value)) == 1)
        ck_assert_int_eq(uco_generator_yield(value), 0);
    return r;
}

static intptr_t
three_values(void *arg)
{
    for (intptr_t i = 1; i <= 3; i++)
        ck_assert_int_eq(uco_generator_yield(NUMBER(i)), 0);
    return (intptr_t) arg;
}

static intptr_t
generators_main(void *arg)
{
    size_t length = (size_t) scaled(10000);
    uco_generator **g = calloc(length, sizeof *g);
    void *value;

    (void) arg;
    for (size_t i = 0; i < length; i++)
        g[i] = i == 0 ? uco_generator_new(three_values, NUMBER(-EIO))
                      : uco_generator_new(pass_on, g[i - 1]);
    for (intptr_t i = 1; i <= 3; i++) {
        ck_assert_int_eq(uco_generator_next(g[length - 1], &value), 1);
        ck_assert_int_eq((intptr_t) value, i);
    }
    ck_assert_int_eq(uco_generator_next(g[length - 1], &value), -EIO);
    while (length-- > 0)
        uco_generator_free(g[length]);
    free(g);
    return 0;
}

START_TEST(a_value_passes_through_10_000_generators)
{
    ck_assert_int_eq(run_virtual(generators_main, NULL), 0);
}
END_TEST

static uco_local key;
static int destroyed;

static void
destroy_count(void *value)
{
    ++*(int *) value;
}

static intptr_t
await_gate(void *arg)
{
    intptr_t r = uco_await(arg);

    return uco_local_get(key) == &destroyed ? r : -EIO;
}

static intptr_t
many_holders_main(void *arg)
{
    uco_future *gate = uco_future_new();
    uco_task **tasks = calloc(many(), sizeof *tasks);

    (void) arg;
    destroyed = 0;
    ck_assert_int_eq(uco_local_new(&key, destroy_count), 0);
    ck_assert_int_eq(uco_local_set(key, &destroyed), 0);
    for (size_t i = 0; i < many(); i++)
        tasks[i] = uco_create_task(await_gate, gate);
    ck_assert_int_eq(uco_local_set(key, NULL), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(destroyed, 0);
    ck_assert_int_eq(uco_future_set_result(gate, 1), 0);
    ck_assert_int_eq(uco_gather(tasks, many(), NULL), 0);
    ck_assert_int_eq(destroyed, 1);
    uco_unref_all(tasks, many());
    free(tasks);
    uco_unref(gate);
    return uco_local_free(key);
}

START_TEST(a_hundred_thousand_tasks_can_inherit_one_value)
{
    ck_assert_int_eq(run_virtual(many_holders_main, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("depth");
    TCase *deep = case_new(suite, "deep");
    TCase *wide = case_new(suite, "wide");

    tcase_add_test(deep, a_chain_of_10_000_awaits_finishes);
    tcase_add_test(deep, a_chain_of_10_000_awaits_is_cancelled_from_its_front);
    tcase_add_test(deep, a_chain_of_10_000_awaits_is_cancelled_by_its_fronts_group);
    tcase_add_test(deep, a_result_passes_through_10_000_members_that_await_one_another);
    tcase_add_test(deep, groups_nest_10_000_deep_and_are_cancelled_from_the_outermost);
    tcase_add_test(wide, cancelling_a_parent_ends_100_000_sleeping_children);
    tcase_add_test(wide, cancelling_a_group_ends_100_000_sleeping_members);
    tcase_add_test(wide, one_failure_ends_100_000_sleeping_members);
    tcase_add_test(wide, a_hundred_thousand_members_leave_their_group_in_any_order);
    tcase_add_test(deep, a_value_passes_through_10_000_generators);
    tcase_add_test(wide, a_hundred_thousand_tasks_can_inherit_one_value);
    return suite_end(suite);
}
