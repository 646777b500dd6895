/* SPDX-License-Identifier: MIT */
#ifndef PEER_H
#define PEER_H

/*
 * Peers: a program of each (bench/peers/TOPIC.*), started once a round, that does a row's work
 * after a warm-up of its own, checks its counts, and prints the row's numbers. It inherits the
 * processor that the benchmark is pinned to.
 */

#include "bench.h"

/* The build tells their paths, of those that it found. */
#ifndef PEER_GO
#define PEER_GO NULL
#endif
#ifndef PEER_BOOST
#define PEER_BOOST NULL
#endif
#ifndef PEER_LIBUV
#define PEER_LIBUV NULL
#endif
#ifndef PEER_ST /* State Threads */
#define PEER_ST NULL
#endif
#ifndef PEER_PTH /* GNU Pth */
#define PEER_PTH NULL
#endif
#ifndef PEER_PYTHON /* the interpreter, for asyncio */
#define PEER_PYTHON NULL
#endif
#ifndef PEER_UVLOOP /* an interpreter that has uvloop */
#define PEER_UVLOOP NULL
#endif
#ifndef PEER_PYTHON_SCRIPT
#define PEER_PYTHON_SCRIPT NULL
#endif

/** What a peer says that cannot be had. */
#define PEER_WITHOUT "it was not there when this was built"

/** Whether there is such a program; false for NULL. */
bool peer_is_here(const char *program);

/**
 * Runs a program until it ends.
 *
 * @argv:   The program's path and arguments, NULL-terminated.
 * @values: What it printed: so many numbers, with white space between them. Written on success
 *          only.
 *
 * Returns: false when it failed: it has said why.
 */
bool peer_measure(const char *const argv[], double values[], size_t count);

/** A program whose arguments are a row's name and how many units of its work to measure. */
struct peer_program {
    const char *path;   /* or the script's interpreter; NULL: cannot be had */
    const char *script; /* NULL: it needs none */
    const char *loop;   /* NULL, or the argument after those two */
    size_t divisor;     /* a slow one does a part of the work; 0: all of it */
};

/** peer_measure() of one row. */
bool peer_run_row(const struct peer_program *peer, const char *row, size_t units, double values[],
                  size_t count);

/**
 * The subject that a peer is.
 *
 * @run:   Is to call peer_run_row() of it.
 * @lacks: Why it cannot do this row; NULL: it can.
 */
struct bench_subject peer_subject_of(const char *name, const struct peer_program *peer,
                                     bench_run *run, const char *lacks);

#endif
