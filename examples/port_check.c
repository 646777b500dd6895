/* SPDX-License-Identifier: MIT */

/*
 * port_check [--open] [--timeout SECONDS] HOST PORT|FIRST-LAST... - Which TCP ports are open?
 *
 *   port_check localhost 22 80 8000-8100
 *
 * Prints a line for each port (with --open only for those that are), in their order: open, closed
 * (the host said no), or filtered (nothing came back within SECONDS, 1, or the network said no).
 * Exit status: 0 all are open, 1 some are not, 2 it could not be found out.
 *
 * It shows a semaphore as the limit of what goes on at once. The permit is taken before the task is
 * made and given back by the task, so there are never more tasks, and file descriptors, than
 * permits, however many ports there are.
 *
 * Of a HOST with several addresses the first is asked.
 */

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <uco/uco.h>

enum {
    PORTS = UINT16_MAX + 1,
    PARALLEL = 500, /* connections at once */
    OTHER_FILES = 32,
};

enum state { NOT_ASKED, WANTED, OPEN, CLOSED, FILTERED };

struct scan {
    const char *host;
    double timeout; /* seconds */
    bool only_open;
    uco_semaphore permits;
    socklen_t address_size;
    struct sockaddr_storage address; /* with whatever port */
    unsigned char states[PORTS];     /* enum state */
};

struct check {
    struct scan *scan;
    uint16_t port;
};

/* --- one port --- */

/* A connection to one of this host's own ports can be given just that port for its own end. Then it
 * is to itself: nobody listens there. */
static bool
is_to_itself(int fd, const struct sockaddr_storage *peer)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    memset(&own, 0, sizeof own);
    if (getsockname(fd, (struct sockaddr *) &own, &size) < 0)
        return false;
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const void *) &own, *b = (const void *) peer;

        return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *a = (const void *) &own, *b = (const void *) peer;

    return a->sin6_port == b->sin6_port && IN6_ARE_ADDR_EQUAL(&a->sin6_addr, &b->sin6_addr);
}

static intptr_t
check_connect(void *arg)
{
    const struct check *check = arg;
    struct sockaddr_storage address = check->scan->address;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r;

    if (fd < 0)
        return -errno;
    if (address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *) &address)->sin6_port = htons(check->port);
    else
        ((struct sockaddr_in *) &address)->sin_port = htons(check->port);
    r = uco_connect(fd, (const struct sockaddr *) &address, check->scan->address_size);
    if (r == 0 && is_to_itself(fd, &address))
        r = -ECONNREFUSED;
    uco_close(fd);
    return r;
}

static void
check_discard(void *arg)
{
    struct check *check = arg;

    uco_semaphore_release(&check->scan->permits);
    free(check);
}

static intptr_t
check_run(void *arg)
{
    struct check *check = arg;
    intptr_t r = uco_with_timeout(check->scan->timeout, check_connect, check);
    enum state state = NOT_ASKED;

    if (r == 0)
        state = OPEN;
    else if (r == -ECONNREFUSED)
        state = CLOSED;
    else if (r == -ETIMEDOUT || r == -EHOSTUNREACH || r == -ENETUNREACH || r == -EACCES ||
             r == -ECONNRESET || r == -EPERM)
        state = FILTERED;
    check->scan->states[check->port] = (unsigned char) state;
    check_discard(check);
    return state == NOT_ASKED ? r : 0; /* no memory, say: it would be so for the others too */
}

/* --- all --- */

static int
check_start(struct scan *scan, uco_group *group, uint16_t port)
{
    uco_task_options options = {.name = "check", .discard = check_discard};
    struct check *check;
    int r = uco_semaphore_acquire(&scan->permits);

    if (r < 0)
        return r;
    check = malloc(sizeof *check);
    if (check == NULL) {
        uco_semaphore_release(&scan->permits);
        return -ENOMEM;
    }
    *check = (struct check){scan, port};
    if (uco_group_create_task_with(group, &options, check_run, check) == NULL) {
        r = -errno;
        check_discard(check);
    }
    return r;
}

static int
scan_ports(struct scan *scan)
{
    uco_group *group = uco_group_new();
    int r = 0;

    if (group == NULL)
        return -errno;
    for (unsigned port = 0; port < PORTS && r == 0; port++) {
        if (scan->states[port] == WANTED)
            r = check_start(scan, group, (uint16_t) port);
    }
    /* -ECANCELED is what a new member gets when another has failed: that one's error says more. */
    if (r == 0 || r == -ECANCELED) {
        int waited = uco_group_wait(group);

        r = waited < 0 ? waited : r;
    }
    uco_group_free(group);
    return r;
}

static int
scan_look_up(struct scan *scan)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int r = uco_getaddrinfo(scan->host, NULL, &hints, &list);

    if (r < 0)
        return r;
    memcpy(&scan->address, list->ai_addr, list->ai_addrlen);
    scan->address_size = list->ai_addrlen;
    uco_freeaddrinfo(list);
    return 0;
}

static intptr_t
scan_run(void *arg)
{
    struct scan *scan = arg;
    int r = scan_look_up(scan);

    return r < 0 ? r : scan_ports(scan);
}

/* Returns whether all are open. */
static bool
scan_print(const struct scan *scan)
{
    static const char *const names[] = {
        [OPEN] = "open", [CLOSED] = "closed", [FILTERED] = "filtered"};
    bool all = true;

    for (unsigned port = 0; port < PORTS; port++) {
        unsigned state = scan->states[port];

        all = all && (state == NOT_ASKED || state == OPEN);
        if (state == OPEN || (state > OPEN && !scan->only_open))
            printf("%u %s\n", port, names[state]);
    }
    return all;
}

/* --- the command line --- */

static bool
ports_parse(struct scan *scan, const char *text)
{
    char *end;
    unsigned long first = strtoul(text, &end, 10), last = first;

    if (end == text)
        return false;
    if (*end == '-') {
        text = end + 1;
        last = strtoul(text, &end, 10);
    }
    if (end == text || *end != '\0' || first == 0 || first > last || last >= PORTS)
        return false;
    memset(scan->states + first, WANTED, last - first + 1);
    return true;
}

static bool
seconds_parse(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    return end != text && *end == '\0' && *seconds > 0;
}

static bool
arguments_parse(struct scan *scan, char *argv[])
{
    for (argv++; *argv != NULL && strncmp(*argv, "--", 2) == 0; argv++) {
        if (strcmp(*argv, "--open") == 0)
            scan->only_open = true;
        else if (strcmp(*argv, "--timeout") != 0 || argv[1] == NULL ||
                 !seconds_parse(*++argv, &scan->timeout))
            return false;
    }
    if (argv[0] == NULL || argv[1] == NULL)
        return false;
    scan->host = *argv;
    while (*++argv != NULL) {
        if (!ports_parse(scan, *argv))
            return false;
    }
    return true;
}

/* As many at once as there may be open files. */
static size_t
permits(void)
{
    struct rlimit limit = {PARALLEL, PARALLEL};

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < PARALLEL + OTHER_FILES) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= PARALLEL + OTHER_FILES)
        return PARALLEL;
    return limit.rlim_cur > OTHER_FILES ? limit.rlim_cur - OTHER_FILES : 1;
}

int
main(int argc, char *argv[])
{
    static struct scan scan = {.timeout = 1.0};
    intptr_t r;

    (void) argc;
    if (!arguments_parse(&scan, argv)) {
        fprintf(stderr, "usage: port_check [--open] [--timeout SECONDS] HOST PORT|FIRST-LAST...\n");
        return 2;
    }
    uco_semaphore_init(&scan.permits, permits());
    r = uco_run(scan_run, &scan);
    if (r < 0) {
        fprintf(stderr, "port_check: %s: %s\n", scan.host, uco_strerror((int) r));
        return 2;
    }
    return scan_print(&scan) ? 0 : 1;
}
