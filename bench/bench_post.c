/* SPDX-License-Identifier: MIT */

/*
 * Work from foreign threads: how much of it a loop takes in, and how soon it wakes for one piece.
 *
 * Each producer has a ring of messages and waits when all of them are under way, so that no subject
 * gains by a queue that grows without bound. Messages are numbered: each must arrive once, and
 * those of one producer in order. The loop has place 0, the producers share the others.
 */

#include "support/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <uco/uco.h>
#include <unistd.h>

enum {
    POSTS = 1000 * 1000, /* a round, by all producers together */
    WAKES = 2000,        /* a round */
    RING = 1024,         /* messages of one producer that are under way */
    PRODUCERS_MAX = 4,
    RELEASE = 64,      /* so many of them go back to the producer at a time */
    PAUSE = 50 * 1000, /* ns before a wake: the loop is asleep long before that is over */
};

struct floor_node {
    struct floor_node *next;
    void (*callback)(void *arg);
    void *arg;
};

struct message {
    struct producer *producer;
    uint64_t number;
    uint64_t sent; /* when; for wakes */
    union {
        struct floor_node floor;
        uco_post uco;
    } node;
};

/* How a subject posts. */
typedef void post_fn(struct message *message);

/* First what the producer uses, then what the loop does; they share no cache line. */
struct producer {
    pthread_t thread;
    struct delivery *delivery;
    post_fn *post;
    struct message *ring;
    uint64_t posts;
    unsigned place;
    _Alignas(64) uint64_t received;
    /* The part of `received` that the producer knows of. Were it told of each message, the line
     * that tells it would travel as often as the messages do. */
    _Alignas(64) atomic_uint_fast64_t released;
};

/* One round. */
struct delivery {
    struct producer producers[PRODUCERS_MAX];
    unsigned producer_count;
    double *latencies; /* NULL: not measured */
    uint64_t began;
    uint64_t ended;
    bool wrong;
    void (*finish)(void);
    uint64_t expected;
    uint64_t received;
    _Alignas(64) atomic_bool go;
};

/* --- both ends --- */

static void
message_receive(void *arg)
{
    struct message *message = arg;
    struct producer *producer = message->producer;
    struct delivery *delivery = producer->delivery;

    if (delivery->latencies != NULL)
        delivery->latencies[delivery->received] = (double) (bench_clock() - message->sent) / 1e3;
    if (message->number != producer->received++)
        delivery->wrong = true;
    /* Pairs with the acquire in producer_wait(): the messages are the producer's again. */
    if (producer->received % RELEASE == 0 || delivery->latencies != NULL)
        atomic_store_explicit(&producer->released, producer->received, memory_order_release);
    if (++delivery->received == delivery->expected) {
        delivery->ended = bench_clock();
        delivery->finish();
    }
}

static void
producer_wait(const struct producer *producer, uint64_t released)
{
    for (unsigned turn = 0;
         atomic_load_explicit(&producer->released, memory_order_acquire) < released; turn++)
        bench_relax(turn);
}

static struct message *
producer_message(const struct producer *producer, uint64_t number)
{
    struct message *message = &producer->ring[number % RING];

    message->number = number;
    return message;
}

static void
producer_begin(struct producer *producer)
{
    bench_pin(producer->place);
    for (unsigned turn = 0; !atomic_load_explicit(&producer->delivery->go, memory_order_acquire);
         turn++)
        bench_relax(turn);
}

static void *
producer_flood(void *arg)
{
    struct producer *producer = arg;
    uint64_t free_until = RING;

    producer_begin(producer);
    for (uint64_t i = 0; i < producer->posts; i++) {
        if (i == free_until) {
            producer_wait(producer, i - RING / 2);
            free_until = i + RING / 2;
        }
        producer->post(producer_message(producer, i));
    }
    return NULL;
}

/* Spins where it can: a thread that sleeps lets its processor sleep, and waking that is not the
 * loop's doing. */
static void
producer_pause(void)
{
    uint64_t until = bench_clock() + PAUSE;

    if (bench_places() == 1) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE}, NULL);
        return;
    }
    for (unsigned turn = 0; bench_clock() < until; turn++)
        bench_relax(turn);
}

static void *
producer_wake(void *arg)
{
    struct producer *producer = arg;

    producer_begin(producer);
    for (uint64_t i = 0; i < producer->posts; i++) {
        struct message *message = producer_message(producer, i);

        producer_pause();
        message->sent = bench_clock();
        producer->post(message);
        producer_wait(producer, i + 1);
    }
    return NULL;
}

/* --- a round --- */

static struct delivery *
delivery_new(unsigned producer_count, size_t posts, post_fn *post, void (*finish)(void))
{
    struct delivery *delivery = bench_allocate(sizeof *delivery);

    delivery->producer_count = producer_count;
    delivery->finish = finish;
    for (unsigned i = 0; i < producer_count; i++) {
        struct producer *producer = &delivery->producers[i];

        producer->delivery = delivery;
        producer->post = post;
        producer->posts = posts / producer_count;
        producer->place = bench_places() > 1 ? 1 + i % (bench_places() - 1) : 0;
        producer->ring = bench_allocate(RING * sizeof *producer->ring);
        for (unsigned k = 0; k < RING; k++)
            producer->ring[k].producer = producer;
        delivery->expected += producer->posts;
    }
    return delivery;
}

static void
delivery_start(struct delivery *delivery, void *(*body)(void *) )
{
    for (unsigned i = 0; i < delivery->producer_count; i++) {
        struct producer *producer = &delivery->producers[i];
        int error = pthread_create(&producer->thread, NULL, body, producer);

        if (error != 0)
            bench_die("starting a thread: %s", strerror(error));
    }
}

static void
delivery_go(void *arg)
{
    struct delivery *delivery = arg;

    delivery->began = bench_clock();
    atomic_store_explicit(&delivery->go, true, memory_order_release);
}

static bool
delivery_end(struct delivery *delivery, double values[])
{
    bool right;

    for (unsigned i = 0; i < delivery->producer_count; i++) {
        pthread_join(delivery->producers[i].thread, NULL);
        free(delivery->producers[i].ring);
    }
    right = !delivery->wrong && delivery->received == delivery->expected;
    if (delivery->latencies != NULL) {
        bench_sort(delivery->latencies, delivery->received);
        values[0] = bench_quantile(delivery->latencies, delivery->received, 0.5);
        values[1] = bench_quantile(delivery->latencies, delivery->received, 0.99);
    } else {
        values[0] =
            (double) delivery->expected / (double) (delivery->ended - delivery->began) * 1e3;
    }
    free(delivery->latencies);
    free(delivery);
    return right;
}

/* A subject: runs a loop until its finish() is called. */
typedef void loop_fn(struct delivery *delivery);

static bool
flood_measure(const void *producers, post_fn *post, void (*finish)(void), loop_fn *loop,
              double values[])
{
    struct delivery *delivery =
        delivery_new(*(const unsigned *) producers, bench_scaled(POSTS), post, finish);

    delivery_start(delivery, producer_flood);
    loop(delivery);
    return delivery_end(delivery, values);
}

static bool
wake_measure(post_fn *post, void (*finish)(void), loop_fn *loop, double values[])
{
    size_t wakes = bench_scaled(WAKES);
    struct delivery *delivery = delivery_new(1, wakes, post, finish);

    delivery->latencies = bench_allocate(wakes * sizeof *delivery->latencies);
    delivery_start(delivery, producer_wake);
    loop(delivery);
    return delivery_end(delivery, values);
}

/* --- the floor: a lock-free list of the caller's nodes, and a doorbell that is rung only for a
 * sleeper --- */

static struct {
    _Alignas(64) _Atomic(struct floor_node *) head; /* the newest first */
    atomic_bool asleep;
    _Alignas(64) int doorbell;
    int epoll;
    bool finished;
} inbox;

static void
floor_finish(void)
{
    inbox.finished = true;
}

/* Only who pushes onto an empty list needs to look whether the loop sleeps: it does not with
 * anything in the list. */
static void
floor_push(struct floor_node *node)
{
    struct floor_node *head = atomic_load_explicit(&inbox.head, memory_order_relaxed);

    do {
        node->next = head;
    } while (!atomic_compare_exchange_weak(&inbox.head, &head, node));
    if (head == NULL && atomic_load(&inbox.asleep) && atomic_exchange(&inbox.asleep, false))
        eventfd_write(inbox.doorbell, 1);
}

static void
floor_post(struct message *message)
{
    message->node.floor.callback = message_receive;
    message->node.floor.arg = message;
    floor_push(&message->node.floor);
}

struct floor_allocated {
    struct floor_node node;
    struct message *message;
};

static void
floor_receive_allocated(void *arg)
{
    struct floor_allocated *allocated = arg;
    struct message *message = allocated->message;

    free(allocated);
    message_receive(message);
}

static void
floor_post_allocated(struct message *message)
{
    struct floor_allocated *allocated = malloc(sizeof *allocated);

    if (allocated == NULL)
        bench_die("no memory for a node");
    allocated->node.callback = floor_receive_allocated;
    allocated->node.arg = allocated;
    allocated->message = message;
    floor_push(&allocated->node);
}

static void
floor_take(void)
{
    struct floor_node *node = atomic_exchange(&inbox.head, NULL);
    struct floor_node *next, *oldest = NULL;

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
floor_sleep(void)
{
    struct epoll_event event;
    eventfd_t rings;

    atomic_store(&inbox.asleep, true);
    if (atomic_load(&inbox.head) == NULL && epoll_wait(inbox.epoll, &event, 1, -1) > 0)
        eventfd_read(inbox.doorbell, &rings);
    atomic_store_explicit(&inbox.asleep, false, memory_order_relaxed);
}

static void
floor_loop(struct delivery *delivery)
{
    struct epoll_event event = {.events = EPOLLIN};

    inbox.doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    inbox.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (inbox.doorbell < 0 || epoll_ctl(inbox.epoll, EPOLL_CTL_ADD, inbox.doorbell, &event) < 0)
        bench_die("eventfd and epoll: %s", strerror(errno));
    inbox.finished = false;
    delivery_go(delivery);
    while (!inbox.finished) {
        if (atomic_load_explicit(&inbox.head, memory_order_relaxed) != NULL)
            floor_take();
        else
            floor_sleep();
    }
    close(inbox.epoll);
    /* The doorbell is closed by floor_close(), when the last producer is gone: it may still be
     * ringing. */
}

static bool
floor_close(bool right)
{
    close(inbox.doorbell);
    return right;
}

static bool
floor_run(const void *producers, double values[])
{
    return floor_close(flood_measure(producers, floor_post, floor_finish, floor_loop, values));
}

static bool
floor_run_allocating(const void *producers, double values[])
{
    return floor_close(
        flood_measure(producers, floor_post_allocated, floor_finish, floor_loop, values));
}

static bool
floor_run_wakes(const void *arg, double values[])
{
    (void) arg;
    return floor_close(wake_measure(floor_post, floor_finish, floor_loop, values));
}

/* --- uco --- */

static uco_loop *loop;

static void
uco_finish(void)
{
    uco_loop_stop(loop);
}

static void
uco_post_node(struct message *message)
{
    message->node.uco.callback = message_receive;
    message->node.uco.arg = message;
    if (uco_loop_post(loop, &message->node.uco) != 0)
        bench_die("uco_loop_post: a node was not taken");
}

static void
uco_post_callback(struct message *message)
{
    if (uco_loop_call_soon_threadsafe(loop, message_receive, message) != 0)
        bench_die("uco_loop_call_soon_threadsafe: a callback was not taken");
}

static void
uco_loop_of(struct delivery *delivery)
{
    if (uco_loop_call_soon(loop, delivery_go, delivery) != 0 || uco_loop_run_forever(loop) != 0)
        bench_die("running a loop");
}

static void
uco_open(void)
{
    loop = uco_loop_new(NULL);
    if (loop == NULL)
        bench_die("a loop: %s", strerror(errno));
}

static bool
uco_shut(bool right)
{
    int r = uco_loop_close(loop);

    uco_loop_unref(loop);
    return right && r == 0;
}

static bool
uco_run_posts(const void *producers, double values[])
{
    uco_open();
    return uco_shut(flood_measure(producers, uco_post_node, uco_finish, uco_loop_of, values));
}

static bool
uco_run_callbacks(const void *producers, double values[])
{
    uco_open();
    return uco_shut(flood_measure(producers, uco_post_callback, uco_finish, uco_loop_of, values));
}

static bool
uco_run_wakes(const void *arg, double values[])
{
    (void) arg;
    uco_open();
    return uco_shut(wake_measure(uco_post_node, uco_finish, uco_loop_of, values));
}

int
main(int argc, char **argv)
{
    static const struct bench_metric rate = {
        .name = "posts", .unit = "M/s", .more_is_better = true};
    static const struct bench_metric latencies[] = {
        {.name = "p50", .unit = "us"},
        {.name = "p99", .unit = "us"},
    };
    static const struct bench_subject floods[] = {
        {"floor: list, the caller's nodes, doorbell", floor_run, NULL},
        {"floor, but with malloc and free", floor_run_allocating, NULL},
        {"uco_loop_post", uco_run_posts, NULL},
        {"uco_loop_call_soon_threadsafe", uco_run_callbacks, NULL},
    };
    static const struct bench_subject wakes[] = {
        {"floor: list, the caller's nodes, doorbell", floor_run_wakes, NULL},
        {"uco_loop_post", uco_run_wakes, NULL},
    };
    static const unsigned producers[] = {1, 4};

    bench_begin("bench_post", "callbacks from other threads", argc, argv);
    for (size_t i = 0; i < COUNT(producers); i++) {
        char what[32];

        snprintf(what, sizeof what, "%u producer%s", producers[i], producers[i] > 1 ? "s" : "");
        bench_compare(what, &rate, 1, floods, COUNT(floods), &producers[i]);
    }
    bench_compare("waking an idle loop", latencies, COUNT(latencies), wakes, COUNT(wakes), NULL);
    return bench_end();
}
