/* SPDX-License-Identifier: MIT */

/* URLs. What is one is curl's to say, so that it is never asked for what we took for something
 * else. */

#include "http/url.h"

#include "base/system.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int
url_error(CURLUcode code, const char **why)
{
    *why = code == CURLUE_BAD_SCHEME ? "the URL has no scheme" : curl_url_strerror(code);
    return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

static int
origin_set_key(struct uco__http_origin *origin, const char *host, const char *port)
{
    size_t host_length = strlen(host);
    size_t size = host_length + 1 + strlen(port) + 1;

    origin->key = uco__allocate(size);
    if (origin->key == NULL)
        return -ENOMEM;
    snprintf(origin->key, size, "%s:%s", host, port);
    for (char *c = origin->key; *c != '\0'; c++)
        *c = (char) tolower((unsigned char) *c);
    origin->host_length = host_length;
    return 0;
}

static int
origin_set(struct uco__http_origin *origin, CURLU *parts, const char **why)
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    int r;

    if (code == CURLUE_OK)
        code = curl_url_get(parts, CURLUPART_HOST, &host, CURLU_PUNYCODE);
    if (code == CURLUE_LACKS_IDN) /* a curl without IDN asks for the name as it is */
        code = curl_url_get(parts, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    /* file: has neither host nor port; what it lacks is not what is wrong with it. */
    if (scheme != NULL && strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
        code = CURLUE_UNSUPPORTED_SCHEME;
    if (code == CURLUE_OK && host[0] == '\0')
        code = CURLUE_NO_HOST;
    if (code == CURLUE_OK) {
        origin->tls = strcasecmp(scheme, "https") == 0;
        r = origin_set_key(origin, host, port);
    } else {
        r = url_error(code, why);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return r;
}

int
uco__http_origin_init(struct uco__http_origin *origin, const char *url, const char **why)
{
    CURLU *parts = curl_url();
    CURLUcode code;
    int r;

    *origin = (struct uco__http_origin){0};
    if (parts == NULL)
        return -ENOMEM;
    code = curl_url_set(parts, CURLUPART_URL, url, 0);
    r = code == CURLUE_OK ? origin_set(origin, parts, why) : url_error(code, why);
    curl_url_cleanup(parts);
    return r;
}

void
uco__http_origin_done(struct uco__http_origin *origin)
{
    uco__free(origin->key);
    *origin = (struct uco__http_origin){0};
}

bool
uco__http_origin_same(const struct uco__http_origin *a, const struct uco__http_origin *b)
{
    return a->tls == b->tls && strcmp(a->key, b->key) == 0;
}

static bool
url_has_scheme(const char *url)
{
    size_t length = 0;

    if (!isalpha((unsigned char) url[0]))
        return false;
    while (isalnum((unsigned char) url[length]) || url[length] == '+' || url[length] == '-' ||
           url[length] == '.')
        length++;
    return strncmp(url + length, "://", 3) == 0;
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

void
uco__http_url_show(char *text, size_t size, const char *url)
{
    const char *authority = strstr(url, "://");
    const char *at = NULL;

    if (authority != NULL) {
        authority += 3;
        at = memrchr(authority, '@', strcspn(authority, "/?#"));
    }
    if (at != NULL)
        snprintf(text, size, "%.*s%s", (int) (authority - url), url, at + 1);
    else
        snprintf(text, size, "%s", url);
}
