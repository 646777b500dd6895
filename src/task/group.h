/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_GROUP_H
#define UCO_TASK_GROUP_H

/* Groups: what tasks and the loop tell them. */

#include <uco/group.h>

struct uco__runtime;
struct uco__task;

/* A member's result is published. */
void uco__group_member_ended(struct uco__task *task);
/* A member is the loop's from now on. */
void uco__group_member_detached(struct uco__task *task);
/* Frees what owners left behind. */
void uco__groups_done(struct uco__runtime *runtime);

#endif
