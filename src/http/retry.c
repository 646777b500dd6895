/* SPDX-License-Identifier: MIT */

/*
 * Retries.
 *
 * 1. Only of methods that may be done twice, and only where there is time: an attempt that could
 *    not begin before the timeout is none.
 * 2. The delays are random ("full jitter", but at least half), or those who failed together come
 *    back together.
 */

#include "http/retry.h"

#include "base/clock.h"
#include "base/random.h"
#include "http/client.h"
#include "http/exchange.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DELAY_FIRST 0.1 /* seconds */
#define DELAY_MAX 10.0

bool
uco__http_method_is_idempotent(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(method, methods[i]) == 0)
            return true;
    }
    return false;
}

static bool
status_is_transient(long status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

double
uco__http_retry_delay(struct uco_http_client *client, int attempt)
{
    double delay = DELAY_FIRST;
    uint64_t random;

    for (int i = 0; i < attempt && delay < DELAY_MAX; i++)
        delay *= 2;
    if (delay > DELAY_MAX)
        delay = DELAY_MAX;
    random = uco__random_next(&client->random) >> 11;
    return delay * (0.5 + (double) random / 0x1p54);
}

/* Seconds, or a date; -1: it says nothing that can be understood. */
static double
delay_asked_for(const struct uco__http_exchange *exchange)
{
    const char *text = uco__http_headers_find(&exchange->response->headers, "Retry-After", 0);
    char *end;
    double delay;
    time_t date;

    if (text == NULL)
        return -1;
    delay = strtod(text, &end);
    if (end != text && *end == '\0' && text[strspn(text, "0123456789")] == '\0')
        return delay;
    date = curl_getdate(text, NULL);
    if (date < 0)
        return -1;
    delay = difftime(date, time(NULL));
    return delay > 0 ? delay : 0;
}

/* Whether something was taken of a body that cannot be read twice, or is just being taken. */
static bool
body_is_spent(const struct uco__http_exchange *exchange)
{
    const struct uco__http_body *body = &exchange->body;

    return exchange->with_body && body->kind == UCO__HTTP_SOURCE && !body->rewindable &&
           (body->position > 0 || body->failed || exchange->upload.scope != NULL);
}

bool
uco__http_retry_wanted(const struct uco__http_exchange *exchange, int error, double *delay)
{
    double asked = -1;

    *delay = 0;
    if (exchange->attempt >= exchange->retries || !uco__http_method_is_idempotent(exchange->method))
        return false;
    if (error == 0 && !status_is_transient(exchange->response->result.status))
        return false;
    if (error < 0 && !exchange->transient)
        return false;
    if (body_is_spent(exchange))
        return false;
    if (error == 0)
        asked = delay_asked_for(exchange);
    *delay = asked >= 0 ? asked : uco__http_retry_delay(exchange->client, exchange->attempt);
    return uco__clock_after(uco__loop_now(exchange->client->loop), *delay) < exchange->due;
}
