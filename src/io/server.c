/* SPDX-License-Identifier: MIT */

/*
 * Servers.
 *
 * 1. The accepting task is the loop's, and the parent of its connections' tasks. So rule 5 of the
 *    API ends these: when it returns, those that are left are cancelled and waited for.
 * 2. It suspends in one place (acceptor_park()), and whoever wakes it changes nothing else: it
 *    looks at everything again.
 * 3. Memory for a connection is taken before it is accepted, and one whose task cannot be made
 *    waits in `next`: what was accepted is not lost.
 * 4. A connection's stream is freed when nobody can know it any more: with the handler's end, or
 *    with the last of the tasks that the handler has started.
 */

#include "io/server.h"

#include "base/error.h"
#include "base/random.h"
#include "base/system.h"
#include "core/dump.h"
#include "core/inflow.h"
#include "core/report.h"
#include "io/fd.h"
#include "io/stream.h"
#include "task/deadlock.h"

#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <uco/io.h>
#include <uco/scope.h>

#define TLS_TIMEOUT 60.0 /* seconds */
/* Seconds that accepting pauses for when it cannot go on, on average. */
#define PAUSE 0.1
/* Connections in a row that were gone when they were accepted; then it pauses. */
#define PASSED_MAX 64

/* --- the accepting task's wait --- */

static void
acceptor_wake(struct uco_server *server)
{
    if (server->waiting != NULL)
        uco__wake(server->waiting, 0);
}

static void
acceptor_readable(struct uco__fd_wait *wait, int result)
{
    struct uco_server *server = UCO__CONTAINER(wait, struct uco_server, readable);

    if (server->waiting != NULL)
        uco__wake(server->waiting, result);
}

static void
acceptor_time_out(struct uco__timer *timer)
{
    acceptor_wake(UCO__CONTAINER(timer, struct uco_server, timer));
}

struct acceptor_wait {
    struct uco__wait wait;
    const struct uco_server *server;
};

/* "a connection (port 8080, 3 are open)". */
static bool
acceptor_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco__wait_kind kind;
    struct acceptor_wait self;
    struct uco_server server;

    if (!UCO__DUMP_READ_AROUND(dump, &self, wait, struct acceptor_wait, wait) ||
        !UCO__DUMP_GET(dump, &server, self.server) || !UCO__DUMP_GET(dump, &kind, self.wait.kind))
        return false;
    uco__dump_string(dump, kind.text);
    uco__dump_text(dump, server.tcp ? " (port " : " (fd ");
    uco__dump_number(dump, server.tcp ? server.port : (uint64_t) (server.fd > 0 ? server.fd : 0));
    uco__dump_text(dump, ", ");
    uco__dump_number(dump, server.connections);
    uco__dump_text(dump, server.connections == 1 ? " is open)" : " are open)");
    uco__dump_limit(dump, &self.server->timer);
    return true;
}

static UCO__WAIT_KIND(wait_connection, "a connection", acceptor_describe);
static UCO__WAIT_KIND(wait_needed, "what is needed for a connection", acceptor_describe);
static UCO__WAIT_KIND(wait_room, "a connection to end, since no more are allowed",
                      acceptor_describe);
static UCO__WAIT_KIND(wait_close, "the server's close", acceptor_describe);
static UCO__WAIT_KIND(wait_connections, "a server's connections to end", acceptor_describe);

/* Until something happens: a connection, the end of one, the deadline, the close. 0, -ECANCELED, or
 * the listening fd's error. */
static int
acceptor_park(struct uco_server *server, const struct uco__wait_kind *kind, uint64_t deadline)
{
    struct acceptor_wait self = {.server = server};
    intptr_t r;

    uco__wait_init(&self.wait, kind, uco__wait_abort_plain);
    server->waiting = &self.wait;
    uco__timer_start(server->loop, &server->timer, deadline);
    r = uco__task_park_here(server->task, &self.wait);
    uco__timer_stop(server->loop, &server->timer);
    uco__poller_unwait(&server->loop->poller, &server->readable);
    server->waiting = NULL;
    return r == UCO__INTERRUPTED ? -ECANCELED : (int) r;
}

static int
acceptor_wait_connection(struct uco_server *server)
{
    int r = uco__poller_wait(&server->loop->poller, &server->readable);

    return r < 0 ? r : acceptor_park(server, &wait_connection, UCO__NEVER);
}

/* The pauses of several servers, which may have the same reason, shall not go in step: not with
 * other processes' on the real clock, and each time alike under a seed and on a virtual one. */
static int
acceptor_pause(struct uco_server *server, int error)
{
    const uco_loop_options *options = &server->loop->options;
    uint64_t own = options->clock == UCO_CLOCK_REAL && options->seed == 0 ? (uintptr_t) server
                                                                          : server->task->id;
    uint64_t state = uco__loop_now(server->loop) ^ own;
    double part = (double) (uco__random_next(&state) >> 11) / (double) (UINT64_C(1) << 53);
    uint64_t end = uco__clock_after(uco__loop_now(server->loop), PAUSE * (0.75 + part / 2));
    int r = 0;

    if (!server->pausing)
        uco__report(server->loop, &server->task->future,
                    "the server on port %u cannot accept: %s; it tries again every 100 ms",
                    server->port, uco_strerror(error));
    server->pausing = true;
    while (r == 0 && !server->closing && uco__loop_now(server->loop) < end)
        r = acceptor_park(server, &wait_needed, end);
    return r;
}

/* --- connections --- */

/* What is to be expected of connections. */
static bool
error_is_silent(intptr_t error)
{
    return error >= 0 || error == -ECONNRESET || error == -EPIPE || error == -ECANCELED ||
           error == -ETIMEDOUT || error == -ENODATA;
}

static void
connection_ended(struct uco_server *server)
{
    server->connections--;
    acceptor_wake(server);
}

/* Instead of the task's body. */
static void
connection_discard(void *arg)
{
    struct uco_stream *s = arg;
    struct uco_server *server = s->server;

    server->starved = true;
    uco__stream_destroy(s);
    connection_ended(server);
}

/* The handler's tasks have ended too. */
static void
connection_free(struct uco__waiter *waiter, struct uco_future *future)
{
    (void) future;
    uco__stream_destroy(UCO__CONTAINER(waiter, struct uco_stream, ended));
}

/* Who does not speak TLS, or has no good certificate, is no more to speak of than who hangs up. */
static intptr_t
connection_start_tls(const struct uco_server *server, struct uco_stream *s)
{
    const uco_tls_options options = {.server = true, .context = server->tls};
    uco_scope scope;
    int r = uco_scope_open(&scope, server->tls_timeout);

    if (r == 0)
        r = (int) uco_scope_close(&scope, uco_stream_start_tls(s, &options));
    return r == -EPROTO || r == -EKEYREJECTED ? -ECONNRESET : r;
}

static intptr_t
connection_run(void *arg)
{
    struct uco_stream *s = arg;
    struct uco_server *server = s->server;
    struct uco__task *task = uco__task_here();
    intptr_t r = server->tls != NULL ? connection_start_tls(server, s) : 0;

    if (r == 0)
        r = server->handler(s, server->arg);
    if (!error_is_silent(r))
        uco__report(server->loop, &task->future,
                    "task '%s', a connection of the server on port %u, ended with: %s",
                    uco__task_name(task), server->port, uco_strerror((int) r));
    uco__stream_shut(s, task);
    s->ended = (struct uco__waiter){.notify = connection_free};
    if (UCO__LIKELY(uco__list_empty(&task->children)) ||
        !uco__future_add_waiter(&task->future, &s->ended))
        uco__stream_destroy(s);
    connection_ended(server);
    return 0; /* what there was to say was said */
}

/* A task for the stream in `next`: 0 or -ENOMEM. */
static int
connection_start(struct uco_server *server)
{
    int error;
    struct uco__task *task =
        uco__task_new(server->loop, &server->connection, connection_run, server->next, &error);

    if (task == NULL)
        return error;
    task->file = server->resource.file;
    task->line = server->resource.line;
    server->next = NULL;
    server->connections++;
    uco__task_adopt(task, server->task);
    uco_unref(&task->future);
    return 0;
}

/* --- accepting --- */

/* 0, or an error of accept4() or for want of memory. */
static int
accept_one(struct uco_server *server)
{
    int fd;

    if (server->next == NULL) {
        server->next = uco__stream_make(server->loop);
        if (server->next == NULL)
            return -ENOMEM;
        server->next->server = server;
    }
    if (server->next->fd < 0) {
        fd = uco__poller_accept(&server->loop->poller, server->fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -EOPNOTSUPP)
            fd = (int) UCO__SYSTEM(accept4,
                                   accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (fd < 0)
            return fd;
        uco__stream_attach(server->next, fd, true, server->tcp);
    }
    return connection_start(server);
}

/* The connection was gone before it was accepted, or the network had an error to tell: the next one
 * may be well (accept(2)). */
static bool
error_passes(int error)
{
    return error == -EINTR || error == -ECONNABORTED || error == -EPROTO || error == -EPERM ||
           error == -ENETDOWN || error == -ENOPROTOOPT || error == -EHOSTDOWN || error == -ENONET ||
           error == -EHOSTUNREACH || error == -ENETUNREACH || error == -EOPNOTSUPP;
}

static bool
error_is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS ||
           error == -ENOSPC;
}

/* One step of the accepting task: 0, -ECANCELED, or an error after which there is no going on. */
static int
acceptor_step(struct uco_server *server)
{
    int r = uco__task_checkpoint(server->task);

    if (r < 0)
        return r;
    if (server->connections >= server->max_connections)
        return acceptor_park(server, &wait_room, UCO__NEVER);
    r = server->starved ? -ENOMEM : accept_one(server);
    server->starved = false;
    if (r == 0)
        server->passed = 0;
    if (r == -EAGAIN) {
        server->pausing = false; /* the backlog is empty: whatever it was is over */
        r = acceptor_wait_connection(server);
    }
    if (error_passes(r))
        r = ++server->passed % PASSED_MAX != 0 ? 0 : acceptor_pause(server, r);
    else if (error_is_shortage(r))
        r = acceptor_pause(server, r);
    return r;
}

/* Closes the listening socket, and the connection that could not be served. */
static void
acceptor_stop(struct uco_server *server)
{
    uco_close(server->fd);
    server->fd = -1;
    if (server->next != NULL)
        uco__stream_destroy(server->next);
    server->next = NULL;
}

static intptr_t
acceptor_run(void *arg)
{
    struct uco_server *server = arg;
    uint64_t end;
    int r = 0;

    while (r == 0 && !server->closing)
        r = acceptor_step(server);
    acceptor_stop(server);
    if (r < 0 && r != -ECANCELED && !server->closing) {
        uco__report(server->loop, &server->task->future,
                    "the server on port %u has stopped accepting: %s", server->port,
                    uco_strerror(r));
        r = 0;
    }
    while (r != -ECANCELED && !server->closing)
        r = acceptor_park(server, &wait_close, UCO__NEVER);
    end = uco__clock_after(uco__loop_now(server->loop), server->grace);
    while (r != -ECANCELED && server->connections > 0 && uco__loop_now(server->loop) < end)
        r = acceptor_park(server, &wait_connections, end);
    return 0;
}

/* Instead of the task's body: the loop is closing, or there is no stack for it. */
static void
acceptor_discard(void *arg)
{
    struct uco_server *server = arg;

    if (!uco__scope_cancelled(server->task))
        uco__report(server->loop, &server->task->future,
                    "the server on port %u does not accept: there is no memory for its task",
                    server->port);
    acceptor_stop(server);
}

/* --- made --- */

static int
options_check(const uco_server_options *options, uco_stream_fn *handler)
{
    const uco_task_options connection = {.stack_size = options->stack_size};

    if (isnan(options->tls_timeout) || options->tls_timeout < 0 || options->fd < 0)
        return uco__misuse(-EINVAL, "uco_server_start: tls_timeout or fd is out of range");
    if (handler == NULL)
        return uco__misuse(-EINVAL, "uco_server_start: the handler is NULL");
    return uco__task_check_new(&connection, connection_run, "uco_server_start");
}

/* Whether a given fd listens for streams: 0 or an error. */
static int
listening_check(int fd)
{
    socklen_t size = sizeof(int);
    int accepts = 0, type = 0;
    int r =
        (int) UCO__SYSTEM(getsockopt, getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size));

    size = sizeof(int);
    if (r == 0)
        r = (int) UCO__SYSTEM(getsockopt, getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size));
    if (r == -ENOTSOCK || (r == 0 && (accepts == 0 || type != SOCK_STREAM)))
        return uco__misuse(-EINVAL, "uco_server_start: the fd is no listening stream socket");
    return r < 0 ? r : uco__set_nonblocking(fd);
}

/* 0: it has none. Or an error. */
static int
port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    long r = UCO__SYSTEM(getsockname, getsockname(fd, (struct sockaddr *) &address, &size));

    if (r < 0)
        return (int) r;
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *) &address)->sin6_port);
    return address.ss_family == AF_INET ? ntohs(((const struct sockaddr_in *) &address)->sin_port)
                                        : 0;
}

/* The server takes the listening fd. */
static void
server_take(struct uco_server *server, int fd)
{
    const int yes = 1;
    int protocol = 0;
    socklen_t size = sizeof protocol;

    server->fd = fd;
    server->tcp = UCO__RESULT(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size)) == 0 &&
                  protocol == IPPROTO_TCP;
    /* On Linux the connections inherit it, at no cost. Of no consequence when it fails. */
    if (server->tcp)
        (void) UCO__RESULT(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    server->readable =
        (struct uco__fd_wait){.fd = fd, .events = POLLIN, .notify = acceptor_readable};
    uco__poller_know(&server->loop->poller, fd, false);
}

static void
server_free(struct uco_server *server)
{
    if (server->task != NULL)
        uco_unref(&server->task->future);
    uco_tls_context_free(server->tls);
    uco__free(server);
}

/* The loop closes what its user has left open: no task is left, the accepting one included. */
static void
server_close_resource(struct uco__resource *resource)
{
    server_free(UCO__CONTAINER(resource, struct uco_server, resource));
}

static void
server_init(struct uco_server *server, struct uco_loop *loop, const uco_server_options *options)
{
    server->loop = loop;
    server->tls_timeout = options->tls_timeout != 0 ? options->tls_timeout : TLS_TIMEOUT;
    server->max_connections = options->max_connections != 0 ? options->max_connections : SIZE_MAX;
    server->connection.stack_size = options->stack_size;
    server->connection.discard = connection_discard;
    uco__timer_init(&server->timer, acceptor_time_out);
}

/* What all its connections share, if it has TLS: 0 or an error. Suspends to read the files. */
static int
server_set_tls(struct uco_server *server, const uco_tls_options *options)
{
    uco_tls_options own;

    if (options == NULL)
        return 0;
    if (options->context != NULL && !uco__tls_context_serves(options->context))
        return uco__misuse(-EINVAL, "uco_server_start: the TLS context is a client's");
    own = *options;
    own.server = true;
    server->tls = options->context != NULL ? uco_tls_context_ref(options->context)
                                           : uco_tls_context_new(&own);
    return server->tls != NULL ? 0 : -uco__errno_save();
}

/* 0 or an error: then the options' fd is still the caller's. */
static int
server_set_up(struct uco_server *server, const uco_server_options *options)
{
    static const uco_task_options acceptor = {.name = "a server", .discard = acceptor_discard};
    int error = server_set_tls(server, options->tls);
    int fd;

    if (error < 0)
        return error;
    fd = options->fd != 0 ? options->fd : uco__server_listen(options);
    if (fd < 0)
        return fd;
    error = port_of(fd);
    if (error >= 0) {
        server->port = (uint16_t) error;
        server->task = uco__task_new(server->loop, &acceptor, acceptor_run, server, &error);
    }
    if (server->task != NULL) {
        server_take(server, fd);
        return 0;
    }
    if (options->fd == 0)
        uco_close(fd);
    return error;
}

static struct uco_server *
server_start(const uco_server_options *options, uco_stream_fn *handler, void *arg, int *error)
{
    struct uco_loop *loop;
    struct uco_server *server;

    *error = options_check(options, handler);
    if (*error < 0)
        return NULL;
    loop = uco__loop_current(error);
    if (loop == NULL) {
        *error = uco__misuse(*error, "uco_server_start: outside a running loop");
        return NULL;
    }
    *error = loop->ending ? -ESHUTDOWN : options->fd != 0 ? listening_check(options->fd) : 0;
    if (*error < 0)
        return NULL;
    server = uco__allocate(sizeof *server);
    *error = -ENOMEM;
    if (server == NULL)
        return NULL;
    server_init(server, loop, options);
    server->handler = handler;
    server->arg = arg;
    *error = server_set_up(server, options);
    if (*error == 0)
        return server;
    server_free(server);
    return NULL;
}

uco_server *
uco_server_start_at(const char *file, int line, const uco_server_options *options,
                    uco_stream_fn *handler, void *arg)
{
    static const uco_server_options defaults;
    int error;
    struct uco_server *server =
        server_start(options != NULL ? options : &defaults, handler, arg, &error);

    if (server == NULL)
        return uco__error_null(error);
    server->resource = (struct uco__resource){
        .kind = "server", .file = file, .line = line, .close = server_close_resource};
    uco__loop_add_resource(server->loop, &server->resource);
    uco__task_adopt(server->task, NULL);
    return server;
}

uco_server *
uco_server_start_on_at(const char *file, int line, const char *host, uint16_t port,
                       uco_stream_fn *handler, void *arg)
{
    const uco_server_options options = {.host = host, .port = port};

    return uco_server_start_at(file, line, &options, handler, arg);
}

uco_server *(uco_server_start) (const char *host, uint16_t port, uco_stream_fn *handler, void *arg)
{
    return uco_server_start_on_at(NULL, 0, host, port, handler, arg);
}

uco_server *(uco_server_start_with) (const uco_server_options *options, uco_stream_fn *handler,
                                     void *arg)
{
    return uco_server_start_at(NULL, 0, options, handler, arg);
}

uint16_t
uco_server_port(const uco_server *server)
{
    return server != NULL ? server->port : 0;
}

/* --- closed --- */

int
uco_server_close(uco_server *server, double grace)
{
    struct uco__task *task;
    int error;

    if (server == NULL)
        return 0;
    task = uco__task_current(&error);
    if (task == NULL)
        return uco__misuse(error, "uco_server_close: not in a coroutine");
    if (server->loop != task->future.loop)
        return uco__misuse(-EPERM, "uco_server_close: another loop's server");
    if (isnan(grace))
        return uco__misuse(-EINVAL, "uco_server_close: the grace is not a number");
    if (server->closing)
        return uco__misuse(-EBADF, "uco_server_close: it is being closed already");
    if (uco__deadlock_closes_cycle(task, &server->task->future))
        return uco__misuse(-EDEADLK, "uco_server_close: by one of its own handlers");
    uco__loop_remove_resource(server->loop, &server->resource);
    server->closing = true;
    server->grace = grace;
    acceptor_wake(server);
    uco__task_fiber(task)->ready.successes = 0; /* no turn for others between here and the wait */
    uco_join(&server->task->future);
    server->task = NULL;
    server_free(server);
    return 0;
}
