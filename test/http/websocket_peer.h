/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_WEBSOCKET_PEER_H
#define TEST_HTTP_WEBSOCKET_PEER_H

/*
 * A WebSocket server whose frames the tests write by hand, as coroutines in the loop of the test.
 * There is one of it.
 */

#include "fixture.h"

#include <uco/http.h>

/** One connection, after its handshake. */
struct peer {
    uco_stream *stream;
    char head[4096]; /* what was asked */
};

/** A frame from the client, its mask taken off. */
struct peer_frame {
    unsigned char first; /* 0x81: all of a text */
    size_t size;
    char *data; /* with a zero byte after it; freed by the next one */
};

struct peers {
    uco_server *server;
    void (*talk)(struct peer *peer); /* the connection is closed afterwards */
    const char *answer;              /* headers that are sent with the 101; NULL: none */
    const char *refusal;             /* in place of the 101; "" never answers; NULL: none */
    const char *greeting;            /* bytes sent together with the answer */
    size_t greeting_size;
    bool digest;         /* a password is asked for first */
    const char *upgrade; /* in place of "WebSocket" */
    bool wrong_accept;
    const uco_tls_options *tls;
    unsigned opened;
    unsigned open;
    int code;        /* of the last close frame that peer_expect_close() has seen */
    char last[4096]; /* the last request's head */
};
extern struct peers peers;

/** Starts it; peers_stop() when the test is over. */
void peers_start(void (*talk)(struct peer *peer));
void peers_stop(void);

/** "ws://127.0.0.1:PORT/chat", or wss. */
const char *peers_url(void);

/** Starts it and opens a WebSocket to it. */
uco_websocket *peers_open(struct fixture *f, void (*talk)(struct peer *peer));
/** Closes it with 1000, and stops the server. */
void peers_close(uco_websocket *ws);

/** Sends a frame: its first byte, and how its size is written must fit. */
void peer_send(struct peer *peer, unsigned char first, const void *data, size_t size);
void peer_send_text(struct peer *peer, unsigned char first, const char *text);
/** Sends bytes as they are, at once. */
void peer_write(struct peer *peer, const void *bytes, size_t size);

/** Receives a frame; false: the client has ended the connection. */
bool peer_receive(struct peer *peer, struct peer_frame *frame);
/** It must be this one. */
void peer_expect(struct peer *peer, unsigned char first, const char *text);
/** The next close frame, after whatever else comes: its code, 1005 without; 0: none came. Answers
 * it if asked to. */
int peer_expect_close(struct peer *peer, bool answer);

/** Conversations that several tests have. */
void talk_echo(struct peer *peer);    /* each message, until it closes */
void talk_listen(struct peer *peer);  /* says nothing until it closes */
void talk_nothing(struct peer *peer); /* never reads, nor closes */

/** Receives a message, which must be this text. */
void receive_text(uco_websocket *ws, const char *text);

#endif
