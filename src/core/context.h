/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_CONTEXT_H
#define UCO_CORE_CONTEXT_H

/*
 * The switch: init and switch, and nothing else in the tree knows of registers.
 *
 * Every stack is made and entered the first time by ucontext (getcontext, makecontext, setcontext).
 * Later switches go
 *
 * - by registers (x86-64, aarch64): an inline switch whose clobber list makes the compiler save
 *   only what is live. It resumes by an indirect jump, not `ret`, whose prediction would always
 *   miss; and it keeps no signal mask, which belongs to the thread here;
 * - or by swapcontext: the reference, right everywhere, but with a system call each time. Chosen by
 *   -Dswitch=ucontext, on other architectures, and at run time where shadow stacks are active.
 *
 * Floating-point modes are no part of it, either way: they stay as the side that was left had them.
 */

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(UCO_SWITCH_REGISTERS) && !defined(__x86_64__) && !defined(__aarch64__)
#error "-Dswitch=registers: there is no register switch for this architecture"
#endif

#if !defined(UCO_SWITCH_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))
#define UCO__SWITCH_REGISTERS 1
#else
#define UCO__SWITCH_REGISTERS 0
#endif

struct uco__context {
    void *sp; /* suspended by ucontext: the ucontext_t in the suspended frame. Never entered: the
                 stack's lowest address, made odd */
    void *bp; /* never entered: the stack's size in bytes */
    void *pc; /* never entered: the entry function */
};

/* The sp of a context that has no stack yet: odd too. */
#define UCO__CONTEXT_NONE ((void *) 1)

/* Whether the registers can be switched to it. */
static inline bool
uco__context_entered(const struct uco__context *context)
{
    return ((uintptr_t) context->sp & 1) == 0;
}

/* Once before the first switch of the process. */
void uco__context_setup(void);

/* Makes a context whose first switch-to calls entry(), which must not return, on the given stack.
 */
void uco__context_init(struct uco__context *context, void *stack, size_t size, void (*entry)(void));

/* Whether switches go through swapcontext. */
#if UCO__SWITCH_REGISTERS
extern bool uco__context_by_ucontext;
#else
#define uco__context_by_ucontext true
#endif

void uco__context_switch_slow(struct uco__context *from, struct uco__context *to);

#if UCO__SWITCH_REGISTERS && defined(__x86_64__)

#if defined(__AVX512F__)
#define UCO__CONTEXT_CLOBBER_AVX512                                                                \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define UCO__CONTEXT_CLOBBER_AVX512
#endif

static inline __attribute__((always_inline)) void
uco__context_switch_registers(struct uco__context *from, struct uco__context *to)
{
    /* rbp cannot stand in a clobber list where it is the frame pointer. The stack is not touched,
     * so the red zone stays whole and the compiler's unwind information is right at the label: gdb
     * can walk a parked stack. */
    __asm__ volatile("movq %%rsp, 0(%%rdi)\n\t"
                     "movq %%rbp, 8(%%rdi)\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, 16(%%rdi)\n\t"
                     "movq 0(%%rsi), %%rsp\n\t"
                     "movq 8(%%rsi), %%rbp\n\t"
                     "jmpq *16(%%rsi)\n\t"
                     ".balign 16\n"
                     "1:\n\t"
                     "endbr64\n\t"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15" UCO__CONTEXT_CLOBBER_AVX512, "memory", "cc");
}

#elif UCO__SWITCH_REGISTERS && defined(__aarch64__)

static inline __attribute__((always_inline)) void
uco__context_switch_registers(struct uco__context *from, struct uco__context *to)
{
    register struct uco__context *x0 __asm__("x0") = from;
    register struct uco__context *x1 __asm__("x1") = to;

    /* x18 is an ordinary register on Linux; x29 cannot stand in a clobber list. */
    __asm__ volatile("mov x2, sp\n\t"
                     "adr x3, 1f\n\t"
                     "stp x2, x29, [x0]\n\t"
                     "str x3, [x0, #16]\n\t"
                     "ldp x2, x29, [x1]\n\t"
                     "ldr x3, [x1, #16]\n\t"
                     "mov sp, x2\n\t"
                     "br x3\n"
                     "1:\n\t"
                     "hint #36\n\t" /* bti j */
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "memory", "cc");
}

#endif

#if !UCO__SWITCH_REGISTERS

/* So that what is never reached compiles. */
static inline void
uco__context_switch_registers(struct uco__context *from, struct uco__context *to)
{
    uco__context_switch_slow(from, to);
}

#endif

/* Suspends the running code into `from` and goes on with `to`. Returns when something switches to
 * `from`. */
static inline __attribute__((always_inline)) void
uco__context_switch(struct uco__context *from, struct uco__context *to)
{
#if UCO__SWITCH_REGISTERS
    if (UCO__LIKELY(uco__context_entered(to) && !uco__context_by_ucontext)) {
        uco__context_switch_registers(from, to);
        return;
    }
#endif
    uco__context_switch_slow(from, to);
}

#endif
