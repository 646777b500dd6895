/* SPDX-License-Identifier: MIT */
#ifndef TEST_CORE_URING_SCENE_H
#define TEST_CORE_URING_SCENE_H

/* A poller on io_uring without a loop, and those who wait there. Each test begins with
 * `if (uring_lacks()) return;`. */

#include "../support/support.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/inflow.h"
#include "core/poller.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define URING_UNWATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define URING_UNWATCHED 1
#endif
#endif

static struct uco__poller poller;
static struct uco__ready_queue ready;
static int doorbell;

static inline bool
uring_lacks(void)
{
    struct uco__poller trial;
    int r;

#ifdef URING_UNWATCHED
    test_skipped("this sanitizer does not see what an io_uring does");
    return true;
#endif
    if (getenv("UCO_TEST_VALGRIND") != NULL || getenv("UCO_TEST_EMULATED") != NULL) {
        test_skipped("valgrind and emulators have no io_uring");
        return true;
    }
    uco__ready_queue_init(&ready);
    r = uco__poller_init(&trial, &uco__poller_uring, 0, &ready); /* it is never asked */
    if (r < 0)
        test_skipped("this build or this machine has no io_uring");
    else
        uco__poller_done(&trial);
    return r < 0;
}

static inline void
poller_open(void)
{
    doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(doorbell, 0);
    uco__ready_queue_init(&ready);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_uring, doorbell, &ready), 0);
}

static inline void
poller_shut(void)
{
    ck_assert_uint_eq(poller.waiting, 0);
    ck_assert_uint_eq(poller.watching, 0);
    ck_assert_uint_eq(poller.stray, 0);
    uco__poller_done(&poller);
    ck_assert_int_eq(uco__close(doorbell), 0);
}

static inline void
look(void)
{
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 0);
}

/* A wait takes in a few at once. */
static inline void
look_at_all(void)
{
    for (int i = 0; i < 100; i++)
        look();
}

/* Waits for what is on its way already. */
static inline void
look_until(const int *notified)
{
    while (*notified == 0)
        ck_assert_int_eq(uco__poller_poll(&poller, UCO__SECOND), 0);
}

struct waiter {
    struct uco__fd_wait wait;
    int notified;
    int result;
};

static inline void
waiter_notify(struct uco__fd_wait *wait, int result)
{
    struct waiter *waiter = UCO__CONTAINER(wait, struct waiter, wait);

    ck_assert(!wait->linked);
    waiter->notified++;
    waiter->result = result;
}

static inline int
waiter_start(struct waiter *waiter, int fd, short events)
{
    *waiter =
        (struct waiter){.wait = {.fd = fd, .events = events, .notify = waiter_notify}, .result = 1};
    return uco__poller_wait(&poller, &waiter->wait);
}

static inline void
waiter_begin(struct waiter *waiter, int fd, short events)
{
    ck_assert_int_eq(waiter_start(waiter, fd, events), 0);
}

static inline void
waiter_was_told(const struct waiter *waiter, int result)
{
    ck_assert_int_eq(waiter->notified, 1);
    ck_assert_int_eq(waiter->result, result);
}

static inline void
pipe_open(int ends[2])
{
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static inline void
socket_open(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static inline void
shut(int fd)
{
    ck_assert_int_eq(close(fd), 0);
}

/* As uco_close() does. */
static inline void
forget(int fd)
{
    uco__poller_forget(&poller, fd);
    shut(fd);
}

static inline void
ends_close(const int ends[2])
{
    forget(ends[0]);
    forget(ends[1]);
}

static inline void
put(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static inline void
fill(int fd)
{
    static const char block[65536];

    while (write(fd, block, sizeof block) > 0)
        continue;
}

static inline void
empty(int fd)
{
    static char block[65536];

    while (read(fd, block, sizeof block) > 0)
        continue;
}

/* A listening TCP socket and its address. */
static inline int
listener_open(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) address, size), 0);
    ck_assert_int_eq(listen(fd, SOMAXCONN), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) address, &size), 0);
    return fd;
}

static inline int
connection_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *) address, sizeof *address), 0);
    return fd;
}

#endif
