/* SPDX-License-Identifier: MIT */

/*
 * Hops.
 *
 * 1. A hop takes a permit, has the host's addresses looked up, sets up an easy handle, and hands it
 *    to the driver. A queued request so has no handle, which is large.
 * 2. Passwords and secret headers go to the origin of the first hop only.
 */

#include "http/hop.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/client.h"
#include "http/exchange.h"
#include "http/handle.h"
#include "http/options.h"
#include "http/proxy.h"
#include "task/task.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define EXPECT_FROM (1024 * 1024) /* bytes of a body */

static bool
hop_is_abroad(const struct uco__http_exchange *exchange)
{
    return exchange->redirects > 0 && !uco__http_origin_same(&exchange->origin, &exchange->first);
}

/* --- headers --- */

static int
list_append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (longer == NULL)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static bool
list_has(const struct curl_slist *list, const char *header)
{
    for (; list != NULL; list = list->next) {
        if (uco__http_header_same_name(header, list->data))
            return true;
    }
    return false;
}

static bool
headers_have(const char *const *headers, const char *header)
{
    for (; headers != NULL && *headers != NULL; headers++) {
        if (uco__http_header_same_name(header, *headers))
            return true;
    }
    return false;
}

/* What the body wants, where the user says nothing else. */
static int
headers_add_body(struct uco__http_exchange *exchange)
{
    const struct uco__http_body *body = &exchange->body;
    bool expect =
        (body->size < 0 || body->size > EXPECT_FROM) && exchange->asked->expect_timeout >= 0;
    char type[256];
    int r = 0;

    if (!exchange->with_body)
        return 0;
    if (snprintf(type, sizeof type, "Content-Type:%s%s", body->type != NULL ? " " : "",
                 body->type != NULL ? body->type : "") >= (int) sizeof type)
        return -EINVAL;
    if (!list_has(exchange->headers, type))
        r = list_append(&exchange->headers, type);
    if (r == 0 && !expect && !list_has(exchange->headers, "Expect:"))
        r = list_append(&exchange->headers, "Expect:");
    return r;
}

/* The client's, but those that a hook or the request has others in place of. */
static int
headers_add_clients(struct uco__http_exchange *exchange)
{
    const uco_http_request_options *asked = exchange->asked;
    const struct curl_slist *each =
        hop_is_abroad(exchange) ? exchange->client->headers_abroad : exchange->client->headers;
    int r = 0;

    for (; r == 0 && each != NULL; each = each->next) {
        if (!list_has(exchange->call.headers, each->data) &&
            !headers_have(asked->headers, each->data) &&
            !(asked->no_decompression &&
              uco__http_header_same_name(UCO__HTTP_ACCEPT_ENCODING, each->data)))
            r = list_append(&exchange->headers, each->data);
    }
    return r;
}

/* All of the hop's, in `headers`; that stays NULL where it has none of its own. A name may come
 * several times from the same source. */
static int
hop_set_headers(struct uco__http_exchange *exchange)
{
    const char *const *asked = exchange->asked->headers;
    const struct curl_slist *each;
    bool abroad = hop_is_abroad(exchange);
    int r = 0;

    curl_slist_free_all(exchange->headers);
    exchange->headers = NULL;
    if (exchange->call.headers == NULL && asked == NULL && !exchange->with_body &&
        !exchange->asked->no_decompression)
        return 0;
    for (each = exchange->call.headers; r == 0 && each != NULL; each = each->next)
        r = list_append(&exchange->headers, each->data);
    for (; r == 0 && asked != NULL && *asked != NULL; asked++) {
        if (!list_has(exchange->call.headers, *asked) &&
            !(exchange->body_dropped && strncasecmp(*asked, "Content-", 8) == 0) &&
            !(abroad && uco__http_header_is_secret(*asked)))
            r = list_append(&exchange->headers, *asked);
    }
    if (r == 0)
        r = headers_add_clients(exchange);
    return r == 0 ? headers_add_body(exchange) : r;
}

/* --- what curl is told --- */

/* To curl what is sent after the answer is a body of no known length. The connection is nobody
 * else's, neither before nor after. A proxy of HTTP could not hand it through: it is to build a
 * tunnel. */
static CURLcode
handle_set_upgrade(struct uco__http_exchange *exchange, CURL *easy)
{
    CURLcode code = CURLE_OK;

    exchange->handle->spoilt = true;
    UCO__HTTP_SET(code, easy, CURLOPT_UPLOAD, 1L);
    UCO__HTTP_SET(code, easy, CURLOPT_CUSTOMREQUEST, exchange->method);
    UCO__HTTP_SET(code, easy, CURLOPT_FRESH_CONNECT, 1L);
    UCO__HTTP_SET(code, easy, CURLOPT_FORBID_REUSE, 1L);
    UCO__HTTP_SET(code, easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    UCO__HTTP_SET(code, easy, CURLOPT_LOW_SPEED_LIMIT, 0L);
    return code;
}

static CURLcode
handle_set_method(struct uco__http_exchange *exchange, CURL *easy)
{
    const struct uco__http_body *body = &exchange->body;
    const char *method = exchange->method;
    CURLcode code = CURLE_OK;

    if (exchange->upgrade != NULL)
        return handle_set_upgrade(exchange, easy);
    if (uco__http_exchange_pumps(exchange)) {
        exchange->handle->spoilt = true;
        UCO__HTTP_SET(code, easy, CURLOPT_UPLOAD, 1L);
        UCO__HTTP_SET(code, easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) body->size);
    } else if (exchange->with_body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
               strcmp(method, "PATCH") == 0) {
        /* Without a body its length is told all the same. */
        UCO__HTTP_SET(code, easy, CURLOPT_POST, 1L);
        UCO__HTTP_SET(code, easy, CURLOPT_POSTFIELDSIZE_LARGE,
                      (curl_off_t) (exchange->with_body ? body->size : 0));
        UCO__HTTP_SET(code, easy, CURLOPT_POSTFIELDS,
                      exchange->with_body && body->size > 0 ? body->data : "");
    } else if (strcmp(method, "HEAD") == 0) {
        UCO__HTTP_SET(code, easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") == 0) {
        return code;
    }
    exchange->handle->method = true;
    if (strcmp(method, "HEAD") != 0)
        UCO__HTTP_SET(code, easy, CURLOPT_CUSTOMREQUEST, method);
    if (exchange->asked->expect_timeout > 0) {
        exchange->handle->spoilt = true;
        UCO__HTTP_SET(code, easy, CURLOPT_EXPECT_100_TIMEOUT_MS,
                      uco__http_milliseconds(exchange->asked->expect_timeout));
    }
    return code;
}

static CURLcode
handle_set_auth(struct uco__http_exchange *exchange, CURL *easy)
{
    const uco_http_request_options *asked = exchange->asked;
    const uco_http_client_options *options = &exchange->client->options;
    const struct uco__http_origin *home = &exchange->client->home;
    bool own = asked->user != NULL || asked->token != NULL;
    bool clients = !own && (options->user != NULL || options->token != NULL) &&
                   (home->key == NULL || uco__http_origin_same(home, &exchange->origin));
    const char *token = own ? asked->token : options->token;
    uco_http_auth auth = own ? asked->auth : options->auth;
    CURLcode code = CURLE_OK;

    exchange->digest = false;
    if (hop_is_abroad(exchange) || (!own && !clients))
        return code;
    exchange->handle->login = token == NULL && auth == UCO_HTTP_BASIC;
    exchange->handle->spoilt |= !exchange->handle->login;
    if (token != NULL) {
        UCO__HTTP_SET(code, easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BEARER);
        UCO__HTTP_SET(code, easy, CURLOPT_XOAUTH2_BEARER, token);
        return code;
    }
    exchange->digest = auth == UCO_HTTP_DIGEST;
    UCO__HTTP_SET(code, easy, CURLOPT_HTTPAUTH,
                  (long) (exchange->digest ? CURLAUTH_DIGEST : CURLAUTH_BASIC));
    UCO__HTTP_SET(code, easy, CURLOPT_USERNAME, own ? asked->user : options->user);
    UCO__HTTP_SET(code, easy, CURLOPT_PASSWORD, own ? asked->password : options->password);
    return code;
}

static CURLcode
handle_set_rest(struct uco__http_exchange *exchange, CURL *easy)
{
    const uco_http_request_options *asked = exchange->asked;
    CURLcode code = CURLE_OK;

    if (asked->range != NULL)
        UCO__HTTP_SET(code, easy, CURLOPT_RANGE, asked->range);
    if (asked->no_decompression && !exchange->client->options.no_decompression) {
        UCO__HTTP_SET(code, easy, CURLOPT_ACCEPT_ENCODING, NULL);
        UCO__HTTP_SET(code, easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    }
    if (asked->range != NULL || asked->no_decompression || exchange->progress != NULL)
        exchange->handle->spoilt = true;
    return code;
}

/* What stays set in a handle from one request to the next. */
static CURLcode
handle_set_common(struct uco__http_exchange *exchange, CURL *easy)
{
    struct uco_http_client *client = exchange->client;
    struct uco__http_handle *handle = exchange->handle;
    bool http2 = client->http2 && exchange->origin.tls && !client->options.http1_only &&
                 exchange->upgrade == NULL;
    long version = http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
    struct curl_slist *headers = exchange->headers;
    CURLcode code = uco__http_handle_set_url(handle, client, exchange->url);

    if (headers == NULL)
        headers = hop_is_abroad(exchange) ? client->headers_abroad : client->headers;
    if (headers != handle->headers) {
        UCO__HTTP_SET(code, easy, CURLOPT_HTTPHEADER, headers);
        /* curl before 8.21 would send that host's cookies with the handle's later requests. */
        handle->spoilt |= list_has(headers, "Host:");
    }
    if (version != handle->version) {
        UCO__HTTP_SET(code, easy, CURLOPT_HTTP_VERSION, version);
        /* Only where a connection may carry several: a plain one would make the others wait for the
         * first one's answer. */
        UCO__HTTP_SET(code, easy, CURLOPT_PIPEWAIT, (long) http2);
    }
    handle->headers = headers;
    handle->version = version;
    return code == CURLE_OK ? uco__http_proxy_apply(&client->options, &exchange->origin, easy)
                            : code;
}

/* A reader takes what comes as it comes. And where many are under way large buffers bring nothing,
 * but take memory. */
static bool
hop_wants_large_buffer(const struct uco__http_exchange *exchange)
{
    const struct uco_http_client *client = exchange->client;

    return !exchange->streamed && client->large > 0 &&
           client->limit.active <= UCO__HTTP_LARGE_BUFFERS;
}

static int
hop_set_up(struct uco__http_exchange *exchange, struct curl_slist *resolve)
{
    CURL *easy = exchange->handle->easy;
    CURLcode code = handle_set_common(exchange, easy);

    if (resolve != NULL) {
        exchange->handle->resolve = true;
        UCO__HTTP_SET(code, easy, CURLOPT_RESOLVE, resolve);
    }
    if (code == CURLE_OK)
        code = uco__http_handle_set_buffer(exchange->handle, hop_wants_large_buffer(exchange));
    if (code == CURLE_OK)
        code = handle_set_method(exchange, easy);
    if (code == CURLE_OK)
        code = handle_set_auth(exchange, easy);
    if (code == CURLE_OK)
        code = handle_set_rest(exchange, easy);
    if (code == CURLE_OK)
        code = uco__http_exchange_connect(exchange, easy);
    exchange->handle->spoilt |= code != CURLE_OK; /* what is noted in it may not be set */
    return code == CURLE_OK ? 0 : -ENOMEM;
}

/* --- hooks --- */

const char *
uco_http_call_method(const uco_http_call *call)
{
    return call->method;
}

const char *
uco_http_call_url(const uco_http_call *call)
{
    return call->url;
}

int
uco_http_call_attempt(const uco_http_call *call)
{
    return call->attempt;
}

int
uco_http_call_set_header(uco_http_call *call, const char *header)
{
    struct curl_slist **place;

    if (call == NULL || header == NULL || !uco__http_header_valid(header))
        return uco__misuse(-EINVAL, "uco_http_call_set_header: not a header");
    for (place = &call->headers; *place != NULL;) {
        struct curl_slist *each = *place;

        if (uco__http_header_same_name(header, each->data)) {
            *place = each->next;
            each->next = NULL;
            curl_slist_free_all(each);
        } else {
            place = &each->next;
        }
    }
    return list_append(&call->headers, header);
}

/* --- the way to curl --- */

static int
hop_take_permit(struct uco__http_exchange *exchange)
{
    struct uco_http_client *client = exchange->client;
    uco_scope scope;
    int r;

    exchange->queued = uco__loop_now(client->loop);
    if (client->options.pool_timeout == UCO_FOREVER)
        return uco__http_limit_acquire(&client->limit, exchange->task, exchange->origin.key,
                                       &exchange->permit);
    r = uco_scope_open(&scope, client->options.pool_timeout);
    if (r < 0)
        return r;
    r = uco__http_limit_acquire(&client->limit, exchange->task, exchange->origin.key,
                                &exchange->permit);
    r = (int) uco_scope_close(&scope, r);
    if (r == -ETIMEDOUT)
        exchange->why = "no connection was free within pool_timeout";
    return r;
}

static int
hop_find_host(struct uco__http_exchange *exchange, struct curl_slist **resolve)
{
    struct uco_http_client *client = exchange->client;
    const char *why = NULL;
    uint64_t began;
    uco_scope scope;
    int r;

    *resolve = NULL;
    exchange->lookup = 0;
    if (uco__http_proxy_needs_nobody(&client->options, &client->names, &exchange->origin))
        return 0;
    began = uco__loop_now(client->loop);
    r = uco_scope_open(&scope, client->options.connect_timeout);
    if (r < 0)
        return r;
    r = uco__http_proxy_find(&client->options, &client->names, client->loop, &exchange->origin,
                             resolve, &why);
    r = (int) uco_scope_close(&scope, r);
    if (r < 0)
        exchange->why = why;
    if (r == -ETIMEDOUT)
        exchange->why = "a host's name was not found within connect_timeout";
    exchange->transient = r == -EAGAIN || r == -ETIMEDOUT;
    exchange->lookup = uco__loop_now(client->loop) - began;
    return r;
}

/* With a permit: until the transfer has begun. What was taken is given back on an error. */
static int
hop_begin(struct uco__http_exchange *exchange, struct curl_slist *resolve)
{
    struct uco_http_client *client = exchange->client;
    int r = hop_set_headers(exchange);

    if (r < 0)
        return r;
    exchange->handle = uco__http_handle_take(client);
    if (exchange->handle == NULL)
        return -ENOMEM;
    uco__http_response_reset(exchange->response);
    r = hop_set_up(exchange, resolve);
    if (r == 0)
        r = uco__checkpoint();
    if (r == 0)
        r = uco__http_exchange_start(exchange);
    if (r < 0) {
        uco__http_handle_give(client, exchange->handle);
        exchange->handle = NULL;
    }
    return r;
}

/* Without a response as long as it is queued, and that may be long. */
static int
hop_prepare(struct uco__http_exchange *exchange)
{
    const struct uco_http_client *client = exchange->client;
    size_t most = exchange->asked->max_body;

    exchange->slot = uco__loop_now(client->loop);
    if (exchange->response != NULL)
        return 0;
    exchange->response =
        uco__http_response_new(most > 0 ? most : client->options.max_body, client->store);
    if (exchange->response == NULL)
        return -ENOMEM;
    exchange->response->streamed = exchange->streamed;
    exchange->response->loop = client->loop;
    return 0;
}

static int
hop_call_hook(struct uco__http_exchange *exchange)
{
    const uco_http_client_options *options = &exchange->client->options;
    int r;

    curl_slist_free_all(exchange->call.headers);
    exchange->call = (struct uco_http_call){
        .method = exchange->method, .url = exchange->url, .attempt = exchange->attempt};
    if (options->before_request == NULL)
        return 0;
    r = options->before_request(&exchange->call, options->hook_arg);
    if (r < 0)
        exchange->why = "before_request";
    return r < 0 ? r : 0;
}

/* When it has ended: its result; a stream whose head is there has none yet. */
static int
hop_await(struct uco__http_exchange *exchange)
{
    struct uco_http_client *client = exchange->client;
    int r = uco__http_exchange_await(exchange);

    if (r < 0 || !exchange->ended)
        return r;
    /* A stream that broke off after its head is a stream: its reader learns of the error. */
    if (exchange->streamed && exchange->verdict == UCO__HTTP_FINAL && exchange->upload.finished)
        return 0;
    if (exchange->result < 0 && exchange->transfer.code == CURLE_COULDNT_CONNECT)
        uco__http_proxy_forget(&client->options, &client->names, &exchange->origin);
    return exchange->result;
}

int
uco__http_hop_run(struct uco__http_exchange *exchange)
{
    struct curl_slist *resolve = NULL;
    int r;

    uco__http_origin_done(&exchange->origin);
    exchange->transient = false;
    r = uco__http_origin_init(&exchange->origin, exchange->url, &exchange->why);
    if (r == 0)
        r = hop_call_hook(exchange);
    if (r == 0)
        r = hop_take_permit(exchange);
    if (r < 0)
        return r;
    r = hop_prepare(exchange);
    if (r == 0 && exchange->with_body)
        r = uco__http_body_open(&exchange->body);
    if (r == 0)
        r = hop_find_host(exchange, &resolve);
    if (r == 0)
        r = hop_begin(exchange, resolve);
    if (r == 0) {
        r = hop_await(exchange);
    } else {
        uco__http_limit_release(exchange->permit);
        exchange->permit = NULL;
    }
    curl_slist_free_all(resolve);
    return r;
}
