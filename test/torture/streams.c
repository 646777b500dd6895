/* SPDX-License-Identifier: MIT */

/*
 * Streams, dialling and listening, servers.
 *
 * 1. Lines and bytes come as they were written.
 * 2. Closing frees, whatever it says; a server ends with all of its connections.
 */

#include "scenarios.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uco/io.h>
#include <uco/net.h>
#include <uco/server.h>
#include <uco/stream.h>
#include <unistd.h>

/* More than a stream keeps for sending. */
#define LONG 200000

static char bytes[LONG];

static uco_stream *
stream_of(int *fd)
{
    uco_stream *s;

    MADE(s, uco_stream_new(*fd), ENOMEM, THE_ERROR);
    if (s != NULL)
        *fd = -1;
    return s;
}

/* The result so far, or what closing says. */
static intptr_t
stream_end(uco_stream *s, intptr_t r)
{
    intptr_t closed = MAY(uco_stream_close(s), NETWORK);

    return r < 0 ? r : closed;
}

static intptr_t
stream_writes(uco_stream *s)
{
    const char *line;
    ssize_t r = 0;

    SURE(uco_stream_set_water_marks(s, 1000, 20000));
    for (int i = 0; i < 3 && r >= 0; i++)
        r = MAY(uco_stream_printf(s, "line %d\n", i), NETWORK);
    if (r >= 0)
        r = MAY(uco_stream_write(s, bytes, LONG), NETWORK);
    if (r >= 0)
        r = MAY(uco_stream_drain(s), NETWORK);
    if (r >= 0)
        r = MAY(uco_stream_shutdown(s), NETWORK);
    if (r >= 0)
        r = MAY(uco_stream_read_line(s, &line), NETWORK);
    if (r == 0)
        return -ECONNRESET; /* the other side had to give up */
    MUST(r < 0 || (r == 3 && memcmp(line, "ok\n", 3) == 0));
    return r;
}

static intptr_t
stream_reads(uco_stream *s)
{
    static char buf[LONG];
    char expected[32];
    const char *line;
    const void *data;
    ssize_t r = 0;

    for (int i = 0; i < 3; i++) {
        r = MAY(uco_stream_read_line(s, &line), NETWORK);
        if (r <= 0)
            return r < 0 ? r : -ECONNRESET;
        snprintf(expected, sizeof expected, "line %d\n", i);
        MUST(r == 7 && memcmp(line, expected, 7) == 0);
    }
    r = MAY(uco_stream_fill(s, 1000, &data), NETWORK);
    if (r < 1000)
        return r < 0 ? r : -ECONNRESET;
    torture_is_filled(data, (size_t) r, 0);
    SURE(uco_stream_consume(s, 1000));
    r = MAY(uco_stream_read_exactly(s, buf, LONG - 1000), NETWORK);
    if (r < 0)
        return r;
    torture_is_filled(buf, LONG - 1000, 1000);
    r = MAY(uco_stream_peek(s, &data), NETWORK);
    MUST(r <= 0);
    return r < 0 ? r : MAY(uco_stream_write(s, "ok\n", 3), NETWORK);
}

static intptr_t
side_writes(void *arg)
{
    uco_stream *s = stream_of(&((int *) arg)[0]);

    return s == NULL ? -ENOMEM : stream_end(s, stream_writes(s));
}

static intptr_t
side_reads(void *arg)
{
    uco_stream *s = stream_of(&((int *) arg)[1]);

    return s == NULL ? -ENOMEM : stream_end(s, stream_reads(s));
}

static void
streams_run(void)
{
    int ends[2];

    torture_fill(bytes, LONG);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    torture_talk(side_writes, side_reads, ends);
    torture_close(ends[0]);
    torture_close(ends[1]);
}

/* Dialling */

struct place {
    const char *host;
    uint16_t port;
    int listener;
};

static intptr_t
place_accepts(void *arg)
{
    const struct place *place = arg;
    int fd = (int) MAY(uco_accept4(place->listener, NULL, NULL, SOCK_CLOEXEC), NETWORK);
    uco_stream *s = fd < 0 ? NULL : stream_of(&fd);
    intptr_t r = s == NULL ? -ENOMEM : stream_end(s, stream_reads(s));

    torture_close(fd);
    return r;
}

static intptr_t
place_dials(void *arg)
{
    const struct place *place = arg;
    uco_stream *s;

    MADE(s, uco_stream_dial(place->host, place->port), NETWORK);
    return s == NULL ? -ENOMEM : stream_end(s, stream_writes(s));
}

static void
dial_at(const char *host)
{
    struct place place = {.host = host};

    place.listener = (int) MAY(uco_listen(host, 0, 0), ENOMEM, EADDRINUSE, THE_ERROR);
    if (place.listener < 0)
        return;
    if (host[0] != 'u')
        place.port = ntohs(torture_address(place.listener).sin_port);
    torture_talk(place_accepts, place_dials, &place);
    torture_close(place.listener);
}

static void
dials_run(void)
{
    static int times; /* a listener that could not be closed keeps its name */
    const struct failure *failure = torture_case.failure;
    char name[64], path[64];

    torture_fill(bytes, LONG);
    dial_at("127.0.0.1");
    snprintf(name, sizeof name, "unix:@uco-torture-%d-%d", (int) getpid(), ++times);
    dial_at(name);
    snprintf(path, sizeof path, "unix:/tmp/uco-torture-%d-%d", (int) getpid(), times);
    dial_at(path);
    /* The file that is left over is replaced. */
    if (failure == NULL || (failure->flags & FAILURE_KEEPS_FDS) == 0)
        dial_at(path);
    unlink(path + 5);
}

/* Servers */

static intptr_t
serve(uco_stream *s, void *arg)
{
    const char *line;
    ssize_t r = MAY(uco_stream_read_line(s, &line), NETWORK);

    (void) arg;
    if (r > 0)
        r = MAY(uco_stream_write(s, line, (size_t) r), NETWORK);
    return r < 0 ? -ECONNRESET : 0; /* not worth a report */
}

static intptr_t
visit(uco_server *server)
{
    const char *line;
    uco_stream *s;
    ssize_t r;

    MADE(s, uco_stream_dial("127.0.0.1", uco_server_port(server)), NETWORK);
    if (s == NULL)
        return -ECONNRESET;
    r = MAY(uco_stream_write(s, "hello\n", 6), NETWORK);
    if (r >= 0)
        r = MAY(uco_stream_read_line(s, &line), NETWORK);
    MUST(r <= 0 || (r == 6 && memcmp(line, "hello\n", 6) == 0));
    MUST(r != 0 || !torture_clean());
    return stream_end(s, r == 0 ? -ECONNRESET : r);
}

static intptr_t
visitor(void *arg)
{
    for (int i = 0; i < 3; i++)
        visit(arg);
    return 0;
}

static void
servers_run(void)
{
    const uco_server_options options = {.host = "127.0.0.1", .max_connections = 1};
    uco_server *server;

    MADE(server, uco_server_start_with(&options, serve, NULL), ENOMEM, THE_ERROR);
    if (server == NULL)
        return;
    if (uco_server_port(server) != 0)
        torture_talk(visitor, visitor, server);
    else
        MUST(!torture_clean());
    SURE(uco_server_close(server, 1));
}

const struct scenario torture_streams = {.name = "streams", .run = streams_run, .network = true};
const struct scenario torture_dials = {.name = "dials", .run = dials_run, .network = true};
const struct scenario torture_servers = {.name = "servers", .run = servers_run, .network = true};
