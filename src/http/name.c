/* SPDX-License-Identifier: MIT */

/*
 * Host names.
 *
 * 1. An entry is held by the cache, by the task that looks it up, and by each who waits for that
 *    task. All of them are on the loop's thread.
 * 2. The look-up is a task of the loop's: whoever asked first may leave, and the others still get
 *    their answer.
 * 3. Only answers are kept, and for a short time; an error is for those who waited for it.
 */

#include "http/name.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/loop.h"
#include "http/url.h"
#include "io/name.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uco/name.h>
#include <uco/task.h>

#define ENTRIES_MAX 256
#define ADDRESSES_MAX 16 /* of one name */
#define LIFE 30.0        /* seconds; getaddrinfo() does not tell how long an answer holds */

struct entry {
    struct uco__list link; /* in the cache */
    unsigned holders;
    bool cached;
    uco_task *task;   /* looks it up */
    int error;        /* of the look-up, once it is over */
    uint64_t expires; /* loop's clock */
    char *resolve;    /* "+host:port:address,address" */
    size_t host_length;
    char key[]; /* "host:port" */
};

void
uco__http_names_init(struct uco__http_names *names)
{
    uco__list_init(&names->entries);
    names->count = 0;
}

static void
entry_release(struct entry *entry)
{
    if (--entry->holders > 0)
        return;
    uco_unref(entry->task);
    uco__free(entry->resolve);
    uco__free(entry);
}

static void
entry_forget(struct uco__http_names *names, struct entry *entry)
{
    if (!entry->cached)
        return;
    uco__list_remove(&entry->link);
    entry->cached = false;
    names->count--;
    entry_release(entry);
}

void
uco__http_names_done(struct uco__http_names *names)
{
    UCO__LIST_EACH_SAFE(link, &names->entries) {
        struct entry *entry = UCO__CONTAINER(link, struct entry, link);

        uco_cancel(entry->task);
        entry_forget(names, entry);
    }
}

static struct entry *
names_search(struct uco__http_names *names, const char *key)
{
    UCO__LIST_EACH(link, &names->entries) {
        struct entry *entry = UCO__CONTAINER(link, struct entry, link);

        if (strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

void
uco__http_names_forget(struct uco__http_names *names, const struct uco__http_origin *origin)
{
    struct entry *entry = names_search(names, origin->key);

    if (entry != NULL && uco_done(entry->task))
        entry_forget(names, entry);
}

/* --- the look-up --- */

/* The list that curl understands. */
static int
entry_write(struct entry *entry, const struct addrinfo *list)
{
    size_t size = strlen(entry->key) + 3 + ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3);
    char address[INET6_ADDRSTRLEN];
    size_t used;
    int count = 0;

    entry->resolve = uco__allocate(size);
    if (entry->resolve == NULL)
        return -ENOMEM;
    used = (size_t) snprintf(entry->resolve, size, "+%s:", entry->key);
    for (; list != NULL && count < ADDRESSES_MAX; list = list->ai_next) {
        bool v6 = list->ai_family == AF_INET6;
        const void *binary =
            v6 ? (const void *) &((const struct sockaddr_in6 *) (const void *) list->ai_addr)
                     ->sin6_addr
               : (const void *) &((const struct sockaddr_in *) (const void *) list->ai_addr)
                     ->sin_addr;

        if ((!v6 && list->ai_family != AF_INET) ||
            inet_ntop(list->ai_family, binary, address, sizeof address) == NULL)
            continue;
        used += (size_t) snprintf(entry->resolve + used, size - used, v6 ? "%s[%s]" : "%s%s",
                                  count > 0 ? "," : "", address);
        count++;
    }
    return count > 0 ? 0 : -ENOENT;
}

static void
lookup_discard(void *arg)
{
    struct entry *entry = arg;

    entry->error = -ECANCELED;
    entry_release(entry);
}

static int
lookup(struct entry *entry)
{
    struct addrinfo *list;
    char *host = uco__allocate(entry->host_length + 1);
    int r;

    if (host == NULL)
        return -ENOMEM;
    memcpy(host, entry->key, entry->host_length);
    r = uco__name_lookup(host, (uint16_t) atoi(entry->key + entry->host_length + 1), 0, &list);
    uco__free(host);
    if (r < 0)
        return r;
    r = entry_write(entry, list);
    uco_freeaddrinfo(list);
    return r;
}

/* Its result is in the entry: a task's own would be reported if nobody waited any more. */
static intptr_t
lookup_run(void *arg)
{
    struct entry *entry = arg;

    entry->error = lookup(entry);
    entry_release(entry);
    return 0;
}

static bool
entry_is_stale(const struct entry *entry, uint64_t now)
{
    return uco_done(entry->task) && (entry->error < 0 || entry->expires <= now);
}

/* Room for one more: what is stale goes, and where that is not enough, what nobody has asked for
 * for longest. */
static void
names_prune(struct uco__http_names *names, uint64_t now)
{
    UCO__LIST_EACH_SAFE(link, &names->entries) {
        struct entry *entry = UCO__CONTAINER(link, struct entry, link);

        if (entry_is_stale(entry, now) || (names->count >= ENTRIES_MAX && uco_done(entry->task)))
            entry_forget(names, entry);
    }
}

static struct entry *
names_add(struct uco__http_names *names, const struct uco__http_origin *origin)
{
    uco_task_options options = {.name = "HTTP name look-up", .discard = lookup_discard};
    size_t size = strlen(origin->key) + 1;
    struct entry *entry = uco__allocate(sizeof *entry + size);

    if (entry == NULL)
        return NULL;
    entry->host_length = origin->host_length;
    memcpy(entry->key, origin->key, size);
    entry->holders = 2;
    entry->task = uco_create_task_with(&options, lookup_run, entry);
    if (entry->task == NULL) {
        uco__free(entry);
        return NULL;
    }
    if (!uco_done(entry->task))
        uco_detach(entry->task);
    entry->cached = true;
    uco__list_push_back(&names->entries, &entry->link);
    names->count++;
    return entry;
}

/* --- the question --- */

/* Numeric addresses, and what RFC 6761 says is this machine. */
static bool
name_needs_no_lookup(const char *host, size_t length)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;

    if (host[0] == '[')
        return true;
    if (length == 9 || (length > 10 && host[length - 10] == '.')) {
        if (memcmp(host + length - 9, "localhost", 9) == 0)
            return true;
    }
    if (length >= sizeof text)
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(AF_INET, text, &address) == 1;
}

/* One for this host, looked up or being looked up; NULL without memory. */
static struct entry *
names_get(struct uco__http_names *names, const struct uco__http_origin *origin, uint64_t now)
{
    struct entry *entry = names_search(names, origin->key);

    if (entry != NULL && entry_is_stale(entry, now)) {
        entry_forget(names, entry);
        entry = NULL;
    }
    if (entry != NULL) {
        uco__list_remove(&entry->link);
        uco__list_push_back(&names->entries, &entry->link);
        return entry;
    }
    names_prune(names, now);
    entry = names_add(names, origin);
    if (entry != NULL)
        entry->expires = uco__clock_after(now, LIFE);
    return entry;
}

int
uco__http_names_find(struct uco__http_names *names, struct uco_loop *loop,
                     const struct uco__http_origin *origin, struct curl_slist **resolve)
{
    struct entry *entry;
    intptr_t r = 0;

    *resolve = NULL;
    if (name_needs_no_lookup(origin->key, origin->host_length))
        return 0;
    entry = names_get(names, origin, uco__loop_now(loop));
    if (entry == NULL)
        return -ENOMEM;
    entry->holders++;
    if (!uco_done(entry->task))
        r = uco_await(entry->task);
    if (r == 0)
        r = entry->error;
    if (r == 0) {
        *resolve = curl_slist_append(NULL, entry->resolve);
        r = *resolve != NULL ? 0 : -ENOMEM;
    }
    entry_release(entry);
    return (int) r;
}
