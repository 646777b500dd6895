/* SPDX-License-Identifier: MIT */

/*
 * read, write, poll and close of file descriptors.
 *
 * 1. Each call tries first and suspends only on EAGAIN; after a wake-up it tries again, since
 *    another process may have been faster.
 * 2. No call blocks the thread: sockets and pipes are asked not to wait, call by call, whatever
 *    their flags; what cannot be asked (terminals, some devices) is polled first; regular files
 *    that are not in memory go to the pool of threads.
 */

#include "io/fd.h"

#include "base/system.h"
#include "core/loop.h"
#include "core/report.h"
#include "io/watch.h"
#include "task/task.h"

#include <math.h>
#include <poll.h>
#include <uco/io.h>
#include <uco/thread.h>

#define POLL_EVENTS (POLLIN | POLLOUT | POLLPRI | POLLRDHUP)

/* --- waiting --- */

struct waiting {
    struct uco__fd_wait fd_wait;
    struct uco__wait wait;
    struct uco__timer timer;
    struct uco_loop *loop;
};

static void
waiting_notify(struct uco__fd_wait *fd_wait, int result)
{
    uco__wake(&UCO__CONTAINER(fd_wait, struct waiting, fd_wait)->wait, result);
}

static void
waiting_time_out(struct uco__timer *timer)
{
    uco__wake(&UCO__CONTAINER(timer, struct waiting, timer)->wait, -ETIMEDOUT);
}

static enum uco__abort
waiting_abort(struct uco__wait *wait)
{
    struct waiting *waiting = UCO__CONTAINER(wait, struct waiting, wait);

    uco__poller_unwait(&waiting->loop->poller, &waiting->fd_wait);
    return UCO__UNLINKED;
}

int
uco__fd_wait(struct uco__task *task, int fd, short events, double timeout)
{
    struct waiting waiting = {
        .fd_wait = {.fd = fd, .events = events, .notify = waiting_notify},
        .loop = task->future.loop,
    };
    intptr_t r = uco__poller_wait(&waiting.loop->poller, &waiting.fd_wait);

    if (r < 0)
        return (int) r;
    uco__wait_init(&waiting.wait, "a file descriptor", waiting_abort);
    uco__timer_init(&waiting.timer, waiting_time_out);
    uco__timer_start(waiting.loop, &waiting.timer,
                     uco__clock_after(uco__loop_now(waiting.loop), timeout));
    r = uco__task_park(task, &waiting.wait);
    uco__timer_stop(waiting.loop, &waiting.timer);
    uco__poller_unwait(&waiting.loop->poller, &waiting.fd_wait);
    return r == UCO__INTERRUPTED ? -ECANCELED : (int) r;
}

/* --- regular files --- */

struct file_job {
    int fd;
    void *read_into; /* NULL: a write */
    const void *write_from;
    size_t size;
};

static intptr_t
file_job_run(void *arg)
{
    const struct file_job *job = arg;

    return job->read_into != NULL ? uco__read_ready(job->fd, job->read_into, job->size)
                                  : uco__file_write(job->fd, job->write_from, job->size);
}

/* No thread for it is no reason to try again at once, as EAGAIN would be. */
static ssize_t
file_job(struct file_job *job)
{
    ssize_t r = uco_to_thread(file_job_run, job);

    return r == -EAGAIN ? -ENOMEM : r;
}

/* --- read and write --- */

/* One try, for an fd of which the kernel cannot promise not to wait. */
static ssize_t
read_polled(int fd, void *buf, size_t n)
{
    struct file_job job = {.fd = fd, .read_into = buf, .size = n};
    int ready;

    if (uco__is_file(fd))
        return file_job(&job);
    ready = uco__poll_now(fd, POLLIN);
    return ready > 0 ? uco__read_ready(fd, buf, n) : ready < 0 ? ready : -EAGAIN;
}

static ssize_t
write_polled(int fd, const void *buf, size_t n)
{
    struct file_job job = {.fd = fd, .write_from = buf, .size = n};
    int ready;

    if (uco__is_file(fd))
        return file_job(&job);
    ready = uco__poll_now(fd, POLLOUT);
    return ready > 0 ? uco__write_ready(fd, buf, n) : ready < 0 ? ready : -EAGAIN;
}

ssize_t
uco_read(int fd, void *buf, size_t n)
{
    int r = uco__checkpoint();
    int waited = 0;
    ssize_t got;

    if (r < 0)
        return r;
    if (n == 0)
        return uco__poll_now(fd, 0) < 0 ? -EBADF : 0;
    for (;;) {
        got = waited == -EPERM ? -EOPNOTSUPP : uco__read_now(fd, buf, n);
        if (got == -EOPNOTSUPP)
            got = read_polled(fd, buf, n);
        if (got == -EINTR)
            continue;
        if (got != -EAGAIN)
            return got;
        waited = uco__fd_wait(uco__task_of(uco_current_task()), fd, POLLIN, UCO_FOREVER);
        if (waited < 0 && waited != -EPERM)
            return waited;
    }
}

ssize_t
uco_write(int fd, const void *buf, size_t n)
{
    int r = uco__checkpoint();
    int waited = 0;
    ssize_t put;

    if (r < 0)
        return r;
    for (;;) {
        put = waited == -EPERM ? -EOPNOTSUPP : uco__write_now(fd, buf, n);
        if (put == -EOPNOTSUPP)
            put = write_polled(fd, buf, n);
        if (put == -EINTR)
            continue;
        if (put != -EAGAIN)
            return put;
        waited = uco__fd_wait(uco__task_of(uco_current_task()), fd, POLLOUT, UCO_FOREVER);
        if (waited < 0 && waited != -EPERM)
            return waited;
    }
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
