/* SPDX-License-Identifier: MIT */

/*
 * Exchanges, while curl works on them: all of this is on the loop's stack, but the waiting.
 *
 * 1. Curl's callbacks copy, count and mark; they end a transfer by uco__http_exchange_fail() only.
 *    A callback that has nowhere to put what comes, or nothing to send, stops its direction;
 *    whoever changes that lets it go on.
 * 2. A hop ends in exchange_ended(), once, also one that never began. There the permit and the
 *    handle go back, so the next request need not wait for this one's task.
 * 3. The body of a response that leads elsewhere, or is asked for again, is thrown away.
 */

#include "http/exchange.h"

#include "base/clock.h"
#include "base/system.h"
#include "http/client.h"
#include "http/error.h"
#include "http/handle.h"
#include "http/options.h"
#include "http/retry.h"
#include "http/upgrade.h"
#include "task/task.h"

#include <string.h>

#define DISCARDED_MAX ((size_t) 1024 * 1024)            /* bytes; then the connection is closed */
#define AHEAD_WHILE_SENDING ((size_t) 16 * 1024 * 1024) /* bytes received, while nobody can read */

static const char bad_head[] = "the response's head is bad";

/* Ends its task's waiting, if there is something for it. */
static void
exchange_wake(struct uco__http_exchange *exchange)
{
    if (!exchange->waiting || (exchange->cancelled && !exchange->ended))
        return;
    exchange->waiting = false;
    uco__wake(&exchange->wait, exchange->cancelled ? UCO__INTERRUPTED : 0);
}

/* Until its task runs, what comes still goes where that wants it. */
static void
reader_wake(struct uco__http_response *response)
{
    struct uco__wait *reader = response->reader;

    response->reader = NULL;
    if (reader != NULL)
        uco__wake(reader, 0);
}

void
uco__http_exchange_fail(struct uco__http_exchange *exchange, int error, const char *why)
{
    if (exchange->ended)
        return;
    if (exchange->transfer.error == 0 && why != NULL)
        exchange->why = why;
    uco__http_transfer_fail(&exchange->transfer, error);
}

/* --- time --- */

static double
read_timeout(const struct uco__http_exchange *exchange)
{
    return exchange->client->options.read_timeout;
}

/* Where the whole must be over before that, it is not needed. */
static void
silence_start(struct uco__http_exchange *exchange, uint64_t from)
{
    uint64_t until = uco__clock_after(from, read_timeout(exchange));

    if (until < exchange->due)
        uco__timer_start(exchange->client->loop, &exchange->silence, until);
}

/* A stream that nobody reads at the moment. */
static bool
exchange_is_unread(const struct uco__http_exchange *exchange)
{
    return exchange->task == NULL && exchange->response != NULL &&
           exchange->response->reader == NULL;
}

static void
silence_fire(struct uco__timer *timer)
{
    struct uco__http_exchange *exchange = UCO__CONTAINER(timer, struct uco__http_exchange, silence);
    uint64_t now = uco__loop_now(exchange->client->loop);
    curl_off_t uploaded = 0;

    /* curl tells nobody what it has sent of a body that it has in memory. */
    curl_easy_getinfo(exchange->transfer.easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (uploaded > exchange->uploaded || exchange->transfer.paused != 0 ||
        exchange_is_unread(exchange))
        exchange->heard = now;
    exchange->uploaded = uploaded;
    if (uco__clock_after(exchange->heard, read_timeout(exchange)) > now)
        silence_start(exchange, exchange->heard);
    else
        uco__http_exchange_fail(exchange, -ETIMEDOUT,
                                "nothing was received or sent within read_timeout");
}

static void
deadline_fire(struct uco__timer *timer)
{
    struct uco__http_exchange *exchange =
        UCO__CONTAINER(timer, struct uco__http_exchange, deadline);

    uco__http_exchange_fail(exchange, -ETIMEDOUT, "it took longer than the timeout");
}

/* From now on something is to be heard. */
static bool
exchange_begun(struct uco__http_transfer *transfer)
{
    struct uco__http_exchange *exchange =
        UCO__CONTAINER(transfer, struct uco__http_exchange, transfer);

    /* curl sends a request again when a kept connection turns out to be closed. Whether the server
     * had it then nobody knows, so that is for those only that may be done twice. */
    if (exchange->begun && !exchange->asked_for_more &&
        !uco__http_method_is_idempotent(exchange->method)) {
        uco__http_exchange_fail(exchange, -ECONNRESET,
                                "the server has closed the connection, maybe with the request");
        return false;
    }
    /* Before 8.21 a handle that has begun anew five times, in all its requests together, gives up
     * the next of them that would have to. */
    exchange->handle->spoilt |= exchange->begun;
    exchange->begun = true;
    exchange->asked_for_more = false;
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &exchange->old_error);
    exchange->heard = exchange->client->driver.now;
    uco__timer_stop(exchange->client->loop, &exchange->silence);
    silence_start(exchange, exchange->heard);
    return true;
}

/* --- the head --- */

static bool
status_redirects(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Nobody waits for more of the body, either. */
static void
upload_stop(struct uco__http_upload *upload)
{
    upload->finished = true;
    if (upload->scope != NULL)
        uco_scope_cancel(upload->scope);
}

/* By the head: what is to become of this response. */
static void
exchange_judge(struct uco__http_exchange *exchange)
{
    struct uco__http_response *response = exchange->response;

    if (exchange->verdict != UCO__HTTP_OPEN)
        return;
    uco__http_headers_seal(&response->headers);
    exchange->verdict = UCO__HTTP_FINAL;
    if (status_redirects(response->result.status) && exchange->redirects_max >= 0 &&
        uco__http_headers_find(&response->headers, "Location", 0) != NULL)
        exchange->verdict = UCO__HTTP_REDIRECT;
    else if (uco__http_retry_wanted(exchange, 0, &exchange->delay))
        exchange->verdict = UCO__HTTP_RETRY;
    /* Where it fails curl sends no more, or needs not to. */
    if (response->result.status >= 400)
        upload_stop(&exchange->upload);
    if (exchange->upgrade != NULL)
        uco__http_upgrade_judged(exchange);
    if (exchange->streamed && exchange->verdict == UCO__HTTP_FINAL)
        exchange_wake(exchange);
}

/* Whether curl may ask once more by itself: with a password, or without "Expect". */
static bool
curl_may_ask_again(const struct uco__http_exchange *exchange, long status)
{
    return status == 407 || (status == 401 && exchange->digest) ||
           (status == 417 && exchange->with_body);
}

static void
exchange_head(struct uco__http_exchange *exchange)
{
    long status = 0;

    curl_easy_getinfo(exchange->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->response->result.status = status;
    if (status == 401 || status == 407 || status == 417)
        exchange->asked_for_more = true;
    if (status == 417)
        exchange->handle->spoilt = true; /* it never asks for "100 Continue" again */
    if ((status >= 200 || (status == 101 && exchange->upgrade != NULL)) &&
        !curl_may_ask_again(exchange, status))
        exchange_judge(exchange);
}

static size_t
curl_receives_header(char *data, size_t one, size_t size, void *arg)
{
    struct uco__http_exchange *exchange = arg;
    struct uco__http_headers *headers;
    bool was_whole, status;
    int r;

    (void) one;
    if (exchange->response == NULL)
        return 0;
    headers = &exchange->response->headers;
    was_whole = headers->whole;
    status = !headers->begun || was_whole;
    r = uco__http_headers_add_line(headers, data, size);
    exchange->heard = exchange->client->driver.now;
    if (r < 0) {
        uco__http_exchange_fail(exchange, r, r == -EPROTO ? bad_head : NULL);
        return 0;
    }
    uco__http_handle_head(exchange->handle, data, status);
    if (headers->whole && !was_whole)
        exchange_head(exchange);
    return size;
}

/* --- the body --- */

static int
body_discard(struct uco__http_exchange *exchange, size_t size)
{
    exchange->discarded += size;
    if (exchange->discarded <= DISCARDED_MAX)
        return 0;
    exchange->enough = true;
    return -ECANCELED;
}

/* Whether as much has come as may wait for a reader. */
static bool
body_is_full(const struct uco__http_exchange *exchange, size_t size)
{
    const struct uco__http_response *response = exchange->response;
    size_t unread = response->end - response->start;
    size_t most = exchange->upload.finished ? UCO__HTTP_AHEAD : AHEAD_WHILE_SENDING;

    return exchange->streamed && response->reader == NULL && unread > 0 && unread + size > most;
}

static int
body_take(struct uco__http_exchange *exchange, const char *data, size_t size)
{
    struct uco__http_response *response = exchange->response;
    curl_off_t expected = -1;
    int r;

    if (response->came == 0)
        curl_easy_getinfo(exchange->transfer.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &expected);
    r = uco__http_response_add_body(response, data, size, expected);
    if (r == 0)
        reader_wake(response);
    return r;
}

static size_t
curl_receives_body(char *data, size_t one, size_t size, void *arg)
{
    struct uco__http_exchange *exchange = arg;
    int r = -ENOBUFS;

    (void) one;
    if (exchange->response == NULL || exchange->transfer.error != 0)
        return 0;
    if (exchange->handle->guard >= UCO__HTTP_GUARD_LOOKS) {
        if (uco__http_handle_admits(exchange->handle, data))
            return size;
        uco__http_exchange_fail(exchange, -EPROTO, bad_head);
        return 0;
    }
    exchange->transfer.driver->received += size;
    exchange_judge(exchange);
    if (exchange->verdict != UCO__HTTP_FINAL)
        r = body_discard(exchange, size);
    else if (exchange->transfer.taking || !body_is_full(exchange, size)) {
        exchange->transfer.overfull = body_is_full(exchange, size);
        r = body_take(exchange, data, size);
    }
    if (r == -ENOBUFS) {
        exchange->transfer.paused |= CURLPAUSE_RECV;
        return CURL_WRITEFUNC_PAUSE;
    }
    exchange->heard = exchange->client->driver.now;
    if (r < 0)
        uco__http_exchange_fail(exchange, r,
                                r == -EMSGSIZE ? "the body is larger than max_body" : NULL);
    return r < 0 ? 0 : size;
}

/* --- what is sent --- */

/* Of a body in memory. */
static size_t
upload_copy(struct uco__http_exchange *exchange, char *to, size_t size)
{
    struct uco__http_upload *upload = &exchange->upload;
    size_t left = (size_t) (exchange->body.size - upload->told);

    if (size > left)
        size = left;
    memcpy(to, (const char *) exchange->body.data + upload->told, size);
    return size;
}

static size_t
upload_take(struct uco__http_upload *upload, char *to, size_t size)
{
    size_t there = upload->end - upload->start;

    if (size > there)
        size = there;
    memcpy(to, upload->buffer + upload->start, size);
    upload->start += size;
    return size;
}

static size_t
curl_sends_body(char *to, size_t one, size_t size, void *arg)
{
    struct uco__http_exchange *exchange = arg;
    struct uco__http_upload *upload = &exchange->upload;
    bool there = exchange->body.kind == UCO__HTTP_BYTES ||
                 (!upload->rewind && (upload->end > upload->start || upload->source_ended));

    (void) one;
    if (exchange->upgrade != NULL)
        return uco__http_upgrade_take(exchange, to, size);
    if (exchange->task == NULL || exchange->asked == NULL)
        return CURL_READFUNC_ABORT;
    if (!there && exchange->transfer.looked && exchange->verdict == UCO__HTTP_OPEN) {
        uco__http_exchange_fail(exchange, -ECONNRESET, "the server has closed the connection");
        return CURL_READFUNC_ABORT;
    }
    if (!there) {
        upload->hungry = true;
        exchange->transfer.paused |= CURLPAUSE_SEND;
        exchange_wake(exchange);
        return CURL_READFUNC_PAUSE;
    }
    exchange->heard = exchange->client->driver.now;
    size = exchange->body.kind == UCO__HTTP_BYTES ? upload_copy(exchange, to, size)
                                                  : upload_take(upload, to, size);
    upload->told += (long long) size;
    if (size == 0 || upload->told == exchange->body.size) {
        upload->finished = true;
        if (exchange->streamed)
            exchange_wake(exchange);
    }
    return size;
}

/* curl wants to send the body again from its beginning. */
static int
curl_rewinds(void *arg, curl_off_t offset, int origin)
{
    struct uco__http_exchange *exchange = arg;
    struct uco__http_upload *upload = &exchange->upload;

    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    if (exchange->body.kind == UCO__HTTP_SOURCE && exchange->body.position > 0) {
        if (!exchange->body.rewindable)
            return CURL_SEEKFUNC_FAIL;
        upload->rewind = true;
    }
    upload->start = 0;
    upload->end = 0;
    upload->told = 0;
    upload->finished = false;
    return CURL_SEEKFUNC_OK;
}

/* --- the end of a hop --- */

/* What curl says only of a transfer that has ended by itself; NULL: no URL, or no memory. */
static char *
location_resolve(const struct uco__http_exchange *exchange)
{
    const char *location = uco__http_headers_find(&exchange->response->headers, "Location", 0);
    CURLU *parts = location != NULL ? curl_url() : NULL;
    char *text = NULL, *copy = NULL;

    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, exchange->url, 0) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_URL, &text, 0) == CURLUE_OK)
        copy = uco__string_copy(text);
    curl_free(text);
    curl_url_cleanup(parts);
    return copy;
}

/* Where a redirect leads. */
static int
exchange_locate(struct uco__http_exchange *exchange, CURL *easy)
{
    const char *location = NULL;

    if (exchange->verdict != UCO__HTTP_REDIRECT)
        return 0;
    curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &location);
    exchange->location = location != NULL ? uco__string_copy(location) : location_resolve(exchange);
    if (exchange->location != NULL)
        return 0;
    if (location == NULL)
        exchange->why = "a redirect that leads to no URL";
    return location != NULL ? -ENOMEM : -EINVAL;
}

static int
exchange_result(struct uco__http_exchange *exchange, CURL *easy)
{
    int r = exchange->enough ? 0 : exchange->transfer.error;

    if (r == 0 && !exchange->enough)
        r = uco__http_transfer_error(exchange);
    else
        exchange->transient = r == -ETIMEDOUT || r == -ECONNRESET;
    if (r < 0 && exchange->why == NULL)
        exchange->words = uco__string_copy(exchange->handle->words);
    if (r < 0 || exchange->response == NULL)
        return r;
    /* curl takes an end in the middle of the headers for an answer without body. */
    if (!exchange->response->headers.whole) {
        exchange->why = "the connection was closed within the headers";
        exchange->transient = true;
        return -EPROTO;
    }
    exchange_judge(exchange);
    return exchange_locate(exchange, easy);
}

/* Of a stream whose call is over: nobody waits but its reader. */
static void
exchange_finish_stream(struct uco__http_exchange *exchange)
{
    struct uco__http_response *response = exchange->response;

    if (response != NULL) {
        response->error = exchange->result;
        uco__http_response_keep_words(response, exchange);
        response->exchange = NULL;
        reader_wake(response);
    }
    exchange->response = NULL;
    uco__http_exchange_free(exchange);
}

/* What comes next is probably like it. */
static void
client_learn(struct uco_http_client *client, const struct uco__http_response *response)
{
    if (response->came >= UCO__HTTP_LARGE)
        client->large = UCO__HTTP_LARGE_LAST;
    else if (client->large > 0)
        client->large--;
}

static void
exchange_ended(struct uco__http_transfer *transfer)
{
    struct uco__http_exchange *exchange =
        UCO__CONTAINER(transfer, struct uco__http_exchange, transfer);
    struct uco_http_client *client = exchange->client;

    uco__timer_stop(client->loop, &exchange->silence);
    uco__timer_stop(client->loop, &exchange->deadline);
    exchange->ended = true;
    exchange->result = exchange_result(exchange, transfer->easy);
    if (exchange->response != NULL) {
        uco__http_exchange_measure(exchange);
        client_learn(client, exchange->response);
    }
    uco__http_limit_release(exchange->permit);
    exchange->permit = NULL;
    /* What curl may have kept of a paused one must not reach the handle's next request; nor what
     * one that has failed was about to send, a password for one. */
    exchange->handle->spoilt |=
        transfer->paused != 0 || transfer->error != 0 || transfer->code != CURLE_OK;
    uco__http_handle_give(client, exchange->handle);
    exchange->handle = NULL;
    if (exchange->upload.scope != NULL)
        uco_scope_cancel(exchange->upload.scope);
    if (exchange->task != NULL)
        exchange_wake(exchange);
    else
        exchange_finish_stream(exchange);
}

/* --- the beginning of a hop --- */

CURLcode
uco__http_exchange_connect(struct uco__http_exchange *exchange, CURL *easy)
{
    CURLcode code = CURLE_OK;

    UCO__HTTP_SET(code, easy, CURLOPT_HEADERFUNCTION, curl_receives_header);
    UCO__HTTP_SET(code, easy, CURLOPT_HEADERDATA, exchange);
    UCO__HTTP_SET(code, easy, CURLOPT_WRITEFUNCTION, curl_receives_body);
    UCO__HTTP_SET(code, easy, CURLOPT_WRITEDATA, exchange);
    if (uco__http_exchange_pumps(exchange) || exchange->upgrade != NULL) {
        UCO__HTTP_SET(code, easy, CURLOPT_READFUNCTION, curl_sends_body);
        UCO__HTTP_SET(code, easy, CURLOPT_READDATA, exchange);
        UCO__HTTP_SET(code, easy, CURLOPT_SEEKFUNCTION, curl_rewinds);
        UCO__HTTP_SET(code, easy, CURLOPT_SEEKDATA, exchange);
    }
    if (exchange->progress != NULL) {
        UCO__HTTP_SET(code, easy, CURLOPT_XFERINFOFUNCTION, uco__http_exchange_progressed);
        UCO__HTTP_SET(code, easy, CURLOPT_XFERINFODATA, exchange);
        UCO__HTTP_SET(code, easy, CURLOPT_NOPROGRESS, 0L);
    }
    return code;
}

int
uco__http_exchange_start(struct uco__http_exchange *exchange)
{
    struct uco__http_upload *upload = &exchange->upload;

    exchange->transfer.easy = exchange->handle->easy;
    exchange->transfer.begun = exchange_begun;
    exchange->transfer.ended = exchange_ended;
    exchange->verdict = UCO__HTTP_OPEN;
    exchange->discarded = 0;
    exchange->enough = false;
    exchange->ended = false;
    exchange->transient = false;
    exchange->begun = false;
    exchange->asked_for_more = false;
    exchange->old_error = 0;
    exchange->uploaded = 0;
    upload->start = 0;
    upload->end = 0;
    upload->told = 0;
    upload->hungry = false;
    upload->rewind = false;
    upload->source_ended = false;
    upload->finished = !uco__http_exchange_pumps(exchange);
    uco__timer_init(&exchange->silence, silence_fire);
    uco__timer_init(&exchange->deadline, deadline_fire);
    return uco__http_driver_start(&exchange->client->driver, &exchange->transfer);
}
