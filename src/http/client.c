/* SPDX-License-Identifier: MIT */

/*
 * Clients.
 *
 * 1. A client is a resource of its loop until its close begins.
 * 2. It ends in a callback of the driver's, on the loop's stack, when no request is left; whoever
 *    waits in the close frees it, or else that callback does.
 * 3. Easy handles are set up once with what is the client's, and used again: making them anew costs
 *    a request 5 %.
 */

#include "http/client.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/url.h"
#include "task/task.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TIMEOUT 30.0 /* seconds; the same for reading */
#define CONNECT_TIMEOUT 10.0
#define CONNECTIONS_MAX 100
#define PER_HOST_MAX 10
#define LIMIT_MAX 1000000 /* of either */
#define REDIRECTS_MAX 20
#define BUFFER_SIZE (64L * 1024) /* 2.5 times the speed of curl's default at large bodies */

/* --- curl --- */

static CURLcode curl_state;

static void
curl_begin(void)
{
    curl_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- options --- */

static bool
seconds_valid(double seconds)
{
    return !isnan(seconds) && seconds >= 0;
}

/* "Name: value" on one line. */
static bool
header_valid(const char *header)
{
    const char *colon = strchr(header, ':');

    if (colon == NULL || colon == header)
        return false;
    for (; *header != '\0'; header++) {
        if (iscntrl((unsigned char) *header) && *header != '\t')
            return false;
    }
    return true;
}

static int
options_check(const uco_http_client_options *options)
{
    struct uco__http_origin origin;
    const char *why = "";
    int r;

    if (!seconds_valid(options->timeout) || !seconds_valid(options->connect_timeout) ||
        !seconds_valid(options->read_timeout) || !seconds_valid(options->pool_timeout))
        return uco__misuse(-EINVAL, "uco_http_client_new: a timeout is negative, or not a number");
    if (options->max_redirects < -1)
        return uco__misuse(-EINVAL, "uco_http_client_new: max_redirects is %d",
                           options->max_redirects);
    for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++) {
        if (!header_valid(options->headers[i]))
            return uco__misuse(-EINVAL, "uco_http_client_new: not a header: '%s'",
                               options->headers[i]);
    }
    if (options->base_url == NULL)
        return 0;
    r = uco__http_origin_init(&origin, options->base_url, &why);
    uco__http_origin_done(&origin);
    return r == -EINVAL ? uco__misuse(r, "uco_http_client_new: base_url: %s", why) : r;
}

static int
file_check(const char *path)
{
    return path != NULL && access(path, R_OK) != 0 ? -ENOENT : 0;
}

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
}

#define STRINGS 7

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

static void
options_free(uco_http_client_options *options)
{
    const char **strings[STRINGS];

    options_strings(options, strings);
    for (size_t i = 0; i < STRINGS; i++)
        uco__free((void *) (uintptr_t) *strings[i]);
}

/* --- easy handles --- */

/* Milliseconds, as curl takes them: zero would mean its default. */
static long
milliseconds(double seconds)
{
    double ms = ceil(seconds * 1000);

    return ms < 1 ? 1 : ms < INT_MAX ? (long) ms : INT_MAX;
}

/* NULL is left at curl's default. */
static CURLcode
easy_set_text(CURLcode code, CURL *easy, CURLoption option, const char *text)
{
    return code == CURLE_OK && text != NULL ? curl_easy_setopt(easy, option, text) : code;
}

static CURLcode
easy_set_tls(const struct uco_http_client *client, CURL *easy)
{
    const uco_http_client_options *options = &client->options;
    CURLcode code = CURLE_OK;

    code = easy_set_text(code, easy, CURLOPT_CAINFO, options->ca_file);
    code = easy_set_text(code, easy, CURLOPT_SSLCERT, options->client_cert);
    code = easy_set_text(code, easy, CURLOPT_SSLKEY, options->client_key);
    if (options->insecure) {
        UCO__HTTP_SET(code, easy, CURLOPT_SSL_VERIFYPEER, 0L);
        UCO__HTTP_SET(code, easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return code;
}

static CURLcode
easy_setup(struct uco_http_client *client, CURL *easy)
{
    const uco_http_client_options *options = &client->options;
    CURLcode code = uco__http_driver_prepare(&client->driver, easy);

    UCO__HTTP_SET(code, easy, CURLOPT_NOSIGNAL, 1L);
    UCO__HTTP_SET(code, easy, CURLOPT_SHARE, client->share);
    UCO__HTTP_SET(code, easy, CURLOPT_COOKIEFILE, ""); /* no file, but cookies */
    UCO__HTTP_SET(code, easy, CURLOPT_PROTOCOLS_STR, "http,https");
    UCO__HTTP_SET(code, easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
    UCO__HTTP_SET(code, easy, CURLOPT_ACCEPT_ENCODING, ""); /* all that curl can undo */
    UCO__HTTP_SET(code, easy, CURLOPT_USERAGENT, options->user_agent);
    UCO__HTTP_SET(code, easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options->connect_timeout));
    UCO__HTTP_SET(code, easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    /* Where curl asks for names itself (a proxy's), it does not wait for the answer when the
     * request is cancelled. */
    UCO__HTTP_SET(code, easy, CURLOPT_QUICK_EXIT, 1L);
    code = easy_set_text(code, easy, CURLOPT_PROXY, options->proxy);
    return code == CURLE_OK ? easy_set_tls(client, easy) : code;
}

CURL *
uco__http_client_take_easy(struct uco_http_client *client)
{
    CURL *easy;

    if (client->idle_count > 0)
        return client->idle[--client->idle_count];
    easy = curl_easy_init();
    if (easy != NULL && easy_setup(client, easy) != CURLE_OK) {
        curl_easy_cleanup(easy);
        easy = NULL;
    }
    return easy;
}

void
uco__http_client_give_easy(struct uco_http_client *client, CURL *easy)
{
    if (client->idle_count < UCO__HTTP_IDLE_MAX && !client->closing)
        client->idle[client->idle_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

/* --- cookies --- */

static int
cookies_load(struct uco_http_client *client)
{
    CURL *easy = client->options.cookie_file != NULL ? uco__http_client_take_easy(client) : NULL;
    CURLcode code = CURLE_OK;

    if (client->options.cookie_file == NULL)
        return 0;
    if (easy == NULL)
        return -ENOMEM;
    UCO__HTTP_SET(code, easy, CURLOPT_COOKIEFILE, client->options.cookie_file);
    UCO__HTTP_SET(code, easy, CURLOPT_COOKIELIST, "RELOAD");
    curl_easy_cleanup(easy);
    return code == CURLE_OK ? 0 : -ENOMEM;
}

static void
cookies_save(struct uco_http_client *client)
{
    const char *path = client->options.cookie_file;
    CURL *easy = path != NULL ? uco__http_client_take_easy(client) : NULL;
    CURLcode code = CURLE_OK;

    if (path == NULL)
        return;
    if (easy != NULL) {
        UCO__HTTP_SET(code, easy, CURLOPT_COOKIEJAR, path);
        UCO__HTTP_SET(code, easy, CURLOPT_COOKIELIST, "FLUSH");
        UCO__HTTP_SET(code, easy, CURLOPT_COOKIEJAR, NULL); /* or the clean-up writes once more */
        curl_easy_cleanup(easy);
    }
    /* curl tells nobody whether it could. */
    if (easy == NULL || code != CURLE_OK || access(path, R_OK | W_OK) != 0)
        uco__report(client->loop, NULL, "the cookies of an HTTP client could not be written to %s",
                    path);
}

/* --- beginning and end --- */

static void
client_free(struct uco_http_client *client)
{
    while (client->idle_count > 0)
        curl_easy_cleanup(client->idle[--client->idle_count]);
    curl_share_cleanup(client->share);
    curl_slist_free_all(client->headers);
    curl_slist_free_all(client->headers_abroad);
    options_free(&client->options);
    uco__free(client);
}

/* The driver has closed the connections. */
static void
client_stopped(struct uco__http_driver *driver)
{
    struct uco_http_client *client = UCO__CONTAINER(driver, struct uco_http_client, driver);

    cookies_save(client);
    uco__http_names_done(&client->names);
    if (client->closer != NULL)
        uco__wake(client->closer, 0);
    else
        client_free(client);
}

static void
client_stop_if_idle(struct uco_http_client *client)
{
    if (client->closing && uco__list_empty(&client->requests))
        uco__http_driver_stop(&client->driver, client_stopped);
}

void
uco__http_client_request_done(struct uco_http_client *client, struct uco__http_request *request)
{
    uco__list_remove(&request->link);
    client_stop_if_idle(client);
}

/* The loop closes what its user has left open: no task is left, so there is no request. */
static void
client_close_resource(struct uco__resource *resource)
{
    struct uco_http_client *client = UCO__CONTAINER(resource, struct uco_http_client, resource);

    client->closing = true;
    client_stop_if_idle(client);
}

/* Headers that speak for the user, and are no business of a host that a redirect leads to. */
static bool
header_is_secret(const char *header)
{
    static const char *const names[] = {"Authorization:", "Cookie:", "Proxy-Authorization:"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncasecmp(header, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

static int
list_append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);

    if (longer == NULL)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int
client_set_headers(struct uco_http_client *client, const char *const *headers)
{
    int r = 0;

    for (; r == 0 && headers != NULL && *headers != NULL; headers++) {
        r = list_append(&client->headers, *headers);
        if (r == 0 && !header_is_secret(*headers))
            r = list_append(&client->headers_abroad, *headers);
    }
    return r;
}

static int
client_set_share(struct uco_http_client *client)
{
    client->share = curl_share_init();
    if (client->share == NULL ||
        curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE) != CURLSHE_OK ||
        curl_share_setopt(client->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
        return -ENOMEM;
    return 0;
}

static int
client_init(struct uco_http_client *client, struct uco_loop *loop,
            const uco_http_client_options *options)
{
    int r;

    client->loop = loop;
    client->options = *options;
    options_fill(&client->options);
    r = options_copy(&client->options);
    if (r == 0)
        r = client_set_headers(client, options->headers);
    if (r == 0)
        r = client_set_share(client);
    if (r < 0)
        return r;
    uco__list_init(&client->requests);
    uco__http_names_init(&client->names);
    uco__http_limit_init(&client->limit, client->options.max_connections,
                         client->options.max_per_host);
    r = uco__http_driver_init(&client->driver, loop, client->options.max_connections);
    if (r < 0)
        return r;
    r = cookies_load(client);
    if (r < 0)
        uco__http_driver_done(&client->driver);
    return r;
}

static struct uco_http_client *
client_new(const uco_http_client_options *options, int *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct uco_loop *loop;
    struct uco_http_client *client;

    *error = options_check(options);
    if (*error < 0)
        return NULL;
    loop = uco__loop_current(error);
    if (loop == NULL) {
        *error = uco__misuse(*error, "uco_http_client_new: outside a running loop");
        return NULL;
    }
    *error = loop->ending ? -ESHUTDOWN : file_check(options->ca_file);
    if (*error == 0)
        *error = file_check(options->client_cert);
    if (*error == 0)
        *error = file_check(options->client_key);
    if (*error < 0)
        return NULL;
    pthread_once(&once, curl_begin);
    *error = -ENOMEM;
    client = curl_state == CURLE_OK ? uco__allocate(sizeof *client) : NULL;
    if (client == NULL)
        return NULL;
    *error = client_init(client, loop, options);
    if (*error == 0)
        return client;
    client_free(client);
    return NULL;
}

uco_http_client *
uco_http_client_new_at(const char *file, int line, const uco_http_client_options *options)
{
    static const uco_http_client_options defaults;
    struct uco_http_client *client;
    int error;

    client = client_new(options != NULL ? options : &defaults, &error);
    if (client == NULL)
        return uco__error_null(error);
    client->resource = (struct uco__resource){
        .kind = "HTTP client",
        .file = file,
        .line = line,
        .close = client_close_resource,
    };
    uco__loop_add_resource(client->loop, &client->resource);
    return client;
}

uco_http_client *(uco_http_client_new) (const uco_http_client_options *options)
{
    return uco_http_client_new_at(NULL, 0, options);
}

int
uco_http_client_close(uco_http_client *c)
{
    struct uco__wait wait;
    struct uco_loop *loop;
    int error;

    if (c == NULL)
        return 0;
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "uco_http_client_close: outside a running loop");
    if (c->loop != loop)
        return uco__misuse(-EPERM, "uco_http_client_close: another loop's client");
    if (c->closing)
        return uco__misuse(-EINVAL, "uco_http_client_close: it is being closed already");
    uco__loop_remove_resource(loop, &c->resource);
    c->closing = true;
    UCO__LIST_EACH(link, &c->requests)
        uco_scope_cancel(&UCO__CONTAINER(link, struct uco__http_request, link)->scope);
    client_stop_if_idle(c);
    if (uco__task_current(&error) == NULL)
        return 0;
    uco__wait_init(&wait, "an HTTP client's requests to end", NULL);
    c->closer = &wait;
    uco__park(&wait);
    client_free(c);
    return 0;
}
