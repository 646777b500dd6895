/* SPDX-License-Identifier: MIT */

/*
 * Dialling: Happy Eyeballs (RFC 8305).
 *
 * 1. A name with one address, a numeric address and a Unix socket are connected to in the calling
 *    task; only a race of several addresses has tasks, each with an address.
 * 2. The attempts are children of the caller, in a group that has ended when uco_dial() returns:
 *    they use its frame and its list of addresses.
 * 3. Who connects first leaves its fd in the race; all other fds are closed by their attempts.
 * 4. An attempt that has ended says so once, also when it never began.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/dump.h"
#include "core/report.h"
#include "io/address.h"
#include "io/fd.h"
#include "io/name.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <uco/group.h>
#include <uco/io.h>
#include <uco/name.h>
#include <uco/net.h>

/* Seconds from one attempt to the next if none fails (RFC 8305, section 5). */
#define ATTEMPT_DELAY 0.250

/* --- one address --- */

/* A socket that connects to a port of this machine which nobody listens on may be given that very
 * port, and then is connected to itself. */
static bool
is_own_peer(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct sockaddr_storage own = {0};
    socklen_t size = sizeof own;

    return addr->sa_family != AF_UNIX &&
           UCO__SYSTEM(getsockname, getsockname(fd, (struct sockaddr *) &own, &size)) == 0 &&
           size == len && memcmp(&own, addr, len) == 0;
}

static int
dial_address(struct uco_loop *loop, const struct sockaddr *addr, socklen_t len, int protocol)
{
    const int yes = 1;
    int fd = (int) UCO__SYSTEM(
        socket, socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
    int r;

    if (fd < 0)
        return fd;
    uco__poller_know(&loop->poller, fd, addr->sa_family != AF_UNIX);
    /* Of no consequence when it fails: small writes are then later, but not lost. */
    if (addr->sa_family != AF_UNIX)
        (void) UCO__SYSTEM(setsockopt, setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    r = uco_connect(fd, addr, len);
    if (r == 0 && is_own_peer(fd, addr, len))
        r = -ECONNREFUSED;
    if (r == 0)
        return fd;
    uco_close(fd);
    return r;
}

static int
dial_info(struct uco_loop *loop, const struct addrinfo *info)
{
    return dial_address(loop, info->ai_addr, info->ai_addrlen, info->ai_protocol);
}

/* --- the order of several --- */

/* Two walks through a list: one over the addresses of the first one's family, and one over the
 * others. */
struct order {
    const struct addrinfo *walks[2];
    int family;
    int turn;
};

static const struct addrinfo *
order_seek(const struct order *order, const struct addrinfo *info, int walk)
{
    while (info != NULL && (info->ai_family == order->family) != (walk == 0))
        info = info->ai_next;
    return info;
}

static void
order_init(struct order *order, const struct addrinfo *list)
{
    *order = (struct order){.family = list->ai_family};
    order->walks[0] = list;
    order->walks[1] = order_seek(order, list, 1);
}

/* NULL: no address is left. */
static const struct addrinfo *
order_next(struct order *order)
{
    int walk = order->walks[order->turn] != NULL ? order->turn : !order->turn;
    const struct addrinfo *info = order->walks[walk];

    if (info != NULL)
        order->walks[walk] = order_seek(order, info->ai_next, walk);
    order->turn = !walk;
    return info;
}

static bool
order_is_over(const struct order *order)
{
    return order->walks[0] == NULL && order->walks[1] == NULL;
}

/* --- the race --- */

struct race {
    struct uco__task *task;
    struct uco_group *group;
    struct order order;
    struct attempt *attempts; /* as many as there are addresses */
    size_t started;
    size_t running;
    int fd;    /* the winner's, or -1 */
    int error; /* what to tell if there is none; 0: nothing failed yet */
    bool waiting;
    struct uco__wait wait;
    struct uco__timer timer;
};

struct attempt {
    struct race *race;
    const struct addrinfo *info;
};

static void
race_note(struct race *race, int result)
{
    if (result < 0)
        race->error = uco__address_error(race->error, result);
    else if (race->fd < 0)
        race->fd = result;
    else
        uco_close(result);
}

static void
attempt_end(struct attempt *attempt, int result)
{
    struct race *race = attempt->race;

    race->running--;
    race_note(race, result);
    if (race->waiting)
        uco__wake(&race->wait, 0);
}

static intptr_t
attempt_run(void *arg)
{
    struct attempt *attempt = arg;

    attempt_end(attempt, dial_info(attempt->race->task->future.loop, attempt->info));
    return 0;
}

/* It was cancelled before it began, when nobody asks for its error any more; or got no stack. */
static void
attempt_discard(void *arg)
{
    attempt_end(arg, -ENOMEM);
}

/* Whether it did. */
static bool
race_start_next(struct race *race)
{
    const uco_task_options options = {.discard = attempt_discard};
    struct attempt *attempt = &race->attempts[race->started++];
    int saved_errno = uco__errno_save();

    *attempt = (struct attempt){.race = race, .info = order_next(&race->order)};
    race->running++;
    if (uco_group_create_task_with(race->group, &options, attempt_run, attempt) != NULL)
        return true;
    *uco__error_location() = saved_errno;
    race->running--;
    race_note(race, -ENOMEM);
    return false;
}

static enum uco__abort
race_abort(struct uco__wait *wait)
{
    (void) wait;
    return UCO__UNLINKED;
}

static void
race_time_out(struct uco__timer *timer)
{
    uco__wake(&UCO__CONTAINER(timer, struct race, timer)->wait, 0);
}

static bool
race_describe(struct uco__dump *dump, const struct uco__wait *wait)
{
    struct race race;

    if (!UCO__DUMP_READ_AROUND(dump, &race, wait, struct race, wait))
        return false;
    uco__dump_text(dump, "a connection (");
    uco__dump_number(dump, race.running);
    uco__dump_text(dump,
                   race.running == 1 ? " address is being tried)" : " addresses are being tried)");
    return true;
}

static UCO__WAIT_KIND(wait_race, "a connection", race_describe);

/* Until an attempt has ended, or it is time for the next one: 0, -ECANCELED. */
static int
race_wait(struct race *race, double timeout)
{
    struct uco_loop *loop = race->task->future.loop;
    intptr_t r;

    uco__wait_init(&race->wait, &wait_race, race_abort);
    uco__timer_init(&race->timer, race_time_out);
    uco__timer_start(loop, &race->timer, uco__clock_after(uco__loop_now(loop), timeout));
    race->waiting = true;
    r = uco__task_park(race->task, &race->wait);
    race->waiting = false;
    uco__timer_stop(loop, &race->timer);
    return r == UCO__INTERRUPTED ? -ECANCELED : 0;
}

static int
race_run(struct race *race)
{
    int r = 0;

    while (r == 0 && race->fd < 0) {
        bool more = !order_is_over(&race->order);

        if (more && !race_start_next(race))
            continue;
        if (race->running == 0)
            break;
        r = race_wait(race, order_is_over(&race->order) ? UCO_FOREVER : ATTEMPT_DELAY);
    }
    return r < 0 ? r : race->fd >= 0 ? race->fd : race->error;
}

static int
race_list(struct uco__task *task, const struct addrinfo *list, size_t count)
{
    struct race race = {.task = task, .fd = -1};
    int saved_errno = uco__errno_save();
    int r = -ENOMEM;

    order_init(&race.order, list);
    race.attempts = uco__allocate(count * sizeof *race.attempts);
    if (race.attempts == NULL)
        return r;
    race.group = uco_group_new();
    if (race.group != NULL) {
        r = race_run(&race);
        uco_group_cancel(race.group);
        (void) uco_group_wait(race.group); /* what it tells, the race knows */
        uco_group_free(race.group);
        if (r < 0 && race.fd >= 0)
            uco_close(race.fd); /* connected after the caller was cancelled */
    } else
        *uco__error_location() = saved_errno;
    uco__free(race.attempts);
    return r;
}

/* --- dial --- */

static size_t
count_addresses(const struct addrinfo *list)
{
    size_t count = 0;

    for (; list != NULL; list = list->ai_next)
        count++;
    return count;
}

static int
dial_list(struct uco__task *task, const struct addrinfo *list)
{
    size_t count = count_addresses(list);

    return count > 1 ? race_list(task, list, count) : dial_info(task->future.loop, list);
}

static int
dial_unix(struct uco__task *task, const char *path)
{
    struct sockaddr_un addr;
    socklen_t len;
    int r = uco__address_unix(path, "uco_dial", &addr, &len);

    return r < 0 ? r : dial_address(task->future.loop, (const struct sockaddr *) &addr, len, 0);
}

int
uco_dial(const char *host, uint16_t port)
{
    struct addrinfo *list = NULL;
    struct uco__task *task;
    const char *path;
    int r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    if (host == NULL)
        return uco__misuse(-EINVAL, "uco_dial: the host is NULL");
    path = uco__address_unix_path(host);
    if (path != NULL)
        return dial_unix(task, path);
    r = uco__name_lookup(host, port, 0, &list); /* at once if it is numeric */
    if (r < 0)
        return r;
    r = dial_list(task, list);
    uco_freeaddrinfo(list);
    return r;
}
