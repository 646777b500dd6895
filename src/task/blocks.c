/* SPDX-License-Identifier: MIT */

/*
 * Control blocks.
 *
 * 1. A block is in use, in `free`, or in `foreign`. A free one is hidden from tools that look for
 *    wrong accesses, but for `holds`, which is 0 then and only written on the loop's thread.
 * 2. A block holds the loop's memory. Those that the loop's thread takes and gives back, nearly
 *    all, are counted for that by it alone, until it closes.
 * 3. A block that another thread took goes back to `foreign`, whoever gives it back: otherwise a
 *    thread that submits and a loop that ends tasks would make ever more of them.
 *
 * They lie densely in chunks: those of neighbouring tasks share pages, and a switch from one to the
 * next finds them in the cache. (Next to the hot end of its stack each would touch a cache line,
 * and a page, of its own.)
 */

#include "task/blocks.h"

#include "base/system.h"
#include "core/sanitizer.h"
#include "task/runtime.h"
#include "task/task.h"

#define CHUNK_BLOCKS 32

struct uco__task_chunk {
    struct uco__task_chunk *next;
    char memory[];
};

static size_t
block_stride(void)
{
    return (sizeof(struct uco__task) + UCO__TASK_ALIGNMENT - 1) / UCO__TASK_ALIGNMENT *
           UCO__TASK_ALIGNMENT;
}

static void
block_hide(struct uco__task *task)
{
    uco__sanitizer_hide(task, sizeof *task);
    uco__sanitizer_show(&task->holds, sizeof task->holds);
}

static void
blocks_push(struct uco__task **list, struct uco__task *task)
{
    task->next_free = *list;
    *list = task;
    block_hide(task);
}

static struct uco__task *
blocks_pop(struct uco__task **list)
{
    struct uco__task *task = *list;

    uco__sanitizer_show(task, sizeof *task);
    *list = task->next_free;
    return task;
}

/* With the mutex. */
static bool
blocks_make(struct uco__task_blocks *blocks, struct uco__task **list)
{
    size_t stride = block_stride();
    struct uco__task_chunk *chunk =
        uco__allocate(sizeof *chunk + UCO__TASK_ALIGNMENT + CHUNK_BLOCKS * stride);
    uintptr_t start;

    if (chunk == NULL)
        return false;
    chunk->next = blocks->chunks;
    blocks->chunks = chunk;
    start = ((uintptr_t) chunk->memory + UCO__TASK_ALIGNMENT - 1) &
            ~(uintptr_t) (UCO__TASK_ALIGNMENT - 1);
    for (size_t i = CHUNK_BLOCKS; i-- > 0;)
        blocks_push(list, (struct uco__task *) (start + i * stride));
    return true;
}

bool
uco__task_blocks_grow(struct uco__task_blocks *blocks)
{
    bool grown;

    uco__mutex_lock(&blocks->mutex);
    grown = blocks_make(blocks, &blocks->free);
    uco__mutex_unlock(&blocks->mutex);
    return grown;
}

static struct uco__task *
blocks_take_foreign(struct uco__task_blocks *blocks)
{
    struct uco__task *list, *task = NULL;

    uco__mutex_lock(&blocks->mutex);
    list = atomic_load_explicit(&blocks->foreign, memory_order_relaxed);
    if (list != NULL ? uco__fault(UCO__FAULT_malloc) == 0 : blocks_make(blocks, &list))
        task = blocks_pop(&list);
    atomic_store_explicit(&blocks->foreign, list, memory_order_relaxed);
    uco__mutex_unlock(&blocks->mutex);
    return task;
}

/* What other threads have given back. */
static void
blocks_fetch(struct uco__task_blocks *blocks)
{
    if (atomic_load_explicit(&blocks->foreign, memory_order_relaxed) == NULL)
        return;
    uco__mutex_lock(&blocks->mutex);
    blocks->free = atomic_exchange_explicit(&blocks->foreign, NULL, memory_order_relaxed);
    uco__mutex_unlock(&blocks->mutex);
}

struct uco__task *
uco__task_blocks_take(struct uco_loop *loop, bool here)
{
    struct uco__task_blocks *blocks = &uco__runtime_of(loop)->blocks;
    struct uco__task *task;

    if (!here) {
        task = blocks_take_foreign(blocks);
        if (task != NULL) {
            task->foreign = true;
            uco__loop_hold(loop);
        }
        return task;
    }
    if (blocks->free == NULL)
        blocks_fetch(blocks);
    /* A task is an allocation for whoever makes allocations fail, whether there is a block or not.
     */
    if (blocks->free != NULL ? uco__fault(UCO__FAULT_malloc) < 0 : !uco__task_blocks_grow(blocks))
        return NULL;
    task = blocks_pop(&blocks->free);
    task->foreign = false;
    blocks->taken++;
    return task;
}

void
uco__task_blocks_give(struct uco_loop *loop, struct uco__task *task, bool here)
{
    struct uco__task_blocks *blocks = &uco__runtime_of(loop)->blocks;
    bool foreign = task->foreign;
    struct uco__task *list;
    bool held;

    /* Only this thread can close it. */
    if (UCO__LIKELY(here && !foreign && !blocks->closed)) {
        blocks->taken--;
        blocks_push(&blocks->free, task);
        return;
    }
    uco__mutex_lock(&blocks->mutex);
    list = atomic_load_explicit(&blocks->foreign, memory_order_relaxed);
    blocks_push(&list, task);
    atomic_store_explicit(&blocks->foreign, list, memory_order_relaxed);
    held = foreign || blocks->closed;
    blocks->given += !held;
    uco__mutex_unlock(&blocks->mutex);
    if (held)
        uco__loop_release(loop);
}

void
uco__task_blocks_close(struct uco_loop *loop)
{
    struct uco__task_blocks *blocks = &uco__runtime_of(loop)->blocks;

    uco__mutex_lock(&blocks->mutex);
    uco__count_add(&loop->references, blocks->taken - blocks->given);
    blocks->closed = true;
    uco__mutex_unlock(&blocks->mutex);
}

void
uco__task_blocks_done(struct uco__task_blocks *blocks)
{
    struct uco__task_chunk *chunk;

    while ((chunk = blocks->chunks) != NULL) {
        blocks->chunks = chunk->next;
        uco__sanitizer_show(chunk->memory, UCO__TASK_ALIGNMENT + CHUNK_BLOCKS * block_stride());
        uco__free(chunk);
    }
}
