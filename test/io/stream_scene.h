/* SPDX-License-Identifier: MIT */
#ifndef TEST_IO_STREAM_SCENE_H
#define TEST_IO_STREAM_SCENE_H

/* What the tests of streams and servers share: connected ends, and calls as tasks. */

#include "../support/support.h"

#include "io/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A stream, and the bare other end of it. */
struct scene {
    uco_stream *s;
    int other;
};

static inline struct sockaddr_in
loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline int
tcp_connect(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
    return fd;
}

static inline void
tcp_pair(int ends[2])
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(listening, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(listening, 1), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *) &address, &size), 0);
    ends[0] = tcp_connect(ntohs(address.sin_port));
    ends[1] = accept(listening, NULL, NULL);
    ck_assert_int_ge(ends[1], 0);
    close(listening);
}

static inline uco_stream *
stream_of(int fd)
{
    uco_stream *s = uco_stream_new(fd);

    ck_assert_ptr_nonnull(s);
    return s;
}

static inline struct scene
scene_tcp(void)
{
    int ends[2];

    tcp_pair(ends);
    return (struct scene){.s = stream_of(ends[0]), .other = ends[1]};
}

static inline struct scene
scene_unix(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    return (struct scene){.s = stream_of(ends[0]), .other = ends[1]};
}

/* The stream reads. */
static inline struct scene
scene_pipe(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    return (struct scene){.s = stream_of(ends[0]), .other = ends[1]};
}

/* Each kind of stream in turn. */
typedef struct scene scene_make(void);
static scene_make *const scene_kinds[] = {scene_tcp, scene_unix, scene_pipe};

static inline void
scene_end(struct scene *scene)
{
    ck_assert_int_eq(uco_stream_close(scene->s), 0);
    if (scene->other >= 0)
        close(scene->other);
}

/* The other end says something, or that it is all. */
static inline void
say(const struct scene *scene, const char *text)
{
    ck_assert_int_eq(write(scene->other, text, strlen(text)), (ssize_t) strlen(text));
}

static inline void
say_no_more(struct scene *scene)
{
    close(scene->other);
    scene->other = -1;
}

/* The connection is cut, as by a crash of the other side. */
static inline void
reset(struct scene *scene)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    ck_assert_int_eq(setsockopt(scene->other, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    say_no_more(scene);
}

/* Not the receiver's: TCP's small windows open slowly. */
static inline void
shrink_buffers(const struct scene *scene)
{
    const int size = 4096;

    setsockopt(uco_stream_fd(scene->s), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* A task that is suspended in what it does. */
static inline uco_task *
parked(uco_fn *fn, void *arg)
{
    uco_task *task = uco_create_task(fn, arg);

    ck_assert_ptr_nonnull(task);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    return task;
}

/* Reads 100 bytes at most: how many, or the error. */
static inline intptr_t
reads(void *arg)
{
    char buf[100];

    return uco_stream_read(arg, buf, sizeof buf);
}

static inline void
read_text(uco_stream *s, size_t n, const char *text)
{
    char buf[256] = "";

    ck_assert_int_eq(uco_stream_read(s, buf, n), (ssize_t) strlen(text));
    ck_assert_str_eq(buf, text);
}

static inline void
read_line_text(uco_stream *s, const char *text)
{
    const char *line = NULL;

    ck_assert_int_eq(uco_stream_read_line(s, &line), (ssize_t) strlen(text));
    ck_assert_mem_eq(line, text, strlen(text));
}

/* The other end reads, without waiting, all that has come: how much. */
static inline size_t
other_reads(const struct scene *scene, char *buf, size_t n)
{
    size_t done = 0;

    while (done < n) {
        struct pollfd ready = {.fd = scene->other, .events = POLLIN};
        ssize_t r = poll(&ready, 1, 0) > 0 ? read(scene->other, buf + done, n - done) : 0;

        if (r <= 0)
            break;
        done += (size_t) r;
    }
    return done;
}

#endif
