/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_BUNDLE_H
#define UCO_CORE_BUNDLE_H

/*
 * Callbacks from other threads, a few to a node: what a post costs is the way of its cache lines
 * from one processor to another, and that is shared.
 *
 * A thread that posts again, while what it posted last is still the newest in the loop's inbox,
 * adds to that. So posts are run in the order in which they were made, also those of different
 * threads; and none waits for another.
 */

#include <uco/loop.h>

/* Any thread but the loop's. 0, -ENOMEM, or -ESHUTDOWN: it was not taken. */
int uco__bundle_post(struct uco_loop *loop, uco_callback *callback, void *arg);
/* What the calling thread keeps for posts to come is freed, as at its end. For the ledger: a
 * process's main thread never comes to that. */
void uco__bundle_thread_end(void);

#endif
