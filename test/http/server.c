/* SPDX-License-Identifier: MIT */

/* The server itself: connections, requests and their bodies. */

#include "connection.h"

#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* --- what is sent --- */

int
put_bytes(struct connection *c, const void *data, size_t size)
{
    ssize_t r = uco_write_all(c->fd, data, size, NULL);

    return r < 0 ? (int) r : 0;
}

int
put(struct connection *c, const char *text)
{
    return put_bytes(c, text, strlen(text));
}

int
put_head(struct connection *c, const char *status, size_t size)
{
    char head[128];

    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, size);
    return put(c, head);
}

int
put_page(struct connection *c, const char *status, const char *text)
{
    int r = put_head(c, status, strlen(text));

    return r < 0 || c->without_body ? r : put(c, text);
}

/* --- what is received --- */

/* More into the buffer, which has room: 0, or an error; also at the end. */
static int
connection_fill(struct connection *c)
{
    ssize_t n;

    if (c->start > 0) {
        memmove(c->buffer, c->buffer + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    if (c->end == sizeof c->buffer - 1)
        return -EMSGSIZE;
    n = uco_read(c->fd, c->buffer + c->end, sizeof c->buffer - 1 - c->end);
    if (n <= 0)
        return n < 0 ? (int) n : -ENODATA;
    c->end += (size_t) n;
    return 0;
}

/* Up to n bytes of the body. */
static ssize_t
connection_take(struct connection *c, void *buf, size_t n)
{
    size_t here = c->end - c->start;
    ssize_t r;

    if (here > 0) {
        n = n < here ? n : here;
        memcpy(buf, c->buffer + c->start, n);
        c->start += n;
        return (ssize_t) n;
    }
    if (c->pace > 0) {
        n = n < c->pace ? n : c->pace;
        r = uco_sleep(0.001);
        if (r < 0)
            return r;
    }
    r = uco_read(c->fd, buf, n);
    return r == 0 ? -ENODATA : r;
}

/* By half as much again: a body of many chunks is not copied for each of them. */
static void
body_grow(struct connection *c, size_t n)
{
    if (c->body_room - c->body_size > n)
        return;
    c->body_room = c->body_size + n + 1;
    c->body_room += c->body_room / 2;
    c->body = realloc(c->body, c->body_room);
    ck_assert_ptr_nonnull(c->body);
}

static int
body_take_bytes(struct connection *c, size_t n)
{
    body_grow(c, n);
    while (n > 0) {
        ssize_t r = connection_take(c, c->body + c->body_size, n);

        if (r < 0)
            return (int) r;
        c->body_size += (size_t) r;
        c->server->received += (size_t) r;
        n -= (size_t) r;
    }
    return 0;
}

static int
body_take_line(struct connection *c, char *line, size_t size)
{
    size_t used = 0;

    do {
        ssize_t r = connection_take(c, line + used, 1);

        if (r < 0)
            return (int) r;
        if (++used == size)
            return -EMSGSIZE;
    } while (line[used - 1] != '\n');
    line[used] = '\0';
    return 0;
}

static int
body_take_chunks(struct connection *c)
{
    char line[64];
    size_t size;
    int r;

    do {
        r = body_take_line(c, line, sizeof line);
        if (r < 0)
            return r;
        size = strtoul(line, NULL, 16);
        r = body_take_bytes(c, size);
        if (r == 0)
            r = body_take_line(c, line, sizeof line);
        if (r < 0)
            return r;
        if (strcmp(line, "\r\n") != 0)
            return -EPROTO;
    } while (size > 0);
    return 0;
}

int
body_take(struct connection *c)
{
    struct server *server = c->server;
    int r = 0;

    if (c->expects) {
        c->expects = false;
        r = put(c, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (r == 0)
        r = c->chunked ? body_take_chunks(c) : body_take_bytes(c, c->announced);
    if (r < 0)
        return r;
    c->taken = true;
    free(server->body);
    server->body = NULL;
    if (c->body_size > 0) {
        server->body = malloc(c->body_size + 1);
        ck_assert_ptr_nonnull(server->body);
        memcpy(server->body, c->body, c->body_size);
        server->body[c->body_size] = '\0';
    }
    server->body_size = c->body_size;
    server->body_chunked = c->chunked;
    return 0;
}

/* --- requests --- */

const char *
head_value(const struct connection *c, const char *name, char *buf, size_t size)
{
    size_t length = strlen(name);

    for (const char *line = strstr(c->head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            line += strspn(line, " ");
            snprintf(buf, size, "%.*s", (int) strcspn(line, "\r"), line);
            return buf;
        }
    }
    return NULL;
}

size_t
path_number(const struct connection *c)
{
    return strtoul(strrchr(c->path, '/') + 1, NULL, 10);
}

/* Until a head is in the buffer: its length. */
static ssize_t
request_read(struct connection *c)
{
    for (;;) {
        const char *end;
        int r;

        c->buffer[c->end] = '\0';
        end = strstr(c->buffer + c->start, "\r\n\r\n");
        if (end != NULL)
            return end + 4 - (c->buffer + c->start);
        r = connection_fill(c);
        if (r < 0)
            return r;
    }
}

static void
request_frame(struct connection *c)
{
    char value[64];

    c->without_body = strncmp(c->head, "HEAD ", 5) == 0;
    c->expects = head_value(c, "Expect", value, sizeof value) != NULL;
    c->chunked = head_value(c, "Transfer-Encoding", value, sizeof value) != NULL;
    c->announced = 0;
    if (head_value(c, "Content-Length", value, sizeof value) != NULL)
        c->announced = strtoul(value, NULL, 10);
    free(c->body);
    c->body = NULL;
    c->body_size = 0;
    c->body_room = 0;
    c->taken = false;
    c->pace = 0;
}

static void
request_note(struct connection *c)
{
    struct server *server = c->server;
    size_t used = strlen(server->log);

    memcpy(server->last, c->head, sizeof server->last);
    snprintf(server->log + used, sizeof server->log - used, "%.*s %s\n",
             (int) strcspn(c->head, " "), c->head, c->path);
    if (server->requests < sizeof server->when / sizeof server->when[0])
        server->when[server->requests] = uco_time();
    server->expected = c->expects;
    server->requests++;
    c->requests++;
}

static int
request_answer(struct connection *c)
{
    bool early;
    page_fn *page = page_find(c->path, &early);
    int r = early ? 0 : body_take(c);

    if (r == 0)
        r = page != NULL ? page(c) : put_page(c, "404 Not Found", "no such page");
    /* What follows may be the body, or not: nobody can tell. */
    return r == 0 && !c->taken ? -ECONNABORTED : r;
}

static int
connection_answer(struct connection *c, size_t length)
{
    struct server *server = c->server;
    char path[2048];
    int r;

    snprintf(c->head, sizeof c->head, "%.*s", (int) length, c->buffer + c->start);
    c->start += length;
    snprintf(path, sizeof path, "%.*s", (int) strcspn(strchr(c->head, ' ') + 1, " "),
             strchr(c->head, ' ') + 1);
    c->path = path;
    request_frame(c);
    request_note(c);
    server->busy++;
    if (server->busy > server->peak)
        server->peak = server->busy;
    r = request_answer(c);
    server->busy--;
    return r;
}

/* --- connections --- */

int
stall(struct connection *c)
{
    char byte;
    ssize_t r = uco_read(c->fd, &byte, 1);

    return r < 0 ? (int) r : -ECONNABORTED;
}

void
reset_at_close(struct connection *c)
{
    const struct linger at_once = {.l_onoff = 1};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void
connection_discard(void *arg)
{
    struct connection *c = arg;

    c->server->open--;
    uco_close(c->fd);
    free(c->body);
    free(c);
}

static intptr_t
connection_run(void *arg)
{
    struct connection *c = arg;
    ssize_t length;
    int r = 0;

    while (r >= 0 && (length = request_read(c)) > 0)
        r = connection_answer(c, (size_t) length);
    connection_discard(c);
    return 0;
}

/* Goes on when a test has taken memory or descriptors away. */
static int
server_accept(struct server *server)
{
    int fd;

    do
        fd = uco_accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    while ((fd == -ENOMEM || fd == -EMFILE) && uco_sleep(0.001) == 0);
    return fd;
}

static intptr_t
server_run(void *arg)
{
    uco_task_options options = {.name = "connection", .discard = connection_discard};
    struct server *server = arg;
    uco_task *task;
    int fd;

    while ((fd = server_accept(server)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);

        ck_assert_ptr_nonnull(c);
        /* Or a second small write waits until the client has acknowledged the first, 40 ms later.
         * */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        c->server = server;
        c->fd = fd;
        server->accepted++;
        server->open++;
        task = uco_create_task_with(&options, connection_run, c);
        if (task == NULL)
            connection_discard(c);
        uco_unref(task);
    }
    uco_close(server->fd);
    return 0;
}

void
server_start(struct server *server)
{
    uco_task_options options = {.name = "server"};
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    *server = (struct server){.fd = uco_listen("127.0.0.1", 0, 0)};
    ck_assert_int_ge(server->fd, 0);
    ck_assert_int_eq(getsockname(server->fd, (struct sockaddr *) &address, &length), 0);
    server->port = ntohs(address.sin_port);
    server->task = uco_create_task_with(&options, server_run, server);
    ck_assert_ptr_nonnull(server->task);
    ck_assert_int_eq(uco_sleep(0), 0); /* it has begun, so its cancellation is its own affair */
}

void
server_stop(struct server *server)
{
    if (server->task == NULL)
        return;
    uco_cancel(server->task);
    ck_assert_int_eq(uco_join(server->task), 0);
    server->task = NULL;
    free(server->body);
    server->body = NULL;
}
