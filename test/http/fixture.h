/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_FIXTURE_H
#define TEST_HTTP_FIXTURE_H

/*
 * What the tests of the HTTP client share: a loop with a server and a client of it. The clock is
 * mostly the real one, as curl's always is.
 */

#include "server.h"
#include "support.h"

#include <uco/http.h>

struct fixture {
    struct server server;
    uco_http_client *client; /* a body may close it, and set NULL */
    uco_http_client_options options;
    char base_url[64];
    void (*body)(struct fixture *f);
    struct reports reports;
};

/** Runs a body with a server, and a client whose base_url is the server's. */
void serve(void (*body)(struct fixture *f));

/** The same with options of the client's; base_url (unless set) and proxy are filled in. */
void serve_with(const uco_http_client_options *options, void (*body)(struct fixture *f));

/** The same on the virtual clock: the server is in the same loop, so nobody else is waited for. */
void serve_virtually(void (*body)(struct fixture *f));

/** The same with options. */
void serve_virtually_with(const uco_http_client_options *options, void (*body)(struct fixture *f));

/** Closes the body's client and opens another. */
void reopen(struct fixture *f, const uco_http_client_options *options);

/** Fetches a page, which must be there. */
uco_http_response *fetch(struct fixture *f, const char *url);

/** Fetches a page, which must be this text. */
void expect_text(struct fixture *f, const char *url, const char *text);

/** Fetches /bytes/N or /chunked/N, and looks at each byte. */
void expect_bytes(struct fixture *f, const char *url, size_t size);

/** Fetches a page, which must fail with this error, and words that name the URL. */
void expect_error(struct fixture *f, const char *url, int error);

/** Sends a request, which must be answered. */
uco_http_response *ask(struct fixture *f, const uco_http_request_options *request);

/** Sends a request, which must be answered with this status and, unless NULL, this text. */
void expect_answer(struct fixture *f, const uco_http_request_options *request, long status,
                   const char *text);

/** Sends a request, which must fail with this error. */
void expect_failure(struct fixture *f, const uco_http_request_options *request, int error);

/** Begins to receive a page, whose head must come. */
uco_http_response *open_stream(struct fixture *f, const char *url);

/** Reads a stream of server_byte()s to its end, by pieces of up to n bytes: how many. */
size_t drain(uco_http_response *response, size_t n);

/** Reads so many bytes of a stream of /endless. */
void read_endless(uco_http_response *response, size_t size);

/** Until the server has sent of /endless all that it can: on the real clock. */
void until_stalled(const struct fixture *f);

/** Whether bytes are server_byte()s from a position on. */
bool bytes_are_right(const void *data, size_t size, size_t position);

/** Whether the last request had this header, as "Name: value". */
bool was_sent(const struct fixture *f, const char *header);

/** Until the server answers n requests at once; until it has n connections. */
void until_busy(const struct fixture *f, unsigned n);
void until_open(const struct fixture *f, unsigned n);

/** Fetching as a task: it frees the response and returns the status, or the error. */
struct visit {
    struct fixture *f;
    const char *url;
};
intptr_t visit(void *visit);

/** A port of 127.0.0.1 where nobody listens. */
uint16_t free_port(void);

#endif
