/* SPDX-License-Identifier: MIT */
/*
 * Many at once: tasks, stacks with and without guards, timers. Sanitizer builds get fewer, for
 * their own limits' sake.
 */
#include "../support/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NUMBER(n) ((void *) (intptr_t) (n))

/* ThreadSanitizer of gcc 12 dies of some 4,000 live fibres. */
static int
live_tasks(int full)
{
    return under_sanitizer() ? 1000 : full;
}

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    if (uco_stats(uco_get_running_loop(), &stats) != 0)
        ck_abort_msg("no numbers");
    return stats;
}

static bool
kernel_guards_without_maps(void)
{
    enum { GUARD_INSTALL = 102 }; /* MADV_GUARD_INSTALL, Linux 6.13 */
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r;

    ck_assert_ptr_ne(p, MAP_FAILED);
    r = madvise(p, page, GUARD_INSTALL);
    munmap(p, page);
    return r == 0;
}

static intptr_t
waits_for_gate(void *gate)
{
    return uco_await(gate);
}

/* Parks n tasks at once, looks at the numbers, and lets all of them end. */
static void
park_at_once(int n, uco_loop_stats *parked)
{
    uco_future *gate = uco_future_new();
    uco_task **tasks = calloc((size_t) n, sizeof *tasks);
    intptr_t *results = calloc((size_t) n, sizeof *results);
    int i;

    for (i = 0; i < n; i++)
        tasks[i] = uco_create_task(waits_for_gate, gate);
    ck_assert_int_eq(uco_test_settle(), 0);
    *parked = stats_here();
    ck_assert_int_eq(uco_future_set_result(gate, 1), 0);
    ck_assert_int_eq(uco_gather(tasks, (size_t) n, results), 0);
    for (i = 0; i < n; i++) {
        if (results[i] != 1)
            ck_abort_msg("task %d ended with %d", i, (int) results[i]);
    }
    uco_unref_all(tasks, (size_t) n);
    uco_unref(gate);
    free(results);
    free(tasks);
}

static intptr_t
parks_many(void *arg)
{
    int n = live_tasks(100000);
    uco_loop_stats parked;

    (void) arg;
    park_at_once(n, &parked);
    ck_assert_uint_ge(parked.tasks, (uint64_t) n);
    ck_assert_uint_ge(parked.stacks_in_use, (uint64_t) n);
    ck_assert_uint_ge(parked.stack_bytes, (uint64_t) n * 16 * 1024);
    if (kernel_guards_without_maps())
        ck_assert_uint_eq(parked.stacks_unguarded, 0);
    ck_assert_uint_le(stats_here().stacks_in_use, 1);
    return 0;
}

START_TEST(a_hundred_thousand_tasks_can_wait_at_once)
{
    ck_assert_int_eq(run_virtual(parks_many, NULL), 0);
}
END_TEST

static intptr_t
parks_some(void *parked)
{
    park_at_once(live_tasks(2000), parked);
    return 0;
}

START_TEST(without_cheap_guards_dear_ones_serve)
{
    uco_loop_stats parked;

    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert_int_eq(run_virtual(parks_some, &parked), 0);
    ck_assert_uint_ge(parked.stacks_in_use, (uint64_t) live_tasks(2000));
    ck_assert_uint_eq(parked.stacks_unguarded, 0);
}
END_TEST

static intptr_t
parks_twice(void *parked)
{
    parks_some(parked);
    return parks_some(parked);
}

START_TEST(without_any_guards_tasks_run_counted_and_reported_once)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_loop_stats parked;

    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert_int_eq(uco_test_fail("mprotect", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_run_with(&options, parks_twice, &parked), 0);
    ck_assert_uint_ge(parked.stacks_unguarded, (uint64_t) live_tasks(2000));
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "guard"));
}
END_TEST

static struct {
    int ran;
    uint64_t most_in_use;
} census;

static intptr_t
counts_stacks(void *arg)
{
    uint64_t in_use = stats_here().stacks_in_use;

    (void) arg;
    census.ran++;
    if (in_use > census.most_in_use)
        census.most_in_use = in_use;
    return 0;
}

static intptr_t
runs_a_million(void *arg)
{
    int batch = scaled(100000), i, k;
    uint64_t stacks = 0;

    (void) arg;
    for (k = 0; k < 10; k++) {
        for (i = 0; i < batch; i++)
            uco_unref(uco_create_task(counts_stacks, NULL));
        ck_assert_int_eq(uco_test_settle(), 0);
        if (k == 0)
            stacks = stats_here().stacks;
    }
    ck_assert_int_eq(census.ran, 10 * batch);
    ck_assert_uint_eq(stats_here().tasks, 1);
    ck_assert_uint_eq(stats_here().stacks, stacks);
    return 0;
}

START_TEST(a_million_tasks_that_never_suspend_share_one_stack)
{
    memset(&census, 0, sizeof census);
    ck_assert_int_eq(run_virtual(runs_a_million, NULL), 0);
    ck_assert_uint_le(census.most_in_use, 2); /* the main task's, and theirs */
}
END_TEST

static struct {
    intptr_t next;
    bool disorder;
} order;

static void
expect_next(void *number)
{
    if ((intptr_t) number != order.next++)
        order.disorder = true;
}

static intptr_t
awaits_a_million_timers(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int n = scaled(1000000), i;

    (void) arg;
    for (i = 0; i < n; i++) {
        if (uco_loop_call_at(loop, 1.0, expect_next, NUMBER(i)) == 0)
            ck_abort_msg("timer %d: %s", i, strerror(errno));
    }
    ck_assert_uint_eq(stats_here().timers, (uint64_t) n);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert_int_eq(order.next, n);
    ck_assert(!order.disorder);
    ck_assert_uint_eq(stats_here().timers, 0);
    return 0;
}

/* L3, a million times */
START_TEST(a_million_timers_of_one_moment_run_in_order)
{
    memset(&order, 0, sizeof order);
    ck_assert_int_eq(run_virtual(awaits_a_million_timers, NULL), 0);
}
END_TEST

static intptr_t
sleeps_by_number(void *arg)
{
    /* Scattered over a second, so that neighbours do not wake together. */
    return uco_sleep((double) ((intptr_t) arg * 7919 % 10007) / 10007.0);
}

static intptr_t
sleeps_many_ways(void *arg)
{
    int n = live_tasks(20000), i;
    uco_task **tasks = calloc((size_t) n, sizeof *tasks);

    (void) arg;
    for (i = 0; i < n; i++)
        tasks[i] = uco_create_task(sleeps_by_number, NUMBER(i + 1));
    ck_assert_int_eq(uco_gather(tasks, (size_t) n, NULL), 0);
    ck_assert_double_le(uco_time(), 1.0);
    uco_unref_all(tasks, (size_t) n);
    free(tasks);
    return 0;
}

START_TEST(many_sleeps_of_all_lengths_end_in_time)
{
    ck_assert_int_eq(run_virtual(sleeps_many_ways, NULL), 0);
}
END_TEST

static intptr_t
cancels_many_timers(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int n = scaled(1000000), i;

    (void) arg;
    for (i = 0; i < n; i++) {
        uco_timer timer = uco_loop_call_later(loop, 30.0 + i % 1000, expect_next, NULL);

        if (uco_timer_cancel(loop, timer) != 0)
            ck_abort_msg("timer %d was not there", i);
    }
    ck_assert_uint_eq(stats_here().timers, 0);
    return 0;
}

/* L4: deadlines that never come, by the million, leave nothing behind. */
START_TEST(a_million_cancelled_timers_leave_nothing)
{
    ck_assert_int_eq(run_virtual(cancels_many_timers, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("scale");
    TCase *tc = case_new(suite, "many");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_hundred_thousand_tasks_can_wait_at_once);
    tcase_add_test(tc, without_cheap_guards_dear_ones_serve);
    tcase_add_test(tc, without_any_guards_tasks_run_counted_and_reported_once);
    tcase_add_test(tc, a_million_tasks_that_never_suspend_share_one_stack);
    tcase_add_test(tc, a_million_timers_of_one_moment_run_in_order);
    tcase_add_test(tc, many_sleeps_of_all_lengths_end_in_time);
    tcase_add_test(tc, a_million_cancelled_timers_leave_nothing);
    return suite_end(suite);
}
