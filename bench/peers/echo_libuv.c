/* SPDX-License-Identifier: MIT */

/*
 * The echo server of bench_echo, with libuv. Its argument is a port, 0 for any; it prints the one
 * that it listens on. All connections read into one buffer, since uv_try_write() sends at once;
 * what is left over is copied.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUFFER_BYTES = 64 * 1024, BACKLOG = 4096 };

struct rest {
    uv_write_t write;
    char bytes[];
};

static char buffer[BUFFER_BYTES];

static void
fail(const char *what, int error)
{
    fprintf(stderr, "echo_libuv: %s: %s\n", what, uv_strerror(error));
    exit(1);
}

static void
closed(uv_handle_t *handle)
{
    free(handle);
}

static void
allocate(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    (void) handle;
    (void) size;
    *buf = uv_buf_init(buffer, BUFFER_BYTES);
}

static void
rest_written(uv_write_t *write, int status)
{
    if (status < 0 && !uv_is_closing((uv_handle_t *) write->handle))
        uv_close((uv_handle_t *) write->handle, closed);
    free(write);
}

static int
rest_write(uv_stream_t *stream, const char *bytes, size_t size)
{
    struct rest *rest = malloc(sizeof *rest + size);
    uv_buf_t buf;

    if (rest == NULL)
        return UV_ENOMEM;
    memcpy(rest->bytes, bytes, size);
    buf = uv_buf_init(rest->bytes, (unsigned) size);
    return uv_write(&rest->write, stream, &buf, 1, rest_written);
}

static void
received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    uv_buf_t all;
    int sent;

    if (size == 0)
        return;
    if (size < 0) {
        uv_close((uv_handle_t *) stream, closed);
        return;
    }
    all = uv_buf_init(buf->base, (unsigned) size);
    sent = uv_try_write(stream, &all, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent >= 0 && sent < size)
        sent = rest_write(stream, buf->base + sent, (size_t) (size - sent));
    if (sent < 0)
        uv_close((uv_handle_t *) stream, closed);
}

static void
connected(uv_stream_t *listener, int status)
{
    uv_tcp_t *connection = malloc(sizeof *connection);

    if (status < 0 || connection == NULL)
        fail("a connection", status);
    uv_tcp_init(listener->loop, connection);
    if (uv_accept(listener, (uv_stream_t *) connection) != 0) {
        uv_close((uv_handle_t *) connection, closed);
        return;
    }
    uv_tcp_nodelay(connection, 1);
    uv_read_start((uv_stream_t *) connection, allocate, received);
}

int
main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct sockaddr_in address;
    int size = sizeof address, r;
    uv_tcp_t listener;

    if (argc != 2) {
        fprintf(stderr, "usage: echo_libuv PORT\n");
        return 2;
    }
    uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address);
    uv_tcp_init(loop, &listener);
    if ((r = uv_tcp_bind(&listener, (const struct sockaddr *) &address, 0)) != 0 ||
        (r = uv_listen((uv_stream_t *) &listener, BACKLOG, connected)) != 0 ||
        (r = uv_tcp_getsockname(&listener, (struct sockaddr *) &address, &size)) != 0)
        fail("listening", r);
    printf("%u\n", (unsigned) ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
