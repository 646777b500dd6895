/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_H
#define UCO_HTTP_H

/*
 * An HTTP client over libcurl's multi interface.
 *
 * Only http and https, also after redirects. A status of 400 or more is a response, not an error. A
 * client belongs to its loop (-EPERM from another); one that is left open when its loop closes is
 * closed by the loop, and reported with the file and line that opened it. A cancelled or timed-out
 * request leaves its connection clean or closed, never reused half-read.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_http_client uco_http_client;

/** Zeroed, all fields mean their default. Strings are copied. */
typedef struct uco_http_client_options {
    const char *base_url;       /* what a URL without scheme is appended to */
    const char *const *headers; /* "Name: value", NULL-terminated: sent with each request.
                                   Authorization and Cookie are left out where a redirect leads
                                   to another scheme, host or port */
    double timeout;             /* seconds, for a request in all, redirects and waiting
                                   included; 0 = 30 */
    double connect_timeout;     /* seconds, for the name's look-up, then for connecting, TLS
                                   included; 0 = 10 */
    double read_timeout;        /* seconds in which nothing is received; 0 = 30 */
    double pool_timeout;        /* seconds to wait for a connection; 0 = UCO_FOREVER */
    size_t max_connections;     /* requests at once; 0 = 100 */
    size_t max_per_host;        /* requests at once to one host and port; 0 = 10 */
    size_t max_body;            /* bytes; 0 = no limit. More ends with -EMSGSIZE */
    int max_redirects;          /* 0 = 20; -1 = do not follow */
    const char *proxy;          /* "" = none, NULL = the environment's */
    const char *ca_file;        /* PEM; NULL = the system's */
    const char *client_cert;    /* PEM */
    const char *client_key;     /* PEM */
    const char *cookie_file;    /* read at the start and written at the close; NULL = cookies
                                   are kept in memory */
    const char *user_agent;     /* NULL = "uco/<version>" */
    bool insecure;              /* accept any certificate */
    bool http1_only;
    uintptr_t reserved[8];
} uco_http_client_options;

/** A response, in memory. */
typedef struct uco_http_response {
    long status;      /* 200, 404 ... */
    const char *text; /* the body, size bytes and a zero byte after them */
    size_t size;      /* bytes */
    const char *url;  /* where it came from, after redirects */
    uintptr_t reserved[12];
} uco_http_response;

/**
 * uco_http_client_new() - Open a client: a set of connections that are kept alive and shared by
 * requests.
 *
 * @options:  NULL = the defaults. Read and copied during the call.
 *
 * Context:   Inside a running loop, whose resource it becomes. Does not suspend.
 * Ownership: uco_http_client_close().
 * Returns:   NULL with errno EPERM (outside a running loop), EINVAL (an option out of range),
 *            ENOENT (ca_file, client_cert or client_key cannot be read), ESHUTDOWN (the loop is at
 *            the end of its close), ENOMEM or ESTALE.
 */
UCO_API uco_http_client *uco_http_client_new(const uco_http_client_options *options);

/**
 * uco_http_client_new_at() - uco_http_client_new(), and remembers the line that called it, for
 * reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_http_client *uco_http_client_new_at(const char *file, int line,
                                                const uco_http_client_options *options);
#define uco_http_client_new(...) uco_http_client_new_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_http_get() - Fetch a page.
 *
 * @url:      Absolute, or without scheme for a client that has a base_url.
 * @response: Set on success; NULL on an error.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The response is the caller's: uco_http_response_free().
 * Returns:   0
 *            -ECONNREFUSED, -ECONNRESET, -EHOSTUNREACH ...  the connection's errors
 *            -ETIMEDOUT    one of the client's timeouts
 *            -ENOENT       unknown host
 *            -EAGAIN       the host's look-up failed for now
 *            -EPROTO       not HTTP, TLS failed, or the body ended early
 *            -ELOOP        too many redirects
 *            -EMSGSIZE     more than max_body
 *            -EINVAL       a bad URL (no scheme, not http or https), also one that a redirect leads
 *                          to; or a NULL
 *            -EMFILE ...   the system has no socket for it
 *            -ECANCELED    an enclosing scope was cancelled, or the client closed
 *            -EPERM        not in a coroutine, or another loop's client
 *            -ENOMEM
 */
UCO_API int uco_http_get(uco_http_client *c, const char *url, uco_http_response **response);

/**
 * uco_http_header() - A header of a response.
 *
 * @name:     Case does not matter. Of a repeated header, the first.
 *
 * Context:   Any thread.
 * Ownership: Borrowed from the response.
 * Returns:   The value, or NULL if there is none.
 */
UCO_API const char *uco_http_header(const uco_http_response *r, const char *name);

/**
 * uco_http_error() - What went wrong last in the calling task, in words that name the URL.
 *
 * Context:   Coroutine.
 * Ownership: Borrowed until this task's next request.
 * Returns:   Never NULL; "" when nothing went wrong.
 */
UCO_API const char *uco_http_error(const uco_http_client *c);

/**
 * uco_http_response_free() - Free a response. NULL is fine.
 *
 * Context: Any thread.
 */
UCO_API void uco_http_response_free(uco_http_response *r);

/**
 * uco_http_client_close() - Cancel what is in flight, close the connections and free the client.
 *
 * A completing call: it returns when all requests have ended (those that wait in them get
 * -ECANCELED). NULL is fine.
 *
 * Context: Coroutine of the client's loop; also a callback, where it does not wait. Works in a
 *          cancelled scope.
 * Returns: 0, -EPERM (another loop's, or no running loop: nothing changed), -EINVAL (it is being
 *          closed already), -ESTALE.
 */
UCO_API int uco_http_client_close(uco_http_client *c);

UCO_END_DECLS

#endif
