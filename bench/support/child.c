/* SPDX-License-Identifier: MIT */

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void
child_run(bench_run *run, const void *arg, int output, size_t count)
{
    double values[BENCH_METRICS_MAX] = {0};
    size_t size = count * sizeof values[0];

    if (!run(arg, values) || write(output, values, size) != (ssize_t) size)
        _exit(1);
    _exit(0);
}

bool
child_measure(bench_run *run, const void *arg, double values[], size_t count)
{
    double received[BENCH_METRICS_MAX];
    size_t size = count * sizeof received[0];
    pid_t pid, parent = getpid();
    int ends[2], status;
    bool complete;

    if (count > BENCH_METRICS_MAX || pipe2(ends, O_CLOEXEC) < 0)
        bench_die("a pipe: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (pid == 0) {
        /* Whatever happens to the benchmark, a child with a million stacks goes with it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        child_run(run, arg, ends[1], count);
    }
    close(ends[1]);
    /* So few bytes come in one piece. */
    complete = read(ends[0], received, size) == (ssize_t) size;
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0 || !complete)
        return false;
    memcpy(values, received, size);
    return true;
}
