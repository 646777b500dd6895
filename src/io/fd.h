/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_FD_H
#define UCO_IO_FD_H

/* Waiting for a file descriptor: what every I/O call does after EAGAIN. */

struct uco__task;

/* Suspends until fd is ready for `events` (POLL*), `timeout` seconds at most. 0; -ETIMEDOUT,
 * -ECANCELED; -EBUSY (another task waits), -EBADF, -ENOMEM, -ENOSPC; -EPERM: this kind of fd is
 * always ready (a regular file). A 0 may be spurious: try again. */
int uco__fd_wait(struct uco__task *task, int fd, short events, double timeout);

#endif
