/* SPDX-License-Identifier: MIT */

/*
 * Exchanges, from outside: the task that asks, and the one that reads.
 *
 * 1. The asking task does not leave while a hop is under way, but with the head of a stream.
 * 2. It also is the pump of a body that comes from a source: curl says that it is hungry, and the
 *    task reads. When the hop ends meanwhile that reading is cancelled.
 */

#include "http/exchange.h"

#include "base/system.h"
#include "core/report.h"
#include "http/client.h"
#include "http/describe.h"
#include "http/handle.h"
#include "http/upgrade.h"
#include "task/task.h"

#define UPLOAD_SIZE ((size_t) 64 * 1024) /* as curl's own */

/* --- sending --- */

/* Reads on, into an empty buffer. */
static ssize_t
upload_read(struct uco__http_exchange *exchange)
{
    struct uco__http_upload *upload = &exchange->upload;
    int r = 0;

    if (upload->buffer == NULL)
        upload->buffer = uco__allocate(UPLOAD_SIZE);
    if (upload->buffer == NULL)
        return -ENOMEM;
    if (upload->rewind)
        r = uco__http_body_rewind(&exchange->body);
    upload->rewind = false;
    upload->source_ended = false;
    return r < 0 ? r : uco__http_body_read(&exchange->body, upload->buffer, UPLOAD_SIZE);
}

/* curl is hungry. */
static void
exchange_feed(struct uco__http_exchange *exchange)
{
    struct uco__http_upload *upload = &exchange->upload;
    uco_scope scope;
    ssize_t n = uco_scope_open(&scope, UCO_FOREVER);

    upload->hungry = false;
    if (n == 0) {
        upload->scope = &scope;
        n = upload_read(exchange);
        upload->scope = NULL;
        n = uco_scope_close(&scope, n);
    }
    if (exchange->ended || upload->rewind)
        return;             /* it was for nothing */
    if (upload->finished) { /* likewise, and curl need not wait for it */
        uco__http_transfer_resume(&exchange->transfer, CURLPAUSE_SEND);
        return;
    }
    if (n < 0) {
        uco__http_exchange_fail(exchange, (int) n, "the request's body could not be read");
        return;
    }
    upload->start = 0;
    upload->end = (size_t) n;
    upload->source_ended = n == 0;
    upload->hungry = false; /* curl may have asked again, on another connection */
    uco__http_transfer_resume(&exchange->transfer, CURLPAUSE_SEND);
}

/* --- waiting --- */

static enum uco__abort
exchange_abort(struct uco__wait *wait)
{
    struct uco__http_exchange *exchange = UCO__CONTAINER(wait, struct uco__http_exchange, wait);

    exchange->cancelled = true;
    uco__http_exchange_fail(exchange, -ECANCELED, NULL);
    return UCO__TOO_LATE;
}

/* Whether the head of a stream can be handed over. */
static bool
exchange_is_stream(const struct uco__http_exchange *exchange)
{
    return exchange->streamed && exchange->verdict == UCO__HTTP_FINAL && exchange->upload.finished;
}

int
uco__http_exchange_await(struct uco__http_exchange *exchange)
{
    while (!exchange->ended && !exchange_is_stream(exchange)) {
        if (exchange->upload.hungry && exchange->transfer.error == 0) {
            exchange_feed(exchange);
            continue;
        }
        uco__wait_init(&exchange->wait, &uco__wait_exchange, exchange_abort);
        exchange->waiting = true;
        uco__task_park(exchange->task, &exchange->wait);
        if (exchange->cancelled)
            return -ECANCELED;
    }
    return 0;
}

void
uco__http_exchange_end(struct uco__http_exchange *exchange)
{
    uco__http_exchange_fail(exchange, -ECANCELED, NULL);
    while (!exchange->ended) {
        uco__wait_init(&exchange->wait, &uco__wait_exchange_end, NULL);
        exchange->waiting = true;
        uco__park(&exchange->wait);
    }
}

/* --- streams --- */

void
uco__http_exchange_detach(struct uco__http_exchange *exchange)
{
    struct uco__http_response *response = exchange->response;

    uco__http_exchange_measure(exchange);
    exchange->task = NULL;
    exchange->asked = NULL;
    exchange->retries = 0;
    response->exchange = exchange;
    /* The close came between the head and the task's turn. */
    if (exchange->client->closing)
        uco__http_exchange_fail(exchange, -ECANCELED, "the client was closed");
    if (exchange->due != UCO__NEVER)
        uco__timer_start(exchange->client->loop, &exchange->deadline, exchange->due);
}

void
uco__http_exchange_abandon(struct uco__http_exchange *exchange)
{
    exchange->response->exchange = NULL;
    exchange->response = NULL;
    uco__http_exchange_fail(exchange, -ECANCELED, NULL);
}

void
uco__http_exchange_go_on(struct uco__http_exchange *exchange)
{
    exchange->heard = uco__loop_now(exchange->client->loop);
    uco__http_transfer_resume(&exchange->transfer, CURLPAUSE_RECV);
}

/* --- the end --- */

void
uco__http_exchange_free(struct uco__http_exchange *exchange)
{
    struct uco_http_client *client = exchange->client;

    if (exchange->upgrade != NULL)
        uco__http_upgrade_ended(exchange->upgrade, exchange->result);
    uco_http_response_free((uco_http_response *) exchange->response);
    uco__http_body_done(&exchange->body);
    uco__http_origin_done(&exchange->origin);
    uco__http_origin_done(&exchange->first);
    curl_slist_free_all(exchange->headers);
    curl_slist_free_all(exchange->call.headers);
    uco__free(exchange->upload.buffer);
    uco__free(exchange->location);
    uco__free(exchange->words);
    uco__free(exchange->url);
    uco__list_remove(&exchange->link);
    uco__free(exchange);
    uco__http_client_request_done(client);
}
