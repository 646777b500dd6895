/* SPDX-License-Identifier: MIT */
#ifndef UCO_SERVER_H
#define UCO_SERVER_H

/*
 * Servers: a listening socket, and a task for each connection.
 *
 * A server belongs to the loop it was started on (-EPERM elsewhere), not to the task that started
 * it: it runs until uco_server_close(), or until its loop closes.
 */

#include <uco/common.h>
#include <uco/stream.h>

UCO_BEGIN_DECLS

typedef struct uco_server uco_server;

/** <uco/tls.h> */
struct uco_tls_options;

/**
 * What a server does with a connection, in a task of its own.
 *
 * The server closes the stream afterwards (what was written is sent, unless the task is cancelled),
 * and it ends with that: tasks that the handler has started get -EBADF from it then.
 *
 * Returns: Zero or more, or a negative errno. Connections break, so -ECONNRESET, -EPIPE,
 *          -ETIMEDOUT, -ENODATA and -ECANCELED are nothing to speak of; any other is reported.
 */
typedef intptr_t uco_stream_fn(uco_stream *s, void *arg);

/** Zeroed, all fields mean their default. */
typedef struct uco_server_options {
    const char *host;       /* as uco_listen()'s: NULL = all addresses */
    uint16_t port;          /* 0 = any free one */
    int backlog;            /* connections that wait to be accepted; 0 = the system's greatest */
    size_t max_connections; /* at once; 0 = no limit. The others wait in the backlog */
    int fd;                 /* a listening stream socket to use and to close in the end, instead of
                               host, port and backlog; 0 = none */
    const struct uco_tls_options *tls; /* NULL = none. Its files are read once */
    double tls_timeout;                /* seconds for a handshake; 0 = 60 */
    size_t stack_size;                 /* bytes, of the handlers' tasks; 0 = the loop's */
    bool reuse_port; /* SO_REUSEPORT: several loops or processes listen on one port, and the system
                        shares the connections out */
    uintptr_t reserved[8];
} uco_server_options;

/**
 * uco_server_start() - Listen, and run a task for each connection.
 *
 * When there are no fds or no memory for one more connection, that is reported, and accepting
 * pauses for about 100 ms at a time; what waits in the backlog is not lost.
 *
 * @host, @port: As uco_listen()'s. Port 0: uco_server_port() tells which it is.
 * @handler:  Runs for each connection, with its stream and arg.
 *
 * Context:   Inside a running loop, whose resource it becomes: a server that is left open is closed
 *            by the loop's close, and reported with the line that started it. Suspends only to look
 *            a name up or to read the files of `tls`, in a coroutine: a cancellation point then.
 * Ownership: uco_server_close().
 * Returns:   NULL with errno EPERM (outside a running loop), EINVAL (no handler, an option out of
 *            range, fd does not listen), ESHUTDOWN (the loop is at the end of its close), ENOMEM,
 *            ESTALE, or uco_listen()'s: EADDRINUSE, EACCES ...; or uco_tls_context_new()'s.
 */
UCO_API uco_server *uco_server_start(const char *host, uint16_t port, uco_stream_fn *handler,
                                     void *arg);

/**
 * uco_server_start_with() - uco_server_start() with options.
 *
 * @options: NULL = the defaults. Needed during the call only, `tls` and its strings too.
 */
UCO_API uco_server *uco_server_start_with(const uco_server_options *options, uco_stream_fn *handler,
                                          void *arg);

/**
 * uco_server_start_at() - uco_server_start_with(), and remembers the line that called it, for
 * reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_server *uco_server_start_at(const char *file, int line,
                                        const uco_server_options *options, uco_stream_fn *handler,
                                        void *arg);
/** uco_server_start_on_at() - The same for uco_server_start(). */
UCO_API uco_server *uco_server_start_on_at(const char *file, int line, const char *host,
                                           uint16_t port, uco_stream_fn *handler, void *arg);
#define uco_server_start(...) uco_server_start_on_at(__FILE__, __LINE__, __VA_ARGS__)
#define uco_server_start_with(...) uco_server_start_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_server_port() - The port that a server listens on.
 *
 * Context: Any thread, while the server is open.
 * Returns: The port; 0 for a Unix socket, and for NULL.
 */
UCO_API uint16_t uco_server_port(const uco_server *server);

/**
 * uco_server_close() - Stop accepting, end the connections, and free the server.
 *
 * A completing call: it closes the listening socket, waits until the handlers have returned, but
 * not longer than the grace, cancels those that have not, and waits for them. NULL is fine.
 *
 * @grace:  Seconds; zero or less = cancel at once, UCO_FOREVER = wait for ever. A cancellation of
 *          the caller ends it.
 *
 * Context: Coroutine of the server's loop.
 * Returns: 0
 *          -EDEADLK  the caller is a handler, or waited for by one: nothing was done
 *          -EINVAL   NaN: nothing was done
 *          -EBADF    it is being closed already
 *          -EPERM    not in a coroutine, or another loop's server: nothing was done
 */
UCO_API int uco_server_close(uco_server *server, double grace);

UCO_END_DECLS

#endif
