/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_STACK_H
#define UCO_CORE_STACK_H

/*
 * Stacks: address space by the slab, committed page by page as it is touched, a guard page below
 * each, reused last in first out. A stack that has been used once stays inside its entry function,
 * so that it can be used again without makecontext. What a burst of tasks has left over goes back
 * to the system after a while.
 */

#include "base/list.h"
#include "core/context.h"
#include "core/sanitizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than twice what all but a few odd library calls take (bench/stack_needs). With its guard it
 * is an odd number of pages: the tops of neighbours fall into different sets of the TLB. */
#define UCO__STACK_SIZE_DEFAULT ((size_t) 120 * 1024)
#define UCO__STACK_SIZE_MIN ((size_t) 16 * 1024)
#define UCO__STACK_SIZE_MAX ((size_t) 1024 * 1024 * 1024)

#define UCO__SLAB_STACKS_MAX 76 /* their records fill a page */

struct uco__stack_note;
struct uco__stack_pool;
struct uco__stack_slab;

enum uco__stack_guard { UCO__GUARD_NONE, UCO__GUARD_INSTALLED, UCO__GUARD_PROTECTED };

struct uco__stack {
    struct uco__context context;
    struct uco__list free;        /* while it is in the pool */
    struct uco__stack_slab *slab; /* NULL: a thread's own stack */
    struct uco__sanitizer sanitizer;
};

/* One mapping: this and the stacks' records, then for each stack its guard and itself. */
struct uco__stack_slab {
    struct uco__stack_pool *pool;
    struct uco__stack_slab *next;
    struct uco__stack_slab *previous;
    char *first;  /* stack's guard */
    size_t bytes; /* of the mapping */
    unsigned count;
    unsigned guarded; /* how many of the stacks have been given a guard, if there was one */
    unsigned cut;     /* how many of them exist */
    unsigned in_use;
    unsigned char guards[UCO__SLAB_STACKS_MAX]; /* enum uco__stack_guard */
    bool clean[UCO__SLAB_STACKS_MAX];           /* whether it is in the pool's `clean` */
    struct uco__stack stacks[];
};

/* The stacks of one size. */
struct uco__stack_pool {
    struct uco__stack_pool *next;
    struct uco__stacks *stacks;
    size_t size;            /* as asked for, in whole pages */
    struct uco__list used;  /* free ones that wait inside their entry function; last in, first
                                      out */
    struct uco__list clean; /* free ones that have no memory */
    struct uco__stack_slab *slabs; /* the newest first: only it may have stacks that were never
                                      given out */
    uint64_t free;                 /* in `used` */
    uint64_t in_use;
    uint64_t peak; /* of in_use, lately */
};

/* All of a loop's. */
struct uco__stacks {
    struct uco__stack_pool *pools;
    void (*entry)(void); /* what a fresh stack runs */
    uint64_t count;      /* in existence */
    uint64_t unguarded;
    uint64_t bytes; /* of address space, guards included */
    bool measured;  /* debug mode: how deep tasks go is looked at */
    bool watched;   /* a task's stack is looked at when it ends: that, or some are unguarded */
    size_t deepest; /* bytes that a task has used */
    struct uco__stack_note *notes; /* whose tasks were found to go deep */
};

void uco__stacks_init(struct uco__stacks *stacks, void (*entry)(void));
/* None may be in use. */
void uco__stacks_done(struct uco__stacks *stacks);
uint64_t uco__stacks_in_use(const struct uco__stacks *stacks);

/* The size in whole pages; 0 when it is out of range. */
size_t uco__stack_size_round(size_t size);

/* A rounded size as a small number, and back. */
uint32_t uco__stack_pages(size_t size);
size_t uco__stack_pages_size(uint32_t pages);

/* The pool for a rounded size, made if need be; NULL without memory. */
struct uco__stack_pool *uco__stack_pool_get(struct uco__stacks *stacks, size_t size);

/* NULL without memory. */
struct uco__stack *uco__stack_take(struct uco__stack_pool *pool);
/* Only what was used before and lies ready; NULL if there is none. Makes no system call. */
static inline struct uco__stack *
uco__stack_take_pooled(struct uco__stack_pool *pool)
{
    struct uco__list *link = uco__list_pop_front(&pool->used);
    struct uco__stack *stack;

    if (link == NULL)
        return NULL;
    stack = UCO__CONTAINER(link, struct uco__stack, free);
    stack->slab->in_use++;
    pool->free--;
    if (++pool->in_use > pool->peak)
        pool->peak = pool->in_use;
    return stack;
}

/* May be called on the stack itself, if it is left for good before the next take. */
static inline void
uco__stack_give_back(struct uco__stack *stack)
{
    struct uco__stack_pool *pool = stack->slab->pool;

    uco__list_push_front(&pool->used, &stack->free);
    stack->slab->in_use--;
    pool->free++;
    pool->in_use--;
}

/* Whether there is memory that no task has needed for a while, or soon will be; a look is enough
 * now and then. */
bool uco__stacks_have_spare(const struct uco__stacks *stacks);
/* A period is over: what was not needed in it may go. */
void uco__stacks_age(struct uco__stacks *stacks);
/* Gives memory that was not needed in the last period back to the system: of so many stacks at
 * most. False: there is no more. */
bool uco__stacks_trim(struct uco__stacks *stacks, unsigned most);

/* For who has but a copy of a slab, whose stacks have this size: the lowest usable address of the
 * stack with this number, and how many bytes it has less than that size. */
char *uco__stack_place(const struct uco__stack_slab *slab, size_t size, size_t number);
size_t uco__stack_colour(size_t number);

/* The lowest usable address; the guard lies right below. */
char *uco__stack_base(const struct uco__stack *stack);
/* Usable bytes, up from the base. */
size_t uco__stack_size(const struct uco__stack *stack);
enum uco__stack_guard uco__stack_guard(const struct uco__stack *stack);
/* Whether a stack without guard was written beyond its end. */
bool uco__stack_overflowed(const struct uco__stack *stack);
/* The stack on which, or on whose guard, the address is; NULL: none. Async-signal-safe. */
struct uco__stack *uco__stacks_find(const struct uco__stacks *stacks, uintptr_t address);

/* Before the first stack is taken. */
void uco__stacks_measure(struct uco__stacks *stacks);
/* How many bytes of it, down from its highest address, were touched since it was made, given back
 * to the system or wiped. Exact to the word; zeros count as untouched. */
size_t uco__stack_used(const struct uco__stack *stack);
/* On the stack, of which so many bytes were used: what lies below the caller's frame is as if it
 * had never been touched. */
void uco__stack_wipe(const struct uco__stack *stack, size_t used);
/* Remembers it; whether it was not known before. Without memory it may be forgotten. */
bool uco__stacks_note(struct uco__stacks *stacks, const void *subject);
void uco__stacks_forget(struct uco__stacks *stacks);

#endif
