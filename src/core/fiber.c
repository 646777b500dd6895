/* SPDX-License-Identifier: MIT */

/*
 * Fibers.
 *
 * 1. A stack that has been entered never leaves uco__fiber_entry(): between two fibers it is parked
 *    in there, in its pool. No exception gets past it.
 */

#include "core/fiber.h"

#include "core/leave.h"

#if UCO__ASAN
__thread struct uco__sanitizer *uco__sanitizer_left;
#endif

/* The stack's first frame, and so the end of every unwind: gdb, perf and backtrace() stop here. No
 * sanitizer may put anything of its own into it, since it outlives what they know of the stack. */
UCO__NO_SANITIZE void
uco__fiber_entry(void)
{
#if defined(UCO__CFI) && defined(__x86_64__)
    __asm__ volatile(".cfi_undefined rip");
#elif defined(UCO__CFI) && defined(__aarch64__)
    __asm__ volatile(".cfi_undefined x30");
#endif
    UCO__FOREIGN_BARRIER();
    /* Read once: a stack stays with its loop, but not with its thread, and the compiler may keep
     * the address of a thread variable (for aarch64 it does), which after a switch may be that of
     * another thread's. */
    struct uco_loop *loop = uco__running;

    uco__sanitizer_arrive(&loop->scheduler.current->stack->sanitizer);
    for (;;) {
        struct uco__fiber *fiber = loop->scheduler.current;
        struct uco__stack *stack = fiber->stack;

        *loop->errno_location = 0;
        loop->operations->fiber->body(fiber);
        if (UCO__UNLIKELY(loop->scheduler.current != fiber))
            uco__foreign_strayed();
        uco__foreign_drop(&loop->foreign);
        uco__scheduler_end(loop, stack);
    }
}
