/* SPDX-License-Identifier: MIT */

/* uco's echo servers, as their users would write them. */

#include "echo_serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uco/io.h>
#include <uco/uco.h>

/* --- a task for each fd --- */

static intptr_t
fd_echo(void *arg)
{
    int fd = (int) (intptr_t) arg;
    char *buffer = malloc(ECHO_BUFFER_BYTES);
    ssize_t n;

    echo_no_delay(fd);
    while (buffer != NULL && (n = uco_recv(fd, buffer, ECHO_BUFFER_BYTES, 0)) > 0) {
        if (uco_write_all(fd, buffer, (size_t) n, NULL) < 0)
            break;
    }
    free(buffer);
    uco_close(fd);
    return 0;
}

static intptr_t
fds_main(void *arg)
{
    const uint16_t *port = arg;
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int listener = uco_listen("127.0.0.1", *port, 0);

    if (listener < 0 || getsockname(listener, (struct sockaddr *) &address, &length) < 0)
        echo_die("uco_listen: %s", uco_strerror(listener));
    echo_tell_port(ntohs(address.sin_port));
    for (;;) {
        int fd = uco_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        uco_task *task;

        if (fd < 0)
            return fd;
        task = uco_create_task(fd_echo, (void *) (intptr_t) fd);
        if (task == NULL)
            uco_close(fd);
        uco_unref(task);
    }
}

/* --- streams --- */

static intptr_t
stream_echo(uco_stream *stream, void *arg)
{
    const void *bytes;
    ssize_t n;

    (void) arg;
    while ((n = uco_stream_peek(stream, &bytes)) > 0) {
        if (uco_stream_write(stream, bytes, (size_t) n) < 0)
            break;
        uco_stream_consume(stream, (size_t) n);
    }
    return 0;
}

static intptr_t
streams_main(void *arg)
{
    const uint16_t *port = arg;
    uco_server *server = uco_server_start("127.0.0.1", *port, stream_echo, NULL);

    if (server == NULL)
        return -errno;
    echo_tell_port(uco_server_port(server));
    uco_sleep(UCO_FOREVER);
    return uco_server_close(server, 0);
}

/* --- both --- */

static void
uco_serve(uint16_t port, const struct echo_way *way, uco_fn *fn)
{
    const uco_loop_options options = {
        .backend = way->backend,
        .spin = way->spin,
        /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
        .slow_callback = 60,
    };
    intptr_t r = uco_run_with(&options, fn, &port);

    if (r < 0 && r != -ECANCELED)
        echo_die("uco has ended: %s", uco_strerror((int) r));
}

void
echo_serve_fds(uint16_t port, const struct echo_way *way)
{
    uco_serve(port, way, fds_main);
}

void
echo_serve_streams(uint16_t port, const struct echo_way *way)
{
    uco_serve(port, way, streams_main);
}
