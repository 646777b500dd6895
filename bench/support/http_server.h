/* SPDX-License-Identifier: MIT */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

/*
 * What HTTP clients are measured against: a process of its own, plain C on epoll, that keeps
 * connections alive and answers every GET with the same page. It counts its answers, so that a
 * client cannot claim what it did not ask for.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http_server {
    pid_t pid;
    uint16_t port; /* on 127.0.0.1 */
    size_t page_size;
    struct http_server_shared *shared;
};

enum { HTTP_SERVER_PAGE_MAX = 64 * 1024 };

/** Forks the server, pinned to a place of bench_pin(); before this process has threads or loops. */
void http_server_start(struct http_server *server, size_t page_size, unsigned place);

void http_server_stop(struct http_server *server);

/** How many pages were asked for since the start. */
uint64_t http_server_answers(const struct http_server *server);

/** Whether this is the page. */
bool http_server_page_check(const struct http_server *server, const char *text, size_t size);

#endif
