/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_DEADLOCK_H
#define UCO_TASK_DEADLOCK_H

/* Waits that can never end. */

#include "task/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Would the task wait in a circle if it waited for these? May say no where the answer would take
 * too long. */
bool uco__deadlock_search(struct uco__task *task, uco_future *fs[], size_t n);

/* The same for one. */
static inline bool
uco__deadlock_closes_cycle(struct uco__task *task, uco_future *f)
{
    /* Another loop's is another thread's; one that has not begun waits for nobody. */
    if (f->kind != UCO__FUTURE_TASK || f->loop != task->future.loop ||
        uco__task_of(f)->phase == UCO__TASK_NEW)
        return false;
    return uco__deadlock_search(task, &f, 1);
}

/* Nanoseconds until debug mode tells of a loop that only another thread could wake. Tests shorten
 * it. */
extern uint64_t uco__deadlock_patience;

/* The loop has nothing ready, and neither timer, fd nor job that could change that. If it is a
 * uco_run() in a process with no other thread, that is reported with who waits for what, and all
 * tasks are cancelled. With other threads it is told in debug mode after a while, and no more. */
void uco__deadlock_stuck(struct uco_loop *loop);

#endif
