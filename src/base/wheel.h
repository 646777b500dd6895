/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_WHEEL_H
#define UCO_BASE_WHEEL_H

/*
 * A timer wheel of nanoseconds: eleven levels of 64 slots cover all 64 bits, so no deadline is
 * rounded.
 *
 * A node's level is that of the highest group of six bits in which its deadline differs from the
 * wheel's time, its slot the value of that group. Inserting and removing are O(1) and need no
 * memory; a node moves down at most ten levels in its life. Nodes come out in the order of
 * (deadline, insertion), exactly.
 */

#include "base/list.h"

#include <stdint.h>

#define UCO__WHEEL_LEVELS 11
#define UCO__WHEEL_SLOTS 64
#define UCO__WHEEL_NOWHERE 0xffff /* in the due list, or in none */

struct uco__wheel_node {
    struct uco__list link;
    uint64_t deadline; /* ns */
    uint16_t slot;     /* level * UCO__WHEEL_SLOTS + slot, or UCO__WHEEL_NOWHERE */
};

struct uco__wheel_slot {
    struct uco__list nodes;
    uint64_t earliest; /* no node here has an earlier deadline; the one that had it may be gone */
};

struct uco__wheel {
    uint64_t now;                         /* what is not in `due` is later than this */
    uint64_t occupied[UCO__WHEEL_LEVELS]; /* a bit for each slot that has nodes */
    struct uco__list due;                 /* in the order of (deadline, insertion) */
    uint64_t count;                       /* of nodes, those due included */
    struct uco__wheel_slot slots[UCO__WHEEL_LEVELS][UCO__WHEEL_SLOTS];
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
