/* SPDX-License-Identifier: MIT */

/*
 * Tasks: their tree, their options, waiting for many of them, groups.
 *
 * 1. A task that could be created runs, or ends with -ENOMEM and its discard called, never both.
 * 2. A wait gives a right result, or an error that its header names; whom it waited for has ended.
 */

#include "scenarios.h"

#include <stdio.h>
#include <string.h>

/* The tree */

static intptr_t
body_seven(void *arg)
{
    (void) arg;
    return 7;
}

static intptr_t
body_naps(void *arg)
{
    int r = uco_sleep(0.5);

    (void) arg;
    MUST(r == 0 || (r == -ECANCELED && !torture_clean())); /* for a sibling's failure */
    return r == 0 ? 7 : r;
}

/* Until it is cancelled. */
static intptr_t
body_waits(void *arg)
{
    int *ended = arg;
    int r = uco_sleep(UCO_FOREVER);

    MUST(r == -ECANCELED);
    if (ended != NULL)
        (*ended)++;
    return r;
}

static void
seven_or_no_memory(intptr_t r)
{
    MUST(r == 7 || (r == -ENOMEM && !torture_clean()));
}

/* Two children a node, and the number of the nodes below. */
static intptr_t
body_node(void *arg)
{
    intptr_t depth = (intptr_t) arg, sum = 1;
    uco_task *children[2];

    if (depth == 0)
        return 1;
    for (size_t i = 0; i < COUNT(children); i++)
        MADE(children[i], uco_create_task(body_node, (void *) (depth - 1)), ENOMEM);
    for (size_t i = 0; i < COUNT(children); i++) {
        intptr_t r = MAY(uco_join(children[i]), ENOMEM);

        if (r < 0)
            sum = r;
        else if (sum > 0)
            sum += r;
    }
    return sum;
}

static intptr_t
body_leaves_children(void *arg)
{
    uco_task *task;

    for (int i = 0; i < 3; i++) {
        MADE(task, uco_create_task(body_waits, arg), ENOMEM);
        uco_unref(task);
    }
    SURE(uco_yield());
    return 7;
}

static intptr_t
body_notes(void *arg)
{
    SURE(uco_sleep(0.25));
    *(bool *) arg = true;
    return 0;
}

static intptr_t
body_detaches(void *arg)
{
    uco_task *task;

    MADE(task, uco_create_task(body_notes, arg), ENOMEM);
    if (task != NULL) {
        SURE(uco_yield());
        MUST(uco_done(task) || uco_detach(task) == 0);
    }
    uco_unref(task);
    return 7;
}

static void
tree_run(void)
{
    bool noted = false;
    int ended = 0;
    uco_task *task;
    intptr_t r;

    MADE(task, uco_create_task(body_node, (void *) 4), ENOMEM);
    r = MAY(uco_join(task), ENOMEM);
    MUST(r < 0 || r == 31);

    MADE(task, uco_create_task(body_leaves_children, &ended), ENOMEM);
    seven_or_no_memory(uco_join(task));
    MUST(ended == 3 || !torture_clean());

    MADE(task, uco_create_task(body_detaches, &noted), ENOMEM);
    seven_or_no_memory(uco_join(task));
    SURE(uco_sleep(1));
    MUST(noted || !torture_clean());

    ended = 0;
    MADE(task, uco_create_task(body_waits, &ended), ENOMEM);
    SURE(uco_yield());
    if (task != NULL && !uco_done(task))
        SURE(uco_cancel(task));
    r = uco_join(task);
    MUST(r == -ECANCELED || (r == -ENOMEM && !torture_clean()));
    MUST(ended == (r == -ECANCELED));
}

/* Options */

struct fate {
    int ran;
    int discarded;
};

static intptr_t
fate_run(void *arg)
{
    struct fate *fate = arg;

    fate->ran++;
    SURE(uco_sleep(0.125));
    return 7;
}

static void
fate_discard(void *arg)
{
    struct fate *fate = arg;

    fate->discarded++;
}

static void
fate_with(const uco_task_options *options)
{
    struct fate fate = {0};
    uco_task *task;
    intptr_t r;

    MADE(task, uco_create_task_with(options, fate_run, &fate), ENOMEM);
    if (task != NULL) {
        MUST(uco_task_name(task) != NULL && uco_task_id(task) != 0);
        MUST(options->name == NULL || strcmp(uco_task_name(task), options->name) == 0);
    }
    r = uco_join(task);
    seven_or_no_memory(r);
    MUST(fate.ran == (r == 7));
    MUST(fate.discarded == (r < 0 && task != NULL));
}

static void
options_run(void)
{
    struct fate fate = {0};
    uco_task_options options = {.discard = fate_discard};
    uco_task *task;

    fate_with(&options);
    options.eager = true;
    fate_with(&options);
    options.name = "a task with a name that is longer than what has room in it";
    options.stack_size = (size_t) 64 << 10;
    fate_with(&options);
    options.stack_size = (size_t) 8 << 20;
    options.eager = false;
    fate_with(&options);

    /* Cancelled before it has begun. */
    MADE(task, uco_create_task_with(&options, fate_run, &fate), ENOMEM);
    if (task != NULL)
        SURE(uco_cancel(task));
    MUST(uco_join(task) == (task != NULL ? -ECANCELED : -ENOMEM));
    MUST(fate.ran == 0 && fate.discarded == (task != NULL));
}

/* Futures */

static void
callback_counts(void *arg)
{
    ++*(int *) arg;
}

static intptr_t
body_resolves(void *arg)
{
    SURE(uco_sleep(0.5));
    SURE(uco_future_set_result(arg, 7));
    return 0;
}

static void
futures_run(void)
{
    int called = 0, added = 0, removed = 0;
    uco_future *f;
    uco_task *task;

    MADE(f, uco_future_new(), ENOMEM);
    if (f == NULL) {
        MUST(uco_await(f) == -ENOMEM);
        return;
    }
    for (int i = 0; i < 3; i++)
        added += MAY(uco_add_done_callback(f, callback_counts, &called), ENOMEM) == 0;
    removed = MAY(uco_add_done_callback(f, callback_counts, &removed), ENOMEM) == 0;
    MUST(uco_remove_done_callback(f, callback_counts, &removed) == removed);
    MADE(task, uco_create_task(body_resolves, f), ENOMEM);
    MAY(uco_wait_all(&f, 1, 5), ENOMEM, ETIMEDOUT);
    if (MAY(uco_join(task), ENOMEM) < 0)
        SURE(uco_future_set_result(f, 7));
    MUST(uco_await(f) == 7 && uco_result(f) == 7);
    SURE(uco_test_settle());
    MUST(called == added);
    uco_unref(f);
}

/* Waiting for many */

#define MANY 20

static void
tasks_make(uco_task *tasks[], size_t n, uco_fn *fn, void *arg)
{
    for (size_t i = 0; i < n; i++)
        MADE(tasks[i], uco_create_task(fn, arg), ENOMEM);
}

static void
gather_some(size_t n)
{
    uco_task *tasks[MANY];
    intptr_t results[MANY];
    int r;

    tasks_make(tasks, n, body_naps, NULL);
    r = (int) MAY(uco_gather(tasks, n, results), ENOMEM);
    for (size_t i = 0; i < n; i++) {
        MUST(uco_done(tasks[i]));
        MUST(r < 0 || (results[i] == 7 && uco_result(tasks[i]) == 7));
    }
    uco_unref_all(tasks, n);

    tasks_make(tasks, n, body_naps, NULL);
    r = (int) MAY(uco_gather_all(tasks, n, results), ENOMEM);
    for (size_t i = 0; i < n && r == 0; i++) {
        seven_or_no_memory(results[i]);
        MUST(uco_done(tasks[i]));
    }
    if (r < 0)
        SURE(uco_sleep(2));
    uco_unref_all(tasks, n);
}

static intptr_t
body_fails(void *arg)
{
    (void) arg;
    SURE(uco_sleep(0.25));
    return -EPROTO;
}

static void
gather_fails(void)
{
    uco_task *tasks[MANY];
    int r;

    tasks_make(tasks, MANY - 1, body_waits, NULL);
    tasks_make(&tasks[MANY - 1], 1, body_fails, NULL);
    r = uco_gather(tasks, MANY, NULL);
    MUST(r == -EPROTO || (r == -ENOMEM && !torture_clean()));
    for (size_t i = 0; i < MANY; i++)
        MUST(uco_done(tasks[i]));
    uco_unref_all(tasks, MANY);
}

static void
wait_some(size_t n)
{
    uco_task *tasks[MANY];
    ssize_t first;
    int r;

    tasks_make(tasks, n - 1, body_waits, NULL);
    tasks_make(&tasks[n - 1], 1, body_naps, NULL);
    first = MAY(uco_wait_any(tasks, n, 5), ENOMEM);
    MUST(first < 0 || uco_done(tasks[first]));
    MUST(first == (ssize_t) n - 1 || !torture_clean());
    r = uco_wait_all(tasks, n, 1);
    MUST(r == -ETIMEDOUT || !torture_clean());
    for (size_t i = 0; i < n; i++) {
        if (tasks[i] != NULL && !uco_done(tasks[i]))
            SURE(uco_cancel(tasks[i]));
        MUST(uco_join(tasks[i]) < 0 || i == n - 1);
    }
}

static void
waits_run(void)
{
    uco_task *task;
    intptr_t r;

    gather_some(3);
    gather_some(MANY);
    gather_fails();
    wait_some(2);
    wait_some(MANY);
    MADE(task, uco_create_task(body_naps, NULL), ENOMEM);
    seven_or_no_memory(uco_wait_for(task, 5));
    uco_unref(task);
    MADE(task, uco_create_task(body_waits, NULL), ENOMEM);
    r = uco_wait_for(task, 1);
    MUST(r == -ETIMEDOUT || (r == -ENOMEM && !torture_clean()));
    MUST(uco_done(task));
    uco_unref(task);
}

/* Groups */

static intptr_t
body_adds(void *arg)
{
    uco_task *task;

    MADE(task, uco_group_create_task(arg, body_seven, NULL), ENOMEM, ECANCELED);
    SURE(uco_yield());
    return 0;
}

static intptr_t
body_waits_for_group(void *arg)
{
    return uco_group_wait(arg);
}

static void
groups_run(void)
{
    uco_group *group;
    uco_task *task;
    int r;

    MADE(group, uco_group_new(), ENOMEM);
    if (group == NULL)
        return;
    for (int i = 0; i < 5; i++) {
        MADE(task, uco_group_create_task(group, body_naps, NULL), ENOMEM);
        MADE(task, uco_group_create_task(group, body_adds, group), ENOMEM);
    }
    MAY(uco_group_wait(group), ENOMEM);

    MADE(task, uco_group_create_task(group, body_waits, NULL), ENOMEM);
    MADE(task, uco_group_create_task(group, body_fails, NULL), ENOMEM);
    r = task == NULL ? uco_group_cancel(group) : 0;
    MUST(r == 0);
    r = (int) uco_with_timeout(5, body_waits_for_group, group);
    MUST(r == -EPROTO || !torture_clean());
    MUST(r == 0 || r == -EPROTO || r == -ENOMEM || r == -ECANCELED || r == -ETIMEDOUT);

    MADE(task, uco_group_create_task(group, body_waits, NULL), ENOMEM);
    SURE(uco_yield());
    SURE(uco_group_cancel(group));
    MAY(uco_group_wait(group), ENOMEM);
    MADE(task, uco_group_create_task(group, body_waits, NULL), ENOMEM);
    uco_group_free(group);
}

const struct scenario torture_tree = {.name = "tree", .run = tree_run};
const struct scenario torture_options_scenario = {.name = "options", .run = options_run};
const struct scenario torture_futures = {.name = "futures", .run = futures_run};
const struct scenario torture_waits = {.name = "waits", .run = waits_run};
const struct scenario torture_groups = {.name = "groups", .run = groups_run};
