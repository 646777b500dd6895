/* SPDX-License-Identifier: MIT */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

/*
 * A small HTTP/1.1 server written with uco: one coroutine a connection, keep-alive, GET only.
 *
 *   /hello          a line of text
 *   /bytes/N        N bytes, which http_page_check() knows
 *   /slow/MS        /hello, after MS milliseconds
 *   /slow/MS/PATH   /PATH, after MS milliseconds
 *
 * It serves the examples and their tests, and is meant to be read; it is no server for the open
 * internet.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Made by http_server_open(); it must outlive the task that runs http_server_run(). */
struct http_server {
    int fd;
    uint16_t port;
    unsigned open;   /* connections now */
    unsigned served; /* responses */
};

/**
 * http_server_open() - Listen on a port of 127.0.0.1.
 *
 * @port:    0 = any free one; server->port tells which.
 *
 * Returns:  0, or a negative errno.
 */
int http_server_open(struct http_server *server, uint16_t port);

/**
 * http_server_run() - Serve until cancelled: the body of a task, whose argument is the server.
 *
 * The connections are the task's children: when it ends they have ended too, and all is closed.
 * Create it with http_server_discard() as discard, which closes the socket when it never starts.
 *
 * Returns: -ECANCELED, or what went wrong with the listening socket.
 */
intptr_t http_server_run(void *server);

/** http_server_discard() - Close a server that never ran. */
void http_server_discard(void *server);

/** http_page_check() - Are these the bytes that /bytes/N gives, N being `expected`? */
bool http_page_check(const char *text, size_t size, size_t expected);

#endif
