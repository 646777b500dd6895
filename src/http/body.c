/* SPDX-License-Identifier: MIT */

/*
 * Bodies of requests.
 *
 * 1. A source is never asked for more than is left of the announced size, nor again after its end.
 * 2. The loop's thread waits for no disk: files are the pool's to open, and to read what is not in
 *    memory. A FIFO is opened whether somebody writes to it or not, and is then polled: a thread of
 *    the pool that waits for its writer could not be called back by a cancellation.
 * 3. What a body holds (an open file, a multipart) is held from its init to its done.
 */

#include "http/body.h"

#include "base/system.h"
#include "core/report.h"
#include "http/multipart.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <uco/file.h>
#include <uco/io.h>

/* --- files --- */

/* Files of /proc are regular and have a size of zero, whatever can be read from them. */
static int
file_measure_empty(struct uco__http_file *file)
{
    char byte;
    ssize_t r = uco_pread(file->fd, &byte, 1, 0);

    if (r > 0)
        file->size = -1;
    return r < 0 ? (int) r : 0;
}

static int
file_measure(struct uco__http_file *file)
{
    struct stat status;
    long r = UCO__SYSTEM(stat, fstat(file->fd, &status));

    if (r < 0)
        return (int) r;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    file->regular = S_ISREG(status.st_mode);
    file->unwritten = S_ISFIFO(status.st_mode);
    file->size = file->regular ? status.st_size : -1;
    return file->size == 0 ? file_measure_empty(file) : 0;
}

int
uco__http_file_open(struct uco__http_file *file, const char *path)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY;
    int fd = uco_open(path, flags | O_NONBLOCK, 0);
    int r;

    if (fd == -EAGAIN) /* somebody has a lease (fcntl(2)) on it, and is now asked to end that */
        fd = uco_open(path, flags, 0);
    if (fd < 0)
        return fd;
    *file = (struct uco__http_file){.open = true, .fd = fd};
    r = file_measure(file);
    if (r < 0)
        uco__http_file_close(file);
    return r;
}

ssize_t
uco__http_file_read(struct uco__http_file *file, void *buf, size_t n, long long position)
{
    int r;

    if (file->regular)
        return uco_pread(file->fd, buf, n, position);
    /* Before its first writer a FIFO reads as if it had ended; poll knows better. */
    if (file->unwritten) {
        r = uco_poll(file->fd, POLLIN, UCO_FOREVER);
        if (r < 0)
            return r;
        file->unwritten = false;
    }
    return uco_read(file->fd, buf, n);
}

void
uco__http_file_close(struct uco__http_file *file)
{
    if (file->open)
        (void) uco_close(file->fd); /* nothing was written that could be lost */
    *file = (struct uco__http_file){0};
}

/* --- what the options say --- */

static int
body_check(const uco_http_request_options *request)
{
    bool sized = request->body != NULL || request->read_body != NULL ||
                 request->body_file != NULL || request->body_stream != NULL;
    int bodies = (request->body != NULL) + (request->read_body != NULL) +
                 (request->body_file != NULL) + (request->body_stream != NULL) +
                 (request->form != NULL) + (request->multipart != NULL);

    if (bodies > 1)
        return uco__misuse(-EINVAL, "uco_http_request: %d bodies", bodies);
    if (request->body_size > 0 && !sized)
        return uco__misuse(-EINVAL, "uco_http_request: body_size without what it is the size of");
    if (request->body_size > SSIZE_MAX)
        return uco__misuse(-EINVAL, "uco_http_request: body_size is %zu", request->body_size);
    return 0;
}

static void
body_init_bytes(struct uco__http_body *body, const void *data, size_t size)
{
    body->kind = UCO__HTTP_BYTES;
    body->data = data;
    body->size = (long long) size;
}

static int
body_init_form(struct uco__http_body *body, const char *const *form)
{
    int r;

    body->text = uco__http_encode(form, &r);
    if (r == -EINVAL)
        return uco__misuse(-EINVAL, "uco_http_request: the form's last name has no value");
    if (r < 0)
        return r;
    body_init_bytes(body, body->text, strlen(body->text));
    body->type = "application/x-www-form-urlencoded";
    return 0;
}

static int
body_init_multipart(struct uco__http_body *body, uco_http_multipart *multipart)
{
    int r = uco__http_multipart_begin(multipart);

    if (r < 0)
        return r;
    body->multipart = multipart;
    body->kind = UCO__HTTP_SOURCE;
    body->type = uco__http_multipart_type(multipart);
    body->size = -1;
    body->rewindable = false;
    return 0;
}

static void
body_init_source(struct uco__http_body *body, size_t size)
{
    body->kind = UCO__HTTP_SOURCE;
    body->size = size > 0 ? (long long) size : -1;
    body->rewindable = false;
}

int
uco__http_body_plan(struct uco__http_body *body, const uco_http_request_options *request)
{
    int r = body_check(request);

    *body = (struct uco__http_body){.request = request, .rewindable = true};
    if (r < 0)
        return r;
    if (request->form != NULL)
        return body_init_form(body, request->form);
    if (request->multipart != NULL)
        return body_init_multipart(body, request->multipart);
    if (request->body != NULL)
        body_init_bytes(body, request->body, request->body_size);
    else if (request->read_body != NULL || request->body_file != NULL ||
             request->body_stream != NULL)
        body_init_source(body, request->body_size);
    return 0;
}

static int
body_open_file(struct uco__http_body *body)
{
    int r = uco__http_file_open(&body->file, body->request->body_file);

    if (r < 0)
        return r;
    if (body->size < 0)
        body->size = body->file.size;
    body->rewindable = body->file.regular;
    return 0;
}

int
uco__http_body_open(struct uco__http_body *body)
{
    int r = 0;

    if (body->open)
        return 0;
    if (body->multipart != NULL)
        r = uco__http_multipart_measure(body->multipart, &body->size, &body->rewindable);
    else if (body->request->body_file != NULL)
        r = body_open_file(body);
    body->open = r == 0;
    return r;
}

void
uco__http_body_done(struct uco__http_body *body)
{
    if (body->multipart != NULL)
        uco__http_multipart_end(body->multipart);
    uco__http_file_close(&body->file);
    uco__free(body->text);
    *body = (struct uco__http_body){0};
}

/* --- reading --- */

static ssize_t
callback_read(const uco_http_request_options *request, void *buf, size_t n)
{
    ssize_t r = request->read_body(buf, n, request->read_arg);

    if (r > 0 && (size_t) r > n)
        return uco__misuse(-EINVAL,
                           "read_body of an HTTP request was asked for %zu bytes at most "
                           "and returned %zd",
                           n, r);
    if (r < -UCO_MAX_ERROR)
        return uco__misuse(-EINVAL, "read_body of an HTTP request returned %zd, which is no error",
                           r);
    return r;
}

static ssize_t
source_read(struct uco__http_body *body, void *buf, size_t n)
{
    const uco_http_request_options *request = body->request;

    if (body->multipart != NULL)
        return uco__http_multipart_read(body->multipart, buf, n);
    if (body->file.open)
        return uco__http_file_read(&body->file, buf, n, body->position);
    if (request->body_stream != NULL)
        return uco_stream_read(request->body_stream, buf, n);
    return callback_read(request, buf, n);
}

ssize_t
uco__http_body_read(struct uco__http_body *body, void *buf, size_t n)
{
    ssize_t r;

    if (body->size >= 0 && (unsigned long long) (body->size - body->position) < n)
        n = (size_t) (body->size - body->position);
    if (n == 0)
        return 0;
    r = body->ended ? 0 : source_read(body, buf, n);
    if (r < 0 && body->request->read_body != NULL)
        body->failed = true;
    body->ended = r == 0;
    if (r > 0)
        body->position += r;
    return r == 0 && body->size >= 0 ? -EIO : r;
}

int
uco__http_body_rewind(struct uco__http_body *body)
{
    if (!body->rewindable)
        return body->position > 0 || body->failed ? -ESPIPE : 0;
    if (body->multipart != NULL)
        uco__http_multipart_rewind(body->multipart);
    body->position = 0;
    body->ended = false;
    return 0;
}
