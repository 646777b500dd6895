/* SPDX-License-Identifier: MIT */

/*
 * First entries, and the switch by swapcontext.
 *
 * 1. A context whose sp is odd has never been entered: sp (but for that) and bp are its stack's
 *    lowest address and size, pc is its entry function.
 * 2. Suspended by registers, sp, bp and pc are what the register switch loads. Suspended by
 *    ucontext, sp points to the ucontext_t in the suspended frame.
 * 3. ThreadSanitizer has been told of the switch before any of this runs: a call that it saw here
 *    would be counted on the wrong stack, so none of it is instrumented.
 */

#include "core/context.h"

#include "core/float.h"

#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

#if UCO__SWITCH_REGISTERS
bool uco__context_by_ucontext;
#endif

void
uco__context_setup(void)
{
#if UCO__SWITCH_REGISTERS && defined(__x86_64__)
    uint64_t shadow_stack = 0;

    /* rdsspq: the shadow stack's pointer. Where there is none it is a no-op and leaves the register
     * alone. A switch that jumps would not keep a shadow stack in step; glibc's ucontext does. */
    __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(shadow_stack));
    uco__context_by_ucontext = shadow_stack != 0;
#endif
}

void
uco__context_init(struct uco__context *context, void *stack, size_t size, void (*entry)(void))
{
    context->sp = (void *) ((uintptr_t) stack | 1);
    context->bp = (void *) (uintptr_t) size;
    context->pc = (void *) (uintptr_t) entry;
}

/* Made only now, because a ucontext also holds the signal mask, and it is this moment's that the
 * stack must begin with. */
static UCO__NO_SANITIZE void
context_make(ucontext_t *fresh, const struct uco__context *context)
{
    getcontext(fresh);
    fresh->uc_stack.ss_sp = (char *) context->sp - 1;
    fresh->uc_stack.ss_size = (size_t) (uintptr_t) context->bp;
    fresh->uc_link = NULL;
    makecontext(fresh, (void (*)(void))(uintptr_t) context->pc, 0);
}

/* A ucontext_t also holds floating-point modes, those that its code ran with. Here they are the
 * thread's: each side leaves to the next those that it has. */
struct suspended {
    ucontext_t context; /* first: a context's sp points to it */
    struct uco__float modes;
};

static UCO__NO_SANITIZE UCO__NOINLINE void
context_switch_ucontext(struct uco__context *from, struct uco__context *to)
{
    struct suspended self, fresh;
    struct suspended *target = to->sp;

    if (!uco__context_entered(to)) {
        context_make(&fresh.context, to);
        target = &fresh;
    }
    from->sp = &self;
    target->modes = uco__float_get();
    swapcontext(&self.context, &target->context);
    uco__float_set(self.modes);
}

#if UCO__SWITCH_REGISTERS

/* Suspends into `from` as the register switch does, and enters `to` by setcontext. The two must be
 * one asm statement: had the compiler something between them, it could reuse what the suspended
 * frame still needs. */
static UCO__NO_SANITIZE UCO__NOINLINE void
context_enter(struct uco__context *from, struct uco__context *to)
{
    ucontext_t fresh;

    context_make(&fresh, to);
    to->sp = NULL; /* it is entered now; the first switch away from it fills in the rest */
#if defined(__x86_64__)
    ucontext_t *target = &fresh;

    __asm__ volatile("movq %%rsp, 0(%%rsi)\n\t"
                     "movq %%rbp, 8(%%rsi)\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, 16(%%rsi)\n\t"
                     "subq $128, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "call *%%rdx\n\t"
                     "ud2\n\t"
                     ".balign 16\n"
                     "1:\n\t"
                     "endbr64\n\t"
                     : "+D"(target), "+S"(from)
                     : "d"(setcontext)
                     : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15" UCO__CONTEXT_CLOBBER_AVX512, "memory", "cc");
#elif defined(__aarch64__)
    register ucontext_t *x0 __asm__("x0") = &fresh;
    register struct uco__context *x1 __asm__("x1") = from;
    register int (*x2)(const ucontext_t *) __asm__("x2") = setcontext;

    __asm__ volatile("mov x3, sp\n\t"
                     "adr x4, 1f\n\t"
                     "stp x3, x29, [x1]\n\t"
                     "str x4, [x1, #16]\n\t"
                     "blr x2\n\t"
                     "brk #1\n"
                     "1:\n\t"
                     "hint #36\n\t"
                     : "+r"(x0), "+r"(x1), "+r"(x2)
                     :
                     : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25",
                       "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7",
                       "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18",
                       "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
                       "v30", "v31", "memory", "cc");
#endif
}

#endif

UCO__NO_SANITIZE void
uco__context_switch_slow(struct uco__context *from, struct uco__context *to)
{
#if UCO__SWITCH_REGISTERS
    if (!uco__context_by_ucontext) {
        context_enter(from, to);
        return;
    }
#endif
    context_switch_ucontext(from, to);
}
