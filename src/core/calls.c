/* SPDX-License-Identifier: MIT */

/*
 * Nodes of callbacks.
 *
 * 1. A node is in the run queue, or in the loop's `free`.
 */

#include "core/calls.h"

#include "base/system.h"
#include "core/loop.h"

#define KEPT_MAX 256 /* nodes that a loop keeps after a burst */

struct uco__call *
uco__call_take(struct uco_loop *loop)
{
    struct uco__calls *calls = &loop->calls;
    struct uco__call *call = calls->free;

    if (call == NULL)
        return uco__allocate(sizeof *call);
    /* A callback is an allocation for whoever makes allocations fail, whether there is a node or
     * not. */
    if (UCO__UNLIKELY(uco__fault(UCO__FAULT_malloc) < 0))
        return NULL;
    calls->free = call->arg;
    calls->count--;
    return call;
}

void
uco__call_give(struct uco_loop *loop, struct uco__call *call)
{
    struct uco__calls *calls = &loop->calls;

    if (calls->count == KEPT_MAX) {
        uco__free(call);
        return;
    }
    call->arg = calls->free;
    calls->free = call;
    calls->count++;
}

void
uco__calls_done(struct uco__calls *calls)
{
    struct uco__call *call;

    while ((call = calls->free) != NULL) {
        calls->free = call->arg;
        uco__free(call);
    }
    calls->count = 0;
}
