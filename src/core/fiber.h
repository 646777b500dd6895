/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_FIBER_H
#define UCO_CORE_FIBER_H

/*
 * A fiber: a stack with a body. It gets its stack when it first runs, and gives it back when its
 * body returns. Of what it means to be a task, a fiber knows nothing: that is told to it by its
 * operations.
 */

#include "core/ready.h"
#include "core/stack.h"

#include <stdbool.h>
#include <stdint.h>
#include <uco/common.h>

struct uco__fiber;
struct uco__wait;

struct uco__fiber_about {
    const char *name; /* NULL: it is called "Task-<id>" */
    uint64_t id;
    const char *file; /* where it was created; NULL: not known */
    int line;
};

/* The same for all fibers of a loop. */
struct uco__fiber_operations {
    /* Runs on the fiber's stack. When it returns, the fiber may be freed already. */
    void (*body)(struct uco__fiber *fiber);
    /* Instead of the body, on the loop's stack, when there is no memory for a stack. May free the
     * fiber. */
    void (*no_stack)(struct uco__fiber *fiber);
    /* For reports. */
    uco_task *(*task)(struct uco__fiber *fiber);
    const char *(*name)(const struct uco__fiber *fiber);
    /* For the report of an overflow: async-signal-safe. */
    void (*about)(const struct uco__fiber *fiber, struct uco__fiber_about *about);
    /* Who has the stack; NULL: nobody. Async-signal-safe too, but slow. */
    struct uco__fiber *(*on_stack)(const struct uco_loop *loop, const struct uco__stack *stack);
};

/* The `state` in its ready node. */
enum uco__fiber_state {
    UCO__FIBER_NEW,
    UCO__FIBER_STARTED, /* runs, waits for one that it started eagerly, is in a run queue, or parked
                           (then it has a wait) */
    UCO__FIBER_ENDED,
};

/* One cache line, and all that a yield needs. */
struct uco__fiber {
    struct uco__ready ready;
    struct uco__context
        context; /* while it does not run; UCO__CONTEXT_NONE before it has a stack */
    union {
        struct uco__stack *stack;
        struct uco__stack_pool *pool; /* before it has one */
    };
    struct uco__wait *wait; /* what it is parked in */
};

_Static_assert(sizeof(void *) != 8 || sizeof(struct uco__fiber) == 64, "it is one cache line");

static inline void
uco__fiber_init(struct uco__fiber *fiber, struct uco__stack_pool *pool)
{
    fiber->ready = (struct uco__ready){.state = UCO__FIBER_NEW};
    fiber->context.sp = UCO__CONTEXT_NONE;
    fiber->pool = pool;
    fiber->wait = NULL;
}

static inline bool
uco__fiber_has_stack(const struct uco__fiber *fiber)
{
    return fiber->context.sp != UCO__CONTEXT_NONE;
}

static inline struct uco__fiber *
uco__fiber_of(struct uco__ready *node)
{
    return UCO__CONTAINER(node, struct uco__fiber, ready);
}

/* What every stack runs: one body after the other. */
void uco__fiber_entry(void);

#endif
