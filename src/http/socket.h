/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_SOCKET_H
#define UCO_HTTP_SOCKET_H

/* curl's sockets in the loop's poller. Knows nothing of transfers. */

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>

struct uco_loop;
struct uco__http_socket;

struct uco__http_sockets {
    struct uco_loop *loop;
    void (*changed)(struct uco__http_sockets *sockets); /* there is something for the next turn */
    struct uco__list events;         /* sockets with something to be told to curl */
    struct uco__list idle;           /* sockets that are watched although curl does not want it */
    unsigned sweep;                  /* turns until that ends */
    struct uco__http_socket **table; /* by their fd */
    size_t capacity;
};

void uco__http_sockets_init(struct uco__http_sockets *sockets, struct uco_loop *loop,
                            void (*changed)(struct uco__http_sockets *sockets));
void uco__http_sockets_done(struct uco__http_sockets *sockets);

/* curl has this new socket, and will say when it closes it, if a connection comes of it. 0,
 * -ENOMEM. */
int uco__http_sockets_open(struct uco__http_sockets *sockets, int fd);
/* It is about to be closed. */
void uco__http_sockets_close(struct uco__http_sockets *sockets, int fd);

/* curl wants to hear of it: POLLIN, POLLOUT. `established`: it is a connection's. 0, or an error:
 * it is not watched. */
int uco__http_sockets_watch(struct uco__http_sockets *sockets, int fd, short wanted,
                            bool established);
/* curl does not want to hear of it, for now or ever. */
void uco__http_sockets_relax(struct uco__http_sockets *sockets, int fd);

/* The next socket with news: its fd, and in *news what curl waits for and may try (POLLIN,
 * POLLOUT). -1: there is none. */
int uco__http_sockets_next(struct uco__http_sockets *sockets, short *news);

/* At the end of each turn: no longer watches what has been idle for a while. Whether another turn
 * is needed. */
bool uco__http_sockets_sweep(struct uco__http_sockets *sockets);

#endif
