/* SPDX-License-Identifier: MIT */

/*
 * Addresses of sockets.
 *
 * 1. "unix:@name" is the abstract name, all of it: no NUL ends it and none fills it up.
 */

#include "io/address.h"

#include "core/report.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define UNIX_PREFIX "unix:"

const char *
uco__address_unix_path(const char *host)
{
    const size_t size = strlen(UNIX_PREFIX);

    return strncmp(host, UNIX_PREFIX, size) == 0 ? host + size : NULL;
}

int
uco__address_unix(const char *path, const char *who, struct sockaddr_un *addr, socklen_t *len)
{
    size_t size = strlen(path);

    if (size == 0)
        return uco__misuse(-EINVAL, "%s: \"unix:\" without a path", who);
    if (size >= sizeof addr->sun_path)
        return -ENAMETOOLONG;
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(addr->sun_path, path, size);
    *len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size + 1);
    if (path[0] == '@') {
        addr->sun_path[0] = '\0';
        --*len;
    }
    return 0;
}

/* Whether an error says that this machine cannot use the address at all. A machine without IPv6
 * says so of each such address, and what became of the others is what one wants to know. */
static bool
address_is_unusable(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL || error == -ENETUNREACH;
}

int
uco__address_error(int first, int second)
{
    if (first == 0 || (address_is_unusable(first) && !address_is_unusable(second)))
        return second;
    return first;
}
