/* SPDX-License-Identifier: MIT */

/*
 * Control blocks.
 *
 * 1. A block belongs to its segment, and that to one of two heaps: the loop's thread's own, or the
 *    other threads'. It is in use, in its segment's `free`, in `strayed`, or beyond what the
 *    segment has made.
 * 2. A free one is hidden from tools that look for wrong accesses, but for `id` and
 *    `holding`, which is false then, and only written on the loop's thread. Where a segment's
 *    memory went back to the system, it still reads as such.
 * 3. A block holds the loop's memory. Those that the loop's thread takes and gives back, nearly
 *    all, are counted for that by it alone, until it closes.
 * 4. A block goes back to the heap that it is from, whoever gives it back: otherwise a thread that
 *    submits and a loop that ends tasks would make ever more of them.
 *
 * They lie densely: those of neighbouring tasks share pages. (Next to the hot end of its stack each
 * would touch a cache line, and a page, of its own.)
 */

#include "task/blocks.h"

#include "base/system.h"
#include "core/sanitizer.h"
#include "task/runtime.h"
#include "task/task.h"

#include <string.h>
#include <sys/mman.h>

#define AREA_SEGMENTS_MAX 16

/* One mapping of several segments. */
struct uco__task_area {
    struct uco__task_area *next;
    void *map;
    size_t bytes;
};

static void
heap_init(struct uco__task_heap *heap)
{
    uco__list_init(&heap->partial);
    uco__list_init(&heap->full);
    uco__list_init(&heap->empty);
}

void
uco__task_blocks_init(struct uco__task_blocks *blocks)
{
    heap_init(&blocks->own);
    heap_init(&blocks->foreign);
}

/* --- segments --- */

static uintptr_t
area_first(const struct uco__task_area *area)
{
    return ((uintptr_t) area->map + UCO__TASK_SEGMENT_BYTES - 1) &
           ~(uintptr_t) (UCO__TASK_SEGMENT_BYTES - 1);
}

/* As many again as there are, so that few tasks take little and many take few mappings. */
static bool
area_new(struct uco__task_blocks *blocks)
{
    size_t count = blocks->segments < AREA_SEGMENTS_MAX ? blocks->segments : AREA_SEGMENTS_MAX;
    struct uco__task_area *area;
    struct uco__task_segment **bare;
    uintptr_t first;

    if (count == 0)
        count = 1;
    bare = uco__reallocate(blocks->bare, (blocks->segments + count) * sizeof *bare);
    if (bare == NULL)
        return false;
    blocks->bare = bare;
    area = uco__allocate(sizeof *area);
    if (area == NULL)
        return false;
    area->bytes =
        (count + 1) * UCO__TASK_SEGMENT_BYTES; /* the last one is what the alignment costs */
    if (uco__map(area->bytes, &area->map) < 0) {
        uco__free(area);
        return false;
    }
    area->next = blocks->areas;
    blocks->areas = area;
    blocks->segments += count;
    first = area_first(area);
    for (size_t i = count; i-- > 0;)
        bare[blocks->bare_count++] =
            (struct uco__task_segment *) (first + i * UCO__TASK_SEGMENT_BYTES);
    return true;
}

/* With the mutex. */
static struct uco__task_segment *
segment_new(struct uco__task_blocks *blocks, struct uco__task_heap *heap)
{
    struct uco__task_segment *segment;

    if (blocks->bare_count == 0 && !area_new(blocks))
        return NULL;
    segment = blocks->bare[--blocks->bare_count];
    segment->heap = heap;
    segment->free = NULL;
    segment->in_use = 0;
    segment->made = 0;
    segment->idle = false;
    uco__list_push_front(&heap->partial, &segment->link);
    return segment;
}

/* --- heaps --- */

static struct uco__task_segment *
heap_segment(struct uco__task_heap *heap)
{
    struct uco__list *list = uco__list_empty(&heap->partial) ? &heap->empty : &heap->partial;

    return uco__list_empty(list) ? NULL
                                 : UCO__CONTAINER(list->next, struct uco__task_segment, link);
}

static void
segment_move(struct uco__task_segment *segment, struct uco__list *list)
{
    uco__list_remove(&segment->link);
    uco__list_push_front(list, &segment->link);
}

static void
block_show(struct uco__task *task)
{
    uco__sanitizer_show(uco__task_fiber(task), sizeof(struct uco__fiber));
    uco__sanitizer_show(task, sizeof *task);
}

static struct uco__task *
segment_take(struct uco__task_segment *segment)
{
    struct uco__task *task = segment->free;

    if (UCO__LIKELY(task != NULL)) {
        block_show(task);
        segment->free = task->next_free;
    } else {
        task = &segment->tasks[segment->made++];
        block_show(task);
    }
    if (segment->in_use++ == 0)
        segment_move(segment, &segment->heap->partial);
    if (segment->in_use == UCO__TASK_SEGMENT_TASKS)
        segment_move(segment, &segment->heap->full);
    return task;
}

static void
segment_give(struct uco__task_segment *segment, struct uco__task *task)
{
    task->next_free = segment->free;
    segment->free = task;
    uco__sanitizer_hide(uco__task_fiber(task), sizeof(struct uco__fiber));
    uco__sanitizer_hide(task, sizeof *task);
    uco__sanitizer_show(&task->id,
                        offsetof(struct uco__task, phase) - offsetof(struct uco__task, id));
    if (segment->in_use-- == UCO__TASK_SEGMENT_TASKS)
        segment_move(segment, &segment->heap->partial);
    if (segment->in_use == 0) {
        segment->idle = false;
        segment_move(segment, &segment->heap->empty);
    }
}

static UCO__NOINLINE struct uco__task_segment *
heap_grow(struct uco__task_blocks *blocks, struct uco__task_heap *heap)
{
    struct uco__task_segment *segment;

    uco__mutex_lock(&blocks->mutex);
    segment = segment_new(blocks, heap);
    uco__mutex_unlock(&blocks->mutex);
    return segment;
}

static struct uco__task *
heap_take_foreign(struct uco__task_blocks *blocks)
{
    struct uco__task_segment *segment;
    struct uco__task *task = NULL;

    uco__mutex_lock(&blocks->mutex);
    segment = heap_segment(&blocks->foreign);
    if (segment == NULL)
        segment = segment_new(blocks, &blocks->foreign);
    if (segment != NULL)
        task = segment_take(segment);
    uco__mutex_unlock(&blocks->mutex);
    return task;
}

/* --- blocks --- */

/* What other threads have given back of the loop's own. */
static void
blocks_fetch(struct uco__task_blocks *blocks)
{
    struct uco__task *task;

    if (atomic_load_explicit(&blocks->strayed, memory_order_relaxed) == NULL)
        return;
    uco__mutex_lock(&blocks->mutex);
    task = atomic_load_explicit(&blocks->strayed, memory_order_relaxed);
    atomic_store_explicit(&blocks->strayed, NULL, memory_order_relaxed);
    uco__mutex_unlock(&blocks->mutex);
    while (task != NULL) {
        struct uco__task *next = task->next_free;

        segment_give(uco__task_segment_of(task), task);
        task = next;
    }
}

/* With the mutex. */
static void
blocks_stray(struct uco__task_blocks *blocks, struct uco__task *task)
{
    task->next_free = atomic_load_explicit(&blocks->strayed, memory_order_relaxed);
    atomic_store_explicit(&blocks->strayed, task, memory_order_relaxed);
}

struct uco__task *
uco__task_blocks_take(struct uco_loop *loop, bool here)
{
    struct uco__task_blocks *blocks = &uco__runtime_of(loop)->blocks;
    struct uco__task_segment *segment;
    struct uco__task *task;

    /* A task is an allocation for whoever makes allocations fail, whether there is a block or not.
     */
    if (UCO__UNLIKELY(uco__fault(UCO__FAULT_malloc) < 0))
        return NULL;
    if (!here) {
        task = heap_take_foreign(blocks);
        if (task != NULL) {
            task->foreign = true;
            uco__loop_hold(loop);
        }
        return task;
    }
    segment = heap_segment(&blocks->own);
    if (UCO__UNLIKELY(segment == NULL)) {
        blocks_fetch(blocks);
        segment = heap_segment(&blocks->own);
        if (segment == NULL)
            segment = heap_grow(blocks, &blocks->own);
        if (segment == NULL)
            return NULL;
    }
    task = segment_take(segment);
    task->foreign = false;
    blocks->taken++;
    return task;
}

void
uco__task_blocks_give(struct uco_loop *loop, struct uco__task *task, bool here)
{
    struct uco__task_blocks *blocks = &uco__runtime_of(loop)->blocks;
    bool foreign = task->foreign;
    bool held;

    /* Only this thread can close it. */
    if (UCO__LIKELY(here && !foreign && !blocks->closed)) {
        blocks->taken--;
        segment_give(uco__task_segment_of(task), task);
        return;
    }
    uco__mutex_lock(&blocks->mutex);
    if (foreign) {
        segment_give(uco__task_segment_of(task), task);
        if (!uco__list_empty(&blocks->foreign.empty))
            atomic_store_explicit(&blocks->foreign_spare, true, memory_order_relaxed);
    } else {
        blocks_stray(blocks, task);
    }
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
    uco__count_add(&loop->references, (unsigned) (blocks->taken - blocks->given));
    blocks->closed = true;
    uco__mutex_unlock(&blocks->mutex);
}

/* With the mutex. Those that have been empty for longest are the last. */
static unsigned
heap_trim(struct uco__task_blocks *blocks, struct uco__task_heap *heap, unsigned most)
{
    unsigned trimmed = 0;

    while (trimmed < most && !uco__list_empty(&heap->empty)) {
        struct uco__task_segment *segment =
            UCO__CONTAINER(heap->empty.prev, struct uco__task_segment, link);

        if (!segment->idle)
            break;
        uco__list_remove(&segment->link); /* before its link is gone too */
        if (UCO__SYSTEM(madvise, madvise(segment, UCO__TASK_SEGMENT_BYTES, MADV_DONTNEED)) < 0) {
            uco__list_push_back(&heap->empty, &segment->link);
            break;
        }
        blocks->bare[blocks->bare_count++] = segment;
        trimmed++;
    }
    return trimmed;
}

static void
heap_age(struct uco__task_heap *heap)
{
    UCO__LIST_EACH(link, &heap->empty)
        UCO__CONTAINER(link, struct uco__task_segment, link)->idle = true;
}

bool
uco__task_blocks_trim(struct uco__task_blocks *blocks, unsigned most)
{
    unsigned trimmed;

    blocks_fetch(blocks);
    uco__mutex_lock(&blocks->mutex);
    trimmed = heap_trim(blocks, &blocks->own, most);
    trimmed += heap_trim(blocks, &blocks->foreign, most - trimmed);
    if (trimmed < most) {
        heap_age(&blocks->own);
        heap_age(&blocks->foreign);
    }
    atomic_store_explicit(&blocks->foreign_spare, !uco__list_empty(&blocks->foreign.empty),
                          memory_order_relaxed);
    uco__mutex_unlock(&blocks->mutex);
    return trimmed == most;
}

/* --- after a fault --- */

/* A segment that is not in use is zero, or as it was when it was. */
static UCO__NO_SANITIZE struct uco__fiber *
segment_find(struct uco__task_segment *segment, const struct uco__stack *stack)
{
    unsigned made =
        segment->made < UCO__TASK_SEGMENT_TASKS ? segment->made : UCO__TASK_SEGMENT_TASKS;

    for (unsigned i = 0; i < made; i++) {
        struct uco__fiber *fiber = &segment->fibers[i];

        if (fiber->ready.state == UCO__FIBER_STARTED && fiber->stack == stack)
            return fiber;
    }
    return NULL;
}

UCO__NO_SANITIZE struct uco__fiber *
uco__task_blocks_on_stack(const struct uco_loop *loop, const struct uco__stack *stack)
{
    struct uco__fiber *found = NULL;

    uco__sanitizer_quiet(true);
    for (struct uco__task_area *area = uco__runtime_of(loop)->blocks.areas;
         area != NULL && found == NULL; area = area->next) {
        uintptr_t at = area_first(area);
        uintptr_t end = at + area->bytes - UCO__TASK_SEGMENT_BYTES;

        for (; at < end && found == NULL; at += UCO__TASK_SEGMENT_BYTES)
            found = segment_find((struct uco__task_segment *) at, stack);
    }
    uco__sanitizer_quiet(false);
    return found;
}

void
uco__task_blocks_done(struct uco__task_blocks *blocks)
{
    struct uco__task_area *area;

    while ((area = blocks->areas) != NULL) {
        blocks->areas = area->next;
        uco__sanitizer_show(area->map, area->bytes);
        uco__unmap(area->map, area->bytes);
        uco__free(area);
    }
    uco__free(blocks->bare);
}
