/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_HOP_H
#define UCO_HTTP_HOP_H

/* One hop of an exchange: a request to one URL, and the head of its response. */

struct uco__http_exchange;

/* Suspends until the hop has ended, or is a stream whose head is there: 0, and `verdict` says what
 * it is; or an error, and nothing of it is under way. In the exchange's scope. */
int uco__http_hop_run(struct uco__http_exchange *exchange);

#endif
