/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_TASK_H
#define UCO_TASK_TASK_H

/* A task: a fiber with a result, a place in the tree of tasks, and scopes. */

#include "base/compiler.h"
#include "base/list.h"
#include "core/leave.h"
#include "task/future.h"
#include "task/scope.h"

/* A task that ignores so many cancellations in a row is reported. */
#define UCO__TASK_IGNORED_MAX 1000
/* So many calls in a row may finish at once; then others get their turn. */
#define UCO__TASK_SUCCESSES_MAX 64
/* Seconds between two reports of tasks that ignore their cancellation. */
#define UCO__TASK_REMIND 10.0

enum uco__task_phase {
    UCO__TASK_NEW, /* its body has not begun */
    UCO__TASK_RUNNING,
    UCO__TASK_RETURNED, /* waits for its children */
    UCO__TASK_ENDED,
};

struct uco_group;
struct uco_lock;
struct uco__locals;
struct uco__task;

typedef void uco__task_locks_left(struct uco__task *task);

/* Who wants to know that a task's body has returned. Called once, before the task waits for its
 * children; the youngest first. */
struct uco__ending {
    struct uco__ending *next;
    struct uco__ending **place; /* the pointer to this; NULL: nobody's */
    void (*run)(struct uco__ending *ending, struct uco__task *task);
};

struct uco__task {
    struct uco_future future; /* first: a task is a future */
    uco_fn *fn;
    void *arg;
    struct uco__list sibling;  /* in the parent's children, or the loop's roots */
    struct uco__list children; /* that have not ended */
    struct uco__ending *endings;
    struct uco__scope root;
    struct uco__scope *scope; /* the innermost open one */
    union {
        void (*discard)(void *arg); /* until the body begins */
        void *http_error;           /* since then: http/'s note on this task's last request, a
                             uco__allocate()d block */
    };
    const char *file; /* where it was created; may be NULL */
    int line;
    uint32_t stack_pages; /* 0: the loop's */

    /* Zeroed for a new task, from here ... */
    struct uco__task *parent;   /* NULL: the loop's */
    struct uco__locals *locals; /* NULL: none */
    struct uco_group *group;    /* that it is a member of */
    _Atomic(char *) name;       /* allocated; NULL: made when it is asked for */
    struct uco_lock *contended; /* of the locks that it holds, those that others wait for; sync/'s,
                                     as is the next */
    uint32_t locks;             /* how many it holds */
    uint32_t calls_cut;         /* short by a cancellation, so far */
    struct uco__ready cancellation; /* from another thread */
    /* ... to here. */

    struct uco__list member; /* in the group's members */
    union {
        struct uco__task *search_next; /* of a search for a cycle of waits */
        struct uco__task *next_free;   /* of a free block */
    };
    uint64_t search; /* the last one that came by; kept from the block's last task */
    uint64_t id;
    bool holding;           /* its body runs, and so may hold locks; false in a free block */
    bool foreign;           /* the block is another thread's to use again */
    unsigned char phase;    /* enum uco__task_phase */
    atomic_bool cancelling; /* `cancellation` is on its way */
    int gai_error;          /* of its last look-up: an EAI_ code, or 0; io/'s */
};

/* Tasks and their fibers lie side by side, in segments that are aligned to their size. Those who
 * only take turns need the fibers alone: these lie densely, so that going from one to the next in
 * the order of their creation is a walk through memory that the processor foresees. */
#define UCO__TASK_SEGMENT_BYTES ((size_t) 64 * 1024)
#define UCO__TASK_SEGMENT_TASKS                                                                    \
    ((UCO__TASK_SEGMENT_BYTES - (size_t) 2 * UCO__CACHE_LINE) /                                    \
     (sizeof(struct uco__fiber) + sizeof(struct uco__task)))

struct uco__task_heap;

struct uco__task_segment {
    struct uco__list link; /* in one of the heap's lists */
    struct uco__task *free;
    struct uco__task_heap *heap;
    unsigned in_use;
    unsigned made;
    bool idle; /* and was so when the last period ended */
    _Alignas(UCO__CACHE_LINE) struct uco__fiber fibers[UCO__TASK_SEGMENT_TASKS];
    struct uco__task tasks[UCO__TASK_SEGMENT_TASKS];
};

_Static_assert(sizeof(struct uco__task_segment) <= UCO__TASK_SEGMENT_BYTES, "it fits");

static inline struct uco__task_segment *
uco__task_segment_of(const void *part)
{
    return (struct uco__task_segment *) ((uintptr_t) part &
                                         ~(uintptr_t) (UCO__TASK_SEGMENT_BYTES - 1));
}

/* Results of uco__task_park() beside what the wait was woken with. */
#define UCO__INTERRUPTED INTPTR_MIN
#define UCO__REMINDED (INTPTR_MIN + 1)

/* The calling task; NULL, and -EPERM or -ESTALE in *error. */
UCO__EXPORT struct uco__task *uco__task_current(int *error);

/* What each suspending call that is not a completing one begins with: 0, -EPERM, -ESTALE or
 * -ECANCELED. */
UCO__EXPORT int uco__checkpoint(void);
UCO__EXPORT int uco__task_checkpoint_slow(struct uco__task *task);
/* The same for completing calls: they do not fail in a cancelled scope. 0. */
int uco__task_checkpoint_completing(struct uco__task *task);
/* For a call that suspends in any case: it need not let others run before. */
int uco__task_checkpoint_suspending(struct uco__task *task);
/* The same for completing calls: they do not fail in a cancelled scope. */
int uco__checkpoint_completing(struct uco__task **task);

/* One of the calling task's calls is cut short by a cancellation; too many in a row are reported.
 */
void uco__task_deliver(struct uco__task *task);
/* Parks the calling task; UCO__INTERRUPTED when its scope was cancelled: the caller then returns
 * -ECANCELED. */
UCO__EXPORT intptr_t uco__task_park(struct uco__task *task, struct uco__wait *wait);

/* sync/'s, set with the first lock that a task gets: a task's body has returned and it holds locks.
 */
extern _Atomic(uco__task_locks_left *) uco__task_lost_locks;

static inline void
uco__task_add_ending(struct uco__task *task, struct uco__ending *ending)
{
    ending->next = task->endings;
    ending->place = &task->endings;
    if (ending->next != NULL)
        ending->next->place = &ending->next;
    task->endings = ending;
}

/* Fine for one that has run, or is nobody's. */
static inline void
uco__ending_remove(struct uco__ending *ending)
{
    if (ending->place == NULL)
        return;
    *ending->place = ending->next;
    if (ending->next != NULL)
        ending->next->place = ending->place;
    ending->place = NULL;
}

/* Its children have ended, or left it: wakes it if it waits for that. */
void uco__task_check_children(struct uco__task *task);
/* Any thread. 0. */
int uco__task_cancel(struct uco_future *future);
void uco__task_free(struct uco_future *future);
/* Loop's thread. A scope of the task was cancelled: ends the wait that it is parked in, if any. */
void uco__task_interrupt(struct uco__task *task);
/* Reports a task that was cancelled and does not end; or each of a list of siblings. */
void uco__task_remind(struct uco__task *task);
void uco__task_remind_all(struct uco__list *siblings);

/* For uco_run_coroutine_threadsafe() and the like: a task of the loop. Negative error in *error. */
struct uco__task *uco__task_new(struct uco_loop *loop, const uco_task_options *options, uco_fn *fn,
                                void *arg, int *error);
/* Loop's thread: joins the tree and starts. */
void uco__task_adopt(struct uco__task *task, struct uco__task *parent);
/* Loop's thread: the same, at once if the options say so and it can be. */
void uco__task_begin(struct uco__task *task, struct uco__task *parent, bool eager);
extern const struct uco__fiber_operations uco__task_operations;

/* What is wrong with a new task's options or body: 0, or -EINVAL with the message given. */
int uco__task_check_new(const uco_task_options *options, uco_fn *fn, const char *who);

UCO__EXPORT const char *uco__task_name(struct uco__task *task);

static inline struct uco__task *
uco__task_of_fiber(const struct uco__fiber *fiber)
{
    struct uco__task_segment *segment = uco__task_segment_of(fiber);

    return &segment->tasks[fiber - segment->fibers];
}

static inline struct uco__fiber *
uco__task_fiber(const struct uco__task *task)
{
    struct uco__task_segment *segment = uco__task_segment_of(task);

    return &segment->fibers[task - segment->tasks];
}

static inline struct uco__task *
uco__task_of_ready(struct uco__ready *node)
{
    return uco__task_of_fiber(UCO__CONTAINER(node, struct uco__fiber, ready));
}

static inline struct uco__task *
uco__task_of(const struct uco_future *future)
{
    return (struct uco__task *) (uintptr_t) future;
}

/* The calling task, if there is nothing odd about the caller; else NULL, and uco__task_current()
 * tells. */
static inline struct uco__task *
uco__task_here(void)
{
    const struct uco_loop *loop = uco__running;

    if (UCO__UNLIKELY(loop == NULL || uco__loop_stale(loop) || loop->scheduler.current == NULL))
        return NULL;
    return uco__task_of_fiber(loop->scheduler.current);
}

/* uco__task_park() for those who do it often. */
static inline __attribute__((always_inline)) intptr_t
uco__task_park_here(struct uco__task *task, struct uco__wait *wait)
{
    intptr_t r;

    /* Who waits several times in one call may have been cancelled while it was awake. */
    if (UCO__UNLIKELY(wait->fiber->ready.attention) && task->scope->effective &&
        wait->abort != NULL && !wait->woken && wait->abort(wait) == UCO__UNLINKED)
        uco__wake(wait, UCO__INTERRUPTED);
    r = uco__park_here(wait->loop, wait);
    wait->fiber->ready.successes = 0;
    if (UCO__UNLIKELY(r == UCO__INTERRUPTED))
        uco__task_deliver(task);
    return r;
}

/* The usual checkpoint of a task, given by its fiber, in which nobody else runs; false: it must be
 * the slow one. */
static inline bool
uco__fiber_pass(struct uco__fiber *fiber)
{
    struct uco__ready *own = &fiber->ready;

    if (UCO__UNLIKELY(own->attention || own->successes + 1 >= UCO__TASK_SUCCESSES_MAX))
        return false;
    own->ignored = 0;
    own->successes++;
    return true;
}

/* The same for completing calls. */
static inline bool
uco__fiber_pass_completing(struct uco__fiber *fiber)
{
    struct uco__ready *own = &fiber->ready;

    if (UCO__UNLIKELY(own->successes + 1 >= UCO__TASK_SUCCESSES_MAX))
        return false;
    own->ignored = 0;
    own->successes++;
    return true;
}

static inline bool
uco__task_pass(struct uco__task *task)
{
    return uco__fiber_pass(uco__task_fiber(task));
}

static inline bool
uco__task_pass_completing(struct uco__task *task)
{
    return uco__fiber_pass_completing(uco__task_fiber(task));
}

/* uco__checkpoint() for a caller that is known: 0 or -ECANCELED. */
static inline int
uco__task_checkpoint(struct uco__task *task)
{
    return UCO__LIKELY(uco__task_pass(task)) ? 0 : uco__task_checkpoint_slow(task);
}

#endif
