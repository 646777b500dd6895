/* SPDX-License-Identifier: MIT */

/*
 * Queues: FIFO, LIFO and by priority, bounded or not, several of them, and waiting for several at
 * once.
 */

#include "fuzz_queue.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* `a` is the queue, `b` an item's first byte, or a new queue's order and bound. STARVED: while
 * there is no memory. PUT_THREAD: in another thread. */
enum {
    PUT = FUZZ_TARGET_KINDS,
    GET,
    JOIN,
    SELECT,
    PUT_NOWAIT,
    GET_NOWAIT,
    PUT_THREADSAFE,
    PUT_THREAD,
    PUT_STARVED,
    PUT_THREADSAFE_STARVED,
    GET_STARVED,
    TASK_DONE,
    SHUTDOWN,
    SHUTDOWN_NOW,
    RENEW,
};

/* --- calls --- */

static void
queue_make(struct fuzz_world *world, int index, int parameters)
{
    static const size_t sizes[4] = {8, 1, 12, 40};
    static const int capacities[4] = {1, 0, 2, 5};
    struct queues *state = fuzz_state(world);
    struct queue *queue = &state->queues[index];
    size_t capacity = (size_t) capacities[parameters / 4 % 4];

    memset(queue, 0, sizeof *queue);
    queue->order = parameters % 4 == 3 ? FIFO : (enum order)(parameters % 4);
    queue->capacity = (int) capacity;
    queue->item_size = sizes[parameters / 16 % 4];
    fuzz_log(world, FUZZ_DRIVER, "makes queue %d: %s, %d items of %zu", index,
             queue->order == FIFO   ? "FIFO"
             : queue->order == LIFO ? "LIFO"
                                    : "by priority",
             queue->capacity, queue->item_size);
    if (queue->order == FIFO)
        queue->real = uco_queue_new(queue->item_size, capacity);
    else if (queue->order == LIFO)
        queue->real = uco_queue_new_lifo(queue->item_size, capacity);
    else
        queue->real = uco_queue_new_priority(queue->item_size, capacity, fuzz_item_compare);
    if (queue->real == NULL)
        fuzz_mismatch(world, "no queue");
}

static void
call_put(struct fuzz_world *world, int actor, struct queue *queue, unsigned item)
{
    struct queues *state = fuzz_state(world);
    unsigned char bytes[ITEM_SIZE_MAX];
    intptr_t r;

    state->outcomes[actor] = (struct outcome){0};
    fuzz_item_write(bytes, queue->item_size, item);
    if (fuzz_enter(world, actor)) {
        int now = fuzz_queue_put_now(world, queue, item);

        if (now != -EAGAIN) {
            fuzz_decide(world, actor, now);
        } else {
            fuzz_entries_push(&queue->putters, actor, 0, item);
            fuzz_wait(world, actor);
        }
    }
    r = uco_queue_put(queue->real, bytes);
    fuzz_return(world, actor, r);
}

static void
call_get(struct fuzz_world *world, int actor, struct queue *queue)
{
    struct queues *state = fuzz_state(world);
    size_t size = queue->item_size; /* the queue may be another when the call returns */
    unsigned char bytes[ITEM_SIZE_MAX];
    intptr_t r;

    state->outcomes[actor] = (struct outcome){0};
    memset(bytes, UNTOUCHED, sizeof bytes);
    if (fuzz_enter(world, actor)) {
        int now = fuzz_queue_get_now(world, queue, &state->outcomes[actor].item);

        if (now != -EAGAIN) {
            fuzz_decide(world, actor, now);
        } else {
            fuzz_entries_push(&queue->getters, actor, 0, 0);
            fuzz_wait(world, actor);
        }
    }
    r = uco_queue_get(queue->real, bytes);
    fuzz_return(world, actor, r);
    fuzz_item_check(world, size, bytes, r == 0, state->outcomes[actor].item);
}

static void
call_join(struct fuzz_world *world, int actor, struct queue *queue)
{
    if (fuzz_enter(world, actor)) {
        if (queue->unfinished == 0) {
            fuzz_decide(world, actor, 0);
        } else {
            fuzz_line_push(&queue->joiners, actor);
            fuzz_wait(world, actor);
        }
    }
    fuzz_return(world, actor, uco_queue_join(queue->real));
}

static void
call_get_nowait(struct fuzz_world *world, int actor, struct queue *queue)
{
    unsigned char bytes[ITEM_SIZE_MAX];
    unsigned item = 0;
    int expected = fuzz_queue_get_now(world, queue, &item);

    memset(bytes, UNTOUCHED, sizeof bytes);
    fuzz_expect(world, actor, expected, uco_queue_get_nowait(queue->real, bytes));
    fuzz_item_check(world, queue->item_size, bytes, expected == 0, item);
}

struct thread_put {
    uco_queue *queue;
    const unsigned char *bytes;
    int result;
};

static void *
thread_put_run(void *arg)
{
    struct thread_put *put = arg;

    put->result = uco_queue_put_threadsafe(put->queue, put->bytes);
    return NULL;
}

/* Another thread's item is in when all is quiet; before that there is no saying who gets it. */
static int
put_from_thread(struct fuzz_world *world, struct queue *queue, const unsigned char *bytes)
{
    struct thread_put put = {.queue = queue->real, .bytes = bytes};
    pthread_t thread;

    if (pthread_create(&thread, NULL, thread_put_run, &put) != 0 || pthread_join(thread, NULL) != 0)
        fuzz_mismatch(world, "no thread");
    return put.result;
}

static void
call_put_nowait(struct fuzz_world *world, int actor, int kind, struct queue *queue, unsigned item)
{
    unsigned char bytes[ITEM_SIZE_MAX];
    int expected;

    fuzz_item_write(bytes, queue->item_size, item);
    if (kind == PUT_NOWAIT) {
        expected = fuzz_queue_put_now(world, queue, item);
        fuzz_expect(world, actor, expected, uco_queue_put_nowait(queue->real, bytes));
        return;
    }
    if (kind == PUT_THREAD)
        fuzz_settle(world);
    expected = queue->shut ? -ESHUTDOWN : 0;
    if (expected == 0)
        fuzz_queue_insert(world, queue, item);
    if (kind == PUT_THREADSAFE) {
        fuzz_expect(world, actor, expected, uco_queue_put_threadsafe(queue->real, bytes));
        return;
    }
    fuzz_expect(world, actor, expected, put_from_thread(world, queue, bytes));
    fuzz_settle(world);
}

/* Calls of the library's that want memory get none, from the nth on. */
static void
starve(struct fuzz_world *world, unsigned long nth)
{
    fuzz_expect(world, FUZZ_DRIVER, 0, uco_test_fail("malloc", nth, true, ENOMEM));
}

/* A put gives up where it would need memory. What any thread may put in is not lost when only the
 * queue has no memory for it. Getting needs none: but then it may be an older item, unless that is
 * what the queue gives anyway. */
static void
call_starved(struct fuzz_world *world, int actor, int kind, struct queue *queue, unsigned item)
{
    unsigned char bytes[ITEM_SIZE_MAX];
    int r;

    fuzz_item_write(bytes, queue->item_size, item);
    starve(world, kind == PUT_THREADSAFE_STARVED ? 2 : 1);
    if (kind == PUT_THREADSAFE_STARVED) {
        call_put_nowait(world, actor, PUT_THREADSAFE, queue, item);
    } else if (kind == GET_STARVED) {
        if (queue->order == FIFO)
            call_get_nowait(world, actor, queue);
    } else {
        r = uco_queue_put_nowait(queue->real, bytes);
        if (r != -ENOMEM || queue->capacity != 0 || queue->getters.count > 0 || queue->shut)
            fuzz_expect(world, actor, fuzz_queue_put_now(world, queue, item), r);
    }
    uco_test_fail_off();
}

/* Who waits learns that it is gone. */
static void
call_renew(struct fuzz_world *world, int index, int parameters)
{
    struct queues *state = fuzz_state(world);
    struct queue *queue = &state->queues[index];

    fuzz_queue_shut(world, queue, false);
    fuzz_line_decide_all(world, &queue->joiners, -ESHUTDOWN);
    uco_queue_free(queue->real);
    queue_make(world, index, parameters);
}

/* --- the targets --- */

static void
queue_begin(struct fuzz_world *world, struct fuzz_input *input)
{
    struct queues *state = fuzz_state(world);

    state->count = 1 + fuzz_below(input, QUEUES_MAX);
    for (int i = 0; i < state->count; i++)
        queue_make(world, i, fuzz_byte(input));
}

static void
queue_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
             struct fuzz_operation *operation)
{
    static const int worker_choices[16] = {
        PUT, GET, PUT, GET, PUT,  GET,       PUT,        GET,
        PUT, GET, PUT, GET, JOIN, TASK_DONE, GET_NOWAIT, PUT_NOWAIT,
    };
    static const int choices[16] = {
        PUT_NOWAIT, GET_NOWAIT,  PUT_NOWAIT, GET_NOWAIT, PUT_NOWAIT,     GET_NOWAIT,
        PUT_NOWAIT, GET_NOWAIT,  TASK_DONE,  TASK_DONE,  PUT_THREADSAFE, PUT_THREADSAFE,
        PUT_THREAD, PUT_STARVED, SHUTDOWN,   RENEW,
    };
    static const int starved[4] = {PUT_STARVED, PUT_THREADSAFE_STARVED, PUT_THREADSAFE_STARVED,
                                   GET_STARVED};
    const struct queues *state = fuzz_state(world);
    uint8_t choice = fuzz_byte(input);

    operation->kind = (actor < FUZZ_WORKERS ? worker_choices : choices)[choice % 16];
    operation->a = choice / 16 % state->count;
    operation->b = fuzz_byte(input);
    if (operation->kind == SHUTDOWN) /* seldom, since little happens after it */
        operation->kind = choice < 128 ? TASK_DONE : choice >= 192 ? SHUTDOWN_NOW : SHUTDOWN;
    if (operation->kind == PUT_STARVED)
        operation->kind = starved[choice / 16 % 4];
    if (operation->kind == RENEW && choice < 160)
        operation->kind = TASK_DONE;
    if (actor == FUZZ_CALLBACK && (operation->kind == PUT_THREAD || operation->kind == RENEW))
        operation->kind = PUT_NOWAIT;
}

static void
select_choose(struct fuzz_world *world, struct fuzz_input *input, int actor,
              struct fuzz_operation *operation)
{
    queue_choose(world, input, actor, operation);
    if (actor >= FUZZ_WORKERS || operation->b % 2 == 0)
        return;
    operation->kind = SELECT;
    operation->b = fuzz_byte(input);
    operation->c = fuzz_byte(input);
}

static const char *
operation_name(int kind)
{
    static const char *const names[] = {
        "puts into",
        "gets from",
        "joins",
        "selects",
        "puts, if there is room, into",
        "gets, if there is any, from",
        "puts, as any thread may, into",
        "puts, from another thread, into",
        "puts, without memory, into",
        "puts, as any thread may, with memory for nothing else, into",
        "gets, without memory, from",
        "has done one of",
        "shuts",
        "shuts at once",
        "frees",
    };

    return names[kind - PUT];
}

static void
queue_perform(struct fuzz_world *world, int actor, const struct fuzz_operation *operation)
{
    struct queues *state = fuzz_state(world);
    struct queue *queue = &state->queues[operation->a];
    unsigned item = fuzz_item_new(state, operation->b);
    int kind = operation->kind;

    for (int i = 0; i < state->count; i++) {
        if (state->queues[i].count >= ITEMS_MAX && kind != GET && kind != GET_NOWAIT)
            return;
    }
    if (kind == SELECT) {
        fuzz_select_perform(world, actor, operation);
        return;
    }
    fuzz_log(world, actor, "%s queue %d (item %#x)", operation_name(kind), operation->a, item);
    switch (kind) {
    case PUT:
        call_put(world, actor, queue, item);
        break;
    case GET:
        call_get(world, actor, queue);
        break;
    case JOIN:
        call_join(world, actor, queue);
        break;
    case GET_NOWAIT:
        call_get_nowait(world, actor, queue);
        break;
    case TASK_DONE: {
        int expected = queue->unfinished > 0 ? 0 : -EINVAL;

        fuzz_queue_finish(world, queue, expected == 0);
        fuzz_expect(world, actor, expected, uco_queue_task_done(queue->real));
        break;
    }
    case SHUTDOWN:
    case SHUTDOWN_NOW:
        fuzz_queue_shut(world, queue, kind == SHUTDOWN_NOW);
        fuzz_expect(world, actor, 0, uco_queue_shutdown(queue->real, kind == SHUTDOWN_NOW));
        break;
    case PUT_STARVED:
    case PUT_THREADSAFE_STARVED:
    case GET_STARVED:
        call_starved(world, actor, kind, queue, item);
        break;
    case RENEW:
        call_renew(world, operation->a, operation->b);
        break;
    default:
        call_put_nowait(world, actor, kind, queue, item);
    }
}

static bool
queue_leave(struct fuzz_world *world, int worker, intptr_t result)
{
    (void) result;
    fuzz_queues_forget(fuzz_state(world), worker);
    return true;
}

static void
queue_died(struct fuzz_world *world, int worker)
{
    (void) world;
    (void) worker;
}

static void
queue_check(struct fuzz_world *world)
{
    const struct queues *state = fuzz_state(world);

    for (int i = 0; i < state->count; i++)
        fuzz_same(world, "the size of a queue", (intmax_t) uco_queue_size(state->queues[i].real),
                  state->queues[i].count);
}

/* What the model has left is there, and no more. */
static void
queue_end(struct fuzz_world *world)
{
    struct queues *state = fuzz_state(world);

    for (int i = 0; i < state->count; i++) {
        struct queue *queue = &state->queues[i];

        while (queue->count > 0)
            call_get_nowait(world, FUZZ_DRIVER, queue);
        call_get_nowait(world, FUZZ_DRIVER, queue);
        for (; queue->unfinished > 0; queue->unfinished--)
            fuzz_expect(world, FUZZ_DRIVER, 0, uco_queue_task_done(queue->real));
        fuzz_expect(world, FUZZ_DRIVER, -EINVAL, uco_queue_task_done(queue->real));
        uco_queue_free(queue->real);
    }
}

const struct fuzz_target fuzz_queue = {
    .name = "queue",
    .begin = queue_begin,
    .choose = queue_choose,
    .perform = queue_perform,
    .leave = queue_leave,
    .died = queue_died,
    .check = queue_check,
    .end = queue_end,
};

const struct fuzz_target fuzz_select = {
    .name = "select",
    .begin = queue_begin,
    .choose = select_choose,
    .perform = queue_perform,
    .leave = queue_leave,
    .died = queue_died,
    .check = queue_check,
    .end = queue_end,
};
