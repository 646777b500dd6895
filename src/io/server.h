/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_SERVER_H
#define UCO_IO_SERVER_H

/* A server: a task that accepts, and the tasks of the connections, which are its children. */

#include "core/loop.h"
#include "task/task.h"

#include <uco/server.h>
#include <uco/tls.h>

struct uco_server {
    struct uco__resource resource;
    struct uco_loop *loop;
    uco_stream_fn *handler;
    void *arg;
    uco_tls_context *tls; /* NULL: none */
    double tls_timeout;
    size_t max_connections;      /* SIZE_MAX: no limit */
    uco_task_options connection; /* of the connections' tasks */
    int fd;                      /* -1: it has stopped */
    uint16_t port;
    bool tcp;
    struct uco__task *task;  /* that accepts */
    size_t connections;      /* whose stream is open */
    struct uco_stream *next; /* for the next connection; has its fd already if that could not
                                     be served yet */
    unsigned passed;         /* connections in a row that were gone when they were accepted */
    bool starved;            /* a connection's task found no memory to begin */
    bool pausing;            /* and the reason was reported */
    bool closing;
    double grace; /* seconds */

    /* What the accepting task waits in. */
    struct uco__wait *waiting;
    struct uco__fd_wait readable;
    struct uco__timer timer;
};

/* A listening fd for these options. Suspends only to look a name up. */
int uco__server_listen(const uco_server_options *options);
/* Whether a context is a server's, and not a client's. */
bool uco__tls_context_serves(const uco_tls_context *context);

#endif
