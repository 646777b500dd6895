/* SPDX-License-Identifier: MIT */

/*
 * The world: its loop, its workers, and the driver that goes through an input's steps.
 *
 * 1. A worker that has no script waits for one in a shield, so that cancelling it does not wake it
 *    up there.
 */

#include "fuzz_world.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX 40 /* in which all workers have ended */

/* --- the world's own operations --- */

static void
worker_scope_open(struct worker *w, double timeout, bool shield)
{
    struct fuzz_world *world = w->world;
    struct scope *scope = &w->scopes[w->depth + 1];

    if (w->depth + 1 == FUZZ_SCOPES)
        return;
    fuzz_catch_up(world);
    fuzz_log(world, w->index, "opens %s %d, for %.2f s", shield ? "shield" : "scope", w->depth + 1,
             timeout);
    *scope = (struct scope){.shield = shield};
    if (timeout > 0 && !isinf(timeout)) {
        scope->deadline = fuzz_moment(world, (int) (timeout * 4));
        timeout = scope->deadline - uco_time();
    }
    fuzz_expect(world, w->index, 0,
                shield ? uco_shield_open(&scope->real, timeout)
                       : uco_scope_open(&scope->real, timeout));
    w->depth++;
    if (timeout <= 0)
        fuzz_scope_cancel(w, w->depth, CAUSE_EXPIRED);
}

static void
worker_scope_close(struct worker *w)
{
    struct fuzz_world *world = w->world;
    struct scope *scope = &w->scopes[w->depth];
    intptr_t expected = w->last;
    intptr_t actual;

    if (w->depth == 0)
        return;
    fuzz_catch_up(world);
    actual = uco_scope_close(&scope->real, w->last);
    fuzz_log(world, w->index, "closes scope %d: %jd becomes %jd", w->depth, (intmax_t) w->last,
             (intmax_t) actual);
    w->depth--;
    if (w->last == -ECANCELED && scope->delivered && scope->cause != CAUSE_NONE) {
        if (!scope->shield && fuzz_scope_effective(w, w->depth))
            fuzz_scope_deliver(w);
        else
            expected = scope->cause == CAUSE_EXPIRED ? -ETIMEDOUT : 0;
    }
    w->last = actual;
    if (!w->vague)
        fuzz_expect(world, w->index, expected, actual);
    if (w->depth == 0)
        w->vague = false;
}

static void
cancel_worker(struct fuzz_world *world, int actor, int index, int depth)
{
    struct worker *w = &world->workers[index];

    if (depth > w->depth)
        depth = w->depth > 0 ? w->depth : FUZZ_SCOPES;
    if (w->task == NULL || depth == FUZZ_SCOPES)
        return;
    fuzz_catch_up(world);
    fuzz_log(world, actor, "cancels %s of %s", depth > 0 ? "a scope" : "all",
             fuzz_actor_name(index));
    fuzz_scope_cancel(w, depth, CAUSE_CANCELLED);
    if (depth > 0) {
        fuzz_expect(world, actor, 0, uco_scope_cancel(&w->scopes[depth].real));
        return;
    }
    fuzz_expect(world, actor, 0, uco_cancel(w->task));
    if (!w->started) { /* it never will be */
        uco_unref(w->task);
        w->task = NULL;
    }
}

static void
worker_sleep(struct worker *w, int quarters)
{
    struct fuzz_world *world = w->world;
    double until = fuzz_moment(world, quarters);

    fuzz_log(world, w->index, "sleeps %.2f s", until - uco_time());
    if (fuzz_enter(world, w->index)) {
        fuzz_wait(world, w->index);
        fuzz_deadline(world, w->index, until, 0);
    }
    fuzz_return(world, w->index, uco_sleep(until - uco_time()));
}

static void
worker_yield(struct worker *w)
{
    fuzz_log(w->world, w->index, "yields");
    if (fuzz_enter(w->world, w->index))
        fuzz_decide(w->world, w->index, 0);
    fuzz_return(w->world, w->index, uco_yield());
}

static void
worker_perform(struct worker *w, const struct fuzz_operation *operation)
{
    bool scoped = operation->scoped && w->depth + 1 < FUZZ_SCOPES;

    if (scoped)
        worker_scope_open(w, operation->timeout, false);
    switch (operation->kind) {
    case FUZZ_SCOPE_OPEN:
        worker_scope_open(w, operation->timeout, operation->b != 0);
        break;
    case FUZZ_SCOPE_CLOSE:
        worker_scope_close(w);
        break;
    case FUZZ_SCOPE_CANCEL:
        cancel_worker(w->world, w->index, operation->a, operation->b);
        break;
    case FUZZ_SLEEP:
        worker_sleep(w, operation->a);
        break;
    case FUZZ_YIELD:
        worker_yield(w);
        break;
    default:
        w->world->target->perform(w->world, w->index, operation);
    }
    if (scoped)
        worker_scope_close(w);
}

/* Waits for a script, in a shield that the model does not see: nothing it could tell happens there.
 */
static void
worker_idle(struct worker *w)
{
    uco_scope shield;

    w->command = uco_future_new();
    if (w->command == NULL || uco_shield_open(&shield, UCO_FOREVER) < 0)
        fuzz_mismatch(w->world, "no memory");
    if (uco_await(w->command) != 0 || uco_scope_close(&shield, 0) != 0)
        fuzz_mismatch(w->world, "%s was woken while it was idle", fuzz_actor_name(w->index));
}

/* 0 when it is time to die. */
static int
worker_script(struct worker *w)
{
    for (int i = 0; i < w->script_size; i++) {
        if (w->script[i].kind == FUZZ_DIE)
            return 0;
        worker_perform(w, &w->script[i]);
    }
    return 1;
}

static intptr_t
worker_body(void *arg)
{
    struct worker *w = arg;

    w->started = true;
    do {
        worker_idle(w);
    } while (worker_script(w) != 0);
    while (w->depth > 0)
        worker_scope_close(w);
    fuzz_log(w->world, w->index, "dies");
    fuzz_catch_up(w->world);
    w->world->target->died(w->world, w->index);
    uco_unref(w->task); /* ends right after this */
    w->task = NULL;
    return 0;
}

/* --- the driver --- */

static void
worker_spawn(struct fuzz_world *world, int index)
{
    struct worker *w = &world->workers[index];

    fuzz_log(world, FUZZ_DRIVER, "starts w%d", index);
    *w = (struct worker){.world = world, .index = index};
    world->calls[index] = (struct call){.state = CALL_NONE};
    w->task = uco_create_task(worker_body, w);
    if (w->task == NULL)
        fuzz_mismatch(world, "no memory");
}

/* A script begins at the worker's next turn. */
static void
worker_command(struct worker *w)
{
    uco_future *command = w->command;

    w->command = NULL;
    uco_future_set_result(command, 0);
    uco_unref(command);
}

/* Whose call is decided has returned. */
void
fuzz_settle(struct fuzz_world *world)
{
    if (uco_test_settle() != 0)
        fuzz_mismatch(world, "the driver could not settle");
    fuzz_catch_up(world);
    for (int i = 0; i < world->worker_count; i++) {
        const struct worker *w = &world->workers[i];

        if (w->task == NULL || w->command != NULL)
            continue;
        if (world->calls[i].state == CALL_DECIDED)
            fuzz_mismatch(world, "%s waits; the model says that its call ended with %jd",
                          fuzz_actor_name(i), (intmax_t) world->calls[i].result);
        if (world->calls[i].state == CALL_NONE)
            fuzz_mismatch(world, "%s does not run, and is in no call", fuzz_actor_name(i));
    }
    world->target->check(world);
}

static double
choose_timeout(struct fuzz_input *input)
{
    int quarters = fuzz_below(input, 8);

    return quarters == 0 ? 0 : quarters < 4 ? 0.25 * quarters : UCO_FOREVER;
}

/* One of a worker's script. */
static void
choose_operation(struct fuzz_world *world, int worker, struct fuzz_operation *operation)
{
    struct fuzz_input *input = &world->input;
    uint8_t choice = fuzz_byte(input);

    *operation = (struct fuzz_operation){0};
    switch (choice % 16) {
    case 0:
        operation->kind = FUZZ_SCOPE_OPEN;
        operation->timeout = choose_timeout(input);
        operation->b = choice >= 208;
        return;
    case 1:
        operation->kind = FUZZ_SCOPE_CLOSE;
        return;
    case 2:
    case 3:
        operation->kind = FUZZ_SCOPE_CANCEL;
        operation->a = fuzz_below(input, world->worker_count);
        operation->b = choice >= 240 ? 0 : 1 + choice / 16 % 3;
        return;
    case 4:
        operation->kind = choice < 128 ? FUZZ_YIELD : FUZZ_SLEEP;
        operation->a = choice / 16 % 8;
        return;
    case 5:
        operation->kind = choice < 160 ? FUZZ_SCOPE_CLOSE : FUZZ_DIE;
        return;
    default:
        world->target->choose(world, input, worker, operation);
        operation->scoped = (choice & 0x40) != 0;
        operation->timeout = operation->scoped ? choose_timeout(input) : 0;
    }
}

static void
driver_command(struct fuzz_world *world, int choice)
{
    int first = fuzz_below(&world->input, world->worker_count);

    for (int i = 0; i < world->worker_count; i++) {
        struct worker *w = &world->workers[(first + i) % world->worker_count];

        if (w->task == NULL) {
            worker_spawn(world, w->index);
            return;
        }
        if (w->command == NULL)
            continue;
        w->script_size = 1 + choice % (FUZZ_SCRIPT - 1);
        for (int s = 0; s < w->script_size; s++)
            choose_operation(world, w->index, &w->script[s]);
        if (w->scopes[0].cause != CAUSE_NONE) /* no call of it succeeds any more */
            w->script[w->script_size++].kind = FUZZ_DIE;
        worker_command(w);
        return;
    }
}

struct posted {
    struct fuzz_world *world;
    struct fuzz_operation operation;
};

static void
posted_run(void *arg)
{
    struct posted *posted = arg;
    struct fuzz_world *world = posted->world;

    world->posted--;
    fuzz_catch_up(world);
    if (posted->operation.kind >= FUZZ_TARGET_KINDS)
        world->target->perform(world, FUZZ_CALLBACK, &posted->operation);
    else
        cancel_worker(world, FUZZ_CALLBACK, posted->operation.a, posted->operation.b);
    free(posted);
}

/* From a callback: in the next turn, or later. */
static void
driver_post(struct fuzz_world *world, const struct fuzz_operation *operation, bool later)
{
    struct posted *posted = malloc(sizeof *posted);
    uco_loop *loop = uco_get_running_loop();

    if (posted == NULL)
        fuzz_mismatch(world, "no memory");
    *posted = (struct posted){.world = world, .operation = *operation};
    world->posted++;
    if (later
            ? uco_loop_call_later(loop, fuzz_moment(world, 1) - uco_time(), posted_run, posted) == 0
            : uco_loop_call_soon(loop, posted_run, posted) < 0)
        fuzz_mismatch(world, "no memory");
}

static void
driver_pass_time(struct fuzz_world *world, int quarters)
{
    double until = fuzz_moment(world, quarters);

    fuzz_log(world, FUZZ_DRIVER, "lets %.2f s pass", until - uco_time());
    if (world->manual)
        uco_test_advance(uco_get_running_loop(), until - uco_time());
    else if (uco_sleep(until - uco_time()) != 0)
        fuzz_mismatch(world, "the driver could not sleep");
    fuzz_catch_up(world);
}

/* Prefers those who wait. */
static void
choose_victim(struct fuzz_world *world, int choice, struct fuzz_operation *operation)
{
    int first = fuzz_below(&world->input, world->worker_count);

    operation->kind = FUZZ_SCOPE_CANCEL;
    operation->a = first;
    operation->b = choice >= 7 ? 0 : 1 + choice % 3;
    for (int i = 0; i < world->worker_count; i++) {
        int index = (first + i) % world->worker_count;

        if (fuzz_waits(world, index)) {
            operation->a = index;
            return;
        }
    }
}

/* The low four bits say what, the next three vary it, and the highest whether the world settles
 * after it. */
static void
driver_step(struct fuzz_world *world)
{
    uint8_t step = fuzz_byte(&world->input);
    int choice = step / 16 % 8;
    struct fuzz_operation operation = {0};

    switch (step % 16) {
    case 8:
    case 9:
        world->target->choose(world, &world->input, FUZZ_DRIVER, &operation);
        world->target->perform(world, FUZZ_DRIVER, &operation);
        break;
    case 10:
        world->target->choose(world, &world->input, FUZZ_CALLBACK, &operation);
        driver_post(world, &operation, choice >= 6);
        break;
    case 11:
    case 12:
        choose_victim(world, choice, &operation);
        cancel_worker(world, FUZZ_DRIVER, operation.a, operation.b);
        break;
    case 13:
        choose_victim(world, choice, &operation);
        driver_post(world, &operation, choice >= 6);
        break;
    case 14:
        driver_pass_time(world, 1 + choice / 2);
        break;
    default:
        driver_command(world, choice);
    }
    if (step >= 128)
        fuzz_settle(world);
}

/* Everybody is cancelled, shields included, and who is idle is told to die. False: nobody was left.
 */
static bool
driver_end_workers(struct fuzz_world *world)
{
    bool left = false;

    for (int i = 0; i < world->worker_count; i++) {
        for (int depth = world->workers[i].depth; depth >= 0; depth--)
            cancel_worker(world, FUZZ_DRIVER, i, depth);
    }
    fuzz_settle(world);
    for (int i = 0; i < world->worker_count; i++) {
        struct worker *w = &world->workers[i];

        left = left || w->task != NULL;
        if (w->command == NULL)
            continue;
        w->script_size = 1;
        w->script[0].kind = FUZZ_DIE;
        worker_command(w);
    }
    fuzz_settle(world);
    return left;
}

/* Who dies may be what another one waits for, or the other may open a shield: this takes some
 * rounds. */
static void
driver_tidy(struct fuzz_world *world)
{
    int rounds = 0;

    do {
        fuzz_settle(world);
        driver_pass_time(world, 4);
    } while (world->posted > 0);
    fuzz_settle(world);
    if (world->target->tidy != NULL)
        world->target->tidy(world);
    while (driver_end_workers(world)) {
        if (++rounds == ROUNDS_MAX)
            fuzz_mismatch(world, "the workers do not end");
    }
    world->target->end(world);
}

static intptr_t
driver_body(void *arg)
{
    struct fuzz_world *world = arg;

    world->driver = uco_current_task();
    world->target->begin(world, &world->input);
    for (int i = 0; i < world->worker_count; i++)
        worker_spawn(world, i);
    if (uco_test_settle() != 0)
        fuzz_mismatch(world, "the driver could not settle");
    while (!fuzz_at_end(&world->input))
        driver_step(world);
    fuzz_settle(world);
    driver_tidy(world);
    return 0;
}

/* --- a run --- */

const struct fuzz_target *const fuzz_targets[] = {
    &fuzz_lock,    &fuzz_semaphore, &fuzz_event,  &fuzz_condition,
    &fuzz_barrier, &fuzz_queue,     &fuzz_select,
};

size_t
fuzz_target_count(void)
{
    return sizeof fuzz_targets / sizeof fuzz_targets[0];
}

const struct fuzz_target *
fuzz_target_of(const uint8_t *data, size_t size)
{
    return fuzz_targets[size > 0 ? data[0] % fuzz_target_count() : 0];
}

static void
reported(const char *message, uco_task *task, void *arg)
{
    struct fuzz_world *world = arg;

    (void) task;
    if (world->reports-- > 0)
        return;
    fuzz_mismatch(world, "the loop reports: %s", message);
}

void
fuzz_run(const uint8_t *data, size_t size)
{
    struct fuzz_world *world = calloc(1, sizeof *world);
    uco_loop_options options = {.slow_callback = UCO_FOREVER, .stack_size = 128 * 1024};
    uint8_t flags;
    intptr_t r;

    if (world == NULL)
        abort();
    if (size > FUZZ_INPUT_MAX)
        size = FUZZ_INPUT_MAX;
    world->target = fuzz_target_of(data, size);
    world->input = (struct fuzz_input){.data = data, .size = size, .at = 1};
    flags = fuzz_byte(&world->input);
    world->manual = (flags & 8) != 0;
    world->worker_count = 2 + flags % 7;
    if (world->worker_count > FUZZ_WORKERS)
        world->worker_count = FUZZ_WORKERS;
    options.clock = world->manual ? UCO_CLOCK_MANUAL : UCO_CLOCK_VIRTUAL;
    options.seed = fuzz_byte(&world->input) & ~UINT64_C(63); /* 0: FIFO */
    if (options.seed != 0)
        options.seed = fuzz_byte(&world->input) + options.seed;
    options.exception_handler = reported;
    options.exception_arg = world;
    r = uco_run_with(&options, driver_body, world);
    if (r != 0)
        fuzz_mismatch(world, "the loop ended with %jd", (intmax_t) r);
    free(world);
}
