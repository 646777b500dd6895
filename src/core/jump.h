/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_JUMP_H
#define UCO_CORE_JUMP_H

/*
 * Functions that return by a jump.
 *
 * A processor predicts where a `ret` goes from the calls that it has seen. After a switch those
 * were another coroutine's, so the one that leads back to the caller of a suspending function is
 * mispredicted each time, which costs more than the switch itself. An indirect jump is predicted
 * by where it went before.
 *
 * Only for what really suspends, and only the last step back to user code: what is called and
 * returned to inside is the same for all coroutines, and predicted well. Whoever returns so without
 * having suspended spoils the predictions of its callers.
 */

#include "core/leave.h"

/* Defines a function: intptr_t name(...) of up to six arguments that calls name_body(...), which
 * must be declared as UCO__JUMP_BODY, and returns what that does. Where the register switch is not
 * used, it is just another name for it: with a shadow stack, returns must be returns. */
#if UCO__SWITCH_QUICK && defined(__x86_64__) && defined(__ELF__)

#define UCO__JUMP_BODY __attribute__((used, noinline, visibility("hidden")))
#define UCO__RETURNS_BY_JUMP(name)                                                                 \
    __asm__(".pushsection .text\n\t"                                                               \
            ".balign 16\n\t"                                                                       \
            ".globl " #name "\n\t"                                                                 \
            ".hidden " #name "\n\t"                                                                \
            ".type " #name ", @function\n" #name ":\n\t"                                           \
            ".cfi_startproc\n\t"                                                                   \
            "endbr64\n\t"                                                                          \
            "cmpb $0, uco__context_by_ucontext(%rip)\n\t"                                          \
            "jne " #name "_body\n\t"                                                               \
            "subq $8, %rsp\n\t"                                                                    \
            ".cfi_adjust_cfa_offset 8\n\t"                                                         \
            "call " #name "_body\n\t"                                                              \
            "addq $8, %rsp\n\t"                                                                    \
            ".cfi_adjust_cfa_offset -8\n\t"                                                        \
            "popq %rcx\n\t"                                                                        \
            ".cfi_adjust_cfa_offset -8\n\t"                                                        \
            ".cfi_register rip, rcx\n\t"                                                           \
            "notrack jmpq *%rcx\n\t"                                                               \
            ".cfi_endproc\n\t"                                                                     \
            ".size " #name ", . - " #name "\n\t"                                                   \
            ".popsection")

#else

#define UCO__JUMP_BODY __attribute__((used, noinline, visibility("hidden")))
#define UCO__RETURNS_BY_JUMP(name)                                                                 \
    extern __typeof__(name##_body) name __attribute__((alias(#name "_body"), visibility("hidden")))

#endif

#endif
