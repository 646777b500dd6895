/* SPDX-License-Identifier: MIT */

/*
 * Responses.
 *
 * 1. The body has room for a zero byte after it, which no size counts.
 * 2. While it is received the response is known to its exchange, which lets go of it when it is
 *    freed, or of the exchange when nothing more comes.
 * 3. A body in which somebody holds a pointer (`pinned`) is neither moved nor made larger.
 * 4. What comes while a task waits for it, and until that runs, goes where it wants it (`into`), and
 *    what has no room there to the end of the body.
 */

#include "http/response.h"

#include "base/error.h"
#include "http/block.h"
#include "http/exchange.h"
#include "http/store.h"
#include "task/wait.h"

#include <string.h>

#define BODY_FIRST ((size_t) 1024)
#define BODY_BELIEVED ((size_t) 16 * 1024 * 1024) /* taken at once if a server says it will come */

struct uco__http_response *
uco__http_response_new(size_t body_max, struct uco__http_store *store)
{
    struct uco__http_response *response = uco__allocate(sizeof *response);

    if (response == NULL)
        return NULL;
    response->body_max = body_max;
    response->store = uco__http_store_ref(store);
    response->result.attempts = 1;
    return response;
}

void
uco__http_response_reset(struct uco__http_response *response)
{
    response->result.status = 0;
    response->result.size = 0;
    response->came = 0;
    response->start = 0;
    response->end = 0;
    uco__http_headers_reset(&response->headers);
}

static void
response_free(struct uco__http_response *response)
{
    for (size_t i = 0; i < response->result.history_size; i++)
        uco__free((void *) (uintptr_t) response->hops[i].url);
    uco__free(response->hops);
    uco__http_headers_done(&response->headers);
    uco__http_lines_free(response->lines);
    uco__http_events_free(response->events);
    uco__http_store_give(response->store, response->body, response->capacity);
    uco__http_store_unref(response->store);
    uco__free(response->words);
    uco__free(response->url);
    uco__free(response);
}

void
uco_http_response_free(uco_http_response *r)
{
    struct uco__http_response *response = (struct uco__http_response *) r;

    if (response == NULL)
        return;
    if (response->exchange != NULL) {
        if (response->loop != uco_get_running_loop()) {
            uco__misuse(-EPERM, "uco_http_response_free: it is still received by another loop");
            return;
        }
        if (response->awaited) {
            uco__misuse(-EBUSY, "uco_http_response_free: a task is reading it");
            return;
        }
        uco__http_exchange_abandon(response->exchange);
    }
    response_free(response);
}

void
uco__http_response_keep_words(struct uco__http_response *response,
                              const struct uco__http_exchange *exchange)
{
    if (exchange->result < 0)
        response->words = uco__string_copy(exchange->why != NULL ? exchange->why : exchange->words);
}

int
uco__http_response_add_hop(struct uco__http_response *response, long status, char *url)
{
    size_t count = response->result.history_size;
    uco_http_hop *hops = uco__reallocate(response->hops, (count + 1) * sizeof *hops);

    if (hops == NULL)
        return -ENOMEM;
    hops[count] = (uco_http_hop){.status = status, .url = url};
    response->hops = hops;
    response->result.history = hops;
    response->result.history_size = count + 1;
    return 0;
}

const char *
uco_http_header_repeated(const uco_http_response *r, const char *name, size_t index)
{
    const struct uco__http_response *response = (const struct uco__http_response *) r;

    if (response == NULL || name == NULL)
        return NULL;
    return uco__http_headers_find(&response->headers, name, index);
}

const char *
uco_http_header(const uco_http_response *r, const char *name)
{
    return uco_http_header_repeated(r, name, 0);
}

bool
uco_http_header_at(const uco_http_response *r, size_t *position, const char **name,
                   const char **value)
{
    const struct uco__http_response *response = (const struct uco__http_response *) r;

    if (response == NULL || position == NULL || name == NULL || value == NULL)
        return false;
    return uco__http_headers_next(&response->headers, position, name, value);
}

/* --- the body --- */

/* What is taken before anything has come: what the server announces, within reason. */
static size_t
body_first(const struct uco__http_response *response, long long expected)
{
    if (response->streamed)
        return expected >= 0 && (unsigned long long) expected < UCO__HTTP_AHEAD
                   ? (size_t) expected + 1
                   : UCO__HTTP_AHEAD + 1;
    if (expected < 0)
        return BODY_FIRST;
    return (unsigned long long) expected < BODY_BELIEVED ? (size_t) expected + 1 : BODY_BELIEVED;
}

/* Moves what was not read yet to the front, where the end has no room. */
static void
body_compact(struct uco__http_response *response, size_t size)
{
    size_t unread = response->end - response->start;

    if (response->start == 0 || response->capacity - response->end > size)
        return;
    memmove(response->body, response->body + response->start, unread);
    response->start = 0;
    response->end = unread;
}

static int
body_append(struct uco__http_response *response, const char *data, size_t size, long long expected)
{
    size_t needed;
    int r;

    if (response->pinned && response->capacity - response->end <= size)
        return -ENOBUFS;
    body_compact(response, size);
    needed = response->end + size + 1;
    if (response->body == NULL && needed < body_first(response, expected))
        needed = body_first(response, expected);
    if (response->body == NULL)
        response->body = uco__http_store_take(response->store, needed, &response->capacity);
    r = uco__http_block_grow(&response->body, &response->capacity, needed);
    if (r < 0)
        return r;
    memcpy(response->body + response->end, data, size);
    response->end += size;
    response->body[response->end] = '\0';
    return 0;
}

int
uco__http_response_add_body(struct uco__http_response *response, const char *data, size_t size,
                            long long expected)
{
    size_t direct = 0;
    int r = 0;

    if (size > response->body_max - response->came ||
        (expected >= 0 && (unsigned long long) expected > response->body_max))
        return -EMSGSIZE;
    if (response->into != NULL) {
        size_t room = response->into_size - response->into_used;

        direct = size < room ? size : room;
        memcpy(response->into + response->into_used, data, direct);
    }
    if (direct < size)
        r = body_append(response, data + direct, size - direct, expected);
    if (r < 0)
        return r;
    response->into_used += direct;
    response->came += size;
    if (!response->streamed)
        response->result.size = response->end;
    return 0;
}
