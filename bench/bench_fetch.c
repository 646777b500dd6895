/* SPDX-License-Identifier: MIT */

/*
 * Fetching pages of 1 KiB and 1 MiB over and over from nginx on this machine, on connections that
 * are kept alive. The floor is libcurl without anything above it: its multi interface, driven by an
 * epoll loop. It copies bodies to memory that is there before; uco_http_get() and the peers give
 * them to their users in memory as well (but curl, to /dev/null).
 *
 * Then: requests that wait for a connection, far more than there may be fds; and how late others
 * are while a thousand transfers run.
 *
 * `--only TEXT` (what the name of a comparison has in it) and `--alone` (without peers) are for who
 * works on one of them.
 */

#include "support/bench.h"
#include "support/fetch.h"
#include "support/fetch_floor.h"
#include "support/fetch_peers.h"
#include "support/fetch_uco.h"
#include "support/nginx.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum {
    OTHER_FDS = 50, /* that a client has */
    QUEUE_CONNECTIONS = 64,
    QUEUE_FDS = 1024,
    QUEUE_TASKS = 10 * 1000,
    QUEUE_TASKS_QUICK = 1000,
    TICKS_CONNECTIONS = 1000,
    TICKS_REQUESTS = 20 * 1000,
};

static struct {
    const char *only; /* NULL: all */
    bool alone;
} chosen;

/* Takes out the arguments that are not bench_begin()'s. */
static void
choose(int *argc, char **argv)
{
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--only") == 0 && i + 1 < *argc)
            chosen.only = argv[++i];
        else if (strcmp(argv[i], "--alone") == 0)
            chosen.alone = true;
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    *argc = kept;
}

/* --- the subjects --- */

static const struct floor_way bare = {0};
static const struct floor_way bare_deferred = {.deferred = true};
static const struct floor_way large = {.buffer = 100 * 1024};
static const struct floor_way large_deferred = {.buffer = 100 * 1024, .deferred = true};

static bool
bare_run(const void *load, double values[])
{
    return floor_fetch_round(load, &bare, values);
}

static bool
bare_deferred_run(const void *load, double values[])
{
    return floor_fetch_round(load, &bare_deferred, values);
}

static bool
large_run(const void *load, double values[])
{
    return floor_fetch_round(load, &large, values);
}

static bool
large_deferred_run(const void *load, double values[])
{
    return floor_fetch_round(load, &large_deferred, values);
}

static bool
get_run(const void *load, double values[])
{
    return uco_get_round(load, values);
}

static bool
stream_run(const void *load, double values[])
{
    return uco_stream_round(load, values);
}

/* --- fds --- */

static rlim_t
fds_set(rlim_t most)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        bench_die("how many files may be open: %s", strerror(errno));
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        bench_die("how many files may be open: %s", strerror(errno));
    return limit.rlim_cur;
}

/* Sets how many fds there may be, for all subjects. Returns: why the load cannot be done here;
 * NULL: it can. */
static const char *
load_prepare(const struct fetch_load *load)
{
    rlim_t fds = fds_set(load->fds != 0 ? load->fds : RLIM_INFINITY);

    if (nginx_lacks() != NULL)
        return nginx_lacks();
    return fds < load->connections + OTHER_FDS ? "this process may not open so many files" : NULL;
}

/* --- the rows --- */

static void
load_compare(const char *what, const struct bench_metric metrics[], size_t metric_count,
             struct bench_subject subjects[], size_t count, const struct fetch_load *load)
{
    const char *lacks = load_prepare(load);

    if (chosen.only != NULL && strstr(what, chosen.only) == NULL)
        return;
    if (chosen.alone && count > FETCH_PEERS)
        count -= FETCH_PEERS;
    for (size_t i = 0; i < count && lacks != NULL; i++) {
        subjects[i].run = NULL;
        subjects[i].without = lacks;
    }
    if (bench_quick())
        bench_rounds_at_most(1);
    bench_compare_peers(what, metrics, metric_count, subjects, count, load);
}

static struct fetch_load
load_make(const char *page, size_t size, size_t connections, size_t requests)
{
    size_t scaled = bench_scaled(requests);

    return (struct fetch_load){
        .url = fetch_url(page),
        .size = size,
        .connections = connections,
        .tasks = connections,
        .requests = scaled > connections ? scaled : connections,
    };
}

static const struct bench_metric small_metrics[] = {
    {.name = "requests", .unit = "/s", .more_is_better = true},
    {.name = "processor time a request", .unit = "us"},
};

static void
small_compare(void)
{
    static const struct {
        size_t connections;
        size_t requests;
        const char *name;
        bool quick;
    } rows[] = {
        {1, 8000, "1 KiB, 1 at once", false},
        {10, 20000, "1 KiB, 10 at once", true},
        {100, 20000, "1 KiB, 100 at once", false},
        {1000, 20000, "1 KiB, 1,000 at once", true},
    };
    struct bench_subject subjects[3 + FETCH_PEERS] = {
        {"floor: curl_multi_socket_action, epoll", bare_run, NULL},
        {"uco_http_get", get_run, NULL},
        {"floor, EPOLL_CTL_DEL deferred", bare_deferred_run, NULL},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fetch_load load =
            load_make("small", NGINX_SMALL, rows[i].connections, rows[i].requests);

        if (bench_quick() && !rows[i].quick)
            continue;
        fetch_peers(subjects + 3, &load);
        load_compare(rows[i].name, small_metrics, COUNT(small_metrics), subjects, COUNT(subjects),
                     &load);
    }
}

static void
large_compare(void)
{
    static const struct bench_metric metrics[] = {
        {.name = "received", .unit = "MiB/s", .more_is_better = true},
        {.name = "processor time a MiB", .unit = "us"},
    };
    static const struct {
        size_t connections;
        size_t requests;
        const char *name;
        bool quick;
    } rows[] = {
        {10, 1000, "1 MiB, 10 at once", true},
        {100, 1000, "1 MiB, 100 at once", false},
    };
    struct bench_subject subjects[6 + FETCH_PEERS] = {
        {"floor: curl_multi_socket_action, epoll", bare_run, NULL},
        {"uco_http_get", get_run, NULL},
        {"uco_http_stream, uco_http_read", stream_run, NULL},
        {"floor, EPOLL_CTL_DEL deferred", bare_deferred_run, NULL},
        {"floor, 100 KiB buffer", large_run, NULL},
        {"floor, 100 KiB buffer, DEL deferred", large_deferred_run, NULL},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fetch_load load =
            load_make("large", NGINX_LARGE, rows[i].connections, rows[i].requests);

        if (bench_quick() && !rows[i].quick)
            continue;
        fetch_peers(subjects + 6, &load);
        load_compare(rows[i].name, metrics, COUNT(metrics), subjects, COUNT(subjects), &load);
    }
}

/* --- requests that queue --- */

/* Of this round: bytes. */
static struct {
    double waiting;
    double queued;
} memory;

static bool
waiting_run(const void *load, double values[])
{
    bool right = uco_waiting_round(load, values);

    memory.waiting = values[0];
    return right;
}

static bool
queued_run(const void *load, double values[])
{
    bool right = uco_queued_round(load, values);

    memory.queued = values[0];
    return right;
}

static bool
beyond_run(const void *load, double values[])
{
    double beyond = memory.queued - memory.waiting;

    (void) load;
    values[0] = beyond > 1 ? beyond : 1;
    return memory.queued > 0 && memory.waiting > 0;
}

static void
queue_compare(void)
{
    static const struct bench_metric memory_metrics[] = {
        {.name = "memory each", .unit = "bytes"},
    };
    struct bench_subject memories[] = {
        {"floor: a task that waits for an event", waiting_run, NULL},
        {"uco_http_get, its task included", queued_run, NULL},
        {"uco_http_get, beyond the waiting task", beyond_run, NULL},
    };
    struct bench_subject subjects[3 + FETCH_PEERS] = {
        {"floor: curl_multi_socket_action, epoll", bare_run, NULL},
        {"uco_http_get", get_run, NULL},
        {"floor, EPOLL_CTL_DEL deferred", bare_deferred_run, NULL},
    };
    const char *count = bench_quick() ? "1,000" : "10,000";
    struct fetch_load load = load_make("small", NGINX_SMALL, QUEUE_CONNECTIONS, 0);
    char what[64];

    load.tasks = bench_quick() ? QUEUE_TASKS_QUICK : QUEUE_TASKS;
    load.requests = load.tasks;
    load.fds = QUEUE_FDS;
    fetch_peers(subjects + 3, &load);
    snprintf(what, sizeof what, "%s queued, 64 connections", count);
    load_compare(what, memory_metrics, COUNT(memory_metrics), memories, COUNT(memories), &load);
    snprintf(what, sizeof what, "1 KiB, %s at once on 64 connections", count);
    load_compare(what, small_metrics, COUNT(small_metrics), subjects, COUNT(subjects), &load);
}

/* --- a ticker --- */

static bool
bare_ticks_run(const void *load, double values[])
{
    return floor_ticks_round(load, &bare, values);
}

static bool
uco_ticks_run(const void *load, double values[])
{
    return uco_ticks_round(load, values);
}

static void
ticks_compare(void)
{
    static const struct bench_metric metrics[] = {
        {.name = "lateness, median", .unit = "ms"},
        {.name = "lateness, 99 of 100", .unit = "ms"},
        {.name = "lateness, most", .unit = "ms"},
    };
    struct bench_subject subjects[2 + FETCH_PEERS] = {
        {"floor: a timerfd beside curl, epoll", bare_ticks_run, NULL},
        {"uco_sleep", uco_ticks_run, NULL},
    };
    struct fetch_load load = load_make("small", NGINX_SMALL, TICKS_CONNECTIONS, TICKS_REQUESTS);

    fetch_peers_ticking(subjects + 2, &load);
    load_compare("a 1 ms ticker beside 1,000 transfers", metrics, COUNT(metrics), subjects,
                 COUNT(subjects), &load);
}

int
main(int argc, char **argv)
{
    choose(&argc, argv);
    bench_begin("bench_fetch", "pages from nginx on this machine", argc, argv);
    fds_set(RLIM_INFINITY); /* nginx's too */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (nginx_lacks() == NULL)
        fetch_begin();
    small_compare();
    large_compare();
    queue_compare();
    ticks_compare();
    if (nginx_lacks() == NULL)
        fetch_end();
    return bench_end();
}
