/* SPDX-License-Identifier: MIT */

/*
 * Scopes.
 *
 * 1. A task's open scopes form a chain from the root inwards; task->scope is the innermost.
 * 2. `effective` of a scope says whether it, or one outside of it up to the nearest shield, is
 *    cancelled; so the innermost's is the task's answer. It only ever turns true.
 * 3. `reach` is the earliest deadline among the same scopes, so that a checkpoint has one number to
 *    look at. It counts only while none of them is cancelled.
 * 4. `cut` is brought up to date from the inside outwards as scopes close, so that depth costs
 *    nothing.
 * 5. A ticket is the loop's number and a slot's index, and the number of this use of the slot. A
 *    slot that is used again has another number, so an old ticket is recognised and no pointer into
 *    a dead frame exists.
 *
 * Scopes were first thought of as structs in the user's frame. Then an early return leaves a
 * pointer to it, in C an easy mistake that nobody would find.
 */

#include "task/scope.h"

#include "base/system.h"
#include "core/report.h"
#include "task/runtime.h"
#include "task/task.h"

#include <math.h>

#define CHUNK_SLOTS 64

static void
scope_fire(struct uco__timer *timer)
{
    uco__scope_cancel_now(&UCO__CONTAINER(timer, struct uco__scope_slot, timer)->scope,
                          UCO__SCOPE_EXPIRED);
}

/* Of any scope but a root. */
static struct uco__scope_slot *
slot_of(struct uco__scope *scope)
{
    return UCO__CONTAINER(scope, struct uco__scope_slot, scope);
}

static bool
scope_outer_effective(const struct uco__scope *scope)
{
    return scope->outer != NULL && !scope->shield && scope->outer->effective;
}

/* What a checkpoint asks, kept where it costs nothing to ask. */
static void
scope_update_attention(struct uco__task *task)
{
    uco__task_fiber(task)->ready.attention =
        task->scope->effective || task->scope->reach != UCO__NEVER;
}

/* A deadline changed: from this scope inwards, as far as it reaches. */
static void
scope_update_reach(struct uco__scope *scope)
{
    struct uco__task *task = scope->task;

    for (; scope != NULL; scope = scope->inner) {
        uint64_t outer = scope->outer != NULL && !scope->shield ? scope->outer->reach : UCO__NEVER;

        scope->reach = scope->deadline < outer ? scope->deadline : outer;
    }
    scope_update_attention(task);
}

static void
scope_set_deadline(struct uco__scope *scope, double timeout)
{
    struct uco_loop *loop = scope->task->future.loop;

    uco__timer_stop(loop, &slot_of(scope)->timer);
    scope->deadline = uco__clock_after(uco__loop_now(loop), timeout);
    scope_update_reach(scope);
    if (timeout <= 0)
        uco__scope_cancel_now(scope, UCO__SCOPE_EXPIRED);
    else
        uco__timer_start(loop, &slot_of(scope)->timer, scope->deadline);
}

static void
scope_push(struct uco__task *task, struct uco__scope *scope, double timeout, bool shield)
{
    scope->task = task;
    scope->outer = task->scope;
    scope->inner = NULL;
    scope->cause = UCO__SCOPE_ALIVE;
    scope->shield = shield;
    scope->cut = task->scope->cut;
    scope->effective = scope_outer_effective(scope);
    uco__timer_init(&slot_of(scope)->timer, scope_fire);
    task->scope->inner = scope;
    task->scope = scope;
    scope_set_deadline(scope, timeout);
}

void
uco__scope_cancel_now(struct uco__scope *scope, enum uco__scope_cause cause)
{
    if (scope->cause != UCO__SCOPE_ALIVE)
        return;
    scope->cause = (unsigned char) cause;
    if (scope->deadline != UCO__NEVER) {
        uco__timer_stop(scope->task->future.loop, &slot_of(scope)->timer);
        scope->deadline = UCO__NEVER; /* `reach` says nothing where `effective` is true */
    }
    scope->cancelled_at = scope->task->calls_cut;
    scope->effective = true;
    for (struct uco__scope *inner = scope->inner;
         inner != NULL && !inner->shield && !inner->effective; inner = inner->inner)
        inner->effective = true;
    scope_update_attention(scope->task);
    if (scope->task->scope->effective)
        uco__task_interrupt(scope->task);
}

bool
uco__scope_cancelled(struct uco__task *task)
{
    struct uco__scope *scope = task->scope;
    uint64_t now;

    if (scope->effective || UCO__LIKELY(scope->reach == UCO__NEVER))
        return scope->effective;
    now = uco__loop_now(task->future.loop);
    if (scope->reach > now)
        return false;
    /* The task computed past a deadline, before the loop could see to it. All that have passed
     * count, not only the first. */
    for (; scope != NULL; scope = scope->shield ? NULL : scope->outer) {
        if (scope->deadline <= now)
            uco__scope_cancel_now(scope, UCO__SCOPE_EXPIRED);
    }
    return task->scope->effective;
}

void
uco__scope_delivered(struct uco__task *task)
{
    task->scope->cut = ++task->calls_cut;
}

/* Whether one of the calls that were cut short inside a scope was by its cancellation. */
static bool
scope_has_cut(const struct uco__scope *scope)
{
    return scope->cause != UCO__SCOPE_ALIVE && (int32_t) (scope->cut - scope->cancelled_at) > 0;
}

/* --- slots and tickets --- */

static void
slot_push(struct uco__scope_slots *slots, struct uco__scope_slot *slot)
{
    slot->scope.task = NULL;
    slot->scope.outer = slots->free != NULL ? &slots->free->scope : NULL;
    slots->free = slot;
}

bool
uco__scope_slots_grow(struct uco__scope_slots *slots)
{
    struct uco__scope_slot **chunks =
        uco__reallocate(slots->chunks, (slots->chunk_count + 1) * sizeof *chunks);
    struct uco__scope_slot *chunk;

    if (chunks == NULL)
        return false;
    slots->chunks = chunks;
    chunk = uco__allocate(CHUNK_SLOTS * sizeof *chunk);
    if (chunk == NULL)
        return false;
    for (size_t i = CHUNK_SLOTS; i-- > 0;) {
        chunk[i].index = (uint32_t) (slots->chunk_count * CHUNK_SLOTS + i);
        slot_push(slots, &chunk[i]);
    }
    chunks[slots->chunk_count++] = chunk;
    return true;
}

static struct uco__scope_slot *
slot_take(struct uco__scope_slots *slots)
{
    struct uco__scope_slot *slot;

    if (slots->free == NULL && !uco__scope_slots_grow(slots))
        return NULL;
    slot = slots->free;
    slots->free = slot->scope.outer != NULL ? slot_of(slot->scope.outer) : NULL;
    slot->serial = ++slots->serial;
    return slot;
}

void
uco__scope_slots_done(struct uco__scope_slots *slots)
{
    for (size_t i = 0; i < slots->chunk_count; i++)
        uco__free(slots->chunks[i]);
    uco__free(slots->chunks);
    slots->chunks = NULL;
    slots->chunk_count = 0;
}

/* The open scope that a ticket stands for, or NULL. */
static struct uco__scope *
slot_find(const struct uco__runtime *runtime, const uco_scope *s)
{
    const struct uco__scope_slots *slots = &runtime->scopes;
    uint32_t index = (uint32_t) s->ticket[0];
    struct uco__scope_slot *slot;

    if (s->ticket[0] >> 32 != runtime->loop.number || index / CHUNK_SLOTS >= slots->chunk_count)
        return NULL;
    slot = &slots->chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS];
    return slot->scope.task != NULL && slot->serial == s->ticket[1] ? &slot->scope : NULL;
}

/* The task leaves its innermost scope, which is not the root. */
static void
scope_pop(struct uco__task *task)
{
    struct uco__scope_slots *slots = &uco__runtime_of(task->future.loop)->scopes;
    struct uco__scope *scope = task->scope;

    uco__timer_stop(task->future.loop, &slot_of(scope)->timer);
    if (!scope->shield && (int32_t) (scope->cut - scope->outer->cut) > 0)
        scope->outer->cut = scope->cut;
    task->scope = scope->outer;
    task->scope->inner = NULL;
    scope_update_attention(task);
    if (!task->scope->effective)
        uco__task_fiber(task)->ready.ignored = 0;
    slot_push(slots, slot_of(scope));
}

static void
scope_pop_open(struct uco__task *task)
{
    const struct uco__scope_slot *slot = slot_of(task->scope);

    uco__report(
        task->future.loop, &task->future,
        "task '%s' left a %s open that it began at %s:%d: close each with uco_scope_close()",
        uco__task_name(task), slot->scope.shield ? "shield" : "scope",
        slot->file != NULL ? slot->file : "?", slot->line);
    scope_pop(task);
}

void
uco__scope_close_all(struct uco__task *task)
{
    while (task->scope != &task->root)
        scope_pop_open(task);
}

/* --- the API --- */

static int
scope_open(const char *file, int line, uco_scope *s, double timeout, bool shield)
{
    struct uco__task *task;
    struct uco__scope_slot *slot;
    int error;

    if (s == NULL || isnan(timeout))
        return uco__misuse(-EINVAL, "a scope needs a uco_scope and a time that is a number");
    task = uco__task_current(&error);
    if (task == NULL)
        return uco__misuse(error, "a scope can only be opened in a coroutine");
    slot = slot_take(&uco__runtime_of(task->future.loop)->scopes);
    if (slot == NULL)
        return -ENOMEM;
    slot->file = file;
    slot->line = line;
    scope_push(task, &slot->scope, timeout, shield);
    s->ticket[0] = (uint64_t) task->future.loop->number << 32 | slot->index;
    s->ticket[1] = slot->serial;
    return 0;
}

int
uco_scope_open_at(const char *file, int line, uco_scope *s, double timeout)
{
    return scope_open(file, line, s, timeout, false);
}

int
uco_shield_open_at(const char *file, int line, uco_scope *s, double budget)
{
    return scope_open(file, line, s, budget, true);
}

int(uco_scope_open)(uco_scope *s, double timeout)
{
    return scope_open(NULL, 0, s, timeout, false);
}

int(uco_shield_open)(uco_scope *s, double budget)
{
    return scope_open(NULL, 0, s, budget, true);
}

intptr_t
uco_scope_close(uco_scope *s, intptr_t result)
{
    struct uco__task *task;
    struct uco__scope *scope;
    enum uco__scope_cause cause;
    bool cut;
    int error;

    if (s == NULL)
        return uco__misuse(-EINVAL, "uco_scope_close: the scope is NULL");
    task = uco__task_current(&error);
    if (task == NULL)
        return uco__misuse(error, "uco_scope_close: not in a coroutine");
    scope = slot_find(uco__runtime_of(task->future.loop), s);
    if (scope == NULL || scope->task != task)
        return uco__misuse(-EINVAL, "uco_scope_close: not an open scope of this task");
    while (task->scope != scope)
        scope_pop_open(task);
    cut = scope_has_cut(scope);
    cause = cut && !scope_outer_effective(scope) ? scope->cause : UCO__SCOPE_ALIVE;
    scope_pop(task);
    if (result != -ECANCELED || cause == UCO__SCOPE_ALIVE) {
        /* An outer scope is cancelled too, and is why this -ECANCELED stays one: so it is the outer
         * one's to translate. */
        if (result == -ECANCELED && cut)
            uco__scope_delivered(task);
        return result;
    }
    return cause == UCO__SCOPE_EXPIRED ? -ETIMEDOUT : 0;
}

/* For calls that any code of the loop may make. */
static int
scope_find(const uco_scope *s, struct uco__scope **scope)
{
    struct uco_loop *loop;
    int error;

    if (s == NULL)
        return uco__misuse(-EINVAL, "the scope is NULL");
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__misuse(error, "scopes are used on their loop's thread");
    *scope = slot_find(uco__runtime_of(loop), s);
    /* No misuse: who cancels from outside may come late. */
    return *scope != NULL ? 0 : -EINVAL;
}

int
uco_scope_cancel(uco_scope *s)
{
    struct uco__scope *scope = NULL;
    int r = scope_find(s, &scope);

    if (r == 0)
        uco__scope_cancel_now(scope, UCO__SCOPE_CANCELLED);
    return r;
}

int
uco_scope_reschedule(uco_scope *s, double timeout)
{
    struct uco__scope *scope = NULL;
    int r;

    if (isnan(timeout))
        return uco__misuse(-EINVAL, "uco_scope_reschedule: the time is not a number");
    r = scope_find(s, &scope);
    if (r < 0)
        return r;
    if (scope->cause != UCO__SCOPE_ALIVE ||
        scope->deadline <= uco__loop_now(scope->task->future.loop))
        return -EALREADY;
    scope_set_deadline(scope, timeout);
    return 0;
}

intptr_t
uco_with_timeout(double seconds, uco_fn *fn, void *arg)
{
    uco_scope scope;
    intptr_t result;
    int error;
    const struct uco__task *task = uco__task_current(&error);

    if (task == NULL)
        return uco__misuse(error, "uco_with_timeout: not in a coroutine");
    if (fn == NULL)
        return uco__misuse(-EINVAL, "uco_with_timeout: the function is NULL");
    error = scope_open("in uco_with_timeout()", 0, &scope, seconds, false);
    if (error < 0)
        return error;
    result = fn(arg);
    /* fn may have closed a scope that encloses this call: that was reported. */
    return slot_find(uco__runtime_of(task->future.loop), &scope) != NULL
               ? uco_scope_close(&scope, result)
               : result;
}

bool
uco_cancelled(void)
{
    int error;
    struct uco__task *task = uco__task_current(&error);

    return task != NULL && uco__scope_cancelled(task);
}
