/* SPDX-License-Identifier: MIT */

/*
 * Processes, signals and names.
 *
 * 1. No process is left, and no descriptor to one, whatever could not be done.
 * 2. A signal's disposition is again what it was before.
 */

#include "scenarios.h"

#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <uco/name.h>
#include <uco/process.h>
#include <uco/signal.h>

/* Processes */

#define PROCESS_ERRORS                                                                             \
    THE_ERROR, ENOMEM, EAGAIN, EMFILE, ENFILE, ECHILD, EPIPE, ECONNRESET, ENOSPC, EBADF

static uco_process *
spawn(const char *const argv[], int in, int out)
{
    const uco_process_options options = {.argv = argv, .stdin_fd = in, .stdout_fd = out};
    uco_process *p;

    MADE(p, uco_process_spawn(&options), PROCESS_ERRORS);
    return p;
}

static void
process_ends(void)
{
    static const char *const argv[] = {"sh", "-c", "exit 3", NULL};
    uco_process *p = spawn(argv, UCO_DEVNULL, UCO_DEVNULL);
    intptr_t r;

    if (p == NULL)
        return;
    r = MAY(uco_process_wait(p), PROCESS_ERRORS);
    MUST(r < 0 || (WIFEXITED(r) && WEXITSTATUS(r) == 3));
    uco_process_free(p);
}

/* One that cannot be killed is waited for, and so is one that is taken for gone: here. */
static void
process_is_killed(void)
{
    const struct failure *failure = torture_case.failure;
    bool ends = failure != NULL && (failure->flags & (FAILURE_NO_EXIT | FAILURE_KEEPS_CHILD)) != 0;
    const char *const argv[] = {"sleep", ends ? "0.2" : "30", NULL};
    uco_process *p = spawn(argv, 0, UCO_DEVNULL);
    intptr_t r;

    if (p == NULL)
        return;
    r = MAY(uco_process_kill(p, SIGTERM), THE_ERROR, ESRCH);
    if (r == 0) {
        r = MAY(uco_process_wait(p), PROCESS_ERRORS);
        MUST(r < 0 || (WIFSIGNALED(r) && WTERMSIG(r) == SIGTERM));
    }
    uco_process_free(p);
    uco_process_free(spawn(argv, UCO_DEVNULL, UCO_PIPE));
}

static void
process_talks(void)
{
    static const char *const argv[] = {"cat", NULL};
    uco_process *p = spawn(argv, UCO_PIPE, UCO_PIPE);
    const char *line;
    intptr_t r;

    if (p == NULL)
        return;
    r = MAY(uco_stream_write(uco_process_stdin(p), "hello\n", 6), PROCESS_ERRORS);
    if (r >= 0)
        r = MAY(uco_stream_drain(uco_process_stdin(p)), PROCESS_ERRORS);
    if (r >= 0)
        r = MAY(uco_stream_read_line(uco_process_stdout(p), &line), PROCESS_ERRORS);
    MUST(r <= 0 || (r == 6 && memcmp(line, "hello\n", 6) == 0));
    MAY(uco_process_close_stdin(p), PROCESS_ERRORS);
    uco_process_free(p);
}

static void
processes_run(void)
{
    process_ends();
    process_is_killed();
    process_talks();
}

/* Signals */

static void
signal_counts(void *arg)
{
    ++*(int *) arg;
}

static intptr_t
body_raises(void *arg)
{
    (void) arg;
    return raise(SIGUSR1);
}

static intptr_t
body_waits(void *arg)
{
    (void) arg;
    return uco_signal_wait(SIGUSR1);
}

static void
signals_run(void)
{
    uco_loop *loop = uco_get_running_loop();
    bool handled, remembered;
    struct sigaction after;
    int called = 0;
    uco_task *task;
    intptr_t r;

    remembered = MAY(uco_signal_remember(SIGUSR1), ENOMEM, THE_ERROR) == 0;
    handled = MAY(uco_loop_add_signal_handler(loop, SIGUSR1, signal_counts, &called), ENOMEM,
                  THE_ERROR) == 0;
    if (remembered || handled) {
        MADE(task, uco_create_task(body_raises, NULL), ENOMEM);
        r = MAY(uco_join(task), ENOMEM);
        if (remembered && r == 0) {
            r = uco_with_timeout(5, body_waits, NULL);
            MUST(r == 0 || !torture_clean());
        }
        SURE(uco_test_settle());
        MUST(called == (handled && r == 0) || !torture_clean());
    }
    if (remembered)
        SURE(uco_signal_forget(SIGUSR1));
    if (handled)
        SURE(uco_loop_remove_signal_handler(loop, SIGUSR1));
    MUST(sigaction(SIGUSR1, NULL, &after) == 0);
    MUST(after.sa_handler == SIG_DFL || !torture_clean());
    signal(SIGUSR1, SIG_DFL);
}

/* Names: what no name server is asked for */

static void
name_is(const char *node, const char *service, int flags)
{
    const struct addrinfo hints = {
        .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;

    if (MAY(uco_getaddrinfo(node, service, &hints, &list), THE_ERROR, ENOMEM, EAGAIN, EIO) < 0) {
        MUST(list == NULL);
        return;
    }
    MUST(list->ai_family == AF_INET && list->ai_socktype == SOCK_STREAM);
    uco_freeaddrinfo(list);
}

/* A name of a service is looked up by a thread, also where it is unknown. */
static intptr_t
body_asks(void *arg)
{
    struct addrinfo *list = NULL;
    int r = uco_getaddrinfo("127.0.0.1", "no-such-service-at-all", arg, &list);

    MUST(r < 0 && list == NULL);
    MUST(r == -ENOENT || !torture_clean());
    return 0;
}

static void
names_run(void)
{
    uco_task *tasks[3];

    name_is("127.0.0.1", "80", 0);
    name_is("localhost", "80", 0);
    name_is(NULL, "80", AI_PASSIVE);
    for (size_t i = 0; i < COUNT(tasks); i++)
        MADE(tasks[i], uco_create_task(body_asks, NULL), ENOMEM);
    MAY(uco_gather_all(tasks, COUNT(tasks), NULL), ENOMEM);
    for (size_t i = 0; i < COUNT(tasks); i++)
        MAY(uco_join(tasks[i]), ENOMEM);
}

const struct scenario torture_processes = {.name = "processes", .run = processes_run, .real = true};
const struct scenario torture_signals = {.name = "signals", .run = signals_run};
const struct scenario torture_names = {.name = "names", .run = names_run};
