/* SPDX-License-Identifier: MIT */

/* Where a server listens: as uco_listen() does, or on a port that it shares. */

#include "base/system.h"
#include "io/address.h"
#include "io/name.h"
#include "io/server.h"

#include <netinet/in.h>
#include <uco/name.h>
#include <uco/net.h>

static int
shared_listen_on(const struct addrinfo *address, int backlog)
{
    const int yes = 1, no = 0;
    int fd = (int) UCO__SYSTEM(
        socket, socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int r;

    if (fd < 0)
        return fd;
    r = (int) UCO__SYSTEM(setsockopt, setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes));
    /* Of no consequence when these fail: they make it more, not less. */
    (void) UCO__RESULT(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    if (address->ai_family == AF_INET6)
        (void) UCO__RESULT(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no));
    if (r == 0)
        r = (int) UCO__SYSTEM(bind, bind(fd, address->ai_addr, address->ai_addrlen));
    if (r == 0)
        r = (int) UCO__SYSTEM(listen, listen(fd, backlog > 0 ? backlog : SOMAXCONN));
    if (r == 0)
        return fd;
    uco__close(fd);
    return r;
}

static int
shared_listen(const char *host, uint16_t port, int backlog)
{
    struct addrinfo *list = NULL;
    int error = 0, fd = -1;
    int r = uco__name_numeric(host, port, &list);

    if (r == -ENOENT)
        r = uco__name_lookup(host, port, AI_PASSIVE, &list);
    if (r < 0)
        return r;
    for (const struct addrinfo *address = list; fd < 0 && address != NULL;
         address = address->ai_next) {
        fd = shared_listen_on(address, backlog);
        if (fd < 0)
            error = uco__address_error(error, fd);
    }
    uco_freeaddrinfo(list);
    return fd >= 0 ? fd : error;
}

int
uco__server_listen(const uco_server_options *options)
{
    const char *host = options->host;
    int r;

    if (!options->reuse_port || (host != NULL && uco__address_unix_path(host) != NULL))
        return uco_listen(host, options->port, options->backlog);
    if (host != NULL)
        return shared_listen(host, options->port, options->backlog);
    /* All addresses, IPv4's included; IPv4's only where there is no IPv6. */
    r = shared_listen("::", options->port, options->backlog);
    if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)
        r = shared_listen("0.0.0.0", options->port, options->backlog);
    return r;
}
