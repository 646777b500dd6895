/* SPDX-License-Identifier: MIT */

/*
 * 1. Accepting and receiving are asked for once and go on by themselves; what is received lies in
 *    one of a ring of buffers, which goes back when it has been sent.
 * 2. Buffers are larger than any message: what comes in pieces costs many times as much.
 * 3. Only the end of a connection's receiving closes its fd; a send that fails makes it end.
 */

#include "echo_serve.h"

#include "bench.h"

#ifdef UCO_IO_URING

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SUBMISSIONS = 4096,
    COMPLETIONS = 32 * 1024,
    BATCH = 512,
    BUFFERS = 1024,
    GROUP = 0,
    /* Not a power of two: all would have their beginning in the same set of the cache. */
    BUFFER_STRIDE = ECHO_BUFFER_BYTES + 192,
};

enum kind { ACCEPTED, RECEIVED, SENT };

struct what {
    uint8_t kind;
    uint16_t buffer;
    uint32_t fd;
};

static struct {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *memory;
    uint32_t *starved; /* fds whose receiving ended because there was no buffer */
    size_t starved_count;
    size_t starved_max;
    int listener;
} uring;

static uint64_t
what_pack(struct what what)
{
    return (uint64_t) what.kind << 48 | (uint64_t) what.buffer << 32 | what.fd;
}

static struct what
what_unpack(uint64_t data)
{
    return (struct what){
        .kind = (uint8_t) (data >> 48), .buffer = (uint16_t) (data >> 32), .fd = (uint32_t) data};
}

static struct io_uring_sqe *
uring_entry(struct what what)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring.ring);

    if (entry == NULL) {
        io_uring_submit(&uring.ring);
        entry = io_uring_get_sqe(&uring.ring);
    }
    if (entry == NULL)
        echo_die("io_uring: no room to submit");
    /* io_uring_prep_*() leave this alone. */
    io_uring_sqe_set_data64(entry, what_pack(what));
    return entry;
}

static void
uring_accept(void)
{
    struct io_uring_sqe *entry = uring_entry((struct what){.kind = ACCEPTED});

    io_uring_prep_multishot_accept(entry, uring.listener, NULL, NULL, SOCK_CLOEXEC);
}

static void
uring_receive(uint32_t fd)
{
    struct io_uring_sqe *entry = uring_entry((struct what){.kind = RECEIVED, .fd = fd});

    io_uring_prep_recv_multishot(entry, (int) fd, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = GROUP;
}

static char *
buffer_memory(uint16_t buffer)
{
    return uring.memory + (size_t) buffer * BUFFER_STRIDE;
}

static void
uring_send(uint32_t fd, uint16_t buffer, size_t size)
{
    struct io_uring_sqe *entry =
        uring_entry((struct what){.kind = SENT, .fd = fd, .buffer = buffer});

    /* With MSG_WAITALL the kernel goes on itself after a short one. */
    io_uring_prep_send(entry, (int) fd, buffer_memory(buffer), size, MSG_NOSIGNAL | MSG_WAITALL);
}

static void
buffer_return(uint16_t buffer)
{
    io_uring_buf_ring_add(uring.buffers, buffer_memory(buffer), ECHO_BUFFER_BYTES, buffer,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(uring.buffers, 1);
    if (uring.starved_count > 0)
        uring_receive(uring.starved[--uring.starved_count]);
}

/* --- what has happened --- */

static void
uring_accepted(int result, bool more)
{
    if (result >= 0 && (size_t) result < uring.starved_max) {
        echo_no_delay(result);
        uring_receive((uint32_t) result);
    } else if (result != -ECONNABORTED) {
        echo_die("io_uring: accept: %s", strerror(-result));
    }
    if (!more)
        uring_accept();
}

static void
uring_received(uint32_t fd, int result, uint32_t flags)
{
    if (result > 0)
        uring_send(fd, (uint16_t) (flags >> IORING_CQE_BUFFER_SHIFT), (size_t) result);
    if ((flags & IORING_CQE_F_MORE) != 0)
        return;
    if (result > 0)
        uring_receive(fd);
    else if (result == -ENOBUFS)
        uring.starved[uring.starved_count++] = fd;
    else
        close((int) fd);
}

static void
uring_event(const struct io_uring_cqe *event)
{
    struct what what = what_unpack(event->user_data);

    switch ((enum kind) what.kind) {
    case ACCEPTED:
        uring_accepted(event->res, (event->flags & IORING_CQE_F_MORE) != 0);
        break;
    case RECEIVED:
        uring_received(what.fd, event->res, event->flags);
        break;
    case SENT:
        buffer_return(what.buffer);
        if (event->res < 0)
            shutdown((int) what.fd, SHUT_RDWR);
        break;
    }
}

/* --- the ring --- */

static int
ring_open(unsigned entries)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };

    return io_uring_queue_init_params(entries, &uring.ring, &params);
}

static void
buffers_open(void)
{
    struct io_uring_buf_reg registration = {.ring_entries = BUFFERS, .bgid = GROUP};
    size_t ring_size = BUFFERS * sizeof(struct io_uring_buf);
    int r;

    uring.memory = mmap(NULL, (size_t) BUFFERS * BUFFER_STRIDE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uring.buffers =
        mmap(NULL, ring_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (uring.memory == MAP_FAILED || uring.buffers == MAP_FAILED)
        echo_die("io_uring: no memory for buffers");
    registration.ring_addr = (uint64_t) (uintptr_t) uring.buffers;
    r = io_uring_register_buf_ring(&uring.ring, &registration, 0);
    if (r < 0)
        echo_die("io_uring: buffers: %s", strerror(-r));
    io_uring_buf_ring_init(uring.buffers);
    for (uint16_t i = 0; i < BUFFERS; i++)
        buffer_return(i);
}

bool
echo_uring_is_here(void)
{
    if (ring_open(1) < 0)
        return false;
    io_uring_queue_exit(&uring.ring);
    return true;
}

void
echo_serve_floor_uring(uint16_t port, const struct echo_way *way)
{
    struct io_uring_cqe *events[BATCH];
    int r = ring_open(SUBMISSIONS);

    (void) way;
    if (r < 0)
        echo_die("io_uring: %s", strerror(-r));
    uring.starved_max = echo_fds_max();
    uring.starved = bench_allocate(uring.starved_max * sizeof uring.starved[0]);
    buffers_open();
    uring.listener = echo_listen(port);
    uring_accept();
    for (;;) {
        unsigned count;

        r = io_uring_submit_and_wait(&uring.ring, 1);
        if (r < 0 && r != -EINTR)
            echo_die("io_uring: %s", strerror(-r));
        while ((count = io_uring_peek_batch_cqe(&uring.ring, events, BATCH)) > 0) {
            for (unsigned i = 0; i < count; i++)
                uring_event(events[i]);
            io_uring_cq_advance(&uring.ring, count);
        }
    }
}

#else

bool
echo_uring_is_here(void)
{
    return false;
}

void
echo_serve_floor_uring(uint16_t port, const struct echo_way *way)
{
    (void) port;
    (void) way;
    echo_die("this build has no io_uring");
}

#endif
