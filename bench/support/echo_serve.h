/* SPDX-License-Identifier: MIT */
#ifndef ECHO_SERVE_H
#define ECHO_SERVE_H

/*
 * The echo servers of this program: each runs in a process of its own, until that is killed. They
 * listen on 127.0.0.1, set TCP_NODELAY, and print their port when they do.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uco/loop.h>

/* How a server does it. */
struct echo_way {
    enum uco_backend backend;
    double spin; /* seconds */
};

typedef void echo_serve_fn(uint16_t port, const struct echo_way *way);

/** Plain C on epoll. */
echo_serve_fn echo_serve_floor;

/** Plain C on io_uring, with liburing. */
echo_serve_fn echo_serve_floor_uring;
bool echo_uring_is_here(void);

/** uco: a task for each connection that receives and sends on its fd. */
echo_serve_fn echo_serve_fds;

/** uco: uco_server_start(), and streams. */
echo_serve_fn echo_serve_streams;

/* --- for these --- */

/** The most that each receives at once where each connection has a buffer of its own. */
#define ECHO_BUFFER_BYTES (32 * 1024)

/** They are no benchmark that could fail: bench_die() is not for them. */
_Noreturn void echo_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** A listening socket that does not block, with its port told. */
int echo_listen(uint16_t port);

void echo_tell_port(uint16_t port);
void echo_no_delay(int fd);

/** As many as this process may have. */
size_t echo_fds_max(void);

#endif
