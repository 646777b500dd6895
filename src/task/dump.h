/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_DUMP_H
#define UCO_TASK_DUMP_H

/* Who waits for what: uco_dump(), and what those who describe waits need to tell of tasks. */

#include "core/dump.h"
#include "task/future.h"
#include "task/task.h"

#include <stdbool.h>
#include <stddef.h>

struct uco__runtime;

/* --- for whoever describes a wait; none of the pointers is trusted --- */

/* "task 'name' (7)"; false if there is no such task. */
UCO__EXPORT bool uco__dump_task(struct uco__dump *dump, const struct uco__task *task);
/* The same if it has this id and its body runs, and it is an edge; or false, and nothing. */
bool uco__dump_holder(struct uco__dump *dump, const struct uco__task *task, uint64_t id);
/* The wait cannot end before this task does, or goes on: it may be part of a cycle. */
UCO__EXPORT void uco__dump_edge(struct uco__dump *dump, const struct uco__task *task);
/* The task of a future that is one, or what it is else. `must`: the wait cannot end before it. */
bool uco__dump_future(struct uco__dump *dump, const uco_future *future, bool must);

/* Members of a list, by their links' place in a task: the first few, and how many more. */
void uco__dump_tasks(struct uco__dump *dump, const struct uco__list *list, size_t place);
/* Of a task that has returned. */
extern const struct uco__wait_kind uco__wait_children;

/* --- a loop --- */

enum uco__dump_from {
    UCO__DUMP_WITHIN,  /* the thread that runs the loop */
    UCO__DUMP_IDLE,    /* nobody runs it, as yet */
    UCO__DUMP_OUTSIDE, /* another thread runs it, and does not answer */
};

/* All of a loop: 0, or the error of a write. */
int uco__dump_loop(const struct uco__runtime *runtime, int fd, enum uco__dump_from from);
/* "'a' waits for a lock, 'b' waits for ..., as much as there is room for. */
void uco__dump_summary(const struct uco__runtime *runtime, char *text, size_t size);
/* The loop's thread: does what other threads have asked for. */
void uco__dump_serve(struct uco__runtime *runtime);

/* The thread begins and ends to run the loop: in debug mode SIGQUIT dumps it meanwhile, where the
 * signal has its default disposition and the thread is the main one. Whether it does. */
bool uco__dump_signal_begin(struct uco_loop *loop);
void uco__dump_signal_end(bool begun);

/* --- between the files of the dump --- */

/* A task, as it was a moment ago. */
struct uco__task_view {
    const struct uco__task *at;
    struct uco__task task;
    struct uco__fiber fiber;
};

/* False if there is none of this loop's. */
bool uco__task_view_read(struct uco__dump *dump, const struct uco__task *at,
                         struct uco__task_view *view);
void uco__task_view_name(struct uco__dump *dump, const struct uco__task_view *view);
/* What it is parked in; false if it is not. */
bool uco__task_view_wait(struct uco__dump *dump, const struct uco__task_view *view,
                         struct uco__wait *wait);

/* The way through the tree, parents before children. */
struct uco__task_walk {
    struct uco__dump *dump;
    const struct uco__runtime *runtime;
    uint64_t left;  /* steps, so that a tree that is being changed does not go on for ever */
    unsigned depth; /* of the present task */
    /* From there: to its children, past them, or past its siblings too. */
    enum { UCO__WALK_DOWN, UCO__WALK_ALONG, UCO__WALK_UP } way;
    struct uco__task_view view; /* the present task; at: NULL before the first */
};

enum uco__walk_step {
    UCO__WALK_TASK,
    UCO__WALK_DAMAGE,  /* a list cannot be followed any further; the walk goes on behind it */
    UCO__WALK_STOPPED, /* nor can the walk */
    UCO__WALK_END,
};

void uco__task_walk_begin(struct uco__task_walk *walk, struct uco__dump *dump,
                          const struct uco__runtime *runtime);
enum uco__walk_step uco__task_walk_next(struct uco__task_walk *walk);

/* Tells of the circles in which tasks wait for each other. */
void uco__dump_cycles(struct uco__dump *dump, const struct uco__runtime *runtime);

#endif
