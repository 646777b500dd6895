/* SPDX-License-Identifier: MIT */
#ifndef ECHO_CLIENT_H
#define ECHO_CLIENT_H

/*
 * Those who talk to an echo server: plain C on epoll, in the benchmark's own thread. Each byte of
 * each reply is compared, and what differs, is missing or too much fails the round. No two messages
 * of a connection are alike, nor those of two connections.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ECHO_SIZE_MAX = 64 * 1024 };

struct echo_load {
    size_t connections; /* at once */
    size_t size;        /* bytes, of each message */
    double warm;        /* seconds before the measured ones, once all are connected */
    double seconds;
    bool spin; /* the client never blocks: its own wake-ups are not in the figures */
};

/* Of the measured seconds. */
struct echo_figures {
    uint64_t count; /* of messages, or of connections */
    double seconds;
    double p50; /* us, from before the message is sent until its reply is complete */
    double p99;
};

/* Is told when the measured seconds begin and when they are over. */
typedef void echo_mark(void *arg, bool over);

/**
 * Keeps all connections open, with one message in flight on each.
 *
 * Returns: false when an echo was wrong, or the server failed: it has said how.
 */
bool echo_client_exchange(uint16_t port, const struct echo_load *load, echo_mark *mark, void *arg,
                          struct echo_figures *figures);

/**
 * So many connections at once, each for one message, are replaced when they have got their reply.
 * They are reset, so that no port has to wait for its next use.
 */
bool echo_client_visit(uint16_t port, const struct echo_load *load, echo_mark *mark, void *arg,
                       struct echo_figures *figures);

/**
 * Opens connections that say nothing, then lets each exchange one message.
 *
 * @step: Is called when all are accepted and silent (false), and again when all have their reply
 *        (true).
 */
bool echo_client_stay(uint16_t port, const struct echo_load *load, echo_mark *step, void *arg);

#endif
