/* SPDX-License-Identifier: MIT */

/*
 * What the waits of this folder have to tell in a dump.
 *
 * 1. A primitive is found by the list that its waiter is in, and is read by copying.
 */

#include "sync/describe.h"

#include "sync/lock.h"
#include "sync/queue.h"
#include "task/dump.h"

static void
describe_address(struct uco__dump *dump, const char *before, const void *address, const char *after)
{
    uco__dump_text(dump, before);
    uco__dump_address(dump, address);
    uco__dump_text(dump, after);
}

/* The list that the waiter is in. */
static const char *
waiter_list(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco__sync_waiter waiter;

    return UCO__DUMP_READ_AROUND(dump, &waiter, wait, struct uco__sync_waiter, wait)
               ? (const char *) waiter.list
               : NULL;
}

/* --- locks and conditions --- */

static bool
lock_describe_as(struct uco__dump *dump, const struct uco__wait *wait, const char *what)
{
    struct uco__lock_waiter waiter;
    uco_lock lock;

    if (!UCO__DUMP_READ_AROUND(dump, &waiter, wait, struct uco__lock_waiter, waiter.wait) ||
        !UCO__DUMP_GET(dump, &lock, waiter.lock))
        return false;
    uco__dump_text(dump, what);
    describe_address(dump, " (", waiter.lock, ") that ");
    if (lock.owner == 0 || !uco__dump_holder(dump, lock.holder, lock.owner))
        uco__dump_text(dump, lock.owner == 0 ? "nobody" : "a task that has ended");
    uco__dump_text(dump, " holds");
    return true;
}

static bool
lock_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    return lock_describe_as(dump, wait, "a lock");
}

static bool
condition_lock_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    return lock_describe_as(dump, wait, "a condition's lock");
}

static bool
condition_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    const char *list = waiter_list(dump, wait);

    if (list == NULL)
        return false;
    describe_address(dump, "a condition (", list - offsetof(uco_condition, waiters), ")");
    return true;
}

UCO__WAIT_KIND(uco__wait_lock, "a lock", lock_describe);
UCO__WAIT_KIND(uco__wait_condition, "a condition", condition_describe);
UCO__WAIT_KIND(uco__wait_condition_lock, "a condition's lock", condition_lock_describe);

/* --- events, semaphores, barriers --- */

static bool
event_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    const char *list = waiter_list(dump, wait);

    if (list == NULL)
        return false;
    describe_address(dump, "an event (", list - offsetof(uco_event, waiters), ")");
    return true;
}

static bool
semaphore_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    const char *list = waiter_list(dump, wait);

    if (list == NULL)
        return false;
    describe_address(dump, "a permit of a semaphore (", list - offsetof(uco_semaphore, waiters),
                     ")");
    return true;
}

static bool
barrier_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    const char *list = waiter_list(dump, wait);
    uco_barrier barrier;

    if (list == NULL || !UCO__DUMP_GET(dump, &barrier, list - offsetof(uco_barrier, waiters)))
        return false;
    describe_address(dump, "a barrier (", list - offsetof(uco_barrier, waiters), ", ");
    uco__dump_number(dump, barrier.waiting);
    uco__dump_text(dump, " of ");
    uco__dump_number(dump, barrier.parties);
    uco__dump_text(dump, " have come)");
    return true;
}

UCO__WAIT_KIND(uco__wait_event, "an event", event_describe);
UCO__WAIT_KIND(uco__wait_semaphore, "a permit of a semaphore", semaphore_describe);
UCO__WAIT_KIND(uco__wait_barrier, "a barrier", barrier_describe);

/* --- queues --- */

static bool
queue_read(struct uco__dump *dump, const struct uco__wait *wait, size_t list_place,
           const char *what, struct uco_queue *queue)
{
    const char *list = waiter_list(dump, wait);

    if (list == NULL || !uco__dump_read(dump, queue, list - list_place, sizeof *queue))
        return false;
    describe_address(dump, what, list - list_place, ", ");
    return true;
}

static bool
put_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco_queue queue;

    if (!queue_read(dump, wait, offsetof(struct uco_queue, putters), "room in a queue (", &queue))
        return false;
    uco__dump_text(dump, "full: ");
    uco__dump_number(dump, queue.items.count);
    uco__dump_text(dump, " of ");
    uco__dump_number(dump, queue.capacity);
    uco__dump_text(dump, ")");
    return true;
}

static bool
get_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco_queue queue;

    if (!queue_read(dump, wait, offsetof(struct uco_queue, getters), "an item of a queue (",
                    &queue))
        return false;
    uco__dump_text(dump, "empty)");
    return true;
}

static bool
join_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct uco_queue queue;

    if (!queue_read(dump, wait, offsetof(struct uco_queue, joiners), "a queue's items to be done (",
                    &queue))
        return false;
    uco__dump_number(dump, queue.unfinished);
    uco__dump_text(dump, queue.unfinished == 1 ? " is not)" : " are not)");
    return true;
}

UCO__WAIT_KIND(uco__wait_put, "room in a queue", put_describe);
UCO__WAIT_KIND(uco__wait_get, "an item of a queue", get_describe);
UCO__WAIT_KIND(uco__wait_join, "a queue's items to be done", join_describe);
