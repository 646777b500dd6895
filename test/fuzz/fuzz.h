/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_H
#define FUZZ_H

/*
 * Random operations on the primitives, compared with a slow and obvious model of each.
 *
 * An input is a string of bytes. It decodes to a world (the loop's clock and seed, some workers,
 * the parameters of one target's primitives), and to the steps of a driver: it gives idle workers
 * scripts of operations, operates itself and from callbacks, cancels, kills, and lets time pass.
 * Several steps may follow each other without a suspension, so that a grant and a cancellation meet
 * in the same turn.
 *
 * The model moves in the very moment of a call, in whatever order the loop runs the tasks: who is
 * about to call a primitive tells the model first, which decides the call, or lets the caller wait;
 * who returns compares. When all is quiet, whose call the model has decided must have returned.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uco/testing.h>
#include <uco/uco.h>

#define FUZZ_WORKERS 8
#define FUZZ_DRIVER 8   /* actors beside the workers */
#define FUZZ_CALLBACK 9 /* may not suspend, and owns nothing */
#define FUZZ_ACTORS 10
#define FUZZ_NOBODY (-1)
#define FUZZ_SCOPES 5 /* of a worker: its root, and those it has opened */
#define FUZZ_SCRIPT 6 /* operations that a worker is given at once */
#define FUZZ_INPUT_MAX 1024

/** Reads an input; behind its end there are zeros. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
    size_t at;
};

uint8_t fuzz_byte(struct fuzz_input *input);
/** A number less than n. */
int fuzz_below(struct fuzz_input *input, int n);
bool fuzz_at_end(const struct fuzz_input *input);

struct fuzz_world;

/** An operation: the world's own (kind < FUZZ_TARGET_KINDS) or the target's. */
struct fuzz_operation {
    int kind;
    int a, b, c;
    bool scoped;    /* in a scope of its own ... */
    double timeout; /* ... with that timeout */
};

enum fuzz_kind {
    FUZZ_SCOPE_OPEN, /* a: 0 = for ever, else quarters of a second; b: a shield */
    FUZZ_SCOPE_CLOSE,
    FUZZ_SCOPE_CANCEL, /* a: a worker, b: which of its scopes, 0 = all of the task */
    FUZZ_SLEEP,        /* a: quarters of a second */
    FUZZ_YIELD,
    FUZZ_DIE,
    FUZZ_TARGET_KINDS = 16,
};

/** What is tried on one kind of primitive. */
struct fuzz_target {
    const char *name;
    /** Makes the primitives and their model. */
    void (*begin)(struct fuzz_world *world, struct fuzz_input *input);
    /** Decodes an operation; one that does not suspend, unless the actor is a worker. */
    void (*choose)(struct fuzz_world *world, struct fuzz_input *input, int actor,
                   struct fuzz_operation *operation);
    void (*perform)(struct fuzz_world *world, int actor, const struct fuzz_operation *operation);
    /** A worker's wait is cut short: it leaves the model's lines. False: its call goes on. */
    bool (*leave)(struct fuzz_world *world, int worker, intptr_t result);
    /** May be NULL. What the library was free to choose: before each step of the model, at first
     * early, then when what the clock has passed has happened. */
    void (*sync)(struct fuzz_world *world, bool late);
    /** A worker's task ends. */
    void (*died)(struct fuzz_world *world, int worker);
    /** All is quiet: what can be seen of the primitives is what the model says. */
    void (*check)(struct fuzz_world *world);
    /** May be NULL. The driver gives back what it has, so that the workers can end. */
    void (*tidy)(struct fuzz_world *world);
    /** No worker is left. */
    void (*end)(struct fuzz_world *world);
};

extern const struct fuzz_target fuzz_lock, fuzz_semaphore, fuzz_event, fuzz_condition, fuzz_barrier,
    fuzz_queue, fuzz_select;
extern const struct fuzz_target *const fuzz_targets[];
size_t fuzz_target_count(void);
/** The target that an input is for, by its first byte. */
const struct fuzz_target *fuzz_target_of(const uint8_t *data, size_t size);

/** Runs one input. Returns only if the library did all that the model says. */
void fuzz_run(const uint8_t *data, size_t size);

extern bool fuzz_verbose;             /* print each operation */
extern void (*fuzz_mismatched)(void); /* ends the process, when a mismatch has been printed */

/* --- for targets --- */

/** What a target keeps, its primitives and the model: zeroed at the start of each run. */
void *fuzz_state(struct fuzz_world *world);
#define FUZZ_STATE_MAX 65536

void fuzz_log(struct fuzz_world *world, int actor, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void fuzz_mismatch(struct fuzz_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** A number that must be as the model says. */
void fuzz_same(struct fuzz_world *world, const char *what, intmax_t actual, intmax_t expected);

/**
 * A call that may suspend: fuzz_enter(); if that is true, the model decides the call, or the caller
 * waits; the call itself; fuzz_return(). False: the call fails before it does anything.
 */
bool fuzz_enter(struct fuzz_world *world, int actor);
/** Instead of fuzz_enter(): the call fails, whether its caller is cancelled or not. */
void fuzz_refuse(struct fuzz_world *world, int actor, intptr_t result);
void fuzz_wait(struct fuzz_world *world, int worker);
void fuzz_decide(struct fuzz_world *world, int actor, intptr_t result);
void fuzz_return(struct fuzz_world *world, int actor, intptr_t actual);

/** From now on the call waits on and cannot be cut short: it will end with what is decided. */
void fuzz_complete(struct fuzz_world *world, int worker);
/** The wait ends with result at that time, if nothing has ended it before. */
void fuzz_deadline(struct fuzz_world *world, int worker, double when, intptr_t result);
bool fuzz_waits(const struct fuzz_world *world, int worker);
/** Whether the worker is in a cancelled scope, in the model. */
bool fuzz_is_cancelled(const struct fuzz_world *world, int worker);
/** For a call that may choose: the number of operations that were begun so far, of all actors. */
uint64_t fuzz_operations(const struct fuzz_world *world);

/** A call that does not suspend: compares its result. */
void fuzz_expect(struct fuzz_world *world, int actor, intptr_t expected, intptr_t actual);

/** The driver's: waits until all is quiet, and checks everything. */
void fuzz_settle(struct fuzz_world *world);
/** The loop may report something now. */
void fuzz_allow_report(struct fuzz_world *world);
/** The id of a worker's task, or the driver's; 0: it has none. */
uint64_t fuzz_task_id(const struct fuzz_world *world, int actor);

/** A moment some quarters of a second from now, at which nothing else happens. */
double fuzz_moment(struct fuzz_world *world, int quarters);

/** Waiters of the model, in the order of their coming. */
struct fuzz_line {
    int count;
    int who[FUZZ_WORKERS];
};
void fuzz_line_push(struct fuzz_line *line, int who);
int fuzz_line_pop(struct fuzz_line *line); /* FUZZ_NOBODY when it is empty */
bool fuzz_line_remove(struct fuzz_line *line, int who);
/** All of them end with result. */
void fuzz_line_decide_all(struct fuzz_world *world, struct fuzz_line *line, intptr_t result);

#endif
