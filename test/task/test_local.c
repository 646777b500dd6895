/* SPDX-License-Identifier: MIT */

/*
 * Task-local storage: who inherits what, and when a value is destroyed.
 */

#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define NUMBER(n) ((void *) (intptr_t) (n))

#define assert_none(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

/* The key of the test, with values that count how often they are destroyed. */
static uco_local key;
static int destroyed[10];

static void
destroy_count(void *value)
{
    ++*(int *) value;
}

static void
make_key(void)
{
    for (size_t i = 0; i < COUNT(destroyed); i++)
        destroyed[i] = 0;
    ck_assert_int_eq(uco_local_new(&key, destroy_count), 0);
    ck_assert_uint_ne(key, 0);
}

static void
set(int *value)
{
    ck_assert_int_eq(uco_local_set(key, value), 0);
    ck_assert_ptr_eq(uco_local_get(key), value);
}

static void
free_key(void)
{
    ck_assert_int_eq(uco_local_free(key), 0);
}

static intptr_t
expect(void *arg)
{
    ck_assert_ptr_eq(uco_local_get(key), arg);
    return 0;
}

static intptr_t
inherit_main(void *arg)
{
    uco_task *before, *after;

    (void) arg;
    make_key();
    assert_none(uco_local_get(key), 0);
    before = uco_create_task(expect, NULL);
    set(&destroyed[0]);
    after = uco_create_task(expect, &destroyed[0]);
    set(&destroyed[1]);
    ck_assert_int_eq(uco_join(before), 0);
    ck_assert_int_eq(uco_join(after), 0);
    ck_assert_int_eq(uco_join(uco_create_task(expect, &destroyed[1])), 0);
    ck_assert_int_eq(destroyed[0], 1);
    ck_assert_int_eq(destroyed[1], 0);
    free_key();
    return 0;
}

START_TEST(a_task_inherits_the_values_of_the_moment_that_it_is_created)
{
    run_in_all_orders(inherit_main, NULL);
    ck_assert_int_eq(destroyed[1], 1);
}
END_TEST

static intptr_t
child_with_grandchild(void *arg)
{
    ck_assert_ptr_eq(uco_local_get(key), arg);
    return uco_join(uco_create_task(expect, arg));
}

static intptr_t
kinds_main(void *arg)
{
    const uco_task_options eager = {.eager = true};
    uco_group *g;

    (void) arg;
    make_key();
    set(&destroyed[0]);
    ck_assert_int_eq(uco_join(uco_create_task(child_with_grandchild, &destroyed[0])), 0);
    ck_assert_int_eq(uco_join(uco_create_task_with(&eager, expect, &destroyed[0])), 0);
    g = uco_group_new();
    ck_assert_ptr_nonnull(uco_group_create_task_with(g, &eager, expect, &destroyed[0]));
    ck_assert_ptr_nonnull(uco_group_create_task(g, child_with_grandchild, &destroyed[0]));
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    free_key();
    return 0;
}

START_TEST(grandchildren_eager_tasks_and_group_members_inherit)
{
    run_in_all_orders(kinds_main, NULL);
}
END_TEST

static intptr_t
adding_member(void *arg)
{
    set(&destroyed[1]);
    ck_assert_ptr_nonnull(uco_group_create_task(arg, expect, &destroyed[1]));
    return 0;
}

static void
callback_add_member(void *arg)
{
    ck_assert_ptr_nonnull(uco_group_create_task(arg, expect, NULL));
    uco_unref(uco_create_task(expect, NULL));
}

static intptr_t
creator_main(void *arg)
{
    uco_group *g = uco_group_new();
    uco_task *posted;

    (void) arg;
    make_key();
    set(&destroyed[0]);
    ck_assert_ptr_nonnull(uco_group_create_task(g, adding_member, g));
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_add_member, g), 0);
    posted = uco_run_coroutine_threadsafe(uco_get_running_loop(), expect, NULL);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_group_wait(g), 0);
    uco_group_free(g);
    free_key();
    return uco_join(posted);
}

START_TEST(what_is_inherited_is_the_creators_and_callbacks_have_none)
{
    run_in_all_orders(creator_main, NULL);
}
END_TEST

static intptr_t
change(void *arg)
{
    set(&destroyed[1]);
    ck_assert_int_eq(uco_await(arg), 1);
    return expect(&destroyed[1]);
}

static intptr_t
change_main(void *arg)
{
    uco_future *changed = uco_future_new();
    uco_task *child;

    (void) arg;
    make_key();
    set(&destroyed[0]);
    child = uco_create_task(change, changed);
    ck_assert_int_eq(uco_test_settle(), 0);
    expect(&destroyed[0]);
    set(&destroyed[2]);
    ck_assert_int_eq(destroyed[0], 1);
    ck_assert_int_eq(uco_future_set_result(changed, 1), 0);
    ck_assert_int_eq(uco_join(child), 0);
    ck_assert_int_eq(destroyed[1], 1);
    ck_assert_int_eq(destroyed[2], 0);
    uco_unref(changed);
    free_key();
    return 0;
}

START_TEST(a_value_set_in_one_task_is_not_seen_in_its_parent_or_child)
{
    run_in_all_orders(change_main, NULL);
}
END_TEST

static intptr_t
set_ones(void *arg)
{
    set(arg);
    return 0;
}

static void
callback_see_destroyed(void *arg)
{
    ck_assert_int_eq(destroyed[0], 1);
    *(bool *) arg = true;
}

static intptr_t
last_holder_main(void *arg)
{
    bool seen = false;
    uco_task *child;

    (void) arg;
    make_key();
    child = uco_create_task(set_ones, &destroyed[0]);
    ck_assert_int_eq(uco_add_done_callback(child, callback_see_destroyed, &seen), 0);
    ck_assert_int_eq(uco_await(child), 0);
    ck_assert_int_eq(destroyed[0], 1);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(seen);
    uco_unref(child);
    ck_assert_int_eq(destroyed[0], 1);
    free_key();
    return 0;
}

START_TEST(a_value_is_destroyed_before_its_last_holders_result_is_seen)
{
    run_in_all_orders(last_holder_main, NULL);
}
END_TEST

START_TEST(a_value_is_destroyed_before_another_thread_sees_the_result)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(thread);

    for (int i = 0; i < scaled(1000); i++) {
        uco_task *task;

        make_key();
        task = uco_run_coroutine_threadsafe(loop, set_ones, &destroyed[0]);
        ck_assert_int_eq(uco_future_wait(task, UCO_FOREVER), 0);
        ck_assert_int_eq(destroyed[0], 1);
        uco_unref(task);
        free_key();
    }
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
}
END_TEST

static intptr_t
hold_for(void *arg)
{
    ck_assert_int_eq(uco_sleep((double) (intptr_t) arg), 0);
    expect(&destroyed[0]);
    return 0;
}

static intptr_t
holders(void *arg)
{
    set(&destroyed[0]);
    for (int i = 1; i < 10; i++) {
        uco_task *child = uco_create_task(hold_for, NUMBER(i));

        ck_assert_int_eq(uco_detach(child), 0);
        uco_unref(child);
    }
    return (intptr_t) arg;
}

static intptr_t
holders_main(void *arg)
{
    (void) arg;
    make_key();
    ck_assert_int_eq(uco_join(uco_create_task(holders, NULL)), 0);
    ck_assert_int_eq(uco_sleep(8.5), 0);
    ck_assert_int_eq(destroyed[0], 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(destroyed[0], 1);
    free_key();
    return 0;
}

START_TEST(a_value_is_destroyed_once_with_its_last_holder)
{
    run_in_all_orders(holders_main, NULL);
    ck_assert_int_eq(destroyed[0], 1);
}
END_TEST

static intptr_t
never_started_main(void *arg)
{
    uco_task *child;

    (void) arg;
    make_key();
    set(&destroyed[0]);
    child = uco_create_task(expect, &destroyed[9]); /* which would be wrong, if it ever ran */
    set(&destroyed[1]);
    ck_assert_int_eq(destroyed[0], 0);
    ck_assert_int_eq(uco_cancel(child), 0);
    ck_assert_int_eq(uco_join(child), -ECANCELED);
    ck_assert_int_eq(destroyed[0], 1);
    free_key();
    return 0;
}

START_TEST(a_task_that_never_starts_holds_what_it_inherits_until_it_is_discarded)
{
    run_in_all_orders(never_started_main, NULL);
}
END_TEST

static intptr_t
set_over_main(void *arg)
{
    (void) arg;
    make_key();
    set(NULL);
    set(&destroyed[0]);
    set(&destroyed[0]);
    ck_assert_int_eq(destroyed[0], 0);
    set(&destroyed[1]);
    ck_assert_int_eq(destroyed[0], 1);
    set(NULL);
    ck_assert_int_eq(destroyed[1], 1);
    set(&destroyed[2]);
    ck_assert_int_eq(uco_join(uco_create_task(set_ones, NULL)), 0);
    ck_assert_int_eq(destroyed[2], 0);
    expect(&destroyed[2]);
    free_key();
    return 0;
}

START_TEST(setting_another_value_destroys_the_old_one_and_setting_the_same_does_nothing)
{
    ck_assert_int_eq(run_virtual(set_over_main, NULL), 0);
    ck_assert_int_eq(destroyed[0], 1);
    ck_assert_int_eq(destroyed[1], 1);
    ck_assert_int_eq(destroyed[2], 1);
}
END_TEST

static intptr_t
free_key_main(void *arg)
{
    uco_local old, next;

    (void) arg;
    make_key();
    set(&destroyed[0]);
    old = key;
    free_key();
    ck_assert_int_eq(destroyed[0], 0);
    assert_none(uco_local_get(old), EINVAL);
    ck_assert_int_eq(uco_local_set(old, &destroyed[1]), -EINVAL);
    ck_assert_int_eq(uco_local_free(old), -EINVAL);

    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(uco_local_new(&next, NULL), 0);
        ck_assert_uint_ne(next, old);
        assert_none(uco_local_get(next), 0);
        assert_none(uco_local_get(old), EINVAL);
        ck_assert_int_eq(uco_local_free(next), 0);
    }
    return 0;
}

START_TEST(a_freed_key_has_no_values_and_its_successor_does_not_see_them)
{
    ck_assert_int_eq(run_virtual(free_key_main, NULL), 0);
    ck_assert_int_eq(destroyed[0], 1);
    ck_assert_int_eq(destroyed[1], 0);
}
END_TEST

#define KEYS 1000
static uco_local many[KEYS];

static intptr_t
expect_many(void *arg)
{
    int step = arg != NULL ? 1 : 2;

    for (int i = 0; i < KEYS; i += step)
        ck_assert_ptr_eq(uco_local_get(many[i]), NUMBER(i + 1));
    for (int i = 1; arg == NULL && i < KEYS; i += 2)
        ck_assert_int_eq(uco_local_set(many[i], NUMBER(i + 2)), 0);
    return 0;
}

static intptr_t
many_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < KEYS; i++)
        ck_assert_int_eq(uco_local_new(&many[i], NULL), 0);
    for (int i = KEYS - 1; i >= 0; i--)
        ck_assert_int_eq(uco_local_set(many[i], NUMBER(i + 1)), 0);
    ck_assert_int_eq(uco_join(uco_create_task(expect_many, NULL)), 0);
    expect_many(NUMBER(1));
    for (int i = 0; i < KEYS; i++)
        ck_assert_int_eq(uco_local_free(many[i]), 0);
    return 0;
}

/* Without a destroy, too. */
START_TEST(a_task_can_have_values_under_many_keys)
{
    ck_assert_int_eq(run_virtual(many_main, NULL), 0);
}
END_TEST

static int busy_destroys;

/* A callback as any other: it may create and post, but neither suspend nor see a task's values. */
static void
destroy_busy(void *value)
{
    uco_local other;

    (void) value;
    busy_destroys++;
    ck_assert_ptr_null(uco_current_task());
    ck_assert_int_eq(uco_yield(), -EPERM);
    assert_none(uco_local_get(key), EPERM);
    ck_assert_int_eq(uco_local_set(key, NULL), -EPERM);
    ck_assert_int_eq(uco_local_new(&other, NULL), 0);
    ck_assert_int_eq(uco_local_free(other), 0);
    uco_unref(uco_create_task(expect, NULL));
}

static intptr_t
set_busy_twice(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_local_set(key, NUMBER(1)), 0);
    ck_assert_int_eq(uco_local_set(key, NUMBER(2)), 0);
    ck_assert_int_eq(busy_destroys, 1);
    ck_assert_ptr_nonnull(uco_current_task());
    ck_assert_ptr_eq(uco_local_get(key), NUMBER(2));
    return uco_yield();
}

static intptr_t
destroy_busy_main(void *arg)
{
    (void) arg;
    busy_destroys = 0;
    ck_assert_int_eq(uco_local_new(&key, destroy_busy), 0);
    ck_assert_int_eq(uco_join(uco_create_task(set_busy_twice, NULL)), 0);
    ck_assert_int_eq(busy_destroys, 2);
    ck_assert_int_eq(uco_test_settle(), 0);
    free_key();
    return 0;
}

START_TEST(a_destroy_is_a_callback_and_may_call_what_does_not_suspend)
{
    run_in_all_orders(destroy_busy_main, NULL);
}
END_TEST

static intptr_t
use_in_thread(void *arg)
{
    assert_none(uco_local_get(key), EPERM);
    ck_assert_int_eq(uco_local_set(key, arg), -EPERM);
    return 0;
}

static void
callback_use(void *arg)
{
    use_in_thread(arg);
}

static intptr_t
no_coroutine_main(void *arg)
{
    (void) arg;
    make_key();
    set(&destroyed[0]);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_use, &destroyed[1]), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_to_thread(use_in_thread, &destroyed[1]), 0);
    expect(&destroyed[0]);
    return 0;
}

START_TEST(callbacks_and_threads_have_no_values)
{
    ck_assert_int_eq(run_virtual(no_coroutine_main, NULL), 0);
    use_in_thread(NULL);
    free_key();
    ck_assert_int_eq(destroyed[1], 0);
}
END_TEST

static intptr_t
bad_keys_main(void *arg)
{
    const uco_local never[] = {0, 1, 12345, UINT64_MAX, (uint64_t) 7 << 32, UINT32_MAX};

    (void) arg;
    for (size_t i = 0; i < COUNT(never); i++) {
        assert_none(uco_local_get(never[i]), EINVAL);
        ck_assert_int_eq(uco_local_set(never[i], NULL), -EINVAL);
        ck_assert_int_eq(uco_local_free(never[i]), -EINVAL);
    }
    ck_assert_int_eq(uco_local_new(NULL, destroy_count), -EINVAL);
    return 0;
}

START_TEST(what_is_no_key_is_refused)
{
    ck_assert_int_eq(run_virtual(bad_keys_main, NULL), 0);
    assert_none(uco_local_get(0), EINVAL); /* arguments first */
    ck_assert_int_eq(uco_local_set(0, NULL), -EINVAL);
}
END_TEST

static intptr_t
try_to_set(void *arg)
{
    return uco_local_set(key, arg);
}

/* Whether it went well all the way. Without memory, what was stays. */
static bool
use_with_little_memory(void)
{
    uco_local made[9]; /* more than there is room for at first */
    size_t count = 0;
    uco_task *child;
    int r = 0;

    while (count < COUNT(made) && (r = uco_local_new(&made[count], destroy_count)) == 0)
        count++;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = uco_local_set(made[i], &destroyed[1]);
    child = r == 0 ? uco_create_task(try_to_set, &destroyed[2]) : NULL;
    expect(&destroyed[0]);
    if (r == 0)
        r = (int) uco_join(child);
    ck_assert(r == 0 || r == -ENOMEM);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(uco_local_free(made[i]), 0);
    return r == 0;
}

static intptr_t
in_fresh_task(void *arg)
{
    (void) arg;
    return use_with_little_memory();
}

static intptr_t
no_memory_main(void *arg)
{
    uco_task *task = NULL;
    unsigned long nth = 0;
    intptr_t done = 0;

    (void) arg;
    make_key();
    set(&destroyed[0]);
    while (done == 0) {
        task = uco_create_task(in_fresh_task, NULL);
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        done = uco_join(task);
        uco_test_fail_off();
        ck_assert_int_eq(destroyed[0], 0);
    }
    ck_assert_uint_gt(nth, 3);
    free_key();
    return 0;
}

START_TEST(without_memory_setting_fails_and_the_old_value_stays)
{
    ck_assert_int_eq(run_virtual(no_memory_main, NULL), 0);
    ck_assert_int_eq(destroyed[0], 1);
}
END_TEST

static uco_local shared;
static atomic_int alive;

static void
destroy_block(void *value)
{
    free(value);
    atomic_fetch_sub(&alive, 1);
}

static void *
new_block(void)
{
    atomic_fetch_add(&alive, 1);
    return calloc(1, 1);
}

static intptr_t
yield_once(void *arg)
{
    (void) arg;
    return uco_yield();
}

static intptr_t
churn_main(void *arg)
{
    (void) arg;
    for (int i = 0; i < scaled(2000); i++) {
        uco_local own;
        uco_task *child;

        ck_assert_int_eq(uco_local_new(&own, destroy_block), 0);
        ck_assert_int_eq(uco_local_set(own, new_block()), 0);
        ck_assert_int_eq(uco_local_set(shared, new_block()), 0);
        child = uco_create_task(yield_once, NULL);
        ck_assert_int_eq(uco_local_free(own), 0);
        ck_assert_int_eq(uco_join(child), 0);
        assert_none(uco_local_get(own), EINVAL);
        ck_assert_ptr_nonnull(uco_local_get(shared));
    }
    return 0;
}

static void *
churn_thread(void *arg)
{
    ck_assert_int_eq(run_virtual(churn_main, arg), 0);
    return NULL;
}

START_TEST(keys_are_made_used_and_freed_by_many_threads_at_once)
{
    pthread_t threads[4];

    ck_assert_int_eq(uco_local_new(&shared, destroy_block), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, churn_thread, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(uco_local_free(shared), 0);
    ck_assert_int_eq(atomic_load(&alive), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("local");
    TCase *inherit = case_new(suite, "inherit");
    TCase *destroy = case_new(suite, "destroy");
    TCase *keys = case_new(suite, "keys");
    TCase *threads = case_new(suite, "threads");

    unsetenv("UCO_DEBUG");
    tcase_add_test(inherit, a_task_inherits_the_values_of_the_moment_that_it_is_created);
    tcase_add_test(inherit, grandchildren_eager_tasks_and_group_members_inherit);
    tcase_add_test(inherit, what_is_inherited_is_the_creators_and_callbacks_have_none);
    tcase_add_test(inherit, a_value_set_in_one_task_is_not_seen_in_its_parent_or_child);
    tcase_add_test(destroy, a_value_is_destroyed_before_its_last_holders_result_is_seen);
    tcase_add_test(destroy, a_value_is_destroyed_before_another_thread_sees_the_result);
    tcase_add_test(destroy, a_value_is_destroyed_once_with_its_last_holder);
    tcase_add_test(destroy, a_task_that_never_starts_holds_what_it_inherits_until_it_is_discarded);
    tcase_add_test(destroy,
                   setting_another_value_destroys_the_old_one_and_setting_the_same_does_nothing);
    tcase_add_test(keys, a_freed_key_has_no_values_and_its_successor_does_not_see_them);
    tcase_add_test(keys, a_task_can_have_values_under_many_keys);
    tcase_add_test(keys, a_destroy_is_a_callback_and_may_call_what_does_not_suspend);
    tcase_add_test(keys, callbacks_and_threads_have_no_values);
    tcase_add_test(keys, what_is_no_key_is_refused);
    tcase_add_test(keys, without_memory_setting_fails_and_the_old_value_stays);
    tcase_add_test(threads, keys_are_made_used_and_freed_by_many_threads_at_once);
    return suite_end(suite);
}
