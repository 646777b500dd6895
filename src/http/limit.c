/* SPDX-License-Identifier: MIT */

/*
 * The limits: two semaphores in one, fair across hosts.
 *
 * 1. A waiter whose host has room (its permits and promises are below the host's limit) stands in
 *    the limit's `waiting`, which is sorted by ticket; all others stand in their host's.
 * 2. If anybody is in the limit's `waiting`, all permits are given. If anybody is in a host's, all
 *    of that host's are given or promised.
 * 3. A permit is handed over by the one who gives it back, so nobody who comes later can take it.
 *
 * One queue for all was the first thought. Then a release looks at everyone who waits for a host
 * that is full.
 */

#include "http/limit.h"

#include "base/system.h"
#include "core/dump.h"
#include "core/scheduler.h"
#include "task/task.h"

#include <string.h>

struct waiter {
    struct uco__list link;
    struct uco__wait wait;
    struct uco__http_host *host;
    uint64_t ticket;
    bool promised; /* in the limit's queue, not the host's */
};

void
uco__http_limit_init(struct uco__http_limit *limit, size_t max, size_t max_per_host)
{
    *limit = (struct uco__http_limit){.max = max, .max_per_host = max_per_host};
    uco__list_init(&limit->waiting);
    for (size_t i = 0; i < UCO__HTTP_LIMIT_BUCKETS; i++)
        uco__list_init(&limit->buckets[i]);
}

static struct uco__list *
limit_bucket(struct uco__http_limit *limit, const char *key)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char) *key) * 16777619u;
    return &limit->buckets[hash % UCO__HTTP_LIMIT_BUCKETS];
}

/* NULL without memory. */
static struct uco__http_host *
host_get(struct uco__http_limit *limit, const char *key)
{
    struct uco__list *bucket = limit_bucket(limit, key);
    struct uco__http_host *host;
    size_t size = strlen(key) + 1;

    UCO__LIST_EACH(link, bucket) {
        host = UCO__CONTAINER(link, struct uco__http_host, link);
        if (strcmp(host->key, key) == 0)
            return host;
    }
    host = uco__allocate(sizeof *host + size);
    if (host == NULL)
        return NULL;
    host->limit = limit;
    uco__list_init(&host->waiting);
    memcpy(host->key, key, size);
    uco__list_push_back(bucket, &host->link);
    return host;
}

static bool
host_has_room(const struct uco__http_host *host)
{
    return host->active + host->promised < host->limit->max_per_host;
}

/* Sorted from the front: whoever has waited for its host is mostly older than those who waited for
 * the total only. But who has just come is the youngest of all. */
static void
waiter_promise(struct uco__http_limit *limit, struct waiter *waiter)
{
    struct uco__list *place = &limit->waiting;

    if (waiter->ticket == limit->tickets)
        place = limit->waiting.prev;
    while (place->next != &limit->waiting &&
           UCO__CONTAINER(place->next, struct waiter, link)->ticket < waiter->ticket)
        place = place->next;
    uco__list_insert_after(place, &waiter->link);
    waiter->promised = true;
    waiter->host->promised++;
}

static void
host_give(struct uco__http_host *host)
{
    host->active++;
    host->limit->active++;
}

/* Something was given back or given up: moves the host's waiters and the limit's on, and forgets a
 * host nobody needs. */
static void
host_settle(struct uco__http_host *host)
{
    struct uco__http_limit *limit = host->limit;
    struct uco__list *link;

    while (host_has_room(host) && (link = uco__list_pop_front(&host->waiting)) != NULL)
        waiter_promise(limit, UCO__CONTAINER(link, struct waiter, link));
    while (limit->active < limit->max && (link = uco__list_pop_front(&limit->waiting)) != NULL) {
        struct waiter *waiter = UCO__CONTAINER(link, struct waiter, link);

        waiter->host->promised--;
        host_give(waiter->host);
        uco__wake(&waiter->wait, 0);
    }
    if (host->active + host->promised == 0) {
        uco__list_remove(&host->link);
        uco__free(host);
    }
}

static enum uco__abort
waiter_abort(struct uco__wait *wait)
{
    struct waiter *waiter = UCO__CONTAINER(wait, struct waiter, wait);

    uco__list_remove(&waiter->link);
    if (waiter->promised)
        waiter->host->promised--;
    host_settle(waiter->host);
    return UCO__UNLINKED;
}

static bool
waiter_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct waiter waiter;

    if (!UCO__DUMP_READ_AROUND(dump, &waiter, wait, struct waiter, wait))
        return false;
    uco__dump_text(dump, "a free HTTP connection to ");
    return uco__dump_string(dump, waiter.host->key);
}

static UCO__WAIT_KIND(wait_permit, "a free HTTP connection", waiter_describe);

int
uco__http_limit_acquire(struct uco__http_limit *limit, struct uco__task *task, const char *key,
                        struct uco__http_host **permit)
{
    struct waiter waiter = {0};
    struct uco__http_host *host;
    int r = uco__checkpoint();

    if (r < 0)
        return r;
    host = host_get(limit, key);
    if (host == NULL)
        return -ENOMEM;
    if (host_has_room(host) && limit->active < limit->max) {
        host_give(host);
        *permit = host;
        return 0;
    }
    waiter.host = host;
    waiter.ticket = ++limit->tickets;
    uco__wait_init(&waiter.wait, &wait_permit, waiter_abort);
    if (host_has_room(host))
        waiter_promise(limit, &waiter);
    else
        uco__list_push_back(&host->waiting, &waiter.link);
    if (uco__task_park(task, &waiter.wait) == UCO__INTERRUPTED)
        return -ECANCELED;
    *permit = host;
    return 0;
}

void
uco__http_limit_release(struct uco__http_host *permit)
{
    permit->active--;
    permit->limit->active--;
    host_settle(permit);
}
