/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_TLS_H
#define UCO_IO_TLS_H

/* What the files of TLS share: tls_context.c (what connections share), tls_session.c (a client's
 * sessions), tls_error.c (OpenSSL's errors), tls.c (a stream's filter) and tls_query.c. */

#include "base/list.h"
#include "io/stream.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uco/tls.h>

#define UCO__TLS_TEXT_MAX 256
/* What a session is found by: host, port. */
#define UCO__TLS_KEY_MAX 272

struct uco_tls_context {
    atomic_uint references;
    SSL_CTX *ssl_context;
    bool server;
    bool insecure;
    unsigned char *alpn; /* as on the wire; NULL: none */
    unsigned alpn_size;
    pthread_mutex_t mutex;     /* of all below; never held across a suspension */
    struct uco__list sessions; /* the newest first */
    unsigned session_count;
};

/* The TLS of a stream. */
struct uco__tls {
    struct uco__stream_filter filter; /* first */
    struct uco_stream *stream;
    struct uco_tls_context *context; /* NULL: it could not be made */
    SSL *ssl;                        /* NULL: the same */
    bool established;                /* the handshake is done */
    bool cut;                        /* the wire has ended */
    bool resuming;                   /* a session of before was offered */
    bool receiving;                  /* OpenSSL is reading: what it writes are answers */
    size_t answered;        /* bytes of such since there was last nothing queued on the stream */
    int wire_error;         /* of OpenSSL's last call; 0: none */
    const char *wire_words; /* what it was, where the error alone does not tell */
    int error;              /* final; 0: none */
    char *held; /* plain bytes that wait for the other half of the other side's message */
    size_t held_size;
    char text[UCO__TLS_TEXT_MAX]; /* the failure in words */
    char alpn[256];
    char key[UCO__TLS_KEY_MAX]; /* of its sessions; "": they are not kept */
};

/* 0, or uco_tls_context_new()'s errors; and why in `text`. Suspends. */
int uco__tls_context_make(const uco_tls_options *options, struct uco_tls_context **made,
                          char text[UCO__TLS_TEXT_MAX]);

/* SSL_CTX_sess_set_new_cb()'s: a client has got a session. */
int uco__tls_session_keep(SSL *ssl, SSL_SESSION *session);
/* The newest one of this key, for the caller to free; NULL: none. One of TLS 1.3 is taken out. */
SSL_SESSION *uco__tls_session_take(struct uco_tls_context *context, const char *key);
/* Drops those of this key. */
void uco__tls_sessions_forget(struct uco_tls_context *context, const char *key);
void uco__tls_sessions_free(struct uco_tls_context *context);

/* OpenSSL's oldest error as a negative one, with its text; empties the queue. */
int uco__tls_error_take(char text[UCO__TLS_TEXT_MAX], const char *what);
/* Why a handshake or a transfer failed, with its text in `tls`; empties the queue. What happened on
 * the wire goes before what OpenSSL says about it. */
int uco__tls_error_of(struct uco__tls *tls);
/* What uco_tls_error() tells. */
void uco__tls_error_note(const char *text);

/* The TLS of a stream; NULL: it has none. */
struct uco__tls *uco__tls_of(const struct uco_stream *s);

#endif
