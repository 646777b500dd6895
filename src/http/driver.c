/* SPDX-License-Identifier: MIT */

/*
 * The driver.
 *
 * 1. curl_multi_*() is called in driver_run() only, on the loop's own stack, and never inside one of curl's callbacks: those
 *    keep notes. (Setting a new multi handle up is no such call.)
 * 2. A transfer is in `adding`, `active` or `removing`, or not the driver's. It leaves in transfer_end() only, and its task
 *    is woken after that: until then curl may use its memory.
 * 3. A socket is known here from its opening to its closing, so that the callback which is to watch it needs no memory.
 * 4. A connection that curl no longer wants watched stays watched for some turns: between two requests curl lets go of it
 *    and wants it again at once. Then it is taken off, so that an idle connection keeps no loop waiting.
 * 5. libcurl 7.88 closes a socket that has not become a connection (also within the TLS handshake) without a word, before it
 *    says that it is not to be watched. So such a one is taken off at once, and a number that comes again is a new socket.
 * 6. What stands in the loop's run queue is freed when its turn comes, not before.
 *
 * Each client has a driver, with a multi handle of its own. One for each loop was tried first on paper: then a client that is
 * closed cannot close its connections, since nothing takes them out of a multi handle's cache.
 */

#include "http/driver.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/loop.h"
#include "task/task.h"

#include <poll.h>
#include <unistd.h>

#define EVENTS_MAX 32    /* of curl's a turn: each may take it some 30 us */
#define ADDED_MAX 16     /* of those */
#define SOCKETS_FIRST 64
#define SWEEP_TURNS 3    /* after which an idle connection is no longer watched: the next request mostly comes sooner */

struct uco__http_socket {
    struct uco__fd_watcher watcher;
    struct uco__list link;           /* in the driver's events */
    struct uco__list idle;           /* in the driver's idle ones: watched, and not wanted */
    struct uco__http_driver *driver; /* NULL: closed, and freed when its turn in the run queue comes */
    short wanted; /* by curl: POLLIN, POLLOUT */
    short seen;   /* to be told to curl */
    bool ours;        /* opened by our callback; else one of curl's inner ones, known while it is watched */
    bool established; /* closed by our callback */
    bool watching;
};

static void
driver_schedule(struct uco__http_driver *driver)
{
    if (driver->queued)
        return;
    driver->queued = true;
    uco__scheduler_call(driver->loop, &driver->ready);
}

/* --- sockets --- */

static struct uco__http_socket *
socket_find(const struct uco__http_driver *driver, curl_socket_t fd)
{
    return fd >= 0 && (size_t) fd < driver->socket_capacity ? driver->sockets[fd] : NULL;
}

static int
sockets_grow(struct uco__http_driver *driver, curl_socket_t fd)
{
    size_t capacity = driver->socket_capacity != 0 ? driver->socket_capacity : SOCKETS_FIRST;
    struct uco__http_socket **sockets;

    if ((size_t) fd < driver->socket_capacity)
        return 0;
    while (capacity <= (size_t) fd)
        capacity *= 2;
    sockets = uco__reallocate(driver->sockets, capacity * sizeof(struct uco__http_socket *));
    if (sockets == NULL)
        return -ENOMEM;
    for (size_t i = driver->socket_capacity; i < capacity; i++)
        sockets[i] = NULL;
    driver->sockets = sockets;
    driver->socket_capacity = capacity;
    return 0;
}

static void
socket_unwatch(struct uco__http_socket *socket)
{
    if (socket->watching)
        uco__loop_unwatch(socket->driver->loop, &socket->watcher);
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
    if (socket->driver == NULL) {
        uco__free(socket);
        return;
    }
    if (socket->wanted == 0)
        socket_unwatch(socket);
    if (socket->wanted == 0 || seen == 0)
        return;
    socket->seen |= seen;
    if (uco__list_empty(&socket->link))
        uco__list_push_back(&socket->driver->events, &socket->link);
    driver_schedule(socket->driver);
}

static struct uco__http_socket *
socket_new(struct uco__http_driver *driver, curl_socket_t fd, bool ours)
{
    struct uco__http_socket *socket;

    if (sockets_grow(driver, fd) < 0)
        return NULL;
    socket = uco__allocate(sizeof *socket);
    if (socket == NULL)
        return NULL;
    socket->watcher.ready.run = socket_run;
    socket->watcher.fd = fd;
    socket->driver = driver;
    socket->ours = ours;
    uco__list_init(&socket->link);
    uco__list_init(&socket->idle);
    driver->sockets[fd] = socket;
    return socket;
}

static void
socket_free(struct uco__http_socket *socket)
{
    socket_unwatch(socket);
    uco__list_remove(&socket->link);
    socket->driver->sockets[socket->watcher.fd] = NULL;
    socket->driver = NULL;
    if (!socket->watcher.queued)
        uco__free(socket);
}

static int
socket_watch(struct uco__http_socket *socket, short wanted)
{
    bool queued = socket->watcher.queued;
    int r;

    socket->wanted = wanted;
    uco__list_remove(&socket->idle);
    if (socket->watching && socket->watcher.events == wanted)
        return 0;
    socket_unwatch(socket);
    socket->watcher.events = wanted;
    r = uco__loop_watch(socket->driver->loop, &socket->watcher);
    socket->watching = r == 0;
    socket->watcher.queued = queued; /* it still stands where it stood */
    return r;
}

/* curl does not want to hear of it for now, or (one of its inner ones) will close it without telling us. */
static void
socket_relax(struct uco__http_socket *socket)
{
    struct uco__http_driver *driver = socket->driver;

    socket->wanted = 0;
    if (!socket->ours) {
        socket_free(socket);
        return;
    }
    if (!socket->established) {
        socket_unwatch(socket);
        return;
    }
    if (socket->watching && uco__list_empty(&socket->idle))
        uco__list_push_back(&driver->idle, &socket->idle);
    driver->sweep = SWEEP_TURNS;
    driver_schedule(driver);
}

/* --- curl's callbacks --- */

static struct uco__http_transfer *
transfer_of(CURL *easy)
{
    char *transfer = NULL;

    if (easy != NULL)
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return (struct uco__http_transfer *) (void *) transfer;
}

/* It must not fail: curl would then give up all its transfers, not only the one that cannot be watched. */
static int
curl_watches(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct uco__http_driver *driver = arg;
    struct uco__http_socket *socket = socket_find(driver, fd);
    struct uco__http_transfer *transfer;
    int r = -ENOMEM;

    (void) unused;
    if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) {
        if (socket != NULL)
            socket_relax(socket);
        return 0;
    }
    transfer = transfer_of(easy);
    if (socket == NULL)
        socket = socket_new(driver, fd, false);
    if (socket != NULL) {
        socket->established |= transfer != NULL && transfer->connected;
        r = socket_watch(socket, (short) ((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0)));
    }
    if (r < 0 && transfer != NULL)
        uco__http_transfer_fail(transfer, r);
    return 0;
}

static void
driver_fire(struct uco__timer *timer)
{
    struct uco__http_driver *driver = UCO__CONTAINER(timer, struct uco__http_driver, timer);

    driver->expired = true;
    driver_schedule(driver);
}

static int
curl_sets_timer(CURLM *multi, long timeout, void *arg)
{
    struct uco__http_driver *driver = arg;
    uint64_t now = uco__loop_now(driver->loop);

    (void) multi;
    driver->timed = true;
    driver->expired = timeout == 0;
    uco__timer_stop(driver->loop, &driver->timer);
    if (timeout > 0)
        uco__timer_start(driver->loop, &driver->timer, now + (uint64_t) timeout * UCO__MILLISECOND);
    else if (timeout == 0)
        driver_schedule(driver);
    return 0;
}

static int
curl_closes(void *arg, curl_socket_t fd)
{
    struct uco__http_socket *socket = socket_find(arg, fd);

    if (socket != NULL)
        socket_free(socket);
    return close(fd);
}

/* What curl opens has the number of one that it has closed without a word, and wants watched: it takes the new one for the
 * old one, and will not say so again. */
static int
socket_replace(struct uco__http_driver *driver, curl_socket_t fd)
{
    struct uco__http_socket *socket = socket_find(driver, fd);
    short wanted = socket != NULL ? socket->wanted : 0;

    if (socket != NULL)
        socket_free(socket);
    socket = socket_new(driver, fd, true);
    if (socket == NULL)
        return -ENOMEM;
    return wanted != 0 ? socket_watch(socket, wanted) : 0;
}

static curl_socket_t
curl_opens(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct uco__http_transfer *transfer = arg;
    int fd, r;

    (void) purpose;
    fd = (int) uco__system_result(
        socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol));
    r = fd >= 0 ? socket_replace(transfer->driver, fd) : fd;
    if (r < 0 && fd >= 0)
        curl_closes(transfer->driver, fd);
    /* Another of the host's addresses may do better. */
    transfer->connected = false;
    transfer->opened |= r == 0;
    transfer->socket_error = transfer->opened ? 0 : r;
    return r == 0 ? fd : CURL_SOCKET_BAD;
}

static int
curl_connected(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct uco__http_transfer *transfer = arg;

    (void) peer;
    (void) own;
    (void) peer_port;
    (void) own_port;
    transfer->connected = true;
    transfer->begun(transfer);
    return CURL_PREREQFUNC_OK;
}

CURLcode
uco__http_driver_prepare(struct uco__http_driver *driver, CURL *easy)
{
    CURLcode code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, curl_opens);

    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, curl_closes);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, driver);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, curl_connected);
    return code;
}

/* --- transfers --- */

static void
transfer_end(struct uco__http_transfer *transfer)
{
    if (transfer->in_multi)
        curl_multi_remove_handle(transfer->driver->multi, transfer->easy);
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, NULL);
    uco__list_remove(&transfer->link);
    transfer->ended(transfer);
    uco__wake(&transfer->wait, transfer->cancelled ? UCO__INTERRUPTED : 0);
}

/* To be taken out, in the driver's next turn. */
static void
transfer_take_out(struct uco__http_transfer *transfer)
{
    uco__list_remove(&transfer->link);
    uco__list_push_back(&transfer->driver->removing, &transfer->link);
    driver_schedule(transfer->driver);
}

static enum uco__abort
transfer_abort(struct uco__wait *wait)
{
    struct uco__http_transfer *transfer = UCO__CONTAINER(wait, struct uco__http_transfer, wait);

    transfer->cancelled = true;
    transfer_take_out(transfer);
    return UCO__TOO_LATE;
}

void
uco__http_transfer_fail(struct uco__http_transfer *transfer, int error)
{
    if (transfer->error == 0)
        transfer->error = error;
    transfer_take_out(transfer);
}

int
uco__http_driver_perform(struct uco__http_driver *driver, struct uco__task *task,
                         struct uco__http_transfer *transfer)
{
    int r;

    uco__list_init(&transfer->link);
    transfer->driver = driver;
    transfer->code = CURLE_OK;
    transfer->error = 0;
    transfer->socket_error = 0;
    transfer->cancelled = false;
    transfer->in_multi = false;
    transfer->opened = false;
    transfer->connected = false;
    r = uco__checkpoint();
    if (r == 0 && (curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer) != CURLE_OK ||
                   curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, transfer) != CURLE_OK ||
                   curl_easy_setopt(transfer->easy, CURLOPT_PREREQDATA, transfer) != CURLE_OK))
        r = -ENOMEM;
    if (r < 0) {
        transfer->ended(transfer);
        return r;
    }
    uco__list_push_back(&driver->adding, &transfer->link);
    driver_schedule(driver);
    uco__wait_init(&transfer->wait, "an HTTP transfer", transfer_abort);
    return uco__task_park(task, &transfer->wait) == UCO__INTERRUPTED ? -ECANCELED : transfer->error;
}

/* --- a turn --- */

static struct uco__http_transfer *
transfer_of_link(struct uco__list *link)
{
    return UCO__CONTAINER(link, struct uco__http_transfer, link);
}

static void
driver_remove(struct uco__http_driver *driver)
{
    while (!uco__list_empty(&driver->removing))
        transfer_end(transfer_of_link(driver->removing.next));
}

static unsigned
driver_add(struct uco__http_driver *driver)
{
    struct uco__list *link;
    unsigned count = 0;

    while (count < ADDED_MAX && (link = uco__list_pop_front(&driver->adding)) != NULL) {
        struct uco__http_transfer *transfer = transfer_of_link(link);

        uco__list_push_back(&driver->active, link);
        transfer->in_multi = curl_multi_add_handle(driver->multi, transfer->easy) == CURLM_OK;
        if (!transfer->in_multi)
            uco__http_transfer_fail(transfer, -ENOMEM);
        count++;
    }
    return count;
}

/* curl had no memory for its books. A transfer may then never be heard of again, and in 7.88 the multi handle is left in a
 * state in which it crashes later: all it has is ended, and another takes its place. */
static void
driver_check(struct uco__http_driver *driver, CURLMcode code)
{
    if (code == CURLM_OK)
        return;
    driver->broken = true;
    while (!uco__list_empty(&driver->active))
        uco__http_transfer_fail(transfer_of_link(driver->active.next), -ENOMEM);
}

/* Errors and hang-ups are told as what curl waits for: it then learns from the call itself what it is. */
static int
socket_news(const struct uco__http_socket *socket)
{
    bool failed = (socket->seen & (POLLERR | POLLHUP)) != 0;
    int news = 0;

    if ((socket->seen & POLLIN) != 0 || (failed && (socket->wanted & POLLIN) != 0))
        news |= CURL_CSELECT_IN;
    if ((socket->seen & POLLOUT) != 0 || (failed && (socket->wanted & POLLOUT) != 0))
        news |= CURL_CSELECT_OUT;
    return news;
}

static void
driver_dispatch(struct uco__http_driver *driver, unsigned most)
{
    struct uco__list *link;
    int running;

    while (most-- > 0 && !driver->broken && (link = uco__list_pop_front(&driver->events)) != NULL) {
        struct uco__http_socket *socket = UCO__CONTAINER(link, struct uco__http_socket, link);
        int news = socket_news(socket);

        socket->seen = 0;
        if (socket->wanted != 0)
            driver_check(driver, curl_multi_socket_action(driver->multi, socket->watcher.fd, news, &running));
    }
}

static void
driver_expire(struct uco__http_driver *driver)
{
    int running;
    long timeout;

    driver->expired = false;
    driver->timed = false;
    driver_check(driver, curl_multi_socket_action(driver->multi, CURL_SOCKET_TIMEOUT, 0, &running));
    /* curl rounds down, or our clock is not its own: it may be too early, and it does not say the same time twice. */
    if (!driver->timed && curl_multi_timeout(driver->multi, &timeout) == CURLM_OK)
        curl_sets_timer(driver->multi, timeout, driver);
}

static void
driver_collect(struct uco__http_driver *driver)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(driver->multi, &left)) != NULL) {
        struct uco__http_transfer *transfer = transfer_of(message->easy_handle);

        if (message->msg != CURLMSG_DONE || transfer == NULL)
            continue;
        transfer->code = message->data.result;
        transfer_end(transfer);
    }
}

/* Takes the connections off that have been idle for a while. */
static void
driver_sweep(struct uco__http_driver *driver)
{
    if (driver->sweep > 0 && --driver->sweep > 0)
        return;
    while (!uco__list_empty(&driver->idle))
        socket_unwatch(UCO__CONTAINER(driver->idle.next, struct uco__http_socket, idle));
}

static CURLM *
multi_new(struct uco__http_driver *driver)
{
    CURLM *multi = curl_multi_init();

    if (multi == NULL)
        return NULL;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, curl_watches);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, driver);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, curl_sets_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, driver);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, driver->connections);
    return multi;
}

/* Takes what is broken out of use; false, and nothing can be added, while there is no memory for another. */
static bool
driver_repair(struct uco__http_driver *driver)
{
    CURLM *multi = driver->broken ? multi_new(driver) : driver->multi;

    if (multi == NULL)
        return false;
    if (driver->broken)
        curl_multi_cleanup(driver->multi);
    driver->multi = multi;
    driver->broken = false;
    return true;
}

static void
driver_run(struct uco__ready *node)
{
    struct uco__http_driver *driver = UCO__CONTAINER(node, struct uco__http_driver, ready);
    unsigned added;

    driver->queued = false;
    if (driver->stopped != NULL) {
        uco__http_driver_done(driver);
        driver->stopped(driver);
        return;
    }
    driver_remove(driver);
    if (!driver_repair(driver)) {
        while (!uco__list_empty(&driver->adding))
            uco__http_transfer_fail(transfer_of_link(driver->adding.next), -ENOMEM);
        return;
    }
    added = driver_add(driver);
    driver_dispatch(driver, EVENTS_MAX - added);
    if (driver->expired && !driver->broken)
        driver_expire(driver);
    driver_collect(driver);
    driver_sweep(driver);
    if (driver->expired || !uco__list_empty(&driver->adding) || !uco__list_empty(&driver->events) ||
        !uco__list_empty(&driver->idle))
        driver_schedule(driver);
}

/* --- beginning and end --- */

int
uco__http_driver_init(struct uco__http_driver *driver, struct uco_loop *loop, size_t connections)
{
    *driver = (struct uco__http_driver) {.loop = loop, .connections = (long) connections, .ready.run = driver_run};
    uco__timer_init(&driver->timer, driver_fire);
    uco__list_init(&driver->adding);
    uco__list_init(&driver->active);
    uco__list_init(&driver->removing);
    uco__list_init(&driver->events);
    uco__list_init(&driver->idle);
    driver->multi = multi_new(driver);
    return driver->multi != NULL ? 0 : -ENOMEM;
}

void
uco__http_driver_stop(struct uco__http_driver *driver, void (*stopped)(struct uco__http_driver *driver))
{
    driver->stopped = stopped;
    driver_schedule(driver);
}

void
uco__http_driver_done(struct uco__http_driver *driver)
{
    curl_multi_cleanup(driver->multi);
    uco__timer_stop(driver->loop, &driver->timer);
    for (size_t fd = 0; fd < driver->socket_capacity; fd++) {
        if (driver->sockets[fd] != NULL)
            socket_free(driver->sockets[fd]); /* curl's inner ones */
    }
    uco__free(driver->sockets);
}
