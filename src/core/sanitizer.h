/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_SANITIZER_H
#define UCO_CORE_SANITIZER_H

/*
 * What AddressSanitizer, ThreadSanitizer and valgrind must be told about stacks: all of it, in this
 * one place. Each stack has a struct uco__sanitizer; all calls are empty in ordinary builds.
 */

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

#if UCO__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if UCO__TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if UCO__MSAN
#include <sanitizer/msan_interface.h>
#endif
#ifdef UCO_VALGRIND
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>
#endif

/* Sanitizers make frames several times as large. */
#if UCO__ASAN || UCO__TSAN
#define UCO__SANITIZER_STACK_FACTOR 4
#else
#define UCO__SANITIZER_STACK_FACTOR 1
#endif

/* Empty in ordinary builds: there is one for each of a million stacks. */
struct uco__sanitizer {
#if UCO__ASAN
    const void *base; /* the stack's lowest address; NULL until known */
    size_t size;
    void *fake_stack; /* while the stack is suspended */
#endif
#if UCO__TSAN
    void *fiber;
#endif
#ifdef UCO_VALGRIND
    unsigned valgrind_id;
#endif
};

/* A stack of ours, or (base NULL) the calling thread's own. */
static inline void
uco__sanitizer_init(struct uco__sanitizer *s, const void *base, size_t size)
{
    (void) s;
    (void) base;
    (void) size;
#if UCO__ASAN
    s->base = base;
    s->size = size;
    s->fake_stack = NULL;
#endif
#if UCO__TSAN
    s->fiber = base != NULL ? __tsan_create_fiber(0) : __tsan_get_current_fiber();
#endif
#ifdef UCO_VALGRIND
    s->valgrind_id = 0;
    if (base != NULL)
        s->valgrind_id = VALGRIND_STACK_REGISTER(base, (const char *) base + size);
#endif
}

/* Before the stack's memory is given back. */
static inline void
uco__sanitizer_done(struct uco__sanitizer *s)
{
    (void) s;
#if UCO__ASAN
    __asan_unpoison_memory_region(s->base, s->size);
#endif
#if UCO__TSAN
    __tsan_destroy_fiber(s->fiber);
#endif
#ifdef UCO_VALGRIND
    VALGRIND_STACK_DEREGISTER(s->valgrind_id);
#endif
}

/* Memory of ours that nobody may touch, until it is shown again. */
static inline void
uco__sanitizer_hide(const void *memory, size_t size)
{
    (void) memory;
    (void) size;
#if UCO__ASAN
    __asan_poison_memory_region(memory, size);
#endif
#ifdef UCO_VALGRIND
    VALGRIND_MAKE_MEM_NOACCESS(memory, size);
#endif
}

static inline void
uco__sanitizer_show(const void *memory, size_t size)
{
    (void) memory;
    (void) size;
#if UCO__ASAN
    __asan_unpoison_memory_region(memory, size);
#endif
#ifdef UCO_VALGRIND
    VALGRIND_MAKE_MEM_DEFINED(memory, size);
#endif
}

/* Where the caller is, on stderr, where there is someone who can tell. */
static inline void
uco__sanitizer_trace(void)
{
#if UCO__ASAN
    __sanitizer_print_stack_trace();
#endif
}

/* Between the two, what is done on purpose with memory that nobody may touch is no error. */
static inline void
uco__sanitizer_quiet(bool quiet)
{
    (void) quiet;
#ifdef UCO_VALGRIND
    if (quiet)
        VALGRIND_DISABLE_ERROR_REPORTING;
    else
        VALGRIND_ENABLE_ERROR_REPORTING;
#endif
}

/* Memory that got its value from what MemorySanitizer does not see: an instruction, or the kernel. */
static inline __attribute__((always_inline)) void
uco__sanitizer_written(const void *memory, size_t size)
{
    (void) memory;
    (void) size;
#if UCO__MSAN
    __msan_unpoison(memory, size);
#endif
}

#if UCO__ASAN
/* The stack that the last switch of this thread left. */
extern __thread struct uco__sanitizer *uco__sanitizer_left;
#endif

/* Right before a switch. `ends`: nothing on `from` is needed any more (ASan then frees its fake
 * frames). */
static inline __attribute__((always_inline)) void
uco__sanitizer_leave(struct uco__sanitizer *from, struct uco__sanitizer *to, bool ends)
{
    (void) from;
    (void) to;
    (void) ends;
#if UCO__ASAN
    from->fake_stack = NULL;
    uco__sanitizer_left = from;
    __sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, to->base, to->size);
#endif
#if UCO__TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* Right after a switch, on the stack that goes on. */
static inline __attribute__((always_inline)) void
uco__sanitizer_arrive(struct uco__sanitizer *self)
{
    (void) self;
#if UCO__ASAN
    /* It tells the bounds of the stack that was left: of a thread's own one, that is how they get
     * known. */
    __sanitizer_finish_switch_fiber(self->fake_stack, &uco__sanitizer_left->base,
                                    &uco__sanitizer_left->size);
#endif
}

#endif
