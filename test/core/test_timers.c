/* SPDX-License-Identifier: MIT */
/*
 * Timers: the tickets of uco_loop_call_later() in each of their states, and the intrusive timers
 * below them. Time is virtual.
 */
#include "../support/support.h"

/* For the slots behind the tickets: no test can use one four billion times. */
#include "core/timers.c"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

static uco_loop *
loop_virtual(void)
{
    const uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};
    uco_loop *loop = uco_loop_new(&options);

    ck_assert_ptr_nonnull(loop);
    return loop;
}

static void
loop_end(uco_loop *loop)
{
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}

static intptr_t
sleeps(void *seconds)
{
    return uco_sleep(*(double *) seconds);
}

/* Runs the loop until its clock stands that much later. */
static void
pass(uco_loop *loop, double seconds)
{
    ck_assert_int_eq(uco_loop_run_until_complete(loop, sleeps, &seconds), 0);
}

static void
count_one(void *arg)
{
    ++*(int *) arg;
}

/* --- tickets --- */

START_TEST(a_pending_timer_can_be_cancelled_once)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;
    uco_timer timer = uco_loop_call_later(loop, 1.0, count_one, &calls);

    ck_assert_uint_ne(timer, 0);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), 0);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), -EALREADY);
    pass(loop, 2.0);
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), -EALREADY);
    loop_end(loop);
}
END_TEST

START_TEST(a_timer_that_ran_cannot_be_cancelled)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;
    uco_timer timer = uco_loop_call_later(loop, 1.0, count_one, &calls);

    pass(loop, 2.0);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), -EALREADY);
    ck_assert_int_eq(calls, 1);
    loop_end(loop);
}
END_TEST

START_TEST(a_timer_that_never_comes_can_be_cancelled)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;
    uco_timer never = uco_loop_call_later(loop, UCO_FOREVER, count_one, &calls);
    uco_timer far = uco_loop_call_at(loop, 1e300, count_one, &calls);

    ck_assert(never != 0 && far != 0 && never != far);
    pass(loop, 1e6);
    ck_assert_int_eq(uco_timer_cancel(loop, never), 0);
    ck_assert_int_eq(uco_timer_cancel(loop, far), 0);
    ck_assert_int_eq(uco_timer_cancel(loop, never), -EALREADY);
    ck_assert_int_eq(calls, 0);
    loop_end(loop);
}
END_TEST

struct rival {
    uco_loop *loop;
    uco_timer own;
    uco_timer other;
    int calls;
};

static void
cancel_rival(void *arg)
{
    struct rival *rival = arg;

    rival->calls++;
    ck_assert_int_eq(uco_timer_cancel(rival->loop, rival->own), -EALREADY);
    ck_assert_int_eq(uco_timer_cancel(rival->loop, rival->other), 0);
    ck_assert_int_eq(uco_timer_cancel(rival->loop, rival->other), -EALREADY);
}

/* Both are due in the same turn; the one that runs first drops the other, which is queued already.
 * */
START_TEST(a_timer_that_is_due_can_still_be_cancelled)
{
    struct rival one = {.loop = loop_virtual()};
    struct rival other = one;

    one.own = other.other = uco_loop_call_later(one.loop, 1.0, cancel_rival, &one);
    other.own = one.other = uco_loop_call_later(one.loop, 1.0, cancel_rival, &other);
    pass(one.loop, 2.0);
    ck_assert_int_eq(one.calls, 1);
    ck_assert_int_eq(other.calls, 0);
    ck_assert_int_eq(uco_timer_cancel(one.loop, one.other), -EALREADY);
    loop_end(one.loop);
}
END_TEST

static void
replace_itself(void *arg)
{
    struct rival *rival = arg;

    rival->calls++;
    if (rival->calls == 5)
        return;
    rival->other = rival->own;
    rival->own = uco_loop_call_later(rival->loop, 0.5, replace_itself, rival);
    ck_assert_uint_ne(rival->own, rival->other);
    ck_assert_int_eq(uco_timer_cancel(rival->loop, rival->other), -EALREADY);
}

/* The slot of the timer that runs is free already, and its ticket known as an old one. */
START_TEST(a_callback_may_start_the_next_timer)
{
    struct rival rival = {.loop = loop_virtual()};

    rival.own = uco_loop_call_later(rival.loop, 0.5, replace_itself, &rival);
    pass(rival.loop, 10.0);
    ck_assert_int_eq(rival.calls, 5);
    loop_end(rival.loop);
}
END_TEST

START_TEST(an_old_ticket_does_not_cancel_the_slots_next_timer)
{
    uco_loop *loop = loop_virtual();
    uco_timer old[20];
    int calls = 0;

    for (size_t i = 0; i < COUNT(old); i++) {
        old[i] = uco_loop_call_later(loop, 1.0, count_one, &calls);
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(old[j], old[i]);
        if (i + 1 < COUNT(old))
            ck_assert_int_eq(uco_timer_cancel(loop, old[i]), 0);
    }
    for (size_t i = 0; i + 1 < COUNT(old); i++)
        ck_assert_int_eq(uco_timer_cancel(loop, old[i]), -EALREADY);
    pass(loop, 2.0);
    ck_assert_int_eq(calls, 1);
    loop_end(loop);
}
END_TEST

static void
cancel_is_refused(uco_loop *loop, uco_timer timer)
{
    if (uco_timer_cancel(loop, timer) != -EINVAL)
        ck_abort_msg("ticket %#llx gives %d", (unsigned long long) timer,
                     uco_timer_cancel(loop, timer));
}

START_TEST(what_was_never_a_ticket_is_refused)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;
    uco_timer timer;

    cancel_is_refused(loop, UINT64_C(1) << 32 | 1);
    timer = uco_loop_call_later(loop, 1.0, count_one, &calls);
    cancel_is_refused(NULL, timer);
    cancel_is_refused(loop, 0);
    cancel_is_refused(loop, (uint32_t) timer);
    cancel_is_refused(loop, timer & UINT64_C(0xffffffff00000000));
    cancel_is_refused(loop, timer + (UINT64_C(1) << 32));
    cancel_is_refused(loop, timer + 100000);
    cancel_is_refused(loop, UINT64_MAX);
    srand48(1);
    for (int i = 0; i < 10000; i++)
        cancel_is_refused(loop, (uint64_t) mrand48() << 32 | (uint32_t) (mrand48() | 0x10000));
    ck_assert_int_eq(uco_timer_cancel(loop, timer), 0);
    loop_end(loop);
}
END_TEST

/* Its slot exists, but nobody was ever given it. */
START_TEST(the_ticket_of_a_slot_that_was_never_used_is_refused)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;
    uco_timer timer = uco_loop_call_later(loop, 1.0, count_one, &calls);

    cancel_is_refused(loop, timer + 1);
    loop_end(loop);
}
END_TEST

START_TEST(the_ticket_of_another_loop_is_refused_or_known_as_none)
{
    uco_loop *loop = loop_virtual();
    uco_loop *other = loop_virtual();
    uco_timer timers[300];
    int calls = 0;

    for (size_t i = 0; i < COUNT(timers); i++)
        timers[i] = uco_loop_call_later(loop, 1.0, count_one, &calls);
    for (size_t i = 0; i < COUNT(timers); i++)
        ck_assert_int_lt(uco_timer_cancel(other, timers[i]), 0);
    pass(loop, 2.0);
    ck_assert_int_eq(calls, COUNT(timers));
    loop_end(other);
    loop_end(loop);
}
END_TEST

/* The last of its generations: what comes after it must neither be mistaken for an old ticket nor
 * be out of reach. */
START_TEST(tickets_stay_apart_when_the_generations_of_a_slot_run_out)
{
    uco_loop *loop = loop_virtual();
    uco_timer tickets[6];
    int calls = 0;

    ck_assert_int_eq(uco_timer_cancel(loop, uco_loop_call_later(loop, 1.0, count_one, &calls)), 0);
    loop->timers.free->generation = UINT32_MAX - 1;
    for (size_t i = 0; i < COUNT(tickets); i++) {
        tickets[i] = uco_loop_call_later(loop, 1.0, count_one, &calls);
        ck_assert_uint_ne(tickets[i], 0);
        for (size_t j = 0; j < i; j++) {
            ck_assert_uint_ne(tickets[j], tickets[i]);
            ck_assert_int_eq(uco_timer_cancel(loop, tickets[j]), -EALREADY);
        }
        ck_assert_int_eq(uco_timer_cancel(loop, tickets[i]), 0);
        ck_assert_int_eq(uco_timer_cancel(loop, tickets[i]), -EALREADY);
    }
    pass(loop, 2.0);
    ck_assert_int_eq(calls, 0);
    loop_end(loop);
}
END_TEST

START_TEST(a_timer_needs_sensible_arguments)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;

    errno = 0;
    ck_assert_uint_eq(uco_loop_call_later(NULL, 1.0, count_one, &calls), 0);
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_later(loop, NAN, count_one, &calls), 0);
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_at(loop, 1.0, NULL, &calls), 0);
    ck_assert_int_eq(errno, EINVAL);
    loop_end(loop);
    errno = 0;
    loop = loop_virtual();
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_uint_eq(uco_loop_call_later(loop, 1.0, count_one, &calls), 0);
    ck_assert_int_eq(errno, ESHUTDOWN);
    ck_assert_int_eq(uco_timer_cancel(loop, 1), -ESHUTDOWN);
    uco_loop_unref(loop);
}
END_TEST

/* _i: the first or the second allocation of the growth fails. */
START_TEST(without_memory_there_is_no_timer_and_nothing_is_lost)
{
    uco_loop *loop = loop_virtual();
    int calls = 0;
    int n = 0;

    while (loop->timers.free != NULL || n == 0) {
        ck_assert_uint_ne(uco_loop_call_later(loop, 1.0, count_one, &calls), 0);
        n++;
    }
    ck_assert_int_eq(uco_test_fail("malloc", (unsigned long) _i, true, ENOMEM), 0);
    for (int i = 0; i < 3; i++) {
        errno = 0;
        ck_assert_uint_eq(uco_loop_call_later(loop, 1.0, count_one, &calls), 0);
        ck_assert_int_eq(errno, ENOMEM);
        ck_assert_int_eq(uco_test_fail("malloc", (unsigned long) _i, true, ENOMEM), 0);
    }
    uco_test_fail_off();
    ck_assert_uint_ne(uco_loop_call_later(loop, 1.0, count_one, &calls), 0);
    pass(loop, 2.0);
    ck_assert_int_eq(calls, n + 1);
    loop_end(loop);
}
END_TEST

struct numbered {
    int number;
    int *last;
};

static void
run_in_order(void *arg)
{
    struct numbered *numbered = arg;

    if (*numbered->last != numbered->number - 1)
        ck_abort_msg("%d after %d", numbered->number, *numbered->last);
    *numbered->last = numbered->number;
}

START_TEST(a_thousand_timers_run_in_the_order_of_time)
{
    enum { MANY = 1000 };
    static struct numbered numbered[MANY];
    uco_loop *loop = loop_virtual();
    int last = -1;

    /* Each ten fall due together, and of those the first was made first; but the later ones come
     * earlier. */
    for (int unit = 0; unit < 10; unit++) {
        for (int ten = MANY / 10; ten-- > 0;) {
            struct numbered *one = &numbered[ten * 10 + unit];

            *one = (struct numbered){ten * 10 + unit, &last};
            ck_assert_uint_ne(uco_loop_call_later(loop, 0.001 * (ten + 1), run_in_order, one), 0);
        }
    }
    pass(loop, 2.0);
    ck_assert_int_eq(last, MANY - 1);
    loop_end(loop);
}
END_TEST

/* --- intrusive timers --- */

#define TIMERS 64

struct fired {
    struct uco__timer timer;
    int times;
    uint64_t deadline;
    uint64_t order;
};

static struct fired timers[TIMERS];
static uint64_t fired_deadline, fired_order, fired_count;

/* No earlier deadline after a later one, and equal ones as they were started. */
static void
fire(struct uco__timer *timer)
{
    struct fired *fired = UCO__CONTAINER(timer, struct fired, timer);

    if (fired->deadline < fired_deadline ||
        (fired->deadline == fired_deadline && fired->order < fired_order))
        ck_abort_msg("out of order");
    if (uco__timer_pending(timer))
        ck_abort_msg("still pending");
    fired_deadline = fired->deadline;
    fired_order = fired->order;
    fired_count++;
    fired->times++;
}

static void
timer_start(uco_loop *loop, struct fired *fired, uint64_t deadline)
{
    static uint64_t order;

    fired->deadline = deadline;
    fired->order = order++;
    uco__timer_start(loop, &fired->timer, deadline);
}

/* Never into the past here, so that everything comes out in one order from end to end. */
START_TEST(timers_can_be_started_and_stopped_in_any_order)
{
    uco_loop *loop = loop_virtual();
    int steps = scaled(200000);
    uint64_t now = 0, started = 0, stopped = 0;

    srand48(1);
    for (int i = 0; i < TIMERS; i++) {
        uco__timer_init(&timers[i].timer, fire);
        timers[i].timer.background = i % 3 == 0;
    }
    while (steps-- > 0) {
        struct fired *fired = &timers[lrand48() % TIMERS];

        if (lrand48() % 8 == 0) {
            now += (uint64_t) lrand48() % 2000;
            uco__timers_expire(loop, now);
        } else if (!uco__timer_pending(&fired->timer)) {
            timer_start(loop, fired, now + 1 + (uint64_t) lrand48() % 1000);
            started++;
        } else if (lrand48() % 2 == 0) {
            uco__timer_stop(loop, &fired->timer);
            uco__timer_stop(loop, &fired->timer);
            stopped++;
        }
    }
    uco__timers_expire(loop, now + 10000);
    ck_assert_uint_eq(fired_count, started - stopped);
    ck_assert_uint_eq(loop->timers.wheel.count, 0);
    ck_assert_uint_eq(loop->timers.background, 0);
    loop_end(loop);
}
END_TEST

static uco_loop *firing;

static void
fire_and_stop_others(struct uco__timer *timer)
{
    struct fired *fired = UCO__CONTAINER(timer, struct fired, timer);

    fired->times++;
    for (int i = 0; i < TIMERS; i++)
        uco__timer_stop(firing, &timers[i].timer);
}

START_TEST(a_timer_that_fires_may_stop_those_due_with_it)
{
    firing = loop_virtual();
    for (int i = 0; i < TIMERS; i++) {
        uco__timer_init(&timers[i].timer, fire_and_stop_others);
        timers[i].timer.background = i % 2 == 0;
        uco__timer_start(firing, &timers[i].timer, 100);
    }
    uco__timers_expire(firing, 1000);
    for (int i = 0; i < TIMERS; i++)
        ck_assert_int_eq(timers[i].times, i == 0);
    ck_assert_uint_eq(firing->timers.background, 0);
    ck_assert_uint_eq(firing->timers.wheel.count, 0);
    loop_end(firing);
}
END_TEST

static void
fire_and_start_again(struct uco__timer *timer)
{
    struct fired *fired = UCO__CONTAINER(timer, struct fired, timer);

    fired->times++;
    uco__timer_start(firing, timer, timer->node.deadline + 100);
}

START_TEST(a_timer_that_fires_may_start_itself_again)
{
    firing = loop_virtual();
    uco__timer_init(&timers[0].timer, fire_and_start_again);
    uco__timer_start(firing, &timers[0].timer, 100);
    for (uint64_t now = 0; now <= 1000; now += 50)
        uco__timers_expire(firing, now);
    ck_assert_int_eq(timers[0].times, 10);
    ck_assert(uco__timer_pending(&timers[0].timer));
    uco__timer_stop(firing, &timers[0].timer);
    loop_end(firing);
}
END_TEST

START_TEST(a_timer_that_never_comes_is_not_started)
{
    uco_loop *loop = loop_virtual();

    uco__timer_init(&timers[0].timer, fire);
    timers[0].timer.background = true;
    uco__timer_start(loop, &timers[0].timer, UCO__NEVER);
    ck_assert(!uco__timer_pending(&timers[0].timer));
    ck_assert_uint_eq(loop->timers.background, 0);
    uco__timer_stop(loop, &timers[0].timer);
    ck_assert_uint_eq(loop->timers.wheel.count, 0);
    loop_end(loop);
}
END_TEST

/* --- background timers --- */

static void
background_start(uco_loop *loop, struct fired *fired, double seconds)
{
    uco__timer_init(&fired->timer, fire);
    fired->timer.background = true;
    timer_start(loop, fired, uco__clock_from_seconds(seconds));
}

static void *
stop_when_asleep(void *arg)
{
    uco_loop *loop = arg;

    while (!atomic_load(&loop->inbox.asleep))
        sched_yield();
    uco_loop_stop(loop);
    return NULL;
}

/* The loop goes to sleep with nothing but a reminder left, and only the other thread wakes it. */
START_TEST(a_background_timer_alone_does_not_move_a_virtual_clock)
{
    uco_loop *loop = loop_virtual();
    pthread_t thread;

    background_start(loop, &timers[0], 5.0);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_when_asleep, loop), 0);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(timers[0].times, 0);
    ck_assert_uint_eq(loop->virtual_now, 0);
    uco__timer_stop(loop, &timers[0].timer);
    loop_end(loop);
}
END_TEST

static intptr_t
sleeps_past_a_reminder(void *arg)
{
    (void) arg;
    background_start(uco_get_running_loop(), &timers[0], 0.5);
    background_start(uco_get_running_loop(), &timers[1], 5.0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_double_eq(uco_time(), 1.0);
    ck_assert_int_eq(timers[0].times, 1);
    ck_assert_int_eq(timers[1].times, 0);
    uco__timer_stop(uco_get_running_loop(), &timers[1].timer);
    ck_assert_uint_eq(uco_get_running_loop()->timers.background, 0);
    return 0;
}

START_TEST(background_timers_fire_when_others_move_the_clock)
{
    ck_assert_int_eq(run_virtual(sleeps_past_a_reminder, NULL), 0);
    ck_assert_uint_eq(fired_count, 1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("timers");
    TCase *tc = case_new(suite, "tickets");

    tcase_add_test(tc, a_pending_timer_can_be_cancelled_once);
    tcase_add_test(tc, a_timer_that_ran_cannot_be_cancelled);
    tcase_add_test(tc, a_timer_that_never_comes_can_be_cancelled);
    tcase_add_test(tc, a_timer_that_is_due_can_still_be_cancelled);
    tcase_add_test(tc, a_callback_may_start_the_next_timer);
    tcase_add_test(tc, an_old_ticket_does_not_cancel_the_slots_next_timer);
    tcase_add_test(tc, what_was_never_a_ticket_is_refused);
    tcase_add_test(tc, the_ticket_of_a_slot_that_was_never_used_is_refused);
    tcase_add_test(tc, the_ticket_of_another_loop_is_refused_or_known_as_none);
    tcase_add_test(tc, tickets_stay_apart_when_the_generations_of_a_slot_run_out);
    tcase_add_test(tc, a_timer_needs_sensible_arguments);
    tcase_add_loop_test(tc, without_memory_there_is_no_timer_and_nothing_is_lost, 1, 3);
    tcase_add_test(tc, a_thousand_timers_run_in_the_order_of_time);

    tc = case_new(suite, "intrusive timers");
    tcase_add_test(tc, timers_can_be_started_and_stopped_in_any_order);
    tcase_add_test(tc, a_timer_that_fires_may_stop_those_due_with_it);
    tcase_add_test(tc, a_timer_that_fires_may_start_itself_again);
    tcase_add_test(tc, a_timer_that_never_comes_is_not_started);
    tcase_add_test(tc, a_background_timer_alone_does_not_move_a_virtual_clock);
    tcase_add_test(tc, background_timers_fire_when_others_move_the_clock);
    return suite_end(suite);
}
