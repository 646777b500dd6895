/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_LIST_H
#define UCO_BASE_LIST_H

/*
 * An intrusive, circular, doubly linked list. A list is its head; a node that is in no list points
 * to itself, so that removing it again does nothing.
 */

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

struct uco__list {
    struct uco__list *next;
    struct uco__list *prev;
};

#define UCO__LIST_EACH(node, head)                                                                 \
    for (struct uco__list *node = (head)->next; node != (head); node = node->next)

/* The body may remove the node. */
#define UCO__LIST_EACH_SAFE(node, head)                                                            \
    for (struct uco__list *node = (head)->next, *node##_next = node->next; node != (head);         \
         node = node##_next, node##_next = node->next)

static inline void
uco__list_init(struct uco__list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool
uco__list_empty(const struct uco__list *list)
{
    return list->next == list;
}

static inline void
uco__list_insert_after(struct uco__list *place, struct uco__list *node)
{
    UCO__KNOWN(place->next != NULL);
    node->prev = place;
    node->next = place->next;
    place->next->prev = node;
    place->next = node;
}

static inline void
uco__list_push_back(struct uco__list *list, struct uco__list *node)
{
    uco__list_insert_after(list->prev, node);
}

static inline void
uco__list_push_front(struct uco__list *list, struct uco__list *node)
{
    uco__list_insert_after(list, node);
}

static inline void
uco__list_remove(struct uco__list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    uco__list_init(node);
}

/* NULL when the list is empty. */
static inline struct uco__list *
uco__list_pop_front(struct uco__list *list)
{
    struct uco__list *node = list->next;

    if (node == list)
        return NULL;
    uco__list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void
uco__list_splice(struct uco__list *to, struct uco__list *from)
{
    if (uco__list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    uco__list_init(from);
}

#endif
