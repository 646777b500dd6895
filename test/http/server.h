/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

/*
 * An HTTP/1.1 server that misbehaves on request, as coroutines in the loop of the test.
 *
 *   /bytes/N      N bytes, of which the I-th is server_byte(I)
 *   /chunked/N    the same, in chunks of 1,000
 *   /late/MS      "late", after MS milliseconds
 *   /status/N     a response with status N, and "status" as its body
 *   /echo         the request's line and headers
 *   /headers      with headers that are repeated, folded, and oddly written
 *   /gzip         "hello, gzip\n", compressed
 *   /continue     two answers of 100, then "done"
 *   /redirect/N   to /redirect/N-1; /redirect/0 is "there"
 *   /to/URL       to URL
 *   /loop         to itself
 *   /cookie       sets the cookie "taste=sweet", which lasts
 *   /leave        "left", and the connection is closed without a word about it
 *   /short        announces 100 bytes, sends 10, closes
 *   /more         announces 5 bytes, sends 10
 *   /reset        announces 100 bytes, sends 10, resets the connection
 *   /cut          closes within the headers
 *   /nothing      closes without an answer
 *   /garbage      is not HTTP
 *   /badchunk     a chunk whose size is no number
 *   /badgzip      says gzip, and is not
 *   /flood        headers without end
 *   /endless      a body without end
 *   /stall        never answers
 *   /stallhead    stops within the headers
 *   /stallbody    announces 100 bytes, sends 10, stops
 *   /drip/N       N bytes, one each 5 ms
 */

#include <stddef.h>
#include <stdint.h>
#include <uco/uco.h>

struct server {
    int fd;
    uint16_t port;
    uco_task *task;
    unsigned accepted; /* connections */
    unsigned open;     /* of them */
    unsigned requests;
    unsigned busy;   /* requests that are being answered */
    unsigned peak;   /* the most of those at once */
    char last[1024]; /* the last request's head */
};

/** Starts it as a child of the calling task. */
void server_start(struct server *server);

/** Ends it, and all its connections. Works a second time. */
void server_stop(struct server *server);

/** What a body has at a position. */
char server_byte(size_t position);

#endif
