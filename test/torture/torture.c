/* SPDX-License-Identifier: MIT */

/*
 * The driver: which cases there are, and which of them run.
 *
 * 1. A case is a scenario, a backend, a call, what it fails with, which one of them fails, and how
 *    (once or from then on; until the loop is closed or only at first). The line that a failure
 *    prints runs it again.
 * 2. The cases of a scenario and a backend run one after the other in a child process. One that
 *    crashes, hangs or ends the child is the failure of the case that it was at, and another child
 *    goes on with the next.
 * 3. For each call and error the numbers go up until a run has made so few of them that none was
 *    failed.
 * 4. A sample is one of `every` cases, chosen by a hash: with the seeds 0 to every - 1 all have
 *    run.
 */

#include "torture.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_SECONDS 10.0

/* After so many, what is wrong is clear. */
#define FAILURES_MOST 10

/* More calls than any scenario makes: one that is made again and again for ever does not count. */
#define NTH_MOST 5000

/* One of so many cases, unless said otherwise; where each takes longer, of so many times more. */
#define SAMPLE_EVERY 4
#define SAMPLE_SLOW 10

/* A number of a case, in the order in which they run. */
struct place {
    size_t failure;
    unsigned long nth;
    size_t mode;
};

struct progress {
    double began; /* the case; 0 between two */
    struct torture_case present;
    struct place place;
    unsigned long cases;
    unsigned long injected;
    unsigned long reached[UCO__FAULT_COUNT];
};

static struct options {
    const char *scenario;
    const char *call;
    const char *error;
    const char *backend;
    unsigned long nth;
    int for_ever;        /* -1: both */
    int to_the_end;      /* -1: both */
    unsigned long every; /* 0: not said */
    unsigned long seed;
    bool verbose;
    bool no_fork;
} options = {.for_ever = -1, .to_the_end = -1};

static struct progress *progress;
static const char *program;

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static bool
is_slow(void)
{
#if UCO__ASAN || UCO__TSAN
    return true;
#else
    return getenv("UCO_TEST_VALGRIND") != NULL || getenv("UCO_TEST_EMULATED") != NULL;
#endif
}

static double
hang_seconds(void)
{
    return is_slow() ? HANG_SECONDS * 10 : HANG_SECONDS;
}

static const char *
backend_name(enum uco_backend backend)
{
    return backend == UCO_BACKEND_EPOLL ? "epoll" : "io_uring";
}

/* The case in words, as the command line that runs it again. */
static void
case_print(const struct torture_case *c)
{
    fprintf(stderr, "  again by: %s --scenario %s --backend %s", program, c->scenario->name,
            backend_name(c->backend));
    if (c->failure != NULL)
        fprintf(stderr, " --call %s --error %s --nth %lu %s %s", c->failure->what,
                c->failure->error_name, c->nth, c->mode.for_ever ? "--for-ever" : "--once",
                c->mode.to_the_end ? "--to-the-end" : "--passing");
    fputc('\n', stderr);
}

void
torture_fail(const char *file, int line, const char *format, ...)
{
    const char *name = strrchr(file, '/');
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", name != NULL ? name + 1 : file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, torture_faulty ? "\n" : " (when nothing failed any more)\n");
    va_end(arguments);
    if (options.no_fork) {
        case_print(&torture_case);
        abort();
    }
    _exit(EXIT_FAILURE);
}

/* Which cases run */

static unsigned long
hash(unsigned long value, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        value = (value ^ bytes[i]) * 1099511628211UL;
    return value;
}

static bool
is_sampled(const struct torture_case *c, const struct place *place)
{
    unsigned long value = 14695981039346656037UL;

    if (options.every <= 1)
        return true;
    value = hash(value, c->scenario->name, strlen(c->scenario->name));
    value = hash(value, c->failure->what, strlen(c->failure->what));
    value = hash(value, &c->failure->error, sizeof c->failure->error);
    value = hash(value, &c->backend, sizeof c->backend);
    value = hash(value, &place->nth, sizeof place->nth);
    value = hash(value, &place->mode, sizeof place->mode);
    return (value ^ value >> 29) % options.every == options.seed % options.every;
}

static bool
is_wanted(const struct torture_case *c)
{
    if (c->mode.for_ever && (c->failure->flags & FAILURE_HIDDEN) != 0)
        return false; /* what is always interrupted is tried for ever, and rightly so */
    /* In real time that would take long: who waits for what never comes. */
    if (c->scenario->real && (c->failure->flags & FAILURE_DEAF) != 0 && c->mode.for_ever)
        return false;
    if (options.nth != 0 && c->nth != options.nth)
        return false;
    if (options.for_ever >= 0 && c->mode.for_ever != (options.for_ever == 1))
        return false;
    return options.to_the_end < 0 || c->mode.to_the_end == (options.to_the_end == 1);
}

static bool
failure_is_wanted(const struct failure *failure)
{
    if (options.call != NULL && strcmp(options.call, failure->what) != 0)
        return false;
    return options.error == NULL || strcmp(options.error, failure->error_name) == 0 ||
           atoi(options.error) == failure->error;
}

/* In the child */

static bool
case_run(void)
{
    bool failed;

    progress->present = torture_case;
    progress->began = now();
    failed = torture_case_run();
    progress->began = 0;
    progress->cases++;
    progress->injected += failed;
    return failed;
}

/* All numbers of a call that fails in one way, from a place on. */
static void
failure_sweep(const struct failure *failure, struct place from, unsigned long counted)
{
    bool reached = true;

    torture_case.failure = failure;
    for (struct place p = from; (reached || p.nth <= counted) && p.nth < NTH_MOST;
         p.nth++, p.mode = 0) {
        bool ran = false;

        for (; p.mode < FAILURE_MODES; p.mode++) {
            torture_case.nth = p.nth;
            torture_case.mode = failure_modes[p.mode];
            if (!is_wanted(&torture_case) || !is_sampled(&torture_case, &p))
                continue;
            progress->place = p;
            if (!ran)
                reached = false;
            ran = true;
            reached |= case_run();
        }
        if (!ran)
            reached = p.nth < counted;
        if (options.nth != 0 && p.nth > options.nth)
            break;
    }
}

static void
child_run(struct place from)
{
    unsigned long calls[UCO__FAULT_COUNT];

    progress->present = torture_case;
    progress->began = now();
    progress->place = (struct place){.failure = FAILURE_COUNT};
    torture_case_begin();
    torture_case_count(calls);
    progress->began = 0;
    progress->cases++;
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        progress->reached[i] += calls[i];
    if (torture_case.scenario->once) {
        case_run();
        return;
    }
    for (size_t i = from.failure; i < FAILURE_COUNT; i++) {
        struct place place = i == from.failure ? from : (struct place){.failure = i, .nth = 1};

        if (failure_is_wanted(&failures[i]) && calls[failures[i].fault] > 0)
            failure_sweep(&failures[i], place, calls[failures[i].fault]);
    }
    torture_case.failure = NULL;
    torture_case_end();
}

static void
child_dump(int signo)
{
    (void) signo;
    torture_case_dump();
    _exit(EXIT_FAILURE);
}

/* In the parent */

static void
child_kill(pid_t child)
{
    int status;

    fprintf(stderr, "FAILED: it hangs\n");
    kill(child, SIGUSR2);
    for (int i = 0; i < 1000 && waitpid(child, &status, WNOHANG) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
}

/* Whether it did all that it should. */
static bool
child_wait(pid_t child)
{
    int status;

    while (waitpid(child, &status, WNOHANG) == 0) {
        double began = progress->began;

        if (began != 0 && now() - began > hang_seconds()) {
            child_kill(child);
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
        return true;
    if (WIFSIGNALED(status))
        fprintf(stderr, "FAILED: by signal %d, %s\n", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    else
        fprintf(stderr, "FAILED: with status %d\n", WEXITSTATUS(status));
    return false;
}

/* Which is the one after it; false: there is none. */
static bool
place_next(struct place *place)
{
    if (place->failure == FAILURE_COUNT)
        return false; /* it fails with no failure */
    place->mode++;
    return true;
}

/* How many cases failed. */
static unsigned
scenario_torture(const struct scenario *scenario, enum uco_backend backend)
{
    struct place from = {.nth = 1};
    unsigned failed = 0;
    double began = now();
    unsigned long cases = progress->cases;

    torture_case = (struct torture_case){.scenario = scenario, .backend = backend};
    while (failed < FAILURES_MOST) {
        pid_t child = options.no_fork ? 0 : fork();

        if (child == 0) {
            signal(SIGUSR2, child_dump);
            child_run(from);
            if (options.no_fork)
                return 0;
            exit(EXIT_SUCCESS);
        }
        if (child_wait(child))
            break;
        case_print(&progress->present);
        progress->began = 0;
        failed++;
        from = progress->place;
        if (!place_next(&from))
            break;
    }
    if (options.verbose)
        printf("%-16s %-8s %6lu cases, %u failed, %.1f s\n", scenario->name, backend_name(backend),
               progress->cases - cases, failed, now() - began);
    fflush(stdout);
    return failed;
}

static bool
backend_can_run(enum uco_backend backend)
{
    uco_loop_options loop_options = {.backend = backend};
    uco_loop *loop;

    if (options.backend != NULL && strcmp(options.backend, backend_name(backend)) != 0)
        return false;
    if (backend == UCO_BACKEND_EPOLL)
        return true;
#if UCO__TSAN
    return false; /* they do not understand it */
#endif
    if (getenv("UCO_TEST_VALGRIND") != NULL)
        return false;
    loop = uco_loop_new(&loop_options);
    uco_loop_close(loop);
    uco_loop_unref(loop);
    return loop != NULL;
}

static void
unreached_print(void)
{
    fputs("never called:", stdout);
    for (int i = 0; i < UCO__FAULT_COUNT; i++) {
        if (progress->reached[i] == 0)
            printf(" %s", uco__fault_name((enum uco__fault) i));
    }
    putchar('\n');
}

static int
torture_all(void)
{
    unsigned scenarios = 0, failed = 0;
    double began = now();

    for (enum uco_backend backend = UCO_BACKEND_EPOLL; backend <= UCO_BACKEND_IO_URING; backend++) {
        if (!backend_can_run(backend))
            continue;
        for (size_t i = 0; torture_scenarios[i] != NULL; i++) {
            const struct scenario *scenario = torture_scenarios[i];

            if ((options.scenario != NULL && strcmp(options.scenario, scenario->name) != 0) ||
                (scenario->can_run != NULL && !scenario->can_run()))
                continue;
            scenarios += backend == UCO_BACKEND_EPOLL || options.backend != NULL;
            failed += scenario_torture(scenario, backend);
        }
    }
    if (options.verbose)
        unreached_print();
    printf("%u scenarios, %lu cases, %lu faults injected, %u failures, %.0f s\n", scenarios,
           progress->cases, progress->injected, failed, now() - began);
    if (scenarios == 0)
        fprintf(stderr, "there is no such scenario here\n");
    return failed == 0 && scenarios > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The command line */

static int
usage(void)
{
    fputs("usage: torture [--scenario NAME] [--backend epoll|io_uring] [--call NAME] [--error E]\n"
          "               [--nth N] [--once | --for-ever] [--to-the-end | --passing]\n"
          "               [--sample EVERY/SEED | --full] [--verbose] [--no-fork]\n"
          "       torture --list\n",
          stderr);
    return 2;
}

static int
list(void)
{
    for (size_t i = 0; torture_scenarios[i] != NULL; i++)
        printf("%s\n", torture_scenarios[i]->name);
    for (size_t i = 0; i < FAILURE_COUNT; i++)
        printf("--call %s --error %s\n", failures[i].what, failures[i].error_name);
    return EXIT_SUCCESS;
}

static bool
flag_set(const char *name)
{
    if (strcmp(name, "--once") == 0)
        options.for_ever = 0;
    else if (strcmp(name, "--for-ever") == 0)
        options.for_ever = 1;
    else if (strcmp(name, "--to-the-end") == 0)
        options.to_the_end = 1;
    else if (strcmp(name, "--passing") == 0)
        options.to_the_end = 0;
    else if (strcmp(name, "--full") == 0)
        options.every = 1;
    else if (strcmp(name, "--verbose") == 0)
        options.verbose = true;
    else if (strcmp(name, "--no-fork") == 0)
        options.no_fork = true;
    else
        return false;
    return true;
}

static bool
option_set(const char *name, const char *value)
{
    if (value == NULL)
        return false;
    if (strcmp(name, "--scenario") == 0)
        options.scenario = value;
    else if (strcmp(name, "--backend") == 0)
        options.backend = value;
    else if (strcmp(name, "--call") == 0)
        options.call = value;
    else if (strcmp(name, "--error") == 0)
        options.error = value;
    else if (strcmp(name, "--nth") == 0)
        options.nth = strtoul(value, NULL, 10);
    else if (strcmp(name, "--sample") == 0)
        return sscanf(value, "%lu/%lu", &options.every, &options.seed) == 2 && options.every > 0;
    else
        return false;
    return true;
}

int
main(int argc, char **argv)
{
    const char *wanted = getenv("UCO_TORTURE");

    program = argv[0];
    unsetenv("UCO_SEED");
    unsetenv("UCO_DEBUG");
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    for (int i = 1; i < argc; i++) {
        if (flag_set(argv[i]))
            continue;
        if (!option_set(argv[i], argv[i + 1]))
            return usage();
        i++;
    }
    if (options.every == 0)
        options.every = is_slow() ? SAMPLE_EVERY * SAMPLE_SLOW : SAMPLE_EVERY;
    /* A single case, or the whole of it. */
    if (options.nth != 0 || (wanted != NULL && strcmp(wanted, "full") == 0))
        options.every = 1;
    signal(SIGPIPE, SIG_DFL);
    progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED)
        abort();
    return torture_all();
}
