/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_LIMIT_H
#define UCO_HTTP_LIMIT_H

/* How many requests of a client run at once: in all, and to one host and port. */

#include "base/list.h"

#include <stddef.h>
#include <stdint.h>

#define UCO__HTTP_LIMIT_BUCKETS 64

struct uco__task;

/* A host that requests run to or wait for. Also the permit of one request to it. */
struct uco__http_host {
    struct uco__list link; /* in a bucket */
    struct uco__http_limit *limit;
    size_t active;            /* permits given */
    size_t promised;          /* of its waiters, those in the limit's `waiting` */
    struct uco__list waiting; /* for a permit of this host's, in the order of their coming */
    char key[];
};

struct uco__http_limit {
    size_t max;
    size_t max_per_host;
    size_t active;            /* permits given */
    uint64_t tickets;         /* waiters so far */
    struct uco__list waiting; /* whose host has room, in the order of their coming */
    struct uco__list buckets[UCO__HTTP_LIMIT_BUCKETS];
};

void uco__http_limit_init(struct uco__http_limit *limit, size_t max, size_t max_per_host);

/* Suspends until the host has a permit for the calling task: 0, -ECANCELED, -ENOMEM. */
int uco__http_limit_acquire(struct uco__http_limit *limit, struct uco__task *task, const char *key,
                            struct uco__http_host **permit);
/* Gives a permit back, or hands it on to the one who has waited longest. */
void uco__http_limit_release(struct uco__http_host *permit);

#endif
