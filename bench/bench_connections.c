/* SPDX-License-Identifier: MIT */

/*
 * The memory of an echo server's connections that only wait: by how much its process grows, page
 * tables included, divided by their number. What the kernel keeps for them is the same for all and
 * not in it. The servers are those of bench_echo.
 */

#include "support/bench.h"
#include "support/echo_compare.h"
#include "support/memory.h"

#include <stdio.h>
#include <time.h>

enum {
    CONNECTIONS = 10 * 1000,
    CONNECTIONS_QUICK = 1000,
    MESSAGE = 64,
    SETTLE_MS = 100, /* for those that free memory later */
};

struct round {
    struct echo_server server;
    double silent; /* bytes */
    double heard;
};

/* As memory_taken(), of another process. */
static double
server_memory(const struct echo_server *server)
{
    const struct timespec pause = {.tv_nsec = SETTLE_MS * 1000000L};
    char rollup[64], status[64];

    snprintf(rollup, sizeof rollup, "/proc/%d/smaps_rollup", (int) server->pid);
    snprintf(status, sizeof status, "/proc/%d/status", (int) server->pid);
    nanosleep(&pause, NULL);
    return (memory_kib(rollup, "\nRss:") + memory_kib(status, "\nVmPTE:")) * 1024;
}

static void
round_step(void *arg, bool heard)
{
    struct round *round = arg;

    *(heard ? &round->heard : &round->silent) = server_memory(&round->server);
}

static void
step_nothing(void *arg, bool heard)
{
    (void) arg;
    (void) heard;
}

/* At least a byte: all of them can be divided by. */
static double
growth_each(double from, double to, size_t connections)
{
    double each = (to - from) / (double) connections;

    return each > 1 ? each : 1;
}

static bool
subject_run(const struct echo_subject *subject, const void *arg, double values[])
{
    const struct echo_load *load = arg;
    const struct echo_load first = {.connections = 1, .size = load->size};
    struct round round = {0};
    double start;
    bool right;

    if (!echo_server_start(&round.server, subject))
        return false;
    /* What only the first connection needs is no other's. */
    right = echo_client_stay(round.server.port, &first, step_nothing, NULL);
    start = server_memory(&round.server);
    right = right && echo_client_stay(round.server.port, load, round_step, &round);
    right = echo_server_stop(&round.server) && right;
    values[0] = growth_each(start, round.silent, load->connections);
    values[1] = growth_each(start, round.heard, load->connections);
    return right && start > 0 && round.silent > 0 && round.heard > 0;
}

int
main(int argc, char **argv)
{
    static const struct bench_metric metrics[] = {
        {.name = "memory each, before the first byte", .unit = "bytes"},
        {.name = "memory each, after a message", .unit = "bytes"},
    };
    static const char *const names[] = {
        "floor", "streams", "fds", "streams-uring", "fds-uring", "floor-uring", "libuv", "boost",
        "st",    "pth",     "go",  "uvloop",        "asyncio",   NULL,
    };
    struct echo_load load = {.connections = CONNECTIONS, .size = MESSAGE};
    struct echo_comparison comparison = {
        .what = "10,000 idle connections",
        .metrics = metrics,
        .metric_count = COUNT(metrics),
        .names = names,
        .with_peers = true,
        .run = subject_run,
    };
    int status;

    if (echo_alone(argc, argv, &status))
        return status;
    echo_choose(&argc, argv);
    bench_begin("bench_connections", "the memory of idle connections", argc, argv);
    echo_begin();
    if (bench_quick()) {
        load.connections = CONNECTIONS_QUICK;
        comparison.what = "1,000 idle connections";
        bench_rounds_at_most(1);
    } else {
        bench_rounds_at_most(3);
    }
    comparison.connections = load.connections;
    echo_compare(&comparison, &load);
    return bench_end();
}
