/* SPDX-License-Identifier: MIT */

/*
 * The handshake of a WebSocket: a GET that asks for an upgrade, and what the server makes of it.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/client.h"
#include "http/options.h"
#include "http/websocket.h"
#include "task/task.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define MESSAGE_MAX ((size_t) 16 * 1024 * 1024)

/* What is sent beside the user's headers. An empty one: curl is not to add it. */
static const char *const own_headers[] = {"Upgrade: websocket", "Connection: Upgrade",
                                          "Sec-WebSocket-Version: 13",
                                          "Transfer-Encoding:", "Expect:"};
#define OWN_HEADERS (sizeof own_headers / sizeof own_headers[0])

/* In the user's they would make another request of it. */
static const char *const forbidden[] = {"Sec-WebSocket-Key:", "Sec-WebSocket-Protocol:",
                                        "Sec-WebSocket-Extensions:", "Content-Length:"};

/* What is asked, with memory that lives until the call returns. */
struct handshake {
    char *url;       /* as curl takes it */
    char *protocols; /* the header; NULL: none are offered */
    char key[sizeof "Sec-WebSocket-Key: " + UCO__WEBSOCKET_KEY_SIZE];
    const char **headers;
};

/* --- what is asked --- */

static bool
header_forbidden(const char *header)
{
    for (size_t i = 0; i < OWN_HEADERS; i++) {
        if (uco__http_header_same_name(own_headers[i], header))
            return true;
    }
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        if (uco__http_header_same_name(forbidden[i], header))
            return true;
    }
    return false;
}

static bool
token_valid(const char *token)
{
    return token[0] != '\0' && token[uco__http_token_length(token)] == '\0';
}

static int
options_check(const uco_websocket_options *options)
{
    if (isnan(options->timeout) || options->timeout < 0)
        return uco__misuse(-EINVAL, "uco_websocket_open: timeout is negative, or not a number");
    for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++) {
        if (!uco__http_header_valid(options->headers[i]) || header_forbidden(options->headers[i]))
            return uco__misuse(
                -EINVAL, "uco_websocket_open: not a header, or not the user's: '%.*s'",
                (int) uco__http_token_length(options->headers[i]), options->headers[i]);
    }
    for (size_t i = 0; options->protocols != NULL && options->protocols[i] != NULL; i++) {
        if (!token_valid(options->protocols[i]))
            return uco__misuse(-EINVAL, "uco_websocket_open: not a sub-protocol: '%s'",
                               options->protocols[i]);
    }
    return 0;
}

/* To curl it is a URL of HTTP. 0; -EINVAL: it has another scheme; -ENOMEM. */
static int
handshake_set_url(struct handshake *handshake, const char *url)
{
    const char *scheme = "", *rest = url;
    size_t size;

    if (strncasecmp(url, "ws://", 5) == 0) {
        scheme = "http";
        rest = url + 2;
    } else if (strncasecmp(url, "wss://", 6) == 0) {
        scheme = "https";
        rest = url + 3;
    } else if (url[strcspn(url, ":/?#")] == ':') {
        return -EINVAL;
    }
    size = strlen(scheme) + strlen(rest) + 1;
    handshake->url = uco__allocate(size);
    if (handshake->url == NULL)
        return -ENOMEM;
    snprintf(handshake->url, size, "%s%s", scheme, rest);
    return 0;
}

static int
handshake_set_protocols(struct handshake *handshake, const char *const *protocols)
{
    static const char name[] = "Sec-WebSocket-Protocol: ";
    size_t size = sizeof name;
    char *end;

    if (protocols == NULL || protocols[0] == NULL)
        return 0;
    for (size_t i = 0; protocols[i] != NULL; i++)
        size += strlen(protocols[i]) + 2;
    handshake->protocols = uco__allocate(size);
    if (handshake->protocols == NULL)
        return -ENOMEM;
    end = stpcpy(handshake->protocols, name);
    for (size_t i = 0; protocols[i] != NULL; i++)
        end = stpcpy(stpcpy(end, i > 0 ? ", " : ""), protocols[i]);
    return 0;
}

static int
handshake_set_headers(struct handshake *handshake, const char *const *headers)
{
    size_t count = 0, used = 0;

    while (headers != NULL && headers[count] != NULL)
        count++;
    handshake->headers = uco__allocate((count + OWN_HEADERS + 3) * sizeof(const char *));
    if (handshake->headers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        handshake->headers[used++] = headers[i];
    for (size_t i = 0; i < OWN_HEADERS; i++)
        handshake->headers[used++] = own_headers[i];
    handshake->headers[used++] = handshake->key;
    if (handshake->protocols != NULL)
        handshake->headers[used++] = handshake->protocols;
    return 0;
}

static int
handshake_init(struct handshake *handshake, struct uco_websocket *ws, const char *url,
               const uco_websocket_options *options)
{
    char key[UCO__WEBSOCKET_KEY_SIZE];
    unsigned char random[16];
    long r = UCO__SYSTEM(getrandom, getrandom(random, sizeof random, 0));

    if (r < 0)
        return (int) r;
    uco__websocket_key(key, random);
    uco__websocket_accept(ws->accept, key);
    snprintf(handshake->key, sizeof handshake->key, "Sec-WebSocket-Key: %s", key);
    r = handshake_set_url(handshake, url);
    if (r == 0)
        r = handshake_set_protocols(handshake, options->protocols);
    return r == 0 ? handshake_set_headers(handshake, options->headers) : (int) r;
}

static void
handshake_done(struct handshake *handshake)
{
    uco__free(handshake->url);
    uco__free(handshake->protocols);
    uco__free(handshake->headers);
}

/* --- what is answered --- */

/* Whether a list of words has this one. */
static bool
value_has(const char *value, const char *word)
{
    size_t length = strlen(word);

    while (value != NULL && *value != '\0') {
        size_t n;

        value += strspn(value, ", \t");
        n = strcspn(value, ", \t");
        if (n == length && strncasecmp(value, word, n) == 0)
            return true;
        value += n;
    }
    return false;
}

static bool
protocol_offered(const struct uco_websocket *ws, const char *protocol)
{
    for (size_t i = 0; ws->protocols != NULL && ws->protocols[i] != NULL; i++) {
        if (strcmp(ws->protocols[i], protocol) == 0)
            return true;
    }
    return false;
}

static int
answer_accept(struct uco__http_upgrade *upgrade, const struct uco__http_response *response,
              const char **why)
{
    struct uco_websocket *ws = UCO__CONTAINER(upgrade, struct uco_websocket, upgrade);
    const struct uco__http_headers *headers = &response->headers;
    const char *accept = uco__http_headers_find(headers, "Sec-WebSocket-Accept", 0);
    const char *protocol = uco__http_headers_find(headers, "Sec-WebSocket-Protocol", 0);

    *why = NULL;
    if (response->result.status != 101) {
        snprintf(ws->why, sizeof ws->why, "the server opens no WebSocket: status %ld",
                 response->result.status);
        *why = ws->why;
    } else if (!value_has(uco__http_headers_find(headers, "Upgrade", 0), "websocket") ||
               !value_has(uco__http_headers_find(headers, "Connection", 0), "upgrade")) {
        *why = "the server has upgraded to something else";
    } else if (accept == NULL || strcmp(accept, ws->accept) != 0) {
        *why = "the server's Sec-WebSocket-Accept does not answer the key";
    } else if (uco__http_headers_find(headers, "Sec-WebSocket-Extensions", 0) != NULL) {
        *why = "the server wants an extension, and none was offered";
    } else if (protocol != NULL && !protocol_offered(ws, protocol)) {
        *why = "the server wants a sub-protocol that was not offered";
    }
    return *why != NULL ? -EPROTO : 0;
}

/* --- the call --- */

static struct uco_websocket *
websocket_new(struct uco_http_client *client, const char *url, const uco_websocket_options *options)
{
    struct uco_websocket *ws = uco__allocate(sizeof *ws);

    if (ws == NULL)
        return NULL;
    ws->loop = client->loop;
    ws->upgrade.url = url;
    ws->upgrade.accept = answer_accept;
    ws->protocols = options->protocols;
    ws->input.max = options->max_message > 0 ? options->max_message : MESSAGE_MAX;
    uco__websocket_output_init(ws);
    return ws;
}

static int
websocket_connect(struct uco_websocket *ws, struct uco_http_client *client, const char *url,
                  const uco_websocket_options *options)
{
    struct handshake handshake = {0};
    int r = handshake_init(&handshake, ws, url, options);
    uco_http_request_options asked = {
        .method = "GET",
        .url = handshake.url,
        .headers = handshake.headers,
        .timeout = options->timeout,
        .max_body = SIZE_MAX / 2,
        .no_decompression = true,
    };

    if (r == 0)
        r = uco__http_upgrade_open(client, &asked, &ws->upgrade, "uco_websocket_open",
                                   &ws->response);
    handshake_done(&handshake);
    ws->protocols = NULL;
    ws->upgrade.url = NULL;
    if (r < 0)
        return r;
    ws->protocol = uco__http_headers_find(&ws->response->headers, "Sec-WebSocket-Protocol", 0);
    if (ws->protocol == NULL)
        ws->protocol = "";
    return 0;
}

static struct uco_websocket *
websocket_open(struct uco_http_client *client, const char *url,
               const uco_websocket_options *options, int *error)
{
    struct uco_websocket *ws;

    *error = uco__http_client_check(client, "uco_websocket_open");
    if (*error == 0 && url == NULL)
        *error = uco__misuse(-EINVAL, "uco_websocket_open: the URL is NULL");
    if (*error == 0)
        *error = options_check(options);
    if (*error < 0)
        return NULL;
    ws = websocket_new(client, url, options);
    *error = ws != NULL ? websocket_connect(ws, client, url, options) : -ENOMEM;
    if (*error == 0)
        return ws;
    if (ws != NULL)
        uco__websocket_free(ws);
    return NULL;
}

uco_websocket *
uco_websocket_open_at(const char *file, int line, uco_http_client *c, const char *url,
                      const uco_websocket_options *options)
{
    static const uco_websocket_options defaults;
    struct uco_websocket *ws;
    int error;

    ws = websocket_open(c, url, options != NULL ? options : &defaults, &error);
    if (ws == NULL)
        return uco__error_null(error);
    ws->resource = (struct uco__resource){
        .kind = "WebSocket",
        .file = file,
        .line = line,
        .close = uco__websocket_close_resource,
    };
    uco__loop_add_resource(ws->loop, &ws->resource);
    return ws;
}

uco_websocket *(uco_websocket_open) (uco_http_client *c, const char *url,
                                     const uco_websocket_options *options)
{
    return uco_websocket_open_at(NULL, 0, c, url, options);
}
