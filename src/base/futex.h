/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_FUTEX_H
#define UCO_BASE_FUTEX_H

/* A mutex of four bytes, for the few instructions in which a future's list of waiters changes, and
 * a wait for a word. */

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdint.h>

/* 0 free, 1 held, 2 held and somebody may wait. Zeroed is free. */
struct uco__mutex {
    atomic_uint state;
};

void uco__mutex_lock_slow(struct uco__mutex *mutex);
void uco__mutex_unlock_slow(struct uco__mutex *mutex);

static inline void
uco__mutex_lock(struct uco__mutex *mutex)
{
    unsigned free_state = 0;

    /* Acquire pairs with the release in uco__mutex_unlock(). */
    if (UCO__UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &mutex->state, &free_state, 1, memory_order_acquire, memory_order_relaxed)))
        uco__mutex_lock_slow(mutex);
}

static inline void
uco__mutex_unlock(struct uco__mutex *mutex)
{
    if (UCO__UNLIKELY(atomic_exchange_explicit(&mutex->state, 0, memory_order_release) == 2))
        uco__mutex_unlock_slow(mutex);
}

/* Waits while *word is `value`: 0, possibly without cause, or -ETIMEDOUT after `deadline` (ns of
 * CLOCK_MONOTONIC). */
int uco__futex_wait(atomic_uint *word, unsigned value, uint64_t deadline);
void uco__futex_wake_all(atomic_uint *word);

#endif
