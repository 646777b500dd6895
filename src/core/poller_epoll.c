/* SPDX-License-Identifier: MIT */

/* The poller's epoll backend. */

#include "base/clock.h"
#include "base/system.h"
#include "core/poller.h"
#include "core/sanitizer.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A call; what is over comes with the next. No more, because a connection's memory that the kernel
 * and we touch here is to be in the caches still when its task runs. */
#define EVENTS_MAX 32
#define PREFETCH_AHEAD 4 /* events */
#define DOORBELL_DATA UINT64_MAX

_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLPRI == EPOLLPRI &&
                   POLLERR == EPOLLERR && POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP,
               "poll's and epoll's bits are the same on Linux");

/* Edge-triggered: each write to an eventfd is an event, whether the one before was read or not. */
static int
epoll_doorbell(int handle, int doorbell)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = DOORBELL_DATA};

    return (int) UCO__SYSTEM(epoll_ctl, epoll_ctl(handle, EPOLL_CTL_ADD, doorbell, &event));
}

/* The first time with the doorbell; again, with -1, to start over with an empty set. */
static int
epoll_open(struct uco__poller *poller, int doorbell)
{
    int handle = (int) UCO__SYSTEM(epoll_create1, epoll_create1(EPOLL_CLOEXEC));
    int r;

    if (handle < 0)
        return handle;
    if (doorbell < 0)
        doorbell = poller->doorbell;
    r = epoll_doorbell(handle, doorbell);
    if (r < 0) {
        uco__close(handle);
        return r;
    }
    if (poller->handle >= 0)
        uco__close(poller->handle);
    poller->handle = handle;
    poller->doorbell = doorbell;
    return 0;
}

static void
epoll_shut(struct uco__poller *poller)
{
    if (poller->handle >= 0)
        uco__close(poller->handle);
    poller->handle = -1;
}

static int
epoll_set(struct uco__poller *poller, int fd, uint32_t generation, short interest, bool level)
{
    struct epoll_event event = {
        .events = (uint32_t) interest | (level ? 0 : EPOLLET),
        .data.u64 = (uint64_t) generation << 32 | (uint32_t) fd,
    };
    int operation = poller->fds[fd].registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    return (int) UCO__SYSTEM(epoll_ctl, epoll_ctl(poller->handle, operation, fd, &event));
}

static void
epoll_remove(struct uco__poller *poller, int fd)
{
    /* EBADF and ENOENT: closed behind our back, and so gone already. */
    UCO__SYSTEM(epoll_ctl, epoll_ctl(poller->handle, EPOLL_CTL_DEL, fd, NULL));
}

/* epoll_pwait2 (Linux 5.11) waits for nanoseconds; before it, milliseconds, rounded up so that
 * nothing is early. */
static int
epoll_wait_ns(int handle, struct epoll_event *events, uint64_t timeout)
{
    static atomic_bool no_pwait2;
    struct timespec limit = {
        .tv_sec = (time_t) (timeout / UCO__SECOND),
        .tv_nsec = (long) (timeout % UCO__SECOND),
    };
    uint64_t ms = timeout / UCO__MILLISECOND + (timeout % UCO__MILLISECOND != 0);
    long r;

    /* Relaxed: at worst another thread tries once more. */
    if (timeout != 0 && timeout != UCO__NEVER &&
        !atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
        r = UCO__SYSTEM(epoll_wait,
                        syscall(SYS_epoll_pwait2, handle, events, EVENTS_MAX, &limit, NULL, 0));
        if (r != -ENOSYS)
            return (int) r;
        atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
    }
    if (timeout == UCO__NEVER)
        ms = UINT64_MAX;
    return (int) UCO__SYSTEM(epoll_wait, epoll_wait(handle, events, EVENTS_MAX,
                                                    ms == UINT64_MAX ? -1
                                                    : ms > INT_MAX   ? INT_MAX
                                                                     : (int) ms));
}

/* With many connections, what belongs to each is cold: it is fetched while others' events are
 * handed on. */
static inline void
epoll_prefetch(const struct uco__poller *poller, const struct epoll_event events[], int i, int n)
{
    if (i + PREFETCH_AHEAD < n)
        uco__poller_prefetch(poller, (int) (uint32_t) events[i + PREFETCH_AHEAD].data.u64);
    if (i + PREFETCH_AHEAD / 2 < n)
        uco__poller_prefetch_waits(poller,
                                   (int) (uint32_t) events[i + PREFETCH_AHEAD / 2].data.u64);
}

static int
epoll_collect(struct uco__poller *poller, uint64_t timeout)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait_ns(poller->handle, events, timeout);
    int rung = 0;

    /* EINTR: a signal handler ran. The loop looks at everything again, its timers included. */
    if (n < 0)
        return n == -EINTR ? 0 : n;
    uco__sanitizer_written(events, (size_t) n * sizeof events[0]);
    for (int i = 0; i < n; i++) {
        uint64_t data = events[i].data.u64;

        epoll_prefetch(poller, events, i, n);
        if (data == DOORBELL_DATA)
            rung = 1;
        else
            uco__poller_event(poller, (int) (uint32_t) data, (uint32_t) (data >> 32),
                              (short) events[i].events);
    }
    return rung;
}

const struct uco__poller_backend uco__poller_epoll = {
    .open = epoll_open,
    .close = epoll_shut,
    .set = epoll_set,
    .remove = epoll_remove,
    .wait = epoll_collect,
    .close_removes = true,
};
