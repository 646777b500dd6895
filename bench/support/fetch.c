/* SPDX-License-Identifier: MIT */

#include "fetch.h"

#include "child.h"
#include "nginx.h"
#include "peer.h"

#include <stdio.h>
#include <sys/resource.h>

enum { SERVER_PLACE = 1 };

static struct nginx server;

void
fetch_begin(void)
{
    nginx_start(&server, SERVER_PLACE);
}

void
fetch_end(void)
{
    nginx_stop(&server);
}

const char *
fetch_url(const char *page)
{
    char *url = bench_allocate(64);

    snprintf(url, 64, "http://127.0.0.1:%u/%s", (unsigned) server.port, page);
    return url;
}

void
fetch_hold(bool hold)
{
    nginx_hold(&server, hold);
}

/* --- answers --- */

void
fetch_arrived_part(struct fetching *fetching, size_t position, const char *text, size_t size)
{
    if (!nginx_page_check(position, text, size))
        fetching->wrong = true;
}

void
fetch_arrived_all(struct fetching *fetching, long status, size_t size)
{
    fetching->done++;
    if (status != 200 || size != fetching->load->size)
        fetching->wrong = true;
}

void
fetch_arrived(struct fetching *fetching, long status, const char *text, size_t size)
{
    fetch_arrived_part(fetching, 0, text, size);
    fetch_arrived_all(fetching, status, size);
}

/* --- a subject's process --- */

/* ms. What is alike is counted together, so that a part of all could seem later than the last. */
static double
ticker_quantile(const struct fetch_ticker *ticker, double part)
{
    double late = echo_latency_quantile(&ticker->lateness, part);

    return (late < ticker->most ? late : ticker->most) / 1e6;
}

static double
processor_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

bool
fetch_measure(void *client, const struct fetch_load *load, fetch_fn *fetch, double values[])
{
    struct fetching warm = {
        .load = load,
        .tasks = load->connections,
        .left = load->connections,
    };
    struct fetching measured = {.load = load, .tasks = load->tasks, .left = load->requests};
    double processor;
    uint64_t began;

    fetch(client, &warm);
    processor = processor_time();
    began = bench_clock();
    fetch(client, &measured);
    values[0] = (double) measured.done / ((double) (bench_clock() - began) / 1e9);
    values[1] = (processor_time() - processor) / (double) measured.done * 1e6;
    return !warm.wrong && !measured.wrong && warm.done == load->connections &&
           measured.done == load->requests;
}

void
fetch_tick(struct fetch_ticker *ticker, uint64_t late)
{
    echo_latency_add(&ticker->lateness, late);
    if ((double) late > ticker->most)
        ticker->most = (double) late;
}

bool
fetch_measure_ticks(void *client, const struct fetch_load *load, fetch_fn *fetch, double values[])
{
    struct fetch_ticker ticker = {.most = 0};
    struct fetching measured = {
        .load = load,
        .tasks = load->tasks,
        .left = load->requests,
        .ticker = &ticker,
    };

    echo_latency_init(&ticker.lateness);
    fetch(client, &measured);
    values[0] = ticker_quantile(&ticker, 0.5);
    values[1] = ticker_quantile(&ticker, 0.99);
    values[2] = ticker.most / 1e6;
    echo_latency_done(&ticker.lateness);
    return !measured.wrong && measured.done == load->requests && ticker.lateness.count > 0;
}

/* --- the benchmark's process --- */

static bool
count_is_right(uint64_t before, size_t requests)
{
    uint64_t answers;

    /* A round that has died may have left it so. */
    fetch_hold(false);
    answers = nginx_answers(&server) - before;
    if (answers != requests)
        fprintf(stderr, "nginx had %llu requests instead of %zu\n", (unsigned long long) answers,
                requests);
    return answers == requests;
}

bool
fetch_round(bench_run *run, const void *arg, size_t requests, double values[], size_t count)
{
    uint64_t before = nginx_answers(&server);
    bool right = child_measure(run, arg, values, count);

    return count_is_right(before, requests) && right;
}

bool
fetch_peer_round(const char *const argv[], size_t requests, double values[], size_t count)
{
    uint64_t before = nginx_answers(&server);
    bool right = peer_measure(argv, values, count);

    return count_is_right(before, requests) && right;
}
