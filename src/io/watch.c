/* SPDX-License-Identifier: MIT */

/*
 * Callbacks for as long as an fd is ready.
 *
 * 1. A watch is a private resource of its loop, so that the close frees it.
 * 2. One that is removed while it stands in the run queue is freed when its turn comes.
 */

#include "io/watch.h"

#include "base/system.h"
#include "core/loop.h"
#include "core/report.h"

#include <poll.h>
#include <uco/watch.h>

struct watch {
    struct uco__fd_watcher watcher;
    struct uco__resource resource;
    struct uco_loop *loop;
    uco_callback *callback;
    void *arg;
    bool removed;
};

static void
watch_run(struct uco__ready *node)
{
    struct watch *watch = UCO__CONTAINER(node, struct watch, watcher.ready);

    if (watch->removed) {
        uco__free(watch);
        return;
    }
    watch->watcher.queued = false;
    watch->watcher.seen = 0;
    if (!watch->loop->dropping)
        watch->callback(watch->arg);
}

/* The poller no longer has it: gone, or gone when its turn in the run queue comes. */
static void
watch_retire(struct watch *watch)
{
    watch->removed = true;
    if (!watch->watcher.queued)
        uco__free(watch);
}

static void
watch_end(struct watch *watch)
{
    uco__poller_unwatch(&watch->loop->poller, &watch->watcher);
    watch_retire(watch);
}

static void
watch_close(struct uco__resource *resource)
{
    watch_end(UCO__CONTAINER(resource, struct watch, resource));
}

/* Ours, of this direction; NULL if there is none. */
static struct watch *
watch_find(struct uco_loop *loop, int fd, enum uco__direction direction)
{
    struct uco__fd_watcher *watcher = uco__poller_watcher(&loop->poller, fd, direction);

    if (watcher == NULL || watcher->ready.run != watch_run)
        return NULL;
    return UCO__CONTAINER(watcher, struct watch, watcher);
}

static int
watch_remove(uco_loop *loop, int fd, enum uco__direction direction)
{
    struct watch *watch;
    int r = uco__loop_check(loop);

    if (r < 0)
        return r;
    watch = watch_find(loop, fd, direction);
    if (watch == NULL)
        return -ENOENT;
    uco__loop_remove_resource(loop, &watch->resource);
    watch_end(watch);
    return 0;
}

static struct watch *
watch_new(struct uco_loop *loop, int fd, enum uco__direction direction, uco_callback *cb, void *arg)
{
    struct watch *watch = uco__allocate(sizeof *watch);

    if (watch == NULL)
        return NULL;
    watch->watcher.ready.run = watch_run;
    watch->watcher.fd = fd;
    watch->watcher.events = direction == UCO__READER ? POLLIN : POLLOUT;
    watch->resource.close = watch_close;
    watch->loop = loop;
    watch->callback = cb;
    watch->arg = arg;
    return watch;
}

/* Replaces the whole watch, not only its callback: the old one may be due, for an fd that was
 * closed since and whose number is another's now. */
static int
watch_add(uco_loop *loop, int fd, enum uco__direction direction, uco_callback *cb, void *arg)
{
    struct watch *watch, *old;
    int r;

    if (loop == NULL || cb == NULL)
        return uco__misuse(-EINVAL, "a watcher needs a loop and a callback");
    r = uco__loop_check(loop);
    if (r < 0)
        return r;
    if (loop->ending)
        return -ESHUTDOWN;
    watch = watch_new(loop, fd, direction, cb, arg);
    if (watch == NULL)
        return -ENOMEM;
    old = watch_find(loop, fd, direction);
    r = old != NULL ? uco__poller_replace(&loop->poller, &old->watcher, &watch->watcher)
                    : uco__poller_watch(&loop->poller, &watch->watcher);
    if (r < 0) {
        uco__free(watch);
        return r;
    }
    if (old != NULL) {
        uco__loop_remove_resource(loop, &old->resource);
        watch_retire(old);
    }
    uco__loop_add_resource(loop, &watch->resource);
    return 0;
}

void
uco__watch_forget(struct uco_loop *loop, int fd)
{
    watch_remove(loop, fd, UCO__READER);
    watch_remove(loop, fd, UCO__WRITER);
}

int
uco_loop_add_reader(uco_loop *loop, int fd, uco_callback *cb, void *arg)
{
    return watch_add(loop, fd, UCO__READER, cb, arg);
}

int
uco_loop_add_writer(uco_loop *loop, int fd, uco_callback *cb, void *arg)
{
    return watch_add(loop, fd, UCO__WRITER, cb, arg);
}

int
uco_loop_remove_reader(uco_loop *loop, int fd)
{
    return watch_remove(loop, fd, UCO__READER);
}

int
uco_loop_remove_writer(uco_loop *loop, int fd)
{
    return watch_remove(loop, fd, UCO__WRITER);
}
