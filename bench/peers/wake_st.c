/* SPDX-License-Identifier: MIT */

/*
 * What bench_wake measures, with State Threads. Its arguments are "condition" and how many units of
 * work to measure; it prints nanoseconds per operation, and fails when its counts do not add up.
 */

#include "clock.h"

#include <st.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THERE, BACK };

struct pair {
    st_cond_t conditions[2];
    size_t permits[2];
    size_t units;
    size_t messages;
};

/* Who is not waiting yet misses a signal, so each looks at what it stands for. */
static void
acquire(struct pair *pair, unsigned which)
{
    while (pair->permits[which] == 0)
        st_cond_wait(pair->conditions[which]);
    pair->permits[which]--;
}

static void
release(struct pair *pair, unsigned which)
{
    pair->permits[which]++;
    st_cond_signal(pair->conditions[which]);
}

static void *
partner(void *arg)
{
    struct pair *pair = arg;

    for (size_t i = 0; i < pair->units; i++) {
        acquire(pair, THERE);
        pair->messages++;
        release(pair, BACK);
    }
    return NULL;
}

/* There and back is two messages. */
static size_t
messages_run(size_t units)
{
    struct pair pair = {.units = units, .conditions = {st_cond_new(), st_cond_new()}};
    st_thread_t thread = st_thread_create(partner, &pair, 1, 0);

    if (thread == NULL)
        return 0;
    for (size_t i = 0; i < units; i++) {
        release(&pair, THERE);
        acquire(&pair, BACK);
        pair.messages++;
    }
    st_thread_join(thread, NULL);
    st_cond_destroy(pair.conditions[THERE]);
    st_cond_destroy(pair.conditions[BACK]);
    return pair.messages;
}

int
main(int argc, char **argv)
{
    size_t units = argc == 3 ? strtoul(argv[2], NULL, 10) : 0, messages;
    uint64_t began, took;

    if (units == 0 || strcmp(argv[1], "condition") != 0) {
        fprintf(stderr, "usage: wake_st condition UNITS\n");
        return 2;
    }
    if (st_init() < 0) {
        perror("st_init");
        return 1;
    }
    messages_run(units / 10 + 1);
    began = clock_read();
    messages = messages_run(units);
    took = clock_read() - began;
    if (messages != units * 2) {
        fprintf(stderr, "%zu messages instead of %zu\n", messages, units * 2);
        return 1;
    }
    printf("%f\n", (double) took / (double) messages);
    return 0;
}
