/* SPDX-License-Identifier: MIT */

#include "fetch_peers.h"

#include "nginx.h"
#include "peer.h"

#include <stdio.h>

/* The build tells which of these it found, as of all peers. */
#ifndef PEER_CURL
#define PEER_CURL NULL
#endif
#ifndef PEER_HTTPX /* an interpreter that has it */
#define PEER_HTTPX NULL
#endif
#ifndef PEER_AIOHTTP
#define PEER_AIOHTTP NULL
#endif
#ifndef PEER_AIOHTTP_UVLOOP
#define PEER_AIOHTTP_UVLOOP NULL
#endif

enum {
    CURL_AT_ONCE_MAX = 300, /* more is taken for 50 */
    QUICK_CONNECTIONS = 10, /* of the row that interpreters take part in when it is to be quick */
};

enum which { CURL, GO, AIOHTTP_UVLOOP, AIOHTTP, HTTPX, HTTPX_SYNC };

static const struct fetch_peer {
    const char *path;
    const char *library; /* of the script; NULL: a program */
    size_t divisor;      /* of the requests: a slow one does a part of them */
} peers[FETCH_PEERS] = {
    [CURL] = {.path = PEER_CURL, .divisor = 1},
    [GO] = {.path = PEER_GO, .divisor = 1},
    [AIOHTTP_UVLOOP] = {.path = PEER_AIOHTTP_UVLOOP, .library = "uvloop", .divisor = 4},
    [AIOHTTP] = {.path = PEER_AIOHTTP, .library = "aiohttp", .divisor = 4},
    [HTTPX] = {.path = PEER_HTTPX, .library = "httpx", .divisor = 10},
    [HTTPX_SYNC] = {.path = PEER_HTTPX, .library = "httpx-sync", .divisor = 10},
};

/* --- a round --- */

static size_t
peer_connections(enum which which, const struct fetch_load *load)
{
    return which == CURL && load->connections > CURL_AT_ONCE_MAX ? CURL_AT_ONCE_MAX
                                                                 : load->connections;
}

static size_t
peer_requests(const struct fetch_peer *peer, const struct fetch_load *load)
{
    size_t part = load->requests / peer->divisor;

    return part > load->tasks ? part : load->tasks;
}

static bool
peer_round(enum which which, const struct fetch_load *load, const char *what, size_t warming,
           double values[], size_t count)
{
    const struct fetch_peer *peer = &peers[which];
    size_t requests = peer_requests(peer, load);
    char numbers[4][24];
    const char *argv[10];
    size_t n = 0;

    snprintf(numbers[0], sizeof numbers[0], "%zu", load->size);
    snprintf(numbers[1], sizeof numbers[1], "%zu", peer_connections(which, load));
    snprintf(numbers[2], sizeof numbers[2], "%zu", load->tasks);
    snprintf(numbers[3], sizeof numbers[3], "%zu", requests);
    argv[n++] = peer->path;
    if (peer->library != NULL)
        argv[n++] = PEER_PYTHON_SCRIPT;
    argv[n++] = what;
    argv[n++] = load->url;
    for (size_t i = 0; i < COUNT(numbers); i++)
        argv[n++] = numbers[i];
    argv[n++] = peer->library;
    argv[n] = NULL;
    return fetch_peer_round(argv, warming + requests, values, count);
}

static bool
peer_fetch(enum which which, const struct fetch_load *load, double values[])
{
    size_t connections = peer_connections(which, load);

    /* curl runs twice, each time on new connections. */
    return peer_round(which, load, "fetch", which == CURL ? 2 * connections : connections, values,
                      2);
}

static bool
peer_ticks(enum which which, const struct fetch_load *load, double values[])
{
    return peer_round(which, load, "ticks", 0, values, 3);
}

/* A benchmark's subject is a function, and these are data. */
#define PEER(which, name)                                                                          \
    static bool name##_fetch(const void *load, double values[])                                    \
    {                                                                                              \
        return peer_fetch(which, load, values);                                                    \
    }                                                                                              \
    static bool name##_ticks(const void *load, double values[])                                    \
    {                                                                                              \
        return peer_ticks(which, load, values);                                                    \
    }

PEER(CURL, curl)
PEER(GO, go)
PEER(AIOHTTP_UVLOOP, aiohttp_uvloop)
PEER(AIOHTTP, aiohttp)
PEER(HTTPX, httpx)
PEER(HTTPX_SYNC, httpx_sync)

static bench_run *const fetches[FETCH_PEERS] = {
    curl_fetch, go_fetch, aiohttp_uvloop_fetch, aiohttp_fetch, httpx_fetch, httpx_sync_fetch,
};

static bench_run *const ticking[FETCH_PEERS] = {
    curl_ticks, go_ticks, aiohttp_uvloop_ticks, aiohttp_ticks, httpx_ticks, httpx_sync_ticks,
};

/* --- what can be had --- */

static const char *
peer_lacks(enum which which, const struct fetch_load *load)
{
    const struct fetch_peer *peer = &peers[which];

    if (!peer_is_here(peer->path))
        return PEER_WITHOUT;
    if (which == HTTPX_SYNC && load->tasks > 1)
        return "it does one request after the other";
    if (which == HTTPX && load->tasks > load->connections)
        return "it would take too long: its requests cost more the more of them wait";
    if (bench_quick() && peer->library != NULL &&
        (load->connections != QUICK_CONNECTIONS || load->size != NGINX_SMALL))
        return "not when it is to be quick";
    return NULL;
}

static const char *
peer_name(enum which which, const struct fetch_load *load)
{
    static const char *const names[FETCH_PEERS] = {
        [CURL] = "curl --parallel", [GO] = "Go, net/http", [AIOHTTP_UVLOOP] = "aiohttp, uvloop",
        [AIOHTTP] = "aiohttp",      [HTTPX] = "httpx",     [HTTPX_SYNC] = "httpx, synchronous",
    };

    return which == CURL && load->connections > CURL_AT_ONCE_MAX
               ? "curl --parallel, 300 at once: its most"
               : names[which];
}

static void
peers_fill(struct bench_subject subjects[], const struct fetch_load *load, bench_run *const runs[])
{
    for (size_t i = 0; i < FETCH_PEERS; i++) {
        enum which which = (enum which) i;
        const char *lacks = peer_lacks(which, load);

        if (lacks == NULL && runs == ticking && which == CURL)
            lacks = "a program has no tasks";
        subjects[i] = (struct bench_subject){
            .name = peer_name(which, load),
            .run = lacks == NULL ? runs[i] : NULL,
            .without = lacks,
        };
    }
}

void
fetch_peers(struct bench_subject subjects[FETCH_PEERS], const struct fetch_load *load)
{
    peers_fill(subjects, load, fetches);
}

void
fetch_peers_ticking(struct bench_subject subjects[FETCH_PEERS], const struct fetch_load *load)
{
    peers_fill(subjects, load, ticking);
}
