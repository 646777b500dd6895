/* SPDX-License-Identifier: MIT */

/*
 * read, write, readv, writev, poll and close of file descriptors.
 *
 * 1. Each call tries first and suspends only on EAGAIN; after a wake-up it tries again, since
 *    another process may have been faster.
 * 2. No call blocks the thread: sockets and pipes are asked not to wait, call by call, whatever
 *    their flags; what cannot be asked (terminals, some devices) is polled first; regular files
 *    that are not in memory go to the pool of threads.
 */

#include "io/fd.h"

#include "base/system.h"
#include "core/dump.h"
#include "core/loop.h"
#include "core/report.h"
#include "io/watch.h"
#include "task/task.h"

#include <limits.h>
#include <math.h>
#include <poll.h>
#include <uco/io.h>
#include <uco/thread.h>

#define PAUSE_MIN 0.001 /* seconds */
#define PAUSE_MAX 0.050
#define POLL_EVENTS (POLLIN | POLLOUT | POLLPRI | POLLRDHUP)

/* --- waiting --- */

struct waiting {
    struct uco__fd_wait fd_wait;
    struct uco__wait wait;
    struct uco_loop *loop;
};

struct waiting_until {
    struct waiting waiting;
    struct uco__timer timer;
};

void
uco__fd_describe(struct uco__dump *dump, int fd, short events)
{
    uco__dump_text(dump, "fd ");
    uco__dump_number(dump, (uint64_t) (fd > 0 ? fd : 0));
    uco__dump_text(dump, (events & (POLLIN | POLLOUT)) == (POLLIN | POLLOUT)
                             ? " to be readable or writable"
                         : (events & POLLOUT) != 0 ? " to be writable"
                         : (events & POLLIN) != 0  ? " to be readable"
                                                   : " to have something urgent, or its end");
}

static void
waiting_notify(struct uco__fd_wait *fd_wait, int result)
{
    uco__wake(&UCO__CONTAINER(fd_wait, struct waiting, fd_wait)->wait, result);
}

static void
waiting_time_out(struct uco__timer *timer)
{
    uco__wake(&UCO__CONTAINER(timer, struct waiting_until, timer)->waiting.wait, -ETIMEDOUT);
}

static enum uco__abort
waiting_abort(struct uco__wait *wait)
{
    struct waiting *waiting = UCO__CONTAINER(wait, struct waiting, wait);

    uco__poller_unwait(&waiting->loop->poller, &waiting->fd_wait);
    return UCO__UNLINKED;
}

static bool
waiting_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct waiting waiting;

    if (!UCO__DUMP_READ_AROUND(dump, &waiting, wait, struct waiting, wait))
        return false;
    uco__fd_describe(dump, waiting.fd_wait.fd, waiting.fd_wait.events);
    return true;
}

static bool
waiting_until_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    if (!waiting_describe(dump, wait))
        return false;
    uco__dump_limit(dump, &UCO__DUMP_AROUND(wait, struct waiting_until, waiting.wait)->timer);
    return true;
}

static UCO__WAIT_KIND(wait_fd, "a file descriptor", waiting_describe);
static UCO__WAIT_KIND(wait_fd_until, "a file descriptor", waiting_until_describe);

static int
wait_forever(struct uco__task *task, int fd, short events)
{
    struct waiting waiting = {
        .fd_wait = {.fd = fd, .events = events, .notify = waiting_notify},
        .loop = task->future.loop,
    };
    intptr_t r = uco__poller_wait(&waiting.loop->poller, &waiting.fd_wait);

    if (UCO__UNLIKELY(r < 0))
        return (int) r;
    uco__wait_init(&waiting.wait, &wait_fd, waiting_abort);
    r = uco__task_park_here(task, &waiting.wait);
    if (UCO__UNLIKELY(waiting.fd_wait.linked))
        uco__poller_unwait(&waiting.loop->poller, &waiting.fd_wait);
    return UCO__UNLIKELY(r == UCO__INTERRUPTED) ? -ECANCELED : (int) r;
}

static int
wait_until(struct uco__task *task, int fd, short events, double timeout)
{
    struct waiting_until until = {
        .waiting = {.fd_wait = {.fd = fd, .events = events, .notify = waiting_notify},
                    .loop = task->future.loop},
    };
    struct uco_loop *loop = until.waiting.loop;
    intptr_t r = uco__poller_wait(&loop->poller, &until.waiting.fd_wait);

    if (r < 0)
        return (int) r;
    uco__wait_init(&until.waiting.wait, &wait_fd_until, waiting_abort);
    uco__timer_init(&until.timer, waiting_time_out);
    uco__timer_start(loop, &until.timer, uco__clock_after(uco__loop_now(loop), timeout));
    r = uco__task_park(task, &until.waiting.wait);
    uco__timer_stop(loop, &until.timer);
    uco__poller_unwait(&loop->poller, &until.waiting.fd_wait);
    return r == UCO__INTERRUPTED ? -ECANCELED : (int) r;
}

int
uco__fd_wait(struct uco__task *task, int fd, short events, double timeout)
{
    return timeout == UCO_FOREVER ? wait_forever(task, fd, events)
                                  : wait_until(task, fd, events, timeout);
}

int
uco__fd_wait_again(struct uco__task *task, int fd, short events, double *delay)
{
    if (UCO__UNLIKELY(*delay > 0) && uco__poll_now(fd, events) == POLLERR)
        return uco__fd_pause(delay);
    if (*delay == 0)
        *delay = PAUSE_MIN;
    return uco__fd_wait(task, fd, events, UCO_FOREVER);
}

int
uco__fd_pause(double *delay)
{
    double seconds = *delay > 0 ? *delay : PAUSE_MIN;

    *delay = seconds * 2 < PAUSE_MAX ? seconds * 2 : PAUSE_MAX;
    return uco_sleep(seconds);
}

/* --- regular files --- */

struct file_job {
    int fd;
    bool write;
    int count;
    const struct iovec *vectors;
};

static intptr_t
file_job_run(void *arg)
{
    const struct file_job *job = arg;

    return job->write ? uco__file_writev(job->fd, job->vectors, job->count)
                      : uco__readv_ready(job->fd, job->vectors, job->count);
}

/* --- read and write --- */

/* One try, for an fd of which the kernel cannot promise not to wait. */
static ssize_t
transfer_polled(int fd, bool write, const struct iovec *vectors, int count)
{
    struct file_job job = {.fd = fd, .write = write, .count = count, .vectors = vectors};
    int ready = uco__check_access(fd, write); /* else poll might wait for ever */
    ssize_t r;

    if (ready < 0)
        return ready;
    if (uco__is_file(fd)) {
        r = uco_to_thread(file_job_run, &job);
        /* No thread for it is no reason to try again at once, as EAGAIN would be. */
        return r == -EAGAIN ? -ENOMEM : r;
    }
    ready = uco__poll_now(fd, write ? POLLOUT : POLLIN);
    if (ready <= 0)
        return ready < 0 ? ready : -EAGAIN;
    return write ? uco__writev_ready(fd, vectors, count) : uco__readv_ready(fd, vectors, count);
}

/* One try. */
static ssize_t
transfer_now(struct uco_loop *loop, int fd, bool write, const struct iovec *vectors, int count)
{
    if (count != 1)
        return write ? uco__writev_now(fd, vectors, count) : uco__readv_now(fd, vectors, count);
    return write ? uco__write_now(fd, vectors->iov_base, vectors->iov_len)
                 : uco__fd_recv_now(loop, fd, vectors->iov_base, vectors->iov_len);
}

/* The rest of a call, whose first try gave r. */
static ssize_t
transfer(struct uco__task *task, int fd, bool write, const struct iovec *vectors, int count,
         ssize_t r)
{
    double delay = 0;

    while (r == -EAGAIN || r == -EINTR || r == -EOPNOTSUPP) {
        if (r == -EAGAIN) {
            r = uco__fd_wait_again(task, fd, write ? POLLOUT : POLLIN, &delay);
            if (UCO__UNLIKELY(r < 0 && r != -EPERM))
                return r;
        }
        if (UCO__UNLIKELY(r == -EPERM || r == -EOPNOTSUPP)) {
            r = transfer_polled(fd, write, vectors, count);
            if (r == -EOPNOTSUPP)
                return r;
        } else
            r = transfer_now(task->future.loop, fd, write, vectors, count);
    }
    return r;
}

static ssize_t
read_nothing(int fd)
{
    return uco__poll_now(fd, 0) < 0 ? -EBADF : 0;
}

ssize_t
uco_read(int fd, void *buf, size_t n)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    if (UCO__UNLIKELY(r < 0))
        return r;
    if (UCO__UNLIKELY(n == 0))
        return read_nothing(fd);
    r = uco__fd_recv_now(task->future.loop, fd, buf, n);
    return transfer(task, fd, false, &(struct iovec){.iov_base = buf, .iov_len = n}, 1, r);
}

ssize_t
uco_write(int fd, const void *buf, size_t n)
{
    struct iovec vector = {.iov_base = (void *) (uintptr_t) buf, .iov_len = n};
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    if (UCO__UNLIKELY(r < 0))
        return r;
    r = uco__write_now(fd, buf, n);
    return transfer(task, fd, true, &vector, 1, r);
}

/* Whether there is nothing to read into: a socket would wait all the same, or drop a datagram. */
static bool
is_empty(const struct iovec *vectors, int count)
{
    for (int i = 0; i < count; i++) {
        if (vectors == NULL || vectors[i].iov_len > 0)
            return false;
    }
    return count >= 0 && count <= IOV_MAX;
}

ssize_t
uco_readv(int fd, const struct iovec *vectors, int count)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    if (UCO__UNLIKELY(is_empty(vectors, count)))
        return read_nothing(fd);
    return transfer(task, fd, false, vectors, count, uco__readv_now(fd, vectors, count));
}

ssize_t
uco_writev(int fd, const struct iovec *vectors, int count)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    return transfer(task, fd, true, vectors, count, uco__writev_now(fd, vectors, count));
}

ssize_t
uco_read_exactly(int fd, void *buf, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = uco_read(fd, (char *) buf + done, n - done);

        if (r <= 0)
            return r < 0 ? r : -ENODATA;
        done += (size_t) r;
    }
    return done > 0 ? (ssize_t) done : uco_read(fd, buf, 0);
}

ssize_t
uco_write_all(int fd, const void *buf, size_t n, size_t *done)
{
    size_t written = 0;
    ssize_t r = 0;

    do {
        r = uco_write(fd, (const char *) buf + written, n - written);
        if (r > 0)
            written += (size_t) r;
    } while (r > 0 && written < n);
    if (done != NULL)
        *done = written;
    return r < 0 ? r : (ssize_t) written;
}

/* --- poll and close --- */

int
uco_poll(int fd, short events, double timeout)
{
    int r = uco__checkpoint();
    struct uco__task *task;
    uint64_t deadline;

    if (r == -EPERM || r == -ESTALE)
        return r;
    if (isnan(timeout) || (events & ~POLL_EVENTS) != 0)
        return uco__misuse(-EINVAL,
                           "uco_poll: the time is not a number, or there are other events");
    if (r < 0)
        return r;
    task = uco__task_of(uco_current_task());
    deadline = uco__clock_after(uco__loop_now(task->future.loop), timeout);
    for (;;) {
        uint64_t now = uco__loop_now(task->future.loop);

        r = uco__poll_now(fd, events);
        if (r != 0)
            return r;
        if (now >= deadline)
            return -ETIMEDOUT;
        r = uco__fd_wait(task, fd, events,
                         deadline == UCO__NEVER ? UCO_FOREVER
                                                : uco__clock_to_seconds(deadline - now));
        if (r < 0 && r != -ETIMEDOUT)
            return r;
    }
}

int
uco_close(int fd)
{
    struct uco_loop *loop = uco_get_running_loop();

    if (loop != NULL) {
        uco__watch_forget(loop, fd);
        uco__poller_forget(&loop->poller, fd);
    }
    return uco__close(fd);
}
