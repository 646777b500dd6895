/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_SYSTEM_H
#define UCO_BASE_SYSTEM_H

/* System calls and allocations: negative errors instead of errno, and a test can make each of them
 * fail. */

#include "base/compiler.h"
#include "base/fault.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* errno is the coroutine's, so a call that fails leaves it as it was. Functions and not macros:
 * where errno is, is a constant to the compiler, but a caller that suspends may go on in another
 * thread. */
UCO__EXPORT int uco__errno_save(void);
/* The result of a call: its value, or a negative error, errno being put back. */
UCO__EXPORT long uco__system_result(long r, int saved_errno);

#define UCO__RESULT(call)                                                                          \
    ({                                                                                             \
        int saved_errno_ = uco__errno_save();                                                      \
        uco__system_result((call), saved_errno_);                                                  \
    })

/* UCO__SYSTEM(accept4, accept4(fd, addr, len, flags)): UCO__RESULT() of a call that tests can make
 * fail. */
#define UCO__SYSTEM(name, call)                                                                    \
    ({                                                                                             \
        long fault_ = uco__fault(UCO__FAULT_##name);                                               \
        fault_ != 0 ? fault_ : UCO__RESULT(call);                                                  \
    })

/* Zeroed, or NULL. Freed by uco__free(). */
UCO__EXPORT void *uco__allocate(size_t size);
/* Whole cache lines of its own, zeroed. */
void *uco__allocate_lines(size_t size);
/* As realloc(): NULL leaves the old block as it is. What is new is not zeroed. */
UCO__EXPORT void *uco__reallocate(void *block, size_t size);
/* NULL for NULL too. */
UCO__EXPORT char *uco__string_copy(const char *text);
UCO__EXPORT void uco__free(void *block);

/* Private anonymous memory of its own; MAP_NORESERVE. */
int uco__map(size_t size, void **memory);
void uco__unmap(void *memory, size_t size);

struct uco__range {
    void *start;
    size_t size;
};

/* madvise() of many ranges in one call, where the kernel can (Linux 6.15): how many of them were
 * done, UCO__RANGES_MAX at most; those that follow must be advised one by one. */
unsigned uco__advise_ranges(const struct uco__range ranges[], unsigned count, int advice);
#define UCO__RANGES_MAX 80

/* A call that gives EAGAIN instead of waiting, whatever the fd's flags are, and never raises
 * SIGPIPE. -EOPNOTSUPP: the kernel cannot promise that for this fd; ask poll first, then
 * uco__read_ready() or uco__write_ready(). */
ssize_t uco__read_now(int fd, void *buf, size_t n);
ssize_t uco__write_now(int fd, const void *buf, size_t n);
ssize_t uco__readv_now(int fd, const struct iovec *vectors, int count);
ssize_t uco__writev_now(int fd, const struct iovec *vectors, int count);
/* After poll said ready: writes at most what poll promises room for. */
ssize_t uco__read_ready(int fd, void *buf, size_t n);
ssize_t uco__write_ready(int fd, const void *buf, size_t n);
ssize_t uco__readv_ready(int fd, const struct iovec *vectors, int count);
ssize_t uco__writev_ready(int fd, const struct iovec *vectors, int count);

/* sendfile(2) to a non-blocking socket; splice(2) from a file to a pipe, which is asked not to wait.
 * For room, that is: the disk is waited for. Never SIGPIPE. */
ssize_t uco__sendfile(int socket, int file, off_t *offset, size_t n);
ssize_t uco__splice_file(int pipe, int file, off_t *offset, size_t n);

/* Whether fd is a regular file or a block device: always "ready", and may wait for a disk all the
 * same. */
bool uco__is_file(int fd);
/* Waits for the disk. */
ssize_t uco__file_writev(int fd, const struct iovec *vectors, int count);
/* Whether fd was opened for writing (or with `write` false, for reading): 0, -EBADF. */
int uco__check_access(int fd, bool write);

/* poll(2) of one fd without waiting: revents, 0, or -EBADF. */
int uco__poll_now(int fd, short events);

/* Of a socket; -ENOTSOCK for anything else. */
int uco__set_nonblocking(int fd);
bool uco__is_tcp(int fd);
/* Never retried: after EINTR the fd is gone. */
int uco__close(int fd);

/* An eventfd as a doorbell. Async-signal-safe, and errno is kept. */
void uco__doorbell_ring(int fd);
void uco__doorbell_answer(int fd);

/* This thread's CPU-independent identity, for ownership checks: an address that no other living
 * thread has. */
extern __thread char uco__thread_mark __attribute__((tls_model("initial-exec")));
static inline const void *
uco__thread_self(void)
{
    return &uco__thread_mark;
}

bool uco__thread_is_main(void);
/* Whether this process has no other thread; false where that cannot be told. */
bool uco__thread_is_only(void);

/* Installs a handler (once: SA_RESETHAND) where the signal has its default disposition; whether it
 * did. */
bool uco__signal_take(int signo, void (*handler)(int));
/* Back to the default, if this handler is still installed. Async-signal-safe, and errno is kept. */
void uco__signal_default(int signo, void (*handler)(int));

#endif
