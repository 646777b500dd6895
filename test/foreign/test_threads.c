/* SPDX-License-Identifier: MIT */
/* A thread that is to end while it runs a loop: pthread_exit(), pthread_cancel(). */
#include "death.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static intptr_t
body_exits(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_yield(), 0);
    pthread_exit(NULL);
}

static intptr_t
creates_one_that_exits(void *arg)
{
    uco_task_options options = {.name = "quitter"};

    return uco_join(uco_create_task_with(&options, body_exits, arg));
}

static void
dies_in_a_task(void *arg)
{
    run_virtual(creates_one_that_exits, arg);
}

START_TEST(pthread_exit_in_a_task_aborts_and_names_it)
{
    struct death death = death_of(dies_in_a_task, NULL);

    assert_aborted(&death, "the thread that runs the loop is about to end");
    assert_aborted(&death, "(in task 'quitter')");
}
END_TEST

static void *
thread_runs_it(void *arg)
{
    dies_in_a_task(arg);
    return NULL;
}

static void
dies_in_a_thread(void *arg)
{
    pthread_t thread;

    pthread_create(&thread, NULL, thread_runs_it, arg);
    pthread_join(thread, NULL);
}

START_TEST(pthread_exit_in_a_task_of_another_thread_aborts_too)
{
    struct death death = death_of(dies_in_a_thread, NULL);

    assert_aborted(&death, "the thread that runs the loop is about to end");
    assert_aborted(&death, "(in task 'quitter')");
}
END_TEST

static void
callback_exits(void *arg)
{
    (void) arg;
    pthread_exit(NULL);
}

static intptr_t
queues_one_that_exits(void *arg)
{
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_exits, arg), 0);
    return uco_sleep(1.0);
}

static void
dies_in_a_callback(void *arg)
{
    run_virtual(queues_one_that_exits, arg);
}

START_TEST(pthread_exit_in_a_callback_aborts)
{
    struct death death = death_of(dies_in_a_callback, NULL);

    assert_aborted(&death, "the thread that runs the loop is about to end");
}
END_TEST

/* --- pthread_cancel --- */

static atomic_bool came_through;

static intptr_t
survives_a_cancellation(void *arg)
{
    pthread_t *self = arg;

    ck_assert_int_eq(pthread_cancel(*self), 0);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    pthread_testcancel();
    atomic_store(&came_through, true);
    return 0;
}

static void *
thread_is_cancelled_in_its_loop(void *arg)
{
    pthread_t self = pthread_self();

    (void) arg;
    run_virtual(survives_a_cancellation, &self);
    pthread_testcancel();
    return NULL;
}

START_TEST(a_cancelled_thread_ends_when_it_has_left_the_loop)
{
    pthread_t thread;
    void *result;

    ck_assert_int_eq(pthread_create(&thread, NULL, thread_is_cancelled_in_its_loop, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert(atomic_load(&came_through));
    ck_assert_ptr_eq(result, PTHREAD_CANCELED);
}
END_TEST

static intptr_t
lets_the_cancellation_through(void *arg)
{
    pthread_t *self = arg;

    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cancel(*self);
    pthread_testcancel();
    return 0;
}

static void
dies_of_a_cancellation(void *arg)
{
    pthread_t self = pthread_self();

    (void) arg;
    run_virtual(lets_the_cancellation_through, &self);
}

START_TEST(a_cancellation_that_a_task_lets_through_aborts)
{
    struct death death = death_of(dies_of_a_cancellation, NULL);

    assert_aborted(&death, "the thread that runs the loop is about to end");
    assert_aborted(&death, "(in task '");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tcase = case_new(suite, "pthread_cancel");

    tcase_add_test(tcase, a_cancelled_thread_ends_when_it_has_left_the_loop);
    if (!TEST_TSAN) {
        tcase_add_test(tcase, a_cancellation_that_a_task_lets_through_aborts);

        tcase = case_new(suite, "pthread_exit");
        tcase_add_test(tcase, pthread_exit_in_a_task_aborts_and_names_it);
        tcase_add_test(tcase, pthread_exit_in_a_task_of_another_thread_aborts_too);
        tcase_add_test(tcase, pthread_exit_in_a_callback_aborts);
    }
    return suite_end(suite);
}
