/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_BACKEND_H
#define UCO_CORE_BACKEND_H

/* Which backend a loop's poller gets. */

#include "core/poller.h"

#include <uco/loop.h>

/* uco__poller_init() with the backend that is asked for. AUTO: what UCO_BACKEND in the environment
 * says, if it can be had; else epoll. -ENOSYS, -EPERM: IO_URING was asked for, and this build, this
 * kernel or its settings have none. */
int uco__backend_open(struct uco__poller *poller, enum uco_backend backend, int doorbell,
                      struct uco__ready_queue *ready);

#endif
