/* SPDX-License-Identifier: MIT */

/*
 * Events. The model: a flag, and a line of which nobody is left when it is set.
 */

#include "fuzz.h"

enum { WAIT = FUZZ_TARGET_KINDS, SET, CLEAR };

struct state {
    uco_event real;
    bool is_set;
    struct fuzz_line line;
};

static void
event_begin(struct fuzz_world *world, struct fuzz_input *input)
{
    (void) world;
    (void) input;
}

static void
event_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
             struct fuzz_operation *operation)
{
    uint8_t choice = fuzz_byte(input);

    (void) world;
    operation->kind = WAIT;
    if (actor == FUZZ_DRIVER || choice % 4 == 0)
        operation->kind = choice >= 128 ? CLEAR : SET;
}

static void
event_wait(struct fuzz_world *world, int actor, struct state *state)
{
    fuzz_log(world, actor, "waits");
    if (fuzz_enter(world, actor)) {
        if (state->is_set) {
            fuzz_decide(world, actor, 0);
        } else {
            fuzz_line_push(&state->line, actor);
            fuzz_wait(world, actor);
        }
    }
    fuzz_return(world, actor, uco_event_wait(&state->real));
}

static void
event_perform(struct fuzz_world *world, int actor, const struct fuzz_operation *operation)
{
    struct state *state = fuzz_state(world);

    if (operation->kind == WAIT) {
        event_wait(world, actor, state);
        return;
    }
    state->is_set = operation->kind == SET;
    fuzz_log(world, actor, "%s the event", state->is_set ? "sets" : "clears");
    if (state->is_set)
        fuzz_line_decide_all(world, &state->line, 0);
    fuzz_expect(world, actor, 0,
                state->is_set ? uco_event_set(&state->real) : uco_event_clear(&state->real));
}

static bool
event_leave(struct fuzz_world *world, int worker, intptr_t result)
{
    struct state *state = fuzz_state(world);

    (void) result;
    fuzz_line_remove(&state->line, worker);
    return true;
}

static void
event_died(struct fuzz_world *world, int worker)
{
    (void) world;
    (void) worker;
}

static void
event_check(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    fuzz_same(world, "whether the event is set", uco_event_is_set(&state->real), state->is_set);
}

static void
event_end(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    fuzz_same(world, "a waiter's being left", state->real.waiters.first != NULL, false);
}

const struct fuzz_target fuzz_event = {
    .name = "event",
    .begin = event_begin,
    .choose = event_choose,
    .perform = event_perform,
    .leave = event_leave,
    .died = event_died,
    .check = event_check,
    .end = event_end,
};
