/* SPDX-License-Identifier: MIT */
#ifndef DELIVERY_PEERS_H
#define DELIVERY_PEERS_H

/*
 * The peers of the benchmarks of posts (peers/post.*): each has a row for each function of
 * delivery.h, with as many producers as it is told processors for them. The peer itself stays on
 * the loop's.
 */

#include "peer.h"

extern const struct peer_program peer_libuv;
extern const struct peer_program peer_go;
extern const struct peer_program peer_asyncio;
extern const struct peer_program peer_uvloop;

/** delivery_flood(): values[0]. */
bool delivery_peer_flood(const struct peer_program *peer, unsigned producers, size_t posts,
                         double values[]);
/** delivery_wakes(), and delivery_trips() to the same place: values[0] and values[1]. */
bool delivery_peer_wakes(const struct peer_program *peer, size_t messages, double values[]);
bool delivery_peer_trips(const struct peer_program *peer, size_t messages, double values[]);

#endif
