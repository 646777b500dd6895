/* SPDX-License-Identifier: MIT */

/* Work from foreign threads: how much of it a loop takes in. */

#include "support/bench.h"
#include "support/delivery.h"
#include "support/delivery_loops.h"
#include "support/delivery_peers.h"

#include <stdio.h>

enum { POSTS = 1000 * 1000 }; /* a round, by all producers together */

static bool
flood_measure(const struct delivery_loop *loop, const void *producers, double values[])
{
    return delivery_flood(loop, *(const unsigned *) producers, bench_scaled(POSTS), values);
}

static bool
list_run(const void *producers, double values[])
{
    return flood_measure(&floor_list, producers, values);
}

static bool
list_run_allocating(const void *producers, double values[])
{
    return flood_measure(&floor_list_allocating, producers, values);
}

static bool
mutex_run(const void *producers, double values[])
{
    return flood_measure(&floor_mutex, producers, values);
}

static bool
posts_run(const void *producers, double values[])
{
    return flood_measure(&uco_posts, producers, values);
}

static bool
callbacks_run(const void *producers, double values[])
{
    return flood_measure(&uco_callbacks, producers, values);
}

static bool
peer_flood(const struct peer_program *peer, const void *producers, double values[])
{
    return delivery_peer_flood(peer, *(const unsigned *) producers, bench_scaled(POSTS), values);
}

static bool
libuv_run(const void *producers, double values[])
{
    return peer_flood(&peer_libuv, producers, values);
}

static bool
go_run(const void *producers, double values[])
{
    return peer_flood(&peer_go, producers, values);
}

static bool
asyncio_run(const void *producers, double values[])
{
    return peer_flood(&peer_asyncio, producers, values);
}

static bool
uvloop_run(const void *producers, double values[])
{
    return peer_flood(&peer_uvloop, producers, values);
}

int
main(int argc, char **argv)
{
    static const struct bench_metric rate = {
        .name = "posts", .unit = "M/s", .more_is_better = true};
    static const unsigned producers[] = {1, 4};
    const struct bench_subject subjects[] = {
        {"floor: list, the caller's nodes, doorbell", list_run, NULL},
        {"floor: the same with malloc and free", list_run_allocating, NULL},
        {"floor: mutex, array, doorbell", mutex_run, NULL},
        {"uco_loop_post: the caller's nodes", posts_run, NULL},
        {"uco_loop_call_soon_threadsafe: uco's nodes", callbacks_run, NULL},
        peer_subject_of("libuv: uv_async, mutex, array", &peer_libuv, libuv_run, NULL),
        peer_subject_of("Go: channel of 1,024", &peer_go, go_run, NULL),
        peer_subject_of("asyncio: call_soon_threadsafe", &peer_asyncio, asyncio_run, NULL),
        peer_subject_of("uvloop: call_soon_threadsafe", &peer_uvloop, uvloop_run, NULL),
    };

    bench_begin("bench_post", "callbacks from other threads", argc, argv);
    for (size_t i = 0; i < COUNT(producers); i++) {
        char what[32];

        snprintf(what, sizeof what, "%u producer%s", producers[i], producers[i] > 1 ? "s" : "");
        bench_compare_peers(what, &rate, 1, subjects, COUNT(subjects), &producers[i]);
    }
    return bench_end();
}
