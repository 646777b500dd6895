/* SPDX-License-Identifier: MIT */
#ifndef ECHO_LISTEN_H
#define ECHO_LISTEN_H

/* A listening socket for those peers whose library leaves that to its users. Prints its port. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static inline int
peer_listen(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *) &address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *) &address, &length) < 0) {
        perror("listening");
        exit(1);
    }
    printf("%u\n", (unsigned) ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

#endif
