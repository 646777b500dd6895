/* SPDX-License-Identifier: MIT */

/*
 * An io_uring: set up as well as this kernel can, and asked.
 *
 * 1. Completions come by the loop's own calls alone, where the kernel can do that: so nothing
 *    interrupts what a task computes, and a turn has them all at once.
 * 2. Each call to the kernel can be made to fail by tests, and leaves errno alone.
 */

#include "base/clock.h"
#include "base/system.h"
#include "core/poller_uring.h"

#include <sys/syscall.h>
#include <unistd.h>

#define PLACES 256 /* requests that are said in one system call */
/* What is not probed but required: Linux 5.17. */
#define FEATURES (IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_CQE_SKIP)

/* The best that this kernel has: completions by the loop's own waits alone (Linux 6.1), or at least
 * without interrupting it (5.19). */
int
uco__ring_make(struct io_uring *ring)
{
    static const unsigned kinds[] = {
        IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
            IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_R_DISABLED,
    };
    int r = -EINVAL;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && r == -EINVAL; i++) {
        struct io_uring_params params = {.flags = kinds[i] | IORING_SETUP_CQSIZE,
                                         .cq_entries = UCO__URING_COMPLETIONS};

        r = UCO__URING(io_uring_queue_init, io_uring_queue_init_params(PLACES, ring, &params));
        if (r >= 0 && (params.features & FEATURES) != FEATURES) {
            io_uring_queue_exit(ring);
            r = -ENOSYS;
        }
        if (r >= 0)
            uco__ledger_fd(ring->ring_fd, UCO__PLACE);
    }
    return r < 0 ? r : 0;
}

/* The calling thread is the one that will use it. (liburing 2.3 declares this call and has it not.)
 */
int
uco__ring_enable(const struct io_uring *ring)
{
    return (int) UCO__SYSTEM(io_uring_enter, syscall(SYS_io_uring_register, ring->ring_fd,
                                                     IORING_REGISTER_ENABLE_RINGS, NULL, 0));
}

/* Whether the kernel has something to say that only a system call brings. */
bool
uco__ring_has_more(const struct io_uring *ring)
{
    return (io_uring_smp_load_acquire(ring->sq.kflags) &
            (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

int
uco__ring_enter(struct io_uring *ring, uint64_t timeout)
{
    struct __kernel_timespec limit = {
        .tv_sec = (long long) (timeout / UCO__SECOND),
        .tv_nsec = (long long) (timeout % UCO__SECOND),
    };
    struct io_uring_cqe *cqe;

    if (timeout != 0 && io_uring_cq_ready(ring) == 0)
        return UCO__URING(io_uring_enter,
                          io_uring_submit_and_wait_timeout(
                              ring, &cqe, 1, timeout == UCO__NEVER ? NULL : &limit, NULL));
    if (io_uring_sq_ready(ring) == 0 && !uco__ring_has_more(ring))
        return 0;
    return UCO__URING(io_uring_enter, io_uring_submit_and_get_events(ring));
}

struct io_uring_sqe *
uco__uring_place(struct uco__uring *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

    for (int i = 0; sqe == NULL && i < UCO__URING_TRIES; i++) {
        UCO__URING(io_uring_enter, io_uring_submit(&uring->ring));
        sqe = io_uring_get_sqe(&uring->ring);
    }
    return sqe;
}

bool
uco__uring_cancel(struct uco__uring *uring, uint64_t data)
{
    struct io_uring_sqe *sqe = uco__uring_place(uring);

    if (sqe == NULL)
        return false;
    io_uring_prep_cancel64(sqe, data, 0);
    io_uring_sqe_set_data64(sqe, uco__uring_data(UCO__URING_CANCEL, 0, 0));
    io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
    return true;
}
