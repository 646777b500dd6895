/* SPDX-License-Identifier: MIT */

/*
 * A stack for signal handlers.
 *
 * 1. It is installed only where the thread has none, and taken away only if it is still ours.
 */

#include "core/altstack.h"

#include "base/system.h"

#include <signal.h>

/* Of address space; touched only by handlers. */
#define ALTSTACK_BYTES ((size_t) 128 * 1024)

void
uco__altstack_enter(struct uco__altstack *altstack)
{
    stack_t present;
    stack_t ours = {.ss_size = ALTSTACK_BYTES};

    altstack->installed = false;
    if (UCO__RESULT(sigaltstack(NULL, &present)) < 0 || (present.ss_flags & SS_DISABLE) == 0)
        return;
    if (altstack->memory == NULL && uco__map(ALTSTACK_BYTES, &altstack->memory) < 0)
        return;
    ours.ss_sp = altstack->memory;
    altstack->installed = UCO__SYSTEM(sigaltstack, sigaltstack(&ours, NULL)) == 0;
}

void
uco__altstack_leave(struct uco__altstack *altstack)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    stack_t present;

    if (!altstack->installed)
        return;
    altstack->installed = false;
    if (UCO__RESULT(sigaltstack(NULL, &present)) == 0 && present.ss_sp == altstack->memory)
        UCO__RESULT(sigaltstack(&none, NULL));
}

void
uco__altstack_done(struct uco__altstack *altstack)
{
    uco__altstack_leave(altstack);
    if (altstack->memory != NULL)
        uco__unmap(altstack->memory, ALTSTACK_BYTES);
    altstack->memory = NULL;
}
