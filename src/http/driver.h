/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_DRIVER_H
#define UCO_HTTP_DRIVER_H

/*
 * Between curl's multi interface and the loop: sockets, timer, and transfers that come and go.
 *
 * All of curl's work is done in the driver's own callback, on the loop's stack. Whoever hands a
 * transfer over has it back when it was taken out of the multi handle again.
 */

#include "base/list.h"
#include "core/scheduler.h"
#include "core/timers.h"
#include "http/socket.h"

#include <curl/curl.h>
#include <stdbool.h>

struct uco_loop;

struct uco__http_driver {
    struct uco_loop *loop;
    CURLM *multi;
    long connections; /* that curl keeps */
    bool broken;      /* the multi handle is to be replaced */
    struct uco__ready ready;
    uint64_t now;    /* when this turn began; loop's clock */
    size_t received; /* bytes of bodies, in this turn: transfers count them */
    bool queued;     /* `ready` is in the run queue */
    bool expired;    /* curl's time has come */
    bool timed;      /* curl has said something about its time since it was last asked */
    struct uco__timer timer;
    struct uco__list adding;   /* transfers that wait to be added */
    struct uco__list active;   /* transfers in the multi handle */
    struct uco__list removing; /* transfers to be taken out before curl has ended them */
    struct uco__list resuming; /* transfers that a callback of theirs had stopped */
    struct uco__http_sockets sockets;
    void (*stopped)(struct uco__http_driver *driver); /* set: it is to end */
};

/* One request's way through the driver. Its memory stays until `ended`. */
struct uco__http_transfer {
    struct uco__list link;
    struct uco__list resuming; /* in the driver's list of that name */
    struct uco__http_driver *driver;
    CURL *easy;
    /* The connection stands, and the request is about to be sent; in one of curl's callbacks.
     * false: it must not, and the transfer was failed. */
    bool (*begun)(struct uco__http_transfer *transfer);
    /* It has been taken out; on the loop's stack. Called once, and last. */
    void (*ended)(struct uco__http_transfer *transfer);
    CURLcode code;    /* curl's result */
    int error;        /* of ours, which ended it; 0: none */
    int socket_error; /* why not one socket could be opened for it; 0 */
    bool taking;      /* all that curl has kept */
    bool overfull;    /* so there is more than there should be */
    int paused;       /* CURLPAUSE_RECV, CURLPAUSE_SEND: what its callbacks have stopped */
    int unpausing;    /* of those, what is to go on in the driver's next turn */
    bool looked;      /* it was let go on because curl no longer watched its connection */
    bool in_multi;
    bool opened;    /* a socket */
    bool connected; /* its connection stands, TLS included */
};

/* 0 or -ENOMEM. */
int uco__http_driver_init(struct uco__http_driver *driver, struct uco_loop *loop,
                          size_t connections);
/* Without transfers. Ends in a callback of the loop's, which calls `stopped` last. */
void uco__http_driver_stop(struct uco__http_driver *driver,
                           void (*stopped)(struct uco__http_driver *driver));
/* For one that was never used: at once. */
void uco__http_driver_done(struct uco__http_driver *driver);

/* What an easy handle needs to know of the driver: once, and for each transfer. */
CURLcode uco__http_driver_prepare(struct uco__http_driver *driver, CURL *easy);

/* Begins a transfer, of which `easy`, `begun` and `ended` are set: 0, and it will end; or -ENOMEM.
 * */
int uco__http_driver_start(struct uco__http_driver *driver, struct uco__http_transfer *transfer);

/* Ends a transfer early. Also in curl's callbacks: nothing happens before the driver's next turn.
 * The first error counts. */
void uco__http_transfer_fail(struct uco__http_transfer *transfer, int error);

/* One of its callbacks had stopped this direction, CURLPAUSE_RECV or CURLPAUSE_SEND: it is called
 * again, in the driver's next turn. */
void uco__http_transfer_resume(struct uco__http_transfer *transfer, int direction);

#endif
