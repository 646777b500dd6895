/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_BLOCKS_H
#define UCO_TASK_BLOCKS_H

/*
 * A loop's control blocks: the memory of its tasks.
 *
 * A block is a task, or free to become one, as long as the loop's memory lives. So what names a
 * task by address and id can look whether it is still the same one, without holding it: a lock
 * does.
 */

#include "base/futex.h"

#include <stdatomic.h>
#include <stdbool.h>

struct uco__task;
struct uco__task_chunk;
struct uco_loop;

struct uco__task_blocks {
    struct uco__task *free;              /* the loop's thread's */
    _Atomic(struct uco__task *) foreign; /* what other threads take and give; with the mutex, but to
                                            look whether there is one */
    struct uco__task_chunk *chunks;      /* with the mutex */
    struct uco__mutex mutex;
    unsigned taken; /* by the loop's thread, less what that has given back */
    unsigned given; /* by other threads, of the former; with the mutex */
    bool closed;    /* with the mutex; each block has a reference of its own to the loop now */
};

/* Any thread; `here`: on the loop's. NULL without memory. What is in the block is undefined, except
 * for `foreign`. A block that is in use holds the loop's memory. */
struct uco__task *uco__task_blocks_take(struct uco_loop *loop, bool here);
/* Any thread. The loop may be gone after it. */
void uco__task_blocks_give(struct uco_loop *loop, struct uco__task *task, bool here);
/* The loop has closed: from now on its memory goes with the last block. */
void uco__task_blocks_close(struct uco_loop *loop);
/* Makes some; false without memory. */
bool uco__task_blocks_grow(struct uco__task_blocks *blocks);
void uco__task_blocks_done(struct uco__task_blocks *blocks);

#endif
