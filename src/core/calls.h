/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_CALLS_H
#define UCO_CORE_CALLS_H

/*
 * The nodes of callbacks, used again and again: what one thread allocates and another frees is the
 * dearest thing about a post.
 *
 * A loop gives back those that have run in bundles; who posts takes a whole bundle, for its own
 * thread.
 */

#include "base/compiler.h"
#include "core/ready.h"

#include <stdatomic.h>
#include <uco/loop.h>

struct uco__call {
    struct uco__ready ready;
    struct uco_loop *loop;
    uco_callback *callback;
    void *arg;
};

struct uco__calls {
    struct uco__call *done; /* the loop's thread's: have run; linked by arg */
    unsigned count;         /* of them */
    char apart[UCO__CACHE_LINE];
    _Atomic(struct uco__call *) bundle; /* for who posts; NULL: it was taken */
};

/* Any thread. NULL without memory. */
struct uco__call *uco__call_take(struct uco_loop *loop);
/* Any thread: one that was not posted. */
void uco__call_drop(struct uco__call *call);
/* The loop's thread: one that has run. */
void uco__call_give(struct uco_loop *loop, struct uco__call *call);
/* The loop has closed. */
void uco__calls_done(struct uco__calls *calls);

#endif
