/* SPDX-License-Identifier: MIT */

#include "server.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct connection {
    struct server *server;
    int fd;
    size_t used;
    char buffer[4096];
    const char *path; /* of the present request */
};

char
server_byte(size_t position)
{
    return (char) ('a' + position % 23);
}

/* --- what is sent --- */

static int
put(struct connection *c, const char *text)
{
    ssize_t r = uco_write_all(c->fd, text, strlen(text), NULL);

    return r < 0 ? (int) r : 0;
}

static int
put_head(struct connection *c, const char *status, size_t size)
{
    char head[128];

    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, size);
    return put(c, head);
}

static int
put_page(struct connection *c, const char *status, const char *text)
{
    int r = put_head(c, status, strlen(text));

    return r < 0 ? r : put(c, text);
}

/* The rest of the path is a number. */
static size_t
number(const struct connection *c)
{
    return strtoul(strrchr(c->path, '/') + 1, NULL, 10);
}

static char *
page_new(size_t size)
{
    char *page = malloc(size + 1);

    ck_assert_ptr_nonnull(page);
    for (size_t i = 0; i < size; i++)
        page[i] = server_byte(i);
    return page;
}

/* --- the pages; 0: the connection goes on. --- */

static int
page_bytes(struct connection *c)
{
    size_t size = number(c);
    char *page = page_new(size);
    ssize_t r = put_head(c, "200 OK", size);

    if (r == 0)
        r = uco_write_all(c->fd, page, size, NULL);
    free(page);
    return r < 0 ? (int) r : 0;
}

static int
page_chunked(struct connection *c)
{
    size_t size = number(c);
    char *page = page_new(size);
    char line[32];
    int r = put(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");

    for (size_t done = 0; r >= 0 && done < size; done += 1000) {
        size_t part = size - done < 1000 ? size - done : 1000;

        snprintf(line, sizeof line, "%zx\r\n", part);
        r = put(c, line);
        if (r >= 0)
            r = (int) uco_write_all(c->fd, page + done, part, NULL);
        if (r >= 0)
            r = put(c, "\r\n");
    }
    free(page);
    return r < 0 ? r : put(c, "0\r\n\r\n");
}

static int
page_late(struct connection *c)
{
    int r = uco_sleep((double) number(c) / 1000);

    return r < 0 ? r : put_page(c, "200 OK", "late");
}

static int
page_status(struct connection *c)
{
    char status[32];

    snprintf(status, sizeof status, "%zu Status", number(c));
    return put_page(c, status, "status");
}

static int
page_echo(struct connection *c)
{
    return put_page(c, "200 OK", c->server->last);
}

static int
page_headers(struct connection *c)
{
    return put(c, "HTTP/1.1 200 OK\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\n"
                  "X-Twice: first\r\nX-Twice: second\r\n"
                  "X-Folded: one\r\n   two\r\n"
                  "X-Empty:\r\n"
                  "X-Spaces:  \t padded \t \r\n"
                  "Content-Length: 2\r\n\r\nok");
}

static int
page_gzip(struct connection *c)
{
    static const unsigned char body[] = {
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb,
        0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0x48, 0xaf, 0xca, 0x2c, 0xe0,
        0x02, 0x00, 0x86, 0x1f, 0x82, 0xa4, 0x0c, 0x00, 0x00, 0x00,
    };
    int r = put(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 32\r\n\r\n");

    return r < 0 ? r : (int) uco_write_all(c->fd, body, sizeof body, NULL);
}

static int
page_continue(struct connection *c)
{
    return put(c, "HTTP/1.1 100 Continue\r\nX-Early: yes\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nX-Late: yes\r\nContent-Length: 4\r\n\r\ndone");
}

static int
put_redirect(struct connection *c, const char *status, const char *location)
{
    char head[512];

    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved",
             status, location);
    return put(c, head);
}

static int
page_redirect(struct connection *c)
{
    size_t left = number(c);
    char location[64];

    if (left == 0)
        return put_page(c, "200 OK", "there");
    snprintf(location, sizeof location, "%zu", left - 1);
    return put_redirect(c, left % 2 == 0 ? "302 Found" : "301 Moved Permanently", location);
}

static int
page_to(struct connection *c)
{
    return put_redirect(c, "307 Temporary Redirect", c->path + strlen("/to/"));
}

static int
page_loop(struct connection *c)
{
    return put_redirect(c, "302 Found", "/loop");
}

static int
page_cookie(struct connection *c)
{
    return put(
        c,
        "HTTP/1.1 200 OK\r\nSet-Cookie: taste=sweet; Max-Age=9999\r\nContent-Length: 3\r\n\r\nset");
}

static int
page_leave(struct connection *c)
{
    int r = put_page(c, "200 OK", "left");

    return r < 0 ? r : -ECONNABORTED;
}

static int
page_short(struct connection *c)
{
    int r = put(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");

    return r < 0 ? r : -ECONNABORTED;
}

static int
page_more(struct connection *c)
{
    return put(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0123456789");
}

static int
page_reset(struct connection *c)
{
    const struct linger at_once = {.l_onoff = 1};
    int r = page_short(c);

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return r;
}

static int
page_cut(struct connection *c)
{
    int r = put(c, "HTTP/1.1 200 OK\r\nContent-Type: text/pl");

    return r < 0 ? r : -ECONNABORTED;
}

static int
page_nothing(struct connection *c)
{
    (void) c;
    return -ECONNABORTED;
}

static int
page_garbage(struct connection *c)
{
    int r = put(c, "I do not speak HTTP, and never have.\r\n\r\n");

    return r < 0 ? r : -ECONNABORTED;
}

static int
page_badchunk(struct connection *c)
{
    return put(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nxxxx\r\n0\r\n\r\n");
}

static int
page_badgzip(struct connection *c)
{
    return put(c,
               "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789");
}

static int
page_flood(struct connection *c)
{
    int r = put(c, "HTTP/1.1 200 OK\r\n");

    while (r >= 0)
        r = put(
            c,
            "X-Flood: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
    return r;
}

static int
page_endless(struct connection *c)
{
    char *page = page_new(16384);
    ssize_t r = put(c, "HTTP/1.1 200 OK\r\n\r\n");

    while (r >= 0)
        r = uco_write_all(c->fd, page, 16384, NULL);
    free(page);
    return (int) r;
}

/* Until the client has gone. */
static int
stall(struct connection *c)
{
    char byte;
    ssize_t r = uco_read(c->fd, &byte, 1);

    return r < 0 ? (int) r : -ECONNABORTED;
}

static int
page_stallhead(struct connection *c)
{
    int r = put(c, "HTTP/1.1 200 OK\r\nContent-Ty");

    return r < 0 ? r : stall(c);
}

static int
page_stallbody(struct connection *c)
{
    int r = put(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");

    return r < 0 ? r : stall(c);
}

static int
page_drip(struct connection *c)
{
    size_t size = number(c);
    int r = put_head(c, "200 OK", size);

    for (size_t i = 0; r >= 0 && i < size; i++) {
        char byte = server_byte(i);

        r = (int) uco_write_all(c->fd, &byte, 1, NULL);
        if (r >= 0)
            r = uco_sleep(0.005);
    }
    return r < 0 ? r : 0;
}

static const struct {
    const char *prefix;
    int (*page)(struct connection *c);
} pages[] = {
    {"/bytes/", page_bytes},
    {"/chunked/", page_chunked},
    {"/late/", page_late},
    {"/status/", page_status},
    {"/echo", page_echo},
    {"/headers", page_headers},
    {"/gzip", page_gzip},
    {"/continue", page_continue},
    {"/redirect/", page_redirect},
    {"/to/", page_to},
    {"/loop", page_loop},
    {"/cookie", page_cookie},
    {"/leave", page_leave},
    {"/short", page_short},
    {"/more", page_more},
    {"/reset", page_reset},
    {"/cut", page_cut},
    {"/nothing", page_nothing},
    {"/garbage", page_garbage},
    {"/badchunk", page_badchunk},
    {"/badgzip", page_badgzip},
    {"/flood", page_flood},
    {"/endless", page_endless},
    {"/stallhead", page_stallhead},
    {"/stallbody", page_stallbody},
    {"/stall", stall},
    {"/drip/", page_drip},
};

/* --- connections --- */

/* The length of the next request's head; 0 at the end. */
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
        if (c->used == sizeof c->buffer - 1)
            return -EMSGSIZE;
        n = uco_read(c->fd, c->buffer + c->used, sizeof c->buffer - 1 - c->used);
        if (n <= 0)
            return n;
        c->used += (size_t) n;
    }
}

static int
connection_answer(struct connection *c)
{
    struct server *server = c->server;
    char *path = strchr(server->last, ' ') + 1;
    char copy[512];
    int r = -ENOENT;

    snprintf(copy, sizeof copy, "%.*s", (int) strcspn(path, " "), path);
    c->path = copy;
    server->requests++;
    server->busy++;
    if (server->busy > server->peak)
        server->peak = server->busy;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strncmp(copy, pages[i].prefix, strlen(pages[i].prefix)) == 0) {
            r = pages[i].page(c);
            break;
        }
    }
    if (r == -ENOENT)
        r = put_page(c, "404 Not Found", "no such page");
    server->busy--;
    return r;
}

static intptr_t
connection_run(void *arg)
{
    struct connection *c = arg;
    ssize_t length;
    int r = 0;

    while (r >= 0 && (length = request_read(c)) > 0) {
        snprintf(c->server->last, sizeof c->server->last, "%.*s", (int) length, c->buffer);
        c->used -= (size_t) length;
        memmove(c->buffer, c->buffer + length, c->used);
        r = connection_answer(c);
    }
    c->server->open--;
    uco_close(c->fd);
    free(c);
    return 0;
}

static void
connection_discard(void *arg)
{
    struct connection *c = arg;

    c->server->open--;
    uco_close(c->fd);
    free(c);
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
}
