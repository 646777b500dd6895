/* SPDX-License-Identifier: MIT */

/*
 * The life of a stream: made, claimed for a handshake, closed.
 *
 * 1. A user's stream is a resource of its loop until its close begins; one that has an owner (a
 *    server, a process) is freed by that, whoever closes it.
 * 2. From the first step of a close on (`closing`) no call begins any more; the fd is closed when
 *    the last one that was suspended (`users`) has left, and nothing is freed before.
 * 3. The fd is known to the poller: nobody but the stream closes it.
 */

#include "io/stream.h"

#include "base/error.h"
#include "base/system.h"
#include "core/dump.h"
#include "core/report.h"
#include "io/fd.h"

#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <uco/io.h>

#define LIMIT_DEFAULT (64U * 1024)
#define LOW_DEFAULT (16U * 1024)
#define HIGH_DEFAULT (64U * 1024)
#define POOL_MAX (UCO__ASAN ? 0U : 64U) /* streams; freed at once where that is looked after */

/* --- the loop's cache --- */

static void
pool_close(struct uco__resource *resource)
{
    struct uco__stream_pool *pool = UCO__CONTAINER(resource, struct uco__stream_pool, resource);

    while (pool->free != NULL) {
        struct uco_stream *s = pool->free;

        pool->free = s->pool_next;
        uco__free(s);
    }
    uco__buffer_cache_done(&pool->buffers);
    uco__free(pool);
}

/* The loop's, made with its first stream. It stands in front of the loop's resources, however many
 * there are. */
static struct uco__stream_pool *
pool_of(struct uco_loop *loop)
{
    struct uco__stream_pool *pool;

    UCO__LIST_EACH(link, &loop->resources) {
        struct uco__resource *resource = UCO__CONTAINER(link, struct uco__resource, link);

        if (resource->close != pool_close)
            continue;
        if (loop->resources.next != link) {
            uco__list_remove(link);
            uco__list_push_front(&loop->resources, link);
        }
        return UCO__CONTAINER(resource, struct uco__stream_pool, resource);
    }
    pool = uco__allocate(sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->resource.close = pool_close;
    uco__loop_add_resource(loop, &pool->resource);
    return pool;
}

/* --- who may call --- */

int
uco__stream_check(const struct uco_stream *s, const char *who)
{
    int error;
    const struct uco_loop *loop;

    if (UCO__LIKELY(s != NULL && s->loop == uco__running && !uco__loop_stale(s->loop)))
        return s->closing ? -EBADF : 0;
    if (s == NULL)
        return uco__misuse(-EINVAL, "%s: the stream is NULL", who);
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "%s: outside a running loop", who);
    if (s->loop != loop)
        return uco__misuse(-EPERM, "%s: another loop's stream", who);
    return s->closing ? -EBADF : 0;
}

static UCO__NOINLINE int
enter_slowly(struct uco_stream *s, struct uco__task **task, const char *who)
{
    int r;

    *task = uco__task_current(&r);
    if (*task == NULL)
        return uco__misuse(r, "%s: not in a coroutine", who);
    if (s == NULL)
        return uco__misuse(-EINVAL, "%s: the stream is NULL", who);
    if (s->loop != (*task)->future.loop)
        return uco__misuse(-EPERM, "%s: another loop's stream", who);
    if (s->closing) { /* it may be gone after the checkpoint, which lets others run */
        r = uco__task_checkpoint(*task);
        return r < 0 ? r : -EBADF;
    }
    uco__stream_suspend(s);
    r = uco__task_checkpoint(*task);
    uco__stream_resume(s);
    if (r == 0 && s->closing)
        r = -EBADF;
    if (r == 0 && s->claimer != NULL && s->claimer != *task)
        r = -EBUSY;
    return r;
}

int
uco__stream_enter(struct uco_stream *s, struct uco__task **task, const char *who)
{
    *task = uco__task_here();
    if (UCO__LIKELY(*task != NULL && s != NULL && s->loop == (*task)->future.loop && !s->closing &&
                    s->claimer == NULL && uco__task_pass(*task)))
        return 0;
    return enter_slowly(s, task, who);
}

/* --- filters --- */

int
uco__stream_claim(struct uco_stream *s)
{
    struct uco__task *task;
    int r = uco__stream_enter(s, &task, "uco_stream_start_tls");

    if (r < 0)
        return r;
    if (s->claimer != NULL || s->reading || !uco__list_empty(&s->writers))
        return -EBUSY;
    if (uco__buffer_used(s->input) > 0)
        return -EPROTO;
    if (s->file)
        return -EOPNOTSUPP;
    s->claimer = task;
    uco__stream_suspend(s);
    return 0;
}

void
uco__stream_unclaim(struct uco_stream *s)
{
    UCO__ASSERT(s->claimer != NULL);
    s->claimer = NULL;
    uco__stream_resume(s);
}

int
uco__stream_set_filter(struct uco_stream *s, struct uco__stream_filter *filter)
{
    if (filter != NULL && s->filter != NULL)
        return -EINVAL;
    s->filter = filter;
    return 0;
}

/* --- closed --- */

/* Nobody is suspended in it. */
static int
stream_end(struct uco_stream *s)
{
    int r;

    s->closed = true;
    if (s->filter != NULL)
        s->filter->operations->free(s->filter);
    s->filter = NULL;
    uco__buffers_clear(&s->output, &s->pool->buffers);
    uco__buffer_free(&s->pool->buffers, s->input);
    s->input = NULL;
    uco__poller_unwait(&s->loop->poller, &s->readable);
    uco__poller_unwait(&s->loop->poller, &s->writable);
    r = s->fd >= 0 ? uco_close(s->fd) : 0;
    s->fd = -1;
    if (s->second != NULL)
        uco__wake(s->second, 0);
    return r;
}

static void
stream_free(struct uco_stream *s)
{
    struct uco__stream_pool *pool = s->pool;

    if (pool->free_count + 1 > POOL_MAX) {
        uco__free(s);
        return;
    }
    s->pool_next = pool->free;
    pool->free = s;
    pool->free_count++;
}

void
uco__stream_destroy(struct uco_stream *s)
{
    if (!s->closed)
        stream_end(s);
    stream_free(s);
}

/* The loop closes what its user has left open: no task is left, so nobody is suspended in it. */
static void
resource_close(struct uco__resource *resource)
{
    struct uco_stream *s = UCO__CONTAINER(resource, struct uco_stream, resource);

    s->closing = true;
    if (s->output.size > 0 && s->write_error == 0)
        uco__stream_flush(s);
    uco__stream_destroy(s);
}

/* What was written goes out, unless the caller is cancelled: 0, or why not all of it did. */
static int
close_flush(struct uco_stream *s, struct uco__task *task)
{
    int r = s->write_error;

    if (r == 0 && !uco__stream_all_sent(s)) {
        if (uco__scope_cancelled(task))
            return -ECANCELED;
        uco__stream_flush(s); /* a writer that is gone may have been about to */
        r = uco__stream_wait_sent(s);
    }
    if (r < 0 || s->filter == NULL || s->shut_down || s->claimer != NULL)
        return r;
    r = s->filter->operations->shut(s->filter);
    if (r == 0 && !uco__stream_all_sent(s) && !uco__scope_cancelled(task) && !s->hurried)
        r = uco__stream_wait_sent(s);
    return r;
}

bool
uco__stream_describe_output(struct uco__dump *dump, const struct uco_stream *s, size_t more)
{
    struct uco_stream stream;

    if (!UCO__DUMP_GET(dump, &stream, s))
        return false;
    uco__dump_text(dump, "a stream, ");
    uco__fd_describe(dump, stream.fd, POLLOUT);
    uco__dump_text(dump, ": ");
    uco__dump_number(dump, stream.output.size + more);
    uco__dump_text(dump, " bytes are left to send");
    return true;
}

static UCO__WAIT_KIND(wait_second, "another task to close the stream", NULL);
static UCO__WAIT_KIND(wait_users, "those who use the stream to leave it", NULL);

/* Another task is closing it: waits until it has, and does not let it send when the caller is
 * cancelled. */
static void
close_await(struct uco_stream *s, struct uco__task *task)
{
    struct uco__wait wait;

    uco__wait_init(&wait, &wait_second, uco__wait_abort_plain);
    s->second = &wait;
    if (uco__task_park(task, &wait) == UCO__INTERRUPTED && !s->closed) {
        s->hurried = true;
        uco__stream_end_drainers(s, -ECANCELED);
        uco__wait_init(&wait, &wait_second, NULL);
        uco__park(&wait);
    }
    s->second = NULL;
}

int
uco__stream_shut(struct uco_stream *s, struct uco__task *task)
{
    struct uco__wait wait;
    int flushed, r;

    if (s->closing) {
        if (!s->closed)
            close_await(s, task);
        return 0;
    }
    s->closing = true;
    uco__stream_end_reader(s);
    uco__stream_end_writers(s, -EBADF);
    flushed = close_flush(s, task);
    uco__stream_end_drainers(s, -EBADF);
    if (s->users > 0) {
        uco__wait_init(&wait, &wait_users, NULL);
        s->closer = &wait;
        uco__park(&wait);
        s->closer = NULL;
    }
    r = stream_end(s);
    return flushed < 0 ? flushed : r;
}

int
uco_stream_close(uco_stream *s)
{
    struct uco__task *task;
    int error, r;

    if (s == NULL)
        return 0;
    task = uco__task_current(&error);
    if (task == NULL)
        return uco__misuse(error, "uco_stream_close: not in a coroutine");
    if (s->loop != task->future.loop)
        return uco__misuse(-EPERM, "uco_stream_close: another loop's stream");
    if (s->closing)
        return uco__misuse(-EBADF, "uco_stream_close: it is being closed already");
    if (s->owner != NULL)
        return uco__stream_shut(s, task); /* it is freed later */
    uco__loop_remove_resource(s->loop, &s->resource);
    r = uco__stream_shut(s, task);
    stream_free(s);
    return r;
}

/* --- made --- */

struct uco_stream *
uco__stream_make(struct uco_loop *loop)
{
    struct uco__stream_pool *pool = pool_of(loop);
    struct uco_stream *s = pool != NULL ? pool->free : NULL;

    if (pool == NULL)
        return NULL;
    if (s != NULL) {
        pool->free = s->pool_next;
        pool->free_count--;
        memset(s, 0, sizeof *s);
    } else {
        s = uco__allocate(sizeof *s);
        if (s == NULL)
            return NULL;
    }
    s->loop = loop;
    s->pool = pool;
    s->fd = -1;
    s->limit = LIMIT_DEFAULT;
    s->low = LOW_DEFAULT;
    s->high = HIGH_DEFAULT;
    uco__list_init(&s->writers);
    uco__list_init(&s->drainers);
    s->readable = (struct uco__fd_wait){.events = POLLIN, .notify = uco__stream_readable};
    s->writable = (struct uco__fd_wait){.events = POLLOUT, .notify = uco__stream_writable};
    return s;
}

void
uco__stream_attach(struct uco_stream *s, int fd, bool socket, bool tcp)
{
    s->fd = fd;
    s->readable.fd = fd;
    s->writable.fd = fd;
    s->socket = socket;
    s->file = !socket && uco__is_file(fd);
    if (!s->file)
        uco__poller_know(&s->loop->poller, fd, tcp);
}

/* What kind of fd it is: 0, -EBADF, or -EINVAL for a socket that carries no stream of bytes. */
static int
fd_kind(int fd, bool *socket, bool *tcp)
{
    socklen_t size = sizeof(int);
    int type = 0, protocol = 0;
    int r = (int) UCO__SYSTEM(getsockopt, getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size));

    *socket = r != -ENOTSOCK;
    *tcp = false;
    if (r < 0)
        return *socket ? r : 0;
    if (type != SOCK_STREAM)
        return uco__misuse(-EINVAL, "uco_stream_new: the socket carries messages, not a stream");
    size = sizeof(int);
    r = (int) UCO__SYSTEM(getsockopt, getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size));
    *tcp = r == 0 && protocol == IPPROTO_TCP;
    return r;
}

static uco_stream *
stream_new(const char *file, int line, int fd, int *error)
{
    struct uco_loop *loop;
    struct uco_stream *s;
    bool socket, tcp;

    if (fd < 0) {
        *error = uco__misuse(-EBADF, "uco_stream_new: not a file descriptor");
        return NULL;
    }
    loop = uco__loop_current(error);
    if (loop == NULL) {
        *error = uco__misuse(*error, "uco_stream_new: outside a running loop");
        return NULL;
    }
    *error = loop->ending ? -ESHUTDOWN : fd_kind(fd, &socket, &tcp);
    if (*error < 0)
        return NULL;
    *error = -ENOMEM;
    s = uco__stream_make(loop);
    if (s == NULL)
        return NULL;
    uco__stream_attach(s, fd, socket, tcp);
    s->resource = (struct uco__resource){
        .kind = "stream", .file = file, .line = line, .close = resource_close};
    uco__loop_add_resource(loop, &s->resource);
    return s;
}

uco_stream *
uco_stream_new_at(const char *file, int line, int fd)
{
    int error;
    uco_stream *s = stream_new(file, line, fd, &error);

    return s != NULL ? s : uco__error_null(error);
}

uco_stream *(uco_stream_new) (int fd)
{
    return uco_stream_new_at(NULL, 0, fd);
}

int
uco_stream_fd(const uco_stream *s)
{
    if (s == NULL)
        return uco__misuse(-EINVAL, "uco_stream_fd: the stream is NULL");
    return s->closed ? -EBADF : s->fd;
}
