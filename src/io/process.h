/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_PROCESS_H
#define UCO_IO_PROCESS_H

/*
 * A process: spawned (process_spawn.c), waited for and freed (process.c), its end noticed
 * (process_exit.c), spoken to (process_communicate.c).
 */

#include "core/loop.h"
#include "io/stream.h"

#include <uco/process.h>

enum { UCO__STDIN, UCO__STDOUT, UCO__STDERR, UCO__STANDARD_FDS };

struct uco__exit_thread;

/* What uco_process_communicate() has read of one stream. */
struct uco__process_output {
    char *data; /* NULL: nothing was read yet */
    size_t size;
    size_t capacity;
    bool ended;
};

struct uco_process {
    struct uco__resource resource;
    struct uco_loop *loop;
    pid_t pid;
    int pidfd; /* -1: it has ended, or the kernel has no such thing */
    bool ended;
    bool freed;                                    /* uco_process_free() has begun */
    int status;                                    /* as waitpid's, or -ECHILD; once it has ended */
    struct uco__list waits;                        /* struct uco__process_wait */
    struct uco__fd_wait end;                       /* in place while there are waits */
    struct uco__exit_thread *thread;               /* instead of that, where there is no pidfd */
    struct uco_stream *streams[UCO__STANDARD_FDS]; /* NULL: no pipe, or closed */
    bool communicating;
    struct uco__wait *freer; /* waits for that to end */
    size_t input_done;       /* bytes of uco_process_communicate()'s input */
    struct uco__process_output outputs[UCO__STANDARD_FDS];
};

/* Takes the status if the process has ended: 1 (also when it was taken before), 0 while it runs, or
 * a negative error. Wakes who waits. */
int uco__process_look(struct uco_process *p);
/* Suspends until the process has ended; for `completing` callers it is not interrupted. Its status,
 * which may be -ECHILD; or a negative error: it may run. The process may be gone after this. */
int uco__process_await(struct uco_process *p, bool completing);
/* Blocks the thread until the process, which was killed, has ended. */
void uco__process_await_blocking(struct uco_process *p);
/* Sends a signal to one that was just looked at: 0 or a negative error. */
int uco__process_send(const struct uco_process *p, int signo);

/* The stream, if there is one and nobody has closed it. */
static inline struct uco_stream *
uco__process_stream(const struct uco_process *p, int which)
{
    struct uco_stream *s = p->streams[which];

    return s != NULL && !s->closing ? s : NULL;
}

/* What the suspending calls begin with: 0; -EINVAL, -EPERM, -ESTALE, -ECANCELED. */
int uco__process_enter(const struct uco_process *p, const char *who);
void uco__process_close_resource(struct uco__resource *resource);

#endif
