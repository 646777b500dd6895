/* SPDX-License-Identifier: MIT */

/* The poller's io_uring backend where this build has none. */

#include "core/inflow.h"

static int
uring_open(struct uco__poller *poller, int doorbell)
{
    (void) poller;
    (void) doorbell;
    return -ENOSYS;
}

const struct uco__poller_backend uco__poller_uring = {.open = uring_open};

ssize_t
uco__inflow_receive(struct uco__poller *poller, int fd, void *buf, size_t n)
{
    (void) poller;
    (void) fd;
    (void) buf;
    (void) n;
    return -EOPNOTSUPP;
}

int
uco__inflow_accept(struct uco__poller *poller, int fd, int flags)
{
    (void) poller;
    (void) fd;
    (void) flags;
    return -EOPNOTSUPP;
}
