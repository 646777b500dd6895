/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_QUEUE_H
#define FUZZ_QUEUE_H

/*
 * The model of queues: a list of items, a line of getters and one of putters, of which one is
 * always empty, a line of joiners, and the number of items that are unfinished.
 */

#include "fuzz.h"

#define QUEUES_MAX 3
#define CASES_MAX 4
#define ITEMS_MAX 256 /* of a queue that has no bound of its own */
#define ITEM_SIZE_MAX 40
#define UNTOUCHED 0xa5 /* bytes that no get has written */

enum order { FIFO, LIFO, PRIORITY };

/* One who waits to get or put; of a selection, with one of its cases. */
struct entry {
    int who;
    int index;
    unsigned item; /* to be put */
};

struct entries {
    int count;
    struct entry at[FUZZ_WORKERS * CASES_MAX];
};

struct queue {
    uco_queue *real;
    enum order order;
    size_t item_size;
    int capacity; /* 0: unbounded */
    bool shut;
    int count;
    unsigned items[ITEMS_MAX + FUZZ_WORKERS * CASES_MAX]; /* in the order of their coming */
    int unfinished;
    struct entries getters, putters;
    struct fuzz_line joiners;
};

/* What a worker's call must have done. */
struct outcome {
    bool selection;
    unsigned item; /* that was got */
    int result;    /* of the case that happened */
};

struct queues {
    int count;
    unsigned serial;
    struct queue queues[QUEUES_MAX];
    struct outcome outcomes[FUZZ_ACTORS];
};

/* An item is a number that is unlike any other; its first byte says the priority. */
unsigned fuzz_item_new(struct queues *state, int first);
void fuzz_item_write(unsigned char *bytes, size_t size, unsigned item);
int fuzz_item_compare(const void *a, const void *b);
/* These ITEM_SIZE_MAX bytes have that item, or are untouched. */
void fuzz_item_check(struct fuzz_world *world, size_t size, const unsigned char *bytes, bool got,
                     unsigned item);

bool fuzz_queue_full(const struct queue *queue);
void fuzz_entries_push(struct entries *entries, int who, int index, unsigned item);
/* Takes one out of all lines. */
void fuzz_queues_forget(struct queues *state, int who);
/* In, past the bound too. */
void fuzz_queue_insert(struct fuzz_world *world, struct queue *queue, unsigned item);
/* What a put, or a get, gives at once; -EAGAIN: nothing. */
int fuzz_queue_put_now(struct fuzz_world *world, struct queue *queue, unsigned item);
int fuzz_queue_get_now(struct fuzz_world *world, struct queue *queue, unsigned *item);
void fuzz_queue_finish(struct fuzz_world *world, struct queue *queue, int n);
void fuzz_queue_shut(struct fuzz_world *world, struct queue *queue, bool now);

/* A uco_select() of what operation tells: `a` and `b` two bits of each case's queue, `c` its
 * operation, the number and the time. */
void fuzz_select_perform(struct fuzz_world *world, int who, const struct fuzz_operation *operation);

#endif
