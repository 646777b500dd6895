/* SPDX-License-Identifier: MIT */

/*
 * 1. floor.watched says what the epoll has of a socket, floor.wanted what curl wants of it. Without
 *    deferring they are the same.
 * 2. A socket that is closed is out of the epoll, by that alone. An event of one that waits in the
 *    array while another socket takes its number is news that is not, which curl puts up with.
 */

#include "fetch_floor.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    FDS_MAX = 8192,
};

struct floor_transfer {
    CURL *easy;
    size_t size;
    char *page; /* load->size bytes */
};

static struct {
    const struct floor_way *way;
    const struct fetch_load *load;
    CURLM *multi;
    int epoll;
    uint64_t deadline; /* of curl's timer; 0: none */
    struct floor_transfer *transfers;
    uint32_t wanted[FDS_MAX];
    uint32_t watched[FDS_MAX];
    int ticker; /* a timerfd; below 0: none */
    uint64_t tick_due;
} floor_client;

/* --- sockets --- */

static void
floor_watch(int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    int operation = events == 0                     ? EPOLL_CTL_DEL
                    : floor_client.watched[fd] == 0 ? EPOLL_CTL_ADD
                                                    : EPOLL_CTL_MOD;

    if (epoll_ctl(floor_client.epoll, operation, fd, &event) < 0)
        bench_die("floor: epoll_ctl: %s", strerror(errno));
    floor_client.watched[fd] = events;
}

static int
floor_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    uint32_t wanted = 0;

    (void) easy;
    (void) arg;
    (void) unused;
    if (fd >= FDS_MAX)
        bench_die("floor: too many sockets");
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        wanted |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        wanted |= EPOLLOUT;
    floor_client.wanted[fd] = wanted;
    if (wanted != floor_client.watched[fd] && (wanted != 0 || !floor_client.way->deferred))
        floor_watch(fd, wanted);
    return 0;
}

static int
floor_close(void *arg, curl_socket_t fd)
{
    (void) arg;
    if (fd < FDS_MAX) {
        floor_client.wanted[fd] = 0;
        floor_client.watched[fd] = 0;
    }
    return close(fd);
}

/* False: curl is not to hear of it. */
static bool
floor_is_wanted(int fd)
{
    if (floor_client.wanted[fd] != 0)
        return true;
    if (floor_client.watched[fd] != 0)
        floor_watch(fd, 0);
    return false;
}

/* --- transfers --- */

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
    if (transfer->size + size > floor_client.load->size)
        return 0;
    memcpy(transfer->page + transfer->size, bytes, size);
    transfer->size += size;
    return size;
}

static void
floor_begin(struct floor_transfer *transfer)
{
    transfer->size = 0;
    if (curl_multi_add_handle(floor_client.multi, transfer->easy) != CURLM_OK)
        bench_die("floor: curl_multi_add_handle failed");
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
            bench_die("floor: curl: %s", curl_easy_strerror(message->data.result));
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        curl_multi_remove_handle(floor_client.multi, transfer->easy);
        fetch_arrived(fetching, status, transfer->page, transfer->size);
        if (fetching->left > 0) {
            fetching->left--;
            floor_begin(transfer);
        }
    }
}

/* --- the ticker --- */

static void
floor_tick_set(void)
{
    const struct itimerspec next = {.it_value.tv_nsec = FETCH_TICK_NS};

    floor_client.tick_due = bench_clock() + FETCH_TICK_NS;
    timerfd_settime(floor_client.ticker, 0, &next, NULL);
}

static void
floor_tick(struct fetching *fetching)
{
    fetch_tick(fetching->ticker, bench_clock() - floor_client.tick_due);
    floor_tick_set();
}

static void
floor_ticker_start(const struct fetching *fetching)
{
    struct epoll_event event = {.events = EPOLLIN};

    floor_client.ticker = -1;
    if (fetching->ticker == NULL)
        return;
    floor_client.ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    event.data.fd = floor_client.ticker;
    if (floor_client.ticker < 0 ||
        epoll_ctl(floor_client.epoll, EPOLL_CTL_ADD, floor_client.ticker, &event) < 0)
        bench_die("floor: a timerfd: %s", strerror(errno));
    floor_tick_set();
}

static void
floor_ticker_stop(void)
{
    if (floor_client.ticker >= 0)
        close(floor_client.ticker);
}

/* --- the loop --- */

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
floor_event(const struct epoll_event *event, struct fetching *fetching)
{
    int fd = event->data.fd, running;
    int action = (event->events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                 (event->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                 (event->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

    if (fd == floor_client.ticker)
        floor_tick(fetching);
    else if (!floor_client.way->deferred || floor_is_wanted(fd))
        curl_multi_socket_action(floor_client.multi, fd, action, &running);
}

static void
floor_turn(struct fetching *fetching)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(floor_client.epoll, events, EVENTS, floor_timeout()), running;

    for (int i = 0; i < count; i++)
        floor_event(&events[i], fetching);
    if (floor_client.deadline != 0 && bench_clock() >= floor_client.deadline) {
        floor_client.deadline = 0;
        curl_multi_socket_action(floor_client.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    floor_take_finished(fetching);
}

static void
floor_fetch(void *client, struct fetching *fetching)
{
    size_t expected = fetching->left;

    (void) client;
    floor_ticker_start(fetching);
    for (size_t i = 0; i < floor_client.load->connections && fetching->left > 0; i++) {
        fetching->left--;
        floor_begin(&floor_client.transfers[i]);
    }
    while (fetching->done < expected)
        floor_turn(fetching);
    floor_ticker_stop();
}

/* --- a round --- */

static void
transfer_make(struct floor_transfer *transfer)
{
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        bench_die("floor: curl_easy_init: no memory");
    transfer->easy = easy;
    transfer->page = bench_allocate(floor_client.load->size);
    curl_easy_setopt(easy, CURLOPT_URL, floor_client.load->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, floor_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (floor_client.way->buffer != 0)
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, floor_client.way->buffer);
    if (floor_client.way->deferred)
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, floor_close);
}

struct floor_round {
    const struct fetch_load *load;
    const struct floor_way *way;
    bool ticks;
};

static bool
floor_round(const void *arg, double values[])
{
    const struct floor_round *round = arg;
    const struct fetch_load *load = round->load;
    bool right;

    floor_client.way = round->way;
    floor_client.load = load;
    floor_client.multi = curl_multi_init();
    floor_client.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (floor_client.multi == NULL || floor_client.epoll < 0)
        bench_die("floor: curl_multi_init or epoll_create1: %s", strerror(errno));
    curl_multi_setopt(floor_client.multi, CURLMOPT_SOCKETFUNCTION, floor_socket);
    curl_multi_setopt(floor_client.multi, CURLMOPT_TIMERFUNCTION, floor_timer);
    floor_client.transfers = bench_allocate(load->connections * sizeof floor_client.transfers[0]);
    for (size_t i = 0; i < load->connections; i++)
        transfer_make(&floor_client.transfers[i]);
    right = (round->ticks ? fetch_measure_ticks : fetch_measure)(NULL, load, floor_fetch, values);
    /* Its process ends here, and all of this with it. */
    return right;
}

bool
floor_fetch_round(const struct fetch_load *load, const struct floor_way *way, double values[])
{
    const struct floor_round round = {.load = load, .way = way};

    return fetch_round(floor_round, &round, load->connections + load->requests, values, 2);
}

bool
floor_ticks_round(const struct fetch_load *load, const struct floor_way *way, double values[])
{
    const struct floor_round round = {.load = load, .way = way, .ticks = true};

    return fetch_round(floor_round, &round, load->requests, values, 3);
}
