/* SPDX-License-Identifier: MIT */

/*
 * What the waits of this folder have to tell in a dump.
 *
 * 1. Everything is read by copying (core/dump.h), and no call of libcurl is made: the handler that
 *    asks may have interrupted one.
 * 2. A URL is told without the name and password, and without the query, that it may have.
 */

#include "http/describe.h"

#include "core/dump.h"
#include "http/exchange.h"
#include "http/url.h"
#include "http/websocket.h"

#include <string.h>

#define URL_READ 512 /* bytes */
#define URL_TOLD 200 /* of them */
#define CHUNK ((size_t) 64)

/* Copies what can be read of a string; whether that is all of it. */
static bool
string_read(struct uco__dump *dump, char *to, size_t size, const char *from)
{
    size_t used = 0;

    while (used < size - 1) {
        /* As in uco__dump_string(): what comes after its end may not be there. */
        size_t piece = dump->peek.foreign ? CHUNK - ((uintptr_t) from + used) % CHUNK : 1;

        if (piece > size - 1 - used)
            piece = size - 1 - used;
        if (!uco__dump_read(dump, to + used, from + used, piece))
            break;
        if (memchr(to + used, '\0', piece) != NULL)
            return true;
        used += piece;
    }
    to[used] = '\0';
    return false;
}

/* "http://host:80/path". */
static void
url_describe(struct uco__dump *dump, const char *at)
{
    char url[URL_READ];
    size_t before;
    char *after;
    bool whole = string_read(dump, url, sizeof url, at);
    const char *authority = strchr(url, ':');

    /* Where it is so long that the host is not there yet, all of it may be a password. */
    if (!whole && url[0] != '\0') {
        authority = authority != NULL ? authority + strspn(authority, ":/") : url;
        if (strchr(authority, '/') == NULL) {
            uco__dump_text(dump, "a URL too long to be told");
            return;
        }
    }
    after = (char *) (uintptr_t) uco__http_url_after_login(url, &before);
    after[strcspn(after, "?#")] = '\0';
    memmove(url + before, after, strlen(after) + 1);
    url[URL_TOLD] = '\0';
    uco__dump_string(dump, url);
}

/* How far it is. */
static void
phase_describe(struct uco__dump *dump, const struct uco__http_exchange *exchange)
{
    struct uco__http_response response;

    if (!exchange->begun) {
        uco__dump_text(dump, ", connecting");
    } else if (uco__http_exchange_pumps(exchange) && !exchange->upload.finished) {
        uco__dump_text(dump, ", sending the request's body");
    } else if (exchange->response == NULL || !UCO__DUMP_GET(dump, &response, exchange->response) ||
               !response.headers.begun) {
        uco__dump_text(dump, ", the request is sent");
    } else if (!response.headers.whole) {
        uco__dump_text(dump, ", receiving the head");
    } else {
        uco__dump_text(dump, ", receiving the body: ");
        uco__dump_number(dump, response.came);
        uco__dump_text(dump, " bytes so far");
    }
}

static bool
exchange_describe_as(struct uco__dump *dump, const struct uco__http_exchange *at, const char *what,
                     bool phase)
{
    struct uco__http_exchange exchange;
    char method[16];

    if (!UCO__DUMP_GET(dump, &exchange, at))
        return false;
    if (dump->silent)
        return true;
    uco__dump_text(dump, what);
    string_read(dump, method, sizeof method, exchange.method);
    uco__dump_text(dump, method[0] != '\0' ? method : "?");
    uco__dump_text(dump, " ");
    url_describe(dump, exchange.url);
    if (phase)
        phase_describe(dump, &exchange);
    return true;
}

bool
uco__http_exchange_describe(struct uco__dump *dump, const struct uco__http_exchange *exchange,
                            const char *what)
{
    return exchange_describe_as(dump, exchange, what, true);
}

static bool
exchange_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    return exchange_describe_as(dump, UCO__DUMP_AROUND(wait, struct uco__http_exchange, wait),
                                "the HTTP response to ", true);
}

static bool
exchange_end_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    return exchange_describe_as(dump, UCO__DUMP_AROUND(wait, struct uco__http_exchange, wait),
                                "the end of the HTTP request ", false);
}

UCO__WAIT_KIND(uco__wait_exchange, "an HTTP response", exchange_describe);
UCO__WAIT_KIND(uco__wait_exchange_end, "an HTTP request to end", exchange_end_describe);
UCO__WAIT_KIND(uco__wait_client, "an HTTP client's requests to end", NULL);

/* --- WebSockets --- */

static bool
frame_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco__websocket_frame frame;

    if (!UCO__DUMP_READ_AROUND(dump, &frame, wait, struct uco__websocket_frame, wait))
        return false;
    uco__dump_text(dump, "a WebSocket message to be sent: ");
    uco__dump_number(dump, frame.done);
    uco__dump_text(dump, " of ");
    uco__dump_number(dump, frame.header_size + frame.size);
    uco__dump_text(dump, " bytes are");
    return true;
}

UCO__WAIT_KIND(uco__wait_frame, "a WebSocket message to be sent", frame_describe);
UCO__WAIT_KIND(uco__wait_goodbye, "a WebSocket's close", NULL);
UCO__WAIT_KIND(uco__wait_users, "a WebSocket's other users", NULL);
