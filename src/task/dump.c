/* SPDX-License-Identifier: MIT */

/*
 * uco_dump(): who writes it, and when.
 *
 * 1. Whoever runs the loop, and whoever finds it run by nobody, writes at once, whatever was
 *    interrupted for it. Nothing is written to the loop, so that does no harm. One that nobody runs
 *    is read as if another thread did: it may begin to meanwhile.
 * 2. Other threads leave a request in the loop and wait. Whoever takes the request out of there
 *    answers it, and only that: the one who asked takes it back itself when it has waited enough.
 * 3. `quit_loop` is set while a loop in the main thread answers SIGQUIT; that ends when no handler
 *    looks at it any more.
 */

#include "task/dump.h"

#include "base/error.h"
#include "base/futex.h"
#include "base/system.h"
#include "core/report.h"
#include "core/signals.h"
#include "task/runtime.h"

#include <sched.h>
#include <signal.h>
#include <uco/inspect.h>
#include <unistd.h>

#define ANSWER_TIME UCO__SECOND
#define QUEUE_PAUSE UCO__MILLISECOND /* before the next look whether another's request is done */

struct uco__dump_request {
    int fd;
    int result;       /* once it is answered */
    atomic_uint done; /* 1: it is */
};

/* --- other threads --- */

void
uco__dump_serve(struct uco__runtime *runtime)
{
    struct uco__dump_request *request = atomic_exchange(&runtime->dump_request, NULL);

    if (request == NULL)
        return;
    request->result = uco__dump_loop(runtime, request->fd, UCO__DUMP_WITHIN);
    atomic_store(&request->done, 1);
    /* The request may be gone: then its address wakes nobody. */
    uco__futex_wake_all(&request->done);
}

/* Another's may be in the way: theirs is answered first. */
static bool
request_leave(struct uco__runtime *runtime, struct uco__dump_request *request, uint64_t deadline)
{
    struct uco__dump_request *none = NULL;

    while (!atomic_compare_exchange_strong(&runtime->dump_request, &none, request)) {
        if (uco__clock_real() >= deadline)
            return false;
        /* Nobody wakes this one: it is a pause. */
        uco__futex_wait(&request->done, 0, uco__clock_real() + QUEUE_PAUSE);
        none = NULL;
    }
    return true;
}

/* Whether the loop has written the dump; its result then. */
static bool
request_answered(struct uco__runtime *runtime, int fd, int *result)
{
    uint64_t deadline = uco__clock_real() + ANSWER_TIME;
    struct uco__dump_request request = {.fd = fd};
    struct uco__dump_request *mine = &request;

    if (!request_leave(runtime, &request, deadline))
        return false;
    uco__loop_ring(&runtime->loop);
    while (atomic_load(&request.done) == 0 &&
           uco__futex_wait(&request.done, 0, deadline) != -ETIMEDOUT)
        continue;
    if (atomic_compare_exchange_strong(&runtime->dump_request, &mine, NULL))
        return false;
    /* The loop has begun: it ends when the fd has taken all. */
    while (atomic_load(&request.done) == 0)
        uco__futex_wait(&request.done, 0, UCO__NEVER);
    *result = request.result;
    return true;
}

int
uco_dump(uco_loop *loop, int fd)
{
    struct uco__runtime *runtime = uco__runtime_of(loop);
    const void *runner;
    int saved_errno, result;

    if (loop == NULL)
        return uco__misuse(-EINVAL, "uco_dump: the loop is NULL");
    if (uco__loop_stale(loop))
        return uco__misuse_of(loop, -ESTALE,
                              "the loop was made before fork(): in the child it is dead");
    if (atomic_load(&loop->closed))
        return -ESHUTDOWN;
    saved_errno = uco__errno_save();
    runner = atomic_load(&loop->runner);
    if (runner == uco__thread_self())
        result = uco__dump_loop(runtime, fd, UCO__DUMP_WITHIN);
    else if (runner == NULL)
        result = uco__dump_loop(runtime, fd, UCO__DUMP_IDLE);
    else if (!request_answered(runtime, fd, &result))
        result = uco__dump_loop(runtime, fd, UCO__DUMP_OUTSIDE);
    *uco__error_location() = saved_errno;
    return result;
}

/* --- SIGQUIT --- */

static struct uco_loop *_Atomic quit_loop;
/* Handlers that may be using it, in whatever threads. */
static atomic_uint quit_handlers;
static unsigned quit_forks; /* uco__forks when it was set */

/* For one in another thread, the loop's turn is soon enough: it does not wait for it. */
static struct uco__dump_request quit_request = {.fd = STDERR_FILENO};

static void
quit_dump(struct uco_loop *loop)
{
    struct uco__dump_request *none = NULL;

    if (atomic_load(&loop->runner) == uco__thread_self()) {
        uco_dump(loop, STDERR_FILENO);
        return;
    }
    if (atomic_compare_exchange_strong(&uco__runtime_of(loop)->dump_request, &none, &quit_request))
        uco__loop_ring(loop);
}

static void
quit_handle(int signo)
{
    int saved_errno = uco__errno_save();
    struct uco_loop *loop;

    atomic_fetch_add(&quit_handlers, 1);
    loop = atomic_load(&quit_loop);
    if (loop == NULL || uco__loop_stale(loop)) {
        /* It came when the run was just over, or to the child of a fork(). */
        raise(signo);
    } else {
        /* SA_RESETHAND has made it the default. */
        uco__signal_take(signo, quit_handle);
        quit_dump(loop);
    }
    atomic_fetch_sub(&quit_handlers, 1);
    *uco__error_location() = saved_errno;
}

bool
uco__dump_signal_begin(struct uco_loop *loop)
{
    if (!loop->options.debug || !uco__thread_is_main())
        return false;
    if (quit_forks != uco__forks) { /* those of the parent are not here */
        quit_forks = uco__forks;
        atomic_store(&quit_handlers, 0);
        atomic_store(&quit_loop, NULL);
        uco__signals_give_default(SIGQUIT, quit_handle);
    }
    if (atomic_load(&quit_loop) != NULL)
        return false;
    atomic_store(&quit_loop, loop);
    if (uco__signals_take_default(SIGQUIT, quit_handle))
        return true;
    atomic_store(&quit_loop, NULL);
    return false;
}

void
uco__dump_signal_end(bool begun)
{
    struct uco_loop *loop = atomic_load(&quit_loop);
    struct uco__dump_request *quit = &quit_request;

    if (!begun || quit_forks != uco__forks)
        return;
    uco__signals_give_default(SIGQUIT, quit_handle);
    atomic_store(&quit_loop, NULL);
    while (atomic_load(&quit_handlers) != 0)
        sched_yield();
    atomic_compare_exchange_strong(&uco__runtime_of(loop)->dump_request, &quit, NULL);
}
