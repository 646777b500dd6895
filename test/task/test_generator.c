/* SPDX-License-Identifier: MIT */

/*
 * Generators: values and their end, and who may ask. test_generator_end.c has how they are ended
 * from outside, and how they are misused.
 */

#include "generator_calls.h"

#include <stdlib.h>

static intptr_t
values_main(void *arg)
{
    struct source s = {.count = 100};
    uco_generator *g = make(count_up, &s);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!s.began);
    for (int i = 1; i <= 100; i++) {
        expect_value(g, i);
        ck_assert_int_eq(s.resumed, i - 1);
    }
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(s.resumed, 99);
    expect_end(g, 0);
    ck_assert(s.ended);
    uco_generator_free(g);
    return 0;
}

START_TEST(values_come_in_order_when_they_are_asked_for_and_then_the_end)
{
    run_in_all_orders(values_main, NULL);
}
END_TEST

static intptr_t
error_main(void *arg)
{
    struct source failing = {.count = 1, .returns = -EIO}, none = {.returns = 9};
    uco_generator *g = (uco_generator_new) (count_up, &failing);

    (void) arg;
    ck_assert_int_eq(uco_generator_next(g, NULL), 1);
    expect_end(g, -EIO);
    uco_generator_free(g);
    g = make(count_up, &none);
    expect_end(g, 0);
    uco_generator_free(g);
    return 0;
}

START_TEST(the_end_is_0_or_the_generators_error)
{
    run_in_all_orders(error_main, NULL);
}
END_TEST

static intptr_t
interval_main(void *arg)
{
    struct source s = {.count = 3, .interval = 1.0};
    uco_generator *g = make(count_up, &s);

    (void) arg;
    for (int i = 1; i <= 3; i++) {
        expect_value(g, i);
        assert_time(2 * i - 1);
        ck_assert_int_eq(uco_sleep(1.0), 0);
    }
    expect_end(g, 0);
    uco_generator_free(g);
    return 0;
}

START_TEST(a_generator_that_sleeps_begins_to_when_it_is_asked)
{
    run_in_all_orders(interval_main, NULL);
}
END_TEST

/* Gives up on a value that nobody fetches for a second, and goes on with the next. */
static intptr_t
impatient(void *arg)
{
    uco_scope s;
    int r;

    for (intptr_t i = 1; i <= 3; i++) {
        ck_assert_int_eq(uco_scope_open(&s, 1.0), 0);
        r = (int) uco_scope_close(&s, uco_generator_yield(NUMBER(i)));
        ck_assert(r == 0 || r == -ETIMEDOUT);
        *(int *) arg += r == -ETIMEDOUT;
    }
    return 0;
}

static intptr_t
impatient_main(void *arg)
{
    int timeouts = 0;
    uco_generator *g = make(impatient, &timeouts);
    uco_scope s;

    (void) arg;
    expect_value(g, 1);
    ck_assert_int_eq(uco_sleep(1.5), 0);
    ck_assert_int_eq(timeouts, 1);
    expect_value(g, 2);
    ck_assert_int_eq(uco_scope_open(&s, 0.0), 0);
    ck_assert_int_eq(uco_generator_next(g, NULL), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, 0), 0);
    expect_value(g, 3);
    ck_assert_int_eq(uco_sleep(1.5), 0);
    ck_assert_int_eq(timeouts, 2);
    expect_end(g, 0);
    uco_generator_free(g);
    return 0;
}

START_TEST(a_timeout_around_a_yield_withdraws_the_value)
{
    run_in_all_orders(impatient_main, NULL);
}
END_TEST

static intptr_t
doubled(void *arg)
{
    struct source *s = arg;
    void *value;
    int r;

    while ((r = uco_generator_next(s->g, &value)) == 1)
        ck_assert_int_eq(uco_generator_yield(NUMBER((intptr_t) value * 2)), 0);
    return r;
}

static intptr_t
chain_main(void *arg)
{
    struct source numbers = {.count = 10, .returns = -EIO, .interval = 1.0}, twice = {0};
    struct source four_times = {0};
    uco_generator *g;

    (void) arg;
    numbers.g = make(count_up, &numbers);
    twice.g = numbers.g;
    four_times.g = make(doubled, &twice);
    g = make(doubled, &four_times);
    for (int i = 1; i <= 10; i++)
        expect_value(g, 4 * i);
    expect_end(g, -EIO);
    uco_generator_free(g);
    uco_generator_free(four_times.g);
    uco_generator_free(numbers.g);
    return 0;
}

START_TEST(generators_feed_one_another)
{
    run_in_all_orders(chain_main, NULL);
}
END_TEST

static intptr_t
take_two(void *arg)
{
    struct source *s = arg;
    intptr_t first = s->resumed + 1;

    expect_value(s->g, first);
    expect_value(s->g, first + 1);
    return 0;
}

static intptr_t
handed_over_main(void *arg)
{
    struct source s = {.count = 6};

    (void) arg;
    s.g = make(count_up, &s);
    ck_assert_int_eq(uco_join(uco_create_task(take_two, &s)), 0);
    s.resumed = 2;
    ck_assert_int_eq(uco_join(uco_create_task(take_two, &s)), 0);
    expect_value(s.g, 5);
    uco_generator_free(s.g);
    return 0;
}

START_TEST(a_generator_can_be_handed_to_another_task)
{
    run_in_all_orders(handed_over_main, NULL);
}
END_TEST

static intptr_t
next_in_task(void *arg)
{
    struct source *s = arg;
    void *value = NULL;
    int r = uco_generator_next(s->g, &value);

    return r == 1 ? (intptr_t) value : r;
}

static intptr_t
cancelled_next_main(void *arg)
{
    struct source s = {.count = 2, .interval = 1.0};
    uco_task *asker;

    (void) arg;
    s.g = make(count_up, &s);
    asker = uco_create_task(next_in_task, &s);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(asker), 0);
    ck_assert_int_eq(uco_join(asker), -ECANCELED);
    ck_assert_int_eq(uco_sleep(5.0), 0);
    expect_value(s.g, 1);
    assert_time(5.0);
    expect_value(s.g, 2);
    assert_time(6.0);
    uco_generator_free(s.g);
    return 0;
}

/*   asker         generator          main
 *   asks          sleeps 1 s
 *   is cancelled
 *                 gives 1 at 1 s
 *                                    asks at 5 s, and gets the 1 at once */
START_TEST(a_cancelled_next_leaves_its_value_for_the_following_one)
{
    run_in_all_orders(cancelled_next_main, NULL);
}
END_TEST

static intptr_t
asked_for_meanwhile_main(void *arg)
{
    struct source s = {.count = 3, .interval = 1.0};
    uco_task *asker;
    intptr_t r;

    (void) arg;
    s.g = make(count_up, &s);
    asker = uco_create_task(next_in_task, &s);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_cancel(asker), 0);
    r = uco_join(asker);
    ck_assert(r == 1 || r == -ECANCELED);
    expect_value(s.g, r == 1 ? 2 : 1);
    expect_value(s.g, r == 1 ? 3 : 2);
    uco_generator_free(s.g);
    return 0;
}

/* In any order of the last two:
 *   asker        generator         main
 *   asks
 *                gives 1 at 1 s
 *                                  cancels the asker at 1 s
 *   has the 1, or else the next one to ask gets it */
START_TEST(a_value_and_the_askers_cancellation_in_the_same_turn_lose_neither)
{
    run_in_all_orders(asked_for_meanwhile_main, NULL);
}
END_TEST

static intptr_t
busy_main(void *arg)
{
    struct source s = {.count = 2, .interval = 1.0};
    uco_task *asker;

    (void) arg;
    s.g = make(count_up, &s);
    asker = uco_create_task(next_in_task, &s);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_generator_next(s.g, NULL), -EBUSY);
    ck_assert_int_eq(uco_join(asker), 1);
    expect_value(s.g, 2);
    uco_generator_free(s.g);
    return 0;
}

START_TEST(a_second_asker_is_refused)
{
    run_in_all_orders(busy_main, NULL);
}
END_TEST

static intptr_t
yield_elsewhere(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_generator_yield(NULL), -EPERM);
    return 0;
}

static intptr_t
asks_itself(void *arg)
{
    struct source *s = arg;

    ck_assert_int_eq(uco_generator_next(s->g, NULL), -EDEADLK);
    ck_assert_int_eq(uco_join(uco_create_task(yield_elsewhere, NULL)), 0);
    return uco_generator_yield(NUMBER(1));
}

static intptr_t
asks_itself_main(void *arg)
{
    struct source s = {0};

    (void) arg;
    ck_assert_int_eq(uco_generator_yield(NULL), -EPERM);
    s.g = make(asks_itself, &s);
    expect_value(s.g, 1);
    expect_end(s.g, 0);
    uco_generator_free(s.g);
    return 0;
}

START_TEST(a_generator_cannot_ask_itself_and_nobody_else_can_yield_for_it)
{
    ck_assert_int_eq(uco_generator_yield(NULL), -EPERM);
    run_in_all_orders(asks_itself_main, NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("generator");
    TCase *values = case_new(suite, "values");
    TCase *asking = case_new(suite, "asking");

    unsetenv("UCO_DEBUG");
    tcase_add_test(values, values_come_in_order_when_they_are_asked_for_and_then_the_end);
    tcase_add_test(values, the_end_is_0_or_the_generators_error);
    tcase_add_test(values, a_generator_that_sleeps_begins_to_when_it_is_asked);
    tcase_add_test(values, a_timeout_around_a_yield_withdraws_the_value);
    tcase_add_test(values, generators_feed_one_another);
    tcase_add_test(asking, a_generator_can_be_handed_to_another_task);
    tcase_add_test(asking, a_cancelled_next_leaves_its_value_for_the_following_one);
    tcase_add_test(asking, a_value_and_the_askers_cancellation_in_the_same_turn_lose_neither);
    tcase_add_test(asking, a_second_asker_is_refused);
    tcase_add_test(asking, a_generator_cannot_ask_itself_and_nobody_else_can_yield_for_it);
    return suite_end(suite);
}
