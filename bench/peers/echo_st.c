/* SPDX-License-Identifier: MIT */

/*
 * The echo server of bench_echo, with State Threads. Its argument is a port, 0 for any; it prints
 * the one that it listens on.
 *
 * Debian's library has no epoll. With select(), which it would take, it lowers the limit of open
 * files to 1,024 for good, so it is to wait with poll().
 */

#include "echo_listen.h"

#include <st.h>
#include <stdint.h>

enum {
    BUFFER_BYTES = 32 * 1024,
    STACK_BYTES = 64 * 1024,
};

static void *
echo(void *arg)
{
    st_netfd_t connection = arg;
    char *buffer = malloc(BUFFER_BYTES);
    ssize_t n;

    while (buffer != NULL &&
           (n = st_read(connection, buffer, BUFFER_BYTES, ST_UTIME_NO_TIMEOUT)) > 0) {
        if (st_write(connection, buffer, (size_t) n, ST_UTIME_NO_TIMEOUT) != n)
            break;
    }
    free(buffer);
    st_netfd_close(connection);
    return NULL;
}

int
main(int argc, char **argv)
{
    st_netfd_t listener;

    if (argc != 2) {
        fprintf(stderr, "usage: echo_st PORT\n");
        return 2;
    }
    if (st_set_eventsys(ST_EVENTSYS_POLL) < 0 || st_init() < 0) {
        perror("echo_st: starting");
        return 1;
    }
    listener = st_netfd_open_socket(peer_listen((uint16_t) atoi(argv[1])));
    if (listener == NULL) {
        perror("echo_st: listening");
        return 1;
    }
    for (;;) {
        st_netfd_t connection = st_accept(listener, NULL, NULL, ST_UTIME_NO_TIMEOUT);

        if (connection == NULL) {
            perror("echo_st: accepting");
            return 1;
        }
        setsockopt(st_netfd_fileno(connection), IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (st_thread_create(echo, connection, 0, STACK_BYTES) == NULL) {
            perror("echo_st: a thread");
            return 1;
        }
    }
}
