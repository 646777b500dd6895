/* SPDX-License-Identifier: MIT */
#ifndef FETCH_PEERS_H
#define FETCH_PEERS_H

#include "fetch.h"

enum { FETCH_PEERS = 6 };

/** The peers of a load, for bench_compare_peers() with the load as its argument. */
void fetch_peers(struct bench_subject subjects[FETCH_PEERS], const struct fetch_load *load);

/** The same with a ticker. */
void fetch_peers_ticking(struct bench_subject subjects[FETCH_PEERS], const struct fetch_load *load);

#endif
