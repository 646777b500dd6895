/* SPDX-License-Identifier: MIT */

/*
 * Writing to a stream.
 *
 * 1. Bytes go out in the order of the calls: first what is queued (`output`), then what the waiting
 *    writes (`writers`) still have, from their callers' memory. While one waits, a new one waits
 *    behind it.
 * 2. While there is either, `writable` waits at the poller, or a writer is about to go on with the
 *    flush: the loop sends, without a task. Who takes away such a writer flushes in its place: the
 *    fd was not full, and so would not tell of room.
 * 3. Memory is bounded by the high-water mark: a write is queued only if it stays below, or its
 *    rest is at most the low-water mark. Without memory it waits instead. What a filter makes may be
 *    above by a piece: then the write waits, with nothing left of it.
 * 4. The first error of the fd is final: it ends all that wait, and what was queued is dropped. An
 *    error that comes before anything was taken is the caller's alone if it may pass.
 */

#include "base/system.h"
#include "core/dump.h"
#include "core/report.h"
#include "io/stream.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <uco/io.h>

/* Bytes sent from a writer's memory in one go of the loop; then others have their turn. */
#define FLUSH_MAX ((size_t) 512 * 1024)

#define WRITER_GO_ON 1 /* the writer's task is to go on with the flush itself */

struct drainer {
    struct uco__list link;
    struct uco__wait wait;
    const struct uco_stream *stream;
};

/* --- those who wait --- */

static struct uco__stream_writer *
first_writer(const struct uco_stream *s)
{
    return uco__list_empty(&s->writers)
               ? NULL
               : UCO__CONTAINER(s->writers.next, struct uco__stream_writer, link);
}

static void
writer_end(struct uco__stream_writer *writer, int result)
{
    uco__list_remove(&writer->link);
    writer->done = true;
    writer->result = result;
    uco__wake(&writer->wait, 0);
}

void
uco__stream_end_writers(struct uco_stream *s, int error)
{
    while (!uco__list_empty(&s->writers))
        writer_end(first_writer(s), error);
}

void
uco__stream_end_drainers(struct uco_stream *s, int result)
{
    while (!uco__list_empty(&s->drainers)) {
        struct drainer *drainer =
            UCO__CONTAINER(uco__list_pop_front(&s->drainers), struct drainer, link);

        uco__wake(&drainer->wait, result);
    }
}

/* Something has left the queue, or the list of writers. */
static void
stream_sent(struct uco_stream *s)
{
    if (uco__stream_all_sent(s))
        uco__stream_end_drainers(s, s->write_error);
}

/* The fd's error, or one that leaves a gap in what was sent. */
static int
stream_fail(struct uco_stream *s, int error)
{
    s->write_error = error;
    uco__poller_unwait(&s->loop->poller, &s->writable);
    uco__buffers_clear(&s->output, &s->pool->buffers);
    uco__stream_end_writers(s, error);
    uco__stream_end_drainers(s, error);
    return error;
}

/* --- sending --- */

/* One try: how much was taken, -EAGAIN, or an error. */
static ssize_t
stream_send(struct uco_stream *s, const void *data, size_t n)
{
    ssize_t r;
    int ready;

    do {
        r = uco__write_now(s->fd, data, n);
    } while (r == -EINTR);
    if (r != -EOPNOTSUPP || s->socket)
        return r;
    ready = uco__poll_now(s->fd, POLLOUT);
    return ready > 0 ? uco__write_ready(s->fd, data, n) : ready < 0 ? ready : -EAGAIN;
}

/* The loop will go on when there is room. */
static int
stream_arm(struct uco_stream *s)
{
    return s->writable.linked ? 0 : uco__poller_wait(&s->loop->poller, &s->writable);
}

/* Plain bytes of a filter's, until the queue is full: how many, or an error, which is final. */
static ssize_t
transmit(struct uco_stream *s, const char *data, size_t n)
{
    size_t taken = 0;

    while (taken < n && s->output.size <= s->high) {
        size_t slice = n - taken < UCO__STREAM_SLICE ? n - taken : UCO__STREAM_SLICE;
        ssize_t r = s->filter->operations->transmit(s->filter, data + taken, slice);

        if (r < 0)
            return s->write_error < 0 ? s->write_error : stream_fail(s, (int) r);
        taken += slice;
    }
    return (ssize_t) taken;
}

/* More is kept than a write may leave behind: a filter takes whole pieces. */
static bool
stream_is_above(const struct uco_stream *s)
{
    return s->filter != NULL && s->output.size > s->high;
}

/* So many bytes of the first writer's are taken. */
static void
writer_advance(struct uco__stream_writer *writer, size_t n)
{
    writer->data += n;
    writer->left -= n;
    if (writer->left == 0 && !stream_is_above(writer->stream))
        writer_end(writer, 0);
}

/* Sends what there is, until the fd takes no more: -EAGAIN; 0 when all is sent, WRITER_GO_ON when
 * it is too much at once, or an error. */
static int
flush_some(struct uco_stream *s)
{
    size_t budget = FLUSH_MAX;

    for (;;) {
        struct uco__stream_writer *writer = first_writer(s);
        ssize_t r;

        if (writer != NULL && budget == 0)
            return WRITER_GO_ON;
        if (writer != NULL && s->filter != NULL && s->output.size <= s->low) {
            r = transmit(s, writer->data, writer->left < budget ? writer->left : budget);
            if (r < 0)
                return (int) r;
            writer_advance(writer, (size_t) r);
            budget -= (size_t) r < budget ? (size_t) r : budget;
            continue;
        }
        if (s->output.size > 0) {
            const struct uco__buffer *first = s->output.first;

            r = stream_send(s, first->data + first->begin, uco__buffer_used(first));
            if (r > 0)
                uco__buffers_consume(&s->output, &s->pool->buffers, (size_t) r);
        } else if (writer != NULL) {
            r = stream_send(s, writer->data, writer->left);
            if (r > 0) {
                writer_advance(writer, (size_t) r);
                budget -= (size_t) r < budget ? (size_t) r : budget;
            }
        } else {
            return 0;
        }
        if (r < 0)
            return (int) r;
    }
}

/* Writers of whom little is left need not wait for that. */
static void
flush_admit(struct uco_stream *s)
{
    struct uco__stream_writer *writer;

    while (s->filter == NULL && (writer = first_writer(s)) != NULL &&
           s->output.size + writer->left <= s->low) {
        if (uco__buffers_append(&s->output, &s->pool->buffers, writer->data, writer->left) < 0)
            return; /* it waits on */
        writer_end(writer, 0);
    }
}

void
uco__stream_flush(struct uco_stream *s)
{
    int r = s->write_error < 0 ? s->write_error : flush_some(s);

    if (r == WRITER_GO_ON) {
        struct uco__stream_writer *writer = first_writer(s);

        UCO__ASSERT(writer != NULL);
        /* Its task has its turn like all others; the loop is not kept here. */
        uco__wake(&writer->wait, 0);
        return;
    }
    if (r == -EAGAIN) {
        flush_admit(s);
        r = stream_arm(s);
    }
    if (r < 0 && s->write_error == 0)
        stream_fail(s, r);
    stream_sent(s);
}

void
uco__stream_writable(struct uco__fd_wait *wait, int result)
{
    struct uco_stream *s = UCO__CONTAINER(wait, struct uco_stream, writable);

    if (result < 0)
        stream_fail(s, result);
    else
        uco__stream_flush(s);
}

/* An error of a send of which nothing was taken. */
static int
send_failed(struct uco_stream *s, ssize_t error)
{
    return error == -ENOMEM || error == -ENOBUFS || error == -EFAULT ? (int) error
                                                                     : stream_fail(s, (int) error);
}

/* Sends what the fd takes at once: how much, or an error. */
static ssize_t
send_at_once(struct uco_stream *s, const char *data, size_t n)
{
    ssize_t r = s->output.size == 0 ? stream_send(s, data, n) : -EAGAIN;

    return r == -EAGAIN ? 0 : r < 0 ? send_failed(s, r) : r;
}

int
uco__stream_transmit_raw(struct uco_stream *s, const void *buf, size_t n)
{
    ssize_t sent;
    int r;

    if (s->write_error < 0)
        return s->write_error;
    sent = send_at_once(s, buf, n);
    if (sent < 0)
        return s->write_error < 0 ? (int) sent : stream_fail(s, (int) sent);
    if ((size_t) sent == n)
        return 0;
    r = stream_arm(s);
    if (r == 0)
        r = uco__buffers_append(&s->output, &s->pool->buffers, (const char *) buf + sent,
                                n - (size_t) sent);
    return r < 0 ? stream_fail(s, r) : 0;
}

/* --- writes --- */

/* Sends and queues what may be without waiting: how much was taken, or an error. */
static ssize_t
put_at_once(struct uco_stream *s, const char *data, size_t n)
{
    ssize_t sent;
    size_t left;
    int r;

    if (s->filter != NULL && s->output.size > 0 && s->output.size + n > s->high)
        return 0;
    if (s->filter != NULL)
        return transmit(s, data, n < FLUSH_MAX ? n : FLUSH_MAX);
    sent = send_at_once(s, data, n);
    if (sent < 0 || (size_t) sent == n)
        return sent;
    left = n - (size_t) sent;
    if (s->output.size + left > s->high)
        return sent;
    r = stream_arm(s);
    if (r < 0)
        return sent == 0 ? r : stream_fail(s, r);
    if (uco__buffers_append(&s->output, &s->pool->buffers, data + sent, left) < 0)
        return sent; /* it waits in the caller's memory */
    if (!s->socket && sent > 0)
        uco__stream_flush(s); /* a part was all that it was given: it may not tell of its room */
    return (ssize_t) n;
}

static enum uco__abort
writer_abort(struct uco__wait *wait)
{
    struct uco__stream_writer *writer = UCO__CONTAINER(wait, struct uco__stream_writer, wait);

    uco__list_remove(&writer->link);
    stream_sent(writer->stream);
    return UCO__UNLINKED;
}

static bool
writer_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco__stream_writer writer;

    return UCO__DUMP_READ_AROUND(dump, &writer, wait, struct uco__stream_writer, wait) &&
           uco__stream_describe_output(dump, writer.stream, writer.left);
}

static UCO__WAIT_KIND(wait_writer, "a stream to be written to", writer_describe);

static void
writer_init(struct uco__stream_writer *writer, struct uco_stream *s, const char *data, size_t left)
{
    *writer = (struct uco__stream_writer){.stream = s, .data = data, .left = left};
    uco__wait_init(&writer->wait, &wait_writer, writer_abort);
    uco__list_push_back(&s->writers, &writer->link);
}

/* The writer's task sends for a while, others running in between, until it must wait again: false
 * when it is cancelled. */
static bool
writer_go_on(struct uco__stream_writer *writer, struct uco__task *task)
{
    struct uco_stream *s = writer->stream;

    do {
        if (uco__scope_cancelled(task)) {
            writer_abort(&writer->wait);
            uco__stream_flush(s); /* nobody else is about to, for those behind it */
            uco__task_deliver(task);
            return false;
        }
        uco__wait_init(&writer->wait, &wait_writer, writer_abort);
        uco__stream_flush(s);
        if (!writer->done && writer->wait.woken)
            uco__scheduler_yield(s->loop);
    } while (!writer->done && writer->wait.woken);
    return true;
}

/* Of a write of n bytes, those that are left wait: n, or an error. */
static UCO__NOINLINE ssize_t
put_waiting(struct uco_stream *s, struct uco__task *task, const char *data, size_t left, size_t n)
{
    struct uco__stream_writer writer;
    intptr_t r = stream_arm(s);

    if (r < 0)
        return left == n ? r : stream_fail(s, (int) r);
    writer_init(&writer, s, data, left);
    /* It may have stopped for others' sake, or with a part of it: the fd would not say that it has
     * room. */
    if ((s->filter != NULL || !s->socket) && first_writer(s) == &writer && s->output.size <= s->low)
        uco__wake(&writer.wait, 0);
    uco__stream_suspend(s);
    while (!writer.done && uco__task_park_here(task, &writer.wait) != UCO__INTERRUPTED) {
        if (!writer.done && !writer_go_on(&writer, task))
            break;
    }
    uco__stream_resume(s);
    if (!writer.done && writer.left > 0)
        return -ECANCELED;
    return writer.result < 0 ? writer.result : (ssize_t) n;
}

/* A regular file is always ready, and may wait for its disk: the pool writes, one call at a time,
 * in their order. */
static UCO__NOINLINE ssize_t
put_in_file(struct uco_stream *s, struct uco__task *task, const char *data, size_t n)
{
    struct uco__stream_writer writer;
    bool first = uco__list_empty(&s->writers);
    intptr_t r = 0;

    writer_init(&writer, s, data, n);
    uco__stream_suspend(s);
    if (!first)
        r = uco__task_park_here(task, &writer.wait);
    if (r == 0 && writer.done)
        r = writer.result;
    else if (r == 0)
        r = uco_write_all(s->fd, data, n, NULL);
    uco__stream_resume(s);
    if (r == UCO__INTERRUPTED)
        return -ECANCELED;
    if (writer.done) /* it was closed, maybe while this was written */
        return r;
    uco__list_remove(&writer.link);
    if (first_writer(s) != NULL)
        uco__wake(&first_writer(s)->wait, 0);
    stream_sent(s);
    return r;
}

static ssize_t
stream_put(struct uco_stream *s, struct uco__task *task, const char *data, size_t n)
{
    ssize_t taken = 0;

    if (UCO__UNLIKELY(s->write_error < 0))
        return s->write_error;
    if (UCO__UNLIKELY(s->shut_down))
        return -EPIPE;
    if (n == 0)
        return 0;
    if (UCO__UNLIKELY(s->file))
        return put_in_file(s, task, data, n);
    if (UCO__LIKELY(uco__list_empty(&s->writers))) {
        taken = put_at_once(s, data, n);
        if (UCO__LIKELY(taken < 0 || ((size_t) taken == n && !stream_is_above(s))))
            return taken;
    }
    return put_waiting(s, task, data + taken, n - (size_t) taken, n);
}

ssize_t
uco_stream_write(uco_stream *s, const void *buf, size_t n)
{
    struct uco__task *task;
    int r = uco__stream_enter(s, &task, "uco_stream_write");

    if (r < 0)
        return r;
    if ((buf == NULL && n > 0) || n > SSIZE_MAX)
        return uco__misuse(-EINVAL, "uco_stream_write: the buffer is NULL, or too large");
    return stream_put(s, task, buf, n);
}

/* What the format makes, in a buffer; its length in *n. */
static UCO__PRINTF(3, 0) struct uco__buffer *format_text(struct uco_stream *s, int *n,
                                                         const char *format, va_list arguments)
{
    struct uco__buffer *buffer = uco__buffer_new(&s->pool->buffers, UCO__BUFFER_SIZE);
    va_list again;

    if (buffer == NULL) {
        *n = -ENOMEM;
        return NULL;
    }
    va_copy(again, arguments);
    *n = (int) UCO__RESULT(vsnprintf(buffer->data, buffer->capacity, format, arguments));
    if (*n >= 0 && (size_t) *n >= buffer->capacity) {
        uco__buffer_free(&s->pool->buffers, buffer);
        buffer = uco__buffer_new(&s->pool->buffers, (size_t) *n + 1);
        *n = buffer == NULL
                 ? -ENOMEM
                 : (int) UCO__RESULT(vsnprintf(buffer->data, buffer->capacity, format, again));
    }
    va_end(again);
    return buffer;
}

int
uco_stream_printf(uco_stream *s, const char *format, ...)
{
    struct uco__task *task;
    struct uco__buffer *buffer;
    va_list arguments;
    int n;
    int r = uco__stream_enter(s, &task, "uco_stream_printf");

    if (r < 0)
        return r;
    if (format == NULL)
        return uco__misuse(-EINVAL, "uco_stream_printf: the format is NULL");
    va_start(arguments, format);
    buffer = format_text(s, &n, format, arguments);
    va_end(arguments);
    r = n < 0 ? n : (int) stream_put(s, task, buffer->data, (size_t) n);
    /* The stream is there until this task suspends. */
    uco__buffer_free(&s->pool->buffers, buffer);
    return r;
}

/* --- until all is sent --- */

static enum uco__abort
drainer_abort(struct uco__wait *wait)
{
    uco__list_remove(&UCO__CONTAINER(wait, struct drainer, wait)->link);
    return UCO__UNLINKED;
}

static bool
drainer_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct drainer drainer;

    return UCO__DUMP_READ_AROUND(dump, &drainer, wait, struct drainer, wait) &&
           uco__stream_describe_output(dump, drainer.stream, 0);
}

static UCO__WAIT_KIND(wait_drainer, "a stream to be sent", drainer_describe);

int
uco__stream_wait_sent(struct uco_stream *s)
{
    struct uco__task *task = uco__task_here();
    struct drainer drainer;
    intptr_t r;

    if (s->write_error < 0 || uco__stream_all_sent(s))
        return s->write_error;
    r = s->file ? 0 : stream_arm(s);
    if (r < 0)
        return (int) r;
    drainer.stream = s;
    uco__wait_init(&drainer.wait, &wait_drainer, drainer_abort);
    uco__list_push_back(&s->drainers, &drainer.link);
    uco__stream_suspend(s);
    r = uco__task_park_here(task, &drainer.wait);
    uco__stream_resume(s);
    return r == UCO__INTERRUPTED ? -ECANCELED : (int) r;
}

int
uco_stream_drain(uco_stream *s)
{
    struct uco__task *task;
    int r = uco__stream_enter(s, &task, "uco_stream_drain");

    return r < 0 ? r : uco__stream_wait_sent(s);
}

int
uco_stream_shutdown(uco_stream *s)
{
    struct uco__task *task;
    int r = uco__stream_enter(s, &task, "uco_stream_shutdown");

    if (r < 0)
        return r;
    if (!s->socket)
        return -ENOTSOCK;
    do { /* what others write meanwhile goes too */
        r = uco__stream_wait_sent(s);
        if (r == 0 && s->closing)
            r = -EBADF;
        if (r < 0)
            return r;
    } while (!uco__stream_all_sent(s));
    if (s->filter != NULL && !s->shut_down)
        r = s->filter->operations->shut(s->filter);
    if (r < 0)
        return r;
    s->shut_down = true;
    r = uco__stream_wait_sent(s);
    if (r < 0 || s->closing || s->told_end)
        return r;
    r = (int) UCO__SYSTEM(shutdown, shutdown(s->fd, SHUT_WR));
    s->told_end = r == 0;
    s->shut_down = r == 0 || s->filter != NULL; /* a filter cannot take it back */
    return r;
}

int
uco_stream_set_water_marks(uco_stream *s, size_t low, size_t high)
{
    int r = uco__stream_check(s, "uco_stream_set_water_marks");

    if (r < 0)
        return r;
    if (low > high || high > INT32_MAX)
        return uco__misuse(-EINVAL, "uco_stream_set_water_marks: low above high, or 2 GiB or more");
    s->low = (uint32_t) low;
    s->high = (uint32_t) high;
    return 0;
}
