/* SPDX-License-Identifier: MIT */

/*
 * accept, connect, listen.
 *
 * 1. These make their socket non-blocking: unlike read and write, they cannot be asked not to wait.
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

int
uco_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    int r = uco__checkpoint();

    if (r == 0)
        r = uco__set_nonblocking(fd);
    while (r == 0) {
        r = (int) UCO__SYSTEM(accept4, accept4(fd, addr, len, flags));
        if (r >= 0)
            return r;
        if (r == -EAGAIN)
            r = uco__fd_wait(uco__task_of(uco_current_task()), fd, POLLIN, UCO_FOREVER);
        else if (r == -EINTR || r == -ECONNABORTED)
            r = uco__checkpoint(); /* the connection is gone; the next may be there */
    }
    return r;
}

/* The end of a connection attempt that did not end at once. */
static int
connect_finish(int fd)
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
        r = uco__fd_wait(uco__task_of(uco_current_task()), fd, POLLOUT, UCO_FOREVER);
        if (r < 0)
            return r;
    }
    r = (int) UCO__RESULT(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
    return r < 0 ? r : -error;
}

int
uco_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    double retry = UNIX_RETRY_MIN;
    int r = uco__checkpoint();

    if (r < 0)
        return r;
    if (addr == NULL)
        return uco__misuse(-EINVAL, "uco_connect: the address is NULL");
    r = uco__set_nonblocking(fd);
    while (r == 0) {
        r = (int) UCO__SYSTEM(connect, connect(fd, addr, len));
        if (r == -EINPROGRESS || r == -EINTR || r == -EALREADY)
            return connect_finish(fd);
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
