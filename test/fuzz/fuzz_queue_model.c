/* SPDX-License-Identifier: MIT */
#include "fuzz_queue.h"

#include <errno.h>
#include <string.h>

/* --- items: a number that is unlike any other, its first byte the priority --- */

unsigned
fuzz_item_new(struct queues *state, int first)
{
    return ++state->serial << 8 | (unsigned) first;
}

static int
item_priority(unsigned item)
{
    return item & 3;
}

void
fuzz_item_write(unsigned char *bytes, size_t size, unsigned item)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char) ((item >> i % 4 * 8) + i / 4);
}

int
fuzz_item_compare(const void *a, const void *b)
{
    return item_priority(*(const unsigned char *) a) - item_priority(*(const unsigned char *) b);
}

void
fuzz_item_check(struct fuzz_world *world, size_t size, const unsigned char *bytes, bool got,
                unsigned item)
{
    unsigned char expected[ITEM_SIZE_MAX];

    memset(expected, UNTOUCHED, sizeof expected);
    if (got)
        fuzz_item_write(expected, size, item);
    if (memcmp(bytes, expected, sizeof expected) == 0)
        return;
    if (got)
        fuzz_mismatch(world, "an item that begins with %#x was got; the model says item %#x",
                      bytes[0], item);
    fuzz_mismatch(world, "a get that failed has written an item");
}

/* --- the model --- */

static void
entries_remove_at(struct entries *entries, int i)
{
    entries->count--;
    memmove(&entries->at[i], &entries->at[i + 1],
            (size_t) (entries->count - i) * sizeof entries->at[0]);
}

static void
entries_remove(struct entries *entries, int who)
{
    for (int i = entries->count; i-- > 0;) {
        if (entries->at[i].who == who)
            entries_remove_at(entries, i);
    }
}

void
fuzz_entries_push(struct entries *entries, int who, int index, unsigned item)
{
    entries->at[entries->count++] = (struct entry){.who = who, .index = index, .item = item};
}

void
fuzz_queues_forget(struct queues *state, int who)
{
    for (int i = 0; i < state->count; i++) {
        entries_remove(&state->queues[i].getters, who);
        entries_remove(&state->queues[i].putters, who);
        fuzz_line_remove(&state->queues[i].joiners, who);
    }
}

/* A wait has ended, and with it all cases of a selection. */
static struct entry
entries_serve(struct fuzz_world *world, struct entries *entries, int result)
{
    struct queues *state = fuzz_state(world);
    struct entry first = entries->at[0];
    struct outcome *outcome = &state->outcomes[first.who];

    fuzz_queues_forget(state, first.who);
    outcome->result = result;
    fuzz_decide(world, first.who, outcome->selection ? first.index : result);
    return first;
}

bool
fuzz_queue_full(const struct queue *queue)
{
    return queue->capacity != 0 && queue->count >= queue->capacity;
}

void
fuzz_queue_insert(struct fuzz_world *world, struct queue *queue, unsigned item)
{
    struct queues *state = fuzz_state(world);

    queue->unfinished++;
    if (queue->getters.count > 0) {
        struct entry entry = entries_serve(world, &queue->getters, 0);

        state->outcomes[entry.who].item = item;
        return;
    }
    queue->items[queue->count++] = item;
}

static unsigned
queue_take(struct fuzz_world *world, struct queue *queue)
{
    int best = queue->order == LIFO ? queue->count - 1 : 0;
    unsigned item;

    for (int i = 0; queue->order == PRIORITY && i < queue->count; i++) {
        if (item_priority(queue->items[i]) < item_priority(queue->items[best]))
            best = i;
    }
    item = queue->items[best];
    queue->count--;
    memmove(&queue->items[best], &queue->items[best + 1],
            (size_t) (queue->count - best) * sizeof queue->items[0]);
    while (queue->putters.count > 0 && !fuzz_queue_full(queue)) {
        struct entry entry = entries_serve(world, &queue->putters, 0);

        fuzz_queue_insert(world, queue, entry.item);
    }
    return item;
}

void
fuzz_queue_finish(struct fuzz_world *world, struct queue *queue, int n)
{
    queue->unfinished -= n < queue->unfinished ? n : queue->unfinished;
    if (queue->unfinished == 0)
        fuzz_line_decide_all(world, &queue->joiners, 0);
}

void
fuzz_queue_shut(struct fuzz_world *world, struct queue *queue, bool now)
{
    queue->shut = true;
    while (queue->getters.count > 0)
        entries_serve(world, &queue->getters, -ESHUTDOWN);
    while (queue->putters.count > 0)
        entries_serve(world, &queue->putters, -ESHUTDOWN);
    if (now) {
        int dropped = queue->count;

        queue->count = 0;
        fuzz_queue_finish(world, queue, dropped);
    }
}

int
fuzz_queue_put_now(struct fuzz_world *world, struct queue *queue, unsigned item)
{
    if (queue->shut)
        return -ESHUTDOWN;
    if (fuzz_queue_full(queue))
        return -EAGAIN;
    fuzz_queue_insert(world, queue, item);
    return 0;
}

int
fuzz_queue_get_now(struct fuzz_world *world, struct queue *queue, unsigned *item)
{
    if (queue->count == 0)
        return queue->shut ? -ESHUTDOWN : -EAGAIN;
    *item = queue_take(world, queue);
    return 0;
}
