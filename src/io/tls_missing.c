/* SPDX-License-Identifier: MIT */

/* <uco/tls.h> in a build without OpenSSL. */

#include "base/error.h"
#include "io/server.h"

#include <errno.h>
#include <uco/tls.h>

uco_tls_context *
uco_tls_context_new(const uco_tls_options *options)
{
    (void) options;
    return uco__error_null(-ENOSYS);
}

uco_tls_context *
uco_tls_context_ref(uco_tls_context *context)
{
    return context;
}

void
uco_tls_context_free(uco_tls_context *context)
{
    (void) context;
}

bool
uco__tls_context_serves(const uco_tls_context *context)
{
    (void) context;
    return false;
}

const char *
uco_tls_error(void)
{
    return "uco was built without TLS";
}

int
uco_stream_start_tls(uco_stream *s, const uco_tls_options *options)
{
    (void) s;
    (void) options;
    return -ENOSYS;
}

const char *
uco_stream_tls_alpn(const uco_stream *s)
{
    (void) s;
    return NULL;
}

const char *
uco_stream_tls_version(const uco_stream *s)
{
    (void) s;
    return NULL;
}

const char *
uco_stream_tls_server_name(const uco_stream *s)
{
    (void) s;
    return NULL;
}

bool
uco_stream_tls_resumed(const uco_stream *s)
{
    (void) s;
    return false;
}

const char *
uco_stream_tls_error(const uco_stream *s)
{
    (void) s;
    return "";
}

int
uco_stream_tls_peer_name(const uco_stream *s, char *buf, size_t n)
{
    (void) s;
    (void) buf;
    (void) n;
    return -ENOSYS;
}
