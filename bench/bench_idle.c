/* SPDX-License-Identifier: MIT */

/* Work from foreign threads: how soon a loop that sleeps wakes for one piece of it, and answers. */

#include "support/bench.h"
#include "support/delivery.h"
#include "support/delivery_loops.h"
#include "support/delivery_peers.h"

enum {
    WAKES = 2000, /* a round; Python's do a part */
    TRIPS = 5000,
    PYTHON_DIVISOR = 4,
};

/* --- waking an idle loop --- */

static bool
wakes_floor(const void *arg, double values[])
{
    (void) arg;
    return delivery_wakes(&floor_list, bench_scaled(WAKES), values);
}

static bool
wakes_mutex(const void *arg, double values[])
{
    (void) arg;
    return delivery_wakes(&floor_mutex, bench_scaled(WAKES), values);
}

static bool
wakes_uco(const void *arg, double values[])
{
    (void) arg;
    return delivery_wakes(&uco_posts, bench_scaled(WAKES), values);
}

static bool
wakes_libuv(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_wakes(&peer_libuv, bench_scaled(WAKES), values);
}

static bool
wakes_go(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_wakes(&peer_go, bench_scaled(WAKES), values);
}

static bool
wakes_asyncio(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_wakes(&peer_asyncio, bench_scaled(WAKES) / PYTHON_DIVISOR, values);
}

static bool
wakes_uvloop(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_wakes(&peer_uvloop, bench_scaled(WAKES) / PYTHON_DIVISOR, values);
}

/* --- there and back, to a thread that sleeps on the same processor --- */

static bool
trips_floor(const void *arg, double values[])
{
    (void) arg;
    return delivery_trips(&floor_list, bench_scaled(TRIPS), true, values);
}

static bool
trips_mutex(const void *arg, double values[])
{
    (void) arg;
    return delivery_trips(&floor_mutex, bench_scaled(TRIPS), true, values);
}

static bool
trips_uco(const void *arg, double values[])
{
    (void) arg;
    return delivery_trips(&uco_posts, bench_scaled(TRIPS), true, values);
}

static bool
trips_libuv(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_trips(&peer_libuv, bench_scaled(TRIPS), values);
}

static bool
trips_go(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_trips(&peer_go, bench_scaled(TRIPS), values);
}

static bool
trips_asyncio(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_trips(&peer_asyncio, bench_scaled(TRIPS) / PYTHON_DIVISOR, values);
}

static bool
trips_uvloop(const void *arg, double values[])
{
    (void) arg;
    return delivery_peer_trips(&peer_uvloop, bench_scaled(TRIPS) / PYTHON_DIVISOR, values);
}

/* --- there and back, to a thread that looks for the answer on another processor --- */

static bool
busy_floor(const void *arg, double values[])
{
    (void) arg;
    return delivery_trips(&floor_list, bench_scaled(TRIPS), false, values);
}

static bool
busy_uco(const void *arg, double values[])
{
    (void) arg;
    return delivery_trips(&uco_posts, bench_scaled(TRIPS), false, values);
}

static bool
busy_uco_spinning(const void *arg, double values[])
{
    (void) arg;
    return delivery_trips(&uco_posts_spinning, bench_scaled(TRIPS), false, values);
}

/* --- the rows --- */

static const struct bench_metric latencies[] = {
    {.name = "p50", .unit = "us"},
    {.name = "p99", .unit = "us"},
};

static void
wakes_compare(void)
{
    const struct bench_subject subjects[] = {
        {"floor: list, the caller's nodes, doorbell", wakes_floor, NULL},
        {"floor: mutex, array, doorbell", wakes_mutex, NULL},
        {"uco_loop_post: the caller's nodes", wakes_uco, NULL},
        peer_subject_of("libuv: uv_async, mutex, array", &peer_libuv, wakes_libuv, NULL),
        peer_subject_of("Go: channel", &peer_go, wakes_go, NULL),
        peer_subject_of("asyncio: call_soon_threadsafe", &peer_asyncio, wakes_asyncio, NULL),
        peer_subject_of("uvloop: call_soon_threadsafe", &peer_uvloop, wakes_uvloop, NULL),
    };

    bench_compare_peers("waking an idle loop", latencies, COUNT(latencies), subjects,
                        COUNT(subjects), NULL);
}

static void
trips_compare(void)
{
    const struct bench_subject subjects[] = {
        {"floor: list, the caller's nodes, doorbell", trips_floor, NULL},
        {"floor: mutex, array, doorbell", trips_mutex, NULL},
        {"uco_loop_post: the caller's nodes", trips_uco, NULL},
        peer_subject_of("libuv: uv_async, mutex, array", &peer_libuv, trips_libuv, NULL),
        peer_subject_of("Go: channels", &peer_go, trips_go, NULL),
        peer_subject_of("asyncio: call_soon_threadsafe", &peer_asyncio, trips_asyncio, NULL),
        peer_subject_of("uvloop: call_soon_threadsafe", &peer_uvloop, trips_uvloop, NULL),
    };

    bench_compare_peers("round trip on one processor", latencies, COUNT(latencies), subjects,
                        COUNT(subjects), NULL);
}

/* The first one is what the ratios are to. */
static void
busy_compare(void)
{
    bool can_be = bench_places() > 1;
    const char *why_not = "there is one processor only";
    const struct bench_subject subjects[] = {
        {"uco_loop_post: the loop blocks at once", can_be ? busy_uco : NULL, why_not},
        {"uco_loop_post: the loop spins for 50 us", can_be ? busy_uco_spinning : NULL, why_not},
        {"floor: list, the caller's nodes, doorbell", can_be ? busy_floor : NULL, why_not},
    };

    bench_compare("round trip to a busy thread", latencies, COUNT(latencies), subjects,
                  COUNT(subjects), NULL);
}

int
main(int argc, char **argv)
{
    bench_begin("bench_idle", "an idle loop and other threads", argc, argv);
    wakes_compare();
    trips_compare();
    busy_compare();
    return bench_end();
}
