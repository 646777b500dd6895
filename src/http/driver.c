/* SPDX-License-Identifier: MIT */

/*
 * The driver.
 *
 * 1. curl_multi_*() is called in driver_run() only, on the loop's own stack, and never inside one
 *    of curl's callbacks: those keep notes. (Setting a new multi handle up is no such call.)
 * 2. A transfer is in `adding`, `active` or `removing`, or not the driver's. It leaves in
 *    transfer_end() only, and is told so after that: until then curl may use its memory.
 *
 * Each client has a driver, with a multi handle of its own. One for each loop was tried first on
 * paper: then a client that is closed cannot close its connections, since nothing takes them out of
 * a multi handle's cache.
 */

#include "http/driver.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/loop.h"

#include <poll.h>
#include <unistd.h>

#define EVENTS_MAX 20 /* of curl's a turn: each may take it some 50 us, others some 2 ms in all */
#define ADDED_MAX 10  /* of those */
#define RECEIVED_MAX ((size_t) 1024 * 1024) /* bytes a turn; curl takes some MB more at once */

static void
driver_schedule(struct uco__http_driver *driver)
{
    if (driver->queued)
        return;
    driver->queued = true;
    uco__scheduler_call(driver->loop, &driver->ready);
}

static void
driver_sockets_changed(struct uco__http_sockets *sockets)
{
    driver_schedule(UCO__CONTAINER(sockets, struct uco__http_driver, sockets));
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

/* libcurl before 8.3 forgets to end a transfer whose sending is stopped when the server ends the
 * connection: it neither reads nor sends. Let go on, once, it looks again. */
static void
transfer_look_again(struct uco__http_transfer *transfer)
{
    if (transfer->paused != CURLPAUSE_SEND || transfer->looked)
        return;
    transfer->looked = true;
    uco__http_transfer_resume(transfer, CURLPAUSE_SEND);
}

/* It must not fail: curl would then give up all its transfers, not only the one that cannot be
 * watched. */
static int
curl_watches(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct uco__http_driver *driver = arg;
    struct uco__http_transfer *transfer = transfer_of(easy);
    short wanted = 0;
    int r;

    (void) unused;
    if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) {
        uco__http_sockets_relax(&driver->sockets, fd);
        if (transfer != NULL)
            transfer_look_again(transfer);
        return 0;
    }
    if (transfer != NULL && (what & CURL_POLL_IN) != 0)
        transfer->looked = false;
    if ((what & CURL_POLL_IN) != 0)
        wanted |= POLLIN;
    if ((what & CURL_POLL_OUT) != 0)
        wanted |= POLLOUT;
    r = uco__http_sockets_watch(&driver->sockets, fd, wanted,
                                transfer != NULL && transfer->connected);
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

/* One that is too early does no harm: it asks curl when it is to come again. So it need not be
 * moved with each request's timeout. */
static void
driver_set_timer(struct uco__http_driver *driver, uint64_t deadline)
{
    if (uco__timer_pending(&driver->timer) && driver->timer.node.deadline <= deadline)
        return;
    uco__timer_stop(driver->loop, &driver->timer);
    uco__timer_start(driver->loop, &driver->timer, deadline);
}

static int
curl_sets_timer(CURLM *multi, long timeout, void *arg)
{
    struct uco__http_driver *driver = arg;

    (void) multi;
    driver->timed = true;
    driver->expired = timeout == 0;
    if (timeout > 0)
        driver_set_timer(driver,
                         uco__loop_now(driver->loop) + (uint64_t) timeout * UCO__MILLISECOND);
    else
        uco__timer_stop(driver->loop, &driver->timer);
    if (timeout == 0)
        driver_schedule(driver);
    return 0;
}

static int
curl_closes(void *arg, curl_socket_t fd)
{
    struct uco__http_driver *driver = arg;

    uco__http_sockets_close(&driver->sockets, fd);
    return close(fd);
}

static curl_socket_t
curl_opens(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct uco__http_transfer *transfer = arg;
    int type = address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int fd, r;

    (void) purpose;
    fd = (int) UCO__SYSTEM(socket, socket(address->family, type, address->protocol));
    r = fd >= 0 ? uco__http_sockets_open(&transfer->driver->sockets, fd) : fd;
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
    transfer->looked = false;
    return transfer->begun(transfer) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
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

static struct uco__http_transfer *
transfer_of_link(struct uco__list *link)
{
    return UCO__CONTAINER(link, struct uco__http_transfer, link);
}

void
uco__http_transfer_fail(struct uco__http_transfer *transfer, int error)
{
    if (transfer->error == 0)
        transfer->error = error;
    /* To be taken out, in the driver's next turn. */
    uco__list_remove(&transfer->link);
    uco__list_push_back(&transfer->driver->removing, &transfer->link);
    driver_schedule(transfer->driver);
}

/* curl had no memory for its books. A transfer may then never be heard of again, and in 7.88 the
 * multi handle is left in a state in which it crashes later: all it has is ended, and another takes
 * its place. */
static void
driver_check(struct uco__http_driver *driver, CURLMcode code)
{
    if (code == CURLM_OK)
        return;
    driver->broken = true;
    while (!uco__list_empty(&driver->active))
        uco__http_transfer_fail(transfer_of_link(driver->active.next), -ENOMEM);
}

/* The same for the one function of curl's that has another kind of result. */
static void
driver_check_pause(struct uco__http_driver *driver, CURLcode code)
{
    driver_check(driver, code == CURLE_OUT_OF_MEMORY ? CURLM_OUT_OF_MEMORY : CURLM_OK);
}

static void
transfer_end(struct uco__http_transfer *transfer)
{
    /* What 7.88 has kept for a transfer that is paused it frees only when nobody else uses the
     * connection: it is asked to hand it over, and that is refused. */
    transfer->paused |= transfer->unpausing;
    if (transfer->in_multi && (transfer->paused & CURLPAUSE_RECV) != 0 && !transfer->driver->broken)
        driver_check_pause(transfer->driver, curl_easy_pause(transfer->easy, CURLPAUSE_CONT));
    if (transfer->in_multi)
        curl_multi_remove_handle(transfer->driver->multi, transfer->easy);
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, NULL);
    uco__list_remove(&transfer->link);
    uco__list_remove(&transfer->resuming);
    transfer->ended(transfer);
}

void
uco__http_transfer_resume(struct uco__http_transfer *transfer, int direction)
{
    if ((transfer->paused & direction) == 0)
        return;
    transfer->paused &= ~direction;
    transfer->unpausing |= direction;
    if (uco__list_empty(&transfer->resuming))
        uco__list_push_back(&transfer->driver->resuming, &transfer->resuming);
    driver_schedule(transfer->driver);
}

int
uco__http_driver_start(struct uco__http_driver *driver, struct uco__http_transfer *transfer)
{
    uco__list_init(&transfer->link);
    uco__list_init(&transfer->resuming);
    transfer->driver = driver;
    transfer->code = CURLE_OK;
    transfer->error = 0;
    transfer->socket_error = 0;
    transfer->paused = 0;
    transfer->unpausing = 0;
    transfer->looked = false;
    transfer->in_multi = false;
    transfer->opened = false;
    transfer->connected = false;
    if (curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer) != CURLE_OK ||
        curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, transfer) != CURLE_OK ||
        curl_easy_setopt(transfer->easy, CURLOPT_PREREQDATA, transfer) != CURLE_OK)
        return -ENOMEM;
    uco__list_push_back(&driver->adding, &transfer->link);
    driver_schedule(driver);
    return 0;
}

/* --- a turn --- */

static void
driver_remove(struct uco__http_driver *driver)
{
    while (!uco__list_empty(&driver->removing))
        transfer_end(transfer_of_link(driver->removing.next));
}

/* curl calls the callbacks again right here, with what it had to keep. */
static void
driver_resume(struct uco__http_driver *driver)
{
    struct uco__list *link;

    while ((link = uco__list_pop_front(&driver->resuming)) != NULL) {
        struct uco__http_transfer *transfer =
            UCO__CONTAINER(link, struct uco__http_transfer, resuming);
        CURLcode code;

        if (!transfer->in_multi || driver->broken)
            continue;
        transfer->unpausing = 0;
        /* Of a stream of HTTP/2 curl may have kept 32 MB. If it had to keep the rest again, it
         * would copy that each time. */
        transfer->taking = true;
        transfer->overfull = false;
        code = curl_easy_pause(transfer->easy, transfer->paused);
        transfer->taking = false;
        if (code == CURLE_OK && transfer->overfull && transfer->error == 0) {
            transfer->paused |= CURLPAUSE_RECV;
            code = curl_easy_pause(transfer->easy, transfer->paused);
        }
        driver_check_pause(driver, code);
        /* Without a connection: curl begins anew on another, and has forgotten the pause. */
        if (code != CURLE_OK && code != CURLE_BAD_FUNCTION_ARGUMENT) {
            transfer->code = code;
            uco__http_transfer_fail(transfer, code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EPROTO);
        }
    }
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

static void
driver_dispatch(struct uco__http_driver *driver, unsigned most)
{
    short news;
    int fd, running;

    driver->received = 0;
    while (most-- > 0 && !driver->broken && driver->received < RECEIVED_MAX &&
           (fd = uco__http_sockets_next(&driver->sockets, &news)) >= 0) {
        int tried = ((news & POLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                    ((news & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0);

        driver_check(driver, curl_multi_socket_action(driver->multi, fd, tried, &running));
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
    /* curl rounds down, or our clock is not its own: it may be too early, and it does not say the
     * same time twice. */
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

/* Takes what is broken out of use; false, and nothing can be added, while there is no memory for
 * another. */
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

    if (driver->stopped != NULL) {
        /* `queued` stays set: there is no next turn, whatever curl or a late request may want. */
        uco__http_driver_done(driver);
        driver->stopped(driver);
        return;
    }
    driver->queued = false;
    driver->now = uco__loop_now(driver->loop);
    driver_remove(driver);
    if (!driver_repair(driver)) {
        while (!uco__list_empty(&driver->adding))
            uco__http_transfer_fail(transfer_of_link(driver->adding.next), -ENOMEM);
        return;
    }
    driver_resume(driver);
    added = driver->broken ? 0 : driver_add(driver);
    driver_dispatch(driver, EVENTS_MAX - added);
    if (driver->expired && !driver->broken)
        driver_expire(driver);
    driver_collect(driver);
    if (uco__http_sockets_sweep(&driver->sockets) || driver->expired ||
        !uco__list_empty(&driver->adding))
        driver_schedule(driver);
}

/* --- beginning and end --- */

int
uco__http_driver_init(struct uco__http_driver *driver, struct uco_loop *loop, size_t connections)
{
    *driver = (struct uco__http_driver){
        .loop = loop, .connections = (long) connections, .ready.run = driver_run};
    uco__timer_init(&driver->timer, driver_fire);
    uco__list_init(&driver->adding);
    uco__list_init(&driver->active);
    uco__list_init(&driver->removing);
    uco__list_init(&driver->resuming);
    uco__http_sockets_init(&driver->sockets, loop, driver_sockets_changed);
    driver->multi = multi_new(driver);
    return driver->multi != NULL ? 0 : -ENOMEM;
}

void
uco__http_driver_stop(struct uco__http_driver *driver,
                      void (*stopped)(struct uco__http_driver *driver))
{
    driver->stopped = stopped;
    driver_schedule(driver);
}

void
uco__http_driver_done(struct uco__http_driver *driver)
{
    curl_multi_cleanup(driver->multi);
    uco__timer_stop(driver->loop, &driver->timer);
    uco__http_sockets_done(&driver->sockets);
}
