/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_NAME_H
#define UCO_IO_NAME_H

/* Names to addresses. */

#include "base/compiler.h"

#include <netdb.h>
#include <stdint.h>

/* getaddrinfo() for a numeric host (NULL: all addresses, for listening). 0, or a negative error:
 * -ENOENT for a name. */
int uco__name_numeric(const char *host, uint16_t port, struct addrinfo **result);

/* Suspends: getaddrinfo() on the pool. A cancelled caller returns at once; the look-up then ends on
 * memory of its own. `flags`: AI_*. 0 and a list for freeaddrinfo(); -ENOENT (unknown), -EAGAIN
 * (not now), -ENOMEM, -ECANCELED ... */
UCO__EXPORT int uco__name_lookup(const char *host, uint16_t port, int flags,
                                 struct addrinfo **result);

#endif
