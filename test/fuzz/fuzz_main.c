/* SPDX-License-Identifier: MIT */

/*
 * usage: fuzz TARGET|all [--seed N] [--runs N] [--seconds S] [--no-shrink]
 *        fuzz --replay FILE | --hex DIGITS
 * and the same with fuzz-text, which has other targets.
 *
 * Makes inputs from seeds and runs them; with neither --runs nor --seconds 1,000 of each target. An
 * input that goes wrong is made as short as it can be, and its operations are printed. So is what a
 * replayed input does.
 *
 * Inputs run in a child process, which a mismatch ends, and so does a crash or a hang.
 */

#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_DEFAULT 1000
#define HANG 30       /* seconds, for an input */
#define SHRINK_HANG 2 /* the same, while it is made shorter */
#define SHRINK_TIME 20
#define LENGTH_MIN 8
#define MISMATCH 1 /* a child's exit status */

struct options {
    const char *target; /* NULL: all */
    uint64_t seed;
    uint64_t runs;  /* of each target */
    double seconds; /* of all targets; 0: runs decides */
    bool shrink;
};

/* Of the child, for the parent. */
struct progress {
    uint64_t seed; /* of the input that runs */
    uint64_t runs; /* that went well */
};

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static uint64_t
random_next(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t
input_make(size_t target, uint64_t seed, uint8_t *data)
{
    uint64_t random = seed * UINT64_C(0xd1342543de82ef95) + target;
    size_t size = LENGTH_MIN;

    /* Mostly short ones, since most of what goes wrong needs little. */
    size += random_next(&random) % (random_next(&random) % 4 == 0 ? FUZZ_INPUT_MAX - size : 120);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t) random_next(&random);
    data[0] = (uint8_t) target;
    return size;
}

static void
mismatched(void)
{
    fflush(stdout);
    _exit(MISMATCH);
}

/* --- one input in a child --- */

/* The child's status. */
static int
child_wait(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            abort();
    }
    return status;
}

static int
input_try(const uint8_t *data, size_t size, bool verbose)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        fuzz_verbose = verbose;
        if (verbose)
            setvbuf(stdout, NULL, _IOLBF, 0);
        else if (freopen("/dev/null", "w", stdout) == NULL ||
                 freopen("/dev/null", "w", stderr) == NULL)
            abort();
        alarm(verbose ? HANG : SHRINK_HANG);
        fuzz_run(data, size);
        exit(EXIT_SUCCESS);
    }
    return child_wait(child);
}

/* Leaves out what it can be without, in ever smaller pieces. */
static size_t
shrink_size(uint8_t *data, size_t size, double until)
{
    uint8_t tried[FUZZ_INPUT_MAX];

    for (size_t piece = size / 2; piece > 0; piece -= (piece + 3) / 4) {
        for (size_t at = 1; at + piece <= size && now() < until;) {
            memcpy(tried, data, at);
            memcpy(tried + at, data + at + piece, size - at - piece);
            if (input_try(tried, size - piece, false) == 0) {
                at++;
                continue;
            }
            size -= piece;
            memcpy(data, tried, size);
        }
    }
    return size;
}

/* Makes bytes zero, which mostly asks for less. */
static void
shrink_bytes(uint8_t *data, size_t size, double until)
{
    for (size_t at = 1; at < size && now() < until; at++) {
        uint8_t byte = data[at];

        data[at] = 0;
        if (byte != 0 && input_try(data, size, false) == 0)
            data[at] = byte;
    }
}

static size_t
input_shrink(uint8_t *data, size_t size)
{
    double until = now() + SHRINK_TIME;
    size_t before;

    do {
        before = size;
        size = shrink_size(data, size, until);
        shrink_bytes(data, size, until);
    } while (size < before && now() < until);
    return size;
}

static const char *
status_name(int status)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status));
    return WEXITSTATUS(status) == MISMATCH ? "a mismatch" : "ended by itself";
}

static int
input_show(const uint8_t *data, size_t size)
{
    int status = input_try(data, size, true);

    printf("%s\nto see this again: --hex ", status == 0 ? "all went well" : status_name(status));
    for (size_t i = 0; i < size; i++)
        printf("%02x", data[i]);
    putchar('\n');
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- many inputs --- */

static void
target_run_all(size_t target, const struct options *options, double until,
               struct progress *progress)
{
    uint8_t data[FUZZ_INPUT_MAX];

    for (uint64_t i = 0; until != 0 ? now() < until : i < options->runs; i++) {
        progress->seed = options->seed + i;
        alarm(HANG);
        fuzz_run(data, input_make(target, progress->seed, data));
        progress->runs++;
    }
}

static int
target_fuzz(size_t target, const struct options *options, double seconds, struct progress *progress)
{
    const char *name = fuzz_targets[target]->name;
    uint8_t data[FUZZ_INPUT_MAX];
    double begin = now();
    size_t size;
    pid_t child;
    int status;

    progress->runs = 0;
    fflush(stdout);
    child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        target_run_all(target, options, seconds != 0 ? begin + seconds : 0, progress);
        exit(EXIT_SUCCESS);
    }
    status = child_wait(child);
    if (status == 0) {
        printf("%-10s %8ju runs, %.1f s\n", name, (uintmax_t) progress->runs, now() - begin);
        return EXIT_SUCCESS;
    }
    printf("%s: %s, with seed %ju\n", name, status_name(status), (uintmax_t) progress->seed);
    size = input_make(target, progress->seed, data);
    if (options->shrink)
        size = input_shrink(data, size);
    input_show(data, size);
    return EXIT_FAILURE;
}

static int
targets_fuzz(const struct options *options)
{
    size_t count = fuzz_target_count();
    double seconds = options->target == NULL ? options->seconds / (double) count : options->seconds;
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool known = false;
    int result = EXIT_SUCCESS;

    if (progress == MAP_FAILED)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (options->target != NULL && strcmp(options->target, fuzz_targets[i]->name) != 0)
            continue;
        known = true;
        if (target_fuzz(i, options, seconds, progress) != EXIT_SUCCESS)
            result = EXIT_FAILURE;
    }
    munmap(progress, sizeof *progress);
    if (known)
        return result;
    fprintf(stderr, "there is no target '%s'\n", options->target);
    return 2;
}

/* --- replay --- */

static int
replay_file(const char *path)
{
    uint8_t data[FUZZ_INPUT_MAX];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (file == NULL) {
        perror(path);
        return 2;
    }
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    return input_show(data, size);
}

static int
replay_hex(const char *digits)
{
    uint8_t data[FUZZ_INPUT_MAX];
    size_t size = 0;
    unsigned byte;

    for (; size < sizeof data && sscanf(digits, "%2x", &byte) == 1; digits += 2) {
        data[size++] = (uint8_t) byte;
        if (digits[1] == '\0')
            break;
    }
    return input_show(data, size);
}

/* Fewer runs where each takes longer. */
static uint64_t
runs_default(void)
{
    return getenv("UCO_TEST_VALGRIND") != NULL ? RUNS_DEFAULT / 50 : RUNS_DEFAULT;
}

int
main(int argc, char **argv)
{
    struct options options = {.seed = 1, .runs = runs_default(), .shrink = true};

    fuzz_mismatched = mismatched;
    unsetenv("UCO_SEED");
    unsetenv("UCO_DEBUG"); /* with it misuse, which is part of it, aborts */
    if (argc == 3 && strcmp(argv[1], "--replay") == 0)
        return replay_file(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--hex") == 0)
        return replay_hex(argv[2]);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--no-shrink") == 0)
            options.shrink = false;
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--runs") == 0)
            options.runs = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            options.seconds = strtod(argv[++i], NULL);
        else
            argc = 0;
    }
    if (argc < 2) {
        fputs("usage: fuzz TARGET|all [--seed N] [--runs N] [--seconds S] [--no-shrink]\n"
              "       fuzz --replay FILE | --hex DIGITS\n",
              stderr);
        return 2;
    }
    options.target = strcmp(argv[1], "all") == 0 ? NULL : argv[1];
    return targets_fuzz(&options);
}
