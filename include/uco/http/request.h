/* SPDX-License-Identifier: MIT */
#ifndef UCO_INCLUDE_HTTP_REQUEST_H
#define UCO_INCLUDE_HTTP_REQUEST_H

/* HTTP requests, and what is sent with them. */

#include <uco/http/client.h>
#include <uco/http/response.h>
#include <uco/stream.h>

UCO_BEGIN_DECLS

typedef struct uco_http_multipart uco_http_multipart;

/**
 * Zeroed, all fields mean their default. Everything lives until the call returns; for
 * uco_http_stream() too, which returns when all of the body is sent or the server wants no more.
 *
 * At most one of body, read_body, body_file, body_stream, form and multipart.
 */
typedef struct uco_http_request_options {
    const char *method, *url;   /* method NULL = GET, or POST with a body */
    const char *const *headers; /* "Name: value", NULL-terminated, in place of the client's of the
                                   same name; "Name:" alone: none of that name is sent */
    const void *body;           /* copied nowhere */
    size_t body_size;           /* bytes; of read_body and body_stream, where it is known: 0 = it is
                                   sent in chunks until its end; of body_file, how many of its
                                   bytes: 0 = all */
    /* Called in the requesting task for up to n bytes more, and may suspend: how many, 0 = end,
     * less than 0: the request ends with that error. */
    ssize_t (*read_body)(void *buf, size_t n, void *arg);
    void *read_arg;
    /* Called by the loop when bytes have come or gone (at most once a turn), and at the end; must
     * not suspend. `total`: 0 = not known. */
    void (*progress)(uint64_t received, uint64_t total, uint64_t sent, void *arg);
    void *progress_arg;
    double timeout; /* seconds; 0 = the client's */
    int retries;    /* more attempts after one that failed on the way (not connected, reset, no
                       answer) or was answered 429, 502, 503 or 504: after 0.1, 0.2, 0.4 ... up to
                       10 s, less a random part, or what Retry-After says. For idempotent methods
                       only (GET, HEAD, PUT, DELETE, OPTIONS, TRACE), and bodies that can be sent
                       again; others are sent once */

    const char *body_file;         /* path */
    uco_stream *body_stream;       /* read to its end, or for body_size bytes */
    const char *const *params;     /* query: name, value, name, value ... NULL; encoded, and
                                          appended to the URL's own */
    const char *const *form;       /* likewise, sent as application/x-www-form-urlencoded */
    uco_http_multipart *multipart; /* sent as multipart/form-data */
    const char *range;             /* bytes: "0-499", "500-", "-500" */
    const char *user, *password;   /* in place of the client's */
    const char *token;             /* likewise */
    uco_http_auth auth;            /* of user and password */
    double expect_timeout;         /* seconds to wait for "100 Continue" before a body of more
                                      than 1 MiB, or of unknown size, is sent; 0 = 1; less than
                                      0: it is not asked for */
    size_t max_body;               /* bytes of the response; 0 = the client's */
    int max_redirects;             /* 0 = the client's; -1 = do not follow */
    bool no_decompression;
    uintptr_t reserved[8];
} uco_http_request_options;

/**
 * uco_http_get() - Fetch a page.
 *
 * @url:      Absolute, or without scheme for a client that has a base_url.
 * @response: Set on success; NULL on an error.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The response is the caller's: uco_http_response_free().
 * Returns:   As uco_http_request().
 */
UCO_API int uco_http_get(uco_http_client *c, const char *url, uco_http_response **response);

/**
 * uco_http_request() - Send a request, and receive all of the response.
 *
 * @request:  What to send. `url` must be set.
 * @response: Set on success; NULL on an error.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The response is the caller's: uco_http_response_free().
 * Returns:   0
 *            -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH ...  the connection's errors
 *            -ETIMEDOUT    one of the timeouts
 *            -ENOENT       unknown host; no such body_file
 *            -EAGAIN       the host's look-up failed for now
 *            -EPROTO       not HTTP, TLS failed, or the body ended early
 *            -ELOOP        too many redirects
 *            -EMSGSIZE     more than max_body
 *            -ESPIPE       the server wants the body once more (a redirect, a login), and it cannot
 *                          be read twice
 *            -EIO          the body's source ended before body_size
 *            -EBUSY        the multipart body is being sent by another request
 *            -EISDIR       body_file, or a file of the multipart body, is a directory
 *            -EFBIG        the files of the multipart body are larger in sum than sizes can be
 *            -EINVAL       a bad URL (no scheme, not http or https), also one that a redirect leads
 *                          to; a bad header, two bodies, a HEAD with a body; or a NULL
 *            -EMFILE ...   the system has no socket for it
 *            -ECANCELED    an enclosing scope was cancelled, or the client closed
 *            -EPERM        not in a coroutine, or another loop's client
 *            -ENOMEM
 *            What read_body or a hook returned, or reading body_file or body_stream.
 */
UCO_API int uco_http_request(uco_http_client *c, const uco_http_request_options *request,
                             uco_http_response **response);

/**
 * uco_http_stream() - Send a request, and receive the head of the response; its body is read by
 * uco_http_read().
 *
 * At most some 100 KiB are received ahead of the reader, then the server has to wait (of HTTP/2,
 * libcurl 7.88 itself may keep up to 32 MiB a stream). The
 * connection is the response's until its end has been read or it is freed.
 *
 * @request:  What to send. `url` must be set.
 * @response: Set on success, its `text` is NULL; NULL on an error.
 *
 * Context:   Coroutine. Suspends until the response's headers are there.
 * Ownership: The response is the caller's: uco_http_response_free(). It is a resource of the
 *            client's: one that is still being received at the loop's close is reported.
 * Returns:   As uco_http_request().
 */
UCO_API int uco_http_stream(uco_http_client *c, const uco_http_request_options *request,
                            uco_http_response **response);

/** uco_http_stream_at() - uco_http_stream(), and remembers the line that called it, for reports. */
UCO_API int uco_http_stream_at(const char *file, int line, uco_http_client *c,
                               const uco_http_request_options *request,
                               uco_http_response **response);
#define uco_http_stream(...) uco_http_stream_at(__FILE__, __LINE__, __VA_ARGS__)

UCO_END_DECLS

#endif
