/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_CONNECTION_H
#define TEST_HTTP_CONNECTION_H

/* The server's own: a connection, and what its pages are made of. */

#include "server.h"

#include <errno.h>

struct connection {
    struct server *server;
    int fd;
    unsigned requests;
    size_t start; /* of what has come and was not looked at: [start, end) of the buffer */
    size_t end;
    char head[8192]; /* of the present request */
    const char *path;
    bool without_body; /* HEAD: the answer has none */
    bool expects;      /* "100 Continue", which was not yet sent */
    bool chunked;
    size_t announced; /* bytes of its body */
    bool taken;       /* all of the body was read */
    size_t pace;      /* bytes to read each millisecond; 0: any */
    char *body;
    size_t body_size;
    size_t body_room; /* bytes that `body` may have */
    char buffer[16384];
};

/* A page's result is 0 if the connection goes on. */
typedef int page_fn(struct connection *c);

int put(struct connection *c, const char *text);
int put_bytes(struct connection *c, const void *data, size_t size);
int put_head(struct connection *c, const char *status, size_t size);
int put_page(struct connection *c, const char *status, const char *text);

/* The number at the end of the path. */
size_t path_number(const struct connection *c);
/* A header's value; NULL: there is none. */
const char *head_value(const struct connection *c, const char *name, char *buf, size_t size);

/* Reads the request's body into `body`, as the request frames it. */
int body_take(struct connection *c);

/* Until the client has gone. */
int stall(struct connection *c);
/* Closing it sends a reset. */
void reset_at_close(struct connection *c);

/* The page of a path; `early`: it reads the body itself. */
page_fn *page_find(const char *path, bool *early);

/* server_upload.c's */
page_fn page_upload, page_ignore, page_expect417, page_early, page_hangup, page_slow,
    page_gateupload, page_basic, page_bearer, page_digest, page_digest256;

#endif
