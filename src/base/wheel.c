/* SPDX-License-Identifier: MIT */

/*
 * The timer wheel.
 *
 * 1. Each node outside `due` is later than `now`, and stands where the two differ: so nodes of a
 *    lower level are earlier than all of a higher one, and within a level those of a lower slot
 *    earlier.
 * 2. When `now` enters a slot, the slot's nodes are placed again in their order. So two nodes with
 *    the same deadline are always in the same slot, the one that was inserted first before the
 *    other.
 */

#include "base/wheel.h"

#include "base/clock.h"
#include "base/compiler.h"

#define SLOT_BITS 6

void
uco__wheel_init(struct uco__wheel *wheel, uint64_t now)
{
    wheel->now = now;
    wheel->count = 0;
    uco__list_init(&wheel->due);
    for (int level = 0; level < UCO__WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (int slot = 0; slot < UCO__WHEEL_SLOTS; slot++)
            uco__list_init(&wheel->slots[level][slot].nodes);
    }
}

static struct uco__wheel_node *
node_of(struct uco__list *link)
{
    return UCO__CONTAINER(link, struct uco__wheel_node, link);
}

/* From the back: only a deadline that has long passed has to look for its place. */
static void
wheel_place_due(struct uco__wheel *wheel, struct uco__wheel_node *node)
{
    struct uco__list *place = wheel->due.prev;

    while (place != &wheel->due && node_of(place)->deadline > node->deadline)
        place = place->prev;
    uco__list_insert_after(place, &node->link);
    node->slot = UCO__WHEEL_NOWHERE;
}

static void
wheel_place(struct uco__wheel *wheel, struct uco__wheel_node *node)
{
    struct uco__wheel_slot *slot;
    unsigned level, index;

    if (node->deadline <= wheel->now) {
        wheel_place_due(wheel, node);
        return;
    }
    level = (63 - (unsigned) __builtin_clzll(node->deadline ^ wheel->now)) / SLOT_BITS;
    index = (unsigned) (node->deadline >> (level * SLOT_BITS)) % UCO__WHEEL_SLOTS;
    slot = &wheel->slots[level][index];
    if (uco__list_empty(&slot->nodes) || node->deadline < slot->earliest)
        slot->earliest = node->deadline;
    uco__list_push_back(&slot->nodes, &node->link);
    wheel->occupied[level] |= UINT64_C(1) << index;
    node->slot = (uint16_t) (level * UCO__WHEEL_SLOTS + index);
}

void
uco__wheel_insert(struct uco__wheel *wheel, struct uco__wheel_node *node, uint64_t deadline)
{
    node->deadline = deadline;
    wheel->count++;
    wheel_place(wheel, node);
}

void
uco__wheel_remove(struct uco__wheel *wheel, struct uco__wheel_node *node)
{
    unsigned level = node->slot / UCO__WHEEL_SLOTS;
    unsigned index = node->slot % UCO__WHEEL_SLOTS;

    if (!uco__wheel_node_pending(node))
        return;
    uco__list_remove(&node->link);
    wheel->count--;
    if (node->slot != UCO__WHEEL_NOWHERE && uco__list_empty(&wheel->slots[level][index].nodes))
        wheel->occupied[level] &= ~(UINT64_C(1) << index);
    node->slot = UCO__WHEEL_NOWHERE;
}

/* The lowest level that has nodes, and its first slot; false if there is none. */
static bool
wheel_first(const struct uco__wheel *wheel, unsigned *level, unsigned *index)
{
    for (unsigned i = 0; i < UCO__WHEEL_LEVELS; i++) {
        if (wheel->occupied[i] != 0) {
            *level = i;
            *index = (unsigned) __builtin_ctzll(wheel->occupied[i]);
            return true;
        }
    }
    return false;
}

uint64_t
uco__wheel_next(const struct uco__wheel *wheel)
{
    unsigned level, index;

    if (!uco__list_empty(&wheel->due))
        return wheel->now;
    if (!wheel_first(wheel, &level, &index))
        return UCO__NEVER;
    return wheel->slots[level][index].earliest;
}

/* The first moment of a slot that is ahead of the wheel's time. */
static uint64_t
wheel_slot_start(const struct uco__wheel *wheel, unsigned level, unsigned index)
{
    unsigned shift = level * SLOT_BITS;
    uint64_t above =
        shift + SLOT_BITS < 64 ? wheel->now >> (shift + SLOT_BITS) << (shift + SLOT_BITS) : 0;

    return above | (uint64_t) index << shift;
}

void
uco__wheel_advance(struct uco__wheel *wheel, uint64_t now)
{
    struct uco__list nodes;
    struct uco__list *link;
    unsigned level, index;

    while (wheel_first(wheel, &level, &index)) {
        uint64_t start = wheel_slot_start(wheel, level, index);

        if (start > now)
            break;
        wheel->now = start;
        wheel->occupied[level] &= ~(UINT64_C(1) << index);
        uco__list_init(&nodes);
        uco__list_splice(&nodes, &wheel->slots[level][index].nodes);
        while ((link = uco__list_pop_front(&nodes)) != NULL)
            wheel_place(wheel, node_of(link));
    }
    if (now > wheel->now)
        wheel->now = now;
}

struct uco__wheel_node *
uco__wheel_pop(struct uco__wheel *wheel)
{
    struct uco__list *link = uco__list_pop_front(&wheel->due);

    if (link == NULL)
        return NULL;
    wheel->count--;
    return node_of(link);
}
