/* SPDX-License-Identifier: MIT */

/* Waiting in the kernel for a word to change. The mutex is Drepper's third ("Futexes Are Tricky").
 */

#include "base/futex.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
futex_wake(atomic_uint *word, int n)
{
    return (int) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

int
uco__futex_wait(atomic_uint *word, unsigned value, uint64_t deadline)
{
    struct timespec until;
    struct timespec *limit = NULL;

    if (deadline != UCO__NEVER) {
        until.tv_sec = (time_t) (deadline / UCO__SECOND);
        until.tv_nsec = (long) (deadline % UCO__SECOND);
        limit = &until;
    }
    /* WAIT_BITSET, because its timeout is a moment and not a duration. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, limit, NULL,
                FUTEX_BITSET_MATCH_ANY) < 0 &&
        errno == ETIMEDOUT)
        return -ETIMEDOUT;
    return 0;
}

void
uco__futex_wake_all(atomic_uint *word)
{
    futex_wake(word, INT_MAX);
}

void
uco__mutex_lock_slow(struct uco__mutex *mutex)
{
    /* Whoever waits marks the mutex with 2; it keeps the mark when it gets the mutex, since others
     * may wait too. */
    while (atomic_exchange_explicit(&mutex->state, 2, memory_order_acquire) != 0)
        uco__futex_wait(&mutex->state, 2, UCO__NEVER);
}

void
uco__mutex_unlock_slow(struct uco__mutex *mutex)
{
    futex_wake(&mutex->state, 1);
}
