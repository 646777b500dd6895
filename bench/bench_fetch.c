/* SPDX-License-Identifier: MIT */

/*
 * Fetching a page of 1 KiB over and over from a server on this machine, on connections that are
 * kept alive. The floor is libcurl without anything above it: its multi interface, driven by an
 * epoll loop.
 *
 * Each answer is looked at, and the server must have been asked exactly as often as was counted
 * here. The client has place 0, the server place 1.
 */

#include "support/bench.h"
#include "support/http_server.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <uco/http.h>
#include <uco/uco.h>
#include <unistd.h>

enum {
    PAGE = 1024,
    AT_ONCE_MAX = 100,
    EVENTS = 64,
};

struct load {
    size_t at_once;
    size_t requests; /* a round; must be at least at_once */
};

/* One stretch of requests. */
struct fetching {
    size_t left; /* to be begun */
    size_t done;
    bool wrong;
};

static struct http_server server;
static char url[64];

static double
processor_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void
page_arrived(struct fetching *fetching, long status, const char *text, size_t size)
{
    fetching->done++;
    if (status != 200 || !http_server_page_check(&server, text, size))
        fetching->wrong = true;
}

/* A subject: does fetching->left requests, at_once of them at a time. */
typedef void fetch_fn(void *client, const struct load *load, struct fetching *fetching);

/* The first requests open the connections and are not measured. */
static bool
load_measure(void *client, const struct load *load, fetch_fn *fetch, double values[])
{
    size_t requests = bench_scaled(load->requests);
    struct fetching warm = {.left = load->at_once};
    struct fetching measured = {.left = requests > load->at_once ? requests : load->at_once};
    size_t expected = measured.left;
    uint64_t began, answers = http_server_answers(&server);
    double processor;

    fetch(client, load, &warm);
    processor = processor_time();
    began = bench_clock();
    fetch(client, load, &measured);
    values[0] = (double) measured.done / ((double) (bench_clock() - began) / 1e9);
    values[1] = (processor_time() - processor) / (double) measured.done * 1e6;
    return !warm.wrong && !measured.wrong && warm.done == load->at_once &&
           measured.done == expected &&
           http_server_answers(&server) - answers == warm.done + measured.done;
}

/* --- the floor: curl_multi_socket_action() and epoll --- */

struct floor_transfer {
    CURL *easy;
    size_t size;
    char page[PAGE * 2];
};

static struct {
    CURLM *multi;
    int epoll;
    uint64_t deadline; /* of curl's timer; 0: none */
    struct floor_transfer transfers[AT_ONCE_MAX];
} floor_client;

static int
floor_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *watched)
{
    struct epoll_event event = {
        .events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u),
        .data.fd = fd,
    };

    (void) easy;
    (void) arg;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(floor_client.epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    if (watched == NULL)
        curl_multi_assign(floor_client.multi, fd, &floor_client);
    epoll_ctl(floor_client.epoll, watched == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    return 0;
}

static int
floor_timer(CURLM *multi, long milliseconds, void *arg)
{
    (void) multi;
    (void) arg;
    floor_client.deadline =
        milliseconds < 0 ? 0 : bench_clock() + (uint64_t) milliseconds * 1000000;
    return 0;
}

static size_t
floor_write(char *bytes, size_t one, size_t size, void *arg)
{
    struct floor_transfer *transfer = arg;

    (void) one;
    if (transfer->size + size > sizeof transfer->page)
        return 0;
    memcpy(transfer->page + transfer->size, bytes, size);
    transfer->size += size;
    return size;
}

static void
floor_begin(struct floor_transfer *transfer)
{
    transfer->size = 0;
    curl_multi_add_handle(floor_client.multi, transfer->easy);
}

static void
floor_take_finished(struct fetching *fetching)
{
    CURLMsg *message;
    int queued;

    while ((message = curl_multi_info_read(floor_client.multi, &queued)) != NULL) {
        struct floor_transfer *transfer;
        long status = 0;

        if (message->data.result != CURLE_OK)
            bench_die("curl: %s", curl_easy_strerror(message->data.result));
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        curl_multi_remove_handle(floor_client.multi, transfer->easy);
        page_arrived(fetching, status, transfer->page, transfer->size);
        if (fetching->left > 0) {
            fetching->left--;
            floor_begin(transfer);
        }
    }
}

static int
floor_timeout(void)
{
    uint64_t now;

    if (floor_client.deadline == 0)
        return -1;
    now = bench_clock();
    return floor_client.deadline > now ? (int) ((floor_client.deadline - now + 999999) / 1000000)
                                       : 0;
}

static void
floor_fetch(void *client, const struct load *load, struct fetching *fetching)
{
    struct epoll_event events[EVENTS];
    size_t expected = fetching->left;
    int running;

    (void) client;
    for (size_t i = 0; i < load->at_once; i++, fetching->left--)
        floor_begin(&floor_client.transfers[i]);
    while (fetching->done < expected) {
        int count = epoll_wait(floor_client.epoll, events, EVENTS, floor_timeout());

        for (int i = 0; i < count; i++) {
            int action = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                         (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                         (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

            curl_multi_socket_action(floor_client.multi, events[i].data.fd, action, &running);
        }
        if (floor_client.deadline != 0 && bench_clock() >= floor_client.deadline) {
            floor_client.deadline = 0;
            curl_multi_socket_action(floor_client.multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        floor_take_finished(fetching);
    }
}

static CURL *
floor_easy(struct floor_transfer *transfer)
{
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        bench_die("curl_easy_init: no memory");
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, floor_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    return easy;
}

static bool
floor_run(const void *arg, double values[])
{
    const struct load *load = arg;
    bool right;

    floor_client.multi = curl_multi_init();
    floor_client.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (floor_client.multi == NULL || floor_client.epoll < 0)
        bench_die("curl_multi_init or epoll_create1: %s", strerror(errno));
    floor_client.deadline = 0;
    curl_multi_setopt(floor_client.multi, CURLMOPT_SOCKETFUNCTION, floor_socket);
    curl_multi_setopt(floor_client.multi, CURLMOPT_TIMERFUNCTION, floor_timer);
    for (size_t i = 0; i < load->at_once; i++)
        floor_client.transfers[i].easy = floor_easy(&floor_client.transfers[i]);
    right = load_measure(NULL, load, floor_fetch, values);
    for (size_t i = 0; i < load->at_once; i++)
        curl_easy_cleanup(floor_client.transfers[i].easy);
    curl_multi_cleanup(floor_client.multi);
    close(floor_client.epoll);
    return right;
}

/* --- uco --- */

struct worker {
    uco_http_client *client;
    struct fetching *fetching;
};

static intptr_t
worker_body(void *arg)
{
    struct worker *worker = arg;
    struct fetching *fetching = worker->fetching;

    while (fetching->left > 0) {
        uco_http_response *response;
        int r;

        fetching->left--;
        r = uco_http_get(worker->client, url, &response);
        if (r < 0)
            return r;
        page_arrived(fetching, response->status, response->text, response->size);
        uco_http_response_free(response);
    }
    return 0;
}

static void
uco_fetch(void *client, const struct load *load, struct fetching *fetching)
{
    struct worker worker = {.client = client, .fetching = fetching};
    uco_future *tasks[AT_ONCE_MAX];
    int r;

    for (size_t i = 0; i < load->at_once; i++)
        tasks[i] = uco_create_task(worker_body, &worker);
    r = uco_gather(tasks, load->at_once, NULL);
    uco_unref_all(tasks, load->at_once);
    if (r < 0)
        bench_die("uco_http_get: %s", uco_strerror(r));
}

struct uco_round {
    const struct load *load;
    double *values;
};

static intptr_t
uco_main(void *arg)
{
    struct uco_round *round = arg;
    uco_http_client_options options = {
        .max_connections = round->load->at_once,
        .max_per_host = round->load->at_once,
        .proxy = "",
    };
    uco_http_client *client = uco_http_client_new(&options);
    bool right;

    if (client == NULL)
        return -errno;
    right = load_measure(client, round->load, uco_fetch, round->values);
    uco_http_client_close(client);
    return right;
}

static bool
uco_run_fetches(const void *load, double values[])
{
    struct uco_round round = {.load = load, .values = values};

    return uco_run(uco_main, &round) == 1;
}

int
main(int argc, char **argv)
{
    static const struct bench_metric metrics[] = {
        {.name = "requests", .unit = "/s", .more_is_better = true},
        {.name = "processor time a request", .unit = "us"},
    };
    static const struct bench_subject subjects[] = {
        {"floor: curl_multi_socket_action, epoll", floor_run, NULL},
        {"uco_http_get", uco_run_fetches, NULL},
    };
    static const struct load loads[] = {{1, 4000}, {10, 10000}, {AT_ONCE_MAX, 10000}};

    bench_begin("bench_fetch", "a page of 1 KiB from a server on this machine", argc, argv);
    http_server_start(&server, PAGE, 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) server.port);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (size_t i = 0; i < COUNT(loads); i++) {
        char what[32];

        snprintf(what, sizeof what, "%zu at once", loads[i].at_once);
        bench_compare(what, metrics, COUNT(metrics), subjects, COUNT(subjects), &loads[i]);
    }
    http_server_stop(&server);
    return bench_end();
}
