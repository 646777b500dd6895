/* SPDX-License-Identifier: MIT */
#ifndef FETCH_UCO_H
#define FETCH_UCO_H

/* uco's HTTP client, as its users would write it: a task for each request at once, or one for each
 * request where they queue. */

#include "fetch.h"

/** A round of a load with uco_http_get(). Values: as fetch_measure(). */
bool uco_get_round(const struct fetch_load *load, double values[]);

/** The same with uco_http_stream() and uco_http_read(). */
bool uco_stream_round(const struct fetch_load *load, double values[]);

/** uco_http_get() while a task sleeps 1 ms over and over. Values: as fetch_measure_ticks(). */
bool uco_ticks_round(const struct fetch_load *load, double values[]);

/**
 * The memory of load->tasks tasks, which wait in uco_http_get() for one of load->connections
 * connections while nginx is held; then all of them must succeed.
 *
 * @values: One: bytes each, the task included.
 */
bool uco_queued_round(const struct fetch_load *load, double values[]);

/** The same of as many tasks that wait for an event. */
bool uco_waiting_round(const struct fetch_load *load, double values[]);

#endif
