/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_NAME_H
#define UCO_IO_NAME_H

/* Names to addresses, for those who have a host and a port. Lists are for uco_freeaddrinfo(). */

#include "base/compiler.h"

#include <netdb.h>
#include <stdint.h>

/* Any thread; does not suspend. A numeric host (NULL: all addresses, for listening). 0, or a
 * negative error: -ENOENT for a name. */
int uco__name_numeric(const char *host, uint16_t port, struct addrinfo **result);

/* Suspends: uco_getaddrinfo() for stream sockets. `flags`: AI_*. */
UCO__EXPORT int uco__name_lookup(const char *host, uint16_t port, int flags,
                                 struct addrinfo **result);

#endif
