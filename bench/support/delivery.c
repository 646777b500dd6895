/* SPDX-License-Identifier: MIT */

#include "delivery.h"

#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RELEASE = 64,      /* so many messages of a flood go back to the producer at a time */
    PAUSE = 50 * 1000, /* ns before a wake: the loop is asleep long before that is over */
};

/* What happens to a message that has arrived. */
enum kind { FLOOD, WAKE, TRIP, TRIP_ASLEEP };

/* One round. */
struct delivery {
    struct producer producers[DELIVERY_PRODUCERS_MAX];
    unsigned producer_count;
    enum kind kind;
    double *latencies; /* us, of each message; not in a flood */
    uint64_t began;
    uint64_t ended;
    bool wrong;
    void (*finish)(void);
    uint64_t expected;
    uint64_t received;
    _Alignas(64) atomic_bool go;
};

static double
latency(const struct message *message)
{
    return (double) (bench_clock() - message->sent) / 1e3;
}

/* --- the loop's end --- */

static void
message_answer(const struct message *message)
{
    struct producer *producer = message->producer;
    struct delivery *delivery = producer->delivery;

    if (delivery->kind == WAKE)
        delivery->latencies[message->number] = latency(message);
    if (delivery->kind == TRIP_ASLEEP)
        sem_post(&producer->answer);
    else if (delivery->kind != FLOOD || producer->received % RELEASE == 0)
        /* Pairs with the acquire in producer_wait(): the messages are the producer's again. */
        atomic_store_explicit(&producer->released, producer->received, memory_order_release);
}

void
delivery_receive(void *arg)
{
    const struct message *message = arg;
    struct producer *producer = message->producer;
    struct delivery *delivery = producer->delivery;

    if (message->number != producer->received++) {
        delivery->wrong = true;
        delivery->finish();
        return;
    }
    message_answer(message);
    if (++delivery->received == delivery->expected) {
        delivery->ended = bench_clock();
        delivery->finish();
    }
}

void
delivery_go(void *arg)
{
    struct delivery *delivery = arg;

    delivery->began = bench_clock();
    atomic_store_explicit(&delivery->go, true, memory_order_release);
}

/* --- the producers' --- */

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
    struct message *message = &producer->ring[number % DELIVERY_RING];

    message->number = number;
    return message;
}

static void
producer_begin(const struct producer *producer)
{
    bench_pin(producer->place);
    for (unsigned turn = 0; !atomic_load_explicit(&producer->delivery->go, memory_order_acquire);
         turn++)
        bench_relax(turn);
}

static void *
producer_flood(void *arg)
{
    const struct producer *producer = arg;
    uint64_t free_until = DELIVERY_RING;

    producer_begin(producer);
    for (uint64_t i = 0; i < producer->posts; i++) {
        if (i == free_until) {
            producer_wait(producer, i - DELIVERY_RING / 2);
            free_until = i + DELIVERY_RING / 2;
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
    const struct producer *producer = arg;

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

static void
producer_sleep(struct producer *producer)
{
    while (sem_wait(&producer->answer) < 0) {
        if (errno != EINTR)
            bench_die("sem_wait: %s", strerror(errno));
    }
}

static void *
producer_trip(void *arg)
{
    struct producer *producer = arg;

    producer_begin(producer);
    for (uint64_t i = 0; i < producer->posts; i++) {
        struct message *message = producer_message(producer, i);

        message->sent = bench_clock();
        producer->post(message);
        if (producer->delivery->kind == TRIP_ASLEEP)
            producer_sleep(producer);
        else
            producer_wait(producer, i + 1);
        producer->delivery->latencies[i] = latency(message);
    }
    return NULL;
}

/* --- a round --- */

unsigned
delivery_place(unsigned producer)
{
    return bench_places() > 1 ? 1 + producer % (bench_places() - 1) : 0;
}

unsigned
delivery_processor(unsigned place)
{
    unsigned processor;

    bench_pin(place);
    processor = (unsigned) sched_getcpu();
    bench_pin(0);
    return processor;
}

static struct delivery *
delivery_new(const struct delivery_loop *loop, enum kind kind, unsigned producers, size_t posts)
{
    struct delivery *delivery = bench_allocate(sizeof *delivery);

    delivery->kind = kind;
    delivery->producer_count = producers;
    delivery->finish = loop->finish;
    for (unsigned i = 0; i < producers; i++) {
        struct producer *producer = &delivery->producers[i];

        producer->delivery = delivery;
        producer->post = loop->post;
        producer->posts = posts / producers;
        producer->place = kind == TRIP_ASLEEP ? 0 : delivery_place(i);
        producer->ring = bench_allocate(DELIVERY_RING * sizeof *producer->ring);
        for (unsigned k = 0; k < DELIVERY_RING; k++)
            producer->ring[k].producer = producer;
        if (sem_init(&producer->answer, 0, 0) < 0)
            bench_die("sem_init: %s", strerror(errno));
        delivery->expected += producer->posts;
    }
    if (kind != FLOOD)
        delivery->latencies = bench_allocate(posts * sizeof *delivery->latencies);
    return delivery;
}

static void
producers_start(struct delivery *delivery, void *(*body)(void *) )
{
    for (unsigned i = 0; i < delivery->producer_count; i++) {
        struct producer *producer = &delivery->producers[i];
        int error = pthread_create(&producer->thread, NULL, body, producer);

        if (error != 0)
            bench_die("starting a thread: %s", strerror(error));
    }
}

/* Some may wait for messages that will not come back when one was wrong. */
static void
producers_join(struct delivery *delivery)
{
    if (delivery->wrong)
        bench_die("a message came twice, or out of order");
    for (unsigned i = 0; i < delivery->producer_count; i++) {
        struct producer *producer = &delivery->producers[i];

        pthread_join(producer->thread, NULL);
        sem_destroy(&producer->answer);
        free(producer->ring);
    }
}

static bool
delivery_measure(const struct delivery_loop *loop, struct delivery *delivery, void *(*body)(void *),
                 double values[])
{
    bool right;

    loop->open();
    producers_start(delivery, body);
    loop->run(delivery);
    producers_join(delivery);
    right = loop->close() && delivery->received == delivery->expected;
    if (delivery->latencies != NULL) {
        bench_sort(delivery->latencies, delivery->expected);
        values[0] = bench_quantile(delivery->latencies, delivery->expected, 0.5);
        values[1] = bench_quantile(delivery->latencies, delivery->expected, 0.99);
    } else {
        values[0] =
            (double) delivery->expected / (double) (delivery->ended - delivery->began) * 1e3;
    }
    free(delivery->latencies);
    free(delivery);
    return right;
}

bool
delivery_flood(const struct delivery_loop *loop, unsigned producers, size_t posts, double values[])
{
    return delivery_measure(loop, delivery_new(loop, FLOOD, producers, posts), producer_flood,
                            values);
}

bool
delivery_wakes(const struct delivery_loop *loop, size_t messages, double values[])
{
    return delivery_measure(loop, delivery_new(loop, WAKE, 1, messages), producer_wake, values);
}

bool
delivery_trips(const struct delivery_loop *loop, size_t messages, bool same_place, double values[])
{
    enum kind kind = same_place ? TRIP_ASLEEP : TRIP;

    return delivery_measure(loop, delivery_new(loop, kind, 1, messages), producer_trip, values);
}
