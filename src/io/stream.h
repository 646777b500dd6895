/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_STREAM_H
#define UCO_IO_STREAM_H

/*
 * Streams: a file descriptor with an input buffer and an output queue, and maybe a filter (TLS)
 * between them and the user.
 *
 * stream.c has their life, stream_read.c and stream_write.c one direction each; server.c runs a
 * task on each that it accepts.
 */

#include "core/loop.h"
#include "io/buffer.h"
#include "task/task.h"

#include <uco/stream.h>

struct uco__stream_filter;
struct uco_server;

/* What turns plain bytes into those on the wire. None of these suspends; all run on the loop's
 * thread, in a task or in the loop's turn. */
struct uco__stream_filter_operations {
    /* Plain bytes, as uco__stream_receive_raw(): more than 0; 0 the end; -EAGAIN: none until the fd
     * is readable again; another error is final. Tried before any wait: the filter may hold bytes
     * although the fd has none. */
    ssize_t (*receive)(struct uco__stream_filter *filter, void *buf, size_t n);
    /* Takes all n plain bytes, and passes what they become to uco__stream_transmit_raw(): n, or an
     * error that is final. n is at most UCO__STREAM_SLICE. */
    ssize_t (*transmit)(struct uco__stream_filter *filter, const void *buf, size_t n);
    /* Says by uco__stream_transmit_raw() that no more will come (close_notify): 0 or an error. */
    int (*shut)(struct uco__stream_filter *filter);
    void (*free)(struct uco__stream_filter *filter);
};

/* The beginning of a filter. */
struct uco__stream_filter {
    const struct uco__stream_filter_operations *operations;
};

/* Plain bytes that a filter is given at once. */
#define UCO__STREAM_SLICE ((size_t) 16 * 1024)

/* A write that waits, in the frame of its task: what is left of it is sent from there. */
struct uco__stream_writer {
    struct uco__list link; /* in the stream's, until it is done */
    struct uco__wait wait;
    struct uco_stream *stream;
    const char *data;
    size_t left;
    int result;
    bool done;
};

struct uco_stream {
    union {
        struct uco__resource resource; /* of a user's stream */
        struct uco__waiter ended;      /* of a connection: the handler's task has */
        struct uco_stream *pool_next;  /* of one that is free */
    };
    struct uco_loop *loop;
    struct uco__stream_pool *pool;
    struct uco__task *claimer;         /* uco__stream_claim(); NULL: nobody */
    struct uco__stream_filter *filter; /* NULL: none */
    union {
        void *owner;               /* who frees it once it is closed; NULL: its close does */
        struct uco_server *server; /* the owner of a connection */
    };
    int fd;
    bool socket;
    bool file;                /* regular: always ready, and may wait for a disk */
    bool closing;             /* nothing is accepted any more */
    bool closed;              /* the fd is gone */
    bool reading;             /* a reader is suspended */
    bool at_end;              /* the end was read */
    bool shut_down;           /* for writing */
    bool told_end;            /* and the other side knows */
    bool hurried;             /* its owner was cancelled: a close sends no more */
    unsigned users;           /* calls that are suspended and will come back to it */
    struct uco__wait *closer; /* who waits for users to leave */
    struct uco__wait *second; /* its owner, while another closes it */

    int read_error;            /* final; 0: none */
    struct uco__buffer *input; /* NULL: nothing */
    uint32_t limit;            /* of uco_stream_read_until() */
    struct uco__wait *reader;
    struct uco__fd_wait readable;

    int write_error;              /* final; 0: none */
    uint32_t low, high;           /* water marks */
    struct uco__buffers output;   /* what is to go on the wire */
    struct uco__list writers;     /* suspended writes, the oldest first; their bytes come after */
    struct uco__list drainers;    /* who waits for both to be empty */
    struct uco__fd_wait writable; /* linked: the loop goes on sending */
};

/* --- for filters --- */

/* The calling task has the stream for itself, for a handshake: reads and writes of others get
 * -EBUSY until uco__stream_unclaim(), a close waits for it (and ends its waits with -EBADF). 0;
 * -EPERM, -ESTALE, -EINVAL, -ECANCELED as every suspending call; -EBUSY: others are suspended in
 * it; -EBADF: it is being closed; -EPROTO: plain bytes have been received, which would be taken for
 * the other side's protected ones. */
UCO__EXPORT int uco__stream_claim(struct uco_stream *s);
UCO__EXPORT void uco__stream_unclaim(struct uco_stream *s);
/* Of a stream that is claimed: from now on (NULL: no more) all goes through the filter, which the
 * stream owns and frees. 0; -EINVAL: it has one already. */
UCO__EXPORT int uco__stream_set_filter(struct uco_stream *s, struct uco__stream_filter *filter);

/* One try that does not suspend: bytes on the wire; 0 the end; -EAGAIN; an error. */
UCO__EXPORT ssize_t uco__stream_receive_raw(struct uco_stream *s, void *buf, size_t n);
/* Sends or queues all of it, without suspending: 0, or an error, which is final. */
UCO__EXPORT int uco__stream_transmit_raw(struct uco_stream *s, const void *buf, size_t n);
/* Suspends until the fd is readable (or maybe is): 0; -ECANCELED, -EBADF (closed meanwhile),
 * -EBUSY, -ENOMEM, -ENOSPC. A claimed stream's is the claimer's to call; a scope gives the
 * timeout. What is queued is sent meanwhile; uco__stream_wait_sent() waits for that. */
UCO__EXPORT int uco__stream_wait(struct uco_stream *s);
/* Suspends until all that was queued is sent: 0, or as uco__stream_wait(), or the write's error. */
UCO__EXPORT int uco__stream_wait_sent(struct uco_stream *s);

/* --- for servers and subprocesses --- */

/* A stream without an fd, which uco__stream_attach() gives it. NULL without memory. It is no
 * resource of the loop. */
struct uco_stream *uco__stream_make(struct uco_loop *loop);
/* `tcp`: a TCP socket; `socket`: of any kind. */
void uco__stream_attach(struct uco_stream *s, int fd, bool socket, bool tcp);
/* uco_stream_close(), but the stream stays, for its owner: every call on it gives -EBADF. 0 when it
 * is closed already; when another task is closing it, waits until it has. */
int uco__stream_shut(struct uco_stream *s, struct uco__task *task);
/* Ends and frees a stream in which nobody is suspended, without waiting for anything. */
void uco__stream_destroy(struct uco_stream *s);

/* --- between the files of a stream --- */

/* A loop's cache of what its streams are made of; a resource of its own. */
struct uco__stream_pool {
    struct uco__resource resource;
    struct uco__buffer_cache buffers;
    struct uco_stream *free; /* by `pool_next` */
    unsigned free_count;
};

/* What each suspending call begins with: 0 and the calling task; -EPERM, -ESTALE, -EINVAL (NULL),
 * -ECANCELED, -EBADF (closed), -EBUSY (claimed by another). */
int uco__stream_enter(struct uco_stream *s, struct uco__task **task, const char *who);
/* The same for calls that do not suspend. */
int uco__stream_check(const struct uco_stream *s, const char *who);

/* A call suspends, and comes back. */
static inline void
uco__stream_suspend(struct uco_stream *s)
{
    s->users++;
}

static inline void
uco__stream_resume(struct uco_stream *s)
{
    if (--s->users == 0 && s->closer != NULL)
        uco__wake(s->closer, 0);
}

/* Closing: whoever is suspended to read or write is told -EBADF. */
void uco__stream_end_reader(struct uco_stream *s);
void uco__stream_end_writers(struct uco_stream *s, int error);
/* Whoever waits for all to be sent is told. */
void uco__stream_end_drainers(struct uco_stream *s, int result);
/* The fd has room again. */
void uco__stream_writable(struct uco__fd_wait *wait, int result);
void uco__stream_readable(struct uco__fd_wait *wait, int result);
/* Sends what the fd takes now. */
void uco__stream_flush(struct uco_stream *s);

/* For dumps: "a stream, fd 7 to be writable: 120 bytes are left to send"; `more` of them are a
 * write's that waits. */
struct uco__dump;
bool uco__stream_describe_output(struct uco__dump *dump, const struct uco_stream *s, size_t more);

static inline bool
uco__stream_all_sent(const struct uco_stream *s)
{
    return s->output.size == 0 && uco__list_empty(&s->writers);
}

#endif
