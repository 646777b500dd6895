/* SPDX-License-Identifier: MIT */

/*
 * Timers.
 *
 * 1. A ticket is a slot's index plus one, below the number of this use of the slot, so an old
 *    ticket is recognised.
 * 2. A slot is FREE, PENDING (in the wheel, or waiting for ever) or DUE (in the run queue, whose
 *    turn frees it). Cancelled while due it is DUE_CANCELLED: its turn then calls nothing.
 */

#include "core/timers.h"

#include "base/error.h"
#include "base/system.h"
#include "core/loop.h"
#include "core/report.h"

#include <math.h>

#define CHUNK_SLOTS 128

enum slot_state { SLOT_FREE, SLOT_PENDING, SLOT_DUE, SLOT_DUE_CANCELLED };

struct uco__timer_slot {
    struct uco__timer timer;
    struct uco__ready ready;
    struct uco_loop *loop;
    struct uco__timer_slot *next_free;
    uco_callback *callback;
    void *arg;
    uint32_t index;
    uint32_t generation;
    enum slot_state state;
};

void
uco__timers_init(struct uco__timers *timers, uint64_t now)
{
    timers->background = 0;
    timers->chunks = NULL;
    timers->chunk_count = 0;
    timers->free = NULL;
    uco__wheel_init(&timers->wheel, now);
}

void
uco__timers_done(struct uco__timers *timers)
{
    for (size_t i = 0; i < timers->chunk_count; i++)
        uco__free(timers->chunks[i]);
    uco__free(timers->chunks);
    timers->chunks = NULL;
    timers->chunk_count = 0;
    timers->free = NULL;
}

void
uco__timer_init(struct uco__timer *timer, void (*fire)(struct uco__timer *timer))
{
    uco__wheel_node_init(&timer->node);
    timer->fire = fire;
    timer->background = false;
}

void
uco__timer_start(struct uco_loop *loop, struct uco__timer *timer, uint64_t deadline)
{
    if (deadline == UCO__NEVER)
        return;
    loop->timers.background += timer->background;
    uco__wheel_insert(&loop->timers.wheel, &timer->node, deadline);
}

void
uco__timer_stop(struct uco_loop *loop, struct uco__timer *timer)
{
    if (!uco__timer_pending(timer))
        return;
    loop->timers.background -= timer->background;
    uco__wheel_remove(&loop->timers.wheel, &timer->node);
}

void
uco__timers_expire(struct uco_loop *loop, uint64_t now)
{
    struct uco__wheel_node *node;

    uco__wheel_advance(&loop->timers.wheel, now);
    while ((node = uco__wheel_pop(&loop->timers.wheel)) != NULL) {
        struct uco__timer *timer = UCO__CONTAINER(node, struct uco__timer, node);

        loop->timers.background -= timer->background;
        timer->fire(timer);
    }
}

/* --- tickets --- */

static void
slot_free(struct uco__timer_slot *slot)
{
    slot->state = SLOT_FREE;
    if (slot->generation == UINT32_MAX)
        return; /* its tickets have run out: a new one would look like the first */
    slot->next_free = slot->loop->timers.free;
    slot->loop->timers.free = slot;
}

static void
slot_run(struct uco__ready *node)
{
    struct uco__timer_slot *slot = UCO__CONTAINER(node, struct uco__timer_slot, ready);
    uco_callback *callback =
        slot->state == SLOT_DUE && !slot->loop->dropping ? slot->callback : NULL;
    void *arg = slot->arg;

    slot_free(slot);
    if (callback != NULL)
        callback(arg);
}

static void
slot_fire(struct uco__timer *timer)
{
    struct uco__timer_slot *slot = UCO__CONTAINER(timer, struct uco__timer_slot, timer);

    slot->state = SLOT_DUE;
    uco__scheduler_call(slot->loop, &slot->ready);
}

static bool
slots_grow(struct uco_loop *loop)
{
    struct uco__timers *timers = &loop->timers;
    struct uco__timer_slot **chunks = uco__reallocate(
        timers->chunks, (timers->chunk_count + 1) * sizeof(struct uco__timer_slot *));
    struct uco__timer_slot *chunk;

    if (chunks == NULL)
        return false;
    timers->chunks = chunks;
    chunk = uco__allocate(CHUNK_SLOTS * sizeof *chunk);
    if (chunk == NULL)
        return false;
    for (size_t i = CHUNK_SLOTS; i-- > 0;) {
        chunk[i].loop = loop;
        chunk[i].index = (uint32_t) (timers->chunk_count * CHUNK_SLOTS + i);
        chunk[i].ready.run = slot_run;
        chunk[i].next_free = timers->free;
        timers->free = &chunk[i];
    }
    chunks[timers->chunk_count++] = chunk;
    return true;
}

static uco_timer
timer_new(uco_loop *loop, uint64_t now, uint64_t deadline, uco_callback *cb, void *arg)
{
    struct uco__timer_slot *slot;

    if (loop->timers.free == NULL && !slots_grow(loop)) {
        uco__error_null(-ENOMEM);
        return 0;
    }
    slot = loop->timers.free;
    loop->timers.free = slot->next_free;
    slot->generation++;
    slot->callback = cb;
    slot->arg = arg;
    slot->state = SLOT_PENDING;
    uco__timer_init(&slot->timer, slot_fire);
    /* What is over already runs in the next turn, after what was due before it. */
    if (deadline <= now)
        uco__wheel_advance(&loop->timers.wheel, now);
    uco__timer_start(loop, &slot->timer, deadline);
    return (uint64_t) slot->generation << 32 | (slot->index + 1);
}

static int
timer_check(const uco_loop *loop, double time, uco_callback *cb)
{
    if (loop == NULL || cb == NULL || isnan(time))
        return uco__misuse(-EINVAL, "a timer needs a loop, a callback and a time that is a number");
    int r = uco__loop_check(loop);

    return r == 0 && loop->ending ? -ESHUTDOWN : r;
}

uco_timer
uco_loop_call_later(uco_loop *loop, double seconds, uco_callback *cb, void *arg)
{
    int r = timer_check(loop, seconds, cb);
    uint64_t now;

    if (r < 0) {
        uco__error_null(r);
        return 0;
    }
    now = uco__loop_now(loop);
    return timer_new(loop, now, uco__clock_after(now, seconds), cb, arg);
}

uco_timer
uco_loop_call_at(uco_loop *loop, double when, uco_callback *cb, void *arg)
{
    int r = timer_check(loop, when, cb);

    if (r < 0) {
        uco__error_null(r);
        return 0;
    }
    return timer_new(loop, uco__loop_now(loop), uco__clock_from_seconds(when), cb, arg);
}

int
uco_timer_cancel(uco_loop *loop, uco_timer timer)
{
    uint32_t index = (uint32_t) timer - 1;
    struct uco__timer_slot *slot;
    int r = loop == NULL ? -EINVAL : uco__loop_check(loop);

    if (r < 0)
        return r;
    if ((uint32_t) timer == 0 || index / CHUNK_SLOTS >= loop->timers.chunk_count)
        return -EINVAL;
    slot = &loop->timers.chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS];
    if (timer >> 32 > slot->generation || timer >> 32 == 0)
        return -EINVAL;
    if (timer >> 32 != slot->generation || (slot->state != SLOT_PENDING && slot->state != SLOT_DUE))
        return -EALREADY;
    if (slot->state == SLOT_DUE) {
        slot->state = SLOT_DUE_CANCELLED; /* the run queue still has it */
        return 0;
    }
    uco__timer_stop(loop, &slot->timer);
    slot_free(slot);
    return 0;
}
