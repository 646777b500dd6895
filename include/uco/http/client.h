/* SPDX-License-Identifier: MIT */
#ifndef UCO_INCLUDE_HTTP_CLIENT_H
#define UCO_INCLUDE_HTTP_CLIENT_H

/* HTTP clients: connections that are kept alive and shared by requests, and what all of a client's
 * requests have in common. */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_http_client uco_http_client;
typedef struct uco_http_response uco_http_response;
typedef struct uco_http_call uco_http_call;

/** How `user` and `password` are told. A `token` is always sent as "Authorization: Bearer". */
typedef enum uco_http_auth {
    UCO_HTTP_BASIC,
    UCO_HTTP_DIGEST,
} uco_http_auth;

/** Zeroed, all fields mean their default. Strings are copied. */
typedef struct uco_http_client_options {
    const char *base_url;       /* what a URL without scheme is appended to */
    const char *const *headers; /* "Name: value", NULL-terminated: sent with each request.
                                   Authorization, Cookie and Host are left out where a redirect
                                   leads to another scheme, host or port */
    double timeout;             /* seconds, for a request in all: waiting, redirects, retries and
                                   the body included, also a streamed one's; 0 = 30 */
    double connect_timeout;     /* seconds, for the name's look-up, then for connecting, TLS
                                   included; 0 = 10 */
    double read_timeout;        /* seconds in which nothing is received or sent; 0 = 30. Time in
                                   which a stream is not read does not count */
    double pool_timeout;        /* seconds to wait for a connection; 0 = UCO_FOREVER */
    size_t max_connections;     /* requests at once; 0 = 100 */
    size_t max_per_host;        /* requests at once to one host and port; 0 = 10 */
    size_t max_body;            /* bytes of a response; 0 = no limit. More ends with -EMSGSIZE */
    int max_redirects;          /* 0 = 20; -1 = do not follow */
    const char *proxy;          /* http://, https://, socks5://, socks5h:// (which also looks names
                                   up), with user and password where needed; "" = none, NULL = the
                                   environment's, as it is now: http_proxy, https_proxy, all_proxy;
                                   all but the first also in capitals */
    const char *ca_file;        /* PEM: whom to trust, and nobody else; NULL = the system's. For
                                   https:// proxies too */
    const char *client_cert;    /* PEM */
    const char *client_key;     /* PEM; NULL = it is in client_cert */
    const char *cookie_file;    /* read at the start, if it is there, and replaced at the close;
                                   NULL = cookies are kept in memory */
    const char *user_agent;     /* NULL = "uco/<version>" */
    bool insecure;              /* accept any certificate */
    bool http1_only;

    const char *no_proxy;         /* hosts without proxy, and all under them, or networks:
                                      "localhost,example.org,10.0.0.0/8"; NULL = the
                                      environment's; "*" = all */
    const char *key_password;     /* client_key's */
    const char *pinned_key;       /* what the server's key must be: "sha256//BASE64;sha256//..."
                                      or a PEM file; another ends with -EPROTO */
    const char *user, *password;  /* for the host of base_url, or of each request without one */
    const char *token;            /* as user and password are */
    uco_http_auth auth;           /* 0 = UCO_HTTP_BASIC */
    const char *const *addresses; /* "host:port:address[,address ...]", NULL-terminated: asked
                                      before anybody else. IPv6 in brackets. Port "*": all */
    const char *unix_socket;      /* path, or "@" and an abstract name: all connections go there;
                                      the URL names the host only */
    const char *local_address;    /* a numeric address or an interface's name to connect from */
    double min_speed;             /* bytes a second, over read_timeout: a slower answer ends with
                                      -ETIMEDOUT; 0 = any */
    bool no_cookies;              /* neither kept nor sent */
    bool no_decompression;        /* bodies are asked for, and delivered, as they are */

    /* Called before each request, redirects and retries too, in the requesting task; may suspend.
     * Less than 0 ends the request with that error. */
    int (*before_request)(uco_http_call *call, void *arg);
    /* Called with each response, those that lead elsewhere too, before its body is read by anybody;
     * otherwise as before_request. */
    int (*after_response)(const uco_http_response *response, void *arg);
    void *hook_arg;
    uintptr_t reserved[8];
} uco_http_client_options;

/**
 * uco_http_client_new() - Open a client: a set of connections that are kept alive and shared by
 * requests.
 *
 * @options:  NULL = the defaults. Read and copied during the call.
 *
 * Context:   Inside a running loop, whose resource it becomes. Does not suspend.
 * Ownership: uco_http_client_close().
 * Returns:   NULL with errno EPERM (outside a running loop), EINVAL (an option that is out of
 *            range, or excludes another), ENOENT (ca_file, client_cert, client_key or the file of
 *            pinned_key cannot be read), EACCES ... (what the file system says of a cookie_file
 *            that is there), EFBIG (one of more than 16 MiB), ENODEV (no such interface),
 *            ESHUTDOWN (the loop is at the end of its close), ENOSYS (this libcurl lacks what an
 *            option needs), ENOMEM or ESTALE.
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
 * uco_http_client_close() - Cancel what is in flight, close the connections and free the client.
 *
 * A completing call: it returns when all requests have ended (those that wait in them get
 * -ECANCELED). Streamed responses end likewise; they are still to be freed. NULL is fine.
 *
 * Context: Coroutine of the client's loop; also a callback, where it does not wait. Works in a
 *          cancelled scope.
 * Returns: 0, -EPERM (another loop's, or no running loop), -EINVAL (it is being closed already),
 *          -EDEADLK (within one of its own requests: a hook, read_body), and nothing changed;
 *          -ESTALE.
 */
UCO_API int uco_http_client_close(uco_http_client *c);

/**
 * uco_http_error() - What went wrong last in the calling task, in words that name the URL.
 *
 * Context:   Coroutine.
 * Ownership: Borrowed until this task's next request.
 * Returns:   Never NULL; "" when nothing went wrong.
 */
UCO_API const char *uco_http_error(const uco_http_client *c);

/* --- cookies --- */

/**
 * uco_http_cookie_set() - Put a cookie into the client's jar.
 *
 * @cookie: As a server sets it, with the domain it is for:
 *          "name=value; domain=example.org; path=/; max-age=3600".
 *
 * Context: The client's loop. Does not suspend.
 * Returns: 0, -EINVAL (no name, no domain, a control character, more than 4,000 bytes or what else
 *          is no cookie; or the client has no_cookies), -EPERM, -ENOMEM.
 */
UCO_API int uco_http_cookie_set(uco_http_client *c, const char *cookie);

/**
 * uco_http_cookies() - The jar's content, in the format of Netscape's cookie files, which
 * cookie_file has too: a line each, seven fields between tabs.
 *
 * Context:   The client's loop. Does not suspend.
 * Ownership: The caller's: free().
 * Returns:   "" for an empty jar; NULL with errno EPERM, EINVAL or ENOMEM.
 */
UCO_API char *uco_http_cookies(uco_http_client *c);

/**
 * uco_http_cookies_clear() - Forget all cookies.
 *
 * Context: The client's loop. Does not suspend.
 * Returns: 0, -EPERM, -EINVAL or -ENOMEM.
 */
UCO_API int uco_http_cookies_clear(uco_http_client *c);

/* --- in before_request --- */

/**
 * uco_http_call_method(), uco_http_call_url() - What is about to be asked.
 *
 * Context:   In before_request.
 * Ownership: Borrowed until it returns.
 */
UCO_API const char *uco_http_call_method(const uco_http_call *call);
UCO_API const char *uco_http_call_url(const uco_http_call *call);

/** uco_http_call_attempt() - 0 for the first attempt, 1 for the first retry ... */
UCO_API int uco_http_call_attempt(const uco_http_call *call);

/**
 * uco_http_call_set_header() - Send a header with this request, in place of others of its name.
 *
 * @header: "Name: value"; "Name:" alone: none of that name is sent.
 *
 * Context: In before_request.
 * Returns: 0, -EINVAL (not a header) or -ENOMEM.
 */
UCO_API int uco_http_call_set_header(uco_http_call *call, const char *header);

UCO_END_DECLS

#endif
