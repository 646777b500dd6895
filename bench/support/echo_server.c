/* SPDX-License-Identifier: MIT */

/*
 * 1. A server is always a program that is started: one of this program's own is this program with
 *    --serve. So none begins with what another one has left in memory, or with this process's.
 * 2. It prints its port when it listens, and whatever happens to the benchmark, it goes with it.
 */

#include "echo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <uco/uco.h>
#include <unistd.h>

enum {
    START_MS = 20 * 1000,
    FDS = 20 * 1000,
    OTHER_FDS = 20, /* that a server has, or the client */
    SERVER_PLACE = 0,
    CLIENT_PLACE = 1,
    ARGUMENTS_MAX = 6,
};

/* --- the program's arguments --- */

static double
argument_number(const char *text, double most)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || *end != '\0' || !(number > 0) || number > most)
        echo_die("%s: a number above 0, up to %.0f, is wanted", text, most);
    return number;
}

const struct echo_subject *
echo_subject_named(const char *name)
{
    for (const struct echo_subject *subject = echo_subjects; subject->name != NULL; subject++) {
        if (strcmp(subject->name, name) == 0)
            return subject;
    }
    return NULL;
}

static void
fds_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        echo_die("getrlimit: %s", strerror(errno));
    if (limit.rlim_max < FDS) {
        struct rlimit more = {.rlim_cur = FDS, .rlim_max = FDS};

        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return;
    }
    limit.rlim_cur = limit.rlim_max < FDS ? limit.rlim_max : FDS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static size_t
subject_arguments(const struct echo_subject *subject, const char *port, const char *arguments[])
{
    size_t count = 0;

    if (subject->serve != NULL) {
        arguments[count++] = "/proc/self/exe";
        arguments[count++] = "--serve";
        arguments[count++] = subject->name;
        arguments[count++] = port;
    } else {
        arguments[count++] = subject->peer.path;
        if (subject->peer.script != NULL)
            arguments[count++] = subject->peer.script;
        arguments[count++] = port;
        if (subject->peer.loop != NULL)
            arguments[count++] = subject->peer.loop;
    }
    arguments[count] = NULL;
    return count;
}

static int
serve_alone(const char *name, const char *port)
{
    const struct echo_subject *subject = echo_subject_named(name);
    const char *arguments[ARGUMENTS_MAX];
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    if (subject == NULL) {
        fprintf(stderr, "no subject %s; there are:", name);
        for (subject = echo_subjects; subject->name != NULL; subject++)
            fprintf(stderr, " %s", subject->name);
        fputc('\n', stderr);
        return 2;
    }
    if (end == port || *end != '\0' || number > UINT16_MAX)
        echo_die("%s: no port", port);
    fds_raise();
    if (subject->serve != NULL) {
        subject->serve((uint16_t) number, &subject->way);
        return 1;
    }
    if (echo_subject_lacks(subject, 1) != NULL)
        echo_die("%s: %s", name, echo_subject_lacks(subject, 1));
    subject_arguments(subject, port, arguments);
    execv(arguments[0], (char **) (uintptr_t) arguments);
    echo_die("%s: %s", arguments[0], strerror(errno));
}

static void
mark_nothing(void *arg, bool over)
{
    (void) arg;
    (void) over;
}

static int
client_alone(char **arguments)
{
    uint16_t port = (uint16_t) argument_number(arguments[0], UINT16_MAX);
    const struct echo_load load = {
        .connections = (size_t) argument_number(arguments[1], 1e6),
        .size = (size_t) argument_number(arguments[2], ECHO_SIZE_MAX),
        .seconds = argument_number(arguments[3], 1e6),
        .warm = 0.2,
    };
    struct echo_figures figures;

    fds_raise();
    if (!echo_client_exchange(port, &load, mark_nothing, NULL, &figures))
        return 1;
    printf("%.0f messages/s, p50 %.1f us, p99 %.1f us\n", (double) figures.count / figures.seconds,
           figures.p50, figures.p99);
    return 0;
}

bool
echo_alone(int argc, char **argv, int *status)
{
    if (argc == 4 && strcmp(argv[1], "--serve") == 0)
        *status = serve_alone(argv[2], argv[3]);
    else if (argc == 6 && strcmp(argv[1], "--client") == 0)
        *status = client_alone(argv + 2);
    else
        return false;
    return true;
}

void
echo_begin(void)
{
    fds_raise();
    bench_pin(CLIENT_PLACE);
}

/* --- what can be had --- */

#define URING_WITHOUT "this build or this kernel has no io_uring"

static bool
backend_is_here(enum uco_backend backend)
{
    const uco_loop_options options = {.backend = backend};
    uco_loop *loop = uco_loop_new(&options);

    if (loop == NULL)
        return false;
    uco_loop_close(loop);
    uco_loop_unref(loop);
    return true;
}

const char *
echo_subject_lacks(const struct echo_subject *subject, size_t connections)
{
    if (connections + OTHER_FDS > echo_fds_max())
        return "this process may not open so many files";
    if (subject->connections_max != 0 && connections > subject->connections_max)
        return subject->no_more;
    if (subject->serve == NULL)
        return peer_is_here(subject->peer.path) ? NULL : PEER_WITHOUT;
    if (subject->serve == echo_serve_floor_uring)
        return echo_uring_is_here() ? NULL : URING_WITHOUT;
    return backend_is_here(subject->way.backend) ? NULL : URING_WITHOUT;
}

/* --- a server's process --- */

static _Noreturn void
server_run(const struct echo_subject *subject, int output, pid_t parent)
{
    const char *arguments[ARGUMENTS_MAX];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(output, STDOUT_FILENO) < 0)
        _exit(1);
    bench_pin(SERVER_PLACE);
    subject_arguments(subject, "0", arguments);
    execv(arguments[0], (char **) (uintptr_t) arguments);
    fprintf(stderr, "starting %s: %s\n", arguments[0], strerror(errno));
    _exit(1);
}

/* 0 when it tells none. */
static uint16_t
port_read(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    char text[16];
    size_t length = 0;

    while (length < sizeof text - 1 && memchr(text, '\n', length) == NULL) {
        ssize_t n;

        if (poll(&wanted, 1, START_MS) <= 0)
            return 0;
        n = read(fd, text + length, sizeof text - 1 - length);
        if (n <= 0)
            return 0;
        length += (size_t) n;
    }
    text[length] = '\0';
    return (uint16_t) strtoul(text, NULL, 10);
}

bool
echo_server_start(struct echo_server *server, const struct echo_subject *subject)
{
    pid_t parent = getpid();
    int ends[2];

    *server = (struct echo_server){.subject = subject};
    if (pipe2(ends, O_CLOEXEC) < 0)
        bench_die("a pipe: %s", strerror(errno));
    fflush(NULL);
    server->pid = fork();
    if (server->pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (server->pid == 0)
        server_run(subject, ends[1], parent);
    close(ends[1]);
    server->port = port_read(ends[0]);
    close(ends[0]);
    if (server->port != 0 && clock_getcpuclockid(server->pid, &server->processor) == 0)
        return true;
    fprintf(stderr, "%s: its server has not started\n", subject->what);
    echo_server_stop(server);
    return false;
}

bool
echo_server_stop(struct echo_server *server)
{
    int status;
    bool ended;

    ended = waitpid(server->pid, &status, WNOHANG) != 0;
    if (ended) {
        fprintf(stderr, "%s: its server has ended\n", server->subject->what);
        return false;
    }
    kill(server->pid, SIGKILL);
    while (waitpid(server->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return true;
}

double
echo_server_time(const struct echo_server *server)
{
    struct timespec used = {0};

    clock_gettime(server->processor, &used);
    return (double) used.tv_sec + (double) used.tv_nsec / 1e9;
}
