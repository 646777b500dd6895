/* SPDX-License-Identifier: MIT */

/*
 * Exchanges, in figures: how far they are, and how long it took.
 *
 * 1. Whoever is told of the progress may free the response, cancel the task or close the client in
 *    it: it is told last.
 */

#include "http/exchange.h"

#include "base/clock.h"
#include "core/loop.h"
#include "http/client.h"
#include "http/handle.h"

/* --- progress --- */

static void
progress_tell(struct uco__http_exchange *exchange, uint64_t received, uint64_t total, uint64_t sent)
{
    if (received == exchange->progress_received && sent == exchange->progress_sent)
        return;
    exchange->progress_received = received;
    exchange->progress_total = total;
    exchange->progress_sent = sent;
    exchange->progress(received, total, sent, exchange->progress_arg);
}

/* Bytes of the body: curl counts what it puts around chunks, too. */
static uint64_t
exchange_sent(const struct uco__http_exchange *exchange, curl_off_t counted)
{
    return uco__http_exchange_pumps(exchange) ? (uint64_t) exchange->upload.told
                                              : (uint64_t) counted;
}

int
uco__http_exchange_progressed(void *arg, curl_off_t total, curl_off_t received, curl_off_t upload,
                              curl_off_t sent)
{
    struct uco__http_exchange *exchange = arg;

    (void) upload;
    if (exchange->verdict == UCO__HTTP_OPEN || exchange->verdict == UCO__HTTP_FINAL)
        progress_tell(exchange, (uint64_t) received, total > 0 ? (uint64_t) total : 0,
                      exchange_sent(exchange, sent));
    return 0;
}

/* --- the end, or what is known before --- */

static double
seconds(uint64_t nanoseconds)
{
    return (double) nanoseconds / UCO__SECOND;
}

/* One of curl's moments, after the look-up; it says 0 of what there was not. */
static double
timing(const struct uco__http_exchange *exchange, CURL *easy, CURLINFO info)
{
    curl_off_t microseconds = 0;

    curl_easy_getinfo(easy, info, &microseconds);
    return microseconds > 0 ? seconds(exchange->lookup) + (double) microseconds / 1e6 : -1;
}

static int
version_of(CURL *easy)
{
    long version = 0;

    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    switch (version) {
    case CURL_HTTP_VERSION_1_0:
        return 10;
    case CURL_HTTP_VERSION_1_1:
        return 11;
    case CURL_HTTP_VERSION_2_0:
        return 20;
    case CURL_HTTP_VERSION_3:
        return 30;
    default:
        return 0;
    }
}

void
uco__http_exchange_measure(struct uco__http_exchange *exchange)
{
    CURL *easy = exchange->handle->easy;
    uco_http_response *result = &exchange->response->result;
    uint64_t now = uco__loop_now(exchange->client->loop);
    curl_off_t bytes = 0;
    long connects = 0;

    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    result->version = version_of(easy);
    result->attempts = exchange->attempt + 1;
    result->timings = (uco_http_timings){
        .wait = seconds(exchange->slot - exchange->queued),
        .lookup = connects > 0 ? seconds(exchange->lookup) : -1,
        .connect = connects > 0 ? timing(exchange, easy, CURLINFO_CONNECT_TIME_T) : -1,
        .tls = connects > 0 ? timing(exchange, easy, CURLINFO_APPCONNECT_TIME_T) : -1,
        .first_byte = timing(exchange, easy, CURLINFO_STARTTRANSFER_TIME_T),
        .total = exchange->ended ? seconds(now - exchange->slot) : 0,
    };
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
    result->received = (uint64_t) bytes;
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &bytes);
    result->sent = exchange_sent(exchange, bytes);
    if (exchange->progress != NULL && exchange->ended)
        progress_tell(exchange, result->received, exchange->progress_total, result->sent);
}
