/* SPDX-License-Identifier: MIT */
/* Processes: spawning, waiting, signals, the end. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* No test leaves a child behind, not even a dead one. */
static void
no_child_is_left(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

/* Valgrind and emulators run a vfork() as a fork(), and libc then cannot tell that a program was
 * not found: its process ends with 127. */
static bool
failures_are_told(void)
{
    if (getenv("UCO_TEST_VALGRIND") == NULL && getenv("UCO_TEST_EMULATED") == NULL)
        return true;
    test_skipped("no vfork() here, so a program that cannot be run is not told");
    return false;
}

static uco_process *
shell(const char *script)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    uco_process_options options = {.argv = argv, .stdin_fd = UCO_DEVNULL};
    uco_process *p = uco_process_spawn(&options);

    ck_assert_msg(p != NULL, "%s", strerror(errno));
    return p;
}

/* Runs until it is killed, or its stdin is closed. */
static uco_process *
idler(void)
{
    const char *argv[] = {"cat", NULL};
    uco_process_options options = {.argv = argv, .stdin_fd = UCO_PIPE, .stdout_fd = UCO_DEVNULL};
    uco_process *p = uco_process_spawn(&options);

    ck_assert_msg(p != NULL, "%s", strerror(errno));
    return p;
}

static intptr_t
waits(void *p)
{
    return uco_process_wait(p);
}

static uco_task *
waiting(uco_process *p)
{
    uco_task *task = uco_create_task(waits, p);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    return task;
}

/* Waiting */

static intptr_t
gives_its_status(void *arg)
{
    uco_process *p = shell("exit 42");
    int status = uco_process_wait(p);

    (void) arg;
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 42);
    uco_process_free(p);
    p = shell("kill -9 $$");
    status = uco_process_wait(p);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
    uco_process_free(p);
    return 0;
}

START_TEST(the_status_is_as_waitpids)
{
    ck_assert_int_eq(run_real(gives_its_status, NULL), 0);
}
END_TEST

static intptr_t
is_waited_for_by_many(void *arg)
{
    uco_process *p = idler();
    uco_task *tasks[3];
    intptr_t results[3];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = waiting(p);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), 0);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), results), 0);
    uco_unref_all(tasks, COUNT(tasks));
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(results[i], SIGTERM);
    ck_assert_int_eq(uco_process_wait(p), SIGTERM);
    ck_assert_int_eq(uco_process_wait(p), SIGTERM);
    uco_process_free(p);
    return 0;
}

/* P6 */
START_TEST(many_may_wait_before_and_after_the_end)
{
    ck_assert_int_eq(run_real(is_waited_for_by_many, NULL), 0);
}
END_TEST

static intptr_t
is_left_alone(void *arg)
{
    uco_process *p = idler();
    uco_task *first = waiting(p), *second = waiting(p);

    (void) arg;
    ck_assert_int_eq(uco_cancel(first), 0);
    ck_assert_int_eq(uco_join(first), -ECANCELED);
    ck_assert_int_eq(uco_process_kill(p, 0), 0);
    ck_assert_int_eq(uco_cancel(second), 0);
    ck_assert_int_eq(uco_join(second), -ECANCELED);
    ck_assert_int_eq(uco_with_timeout(0.001, waits, p), -ETIMEDOUT);
    ck_assert_int_eq(uco_process_kill(p, 0), 0);
    ck_assert_int_eq(uco_process_close_stdin(p), 0);
    ck_assert_int_eq(uco_process_wait(p), 0);
    uco_process_free(p);
    return 0;
}

/* P6 */
START_TEST(a_cancelled_wait_leaves_the_process_running)
{
    ck_assert_int_eq(run_real(is_left_alone, NULL), 0);
}
END_TEST

static intptr_t
ends_and_is_cancelled(void *arg)
{
    uco_process *p = idler();
    uco_task *task = waiting(p);
    siginfo_t info;
    intptr_t r;

    ck_assert_int_eq(uco_process_kill(p, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t) uco_process_pid(p), &info, WEXITED | WNOWAIT), 0);
    for (intptr_t i = 0; i < (intptr_t) arg; i++)
        ck_assert_int_eq(uco_yield(), 0);
    uco_cancel(task);
    r = uco_join(task);
    ck_assert(r == -ECANCELED || r == SIGKILL);
    ck_assert_int_eq(uco_process_wait(p), SIGKILL);
    uco_process_free(p);
    return 0;
}

START_TEST(an_end_and_a_cancellation_that_meet_lose_no_status)
{
    for (intptr_t i = 0; i < 10; i++) {
        ck_assert_int_eq(run_real(ends_and_is_cancelled, (void *) i), 0);
        ck_assert_int_eq(run_seeded((uint64_t) i, ends_and_is_cancelled, (void *) i), 0);
    }
}
END_TEST

static intptr_t
waits_for_an_hour(void *arg)
{
    uco_process *p = idler();

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(3600.0, waits, p), -ETIMEDOUT);
    ck_assert_double_ge(uco_time(), 3600.0);
    uco_process_free(p);
    return 0;
}

START_TEST(a_process_does_not_hold_a_virtual_clock)
{
    ck_assert_int_eq(run_virtual(waits_for_an_hour, NULL), 0);
}
END_TEST

static intptr_t
sleeps_a_little(void *arg)
{
    uco_process *p = shell("sleep 0.15");

    (void) arg;
    ck_assert_int_eq(uco_process_wait(p), 0);
    uco_process_free(p);
    return 0;
}

START_TEST(a_loop_that_only_waits_for_a_process_is_not_deadlocked)
{
    ck_assert_int_eq(uco_run(sleeps_a_little, NULL), 0);
}
END_TEST

static intptr_t
ends_in_pairs(void *arg)
{
    uco_process *pair[2] = {idler(), idler()};
    uco_task *tasks[2];
    intptr_t results[2];

    (void) arg;
    for (int i = 0; i < 2; i++)
        tasks[i] = waiting(pair[i]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(kill(uco_process_pid(pair[i]), SIGKILL), 0);
    ck_assert_int_eq(uco_gather(tasks, 2, results), 0);
    uco_unref_all(tasks, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(results[i], SIGKILL);
        uco_process_free(pair[i]);
    }
    return 0;
}

/* P13 */
START_TEST(two_that_end_together_are_both_noticed)
{
    ck_assert_int_eq(run_real(ends_in_pairs, NULL), 0);
}
END_TEST

static intptr_t
runs_one(void *arg)
{
    char script[32];
    uco_process *p;
    int status;

    snprintf(script, sizeof script, "exit %d", (int) (intptr_t) arg);
    p = shell(script);
    status = uco_process_wait(p);
    uco_process_free(p);
    return WEXITSTATUS(status);
}

static intptr_t
runs_a_hundred(void *arg)
{
    uco_task *tasks[100];
    intptr_t results[100];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(runs_one, (void *) (intptr_t) i);
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), results), 0);
    uco_unref_all(tasks, COUNT(tasks));
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(results[i], (intptr_t) i);
    return 0;
}

START_TEST(a_hundred_run_at_once)
{
    ck_assert_int_eq(run_real(runs_a_hundred, NULL), 0);
}
END_TEST

/* Somebody else reaps */

static void *
reap(void *arg)
{
    ck_assert_int_eq(waitpid(*(pid_t *) arg, NULL, 0), *(pid_t *) arg);
    return NULL;
}

static intptr_t
is_reaped_elsewhere(void *arg)
{
    uco_process *p = idler();
    pid_t pid = uco_process_pid(p);
    uco_task *task = arg != NULL ? waiting(p) : NULL;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, reap, &pid), 0);
    kill(pid, SIGKILL);
    pthread_join(thread, NULL);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), -ESRCH);
    if (task != NULL)
        ck_assert_int_eq(uco_join(task), -ECHILD);
    ck_assert_int_eq(uco_process_wait(p), -ECHILD);
    uco_process_free(p);
    return 0;
}

static intptr_t
is_reaped_under_a_wait(void *arg)
{
    (void) arg;
    return is_reaped_elsewhere(&arg);
}

/* P12, C15: the loop's thread stands still meanwhile, so that the other is the one who reaps. */
START_TEST(one_that_was_reaped_elsewhere_has_an_unknown_status)
{
    ck_assert_int_eq(run_real(is_reaped_elsewhere, NULL), 0);
    ck_assert_int_eq(run_real(is_reaped_under_a_wait, NULL), 0);
}
END_TEST

static intptr_t
is_reaped_by_the_kernel(void *arg)
{
    uco_process *p = shell("exit 3"), *q;

    (void) arg;
    ck_assert_int_eq(uco_process_wait(p), -ECHILD);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), -ESRCH);
    q = idler();
    uco_process_free(p);
    uco_process_free(q);
    return 0;
}

/* C15 */
START_TEST(an_ignored_sigchld_hides_the_status_and_hangs_nobody)
{
    signal(SIGCHLD, SIG_IGN);
    if (_i == 1)
        uco_test_fail("pidfd_open", 1, true, ENOSYS);
    ck_assert_int_eq(run_real(is_reaped_by_the_kernel, NULL), 0);
    signal(SIGCHLD, SIG_DFL);
}
END_TEST

/* Signals */

static intptr_t
is_killed_late(void *arg)
{
    uco_process *p = shell("exit 0");

    (void) arg;
    ck_assert_int_eq(uco_process_kill(p, -1), -EINVAL);
    ck_assert_int_eq(uco_process_kill(p, 65), -EINVAL);
    ck_assert_int_eq(uco_process_kill(NULL, SIGTERM), -EINVAL);
    ck_assert_int_eq(uco_process_wait(p), 0);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), -ESRCH);
    ck_assert_int_eq(uco_process_kill(p, 0), -ESRCH);
    uco_process_free(p);
    p = idler();
    ck_assert_int_eq(kill(uco_process_pid(p), SIGKILL), 0);
    while (uco_process_kill(p, 0) == 0)
        continue;
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), -ESRCH); /* also when nobody has waited */
    ck_assert_int_eq(uco_process_wait(p), SIGKILL);
    uco_process_free(p);
    return 0;
}

/* P7 */
START_TEST(a_signal_after_the_end_is_an_error_and_reaches_nobody)
{
    ck_assert_int_eq(run_real(is_killed_late, NULL), 0);
}
END_TEST

/* Freeing */

static intptr_t
is_freed_running(void *arg)
{
    uco_process *p = idler();
    pid_t pid = uco_process_pid(p);
    uco_task *task = waiting(p);

    (void) arg;
    uco_process_free(p);
    ck_assert_int_eq(uco_join(task), SIGKILL);
    ck_assert_int_eq(kill(pid, 0), -1);
    uco_process_free(NULL);
    return 0;
}

/* P11 */
START_TEST(freeing_kills_and_reaps_one_that_runs)
{
    ck_assert_int_eq(run_real(is_freed_running, NULL), 0);
}
END_TEST

static intptr_t
is_freed_in_a_cancelled_scope(void *arg)
{
    uco_process *p = idler();

    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(uco_process_wait(p), -ECANCELED);
    uco_process_free(p);
    return waitpid(-1, NULL, WNOHANG) == -1 ? 0 : -EIO;
}

START_TEST(freeing_works_in_a_cancelled_scope)
{
    ck_assert_int_eq(run_real(is_freed_in_a_cancelled_scope, NULL), 0);
}
END_TEST

static void
free_process(void *p)
{
    uco_process_free(p);
}

static intptr_t
is_freed_in_a_callback(void *arg)
{
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), free_process, idler()), 0);
    return arg != NULL ? 0 : uco_sleep(0.01); /* or the loop closes at once */
}

START_TEST(freeing_works_in_a_callback)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&options, is_freed_in_a_callback, _i == 0 ? NULL : &reports), 0);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

static void
spawn_and_free(void *arg)
{
    uco_process *p = shell("exit 0");

    *(bool *) arg = p != NULL && uco_process_wait(p) == -EPERM;
    uco_process_free(p);
}

static intptr_t
spawns_in_a_callback(void *arg)
{
    bool good = false;

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), spawn_and_free, &good), 0);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    return good ? 0 : -EIO;
}

START_TEST(a_callback_can_spawn)
{
    ck_assert_int_eq(run_real(spawns_in_a_callback, NULL), 0);
}
END_TEST

static intptr_t
leaves_two(void *arg)
{
    (void) arg;
    idler();
    ck_assert_int_ge(uco_process_wait(shell("exit 1")), 0);
    return 0;
}

START_TEST(what_is_left_is_killed_and_reported_by_the_loop)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaves_two, NULL), 0);
    ck_assert_uint_eq(reports.count, 2);
    ck_assert_ptr_nonnull(strstr(reports.last, "process opened at"));
    ck_assert_ptr_nonnull(strstr(reports.last, "test_process.c:"));
}
END_TEST

/* Runs one job until it is told to end, and has others wait for a thread. */
struct late {
    atomic_bool over;
    pid_t pid;
};

static intptr_t
job_until_over(void *arg)
{
    struct late *late = arg;

    while (!atomic_load(&late->over))
        sched_yield();
    return 0;
}

static void
spawn_late(void *arg)
{
    struct late *late = arg;

    uco_test_fail_off();
    late->pid = uco_process_pid(idler());
    atomic_store(&late->over, true);
}

static intptr_t
leaves_a_job(void *arg)
{
    uco_future *first = uco_to_thread_start(job_until_over, arg), *second;

    uco_test_fail("pthread_create", 1, true, EAGAIN);
    second = uco_to_thread_start(job_until_over, arg);
    ck_assert_ptr_nonnull(second);
    ck_assert_int_eq(uco_add_done_callback(second, spawn_late, arg), 0);
    uco_unref(first);
    uco_unref(second);
    return 0;
}

/* The callback runs when the loop has closed its pool, after all that was left open. */
START_TEST(what_is_spawned_during_a_close_is_killed_and_reported_too)
{
    static struct late late; /* the thread may look once more when the loop is gone */
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaves_a_job, &late), 0);
    ck_assert_int_gt(late.pid, 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "process opened at"));
}
END_TEST

/* What the program gets */

static int
run_to_end(const uco_process_options *options)
{
    uco_process *p = uco_process_spawn(options);
    int status;

    ck_assert_msg(p != NULL, "%s", strerror(errno));
    status = uco_process_wait(p);
    uco_process_free(p);
    return status;
}

/* The program's exit status tells whether the script found what it expects. */
static int
checks(const char *script, uco_process_options options)
{
    const char *argv[] = {"sh", "-c", script, NULL};

    options.argv = argv;
    return run_to_end(&options);
}

static intptr_t
has_only_standard_fds(void *arg)
{
    int extra = open("/dev/null", O_RDONLY); /* not close-on-exec */
    uco_process *other = idler();            /* has a pipe */

    (void) arg;
    ck_assert_int_ge(extra, 3);
    /* ls itself has the directory open, as the first free number. */
    ck_assert_int_eq(checks("test \"$(ls /proc/self/fd | tr '\\n' ' ')\" = '0 1 2 3 '",
                            (uco_process_options){.stdin_fd = UCO_DEVNULL}),
                     0);
    close(extra);
    uco_process_free(other);
    return 0;
}

/* C9 */
START_TEST(the_program_gets_no_other_fds)
{
    ck_assert_int_eq(run_real(has_only_standard_fds, NULL), 0);
}
END_TEST

static intptr_t
has_clean_signals(void *arg)
{
    sigset_t mask;

    (void) arg;
    sigfillset(&mask);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &mask, NULL), 0);
    /* The masks of /proc are hexadecimal; SIGPIPE is 13, SIGCHLD 17, SIGHUP 1, SIGUSR1 10. */
    ck_assert_int_eq(
        checks("grep -q 'SigBlk:.*0000000000000000' /proc/self/status &&"
               "ignored=0x$(sed -n 's/SigIgn:[^0-9a-f]*//p' /proc/self/status) &&"
               "test $((ignored & (1 << 12 | 1 << 16 | 1 << 9))) = 0 && test $((ignored & 1)) = 1",
               (uco_process_options){.stdin_fd = UCO_DEVNULL}),
        0);
    ck_assert_int_eq(pthread_sigmask(SIG_UNBLOCK, &mask, NULL), 0);
    return 0;
}

START_TEST(the_program_gets_no_mask_and_default_actions)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* nohup */
    ck_assert_int_eq(run_real(has_clean_signals, NULL), 0);
}
END_TEST

static intptr_t
has_environment_and_directory(void *arg)
{
    char *env[] = {(char *) (uintptr_t) "COLOUR=blue", NULL};
    const uco_process_options null = {.stdin_fd = UCO_DEVNULL};
    uco_process_options options = null;

    (void) arg;
    ck_assert_int_eq(setenv("UCO_TEST_COLOUR", "red", 1), 0);
    ck_assert_int_eq(checks("test \"$UCO_TEST_COLOUR\" = red", options), 0);
    options.env = env;
    ck_assert_int_eq(checks("test \"$COLOUR$UCO_TEST_COLOUR\" = blue", options), 0);
    options = null;
    options.cwd = "/usr";
    ck_assert_int_eq(checks("test \"$(pwd)\" = /usr", options), 0);
    if (!failures_are_told())
        return 0;
    options.cwd = "/no/such/directory";
    options.argv = (const char *[]){"true", NULL};
    ck_assert_ptr_null(uco_process_spawn(&options));
    ck_assert_int_eq(errno, ENOENT);
    return 0;
}

START_TEST(the_program_gets_the_environment_and_directory_that_were_asked_for)
{
    ck_assert_int_eq(run_real(has_environment_and_directory, NULL), 0);
}
END_TEST

static intptr_t
has_this_threads_timer_slack(void *arg)
{
    char script[128];

    snprintf(script, sizeof script,
             "! test -r /proc/self/timerslack_ns || test $(cat /proc/self/timerslack_ns) = %d",
             *(int *) arg);
    ck_assert_int_eq(checks(script, (uco_process_options){.stdin_fd = UCO_DEVNULL}), 0);
    return 0;
}

/* A loop's own is short. */
START_TEST(the_program_gets_the_timer_slack_that_was_before_the_loop)
{
    int slack = prctl(PR_GET_TIMERSLACK);

    ck_assert_int_ge(slack, 0);
    ck_assert_int_eq(run_real(has_this_threads_timer_slack, &slack), 0);
}
END_TEST

static char directory[] = "/tmp/uco-test-XXXXXX";

static intptr_t
is_found(void *arg)
{
    char path[64], *env[] = {NULL};
    const char *argv[] = {"uco-test-program", NULL};
    const uco_process_options options = {.argv = argv, .env = env};
    int fd;

    (void) arg;
    ck_assert_ptr_null(uco_process_spawn(&options));
    ck_assert_int_eq(errno, ENOENT);
    snprintf(path, sizeof path, "%s/uco-test-program", directory);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "#!/bin/sh\nexit 7\n", 17), 17);
    ck_assert_int_eq(setenv("PATH", directory, 1), 0);
    ck_assert_ptr_null(uco_process_spawn(&options));
    ck_assert_int_eq(errno, EACCES);
    ck_assert_int_eq(fchmod(fd, 0700), 0);
    close(fd);
    ck_assert_int_eq(WEXITSTATUS(run_to_end(&options)), 7);
    argv[0] = path;
    ck_assert_int_eq(setenv("PATH", "/nowhere", 1), 0);
    ck_assert_int_eq(WEXITSTATUS(run_to_end(&options)), 7);
    unlink(path);
    return 0;
}

START_TEST(the_program_is_looked_up_in_this_processs_path)
{
    if (!failures_are_told())
        return;
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(run_real(is_found, NULL), 0);
    rmdir(directory);
}
END_TEST

/* What is refused */

static void
is_refused(const uco_process_options *options, int error)
{
    int fds = count_fds();

    errno = 0;
    ck_assert_ptr_null(uco_process_spawn(options));
    ck_assert_int_eq(errno, error);
    ck_assert_int_eq(count_fds(), fds);
    no_child_is_left();
}

static intptr_t
spawns_badly(void *arg)
{
    const char *argv[] = {"true", NULL}, *none[] = {NULL}, *missing[] = {"/no/such/program", NULL};
    const uco_process_options bad[] = {
        {.argv = NULL},
        {.argv = none},
        {.argv = argv, .stdin_fd = -1},
        {.argv = argv, .stdin_fd = UCO_STDOUT},
        {.argv = argv, .stdout_fd = UCO_STDOUT},
        {.argv = argv, .stderr_fd = -ENOENT},
    };

    (void) arg;
    for (size_t i = 0; i < COUNT(bad); i++)
        is_refused(&bad[i], EINVAL);
    is_refused(NULL, EINVAL);
    is_refused(&(uco_process_options){.argv = argv, .stdout_fd = 1000}, EBADF);
    is_refused(&(uco_process_options){missing, NULL, NULL, UCO_PIPE, UCO_PIPE, UCO_PIPE, {0}},
               ENOENT);
    is_refused(&(uco_process_options){.argv = argv, .cwd = "/dev/null"}, ENOTDIR);
    ck_assert_int_eq(uco_process_wait(NULL), -EINVAL);
    ck_assert_int_eq(uco_process_pid(NULL), -EINVAL);
    ck_assert_ptr_null(uco_process_stdin(NULL));
    ck_assert_int_eq(uco_process_close_stdin(NULL), -EINVAL);
    ck_assert_int_eq(uco_process_communicate(NULL, NULL, 0, NULL, NULL, NULL, NULL), -EINVAL);
    return 0;
}

/* P10 */
START_TEST(what_cannot_be_run_is_told_and_leaves_nothing)
{
    if (failures_are_told())
        ck_assert_int_eq(run_real(spawns_badly, NULL), 0);
    is_refused(&(uco_process_options){.argv = (const char *[]){"true", NULL}}, EPERM);
    ck_assert_int_eq(uco_process_wait(NULL), -EPERM);
}
END_TEST

static intptr_t
spawns_cancelled(void *arg)
{
    const char *argv[] = {"true", NULL};

    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    is_refused(&(uco_process_options){.argv = argv, .stdin_fd = UCO_PIPE}, ECANCELED);
    return 0;
}

static intptr_t
spawns_and_frees(void *arg)
{
    const char *argv[] = {"cat", NULL};
    uco_process_options options = {.argv = argv, .stdin_fd = UCO_PIPE, .stdout_fd = UCO_PIPE};
    uco_process *p = uco_process_spawn(&options);

    (void) arg;
    if (p == NULL)
        return -ECANCELED;
    uco_process_free(p);
    return 0;
}

static intptr_t
is_cancelled_during_a_spawn(void *arg)
{
    uco_task *task = uco_create_task(spawns_and_frees, NULL);
    intptr_t r;

    for (intptr_t i = 0; i < (intptr_t) arg; i++)
        ck_assert_int_eq(uco_yield(), 0);
    uco_cancel(task);
    r = uco_join(task);
    ck_assert(r == 0 || r == -ECANCELED);
    no_child_is_left();
    return 0;
}

/* P9 */
START_TEST(a_cancellation_during_a_spawn_leaves_nothing)
{
    ck_assert_int_eq(run_real(spawns_cancelled, NULL), 0);
    for (intptr_t i = 0; i < 20; i++)
        ck_assert_int_eq(run_real(is_cancelled_during_a_spawn, (void *) i), 0);
}
END_TEST

static uco_process *foreign;

static intptr_t
uses_anothers(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_process_wait(foreign), -EPERM);
    ck_assert_int_eq(uco_process_kill(foreign, SIGKILL), -EPERM);
    ck_assert_int_eq(uco_process_close_stdin(foreign), -EPERM);
    ck_assert_ptr_null(uco_process_stdin(foreign));
    ck_assert_int_eq(uco_process_communicate(foreign, NULL, 0, NULL, NULL, NULL, NULL), -EPERM);
    uco_process_free(foreign);
    return 0;
}

static void *
run_elsewhere(void *arg)
{
    return (void *) run_real(uses_anothers, arg);
}

static intptr_t
is_used_by_another_loop(void *arg)
{
    pthread_t thread;
    void *r;

    (void) arg;
    foreign = idler();
    ck_assert_int_eq(pthread_create(&thread, NULL, run_elsewhere, NULL), 0);
    pthread_join(thread, &r);
    ck_assert_ptr_null(r);
    ck_assert_int_eq(uco_process_kill(foreign, 0), 0);
    uco_process_free(foreign);
    return 0;
}

START_TEST(a_process_is_its_loops)
{
    ck_assert_int_eq(run_real(is_used_by_another_loop, NULL), 0);
}
END_TEST

static intptr_t
forks(void *arg)
{
    uco_process *p = idler();
    int status;
    pid_t pid = fork();

    (void) arg;
    if (pid == 0) {
        const char *argv[] = {"true", NULL};
        bool good = uco_process_wait(p) == -ESTALE && uco_process_kill(p, SIGKILL) == -ESTALE &&
                    uco_process_spawn(&(uco_process_options){.argv = argv}) == NULL &&
                    errno == ESTALE;

        uco_process_free(p);
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(uco_process_kill(p, 0), 0); /* the child has done it no harm */
    uco_process_free(p);
    return 0;
}

/* C8 */
START_TEST(a_forked_child_cannot_touch_the_parents_processes)
{
    ck_assert_int_eq(run_real(forks, NULL), 0);
}
END_TEST

/* Faults */

static const struct {
    const char *what;
    int error;
} spawn_faults[] = {
    {"malloc", ENOMEM},      {"pipe2", EMFILE},      {"fcntl", EMFILE},
    {"posix_spawn", EAGAIN}, {"pidfd_open", EMFILE}, {"pthread_create", EAGAIN},
};

static intptr_t
spawns_with_faults(void *arg)
{
    const char *argv[] = {"cat", NULL};
    const uco_process_options options = {
        .argv = argv, .stdin_fd = UCO_PIPE, .stdout_fd = UCO_PIPE, .stderr_fd = UCO_PIPE};
    int i = (int) (intptr_t) arg;
    unsigned long nth = 0;
    uco_process *p;

    uco_process_free(idler()); /* what the loop keeps is there */
    do {
        int fds = count_fds();

        uco_test_fail(spawn_faults[i].what, ++nth, false, spawn_faults[i].error);
        p = uco_process_spawn(&options);
        uco_test_fail_off();
        if (p != NULL)
            break;
        ck_assert_int_eq(errno, spawn_faults[i].error);
        ck_assert_int_eq(count_fds(), fds);
        no_child_is_left();
    } while (nth < 100);
    ck_assert_uint_lt(nth, 100);
    uco_process_free(p);
    uco_test_fail(spawn_faults[i].what, 1, true, spawn_faults[i].error);
    p = uco_process_spawn(&options);
    uco_test_fail_off();
    /* Without a thread it is done at once. */
    ck_assert_int_eq(p != NULL, strcmp(spawn_faults[i].what, "pthread_create") == 0);
    uco_process_free(p);
    return 0;
}

/* P10 */
START_TEST(a_spawn_that_fails_halfway_leaves_nothing)
{
    ck_assert_int_eq(run_real(spawns_with_faults, (void *) (intptr_t) _i), 0);
}
END_TEST

static const char *const wait_faults[] = {"malloc", "epoll_ctl", "waitid"};

static intptr_t
waits_with_faults(void *arg)
{
    uco_process *p = idler();
    int r;

    /* Where the poller is another, or needs no memory, the wait goes on: so it has a limit. */
    uco_test_fail(arg, 1, false, ENOMEM);
    r = (int) uco_with_timeout(0.01, waits, p);
    uco_test_fail_off();
    ck_assert(r == -ENOMEM || r == -ETIMEDOUT);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), 0);
    ck_assert_int_eq(uco_process_wait(p), SIGTERM);
    uco_process_free(p);
    p = idler();
    if (strcmp(arg, "waitid") != 0) /* without which nothing can be reaped */
        uco_test_fail(arg, 1, true, ENOMEM);
    uco_process_free(p);
    uco_test_fail_off();
    no_child_is_left();
    return 0;
}

START_TEST(a_wait_that_fails_harms_nothing_and_freeing_needs_no_memory)
{
    ck_assert_int_eq(run_real(waits_with_faults, (void *) (uintptr_t) wait_faults[_i]), 0);
}
END_TEST

/* Without pidfd_open() */

static uco_fn *const without_pidfd[] = {
    gives_its_status,
    is_waited_for_by_many,
    is_left_alone,
    waits_for_an_hour,
    ends_in_pairs,
    runs_a_hundred,
    is_reaped_elsewhere,
    is_reaped_under_a_wait,
    is_killed_late,
    is_freed_running,
    is_freed_in_a_cancelled_scope,
    sleeps_a_little,
};

START_TEST(all_is_the_same_without_pidfd_open)
{
    static const int errors[] = {ENOSYS, EPERM};

    for (size_t i = 0; i < COUNT(errors); i++) {
        uco_test_fail("pidfd_open", 1, true, errors[i]);
        ck_assert_int_eq(run_virtual(without_pidfd[_i], NULL), 0);
        uco_test_fail_off();
    }
}
END_TEST

static intptr_t
is_waited_for_by_a_thread(void *arg)
{
    uco_process *p = idler();
    uco_task *task;
    int threads;

    (void) arg;
    uco_process_free(p);
    uco_test_fail("waitid", 1, false, EINVAL);
    p = idler();
    uco_test_fail_off();
    threads = count_threads();
    task = waiting(p);
    ck_assert_int_eq(count_threads(), threads + 1);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), 0);
    ck_assert_int_eq(uco_join(task), SIGTERM);
    uco_process_free(p);
    return 0;
}

/* As in Linux 5.3. */
START_TEST(a_thread_waits_where_pidfds_cannot_be_waited_for)
{
    ck_assert_int_eq(run_real(is_waited_for_by_a_thread, NULL), 0);
}
END_TEST

static intptr_t
waits_without_a_thread(void *arg)
{
    uco_process *p = idler();

    (void) arg;
    uco_test_fail("pthread_create", 1, true, EAGAIN);
    ck_assert_int_eq(uco_process_wait(p), -EAGAIN);
    ck_assert_int_eq(uco_process_kill(p, SIGTERM), 0);
    uco_process_free(p);
    uco_test_fail_off();
    no_child_is_left();
    return 0;
}

START_TEST(without_pidfd_open_and_thread_a_wait_fails_and_freeing_works)
{
    uco_test_fail("pidfd_open", 1, true, ENOSYS);
    ck_assert_int_eq(run_real(waits_without_a_thread, NULL), 0);
}
END_TEST

START_TEST(what_is_left_is_killed_also_without_pidfd_open)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    uco_test_fail("pidfd_open", 1, true, ENOSYS);
    ck_assert_int_eq(uco_run_with(&options, leaves_two, NULL), 0);
    ck_assert_uint_eq(reports.count, 2);
}
END_TEST

/* More jobs than the pool has threads, which wait for the end of a program. */
enum { JOBS_WAITING = 40 };

static sem_t program_ended;

static intptr_t
job_waits(void *arg)
{
    (void) arg;
    while (sem_wait(&program_ended) < 0)
        continue;
    return 0;
}

static intptr_t
starts_what_the_pool_waits_for(void *arg)
{
    uco_future *jobs[JOBS_WAITING];
    uco_process *p;

    (void) arg;
    ck_assert_int_eq(sem_init(&program_ended, 0, 0), 0);
    for (int i = 0; i < JOBS_WAITING; i++)
        jobs[i] = uco_to_thread_start(job_waits, NULL);
    p = shell("exit 7");
    ck_assert_int_eq(WEXITSTATUS(uco_process_wait(p)), 7);
    uco_process_free(p);
    for (int i = 0; i < JOBS_WAITING; i++)
        ck_assert_int_eq(sem_post(&program_ended), 0);
    ck_assert_int_eq(uco_gather(jobs, JOBS_WAITING, NULL), 0);
    uco_unref_all(jobs, JOBS_WAITING);
    return 0;
}

START_TEST(jobs_of_the_pool_may_wait_for_a_program)
{
    ck_assert_int_eq(run_virtual(starts_what_the_pool_waits_for, NULL), 0);
}
END_TEST

static void
add_waiting(Suite *suite)
{
    TCase *tc = case_new(suite, "waiting");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, the_status_is_as_waitpids);
    tcase_add_test(tc, jobs_of_the_pool_may_wait_for_a_program);
    tcase_add_test(tc, many_may_wait_before_and_after_the_end);
    tcase_add_test(tc, a_cancelled_wait_leaves_the_process_running);
    tcase_add_test(tc, an_end_and_a_cancellation_that_meet_lose_no_status);
    tcase_add_test(tc, a_process_does_not_hold_a_virtual_clock);
    tcase_add_test(tc, a_loop_that_only_waits_for_a_process_is_not_deadlocked);
    tcase_add_test(tc, two_that_end_together_are_both_noticed);
    tcase_add_test(tc, a_hundred_run_at_once);
    tcase_add_test(tc, one_that_was_reaped_elsewhere_has_an_unknown_status);
    tcase_add_loop_test(tc, an_ignored_sigchld_hides_the_status_and_hangs_nobody, 0, 2);
    tcase_add_test(tc, a_signal_after_the_end_is_an_error_and_reaches_nobody);
}

static void
add_ends(Suite *suite)
{
    TCase *tc = case_new(suite, "freeing");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, freeing_kills_and_reaps_one_that_runs);
    tcase_add_test(tc, freeing_works_in_a_cancelled_scope);
    tcase_add_loop_test(tc, freeing_works_in_a_callback, 0, 2);
    tcase_add_test(tc, a_callback_can_spawn);
    tcase_add_test(tc, what_is_left_is_killed_and_reported_by_the_loop);
    tcase_add_test(tc, what_is_spawned_during_a_close_is_killed_and_reported_too);
}

static void
add_programs(Suite *suite)
{
    TCase *tc = case_new(suite, "what the program gets");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, the_program_gets_no_other_fds);
    tcase_add_test(tc, the_program_gets_no_mask_and_default_actions);
    tcase_add_test(tc, the_program_gets_the_environment_and_directory_that_were_asked_for);
    tcase_add_test(tc, the_program_gets_the_timer_slack_that_was_before_the_loop);
    tcase_add_test(tc, the_program_is_looked_up_in_this_processs_path);
}

static void
add_refusals(Suite *suite)
{
    TCase *tc = case_new(suite, "what is refused, and faults");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, what_cannot_be_run_is_told_and_leaves_nothing);
    tcase_add_test(tc, a_cancellation_during_a_spawn_leaves_nothing);
    tcase_add_test(tc, a_process_is_its_loops);
    tcase_add_test(tc, a_forked_child_cannot_touch_the_parents_processes);
    tcase_add_loop_test(tc, a_spawn_that_fails_halfway_leaves_nothing, 0,
                        (int) COUNT(spawn_faults));
    tcase_add_loop_test(tc, a_wait_that_fails_harms_nothing_and_freeing_needs_no_memory, 0,
                        (int) COUNT(wait_faults));
}

static void
add_without_pidfd(Suite *suite)
{
    TCase *tc = case_new(suite, "without pidfd_open");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_loop_test(tc, all_is_the_same_without_pidfd_open, 0, (int) COUNT(without_pidfd));
    tcase_add_test(tc, a_thread_waits_where_pidfds_cannot_be_waited_for);
    tcase_add_test(tc, without_pidfd_open_and_thread_a_wait_fails_and_freeing_works);
    tcase_add_test(tc, what_is_left_is_killed_also_without_pidfd_open);
}

int
main(void)
{
    Suite *suite = suite_create("process");

    add_waiting(suite);
    add_ends(suite);
    add_programs(suite);
    add_refusals(suite);
    add_without_pidfd(suite);
    return suite_end(suite);
}
