/* SPDX-License-Identifier: MIT */
/* Signal handlers while a loop runs: on a stack of their own, which a coroutine's need not have
 * room for. */
#include "../support/support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LARGE_FRAME 20000

static volatile uintptr_t handler_frame;

static void
handle_with_a_large_frame(int signo)
{
    volatile char frame[LARGE_FRAME];

    (void) signo;
    for (size_t i = 0; i < sizeof frame; i += 512)
        frame[i] = 1;
    handler_frame = (uintptr_t) &frame[0];
}

static void
handler_install(void)
{
    struct sigaction action = {.sa_handler = handle_with_a_large_frame, .sa_flags = SA_ONSTACK};

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
}

static stack_t
present_stack(void)
{
    stack_t present;

    ck_assert_int_eq(sigaltstack(NULL, &present), 0);
    return present;
}

/* Sanitizers may give each thread one. */
static void
remove_stack(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    ck_assert_int_eq(sigaltstack(&none, NULL), 0);
}

static intptr_t
raise_on_a_small_stack(void *arg)
{
    volatile char here;

    (void) arg;
    handler_frame = 0;
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_uint_ne(handler_frame, 0);
    ck_assert_uint_gt((size_t) labs((long) (handler_frame - (uintptr_t) &here)), LARGE_FRAME);
    return 0;
}

static intptr_t
handles_in_a_small_task(void *arg)
{
    uco_task_options options = {.stack_size = under_sanitizer() ? 64 * 1024 : 16 * 1024};

    (void) arg;
    return uco_join(uco_create_task_with(&options, raise_on_a_small_stack, NULL));
}

START_TEST(a_handler_runs_beside_the_coroutines_stack)
{
    remove_stack();
    handler_install();
    ck_assert_int_eq(run_virtual(handles_in_a_small_task, NULL), 0);
    ck_assert_int_ne(present_stack().ss_flags & SS_DISABLE, 0);
}
END_TEST

static intptr_t
sees_the_threads_own(void *arg)
{
    ck_assert_ptr_eq(present_stack().ss_sp, arg);
    return 0;
}

START_TEST(a_stack_that_the_thread_has_already_stays)
{
    stack_t own = {.ss_size = 65536, .ss_sp = malloc(65536)};

    ck_assert_int_eq(sigaltstack(&own, NULL), 0);
    ck_assert_int_eq(run_virtual(sees_the_threads_own, own.ss_sp), 0);
    ck_assert_ptr_eq(present_stack().ss_sp, own.ss_sp);
    remove_stack();
    free(own.ss_sp);
}
END_TEST

static intptr_t
replaces_it(void *arg)
{
    ck_assert_int_eq(sigaltstack(arg, NULL), 0);
    return 0;
}

START_TEST(one_that_was_installed_meanwhile_is_not_taken_away)
{
    stack_t own = {.ss_size = 65536, .ss_sp = malloc(65536)};

    remove_stack();
    ck_assert_int_eq(run_virtual(replaces_it, &own), 0);
    ck_assert_ptr_eq(present_stack().ss_sp, own.ss_sp);
    remove_stack();
    free(own.ss_sp);
}
END_TEST

START_TEST(without_memory_for_it_the_loop_runs)
{
    uco_loop *loop = uco_loop_new(NULL);

    remove_stack();
    /* A first run takes what else is needed. */
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, (void *) 1), 1);
    uco_loop_close(loop);
    uco_loop_unref(loop);
    loop = uco_loop_new(NULL);
    ck_assert_int_eq(uco_test_fail("mmap", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, (void *) 2), 2);
    uco_test_fail_off();
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, (void *) 3), 3);
    uco_loop_close(loop);
    uco_loop_unref(loop);
    ck_assert_int_ne(present_stack().ss_flags & SS_DISABLE, 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("altstack");
    TCase *cases = case_new(suite, "handlers");

    tcase_add_test(cases, a_handler_runs_beside_the_coroutines_stack);
    tcase_add_test(cases, a_stack_that_the_thread_has_already_stays);
    tcase_add_test(cases, one_that_was_installed_meanwhile_is_not_taken_away);
    tcase_add_test(cases, without_memory_for_it_the_loop_runs);
    return suite_end(suite);
}
