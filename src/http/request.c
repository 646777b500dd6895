/* SPDX-License-Identifier: MIT */

/*
 * Requests.
 *
 * 1. A request is a chain of hops, one for each redirect. A hop takes a permit, has the host's name
 *    looked up, and hands a transfer to the driver; the permit goes back when the driver has taken
 *    the transfer out again.
 * 2. One scope is around all of it: its deadline is the client's timeout, and closing the client
 *    cancels it.
 * 3. All that curl points to is in the frame of uco_http_get(), which does not return before curl
 *    has let go of it.
 *
 * curl would follow redirects itself, but then it asks for the next host's name, and no limit of
 * ours is looked at.
 */

#include "base/clock.h"
#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/client.h"
#include "http/response.h"
#include "http/url.h"
#include "task/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_TEXT_MAX 1024 /* bytes of what uco_http_error() tells */
#define ERROR_URL_MAX 300   /* of those, for each URL */

struct request {
    struct uco__http_request common;
    struct uco__http_transfer transfer;
    struct uco_http_client *client;
    struct uco__task *task;
    struct uco__http_host *permit; /* NULL: none is held */
    struct uco__timer silence;     /* read_timeout */
    uint64_t heard;                /* when something was received last; loop's clock */
    long old_error;                /* what curl remembers from before the connection stood */
    struct uco__http_response *response;
    char *url;                      /* of the present hop */
    struct uco__http_origin origin; /* of the present hop */
    struct uco__http_origin first;  /* of the first one */
    int redirects;
    const char *why;             /* it failed; NULL: curl's words or the error's */
    char words[CURL_ERROR_SIZE]; /* curl's */
};

static int
request_fail(struct request *request, int error, const char *why)
{
    request->why = why;
    return error;
}

/* --- errors --- */

/* What the system said when curl could not go on, where it said something that a caller can use. */
static int
system_error(const struct request *request, CURL *easy, int otherwise)
{
    long error = 0;

    if (request->transfer.socket_error < 0)
        return request->transfer.socket_error;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
    if (error == ECONNRESET || error == EPIPE)
        return (int) -error;
    if (error == request->old_error || error <= 0 || error > UCO_MAX_ERROR ||
        error == EINPROGRESS || error == EAGAIN || error == EINTR)
        return otherwise;
    return (int) -error;
}

static int
transfer_error(const struct request *request, CURL *easy)
{
    switch (request->transfer.code) {
    case CURLE_OK:
        return 0;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -ENOENT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
        return system_error(request, easy, -ECONNREFUSED);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return system_error(request, easy, -EPROTO);
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_FILESIZE_EXCEEDED:
        return -EMSGSIZE;
    case CURLE_NO_CONNECTION_AVAILABLE:
        return -EAGAIN;
    case CURLE_NOT_BUILT_IN:
        return -ENOSYS;
    default:
        return -EPROTO; /* of TLS, of HTTP, or the end came early */
    }
}

/* For uco_http_error(): the URL, what it was redirected to, and what went wrong. Without memory
 * there are no words. */
static void
request_explain(const struct request *request, const char *asked, int error)
{
    struct uco__task *task = request->task;
    const char *why = request->why != NULL ? request->why : request->words;
    char *text;
    size_t used;

    uco__free(task->http_error);
    task->http_error = NULL;
    text = error != 0 ? uco__allocate(ERROR_TEXT_MAX) : NULL;
    if (text == NULL)
        return;
    task->http_error = text;
    uco__http_url_show(text, ERROR_URL_MAX, asked);
    used = strlen(text);
    if (request->redirects > 0) {
        used += (size_t) snprintf(text + used, ERROR_TEXT_MAX - used, ", redirected to ");
        uco__http_url_show(text + used, ERROR_URL_MAX, request->url);
        used += strlen(text + used);
    }
    snprintf(text + used, ERROR_TEXT_MAX - used, ": %s%s%s", why, why[0] != '\0' ? ": " : "",
             uco_strerror(error));
}

const char *
uco_http_error(const uco_http_client *c)
{
    int error;
    const struct uco__task *task = uco__task_current(&error);

    (void) c; /* which client it was does not matter: it was this task's last request */
    return task != NULL && task->http_error != NULL ? task->http_error : "";
}

/* --- while curl works, on the loop's stack --- */

static void
silence_fire(struct uco__timer *timer)
{
    struct request *request = UCO__CONTAINER(timer, struct request, silence);
    struct uco_loop *loop = request->client->loop;
    uint64_t until = uco__clock_after(request->heard, request->client->options.read_timeout);

    if (until > uco__loop_now(loop)) {
        uco__timer_start(loop, timer, until);
        return;
    }
    request->why = "nothing was received within read_timeout";
    uco__http_transfer_fail(&request->transfer, -ETIMEDOUT);
}

/* From now on something is to be heard. */
static void
request_begun(struct uco__http_transfer *transfer)
{
    struct request *request = UCO__CONTAINER(transfer, struct request, transfer);
    struct uco_loop *loop = request->client->loop;

    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &request->old_error);
    request->heard = uco__loop_now(loop);
    uco__timer_stop(loop, &request->silence);
    uco__timer_start(loop, &request->silence,
                     uco__clock_after(request->heard, request->client->options.read_timeout));
}

static size_t
curl_receives_header(char *data, size_t one, size_t size, void *arg)
{
    struct request *request = arg;
    int r = uco__http_response_add_header(request->response, data, size);

    (void) one;
    request->heard = uco__loop_now(request->client->loop);
    if (r < 0)
        uco__http_transfer_fail(&request->transfer, r);
    return r < 0 ? 0 : size;
}

static size_t
curl_receives_body(char *data, size_t one, size_t size, void *arg)
{
    struct request *request = arg;
    curl_off_t expected = -1;
    int r;

    (void) one;
    request->heard = uco__loop_now(request->client->loop);
    if (request->response->result.size == 0)
        curl_easy_getinfo(request->transfer.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &expected);
    r = uco__http_response_add_body(request->response, data, size, expected);
    if (r == -EMSGSIZE)
        request->why = "the body is larger than max_body";
    if (r < 0)
        uco__http_transfer_fail(&request->transfer, r);
    return r < 0 ? 0 : size;
}

static void
request_release(struct request *request)
{
    if (request->permit != NULL)
        uco__http_limit_release(request->permit);
    request->permit = NULL;
}

static void
request_ended(struct uco__http_transfer *transfer)
{
    struct request *request = UCO__CONTAINER(transfer, struct request, transfer);

    uco__timer_stop(request->client->loop, &request->silence);
    request_release(request);
}

/* --- a hop --- */

static int
easy_setup(struct request *request, CURL *easy, struct curl_slist *resolve)
{
    struct uco_http_client *client = request->client;
    bool abroad =
        request->redirects > 0 && !uco__http_origin_same(&request->origin, &request->first);
    bool http2 = request->origin.tls && !client->options.http1_only;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request->url);

    UCO__HTTP_SET(code, easy, CURLOPT_RESOLVE, resolve);
    UCO__HTTP_SET(code, easy, CURLOPT_HTTPHEADER,
                  abroad ? client->headers_abroad : client->headers);
    UCO__HTTP_SET(code, easy, CURLOPT_HTTP_VERSION,
                  (long) (http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    /* Only where a connection may carry several: a plain one would make the others wait for the
     * first one's answer. */
    UCO__HTTP_SET(code, easy, CURLOPT_PIPEWAIT, (long) http2);
    UCO__HTTP_SET(code, easy, CURLOPT_ERRORBUFFER, request->words);
    UCO__HTTP_SET(code, easy, CURLOPT_HEADERFUNCTION, curl_receives_header);
    UCO__HTTP_SET(code, easy, CURLOPT_HEADERDATA, request);
    UCO__HTTP_SET(code, easy, CURLOPT_WRITEFUNCTION, curl_receives_body);
    UCO__HTTP_SET(code, easy, CURLOPT_WRITEDATA, request);
    return code == CURLE_OK ? 0 : -ENOMEM;
}

/* Gives it back without what points into the request's frame, which is about to go. curl forgets no
 * error of the system's, and would tell it again in another request that fails for another reason.
 * */
static void
easy_give(struct uco_http_client *client, CURL *easy)
{
    long error = 0;

    curl_easy_setopt(easy, CURLOPT_RESOLVE, NULL);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
    if (error == 0)
        uco__http_client_give_easy(client, easy);
    else
        curl_easy_cleanup(easy);
}

static int
request_judge(struct request *request, CURL *easy)
{
    int r = transfer_error(request, easy);

    if (request->transfer.code == CURLE_COULDNT_CONNECT)
        uco__http_names_forget(&request->client->names, &request->origin);
    if (r < 0)
        return r;
    /* curl takes an end in the middle of the headers for an answer without body. */
    if (!request->response->whole)
        return request_fail(request, -EPROTO, "the connection was closed within the headers");
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &request->response->result.status);
    return 0;
}

static int
request_transfer(struct request *request, CURL *easy, struct curl_slist *resolve)
{
    int r = easy_setup(request, easy, resolve);

    if (r < 0)
        return r;
    request->old_error = 0;
    request->transfer.easy = easy;
    request->transfer.begun = request_begun;
    request->transfer.ended = request_ended;
    uco__http_response_reset(request->response);
    r = uco__http_driver_perform(&request->client->driver, request->task, &request->transfer);
    return r < 0 ? r : request_judge(request, easy);
}

/* Where an answer leads on to: 1, and the URL; 0 if it is the end; or an error. */
static int
request_redirect(const struct request *request, CURL *easy, char **url)
{
    const char *location = NULL;

    switch (request->response->result.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        break;
    default:
        return 0;
    }
    curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &location);
    if (location == NULL || request->client->options.max_redirects < 0)
        return 0;
    *url = uco__string_copy(location);
    return *url != NULL ? 1 : -ENOMEM;
}

static int
request_perform(struct request *request, struct curl_slist *resolve)
{
    CURL *easy = uco__http_client_take_easy(request->client);
    char *url = NULL;
    int r;

    if (easy == NULL)
        return -ENOMEM;
    r = request_transfer(request, easy, resolve);
    if (r == 0)
        r = request_redirect(request, easy, &url);
    easy_give(request->client, easy);
    if (r != 1)
        return r;
    uco__free(request->url);
    request->url = url;
    if (request->redirects++ >= request->client->options.max_redirects)
        return request_fail(request, -ELOOP, "too many redirects");
    return 1;
}

static int
request_take_permit(struct request *request)
{
    struct uco_http_client *client = request->client;
    uco_scope scope;
    int r;

    if (client->options.pool_timeout == UCO_FOREVER)
        return uco__http_limit_acquire(&client->limit, request->task, request->origin.key,
                                       &request->permit);
    r = uco_scope_open(&scope, client->options.pool_timeout);
    if (r < 0)
        return r;
    r = uco__http_limit_acquire(&client->limit, request->task, request->origin.key,
                                &request->permit);
    r = (int) uco_scope_close(&scope, r);
    if (r == -ETIMEDOUT)
        request->why = "no connection was free within pool_timeout";
    return r;
}

/* A proxy asks for names itself; then curl is only to find the proxy. */
static bool
request_is_proxied(const struct request *request)
{
    const char *proxy = request->client->options.proxy;
    bool tls = request->origin.tls;
    /* HTTP_PROXY is not asked for: a CGI program has it from its client. */
    const char *names[] = {tls ? "https_proxy" : "http_proxy", tls ? "HTTPS_PROXY" : "http_proxy",
                           "all_proxy", "ALL_PROXY"};

    if (proxy != NULL)
        return proxy[0] != '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0')
            return true;
    }
    return false;
}

static int
request_find_host(struct request *request, struct curl_slist **resolve)
{
    struct uco_http_client *client = request->client;
    uco_scope scope;
    int r;

    *resolve = NULL;
    if (request_is_proxied(request))
        return 0;
    r = uco_scope_open(&scope, client->options.connect_timeout);
    if (r < 0)
        return r;
    r = uco__http_names_find(&client->names, client->loop, &request->origin, resolve);
    r = (int) uco_scope_close(&scope, r);
    if (r < 0)
        request->why = "the host's name was not found";
    if (r == -ETIMEDOUT)
        request->why = "the host's name was not found within connect_timeout";
    return r;
}

/* 0: there is a response. 1: it leads on to another URL. */
static int
request_hop(struct request *request)
{
    struct curl_slist *resolve;
    int r;

    r = request_take_permit(request);
    if (r < 0)
        return r;
    r = request_find_host(request, &resolve);
    if (r == 0) {
        r = request_perform(request, resolve);
        curl_slist_free_all(resolve);
    }
    request_release(request);
    return r;
}

static int
request_run(struct request *request)
{
    int r;

    do {
        uco__http_origin_done(&request->origin);
        r = uco__http_origin_init(&request->origin, request->url, &request->why);
        if (r == 0 && request->redirects == 0)
            r = uco__http_origin_init(&request->first, request->url, &request->why);
        if (r < 0)
            return r;
        request->words[0] = '\0';
        r = request_hop(request);
    } while (r == 1);
    return r;
}

/* --- all of it --- */

/* In the scope that the client's timeout, or its close, ends. */
static int
request_run_scoped(struct request *request)
{
    struct uco_http_client *client = request->client;
    int r, inside;

    r = uco_scope_open(&request->common.scope, client->options.timeout);
    if (r < 0)
        return r;
    uco__list_push_back(&client->requests, &request->common.link);
    inside = request_run(request);
    r = (int) uco_scope_close(&request->common.scope, inside);
    if (inside == -ECANCELED)
        request->why = r == -ETIMEDOUT   ? "it took longer than the client's timeout"
                       : client->closing ? "the client was closed"
                                         : NULL;
    uco__http_client_request_done(client, &request->common);
    /* A scope that was cancelled gives 0: it was the client's close that did it. */
    return inside < 0 && r == 0 ? inside : r;
}

static void
request_finish(struct request *request)
{
    struct uco_http_response *result = &request->response->result;

    request->response->url = request->url;
    request->url = NULL;
    result->url = request->response->url;
    result->text = result->size > 0 ? request->response->body : "";
}

static int
request_get(struct request *request, const char *url, uco_http_response **response)
{
    char *asked = uco__http_url_join(request->client->options.base_url, url);
    int r = -ENOMEM;

    request->url = uco__string_copy(asked);
    request->response = uco__http_response_new(request->client->options.max_body);
    if (request->url != NULL && request->response != NULL)
        r = request_run_scoped(request);
    request_explain(request, asked != NULL ? asked : url, r);
    if (r == 0) {
        request_finish(request);
        *response = &request->response->result;
    } else {
        uco_http_response_free((uco_http_response *) request->response);
    }
    uco__http_origin_done(&request->origin);
    uco__http_origin_done(&request->first);
    uco__free(request->url);
    uco__free(asked);
    return r;
}

int
uco_http_get(uco_http_client *c, const char *url, uco_http_response **response)
{
    struct request request = {.client = c};
    int r;

    if (response != NULL)
        *response = NULL;
    request.task = uco__task_current(&r);
    if (request.task == NULL)
        return uco__misuse(r, "uco_http_get: not in a coroutine");
    if (c == NULL || url == NULL || response == NULL)
        return uco__misuse(-EINVAL, "uco_http_get: the client, the URL or the response is NULL");
    if (c->loop != uco_get_running_loop())
        return uco__misuse(-EPERM, "uco_http_get: another loop's client");
    uco__timer_init(&request.silence, silence_fire);
    r = c->closing ? -ECANCELED : uco__checkpoint();
    if (r == 0)
        return request_get(&request, url, response);
    request_explain(&request, url, r);
    return r;
}
