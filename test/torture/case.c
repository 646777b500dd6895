/* SPDX-License-Identifier: MIT */

/*
 * One case: a scenario with a call that fails, and the proof that nothing is left of it.
 *
 * 1. The scenario runs twice, in the same loop if it runs inside one: the second time nothing
 *    fails, and it must succeed. Only where the failure is to go on until the loop has closed it
 *    runs once.
 * 2. Afterwards there are as many tasks, timers, resources and jobs in the loop as before, and as
 *    many descriptors, threads, children and blocks of memory in the process.
 * 3. Mappings may not add up over the cases; a single one may leave some, as the C library keeps
 *    stacks of threads and memory.
 * 4. Memory is what uco's own ledger has of it; what the scenarios allocate is LeakSanitizer's.
 */

#include "torture.h"

#include "base/ledger.h"
#include "core/bundle.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the C library may keep of threads and memory. */
#define MAPS_MORE 32

/* Threads that nobody waits for may hold something for a moment. In milliseconds. */
#define PATIENCE 5000

#define FDS_MAX 256

struct torture_case torture_case;
bool torture_faulty;

/* What a process has */

struct holdings {
    int fds;
    int threads;
    bool open[FDS_MAX];
};

static int
entries(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int n = 0;

    MUST(directory != NULL);
    while ((entry = readdir(directory)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static int
maps_count(void)
{
    static char text[4096];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int lines = 0;
    ssize_t n;

    MUST(fd >= 0);
    while ((n = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            lines += text[i] == '\n';
    }
    close(fd);
    return lines;
}

static struct holdings
holdings_now(void)
{
    return (struct holdings){.fds = entries("/proc/self/fd"),
                             .threads = entries("/proc/self/task")};
}

static void
holdings_note_open(struct holdings *holdings)
{
    for (int fd = 0; fd < FDS_MAX; fd++)
        holdings->open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static void
holdings_close_others(const struct holdings *before)
{
    for (int fd = 0; fd < FDS_MAX; fd++)
        if (!before->open[fd])
            close(fd);
}

static bool
holdings_equal(const struct holdings *a, const struct holdings *b)
{
    return a->fds == b->fds && a->threads == b->threads;
}

static void
holdings_are(const struct holdings *before)
{
    struct holdings now = holdings_now();

    for (int i = 0; i < PATIENCE && !holdings_equal(&now, before); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        now = holdings_now();
    }
    if (!holdings_equal(&now, before))
        torture_fail(__FILE__, __LINE__, "left over: %d descriptors and %d threads; before: %d, %d",
                     now.fds, now.threads, before->fds, before->threads);
}

/* Memory */

static void
block_tell(const struct uco__ledger_note *note, void *arg)
{
    fprintf(stderr, "left: %s of %lu bytes, made at %s\n",
            note->kind == UCO__LEDGER_MAP ? "a mapping" : "a block", (unsigned long) note->size,
            note->place);
    ++*(int *) arg;
}

/* When no thread is left that might give something back. */
static void
memory_is_back(void)
{
    int left = 0;

    uco__bundle_thread_end();
    uco__ledger_end();
    uco__ledger_each(block_tell, &left);
    if (left > 0)
        torture_fail(__FILE__, __LINE__, "left over: %d blocks and mappings", left);
}

/* Loops */

static _Atomic(uco_loop *) loop_present;

static void
report_dropped(const char *message, uco_task *task, void *arg)
{
    (void) task;
    (void) arg;
    if (getenv("UCO_TORTURE_REPORTS") != NULL)
        fprintf(stderr, "report: %s\n", message);
}

uco_loop_options
torture_options(void)
{
    return (uco_loop_options){
        .clock = torture_case.scenario->real ? UCO_CLOCK_REAL : UCO_CLOCK_VIRTUAL,
        .backend = torture_case.backend,
        .slow_callback = UCO_FOREVER, /* a slow machine is nobody's fault */
        .exception_handler = report_dropped,
    };
}

uco_loop *
torture_loop_new(void)
{
    const uco_loop_options options = torture_options();
    uco_loop *loop;

    MADE(loop, uco_loop_new(&options), ENOMEM, EMFILE, ENFILE, THE_ERROR);
    return loop;
}

void
torture_case_dump(void)
{
    uco_loop *loop = atomic_load(&loop_present);
    uco_loop_stats stats;

    if (loop == NULL || uco_stats(loop, &stats) < 0)
        return;
    fprintf(stderr, "the loop has %u tasks, %u timers, %u resources and %u jobs\n",
            (unsigned) stats.tasks, (unsigned) stats.timers, (unsigned) stats.resources,
            (unsigned) stats.pool_jobs);
}

/* Passes */

static void
loop_is_as(const uco_loop_stats *before)
{
    uco_loop_stats now;

    SURE(uco_test_settle());
    SURE(uco_stats(uco_get_running_loop(), &now));
    /* A thread has told its job's result before it has left the job. */
    for (int i = 0; i < PATIENCE && now.pool_jobs != before->pool_jobs; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        SURE(uco_stats(uco_get_running_loop(), &now));
    }
    if (now.tasks != before->tasks || now.timers != before->timers ||
        now.resources != before->resources || now.pool_jobs != before->pool_jobs)
        torture_fail(
            __FILE__, __LINE__, "left in the loop: %u tasks, %u timers, %u resources, %u jobs",
            (unsigned) (now.tasks - before->tasks), (unsigned) (now.timers - before->timers),
            (unsigned) (now.resources - before->resources),
            (unsigned) (now.pool_jobs - before->pool_jobs));
}

static void
faults_end(void)
{
    uco_test_fail_off();
    torture_faulty = false;
}

static intptr_t
passes(void *arg)
{
    uco_loop_stats before;

    (void) arg;
    atomic_store(&loop_present, uco_get_running_loop());
    SURE(uco_stats(uco_get_running_loop(), &before));
    torture_case.scenario->run();
    loop_is_as(&before);
    if (!torture_case.mode.to_the_end) {
        faults_end();
        torture_case.scenario->run();
        loop_is_as(&before);
    }
    atomic_store(&loop_present, NULL);
    return 0;
}

static void
run_inside(void)
{
    const uco_loop_options options = torture_options();

    MAY(uco_run_with(&options, passes, NULL), ENOMEM, EMFILE, ENFILE, THE_ERROR);
}

static void
run_outside(void)
{
    torture_case.scenario->run();
    if (torture_case.mode.to_the_end)
        return;
    faults_end();
    torture_case.scenario->run();
}

bool
torture_clean(void)
{
    return !torture_faulty;
}

static const char *const memory_calls[] = {"malloc", "mmap", "mprotect", "madvise", "munmap"};

void
torture_memory_gone(void)
{
    for (size_t i = 0; i < COUNT(memory_calls); i++)
        MUST(uco_test_fail(memory_calls[i], 1, true, ENOMEM) == 0);
}

void
torture_memory_back(void)
{
    for (size_t i = 0; i < COUNT(memory_calls); i++)
        MUST(uco_test_fail(memory_calls[i], 0, false, ENOMEM) == 0);
}

intptr_t
torture_may(intptr_t r, const char *call, const char *file, int line, const int errors[])
{
    const struct failure *failure = torture_case.failure;
    bool told = failure != NULL &&
                ((failure->flags & FAILURE_HIDDEN) == 0 || (failure->flags & FAILURE_UNTRUE) != 0);

    if (r >= 0)
        return r;
    for (int i = 0; errors[i] != 0 && torture_faulty; i++) {
        if (errors[i] == THE_ERROR ? told && r == -failure->error : r == -errors[i])
            return r;
    }
    /* Who is told that a connection is being made, and none is, has none. */
    if (torture_faulty && failure != NULL && failure->fault == UCO__FAULT_connect &&
        (failure->flags & FAILURE_UNTRUE) != 0 && (r == -ENOTCONN || r == -EDESTADDRREQ))
        return r;
    torture_fail(file, line, "%s gave %ld, %s", call, (long) r, uco_strerror((int) r));
}

static void
children_reap(const struct failure *failure)
{
    bool keeps = failure != NULL && (failure->flags & FAILURE_KEEPS_CHILD) != 0;

    while (keeps && waitpid(-1, NULL, 0) > 0)
        continue;
    MUST(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

bool
torture_case_run(void)
{
    const struct failure *failure = torture_case.failure;
    struct holdings before = holdings_now();
    unsigned long failed = 0;

    holdings_note_open(&before);
    MUST(uco__ledger_begin() == 0);
    torture_faulty = failure != NULL;
    if (failure != NULL) {
        failed = uco__fault_count(failure->fault).failed;
        MUST(uco_test_fail(failure->what, torture_case.nth, torture_case.mode.for_ever,
                           failure->error) == 0);
    }
    if (torture_case.scenario->outside)
        run_outside();
    else
        run_inside();
    faults_end();
    if (failure != NULL && (failure->flags & FAILURE_KEEPS_FDS) != 0)
        holdings_close_others(&before);
    children_reap(failure);
    holdings_are(&before);
    memory_is_back();
    return failure != NULL && uco__fault_count(failure->fault).failed > failed;
}

void
torture_case_count(unsigned long calls[UCO__FAULT_COUNT])
{
    torture_case.failure = NULL;
    torture_case.mode = (struct failure_mode){.to_the_end = true};
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        MUST(uco_test_fail(uco__fault_name((enum uco__fault) i), ULONG_MAX, false, EIO) == 0);
    if (torture_case.scenario->outside)
        run_outside();
    else
        run_inside();
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        calls[i] = uco__fault_count((enum uco__fault) i).calls;
    uco_test_fail_off();
}

static int maps_before;

void
torture_case_begin(void)
{
    torture_case.failure = NULL;
    torture_case.mode = (struct failure_mode){0};
    /* What a process does once only, it has done then. */
    for (int i = 0; i < 2; i++) {
        if (torture_case.scenario->outside)
            run_outside();
        else
            run_inside();
    }
    maps_before = maps_count();
}

void
torture_case_end(void)
{
    int now = maps_count();

    if (UCO__ASAN || UCO__TSAN)
        return; /* they map what they like */
    if (now > maps_before + MAPS_MORE)
        torture_fail(__FILE__, __LINE__, "%d mappings, and %d before", now, maps_before);
}
