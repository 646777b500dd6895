/* SPDX-License-Identifier: MIT */

/*
 * Generators.
 *
 * 1. fn's task exists from the first call of next on; the generator holds a reference to it. It is
 *    parked in yield unless it was asked for a value and has not given it yet.
 * 2. A value stays until somebody takes it: whoever asked may be cancelled meanwhile, and then the
 *    next one to ask gets it. fn goes on only when there is none and one is asked for.
 * 3. A generator whose creator has returned has no creator; fn was cancelled. Its memory stays
 *    until it is freed, or else the loop's end.
 */

#include "task/generator.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "task/dump.h"
#include "task/local.h"
#include "task/runtime.h"
#include "task/task.h"

/* Who is in next. What it gets is the result of its wait: when that ends, the generator may be
 * gone. */
struct asker {
    struct uco__wait wait;
    struct uco_generator *generator;
    void *value;
};

/* fn, in yield. */
struct yielder {
    struct uco__wait wait;
    struct uco_generator *generator;
};

struct uco_generator {
    struct uco__task *creator; /* NULL: it has returned */
    struct uco_loop *loop;
    struct uco__ending ending; /* of the creator's */
    uco_fn *fn;
    void *arg;
    struct uco__task *task;    /* that runs fn; NULL: nobody has asked yet */
    struct uco__waiter waiter; /* for the task's end */
    struct asker *asker;       /* NULL: nobody waits for a value */
    struct yielder *yielder;   /* fn; NULL: it is not in yield */
    void *value;
    bool has_value; /* that nobody waited for */
    bool ended;
    bool told;                  /* next has returned the end */
    bool abandoned;             /* released when fn has ended */
    bool closing;               /* fn is to end: its yields fail, also in a shield */
    bool freed;                 /* only its memory is left, for those inside */
    unsigned uses;              /* calls in a checkpoint, in which others may free it */
    struct uco__ready releaser; /* for that */
    int answer;                 /* next's, after the end */
    const char *file;
    int line;
    struct uco__list left; /* in the runtime's left_generators; or in none */
};

static void
generator_release(struct uco_generator *g)
{
    uco__ending_remove(&g->ending);
    uco__list_remove(&g->left);
    if (g->ended && g->answer < 0 && g->answer != -ECANCELED && !g->told)
        uco__report(g->loop, NULL,
                    "the generator made at %s:%d failed with %d (%s), and nobody asked for it",
                    g->file != NULL ? g->file : "?", g->line, g->answer, uco_strerror(g->answer));
    if (g->task != NULL)
        uco_unref(&g->task->future);
    g->task = NULL;
    g->freed = true;
    if (g->uses == 0)
        uco__free(g);
}

static void
generator_release_run(struct uco__ready *node)
{
    generator_release(UCO__CONTAINER(node, struct uco_generator, releaser));
}

/* Whoever waits is through with the generator. */
static void
generator_answer(struct uco_generator *g, int answer)
{
    struct asker *asker = g->asker;

    g->asker = NULL;
    if (answer < 0)
        g->told = true;
    uco__wake(&asker->wait, answer);
}

/* However fn ends, and also when it never begins. */
static void
generator_end(struct uco_generator *g, intptr_t result)
{
    g->ended = true;
    g->has_value = false;
    g->answer = result < 0 ? (int) result : 0;
    if (g->asker != NULL)
        generator_answer(g, g->answer);
    if (g->abandoned)
        uco__scheduler_call(g->loop, &g->releaser);
}

static void
generator_notify(struct uco__waiter *waiter, struct uco_future *future)
{
    /* A task is resolved on its own loop's thread only. The result is read: the generator answers
     * for it. */
    generator_end(UCO__CONTAINER(waiter, struct uco_generator, waiter), uco__future_read(future));
}

/* --- fn's side --- */

static intptr_t
generator_body(void *arg)
{
    struct uco_generator *g = arg;

    return g->fn(g->arg);
}

static void
generator_offer(struct uco_generator *g, void *value)
{
    if (g->asker != NULL) {
        g->asker->value = value;
        generator_answer(g, 1);
        return;
    }
    g->value = value;
    g->has_value = true;
}

/* What nobody has fetched is withdrawn at once: fn is told so. */
static enum uco__abort
yielder_abort(struct uco__wait *wait)
{
    struct uco_generator *g = UCO__CONTAINER(wait, struct yielder, wait)->generator;

    g->has_value = false;
    g->yielder = NULL;
    return UCO__UNLINKED;
}

static UCO__WAIT_KIND(wait_yielder, "its next value to be asked for", NULL);

/* fn is asked to end: also where its shields keep a cancellation away. */
static void
generator_close(struct uco_generator *g)
{
    struct yielder *yielder = g->yielder;

    g->closing = true;
    if (g->task != NULL)
        uco_cancel(&g->task->future);
    if (yielder != NULL && g->yielder == yielder) {
        yielder_abort(&yielder->wait);
        uco__wake(&yielder->wait, UCO__INTERRUPTED);
    }
}

int
uco_generator_yield(void *value)
{
    struct yielder self;
    struct uco_generator *g;
    struct uco__task *task;
    int error = -EPERM;

    task = uco__task_current(&error);
    if (task == NULL || task->fn != generator_body)
        return uco__misuse(error, "uco_generator_yield: not in a generator's coroutine");
    g = task->arg;
    error = uco__task_checkpoint_suspending(task);
    if (error < 0)
        return error;
    if (g->closing) {
        uco__scheduler_yield(task->future.loop);
        uco__task_deliver(task);
        return -ECANCELED;
    }
    self.generator = g;
    uco__wait_init(&self.wait, &wait_yielder, yielder_abort);
    g->yielder = &self;
    generator_offer(g, value);
    return uco__task_park(task, &self.wait) == UCO__INTERRUPTED ? -ECANCELED : 0;
}

/* --- the creator --- */

static void
generator_left(struct uco__ending *ending, struct uco__task *task)
{
    struct uco_generator *g = UCO__CONTAINER(ending, struct uco_generator, ending);

    const char *file = g->file;
    int line = g->line;

    g->creator = NULL;
    if (g->abandoned)
        return;
    uco__list_push_back(&uco__runtime_of(g->loop)->left_generators, &g->left);
    generator_close(g);
    if (g->task == NULL)
        generator_end(g, -ECANCELED);
    /* At last, since the handler may free it. */
    uco__report(task->future.loop, &task->future,
                "task '%s' left a generator open that it made at %s:%d: free each with "
                "uco_generator_free()",
                uco__task_name(task), file != NULL ? file : "?", line);
}

void
uco__generators_done(struct uco__runtime *runtime)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&runtime->left_generators)) != NULL) {
        struct uco_generator *g = UCO__CONTAINER(link, struct uco_generator, left);

        g->told = true; /* the creator's report was enough */
        generator_release(g);
    }
}

uco_generator *
uco_generator_new_at(const char *file, int line, uco_fn *fn, void *arg)
{
    struct uco__task *creator;
    struct uco_generator *g;
    int error;

    if (fn == NULL)
        return uco__error_null(uco__misuse(-EINVAL, "uco_generator_new: the function is NULL"));
    creator = uco__task_current(&error);
    if (creator == NULL)
        return uco__error_null(uco__misuse(error, "uco_generator_new: not in a coroutine"));
    g = uco__allocate(sizeof *g);
    if (g == NULL)
        return uco__error_null(-ENOMEM);
    g->creator = creator;
    g->loop = creator->future.loop;
    g->ending.run = generator_left;
    uco__task_add_ending(creator, &g->ending);
    uco__list_init(&g->left);
    g->fn = fn;
    g->arg = arg;
    g->file = file;
    g->line = line;
    return g;
}

uco_generator *(uco_generator_new) (uco_fn *fn, void *arg)
{
    return uco_generator_new_at(NULL, 0, fn, arg);
}

/* --- the asker's side --- */

/* A checkpoint in which others may run, and free the generator. */
static UCO__NOINLINE int
generator_checkpoint_slow(uco_generator *g, struct uco__task *task)
{
    int r;

    g->uses++;
    r = uco__task_checkpoint_slow(task);
    g->uses--;
    if (!g->freed)
        return r;
    if (r == 0)
        r = g->ended && g->answer < 0 ? g->answer : -ECANCELED;
    if (g->uses == 0)
        uco__free(g);
    return r;
}

static int
generator_check(uco_generator *g, struct uco__task **task)
{
    int error;

    *task = uco__task_current(&error);
    if (*task == NULL)
        return uco__misuse(error, "uco_generator_next: not in a coroutine");
    if (g == NULL)
        return uco__misuse(-EINVAL, "uco_generator_next: the generator is NULL");
    if (g->loop != (*task)->future.loop)
        return uco__misuse(-EPERM, "uco_generator_next: the generator is another loop's");
    return uco__task_pass(*task) ? 0 : generator_checkpoint_slow(g, *task);
}

/* fn goes on, or begins: 0 or -ENOMEM. */
static int
generator_resume(struct uco_generator *g)
{
    struct yielder *yielder = g->yielder;
    int error;

    if (g->task != NULL) {
        g->yielder = NULL;
        if (yielder != NULL)
            uco__wake(&yielder->wait, 0);
        return 0;
    }
    g->task = uco__task_new(g->loop, NULL, generator_body, g, &error);
    if (g->task == NULL) {
        generator_end(g, error);
        g->told = true;
        return error;
    }
    g->task->file = g->file;
    g->task->line = g->line;
    uco__locals_inherit(g->task, g->creator);
    g->waiter.notify = generator_notify;
    uco__future_add_waiter(&g->task->future, &g->waiter);
    uco__task_begin(g->task, g->creator, false);
    return 0;
}

static enum uco__abort
asker_abort(struct uco__wait *wait)
{
    UCO__CONTAINER(wait, struct asker, wait)->generator->asker = NULL;
    return UCO__UNLINKED;
}

static bool
asker_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco_generator generator;
    struct asker asker;

    if (!UCO__DUMP_READ_AROUND(dump, &asker, wait, struct asker, wait) ||
        !UCO__DUMP_GET(dump, &generator, asker.generator) || generator.task == NULL)
        return false;
    uco__dump_text(dump, "the next value of the generator in ");
    return uco__dump_future(dump, &generator.task->future, true);
}

static UCO__WAIT_KIND(wait_asker, "a generator's value", asker_describe);

int
uco_generator_next(uco_generator *g, void **value)
{
    struct asker asker = {.generator = g};
    struct uco__task *task;
    intptr_t answer = 1;
    int r = generator_check(g, &task);

    if (r < 0)
        return r;
    if (task == g->task)
        return uco__misuse(-EDEADLK, "uco_generator_next: a generator waits for itself");
    if (g->asker != NULL)
        return -EBUSY;
    if (g->has_value) {
        g->has_value = false;
        asker.value = g->value;
    } else if (g->ended) {
        g->told = true;
        return g->answer;
    } else {
        r = generator_resume(g);
        if (r < 0)
            return r;
        uco__wait_init(&asker.wait, &wait_asker, asker_abort);
        g->asker = &asker;
        answer = uco__task_park(task, &asker.wait);
    }
    if (answer == UCO__INTERRUPTED)
        return -ECANCELED;
    if (answer == 1 && value != NULL)
        *value = asker.value;
    return (int) answer;
}

/* Waits for fn to end; false where that cannot be. */
static bool
generator_finish(struct uco_generator *g, const struct uco__task *caller)
{
    if (g->task == NULL || g->ended)
        return true;
    generator_close(g);
    if (caller == NULL || caller == g->task)
        return false;
    if (uco_join(uco_ref(&g->task->future)) != -EDEADLK || g->ended)
        return true;
    uco_unref(&g->task->future);
    return false;
}

void
uco_generator_free(uco_generator *g)
{
    struct uco_loop *loop;
    struct uco__task *caller;
    int error;

    if (g == NULL)
        return;
    loop = uco__loop_current(&error);
    if (loop != g->loop) {
        uco__misuse(-EPERM, "uco_generator_free: outside the generator's running loop");
        return;
    }
    caller = uco__task_current(&error);
    if (generator_finish(g, caller)) {
        generator_release(g);
        return;
    }
    g->abandoned = true;
    g->releaser.run = generator_release_run;
}
