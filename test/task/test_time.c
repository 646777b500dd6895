/* SPDX-License-Identifier: MIT */
/*
 * Time at its extremes: parts of a nanosecond and centuries, the end of all time, deadlines by the
 * million. A loop counts 2^64 ns, some 584 years from its clock's beginning.
 */
#include "../support/support.h"

#include "base/clock.h"
#include "core/loop.h"

#include <float.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define LAST (UCO__NEVER - 1)
#define YEAR (365.2425 * 86400)
#define MANY 1000000

/* Not ck_assert, which tells Check's parent each time: that would be most of a long loop's time. */
#define MUST(condition) ((condition) ? (void) 0 : ck_abort_msg("not so: %s", #condition))

static uint64_t
now(void)
{
    return uco__loop_now(uco_get_running_loop());
}

static uco_loop *
loop_new(enum uco_clock clock)
{
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = clock});

    ck_assert_ptr_nonnull(loop);
    return loop;
}

static void
loop_end(uco_loop *loop)
{
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}

/* --- how long a time is --- */

static intptr_t
sleeps_hardly(void *arg)
{
    static const double short_ones[] = {5e-324, DBL_MIN, 1e-300, 1e-10, 0.99e-9, 1e-9};

    (void) arg;
    for (size_t i = 0; i < COUNT(short_ones); i++) {
        uint64_t before = now();

        ck_assert_int_eq(uco_sleep(short_ones[i]), 0);
        ck_assert_uint_eq(now() - before, 1);
    }
    return 0;
}

START_TEST(the_shortest_time_is_a_nanosecond)
{
    ck_assert_int_eq(run_virtual(sleeps_hardly, NULL), 0);
}
END_TEST

static intptr_t
sleeps_for_centuries(void *arg)
{
    static const double years[] = {1, 10, 100, 292.2, 100};

    (void) arg;
    for (size_t i = 0; i < COUNT(years); i++) {
        uint64_t before = now();

        ck_assert_int_eq(uco_sleep(years[i] * YEAR), 0);
        ck_assert_uint_eq(now() - before, uco__clock_from_seconds(years[i] * YEAR));
    }
    ck_assert_double_gt(uco_time(), 500 * YEAR);
    return 0;
}

START_TEST(centuries_pass_to_the_nanosecond)
{
    ck_assert_int_eq(run_virtual(sleeps_for_centuries, NULL), 0);
}
END_TEST

static const double for_ever[] = {2e10, 1e12, 1e18, 1e300, DBL_MAX, INFINITY};

/* _i: which of them. */
static intptr_t
outlives_a_sleep(void *arg)
{
    double *seconds = arg;
    uco_task *task = uco_create_task(body_sleep_forever, NULL);
    uco_scope scope;

    ck_assert_int_eq(uco_wait_for(task, 300 * YEAR), -ETIMEDOUT);
    uco_unref(task);
    ck_assert_int_eq(uco_scope_open(&scope, 200 * YEAR), 0);
    ck_assert_int_eq(uco_scope_close(&scope, uco_sleep(*seconds)), -ETIMEDOUT);
    ck_assert_uint_eq(now(), uco__clock_after(uco__clock_from_seconds(300 * YEAR), 200 * YEAR));
    return 0;
}

START_TEST(what_is_longer_than_all_time_never_comes_and_can_be_cancelled)
{
    double seconds = for_ever[_i];

    ck_assert_int_eq(run_virtual(outlives_a_sleep, &seconds), 0);
}
END_TEST

/* Around INT64_MAX nanoseconds: nothing here is signed. */
static const double timeouts[] = {9223372036.854774, 9223372036.854776, 9223372037.0};

static intptr_t
crosses_the_sign(void *arg)
{
    double *timeout = arg;
    uco_scope scope;

    ck_assert_int_eq(uco_sleep(5e-9), 0);
    ck_assert_int_eq(uco_scope_open(&scope, *timeout), 0);
    ck_assert_int_eq(uco_scope_close(&scope, uco_sleep(UCO_FOREVER)), -ETIMEDOUT);
    ck_assert_uint_eq(now(), 5 + uco__clock_from_seconds(*timeout));
    return 0;
}

START_TEST(deadlines_pass_the_largest_signed_number)
{
    double timeout = timeouts[_i];

    ck_assert_int_eq(run_virtual(crosses_the_sign, &timeout), 0);
}
END_TEST

/* --- nothing wakes early --- */

static const double epochs[] = {0,          12345.678,  104 * 86400.0, YEAR,
                                100 * YEAR, 292 * YEAR, 500 * YEAR};

static intptr_t
sleeps_late_in_time(void *arg)
{
    static const double naps[] = {1e-9, 2e-9, 1e-6, 0.001, 0.067, 0.1, 1, 12345.678};
    double *epoch = arg;

    ck_assert_int_eq(uco_sleep(*epoch), 0);
    for (int i = 0; i < scaled(20000); i++) {
        double nap = naps[(size_t) i % COUNT(naps)];
        uint64_t before = now();

        MUST(uco_sleep(nap) == 0);
        MUST(now() - before == uco__clock_from_seconds(nap));
    }
    return 0;
}

/* The loop's time is whole nanoseconds, so that no sum of them is ever rounded, at whatever age.
 * uco_time(), a double, shows them all for 97 days, and then ever fewer of them. */
START_TEST(no_rounding_adds_up_however_old_a_loop_is)
{
    double epoch = epochs[_i];

    ck_assert_int_eq(run_virtual(sleeps_late_in_time, &epoch), 0);
}
END_TEST

struct moment {
    double when;
    int calls;
};

static void
moment_comes(void *arg)
{
    struct moment *moment = arg;
    double late = uco_time() - moment->when;

    moment->calls++;
    /* At most what a double cannot tell there, and what makes it whole nanoseconds. */
    if (late < 0 || late > 1e-9 + moment->when * 4 * DBL_EPSILON)
        ck_abort_msg("%.17g s late at %.17g", late, moment->when);
}

static intptr_t
waits_for_moments(void *arg)
{
    static const double steps[] = {1e-9, 3e-7, 0.1, 1.1, 3.3e5};
    uco_loop *loop = uco_get_running_loop();
    double *epoch = arg;

    ck_assert_int_eq(uco_sleep(*epoch), 0);
    for (int i = 0; i < scaled(20000); i++) {
        double step = steps[(size_t) i % COUNT(steps)];
        struct moment moment = {.when = uco_time() + step};
        struct moment next = {.when = nextafter(moment.when, INFINITY)};

        MUST(uco_loop_call_at(loop, moment.when, moment_comes, &moment) != 0);
        MUST(uco_loop_call_at(loop, next.when, moment_comes, &next) != 0);
        MUST(uco_sleep(step * 2 + 2e-5) == 0);
        MUST(moment.calls == 1 && next.calls == 1);
    }
    return 0;
}

START_TEST(a_callback_never_sees_an_earlier_time_than_it_was_to_be_called_at)
{
    double epoch = epochs[_i];

    ck_assert_int_eq(run_virtual(waits_for_moments, &epoch), 0);
}
END_TEST

/* --- what is no time, and what is over --- */

static void
count_one(void *arg)
{
    ++*(int *) arg;
}

static intptr_t
calls_at_odd_times(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int calls = 0;
    uco_timer never;

    (void) arg;
    ck_assert_int_eq(uco_sleep(100), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, 99, count_one, &calls), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, -0.0, count_one, &calls), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, -DBL_MAX, count_one, &calls), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, -INFINITY, count_one, &calls), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, -INFINITY, count_one, &calls), 0);
    never = uco_loop_call_at(loop, INFINITY, count_one, &calls);
    ck_assert_uint_ne(never, 0);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_at(loop, NAN, count_one, &calls), 0);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(calls, 0); /* none of them in the call */
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(calls, 5);
    ck_assert_double_eq(uco_time(), 100);
    ck_assert_int_eq(uco_timer_cancel(loop, never), 0);
    return 0;
}

START_TEST(what_was_to_be_called_in_the_past_is_called_in_the_next_turn)
{
    ck_assert_int_eq(run_virtual(calls_at_odd_times, NULL), 0);
}
END_TEST

static intptr_t
asks_for_no_time(void *arg)
{
    uco_future *future = uco_future_new();
    uco_queue *queue = uco_queue_new(1, 0);
    char item;
    uco_select_case one = {.queue = queue, .op = UCO_SELECT_GET, .item = &item};
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_sleep(NAN), -EINVAL);
    ck_assert_int_eq(uco_scope_open(&scope, NAN), -EINVAL);
    ck_assert_int_eq(uco_shield_open(&scope, NAN), -EINVAL);
    ck_assert_int_eq(uco_with_timeout(NAN, body_return, NULL), -EINVAL);
    ck_assert_int_eq(uco_wait_any(&future, 1, NAN), -EINVAL);
    ck_assert_int_eq(uco_wait_all(&future, 1, NAN), -EINVAL);
    ck_assert_int_eq(uco_wait_for(future, NAN), -EINVAL);
    ck_assert_int_eq(uco_future_wait(future, NAN), -EINVAL);
    ck_assert_int_eq(uco_select(&one, 1, NAN), -EINVAL);
    ck_assert_int_eq(uco_poll(0, POLLIN, NAN), -EINVAL);
    ck_assert_int_eq(uco_scope_open(&scope, 1), 0);
    ck_assert_int_eq(uco_scope_reschedule(&scope, NAN), -EINVAL);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    ck_assert_double_eq(uco_time(), 0);
    uco_queue_free(queue);
    uco_unref(future);
    return 0;
}

START_TEST(no_call_takes_a_time_that_is_not_a_number)
{
    ck_assert_int_eq(run_virtual(asks_for_no_time, NULL), 0);
}
END_TEST

static intptr_t
asks_for_less_than_nothing(void *arg)
{
    uco_future *future = uco_future_new();
    uco_queue *queue = uco_queue_new(1, 0);
    char item;
    uco_select_case one = {.queue = queue, .op = UCO_SELECT_GET, .item = &item};
    int ends[2];

    (void) arg;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(uco_sleep(-INFINITY), 0);
    ck_assert_int_eq(uco_wait_any(&future, 1, -INFINITY), -ETIMEDOUT);
    ck_assert_int_eq(uco_wait_all(&future, 1, -DBL_MAX), -ETIMEDOUT);
    ck_assert_int_eq(uco_select(&one, 1, -5e-324), -ETIMEDOUT);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, -INFINITY), -ETIMEDOUT);
    ck_assert_int_eq(uco_wait_for(future, -INFINITY), -ETIMEDOUT);
    ck_assert_double_eq(uco_time(), 0);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    uco_queue_free(queue);
    uco_unref(future);
    return 0;
}

START_TEST(less_than_nothing_is_over_and_takes_no_time)
{
    ck_assert_int_eq(run_virtual(asks_for_less_than_nothing, NULL), 0);
}
END_TEST

/* --- the end of time --- */

static intptr_t
sleeps_a_nanosecond(void *arg)
{
    (void) arg;
    return uco_sleep(1e-9);
}

static intptr_t
comes_to_the_end(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int calls = 0;
    uco_task *task;

    (void) arg;
    loop->virtual_now = LAST - 1000;
    ck_assert_int_eq(uco_sleep(1e-7), 0);
    ck_assert_uint_eq(now(), LAST - 900);
    ck_assert_int_eq(uco_sleep(9e-7), 0);
    ck_assert_uint_eq(now(), LAST);
    /* What takes no time still works, and nothing else comes any more. */
    task = uco_create_task(sleeps_a_nanosecond, NULL);
    ck_assert_int_eq(uco_sleep(0), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 0, count_one, &calls), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(calls, 1);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    return 0;
}

START_TEST(at_the_end_of_time_all_waiting_is_for_ever_and_can_be_cancelled)
{
    ck_assert_int_eq(run_virtual(comes_to_the_end, NULL), 0);
}
END_TEST

START_TEST(a_clock_that_is_moved_by_hand_stops_at_the_end_of_time)
{
    static const double far[] = {1e10, 1e10, 1e300, DBL_MAX, 0, 5e-324};
    uco_loop *loop = loop_new(UCO_CLOCK_MANUAL);
    int calls = 0;

    ck_assert_double_eq(uco_test_advance(loop, 5e-324), 1e-9);
    ck_assert_uint_ne(uco_loop_call_at(loop, 1.8e10, count_one, &calls), 0);
    for (size_t i = 0; i < COUNT(far); i++)
        ck_assert_double_gt(uco_test_advance(loop, far[i]), 0.99e10);
    ck_assert_uint_eq(uco__loop_now(loop), LAST);
    ck_assert_uint_ne(uco_loop_call_later(loop, 0, count_one, &calls), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, 1e-9, count_one, &calls), 0);
    for (int i = 0; i < 4; i++) {
        uco_loop_stop(loop);
        ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    }
    ck_assert_int_eq(calls, 2);
    loop_end(loop);
}
END_TEST

/* --- many --- */

static intptr_t last_called;

static void
called_in_order(void *arg)
{
    intptr_t number = (intptr_t) arg;

    if (number != last_called + 1)
        ck_abort_msg("%jd after %jd", (intmax_t) number, (intmax_t) last_called);
    last_called = number;
}

static intptr_t
calls_a_million(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int many = scaled(MANY);

    (void) arg;
    /* From ever nearer, so that the first ones have moved in the wheel and the last ones not. */
    for (intptr_t i = 1; i <= many; i++) {
        MUST(uco_loop_call_at(loop, 1000, called_in_order, (void *) i) != 0);
        if (i % (many / 10) == 0)
            MUST(uco_sleep((1000 - uco_time()) / 2) == 0);
    }
    MUST(last_called == 0);
    MUST(uco_sleep(1000) == 0);
    MUST(last_called == many);
    return 0;
}

START_TEST(a_million_equal_deadlines_come_in_the_order_of_the_calls)
{
    ck_assert_int_eq(run_virtual(calls_a_million, NULL), 0);
}
END_TEST

/* Each earlier than the one before, and all in the past. */
static intptr_t
calls_a_million_late(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    intptr_t many = scaled(MANY);

    (void) arg;
    MUST(uco_sleep(1e7) == 0);
    for (intptr_t i = many; i > 0; i--)
        MUST(uco_loop_call_at(loop, (double) i, called_in_order, (void *) i) != 0);
    MUST(uco_test_settle() == 0);
    MUST(last_called == many);
    return 0;
}

START_TEST(a_million_calls_in_the_past_come_in_the_order_of_time)
{
    ck_assert_int_eq(run_virtual(calls_a_million_late, NULL), 0);
}
END_TEST

static intptr_t
cancels_a_million(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int many = scaled(MANY), calls = 0;
    uco_timer *timers = malloc((size_t) many * sizeof *timers);
    size_t chunks = 0;

    (void) arg;
    ck_assert_ptr_nonnull(timers);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < many; i++) {
            timers[i] = uco_loop_call_later(loop, 1 + i % 1000 * 1e7, count_one, &calls);
            MUST(timers[i] != 0);
        }
        ck_assert_uint_eq(loop->timers.wheel.count, (unsigned) many);
        /* 7919 is prime to the number of them, so that it comes to each. */
        for (int i = 0; i < many; i++)
            MUST(uco_timer_cancel(loop, timers[(int64_t) i * 7919 % many]) == 0);
        ck_assert_uint_eq(loop->timers.wheel.count, 0);
        /* The second round makes do with the memory of the first. */
        if (round == 0)
            chunks = loop->timers.chunk_count;
        ck_assert_uint_eq(loop->timers.chunk_count, chunks);
    }
    ck_assert_int_eq(uco_sleep(1e10), 0);
    ck_assert_int_eq(calls, 0);
    free(timers);
    return 0;
}

START_TEST(a_million_timers_are_cancelled_and_leave_nothing)
{
    ck_assert_int_eq(run_virtual(cancels_a_million, NULL), 0);
}
END_TEST

/* --- the kernel's part --- */

static intptr_t
job_naps(void *arg)
{
    (void) arg;
    usleep(50000);
    return 0;
}

static intptr_t
waits_beside_a_far_deadline(void *arg)
{
    double *seconds = arg;
    uco_task *task = uco_create_task(body_sleep_forever, NULL);
    uco_loop *loop = uco_get_running_loop();
    uco_loop_stats before, after;
    int calls = 0;

    ck_assert_uint_ne(uco_loop_call_later(loop, *seconds, count_one, &calls), 0);
    ck_assert_int_eq(uco_stats(loop, &before), 0);
    ck_assert_int_eq(uco_to_thread(job_naps, NULL), 0);
    ck_assert_int_eq(uco_stats(loop, &after), 0);
    /* A kernel that takes the deadline for one in the past comes back at once, again and again:
     * more than 5,000 times. In a storm of signals, and with what a loop looks after by itself, it
     * is some hundred. */
    ck_assert_uint_lt(after.polls - before.polls, 1000);
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    return 0;
}

static const double far_off[] = {1e6, 3e9, 9.2e9, 9.3e9, 1.8e10, 1e300};

/* On the real clock; _i: the deadline and the backend. */
START_TEST(the_kernel_sleeps_however_far_the_next_deadline_is)
{
    uco_loop_options options = {.backend = _i % 2 == 0 ? UCO_BACKEND_EPOLL : UCO_BACKEND_IO_URING};
    double seconds = far_off[_i / 2];
    intptr_t r;

    if (options.backend == UCO_BACKEND_IO_URING &&
        (getenv("UCO_TEST_VALGRIND") != NULL || getenv("UCO_TEST_EMULATED") != NULL)) {
        test_skipped("valgrind and emulators have no io_uring");
        return;
    }
    r = uco_run_with(&options, waits_beside_a_far_deadline, &seconds);
    ck_assert(r == 0 || (options.backend == UCO_BACKEND_IO_URING && r == -ENOSYS));
}
END_TEST

/* --- the machine's speed --- */

struct race {
    int ends[2];
    int steps;   /* of the busy task */
    int seen_at; /* which of them the reader saw its byte after */
    bool slow;
};

static intptr_t
race_read(void *arg)
{
    struct race *race = arg;
    char byte;

    ck_assert_int_eq(uco_read(race->ends[0], &byte, 1), 1);
    race->seen_at = race->steps;
    return 0;
}

/* Never blocked, so that the kernel is asked between its steps only. */
static intptr_t
race_run(void *arg)
{
    struct race *race = arg;
    uco_task *reader = uco_create_task(race_read, race);

    ck_assert_int_eq(pipe(race->ends), 0);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_yield(), 0);
    for (race->steps = 0; !uco_done(reader); race->steps++) {
        if (race->steps == 10)
            ck_assert_int_eq(write(race->ends[1], "x", 1), 1);
        if (race->slow)
            usleep(20);
        ck_assert_int_eq(uco_yield(), 0);
    }
    ck_assert_int_eq(uco_join(reader), 0);
    close(race->ends[0]);
    close(race->ends[1]);
    return 0;
}

START_TEST(with_a_seed_events_are_seen_after_the_same_step_on_fast_and_slow_machines)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct race fast = {.slow = false}, slow = {.slow = true};

        ck_assert_int_eq(run_seeded(seed, race_run, &fast), 0);
        ck_assert_int_eq(run_seeded(seed, race_run, &slow), 0);
        ck_assert_int_eq(fast.seen_at, slow.seen_at);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("time");
    TCase *tc = case_new(suite, "lengths");

    tcase_add_test(tc, the_shortest_time_is_a_nanosecond);
    tcase_add_test(tc, centuries_pass_to_the_nanosecond);
    tcase_add_loop_test(tc, what_is_longer_than_all_time_never_comes_and_can_be_cancelled, 0,
                        (int) COUNT(for_ever));
    tcase_add_loop_test(tc, deadlines_pass_the_largest_signed_number, 0, (int) COUNT(timeouts));
    tcase_add_loop_test(tc, no_rounding_adds_up_however_old_a_loop_is, 0, (int) COUNT(epochs));
    tcase_add_loop_test(tc, a_callback_never_sees_an_earlier_time_than_it_was_to_be_called_at, 0,
                        (int) COUNT(epochs));

    tc = case_new(suite, "edges");
    tcase_add_test(tc, what_was_to_be_called_in_the_past_is_called_in_the_next_turn);
    tcase_add_test(tc, no_call_takes_a_time_that_is_not_a_number);
    tcase_add_test(tc, less_than_nothing_is_over_and_takes_no_time);
    tcase_add_test(tc, at_the_end_of_time_all_waiting_is_for_ever_and_can_be_cancelled);
    tcase_add_test(tc, a_clock_that_is_moved_by_hand_stops_at_the_end_of_time);

    tc = case_new(suite, "many");
    tcase_add_test(tc, a_million_equal_deadlines_come_in_the_order_of_the_calls);
    tcase_add_test(tc, a_million_calls_in_the_past_come_in_the_order_of_time);
    tcase_add_test(tc, a_million_timers_are_cancelled_and_leave_nothing);

    tc = case_new(suite, "machine");
    tcase_add_loop_test(tc, the_kernel_sleeps_however_far_the_next_deadline_is, 0,
                        2 * (int) COUNT(far_off));
    tcase_add_test(tc, with_a_seed_events_are_seen_after_the_same_step_on_fast_and_slow_machines);
    return suite_end(suite);
}
