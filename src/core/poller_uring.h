/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_POLLER_URING_H
#define UCO_CORE_POLLER_URING_H

/* The inside of the poller's io_uring backend: what poller_uring.c (readiness),
 * poller_uring_ring.c (the ring) and inflow.c (what the ring reads and accepts ahead) share. */

#include "base/error.h"
#include "base/fault.h"
#include "core/poller.h"

#include <liburing.h>
#include <sys/types.h>

/* A call that gives a negative error itself; tests can make it fail. On some machines it is made by
 * way of libc, so errno is put back. */
#define UCO__URING(name, call)                                                                     \
    ({                                                                                             \
        int *place_ = uco__error_location();                                                       \
        int saved_ = *place_;                                                                      \
        int r_ = uco__fault(UCO__FAULT_##name);                                                    \
        if (r_ == 0)                                                                               \
            r_ = (call);                                                                           \
        *place_ = saved_;                                                                          \
        r_;                                                                                        \
    })

/* What a completion is about: the upper 4 bits of its user_data. Then come 28 bits of the serial
 * number of the request among those for its fd, and 32 of the fd. */
enum uco__uring_kind {
    UCO__URING_DOORBELL,
    UCO__URING_CANCEL,
    UCO__URING_POLL,
    UCO__URING_RECEIVE,
    UCO__URING_ACCEPT,
};

#define UCO__URING_SERIAL_MASK ((uint32_t) 0x0fffffff)

struct uco__flow;

struct uco__uring_fd {
    struct uco__flow *flow; /* NULL: nobody has asked for what is read ahead */
    uint32_t generation;    /* of the registration, for uco__poller_event() */
    uint32_t serial;        /* of the last request for this fd */
    uint32_t poll_serial;   /* of the one that polls it */
    uint32_t stale_serial;  /* of one that polls it and must be cancelled */
    short interest;         /* what is to be polled for; 0: nothing */
    short polled_for;       /* what poll_serial's request is for */
    bool polled;            /* poll_serial's request is in the ring */
    bool stale;             /* stale_serial's is */
    bool queued;            /* in the list of those that the ring must be told of */
    int next;               /* in that list */
};

/* A part of a buffer, or a socket, that came for an fd and has not been taken yet. */
struct uco__uring_part {
    int next;
    int what; /* the buffer's number, or the socket */
    uint32_t offset;
    uint32_t size;
};

struct uco__uring_buffer {
    uint32_t used;  /* bytes that the kernel has filled */
    uint32_t parts; /* that have not been taken */
    bool given;     /* to the kernel, which may fill it further */
};

/* What the kernel reads into, for all streams of the loop. */
struct uco__uring_pool {
    struct io_uring_buf_ring *ring; /* NULL: not yet made */
    struct uco__uring_buffer *buffers;
    void **slabs;
    unsigned slab_count;
    unsigned given; /* buffers that the kernel has */
    bool shared;    /* several receives fill a buffer one after the other (Linux 6.12) */
    bool refused;   /* there are no such rings here (before Linux 5.19) */
};

/* A test wants the buffers of older kernels, in which each receive takes a whole one. */
extern bool uco__inflow_whole;

struct uco__uring {
    struct uco__poller_backend backend; /* poller->backend points here: the way from a poller to
                                           this */
    struct io_uring ring;
    const void *owner; /* the thread that may use the ring; NULL: it is not enabled yet */
    pid_t process;
    int judge;             /* an epoll set that is asked what can be polled; -1: not needed yet */
    unsigned in_flight;    /* requests that will still complete */
    bool doorbell_watched; /* by a request in the ring */
    bool rung;
    bool told;   /* somebody, while the ring was told: no time to wait */
    int changed; /* the first fd of which the ring must be told; -1: none */
    struct uco__uring_fd *fds;
    size_t capacity; /* of fds */
    struct uco__uring_pool pool;
    struct uco__uring_part *parts;
    int parts_capacity;
    int parts_free; /* the first; -1: none */
};

static inline struct uco__uring *
uco__uring_of(const struct uco__poller *poller)
{
    return (struct uco__uring *) (uintptr_t) poller->backend;
}

static inline uint64_t
uco__uring_data(enum uco__uring_kind kind, uint32_t serial, int fd)
{
    return (uint64_t) kind << 60 | (uint64_t) serial << 32 | (uint32_t) fd;
}

/* poller_uring_ring.c */

/* What is over, the kernel keeps elsewhere until there is room. */
#define UCO__URING_COMPLETIONS 4096
/* In a row, when the kernel has no memory for a request. */
#define UCO__URING_TRIES 3

/* The best ring that this kernel has; not enabled. */
int uco__ring_make(struct io_uring *ring);
/* The calling thread is the one that will use it. */
int uco__ring_enable(const struct io_uring *ring);
/* Whether the kernel has something to say that only a system call brings. */
bool uco__ring_has_more(const struct io_uring *ring);
/* Says what was queued, and waits `timeout` ns at most, unless something is there. */
int uco__ring_enter(struct io_uring *ring, uint64_t timeout);
/* A free place for a request; NULL: the kernel would take none. */
struct io_uring_sqe *uco__uring_place(struct uco__uring *uring);
/* Queues the cancellation of a request. False: no place. */
bool uco__uring_cancel(struct uco__uring *uring, uint64_t data);

/* poller_uring.c */

/* The record of an fd; NULL if there is none, or (make) no memory for one. */
struct uco__uring_fd *uco__uring_fd(struct uco__uring *uring, int fd, bool make);
/* The ring is to be told of this fd before the next wait. */
void uco__uring_change(struct uco__uring *uring, int fd);
/* What the waits and watchers of an fd want. */
short uco__uring_wanted(const struct uco__poller *poller, int fd);
/* Tells the poller, if the registration is still the one that this is about. */
void uco__uring_event(struct uco__poller *poller, int fd, short events);

/* inflow.c */

/* Before the next wait: asks for what is to be read ahead. `interest` loses what the inflow will
 * tell of, and gets what it wants to be told. False: no place; another time. */
bool uco__inflow_arm(struct uco__poller *poller, int fd, short *interest);
/* The fd that was polled for its flow has had these events. */
void uco__inflow_polled(struct uco__uring *uring, int fd, int events);
/* Whether what a completion brings can be kept: if not, it must stay in the ring. */
bool uco__inflow_can_keep(struct uco__uring *uring, const struct io_uring_cqe *cqe);
void uco__inflow_complete(struct uco__poller *poller, const struct io_uring_cqe *cqe);
/* The fd is about to be closed, or its loop is: what was read ahead is dropped. Whether there is a
 * request to be cancelled: `data`. */
bool uco__inflow_drop(struct uco__uring *uring, int fd, uint64_t *data);
/* The ring is another one now. */
void uco__inflow_move(struct uco__uring *uring);
void uco__inflow_done(struct uco__uring *uring);

#endif
