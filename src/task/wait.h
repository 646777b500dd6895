/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_WAIT_H
#define UCO_TASK_WAIT_H

#include "task/task.h"

#include <stdbool.h>

/* Waits for a future to its end, as completing calls do: its result. *expired: the timeout
 * (seconds) cancelled it. `told`: the caller knows of its own cancellation. */
intptr_t uco__wait_complete(struct uco__task *task, uco_future *f, double timeout, bool told,
                            bool *expired);

#endif
