/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_TIMERS_H
#define UCO_CORE_TIMERS_H

/*
 * A loop's timers: intrusive ones for the inside, and the tickets of uco_loop_call_later().
 *
 * A background timer (a reminder, a report) never keeps a virtual clock going on its own.
 */

#include "base/compiler.h"
#include "base/wheel.h"
#include "core/ready.h"

#include <stdbool.h>
#include <uco/loop.h>

struct uco_loop;

struct uco__timer {
    struct uco__wheel_node node;
    void (*fire)(struct uco__timer *timer); /* in the loop's turn; makes others ready, runs no
                                               user's code */
    bool background;
};

struct uco__timer_slot;

struct uco__timers {
    struct uco__wheel wheel;
    uint64_t background;             /* how many of the wheel's */
    struct uco__timer_slot **chunks; /* of tickets; slots do not move */
    size_t chunk_count;
    struct uco__timer_slot *free;
};

void uco__timers_init(struct uco__timers *timers, uint64_t now);
/* Drops what is pending. */
void uco__timers_done(struct uco__timers *timers);

UCO__EXPORT void uco__timer_init(struct uco__timer *timer, void (*fire)(struct uco__timer *timer));
/* Starts a timer that is not pending; UCO__NEVER starts nothing. */
UCO__EXPORT void uco__timer_start(struct uco_loop *loop, struct uco__timer *timer,
                                  uint64_t deadline);
/* Fine for one that is not pending. */
UCO__EXPORT void uco__timer_stop(struct uco_loop *loop, struct uco__timer *timer);

static inline bool
uco__timer_pending(const struct uco__timer *timer)
{
    return uco__wheel_node_pending(&timer->node);
}

/* Fires what is due. */
void uco__timers_expire(struct uco_loop *loop, uint64_t now);

#endif
