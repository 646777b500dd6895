/* SPDX-License-Identifier: MIT */

/*
 * Reading a response's body.
 *
 * 1. Nothing that has come is lost by a cancelled read: it was either handed to the reader, which
 *    then is not cancelled any more, or it is in the response.
 * 2. Each call ends what the one before has lent.
 * 3. curl goes on when a reader waits, or has copied most of what there was. Not while somebody
 *    holds a pointer into the body: then there may be no room, and curl would copy all that it
 *    keeps.
 */

#include "http/read.h"

#include "base/error.h"
#include "core/dump.h"
#include "core/report.h"
#include "http/describe.h"
#include "http/error.h"
#include "http/exchange.h"
#include "task/task.h"

#include <string.h>

static size_t
response_unread(const struct uco__http_response *response)
{
    return response->end - response->start;
}

/* The pointers of the call before are void, and what it has lent is taken. */
static void
response_unpin(struct uco__http_response *response)
{
    response->pinned = false;
    response->start += response->lent;
    response->lent = 0;
    if (response->start == response->end && response->streamed) {
        response->start = 0;
        response->end = 0;
    }
}

/* 0: may read. */
static int
response_begin(struct uco__http_response *response, bool pointers, const char *function)
{
    int error;

    if (response == NULL || !pointers)
        return uco__misuse(-EINVAL, "%s: a NULL", function);
    if (uco__task_current(&error) == NULL)
        return uco__misuse(error, "%s: not in a coroutine", function);
    if (response->streamed && response->loop != uco_get_running_loop())
        return uco__misuse(-EPERM, "%s: another loop's response", function);
    error = uco__checkpoint();
    if (error < 0)
        return error;
    /* Not before: others may run in there, and begin to read. */
    if (response->awaited)
        return uco__misuse(-EBUSY, "%s: another task reads it", function);
    response_unpin(response);
    return 0;
}

struct reader {
    struct uco__wait wait;
    struct uco__http_response *response;
};

static enum uco__abort
reader_abort(struct uco__wait *wait)
{
    struct uco__http_response *response = UCO__CONTAINER(wait, struct reader, wait)->response;

    /* What comes before its task runs stays in the response. */
    response->reader = NULL;
    response->into = NULL;
    return UCO__UNLINKED;
}

static bool
reader_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco__http_response response;
    struct reader reader;

    return UCO__DUMP_READ_AROUND(dump, &reader, wait, struct reader, wait) &&
           UCO__DUMP_GET(dump, &response, reader.response) &&
           uco__http_exchange_describe(dump, response.exchange, "more of the HTTP response to ");
}

static UCO__WAIT_KIND(wait_body, "an HTTP response's body", reader_describe);

/* Suspends until something has come, or the end. */
static int
response_await(struct uco__http_response *response, char *into, size_t size)
{
    struct reader reader = {.response = response};
    intptr_t r;
    int error;

    uco__http_exchange_go_on(response->exchange);
    uco__wait_init(&reader.wait, &wait_body, reader_abort);
    response->awaited = true;
    response->reader = &reader.wait;
    response->into = into;
    response->into_size = size;
    response->into_used = 0;
    r = uco__task_park(uco__task_current(&error), &reader.wait);
    response->into = NULL;
    response->awaited = false;
    return r == UCO__INTERRUPTED ? -ECANCELED : 0;
}

/* `size` of a stream is what was delivered. */
static void
response_count(struct uco__http_response *response, size_t n)
{
    if (response->streamed)
        response->result.size += n;
}

void
uco__http_consume(struct uco__http_response *response, size_t n)
{
    response->start += n;
    response_count(response, n);
}

/* The end: 0, or what came instead, with its words. */
static int
response_end(struct uco__http_response *response)
{
    int error;
    struct uco__task *task = uco__task_current(&error);

    if (response->error < 0)
        uco__http_explain_words(task, response->url != NULL ? response->url : "",
                                response->words != NULL ? response->words : "", response->error);
    return response->error;
}

/* Without the checks. */
static ssize_t
response_peek(struct uco__http_response *response, size_t have, char **data)
{
    int r;

    while (response_unread(response) <= have && response->exchange != NULL) {
        r = response_await(response, NULL, 0);
        if (r < 0)
            return r;
    }
    if (response_unread(response) <= have && response->error < 0)
        return response_end(response);
    *data = response->body != NULL ? response->body + response->start : NULL;
    response->pinned = true;
    return (ssize_t) response_unread(response);
}

ssize_t
uco__http_peek(struct uco__http_response *response, size_t have, char **data)
{
    /* Once for each of the user's calls would do; again it finds nothing to end. */
    int r = response_begin(response, true, "uco_http_read");

    return r < 0 ? r : response_peek(response, have, data);
}

ssize_t
uco_http_read(uco_http_response *response, void *buf, size_t n)
{
    struct uco__http_response *inner = (struct uco__http_response *) response;
    size_t unread;
    int r = response_begin(inner, buf != NULL || n == 0, "uco_http_read");

    if (r < 0)
        return r;
    while (n > 0 && response_unread(inner) == 0 && inner->exchange != NULL) {
        r = response_await(inner, buf, n);
        if (r < 0)
            return r;
        if (inner->into_used > 0) {
            response_count(inner, inner->into_used);
            return (ssize_t) inner->into_used;
        }
    }
    unread = response_unread(inner);
    if (unread == 0)
        return n > 0 ? response_end(inner) : 0;
    if (n > unread)
        n = unread;
    memcpy(buf, inner->body + inner->start, n);
    uco__http_consume(inner, n);
    if (inner->exchange != NULL && response_unread(inner) < UCO__HTTP_AHEAD_LOW)
        uco__http_exchange_go_on(inner->exchange);
    return (ssize_t) n;
}

ssize_t
uco_http_read_chunk(uco_http_response *response, const void **data)
{
    struct uco__http_response *inner = (struct uco__http_response *) response;
    char *found = NULL;
    ssize_t size;
    int r;

    if (data != NULL)
        *data = NULL;
    r = response_begin(inner, data != NULL, "uco_http_read_chunk");
    if (r < 0)
        return r;
    size = response_peek(inner, 0, &found);
    if (size > 0) {
        *data = found;
        inner->lent = (size_t) size;
        response_count(inner, (size_t) size);
    }
    return size;
}
