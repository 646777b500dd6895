/* SPDX-License-Identifier: MIT */
#ifndef NGINX_H
#define NGINX_H

/*
 * What HTTP clients are measured against: the machine's nginx, as an ordinary process on a free
 * port of 127.0.0.1, with one worker. It keeps connections alive, logs no requests, and has two
 * pages, as files.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    NGINX_SMALL = 1024, /* bytes of /small */
    NGINX_LARGE = 1024 * 1024,
    NGINX_CONNECTIONS_MAX = 4096,
};

struct nginx {
    pid_t pid; /* of its process group */
    uint16_t port;
    char directory[64]; /* of its files; removed in the end */
    uint64_t asked;     /* of its requests: by nginx_answers() */
};

/** Why there can be none here; NULL: there can. */
const char *nginx_lacks(void);

/** Starts it, pinned to a place of bench_pin(), and dies when it does not answer. One at a time. */
void nginx_start(struct nginx *nginx, unsigned place);

void nginx_stop(struct nginx *nginx);

/** How many requests it has had. In the process that started it only. */
uint64_t nginx_answers(struct nginx *nginx);

/** Stops it in its tracks, or lets it go on: the kernel goes on accepting connections. */
void nginx_hold(const struct nginx *nginx, bool hold);

/** Whether that is what a page has from a position on: its ends and its middle are looked at. */
bool nginx_page_check(size_t position, const char *text, size_t size);

#endif
