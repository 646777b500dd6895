/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_RETRY_H
#define UCO_HTTP_RETRY_H

/* When a request is worth another attempt, and when. */

#include <stdbool.h>

struct uco_http_client;
struct uco__http_exchange;

/* Whether a method may be done twice. */
bool uco__http_method_is_idempotent(const char *method);

/* Seconds before the next attempt, after `attempt` (0: the first) has failed. */
double uco__http_retry_delay(struct uco_http_client *client, int attempt);

/* Whether an attempt is to be followed by another, after *delay seconds: one that has failed with
 * `error`, or (0) has brought the head of a response. */
bool uco__http_retry_wanted(const struct uco__http_exchange *exchange, int error, double *delay);

#endif
