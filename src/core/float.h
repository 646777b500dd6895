/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_FLOAT_H
#define UCO_CORE_FLOAT_H

/*
 * How a thread computes with fractions: rounding, which exceptions trap, what is flushed to zero.
 * Not what has happened so far.
 *
 * x86-64 has two of everything, and those of its old unit (x87), which only long double uses, take
 * twice as long to ask for. fesetround() and its relatives change both, so it is enough to look at
 * the other.
 */

#include "core/sanitizer.h"

#include <stdint.h>

struct uco__float {
    uint32_t control; /* x86-64: MXCSR without its flags; aarch64: FPCR */
    uint32_t x87;
};

#if defined(__x86_64__)
#define UCO__FLOAT_FLAGS 0x3fu
#endif

static inline __attribute__((always_inline)) uint32_t
uco__float_control(void)
{
#if defined(__x86_64__)
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    uco__sanitizer_written(&mxcsr, sizeof mxcsr);
    return mxcsr & ~UCO__FLOAT_FLAGS;
#elif defined(__aarch64__)
    uint64_t fpcr;

    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (uint32_t) fpcr;
#else
    return 0;
#endif
}

static inline struct uco__float
uco__float_get(void)
{
    struct uco__float modes = {.control = uco__float_control()};

#if defined(__x86_64__)
    uint16_t x87;

    __asm__ volatile("fnstcw %0" : "=m"(x87));
    uco__sanitizer_written(&x87, sizeof x87);
    modes.x87 = x87;
#endif
    return modes;
}

static inline void
uco__float_set(struct uco__float modes)
{
#if defined(__x86_64__)
    uint16_t x87 = (uint16_t) modes.x87;
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    uco__sanitizer_written(&mxcsr, sizeof mxcsr);
    mxcsr = (mxcsr & UCO__FLOAT_FLAGS) | modes.control;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    /* What others have done must not trap now. */
    if ((x87 & UCO__FLOAT_FLAGS) != UCO__FLOAT_FLAGS)
        __asm__ volatile("fnclex");
    __asm__ volatile("fldcw %0" : : "m"(x87));
#elif defined(__aarch64__)
    uint64_t fpcr = modes.control;

    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#else
    (void) modes;
#endif
}

#endif
