/* SPDX-License-Identifier: MIT */

/*
 * Queues and select.
 *
 * 1. Each item that was accepted is fetched once, in its order; one that was refused is nowhere.
 * 2. A bounded queue needs no memory but for itself, an unbounded one may refuse an item for want
 *    of it.
 */

#include "scenarios.h"

#define ITEMS 60

struct line {
    uco_queue *queue;
    int put;
    int got;
    int sum;
};

static int
number_compare(const void *a, const void *b)
{
    return *(const int *) a - *(const int *) b;
}

static intptr_t
line_producer(void *arg)
{
    struct line *line = arg;

    for (int i = 0; i < ITEMS; i++) {
        if (MAY(uco_queue_put(line->queue, &i), ENOMEM) == 0) {
            line->put++;
            line->sum += i;
        }
        if (i % 20 == 0)
            SURE(uco_sleep(0.125));
    }
    return 0;
}

static intptr_t
line_consumer(void *arg)
{
    struct line *line = arg;
    int item, r;

    while ((r = uco_queue_get(line->queue, &item)) == 0) {
        line->got++;
        line->sum -= item;
        SURE(uco_queue_task_done(line->queue));
    }
    MUST(r == -ESHUTDOWN);
    return 0;
}

static void
line_drop(struct line *line)
{
    int item;

    while (uco_queue_get_nowait(line->queue, &item) == 0) {
        line->got++;
        line->sum -= item;
        SURE(uco_queue_task_done(line->queue));
    }
}

static void
line_run(uco_queue *queue)
{
    struct line line = {.queue = queue};
    uco_task *consumers[2], *producers[2];

    if (queue == NULL)
        return;
    for (size_t i = 0; i < COUNT(consumers); i++) {
        MADE(consumers[i], uco_create_task(line_consumer, &line), ENOMEM);
        MADE(producers[i], uco_create_task(line_producer, &line), ENOMEM);
    }
    /* Without a consumer they wait until somebody takes what they have. */
    for (int i = 0; i < 10 && uco_wait_all(producers, COUNT(producers), 5) < 0; i++) {
        MUST(!torture_clean());
        for (int j = 0; j < 2 * ITEMS; j++) {
            line_drop(&line);
            SURE(uco_sleep(0.125));
        }
    }
    for (size_t i = 0; i < COUNT(producers); i++)
        MAY(uco_join(producers[i]), ENOMEM);
    SURE(uco_queue_shutdown(queue, false));
    for (size_t i = 0; i < COUNT(consumers); i++)
        MAY(uco_join(consumers[i]), ENOMEM);
    line_drop(&line);
    SURE(uco_queue_join(queue));
    MUST(line.put == line.got && line.sum == 0);
    MUST(line.put == 2 * ITEMS || !torture_clean());
    uco_queue_free(queue);
}

static void
queue_threadsafe(uco_queue *queue)
{
    int put = 0, item;

    if (queue == NULL)
        return;
    for (int i = 0; i < 5; i++)
        put += MAY(uco_queue_put_threadsafe(queue, &i), ENOMEM) == 0;
    for (int i = 0; i < put; i++)
        SURE(uco_queue_get(queue, &item));
    MUST(uco_queue_get_nowait(queue, &item) == -EAGAIN);
    uco_queue_free(queue);
}

static void
queues_run(void)
{
    uco_queue *queue;

    MADE(queue, uco_queue_new(sizeof(int), 4), ENOMEM);
    line_run(queue);
    MADE(queue, uco_queue_new(sizeof(int), 0), ENOMEM);
    line_run(queue);
    MADE(queue, uco_queue_new_lifo(sizeof(int), 0), ENOMEM);
    line_run(queue);
    MADE(queue, uco_queue_new_priority(sizeof(int), 0, number_compare), ENOMEM);
    line_run(queue);
    MADE(queue, uco_queue_new(sizeof(int), 2), ENOMEM);
    queue_threadsafe(queue);
}

/* Select: more queues than it can wait for without memory. */

#define QUEUES 12

struct choice {
    uco_queue *queues[QUEUES];
    int got;
};

static intptr_t
choice_feeder(void *arg)
{
    struct choice *choice = arg;

    for (int i = 0; i < QUEUES; i++) {
        SURE(uco_sleep(0.5));
        SURE(uco_queue_put(choice->queues[i], &i));
    }
    return 0;
}

static void
choice_take(struct choice *choice)
{
    uco_select_case cases[QUEUES];
    int items[QUEUES];

    for (int rounds = 0; rounds < QUEUES; rounds++) {
        ssize_t i;

        for (int j = 0; j < QUEUES; j++)
            cases[j] = (uco_select_case){
                .queue = choice->queues[j], .op = UCO_SELECT_GET, .item = &items[j]};
        i = MAY(uco_select(cases, QUEUES, 2), ENOMEM, ETIMEDOUT);
        if (i < 0)
            continue;
        MUST(cases[i].result == 0 && items[i] == i);
        choice->got++;
    }
}

static void
selects_run(void)
{
    struct choice choice = {.got = 0};
    bool complete = true;
    uco_task *feeder;
    int item;

    for (int i = 0; i < QUEUES; i++) {
        MADE(choice.queues[i], uco_queue_new(sizeof(int), 3), ENOMEM);
        complete &= choice.queues[i] != NULL;
    }
    if (complete) {
        MADE(feeder, uco_create_task(choice_feeder, &choice), ENOMEM);
        choice_take(&choice);
        if (MAY(uco_join(feeder), ENOMEM) == 0) {
            for (int i = 0; i < QUEUES; i++)
                choice.got += uco_queue_get_nowait(choice.queues[i], &item) == 0;
            MUST(choice.got == QUEUES);
        }
    }
    for (int i = 0; i < QUEUES; i++)
        uco_queue_free(choice.queues[i]);
}

const struct scenario torture_queues = {.name = "queues", .run = queues_run};
const struct scenario torture_selects = {.name = "selects", .run = selects_run};
