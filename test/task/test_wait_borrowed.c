/* SPDX-License-Identifier: MIT */

/*
 * Waiting for futures of which the caller has no reference: members of a group, which are freed
 * when they have ended. Those that the call was given live until it returns.
 */

#include "support.h"

#define MEMBERS 20 /* more than a call has room for without memory of its own */
#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

static uco_group *
make_group(void)
{
    uco_group *g = uco_group_new();

    ck_assert_ptr_nonnull(g);
    return g;
}

static void
add_all(uco_group *g, uco_task *tasks[], int n, uco_fn *fn, void *arg)
{
    for (int i = 0; i < n; i++) {
        tasks[i] = uco_group_create_task(g, fn, arg);
        ck_assert_ptr_nonnull(tasks[i]);
    }
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

/* The calls, for n futures that end in the next turn with 7. */

static void
call_await(uco_task *tasks[], int n)
{
    ck_assert_int_eq(uco_await(tasks[n - 1]), 7);
}

static void
call_wait_for(uco_task *tasks[], int n)
{
    ck_assert_int_eq(uco_wait_for(tasks[n - 1], 1.0), 7);
}

static void
call_gather(uco_task *tasks[], int n)
{
    intptr_t results[MEMBERS] = {0};

    ck_assert_int_eq(uco_gather(tasks, (size_t) n, results), 0);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(results[i], 7);
}

static void
call_gather_all(uco_task *tasks[], int n)
{
    intptr_t results[MEMBERS] = {0};

    ck_assert_int_eq(uco_gather_all(tasks, (size_t) n, results), 0);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(results[i], 7);
}

static void
call_wait_any(uco_task *tasks[], int n)
{
    ssize_t first = uco_wait_any(tasks, (size_t) n, 1.0);

    ck_assert_int_ge(first, 0);
    ck_assert_int_lt(first, n);
}

static void
call_wait_all(uco_task *tasks[], int n)
{
    ck_assert_int_eq(uco_wait_all(tasks, (size_t) n, 1.0), 0);
}

static void (*const calls[])(uco_task *tasks[], int n) = {
    call_await, call_wait_for, call_gather, call_gather_all, call_wait_any, call_wait_all,
};

static intptr_t
borrowed_main(void *arg)
{
    void (*const *call)(uco_task * tasks[], int n) = arg;
    uco_group *g = make_group();
    uco_task *tasks[MEMBERS];

    for (int n = 1; n <= MEMBERS; n += MEMBERS - 1) {
        use_up_successes();
        add_all(g, tasks, n, body_return, NUMBER(7));
        (*call)(tasks, n);
        ck_assert_int_eq(uco_group_wait(g), 0);
    }
    uco_group_free(g);
    assert_time(0.0);
    return 0;
}

/*
 * caller                                   members
 * ------                                   -------
 * creates them
 * waits: lets others run
 *                                          end; the group gives them back
 * looks at them
 */
START_TEST(a_future_that_is_waited_for_lives_though_others_run_first)
{
    run_in_all_orders(borrowed_main, (void *) &calls[_i]);
}
END_TEST

static intptr_t
without_memory_main(void *arg)
{
    int (*const *call)(uco_future * fs[], size_t n, intptr_t results[]) = arg;
    intptr_t results[MEMBERS] = {0};
    uco_group *g = make_group();
    uco_task *tasks[MEMBERS];

    add_all(g, tasks, MEMBERS, body_sleep_1s, NUMBER(7));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq((*call)(tasks, MEMBERS, results), -ENOMEM);
    uco_test_fail_off();
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_int_eq(results[i], -ECANCELED);
    assert_time(0.0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

/* They are waited for one by one then, and the others end meanwhile. */
START_TEST(without_memory_gathered_members_are_cancelled_and_their_results_are_read)
{
    int (*const gathers[])(uco_future * fs[], size_t n, intptr_t results[]) = {uco_gather,
                                                                               uco_gather_all};

    run_in_all_orders(without_memory_main, (void *) &gathers[_i]);
}
END_TEST

static intptr_t
wait_without_memory_main(void *arg)
{
    uco_group *g = make_group();
    uco_task *tasks[MEMBERS];

    (void) arg;
    for (int i = 0; i < 2; i++) {
        use_up_successes();
        add_all(g, tasks, MEMBERS, body_return, NUMBER(7));
        ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
        ck_assert_int_eq(i == 0 ? uco_wait_any(tasks, MEMBERS, 1.0)
                                : uco_wait_all(tasks, MEMBERS, 1.0),
                         -ENOMEM);
        uco_test_fail_off();
        ck_assert_int_eq(uco_group_wait(g), 0);
    }
    uco_group_free(g);
    return 0;
}

START_TEST(without_memory_a_wait_leaves_the_futures_alone)
{
    run_in_all_orders(wait_without_memory_main, NULL);
}
END_TEST

static intptr_t
in_cancelled_scope_main(void *arg)
{
    uco_group *g = make_group();
    uco_task *tasks[MEMBERS];
    uco_scope scope;

    (void) arg;
    for (int i = 0; i < 3; i++) {
        use_up_successes();
        add_all(g, tasks, MEMBERS, body_sleep_1s, NUMBER(7));
        ck_assert_int_eq(uco_scope_open(&scope, UCO_FOREVER), 0);
        ck_assert_int_eq(uco_scope_cancel(&scope), 0);
        ck_assert_int_eq(i == 0   ? uco_gather_all(tasks, MEMBERS, NULL)
                         : i == 1 ? uco_wait_any(tasks, MEMBERS, 9.0)
                                  : uco_wait_for(tasks[0], 9.0),
                         -ECANCELED);
        ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
        assert_time(i == 2 ? 1.0 : 0.0);
        ck_assert_int_eq(uco_group_wait(g), 0);
    }
    uco_group_free(g);
    return 0;
}

/* gather and wait_for cancel them and wait, wait_any leaves them alone. */
START_TEST(in_a_cancelled_scope_too_borrowed_futures_live_until_the_call_returns)
{
    run_in_all_orders(in_cancelled_scope_main, NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wait borrowed");
    TCase *tcase = case_new(suite, "borrowed");

    tcase_add_loop_test(tcase, a_future_that_is_waited_for_lives_though_others_run_first, 0,
                        (int) COUNT(calls));
    tcase_add_loop_test(
        tcase, without_memory_gathered_members_are_cancelled_and_their_results_are_read, 0, 2);
    tcase_add_test(tcase, without_memory_a_wait_leaves_the_futures_alone);
    tcase_add_test(tcase, in_a_cancelled_scope_too_borrowed_futures_live_until_the_call_returns);
    return suite_end(suite);
}
