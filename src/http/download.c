/* SPDX-License-Identifier: MIT */

/*
 * Downloads.
 *
 * 1. What stands in the part is always the beginning of one version of the server's file. Where it
 *    is not sure that an answer goes on with that version, the file is asked for from its
 *    beginning.
 * 2. A request is for all of the file, or for what is missing (Range), and then If-Range says of
 *    which version. uco_http_stream() retries until there is the head of an answer; an answer that
 *    breaks off afterwards is this file's affair.
 * 3. One buffer is filled while the other is written.
 * 4. All of it is in one scope, whose deadline is the request's timeout; what must happen whatever
 *    becomes of it is in a shield.
 */

#include "base/system.h"
#include "core/report.h"
#include "http/client.h"
#include "http/error.h"
#include "http/options.h"
#include "http/part.h"
#include "http/retry.h"
#include "http/writer.h"
#include "task/task.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uco/http/download.h>
#include <uco/scope.h>
#include <uco/task.h>

#define EARLIER_SIZE ((size_t) 256 * 1024) /* bytes that are read at once */
#define WHY_MAX 128                        /* bytes */

/* What an answer was good for. */
enum {
    DOWNLOAD_WHOLE, /* the part is the whole file */
    DOWNLOAD_BODY,  /* its body is to be received */
    DOWNLOAD_AGAIN, /* something is still to be asked for */
};

struct download {
    struct uco__http_guest guest; /* of the client's, which stays as long as it has one */
    uco_scope scope;              /* around all of it */
    bool scoped;                  /* it is open */
    uco_http_client *client;
    struct uco__task *task;
    const char *url;
    const uco_http_download_options *options;
    const uco_http_request_options *asked;
    uco_http_download_result result;
    struct uco__http_part part;
    struct uco__http_writer writer;
    uint64_t earlier;  /* bytes of the part that an earlier call has brought */
    uint64_t received; /* bytes of the file that have come, written or not */
    uint64_t expected; /* bytes of the file that are there at the end of the present body */
    size_t max;        /* bytes of the file */
    bool ranged;       /* the present request asks for the rest */
    bool broken_off;   /* the body did: another attempt may bring the rest */
    int left;          /* attempts */
    const char **headers;
    size_t headers_size; /* without those of one request */
    char range[24];
    char if_range[UCO__HTTP_VALIDATOR_MAX + 16];
    char why[WHY_MAX]; /* it failed, where that is not the request's affair */
};

/* --- what the user is told --- */

static const char cannot_write[] = "the file could not be written";

/* The first reason is the reason. */
static int
download_fail(struct download *download, int error, const char *why)
{
    if (download->why[0] == '\0' && error != -ECANCELED)
        snprintf(download->why, WHY_MAX, "%s", why);
    return error;
}

static void
download_tell(const struct download *download)
{
    int64_t size = download->part.version.size;

    if (download->options->progress != NULL)
        download->options->progress(download->received, size > 0 ? (uint64_t) size : 0,
                                    download->options->progress_arg);
}

static int
download_inspect(struct download *download, const void *data, size_t size)
{
    int r;

    if (download->options->inspect == NULL)
        return 0;
    r = download->options->inspect(data, size, download->options->inspect_arg);
    return r < 0 ? download_fail(download, r, "inspect") : 0;
}

/* What comes next is the file's beginning. */
static int
download_inspect_anew(struct download *download)
{
    return download_inspect(download, NULL, 0);
}

/* What an earlier call has brought. */
static int
download_inspect_earlier(struct download *download)
{
    char *buf;
    int r;

    if (download->options->inspect == NULL || download->part.size == 0)
        return 0;
    buf = uco__allocate(EARLIER_SIZE);
    if (buf == NULL)
        return -ENOMEM;
    r = download_inspect_anew(download);
    for (uint64_t at = 0; r == 0 && at < download->part.size;) {
        uint64_t rest = download->part.size - at;
        ssize_t n = uco__http_part_read(&download->part, buf,
                                        rest < EARLIER_SIZE ? (size_t) rest : EARLIER_SIZE, at);

        if (n > 0)
            r = download_inspect(download, buf, (size_t) n);
        else
            r = download_fail(download, n < 0 ? (int) n : -EIO, "the part could not be read");
        at += (uint64_t) n;
    }
    uco__free(buf);
    return r;
}

/* --- a request --- */

static bool
header_is(const char *header, const char *name)
{
    return uco__http_header_same_name(name, header);
}

/* The user's headers, and ours; room for one more, and the end. */
static int
download_set_headers(struct download *download)
{
    const char *const *given = download->asked->headers;
    bool encoding = false;
    size_t count = 0;

    while (given != NULL && given[count] != NULL)
        count++;
    download->headers = uco__allocate((count + 3) * sizeof *download->headers);
    if (download->headers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        encoding = encoding || header_is(given[i], "Accept-Encoding:");
        if (!header_is(given[i], "Range:") && !header_is(given[i], "If-Range:"))
            download->headers[download->headers_size++] = given[i];
    }
    if (!encoding)
        download->headers[download->headers_size++] = "Accept-Encoding: identity";
    return 0;
}

static int
download_ask(struct download *download, uco_http_response **response)
{
    const uco_http_request_options *asked = download->asked;
    const struct uco__http_part *part = &download->part;
    uco_http_request_options request = {
        .url = download->url,
        .headers = download->headers,
        .timeout = UCO_FOREVER, /* there is a scope */
        .retries = download->left,
        .params = asked->params,
        .user = asked->user,
        .password = asked->password,
        .token = asked->token,
        .auth = asked->auth,
        .max_body = download->max,
        .max_redirects = asked->max_redirects,
        .no_decompression = true,
    };

    download->ranged = part->size > 0;
    if (download->ranged) {
        snprintf(download->range, sizeof download->range, "%llu-", (unsigned long long) part->size);
        snprintf(download->if_range, sizeof download->if_range, "If-Range: %s",
                 part->version.validator);
        request.range = download->range;
    }
    download->headers[download->headers_size] = download->ranged ? download->if_range : NULL;
    download->client->attempts = 0; /* a request that does not begin leaves it alone */
    return uco_http_stream(download->client, &request, response);
}

/* --- an answer --- */

/* The body is the file, from its beginning. */
static int
download_begin(struct download *download, const uco_http_response *response)
{
    struct uco__http_version version;
    int r;

    uco__http_version_init(&version, response);
    if (version.size > 0 && (uint64_t) version.size > download->max)
        return download_fail(download, -EMSGSIZE, "the file is larger than max_body");
    r = uco__http_part_begin(&download->part, &version);
    if (r < 0)
        return download_fail(download, r, cannot_write);
    download->earlier = 0;
    download->expected = version.size >= 0 ? (uint64_t) version.size : UINT64_MAX;
    r = download_inspect_anew(download);
    return r < 0 ? r : DOWNLOAD_BODY;
}

/* What there is, is of no use. */
static int
download_start_over(struct download *download)
{
    uco__http_part_forget(&download->part);
    return DOWNLOAD_AGAIN;
}

/* The body is a part of the file: the one that was asked for? */
static int
download_go_on(struct download *download, const uco_http_response *response)
{
    struct uco__http_version *version = &download->part.version;
    struct uco__http_content_range range;

    if (!uco__http_content_range_parse(&range, uco_http_header(response, "Content-Range")) ||
        range.first < 0 || (uint64_t) range.first != download->part.size ||
        !uco__http_version_fits(version, response, range.size))
        return download_start_over(download);
    if (version->size < 0)
        version->size = range.size;
    if (version->size < 0 || range.last >= version->size)
        return download_start_over(download); /* nothing would tell when it is whole */
    if ((uint64_t) version->size > download->max)
        return download_fail(download, -EMSGSIZE, "the file is larger than max_body");
    download->expected = (uint64_t) range.last + 1;
    return DOWNLOAD_BODY;
}

/* There is no rest to send: because there is all of it, or because the file is shorter now. */
static int
download_without_rest(struct download *download, const uco_http_response *response)
{
    struct uco__http_content_range range;

    if (uco__http_content_range_parse(&range, uco_http_header(response, "Content-Range")) &&
        range.first < 0 && range.size >= 0 && (uint64_t) range.size == download->part.size &&
        uco__http_version_fits(&download->part.version, response, range.size))
        return download->part.size <= download->max
                   ? DOWNLOAD_WHOLE
                   : download_fail(download, -EMSGSIZE, "the file is larger than max_body");
    return download_start_over(download);
}

static int
download_judge(struct download *download, const uco_http_response *response)
{
    switch (response->status) {
    case 200:
    case 203:
        return download_begin(download, response);
    case 206:
        if (download->ranged)
            return download_go_on(download, response);
        break;
    case 416:
        if (download->ranged)
            return download_without_rest(download, response);
        break;
    default:
        break;
    }
    snprintf(download->why, WHY_MAX, "the server answered %ld", response->status);
    switch (response->status) {
    case 404:
    case 410:
        return -ENOENT;
    case 401:
    case 403:
    case 407:
        return -EACCES;
    default:
        return -EPROTO;
    }
}

/* --- a body --- */

/* Whether another attempt may do better. */
static bool
error_is_transient(int error)
{
    static const int lasting[] = {-ECANCELED, -ENOMEM, -EMSGSIZE, -EINVAL, -EPERM, -EBUSY};

    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++) {
        if (error == lasting[i])
            return false;
    }
    return true;
}

static int
download_break_off(struct download *download, int error)
{
    download->broken_off = error_is_transient(error);
    if (error != -ECANCELED)
        snprintf(download->why, WHY_MAX, "the body broke off after %llu bytes",
                 (unsigned long long) download->received);
    return error;
}

/* A piece of the body: 1; 0 at the end, or an error. */
static int
download_take(struct download *download, uco_http_response *response)
{
    char *data;
    ssize_t n = uco__http_writer_room(&download->writer, &data);
    int r;

    if (n < 0)
        return (int) n;
    n = uco_http_read(response, data, (size_t) n);
    if (n < 0)
        return download_break_off(download, (int) n);
    if (n == 0)
        return 0;
    if ((uint64_t) n > download->expected - download->received)
        return download_fail(download, -EPROTO, "the server sent more than it announced");
    if ((uint64_t) n > download->max - download->received)
        return download_fail(download, -EMSGSIZE, "the file is larger than max_body");
    r = download_inspect(download, data, (size_t) n);
    if (r < 0)
        return r;
    download->received += (uint64_t) n;
    download_tell(download);
    r = uco__http_writer_add(&download->writer, (size_t) n);
    return r < 0 ? download_fail(download, r, cannot_write) : 1;
}

/* The answer has ended as it should. */
static int
download_look_at_end(struct download *download)
{
    int64_t size = download->part.version.size;

    if (download->expected != UINT64_MAX && download->received < download->expected)
        return download_break_off(download, -EPROTO);
    if (size >= 0 && download->received < (uint64_t) size)
        return DOWNLOAD_AGAIN; /* that was less than was asked for */
    return DOWNLOAD_WHOLE;
}

static int
download_receive(struct download *download, uco_http_response *response)
{
    int r = 1, written;

    download->received = download->part.size;
    while (r > 0)
        r = download_take(download, response);
    written = uco__http_writer_flush(&download->writer);
    if (written < 0 && (r == 0 || download->broken_off)) {
        download->broken_off = false;
        download->why[0] = '\0';
        return download_fail(download, written, cannot_write);
    }
    return r < 0 ? r : download_look_at_end(download);
}

/* --- all of it --- */

/* One request, and what it brings. */
static int
download_attempt(struct download *download)
{
    uco_http_response *response;
    int r;

    download->why[0] = '\0';
    download->broken_off = false;
    r = download_ask(download, &response);
    download->result.attempts += download->client->attempts;
    if (r < 0)
        return r;
    download->result.status = response->status;
    download->left -= response->attempts - 1;
    r = download_judge(download, response);
    if (r == DOWNLOAD_BODY)
        r = download_receive(download, response);
    uco_http_response_free(response);
    return r;
}

/* Until the part is the whole file. */
static int
download_complete(struct download *download)
{
    int r;

    for (;;) {
        r = download_attempt(download);
        if (r == DOWNLOAD_WHOLE)
            return 0;
        if (r < 0) {
            if (!download->broken_off || download->left <= 0)
                return r;
            download->left--;
            r = uco_sleep(uco__http_retry_delay(download->client, download->result.attempts - 1));
        }
        if (r < 0)
            return r;
        if (download->part.version.validator[0] == '\0')
            uco__http_part_forget(&download->part);
    }
}

static int
download_run(struct download *download)
{
    const uco_http_download_options *options = download->options;
    int r = uco__http_part_open(&download->part);

    if (r < 0)
        return download_fail(download, r, "the file could not be opened");
    /* An earlier attempt has brought all of it, and did not come to its end: the last byte is asked
     * for once more, since not each server says so when nothing is missing. */
    if (download->part.size > 0 && (int64_t) download->part.size == download->part.version.size)
        download->part.size--;
    download->earlier = download->part.size;
    download->received = download->part.size;
    r = download_inspect_earlier(download);
    if (r == 0)
        r = download_complete(download);
    if (r < 0)
        return r;
    download->part.version.size = (int64_t) download->part.size;
    download_tell(download);
    if (options->verify != NULL)
        r = options->verify(download->part.size, options->inspect_arg);
    if (r < 0) {
        download->part.broken = r != -ECANCELED;
        return download_fail(download, r, "verify");
    }
    r = uco__http_part_finish(&download->part);
    return r < 0 ? download_fail(download, r, "the file could not be put into its place") : 0;
}

/* In a scope that the timeout, or the client's close, ends. */
static int
download_run_scoped(struct download *download)
{
    double timeout = download->asked->timeout > 0 ? download->asked->timeout : UCO_FOREVER;
    uco_http_client *client = download->client;
    int r = uco_scope_open(&download->scope, timeout);
    int inside;

    if (r < 0)
        return r;
    download->scoped = true;
    uco__http_client_add_guest(client, &download->guest);
    inside = download_run(download);
    download->scoped = false;
    r = (int) uco_scope_close(&download->scope, inside);
    if (inside != -ECANCELED)
        return r;
    if (r == -ETIMEDOUT)
        download_fail(download, r, "it took longer than the timeout");
    else if (client->closing)
        snprintf(download->why, WHY_MAX, "the client was closed");
    /* A scope that was cancelled gives 0: it was the client's close that did it. */
    return r == 0 ? inside : r;
}

static void
download_leave(struct uco__http_guest *guest)
{
    struct download *download = UCO__CONTAINER(guest, struct download, guest);

    if (download->scoped)
        uco_scope_cancel(&download->scope);
}

static int
download_do(struct download *download)
{
    uco_http_client *client = download->client;
    double began = uco_time();
    int r = download_set_headers(download);

    uco__http_explain_words(download->task, download->url, "", 0);
    if (r == 0)
        r = download_run_scoped(download);
    download->result.size = download->part.size;
    if (download->part.size > download->earlier)
        download->result.received = download->part.size - download->earlier;
    download->result.seconds = uco_time() - began;
    uco__http_part_close(&download->part, r < 0);
    /* The words of a request that has failed stay. */
    if (r == 0 || download->why[0] != '\0' || download->task->http_error == NULL)
        uco__http_explain_words(download->task, download->url, download->why, r);
    uco__http_writer_done(&download->writer);
    uco__free(download->headers);
    uco__http_client_remove_guest(client, &download->guest);
    return r;
}

static int
options_check(const uco_http_download_options *options, const uco_http_request_options *asked)
{
    if (isnan(asked->timeout) || asked->timeout < 0)
        return uco__misuse(-EINVAL, "uco_http_download: the timeout is negative, or not a number");
    if (asked->retries < 0)
        return uco__misuse(-EINVAL, "uco_http_download: retries is negative");
    if ((options->mode & ~(mode_t) 07777) != 0)
        return uco__misuse(-EINVAL, "uco_http_download: the mode is 0%o", (unsigned) options->mode);
    return 0;
}

static struct download *
download_new(uco_http_client *client, const char *url, const char *path,
             const uco_http_download_options *options, const uco_http_request_options *asked)
{
    struct download *download = uco__allocate(sizeof *download);
    int error;

    if (download == NULL)
        return NULL;
    uco__list_init(&download->guest.link);
    download->guest.close = download_leave;
    download->client = client;
    download->task = uco__task_current(&error);
    download->url = url;
    download->options = options;
    download->asked = asked;
    download->left = asked->retries;
    download->max = asked->max_body > 0 ? asked->max_body : client->options.max_body;
    download->part = (struct uco__http_part){
        .path = path,
        .resume = options->resume,
        .no_replace = options->no_replace,
        .no_sync = options->no_sync,
        .readable = options->resume && options->inspect != NULL,
        .mode = options->mode != 0 ? options->mode : 0666,
        .fd = -1,
    };
    uco__http_writer_init(&download->writer, &download->part);
    return download;
}

int
uco_http_download(uco_http_client *c, const char *url, const char *path,
                  const uco_http_download_options *options, uco_http_download_result *result)
{
    static const uco_http_download_options default_options;
    static const uco_http_request_options default_request;
    const uco_http_request_options *asked;
    struct download *download;
    int r;

    if (result != NULL)
        *result = (uco_http_download_result){0};
    if (options == NULL)
        options = &default_options;
    asked = options->request != NULL ? options->request : &default_request;
    r = uco__http_client_check(c, "uco_http_download");
    if (r < 0 && r != -ECANCELED)
        return r;
    if (url == NULL || path == NULL)
        return uco__misuse(-EINVAL, "uco_http_download: the URL or the path is NULL");
    if (r == 0)
        r = options_check(options, asked);
    if (r < 0)
        return r;
    download = download_new(c, url, path, options, asked);
    if (download == NULL)
        return -ENOMEM;
    r = download_do(download);
    if (result != NULL)
        *result = download->result;
    uco__free(download);
    return r;
}
