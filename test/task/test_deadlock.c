/* SPDX-License-Identifier: MIT */
/* What is said of a program that hangs: deadlocks, and SIGQUIT in debug mode. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/dumped.h"

#include "base/clock.h"
#include "base/system.h"
#include "task/deadlock.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* ThreadSanitizer gives a child a thread, so no loop there is sure of a deadlock, and keeps the
 * dispositions of signals itself, where SA_RESETHAND does not make SIGQUIT deadly again. */
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN true
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN false
#endif

/* From here on stderr goes to a file. */
static int
stderr_keep(int *before)
{
    int fd = dumped_file();

    fflush(stderr);
    *before = dup(STDERR_FILENO);
    ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    return fd;
}

static const char *
stderr_kept(int fd, int before)
{
    fflush(stderr);
    ck_assert_int_eq(dup2(before, STDERR_FILENO), STDERR_FILENO);
    close(before);
    return dumped_text(fd);
}

static const char *
said_by(const uco_loop_options *options, uco_fn *fn, void *arg, intptr_t *result)
{
    int before, fd = stderr_keep(&before);

    *result = uco_run_with(options, fn, arg);
    return stderr_kept(fd, before);
}

/* --- nobody is left --- */

static intptr_t
awaits(void *future)
{
    return uco_await(future);
}

static intptr_t
has_stuck_children(void *arg)
{
    uco_future *never = uco_future_new();
    uco_task *tasks[] = {named("one", awaits, never), named("two", awaits, never)};

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), -ECANCELED);
    uco_unref(never);
    return 0;
}

START_TEST(a_deadlock_is_a_report_and_a_dump)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    intptr_t result;
    const char *said = said_by(&options, has_stuck_children, NULL, &result);

    ck_assert_int_eq(result, -EDEADLK);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_tells(reports.last, "deadlock: every task is blocked");
    ck_assert_tells(reports.last, "'one' (");
    ck_assert_tells(reports.last, "waits for a future (0x");
    ck_assert_tells(said, ": 3 tasks, 0 timers, 0 fds waited for");
    ck_assert_tells(dumped_line(said, "two"), "waits for a future (0x");
}
END_TEST

START_TEST(without_a_handler_the_report_comes_first)
{
    intptr_t result;
    const char *said = said_by(NULL, has_stuck_children, NULL, &result);

    ck_assert_int_eq(result, -EDEADLK);
    /* A sanitizer may have had a word before. */
    ck_assert_ptr_eq(strstr(said, "uco: "), strstr(said, "uco: deadlock: "));
    ck_assert(strstr(said, "all are cancelled\nuco: loop ") != NULL);
}
END_TEST

static intptr_t
has_many_stuck_children(void *arg)
{
    uco_future *never = uco_future_new();
    uco_task *tasks[100];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = named("one of many that are stuck", awaits, never);
    uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    uco_unref(never);
    return 0;
}

START_TEST(many_stuck_tasks_do_not_make_a_long_report)
{
    intptr_t result;
    const char *said = strstr(said_by(NULL, has_many_stuck_children, NULL, &result), "uco: ");
    size_t first, told = 0;

    ck_assert_ptr_nonnull(said);
    first = strcspn(said, "\n");
    ck_assert_int_eq(result, -EDEADLK);
    ck_assert_uint_lt(first, 1100);
    ck_assert_int_eq(strncmp(said + first - strlen(" ...; all are cancelled"),
                             " ...; all are cancelled", strlen(" ...; all are cancelled")),
                     0);
    for (const char *at = said + first; (at = strstr(at, "task 'one of many")) != NULL; at++)
        told++;
    ck_assert_uint_ge(told, 100);
}
END_TEST

/* --- another thread is there --- */

struct outside {
    pthread_t thread;
    uco_future *future;
    atomic_uint reports;
    atomic_bool go_on;
    char said[1024];
};

static void *
resolves_when_told(void *arg)
{
    struct outside *outside = arg;

    while (!atomic_load(&outside->go_on))
        usleep(1000);
    uco_future_set_result(outside->future, 7);
    return NULL;
}

/* It goes on once it was told of it, or some time later if it is not to be. */
static void
suspicion_handle(const char *message, uco_task *task, void *arg)
{
    struct outside *outside = arg;

    (void) task;
    snprintf(outside->said, sizeof outside->said, "%s", message);
    if (atomic_fetch_add(&outside->reports, 1) == 0)
        atomic_store(&outside->go_on, true);
}

static intptr_t
awaits_a_thread(void *arg)
{
    struct outside *outside = arg;
    intptr_t result;

    outside->future = uco_future_new();
    ck_assert_int_eq(pthread_create(&outside->thread, NULL, resolves_when_told, outside), 0);
    result = uco_await(outside->future);
    pthread_join(outside->thread, NULL);
    uco_unref(outside->future);
    return result;
}

START_TEST(a_loop_that_only_a_thread_could_wake_is_told_of_in_debug_mode)
{
    struct outside outside = {0};
    uco_loop_options options = {
        .debug = true, .exception_handler = suspicion_handle, .exception_arg = &outside};
    intptr_t result;
    const char *said;

    uco__deadlock_patience = 50 * UCO__MILLISECOND;
    said = said_by(&options, awaits_a_thread, &outside, &result);
    ck_assert_int_eq(result, 7);
    ck_assert_uint_eq(atomic_load(&outside.reports), 1);
    ck_assert_tells(outside.said, "maybe a deadlock: every task is blocked");
    ck_assert_tells(said, "waits for a future (0x");
}
END_TEST

static void *
resolves_later(void *arg)
{
    usleep(300000);
    atomic_store(&((struct outside *) arg)->go_on, true);
    return NULL;
}

START_TEST(without_debug_mode_nothing_is_said_of_it)
{
    struct outside outside = {0};
    uco_loop_options options = {.exception_handler = suspicion_handle, .exception_arg = &outside};
    pthread_t thread;
    intptr_t result;
    const char *said;

    uco__deadlock_patience = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, resolves_later, &outside), 0);
    said = said_by(&options, awaits_a_thread, &outside, &result);
    ck_assert_tells_not(said, "uco: ");
    ck_assert_int_eq(result, 7);
    ck_assert_uint_eq(atomic_load(&outside.reports), 0);
    pthread_join(thread, NULL);
}
END_TEST

/* --- SIGQUIT --- */

static intptr_t
quits_twice(void *arg)
{
    uco_task *task = named("witness", body_sleep_forever, arg);

    ck_assert_int_eq(uco_test_settle(), 0);
    raise(SIGQUIT);
    uco_yield();
    raise(SIGQUIT);
    uco_cancel(task);
    return uco_join(task);
}

static bool
quit_is(void (*handler)(int))
{
    struct sigaction action;

    return sigaction(SIGQUIT, NULL, &action) == 0 && action.sa_handler == handler;
}

START_TEST(in_debug_mode_sigquit_dumps_and_goes_on)
{
    uco_loop_options options = {.debug = true, .clock = UCO_CLOCK_VIRTUAL};
    intptr_t result;
    const char *said, *second;

    ck_assert(quit_is(SIG_DFL));
    said = said_by(&options, quits_twice, NULL, &result);
    ck_assert_int_eq(result, -ECANCELED);
    ck_assert_tells(said, "task 'witness' (");
    second = strstr(strstr(said, "uco: loop ") + 1, "uco: loop ");
    ck_assert_ptr_nonnull(second);
    ck_assert_tells(second, "task 'witness' (");
    ck_assert(quit_is(SIG_DFL));
}
END_TEST

static volatile sig_atomic_t own_quits;

static void
own_quit(int signo)
{
    (void) signo;
    own_quits++;
}

START_TEST(a_handler_of_the_programs_own_stays)
{
    uco_loop_options options = {.debug = true, .clock = UCO_CLOCK_VIRTUAL};
    intptr_t result;
    const char *said;

    own_quits = 0;
    signal(SIGQUIT, own_quit);
    said = said_by(&options, quits_twice, NULL, &result);
    ck_assert_tells_not(said, "uco: ");
    ck_assert_int_eq(own_quits, 2);
    ck_assert(quit_is(own_quit));
    signal(SIGQUIT, SIG_DFL);
}
END_TEST

static intptr_t
looks_at_the_disposition(void *arg)
{
    (void) arg;
    return quit_is(SIG_DFL);
}

START_TEST(without_debug_mode_sigquit_is_left_alone)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};

    ck_assert_int_eq(uco_run_with(&options, looks_at_the_disposition, NULL), 1);
    ck_assert(quit_is(SIG_DFL));
}
END_TEST

static void *
quits_the_process(void *quit)
{
    usleep(20000);
    pthread_kill(pthread_self(), SIGQUIT); /* taken in this thread, for the other one's loop */
    atomic_store((atomic_bool *) quit, true);
    return NULL;
}

static intptr_t
is_quit_by_a_thread(void *arg)
{
    atomic_bool quit = false;
    pthread_t thread;

    (void) arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, quits_the_process, &quit), 0);
    while (!atomic_load(&quit))
        uco_sleep(0.05);
    uco_sleep(0.05); /* the loop looks at what it was asked before this is over */
    pthread_join(thread, NULL);
    return 0;
}

START_TEST(sigquit_in_another_thread_reaches_the_loop)
{
    uco_loop_options options = {.debug = true};
    intptr_t result;
    const char *said = said_by(&options, is_quit_by_a_thread, NULL, &result);

    ck_assert_int_eq(result, 0);
    ck_assert_tells(said, "waits for a sleep, at most 0.0");
}
END_TEST

static intptr_t
forks_a_child_that_is_quit(void *arg)
{
    int status;
    pid_t child = fork();

    (void) arg;
    if (child == 0) {
        raise(SIGQUIT);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGQUIT);
    return 0;
}

START_TEST(a_child_of_fork_dies_of_it_as_before)
{
    uco_loop_options options = {.debug = true, .clock = UCO_CLOCK_VIRTUAL};

    ck_assert_int_eq(uco_run_with(&options, forks_a_child_that_is_quit, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("deadlock");
    TCase *alone = case_new(suite, "nobody is left");
    TCase *threads = case_new(suite, "other threads");
    TCase *quit = case_new(suite, "SIGQUIT");

    signal(SIGQUIT, SIG_DFL); /* a shell's job in the background ignores it */
    if (!TEST_TSAN && uco__thread_is_only()) {
        tcase_add_test(alone, a_deadlock_is_a_report_and_a_dump);
        tcase_add_test(alone, without_a_handler_the_report_comes_first);
        tcase_add_test(alone, many_stuck_tasks_do_not_make_a_long_report);
    }
    tcase_add_test(threads, a_loop_that_only_a_thread_could_wake_is_told_of_in_debug_mode);
    tcase_add_test(threads, without_debug_mode_nothing_is_said_of_it);
    tcase_add_test(quit, in_debug_mode_sigquit_dumps_and_goes_on);
    tcase_add_test(quit, a_handler_of_the_programs_own_stays);
    tcase_add_test(quit, without_debug_mode_sigquit_is_left_alone);
    tcase_add_test(quit, sigquit_in_another_thread_reaches_the_loop);
    if (!TEST_TSAN)
        tcase_add_test(quit, a_child_of_fork_dies_of_it_as_before);
    return suite_end(suite);
}
