/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_TRIM_H
#define UCO_CORE_TRIM_H

/*
 * After a burst of tasks, their memory goes back to the system: what was not needed for a period,
 * in slices that are too short to notice. The hot part stays.
 */

#include <stdbool.h>
#include <stdint.h>

struct uco_loop;

void uco__trim_begin(struct uco_loop *loop);
/* When loop->trim_at has come. */
void uco__trim(struct uco_loop *loop);
/* Before the loop sleeps for so many nanoseconds: true, and less of them, if it has to trim before.
 */
bool uco__trim_before(const struct uco_loop *loop, uint64_t *timeout);

#endif
