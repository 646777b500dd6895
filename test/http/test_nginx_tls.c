/* SPDX-License-Identifier: MIT */
/* The client against the real nginx: TLS, and who is trusted. */
#include "certificates.h"
#include "nginx.h"

#include <stdio.h>
#include <string.h>

static const uco_http_client_options no_options;

/* --- the server's certificate --- */

static const char *const addresses[] = {
    "shop.test:*:127.0.0.1",
    "elsewhere.test:*:127.0.0.1",
    NULL,
};

/* Twice: what was refused is not taken the next time. */
static void
expect_refusal(struct fixture *f, const char *url, const char *words)
{
    const uco_http_request_options request = {.url = url};

    for (int i = 0; i < 2; i++) {
        expect_failure(f, &request, -EPROTO);
        expect_words(f, words);
        expect_words(f, url);
    }
}

static void
get_trusted(struct fixture *f)
{
    expect_text(f, "/hello", "hello\n");
    expect_text(f, nginx_url("https", "127.0.0.1", nginx.tls, "/hello"), "hello\n");
}

START_TEST(a_certificate_of_the_ca_file_is_trusted)
{
    with_nginx_tls(&no_options, get_trusted);
}
END_TEST

static void
get_untrusted(struct fixture *f)
{
    expect_refusal(f, nginx_url("https", "localhost", nginx.tls, "/hello?refused"), "certificate");
    ck_assert_int_eq(nginx_logged("/hello?refused"), 0);
}

START_TEST(a_certificate_of_another_authority_is_refused)
{
    const uco_http_client_options options = {.ca_file = nginx_path("other-ca.pem")};

    with_nginx_tls(&options, get_untrusted);
}
END_TEST

static void
get_expired(struct fixture *f)
{
    expect_refusal(f, nginx_url("https", "localhost", nginx.expired, "/"), "expired");
}

START_TEST(a_certificate_whose_time_is_over_is_refused)
{
    with_nginx_tls(&no_options, get_expired);
}
END_TEST

static void
get_wrong_host(struct fixture *f)
{
    expect_refusal(f, nginx_url("https", "elsewhere.test", nginx.tls, "/hello"), "elsewhere.test");
}

START_TEST(a_certificate_for_other_hosts_is_refused)
{
    const uco_http_client_options options = {.addresses = addresses};

    with_nginx_tls(&options, get_wrong_host);
}
END_TEST

static void
get_insecurely(struct fixture *f)
{
    expect_text(f, nginx_url("https", "localhost", nginx.expired, "/"), "expired\n");
    expect_text(f, nginx_url("https", "elsewhere.test", nginx.tls, "/hello"), "hello\n");
}

START_TEST(an_insecure_client_takes_what_it_is_shown)
{
    const uco_http_client_options options = {.addresses = addresses, .insecure = true};

    with_nginx_tls(&options, get_insecurely);
}
END_TEST

static void
get_by_name(struct fixture *f)
{
    const char *url = nginx_url("https", "shop.test", nginx.tls, "/server-name");

    expect_text(f, url, "shop.test\n");
    url = nginx_url("https", "localhost", nginx.tls, "/server-name");
    expect_text(f, url, "localhost\n");
}

START_TEST(nginx_is_told_which_host_is_meant_and_shows_its_certificate)
{
    const uco_http_client_options options = {.addresses = addresses};

    with_nginx_tls(&options, get_by_name);
}
END_TEST

static void
mix_protocols(struct fixture *f)
{
    const uco_http_request_options plain = {
        .url = nginx_url("http", "localhost", nginx.tls, "/hello")};

    expect_refusal(f, nginx_url("https", "localhost", nginx.plain, "/hello"), "");
    expect_answer(f, &plain, 400, NULL);
}

START_TEST(tls_where_nobody_speaks_it_is_a_protocol_error)
{
    with_nginx_tls(&no_options, mix_protocols);
}
END_TEST

/* --- pinned keys --- */

static const char *
pin_read(void)
{
    static char pin[128];
    FILE *file = fopen(nginx_path("local.pin"), "re");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%127s", pin), 1);
    fclose(file);
    return pin;
}

static void
get_hello(struct fixture *f)
{
    expect_text(f, "/hello", "hello\n");
}

START_TEST(a_pinned_key_is_known_by_its_hash)
{
    const uco_http_client_options options = {.pinned_key = pin_read()};

    with_nginx_tls(&options, get_hello);
}
END_TEST

START_TEST(one_of_several_pinned_keys_is_enough)
{
    char pins[256];
    const uco_http_client_options options = {.pinned_key = pins};

    snprintf(pins, sizeof pins, "sha256//%s;%s",
             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", pin_read());
    with_nginx_tls(&options, get_hello);
}
END_TEST

START_TEST(a_pinned_key_is_known_by_its_file)
{
    const uco_http_client_options options = {.pinned_key = nginx_path("local.pub")};

    with_nginx_tls(&options, get_hello);
}
END_TEST

static void
get_unpinned(struct fixture *f)
{
    expect_refusal(f, nginx_url("https", "localhost", nginx.tls, "/hello"), "pin");
}

START_TEST(another_key_than_the_pinned_one_is_refused)
{
    const uco_http_client_options by_hash = {
        .pinned_key = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    const uco_http_client_options by_file = {.pinned_key = nginx_path("named.pub")};

    with_nginx_tls(&by_hash, get_unpinned);
    with_nginx_tls(&by_file, get_unpinned);
}
END_TEST

START_TEST(an_insecure_client_looks_at_pinned_keys_all_the_same)
{
    const uco_http_client_options options = {.pinned_key = nginx_path("named.pub"),
                                             .insecure = true};

    with_nginx_tls(&options, get_unpinned);
}
END_TEST

/* --- the client's certificate --- */

static void
be_alice(struct fixture *f)
{
    expect_text(f, nginx_url("https", "localhost", nginx.mutual, "/"), "CN=alice\n");
}

START_TEST(a_client_shows_its_certificate_whose_key_has_a_password)
{
    const uco_http_client_options options = {.client_cert = nginx_path("alice.pem"),
                                             .client_key = nginx_path("alice.key"),
                                             .key_password = CERTIFICATES_PASSWORD};

    with_nginx_tls(&options, be_alice);
}
END_TEST

static void
be_nobody(struct fixture *f)
{
    const uco_http_request_options request = {
        .url = nginx_url("https", "localhost", nginx.mutual, "/")};
    uco_http_response *response = ask(f, &request);

    ck_assert_int_eq(response->status, 400);
    ck_assert_ptr_nonnull(strstr(response->text, "No required SSL certificate was sent"));
    uco_http_response_free(response);
}

START_TEST(without_a_certificate_nginx_refuses_to_answer)
{
    with_nginx_tls(&no_options, be_nobody);
}
END_TEST

static void
fail_to_be_alice(struct fixture *f)
{
    expect_refusal(f, nginx_url("https", "localhost", nginx.mutual, "/?not-alice"), "key");
    ck_assert_int_eq(nginx_logged("/?not-alice"), 0);
}

START_TEST(a_key_that_the_password_does_not_open_is_an_error)
{
    const uco_http_client_options options = {.client_cert = nginx_path("alice.pem"),
                                             .client_key = nginx_path("alice.key"),
                                             .key_password = "a short guess"};

    with_nginx_tls(&options, fail_to_be_alice);
}
END_TEST

START_TEST(a_key_that_belongs_to_another_certificate_is_an_error)
{
    const uco_http_client_options options = {.client_cert = nginx_path("alice.pem"),
                                             .client_key = nginx_path("local.key")};

    with_nginx_tls(&options, fail_to_be_alice);
}
END_TEST

/* --- timings --- */

static void
look_at_timings(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/text");
    const uco_http_timings *t = &response->timings;

    ck_assert_double_ge(t->connect, 0);
    ck_assert_double_gt(t->tls, t->connect);
    ck_assert_double_ge(t->first_byte, t->tls);
    ck_assert_double_ge(t->total, t->first_byte);
    uco_http_response_free(response);
    response = fetch(f, "/text");
    ck_assert_double_eq(response->timings.connect, -1);
    ck_assert_double_eq(response->timings.tls, -1);
    ck_assert_double_ge(response->timings.total, response->timings.first_byte);
    uco_http_response_free(response);
}

START_TEST(the_handshake_has_its_time_and_a_kept_connection_has_none)
{
    with_nginx_tls(&no_options, look_at_timings);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *servers = case_new(suite, "servers' certificates");
    TCase *pins = case_new(suite, "pinned keys");
    TCase *clients = case_new(suite, "clients' certificates");

    tcase_add_test(servers, a_certificate_of_the_ca_file_is_trusted);
    tcase_add_test(servers, a_certificate_of_another_authority_is_refused);
    tcase_add_test(servers, a_certificate_whose_time_is_over_is_refused);
    tcase_add_test(servers, a_certificate_for_other_hosts_is_refused);
    tcase_add_test(servers, an_insecure_client_takes_what_it_is_shown);
    tcase_add_test(servers, nginx_is_told_which_host_is_meant_and_shows_its_certificate);
    tcase_add_test(servers, tls_where_nobody_speaks_it_is_a_protocol_error);
    tcase_add_test(servers, the_handshake_has_its_time_and_a_kept_connection_has_none);
    tcase_add_test(pins, a_pinned_key_is_known_by_its_hash);
    tcase_add_test(pins, one_of_several_pinned_keys_is_enough);
    tcase_add_test(pins, a_pinned_key_is_known_by_its_file);
    tcase_add_test(pins, another_key_than_the_pinned_one_is_refused);
    tcase_add_test(pins, an_insecure_client_looks_at_pinned_keys_all_the_same);
    tcase_add_test(clients, a_client_shows_its_certificate_whose_key_has_a_password);
    tcase_add_test(clients, without_a_certificate_nginx_refuses_to_answer);
    tcase_add_test(clients, a_key_that_the_password_does_not_open_is_an_error);
    tcase_add_test(clients, a_key_that_belongs_to_another_certificate_is_an_error);
}

int
main(void)
{
    return nginx_tests("http nginx, TLS", add);
}
