/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_SYSTEM_H
#define UCO_BASE_SYSTEM_H

/* System calls and allocations: negative errors instead of errno, and a test can make each of them
 * fail. */

#include "base/compiler.h"
#include "base/fault.h"
#include "base/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* musl 1.2.5 has them. A 64-bit offset is the kernel's first of two; it ignores the other here. */
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#define preadv2(fd, vectors, count, offset, flags)                                                 \
    syscall(SYS_preadv2, fd, vectors, (unsigned long) (count), (long) (offset), 0L, flags)
#define pwritev2(fd, vectors, count, offset, flags)                                                \
    syscall(SYS_pwritev2, fd, vectors, (unsigned long) (count), (long) (offset), 0L, flags)
#endif

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
 * fail. An fd that it makes is noted in the ledger. */
#define UCO__SYSTEM(name, call)                                                                    \
    ({                                                                                             \
        long result_ = uco__fault(UCO__FAULT_##name);                                              \
        if (result_ == 0)                                                                          \
            result_ = UCO__RESULT(call);                                                           \
        UCO__MAKES_FD(UCO__FAULT_##name) ? uco__ledger_fd(result_, UCO__PLACE) : result_;          \
    })

/* Whether such a call gives a new fd. A macro: where it does not, nothing of it is left, in a build
 * without optimisation neither. */
#define UCO__MAKES_FD(fault)                                                                       \
    ((fault) == UCO__FAULT_open || (fault) == UCO__FAULT_socket ||                                 \
     (fault) == UCO__FAULT_accept4 || (fault) == UCO__FAULT_eventfd ||                             \
     (fault) == UCO__FAULT_epoll_create1 || (fault) == UCO__FAULT_pidfd_open)

/* Zeroed, or NULL. Freed by uco__free(). What is allocated is noted in the ledger, with the place
 * that asked for it. */
#define uco__allocate(size) uco__allocate_at((size), UCO__PLACE)
UCO__EXPORT void *uco__allocate_at(size_t size, const char *place);
/* Whole cache lines of its own, zeroed. */
#define uco__allocate_lines(size) uco__allocate_lines_at((size), UCO__PLACE)
void *uco__allocate_lines_at(size_t size, const char *place);
/* As realloc(): NULL leaves the old block as it is. What is new is not zeroed. */
#define uco__reallocate(block, size) uco__reallocate_at((block), (size), UCO__PLACE)
UCO__EXPORT void *uco__reallocate_at(void *block, size_t size, const char *place);
/* NULL for NULL too. */
#define uco__string_copy(text) uco__string_copy_at((text), UCO__PLACE)
UCO__EXPORT char *uco__string_copy_at(const char *text, const char *place);
UCO__EXPORT void uco__free(void *block);

/* Private anonymous memory of its own; MAP_NORESERVE. */
#define uco__map(size, memory) uco__map_at((size), (memory), UCO__PLACE)
int uco__map_at(size_t size, void **memory, const char *place);
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

/* pthread_create(), as a negative error. */
#define uco__thread_start(thread, attributes, run, arg)                                            \
    uco__thread_start_at((thread), (attributes), (run), (arg), UCO__PLACE)
int uco__thread_start_at(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                         void *arg, const char *place);

bool uco__thread_is_main(void);
/* Whether this process has no other thread; false where that cannot be told. */
bool uco__thread_is_only(void);

/* Installs a handler (once: SA_RESETHAND) where the signal has its default disposition; whether it
 * did. */
bool uco__signal_take(int signo, void (*handler)(int));
/* Back to the default, if this handler is still installed. Async-signal-safe, and errno is kept. */
void uco__signal_default(int signo, void (*handler)(int));

#endif
