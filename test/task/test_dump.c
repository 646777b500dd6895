/* SPDX-License-Identifier: MIT */
/* uco_dump(): what it tells of tasks and of what they wait for. (test_dump_safe.c: from handlers,
 * from other threads, and of what is damaged.) */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/dumped.h"

#include <stdlib.h>

/* The dump as it is once all others are blocked. */
static const char *
settled_dump(void)
{
    ck_assert_int_eq(uco_test_settle(), 0);
    return dumped(uco_get_running_loop());
}

static const char *
settled_line(const char *name)
{
    return dumped_line(settled_dump(), name);
}

static void
end_all(uco_task *tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco_cancel(tasks[i]);
    for (size_t i = 0; i < n; i++)
        uco_join(tasks[i]);
}

/* --- the tree --- */

static intptr_t
grows_a_branch(void *arg)
{
    uco_task *leaf = named("leaf", body_sleep_forever, arg);

    return uco_join(leaf);
}

static intptr_t
grows_a_tree(void *arg)
{
    uco_task *tasks[] = {named("branch", grows_a_branch, arg), named("other", body_sleep_1s, arg)};
    const char *text = settled_dump();
    const char *branch = strstr(text, "\n    task 'branch' (");
    const char *leaf = strstr(text, "\n      task 'leaf' (");
    const char *other = strstr(text, "\n    task 'other' (");

    ck_assert_msg(branch != NULL && leaf != NULL && other != NULL, "%s", text);
    ck_assert(branch < leaf && leaf < other);
    ck_assert_tells(text, "uco: loop ");
    ck_assert_tells(text, ": 4 tasks, 1 timer, 0 fds waited for, 0 jobs in threads\n");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(each_task_stands_below_the_one_that_created_it)
{
    ck_assert_int_eq(run_virtual(grows_a_tree, NULL), 0);
}
END_TEST

static intptr_t
is_told_by_id_and_line(void *arg)
{
    const uco_task_options options = {.name = "told"};
    char wanted[128];
    uco_task *task = uco_create_task_with(&options, body_sleep_forever, arg);
    int line = __LINE__ - 1;
    const char *text = settled_dump();

    snprintf(wanted, sizeof wanted, "task 'told' (%ju): ", (uintmax_t) uco_task_id(task));
    ck_assert_tells(text, wanted);
    snprintf(wanted, sizeof wanted, "test_dump.c:%d; stack ", line);
    ck_assert_tells(dumped_line(text, "told"), wanted);
    end_all(&task, 1);
    return 0;
}

START_TEST(a_task_is_told_with_its_id_and_the_line_that_made_it)
{
    ck_assert_int_eq(run_virtual(is_told_by_id_and_line, NULL), 0);
}
END_TEST

static intptr_t
has_a_nameless_child(void *arg)
{
    uco_task *task = uco_create_task(body_sleep_forever, arg);
    char name[32];

    snprintf(name, sizeof name, "Task-%ju", (uintmax_t) uco_task_id(task));
    ck_assert_tells(settled_line(name), "waits for a sleep without end");
    end_all(&task, 1);
    return 0;
}

START_TEST(a_nameless_task_is_called_as_uco_task_name_would)
{
    ck_assert_int_eq(run_virtual(has_a_nameless_child, NULL), 0);
}
END_TEST

static intptr_t
has_an_oddly_named_child(void *arg)
{
    uco_task *task = named("two\nlines\033[1m", body_sleep_forever, arg);

    ck_assert_tells(settled_dump(), "task 'two?lines?[1m' (");
    end_all(&task, 1);
    return 0;
}

START_TEST(a_name_cannot_break_the_lines)
{
    ck_assert_int_eq(run_virtual(has_an_oddly_named_child, NULL), 0);
}
END_TEST

/* --- states --- */

static intptr_t
yields_once(void *arg)
{
    (void) arg;
    return uco_yield();
}

static intptr_t
looks_at_states(void *arg)
{
    uco_task *tasks[2] = {named("yields", yields_once, arg)};

    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "yields"), "new, has not begun");
    uco_yield();
    tasks[1] = named("fresh", body_return, arg);
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "yields"), "ready to run");
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "fresh"), "new, has not begun");
    ck_assert_tells(dumped(uco_get_running_loop()), "): runs; stack ");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(a_task_is_new_ready_or_runs)
{
    ck_assert_int_eq(run_fifo(looks_at_states, NULL), 0);
}
END_TEST

static intptr_t
sleeps_in_a_scope(void *timeout)
{
    uco_scope scope;

    ck_assert_int_eq(uco_scope_open(&scope, *(double *) timeout), 0);
    return uco_scope_close(&scope, uco_sleep(UCO_FOREVER));
}

static intptr_t
sleeps_in_a_shield(void *arg)
{
    uco_scope scope;

    ck_assert_int_eq(uco_shield_open(&scope, UCO_FOREVER), 0);
    uco_await(arg);
    return uco_scope_close(&scope, 0);
}

static intptr_t
looks_at_scopes(void *arg)
{
    double timeout = 60;
    uco_future *release = uco_future_new();
    uco_task *limited = named("limited", sleeps_in_a_scope, &timeout);
    uco_task *shielded = named("shielded", sleeps_in_a_shield, release);
    const char *text;

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_cancel(shielded);
    text = settled_dump();
    ck_assert_tells(dumped_line(text, "limited"), "times out in 60.000 s");
    ck_assert_tells(dumped_line(text, "shielded"), "; cancelled, but in a shield");
    uco_future_set_result(release, 0);
    end_all(&limited, 1);
    uco_join(shielded);
    uco_unref(release);
    return 0;
}

START_TEST(cancellations_and_timeouts_are_told)
{
    ck_assert_int_eq(run_virtual(looks_at_scopes, NULL), 0);
}
END_TEST

/* --- what is waited for --- */

static intptr_t
looks_at_a_sleeper(void *arg)
{
    uco_task *task = named("sleeper", body_sleep_1s, arg);

    ck_assert_int_eq(uco_sleep(0.25), 0);
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "sleeper"),
                    "waits for a sleep, at most 0.750 s more; since 0.250 s");
    end_all(&task, 1);
    return 0;
}

START_TEST(a_sleep_is_told_with_how_long_yet_and_since_when)
{
    ck_assert_int_eq(run_virtual(looks_at_a_sleeper, NULL), 0);
}
END_TEST

static intptr_t
awaits(void *future)
{
    return uco_await(future);
}

static intptr_t
gathers(void *futures)
{
    return uco_gather(futures, 2, NULL);
}

static intptr_t
waits_for_any(void *futures)
{
    return uco_wait_any(futures, 2, 5.0);
}

static intptr_t
waits_for_a_while(void *future)
{
    return uco_wait_for(future, 7.0);
}

static intptr_t
looks_at_futures(void *arg)
{
    uco_future *plain = uco_future_new();
    uco_task *target = named("target", awaits, plain);
    uco_future *two[] = {target, plain};
    uco_task *tasks[] = {
        named("awaits", awaits, target),
        named("gathers", gathers, two),
        named("any", waits_for_any, two),
        named("while", waits_for_a_while, target),
    };
    const char *text = settled_dump();

    (void) arg;
    ck_assert_tells(dumped_line(text, "target"), "waits for a future (0x");
    ck_assert_tells(dumped_line(text, "awaits"), "waits for task 'target' (");
    ck_assert_tells(dumped_line(text, "gathers"), "waits for 2 of 2 futures: task 'target' (");
    ck_assert_tells(dumped_line(text, "gathers"), ", a future (0x");
    ck_assert_tells(dumped_line(text, "any"), "waits for any of 2 futures: task 'target' (");
    ck_assert_tells(dumped_line(text, "any"), ", at most 5.000 s more");
    ck_assert_tells(dumped_line(text, "while"), "waits for task 'target' (");
    ck_assert_tells(dumped_line(text, "while"), ", at most 7.000 s more");
    ck_assert_tells_not(text, "circle");
    uco_future_set_result(plain, 0);
    for (size_t i = 0; i < COUNT(tasks); i++)
        uco_join(tasks[i]);
    uco_unref_all(two, 2);
    return 0;
}

START_TEST(futures_are_told_with_the_tasks_behind_them)
{
    ck_assert_int_eq(run_virtual(looks_at_futures, NULL), 0);
}
END_TEST

static intptr_t
leaves_children(void *release)
{
    static const char *const names[] = {"first", "second", "third", "fourth", "fifth", "sixth"};

    for (size_t i = 0; i < COUNT(names); i++)
        uco_unref(named(names[i], sleeps_in_a_shield, release));
    uco_yield(); /* in whatever order, by the second turn all have begun */
    return uco_yield();
}

static intptr_t
looks_at_children(void *arg)
{
    uco_future *release = uco_future_new();
    uco_task *parent = named("parent", leaves_children, release);
    const char *text = settled_dump();

    (void) arg;
    ck_assert_tells(dumped_line(text, "parent"),
                    "has returned, and waits for its children to end: task 'first' (");
    ck_assert_tells(dumped_line(text, "parent"), ", task 'fourth' (");
    ck_assert_tells(dumped_line(text, "parent"), ") and 2 more; since ");
    uco_future_set_result(release, 0);
    uco_join(parent);
    uco_unref(release);
    return 0;
}

START_TEST(a_task_that_has_returned_waits_for_its_children)
{
    ck_assert_int_eq(run_virtual(looks_at_children, NULL), 0);
}
END_TEST

static intptr_t
has_a_group(void *arg)
{
    const uco_task_options options = {.name = "member"};
    uco_group *group = uco_group_new();
    intptr_t r;

    uco_group_create_task_with(group, &options, body_sleep_forever, arg);
    r = uco_group_wait(group);
    uco_group_free(group);
    return r;
}

static intptr_t
generates(void *arg)
{
    (void) arg;
    uco_generator_yield(NULL);
    return uco_sleep(UCO_FOREVER);
}

static intptr_t
asks_a_generator(void *arg)
{
    uco_generator *g = uco_generator_new(generates, arg);
    void *value;
    int r;

    ck_assert_int_eq(uco_generator_next(g, &value), 1);
    r = uco_generator_next(g, &value);
    uco_generator_free(g);
    return r;
}

static intptr_t
has_a_generator(void *arg)
{
    uco_generator *g = uco_generator_new(generates, arg);
    void *value;

    ck_assert_int_eq(uco_generator_next(g, &value), 1);
    uco_sleep(UCO_FOREVER);
    uco_generator_free(g);
    return 0;
}

static intptr_t
looks_at_groups_and_generators(void *arg)
{
    uco_task *tasks[] = {
        named("group", has_a_group, arg),
        named("asks", asks_a_generator, arg),
        named("generator", has_a_generator, arg),
    };
    const char *text = settled_dump();

    ck_assert_tells(dumped_line(text, "group"),
                    "waits for the members of its group: task 'member'");
    ck_assert_tells(dumped_line(text, "asks"), "waits for the next value of the generator in task");
    ck_assert_tells(text, "waits for its next value to be asked for");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(groups_and_generators_are_told)
{
    ck_assert_int_eq(run_virtual(looks_at_groups_and_generators, NULL), 0);
}
END_TEST

static intptr_t
blocks_in_a_thread(void *fd)
{
    char byte;

    return read(*(int *) fd, &byte, 1);
}

static intptr_t
waits_for_a_thread(void *fd)
{
    return uco_to_thread(blocks_in_a_thread, fd);
}

static intptr_t
looks_at_a_job(void *arg)
{
    int pipe_ends[2];
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(pipe(pipe_ends), 0);
    task = named("thread", waits_for_a_thread, &pipe_ends[0]);
    ck_assert_tells(settled_line("thread"), "waits for a job in another thread");
    close(pipe_ends[1]);
    ck_assert_int_eq(uco_join(task), 0);
    close(pipe_ends[0]);
    return 0;
}

START_TEST(a_job_in_a_thread_is_told)
{
    ck_assert_int_eq(run_real(looks_at_a_job, NULL), 0);
}
END_TEST

/* Where a sandbox forbids it, or an emulator does not know it. */
START_TEST(without_process_vm_readv_the_same_is_told)
{
    ck_assert_int_eq(uco_test_fail("process_vm_readv", 1, true, _i == 0 ? EPERM : ENOSYS), 0);
    ck_assert_int_eq(run_virtual(looks_at_futures, NULL), 0);
    uco_test_fail_off();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump");
    TCase *tree = case_new(suite, "tree");
    TCase *waits = case_new(suite, "waits");

    tcase_add_test(tree, each_task_stands_below_the_one_that_created_it);
    tcase_add_test(tree, a_task_is_told_with_its_id_and_the_line_that_made_it);
    tcase_add_test(tree, a_nameless_task_is_called_as_uco_task_name_would);
    tcase_add_test(tree, a_name_cannot_break_the_lines);
    tcase_add_test(tree, a_task_is_new_ready_or_runs);
    tcase_add_test(tree, cancellations_and_timeouts_are_told);
    tcase_add_test(waits, a_sleep_is_told_with_how_long_yet_and_since_when);
    tcase_add_test(waits, futures_are_told_with_the_tasks_behind_them);
    tcase_add_test(waits, a_task_that_has_returned_waits_for_its_children);
    tcase_add_test(waits, groups_and_generators_are_told);
    tcase_add_test(waits, a_job_in_a_thread_is_told);
    /* valgrind takes the other way of asking for a mistake. */
    if (getenv("UCO_TEST_VALGRIND") == NULL)
        tcase_add_loop_test(waits, without_process_vm_readv_the_same_is_told, 0, 2);
    return suite_end(suite);
}
