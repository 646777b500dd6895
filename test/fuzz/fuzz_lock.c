/* SPDX-License-Identifier: MIT */

/*
 * Locks, several of them. The model: an owner, a line, and whether the lock is broken.
 */

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#define LOCKS_MAX 3

/* `a` is the lock. */
enum { ACQUIRE = FUZZ_TARGET_KINDS, TRY_ACQUIRE, RELEASE, REPAIR };

struct lock {
    uco_lock real;
    int owner;
    bool broken;
    struct fuzz_line line;
};

struct state {
    int count;
    struct lock locks[LOCKS_MAX];
};

static void
lock_begin(struct fuzz_world *world, struct fuzz_input *input)
{
    struct state *state = fuzz_state(world);

    state->count = 1 + fuzz_below(input, LOCKS_MAX);
    for (int i = 0; i < state->count; i++)
        state->locks[i].owner = FUZZ_NOBODY;
}

static void
lock_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
            struct fuzz_operation *operation)
{
    static const int choices[8] = {ACQUIRE, ACQUIRE, RELEASE,     ACQUIRE,
                                   RELEASE, RELEASE, TRY_ACQUIRE, REPAIR};
    const struct state *state = fuzz_state(world);
    uint8_t choice = fuzz_byte(input);

    operation->kind = choices[choice % 8];
    operation->a = choice / 8 % state->count;
    if (actor == FUZZ_DRIVER && operation->kind == ACQUIRE)
        operation->kind = TRY_ACQUIRE;
    else if (actor != FUZZ_DRIVER && operation->kind == REPAIR)
        operation->kind = ACQUIRE;
}

/* What one who wants the lock finds. -EBUSY: it is another's. */
static int
lock_take(struct lock *lock, int actor)
{
    if (actor == FUZZ_CALLBACK)
        return -EPERM;
    if (lock->broken)
        return -EOWNERDEAD;
    if (lock->owner == actor)
        return -EDEADLK;
    if (lock->owner != FUZZ_NOBODY)
        return -EBUSY;
    lock->owner = actor;
    return 0;
}

static void
lock_acquire(struct fuzz_world *world, int actor, struct lock *lock)
{
    if (fuzz_enter(world, actor)) {
        int r = lock_take(lock, actor);

        if (r == -EBUSY) {
            fuzz_line_push(&lock->line, actor);
            fuzz_wait(world, actor);
        } else {
            fuzz_decide(world, actor, r);
        }
    }
    fuzz_return(world, actor, uco_lock_acquire(&lock->real));
}

static void
lock_release(struct fuzz_world *world, int actor, struct lock *lock)
{
    int expected = lock->owner == actor ? 0 : -EPERM;

    if (expected == 0) {
        lock->owner = fuzz_line_pop(&lock->line);
        if (lock->owner != FUZZ_NOBODY)
            fuzz_decide(world, lock->owner, 0);
    }
    fuzz_expect(world, actor, expected, uco_lock_release(&lock->real));
}

/* What was broken is zeroed, when nobody is on the way out of it any more. */
static void
lock_repair(struct fuzz_world *world, struct lock *lock)
{
    if (!lock->broken)
        return;
    fuzz_settle(world);
    memset(&lock->real, 0, sizeof lock->real);
    lock->broken = false;
}

static void
lock_perform(struct fuzz_world *world, int actor, const struct fuzz_operation *operation)
{
    static const char *const names[] = {"acquires", "tries to acquire", "releases", "repairs"};
    struct state *state = fuzz_state(world);
    struct lock *lock = &state->locks[operation->a];

    fuzz_log(world, actor, "%s lock %d", names[operation->kind - ACQUIRE], operation->a);
    switch (operation->kind) {
    case ACQUIRE:
        lock_acquire(world, actor, lock);
        break;
    case TRY_ACQUIRE:
        fuzz_expect(world, actor, lock_take(lock, actor), uco_lock_try_acquire(&lock->real));
        break;
    case RELEASE:
        lock_release(world, actor, lock);
        break;
    default:
        lock_repair(world, lock);
    }
}

static bool
lock_leave(struct fuzz_world *world, int worker, intptr_t result)
{
    struct state *state = fuzz_state(world);

    (void) result;
    for (int i = 0; i < state->count; i++)
        fuzz_line_remove(&state->locks[i].line, worker);
    return true;
}

static void
lock_died(struct fuzz_world *world, int worker)
{
    struct state *state = fuzz_state(world);
    bool held = false;

    for (int i = 0; i < state->count; i++) {
        struct lock *lock = &state->locks[i];

        if (lock->owner != worker)
            continue;
        held = true;
        lock->owner = FUZZ_NOBODY;
        lock->broken = true;
        fuzz_line_decide_all(world, &lock->line, -EOWNERDEAD);
    }
    if (held)
        fuzz_allow_report(world);
}

static void
lock_check(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    for (int i = 0; i < state->count; i++) {
        fuzz_same(world, "whether the lock is held", uco_lock_is_held(&state->locks[i].real),
                  state->locks[i].owner != FUZZ_NOBODY);
    }
}

static void
lock_tidy(struct fuzz_world *world)
{
    struct state *state = fuzz_state(world);

    for (int i = 0; i < state->count; i++) {
        if (state->locks[i].owner == FUZZ_DRIVER)
            lock_release(world, FUZZ_DRIVER, &state->locks[i]);
    }
}

/* Each lock can be taken, unless it is broken. */
static void
lock_end(struct fuzz_world *world)
{
    struct state *state = fuzz_state(world);

    for (int i = 0; i < state->count; i++) {
        struct lock *lock = &state->locks[i];
        int expected = lock_take(lock, FUZZ_DRIVER);

        fuzz_same(world, "a waiter's being left", lock->real.waiters.first != NULL, false);
        fuzz_expect(world, FUZZ_DRIVER, expected, uco_lock_try_acquire(&lock->real));
        if (expected == 0)
            lock_release(world, FUZZ_DRIVER, lock);
    }
}

const struct fuzz_target fuzz_lock = {
    .name = "lock",
    .begin = lock_begin,
    .choose = lock_choose,
    .perform = lock_perform,
    .leave = lock_leave,
    .died = lock_died,
    .check = lock_check,
    .tidy = lock_tidy,
    .end = lock_end,
};
