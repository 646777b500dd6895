/* SPDX-License-Identifier: MIT */

/*
 * Stacks.
 *
 * 1. A slab is one mapping: the records of its stacks, then its slots, each a guard page and the
 *    stack above it. Stacks are cut from the newest slab one by one; their guards are installed
 *    some ahead, many in one call.
 * 2. A stack is in use, in `used` (its entry function waits in it), or in `clean` (it has no
 *    memory, and begins anew).
 * 3. A slab goes when none of its stacks is in use and their memory is to be given back. Nothing
 *    else moves or goes away before the loop does.
 * 4. Where no guard can be had, the lowest words of the stack are a canary. They are zero and were
 *    never written to, so that they cost no page of memory.
 *
 * Guards: MADV_GUARD_INSTALL (Linux 6.13) costs no mapping of its own. mprotect splits the slab,
 * two mappings a stack, so it is used for up to half of vm.max_map_count; what is beyond must live
 * without, since a million coroutines must not die at 32,700.
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
#define COLOURS                                                                                    \
    32 /* how many different offsets stack tops have, so that they do not all share cache sets */
#define COLOUR_BYTES 64
#define CANARY_WORDS 8
#define MAP_COUNT_DEFAULT 65530
#define SPARE_MIN 16 /* stacks that are kept in any case */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* Guards by mprotect in the whole process: each makes two mappings. */
static atomic_long stack_protected;

static size_t
page_size(void)
{
    return (size_t) sysconf(_SC_PAGESIZE);
}

static size_t
pages_round(size_t bytes)
{
    return (bytes + page_size() - 1) / page_size() * page_size();
}

void
uco__stacks_init(struct uco__stacks *stacks, void (*entry)(void))
{
    *stacks = (struct uco__stacks){.entry = entry};
}

uint64_t
uco__stacks_in_use(const struct uco__stacks *stacks)
{
    uint64_t in_use = 0;

    for (const struct uco__stack_pool *pool = stacks->pools; pool != NULL; pool = pool->next)
        in_use += pool->in_use;
    return in_use;
}

/* --- where a stack lies --- */

static size_t
slab_index(const struct uco__stack *stack)
{
    return (size_t) (stack - stack->slab->stacks);
}

static char *
slab_guard(const struct uco__stack_slab *slab, size_t index)
{
    return slab->first + index * (slab->pool->size + page_size());
}

char *
uco__stack_place(const struct uco__stack_slab *slab, size_t size, size_t number)
{
    return slab->first + number * (size + page_size()) + page_size();
}

size_t
uco__stack_colour(size_t number)
{
    return number % COLOURS * COLOUR_BYTES;
}

char *
uco__stack_base(const struct uco__stack *stack)
{
    return slab_guard(stack->slab, slab_index(stack)) + page_size();
}

size_t
uco__stack_size(const struct uco__stack *stack)
{
    return stack->slab->pool->size - uco__stack_colour(slab_index(stack));
}

enum uco__stack_guard
uco__stack_guard(const struct uco__stack *stack)
{
    return (enum uco__stack_guard) stack->slab->guards[slab_index(stack)];
}

UCO__NO_SANITIZE bool
uco__stack_overflowed(const struct uco__stack *stack)
{
    const uint64_t *canary = (const uint64_t *) (const void *) uco__stack_base(stack);
    uint64_t seen = 0;

    if (uco__stack_guard(stack) != UCO__GUARD_NONE)
        return false;
    for (int i = 0; i < CANARY_WORDS; i++)
        seen |= canary[i];
    return seen != 0;
}

struct uco__stack *
uco__stacks_find(const struct uco__stacks *stacks, uintptr_t address)
{
    for (const struct uco__stack_pool *pool = stacks->pools; pool != NULL; pool = pool->next) {
        for (struct uco__stack_slab *slab = pool->slabs; slab != NULL; slab = slab->next) {
            uintptr_t first = (uintptr_t) slab->first;
            size_t index = (address - first) / (pool->size + page_size());

            if (address >= first && index < slab->cut)
                return &slab->stacks[index];
        }
    }
    return NULL;
}

/* --- guards --- */

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
guard_install(char *guard)
{
    if (UCO__SYSTEM(madvise, madvise(guard, page_size(), MADV_GUARD_INSTALL)) == 0)
        return UCO__GUARD_INSTALLED;
    if (atomic_fetch_add(&stack_protected, 1) < protected_max() &&
        UCO__SYSTEM(mprotect, mprotect(guard, page_size(), PROT_NONE)) == 0)
        return UCO__GUARD_PROTECTED;
    atomic_fetch_sub(&stack_protected, 1);
    return UCO__GUARD_NONE;
}

/* Those of the next stacks: as many as there are already, so that few are made in vain. */
static void
slab_guard_ahead(struct uco__stack_slab *slab)
{
    struct uco__range ranges[UCO__SLAB_STACKS_MAX];
    uint64_t count = slab->pool->stacks->count;
    unsigned i, done = 0;

    if (count > slab->count - slab->cut)
        count = slab->count - slab->cut;
    for (i = 0; i < count; i++)
        ranges[i] = (struct uco__range){slab_guard(slab, slab->cut + i), page_size()};
    if (count > 1)
        done = uco__advise_ranges(ranges, i, MADV_GUARD_INSTALL);
    for (i = 0; i < done; i++)
        slab->guards[slab->cut + i] = UCO__GUARD_INSTALLED;
    slab->guarded = slab->cut + done;
}

/* --- slabs --- */

static struct uco__stack_slab *
slab_new(struct uco__stack_pool *pool, size_t count)
{
    size_t records =
        pages_round(sizeof(struct uco__stack_slab) + count * sizeof(struct uco__stack));
    size_t bytes = records + count * (pool->size + page_size());
    struct uco__stack_slab *slab;
    void *map;

    if (uco__map(bytes, &map) < 0)
        return NULL;
    /* Of no consequence when it fails: memory only. */
    UCO__SYSTEM(madvise, madvise(map, bytes, MADV_NOHUGEPAGE));
    slab = map;
    slab->pool = pool;
    slab->first = (char *) map + records;
    slab->bytes = bytes;
    slab->count = (unsigned) count;
    slab->next = pool->slabs;
    if (slab->next != NULL)
        slab->next->previous = slab;
    pool->slabs = slab;
    pool->stacks->bytes += count * (pool->size + page_size());
    return slab;
}

/* None of its stacks is in use. */
static void
slab_free(struct uco__stack_slab *slab)
{
    struct uco__stack_pool *pool = slab->pool;

    for (unsigned i = 0; i < slab->cut; i++) {
        struct uco__stack *stack = &slab->stacks[i];

        uco__list_remove(&stack->free);
        pool->free -= !slab->clean[i];
        pool->stacks->unguarded -= slab->guards[i] == UCO__GUARD_NONE;
        if (slab->guards[i] == UCO__GUARD_PROTECTED)
            atomic_fetch_sub(&stack_protected, 1);
        uco__sanitizer_done(&stack->sanitizer);
    }
    pool->stacks->count -= slab->cut;
    pool->stacks->bytes -= slab->count * (pool->size + page_size());
    if (slab->previous != NULL)
        slab->previous->next = slab->next;
    else
        pool->slabs = slab->next;
    if (slab->next != NULL)
        slab->next->previous = slab->previous;
    uco__unmap(slab, slab->bytes);
}

/* Each slab twice as large as the one before, so that few tasks take little and many take few
 * mappings. */
static struct uco__stack_slab *
slab_grow(struct uco__stack_pool *pool)
{
    size_t count = pool->slabs != NULL ? pool->slabs->count * (size_t) 2 : SLAB_STACKS_FIRST;
    struct uco__stack_slab *slab;

    if (count > UCO__SLAB_STACKS_MAX)
        count = UCO__SLAB_STACKS_MAX;
    while (count > 1 && count * pool->size > SLAB_BYTES)
        count /= 2;
    slab = slab_new(pool, count);
    if (slab != NULL)
        return slab;
    /* What is only kept ready, in whatever size, is better used than refused. */
    uco__stacks_age(pool->stacks);
    uco__stacks_trim(pool->stacks, UINT_MAX);
    return slab_new(pool, 1);
}

/* --- stacks --- */

static void
stack_begin(struct uco__stack *stack)
{
    char *base = uco__stack_base(stack);
    size_t size = uco__stack_size(stack);

    uco__context_init(&stack->context, base, size, stack->slab->pool->stacks->entry);
    uco__sanitizer_init(&stack->sanitizer, base, size);
}

static struct uco__stack *
stack_cut(struct uco__stack_pool *pool)
{
    struct uco__stack_slab *slab = pool->slabs;
    struct uco__stack *stack;

    if (slab == NULL || slab->cut == slab->count) {
        slab = slab_grow(pool);
        if (slab == NULL)
            return NULL;
    }
    if (slab->cut >= slab->guarded)
        slab_guard_ahead(slab);
    stack = &slab->stacks[slab->cut];
    stack->slab = slab;
    uco__list_init(&stack->free);
    if (slab->guards[slab->cut] == UCO__GUARD_NONE)
        slab->guards[slab->cut] = (unsigned char) guard_install(slab_guard(slab, slab->cut));
    if (slab->guards[slab->cut] == UCO__GUARD_NONE) {
        pool->stacks->unguarded++;
        pool->stacks->watched = true;
    }
    pool->stacks->count++;
    slab->cut++;
    stack_begin(stack);
    return stack;
}

struct uco__stack *
uco__stack_take(struct uco__stack_pool *pool)
{
    struct uco__stack *stack = uco__stack_take_pooled(pool);
    struct uco__list *link;

    if (stack != NULL)
        return stack;
    link = uco__list_pop_front(&pool->clean);
    stack = link != NULL ? UCO__CONTAINER(link, struct uco__stack, free) : stack_cut(pool);
    if (stack == NULL)
        return NULL;
    stack->slab->clean[slab_index(stack)] = false;
    stack->slab->in_use++;
    if (++pool->in_use > pool->peak)
        pool->peak = pool->in_use;
    return stack;
}

size_t
uco__stack_size_round(size_t size)
{
    if (size < UCO__STACK_SIZE_MIN || size > UCO__STACK_SIZE_MAX)
        return 0;
    return pages_round(size * UCO__SANITIZER_STACK_FACTOR);
}

uint32_t
uco__stack_pages(size_t size)
{
    return size != 0 ? (uint32_t) (size / page_size()) : 0;
}

size_t
uco__stack_pages_size(uint32_t pages)
{
    return pages * page_size();
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
    uco__list_init(&pool->used);
    uco__list_init(&pool->clean);
    pool->next = stacks->pools;
    stacks->pools = pool;
    return pool;
}

/* --- giving memory back --- */

/* How many of the free ones may go. */
static uint64_t
pool_spare(const struct uco__stack_pool *pool)
{
    uint64_t wanted = pool->peak - pool->in_use + SPARE_MIN;

    return pool->free > wanted ? pool->free - wanted : 0;
}

bool
uco__stacks_have_spare(const struct uco__stacks *stacks)
{
    for (const struct uco__stack_pool *pool = stacks->pools; pool != NULL; pool = pool->next) {
        if (pool->free > SPARE_MIN)
            return true;
    }
    return false;
}

void
uco__stacks_age(struct uco__stacks *stacks)
{
    for (struct uco__stack_pool *pool = stacks->pools; pool != NULL; pool = pool->next)
        pool->peak = pool->in_use;
}

/* How many it could. */
static unsigned
stacks_clean(struct uco__stack *stacks[], unsigned count)
{
    struct uco__range ranges[UCO__SLAB_STACKS_MAX] = {{0}};
    unsigned done, cleaned = 0;

    if (count == 0)
        return 0;
    for (unsigned i = 0; i < count; i++)
        ranges[i] = (struct uco__range){uco__stack_base(stacks[i]), stacks[i]->slab->pool->size};
    done = uco__advise_ranges(ranges, count, MADV_DONTNEED);
    for (unsigned i = 0; i < count; i++) {
        struct uco__stack_pool *pool = stacks[i]->slab->pool;

        if (i >= done &&
            UCO__SYSTEM(madvise, madvise(ranges[i].start, ranges[i].size, MADV_DONTNEED)) < 0) {
            uco__list_push_front(&pool->used, &stacks[i]->free); /* as it was, and not the next */
            continue;
        }
        uco__sanitizer_done(&stacks[i]->sanitizer);
        stack_begin(stacks[i]);
        uco__list_push_front(&pool->clean, &stacks[i]->free);
        stacks[i]->slab->clean[slab_index(stacks[i])] = true;
        pool->free--;
        cleaned++;
    }
    return cleaned;
}

static unsigned
slab_count_used(const struct uco__stack_slab *slab)
{
    unsigned used = 0;

    for (unsigned i = 0; i < slab->cut; i++)
        used += !slab->clean[i];
    return used - slab->in_use;
}

/* Those that have not been used for longest: with their slabs, where they are the last. */
static unsigned
pool_trim(struct uco__stack_pool *pool, unsigned most)
{
    struct uco__stack *batch[UCO__SLAB_STACKS_MAX];
    unsigned looked = 0, trimmed = 0, count = 0;
    uint64_t spare = pool_spare(pool);

    while (looked < most && looked < spare) {
        struct uco__stack *stack = UCO__CONTAINER(pool->used.prev, struct uco__stack, free);
        struct uco__stack_slab *slab = stack->slab;

        if (slab->in_use == 0 && count > 0) {
            trimmed += stacks_clean(batch, count); /* some may be of this slab */
            count = 0;
        }
        if (slab->in_use == 0 && slab_count_used(slab) <= spare - looked) {
            looked += slab_count_used(slab);
            trimmed += slab_count_used(slab);
            slab_free(slab);
            continue;
        }
        uco__list_remove(&stack->free);
        batch[count++] = stack;
        looked++;
        if (count == UCO__SLAB_STACKS_MAX) {
            trimmed += stacks_clean(batch, count);
            count = 0;
        }
    }
    return trimmed + stacks_clean(batch, count);
}

bool
uco__stacks_trim(struct uco__stacks *stacks, unsigned most)
{
    unsigned trimmed = 0;

    for (struct uco__stack_pool *pool = stacks->pools; pool != NULL && trimmed < most;
         pool = pool->next)
        trimmed += pool_trim(pool, most - trimmed);
    return trimmed >= most;
}

void
uco__stacks_done(struct uco__stacks *stacks)
{
    struct uco__stack_pool *pool;

    uco__stacks_forget(stacks);
    while ((pool = stacks->pools) != NULL) {
        stacks->pools = pool->next;
        while (pool->slabs != NULL)
            slab_free(pool->slabs);
        uco__free(pool);
    }
}
