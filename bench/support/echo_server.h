/* SPDX-License-Identifier: MIT */
#ifndef ECHO_SERVER_H
#define ECHO_SERVER_H

/*
 * The servers that echo programs compare, each started for each round in a process of its own: this
 * very program's own ones (echo_serve.h) and the peers (peers/echo*). A server has place 0, the
 * client place 1.
 */

#include "bench.h"
#include "echo_client.h"
#include "echo_serve.h"
#include "peer.h"

#include <sys/types.h>
#include <time.h>

struct echo_subject {
    const char *name; /* for --serve */
    const char *what;
    echo_serve_fn *serve; /* NULL: a peer */
    struct echo_way way;
    struct peer_program peer;
    size_t connections_max; /* 0: no matter */
    const char *no_more;    /* why */
};

/** Those of bench_echo; the last one has no name. */
extern const struct echo_subject echo_subjects[];

struct echo_server {
    const struct echo_subject *subject;
    pid_t pid;
    uint16_t port;
    clockid_t processor; /* the time that its process has used */
};

/**
 * For the beginning of main(): when the arguments are
 *     --serve SUBJECT PORT
 *     --client PORT CONNECTIONS SIZE SECONDS
 * does just that, for whoever wants to look at one subject with other tools.
 *
 * Returns: whether there is nothing left to be done; then *status is main()'s result.
 */
bool echo_alone(int argc, char **argv, int *status);

/** After bench_begin(): as many fds as can be had, and the client's place. */
void echo_begin(void);

/** Returns: false when it did not start: it has said why. */
bool echo_server_start(struct echo_server *server, const struct echo_subject *subject);

/** Returns: false when it had ended before. */
bool echo_server_stop(struct echo_server *server);

/** The processor time that the server has used, user's and system's, in seconds. */
double echo_server_time(const struct echo_server *server);

/** Why a subject cannot be had here, with so many connections; NULL: it can. */
const char *echo_subject_lacks(const struct echo_subject *subject, size_t connections);

/** The subject of that name; NULL: there is none. */
const struct echo_subject *echo_subject_named(const char *name);

#endif
