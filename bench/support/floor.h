/* SPDX-License-Identifier: MIT */
#ifndef FLOOR_H
#define FLOOR_H

/*
 * The floor of everything that switches: the least that a switch and a run queue can be, without
 * cancellation, clocks, file descriptors, guards or errno. Kept apart from uco's own on purpose: a
 * change there must not move the line that it is measured against.
 */

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define FLOOR_SWITCH 1
#else
#define FLOOR_SWITCH 0
#endif

/** What a subject whose run is NULL says. */
#define FLOOR_WITHOUT "the inline switch is written for x86-64"

#if FLOOR_SWITCH

struct floor_context {
    void *sp;
    void *bp;
    void *pc;
};

/** Makes a context that begins with entry(), which must not return. */
static inline void
floor_context_init(struct floor_context *context, void *top, void (*entry)(void))
{
    /* As after a call: the stack pointer is eight bytes off sixteen. */
    uintptr_t *sp = (uintptr_t *) (((uintptr_t) top & ~(uintptr_t) 15) - 8);

    *sp = 0;
    context->sp = sp;
    context->bp = NULL;
    context->pc = (void *) (uintptr_t) entry;
}

#if defined(__AVX512F__)
#define FLOOR_CLOBBER_AVX512                                                                       \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define FLOOR_CLOBBER_AVX512
#endif

static inline __attribute__((always_inline)) void
floor_switch(struct floor_context *from, struct floor_context *to)
{
    __asm__ volatile("movq %%rsp, 0(%%rdi)\n\t"
                     "movq %%rbp, 8(%%rdi)\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, 16(%%rdi)\n\t"
                     "movq 0(%%rsi), %%rsp\n\t"
                     "movq 8(%%rsi), %%rbp\n\t"
                     "jmpq *16(%%rsi)\n"
                     "1:\n\t"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15" FLOOR_CLOBBER_AVX512, "memory", "cc");
}

#endif

enum {
    FLOOR_STACK_BYTES = 16 * 1024,
    FLOOR_STACK_BYTES_FAR = 124 * 1024, /* as uco's are by default, with their guards */
    /* A page has 64 cache lines. Were all stacks to begin at the same ones, a hundred of them
     * would already push each other out of the first-level cache. */
    FLOOR_COLOURS = 28,
    FLOOR_COLOUR_BYTES = 128,
};

/** Maps so many stacks of so many bytes each, in one piece; ends the program when that cannot be
 * had. */
char *floor_stacks_map_of(size_t count, size_t bytes);
void floor_stacks_unmap_of(char *stacks, size_t count, size_t bytes);

/** Where to put `size` bytes at the hot end of a stack; the stack begins below. Aligned to a
 * cache line. */
static inline void *
floor_stack_top_of(char *stacks, size_t index, size_t size, size_t bytes)
{
    char *end = stacks + (index + 1) * bytes - index % FLOOR_COLOURS * FLOOR_COLOUR_BYTES;

    return end - (size + 63) / 64 * 64;
}

/** The same for stacks of FLOOR_STACK_BYTES. */
static inline char *
floor_stacks_map(size_t count)
{
    return floor_stacks_map_of(count, FLOOR_STACK_BYTES);
}

static inline void
floor_stacks_unmap(char *stacks, size_t count)
{
    floor_stacks_unmap_of(stacks, count, FLOOR_STACK_BYTES);
}

static inline void *
floor_stack_top(char *stacks, size_t index, size_t size)
{
    return floor_stack_top_of(stacks, index, size, FLOOR_STACK_BYTES);
}

#endif
