/* SPDX-License-Identifier: MIT */
#ifndef ECHO_COMPARE_H
#define ECHO_COMPARE_H

/* Comparisons of echo servers. */

#include "bench.h"
#include "echo_server.h"

/** One round with one server. As bench_run. */
typedef bool echo_run(const struct echo_subject *subject, const void *arg, double values[]);

struct echo_comparison {
    const char *what;
    const struct bench_metric *metrics;
    size_t metric_count;
    const char *const *names; /* of the subjects, NULL-terminated; the floor comes first */
    size_t connections;       /* at once: not every peer can have as many as one likes */
    bool with_peers;
    echo_run *run;
};

/**
 * For main(), before bench_begin(): takes out of the arguments
 *     --only TEXT           the comparisons whose name has that in it
 *     --subjects NAME,...   these beside the floor, by their names for --serve
 */
void echo_choose(int *argc, char **argv);

/** bench_compare() or bench_compare_peers() of such servers. */
void echo_compare(const struct echo_comparison *comparison, const void *arg);

/**
 * A round with a server of its own: measures with echo_client_exchange() or echo_client_visit().
 *
 * @values: Of each second, server's processor time for one in us, median and 99 of 100 of the
 *          latency in us.
 */
typedef bool echo_client(uint16_t port, const struct echo_load *load, echo_mark *mark, void *arg,
                         struct echo_figures *figures);
bool echo_measure(const struct echo_subject *subject, echo_client *client,
                  const struct echo_load *load, double values[]);

#endif
