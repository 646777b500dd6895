/* SPDX-License-Identifier: MIT */

/* What all primitives share: whose they are, and the plain wait in a list. */

#include "sync/enter.h"

#include "core/jump.h"
#include "core/report.h"

#include <errno.h>

int
uco__sync_bind_slow(uint32_t *number)
{
    int error;
    const struct uco_loop *loop = uco__loop_current(&error);

    if (loop == NULL) {
        if (error == -EPERM)
            error = *number != 0 ? uco__loop_check_idle(*number) : 0;
        return error < 0 ? uco__misuse(error, "a primitive was used outside its loop's thread") : 0;
    }
    if (*number == 0)
        *number = loop->number;
    return *number == loop->number
               ? 0
               : uco__misuse(-EPERM, "a primitive was used that belongs to another loop");
}

int
uco__sync_enter_slow(uint32_t *number, struct uco__task **task)
{
    int error;

    *task = uco__task_current(&error);
    if (UCO__UNLIKELY(*task == NULL))
        return uco__misuse(error, "a suspending function was called outside a coroutine");
    if (UCO__UNLIKELY(number == NULL))
        return uco__misuse(-EINVAL, "a primitive is NULL, or was not initialised");
    return uco__sync_bind(number);
}

enum uco__abort
uco__sync_abort(struct uco__wait *wait)
{
    uco__waiters_remove(UCO__CONTAINER(wait, struct uco__sync_waiter, wait));
    return UCO__UNLINKED;
}

UCO__JUMP_BODY int uco__sync_wait_body(struct uco__fiber *fiber, struct uco_waiters *list,
                                       const struct uco__wait_kind *kind);

int
uco__sync_wait_body(struct uco__fiber *fiber, struct uco_waiters *list,
                    const struct uco__wait_kind *kind)
{
    struct uco__sync_waiter waiter;

    uco__wait_init(&waiter.wait, kind, uco__sync_abort);
    uco__waiters_push(list, &waiter);
    return (int) uco__sync_park(fiber, &waiter.wait);
}

UCO__RETURNS_BY_JUMP(uco__sync_wait);
