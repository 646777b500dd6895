/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_SIGNALS_H
#define UCO_CORE_SIGNALS_H

/*
 * Which loops of this process want which signals, and the one handler that tells them.
 *
 * What a signal means to a loop (tasks that wait, callbacks) is io/'s; uco_run()'s treatment of
 * SIGINT and SIGTERM is task/'s, and steps back for as long as a loop wants the signal.
 */

#include "base/compiler.h"
#include "base/list.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct uco_loop;

/* A loop's place in the list that the handler looks through. Places are never freed, as a handler
 * may be looking at one, but used again. */
struct uco__signal_port {
    struct uco__signal_port *next; /* never changes */
    atomic_uint handlers;          /* that are looking at it */
    atomic_uint_fast64_t wanted;   /* a bit for each signal */
    atomic_uint_fast64_t arrived;  /* and not taken in by the loop */
    struct uco_loop *loop;         /* NULL: the place is free. Changes only while nothing is wanted
                                      and no handler looks */
    /* The loop's thread's only; set by io/ when the loop gets the place. */
    struct uco__list entries;
    void (*deliver)(struct uco__signal_port *port, uint64_t arrived);
    void (*close)(struct uco__signal_port *port);
};

static inline uint64_t
uco__signal_bit(int signo)
{
    return UINT64_C(1) << (signo - 1);
}

/* Whether a program can have this one told to a loop: not those that cannot be caught, those that
 * stand for a fault of the running code, nor those that libc keeps for itself. */
bool uco__signals_can_want(int signo);

/* Loop's thread, all that follow. The loop's place, made if need be; NULL: no memory. `entries` is
 * empty and `close` NULL in a new one. */
struct uco__signal_port *uco__signals_port(struct uco_loop *loop);
/* From now on the signal is told to the loop: 0, or a negative error and nothing has changed. */
int uco__signals_want(struct uco__signal_port *port, int signo);
/* Needs no memory. When it was the last loop that wanted the signal, what was in place before comes
 * back, if the handler was not replaced meanwhile. A signal that had come and that the loop has not
 * seen, or seen in vain (`unseen`), is then sent again: to what is in place now. */
void uco__signals_unwant(struct uco__signal_port *port, int signo, bool unseen);
/* Takes in what has arrived. */
void uco__signals_deliver(struct uco_loop *loop);
/* The loop closes. */
void uco__signals_close(struct uco_loop *loop);

/* For uco_run(): uco__signal_take() that also sees behind a loop's interest, and its undoing. */
bool uco__signals_take_default(int signo, void (*handler)(int));
void uco__signals_give_default(int signo, void (*handler)(int));

#endif
