/* SPDX-License-Identifier: MIT */
/* The client against the real nginx: who asks, where the answer is, and asking again. */
#include "nginx.h"

#include <stdio.h>
#include <string.h>

static const uco_http_client_options no_options;

/* --- who asks --- */

static void
expect_user(struct fixture *f, const uco_http_request_options *request)
{
    uco_http_response *response = ask(f, request);

    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(uco_http_header(response, "X-User"), "user");
    uco_http_response_free(response);
}

static void
be_known(struct fixture *f)
{
    expect_user(f, &(uco_http_request_options){.url = "/private/text"});
}

START_TEST(a_clients_user_is_let_in)
{
    const uco_http_client_options options = {.user = "user", .password = "secret"};

    with_nginx(&options, be_known);
}
END_TEST

static void
be_known_for_once(struct fixture *f)
{
    const uco_http_request_options request = {
        .url = "/private/text", .user = "user", .password = "secret"};
    const uco_http_request_options wrong = {
        .url = "/private/text", .user = "user", .password = "guessed"};

    expect_user(f, &request);
    expect_answer(f, &wrong, 401, NULL);
    expect_answer(f, &(uco_http_request_options){.url = "/private/text"}, 401, NULL);
}

START_TEST(a_requests_user_is_let_in_and_with_a_wrong_password_is_not)
{
    with_nginx(&no_options, be_known_for_once);
}
END_TEST

static void
be_known_by_url(struct fixture *f)
{
    const char *url = nginx_url("http", "user:secret@127.0.0.1", nginx.plain, "/private/text");

    expect_user(f, &(uco_http_request_options){.url = url});
    url = nginx_url("http", "user:guessed@127.0.0.1", nginx.plain, "/private/text");
    expect_answer(f, &(uco_http_request_options){.url = url}, 401, NULL);
}

START_TEST(a_user_in_the_url_is_let_in)
{
    with_nginx(&no_options, be_known_by_url);
}
END_TEST

/* --- redirects --- */

static void
follow(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/moved/twice");

    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(response->text, "hello\n");
    ck_assert_str_eq(response->url, nginx_url("http", "127.0.0.1", nginx.plain, "/hello"));
    ck_assert_uint_eq(response->history_size, 2);
    ck_assert_int_eq(response->history[0].status, 301);
    ck_assert_str_eq(response->history[0].url,
                     nginx_url("http", "127.0.0.1", nginx.plain, "/moved/twice"));
    ck_assert_int_eq(response->history[1].status, 302);
    ck_assert_str_eq(response->history[1].url,
                     nginx_url("http", "127.0.0.1", nginx.plain, "/moved"));
    uco_http_response_free(response);
}

START_TEST(redirects_are_followed_and_remembered)
{
    with_nginx(&no_options, follow);
}
END_TEST

static void
stay(struct fixture *f)
{
    uco_http_response *response =
        ask(f, &(uco_http_request_options){.url = "/moved", .max_redirects = -1});

    ck_assert_int_eq(response->status, 302);
    ck_assert_str_eq(uco_http_header(response, "Location"), "/hello");
    ck_assert_uint_eq(response->history_size, 0);
    uco_http_response_free(response);
    expect_failure(f, &(uco_http_request_options){.url = "/moved/twice", .max_redirects = 1},
                   -ELOOP);
    expect_words(f, "/moved");
}

START_TEST(redirects_are_followed_as_far_as_is_allowed)
{
    with_nginx(&no_options, stay);
}
END_TEST

static void
follow_to_tls(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/moved/secure");

    ck_assert_str_eq(response->text, "hello\n");
    ck_assert_int_eq(response->version, 20);
    ck_assert_str_eq(response->url, nginx_url("https", "localhost", nginx.tls, "/hello"));
    ck_assert_uint_eq(response->history_size, 1);
    ck_assert_int_eq(response->history[0].status, 301);
    uco_http_response_free(response);
}

START_TEST(a_redirect_may_lead_from_http_to_https)
{
    const uco_http_client_options options = {.ca_file = nginx_path("ca.pem")};

    with_nginx(&options, follow_to_tls);
}
END_TEST

static void
follow_with_body(struct fixture *f)
{
    const uco_http_request_options put = {
        .method = "PUT", .url = "/moved/stored/elsewhere", .body = "moved", .body_size = 5};
    const uco_http_request_options posted = {.url = "/moved", .body = "given", .body_size = 5};
    uco_http_response *response = ask(f, &put);

    ck_assert_int_eq(response->status, 201);
    ck_assert_int_eq(response->history[0].status, 307);
    uco_http_response_free(response);
    expect_text(f, "/stored/elsewhere", "moved");
    response = ask(f, &posted); /* 302: as browsers do, by GET */
    ck_assert_str_eq(response->text, "hello\n");
    uco_http_response_free(response);
    ck_assert_int_eq(nginx_logged("POST /moved "), 1);
    ck_assert_int_eq(nginx_logged("POST /hello "), 0);
}

START_TEST(a_body_is_sent_again_where_307_leads)
{
    with_nginx(&no_options, follow_with_body);
}
END_TEST

/* --- retries --- */

static int
attempt_tell(uco_http_call *call, void *arg)
{
    char header[32];

    (void) arg;
    snprintf(header, sizeof header, "X-Attempt: %d", uco_http_call_attempt(call));
    return uco_http_call_set_header(call, header);
}

static void
retry_busy(struct fixture *f)
{
    const uco_http_request_options request = {.url = "/busy?again", .retries = 3};
    double began = real_time();
    uco_http_response *response = ask(f, &request);

    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(response->text, "free\n");
    ck_assert_int_eq(response->attempts, 2);
    uco_http_response_free(response);
    ck_assert_double_ge(real_time() - began, 0.99);
    ck_assert_int_eq(nginx_logged("503 GET /busy?again "), 1);
    ck_assert_int_eq(nginx_logged("200 GET /busy?again "), 1);
}

START_TEST(a_retry_waits_as_long_as_retry_after_says)
{
    const uco_http_client_options options = {.before_request = attempt_tell};

    with_nginx(&options, retry_busy);
}
END_TEST

static void
do_not_retry(struct fixture *f)
{
    const uco_http_request_options unasked = {.url = "/busy?once"};
    const uco_http_request_options posted = {
        .url = "/busy?posted", .body = "1", .body_size = 1, .retries = 3};

    expect_answer(f, &unasked, 503, NULL);
    expect_answer(f, &posted, 503, NULL);
    ck_assert_int_eq(nginx_logged("/busy?once "), 1);
    ck_assert_int_eq(nginx_logged("/busy?posted "), 1);
}

START_TEST(who_does_not_ask_for_retries_or_posts_gets_the_first_answer)
{
    const uco_http_client_options options = {.before_request = attempt_tell};

    with_nginx(&options, do_not_retry);
}
END_TEST

static void
retry_limited(struct fixture *f)
{
    const uco_http_request_options request = {.url = "/limited?key=retries", .retries = 2};
    uco_http_response *response = ask(f, &request);

    ck_assert_int_eq(response->status, 200);
    ck_assert_int_eq(response->attempts, 1);
    uco_http_response_free(response);
    response = ask(f, &request);
    ck_assert_int_eq(response->status, 429);
    ck_assert_int_eq(response->attempts, 3);
    uco_http_response_free(response);
    ck_assert_int_eq(nginx_logged("200 GET /limited?key=retries "), 1);
    ck_assert_int_eq(nginx_logged("429 GET /limited?key=retries "), 3);
}

START_TEST(the_last_retrys_answer_is_the_answer)
{
    with_nginx(&no_options, retry_limited);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *users = case_new(suite, "users");
    TCase *redirects = case_new(suite, "redirects");
    TCase *retries = case_new(suite, "retries");

    tcase_add_test(users, a_clients_user_is_let_in);
    tcase_add_test(users, a_requests_user_is_let_in_and_with_a_wrong_password_is_not);
    tcase_add_test(users, a_user_in_the_url_is_let_in);
    tcase_add_test(redirects, redirects_are_followed_and_remembered);
    tcase_add_test(redirects, redirects_are_followed_as_far_as_is_allowed);
    tcase_add_test(redirects, a_redirect_may_lead_from_http_to_https);
    tcase_add_test(redirects, a_body_is_sent_again_where_307_leads);
    tcase_add_test(retries, a_retry_waits_as_long_as_retry_after_says);
    tcase_add_test(retries, who_does_not_ask_for_retries_or_posts_gets_the_first_answer);
    tcase_add_test(retries, the_last_retrys_answer_is_the_answer);
}

int
main(void)
{
    return nginx_tests("http nginx, redirects and retries", add);
}
