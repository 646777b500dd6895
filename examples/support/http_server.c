/* SPDX-License-Identifier: MIT */

/*
 * One coroutine accepts, one more serves each connection: it reads a request, answers it, and reads
 * the next. Nothing here is a state machine; where a read brings half a line, the loop that reads
 * goes round once more.
 *
 * 1. A connection's fd is closed by its own task, or by the task's discard when that never started.
 * 2. What a client can make the server hold or wait for has a limit, below.
 */

#include "http_server.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <uco/uco.h>

enum {
    MAX_CONNECTIONS = 1000,
    MAX_REQUEST = 8 * 1024,      /* bytes of a request's line and headers */
    MAX_PAGE = 64 * 1024 * 1024, /* bytes, of /bytes/N */
    MAX_SLOW = 60 * 1000,        /* milliseconds, of /slow/MS */
    CHUNK = 16 * 1024,           /* bytes of a page that are written at once */
};

#define REQUEST_TIMEOUT 30.0 /* seconds from the last answer to the end of the next request */
#define WRITE_TIMEOUT 30.0   /* seconds for one chunk */
#define RETRY 0.05           /* seconds to wait for room before the next accept */

struct connection {
    struct http_server *server;
    int fd;
    size_t used; /* bytes in buffer: it may hold the beginning of the next request */
    char buffer[MAX_REQUEST + 1];
};

struct request {
    char *path;
    bool get;
    bool keep_alive;
};

/* The byte at a position of a page. 251 is prime, so that no power of two repeats: a chunk that
 * came twice, or in the wrong place, shows. */
static char
page_byte(size_t position)
{
    return (char) (' ' + position % 251 % 95);
}

bool
http_page_check(const char *text, size_t size, size_t expected)
{
    if (size != expected)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != page_byte(i))
            return false;
    }
    return true;
}

/* A decimal number of at most `limit`, or -1; *end is where it ends. */
static long
number_parse(const char *text, char **end, long limit)
{
    long number;

    if (!isdigit((unsigned char) text[0]))
        return -1;
    errno = 0;
    number = strtol(text, end, 10);
    return errno == 0 && number <= limit ? number : -1;
}

/* Returns the length of the request at the beginning of the buffer, 0 when the client has closed,
 * or an error: -EMSGSIZE for one that is too long. */
static ssize_t
request_read(struct connection *c)
{
    for (;;) {
        const char *end;
        ssize_t n;

        c->buffer[c->used] = '\0';
        end = strstr(c->buffer, "\r\n\r\n");
        if (end != NULL)
            return end + 4 - c->buffer;
        if (c->used == MAX_REQUEST)
            return -EMSGSIZE;

        n = uco_read(c->fd, c->buffer + c->used, MAX_REQUEST - c->used);
        if (n <= 0)
            return n;
        if (memchr(c->buffer + c->used, '\0', (size_t) n) != NULL)
            return -EPROTO;
        c->used += (size_t) n;
    }
}

/* A header line begins with this name? Its value, without the spaces before it, or NULL. */
static const char *
header_value(const char *line, const char *name)
{
    size_t length = strlen(name);

    if (strncasecmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    return line + length + 1 + strspn(line + length + 1, " \t");
}

static int
request_parse(char *text, struct request *request)
{
    char *rest = NULL;
    char *line = strtok_r(text, "\r\n", &rest);
    char *method = line != NULL ? strsep(&line, " ") : NULL;
    char *path = strsep(&line, " ");

    if (path == NULL || path[0] != '/' || line == NULL || strncmp(line, "HTTP/1.", 7) != 0)
        return -EPROTO;

    request->get = strcmp(method, "GET") == 0;
    request->path = path;
    request->keep_alive = strcmp(line, "HTTP/1.0") != 0;
    while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL) {
        const char *connection = header_value(line, "Connection");

        if (connection != NULL && strncasecmp(connection, "close", 5) == 0)
            request->keep_alive = false;
        /* A body is not read, so what follows it can't be found. */
        if (header_value(line, "Content-Length") != NULL ||
            header_value(line, "Transfer-Encoding") != NULL)
            request->keep_alive = false;
    }
    return 0;
}

/* Cut off by its own timeout, so that a client that no longer reads does not hold its connection
 * for ever. */
static int
connection_write(struct connection *c, const void *data, size_t size)
{
    uco_scope timeout;
    int r = uco_scope_open(&timeout, WRITE_TIMEOUT);

    if (r < 0)
        return r;
    r = (int) uco_scope_close(&timeout, uco_write_all(c->fd, data, size, NULL));
    return r < 0 ? r : 0;
}

static int
answer_head(struct connection *c, const struct request *request, const char *status, size_t size)
{
    char head[256];
    int length = snprintf(
        head, sizeof head,
        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n",
        status, size, request->keep_alive ? "keep-alive" : "close");

    c->server->served++;
    return connection_write(c, head, (size_t) length);
}

static int
answer_text(struct connection *c, const struct request *request, const char *status,
            const char *text)
{
    int r = answer_head(c, request, status, strlen(text));

    return r < 0 ? r : connection_write(c, text, strlen(text));
}

static int
answer_bytes(struct connection *c, const struct request *request, size_t size)
{
    int r = answer_head(c, request, "200 OK", size);

    for (size_t done = 0; r == 0 && done < size;) {
        char chunk[CHUNK];
        size_t n = size - done < CHUNK ? size - done : CHUNK;

        for (size_t i = 0; i < n; i++)
            chunk[i] = page_byte(done + i);
        r = connection_write(c, chunk, n);
        done += n;
    }
    return r;
}

static int
answer(struct connection *c, const struct request *request)
{
    const char *path = request->path;
    char *end;

    if (!request->get)
        return answer_text(c, request, "405 Method Not Allowed", "GET only\n");

    if (strncmp(path, "/slow/", 6) == 0) {
        long milliseconds = number_parse(path + 6, &end, MAX_SLOW);
        int r;

        if (milliseconds < 0 || (*end != '\0' && *end != '/'))
            return answer_text(c, request, "400 Bad Request", "bad number\n");
        r = uco_sleep((double) milliseconds / 1000.0);
        if (r < 0)
            return r;
        path = *end == '/' ? end : "/hello";
    }
    if (strncmp(path, "/bytes/", 7) == 0) {
        long size = number_parse(path + 7, &end, MAX_PAGE);

        if (size < 0 || *end != '\0')
            return answer_text(c, request, "400 Bad Request", "bad number\n");
        return answer_bytes(c, request, (size_t) size);
    }
    if (strcmp(path, "/hello") == 0)
        return answer_text(c, request, "200 OK", "hello from uco\n");
    return answer_text(c, request, "404 Not Found", "no such page\n");
}

/* One request and its answer. Returns 1 when another may follow, 0 at the end, or an error. */
static int
connection_serve_one(struct connection *c)
{
    struct request request = {0};
    uco_scope timeout;
    ssize_t length;
    int r;

    r = uco_scope_open(&timeout, REQUEST_TIMEOUT);
    if (r < 0)
        return r;
    length = uco_scope_close(&timeout, request_read(c));
    if (length == -EMSGSIZE)
        return answer_text(c, &request, "431 Request Header Fields Too Large", "too long\n");
    if (length == -EPROTO)
        return answer_text(c, &request, "400 Bad Request", "not HTTP\n");
    if (length <= 0)
        return (int) length;

    c->buffer[length - 1] = '\0';
    r = request_parse(c->buffer, &request);
    if (r < 0)
        return answer_text(c, &request, "400 Bad Request", "not HTTP\n");

    r = answer(c, &request);
    if (r < 0)
        return r;
    c->used -= (size_t) length;
    memmove(c->buffer, c->buffer + length, c->used);
    return request.keep_alive;
}

static void
connection_free(void *arg)
{
    struct connection *c = arg;

    c->server->open--;
    uco_close(c->fd);
    free(c);
}

static intptr_t
connection_run(void *arg)
{
    struct connection *c = arg;
    int r;

    do
        r = connection_serve_one(c);
    while (r > 0);
    connection_free(c);
    return 0; /* a client that went away is no failure of the server's */
}

/* Takes fd, whatever happens. */
static void
connection_start(struct http_server *server, int fd)
{
    uco_task_options options = {.name = "connection", .discard = connection_free};
    struct connection *c = malloc(sizeof *c);
    uco_task *task;

    if (c == NULL) {
        uco_close(fd);
        return;
    }
    c->server = server;
    c->fd = fd;
    c->used = 0;
    server->open++;

    task = uco_create_task_with(&options, connection_run, c);
    if (task == NULL)
        connection_free(c);
    uco_unref(task); /* it goes on, as a child of the server */
}

int
http_server_open(struct http_server *server, uint16_t port)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = uco_listen("127.0.0.1", port, 0);

    if (fd < 0)
        return fd;
    if (getsockname(fd, (struct sockaddr *) &address, &length) < 0) {
        int error = -errno;

        uco_close(fd);
        return error;
    }
    *server = (struct http_server){.fd = fd, .port = ntohs(address.sin_port)};
    return 0;
}

void
http_server_discard(void *arg)
{
    struct http_server *server = arg;

    uco_close(server->fd);
}

/* While there is no room, clients wait in the kernel's backlog. */
static int
server_accept(struct http_server *server)
{
    for (;;) {
        int r = -EMFILE;

        if (server->open < MAX_CONNECTIONS)
            r = uco_accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
        if (r != -EMFILE && r != -ENFILE && r != -ENOMEM)
            return r;
        r = uco_sleep(RETRY);
        if (r < 0)
            return r;
    }
}

intptr_t
http_server_run(void *arg)
{
    struct http_server *server = arg;
    int fd;

    while ((fd = server_accept(server)) >= 0) {
        /* An answer is two writes; Nagle's algorithm would keep the second back until the first is
         * acknowledged. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        connection_start(server, fd);
    }
    uco_close(server->fd);
    return fd;
}
