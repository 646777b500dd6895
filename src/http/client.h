/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_CLIENT_H
#define UCO_HTTP_CLIENT_H

/* A client: options, connections, and the requests that are under way. */

#include "core/loop.h"
#include "http/driver.h"
#include "http/limit.h"
#include "http/name.h"

#include <uco/http.h>
#include <uco/scope.h>

#define UCO__HTTP_IDLE_MAX 64 /* easy handles, of some 70 KiB, kept for the next requests */

/* One option of several: nothing is done once one has failed. */
#define UCO__HTTP_SET(code, easy, option, value)                                                   \
    ((code) = (code) == CURLE_OK ? curl_easy_setopt(easy, option, value) : (code))

/* One that is under way, in the frame of uco_http_get(). */
struct uco__http_request {
    struct uco__list link; /* in the client's */
    uco_scope scope;       /* around all that it does */
};

struct uco_http_client {
    struct uco__resource resource;
    struct uco_loop *loop;
    uco_http_client_options options;   /* filled in; strings are ours, `headers` is not used */
    struct curl_slist *headers;        /* sent with each request */
    struct curl_slist *headers_abroad; /* without secrets: after a redirect to somewhere else */
    CURLSH *share;                     /* cookies, TLS sessions */
    CURL *idle[UCO__HTTP_IDLE_MAX];    /* set up, and without a request */
    size_t idle_count;
    struct uco__http_driver driver;
    struct uco__http_limit limit;
    struct uco__http_names names;
    struct uco__list requests;
    bool closing;
    struct uco__wait *closer; /* who waits in uco_http_client_close() */
};

/* An easy handle with the client's options; NULL without memory. */
CURL *uco__http_client_take_easy(struct uco_http_client *client);
void uco__http_client_give_easy(struct uco_http_client *client, CURL *easy);

/* A request has ended, and its frame is about to go. The client may be gone after the next
 * suspension. */
void uco__http_client_request_done(struct uco_http_client *client,
                                   struct uco__http_request *request);

#endif
