/* SPDX-License-Identifier: MIT */
#ifndef PEER_H
#define PEER_H

/*
 * Peers in other languages: a program, started once a round, that does a row's work after a warm-up
 * of its own, checks its counts, and prints one number. It inherits the processor that the
 * benchmark is pinned to.
 */

#include <stdbool.h>
#include <stddef.h>

/** Whether there is such a program; false for NULL. */
bool peer_is_here(const char *program);

/**
 * Runs a program until it ends.
 *
 * @argv:  The program's path and arguments, NULL-terminated.
 * @value: What it printed; written on success only.
 *
 * Returns: false when it failed: it has said why.
 */
bool peer_measure(const char *const argv[], double *value);

#endif
