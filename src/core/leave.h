/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_LEAVE_H
#define UCO_CORE_LEAVE_H

/*
 * Waits: how a fiber suspends and is woken. For whoever suspends often enough to want it inline;
 * others call uco__park().
 *
 * The usual switch is from a fiber straight to the next one that is ready. It has no more
 * instructions than it takes; whatever is out of the ordinary goes by
 * uco__scheduler_leave_slowly().
 */

#include "core/loop.h"
#include "core/report.h"

#if UCO__SWITCH_REGISTERS && !UCO__ASAN && !UCO__TSAN
#define UCO__SWITCH_QUICK 1
#else
#define UCO__SWITCH_QUICK 0
#endif

/* What is ready becomes the batch of a new turn. */
static inline void
uco__scheduler_renew(struct uco__scheduler *scheduler)
{
    uco__ready_queue_move(&scheduler->batch, &scheduler->ready);
    scheduler->turns++;
    if (UCO__UNLIKELY(scheduler->random != 0) && scheduler->batch.head != NULL)
        uco__scheduler_shuffle(scheduler);
}

/* A new turn, without going home: what would be done there can wait for the end of the budget.
 * False if there is nothing to run, or something that is due now. */
static inline bool
uco__scheduler_renew_quickly(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;

    if (UCO__UNLIKELY(uco__ready_queue_empty(&scheduler->ready) ||
                      uco__wheel_is_due(&loop->timers.wheel)))
        return false;
    uco__scheduler_renew(scheduler);
    return true;
}

/* Many take turns: the one after this is fetched while this one runs. */
static inline void
uco__scheduler_prefetch(const struct uco__scheduler *scheduler)
{
    if (scheduler->crowded && scheduler->batch.head != NULL)
        __builtin_prefetch(uco__fiber_of(scheduler->batch.head)->context.sp);
}

/* The next fiber is the current one, and this is where it goes on. NULL: it is not the usual case.
 */
static inline __attribute__((always_inline)) struct uco__context *
uco__scheduler_pick_quickly(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;
    struct uco__context *context;
    struct uco__stack *stack;
    struct uco__fiber *to;

    if (UCO__UNLIKELY(scheduler->slowly) || UCO__UNLIKELY(scheduler->budget == 0))
        return NULL;
    if (scheduler->batch.head == NULL && UCO__UNLIKELY(!uco__scheduler_renew_quickly(loop)))
        return NULL;
    to = uco__fiber_of(scheduler->batch.head);
    if (UCO__UNLIKELY(to->ready.run != NULL))
        return NULL; /* a callback */
    context = &to->context;
    if (UCO__UNLIKELY(!uco__context_entered(context))) {
        stack = uco__fiber_has_stack(to) ? NULL : uco__stack_take_pooled(to->pool);
        if (stack == NULL)
            return NULL; /* one that must be entered, or made */
        to->stack = stack;
        to->context.sp = NULL;
        context = &stack->context;
    }
    scheduler->batch.head = to->ready.next; /* its tail is of no use while nothing is pushed */
    uco__scheduler_prefetch(scheduler);
    scheduler->current = to;
    scheduler->budget--;
    return context;
}

/* On a fiber's stack, when its body has returned: goes on with what is next. Returns when the stack
 * has a new fiber. */
static inline __attribute__((always_inline)) void
uco__scheduler_end(struct uco_loop *loop, struct uco__stack *stack)
{
    struct uco__context *to;

    if (UCO__UNLIKELY(uco__loop_stale(loop)))
        uco__scheduler_end_stale();
    *loop->errno_location = 0;
    /* Given back first: if a new fiber is next, it takes this very stack, and no switch is needed.
     */
    uco__stack_give_back(stack);
    to = UCO__SWITCH_QUICK ? uco__scheduler_pick_quickly(loop) : NULL;
    if (UCO__UNLIKELY(to == NULL))
        uco__scheduler_end_slowly(loop, stack);
    else if (to != &stack->context)
        uco__context_switch_registers(&stack->context, to);
}

/* The current fiber suspends: what will make it ready again has been seen to. */
static inline __attribute__((always_inline)) void
uco__scheduler_leave(struct uco_loop *loop, struct uco__fiber *fiber)
{
    int saved_errno = *loop->errno_location;
    struct uco__context *to = NULL;

    if (UCO__SWITCH_QUICK && UCO__LIKELY(!uco__foreign_any(&loop->foreign)))
        to = uco__scheduler_pick_quickly(loop);
    if (UCO__LIKELY(to != NULL))
        uco__context_switch_registers(&fiber->context, to);
    else
        uco__scheduler_leave_slowly(loop, fiber);
    /* Stores are what a switch waits for, so none is made in vain. */
    if (UCO__UNLIKELY(*loop->errno_location != saved_errno))
        *loop->errno_location = saved_errno;
}

/* A new wait of the loop's current fiber. */
static inline void
uco__wait_init(struct uco__wait *wait, const struct uco__wait_kind *kind,
               enum uco__abort (*abort)(struct uco__wait *wait))
{
    wait->loop = uco__running;
    wait->fiber = wait->loop->scheduler.current;
    wait->abort = abort;
    wait->kind = kind;
    wait->since = wait->loop->moment;
    wait->result = 0;
    wait->woken = false;
}

/* uco__park() on this loop. */
static inline __attribute__((always_inline)) intptr_t
uco__park_here(struct uco_loop *loop, struct uco__wait *wait)
{
    struct uco__fiber *fiber = wait->fiber;

    UCO__ASSERT(fiber == loop->scheduler.current);
    if (wait->woken)
        return wait->result;
    fiber->wait = wait;
    uco__scheduler_leave(loop, fiber);
    return wait->result;
}

/* Loop's thread. Ends a wait; false if it was woken before: then nothing happens. */
static inline bool
uco__wake(struct uco__wait *wait, intptr_t result)
{
    struct uco__fiber *fiber = wait->fiber;

    if (wait->woken)
        return false;
    wait->woken = true;
    wait->result = result;
    if (fiber->wait == wait) {
        fiber->wait = NULL;
        uco__ready_queue_push(&wait->loop->scheduler.ready, &fiber->ready);
    }
    return true;
}

#endif
