/* SPDX-License-Identifier: MIT */

/*
 * Easy handles.
 *
 * 1. One that is kept has the client's options and nothing of a request's, but what `struct
 *    uco__http_handle` says.
 */

#include "http/handle.h"

#include "base/system.h"
#include "http/client.h"
#include "http/options.h"

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
    uco__free(handle);
}

struct uco__http_handle *
uco__http_handle_take(struct uco_http_client *client)
{
    struct uco__http_handle *handle;

    if (client->idle_count > 0) {
        handle = client->idle[--client->idle_count];
        handle->words[0] = '\0';
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

/* Takes back what most requests set. None of this needs memory, as curl_easy_reset() does, which
 * says nothing when there is none. */
static void
handle_undo(struct uco_http_client *client, struct uco__http_handle *handle)
{
    CURL *easy = handle->easy;

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

    if (handle->spoilt || !client->reuses || client->idle_count == UCO__HTTP_IDLE_MAX ||
        client->closing)
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
