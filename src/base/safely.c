/* SPDX-License-Identifier: MIT */

/*
 * Reading memory that may not be there, and writing from a signal handler.
 *
 * 1. Nothing here allocates, locks or uses stdio; errno is kept.
 * 2. Nothing is read by a load before the kernel has been asked for its page: it says EFAULT where
 *    a load would be a SIGSEGV. It is asked once a page, since pages do not go while the thread
 *    that could unmap them is here. Where it is another thread that could, the kernel copies all.
 * 3. No sanitizer looks at these reads: one from outside is no data race, and may be of what is
 *    poisoned.
 *
 * A handler of our own for SIGSEGV would do as well, but it is process-wide: the program's own one,
 * or a debugger, would see faults that are none of its business.
 */

#include "base/safely.h"

#include "base/compiler.h"
#include "base/system.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES ((uintptr_t) 4096) /* no page is smaller */
#define WRITE_WAIT 1                  /* seconds for an fd that does not wait to take more */
#define WRITE_IDLE_MAX 1000           /* calls in a row that wrote nothing */

void
uco__peek_init(struct uco__peek *peek, bool foreign)
{
    *peek = (struct uco__peek){.self = getpid(), .foreign = foreign};
}

static long
copy_by_kernel(const struct uco__peek *peek, void *to, const void *from, size_t size)
{
    struct iovec local = {.iov_base = to, .iov_len = size};
    struct iovec remote = {.iov_base = (void *) (uintptr_t) from, .iov_len = size};

    return UCO__SYSTEM(process_vm_readv, process_vm_readv(peek->self, &local, 1, &remote, 1, 0));
}

/* Where a sandbox forbids that call, or an emulator lacks it, by one that can do nothing, but whose
 * argument the kernel reads first. */
static bool
page_is_there(const struct uco__peek *peek, uintptr_t page)
{
    char byte;
    long r = copy_by_kernel(peek, &byte, (const void *) page, 1);

    if (UCO__UNLIKELY(r == -ENOSYS || r == -EPERM))
        return UCO__RESULT(syscall(SYS_rt_sigprocmask, -1, page, NULL, sizeof(uint64_t))) !=
               -EFAULT;
    return r == 1;
}

static bool
pages_are_there(struct uco__peek *peek, uintptr_t first, uintptr_t end)
{
    for (uintptr_t page = first & ~(PAGE_BYTES - 1); page < end; page += PAGE_BYTES) {
        uintptr_t *known = &peek->pages[page / PAGE_BYTES % UCO__PEEK_PAGES];

        if (*known == page && !peek->foreign)
            continue;
        if (!page_is_there(peek, page))
            return false;
        *known = page;
    }
    return true;
}

/* Volatile, so that it does not become a memcpy(), which a sanitizer checks. */
UCO__NO_SANITIZE static void
copy_by_loads(void *to, const void *from, size_t size)
{
    volatile char *out = to;
    const volatile char *in = from;

    if (((uintptr_t) to | (uintptr_t) from) % sizeof(uint64_t) == 0) {
        for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t)) {
            *(volatile uint64_t *) (volatile void *) out =
                *(const volatile uint64_t *) (const volatile void *) in;
            out += sizeof(uint64_t);
            in += sizeof(uint64_t);
        }
    }
    for (; size > 0; size--)
        *out++ = *in++;
}

bool
uco__peek(struct uco__peek *peek, void *to, const void *from, size_t size)
{
    uintptr_t first = (uintptr_t) from;
    long r;

    peek->reads++;
    if (size == 0 || first < PAGE_BYTES || first + size < first)
        return size == 0;
    if (peek->foreign) {
        r = copy_by_kernel(peek, to, from, size);
        if (UCO__LIKELY(r != -ENOSYS && r != -EPERM))
            return r >= 0 && (size_t) r == size;
    }
    if (!pages_are_there(peek, first, first + size))
        return false;
    copy_by_loads(to, from, size);
    return true;
}

/* --- writing --- */

/* False when it had none all the time. */
static bool
fd_has_room(int fd)
{
    const struct timespec limit = {.tv_sec = WRITE_WAIT};
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    return UCO__SYSTEM(poll, ppoll(&room, 1, &limit, NULL)) != 0;
}

static int
write_pieces(int fd, const char *data, size_t size)
{
    unsigned idle = 0;

    while (size > 0) {
        long r = UCO__SYSTEM(write, write(fd, data, size));

        if (r > 0) {
            data += r;
            size -= (size_t) r;
            idle = 0;
            continue;
        }
        if (r < 0 && r != -EINTR && r != -EAGAIN)
            return (int) r;
        if (++idle == WRITE_IDLE_MAX || (r == -EAGAIN && !fd_has_room(fd)))
            return -EAGAIN;
    }
    return 0;
}

int
uco__write_all(int fd, const char *data, size_t size)
{
    const struct timespec at_once = {0};
    sigset_t pipe, before, pending;
    int r;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    r = write_pieces(fd, data, size);
    if (r == -EPIPE && sigismember(&pending, SIGPIPE) != 1) {
        while (UCO__RESULT(sigtimedwait(&pipe, NULL, &at_once)) == -EINTR)
            continue;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}
