/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_LOOP_H
#define UCO_CORE_LOOP_H

/* The loop: a machine that takes turns. What tasks mean, and how a loop is run and closed, is
 * task/'s. */

#include "base/clock.h"
#include "base/compiler.h"
#include "base/list.h"
#include "base/system.h"
#include "core/altstack.h"
#include "core/calls.h"
#include "core/foreign.h"
#include "core/inbox.h"
#include "core/poller.h"
#include "core/scheduler.h"
#include "core/stack.h"
#include "core/timers.h"

#include <stdatomic.h>
#include <uco/loop.h>

/* Something that a user opens on a loop and must close: if it is not, the loop does, and reports
 * the line. */
struct uco__resource {
    struct uco__list link;
    const char *kind; /* "HTTP client"; NULL: of uco's own, closed after all others and not
                         reported */
    const char *file;
    int line;
    void (*close)(struct uco__resource *resource); /* on the loop's stack, when no task is left;
                                                      must not suspend */
};

/* One who waits for the loop to have nothing to do. */
struct uco__settler {
    struct uco__list link;
    struct uco__wait *wait;
};

/* What the loop needs from above. */
struct uco__loop_operations {
    const struct uco__fiber_operations *fiber;
    void (*signalled)(struct uco_loop *loop); /* on the loop's thread, after uco__loop_ring() */
    void (*stuck)(struct uco_loop *loop);     /* nothing of its own can ever wake it: no timer, fd
                                                 or job is left */
    void (*orphaned)(struct uco_loop *loop);  /* the last handle is gone, and nobody closed it */
    /* Once a period: memory of tasks that was not needed goes back to the system, about that of so
     * many; false: there is no more. */
    bool (*trim)(struct uco_loop *loop, unsigned most);
    bool (*has_spare)(const struct uco_loop *loop); /* whether there is some */
    void (*free)(struct uco_loop *loop);            /* the last reference is gone */
};

struct uco_loop {
    /* Written by any thread. */
    atomic_uint handles;          /* uco_loop_ref(), and one while it runs */
    atomic_uint references;       /* all the handles together hold one, each future one: the
                                     memory */
    _Atomic(const void *) runner; /* uco__thread_self() of the thread that runs or closes the loop;
                                     NULL: none */
    atomic_bool closing;          /* posts of users are refused */
    atomic_bool closed;
    atomic_bool stopping; /* uco_loop_stop() */
    atomic_bool woken;    /* uco__loop_ring() */
    atomic_bool wake_due; /* uco_wake_from_signal() */
    atomic_uint busy;     /* jobs elsewhere that hold a virtual clock */
    unsigned forks;       /* uco__forks when it was made */
    uint32_t number;      /* in the process; never 0 */
    char apart[UCO__CACHE_LINE];
    struct uco__inbox inbox;
    /* What other threads write again and again shares no line with what the loop does. */
    char inbox_apart[UCO__CACHE_LINE];

    /* The loop's thread's only. */
    struct uco__calls calls;
    struct uco__scheduler scheduler;
    struct uco__timers timers;
    struct uco__poller poller;
    struct uco__stacks stacks;
    struct uco__stack_pool *stack_pool; /* for tasks that do not say */
    struct uco_loop_options options;    /* defaults filled in */
    uint64_t virtual_now;               /* of a clock that is not real */
    uint64_t polled;                    /* when the kernel was last asked; real clock */
    uint64_t moment;                    /* the same by the loop's clock: waits are dated by it */
    uint64_t looked_in;                 /* when to the inbox, in the middle of a turn; real clock */
    unsigned span;                      /* switches between two looks at the clock */
    uint64_t trim_at;                   /* when to look for memory to give back; real clock */
    uint64_t step_began;                /* uco__loop_step_clock() */
    uint64_t slow;                      /* ns that a step may take; UCO__NEVER: not timed */
    bool slow_coarse;                   /* long enough for the cheap clock */
    bool timed;                         /* each step is, now */
    uint64_t span_began;                /* when the present span of the budget did; real clock */
    int *errno_location;                /* of the thread that runs it */
    struct uco__foreign foreign;
    struct uco__signal_port *signal_port; /* NULL: it never wanted a signal */
    struct uco__list settlers;            /* uco_test_settle() */
    struct uco__list resources;
    unsigned long resource_count;
    struct uco__altstack altstack;
    int cancel_state;    /* its thread's, for when the loop is left: pthread_setcancelstate(3) */
    long timer_slack;    /* the thread's own, to be put back; -1: not changed */
    uint64_t stuck_wait; /* ns until one that may be stuck looks for a deadlock; 0: it never does */
    unsigned long sleepers; /* tasks that sleep until they are cancelled, or wait for what only
                               others can do (a signal, the end of a process) */
    bool poll_failed;       /* reported */
    uco_callback *wake_callback;
    void *wake_arg;
    struct uco__ready wake_ready;
    bool wake_queued;
    const struct uco__loop_operations *operations; /* task/'s */
    bool unguarded_reported;
    bool reporting;  /* inside the exception handler */
    bool ending;     /* the last of the close: nothing new is taken, not even from its own thread */
    bool dropping;   /* callbacks that are still queued are freed without being run */
    bool until_done; /* what uco__loop_run() waits for has happened */
    struct uco__list all_link; /* in the list of all loops, for fork() */
    uint64_t posts;
    uint64_t polls;
};

/* The loop that this thread runs; also a parent's after fork(). */
UCO__EXPORT extern __thread struct uco_loop *uco__running
    __attribute__((tls_model("initial-exec")));
/* How often this process is the child of a fork(). */
extern unsigned uco__forks;

/* Fills in a zeroed loop: 0, or a negative error and nothing is left over. */
int uco__loop_init(struct uco_loop *loop, const uco_loop_options *options,
                   const struct uco__loop_operations *operations);
/* Closes what is left of it but its memory: after it nothing runs on it any more. */
void uco__loop_done(struct uco_loop *loop);

void uco__loop_hold(struct uco_loop *loop);
void uco__loop_release(struct uco_loop *loop);

/* The thread becomes the loop's runner: 0; -EBUSY inside a running loop; -EPERM when another thread
 * has it. */
int uco__loop_enter(struct uco_loop *loop, struct uco_loop **outer);
void uco__loop_leave(struct uco_loop *loop, struct uco_loop *outer);
/* Takes in what was posted, and runs what is ready, once. Does not wait. */
void uco__loop_turn(struct uco_loop *loop);
/* Frees what is still queued, without running it. */
void uco__loop_drop(struct uco_loop *loop);
/* Turns until `until_done` is set (true) or uco_loop_stop() was called (false). */
bool uco__loop_run(struct uco_loop *loop);
/* From now on its operations are asked when it seems stuck. */
void uco__loop_look_for_deadlocks(struct uco_loop *loop);
/* Home, in the middle of a turn: looks at the clock, and at the kernel if that was not done for a
 * while. */
void uco__loop_breathe(struct uco_loop *loop);

/* What uco__loop_run() waits for has happened. */
static inline void
uco__loop_done_waiting(struct uco_loop *loop)
{
    loop->until_done = true;
    uco__scheduler_set_pace(loop);
}

/* Whether this loop was made by a parent of this process. */
static inline bool
uco__loop_stale(const struct uco_loop *loop)
{
    return UCO__UNLIKELY(loop->forks != uco__forks);
}

/* May the calling thread use the loop? 0, -EINVAL (NULL), -ESTALE, -ESHUTDOWN (closed), -EPERM
 * (another thread's). */
UCO__EXPORT int uco__loop_check(const struct uco_loop *loop);
/* The list of all loops (core/loops.c). */
void uco__loops_setup(void);
void uco__loops_add(struct uco_loop *loop);
void uco__loops_remove(struct uco_loop *loop);
/* Outside any running loop: may the calling thread use what is bound to the loop of this number? 0
 * when nobody runs that loop, or it has closed; -EPERM, -ESTALE. */
int uco__loop_check_idle(uint32_t number);
/* Whether the loop of this number is there and has not closed. */
bool uco__loop_is_open(uint32_t number);
/* The running loop of this thread for functions that need one: NULL, and -EPERM or -ESTALE in
 * *error. */
UCO__EXPORT struct uco_loop *uco__loop_current(int *error);

/* Whether the calling thread runs this loop now. */
static inline bool
uco__loop_is_here(const struct uco_loop *loop)
{
    /* Relaxed: no other thread can make this one's answer change. */
    return uco__running == loop &&
           atomic_load_explicit(&loop->runner, memory_order_relaxed) == uco__thread_self();
}

/* The clock that steps are timed with. */
static inline uint64_t
uco__loop_step_clock(const struct uco_loop *loop)
{
    return UCO__LIKELY(loop->slow_coarse) ? uco__clock_coarse() : uco__clock_real();
}

UCO__EXPORT uint64_t uco__loop_now(const struct uco_loop *loop);

/* From any thread, also while the loop closes: refused (-ESHUTDOWN) only once it is closed. On the
 * loop's own thread the node joins the run queue at once. */
UCO__EXPORT int uco__loop_post(struct uco_loop *loop, struct uco__ready *node);

/* Async-signal-safe: what signal handlers have left for the loop is looked at. 0, or -ESHUTDOWN. */
int uco__loop_ring(struct uco_loop *loop);

/* uco__inbox_push() for those who hold no handle: the loop may take the node, close and be freed
 * before the push has returned. */
int uco__loop_push(struct uco_loop *loop, struct uco__ready *node);

UCO__EXPORT void uco__loop_add_resource(struct uco_loop *loop, struct uco__resource *resource);
UCO__EXPORT void uco__loop_remove_resource(struct uco_loop *loop, struct uco__resource *resource);

/* For other layers' use of the poller, with the loop's own. */
UCO__EXPORT int uco__loop_watch(struct uco_loop *loop, struct uco__fd_watcher *watcher);
UCO__EXPORT void uco__loop_unwatch(struct uco_loop *loop, struct uco__fd_watcher *watcher);

#endif
