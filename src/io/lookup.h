/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_LOOKUP_H
#define UCO_IO_LOOKUP_H

/* Look-ups of names in other threads. */

#include "io/resolve.h"

struct uco__task;

/* The calling task waits for a look-up, a new one or one that is asked the same. 0 and a list for
 * uco_freeaddrinfo(); -ECANCELED, -ENOMEM, -EAGAIN (no thread), or what the answer says. And the
 * EAI_ code for it. */
int uco__lookup(struct uco__task *task, const struct uco__question *question,
                struct addrinfo **list, int *code);

#endif
