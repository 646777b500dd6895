/* SPDX-License-Identifier: MIT */

#include "floor.h"

#include "bench.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

char *
floor_stacks_map_of(size_t count, size_t bytes)
{
    void *map = mmap(NULL, count * bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (map == MAP_FAILED)
        bench_die("mapping %zu stacks: %s", count, strerror(errno));
    madvise(map, count * bytes, MADV_NOHUGEPAGE);
    return map;
}

void
floor_stacks_unmap_of(char *stacks, size_t count, size_t bytes)
{
    munmap(stacks, count * bytes);
}
