/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_WEBSOCKET_H
#define UCO_HTTP_WEBSOCKET_H

/* A WebSocket, between its handshake (websocket_open.c), what is sent (websocket_send.c), what is
 * received (websocket_receive.c) and its end (websocket.c). */

#include "base/list.h"
#include "core/loop.h"
#include "http/upgrade.h"
#include "http/websocket_frame.h"

#include <uco/http/websocket.h>

#define UCO__WEBSOCKET_MASKS 64 /* taken from the system at once */

/* One that is to be sent; of a message, in the frame of its task. */
struct uco__websocket_frame {
    struct uco__list link; /* in `waiting` or `taken` */
    struct uco_websocket *ws;
    struct uco__wait wait;
    bool awaited; /* by a task, in `wait` */
    unsigned char header[UCO__WEBSOCKET_HEADER_MAX];
    unsigned char mask[UCO__WEBSOCKET_MASK_SIZE];
    size_t header_size;
    const char *data;
    size_t size;
    size_t done; /* bytes that curl has, of the header and then the data */
};

/* Of at most so many bytes. */
struct uco__websocket_control {
    bool due; /* it is to be sent */
    struct uco__websocket_frame frame;
    size_t size;
    char data[UCO__WEBSOCKET_CONTROL_MAX];
};

struct uco__websocket_output {
    struct uco__list waiting; /* messages' and pings' frames, in the order of their coming */
    struct uco__list taken;   /* curl has them, and did not ask for more since */
    struct uco__websocket_frame *current;       /* curl has a part of it; NULL */
    struct uco__websocket_control pong;         /* the answer to the last ping */
    char pong_sent[UCO__WEBSOCKET_CONTROL_MAX]; /* what of it is being sent */
    struct uco__websocket_control close; /* after all that waits; then nothing more is sent */
    bool closed;                         /* curl has the close frame */
    bool flushed;                        /* and has asked for more since */
    bool ended;                          /* nothing can be sent */
    int error;                           /* then: why */
    unsigned char masks[UCO__WEBSOCKET_MASKS * UCO__WEBSOCKET_MASK_SIZE];
    size_t masks_left;
};

struct uco__websocket_input {
    bool reading;  /* a task does */
    bool in_frame; /* `header` is a frame's, of which `left` bytes are still to come */
    struct uco__websocket_header header;
    uint64_t left;
    bool begun; /* a message, whose last frame has not come */
    bool whole; /* it has, and the message was delivered */
    bool text;
    char *data; /* the message */
    size_t size;
    size_t capacity;
    size_t max; /* of a message, in bytes */
    int code;   /* the server has closed, with it */
    int error;  /* nothing more can be received */
};

struct uco_websocket {
    struct uco__resource resource;
    struct uco_loop *loop;
    struct uco__http_upgrade upgrade;
    struct uco__http_response *response;
    const char *protocol;
    struct uco__websocket_output output;
    struct uco__websocket_input input;
    unsigned users; /* tasks that are in one of its calls */
    bool closing;
    struct uco__wait *closer; /* who waits in uco_websocket_close() */
    /* Of the handshake. */
    char accept[UCO__WEBSOCKET_ACCEPT_SIZE];
    const char *const *protocols; /* NULL: none */
    char why[80];
};

/* --- websocket.c --- */

/* Begins a call that suspends: 0, and uco__websocket_leave() ends it; or an error. */
int uco__websocket_enter(struct uco_websocket *ws, bool pointers, const char *function);
void uco__websocket_leave(struct uco_websocket *ws);
/* Something has changed for the one who closes it. */
void uco__websocket_tell_closer(struct uco_websocket *ws);
/* All but the connection's. */
void uco__websocket_free(struct uco_websocket *ws);
void uco__websocket_close_resource(struct uco__resource *resource);

/* --- websocket_send.c --- */

void uco__websocket_output_init(struct uco_websocket *ws);
/* Queues the answer to a ping, or a close; the latter once. */
void uco__websocket_pong(struct uco_websocket *ws, const char *data, size_t size);
void uco__websocket_send_close(struct uco_websocket *ws, unsigned code, const char *reason);
/* The server hears no more: what waits is not sent. */
void uco__websocket_refuse(struct uco_websocket *ws);
/* Whoever waits to have something sent does so in vain. */
void uco__websocket_output_end(struct uco_websocket *ws, int error);

/* --- websocket_receive.c --- */

/* Suspends until a message is whole: 1; 0: the server has closed; or an error. */
int uco__websocket_read(struct uco_websocket *ws);

#endif
