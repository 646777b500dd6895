/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_PROXY_H
#define UCO_HTTP_PROXY_H

/*
 * Which way a request goes: to its host, through a proxy, or through a Unix socket.
 *
 * All is decided here, and curl is told the result. `options` is a client's own copy: what it takes
 * from the environment it has from uco__http_proxy_init().
 */

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <uco/http/client.h>

struct uco__http_names;
struct uco__http_origin;
struct uco_loop;

/* Whether a proxy's URL is one that this curl can use: 0; -EINVAL or -ENOSYS, and *why says what is
 * wrong; -ENOMEM. */
int uco__http_proxy_check(const char *proxy, const char **why);

/* Reads the environment where the options leave it to that: 0 or -ENOMEM, and then too it is to be
 * done with. `no_proxy` must be the copy's own, as all strings of it. */
int uco__http_proxy_init(uco_http_client_options *options);
void uco__http_proxy_done(uco_http_client_options *options);

/* The URL of the proxy that a request to there goes through; NULL: none. */
const char *uco__http_proxy_for(const uco_http_client_options *options,
                                const struct uco__http_origin *origin);

/* Tells curl the way of a request. It stays told: an easy handle that is used again is told anew
 * for each request. Nothing is done for clients that have no proxy for any. */
CURLcode uco__http_proxy_apply(const uco_http_client_options *options,
                               const struct uco__http_origin *origin, CURL *easy);

/* Whether curl knows the way without being told: uco__http_proxy_find() would give it nothing. */
bool uco__http_proxy_needs_nobody(const uco_http_client_options *options,
                                  const struct uco__http_names *names,
                                  const struct uco__http_origin *origin);
/* Suspends, if need be: all that CURLOPT_RESOLVE is to be told on this way, so that curl asks
 * nobody for a name; NULL, with 0, where that is nothing. Freed by curl_slist_free_all(). Errors
 * are uco__http_names_find()'s, and *why says whose name it was, or what is wrong with the proxy
 * (-EINVAL, -ENOSYS). */
int uco__http_proxy_find(const uco_http_client_options *options, struct uco__http_names *names,
                         struct uco_loop *loop, const struct uco__http_origin *origin,
                         struct curl_slist **resolve, const char **why);
/* No connection could be made on this way: the next request asks afresh. */
void uco__http_proxy_forget(const uco_http_client_options *options, struct uco__http_names *names,
                            const struct uco__http_origin *origin);

/* Whether a host (as in an origin's key) is in a list as no_proxy has it. */
bool uco__http_no_proxy(const char *list, const char *host, size_t length);

#endif
