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
};

/* struct uco__fiber's `state`. */
enum uco__fiber_state {
    UCO__FIBER_NEW,
    UCO__FIBER_STARTED, /* runs, waits for one that it started eagerly, is in a run queue, or parked
                           (then it has a wait) */
    UCO__FIBER_ENDED,
};

struct uco__fiber {
    /* All that a yield needs: one cache line, when the fiber is aligned to one. */
    struct uco__ready ready;
    struct uco__context
        context;         /* while it does not run; UCO__CONTEXT_NONE before it has a stack */
    unsigned char state; /* enum uco__fiber_state */
    bool began;          /* the task's own: its body */
    bool attention;      /* the task's own: its next suspending call must look closer */
    uint16_t successes;  /* the task's own: calls in a row that did not suspend */
    uint16_t ignored;    /* the task's own: cancellations in a row */
    union {
        struct uco__stack *stack;
        struct uco__stack_pool *pool; /* before it has one */
    };

    struct uco__wait *wait; /* what it is parked in */
};

static inline void
uco__fiber_init(struct uco__fiber *fiber, struct uco__stack_pool *pool)
{
    fiber->ready.run = NULL;
    fiber->context.sp = UCO__CONTEXT_NONE;
    fiber->state = UCO__FIBER_NEW;
    fiber->began = false;
    fiber->attention = false;
    fiber->successes = 0;
    fiber->ignored = 0;
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
