/* SPDX-License-Identifier: MIT */
#ifndef UCO_QUEUE_H
#define UCO_QUEUE_H

/*
 * Queues of items that are copied in and out, and waiting for several of them at once.
 *
 * A queue is FIFO, LIFO, or a priority queue. Waiters are served in the order of their coming: an
 * item is handed to the getter that has waited longest, a free place to the putter that has; what
 * was handed over stays done, also when the waiter is cancelled before it runs. A bounded queue
 * has room for all its items from the start: putting needs no memory.
 *
 * A queue binds to the loop that first uses it; a task of another loop gets -EPERM. What does not
 * suspend can be called by the loop's tasks and callbacks. Outside any running loop, by one thread
 * at a time, it works on a queue that is bound to no loop yet, or to one that does not run.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_queue uco_queue;

/**
 * uco_queue_new() - Make a FIFO queue.
 *
 * @item_size: Bytes of an item; not 0.
 * @capacity:  Items; 0 = unbounded.
 *
 * Context:    Any thread. Binds to the running loop, if there is one, otherwise at its first use.
 * Ownership:  uco_queue_free().
 * Returns:    The queue, or NULL with errno EINVAL (item_size is 0) or ENOMEM (also when the items
 *             could not be counted in bytes).
 */
UCO_API uco_queue *uco_queue_new(size_t item_size, size_t capacity);

/**
 * uco_queue_new_lifo() - Make a queue that gives the item first that was put last.
 *
 * Context:   As uco_queue_new().
 * Ownership: uco_queue_free().
 * Returns:   As uco_queue_new().
 */
UCO_API uco_queue *uco_queue_new_lifo(size_t item_size, size_t capacity);

/**
 * uco_queue_new_priority() - Make a queue that gives the least item first; equal ones in the order
 * in which they were put.
 *
 * @compare:  As qsort()'s: negative, zero or positive. It is a callback: it must not suspend, nor
 *            use the queue.
 *
 * Context:   As uco_queue_new().
 * Ownership: uco_queue_free().
 * Returns:   As uco_queue_new(); errno EINVAL also if compare is NULL.
 */
UCO_API uco_queue *uco_queue_new_priority(size_t item_size, size_t capacity,
                                          int (*compare)(const void *a, const void *b));

/**
 * uco_queue_put() - Put an item in, waiting while the queue is full.
 *
 * @item:   item_size bytes; copied.
 *
 * Context: Coroutine. Suspends if the queue is full; a cancellation point in any case.
 * Returns: 0
 *          -ECANCELED  an enclosing scope was cancelled; the item was not put in
 *          -ESHUTDOWN  the queue was shut down, or freed; the item was not put in
 *          -ENOMEM     an unbounded queue could not grow
 *          -EINVAL     q or item is NULL
 *          -EPERM      not in a coroutine, or on another loop's
 */
UCO_API int uco_queue_put(uco_queue *q, const void *item);

/**
 * uco_queue_get() - Get the next item, waiting while there is none.
 *
 * @item:   Room for item_size bytes; written on success only.
 *
 * Context: Coroutine. Suspends if the queue is empty; a cancellation point in any case.
 * Returns: 0
 *          -ECANCELED  an enclosing scope was cancelled; no item was taken
 *          -ESHUTDOWN  the queue was shut down and is empty, or was freed
 *          -EINVAL     q or item is NULL
 *          -EPERM      not in a coroutine, or on another loop's
 */
UCO_API int uco_queue_get(uco_queue *q, void *item);

/**
 * uco_queue_put_nowait() - Put an item in if there is room.
 *
 * Context: Loop's thread. Does not suspend, and is no cancellation point.
 * Returns: 0, -EAGAIN (full), -ESHUTDOWN, -ENOMEM, -EINVAL, -EPERM.
 */
UCO_API int uco_queue_put_nowait(uco_queue *q, const void *item);

/**
 * uco_queue_get_nowait() - Get the next item if there is one.
 *
 * Context: Loop's thread. Does not suspend, and is no cancellation point.
 * Returns: 0, -EAGAIN (empty), -ESHUTDOWN (shut down and empty), -EINVAL, -EPERM.
 */
UCO_API int uco_queue_get_nowait(uco_queue *q, void *item);

/**
 * uco_queue_put_threadsafe() - Put an item in from any thread, past the capacity too.
 *
 * The items of a thread stay in order. What was accepted is in the queue: also a shutdown that
 * comes later does not lose it.
 *
 * @item:   item_size bytes; copied.
 *
 * Context: Any thread, while the queue exists. Does not suspend.
 * Returns: 0, -ESHUTDOWN (the queue was shut down, or its loop closes), -ENOMEM, -EINVAL (q or item
 *          is NULL), -ESTALE.
 */
UCO_API int uco_queue_put_threadsafe(uco_queue *q, const void *item);

/**
 * uco_queue_join() - Wait until every item that was put in has been marked done. Also works after a
 * shutdown.
 *
 * Context: Coroutine. Suspends unless all are; a cancellation point in any case.
 * Returns: 0, -ECANCELED, -ESHUTDOWN (the queue was freed), -EINVAL (q is NULL), -EPERM.
 */
UCO_API int uco_queue_join(uco_queue *q);

/**
 * uco_queue_task_done() - Mark an item that was fetched as done.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL (q is NULL, or more were marked than put), -EPERM.
 */
UCO_API int uco_queue_task_done(uco_queue *q);

/**
 * uco_queue_shutdown() - Refuse further items. What is queued can still be fetched, unless it is
 * dropped at once. Who waits to put, or to get where there is nothing, gets -ESHUTDOWN.
 *
 * @immediate: Drop what is queued, and count it as done. Items that were fetched before still need
 *             uco_queue_task_done().
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0 (also when it was shut down before), -EINVAL (q is NULL), -EPERM.
 */
UCO_API int uco_queue_shutdown(uco_queue *q, bool immediate);

/**
 * uco_queue_size() - How many items are queued.
 *
 * Context: Loop's thread. 0 for NULL.
 */
UCO_API size_t uco_queue_size(const uco_queue *q);

/**
 * uco_queue_free() - Free a queue with what is left in it. Who waits gets -ESHUTDOWN. NULL is fine.
 *
 * Called where the queue must not be used, it does nothing (in debug mode it aborts).
 *
 * Context: Loop's thread. Does not suspend. No thread may be in uco_queue_put_threadsafe().
 */
UCO_API void uco_queue_free(uco_queue *q);

enum uco_select_op { UCO_SELECT_GET, UCO_SELECT_PUT };

/** One of the operations that uco_select() may do. */
typedef struct uco_select_case {
    uco_queue *queue;
    enum uco_select_op op;
    void *item; /* as uco_queue_get()'s or uco_queue_put()'s */
    int result; /* of the one that happened: 0 or -ESHUTDOWN */
} uco_select_case;

/**
 * uco_select() - Do exactly one of several queue operations: one that can be done at once, or else
 * the first that can.
 *
 * Among several that can be done at once the choice is random (seeded with the loop's seed), so
 * none of them starves. A queue that was shut down counts as one that can be done. What happened is
 * kept: a caller that is cancelled or runs into its timeout after it still gets the index.
 *
 * @cases:   n operations; a queue may stand in several. Must stay until the call returns.
 * @timeout: Seconds; UCO_FOREVER = no limit; zero or less = only try.
 *
 * Context:  Coroutine. Suspends if none can be done at once; a cancellation point in any case.
 * Returns:  The index of the operation that happened; its .result says how
 *           -ETIMEDOUT  none could be done
 *           -ECANCELED  an enclosing scope was cancelled; nothing was done
 *           -EINVAL     n is 0, cases or a queue or an item is NULL, an op is none, or NaN
 *           -ENOMEM     no memory to wait for so many, or an unbounded queue could not grow
 *           -EPERM      not in a coroutine, or a queue is another loop's
 */
UCO_API ssize_t uco_select(uco_select_case cases[], size_t n, double timeout);

UCO_END_DECLS

#endif
