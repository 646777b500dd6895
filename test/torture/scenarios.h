/* SPDX-License-Identifier: MIT */
#ifndef TEST_TORTURE_SCENARIOS_H
#define TEST_TORTURE_SCENARIOS_H

/* All scenarios; scenarios.c puts them in order. */

#include "torture.h"

#include <netinet/in.h>

/* Two tasks that talk to each other: when one fails the other is cancelled. 0, or an error of them,
 * but only while something may fail. */
intptr_t torture_talk(uco_fn *a, uco_fn *b, void *arg);

/* uco_close(); -1 is none. */
void torture_close(int fd);

/* Bytes that can be told from others, and whether they are those from an offset on. */
void torture_fill(char *bytes, size_t n);
void torture_is_filled(const char *bytes, size_t n, size_t from);

/* Of a socket of IPv4. */
struct sockaddr_in torture_address(int fd);

/* tasks.c */
extern const struct scenario torture_tree, torture_options_scenario, torture_futures, torture_waits,
    torture_groups;
/* scopes.c */
extern const struct scenario torture_scopes, torture_locals, torture_generators;
/* sync.c */
extern const struct scenario torture_locks, torture_events, torture_barriers;
/* queues.c */
extern const struct scenario torture_queues, torture_selects;
/* threads.c */
extern const struct scenario torture_jobs, torture_submits, torture_loop_threads, torture_crossings;
/* loops.c */
extern const struct scenario torture_loops, torture_callbacks, torture_watches, torture_closes;
/* fds.c */
extern const struct scenario torture_pipes, torture_datagrams, torture_files, torture_passes;
/* streams.c */
extern const struct scenario torture_streams, torture_dials, torture_servers;
/* system.c */
extern const struct scenario torture_processes, torture_signals, torture_names;
/* gone.c */
extern const struct scenario torture_gone_cancel, torture_gone_timers, torture_gone_wake,
    torture_gone_close, torture_gone_io;

#endif
