/* SPDX-License-Identifier: MIT */
#ifndef FLOOR_TASKS_H
#define FLOOR_TASKS_H

/*
 * The floor of tasks: spawned into a FIFO, run on pooled stacks, joined. For bodies that do not
 * suspend. One program's alone: each that includes this has a queue of its own.
 */

#include "floor.h"

#include <stdbool.h>

#if FLOOR_SWITCH

struct floor_stack {
    struct floor_context context;
    struct floor_stack *next; /* while it is in the pool */
};

struct floor_task {
    struct floor_task *next; /* in the queue, or in the pool */
    struct floor_stack *stack;
    struct floor_task *joiner;
    intptr_t (*fn)(void *arg);
    void *arg;
    intptr_t result;
    bool done;
};

static struct {
    struct floor_task *head, *tail; /* of those that are ready */
    struct floor_task *current;
    struct floor_task *tasks;   /* pooled */
    struct floor_stack *stacks; /* pooled */
} floor_queue;

static inline void
floor_queue_push(struct floor_task *task)
{
    task->next = NULL;
    if (floor_queue.head == NULL)
        floor_queue.head = task;
    else
        floor_queue.tail->next = task;
    floor_queue.tail = task;
}

/* The next one becomes the current one, and has a stack. */
static inline struct floor_stack *
floor_queue_pick(void)
{
    struct floor_task *task = floor_queue.head;

    floor_queue.head = task->next;
    floor_queue.current = task;
    if (task->stack == NULL) {
        task->stack = floor_queue.stacks;
        floor_queue.stacks = task->stack->next;
    }
    return task->stack;
}

/* A stack never leaves this function: what is next runs on it without a switch if it is new. */
static inline void
floor_tasks_entry(void)
{
    for (;;) {
        struct floor_task *task = floor_queue.current;
        struct floor_stack *stack = task->stack;
        struct floor_stack *next;

        task->result = task->fn(task->arg);
        task->done = true;
        if (task->joiner != NULL)
            floor_queue_push(task->joiner);
        stack->next = floor_queue.stacks;
        floor_queue.stacks = stack;
        next = floor_queue_pick();
        if (next != stack)
            floor_switch(&stack->context, &next->context);
    }
}

static inline struct floor_task *
floor_spawn(intptr_t (*fn)(void *arg), void *arg)
{
    struct floor_task *task = floor_queue.tasks;

    floor_queue.tasks = task->next;
    *task = (struct floor_task){.fn = fn, .arg = arg};
    floor_queue_push(task);
    return task;
}

static inline intptr_t
floor_join(struct floor_task *task)
{
    struct floor_task *self = floor_queue.current;
    intptr_t result;

    if (!task->done) {
        task->joiner = self;
        floor_switch(&self->stack->context, &floor_queue_pick()->context);
    }
    result = task->result;
    task->next = floor_queue.tasks;
    floor_queue.tasks = task;
    return result;
}

/* No body suspends, so one stack does for all of them; the second makes sure that it would show. */
static inline void
floor_pools_fill(char *stacks, struct floor_task tasks[], size_t count)
{
    floor_queue.stacks = NULL;
    floor_queue.tasks = NULL;
    for (size_t i = 0; i < 2; i++) {
        struct floor_stack *stack = floor_stack_top(stacks, i, sizeof *stack);

        floor_context_init(&stack->context, stack, floor_tasks_entry);
        stack->next = floor_queue.stacks;
        floor_queue.stacks = stack;
    }
    for (size_t i = 0; i < count; i++) {
        tasks[i].next = floor_queue.tasks;
        floor_queue.tasks = &tasks[i];
    }
}

#endif

#endif
