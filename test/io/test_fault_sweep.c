/* SPDX-License-Identifier: MIT */

/*
 * Each system call that uco makes, and each allocation, fails in turn, in a small program of each
 * part of <uco/uco.h> that talks to the system, on each backend: the first call of a name, the
 * second, and so on until the program makes no more of them.
 *
 * 1. Whatever fails, a run ends: with success, or with an error that its calls are said to give. A
 *    failure that passes never takes more than a moment of the loop's time.
 * 2. When the failure is over, the same loop does the same without an error.
 * 3. After each run there are as many fds, threads and children as before, and mappings do not add
 *    up.
 *
 * EINTR comes once at a time: what is always interrupted is tried for ever, and rightly so.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "server_scene.h"

#include "torture/failures.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <uco/file.h>
#include <uco/name.h>
#include <uco/net.h>
#include <uco/process.h>
#include <uco/signal.h>
#include <uco/tls.h>

#if defined(__SANITIZE_THREAD__)
#define URING_UNWATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define URING_UNWATCHED 1
#endif
#endif

struct sweep;

/* A small program. */
typedef intptr_t program_fn(const struct sweep *sweep);

struct program {
    program_fn *run;
    bool real;    /* needs the real clock: a process does not hold the virtual one */
    bool disk;    /* what a disk says is passed on, whatever it is */
    bool network; /* the other side may have to give it up, and may be waited for in vain */
};

struct sweep {
    const struct program *program;
    const struct failure *failure;
    struct failure_mode mode;
    unsigned long nth;
    intptr_t first; /* the result with the failure */
};

/* Echo over a server and streams */

static intptr_t
stream_exchange(uco_stream *s)
{
    const char *line;
    ssize_t r = uco_stream_printf(s, "hello\n");

    if (r >= 0)
        r = uco_stream_read_line(s, &line);
    if (r == 0)
        return -ECONNRESET; /* the other side had to give it up */
    if (r > 0) {
        ck_assert_int_eq(r, 6);
        ck_assert_mem_eq(line, "hello\n", 6);
    }
    return r;
}

static intptr_t
echo(const struct sweep *sweep)
{
    uco_server *server = uco_server_start("127.0.0.1", 0, echoes, NULL);
    uco_stream *s;
    intptr_t r;

    (void) sweep;
    if (server == NULL)
        return -errno;
    s = uco_stream_dial("127.0.0.1", uco_server_port(server));
    r = s == NULL ? -errno : stream_exchange(s);
    uco_stream_close(s);
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    return r;
}

/* The same with bare fds */

static intptr_t
answers(void *arg)
{
    char buf[8];
    int fd = uco_accept4(*(int *) arg, NULL, NULL, SOCK_CLOEXEC);
    ssize_t r;

    if (fd < 0)
        return fd;
    r = uco_recv(fd, buf, sizeof buf, 0);
    if (r > 0)
        r = uco_send(fd, buf, (size_t) r, 0);
    uco_close(fd);
    return r;
}

static intptr_t
asks(void *arg)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    char buf[8];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t r;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(getsockname(*(int *) arg, (struct sockaddr *) &address, &size), 0);
    r = uco_connect(fd, (struct sockaddr *) &address, size);
    if (r >= 0)
        r = uco_send(fd, "hello", 5, 0);
    if (r >= 0)
        r = uco_recv(fd, buf, sizeof buf, 0);
    uco_close(fd);
    return r == 0 ? -ECONNRESET : r;
}

static intptr_t
sockets(const struct sweep *sweep)
{
    int listener = uco_listen("127.0.0.1", 0, 0);
    uco_task *tasks[2];
    int r;

    (void) sweep;
    if (listener < 0)
        return listener;
    tasks[0] = uco_create_task(answers, &listener);
    tasks[1] = uco_create_task(asks, &listener);
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    uco_close(listener);
    return r;
}

/* TLS. The certificate is its own authority. */

static char certificate[] = "/tmp/uco-sweep-XXXXXX";
static char key[] = "/tmp/uco-sweep-XXXXXX";
static bool has_certificate;

static intptr_t
tls(const struct sweep *sweep)
{
    uco_tls_options server_side = {.server = true, .cert_file = certificate, .key_file = key};
    uco_tls_options client_side = {.host = "localhost", .ca_file = certificate};
    uco_server_options options = {.host = "127.0.0.1", .tls = &server_side, .reuse_port = true};
    uco_server *server = uco_server_start_with(&options, echoes, NULL);
    uco_stream *s;
    intptr_t r;

    (void) sweep;
    if (server == NULL)
        return -errno;
    s = uco_stream_dial("127.0.0.1", uco_server_port(server));
    r = s == NULL ? -errno : uco_stream_start_tls(s, &client_side);
    if (r >= 0)
        r = stream_exchange(s);
    uco_stream_close(s);
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    return r;
}

/* A process */

static intptr_t
process(const struct sweep *sweep)
{
    const char *const argv[] = {"cat", NULL};
    uco_process_options options = {.argv = argv, .stdin_fd = UCO_PIPE, .stdout_fd = UCO_PIPE};
    uco_process *p = uco_process_spawn(&options);
    char *out = NULL;
    size_t size = 0;
    intptr_t r;

    if (p == NULL)
        return -errno;
    r = uco_process_communicate(p, "hello", 5, &out, &size, NULL, NULL);
    if (r == 0) {
        /* One that nobody writes to may be one that does not read. */
        ck_assert(size == 5 || (size == 0 && sweep->failure->error == EPIPE));
        ck_assert_str_eq(out, size == 0 ? "" : "hello");
    }
    free(out);
    uco_process_free(p);
    return r;
}

/* A name */

static int (*libc_getaddrinfo)(const char *, const char *, const struct addrinfo *,
                               struct addrinfo **);

static __attribute__((constructor)) void
find_libc_getaddrinfo(void)
{
    *(void **) &libc_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
}

/* The library, which is linked with its objects, asks this one: localhost costs no question to a
 * name server, whatever the machine's files say. */
int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    if (node != NULL && strcmp(node, "localhost") == 0)
        node = "127.0.0.1";
    return libc_getaddrinfo(node, service, hints, result);
}

static intptr_t
name(const struct sweep *sweep)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int listener = uco_listen(NULL, 0, 0); /* whatever addresses the name has */
    struct sockaddr_in6 address;
    socklen_t size = sizeof address;
    intptr_t r;

    (void) sweep;
    if (listener < 0)
        return listener;
    r = uco_getaddrinfo("localhost", "80", &hints, &list);
    if (r >= 0) {
        uco_freeaddrinfo(list);
        ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &size), 0);
        r = uco_dial("localhost", ntohs(address.sin6_port));
        if (r >= 0)
            uco_close((int) r);
    }
    uco_close(listener);
    return r;
}

/* A file */

static intptr_t
file_steps(int fd)
{
    int ends[2];
    char buf[8] = "";
    off_t offset = 0;
    ssize_t r = uco_pwrite(fd, "hello", 5, 0);

    if (r >= 0)
        r = uco_fsync(fd);
    if (r >= 0)
        r = uco_pread(fd, buf, sizeof buf, 0);
    if (r < 0)
        return r;
    ck_assert_str_eq(buf, "hello");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    r = uco_sendfile(ends[0], fd, &offset, 5);
    if (r >= 0) {
        ck_assert_int_eq(r, 5);
        ck_assert_int_eq(recv(ends[1], buf, sizeof buf, MSG_DONTWAIT), 5);
    }
    uco_close(ends[0]);
    uco_close(ends[1]);
    return r;
}

static intptr_t
file(const struct sweep *sweep)
{
    char path[64];
    intptr_t r;
    int fd;

    (void) sweep;
    snprintf(path, sizeof path, "/tmp/uco-sweep-%d", (int) getpid());
    fd = uco_open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fd;
    unlink(path);
    r = file_steps(fd);
    uco_close(fd);
    return r;
}

/* A signal */

static intptr_t
raises(void *arg)
{
    (void) arg;
    return raise(SIGUSR1);
}

static intptr_t
signals(const struct sweep *sweep)
{
    int r = uco_signal_remember(SIGUSR1);
    uco_task *task;

    (void) sweep;
    if (r < 0)
        return r;
    task = uco_create_task(raises, NULL);
    r = task == NULL ? -ENOMEM : uco_signal_wait(SIGUSR1);
    uco_join(task);
    ck_assert_int_eq(uco_signal_forget(SIGUSR1), 0);
    return r;
}

/* The sweep */

static intptr_t
program_run(void *arg)
{
    const struct sweep *sweep = arg;

    return sweep->program->run(sweep);
}

static intptr_t
swept(void *arg)
{
    struct sweep *sweep = arg;
    intptr_t r;

    sweep->first = uco_with_timeout(sweep->program->real ? 10 : 600, program_run, sweep);
    if (sweep->mode.to_the_end)
        return 0;
    uco_test_fail_off();
    r = uco_with_timeout(sweep->program->real ? 10 : 600, program_run, sweep);
    ck_assert_msg(r >= 0, "%s (%d), number %lu%s: afterwards %ld", sweep->failure->what,
                  sweep->failure->error, sweep->nth, sweep->mode.for_ever ? " and on" : "",
                  (long) r);
    return 0;
}

static bool
is_allowed(const struct sweep *sweep, intptr_t r)
{
    const struct failure *failure = sweep->failure;
    bool hidden = (failure->flags & FAILURE_HIDDEN) != 0;
    bool untrue = (failure->flags & FAILURE_UNTRUE) != 0;

    if (r >= 0)
        return true;
    if (r == -failure->error)
        return failure->error != ENOSYS && (!hidden || (untrue && sweep->program->disk));
    if (failure->fault == UCO__FAULT_pthread_create)
        return r == -ENOMEM;
    if (!sweep->program->network || (hidden && !untrue))
        return false;
    if (r == -ETIMEDOUT)
        return untrue || sweep->mode.for_ever || (failure->flags & FAILURE_KEEPS_FDS) != 0;
    return r == -ECONNRESET || r == -EPIPE;
}

/* Threads that nobody waits for any more may hold one for a moment. */
static void
fds_are(int before)
{
    for (int i = 0; i < 5000 && count_fds() != before; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert_int_eq(count_fds(), before);
}

/* What the C library keeps of threads and their memory. */
#define MAPS_MORE 24

/* Seconds for one program, on a machine that does much else. */
#define TIMEOUT 240

#define FDS_MAX 128

static void
fds_note(bool open[FDS_MAX])
{
    for (int fd = 0; fd < FDS_MAX; fd++)
        open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static void
fds_close_others(const bool open[FDS_MAX])
{
    for (int fd = 0; fd < FDS_MAX; fd++)
        if (!open[fd])
            close(fd);
}

/* Whether there were so many calls. */
static bool
sweep_once(struct sweep *sweep, enum uco_backend backend)
{
    const struct failure *failure = sweep->failure;
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    int fds = count_fds();
    bool open[FDS_MAX];
    bool reached = true;
    intptr_t r;

    fds_note(open);
    options.backend = backend;
    options.clock = sweep->program->real ? UCO_CLOCK_REAL : UCO_CLOCK_VIRTUAL;
    sweep->first = 0;
    ck_assert_int_eq(uco_test_fail(failure->what, sweep->nth, sweep->mode.for_ever, failure->error),
                     0);
    r = uco_run_with(&options, swept, sweep);
    for (unsigned long i = 0; i < sweep->nth && sweep->mode.to_the_end; i++)
        reached &= uco__fault(failure->fault) == 0;
    uco_test_fail_off();
    r = r < 0 ? r : sweep->first;
    ck_assert_msg(is_allowed(sweep, r), "%s (%d), number %lu%s: %ld", failure->what, failure->error,
                  sweep->nth, sweep->mode.for_ever ? " and on" : "", (long) r);
    if ((failure->flags & FAILURE_KEEPS_FDS) != 0)
        fds_close_others(open);
    fds_are(fds);
    while ((failure->flags & FAILURE_KEEPS_CHILD) != 0 && waitpid(-1, NULL, 0) > 0)
        continue;
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    return reached;
}

static void
sweep_failure(const struct program *program, const struct failure *failure,
              enum uco_backend backend)
{
    struct sweep sweep = {.program = program, .failure = failure};
    bool reached = true;

    for (sweep.nth = 1; reached; sweep.nth++) {
        for (size_t i = 0; i < FAILURE_MODES; i++) {
            sweep.mode = failure_modes[i];
            if (sweep.mode.for_ever && (failure->flags & FAILURE_HIDDEN) != 0)
                continue;
            if (i == 0)
                reached = sweep_once(&sweep, backend);
            else
                sweep_once(&sweep, backend);
        }
    }
}

static const struct program programs[] = {
    {.run = echo, .network = true},
    {.run = sockets, .network = true},
    {.run = tls, .network = true},
    {.run = process, .real = true},
    {.run = name, .network = true},
    {.run = file, .disk = true},
    {.run = signals},
};

static void
sweep_program(const struct program *program, enum uco_backend backend)
{
    const struct failure none = {.what = "malloc", .error = ENOMEM};
    struct sweep clean = {.program = program, .failure = &none, .nth = 100000};

    for (int i = 0; i < 2; i++)
        sweep_once(&clean, backend);
    for (size_t i = 0; i < FAILURE_COUNT; i++) {
        int maps = count_maps();

        /* In real time that would take long: a program whose input is never closed never ends. */
        if (program->real && (failures[i].flags & (FAILURE_KEEPS_FDS | FAILURE_DEAF)) != 0)
            continue;
        sweep_failure(program, &failures[i], backend);
        if (!under_sanitizer() && (failures[i].flags & FAILURE_KEEPS_MAPS) == 0)
            ck_assert_int_le(count_maps(), maps + MAPS_MORE);
    }
}

/* Whether this machine and this build have what it takes. */
static bool
can_run(const struct program *program, enum uco_backend backend)
{
    uco_loop_options options = {.backend = backend};
    uco_tls_options client = {.insecure = true};

#ifdef URING_UNWATCHED
    if (backend == UCO_BACKEND_IO_URING)
        return false;
#endif
    if (backend == UCO_BACKEND_IO_URING &&
        (getenv("UCO_TEST_VALGRIND") != NULL || uco_run_with(&options, body_return, NULL) < 0))
        return false;
    if (program->run != tls)
        return true;
    return has_certificate && (uco_tls_context_new(&client) != NULL || errno != ENOSYS);
}

START_TEST(whatever_fails_is_told)
{
    if (can_run(&programs[_i], UCO_BACKEND_EPOLL))
        sweep_program(&programs[_i], UCO_BACKEND_EPOLL);
    else
        test_skipped("no TLS in this build, or no openssl to make a certificate");
}
END_TEST

START_TEST(whatever_fails_is_told_on_io_uring)
{
    if (can_run(&programs[_i], UCO_BACKEND_IO_URING))
        sweep_program(&programs[_i], UCO_BACKEND_IO_URING);
    else
        test_skipped("no io_uring here, or no TLS");
}
END_TEST

/* What the sweep has found, once more by itself */

/*
 *   the ring            the server                       the memory
 *   accepts ahead       waits                            is gone
 *   has 3 connections   cannot be told of them
 *                       closes, and its loop
 *   gives them up
 */
static intptr_t
connections_without_memory(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    int clients[3];

    (void) arg;
    ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    for (size_t i = 0; i < COUNT(clients); i++)
        clients[i] = tcp_connect(uco_server_port(server));
    ck_assert_int_eq(uco_sleep(0.001), 0);
    for (size_t i = 0; i < COUNT(clients); i++)
        close(clients[i]);
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    return 0;
}

static void
run_on_io_uring(uco_fn *fn)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.backend = UCO_BACKEND_IO_URING;
    options.clock = UCO_CLOCK_REAL;
    if (can_run(&programs[0], UCO_BACKEND_IO_URING))
        ck_assert_int_eq(uco_run_with(&options, fn, NULL), 0);
    else
        test_skipped("no io_uring here");
    uco_test_fail_off();
}

START_TEST(connections_that_nobody_could_be_told_of_are_closed)
{
    run_on_io_uring(connections_without_memory);
}
END_TEST

static bool
make_certificate(void)
{
    char command[512];

    close(mkstemp(certificate));
    close(mkstemp(key));
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
             " -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout %s -out %s"
             " >/dev/null 2>&1",
             key, certificate);
    return system(command) == 0;
}

int
main(void)
{
    Suite *suite = suite_create("fault_sweep");
    TCase *tcase = case_new(suite, "epoll");
    int r;

    has_certificate = make_certificate();
    tcase_set_timeout(tcase, TIMEOUT);
    tcase_add_loop_test(tcase, whatever_fails_is_told, 0, COUNT(programs));
    tcase = case_new(suite, "io_uring");
    tcase_set_timeout(tcase, TIMEOUT);
    tcase_add_loop_test(tcase, whatever_fails_is_told_on_io_uring, 0, COUNT(programs));
    tcase_add_test(tcase, connections_that_nobody_could_be_told_of_are_closed);
    r = suite_end(suite);
    unlink(certificate);
    unlink(key);
    return r;
}
