/* SPDX-License-Identifier: MIT */

/*
 * Nodes of callbacks.
 *
 * 1. A node is somebody's who posts it, in a queue, in the loop's `done`, in its bundle, or in the
 *    list of a thread that took the bundle. It belongs to no loop but while it is posted.
 * 2. A bundle is put down only where there is none, and taken as a whole: so it needs no more than
 *    an exchange, and nobody can take half of one.
 */

#include "core/calls.h"

#include "base/system.h"
#include "core/loop.h"

#include <pthread.h>

#define BUNDLE 64    /* nodes; so the line that bundles stand in travels once for as many posts */
#define KEPT_MAX 256 /* nodes of a loop that nobody takes bundles from */

static __thread struct uco__call *thread_calls __attribute__((tls_model("initial-exec")));
static pthread_key_t thread_key; /* tells the end of a thread that has nodes */
static bool thread_key_made;

static struct uco__call *
call_next(const struct uco__call *call)
{
    return call->arg;
}

static void
calls_free(struct uco__call *call)
{
    while (call != NULL) {
        struct uco__call *next = call_next(call);

        uco__free(call);
        call = next;
    }
}

static void
thread_ends(void *unused)
{
    struct uco__call *calls = thread_calls;

    (void) unused;
    thread_calls = NULL;
    calls_free(calls);
}

static void
thread_key_make(void)
{
    thread_key_made = pthread_key_create(&thread_key, thread_ends) == 0;
}

/* A thread that has no nodes takes a bundle, if there is one. */
static UCO__NOINLINE void
thread_fetch(struct uco_loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, thread_key_make);
    /* Without a key, nobody would free the nodes of a thread that ends. */
    if (!thread_key_made ||
        atomic_load_explicit(&loop->calls.bundle, memory_order_relaxed) == NULL ||
        pthread_setspecific(thread_key, &thread_calls) != 0)
        return;
    /* Acquire pairs with the release in calls_bundle(). */
    thread_calls = atomic_exchange_explicit(&loop->calls.bundle, NULL, memory_order_acquire);
}

struct uco__call *
uco__call_take(struct uco_loop *loop)
{
    bool here = uco__loop_is_here(loop);
    struct uco__call **list = here ? &loop->calls.done : &thread_calls;
    struct uco__call *call;

    if (!here && *list == NULL)
        thread_fetch(loop);
    if (*list == NULL)
        return uco__allocate(sizeof *call);
    /* A post is an allocation for whoever makes allocations fail, whether there is a node or not.
     */
    if (UCO__UNLIKELY(uco__fault(UCO__FAULT_malloc) < 0))
        return NULL;
    call = *list;
    *list = call_next(call);
    if (here)
        loop->calls.count--;
    return call;
}

void
uco__call_drop(struct uco__call *call)
{
    uco__free(call);
}

static UCO__NOINLINE void
calls_bundle(struct uco__calls *calls)
{
    struct uco__call *first = calls->done;
    struct uco__call *last = first;

    for (unsigned i = 1; i < BUNDLE; i++)
        last = call_next(last);
    calls->done = call_next(last);
    calls->count -= BUNDLE;
    last->arg = NULL;
    if (atomic_load_explicit(&calls->bundle, memory_order_relaxed) == NULL)
        /* Release pairs with the acquire in thread_fetch(). Only this thread puts one down. */
        atomic_store_explicit(&calls->bundle, first, memory_order_release);
    else
        calls_free(first);
}

void
uco__call_give(struct uco_loop *loop, struct uco__call *call)
{
    struct uco__calls *calls = &loop->calls;

    call->arg = calls->done;
    calls->done = call;
    calls->count++;
    if (calls->count >= BUNDLE &&
        (calls->count >= KEPT_MAX ||
         atomic_load_explicit(&calls->bundle, memory_order_relaxed) == NULL))
        calls_bundle(calls);
}

void
uco__calls_done(struct uco__calls *calls)
{
    calls_free(calls->done);
    calls->done = NULL;
    calls->count = 0;
    calls_free(atomic_exchange(&calls->bundle, NULL));
}
