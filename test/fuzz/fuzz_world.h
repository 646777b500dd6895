/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

/* The world from the inside: for fuzz_model.c and fuzz_world.c. */

#include "fuzz.h"

#define FUZZ_MOMENT 0x1p-20       /* seconds between two moments */
#define FUZZ_ROUNDING 0x1p-22     /* of the loop's clock */
#define FUZZ_OPERATIONS_MAX 50000 /* of an input; as many as it has bytes are usual */

enum call_state { CALL_NONE, CALL_WAITS, CALL_DECIDED };

struct call {
    enum call_state state;
    bool completing;      /* waits, and cannot be cut short */
    bool cut;             /* it is a scope's -ECANCELED */
    intptr_t result;      /* once it is decided */
    double deadline;      /* the wait's own; 0 = none */
    intptr_t at_deadline; /* the result then */
};

enum cause { CAUSE_NONE, CAUSE_EXPIRED, CAUSE_CANCELLED };

struct scope {
    uco_scope real; /* of all but the root */
    bool shield;
    enum cause cause;
    bool delivered;
    double deadline; /* 0 = none */
};

struct worker {
    struct fuzz_world *world;
    int index;
    uco_task *task; /* NULL: none */
    bool started;
    uco_future *command; /* it is idle, and waits for that */
    struct fuzz_operation script[FUZZ_SCRIPT];
    int script_size;
    struct scope scopes[FUZZ_SCOPES];
    int depth;     /* index of the innermost */
    intptr_t last; /* result of its last call */
    bool vague;    /* the model cannot tell which scope cut the last call */
};

struct fuzz_world {
    const struct fuzz_target *target;
    struct fuzz_input input;
    int worker_count;
    bool manual; /* the clock */
    uco_task *driver;
    int reports; /* that the loop may still make */
    int moments;
    uint64_t operations;
    int posted; /* callbacks that have not run */
    struct worker workers[FUZZ_WORKERS];
    struct call calls[FUZZ_ACTORS];
    _Alignas(max_align_t) unsigned char state[FUZZ_STATE_MAX];
};

const char *fuzz_actor_name(int actor);

/* What the clock has passed has happened, in order, and what the library chose is known. */
void fuzz_catch_up(struct fuzz_world *world);

/* Whether the worker's scope at that depth is cancelled, or one that reaches it. */
bool fuzz_scope_effective(const struct worker *w, int depth);
/* A call of the worker's was cut short. */
void fuzz_scope_deliver(struct worker *w);
void fuzz_scope_cancel(struct worker *w, int depth, enum cause cause);

#endif
