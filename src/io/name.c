/* SPDX-License-Identifier: MIT */

/*
 * Names to addresses.
 *
 * 1. A look-up is shared by the task that waits and the job that runs; the last of them frees it.
 *    So the task may leave.
 */

#include "io/name.h"

#include "base/error.h"
#include "base/system.h"
#include "task/task.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uco/thread.h>

#define PORT_MAX 8 /* characters */

struct lookup {
    atomic_uint holders;
    int error;
    int flags;
    struct addrinfo *result; /* taken by the task, or freed with the look-up */
    char port[PORT_MAX];
    char host[];
};

static int
name_error(int code)
{
    switch (code) {
    case 0:
        return 0;
    case EAI_NONAME:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
        return -ENOENT;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return -*uco__error_location();
    case EAI_FAIL:
        return -EIO;
    default:
        return -EINVAL;
    }
}

static int
name_get(const char *host, const char *port, int flags, struct addrinfo **result)
{
    struct addrinfo hints = {.ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};

    return name_error(getaddrinfo(host, port, &hints, result));
}

int
uco__name_numeric(const char *host, uint16_t port, struct addrinfo **result)
{
    char text[PORT_MAX];

    snprintf(text, sizeof text, "%u", (unsigned) port);
    return name_get(host, text, AI_NUMERICHOST | AI_PASSIVE, result);
}

static void
lookup_release(struct lookup *lookup)
{
    if (atomic_fetch_sub_explicit(&lookup->holders, 1, memory_order_acq_rel) != 1)
        return;
    if (lookup->result != NULL)
        freeaddrinfo(lookup->result);
    uco__free(lookup);
}

static bool
name_ends_with(const char *host, const char *suffix)
{
    size_t length = strlen(host);
    size_t size = strlen(suffix);

    if (length > 0 && host[length - 1] == '.')
        length--;
    return length >= size && strncasecmp(host + length - size, suffix, size) == 0;
}

/* RFC 6761: localhost, and all below it, is this machine, also where no file and no server says so.
 */
static bool
name_is_local(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0 ||
           name_ends_with(host, ".localhost");
}

static intptr_t
lookup_run(void *arg)
{
    struct lookup *lookup = arg;

    lookup->error = name_get(lookup->host, lookup->port, lookup->flags, &lookup->result);
    if (lookup->error < 0 && name_is_local(lookup->host))
        lookup->error = name_get("127.0.0.1", lookup->port, lookup->flags, &lookup->result);
    lookup_release(lookup);
    return 0;
}

/* RFC 6761: these names never exist, and nobody is to be asked about them. */
static bool
name_is_invalid(const char *host)
{
    return name_ends_with(host, ".invalid");
}

int
uco__name_lookup(const char *host, uint16_t port, int flags, struct addrinfo **result)
{
    struct lookup *lookup;
    uco_future *job;
    size_t size;
    intptr_t r = uco__checkpoint();

    if (r < 0)
        return (int) r;
    if (name_is_invalid(host))
        return -ENOENT;
    size = strlen(host) + 1;
    lookup = uco__allocate(sizeof *lookup + size);
    if (lookup == NULL)
        return -ENOMEM;
    atomic_init(&lookup->holders, 2);
    lookup->flags = flags;
    snprintf(lookup->port, sizeof lookup->port, "%u", (unsigned) port);
    memcpy(lookup->host, host, size);
    job = uco_to_thread_start(lookup_run, lookup);
    if (job == NULL) {
        r = -*uco__error_location();
        uco__free(lookup);
        return (int) r;
    }
    r = uco_await(job);
    if (r < 0 && !uco_done(job))
        uco_cancel(job);
    if (r == 0) {
        r = lookup->error;
        *result = lookup->result;
        lookup->result = NULL;
    } else if (uco_result(job) == -ECANCELED) {
        lookup_release(lookup); /* the job never ran: its hold is ours */
    }
    uco_unref(job);
    lookup_release(lookup);
    return (int) r;
}
