/* SPDX-License-Identifier: MIT */

/* What an exception handler may do, and where things meet that should not: each was wrong once. */

#include "support.h"

#include <string.h>

struct log {
    uco_task *written;
    uco_task *kept;
    int suspended;
};

static intptr_t
body_fail(void *arg)
{
    (void) arg;
    return -EIO;
}

static intptr_t
body_write(void *arg)
{
    uco_yield();
    *(int *) arg = 1;
    return 0;
}

static int written;

static void
handler_starts_a_task(const char *message, uco_task *task, void *arg)
{
    struct log *log = arg;

    (void) message;
    (void) task;
    if (log->written == NULL)
        log->written = uco_create_task(body_write, &written);
}

static intptr_t
fail_unread_main(void *arg)
{
    struct log *log = arg;

    uco_unref(uco_create_task(body_fail, NULL));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_join(log->written), 0);
    return 0;
}

START_TEST(a_handler_may_start_a_task)
{
    struct log log = {0};
    uco_loop_options options = {
        .clock = UCO_CLOCK_VIRTUAL,
        .exception_handler = handler_starts_a_task,
        .exception_arg = &log,
    };

    written = 0;
    ck_assert_int_eq(uco_run_with(&options, fail_unread_main, &log), 0);
    ck_assert_int_eq(written, 1);
}
END_TEST

static void
handler_keeps_the_task(const char *message, uco_task *task, void *arg)
{
    struct log *log = arg;

    (void) message;
    log->suspended = uco_sleep(1.0);
    log->kept = uco_ref(task);
}

static intptr_t
fail_kept_main(void *arg)
{
    (void) arg;
    uco_unref(uco_create_task(body_fail, NULL));
    return uco_test_settle();
}

START_TEST(a_handler_may_keep_the_task_and_cannot_suspend)
{
    struct log log = {0};
    uco_loop_options options = {
        .clock = UCO_CLOCK_VIRTUAL,
        .exception_handler = handler_keeps_the_task,
        .exception_arg = &log,
    };

    ck_assert_int_eq(uco_run_with(&options, fail_kept_main, NULL), 0);
    ck_assert_int_eq(log.suspended, -EPERM);
    ck_assert_int_eq(uco_result(log.kept), -EIO);
    uco_unref(log.kept);
}
END_TEST

static int discarded;

static void
discard_count(void *arg)
{
    (void) arg;
    discarded++;
}

static intptr_t
submit_and_cancel_main(void *arg)
{
    uco_task_options options = {.discard = discard_count};
    uco_task *task = uco_run_coroutine_threadsafe_with(uco_get_running_loop(), &options,
                                                       body_return, (void *) 7);

    (void) arg;
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    return 0;
}

START_TEST(a_submission_cancelled_on_its_way_never_runs)
{
    discarded = 0;
    ck_assert_int_eq(run_virtual(submit_and_cancel_main, NULL), 0);
    ck_assert_int_eq(discarded, 1);
}
END_TEST

static intptr_t
submit_and_detach_main(void *arg)
{
    uco_task *task = uco_run_coroutine_threadsafe(uco_get_running_loop(), body_sleep_forever, NULL);

    (void) arg;
    ck_assert_int_eq(uco_detach(task), 0);
    uco_unref(task);
    return uco_test_settle();
}

START_TEST(a_submission_detached_on_its_way_ends_with_the_loop)
{
    ck_assert_int_eq(run_virtual(submit_and_detach_main, NULL), 0);
}
END_TEST

static intptr_t
body_errno(void *arg)
{
    intptr_t found = errno;

    (void) arg;
    errno = 38;
    return found;
}

static intptr_t
errno_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_join(uco_create_task(body_errno, NULL)), 0);
    return 0;
}

START_TEST(a_task_begins_with_errno_zero)
{
    ck_assert_int_eq(run_virtual(errno_main, NULL), 0);
}
END_TEST

#define HOG_STEPS 4000
#define HOG_TAKES 0.03 /* seconds */

static intptr_t
body_short_steps(void *hogs)
{
    for (int i = 0; i < HOG_STEPS; i++) {
        double end = real_time() + (hogs != NULL && i == HOG_STEPS / 2 ? HOG_TAKES : 0);

        while (hogs != NULL && real_time() < end)
            continue;
        ck_assert_int_eq(uco_yield(), 0);
    }
    return 0;
}

static intptr_t
short_steps_main(void *arg)
{
    uco_task *tasks[] = {uco_create_task(body_short_steps, NULL),
                         uco_create_task(body_short_steps, arg)};
    int r = uco_gather(tasks, COUNT(tasks), NULL);

    uco_unref_all(tasks, COUNT(tasks));
    return r;
}

/* Steps that only let others run are not timed one by one. */
START_TEST(a_slow_step_among_thousands_of_short_ones_is_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.clock = UCO_CLOCK_REAL;
    options.slow_callback = HOG_TAKES / 2;
    ck_assert_int_eq(uco_run_with(&options, short_steps_main, &options), 0);
    ck_assert_uint_ge(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.all, "kept the loop for"));
}
END_TEST

static intptr_t
slow_at_last_main(void *arg)
{
    double end;

    for (int i = 0; i < HOG_STEPS; i++)
        ck_assert_int_eq(uco_yield(), 0);
    end = real_time() + HOG_TAKES;
    while (real_time() < end)
        continue;
    return arg != NULL;
}

START_TEST(a_slow_step_after_short_ones_is_reported_also_when_it_is_the_last)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.clock = UCO_CLOCK_REAL;
    options.slow_callback = HOG_TAKES / 2;
    ck_assert_int_eq(uco_run_with(&options, slow_at_last_main, NULL), 0);
    ck_assert_uint_ge(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.all, "kept the loop for"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("report");
    TCase *tc = case_new(suite, "reports");

    tcase_add_test(tc, a_handler_may_start_a_task);
    tcase_add_test(tc, a_handler_may_keep_the_task_and_cannot_suspend);
    tc = case_new(suite, "meetings");
    tcase_add_test(tc, a_submission_cancelled_on_its_way_never_runs);
    tcase_add_test(tc, a_submission_detached_on_its_way_ends_with_the_loop);
    tcase_add_test(tc, a_task_begins_with_errno_zero);
    tcase_add_test(tc, a_slow_step_among_thousands_of_short_ones_is_reported);
    tcase_add_test(tc, a_slow_step_after_short_ones_is_reported_also_when_it_is_the_last);
    return suite_end(suite);
}
