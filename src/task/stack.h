/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_STACK_H
#define UCO_TASK_STACK_H

/* How much of their stacks tasks use, and who they are if that was too much. */

struct uco__fiber;
struct uco__fiber_about;
struct uco__task;

/* For uco__fiber_operations. */
void uco__task_about(const struct uco__fiber *fiber, struct uco__fiber_about *about);

/* On the task's stack, when nothing of the user's will run on it any more, in a loop that watches
 * its stacks. An overflow that no guard has stopped ends the process; in debug mode a task that has
 * come close to one is reported. */
void uco__task_check_stack(struct uco__task *task);

#endif
