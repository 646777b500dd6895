/* SPDX-License-Identifier: MIT */
/* Signals in a loop. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int own_calls;

static void
own_handler(int signo)
{
    (void) signo;
    own_calls++;
}

/* Each test begins with a handler of the program's own for SIGUSR1, and the default for the others
 * (Check's runner catches two of them). */
static void
known_signals(void)
{
    signal(SIGUSR1, own_handler);
    signal(SIGUSR2, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    own_calls = 0;
}

/* For tests that have the timer for themselves. */
static void
known_alarm(void)
{
    storm_stop();
    signal(SIGALRM, SIG_DFL);
}

static bool
disposition_is(int signo, void (*handler)(int))
{
    struct sigaction action;

    ck_assert_int_eq(sigaction(signo, NULL, &action), 0);
    return action.sa_handler == handler;
}

static void
count(void *arg)
{
    ++*(int *) arg;
}

static intptr_t
waits(void *arg)
{
    return uco_signal_wait(*(const int *) arg);
}

static int usr1 = SIGUSR1;
static int usr2 = SIGUSR2;

static uco_task *
waiting(int *signo)
{
    uco_task *task = uco_create_task(waits, signo);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    return task;
}

/* Waiting */

static intptr_t
is_woken(void *arg)
{
    uco_task *task = waiting(&usr1);

    (void) arg;
    raise(SIGUSR1);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(own_calls, 0);
    return 0;
}

START_TEST(a_wait_ends_when_the_signal_comes)
{
    ck_assert_int_eq(run_virtual(is_woken, NULL), 0);
    ck_assert(disposition_is(SIGUSR1, own_handler));
}
END_TEST

static intptr_t
remembers(void *arg)
{
    uco_task *task = waiting(&usr1);

    (void) arg;
    raise(SIGUSR1);
    ck_assert_int_eq(uco_join(task), 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    ck_assert_int_eq(uco_yield(), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    return 0;
}

START_TEST(signals_between_two_waits_are_remembered_as_one)
{
    ck_assert_int_eq(run_virtual(remembers, NULL), 0);
}
END_TEST

static intptr_t
remembers_before_it_waits(void *arg)
{
    (void) arg;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_signal_remember(SIGUSR1), 0);
        raise(SIGUSR1);
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(uco_signal_remember(SIGUSR1), 0);
        ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
        ck_assert_int_eq(uco_signal_forget(SIGUSR1), 0);
        ck_assert(disposition_is(SIGUSR1, own_handler));
    }
    return own_calls;
}

START_TEST(a_signal_can_be_remembered_from_before_the_first_wait_on)
{
    ck_assert_int_eq(run_virtual(remembers_before_it_waits, NULL), 0);
}
END_TEST

static intptr_t
wakes_all(void *arg)
{
    uco_task *tasks[5];
    uco_task *other = waiting(&usr2);

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = waiting(&usr1);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    ck_assert(!uco_done(other));
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT); /* nothing is left over */
    raise(SIGUSR2);
    ck_assert_int_eq(uco_join(other), 0);
    return 0;
}

START_TEST(a_signal_wakes_all_who_wait_for_it_and_nobody_else)
{
    for (uint64_t seed = 0; seed < 20; seed++)
        ck_assert_int_eq(run_seeded(seed, wakes_all, NULL), 0);
}
END_TEST

static intptr_t
cancels_a_wait(void *arg)
{
    uco_task *task = waiting(&usr1);
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    raise(SIGUSR1); /* remembered: the first wait was made */
    ck_assert_int_eq(uco_scope_open(&scope, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_scope_cancel(&scope), 0);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    return 0;
}

START_TEST(a_cancelled_wait_loses_no_signal)
{
    ck_assert_int_eq(run_virtual(cancels_a_wait, NULL), 0);
}
END_TEST

static intptr_t
signal_and_cancellation_meet(void *arg)
{
    uco_task *task = waiting(&usr1);
    intptr_t r;

    (void) arg;
    raise(SIGUSR1);
    ck_assert_int_eq(uco_cancel(task), 0);
    r = uco_join(task);
    if (r == -ECANCELED) {
        ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    } else {
        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    }
    return 0;
}

START_TEST(a_signal_and_a_cancellation_that_meet_lose_nothing)
{
    run_in_all_orders(signal_and_cancellation_meet, NULL);
}
END_TEST

static intptr_t
waits_for_the_alarm(void *arg)
{
    const struct itimerval soon = {.it_value.tv_usec = 150000};

    (void) arg;
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    return uco_signal_wait(SIGALRM);
}

/* Long enough for the loop to look for a deadlock. */
START_TEST(a_loop_that_only_waits_for_a_signal_is_not_deadlocked)
{
    known_alarm();
    ck_assert_int_eq(uco_run(waits_for_the_alarm, NULL), 0);
}
END_TEST

static intptr_t
handles_the_alarm(void *arg)
{
    const struct itimerval soon = {.it_value.tv_usec = 150000};
    uco_event *event = arg;

    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    return uco_event_wait(event);
}

static void
set_event(void *arg)
{
    uco_event_set(arg);
}

static intptr_t
is_released_by_a_handler(void *arg)
{
    uco_event event = {0};

    (void) arg;
    ck_assert_int_eq(
        uco_loop_add_signal_handler(uco_get_running_loop(), SIGALRM, set_event, &event), 0);
    return handles_the_alarm(&event);
}

/* P1: the loop sleeps in the kernel when the signal comes. */
START_TEST(a_handler_runs_while_the_loop_sleeps)
{
    known_alarm();
    ck_assert_int_eq(uco_run(is_released_by_a_handler, NULL), 0);
    ck_assert(disposition_is(SIGALRM, SIG_DFL));
}
END_TEST

static intptr_t
forgets(void *arg)
{
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), -ENOENT);
    task = waiting(&usr1);
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), -EBUSY);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert(!disposition_is(SIGUSR1, own_handler));
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), 0);
    ck_assert(disposition_is(SIGUSR1, own_handler));
    ck_assert_int_eq(own_calls, 0);
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), -ENOENT);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), 0); /* the remembered one goes to the program's */
    ck_assert_int_eq(own_calls, 1);
    return 0;
}

START_TEST(what_is_forgotten_is_as_it_was_before)
{
    ck_assert_int_eq(run_virtual(forgets, NULL), 0);
}
END_TEST

/* Callbacks */

struct handled {
    uco_loop *loop;
    int calls;
    bool in_task;
};

static void
handle(void *arg)
{
    struct handled *handled = arg;

    handled->calls++;
    handled->loop = uco_get_running_loop();
    handled->in_task = uco_current_task() != NULL;
}

static intptr_t
calls_back(void *arg)
{
    struct handled handled = {0};
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, handle, &handled), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(handled.calls, 1);
    ck_assert_ptr_eq(handled.loop, loop);
    ck_assert(!handled.in_task);
    raise(SIGUSR1);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(handled.calls, 2);
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), 0);
    ck_assert(disposition_is(SIGUSR1, own_handler));
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), -ENOENT);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(handled.calls, 2);
    ck_assert_int_eq(own_calls, 1);
    return 0;
}

/* P1 */
START_TEST(a_handler_runs_in_the_loop_until_it_is_removed)
{
    ck_assert_int_eq(run_virtual(calls_back, NULL), 0);
}
END_TEST

static intptr_t
replaces(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int first = 0, second = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &first), 0);
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &second), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(first, 0);
    ck_assert_int_eq(second, 1);
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), 0);
    ck_assert(disposition_is(SIGUSR1, own_handler));
    return 0;
}

START_TEST(a_second_handler_replaces_the_first)
{
    ck_assert_int_eq(run_virtual(replaces, NULL), 0);
}
END_TEST

static void
handle_and_remove(void *arg)
{
    handle(arg);
    ck_assert_int_eq(uco_loop_remove_signal_handler(uco_get_running_loop(), SIGUSR1), 0);
}

static intptr_t
removes_itself(void *arg)
{
    struct handled handled = {0};
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, handle_and_remove, &handled),
                         0);
        raise(SIGUSR1);
        ck_assert_int_eq(uco_sleep(1.0), 0);
        ck_assert_int_eq(handled.calls, i);
        ck_assert(disposition_is(SIGUSR1, own_handler));
    }
    return 0;
}

START_TEST(a_handler_may_remove_itself)
{
    ck_assert_int_eq(run_virtual(removes_itself, NULL), 0);
}
END_TEST

static intptr_t
serves_both(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    uco_task *task = waiting(&usr1);
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &calls), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), 0);
    ck_assert(!disposition_is(SIGUSR1, own_handler)); /* still remembered for waits */
    raise(SIGUSR1);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    return 0;
}

START_TEST(a_handler_and_a_wait_both_get_the_signal)
{
    ck_assert_int_eq(run_virtual(serves_both, NULL), 0);
    ck_assert(disposition_is(SIGUSR1, own_handler));
}
END_TEST

static intptr_t
wakes_by_hand(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int wakes = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, count, &wakes), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(wakes, 0);
    ck_assert_int_eq(uco_wake_from_signal(loop), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(wakes, 1);
    return 0;
}

START_TEST(a_signal_does_not_run_the_wake_callback)
{
    ck_assert_int_eq(run_virtual(wakes_by_hand, NULL), 0);
}
END_TEST

/* What is refused */

static intptr_t
is_refused(void *arg)
{
    static const int bad[] = {0,      -1,     65,     99,      SIGKILL, SIGSTOP, SIGSEGV,
                              SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS,  32,      33};
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    for (size_t i = 0; i < COUNT(bad); i++) {
        ck_assert_int_eq(uco_signal_wait(bad[i]), -EINVAL);
        ck_assert_int_eq(uco_signal_forget(bad[i]), -EINVAL);
        ck_assert_int_eq(uco_signal_remember(bad[i]), -EINVAL);
        ck_assert_int_eq(uco_loop_add_signal_handler(loop, bad[i], count, NULL), -EINVAL);
        ck_assert_int_eq(uco_loop_remove_signal_handler(loop, bad[i]), -EINVAL);
    }
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_signal_handler(NULL, SIGUSR1, count, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_remove_signal_handler(NULL, SIGUSR1), -EINVAL);
    ck_assert(disposition_is(SIGUSR1, own_handler));
    return 0;
}

/* P2 */
START_TEST(signals_that_cannot_be_had_are_refused)
{
    ck_assert_int_eq(run_virtual(is_refused, NULL), 0);
}
END_TEST

static void
waits_in_a_callback(void *arg)
{
    *(int *) arg = uco_signal_wait(SIGUSR1);
}

static intptr_t
calls_soon(void *arg)
{
    int r = 1;

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), waits_in_a_callback, &r), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return r;
}

START_TEST(only_coroutines_wait)
{
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), -EPERM);
    ck_assert_int_eq(uco_signal_wait(99), -EPERM);
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), -EPERM);
    ck_assert_int_eq(uco_signal_remember(SIGUSR1), -EPERM);
    ck_assert_int_eq(run_virtual(calls_soon, NULL), -EPERM);
    ck_assert(disposition_is(SIGUSR1, own_handler));
}
END_TEST

static void *
meddle(void *loop)
{
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), -EPERM);
    return NULL;
}

static intptr_t
is_meddled_with(void *arg)
{
    pthread_t thread;

    (void) arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, meddle, uco_get_running_loop()), 0);
    pthread_join(thread, NULL);
    return 0;
}

/* P3 */
START_TEST(handlers_from_another_thread_are_refused)
{
    uco_loop *loop = uco_loop_new(NULL);

    ck_assert_int_eq(run_virtual(is_meddled_with, NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, NULL), -ESHUTDOWN);
    uco_loop_unref(loop);
}
END_TEST

static const char *const faults[] = {"malloc", "sigaction"};

static intptr_t
fails_to_set_up(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    const char *fault = arg;
    unsigned long nth = 0;
    int r, calls = 0;

    do {
        uco_test_fail(fault, ++nth, false, ENOMEM);
        r = uco_loop_add_signal_handler(loop, SIGUSR1, count, &calls);
        uco_test_fail_off();
        ck_assert_int_eq(disposition_is(SIGUSR1, own_handler), r < 0);
    } while (r < 0);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_gt(nth, 1);
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), 0);
    uco_test_fail(fault, 1, true, ENOMEM);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), -ENOMEM);
    uco_test_fail_off();
    ck_assert(disposition_is(SIGUSR1, own_handler));
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    /* From here on nothing is needed. */
    uco_test_fail(fault, 1, true, ENOMEM);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), 0);
    uco_test_fail_off();
    ck_assert_int_eq(own_calls, 1);
    return 0;
}

/* P2, A4 */
START_TEST(a_failed_set_up_leaves_nothing_and_an_end_needs_nothing)
{
    ck_assert_int_eq(run_virtual(fails_to_set_up, (void *) (uintptr_t) faults[_i]), 0);
}
END_TEST

/* What was in place before */

static intptr_t
removes_with_one_pending(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &calls), 0);
    raise(SIGUSR1); /* the loop has not seen it */
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR1), 0);
    ck_assert_int_eq(own_calls, 1);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(calls, 0);
    return 0;
}

/* P4 */
START_TEST(a_signal_that_comes_during_a_removal_goes_to_the_old_handler)
{
    ck_assert_int_eq(run_virtual(removes_with_one_pending, NULL), 0);
    ck_assert_int_eq(own_calls, 1);
}
END_TEST

struct removal {
    uco_loop *loop;
    int calls;
};

static void
remove_usr2(void *arg)
{
    struct removal *removal = arg;

    removal->calls++;
    ck_assert_int_eq(uco_loop_remove_signal_handler(removal->loop, SIGUSR1), 0);
}

static intptr_t
removes_a_due_callback(void *arg)
{
    struct removal removal = {.loop = uco_get_running_loop()};
    int calls = 0;

    (void) arg;
    /* Both are due in the same turn; the one that was wanted first, for SIGUSR2, runs first. */
    ck_assert_int_eq(uco_loop_add_signal_handler(removal.loop, SIGUSR2, remove_usr2, &removal), 0);
    ck_assert_int_eq(uco_loop_add_signal_handler(removal.loop, SIGUSR1, count, &calls), 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(removal.calls, 1);
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(own_calls, 1);
    return 0;
}

/* P4 */
START_TEST(a_callback_that_was_due_and_is_removed_does_not_run)
{
    ck_assert_int_eq(run_virtual(removes_a_due_callback, NULL), 0);
}
END_TEST

static intptr_t
leaves_one_that_was_seen(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &calls), 0);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    raise(SIGUSR1); /* remembered for waits, but the callback has it */
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(calls, 1);
    return 0;
}

START_TEST(what_somebody_has_seen_is_not_handed_on)
{
    ck_assert_int_eq(run_virtual(leaves_one_that_was_seen, NULL), 0);
    ck_assert_int_eq(own_calls, 0);
}
END_TEST

static intptr_t
leaves_one_remembered(void *arg)
{
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(uco_get_running_loop(), SIGUSR2, count, &calls),
                     0);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

START_TEST(a_close_ends_all_interest_and_hands_on_what_nobody_saw)
{
    ck_assert_int_eq(run_virtual(leaves_one_remembered, NULL), 0);
    ck_assert_int_eq(own_calls, 1);
    ck_assert(disposition_is(SIGUSR1, own_handler));
    ck_assert(disposition_is(SIGUSR2, SIG_DFL));
}
END_TEST

static atomic_int newer_calls;

static void
newer_handler(int signo)
{
    (void) signo;
    newer_calls++;
}

static intptr_t
is_replaced(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    signal(SIGUSR1, newer_handler);
    raise(SIGUSR1);
    return 0;
}

/* C16 */
START_TEST(a_handler_that_the_program_installs_meanwhile_stays)
{
    ck_assert_int_eq(run_virtual(is_replaced, NULL), 0);
    ck_assert(disposition_is(SIGUSR1, newer_handler));
    ck_assert_int_eq(newer_calls, 1);
}
END_TEST

static intptr_t
is_replaced_and_asks_again(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    signal(SIGUSR1, newer_handler);
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    ck_assert(disposition_is(SIGUSR1, newer_handler));
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &calls), 0);
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR1, count, &calls), 0);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(calls, 1);
    return 0;
}

START_TEST(who_asks_for_a_callback_gets_the_signal_again)
{
    ck_assert_int_eq(run_virtual(is_replaced_and_asks_again, NULL), 0);
    ck_assert(disposition_is(SIGUSR1, newer_handler));
    ck_assert_int_eq(newer_calls, 0);
}
END_TEST

static void (*chained_to)(int);

static void
chaining_handler(int signo)
{
    newer_calls++;
    chained_to(signo);
}

static intptr_t
is_chained(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    chained_to = signal(SIGUSR1, chaining_handler);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    return 0;
}

/* C16: a handler of the program's that calls what was there before, also when no loop is left. */
START_TEST(a_handler_may_chain_to_ours_for_ever)
{
    ck_assert_int_eq(run_virtual(is_chained, NULL), 0);
    ck_assert_int_eq(newer_calls, 1);
    raise(SIGUSR1);
    ck_assert_int_eq(newer_calls, 2);
    ck_assert_int_eq(own_calls, 0);
}
END_TEST

static intptr_t
looks_at_the_action(void *arg)
{
    struct sigaction action;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(1.0, waits, &usr1), -ETIMEDOUT);
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &action), 0);
    ck_assert_int_ne(action.sa_flags & SA_ONSTACK, 0);
    ck_assert_int_ne(action.sa_flags & SA_RESTART, 0);
    errno = 42;
    raise(SIGUSR1);
    ck_assert_int_eq(errno, 42);
    return 0;
}

/* C7 */
START_TEST(the_handler_keeps_off_the_coroutines_stacks_and_errno)
{
    ck_assert_int_eq(run_virtual(looks_at_the_action, NULL), 0);
}
END_TEST

/* With uco_run() */

static int sigint = SIGINT;

static intptr_t
takes_sigint_for_itself(void *arg)
{
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(uco_get_running_loop(), SIGINT, count, &calls), 0);
    raise(SIGINT);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(uco_signal_remember(SIGINT), 0);
    raise(SIGINT);
    ck_assert_int_eq(uco_signal_wait(SIGINT), 0);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(uco_loop_remove_signal_handler(uco_get_running_loop(), SIGINT), 0);
    ck_assert_int_eq(uco_signal_forget(SIGINT), 0);
    raise(SIGINT);
    return uco_sleep(15.0);
}

START_TEST(run_steps_back_for_a_loops_own_interest_and_comes_back)
{
    ck_assert_int_eq(uco_run(takes_sigint_for_itself, NULL), -ECANCELED);
    ck_assert(disposition_is(SIGINT, SIG_DFL));
}
END_TEST

static intptr_t
keeps_sigint(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_signal_remember(SIGINT), 0);
    return 0;
}

START_TEST(all_is_as_before_when_a_run_ends_with_an_interest)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_run(keeps_sigint, NULL), 0);
        ck_assert(disposition_is(SIGINT, SIG_DFL));
    }
}
END_TEST

static intptr_t
is_cancelled_by(void *signo)
{
    raise(*(int *) signo);
    return uco_sleep(15.0);
}

/* A loop of another thread had SIGINT before the run began, and lets go of it in the middle, or
 * after its end. */
START_TEST(run_shares_a_signal_with_another_loop)
{
    uco_loop *other = uco_loop_new(NULL);
    int calls = 0;

    ck_assert_int_eq(uco_loop_add_signal_handler(other, SIGINT, count, &calls), 0);
    ck_assert_int_eq(uco_run(body_return, (void *) 5), 5);
    ck_assert(!disposition_is(SIGINT, SIG_DFL));
    ck_assert_int_eq(uco_loop_remove_signal_handler(other, SIGINT), 0);
    ck_assert(disposition_is(SIGINT, SIG_DFL));
    ck_assert_int_eq(uco_run(is_cancelled_by, &sigint), -ECANCELED);
    ck_assert_int_eq(calls, 0);
    ck_assert_int_eq(uco_loop_close(other), 0);
    uco_loop_unref(other);
}
END_TEST

static intptr_t
lets_go_of(void *other)
{
    ck_assert_int_eq(uco_loop_remove_signal_handler(other, SIGINT), 0);
    return is_cancelled_by(&sigint);
}

START_TEST(run_gets_a_signal_that_another_loop_lets_go_of)
{
    uco_loop *other = uco_loop_new(NULL);
    int calls = 0;

    ck_assert_int_eq(uco_loop_add_signal_handler(other, SIGINT, count, &calls), 0);
    ck_assert_int_eq(uco_run(lets_go_of, other), -ECANCELED);
    ck_assert(disposition_is(SIGINT, SIG_DFL));
    ck_assert_int_eq(uco_loop_close(other), 0);
    uco_loop_unref(other);
}
END_TEST

static intptr_t
asks_for_death(void *arg)
{
    int calls = 0;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(uco_get_running_loop(), SIGTERM, count, &calls),
                     0);
    raise(SIGINT);
    while (!uco_cancelled())
        uco_yield();
    ck_assert_int_eq(uco_loop_remove_signal_handler(uco_get_running_loop(), SIGTERM), 0);
    raise(SIGTERM);
    while (pause() != 0)
        continue;
    return 0;
}

START_TEST(a_signal_that_came_back_after_the_first_one_kills)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        uco_run(asks_for_death, NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGTERM);
}
END_TEST

/* fork */

static intptr_t
forks(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int status;
    pid_t pid;

    (void) arg;
    ck_assert_int_eq(uco_signal_remember(SIGUSR1), 0);
    pid = fork();
    if (pid == 0) {
        bool good = uco_signal_wait(SIGUSR1) == -ESTALE && uco_signal_forget(SIGUSR1) == -ESTALE &&
                    uco_loop_add_signal_handler(loop, SIGUSR2, count, NULL) == -ESTALE &&
                    uco_loop_remove_signal_handler(loop, SIGUSR1) == -ESTALE &&
                    disposition_is(SIGUSR1, own_handler);

        if (!under_sanitizer()) { /* ThreadSanitizer delivers none in such a child */
            raise(SIGUSR1);
            good = good && own_calls == 1;
            if (good)
                raise(SIGINT); /* not swallowed by the parent's run */
        }
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, under_sanitizer() ? 0 : SIGINT);
    raise(SIGUSR1);
    ck_assert_int_eq(uco_signal_wait(SIGUSR1), 0);
    return 0;
}

START_TEST(a_forked_child_has_the_signals_that_were_before)
{
    ck_assert_int_eq(run_real(forks, NULL), 0);
}
END_TEST

static bool forking;

/* A child's first handler of all: before that which gives the signals back. */
static void
child_is_told_to_end(void)
{
    if (forking)
        raise(SIGTERM);
}

static intptr_t
forks_one_that_is_told_to_end(void *arg)
{
    int status;
    pid_t pid;

    (void) arg;
    ck_assert_int_eq(uco_signal_remember(SIGTERM), 0);
    forking = true;
    pid = fork();
    if (pid == 0)
        _exit(0);
    forking = false;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, SIGTERM);
    return 0;
}

START_TEST(a_signal_that_comes_to_a_new_child_is_not_lost)
{
    if (under_sanitizer())
        return; /* ThreadSanitizer delivers none in such a child */
    ck_assert_int_eq(pthread_atfork(NULL, NULL, child_is_told_to_end), 0);
    ck_assert_int_eq(run_real(forks_one_that_is_told_to_end, NULL), 0);
}
END_TEST

/* Many threads, many signals */

#define STORM 10000

static atomic_bool storm_over;

static void *
storm(void *arg)
{
    (void) arg;
    for (int i = 0; i < scaled(STORM); i++)
        kill(getpid(), i % 2 == 0 ? SIGUSR1 : SIGUSR2);
    atomic_store(&storm_over, true);
    kill(getpid(), SIGUSR1);
    return NULL;
}

static intptr_t
weathers(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int calls = 0, waited = 0, r;
    pthread_t thread;

    (void) arg;
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGUSR2, count, &calls), 0);
    ck_assert_int_eq(uco_signal_remember(SIGUSR1), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, storm, NULL), 0);
    do {
        r = uco_signal_wait(SIGUSR1);
        ck_assert_int_eq(r, 0);
        waited++;
    } while (!atomic_load(&storm_over));
    pthread_join(thread, NULL);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_gt(calls, 0);
    signal(SIGUSR2, SIG_IGN); /* one may still be on its way */
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGUSR2), 0);
    return waited > 0 ? 0 : -EIO;
}

START_TEST(a_storm_of_signals_is_weathered)
{
    ck_assert_int_eq(run_real(weathers, NULL), 0);
}
END_TEST

static void *
storm_until_told(void *arg)
{
    (void) arg;
    while (!atomic_load(&storm_over)) {
        kill(getpid(), SIGUSR1);
        sched_yield();
    }
    return NULL;
}

static intptr_t
waits_once(void *arg)
{
    return waits(arg);
}

/* A handler may be on its way in one thread while a loop closes in another. */
START_TEST(loops_come_and_go_in_a_storm)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, storm_until_told, NULL), 0);
    for (int i = 0; i < scaled(1000); i++)
        ck_assert_int_eq(run_real(waits_once, &usr1), 0);
    atomic_store(&storm_over, true);
    pthread_join(thread, NULL);
    ck_assert(disposition_is(SIGUSR1, own_handler));
}
END_TEST

struct shared {
    uco_loop_thread *thread;
    uco_task *task;
};

static intptr_t
waits_ten_times(void *arg)
{
    atomic_int *ready = arg;
    intptr_t r = 0;

    /* From here on signals are remembered. */
    ck_assert_int_eq(uco_signal_remember(SIGUSR1), 0);
    for (int i = 0; i < 10 && r == 0; i++) {
        atomic_fetch_add(ready, 1);
        r = uco_signal_wait(SIGUSR1);
    }
    return r;
}

/* Every loop that wants a signal gets it. */
START_TEST(a_signal_is_told_to_the_loops_of_all_threads)
{
    struct shared shared[3];
    atomic_int ready = 0;

    for (size_t i = 0; i < COUNT(shared); i++) {
        shared[i].thread = uco_loop_thread_start(NULL);
        shared[i].task = uco_run_coroutine_threadsafe(uco_loop_thread_loop(shared[i].thread),
                                                      waits_ten_times, &ready);
    }
    for (int i = 1; i <= 10; i++) {
        while (atomic_load(&ready) < i * (int) COUNT(shared))
            sched_yield();
        raise(SIGUSR1);
    }
    for (size_t i = 0; i < COUNT(shared); i++) {
        ck_assert_int_eq(uco_future_wait(shared[i].task, 10.0), 0);
        uco_unref(shared[i].task);
        ck_assert(!disposition_is(SIGUSR1, own_handler));
        ck_assert_int_eq(uco_loop_thread_stop(shared[i].thread), 0);
    }
    ck_assert(disposition_is(SIGUSR1, own_handler));
    ck_assert_int_eq(own_calls, 0);
}
END_TEST

static intptr_t
writes_many(void *arg)
{
    char byte = 'x';

    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(uco_write_all(*(int *) arg, &byte, 1, NULL), 1);
    return 0;
}

static intptr_t
talks_in_a_storm(void *arg)
{
    const struct itimerval period = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
    const struct itimerval never = {0};
    uco_loop *loop = uco_get_running_loop();
    int ends[2], calls = 0;
    uco_task *writer;
    char byte;

    (void) arg;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(uco_loop_add_signal_handler(loop, SIGALRM, count, &calls), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &period, NULL), 0);
    writer = uco_create_task(writes_many, &ends[1]);
    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(uco_read_exactly(ends[0], &byte, 1), 1);
    ck_assert_int_eq(uco_join(writer), 0);
    while (calls < 20)
        ck_assert_int_eq(uco_sleep(0.002), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    signal(SIGALRM, SIG_IGN); /* one may still be on its way */
    ck_assert_int_eq(uco_loop_remove_signal_handler(loop, SIGALRM), 0);
    uco_close(ends[0]);
    uco_close(ends[1]);
    return 0;
}

/* B10 */
START_TEST(calls_go_on_in_a_storm_of_timer_signals)
{
    known_alarm();
    ck_assert_int_eq(run_real(talks_in_a_storm, NULL), 0);
}
END_TEST

static void
add_waits(Suite *suite)
{
    TCase *tc = case_new(suite, "waiting");

    tcase_add_checked_fixture(tc, known_signals, NULL);
    tcase_add_test(tc, a_wait_ends_when_the_signal_comes);
    tcase_add_test(tc, signals_between_two_waits_are_remembered_as_one);
    tcase_add_test(tc, a_signal_can_be_remembered_from_before_the_first_wait_on);
    tcase_add_test(tc, a_signal_wakes_all_who_wait_for_it_and_nobody_else);
    tcase_add_test(tc, a_cancelled_wait_loses_no_signal);
    tcase_add_test(tc, a_signal_and_a_cancellation_that_meet_lose_nothing);
    tcase_add_test(tc, a_loop_that_only_waits_for_a_signal_is_not_deadlocked);
    tcase_add_test(tc, what_is_forgotten_is_as_it_was_before);
}

static void
add_callbacks(Suite *suite)
{
    TCase *tc = case_new(suite, "callbacks");

    tcase_add_checked_fixture(tc, known_signals, NULL);
    tcase_add_test(tc, a_handler_runs_while_the_loop_sleeps);
    tcase_add_test(tc, a_handler_runs_in_the_loop_until_it_is_removed);
    tcase_add_test(tc, a_second_handler_replaces_the_first);
    tcase_add_test(tc, a_handler_may_remove_itself);
    tcase_add_test(tc, a_handler_and_a_wait_both_get_the_signal);
    tcase_add_test(tc, a_signal_does_not_run_the_wake_callback);
}

static void
add_refusals(Suite *suite)
{
    TCase *tc = case_new(suite, "refusals");

    tcase_add_checked_fixture(tc, known_signals, NULL);
    tcase_add_test(tc, signals_that_cannot_be_had_are_refused);
    tcase_add_test(tc, only_coroutines_wait);
    tcase_add_test(tc, handlers_from_another_thread_are_refused);
    tcase_add_loop_test(tc, a_failed_set_up_leaves_nothing_and_an_end_needs_nothing, 0,
                        (int) COUNT(faults));
}

static void
add_dispositions(Suite *suite)
{
    TCase *tc = case_new(suite, "what was in place before");

    tcase_add_checked_fixture(tc, known_signals, NULL);
    tcase_add_test(tc, a_signal_that_comes_during_a_removal_goes_to_the_old_handler);
    tcase_add_test(tc, a_callback_that_was_due_and_is_removed_does_not_run);
    tcase_add_test(tc, a_close_ends_all_interest_and_hands_on_what_nobody_saw);
    tcase_add_test(tc, what_somebody_has_seen_is_not_handed_on);
    tcase_add_test(tc, a_handler_that_the_program_installs_meanwhile_stays);
    tcase_add_test(tc, who_asks_for_a_callback_gets_the_signal_again);
    tcase_add_test(tc, a_handler_may_chain_to_ours_for_ever);
    tcase_add_test(tc, the_handler_keeps_off_the_coroutines_stacks_and_errno);
    tcase_add_test(tc, run_steps_back_for_a_loops_own_interest_and_comes_back);
    tcase_add_test(tc, all_is_as_before_when_a_run_ends_with_an_interest);
    tcase_add_test(tc, run_shares_a_signal_with_another_loop);
    tcase_add_test(tc, run_gets_a_signal_that_another_loop_lets_go_of);
    tcase_add_test(tc, a_signal_that_came_back_after_the_first_one_kills);
    tcase_add_test(tc, a_forked_child_has_the_signals_that_were_before);
    tcase_add_test(tc, a_signal_that_comes_to_a_new_child_is_not_lost);
}

static void
add_storms(Suite *suite)
{
    TCase *tc = case_new(suite, "storms");

    tcase_add_checked_fixture(tc, known_signals, NULL);
    tcase_add_test(tc, a_storm_of_signals_is_weathered);
    tcase_add_test(tc, loops_come_and_go_in_a_storm);
    tcase_add_test(tc, a_signal_is_told_to_the_loops_of_all_threads);
    tcase_add_test(tc, calls_go_on_in_a_storm_of_timer_signals);
}

int
main(void)
{
    Suite *suite = suite_create("signal");

    add_waits(suite);
    add_callbacks(suite);
    add_refusals(suite);
    add_dispositions(suite);
    add_storms(suite);
    return suite_end(suite);
}
