/* SPDX-License-Identifier: MIT */

/*
 * The poller's io_uring backend: the ring, and readiness by requests that poll.
 *
 * 1. A request holds the file that it polls: while one is in the ring, close(2) by somebody who
 *    does not know of it ends no connection and frees no port. So a request lives no longer than
 *    the interest that it is for: it is one-shot, made again where interest is left, and cancelled
 *    where none is. Before uco_close() closes an fd its requests are cancelled at once.
 * 2. What the ring must be told is noted in a list and said with the next wait, in the same system
 *    call: a wait costs none of its own. Nothing that is said needs memory of ours.
 * 3. A completion whose serial number is not that of the fd's present request is of the past, and
 *    is nothing: so numbers can be used again at once, and no event is ever a stray one.
 * 4. The kernel binds a ring to the thread that enables it, and the requests of a thread that ends
 *    are cancelled. When another thread runs the loop, it makes a new ring.
 * 5. In the child of a fork() the ring is only unmapped and closed: what is in it is the parent's.
 */

#include "core/poller_uring.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/inflow.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

/* Completions a wait; what is over comes with the next. No more, because a connection's memory that
 * the kernel and we touch here is to be in the caches still when its task runs. */
#define COLLECT_MAX 32
#define PREFETCH_AHEAD 4
#define FDS_FIRST 64    /* records */
#define CLOSE_TRIES 100 /* waits for what is cancelled, so that no buffer is in flight */
#define CLOSE_WAIT (10 * UCO__MILLISECOND)
#define ERROR_EVENTS (POLLERR | POLLHUP)

_Static_assert(offsetof(struct uco__uring, backend) == 0, "uco__uring_of()");

static void uring_remove(struct uco__poller *poller, int fd);

/* --- records --- */

static int
fds_grow(struct uco__uring *uring, int fd)
{
    size_t capacity = uring->capacity != 0 ? uring->capacity : FDS_FIRST;
    struct uco__uring_fd *fds;

    while (capacity <= (size_t) fd)
        capacity *= 2;
    fds = uco__reallocate(uring->fds, capacity * sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    memset(fds + uring->capacity, 0, (capacity - uring->capacity) * sizeof *fds);
    uring->fds = fds;
    uring->capacity = capacity;
    return 0;
}

struct uco__uring_fd *
uco__uring_fd(struct uco__uring *uring, int fd, bool make)
{
    if (fd < 0 || ((size_t) fd >= uring->capacity && (!make || fds_grow(uring, fd) < 0)))
        return NULL;
    return &uring->fds[fd];
}

void
uco__uring_change(struct uco__uring *uring, int fd)
{
    struct uco__uring_fd *record = &uring->fds[fd];

    if (record->queued)
        return;
    record->queued = true;
    record->next = uring->changed;
    uring->changed = fd;
}

/* The request that polls, if there is one, is to be cancelled when the ring is told. */
static void
poll_drop(struct uco__uring_fd *record)
{
    if (!record->polled)
        return;
    record->polled = false;
    record->stale = true;
    record->stale_serial = record->poll_serial;
}

short
uco__uring_wanted(const struct uco__poller *poller, int fd)
{
    const struct uco__fd *entry = &poller->fds[fd];
    short wanted = 0;

    for (int i = 0; i < UCO__DIRECTIONS; i++) {
        if (entry->waits[i] != NULL)
            wanted |= (short) (entry->waits[i]->events | ERROR_EVENTS);
        if (entry->watchers[i] != NULL)
            wanted |= (short) ((i == UCO__READER ? POLLIN : POLLOUT) | ERROR_EVENTS);
    }
    return wanted;
}

/* --- interest --- */

/* Whether this fd can be polled, as epoll sees it: a ring would call any other always ready, and
 * would tell of a closed one later. */
static int
fd_judge(struct uco__uring *uring, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
    struct stat status;
    int r = (int) UCO__SYSTEM(stat, fstat(fd, &status));

    if (r < 0 || S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode))
        return r;
    if (uring->judge < 0)
        uring->judge = (int) UCO__SYSTEM(epoll_create1, epoll_create1(EPOLL_CLOEXEC));
    if (uring->judge < 0)
        return uring->judge;
    r = (int) UCO__SYSTEM(epoll_ctl, epoll_ctl(uring->judge, EPOLL_CTL_ADD, fd, &event));
    if (r == 0)
        UCO__RESULT(epoll_ctl(uring->judge, EPOLL_CTL_DEL, fd, NULL));
    return r;
}

/* What is wanted is seen in the poller's entry: `interest` may have more, for a registration that
 * stays. */
static int
uring_set(struct uco__poller *poller, int fd, uint32_t generation, short interest, bool level)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__uring_fd *record = uco__uring_fd(uring, fd, true);
    int r;

    (void) interest;
    (void) level; /* made again after each event, while it is wanted: that is level-triggered */
    if (record == NULL)
        return -ENOMEM;
    if (record->flow != NULL && record->generation != generation)
        uring_remove(poller, fd); /* what had this number before */
    /* What a stream reads ahead from was found good when that began. */
    r = record->flow != NULL ? 0 : fd_judge(uring, fd);
    if (r < 0)
        return r;
    record->generation = generation;
    record->interest = uco__uring_wanted(poller, fd);
    /* The number may be another file's now, and what there is must be looked at afresh. */
    if (record->flow == NULL)
        poll_drop(record);
    uco__uring_change(uring, fd);
    return 0;
}

static void
uring_relax(struct uco__poller *poller, int fd)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__uring_fd *record = uco__uring_fd(uring, fd, false);

    if (record == NULL)
        return;
    record->interest = 0;
    poller->fds[fd].interest = 0; /* also of what the ring was not told of yet */
    if (record->flow != NULL || !record->polled)
        return; /* a flow's fd is its reader's, who closes it by uco_close() */
    poll_drop(record);
    uco__uring_change(uring, fd);
}

/* Tells the ring what has changed for one fd. False: no place; another time. */
static bool
fd_tell(struct uco__poller *poller, int fd)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__uring_fd *record = &uring->fds[fd];
    short interest = record->interest;
    struct io_uring_sqe *sqe;

    if (record->flow != NULL && !uco__inflow_arm(poller, fd, &interest))
        return false;
    record = &uring->fds[fd]; /* who was told of what has come may have added others */
    if ((interest & ~record->polled_for) != 0)
        poll_drop(record);
    if (record->stale &&
        !uco__uring_cancel(uring, uco__uring_data(UCO__URING_POLL, record->stale_serial, fd)))
        return false;
    record->stale = false;
    if (interest == 0 || record->polled)
        return true;
    sqe = uco__uring_place(uring);
    if (sqe == NULL)
        return false;
    record->poll_serial = ++record->serial & UCO__URING_SERIAL_MASK;
    record->polled = true;
    record->polled_for = interest;
    uring->in_flight++;
    io_uring_prep_poll_add(sqe, fd, (unsigned short) interest);
    io_uring_sqe_set_data64(sqe, uco__uring_data(UCO__URING_POLL, record->poll_serial, fd));
    return true;
}

/* The doorbell's request goes on: each write to an eventfd is an event, whether the one before was
 * read or not. */
static bool
doorbell_tell(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct io_uring_sqe *sqe = uring->doorbell_watched ? NULL : uco__uring_place(uring);

    if (sqe != NULL) {
        uring->doorbell_watched = true;
        uring->in_flight++;
        io_uring_prep_poll_multishot(sqe, poller->doorbell, POLLIN);
        io_uring_sqe_set_data64(sqe, uco__uring_data(UCO__URING_DOORBELL, 0, 0));
    }
    return uring->doorbell_watched;
}

/* False: the kernel takes no more requests now. */
static bool
uring_tell(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);

    while (uring->changed >= 0) {
        int fd = uring->changed;
        struct uco__uring_fd *record = &uring->fds[fd];

        uring->changed = record->next;
        record->queued = false;
        if (!fd_tell(poller, fd)) {
            uco__uring_change(uring, fd);
            return false;
        }
    }
    return true;
}

/* --- completions --- */

void
uco__uring_event(struct uco__poller *poller, int fd, short events)
{
    const struct uco__uring_fd *record = &uco__uring_of(poller)->fds[fd];
    struct uco__fd *entry = (size_t) fd < poller->capacity ? &poller->fds[fd] : NULL;

    if (entry == NULL || !entry->registered || entry->generation != record->generation)
        return;
    entry->interest = 0; /* the request is used up: the next wait is to be made known again */
    uco__poller_event(poller, fd, record->generation, events);
}

static void
poll_complete(struct uco__poller *poller, int fd, uint32_t serial, int result)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__uring_fd *record = &uring->fds[fd];

    if (!record->polled || record->poll_serial != serial)
        return;
    record->polled = false;
    if (record->flow != NULL)
        uco__inflow_polled(uring, fd, result);
    /* An error that came late: those who wait are told to look, and get it from their own call. */
    if (result != -ECANCELED)
        uco__uring_event(poller, fd, result < 0 ? ERROR_EVENTS : (short) result);
    record = &uring->fds[fd];
    if (!record->polled && !record->queued)
        record->interest = result == -EBADF ? 0 : uco__uring_wanted(poller, fd);
    if (record->interest != 0 || record->flow != NULL)
        uco__uring_change(uring, fd);
}

static void
uring_complete(struct uco__poller *poller, const struct io_uring_cqe *cqe)
{
    struct uco__uring *uring = uco__uring_of(poller);
    enum uco__uring_kind kind = (enum uco__uring_kind)(cqe->user_data >> 60);
    bool last = (cqe->flags & IORING_CQE_F_MORE) == 0;

    if (kind == UCO__URING_CANCEL)
        return;
    if (last)
        uring->in_flight--;
    switch (kind) {
    case UCO__URING_DOORBELL:
        uring->rung = uring->rung || cqe->res > 0;
        uring->doorbell_watched = !last;
        break;
    case UCO__URING_POLL:
        poll_complete(poller, (int) (uint32_t) cqe->user_data,
                      (uint32_t) (cqe->user_data >> 32) & UCO__URING_SERIAL_MASK, cqe->res);
        break;
    default:
        uco__inflow_complete(poller, cqe);
        break;
    }
}

/* With many connections, what belongs to each is cold: it is fetched while others' completions are
 * handed on. */
static inline void
ring_prefetch(const struct uco__poller *poller, const struct uco__uring *uring, unsigned ahead)
{
    const struct io_uring_cq *cq = &uring->ring.cq;
    uint32_t fd = (uint32_t) cq->cqes[(*cq->khead + ahead) & cq->ring_mask].user_data;

    if (fd < poller->capacity)
        __builtin_prefetch(&poller->fds[fd]);
    if (fd < uring->capacity)
        __builtin_prefetch(&uring->fds[fd]);
}

/* Takes in what is in the ring: how many, or -ENOMEM: nothing is lost, but the rest has to wait. */
static int
ring_collect(struct uco__poller *poller, int most)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct io_uring_cq *cq = &uring->ring.cq;
    int n;

    for (n = 0; n < most; n++) {
        unsigned head = *cq->khead;
        struct io_uring_cqe cqe;

        if (head == io_uring_smp_load_acquire(cq->ktail))
            break;
        ring_prefetch(poller, uring, PREFETCH_AHEAD);
        cqe = cq->cqes[head & cq->ring_mask];
        if (cqe.user_data >> 60 >= UCO__URING_RECEIVE && !uco__inflow_can_keep(uring, &cqe))
            return -ENOMEM;
        /* Given back first: whoever is told may come here again, by way of uring_remove(). */
        io_uring_cq_advance(&uring->ring, 1);
        uring_complete(poller, &cqe);
    }
    return n;
}

/* The same with what the kernel has not brought yet: since Linux 6.13 a call brings some twenty. */
static int
uring_collect(struct uco__poller *poller, int most)
{
    struct uco__uring *uring = uco__uring_of(poller);
    int n = ring_collect(poller, most);

    while (n >= 0 && n < most && uco__ring_has_more(&uring->ring)) {
        int r = uco__ring_enter(&uring->ring, 0);
        int more = ring_collect(poller, most - n);

        if (more < 0)
            return more;
        n += more;
        if (r < 0 || more == 0)
            break; /* nothing was behind it: the kernel sets the flag late at times */
    }
    return n;
}

/* --- beginning, end, and other threads --- */

/* A new ring takes the place of the old one, of which only what has come already counts. */
static int
uring_renew(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct io_uring ring;
    int r = uco__ring_make(&ring);

    if (r < 0)
        return r;
    r = uco__ring_enable(&ring);
    if (r == 0 && uring_collect(poller, UCO__URING_COMPLETIONS) < 0)
        r = -ENOMEM;
    if (r < 0) {
        io_uring_queue_exit(&ring);
        return r;
    }
    io_uring_queue_exit(&uring->ring);
    uring->ring = ring;
    uring->owner = uco__thread_self();
    poller->handle = ring.ring_fd;
    uring->in_flight = 0;
    uring->doorbell_watched = false;
    for (size_t fd = 0; fd < uring->capacity && fd < poller->capacity; fd++) {
        struct uco__uring_fd *record = &uring->fds[fd];

        poller->fds[fd].interest = 0; /* nothing is known to it */
        record->interest = uco__uring_wanted(poller, (int) fd);
        record->polled = false;
        record->stale = false;
        if (record->interest != 0)
            uco__uring_change(uring, (int) fd);
    }
    uco__inflow_move(uring);
    return 0;
}

/* The ring is to be made anew by whoever waits next. */
static void
uring_disown(struct uco__uring *uring)
{
    uring->owner = &uring->owner; /* no thread is there */
}

/* The calling thread is to use the ring. */
static int
uring_own(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);
    int r;

    if (UCO__LIKELY(uring->owner == uco__thread_self()))
        return 0;
    if (uring->owner != NULL)
        return uring_renew(poller);
    r = uco__ring_enable(&uring->ring);
    if (r == 0)
        uring->owner = uco__thread_self();
    return r;
}

/* Says what is to be said now, and takes in what follows from it, lest it overflows. False: the
 * kernel has not taken it all. */
static bool
uring_flush(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);
    bool told = false;

    for (int i = 0; i < UCO__URING_TRIES; i++) {
        int r;

        told = uring_tell(poller);
        r = uco__ring_enter(&uring->ring, 0);
        told = told && io_uring_sq_ready(&uring->ring) == 0;
        if (told && r >= 0)
            break;
    }
    if (uco__ring_has_more(&uring->ring))
        uring_collect(poller, UCO__URING_COMPLETIONS);
    return told;
}

static void
uring_remove(struct uco__poller *poller, int fd)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__uring_fd *record = uco__uring_fd(uring, fd, false);
    uint64_t data;

    if (record == NULL)
        return;
    record->interest = 0;
    poll_drop(record);
    uco__uring_change(uring, fd);
    if (uring->owner != NULL && uring_own(poller) < 0) {
        /* The old ring goes with the next wait, and all that is in it. */
        uco__inflow_drop(uring, fd, &data);
        return;
    }
    if (uco__inflow_drop(uring, fd, &data)) {
        if (!uco__uring_cancel(uring, data))
            uring_disown(uring); /* the kernel takes no more: that ends it, too */
    } else if (!uring->fds[fd].stale) {
        return;
    }
    /* A request that the kernel would take later would be for whatever has this number then. */
    if (!uring_flush(poller))
        uring_disown(uring);
}

static int
uring_open(struct uco__poller *poller, int doorbell)
{
    struct uco__uring *uring;
    int r;

    if (doorbell < 0)
        return uring_renew(poller);
    uring = uco__allocate(sizeof *uring);
    if (uring == NULL)
        return -ENOMEM;
    r = uco__ring_make(&uring->ring);
    if (r < 0) {
        uco__free(uring);
        return r;
    }
    uring->backend = uco__poller_uring;
    uring->process = getpid();
    uring->judge = -1;
    uring->changed = -1;
    uring->parts_free = -1;
    poller->backend = &uring->backend;
    poller->handle = uring->ring.ring_fd;
    poller->doorbell = doorbell;
    return 0;
}

/* Nothing of ours is to be in the kernel's hands when its memory is freed, and no file. */
static void
uring_settle(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);

    for (size_t fd = 0; fd < uring->capacity; fd++) {
        uint64_t data;

        uring->fds[fd].interest = 0;
        poll_drop(&uring->fds[fd]);
        uco__uring_change(uring, (int) fd);
        if (uco__inflow_drop(uring, (int) fd, &data))
            uco__uring_cancel(uring, data);
    }
    if (uring->doorbell_watched)
        uco__uring_cancel(uring, uco__uring_data(UCO__URING_DOORBELL, 0, 0));
    uring_flush(poller);
    uring_collect(poller, UCO__URING_COMPLETIONS);
    for (int i = 0; uring->in_flight > 0 && i < CLOSE_TRIES; i++) {
        uco__ring_enter(&uring->ring, CLOSE_WAIT);
        uring_collect(poller, UCO__URING_COMPLETIONS);
    }
}

static void
uring_close(struct uco__poller *poller)
{
    struct uco__uring *uring = uco__uring_of(poller);

    if (poller->handle < 0)
        return; /* closed already, in the child of a fork() */
    if (uring->process == getpid() && uring->owner == uco__thread_self())
        uring_settle(poller);
    io_uring_queue_exit(&uring->ring);
    if (uring->judge >= 0)
        uco__close(uring->judge);
    poller->handle = -1;
    /* In a child, another thread may have been in the middle of anything. */
    if (uring->process != getpid())
        return;
    uco__inflow_done(uring);
    uco__free(uring->fds);
    uco__free(uring);
    poller->backend = &uco__poller_uring;
}

static int
uring_wait(struct uco__poller *poller, uint64_t timeout)
{
    struct uco__uring *uring = uco__uring_of(poller);
    int r = uring_own(poller);
    int came, rung;
    bool said;

    if (r < 0)
        return r;
    uring->told = false;
    said = doorbell_tell(poller) && uring_tell(poller);
    r = uco__ring_enter(&uring->ring, said && !uring->told ? timeout : 0);
    came = uring_collect(poller, COLLECT_MAX);
    rung = uring->rung;
    uring->rung = false;
    if (r == -EEXIST)
        uring_disown(uring); /* it is that of a thread that has ended, at the address of this one */
    if (rung || came > 0 || uring->told || r == -EINTR || r == -ETIME || r == -EEXIST)
        return rung;
    if (came < 0)
        return came;
    return r < 0 ? r : !said ? -EAGAIN : 0;
}

const struct uco__poller_backend uco__poller_uring = {
    .open = uring_open,
    .close = uring_close,
    .set = uring_set,
    .remove = uring_remove,
    .wait = uring_wait,
    .relax = uring_relax,
};
