/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_FOREIGN_H
#define UCO_CORE_FOREIGN_H

/*
 * What code that is not uco's does to the thread and the stack that it runs on: exceptions,
 * floating-point modes, the end of the thread, longjmp(). It knows of no coroutines, so uco keeps
 * apart what belongs to one, and ends the process with a message where something would leave it.
 */

#include "base/compiler.h"
#include "core/float.h"

#include <stdbool.h>
#include <stdint.h>

struct uco_loop;

/* What the C++ run-time library keeps for each thread: the beginning of the __cxa_eh_globals of the
 * Itanium C++ ABI. */
struct uco__exceptions {
    void *caught;      /* by catch blocks that are running now, the innermost first */
    unsigned uncaught; /* thrown and not caught yet: destructors are running */
};

/* A loop's, while a thread runs it. */
struct uco__foreign {
    struct uco__exceptions *exceptions;        /* the thread's; a place that is never written to
                                                  where there is no C++ */
    struct uco__float modes;                   /* the thread's: what everything begins with */
    struct uco__exceptions exceptions_outside; /* of who runs the loop */
    const void *running_outside;               /* of an outer loop */
};

/* What whoever suspends takes along. */
struct uco__belongings {
    bool any;
    struct uco__exceptions exceptions;
    struct uco__float modes;
};

/* The thread begins and ends to run the loop. */
void uco__foreign_enter(struct uco_loop *loop);
void uco__foreign_leave(struct uco_loop *loop);

/* Whether what runs now has anything that is not for others: it is inside a catch block, or in a
 * destructor that an exception has called, or computes in its own way. */
static inline __attribute__((always_inline)) bool
uco__foreign_any(const struct uco__foreign *foreign)
{
    return ((uintptr_t) foreign->exceptions->caught | foreign->exceptions->uncaught |
            (uco__float_control() ^ foreign->modes.control)) != 0;
}

void uco__foreign_take_some(struct uco__foreign *foreign, struct uco__belongings *taken);
void uco__foreign_put_some(struct uco__foreign *foreign, const struct uco__belongings *taken);

/* Takes it off the thread, before others run ... */
static inline void
uco__foreign_take(struct uco__foreign *foreign, struct uco__belongings *taken)
{
    taken->any = uco__foreign_any(foreign);
    if (UCO__UNLIKELY(taken->any))
        uco__foreign_take_some(foreign, taken);
}

/* ... and puts it back, when the thread has nobody's. */
static inline void
uco__foreign_put(struct uco__foreign *foreign, const struct uco__belongings *taken)
{
    if (UCO__UNLIKELY(taken->any))
        uco__foreign_put_some(foreign, taken);
}

/* Something has ended: whatever it has left on the thread goes. */
static inline void
uco__foreign_drop(struct uco__foreign *foreign)
{
    struct uco__belongings dropped;

    uco__foreign_take(foreign, &dropped);
}

/* At the beginning of a function that is not inlined: no exception and no end of the thread gets
 * past its frame. The unwinder calls uco__foreign_barrier() there, which ends the process. Costs
 * nothing. Where frames are not described (-fno-asynchronous-unwind-tables) the unwinder gets no
 * further anyway. */
#ifdef UCO__CFI
#define UCO__FOREIGN_BARRIER() __asm__ volatile(".cfi_personality 0x1b, uco__foreign_barrier")
#else
#define UCO__FOREIGN_BARRIER() ((void) 0)
#endif

/* Ends the process if the caller does not run on the stack of the loop's current fiber: it has got
 * where it is by longjmp(), or the like. `sure`: looks closely. Otherwise one who is near the place
 * where the fiber last suspended is not looked at. */
void uco__foreign_check_stack(const struct uco_loop *loop, bool sure);
/* The same for who calls from inside the thread's running loop what must be called outside. */
void uco__foreign_check_caller(void);
/* A callback or a fiber has returned, but that is not what was running. */
UCO__NORETURN void uco__foreign_strayed(void);

#endif
