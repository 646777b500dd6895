/* SPDX-License-Identifier: MIT */

/*
 * What TLS connections share: certificates, keys, options.
 *
 * 1. Files are read in the pool, all of them, when a context is made: during a handshake nothing is
 *    read, so that of a directory of authorities every one is loaded at once.
 * 2. A context does not change once it is made, but for its sessions.
 * 3. Nobody is ever asked for a password.
 */

#include "io/tls.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "io/server.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/thread.h>

#define ALPN_NAME_MAX 255

struct context_job {
    const uco_tls_options *options;
    struct uco_tls_context *context;
    char *text;
};

/* A handshake must not wait for a terminal. */
static int
context_no_password(char *buf, int size, int writing, void *arg)
{
    (void) buf;
    (void) size;
    (void) writing;
    (void) arg;
    return -1;
}

/* --- the application's protocol --- */

/* "h2,http/1.1" as it goes on the wire: each name after its length. */
static int
context_set_alpn(struct uco_tls_context *context, const char *list, char *text)
{
    size_t size = list != NULL ? strlen(list) : 0;

    if (list == NULL)
        return 0;
    context->alpn = uco__allocate(size + 1);
    if (context->alpn == NULL)
        return -ENOMEM;
    for (const char *name = list;; name++) {
        size_t length = strcspn(name, ",");

        if (length == 0 || length > ALPN_NAME_MAX) {
            snprintf(text, UCO__TLS_TEXT_MAX, "alpn: an empty or a too long name");
            return -EINVAL;
        }
        context->alpn[context->alpn_size] = (unsigned char) length;
        memcpy(context->alpn + context->alpn_size + 1, name, length);
        context->alpn_size += (unsigned) length + 1;
        name += length;
        if (*name == '\0')
            break;
    }
    if (!context->server &&
        SSL_CTX_set_alpn_protos(context->ssl_context, context->alpn, context->alpn_size) != 0)
        return -ENOMEM;
    return 0;
}

/* The server's order counts. Nothing in common ends the handshake, as RFC 7301 has it: going on
 * would let each side take the bytes for another protocol's. */
static int
context_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *size,
                    const unsigned char *offered, unsigned offered_size, void *arg)
{
    const struct uco_tls_context *context = arg;
    unsigned char *chosen;

    (void) ssl;
    if (context->alpn == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto(&chosen, size, context->alpn, context->alpn_size, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* --- authorities --- */

/* "0a1b2c3d.0" */
static bool
authority_has_name(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdefABCDEF");

    return digits == 8 && name[digits] == '.' && isdigit((unsigned char) name[digits + 1]);
}

static int
authorities_load_directory(X509_STORE *store, const char *path, char *text)
{
    int fd = (int) UCO__SYSTEM(open, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const struct dirent *entry;
    unsigned loaded = 0;
    char file[4096];
    DIR *directory;

    if (fd < 0) {
        snprintf(text, UCO__TLS_TEXT_MAX, "%s: %s", path, uco_strerror(fd));
        return fd;
    }
    directory = fdopendir(fd);
    if (directory == NULL) {
        uco__close(fd);
        return -ENOMEM;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (!authority_has_name(entry->d_name))
            continue;
        /* One that cannot be read is one that is not trusted. */
        if ((size_t) snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < sizeof file)
            loaded += X509_STORE_load_file(store, file) == 1;
    }
    closedir(directory);
    ERR_clear_error();
    if (loaded > 0)
        return 0;
    snprintf(text, UCO__TLS_TEXT_MAX, "%s: no certificate with a name as of `openssl rehash`",
             path);
    return -EBADMSG;
}

/* The system's, once loaded: it takes a quarter of a second. */
static pthread_mutex_t system_mutex = PTHREAD_MUTEX_INITIALIZER;
static X509_STORE *system_store;

static void
authorities_load_system(X509_STORE *store)
{
    const char *file = secure_getenv(X509_get_default_cert_file_env());
    const char *path = secure_getenv(X509_get_default_cert_dir_env());
    char ignored[UCO__TLS_TEXT_MAX];
    bool loaded =
        X509_STORE_load_file(store, file != NULL ? file : X509_get_default_cert_file()) == 1;

    /* By default the directory has the same ones as the file, one by one. */
    if (!loaded || path != NULL)
        (void) authorities_load_directory(store, path != NULL ? path : X509_get_default_cert_dir(),
                                          ignored);
    ERR_clear_error();
}

/* Where the system has none, no certificate is accepted, and the next context looks again. */
static int
context_set_system_authorities(struct uco_tls_context *context)
{
    X509_STORE *store;

    pthread_mutex_lock(&system_mutex);
    store = system_store;
    if (store == NULL) {
        store = X509_STORE_new();
        if (store != NULL)
            authorities_load_system(store);
        if (store != NULL && sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0)
            system_store = store;
    }
    if (store != NULL)
        SSL_CTX_set1_cert_store(context->ssl_context, store);
    if (store != system_store)
        X509_STORE_free(store);
    pthread_mutex_unlock(&system_mutex);
    return store != NULL ? 0 : -ENOMEM;
}

static int
context_set_authorities(struct uco_tls_context *context, const uco_tls_options *options, char *text)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context->ssl_context);
    int r = 0;

    if (options->ca_file != NULL && X509_STORE_load_file(store, options->ca_file) != 1)
        return uco__tls_error_take(text, options->ca_file);
    if (options->ca_path != NULL)
        r = authorities_load_directory(store, options->ca_path, text);
    if (r == 0 && options->ca_file == NULL && options->ca_path == NULL && !context->server &&
        !context->insecure)
        r = context_set_system_authorities(context);
    return r;
}

/* --- certificates --- */

static int
context_set_certificate(struct uco_tls_context *context, const uco_tls_options *options, char *text)
{
    SSL_CTX *ssl_context = context->ssl_context;
    const char *key = options->key_file != NULL ? options->key_file : options->cert_file;

    if (options->cert_file == NULL)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ssl_context, options->cert_file) != 1)
        return uco__tls_error_take(text, options->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ssl_context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ssl_context) != 1)
        return uco__tls_error_take(text, key);
    return 0;
}

static int
context_set_verification(struct uco_tls_context *context, const uco_tls_options *options)
{
    STACK_OF(X509_NAME) * names;

    if (!context->server) {
        SSL_CTX_set_verify(context->ssl_context,
                           context->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
        return 0;
    }
    if (!options->verify_client)
        return 0;
    SSL_CTX_set_verify(context->ssl_context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    if (options->ca_file == NULL)
        return 0;
    /* A client that has several certificates chooses by it. */
    names = SSL_load_client_CA_file(options->ca_file);
    if (names == NULL)
        return -ENOMEM;
    SSL_CTX_set_client_CA_list(context->ssl_context, names);
    return 0;
}

/* --- the whole --- */

static int
version_of(enum uco_tls_version version, int otherwise)
{
    return version == UCO_TLS_1_3   ? TLS1_3_VERSION
           : version == UCO_TLS_1_2 ? TLS1_2_VERSION
                                    : otherwise;
}

static int
context_set_protocol(struct uco_tls_context *context, const uco_tls_options *options, char *text)
{
    SSL_CTX *ssl_context = context->ssl_context;

    SSL_CTX_set_min_proto_version(ssl_context, version_of(options->min_version, TLS1_2_VERSION));
    SSL_CTX_set_max_proto_version(ssl_context, version_of(options->max_version, 0));
    /* An idle connection keeps no buffers; and what one read of the socket gives is taken whole,
     * not a record's header first and then its body. */
    SSL_CTX_set_mode(ssl_context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl_context, 1);
    SSL_CTX_set_options(ssl_context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                         SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_default_passwd_cb(ssl_context, context_no_password);
    if (context->server) {
        /* Sessions are in the tickets: those of many clients would need memory here. */
        SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_session_id_context(ssl_context, (const unsigned char *) "uco", 3);
        SSL_CTX_set_alpn_select_cb(ssl_context, context_select_alpn, context);
    } else {
        SSL_CTX_set_session_cache_mode(ssl_context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ssl_context, uco__tls_session_keep);
    }
    if (options->ciphers != NULL && SSL_CTX_set_cipher_list(ssl_context, options->ciphers) != 1)
        return uco__tls_error_take(text, "ciphers");
    return 0;
}

static int
context_fill(struct uco_tls_context *context, const uco_tls_options *options, char *text)
{
    int r;

    context->ssl_context = SSL_CTX_new(context->server ? TLS_server_method() : TLS_client_method());
    if (context->ssl_context == NULL)
        return uco__tls_error_take(text, "OpenSSL");
    r = context_set_protocol(context, options, text);
    if (r == 0)
        r = context_set_alpn(context, options->alpn, text);
    if (r == 0)
        r = context_set_certificate(context, options, text);
    if (r == 0)
        r = context_set_authorities(context, options, text);
    return r == 0 ? context_set_verification(context, options) : r;
}

static intptr_t
context_job_run(void *arg)
{
    const struct context_job *job = arg;
    int r;

    ERR_clear_error();
    r = context_fill(job->context, job->options, job->text);
    ERR_clear_error();
    return r;
}

/* 0, or what contradicts itself. */
static const char *
options_complain(const uco_tls_options *options)
{
    if (options->server && options->cert_file == NULL)
        return "a server without cert_file";
    if (options->server && options->insecure)
        return "insecure is a client's";
    if (!options->server && options->verify_client)
        return "verify_client is a server's";
    if (options->verify_client && options->ca_file == NULL && options->ca_path == NULL)
        return "verify_client without ca_file or ca_path";
    if (options->key_file != NULL && options->cert_file == NULL)
        return "key_file without cert_file";
    if ((unsigned) options->min_version > UCO_TLS_1_3 ||
        (unsigned) options->max_version > UCO_TLS_1_3 ||
        (options->max_version != UCO_TLS_DEFAULT && options->max_version < options->min_version))
        return "the versions are out of range";
    return NULL;
}

static int
context_make(const uco_tls_options *options, struct uco_tls_context **made, char *text)
{
    struct context_job job = {.options = options, .text = text};
    const char *complaint = options_complain(options);
    int r;

    if (complaint != NULL) {
        snprintf(text, UCO__TLS_TEXT_MAX, "%s", complaint);
        return uco__misuse(-EINVAL, "uco_tls_options: %s", complaint);
    }
    job.context = uco__allocate(sizeof *job.context);
    if (job.context == NULL)
        return -ENOMEM;
    atomic_init(&job.context->references, 1);
    pthread_mutex_init(&job.context->mutex, NULL);
    uco__list_init(&job.context->sessions);
    job.context->server = options->server;
    job.context->insecure = options->insecure;
    r = (int) uco_to_thread(context_job_run, &job);
    if (r < 0)
        uco_tls_context_free(job.context);
    else
        *made = job.context;
    return r < 0 ? r : 0;
}

int
uco__tls_context_make(const uco_tls_options *options, struct uco_tls_context **made,
                      char text[UCO__TLS_TEXT_MAX])
{
    int r;

    text[0] = '\0';
    r = context_make(options, made, text);
    if (r < 0 && text[0] == '\0')
        snprintf(text, UCO__TLS_TEXT_MAX, "%s", uco_strerror(r));
    uco__tls_error_note(text);
    return r;
}

uco_tls_context *
uco_tls_context_new(const uco_tls_options *options)
{
    char text[UCO__TLS_TEXT_MAX];
    struct uco_tls_context *made;
    int r = uco__checkpoint();

    if (r == 0 && options != NULL) {
        r = uco__tls_context_make(options, &made, text);
        return r == 0 ? made : uco__error_null(r);
    }
    uco__tls_error_note(r < 0 ? uco_strerror(r) : "the options are NULL");
    if (r == 0)
        r = uco__misuse(-EINVAL, "uco_tls_context_new: the options are NULL");
    return uco__error_null(r);
}

bool
uco__tls_context_serves(const uco_tls_context *context)
{
    return context->server;
}

uco_tls_context *
uco_tls_context_ref(uco_tls_context *context)
{
    if (context != NULL)
        atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void
uco_tls_context_free(uco_tls_context *context)
{
    /* Release and acquire: whoever frees sees what all others did with it. */
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    uco__tls_sessions_free(context);
    SSL_CTX_free(context->ssl_context);
    pthread_mutex_destroy(&context->mutex);
    uco__free(context->alpn);
    uco__free(context);
}
