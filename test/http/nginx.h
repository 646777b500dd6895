/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_NGINX_H
#define TEST_HTTP_NGINX_H

/*
 * The real nginx, for a program of tests: one worker, on free ports of 127.0.0.1 and a socket in a
 * folder of its own, as whatever user. It ends with the program, however that ends.
 *
 * Its servers, of which all but the last two have the same pages:
 *
 *   plain     http on a port, and on the socket "socket"
 *   tls       https with HTTP/2: the certificate is local.pem, or, for shop.test and few.test,
 *             named.pem. Three requests are few.test's limit for a connection
 *   mutual    https, which wants a certificate of ca.pem; each page tells whose it got
 *   expired   https with expired.pem
 *
 * Pages; in each answer X-Connection is the connection's number:
 *
 *   /hello           "hello\n"
 *   /connection      the connection's number, and how many requests it has had
 *   /request         "METHOD HOST PROTOCOL AGENT\n"
 *   /server-name     what TLS was told of the host
 *   /echo            with the request's body in X-Body, its type in X-Type, its length in X-Length
 *   /text            a file of NGINX_TEXT_SIZE digits, 0 to 9 over and over
 *   /large           one of NGINX_LARGE_SIZE bytes: see nginx_large()
 *   /zipped/FILE     such a file, compressed
 *   /slow/FILE       such a file, at 20 kB/s
 *   /private/FILE    such a file, for "user" with "secret"; X-User is who asked
 *   /stored/NAME     what was PUT there
 *   /upload          takes bodies of up to 1 MB
 *   /few             closes the connection with its third answer, and says so
 *   /brief           closes the connection 50 ms after the answer
 *   /closing         closes the connection with the answer, and says so
 *   /nowhere         502
 *   /limited?key=K   429 from the second time on
 *   /busy            503 with "Retry-After: 1" if the request has "X-Attempt: 0"
 *   /moved           302 to /hello
 *   /moved/twice     301 to /moved
 *   /moved/secure    301 to tls's /hello; plain only
 *   /moved/stored/N  307 to /stored/N
 *   /gone            no answer: the connection, or the stream, is closed
 *   /proxied         from the socket "upstream", where a test may serve
 *   /status          nginx's own: "Active connections: N" ...
 */

#include "fixture.h"

#include <stddef.h>
#include <stdint.h>

#define NGINX_TEXT_SIZE 1000
#define NGINX_LARGE_SIZE ((size_t) 100 << 20)
#define NGINX_LARGE_STEP ((size_t) 64 << 10)

extern struct nginx {
    uint16_t plain, tls, mutual, expired; /* ports */
} nginx;

/** A program of tests, with nginx running. Without nginx nothing is tested; on CI that is a
 * failure. */
int nginx_tests(const char *name, void (*add)(Suite *suite));

/** The path of a file of its folder. There are eight at a time. */
const char *nginx_path(const char *name);

/** "SCHEME://HOST:PORT/PATH". There are eight at a time. */
const char *nginx_url(const char *scheme, const char *host, uint16_t port, const char *path);

/** Runs a body with a client of nginx: base_url is http's. */
void with_nginx(const uco_http_client_options *options, void (*body)(struct fixture *f));

/** The same with tls as base_url, and its authority's certificate as ca_file. */
void with_nginx_tls(const uco_http_client_options *options, void (*body)(struct fixture *f));

/** A fixture's client of nginx with other options, in place of the one it has. */
void nginx_reopen(struct fixture *f, const uco_http_client_options *options);

/** The words for what went wrong last must contain these. */
void expect_words(struct fixture *f, const char *words);

/** X-Connection's number. */
unsigned long connection_of(const uco_http_response *response);

/** Fetches a page, whose text only matters to say which connection it came by. */
unsigned long connection_for(struct fixture *f, const char *url);

/** How many lines with this text the log has. A line: "STATUS METHOD PATH PROTOCOL CONNECTION". */
int nginx_logged(const char *text);

/** Waits until the client's connections are closed at nginx's side. */
void nginx_wait_idle(void);

/** /large: NGINX_LARGE_STEP bytes, of which the first 16 are their position in hexadecimal digits,
 * and the others zero. */
void nginx_large(size_t position, char *step);

#endif
