/* SPDX-License-Identifier: MIT */

/*
 * Proxies.
 *
 * 1. Which one a request goes through is known before any name is looked up, and nobody else
 *    decides it: what curl is told leaves it no choice. (Its own matching of IPv6 networks is wrong
 *    in 7.86 to 7.88, for one.)
 * 2. The environment is read once, when the client is made: as curl reads it, the lower-case names
 *    first, those that are empty as if they were not there, and never HTTP_PROXY, which a CGI
 *    program has from whoever sends it the header "Proxy".
 */

#include "http/proxy.h"

#include "base/system.h"
#include "http/name.h"
#include "http/url.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_MAX 64 /* bytes of an address with its network's size */

/* Reserved fields of a client's own copy of the options. */
enum {
    FOR_HTTP,
    FOR_HTTPS,
};

static const char *
proxy_from_environment(const uco_http_client_options *options, bool tls)
{
    return (const char *) options->reserved[tls ? FOR_HTTPS : FOR_HTTP];
}

/* --- the environment --- */

static const char *
environment_read(const char *lower, const char *upper)
{
    const char *value = getenv(lower);

    if ((value == NULL || value[0] == '\0') && upper != NULL)
        value = getenv(upper);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int
environment_copy(uco_http_client_options *options, unsigned field, const char *value)
{
    const char *all = environment_read("all_proxy", "ALL_PROXY");
    char *copy = uco__string_copy(value != NULL ? value : all);

    options->reserved[field] = (uintptr_t) copy;
    return copy == NULL && (value != NULL || all != NULL) ? -ENOMEM : 0;
}

int
uco__http_proxy_init(uco_http_client_options *options)
{
    int r = 0;

    if (options->no_proxy == NULL) {
        const char *value = environment_read("no_proxy", "NO_PROXY");

        options->no_proxy = uco__string_copy(value != NULL ? value : "");
        if (options->no_proxy == NULL)
            return -ENOMEM;
    }
    if (options->proxy == NULL)
        r = environment_copy(options, FOR_HTTP, environment_read("http_proxy", NULL));
    if (options->proxy == NULL && r == 0)
        r = environment_copy(options, FOR_HTTPS, environment_read("https_proxy", "HTTPS_PROXY"));
    return r;
}

void
uco__http_proxy_done(uco_http_client_options *options)
{
    for (unsigned field = FOR_HTTP; field <= FOR_HTTPS; field++) {
        uco__free((void *) options->reserved[field]);
        options->reserved[field] = 0;
    }
}

/* --- hosts without proxy --- */

/* Whether two addresses of `size` bytes have the same first bits. */
static bool
network_has(const unsigned char *network, const unsigned char *address, size_t size, size_t bits)
{
    size_t bytes = bits / 8;
    unsigned mask = 0xff00u >> bits % 8;

    return bits <= size * 8 && memcmp(network, address, bytes) == 0 &&
           (bits % 8 == 0 || ((network[bytes] ^ address[bytes]) & mask & 0xff) == 0);
}

/* Whether a numeric address is the one in the list, or in that network ("10.0.0.0/8"). */
static bool
item_has_address(const char *item, size_t length, int family, const unsigned char *address)
{
    size_t size = family == AF_INET6 ? 16 : 4;
    size_t bits = size * 8;
    unsigned char network[16];
    char text[ADDRESS_MAX];
    char *slash;

    if (length > 2 && item[0] == '[' && item[length - 1] == ']') {
        item++;
        length -= 2;
    }
    if (length >= sizeof text)
        return false;
    memcpy(text, item, length);
    text[length] = '\0';
    slash = strchr(text, '/');
    if (slash != NULL) {
        *slash++ = '\0';
        if (slash[0] == '\0' || slash[strspn(slash, "0123456789")] != '\0' || strlen(slash) > 3)
            return false;
        bits = strtoul(slash, NULL, 10);
    }
    return inet_pton(family, text, network) == 1 && network_has(network, address, size, bits);
}

/* Whether a name is the one in the list, or under it. */
static bool
item_has_name(const char *item, size_t length, const char *host, size_t host_length)
{
    if (length > 0 && item[length - 1] == '.')
        length--;
    if (length > 0 && item[0] == '.') {
        item++;
        length--;
    }
    if (length == 0 || length > host_length)
        return false;
    if (length < host_length && host[host_length - length - 1] != '.')
        return false;
    return uco__http_text_same(item, host + host_length - length, length);
}

/* AF_INET, AF_INET6, or 0 for a name. */
static int
host_family(const char *host, size_t length, unsigned char *address)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = length > 2 && host[0] == '[';

    if (v6) {
        const char *zone = memchr(host, '%', length);

        length = zone != NULL ? (size_t) (zone - host) - 1 : length - 2;
        host++;
    }
    if (length >= sizeof text)
        return 0;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(v6 ? AF_INET6 : AF_INET, text, address) != 1 ? 0 : v6 ? AF_INET6 : AF_INET;
}

bool
uco__http_no_proxy(const char *list, const char *host, size_t length)
{
    unsigned char address[16];
    int family;

    if (list == NULL || list[0] == '\0')
        return false;
    if (strcmp(list, "*") == 0)
        return true;
    family = host_family(host, length, address);
    if (family == 0 && length > 0 && host[length - 1] == '.')
        length--;
    for (;;) {
        size_t item;

        list += strspn(list, ", \t");
        if (*list == '\0')
            return false;
        item = strcspn(list, ", \t");
        if (family == 0 ? item_has_name(list, item, host, length)
                        : item_has_address(list, item, family, address))
            return true;
        list += item;
    }
}

/* --- the way of a request --- */

const char *
uco__http_proxy_for(const uco_http_client_options *options, const struct uco__http_origin *origin)
{
    const char *proxy =
        options->proxy != NULL ? options->proxy : proxy_from_environment(options, origin->tls);

    if (proxy == NULL || proxy[0] == '\0' || options->unix_socket != NULL ||
        uco__http_no_proxy(options->no_proxy, origin->key, origin->host_length))
        return NULL;
    return proxy;
}

CURLcode
uco__http_proxy_apply(const uco_http_client_options *options, const struct uco__http_origin *origin,
                      CURL *easy)
{
    const char *proxy;

    if (options->proxy != NULL ? options->proxy[0] == '\0'
                               : proxy_from_environment(options, false) == NULL &&
                                     proxy_from_environment(options, true) == NULL)
        return CURLE_OK;
    proxy = uco__http_proxy_for(options, origin);
    return curl_easy_setopt(easy, CURLOPT_PROXY, proxy != NULL ? proxy : "");
}

/* --- a proxy's URL --- */

/* What the schemes mean to curl. */
static const struct scheme {
    const char *name;
    const char *port;  /* its usual one */
    bool names_itself; /* whoever asks a proxy of it looks the host's name up himself */
} schemes[] = {
    {"http", "1080", false},  {"https", "443", false},    {"socks5h", "1080", false},
    {"socks5", "1080", true}, {"socks4a", "1080", false}, {"socks4", "1080", true},
    {"socks", "1080", true},
};

static const struct scheme *
scheme_find(const char *name)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (uco__http_text_same(schemes[i].name, name, SIZE_MAX))
            return &schemes[i];
    }
    return NULL;
}

/* The host that curl asks for, and at which port. */
static int
proxy_read_parts(CURLU *parts, const struct scheme **scheme, struct uco__http_origin *origin,
                 const char **why)
{
    char *name = NULL, *host = NULL, *port = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_SCHEME, &name, 0);
    int r = -ENOMEM;

    if (code == CURLUE_OK)
        code = uco__http_url_host(parts, &host);
    if (code == CURLUE_OK)
        (void) curl_url_get(parts, CURLUPART_PORT, &port, 0);
    *scheme = name != NULL ? scheme_find(name) : NULL;
    if (code == CURLUE_OK && *scheme != NULL) {
        r = uco__http_origin_set(origin, false, host, port != NULL ? port : (*scheme)->port);
    } else if (code == CURLUE_OK) {
        *why = "the proxy's scheme is not one of http, https, socks4, socks4a, socks5 and socks5h";
        r = -EINVAL;
    } else if (code != CURLUE_OUT_OF_MEMORY) {
        *why = "the proxy is not a URL";
        r = -EINVAL;
    }
    curl_free(name);
    curl_free(host);
    curl_free(port);
    return r;
}

/* As uco__http_proxy_check(). `origin` is to be done with on errors, too. */
static int
proxy_read(const char *proxy, const struct scheme **scheme, struct uco__http_origin *origin,
           const char **why)
{
    CURLU *parts = curl_url();
    CURLUcode code;
    int r;

    *origin = (struct uco__http_origin){0};
    if (parts == NULL)
        return -ENOMEM;
    *why = "the proxy is not a URL";
    code = curl_url_set(parts, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME);
    r = code == CURLUE_OK              ? proxy_read_parts(parts, scheme, origin, why)
        : code == CURLUE_OUT_OF_MEMORY ? -ENOMEM
                                       : -EINVAL;
    curl_url_cleanup(parts);
    if (r == 0 && strcmp((*scheme)->name, "https") == 0 &&
        (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTPS_PROXY) == 0) {
        *why = "this libcurl cannot speak TLS with a proxy";
        r = -ENOSYS;
    }
    return r;
}

int
uco__http_proxy_check(const char *proxy, const char **why)
{
    const struct scheme *scheme;
    struct uco__http_origin origin;
    int r = proxy_read(proxy, &scheme, &origin, why);

    uco__http_origin_done(&origin);
    return r;
}

/* --- names --- */

/* The proxy's, and the host's where the proxy wants an address. */
static int
proxy_find_both(const char *proxy, struct uco__http_names *names, struct uco_loop *loop,
                const struct uco__http_origin *origin, struct curl_slist **resolve,
                const char **why)
{
    const struct scheme *scheme;
    struct uco__http_origin place;
    int r = proxy_read(proxy, &scheme, &place, why);

    if (r == 0) {
        *why = "the proxy's name was not found";
        r = uco__http_names_find(names, loop, &place, resolve);
    }
    if (r == 0 && scheme->names_itself) {
        *why = "the host's name was not found";
        r = uco__http_names_find(names, loop, origin, resolve);
    }
    uco__http_origin_done(&place);
    return r;
}

bool
uco__http_proxy_needs_nobody(const uco_http_client_options *options,
                             const struct uco__http_names *names,
                             const struct uco__http_origin *origin)
{
    return options->unix_socket != NULL || (origin->numeric && uco__list_empty(&names->fixed) &&
                                            uco__http_proxy_for(options, origin) == NULL);
}

int
uco__http_proxy_find(const uco_http_client_options *options, struct uco__http_names *names,
                     struct uco_loop *loop, const struct uco__http_origin *origin,
                     struct curl_slist **resolve, const char **why)
{
    const char *proxy;
    int r;

    *resolve = NULL;
    if (options->unix_socket != NULL)
        return 0;
    proxy = uco__http_proxy_for(options, origin);
    if (proxy == NULL) {
        *why = "the host's name was not found";
        return uco__http_names_find(names, loop, origin, resolve);
    }
    r = proxy_find_both(proxy, names, loop, origin, resolve, why);
    if (r < 0) {
        curl_slist_free_all(*resolve);
        *resolve = NULL;
    }
    return r;
}

void
uco__http_proxy_forget(const uco_http_client_options *options, struct uco__http_names *names,
                       const struct uco__http_origin *origin)
{
    const char *proxy = uco__http_proxy_for(options, origin);
    const struct scheme *scheme;
    struct uco__http_origin place;
    const char *why;

    uco__http_names_forget(names, origin);
    if (proxy == NULL)
        return;
    if (proxy_read(proxy, &scheme, &place, &why) == 0)
        uco__http_names_forget(names, &place);
    uco__http_origin_done(&place);
}
