/* SPDX-License-Identifier: MIT */

/*
 * Stack overflows.
 *
 * 1. The handler of SIGSEGV is installed once, when the first loop of the process runs, and never
 *    again. It is not taken away either: another handler that was installed later may call it. A
 *    program that replaces it does without the report.
 * 2. The handler takes no lock, allocates nothing and keeps errno. What it reads belongs to the
 *    thread that has the fault; should that be damaged, the fault in the handler ends the process
 *    by SIGSEGV as well.
 * 3. A fault that is no overflow ends where it would have ended without this: `previous` is called,
 *    or the signal ignored, or the process killed. The one difference: a handler without SA_ONSTACK
 *    runs on the alternate stack too, as there is no way back to the other from here.
 *
 * Both kinds of guard give SIGSEGV on Linux, so SIGBUS is left alone.
 *
 * AddressSanitizer would tell where the fault was, and has a handler of its own for that: where it is
 * there, its trace comes with the line, and all that is no overflow is its own to report.
 */

#include "core/overflow.h"

#include "base/system.h"
#include "core/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#define LINE_MAX_BYTES 640
#define TEXT_MAX 160      /* of a name or a path: the line must fit */
#define FRAME_USUAL 2048  /* of a signal, where the kernel does not tell */
#define RED_ZONE 256      /* that it leaves alone, and what it needs to align the rest */
#define SWITCH_FRAME 2048 /* what a switch takes at most */
#define PROBE 2048        /* so far above the end of a large frame compilers look for room */
/* So far below its stack pointer code may touch its stack: the red zone, and compilers that look
 * ahead whether there is room. */
#define REACH ((uintptr_t) 32 * 1024)

enum overflow_kind {
    OVERFLOW_NONE,
    OVERFLOW_FULL,    /* the usual one */
    OVERFLOW_POINTER, /* the stack pointer is nowhere near */
    OVERFLOW_FRAME,   /* one that is larger than the guard */
    OVERFLOW_SIGNAL,  /* the kernel had no room to call a handler */
    OVERFLOW_UNGUARDED,
};

struct overflow {
    enum overflow_kind kind;
    const struct uco_loop *loop;
    struct uco__fiber *fiber; /* NULL: nobody knows who runs on the stack */
    const struct uco__stack *stack;
};

static struct sigaction previous;
static atomic_bool previous_spent; /* it was installed with SA_RESETHAND, and has been called */
static uintptr_t signal_frame;     /* bytes that the kernel puts on the stack for a handler */

/* --- the line --- */

struct line {
    size_t size;
    char text[LINE_MAX_BYTES];
};

static void
line_add_some(struct line *line, const char *text, size_t most)
{
    for (size_t i = 0; i < most && text[i] != '\0' && line->size < sizeof line->text; i++)
        line->text[line->size++] = text[i];
}

static void
line_add(struct line *line, const char *text)
{
    line_add_some(line, text, sizeof line->text);
}

static void
line_add_number(struct line *line, uint64_t number)
{
    char digits[21];
    char *first = &digits[sizeof digits - 1];

    *first = '\0';
    do {
        *--first = (char) ('0' + number % 10);
        number /= 10;
    } while (number != 0);
    line_add(line, first);
}

static void
line_add_fiber(struct line *line, const struct uco_loop *loop, const struct uco__fiber *fiber)
{
    struct uco__fiber_about about;

    if (fiber == NULL) {
        line_add(line, "a callback on a task's stack");
        return;
    }
    loop->operations->fiber->about(fiber, &about);
    line_add(line, "task '");
    if (about.name != NULL) {
        line_add_some(line, about.name, TEXT_MAX);
    } else {
        line_add(line, "Task-");
        line_add_number(line, about.id);
    }
    line_add(line, "' (id ");
    line_add_number(line, about.id);
    if (about.file != NULL) {
        line_add(line, ", created at ");
        line_add_some(line, about.file, TEXT_MAX);
        line_add(line, ":");
        line_add_number(line, (uint64_t) about.line);
    }
    line_add(line, ")");
}

static void
line_add_cause(struct line *line, const struct overflow *overflow)
{
    static const char *const before[] = {
        [OVERFLOW_FULL] = "its stack of ",
        [OVERFLOW_POINTER] = "something touched the page below its stack of ",
        [OVERFLOW_FRAME] = "a frame went past the guard page of its stack of ",
        [OVERFLOW_SIGNAL] = "a signal handler found no room on its stack of ",
        [OVERFLOW_UNGUARDED] = "it went beyond its stack of ",
    };
    static const char *const after[] = {
        [OVERFLOW_FULL] = " bytes is full",
        [OVERFLOW_POINTER] = " bytes, far from the stack pointer: maybe a stray pointer",
        [OVERFLOW_FRAME] = " bytes (compile with -fstack-clash-protection)",
        [OVERFLOW_SIGNAL] = " bytes (install handlers with SA_ONSTACK)",
        [OVERFLOW_UNGUARDED] = " bytes, which has no guard page, so that memory is corrupt now",
    };

    line_add(line, before[overflow->kind]);
    line_add_number(line, overflow->stack->slab->pool->size);
    line_add(line, after[overflow->kind]);
}

static void
overflow_print(const struct overflow *overflow)
{
    struct line line;

    line.size = 0;
    line_add(&line, "uco: stack overflow in ");
    line_add_fiber(&line, overflow->loop, overflow->fiber);
    line_add(&line, ": ");
    line_add_cause(&line, overflow);
    line_add(&line, ". To raise it, set stack_size in uco_task_options, or for all tasks in "
                    "uco_loop_options\n");
    UCO__RESULT(write(STDERR_FILENO, line.text, line.size));
}

void
uco__overflow_panic(const struct uco_loop *loop, struct uco__fiber *fiber)
{
    const struct overflow overflow = {
        .kind = OVERFLOW_UNGUARDED, .loop = loop, .fiber = fiber, .stack = fiber->stack};

    overflow_print(&overflow);
    abort();
}

/* --- is it one? --- */

/* 0 where it is not known. */
static uintptr_t
context_stack_pointer(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t) context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (uintptr_t) context->uc_mcontext.sp;
#else
    (void) context;
    return 0;
#endif
}

static bool
context_on_other_stack(const ucontext_t *context, uintptr_t sp)
{
    uintptr_t other = (uintptr_t) context->uc_stack.ss_sp;

    return (context->uc_stack.ss_flags & SS_DISABLE) == 0 && sp >= other &&
           sp - other <= context->uc_stack.ss_size;
}

/* A switch makes the next fiber the current one while it is still on the last one's stack; and a
 * callback that runs on a fiber's stack is nobody's. */
static struct uco__fiber *
fiber_on_stack(const struct uco_loop *loop, const struct uco__stack *stack)
{
    struct uco__fiber *current = loop->scheduler.current;

    if (current != NULL && uco__fiber_has_stack(current) && current->stack == stack)
        return current;
    return loop->operations->fiber->on_stack(loop, stack);
}

/* The stack pointer has left the current fiber's stack, and the fault lies between the two. */
static bool
overflow_by_frame(struct overflow *overflow, uintptr_t address, uintptr_t sp,
                  const ucontext_t *context)
{
    struct uco__fiber *fiber = overflow->loop->scheduler.current;
    uintptr_t base;

    if (fiber == NULL || !uco__fiber_has_stack(fiber))
        return false;
    base = (uintptr_t) uco__stack_base(fiber->stack);
    if (sp >= base || base - sp > UCO__STACK_SIZE_MAX || context_on_other_stack(context, sp) ||
        address >= base || address + REACH < sp)
        return false;
    overflow->kind = OVERFLOW_FRAME;
    overflow->fiber = fiber;
    overflow->stack = fiber->stack;
    return true;
}

/* The stack pointer is in a guard, but not the current fiber's. Either that one has a large frame,
 * or the stack's own fiber is about to switch; then it has been all the way down. */
static bool
stack_is_strange(const struct overflow *overflow, const struct uco__stack *stack, uintptr_t sp)
{
    const struct uco__fiber *current = overflow->loop->scheduler.current;

    return sp != 0 && sp < (uintptr_t) uco__stack_base(stack) && current != NULL &&
           uco__fiber_has_stack(current) && current->stack != stack &&
           uco__stack_used(stack) + SWITCH_FRAME < uco__stack_size(stack);
}

/* On which stack the fault was, and why. */
static bool
overflow_find(struct overflow *overflow, const siginfo_t *info, const ucontext_t *context)
{
    const struct uco_loop *loop = overflow->loop;
    uintptr_t address = (uintptr_t) info->si_addr;
    uintptr_t sp = context_stack_pointer(context);
    uintptr_t frame = sp < address && address - sp < PROBE ? address : sp;
    struct uco__stack *stack;

    if (info->si_code == SI_KERNEL) {
        stack = uco__stacks_find(&loop->stacks, sp);
        if (stack == NULL || sp >= (uintptr_t) uco__stack_base(stack) + signal_frame)
            return false;
        overflow->kind = OVERFLOW_SIGNAL;
    } else {
        stack = uco__stacks_find(&loop->stacks, address);
        if (sp != 0 && (stack == NULL || uco__stacks_find(&loop->stacks, frame) != stack ||
                        stack_is_strange(overflow, stack, sp)))
            return overflow_by_frame(overflow, address, sp, context);
        if (stack == NULL || address >= (uintptr_t) uco__stack_base(stack))
            return false;
        overflow->kind = sp > address + REACH ? OVERFLOW_POINTER : OVERFLOW_FULL;
    }
    overflow->stack = stack;
    overflow->fiber = fiber_on_stack(loop, stack);
    return true;
}

/* --- faults --- */

/* The process dies, and a core file shows the code that had the fault: it has it again when the
 * handler returns. What was sent, or cannot be had again, is sent once more; that comes first. */
static void
fault_kill(int signo, siginfo_t *info)
{
    const struct sigaction action = {.sa_handler = SIG_DFL};

    UCO__RESULT(sigaction(signo, &action, NULL));
    if (info->si_code <= 0 || info->si_code == SI_KERNEL)
        UCO__RESULT(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signo, info));
}

/* Another's fault, or whatever somebody has sent. */
static void
fault_hand_on(int signo, siginfo_t *info, void *context)
{
    bool reset = (previous.sa_flags & (int) SA_RESETHAND) != 0;
    sigset_t own;

    /* The kernel ignores what was sent, but no fault. */
    if (previous.sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    if (previous.sa_handler == SIG_IGN || previous.sa_handler == SIG_DFL ||
        (reset && atomic_exchange(&previous_spent, true))) {
        fault_kill(signo, info);
        return;
    }
    /* Blocked are the signal itself and what was blocked before; returning puts all of it back. */
    pthread_sigmask(SIG_BLOCK, &previous.sa_mask, NULL);
    if ((previous.sa_flags & SA_NODEFER) != 0 && sigismember(&previous.sa_mask, signo) == 0) {
        sigemptyset(&own);
        sigaddset(&own, signo);
        pthread_sigmask(SIG_UNBLOCK, &own, NULL);
    }
    if ((previous.sa_flags & SA_SIGINFO) != 0)
        previous.sa_sigaction(signo, info, context);
    else
        previous.sa_handler(signo);
}

static void
fault_handle(int signo, siginfo_t *info, void *context)
{
    struct overflow overflow = {.loop = uco__running};

    if (info->si_code > 0 && overflow.loop != NULL && overflow_find(&overflow, info, context)) {
        overflow_print(&overflow);
        uco__sanitizer_trace();
        fault_kill(signo, info);
    } else {
        fault_hand_on(signo, info, context);
    }
}

static void
fault_install(void)
{
    struct sigaction ours = {.sa_sigaction = fault_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    signal_frame = getauxval(AT_MINSIGSTKSZ);
    signal_frame = RED_ZONE + (signal_frame != 0 ? signal_frame : FRAME_USUAL);
    /* Known before there can be a fault. */
    if (UCO__RESULT(sigaction(SIGSEGV, NULL, &previous)) < 0)
        return;
    if ((previous.sa_flags & SA_RESTART) != 0 || previous.sa_handler == SIG_IGN)
        ours.sa_flags |= SA_RESTART;
    UCO__RESULT(sigaction(SIGSEGV, &ours, NULL));
}

void
uco__overflow_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fault_install);
}
