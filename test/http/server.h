/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

/*
 * An HTTP/1.1 server that misbehaves on request, as coroutines in the loop of the test.
 *
 * Pages:
 *   /bytes/N      N bytes, of which the I-th is server_byte(I)
 *   /chunked/N    the same, in chunks of 1,000
 *   /late/MS      "late", after MS milliseconds
 *   /status/N     a response with status N, and "status" as its body
 *   /echo         the request's line and headers
 *   /headers      with headers that are repeated, folded, and oddly written
 *   /gzip         "hello, gzip\n", compressed
 *   /continue     two answers of 100, then "done"
 *   /cookie       sets the cookie "taste=sweet", which lasts
 *   /leave        "left", and the connection is closed without a word about it
 *
 * Pages that are wrong:
 *   /short        announces 100 bytes, sends 10, closes
 *   /more         announces 5 bytes, sends 10
 *   /reset        announces 100 bytes, sends 10, resets the connection
 *   /refuse       resets the connection without an answer
 *   /cut          closes within the headers
 *   /nothing      closes without an answer
 *   /garbage      is not HTTP
 *   /badchunk     a chunk whose size is no number
 *   /badgzip      says gzip, and is not
 *   /flood        headers without end
 *   /raw          what the test has put into `raw`, then closes
 *   /once         "once" on a connection's first request, closes without an answer on its second
 *
 * Pages that take their time:
 *   /endless      a body without end; `sent` counts
 *   /stall        never answers
 *   /stallhead    stops within the headers
 *   /stallbody    announces 100 bytes, sends 10, stops
 *   /drip/N       N bytes, one each 5 ms
 *   /gate         "open", when the test has opened the gate
 *   /gatebody     announces 20 bytes, sends 10, and the others when the gate is open
 *   /gatereset    announces 100 bytes, sends 10, and resets the connection when the gate is open
 *
 * Pages that lead elsewhere:
 *   /redirect/N   to /redirect/N-1; /redirect/0 is "there"
 *   /to/URL       to URL
 *   /loop         to itself
 *   /lead         to /late/0, or 503 as often as `failures` says, with a body without end
 *   /moved/N      with status N to what the test has put into `location`
 *
 * Pages that fail at first, `failures` times:
 *   /flaky/N      with status N, and a Retry-After of `retry_after`
 *   /flaky/PAGE   as the page of this name; and then they are "well"
 *
 * Pages that want to know who asks ("user" with "secret", or the token "token"): "welcome", or 401
 *   /basic, /bearer, /digest (MD5), /digest256 (SHA-256)
 *
 * Pages that take a body (all others read it, too, and answer afterwards):
 *   /upload       gives it back
 *   /ignore       does so without a word about "Expect: 100-continue"
 *   /expect417    answers 417 to such a header, and gives back what comes without
 *   /early/N      answers N at once, reads no byte, and closes when the client has
 *   /hangup       answers 413 at once, and resets the connection
 *   /slow/N       reads N bytes each millisecond of the loop's time, and gives it back
 *   /gateupload   reads nothing until the gate is open, and then gives it back
 */

#include <stddef.h>
#include <stdint.h>
#include <uco/sync.h>
#include <uco/uco.h>

#define SERVER_PAGE 16384 /* bytes, after which /endless begins anew */

struct server {
    int fd;
    uint16_t port;
    uco_task *task;
    unsigned accepted; /* connections */
    unsigned open;     /* of them */
    unsigned requests;
    unsigned busy;   /* requests that are being answered */
    unsigned peak;   /* the most of those at once */
    char last[8192]; /* the last request's head */
    char log[4096];  /* "GET /path\n" of each request, as far as there is room */
    double when[64]; /* of the first requests, by the loop's clock */

    /* The last request's body. */
    char *body; /* with a zero byte after it; NULL: it had none */
    size_t body_size;
    bool body_chunked;
    bool expected;   /* it said "Expect: 100-continue" */
    size_t received; /* bytes of bodies, in all */
    uint64_t sent;   /* bytes of /endless, in all */

    /* For the test to set. */
    uco_event gate;
    const char *location;
    const char *retry_after;
    unsigned failures;
    const char *raw;
    size_t raw_size; /* 0: raw is a string */
};

/** Starts it as a child of the calling task. */
void server_start(struct server *server);

/** Ends it, and all its connections. Works a second time. */
void server_stop(struct server *server);

/** What a body has at a position. */
char server_byte(size_t position);

#endif
