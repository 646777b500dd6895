/* SPDX-License-Identifier: MIT */
#ifndef FLOOR_HEAP_H
#define FLOOR_HEAP_H

/*
 * The floor of timers: a 4-ary heap with the deadlines in its array, the four children of an entry
 * in one cache line. Of two that are due at the same time any may come first. Who only waits pays
 * nothing for cancelling: that needs `slots`, which says where each entry is.
 */

#include "bench.h"

#include <stdlib.h>

struct floor_heap_entry {
    uint64_t deadline;
    uint64_t index; /* whose */
};

struct floor_heap {
    struct floor_heap_entry *entries;
    uint32_t *slots; /* of each index; NULL: nothing will be cancelled */
    size_t count;
    void *memory;
};

enum { FLOOR_HEAP_CHILDREN = 4 };

static inline void
floor_heap_init(struct floor_heap *heap, size_t capacity, bool cancelling)
{
    /* Entry 1, the first child, begins a cache line. */
    heap->memory =
        bench_allocate((capacity + FLOOR_HEAP_CHILDREN) * sizeof(struct floor_heap_entry));
    heap->entries = (struct floor_heap_entry *) heap->memory + FLOOR_HEAP_CHILDREN - 1;
    heap->slots = cancelling ? bench_allocate(capacity * sizeof *heap->slots) : NULL;
    heap->count = 0;
}

static inline void
floor_heap_done(struct floor_heap *heap)
{
    free(heap->memory);
    free(heap->slots);
}

static inline void
floor_heap_place(struct floor_heap *heap, size_t slot, struct floor_heap_entry entry)
{
    heap->entries[slot] = entry;
    if (heap->slots != NULL)
        heap->slots[entry.index] = (uint32_t) slot;
}

static inline void
floor_heap_rise(struct floor_heap *heap, size_t slot, struct floor_heap_entry entry)
{
    while (slot > 0) {
        size_t parent = (slot - 1) / FLOOR_HEAP_CHILDREN;

        if (heap->entries[parent].deadline <= entry.deadline)
            break;
        floor_heap_place(heap, slot, heap->entries[parent]);
        slot = parent;
    }
    floor_heap_place(heap, slot, entry);
}

static inline void
floor_heap_sink(struct floor_heap *heap, size_t slot, struct floor_heap_entry entry)
{
    for (;;) {
        size_t child = slot * FLOOR_HEAP_CHILDREN + 1, least = child;
        size_t end = child + FLOOR_HEAP_CHILDREN;

        if (child >= heap->count)
            break;
        if (end > heap->count)
            end = heap->count;
        while (++child < end) {
            if (heap->entries[child].deadline < heap->entries[least].deadline)
                least = child;
        }
        if (heap->entries[least].deadline >= entry.deadline)
            break;
        floor_heap_place(heap, slot, heap->entries[least]);
        slot = least;
    }
    floor_heap_place(heap, slot, entry);
}

static inline void
floor_heap_insert(struct floor_heap *heap, uint64_t deadline, uint64_t index)
{
    floor_heap_rise(heap, heap->count++,
                    (struct floor_heap_entry){.deadline = deadline, .index = index});
}

/* Takes out the entry in a slot: the first to come is in slot 0. */
static inline void
floor_heap_remove(struct floor_heap *heap, size_t slot)
{
    struct floor_heap_entry last = heap->entries[--heap->count];

    if (slot == heap->count)
        return;
    if (slot > 0 && heap->entries[(slot - 1) / FLOOR_HEAP_CHILDREN].deadline > last.deadline)
        floor_heap_rise(heap, slot, last);
    else
        floor_heap_sink(heap, slot, last);
}

#endif
