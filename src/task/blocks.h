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
#include "base/list.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct uco__fiber;
struct uco__stack;
struct uco__task;
struct uco__task_area;
struct uco__task_segment;
struct uco_loop;

/* Segments whose blocks one side takes. */
struct uco__task_heap {
    struct uco__list partial; /* segments with free blocks; where one was given back last comes
                                 first */
    struct uco__list full;
    struct uco__list empty; /* of which no block is in use */
};

struct uco__task_blocks {
    struct uco__task_heap own;           /* the loop's thread's */
    _Atomic(struct uco__task *) strayed; /* of those, given back by other threads; with the mutex,
                                            but to look whether there is one */
    struct uco__task_heap foreign;       /* other threads'; with the mutex */
    atomic_bool foreign_spare;           /* whether it has empty segments */
    struct uco__task_segment **bare; /* segments without memory; with the mutex, as what follows */
    size_t bare_count;
    size_t segments; /* all, and what `bare` has room for */
    struct uco__task_area *areas;
    struct uco__mutex mutex;
    size_t taken; /* by the loop's thread, less what that has given back */
    size_t given; /* by other threads, of the former; with the mutex */
    bool closed;  /* with the mutex; each block has a reference of its own to the loop now */
};

void uco__task_blocks_init(struct uco__task_blocks *blocks);
/* Any thread; `here`: on the loop's. NULL without memory. What is in the block is undefined, except
 * for `foreign`. A block that is in use holds the loop's memory. */
struct uco__task *uco__task_blocks_take(struct uco_loop *loop, bool here);
/* Any thread. The loop may be gone after it. */
void uco__task_blocks_give(struct uco_loop *loop, struct uco__task *task, bool here);
/* The loop has closed: from now on its memory goes with the last block. */
void uco__task_blocks_close(struct uco_loop *loop);
/* The loop's thread, once a period: the memory of segments that were empty for one goes back to the
 * system, of so many at most; the blocks can be looked at all the same. False: there are no more.
 */
bool uco__task_blocks_trim(struct uco__task_blocks *blocks, unsigned most);
/* The loop's thread: whether a trim will find something, now or a period later. */
static inline bool
uco__task_blocks_have_spare(const struct uco__task_blocks *blocks)
{
    /* Relaxed: what is missed now is seen when the loop next sleeps. */
    return !uco__list_empty(&blocks->own.empty) ||
           atomic_load_explicit(&blocks->strayed, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&blocks->foreign_spare, memory_order_relaxed);
}

/* The task's fiber that has the stack; NULL: none. Async-signal-safe, but looks at every block. */
struct uco__fiber *uco__task_blocks_on_stack(const struct uco_loop *loop,
                                             const struct uco__stack *stack);

void uco__task_blocks_done(struct uco__task_blocks *blocks);

#endif
