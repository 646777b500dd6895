/* SPDX-License-Identifier: MIT */
/*
 * SIGINT and SIGTERM in uco_run(): the first cancels the main task, a second one kills.
 *
 * A program of its own, since Check's runner catches both signals itself: a fixture gives each
 * test their default dispositions back. What is to die is forked.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sanitizers have a sigaction() of their own. */
#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ ||                                 \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_INTERPOSES 0
#else
#define TEST_INTERPOSES 1
#endif

static void
default_signals(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static bool
disposition_is(int signo, void (*handler)(int))
{
    struct sigaction action;

    ck_assert_int_eq(sigaction(signo, NULL, &action), 0);
    return action.sa_handler == handler;
}

static volatile sig_atomic_t own_calls;

static void
own_handler(int signo)
{
    (void) signo;
    own_calls++;
}

static intptr_t
raises(void *signo)
{
    raise(*(int *) signo);
    return uco_sleep(15.0);
}

/* L19: the first signal cancels the main task, and what that returns is the result. */
START_TEST(the_first_signal_cancels_the_main_task)
{
    static const int signals[] = {SIGINT, SIGTERM};
    int signo = signals[_i];

    ck_assert_int_eq(uco_run(raises, &signo), -ECANCELED);
    ck_assert(disposition_is(signo, SIG_DFL));
}
END_TEST

static intptr_t
raises_and_finishes(void *signo)
{
    ck_assert_int_eq(raises(signo), -ECANCELED);
    return 42;
}

START_TEST(a_main_task_may_clean_up_and_return_what_it_likes)
{
    int signo = SIGINT;

    ck_assert_int_eq(uco_run(raises_and_finishes, &signo), 42);
}
END_TEST

static void *
interrupt_later(void *arg)
{
    (void) arg;
    usleep(5000); /* The loop is usually in the kernel by then; the test holds either way. */
    kill(getpid(), SIGINT);
    return NULL;
}

static intptr_t
is_interrupted_by_a_thread(void *arg)
{
    pthread_t thread;
    int r;

    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_later, arg), 0);
    r = uco_sleep(15.0);
    pthread_join(thread, NULL);
    return r;
}

/* L19 */
START_TEST(a_signal_reaches_a_loop_that_sleeps)
{
    ck_assert_int_eq(uco_run(is_interrupted_by_a_thread, NULL), -ECANCELED);
}
END_TEST

static intptr_t
yields_for_ever(void *arg)
{
    int r;

    raise(*(int *) arg);
    do
        r = uco_yield();
    while (r == 0);
    return r;
}

START_TEST(a_signal_reaches_a_loop_that_is_busy)
{
    int signo = SIGTERM;

    ck_assert_int_eq(uco_run(yields_for_ever, &signo), -ECANCELED);
}
END_TEST

static intptr_t
is_cancelled_already(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    raise(SIGINT);
    return uco_sleep(15.0);
}

/* L19: a main task that was cancelled before stays cancelled. */
START_TEST(a_signal_to_a_cancelled_main_task_changes_nothing)
{
    ck_assert_int_eq(uco_run(is_cancelled_already, NULL), -ECANCELED);
}
END_TEST

static intptr_t
leaves_a_child(void *signo)
{
    uco_task *child = uco_create_task(body_sleep_forever, NULL);

    ck_assert_int_eq(uco_detach(child), 0);
    ck_assert_int_eq(raises(signo), -ECANCELED);
    ck_assert(!uco_done(child));
    uco_unref(child);
    return 1;
}

START_TEST(a_signal_cancels_the_main_task_only)
{
    int signo = SIGINT;

    ck_assert_int_eq(uco_run(leaves_a_child, &signo), 1);
}
END_TEST

static intptr_t
ignores_signals(void *arg)
{
    const int *signals = arg;

    raise(signals[0]);
    while (!uco_cancelled())
        uco_yield();
    raise(signals[1]);
    while (pause() != 0)
        continue;
    return 0;
}

/* L19: a second signal kills at once, by the default action of its own. */
START_TEST(a_second_signal_kills)
{
    static const int pairs[][2] = {
        {SIGINT, SIGINT}, {SIGTERM, SIGTERM}, {SIGINT, SIGTERM}, {SIGTERM, SIGINT}};
    int signals[2] = {pairs[_i][0], pairs[_i][1]};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        uco_run(ignores_signals, signals);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), signals[1]);
}
END_TEST

static intptr_t
hogs_the_loop(void *arg)
{
    (void) arg;
    raise(SIGINT);
    raise(SIGINT); /* the loop had no chance to see the first one */
    while (pause() != 0)
        continue;
    return 0;
}

START_TEST(a_second_signal_kills_a_loop_that_never_saw_the_first)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        uco_run(hogs_the_loop, NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGINT);
}
END_TEST

static intptr_t
raises_what_is_not_ours(void *arg)
{
    (void) arg;
    ck_assert(disposition_is(SIGINT, SIG_IGN));
    ck_assert(disposition_is(SIGTERM, own_handler));
    raise(SIGINT);
    raise(SIGTERM);
    return uco_sleep(0.001);
}

START_TEST(signals_that_are_ignored_or_handled_are_left_alone)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, own_handler);
    ck_assert_int_eq(uco_run(raises_what_is_not_ours, NULL), 0);
    ck_assert_int_eq(own_calls, 1);
    ck_assert(disposition_is(SIGINT, SIG_IGN));
    ck_assert(disposition_is(SIGTERM, own_handler));
}
END_TEST

START_TEST(one_signal_is_ours_where_the_other_is_not)
{
    int signo = SIGTERM;

    signal(SIGINT, own_handler);
    ck_assert_int_eq(uco_run(raises, &signo), -ECANCELED);
    ck_assert(disposition_is(SIGINT, own_handler));
    ck_assert(disposition_is(SIGTERM, SIG_DFL));
}
END_TEST

START_TEST(dispositions_and_mask_are_restored)
{
    struct sigaction before[32], after;
    sigset_t mask_before, mask_after;
    int signo;

    for (signo = 1; signo < 32; signo++)
        ck_assert_int_eq(sigaction(signo, NULL, &before[signo]), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask_before), 0);
    ck_assert_int_eq(uco_run(body_return, NULL), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask_after), 0);
    for (signo = 1; signo < 32; signo++) {
        ck_assert_int_eq(sigismember(&mask_after, signo), sigismember(&mask_before, signo));
        ck_assert_int_eq(sigaction(signo, NULL, &after), 0);
        /* The report of a stack overflow stays. */
        ck_assert(signo == SIGSEGV || signo == SIGBUS ||
                  after.sa_handler == before[signo].sa_handler);
    }
}
END_TEST

static intptr_t
installs_its_own(void *arg)
{
    (void) arg;
    signal(SIGINT, own_handler);
    raise(SIGINT);
    return uco_sleep(0.001);
}

/* A handler that the program put in place meanwhile is its own affair. */
START_TEST(a_handler_installed_meanwhile_is_kept)
{
    ck_assert_int_eq(uco_run(installs_its_own, NULL), 0);
    ck_assert_int_eq(own_calls, 1);
    ck_assert(disposition_is(SIGINT, own_handler));
}
END_TEST

static intptr_t
looks_at_the_default(void *arg)
{
    (void) arg;
    ck_assert(disposition_is(SIGINT, SIG_DFL));
    ck_assert(disposition_is(SIGTERM, SIG_DFL));
    return 0;
}

static void *
run_in_a_thread(void *arg)
{
    return (void *) uco_run(looks_at_the_default, arg);
}

START_TEST(only_the_main_thread_takes_signals)
{
    pthread_t thread;
    void *r;

    ck_assert_int_eq(pthread_create(&thread, NULL, run_in_a_thread, NULL), 0);
    pthread_join(thread, &r);
    ck_assert_ptr_null(r);
}
END_TEST

START_TEST(only_run_takes_signals)
{
    uco_loop *loop = uco_loop_new(NULL);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, looks_at_the_default, NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(each_run_begins_anew)
{
    int signo = SIGINT, i;

    for (i = 0; i < 3; i++)
        ck_assert_int_eq(uco_run(raises, &signo), -ECANCELED);
    ck_assert_int_eq(uco_run(body_return, (void *) 5), 5);
}
END_TEST

static intptr_t
forks_a_run(void *arg)
{
    int signo = SIGTERM, status;
    pid_t pid = fork();

    (void) arg;
    if (pid == 0)
        _exit(uco_run(raises, &signo) == -ECANCELED && disposition_is(signo, SIG_DFL) ? 0 : 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    return 0;
}

START_TEST(a_run_in_a_forked_child_takes_signals_too)
{
    if (under_sanitizer())
        return; /* ThreadSanitizer delivers none in such a child */
    ck_assert_int_eq(uco_run(forks_a_run, NULL), 0);
    ck_assert(disposition_is(SIGTERM, SIG_DFL));
}
END_TEST

#if TEST_INTERPOSES

/* One handler stands still in the middle, until the run is over, or waits for it. */
static __thread bool handler_is_to_stop;
static atomic_bool handler_is_inside, run_waits, run_is_over, outlived;

static int (*libc_sigaction)(int, const struct sigaction *, struct sigaction *);

int
sigaction(int signo, const struct sigaction *action, struct sigaction *before)
{
    if (libc_sigaction == NULL)
        libc_sigaction = (int (*)(int, const struct sigaction *, struct sigaction *)) dlsym(
            RTLD_NEXT, "sigaction");
    if (handler_is_to_stop) {
        handler_is_to_stop = false;
        atomic_store(&handler_is_inside, true);
        while (!atomic_load(&run_waits) && !atomic_load(&run_is_over))
            usleep(100);
        atomic_store(&outlived, atomic_load(&run_is_over));
    }
    return libc_sigaction(signo, action, before);
}

int
sched_yield(void)
{
    if (atomic_load(&handler_is_inside))
        atomic_store(&run_waits, true);
    return usleep(0);
}

static void *
raise_in_a_thread(void *arg)
{
    (void) arg;
    handler_is_to_stop = true;
    raise(SIGINT);
    return NULL;
}

static intptr_t
ends_under_a_handler(void *thread)
{
    ck_assert_int_eq(pthread_create(thread, NULL, raise_in_a_thread, NULL), 0);
    while (!atomic_load(&handler_is_inside))
        usleep(100);
    return 5;
}

START_TEST(a_run_waits_for_a_handler_in_another_thread)
{
    pthread_t thread;

    ck_assert_int_eq(uco_run(ends_under_a_handler, &thread), 5);
    atomic_store(&run_is_over, true);
    pthread_join(thread, NULL);
    ck_assert(!atomic_load(&outlived));
}
END_TEST

#endif

int
main(void)
{
    Suite *suite = suite_create("signal");
    TCase *tc = case_new(suite, "run");

    tcase_add_checked_fixture(tc, default_signals, NULL);
    tcase_add_loop_test(tc, the_first_signal_cancels_the_main_task, 0, 2);
    tcase_add_test(tc, a_main_task_may_clean_up_and_return_what_it_likes);
    tcase_add_test(tc, a_signal_reaches_a_loop_that_sleeps);
    tcase_add_test(tc, a_signal_reaches_a_loop_that_is_busy);
    tcase_add_test(tc, a_signal_to_a_cancelled_main_task_changes_nothing);
    tcase_add_test(tc, a_signal_cancels_the_main_task_only);
    tcase_add_loop_test(tc, a_second_signal_kills, 0, 4);
    tcase_add_test(tc, a_second_signal_kills_a_loop_that_never_saw_the_first);
    tcase_add_test(tc, signals_that_are_ignored_or_handled_are_left_alone);
    tcase_add_test(tc, one_signal_is_ours_where_the_other_is_not);
    tcase_add_test(tc, dispositions_and_mask_are_restored);
    tcase_add_test(tc, a_handler_installed_meanwhile_is_kept);
    tcase_add_test(tc, only_the_main_thread_takes_signals);
    tcase_add_test(tc, only_run_takes_signals);
    tcase_add_test(tc, each_run_begins_anew);
    tcase_add_test(tc, a_run_in_a_forked_child_takes_signals_too);
#if TEST_INTERPOSES
    tcase_add_test(tc, a_run_waits_for_a_handler_in_another_thread);
#endif
    return suite_end(suite);
}
