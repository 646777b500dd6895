/* SPDX-License-Identifier: MIT */
#ifndef DELIVERY_LOOPS_H
#define DELIVERY_LOOPS_H

/* What the benchmarks of posts measure. */

#include "delivery.h"

/** The floor: a lock-free list of the caller's nodes, and a doorbell that is rung only for a
 * sleeper. */
extern const struct delivery_loop floor_list;
/** The same, with a node that is allocated here and freed there. */
extern const struct delivery_loop floor_list_allocating;
/** An array behind a mutex, and the same doorbell. */
extern const struct delivery_loop floor_mutex;

/** uco_loop_post(). */
extern const struct delivery_loop uco_posts;
/** uco_loop_post() to a loop that polls for 50 us before it blocks. */
extern const struct delivery_loop uco_posts_spinning;
/** uco_loop_call_soon_threadsafe(). */
extern const struct delivery_loop uco_callbacks;

#endif
