/* SPDX-License-Identifier: MIT */

/*
 * The echo server of bench_echo, with GNU Pth. Its argument is a port, 0 for any; it prints the one
 * that it listens on.
 */

#include "echo_listen.h"

#include <pth.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 32 * 1024,
    STACK_BYTES = 64 * 1024,
};

static void *
echo(void *arg)
{
    int fd = (int) (intptr_t) arg;
    char *buffer = malloc(BUFFER_BYTES);
    ssize_t n;

    while (buffer != NULL && (n = pth_read(fd, buffer, BUFFER_BYTES)) > 0) {
        if (pth_write(fd, buffer, (size_t) n) != n)
            break;
    }
    free(buffer);
    close(fd);
    return NULL;
}

int
main(int argc, char **argv)
{
    pth_attr_t attributes;
    int listener;

    if (argc != 2) {
        fprintf(stderr, "usage: echo_pth PORT\n");
        return 2;
    }
    if (!pth_init()) {
        perror("echo_pth: starting");
        return 1;
    }
    attributes = pth_attr_new();
    pth_attr_set(attributes, PTH_ATTR_STACK_SIZE, (unsigned int) STACK_BYTES);
    pth_attr_set(attributes, PTH_ATTR_JOINABLE, FALSE);
    listener = peer_listen((uint16_t) atoi(argv[1]));
    for (;;) {
        int fd = pth_accept(listener, NULL, NULL);

        if (fd < 0) {
            perror("echo_pth: accepting");
            return 1;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (pth_spawn(attributes, echo, (void *) (intptr_t) fd) == NULL) {
            perror("echo_pth: a thread");
            return 1;
        }
    }
}
