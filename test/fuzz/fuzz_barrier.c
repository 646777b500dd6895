/* SPDX-License-Identifier: MIT */

/*
 * Barriers. The model: a line that is let through when one comes who makes it full; broken or not.
 */

#include "fuzz.h"

#include <errno.h>

enum { WAIT = FUZZ_TARGET_KINDS, ABORT, RESET };

struct state {
    uco_barrier real;
    int parties;
    bool broken;
    struct fuzz_line line;
};

static void
barrier_begin(struct fuzz_world *world, struct fuzz_input *input)
{
    struct state *state = fuzz_state(world);

    state->parties = 1 + fuzz_below(input, 5);
    fuzz_log(world, FUZZ_DRIVER, "makes a barrier for %d", state->parties);
    fuzz_expect(world, FUZZ_DRIVER, 0, uco_barrier_init(&state->real, (size_t) state->parties));
}

static void
barrier_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
               struct fuzz_operation *operation)
{
    uint8_t choice = fuzz_byte(input);

    (void) world;
    operation->kind = WAIT;
    if (actor == FUZZ_DRIVER || choice % 16 == 0)
        operation->kind = choice >= 96 ? RESET : ABORT;
}

static void
barrier_wait(struct fuzz_world *world, int actor, struct state *state)
{
    fuzz_log(world, actor, "waits");
    if (fuzz_enter(world, actor)) {
        if (state->broken) {
            fuzz_decide(world, actor, -EPIPE);
        } else if (state->line.count + 1 == state->parties) {
            for (int place = 0; place < state->parties - 1; place++)
                fuzz_decide(world, fuzz_line_pop(&state->line), place);
            fuzz_decide(world, actor, state->parties - 1);
        } else {
            fuzz_line_push(&state->line, actor);
            fuzz_wait(world, actor);
        }
    }
    fuzz_return(world, actor, uco_barrier_wait(&state->real));
}

static void
barrier_perform(struct fuzz_world *world, int actor, const struct fuzz_operation *operation)
{
    struct state *state = fuzz_state(world);

    if (operation->kind == WAIT) {
        barrier_wait(world, actor, state);
        return;
    }
    state->broken = operation->kind == ABORT;
    fuzz_log(world, actor, "%s the barrier", state->broken ? "breaks" : "resets");
    fuzz_line_decide_all(world, &state->line, -EPIPE);
    fuzz_expect(world, actor, 0,
                state->broken ? uco_barrier_abort(&state->real) : uco_barrier_reset(&state->real));
}

static bool
barrier_leave(struct fuzz_world *world, int worker, intptr_t result)
{
    struct state *state = fuzz_state(world);

    (void) result;
    fuzz_line_remove(&state->line, worker);
    return true;
}

static void
barrier_died(struct fuzz_world *world, int worker)
{
    (void) world;
    (void) worker;
}

static void
barrier_check(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    fuzz_same(world, "the number of those who wait", (intmax_t) state->real.waiting,
              state->line.count);
}

static void
barrier_end(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    fuzz_same(world, "a waiter's being left", state->real.waiters.first != NULL, false);
}

const struct fuzz_target fuzz_barrier = {
    .name = "barrier",
    .begin = barrier_begin,
    .choose = barrier_choose,
    .perform = barrier_perform,
    .leave = barrier_leave,
    .died = barrier_died,
    .check = barrier_check,
    .end = barrier_end,
};
