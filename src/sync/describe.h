/* SPDX-License-Identifier: MIT */
#ifndef UCO_SYNC_DESCRIBE_H
#define UCO_SYNC_DESCRIBE_H

/* What the waits of this folder have to tell in a dump. */

#include "core/scheduler.h"

/* In a struct uco__lock_waiter. */
extern const struct uco__wait_kind uco__wait_lock;
extern const struct uco__wait_kind uco__wait_condition;
extern const struct uco__wait_kind uco__wait_condition_lock;

/* In a struct uco__sync_waiter. */
extern const struct uco__wait_kind uco__wait_event;
extern const struct uco__wait_kind uco__wait_semaphore;
extern const struct uco__wait_kind uco__wait_barrier;
extern const struct uco__wait_kind uco__wait_put;
extern const struct uco__wait_kind uco__wait_get;
extern const struct uco__wait_kind uco__wait_join;

#endif
