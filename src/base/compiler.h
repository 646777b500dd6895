/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_COMPILER_H
#define UCO_BASE_COMPILER_H

/* What the compiler offers beyond C11, and which sanitizer this build has. */

#include <stddef.h>

#define UCO__LIKELY(x) __builtin_expect(!!(x), 1)
#define UCO__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define UCO__NOINLINE __attribute__((noinline))
#define UCO__COLD __attribute__((cold, noinline))
#define UCO__NORETURN __attribute__((noreturn))
#define UCO__PRINTF(format_index, first_index)                                                     \
    __attribute__((format(printf, format_index, first_index)))

/* Functions of libuco that libuco-http calls: in the export map, but not part of the API. */
#define UCO__EXPORT __attribute__((visibility("default")))

#define UCO__CACHE_LINE 64 /* bytes; of what is to be apart, where it is more it costs a little */

#define UCO__CONTAINER(pointer, type, member)                                                      \
    ((type *) ((char *) (pointer) -offsetof(type, member)))

/* What clang's analyzer cannot find out by itself. */
#ifdef __clang_analyzer__
#define UCO__KNOWN(condition) ((condition) ? (void) 0 : __builtin_unreachable())
#else
#define UCO__KNOWN(condition) ((void) 0)
#endif

/* The compiler describes each function's frame to the assembler. (clang 13 was the first to say so.)
 */
#if defined(__GCC_HAVE_DWARF2_CFI_ASM) || (defined(__clang__) && __clang_major__ < 13)
#define UCO__CFI 1
#endif

/* gcc 12 has no __has_feature, clang defines no __SANITIZE_*. */
#if defined(__SANITIZE_ADDRESS__)
#define UCO__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UCO__ASAN 1
#endif
#endif
#ifndef UCO__ASAN
#define UCO__ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define UCO__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UCO__TSAN 1
#endif
#endif
#ifndef UCO__TSAN
#define UCO__TSAN 0
#endif

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define UCO__MSAN 1
#endif
#endif
#ifndef UCO__MSAN
#define UCO__MSAN 0
#endif

/* clang's ThreadSanitizer keeps its own call stack also in functions that it does not instrument
 * otherwise. */
#if defined(__clang__)
#define UCO__NO_SANITIZE                                                                           \
    __attribute__((no_sanitize("address", "thread", "undefined"),                                  \
                   disable_sanitizer_instrumentation))
#else
#define UCO__NO_SANITIZE __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

#endif
