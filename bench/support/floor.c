/* SPDX-License-Identifier: MIT */

#include "floor.h"

#include "bench.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

char *
floor_stacks_map(size_t count)
{
    size_t bytes = count * FLOOR_STACK_BYTES;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (map == MAP_FAILED)
        bench_die("mapping %zu stacks: %s", count, strerror(errno));
    madvise(map, bytes, MADV_NOHUGEPAGE);
    return map;
}

void
floor_stacks_unmap(char *stacks, size_t count)
{
    munmap(stacks, count * FLOOR_STACK_BYTES);
}
