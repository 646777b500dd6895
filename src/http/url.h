/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_URL_H
#define UCO_HTTP_URL_H

/* URLs: joined, checked, and shown. */

#include <stdbool.h>
#include <stddef.h>

/* Where a URL leads: one scheme, host and port. */
struct uco__http_origin {
    bool tls;
    char *key; /* "host:port", as curl asks for it: lower case, punycode, IPv6 in brackets */
    size_t host_length; /* of the host in `key`; the port begins after the colon */
};

/* Takes a URL apart: 0; -EINVAL (no URL, no scheme, not http or https), and *why says what is
 * wrong; -ENOMEM. */
int uco__http_origin_init(struct uco__http_origin *origin, const char *url, const char **why);
void uco__http_origin_done(struct uco__http_origin *origin);
bool uco__http_origin_same(const struct uco__http_origin *a, const struct uco__http_origin *b);

/* A copy of the URL, appended to the base (NULL: none) if it has no scheme; NULL without memory. */
char *uco__http_url_join(const char *base, const char *url);

/* Writes the URL without user name and password, cut off where the room ends. */
void uco__http_url_show(char *text, size_t size, const char *url);

#endif
