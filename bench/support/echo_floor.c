/* SPDX-License-Identifier: MIT */

/*
 * 1. Each connection is registered once, edge-triggered, for both directions.
 * 2. Receiving is tried first; a short read has taken all there was, so it is not tried again.
 * 3. There is one buffer for all. Only what a socket does not take at once is kept, and until it
 *    has gone its connection is not read from.
 */

#include "echo_serve.h"

#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 1024,
    BUFFER_BYTES = 64 * 1024,
};

struct connection {
    int fd;
    char *rest; /* NULL: nothing is left to be sent */
    size_t rest_size;
    size_t rest_sent;
};

static struct {
    int listener;
    int epoll;
    char buffer[BUFFER_BYTES];
} floor_server;

static void
floor_watch(int fd, uint32_t events, struct connection *connection)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = connection};

    if (epoll_ctl(floor_server.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        echo_die("epoll_ctl: %s", strerror(errno));
}

static void
floor_accept(void)
{
    for (;;) {
        int fd = accept4(floor_server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct connection *connection;

        if (fd < 0 && errno == EAGAIN)
            return;
        if (fd < 0 && errno == ECONNABORTED)
            continue;
        connection = fd >= 0 ? calloc(1, sizeof *connection) : NULL;
        if (connection == NULL)
            echo_die("accept4: %s", strerror(errno));
        connection->fd = fd;
        echo_no_delay(fd);
        floor_watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, connection);
    }
}

static void
floor_close(struct connection *connection)
{
    close(connection->fd);
    free(connection->rest);
    free(connection);
}

static bool
floor_keep(struct connection *connection, const char *bytes, size_t size)
{
    connection->rest = malloc(size);
    if (connection->rest == NULL)
        return false;
    memcpy(connection->rest, bytes, size);
    connection->rest_size = size;
    connection->rest_sent = 0;
    return true;
}

static bool
floor_send(struct connection *connection, size_t size)
{
    ssize_t sent = send(connection->fd, floor_server.buffer, size, MSG_NOSIGNAL);

    if (sent == (ssize_t) size)
        return true;
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    return floor_keep(connection, floor_server.buffer + sent, size - (size_t) sent);
}

static bool
floor_send_rest(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->rest + connection->rest_sent,
                        connection->rest_size - connection->rest_sent, MSG_NOSIGNAL);

    if (sent < 0)
        return errno == EAGAIN;
    connection->rest_sent += (size_t) sent;
    if (connection->rest_sent == connection->rest_size) {
        free(connection->rest);
        connection->rest = NULL;
    }
    return true;
}

/* Whether the connection lives on. */
static bool
floor_echo(struct connection *connection)
{
    if (connection->rest != NULL && !floor_send_rest(connection))
        return false;
    while (connection->rest == NULL) {
        ssize_t n = recv(connection->fd, floor_server.buffer, BUFFER_BYTES, 0);

        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        if (!floor_send(connection, (size_t) n))
            return false;
        if (n < BUFFER_BYTES)
            return true;
    }
    return true;
}

static void
floor_event(struct connection *connection, uint32_t events)
{
    const uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

    /* Room to send is no news where nothing waits for it. */
    if (events == EPOLLOUT && connection->rest == NULL)
        return;
    /* After the end there is no other event: so a short read must not be the last one. */
    if (!floor_echo(connection) || ((events & ends) != 0 && !floor_echo(connection)))
        floor_close(connection);
}

/* Looks again and again before it blocks, for so many nanoseconds. */
static int
floor_wait(struct epoll_event events[], uint64_t spin)
{
    uint64_t until;
    int count = epoll_wait(floor_server.epoll, events, EVENTS, spin > 0 ? 0 : -1);

    if (count != 0 || spin == 0)
        return count;
    until = bench_clock() + spin;
    do {
        count = epoll_wait(floor_server.epoll, events, EVENTS, 0);
        if (count != 0)
            return count;
    } while (bench_clock() < until);
    return epoll_wait(floor_server.epoll, events, EVENTS, -1);
}

void
echo_serve_floor(uint16_t port, const struct echo_way *way)
{
    struct epoll_event events[EVENTS];
    uint64_t spin = (uint64_t) (way->spin * 1e9);

    floor_server.epoll = epoll_create1(EPOLL_CLOEXEC);
    floor_server.listener = echo_listen(port);
    floor_watch(floor_server.listener, EPOLLIN, NULL);
    for (;;) {
        int count = floor_wait(events, spin);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                floor_accept();
            else
                floor_event(events[i].data.ptr, events[i].events);
        }
    }
}
