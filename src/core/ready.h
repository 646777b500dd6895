/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_READY_H
#define UCO_CORE_READY_H

/* What can stand in the run queue: a fiber, or a callback for the loop's own stack. An intrusive
 * FIFO. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uco__ready {
    struct uco__ready *next;
    void (*run)(struct uco__ready *node); /* NULL: the node is a fiber's */
    union {
        uint32_t order; /* a callback's: the seeded shuffle's own */
        /* A fiber's, in the room that is left here. All but the state are its task's own: */
        struct {
            uint16_t successes; /* calls in a row that did not suspend */
            uint16_t ignored;   /* cancellations in a row */
        };
    };
    unsigned char state; /* enum uco__fiber_state */
    bool began;          /* its body */
    bool attention;      /* its next suspending call must look closer */
};

struct uco__ready_queue {
    struct uco__ready *head;
    struct uco__ready **tail;
};

static inline void
uco__ready_queue_init(struct uco__ready_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

static inline bool
uco__ready_queue_empty(const struct uco__ready_queue *queue)
{
    return queue->head == NULL;
}

static inline void
uco__ready_queue_push(struct uco__ready_queue *queue, struct uco__ready *node)
{
    node->next = NULL;
    *queue->tail = node;
    queue->tail = &node->next;
}

/* The same where the queue will be moved before it is looked through. */
static inline void
uco__ready_queue_push_open(struct uco__ready_queue *queue, struct uco__ready *node)
{
    *queue->tail = node;
    queue->tail = &node->next;
}

/* A chain that ends with NULL. */
static inline void
uco__ready_queue_append(struct uco__ready_queue *queue, struct uco__ready *first,
                        struct uco__ready *last)
{
    *queue->tail = first;
    queue->tail = &last->next;
}

/* NULL when it is empty. */
static inline struct uco__ready *
uco__ready_queue_pop(struct uco__ready_queue *queue)
{
    struct uco__ready *node = queue->head;

    if (node == NULL)
        return NULL;
    queue->head = node->next;
    if (queue->head == NULL)
        queue->tail = &queue->head;
    return node;
}

/* Moves all of `from` to `to`, which is empty. */
static inline void
uco__ready_queue_move(struct uco__ready_queue *to, struct uco__ready_queue *from)
{
    *from->tail = NULL;
    to->head = from->head;
    to->tail = from->head != NULL ? from->tail : &to->head;
    uco__ready_queue_init(from);
}

#endif
