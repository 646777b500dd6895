/* SPDX-License-Identifier: MIT */

/* What needs stack: TLS and HTTP. */

#include "stack_needs.h"

#include "support/bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef STACK_NEEDS_OPENSSL
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif
#ifdef STACK_NEEDS_CURL
#include <curl/curl.h>
#include <uco/http.h>
#endif

/* --- TLS --- */

#ifdef STACK_NEEDS_OPENSSL

/* Made in a process of its own, so that the measured one begins without OpenSSL. */
struct identity {
    int size[3];       /* bytes */
    char pem[3][4096]; /* private key, certificate, authority */
};

static struct identity *identity;

static bool
extension_add(X509 *certificate, int id, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);
    int added = extension != NULL ? X509_add_ext(certificate, extension, -1) : 0;

    X509_EXTENSION_free(extension);
    return added == 1;
}

static X509 *
certificate_new(EVP_PKEY *key, const char *issuer, const char *subject)
{
    X509 *certificate = X509_new();

    if (certificate == NULL)
        return NULL;
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_NAME_add_entry_by_txt(X509_get_issuer_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *) issuer, -1, -1, 0);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *) subject, -1, -1, 0);
    X509_set_pubkey(certificate, key);
    if (issuer == subject)
        extension_add(certificate, NID_basic_constraints, "critical,CA:TRUE");
    else
        extension_add(certificate, NID_subject_alt_name, "IP:127.0.0.1");
    X509_sign(certificate, key, EVP_sha256());
    return certificate;
}

/* The authority has the server's key: the work of verifying is the same. */
static bool
identity_fill(EVP_PKEY *key)
{
    static const char authority[] = "authority";
    BIO *out[COUNT(identity->pem)];

    for (size_t i = 0; i < COUNT(out); i++)
        out[i] = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(out[0], key, NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_X509(out[1], certificate_new(key, authority, "server"));
    PEM_write_bio_X509(out[2], certificate_new(key, authority, authority));
    for (size_t i = 0; i < COUNT(out); i++)
        identity->size[i] = BIO_read(out[i], identity->pem[i], sizeof identity->pem[i]);
    return identity->size[0] > 0 && identity->size[1] > 0 && identity->size[2] > 0;
}

static bool
identity_make(const char *kind)
{
    pid_t pid;
    int status;

    identity = memory_share(sizeof *identity);
    if (identity == NULL)
        return false;
    pid = fork();
    if (pid == 0)
        _exit(identity_fill(strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen(kind)) ? 0
                                                                                             : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static BIO *
identity_read(int part)
{
    return BIO_new_mem_buf(identity->pem[part], identity->size[part]);
}

/* Nothing of TLS is freed: the process ends soon. */
static SSL *
tls_server_new(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_use_PrivateKey(context, PEM_read_bio_PrivateKey(identity_read(0), NULL, NULL, NULL));
    SSL_CTX_use_certificate(context, PEM_read_bio_X509(identity_read(1), NULL, NULL, NULL));
    return SSL_new(context);
}

static SSL *
tls_client_new(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *client;

    X509_STORE_add_cert(SSL_CTX_get_cert_store(context),
                        PEM_read_bio_X509(identity_read(2), NULL, NULL, NULL));
    SSL_CTX_set_default_verify_paths(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    client = SSL_new(context);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(client), "127.0.0.1");
    return client;
}

static bool
shakes_hands(const char *arg)
{
    SSL *client = tls_client_new(), *server = tls_server_new();
    BIO *client_end, *server_end;
    char received[2];

    (void) arg;
    BIO_new_bio_pair(&client_end, 0, &server_end, 0);
    SSL_set_bio(client, client_end, client_end);
    SSL_set_bio(server, server_end, server_end);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < 10 && (!SSL_is_init_finished(client) || !SSL_is_init_finished(server));
         i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    return SSL_version(client) == TLS1_3_VERSION && SSL_get_verify_result(client) == X509_V_OK &&
           SSL_write(client, "ok", 2) == 2 && SSL_read(server, received, 2) == 2;
}

#else
#define shakes_hands NULL
#define identity_make NULL
#endif

/* --- HTTP --- */

#ifdef STACK_NEEDS_CURL

static char url[64];

#ifdef STACK_NEEDS_OPENSSL
/* One request on a connection of the server. */
static bool
tls_answer(int fd, const char *answer)
{
    SSL *tls = tls_server_new();
    char request[4096];

    SSL_set_fd(tls, fd);
    return SSL_accept(tls) == 1 && SSL_read(tls, request, sizeof request) > 0 &&
           SSL_write(tls, answer, (int) strlen(answer)) > 0 && SSL_shutdown(tls) >= 0;
}
#endif

static _Noreturn void
server_run(int listener, bool secure)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    char request[4096];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

#ifdef STACK_NEEDS_OPENSSL
        if (secure)
            tls_answer(fd, answer);
#endif
        if (!secure && read(fd, request, sizeof request) > 0)
            (void) !write(fd, answer, sizeof answer - 1);
        close(fd);
    }
}

static bool
server_start(const char *scheme)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool secure = strcmp(scheme, "https") == 0;
    pid_t pid;

#ifdef STACK_NEEDS_OPENSSL
    if (secure && !identity_make("RSA"))
        return false;
#endif
    if (listener < 0 || bind(listener, (struct sockaddr *) &address, size) < 0 ||
        listen(listener, 5) < 0 || getsockname(listener, (struct sockaddr *) &address, &size) < 0)
        return false;
    snprintf(url, sizeof url, "%s://127.0.0.1:%u/", scheme, ntohs(address.sin_port));
    pid = fork();
    if (pid == 0)
        server_run(listener, secure);
    close(listener);
    return pid > 0;
}

static size_t
page_receive(char *data, size_t size, size_t count, void *received)
{
    (void) data;
    *(size_t *) received += size * count;
    return size * count;
}

static bool
curl_gets(const char *scheme)
{
    CURL *curl = curl_easy_init();
    size_t received = 0;
    CURLcode r;

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, page_receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
#ifdef STACK_NEEDS_OPENSSL
    if (strcmp(scheme, "https") == 0) {
        struct curl_blob authority = {identity->pem[2], (size_t) identity->size[2],
                                      CURL_BLOB_NOCOPY};

        if (curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &authority) != CURLE_OK)
            return skip(); /* another TLS library's libcurl */
    }
#else
    (void) scheme;
#endif
    r = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return r == CURLE_OK && received == 2;
}

static bool
uco_gets(const char *arg)
{
    const uco_http_client_options options = {.proxy = ""};
    uco_http_client *client = uco_http_client_new(&options);
    uco_http_response *response;
    bool right = client != NULL && uco_http_get(client, url, &response) == 0;

    (void) arg;
    if (right) {
        right = response->status == 200 && response->size == 2;
        uco_http_response_free(response);
    }
    return uco_http_client_close(client) == 0 && right;
}

#else
#define server_start NULL
#define curl_gets NULL
#define uco_gets NULL
#endif

#if defined(STACK_NEEDS_OPENSSL) && defined(STACK_NEEDS_CURL)
#define curl_gets_tls curl_gets
#else
#define curl_gets_tls NULL
#endif

static const struct use uses[] = {
    {"TLS 1.3 in memory, both ends, RSA-2048", shakes_hands, identity_make, "RSA"},
    {"TLS 1.3 in memory, both ends, P-256", shakes_hands, identity_make, "P-256"},
    {"curl_easy_perform of http://", curl_gets, server_start, "http"},
    {"curl_easy_perform of https://, RSA-2048", curl_gets_tls, server_start, "https"},
    {"uco_http_get of http://", uco_gets, server_start, "http"},
};

const struct use_group uses_of_net = {uses, COUNT(uses)};
