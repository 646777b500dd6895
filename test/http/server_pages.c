/* SPDX-License-Identifier: MIT */

/* The server's pages, but for those that take a body. */

#include "connection.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

char
server_byte(size_t position)
{
    return (char) ('a' + position % 23);
}

static char *
bytes_new(size_t size)
{
    char *bytes = malloc(size + 1);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = server_byte(i);
    return bytes;
}

/* --- as it should be --- */

static int
page_bytes(struct connection *c)
{
    size_t size = path_number(c);
    int r = put_head(c, "200 OK", size);
    char *bytes;

    if (r < 0 || c->without_body)
        return r;
    bytes = bytes_new(size);
    r = put_bytes(c, bytes, size);
    free(bytes);
    return r;
}

/* In one write: many small ones would wait for acknowledgements, which take real time, and a
 * virtual clock would not wait with them. */
static int
page_chunked(struct connection *c)
{
    size_t size = path_number(c);
    char *bytes, *text;
    size_t used = 0;
    int r = put(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");

    if (r < 0 || c->without_body)
        return r;
    bytes = bytes_new(size);
    text = malloc(size + (size / 1000 + 2) * 16);
    ck_assert_ptr_nonnull(text);
    for (size_t done = 0; done < size; done += 1000) {
        size_t part = size - done < 1000 ? size - done : 1000;

        used += (size_t) sprintf(text + used, "%zx\r\n", part);
        memcpy(text + used, bytes + done, part);
        used += part;
        used += (size_t) sprintf(text + used, "\r\n");
    }
    used += (size_t) sprintf(text + used, "0\r\n\r\n");
    r = put_bytes(c, text, used);
    free(text);
    free(bytes);
    return r;
}

static int
page_late(struct connection *c)
{
    int r = uco_sleep((double) path_number(c) / 1000);

    return r < 0 ? r : put_page(c, "200 OK", "late");
}

static int
page_status(struct connection *c)
{
    char status[32];
    size_t number = path_number(c);

    snprintf(status, sizeof status, "%zu Status", number);
    if (number == 204 || number == 304) {
        char head[64];

        snprintf(head, sizeof head, "HTTP/1.1 %s\r\n\r\n", status);
        return put(c, head);
    }
    return put_page(c, status, "status");
}

static int
page_echo(struct connection *c)
{
    return put_page(c, "200 OK", c->head);
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

    return r < 0 ? r : put_bytes(c, body, sizeof body);
}

static int
page_continue(struct connection *c)
{
    return put(c, "HTTP/1.1 100 Continue\r\nX-Early: yes\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nX-Late: yes\r\nContent-Length: 4\r\n\r\ndone");
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

/* --- wrong --- */

#define TEN "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"

static int
page_short(struct connection *c)
{
    int r = put(c, TEN);

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
    reset_at_close(c);
    return page_short(c);
}

static int
page_refuse(struct connection *c)
{
    reset_at_close(c);
    return -ECONNABORTED;
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
page_raw(struct connection *c)
{
    const struct server *server = c->server;
    int r =
        put_bytes(c, server->raw, server->raw_size > 0 ? server->raw_size : strlen(server->raw));

    return r < 0 ? r : -ECONNABORTED;
}

static int
page_once(struct connection *c)
{
    return c->requests == 1 ? put_page(c, "200 OK", "once") : -ECONNABORTED;
}

/* --- slow --- */

static int
page_endless(struct connection *c)
{
    char *bytes = bytes_new(SERVER_PAGE);
    int r = put(c, "HTTP/1.1 200 OK\r\n\r\n");

    while (r >= 0) {
        size_t done = 0;

        r = (int) uco_write_all(c->fd, bytes, SERVER_PAGE, &done);
        c->server->sent += done;
    }
    free(bytes);
    return r;
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
    int r = put(c, TEN);

    return r < 0 ? r : stall(c);
}

static int
page_drip(struct connection *c)
{
    size_t size = path_number(c);
    int r = put_head(c, "200 OK", size);

    for (size_t i = 0; r >= 0 && i < size; i++) {
        char byte = server_byte(i);

        r = put_bytes(c, &byte, 1);
        if (r >= 0)
            r = uco_sleep(0.005);
    }
    return r < 0 ? r : 0;
}

static int
page_gate(struct connection *c)
{
    int r = uco_event_wait(&c->server->gate);

    return r < 0 ? r : put_page(c, "200 OK", "open");
}

static int
page_gatebody(struct connection *c)
{
    int r = put(c, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789");

    if (r == 0)
        r = uco_event_wait(&c->server->gate);
    return r < 0 ? r : put(c, "abcdefghij");
}

static int
page_gatereset(struct connection *c)
{
    int r = put(c, TEN);

    if (r == 0)
        r = uco_event_wait(&c->server->gate);
    reset_at_close(c);
    return r < 0 ? r : -ECONNABORTED;
}

/* --- elsewhere --- */

static int
put_redirect(struct connection *c, const char *status, const char *location)
{
    char head[4096];

    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 5\r\n\r\n%s",
             status, location, c->without_body ? "" : "moved");
    return put(c, head);
}

static int
page_redirect(struct connection *c)
{
    size_t left = path_number(c);
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
page_lead(struct connection *c)
{
    int r =
        put(c, c->server->failures > 0 ? "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"
                                       : "HTTP/1.1 302 Found\r\nLocation: /late/0\r\n"
                                         "Transfer-Encoding: chunked\r\n\r\n");

    if (c->server->failures > 0)
        c->server->failures--;
    while (r == 0) {
        r = put(c, "a\r\n0123456789\r\n");
        c->server->sent += 10;
    }
    return r;
}

static int
page_moved(struct connection *c)
{
    char status[32];

    snprintf(status, sizeof status, "%zu Moved", path_number(c));
    if (c->server->location == NULL)
        return put_page(c, status, "moved");
    return put_redirect(c, status, c->server->location);
}

/* --- at first --- */

static int
flaky_status(struct connection *c)
{
    const char *after = c->server->retry_after;
    char head[256];

    snprintf(head, sizeof head, "HTTP/1.1 %zu Status\r\n%s%s%sContent-Length: 4\r\n\r\n%s",
             path_number(c), after != NULL ? "Retry-After: " : "", after != NULL ? after : "",
             after != NULL ? "\r\n" : "", c->without_body ? "" : "oops");
    return put(c, head);
}

static int
page_flaky(struct connection *c)
{
    bool early;

    if (c->server->failures == 0)
        return put_page(c, "200 OK", "well");
    c->server->failures--;
    if (path_number(c) > 0)
        return flaky_status(c);
    return page_find(c->path + strlen("/flaky"), &early)(c);
}

/* --- all of them --- */

static const struct {
    const char *prefix;
    page_fn *page;
    bool early;
} pages[] = {
    {"/bytes/", page_bytes, false},
    {"/chunked/", page_chunked, false},
    {"/late/", page_late, false},
    {"/status/", page_status, false},
    {"/echo", page_echo, false},
    {"/headers", page_headers, false},
    {"/gzip", page_gzip, false},
    {"/continue", page_continue, false},
    {"/cookie", page_cookie, false},
    {"/leave", page_leave, false},
    {"/short", page_short, false},
    {"/more", page_more, false},
    {"/reset", page_reset, false},
    {"/refuse", page_refuse, false},
    {"/cut", page_cut, false},
    {"/nothing", page_nothing, false},
    {"/garbage", page_garbage, false},
    {"/badchunk", page_badchunk, false},
    {"/badgzip", page_badgzip, false},
    {"/flood", page_flood, false},
    {"/raw", page_raw, false},
    {"/once", page_once, false},
    {"/endless", page_endless, false},
    {"/stallhead", page_stallhead, false},
    {"/stallbody", page_stallbody, false},
    {"/stall", stall, false},
    {"/drip/", page_drip, false},
    {"/gatebody", page_gatebody, false},
    {"/gatereset", page_gatereset, false},
    {"/gateupload", page_gateupload, true},
    {"/gate", page_gate, false},
    {"/redirect/", page_redirect, false},
    {"/to/", page_to, false},
    {"/loop", page_loop, false},
    {"/lead", page_lead, false},
    {"/moved/", page_moved, false},
    {"/flaky/", page_flaky, false},
    {"/basic", page_basic, false},
    {"/bearer", page_bearer, false},
    {"/digest256", page_digest256, false},
    {"/digest", page_digest, false},
    {"/upload", page_upload, false},
    {"/ignore", page_ignore, true},
    {"/expect417", page_expect417, true},
    {"/early/", page_early, true},
    {"/hangup", page_hangup, true},
    {"/slow/", page_slow, true},
};

page_fn *
page_find(const char *path, bool *early)
{
    *early = false;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strncmp(path, pages[i].prefix, strlen(pages[i].prefix)) == 0) {
            *early = pages[i].early;
            return pages[i].page;
        }
    }
    return NULL;
}
