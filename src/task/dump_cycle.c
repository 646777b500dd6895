/* SPDX-License-Identifier: MIT */

/*
 * Circles of tasks that wait for each other, as a dump shows them.
 *
 * From each task that waits for another a search goes along what is waited for, until it comes back
 * to where it began. A circle is told once, from the oldest of its tasks: the others are younger,
 * so a search need not look at older ones.
 *
 * Nothing is marked in the tasks: a handler may have interrupted a search that does (deadlock.c).
 * Those of which it is known that no circle can be reached from them are remembered, but not all of
 * them. So a task may be visited again and again, and what bounds the search is how much it may
 * read.
 */

#include "task/dump.h"
#include "task/runtime.h"

#define CYCLE_TASKS_MAX 100         /* of one */
#define CYCLE_EDGES_MAX 64          /* of one task */
#define CYCLES_MAX 16               /* that are told */
#define CYCLE_READS 4000000         /* all in all */
#define CYCLE_READS_FOREIGN 1000000 /* where each is a system call */
#define FREE_TASKS 64               /* a power of two */

struct step {
    const struct uco__task *task;
    unsigned char next;  /* edge to follow */
    unsigned char edges; /* how many it has */
    bool is_free;        /* as far as is known: no circle can be reached from there */
};

struct cycles {
    struct uco__dump *dump;
    unsigned long limit; /* of the dump's reads */
    bool cut;            /* a way was too long to be followed */
    unsigned depth;
    struct step path[CYCLE_TASKS_MAX];
    const struct uco__task *free[FREE_TASKS];
    struct uco__task_view view; /* of whom was looked at last */
};

static bool
cycles_limit_reached(const struct cycles *cycles)
{
    return cycles->dump->peek.reads >= cycles->limit;
}

/* --- tasks from which no circle can be reached --- */

static const struct uco__task **
free_place(struct cycles *cycles, const struct uco__task *task)
{
    uint64_t hash = (uint64_t) (uintptr_t) task * UINT64_C(0x9e3779b97f4a7c15);

    return &cycles->free[(hash >> 32) % FREE_TASKS];
}

static bool
task_is_free(struct cycles *cycles, const struct uco__task *task)
{
    return *free_place(cycles, task) == task;
}

/* --- the search --- */

/* The next edge of the path's last task; NULL: there is none, or none that can be read. */
static const struct uco__task *
path_look(struct cycles *cycles)
{
    struct step *step = &cycles->path[cycles->depth - 1];
    struct uco__dump *dump = cycles->dump;
    struct uco__wait wait;

    if (step->next >= step->edges)
        return NULL;
    dump->edges = 0;
    dump->edge_wanted = step->next++;
    dump->edge = NULL;
    if (!uco__task_view_read(dump, step->task, &cycles->view))
        return NULL;
    if (cycles->view.task.phase != UCO__TASK_NEW &&
        uco__task_view_wait(dump, &cycles->view, &wait)) {
        dump->silent = true;
        uco__dump_wait(dump, cycles->view.fiber.wait, wait.kind);
        dump->silent = false;
    }
    if (dump->edges > CYCLE_EDGES_MAX)
        step->is_free = false; /* not all are looked at */
    else
        step->edges = (unsigned char) dump->edges;
    return dump->edge;
}

static bool
path_has(const struct cycles *cycles, const struct uco__task *task)
{
    for (unsigned i = 0; i < cycles->depth; i++) {
        if (cycles->path[i].task == task)
            return true;
    }
    return false;
}

/* The task in `view` becomes the path's last. */
static void
path_push(struct cycles *cycles)
{
    cycles->path[cycles->depth++] = (struct step){
        .task = cycles->view.at,
        .edges = CYCLE_EDGES_MAX, /* not counted yet */
        .is_free = true,
    };
}

static void
path_pop(struct cycles *cycles)
{
    const struct step *step = &cycles->path[--cycles->depth];

    if (step->is_free)
        *free_place(cycles, step->task) = step->task;
    else if (cycles->depth > 0)
        cycles->path[cycles->depth - 1].is_free = false;
}

/* On to a task, if the circle may lead over it. */
static bool
path_go(struct cycles *cycles, const struct uco__task *to, uint64_t oldest)
{
    if (cycles->depth == CYCLE_TASKS_MAX) {
        cycles->cut = true;
        return false;
    }
    if (path_has(cycles, to) || !uco__task_view_read(cycles->dump, to, &cycles->view) ||
        cycles->view.task.id <= oldest)
        return false;
    path_push(cycles);
    return true;
}

/* From the task in `view` along the edges until it is back: then the path is the circle. */
static bool
cycle_search(struct cycles *cycles)
{
    const struct uco__task *start = cycles->view.at;
    uint64_t oldest = cycles->view.task.id;

    cycles->depth = 0;
    path_push(cycles);
    while (cycles->depth > 0 && !cycles_limit_reached(cycles)) {
        const struct uco__task *to = path_look(cycles);

        if (to == start)
            return true;
        if (to == NULL)
            path_pop(cycles);
        else if (!task_is_free(cycles, to) && !path_go(cycles, to, oldest))
            cycles->path[cycles->depth - 1].is_free = false;
    }
    return false;
}

static void
cycle_tell(struct cycles *cycles)
{
    struct uco__dump *dump = cycles->dump;
    struct uco__wait wait;

    uco__dump_text(dump, "a circle, in which each waits for the next and none can go on:\n");
    for (unsigned i = 0; i < cycles->depth; i++) {
        if (!uco__task_view_read(dump, cycles->path[i].task, &cycles->view))
            continue;
        uco__dump_text(dump, "  task ");
        uco__task_view_name(dump, &cycles->view);
        uco__dump_text(dump, " waits for ");
        if (uco__task_view_wait(dump, &cycles->view, &wait))
            uco__dump_wait(dump, cycles->view.fiber.wait, wait.kind);
        uco__dump_text(dump, "\n");
    }
}

void
uco__dump_cycles(struct uco__dump *dump, const struct uco__runtime *runtime)
{
    struct cycles cycles = {.dump = dump};
    struct uco__task_walk walk;
    enum uco__walk_step step;
    unsigned found = 0;

    cycles.limit = dump->peek.reads + (dump->peek.foreign ? CYCLE_READS_FOREIGN : CYCLE_READS);
    uco__task_walk_begin(&walk, dump, runtime);
    while (!cycles_limit_reached(&cycles) &&
           ((step = uco__task_walk_next(&walk)) == UCO__WALK_TASK || step == UCO__WALK_DAMAGE)) {
        if (step != UCO__WALK_TASK || walk.view.fiber.wait == NULL ||
            task_is_free(&cycles, walk.view.at))
            continue;
        cycles.view = walk.view;
        if (!cycle_search(&cycles))
            continue;
        cycle_tell(&cycles);
        if (++found == CYCLES_MAX) {
            uco__dump_text(dump, "(there may be more circles)\n");
            return;
        }
    }
    if (cycles_limit_reached(&cycles))
        uco__dump_text(dump, "(there are too many waits to look at all of them for circles)\n");
    else if (cycles.cut)
        uco__dump_text(dump, "(some tasks wait for each other in long rows, of which not all was "
                             "looked at for circles)\n");
}
