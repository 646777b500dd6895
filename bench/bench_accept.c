/* SPDX-License-Identifier: MIT */

/*
 * Connections that come and go: a client connects, sends 64 bytes, gets them back, and resets the
 * connection, so that no port has to wait for its next use. Server and client are those of
 * bench_echo, each on its processor, and several connections are open at once.
 *
 * Opening one costs the client as much as it costs the server: compare by the server's processor
 * time.
 */

#include "support/bench.h"
#include "support/echo_compare.h"

enum { MESSAGE = 64 };

static bool
subject_run(const struct echo_subject *subject, const void *load, double values[])
{
    return echo_measure(subject, echo_client_visit, load, values);
}

static void
visits_compare(const char *what, size_t connections)
{
    static const struct bench_metric metrics[] = {
        {.name = "connections", .unit = "/s", .more_is_better = true},
        {.name = "server's processor time", .unit = "us a connection"},
        {.name = "open to echo, median", .unit = "us"},
        {.name = "open to echo, 99 of 100", .unit = "us"},
    };
    static const char *const names[] = {
        "floor", "fds", "streams", "fds-uring", "streams-uring", "floor-uring", "libuv",
        "boost", "st",  "pth",     "go",        "uvloop",        "asyncio",     NULL,
    };
    const struct echo_load load = {
        .connections = connections,
        .size = MESSAGE,
        .warm = bench_quick() ? 0.01 : 0.1,
        .seconds = bench_quick() ? 0.03 : 0.5,
    };
    const struct echo_comparison comparison = {
        .what = what,
        .metrics = metrics,
        .metric_count = COUNT(metrics),
        .names = names,
        .connections = connections,
        .with_peers = true,
        .run = subject_run,
    };

    if (bench_quick())
        bench_rounds_at_most(1);
    echo_compare(&comparison, &load);
}

int
main(int argc, char **argv)
{
    int status;

    if (echo_alone(argc, argv, &status))
        return status;
    echo_choose(&argc, argv);
    bench_begin("bench_accept", "connections for one message each", argc, argv);
    echo_begin();
    visits_compare("1 connection at once", 1);
    visits_compare("50 connections at once", 50);
    if (!bench_quick())
        visits_compare("1,000 connections at once", 1000);
    return bench_end();
}
