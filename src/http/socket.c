/* SPDX-License-Identifier: MIT */

/*
 * Sockets.
 *
 * 1. A socket is known here from its opening to its closing, so that the call which is to watch it
 *    needs no memory.
 * 2. A connection that curl no longer wants watched stays watched for some turns: between two
 *    requests curl lets go of it and wants it again at once. Then it is taken off, so that an idle
 *    connection keeps no loop waiting.
 * 3. libcurl 7.88 closes a socket that has not become a connection (also within the TLS handshake)
 *    without a word, before it says that it is not to be watched. So such a one is taken off at
 *    once, and a number that comes again is a new socket.
 * 4. What stands in the loop's run queue is freed when its turn comes, not before.
 */

#include "http/socket.h"

#include "base/system.h"
#include "core/loop.h"

#include <poll.h>

#define TABLE_FIRST 64
#define SWEEP_TURNS 3  /* that an idle connection stays watched: mostly it is used again sooner */
#define UNWANTED_MAX 2 /* events of an idle connection that are passed over */

struct uco__http_socket {
    struct uco__fd_watcher watcher;
    struct uco__list link;             /* in `events` */
    struct uco__list idle;             /* in `idle`: watched, and not wanted */
    struct uco__http_sockets *sockets; /* NULL: closed, but it stands in the run queue */
    short wanted;                      /* by curl: POLLIN, POLLOUT */
    short seen;                        /* to be told to curl */
    unsigned char unwanted;            /* events since curl has let go of it */
    bool ours;                         /* else an inner one of curl's, known while it is watched */
    bool established;                  /* curl will say when it closes it */
    bool watching;
};

static struct uco__http_socket *
socket_find(const struct uco__http_sockets *sockets, int fd)
{
    return fd >= 0 && (size_t) fd < sockets->capacity ? sockets->table[fd] : NULL;
}

static int
table_grow(struct uco__http_sockets *sockets, int fd)
{
    size_t capacity = sockets->capacity != 0 ? sockets->capacity : TABLE_FIRST;
    struct uco__http_socket **table;

    if ((size_t) fd < sockets->capacity)
        return 0;
    while (capacity <= (size_t) fd)
        capacity *= 2;
    table = uco__reallocate(sockets->table, capacity * sizeof(struct uco__http_socket *));
    if (table == NULL)
        return -ENOMEM;
    for (size_t i = sockets->capacity; i < capacity; i++)
        table[i] = NULL;
    sockets->table = table;
    sockets->capacity = capacity;
    return 0;
}

static void
socket_unwatch(struct uco__http_socket *socket)
{
    if (socket->watching)
        uco__loop_unwatch(socket->sockets->loop, &socket->watcher);
    socket->watching = false;
    uco__list_remove(&socket->idle);
}

static void
socket_run(struct uco__ready *node)
{
    struct uco__http_socket *socket = UCO__CONTAINER(node, struct uco__http_socket, watcher.ready);
    short seen = socket->watcher.seen;

    socket->watcher.queued = false;
    socket->watcher.seen = 0;
    if (socket->sockets == NULL) {
        uco__free(socket);
        return;
    }
    if (socket->wanted == 0) {
        /* Mostly old news, which curl has learnt by itself. If it comes again, the other side has
         * closed. */
        if (++socket->unwanted > UNWANTED_MAX)
            socket_unwatch(socket);
        return;
    }
    if (seen == 0)
        return;
    socket->seen |= seen;
    if (uco__list_empty(&socket->link))
        uco__list_push_back(&socket->sockets->events, &socket->link);
    socket->sockets->changed(socket->sockets);
}

static struct uco__http_socket *
socket_new(struct uco__http_sockets *sockets, int fd, bool ours)
{
    struct uco__http_socket *socket;

    if (table_grow(sockets, fd) < 0)
        return NULL;
    socket = uco__allocate(sizeof *socket);
    if (socket == NULL)
        return NULL;
    socket->watcher.ready.run = socket_run;
    socket->watcher.fd = fd;
    socket->sockets = sockets;
    socket->ours = ours;
    uco__list_init(&socket->link);
    uco__list_init(&socket->idle);
    sockets->table[fd] = socket;
    return socket;
}

static void
socket_free(struct uco__http_socket *socket)
{
    socket_unwatch(socket);
    uco__list_remove(&socket->link);
    socket->sockets->table[socket->watcher.fd] = NULL;
    socket->sockets = NULL;
    if (!socket->watcher.queued)
        uco__free(socket);
}

static int
socket_watch(struct uco__http_socket *socket, short wanted)
{
    bool queued = socket->watcher.queued;
    int r;

    socket->wanted = wanted;
    socket->unwanted = 0;
    uco__list_remove(&socket->idle);
    if (socket->watching && socket->watcher.events == wanted)
        return 0;
    socket_unwatch(socket);
    socket->watcher.events = wanted;
    r = uco__loop_watch(socket->sockets->loop, &socket->watcher);
    socket->watching = r == 0;
    socket->watcher.queued = queued; /* it still stands where it stood */
    return r;
}

void
uco__http_sockets_init(struct uco__http_sockets *sockets, struct uco_loop *loop,
                       void (*changed)(struct uco__http_sockets *sockets))
{
    *sockets = (struct uco__http_sockets){.loop = loop, .changed = changed};
    uco__list_init(&sockets->events);
    uco__list_init(&sockets->idle);
}

void
uco__http_sockets_done(struct uco__http_sockets *sockets)
{
    for (size_t fd = 0; fd < sockets->capacity; fd++) {
        if (sockets->table[fd] != NULL)
            socket_free(sockets->table[fd]); /* those that curl has closed without a word */
    }
    uco__free(sockets->table);
    sockets->table = NULL;
    sockets->capacity = 0;
}

int
uco__http_sockets_open(struct uco__http_sockets *sockets, int fd)
{
    struct uco__http_socket *socket = socket_find(sockets, fd);
    short wanted = socket != NULL ? socket->wanted : 0;

    if (socket != NULL)
        socket_free(socket);
    socket = socket_new(sockets, fd, true);
    if (socket == NULL)
        return -ENOMEM;
    /* It has the number of one that curl has closed without a word, and wants watched: curl takes
     * the new one for the old one, and will not say so again. */
    return wanted != 0 ? socket_watch(socket, wanted) : 0;
}

void
uco__http_sockets_close(struct uco__http_sockets *sockets, int fd)
{
    struct uco__http_socket *socket = socket_find(sockets, fd);

    if (socket != NULL)
        socket_free(socket);
}

int
uco__http_sockets_watch(struct uco__http_sockets *sockets, int fd, short wanted, bool established)
{
    struct uco__http_socket *socket = socket_find(sockets, fd);

    if (socket == NULL)
        socket = socket_new(sockets, fd, false);
    if (socket == NULL)
        return -ENOMEM;
    socket->established |= established;
    return socket_watch(socket, wanted);
}

void
uco__http_sockets_relax(struct uco__http_sockets *sockets, int fd)
{
    struct uco__http_socket *socket = socket_find(sockets, fd);

    if (socket == NULL)
        return;
    socket->wanted = 0;
    if (!socket->ours) {
        socket_free(socket); /* curl will close it without telling us */
    } else if (!socket->established) {
        socket_unwatch(socket);
    } else if (socket->watching) {
        uco__list_remove(&socket->idle);
        uco__list_push_back(&sockets->idle, &socket->idle);
        sockets->sweep = SWEEP_TURNS;
        sockets->changed(sockets);
    }
}

/* Errors and hang-ups are told as what curl waits for: it then learns from the call itself what it
 * is. */
static short
socket_news(const struct uco__http_socket *socket)
{
    if ((socket->seen & (POLLERR | POLLHUP)) != 0)
        return socket->wanted;
    return socket->seen & (POLLIN | POLLOUT);
}

int
uco__http_sockets_next(struct uco__http_sockets *sockets, short *news)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&sockets->events)) != NULL) {
        struct uco__http_socket *socket = UCO__CONTAINER(link, struct uco__http_socket, link);

        *news = socket_news(socket);
        socket->seen = 0;
        if (socket->wanted != 0)
            return socket->watcher.fd;
    }
    return -1;
}

bool
uco__http_sockets_sweep(struct uco__http_sockets *sockets)
{
    if (sockets->sweep > 0)
        sockets->sweep--;
    while (sockets->sweep == 0 && !uco__list_empty(&sockets->idle))
        socket_unwatch(UCO__CONTAINER(sockets->idle.next, struct uco__http_socket, idle));
    return !uco__list_empty(&sockets->idle) || !uco__list_empty(&sockets->events);
}
