/* SPDX-License-Identifier: MIT */

/*
 * How much stack real code needs: what the default stack size is chosen by.
 *
 * A task paints its stack below its own frame, does something, and looks how far down the paint is
 * gone: to the word, everything included that lies on the stack above the task. It does so twice,
 * because the first time often needs more: symbols are bound, locales, modules and certificates are
 * loaded. For the same reason each use has a process of its own.
 *
 * Nothing is timed. The program fails when something does not work on a task's stack, or needs more
 * than the default has.
 */

#include "stack_needs.h"

#include "core/stack.h"
#include "support/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <uco/uco.h>
#include <unistd.h>

#define PAINT UINT64_C(0x5aa5c33c96690ff0)

enum {
    STACK_BYTES = 1024 * 1024, /* enough for each use, so that one that needs more is a number */
    UNPAINTED = 256,           /* bytes below the painter's frame address, which may be its own */
    CANARY = 64, /* at the lowest end of a stack without guard; bytes that must stay as is */
    ABOVE_PAGES_MAX = 4, /* what a task finds on its stack when it begins */
    RUNS = 2,            /* the first, and once more */
    SECONDS_MAX = 30,
};

static const size_t sizes[] = {16, 32, 64, 128, 256}; /* KiB */

struct measured {
    bool works;
    bool skipped; /* it cannot be had here */
    size_t bytes[RUNS];
};

/* What is being measured; the result is shared with the parent process. */
static const struct use *measuring;
static struct measured *measured;

void *
memory_share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? memory : NULL;
}

bool
skip(void)
{
    measured->skipped = true;
    return false;
}

/* --- uco's own --- */

static bool
yields(const char *arg)
{
    (void) arg;
    return uco_yield() == 0;
}

static bool
sleeps(const char *arg)
{
    (void) arg;
    return uco_sleep(0.001) == 0;
}

static intptr_t
failing(void *arg)
{
    (void) arg;
    return -EIO;
}

bool
stderr_drop(const char *arg)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void) arg;
    return null >= 0 && dup2(null, STDERR_FILENO) >= 0;
}

/* Nobody reads its result: that is told on stderr, on the stack of who dropped it. */
static bool
reports(const char *arg)
{
    uco_task *task = uco_create_task(failing, NULL);
    int r = uco_sleep(0.001);

    (void) arg;
    uco_unref(task);
    return task != NULL && r == 0;
}

static const struct use uses[] = {
    {"uco_yield", yields, NULL, NULL},
    {"uco_sleep", sleeps, NULL, NULL},
    {"the report of a failed task", reports, stderr_drop, NULL},
};

static const struct use_group uses_of_uco = {uses, COUNT(uses)};

/* --- the paint --- */

/* The end of the running stack: the first page above it that nobody has touched, since the stack is
 * the process's first and has no neighbour yet. NULL when that cannot be told. */
static char *
stack_end(void)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    char *end = (char *) ((uintptr_t) __builtin_frame_address(0) / page * page);

    for (int i = 0; i < ABOVE_PAGES_MAX; i++) {
        unsigned char resident;

        end += page;
        if (mincore(end, page, &resident) < 0)
            return errno == ENOMEM ? end : NULL; /* there is no page */
        if ((resident & 1) == 0)
            return end;
    }
    return NULL;
}

static UCO__NOINLINE void
stack_paint(char *lowest)
{
    volatile uint64_t *word = (uint64_t *) (void *) lowest;
    uint64_t *end = (uint64_t *) ((uintptr_t) __builtin_frame_address(0) - UNPAINTED);

    for (; word < end; word++)
        *word = PAINT;
}

static UCO__NOINLINE size_t
stack_used(const char *lowest, const char *end)
{
    const volatile uint64_t *word = (const uint64_t *) (const void *) lowest;

    while (*word == PAINT)
        word++;
    return (uintptr_t) end - (uintptr_t) word;
}

static intptr_t
task_measure(void *arg)
{
    char *end = stack_end(), *lowest;

    (void) arg;
    if (end == NULL)
        return -ENOSYS;
    lowest = end - STACK_BYTES + CANARY;
    for (int i = 0; i < RUNS; i++) {
        bool works;

        stack_paint(lowest);
        works = measuring->work(measuring->arg);
        measured->bytes[i] = stack_used(lowest, end);
        if (!works)
            return -EIO;
    }
    return 0;
}

/* --- a process for each use --- */

static bool
measuring_run(void)
{
    const uco_loop_options options = {.stack_size = STACK_BYTES, .slow_callback = UCO_FOREVER};

    alarm(SECONDS_MAX);
    if (measuring->prepare != NULL && !measuring->prepare(measuring->arg))
        return false;
    return uco_run_with(&options, task_measure, NULL) == 0;
}

/* A use that dies, perhaps by an overflow, is one that does not work. */
static void
use_measure(const struct use *use)
{
    pid_t pid;
    int status;

    *measured = (struct measured){.works = false};
    measuring = use;
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(measuring_run() ? 0 : 1);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        fprintf(stderr, "stack_needs: a process: %s\n", strerror(errno));
        exit(1);
    }
    measured->works = status == 0;
}

/* --- the table --- */

struct summary {
    const struct use *deepest;
    size_t bytes;
    bool wrong;
};

static void
measured_print(const struct use *use, size_t bytes)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);

    printf("  %-48s %8zu %8zu %6zu ", use->name, measured->bytes[0], measured->bytes[1],
           (bytes + page - 1) / page);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t size = sizes[i] * 1024;

        printf(" %4s", size >= 2 * bytes ? "2x" : size >= bytes ? "1x" : "-");
    }
    putchar('\n');
}

static void
use_report(const struct use *use, struct summary *summary)
{
    size_t bytes;

    if (use->work == NULL) {
        printf("  %-48s skipped: not in this build\n", use->name);
        return;
    }
    use_measure(use);
    if (measured->skipped) {
        printf("  %-48s skipped: not on this machine\n", use->name);
        return;
    }
    if (!measured->works) {
        printf("  %-48s FAILED\n", use->name);
        summary->wrong = true;
        return;
    }
    bytes = measured->bytes[measured->bytes[0] < measured->bytes[1]];
    measured_print(use, bytes);
    if (bytes > summary->bytes) {
        summary->deepest = use;
        summary->bytes = bytes;
    }
}

static void
header_print(void)
{
    printf("stack_needs: how much stack real code needs\n");
    printf("uco %s, compiler %s", uco_version(), __VERSION__);
#ifdef AT_MINSIGSTKSZ
    printf(", a signal's frame up to %lu bytes (AT_MINSIGSTKSZ)", getauxval(AT_MINSIGSTKSZ));
#endif
    printf("\n2x: held with a factor of two to spare; 1x: held; -: an overflow\n\n");
    printf("%-50s %8s %8s %6s ", "bytes of stack", "first", "again", "pages");
    for (size_t i = 0; i < COUNT(sizes); i++)
        printf(" %3zuK", sizes[i]);
    putchar('\n');
}

static int
summary_print(const struct summary *summary)
{
    size_t size = UCO__STACK_SIZE_DEFAULT;

    if (summary->deepest == NULL)
        return 1;
    printf("\nThe deepest: %s, %zu bytes. The default is %zu KiB: %.1f times that.\n",
           summary->deepest->name, summary->bytes, size / 1024,
           (double) size / (double) summary->bytes);
    if (summary->bytes > size)
        fprintf(stderr, "stack_needs: the default stack does not hold it\n");
    return summary->wrong || summary->bytes > size || fflush(stdout) != 0 ? 1 : 0;
}

int
main(void)
{
    const struct use_group *const groups[] = {&uses_of_uco, &uses_of_c, &uses_of_net};
    struct summary summary = {0};

    measured = memory_share(sizeof *measured);
    if (measured == NULL) {
        fprintf(stderr, "stack_needs: shared memory: %s\n", strerror(errno));
        return 1;
    }
    header_print();
    for (size_t i = 0; i < COUNT(groups); i++) {
        for (size_t j = 0; j < groups[i]->count; j++)
            use_report(&groups[i]->uses[j], &summary);
    }
    return summary_print(&summary);
}
