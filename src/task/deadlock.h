/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_DEADLOCK_H
#define UCO_TASK_DEADLOCK_H

/* Waits that can never end. */

#include <stdbool.h>
#include <stddef.h>
#include <uco/common.h>

struct uco__task;

/* Would the task wait in a circle if it waited for these? May say no where the answer would take
 * too long. */
bool uco__deadlock_closes_cycle(struct uco__task *task, uco_future *fs[], size_t n);

/* The loop has nothing ready, and neither timer, fd nor job that could change that. If it is a
 * uco_run() in a process with no other thread, that is reported with who waits for what, and all
 * tasks are cancelled. */
void uco__deadlock_stuck(struct uco_loop *loop);

#endif
