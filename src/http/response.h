/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_RESPONSE_H
#define UCO_HTTP_RESPONSE_H

/* A response that is being received, and then is the user's. */

#include "http/headers.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uco/http/response.h>

struct uco__http_exchange;
struct uco__http_lines;
struct uco__http_events;
struct uco__http_store;
struct uco__wait;

struct uco__http_response {
    uco_http_response result; /* first: what the user holds */
    struct uco__http_headers headers;
    /* The body, or what has come of it and was not yet read: [start, end), and room for a zero byte
     * after that. */
    char *body;
    size_t start;
    size_t end;
    size_t capacity;
    size_t body_max; /* bytes */
    size_t came;     /* of them */
    char *url;
    uco_http_hop *hops;
    bool streamed;
    bool pinned; /* somebody holds a pointer into the body: it does not move */
    size_t lent; /* bytes at `start` that are taken with the next call */
    struct uco__http_exchange *exchange; /* still receives it; NULL: nothing more comes */
    int error;                           /* that ended it early */
    char *words;                         /* why; NULL: there is nothing to say, or no memory */
    struct uco_loop *loop;               /* whose tasks may read it */
    struct uco__http_store *store;       /* where large bodies come from, and go to */
    bool awaited; /* by a task, and until that runs: nobody else may read it, or free it */
    /* Who waits for more; and where to it goes until its task runs. NULL: to the body. */
    struct uco__wait *reader;
    char *into;
    size_t into_size;
    size_t into_used;
    struct uco__http_lines *lines;   /* lines.c's; NULL */
    struct uco__http_events *events; /* event.c's; NULL */
};

/* NULL without memory. Freed by uco_http_response_free(). */
struct uco__http_response *uco__http_response_new(size_t body_max, struct uco__http_store *store);
/* Empties it for another request's answer. */
void uco__http_response_reset(struct uco__http_response *response);

/* Why its exchange has failed, for who reads it later. */
void uco__http_response_keep_words(struct uco__http_response *response,
                                   const struct uco__http_exchange *exchange);

/* A redirect: `url` (taken over) is where its answer came from. 0 or -ENOMEM, and then `url` is
 * still the caller's. */
int uco__http_response_add_hop(struct uco__http_response *response, long status, char *url);

/* A piece of the body; `expected` bytes in all are announced (-1: not known). 0, -ENOMEM,
 * -EMSGSIZE, -ENOBUFS (later: there is no room in a body that must not move). */
int uco__http_response_add_body(struct uco__http_response *response, const char *data, size_t size,
                                long long expected);

/* lines.c's and event.c's; NULL is fine. */
void uco__http_lines_free(struct uco__http_lines *lines);
void uco__http_events_free(struct uco__http_events *events);

#endif
