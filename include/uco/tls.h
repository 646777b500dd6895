/* SPDX-License-Identifier: MIT */
#ifndef UCO_TLS_H
#define UCO_TLS_H

/*
 * TLS on streams, by OpenSSL: client and server, TLS 1.2 and 1.3.
 *
 * A client verifies the server's certificate and that it is for the host it asked for, unless told
 * not to. Where uco was built without TLS, calls that can fail give -ENOSYS. docs/tls.md shows how
 * it is used.
 */

#include <uco/common.h>
#include <uco/stream.h>

UCO_BEGIN_DECLS

/** What many connections share: certificates, keys, and sessions to resume. */
typedef struct uco_tls_context uco_tls_context;

enum uco_tls_version {
    UCO_TLS_DEFAULT, /* at least 1.2, at most the newest */
    UCO_TLS_1_2,
    UCO_TLS_1_3,
};

/** Zeroed, all fields mean their default. Strings are needed during the call only. */
typedef struct uco_tls_options {
    bool server;           /* this end is the server */
    const char *host;      /* client: the name or the numeric address that the certificate must be
                              for; a name is also told to the server (SNI). Needed unless insecure */
    const char *ca_file;   /* PEM: who is trusted. Neither this nor ca_path: a client trusts whom
                              the system trusts, as read once a process */
    const char *ca_path;   /* a directory of such files, named as by `openssl rehash` */
    const char *cert_file; /* PEM: this end's certificate, then those that lead to its authority; a
                              server needs one */
    const char *key_file;  /* PEM, not encrypted; NULL = in cert_file */
    const char *alpn;      /* protocols, the preferred first: "h2,http/1.1"; NULL = none */
    bool insecure;         /* a client accepts any certificate: for tests only */
    bool verify_client;    /* a server wants a certificate that ca_file or ca_path vouches for */
    enum uco_tls_version min_version;
    enum uco_tls_version max_version;
    const char *ciphers;      /* of TLS 1.2, as `openssl ciphers` takes them; NULL = OpenSSL's */
    uco_tls_context *context; /* made before: of the other fields only host counts. NULL = one is
                                 made for this call */
    uintptr_t reserved[8];
} uco_tls_options;

/**
 * uco_tls_context_new() - Read certificates and keys, once for many connections.
 *
 * Connections that share a context also resume each other's sessions: a client's are kept in the
 * context, by host and port.
 *
 * @options:  `host` and `context` do not count.
 *
 * Context:   Coroutine. Suspends: the files are read in the pool.
 * Ownership: One reference: uco_tls_context_free().
 * Returns:   The context, or NULL with errno
 *            EINVAL        options is NULL or contradicts itself; an unknown cipher; a bad alpn
 *            ENOENT, EACCES ...  a file cannot be read
 *            EBADMSG       a file or directory has no certificate or key, or one that cannot be
 *                          used: an encrypted key, a CA without hash names in ca_path
 *            EKEYREJECTED  the key is not the certificate's
 *            ECANCELED, EPERM, ENOMEM, ENOSYS
 *            uco_tls_error() tells it in words.
 */
UCO_API uco_tls_context *uco_tls_context_new(const uco_tls_options *options);

/**
 * uco_tls_error() - Why the calling thread's last context could not be made, in words:
 * "key.pem: No such file or directory".
 *
 * Contexts are made by uco_tls_context_new(), by uco_server_start_with() for its `tls`, and by
 * uco_stream_start_tls() when it is given none; for the last uco_stream_tls_error() tells it too.
 *
 * Context:   Any thread. To be asked before the caller suspends again.
 * Ownership: Borrowed until the thread makes another.
 * Returns:   Never NULL; "" when it could be made.
 */
UCO_API const char *uco_tls_error(void);

/**
 * uco_tls_context_ref() - Take another reference.
 *
 * Context: Any thread.
 * Returns: The same context; NULL for NULL.
 */
UCO_API uco_tls_context *uco_tls_context_ref(uco_tls_context *context);

/**
 * uco_tls_context_free() - Give a reference back. NULL is fine. Connections keep their own.
 *
 * Context: Any thread.
 */
UCO_API void uco_tls_context_free(uco_tls_context *context);

/**
 * uco_stream_start_tls() - Protect a stream from here on: the handshake, of either side.
 *
 * Also in the middle of a stream (STARTTLS), at a moment when the other side is silent. A scope
 * gives the timeout. After a failure the stream is good for closing only, unless it already had
 * TLS. The other side may refuse this one's certificate when the call is over: then the next read
 * tells.
 *
 * Later, a read gives 0 only where the other side said that this is the end (close_notify); a
 * connection that just ends gives -ECONNRESET. uco_stream_shutdown() and uco_stream_close() say so
 * to the other side.
 *
 * @options:  Read during the call only.
 *
 * Context:   Coroutine of the stream's loop. Suspends.
 * Returns:   0
 *            -EKEYREJECTED  a certificate was not accepted: the other side's by this one (wrong
 *                           host, expired, unknown authority, none), or this one's by the other
 *            -EPROTO        anything else that is wrong with TLS; or bytes were received before
 *                           TLS began, which may have been slipped in
 *            -ECONNRESET    the connection ended meanwhile
 *            -EALREADY      the stream has TLS
 *            -EINVAL        stream or options is NULL, or uco_tls_context_new()'s; a client without
 *                           host, or with one that begins with a dot; a server that is given a
 *                           client's context
 *            -EBUSY         another task reads or writes
 *            -ECANCELED     an enclosing scope was cancelled
 *            -EBADF, -EPERM, -ENOMEM, -ENOSYS, uco_tls_context_new()'s and the socket's errors
 */
UCO_API int uco_stream_start_tls(uco_stream *s, const uco_tls_options *options);

/**
 * uco_stream_tls_alpn() - The protocol that both sides agreed on.
 *
 * Context:   Loop's thread.
 * Ownership: Borrowed until the stream is closed.
 * Returns:   NULL when there is none, or no TLS.
 */
UCO_API const char *uco_stream_tls_alpn(const uco_stream *s);

/**
 * uco_stream_tls_version() - "TLSv1.3" or "TLSv1.2".
 *
 * Context:   Loop's thread.
 * Ownership: A constant string.
 * Returns:   NULL before the handshake is done.
 */
UCO_API const char *uco_stream_tls_version(const uco_stream *s);

/**
 * uco_stream_tls_server_name() - The host that the client asked for (SNI).
 *
 * Context:   Loop's thread.
 * Ownership: Borrowed until the stream is closed.
 * Returns:   NULL when it named none, or no TLS.
 */
UCO_API const char *uco_stream_tls_server_name(const uco_stream *s);

/**
 * uco_stream_tls_resumed() - Whether the handshake was a short one, from a session of before.
 *
 * Context: Loop's thread.
 */
UCO_API bool uco_stream_tls_resumed(const uco_stream *s);

/**
 * uco_stream_tls_error() - Why TLS failed on this stream, in words: "certificate has expired:
 * example.com".
 *
 * Context:   Loop's thread.
 * Ownership: Borrowed until the stream is closed, or its next failure.
 * Returns:   Never NULL; "" when nothing went wrong.
 */
UCO_API const char *uco_stream_tls_error(const uco_stream *s);

/**
 * uco_stream_tls_peer_name() - Whose certificate the other side has shown: its subject's common
 * name, or else the first name that it is for. With `insecure` that is only what it says of itself.
 *
 * @buf, @n: Where it goes, a zero byte after it; bytes.
 *
 * Context:  Loop's thread.
 * Returns:  The name's length; -ENODATA (no certificate, or no name in it, or no TLS), -EMSGSIZE (n
 *           is too small), -EINVAL (a NULL), -ENOSYS.
 */
UCO_API int uco_stream_tls_peer_name(const uco_stream *s, char *buf, size_t n);

UCO_END_DECLS

#endif
