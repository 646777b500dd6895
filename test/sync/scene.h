/* SPDX-License-Identifier: MIT */
#ifndef TEST_SYNC_SCENE_H
#define TEST_SYNC_SCENE_H

/*
 * What the tests of all primitives share: tasks that arrive one by one, and the places from which a
 * primitive may not be used.
 */

#include "support.h"

#include <pthread.h>
#include <string.h>

#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

static inline void
settle(void)
{
    ck_assert_int_eq(uco_test_settle(), 0);
}

/* Starts a task, which gets a letter, and lets it come as far as it can: fixes the order of
 * arrival. */
static inline uco_task *
arrive(uco_fn *fn, char name)
{
    uco_task *task = uco_create_task(fn, (void *) (intptr_t) name);

    settle();
    return task;
}

/* arrive() for n tasks: a, b, c ... */
static inline void
arrive_all(uco_task *tasks[], int n, uco_fn *fn)
{
    for (int i = 0; i < n; i++)
        tasks[i] = arrive(fn, (char) ('a' + i));
}

/* Waits for n tasks, which all succeed, and gives the references back. */
static inline void
join_all(uco_task *tasks[], int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
}

/* How often a task of this loop went on: unchanged by what did not suspend. */
static inline uint64_t
switches(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.switches;
}

static inline void
open_cancelled(uco_scope *scope)
{
    ck_assert_int_eq(uco_scope_open(scope, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(scope), 0);
}

/* The call fails in a cancelled scope, after letting others run. A seed may let the caller go on
 * before the others, but not twice. */
static inline void
assert_cancellation_point(int (*call)(void))
{
    uco_task *other = uco_create_task(body_return, NULL);
    uco_scope scope;

    open_cancelled(&scope);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(call(), -ECANCELED);
    ck_assert(uco_done(other));
    ck_assert_int_eq(uco_scope_close(&scope, -ECANCELED), 0);
    ck_assert_int_eq(uco_join(other), 0);
}

/* A call that need not wait lets others run the 64th time: with a seed perhaps not all of them, but
 * then those that are left are before the caller the next time. */
static inline void
assert_lets_others_run(int (*call)(void))
{
    uco_task *other = uco_create_task(body_return, NULL);
    int calls = 0;

    while (!uco_done(other) && calls++ < 1000) {
        if (call() < 0)
            ck_abort_msg("call %d failed", calls);
    }
    ck_assert_int_le(calls, 128);
    ck_assert_int_eq(uco_join(other), 0);
}

static inline void
in_thread(void *(*fn)(void *arg), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* fn as a task of a loop that another thread runs. */
static inline void
in_loop(void *loop, uco_fn *fn)
{
    ck_assert_int_eq(uco_join(uco_run_coroutine_threadsafe(loop, fn, NULL)), 0);
}

/* run_in_all_orders() while another thread runs a loop, which fn gets. */
static inline void
run_beside_a_loop(uco_fn *fn)
{
    uco_loop_thread *other = uco_loop_thread_start(NULL);

    run_in_all_orders(fn, uco_loop_thread_loop(other));
    ck_assert_int_eq(uco_loop_thread_stop(other), 0);
}

struct two_runs {
    uco_fn *waiter;
    uco_task *task;
};

static inline intptr_t
first_run(void *arg)
{
    struct two_runs *runs = arg;

    runs->task = arrive(runs->waiter, 'a');
    return uco_detach(runs->task);
}

static inline intptr_t
second_run(void *arg)
{
    struct two_runs *runs = arg;

    return uco_join(runs->task);
}

/* A task waits in the first run of a loop, `between` is called while the loop does not run, and the
 * task succeeds in the second. */
static inline void
run_twice(uco_fn *waiter, void (*between)(void))
{
    const uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};
    uco_loop *loop = uco_loop_new(&options);
    struct two_runs runs = {.waiter = waiter};

    ck_assert_int_eq(uco_loop_run_until_complete(loop, first_run, &runs), 0);
    ck_assert(!uco_done(runs.task));
    between();
    ck_assert(!uco_done(runs.task));
    ck_assert_int_eq(uco_loop_run_until_complete(loop, second_run, &runs), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}

#endif
