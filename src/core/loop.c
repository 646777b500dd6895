/* SPDX-License-Identifier: MIT */

/*
 * The loop: one turn after the other.
 *
 * A turn takes in what other threads have posted, fires the timers that are due, asks the kernel
 * (and waits there if nothing is ready), and runs what is ready by then.
 *
 * 1. `runner` is the only thread that touches what is not atomic. It is set by uco__loop_enter(),
 *    which also makes the loop that thread's uco__running.
 * 2. With the kernel is spoken at least every POLL_INTERVAL while there is always something ready:
 *    home gets its turn after `span` switches, looks at the clock, and `span` shrinks when those
 *    took longer.
 */

#include "core/loop.h"

#include "base/error.h"
#include "base/futex.h"
#include "base/system.h"
#include "core/backend.h"
#include "core/leave.h"
#include "core/overflow.h"
#include "core/report.h"
#include "core/signals.h"
#include "core/trim.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define POLL_INTERVAL                                                                              \
    (100 * UCO__MICROSECOND) /* between two looks at the kernel while tasks keep each other ready */
/* Between two looks at the inbox in the middle of a turn. What is taken runs in the next turn only,
 * and producers that go on posting are disturbed by each look. */
#define TAKE_INTERVAL (10 * UCO__MICROSECOND)
#define SPAN_MAX 64      /* switches between two looks at the clock */
#define SLOW_DEFAULT 0.1 /* seconds */
/* Before a loop that nothing of its own can wake looks for a deadlock, which is not cheap, it waits
 * for others: this long at first, twice as long each time. */
#define STUCK_WAIT_MIN (20 * UCO__MILLISECOND)
#define STUCK_WAIT_MAX UCO__SECOND
#define SLOW_COARSE (20 * UCO__MILLISECOND) /* from here on the coarse clock is fine enough */
#define STEP_SHORT UCO__MICROSECOND /* steps that are shorter on average are not timed each */
#define TIMER_SLACK 1 /* ns; the kernel's default of 50 us would be added to each wait */
#define POLL_RETRY UCO__MILLISECOND /* after the kernel could not even be asked */

__thread struct uco_loop *uco__running __attribute__((tls_model("initial-exec")));

/* --- beginning and end --- */

static void
process_setup(void)
{
    uco__context_setup();
    uco__loops_setup();
}

static int
options_fill(uco_loop_options *filled, const uco_loop_options *options)
{
    const char *seed = getenv("UCO_SEED");

    *filled = options != NULL ? *options : (uco_loop_options){0};
    if (filled->clock > UCO_CLOCK_MANUAL || filled->backend > UCO_BACKEND_IO_URING ||
        isnan(filled->spin) || filled->spin < 0 || isnan(filled->slow_callback) ||
        filled->slow_callback < 0)
        return -EINVAL;
    filled->stack_size = uco__stack_size_round(filled->stack_size != 0 ? filled->stack_size
                                                                       : UCO__STACK_SIZE_DEFAULT);
    if (filled->stack_size == 0)
        return -EINVAL;
    if (uco__debug_environment())
        filled->debug = true;
    if (filled->seed == 0 && seed != NULL)
        filled->seed = strtoull(seed, NULL, 10);
    if (filled->slow_callback == 0)
        filled->slow_callback = SLOW_DEFAULT;
    return 0;
}

static void
wake_run(struct uco__ready *node)
{
    struct uco_loop *loop = UCO__CONTAINER(node, struct uco_loop, wake_ready);

    loop->wake_queued = false;
    if (loop->wake_callback != NULL && !loop->dropping)
        loop->wake_callback(loop->wake_arg);
}

static int
loop_open(struct uco_loop *loop)
{
    int r = uco__inbox_init(&loop->inbox);

    if (r < 0)
        return r;
    r = uco__backend_open(&loop->poller, loop->options.backend, loop->inbox.doorbell,
                          &loop->scheduler.ready);
    if (r < 0)
        goto fail_poller;
    uco__stacks_init(&loop->stacks, uco__fiber_entry);
    if (loop->options.debug)
        uco__stacks_measure(&loop->stacks);
    loop->stack_pool = uco__stack_pool_get(&loop->stacks, loop->options.stack_size);
    if (loop->stack_pool != NULL)
        return 0;
    r = -ENOMEM;
    uco__poller_done(&loop->poller);
fail_poller:
    uco__inbox_done(&loop->inbox);
    return r;
}

int
uco__loop_init(struct uco_loop *loop, const uco_loop_options *options,
               const struct uco__loop_operations *operations)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int r;

    pthread_once(&once, process_setup);
    r = options_fill(&loop->options, options);
    if (r < 0)
        return r;
    uco__scheduler_init(&loop->scheduler, loop->options.seed);
    r = loop_open(loop);
    if (r < 0)
        return r;
    atomic_init(&loop->handles, 1);
    atomic_init(&loop->references, 1);
    loop->forks = uco__forks;
    loop->operations = operations;
    loop->slow = uco__clock_from_seconds(loop->options.slow_callback);
    loop->slow_coarse = loop->slow >= SLOW_COARSE;
    loop->span = SPAN_MAX;
    uco__trim_begin(loop);
    loop->wake_ready.run = wake_run;
    uco__timers_init(&loop->timers, loop->options.clock == UCO_CLOCK_REAL ? uco__clock_real() : 0);
    uco__list_init(&loop->settlers);
    uco__list_init(&loop->resources);
    uco__loops_add(loop);
    return 0;
}

void
uco__loop_done(struct uco_loop *loop)
{
    struct uco__ready_queue late;

    /* What was accepted at the very last is run, each once; it can make nothing ready any more. */
    loop->ending = true;
    uco__signals_close(loop);
    uco__ready_queue_init(&late);
    loop->posts += uco__inbox_close(&loop->inbox, &late);
    for (struct uco__ready *node; (node = uco__ready_queue_pop(&late)) != NULL;)
        node->run(node);
    uco__loop_drop(loop);
    uco__calls_done(&loop->calls);
    atomic_store(&loop->closed, true);
    uco__loops_remove(loop);
    uco__timers_done(&loop->timers);
    uco__poller_done(&loop->poller);
    uco__inbox_done(&loop->inbox);
    uco__stacks_done(&loop->stacks);
    uco__altstack_done(&loop->altstack);
}

void
uco__loop_hold(struct uco_loop *loop)
{
    /* Relaxed: who takes a reference has one already. */
    uco__count_add(&loop->references, 1);
}

void
uco__loop_release(struct uco_loop *loop)
{
    /* Everything that was done with the loop before is over for the thread that frees it. */
    if (uco__count_drop(&loop->references, 1))
        loop->operations->free(loop);
}

uco_loop *
uco_loop_ref(uco_loop *loop)
{
    if (loop == NULL)
        return uco__error_null(uco__misuse(-EINVAL, "uco_loop_ref: the loop is NULL"));
    atomic_fetch_add_explicit(&loop->handles, 1, memory_order_relaxed);
    return loop;
}

void
uco_loop_unref(uco_loop *loop)
{
    if (loop == NULL || atomic_fetch_sub_explicit(&loop->handles, 1, memory_order_acq_rel) != 1)
        return;
    if (!atomic_load(&loop->closed) && !uco__loop_stale(loop)) {
        /* The handle is ours once more while the loop is being closed. */
        atomic_fetch_add_explicit(&loop->handles, 1, memory_order_relaxed);
        loop->operations->orphaned(loop);
        if (atomic_fetch_sub_explicit(&loop->handles, 1, memory_order_acq_rel) != 1)
            return;
    }
    uco__loop_release(loop);
}

/* --- whose is it? --- */

int
uco__loop_check(const struct uco_loop *loop)
{
    const void *runner;

    if (loop == NULL)
        return uco__misuse(-EINVAL, "the loop is NULL");
    if (uco__loop_stale(loop))
        return uco__misuse_of(loop, -ESTALE,
                              "the loop was made before fork(): in the child it is dead");
    if (atomic_load(&loop->closed))
        return -ESHUTDOWN;
    runner = atomic_load_explicit(&loop->runner, memory_order_acquire);
    if (runner != NULL && runner != uco__thread_self())
        return uco__misuse_of(loop, -EPERM, "the loop runs in another thread");
    return 0;
}

struct uco_loop *
uco__loop_current(int *error)
{
    struct uco_loop *loop = uco__running;

    if (UCO__LIKELY(loop != NULL && !uco__loop_stale(loop)))
        return loop;
    *error = loop != NULL ? -ESTALE : -EPERM;
    return NULL;
}

int
uco__loop_enter(struct uco_loop *loop, struct uco_loop **outer)
{
    const void *nobody = NULL;

    if (uco__running != NULL && !uco__loop_stale(uco__running)) {
        uco__foreign_check_caller();
        return uco__misuse(-EBUSY, "a loop is running in this thread already");
    }
    /* Acquire pairs with the release in uco__loop_leave(): what the last runner did is done. */
    if (!atomic_compare_exchange_strong_explicit(&loop->runner, &nobody, uco__thread_self(),
                                                 memory_order_acquire, memory_order_relaxed))
        return uco__misuse(-EPERM, "the loop runs in another thread");
    *outer = uco__running;
    uco__running = loop;
    uco_loop_ref(loop);
    loop->errno_location = uco__error_location();
    loop->until_done = false;
    uco__scheduler_set_budget(&loop->scheduler, loop->span);
    loop->polled = uco__clock_real();
    loop->moment = loop->options.clock == UCO_CLOCK_REAL ? loop->polled : loop->virtual_now;
    loop->span_began = loop->polled;
    loop->timed = loop->slow != UCO__NEVER;
    uco__scheduler_set_pace(loop);
    uco__sanitizer_init(&loop->scheduler.home.sanitizer, NULL, 0);
    loop->timer_slack = UCO__SYSTEM(prctl, prctl(PR_GET_TIMERSLACK));
    if (loop->timer_slack >= 0)
        UCO__SYSTEM(prctl, prctl(PR_SET_TIMERSLACK, TIMER_SLACK));
    uco__altstack_enter(&loop->altstack);
    uco__overflow_watch();
    /* Else pthread_cancel() would unwind whatever coroutine is there, and leave the others behind. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &loop->cancel_state);
    uco__foreign_enter(loop);
    return 0;
}

void
uco__loop_leave(struct uco_loop *loop, struct uco_loop *outer)
{
    int cancel_state = loop->cancel_state;

    uco__foreign_leave(loop);
    uco__altstack_leave(&loop->altstack);
    if (loop->timer_slack >= 0)
        UCO__SYSTEM(prctl, prctl(PR_SET_TIMERSLACK, loop->timer_slack));
    uco__running = outer;
    atomic_store_explicit(&loop->runner, NULL, memory_order_release);
    uco_loop_unref(loop);
    pthread_setcancelstate(cancel_state, NULL);
}

/* --- a turn --- */

uint64_t
uco__loop_now(const struct uco_loop *loop)
{
    return loop->options.clock == UCO_CLOCK_REAL ? uco__clock_real() : loop->virtual_now;
}

static void
loop_take_posts(struct uco_loop *loop)
{
    loop->posts += uco__inbox_drain(&loop->inbox, &loop->scheduler.ready);
    /* Relaxed: a wake not seen yet also rings the doorbell, and is seen in the next turn. */
    if (UCO__UNLIKELY(atomic_load_explicit(&loop->woken, memory_order_relaxed)) &&
        atomic_exchange(&loop->woken, false)) {
        loop->operations->signalled(loop);
        uco__signals_deliver(loop);
        if (atomic_exchange(&loop->wake_due, false) && !loop->wake_queued) {
            uco__scheduler_call(loop, &loop->wake_ready);
            loop->wake_queued = true;
        }
    }
}

static bool
loop_has_ready(const struct uco_loop *loop)
{
    return !uco__ready_queue_empty(&loop->scheduler.ready) ||
           !uco__ready_queue_empty(&loop->scheduler.batch);
}

/* Asks the kernel, takes in what has come and fires what is due. Whether the kernel answered. */
static bool
loop_poll(struct uco_loop *loop, uint64_t timeout)
{
    int r = uco__poller_poll(&loop->poller, timeout);

    loop->polls++;
    if (r > 0)
        uco__inbox_answer(&loop->inbox);
    if (r < 0) {
        /* The kernel has no memory even for this. Go on with timers and posts, but not at full
         * speed. */
        if (!loop->poll_failed)
            uco__report(loop, NULL, "waiting for events failed: %s; trying again", uco_strerror(r));
        loop->poll_failed = true;
        nanosleep(&(struct timespec){.tv_nsec = POLL_RETRY}, NULL);
    }
    loop->polled = uco__clock_real();
    if (UCO__UNLIKELY(loop->polled >= loop->trim_at))
        uco__trim(loop);
    if (UCO__UNLIKELY(loop->polled >= loop->poller.check_at))
        uco__poller_check_some(&loop->poller, loop->polled);
    loop_take_posts(loop);
    loop->moment = loop->options.clock == UCO_CLOCK_REAL ? loop->polled : loop->virtual_now;
    uco__timers_expire(loop, loop->moment);
    return r >= 0;
}

/* Steps that were not timed one by one. */
static void
loop_end_span(struct uco_loop *loop, uint64_t now)
{
    if (loop->timed || loop->slow == UCO__NEVER || now - loop->span_began <= loop->slow)
        return;
    uco__report(
        loop, NULL,
        "one of the last %u steps kept the loop for %.3f s without suspending: nothing else "
        "could run (slow_callback is %.3f s). They were too short to be timed each",
        loop->span, uco__clock_to_seconds(now - loop->span_began),
        uco__clock_to_seconds(loop->slow));
}

void
uco__loop_breathe(struct uco_loop *loop)
{
    uint64_t now = uco__clock_real();
    /* With a seed the kernel is asked after each span, however fast the machine is today: when an
     * event is seen is part of the order that the seed gives again. */
    uint64_t took = loop->options.seed == 0 ? now - loop->polled : POLL_INTERVAL;

    loop_end_span(loop, now);
    /* A clock read a step is nothing beside steps that do some work, and everything beside tasks
     * that only take turns. */
    loop->timed = loop->slow != UCO__NEVER && now - loop->span_began > loop->span * STEP_SHORT;
    loop->span_began = now;
    if (took >= POLL_INTERVAL) {
        if (took > 2 * POLL_INTERVAL && loop->span > 1)
            loop->span /= 2;
        else if (loop->span < SPAN_MAX)
            loop->span *= 2;
        loop_poll(loop, 0);
    } else if (now - loop->looked_in >= TAKE_INTERVAL) {
        loop->looked_in = now;
        loop_take_posts(loop);
    }
    if (loop->timed)
        loop->step_began = uco__loop_step_clock(loop);
    uco__scheduler_set_pace(loop);
    uco__scheduler_set_budget(&loop->scheduler, loop->span);
}

static void
loop_wake_settlers(struct uco_loop *loop)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&loop->settlers)) != NULL)
        uco__wake(UCO__CONTAINER(link, struct uco__settler, link)->wait, 0);
}

/* Whether a virtual clock is free to go on. The end of a job counts only once the loop is asleep
 * for others (the job rings then): so this is asked again after that. */
static bool
loop_can_jump(struct uco_loop *loop)
{
    return loop->options.clock == UCO_CLOCK_VIRTUAL && atomic_load(&loop->busy) == 0 &&
           loop->timers.wheel.count != loop->timers.background;
}

/* What comes before a wait: whoever asked for quiet has it now, and a virtual clock jumps. True if
 * that made anything ready. */
static bool
loop_settle(struct uco_loop *loop)
{
    /* Looked at before the inbox: a job that ends posts first and is no longer counted then. */
    bool can_jump = loop_can_jump(loop);
    uint64_t handled, next;

    if (loop->options.clock == UCO_CLOCK_REAL && uco__list_empty(&loop->settlers))
        return false;
    if (loop->poller.trusting && loop->options.clock != UCO_CLOCK_REAL)
        uco__poller_check(&loop->poller); /* virtual time stands still until then */
    /* What an event makes uco itself do, as sending on, can be the cause of another. */
    do {
        handled = loop->poller.handled;
        if (!loop_poll(loop, 0))
            loop_poll(loop, 0); /* a failure that passes is no quiet */
    } while (loop->poller.handled != handled && !loop_has_ready(loop));
    if (loop_has_ready(loop))
        return true;
    if (!uco__list_empty(&loop->settlers)) {
        loop_wake_settlers(loop);
        return true;
    }
    if (!can_jump)
        return false;
    next = uco__wheel_next(&loop->timers.wheel);
    if (next > loop->virtual_now)
        loop->virtual_now = next;
    loop->moment = loop->virtual_now;
    uco__timers_expire(loop, loop->virtual_now);
    return true; /* if only a removed timer's moment has come, the next turn goes on from there */
}

static uint64_t
loop_timeout(const struct uco_loop *loop)
{
    uint64_t next = uco__wheel_next(&loop->timers.wheel);
    uint64_t now;

    if (loop->options.clock != UCO_CLOCK_REAL || next == UCO__NEVER)
        return UCO__NEVER;
    now = uco__clock_real();
    return next > now ? next - now : 0;
}

/* Looks at the kernel again and again for a while before sleeping there; true if that found
 * something. */
static bool
loop_spin(struct uco_loop *loop)
{
    uint64_t until;

    if (loop->options.spin == 0)
        return false;
    until = uco__clock_after(uco__clock_real(), loop->options.spin);
    do {
        loop_poll(loop, 0);
        if (loop_has_ready(loop) || atomic_load(&loop->stopping))
            return true;
    } while (loop->polled < until);
    return false;
}

/* Whether only other threads and signals could wake the loop. */
static bool
loop_is_stuck(struct uco_loop *loop)
{
    return loop->timers.wheel.count == loop->timers.background && loop->sleepers == 0 &&
           loop->poller.waiting == 0 && loop->poller.watching == 0 && loop->wake_callback == NULL &&
           atomic_load(&loop->busy) == 0 && uco__inbox_empty(&loop->inbox);
}

/* Nothing is ready: waits until something is. */
static void
loop_wait(struct uco_loop *loop)
{
    uint64_t timeout;
    bool stuck;

    if (UCO__UNLIKELY(!loop->timed) && loop->slow != UCO__NEVER) {
        loop_end_span(loop, uco__clock_real());
        loop->timed = true;
        uco__scheduler_set_pace(loop);
    }
    if (loop_settle(loop) || loop_spin(loop))
        return;
    timeout = loop_timeout(loop);
    stuck = loop->stuck_wait != 0 && loop_is_stuck(loop);
    if (stuck && timeout > loop->stuck_wait)
        timeout = loop->stuck_wait;
    if (uco__trim_before(loop, &timeout))
        stuck = false;
    uco__poller_check_before(&loop->poller, loop->polled, &timeout);
    if (!uco__inbox_sleep(&loop->inbox) || atomic_load(&loop->stopping) ||
        atomic_load(&loop->woken) || loop_can_jump(loop))
        timeout = 0;
    loop_poll(loop, timeout);
    uco__inbox_awake(&loop->inbox);
    if (loop_has_ready(loop)) {
        loop->stuck_wait = loop->stuck_wait != 0 ? STUCK_WAIT_MIN : 0;
    } else if (stuck) {
        loop->operations->stuck(loop);
        if (loop->stuck_wait < STUCK_WAIT_MAX)
            loop->stuck_wait *= 2;
    }
}

void
uco__loop_look_for_deadlocks(struct uco_loop *loop)
{
    loop->stuck_wait = STUCK_WAIT_MIN;
}

bool
uco__loop_run(struct uco_loop *loop)
{
    loop->until_done = false;
    uco__scheduler_set_pace(loop);
    for (;;) {
        loop_take_posts(loop);
        if (atomic_load(&loop->stopping))
            loop_poll(loop, 0);
        else if (!loop_has_ready(loop))
            loop_wait(loop);
        else if (loop->scheduler.budget == 0)
            uco__loop_breathe(loop);
        if (uco__wheel_is_due(&loop->timers.wheel))
            uco__timers_expire(loop, loop->timers.wheel.now);
        uco__scheduler_turn(loop);
        if (loop->until_done || atomic_load(&loop->stopping)) {
            loop_end_span(loop, uco__clock_real());
            atomic_store(&loop->stopping, false);
            return loop->until_done;
        }
    }
}

void
uco__loop_turn(struct uco_loop *loop)
{
    loop_take_posts(loop);
    uco__scheduler_turn(loop);
}

void
uco__loop_drop(struct uco_loop *loop)
{
    loop->dropping = true;
    while (loop_has_ready(loop))
        uco__scheduler_turn(loop);
    loop->dropping = false;
}

/* --- small things --- */

bool
uco_loop_is_running(const uco_loop *loop)
{
    return loop != NULL && !uco__loop_stale(loop) && atomic_load(&loop->runner) != NULL;
}

uco_loop *
uco_get_running_loop(void)
{
    int error;

    return uco__loop_current(&error);
}

double
uco_time(void)
{
    int error;
    struct uco_loop *loop = uco__loop_current(&error);

    return uco__clock_to_seconds(loop != NULL ? uco__loop_now(loop) : uco__clock_real());
}
