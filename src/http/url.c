/* SPDX-License-Identifier: MIT */

/*
 * URLs.
 *
 * 1. What is one is curl's to say, so that it is never asked for what we took for something else.
 * 2. Those that are as plain as most are, each curl reads in the one way there is; they are taken
 *    apart here, which costs a tenth of what curl's parser does.
 */

#include "http/url.h"

#include "base/system.h"

#include <curl/mprintf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HOST_MAX 253   /* bytes of a plain host, as DNS has it */
#define REST_MAX 8192  /* of what follows it; curl has a limit, too */
#define PORT_DIGITS 5  /* at most */
#define PLACE_MAX 1024 /* bytes of a URL whose parts are kept */

/* --- characters: the locale has no say in them --- */

bool
uco__http_text_same(const char *one, const char *other, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (uco__http_lower(one[i]) != uco__http_lower(other[i]))
            return false;
        if (one[i] == '\0')
            return true;
    }
    return true;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- origins --- */

/* As inet_pton() has them, at a tenth of its cost: curl also reads 127.1, 0177.0.0.1 and
 * 2130706433, but says them like this. */
static bool
host_is_ipv4(const char *host, size_t length)
{
    unsigned value = 0, digits = 0, groups = 1;

    for (size_t i = 0; i < length; i++) {
        if (host[i] == '.' && digits > 0 && groups < 4) {
            groups++;
            value = digits = 0;
            continue;
        }
        if (!is_digit(host[i]) || (digits > 0 && value == 0))
            return false;
        value = value * 10 + (unsigned) (host[i] - '0');
        digits++;
        if (value > 255)
            return false;
    }
    return groups == 4 && digits > 0;
}

static int
origin_fill(struct uco__http_origin *origin, bool tls, const char *host, size_t host_length,
            const char *port, size_t port_length)
{
    size_t size = host_length + 1 + port_length + 1;

    origin->tls = tls;
    origin->host_length = host_length;
    origin->numeric = host[0] == '[' || host_is_ipv4(host, host_length);
    origin->key = size <= sizeof origin->room ? origin->room : uco__allocate(size);
    if (origin->key == NULL)
        return -ENOMEM;
    memcpy(origin->key, host, host_length);
    origin->key[host_length] = ':';
    memcpy(origin->key + host_length + 1, port, port_length);
    origin->key[size - 1] = '\0';
    return 0;
}

void
uco__http_origin_done(struct uco__http_origin *origin)
{
    if (origin->key != origin->room)
        uco__free(origin->key);
    origin->key = NULL;
    origin->host_length = 0;
}

/* --- as curl takes them apart --- */

static int
url_error(CURLUcode code, const char **why)
{
    *why = code == CURLUE_BAD_SCHEME ? "the URL has no scheme" : curl_url_strerror(code);
    return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

int
uco__http_origin_set(struct uco__http_origin *origin, bool tls, const char *host, const char *port)
{
    int r = origin_fill(origin, tls, host, strlen(host), port, strlen(port));

    if (r < 0)
        return r;
    /* The name of an interface, behind an address, has its case. */
    for (char *c = origin->key; *c != '\0' && !(*c == '%' && origin->key[0] == '['); c++)
        *c = uco__http_lower(*c);
    return 0;
}

/* The same address behind another interface is another host: "[fe80::1%eth0]". */
static CURLUcode
url_add_zone(CURLU *parts, char **host)
{
    char *zone = NULL, *longer;
    CURLUcode code = curl_url_get(parts, CURLUPART_ZONEID, &zone, 0);

    if (code != CURLUE_OK)
        return code == CURLUE_OUT_OF_MEMORY ? code : CURLUE_OK;
    longer = curl_maprintf("%.*s%%%s]", (int) strlen(*host) - 1, *host, zone);
    curl_free(zone);
    if (longer == NULL)
        return CURLUE_OUT_OF_MEMORY;
    curl_free(*host);
    *host = longer;
    return CURLUE_OK;
}

/* A name of other letters than ASCII's that cannot be written in those (in this locale) is no lack
 * of memory, though curl 7.88 says so. */
CURLUcode
uco__http_url_host(CURLU *parts, char **host)
{
    CURLUcode code = curl_url_get(parts, CURLUPART_HOST, host, CURLU_PUNYCODE);
    char *plain = NULL;

    if (code == CURLUE_OK && (*host)[0] == '[')
        return url_add_zone(parts, host);
    if (code == CURLUE_LACKS_IDN) /* a curl without IDN asks for the name as it is */
        return curl_url_get(parts, CURLUPART_HOST, host, 0);
    if (code != CURLUE_OUT_OF_MEMORY)
        return code;
    if (curl_url_get(parts, CURLUPART_HOST, &plain, 0) == CURLUE_OK) {
        for (const char *c = plain; *c != '\0'; c++)
            code = (unsigned char) *c < 0x80 ? code : CURLUE_BAD_HOSTNAME;
    }
    curl_free(plain);
    return code;
}

static bool
scheme_is(const char *scheme, const char *name)
{
    return uco__http_text_same(scheme, name, SIZE_MAX);
}

static int
origin_set_parts(struct uco__http_origin *origin, CURLU *parts, const char **why)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    int r;

    if (code == CURLUE_OK)
        code = uco__http_url_host(parts, &host);
    if (code == CURLUE_OK)
        code = curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    /* file: has neither host nor port; what it lacks is not what is wrong with it. */
    if (scheme != NULL && !scheme_is(scheme, "http") && !scheme_is(scheme, "https"))
        code = CURLUE_UNSUPPORTED_SCHEME;
    if (code == CURLUE_OK && host[0] == '\0')
        code = CURLUE_NO_HOST;
    if (code == CURLUE_OK)
        r = uco__http_origin_set(origin, scheme_is(scheme, "https"), host, port);
    else
        r = url_error(code, why);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return r;
}

int
uco__http_origin_init_by_curl(struct uco__http_origin *origin, const char *url, const char **why)
{
    CURLU *parts = curl_url();
    CURLUcode code;
    int r;

    origin->key = NULL;
    origin->host_length = 0;
    origin->tls = false;
    if (parts == NULL)
        return -ENOMEM;
    code = curl_url_set(parts, CURLUPART_URL, url, 0);
    r = code == CURLUE_OK ? origin_set_parts(origin, parts, why) : url_error(code, why);
    curl_url_cleanup(parts);
    return r;
}

/* --- plain ones --- */

enum {
    IN_HOST = 1,
    IN_REST = 2, /* of the URL: what no curl looks at twice */
};

static const unsigned char classes[256] = {
    ['a' ... 'z'] = IN_HOST | IN_REST,
    ['0' ... '9'] = IN_HOST | IN_REST,
    ['A' ... 'Z'] = IN_REST,
    ['.'] = IN_HOST | IN_REST,
    ['-'] = IN_HOST | IN_REST,
    ['_'] = IN_HOST | IN_REST,
    ['~'] = IN_REST,
    ['/'] = IN_REST,
    ['?'] = IN_REST,
    ['#'] = IN_REST,
    ['='] = IN_REST,
    ['&'] = IN_REST,
    ['%'] = IN_REST,
    ['+'] = IN_REST,
    [','] = IN_REST,
    [';'] = IN_REST,
    [':'] = IN_REST,
    ['@'] = IN_REST,
    ['!'] = IN_REST,
    ['*'] = IN_REST,
};

/* A zero byte is of no class. */
static size_t
url_span(const char *text, unsigned char class)
{
    const unsigned char *c = (const unsigned char *) text;

    while ((classes[*c] & class) != 0)
        c++;
    return (size_t) (c - (const unsigned char *) text);
}

static bool
host_is_plain(const char *host, size_t length)
{
    return length > 0 && length <= HOST_MAX && host[0] != '.' && host[length - 1] != '.' &&
           (!is_digit(host[0]) || host_is_ipv4(host, length));
}

/* How many digits a port has; 0 if it is not 1 to 65535 in the usual way. */
static size_t
port_span(const char *port)
{
    unsigned long value = 0;
    size_t length = 0;

    if (port[0] == '0')
        return 0;
    for (; length <= PORT_DIGITS && is_digit(port[length]); length++)
        value = value * 10 + (unsigned long) (port[length] - '0');
    return value <= 65535 ? length : 0;
}

/* "http://" and "https://": what is behind it; NULL for anything else. */
static const char *
url_plain_host(const char *url, bool *tls)
{
    if (url[0] != 'h' || url[1] != 't' || url[2] != 't' || url[3] != 'p')
        return NULL;
    *tls = url[4] == 's';
    url += 4 + *tls;
    return url[0] == ':' && url[1] == '/' && url[2] == '/' ? url + 3 : NULL;
}

/* 0, -ENOMEM, or 1: it is not plain. */
static int
origin_init_plain(struct uco__http_origin *origin, const char *url)
{
    const char *host, *port, *rest;
    size_t host_length, port_length, rest_length;
    bool tls;

    host = url_plain_host(url, &tls);
    if (host == NULL)
        return 1;
    host_length = url_span(host, IN_HOST);
    if (!host_is_plain(host, host_length))
        return 1;
    rest = host + host_length;
    port = tls ? "443" : "80";
    port_length = tls ? 3 : 2;
    if (*rest == ':') {
        port = rest + 1;
        port_length = port_span(port);
        if (port_length == 0)
            return 1;
        rest = port + port_length;
    }
    if (*rest != '/' && *rest != '?' && *rest != '#' && *rest != '\0')
        return 1;
    rest_length = url_span(rest, IN_REST);
    if (rest_length > REST_MAX || rest[rest_length] != '\0')
        return 1;
    return origin_fill(origin, tls, host, host_length, port, port_length);
}

int
uco__http_origin_init(struct uco__http_origin *origin, const char *url, const char **why)
{
    int r = origin_init_plain(origin, url);

    return r == 1 ? uco__http_origin_init_by_curl(origin, url, why) : r;
}

bool
uco__http_origin_same(const struct uco__http_origin *a, const struct uco__http_origin *b)
{
    return a->tls == b->tls && strcmp(a->key, b->key) == 0;
}

/* --- places --- */

/* Curl takes a text apart for each request, and then puts it together again; from parts it does
 * neither, an eighth of what a small request costs. Where the same URLs come again nobody does. */

/* FNV-1a; and how long it is. */
static uint32_t
url_hash(const char *url, size_t *length)
{
    const char *at = url;
    uint32_t hash = UINT32_C(2166136261);

    for (; *at != '\0'; at++)
        hash = (hash ^ (unsigned char) *at) * UINT32_C(16777619);
    *length = (size_t) (at - url);
    return hash;
}

/* curl 7.88 loses the interface of "[fe80::1%25eth0]" when it copies the parts. */
static bool
parts_are_whole(CURLU *parts)
{
    char *zone = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_ZONEID, &zone, 0);

    curl_free(zone);
    return code == CURLUE_NO_ZONEID;
}

static struct uco__http_place *
place_new(const char *url, size_t length, uint32_t hash)
{
    struct uco__http_place *place = uco__allocate(sizeof *place + length + 1);

    if (place == NULL)
        return NULL;
    place->references = 1;
    place->hash = hash;
    memcpy(place->url, url, length + 1);
    place->parts = curl_url();
    if (place->parts != NULL && curl_url_set(place->parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        parts_are_whole(place->parts))
        return place;
    uco__http_place_unref(place);
    return NULL;
}

void
uco__http_place_unref(struct uco__http_place *place)
{
    if (place == NULL || --place->references > 0)
        return;
    curl_url_cleanup(place->parts);
    uco__free(place);
}

struct uco__http_place *
uco__http_places_get(struct uco__http_places *places, const char *url)
{
    size_t length;
    uint32_t hash = url_hash(url, &length);
    struct uco__http_place **slot = &places->places[hash % UCO__HTTP_PLACES];

    if (length > PLACE_MAX)
        return NULL;
    if (*slot == NULL || (*slot)->hash != hash || strcmp((*slot)->url, url) != 0) {
        struct uco__http_place *place = place_new(url, length, hash);

        if (place == NULL)
            return NULL;
        uco__http_place_unref(*slot);
        *slot = place;
    }
    (*slot)->references++;
    return *slot;
}

void
uco__http_places_done(struct uco__http_places *places)
{
    for (size_t i = 0; i < UCO__HTTP_PLACES; i++)
        uco__http_place_unref(places->places[i]);
    *places = (struct uco__http_places){0};
}

/* How long the scheme is that it begins with; 0: with none. */
static size_t
url_scheme_span(const char *url)
{
    size_t length = 0;
    char c = uco__http_lower(url[0]);

    if (c < 'a' || c > 'z')
        return 0;
    while ((c >= 'a' && c <= 'z') || is_digit(c) || c == '+' || c == '-' || c == '.')
        c = uco__http_lower(url[++length]);
    return length;
}

static bool
url_has_scheme(const char *url)
{
    size_t length = url_scheme_span(url);

    return length > 0 && strncmp(url + length, "://", 3) == 0;
}

char *
uco__http_url_join(const char *base, const char *url)
{
    size_t length, size;
    const char *slash = "";
    char *joined;

    if (base == NULL || url_has_scheme(url))
        return uco__string_copy(url);
    length = strlen(base);
    if (length > 0 && base[length - 1] == '/' && url[0] == '/')
        length--;
    else if (length > 0 && base[length - 1] != '/' && strchr("/?#", url[0]) == NULL)
        slash = "/";
    size = length + 1 + strlen(url) + 1;
    joined = uco__allocate(size);
    if (joined != NULL)
        snprintf(joined, size, "%.*s%s%s", (int) length, base, slash, url);
    return joined;
}

/* The "@" behind a user and password; NULL: there is none. */
static const char *
url_login_end(const char *authority)
{
    size_t length = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', length);
    const char *colon = memchr(authority, ':', length);

    if (at != NULL || colon == NULL || authority[0] == '[')
        return at;
    /* What is no port may be a password with one of these in it, which should have been escaped. */
    length -= (size_t) (colon + 1 - authority);
    return strspn(colon + 1, "0123456789") < length ? strrchr(colon, '@') : NULL;
}

const char *
uco__http_url_after_login(const char *url, size_t *before)
{
    size_t scheme = url_scheme_span(url);
    const char *authority = url;
    const char *at;

    /* With one slash, too, or three, curl knows what is meant. */
    if (scheme > 0 && url[scheme] == ':')
        authority += scheme + 1;
    if (authority != url || strncmp(url, "//", 2) == 0)
        authority += strspn(authority, "/");
    at = url_login_end(authority);
    *before = (size_t) (authority - url);
    return at != NULL ? at + 1 : authority;
}

void
uco__http_url_show(char *text, size_t size, const char *url)
{
    size_t before;
    const char *after = uco__http_url_after_login(url, &before);

    snprintf(text, size, "%.*s%s", (int) before, url, after);
}
