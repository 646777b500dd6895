/* SPDX-License-Identifier: MIT */

#include "fetch_uco.h"

#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <uco/http.h>
#include <uco/testing.h>
#include <uco/uco.h>

/* Seconds, of requests: on a slow machine none may end early. */
#define PATIENCE 600

/* Seconds in which curl has long sent what it has to send. */
#define SENT 0.05

enum { READ_BYTES = 64 * 1024 };

struct worker {
    uco_http_client *client;
    struct fetching *fetching;
};

static uco_http_client *
client_open(const struct fetch_load *load)
{
    const uco_http_client_options options = {
        .max_connections = load->connections,
        .max_per_host = load->connections,
        .timeout = PATIENCE,
        .read_timeout = PATIENCE,
        .connect_timeout = PATIENCE,
        .proxy = "",
    };
    uco_http_client *client = uco_http_client_new(&options);

    if (client == NULL)
        bench_die("uco_http_client_new: %s", uco_strerror(-errno));
    return client;
}

/* --- requests --- */

static int
worker_tell(const struct worker *worker, const char *what, int error)
{
    if (error != -ECANCELED)
        fprintf(stderr, "%s: %s\n", what, uco_http_error(worker->client));
    return error;
}

static int
page_get(const struct worker *worker)
{
    struct fetching *fetching = worker->fetching;
    uco_http_response *response;
    int r = uco_http_get(worker->client, fetching->load->url, &response);

    if (r < 0)
        return worker_tell(worker, "uco_http_get", r);
    fetch_arrived(fetching, response->status, response->text, response->size);
    uco_http_response_free(response);
    return 0;
}

static intptr_t
get_body(void *arg)
{
    struct worker *worker = arg;
    int r = 0;

    while (worker->fetching->left > 0 && r == 0) {
        worker->fetching->left--;
        r = page_get(worker);
    }
    return r;
}

static int
page_stream(const struct worker *worker, char *buffer)
{
    struct fetching *fetching = worker->fetching;
    const uco_http_request_options request = {.url = fetching->load->url};
    uco_http_response *response;
    size_t size = 0;
    ssize_t n;
    int r = uco_http_stream(worker->client, &request, &response);

    if (r < 0)
        return worker_tell(worker, "uco_http_stream", r);
    while ((n = uco_http_read(response, buffer, READ_BYTES)) > 0) {
        fetch_arrived_part(fetching, size, buffer, (size_t) n);
        size += (size_t) n;
    }
    if (n == 0)
        fetch_arrived_all(fetching, response->status, size);
    uco_http_response_free(response);
    return n < 0 ? worker_tell(worker, "uco_http_read", (int) n) : 0;
}

static intptr_t
stream_body(void *arg)
{
    struct worker *worker = arg;
    char *buffer = bench_allocate(READ_BYTES);
    int r = 0;

    while (worker->fetching->left > 0 && r == 0) {
        worker->fetching->left--;
        r = page_stream(worker, buffer);
    }
    free(buffer);
    return r;
}

static void
workers_run(struct worker *worker, uco_fn *body)
{
    size_t count = worker->fetching->tasks;
    uco_future **tasks = bench_allocate(count * sizeof *tasks);
    intptr_t r;

    for (size_t i = 0; i < count; i++)
        tasks[i] = uco_create_task(body, worker);
    r = uco_gather(tasks, count, NULL);
    uco_unref_all(tasks, count);
    free(tasks);
    if (r < 0)
        bench_die("uco: %s", uco_strerror((int) r));
}

static void
get_fetch(void *client, struct fetching *fetching)
{
    struct worker worker = {.client = client, .fetching = fetching};

    workers_run(&worker, get_body);
}

static void
stream_fetch(void *client, struct fetching *fetching)
{
    struct worker worker = {.client = client, .fetching = fetching};

    workers_run(&worker, stream_body);
}

/* --- a ticker --- */

static intptr_t
ticker_body(void *arg)
{
    struct fetch_ticker *ticker = arg;

    for (;;) {
        uint64_t due = bench_clock() + FETCH_TICK_NS;
        int r = uco_sleep(FETCH_TICK_NS / 1e9);

        if (r < 0)
            return r;
        fetch_tick(ticker, bench_clock() - due);
    }
}

static void
ticks_fetch(void *client, struct fetching *fetching)
{
    uco_task *ticker = uco_create_task(ticker_body, fetching->ticker);

    get_fetch(client, fetching);
    uco_cancel(ticker);
    uco_join(ticker);
}

/* --- a round --- */

struct uco_round {
    const struct fetch_load *load;
    uco_fn *main;
    fetch_fn *fetch;
    double *values;
};

static intptr_t
fetch_main(void *arg)
{
    const struct uco_round *round = arg;
    uco_http_client *client = client_open(round->load);
    bool right = (round->fetch == ticks_fetch ? fetch_measure_ticks : fetch_measure)(
        client, round->load, round->fetch, round->values);

    uco_http_client_close(client);
    return right;
}

static bool
uco_round(const void *arg, double values[])
{
    struct uco_round round = *(const struct uco_round *) arg;
    /* That the machine is busy is no news. Looking for slow steps costs as much as ever. */
    const uco_loop_options options = {.slow_callback = 60};

    round.values = values;
    return uco_run_with(&options, round.main, &round) == true;
}

bool
uco_get_round(const struct fetch_load *load, double values[])
{
    const struct uco_round round = {.load = load, .main = fetch_main, .fetch = get_fetch};

    return fetch_round(uco_round, &round, load->connections + load->requests, values, 2);
}

bool
uco_stream_round(const struct fetch_load *load, double values[])
{
    const struct uco_round round = {.load = load, .main = fetch_main, .fetch = stream_fetch};

    return fetch_round(uco_round, &round, load->connections + load->requests, values, 2);
}

bool
uco_ticks_round(const struct fetch_load *load, double values[])
{
    const struct uco_round round = {.load = load, .main = fetch_main, .fetch = ticks_fetch};

    return fetch_round(uco_round, &round, load->requests, values, 3);
}

/* --- memory --- */

static void
waiting_settle(void)
{
    uco_test_settle();
    uco_sleep(SENT);
}

/* Tasks that wait, and how much memory they take: of those that come after the first ones, which
 * have the connections. */
static bool
waiting_measure(const struct fetch_load *load, uco_fn *body, void *arg, void (*release)(void *arg),
                double *each)
{
    size_t first = load->connections, count = first + load->tasks, joined = 0;
    uco_task **tasks = bench_allocate(count * sizeof *tasks);
    double start;

    for (size_t i = 0; i < first; i++)
        tasks[i] = uco_create_task(body, arg);
    waiting_settle();
    memory_taken(); /* what reading it takes is there from now on */
    start = memory_taken();
    for (size_t i = first; i < count; i++)
        tasks[i] = uco_create_task(body, arg);
    waiting_settle();
    *each = (memory_taken() - start) / (double) load->tasks;
    release(arg);
    for (size_t i = 0; i < count; i++)
        joined += uco_join(tasks[i]) == 0;
    free(tasks);
    return joined == count;
}

static intptr_t
queued_body(void *arg)
{
    return page_get(arg);
}

static void
queued_release(void *arg)
{
    (void) arg;
    fetch_hold(false);
}

static intptr_t
queued_main(void *arg)
{
    const struct uco_round *round = arg;
    const struct fetch_load *load = round->load;
    struct fetching warm = {.load = load, .tasks = load->connections, .left = load->connections};
    struct fetching queued = {.load = load};
    struct worker worker = {.client = client_open(load), .fetching = &queued};
    bool right;

    get_fetch(worker.client, &warm);
    fetch_hold(true);
    right = waiting_measure(load, queued_body, &worker, queued_release, round->values);
    uco_http_client_close(worker.client);
    return right && !warm.wrong && warm.done == load->connections && !queued.wrong &&
           queued.done == load->connections + load->tasks;
}

bool
uco_queued_round(const struct fetch_load *load, double values[])
{
    const struct uco_round round = {.load = load, .main = queued_main};

    return fetch_round(uco_round, &round, 2 * load->connections + load->tasks, values, 1);
}

static intptr_t
waiting_body(void *arg)
{
    return uco_event_wait(arg);
}

static void
waiting_release(void *arg)
{
    uco_event_set(arg);
}

static intptr_t
waiting_main(void *arg)
{
    const struct uco_round *round = arg;
    uco_event event = {0};

    return waiting_measure(round->load, waiting_body, &event, waiting_release, round->values);
}

bool
uco_waiting_round(const struct fetch_load *load, double values[])
{
    const struct uco_round round = {.load = load, .main = waiting_main};

    return fetch_round(uco_round, &round, 0, values, 1);
}
