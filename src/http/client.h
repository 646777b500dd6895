/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_CLIENT_H
#define UCO_HTTP_CLIENT_H

/* A client: options, connections, and the exchanges that are under way. */

#include "core/loop.h"
#include "http/driver.h"
#include "http/limit.h"
#include "http/name.h"
#include "http/url.h"

#include <uco/http/client.h>

#define UCO__HTTP_IDLE_MAX 64 /* easy handles, of some 70 KiB, kept for the next requests */

#define UCO__HTTP_LARGE ((size_t) 32 * 1024) /* bytes of a body that is called so */
#define UCO__HTTP_LARGE_LAST 16              /* responses */
#define UCO__HTTP_LARGE_BUFFERS 16           /* that curl may have at once for them */

#define UCO__HTTP_ACCEPT_ENCODING "Accept-Encoding:"

struct uco__http_handle;

/* Another user of a client: a download, a WebSocket. */
struct uco__http_guest {
    struct uco__list link;
    void (*close)(struct uco__http_guest *guest); /* the client is being closed: it is to leave */
};

struct uco_http_client {
    struct uco__resource resource;
    struct uco_loop *loop;
    uco_http_client_options options;   /* filled in; strings are ours, lists of them not used */
    struct curl_slist *headers;        /* sent with each request */
    struct curl_slist *headers_abroad; /* without secrets: after a redirect to somewhere else */
    struct uco__http_origin home;      /* base_url's; no key: there is none */
    CURLSH *share;                     /* cookies, TLS sessions */
    struct uco__http_handle *idle[UCO__HTTP_IDLE_MAX]; /* set up, and without a request */
    size_t idle_count;
    unsigned taken; /* of such, counted round */
    struct uco__http_driver driver;
    struct uco__http_limit limit;
    struct uco__http_names names;
    struct uco__http_places places;
    struct uco__list exchanges; /* all that are under way */
    struct uco__http_store *store;
    struct uco__list guests; /* others that use it */
    unsigned large;          /* more than 0: one of the last responses had a large body */
    int attempts;            /* of the last call that has ended */
    bool guards;             /* used handles need to be guarded (handle.c) */
    bool http2;              /* this curl can speak it */
    bool closing;
    uint64_t random;          /* of the delays between retries */
    struct uco__wait *closer; /* who waits in uco_http_client_close() */
};

/* One of its exchanges is gone: in a close, the last one lets it go on. The client may
 * be gone after the next suspension. */
void uco__http_client_request_done(struct uco_http_client *client);

void uco__http_client_add_guest(struct uco_http_client *client, struct uco__http_guest *guest);
/* Fine for one that is none. */
void uco__http_client_remove_guest(struct uco_http_client *client, struct uco__http_guest *guest);

/* Whether the calling task may use it: 0, or an error, as misuse where it is one. */
int uco__http_client_check(struct uco_http_client *client, const char *function);

#endif
