/* SPDX-License-Identifier: MIT */

/*
 * Stacks.
 *
 * 1. A slab is one mapping; each of its slots is a guard page and the stack above it. Stacks are
 *    cut from the newest slab one by one, so that a guard is paid for only with a stack that is
 *    used.
 * 2. A slab lives until the loop is gone. What a loop's stacks point to does not move.
 * 3. Where no guard can be had, the lowest words of the stack are a canary. They are zero and were
 *    never written to, so that they cost no page of memory.
 *
 * Guards: MADV_GUARD_INSTALL (Linux 6.13) costs no mapping of its own. mprotect splits the slab,
 * two mappings a stack, so it is used for up to half of vm.max_map_count; what is beyond must live
 * without, since a million coroutines must not die at 32,700. (process_madvise() could install many
 * guards at a time, once stacks are cut in batches.)
 */

#include "core/stack.h"

#include "base/system.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLAB_BYTES ((size_t) 16 * 1024 * 1024)
#define SLAB_STACKS_FIRST 4
#define SLAB_STACKS_MAX 64
#define COLOURS                                                                                    \
    32 /* how many different offsets stack tops have, so that they do not all share cache sets */
#define COLOUR_BYTES 64
#define CANARY_WORDS 8
#define MAP_COUNT_DEFAULT 65530

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

struct uco__stack_slab {
    struct uco__stack_slab *next;
    char *map;
    size_t bytes;
    size_t count;
    size_t cut; /* how many of the stacks exist */
    struct uco__stack stacks[];
};

/* Guards by mprotect in the whole process: each makes two mappings. */
static atomic_long stack_protected;

static size_t
page_size(void)
{
    return (size_t) sysconf(_SC_PAGESIZE);
}

void
uco__stacks_init(struct uco__stacks *stacks, void (*entry)(void))
{
    *stacks = (struct uco__stacks){.entry = entry};
}

static long
protected_max(void)
{
    static atomic_long cached;
    long count = atomic_load(&cached);
    FILE *file;

    if (count != 0)
        return count / 4;
    file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file == NULL || fscanf(file, "%ld", &count) != 1 || count <= 0)
        count = MAP_COUNT_DEFAULT;
    if (file != NULL)
        fclose(file);
    atomic_store(&cached, count);
    return count / 4;
}

/* A kernel before 6.13 answers EINVAL each time: not worth remembering, next to the fault of the
 * stack's first page. */
static enum uco__stack_guard
guard_install(char *guard, size_t size)
{
    if (UCO__SYSTEM(madvise, madvise(guard, size, MADV_GUARD_INSTALL)) == 0)
        return UCO__GUARD_INSTALLED;
    if (atomic_fetch_add(&stack_protected, 1) < protected_max() &&
        UCO__SYSTEM(mprotect, mprotect(guard, size, PROT_NONE)) == 0)
        return UCO__GUARD_PROTECTED;
    atomic_fetch_sub(&stack_protected, 1);
    return UCO__GUARD_NONE;
}

static struct uco__stack_slab *
slab_new(struct uco__stack_pool *pool, size_t count)
{
    size_t bytes = count * (pool->size + page_size());
    struct uco__stack_slab *slab;
    void *map;

    slab = uco__allocate(sizeof *slab + count * sizeof slab->stacks[0]);
    if (slab == NULL)
        return NULL;
    if (uco__map(bytes, &map) < 0) {
        uco__free(slab);
        return NULL;
    }
    /* Of no consequence when it fails: memory only. */
    UCO__SYSTEM(madvise, madvise(map, bytes, MADV_NOHUGEPAGE));
    slab->map = map;
    slab->bytes = bytes;
    slab->count = count;
    slab->next = pool->slabs;
    pool->slabs = slab;
    pool->stacks->bytes += bytes;
    return slab;
}

/* Each slab twice as large as the one before, so that few tasks take little and many take few
 * mappings. */
static struct uco__stack_slab *
slab_grow(struct uco__stack_pool *pool)
{
    size_t count = pool->slabs != NULL ? pool->slabs->count * 2 : SLAB_STACKS_FIRST;
    struct uco__stack_slab *slab;

    if (count > SLAB_STACKS_MAX)
        count = SLAB_STACKS_MAX;
    while (count > 1 && count * pool->size > SLAB_BYTES)
        count /= 2;
    slab = slab_new(pool, count);
    return slab == NULL && count > 1 ? slab_new(pool, 1) : slab;
}

static void
stack_init(struct uco__stack *stack, struct uco__stack_pool *pool, char *slot, size_t index)
{
    size_t guard = page_size();

    stack->pool = pool;
    stack->base = slot + guard;
    stack->size = pool->size - index % COLOURS * COLOUR_BYTES;
    stack->guard = guard_install(slot, guard);
    uco__context_init(&stack->context, stack->base, stack->size, pool->stacks->entry);
    uco__sanitizer_init(&stack->sanitizer, stack->base, stack->size);
    pool->stacks->count++;
    pool->stacks->unguarded += stack->guard == UCO__GUARD_NONE;
}

struct uco__stack *
uco__stack_take(struct uco__stack_pool *pool)
{
    struct uco__stack *stack = uco__stack_take_pooled(pool);
    struct uco__stack_slab *slab = pool->slabs;
    size_t stride = pool->size + page_size();

    if (stack != NULL)
        return stack;
    if (slab == NULL || slab->cut == slab->count) {
        slab = slab_grow(pool);
        if (slab == NULL)
            return NULL;
    }
    stack = &slab->stacks[slab->cut];
    stack_init(stack, pool, slab->map + slab->cut * stride, slab->cut);
    slab->cut++;
    pool->stacks->in_use++;
    return stack;
}

UCO__NO_SANITIZE bool
uco__stack_overflowed(const struct uco__stack *stack)
{
    const uint64_t *canary = (const uint64_t *) (const void *) stack->base;
    uint64_t seen = 0;

    if (stack->guard != UCO__GUARD_NONE)
        return false;
    for (int i = 0; i < CANARY_WORDS; i++)
        seen |= canary[i];
    return seen != 0;
}

size_t
uco__stack_size_round(size_t size)
{
    size_t page = page_size();

    if (size < UCO__STACK_SIZE_MIN || size > UCO__STACK_SIZE_MAX)
        return 0;
    return (size * UCO__SANITIZER_STACK_FACTOR + page - 1) / page * page;
}

struct uco__stack_pool *
uco__stack_pool_get(struct uco__stacks *stacks, size_t size)
{
    struct uco__stack_pool *pool;

    for (pool = stacks->pools; pool != NULL; pool = pool->next) {
        if (pool->size == size)
            return pool;
    }
    pool = uco__allocate(sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->stacks = stacks;
    pool->size = size;
    pool->next = stacks->pools;
    stacks->pools = pool;
    return pool;
}

static void
slab_free(struct uco__stack_slab *slab)
{
    for (size_t i = 0; i < slab->cut; i++) {
        uco__sanitizer_done(&slab->stacks[i].sanitizer);
        if (slab->stacks[i].guard == UCO__GUARD_PROTECTED)
            atomic_fetch_sub(&stack_protected, 1);
    }
    uco__unmap(slab->map, slab->bytes);
    uco__free(slab);
}

void
uco__stacks_done(struct uco__stacks *stacks)
{
    struct uco__stack_pool *pool;
    struct uco__stack_slab *slab;

    while ((pool = stacks->pools) != NULL) {
        stacks->pools = pool->next;
        while ((slab = pool->slabs) != NULL) {
            pool->slabs = slab->next;
            slab_free(slab);
        }
        uco__free(pool);
    }
}
