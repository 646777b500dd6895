/* SPDX-License-Identifier: MIT */

/*
 * What callers of queues do wrong: each gets the error that the header names, and nothing is lost.
 */

#include "sync/queue_calls.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define assert_null(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

/* --- making one --- */

START_TEST(a_queue_of_nothing_is_not_made)
{
    assert_null(uco_queue_new(0, 1), EINVAL);
    assert_null(uco_queue_new(0, 0), EINVAL);
    assert_null(uco_queue_new_lifo(0, 1), EINVAL);
    assert_null(uco_queue_new_priority(0, 1, compare_ints), EINVAL);
    assert_null(uco_queue_new_priority(sizeof(int), 1, NULL), EINVAL);
}
END_TEST

START_TEST(a_queue_whose_bytes_cannot_be_counted_is_not_made)
{
    static const size_t sizes[][2] = {
        {SIZE_MAX, 2},
        {2, SIZE_MAX},
        {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 3 + 1, 3},
        {(size_t) 1 << 32, (size_t) 1 << 32},
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX, 0},
    };

    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t item = sizes[i][0], capacity = sizes[i][1];

        assert_null(uco_queue_new(item, capacity), ENOMEM);
        assert_null(uco_queue_new_lifo(item, capacity), ENOMEM);
        assert_null(uco_queue_new_priority(item, capacity, compare_ints), ENOMEM);
    }
}
END_TEST

/* --- NULL --- */

static intptr_t
null_main(void *arg)
{
    uco_queue *q = queue_of_ints(1);
    int item = 7;

    (void) arg;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_queue_put(NULL, &item), -EINVAL);
        ck_assert_int_eq(uco_queue_put(q, NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_get(NULL, &item), -EINVAL);
        ck_assert_int_eq(uco_queue_get(q, NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_put_nowait(NULL, &item), -EINVAL);
        ck_assert_int_eq(uco_queue_put_nowait(q, NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_get_nowait(NULL, &item), -EINVAL);
        ck_assert_int_eq(uco_queue_get_nowait(q, NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_put_threadsafe(NULL, &item), -EINVAL);
        ck_assert_int_eq(uco_queue_put_threadsafe(q, NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_join(NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_task_done(NULL), -EINVAL);
        ck_assert_int_eq(uco_queue_shutdown(NULL, true), -EINVAL);
        ck_assert_uint_eq(uco_queue_size(NULL), 0);
        ck_assert_uint_eq(uco_queue_size(q), (size_t) i);
        uco_queue_free(NULL);
        if (i == 0)
            put_now(q, 1);
    }
    get_now(q, 1);
    uco_queue_free(q);
    return 0;
}

START_TEST(null_is_refused_and_changes_nothing)
{
    run_in_all_orders(null_main, NULL);
}
END_TEST

/* --- the wrong place --- */

/* Suspending calls, which would all succeed at once in a coroutine; the caller comes first. */
static void
suspend_nowhere(void *queue)
{
    int item = 7;

    ck_assert_int_eq(uco_queue_put(queue, &item), -EPERM);
    ck_assert_int_eq(uco_queue_get(queue, &item), -EPERM);
    ck_assert_int_eq(uco_queue_put(NULL, NULL), -EPERM);
    ck_assert_int_eq(uco_queue_get(queue, NULL), -EPERM);
    ck_assert_int_eq(uco_queue_join(queue), -EPERM);
    ck_assert_int_eq(uco_queue_join(NULL), -EPERM);
    ck_assert_int_eq(item, 7);
}

/* Whatever may not be done from elsewhere; arguments come first where it does not suspend. */
static void
use_from_elsewhere(void *queue)
{
    int item = 7;

    ck_assert_int_eq(uco_queue_put_nowait(queue, &item), -EPERM);
    ck_assert_int_eq(uco_queue_get_nowait(queue, &item), -EPERM);
    ck_assert_int_eq(uco_queue_put_nowait(queue, NULL), -EINVAL);
    ck_assert_int_eq(uco_queue_get_nowait(NULL, &item), -EINVAL);
    ck_assert_int_eq(uco_queue_task_done(queue), -EPERM);
    ck_assert_int_eq(uco_queue_shutdown(queue, true), -EPERM);
    uco_queue_free(queue);
    ck_assert_int_eq(item, 7);
}

/* It holds two of three, and one more that is to be done. */
static uco_queue *
queue_in_use(void)
{
    uco_queue *q = queue_of_ints(3);

    for (int i = 0; i < 3; i++)
        put_now(q, i);
    get_now(q, 0);
    return q;
}

static void
check_in_use(uco_queue *q)
{
    ck_assert_uint_eq(uco_queue_size(q), 2);
    get_now(q, 1);
    get_now(q, 2);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_queue_task_done(q), 0);
    ck_assert_int_eq(uco_queue_task_done(q), -EINVAL);
    put_now(q, 3);
    uco_queue_free(q);
}

static intptr_t
callbacks_main(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    uco_future *future = uco_future_new();
    uco_queue *q = queue_in_use();

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(loop, suspend_nowhere, q), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 1.0, suspend_nowhere, q), 0);
    ck_assert_int_eq(uco_add_done_callback(future, suspend_nowhere, q), 0);
    ck_assert_int_eq(uco_future_set_result(future, 0), 0);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    uco_unref(future);
    check_in_use(q);
    return 0;
}

START_TEST(no_call_suspends_in_a_callback_or_outside_of_a_loop)
{
    uco_queue *q = queue_in_use();

    suspend_nowhere(q);
    check_in_use(q);
    run_in_all_orders(callbacks_main, NULL);
}
END_TEST

static void *
elsewhere(void *queue)
{
    suspend_nowhere(queue);
    use_from_elsewhere(queue);
    return NULL;
}

static intptr_t
foreign_thread_main(void *arg)
{
    uco_queue *q = queue_in_use();

    (void) arg;
    thread_ends(thread_start(elsewhere, q));
    check_in_use(q);
    return 0;
}

START_TEST(another_thread_can_only_put_threadsafe)
{
    ck_assert_int_eq(run_virtual(foreign_thread_main, NULL), 0);
}
END_TEST

static intptr_t
use_from_other_loop(void *queue)
{
    int item = 7;

    ck_assert_int_eq(uco_queue_put(queue, &item), -EPERM);
    ck_assert_int_eq(uco_queue_get(queue, &item), -EPERM);
    ck_assert_int_eq(uco_queue_join(queue), -EPERM);
    use_from_elsewhere(queue);
    return 0;
}

static void *
run_other_loop(void *queue)
{
    ck_assert_int_eq(run_virtual(use_from_other_loop, queue), 0);
    return NULL;
}

static intptr_t
other_loop_main(void *arg)
{
    uco_queue *q = queue_in_use();

    (void) arg;
    thread_ends(thread_start(run_other_loop, q));
    check_in_use(q);
    return 0;
}

static intptr_t
make_in_loop(void *arg)
{
    *(uco_queue **) arg = queue_in_use();
    return 0;
}

/* While its own loop runs in another thread, and when it has closed. */
START_TEST(a_task_of_another_loop_is_refused)
{
    uco_queue *q = NULL;

    ck_assert_int_eq(run_virtual(other_loop_main, NULL), 0);
    ck_assert_int_eq(run_virtual(make_in_loop, &q), 0);
    run_in_all_orders(use_from_other_loop, q);
    check_in_use(q);
}
END_TEST

static intptr_t
make_only(void *arg)
{
    *(uco_queue **) arg = queue_of_ints(1);
    return 0;
}

START_TEST(a_queue_belongs_to_the_loop_that_it_was_made_in)
{
    uco_queue *q = NULL;

    ck_assert_int_eq(run_virtual(make_only, &q), 0);
    run_in_all_orders(use_from_other_loop, q);
    put_now(q, 1);
    uco_queue_free(q);
}
END_TEST

static intptr_t
elsewhere_and_cancelled_main(void *queue)
{
    uco_scope s;

    ck_assert_int_eq(uco_scope_open(&s, 0), 0);
    use_from_other_loop(queue);
    ck_assert_int_eq(uco_queue_get(queue, NULL), -EINVAL);
    return uco_scope_close(&s, 0);
}

START_TEST(bad_use_comes_before_the_cancellation)
{
    uco_queue *q = NULL;

    ck_assert_int_eq(run_virtual(make_in_loop, &q), 0);
    run_in_all_orders(elsewhere_and_cancelled_main, q);
    check_in_use(q);
}
END_TEST

static int
compare_and_suspend(const void *a, const void *b)
{
    ck_assert_int_eq(uco_yield(), -EPERM);
    ck_assert_int_eq(uco_sleep(1.0), -EPERM);
    ck_assert_ptr_null(uco_current_task());
    return compare_ints(a, b);
}

static intptr_t
compare_main(void *arg)
{
    uco_queue *q = uco_queue_new_priority(sizeof(int), 0, compare_and_suspend);
    uco_task *self = uco_current_task();
    int item;

    (void) arg;
    for (int i = 9; i >= 0; i--) {
        ck_assert_int_eq(uco_queue_put(q, &i), 0);
        ck_assert_ptr_eq(uco_current_task(), self);
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(uco_queue_get(q, &item), 0);
        ck_assert_int_eq(item, i);
        ck_assert_int_eq(uco_yield(), 0);
    }
    uco_queue_free(q);
    return 0;
}

START_TEST(a_comparison_cannot_suspend)
{
    run_in_all_orders(compare_main, NULL);
}
END_TEST

/* Nothing of Check's may be used in the child. */
static int
first_not_stale(uco_queue *q)
{
    int item = 7;
    uco_select_case get = {.queue = q, .op = UCO_SELECT_GET, .item = &item};
    const intptr_t results[] = {
        uco_queue_put(q, &item),
        uco_queue_get(q, &item),
        uco_queue_put_nowait(q, &item),
        uco_queue_get_nowait(q, &item),
        uco_queue_put_threadsafe(q, &item),
        uco_queue_join(q),
        uco_queue_task_done(q),
        uco_queue_shutdown(q, true),
        uco_select(&get, 1, 0),
    };

    uco_queue_free(q);
    for (size_t i = 0; i < COUNT(results); i++)
        if (results[i] != -ESTALE)
            return (int) i + 1;
    return 0;
}

static intptr_t
fork_main(void *arg)
{
    uco_queue *q = queue_in_use();
    int status;
    pid_t pid = fork();

    (void) arg;
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(first_not_stale(q));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    check_in_use(q);
    return 0;
}

START_TEST(in_a_forked_child_the_queue_is_stale)
{
    ck_assert_int_eq(run_virtual(fork_main, NULL), 0);
}
END_TEST

/* --- in debug mode --- */

static void *
free_elsewhere(void *queue)
{
    setenv("UCO_DEBUG", "1", 1);
    uco_queue_free(queue);
    return NULL;
}

static intptr_t
debug_free_main(void *arg)
{
    (void) arg;
    thread_ends(thread_start(free_elsewhere, queue_in_use()));
    return 0;
}

START_TEST(in_debug_mode_freeing_a_queue_elsewhere_aborts)
{
    run_virtual(debug_free_main, NULL);
}
END_TEST

START_TEST(in_debug_mode_too_many_task_done_abort)
{
    setenv("UCO_DEBUG", "1", 1);
    uco_queue_task_done(queue_of_ints(1));
}
END_TEST

static void
add_making(Suite *suite)
{
    TCase *tc = case_new(suite, "making");

    tcase_add_test(tc, a_queue_of_nothing_is_not_made);
    tcase_add_test(tc, a_queue_whose_bytes_cannot_be_counted_is_not_made);
}

static void
add_misuse(Suite *suite)
{
    TCase *tc = case_new(suite, "misuse");

    tcase_add_test(tc, null_is_refused_and_changes_nothing);
    tcase_add_test(tc, no_call_suspends_in_a_callback_or_outside_of_a_loop);
    tcase_add_test(tc, another_thread_can_only_put_threadsafe);
    tcase_add_test(tc, a_task_of_another_loop_is_refused);
    tcase_add_test(tc, a_queue_belongs_to_the_loop_that_it_was_made_in);
    tcase_add_test(tc, bad_use_comes_before_the_cancellation);
    tcase_add_test(tc, a_comparison_cannot_suspend);
    tcase_add_test(tc, in_a_forked_child_the_queue_is_stale);
    tcase_add_test_raise_signal(tc, in_debug_mode_freeing_a_queue_elsewhere_aborts, SIGABRT);
    tcase_add_test_raise_signal(tc, in_debug_mode_too_many_task_done_abort, SIGABRT);
}

int
main(void)
{
    Suite *suite = suite_create("queue misuse");

    add_making(suite);
    add_misuse(suite);
    return suite_end(suite);
}
