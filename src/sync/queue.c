/* SPDX-License-Identifier: MIT */

/*
 * Queues.
 *
 * 1. While a getter waits, nothing is queued; while a putter waits, the queue is full. Whoever
 *    changes that serves the waiter in the same step, so that nobody who comes later is faster.
 * 2. Once shut, nobody waits but joiners.
 * 3. Other threads' items are in `incoming` first. Each call on the loop's thread takes them in
 *    before it does anything, so what was accepted is in the queue before what comes later. While
 *    somebody waits and `incoming` has more than what is left there, an arrival is on its way.
 * 4. `items` always has room for one item, and for `capacity`. So those for which there is no
 *    memory can stay in `incoming` until room gets free, and none is lost.
 * 5. A freed queue is shut and empty. Its memory goes with the last call that is inside and the
 *    arrival.
 */

#include "sync/queue.h"

#include "base/error.h"
#include "base/system.h"
#include "core/jump.h"
#include "core/report.h"
#include "sync/describe.h"

#include <errno.h>

#define QUEUE_ROOM_MIN 16 /* items that an unbounded queue has room for when it is empty */

/* --- made and freed --- */

static void
queue_drop_nodes(struct uco__queue_node *node)
{
    while (node != NULL) {
        struct uco__queue_node *next = node->next;

        uco__free(node);
        node = next;
    }
}

void
uco__queue_unref(struct uco_queue *q)
{
    struct uco_loop *loop;

    if (!uco__count_drop(&q->references, 1))
        return;
    loop = atomic_load_explicit(&q->loop, memory_order_relaxed);
    uco__free(q);
    if (loop != NULL)
        uco__loop_release(loop);
}

static void
queue_set_loop(struct uco_queue *q, struct uco_loop *loop)
{
    q->number = loop->number;
    uco__loop_hold(loop);
    uco__mutex_lock(&q->mutex);
    atomic_store_explicit(&q->loop, loop, memory_order_release);
    uco__mutex_unlock(&q->mutex);
}

static void queue_arrive(struct uco__ready *node);

static uco_queue *
queue_new(enum uco__items_order order, size_t item_size, size_t capacity,
          uco__items_compare *compare)
{
    struct uco_queue *q;
    int error;
    struct uco_loop *loop = uco__loop_current(&error);

    if (item_size == 0)
        return uco__error_null(uco__misuse(-EINVAL, "a queue's items have no size"));
    q = uco__allocate(sizeof *q);
    if (q == NULL)
        return uco__error_null(-ENOMEM);
    if (!uco__items_init(&q->items, order, item_size, capacity != 0 ? capacity : QUEUE_ROOM_MIN,
                         compare)) {
        uco__free(q);
        return uco__error_null(-ENOMEM);
    }
    q->capacity = capacity != 0 ? capacity : SIZE_MAX;
    q->arrival.run = queue_arrive;
    atomic_init(&q->references, 1);
    if (loop != NULL)
        queue_set_loop(q, loop);
    return q;
}

uco_queue *
uco_queue_new(size_t item_size, size_t capacity)
{
    return queue_new(UCO__ITEMS_FIFO, item_size, capacity, NULL);
}

uco_queue *
uco_queue_new_lifo(size_t item_size, size_t capacity)
{
    return queue_new(UCO__ITEMS_LIFO, item_size, capacity, NULL);
}

uco_queue *
uco_queue_new_priority(size_t item_size, size_t capacity,
                       int (*compare)(const void *a, const void *b))
{
    if (compare == NULL)
        return uco__error_null(
            uco__misuse(-EINVAL, "uco_queue_new_priority: the comparison is NULL"));
    return queue_new(UCO__ITEMS_PRIORITY, item_size, capacity, compare);
}

/* --- whoever waits --- */

static struct uco__queue_waiter *
queue_waiter_first(const struct uco_waiters *list)
{
    return UCO__CONTAINER(uco__waiters_first(list), struct uco__queue_waiter, waiter);
}

static void
queue_waiter_end(struct uco__queue_waiter *waiter, int result)
{
    uco__waiters_remove(&waiter->waiter);
    if (waiter->served != NULL)
        waiter->served(waiter, result);
    else
        uco__wake(&waiter->waiter.wait, result);
}

static void
queue_waiters_end_all(struct uco_waiters *list, int result)
{
    while (!uco__waiters_empty(list))
        queue_waiter_end(queue_waiter_first(list), result);
}

UCO__JUMP_BODY int uco__queue_wait_body(struct uco__fiber *fiber, struct uco_waiters *list,
                                        void *item, const struct uco__wait_kind *kind);
int uco__queue_wait(struct uco__fiber *fiber, struct uco_waiters *list, void *item,
                    const struct uco__wait_kind *kind);

/* The queue may be gone afterwards. */
int
uco__queue_wait_body(struct uco__fiber *fiber, struct uco_waiters *list, void *item,
                     const struct uco__wait_kind *kind)
{
    struct uco__queue_waiter waiter;

    waiter.item = item;
    waiter.served = NULL;
    uco__wait_init(&waiter.waiter.wait, kind, uco__sync_abort);
    uco__waiters_push(list, &waiter.waiter);
    return (int) uco__sync_park(fiber, &waiter.waiter.wait);
}

UCO__RETURNS_BY_JUMP(uco__queue_wait);

/* --- in and out --- */

/* To the first getter, or to the others. False without memory. */
static bool
queue_insert(struct uco_queue *q, const void *item)
{
    struct uco__queue_waiter *getter;

    if (uco__waiters_empty(&q->getters))
        return uco__items_push(&q->items, item);
    getter = queue_waiter_first(&q->getters);
    uco__items_copy(&q->items, getter->item, item);
    queue_waiter_end(getter, 0);
    return true;
}

int
uco__queue_put_now(struct uco_queue *q, const void *item)
{
    if (UCO__UNLIKELY(q->shut))
        return -ESHUTDOWN;
    if (uco__queue_is_full(q))
        return -EAGAIN;
    if (UCO__UNLIKELY(q->left > 0) || UCO__UNLIKELY(!queue_insert(q, item)))
        return -ENOMEM;
    q->unfinished++;
    return 0;
}

/* Room has become free: for what is left of other threads' items, then for those who wait. */
static UCO__NOINLINE void
queue_refill(struct uco_queue *q)
{
    if (q->left > 0)
        uco__queue_take_incoming(q);
    while (!uco__waiters_empty(&q->putters) && !uco__queue_is_full(q)) {
        struct uco__queue_waiter *putter = queue_waiter_first(&q->putters);

        bool pushed = uco__items_push(&q->items, putter->item);

        UCO__ASSERT(pushed); /* there is room for `capacity` */
        q->unfinished++;
        queue_waiter_end(putter, 0);
    }
}

int
uco__queue_get_now(struct uco_queue *q, void *item)
{
    if (q->items.count == 0)
        return q->shut ? -ESHUTDOWN : -EAGAIN;
    uco__items_pop(&q->items, item);
    if (UCO__UNLIKELY(!uco__waiters_empty(&q->putters) || q->left > 0))
        queue_refill(q);
    return 0;
}

/* --- other threads --- */

/* The first of a list becomes the oldest of what comes in again. */
static void
queue_leave(struct uco_queue *q, struct uco__queue_node *first, struct uco__queue_node *last,
            size_t count)
{
    uco__mutex_lock(&q->mutex);
    last->next = atomic_load_explicit(&q->incoming, memory_order_relaxed);
    if (last->next == NULL)
        q->incoming_last = last;
    atomic_store_explicit(&q->incoming, first, memory_order_relaxed);
    q->incoming_count += count;
    uco__mutex_unlock(&q->mutex);
    q->left = count;
}

void
uco__queue_take_incoming(struct uco_queue *q)
{
    struct uco__queue_node *node, *next, *last;
    size_t count;

    uco__mutex_lock(&q->mutex);
    node = atomic_load_explicit(&q->incoming, memory_order_relaxed);
    atomic_store_explicit(&q->incoming, NULL, memory_order_relaxed);
    last = q->incoming_last;
    count = q->incoming_count;
    q->incoming_count = 0;
    uco__mutex_unlock(&q->mutex);
    q->unfinished += count - q->left;
    q->left = 0;
    for (; node != NULL; node = next, count--) {
        next = node->next;
        if (!queue_insert(q, node->item)) {
            queue_leave(q, node, last, count);
            return;
        }
        uco__free(node);
    }
}

static void
queue_arrive(struct uco__ready *node)
{
    struct uco_queue *q = UCO__CONTAINER(node, struct uco_queue, arrival);

    uco__mutex_lock(&q->mutex);
    q->arriving = false;
    uco__mutex_unlock(&q->mutex);
    /* When its loop is dropping what is queued, nobody can wait any more. */
    if (!q->freed && !uco__running->dropping)
        uco__queue_update(q);
    uco__queue_unref(q);
}

/* Appends it, if it may come in; *arrive: the caller must send the arrival, whose reference it
 * has. */
static int
queue_accept(struct uco_queue *q, struct uco__queue_node *node, bool here, bool *arrive)
{
    struct uco_loop *loop;
    int r = -ESHUTDOWN;

    uco__mutex_lock(&q->mutex);
    loop = atomic_load_explicit(&q->loop, memory_order_relaxed);
    if (!q->refusing && (loop == NULL || !atomic_load(&loop->closing))) {
        if (atomic_load_explicit(&q->incoming, memory_order_relaxed) == NULL)
            atomic_store_explicit(&q->incoming, node, memory_order_relaxed);
        else
            q->incoming_last->next = node;
        q->incoming_last = node;
        q->incoming_count++;
        *arrive = loop != NULL && !here && !q->arriving;
        if (*arrive) {
            q->arriving = true;
            uco__count_add(&q->references, 1);
        }
        r = 0;
    }
    uco__mutex_unlock(&q->mutex);
    return r;
}

int
uco_queue_put_threadsafe(uco_queue *q, const void *item)
{
    struct uco__queue_node *node;
    struct uco_loop *loop;
    bool here, arrive = false;
    int r;

    if (q == NULL || item == NULL)
        return uco__misuse(-EINVAL, "uco_queue_put_threadsafe: the queue or the item is NULL");
    /* Acquire pairs with the release in queue_set_loop(). */
    loop = atomic_load_explicit(&q->loop, memory_order_acquire);
    if (loop != NULL && uco__loop_stale(loop))
        return uco__misuse_of(loop, -ESTALE,
                              "the queue's loop was made before fork(): in the child it is dead");
    here = loop != NULL && uco__loop_is_here(loop);
    node = uco__allocate(sizeof *node + q->items.size);
    if (node == NULL)
        return -ENOMEM;
    memcpy(node->item, item, q->items.size);
    r = queue_accept(q, node, here, &arrive);
    if (r < 0) {
        uco__free(node);
        return r;
    }
    /* Unless it is the loop's own thread, the loop may get the item from here on, and free the
     * queue. */
    if (here)
        uco__queue_update(q);
    /* A loop that has closed meanwhile has no use for it: the item stays where it is. */
    if (arrive &&
        uco__loop_push(atomic_load_explicit(&q->loop, memory_order_relaxed), &q->arrival) < 0)
        uco__queue_unref(q);
    return 0;
}

/* --- calls --- */

int
uco__queue_bind(struct uco_queue *q)
{
    uint32_t number = q->number;
    int r = uco__sync_bind(&number);

    if (r == 0 && UCO__UNLIKELY(number != q->number))
        queue_set_loop(q, uco__running);
    return r;
}

/* May the caller suspend here? */
static int
queue_check(struct uco_queue *q, const void *item, struct uco__task **task)
{
    int error;

    *task = uco__task_current(&error);
    if (*task == NULL)
        return uco__misuse(error, "a suspending function was called outside a coroutine");
    if (q == NULL || item == NULL)
        return uco__misuse(-EINVAL, "a queue or an item is NULL");
    return uco__queue_bind(q);
}

/* A checkpoint in which others may run, and free the queue: then it is gone when this returns. */
static UCO__NOINLINE int
queue_checkpoint_slow(struct uco_queue *q, struct uco__task *task)
{
    int r;

    uco__queue_begin(q);
    r = uco__task_checkpoint_slow(task);
    if (r == 0 && q->freed)
        r = -ESHUTDOWN;
    uco__queue_end(q);
    return r;
}

/* Suspending calls. */
static int
queue_enter(struct uco_queue *q, const void *item, struct uco__task **task)
{
    int r = queue_check(q, item, task);

    if (r == 0 && !uco__task_pass(*task))
        r = queue_checkpoint_slow(q, *task);
    if (r == 0)
        uco__queue_update(q);
    return r;
}

/* The same in the usual case: the calling task's fiber. NULL: nothing has happened yet. */
static inline struct uco__fiber *
queue_pass(struct uco_queue *q, const void *item)
{
    struct uco__fiber *fiber = q != NULL && item != NULL ? uco__sync_pass(&q->number) : NULL;

    if (UCO__LIKELY(fiber != NULL))
        uco__queue_update(q);
    return fiber;
}

/* The others. */
static inline int
queue_enter_nowait(struct uco_queue *q, const void *item)
{
    int r;

    if (UCO__UNLIKELY(q == NULL || item == NULL))
        return uco__misuse(-EINVAL, "a queue or an item is NULL");
    r = uco__queue_bind(q);
    if (UCO__LIKELY(r == 0))
        uco__queue_update(q);
    return r;
}

static int
queue_put(uco_queue *q, const void *item, struct uco__fiber *fiber)
{
    int r = uco__queue_put_now(q, item);

    if (UCO__LIKELY(r != -EAGAIN))
        return r;
    return uco__queue_wait(fiber, &q->putters, (void *) (uintptr_t) item, &uco__wait_put);
}

static UCO__NOINLINE int
queue_put_slow(uco_queue *q, const void *item)
{
    struct uco__task *task;
    int r = queue_enter(q, item, &task);

    return r < 0 ? r : queue_put(q, item, uco__task_fiber(task));
}

int
uco_queue_put(uco_queue *q, const void *item)
{
    struct uco__fiber *fiber = queue_pass(q, item);

    return UCO__LIKELY(fiber != NULL) ? queue_put(q, item, fiber) : queue_put_slow(q, item);
}

static int
queue_get(uco_queue *q, void *item, struct uco__fiber *fiber)
{
    int r = uco__queue_get_now(q, item);

    if (UCO__LIKELY(r != -EAGAIN))
        return r;
    return uco__queue_wait(fiber, &q->getters, item, &uco__wait_get);
}

static UCO__NOINLINE int
queue_get_slow(uco_queue *q, void *item)
{
    struct uco__task *task;
    int r = queue_enter(q, item, &task);

    return r < 0 ? r : queue_get(q, item, uco__task_fiber(task));
}

int
uco_queue_get(uco_queue *q, void *item)
{
    struct uco__fiber *fiber = queue_pass(q, item);

    return UCO__LIKELY(fiber != NULL) ? queue_get(q, item, fiber) : queue_get_slow(q, item);
}

int
uco_queue_put_nowait(uco_queue *q, const void *item)
{
    int r = queue_enter_nowait(q, item);

    return r < 0 ? r : uco__queue_put_now(q, item);
}

int
uco_queue_get_nowait(uco_queue *q, void *item)
{
    int r = queue_enter_nowait(q, item);

    return r < 0 ? r : uco__queue_get_now(q, item);
}

size_t
uco_queue_size(const uco_queue *q)
{
    struct uco_queue *queue = (struct uco_queue *) (uintptr_t) q;

    if (q == NULL || queue_enter_nowait(queue, queue) < 0)
        return 0;
    return queue->items.count + queue->left;
}

/* --- done --- */

static void
queue_finish(struct uco_queue *q, size_t n)
{
    q->unfinished -= n;
    if (q->unfinished == 0)
        uco__waiters_wake_all(&q->joiners, 0);
}

int
uco_queue_join(uco_queue *q)
{
    struct uco__task *task;
    int r = queue_enter(q, q, &task);

    if (r < 0)
        return r;
    return q->unfinished == 0 ? 0
                              : uco__sync_wait(uco__task_fiber(task), &q->joiners, &uco__wait_join);
}

int
uco_queue_task_done(uco_queue *q)
{
    int r = queue_enter_nowait(q, q);

    if (r < 0)
        return r;
    if (q->unfinished == 0)
        return uco__misuse(-EINVAL, "uco_queue_task_done: more items were marked than put in");
    queue_finish(q, 1);
    return 0;
}

/* --- the end --- */

static void
queue_shut(struct uco_queue *q)
{
    uco__mutex_lock(&q->mutex);
    q->refusing = true;
    uco__mutex_unlock(&q->mutex);
    uco__queue_update(q); /* the very last that were accepted */
    q->shut = true;
    queue_waiters_end_all(&q->getters, -ESHUTDOWN);
    queue_waiters_end_all(&q->putters, -ESHUTDOWN);
}

/* Drops what is queued in a shut queue; how many those were. */
static size_t
queue_drop(struct uco_queue *q)
{
    size_t dropped = q->items.count + q->left;

    queue_drop_nodes(atomic_load_explicit(&q->incoming, memory_order_relaxed));
    atomic_store_explicit(&q->incoming, NULL, memory_order_relaxed);
    q->incoming_count = 0;
    q->left = 0;
    uco__items_clear(&q->items);
    return dropped;
}

int
uco_queue_shutdown(uco_queue *q, bool immediate)
{
    int r = queue_enter_nowait(q, q);
    size_t dropped;

    if (r < 0)
        return r;
    queue_shut(q);
    if (immediate) {
        dropped = queue_drop(q);
        /* Some of them may have been marked done already. */
        queue_finish(q, dropped < q->unfinished ? dropped : q->unfinished);
    }
    return 0;
}

void
uco_queue_free(uco_queue *q)
{
    if (q == NULL || uco__queue_bind(q) < 0)
        return;
    queue_shut(q);
    queue_drop(q);
    uco__items_done(&q->items);
    uco__waiters_wake_all(&q->joiners, -ESHUTDOWN);
    q->freed = true;
    if (q->uses == 0)
        uco__queue_unref(q);
}
