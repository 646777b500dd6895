/* SPDX-License-Identifier: MIT */
#ifndef STACK_NEEDS_H
#define STACK_NEEDS_H

/* What stack_needs.c measures. */

#include <stdbool.h>
#include <stddef.h>

struct use {
    const char *name;
    bool (*work)(const char *arg);    /* on the task's stack; NULL: not in this build */
    bool (*prepare)(const char *arg); /* before, on the thread's; may be NULL */
    const char *arg;
};

struct use_group {
    const struct use *uses;
    size_t count;
};

extern const struct use_group uses_of_c;
extern const struct use_group uses_of_net;

/* Memory that is shared with the processes this one starts; NULL without memory. */
void *memory_share(size_t size);

/* For a use: it cannot be had here. false. */
bool skip(void);

/* For a use that writes to stderr. */
bool stderr_drop(const char *arg);

#endif
