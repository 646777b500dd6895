/* SPDX-License-Identifier: MIT */

/* Streams to somewhere. */

#include "base/error.h"

#include <uco/io.h>
#include <uco/net.h>
#include <uco/stream.h>

uco_stream *
uco_stream_dial_at(const char *file, int line, const char *host, uint16_t port)
{
    uco_stream *s;
    int fd = uco_dial(host, port);

    if (fd < 0)
        return uco__error_null(fd);
    s = uco_stream_new_at(file, line, fd);
    if (s == NULL)
        uco_close(fd);
    return s;
}

uco_stream *(uco_stream_dial) (const char *host, uint16_t port)
{
    return uco_stream_dial_at(NULL, 0, host, port);
}
