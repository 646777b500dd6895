/* SPDX-License-Identifier: MIT */

/*
 * What bench_spawn measures, with GNU Pth. Its arguments are a row's name and how many batches of
 * threads to measure; it prints nanoseconds per thread, and fails when its counts do not add up.
 */

#include "clock.h"

#include <pth.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH = 1000,
    RESULT = 3, /* of each */
    STACK_BYTES = 64 * 1024,
};

struct tally {
    size_t ran;
    uintptr_t sum;
};

static void *
body(void *arg)
{
    struct tally *tally = arg;

    tally->ran++;
    return (void *) (uintptr_t) RESULT;
}

/* What cannot be spawned or joined is missing from the sum. */
static struct tally
run(pth_attr_t attributes, size_t batch, size_t batches)
{
    pth_t threads[BATCH];
    struct tally tally = {0};

    for (size_t i = 0; i < batches; i++) {
        for (size_t k = 0; k < batch; k++)
            threads[k] = pth_spawn(attributes, body, &tally);
        for (size_t k = 0; k < batch; k++) {
            void *result = NULL;

            if (threads[k] != NULL)
                pth_join(threads[k], &result);
            tally.sum += (uintptr_t) result;
        }
    }
    return tally;
}

static int
measure(size_t batch, size_t batches)
{
    size_t count = batch * batches;
    struct tally tally;
    uint64_t took;
    pth_attr_t attributes;

    if (!pth_init())
        return 1;
    attributes = pth_attr_new();
    pth_attr_set(attributes, PTH_ATTR_STACK_SIZE, (unsigned int) STACK_BYTES);
    run(attributes, batch, batches / 10 + 1);
    took = clock_read();
    tally = run(attributes, batch, batches);
    took = clock_read() - took;
    if (tally.ran != count || tally.sum != count * RESULT) {
        fprintf(stderr, "%zu threads instead of %zu, or other results\n", tally.ran, count);
        return 1;
    }
    printf("%f\n", (double) took / (double) count);
    return 0;
}

int
main(int argc, char **argv)
{
    size_t batches = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

    if (batches > 0 && strcmp(argv[1], "one") == 0)
        return measure(1, batches);
    if (batches > 0 && strcmp(argv[1], "batch") == 0)
        return measure(BATCH, batches);
    fprintf(stderr, "usage: spawn_pth ROW BATCHES\n");
    return 2;
}
