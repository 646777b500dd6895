/* SPDX-License-Identifier: MIT */

/*
 * Reading and writing of bare descriptors: pipes, datagrams, files, and descriptors that are handed
 * over.
 *
 * 1. Bytes come as they were sent, in their order; what was told to be written was.
 * 2. A side that fails ends the conversation; nobody waits for it for ever.
 */

#include "scenarios.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uco/file.h>
#include <uco/io.h>
#include <uco/net.h>
#include <unistd.h>

/* More than a pipe holds. */
#define LONG 150000

static char bytes_out[LONG];
static char bytes_in[LONG];

/* Pipes */

struct ends {
    int fds[2];
};

static intptr_t
pipe_writer(void *arg)
{
    struct ends *ends = arg;
    struct iovec parts[2] = {{bytes_out, 10}, {bytes_out + 10, 90}};
    size_t done = 0;
    ssize_t r = MAY(uco_write_all(ends->fds[1], bytes_out, LONG, &done), NETWORK);

    MUST(r < 0 ? done <= LONG : r == LONG && done == LONG);
    if (r >= 0)
        r = MAY(uco_writev(ends->fds[1], parts, 2), NETWORK);
    if (r >= 0)
        MUST(r == 100);
    torture_close(ends->fds[1]);
    ends->fds[1] = -1;
    return r < 0 ? r : 0;
}

static intptr_t
pipe_reader(void *arg)
{
    struct ends *ends = arg;
    struct iovec parts[2] = {{bytes_in, 3}, {bytes_in + 3, 97}};
    ssize_t r = MAY(uco_poll(ends->fds[0], POLLIN, UCO_FOREVER), NETWORK);

    if (r >= 0)
        r = MAY(uco_read_exactly(ends->fds[0], bytes_in, LONG), NETWORK);
    if (r < 0)
        return r;
    MUST(r == LONG);
    torture_is_filled(bytes_in, LONG, 0);
    r = MAY(uco_readv(ends->fds[0], parts, 2), NETWORK);
    if (r > 0)
        torture_is_filled(bytes_in, (size_t) r, 0);
    while (r > 0)
        r = MAY(uco_read(ends->fds[0], bytes_in, LONG), NETWORK);
    return r;
}

static void
pipes_run(void)
{
    struct ends ends;

    torture_fill(bytes_out, LONG);
    MUST(pipe2(ends.fds, O_CLOEXEC) == 0);
    torture_talk(pipe_writer, pipe_reader, &ends);
    torture_close(ends.fds[0]);
    torture_close(ends.fds[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.fds) == 0);
    torture_talk(pipe_writer, pipe_reader, &ends);
    torture_close(ends.fds[0]);
    torture_close(ends.fds[1]);
}

/* Datagrams */

static intptr_t
datagram_sender(void *arg)
{
    struct ends *ends = arg;
    struct sockaddr_in to = torture_address(ends->fds[0]);
    struct iovec part = {bytes_out, 20};
    struct msghdr message = {
        .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t r = MAY(uco_sendto(ends->fds[1], bytes_out, 10, 0, (struct sockaddr *) &to, sizeof to),
                    NETWORK);

    if (r >= 0)
        r = MAY(uco_sendmsg(ends->fds[1], &message, 0), NETWORK);
    if (r >= 0)
        r = MAY(uco_connect(ends->fds[1], (struct sockaddr *) &to, sizeof to), NETWORK);
    if (r >= 0)
        r = MAY(uco_send(ends->fds[1], bytes_out, 30, 0), NETWORK);
    return r < 0 ? r : 0;
}

static intptr_t
datagram_receiver(void *arg)
{
    struct ends *ends = arg;
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    char buf[64];
    struct iovec part = {buf, sizeof buf};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t r = MAY(
        uco_recvfrom(ends->fds[0], buf, sizeof buf, 0, (struct sockaddr *) &from, &size), NETWORK);

    if (r >= 0) {
        MUST(r == 10 && from.sin_port == torture_address(ends->fds[1]).sin_port);
        r = MAY(uco_recvmsg(ends->fds[0], &message, 0), NETWORK);
    }
    if (r >= 0) {
        MUST(r == 20);
        torture_is_filled(buf, 20, 0);
        r = MAY(uco_recv(ends->fds[0], buf, sizeof buf, 0), NETWORK);
    }
    MUST(r < 0 || r == 30);
    return r < 0 ? r : 0;
}

static void
datagrams_run(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ends ends;

    torture_fill(bytes_out, LONG);
    for (int i = 0; i < 2; i++) {
        ends.fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        MUST(ends.fds[i] >= 0);
        MUST(bind(ends.fds[i], (struct sockaddr *) &address, sizeof address) == 0);
    }
    torture_talk(datagram_sender, datagram_receiver, &ends);
    torture_close(ends.fds[0]);
    torture_close(ends.fds[1]);
}

/* Files */

#define FILE_ERRORS THE_ERROR, ENOMEM, ECANCELED, ETIMEDOUT

static intptr_t
file_use(void *arg)
{
    int fd = *(int *) arg;
    ssize_t r = MAY(uco_pwrite(fd, bytes_out, 5000, 0), FILE_ERRORS);

    if (r >= 0)
        r = MAY(uco_write_all(fd, bytes_out, 1000, NULL), FILE_ERRORS);
    if (r >= 0)
        r = MAY(uco_fsync(fd), FILE_ERRORS);
    if (r >= 0)
        r = MAY(uco_pread(fd, bytes_in, LONG, 0), FILE_ERRORS);
    if (r < 0)
        return r;
    MUST(r == 5000 || !torture_clean());
    torture_is_filled(bytes_in, (size_t) (r < 1000 ? r : 1000), 0);
    r = MAY(uco_read(fd, bytes_in, 100), FILE_ERRORS);
    MUST(r <= 100);
    return r;
}

static intptr_t
file_send(void *arg)
{
    const int *fds = arg;
    off_t offset = 0;
    ssize_t r = MAY(uco_sendfile(fds[1], fds[0], &offset, 3000), FILE_ERRORS, EPIPE);

    MUST(r < 0 ? offset == 0 : r == offset && r <= 3000);
    if (r > 0 && read(fds[2], bytes_in, LONG) == r)
        torture_is_filled(bytes_in, (size_t) (r < 1000 ? r : 1000), 0);
    return r;
}

static void
file_send_to(int file, const int ends[2], int from, int to)
{
    int fds[3] = {file, ends[to], ends[from]};

    MAY(uco_with_timeout(600, file_send, fds), FILE_ERRORS, EPIPE);
    torture_close(ends[0]);
    torture_close(ends[1]);
}

static void
files_run(void)
{
    char path[64];
    int ends[2];
    int fd;

    torture_fill(bytes_out, LONG);
    snprintf(path, sizeof path, "/tmp/uco-torture-%d", (int) getpid());
    fd = (int) MAY(uco_open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), FILE_ERRORS);
    unlink(path);
    MUST(uco_open("/there/is/none", O_RDONLY, 0) < 0);
    if (fd < 0)
        return;
    MAY(uco_with_timeout(600, file_use, &fd), FILE_ERRORS);
    MUST(pwrite(fd, bytes_out, 5000, 0) == 5000);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    file_send_to(fd, ends, 0, 1);
    MUST(pipe2(ends, O_CLOEXEC) == 0);
    file_send_to(fd, ends, 0, 1);
    torture_close(fd);
}

/* Descriptors that are handed over */

static intptr_t
pass_sender(void *arg)
{
    struct ends *ends = arg;
    int passed[2];
    intptr_t r;

    MUST(pipe2(passed, O_CLOEXEC) == 0);
    MUST(write(passed[1], "x", 1) == 1);
    r = MAY(uco_send_fd(ends->fds[1], passed[0]), NETWORK);
    torture_close(passed[0]);
    torture_close(passed[1]);
    return r;
}

static intptr_t
pass_receiver(void *arg)
{
    struct ends *ends = arg;
    char byte = '\0';
    int fd = (int) MAY(uco_recv_fd(ends->fds[0]), NETWORK);

    if (fd < 0)
        return fd;
    MUST(read(fd, &byte, 1) == 1 && byte == 'x');
    torture_close(fd);
    return 0;
}

static void
passes_run(void)
{
    struct ends ends;

    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.fds) == 0);
    torture_talk(pass_sender, pass_receiver, &ends);
    torture_close(ends.fds[0]);
    torture_close(ends.fds[1]);
}

const struct scenario torture_pipes = {.name = "pipes", .run = pipes_run, .network = true};
const struct scenario torture_datagrams = {
    .name = "datagrams", .run = datagrams_run, .network = true};
const struct scenario torture_files = {.name = "files", .run = files_run};
const struct scenario torture_passes = {.name = "passes", .run = passes_run, .network = true};
