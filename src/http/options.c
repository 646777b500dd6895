/* SPDX-License-Identifier: MIT */

/*
 * Clients' options.
 *
 * 1. The client's copy has a value in each field: what means a default has become that default,
 *    except pointers whose NULL says that curl is not told.
 * 2. What curl cannot do it is asked to do once, when the client is made: then no request fails
 *    because of it.
 */

#include "http/options.h"

#include "base/system.h"
#include "core/report.h"
#include "http/proxy.h"
#include "http/url.h"

#include <arpa/inet.h>
#include <limits.h>
#include <math.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT 30.0 /* seconds; the same for reading */
#define CONNECT_TIMEOUT 10.0
#define CONNECTIONS_MAX 100
#define PER_HOST_MAX 10
#define LIMIT_MAX 1000000 /* connections */
#define REDIRECTS_MAX 20
#define PIN_PREFIX "sha256//"
#define PIN_LENGTH 52        /* with the prefix */
#define LOCAL_ADDRESS_MAX 64 /* bytes */

/* --- headers --- */

static bool
text_is_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char) *text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

size_t
uco__http_token_length(const char *text)
{
    return strspn(text, "!#$%&'*+-.^_`|~0123456789"
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

bool
uco__http_header_valid(const char *header)
{
    size_t length = uco__http_token_length(header);

    if (length == 0 || header[length] != ':')
        return false;
    for (header += length; *header != '\0'; header++) {
        if (((unsigned char) *header < ' ' && *header != '\t') || *header == 0x7f)
            return false;
    }
    return true;
}

bool
uco__http_header_same_name(const char *one, const char *other)
{
    size_t length = strcspn(one, ":");

    return uco__http_text_same(one, other, length) && other[length] == ':';
}

bool
uco__http_header_is_secret(const char *header)
{
    static const char *const names[] = {
        "Authorization:", "Cookie:", "Host:", "Proxy-Authorization:"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (uco__http_header_same_name(names[i], header))
            return true;
    }
    return false;
}

/* --- checking --- */

static bool
seconds_valid(double seconds)
{
    return !isnan(seconds) && seconds >= 0;
}

static int
options_check_numbers(const uco_http_client_options *options)
{
    if (!seconds_valid(options->timeout) || !seconds_valid(options->connect_timeout) ||
        !seconds_valid(options->read_timeout) || !seconds_valid(options->pool_timeout))
        return uco__misuse(-EINVAL, "uco_http_client_new: a timeout is negative, or not a number");
    if (options->max_redirects < -1)
        return uco__misuse(-EINVAL, "uco_http_client_new: max_redirects is %d",
                           options->max_redirects);
    if (!isfinite(options->min_speed) || options->min_speed < 0)
        return uco__misuse(-EINVAL, "uco_http_client_new: min_speed is negative, or not a number");
    if (options->auth != UCO_HTTP_BASIC && options->auth != UCO_HTTP_DIGEST)
        return uco__misuse(-EINVAL, "uco_http_client_new: auth is %d", (int) options->auth);
    return 0;
}

int
uco__http_login_check(const char *function, const char *user, const char *password,
                      const char *token)
{
    if (token != NULL && (user != NULL || password != NULL))
        return uco__misuse(-EINVAL, "%s: a token, and a user or a password", function);
    if (password != NULL && user == NULL)
        return uco__misuse(-EINVAL, "%s: a password without a user", function);
    /* The first colon is where the password begins. */
    if (user != NULL && (strchr(user, ':') != NULL || !text_is_clean(user)))
        return uco__misuse(-EINVAL, "%s: user has a colon or a control character", function);
    if (password != NULL && !text_is_clean(password))
        return uco__misuse(-EINVAL, "%s: password has a control character", function);
    if (token != NULL && (token[0] == '\0' || !text_is_clean(token)))
        return uco__misuse(-EINVAL, "%s: token is empty or has a control character", function);
    return 0;
}

static int
options_check_texts(const uco_http_client_options *options)
{
    for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++) {
        if (!uco__http_header_valid(options->headers[i]))
            /* What it says may be a secret, with a newline at its end. */
            return uco__misuse(-EINVAL, "uco_http_client_new: not a header: '%.*s'",
                               (int) strcspn(options->headers[i], ":"), options->headers[i]);
    }
    if (options->user_agent != NULL && !text_is_clean(options->user_agent))
        return uco__misuse(-EINVAL, "uco_http_client_new: user_agent has a control character");
    if (options->cookie_file != NULL && options->cookie_file[0] == '\0')
        return uco__misuse(-EINVAL, "uco_http_client_new: cookie_file is empty");
    if (options->cookie_file != NULL && options->no_cookies)
        return uco__misuse(-EINVAL, "uco_http_client_new: both cookie_file and no_cookies");
    return uco__http_login_check("uco_http_client_new", options->user, options->password,
                                 options->token);
}

static int
options_check_base(const uco_http_client_options *options)
{
    struct uco__http_origin origin;
    const char *why = "";
    int r;

    if (options->base_url == NULL)
        return 0;
    r = uco__http_origin_init(&origin, options->base_url, &why);
    uco__http_origin_done(&origin);
    return r == -EINVAL ? uco__misuse(r, "uco_http_client_new: base_url: %s", why) : r;
}

static int
options_check_proxy(const uco_http_client_options *options)
{
    const char *why = "";
    int r;

    if (options->proxy == NULL || options->proxy[0] == '\0')
        return 0;
    if (options->unix_socket != NULL)
        return uco__misuse(-EINVAL, "uco_http_client_new: both proxy and unix_socket");
    r = uco__http_proxy_check(options->proxy, &why);
    return r == -EINVAL ? uco__misuse(r, "uco_http_client_new: proxy: %s", why) : r;
}

/* The hash of a key: "sha256//" and 32 bytes in base64. */
static bool
pin_valid(const char *pin, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    return length == PIN_LENGTH && strncmp(pin, PIN_PREFIX, strlen(PIN_PREFIX)) == 0 &&
           strspn(pin + strlen(PIN_PREFIX), digits) == PIN_LENGTH - strlen(PIN_PREFIX) - 1 &&
           pin[length - 1] == '=';
}

static int
options_check_pins(const char *pins)
{
    if (pins == NULL || strncmp(pins, PIN_PREFIX, strlen(PIN_PREFIX)) != 0)
        return 0; /* a file */
    for (;;) {
        size_t length = strcspn(pins, ";");

        if (!pin_valid(pins, length))
            return uco__misuse(-EINVAL,
                               "uco_http_client_new: pinned_key: not 'sha256//' and 44 digits of "
                               "base64: '%.*s'",
                               (int) length, pins);
        pins += length;
        if (*pins == '\0')
            return 0;
        pins++;
    }
}

static int
options_check_tls(const uco_http_client_options *options)
{
    if (options->client_cert == NULL && options->client_key != NULL)
        return uco__misuse(-EINVAL, "uco_http_client_new: client_key without client_cert");
    if (options->client_cert == NULL && options->key_password != NULL)
        return uco__misuse(-EINVAL, "uco_http_client_new: key_password without client_cert");
    return options_check_pins(options->pinned_key);
}

static bool
address_valid(const char *address)
{
    struct in6_addr binary;

    return inet_pton(AF_INET, address, &binary) == 1 || inet_pton(AF_INET6, address, &binary) == 1;
}

/* curl would take another text for a name, and look it up. */
static int
options_check_places(const uco_http_client_options *options)
{
    const char *address = options->local_address;
    const char *path = options->unix_socket;

    if (path != NULL &&
        (path[path[0] == '@'] == '\0' || strlen(path) >= sizeof((struct sockaddr_un){0}).sun_path))
        return uco__misuse(-EINVAL, "uco_http_client_new: unix_socket is empty or too long");
    if (address == NULL || address_valid(address))
        return 0;
    if (address[0] == '\0' || strlen(address) >= IF_NAMESIZE ||
        address[strcspn(address, "/: \t\n")] != '\0')
        return uco__misuse(-EINVAL,
                           "uco_http_client_new: local_address is neither an address nor the name "
                           "of an interface: '%s'",
                           address);
    return if_nametoindex(address) != 0 ? 0 : -ENODEV;
}

static int
options_check_files(const uco_http_client_options *options)
{
    const char *pins = options->pinned_key;
    const char *const files[] = {
        options->ca_file,
        options->client_cert,
        options->client_key,
        pins != NULL && strncmp(pins, PIN_PREFIX, strlen(PIN_PREFIX)) == 0 ? NULL : pins,
    };

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (files[i] != NULL && UCO__SYSTEM(access, access(files[i], R_OK)) < 0)
            return -ENOENT;
    }
    return 0;
}

static int
options_check(const uco_http_client_options *options)
{
    static int (*const checks[])(const uco_http_client_options *) = {
        options_check_numbers, options_check_texts, options_check_base,   options_check_proxy,
        options_check_files,   options_check_tls,   options_check_places,
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof checks / sizeof checks[0]; i++)
        r = checks[i](options);
    return r;
}

/* --- copying --- */

static void
options_fill(uco_http_client_options *options)
{
    if (options->timeout == 0)
        options->timeout = TIMEOUT;
    if (options->connect_timeout == 0)
        options->connect_timeout = CONNECT_TIMEOUT;
    if (options->read_timeout == 0)
        options->read_timeout = TIMEOUT;
    if (options->pool_timeout == 0)
        options->pool_timeout = UCO_FOREVER;
    if (options->max_connections == 0)
        options->max_connections = CONNECTIONS_MAX;
    if (options->max_connections > LIMIT_MAX)
        options->max_connections = LIMIT_MAX;
    if (options->max_per_host == 0)
        options->max_per_host = PER_HOST_MAX;
    if (options->max_body == 0)
        options->max_body = SIZE_MAX / 2;
    if (options->max_redirects == 0)
        options->max_redirects = REDIRECTS_MAX;
    if (options->user_agent == NULL)
        options->user_agent = "uco/" UCO_VERSION;
    options->headers = NULL;
    options->addresses = NULL;
    memset(options->reserved, 0, sizeof options->reserved);
}

#define STRINGS 15

static void
options_strings(uco_http_client_options *options, const char **strings[STRINGS])
{
    strings[0] = &options->base_url;
    strings[1] = &options->proxy;
    strings[2] = &options->ca_file;
    strings[3] = &options->client_cert;
    strings[4] = &options->client_key;
    strings[5] = &options->cookie_file;
    strings[6] = &options->user_agent;
    strings[7] = &options->no_proxy;
    strings[8] = &options->key_password;
    strings[9] = &options->pinned_key;
    strings[10] = &options->user;
    strings[11] = &options->password;
    strings[12] = &options->token;
    strings[13] = &options->unix_socket;
    strings[14] = &options->local_address;
}

/* Each string becomes a copy; without memory, what could not be copied becomes NULL. */
static int
options_copy(uco_http_client_options *options)
{
    const char **strings[STRINGS];
    int r = 0;

    options_strings(options, strings);
    for (size_t i = 0; i < STRINGS; i++) {
        const char *original = *strings[i];

        *strings[i] = uco__string_copy(original);
        if (original != NULL && *strings[i] == NULL)
            r = -ENOMEM;
    }
    return r;
}

void
uco__http_options_done(uco_http_client_options *options)
{
    const char **strings[STRINGS];

    options_strings(options, strings);
    for (size_t i = 0; i < STRINGS; i++)
        uco__free((void *) (uintptr_t) *strings[i]);
    uco__http_proxy_done(options);
    *options = (uco_http_client_options){0};
}

/* Whether this curl can do all that is asked for. */
static int
options_try(const uco_http_client_options *options)
{
    CURL *easy = curl_easy_init();
    CURLcode code = easy != NULL ? uco__http_options_apply(options, easy) : CURLE_OUT_OF_MEMORY;

    curl_easy_cleanup(easy);
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_NOT_BUILT_IN:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -ENOSYS;
    default:
        return -EINVAL;
    }
}

int
uco__http_options_init(uco_http_client_options *copy, const uco_http_client_options *given)
{
    int r = options_check(given);

    *copy = (uco_http_client_options){0};
    if (r < 0)
        return r;
    *copy = *given;
    options_fill(copy);
    r = options_copy(copy);
    if (r == 0)
        r = uco__http_proxy_init(copy);
    return r < 0 ? r : options_try(copy);
}

/* --- curl --- */

long
uco__http_milliseconds(double seconds)
{
    double ms = ceil(seconds * 1000);

    return ms < 1 ? 1 : ms < INT_MAX ? (long) ms : INT_MAX;
}

/* A whole number of at least 1. */
static long
whole(double value)
{
    value = ceil(value);
    return value < 1 ? 1 : value < INT_MAX ? (long) value : INT_MAX;
}

/* NULL is left at curl's default. */
static CURLcode
easy_set_text(CURLcode code, CURL *easy, CURLoption option, const char *text)
{
    return code == CURLE_OK && text != NULL ? curl_easy_setopt(easy, option, text) : code;
}

/* A curl that has not heard of it has no use for it: no TLS, or none with proxies. */
static CURLcode
if_known(CURLcode code)
{
    return code == CURLE_NOT_BUILT_IN || code == CURLE_UNKNOWN_OPTION ? CURLE_OK : code;
}

/* The file's, and then not those of the system's directory, which curl asks besides. */
static CURLcode
easy_set_authorities(CURLcode code, CURL *easy, CURLoption file, CURLoption directory,
                     const char *path)
{
    code = easy_set_text(code, easy, file, path);
    if (code == CURLE_OK && path != NULL)
        code = if_known(curl_easy_setopt(easy, directory, NULL));
    return code;
}

/* The certificate, which speaks for the user, and the pinned key are the host's only. */
static CURLcode
easy_set_tls(CURLcode code, CURL *easy, const uco_http_client_options *options)
{
    if (code == CURLE_OK)
        code = if_known(curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2));
    code = easy_set_authorities(code, easy, CURLOPT_CAINFO, CURLOPT_CAPATH, options->ca_file);
    code = easy_set_text(code, easy, CURLOPT_SSLCERT, options->client_cert);
    code = easy_set_text(code, easy, CURLOPT_SSLKEY, options->client_key);
    code = easy_set_text(code, easy, CURLOPT_KEYPASSWD, options->key_password);
    code = easy_set_text(code, easy, CURLOPT_PINNEDPUBLICKEY, options->pinned_key);
    if (options->insecure) {
        UCO__HTTP_SET(code, easy, CURLOPT_SSL_VERIFYPEER, 0L);
        UCO__HTTP_SET(code, easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return code;
}

/* Of proxies that are spoken to by TLS. */
static CURLcode
easy_set_proxy_tls(CURLcode code, CURL *easy, const uco_http_client_options *options)
{
    if (code != CURLE_OK)
        return code;
    UCO__HTTP_SET(code, easy, CURLOPT_PROXY_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
    code = easy_set_authorities(code, easy, CURLOPT_PROXY_CAINFO, CURLOPT_PROXY_CAPATH,
                                options->ca_file);
    if (options->insecure) {
        UCO__HTTP_SET(code, easy, CURLOPT_PROXY_SSL_VERIFYPEER, 0L);
        UCO__HTTP_SET(code, easy, CURLOPT_PROXY_SSL_VERIFYHOST, 0L);
    }
    return if_known(code);
}

/* Where connections go, and where from. */
static CURLcode
easy_set_places(CURLcode code, CURL *easy, const uco_http_client_options *options)
{
    const char *path = options->unix_socket;
    const char *address = options->local_address;
    char interface[LOCAL_ADDRESS_MAX];

    if (path != NULL && path[0] == '@')
        UCO__HTTP_SET(code, easy, CURLOPT_ABSTRACT_UNIX_SOCKET, path + 1);
    else if (path != NULL)
        UCO__HTTP_SET(code, easy, CURLOPT_UNIX_SOCKET_PATH, path);
    if (address != NULL) {
        snprintf(interface, sizeof interface, "%s!%s", address_valid(address) ? "host" : "if",
                 address);
        UCO__HTTP_SET(code, easy, CURLOPT_INTERFACE, interface);
    }
    /* Not the environment's, nor a list to match: uco__http_proxy_apply() says what to use. */
    UCO__HTTP_SET(code, easy, CURLOPT_PROXY, options->proxy != NULL ? options->proxy : "");
    UCO__HTTP_SET(code, easy, CURLOPT_NOPROXY, "");
    return code;
}

CURLcode
uco__http_options_apply(const uco_http_client_options *options, CURL *easy)
{
    CURLcode code = CURLE_OK;

    UCO__HTTP_SET(code, easy, CURLOPT_NOSIGNAL, 1L);
    if (!options->no_cookies)
        UCO__HTTP_SET(code, easy, CURLOPT_COOKIEFILE, ""); /* no file, but cookies */
    if (!options->no_decompression)
        UCO__HTTP_SET(code, easy, CURLOPT_ACCEPT_ENCODING, ""); /* all that curl can undo */
    UCO__HTTP_SET(code, easy, CURLOPT_CONNECTTIMEOUT_MS,
                  uco__http_milliseconds(options->connect_timeout));
    if (options->min_speed > 0) {
        UCO__HTTP_SET(code, easy, CURLOPT_LOW_SPEED_LIMIT, whole(options->min_speed));
        UCO__HTTP_SET(code, easy, CURLOPT_LOW_SPEED_TIME, whole(options->read_timeout));
    }
    UCO__HTTP_SET(code, easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    /* Each request brings the addresses with it; they must still be known when curl connects anew
     * in the middle of a long one. */
    UCO__HTTP_SET(code, easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
    /* Should curl ask for a name itself after all, it does not wait for the answer when the request
     * is cancelled. */
    UCO__HTTP_SET(code, easy, CURLOPT_QUICK_EXIT, 1L);
    code = easy_set_places(code, easy, options);
    code = easy_set_tls(code, easy, options);
    return easy_set_proxy_tls(code, easy, options);
}
