/* SPDX-License-Identifier: MIT */

/*
 * Sockets: send, receive, accept, connect.
 *
 * 1. The last two make their socket non-blocking: unlike the others, they cannot be asked not to
 *    wait.
 * 2. A connection is there only when SO_ERROR says so.
 */

#include "base/system.h"
#include "core/report.h"
#include "io/fd.h"
#include "io/name.h"
#include "task/task.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uco/io.h>
#include <unistd.h>

#define UNIX_PREFIX "unix:"
/* A Unix socket whose listener's queue is full cannot be waited for: try again after so many
 * seconds, twice as many each time. */
#define UNIX_RETRY_MIN 0.001
#define UNIX_RETRY_MAX 0.050

/* --- send and receive --- */

/* Between two tries, of which the first gave r: 0, or what the call returns. */
static int
try_again(struct uco__task *task, int fd, short events, int flags, ssize_t r)
{
    if (r == -EINTR)
        return 0;
    /* Who asks for pending errors gets those that are there. */
    if ((flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) != 0)
        return (int) r;
    return uco__fd_wait(task, fd, events, UCO_FOREVER);
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
    for (;;) {
        ssize_t r = recv_now(task->future.loop, fd, buf, n, flags);

        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLIN, flags, r);
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
    ssize_t r;

    if (addr == NULL)
        return uco_recv(fd, buf, n, flags);
    r = uco__fd_begin(&task);
    while (r == 0) {
        r = UCO__SYSTEM(read,
                        recvfrom(fd, buf, n, (flags & ~MSG_WAITALL) | MSG_DONTWAIT, addr, len));
        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLIN, flags, r);
    }
    return r;
}

ssize_t
uco_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    while (UCO__LIKELY(r == 0)) {
        r = UCO__SYSTEM(write, sendto(fd, buf, n, flags | MSG_DONTWAIT | MSG_NOSIGNAL, addr, len));
        if (UCO__LIKELY(r != -EAGAIN && r != -EINTR))
            return r;
        r = try_again(task, fd, POLLOUT, flags & MSG_DONTWAIT, r);
    }
    return r;
}

ssize_t
uco_recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    while (r == 0) {
        r = UCO__SYSTEM(read, recvmsg(fd, msg, (flags & ~MSG_WAITALL) | MSG_DONTWAIT));
        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLIN, flags, r);
    }
    return r;
}

ssize_t
uco_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct uco__task *task;
    ssize_t r = uco__fd_begin(&task);

    while (r == 0) {
        r = UCO__SYSTEM(write, sendmsg(fd, msg, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
        if (r != -EAGAIN && r != -EINTR)
            return r;
        r = try_again(task, fd, POLLOUT, flags & MSG_DONTWAIT, r);
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

int
uco_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct uco__task *task;
    struct uco__poller *poller;
    int r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    poller = &task->future.loop->poller;
    if (!uco__poller_is_known(poller, fd))
        r = uco__set_nonblocking(fd); /* a known listener is uco_listen()'s, and is so already */
    while (r == 0) {
        r = (int) UCO__SYSTEM(accept4, accept4(fd, addr, len, flags));
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
    double retry = UNIX_RETRY_MIN;
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
        r = uco_sleep(retry);
        retry = retry * 2 < UNIX_RETRY_MAX ? retry * 2 : UNIX_RETRY_MAX;
    }
    return r;
}

/* --- listen --- */

static int
listen_on(const struct sockaddr *addr, socklen_t len, int backlog)
{
    const int yes = 1, no = 0;
    int fd = (int) UCO__SYSTEM(
        socket, socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int r;

    if (fd < 0)
        return fd;
    /* Of no consequence when these fail: they make it more, not less. */
    if (addr->sa_family != AF_UNIX)
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (addr->sa_family == AF_INET6)
        (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    r = (int) UCO__SYSTEM(bind, bind(fd, addr, len));
    if (r == 0)
        r = (int) UCO__SYSTEM(listen, listen(fd, backlog > 0 ? backlog : SOMAXCONN));
    if (r == 0)
        return fd;
    uco__close(fd);
    return r;
}

static int
listen_any(const struct addrinfo *list, int backlog)
{
    int r = -EADDRNOTAVAIL;

    for (; list != NULL && r < 0; list = list->ai_next)
        r = listen_on(list->ai_addr, list->ai_addrlen, backlog);
    return r;
}

/* All addresses, IPv4's included; IPv4's only where there is no IPv6. */
static int
listen_everywhere(uint16_t port, int backlog)
{
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int r = listen_on((const struct sockaddr *) &six, sizeof six, backlog);

    if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)
        r = listen_on((const struct sockaddr *) &four, sizeof four, backlog);
    return r;
}

/* Whether a socket file is what an earlier listener left behind. */
static bool
unix_is_stale(const struct sockaddr_un *addr, socklen_t len)
{
    struct stat status;
    int fd, r;

    if (addr->sun_path[0] == '\0' || lstat(addr->sun_path, &status) < 0 ||
        !S_ISSOCK(status.st_mode))
        return false;
    /* A datagram socket is refused by a stream listener (EPROTOTYPE), and by nobody at all in
     * another way: so the one that may be there gets no connection to accept. */
    fd = (int) UCO__SYSTEM(socket, socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return false;
    r = (int) UCO__SYSTEM(connect, connect(fd, (const struct sockaddr *) addr, len));
    uco__close(fd);
    return r == -ECONNREFUSED;
}

static int
listen_unix(const char *path, int backlog)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    socklen_t len;
    int r;

    if (size == 0)
        return uco__misuse(-EINVAL, "uco_listen: \"unix:\" without a path");
    if (size >= sizeof addr.sun_path)
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, size);
    len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size + 1);
    if (path[0] == '@') {
        addr.sun_path[0] = '\0';
        len--;
    }
    r = listen_on((const struct sockaddr *) &addr, len, backlog);
    if (r == -EADDRINUSE && unix_is_stale(&addr, len) && unlink(path) == 0)
        r = listen_on((const struct sockaddr *) &addr, len, backlog);
    return r;
}

int
uco_listen(const char *host, uint16_t port, int backlog)
{
    struct addrinfo *list = NULL;
    int r;

    if (host == NULL)
        return listen_everywhere(port, backlog);
    if (strncmp(host, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return listen_unix(host + strlen(UNIX_PREFIX), backlog);
    r = uco__name_numeric(host, port, &list);
    if (r == -ENOENT)
        r = uco__name_lookup(host, port, AI_PASSIVE, &list);
    if (r < 0)
        return r;
    r = listen_any(list, backlog);
    freeaddrinfo(list);
    return r;
}
