/* SPDX-License-Identifier: MIT */

/*
 * Exceptions, floating-point modes, the end of a thread, and longjmp().
 *
 * 1. While a loop runs, its `foreign` knows where the C++ run-time library keeps the thread's
 *    exceptions, and how the thread computed when it began to run the loop. Whatever stops running
 *    takes along what it has of its own, in its own frame, and what ends leaves nothing: so whatever
 *    goes on or begins finds no exceptions, and the modes that the loop was entered with.
 * 2. Nothing that a coroutine or a callback throws gets past its entry or the loop's turn.
 */

#include "core/foreign.h"

#include "core/loop.h"
#include "core/report.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unwind.h>

/* --- where the C++ run-time library keeps exceptions --- */

typedef void *globals_fn(void);

/* Of the C++ ABI. Weak: a program that has no C++ in it does without. */
extern globals_fn __cxa_get_globals __attribute__((weak));

/* Never written: nothing is ever taken from there. */
static struct uco__exceptions no_exceptions;

/* For a library that was loaded later, and out of sight: with a plug-in, say. */
static _Atomic(globals_fn *) globals_loaded;
static atomic_ullong globals_looked; /* how many objects had been loaded by the last look */

struct look {
    unsigned long long loaded; /* objects so far */
    bool begun;
    char name[256]; /* of the library's file; empty: there is none, or nothing is new */
};

static int
look_at_object(struct dl_phdr_info *object, size_t size, void *arg)
{
    const char *slash = strrchr(object->dlpi_name, '/');
    const char *file = slash != NULL ? slash + 1 : object->dlpi_name;
    struct look *look = arg;

    (void) size;
    look->loaded = object->dlpi_adds;
    if (!look->begun && look->loaded == atomic_load(&globals_looked))
        return 1;
    look->begun = true;
    if (strncmp(file, "libstdc++.so", 12) != 0 && strncmp(file, "libc++abi.so", 12) != 0)
        return 0;
    snprintf(look->name, sizeof look->name, "%s", object->dlpi_name);
    return 1;
}

/* NULL: there is no such library. */
static globals_fn *
globals_find(void)
{
    globals_fn *found = __cxa_get_globals;
    struct look look = {0};
    void *library;

    if (found == NULL)
        found = atomic_load(&globals_loaded);
    if (found != NULL)
        return found;
    dl_iterate_phdr(look_at_object, &look);
    /* The handle stays open: what was found must not be unloaded. */
    library = look.name[0] != '\0' ? dlopen(look.name, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (library != NULL) {
        found = (globals_fn *) (uintptr_t) dlsym(library, "__cxa_get_globals");
        atomic_store(&globals_loaded, found);
    }
    atomic_store(&globals_looked, look.loaded);
    return found;
}

static bool
exceptions_any(const struct uco__exceptions *exceptions)
{
    return exceptions->caught != NULL || exceptions->uncaught != 0;
}

static struct uco__exceptions
exceptions_take(struct uco__exceptions *exceptions)
{
    struct uco__exceptions taken = *exceptions;

    if (exceptions_any(&taken))
        *exceptions = (struct uco__exceptions){0};
    return taken;
}

static void
exceptions_put(struct uco__exceptions *exceptions, const struct uco__exceptions *taken)
{
    if (exceptions_any(taken))
        *exceptions = *taken;
}

/* --- what is taken along --- */

UCO__COLD void
uco__foreign_take_some(struct uco__foreign *foreign, struct uco__belongings *taken)
{
    taken->exceptions = exceptions_take(foreign->exceptions);
    taken->modes = uco__float_get();
    if (taken->modes.control != foreign->modes.control)
        uco__float_set(foreign->modes);
    else
        taken->modes = foreign->modes;
}

UCO__COLD void
uco__foreign_put_some(struct uco__foreign *foreign, const struct uco__belongings *taken)
{
    exceptions_put(foreign->exceptions, &taken->exceptions);
    if (taken->modes.control != foreign->modes.control)
        uco__float_set(taken->modes);
}

/* --- a thread that ends inside a loop --- */

static pthread_key_t running_key; /* set while a thread runs a loop */
static bool running_key_made;

static void
running_ended(void *loop)
{
    (void) loop;
    uco__panic("a thread has ended while it ran a loop: longjmp() has left the loop, or "
               "pthread_exit() was called in it");
}

static void
running_make_key(void)
{
    running_key_made = pthread_key_create(&running_key, running_ended) == 0;
}

void
uco__foreign_enter(struct uco_loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    globals_fn *globals = globals_find();

    loop->foreign.exceptions = globals != NULL ? globals() : &no_exceptions;
    loop->foreign.modes = uco__float_get();
    loop->foreign.exceptions_outside = exceptions_take(loop->foreign.exceptions);
    pthread_once(&once, running_make_key);
    if (!running_key_made)
        return;
    loop->foreign.running_outside = pthread_getspecific(running_key);
    pthread_setspecific(running_key, loop);
}

void
uco__foreign_leave(struct uco_loop *loop)
{
    exceptions_put(loop->foreign.exceptions, &loop->foreign.exceptions_outside);
    if (running_key_made)
        pthread_setspecific(running_key, loop->foreign.running_outside);
}

/* --- what gets as far as a barrier --- */

/* The run-time library of C++ then calls std::terminate(), which may have more to say. */
static UCO__COLD void
tell_uncaught(_Unwind_Exception_Class class)
{
    /* Eight letters: the vendor, the language and a zero or one. */
    const char *kind = (class >> 8 & 0xffffff) == 0x432b2b ? "C++ exception" : "exception";
    const struct uco_loop *loop = uco__running;
    struct uco__fiber *fiber = loop != NULL ? loop->scheduler.current : NULL;

    if (fiber != NULL)
        fprintf(stderr, "uco: uncaught %s in task '%s'\n", kind,
                loop->operations->fiber->name(fiber));
    else
        fprintf(stderr, "uco: uncaught %s in a callback\n", kind);
}

_Unwind_Reason_Code uco__foreign_barrier(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class class,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context);

/* Asked by the unwinder, at a frame that has UCO__FOREIGN_BARRIER(). */
__attribute__((used, visibility("hidden"))) _Unwind_Reason_Code
uco__foreign_barrier(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                     struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
    (void) version;
    (void) exception;
    (void) context;
    if ((actions & _UA_FORCE_UNWIND) != 0)
        uco__panic("the thread that runs the loop is about to end, by pthread_exit() or by a "
                   "pthread_cancel() that was let through: it must leave the loop first");
    if ((actions & _UA_SEARCH_PHASE) != 0)
        tell_uncaught(class);
    return _URC_FATAL_PHASE1_ERROR; /* no handler, and no further */
}

/* --- longjmp() --- */

/* So far down or up the same stack a coroutine usually is from where it last suspended. */
#define NEAR ((uintptr_t) 4096)

UCO__NOINLINE void
uco__foreign_check_stack(const struct uco_loop *loop, bool sure)
{
    uintptr_t here = (uintptr_t) __builtin_frame_address(0);
    const struct uco__fiber *fiber = loop->scheduler.current;

    if (!sure && here - (uintptr_t) fiber->context.sp + NEAR < 2 * NEAR)
        return;
    if (here - (uintptr_t) uco__stack_base(fiber->stack) >= uco__stack_size(fiber->stack))
        uco__foreign_strayed();
}

void
uco__foreign_check_caller(void)
{
    if (uco__running->scheduler.current != NULL)
        uco__foreign_check_stack(uco__running, true);
}

void
uco__foreign_strayed(void)
{
    uco__panic("what runs is not where it should be: longjmp() has left a task or a callback");
}
