/* SPDX-License-Identifier: MIT */
#ifndef TEST_IO_SERVER_SCENE_H
#define TEST_IO_SERVER_SCENE_H

/* What the tests of servers share. */

#include "stream_scene.h"

#include "io/server.h"

static inline intptr_t
echoes(uco_stream *s, void *arg)
{
    const void *data;
    ssize_t n;

    (void) arg;
    while ((n = uco_stream_peek(s, &data)) > 0) {
        ssize_t r = uco_stream_write(s, data, (size_t) n);

        if (r < 0)
            return r;
        uco_stream_consume(s, (size_t) n);
    }
    return n;
}

static inline uco_server *
server_of(uco_stream_fn *handler, void *arg)
{
    uco_server *server = uco_server_start("127.0.0.1", 0, handler, arg);

    ck_assert_ptr_nonnull(server);
    return server;
}

static inline uco_stream *
client_of(const uco_server *server)
{
    return stream_of(tcp_connect(uco_server_port(server)));
}

static inline void
exchange(uco_stream *client, const char *text)
{
    char buf[100];

    ck_assert_int_eq(uco_stream_write(client, text, strlen(text)), (ssize_t) strlen(text));
    ck_assert_int_eq(uco_stream_read_exactly(client, buf, strlen(text)), (ssize_t) strlen(text));
    ck_assert_mem_eq(buf, text, strlen(text));
}

#endif
