/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_STACK_H
#define UCO_CORE_STACK_H

/*
 * Stacks: address space by the slab, committed page by page as it is touched, a guard page below
 * each, reused last in first out. A stack that has been used once stays inside its entry function,
 * so that it can be used again without makecontext.
 */

#include "core/context.h"
#include "core/sanitizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UCO__STACK_SIZE_DEFAULT ((size_t) 256 * 1024)
#define UCO__STACK_SIZE_MIN ((size_t) 16 * 1024)
#define UCO__STACK_SIZE_MAX ((size_t) 1024 * 1024 * 1024)

struct uco__stack_pool;

enum uco__stack_guard { UCO__GUARD_NONE, UCO__GUARD_INSTALLED, UCO__GUARD_PROTECTED };

struct uco__stack {
    struct uco__context context;
    struct uco__sanitizer sanitizer;
    struct uco__stack_pool *pool; /* NULL: a thread's own stack */
    struct uco__stack *next_free; /* while it is in the pool */
    char *base;                   /* the lowest usable address; the guard lies right below */
    size_t size;                  /* usable bytes, up from base */
    enum uco__stack_guard guard;
};

/* The stacks of one size. */
struct uco__stack_pool {
    struct uco__stack_pool *next;
    struct uco__stacks *stacks;
    size_t size; /* as asked for, in whole pages */
    struct uco__stack *free;
    struct uco__stack_slab *slabs; /* the newest first: only it may have stacks that were never
                                      given out */
};

/* All of a loop's. */
struct uco__stacks {
    struct uco__stack_pool *pools;
    void (*entry)(void); /* what a fresh stack runs */
    uint64_t count;      /* in existence */
    uint64_t in_use;
    uint64_t unguarded;
    uint64_t bytes; /* of address space */
};

void uco__stacks_init(struct uco__stacks *stacks, void (*entry)(void));
/* None may be in use. */
void uco__stacks_done(struct uco__stacks *stacks);

/* The size in whole pages; 0 when it is out of range. */
size_t uco__stack_size_round(size_t size);

/* The pool for a rounded size, made if need be; NULL without memory. */
struct uco__stack_pool *uco__stack_pool_get(struct uco__stacks *stacks, size_t size);

/* NULL without memory. */
struct uco__stack *uco__stack_take(struct uco__stack_pool *pool);
/* Only what was used before and lies ready; NULL if there is none. Makes no system call. */
static inline struct uco__stack *
uco__stack_take_pooled(struct uco__stack_pool *pool)
{
    struct uco__stack *stack = pool->free;

    if (stack != NULL) {
        pool->free = stack->next_free;
        pool->stacks->in_use++;
    }
    return stack;
}

/* May be called on the stack itself, if it is left for good before the next take. */
static inline void
uco__stack_give_back(struct uco__stack *stack)
{
    stack->next_free = stack->pool->free;
    stack->pool->free = stack;
    stack->pool->stacks->in_use--;
}

/* Whether a stack without guard was written beyond its end. */
bool uco__stack_overflowed(const struct uco__stack *stack);

#endif
