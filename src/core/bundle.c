/* SPDX-License-Identifier: MIT */

/*
 * Bundles of callbacks.
 *
 * 1. A bundle belongs to the thread that made it, its poster's: only that adds to it, and only
 *    while it is the newest in an inbox. So nobody else's bundle is ever looked into, whatever has
 *    become of its memory.
 * 2. Its turn in the run queue closes it, by the same atomic step that tells how many callbacks
 *    are in it: what was added is always run, and what comes too late is put into another.
 * 3. When it has run it goes back to its poster, or is freed: if the poster has ended, or has gone
 *    on to another bundle and has enough of them.
 * 4. A poster is freed by whoever is last of its thread and the bundles that it has under way.
 */

#include "core/bundle.h"

#include "base/compiler.h"
#include "base/system.h"
#include "core/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* With busy producers 8 are a quarter slower, and 32 no faster; and one that nobody adds to is no
 * great waste. */
#define CALLS 16
#define KEPT_MAX 8 /* that wait for a thread that may not post any more */

#define REFERENCES_AT_ONCE 256

#define CLOSED 0x100u /* in `state`: nothing can be added any more */
#define LEFT 0x200u   /* the poster has gone on to another */

struct poster;

struct bundle {
    struct uco__ready ready; /* in the inbox and the run queue; its `next` links what is free */
    struct uco_loop *loop;
    struct poster *poster; /* NULL: nobody's, it holds one callback and is freed */
    atomic_uint state;     /* how many callbacks, CLOSED, LEFT */
    _Alignas(UCO__CACHE_LINE) struct {
        uco_callback *callback;
        void *arg;
    } calls[CALLS];
};

/* A thread that posts. */
struct poster {
    struct bundle *newest; /* that it posted, or NULL */
    unsigned count;        /* callbacks in that */
    struct bundle *free;
    unsigned references_left; /* taken in advance, for bundles to come */
    char apart[UCO__CACHE_LINE];
    _Atomic(struct bundle *) returned; /* have run; the last one first */
    atomic_uint kept;                  /* how many of them, about */
    atomic_uint references; /* its thread, each bundle but the free ones, and those left */
};

/* In `returned`: the thread has ended. Never dereferenced. */
static struct bundle poster_ended;

static __thread struct poster *thread_poster __attribute__((tls_model("initial-exec")));
static pthread_key_t poster_key; /* tells the end of a thread */
static bool poster_key_made;

static struct bundle *
bundle_next(const struct bundle *bundle)
{
    return (struct bundle *) (void *) bundle->ready.next;
}

/* --- posters --- */

static void
poster_unref(struct poster *poster, unsigned count)
{
    if (atomic_fetch_sub_explicit(&poster->references, count, memory_order_acq_rel) == count)
        uco__free(poster);
}

/* The thread: all that has come back is free. */
static void
poster_fetch(struct poster *poster, struct bundle *leave)
{
    /* Acquire pairs with the release in poster_return(); release, at the thread's end, with the
     * acquire there: who frees a bundle then does so after the thread's last look into it. */
    struct bundle *bundle =
        atomic_exchange_explicit(&poster->returned, leave, memory_order_acq_rel);
    unsigned count = 0;

    atomic_store_explicit(&poster->kept, 0, memory_order_relaxed);
    while (bundle != NULL) {
        struct bundle *next = bundle_next(bundle);

        poster->references_left++;
        if (bundle == poster->newest)
            poster->newest = NULL;
        if (++count > KEPT_MAX || leave != NULL) {
            uco__free(bundle);
        } else {
            bundle->ready.next = (struct uco__ready *) (void *) poster->free;
            poster->free = bundle;
        }
        bundle = next;
    }
}

static void
poster_end(void *arg)
{
    struct poster *poster = arg;
    struct bundle *bundle;

    thread_poster = NULL;
    while ((bundle = poster->free) != NULL) {
        poster->free = bundle_next(bundle);
        uco__free(bundle);
    }
    poster_fetch(poster, &poster_ended);
    poster_unref(poster, poster->references_left + 1);
}

void
uco__bundle_thread_end(void)
{
    struct poster *poster = thread_poster;

    if (poster == NULL)
        return;
    pthread_setspecific(poster_key, NULL);
    poster_end(poster);
}

static void
poster_key_make(void)
{
    poster_key_made = pthread_key_create(&poster_key, poster_end) == 0;
}

/* The calling thread's; NULL without memory. */
static UCO__NOINLINE struct poster *
poster_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct poster *poster;

    pthread_once(&once, poster_key_make);
    /* Without a key, nobody would free what a thread that ends has. */
    if (!poster_key_made)
        return NULL;
    poster = uco__allocate_lines(sizeof *poster);
    if (poster == NULL)
        return NULL;
    atomic_init(&poster->references, 1);
    if (pthread_setspecific(poster_key, poster) != 0) {
        uco__free(poster);
        return NULL;
    }
    thread_poster = poster;
    return poster;
}

/* The loop's thread: the bundle has run. */
static void
poster_return(struct poster *poster, struct bundle *bundle)
{
    struct bundle *last = atomic_load_explicit(&poster->returned, memory_order_acquire);
    unsigned kept = atomic_load_explicit(&poster->kept, memory_order_relaxed);
    bool spare = kept >= KEPT_MAX &&
                 (atomic_load_explicit(&bundle->state, memory_order_acquire) & LEFT) != 0;

    /* Several loops may count at the same time; then it is a little less. */
    atomic_store_explicit(&poster->kept, kept + 1, memory_order_relaxed);
    do {
        if (last == &poster_ended || spare) {
            uco__free(bundle);
            poster_unref(poster, 1);
            return;
        }
        bundle->ready.next = (struct uco__ready *) (void *) last;
        /* Release pairs with the acquire in poster_fetch(). The poster may be gone after it. */
    } while (!atomic_compare_exchange_weak_explicit(&poster->returned, &last, bundle,
                                                    memory_order_release, memory_order_acquire));
}

/* --- bundles --- */

static void
bundle_run(struct uco__ready *node)
{
    struct bundle *bundle = UCO__CONTAINER(node, struct bundle, ready);
    struct uco_loop *loop = bundle->loop;
    /* Acquire pairs with the release in bundle_add(). */
    unsigned count =
        atomic_fetch_or_explicit(&bundle->state, CLOSED, memory_order_acquire) & (CLOSED - 1);

    loop->posts += count - 1; /* of which the inbox knows one */
    for (unsigned i = 0; i < count && !loop->dropping; i++) {
        if (i > 0 && !loop->ending)
            uco__scheduler_next_call(loop);
        bundle->calls[i].callback(bundle->calls[i].arg);
    }
    if (bundle->poster != NULL)
        poster_return(bundle->poster, bundle);
    else
        uco__free(bundle);
}

/* False: it is closed. */
static inline bool
bundle_add(struct poster *poster, struct bundle *bundle, uco_callback *callback, void *arg)
{
    unsigned index = poster->count;

    bundle->calls[index].callback = callback;
    bundle->calls[index].arg = arg;
    /* Release pairs with the acquire in bundle_run(). */
    if ((atomic_fetch_add_explicit(&bundle->state, 1, memory_order_release) & CLOSED) != 0)
        return false;
    poster->count = index + 1;
    return true;
}

static struct bundle *
bundle_take(struct poster *poster)
{
    struct bundle *bundle;

    if (poster == NULL)
        return uco__allocate_lines(sizeof *bundle);
    if (poster->free == NULL)
        poster_fetch(poster, NULL);
    bundle = poster->free;
    if (bundle == NULL) {
        bundle = uco__allocate_lines(sizeof *bundle);
    } else if (uco__fault(UCO__FAULT_malloc) == 0) {
        poster->free = bundle_next(bundle);
    } else {
        return NULL;
    }
    return bundle;
}

static void
poster_go_on(struct poster *poster, struct bundle *bundle)
{
    /* Release pairs with the acquire in poster_return(): this was the last look into it. */
    if (poster->newest != NULL)
        atomic_fetch_or_explicit(&poster->newest->state, LEFT, memory_order_release);
    poster->newest = bundle;
    poster->count = 1;
    if (poster->references_left == 0) {
        poster->references_left = REFERENCES_AT_ONCE;
        atomic_fetch_add_explicit(&poster->references, REFERENCES_AT_ONCE, memory_order_relaxed);
    }
    poster->references_left--;
}

/* The bundle may be gone after it. */
static int
bundle_push(struct uco_loop *loop, struct poster *poster, struct bundle *bundle)
{
    int r;

    if (poster != NULL)
        poster_go_on(poster, bundle);
    r = uco__inbox_push(&loop->inbox, &bundle->ready);
    if (r == 0)
        return 0;
    if (poster != NULL) {
        poster->newest = NULL;
        poster->references_left++;
    }
    uco__free(bundle);
    return r;
}

int
uco__bundle_post(struct uco_loop *loop, uco_callback *callback, void *arg)
{
    struct poster *poster = thread_poster;
    struct bundle *bundle;

    if (UCO__LIKELY(poster != NULL)) {
        bundle = poster->newest;
        if (bundle != NULL && poster->count < CALLS &&
            uco__inbox_newest_is(&loop->inbox, &bundle->ready)) {
            /* A post is an allocation for whoever makes allocations fail, whether there is room
             * or not. */
            if (UCO__UNLIKELY(uco__fault(UCO__FAULT_malloc) < 0))
                return -ENOMEM;
            if (UCO__LIKELY(bundle_add(poster, bundle, callback, arg)))
                return 0;
        }
    } else {
        poster = poster_new();
    }
    bundle = bundle_take(poster);
    if (bundle == NULL)
        return -ENOMEM;
    bundle->ready.run = bundle_run;
    bundle->loop = loop;
    bundle->poster = poster;
    bundle->calls[0].callback = callback;
    bundle->calls[0].arg = arg;
    atomic_store_explicit(&bundle->state, 1, memory_order_relaxed);
    return bundle_push(loop, poster, bundle);
}
