/* SPDX-License-Identifier: MIT */

/*
 * Groups: what their callers do wrong, and no memory. Each gets the error that the header names,
 * and nothing changes.
 */

#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define NUMBER(n) ((void *) (intptr_t) (n))

#define assert_null(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

static uco_group *
make_group(void)
{
    uco_group *g = uco_group_new();

    ck_assert_ptr_nonnull(g);
    return g;
}

static uco_task *
add(uco_group *g, uco_fn *fn, void *arg)
{
    uco_task *task = uco_group_create_task(g, fn, arg);

    ck_assert_ptr_nonnull(task);
    return task;
}

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static void
discard_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a discard that must not run has run");
}

static void
discard_count(void *arg)
{
    ++*(int *) arg;
}

/* Where there is no coroutine. */
static void
callback_use(void *arg)
{
    bool *used = arg;

    assert_null(uco_group_new(), EPERM);
    assert_null((uco_group_new) (), EPERM);
    ck_assert_int_eq(uco_group_wait(NULL), -EPERM);
    uco_group_free(NULL);
    *used = true;
}

static intptr_t
callback_main(void *arg)
{
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_use, arg), 0);
    return uco_test_settle();
}

/* T14: neither in a callback nor outside of a loop. */
START_TEST(only_a_coroutine_makes_and_waits_for_groups)
{
    bool used = false;

    callback_use(&used);
    ck_assert(used);
    used = false;
    ck_assert_int_eq(run_virtual(callback_main, &used), 0);
    ck_assert(used);
}
END_TEST

static intptr_t
arguments_main(void *arg)
{
    uco_task_options options = {.stack_size = 1, .discard = discard_never};
    uco_group *g = make_group();

    (void) arg;
    ck_assert_int_eq(uco_group_wait(NULL), -EINVAL);
    ck_assert_int_eq(uco_group_cancel(NULL), -EINVAL);
    assert_null(uco_group_create_task(NULL, body_never, NULL), EINVAL);
    assert_null((uco_group_create_task) (NULL, body_never, NULL), EINVAL);
    assert_null((uco_group_create_task_with) (NULL, NULL, body_never, NULL), EINVAL);
    assert_null(uco_group_create_task(g, NULL, NULL), EINVAL);
    assert_null(uco_group_create_task_with(g, &options, body_never, NULL), EINVAL);
    options.stack_size = (size_t) 2 << 30;
    assert_null(uco_group_create_task_with(g, &options, body_never, NULL), EINVAL);
    ck_assert_ptr_nonnull((uco_group_create_task) (g, body_return, NULL));
    ck_assert_ptr_nonnull((uco_group_create_task_with) (g, NULL, body_return, NULL));
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

START_TEST(bad_arguments_are_refused_and_change_nothing)
{
    ck_assert_int_eq(run_virtual(arguments_main, NULL), 0);
}
END_TEST

static intptr_t
member_misuses(void *arg)
{
    ck_assert_int_eq(uco_group_wait(arg), -EPERM);
    uco_group_free(arg);
    return 5;
}

static void
callback_misuses(void *arg)
{
    ck_assert_int_eq(uco_group_wait(arg), -EPERM);
    uco_group_free(arg);
}

static intptr_t
not_owner_main(void *arg)
{
    uco_group *g = make_group();
    uco_task *other = uco_create_task(member_misuses, g);
    uco_task *member = uco_ref(add(g, member_misuses, g));

    (void) arg;
    add(g, body_sleep_1s, NUMBER(1));
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_misuses, g), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    ck_assert_double_eq_tol(uco_time(), 1.0, 1e-6);
    ck_assert_int_eq(uco_result(member), 5);
    uco_group_free(g);
    uco_unref(member);
    return uco_join(other) == 5 ? 0 : -EIO;
}

START_TEST(only_the_owner_waits_for_a_group_and_frees_it)
{
    run_in_all_orders(not_owner_main, NULL);
}
END_TEST

static intptr_t
await_owner(void *arg)
{
    ck_assert_int_eq(uco_await(arg), -EDEADLK);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_await(arg), -EDEADLK);
    return 0;
}

static intptr_t
await_owner_main(void *arg)
{
    uco_group *g = make_group();

    (void) arg;
    add(g, await_owner, uco_current_task());
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

START_TEST(a_member_cannot_wait_for_its_owner)
{
    run_in_all_orders(await_owner_main, NULL);
}
END_TEST

static void
use_from_outside(uco_group *g)
{
    uco_task_options options = {.discard = discard_never};

    assert_null(uco_group_create_task_with(g, &options, body_never, NULL), EPERM);
    ck_assert_int_eq(uco_group_cancel(g), -EPERM);
    ck_assert_int_eq(uco_group_wait(g), -EPERM);
    uco_group_free(g);
}

static intptr_t
other_loop_main(void *arg)
{
    use_from_outside(arg);
    return 0;
}

static void *
thread_use(void *arg)
{
    use_from_outside(arg);
    ck_assert_int_eq(run_virtual(other_loop_main, arg), 0);
    return NULL;
}

static intptr_t
other_thread_main(void *arg)
{
    uco_group *g = make_group();
    pthread_t thread;

    (void) arg;
    add(g, body_sleep_1s, NUMBER(1));
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_use, g), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return 0;
}

START_TEST(a_group_is_refused_to_other_threads_and_loops)
{
    ck_assert_int_eq(run_virtual(other_thread_main, NULL), 0);
}
END_TEST

static intptr_t
stopping_main(void *arg)
{
    uco_group **g = arg;

    *g = make_group();
    add(*g, body_sleep_forever, NULL);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_loop_stop(uco_get_running_loop());
    ck_assert_int_eq(uco_group_wait(*g), -ECANCELED);
    uco_group_free(*g);
    return 0;
}

START_TEST(a_group_is_refused_while_its_loop_does_not_run)
{
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});
    uco_group *g = NULL;

    ck_assert_int_eq(uco_loop_run_until_complete(loop, stopping_main, &g), -EINTR);
    use_from_outside(g);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

struct stranger {
    uco_group *g;
    uco_event refuses;
};

static intptr_t
waits_for_anothers(void *arg)
{
    struct stranger *s = arg;
    uco_event set = {0};

    ck_assert_int_eq(uco_event_set(&set), 0);
    ck_assert_int_eq(uco_yield(), 0);
    for (int i = 0; i < 63; i++) /* the next call that suspends lets others run first */
        ck_assert_int_eq(uco_event_wait(&set), 0);
    ck_assert_int_eq(uco_event_set(&s->refuses), 0);
    ck_assert_int_eq(uco_group_wait(s->g), -EPERM);
    return 0;
}

static intptr_t
freed_beside_main(void *arg)
{
    struct stranger s = {.g = make_group()};
    uco_task *stranger = uco_create_task(waits_for_anothers, &s);

    (void) arg;
    ck_assert_int_eq(uco_event_wait(&s.refuses), 0);
    uco_group_free(s.g);
    return uco_join(stranger);
}

/*
 * owner                 stranger
 * -----                 --------
 *                       wait: is refused before it lets others run
 * free
 */
START_TEST(who_is_not_the_owner_is_refused_at_once)
{
    run_in_all_orders(freed_beside_main, NULL);
}
END_TEST

/* A group with a plain and an eager member; -ENOMEM where one of them could not be made. */
static int
use_with_little_memory(void)
{
    const uco_task_options options = {.name = "a name too long to stand in the task's own memory",
                                      .eager = true,
                                      .discard = discard_never};
    uco_group *g;
    int made;

    errno = 0;
    g = uco_group_new();
    if (g == NULL) {
        ck_assert_int_eq(errno, ENOMEM);
        return -ENOMEM;
    }
    made = uco_group_create_task(g, body_return, NULL) != NULL;
    made += uco_group_create_task_with(g, &options, body_return, NULL) != NULL;
    if (made < 2)
        ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_eq(uco_group_wait(g), made < 2 ? -ENOMEM : 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    return made < 2 ? -ENOMEM : 0;
}

static intptr_t
no_memory_main(void *arg)
{
    unsigned long nth;
    int r = -ENOMEM;

    (void) arg;
    for (nth = 1; r == -ENOMEM; nth++) {
        ck_assert_int_eq(uco_test_fail("malloc", nth, false, ENOMEM), 0);
        r = use_with_little_memory();
        uco_test_fail_off();
    }
    ck_assert_uint_ge(nth, 3);
    return r;
}

/* Nobody has to look at each creation; but no other member suffers for it. */
START_TEST(without_memory_there_is_no_group_or_its_wait_says_so)
{
    ck_assert_int_eq(run_virtual(no_memory_main, NULL), 0);
}
END_TEST

static intptr_t
end_without_memory_main(void *arg)
{
    uco_group *g = make_group();

    (void) arg;
    for (int i = 0; i < 100; i++)
        add(g, body_sleep_forever, NULL);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_group_cancel(g), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    uco_test_fail_off();
    return 0;
}

START_TEST(cancelling_waiting_and_freeing_need_no_memory)
{
    ck_assert_int_eq(run_virtual(end_without_memory_main, NULL), 0);
}
END_TEST

static intptr_t
no_stack_main(void *arg)
{
    uco_task_options options = {.stack_size = 192 * 1024, .discard = discard_count};
    uco_group *g = make_group();
    int discarded = 0;

    (void) arg;
    for (int i = 0; i < 2; i++) {
        options.eager = i == 1;
        ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
        ck_assert_ptr_nonnull(uco_group_create_task_with(g, &options, body_never, &discarded));
        ck_assert_int_eq(uco_group_wait(g), -ENOMEM);
        uco_test_fail_off();
        ck_assert_int_eq(discarded, i + 1);
    }
    uco_group_free(g);
    return 0;
}

START_TEST(a_member_without_a_stack_is_a_failure)
{
    ck_assert_int_eq(run_virtual(no_stack_main, NULL), 0);
}
END_TEST

static intptr_t
no_stack_beside_main(void *arg)
{
    uco_task_options options = {.stack_size = 192 * 1024, .discard = discard_count};
    uco_group *g = make_group();
    uco_task *other = uco_ref(add(g, body_sleep_1s, NUMBER(3)));
    int discarded = 0;

    options.eager = arg != NULL;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
    ck_assert_ptr_nonnull(uco_group_create_task_with(g, &options, body_never, &discarded));
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_test_fail_off();
    ck_assert_int_eq(discarded, 1);
    add(g, body_return, NULL);
    ck_assert_int_eq(uco_group_wait(g), -ENOMEM);
    ck_assert_double_eq_tol(uco_time(), 1.0, 1e-6);
    ck_assert_int_eq(uco_result(other), 3);
    uco_unref(other);
    uco_group_free(g);
    return 0;
}

/* As one that could not be created. */
START_TEST(a_member_without_a_stack_cancels_nobody)
{
    run_in_all_orders(no_stack_beside_main, _i == 0 ? NULL : NUMBER(1));
}
END_TEST

static intptr_t
frees_as_member(void *arg)
{
    uco_group_free(arg);
    return 0;
}

static intptr_t
debug_main(void *arg)
{
    uco_group *g = make_group();

    (void) arg;
    add(g, frees_as_member, g);
    return uco_group_wait(g);
}

START_TEST(in_debug_mode_freeing_anothers_group_aborts)
{
    setenv("UCO_DEBUG", "1", 1);
    run_virtual(debug_main, NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("group misuse");
    TCase *misuse = case_new(suite, "misuse");
    TCase *memory = case_new(suite, "memory");
    TCase *debug = tcase_create("debug");

    unsetenv("UCO_DEBUG");
    tcase_add_test(misuse, only_a_coroutine_makes_and_waits_for_groups);
    tcase_add_test(misuse, bad_arguments_are_refused_and_change_nothing);
    tcase_add_test(misuse, only_the_owner_waits_for_a_group_and_frees_it);
    tcase_add_test(misuse, who_is_not_the_owner_is_refused_at_once);
    tcase_add_test(misuse, a_member_cannot_wait_for_its_owner);
    tcase_add_test(misuse, a_group_is_refused_to_other_threads_and_loops);
    tcase_add_test(misuse, a_group_is_refused_while_its_loop_does_not_run);
    tcase_add_test(memory, without_memory_there_is_no_group_or_its_wait_says_so);
    tcase_add_test(memory, cancelling_waiting_and_freeing_need_no_memory);
    tcase_add_test(memory, a_member_without_a_stack_is_a_failure);
    tcase_add_loop_test(memory, a_member_without_a_stack_cancels_nobody, 0, 2);
    suite_add_tcase(suite, debug);
    tcase_add_test_raise_signal(debug, in_debug_mode_freeing_anothers_group_aborts, SIGABRT);
    return suite_end(suite);
}
