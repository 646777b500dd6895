/* SPDX-License-Identifier: MIT */

/*
 * A TCP echo server on one processor, and on another one a client that keeps connections open, with
 * one message in flight on each. The floor is what plain C on epoll needs for the same.
 *
 * From some 50 connections on the client's processor is full too: what the fast ones differ in is
 * then the processor time that the server takes for a message.
 *
 * `bench_echo --serve SUBJECT PORT` and `bench_echo --client PORT CONNECTIONS SIZE SECONDS` are for
 * looking at one subject with other tools, `--only TEXT` (what the name of a comparison has in it)
 * and `--subjects NAME,...` for comparing but some.
 */

#include "support/bench.h"
#include "support/echo_compare.h"

#include <stdio.h>

enum {
    MESSAGE = 64,
    MESSAGE_LARGE = 16 * 1024,
    CONNECTIONS_MOST = 10 * 1000,
};

static const struct bench_metric metrics[] = {
    {.name = "messages", .unit = "/s", .more_is_better = true},
    {.name = "server's processor time", .unit = "us a message"},
    {.name = "latency, median", .unit = "us"},
    {.name = "latency, 99 of 100", .unit = "us"},
};

static bool
subject_run(const struct echo_subject *subject, const void *load, double values[])
{
    return echo_measure(subject, echo_client_exchange, load, values);
}

static struct echo_load
load_make(size_t connections, size_t size)
{
    struct echo_load load = {
        .connections = connections,
        .size = size,
        .warm = 0.1,
        .seconds = 0.5,
    };

    if (bench_quick()) {
        load.warm = 0.01;
        load.seconds = 0.03;
    } else if (connections == CONNECTIONS_MOST) {
        /* A message of each takes a tenth of a second. */
        load.warm = 0.4;
        load.seconds = 1.0;
    }
    return load;
}

static void
load_compare(size_t connections, size_t size, const char *what, const char *const names[],
             bool with_peers, bool client_spins)
{
    struct echo_load load = load_make(connections, size);
    const struct echo_comparison comparison = {
        .what = what,
        .metrics = metrics,
        .metric_count = COUNT(metrics),
        .names = names,
        .connections = connections,
        .with_peers = with_peers,
        .run = subject_run,
    };

    load.spin = client_spins;
    if (bench_quick())
        bench_rounds_at_most(1);
    echo_compare(&comparison, &load);
}

static void
size_compare(size_t size, const char *size_name, const char *const names[])
{
    static const struct {
        size_t connections;
        const char *name;
        bool quick;
    } loads[] = {
        {1, "1 connection", true},
        {50, "50 connections", false},
        {1000, "1,000 connections", true},
        {CONNECTIONS_MOST, "10,000 connections", false},
    };

    for (size_t i = 0; i < COUNT(loads); i++) {
        char what[64];

        if (bench_quick() && !loads[i].quick)
            continue;
        snprintf(what, sizeof what, "%s, %s", size_name, loads[i].name);
        load_compare(loads[i].connections, size, what, names, true, false);
    }
}

int
main(int argc, char **argv)
{
    static const char *const all[] = {
        "floor", "fds", "streams", "fds-uring", "streams-uring", "floor-uring", "libuv",
        "boost", "st",  "pth",     "go",        "uvloop",        "asyncio",     NULL,
    };
    static const char *const spinning[] = {"floor", "fds-spin", "streams-spin", "floor-spin", NULL};
    int status;

    if (echo_alone(argc, argv, &status))
        return status;
    echo_choose(&argc, argv);
    bench_begin("bench_echo", "a TCP echo server", argc, argv);
    echo_begin();
    load_compare(1, MESSAGE, "64 bytes, 1 connection, spinning", spinning, false, false);
    load_compare(1, MESSAGE, "64 bytes, 1 connection, spinning, as is the client", spinning, false,
                 true);
    size_compare(MESSAGE, "64 bytes", all);
    size_compare(MESSAGE_LARGE, "16 KiB", all);
    return bench_end();
}
