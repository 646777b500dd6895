/* SPDX-License-Identifier: MIT */
#ifndef FETCH_H
#define FETCH_H

/*
 * What the subjects of bench_fetch share: so many requests for one page of a local nginx. Each
 * round runs in a process of its own, as peers do. It looks at each answer, and nginx must have
 * been asked exactly as often as was counted. The client has place 0, nginx place 1.
 */

#include "bench.h"
#include "echo_latency.h"

struct fetch_load {
    const char *url;
    size_t size;        /* bytes of the page */
    size_t connections; /* at most; as many requests open them, before it is measured */
    size_t tasks;       /* that do the requests; at least as many as connections */
    size_t requests;    /* measured; at least as many as tasks */
    size_t fds;         /* that the client may have; 0: as many as it can */
};

/** Requests that are being done. */
struct fetching {
    const struct fetch_load *load;
    size_t tasks;
    size_t left; /* to be begun */
    size_t done;
    bool wrong; /* an answer was not what it has to be */
    struct fetch_ticker *ticker;
};

/** How late something was that was to happen each millisecond. */
struct fetch_ticker {
    struct echo_latency lateness; /* ns */
    double most;                  /* ns */
};

enum { FETCH_TICK_NS = 1000 * 1000 };

/** A subject's way to do fetching->left requests; NULL in `ticker`: without one. */
typedef void fetch_fn(void *client, struct fetching *fetching);

/** Starts nginx. */
void fetch_begin(void);
void fetch_end(void);

/** The address of one of nginx's pages. Never freed. */
const char *fetch_url(const char *page);

/** Stops nginx in its tracks, or lets it go on; from the child of a round too. */
void fetch_hold(bool hold);

/** A whole answer has come. */
void fetch_arrived(struct fetching *fetching, long status, const char *text, size_t size);

/** A part of an answer has come; `position`: how much came before. */
void fetch_arrived_part(struct fetching *fetching, size_t position, const char *text, size_t size);

/** All parts have come: so many bytes. */
void fetch_arrived_all(struct fetching *fetching, long status, size_t size);

/** A subject's round. It warms up; then values: requests/s, us of processor time a request. */
bool fetch_measure(void *client, const struct fetch_load *load, fetch_fn *fetch, double values[]);

/** The same without warming up; values: the ticker's lateness in ms, half, 99 of 100, all. */
bool fetch_measure_ticks(void *client, const struct fetch_load *load, fetch_fn *fetch,
                         double values[]);

void fetch_tick(struct fetch_ticker *ticker, uint64_t late);

/** Runs a round in a child, and compares nginx's count with what it must have been asked. */
bool fetch_round(bench_run *run, const void *arg, size_t requests, double values[], size_t count);

/** The same for a peer's program; as peer_measure(). */
bool fetch_peer_round(const char *const argv[], size_t requests, double values[], size_t count);

#endif
