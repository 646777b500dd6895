/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_RESPONSE_H
#define UCO_HTTP_RESPONSE_H

/* A response that is being received, and then is the user's. */

#include <stdbool.h>
#include <stddef.h>
#include <uco/http.h>

struct uco__http_response {
    struct uco_http_response result; /* first: what the user holds */
    char *body;
    size_t body_capacity;
    size_t body_max; /* bytes */
    char *headers;   /* "name\0value\0" each */
    size_t headers_size;
    size_t headers_capacity;
    bool begun; /* a status line has come */
    bool whole; /* and the empty line after its headers */
    char *url;
};

/* NULL without memory. Freed by uco_http_response_free(). */
struct uco__http_response *uco__http_response_new(size_t body_max);
/* Empties it for another request's answer. */
void uco__http_response_reset(struct uco__http_response *response);

/* A line of the head as it came: 0, -ENOMEM, -EPROTO. */
int uco__http_response_add_header(struct uco__http_response *response, const char *line,
                                  size_t size);
/* A piece of the body; `expected` bytes in all are announced (-1: not known). 0, -ENOMEM,
 * -EMSGSIZE. */
int uco__http_response_add_body(struct uco__http_response *response, const char *data, size_t size,
                                long long expected);

#endif
