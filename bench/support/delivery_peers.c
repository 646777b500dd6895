/* SPDX-License-Identifier: MIT */

#include "delivery_peers.h"

#include "delivery.h"

#include <stdio.h>

/* Python's do a part of the work. */
enum { PYTHON_DIVISOR = 20 };

const struct peer_program peer_libuv = {.path = PEER_LIBUV};
const struct peer_program peer_go = {.path = PEER_GO};
const struct peer_program peer_asyncio = {
    .path = PEER_PYTHON,
    .script = PEER_PYTHON_SCRIPT,
    .loop = "asyncio",
    .divisor = PYTHON_DIVISOR,
};
const struct peer_program peer_uvloop = {
    .path = PEER_UVLOOP,
    .script = PEER_PYTHON_SCRIPT,
    .loop = "uvloop",
    .divisor = PYTHON_DIVISOR,
};

/* PROGRAM [SCRIPT LOOP] ROW MESSAGES PROCESSOR... */
static bool
peer_run(const struct peer_program *peer, const char *row, size_t messages, const unsigned places[],
         unsigned producers, double values[], size_t value_count)
{
    const char *argv[6 + DELIVERY_PRODUCERS_MAX];
    char processors[DELIVERY_PRODUCERS_MAX][12], number[24];
    size_t count = 0;

    argv[count++] = peer->path;
    if (peer->script != NULL) {
        argv[count++] = peer->script;
        argv[count++] = peer->loop;
    }
    argv[count++] = row;
    snprintf(number, sizeof number, "%zu", messages);
    argv[count++] = number;
    for (unsigned i = 0; i < producers; i++) {
        snprintf(processors[i], sizeof processors[i], "%u", delivery_processor(places[i]));
        argv[count++] = processors[i];
    }
    argv[count] = NULL;
    return peer_measure(argv, values, value_count);
}

bool
delivery_peer_flood(const struct peer_program *peer, unsigned producers, size_t posts,
                    double values[])
{
    size_t each = posts / (peer->divisor > 0 ? peer->divisor : 1) / producers;
    unsigned places[DELIVERY_PRODUCERS_MAX];

    for (unsigned i = 0; i < producers; i++)
        places[i] = delivery_place(i);
    return peer_run(peer, "flood", each > 0 ? each : 1, places, producers, values, 1);
}

bool
delivery_peer_wakes(const struct peer_program *peer, size_t messages, double values[])
{
    return peer_run(peer, "wakes", messages, (const unsigned[]){delivery_place(0)}, 1, values, 2);
}

bool
delivery_peer_trips(const struct peer_program *peer, size_t messages, double values[])
{
    return peer_run(peer, "trips", messages, (const unsigned[]){0}, 1, values, 2);
}
