/* SPDX-License-Identifier: MIT */

/*
 * Slots for items.
 *
 * 1. The ring's items are in the slots from head on, going round; the others' in the first `count`.
 * 2. A slot of the heap is an item, then the sequence number that it came with. No slot comes
 *    before its parent.
 * 3. Where compare runs, nothing of the queue's is locked or half done but the heap itself.
 */

#include "sync/items.h"

#include "base/system.h"
#include "core/loop.h"

#include <stdalign.h>

/* --- room --- */

/* An item in a slot stands where any type of its size may. */
static size_t
slot_stride(enum uco__items_order order, size_t size)
{
    size_t alignment = size & -size;

    if (order != UCO__ITEMS_PRIORITY)
        return size;
    if (alignment < sizeof(uint64_t))
        alignment = sizeof(uint64_t);
    if (alignment > alignof(max_align_t))
        alignment = alignof(max_align_t);
    if (size > SIZE_MAX - sizeof(uint64_t) - alignment)
        return 0;
    return (size + sizeof(uint64_t) + alignment - 1) / alignment * alignment;
}

bool
uco__items_init(struct uco__items *items, enum uco__items_order order, size_t size, size_t room,
                uco__items_compare *compare)
{
    items->order = order;
    items->size = size;
    items->stride = slot_stride(order, size);
    items->room = room;
    items->room_min = room;
    items->compare = compare;
    if (items->stride == 0 || room > SIZE_MAX / items->stride)
        return false;
    items->slots = uco__reallocate(NULL, room * items->stride);
    return items->slots != NULL;
}

void
uco__items_done(struct uco__items *items)
{
    uco__free(items->slots);
    items->slots = NULL;
    items->count = 0;
    items->room = 0;
    items->room_min = 0;
}

/* To a new block: the ring's items are then in its first slots. */
static bool
items_move(struct uco__items *items, size_t room)
{
    size_t first = items->room - items->head;
    char *slots;

    slots = uco__reallocate(NULL, room * items->stride);
    if (slots == NULL)
        return false;
    if (first > items->count)
        first = items->count;
    memcpy(slots, uco__items_slot(items, items->head), first * items->stride);
    memcpy(slots + first * items->stride, items->slots, (items->count - first) * items->stride);
    uco__free(items->slots);
    items->slots = slots;
    items->room = room;
    items->head = 0;
    return true;
}

bool
uco__items_grow(struct uco__items *items)
{
    return items->room <= SIZE_MAX / items->stride / 2 && items_move(items, items->room * 2);
}

void
uco__items_shrink(struct uco__items *items)
{
    items_move(items, items->room / 2);
}

void
uco__items_clear(struct uco__items *items)
{
    items->count = 0;
    items->head = 0;
    if (items->room > items->room_min)
        items_move(items, items->room_min);
}

/* --- the heap --- */

static uint64_t *
slot_sequence(const struct uco__items *items, char *slot)
{
    return (uint64_t *) (void *) (slot + items->stride - sizeof(uint64_t));
}

static bool
slot_is_before(const struct uco__items *items, char *a, char *b)
{
    int order = items->compare(a, b);

    return order != 0 ? order < 0 : *slot_sequence(items, a) < *slot_sequence(items, b);
}

/* The user's compare cannot suspend. */
static struct uco__fiber *
compare_begin(void)
{
    return uco__running != NULL ? uco__scheduler_callback_begin(uco__running) : NULL;
}

static void
compare_end(struct uco__fiber *current)
{
    if (uco__running != NULL)
        uco__scheduler_callback_end(uco__running, current);
}

void
uco__items_push_heap(struct uco__items *items, const void *item)
{
    struct uco__fiber *current = compare_begin();
    size_t hole = items->count;

    while (hole > 0) {
        char *parent = uco__items_slot(items, (hole - 1) / 2);

        if (items->compare(item, parent) >= 0)
            break;
        memcpy(uco__items_slot(items, hole), parent, items->stride);
        hole = (hole - 1) / 2;
    }
    memcpy(uco__items_slot(items, hole), item, items->size);
    *slot_sequence(items, uco__items_slot(items, hole)) = items->sequence++;
    items->count++;
    compare_end(current);
}

void
uco__items_pop_heap(struct uco__items *items, void *item)
{
    struct uco__fiber *current = compare_begin();
    size_t count = items->count - 1;
    char *last = uco__items_slot(items, count);
    size_t hole = 0;

    memcpy(item, items->slots, items->size);
    for (size_t i = 1; i < count; i = 2 * hole + 1) {
        char *child = uco__items_slot(items, i);

        if (i + 1 < count && slot_is_before(items, child + items->stride, child)) {
            child += items->stride;
            i++;
        }
        if (!slot_is_before(items, child, last))
            break;
        memcpy(uco__items_slot(items, hole), child, items->stride);
        hole = i;
    }
    if (hole != count)
        memcpy(uco__items_slot(items, hole), last, items->stride);
    items->count = count;
    compare_end(current);
}
