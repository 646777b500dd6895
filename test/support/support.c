/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "../torture/environment.h"
#include "ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* OpenSSL publishes what it caches in a certificate by C11 atomics, and is not instrumented: the
 * thread sanitizer sees only the copying. */
const char *__tsan_default_suppressions(void);

const char *
__tsan_default_suppressions(void)
{
    return "called_from_lib:libcrypto.so\n";
}

bool
under_sanitizer(void)
{
#ifdef SANITIZED
    return true;
#else
    return getenv("UCO_TEST_VALGRIND") != NULL;
#endif
}

/* An emulator computes some ten times slower, but what it runs has all of its memory, stacks and
 * threads: only how often something is done is worth changing. */
static bool
is_slow(void)
{
    return under_sanitizer() || getenv("UCO_TEST_EMULATED") != NULL;
}

void
test_skipped(const char *reason)
{
    fprintf(stderr, "skipped: %s\n", reason);
}

int
scaled(int full)
{
    if (!is_slow())
        return full;
    return full > 20 ? full / 20 : 1;
}

static int
count_entries(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int n = 0;

    ck_assert_ptr_nonnull(directory);
    while ((entry = readdir(directory)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

int
count_fds(void)
{
    return count_entries("/proc/self/fd") - 1; /* less the one that lists them */
}

int
count_threads(void)
{
    return count_entries("/proc/self/task");
}

/* With UCO_TEST_STORM in the environment a signal interrupts each test once a millisecond. Calls
 * that the kernel would make again by itself are made again: those that uco waits in are not among
 * them. */
static void
storm_ignore(int signo)
{
    (void) signo;
}

static void
storm_set(long microseconds)
{
    struct itimerval storm = {.it_interval.tv_usec = microseconds,
                              .it_value.tv_usec = microseconds};
    struct sigaction action = {.sa_handler = storm_ignore, .sa_flags = SA_RESTART};

    if (getenv("UCO_TEST_STORM") == NULL)
        return;
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &storm, NULL), 0);
}

void
storm_stop(void)
{
    storm_set(0);
}

static void
ledger_begin(void)
{
    ledger_open();
    fault_from_environment();
    storm_set(1000);
}

static void
ledger_end(void)
{
    const char *left;

    storm_set(0);
    uco_test_fail_off();
    left = ledger_close(is_slow() ? 60 : 10);
    ck_assert_msg(left == NULL, "the test leaves\n%s", left);
}

TCase *
case_new(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, ledger_begin, ledger_end);
    tcase_set_timeout(tcase, is_slow() ? 120 : 20);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int
suite_end(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    if (failed > 0 && getenv("UCO_SEED") != NULL)
        printf("to see this again: UCO_SEED=%s\n", getenv("UCO_SEED"));
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

intptr_t
run_seeded(uint64_t seed, uco_fn *fn, void *arg)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .seed = seed};

    return uco_run_with(&options, fn, arg);
}

intptr_t
run_virtual(uco_fn *fn, void *arg)
{
    return run_seeded(0, fn, arg);
}

intptr_t
run_fifo(uco_fn *fn, void *arg)
{
    unsetenv("UCO_SEED");
    return run_virtual(fn, arg);
}

void
run_in_all_orders(uco_fn *fn, void *arg)
{
    uint64_t seeds = getenv("UCO_TEST_VALGRIND") != NULL ? 10 : 200;

    for (uint64_t seed = 0; seed <= seeds; seed++) {
        intptr_t result = run_seeded(seed, fn, arg);

        ck_assert_msg(result == 0, "with seed %ju: %jd", (uintmax_t) seed, (intmax_t) result);
    }
}

intptr_t
run_real(uco_fn *fn, void *arg)
{
    return uco_run(fn, arg);
}

static void
report_collect(const char *message, uco_task *task, void *arg)
{
    struct reports *r = arg;
    size_t used = strlen(r->all);

    (void) task;
    r->count++;
    snprintf(r->last, sizeof r->last, "%s", message);
    snprintf(r->all + used, sizeof r->all - used, "%s\n", message);
}

uco_loop_options
reporting(struct reports *r)
{
    memset(r, 0, sizeof *r);
    return (uco_loop_options){
        .clock = UCO_CLOCK_VIRTUAL,
        .slow_callback = UCO_FOREVER, /* a report of a slow machine is none of the test's */
        .exception_handler = report_collect,
        .exception_arg = r,
    };
}

double
real_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

intptr_t
body_return(void *arg)
{
    return (intptr_t) arg;
}

intptr_t
body_sleep_forever(void *arg)
{
    (void) arg;
    return uco_sleep(UCO_FOREVER);
}

intptr_t
body_sleep_1s(void *arg)
{
    int r = uco_sleep(1.0);

    return r < 0 ? r : (intptr_t) arg;
}

void
trace_add(struct trace *t, char letter)
{
    ck_assert_uint_lt(t->size, sizeof t->text - 1);
    t->text[t->size++] = letter;
    t->text[t->size] = '\0';
}

int
count_maps(void)
{
    static char text[4096];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int lines = 0;
    ssize_t n;

    ck_assert_int_ge(fd, 0);
    while ((n = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            lines += text[i] == '\n';
    }
    close(fd);
    return lines;
}

int
write_in_child(char *place)
{
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would report it and exit */
        *(volatile char *) place = 1;
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}
