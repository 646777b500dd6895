/* SPDX-License-Identifier: MIT */
#include "death.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX 60

struct death
death_of(void (*fn)(void *arg), void *arg)
{
    struct death death = {.status = -1};
    size_t size = 0;
    ssize_t n;
    int ends[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe(ends), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        signal(SIGABRT, SIG_DFL);
        alarm(SECONDS_MAX);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        fn(arg);
        _exit(SURVIVED);
    }
    close(ends[1]);
    while ((n = read(ends[0], death.output + size, sizeof death.output - 1 - size)) > 0 ||
           (n < 0 && errno == EINTR))
        size += n > 0 ? (size_t) n : 0;
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0)
        ck_assert_int_eq(errno, EINTR);
    if (WIFSIGNALED(status))
        death.signal = WTERMSIG(status);
    else
        death.status = WEXITSTATUS(status);
    return death;
}

void
assert_aborted(const struct death *death, const char *message)
{
    ck_assert_msg(death->signal == SIGABRT, "signal %d, status %d: %s", death->signal,
                  death->status, death->output);
    ck_assert_msg(strstr(death->output, message) != NULL, "no '%s' in: %s", message, death->output);
}
