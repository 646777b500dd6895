/* SPDX-License-Identifier: MIT */
#ifndef TEST_IO_DIAL_SCENE_H
#define TEST_IO_DIAL_SCENE_H

/*
 * A network for dialling, for one source file of a program: the library, which tests link as
 * objects, calls this getaddrinfo() and connect() instead of the C library's. A name tells what its
 * addresses are and what becomes of connecting to them. It is a 't' and two characters an address:
 * its family, 4 or 6, and
 *
 *   o   somebody listens there
 *   r   it refuses at once
 *   u   there is no route to it
 *   b   it does not answer
 *   s   nobody listens, and the socket is given the very port it connects to
 */

#include "support.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 16, QUEUE = 8, PORT = 1 };

static struct {
    char script[2 * ADDRESSES_MAX + 1];
    int good;
    int full; /* its queue: whoever connects waits */
    int queue[QUEUE];
    int slow[ADDRESSES_MAX]; /* sockets that wait */
    int slow_count;
    double start;
    char log[256]; /* address and milliseconds of each attempt */
} scene;

/* The resolver */

static struct addrinfo *
address_new(int index, char family, const char *service)
{
    struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in6));
    struct sockaddr_in6 *six = (struct sockaddr_in6 *) (void *) (info + 1);
    struct sockaddr_in *in = (struct sockaddr_in *) (void *) (info + 1);

    *info = (struct addrinfo){.ai_socktype = SOCK_STREAM, .ai_addr = (struct sockaddr *) in};
    info->ai_family = family == '4' ? AF_INET : AF_INET6;
    info->ai_addrlen = family == '4' ? sizeof *in : sizeof *six;
    in->sin_family = (sa_family_t) info->ai_family;
    in->sin_port = htons((uint16_t) atoi(service));
    if (family == '4') {
        in->sin_addr.s_addr = htonl(0x7f090900 + (uint32_t) index);
    } else {
        six->sin6_addr.s6_addr[0] = 0xfd;
        six->sin6_addr.s6_addr[15] = (uint8_t) index;
    }
    return info;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    struct addrinfo **end = result;

    if (node != NULL && (strcmp(node, "127.0.0.1") == 0 || strcmp(node, "::1") == 0)) {
        *result = address_new(0, node[0] == ':' ? '6' : '4', service);
        if (node[0] == ':')
            ((struct sockaddr_in6 *) (void *) (*result)->ai_addr)->sin6_addr = in6addr_loopback;
        else
            ((struct sockaddr_in *) (void *) (*result)->ai_addr)->sin_addr.s_addr =
                htonl(INADDR_LOOPBACK);
        return 0;
    }
    if (node == NULL || node[0] != 't' || (hints->ai_flags & AI_NUMERICHOST) != 0)
        return EAI_NONAME;
    snprintf(scene.script, sizeof scene.script, "%s", node + 1);
    *result = NULL;
    for (int i = 0; node[1 + 2 * i] != '\0'; i++) {
        *end = address_new(i, node[1 + 2 * i], service);
        end = &(*end)->ai_next;
    }
    return 0;
}

void
freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

/* The network */

static int
connect_really(int fd, const struct sockaddr *addr, socklen_t len)
{
    return (int) syscall(SYS_connect, fd, addr, len);
}

static int
connect_to(int fd, int family, int listening)
{
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};

    getsockname(listening, (struct sockaddr *) &in, &size);
    if (family == AF_INET)
        return connect_really(fd, (struct sockaddr *) &in, sizeof in);
    six.sin6_port = in.sin_port;
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&six.sin6_addr.s6_addr[12], &in.sin_addr, 4);
    return connect_really(fd, (struct sockaddr *) &six, sizeof six);
}

static int
index_of(const struct sockaddr *addr)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *) (const void *) addr;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *) (const void *) addr;

    if (addr->sa_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 8 == 0x7f0909)
        return (int) (ntohl(in->sin_addr.s_addr) & 0xff);
    if (addr->sa_family == AF_INET6 && six->sin6_addr.s6_addr[0] == 0xfd)
        return six->sin6_addr.s6_addr[15];
    return -1;
}

static void
note(int index)
{
    size_t size = strlen(scene.log);

    snprintf(scene.log + size, sizeof scene.log - size, "%c%.0f ", 'a' + index,
             (uco_time() - scene.start) * 1000);
}

int
connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
    const struct sockaddr *addr = address.__sockaddr__;
    int index = addr != NULL ? index_of(addr) : -1;

    if (index < 0)
        return connect_really(fd, addr, len);
    note(index);
    switch (scene.script[2 * index + 1]) {
    case 'o':
        return connect_to(fd, addr->sa_family, scene.good);
    case 'b':
        scene.slow[scene.slow_count++] = fd;
        return connect_to(fd, addr->sa_family, scene.full);
    case 's':
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
        return bind(fd, addr, len) < 0 ? -1 : connect_really(fd, addr, len);
    case 'u':
        errno = ENETUNREACH;
        return -1;
    default:
        errno = ECONNREFUSED;
        return -1;
    }
}

static void
scene_begin(void)
{
    scene.log[0] = '\0';
    scene.slow_count = 0;
    scene.start = uco_time();
}

static void
scene_open(void)
{
    struct pollfd entry = {.events = POLLOUT};
    int n = 0;

    scene.good = uco_listen("127.0.0.1", 0, 0);
    scene.full = uco_listen("127.0.0.1", 0, 1);
    ck_assert_int_ge(scene.good, 0);
    ck_assert_int_ge(scene.full, 0);
    do {
        ck_assert_int_lt(n, QUEUE);
        entry.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        scene.queue[n++] = entry.fd;
        connect_to(entry.fd, AF_INET, scene.full);
    } while (poll(&entry, 1, 100) > 0);
}

static void
scene_close(void)
{
    for (int i = 0; i < QUEUE && scene.queue[i] > 0; i++)
        close(scene.queue[i]);
    close(scene.good);
    close(scene.full);
}

/* A wait for an attempt's answer ends: the connection has failed. */
static void
break_slow(int index)
{
    ck_assert_int_eq(shutdown(scene.slow[index], SHUT_RDWR), 0);
}

/* The same, but it is there: another one takes its place. The fd of the old one is returned, which
 * must stay until the new one is closed. */
static int
let_slow_connect(int index)
{
    int old = dup(scene.slow[index]);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(connect_to(fd, AF_INET, scene.good), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(shutdown(old, SHUT_RDWR), 0);
    ck_assert_int_ge(dup3(fd, scene.slow[index], O_CLOEXEC), 0);
    close(fd);
    return old;
}

static bool
has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    else
        test_skipped("no IPv6");
    return fd >= 0;
}

#endif
