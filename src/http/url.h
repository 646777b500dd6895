/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_URL_H
#define UCO_HTTP_URL_H

/* URLs: joined, checked, and shown. */

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UCO__HTTP_PLACES 16      /* URLs whose parts a client keeps */
#define UCO__HTTP_ORIGIN_ROOM 64 /* bytes of a key that needs no block of its own */

/* Where a URL leads: one scheme, host and port. It is never copied: `key` may point into it. */
struct uco__http_origin {
    bool tls;
    bool numeric; /* the host is an address */
    char *key; /* "host:port", as curl asks for it: lower case, punycode, IPv6 in brackets, with the
                  zone */
    size_t host_length; /* of the host in `key`; the port begins after the colon */
    char room[UCO__HTTP_ORIGIN_ROOM];
};

/* Takes a URL apart: 0; -EINVAL (no URL, no scheme, not http or https), and *why says what is
 * wrong; -ENOMEM. */
int uco__http_origin_init(struct uco__http_origin *origin, const char *url, const char **why);
/* The same, always by curl's means: for tests. */
int uco__http_origin_init_by_curl(struct uco__http_origin *origin, const char *url,
                                  const char **why);
/* From its parts: 0 or -ENOMEM. */
int uco__http_origin_set(struct uco__http_origin *origin, bool tls, const char *host,
                         const char *port);
/* Works a second time, and on one that is zeroed. */
void uco__http_origin_done(struct uco__http_origin *origin);
bool uco__http_origin_same(const struct uco__http_origin *a, const struct uco__http_origin *b);

/* A URL in curl's parts, which it can be given in place of the text. */
struct uco__http_place {
    unsigned references;
    CURLU *parts;
    uint32_t hash;
    char url[];
};

/* Those that were asked for last: zeroed, there are none. */
struct uco__http_places {
    struct uco__http_place *places[UCO__HTTP_PLACES];
};

/* The URL's place, with a reference; NULL: none of ours, or no memory, so that curl is to be given
 * the text. */
struct uco__http_place *uco__http_places_get(struct uco__http_places *places, const char *url);
void uco__http_places_done(struct uco__http_places *places);
/* NULL is fine. */
void uco__http_place_unref(struct uco__http_place *place);

/* The host of what curl has taken apart, as it is to be looked up; for curl_free(). */
CURLUcode uco__http_url_host(CURLU *parts, char **host);

/* Whether the first bytes of two strings are the same but for case: ASCII's, not the locale's. In a
 * Turkish one, "I" is no "i", and "AUTHORIZATION" would be no secret. */
bool uco__http_text_same(const char *one, const char *other, size_t length);

static inline char
uco__http_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* A copy of the URL, appended to the base (NULL: none) if it has no scheme; NULL without memory. */
char *uco__http_url_join(const char *base, const char *url);

/* Without user name and password a URL is its first *before bytes and what is returned, a part of it.
 * Async-signal-safe. */
const char *uco__http_url_after_login(const char *url, size_t *before);
/* Writes the URL without user name and password, cut off where the room ends. */
void uco__http_url_show(char *text, size_t size, const char *url);

#endif
