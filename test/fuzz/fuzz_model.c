/* SPDX-License-Identifier: MIT */

/*
 * The model that all targets share: who is in which call, scopes and time.
 *
 * 1. All moments that the world makes are different (fuzz_moment()), so the model need not know in
 *    which order a loop fires what is due at the same time.
 */

#include "fuzz_world.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fuzz_verbose;
void (*fuzz_mismatched)(void) = abort;

/* --- input --- */

uint8_t
fuzz_byte(struct fuzz_input *input)
{
    return input->at < input->size ? input->data[input->at++] : 0;
}

int
fuzz_below(struct fuzz_input *input, int n)
{
    return fuzz_byte(input) % n;
}

bool
fuzz_at_end(const struct fuzz_input *input)
{
    return input->at >= input->size;
}

/* --- reports --- */

void *
fuzz_state(struct fuzz_world *world)
{
    return world->state;
}

const char *
fuzz_actor_name(int actor)
{
    static const char *const names[FUZZ_ACTORS] = {
        "w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "driver", "callback",
    };

    return names[actor];
}

void
fuzz_log(struct fuzz_world *world, int actor, const char *format, ...)
{
    va_list arguments;

    if (++world->operations > FUZZ_OPERATIONS_MAX)
        fuzz_mismatch(world, "it does not end");
    if (!fuzz_verbose)
        return;
    printf("%8.2f %-8s ", uco_time(), fuzz_actor_name(actor));
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void
fuzz_mismatch(struct fuzz_world *world, const char *format, ...)
{
    va_list arguments;

    printf("mismatch: %s: ", world->target->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    fuzz_mismatched();
    abort();
}

void
fuzz_same(struct fuzz_world *world, const char *what, intmax_t actual, intmax_t expected)
{
    if (actual != expected)
        fuzz_mismatch(world, "%s is %jd; the model says %jd", what, actual, expected);
}

void
fuzz_allow_report(struct fuzz_world *world)
{
    world->reports++;
}

uint64_t
fuzz_task_id(const struct fuzz_world *world, int actor)
{
    return uco_task_id(actor == FUZZ_DRIVER ? world->driver : world->workers[actor].task);
}

/* --- the model of scopes and calls --- */

bool
fuzz_scope_effective(const struct worker *w, int depth)
{
    for (int i = depth; i >= 0; i--) {
        if (w->scopes[i].cause != CAUSE_NONE)
            return true;
        if (w->scopes[i].shield)
            return false;
    }
    return false;
}

bool
fuzz_is_cancelled(const struct fuzz_world *world, int worker)
{
    return fuzz_scope_effective(&world->workers[worker], world->workers[worker].depth);
}

void
fuzz_scope_deliver(struct worker *w)
{
    for (int i = w->depth; i >= 0; i--) {
        if (w->scopes[i].cause != CAUSE_NONE)
            w->scopes[i].delivered = true;
        if (w->scopes[i].shield)
            return;
    }
}

/* Ends a wait from outside, by cancellation or its own deadline. */
static void
call_cut(struct fuzz_world *world, int worker, intptr_t result)
{
    struct call *call = &world->calls[worker];

    if (world->target->leave(world, worker, result))
        fuzz_decide(world, worker, result);
    call->cut = result == -ECANCELED;
}

void
fuzz_scope_cancel(struct worker *w, int depth, enum cause cause)
{
    struct fuzz_world *world = w->world;
    const struct call *call = &world->calls[w->index];

    if (w->scopes[depth].cause != CAUSE_NONE)
        return;
    w->scopes[depth].cause = cause;
    w->scopes[depth].deadline = 0;
    if (call->state == CALL_WAITS && !call->completing && fuzz_scope_effective(w, w->depth))
        call_cut(world, w->index, -ECANCELED);
}

/* The earliest deadline up to now, and whose; NULL: none. Depth -1 is the call's own. */
static struct worker *
deadline_first(struct fuzz_world *world, double now, int *depth)
{
    struct worker *first = NULL;
    double earliest = now;

    for (int i = 0; i < world->worker_count; i++) {
        struct worker *w = &world->workers[i];
        const struct call *call = &world->calls[i];

        if (call->state == CALL_WAITS && !call->completing && call->deadline != 0 &&
            call->deadline <= earliest) {
            first = w;
            earliest = call->deadline;
            *depth = -1;
        }
        for (int s = 1; s <= w->depth; s++) {
            if (w->scopes[s].deadline != 0 && w->scopes[s].deadline <= earliest) {
                first = w;
                earliest = w->scopes[s].deadline;
                *depth = s;
            }
        }
    }
    return first;
}

void
fuzz_catch_up(struct fuzz_world *world)
{
    double now = uco_time() + FUZZ_ROUNDING;
    struct worker *w;
    int depth = 0;

    if (world->target->sync != NULL)
        world->target->sync(world, false);
    while ((w = deadline_first(world, now, &depth)) != NULL) {
        if (depth >= 0)
            fuzz_scope_cancel(w, depth, CAUSE_EXPIRED);
        else
            call_cut(world, w->index, world->calls[w->index].at_deadline);
    }
    if (world->target->sync != NULL)
        world->target->sync(world, true);
}

double
fuzz_moment(struct fuzz_world *world, int quarters)
{
    return floor(uco_time() * 4) / 4 + 0.25 * (quarters > 0 ? quarters : 1) +
           FUZZ_MOMENT * ++world->moments;
}

bool
fuzz_enter(struct fuzz_world *world, int actor)
{
    struct call *call = &world->calls[actor];

    fuzz_catch_up(world);
    *call = (struct call){.state = CALL_NONE};
    if (actor >= FUZZ_DRIVER) { /* the driver makes no call that may suspend */
        fuzz_decide(world, actor, -EPERM);
        return false;
    }
    if (!fuzz_is_cancelled(world, actor))
        return true;
    fuzz_decide(world, actor, -ECANCELED);
    call->cut = true;
    return false;
}

void
fuzz_refuse(struct fuzz_world *world, int actor, intptr_t result)
{
    fuzz_catch_up(world);
    world->calls[actor] = (struct call){.state = CALL_DECIDED, .result = result};
}

void
fuzz_wait(struct fuzz_world *world, int worker)
{
    world->calls[worker].state = CALL_WAITS;
    if (fuzz_verbose)
        printf("%17s %s waits\n", "", fuzz_actor_name(worker));
}

void
fuzz_decide(struct fuzz_world *world, int actor, intptr_t result)
{
    world->calls[actor].state = CALL_DECIDED;
    world->calls[actor].result = result;
}

void
fuzz_complete(struct fuzz_world *world, int worker)
{
    world->calls[worker].state = CALL_WAITS;
    world->calls[worker].completing = true;
}

void
fuzz_deadline(struct fuzz_world *world, int worker, double when, intptr_t result)
{
    world->calls[worker].deadline = when;
    world->calls[worker].at_deadline = result;
}

bool
fuzz_waits(const struct fuzz_world *world, int worker)
{
    return world->calls[worker].state == CALL_WAITS;
}

uint64_t
fuzz_operations(const struct fuzz_world *world)
{
    return world->operations;
}

void
fuzz_return(struct fuzz_world *world, int actor, intptr_t actual)
{
    struct call *call = &world->calls[actor];

    fuzz_catch_up(world);
    if (fuzz_verbose)
        printf("%17s %s: %jd\n", "", fuzz_actor_name(actor), (intmax_t) actual);
    if (call->state != CALL_DECIDED)
        fuzz_mismatch(world, "%s returned %jd; the model says that it waits",
                      fuzz_actor_name(actor), (intmax_t) actual);
    if (call->result != actual)
        fuzz_mismatch(world, "%s returned %jd; the model says %jd", fuzz_actor_name(actor),
                      (intmax_t) actual, (intmax_t) call->result);
    call->state = CALL_NONE;
    if (actor >= FUZZ_WORKERS)
        return;
    world->workers[actor].last = actual;
    if (call->cut)
        fuzz_scope_deliver(&world->workers[actor]);
    if (call->completing && call->cut)
        world->workers[actor].vague = true;
}

void
fuzz_expect(struct fuzz_world *world, int actor, intptr_t expected, intptr_t actual)
{
    if (actual != expected)
        fuzz_mismatch(world, "%s's call returned %jd; the model says %jd", fuzz_actor_name(actor),
                      (intmax_t) actual, (intmax_t) expected);
}

/* --- lines --- */

void
fuzz_line_push(struct fuzz_line *line, int who)
{
    line->who[line->count++] = who;
}

bool
fuzz_line_remove(struct fuzz_line *line, int who)
{
    for (int i = 0; i < line->count; i++) {
        if (line->who[i] != who)
            continue;
        line->count--;
        memmove(&line->who[i], &line->who[i + 1], (size_t) (line->count - i) * sizeof(int));
        return true;
    }
    return false;
}

int
fuzz_line_pop(struct fuzz_line *line)
{
    int who = line->count > 0 ? line->who[0] : FUZZ_NOBODY;

    fuzz_line_remove(line, who);
    return who;
}

void
fuzz_line_decide_all(struct fuzz_world *world, struct fuzz_line *line, intptr_t result)
{
    int who;

    while ((who = fuzz_line_pop(line)) != FUZZ_NOBODY)
        fuzz_decide(world, who, result);
}
