/* SPDX-License-Identifier: MIT */

/*
 * Members that ignore their cancellation are reported every 10 s while the owner waits, whoever
 * cancelled them and whenever.
 */

#include "support.h"

#include <string.h>

#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

static intptr_t
stubborn(void *arg)
{
    uco_scope shield;

    (void) arg;
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(36.0), 0);
    return uco_scope_close(&shield, 0);
}

static uco_group *
make_stubborn(void)
{
    const uco_task_options options = {.name = "stubborn"};
    uco_group *g = uco_group_new();

    ck_assert_ptr_nonnull(g);
    ck_assert_ptr_nonnull(uco_group_create_task_with(g, &options, stubborn, NULL));
    return g;
}

/* Runs fn; what it cancels at `cancelled`, and waits for until 36 s, is reported every 10 s. */
static void
run_reminded(uco_fn *fn, double cancelled)
{
    for (uint64_t seed = 0; seed <= 200; seed++) {
        struct reports reports;
        uco_loop_options options = reporting(&reports);

        options.seed = seed;
        ck_assert_int_eq(uco_run_with(&options, fn, NULL), 0);
        ck_assert_uint_eq(reports.count, (unsigned) ((36.0 - cancelled) / 10.0));
        ck_assert_ptr_nonnull(strstr(reports.last, "'stubborn'"));
    }
}

static intptr_t
end_group(uco_group *g, int expected)
{
    ck_assert_int_eq(uco_group_wait(g), expected);
    assert_time(36.0);
    uco_group_free(g);
    assert_time(36.0);
    return 0;
}

static intptr_t
fails_after_5s(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_sleep(5.0), 0);
    return -EIO;
}

static intptr_t
failing_main(void *arg)
{
    uco_group *g = make_stubborn();

    (void) arg;
    ck_assert_ptr_nonnull(uco_group_create_task(g, fails_after_5s, NULL));
    return end_group(g, -EIO);
}

/*
 * owner            fails           stubborn
 * -----            -----           --------
 * waits
 *                  -EIO at 5 s
 *                                  is cancelled, and sleeps on; reported at 15, 25, 35 s
 *                                  ends at 36 s
 * -EIO
 */
START_TEST(a_member_that_outlives_anothers_failure_is_reported_while_its_owner_waits)
{
    run_reminded(failing_main, 5.0);
}
END_TEST

static void
callback_cancel(void *arg)
{
    ck_assert_int_eq(uco_group_cancel(arg), 0);
}

static intptr_t
cancel_after_7s(void *arg)
{
    ck_assert_int_eq(uco_sleep(7.0), 0);
    return uco_group_cancel(arg);
}

static intptr_t
cancelled_by_callback_main(void *arg)
{
    uco_group *g = make_stubborn();

    (void) arg;
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), 7.0, callback_cancel, g), 0);
    return end_group(g, 0);
}

static intptr_t
cancelled_by_member_main(void *arg)
{
    uco_group *g = make_stubborn();

    (void) arg;
    ck_assert_ptr_nonnull(uco_group_create_task(g, cancel_after_7s, g));
    return end_group(g, 0);
}

static intptr_t
cancelled_by_other_main(void *arg)
{
    uco_group *g = make_stubborn();
    uco_task *other = uco_create_task(cancel_after_7s, g);

    (void) arg;
    end_group(g, 0);
    return uco_join(other);
}

START_TEST(a_member_that_outlives_uco_group_cancel_is_reported_while_its_owner_waits)
{
    uco_fn *const mains[] = {cancelled_by_callback_main, cancelled_by_member_main,
                             cancelled_by_other_main};

    run_reminded(mains[_i], 7.0);
}
END_TEST

static intptr_t
timeout_main(void *arg)
{
    uco_group *g = make_stubborn();
    uco_scope scope;
    int r;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&scope, 2.0), 0);
    r = uco_group_wait(g);
    ck_assert_int_eq(uco_scope_close(&scope, r), -ETIMEDOUT);
    return end_group(g, 0);
}

START_TEST(a_member_that_outlives_its_owners_cancellation_is_reported)
{
    run_reminded(timeout_main, 2.0);
}
END_TEST

static intptr_t
free_main(void *arg)
{
    uco_group *g = make_stubborn();

    (void) arg;
    ck_assert_int_eq(uco_sleep(3.0), 0);
    uco_group_free(g);
    assert_time(36.0);
    return 0;
}

START_TEST(a_member_that_outlives_uco_group_free_is_reported)
{
    run_reminded(free_main, 3.0);
}
END_TEST

static intptr_t
again_main(void *arg)
{
    uco_group *g = uco_group_new();

    (void) arg;
    ck_assert_int_eq(uco_group_cancel(g), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_ptr_nonnull(uco_group_create_task(g, stubborn, NULL));
    return end_group(g, 0);
}

START_TEST(a_member_that_nobody_cancelled_is_not_reported_though_an_earlier_one_was)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, again_main, NULL), 0);
    ck_assert_str_eq(reports.all, "");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("group remind");
    TCase *tcase = case_new(suite, "reminders");

    tcase_add_test(tcase,
                   a_member_that_outlives_anothers_failure_is_reported_while_its_owner_waits);
    tcase_add_loop_test(
        tcase, a_member_that_outlives_uco_group_cancel_is_reported_while_its_owner_waits, 0, 3);
    tcase_add_test(tcase, a_member_that_outlives_its_owners_cancellation_is_reported);
    tcase_add_test(tcase, a_member_that_outlives_uco_group_free_is_reported);
    tcase_add_test(tcase, a_member_that_nobody_cancelled_is_not_reported_though_an_earlier_one_was);
    return suite_end(suite);
}
