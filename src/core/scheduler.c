/* SPDX-License-Identifier: MIT */

/*
 * The run queue.
 *
 * 1. `batch` is what runs in this turn; what gets ready meanwhile goes to `ready` and waits for the
 *    next.
 * 2. A fiber is in a queue if and only if it is READY (or NEW and started). `current` is RUNNING;
 *    so are those that started it eagerly.
 * 3. A fiber is in `wait` only while PARKED. Waking takes it out and puts it in `ready`; it never
 *    runs inside the waker.
 * 4. errno belongs to the fiber: kept across a suspension, zero at the start.
 * 5. Between two looks at the clock lie at most `budget` switches.
 * 6. The exceptions that C++ code is busy with, and floating-point modes, belong to the fiber, too:
 *    who suspends takes them along.
 */

#include "core/scheduler.h"

#include "base/random.h"
#include "core/leave.h"
#include "core/loop.h"
#include "core/report.h"

/* Of a parked fiber's stack: the frames of a call of io/'s and of who called it, and below them the
 * place of the next call. */
#define PREFETCH_BYTES 512u
#define PREFETCH_BELOW 128u

void
uco__scheduler_init(struct uco__scheduler *scheduler, uint64_t seed)
{
    *scheduler = (struct uco__scheduler){.random = seed};
    uco__ready_queue_init(&scheduler->ready);
    uco__ready_queue_init(&scheduler->batch);
}

/* --- the seeded order --- */

struct shuffled {
    struct uco__ready *nodes;
    uint32_t count;
};

/* Two shuffled lists become one: who comes next is drawn, as often from either as it has nodes
 * left. So each order is as likely as any other. */
static struct shuffled
shuffle_merge(uint64_t *random, struct shuffled a, struct shuffled b)
{
    struct shuffled merged = {.nodes = NULL, .count = a.count + b.count};
    struct uco__ready **tail = &merged.nodes;

    while (a.count > 0 && b.count > 0) {
        struct shuffled *from = uco__random_next(random) % (a.count + b.count) < a.count ? &a : &b;

        *tail = from->nodes;
        tail = &from->nodes->next;
        from->nodes = from->nodes->next;
        from->count--;
    }
    *tail = a.count > 0 ? a.nodes : b.nodes;
    return merged;
}

/* In place: list i of `lists` has 2^i nodes, or none. */
static struct uco__ready *
shuffle(uint64_t *random, struct uco__ready *nodes)
{
    struct shuffled lists[32] = {0};
    struct shuffled result = {0};

    while (nodes != NULL) {
        struct shuffled list = {.nodes = nodes, .count = 1};
        int i = 0;

        nodes = nodes->next;
        list.nodes->next = NULL;
        for (; lists[i].count > 0; i++) {
            list = shuffle_merge(random, lists[i], list);
            lists[i].count = 0;
        }
        lists[i] = list;
    }
    for (int i = 0; i < 32; i++) {
        if (lists[i].count > 0)
            result = shuffle_merge(random, lists[i], result);
    }
    return result.nodes;
}

void
uco__scheduler_shuffle(struct uco__scheduler *scheduler)
{
    struct uco__ready_queue fibers, callbacks;
    struct uco__ready *node, *next, *shuffled;
    uint32_t place = 0;
    uint32_t size = 0;

    uco__ready_queue_init(&fibers);
    uco__ready_queue_init(&callbacks);
    for (node = scheduler->batch.head; node != NULL; node = next, size++) {
        next = node->next;
        if (node->run != NULL)
            node->order = size;
        uco__ready_queue_push(node->run != NULL ? &callbacks : &fibers, node);
    }
    shuffled = shuffle(&scheduler->random, fibers.head);
    uco__ready_queue_init(&scheduler->batch);
    for (; place < size; place++) {
        if (callbacks.head != NULL && callbacks.head->order == place) {
            node = uco__ready_queue_pop(&callbacks);
        } else {
            node = shuffled;
            shuffled = node->next;
        }
        uco__ready_queue_push(&scheduler->batch, node);
    }
}

/* --- steps: how long a fiber or callback keeps the loop --- */

static UCO__COLD void
step_report(struct uco_loop *loop, struct uco__fiber *fiber, uint64_t took)
{
    uco__report(loop, fiber != NULL ? loop->operations->fiber->task(fiber) : NULL,
                "%s%s%s kept the loop for %.3f s without suspending: nothing else could run "
                "(slow_callback is %.3f s)",
                fiber != NULL ? "task '" : "a callback",
                fiber != NULL ? loop->operations->fiber->name(fiber) : "", fiber != NULL ? "'" : "",
                uco__clock_to_seconds(took), uco__clock_to_seconds(loop->slow));
    loop->step_began = uco__loop_step_clock(loop);
}

void
uco__scheduler_step_end(struct uco_loop *loop, struct uco__fiber *fiber)
{
    uint64_t now, took;

    now = uco__loop_step_clock(loop);
    took = now - loop->step_began;
    loop->step_began = now;
    if (UCO__UNLIKELY(took > loop->slow))
        step_report(loop, fiber, took);
}

/* --- switching --- */

static inline __attribute__((always_inline)) void
stack_switch(struct uco__context *from, struct uco__stack *from_stack, struct uco__context *to,
             struct uco__stack *to_stack, bool ends)
{
    uco__sanitizer_leave(&from_stack->sanitizer, &to_stack->sanitizer, ends);
    uco__context_switch(from, to);
    uco__sanitizer_arrive(&from_stack->sanitizer);
}

/* To a fiber, or (NULL) home. */
static inline __attribute__((always_inline)) void
switch_to(struct uco__scheduler *scheduler, struct uco__context *from,
          struct uco__stack *from_stack, struct uco__fiber *to, bool ends)
{
    if (UCO__LIKELY(to != NULL))
        stack_switch(from, from_stack, &to->context, to->stack, ends);
    else
        stack_switch(from, from_stack, &scheduler->home.context, &scheduler->home, ends);
}

/* The fiber gets the stack, and begins where that was left; false if there is none. */
static bool
fiber_take_stack(struct uco__fiber *fiber, struct uco__stack *stack)
{
    if (stack == NULL)
        return false;
    fiber->stack = stack;
    fiber->context = stack->context;
    return true;
}

void
uco__scheduler_end_stale(void)
{
    uco__panic(
        "a coroutine returned in a child of fork(): the child must end with _exit() or exec()");
}

/* Back to whoever started the current fiber eagerly. */
static UCO__NOINLINE struct uco__fiber *
scheduler_pick_eager(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;
    struct uco__fiber *fiber = scheduler->eager;

    scheduler->eager = NULL;
    scheduler->eager_home = false;
    scheduler->current = fiber;
    uco__scheduler_set_pace(loop);
    return fiber;
}

/* A new turn, without going home: nothing there would be done that cannot wait for the end of the
 * budget. False if there is nothing, or something for home. */
static inline bool
scheduler_renew(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;

    if (uco__ready_queue_empty(&scheduler->ready) || loop->until_done ||
        !uco__inbox_empty(&loop->inbox) || uco__wheel_is_due(&loop->timers.wheel) ||
        atomic_load_explicit(&loop->stopping, memory_order_relaxed))
        return false;
    uco__scheduler_renew(scheduler);
    return true;
}

/* Whether there is a fiber to go on with right away: the head of the batch then has its stack. */
static inline bool
scheduler_has_next(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;
    struct uco__fiber *fiber;

    if (UCO__UNLIKELY(scheduler->budget == 0))
        return false;
    if (uco__ready_queue_empty(&scheduler->batch) && !scheduler_renew(loop))
        return false;
    if (UCO__UNLIKELY(scheduler->batch.head->run != NULL))
        return false;
    fiber = uco__fiber_of(scheduler->batch.head);
    return uco__fiber_has_stack(fiber) ||
           fiber_take_stack(fiber, uco__stack_take_pooled(fiber->pool));
}

/* A step that takes a microsecond or more, as one with a system call does, leaves little in the
 * caches of what comes after it: the frames of the next fiber are fetched while this one runs. */
static inline void
scheduler_prefetch(const struct uco__scheduler *scheduler)
{
    struct uco__ready *next = scheduler->batch.head;
    uintptr_t frames;

    if (next == NULL || next->run != NULL)
        return;
    frames = (uintptr_t) uco__fiber_of(next)->context.sp - PREFETCH_BELOW;
    for (unsigned offset = 0; offset < PREFETCH_BYTES; offset += UCO__CACHE_LINE)
        __builtin_prefetch((const void *) (frames + offset));
    __builtin_prefetch(next->next);
}

/* What runs now that the current fiber stops; NULL: home. */
static inline struct uco__fiber *
scheduler_pick(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;
    struct uco__fiber *fiber;

    if (UCO__UNLIKELY(scheduler->eager != NULL || scheduler->eager_home))
        return scheduler_pick_eager(loop);
    if (UCO__UNLIKELY(!scheduler_has_next(loop))) {
        scheduler->current = NULL;
        return NULL;
    }
    fiber = uco__fiber_of(uco__ready_queue_pop(&scheduler->batch));
    scheduler_prefetch(scheduler);
    scheduler->current = fiber;
    scheduler->budget--;
    return fiber;
}

UCO__NOINLINE void
uco__scheduler_leave_slowly(struct uco_loop *loop, struct uco__fiber *fiber)
{
    struct uco__belongings belongings;
    struct uco__fiber *to;

    uco__foreign_check_stack(loop, loop->options.debug);
    if (loop->timed)
        uco__scheduler_step_end(loop, fiber);
    to = scheduler_pick(loop);
    if (to == fiber)
        return;
    uco__foreign_take(&loop->foreign, &belongings);
    switch_to(&loop->scheduler, &fiber->context, fiber->stack, to, false);
    uco__foreign_put(&loop->foreign, &belongings);
}

void
uco__scheduler_set_pace(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;

    /* Debug mode looks at each switch whether it is where it should be. */
    scheduler->slowly = loop->timed || loop->options.debug || scheduler->eager != NULL ||
                        scheduler->eager_home || loop->until_done ||
                        atomic_load_explicit(&loop->stopping, memory_order_relaxed) ||
                        !UCO__SWITCH_QUICK || uco__context_by_ucontext;
}

UCO__NOINLINE void
uco__scheduler_end_slowly(struct uco_loop *loop, struct uco__stack *stack)
{
    struct uco__fiber *to = scheduler_pick(loop);

    if (to == NULL || to->stack != stack)
        switch_to(&loop->scheduler, &stack->context, stack, to, true);
}

static UCO__COLD void
report_unguarded(struct uco_loop *loop)
{
    loop->unguarded_reported = true;
    uco__report(loop, NULL,
                "the system gives no more guard pages: stacks are made without, and an overflow is "
                "seen only when the task ends (uco_stats counts them; raising vm.max_map_count "
                "helps)");
}

/* Home: runs a fiber until home's turn comes again. */
static void
scheduler_resume(struct uco_loop *loop, struct uco__fiber *fiber)
{
    struct uco__scheduler *scheduler = &loop->scheduler;

    if (!uco__fiber_has_stack(fiber) && !fiber_take_stack(fiber, uco__stack_take(fiber->pool))) {
        fiber->ready.state = UCO__FIBER_ENDED;
        loop->operations->fiber->no_stack(fiber);
        return;
    }
    if (UCO__UNLIKELY(loop->stacks.unguarded > 0 && !loop->unguarded_reported))
        report_unguarded(loop);
    scheduler->current = fiber;
    switch_to(scheduler, &scheduler->home.context, &scheduler->home, fiber, false);
}

static void
scheduler_call_now(struct uco_loop *loop, struct uco__ready *node)
{
    node->run(node);
    if (UCO__UNLIKELY(loop->scheduler.current != NULL))
        uco__foreign_strayed();
    uco__foreign_drop(&loop->foreign);
    if (UCO__UNLIKELY(loop->timed))
        uco__scheduler_step_end(loop, NULL);
}

/* One more step, which is no switch. */
static inline void
scheduler_count_call(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;

    if (UCO__UNLIKELY(scheduler->budget == 0))
        uco__loop_breathe(loop);
    scheduler->budget--;
    scheduler->switches--;
}

void
uco__scheduler_next_call(struct uco_loop *loop)
{
    if (UCO__UNLIKELY(loop->timed))
        uco__scheduler_step_end(loop, NULL);
    scheduler_count_call(loop);
}

UCO__NOINLINE void
uco__scheduler_turn(struct uco_loop *loop)
{
    struct uco__scheduler *scheduler = &loop->scheduler;

    UCO__FOREIGN_BARRIER();
    if (uco__ready_queue_empty(&scheduler->batch))
        uco__scheduler_renew(scheduler);
    if (loop->timed)
        loop->step_began = uco__loop_step_clock(loop);
    for (;;) {
        struct uco__ready *node = uco__ready_queue_pop(&scheduler->batch);

        if (node == NULL)
            return;
        if (node->run != NULL) {
            scheduler_count_call(loop);
            scheduler_call_now(loop, node);
            continue;
        }
        if (UCO__UNLIKELY(scheduler->budget == 0))
            uco__loop_breathe(loop);
        scheduler->budget--;
        scheduler_resume(loop, uco__fiber_of(node));
    }
}

/* --- what fibers and callbacks do --- */

enum uco__abort
uco__wait_abort_plain(struct uco__wait *wait)
{
    (void) wait;
    return UCO__UNLINKED;
}

intptr_t
uco__park(struct uco__wait *wait)
{
    return uco__park_here(uco__running, wait);
}

bool
uco__interrupt(struct uco__fiber *fiber, intptr_t result)
{
    struct uco__wait *wait = fiber->wait;

    if (wait == NULL || wait->abort == NULL || wait->abort(wait) == UCO__TOO_LATE)
        return false;
    return uco__wake(wait, result);
}

int
uco__scheduler_yield(struct uco_loop *loop)
{
    struct uco__fiber *fiber = loop->scheduler.current;

    uco__ready_queue_push_open(&loop->scheduler.ready, &fiber->ready);
    uco__scheduler_leave(loop, fiber);
    return 0;
}

void
uco__scheduler_start(struct uco_loop *loop, struct uco__fiber *fiber)
{
    UCO__ASSERT(fiber->ready.state == UCO__FIBER_NEW);
    fiber->ready.state = UCO__FIBER_STARTED;
    uco__ready_queue_push(&loop->scheduler.ready, &fiber->ready);
}

void
uco__scheduler_start_eager(struct uco_loop *loop, struct uco__fiber *fiber)
{
    struct uco__scheduler *scheduler = &loop->scheduler;
    struct uco__fiber *parent = scheduler->current;
    struct uco__fiber *outer = scheduler->eager;
    bool outer_home = scheduler->eager_home;
    int saved_errno = *loop->errno_location;
    struct uco__belongings belongings;

    uco__foreign_take(&loop->foreign, &belongings);
    scheduler->eager = parent;
    scheduler->eager_home = parent == NULL;
    if (fiber_take_stack(fiber, uco__stack_take(fiber->pool))) {
        *loop->errno_location = 0;
        fiber->ready.state = UCO__FIBER_STARTED;
        scheduler->current = fiber;
        scheduler->switches++;
        uco__scheduler_set_pace(loop);
        if (parent != NULL)
            switch_to(scheduler, &parent->context, parent->stack, fiber, false);
        else
            switch_to(scheduler, &scheduler->home.context, &scheduler->home, fiber, false);
    } else {
        fiber->ready.state = UCO__FIBER_ENDED;
        parent = uco__scheduler_callback_begin(loop);
        loop->operations->fiber->no_stack(fiber);
        uco__scheduler_callback_end(loop, parent);
    }
    scheduler->eager = outer;
    scheduler->eager_home = outer_home;
    uco__scheduler_set_pace(loop);
    *loop->errno_location = saved_errno;
    uco__foreign_put(&loop->foreign, &belongings);
}

struct uco__fiber *
uco__scheduler_callback_begin(struct uco_loop *loop)
{
    struct uco__fiber *current = loop->scheduler.current;

    loop->scheduler.detours += current != NULL;
    loop->scheduler.current = NULL;
    return current;
}

void
uco__scheduler_callback_end(struct uco_loop *loop, struct uco__fiber *current)
{
    loop->scheduler.detours -= current != NULL;
    loop->scheduler.current = current;
}

void
uco__scheduler_call(struct uco_loop *loop, struct uco__ready *node)
{
    uco__ready_queue_push(&loop->scheduler.ready, node);
}
