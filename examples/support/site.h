/* SPDX-License-Identifier: MIT */
#ifndef SITE_H
#define SITE_H

/*
 * A small web site of a few pages that link to each other, on a port of 127.0.0.1. Each answer
 * takes a moment, so that it matters how many are asked for at once. One request a connection; a
 * page that is not there is a 404.
 */

#include <stdint.h>

/** Pages from "/" on, and links to pages of this site that are not there. */
enum { SITE_PAGES = 10, SITE_DEAD_LINKS = 1 };

/** Made by site_open(); it must outlive the task that runs site_run(). */
struct site {
    double delay; /* seconds */
    int fd;
    uint16_t port;
    unsigned served; /* answers, 404 included */
    unsigned open;   /* connections now */
    unsigned most;   /* connections that were ever open at once */
};

/**
 * site_open() - Listen on any free port of 127.0.0.1; site->port tells which.
 *
 * @delay:   Seconds before each answer.
 *
 * Returns:  0, or a negative errno.
 */
int site_open(struct site *site, double delay);

/**
 * site_run() - Serve until cancelled: the body of a task, whose argument is the site. Create it
 * with site_discard() as discard, which closes the socket when it never starts.
 *
 * Returns: -ECANCELED, or what went wrong with the listening socket.
 */
intptr_t site_run(void *site);

/** site_discard() - Close a site that never ran. */
void site_discard(void *site);

#endif
