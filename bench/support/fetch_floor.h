/* SPDX-License-Identifier: MIT */
#ifndef FETCH_FLOOR_H
#define FETCH_FLOOR_H

/*
 * The floor of HTTP clients: libcurl with nothing above it, its multi interface driven by an epoll
 * loop. Handles are made before it is measured and used again; bodies are copied to memory that is
 * there.
 */

#include "fetch.h"

struct floor_way {
    long buffer;   /* bytes, CURLOPT_BUFFERSIZE; 0: libcurl's default, 16 KiB */
    bool deferred; /* a socket that curl lets go of stays in the epoll until it has news: between
                      two requests curl takes it out and puts it in again */
};

/** A round of a load. Values: as fetch_measure(). */
bool floor_fetch_round(const struct fetch_load *load, const struct floor_way *way, double values[]);

/** The same with a ticker, a timerfd in the same epoll. Values: as fetch_measure_ticks(). */
bool floor_ticks_round(const struct fetch_load *load, const struct floor_way *way, double values[]);

#endif
