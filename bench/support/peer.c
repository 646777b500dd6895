/* SPDX-License-Identifier: MIT */

#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool
peer_is_here(const char *program)
{
    return program != NULL && access(program, X_OK) == 0;
}

static pid_t
peer_start(const char *const argv[], int output)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int error;

    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO) != 0)
        bench_die("starting %s: no memory", argv[0]);
    error = posix_spawn(&pid, argv[0], &actions, NULL, (char **) (uintptr_t) argv, environ);
    if (error != 0)
        bench_die("starting %s: %s", argv[0], strerror(error));
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

/* All that it prints; an error ends it early, and then the number is not one. */
static void
output_read(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;

    do {
        n = read(fd, text + length, size - 1 - length);
        if (n > 0)
            length += (size_t) n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    text[length] = '\0';
}

static bool
numbers_parse(const char *text, double numbers[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *end;

        numbers[i] = strtod(text, &end);
        if (end == text || !isfinite(numbers[i]))
            return false;
        text = end;
    }
    return true;
}

bool
peer_measure(const char *const argv[], double values[], size_t count)
{
    char text[256];
    double numbers[BENCH_METRICS_MAX];
    int ends[2], status;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        bench_die("a pipe: %s", strerror(errno));
    fflush(NULL);
    pid = peer_start(argv, ends[1]);
    close(ends[1]);
    output_read(ends[0], text, sizeof text);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0 || count > BENCH_METRICS_MAX || !numbers_parse(text, numbers, count))
        return false;
    memcpy(values, numbers, count * sizeof values[0]);
    return true;
}

bool
peer_run_row(const struct peer_program *peer, const char *row, size_t units, double values[],
             size_t count)
{
    size_t part = peer->divisor > 0 ? units / peer->divisor : units;
    char text[24];
    const char *with_script[] = {peer->path, peer->script, row, text, peer->loop, NULL};
    const char *alone[] = {peer->path, row, text, NULL};

    snprintf(text, sizeof text, "%zu", part > 0 ? part : 1);
    return peer_measure(peer->script != NULL ? with_script : alone, values, count);
}

struct bench_subject
peer_subject_of(const char *name, const struct peer_program *peer, bench_run *run,
                const char *lacks)
{
    return (struct bench_subject){
        .name = name,
        .run = lacks == NULL && peer_is_here(peer->path) ? run : NULL,
        .without = lacks != NULL ? lacks : PEER_WITHOUT,
    };
}
