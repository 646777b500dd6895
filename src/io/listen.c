/* SPDX-License-Identifier: MIT */

/*
 * Listening sockets.
 *
 * 1. Of several addresses of a name the first that can be listened on is taken, in the resolver's
 *    order.
 * 2. A socket file is removed only when it is known that nobody listens on it.
 */

#include "base/system.h"
#include "core/loop.h"
#include "io/address.h"
#include "io/name.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <uco/io.h>
#include <uco/name.h>
#include <uco/net.h>
#include <unistd.h>

/* A listener that is known as uco's own costs its accepts nothing: not outside a loop, where it is
 * as good as any other. */
static void
listener_know(int fd, bool tcp)
{
    struct uco_loop *loop = uco_get_running_loop();

    if (loop == NULL)
        return;
    uco__poller_know(&loop->poller, fd, tcp);
    uco__poller_note_listener(&loop->poller, fd);
}

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
        (void) UCO__RESULT(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    if (addr->sa_family == AF_INET6)
        (void) UCO__RESULT(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no));
    r = (int) UCO__SYSTEM(bind, bind(fd, addr, len));
    if (r == 0)
        r = (int) UCO__SYSTEM(listen, listen(fd, backlog > 0 ? backlog : SOMAXCONN));
    if (r == 0) {
        listener_know(fd, addr->sa_family != AF_UNIX);
        return fd;
    }
    uco__close(fd);
    return r;
}

static int
listen_any(const struct addrinfo *list, int backlog)
{
    int error = 0;

    for (; list != NULL; list = list->ai_next) {
        int fd = listen_on(list->ai_addr, list->ai_addrlen, backlog);

        if (fd >= 0)
            return fd;
        error = uco__address_error(error, fd);
    }
    return error;
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

    if (addr->sun_path[0] == '\0' || UCO__SYSTEM(stat, lstat(addr->sun_path, &status)) < 0 ||
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
    struct sockaddr_un addr;
    socklen_t len;
    int r = uco__address_unix(path, "uco_listen", &addr, &len);

    if (r < 0)
        return r;
    r = listen_on((const struct sockaddr *) &addr, len, backlog);
    if (r == -EADDRINUSE && unix_is_stale(&addr, len) && UCO__SYSTEM(unlink, unlink(path)) == 0)
        r = listen_on((const struct sockaddr *) &addr, len, backlog);
    return r;
}

int
uco_listen(const char *host, uint16_t port, int backlog)
{
    struct addrinfo *list = NULL;
    const char *path;
    int r;

    if (host == NULL)
        return listen_everywhere(port, backlog);
    path = uco__address_unix_path(host);
    if (path != NULL)
        return listen_unix(path, backlog);
    r = uco__name_numeric(host, port, &list);
    if (r == -ENOENT)
        r = uco__name_lookup(host, port, AI_PASSIVE, &list);
    if (r < 0)
        return r;
    r = listen_any(list, backlog);
    uco_freeaddrinfo(list);
    return r;
}
