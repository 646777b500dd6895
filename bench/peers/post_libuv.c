/* SPDX-License-Identifier: MIT */

/*
 * What bench_post and bench_idle measure, with libuv: an array behind a mutex, and uv_async_send(),
 * which rings once for many. Its arguments are a row's name, how many messages each producer sends,
 * and for each producer the processor it runs on. It prints M/s of a flood, else p50 and p99 in us,
 * and fails when its counts do not add up.
 */

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
    RING = 1024, /* messages of one producer that are under way */
    PRODUCERS_MAX = 4,
    RELEASE = 64, /* so many of them go back to the producer at a time */
    QUEUE = RING * PRODUCERS_MAX,
    PAUSE = 50 * 1000, /* ns before a wake */
};

enum row { FLOOD, WAKES, TRIPS, ROWS };

struct message {
    struct producer *producer;
    uint64_t number;
    uint64_t sent;
};

struct producer {
    uv_thread_t thread;
    unsigned processor;
    struct message ring[RING];
    _Alignas(64) uint64_t received;
    _Alignas(64) atomic_uint_fast64_t released;
    sem_t answer;
};

static struct {
    _Alignas(64) uv_mutex_t mutex;
    struct message **messages; /* one of the two below: the other one is the loop's */
    size_t count;
    struct message *arrays[2][QUEUE];
} queue;

static struct {
    enum row row;
    unsigned producer_count;
    uint64_t each;
    struct producer producers[PRODUCERS_MAX];
    double *latencies;
    uint64_t received;
    uint64_t ended;
    uv_async_t doorbell;
    atomic_bool go;
} run;

static void
fail(const char *what)
{
    fprintf(stderr, "post_libuv: %s\n", what);
    exit(1);
}

static double
latency(const struct message *message)
{
    return (double) (uv_hrtime() - message->sent) / 1e3;
}

/* --- the loop's end --- */

static void
message_receive(const struct message *message)
{
    struct producer *producer = message->producer;

    if (message->number != producer->received++)
        fail("a message came twice, or out of order");
    if (run.row == WAKES)
        run.latencies[message->number] = latency(message);
    if (run.row == TRIPS)
        sem_post(&producer->answer);
    else if (run.row == WAKES || producer->received % RELEASE == 0)
        /* Pairs with the acquire in producer_wait(). */
        atomic_store_explicit(&producer->released, producer->received, memory_order_release);
    run.received++;
}

static void
doorbell_answer(uv_async_t *doorbell)
{
    struct message **messages;
    size_t count;

    uv_mutex_lock(&queue.mutex);
    messages = queue.messages;
    count = queue.count;
    queue.messages = queue.arrays[messages == queue.arrays[0]];
    queue.count = 0;
    uv_mutex_unlock(&queue.mutex);
    for (size_t i = 0; i < count; i++)
        message_receive(messages[i]);
    if (run.received == run.each * run.producer_count) {
        run.ended = uv_hrtime();
        uv_stop(doorbell->loop);
    }
}

/* --- the producers' --- */

static void
post(struct message *message)
{
    uv_mutex_lock(&queue.mutex);
    queue.messages[queue.count++] = message;
    uv_mutex_unlock(&queue.mutex);
    if (uv_async_send(&run.doorbell) != 0)
        fail("uv_async_send");
}

static void
relax(unsigned turn)
{
    if (turn % 64 == 63)
        sched_yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void
producer_wait(const struct producer *producer, uint64_t released)
{
    for (unsigned turn = 0;
         atomic_load_explicit(&producer->released, memory_order_acquire) < released; turn++)
        relax(turn);
}

static void
producer_pause(void)
{
    uint64_t until = uv_hrtime() + PAUSE;

    for (unsigned turn = 0; uv_hrtime() < until; turn++)
        relax(turn);
}

static void
producer_send(struct producer *producer, uint64_t number)
{
    struct message *message = &producer->ring[number % RING];

    *message = (struct message){.producer = producer, .number = number};
    if (run.row == WAKES)
        producer_pause();
    if (run.row != FLOOD)
        message->sent = uv_hrtime();
    post(message);
    if (run.row == WAKES)
        producer_wait(producer, number + 1);
    if (run.row == TRIPS) {
        while (sem_wait(&producer->answer) < 0)
            ;
        run.latencies[number] = latency(message);
    }
}

static void
producer_run(void *arg)
{
    struct producer *producer = arg;
    uint64_t free_until = RING;
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(producer->processor, &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        fail("pinning to a processor");
    for (unsigned turn = 0; !atomic_load(&run.go); turn++)
        relax(turn);
    for (uint64_t i = 0; i < run.each; i++) {
        if (run.row == FLOOD && i == free_until) {
            producer_wait(producer, i - RING / 2);
            free_until = i + RING / 2;
        }
        producer_send(producer, i);
    }
}

/* --- a run --- */

static double
run_measure(uv_loop_t *loop, uint64_t each)
{
    uint64_t began;

    run.each = each;
    run.received = 0;
    atomic_store(&run.go, false);
    run.latencies = calloc(each, sizeof *run.latencies);
    for (unsigned i = 0; i < run.producer_count; i++) {
        struct producer *producer = &run.producers[i];

        producer->received = 0;
        atomic_store(&producer->released, 0);
        if (uv_thread_create(&producer->thread, producer_run, producer) != 0)
            fail("starting a thread");
    }
    began = uv_hrtime();
    atomic_store(&run.go, true);
    uv_run(loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < run.producer_count; i++) {
        uv_thread_join(&run.producers[i].thread);
        if (run.producers[i].received != each)
            fail("the counts are wrong");
    }
    return (double) (run.ended - began);
}

static int
value_compare(const void *left, const void *right)
{
    double a = *(const double *) left, b = *(const double *) right;

    return (a > b) - (a < b);
}

static void
run_print(double took)
{
    if (run.row == FLOOD) {
        printf("%f\n", (double) run.received / took * 1e3);
        return;
    }
    qsort(run.latencies, run.each, sizeof run.latencies[0], value_compare);
    printf("%f %f\n", run.latencies[run.each / 2], run.latencies[run.each * 99 / 100]);
}

static bool
arguments_parse(int argc, char **argv)
{
    static const char *const names[ROWS] = {
        [FLOOD] = "flood", [WAKES] = "wakes", [TRIPS] = "trips"};

    if (argc < 4 || argc - 3 > PRODUCERS_MAX)
        return false;
    while (run.row < ROWS && strcmp(argv[1], names[run.row]) != 0)
        run.row++;
    run.each = strtoul(argv[2], NULL, 10);
    run.producer_count = (unsigned) argc - 3;
    for (unsigned i = 0; i < run.producer_count; i++)
        run.producers[i].processor = (unsigned) strtoul(argv[3 + i], NULL, 10);
    return run.row < ROWS && run.each > 0;
}

int
main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uint64_t each;

    if (!arguments_parse(argc, argv)) {
        fprintf(stderr, "usage: post_libuv ROW MESSAGES PROCESSOR...\n");
        return 2;
    }
    each = run.each;
    queue.messages = queue.arrays[0];
    if (uv_mutex_init(&queue.mutex) != 0 ||
        uv_async_init(loop, &run.doorbell, doorbell_answer) != 0)
        fail("starting");
    for (unsigned i = 0; i < run.producer_count; i++)
        sem_init(&run.producers[i].answer, 0, 0);
    run_measure(loop, each / 10 + 1);
    free(run.latencies);
    run_print(run_measure(loop, each));
    return 0;
}
