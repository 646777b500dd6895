/* SPDX-License-Identifier: MIT */

/*
 * shutdown [GRACE] - A server that ends in good order when it is interrupted (Ctrl-C).
 *
 * A client sends a line with a number of milliseconds, gets "working", and after as long "done".
 * SIGINT or SIGTERM cancels the main task, which then takes no more clients, lets those that it has
 * go on for GRACE seconds (5), and cuts the rest short; they are still told so. A second signal
 * kills the program.
 */

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uco/uco.h>

enum { MAX_LINE = 31 };

#define REQUEST_TIMEOUT 30.0 /* seconds for a client to say what it wants */
#define GOODBYE 1.0          /* seconds in which a client that is cut short can be told */

struct server {
    int fd;
    double grace; /* seconds */
    uco_group *clients;
    unsigned finished, cut, failed;
};

struct client {
    struct server *server;
    int fd;
};

static int
say(int fd, const char *text)
{
    ssize_t n = uco_write_all(fd, text, strlen(text), NULL);

    return n < 0 ? (int) n : 0;
}

/* Returns the number that the client sent, or an error. */
static intptr_t
request_read(void *arg)
{
    const struct client *client = arg;
    char line[MAX_LINE + 1] = "";

    for (size_t used = 0; strchr(line, '\n') == NULL;) {
        ssize_t n = uco_read(client->fd, line + used, MAX_LINE - used);

        if (n <= 0)
            return n < 0 ? n : -ENODATA; /* also when there is no room for more */
        used += (size_t) n;
    }
    return labs(strtol(line, NULL, 10)) % 1000000;
}

static int
client_serve(struct client *client)
{
    intptr_t milliseconds = uco_with_timeout(REQUEST_TIMEOUT, request_read, client);
    int r;

    if (milliseconds < 0)
        return (int) milliseconds;
    r = say(client->fd, "working\n");
    if (r == 0)
        r = uco_sleep((double) milliseconds / 1000.0);
    return r < 0 ? r : say(client->fd, "done\n");
}

static void
client_free(void *arg)
{
    struct client *client = arg;

    uco_close(client->fd);
    free(client);
}

static intptr_t
client_run(void *arg)
{
    struct client *client = arg;
    struct server *server = client->server;
    int r = client_serve(client);
    uco_scope shield;

    if (r == -ECANCELED && uco_shield_open(&shield, GOODBYE) == 0) {
        uco_scope_close(&shield, say(client->fd, "cut short\n")); /* can suspend, shielded */
        server->cut++;
    } else if (r < 0) {
        server->failed++;
    } else {
        server->finished++;
    }
    client_free(client);
    return 0; /* one client's trouble is none of the others': a failure would cancel the group */
}

/* Takes fd, whatever happens. */
static void
client_start(struct server *server, int fd)
{
    uco_task_options options = {.name = "client", .discard = client_free};
    struct client *client = malloc(sizeof *client);

    if (client == NULL) {
        uco_close(fd);
        return;
    }
    *client = (struct client){server, fd};
    if (uco_group_create_task_with(server->clients, &options, client_run, client) == NULL)
        client_free(client);
}

/* What runs is in a scope of its own, which the main task's cancellation does not reach. */
static intptr_t
server_wind_up(struct server *server)
{
    uco_scope grace;
    int r = uco_shield_open(&grace, server->grace);

    if (r < 0)
        return r;
    /* When the grace is over the members are cancelled, and waited for all the same. */
    return uco_scope_close(&grace, uco_group_wait(server->clients));
}

static intptr_t
server_run(void *arg)
{
    struct server *server = arg;
    intptr_t r;
    int fd;

    server->clients = uco_group_new();
    if (server->clients == NULL)
        return -errno;
    while ((fd = uco_accept4(server->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        client_start(server, fd);

    uco_close(server->fd);
    printf("no more clients: %s; %g s for those that are left\n", uco_strerror(fd), server->grace);
    fflush(stdout);
    r = server_wind_up(server);
    uco_group_free(server->clients);
    if (r == -ETIMEDOUT)
        printf("the time was up\n");
    return fd == -ECANCELED ? 0 : fd;
}

int
main(int argc, char *argv[])
{
    struct server server = {.grace = argc > 1 ? strtod(argv[1], NULL) : 5.0};
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    intptr_t r;

    server.fd = uco_listen("127.0.0.1", 0, 0);
    if (server.fd < 0 || getsockname(server.fd, (struct sockaddr *) &address, &length) < 0) {
        fprintf(stderr, "shutdown: no port to listen on\n");
        return 1;
    }
    printf("127.0.0.1:%" PRIu16 "\n", ntohs(address.sin_port));
    fflush(stdout);

    r = uco_run(server_run, &server);
    printf("%u finished, %u cut short, %u failed\n", server.finished, server.cut, server.failed);
    return r == 0 ? 0 : 1;
}
