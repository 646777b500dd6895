/* SPDX-License-Identifier: MIT */
#ifndef TEST_TORTURE_FAILURES_H
#define TEST_TORTURE_FAILURES_H

/*
 * What a system may say instead of doing what it was asked, for each call that uco makes: the
 * errors that are treated differently, and what each of them entails.
 */

#include "base/fault.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    FAILURE_HIDDEN = 1,       /* comes once at a time, and the caller must not notice */
    FAILURE_UNTRUE = 2,       /* what Linux does not say so: who believes it waits in vain */
    FAILURE_KEEPS_FDS = 4,    /* a close that is made to fail closes nothing */
    FAILURE_KEEPS_MAPS = 8,   /* nor does a munmap */
    FAILURE_KEEPS_CHILD = 16, /* who is told that a child is gone does not reap it */
    FAILURE_DEAF = 32,        /* a loop that hears nothing: what it waits for times out */
    FAILURE_NO_EXIT = 64, /* a program that is not told to end does not: its end is waited for */
};

struct failure {
    const char *what;
    const char *error_name;
    enum uco__fault fault;
    int error;
    unsigned flags;
};

#define FAILURE(name, code, is)                                                                    \
    {                                                                                              \
        .what = #name, .error_name = #code, .fault = UCO__FAULT_##name, .error = (code),           \
        .flags = (is)                                                                              \
    }

static const struct failure failures[] = {
    FAILURE(malloc, ENOMEM, 0),
    FAILURE(mmap, ENOMEM, 0),
    FAILURE(munmap, ENOMEM, FAILURE_KEEPS_MAPS),
    FAILURE(madvise, ENOMEM, 0),
    FAILURE(madvise, EINVAL, 0),
    FAILURE(mprotect, ENOMEM, 0),
    FAILURE(read, ECONNRESET, 0),
    FAILURE(read, EIO, 0),
    FAILURE(read, EINTR, FAILURE_HIDDEN),
    FAILURE(read, EAGAIN, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(write, EPIPE, 0),
    FAILURE(write, ENOBUFS, 0),
    FAILURE(write, EINTR, FAILURE_HIDDEN),
    FAILURE(write, EAGAIN, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(accept4, EMFILE, 0),
    FAILURE(accept4, ECONNABORTED, FAILURE_HIDDEN),
    FAILURE(accept4, EINTR, FAILURE_HIDDEN),
    FAILURE(accept4, EAGAIN, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(connect, EADDRNOTAVAIL, 0),
    FAILURE(connect, ECONNREFUSED, 0),
    FAILURE(connect, EINTR, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(socket, EMFILE, 0),
    FAILURE(socket, ENOMEM, 0),
    FAILURE(bind, EADDRINUSE, 0),
    FAILURE(listen, EADDRINUSE, 0),
    FAILURE(shutdown, ENOTCONN, 0),
    FAILURE(close, EINTR, FAILURE_KEEPS_FDS),
    FAILURE(close, EIO, FAILURE_KEEPS_FDS),
    FAILURE(fcntl, EMFILE, 0),
    FAILURE(poll, ENOMEM, 0),
    FAILURE(poll, EINTR, FAILURE_HIDDEN),
    FAILURE(eventfd, EMFILE, 0),
    FAILURE(eventfd, ENOMEM, 0),
    FAILURE(epoll_create1, EMFILE, 0),
    FAILURE(epoll_create1, ENOMEM, 0),
    FAILURE(epoll_ctl, ENOMEM, 0),
    FAILURE(epoll_ctl, ENOSPC, 0),
    FAILURE(epoll_wait, EINTR, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(epoll_wait, ENOMEM, FAILURE_DEAF),
    FAILURE(pthread_create, EAGAIN, 0),
    FAILURE(prctl, EINVAL, 0),
    FAILURE(open, EMFILE, 0),
    FAILURE(open, EINTR, FAILURE_HIDDEN),
    FAILURE(fsync, EIO, 0),
    FAILURE(fsync, EINTR, FAILURE_HIDDEN),
    FAILURE(sendfile, EIO, 0),
    FAILURE(sendfile, EINTR, FAILURE_HIDDEN),
    FAILURE(sendfile, EAGAIN, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(sendfile, EINVAL, 0),
    FAILURE(getsockopt, ENOBUFS, 0),
    FAILURE(setsockopt, ENOBUFS, 0),
    FAILURE(getsockname, ENOBUFS, 0),
    FAILURE(pipe2, EMFILE, 0),
    FAILURE(posix_spawn, EAGAIN, 0),
    FAILURE(posix_spawn, ENOMEM, 0),
    FAILURE(pidfd_open, EMFILE, 0),
    FAILURE(pidfd_open, ENOSYS, 0),
    FAILURE(waitid, EINTR, FAILURE_HIDDEN),
    FAILURE(waitid, ECHILD, FAILURE_KEEPS_CHILD),
    FAILURE(kill, EPERM, FAILURE_NO_EXIT),
    FAILURE(sigaction, EINVAL, 0),
    FAILURE(sigaltstack, ENOMEM, 0),
    FAILURE(getaddrinfo, ENOMEM, 0),
    FAILURE(getaddrinfo, EIO, 0),
    FAILURE(io_uring_queue_init, ENOMEM, 0),
    FAILURE(io_uring_enter, EINTR, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(io_uring_enter, EAGAIN, FAILURE_HIDDEN | FAILURE_UNTRUE),
    FAILURE(io_uring_enter, ENOMEM, FAILURE_DEAF),
    FAILURE(stat, EIO, 0),
    FAILURE(access, EACCES, 0),
    FAILURE(lseek, EINVAL, 0),
    FAILURE(ftruncate, EIO, 0),
    FAILURE(fchmod, EPERM, 0),
    FAILURE(flock, EINTR, 0),
    FAILURE(rename, EIO, 0),
    FAILURE(unlink, EACCES, 0),
    FAILURE(getrandom, EAGAIN, 0),
};

#define FAILURE_COUNT (sizeof(failures) / sizeof(failures)[0])

/* How it fails: whether from then on, and whether it is over before the loop closes. */
static const struct failure_mode {
    bool for_ever;
    bool to_the_end;
} failure_modes[] = {{false, true}, {false, false}, {true, false}, {true, true}};

#define FAILURE_MODES (sizeof(failure_modes) / sizeof(failure_modes)[0])

#endif
