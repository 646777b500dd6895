/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_ADDRESS_H
#define UCO_IO_ADDRESS_H

/* What uco_listen() and uco_dial() have in common: the addresses that are no names, and what to
 * tell when several failed. */

#include <sys/socket.h>
#include <sys/un.h>

/* What follows "unix:", or NULL. */
const char *uco__address_unix_path(const char *host);

/* "/path" or "@abstract". 0; -EINVAL (empty; `who` is the function to blame), -ENAMETOOLONG. */
int uco__address_unix(const char *path, const char *who, struct sockaddr_un *addr, socklen_t *len);

/* Of the errors of two addresses of one name (0: none yet) the one to return. */
int uco__address_error(int first, int second);

#endif
