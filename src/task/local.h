/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_LOCAL_H
#define UCO_TASK_LOCAL_H

/* Task-local storage: how tasks come to values and lose them. */

#include "task/task.h"

#include <uco/local.h>

/* The values of one task, or of several that have the same. */
struct uco__locals {
    size_t holders; /* tasks; all on one loop */
    size_t count;
    struct uco__local_entry *entries[]; /* by the keys' index; NULL: none */
};

/* A new task gets its creator's values. */
static inline void
uco__locals_inherit(struct uco__task *task, const struct uco__task *creator)
{
    task->locals = creator->locals;
    if (UCO__UNLIKELY(task->locals != NULL))
        task->locals->holders++;
}

/* The task ends: it holds its values no more. */
void uco__locals_drop(struct uco__task *task);

#endif
