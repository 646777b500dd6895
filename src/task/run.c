/* SPDX-License-Identifier: MIT */

/*
 * The life of a loop: made, run, closed.
 *
 * 1. Closing is a run like any other, on the closing thread, that ends when no task is left. New
 *    root tasks are cancelled at once meanwhile, so it does end.
 * 2. Users' posts are refused from the first step of the close on; what resolves futures gets
 *    through until its last, since tasks may still wait for that.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "core/signals.h"
#include "task/deadlock.h"
#include "task/dump.h"
#include "task/generator.h"
#include "task/group.h"
#include "task/pool.h"
#include "task/runtime.h"
#include "task/task.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

/* --- signals: the first SIGINT or SIGTERM cancels uco_run()'s main task ---
 *
 * One that a loop wants for itself does not come here for as long as it does. */

static struct uco_loop *_Atomic interrupt_loop; /* of the main thread's uco_run() */
/* Handlers that may be using it, in whatever threads: a run ends when there is none. */
static atomic_uint interrupt_handlers;
static unsigned interrupt_forks; /* uco__forks at the main thread's last uco_run() */
static atomic_bool interrupt_arrived;
static atomic_bool interrupt_spent; /* the next one is to kill */

static const int interrupt_signals[] = {SIGINT, SIGTERM};

struct interrupts {
    bool installed[sizeof interrupt_signals / sizeof interrupt_signals[0]];
    bool any;
};

#define INTERRUPTS (sizeof interrupt_signals / sizeof interrupt_signals[0])

static void
interrupt_handle(int signo)
{
    struct uco_loop *loop;

    atomic_fetch_add(&interrupt_handlers, 1);
    loop = atomic_load(&interrupt_loop);
    /* SA_RESETHAND did this signal's; a second one of either kind is to kill. */
    for (size_t i = 0; i < INTERRUPTS; i++)
        uco__signal_default(interrupt_signals[i], interrupt_handle);
    /* This handler may still come as a second one, put back after a loop wanted the signal for a
     * while; also in a child of fork(), or when the run has just ended. */
    if (loop == NULL || uco__loop_stale(loop) || atomic_exchange(&interrupt_spent, true)) {
        raise(signo);
    } else {
        atomic_store(&interrupt_arrived, true);
        uco__loop_ring(loop);
    }
    atomic_fetch_sub(&interrupt_handlers, 1);
}

/* The loop may be freed after this. */
static void
interrupts_forget_loop(void)
{
    atomic_store(&interrupt_loop, NULL);
    /* In the child of a fork() those handlers are not there, and the loop stays. */
    while (interrupt_forks == uco__forks && atomic_load(&interrupt_handlers) != 0)
        sched_yield();
}

/* The child of a run that was forked has that run's handlers: its own runs begin as the first did.
 */
static void
interrupts_after_fork(void)
{
    if (interrupt_forks == uco__forks)
        return;
    interrupt_forks = uco__forks;
    atomic_store(&interrupt_handlers, 0);
    for (size_t i = 0; i < INTERRUPTS; i++)
        uco__signals_give_default(interrupt_signals[i], interrupt_handle);
}

static void
interrupts_begin(struct interrupts *interrupts, struct uco_loop *loop)
{
    *interrupts = (struct interrupts){0};
    if (!uco__thread_is_main())
        return;
    interrupts_after_fork();
    atomic_store(&interrupt_arrived, false);
    atomic_store(&interrupt_spent, false);
    atomic_store(&interrupt_loop, loop);
    for (size_t i = 0; i < INTERRUPTS; i++) {
        interrupts->installed[i] =
            uco__signals_take_default(interrupt_signals[i], interrupt_handle);
        interrupts->any |= interrupts->installed[i];
    }
    if (!interrupts->any)
        interrupts_forget_loop();
}

static void
interrupts_end(const struct interrupts *interrupts)
{
    if (!interrupts->any)
        return;
    for (size_t i = 0; i < INTERRUPTS; i++) {
        if (interrupts->installed[i])
            uco__signals_give_default(interrupt_signals[i], interrupt_handle);
    }
    interrupts_forget_loop();
}

static void
runtime_signalled(struct uco_loop *loop)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);

    if (loop == atomic_load(&interrupt_loop) && atomic_exchange(&interrupt_arrived, false) &&
        runtime->main != NULL)
        uco_cancel(&runtime->main->future);
    uco__dump_serve(runtime);
}

/* --- made and freed --- */

static void
runtime_free(struct uco_loop *loop)
{
    uco__task_blocks_done(&uco__runtime_of(loop)->blocks);
    uco__free(uco__runtime_of(loop));
}

/* Closes a loop in any case: also inside another, which stands still meanwhile. That is only for
 * loops that nobody else can close any more. */
void
uco__loop_close_here(struct uco_loop *loop)
{
    struct uco_loop *outer = uco__running;

    uco__running = NULL;
    uco_loop_close(loop);
    uco__running = outer;
}

/* The last handle was dropped, and the loop is open. */
static void
runtime_orphaned(struct uco_loop *loop)
{
    uco__runtime_of(loop)->orphaned = true;
    uco__loop_close_here(loop);
}

static bool
runtime_trim(struct uco_loop *loop, unsigned most)
{
    /* A segment has room for about a hundred tasks. */
    return uco__task_blocks_trim(&uco__runtime_of(loop)->blocks, most / 64 + 1);
}

static bool
runtime_has_spare(const struct uco_loop *loop)
{
    return uco__task_blocks_have_spare(&uco__runtime_of(loop)->blocks);
}

static const struct uco__loop_operations runtime_operations = {
    .fiber = &uco__task_operations,
    .signalled = runtime_signalled,
    .stuck = uco__deadlock_stuck,
    .orphaned = runtime_orphaned,
    .trim = runtime_trim,
    .has_spare = runtime_has_spare,
    .free = runtime_free,
};

struct uco_loop *
uco__loop_new(const uco_loop_options *options, int *error)
{
    struct uco__runtime *runtime = uco__allocate(sizeof *runtime);

    *error = -ENOMEM;
    if (runtime == NULL)
        return NULL;
    *error = uco__loop_init(&runtime->loop, options, &runtime_operations);
    if (*error < 0) {
        uco__free(runtime);
        return NULL;
    }
    uco__ledger_describe(runtime, uco__runtime_describe);
    uco__task_blocks_init(&runtime->blocks);
    runtime->select_random = runtime->loop.options.seed;
    uco__list_init(&runtime->roots);
    uco__list_init(&runtime->left_groups);
    uco__list_init(&runtime->left_generators);
    /* The first slots are there from the start: a scope can then be opened when memory has run out.
     */
    if (!uco__scope_slots_grow(&runtime->scopes)) {
        *error = -ENOMEM;
        uco__loop_done(&runtime->loop);
        uco__scope_slots_done(&runtime->scopes);
        uco__free(runtime);
        return NULL;
    }
    return &runtime->loop;
}

uco_loop *
uco_loop_new(const uco_loop_options *options)
{
    int error;
    struct uco_loop *loop = uco__loop_new(options, &error);

    return loop != NULL
               ? loop
               : uco__error_null(error == -EINVAL ? uco__misuse(error, "uco_loop_new: bad options")
                                                  : error);
}

/* --- run --- */

struct until {
    struct uco__waiter waiter;
    struct uco_loop *loop;
};

static void
until_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    (void) future;
    /* A task is resolved on its own loop's thread only. */
    uco__loop_done_waiting(UCO__CONTAINER(waiter, struct until, waiter)->loop);
}

/* The loop is the thread's. Runs until fn has returned; -EINTR if stopped before. */
static intptr_t
run_task(struct uco_loop *loop, uco_fn *fn, void *arg)
{
    struct until until = {.waiter.notify = until_notify, .loop = loop};
    struct uco__runtime *runtime = uco__runtime_of(loop);
    struct uco__task *task;
    intptr_t result;
    int error;

    task = uco__task_new(loop, NULL, fn, arg, &error);
    if (task == NULL)
        return error;
    uco__task_adopt(task, NULL);
    if (runtime->main == NULL)
        runtime->main = task;
    result = -EINTR;
    if (!uco__future_add_waiter(&task->future, &until.waiter) || uco__loop_run(loop))
        result = uco__future_read(&task->future);
    else
        uco__future_remove_waiter(&task->future, &until.waiter);
    if (runtime->main == task)
        runtime->main = NULL;
    uco_unref(&task->future);
    return result;
}

/* In the order in which a user looks: is it mine at all, is it over, am I inside another? */
static int
run_begin(struct uco_loop *loop, struct uco_loop **outer)
{
    int r;

    if (uco__loop_stale(loop))
        return uco__misuse(-ESTALE, "the loop was made before fork(): in the child it is dead");
    if (atomic_load(&loop->closed))
        return -ESHUTDOWN;
    r = uco__loop_enter(loop, outer);
    if (r < 0)
        return r;
    if (!atomic_load(&loop->closed))
        return 0;
    uco__loop_leave(loop, *outer); /* another thread was faster */
    return -ESHUTDOWN;
}

intptr_t
uco_loop_run_until_complete(uco_loop *loop, uco_fn *fn, void *arg)
{
    struct uco_loop *outer;
    intptr_t result;
    bool dumps;
    int r;

    if (loop == NULL || fn == NULL)
        return uco__misuse(-EINVAL,
                           "uco_loop_run_until_complete: the loop or the function is NULL");
    r = run_begin(loop, &outer);
    if (r < 0)
        return r;
    dumps = uco__dump_signal_begin(loop);
    result = run_task(loop, fn, arg);
    uco__dump_signal_end(dumps);
    uco__loop_leave(loop, outer);
    return result;
}

int
uco_loop_run_forever(uco_loop *loop)
{
    struct uco_loop *outer;
    bool dumps;
    int r;

    if (loop == NULL)
        return uco__misuse(-EINVAL, "uco_loop_run_forever: the loop is NULL");
    r = run_begin(loop, &outer);
    if (r < 0)
        return r;
    dumps = uco__dump_signal_begin(loop);
    uco__loop_run(loop);
    uco__dump_signal_end(dumps);
    uco__loop_leave(loop, outer);
    return 0;
}

intptr_t
uco_run_with(const uco_loop_options *options, uco_fn *fn, void *arg)
{
    struct interrupts interrupts;
    struct uco_loop *loop;
    intptr_t result;
    int error, cancel_state;

    if (fn == NULL)
        return uco__misuse(-EINVAL, "uco_run: the function is NULL");
    if (uco_get_running_loop() != NULL) {
        uco__foreign_check_caller();
        return uco__misuse(-EBUSY, "uco_run: a loop is running in this thread already");
    }
    loop = uco__loop_new(options, &error);
    if (loop == NULL)
        return error;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* until all is given back */
    uco__loop_look_for_deadlocks(loop);
    interrupts_begin(&interrupts, loop);
    result = uco_loop_run_until_complete(loop, fn, arg);
    if (uco__runtime_of(loop)->deadlocked)
        result = -EDEADLK;
    uco_loop_close(loop);
    interrupts_end(&interrupts);
    uco_loop_unref(loop);
    pthread_setcancelstate(cancel_state, NULL);
    return result;
}

intptr_t
uco_run(uco_fn *fn, void *arg)
{
    return uco_run_with(NULL, fn, arg);
}

/* --- close --- */

struct close_reminder {
    struct uco__timer timer;
    struct uco__ready ready;
    struct uco__runtime *runtime;
    bool queued;
};

static void
close_remind_start(struct close_reminder *reminder)
{
    struct uco_loop *loop = &reminder->runtime->loop;

    uco__timer_start(loop, &reminder->timer,
                     uco__clock_after(uco__loop_now(loop), UCO__TASK_REMIND));
}

static void
close_remind(struct uco__ready *node)
{
    struct close_reminder *reminder = UCO__CONTAINER(node, struct close_reminder, ready);

    reminder->queued = false;
    uco__task_remind_all(&reminder->runtime->roots);
    close_remind_start(reminder);
}

static void
close_remind_fire(struct uco__timer *timer)
{
    struct close_reminder *reminder = UCO__CONTAINER(timer, struct close_reminder, timer);

    reminder->queued = true;
    uco__scheduler_call(&reminder->runtime->loop, &reminder->ready);
}

/* Cancels all tasks and runs until none is left; then what callbacks are queued. */
static void
close_drain(struct uco__runtime *runtime)
{
    struct uco_loop *loop = &runtime->loop;
    struct close_reminder reminder = {.ready.run = close_remind, .runtime = runtime};
    uint64_t posts;

    runtime->draining = true;
    uco__timer_init(&reminder.timer, close_remind_fire);
    reminder.timer.background = true;
    close_remind_start(&reminder);
    /* A task that is cancelled does not end at once, so the list stays as it is. */
    UCO__LIST_EACH(link, &runtime->roots)
        uco_cancel(&UCO__CONTAINER(link, struct uco__task, sibling)->future);
    /* A post may also be taken in by the middle of a turn. It has run for sure when a later turn
     * has taken in none. */
    do {
        while (runtime->tasks > 0)
            uco__loop_run(loop);
        posts = loop->posts;
        uco__loop_turn(loop);
    } while (runtime->tasks > 0 || reminder.queued || loop->posts != posts);
    uco__timer_stop(loop, &reminder.timer);
}

static void
close_resources(struct uco_loop *loop, bool ours)
{
    UCO__LIST_EACH_SAFE(link, &loop->resources) {
        struct uco__resource *resource = UCO__CONTAINER(link, struct uco__resource, link);

        if ((resource->kind == NULL) != ours)
            continue;
        if (!ours && resource->line >= 0) /* below: its user has given it back */
            uco__report(loop, NULL, "%s opened at %s:%d was left open: its loop closes it",
                        resource->kind, resource->file != NULL ? resource->file : "?",
                        resource->line);
        uco__loop_remove_resource(loop, resource);
        resource->close(resource);
    }
}

static void
close_all(struct uco__runtime *runtime)
{
    bool dumps = uco__dump_signal_begin(&runtime->loop);

    close_drain(runtime);
    close_resources(&runtime->loop, false);
    close_resources(&runtime->loop, true);
    uco__pool_close(runtime->pool);
    runtime->pool = NULL;
    uco__pool_close(runtime->starters);
    runtime->starters = NULL;
    uco__dump_signal_end(dumps);
}

int
uco_loop_close(uco_loop *loop)
{
    struct uco__runtime *runtime;
    struct uco_loop *outer;

    if (loop == NULL)
        return 0;
    if (uco__loop_stale(loop))
        return uco__misuse(-ESTALE, "the loop was made before fork(): in the child it is dead");
    if (atomic_load(&loop->closed))
        return 0;
    if (atomic_load(&loop->runner) != NULL || uco__loop_enter(loop, &outer) < 0)
        return atomic_load(&loop->closed) ? 0 : -EBUSY;
    if (!atomic_load(&loop->closed)) {
        runtime = uco__runtime_of(loop);
        atomic_store(&loop->closing, true);
        if (runtime->orphaned)
            uco__report(
                loop, NULL,
                "a loop's last reference was dropped without uco_loop_close(): it is closed now");
        close_all(runtime);
        close_all(runtime); /* what callbacks of the jobs that the pool has cancelled have begun */
        uco__loop_done(loop);
        uco__scope_slots_done(&runtime->scopes);
        uco__groups_done(runtime);
        uco__generators_done(runtime);
        uco__task_blocks_close(loop);
    }
    uco__loop_leave(loop, outer);
    return 0;
}
