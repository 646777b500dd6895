/* SPDX-License-Identifier: MIT */

/*
 * 1. A message is a stretch of a random text; where it begins tells the connection and the number
 *    of the message. So nothing is made or copied for it, and comparing is one memcmp().
 * 2. A connection is registered once, edge-triggered. A short read has taken all there was.
 * 3. Whoever has sent a message is counted in `in_flight` until the reply is complete.
 */

#include "echo_client.h"

#include "bench.h"
#include "echo_latency.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 1024,
    PLACES = 64 * 1024, /* where a message can begin in the text */
    AT_ONCE = 256,      /* connections that are opened before they are heard of: less than any
                           server's backlog */
    SILENCE_MS = 10 * 1000,
};

struct connection {
    int fd;
    uint32_t place; /* of the message in the text */
    size_t sent;
    size_t received;
    uint64_t began;
};

struct client {
    const struct echo_load *load;
    uint16_t port;
    int epoll;
    struct connection *connections;
    size_t in_flight;
    uint64_t until; /* then no other message is begun */
    bool visits;    /* a connection is for one message */
    bool wrong;
    uint64_t completed;
    struct echo_latency latency;
};

static unsigned char text[PLACES + ECHO_SIZE_MAX];

static void
text_fill(void)
{
    uint64_t state = 88172645463325252;

    if (text[0] != 0)
        return;
    for (size_t i = 0; i < sizeof text; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text[i] = (unsigned char) (state >> 32) | 1;
    }
}

static void
client_fail(struct client *client, const char *what, int error)
{
    if (!client->wrong)
        fprintf(stderr, "echo client: %s%s%s\n", what, error != 0 ? ": " : "",
                error != 0 ? strerror(error) : "");
    client->wrong = true;
}

/* --- one connection --- */

static void
connection_send(struct client *client, struct connection *connection)
{
    size_t left = client->load->size - connection->sent;
    ssize_t n = send(connection->fd, text + connection->place + connection->sent, left,
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n >= 0)
        connection->sent += (size_t) n;
    else if (errno != EAGAIN)
        client_fail(client, "send", errno);
}

static void
connection_begin(struct client *client, struct connection *connection, uint64_t now)
{
    /* A prime step, so that it takes long until a place comes again. */
    connection->place = (connection->place + 40503) % PLACES;
    connection->sent = 0;
    connection->received = 0;
    connection->began = now;
    client->in_flight++;
    connection_send(client, connection);
}

static void
connection_open(struct client *client, struct connection *connection)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(client->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct linger reset = {.l_onoff = 1};
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.ptr = connection,
    };

    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) {
        client_fail(client, "socket", errno);
        return;
    }
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(connection->fd, (const struct sockaddr *) &address, sizeof address) < 0)
        client_fail(client, "connect", errno);
    else if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        client_fail(client, "epoll_ctl", errno);
}

static void
connection_complete(struct client *client, struct connection *connection)
{
    uint64_t now = bench_clock();

    client->in_flight--;
    client->completed++;
    echo_latency_add(&client->latency, now - connection->began);
    if (client->visits) {
        close(connection->fd);
        connection->fd = -1;
    }
    if (now >= client->until || client->wrong)
        return;
    if (client->visits)
        connection_open(client, connection);
    if (!client->wrong)
        connection_begin(client, connection, now);
}

/* Whether there may be more to read. */
static bool
connection_receive(struct client *client, struct connection *connection)
{
    static unsigned char reply[ECHO_SIZE_MAX];
    ssize_t n = recv(connection->fd, reply, sizeof reply, MSG_DONTWAIT);
    size_t size = (size_t) n;

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        client_fail(client, "the server has closed a connection", n < 0 ? errno : 0);
        return false;
    }
    if (connection->received + size > connection->sent ||
        memcmp(reply, text + connection->place + connection->received, size) != 0) {
        client_fail(client, "an echo is wrong", 0);
        return false;
    }
    connection->received += size;
    if (connection->received == client->load->size) {
        connection_complete(client, connection);
        return false;
    }
    return size == sizeof reply;
}

static void
connection_event(struct client *client, struct connection *connection, uint32_t events)
{
    if ((events & EPOLLOUT) != 0 && connection->sent < client->load->size)
        connection_send(client, connection);
    if ((events & ~(uint32_t) EPOLLOUT) == 0)
        return;
    while (!client->wrong && connection_receive(client, connection))
        ;
}

/* --- all of them --- */

static int
client_wait(const struct client *client, struct epoll_event events[])
{
    uint64_t until = bench_clock() + SILENCE_MS * UINT64_C(1000000);
    int count;

    if (!client->load->spin)
        return epoll_wait(client->epoll, events, EVENTS, SILENCE_MS);
    do
        count = epoll_wait(client->epoll, events, EVENTS, 0);
    while (count == 0 && bench_clock() < until);
    return count;
}

static void
client_turn(struct client *client)
{
    struct epoll_event events[EVENTS];
    int count = client_wait(client, events);

    if (count == 0)
        client_fail(client, "the server has been silent for too long", 0);
    for (int i = 0; i < count && !client->wrong; i++)
        connection_event(client, events[i].data.ptr, events[i].events);
}

static void
client_pump(struct client *client, uint64_t until)
{
    while (!client->wrong && bench_clock() < until)
        client_turn(client);
}

static void
client_drain(struct client *client)
{
    client->until = 0;
    while (!client->wrong && client->in_flight > 0)
        client_turn(client);
}

static void
client_begin_all(struct client *client)
{
    client->until = UINT64_MAX;
    for (size_t i = 0; i < client->load->connections && !client->wrong; i++)
        connection_begin(client, &client->connections[i], bench_clock());
}

static void
client_open(struct client *client, uint16_t port, const struct echo_load *load)
{
    if (load->size == 0 || load->size > ECHO_SIZE_MAX)
        bench_die("an echo of %zu bytes", load->size);
    text_fill();
    *client = (struct client){.load = load, .port = port};
    echo_latency_init(&client->latency);
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll < 0)
        bench_die("epoll_create1: %s", strerror(errno));
    client->connections = bench_allocate(load->connections * sizeof client->connections[0]);
    for (size_t i = 0; i < load->connections; i++)
        client->connections[i] = (struct connection){
            .fd = -1,
            .place = (uint32_t) (i * 7919 % PLACES),
            .sent = load->size,
            .received = load->size,
        };
}

/* All of them, each heard of when it has its first reply. */
static void
client_connect_all(struct client *client)
{
    for (size_t i = 0; i < client->load->connections && !client->wrong; i++) {
        connection_open(client, &client->connections[i]);
        if (!client->wrong)
            connection_begin(client, &client->connections[i], bench_clock());
        if (i % AT_ONCE == AT_ONCE - 1)
            client_drain(client);
    }
    client_drain(client);
}

static bool
client_close(struct client *client)
{
    for (size_t i = 0; i < client->load->connections; i++) {
        if (client->connections[i].fd >= 0)
            close(client->connections[i].fd);
    }
    close(client->epoll);
    free(client->connections);
    echo_latency_done(&client->latency);
    return !client->wrong;
}

static void
client_measure(struct client *client, echo_mark *mark, void *arg, struct echo_figures *figures)
{
    uint64_t began;

    client_pump(client, bench_clock() + (uint64_t) (client->load->warm * 1e9));
    echo_latency_clear(&client->latency);
    client->completed = 0;
    mark(arg, false);
    began = bench_clock();
    client_pump(client, began + (uint64_t) (client->load->seconds * 1e9));
    figures->seconds = (double) (bench_clock() - began) / 1e9;
    mark(arg, true);
    figures->count = client->completed;
    figures->p50 = echo_latency_quantile(&client->latency, 0.50) / 1e3;
    figures->p99 = echo_latency_quantile(&client->latency, 0.99) / 1e3;
    client_drain(client);
    if (!client->wrong && figures->count == 0)
        client_fail(client, "nothing was echoed in the measured time", 0);
}

bool
echo_client_exchange(uint16_t port, const struct echo_load *load, echo_mark *mark, void *arg,
                     struct echo_figures *figures)
{
    struct client client;

    client_open(&client, port, load);
    client_connect_all(&client);
    client_begin_all(&client);
    client_measure(&client, mark, arg, figures);
    return client_close(&client);
}

bool
echo_client_visit(uint16_t port, const struct echo_load *load, echo_mark *mark, void *arg,
                  struct echo_figures *figures)
{
    struct client client;

    client_open(&client, port, load);
    client.visits = true;
    client.until = UINT64_MAX;
    for (size_t i = 0; i < load->connections && !client.wrong; i++) {
        connection_open(&client, &client.connections[i]);
        if (!client.wrong)
            connection_begin(&client, &client.connections[i], bench_clock());
    }
    client_measure(&client, mark, arg, figures);
    return client_close(&client);
}

/* Servers accept in order: when the last of a batch has its reply, all of them are accepted, and
 * those before it wait for their first byte. */
static void
client_connect_silently(struct client *client)
{
    for (size_t i = 0; i < client->load->connections && !client->wrong; i++) {
        connection_open(client, &client->connections[i]);
        if (!client->wrong && (i % AT_ONCE == AT_ONCE - 1 || i == client->load->connections - 1))
            connection_begin(client, &client->connections[i], bench_clock());
        client_drain(client);
    }
}

bool
echo_client_stay(uint16_t port, const struct echo_load *load, echo_mark *step, void *arg)
{
    struct client client;

    client_open(&client, port, load);
    client_connect_silently(&client);
    step(arg, false);
    for (size_t i = 0; i < load->connections && !client.wrong; i++) {
        connection_begin(&client, &client.connections[i], bench_clock());
        if (i % AT_ONCE == AT_ONCE - 1)
            client_drain(&client);
    }
    client_drain(&client);
    step(arg, true);
    return client_close(&client);
}
