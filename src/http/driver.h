/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_DRIVER_H
#define UCO_HTTP_DRIVER_H

/*
 * Between curl's multi interface and the loop: sockets, timer, and transfers that come and go.
 *
 * All of curl's work is done in the driver's own callback, on the loop's stack. A task hands a
 * transfer over, and has it back when it was taken out of the multi handle again.
 */

#include "base/list.h"
#include "core/scheduler.h"
#include "core/timers.h"
#include "http/socket.h"

#include <curl/curl.h>
#include <stdbool.h>

struct uco_loop;
struct uco__task;

struct uco__http_driver {
    struct uco_loop *loop;
    CURLM *multi;
    long connections; /* that curl keeps */
    bool broken;      /* the multi handle is to be replaced */
    struct uco__ready ready;
    bool queued;  /* `ready` is in the run queue */
    bool expired; /* curl's time has come */
    bool timed;   /* curl has said something about its time since it was last asked */
    struct uco__timer timer;
    struct uco__list adding;   /* transfers that wait to be added */
    struct uco__list active;   /* transfers in the multi handle */
    struct uco__list removing; /* transfers to be taken out before curl has ended them */
    struct uco__http_sockets sockets;
    void (*stopped)(struct uco__http_driver *driver); /* set: it is to end */
};

/* One request's way through the driver; in the frame of the task, which cannot leave before it has
 * ended. */
struct uco__http_transfer {
    struct uco__list link;
    struct uco__http_driver *driver;
    struct uco__wait wait;
    CURL *easy;
    /* The connection stands, and the request is about to be sent; in one of curl's callbacks. */
    void (*begun)(struct uco__http_transfer *transfer);
    /* It has been taken out, and nobody waits for it any more: on the loop's stack, or on the
     * task's if it never began. Called once. */
    void (*ended)(struct uco__http_transfer *transfer);
    CURLcode code;    /* curl's result */
    int error;        /* of ours, which ended it; 0: none */
    int socket_error; /* why not one socket could be opened for it; 0 */
    bool cancelled;
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

/* Suspends until the transfer, of which `easy`, `begun` and `ended` are set, is over: 0, and `code`
 * is curl's result; or what it was ended with: -ECANCELED, or uco__http_transfer_fail()'s error. */
int uco__http_driver_perform(struct uco__http_driver *driver, struct uco__task *task,
                             struct uco__http_transfer *transfer);

/* Ends a transfer early. Also in curl's callbacks: nothing happens before the driver's next turn.
 * */
void uco__http_transfer_fail(struct uco__http_transfer *transfer, int error);

#endif
