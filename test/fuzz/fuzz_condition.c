/* SPDX-License-Identifier: MIT */

/*
 * Conditions that share a lock. The model: the lock's owner and line, and each condition's line.
 *
 * Who is notified moves over to the lock's line at once. Who is cancelled must take the lock again
 * too, but when it asks for it, now or when it runs next, is the library's choice: the model calls
 * it astray, and looks at the lock itself to see whether it was given to one of those. It may be
 * given to nobody who is astray before all who were in the line when that one was cancelled.
 */

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#define CONDITIONS 2
#define UNKNOWN (-2) /* the lock was given up, and it has not been looked who has it */

/* `a` is a condition, or what is done to the value; `b` how many, or the value waited for. */
enum { ACQUIRE = FUZZ_TARGET_KINDS, RELEASE, WAIT, WAIT_FOR, NOTIFY, NOTIFY_ALL, CHANGE, REPAIR };

struct waiter {
    bool predicate; /* it is in uco_condition_wait_for() */
    bool judging;   /* ... and has the lock: its predicate comes next */
    int wanted;     /* the least value it waits for */
    int condition;
    bool astray;
    int behind;      /* so many of the line must have the lock before */
    intptr_t result; /* in the lock's line: of its call, once it has the lock */
};

struct state {
    uco_lock lock;
    int owner;
    bool broken;
    struct fuzz_line line;
    uco_condition conditions[CONDITIONS];
    struct fuzz_line lines[CONDITIONS];
    struct waiter waiters[FUZZ_WORKERS];
    int value;
    struct fuzz_world *world;
};

static void
condition_begin(struct fuzz_world *world, struct fuzz_input *input)
{
    struct state *state = fuzz_state(world);

    (void) input;
    state->world = world;
    state->owner = FUZZ_NOBODY;
}

static void
condition_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
                 struct fuzz_operation *operation)
{
    static const int choices[16] = {ACQUIRE, ACQUIRE, ACQUIRE,  WAIT,   WAIT,    WAIT,
                                    ACQUIRE, WAIT,    WAIT_FOR, NOTIFY, RELEASE, RELEASE,
                                    CHANGE,  RELEASE, WAIT_FOR, RELEASE};
    static const int choices_driver[16] = {NOTIFY, NOTIFY, NOTIFY, NOTIFY,    NOTIFY, NOTIFY_ALL,
                                           NOTIFY, CHANGE, CHANGE, NOTIFY,    REPAIR, NOTIFY,
                                           CHANGE, NOTIFY, NOTIFY, NOTIFY_ALL};
    uint8_t choice = fuzz_byte(input);

    (void) world;
    operation->kind = (actor < FUZZ_WORKERS ? choices : choices_driver)[choice % 16];
    if (operation->kind == REPAIR && actor != FUZZ_DRIVER)
        operation->kind = CHANGE;
    operation->a = choice / 16 % CONDITIONS;
    operation->b = choice / 32;
}

/* --- the lock --- */

/* It has the lock: its call ends, or looks at its predicate. */
static void
condition_owns(struct state *state, int who)
{
    struct waiter *w;

    state->owner = who;
    if (who == FUZZ_NOBODY)
        return;
    w = &state->waiters[who];
    w->astray = false;
    if (w->predicate && w->result == 0)
        w->judging = true;
    else
        fuzz_decide(state->world, who, w->result);
}

/* One of the line is first, and those astray who were behind it come nearer. */
static int
line_pop(struct state *state)
{
    for (int i = 0; i < FUZZ_WORKERS; i++) {
        if (state->waiters[i].astray && state->waiters[i].behind > 0)
            state->waiters[i].behind--;
    }
    return fuzz_line_pop(&state->line);
}

/* One who has only waited for the lock waits no more. */
static void
line_leave(struct state *state, int who)
{
    int place = 0;

    while (place < state->line.count && state->line.who[place] != who)
        place++;
    if (!fuzz_line_remove(&state->line, who))
        return;
    for (int i = 0; i < FUZZ_WORKERS; i++) {
        if (state->waiters[i].astray && state->waiters[i].behind > place)
            state->waiters[i].behind--;
    }
}

static int
lock_owner(const struct state *state)
{
    if (!uco_lock_is_held(&state->lock))
        return FUZZ_NOBODY;
    for (int i = 0; i <= FUZZ_DRIVER; i++) {
        if (fuzz_task_id(state->world, i) == state->lock.owner)
            return i;
    }
    fuzz_mismatch(state->world, "a stranger holds the lock");
}

static void
condition_sync(struct fuzz_world *world, bool late)
{
    struct state *state = fuzz_state(world);
    int owner = lock_owner(state);
    bool astray = owner != FUZZ_NOBODY && owner < FUZZ_WORKERS && state->waiters[owner].astray &&
                  state->waiters[owner].behind == 0;

    if (owner == state->owner)
        return;
    if (astray && (state->owner == UNKNOWN || state->owner == FUZZ_NOBODY)) {
        condition_owns(state, owner);
        return;
    }
    if (state->owner == UNKNOWN && (state->line.count > 0 || owner == FUZZ_NOBODY)) {
        if (owner != (state->line.count > 0 ? state->line.who[0] : FUZZ_NOBODY))
            fuzz_mismatch(world, "the lock was handed to actor %d", owner);
        condition_owns(state, line_pop(state));
        return;
    }
    if (late)
        fuzz_mismatch(world, "actor %d has the lock; the model says actor %d", owner, state->owner);
    if (state->owner == UNKNOWN)
        state->owner = FUZZ_NOBODY; /* the present one will turn out to be astray */
}

/* A waiter wants the lock back; its call then ends with result. */
static void
lock_request(struct state *state, int who, intptr_t result)
{
    state->waiters[who].result = result;
    fuzz_complete(state->world, who);
    if (state->broken)
        fuzz_decide(state->world, who, -EOWNERDEAD);
    else if (state->owner == FUZZ_NOBODY)
        condition_owns(state, who);
    else
        fuzz_line_push(&state->line, who);
}

static void
lock_acquire(struct fuzz_world *world, int actor, struct state *state)
{
    fuzz_log(world, actor, "acquires the lock");
    if (fuzz_enter(world, actor)) {
        state->waiters[actor] = (struct waiter){.result = 0};
        if (state->broken) {
            fuzz_decide(world, actor, -EOWNERDEAD);
        } else if (state->owner == actor) {
            fuzz_decide(world, actor, -EDEADLK);
        } else if (state->owner == FUZZ_NOBODY) {
            condition_owns(state, actor);
        } else {
            fuzz_line_push(&state->line, actor);
            fuzz_wait(world, actor);
        }
    }
    fuzz_return(world, actor, uco_lock_acquire(&state->lock));
}

static void
lock_release(struct fuzz_world *world, int actor, struct state *state)
{
    int expected = state->owner == actor ? 0 : -EPERM;

    fuzz_log(world, actor, "releases the lock");
    if (expected == 0)
        state->owner = UNKNOWN;
    fuzz_expect(world, actor, expected, uco_lock_release(&state->lock));
    condition_sync(world, true);
}

/* --- the conditions --- */

/* The owner lets go of the lock, and waits. */
static void
condition_sleep(struct state *state, int who)
{
    state->owner = UNKNOWN;
    fuzz_line_push(&state->lines[state->waiters[who].condition], who);
    fuzz_wait(state->world, who);
}

struct predicate {
    struct state *state;
    int who;
};

/* Called with the lock: the model's call goes on from here. */
static bool
condition_predicate(void *arg)
{
    const struct predicate *predicate = arg;
    struct state *state = predicate->state;
    struct fuzz_world *world = state->world;
    int who = predicate->who;
    struct waiter *w = &state->waiters[who];

    condition_sync(world, true);
    fuzz_log(world, who, "looks whether %d is %d", state->value, w->wanted);
    if (!w->judging)
        fuzz_mismatch(world, "w%d's predicate was called; the model says that it waits", who);
    w->judging = false;
    if (state->value >= w->wanted)
        fuzz_decide(world, who, 0);
    else if (fuzz_enter(world, who))
        condition_sleep(state, who);
    return state->value >= w->wanted;
}

static void
condition_wait(struct fuzz_world *world, int who, struct state *state,
               const struct fuzz_operation *operation)
{
    struct predicate predicate = {.state = state, .who = who};
    bool is_for = operation->kind == WAIT_FOR;
    uco_condition *c = &state->conditions[operation->a];

    if (is_for)
        fuzz_log(world, who, "waits for condition %d, and %d", operation->a, operation->b);
    else
        fuzz_log(world, who, "waits for condition %d", operation->a);
    if (state->owner != who) {
        fuzz_refuse(world, who, -EPERM);
    } else if (fuzz_enter(world, who)) {
        state->waiters[who] = (struct waiter){
            .predicate = is_for,
            .judging = is_for,
            .wanted = operation->b,
            .condition = operation->a,
        };
        if (is_for)
            fuzz_complete(world, who);
        else
            condition_sleep(state, who);
    }
    fuzz_return(world, who,
                is_for ? uco_condition_wait_for(c, &state->lock, condition_predicate, &predicate)
                       : uco_condition_wait(c, &state->lock));
}

static void
condition_notify(struct fuzz_world *world, int actor, struct state *state,
                 const struct fuzz_operation *operation)
{
    bool all = operation->kind == NOTIFY_ALL;
    int n = all ? FUZZ_WORKERS : operation->b % 4;
    uco_condition *c = &state->conditions[operation->a];

    if (all)
        fuzz_log(world, actor, "notifies all of condition %d", operation->a);
    else
        fuzz_log(world, actor, "notifies %d of condition %d", n, operation->a);
    for (; n > 0 && state->lines[operation->a].count > 0; n--)
        lock_request(state, fuzz_line_pop(&state->lines[operation->a]), 0);
    fuzz_expect(world, actor, 0,
                all ? uco_condition_notify_all(c)
                    : uco_condition_notify(c, (size_t) (operation->b % 4)));
}

static void
condition_perform(struct fuzz_world *world, int actor, const struct fuzz_operation *operation)
{
    struct state *state = fuzz_state(world);

    condition_sync(world, true);
    switch (operation->kind) {
    case ACQUIRE:
        lock_acquire(world, actor, state);
        break;
    case RELEASE:
        lock_release(world, actor, state);
        break;
    case WAIT:
    case WAIT_FOR:
        condition_wait(world, actor, state, operation);
        break;
    case NOTIFY:
    case NOTIFY_ALL:
        condition_notify(world, actor, state, operation);
        break;
    case CHANGE:
        state->value = operation->b;
        fuzz_log(world, actor, "makes the value %d", state->value);
        break;
    default:
        if (!state->broken)
            return;
        fuzz_settle(world);
        fuzz_log(world, actor, "repairs the lock");
        memset(&state->lock, 0, sizeof state->lock);
        state->broken = false;
    }
}

static bool
condition_leave(struct fuzz_world *world, int worker, intptr_t result)
{
    struct state *state = fuzz_state(world);
    struct waiter *w = &state->waiters[worker];

    /* It may only sleep. */
    line_leave(state, worker);
    if (!fuzz_line_remove(&state->lines[w->condition], worker))
        return true;
    w->result = result;
    fuzz_complete(world, worker);
    if (state->broken) {
        fuzz_decide(world, worker, -EOWNERDEAD);
    } else {
        w->astray = true;
        w->behind = state->line.count;
    }
    return false;
}

static void
condition_died(struct fuzz_world *world, int worker)
{
    struct state *state = fuzz_state(world);

    if (state->owner != worker)
        return;
    fuzz_allow_report(world);
    state->owner = FUZZ_NOBODY;
    state->broken = true;
    fuzz_line_decide_all(world, &state->line, -EOWNERDEAD);
    for (int i = 0; i < FUZZ_WORKERS; i++) {
        if (state->waiters[i].astray)
            fuzz_decide(world, i, -EOWNERDEAD);
        state->waiters[i].astray = false;
    }
}

static void
condition_check(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    fuzz_same(world, "whether the lock is held", uco_lock_is_held(&state->lock),
              state->owner != FUZZ_NOBODY);
    for (int i = 0; i < FUZZ_WORKERS; i++) {
        if (fuzz_waits(world, i) && state->waiters[i].judging)
            fuzz_mismatch(world, "w%d has the lock, and does not look at its predicate", i);
        if (state->waiters[i].astray && state->owner == FUZZ_NOBODY)
            fuzz_mismatch(world, "w%d was cancelled, and does not take the free lock", i);
    }
}

static void
condition_end(struct fuzz_world *world)
{
    const struct state *state = fuzz_state(world);

    for (int i = 0; i < CONDITIONS; i++)
        fuzz_same(world, "a waiter's being left", state->conditions[i].waiters.first != NULL,
                  false);
    fuzz_same(world, "a waiter's for the lock being left", state->lock.waiters.first != NULL,
              false);
}

const struct fuzz_target fuzz_condition = {
    .name = "condition",
    .begin = condition_begin,
    .choose = condition_choose,
    .perform = condition_perform,
    .leave = condition_leave,
    .sync = condition_sync,
    .died = condition_died,
    .check = condition_check,
    .end = condition_end,
};
