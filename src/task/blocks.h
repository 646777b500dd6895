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

struct uco__task_blocks {
    struct uco__task *free;              /* the loop's thread's */
    _Atomic(struct uco__task *) foreign; /* what other threads take and give; with the mutex, but to
                                            look whether there is one */
    struct uco__task_chunk *chunks;      /* with the mutex */
    struct uco__mutex mutex;
};

/* Any thread; `here`: on the loop's. NULL without memory. What is in the block is undefined, except
 * for `foreign`. */
struct uco__task *uco__task_blocks_take(struct uco__task_blocks *blocks, bool here);
/* Any thread. */
void uco__task_blocks_give(struct uco__task_blocks *blocks, struct uco__task *task, bool here);
/* Makes some; false without memory. */
bool uco__task_blocks_grow(struct uco__task_blocks *blocks);
void uco__task_blocks_done(struct uco__task_blocks *blocks);

#endif
