/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_NAME_H
#define UCO_HTTP_NAME_H

/* A client's host names: looked up beside the loop, for curl would wait for its own look-up when a
 * request is cancelled. */

#include "base/list.h"

#include <curl/curl.h>
#include <stddef.h>

struct uco_loop;
struct uco__http_origin;

struct uco__http_names {
    struct uco__list entries; /* the most recently asked for last */
    size_t count;
    struct uco__list fixed; /* the user's, which never expire */
};

void uco__http_names_init(struct uco__http_names *names);
/* Forgets all, and gives up what is being looked up. */
void uco__http_names_done(struct uco__http_names *names);

/* The user's `addresses` (NULL: none): 0, -EINVAL (the syntax; reported as misuse) or -ENOMEM. */
int uco__http_names_set(struct uco__http_names *names, const char *const *addresses);

/* Suspends, if need be: appends what curl's CURLOPT_RESOLVE is to be told about a host; nothing
 * where curl knows without asking anybody. On an error the list is as it was: -ENOENT (no such
 * host), -EAGAIN (not now), -ENOMEM, -ECANCELED ... */
int uco__http_names_find(struct uco__http_names *names, struct uco_loop *loop,
                         const struct uco__http_origin *origin, struct curl_slist **resolve);
/* Nothing answers there: the next request asks afresh. */
void uco__http_names_forget(struct uco__http_names *names, const struct uco__http_origin *origin);

#endif
