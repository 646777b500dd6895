/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_WAITERS_H
#define UCO_SYNC_WAITERS_H

/*
 * Those who wait for a primitive, in the order of their coming. The head stands in the user's
 * struct: zeroed it is empty, and a struct in which nobody waits can be moved.
 *
 * A waiter is in the list if and only if its wait has not ended. Whoever takes it out ends the
 * wait, in the same step: so it is either granted, or was never there.
 */

#include "core/leave.h"

#include <uco/sync.h>

struct uco__sync_waiter {
    struct uco__sync_waiter *next;
    struct uco__sync_waiter *previous;
    struct uco_waiters *list; /* that it is in; NULL: none */
    struct uco__wait wait;
};

static inline bool
uco__waiters_empty(const struct uco_waiters *list)
{
    return list->first == NULL;
}

static inline struct uco__sync_waiter *
uco__waiters_first(const struct uco_waiters *list)
{
    return list->first;
}

static inline void
uco__waiters_push(struct uco_waiters *list, struct uco__sync_waiter *waiter)
{
    struct uco__sync_waiter *last = list->last;

    waiter->list = list;
    waiter->next = NULL;
    waiter->previous = last;
    if (last != NULL)
        last->next = waiter;
    else
        list->first = waiter;
    list->last = waiter;
}

/* Nothing when it is in none. */
static inline void
uco__waiters_remove(struct uco__sync_waiter *waiter)
{
    struct uco_waiters *list = waiter->list;

    if (list == NULL)
        return;
    if (waiter->previous != NULL)
        waiter->previous->next = waiter->next;
    else
        list->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->previous = waiter->previous;
    else
        list->last = waiter->previous;
    waiter->list = NULL;
}

/* NULL when the list is empty. */
static inline struct uco__sync_waiter *
uco__waiters_pop(struct uco_waiters *list)
{
    struct uco__sync_waiter *waiter = list->first;

    if (waiter != NULL)
        uco__waiters_remove(waiter);
    return waiter;
}

/* Ends the wait of the first one; false when there is none. */
static inline bool
uco__waiters_wake_first(struct uco_waiters *list, intptr_t result)
{
    struct uco__sync_waiter *waiter = uco__waiters_pop(list);

    if (waiter == NULL)
        return false;
    uco__wake(&waiter->wait, result);
    return true;
}

static inline void
uco__waiters_wake_all(struct uco_waiters *list, intptr_t result)
{
    while (uco__waiters_wake_first(list, result))
        ;
}

#endif
