/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_UPGRADE_H
#define UCO_HTTP_UPGRADE_H

/*
 * A request after which its connection speaks another protocol, both ways: an exchange whose answer
 * has status 101.
 *
 * What comes is the response's body, and what is sent would be the request's, had it one. libcurl
 * takes such an answer for the last one, whatever it upgrades to.
 */

#include "http/response.h"

#include <uco/http/request.h>

struct uco__http_exchange;
struct uco_http_client;

struct uco__http_upgrade {
    /* Set from the call on, until the connection ends or uco__http_upgrade_drop(). */
    struct uco__http_exchange *exchange;
    const char *url; /* for uco_http_error() */
    /* In the requesting task: whether this answer is the one that is wanted. 0; or an error, which
     * ends the request, and *why says why. */
    int (*accept)(struct uco__http_upgrade *upgrade, const struct uco__http_response *response,
                  const char **why);
    /* On the loop's stack: up to `size` bytes to be sent; 0: there are none, and it is asked again
     * after uco__http_upgrade_send(). When it is asked, the system has taken what it gave before,
     * but for what waits in curl's own buffer (64 KiB). */
    size_t (*send)(struct uco__http_upgrade *upgrade, char *to, size_t size);
    /* Once, unless it was dropped: nothing can be sent any more. `error`: 0 where the server has
     * ended it. */
    void (*ended)(struct uco__http_upgrade *upgrade, int error);
};

/* As uco_http_stream(), but neither the timeout nor read_timeout holds after the answer. `asked`
 * has no body, and in its headers what asks for the upgrade. */
int uco__http_upgrade_open(struct uco_http_client *client, const uco_http_request_options *asked,
                           struct uco__http_upgrade *upgrade, const char *function,
                           struct uco__http_response **response);
/* For the exchange: its answer's head has come; it is over; and what curl gets to send. */
void uco__http_upgrade_judged(struct uco__http_exchange *exchange);
void uco__http_upgrade_ended(struct uco__http_upgrade *upgrade, int error);
size_t uco__http_upgrade_take(struct uco__http_exchange *exchange, char *to, size_t size);

/* There is something to be sent. */
void uco__http_upgrade_send(struct uco__http_upgrade *upgrade);
/* Ends the connection. */
void uco__http_upgrade_fail(struct uco__http_upgrade *upgrade, int error);
/* Nothing of it is called any more; before its response is freed. */
void uco__http_upgrade_drop(struct uco__http_upgrade *upgrade);

#endif
