/* SPDX-License-Identifier: MIT */

#include "delivery_loops.h"

#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <uco/uco.h>
#include <unistd.h>

#define SPIN 50e-6

/* --- what the floors share --- */

static struct {
    int doorbell;
    int epoll;
    bool finished;
} bell;

static void
bell_open(void)
{
    struct epoll_event event = {.events = EPOLLIN};

    bell.doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bell.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bell.doorbell < 0 || epoll_ctl(bell.epoll, EPOLL_CTL_ADD, bell.doorbell, &event) < 0)
        bench_die("eventfd and epoll: %s", strerror(errno));
    bell.finished = false;
}

static void
bell_finish(void)
{
    bell.finished = true;
}

static void
bell_ring(void)
{
    eventfd_write(bell.doorbell, 1);
}

static void
bell_wait(void)
{
    struct epoll_event event;
    eventfd_t rings;

    if (epoll_wait(bell.epoll, &event, 1, -1) > 0)
        eventfd_read(bell.doorbell, &rings);
}

static bool
bell_close(void)
{
    return close(bell.doorbell) == 0 && close(bell.epoll) == 0;
}

/* --- the list --- */

static struct {
    _Alignas(64) _Atomic(struct delivery_node *) head; /* the newest first */
    atomic_bool asleep;
} list;

/* Only who pushes onto an empty list needs to look whether the loop sleeps: it does not with
 * anything in the list. */
static void
list_push(struct delivery_node *node)
{
    struct delivery_node *head = atomic_load_explicit(&list.head, memory_order_relaxed);

    do {
        node->next = head;
    } while (!atomic_compare_exchange_weak(&list.head, &head, node));
    if (head == NULL && atomic_load(&list.asleep) && atomic_exchange(&list.asleep, false))
        bell_ring();
}

static void
list_post(struct message *message)
{
    message->node.floor.callback = delivery_receive;
    message->node.floor.arg = message;
    list_push(&message->node.floor);
}

struct allocated {
    struct delivery_node node;
    struct message *message;
};

static void
list_receive_allocated(void *arg)
{
    struct allocated *allocated = arg;
    struct message *message = allocated->message;

    free(allocated);
    delivery_receive(message);
}

static void
list_post_allocated(struct message *message)
{
    struct allocated *allocated = malloc(sizeof *allocated);

    if (allocated == NULL)
        bench_die("no memory for a node");
    allocated->node.callback = list_receive_allocated;
    allocated->node.arg = allocated;
    allocated->message = message;
    list_push(&allocated->node);
}

static void
list_take(void)
{
    struct delivery_node *node = atomic_exchange(&list.head, NULL);
    struct delivery_node *next, *oldest = NULL;

    for (; node != NULL; node = next) {
        next = node->next;
        node->next = oldest;
        oldest = node;
    }
    for (node = oldest; node != NULL; node = next) {
        next = node->next;
        node->callback(node->arg);
    }
}

static void
list_sleep(void)
{
    atomic_store(&list.asleep, true);
    if (atomic_load(&list.head) == NULL)
        bell_wait();
    atomic_store_explicit(&list.asleep, false, memory_order_relaxed);
}

static void
list_run(struct delivery *delivery)
{
    delivery_go(delivery);
    while (!bell.finished) {
        if (atomic_load_explicit(&list.head, memory_order_relaxed) != NULL)
            list_take();
        else
            list_sleep();
    }
}

const struct delivery_loop floor_list = {bell_open, list_post, list_run, bell_finish, bell_close};
const struct delivery_loop floor_list_allocating = {bell_open, list_post_allocated, list_run,
                                                    bell_finish, bell_close};

/* --- the array --- */

enum { ARRAY_MAX = DELIVERY_PRODUCERS_MAX * DELIVERY_RING };

static struct {
    _Alignas(64) pthread_mutex_t mutex;
    struct message **messages; /* one of the two below: the other one is the loop's */
    size_t count;
    bool asleep;
    struct message *arrays[2][ARRAY_MAX];
} array = {.mutex = PTHREAD_MUTEX_INITIALIZER, .messages = array.arrays[0]};

static void
array_post(struct message *message)
{
    bool ring;

    pthread_mutex_lock(&array.mutex);
    array.messages[array.count++] = message;
    ring = array.asleep;
    array.asleep = false;
    pthread_mutex_unlock(&array.mutex);
    if (ring)
        bell_ring();
}

static size_t
array_take(struct message ***messages)
{
    size_t count;

    pthread_mutex_lock(&array.mutex);
    *messages = array.messages;
    count = array.count;
    array.messages = array.arrays[array.messages == array.arrays[0]];
    array.count = 0;
    array.asleep = count == 0;
    pthread_mutex_unlock(&array.mutex);
    return count;
}

static void
array_run(struct delivery *delivery)
{
    delivery_go(delivery);
    while (!bell.finished) {
        struct message **messages;
        size_t count = array_take(&messages);

        for (size_t i = 0; i < count; i++)
            delivery_receive(messages[i]);
        if (count == 0)
            bell_wait();
    }
}

const struct delivery_loop floor_mutex = {bell_open, array_post, array_run, bell_finish,
                                          bell_close};

/* --- uco --- */

static uco_loop *loop;

static void
loop_open_with(double spin)
{
    const uco_loop_options options = {.spin = spin};

    loop = uco_loop_new(&options);
    if (loop == NULL)
        bench_die("a loop: %s", strerror(errno));
}

static void
loop_open(void)
{
    loop_open_with(0);
}

static void
loop_open_spinning(void)
{
    loop_open_with(SPIN);
}

static void
loop_post(struct message *message)
{
    message->node.uco.callback = delivery_receive;
    message->node.uco.arg = message;
    if (uco_loop_post(loop, &message->node.uco) != 0)
        bench_die("uco_loop_post: a node was not taken");
}

static void
loop_call(struct message *message)
{
    if (uco_loop_call_soon_threadsafe(loop, delivery_receive, message) != 0)
        bench_die("uco_loop_call_soon_threadsafe: a callback was not taken");
}

static void
loop_run(struct delivery *delivery)
{
    if (uco_loop_call_soon(loop, delivery_go, delivery) != 0 || uco_loop_run_forever(loop) != 0)
        bench_die("running a loop");
}

static void
loop_finish(void)
{
    uco_loop_stop(loop);
}

static bool
loop_close(void)
{
    int r = uco_loop_close(loop);

    uco_loop_unref(loop);
    return r == 0;
}

const struct delivery_loop uco_posts = {loop_open, loop_post, loop_run, loop_finish, loop_close};
const struct delivery_loop uco_posts_spinning = {loop_open_spinning, loop_post, loop_run,
                                                 loop_finish, loop_close};
const struct delivery_loop uco_callbacks = {loop_open, loop_call, loop_run, loop_finish,
                                            loop_close};
