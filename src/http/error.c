/* SPDX-License-Identifier: MIT */

/*
 * Errors.
 *
 * 1. The words of a task's last request are the task's (`http_error`), and freed with it.
 */

#include "http/error.h"

#include "base/system.h"
#include "http/exchange.h"
#include "http/handle.h"
#include "task/task.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 1024 /* bytes of what uco_http_error() tells */
#define URL_MAX 300   /* of those, for each URL */

/* What the system said when curl could not go on, where it said something that a caller can use. */
static int
system_error(const struct uco__http_exchange *exchange, int otherwise)
{
    long error = 0;

    if (exchange->transfer.socket_error < 0)
        return exchange->transfer.socket_error;
    curl_easy_getinfo(exchange->transfer.easy, CURLINFO_OS_ERRNO, &error);
    if (error == ECONNRESET || error == EPIPE)
        return (int) -error;
    if (error == exchange->old_error || error <= 0 || error > UCO_MAX_ERROR ||
        error == EINPROGRESS || error == EAGAIN || error == EINTR)
        return otherwise;
    return (int) -error;
}

int
uco__http_transfer_error(struct uco__http_exchange *exchange)
{
    /* What may go well at another time: the way there failed, or the answer broke off. */
    exchange->transient = true;
    switch (exchange->transfer.code) {
    case CURLE_COULDNT_CONNECT:
        return system_error(exchange, -ECONNREFUSED);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return system_error(exchange, -EPROTO);
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -EPROTO;
    case CURLE_NO_CONNECTION_AVAILABLE:
        return -EAGAIN;
    default:
        break;
    }
    exchange->transient = false;
    switch (exchange->transfer.code) {
    case CURLE_OK:
        return 0;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -ENOENT;
    case CURLE_INTERFACE_FAILED:
        return system_error(exchange, -EADDRNOTAVAIL);
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_FILESIZE_EXCEEDED:
        return -EMSGSIZE;
    case CURLE_SEND_FAIL_REWIND:
        return -ESPIPE;
    case CURLE_NOT_BUILT_IN:
        return -ENOSYS;
    default:
        return -EPROTO; /* of TLS, of HTTP, of what was compressed */
    }
}

/* The room for a task's words, emptied; NULL: there is nothing to say, or no memory. */
static char *
words_begin(struct uco__task *task, const char *url, int error)
{
    if (task->http_error == NULL && error == 0)
        return NULL;
    uco__free(task->http_error);
    task->http_error = error != 0 ? uco__allocate(TEXT_MAX) : NULL;
    if (task->http_error != NULL)
        uco__http_url_show(task->http_error, URL_MAX, url);
    return task->http_error;
}

static void
words_end(char *text, size_t used, const char *why, int error)
{
    snprintf(text + used, TEXT_MAX - used, ": %s%s%s", why, why[0] != '\0' ? ": " : "",
             uco_strerror(error));
}

void
uco__http_explain_words(struct uco__task *task, const char *url, const char *why, int error)
{
    char *text = words_begin(task, url, error);

    if (text != NULL)
        words_end(text, strlen(text), why, error);
}

void
uco__http_explain(struct uco__http_exchange *exchange, const char *asked, int error)
{
    const char *why = exchange->why != NULL     ? exchange->why
                      : exchange->words != NULL ? exchange->words
                                                : "";
    char *text = words_begin(exchange->task, asked, error);
    size_t used;

    if (text == NULL)
        return;
    used = strlen(text);
    if (exchange->redirects > 0) {
        used += (size_t) snprintf(text + used, TEXT_MAX - used, ", redirected to ");
        uco__http_url_show(text + used, URL_MAX, exchange->url);
        used += strlen(text + used);
    }
    if (exchange->attempt > 0)
        used +=
            (size_t) snprintf(text + used, TEXT_MAX - used, ", attempt %d", exchange->attempt + 1);
    words_end(text, used, why, error);
}

const char *
uco_http_error(const uco_http_client *c)
{
    int error;
    const struct uco__task *task = uco__task_current(&error);

    (void) c; /* which client it was does not matter: it was this task's last request */
    return task != NULL && task->http_error != NULL ? task->http_error : "";
}
