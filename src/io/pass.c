/* SPDX-License-Identifier: MIT */

/*
 * Handing file descriptors over Unix sockets.
 *
 * 1. An fd goes with one byte: a stream carries none without data.
 * 2. Every fd that arrives is returned or closed.
 */

#include "base/system.h"
#include "io/fd.h"

#include <string.h>
#include <uco/io.h>
#include <uco/net.h>

#define PASS_MAX 253 /* the kernel's: no message has more */
#ifndef SCM_PIDFD
#define SCM_PIDFD 4 /* Linux 6.5 */
#endif

/* Other sockets would send the byte, and nothing with it. */
static int
check_is_unix(int fd)
{
    socklen_t size = sizeof(int);
    int domain;
    int r = (int) UCO__SYSTEM(getsockopt, getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size));

    return r < 0 ? r : domain == AF_UNIX ? 0 : -EOPNOTSUPP;
}

static int
pass_begin(int socket)
{
    struct uco__task *task;
    int r = uco__fd_begin(&task);

    return r < 0 ? r : check_is_unix(socket);
}

int
uco_send_fd(int socket, int fd)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec vector = {.iov_base = (char[1]){0}, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    ssize_t r = pass_begin(socket);

    if (r < 0)
        return (int) r;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    r = uco_sendmsg(socket, &message, 0);
    return r < 0 ? (int) r : 0;
}

/* Of the fds that came the first, if `fd` is negative; the others are closed. */
static int
take_first(const struct cmsghdr *header, int fd)
{
    const unsigned char *data = CMSG_DATA(header);
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof fd;

    for (size_t i = 0; i < count; i++) {
        int next;

        memcpy(&next, data + i * sizeof next, sizeof next);
        if (fd < 0 && header->cmsg_type == SCM_RIGHTS)
            fd = next;
        else if (next >= 0)
            uco__close(next);
    }
    return fd;
}

static int
take_all(struct msghdr *message)
{
    int fd = -1;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET &&
            (header->cmsg_type == SCM_RIGHTS || header->cmsg_type == SCM_PIDFD))
            fd = take_first(header, fd);
    }
    return fd;
}

int
uco_recv_fd(int socket)
{
    /* For all fds that a message can have, and what else it may say of its sender. */
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(PASS_MAX * sizeof(int)) + 512];
    char byte;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t r = pass_begin(socket);
    int fd;

    if (r < 0)
        return (int) r;
    r = uco_recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (r < 0)
        return (int) r;
    fd = take_all(&message);
    if (fd >= 0)
        return fd;
    if ((message.msg_flags & MSG_CTRUNC) != 0)
        return -EMFILE;
    return r == 0 ? -ENODATA : -EPROTO;
}
