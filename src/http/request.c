/* SPDX-License-Identifier: MIT */

/*
 * Requests, as the user calls them.
 *
 * 1. A request is a chain of hops: the first, one for each redirect, one for each retry.
 * 2. One scope is around all of it: its deadline is the timeout, and closing the client cancels it.
 *    What suspends in the call does so within that scope.
 * 3. All that curl points to is in the exchange, or lives until the call returns, which it does not
 *    before curl has let go of it.
 *
 * curl would follow redirects itself, but then it asks for the next host's name, and no limit of
 * ours is looked at.
 */

#include "base/clock.h"
#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/body.h"
#include "http/client.h"
#include "http/error.h"
#include "http/exchange.h"
#include "http/hop.h"
#include "http/options.h"
#include "http/retry.h"
#include "http/upgrade.h"
#include "task/task.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <uco/task.h>

/* What a call was given. */
struct call {
    const char *function;
    const char *file;
    int line;
    bool streamed;
    struct uco__http_upgrade *upgrade;
};

/* --- arguments --- */

static bool
method_valid(const char *method)
{
    return method[0] != '\0' && method[uco__http_token_length(method)] == '\0';
}

static bool
text_valid(const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if ((unsigned char) *text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

/* What is wrong with a request; NULL: nothing. */
static const char *
request_fault(const uco_http_request_options *asked)
{
    const char *const *header = asked->headers;

    if (isnan(asked->timeout) || asked->timeout < 0 || isnan(asked->expect_timeout))
        return "a timeout is negative, or not a number";
    if (asked->retries < 0 || asked->max_redirects < -1)
        return "retries or max_redirects is negative";
    if (asked->method != NULL && !method_valid(asked->method))
        return "the method is not one";
    if (asked->method != NULL && strcmp(asked->method, "CONNECT") == 0)
        return "CONNECT is for proxies";
    if (!text_valid(asked->range) || !text_valid(asked->token))
        return "a control character in range or token";
    for (; header != NULL && *header != NULL; header++) {
        if (!uco__http_header_valid(*header))
            return "a header is not one";
    }
    return NULL;
}

static int
request_check(const char *function, const uco_http_request_options *asked)
{
    const char *why;
    int error;

    if (asked->url == NULL)
        return uco__misuse(-EINVAL, "%s: the URL is NULL", function);
    why = request_fault(asked);
    if (why == NULL)
        return uco__http_login_check(function, asked->user, asked->password, asked->token);
    uco__http_explain_words(uco__task_current(&error), asked->url, why, -EINVAL);
    return uco__misuse(-EINVAL, "%s: %s", function, why);
}

/* The URL with all its parts. */
static int
request_make_url(struct uco__http_exchange *exchange)
{
    const uco_http_request_options *asked = exchange->asked;
    char *joined = uco__http_url_join(exchange->client->options.base_url, asked->url);
    int r = 0;

    if (joined == NULL)
        return -ENOMEM;
    exchange->url = joined;
    if (asked->params == NULL)
        return 0;
    exchange->url = uco__http_url_add_params(joined, asked->params, &r);
    if (exchange->url == NULL) {
        exchange->url = joined;
        return r;
    }
    uco__free(joined);
    return 0;
}

/* --- the chain --- */

/* On to where the answer leads. What was asked there depends on the answer's kind. */
static int
chain_redirect(struct uco__http_exchange *exchange)
{
    long status = exchange->response->result.status;
    bool post = strcmp(exchange->method, "POST") == 0;
    int r = 0;

    if (exchange->redirects == 0)
        r = uco__http_origin_init(&exchange->first, exchange->url, &exchange->why);
    if (r == 0)
        r = uco__http_response_add_hop(exchange->response, status, exchange->url);
    if (r < 0)
        return r;
    exchange->url = exchange->location;
    exchange->location = NULL;
    if (exchange->redirects++ >= exchange->redirects_max) {
        exchange->why = "too many redirects";
        return -ELOOP;
    }
    if ((status == 303 && strcmp(exchange->method, "HEAD") != 0) ||
        ((status == 301 || status == 302) && post)) {
        exchange->method = "GET";
        exchange->body_dropped |= exchange->with_body;
        exchange->with_body = false;
    }
    if (!exchange->with_body || exchange->body.kind != UCO__HTTP_SOURCE)
        return 0;
    r = uco__http_body_rewind(&exchange->body);
    if (r == -ESPIPE)
        exchange->why = "a redirect wants the body once more, and it cannot be read twice";
    return r;
}

/* 0: once more. Else the chain ends with the attempt's error. */
static int
chain_retry(struct uco__http_exchange *exchange, int error)
{
    double delay = exchange->delay;
    int r = 0;

    if (error < 0 && !uco__http_retry_wanted(exchange, error, &delay))
        return error;
    r = uco_sleep(delay);
    if (r == 0 && exchange->with_body && exchange->body.kind == UCO__HTTP_SOURCE)
        r = uco__http_body_rewind(&exchange->body);
    if (r < 0)
        return r;
    exchange->attempt++;
    exchange->why = NULL;
    uco__free(exchange->words);
    exchange->words = NULL;
    return 0;
}

static int
chain_call_hook(struct uco__http_exchange *exchange)
{
    const uco_http_client_options *options = &exchange->client->options;
    struct uco__http_response *response = exchange->response;
    int r;

    if (options->after_response == NULL)
        return 0;
    if (!exchange->ended) /* else it was measured then, and has no handle any more */
        uco__http_exchange_measure(exchange);
    response->result.url = exchange->url;
    r = options->after_response(&response->result, options->hook_arg);
    response->result.url = NULL;
    if (r >= 0)
        return 0;
    exchange->why = "after_response";
    if (!exchange->ended)
        uco__http_exchange_end(exchange);
    return r;
}

static int
chain_run(struct uco__http_exchange *exchange)
{
    int r;

    for (;;) {
        r = uco__http_hop_run(exchange);
        if (r == 0) {
            r = chain_call_hook(exchange);
            if (r < 0 || exchange->verdict == UCO__HTTP_FINAL)
                return r;
        }
        if (r == 0 && exchange->verdict == UCO__HTTP_REDIRECT)
            r = chain_redirect(exchange);
        else
            r = chain_retry(exchange, r);
        if (r < 0)
            return r;
    }
}

/* A stream whose head is there. */
static int
chain_accept(struct uco__http_exchange *exchange)
{
    struct uco__http_upgrade *upgrade = exchange->upgrade;
    int r = upgrade->accept(upgrade, exchange->response, &exchange->why);

    if (r == 0)
        exchange->due = UCO__NEVER;
    else if (!exchange->ended)
        uco__http_exchange_end(exchange);
    return r;
}

static int
exchange_run_inside(struct uco__http_exchange *exchange)
{
    int r = uco__http_body_plan(&exchange->body, exchange->asked);

    exchange->with_body = exchange->body.kind != UCO__HTTP_NO_BODY;
    if (exchange->method == NULL)
        exchange->method = exchange->with_body ? "POST" : "GET";
    if (r == 0 && exchange->with_body && strcmp(exchange->method, "HEAD") == 0)
        r = uco__misuse(-EINVAL, "a HEAD request has no body");
    if (r == 0)
        r = chain_run(exchange);
    if (r == 0 && exchange->upgrade != NULL)
        r = chain_accept(exchange);
    uco__http_body_done(&exchange->body);
    return r;
}

/* In the scope that the timeout, or the client's close, ends. */
static int
exchange_run(struct uco__http_exchange *exchange, double timeout)
{
    struct uco_http_client *client = exchange->client;
    int r = uco_scope_open(&exchange->scope, timeout);
    int inside;

    if (r < 0)
        return r;
    exchange->due = uco__clock_after(uco__loop_now(client->loop), timeout);
    uco__list_push_back(&client->exchanges, &exchange->link);
    inside = exchange_run_inside(exchange);
    r = (int) uco_scope_close(&exchange->scope, inside);
    if (inside == -ECANCELED)
        exchange->why = r == -ETIMEDOUT   ? "it took longer than the timeout"
                        : client->closing ? "the client was closed"
                                          : NULL;
    /* A scope that was cancelled gives 0: it was the client's close that did it. */
    return inside < 0 && r == 0 ? inside : r;
}

/* --- the call --- */

static void
response_hand_over(struct uco__http_exchange *exchange, uco_http_response **response)
{
    struct uco__http_response *inner = exchange->response;

    inner->url = exchange->url;
    inner->result.url = inner->url;
    if (!exchange->streamed)
        inner->result.text = inner->end > 0 ? inner->body : "";
    *response = &inner->result;
    if (exchange->ended) {
        inner->error = exchange->streamed ? exchange->result : 0;
        uco__http_response_keep_words(inner, exchange);
        exchange->url = NULL;
        exchange->response = NULL;
        uco__http_exchange_free(exchange);
    } else {
        /* Each has its own: whoever of them goes first. */
        inner->url = uco__string_copy(exchange->url);
        inner->result.url = inner->url != NULL ? inner->url : "";
        uco__http_exchange_detach(exchange);
    }
}

static struct uco__http_exchange *
exchange_new(struct uco_http_client *client, const uco_http_request_options *asked,
             const struct call *call)
{
    struct uco__http_exchange *exchange = uco__allocate(sizeof *exchange);
    int error;

    if (exchange == NULL)
        return NULL;
    uco__list_init(&exchange->link);
    exchange->client = client;
    exchange->asked = asked;
    exchange->task = uco__task_current(&error);
    exchange->file = call->file;
    exchange->line = call->line;
    exchange->streamed = call->streamed;
    exchange->upgrade = call->upgrade;
    if (call->upgrade != NULL)
        call->upgrade->exchange = exchange;
    exchange->method = asked->method;
    exchange->redirects_max =
        asked->max_redirects != 0 ? asked->max_redirects : client->options.max_redirects;
    exchange->retries = asked->retries;
    exchange->progress = asked->progress;
    exchange->progress_arg = asked->progress_arg;
    return exchange;
}

static int
request_do(struct uco_http_client *client, const uco_http_request_options *asked,
           uco_http_response **response, const struct call *call)
{
    struct uco__http_exchange *exchange;
    int r;

    if (response != NULL)
        *response = NULL;
    r = uco__http_client_check(client, call->function);
    if (r < 0 && r != -ECANCELED)
        return r;
    if (asked == NULL || response == NULL)
        return uco__misuse(-EINVAL, "%s: the request or the response is NULL", call->function);
    if (r == 0)
        r = request_check(call->function, asked);
    if (r == -EINVAL)
        return r;
    exchange = exchange_new(client, asked, call);
    if (exchange == NULL)
        return -ENOMEM;
    if (r == 0)
        r = request_make_url(exchange);
    if (r == 0)
        r = exchange_run(exchange, asked->timeout > 0 ? asked->timeout : client->options.timeout);
    else if (client->closing)
        exchange->why = "the client was closed";
    uco__http_explain(exchange, call->upgrade != NULL ? call->upgrade->url : asked->url, r);
    client->attempts = exchange->attempt + 1;
    if (r == 0)
        response_hand_over(exchange, response);
    else
        uco__http_exchange_free(exchange);
    return r;
}

int
uco__http_upgrade_open(struct uco_http_client *client, const uco_http_request_options *asked,
                       struct uco__http_upgrade *upgrade, const char *function,
                       struct uco__http_response **response)
{
    struct call call = {.function = function, .streamed = true, .upgrade = upgrade};
    uco_http_response *result;
    int r = request_do(client, asked, &result, &call);

    *response = (struct uco__http_response *) result;
    return r;
}

int
uco_http_request(uco_http_client *c, const uco_http_request_options *request,
                 uco_http_response **response)
{
    struct call call = {.function = "uco_http_request"};

    return request_do(c, request, response, &call);
}

int
uco_http_get(uco_http_client *c, const char *url, uco_http_response **response)
{
    struct call call = {.function = "uco_http_get"};
    uco_http_request_options request = {.url = url};

    return request_do(c, &request, response, &call);
}

int
uco_http_stream_at(const char *file, int line, uco_http_client *c,
                   const uco_http_request_options *request, uco_http_response **response)
{
    struct call call = {
        .function = "uco_http_stream", .file = file, .line = line, .streamed = true};

    return request_do(c, request, response, &call);
}

int(uco_http_stream)(uco_http_client *c, const uco_http_request_options *request,
                     uco_http_response **response)
{
    return uco_http_stream_at(NULL, 0, c, request, response);
}
