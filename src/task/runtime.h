/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_RUNTIME_H
#define UCO_TASK_RUNTIME_H

/* What a loop is made of, all in all: core/'s machine, and what tasks add to it. */

#include "core/loop.h"
#include "task/blocks.h"
#include "task/scope.h"

struct uco__dump_request;
struct uco__pool;
struct uco__names;

struct uco__runtime {
    struct uco_loop loop;   /* first: this is what users hold */
    struct uco__list roots; /* the tasks that belong to the loop */
    struct uco__task_blocks blocks;
    struct uco__scope_slots scopes;
    struct uco__list left_groups; /* whose owners have ended; freed with the loop */
    struct uco__list left_generators;
    struct uco__pool *pool;     /* of threads; NULL until it is needed */
    struct uco__pool *starters; /* of programs, io/'s; the same */
    struct uco__names *names;   /* io/'s look-ups; NULL until there is one */
    struct uco__task *main;     /* of uco_run() */
    uint64_t tasks;             /* that have not ended */
    uint64_t tasks_created;
    uint64_t next_id; /* of a task */
    unsigned ids_left;
    uint64_t searches;      /* for cycles of waits */
    uint64_t select_random; /* the state of uco_select()'s choice */
    /* A dump that another thread has asked for; NULL: none. */
    _Atomic(struct uco__dump_request *) dump_request;
    uint64_t stuck_since; /* when the loop had nothing more to do, if others may wake it; real
                             clock */
    uint64_t stuck_steps; /* what it had done by then */
    bool stuck_told;
    bool deadlocked;
    bool orphaned; /* its last handle was dropped while it was open */
    bool draining; /* closing: new root tasks are cancelled at once */
};

/* uco_loop_new() with a negative error instead of errno. */
struct uco_loop *uco__loop_new(const uco_loop_options *options, int *error);
/* For the ledger: the loop, and its tasks that are in use. */
void uco__runtime_describe(const void *block, char *text, size_t size);
/* uco_loop_close(), also inside another running loop. */
void uco__loop_close_here(struct uco_loop *loop);

static inline struct uco__runtime *
uco__runtime_of(const struct uco_loop *loop)
{
    return (struct uco__runtime *) (uintptr_t) loop;
}

#endif
