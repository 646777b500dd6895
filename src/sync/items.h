/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_ITEMS_H
#define UCO_SYNC_ITEMS_H

/*
 * What a queue keeps its items in: a ring, a stack, or a heap of slots in one block of memory.
 *
 * The block has room for so many from the start. When more are pushed it doubles; it halves again
 * when it is three quarters empty, so after a burst the memory goes back, and each push and pop
 * takes constant time on average (in the heap: logarithmic).
 */

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum uco__items_order { UCO__ITEMS_FIFO, UCO__ITEMS_LIFO, UCO__ITEMS_PRIORITY };

typedef int uco__items_compare(const void *a, const void *b);

struct uco__items {
    char *slots;
    size_t count;
    size_t room;   /* slots; room_min times a power of two */
    size_t head;   /* the ring's oldest; 0 in the others */
    size_t size;   /* bytes of an item */
    size_t stride; /* bytes of a slot */
    size_t room_min;
    enum uco__items_order order;
    uco__items_compare *compare; /* the heap's */
    uint64_t sequence;           /* of the next item in the heap: equal ones are FIFO */
};

/* A zeroed one, for so many items at least; compare is the heap's. False without memory. */
bool uco__items_init(struct uco__items *items, enum uco__items_order order, size_t size,
                     size_t room, uco__items_compare *compare);
/* Empty, and without room, for ever. */
void uco__items_done(struct uco__items *items);
/* Drops all. */
void uco__items_clear(struct uco__items *items);

/* False without memory; nothing has changed then. */
bool uco__items_grow(struct uco__items *items);
/* To half the room, if there is memory for the move. */
void uco__items_shrink(struct uco__items *items);
/* With room for it. */
void uco__items_push_heap(struct uco__items *items, const void *item);
void uco__items_pop_heap(struct uco__items *items, void *item);

/* Most items are a pointer or a number: no call for those. */
static inline void
uco__items_copy(const struct uco__items *items, void *to, const void *from)
{
    if (UCO__LIKELY(items->size == sizeof(uint64_t)))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, items->size);
}

static inline char *
uco__items_slot(const struct uco__items *items, size_t i)
{
    return items->slots + i * items->stride;
}

/* False without memory; only where the room is used up. */
static inline bool
uco__items_push(struct uco__items *items, const void *item)
{
    size_t i;

    if (UCO__UNLIKELY(items->count == items->room) && !uco__items_grow(items))
        return false;
    if (UCO__UNLIKELY(items->order == UCO__ITEMS_PRIORITY)) {
        uco__items_push_heap(items, item);
        return true;
    }
    i = items->head + items->count++;
    if (i >= items->room)
        i -= items->room;
    uco__items_copy(items, uco__items_slot(items, i), item);
    return true;
}

/* There is one. */
static inline void
uco__items_pop(struct uco__items *items, void *item)
{
    switch (items->order) {
    case UCO__ITEMS_FIFO:
        uco__items_copy(items, item, uco__items_slot(items, items->head));
        items->count--;
        if (++items->head == items->room)
            items->head = 0;
        break;
    case UCO__ITEMS_LIFO:
        uco__items_copy(items, item, uco__items_slot(items, --items->count));
        break;
    case UCO__ITEMS_PRIORITY:
        uco__items_pop_heap(items, item);
        break;
    }
    if (UCO__UNLIKELY(items->room > items->room_min && items->count <= items->room / 4))
        uco__items_shrink(items);
}

#endif
