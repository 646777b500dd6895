/* SPDX-License-Identifier: MIT */
/*
 * setjmp() and longjmp(): within a coroutine they work, out of it they are found out.
 *
 * Compiled a second time with _FORTIFY_SOURCE (and TEST_FORTIFIED), where the C library looks at
 * where a jump goes: it finds out for itself what leaves a coroutine for a lower address.
 */
#include "death.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

/* --- within one coroutine --- */

struct jumper {
    sigjmp_buf place;
    int number;
};

static __attribute__((noreturn)) void
jump(struct jumper *jumper, int depth, int value)
{
    volatile char frame[256];

    frame[0] = (char) depth;
    ck_assert_int_eq(uco_yield(), 0);
    if (depth > 0)
        jump(jumper, depth - 1, value);
    ck_assert_int_eq(frame[0], (char) depth);
    siglongjmp(jumper->place, value);
}

/* It suspends between setjmp() and longjmp(), deeper down, and after it. */
static intptr_t
jumps(void *arg)
{
    struct jumper jumper = {.number = (int) (intptr_t) arg};
    volatile int rounds = 0;
    int value = sigsetjmp(jumper.place, 1);

    ck_assert_int_eq(value, rounds);
    ck_assert_int_eq(jumper.number, (intptr_t) arg);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    if (value < 4) {
        rounds = value + 1;
        jump(&jumper, 5, value + 1);
    }
    return jumper.number;
}

static intptr_t
several_jump(void *arg)
{
    uco_task *tasks[4];
    intptr_t results[COUNT(tasks)];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(jumps, (void *) (intptr_t) i);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), results), 0);
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(results[i], (intptr_t) i);
    uco_unref_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(a_coroutine_may_jump_up_its_own_stack)
{
    run_in_all_orders(several_jump, NULL);
}
END_TEST

START_TEST(a_coroutine_may_jump_in_debug_mode)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .debug = true};

    ck_assert_int_eq(uco_run_with(&options, several_jump, NULL), 0);
}
END_TEST

static __attribute__((noreturn)) void
jump_from_far_below(struct jumper *jumper, int depth)
{
    volatile char frame[1024];

    frame[0] = (char) depth;
    if (depth > 0)
        jump_from_far_below(jumper, depth - 1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    siglongjmp(jumper->place, frame[0] + 1);
}

/* Suspends near the top of its stack, and then near the bottom, and at the top again. */
static intptr_t
suspends_all_over_its_stack(void *arg)
{
    struct jumper jumper;

    (void) arg;
    ck_assert_int_eq(uco_sleep(1.0), 0);
    if (sigsetjmp(jumper.place, 0) == 0)
        jump_from_far_below(&jumper, 60);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return 5;
}

START_TEST(a_long_way_on_its_own_stack_is_no_way_out)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};

    for (int debug = 0; debug < 2; debug++) {
        options.debug = debug == 1;
        ck_assert_int_eq(uco_run_with(&options, suspends_all_over_its_stack, NULL), 5);
    }
}
END_TEST

#ifndef TEST_FORTIFIED

/* --- out of it --- */

static jmp_buf elsewhere;

static intptr_t
jumps_elsewhere(void *arg)
{
    (void) arg;
    longjmp(elsewhere, 1);
}

static intptr_t
creates_one_that_jumps(void *arg)
{
    uco_task_options options = {.name = "jumper"};

    return uco_join(uco_create_task_with(&options, jumps_elsewhere, arg));
}

static void
dies_running_another_loop(void *arg)
{
    if (setjmp(elsewhere) == 0)
        run_virtual(creates_one_that_jumps, arg);
    run_virtual(body_return, NULL);
}

START_TEST(who_has_jumped_out_of_the_loop_cannot_run_another)
{
    struct death death = death_of(dies_running_another_loop, NULL);

    assert_aborted(&death, "longjmp() has left a task");
    assert_aborted(&death, "(in task 'jumper')");
}
END_TEST

static void *
thread_main(void *arg)
{
    if (setjmp(elsewhere) == 0)
        run_virtual(creates_one_that_jumps, arg);
    return NULL;
}

static void
dies_with_the_thread(void *arg)
{
    pthread_t thread;

    pthread_create(&thread, NULL, thread_main, arg);
    pthread_join(thread, NULL);
}

START_TEST(a_thread_does_not_end_while_it_runs_a_loop)
{
    struct death death = death_of(dies_with_the_thread, NULL);

    assert_aborted(&death, "a thread has ended while it ran a loop");
    assert_aborted(&death, "(in task 'jumper')");
}
END_TEST

/* A place to jump to in a task that has suspended since. What it does when it goes on is the
 * argument's. */
static intptr_t
offers_a_place(void *arg)
{
    intptr_t (*go_on)(void) = *(intptr_t(**)(void)) arg;

    if (setjmp(elsewhere) == 0)
        return uco_sleep(5.0);
    return go_on();
}

static intptr_t
jumps_into_another(void *arg)
{
    uco_task_options options = {.name = "jumper"};
    uco_task *other = uco_create_task(offers_a_place, arg);

    uco_yield();
    return uco_join(uco_create_task_with(&options, jumps_elsewhere, NULL)) + uco_join(other);
}

static void
dies_in_another_task(void *arg)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};

    uco_run_with(&options, jumps_into_another, arg);
}

static void
dies_in_another_task_in_debug_mode(void *arg)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .debug = true};

    uco_run_with(&options, jumps_into_another, arg);
}

static intptr_t
just_returns(void)
{
    return 0;
}

static intptr_t
sleeps_a_second(void)
{
    return uco_sleep(1.0);
}

static intptr_t
yields(void)
{
    return uco_yield();
}

START_TEST(a_body_that_another_task_has_jumped_into_does_not_return)
{
    intptr_t (*go_on)(void) = just_returns;
    struct death death = death_of(dies_in_another_task, &go_on);

    assert_aborted(&death, "longjmp() has left a task");
    assert_aborted(&death, "(in task 'jumper')");
}
END_TEST

START_TEST(a_body_that_another_task_has_jumped_into_does_not_suspend)
{
    intptr_t (*go_on)(void) = sleeps_a_second;
    struct death death = death_of(dies_in_another_task, &go_on);

    assert_aborted(&death, "longjmp() has left a task");
    assert_aborted(&death, "(in task 'jumper')");
}
END_TEST

/* Each switch is looked at: also one to the next that is ready. */
START_TEST(in_debug_mode_it_does_not_even_yield)
{
    intptr_t (*go_on)(void) = yields;
    struct death death = death_of(dies_in_another_task_in_debug_mode, &go_on);

    assert_aborted(&death, "longjmp() has left a task");
    assert_aborted(&death, "(in task 'jumper')");
}
END_TEST

static void
callback_jumps(void *arg)
{
    (void) arg;
    longjmp(elsewhere, 1);
}

static intptr_t
lets_a_callback_jump_into_a_task(void *arg)
{
    uco_task *other = uco_create_task(offers_a_place, arg);

    uco_yield();
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_jumps, NULL), 0);
    return uco_join(other);
}

static void
dies_after_a_callback(void *arg)
{
    run_virtual(lets_a_callback_jump_into_a_task, arg);
}

START_TEST(a_callback_that_has_jumped_into_a_task_is_found_out)
{
    intptr_t (*go_on)(void) = just_returns;
    struct death death = death_of(dies_after_a_callback, &go_on);

    assert_aborted(&death, "longjmp() has left a task or a callback");
}
END_TEST

static void
callback_starts_a_task_that_jumps_back(void *arg)
{
    uco_task_options options = {.name = "jumper", .eager = true};

    (void) arg;
    if (setjmp(elsewhere) == 0)
        uco_detach(uco_create_task_with(&options, jumps_elsewhere, NULL));
}

static intptr_t
queues_such_a_callback(void *arg)
{
    ck_assert_int_eq(
        uco_loop_call_soon(uco_get_running_loop(), callback_starts_a_task_that_jumps_back, arg), 0);
    return uco_sleep(1.0);
}

static void
dies_in_a_callback(void *arg)
{
    run_virtual(queues_such_a_callback, arg);
}

START_TEST(an_eager_task_does_not_jump_back_to_the_callback_that_created_it)
{
    struct death death = death_of(dies_in_a_callback, NULL);

    assert_aborted(&death, "longjmp() has left a task");
    assert_aborted(&death, "(in task 'jumper')");
}
END_TEST

#endif

int
main(void)
{
    Suite *suite = suite_create("longjmp");
    TCase *tcase = case_new(suite, "inside");

    tcase_add_test(tcase, a_coroutine_may_jump_up_its_own_stack);
    tcase_add_test(tcase, a_coroutine_may_jump_in_debug_mode);
    tcase_add_test(tcase, a_long_way_on_its_own_stack_is_no_way_out);

#ifndef TEST_FORTIFIED
    if (!TEST_TSAN) {
        tcase = case_new(suite, "outside");
        tcase_add_test(tcase, who_has_jumped_out_of_the_loop_cannot_run_another);
        tcase_add_test(tcase, a_thread_does_not_end_while_it_runs_a_loop);
        tcase_add_test(tcase, a_body_that_another_task_has_jumped_into_does_not_return);
        tcase_add_test(tcase, a_body_that_another_task_has_jumped_into_does_not_suspend);
        tcase_add_test(tcase, in_debug_mode_it_does_not_even_yield);
        tcase_add_test(tcase, a_callback_that_has_jumped_into_a_task_is_found_out);
        tcase_add_test(tcase, an_eager_task_does_not_jump_back_to_the_callback_that_created_it);
    }
#endif
    return suite_end(suite);
}
