/* SPDX-License-Identifier: MIT */

/*
 * Host names.
 *
 * 1. An entry is held by the cache, by the task that looks it up, and by each who waits for that
 *    task. All of them are on the loop's thread.
 * 2. The look-up is a task of the loop's: whoever asked first may leave, and the others still get
 *    their answer.
 * 3. Only answers are kept, and for a short time; an error is for those who waited for it.
 * 4. What the user says of a name goes before all else. After that nobody is asked for numeric
 *    addresses, nor for names under localhost, which are this machine whatever a file or a name
 *    server says (RFC 6761).
 */

#include "http/name.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/loop.h"
#include "core/report.h"
#include "http/url.h"
#include "io/name.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/name.h>
#include <uco/task.h>

#define ENTRIES_MAX 256
#define HOST_MAX 253     /* bytes of a name, as DNS has it; curl knows no longer ones */
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

/* What the user says: "host:port:address,address". */
struct fixed {
    struct uco__list link;
    size_t host_length;
    const char *port; /* NULL: all */
    const char *addresses;
    char text[]; /* "host\0port\0addresses" */
};

void
uco__http_names_init(struct uco__http_names *names)
{
    uco__list_init(&names->entries);
    uco__list_init(&names->fixed);
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
    UCO__LIST_EACH_SAFE(link, &names->fixed) {
        uco__list_remove(link);
        uco__free(UCO__CONTAINER(link, struct fixed, link));
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

/* --- what the user says --- */

/* One of a list of addresses, in brackets or not, as far as the comma: its length; 0 if it is none.
 */
static size_t
address_span(const char *text, bool *v6)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr binary;
    size_t length = strcspn(text, ",");
    bool bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';
    size_t inner = length - (bracketed ? 2 : 0);

    if (inner == 0 || inner >= sizeof address)
        return 0;
    memcpy(address, text + bracketed, inner);
    address[inner] = '\0';
    *v6 = inet_pton(AF_INET6, address, &binary) == 1;
    return *v6 || (!bracketed && inet_pton(AF_INET, address, &binary) == 1) ? length : 0;
}

/* Writes the list as curl has it, IPv6 in brackets; false if it is none. */
static bool
addresses_write(char *to, size_t size, const char *text)
{
    size_t used = 0;

    for (;;) {
        bool v6, bare;
        size_t length = address_span(text, &v6);

        if (length == 0)
            return false;
        bare = v6 && text[0] != '[';
        used +=
            (size_t) snprintf(to + used, size - used, bare ? "[%.*s]" : "%.*s", (int) length, text);
        text += length;
        if (*text == '\0')
            return true;
        text++;
        used += (size_t) snprintf(to + used, size - used, ",");
    }
}

/* Host and port as curl asks for them; port "*" is written as 80. */
static int
fixed_read_host(struct uco__http_origin *origin, const char *text, size_t host_length,
                const char *port, size_t port_length)
{
    const char *why;
    char *url;
    int r;

    *origin = (struct uco__http_origin){0};
    if (host_length == 0 || host_length > HOST_MAX ||
        strcspn(text, "/?#@[]\\% *") < host_length + 1 + port_length)
        return -EINVAL;
    url = uco__allocate(host_length + port_length + 16);
    if (url == NULL)
        return -ENOMEM;
    snprintf(url, host_length + port_length + 16, "http://%.*s:%.*s/", (int) host_length, text,
             (int) port_length, port);
    r = uco__http_origin_init(origin, url, &why);
    uco__free(url);
    return r;
}

static struct fixed *
fixed_new(const struct uco__http_origin *origin, bool all_ports, const char *addresses, int *error)
{
    size_t key_size = strlen(origin->key) + 1;
    size_t size = 3 * strlen(addresses) + 1; /* with brackets */
    struct fixed *fixed = uco__allocate(sizeof *fixed + key_size + size);

    *error = -ENOMEM;
    if (fixed == NULL)
        return NULL;
    fixed->host_length = origin->host_length;
    memcpy(fixed->text, origin->key, key_size);
    fixed->port = all_ports ? NULL : fixed->text + origin->host_length + 1;
    fixed->addresses = fixed->text + key_size;
    *error = -EINVAL;
    if (addresses_write(fixed->text + key_size, size, addresses))
        return fixed;
    uco__free(fixed);
    return NULL;
}

static int
names_set_one(struct uco__http_names *names, const char *text)
{
    struct uco__http_origin origin;
    size_t host_length = strcspn(text, ":");
    const char *port = text + host_length + (text[host_length] == ':');
    size_t port_length = strcspn(port, ":");
    bool all_ports = port_length == 1 && port[0] == '*';
    struct fixed *fixed = NULL;
    int r;

    if (port_length == 0 || port[port_length] != ':')
        return -EINVAL;
    if (!all_ports && strspn(port, "0123456789") != port_length)
        return -EINVAL;
    r = all_ports ? fixed_read_host(&origin, text, host_length, "80", 0)
                  : fixed_read_host(&origin, text, host_length, port, port_length);
    if (r == 0)
        fixed = fixed_new(&origin, all_ports, port + port_length + 1, &r);
    uco__http_origin_done(&origin);
    if (fixed == NULL)
        return r;
    uco__list_push_front(&names->fixed, &fixed->link); /* the last one counts */
    return 0;
}

int
uco__http_names_set(struct uco__http_names *names, const char *const *addresses)
{
    int r = 0;

    for (size_t i = 0; r == 0 && addresses != NULL && addresses[i] != NULL; i++) {
        r = names_set_one(names, addresses[i]);
        if (r == -EINVAL)
            return uco__misuse(
                r, "uco_http_client_new: not a host, a port and addresses between colons: '%s'",
                addresses[i]);
    }
    return r;
}

static const struct fixed *
names_search_fixed(const struct uco__http_names *names, const struct uco__http_origin *origin)
{
    const char *port = origin->key + origin->host_length + 1;
    const struct fixed *found = NULL;

    UCO__LIST_EACH(link, &names->fixed) {
        const struct fixed *fixed = UCO__CONTAINER(link, struct fixed, link);

        if (fixed->host_length != origin->host_length ||
            memcmp(fixed->text, origin->key, origin->host_length) != 0)
            continue;
        if (fixed->port != NULL && strcmp(fixed->port, port) == 0)
            return fixed;
        if (fixed->port == NULL && found == NULL)
            found = fixed;
    }
    return found;
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

/* localhost, and all that is under it. */
static bool
host_is_local(const char *host, size_t length)
{
    if (length > 0 && host[length - 1] == '.')
        length--;
    return (length == 9 || (length > 10 && host[length - 10] == '.')) &&
           memcmp(host + length - 9, "localhost", 9) == 0;
}

static int
resolve_append(struct curl_slist **resolve, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*resolve, text);

    if (longer == NULL)
        return -ENOMEM;
    *resolve = longer;
    return 0;
}

static int
resolve_append_addresses(struct curl_slist **resolve, const char *key, const char *addresses)
{
    size_t size = strlen(key) + strlen(addresses) + 3;
    char *text = uco__allocate(size);
    int r;

    if (text == NULL)
        return -ENOMEM;
    snprintf(text, size, "+%s:%s", key, addresses);
    r = resolve_append(resolve, text);
    uco__free(text);
    return r;
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

static int
names_ask(struct uco__http_names *names, struct uco_loop *loop,
          const struct uco__http_origin *origin, struct curl_slist **resolve)
{
    struct entry *entry = names_get(names, origin, uco__loop_now(loop));
    intptr_t r = 0;

    if (entry == NULL)
        return -ENOMEM;
    entry->holders++;
    if (!uco_done(entry->task))
        r = uco_await(entry->task);
    if (r == 0)
        r = entry->error;
    if (r == 0)
        r = resolve_append(resolve, entry->resolve);
    entry_release(entry);
    return (int) r;
}

int
uco__http_names_find(struct uco__http_names *names, struct uco_loop *loop,
                     const struct uco__http_origin *origin, struct curl_slist **resolve)
{
    const struct fixed *fixed = names_search_fixed(names, origin);

    if (fixed != NULL)
        return resolve_append_addresses(resolve, origin->key, fixed->addresses);
    if (origin->numeric)
        return 0;
    if (origin->host_length > HOST_MAX + 1) /* a dot may end it */
        return -ENOENT;
    if (host_is_local(origin->key, origin->host_length))
        return resolve_append_addresses(resolve, origin->key, "127.0.0.1,[::1]");
    return names_ask(names, loop, origin, resolve);
}
