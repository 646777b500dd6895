/* SPDX-License-Identifier: MIT */

/*
 * What an io_uring reads and accepts ahead: requests that stay, and the buffers they fill.
 *
 * 1. A flow is asked for by the fd's one reader, and its request goes into the ring when the reader
 *    waits: until then the reader makes its calls itself. While there is a request or something
 *    that it has brought, nobody else may read the fd: the order would be lost.
 * 2. Parts are taken in the order in which they came; then what the request ended with, if that is
 *    the reader's to know.
 * 3. Buffers are the pool's until the loop closes. One is the kernel's (`given`), or has parts
 *    that were not taken, or (where several receives fill it one after the other) both; when it is
 *    neither it is given again. So a cancelled request that still writes, writes to memory that
 *    nobody else has.
 * 4. A flow that has much that nobody takes has its request cancelled; it is made again when the
 *    reader has taken all and waits. When there is no buffer left, requests end, and their readers
 *    make their calls themselves: less fast, but nothing is lost.
 */

#include "core/inflow.h"

#include "base/system.h"
#include "core/poller_uring.h"

#include <stddef.h>
#include <string.h>

#define BUFFER_SIZE ((uint32_t) 32 * 1024)
#define SLAB_BUFFERS 16 /* made at once */
#define SLABS_MAX 64
#define BUFFERS_MAX (SLAB_BUFFERS * SLABS_MAX) /* 32 MiB */
#define GROUP 0                                /* the pool's number in its ring */
/* Of one flow, untaken; from then on it is stopped. */
#define BYTES_MAX ((uint32_t) 128 * 1024)
#define PARTS_MAX 64
#define PARTS_FIRST 64
/* From so many bytes on, copying them once more costs more than the call that it saves; after so
 * many such parts in a row the reader reads itself. */
#define LARGE_MIN 2048
#define LARGE_MAX 16
#define NOTHING 1        /* a request's end that is not the reader's to know */
#define SHARED_BUFFERS 2 /* IOU_PBUF_RING_INC (Linux 6.12), which liburing 2.3 does not name */
#define NO_SERIAL UINT32_MAX

bool uco__inflow_whole;

struct uco__flow {
    int first, last; /* of the parts; -1 */
    uint32_t count;  /* of parts */
    uint32_t bytes;  /* in them */
    uint32_t serial; /* of the request */
    bool armed;      /* it is in the ring */
    bool stopping;   /* and was told to end */
    bool ending;     /* it has to stop, for good */
    unsigned large;  /* parts in a row that were */
    bool off;        /* this fd can have none */
    bool accepts;    /* a listener's: parts are sockets */
    int flags;       /* for those */
    int result;      /* of receiving, after the parts: an error, 0 (the end) or NOTHING */
};

/* --- parts --- */

/* What nobody is there for any more is not kept, nor is what brings nothing. */
static bool
is_to_keep(const struct uco__uring *uring, const struct io_uring_cqe *cqe)
{
    const struct uco__flow *flow = uring->fds[(uint32_t) cqe->user_data].flow;
    uint32_t serial = (uint32_t) (cqe->user_data >> 32) & UCO__URING_SERIAL_MASK;

    return flow != NULL && flow->serial == serial && cqe->res >= 0;
}

bool
uco__inflow_can_keep(struct uco__uring *uring, const struct io_uring_cqe *cqe)
{
    int capacity = uring->parts_capacity != 0 ? 2 * uring->parts_capacity : PARTS_FIRST;
    struct uco__uring_part *parts;

    if (UCO__LIKELY(uring->parts_free >= 0) || !is_to_keep(uring, cqe))
        return true;
    parts = uco__reallocate(uring->parts, (size_t) capacity * sizeof *parts);
    if (parts == NULL)
        return false;
    for (int i = uring->parts_capacity; i < capacity; i++)
        parts[i].next = i + 1 < capacity ? i + 1 : -1;
    uring->parts_free = uring->parts_capacity;
    uring->parts = parts;
    uring->parts_capacity = capacity;
    return true;
}

static void
part_add(struct uco__uring *uring, struct uco__flow *flow, int what, uint32_t offset, uint32_t size)
{
    int number = uring->parts_free;
    struct uco__uring_part *part = &uring->parts[number];

    uring->parts_free = part->next;
    *part = (struct uco__uring_part){.next = -1, .what = what, .offset = offset, .size = size};
    if (flow->last >= 0)
        uring->parts[flow->last].next = number;
    else
        flow->first = number;
    flow->last = number;
    flow->count++;
    flow->bytes += size;
}

static void
part_drop(struct uco__uring *uring, struct uco__flow *flow)
{
    int number = flow->first;
    struct uco__uring_part *part = &uring->parts[number];

    flow->first = part->next;
    if (flow->first < 0)
        flow->last = -1;
    flow->count--;
    flow->bytes -= part->size;
    part->next = uring->parts_free;
    uring->parts_free = number;
}

/* --- buffers --- */

static char *
buffer_memory(const struct uco__uring_pool *pool, int number)
{
    return (char *) pool->slabs[number / SLAB_BUFFERS] +
           (size_t) (number % SLAB_BUFFERS) * BUFFER_SIZE;
}

static void
buffer_give(struct uco__uring_pool *pool, int number)
{
    struct uco__uring_buffer *buffer = &pool->buffers[number];

    if (buffer->given || buffer->parts > 0 || pool->ring == NULL)
        return;
    buffer->used = 0;
    buffer->given = true;
    pool->given++;
    io_uring_buf_ring_add(pool->ring, buffer_memory(pool, number), BUFFER_SIZE,
                          (unsigned short) number, io_uring_buf_ring_mask(BUFFERS_MAX), 0);
    io_uring_buf_ring_advance(pool->ring, 1);
}

/* The kernel has put so many bytes behind those that are there: where. */
static uint32_t
buffer_fill(struct uco__uring_pool *pool, int number, uint32_t size)
{
    struct uco__uring_buffer *buffer = &pool->buffers[number];
    uint32_t offset = buffer->used;

    buffer->used += size;
    /* What the completion says about there being more, is wrong for an empty one on some kernels.
     */
    if (!pool->shared || buffer->used == BUFFER_SIZE) {
        buffer->given = false;
        pool->given--;
    }
    return offset;
}

static bool
pool_grow(struct uco__uring_pool *pool)
{
    unsigned slab = pool->slab_count;

    if (slab == SLABS_MAX || uco__map((size_t) SLAB_BUFFERS * BUFFER_SIZE, &pool->slabs[slab]) < 0)
        return false;
    pool->slab_count++;
    for (unsigned i = 0; i < SLAB_BUFFERS; i++)
        buffer_give(pool, (int) (slab * SLAB_BUFFERS + i));
    return true;
}

static int
pool_register(struct uco__uring *uring, void *memory, unsigned short flags)
{
    struct io_uring_buf_reg group = {
        .ring_addr = (uintptr_t) memory,
        .ring_entries = BUFFERS_MAX,
        .bgid = GROUP,
    };

    /* The field after it has no name in liburing 2.3. */
    memcpy((char *) &group + offsetof(struct io_uring_buf_reg, bgid) + sizeof group.bgid, &flags,
           sizeof flags);
    return UCO__URING(io_uring_enter, io_uring_register_buf_ring(&uring->ring, &group, 0));
}

static bool
pool_make(struct uco__uring *uring)
{
    struct uco__uring_pool *pool = &uring->pool;
    void *memory;
    int r;

    if (pool->buffers == NULL)
        pool->buffers = uco__allocate(BUFFERS_MAX * sizeof *pool->buffers);
    if (pool->slabs == NULL)
        pool->slabs = uco__allocate(SLABS_MAX * sizeof *pool->slabs);
    if (pool->buffers == NULL || pool->slabs == NULL ||
        uco__map(BUFFERS_MAX * sizeof(struct io_uring_buf), &memory) < 0)
        return false;
    r = uco__inflow_whole ? -EINVAL : pool_register(uring, memory, SHARED_BUFFERS);
    pool->shared = r == 0;
    if (r == -EINVAL)
        r = pool_register(uring, memory, 0);
    if (r < 0) {
        uco__unmap(memory, BUFFERS_MAX * sizeof(struct io_uring_buf));
        pool->refused = r == -EINVAL;
        return false;
    }
    pool->ring = memory;
    io_uring_buf_ring_init(pool->ring);
    for (unsigned i = 0; i < pool->slab_count * SLAB_BUFFERS; i++)
        buffer_give(pool, (int) i);
    return true;
}

/* Whether there is something to read into. */
static bool
pool_is_ready(struct uco__uring *uring)
{
    struct uco__uring_pool *pool = &uring->pool;

    if (pool->refused || (pool->ring == NULL && !pool_make(uring)))
        return false;
    return pool->given > 0 || pool_grow(pool);
}

/* --- requests --- */

static bool
flow_has_news(const struct uco__flow *flow)
{
    return flow->first >= 0 || flow->result != NOTHING;
}

/* 1: the request is there; 0: the fd has to be polled; -1: no place. */
static int
flow_arm(struct uco__uring *uring, int fd, struct uco__flow *flow)
{
    struct uco__uring_fd *record = &uring->fds[fd];
    struct io_uring_sqe *sqe;

    if (!flow->accepts && !pool_is_ready(uring))
        return 0;
    sqe = uco__uring_place(uring);
    if (sqe == NULL)
        return -1;
    if (flow->accepts) {
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, flow->flags);
    } else {
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST; /* the reader has just found nothing */
        io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
        sqe->buf_group = GROUP;
    }
    flow->serial = ++record->serial & UCO__URING_SERIAL_MASK;
    io_uring_sqe_set_data64(
        sqe,
        uco__uring_data(flow->accepts ? UCO__URING_ACCEPT : UCO__URING_RECEIVE, flow->serial, fd));
    flow->armed = true;
    flow->stopping = false;
    uring->in_flight++;
    return 1;
}

static uint64_t
flow_data(const struct uco__flow *flow, int fd)
{
    return uco__uring_data(flow->accepts ? UCO__URING_ACCEPT : UCO__URING_RECEIVE, flow->serial,
                           fd);
}

/* A request that goes on receiving may miss an end that comes just behind data (Linux 6.18 does):
 * so the fd is also polled for its end, and then the reader reads the rest itself. */
bool
uco__inflow_arm(struct uco__poller *poller, int fd, short *interest)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__flow *flow = uring->fds[fd].flow;

    if (flow->armed && flow->ending && !flow->stopping) {
        flow->stopping = uco__uring_cancel(uring, flow_data(flow, fd));
        if (!flow->stopping)
            return false;
    }
    if ((*interest & POLLIN) != 0 && flow_has_news(flow)) {
        uring->told = true;
        uco__uring_event(poller, fd, POLLIN);
        *interest = uring->fds[fd].interest = uco__uring_wanted(poller, fd);
    } else if ((*interest & POLLIN) != 0 && !flow->off && !flow->armed) {
        int r = flow_arm(uring, fd, flow);

        if (r <= 0)
            return r == 0;
    }
    if (flow->armed) {
        *interest &= (short) ~(POLLIN | POLLRDHUP);
        if (!flow->accepts && !flow->ending)
            *interest |= POLLRDHUP;
        if ((*interest & ~(POLLERR | POLLHUP)) == 0)
            *interest = 0; /* the request tells of errors, too */
    }
    return true;
}

void
uco__inflow_polled(struct uco__uring *uring, int fd, int events)
{
    struct uco__flow *flow = uring->fds[fd].flow;

    /* What the request itself has brought of the end may be next in the ring. */
    if (flow->armed && !flow->accepts && (events & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
        flow->ending = events > 0;
}

/* Too much has come that nobody takes, or what comes is better read by the reader itself. */
static void
flow_stop(struct uco__uring *uring, int fd, struct uco__flow *flow, int size)
{
    flow->large = size >= LARGE_MIN ? flow->large + 1 : 0;
    if (flow->large > LARGE_MAX && !flow->accepts)
        flow->ending = true;
    if (flow->armed && !flow->stopping &&
        (flow->ending || flow->bytes > BYTES_MAX || flow->count > PARTS_MAX))
        flow->stopping = uco__uring_cancel(uring, flow_data(flow, fd));
}

/* Adds what has come to the flow, NULL: which is no more. */
static void
flow_keep(struct uco__uring *uring, struct uco__flow *flow, const struct io_uring_cqe *cqe)
{
    struct uco__uring_pool *pool = &uring->pool;
    int number = (int) (cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    uint32_t size = cqe->res > 0 ? (uint32_t) cqe->res : 0;
    uint32_t offset;

    if (cqe->user_data >> 60 == UCO__URING_ACCEPT) {
        if (cqe->res >= 0 && flow != NULL)
            part_add(uring, flow, cqe->res, 0, 0);
        else if (cqe->res >= 0)
            uco__close(cqe->res);
    } else if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        offset = buffer_fill(pool, number, size);
        if (size > 0 && flow != NULL) {
            part_add(uring, flow, number, offset, size);
            pool->buffers[number].parts++;
        }
        buffer_give(pool, number);
    }
}

/* The request has ended, and how. Whether its reader is to look. */
static bool
flow_end(struct uco__uring *uring, struct uco__flow *flow, int result)
{
    flow->armed = false;
    flow->stopping = false;
    switch (result) {
    case -ECANCELED: /* by us, or because its thread ended */
        flow->off = flow->ending;
        return flow->ending;
    case -ENOBUFS: /* the reader calls recv(2) itself, and when it waits again there are more */
        for (unsigned i = uring->pool.slab_count; i > 0 && pool_grow(&uring->pool); i--)
            continue;
        return true;
    case -EAGAIN:
    case -EINVAL:
    case -ENOTSOCK:
    case -EOPNOTSUPP:
        flow->off = true;
        return true;
    default:
        /* An acceptor gets the error from its own call, if that has it still. */
        if (result <= 0 && !flow->accepts)
            flow->result = result;
        return true;
    }
}

void
uco__inflow_complete(struct uco__poller *poller, const struct io_uring_cqe *cqe)
{
    struct uco__uring *uring = uco__uring_of(poller);
    int fd = (int) (uint32_t) cqe->user_data;
    uint32_t serial = (uint32_t) (cqe->user_data >> 32) & UCO__URING_SERIAL_MASK;
    struct uco__flow *flow = uring->fds[fd].flow;
    bool look = true;

    if (flow != NULL && flow->serial != serial)
        flow = NULL;
    flow_keep(uring, flow, cqe);
    if (flow == NULL)
        return;
    flow_stop(uring, fd, flow, cqe->res);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        look = flow_end(uring, flow, cqe->res);
    if (look)
        uco__uring_event(poller, fd, POLLIN);
    else
        poller->fds[fd].interest = 0;
    uring->fds[fd].interest = uco__uring_wanted(poller, fd);
    if (uring->fds[fd].interest != 0)
        uco__uring_change(uring, fd);
}

/* --- the reader --- */

/* The flow of an fd, made if there is none; NULL: there can be none. */
static struct uco__flow *
flow_of(struct uco__poller *poller, int fd, bool accepts, int flags)
{
    struct uco__uring *uring = uco__uring_of(poller);
    struct uco__uring_fd *record;
    struct uco__flow *flow;
    struct uco__fd *entry;

    if (poller->backend->open != uco__poller_uring.open || fd < 0 ||
        (size_t) fd >= poller->capacity)
        return NULL;
    record = uco__uring_fd(uring, fd, true);
    if (record == NULL)
        return NULL;
    entry = &poller->fds[fd];
    if (record->flow != NULL && entry->registered && entry->generation == record->generation)
        return record->flow;
    if (record->flow != NULL)
        poller->backend->remove(poller, fd); /* what had this number before */
    flow = uco__allocate(sizeof *flow);
    if (flow == NULL)
        return NULL;
    *flow = (struct uco__flow){
        .first = -1,
        .last = -1,
        .serial = NO_SERIAL,
        .result = NOTHING,
        .accepts = accepts,
        .flags = flags,
    };
    /* So that the poller forgets it with the fd. */
    if (!entry->registered) {
        entry->generation++;
        entry->interest = 0; /* nothing is asked for yet */
        entry->level = false;
    }
    entry->registered = true;
    record->generation = entry->generation;
    record->flow = flow;
    return flow;
}

/* What is left to say when there are no parts. */
static int
flow_answer(struct uco__flow *flow)
{
    int r = flow->result;

    if (r == NOTHING)
        return flow->armed ? -EAGAIN : -EOPNOTSUPP;
    if (r < 0)
        flow->result = NOTHING;
    return r;
}

/* All is taken. While the request is there, what comes next is an event: a wait needs to say
 * nothing, and a read need not be tried. */
static void
flow_empty(struct uco__poller *poller, int fd, const struct uco__flow *flow)
{
    struct uco__fd *entry = &poller->fds[fd];

    if (flow->first >= 0 || !flow->armed || flow->stopping || flow->ending)
        return;
    entry->interest |= POLLIN;
    entry->drained = !flow->accepts;
}

ssize_t
uco__inflow_receive(struct uco__poller *poller, int fd, void *buf, size_t n)
{
    struct uco__flow *flow = flow_of(poller, fd, false, 0);
    struct uco__uring *uring = uco__uring_of(poller);
    size_t done = 0;

    if (flow == NULL)
        return -EOPNOTSUPP;
    if (flow->first < 0)
        return flow_answer(flow);
    while (flow->first >= 0 && done < n) {
        struct uco__uring_part *part = &uring->parts[flow->first];
        size_t size = part->size < n - done ? part->size : n - done;
        int number = part->what;

        memcpy((char *) buf + done, buffer_memory(&uring->pool, number) + part->offset, size);
        done += size;
        part->offset += (uint32_t) size;
        part->size -= (uint32_t) size;
        flow->bytes -= (uint32_t) size;
        if (part->size > 0)
            break;
        part_drop(uring, flow);
        uring->pool.buffers[number].parts--;
        buffer_give(&uring->pool, number);
    }
    flow_empty(poller, fd, flow);
    return (ssize_t) done;
}

int
uco__inflow_accept(struct uco__poller *poller, int fd, int flags)
{
    struct uco__flow *flow = flow_of(poller, fd, true, flags);
    struct uco__uring *uring = uco__uring_of(poller);
    int accepted;

    if (flow == NULL)
        return -EOPNOTSUPP;
    if (flow->first < 0)
        return flow_answer(flow);
    accepted = uco__fault(UCO__FAULT_accept4);
    if (accepted < 0)
        return accepted;
    accepted = uring->parts[flow->first].what;
    part_drop(uring, flow);
    flow_empty(poller, fd, flow);
    return accepted;
}

/* --- the end --- */

bool
uco__inflow_drop(struct uco__uring *uring, int fd, uint64_t *data)
{
    struct uco__flow *flow = uring->fds[fd].flow;
    bool armed;

    if (flow == NULL)
        return false;
    uring->fds[fd].flow = NULL;
    while (flow->first >= 0) {
        int what = uring->parts[flow->first].what;

        part_drop(uring, flow);
        if (flow->accepts) {
            uco__close(what);
        } else {
            uring->pool.buffers[what].parts--;
            buffer_give(&uring->pool, what);
        }
    }
    armed = flow->armed;
    if (armed)
        *data = flow_data(flow, fd);
    uco__free(flow);
    return armed;
}

void
uco__inflow_move(struct uco__uring *uring)
{
    struct uco__uring_pool *pool = &uring->pool;

    for (size_t fd = 0; fd < uring->capacity; fd++) {
        struct uco__flow *flow = uring->fds[fd].flow;

        if (flow == NULL)
            continue;
        flow->armed = false;
        flow->stopping = false;
    }
    if (pool->ring != NULL)
        uco__unmap(pool->ring, BUFFERS_MAX * sizeof(struct io_uring_buf));
    pool->ring = NULL;
    pool->given = 0;
    for (unsigned i = 0; i < pool->slab_count * SLAB_BUFFERS; i++)
        pool->buffers[i].given = false;
}

void
uco__inflow_done(struct uco__uring *uring)
{
    struct uco__uring_pool *pool = &uring->pool;
    uint64_t data;

    for (size_t fd = 0; fd < uring->capacity; fd++)
        uco__inflow_drop(uring, (int) fd, &data);
    if (pool->ring != NULL)
        uco__unmap(pool->ring, BUFFERS_MAX * sizeof(struct io_uring_buf));
    for (unsigned i = 0; i < pool->slab_count; i++)
        uco__unmap(pool->slabs[i], (size_t) SLAB_BUFFERS * BUFFER_SIZE);
    uco__free(pool->slabs);
    uco__free(pool->buffers);
    uco__free(uring->parts);
}
