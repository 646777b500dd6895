/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_CALLS_H
#define UCO_CORE_CALLS_H

/* The nodes of the callbacks that a loop's own thread calls soon, used again and again. */

#include "core/ready.h"

#include <uco/loop.h>

struct uco__call {
    struct uco__ready ready;
    struct uco_loop *loop;
    uco_callback *callback;
    void *arg;
};

struct uco__calls {
    struct uco__call *free; /* linked by arg */
    unsigned count;         /* of them */
};

/* The loop's thread. NULL without memory. */
struct uco__call *uco__call_take(struct uco_loop *loop);
void uco__call_give(struct uco_loop *loop, struct uco__call *call);
/* The loop has closed. */
void uco__calls_done(struct uco__calls *calls);

#endif
