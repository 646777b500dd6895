/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_ALTSTACK_H
#define UCO_CORE_ALTSTACK_H

/*
 * A stack for signal handlers. A coroutine's own may be small, and a handler would run on it: so
 * while a thread runs a loop, those that were installed with SA_ONSTACK have another. One that the
 * thread has already is left alone.
 */

#include <stdbool.h>

struct uco__altstack {
    void *memory;   /* NULL: none was made yet */
    bool installed; /* by us, in the thread that runs the loop */
};

/* The thread begins to run the loop. Without memory it goes without. */
void uco__altstack_enter(struct uco__altstack *altstack);
void uco__altstack_leave(struct uco__altstack *altstack);
/* The loop closes; the calling thread may still run it. */
void uco__altstack_done(struct uco__altstack *altstack);

#endif
