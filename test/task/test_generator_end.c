/* SPDX-License-Identifier: MIT */

/*
 * Generators: how they are ended from outside, and what their callers do wrong.
 */

#include "generator_calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define assert_null(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

static intptr_t
next_in_task(void *arg)
{
    struct source *s = arg;
    void *value = NULL;
    int r = uco_generator_next(s->g, &value);

    return r == 1 ? (intptr_t) value : r;
}

static intptr_t
free_main(void *arg)
{
    struct source never = {.count = 1}, middle = {.count = -1, .clean_up = 1.0};
    struct source ended = {0}, sleeping = {.count = 1, .interval = 1.0};
    uco_generator *g = make(count_up, &never);

    (void) arg;
    uco_generator_free(NULL);
    uco_generator_free(g);
    ck_assert(!never.began);
    g = make(count_up, &middle);
    expect_value(g, 1);
    expect_value(g, 2);
    uco_generator_free(g);
    ck_assert(middle.ended);
    ck_assert_int_eq(middle.resumed, 1);
    assert_time(1.0);
    g = make(count_up, &ended);
    expect_end(g, 0);
    uco_generator_free(g);

    sleeping.g = make(count_up, &sleeping);
    uco_unref(uco_create_task(next_in_task, &sleeping));
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_generator_free(sleeping.g);
    ck_assert(sleeping.ended);
    ck_assert_int_eq(uco_test_settle(), 0);
    assert_time(1.0);
    return 0;
}

START_TEST(free_cancels_the_generator_and_waits_for_its_clean_up)
{
    run_in_all_orders(free_main, NULL);
}
END_TEST

static intptr_t
free_cancelled_main(void *arg)
{
    struct source s = {.count = -1, .clean_up = 1.0};
    uco_generator *g = make(count_up, &s);
    uco_scope scope;

    (void) arg;
    expect_value(g, 1);
    ck_assert_int_eq(uco_scope_open(&scope, 0.0), 0);
    ck_assert_int_eq(uco_generator_next(g, NULL), -ECANCELED);
    uco_generator_free(g);
    ck_assert(s.ended);
    ck_assert_int_eq(uco_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    return 0;
}

START_TEST(free_completes_in_a_cancelled_scope)
{
    run_in_all_orders(free_cancelled_main, NULL);
}
END_TEST

static intptr_t
freed_under_asker_main(void *arg)
{
    struct source s = {.count = 1, .interval = UCO_FOREVER, .clean_up = 1.0, .returns = -EIO};
    uco_task *asker;

    (void) arg;
    s.g = make(count_up, &s);
    asker = uco_create_task(next_in_task, &s);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_generator_free(s.g);
    assert_time(1.0);
    ck_assert_int_eq(uco_join(asker), -EIO);
    return 0;
}

START_TEST(who_asks_while_the_generator_is_freed_gets_its_result)
{
    run_in_all_orders(freed_under_asker_main, NULL);
}
END_TEST

static intptr_t
unasked_main(void *arg)
{
    struct reports *reports = arg;
    struct source s = {.count = -1, .returns = -EIO};
    uco_generator *g = make(count_up, &s);

    expect_value(g, 1);
    uco_generator_free(g);
    ck_assert_uint_eq(reports->count, 1);
    ck_assert_ptr_nonnull(strstr(reports->last, uco_strerror(-EIO)));
    s.count = 1;
    g = make(count_up, &s);
    expect_value(g, 1);
    expect_end(g, -EIO);
    uco_generator_free(g);
    ck_assert_uint_eq(reports->count, 1);
    return 0;
}

START_TEST(a_failure_that_no_next_has_returned_is_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, unasked_main, &reports), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static void
callback_free(void *arg)
{
    struct source *s = arg;

    ck_assert_int_eq(uco_generator_next(s->g, NULL), -EPERM);
    uco_generator_free(s->g);
}

static intptr_t
frees_itself(void *arg)
{
    struct source *s = arg;

    ck_assert_int_eq(uco_generator_yield(NUMBER(1)), 0);
    uco_generator_free(s->g);
    ck_assert_int_eq(uco_generator_yield(NUMBER(2)), -ECANCELED);
    clean_up(s);
    return -ECANCELED;
}

static intptr_t
free_outside_main(void *arg)
{
    struct source s = {.count = -1, .clean_up = 1.0}, itself = {.clean_up = 1.0};
    uco_task *asker;

    (void) arg;
    s.g = make(count_up, &s);
    expect_value(s.g, 1);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_free, &s), 0);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert(s.ended);

    itself.g = make(frees_itself, &itself);
    expect_value(itself.g, 1);
    asker = uco_create_task(next_in_task, &itself);
    ck_assert_int_eq(uco_join(asker), -ECANCELED);
    ck_assert(itself.ended);
    assert_time(3.0);
    return 0;
}

START_TEST(a_callback_and_the_generator_itself_can_free_it_without_waiting)
{
    run_in_all_orders(free_outside_main, NULL);
}
END_TEST

static intptr_t
freed_before_return(void *arg)
{
    struct source *s = arg;

    s->g = make(count_up, s);
    expect_value(s->g, 1);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_free, s), 0);
    return uco_yield() < 0 ? -EIO : uco_yield();
}

static intptr_t
freed_before_return_main(void *arg)
{
    struct source s = {.count = -1, .clean_up = 1.0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(freed_before_return, &s)), 0);
    ck_assert(s.ended);
    return 0;
}

START_TEST(a_generator_that_was_freed_and_still_cleans_up_was_not_left_open)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, freed_before_return_main, NULL), 0);
    ck_assert_str_eq(reports.all, "");
}
END_TEST

static int left_line;

static intptr_t
leaving_creator(void *arg)
{
    struct source *s = arg;

    left_line = __LINE__ + 1;
    s->g = uco_generator_new(count_up, s);
    if (s->count != 0)
        expect_value(s->g, 1);
    return 4;
}

static intptr_t
leaving_main(void *arg)
{
    const uco_task_options options = {.name = "leaver"};
    struct source *s = arg;

    ck_assert_int_eq(uco_join(uco_create_task_with(&options, leaving_creator, s)), 4);
    ck_assert_int_eq(s->ended, s->began);
    expect_end(s->g, s->returns != 0 ? (int) s->returns : -ECANCELED);
    if (s->count != 0) /* else the loop frees it */
        uco_generator_free(s->g);
    return 0;
}

/* In the middle, failing, and before its beginning. */
START_TEST(a_generator_left_open_ends_with_its_creator_and_is_reported_by_name_and_line)
{
    struct source sources[] = {{.count = -1, .clean_up = 1.0}, {.count = -1, .returns = -EIO}, {0}};
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char place[64];

    ck_assert_int_eq(uco_run_with(&options, leaving_main, &sources[_i]), 0);
    ck_assert_uint_eq(reports.count, 1);
    snprintf(place, sizeof place, "test_generator_end.c:%d", left_line);
    ck_assert_ptr_nonnull(strstr(reports.last, place));
    ck_assert_ptr_nonnull(strstr(reports.last, "'leaver'"));
}
END_TEST

static intptr_t
leave_while_asked(void *arg)
{
    struct source *s = arg;

    s->g = make(count_up, s);
    return uco_test_settle();
}

static intptr_t
left_under_asker_main(void *arg)
{
    struct source s = {.count = 1, .interval = UCO_FOREVER, .clean_up = 1.0};
    uco_task *creator =
        uco_create_task_with(&(uco_task_options){.eager = true}, leave_while_asked, &s);

    (void) arg;
    ck_assert_int_eq(uco_generator_next(s.g, NULL), -ECANCELED);
    ck_assert(!uco_cancelled());
    assert_time(1.0);
    uco_generator_free(s.g);
    return uco_join(creator);
}

START_TEST(who_asks_while_the_creator_returns_gets_the_generators_result)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, left_under_asker_main, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static void
callback_misuse(void *arg)
{
    assert_null(uco_generator_new(NULL, NULL), EINVAL); /* arguments first */
    assert_null(uco_generator_new(count_up, arg), EPERM);
    ck_assert_int_eq(uco_generator_next(NULL, NULL), -EPERM);
    ck_assert_int_eq(uco_generator_yield(NULL), -EPERM);
    uco_generator_free(NULL);
}

static intptr_t
misuse_main(void *arg)
{
    assert_null(uco_generator_new(NULL, NULL), EINVAL);
    ck_assert_int_eq(uco_generator_next(NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_misuse, arg), 0);
    return uco_test_settle();
}

START_TEST(bad_arguments_and_callers_are_refused)
{
    callback_misuse(NULL);
    ck_assert_int_eq(run_virtual(misuse_main, NULL), 0);
}
END_TEST

static intptr_t
other_loop_main(void *arg)
{
    ck_assert_int_eq(uco_generator_next(arg, NULL), -EPERM);
    uco_generator_free(arg);
    return 0;
}

static void *
other_thread(void *arg)
{
    ck_assert_int_eq(run_virtual(other_loop_main, arg), 0);
    uco_generator_free(arg);
    return NULL;
}

static intptr_t
other_thread_main(void *arg)
{
    struct source s = {.count = 2};
    uco_generator *g = make(count_up, &s);
    pthread_t thread;

    (void) arg;
    expect_value(g, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, g), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    expect_value(g, 2);
    uco_generator_free(g);
    return 0;
}

START_TEST(a_generator_is_refused_to_other_loops_and_threads)
{
    ck_assert_int_eq(run_virtual(other_thread_main, NULL), 0);
}
END_TEST

/* Whether it went well all the way. */
static bool
use_with_little_memory(const char *what, unsigned long nth, bool for_ever)
{
    struct source s = {.count = 1};
    uco_generator *g;
    int r;

    ck_assert_int_eq(uco_test_fail(what, nth, for_ever, ENOMEM), 0);
    errno = 0;
    g = uco_generator_new(count_up, &s);
    if (g == NULL)
        ck_assert_int_eq(errno, ENOMEM);
    r = g != NULL ? uco_generator_next(g, NULL) : -ENOMEM;
    uco_test_fail_off();
    ck_assert(r == 1 || r == -ENOMEM);
    ck_assert_int_eq(s.began, r == 1);
    if (g != NULL)
        expect_end(g, r == 1 ? 0 : -ENOMEM);
    uco_generator_free(g);
    return r == 1;
}

static intptr_t
no_memory_main(void *arg)
{
    unsigned long nth = 1;

    (void) arg;
    while (!use_with_little_memory("malloc", nth, false))
        nth++;
    return nth > 1 ? 0 : -EIO;
}

START_TEST(without_memory_there_is_no_generator_or_its_end_is_enomem)
{
    ck_assert_int_eq(run_virtual(no_memory_main, NULL), 0);
}
END_TEST

static intptr_t
no_stack_main(void *arg)
{
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
    for (;;) { /* until the stacks that there are have run out */
        task = uco_create_task(body_sleep_forever, NULL);
        ck_assert_int_eq(uco_test_settle(), 0);
        if (uco_done(task))
            break;
        uco_unref(task);
    }
    ck_assert_int_eq(uco_join(task), -ENOMEM);
    ck_assert(!use_with_little_memory("mmap", 1, true));
    return 0;
}

START_TEST(without_a_stack_the_end_is_enomem)
{
    ck_assert_int_eq(run_virtual(no_stack_main, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("generator end");
    TCase *end = case_new(suite, "end");
    TCase *misuse = case_new(suite, "misuse");

    unsetenv("UCO_DEBUG");
    tcase_add_test(end, free_cancels_the_generator_and_waits_for_its_clean_up);
    tcase_add_test(end, free_completes_in_a_cancelled_scope);
    tcase_add_test(end, who_asks_while_the_generator_is_freed_gets_its_result);
    tcase_add_test(end, a_failure_that_no_next_has_returned_is_reported);
    tcase_add_test(end, a_callback_and_the_generator_itself_can_free_it_without_waiting);
    tcase_add_test(end, a_generator_that_was_freed_and_still_cleans_up_was_not_left_open);
    tcase_add_loop_test(
        end, a_generator_left_open_ends_with_its_creator_and_is_reported_by_name_and_line, 0, 3);
    tcase_add_test(end, who_asks_while_the_creator_returns_gets_the_generators_result);
    tcase_add_test(misuse, bad_arguments_and_callers_are_refused);
    tcase_add_test(misuse, a_generator_is_refused_to_other_loops_and_threads);
    tcase_add_test(misuse, without_memory_there_is_no_generator_or_its_end_is_enomem);
    tcase_add_test(misuse, without_a_stack_the_end_is_enomem);
    return suite_end(suite);
}
