/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_FAULT_H
#define UCO_BASE_FAULT_H

/*
 * The one place where tests make system calls and allocations fail. Each call that uco makes goes
 * through UCO__SYSTEM or one of base/system.h's functions, which ask here first; unless a test has
 * set something, that is one load.
 */

#include "base/compiler.h"

#include <stdatomic.h>

/* clang-format off */
#define UCO__FAULTS(X)                                                                            \
    X(malloc) X(mmap) X(munmap) X(madvise) X(mprotect) X(read) X(write) X(accept4) X(connect)     \
    X(socket) X(bind) X(listen) X(shutdown) X(close) X(fcntl) X(poll) X(eventfd)                  \
    X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(pthread_create) X(prctl) X(open) X(fsync)       \
    X(sendfile) X(getsockopt) X(setsockopt) X(getsockname) X(pipe2) X(posix_spawn) X(pidfd_open)  \
    X(waitid) X(kill) X(sigaction) X(sigaltstack) X(getaddrinfo) X(io_uring_queue_init)           \
    X(io_uring_enter) X(stat) X(access) X(lseek) X(ftruncate) X(fchmod) X(flock) X(rename)        \
    X(unlink) X(getrandom) X(process_vm_readv)
/* clang-format on */

enum uco__fault {
#define UCO__FAULT_ID(name) UCO__FAULT_##name,
    UCO__FAULTS(UCO__FAULT_ID)
#undef UCO__FAULT_ID
        UCO__FAULT_COUNT
};

/* How many faults are set; and one bit that is base/ledger.h's, so that both are asked for by one
 * load. */
UCO__EXPORT extern atomic_uint uco__faults_set;
#define UCO__LEDGER_ON 0x80000000u

UCO__EXPORT int uco__fault_ask(enum uco__fault fault);

const char *uco__fault_name(enum uco__fault fault);

struct uco__fault_count {
    unsigned long calls;  /* since uco_test_fail() set it; 0 while it is not set */
    unsigned long failed; /* since the process began */
};
/* For tests that fail each call in turn: set far away, a call is only counted. */
struct uco__fault_count uco__fault_count(enum uco__fault fault);

/* 0, or the negative error that the call must fail with. */
static inline int
uco__fault(enum uco__fault fault)
{
    /* Relaxed: a test sets faults before the calls that are to see them, in the same thread or
     * synchronised with it. */
    if (UCO__LIKELY(atomic_load_explicit(&uco__faults_set, memory_order_relaxed) == 0))
        return 0;
    return uco__fault_ask(fault);
}

#endif
