/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_FUTURE_H
#define UCO_TASK_FUTURE_H

/* A future: a result that comes once, and those who wait for it. Any thread may hold, resolve or
 * wait. */

#include "base/compiler.h"
#include "base/futex.h"
#include "base/list.h"

#include <stdatomic.h>
#include <uco/task.h>

enum uco__future_kind { UCO__FUTURE_PLAIN, UCO__FUTURE_TASK, UCO__FUTURE_JOB };

struct uco_future {
    atomic_uint references;
    struct uco__mutex mutex;  /* of `waiters`, and of the step to resolved */
    atomic_bool resolved;     /* false, then true for ever; set with `result` under the mutex */
    atomic_bool read;         /* somebody has seen the result */
    unsigned char kind;       /* enum uco__future_kind */
    intptr_t result;          /* valid once resolved */
    struct uco__list waiters; /* struct uco__waiter; in the order in which they came */
    struct uco_loop *loop;    /* it was made in, held; NULL: made outside of any */
};

/* One who waits; stays where it is until it was notified or removed. */
struct uco__waiter {
    struct uco__list link;
    /* On the thread that resolves, holding the future's mutex: hands the news on, and does nothing
     * else. The waiter may be gone when it returns. */
    void (*notify)(struct uco__waiter *waiter, struct uco_future *future);
    uco_task *task; /* that cannot go on before the future is done; NULL: none, or it may go on
                       otherwise */
};

/* With one reference. The loop must be held already, or be NULL. */
static inline void
uco__future_init(struct uco_future *future, enum uco__future_kind kind, struct uco_loop *loop)
{
    *future = (struct uco_future){.loop = loop, .kind = (unsigned char) kind};
    atomic_init(&future->references, 1);
    uco__list_init(&future->waiters);
}
/* Lets go of the loop. For kinds that free themselves. */
void uco__future_done(struct uco_future *future);

/* Gives several references back. */
void uco__future_drop(struct uco_future *future, unsigned references);

/* false if it was resolved before. */
bool uco__future_resolve(struct uco_future *future, intptr_t result);

/* false if it is resolved already: then nothing was added. */
bool uco__future_add_waiter(struct uco_future *future, struct uco__waiter *waiter);
/* false if it has been notified, or is being. */
bool uco__future_remove_waiter(struct uco_future *future, struct uco__waiter *waiter);

static inline bool
uco__future_is_resolved(const struct uco_future *future)
{
    /* Acquire pairs with the release in uco__future_resolve(): the result is there. */
    return atomic_load_explicit(&future->resolved, memory_order_acquire);
}

/* The result of a resolved future, seen by a user. */
static inline intptr_t
uco__future_read(struct uco_future *future)
{
    /* Relaxed: only asked when the last reference is dropped, which is ordered after all uses. */
    atomic_store_explicit(&future->read, true, memory_order_relaxed);
    return future->result;
}

/* Whether a result is a value or a negative errno that may be handed on. */
static inline bool
uco__future_result_valid(intptr_t result)
{
    return result >= -UCO_MAX_ERROR;
}

#endif
