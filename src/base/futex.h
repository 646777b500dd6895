/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_FUTEX_H
#define UCO_BASE_FUTEX_H

/*
 * A mutex of four bytes, for the few instructions in which a future's list of waiters changes, and
 * a wait for a word.
 *
 * While the process has one thread, neither it nor a count of references needs an atomic
 * instruction, which would be half of a short task's cost. A thread cannot appear in between:
 * nothing that is held or counted so calls out, but for memory.
 */

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h> /* glibc 2.32 */
#define UCO__SINGLE_THREADED __libc_single_threaded
#endif
#endif
#ifndef UCO__SINGLE_THREADED
#define UCO__SINGLE_THREADED false
#endif

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

    if (UCO__SINGLE_THREADED)
        return;
    /* Acquire pairs with the release in uco__mutex_unlock(). */
    if (UCO__UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &mutex->state, &free_state, 1, memory_order_acquire, memory_order_relaxed)))
        uco__mutex_lock_slow(mutex);
}

static inline void
uco__mutex_unlock(struct uco__mutex *mutex)
{
    if (UCO__SINGLE_THREADED)
        return;
    if (UCO__UNLIKELY(atomic_exchange_explicit(&mutex->state, 0, memory_order_release) == 2))
        uco__mutex_unlock_slow(mutex);
}

/* A count of references: who adds one has one already. */
static inline void
uco__count_add(atomic_uint *count, unsigned n)
{
    if (UCO__SINGLE_THREADED)
        atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                              memory_order_relaxed);
    else
        atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

/* Gives n of them back; whether those were the last. All that was done before by whoever had one is
 * over for the caller then. */
static inline bool
uco__count_drop(atomic_uint *count, unsigned n)
{
    /* When there are no others, nobody can add one. Acquire pairs with the release in the
     * subtraction of those who had one. */
    if (atomic_load_explicit(count, memory_order_acquire) == n) {
        atomic_store_explicit(count, 0, memory_order_relaxed);
        return true;
    }
    if (UCO__SINGLE_THREADED) {
        atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) - n,
                              memory_order_relaxed);
        return false;
    }
    return atomic_fetch_sub_explicit(count, n, memory_order_acq_rel) == n;
}

/* Waits while *word is `value`: 0, possibly without cause, or -ETIMEDOUT after `deadline` (ns of
 * CLOCK_MONOTONIC). */
int uco__futex_wait(atomic_uint *word, unsigned value, uint64_t deadline);
void uco__futex_wake_all(atomic_uint *word);

#endif
