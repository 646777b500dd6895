/* SPDX-License-Identifier: MIT */

/*
 * What a dump tells of a loop and of each of its tasks.
 *
 * 1. Nothing of the loop is written to, and nothing of it is read but by copying (core/dump.h): a
 *    handler may have interrupted whatever changes it.
 */

#include "task/dump.h"
#include "task/runtime.h"

#include <string.h>

#define INDENT_MAX 30 /* levels that are indented */

struct tree {
    struct uco__dump *dump;
    const struct uco__runtime *runtime;
    struct uco__fiber *current, *eager;
    const char *here;                    /* an address of this function's stack */
    const struct uco__stack_slab *known; /* the slab that `slab` and `size` are of; or NULL */
    size_t size;                         /* of its stacks */
    struct uco__stack_slab slab;
};

/* --- a task's stack --- */

static bool
slab_read(struct tree *tree, const struct uco__stack_slab *at)
{
    if (tree->known == at)
        return true;
    tree->known = NULL;
    if (!UCO__DUMP_GET(tree->dump, &tree->slab, at) ||
        !UCO__DUMP_GET(tree->dump, &tree->size, &tree->slab.pool->size))
        return false;
    tree->known = at;
    return true;
}

/* From the first usable byte to the end of the stack. */
static bool
stack_range(struct tree *tree, const struct uco__stack *at, const char **base, const char **top)
{
    struct uco__stack stack;
    uintptr_t offset;
    size_t index;

    if (!UCO__DUMP_GET(tree->dump, &stack, at) || !slab_read(tree, stack.slab))
        return false;
    offset = (uintptr_t) at - (uintptr_t) stack.slab->stacks;
    index = offset / sizeof *at;
    if (index >= UCO__SLAB_STACKS_MAX)
        return false;
    *base = uco__stack_place(&tree->slab, tree->size, index);
    *top = *base + tree->size - uco__stack_colour(index);
    return true;
}

static void
task_stack(struct tree *tree, const struct uco__task_view *view)
{
    const struct uco__fiber *fiber = &view->fiber;
    const char *sp = fiber->context.sp, *base, *top;

    if (!uco__fiber_has_stack(fiber) || !stack_range(tree, fiber->stack, &base, &top))
        return;
    if (uco__task_fiber(view->at) == tree->current)
        sp = tree->here;
    uco__dump_text(tree->dump, "; stack ");
    if (sp >= base && sp <= top) {
        uco__dump_tenths(tree->dump, (uint64_t) (top - sp) * 10 / 1024);
        uco__dump_text(tree->dump, " of ");
    }
    uco__dump_number(tree->dump, tree->size / 1024);
    uco__dump_text(tree->dump, " KiB");
}

/* --- a task --- */

static void
wait_since(struct uco__dump *dump, const struct uco__wait *wait)
{
    uco__dump_text(dump, "; since ");
    uco__dump_time(dump, dump->now > wait->since ? dump->now - wait->since : 0);
}

static void
task_state(struct tree *tree, const struct uco__task_view *view)
{
    struct uco__dump *dump = tree->dump;
    const struct uco__fiber *fiber = uco__task_fiber(view->at);
    struct uco__wait wait;

    if (view->task.phase == UCO__TASK_RETURNED)
        uco__dump_text(dump, "has returned, and ");
    if (view->task.phase == UCO__TASK_NEW) {
        uco__dump_text(dump, "new, has not begun");
    } else if (fiber == tree->current) {
        uco__dump_text(dump, "runs");
    } else if (fiber == tree->eager) {
        uco__dump_text(dump, "goes on when the task that it started eagerly suspends");
    } else if (view->fiber.wait == NULL) {
        uco__dump_text(dump, "ready to run");
    } else {
        uco__dump_text(dump, "waits for ");
        if (uco__task_view_wait(dump, view, &wait)) {
            uco__dump_wait(dump, view->fiber.wait, wait.kind);
            wait_since(dump, &wait);
        } else {
            uco__dump_text(dump, UCO__DUMP_UNREADABLE);
        }
    }
}

/* Whether it is cancelled, and when it will be. */
static void
task_scopes(struct tree *tree, const struct uco__task_view *view)
{
    struct uco__dump *dump = tree->dump;
    struct uco__scope scope = view->task.root;
    bool inner = view->task.scope != &view->at->root;

    if (view->task.root.cause != UCO__SCOPE_ALIVE)
        uco__dump_text(dump, "; cancelled");
    if (inner && !UCO__DUMP_GET(dump, &scope, view->task.scope))
        return;
    if (view->task.root.cause != UCO__SCOPE_ALIVE) {
        if (!scope.effective)
            uco__dump_text(dump, ", but in a shield");
    } else if (scope.effective) {
        uco__dump_text(dump, "; in a cancelled scope");
    } else if (scope.reach != UCO__NEVER) {
        uco__dump_text(dump, "; times out in ");
        uco__dump_time_until(dump, scope.reach);
    }
}

static void
task_facts(struct tree *tree, const struct uco__task_view *view)
{
    struct uco__dump *dump = tree->dump;

    task_scopes(tree, view);
    if (view->task.locks > 0) {
        uco__dump_text(dump, "; holds ");
        uco__dump_number(dump, view->task.locks);
        uco__dump_text(dump, view->task.locks == 1 ? " lock" : " locks");
    }
    if (view->task.file != NULL) {
        uco__dump_text(dump, "; made at ");
        if (!uco__dump_string(dump, view->task.file))
            uco__dump_text(dump, "?");
        uco__dump_text(dump, ":");
        uco__dump_number(dump, (uint64_t) (view->task.line > 0 ? view->task.line : 0));
    }
    task_stack(tree, view);
}

static void
tree_indent(struct uco__dump *dump, unsigned depth)
{
    for (unsigned i = 0; i <= depth && i <= INDENT_MAX; i++)
        uco__dump_text(dump, "  ");
    if (depth > INDENT_MAX) {
        uco__dump_text(dump, "(level ");
        uco__dump_number(dump, depth);
        uco__dump_text(dump, ") ");
    }
}

static void
tree_task(struct tree *tree, const struct uco__task_view *view, unsigned depth)
{
    tree_indent(tree->dump, depth);
    uco__dump_text(tree->dump, "task ");
    uco__task_view_name(tree->dump, view);
    uco__dump_text(tree->dump, ": ");
    task_state(tree, view);
    task_facts(tree, view);
    uco__dump_text(tree->dump, "\n");
}

/* --- the loop --- */

static void
head_count(struct uco__dump *dump, uint64_t count, const char *one, const char *many)
{
    uco__dump_text(dump, ", ");
    uco__dump_number(dump, count);
    uco__dump_text(dump, count == 1 ? one : many);
}

static void
tree_head(struct uco__dump *dump, const struct uco__runtime *runtime)
{
    const struct uco_loop *loop = &runtime->loop;
    uint64_t tasks = 0, timers = 0, background = 0;
    size_t fds = 0, watched = 0;
    unsigned jobs = 0;

    UCO__DUMP_GET(dump, &tasks, &runtime->tasks);
    UCO__DUMP_GET(dump, &timers, &loop->timers.wheel.count);
    UCO__DUMP_GET(dump, &background, &loop->timers.background);
    UCO__DUMP_GET(dump, &fds, &loop->poller.waiting);
    UCO__DUMP_GET(dump, &watched, &loop->poller.watching);
    uco__dump_read(dump, &jobs, &loop->busy, sizeof jobs);
    uco__dump_text(dump, "uco: loop ");
    uco__dump_number(dump, loop->number);
    uco__dump_text(dump, ": ");
    uco__dump_number(dump, tasks);
    uco__dump_text(dump, tasks == 1 ? " task" : " tasks");
    head_count(dump, timers > background ? timers - background : 0, " timer", " timers");
    head_count(dump, fds + watched, " fd waited for", " fds waited for");
    head_count(dump, jobs, " job in a thread", " jobs in threads");
    uco__dump_text(dump, "\n");
}

static void
tree_body(struct tree *tree)
{
    struct uco__task_walk walk;

    uco__task_walk_begin(&walk, tree->dump, tree->runtime);
    for (;;) {
        switch (uco__task_walk_next(&walk)) {
        case UCO__WALK_TASK:
            tree_task(tree, &walk.view, walk.depth);
            break;
        case UCO__WALK_DAMAGE:
            tree_indent(tree->dump, walk.depth);
            uco__dump_text(tree->dump, "(here the list of tasks is damaged, or just being "
                                       "changed: the rest of it is left out)\n");
            break;
        case UCO__WALK_STOPPED:
            uco__dump_text(tree->dump, "  (the tasks are damaged, or are being changed meanwhile: "
                                       "the rest is left out)\n");
            return;
        case UCO__WALK_END:
            return;
        }
    }
}

int
uco__dump_loop(const struct uco__runtime *runtime, int fd, enum uco__dump_from from)
{
    struct uco__dump dump;
    struct tree tree = {.dump = &dump, .runtime = runtime, .here = (const char *) &dump};
    const struct uco__scheduler *scheduler = &runtime->loop.scheduler;

    /* No fd of the user's means UCO__DUMP_MEMORY. */
    uco__dump_init(&dump, &runtime->loop, fd < 0 ? -1 : fd, from != UCO__DUMP_WITHIN);
    UCO__DUMP_GET(&dump, &tree.current, &scheduler->current);
    UCO__DUMP_GET(&dump, &tree.eager, &scheduler->eager);
    if (from != UCO__DUMP_WITHIN)
        tree.here = NULL;
    tree_head(&dump, runtime);
    if (from == UCO__DUMP_OUTSIDE)
        uco__dump_text(&dump, "  it has not answered for a second (a task or callback keeps it "
                              "from turning): this was read from outside, while it runs on\n");
    tree_body(&tree);
    if (dump.edges > 0)
        uco__dump_cycles(&dump, runtime);
    return uco__dump_end(&dump);
}

/* --- in short --- */

void
uco__dump_summary(const struct uco__runtime *runtime, char *text, size_t size)
{
    struct uco__dump dump;
    struct uco__task_walk walk;
    struct uco__wait wait;
    bool first = true;

    uco__dump_init(&dump, &runtime->loop, UCO__DUMP_MEMORY, false);
    uco__task_walk_begin(&walk, &dump, runtime);
    while (dump.used < size && uco__task_walk_next(&walk) == UCO__WALK_TASK) {
        uco__dump_text(&dump, first ? "" : ", ");
        uco__task_view_name(&dump, &walk.view);
        uco__dump_text(&dump, " waits for ");
        if (uco__task_view_wait(&dump, &walk.view, &wait))
            uco__dump_wait(&dump, walk.view.fiber.wait, wait.kind);
        else
            uco__dump_text(&dump, "nothing");
        first = false;
    }
    uco__dump_end(&dump);
    memcpy(text, dump.buffer, dump.used < size ? dump.used + 1 : size);
    if (dump.used >= size)
        memcpy(text + size - sizeof " ...", " ...", sizeof " ...");
}
