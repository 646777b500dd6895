/* SPDX-License-Identifier: MIT */

/*
 * Which backend a loop's poller gets.
 *
 * 1. A program that asks for a backend gets that one or an error. The environment's word is a wish:
 *    a program that runs on one machine runs on the next, so what cannot be had is reported, once,
 *    and epoll it is.
 * 2. Where nobody says anything it is epoll: docs/performance.md has the measurements.
 */

#include "core/backend.h"

#include "core/inflow.h"
#include "core/report.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void
backend_complain(const char *wish, const char *why)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&done))
        uco__report(NULL, NULL, "UCO_BACKEND=%.40s cannot be had (%s): epoll is used", wish, why);
}

static int
backend_open_wish(struct uco__poller *poller, const char *wish, int doorbell,
                  struct uco__ready_queue *ready)
{
    int r;

    if (strcmp(wish, "io_uring") != 0) {
        if (strcmp(wish, "epoll") != 0 && strcmp(wish, "auto") != 0 && *wish != '\0')
            backend_complain(wish, "epoll, io_uring and auto are known");
        return -ENOSYS;
    }
    r = uco__poller_init(poller, &uco__poller_uring, doorbell, ready);
    if (r < 0 && r != -EMFILE && r != -ENFILE && r != -ENOMEM)
        backend_complain(wish, uco_strerror(r));
    return r;
}

int
uco__backend_open(struct uco__poller *poller, enum uco_backend backend, int doorbell,
                  struct uco__ready_queue *ready)
{
    const char *wish = getenv("UCO_BACKEND");

    if (backend == UCO_BACKEND_IO_URING)
        return uco__poller_init(poller, &uco__poller_uring, doorbell, ready);
    if (backend == UCO_BACKEND_AUTO && wish != NULL &&
        backend_open_wish(poller, wish, doorbell, ready) == 0)
        return 0;
    return uco__poller_init(poller, &uco__poller_epoll, doorbell, ready);
}
