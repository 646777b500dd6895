/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_POLLER_H
#define UCO_CORE_POLLER_H

/*
 * Readiness of file descriptors: who waits for what, and the seam to the kernel.
 *
 * Two kinds of interest in an fd:
 * - a wait: one task, one shot, for one direction or both. Tasks try their call first and wait only
 *   after EAGAIN, so the registration is edge-triggered, and stays when the wait is over. An fd
 *   that is `known` was made by uco or handed to it: while it stays registered, a wait for it costs
 *   no system call;
 * - a watcher: a callback that runs once a turn for as long as the fd is ready. An fd with watchers
 *   is registered level-triggered, for just what is wanted.
 */

#include "base/clock.h"
#include "base/compiler.h"
#include "core/ready.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uco_loop;
struct uco__poller;

/* One task's wait. `notify` runs in the loop's turn, after the wait has been taken off; it may make
 * others ready, but runs no user's code. */
struct uco__fd_wait {
    int fd;
    short events; /* POLLIN, POLLOUT, POLLPRI, POLLRDHUP */
    bool linked;
    void (*notify)(struct uco__fd_wait *wait, int result); /* 0: look again; or a negative error */
};

/* A callback's interest in one direction of an fd. `ready.run` is called with what has happened in
 * `seen`. */
struct uco__fd_watcher {
    struct uco__ready ready;
    int fd;
    short events; /* POLLIN or POLLOUT, or both */
    short seen;   /* POLLIN, POLLOUT, POLLERR, POLLHUP, since `ready` was queued */
    bool queued;
};

enum uco__direction { UCO__READER, UCO__WRITER, UCO__DIRECTIONS };

struct uco__fd {
    struct uco__fd_wait *waits[UCO__DIRECTIONS];
    struct uco__fd_watcher *watchers[UCO__DIRECTIONS];
    uint32_t generation; /* counts the registrations, so that an event of an earlier one is known as
                            such */
    short interest;      /* what it is registered for */
    bool registered;     /* as far as we know: the kernel drops an fd that is closed behind our
                            back */
    bool level;          /* for watchers */
    bool known;
    bool listens;      /* a known one that uco_listen() has made: it does not block */
    bool tcp;          /* of a known one: what a read leaves over, it would have got */
    bool drained;      /* a read has left nothing over, and no event has come since */
    bool ended;        /* an error, the end or something urgent has come: reads tell all */
    unsigned char age; /* of a known one's waits: enum uco__fd_age */
};

/* A wait that has relied on what is known of its fd. */
enum uco__fd_age { UCO__FD_FRESH, UCO__FD_AGED, UCO__FD_CHECKED };

/* What a backend does. Interest: POLL* bits; level-triggered or edge-triggered. */
struct uco__poller_backend {
    int (*open)(struct uco__poller *poller, int doorbell);
    void (*close)(struct uco__poller *poller);
    int (*set)(struct uco__poller *poller, int fd, uint32_t generation, short interest, bool level);
    void (*remove)(struct uco__poller *poller, int fd);
    /* Calls uco__poller_event() for what has happened; whether the doorbell was rung, or a negative
     * error. */
    int (*wait)(struct uco__poller *poller, uint64_t timeout);
    bool close_removes; /* closing an fd takes it out */
    /* No task waits for an fd that is not level-triggered any more. NULL: what is registered stays.
     * Otherwise each wait is made known again, and looks afresh. */
    void (*relax)(struct uco__poller *poller, int fd);
};

struct uco__poller {
    const struct uco__poller_backend *backend;
    int handle;   /* the backend's own fd */
    int doorbell; /* the inbox's */
    struct uco__ready_queue *ready;
    struct uco__fd *fds;
    size_t capacity; /* of fds */
    size_t waiting;  /* fd waits in place */
    size_t watching;
    unsigned stray;    /* events in a row that belong to no registration of ours */
    uint64_t handled;  /* events so far that were of a registration */
    bool trusting;     /* there are waits that are not checked yet */
    uint64_t check_at; /* when to check some next; real clock */
};

/* Real time from a wait that costs no system call until it is checked whether its fd is still the
 * one that was registered: once to twice as long. */
#define UCO__POLLER_CHECK_PERIOD (100 * UCO__MILLISECOND)

extern const struct uco__poller_backend uco__poller_epoll;

/* Callbacks become ready in `ready`. */
int uco__poller_init(struct uco__poller *poller, const struct uco__poller_backend *backend,
                     int doorbell, struct uco__ready_queue *ready);
void uco__poller_done(struct uco__poller *poller);

/* -EBUSY: another wait or a watcher has that direction. -EPERM: this fd is always ready (a regular
 * file). */
int uco__poller_wait(struct uco__poller *poller, struct uco__fd_wait *wait);
/* Fine for a wait that is over. */
void uco__poller_unwait(struct uco__poller *poller, struct uco__fd_wait *wait);

/* The watcher is the caller's and must stay until it is removed. `events` says which directions. */
int uco__poller_watch(struct uco__poller *poller, struct uco__fd_watcher *watcher);
void uco__poller_unwatch(struct uco__poller *poller, struct uco__fd_watcher *watcher);
/* The one takes the other's place. On an error the old one stays. */
int uco__poller_replace(struct uco__poller *poller, struct uco__fd_watcher *old,
                        struct uco__fd_watcher *watcher);
/* The watcher of one direction, or NULL. */
struct uco__fd_watcher *uco__poller_watcher(struct uco__poller *poller, int fd,
                                            enum uco__direction direction);

/* The fd is a new one, which uco has made, or which was handed to it and is closed by uco_close():
 * what was known of its number is forgotten. Who still waits for that is told -EBADF. */
UCO__EXPORT void uco__poller_know(struct uco__poller *poller, int fd, bool tcp);
/* A known fd listens, and does not block. */
static inline void
uco__poller_note_listener(struct uco__poller *poller, int fd)
{
    if ((size_t) fd < poller->capacity)
        poller->fds[fd].listens = poller->fds[fd].known;
}

static inline bool
uco__poller_is_listener(const struct uco__poller *poller, int fd)
{
    return (size_t) fd < poller->capacity && poller->fds[fd].listens;
}

/* A read has got fewer bytes than it asked for. */
static inline void
uco__poller_note_short_read(struct uco__poller *poller, int fd)
{
    struct uco__fd *entry = (size_t) fd < poller->capacity ? &poller->fds[fd] : NULL;

    /* What comes after the read is an event only if it was registered before the read, or the next
     * wait looks afresh. */
    if (entry != NULL && entry->tcp && entry->registered && !entry->ended && !entry->level)
        entry->drained = (entry->interest & POLLIN) != 0 || poller->backend->relax != NULL;
}

/* Whether a read need not be tried: it would find nothing. */
static inline bool
uco__poller_is_drained(const struct uco__poller *poller, int fd)
{
    return (size_t) fd < poller->capacity && poller->fds[fd].drained;
}

static inline bool
uco__poller_is_waited(const struct uco__poller *poller, int fd)
{
    return (size_t) fd < poller->capacity && (poller->fds[fd].waits[UCO__READER] != NULL ||
                                              poller->fds[fd].waits[UCO__WRITER] != NULL);
}

static inline bool
uco__poller_is_tcp(const struct uco__poller *poller, int fd)
{
    return (size_t) fd < poller->capacity && poller->fds[fd].tcp;
}

static inline bool
uco__poller_is_known(const struct uco__poller *poller, int fd)
{
    return (size_t) fd < poller->capacity && poller->fds[fd].known;
}

/* Looks whether the fds of waits that have relied on it are still the ones that were registered. */
void uco__poller_check(struct uco__poller *poller);
/* Once a period: the same for those that have waited for one. `now`: the real clock. */
void uco__poller_check_some(struct uco__poller *poller, uint64_t now);
/* Before the loop sleeps: in time for the next check, if there is anything to check. */
static inline void
uco__poller_check_before(const struct uco__poller *poller, uint64_t now, uint64_t *timeout)
{
    uint64_t left = poller->check_at > now ? poller->check_at - now : 0;

    if (poller->trusting && *timeout > left)
        *timeout = left;
}

/* The fd is about to be closed: its waits end with -EBADF. Its watchers must be gone. */
void uco__poller_forget(struct uco__poller *poller, int fd);

/* Waits at most `timeout` ns (UCO__NEVER: no limit) and makes ready what can go on. Whether the
 * doorbell was rung, or a negative error. */
int uco__poller_poll(struct uco__poller *poller, uint64_t timeout);

/* For backends. */

/* An event of this fd is about to be handed on: what that will touch, first the entry ... */
static inline void
uco__poller_prefetch(const struct uco__poller *poller, int fd)
{
    if ((size_t) fd < poller->capacity)
        __builtin_prefetch(&poller->fds[fd]);
}

/* ... and then, through it, who waits. */
static inline void
uco__poller_prefetch_waits(const struct uco__poller *poller, int fd)
{
    if ((size_t) fd < poller->capacity)
        __builtin_prefetch(poller->fds[fd].waits[UCO__READER]);
}

void uco__poller_event(struct uco__poller *poller, int fd, uint32_t generation, short events);

#endif
