/* SPDX-License-Identifier: MIT */

/*
 * Generators that end while somebody is about to use them, or will not let go of them.
 */

#include "generator_calls.h"

#include <stdlib.h>

static void
callback_free(void *arg)
{
    uco_generator_free(arg);
}

/* Its next call that suspends lets others run before it begins. */
static void
use_up_successes(void)
{
    uco_event set = {0};

    ck_assert_int_eq(uco_event_set(&set), 0);
    ck_assert_int_eq(uco_yield(), 0);
    for (int i = 0; i < 63; i++)
        ck_assert_int_eq(uco_event_wait(&set), 0);
}

static intptr_t
free_in_task(void *arg)
{
    uco_generator_free(arg);
    return 0;
}

struct freed_case {
    struct source source;
    int first; /* what next gives before the generator is freed */
    int later; /* and if it is freed meanwhile */
};

static intptr_t
freed_at_checkpoint_main(void *arg)
{
    const struct freed_case *c = arg;
    struct source s = c->source;
    uco_task *freer;
    int r;

    s.g = make(count_up, &s);
    if (s.count == 0)
        ck_assert_int_eq(uco_generator_next(s.g, NULL), c->first);
    use_up_successes();
    freer = uco_create_task(free_in_task, s.g);
    r = uco_generator_next(s.g, NULL);
    ck_assert(r == c->later || r == c->first); /* a seed may let the asker go on first */
    return uco_join(freer);
}

/*
 * asker                                    freer
 * -----                                    -----
 * next: lets others run
 *                                          free
 * goes on, and the generator is gone
 */
START_TEST(a_generator_may_be_freed_while_next_lets_others_run)
{
    struct freed_case cases[] = {
        {{.count = 1}, 1, -ECANCELED}, /* it never began */
        {{.count = 0}, 0, -ECANCELED},
        {{.returns = -EIO}, -EIO, -EIO},
    };

    run_in_all_orders(freed_at_checkpoint_main, &cases[_i]);
}
END_TEST

static uco_scope withdrawing;

static intptr_t
yields_in_scope(void *arg)
{
    int r;

    ck_assert_int_eq(uco_sleep(1.0), 0); /* who asked has gone meanwhile */
    ck_assert_int_eq(uco_scope_open(&withdrawing, UCO_FOREVER), 0);
    r = uco_generator_yield(NUMBER(1));
    ck_assert_int_eq(uco_scope_close(&withdrawing, r), 0);
    *(int *) arg = r;
    return uco_generator_yield(NUMBER(2));
}

static intptr_t
withdrawn_main(void *arg)
{
    int first = 0;
    uco_generator *g = make(yields_in_scope, &first);
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&scope, 0.5), 0);
    ck_assert_int_eq(uco_generator_next(g, NULL), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert_int_eq(uco_scope_cancel(&withdrawing), 0);
    expect_value(g, 2);
    ck_assert_int_eq(first, -ECANCELED);
    ck_assert_int_eq(uco_generator_next(g, NULL), 0);
    uco_generator_free(g);
    return 0;
}

/*
 * main                                     generator
 * ----                                     ---------
 * asks, and gives up
 *                                          yields 1, which nobody fetches
 * cancels that yield
 * asks: the 1 is withdrawn
 *                                          -ECANCELED; yields 2
 * has the 2
 */
START_TEST(a_value_is_not_fetched_once_its_yield_is_cancelled)
{
    run_in_all_orders(withdrawn_main, NULL);
}
END_TEST

static intptr_t
yields_in_shield(void *arg)
{
    struct source *s = arg;
    uco_scope shield;

    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    for (int i = 1; i <= 3; i++)
        s->resumed += uco_generator_yield(NUMBER(i)) == 0;
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    s->ended = true;
    return 0;
}

static intptr_t
shield_main(void *arg)
{
    struct source s = {0};

    s.g = make(yields_in_shield, &s);
    expect_value(s.g, 1);
    if (arg == NULL)
        uco_generator_free(s.g);
    else
        ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_free, s.g), 0);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert_int_eq(s.resumed, 0);
    ck_assert(s.ended);
    assert_time(arg == NULL ? 3.0 : 2.0);
    return 0;
}

START_TEST(a_generator_that_yields_in_a_shield_is_ended_by_free)
{
    run_in_all_orders(shield_main, _i == 0 ? NULL : NUMBER(1));
}
END_TEST

static intptr_t
leaves_shielded(void *arg)
{
    struct source *s = arg;

    s->g = make(yields_in_shield, s);
    expect_value(s->g, 1);
    return 0;
}

static intptr_t
leaves_shielded_main(void *arg)
{
    struct source s = {0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(leaves_shielded, &s)), 0);
    ck_assert(s.ended);
    ck_assert_int_eq(s.resumed, 0);
    assert_time(1.0);
    uco_generator_free(s.g);
    return 0;
}

START_TEST(a_generator_that_yields_in_a_shield_ends_with_its_creator)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaves_shielded_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
leaves_open(void *arg)
{
    struct source *s = arg;

    s->g = make(count_up, s);
    if (s->count > 0)
        expect_value(s->g, 1);
    return 0;
}

static void
free_what_was_left(const char *message, uco_task *task, void *arg)
{
    struct source *s = arg;

    (void) message;
    (void) task;
    ck_assert_ptr_nonnull(s->g);
    uco_generator_free(s->g);
    s->g = NULL;
}

static intptr_t
left_and_freed_main(void *arg)
{
    struct source *s = arg;

    ck_assert_int_eq(uco_join(uco_create_task(leaves_open, s)), 0);
    ck_assert_ptr_null(s->g);
    ck_assert_int_eq(s->ended, s->began);
    return uco_test_settle();
}

/* In the middle, and before its beginning. */
START_TEST(who_is_told_of_a_generator_left_open_may_free_it)
{
    struct source sources[] = {{.count = 2}, {0}};
    struct reports unused;
    uco_loop_options options = reporting(&unused);

    options.exception_handler = free_what_was_left;
    options.exception_arg = &sources[_i];
    ck_assert_int_eq(uco_run_with(&options, left_and_freed_main, &sources[_i]), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("generator freed");
    TCase *tcase = case_new(suite, "freed");

    unsetenv("UCO_DEBUG");
    tcase_add_loop_test(tcase, a_generator_may_be_freed_while_next_lets_others_run, 0, 3);
    tcase_add_test(tcase, a_value_is_not_fetched_once_its_yield_is_cancelled);
    tcase_add_loop_test(tcase, a_generator_that_yields_in_a_shield_is_ended_by_free, 0, 2);
    tcase_add_test(tcase, a_generator_that_yields_in_a_shield_ends_with_its_creator);
    tcase_add_loop_test(tcase, who_is_told_of_a_generator_left_open_may_free_it, 0, 2);
    return suite_end(suite);
}
