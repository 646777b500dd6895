/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_FD_H
#define UCO_IO_FD_H

/* Trying and waiting: what every I/O call is made of. */

#include "core/loop.h"
#include "task/task.h"

/* What each of them begins with: 0 and the calling task; -EPERM, -ESTALE, -ECANCELED. */
static inline int
uco__fd_begin(struct uco__task **task)
{
    *task = uco__task_here();
    return UCO__LIKELY(*task != NULL) ? uco__task_checkpoint(*task) : uco__checkpoint();
}

/* Suspends until fd is ready for `events` (POLL*), `timeout` seconds at most. 0; -ETIMEDOUT,
 * -ECANCELED; -EBUSY (another task waits), -EBADF, -ENOMEM, -ENOSPC; -EPERM: this kind of fd is
 * always ready (a regular file). A 0 may be spurious: try again. */
int uco__fd_wait(struct uco__task *task, int fd, short events, double timeout);

/* The same between the tries of one call; `delay` is the call's own, zero before the first. An error
 * that is nobody's to read (in a socket's error queue) makes an fd ready for ever: then it is tried
 * from time to time. */
int uco__fd_wait_again(struct uco__task *task, int fd, short events, double *delay);

/* For dumps: "fd 7 to be readable". */
struct uco__dump;
void uco__fd_describe(struct uco__dump *dump, int fd, short events);

/* For what cannot be waited for: sleeps, twice as long each time. 0, -ECANCELED. */
int uco__fd_pause(double *delay);

/* One try to read that does not wait, as uco__read_now(): -EAGAIN also without asking the kernel,
 * when it is known that nothing is there. */
static inline ssize_t
uco__fd_recv_now(struct uco_loop *loop, int fd, void *buf, size_t n)
{
    ssize_t r;

    if (uco__poller_is_drained(&loop->poller, fd))
        return -EAGAIN;
    r = uco__read_now(fd, buf, n);
    if (r > 0 && (size_t) r < n)
        uco__poller_note_short_read(&loop->poller, fd);
    return r;
}

#endif
