/* SPDX-License-Identifier: MIT */
/*
 * Waiting for many: gather, gather_all, wait_any (in a loop: as_completed), wait_all and wait_for;
 * and what all waiting calls, uco_await() and uco_join() among them, have in common: cancelled
 * callers, races, threads, memory, cycles.
 */
#include "support/support.h"

#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1000 };

static void
assert_time(double seconds)
{
    ck_assert_double_eq_tol(uco_time(), seconds, 1e-3);
}

static uint64_t
count_timers(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.timers;
}

static uco_future *
resolved(intptr_t result)
{
    uco_future *f = uco_future_new();

    ck_assert_int_eq(uco_future_set_result(f, result), 0);
    return f;
}

static uco_task *
create_named(const char *name, uco_fn *fn, void *arg)
{
    uco_task_options options = {.name = name};

    return uco_create_task_with(&options, fn, arg);
}

static intptr_t
await_body(void *arg)
{
    return uco_await(arg);
}

/* A task that takes its time, and gives its result: also when it is cancelled, if it is a stubborn
 * one. */
struct job {
    double seconds;
    intptr_t result;
    bool stubborn;
    intptr_t result_when_cancelled; /* 0 = what uco_sleep() returned */
};

static struct job
job(double seconds, intptr_t result)
{
    return (struct job){.seconds = seconds, .result = result};
}

static struct job
job_stubborn(double seconds, intptr_t result)
{
    return (struct job){.seconds = seconds, .result = result, .stubborn = true};
}

static struct job
job_failing_when_cancelled(intptr_t error)
{
    return (struct job){.seconds = UCO_FOREVER, .result_when_cancelled = error};
}

static intptr_t
job_body(void *arg)
{
    const struct job *j = arg;
    uco_scope s = {{0}};
    intptr_t r;

    if (j->stubborn)
        ck_assert_int_eq(uco_shield_open(&s, UCO_FOREVER), 0);
    r = uco_sleep(j->seconds);
    if (j->stubborn)
        r = uco_scope_close(&s, r);
    if (r < 0)
        return j->result_when_cancelled < 0 ? j->result_when_cancelled : r;
    return j->result;
}

static void
start_jobs(struct job jobs[], uco_task *ts[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        ts[i] = uco_create_task(job_body, &jobs[i]);
}

static void
assert_results(const intptr_t results[], const intptr_t expected[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(results[i] == expected[i], "result %zu is %zd, not %zd", i,
                      (ssize_t) results[i], (ssize_t) expected[i]);
}

static void
assert_ended_with(uco_future *const fs[], const intptr_t expected[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        intptr_t result = uco_result(fs[i]);

        ck_assert_msg(result == expected[i], "future %zu ended with %zd, not %zd", i,
                      (ssize_t) result, (ssize_t) expected[i]);
    }
}

/* A task that gathers, for those who cancel it. */
struct gathering {
    int (*gather)(uco_future *fs[], size_t n, intptr_t results[]);
    uco_future **fs;
    size_t n;
    intptr_t results[4];
    int after; /* what the suspending call after it gave */
};

static intptr_t
gathering_body(void *arg)
{
    struct gathering *g = arg;
    int r = g->gather(g->fs, g->n, g->results);

    g->after = uco_yield();
    return r;
}

static intptr_t
gather_order_main(void *arg)
{
    struct job jobs[] = {job(3, 30), job(1, 10), job(2, 20)};
    uco_task *ts[3];
    intptr_t results[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_gather(ts, 3, results), 0);
    assert_time(3);
    assert_results(results, (intptr_t[]){30, 10, 20}, 3);
    uco_unref_all(ts, 3);
    return 0;
}

/* G1: in the order of the array, and after the time of the longest. */
START_TEST(gather_gives_results_in_order)
{
    run_in_all_orders(gather_order_main, NULL);
}
END_TEST

static intptr_t
gather_error_main(void *arg)
{
    struct job jobs[] = {job(5, 1), job(1, -EIO), job(2, -EPIPE), job(0.5, 4)};
    uco_task *ts[4];
    intptr_t results[4];

    (void) arg;
    start_jobs(jobs, ts, 4);
    ck_assert_int_eq(uco_gather(ts, 4, results), -EIO);
    assert_time(1);
    assert_results(results, (intptr_t[]){-ECANCELED, -EIO, -ECANCELED, 4}, 4);
    assert_ended_with(ts, results, 4);
    uco_unref_all(ts, 4);
    return 0;
}

/* G2, W4: the first failure ends the others. */
START_TEST(first_error_cancels_the_others)
{
    run_in_all_orders(gather_error_main, NULL);
}
END_TEST

static intptr_t
gather_waits_main(void *arg)
{
    struct job jobs[] = {job(1, -EIO), job_stubborn(4, 7), job_failing_when_cancelled(-EPIPE)};
    uco_task *ts[3];
    intptr_t results[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_gather(ts, 3, results), -EIO);
    assert_time(4);
    assert_results(results, (intptr_t[]){-EIO, 7, -EPIPE}, 3);
    uco_unref_all(ts, 3);
    return 0;
}

/* G2: what the others end with is in the results, and the first error stays the first. */
START_TEST(others_are_waited_for_after_the_first_error)
{
    run_in_all_orders(gather_waits_main, NULL);
}
END_TEST

/* G13: -EPIPE came when the gather had its error already. */
START_TEST(errors_after_the_first_count_as_read)
{
    struct reports r;
    uco_loop_options options = reporting(&r);

    ck_assert_int_eq(uco_run_with(&options, gather_waits_main, NULL), 0);
    ck_assert_msg(r.count == 0, "%s", r.all);
}
END_TEST

static intptr_t
gather_unwanted_main(void *arg)
{
    struct job jobs[] = {job(1, -EIO), job(2, -EPIPE), job_failing_when_cancelled(-EPIPE)};
    uco_task *ts[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_gather(ts, 3, NULL), -EIO);
    uco_unref_all(ts, 3);
    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_gather_all(ts, 2, NULL), 0);
    uco_unref_all(ts, 2);
    return 0;
}

/* G13: also where the caller had no use for the results. */
START_TEST(errors_nobody_wanted_count_as_read)
{
    struct reports r;
    uco_loop_options options = reporting(&r);

    ck_assert_int_eq(uco_run_with(&options, gather_unwanted_main, NULL), 0);
    ck_assert_msg(r.count == 0, "%s", r.all);
}
END_TEST

static intptr_t
gather_ended_before_main(void *arg)
{
    uco_future *fs[] = {uco_future_new(), uco_future_new(), uco_future_new(), resolved(3)};

    (void) arg;
    uco_future_set_result(fs[2], -EPIPE);
    uco_future_set_result(fs[1], -EIO);
    ck_assert_int_eq(uco_gather(fs, 4, NULL), -EIO);
    assert_ended_with(fs, (intptr_t[]){-ECANCELED, -EIO, -EPIPE, 3}, 4);
    uco_unref_all(fs, 4);
    return 0;
}

/* W4: of several failures from before the call nobody knows the order, so the lowest index is the
 * first. */
START_TEST(failures_from_before_the_call_count_by_index)
{
    run_in_all_orders(gather_ended_before_main, NULL);
}
END_TEST

/* Tasks that fail in the same turn: the first of them writes its error down. */
struct failing {
    intptr_t *first;
    intptr_t error;
};

static intptr_t
failing_body(void *arg)
{
    const struct failing *f = arg;

    if (*f->first == 0)
        *f->first = f->error;
    return f->error;
}

static intptr_t
gather_first_in_time_main(void *arg)
{
    intptr_t first = 0;
    struct failing failing[8];
    uco_task *ts[8];

    (void) arg;
    for (int i = 0; i < 8; i++) {
        failing[i] = (struct failing){&first, -1 - i};
        ts[i] = uco_create_task(failing_body, &failing[i]);
    }
    ck_assert_int_eq(uco_gather(ts, 8, NULL), first);
    uco_unref_all(ts, 8);
    return 0;
}

START_TEST(first_error_is_the_first_in_time)
{
    run_in_all_orders(gather_first_in_time_main, NULL);
}
END_TEST

static intptr_t
gather_one_cancelled_main(void *arg)
{
    struct job jobs[] = {job(2, 1), job(2, 2), job(2, 3)};
    uco_task *ts[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_cancel(ts[1]), 0);
    ck_assert_int_eq(uco_gather(ts, 3, NULL), -ECANCELED);
    ck_assert(!uco_cancelled());
    assert_ended_with(ts, (intptr_t[]){-ECANCELED, -ECANCELED, -ECANCELED}, 3);
    uco_unref_all(ts, 3);
    return 0;
}

START_TEST(cancelled_child_fails_its_gather)
{
    run_in_all_orders(gather_one_cancelled_main, NULL);
}
END_TEST

static intptr_t
count_body(void *arg)
{
    int *runs = arg;

    ck_assert_int_eq(uco_sleep(1), 0);
    return ++*runs;
}

static intptr_t
gather_twice_main(void *arg)
{
    int runs = 0;
    uco_task *t = uco_create_task(count_body, &runs);
    uco_future *fs[] = {t, t, t};
    intptr_t results[3];

    (void) arg;
    ck_assert_int_eq(uco_gather(fs, 3, results), 0);
    assert_results(results, (intptr_t[]){1, 1, 1}, 3);
    ck_assert_int_eq(uco_gather_all(fs, 3, results), 0);
    assert_results(results, (intptr_t[]){1, 1, 1}, 3);
    uco_unref(t);
    return 0;
}

/* G10: it runs once, and stands in the results as often as in the array. */
START_TEST(same_future_may_be_gathered_twice)
{
    run_in_all_orders(gather_twice_main, NULL);
}
END_TEST

static intptr_t
gather_twice_failing_main(void *arg)
{
    struct job jobs[] = {job(1, -EIO), job(2, 2)};
    uco_task *ts[2];
    intptr_t results[4];

    (void) arg;
    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_gather((uco_future *[]){ts[0], ts[1], ts[0], ts[1]}, 4, results), -EIO);
    assert_results(results, (intptr_t[]){-EIO, -ECANCELED, -EIO, -ECANCELED}, 4);
    uco_unref_all(ts, 2);
    return 0;
}

START_TEST(same_future_may_fail_or_be_cancelled_twice)
{
    run_in_all_orders(gather_twice_failing_main, NULL);
}
END_TEST

static intptr_t
nothing_main(void *arg)
{
    uco_future *fs[1] = {NULL};

    (void) arg;
    ck_assert_int_eq(uco_gather(NULL, 0, NULL), 0);
    ck_assert_int_eq(uco_gather(fs, 0, NULL), 0);
    ck_assert_int_eq(uco_gather_all(NULL, 0, NULL), 0);
    ck_assert_int_eq(uco_wait_all(NULL, 0, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_wait_all(NULL, 0, 0), 0);
    return 0;
}

/* G11: but any one of none there cannot be. */
START_TEST(all_of_nothing_is_there_at_once)
{
    ck_assert_int_eq(run_virtual(nothing_main, NULL), 0);
}
END_TEST

static intptr_t
gather_null_main(void *arg)
{
    struct job jobs[] = {job(1, 1), job(2, 2)};
    uco_task *ts[3] = {NULL, NULL, NULL};
    intptr_t results[3];

    (void) arg;
    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_gather((uco_future *[]){ts[0], NULL, ts[1]}, 3, results), -ENOMEM);
    assert_time(0);
    assert_results(results, (intptr_t[]){-ECANCELED, -ENOMEM, -ECANCELED}, 3);
    uco_unref_all(ts, 3);

    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_gather_all((uco_future *[]){NULL, ts[0], ts[1]}, 3, results), 0);
    assert_results(results, (intptr_t[]){-ENOMEM, 1, 2}, 3);
    uco_unref_all(ts, 3);
    return 0;
}

/* G12: a task that could not be created is a failed one, and leaves nothing running. */
START_TEST(null_in_a_gather_is_a_failed_task)
{
    run_in_all_orders(gather_null_main, NULL);
}
END_TEST

static intptr_t
gather_plain_main(void *arg)
{
    uco_future *fs[] = {uco_future_new(), uco_future_new()};
    struct gathering g = {uco_gather, fs, 2, .results = {0}};
    uco_task *t = uco_create_task(gathering_body, &g);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_future_set_result(fs[1], -EIO), 0);
    ck_assert_int_eq(uco_join(t), -EIO);
    ck_assert_int_eq(uco_result(fs[0]), -ECANCELED);
    ck_assert_int_eq(uco_future_set_result(fs[0], 1), -EALREADY);
    uco_unref_all(fs, 2);
    return 0;
}

START_TEST(gather_cancels_plain_futures_too)
{
    run_in_all_orders(gather_plain_main, NULL);
}
END_TEST

static intptr_t
gather_1000_main(void *arg)
{
    struct job *jobs = calloc(MANY, sizeof *jobs);
    uco_task *ts[MANY];
    intptr_t results[MANY];

    (void) arg;
    for (int i = 0; i < MANY; i++)
        jobs[i] = job((i * 7 + 1) % MANY * 1e-3, i);
    start_jobs(jobs, ts, MANY);
    ck_assert_int_eq(uco_gather(ts, MANY, results), 0);
    assert_time(0.999);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(results[i], i);
    uco_unref_all(ts, MANY);
    free(jobs);
    return 0;
}

START_TEST(gather_of_a_thousand)
{
    ck_assert_int_eq(run_virtual(gather_1000_main, NULL), 0);
    ck_assert_int_eq(run_seeded(7, gather_1000_main, NULL), 0);
}
END_TEST

static intptr_t
gather_all_main(void *arg)
{
    struct job jobs[] = {job(1, -EIO), job(3, 2), job(2, -EPIPE), job(4, 4)};
    uco_task *ts[4];
    intptr_t results[4];

    (void) arg;
    start_jobs(jobs, ts, 4);
    ck_assert_int_eq(uco_cancel(ts[3]), 0);
    ck_assert_int_eq(uco_gather_all(ts, 4, results), 0);
    assert_time(3);
    assert_results(results, (intptr_t[]){-EIO, 2, -EPIPE, -ECANCELED}, 4);
    uco_unref_all(ts, 4);
    return 0;
}

/* G4, G6: each error in its place, a child's own cancellation among them. */
START_TEST(gather_all_waits_for_all_and_gives_each_its_error)
{
    run_in_all_orders(gather_all_main, NULL);
}
END_TEST

static intptr_t
gather_cancelled_main(void *arg)
{
    struct job jobs[] = {job(9, 1), job_stubborn(4, 7), job_failing_when_cancelled(-EPIPE),
                         job(1, 5)};
    uco_task *ts[4];
    struct gathering g = {arg == NULL ? uco_gather : uco_gather_all, ts, 4, .results = {0}};
    uco_task *t;

    start_jobs(jobs, ts, 4);
    t = uco_create_task(gathering_body, &g);
    ck_assert_int_eq(uco_sleep(2), 0);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_join(t), -ECANCELED);
    assert_time(4);
    ck_assert_int_eq(g.after, -ECANCELED);
    assert_results(g.results, (intptr_t[]){-ECANCELED, 7, -EPIPE, 5}, 4);
    assert_ended_with(ts, g.results, 4);
    uco_unref_all(ts, 4);
    return 0;
}

START_TEST(cancelled_gather_cancels_and_completes)
{
    static int all;

    for (uint64_t seed = 0; seed <= 64; seed++) {
        ck_assert_int_eq(run_seeded(seed, gather_cancelled_main, NULL), 0);
        ck_assert_int_eq(run_seeded(seed, gather_cancelled_main, &all), 0);
    }
}
END_TEST

static intptr_t
gather_in_cancelled_main(void *arg)
{
    struct job jobs[] = {job(1, 1), job_stubborn(4, 7)};
    uco_task *ts[2];
    intptr_t results[2];
    uco_scope s;

    (void) arg;
    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_scope_open(&s, 0), 0);
    ck_assert_int_eq(uco_gather(ts, 2, results), -ECANCELED);
    assert_time(4);
    assert_results(results, (intptr_t[]){-ECANCELED, 7}, 2);
    ck_assert_int_eq(uco_gather_all(ts, 2, results), -ECANCELED);
    assert_results(results, (intptr_t[]){-ECANCELED, 7}, 2);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), -ETIMEDOUT);
    uco_unref_all(ts, 2);
    return 0;
}

START_TEST(gather_inside_a_cancelled_scope_completes)
{
    run_in_all_orders(gather_in_cancelled_main, NULL);
}
END_TEST

static intptr_t
branch_body(void *arg)
{
    uco_task *ts[8];
    int r;

    for (int i = 0; i < 8; i++)
        ts[i] = arg != NULL ? uco_create_task(branch_body, NULL)
                            : uco_create_task(body_sleep_forever, NULL);
    r = uco_gather(ts, 8, NULL);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(uco_result(ts[i]), -ECANCELED);
    uco_unref_all(ts, 8);
    return r;
}

static intptr_t
gather_tree_main(void *arg)
{
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, 1), 0);
    ck_assert_int_eq(uco_scope_close(&s, branch_body(&s)), -ETIMEDOUT);
    assert_time(1);
    return 0;
}

START_TEST(deadline_reaches_gathers_inside_gathers)
{
    run_in_all_orders(gather_tree_main, NULL);
}
END_TEST

static intptr_t
shielded_gather_main(void *arg)
{
    struct job jobs[] = {job(1, 1), job(2, 2)};
    uco_task *ts[2];
    struct gathering g = {uco_gather, ts, 2, .results = {0}};
    uco_task *gathering, *outer;

    (void) arg;
    start_jobs(jobs, ts, 2);
    gathering = uco_create_task(gathering_body, &g);
    outer = uco_create_task(await_body, gathering);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(outer), 0);
    ck_assert_int_eq(uco_join(outer), -ECANCELED);
    ck_assert_int_eq(uco_join(gathering), 0);
    assert_time(2);
    assert_results(g.results, (intptr_t[]){1, 2}, 2);
    uco_unref_all(ts, 2);
    return 0;
}

/* H5: a cancelled await leaves the gather and its children alone. */
START_TEST(gather_goes_on_when_who_awaits_it_is_cancelled)
{
    run_in_all_orders(shielded_gather_main, NULL);
}
END_TEST

static intptr_t
gather_of_awaits_main(void *arg)
{
    uco_future *inner[] = {uco_future_new(), uco_future_new()};
    uco_task *ts[2];
    struct gathering g = {uco_gather, ts, 2, .results = {0}};
    uco_task *t;

    (void) arg;
    for (int i = 0; i < 2; i++)
        ts[i] = uco_create_task(await_body, inner[i]);
    t = uco_create_task(gathering_body, &g);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_join(t), -ECANCELED);
    assert_results(g.results, (intptr_t[]){-ECANCELED, -ECANCELED}, 2);
    ck_assert(!uco_done(inner[0]) && !uco_done(inner[1]));
    uco_unref_all(ts, 2);
    uco_unref_all(inner, 2);
    return 0;
}

/* H6: those that await are cancelled, not what they await. */
START_TEST(cancelled_gather_stops_at_those_who_only_await)
{
    run_in_all_orders(gather_of_awaits_main, NULL);
}
END_TEST

static intptr_t
gather_across_loops_main(void *arg)
{
    uco_loop *other = arg;
    struct job fails = job(0.01, -EIO);
    uco_future *fs[4] = {
        uco_run_coroutine_threadsafe(other, body_sleep_forever, NULL),
        uco_create_task(body_sleep_forever, NULL),
        uco_run_coroutine_threadsafe(other, job_body, &fails),
        uco_run_coroutine_threadsafe(other, body_return, (void *) 4),
    };
    intptr_t results[4];

    ck_assert_int_eq(uco_await(fs[3]), 4);
    ck_assert_int_eq(uco_gather(fs, 4, results), -EIO);
    assert_results(results, (intptr_t[]){-ECANCELED, -ECANCELED, -EIO, 4}, 4);
    uco_unref_all(fs, 4);
    return 0;
}

/* G12: the other way round in uco: futures of several loops may be mixed, and are cancelled where
 * they are. */
START_TEST(gather_takes_tasks_of_several_loops)
{
    uco_loop_thread *l = uco_loop_thread_start(NULL);

    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(run_real(gather_across_loops_main, uco_loop_thread_loop(l)), 0);
    ck_assert_int_eq(uco_loop_thread_stop(l), 0);
}
END_TEST

static void
new_futures(uco_future *fs[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fs[i] = uco_future_new();
        ck_assert_ptr_nonnull(fs[i]);
    }
}

static intptr_t
wait_without_memory_main(void *arg)
{
    uco_future *fs[MANY];

    (void) arg;
    new_futures(fs, MANY);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_wait_all(fs, MANY, 1), -ENOMEM);
    ck_assert_int_eq(uco_wait_any(fs, MANY, 1), -ENOMEM);
    uco_test_fail_off();
    assert_time(0);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_int_eq(uco_future_set_result(fs[i], 1), 0);
    ck_assert_int_eq(uco_wait_all(fs, MANY, 1), 0);
    uco_unref_all(fs, MANY);
    return 0;
}

START_TEST(waiting_without_memory_changes_nothing)
{
    ck_assert_int_eq(run_virtual(wait_without_memory_main, NULL), 0);
}
END_TEST

static intptr_t
gather_without_memory_main(void *arg)
{
    struct job stubborn = job_stubborn(2, 5);
    uco_future *fs[MANY];

    (void) arg;
    new_futures(fs, MANY - 1);
    fs[MANY - 1] = uco_create_task(job_body, &stubborn);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco_gather(fs, MANY, NULL), -ENOMEM);
    assert_time(2);
    for (size_t i = 0; i < MANY - 1; i++)
        ck_assert_int_eq(uco_result(fs[i]), -ECANCELED);
    ck_assert_int_eq(uco_result(fs[MANY - 1]), 5);
    uco_unref_all(fs, MANY);
    return 0;
}

START_TEST(gather_without_memory_cancels_and_completes)
{
    ck_assert_int_eq(run_virtual(gather_without_memory_main, NULL), 0);
}
END_TEST

static intptr_t
gather_all_without_memory_main(void *arg)
{
    uco_future *fs[MANY];

    (void) arg;
    new_futures(fs, MANY);
    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco_gather_all(fs, MANY, NULL), -ENOMEM);
    uco_unref_all(fs, MANY);
    return 0;
}

START_TEST(gather_all_without_memory_says_so)
{
    ck_assert_int_eq(run_virtual(gather_all_without_memory_main, NULL), 0);
}
END_TEST

static intptr_t
any_main(void *arg)
{
    struct job jobs[] = {job(3, 3), job(1, -EIO), job(2, 2)};
    uco_task *ts[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_wait_any(ts, 3, UCO_FOREVER), 1);
    assert_time(1);
    ck_assert(!uco_done(ts[0]) && !uco_done(ts[2]));
    ck_assert_int_eq(uco_gather_all(ts, 3, NULL), 0);
    assert_time(3);
    uco_unref_all(ts, 3);
    return 0;
}

/* W2: as soon as one is done, and whatever with. */
START_TEST(wait_any_gives_the_index_of_the_first)
{
    run_in_all_orders(any_main, NULL);
}
END_TEST

static intptr_t
any_ended_before_main(void *arg)
{
    uco_future *fs[] = {uco_future_new(), uco_future_new(), resolved(2), NULL};

    (void) arg;
    ck_assert_int_eq(uco_wait_any(fs, 4, UCO_FOREVER), 2);
    uco_future_set_result(fs[1], 1);
    ck_assert_int_eq(uco_wait_any(fs, 4, 0), 1);
    ck_assert_int_eq(uco_wait_any(&fs[3], 1, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_wait_any((uco_future *[]){fs[0], NULL}, 2, UCO_FOREVER), 1);
    uco_unref_all(fs, 4);
    return 0;
}

START_TEST(wait_any_gives_the_lowest_index_of_those_that_had_ended)
{
    ck_assert_int_eq(run_virtual(any_ended_before_main, NULL), 0);
}
END_TEST

struct any {
    uco_future **fs;
    size_t n;
};

static intptr_t
any_body(void *arg)
{
    const struct any *a = arg;

    return uco_wait_any(a->fs, a->n, UCO_FOREVER);
}

static intptr_t
any_first_in_time_main(void *arg)
{
    uco_future *fs[] = {uco_future_new(), uco_future_new(), uco_future_new()};
    struct any any = {fs, 3};
    uco_task *t = uco_create_task(any_body, &any);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    for (int i = 2; i >= 0; i--)
        uco_future_set_result(fs[i], i);
    ck_assert_int_eq(uco_join(t), 2);
    uco_unref_all(fs, 3);
    return 0;
}

/* All three are done before the one who waits runs again. */
START_TEST(wait_any_gives_the_first_in_time)
{
    run_in_all_orders(any_first_in_time_main, NULL);
}
END_TEST

static intptr_t
wait_bad_main(void *arg)
{
    uco_future *f = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_wait_any(NULL, 0, 1), -EINVAL);
    ck_assert_int_eq(uco_wait_any(&f, 0, 1), -EINVAL);
    ck_assert_int_eq(uco_wait_any(NULL, 1, 1), -EINVAL);
    ck_assert_int_eq(uco_wait_any(&f, 1, (double) NAN), -EINVAL);
    ck_assert_int_eq(uco_wait_all(NULL, 1, 1), -EINVAL);
    ck_assert_int_eq(uco_wait_all(&f, 1, (double) NAN), -EINVAL);
    ck_assert_int_eq(uco_wait_for(f, (double) NAN), -EINVAL);
    ck_assert_int_eq(uco_wait_for(NULL, 1), -ENOMEM);
    ck_assert_int_eq(uco_gather(NULL, 1, NULL), -EINVAL);
    ck_assert_int_eq(uco_gather_all(NULL, 1, NULL), -EINVAL);
    ck_assert(!uco_done(f));
    assert_time(0);
    uco_unref(f);
    return 0;
}

/* W7: an empty set has no first one. */
START_TEST(bad_arguments_are_refused)
{
    ck_assert_int_eq(run_virtual(wait_bad_main, NULL), 0);
}
END_TEST

static intptr_t
timeout_main(void *arg)
{
    struct job jobs[] = {job(1, 1), job(5, 5), job(5, 6)};
    uco_task *ts[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_wait_any(ts, 3, 0.5), -ETIMEDOUT);
    assert_time(0.5);
    ck_assert_int_eq(uco_wait_all(ts, 3, 1.0), -ETIMEDOUT);
    assert_time(1.5);
    ck_assert(uco_done(ts[0]) && !uco_done(ts[1]) && !uco_done(ts[2]));
    ck_assert_int_eq(uco_wait_all(ts, 3, UCO_FOREVER), 0);
    assert_time(5);
    assert_ended_with(ts, (intptr_t[]){1, 5, 6}, 3);
    uco_unref_all(ts, 3);
    return 0;
}

/* W1, W5: who runs out of time cancels nothing, and may wait on. */
START_TEST(wait_that_times_out_cancels_nothing)
{
    run_in_all_orders(timeout_main, NULL);
}
END_TEST

static intptr_t
look_main(void *arg)
{
    uco_future *fs[] = {uco_future_new(), resolved(1)};

    (void) arg;
    for (int timeout = 0; timeout >= -1; timeout--) {
        ck_assert_int_eq(uco_wait_any(fs, 1, timeout), -ETIMEDOUT);
        ck_assert_int_eq(uco_wait_any(fs, 2, timeout), 1);
        ck_assert_int_eq(uco_wait_all(fs, 2, timeout), -ETIMEDOUT);
        ck_assert_int_eq(uco_wait_all(&fs[1], 1, timeout), 0);
    }
    ck_assert_int_eq(uco_wait_any(fs, 1, -HUGE_VAL), -ETIMEDOUT);
    assert_time(0);
    uco_unref_all(fs, 2);
    return 0;
}

START_TEST(wait_of_no_time_only_looks)
{
    ck_assert_int_eq(run_virtual(look_main, NULL), 0);
}
END_TEST

static void
resolve_callback(void *arg)
{
    ck_assert_int_eq(uco_future_set_result(arg, 1), 0);
}

static intptr_t
same_moment_main(void *arg)
{
    uco_future *f;
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    for (int kind = 0; kind < 3; kind++) {
        f = uco_future_new();
        uco_loop_call_later(loop, 1, resolve_callback, f);
        if (kind == 0)
            ck_assert_int_eq(uco_wait_any(&f, 1, 1), 0);
        else if (kind == 1)
            ck_assert_int_eq(uco_wait_all(&f, 1, 1), 0);
        else
            ck_assert_int_eq(uco_wait_for(f, 1), 1);
        assert_time(kind + 1);
        uco_unref(f);
    }
    return 0;
}

/* W6, O19: the result was there first, though by less than any clock shows. */
START_TEST(result_at_the_moment_of_the_deadline_counts)
{
    run_in_all_orders(same_moment_main, NULL);
}
END_TEST

static intptr_t
same_turn_main(void *arg)
{
    uco_task *t;

    (void) arg;
    for (int kind = 0; kind < 2; kind++) {
        t = uco_create_task(body_sleep_1s, (void *) 5);
        ck_assert_int_eq(uco_test_settle(), 0);
        if (kind == 0)
            ck_assert_int_eq(uco_wait_any(&t, 1, 1), 0);
        else
            ck_assert_int_eq(uco_wait_all(&t, 1, 1), 0);
        ck_assert_int_eq(uco_join(t), 5);
    }
    return 0;
}

/* W6: both are woken by the clock, and the task has ended when the one who waits looks at it. */
START_TEST(task_that_ends_in_the_turn_of_the_deadline_counts)
{
    ck_assert_int_eq(run_fifo(same_turn_main, NULL), 0);
}
END_TEST

static intptr_t
unused_timeout_main(void *arg)
{
    struct job jobs[] = {job(1, 1), job(2, 2)};
    uco_task *ts[2];
    uint64_t before = count_timers();

    (void) arg;
    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_wait_any(ts, 2, 100), 0);
    ck_assert_int_eq(uco_wait_all(ts, 2, 100), 0);
    ck_assert_int_eq(uco_wait_for(ts[0], 100), 1);
    ck_assert_uint_eq(count_timers(), before);
    assert_time(2);
    uco_unref_all(ts, 2);
    return 0;
}

/* A3, O19: and so nothing fires late. */
START_TEST(timeout_not_needed_leaves_no_timer)
{
    run_in_all_orders(unused_timeout_main, NULL);
}
END_TEST

static intptr_t
duplicates_main(void *arg)
{
    uco_future *f = uco_future_new(), *g = uco_future_new();
    uco_future *fs[] = {f, f, g, f};
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    uco_loop_call_later(loop, 1, resolve_callback, f);
    uco_loop_call_later(loop, 2, resolve_callback, g);
    ck_assert_ptr_eq(fs[uco_wait_any(fs, 4, UCO_FOREVER)], f);
    assert_time(1);
    ck_assert_int_eq(uco_wait_any(fs, 4, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_wait_all(fs, 4, UCO_FOREVER), 0);
    assert_time(2);
    uco_unref(f);
    uco_unref(g);
    return 0;
}

/* W7: three times the same one are not three that are done. */
START_TEST(duplicates_count_once)
{
    run_in_all_orders(duplicates_main, NULL);
}
END_TEST

static intptr_t
wait_all_main(void *arg)
{
    struct job jobs[] = {job(1, -EIO), job(3, 3), job(2, 2)};
    uco_task *ts[4] = {NULL, NULL, NULL, NULL};

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_wait_all(ts, 4, UCO_FOREVER), 0);
    assert_time(3);
    assert_ended_with(ts, (intptr_t[]){-EIO, 3, 2}, 3);
    uco_unref_all(ts, 4);
    return 0;
}

/* W1: a failure is an end like any other, and so is NULL. */
START_TEST(wait_all_waits_for_all)
{
    run_in_all_orders(wait_all_main, NULL);
}
END_TEST

/* The usual loop: takes whichever ends next out of the array, until deadline; what is left is
 * moved to the front. */
static size_t
as_completed(uco_future *fs[], size_t n, double deadline, struct trace *t)
{
    while (n > 0) {
        ssize_t i = uco_wait_any(fs, n, deadline - uco_time());

        if (i < 0) {
            ck_assert_int_eq(i, -ETIMEDOUT);
            break;
        }
        trace_add(t, (char) uco_result(fs[i]));
        uco_unref(fs[i]);
        memmove(&fs[i], &fs[i + 1], (--n - (size_t) i) * sizeof *fs);
    }
    return n;
}

static intptr_t
as_completed_main(void *arg)
{
    struct job jobs[] = {job(3, 'd'), job(1, 'a'), job(2, 'b'),
                         job(2, 'c'), job(0, 'x'), job(4, 'e')};
    uco_task *ts[6];
    struct trace t = {0};

    (void) arg;
    start_jobs(jobs, ts, 6);
    ck_assert_uint_eq(as_completed(ts, 6, UCO_FOREVER, &t), 0);
    ck_assert_str_eq(t.text, "xabcde");
    return 0;
}

/* A1: wait_any in a loop. */
START_TEST(as_completed_goes_by_time)
{
    ck_assert_int_eq(run_fifo(as_completed_main, NULL), 0);
}
END_TEST

static intptr_t
as_completed_in_time_main(void *arg)
{
    struct job jobs[] = {job(3, 'c'), job(1, 'a'), job(9, 'd'), job(2, 'b')};
    uco_task *ts[4];
    struct trace t = {0};

    (void) arg;
    start_jobs(jobs, ts, 4);
    ck_assert_uint_eq(as_completed(ts, 4, 2.5, &t), 2);
    assert_time(2.5);
    ck_assert_str_eq(t.text, "ab");
    ck_assert(!uco_done(ts[0]) && !uco_done(ts[1]));
    ck_assert_uint_eq(as_completed(ts, 2, UCO_FOREVER, &t), 0);
    ck_assert_str_eq(t.text, "abcd");
    return 0;
}

/* A2: what had ended is delivered, and what is left goes on. */
START_TEST(as_completed_stops_at_its_deadline)
{
    run_in_all_orders(as_completed_in_time_main, NULL);
}
END_TEST

static intptr_t
as_completed_twice_main(void *arg)
{
    struct job jobs[] = {job(2, 'b'), job(1, 'a')};
    uco_task *ts[2];
    uco_future *fs[4];
    struct trace t = {0};
    size_t n = 4;

    (void) arg;
    start_jobs(jobs, ts, 2);
    memcpy(fs, (uco_future *[]){ts[0], ts[1], ts[0], ts[1]}, sizeof fs);
    while (n > 0) {
        uco_future *f = fs[uco_wait_any(fs, n, UCO_FOREVER)];
        size_t left = 0;

        trace_add(&t, (char) uco_result(f));
        for (size_t i = 0; i < n; i++)
            if (fs[i] != f)
                fs[left++] = fs[i];
        n = left;
    }
    ck_assert_str_eq(t.text, "ab");
    uco_unref_all(ts, 2);
    return 0;
}

/* A6: one who takes all entries of what is done out of the array meets it once. */
START_TEST(as_completed_delivers_duplicates_once)
{
    run_in_all_orders(as_completed_twice_main, NULL);
}
END_TEST

static intptr_t
wait_for_main(void *arg)
{
    struct job jobs[] = {job(1, 7), job(1, -EIO), job(0, -ECANCELED)};
    uco_task *ts[3];

    (void) arg;
    start_jobs(jobs, ts, 3);
    ck_assert_int_eq(uco_wait_for(ts[0], 2), 7);
    ck_assert_int_eq(uco_wait_for(ts[1], UCO_FOREVER), -EIO);
    ck_assert_int_eq(uco_wait_for(ts[2], 2), -ECANCELED);
    assert_time(1);
    ck_assert(!uco_cancelled());
    uco_unref_all(ts, 3);
    return 0;
}

/* O19: a child that was cancelled, but not by the deadline, did not time out. */
START_TEST(wait_for_gives_what_came_in_time)
{
    run_in_all_orders(wait_for_main, NULL);
}
END_TEST

static intptr_t
wait_for_expired_main(void *arg)
{
    uco_task *t = uco_create_task(body_sleep_forever, NULL);
    uco_future *f = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_wait_for(t, 1), -ETIMEDOUT);
    assert_time(1);
    ck_assert_int_eq(uco_result(t), -ECANCELED);
    ck_assert_int_eq(uco_wait_for(f, 1), -ETIMEDOUT);
    assert_time(2);
    ck_assert_int_eq(uco_result(f), -ECANCELED);
    ck_assert_int_eq(uco_future_set_result(f, 1), -EALREADY);
    ck_assert(!uco_cancelled());
    uco_unref(t);
    uco_unref(f);
    return 0;
}

START_TEST(wait_for_cancels_at_its_deadline)
{
    run_in_all_orders(wait_for_expired_main, NULL);
}
END_TEST

static intptr_t
wait_for_late_main(void *arg)
{
    struct job jobs[] = {job_stubborn(5, 7), job_failing_when_cancelled(-EIO)};
    uco_task *ts[2];

    (void) arg;
    start_jobs(jobs, ts, 2);
    ck_assert_int_eq(uco_wait_for(ts[0], 1), 7);
    assert_time(5);
    ck_assert_int_eq(uco_wait_for(ts[1], 1), -EIO);
    assert_time(6);
    uco_unref_all(ts, 2);
    return 0;
}

/* O16: it waits until the child has ended, and what that made of its cancellation wins over the
 * timeout. */
START_TEST(wait_for_gives_what_a_cancelled_child_ended_with)
{
    run_in_all_orders(wait_for_late_main, NULL);
}
END_TEST

static intptr_t
never_body(void *arg)
{
    (void) arg;
    ck_abort_msg("a task ran that never was to start");
}

static void
discard_count(void *arg)
{
    ++*(int *) arg;
}

static intptr_t
wait_for_no_time_main(void *arg)
{
    int discarded = 0;
    uco_task_options options = {.discard = discard_count};

    (void) arg;
    for (int timeout = 0; timeout >= -1; timeout--) {
        uco_task *t = uco_create_task_with(&options, never_body, &discarded);
        uco_future *f = resolved(7);

        ck_assert_int_eq(uco_wait_for(f, timeout), 7);
        ck_assert_int_eq(uco_wait_for(t, timeout), -ETIMEDOUT);
        ck_assert_int_eq(uco_result(t), -ECANCELED);
        ck_assert_int_eq(discarded, 1 - timeout);
        uco_unref(t);
        uco_unref(f);
    }
    assert_time(0);
    return 0;
}

/* O13: a done one gives its value; one that has not started never does. */
START_TEST(wait_for_no_time_starts_nothing)
{
    run_in_all_orders(wait_for_no_time_main, NULL);
}
END_TEST

struct limited {
    uco_future *f;
    double timeout;
};

static intptr_t
limited_body(void *arg)
{
    const struct limited *l = arg;

    return uco_wait_for(l->f, l->timeout);
}

static intptr_t
wait_for_cancelled_main(void *arg)
{
    const double timeouts[] = {UCO_FOREVER, 10};

    (void) arg;
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        uco_task *child = uco_create_task(body_sleep_forever, NULL);
        struct limited l = {child, timeouts[i]};
        uco_task *t = uco_create_task(limited_body, &l);

        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_int_eq(uco_cancel(t), 0);
        ck_assert_int_eq(uco_join(t), -ECANCELED);
        ck_assert_int_eq(uco_result(child), -ECANCELED);
        uco_unref(child);
    }
    assert_time(0);
    ck_assert_uint_eq(count_timers(), 0);
    return 0;
}

/* O18: with a timeout and without. */
START_TEST(cancelled_wait_for_cancels_its_child)
{
    run_in_all_orders(wait_for_cancelled_main, NULL);
}
END_TEST

static intptr_t
clean_up_body(void *arg)
{
    uco_scope s;
    int r = uco_sleep(UCO_FOREVER);

    ck_assert_int_eq(uco_shield_open(&s, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(*(double *) arg), 0);
    return uco_scope_close(&s, r);
}

static intptr_t
wait_for_cancelled_then_late_main(void *arg)
{
    double clean_up = 5;
    uco_task *child = uco_create_task(clean_up_body, &clean_up);
    struct limited l = {child, 2};
    uco_task *t = uco_create_task(limited_body, &l);

    (void) arg;
    ck_assert_int_eq(uco_sleep(1), 0);
    ck_assert_int_eq(uco_cancel(t), 0);
    ck_assert_int_eq(uco_join(t), -ECANCELED);
    assert_time(6);
    uco_unref(child);
    return 0;
}

/* O18: it was the caller's cancellation that ended the child, so a deadline that passes meanwhile
 * does not count. */
START_TEST(deadline_after_the_cancellation_is_no_timeout)
{
    run_in_all_orders(wait_for_cancelled_then_late_main, NULL);
}
END_TEST

/* All calls that wait, as one: for a single future, giving its result or else the call's own
 * error. */
static intptr_t
wait_by_join(uco_future *f)
{
    intptr_t result = uco_join(uco_ref(f));

    if (result == -EDEADLK || result == -EPERM)
        uco_unref(f);
    return result;
}

static intptr_t
wait_by_wait_for(uco_future *f)
{
    return uco_wait_for(f, UCO_FOREVER);
}

static intptr_t
wait_by_gather(uco_future *f)
{
    intptr_t result = -EBADMSG;
    int r = uco_gather(&f, 1, &result);

    return r < 0 ? r : result;
}

static intptr_t
wait_by_gather_all(uco_future *f)
{
    intptr_t result = -EBADMSG;
    int r = uco_gather_all(&f, 1, &result);

    return r < 0 ? r : result;
}

static intptr_t
wait_by_any(uco_future *f)
{
    ssize_t r = uco_wait_any(&f, 1, UCO_FOREVER);

    return r < 0 ? r : uco_result(f);
}

static intptr_t
wait_by_all(uco_future *f)
{
    int r = uco_wait_all(&f, 1, UCO_FOREVER);

    return r < 0 ? r : uco_result(f);
}

static const struct kind {
    intptr_t (*wait)(uco_future *f);
    bool completing;
    intptr_t done_in_cancelled_scope; /* what it gives for a future that is done with 4 */
} kinds[] = {
    {uco_await, false, -ECANCELED},
    {wait_by_join, true, 4},
    {wait_by_wait_for, true, 4},
    {wait_by_gather, true, -ECANCELED},
    {wait_by_gather_all, true, -ECANCELED},
    {wait_by_any, false, -ECANCELED},
    {wait_by_all, false, -ECANCELED},
};

/* The first of them, those that look for cycles: uco_await() and the completing ones. */
enum { CYCLE_KINDS = 5 };

/* A task that waits for f by one of them, and then tries to suspend once more. */
struct waiting {
    const struct kind *kind;
    uco_future *f;
    uco_task *task;
    intptr_t got;
    int after;
};

static intptr_t
waiting_body(void *arg)
{
    struct waiting *w = arg;

    w->got = w->kind->wait(w->f);
    w->after = uco_yield();
    return 0;
}

static void
waiting_start(struct waiting *w)
{
    w->task = uco_create_task(waiting_body, w);
    ck_assert_int_eq(uco_test_settle(), 0);
}

static void
kind_outside(void *arg)
{
    struct waiting *w = arg;

    w->got = w->kind->wait(w->f);
}

static intptr_t
kind_in_callback_main(void *arg)
{
    struct waiting *w = arg;

    uco_loop_call_soon(uco_get_running_loop(), kind_outside, w);
    return uco_yield();
}

/* Also of what is done: whether a call may be made does not depend on its luck. */
START_TEST(outside_a_coroutine_each_is_refused)
{
    uco_future *fs[] = {uco_future_new(), resolved(4)};

    for (size_t i = 0; i < COUNT(fs); i++) {
        struct waiting w = {.kind = &kinds[_i], .f = fs[i]};

        kind_outside(&w);
        ck_assert_int_eq(w.got, -EPERM);
        w.got = 0;
        ck_assert_int_eq(run_virtual(kind_in_callback_main, &w), 0);
        ck_assert_int_eq(w.got, -EPERM);
    }
    ck_assert(!uco_done(fs[0]));
    uco_unref_all(fs, 2);
}
END_TEST

static intptr_t
kind_cancelled_main(void *arg)
{
    struct waiting w = {.kind = arg, .f = uco_future_new()};

    waiting_start(&w);
    ck_assert_int_eq(uco_cancel(w.task), 0);
    ck_assert_int_eq(uco_join(w.task), 0);
    ck_assert_int_eq(w.got, -ECANCELED);
    ck_assert_int_eq(w.after, -ECANCELED);
    ck_assert(uco_done(w.f) == w.kind->completing);
    uco_unref(w.f);
    return 0;
}

/* H3, K24, W8: awaiting leaves the other running, completing calls take it along. */
START_TEST(cancelled_caller_cancels_only_by_completing_calls)
{
    for (uint64_t seed = 0; seed <= 64; seed++)
        ck_assert_int_eq(run_seeded(seed, kind_cancelled_main, (void *) &kinds[_i]), 0);
}
END_TEST

static intptr_t
kind_in_cancelled_scope_main(void *arg)
{
    const struct kind *kind = arg;
    uco_future *pending = uco_future_new(), *done = resolved(4);
    uco_scope s;

    ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&s), 0);
    ck_assert_int_eq(kind->wait(done), kind->done_in_cancelled_scope);
    ck_assert_int_eq(kind->wait(pending), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), 0);
    ck_assert(uco_done(pending) == kind->completing);
    ck_assert_int_eq(kind->wait(done), 4);
    uco_unref(pending);
    uco_unref(done);
    return 0;
}

START_TEST(inside_a_cancelled_scope_each_gives_up_or_completes)
{
    ck_assert_int_eq(run_virtual(kind_in_cancelled_scope_main, (void *) &kinds[_i]), 0);
}
END_TEST

/* Two tasks that race: one resolves what a third waits for, the other cancels the third. */
struct race {
    struct waiting waiting;
    char first;
};

static intptr_t
race_resolve(void *arg)
{
    struct race *r = arg;

    if (r->first == 0)
        r->first = 'r';
    uco_future_set_result(r->waiting.f, 42);
    return 0;
}

static intptr_t
race_cancel(void *arg)
{
    struct race *r = arg;

    if (r->first == 0)
        r->first = 'c';
    return uco_cancel(r->waiting.task);
}

static intptr_t
race_main(void *arg)
{
    struct race *r = arg;
    uco_task *ts[2];

    r->waiting.f = uco_future_new();
    waiting_start(&r->waiting);
    ts[0] = uco_create_task(race_resolve, r);
    ts[1] = uco_create_task(race_cancel, r);
    ck_assert_int_eq(uco_gather(ts, 2, NULL), 0);
    ck_assert_int_eq(uco_join(r->waiting.task), 0);
    uco_unref_all(ts, 2);
    uco_unref(r->waiting.f);
    return 0;
}

/* What was granted before the cancellation is kept, and the next call fails. After it the result
 * comes too late; but those who return what the other ended with may find that it had ended when
 * they set out to cancel it. */
START_TEST(result_and_cancellation_race)
{
    bool seen[2] = {false, false};

    for (uint64_t seed = 1; seed <= 64; seed++) {
        struct race r = {.waiting.kind = &kinds[_i]};

        ck_assert_int_eq(run_seeded(seed, race_main, &r), 0);
        if (r.first == 'r')
            ck_assert_int_eq(r.waiting.got, 42);
        else if (r.waiting.kind->done_in_cancelled_scope != 4 || r.waiting.got != 42)
            ck_assert_int_eq(r.waiting.got, -ECANCELED);
        ck_assert_int_eq(r.waiting.after, -ECANCELED);
        seen[r.first == 'r'] = true;
    }
    ck_assert(seen[0] && seen[1]);
}
END_TEST

/* A task of a ring in which each waits for the next. */
struct link {
    uco_task **next;
    const struct kind *kind;
    intptr_t got;
};

static intptr_t
link_body(void *arg)
{
    struct link *l = arg;

    l->got = l->kind->wait(*l->next);
    return 7;
}

struct ring {
    size_t size;
    size_t kind; /* CYCLE_KINDS = all of them, in turn */
};

static intptr_t
ring_main(void *arg)
{
    const struct ring *r = arg;
    struct link links[100];
    uco_task *ts[100];
    size_t refused = 0;

    for (size_t i = 0; i < r->size; i++) {
        links[i].kind = &kinds[r->kind < CYCLE_KINDS ? r->kind : i % CYCLE_KINDS];
        links[i].next = &ts[(i + 1) % r->size];
        ts[i] = uco_create_task(link_body, &links[i]);
    }
    ck_assert_int_eq(uco_wait_all(ts, r->size, UCO_FOREVER), 0);
    for (size_t i = 0; i < r->size; i++) {
        ck_assert(links[i].got == 7 || links[i].got == -EDEADLK);
        refused += links[i].got == -EDEADLK;
    }
    ck_assert_uint_eq(refused, 1);
    uco_unref_all(ts, r->size);
    return 0;
}

/* Only the wait that would close the ring is refused, and then all end. One task by itself is a
 * ring, too. */
START_TEST(wait_that_would_close_a_ring_is_refused)
{
    const size_t sizes[] = {1, 2, 3, 100};

    for (size_t i = 0; i < COUNT(sizes); i++)
        for (uint64_t seed = 0; seed <= 64; seed++) {
            struct ring r = {sizes[i], (size_t) _i};

            ck_assert_int_eq(run_seeded(seed, ring_main, &r), 0);
        }
}
END_TEST

static intptr_t
ancestor_leaf(void *arg)
{
    for (size_t i = 0; i < CYCLE_KINDS; i++)
        ck_assert_int_eq(kinds[i].wait(arg), -EDEADLK);
    return 0;
}

static intptr_t
ancestor_child(void *arg)
{
    return uco_join(uco_create_task(ancestor_leaf, arg));
}

static intptr_t
ancestor_main(void *arg)
{
    uco_task *self = uco_current_task();

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(ancestor_leaf, self)), 0);
    ck_assert_int_eq(uco_join(uco_create_task(ancestor_child, self)), 0);
    return 0;
}

START_TEST(waiting_for_an_ancestor_is_refused)
{
    run_in_all_orders(ancestor_main, NULL);
}
END_TEST

static intptr_t
idle_ancestor_main(void *arg)
{
    uco_task *t = uco_create_task(ancestor_leaf, uco_current_task());

    (void) arg;
    ck_assert_int_eq(uco_sleep(1), 0);
    ck_assert(uco_done(t));
    ck_assert_int_eq(uco_join(t), 0);
    return 0;
}

/* It does not wait for its children yet, but will have to at its end. */
START_TEST(waiting_for_an_ancestor_that_waits_for_nothing_is_refused)
{
    run_in_all_orders(idle_ancestor_main, NULL);
}
END_TEST

static intptr_t
await_creator_body(void *arg)
{
    ck_assert_int_eq(uco_detach(uco_current_task()), 0);
    return uco_await(arg);
}

static intptr_t
creator_body(void *arg)
{
    uco_task **child = arg;

    *child = uco_create_task(await_creator_body, uco_current_task());
    ck_assert_int_eq(uco_sleep(1), 0);
    return 9;
}

static intptr_t
detached_main(void *arg)
{
    uco_task *child = NULL;

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(creator_body, &child)), 9);
    ck_assert_int_eq(uco_join(child), 9);
    return 0;
}

START_TEST(detached_task_may_wait_for_who_created_it)
{
    run_in_all_orders(detached_main, NULL);
}
END_TEST

static intptr_t
diamond_main(void *arg)
{
    uco_task *bottom = uco_create_task(body_sleep_1s, (void *) 5);
    uco_task *ts[4] = {bottom, bottom, bottom, bottom};

    (void) arg;
    for (size_t i = 1; i < 4; i++)
        ts[i] = uco_create_task(await_body, ts[i - 1]);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_gather(ts, 4, NULL), 0);
    assert_ended_with(ts, (intptr_t[]){5, 5, 5, 5}, 4);
    uco_unref_all(ts, 4);
    return 0;
}

START_TEST(several_ways_to_one_task_are_no_cycle)
{
    run_in_all_orders(diamond_main, NULL);
}
END_TEST

static intptr_t
gather_with_self_body(void *arg)
{
    int (*const gathers[])(uco_future *[], size_t, intptr_t[]) = {uco_gather, uco_gather_all};
    uco_task *other = arg;

    for (size_t i = 0; i < 2; i++) {
        uco_future *fs[] = {other, NULL, uco_current_task(), other};
        intptr_t results[] = {91, 92, 93, 94};

        ck_assert_int_eq(gathers[i](fs, 4, results), -EDEADLK);
        assert_results(results, (intptr_t[]){91, 92, 93, 94}, 4);
        ck_assert(!uco_done(other));
    }
    return 0;
}

static intptr_t
gather_with_self_main(void *arg)
{
    uco_task *other = uco_create_task(body_sleep_1s, (void *) 5);

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(gather_with_self_body, other)), 0);
    ck_assert_int_eq(uco_join(other), 5);
    return 0;
}

START_TEST(refused_gather_cancels_nothing_and_leaves_the_results)
{
    run_in_all_orders(gather_with_self_main, NULL);
}
END_TEST

static intptr_t
mule_main(void *arg)
{
    const struct kind *kind = arg;
    struct job slow = job_stubborn(35, 5);
    uco_task *mule = create_named("mule", job_body, &slow);
    uco_scope s;

    ck_assert_int_eq(uco_scope_open(&s, 1), 0);
    ck_assert_int_eq(uco_scope_close(&s, kind->wait(mule)),
                     kind->done_in_cancelled_scope == 4 ? 5 : -ETIMEDOUT);
    assert_time(35);
    ck_assert_int_eq(uco_result(mule), 5);
    uco_unref(mule);
    return 0;
}

static unsigned
count_in(const char *text, const char *word)
{
    unsigned n = 0;

    while ((text = strstr(text, word)) != NULL) {
        n++;
        text++;
    }
    return n;
}

/* Cancelled after 1 s, it is reported at 11, 21 and 31. */
START_TEST(child_that_ignores_its_cancellation_is_reported_every_10_s)
{
    struct reports r;
    uco_loop_options options = reporting(&r);

    ck_assert(kinds[_i].completing);
    ck_assert_int_eq(uco_run_with(&options, mule_main, (void *) &kinds[_i]), 0);
    ck_assert_msg(r.count == 3 && count_in(r.all, "mule") == 3, "%s", r.all);
}
END_TEST

static intptr_t
mules_main(void *arg)
{
    struct job jobs[] = {job_stubborn(15, 1), job(1, -EIO), job_stubborn(35, 3), job(9, 4)};
    const char *names[] = {"jenny", "loser", "mule", "lamb"};
    uco_task *ts[4];
    intptr_t results[4];

    (void) arg;
    for (size_t i = 0; i < 4; i++)
        ts[i] = create_named(names[i], job_body, &jobs[i]);
    ck_assert_int_eq(uco_gather(ts, 4, results), -EIO);
    assert_time(35);
    assert_results(results, (intptr_t[]){1, -EIO, 3, -ECANCELED}, 4);
    uco_unref_all(ts, 4);
    return 0;
}

START_TEST(gather_reports_only_those_that_ignore_their_cancellation)
{
    struct reports r;
    uco_loop_options options = reporting(&r);

    ck_assert_int_eq(uco_run_with(&options, mules_main, NULL), 0);
    ck_assert_msg(count_in(r.all, "jenny") == 1, "%s", r.all);
    ck_assert_msg(count_in(r.all, "mule") == 3, "%s", r.all);
    ck_assert_msg(count_in(r.all, "lamb") == 0 && count_in(r.all, "loser") == 0, "%s", r.all);
}
END_TEST

struct crowd {
    uco_future *f;
    atomic_int waiting;
    atomic_int right;
};

static intptr_t
crowd_main(void *arg)
{
    struct crowd *c = arg;
    struct waiting ws[COUNT(kinds)];

    for (size_t i = 0; i < COUNT(kinds); i++) {
        ws[i] = (struct waiting){.kind = &kinds[i], .f = c->f};
        waiting_start(&ws[i]);
    }
    atomic_fetch_add(&c->waiting, 1);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        ck_assert_int_eq(uco_join(ws[i].task), 0);
        ck_assert_int_eq(ws[i].got, 42);
        atomic_fetch_add(&c->right, 1);
    }
    return 0;
}

static void *
crowd_thread(void *arg)
{
    return (void *) run_real(crowd_main, arg);
}

/* Three of the loops wait when it is resolved, by a thread without a loop; the fourth may come too
 * late to wait. */
START_TEST(one_future_ends_all_kinds_of_waits_on_several_loops)
{
    struct crowd c = {.f = uco_future_new()};
    pthread_t threads[4];

    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_thread, &c), 0);
    while (atomic_load(&c.waiting) < 3)
        sched_yield();
    ck_assert_int_eq(uco_future_set_result(c.f, 42), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&c.right), 4 * COUNT(kinds));
    uco_unref(c.f);
}
END_TEST

static intptr_t
passing_main(void *arg)
{
    struct crowd *c = arg;
    uco_future *fs[] = {uco_future_new(), c->f, uco_future_new()};
    ssize_t r;

    while (!uco_done(c->f)) {
        r = uco_wait_any(fs, 3, 1e-5);
        if (r != 1 && r != -ETIMEDOUT)
            ck_abort_msg("wait_any gave %zd", r);
        r = uco_wait_all(&c->f, 1, 1e-5);
        if (r != 0 && r != -ETIMEDOUT)
            ck_abort_msg("wait_all gave %zd", r);
        atomic_fetch_add(&c->waiting, 1);
    }
    uco_unref(fs[0]);
    uco_unref(fs[2]);
    return 0;
}

static void *
passing_thread(void *arg)
{
    return (void *) run_real(passing_main, arg);
}

START_TEST(waits_of_several_loops_come_and_go)
{
    pthread_t threads[3];

    for (int round = 0; round < 10; round++) {
        struct crowd c = {.f = uco_future_new()};

        for (size_t i = 0; i < COUNT(threads); i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, passing_thread, &c), 0);
        while (atomic_load(&c.waiting) < scaled(1000))
            sched_yield();
        ck_assert_int_eq(uco_future_set_result(c.f, 42), 0);
        for (size_t i = 0; i < COUNT(threads); i++)
            pthread_join(threads[i], NULL);
        uco_unref(c.f);
    }
}
END_TEST

/* What the C library has handed out and not got back. */
static size_t
allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static size_t
resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t total, resident;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return resident;
}

/* Does something by the hundred thousand, once to warm up and once to count; no byte for each may
 * be left. */
static void
assert_memory_flat(void (*churn)(void *arg, int n), void *arg)
{
    size_t bytes, pages;

    churn(arg, 1000);
    bytes = allocated();
    pages = resident_pages();
    churn(arg, scaled(100000));
    ck_assert_uint_le(allocated(), bytes + 16384);
    if (!under_sanitizer())
        ck_assert_uint_le(resident_pages(), pages + 64);
}

/* One task waits over and over, another cancels each wait. */
struct churn {
    uco_future *fs[50];
    size_t n;
    uco_scope scope;
    int left;
};

static intptr_t
churn_wait(void *arg)
{
    struct churn *c = arg;

    for (; c->left > 0; c->left--) {
        ssize_t r = uco_scope_open(&c->scope, UCO_FOREVER);

        if (r == 0)
            r = uco_wait_any(c->fs, c->n, UCO_FOREVER);
        if (uco_scope_close(&c->scope, r) != 0)
            ck_abort_msg("a cancelled wait_any gave %zd", r);
    }
    return 0;
}

static void
churn_cancelled_any(void *arg, int n)
{
    struct churn *c = arg;
    uco_task *t;

    c->left = n;
    t = uco_create_task(churn_wait, c);
    ck_assert_int_eq(uco_yield(), 0);
    while (!uco_done(t)) {
        uco_scope_cancel(&c->scope);
        uco_yield();
    }
    ck_assert_int_eq(uco_join(t), 0);
}

static intptr_t
churn_any_main(void *arg)
{
    struct churn *c = arg;

    new_futures(c->fs, c->n);
    assert_memory_flat(churn_cancelled_any, c);
    for (size_t i = 0; i < c->n; i++)
        ck_assert_int_eq(uco_future_set_result(c->fs[i], 1), 0);
    ck_assert_int_eq(uco_wait_any(c->fs, c->n, UCO_FOREVER), 0);
    uco_unref_all(c->fs, c->n);
    return 0;
}

/* W8: a cancelled wait is off the lists of all that it waited for; few and many, where they may be
 * kept in different places. */
START_TEST(wait_any_cancelled_100000_times_leaves_no_trace)
{
    struct churn few = {.n = 3}, many = {.n = 50};

    ck_assert_int_eq(run_virtual(churn_any_main, &few), 0);
    ck_assert_int_eq(run_virtual(churn_any_main, &many), 0);
}
END_TEST

static void
churn_timeouts(void *arg, int n)
{
    uco_future *f = arg;

    for (int i = 0; i < n; i++) {
        ssize_t r = uco_wait_any((uco_future *[]){f, f}, 2, 0.001);

        if (r != -ETIMEDOUT || uco_wait_all(&f, 1, 0.001) != -ETIMEDOUT)
            ck_abort_msg("a pending future ended: %zd", r);
    }
}

static void
churn_callbacks(void *arg, int n)
{
    uco_future *f = arg;

    for (int i = 0; i < n; i++) {
        int r = uco_add_done_callback(f, resolve_callback, NULL);

        if (r != 0 || uco_remove_done_callback(f, resolve_callback, NULL) != 1)
            ck_abort_msg("a done callback was lost: %d", r);
    }
}

static void
churn_tasks(void *arg, int n)
{
    (void) arg;
    for (int i = 0; i < n; i++)
        if (uco_join(uco_create_task(body_return, (void *) 3)) != 3)
            ck_abort_msg("a task went wrong");
}

static intptr_t
churn_one_main(void *arg)
{
    uco_future *f = uco_future_new();

    (void) arg;
    assert_memory_flat(churn_timeouts, f);
    assert_memory_flat(churn_callbacks, f);
    assert_memory_flat(churn_tasks, f);
    ck_assert_int_eq(uco_future_set_result(f, 1), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_unref(f);
    return 0;
}

/* W8: the same for timeouts and done callbacks; and a join gives its reference back. */
START_TEST(what_is_given_up_100000_times_leaves_no_trace)
{
    ck_assert_int_eq(run_virtual(churn_one_main, NULL), 0);
}
END_TEST

static void
add_gather_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "gather");

    tcase_add_test(tcase, gather_gives_results_in_order);
    tcase_add_test(tcase, first_error_cancels_the_others);
    tcase_add_test(tcase, others_are_waited_for_after_the_first_error);
    tcase_add_test(tcase, errors_after_the_first_count_as_read);
    tcase_add_test(tcase, errors_nobody_wanted_count_as_read);
    tcase_add_test(tcase, failures_from_before_the_call_count_by_index);
    tcase_add_test(tcase, first_error_is_the_first_in_time);
    tcase_add_test(tcase, cancelled_child_fails_its_gather);
    tcase_add_test(tcase, same_future_may_be_gathered_twice);
    tcase_add_test(tcase, same_future_may_fail_or_be_cancelled_twice);
    tcase_add_test(tcase, all_of_nothing_is_there_at_once);
    tcase_add_test(tcase, null_in_a_gather_is_a_failed_task);
    tcase_add_test(tcase, gather_cancels_plain_futures_too);
    tcase_add_test(tcase, gather_of_a_thousand);
    tcase_add_test(tcase, gather_all_waits_for_all_and_gives_each_its_error);
    tcase_add_test(tcase, cancelled_gather_cancels_and_completes);
    tcase_add_test(tcase, gather_inside_a_cancelled_scope_completes);
    tcase_add_test(tcase, deadline_reaches_gathers_inside_gathers);
    tcase_add_test(tcase, gather_goes_on_when_who_awaits_it_is_cancelled);
    tcase_add_test(tcase, cancelled_gather_stops_at_those_who_only_await);
    tcase_add_test(tcase, gather_takes_tasks_of_several_loops);
    tcase_add_test(tcase, gather_without_memory_cancels_and_completes);
    tcase_add_test(tcase, gather_all_without_memory_says_so);
}

static void
add_wait_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "wait_any and wait_all");

    tcase_add_test(tcase, wait_any_gives_the_index_of_the_first);
    tcase_add_test(tcase, wait_any_gives_the_lowest_index_of_those_that_had_ended);
    tcase_add_test(tcase, wait_any_gives_the_first_in_time);
    tcase_add_test(tcase, bad_arguments_are_refused);
    tcase_add_test(tcase, wait_that_times_out_cancels_nothing);
    tcase_add_test(tcase, wait_of_no_time_only_looks);
    tcase_add_test(tcase, result_at_the_moment_of_the_deadline_counts);
    tcase_add_test(tcase, task_that_ends_in_the_turn_of_the_deadline_counts);
    tcase_add_test(tcase, timeout_not_needed_leaves_no_timer);
    tcase_add_test(tcase, duplicates_count_once);
    tcase_add_test(tcase, wait_all_waits_for_all);
    tcase_add_test(tcase, waiting_without_memory_changes_nothing);
    tcase_add_test(tcase, as_completed_goes_by_time);
    tcase_add_test(tcase, as_completed_stops_at_its_deadline);
    tcase_add_test(tcase, as_completed_delivers_duplicates_once);
}

static void
add_wait_for_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "wait_for");

    tcase_add_test(tcase, wait_for_gives_what_came_in_time);
    tcase_add_test(tcase, wait_for_cancels_at_its_deadline);
    tcase_add_test(tcase, wait_for_gives_what_a_cancelled_child_ended_with);
    tcase_add_test(tcase, wait_for_no_time_starts_nothing);
    tcase_add_test(tcase, cancelled_wait_for_cancels_its_child);
    tcase_add_test(tcase, deadline_after_the_cancellation_is_no_timeout);
}

static void
add_common_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "all kinds");

    tcase_add_loop_test(tcase, outside_a_coroutine_each_is_refused, 0, COUNT(kinds));
    tcase_add_loop_test(tcase, cancelled_caller_cancels_only_by_completing_calls, 0, COUNT(kinds));
    tcase_add_loop_test(tcase, inside_a_cancelled_scope_each_gives_up_or_completes, 0,
                        COUNT(kinds));
    tcase_add_loop_test(tcase, result_and_cancellation_race, 0, COUNT(kinds));
    tcase_add_loop_test(tcase, child_that_ignores_its_cancellation_is_reported_every_10_s, 1,
                        CYCLE_KINDS);
    tcase_add_test(tcase, gather_reports_only_those_that_ignore_their_cancellation);
    tcase_add_test(tcase, one_future_ends_all_kinds_of_waits_on_several_loops);
    tcase_add_test(tcase, waits_of_several_loops_come_and_go);
    tcase_add_test(tcase, wait_any_cancelled_100000_times_leaves_no_trace);
    tcase_add_test(tcase, what_is_given_up_100000_times_leaves_no_trace);
}

static void
add_cycle_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "cycles");

    tcase_add_loop_test(tcase, wait_that_would_close_a_ring_is_refused, 0, CYCLE_KINDS + 1);
    tcase_add_test(tcase, waiting_for_an_ancestor_is_refused);
    tcase_add_test(tcase, waiting_for_an_ancestor_that_waits_for_nothing_is_refused);
    tcase_add_test(tcase, detached_task_may_wait_for_who_created_it);
    tcase_add_test(tcase, several_ways_to_one_task_are_no_cycle);
    tcase_add_test(tcase, refused_gather_cancels_nothing_and_leaves_the_results);
}

int
main(void)
{
    Suite *suite = suite_create("wait");

    add_gather_tests(suite);
    add_wait_tests(suite);
    add_wait_for_tests(suite);
    add_common_tests(suite);
    add_cycle_tests(suite);
    return suite_end(suite);
}
