/* SPDX-License-Identifier: MIT */

/*
 * Allocations and mappings.
 *
 * 1. Tests can make each of them fail, and errno is left as it was.
 * 2. While the ledger is on, all that is had here is noted in it. A note goes before what it is of:
 *    afterwards another thread may have got the same address.
 */

#include "base/system.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PIDFD_SELF_THREAD
#define PIDFD_SELF_THREAD (-10000) /* Linux 6.14 */
#endif

/* The ledger's part, out of the way of the usual one. */
static UCO__COLD void *
block_note(void *block, size_t size, const char *place)
{
    if (block != NULL)
        uco__ledger_add(UCO__LEDGER_BLOCK, (uintptr_t) block, size, place);
    return block;
}

/* A fault is set, or the ledger on. */
static UCO__COLD void *
allocate_watched(size_t size, const char *place)
{
    void *block = uco__fault(UCO__FAULT_malloc) ? NULL : calloc(1, size);

    return uco__ledger_is_on() ? block_note(block, size, place) : block;
}

void *
uco__allocate_at(size_t size, const char *place)
{
    int saved = errno;
    bool watched = atomic_load_explicit(&uco__faults_set, memory_order_relaxed) != 0;
    void *block = UCO__UNLIKELY(watched) ? allocate_watched(size, place) : calloc(1, size);

    errno = saved;
    return block;
}

void *
uco__allocate_lines_at(size_t size, const char *place)
{
    int saved = errno;
    size_t lines = (size + UCO__CACHE_LINE - 1) / UCO__CACHE_LINE * UCO__CACHE_LINE;
    void *block = uco__fault(UCO__FAULT_malloc) ? NULL : aligned_alloc(UCO__CACHE_LINE, lines);

    errno = saved;
    if (block == NULL)
        return NULL;
    memset(block, 0, lines);
    return uco__ledger_is_on() ? block_note(block, size, place) : block;
}

/* Whatever comes of it, the block is nobody else's meanwhile. */
static UCO__COLD void *
block_resize(void *block, size_t size, const char *place)
{
    struct uco__ledger_note before = {0};
    bool noted = uco__ledger_find(UCO__LEDGER_BLOCK, (uintptr_t) block, &before);
    void *resized;

    uco__ledger_drop(UCO__LEDGER_BLOCK, (uintptr_t) block);
    resized = realloc(block, size);
    if (resized == NULL && noted)
        uco__ledger_add(UCO__LEDGER_BLOCK, (uintptr_t) block, before.size, before.place);
    return block_note(resized, size, place);
}

void *
uco__reallocate_at(void *block, size_t size, const char *place)
{
    int saved = errno;

    if (uco__fault(UCO__FAULT_malloc))
        block = NULL;
    else
        block = uco__ledger_is_on() ? block_resize(block, size, place) : realloc(block, size);
    errno = saved;
    return block;
}

char *
uco__string_copy_at(const char *text, const char *place)
{
    int saved = errno;
    char *copy = text == NULL || uco__fault(UCO__FAULT_malloc) ? NULL : strdup(text);

    errno = saved;
    return uco__ledger_is_on() && copy != NULL ? block_note(copy, strlen(copy) + 1, place) : copy;
}

static UCO__COLD void
free_noted(void *block)
{
    if (block != NULL)
        uco__ledger_drop(UCO__LEDGER_BLOCK, (uintptr_t) block);
    free(block);
}

void
uco__free(void *block)
{
    if (uco__ledger_is_on())
        free_noted(block);
    else
        free(block);
}

int
uco__map_at(size_t size, void **memory, const char *place)
{
    int error = uco__fault(UCO__FAULT_mmap);
    int saved;
    void *map;

    if (error < 0)
        return error;
    saved = errno;
    map = mmap(NULL, size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED) {
        error = -errno;
        errno = saved;
        return error;
    }
    if (uco__ledger_is_on())
        uco__ledger_add(UCO__LEDGER_MAP, (uintptr_t) map, size, place);
    *memory = map;
    return 0;
}

void
uco__unmap(void *memory, size_t size)
{
    if (uco__ledger_is_on())
        uco__ledger_drop(UCO__LEDGER_MAP, (uintptr_t) memory);
    /* The kernel merges neighbours, so this may split a mapping, and fail for want of another. Then
     * the address space is lost, but not the memory. */
    if (UCO__SYSTEM(munmap, munmap(memory, size)) < 0)
        UCO__SYSTEM(madvise, madvise(memory, size, MADV_DONTNEED));
}

unsigned
uco__advise_ranges(const struct uco__range ranges[], unsigned count, int advice)
{
    struct iovec vectors[UCO__RANGES_MAX];
    unsigned done = 0;
    long bytes;

    if (count > UCO__RANGES_MAX)
        count = UCO__RANGES_MAX;
    for (unsigned i = 0; i < count; i++)
        vectors[i] = (struct iovec){ranges[i].start, ranges[i].size};
    bytes = UCO__SYSTEM(madvise,
                        syscall(SYS_process_madvise, PIDFD_SELF_THREAD, vectors, count, advice, 0));
    /* It tells bytes, and stops at the first range that it cannot do. */
    while (bytes > 0 && done < count && (size_t) bytes >= ranges[done].size)
        bytes -= (long) ranges[done++].size;
    return done;
}
