/* SPDX-License-Identifier: MIT */

/*
 * The inbox.
 *
 * 1. A producer pushes, then looks at `asleep`; the loop sets `asleep`, then looks at the list.
 *    Both are sequentially consistent, so at least one of them sees the other: no wake-up is lost.
 *    Only who pushes on an empty list looks: the loop sleeps after it has seen the list empty, and
 *    nobody else empties it. So there is a first push after that look; its producer sees `asleep`
 *    and rings for all who push on top of it.
 * 2. Whoever turns `asleep` off rings, so a sleep is rung once.
 * 3. Once closed, a push is refused by the same atomic step that would have made it: what was
 *    accepted is always taken out.
 * 4. The doorbell is closed only when nobody is ringing, so nobody writes to an fd that has become
 *    somebody else's.
 * 5. Each ring is told to the poller as an event of its own, whatever the doorbell's counter says
 *    (it is registered edge-triggered). So the loop reads the counter only now and then, which
 *    saves a system call a wake-up. A ring that such a read swallows was made before it, and what
 *    it was rung for is looked at after it. Without the reads too, a counter that takes 2^64 - 2
 *    would not be full, and a ring not be an event, for some thousand years.
 */

#include "core/inbox.h"

#include "base/system.h"

#include <sched.h>
#include <sys/eventfd.h>

#define WAKES_TO_A_READ 1024

/* Never dereferenced. */
static struct uco__ready inbox_closed;
#define UCO__INBOX_CLOSED (&inbox_closed)

int
uco__inbox_init(struct uco__inbox *inbox)
{
    long fd = UCO__SYSTEM(eventfd, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));

    if (fd < 0)
        return (int) fd;
    atomic_init(&inbox->head, NULL);
    atomic_init(&inbox->asleep, false);
    atomic_init(&inbox->ringing, 0);
    atomic_init(&inbox->closed, false);
    inbox->wakes = 0;
    inbox->doorbell = (int) fd;
    return 0;
}

void
uco__inbox_done(struct uco__inbox *inbox)
{
    atomic_exchange(&inbox->closed, true);
    while (atomic_load(&inbox->ringing) != 0)
        sched_yield();
    uco__close(inbox->doorbell);
    inbox->doorbell = -1;
}

int
uco__inbox_ring(struct uco__inbox *inbox)
{
    int r = 0;

    /* Also before being counted: who comes late must not keep uco__inbox_done() waiting. */
    if (atomic_load(&inbox->closed))
        return -ESHUTDOWN;
    atomic_fetch_add(&inbox->ringing, 1);
    if (atomic_load(&inbox->closed))
        r = -ESHUTDOWN;
    else
        uco__doorbell_ring(inbox->doorbell);
    atomic_fetch_sub(&inbox->ringing, 1);
    return r;
}

void
uco__inbox_wake(struct uco__inbox *inbox)
{
    if (atomic_load(&inbox->asleep) && atomic_exchange(&inbox->asleep, false))
        uco__inbox_ring(inbox);
}

int
uco__inbox_push(struct uco__inbox *inbox, struct uco__ready *node)
{
    /* Acquire pairs with the exchange that closes: who is refused comes after all that the loop has
     * done. */
    struct uco__ready *head = atomic_load_explicit(&inbox->head, memory_order_acquire);

    do {
        if (head == UCO__INBOX_CLOSED)
            return -ESHUTDOWN;
        node->next = head;
    } while (!atomic_compare_exchange_weak(&inbox->head, &head, node));
    if (head == NULL)
        uco__inbox_wake(inbox);
    return 0;
}

bool
uco__inbox_sleep(struct uco__inbox *inbox)
{
    /* The look at the head must not come first. By the book a store would do; but qemu-user (7.2)
     * lets a load overtake a store though both are sequentially consistent, and only stops at an
     * exchange. */
    atomic_exchange(&inbox->asleep, true);
    if (atomic_load(&inbox->head) == NULL)
        return true;
    atomic_store(&inbox->asleep, false);
    return false;
}

void
uco__inbox_awake(struct uco__inbox *inbox)
{
    atomic_store_explicit(&inbox->asleep, false, memory_order_relaxed);
}

void
uco__inbox_answer(struct uco__inbox *inbox)
{
    if (++inbox->wakes % WAKES_TO_A_READ == 0)
        uco__doorbell_answer(inbox->doorbell);
}

static unsigned long
inbox_take(struct uco__inbox *inbox, struct uco__ready_queue *queue, struct uco__ready *leave)
{
    struct uco__ready *newest = atomic_exchange(&inbox->head, leave);
    struct uco__ready *node, *next, *oldest = NULL;
    unsigned long count = 0;

    if (newest == UCO__INBOX_CLOSED || newest == NULL)
        return 0;
    for (node = newest; node != NULL; node = next) {
        next = node->next;
        node->next = oldest;
        oldest = node;
        count++;
    }
    uco__ready_queue_append(queue, oldest, newest);
    return count;
}

unsigned long
uco__inbox_drain(struct uco__inbox *inbox, struct uco__ready_queue *queue)
{
    /* Only the loop itself closes it, so a look before is enough to leave the mark alone. */
    if (uco__inbox_empty(inbox) ||
        atomic_load_explicit(&inbox->head, memory_order_relaxed) == UCO__INBOX_CLOSED)
        return 0;
    return inbox_take(inbox, queue, NULL);
}

unsigned long
uco__inbox_close(struct uco__inbox *inbox, struct uco__ready_queue *queue)
{
    return inbox_take(inbox, queue, UCO__INBOX_CLOSED);
}
