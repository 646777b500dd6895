/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_INFLOW_H
#define UCO_CORE_INFLOW_H

/*
 * What the kernel reads and accepts before it is asked for, where the loop is on io_uring.
 *
 * Only for an fd that has one reader, which comes here first: what was read ahead is lost to
 * anybody else who reads the fd. It begins when the reader waits for POLLIN; until then, and
 * wherever there is no such thing, the answer is -EOPNOTSUPP: make the call yourself.
 */

#include "base/compiler.h"
#include "core/poller.h"

#include <errno.h>
#include <sys/types.h>

extern const struct uco__poller_backend uco__poller_uring;

ssize_t uco__inflow_receive(struct uco__poller *poller, int fd, void *buf, size_t n);
int uco__inflow_accept(struct uco__poller *poller, int fd, int flags);

/* Takes what was received: the number of bytes; 0: the end; -EAGAIN: wait for POLLIN; -EOPNOTSUPP:
 * call recv(2); or recv(2)'s error. */
static inline ssize_t
uco__poller_receive(struct uco__poller *poller, int fd, void *buf, size_t n)
{
    return UCO__LIKELY(poller->backend == &uco__poller_epoll)
               ? -EOPNOTSUPP
               : uco__inflow_receive(poller, fd, buf, n);
}

/* Takes a connection: the fd; -EAGAIN: wait for POLLIN; -EOPNOTSUPP: call accept4(2); or its error.
 * `flags`: accept4(2)'s, always the same for one fd. */
static inline int
uco__poller_accept(struct uco__poller *poller, int fd, int flags)
{
    return poller->backend == &uco__poller_epoll ? -EOPNOTSUPP
                                                 : uco__inflow_accept(poller, fd, flags);
}

#endif
