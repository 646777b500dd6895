/* SPDX-License-Identifier: MIT */

/*
 * The timer wheel.
 *
 * 1. Each node outside `due` is later than `reached`, and stands where the two differ: so nodes of
 *    a lower level are earlier than all of a higher one, and within a level those of a lower slot
 *    earlier.
 * 2. When `reached` enters a slot, the slot's nodes are placed again, and keep their order: all
 *    lower levels are empty then. So two nodes with the same deadline are always in the same slot,
 *    the one that was inserted first before the other.
 * 3. `due` is empty only if nothing is due, and then `reached` is `now`. No more slots are entered
 *    than that takes: who is far behind would otherwise look at each node once when it moves and
 *    again, when it is cold once more, where it is given out.
 */

#include "base/wheel.h"

#include "base/clock.h"
#include "base/compiler.h"

#include <string.h>

#define WIDE_BITS UCO__WHEEL_WIDE_BITS
#define WIDE_SLOTS UCO__WHEEL_WIDE_SLOTS
#define WIDE_SPAN (UCO__WHEEL_WIDE_LEVELS * WIDE_BITS) /* the bits of all wide levels */
#define NARROW_BITS UCO__WHEEL_NARROW_BITS
#define NOWHERE UCO__WHEEL_NOWHERE

_Static_assert(UCO__WHEEL_SLOTS / 64 <= 64, "one word of summary");
_Static_assert(WIDE_SPAN + UCO__WHEEL_NARROW_LEVELS * NARROW_BITS >= 64, "all bits");

void
uco__wheel_init(struct uco__wheel *wheel, uint64_t now)
{
    wheel->now = now;
    wheel->reached = now;
    wheel->count = 0;
    uco__list_init(&wheel->due);
    wheel->summary = 0;
    memset(wheel->occupied, 0, sizeof wheel->occupied);
}

static struct uco__wheel_node *
node_of(struct uco__list *link)
{
    return UCO__CONTAINER(link, struct uco__wheel_node, link);
}

/* --- slots --- */

/* Where a deadline that is ahead belongs. */
static inline unsigned
slot_of(const struct uco__wheel *wheel, uint64_t deadline)
{
    unsigned bit = 63 - (unsigned) __builtin_clzll(deadline ^ wheel->reached);
    unsigned level;

    if (UCO__LIKELY(bit < WIDE_SPAN)) {
        level = bit / WIDE_BITS;
        return level << WIDE_BITS | (deadline >> level * WIDE_BITS & ((1U << WIDE_BITS) - 1));
    }
    level = (bit - WIDE_SPAN) / NARROW_BITS;
    deadline >>= WIDE_SPAN + level * NARROW_BITS;
    return WIDE_SLOTS + (level << NARROW_BITS | ((unsigned) deadline & ((1U << NARROW_BITS) - 1)));
}

/* The first moment of a slot that is ahead. */
static inline uint64_t
slot_start(const struct uco__wheel *wheel, unsigned index)
{
    bool wide = index < WIDE_SLOTS;
    unsigned bits = wide ? WIDE_BITS : NARROW_BITS;
    unsigned place = wide ? index : index - WIDE_SLOTS;
    unsigned shift = (wide ? 0 : WIDE_SPAN) + (place >> bits) * bits;
    uint64_t above = shift + bits < 64 ? wheel->reached >> (shift + bits) << (shift + bits) : 0;

    return above | (uint64_t) (place & ((1U << bits) - 1)) << shift;
}

/* Of the lowest level that has nodes the first slot that has; NOWHERE. */
static inline unsigned
slot_first(const struct uco__wheel *wheel)
{
    unsigned word;

    if (wheel->summary == 0)
        return NOWHERE;
    word = (unsigned) __builtin_ctzll(wheel->summary);
    return word * 64 + (unsigned) __builtin_ctzll(wheel->occupied[word]);
}

/* The slot is about to get a node. */
static inline struct uco__wheel_slot *
slot_occupy(struct uco__wheel *wheel, unsigned index, uint64_t deadline)
{
    struct uco__wheel_slot *slot = &wheel->slots[index];
    uint64_t bit = UINT64_C(1) << index % 64;

    if ((wheel->occupied[index / 64] & bit) == 0) {
        wheel->occupied[index / 64] |= bit;
        wheel->summary |= UINT64_C(1) << index / 64;
        uco__list_init(&slot->nodes);
        slot->earliest = deadline;
        if (index >= UCO__WHEEL_FAR)
            wheel->trails[index - UCO__WHEEL_FAR] = (struct uco__wheel_trail){.oldest = 0};
    } else if (deadline < slot->earliest) {
        slot->earliest = deadline;
    }
    return slot;
}

static inline void
slot_vacate(struct uco__wheel *wheel, unsigned index)
{
    uint64_t *word = &wheel->occupied[index / 64];

    *word &= ~(UINT64_C(1) << index % 64);
    if (*word == 0)
        wheel->summary &= ~(UINT64_C(1) << index / 64);
}

/* The slot's nodes are moved down from the last to the first. Each of them knows only its
 * neighbours, so the processor would wait for one after the other. */
static inline struct uco__wheel_node *
trail_exchange(struct uco__wheel *wheel, unsigned index, struct uco__wheel_node *node)
{
    struct uco__wheel_trail *trail = &wheel->trails[index - UCO__WHEEL_FAR];
    struct uco__wheel_node *oldest = trail->nodes[trail->oldest];

    trail->nodes[trail->oldest] = node;
    trail->oldest = trail->oldest + 1 < UCO__WHEEL_TRAIL ? trail->oldest + 1 : 0;
    return oldest;
}

/* --- nodes --- */

/* From the back: only a deadline that has long passed has to look for its place. Where each is
 * earlier than the one before, that is the front. */
static void
wheel_place_due(struct uco__wheel *wheel, struct uco__wheel_node *node)
{
    struct uco__list *place = wheel->due.prev;

    if (place != &wheel->due && node_of(wheel->due.next)->deadline > node->deadline)
        place = &wheel->due;
    while (place != &wheel->due && node_of(place)->deadline > node->deadline)
        place = place->prev;
    uco__list_insert_after(place, &node->link);
    node->slot = NOWHERE;
}

void
uco__wheel_insert(struct uco__wheel *wheel, struct uco__wheel_node *node, uint64_t deadline)
{
    unsigned index;

    node->deadline = deadline;
    wheel->count++;
    if (deadline <= wheel->reached) {
        wheel_place_due(wheel, node);
        return;
    }
    index = slot_of(wheel, deadline);
    uco__list_push_back(&slot_occupy(wheel, index, deadline)->nodes, &node->link);
    node->slot = (uint16_t) index;
    node->ahead = index >= UCO__WHEEL_FAR ? trail_exchange(wheel, index, node) : NULL;
}

/* A node of the slot that `reached` has entered. They come in reverse, so each goes to the front.
 */
static inline void
wheel_move_down(struct uco__wheel *wheel, struct uco__wheel_node *node)
{
    struct uco__wheel_node *before = NULL;
    unsigned index;

    if (node->deadline == wheel->reached) {
        node->slot = NOWHERE;
        uco__list_push_front(&wheel->due, &node->link);
        return;
    }
    index = slot_of(wheel, node->deadline);
    uco__list_push_front(&slot_occupy(wheel, index, node->deadline)->nodes, &node->link);
    node->slot = (uint16_t) index;
    node->ahead = NULL;
    if (index >= UCO__WHEEL_FAR)
        before = trail_exchange(wheel, index, node);
    if (before != NULL)
        before->ahead = node; /* it came in this move, so it is there */
}

static void
wheel_enter(struct uco__wheel *wheel, unsigned index)
{
    struct uco__list *head = &wheel->slots[index].nodes;
    struct uco__list *link = head->prev, *prev;

    slot_vacate(wheel, index);
    wheel->reached = slot_start(wheel, index);
    if (link->prev == head && node_of(link)->deadline <= wheel->now) {
        /* Alone, so nothing can come before it. */
        wheel->reached = node_of(link)->deadline;
        node_of(link)->slot = NOWHERE;
        uco__list_push_front(&wheel->due, link);
        return;
    }
    for (; link != head; link = prev) {
        struct uco__wheel_node *node = node_of(link);

        __builtin_prefetch(node->ahead, 1);
        prev = link->prev;
        wheel_move_down(wheel, node);
    }
}

static void
wheel_fill_due(struct uco__wheel *wheel)
{
    while (uco__list_empty(&wheel->due)) {
        unsigned index = slot_first(wheel);

        if (index == NOWHERE || slot_start(wheel, index) > wheel->now) {
            wheel->reached = wheel->now;
            return;
        }
        wheel_enter(wheel, index);
    }
}

void
uco__wheel_remove(struct uco__wheel *wheel, struct uco__wheel_node *node)
{
    if (!uco__wheel_node_pending(node))
        return;
    uco__list_remove(&node->link);
    wheel->count--;
    if (node->slot == NOWHERE) {
        wheel_fill_due(wheel);
        return;
    }
    if (uco__list_empty(&wheel->slots[node->slot].nodes))
        slot_vacate(wheel, node->slot);
    node->slot = NOWHERE;
}

uint64_t
uco__wheel_next(const struct uco__wheel *wheel)
{
    unsigned index;

    if (!uco__list_empty(&wheel->due))
        return wheel->now;
    index = slot_first(wheel);
    return index != NOWHERE ? wheel->slots[index].earliest : UCO__NEVER;
}

void
uco__wheel_advance(struct uco__wheel *wheel, uint64_t now)
{
    if (now > wheel->now)
        wheel->now = now;
    wheel_fill_due(wheel);
}

struct uco__wheel_node *
uco__wheel_pop(struct uco__wheel *wheel)
{
    struct uco__list *link = uco__list_pop_front(&wheel->due);

    if (link == NULL)
        return NULL;
    wheel->count--;
    wheel_fill_due(wheel);
    return node_of(link);
}
