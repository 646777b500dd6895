/* SPDX-License-Identifier: MIT */

/*
 * Tasks.
 *
 * 1. A task that has not ended holds a reference to itself and stands in its parent's `children`,
 *    or in the loop's roots.
 * 2. A task's phase goes from NEW to RUNNING, RETURNED and ENDED; NEW to ENDED when it never
 *    started. Its result is published at ENDED, when it has no child left.
 * 3. A NEW task that is cancelled keeps its place in the run queue, but as a callback: its discard,
 *    not its body, runs then.
 */

#include "task/task.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "task/dump.h"
#include "task/group.h"
#include "task/local.h"
#include "task/runtime.h"
#include "task/stack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TASK_NAME_MAX 32
#define IDS_AT_ONCE 64 /* that a loop takes for its tasks */

_Atomic(uco__task_locks_left *) uco__task_lost_locks;

static atomic_uint_fast64_t task_ids;

/* --- the end of a task --- */

void
uco__task_check_children(struct uco__task *task)
{
    if (task->phase == UCO__TASK_RETURNED && uco__task_fiber(task)->wait != NULL &&
        uco__list_empty(&task->children))
        uco__wake(uco__task_fiber(task)->wait, 0);
}

/* Publishes the result. The task may be gone when this returns. */
static void
task_end(struct uco__task *task, intptr_t result)
{
    struct uco__runtime *runtime = uco__runtime_of(task->future.loop);

    if (UCO__UNLIKELY(task->locals != NULL))
        uco__locals_drop(task);
    if (UCO__UNLIKELY(runtime->loop.stacks.watched) && task->phase != UCO__TASK_NEW)
        uco__task_check_stack(task);
    task->phase = UCO__TASK_ENDED;
    uco__task_fiber(task)->ready.state = UCO__FIBER_ENDED;
    uco__list_remove(&task->sibling);
    if (task->parent != NULL)
        uco__task_check_children(task->parent);
    runtime->tasks--;
    if (runtime->draining && runtime->tasks == 0)
        uco__loop_done_waiting(&runtime->loop);
    uco__future_resolve(&task->future, result);
    if (task->group != NULL)
        uco__group_member_ended(task);
    uco_unref(&task->future);
}

/* Ends a task that never ran. */
static void
task_discard(struct uco__task *task, intptr_t result)
{
    if (task->discard != NULL)
        task->discard(task->arg);
    task_end(task, result);
}

static void
task_discard_run(struct uco__ready *node)
{
    task_discard(uco__task_of_ready(node), -ECANCELED);
}

void
uco__task_remind(struct uco__task *task)
{
    uco__report(task->future.loop, &task->future,
                "task '%s' was cancelled and has not ended: it waits in a shield, or ignores its "
                "cancellation",
                uco__task_name(task));
}

void
uco__task_remind_all(struct uco__list *siblings)
{
    UCO__LIST_EACH(link, siblings)
        uco__task_remind(UCO__CONTAINER(link, struct uco__task, sibling));
}

struct reminder {
    struct uco__timer timer;
    struct uco__task *task;
};

static void
reminder_fire(struct uco__timer *timer)
{
    struct uco__task *task = UCO__CONTAINER(timer, struct reminder, timer)->task;

    if (uco__task_fiber(task)->wait != NULL)
        uco__wake(uco__task_fiber(task)->wait, UCO__REMINDED);
}

/* Rule 5 of the API: the tasks that a coroutine created end before it does. Nothing interrupts
 * this. */
static void
task_end_children(struct uco__task *task)
{
    struct uco_loop *loop = task->future.loop;
    struct reminder reminder = {.task = task};
    struct uco__wait wait;

    task->phase = UCO__TASK_RETURNED;
    /* A child that is cancelled does not end at once, so the list stays as it is. */
    UCO__LIST_EACH(link, &task->children)
        uco__task_cancel(&UCO__CONTAINER(link, struct uco__task, sibling)->future);
    uco__timer_init(&reminder.timer, reminder_fire);
    reminder.timer.background = true;
    while (!uco__list_empty(&task->children)) {
        if (!uco__timer_pending(&reminder.timer))
            uco__timer_start(loop, &reminder.timer,
                             uco__clock_after(uco__loop_now(loop), UCO__TASK_REMIND));
        uco__wait_init(&wait, &uco__wait_children, NULL);
        if (uco__park(&wait) == UCO__REMINDED)
            uco__task_remind_all(&task->children);
    }
    uco__timer_stop(loop, &reminder.timer);
}

/* The body has returned: what it holds and has left open is seen to. */
static void
task_body_ended(struct uco__task *task)
{
    struct uco__ending *ending;

    task->holding = false;
    if (UCO__UNLIKELY(task->scope != &task->root))
        uco__scope_close_all(task);
    /* Relaxed: this thread has set it, if it got a lock for the task. */
    if (UCO__UNLIKELY(task->locks > 0))
        atomic_load_explicit(&uco__task_lost_locks, memory_order_relaxed)(task);
    while ((ending = task->endings) != NULL) {
        uco__ending_remove(ending);
        ending->run(ending, task);
    }
    if (!uco__list_empty(&task->children))
        task_end_children(task);
}

static intptr_t
task_result(struct uco__task *task, intptr_t result)
{
    if (UCO__LIKELY(uco__future_result_valid(result)))
        return result;
    uco__report(task->future.loop, &task->future,
                "task '%s' returned %jd: results are zero or more, or a negative errno down to "
                "-%d; it counts as -EINVAL",
                uco__task_name(task), (intmax_t) result, UCO_MAX_ERROR);
    return -EINVAL;
}

static void
task_body(struct uco__fiber *fiber)
{
    struct uco__task *task = uco__task_of_fiber(fiber);
    struct uco_loop *loop = task->future.loop;
    intptr_t result;

    task->phase = UCO__TASK_RUNNING;
    uco__task_fiber(task)->ready.began = true;
    task->http_error = NULL;
    task->holding = true;
    result = task->fn(task->arg);
    if (UCO__UNLIKELY(uco__loop_stale(loop)))
        uco__panic(
            "a coroutine returned in a child of fork(): the child must end with _exit() or exec()");
    if (UCO__UNLIKELY(loop->timed))
        uco__scheduler_step_end(loop, fiber);
    result = task_result(task, result);
    task_body_ended(task);
    task_end(task, result);
}

static void
task_no_stack(struct uco__fiber *fiber)
{
    task_discard(uco__task_of_fiber(fiber), -ENOMEM);
}

static uco_task *
task_handle(struct uco__fiber *fiber)
{
    return &uco__task_of_fiber(fiber)->future;
}

static const char *
task_fiber_name(const struct uco__fiber *fiber)
{
    return uco__task_name(uco__task_of_fiber(fiber));
}

const struct uco__fiber_operations uco__task_operations = {
    .body = task_body,
    .no_stack = task_no_stack,
    .task = task_handle,
    .name = task_fiber_name,
    .about = uco__task_about,
    .on_stack = uco__task_blocks_on_stack,
};

/* --- the beginning --- */

static void
task_adopt_run(struct uco__ready *node)
{
    struct uco__task *task = uco__task_of_ready(node);

    uco__task_adopt(task, NULL);
    uco_unref(&task->future); /* the one that the submission took for the way here */
}

static void
task_cancel_run(struct uco__ready *node)
{
    struct uco__task *task = UCO__CONTAINER(node, struct uco__task, cancellation);

    atomic_store(&task->cancelling, false);
    if (task->phase != UCO__TASK_ENDED)
        uco__task_cancel(&task->future);
    uco_unref(&task->future);
}

static bool
task_set_name(struct uco__task *task, const char *name)
{
    char *copy;

    if (name == NULL)
        return true; /* most are never asked for it */
    copy = uco__string_copy(name);
    atomic_init(&task->name, copy);
    return copy != NULL;
}

int
uco__task_check_new(const uco_task_options *options, uco_fn *fn, const char *who)
{
    if (fn == NULL)
        return uco__misuse(-EINVAL, "%s: the function is NULL", who);
    if (options != NULL && options->stack_size != 0 &&
        uco__stack_size_round(options->stack_size) == 0)
        return uco__misuse(-EINVAL, "%s: the stack size is out of range", who);
    return 0;
}

/* Unique in the process. */
static uint64_t
task_id_new(struct uco_loop *loop, bool here)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);

    if (!here)
        return atomic_fetch_add_explicit(&task_ids, 1, memory_order_relaxed) + 1;
    if (runtime->ids_left == 0) {
        runtime->next_id =
            atomic_fetch_add_explicit(&task_ids, IDS_AT_ONCE, memory_order_relaxed) + 1;
        runtime->ids_left = IDS_AT_ONCE;
    }
    runtime->ids_left--;
    return runtime->next_id++;
}

struct uco__task *
uco__task_new(struct uco_loop *loop, const uco_task_options *options, uco_fn *fn, void *arg,
              int *error)
{
    bool here = uco__loop_is_here(loop);
    struct uco__task *task;
    size_t stack_size = 0;

    *error = -EINVAL;
    if (options != NULL && options->stack_size != 0) {
        stack_size = uco__stack_size_round(options->stack_size);
        if (stack_size == 0)
            return NULL;
    }
    *error = -ENOMEM;
    task = uco__task_blocks_take(loop, here);
    if (task == NULL)
        return NULL;
    memset(&task->parent, 0,
           offsetof(struct uco__task, member) - offsetof(struct uco__task, parent));
    task->id = task_id_new(loop, here);
    if (!task_set_name(task, options != NULL ? options->name : NULL)) {
        uco__task_blocks_give(loop, task, here);
        return NULL;
    }
    uco__future_init(&task->future, UCO__FUTURE_TASK, loop);
    task->fn = fn;
    task->arg = arg;
    task->discard = options != NULL ? options->discard : NULL;
    task->file = NULL;
    task->line = 0;
    task->stack_pages = uco__stack_pages(stack_size);
    task->phase = UCO__TASK_NEW;
    atomic_init(&task->cancelling, false);
    task->gai_error = 0;
    uco__task_fiber(task)->ready.run = task_adopt_run;
    uco__task_fiber(task)->ready.state = UCO__FIBER_NEW;
    uco__task_fiber(task)->ready.began = false;
    task->cancellation.run = task_cancel_run;
    uco__list_init(&task->sibling);
    uco__list_init(&task->children);
    task->endings = NULL;
    uco__scope_init_root(&task->root, task);
    task->scope = &task->root;
    return task;
}

/* Joins the tree; false, and the task has ended, when it cannot run. */
static bool
task_join_tree(struct uco__task *task, struct uco__task *parent)
{
    struct uco__runtime *runtime = uco__runtime_of(task->future.loop);
    struct uco__fiber *current;
    struct uco__stack_pool *pool = runtime->loop.stack_pool;

    if (UCO__UNLIKELY(task->stack_pages != 0))
        pool = uco__stack_pool_get(&runtime->loop.stacks, uco__stack_pages_size(task->stack_pages));
    uco__fiber_init(uco__task_fiber(task), pool);
    uco__task_fiber(task)->ready.attention = task->root.effective; /* cancelled on its way here */
    uco_ref(&task->future);
    task->parent = parent;
    uco__list_push_back(parent != NULL ? &parent->children : &runtime->roots, &task->sibling);
    runtime->tasks++;
    runtime->tasks_created++;
    if (pool != NULL && !runtime->loop.ending)
        return true;
    /* A discard is a callback, whoever causes it. */
    current = uco__scheduler_callback_begin(&runtime->loop);
    task_discard(task, pool == NULL ? -ENOMEM : -ECANCELED);
    uco__scheduler_callback_end(&runtime->loop, current);
    return false;
}

void
uco__task_adopt(struct uco__task *task, struct uco__task *parent)
{
    struct uco_loop *loop = task->future.loop;

    if (!task_join_tree(task, parent))
        return;
    uco__scheduler_start(loop, uco__task_fiber(task));
    if (task->root.effective)
        uco__task_interrupt(task); /* cancelled on its way here */
    /* A closing loop takes only what its tasks need to end. */
    if (parent == NULL && uco__runtime_of(loop)->draining)
        uco__task_cancel(&task->future);
}

void
uco__task_begin(struct uco__task *task, struct uco__task *parent, bool eager)
{
    struct uco_loop *loop = task->future.loop;

    if (!eager || uco__runtime_of(loop)->draining || loop->scheduler.detours > 0)
        uco__task_adopt(task, parent);
    else if (task_join_tree(task, parent))
        uco__scheduler_start_eager(loop, uco__task_fiber(task));
}

static uco_task *
task_create(const char *file, int line, const uco_task_options *options, uco_fn *fn, void *arg)
{
    struct uco_loop *loop;
    struct uco__fiber *fiber;
    struct uco__task *task;
    struct uco__task *parent = NULL;
    int error = uco__task_check_new(options, fn, "uco_create_task");

    if (error < 0)
        return uco__error_null(error);
    loop = uco__loop_current(&error);
    if (loop == NULL)
        return uco__error_null(uco__misuse(error, "uco_create_task: outside a running loop"));
    if (loop->ending)
        return uco__error_null(-ESHUTDOWN);
    task = uco__task_new(loop, options, fn, arg, &error);
    if (task == NULL)
        return uco__error_null(error);
    task->file = file;
    task->line = line;
    fiber = loop->scheduler.current;
    if (fiber != NULL) {
        parent = uco__task_of_fiber(fiber);
        uco__locals_inherit(task, parent);
    }
    uco__task_begin(task, parent, options != NULL && options->eager);
    return &task->future;
}

uco_task *
uco_create_task_at(const char *file, int line, const uco_task_options *options, uco_fn *fn,
                   void *arg)
{
    return task_create(file, line, options, fn, arg);
}

uco_task *(uco_create_task) (uco_fn *fn, void *arg)
{
    return task_create(NULL, 0, NULL, fn, arg);
}

uco_task *(uco_create_task_with) (const uco_task_options *options, uco_fn *fn, void *arg)
{
    return task_create(NULL, 0, options, fn, arg);
}

static void
task_free_now(struct uco__task *task)
{
    struct uco_loop *loop = task->future.loop;
    char *name = atomic_load_explicit(&task->name, memory_order_relaxed);

    if (UCO__UNLIKELY(name != NULL))
        uco__free(name);
    if (UCO__UNLIKELY(uco__task_fiber(task)->ready.began && task->http_error != NULL))
        uco__free(task->http_error);
    uco__task_blocks_give(loop, task, uco__loop_is_here(loop));
}

static void
task_report_unread(struct uco__task *task)
{
    intptr_t result = task->future.result;

    uco__report(task->future.loop, &task->future,
                "task '%s' (created at %s:%d) failed with %jd (%s), and nobody read its result",
                uco__task_name(task), task->file != NULL ? task->file : "?", task->line,
                (intmax_t) result, uco_strerror((int) result));
}

static void
task_report_run(struct uco__ready *node)
{
    struct uco__task *task = uco__task_of_ready(node);

    task_report_unread(task);
    uco_unref(&task->future);
}

/* The last reference is gone, so the task has ended (or was never adopted). In which thread, nobody
 * knows; but reports belong to the loop's, while it lives. The report has a reference of its own,
 * so that a handler may keep the task. */
void
uco__task_free(struct uco_future *future)
{
    struct uco__task *task = uco__task_of(future);
    struct uco_loop *loop = future->loop;
    int posted = -ESHUTDOWN;

    if (!uco__future_is_resolved(future) || future->result >= 0 || future->result == -ECANCELED ||
        atomic_load_explicit(&future->read, memory_order_relaxed)) {
        task_free_now(task);
        return;
    }
    atomic_store(&future->references, 1);
    atomic_store(&future->read, true);
    if (atomic_load(&loop->runner) != uco__thread_self() && !uco__loop_stale(loop)) {
        uco__task_fiber(task)->ready.run = task_report_run;
        posted = uco__loop_push(loop, &uco__task_fiber(task)->ready);
    }
    if (posted < 0)
        task_report_run(&uco__task_fiber(task)->ready);
}

/* --- cancellation --- */

void
uco__task_interrupt(struct uco__task *task)
{
    if (task->phase == UCO__TASK_NEW && uco__task_fiber(task)->ready.state == UCO__FIBER_STARTED)
        uco__task_fiber(task)->ready.run = task_discard_run;
    else if (task->phase == UCO__TASK_RUNNING)
        uco__interrupt(uco__task_fiber(task), UCO__INTERRUPTED);
}

int
uco__task_cancel(struct uco_future *future)
{
    struct uco__task *task = uco__task_of(future);
    struct uco_loop *loop = future->loop;

    if (uco__loop_stale(loop))
        return uco__misuse(-ESTALE,
                           "the task's loop was made before fork(): in the child it is dead");
    if (uco__loop_is_here(loop)) {
        uco__scope_cancel_now(&task->root, UCO__SCOPE_CANCELLED);
        return 0;
    }
    if (atomic_exchange(&task->cancelling, true))
        return 0;
    uco_ref(future);
    if (uco__inbox_push(&loop->inbox, &task->cancellation) < 0) {
        atomic_store(&task->cancelling, false);
        uco_unref(future);
        return -EALREADY; /* the loop has closed: no task of it is left */
    }
    return 0;
}

/* --- small calls --- */

int
uco_detach(uco_task *t)
{
    struct uco__task *task;
    int r;

    if (t == NULL || t->kind != UCO__FUTURE_TASK || uco__future_is_resolved(t))
        return uco__misuse(-EINVAL, "uco_detach: NULL, not a task, or finished");
    r = uco__loop_check(t->loop);
    if (r < 0)
        return r;
    task = uco__task_of(t);
    if (task->parent == NULL)
        return 0; /* the loop's already, or on its way to it */
    uco__list_remove(&task->sibling);
    uco__list_push_back(&uco__runtime_of(t->loop)->roots, &task->sibling);
    uco__task_check_children(task->parent);
    task->parent = NULL;
    if (task->group != NULL)
        uco__group_member_detached(task);
    if (uco__runtime_of(t->loop)->draining)
        uco__task_cancel(t);
    return 0;
}

uco_task *
uco_current_task(void)
{
    int error;
    struct uco__task *task = uco__task_current(&error);

    return task != NULL ? &task->future : NULL;
}

/* "Task-<id>", made when it is first asked for; without memory it is only called what it is. */
const char *
uco__task_name(struct uco__task *task)
{
    char *name = atomic_load_explicit(&task->name, memory_order_acquire);
    char *made;

    if (name != NULL)
        return name;
    made = uco__allocate(TASK_NAME_MAX);
    if (made == NULL)
        return "Task";
    snprintf(made, TASK_NAME_MAX, "Task-%" PRIu64, task->id);
    /* Release pairs with the acquire above, maybe another thread's. */
    if (atomic_compare_exchange_strong(&task->name, &name, made))
        return made;
    uco__free(made);
    return name;
}

const char *
uco_task_name(const uco_task *t)
{
    if (t == NULL || t->kind != UCO__FUTURE_TASK)
        return uco__error_null(uco__misuse(-EINVAL, "uco_task_name: NULL, or not a task"));
    return uco__task_name(uco__task_of(t));
}

uint64_t
uco_task_id(const uco_task *t)
{
    return t != NULL && t->kind == UCO__FUTURE_TASK ? uco__task_of(t)->id : 0;
}
