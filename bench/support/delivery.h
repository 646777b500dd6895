/* SPDX-License-Identifier: MIT */
#ifndef DELIVERY_H
#define DELIVERY_H

/*
 * Messages from foreign threads to a loop, for the benchmarks of posts.
 *
 * Each producer has a ring of messages and waits when all of them are under way, so that no subject
 * gains by a queue that grows without bound. Messages are numbered: each must arrive once, and
 * those of one producer in order. The loop has place 0.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uco/loop.h>

enum {
    DELIVERY_RING = 1024, /* messages of one producer that are under way; the peers have the same */
    DELIVERY_PRODUCERS_MAX = 4,
};

struct delivery_node {
    struct delivery_node *next;
    void (*callback)(void *arg);
    void *arg;
};

struct message {
    struct producer *producer;
    uint64_t number;
    uint64_t sent; /* when; not in a flood */
    union {
        struct delivery_node floor;
        uco_post uco;
    } node;
};

/** How a subject posts. */
typedef void delivery_post(struct message *message);

/** First what the producer uses, then what the loop does; they share no cache line. */
struct producer {
    pthread_t thread;
    struct delivery *delivery;
    delivery_post *post;
    struct message *ring;
    uint64_t posts;
    unsigned place;
    _Alignas(64) uint64_t received;
    /* The part of `received` that the producer knows of. Were it told of each message, the line
     * that tells it would travel as often as the messages do. */
    _Alignas(64) atomic_uint_fast64_t released;
    sem_t answer; /* for who sleeps until it is answered */
};

/** A subject. */
struct delivery_loop {
    void (*open)(void);
    delivery_post *post;
    void (*run)(struct delivery *delivery); /* calls delivery_go(), and returns after finish() */
    void (*finish)(void);                   /* on the loop's thread */
    bool (*close)(void);                    /* when all producers are gone; false: it failed */
};

/** Callback of a loop: a message has arrived. */
void delivery_receive(void *message);

/** Callback of a loop: it takes messages from now on. */
void delivery_go(void *delivery);

/** So many posts, by all producers together, as fast as they can: values[0] is M/s. The producers
 * share the places that are not the loop's. */
bool delivery_flood(const struct delivery_loop *loop, unsigned producers, size_t posts,
                    double values[]);

/** A message at a time to a loop that has fallen asleep: how long it is under way, p50 and p99 in
 * us. */
bool delivery_wakes(const struct delivery_loop *loop, size_t messages, double values[]);

/** A message at a time, whose answer the producer waits for: p50 and p99 in us. It sleeps
 * meanwhile, in the loop's place; or looks all the time, in another. */
bool delivery_trips(const struct delivery_loop *loop, size_t messages, bool same_place,
                    double values[]);

/** The place of one of a flood's producers, and the processor that is. */
unsigned delivery_place(unsigned producer);
unsigned delivery_processor(unsigned place);

#endif
