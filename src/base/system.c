/* SPDX-License-Identifier: MIT */

/*
 * System calls.
 *
 * 1. Nothing here waits: what would block gives -EAGAIN.
 * 2. No fd's flags are changed but a socket's, by uco__set_nonblocking().
 * 3. SIGPIPE is never raised, and its disposition never touched.
 */

#include "base/system.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

UCO__NOINLINE int
uco__errno_save(void)
{
    return errno;
}

UCO__NOINLINE long
uco__system_result(long r, int saved_errno)
{
    if (r == -1) {
        r = -errno;
        errno = saved_errno;
    }
    return r;
}

/* Bytes, of a block of the kernel's in which a pty keeps what goes to the other side. */
#define MASTER_ROOM ((size_t) 256)

/* Writing to a pipe that nobody reads raises SIGPIPE, and only Linux 6.18's RWF_NOSIGNAL can say
 * no. So it is blocked for the write and taken away again, unless it was pending before. */
struct sigpipe {
    sigset_t set;
    sigset_t before;
    bool pending;
};

static void
sigpipe_block(struct sigpipe *guard)
{
    sigset_t pending;

    sigemptyset(&guard->set);
    sigaddset(&guard->set, SIGPIPE);
    sigpending(&pending);
    guard->pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &guard->set, &guard->before);
}

/* `short_of`: not all was written, maybe because the reader went in the middle. */
static void
sigpipe_restore(const struct sigpipe *guard, bool short_of)
{
    const struct timespec at_once = {0};
    int saved = errno;

    if (short_of && !guard->pending) {
        while (sigtimedwait(&guard->set, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    }
    errno = saved;
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

static bool
is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

/* For what is no socket: a pipe, a terminal, a file. */
static ssize_t
preadv_now(int fd, const struct iovec *vectors, int count)
{
    ssize_t r = UCO__RESULT(preadv2(fd, vectors, count, -1, RWF_NOWAIT));

    if (r != -EOPNOTSUPP && r != -EINVAL && r != -ENOSYS)
        return r;
    return is_nonblocking(fd) ? UCO__RESULT(readv(fd, vectors, count)) : -EOPNOTSUPP;
}

static size_t
vectors_size(const struct iovec *vectors, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += vectors[i].iov_len;
    return size;
}

static ssize_t
pwritev_now(int fd, const struct iovec *vectors, int count)
{
    struct sigpipe guard;
    ssize_t r;

    sigpipe_block(&guard);
    r = UCO__RESULT(pwritev2(fd, vectors, count, -1, RWF_NOWAIT));
    if (r == -EOPNOTSUPP || r == -EINVAL || r == -ENOSYS)
        r = is_nonblocking(fd) ? UCO__RESULT(writev(fd, vectors, count)) : -EOPNOTSUPP;
    sigpipe_restore(&guard, r < 0 || (size_t) r < vectors_size(vectors, count));
    return r;
}

ssize_t
uco__read_now(int fd, void *buf, size_t n)
{
    ssize_t r = UCO__SYSTEM(read, recv(fd, buf, n, MSG_DONTWAIT));

    if (UCO__LIKELY(r != -ENOTSOCK))
        return r;
    return preadv_now(fd, &(struct iovec){.iov_base = buf, .iov_len = n}, 1);
}

ssize_t
uco__readv_now(int fd, const struct iovec *vectors, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *) (uintptr_t) vectors,
                             .msg_iovlen = (size_t) count};
    ssize_t r;

    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    r = UCO__SYSTEM(read, recvmsg(fd, &message, MSG_DONTWAIT));
    return r != -ENOTSOCK ? r : preadv_now(fd, vectors, count);
}

ssize_t
uco__write_now(int fd, const void *buf, size_t n)
{
    ssize_t r = UCO__SYSTEM(write, send(fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL));

    if (UCO__LIKELY(r != -ENOTSOCK))
        return r;
    return pwritev_now(fd, &(struct iovec){.iov_base = (void *) (uintptr_t) buf, .iov_len = n}, 1);
}

ssize_t
uco__writev_now(int fd, const struct iovec *vectors, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *) (uintptr_t) vectors,
                             .msg_iovlen = (size_t) count};
    ssize_t r;

    if (count < 0 || count > IOV_MAX)
        return -EINVAL;
    r = UCO__SYSTEM(write, sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
    return r != -ENOTSOCK ? r : pwritev_now(fd, vectors, count);
}

ssize_t
uco__read_ready(int fd, void *buf, size_t n)
{
    return UCO__RESULT(read(fd, buf, n));
}

ssize_t
uco__readv_ready(int fd, const struct iovec *vectors, int count)
{
    return UCO__RESULT(readv(fd, vectors, count));
}

static bool
is_terminal(int fd)
{
    struct termios settings;

    return UCO__RESULT(tcgetattr(fd, &settings)) == 0;
}

/* poll promises a terminal room for one byte, and a write of more waits for the rest: for ever, if
 * nobody reads. So it is written to through an open file of our own that does not wait. The master
 * of a pty would be another one then; it has room for a small block, whenever it has any. */
static ssize_t
terminal_write(int fd, const void *buf, size_t n)
{
    char path[sizeof "/proc/self/fd/-2147483648"];
    unsigned number;
    long own;
    ssize_t r;

    if (UCO__RESULT(ioctl(fd, TIOCGPTN, &number)) == 0)
        return UCO__RESULT(write(fd, buf, n < MASTER_ROOM ? n : MASTER_ROOM));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    own = UCO__SYSTEM(open, open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (own < 0)
        return UCO__RESULT(write(fd, buf, n < 1 ? n : 1));
    r = UCO__RESULT(write((int) own, buf, n));
    uco__close((int) own);
    return r;
}

ssize_t
uco__write_ready(int fd, const void *buf, size_t n)
{
    struct sigpipe guard;
    ssize_t r;

    if (is_terminal(fd))
        return terminal_write(fd, buf, n);
    sigpipe_block(&guard);
    r = UCO__RESULT(write(fd, buf, n < PIPE_BUF ? n : PIPE_BUF));
    sigpipe_restore(&guard, r < 0);
    return r;
}

ssize_t
uco__writev_ready(int fd, const struct iovec *vectors, int count)
{
    /* The first that is not empty: there is room for PIPE_BUF bytes, whatever the fd. */
    while (count > 1 && vectors->iov_len == 0) {
        vectors++;
        count--;
    }
    return uco__write_ready(fd, vectors->iov_base, vectors->iov_len);
}

ssize_t
uco__sendfile(int socket, int file, off_t *offset, size_t n)
{
    struct sigpipe guard;
    ssize_t r;

    sigpipe_block(&guard);
    r = UCO__SYSTEM(sendfile, sendfile(socket, file, offset, n));
    sigpipe_restore(&guard, r < 0 || (size_t) r < n);
    return r;
}

ssize_t
uco__splice_file(int pipe, int file, off_t *offset, size_t n)
{
    struct sigpipe guard;
    ssize_t r;

    sigpipe_block(&guard);
    r = UCO__SYSTEM(sendfile, splice(file, offset, pipe, NULL, n, SPLICE_F_NONBLOCK));
    sigpipe_restore(&guard, r < 0 || (size_t) r < n);
    return r;
}

int
uco__check_access(int fd, bool write)
{
    long flags = UCO__SYSTEM(fcntl, fcntl(fd, F_GETFL));

    if (flags < 0)
        return (int) flags;
    return (flags & O_ACCMODE) == (write ? O_RDONLY : O_WRONLY) ? -EBADF : 0;
}

bool
uco__is_file(int fd)
{
    struct stat status;

    return UCO__SYSTEM(stat, fstat(fd, &status)) == 0 &&
           (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode));
}

ssize_t
uco__file_writev(int fd, const struct iovec *vectors, int count)
{
    return UCO__RESULT(writev(fd, vectors, count));
}

int
uco__poll_now(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    long r;

    if (fd < 0)
        return -EBADF;
    do
        r = UCO__SYSTEM(poll, poll(&entry, 1, 0));
    while (r == -EINTR);
    if (r < 0)
        return (int) r;
    return (entry.revents & POLLNVAL) != 0 ? -EBADF : entry.revents;
}

int
uco__set_nonblocking(int fd)
{
    long flags = UCO__SYSTEM(fcntl, fcntl(fd, F_GETFL));
    socklen_t size = sizeof(int);
    int type;

    if (flags < 0 || (flags & O_NONBLOCK) != 0)
        return flags < 0 ? (int) flags : 0;
    if (UCO__RESULT(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)) < 0)
        return -ENOTSOCK; /* others may share it: not ours to change */
    return (int) UCO__SYSTEM(fcntl, fcntl(fd, F_SETFL, (int) flags | O_NONBLOCK));
}

bool
uco__is_tcp(int fd)
{
    socklen_t size = sizeof(int);
    int protocol;

    return UCO__RESULT(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size)) == 0 &&
           protocol == IPPROTO_TCP;
}

static int
fd_close(int fd)
{
    if (uco__ledger_is_on())
        uco__ledger_drop(UCO__LEDGER_FD, (uintptr_t) fd);
    return close(fd);
}

int
uco__close(int fd)
{
    long r = UCO__SYSTEM(close, fd_close(fd));

    return r == -EINTR ? 0 : (int) r;
}

struct start {
    void *(*run)(void *);
    void *arg;
    const char *place;
};

static void *
start_run(void *arg)
{
    struct start start = *(struct start *) arg;
    uintptr_t number = (uintptr_t) syscall(SYS_gettid);
    void *result;

    free(arg);
    uco__ledger_add(UCO__LEDGER_THREAD, number, 0, start.place);
    result = start.run(start.arg);
    uco__ledger_drop(UCO__LEDGER_THREAD, number);
    return result;
}

/* A thread's number is known to itself. The memory for that must not be the test's to deny. */
static UCO__COLD int
start_noted(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg,
            const char *place)
{
    struct start *start = malloc(sizeof *start);
    int r;

    if (start == NULL)
        return -EAGAIN;
    *start = (struct start){run, arg, place};
    r = -pthread_create(thread, attributes, start_run, start);
    if (r < 0)
        free(start);
    return r;
}

int
uco__thread_start_at(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *arg, const char *place)
{
    int r = uco__fault(UCO__FAULT_pthread_create);

    if (r < 0)
        return r;
    return uco__ledger_is_on() ? start_noted(thread, attributes, run, arg, place)
                               : -pthread_create(thread, attributes, run, arg);
}

bool
uco__thread_is_only(void)
{
    FILE *file = fopen("/proc/self/stat", "re");
    char text[512];
    const char *fields;
    size_t size;
    long threads = 0;

    if (file == NULL)
        return false;
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    /* The name, the second field, is in brackets and may hold anything; the number of threads is
     * the twentieth. */
    fields = strrchr(text, ')');
    if (fields == NULL ||
        sscanf(fields + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld",
               &threads) != 1)
        return false;
    return threads == 1;
}

void
uco__doorbell_ring(int fd)
{
    const uint64_t one = 1;
    int saved = errno;

    while (write(fd, &one, sizeof one) < 0) {
        /* The counter is full, and who is told of each ring once would not be told of this one. */
        if (errno == EAGAIN)
            uco__doorbell_answer(fd);
        else if (errno != EINTR)
            break;
    }
    errno = saved;
}

void
uco__doorbell_answer(int fd)
{
    uint64_t count;
    int saved = errno;

    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
    errno = saved;
}

__thread char uco__thread_mark __attribute__((tls_model("initial-exec")));

bool
uco__thread_is_main(void)
{
    return getpid() == (pid_t) syscall(SYS_gettid);
}

bool
uco__signal_take(int signo, void (*handler)(int))
{
    struct sigaction action;

    if (sigaction(signo, NULL, &action) < 0 || action.sa_handler != SIG_DFL)
        return false;
    action = (struct sigaction){.sa_handler = handler,
                                .sa_flags = (int) (SA_RESTART | SA_RESETHAND | SA_ONSTACK)};
    sigemptyset(&action.sa_mask);
    return sigaction(signo, &action, NULL) == 0;
}

void
uco__signal_default(int signo, void (*handler)(int))
{
    struct sigaction action;
    int saved = errno;

    if (sigaction(signo, NULL, &action) == 0 && action.sa_handler == handler) {
        action = (struct sigaction){.sa_handler = SIG_DFL};
        sigaction(signo, &action, NULL);
    }
    errno = saved;
}
