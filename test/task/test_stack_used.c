/* SPDX-License-Identifier: MIT */
/* How much of their stacks tasks use, in debug mode: asked for, counted, and reported when it is
 * nearly all. */
#include "../support/support.h"

#include "core/sanitizer.h"

#include <stdlib.h>
#include <string.h>

#define KIB ((size_t) 1024)
#define SIZE (64 * KIB)
#define SIZE_THERE (SIZE * UCO__SANITIZER_STACK_FACTOR)
/* What a body needs beside what it is told to use: its frames, those around it, and the dynamic
 * linker's when it calls something for the first time. */
#define AROUND (12 * KIB * UCO__SANITIZER_STACK_FACTOR)
#define NOINLINE __attribute__((noinline))

static struct reports reports;

static intptr_t
run_debug(uco_fn *fn, void *arg)
{
    uco_loop_options options = reporting(&reports);

    options.debug = true;
    return uco_run_with(&options, fn, arg);
}

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

/* AddressSanitizer may keep variables elsewhere: so it goes by the frames alone. */
static NOINLINE int
go_down(uintptr_t from, size_t bytes)
{
    volatile char frame[64];

    frame[0] = 1;
    if (from - (uintptr_t) __builtin_frame_address(0) < bytes)
        return go_down(from, bytes) + frame[0];
    return frame[0];
}

/* Uses about so many bytes. */
static NOINLINE void
use(size_t bytes)
{
    go_down((uintptr_t) __builtin_frame_address(0), bytes);
}

static intptr_t
uses(void *bytes)
{
    use((size_t) bytes);
    return (intptr_t) uco_task_stack_used(uco_current_task());
}

static uco_task *
create(uco_fn *fn, size_t bytes)
{
    const uco_task_options options = {.name = "deep", .stack_size = SIZE};

    return uco_create_task_with(&options, fn, (void *) bytes);
}

static void
check_used(intptr_t used, size_t bytes)
{
    ck_assert_int_ge(used, (intptr_t) bytes);
    ck_assert_int_le(used, (intptr_t) (bytes + AROUND));
}

/* --- one task --- */

static intptr_t
looks_at_itself(void *arg)
{
    size_t before = uco_task_stack_used(uco_current_task());

    (void) arg;
    check_used((intptr_t) before, 1);
    use(20 * KIB);
    check_used((intptr_t) uco_task_stack_used(uco_current_task()), 20 * KIB);
    /* It is the deepest so far, and not what is used now. */
    use(10 * KIB);
    check_used((intptr_t) uco_task_stack_used(uco_current_task()), 20 * KIB);
    use(40 * KIB);
    check_used((intptr_t) uco_task_stack_used(uco_current_task()), 40 * KIB);
    return 0;
}

START_TEST(a_task_sees_how_deep_it_has_been)
{
    ck_assert_int_eq(run_debug(looks_at_itself, NULL), 0);
}
END_TEST

static intptr_t
uses_and_sleeps(void *bytes)
{
    use((size_t) bytes);
    return uco_sleep(1.0);
}

static intptr_t
looks_at_another(void *arg)
{
    uco_task *task = create(uses_and_sleeps, 30 * KIB);

    (void) arg;
    ck_assert_uint_eq(uco_task_stack_used(task), 0); /* it has not begun */
    ck_assert_int_eq(uco_test_settle(), 0);
    check_used((intptr_t) uco_task_stack_used(task), 30 * KIB);
    ck_assert_uint_eq(stats_here().stack_high_water, uco_task_stack_used(task));
    ck_assert_int_eq(uco_await(task), 0);
    ck_assert_uint_eq(uco_task_stack_used(task), 0); /* it has ended */
    uco_unref(task);
    return 0;
}

START_TEST(others_see_it_while_it_waits)
{
    ck_assert_int_eq(run_debug(looks_at_another, NULL), 0);
}
END_TEST

/* Each on the stack that the one before has used. */
static intptr_t
uses_one_stack_again(void *arg)
{
    static const size_t depths[] = {50 * KIB, 8 * KIB, 30 * KIB, 0, 12 * KIB};
    uint64_t stacks = 0;

    (void) arg;
    for (size_t i = 0; i < COUNT(depths); i++) {
        check_used(uco_join(create(uses, depths[i])), depths[i]);
        if (i == 0)
            stacks = stats_here().stacks;
        ck_assert_uint_eq(stats_here().stacks, stacks);
    }
    return 0;
}

START_TEST(what_a_task_before_has_used_is_not_counted)
{
    ck_assert_int_eq(run_debug(uses_one_stack_again, NULL), 0);
}
END_TEST

static intptr_t
looks_outside_debug_mode(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_join(create(uses, 30 * KIB)), 0);
    ck_assert_uint_eq(stats_here().stack_high_water, 0);
    return 0;
}

START_TEST(outside_debug_mode_nobody_knows)
{
    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(run_virtual(looks_outside_debug_mode, NULL), 0);
}
END_TEST

static intptr_t
looks_at_what_is_no_task(void *arg)
{
    uco_future *future = uco_future_new();

    (void) arg;
    ck_assert_uint_eq(uco_task_stack_used(NULL), 0);
    ck_assert_uint_eq(uco_task_stack_used(future), 0);
    uco_unref(future);
    return 0;
}

START_TEST(what_is_no_task_uses_no_stack)
{
    unsetenv("UCO_DEBUG"); /* it is misuse */
    ck_assert_int_eq(run_virtual(looks_at_what_is_no_task, NULL), 0);
}
END_TEST

static intptr_t
looks_from_a_thread(void *task)
{
    return (intptr_t) uco_task_stack_used(task);
}

static intptr_t
has_a_thread_look(void *arg)
{
    (void) arg;
    return uco_to_thread(looks_from_a_thread, uco_current_task());
}

START_TEST(another_thread_is_told_nothing)
{
    uco_loop_options options = reporting(&reports);

    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(uco_run_with(&options, has_a_thread_look, NULL), 0);
}
END_TEST

/* --- all tasks --- */

static intptr_t
sees_the_deepest(void *arg)
{
    (void) arg;
    ck_assert_int_ge(uco_join(create(uses, 20 * KIB)), 0);
    check_used((intptr_t) stats_here().stack_high_water, 20 * KIB);
    ck_assert_int_ge(uco_join(create(uses, 40 * KIB)), 0);
    check_used((intptr_t) stats_here().stack_high_water, 40 * KIB);
    ck_assert_int_ge(uco_join(create(uses, 10 * KIB)), 0);
    check_used((intptr_t) stats_here().stack_high_water, 40 * KIB);
    return 0;
}

START_TEST(the_loop_knows_the_deepest_of_its_tasks)
{
    ck_assert_int_eq(run_debug(sees_the_deepest, NULL), 0);
}
END_TEST

static intptr_t
sees_the_size(void *size)
{
    ck_assert_uint_eq(stats_here().stack_size, (size_t) size * UCO__SANITIZER_STACK_FACTOR);
    return 0;
}

START_TEST(the_loop_tells_what_size_its_stacks_are)
{
    const uco_loop_options options = {.stack_size = SIZE - 1};

    ck_assert_int_eq(uco_run_with(&options, sees_the_size, (void *) SIZE), 0);
    ck_assert_int_eq(run_virtual(sees_the_size, (void *) (120 * KIB)), 0);
}
END_TEST

/* --- reports --- */

static intptr_t
uses_nearly_all(void *arg)
{
    (void) arg;
    use(SIZE_THERE - SIZE_THERE / 8 + KIB);
    return 0;
}

static intptr_t
uses_much(void *arg)
{
    (void) arg;
    use(SIZE_THERE - SIZE_THERE / 8 - AROUND - KIB);
    return 0;
}

static intptr_t
uses_nearly_all_too(void *arg)
{
    return uses_nearly_all(arg) + 1;
}

static intptr_t
starts_deep_ones(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_join(create(uses_much, 0)), 0);
    ck_assert_uint_eq(reports.count, 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_join(create(uses_nearly_all, 0)), 0);
        ck_assert_uint_eq(reports.count, 1);
    }
    ck_assert_ptr_nonnull(strstr(reports.last, "task 'deep' (created at "));
    ck_assert_ptr_nonnull(strstr(reports.last, "stack_size in uco_task_options"));
    ck_assert_int_eq(uco_join(create(uses_nearly_all_too, 0)), 1);
    ck_assert_uint_eq(reports.count, 2);
    return 0;
}

START_TEST(a_task_that_was_close_to_an_overflow_is_reported_once_for_its_function)
{
    ck_assert_int_eq(run_debug(starts_deep_ones, NULL), 0);
}
END_TEST

static intptr_t
starts_deep_ones_without_memory(void *arg)
{
    (void) arg;
    for (unsigned i = 1; i <= 2; i++) {
        uco_task *task = create(uses_nearly_all, 0);

        ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
        ck_assert_int_eq(uco_join(task), 0);
        uco_test_fail_off();
        ck_assert_uint_eq(reports.count, i);
    }
    ck_assert_int_eq(uco_join(create(uses_nearly_all, 0)), 0);
    ck_assert_uint_eq(reports.count, 3);
    ck_assert_int_eq(uco_join(create(uses_nearly_all, 0)), 0);
    ck_assert_uint_eq(reports.count, 3);
    return 0;
}

START_TEST(without_memory_to_remember_it_is_reported_again)
{
    ck_assert_int_eq(run_debug(starts_deep_ones_without_memory, NULL), 0);
}
END_TEST

static intptr_t
starts_one_too_deep_outside_debug_mode(void *arg)
{
    (void) arg;
    return uco_join(create(uses_nearly_all, 0));
}

START_TEST(outside_debug_mode_nothing_is_reported)
{
    uco_loop_options options = reporting(&reports);

    unsetenv("UCO_DEBUG");
    ck_assert_int_eq(uco_run_with(&options, starts_one_too_deep_outside_debug_mode, NULL), 0);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stack used");
    TCase *tc = case_new(suite, "tasks");

    tcase_add_test(tc, a_task_sees_how_deep_it_has_been);
    tcase_add_test(tc, others_see_it_while_it_waits);
    tcase_add_test(tc, what_a_task_before_has_used_is_not_counted);
    tcase_add_test(tc, outside_debug_mode_nobody_knows);
    tcase_add_test(tc, what_is_no_task_uses_no_stack);
    tcase_add_test(tc, another_thread_is_told_nothing);

    tc = case_new(suite, "loops");
    tcase_add_test(tc, the_loop_knows_the_deepest_of_its_tasks);
    tcase_add_test(tc, the_loop_tells_what_size_its_stacks_are);

    tc = case_new(suite, "reports");
    tcase_add_test(tc, a_task_that_was_close_to_an_overflow_is_reported_once_for_its_function);
    tcase_add_test(tc, without_memory_to_remember_it_is_reported_again);
    tcase_add_test(tc, outside_debug_mode_nothing_is_reported);
    return suite_end(suite);
}
