/* SPDX-License-Identifier: MIT */

/*
 * Sockets: send, receive, accept, connect.
 *
 * 1. The last two make their socket non-blocking: unlike the others, they cannot be asked not to
 *    wait. But what stands where the standard streams do may be shared: accept polls it.
 * 2. A connection is there only when SO_ERROR says so.
 */

#include "base/system.h"
#include "core/report.h"
#include "io/fd.h"
#include "task/task.h"

#include <poll.h>
#include <uco/io.h>
#include <unistd.h>

/* --- send and receive --- */

/* Between two tries, of which the first gave r: 0, or what the call returns. */
static int
try_again(struct uco__task *task, int fd, short events, int flags, ssize_t r, double *delay)
{
    if (r == -EINTR)
        return 0;
    /* Who asks for pending errors gets those that are there. */
    if ((flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) != 0)
        return (int) r;
    return uco__fd_wait_again(task, fd, events, delay);
}

/* The same for sending. A socket that has room is no news: it is another's queue that is full. */
static int
try_again_to(struct uco__task *task, int fd, const struct sockaddr *addr, socklen_t len, int flags,
             ssize_t r, double *delay)
{
    flags &= MSG_DONTWAIT;
    if (r == -EAGAIN && flags == 0 && addr != NULL && len >= sizeof addr->sa_family &&
        addr->sa_family == AF_UNIX && uco__poll_now(fd, POLLOUT) == POLLOUT)
        return uco__fd_pause(delay);
    return try_again(task, fd, POLLOUT, flags, r, delay);
}

static ssize_t
recv_now(struct uco_loop *loop, int fd, void *buf, size_t n, int flags)
{
    ssize_t r;

    if (flags == 0 && uco__poller_is_drained(&loop->poller, fd))
        return -EAGAIN;
    r = UCO__SYSTEM(read, recv(fd, buf, n, flags | MSG_DONTWAIT));
    if (flags == 0 && r > 0 && (size_t) r < n)
        uco__poller_note_short_read(&loop->poller, fd);
    return r;
}

static ssize_t
recv_some(struct uco__task *task, int fd, void *buf, size_t n, int flags)
{
    double delay = 0;

    for (;;) {
        ssize_t r = recv_now(task->future.loop, fd, buf, n, flags);

        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLIN, flags, r, &delay);
        if (UCO__UNLIKELY(r < 0))
            return r;
    }
}

static bool
is_stream(int fd)
{
    socklen_t size = sizeof(int);
    int type;

    return UCO__RESULT(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)) == 0 &&
           type == SOCK_STREAM;
}

/* MSG_WAITALL, of which the kernel knows nothing when it must not wait. */
static ssize_t
recv_all(struct uco__task *task, int fd, void *buf, size_t n, int flags)
{
    size_t done = 0;
    ssize_t r;

    do {
        r = recv_some(task, fd, (char *) buf + done, n - done, flags);
        if (r > 0)
            done += (size_t) r;
    } while (r > 0 && done < n && is_stream(fd));
    return done > 0 ? (ssize_t) done : r;
}

ssize_t
uco_recv(int fd, void *buf, size_t n, int flags)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    if (UCO__UNLIKELY(r < 0))
        return r;
    if (UCO__UNLIKELY((flags & MSG_WAITALL) != 0)) {
        flags &= ~MSG_WAITALL;
        if ((flags & (MSG_PEEK | MSG_DONTWAIT | MSG_ERRQUEUE)) == 0)
            return recv_all(task, fd, buf, n, flags);
    }
    return recv_some(task, fd, buf, n, flags);
}

ssize_t
uco_send(int fd, const void *buf, size_t n, int flags)
{
    return uco_sendto(fd, buf, n, flags, NULL, 0);
}

ssize_t
uco_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
    struct uco__task *task;
    double delay = 0;
    ssize_t r;

    if (addr == NULL)
        return uco_recv(fd, buf, n, flags);
    r = uco__fd_begin(&task);
    while (r == 0) {
        r = UCO__SYSTEM(read,
                        recvfrom(fd, buf, n, (flags & ~MSG_WAITALL) | MSG_DONTWAIT, addr, len));
        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLIN, flags, r, &delay);
    }
    return r;
}

ssize_t
uco_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
    double delay = 0;
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    while (UCO__LIKELY(r == 0)) {
        r = UCO__SYSTEM(write, sendto(fd, buf, n, flags | MSG_DONTWAIT | MSG_NOSIGNAL, addr, len));
        if (UCO__LIKELY(r != -EAGAIN && r != -EINTR))
            return r;
        r = try_again_to(task, fd, addr, len, flags, r, &delay);
    }
    return r;
}

ssize_t
uco_recvmsg(int fd, struct msghdr *msg, int flags)
{
    double delay = 0;
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    while (r == 0) {
        r = UCO__SYSTEM(read, recvmsg(fd, msg, (flags & ~MSG_WAITALL) | MSG_DONTWAIT));
        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLIN, flags, r, &delay);
    }
    return r;
}

ssize_t
uco_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    double delay = 0;
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    while (r == 0) {
        r = UCO__SYSTEM(write, sendmsg(fd, msg, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again_to(task, fd, msg->msg_name, msg->msg_namelen, flags, r, &delay);
    }
    return r;
}

/* --- accept and connect --- */

/* A connection that was just accepted. */
static void
accept_know(struct uco__poller *poller, int listener, int fd)
{
    bool tcp = uco__poller_is_tcp(poller, listener);

    uco__poller_know(poller, fd,
                     tcp || (!uco__poller_is_known(poller, listener) && uco__is_tcp(fd)));
}

/* One try, of a socket that may be shared. */
static int
accept_polled(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    socklen_t size = sizeof(int);
    int listens;
    int r = (int) UCO__RESULT(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size));

    if (r == 0)
        r = listens ? uco__poll_now(fd, POLLIN) : -EINVAL;
    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    return (int) UCO__SYSTEM(accept4, accept4(fd, addr, len, flags));
}

static int
accept_now(const struct uco__poller *poller, int fd, struct sockaddr *addr, socklen_t *len,
           int flags)
{
    int r = 0;

    if (UCO__UNLIKELY(!uco__poller_is_listener(poller, fd))) {
        if (fd <= STDERR_FILENO)
            return accept_polled(fd, addr, len, flags);
        r = uco__set_nonblocking(fd);
    }
    return r < 0 ? r : (int) UCO__SYSTEM(accept4, accept4(fd, addr, len, flags));
}

int
uco_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct uco__task *task;
    int r = uco__fd_begin(&task);

    while (r == 0) {
        struct uco__poller *poller = &task->future.loop->poller;

        r = accept_now(poller, fd, addr, len, flags);
        if (r >= 0) {
            accept_know(poller, fd, r);
            return r;
        }
        if (r == -EAGAIN)
            r = uco__fd_wait(task, fd, POLLIN, UCO_FOREVER);
        else if (r == -EINTR || r == -ECONNABORTED)
            r = uco__task_checkpoint(task); /* that one is gone; the next may be there */
    }
    return r;
}

/* The end of a connection attempt that did not end at once. */
static int
connect_finish(struct uco__task *task, int fd)
{
    socklen_t size = sizeof(int);
    int error = 0;
    int r;

    for (;;) {
        r = uco__poll_now(fd, POLLOUT);
        if (r < 0)
            return r;
        if (r > 0)
            break;
        r = uco__fd_wait(task, fd, POLLOUT, UCO_FOREVER);
        if (r < 0)
            return r;
    }
    r = (int) UCO__SYSTEM(getsockopt, getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
    return r < 0 ? r : -error;
}

int
uco_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    double delay = 0;
    struct uco__task *task;
    int r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    if (addr == NULL)
        return uco__misuse(-EINVAL, "uco_connect: the address is NULL");
    r = uco__set_nonblocking(fd);
    while (r == 0) {
        r = (int) UCO__SYSTEM(connect, connect(fd, addr, len));
        if (r == -EINPROGRESS || r == -EINTR || r == -EALREADY)
            r = connect_finish(task, fd);
        if (r == 0 && !uco__poller_is_waited(&task->future.loop->poller, fd))
            uco__poller_know(&task->future.loop->poller, fd, uco__is_tcp(fd));
        if (r != -EAGAIN || addr->sa_family != AF_UNIX)
            return r;
        r = uco__fd_pause(&delay); /* its listener's queue is full, which cannot be waited for */
    }
    return r;
}
