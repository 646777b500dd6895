/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_WHEEL_H
#define UCO_BASE_WHEEL_H

/*
 * A timer wheel of nanoseconds: three levels of 1,024 slots and six of 64 cover all 64 bits, so no
 * deadline is rounded.
 *
 * A node's level is that of the highest group of bits in which its deadline differs from the
 * wheel's time, its slot the value of that group. Inserting and removing are O(1) and need no
 * memory; a node moves down at most eight levels in its life. Nodes come out in the order of
 * (deadline, insertion), exactly.
 *
 * A node that waits is mostly out of the caches, and each look at it costs more than all that the
 * wheel computes. So the lower levels are wide: a sleep of up to a second lies in a slot of about a
 * millisecond at once, is looked at when that begins, and is still near when it falls due.
 */

#include "base/list.h"

#include <stdint.h>

#define UCO__WHEEL_WIDE_BITS 10
#define UCO__WHEEL_WIDE_LEVELS 3
#define UCO__WHEEL_NARROW_BITS 6
#define UCO__WHEEL_NARROW_LEVELS 6
#define UCO__WHEEL_LEVELS (UCO__WHEEL_WIDE_LEVELS + UCO__WHEEL_NARROW_LEVELS)
#define UCO__WHEEL_WIDE_SLOTS (UCO__WHEEL_WIDE_LEVELS << UCO__WHEEL_WIDE_BITS)
#define UCO__WHEEL_SLOTS                                                                           \
    (UCO__WHEEL_WIDE_SLOTS + (UCO__WHEEL_NARROW_LEVELS << UCO__WHEEL_NARROW_BITS))
/* From this slot on, nodes are far enough from their time to be cold when they move. */
#define UCO__WHEEL_FAR (2 << UCO__WHEEL_WIDE_BITS)
#define UCO__WHEEL_NOWHERE 0xffff /* in the due list, or in none */

struct uco__wheel_node {
    struct uco__list link;
    uint64_t deadline; /* ns */
    const void *ahead; /* what to fetch when this one moves down: a hint, maybe long gone */
    uint16_t slot;     /* its slot, or UCO__WHEEL_NOWHERE */
};

struct uco__wheel_slot {
    struct uco__list nodes;
    uint64_t earliest; /* no node here has an earlier deadline; the one that had it may be gone */
};

/* The last nodes that came into a slot; each knows the one so many places before it. */
#define UCO__WHEEL_TRAIL 7

struct uco__wheel_trail {
    struct uco__wheel_node *nodes[UCO__WHEEL_TRAIL];
    unsigned oldest;
};

/* Nearly all of it is not touched in the life of a usual loop, and not read before it is written:
 * it costs addresses only, where the memory comes from the system. */
struct uco__wheel {
    uint64_t now;         /* up to here nodes are due */
    uint64_t reached;     /* what is not in `due` is later than this; `now` if `due` is empty */
    struct uco__list due; /* in the order of (deadline, insertion): the first of what is due */
    uint64_t count;       /* of nodes, those due included */
    uint64_t summary;     /* a bit for each word of `occupied` */
    uint64_t occupied[UCO__WHEEL_SLOTS / 64];       /* a bit for each slot that has nodes */
    struct uco__wheel_slot slots[UCO__WHEEL_SLOTS]; /* valid where that bit is set; the levels one
                                                       after the other */
    struct uco__wheel_trail trails[UCO__WHEEL_SLOTS - UCO__WHEEL_FAR];
};

void uco__wheel_init(struct uco__wheel *wheel, uint64_t now);

static inline void
uco__wheel_node_init(struct uco__wheel_node *node)
{
    uco__list_init(&node->link);
    node->slot = UCO__WHEEL_NOWHERE;
}

/* Whether the node is in a wheel. */
static inline bool
uco__wheel_node_pending(const struct uco__wheel_node *node)
{
    return !uco__list_empty(&node->link);
}

/* Not for UCO__NEVER. */
void uco__wheel_insert(struct uco__wheel *wheel, struct uco__wheel_node *node, uint64_t deadline);
/* Fine for a node that is not in the wheel. */
void uco__wheel_remove(struct uco__wheel *wheel, struct uco__wheel_node *node);

/* No node falls due before this moment (it may be a little early where nodes were removed);
 * UCO__NEVER if there is none. */
uint64_t uco__wheel_next(const struct uco__wheel *wheel);

/* Moves the wheel's time on; what falls due by then is given out by uco__wheel_pop(). Never
 * backwards. */
void uco__wheel_advance(struct uco__wheel *wheel, uint64_t now);
/* Whether uco__wheel_pop() would give one. */
static inline bool
uco__wheel_is_due(const struct uco__wheel *wheel)
{
    return !uco__list_empty(&wheel->due);
}

/* The next due node, taken out, or NULL. */
struct uco__wheel_node *uco__wheel_pop(struct uco__wheel *wheel);

#endif
