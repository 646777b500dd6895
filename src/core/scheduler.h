/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_SCHEDULER_H
#define UCO_CORE_SCHEDULER_H

/*
 * The run queue, and the only way to suspend: park.
 *
 * A suspending fiber picks the next ready one itself and switches straight to it. The loop's own
 * stack ("home") runs only when there is none, when a callback is next, when a fiber needs a fresh
 * stack, or when it is time to look at the kernel.
 */

#include "base/compiler.h"
#include "core/fiber.h"
#include "core/ready.h"

#include <stdbool.h>
#include <stdint.h>

struct uco__dump;
struct uco__wait;
struct uco_loop;

/* What waits of one kind have to tell. */
struct uco__wait_kind {
    const struct uco__wait_kind *self; /* a dump knows by it that this is one */
    const char *text;                  /* what is waited for: "a lock" */
    /* For a dump (core/dump.h), which may run in a signal handler: tells the same and more. False,
     * and nothing was told: what it needs cannot be read. NULL: the text is all. */
    bool (*describe)(struct uco__dump *dump, const struct uco__wait *wait);
};

#define UCO__WAIT_KIND(name, what, how)                                                            \
    const struct uco__wait_kind name = {.self = &name, .text = (what), .describe = (how)}

enum uco__abort {
    UCO__UNLINKED, /* nobody will wake the wait any more: it ends with the interruption */
    UCO__TOO_LATE, /* the result will come, and must be waited for */
};

/* One suspension, in the frame of the function that parks. */
struct uco__wait {
    struct uco__fiber *fiber;
    struct uco_loop *loop;
    enum uco__abort (*abort)(struct uco__wait *wait); /* NULL: cannot be interrupted */
    const struct uco__wait_kind *kind;
    uint64_t since; /* the loop's `moment` when it began */
    intptr_t result;
    bool woken;
};

/* Switches in a turn from which on it pays to fetch ahead. */
#define UCO__SCHEDULER_CROWD 30

struct uco__scheduler {
    struct uco__ready_queue ready; /* runs in the next turn */
    struct uco__ready_queue batch; /* runs in this turn */
    struct uco__fiber *current;    /* NULL: home runs */
    struct uco__stack home;        /* of the thread that runs the loop */
    struct uco__fiber *eager;      /* started the current one eagerly and goes on next */
    bool eager_home;               /* the same, when a callback did */
    unsigned detours; /* callbacks that are running on a fiber's stack: nothing may start eagerly */
    unsigned budget;  /* steps left until home must look at the clock */
    unsigned granted; /* the budget when it was last set */
    bool slowly;      /* something must be done at each switch */
    uint64_t random;  /* the shuffle's state; 0 = FIFO */
    uint64_t switches; /* before the budget was set */
    uint64_t turns;
    uint64_t turns_granted; /* when the budget was last set */
    bool crowded;           /* turns are long ones */
};

/* How many switches there were so far. */
static inline uint64_t
uco__scheduler_switches(const struct uco__scheduler *scheduler)
{
    return scheduler->switches + scheduler->granted - scheduler->budget;
}

static inline void
uco__scheduler_set_budget(struct uco__scheduler *scheduler, unsigned budget)
{
    uint64_t turns = scheduler->turns - scheduler->turns_granted;

    scheduler->switches = uco__scheduler_switches(scheduler);
    scheduler->crowded = scheduler->granted > turns * UCO__SCHEDULER_CROWD;
    scheduler->turns_granted = scheduler->turns;
    scheduler->granted = budget;
    scheduler->budget = budget;
}

/* After a change of what is to be done at each switch. */
void uco__scheduler_set_pace(struct uco_loop *loop);

/* Shuffles the fibers of the batch among the places that fibers have; callbacks keep theirs. */
void uco__scheduler_shuffle(struct uco__scheduler *scheduler);
/* The fiber suspends, in whatever way it must be done (core/leave.h has the usual one). */
UCO__EXPORT void uco__scheduler_leave_slowly(struct uco_loop *loop, struct uco__fiber *fiber);

void uco__scheduler_init(struct uco__scheduler *scheduler, uint64_t seed);

/* An `abort` for waits that nobody has to be told of. */
UCO__EXPORT enum uco__abort uco__wait_abort_plain(struct uco__wait *wait);
/* Suspends the current fiber until the wait is woken; its result. At once when it has been already.
 */
UCO__EXPORT intptr_t uco__park(struct uco__wait *wait);
/* Loop's thread. Ends the wait that the fiber is parked in, if that can be interrupted; whether it
 * was. */
bool uco__interrupt(struct uco__fiber *fiber, intptr_t result);

/* A callback of a user's is about to run, maybe on a fiber's stack: it is nobody's, so it cannot
 * suspend. What was current comes back with the end. */
struct uco__fiber *uco__scheduler_callback_begin(struct uco_loop *loop);
void uco__scheduler_callback_end(struct uco_loop *loop, struct uco__fiber *current);

/* The current fiber goes to the end of the run queue. 0. */
int uco__scheduler_yield(struct uco_loop *loop);
/* A new fiber will run in the next turn. */
void uco__scheduler_start(struct uco_loop *loop, struct uco__fiber *fiber);
/* Runs a new fiber at once, until it first suspends or ends. */
void uco__scheduler_start_eager(struct uco_loop *loop, struct uco__fiber *fiber);
/* On a stack that was given back: goes on with what is next, in whatever way it must be done.
 * Returns when the stack has a new fiber. (core/leave.h has the usual way.) */
void uco__scheduler_end_slowly(struct uco_loop *loop, struct uco__stack *stack);
/* A fiber's body has returned in a child of fork(). */
UCO__NORETURN void uco__scheduler_end_stale(void);
/* A callback for home, in the next turn. */
UCO__EXPORT void uco__scheduler_call(struct uco_loop *loop, struct uco__ready *node);

/* Where steps are timed (loop->timed): the fiber, or (NULL) a callback, has had its turn. */
void uco__scheduler_step_end(struct uco_loop *loop, struct uco__fiber *fiber);
/* Home, in a node that stands for several callbacks: before each but the first. */
void uco__scheduler_next_call(struct uco_loop *loop);
/* Home: runs the present batch, having made one of what is ready. */
void uco__scheduler_turn(struct uco_loop *loop);

#endif
