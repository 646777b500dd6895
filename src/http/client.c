/* SPDX-License-Identifier: MIT */

/*
 * Clients.
 *
 * 1. A client is a resource of its loop until its close begins.
 * 2. It ends in a callback of the driver's, on the loop's stack, when no request is left; whoever
 *    waits in the close frees it, or else that callback does.
 */

#include "http/client.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/cookies.h"
#include "http/describe.h"
#include "http/exchange.h"
#include "http/handle.h"
#include "http/options.h"
#include "http/store.h"
#include "task/task.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* --- curl --- */

static CURLcode curl_state;

static void
curl_begin(void)
{
    curl_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- beginning and end --- */

static void
client_free(struct uco_http_client *client)
{
    uco__http_handles_done(client);
    uco__http_places_done(&client->places);
    uco__http_store_unref(client->store);
    curl_share_cleanup(client->share);
    curl_slist_free_all(client->headers);
    curl_slist_free_all(client->headers_abroad);
    uco__http_origin_done(&client->home);
    uco__http_options_done(&client->options);
    uco__free(client);
}

/* The driver has closed the connections. */
static void
client_stopped(struct uco__http_driver *driver)
{
    struct uco_http_client *client = UCO__CONTAINER(driver, struct uco_http_client, driver);

    uco__http_cookies_save(client);
    uco__http_names_done(&client->names);
    if (client->closer != NULL)
        uco__wake(client->closer, 0);
    else
        client_free(client);
}

static void
client_stop_if_idle(struct uco_http_client *client)
{
    if (client->closing && uco__list_empty(&client->exchanges) && uco__list_empty(&client->guests))
        uco__http_driver_stop(&client->driver, client_stopped);
}

void
uco__http_client_request_done(struct uco_http_client *client)
{
    if (uco__list_empty(&client->exchanges))
        uco__http_store_trim(client->store);
    client_stop_if_idle(client);
}

void
uco__http_client_add_guest(struct uco_http_client *client, struct uco__http_guest *guest)
{
    uco__list_push_back(&client->guests, &guest->link);
}

void
uco__http_client_remove_guest(struct uco_http_client *client, struct uco__http_guest *guest)
{
    uco__list_remove(&guest->link);
    client_stop_if_idle(client);
}

/* Everything that is under way ends. */
static void
client_end_exchanges(struct uco_http_client *client)
{
    client->closing = true;
    UCO__LIST_EACH(link, &client->exchanges) {
        struct uco__http_exchange *exchange = UCO__CONTAINER(link, struct uco__http_exchange, link);

        if (exchange->task != NULL)
            uco_scope_cancel(&exchange->scope);
        else
            uco__http_exchange_fail(exchange, -ECANCELED, "the client was closed");
    }
    UCO__LIST_EACH_SAFE(link, &client->guests) {
        struct uco__http_guest *guest = UCO__CONTAINER(link, struct uco__http_guest, link);

        guest->close(guest);
    }
}

/* The loop closes what its user has left open: no task is left, but maybe streams that nobody reads
 * any more. */
static void
client_close_resource(struct uco__resource *resource)
{
    struct uco_http_client *client = UCO__CONTAINER(resource, struct uco_http_client, resource);

    UCO__LIST_EACH(link, &client->exchanges) {
        struct uco__http_exchange *exchange = UCO__CONTAINER(link, struct uco__http_exchange, link);

        /* A WebSocket is a resource of its own, and of others nobody may want the rest any more. */
        if (exchange->upgrade != NULL || exchange->response == NULL)
            continue;
        uco__report(
            client->loop, NULL,
            "an HTTP response was left open: of %s, opened at %s:%d; it was not read to its "
            "end, nor freed",
            exchange->url, exchange->file != NULL ? exchange->file : "?", exchange->line);
    }
    client_end_exchanges(client);
    client_stop_if_idle(client);
}

static int
list_append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (longer == NULL)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int
client_add_header(struct uco_http_client *client, const char *header)
{
    int r = list_append(&client->headers, header);

    return r == 0 && !uco__http_header_is_secret(header)
               ? list_append(&client->headers_abroad, header)
               : r;
}

/* A header that each request has, unless the user has one of its name. */
static int
client_add_default(struct uco_http_client *client, const char *const *headers, const char *name,
                   const char *value)
{
    char *header;
    int r;

    for (; headers != NULL && *headers != NULL; headers++) {
        if (uco__http_header_same_name(name, *headers))
            return 0;
    }
    header = uco__allocate(strlen(name) + strlen(value) + 2);
    if (header == NULL)
        return -ENOMEM;
    strcat(strcat(strcpy(header, name), " "), value);
    r = client_add_header(client, header);
    uco__free(header);
    return r;
}

/* All that this curl can undo. */
static const char *
encodings(char text[64])
{
    int features = curl_version_info(CURLVERSION_NOW)->features;

    snprintf(text, 64, "%s%s%s", (features & CURL_VERSION_LIBZ) != 0 ? "deflate, gzip" : "identity",
             (features & CURL_VERSION_BROTLI) != 0 ? ", br" : "",
             (features & CURL_VERSION_ZSTD) != 0 ? ", zstd" : "");
    return text;
}

/* curl has options for those that are always sent, but then it writes them twice, byte by byte: 10
 * % of what a small request costs. */
static int
client_set_headers(struct uco_http_client *client, const char *const *headers)
{
    const uco_http_client_options *options = &client->options;
    char text[64];
    int r = client_add_default(client, headers, "User-Agent:", options->user_agent);

    if (r == 0 && !options->no_decompression)
        r = client_add_default(client, headers, UCO__HTTP_ACCEPT_ENCODING, encodings(text));
    for (; r == 0 && headers != NULL && *headers != NULL; headers++)
        r = client_add_header(client, *headers);
    return r;
}

static int
client_set_share(struct uco_http_client *client)
{
    client->share = curl_share_init();
    if (client->share == NULL ||
        (!client->options.no_cookies && /* sharing them would switch them on */
         curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE) != CURLSHE_OK) ||
        curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
        return -ENOMEM;
    return 0;
}

static int
client_init(struct uco_http_client *client, struct uco_loop *loop,
            const uco_http_client_options *options)
{
    const char *why;
    int r;

    client->loop = loop;
    client->random = loop->scheduler.random;
    if (client->random == 0)
        UCO__SYSTEM(getrandom, getrandom(&client->random, sizeof client->random, GRND_NONBLOCK));
    r = uco__http_options_init(&client->options, options);
    client->guards = curl_version_info(CURLVERSION_NOW)->version_num < 0x080100;
    client->http2 = (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP2) != 0;
    if (r == 0 && client->options.base_url != NULL)
        r = uco__http_origin_init(&client->home, client->options.base_url, &why);
    if (r == 0)
        r = client_set_headers(client, options->headers);
    if (r == 0)
        r = client_set_share(client);
    client->store = uco__http_store_new();
    if (r == 0 && client->store == NULL)
        r = -ENOMEM;
    if (r < 0)
        return r;
    uco__list_init(&client->exchanges);
    uco__list_init(&client->guests);
    uco__http_names_init(&client->names);
    uco__http_limit_init(&client->limit, client->options.max_connections,
                         client->options.max_per_host);
    r = uco__http_names_set(&client->names, options->addresses);
    if (r == 0)
        r = uco__http_driver_init(&client->driver, loop, client->options.max_connections);
    if (r < 0) {
        uco__http_names_done(&client->names);
        return r;
    }
    r = uco__http_cookies_load(client);
    if (r < 0) {
        uco__http_names_done(&client->names);
        uco__http_driver_done(&client->driver);
    }
    return r;
}

static struct uco_http_client *
client_new(const uco_http_client_options *options, int *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct uco_loop *loop;
    struct uco_http_client *client;

    loop = uco__loop_current(error);
    if (loop == NULL) {
        *error = uco__misuse(*error, "uco_http_client_new: outside a running loop");
        return NULL;
    }
    *error = loop->ending ? -ESHUTDOWN : -ENOMEM;
    if (loop->ending)
        return NULL;
    pthread_once(&once, curl_begin);
    client = curl_state == CURLE_OK ? uco__allocate(sizeof *client) : NULL;
    if (client == NULL)
        return NULL;
    *error = client_init(client, loop, options);
    if (*error == 0)
        return client;
    client_free(client);
    return NULL;
}

uco_http_client *
uco_http_client_new_at(const char *file, int line, const uco_http_client_options *options)
{
    static const uco_http_client_options defaults;
    struct uco_http_client *client;
    int error;

    client = client_new(options != NULL ? options : &defaults, &error);
    if (client == NULL)
        return uco__error_null(error);
    client->resource = (struct uco__resource){
        .kind = "HTTP client",
        .file = file,
        .line = line,
        .close = client_close_resource,
    };
    uco__loop_add_resource(client->loop, &client->resource);
    return client;
}

/* --- the user's calls --- */

uco_http_client *(uco_http_client_new) (const uco_http_client_options *options)
{
    return uco_http_client_new_at(NULL, 0, options);
}

static void
entering_close(struct uco__http_guest *guest)
{
    (void) guest; /* it sees by itself that the client is closing */
}

int
uco__http_client_check(struct uco_http_client *client, const char *function)
{
    struct uco__http_guest entering = {.close = entering_close};
    int error;

    if (uco__task_current(&error) == NULL)
        return uco__misuse(error, "%s: not in a coroutine", function);
    if (client == NULL)
        return uco__misuse(-EINVAL, "%s: the client is NULL", function);
    if (client->loop != uco_get_running_loop())
        return uco__misuse(-EPERM, "%s: another loop's client", function);
    if (client->closing)
        return -ECANCELED;
    /* Others may run in there, and close the client: it stays until we are out. */
    uco__http_client_add_guest(client, &entering);
    error = uco__checkpoint();
    uco__http_client_remove_guest(client, &entering);
    return error == 0 && client->closing ? -ECANCELED : error;
}

/* Whether a task is in a request of the client's: in a hook, or in what reads a body. */
static bool
client_serves(const struct uco_http_client *client, const struct uco__task *task)
{
    UCO__LIST_EACH(link, &client->exchanges) {
        if (task != NULL && UCO__CONTAINER(link, struct uco__http_exchange, link)->task == task)
            return true;
    }
    return false;
}

int
uco_http_client_close(uco_http_client *c)
{
    struct uco__wait wait;
    struct uco_loop *loop;
    int error;

    if (c == NULL)
        return 0;
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "uco_http_client_close: outside a running loop");
    if (c->loop != loop)
        return uco__misuse(-EPERM, "uco_http_client_close: another loop's client");
    if (c->closing)
        return uco__misuse(-EINVAL, "uco_http_client_close: it is being closed already");
    if (client_serves(c, uco__task_current(&error)))
        return uco__misuse(-EDEADLK, "uco_http_client_close: within one of its own requests");
    uco__loop_remove_resource(loop, &c->resource);
    client_end_exchanges(c);
    client_stop_if_idle(c);
    if (uco__task_current(&error) == NULL)
        return 0;
    uco__wait_init(&wait, &uco__wait_client, NULL);
    c->closer = &wait;
    uco__park(&wait);
    client_free(c);
    return 0;
}
