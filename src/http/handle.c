/* SPDX-License-Identifier: MIT */

/*
 * Easy handles.
 *
 * 1. One that is kept has the client's options and nothing of a request's, but what `struct
 *    uco__http_handle` says. Curl itself keeps more in it than its options: a header with a password
 *    that it could not send, the name in a "Host" header, whose cookies it takes, and how often it
 *    had to begin anew. So a handle is `spoilt` by a request that has failed, or has one of these.
 * 2. A line that continues a header curl before 8.1 appends to the last header it has seen, also
 *    when that was of the handle's last response, which is freed (curl's pull request 11103). So
 *    until a used handle has seen a header of this response, no such line gets there: it is an
 *    error, as it would be in a new handle. With CURLOPT_HEADER curl shows each line to the body's
 *    callback before it looks at it itself, and takes no for an answer; that option is set from a
 *    status line to the line behind it.
 */

#include "http/handle.h"

#include "base/system.h"
#include "http/client.h"
#include "http/options.h"

/* Curl's own 16 KiB take 2.5 times as long for large bodies. With the large one another quarter of
 * the time goes: what is read at once is acknowledged at once, and wakes the server once. */
#define BUFFER_SMALL (64L * 1024)
#define BUFFER_LARGE (512L * 1024)

/* curl looks through all addresses that it knows after each request, for those that are too old,
 * unless they never are: with a thousand hosts that costs more than the request. */
#define PRUNE_EVERY 100      /* requests */
#define ADDRESSES_LIFE 3600L /* seconds; each request brings those that it needs with it */

static CURLcode
handle_setup(struct uco_http_client *client, struct uco__http_handle *handle)
{
    CURL *easy = handle->easy;
    CURLcode code = uco__http_driver_prepare(&client->driver, easy);

    UCO__HTTP_SET(code, easy, CURLOPT_SHARE, client->share);
    UCO__HTTP_SET(code, easy, CURLOPT_ERRORBUFFER, handle->words);
    return code == CURLE_OK ? uco__http_options_apply(&client->options, easy) : code;
}

static void
handle_free(struct uco__http_handle *handle)
{
    curl_easy_cleanup(handle->easy);
    uco__http_place_unref(handle->place);
    uco__free(handle);
}

static struct uco__http_handle *
handle_find(struct uco_http_client *client)
{
    struct uco__http_handle *handle;

    if (client->idle_count > 0) {
        handle = client->idle[--client->idle_count];
        handle->words[0] = '\0';
        handle->guard = client->guards ? UCO__HTTP_GUARD_WAITS : UCO__HTTP_GUARD_OFF;
        return handle;
    }
    handle = uco__allocate(sizeof *handle);
    if (handle == NULL)
        return NULL;
    handle->easy = curl_easy_init();
    if (handle->easy != NULL && handle_setup(client, handle) == CURLE_OK)
        return handle;
    handle_free(handle);
    return NULL;
}

struct uco__http_handle *
uco__http_handle_take(struct uco_http_client *client)
{
    struct uco__http_handle *handle = handle_find(client);

    if (handle == NULL || ++client->taken % PRUNE_EVERY != 0)
        return handle;
    handle->prunes =
        curl_easy_setopt(handle->easy, CURLOPT_DNS_CACHE_TIMEOUT, ADDRESSES_LIFE) == CURLE_OK;
    return handle;
}

CURLcode
uco__http_handle_set_buffer(struct uco__http_handle *handle, bool large)
{
    long size = large ? BUFFER_LARGE : BUFFER_SMALL;
    CURLcode code = CURLE_OK;

    if (size != handle->buffer)
        code = curl_easy_setopt(handle->easy, CURLOPT_BUFFERSIZE, size);
    handle->buffer = code == CURLE_OK ? size : 0;
    return code;
}

/* The text is set all the same: without it 7.88 makes one from the parts. From 8.14 on it is
 * forgotten when parts are set or taken back. */
CURLcode
uco__http_handle_set_url(struct uco__http_handle *handle, struct uco_http_client *client,
                         const char *url)
{
    struct uco__http_place *place = uco__http_places_get(&client->places, url);
    struct uco__http_place *old = handle->place;
    CURLcode code = CURLE_OK;

    if (place != NULL && place == old) {
        uco__http_place_unref(place);
        return code;
    }
    if (place == NULL && old != NULL)
        code = curl_easy_setopt(handle->easy, CURLOPT_CURLU, NULL);
    UCO__HTTP_SET(code, handle->easy, CURLOPT_URL, url);
    if (place != NULL)
        UCO__HTTP_SET(code, handle->easy, CURLOPT_CURLU, place->parts);
    handle->place = place;
    handle->spoilt |= code != CURLE_OK;
    uco__http_place_unref(old);
    return code;
}

static void
handle_guard(struct uco__http_handle *handle, enum uco__http_guard guard)
{
    bool shows = guard == UCO__HTTP_GUARD_LOOKS;

    if (shows != (handle->guard == UCO__HTTP_GUARD_LOOKS || handle->guard == UCO__HTTP_GUARD_SHOWN))
        curl_easy_setopt(handle->easy, CURLOPT_HEADER, (long) shows);
    handle->guard = guard;
}

void
uco__http_handle_head(struct uco__http_handle *handle, const char *line, bool status)
{
    if (handle->guard == UCO__HTTP_GUARD_OFF)
        return;
    if (status)
        handle_guard(handle, UCO__HTTP_GUARD_LOOKS);
    else if (line[0] == '\r' || line[0] == '\n') /* a head without headers: there may be another */
        handle_guard(handle, UCO__HTTP_GUARD_WAITS);
    else
        handle_guard(handle, UCO__HTTP_GUARD_OFF);
}

bool
uco__http_handle_admits(struct uco__http_handle *handle, const char *line)
{
    bool first = handle->guard == UCO__HTTP_GUARD_LOOKS; /* long ones come in pieces */

    handle->guard = UCO__HTTP_GUARD_SHOWN;
    return !first || (line[0] != ' ' && line[0] != '\t');
}

/* Takes back what most requests set. None of this needs memory, as curl_easy_reset() does, which
 * says nothing when there is none. */
static void
handle_undo(struct uco_http_client *client, struct uco__http_handle *handle)
{
    CURL *easy = handle->easy;

    handle_guard(handle, UCO__HTTP_GUARD_OFF);
    if (handle->resolve)
        curl_easy_setopt(easy, CURLOPT_RESOLVE, NULL);
    if (handle->headers != client->headers && handle->headers != client->headers_abroad) {
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL); /* they are about to go */
        handle->headers = NULL;
    }
    if (handle->method) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) -1);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
        curl_easy_setopt(easy, CURLOPT_NOBODY, 0L);
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    if (handle->login) {
        curl_easy_setopt(easy, CURLOPT_USERNAME, NULL);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, NULL);
    }
    if (handle->prunes)
        curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
    handle->prunes = false;
    handle->resolve = false;
    handle->method = false;
    handle->login = false;
}

/* curl forgets no error of the system's, and would tell it again in another request that fails for
 * another reason: such a handle is not kept. */
static bool
handle_is_clean(struct uco_http_client *client, const struct uco__http_handle *handle)
{
    long error = 0;

    if (handle->spoilt || client->idle_count == UCO__HTTP_IDLE_MAX || client->closing)
        return false;
    curl_easy_getinfo(handle->easy, CURLINFO_OS_ERRNO, &error);
    return error == 0;
}

void
uco__http_handle_give(struct uco_http_client *client, struct uco__http_handle *handle)
{
    if (!handle_is_clean(client, handle)) {
        handle_free(handle);
        return;
    }
    handle_undo(client, handle);
    client->idle[client->idle_count++] = handle;
}

void
uco__http_handles_done(struct uco_http_client *client)
{
    while (client->idle_count > 0)
        handle_free(client->idle[--client->idle_count]);
}
