/* SPDX-License-Identifier: MIT */

/*
 * Reading from a stream.
 *
 * 1. What has been received is delivered before the end or the error that came after it, and these
 *    stay: what is read once can be read again.
 * 2. A call that is cut short has taken nothing: it either has left its bytes in the buffer, or
 *    puts them back.
 * 3. While a reader is suspended the stream has no buffer but for bytes that it holds; of these,
 *    few lie in a small one.
 * 4. A buffer that was emptied by uco_stream_read_until() stays for its line until the next call.
 */

#include "base/system.h"
#include "core/dump.h"
#include "core/inflow.h"
#include "core/report.h"
#include "io/fd.h"
#include "io/stream.h"

#include <limits.h>
#include <string.h>
#include <uco/io.h>

/* From so many bytes on a read goes to the caller's memory, and not by a buffer: one copy less, and
 * as few system calls in all but long bursts. */
#define DIRECT_MIN ((size_t) 4096)
#define LIMIT_MAX ((size_t) 1 << 29)

/* --- the input buffer --- */

static void
input_free(struct uco_stream *s)
{
    uco__buffer_free(&s->pool->buffers, s->input);
    s->input = NULL;
}

/* Moves what there is to another buffer of the given size: 0 or -ENOMEM. */
static int
input_move(struct uco_stream *s, size_t size)
{
    struct uco__buffer *buffer = uco__buffer_new(&s->pool->buffers, size);

    if (buffer == NULL)
        return -ENOMEM;
    buffer->end = (uint32_t) uco__buffer_used(s->input);
    if (buffer->end > 0)
        memcpy(buffer->data, s->input->data + s->input->begin, buffer->end);
    input_free(s);
    s->input = buffer;
    return 0;
}

/* Makes room for more: 0 or -ENOMEM. */
static int
input_make_room(struct uco_stream *s)
{
    struct uco__buffer *input = s->input;
    size_t used = uco__buffer_used(input);

    if (input == NULL || input->capacity < UCO__BUFFER_SIZE)
        return input_move(s, UCO__BUFFER_SIZE);
    if (used == 0) {
        input->begin = 0;
        input->end = 0;
    }
    if (input->end < input->capacity)
        return 0;
    if (used > input->capacity / 2)
        return input_move(s, (size_t) input->capacity * 2);
    memmove(input->data, input->data + input->begin, used);
    input->begin = 0;
    input->end = (uint32_t) used;
    return 0;
}

/* Before a suspension that may be long. */
static void
input_settle(struct uco_stream *s)
{
    size_t used = uco__buffer_used(s->input);

    if (s->input != NULL && used == 0)
        input_free(s);
    else if (used > 0 && used <= UCO__BUFFER_SMALL && s->input->capacity > UCO__BUFFER_SMALL)
        (void) input_move(s, used); /* without memory it stays where it is */
}

static void
input_consume(struct uco_stream *s, size_t n)
{
    s->input->begin += (uint32_t) n;
    if (s->input->begin == s->input->end)
        input_free(s);
}

static size_t
input_take(struct uco_stream *s, void *buf, size_t n)
{
    size_t used = uco__buffer_used(s->input);

    if (n > used)
        n = used;
    if (n == 0)
        return 0;
    memcpy(buf, s->input->data + s->input->begin, n);
    input_consume(s, n);
    return n;
}

/* Bytes that were taken come back, to the front. */
static void
input_put_back(struct uco_stream *s, const void *data, size_t n)
{
    size_t used = uco__buffer_used(s->input);
    struct uco__buffer *buffer = n > 0 ? uco__buffer_new(&s->pool->buffers, n + used) : NULL;

    if (n == 0)
        return;
    if (buffer == NULL) {
        /* They are lost, so nobody may read on from after them. */
        input_free(s);
        s->read_error = -ENOMEM;
        return;
    }
    memcpy(buffer->data, data, n);
    if (used > 0)
        memcpy(buffer->data + n, s->input->data + s->input->begin, used);
    buffer->end = (uint32_t) (n + used);
    input_free(s);
    s->input = buffer;
}

/* --- receiving --- */

ssize_t
uco__stream_receive_raw(struct uco_stream *s, void *buf, size_t n)
{
    ssize_t r;
    int ready;

    if (s->socket) {
        r = uco__poller_receive(&s->loop->poller, s->fd, buf, n);
        if (r != -EOPNOTSUPP)
            return r;
    }
    do {
        r = uco__fd_recv_now(s->loop, s->fd, buf, n);
    } while (r == -EINTR);
    if (r != -EOPNOTSUPP || s->socket)
        return r;
    /* A terminal, or another that cannot be asked not to wait. */
    ready = uco__poll_now(s->fd, POLLIN);
    return ready > 0 ? uco__read_ready(s->fd, buf, n) : ready < 0 ? ready : -EAGAIN;
}

void
uco__stream_readable(struct uco__fd_wait *wait, int result)
{
    struct uco_stream *s = UCO__CONTAINER(wait, struct uco_stream, readable);

    if (s->reader != NULL)
        uco__wake(s->reader, result);
}

void
uco__stream_end_reader(struct uco_stream *s)
{
    uco__poller_unwait(&s->loop->poller, &s->readable);
    if (s->reader != NULL)
        uco__wake(s->reader, -EBADF);
}

struct reading {
    struct uco__wait wait;
    struct uco_stream *stream;
};

static enum uco__abort
reading_abort(struct uco__wait *wait)
{
    struct uco_stream *s = UCO__CONTAINER(wait, struct reading, wait)->stream;

    uco__poller_unwait(&s->loop->poller, &s->readable);
    return UCO__UNLINKED;
}

static bool
reading_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct reading reading;
    struct uco_stream stream;

    if (!UCO__DUMP_READ_AROUND(dump, &reading, wait, struct reading, wait) ||
        !UCO__DUMP_GET(dump, &stream, reading.stream))
        return false;
    uco__dump_text(dump, "a stream, ");
    uco__fd_describe(dump, stream.fd, POLLIN);
    return true;
}

static UCO__WAIT_KIND(wait_reading, "a stream to read from", reading_describe);

static int
wait_readable(struct uco_stream *s, struct uco__task *task)
{
    struct reading reading = {.stream = s};
    intptr_t r;

    if (s->closing)
        return -EBADF;
    r = uco__poller_wait(&s->loop->poller, &s->readable);
    if (r < 0)
        return (int) r;
    uco__wait_init(&reading.wait, &wait_reading, reading_abort);
    s->reader = &reading.wait;
    s->reading = true;
    uco__stream_suspend(s);
    r = uco__task_park_here(task, &reading.wait);
    s->reader = NULL;
    s->reading = false;
    uco__stream_resume(s);
    return r == UCO__INTERRUPTED ? -ECANCELED : s->closing ? -EBADF : (int) r;
}

int
uco__stream_wait(struct uco_stream *s)
{
    struct uco__task *task;
    int r = uco__stream_enter(s, &task, "a filter");

    if (r < 0)
        return r;
    return s->reading ? -EBUSY : wait_readable(s, task);
}

/* A regular file is read by the pool, if it is not in memory. */
static ssize_t
receive_file(struct uco_stream *s, void *buf, size_t n)
{
    ssize_t r;

    s->reading = true;
    uco__stream_suspend(s);
    r = uco_read(s->fd, buf, n);
    s->reading = false;
    uco__stream_resume(s);
    return s->closing ? -EBADF : r; /* who closes it does not wait for another suspension */
}

static ssize_t
receive(struct uco_stream *s, void *buf, size_t n)
{
    if (s->filter != NULL)
        return s->filter->operations->receive(s->filter, buf, n);
    return s->file ? receive_file(s, buf, n) : uco__stream_receive_raw(s, buf, n);
}

static ssize_t
receive_buffered(struct uco_stream *s)
{
    ssize_t r;

    if (s->filter == NULL && uco__poller_is_drained(&s->loop->poller, s->fd))
        return -EAGAIN; /* known without a buffer */
    r = input_make_room(s);
    if (r < 0)
        return r;
    r = receive(s, s->input->data + s->input->end, s->input->capacity - s->input->end);
    if (r > 0)
        s->input->end += (uint32_t) r;
    return r;
}

/* Errors of a moment, and of the caller's. */
static bool
error_passes(ssize_t error)
{
    return error == -ENOMEM || error == -ENOBUFS || error == -ECANCELED || error == -EFAULT;
}

/* The end (0), or an error, was received. */
static ssize_t
receive_ended(struct uco_stream *s, ssize_t r)
{
    /* An error is told once by the kernel, and a write may have heard it. */
    if (r == 0 && s->filter == NULL && s->write_error < 0 && s->write_error != -EPIPE)
        r = s->write_error;
    if (r == 0)
        s->at_end = true;
    else if (!error_passes(r))
        s->read_error = (int) r;
    input_settle(s);
    return r;
}

/* Suspends until something is received, by n bytes or more directly to buf, when nothing is
 * buffered; else into the buffer: how much, 0 at the end, or an error. */
static ssize_t
receive_some(struct uco_stream *s, struct uco__task *task, void *buf, size_t n)
{
    ssize_t r;

    do {
        if (s->read_error < 0)
            return s->read_error;
        if (s->at_end)
            return 0;
        r = n >= DIRECT_MIN ? receive(s, buf, n) : receive_buffered(s);
        if (UCO__LIKELY(r > 0))
            return r;
        if (r != -EAGAIN)
            return receive_ended(s, r);
        input_settle(s);
        r = wait_readable(s, task);
    } while (r == 0);
    return r;
}

/* --- the calls --- */

static int
read_enter(struct uco_stream *s, struct uco__task **task, const char *who)
{
    int r = uco__stream_enter(s, task, who);

    return UCO__UNLIKELY(r == 0 && s->reading) ? -EBUSY : r;
}

ssize_t
uco_stream_read(uco_stream *s, void *buf, size_t n)
{
    struct uco__task *task;
    ssize_t r = read_enter(s, &task, "uco_stream_read");

    if (r < 0)
        return r;
    if (buf == NULL && n > 0)
        return uco__misuse(-EINVAL, "uco_stream_read: the buffer is NULL");
    if (n == 0)
        return 0;
    if (uco__buffer_used(s->input) == 0) {
        r = receive_some(s, task, buf, n);
        if (r <= 0 || n >= DIRECT_MIN)
            return r;
    }
    return (ssize_t) input_take(s, buf, n);
}

ssize_t
uco_stream_read_exactly(uco_stream *s, void *buf, size_t n)
{
    struct uco__task *task;
    size_t done = 0;
    ssize_t r = read_enter(s, &task, "uco_stream_read_exactly");

    if (r < 0)
        return r;
    if ((buf == NULL && n > 0) || n > SSIZE_MAX)
        return uco__misuse(-EINVAL, "uco_stream_read_exactly: the buffer is NULL, or too large");
    while (done < n) {
        size_t left = n - done;

        /* Few bytes are waited for where they are; many go to the caller as they come. */
        if (left >= DIRECT_MIN || uco__buffer_used(s->input) >= left) {
            done += input_take(s, (char *) buf + done, left);
            left = n - done;
        }
        if (left == 0)
            break;
        r = receive_some(s, task, (char *) buf + done, left);
        if (r <= 0) {
            input_put_back(s, buf, done);
            return r < 0 ? r : -ENODATA;
        }
        if (left >= DIRECT_MIN)
            done += (size_t) r;
    }
    return (ssize_t) n;
}

/* The first n bytes of the buffer are the caller's until the next call. */
static ssize_t
read_line(struct uco_stream *s, size_t n, const char **line)
{
    *line = s->input->data + s->input->begin;
    s->input->begin += (uint32_t) n;
    return (ssize_t) n;
}

ssize_t
uco_stream_read_until(uco_stream *s, char delimiter, const char **line)
{
    struct uco__task *task;
    size_t seen = 0;
    ssize_t r = read_enter(s, &task, "uco_stream_read_until");

    if (r < 0)
        return r;
    if (line == NULL)
        return uco__misuse(-EINVAL, "uco_stream_read_until: line is NULL");
    for (;;) {
        size_t used = uco__buffer_used(s->input);
        size_t end = used < s->limit ? used : s->limit;
        const char *text = used > 0 ? s->input->data + s->input->begin : NULL;
        const char *found = end > seen ? memchr(text + seen, delimiter, end - seen) : NULL;

        if (found != NULL)
            return read_line(s, (size_t) (found - text) + 1, line);
        if (used >= s->limit)
            return -EMSGSIZE;
        seen = used;
        r = receive_some(s, task, NULL, 0);
        if (r < 0)
            return r;
        if (r == 0)
            return used > 0 ? read_line(s, used, line) : 0;
    }
}

ssize_t
uco_stream_read_line(uco_stream *s, const char **line)
{
    return uco_stream_read_until(s, '\n', line);
}

ssize_t
uco_stream_fill(uco_stream *s, size_t n, const void **data)
{
    struct uco__task *task;
    ssize_t r = read_enter(s, &task, "uco_stream_fill");

    if (r < 0)
        return r;
    if (data == NULL || n == 0)
        return uco__misuse(-EINVAL, "uco_stream_fill: data is NULL, or nothing is asked for");
    if (n > s->limit)
        return -EMSGSIZE;
    while (uco__buffer_used(s->input) < n) {
        r = receive_some(s, task, NULL, 0);
        if (r < 0)
            return r;
        if (r == 0)
            break;
    }
    n = uco__buffer_used(s->input);
    if (n > 0)
        *data = s->input->data + s->input->begin;
    return (ssize_t) n;
}

ssize_t
uco_stream_peek(uco_stream *s, const void **data)
{
    return uco_stream_fill(s, 1, data);
}

int
uco_stream_consume(uco_stream *s, size_t n)
{
    int r = uco__stream_check(s, "uco_stream_consume");

    if (r < 0)
        return r;
    if (s->reading)
        return -EBUSY;
    if (n > uco__buffer_used(s->input))
        return uco__misuse(-EINVAL, "uco_stream_consume: more than has been received");
    if (n > 0)
        input_consume(s, n);
    return 0;
}

int
uco_stream_set_limit(uco_stream *s, size_t limit)
{
    int r = uco__stream_check(s, "uco_stream_set_limit");

    if (r < 0)
        return r;
    if (limit == 0 || limit > LIMIT_MAX)
        return uco__misuse(-EINVAL, "uco_stream_set_limit: 0, or more than 512 MiB");
    s->limit = (uint32_t) limit;
    return 0;
}
