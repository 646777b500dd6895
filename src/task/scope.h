/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_SCOPE_H
#define UCO_TASK_SCOPE_H

/* The cancel scope, the one mechanism of cancellation: a task's own root scope, timeouts and
 * shields are all scopes. */

#include "base/clock.h"
#include "core/timers.h"

#include <uco/scope.h>

struct uco__task;
struct uco__runtime;

enum uco__scope_cause { UCO__SCOPE_ALIVE, UCO__SCOPE_EXPIRED, UCO__SCOPE_CANCELLED };

struct uco__scope {
    struct uco__task *task;   /* NULL: a free slot */
    struct uco__scope *outer; /* NULL: the root scope. Of a free slot, the next one */
    struct uco__scope *inner; /* NULL: the innermost */
    uint64_t deadline;        /* loop's clock; UCO__NEVER: none, as the root's always is */
    uint64_t reach;           /* the earliest deadline among this scope and those that reach it */
    unsigned char cause;      /* enum uco__scope_cause */
    bool shield;              /* outer scopes do not reach it */
    bool effective;           /* this scope or one that reaches it is cancelled */
    /* Of the task's calls that were cut short: how many had been when the scope was cancelled, and
     * the last one inside it that is known of. */
    uint32_t cancelled_at;
    uint32_t cut;
};

/* A scope that a user holds a ticket of. */
struct uco__scope_slot {
    struct uco__scope scope;
    struct uco__timer timer;
    const char *file;
    int line;
    uint32_t index;
    uint64_t serial; /* of this use of the slot */
};

/* A loop's slots for the scopes that users hold tickets of. Slots do not move. */
struct uco__scope_slots {
    struct uco__scope_slot **chunks;
    size_t chunk_count;
    struct uco__scope_slot *free;
    uint64_t serial;
};

/* Makes some slots; false without memory. */
bool uco__scope_slots_grow(struct uco__scope_slots *slots);
void uco__scope_slots_done(struct uco__scope_slots *slots);

/* A task's outermost scope. */
static inline void
uco__scope_init_root(struct uco__scope *scope, struct uco__task *task)
{
    *scope = (struct uco__scope){.task = task, .deadline = UCO__NEVER, .reach = UCO__NEVER};
}

/* Cancels; wakes the task if it waits in a cancelled stretch. Nothing if it was cancelled before.
 */
void uco__scope_cancel_now(struct uco__scope *scope, enum uco__scope_cause cause);

/* Is the task in a cancelled scope now? Notices deadlines that have passed while it computed. */
bool uco__scope_cancelled(struct uco__task *task);
/* One of the task's calls is cut short. */
void uco__scope_delivered(struct uco__task *task);

/* Closes, and reports, what the task has left open. */
void uco__scope_close_all(struct uco__task *task);

#endif
