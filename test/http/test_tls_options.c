/* SPDX-License-Identifier: MIT */
/*
 * Options that have to do with TLS: proxies that are spoken to by it, certificates, pinned keys,
 * and cookies that want it. Where there is no openssl program, or no TLS in uco, nothing is tested.
 */
#include "certificates.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/tls.h>

#define EXIT_SKIPPED 77 /* as meson has it */

static char directory[] = "/tmp/uco-tls-options-XXXXXX";

/* The path of one of the files; valid for the next seven calls, too. */
static const char *
file(const char *name)
{
    static char paths[8][80];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

/* A server that speaks TLS; what it is asked it notes, and answers "tls". */
struct secure {
    uco_server *server;
    char head[2048]; /* of the last request */
};

static intptr_t
secure_answer(uco_stream *stream, void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls";
    struct secure *secure = arg;
    const char *line;
    size_t used = 0;
    ssize_t n;

    do {
        n = uco_stream_read_line(stream, &line);
        if (n <= 0 || used + (size_t) n >= sizeof secure->head)
            return 0;
        memcpy(secure->head + used, line, (size_t) n);
        used += (size_t) n;
        secure->head[used] = '\0';
    } while (n > 2);
    return uco_stream_write(stream, answer, sizeof answer - 1);
}

static void
secure_start(struct secure *secure, const char *certificate, const char *key,
             bool asks_for_certificate)
{
    const uco_tls_options tls = {
        .server = true,
        .cert_file = file(certificate),
        .key_file = file(key),
        .ca_file = asks_for_certificate ? file("ca.pem") : NULL,
        .verify_client = asks_for_certificate,
    };

    secure->head[0] = '\0';
    secure->server = uco_server_start_with(&(uco_server_options){.host = "127.0.0.1", .tls = &tls},
                                           secure_answer, secure);
    ck_assert_ptr_nonnull(secure->server);
}

static void
secure_stop(struct secure *secure)
{
    ck_assert_int_eq(uco_server_close(secure->server, 0.1), 0);
}

/* The result of a request to it, as uco_http_get()'s. */
static int
get_from(struct fixture *f, const struct secure *secure, const uco_http_client_options *options)
{
    uco_http_response *response;
    char url[64];
    int r;

    snprintf(url, sizeof url, "https://127.0.0.1:%u/", (unsigned) uco_server_port(secure->server));
    reopen(f, options);
    r = uco_http_get(f->client, url, &response);
    uco_http_response_free(response);
    return r;
}

/* The same to a host that it is the proxy of. */
static int
get_through(struct fixture *f, const struct secure *secure, const uco_http_client_options *options)
{
    uco_http_client_options with = *options;
    uco_http_response *response;
    char proxy[64];
    int r;

    snprintf(proxy, sizeof proxy, "https://127.0.0.1:%u",
             (unsigned) uco_server_port(secure->server));
    with.proxy = proxy;
    reopen(f, &with);
    r = uco_http_get(f->client, "http://nowhere.invalid/", &response);
    if (r == 0)
        ck_assert_str_eq(response->text, "tls");
    uco_http_response_free(response);
    return r;
}

#define OPTIONS(...) (&(uco_http_client_options){__VA_ARGS__})

/* --- proxies --- */

static bool
can_speak_tls_with_proxies(struct fixture *f)
{
    uco_http_client *client = uco_http_client_new(OPTIONS(.proxy = "https://127.0.0.1"));
    bool can = client != NULL;

    (void) f;
    if (!can)
        test_skipped("this libcurl cannot speak TLS with a proxy");
    ck_assert_int_eq(uco_http_client_close(client), 0);
    return can;
}

static void
verify_proxy(struct fixture *f)
{
    struct secure secure;

    if (!can_speak_tls_with_proxies(f))
        return;
    secure_start(&secure, "local.pem", "local.key", false);
    ck_assert_int_eq(get_through(f, &secure, OPTIONS(.ca_file = file("ca.pem"))), 0);
    ck_assert_ptr_nonnull(strstr(secure.head, "GET http://nowhere.invalid/ HTTP/1.1\r\n"));
    ck_assert_int_eq(get_through(f, &secure, OPTIONS(.ca_file = file("other-ca.pem"))), -EPROTO);
    ck_assert_int_eq(get_through(f, &secure, OPTIONS(0)), -EPROTO);
    ck_assert_int_eq(get_through(f, &secure, OPTIONS(.insecure = true)), 0);
    secure_stop(&secure);
    secure_start(&secure, "named.pem", "named.key", false);
    ck_assert_int_eq(get_through(f, &secure, OPTIONS(.ca_file = file("ca.pem"))), -EPROTO);
    ck_assert_int_eq(get_through(f, &secure, OPTIONS(.insecure = true)), 0);
    secure_stop(&secure);
}

START_TEST(a_proxys_certificate_is_verified)
{
    serve(verify_proxy);
}
END_TEST

static void
keep_from_proxy(struct fixture *f)
{
    uco_http_client_options options = {
        .ca_file = file("ca.pem"),
        .client_cert = file("alice.pem"),
        .client_key = file("alice.key"),
        .key_password = CERTIFICATES_PASSWORD,
    };
    struct secure secure;

    if (!can_speak_tls_with_proxies(f))
        return;
    secure_start(&secure, "local.pem", "local.key", true);
    ck_assert_int_eq(get_from(f, &secure, &options), 0);
    ck_assert_int_lt(get_through(f, &secure, &options), 0);
    secure_stop(&secure);
    secure_start(&secure, "local.pem", "local.key", false);
    options = *OPTIONS(.ca_file = file("ca.pem"), .pinned_key = file("named.pub"));
    ck_assert_int_eq(get_through(f, &secure, &options), 0);
    ck_assert_int_eq(get_from(f, &secure, &options), -EPROTO);
    secure_stop(&secure);
}

START_TEST(a_proxy_is_not_shown_the_certificate_nor_pinned)
{
    serve(keep_from_proxy);
}
END_TEST

/* --- hosts --- */

/* The system has its authorities in a file and, maybe, in a directory. Here that is asked for by
 * curl, and is one with the test's authority: it has signed everybody's certificate. */
static bool system_knows_all;

int X509_STORE_load_file(void *store, const char *path) __attribute__((weak));
int X509_STORE_load_path(void *store, const char *path);

int
X509_STORE_load_path(void *store, const char *path)
{
    (void) path;
    return system_knows_all ? X509_STORE_load_file(store, file("ca.pem")) : 1;
}

static void
trust_nobody_else(struct fixture *f)
{
    struct secure secure;

    secure_start(&secure, "local.pem", "local.key", false);
    system_knows_all = X509_STORE_load_file != NULL;
    if (get_from(f, &secure, OPTIONS(0)) < 0)
        test_skipped("this libcurl has no directory of authorities");
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.ca_file = file("other-ca.pem"))), -EPROTO);
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.ca_file = file("ca.pem"))), 0);
    if (can_speak_tls_with_proxies(f))
        ck_assert_int_eq(get_through(f, &secure, OPTIONS(.ca_file = file("other-ca.pem"))),
                         -EPROTO);
    secure_stop(&secure);
    system_knows_all = false;
}

START_TEST(who_names_authorities_trusts_no_others)
{
    serve(trust_nobody_else);
}
END_TEST

static void
show_certificate(struct fixture *f)
{
    uco_http_client_options options = {
        .ca_file = file("ca.pem"),
        .client_cert = file("alice.pem"),
        .client_key = file("alice.key"),
        .key_password = CERTIFICATES_PASSWORD,
    };
    struct secure secure;

    secure_start(&secure, "local.pem", "local.key", true);
    ck_assert_int_eq(get_from(f, &secure, &options), 0);
    options.key_password = "wrong";
    ck_assert_int_eq(get_from(f, &secure, &options), -EPROTO);
    ck_assert_int_lt(get_from(f, &secure, OPTIONS(.ca_file = file("ca.pem"))), 0);
    secure_stop(&secure);
}

START_TEST(a_key_is_opened_with_its_password)
{
    serve(show_certificate);
}
END_TEST

static void
pin_key(struct fixture *f)
{
    static const char wrong[] = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    FILE *pin = fopen(file("local.pin"), "r");
    char right[64], both[128];
    struct secure secure;

    ck_assert_ptr_nonnull(pin);
    ck_assert_int_eq(fscanf(pin, "%63s", right), 1);
    fclose(pin);
    snprintf(both, sizeof both, "%s;%s", wrong, right);
    secure_start(&secure, "local.pem", "local.key", false);
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.ca_file = file("ca.pem"), .pinned_key = right)),
                     0);
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.ca_file = file("ca.pem"), .pinned_key = both)),
                     0);
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.ca_file = file("ca.pem"), .pinned_key = wrong)),
                     -EPROTO);
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.insecure = true, .pinned_key = wrong)), -EPROTO);
    ck_assert_int_eq(
        get_from(f, &secure, OPTIONS(.insecure = true, .pinned_key = file("local.pub"))), 0);
    ck_assert_int_eq(get_from(f, &secure, OPTIONS(.pinned_key = right)), -EPROTO);
    secure_stop(&secure);
}

START_TEST(a_pinned_key_is_wanted_besides_the_authoritys_word)
{
    serve(pin_key);
}
END_TEST

static void
send_cookie(struct fixture *f)
{
    uco_http_response *response;
    struct secure secure;
    char url[64];

    secure_start(&secure, "local.pem", "local.key", false);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", (unsigned) uco_server_port(secure.server));
    reopen(f, OPTIONS(.ca_file = file("ca.pem")));
    ck_assert_int_eq(uco_http_cookie_set(f->client, "a=1; domain=127.0.0.1; secure"), 0);
    ck_assert_int_eq(uco_http_get(f->client, url, &response), 0);
    ck_assert_ptr_nonnull(strstr(secure.head, "ookie: a=1\r\n"));
    uco_http_response_free(response);
    secure_stop(&secure);
}

START_TEST(a_secure_cookie_is_sent_by_tls)
{
    serve(send_cookie);
}
END_TEST

static int
suite_run(void)
{
    Suite *suite = suite_create("http tls options");
    TCase *proxies = case_new(suite, "proxies");
    TCase *hosts = case_new(suite, "hosts");

    tcase_add_test(proxies, a_proxys_certificate_is_verified);
    tcase_add_test(proxies, a_proxy_is_not_shown_the_certificate_nor_pinned);
    tcase_add_test(hosts, who_names_authorities_trusts_no_others);
    tcase_add_test(hosts, a_key_is_opened_with_its_password);
    tcase_add_test(hosts, a_pinned_key_is_wanted_besides_the_authoritys_word);
    tcase_add_test(hosts, a_secure_cookie_is_sent_by_tls);
    return suite_end(suite);
}

/* Whether uco can speak TLS itself, as the servers here do. */
static bool
tls_is_built(void)
{
    uco_tls_context *context = uco_tls_context_new(&(uco_tls_options){.insecure = true});

    if (context == NULL && errno == ENOSYS)
        return false;
    uco_tls_context_free(context);
    return true;
}

int
main(void)
{
    const char *const remove[] = {"rm", "-rf", directory, NULL};
    int status = EXIT_SKIPPED;

    if (mkdtemp(directory) == NULL)
        return EXIT_FAILURE;
    if (!tls_is_built())
        test_skipped("uco was built without TLS");
    else if (!certificates_make(directory))
        test_skipped("there is no openssl program");
    else
        status = suite_run();
    program_run(remove);
    return status;
}
