/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_LOCK_H
#define UCO_SYNC_LOCK_H

/* What a condition needs of a lock. */

#include "sync/enter.h"

struct uco__lock_waiter {
    struct uco__sync_waiter waiter; /* in the lock's waiters, or a condition's */
    struct uco__task *task;
    uco_lock *lock;
};

/* Whether the task holds the lock. */
static inline bool
uco__lock_is_mine(const uco_lock *l, const struct uco__task *task)
{
    return l->owner == task->id;
}

/* The owner gives the lock up: to the one who has waited longest, or to nobody. */
void uco__lock_hand_on(uco_lock *l);
/* The waiter is to have the lock: its wait ends with 0 once it has, or with -EOWNERDEAD. Nothing
 * interrupts that. */
void uco__lock_request(struct uco__lock_waiter *waiter);

#endif
