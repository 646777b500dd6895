/* SPDX-License-Identifier: MIT */

/*
 * Semaphores. The model: a number of permits, and a line; while somebody waits there is no permit.
 */

#include "fuzz.h"

#include <errno.h>

enum { ACQUIRE = FUZZ_TARGET_KINDS, TRY_ACQUIRE, RELEASE };

struct state {
    uco_semaphore real;
    int permits;
    struct fuzz_line line;
};

static void
semaphore_begin(struct fuzz_world *world, struct fuzz_input *input)
{
    struct state *state = fuzz_state(world);

    state->permits = fuzz_below(input, 4);
    fuzz_log(world, FUZZ_DRIVER, "makes a semaphore of %d", state->permits);
    fuzz_expect(world, FUZZ_DRIVER, 0, uco_semaphore_init(&state->real, (size_t) state->permits));
}

static void
semaphore_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
                 struct fuzz_operation *operation)
{
    static const int choices[8] = {ACQUIRE, ACQUIRE, RELEASE,     ACQUIRE,
                                   RELEASE, RELEASE, TRY_ACQUIRE, ACQUIRE};

    (void) world;
    operation->kind = choices[fuzz_below(input, 8)];
    if (actor == FUZZ_DRIVER && operation->kind == ACQUIRE)
        operation->kind = TRY_ACQUIRE;
}

static void
semaphore_acquire(struct fuzz_world *world, int actor, struct state *state)
{
    fuzz_log(world, actor, "acquires");
    if (fuzz_enter(world, actor)) {
        if (state->permits > 0) {
            state->permits--;
            fuzz_decide(world, actor, 0);
        } else {
            fuzz_line_push(&state->line, actor);
            fuzz_wait(world, actor);
        }
    }
    fuzz_return(world, actor, uco_semaphore_acquire(&state->real));
}

static void
semaphore_try_acquire(struct fuzz_world *world, int actor, struct state *state)
{
    int expected = state->permits > 0 ? 0 : -EAGAIN;

    fuzz_log(world, actor, "tries to acquire");
    if (state->permits > 0)
        state->permits--;
    fuzz_expect(world, actor, expected, uco_semaphore_try_acquire(&state->real));
}

static void
semaphore_release(struct fuzz_world *world, int actor, struct state *state)
{
    int who = fuzz_line_pop(&state->line);

    fuzz_log(world, actor, "releases");
    if (who != FUZZ_NOBODY)
        fuzz_decide(world, who, 0);
    else
        state->permits++;
    fuzz_expect(world, actor, 0, uco_semaphore_release(&state->real));
}

static void
semaphore_perform(struct fuzz_world *world, int actor, const struct fuzz_operation *operation)
{
    struct state *state = fuzz_state(world);

    if (operation->kind == ACQUIRE)
        semaphore_acquire(world, actor, state);
    else if (operation->kind == TRY_ACQUIRE)
        semaphore_try_acquire(world, actor, state);
    else
        semaphore_release(world, actor, state);
}

static bool
semaphore_leave(struct fuzz_world *world, int worker, intptr_t result)
{
    struct state *state = fuzz_state(world);

    (void) result;
    fuzz_line_remove(&state->line, worker);
    return true;
}

static void
semaphore_died(struct fuzz_world *world, int worker)
{
    (void) world;
    (void) worker;
}

static void
semaphore_check(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    fuzz_same(world, "the number of permits", (intmax_t) uco_semaphore_value(&state->real),
              state->permits);
}

/* What the model has is there, and no more. */
static void
semaphore_end(struct fuzz_world *world)
{
    struct state *state = fuzz_state(world);

    fuzz_same(world, "a waiter's being left", state->real.waiters.first != NULL, false);
    while (state->permits-- > 0)
        fuzz_expect(world, FUZZ_DRIVER, 0, uco_semaphore_try_acquire(&state->real));
    fuzz_expect(world, FUZZ_DRIVER, -EAGAIN, uco_semaphore_try_acquire(&state->real));
}

const struct fuzz_target fuzz_semaphore = {
    .name = "semaphore",
    .begin = semaphore_begin,
    .choose = semaphore_choose,
    .perform = semaphore_perform,
    .leave = semaphore_leave,
    .died = semaphore_died,
    .check = semaphore_check,
    .end = semaphore_end,
};
