/* SPDX-License-Identifier: MIT */

/*
 * tcp_proxy [--grace SECONDS] LISTEN HOST PORT - Passes TCP connections on to another server.
 *
 * LISTEN is a port on 127.0.0.1 (0: any free one), or ADDRESS:PORT. The program prints where it
 * listens.
 *
 *   tcp_proxy 8080 www.example.org 80
 *
 * A connection is two tasks, each of which reads here and writes there. That is all there is to
 * back-pressure: while one side does not read, uco_stream_write() waits, nothing more is read from
 * the other side, and TCP tells that side to wait too. What waits in the proxy stays below the
 * stream's high-water mark, whatever the sizes are. The end of one direction is passed on by
 * uco_stream_shutdown(), while the other direction goes on.
 *
 * SIGTERM or SIGINT (Ctrl-C) ends it: it takes no more connections, lets those that it has go on
 * for SECONDS (10), and cuts the rest. A second signal kills it.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/uco.h>

#define DIAL_TIMEOUT 10.0  /* seconds to reach the server */
#define CLOSE_TIMEOUT 10.0 /* seconds for what is still queued when the other side has failed */

struct proxy {
    char listen_host[256];
    uint16_t listen_port;
    const char *host;
    uint16_t port;
    double grace; /* seconds */
    unsigned long connections;
};

struct pump {
    uco_stream *from, *to;
};

static intptr_t
pump_run(void *arg)
{
    const struct pump *pump = arg;
    const void *data;
    ssize_t n;

    while ((n = uco_stream_peek(pump->from, &data)) > 0) {
        ssize_t r = uco_stream_write(pump->to, data, (size_t) n);

        if (r < 0)
            return r;
        uco_stream_consume(pump->from, (size_t) n);
    }
    return n < 0 ? n : uco_stream_shutdown(pump->to);
}

static intptr_t
upstream_dial(const struct proxy *proxy, uco_stream **upstream)
{
    uco_scope scope;
    intptr_t r = uco_scope_open(&scope, DIAL_TIMEOUT);

    if (r < 0)
        return r;
    *upstream = uco_stream_dial(proxy->host, proxy->port);
    return uco_scope_close(&scope, *upstream == NULL ? -errno : 0);
}

/* What is still queued for one side when the other has failed is sent, but not for ever: the end of
 * the scope ends the waiting in the closes. */
static void
pair_close(uco_stream *client, uco_stream *upstream)
{
    uco_scope scope;
    bool limited = uco_scope_open(&scope, CLOSE_TIMEOUT) == 0;

    uco_stream_close(upstream);
    uco_stream_close(client);
    if (limited)
        uco_scope_close(&scope, 0);
}

static intptr_t
proxy_connection(uco_stream *client, void *arg)
{
    struct proxy *proxy = arg;
    uco_stream *upstream;
    intptr_t r = upstream_dial(proxy, &upstream);

    if (r < 0 && r != -ECANCELED)
        fprintf(stderr, "tcp_proxy: %s:%" PRIu16 ": %s\n", proxy->host, proxy->port,
                uco_strerror((int) r));
    if (r < 0)
        return 0; /* said already */
    proxy->connections++;

    struct pump up = {client, upstream}, down = {upstream, client};
    uco_task *tasks[] = {uco_create_task(pump_run, &up), uco_create_task(pump_run, &down)};

    r = uco_gather(tasks, 2, NULL); /* an error in one direction cancels the other */
    uco_unref_all(tasks, 2);
    pair_close(client, upstream);
    return r;
}

/* In a shield, since this task is cancelled: without it the grace would be none. */
static intptr_t
proxy_end(uco_server *server, double grace)
{
    uco_scope shield;
    int r = uco_shield_open(&shield, UCO_FOREVER);

    if (r < 0)
        return uco_server_close(server, 0);
    return uco_scope_close(&shield, uco_server_close(server, grace));
}

static intptr_t
proxy_run(void *arg)
{
    struct proxy *proxy = arg;
    uco_server *server =
        uco_server_start(proxy->listen_host, proxy->listen_port, proxy_connection, proxy);

    if (server == NULL)
        return -errno;
    printf("%s:%" PRIu16 "\n", proxy->listen_host, uco_server_port(server));
    fflush(stdout);

    uco_sleep(UCO_FOREVER); /* until a signal cancels this task */
    printf("no more connections; %g s for those that are left\n", proxy->grace);
    fflush(stdout);
    return proxy_end(server, proxy->grace);
}

static bool
port_parse(const char *text, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t) number;
    return true;
}

static bool
listen_parse(struct proxy *proxy, const char *text)
{
    const char *colon = strrchr(text, ':');
    int length;

    if (colon == NULL) {
        strcpy(proxy->listen_host, "127.0.0.1");
        return port_parse(text, &proxy->listen_port);
    }
    length =
        snprintf(proxy->listen_host, sizeof proxy->listen_host, "%.*s", (int) (colon - text), text);
    return length < (int) sizeof proxy->listen_host && port_parse(colon + 1, &proxy->listen_port);
}

static bool
arguments_parse(struct proxy *proxy, int argc, char *argv[])
{
    if (argc > 2 && strcmp(argv[1], "--grace") == 0) {
        char *end;

        proxy->grace = strtod(argv[2], &end);
        if (end == argv[2] || *end != '\0' || !(proxy->grace >= 0))
            return false;
        argc -= 2;
        argv += 2;
    }
    if (argc != 4)
        return false;
    proxy->host = argv[2];
    return listen_parse(proxy, argv[1]) && port_parse(argv[3], &proxy->port) && proxy->port != 0;
}

int
main(int argc, char *argv[])
{
    struct proxy proxy = {.grace = 10.0};
    intptr_t r;

    if (!arguments_parse(&proxy, argc, argv)) {
        fprintf(stderr, "usage: tcp_proxy [--grace SECONDS] LISTEN HOST PORT\n");
        return 2;
    }
    r = uco_run(proxy_run, &proxy);
    printf("%lu connections\n", proxy.connections);
    if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT) {
        fprintf(stderr, "tcp_proxy: %s\n", uco_strerror((int) r));
        return 1;
    }
    return 0;
}
