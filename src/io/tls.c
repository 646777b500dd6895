/* SPDX-License-Identifier: MIT */

/*
 * TLS on a stream: the filter between its bytes and the wire, and the handshake.
 *
 * 1. OpenSSL reads and writes through a BIO of ours, which never suspends: a read finds nothing and
 *    is tried again later; a write is always taken whole, so no record is ever half sent.
 * 2. OpenSSL's queue of errors is empty before each call and read right after it.
 * 3. The first failure is final, and what every later call returns; but where only the wire takes no
 *    more, what the other side has said can still be read. Nothing goes out unprotected on a stream
 *    whose handshake has failed: the filter stays.
 * 4. No handshake follows the first (renegotiation): what was verified stays so, and nobody can ask
 *    for the work of one again and again.
 */

#include "io/tls.h"

#include "base/system.h"
#include "core/report.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define HOST_MAX 255
/* Plain bytes that may wait for the other half of a message. */
#define HELD_MAX ((size_t) 1024 * 1024)
/* Bytes that may be queued as answers to a side that asks and does not read. */
#define ANSWERS_MAX ((size_t) 64 * 1024)
/* Bytes that are looked at in vain before a close, at most. */
#define UNREAD_MAX ((size_t) 128 * 1024)

/* --- the wire --- */

static pthread_once_t wire_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *wire_method; /* the process's, never freed; NULL: no memory */

static int
wire_read(BIO *bio, char *buf, int n)
{
    struct uco__tls *tls = BIO_get_data(bio);
    ssize_t r;

    BIO_clear_retry_flags(bio);
    r = uco__stream_receive_raw(tls->stream, buf, (size_t) n);
    if (r > 0)
        return (int) r;
    if (r == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (r == 0)
        tls->cut = true;
    else
        tls->wire_error = (int) r;
    return -1;
}

/* Every answer is small, but the stream's queue has no limit for what no task writes. */
static bool
wire_answers_too_much(struct uco__tls *tls, size_t n)
{
    if (!tls->receiving)
        return false;
    if (tls->stream->output.size == 0)
        tls->answered = 0;
    tls->answered += n;
    return tls->answered > ANSWERS_MAX;
}

static int
wire_write(BIO *bio, const char *buf, int n)
{
    struct uco__tls *tls = BIO_get_data(bio);
    int r;

    BIO_clear_retry_flags(bio);
    if (wire_answers_too_much(tls, (size_t) n)) {
        tls->wire_error = -EPROTO;
        tls->wire_words = "the other side asks without reading the answers";
        return -1;
    }
    r = uco__stream_transmit_raw(tls->stream, buf, (size_t) n);
    if (r == 0)
        return n;
    tls->wire_error = r;
    return -1;
}

static long
wire_control(BIO *bio, int command, long number, void *arg)
{
    (void) bio;
    (void) number;
    (void) arg;
    return command == BIO_CTRL_FLUSH;
}

static void
wire_setup(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "uco stream");

    if (method == NULL)
        return;
    BIO_meth_set_read(method, wire_read);
    BIO_meth_set_write(method, wire_write);
    BIO_meth_set_ctrl(method, wire_control);
    wire_method = method;
}

static BIO *
wire_new(struct uco__tls *tls)
{
    BIO *bio;

    pthread_once(&wire_once, wire_setup);
    bio = wire_method != NULL ? BIO_new(wire_method) : NULL;
    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- the filter --- */

static void
tls_begin(struct uco__tls *tls)
{
    ERR_clear_error();
    tls->wire_error = 0;
    tls->wire_words = NULL;
}

/* After a call of OpenSSL's that did not succeed: 0 the end; -EAGAIN; or the error, which is final.
 */
static int
tls_outcome(struct uco__tls *tls, int r)
{
    int kind = SSL_get_error(tls->ssl, r);

    /* What it means that the other side has said the last: for a read only. */
    if (kind == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (kind == SSL_ERROR_WANT_READ)
        return -EAGAIN;
    if (tls->wire_error == 0 && tls->cut) {
        tls->wire_error = -ECONNRESET;
        tls->wire_words = tls->established ? "the connection was cut before its end was said"
                                           : "the connection was cut in the handshake";
    }
    tls->error = uco__tls_error_of(tls);
    return tls->error;
}

/* The same after a write. A wire that takes no more has told the stream so; what the other side has
 * sent before, and that may be the reason, is still to be read. */
static int
tls_outcome_of_write(struct uco__tls *tls, int r)
{
    return tls->wire_error < 0 ? uco__tls_error_of(tls) : tls_outcome(tls, r);
}

/* Writes what has waited: 0; -EAGAIN; or an error. */
static int
tls_release(struct uco__tls *tls)
{
    size_t done;
    int r;

    if (tls->held == NULL)
        return 0;
    tls_begin(tls);
    r = SSL_write_ex(tls->ssl, tls->held, tls->held_size, &done);
    if (r <= 0)
        return tls_outcome_of_write(tls, r);
    uco__free(tls->held);
    tls->held = NULL;
    tls->held_size = 0;
    return 0;
}

/* Half a message about the connection (a ticket, in two records) has come, and OpenSSL sends nothing
 * before the other half: whoever reads carries it on. */
static ssize_t
tls_hold(struct uco__tls *tls, const void *buf, size_t n)
{
    char *held = NULL;

    if (tls->held_size + n <= HELD_MAX) {
        held = uco__reallocate(tls->held, tls->held_size + n);
        tls->error = held == NULL ? -ENOMEM : 0;
    } else {
        snprintf(tls->text, sizeof tls->text, "the other side does not finish its message");
        tls->error = -EPROTO;
    }
    if (held == NULL)
        return tls->error;
    memcpy(held + tls->held_size, buf, n);
    tls->held = held;
    tls->held_size += n;
    return (ssize_t) n;
}

static ssize_t
tls_receive(struct uco__stream_filter *filter, void *buf, size_t n)
{
    struct uco__tls *tls = (struct uco__tls *) filter;
    size_t got = 0;
    int r;

    if (tls->error < 0)
        return tls->error;
    tls_begin(tls);
    tls->receiving = true;
    r = SSL_read_ex(tls->ssl, buf, n, &got);
    tls->receiving = false;
    r = r > 0 ? 0 : tls_outcome(tls, r);
    /* To OpenSSL an answer that cannot be sent is no error. */
    if (tls->answered > ANSWERS_MAX && tls->error == 0)
        r = tls->error = uco__tls_error_of(tls);
    if (tls->held != NULL && tls->error == 0)
        (void) tls_release(tls); /* its failure is final, and the next call's */
    return got > 0 ? (ssize_t) got : r;
}

static ssize_t
tls_transmit(struct uco__stream_filter *filter, const void *buf, size_t n)
{
    struct uco__tls *tls = (struct uco__tls *) filter;
    size_t done;
    int r;

    if (tls->error < 0)
        return tls->error;
    if (n == 0)
        return 0;
    r = tls_release(tls);
    if (r == 0) {
        tls_begin(tls);
        r = SSL_write_ex(tls->ssl, buf, n, &done);
        if (r > 0)
            return (ssize_t) n;
        r = tls_outcome_of_write(tls, r);
    }
    if (r == -EAGAIN)
        return tls_hold(tls, buf, n);
    return r < 0 ? r : -EPIPE;
}

static int
tls_shut(struct uco__stream_filter *filter)
{
    struct uco__tls *tls = (struct uco__tls *) filter;
    int r;

    if (tls->error < 0 || !tls->established)
        return 0;
    r = tls_release(tls);
    if (r == -EAGAIN || (r == 0 && SSL_in_init(tls->ssl))) {
        snprintf(tls->text, sizeof tls->text, "the other side has not finished its message");
        return -EPROTO;
    }
    if (r < 0)
        return r;
    if ((SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return 0;
    tls_begin(tls);
    r = SSL_shutdown(tls->ssl);
    return r < 0 ? tls_outcome_of_write(tls, r) : 0;
}

/* The kernel resets a connection that is closed with bytes unread (the tickets that a server sends
 * are, by a client that only writes), and drops what it has not sent yet: the last bytes, or the
 * alert that says why. */
static void
tls_take_unread(const struct uco_stream *s)
{
    char unread[4096];
    size_t taken = 0;

    while (s->socket && taken < UNREAD_MAX) {
        ssize_t r = UCO__RESULT(recv(s->fd, unread, sizeof unread, MSG_DONTWAIT));

        if (r <= 0)
            return;
        taken += (size_t) r;
    }
}

static void
tls_free(struct uco__stream_filter *filter)
{
    struct uco__tls *tls = (struct uco__tls *) filter;

    /* A session of a connection that just ended is as good as before; OpenSSL would drop it. */
    if (tls->ssl != NULL && tls->error == 0)
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    if (tls->ssl != NULL)
        tls_take_unread(tls->stream);
    SSL_free(tls->ssl);
    uco_tls_context_free(tls->context);
    uco__free(tls->held);
    uco__free(tls);
}

static const struct uco__stream_filter_operations tls_operations = {
    .receive = tls_receive,
    .transmit = tls_transmit,
    .shut = tls_shut,
    .free = tls_free,
};

struct uco__tls *
uco__tls_of(const struct uco_stream *s)
{
    if (s == NULL || s->filter == NULL || s->filter->operations != &tls_operations)
        return NULL;
    return (struct uco__tls *) s->filter;
}

/* --- the handshake --- */

static uint16_t
tls_peer_port(const struct uco_stream *s)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;

    if (UCO__SYSTEM(getsockname, getpeername(s->fd, (struct sockaddr *) &address, &size)) < 0 ||
        (address.ss_family != AF_INET && address.ss_family != AF_INET6))
        return 0;
    /* The port stands at the same place for both families. */
    return ntohs(((struct sockaddr_in *) &address)->sin_port);
}

/* The host as certificates have it: whether it is an address. */
static bool
host_normalise(const char *host, char name[HOST_MAX + 1])
{
    unsigned char address[sizeof(struct in6_addr)];
    size_t length = strcspn(host, "%"); /* "fe80::1%eth0": where to send it is no part of it */

    memcpy(name, host, length);
    name[length] = '\0';
    if (inet_pton(AF_INET6, name, address) == 1 || inet_pton(AF_INET, host, address) == 1)
        return true;
    length = strlen(host);
    if (length > 1 && host[length - 1] == '.')
        length--; /* "example.com." */
    memcpy(name, host, length);
    name[length] = '\0';
    return false;
}

/* Whom the client wants to talk to: what it verifies, says, and finds its sessions by. */
static int
tls_set_host(struct uco__tls *tls, const char *host)
{
    char name[HOST_MAX + 1];
    SSL_SESSION *session;
    int r;

    if (host_normalise(host, name)) {
        r = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name);
    } else {
        SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        r = SSL_set1_host(tls->ssl, name) == 1 && SSL_set_tlsext_host_name(tls->ssl, name) == 1;
    }
    if (r != 1)
        return -ENOMEM;
    snprintf(tls->key, sizeof tls->key, "%s\n%u", name, (unsigned) tls_peer_port(tls->stream));
    session = uco__tls_session_take(tls->context, tls->key);
    tls->resuming = session != NULL && SSL_set_session(tls->ssl, session) == 1;
    SSL_SESSION_free(session);
    return 0;
}

static int
tls_prepare(struct uco__tls *tls, const uco_tls_options *options)
{
    int r = 0;
    BIO *bio;

    if (options->context != NULL)
        tls->context = uco_tls_context_ref(options->context);
    else
        r = uco__tls_context_make(options, &tls->context, tls->text);
    if (r < 0)
        return r;
    tls->ssl = SSL_new(tls->context->ssl_context);
    bio = tls->ssl != NULL ? wire_new(tls) : NULL;
    if (bio == NULL)
        return -ENOMEM;
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    if (tls->context->server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    return tls->context->server || options->host == NULL ? 0 : tls_set_host(tls, options->host);
}

static int
tls_shake_hands(struct uco__tls *tls)
{
    const unsigned char *alpn;
    unsigned alpn_size;
    int r;

    do {
        tls_begin(tls);
        r = SSL_do_handshake(tls->ssl);
        r = r == 1 ? 0 : tls_outcome(tls, r);
        if (r == 0)
            break;
        if (r == -EAGAIN)
            r = uco__stream_wait(tls->stream);
    } while (r == 0);
    if (r < 0)
        return r;
    tls->established = SSL_is_init_finished(tls->ssl);
    if (!tls->established)
        return -ECONNRESET; /* the other side said good-bye instead */
    SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_size);
    snprintf(tls->alpn, sizeof tls->alpn, "%.*s", (int) alpn_size, (const char *) alpn);
    return 0;
}

static int
start_check(const uco_stream *s, const uco_tls_options *options)
{
    bool server, insecure;

    if (s == NULL || options == NULL)
        return uco__misuse(-EINVAL, "uco_stream_start_tls: the stream or the options are NULL");
    server = options->context != NULL ? options->context->server : options->server;
    insecure = options->context != NULL ? options->context->insecure : options->insecure;
    if (options->server && !server)
        return uco__misuse(-EINVAL, "uco_stream_start_tls: a server with a client's context");
    if (options->host != NULL && (options->host[0] == '\0' || strlen(options->host) > HOST_MAX))
        return uco__misuse(-EINVAL, "uco_stream_start_tls: the host is empty or too long");
    /* To OpenSSL ".example.com" means every host below it. */
    if (options->host != NULL && options->host[0] == '.')
        return uco__misuse(-EINVAL, "uco_stream_start_tls: no host begins with a dot");
    if (!server && !insecure && options->host == NULL)
        return uco__misuse(-EINVAL, "uco_stream_start_tls: a client needs to know the host");
    return 0;
}

int
uco_stream_start_tls(uco_stream *s, const uco_tls_options *options)
{
    struct uco__tls *tls;
    int r = 0;

    if (uco__task_here() != NULL)
        r = start_check(s, options);
    if (r == 0)
        r = uco__stream_claim(s);
    if (r < 0)
        return r;
    tls = s->filter == NULL ? uco__allocate(sizeof *tls) : NULL;
    if (tls == NULL) {
        r = s->filter != NULL ? -EALREADY : -ENOMEM;
        uco__stream_unclaim(s);
        return r;
    }
    tls->filter.operations = &tls_operations;
    tls->stream = s;
    uco__stream_set_filter(s, &tls->filter);
    r = tls_prepare(tls, options);
    if (r == 0)
        r = tls_shake_hands(tls);
    if (r < 0 && tls->error == 0) {
        if (tls->text[0] == '\0')
            snprintf(tls->text, sizeof tls->text, "%s", uco_strerror(r));
        tls->error = r == -ECANCELED ? -ECONNABORTED : r;
    }
    /* A server that cannot cope with a session of before gets a full handshake the next time. */
    if (r < 0 && r != -ECANCELED && tls->resuming)
        uco__tls_sessions_forget(tls->context, tls->key);
    ERR_clear_error();
    uco__stream_unclaim(s);
    return r;
}
