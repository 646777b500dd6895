/* SPDX-License-Identifier: MIT */
/* Requests: what is asked for, in which words, and who asks. */
#include "fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is refused before it is a request. */
static void
expect_misuse(struct fixture *f, const uco_http_request_options *request)
{
    uco_http_response *response = (uco_http_response *) (void *) f;

    ck_assert_int_eq(uco_http_request(f->client, request, &response), -EINVAL);
    ck_assert_ptr_null(response);
}

/* --- methods --- */

static void
send_methods(struct fixture *f)
{
    static const char *const methods[] = {"GET",     "POST",  "PUT",   "DELETE",
                                          "OPTIONS", "TRACE", "PATCH", "PROPFIND"};

    for (size_t i = 0; i < COUNT(methods); i++) {
        uco_http_response *response =
            ask(f, &(uco_http_request_options){.method = methods[i], .url = "/echo"});
        char expected[64];

        snprintf(expected, sizeof expected, "%s /echo HTTP/1.1\r\n", methods[i]);
        ck_assert_int_eq(response->status, 200);
        ck_assert_msg(strncmp(response->text, expected, strlen(expected)) == 0, "%s: %s",
                      methods[i], response->text);
        ck_assert_uint_eq(f->server.body_size, 0);
        uco_http_response_free(response);
    }
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(each_method_is_sent_as_it_is)
{
    serve(send_methods);
}
END_TEST

static void
send_head(struct fixture *f)
{
    static const char *const urls[] = {"/bytes/1000", "/chunked/1000", "/status/404"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response =
            ask(f, &(uco_http_request_options){.method = "HEAD", .url = urls[i]});

        ck_assert_int_eq(response->status, i == 2 ? 404 : 200);
        ck_assert_str_eq(response->text, "");
        ck_assert_uint_eq(response->size, 0);
        if (i == 0)
            ck_assert_str_eq(uco_http_header(response, "Content-Length"), "1000");
        uco_http_response_free(response);
    }
    expect_text(f, "/late/0", "late");
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(a_head_has_headers_and_no_body)
{
    serve(send_head);
}
END_TEST

static void
send_without_body(struct fixture *f)
{
    expect_answer(f, &(uco_http_request_options){.method = "POST", .url = "/upload"}, 200, "");
    ck_assert(was_sent(f, "Content-Length: 0"));
    expect_answer(f, &(uco_http_request_options){.method = "PUT", .url = "/upload"}, 200, "");
    ck_assert(was_sent(f, "Content-Length: 0"));
    expect_answer(f, &(uco_http_request_options){.url = "/upload"}, 200, "");
    ck_assert_ptr_null(strstr(f->server.last, "Content-Length"));
    expect_answer(f, &(uco_http_request_options){.method = "DELETE", .url = "/upload"}, 200, "");
    ck_assert_ptr_null(strstr(f->server.last, "Transfer-Encoding"));
}

START_TEST(what_has_no_body_announces_none)
{
    serve(send_without_body);
}
END_TEST

static void
send_default_methods(struct fixture *f)
{
    expect_answer(f, &(uco_http_request_options){.url = "/upload"}, 200, "");
    expect_answer(f, &(uco_http_request_options){.url = "/upload", .body = "x", .body_size = 1},
                  200, "x");
    ck_assert_str_eq(f->server.log, "GET /upload\nPOST /upload\n");
}

START_TEST(what_names_no_method_is_a_get_or_with_a_body_a_post)
{
    serve(send_default_methods);
}
END_TEST

static void
send_bad_methods(struct fixture *f)
{
    static const char *const methods[] = {"", "GE T", "GET\r\nX-Injected: yes", "G\tT", "G\x80T"};

    for (size_t i = 0; i < COUNT(methods); i++)
        expect_misuse(f, &(uco_http_request_options){.method = methods[i], .url = "/echo"});
    ck_assert_uint_eq(f->server.accepted, 0);
}

START_TEST(a_method_is_one_word)
{
    serve(send_bad_methods);
}
END_TEST

/* --- the URL's query --- */

static void
send_params(struct fixture *f)
{
    static const char *const params[] = {"q", "a b&c=d", "empty", "", "\xc3\xa9", "1/2", NULL};
    static const char *const none[] = {NULL};
    static const char *const cases[][2] = {
        {"/echo", "/echo?q=a+b%26c%3Dd&empty=&%C3%A9=1%2F2"},
        {"/echo?x=1", "/echo?x=1&q=a+b%26c%3Dd&empty=&%C3%A9=1%2F2"},
        {"/echo?", "/echo?q=a+b%26c%3Dd&empty=&%C3%A9=1%2F2"},
        {"/echo#part", "/echo?q=a+b%26c%3Dd&empty=&%C3%A9=1%2F2"},
        {"/echo?x=1#part?y", "/echo?x=1&q=a+b%26c%3Dd&empty=&%C3%A9=1%2F2"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char expected[256];

        snprintf(expected, sizeof expected, "GET %s HTTP/1.1\r\n", cases[i][1]);
        uco_http_response_free(
            ask(f, &(uco_http_request_options){.url = cases[i][0], .params = params}));
        ck_assert_msg(strncmp(f->server.last, expected, strlen(expected)) == 0, "%s: %s", expected,
                      f->server.last);
    }
    uco_http_response_free(ask(f, &(uco_http_request_options){.url = "/echo", .params = none}));
    ck_assert_ptr_nonnull(strstr(f->server.last, "GET /echo HTTP"));
}

START_TEST(params_are_encoded_and_appended_to_the_urls_own)
{
    serve(send_params);
}
END_TEST

static void
send_odd_params(struct fixture *f)
{
    static const char *const odd[] = {"name", "value", "name", NULL};

    expect_misuse(f, &(uco_http_request_options){.url = "/echo", .params = odd});
    expect_misuse(f, &(uco_http_request_options){.url = "/echo", .form = odd});
    ck_assert_uint_eq(f->server.accepted, 0);
}

START_TEST(a_name_without_a_value_is_refused)
{
    serve(send_odd_params);
}
END_TEST

/* --- headers --- */

static void
send_headers(struct fixture *f)
{
    static const char *const headers[] = {
        "x-client: the request's", "X-Request: yes",     "X-Gone:",
        "User-Agent: nobody",      "Accept: text/plain", NULL};

    uco_http_response_free(ask(f, &(uco_http_request_options){.url = "/echo", .headers = headers}));
    ck_assert(was_sent(f, "x-client: the request's"));
    ck_assert_ptr_null(strstr(f->server.last, "the client's"));
    ck_assert(was_sent(f, "X-Request: yes"));
    ck_assert(was_sent(f, "X-Kept: yes"));
    ck_assert_ptr_null(strstr(f->server.last, "X-Gone"));
    ck_assert(was_sent(f, "User-Agent: nobody"));
    ck_assert_ptr_null(strstr(f->server.last, "User-Agent: uco"));
    ck_assert(was_sent(f, "Accept: text/plain"));
    ck_assert(was_sent(f, "X-Twice: one"));
    ck_assert(was_sent(f, "X-Twice: two"));
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert(was_sent(f, "X-Client: the client's"));
    ck_assert(was_sent(f, "X-Gone: not yet"));
    ck_assert_ptr_null(strstr(f->server.last, "X-Request"));
    ck_assert_ptr_null(strstr(f->server.last, "nobody"));
}

START_TEST(a_requests_headers_stand_in_place_of_the_clients)
{
    static const char *const headers[] = {"X-Client: the client's", "X-Kept: yes",
                                          "X-Twice: one",           "X-Twice: two",
                                          "X-Gone: not yet",        NULL};

    serve_with(&(uco_http_client_options){.headers = headers}, send_headers);
}
END_TEST

static void
send_without_headers(struct fixture *f)
{
    static const char *const headers[] = {"Accept:", "User-Agent:", "Accept-Encoding:", NULL};

    uco_http_response_free(ask(f, &(uco_http_request_options){.url = "/echo", .headers = headers}));
    ck_assert_ptr_null(strstr(f->server.last, "Accept"));
    ck_assert_ptr_null(strstr(f->server.last, "User-Agent"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nHost: 127.0.0.1:"));
}

START_TEST(a_header_without_a_value_is_left_out)
{
    serve(send_without_headers);
}
END_TEST

static void
send_bad_headers(struct fixture *f)
{
    static const char *const bad[] = {"no colon", ": no name", "X-A: b\r\nX-Injected: c",
                                      "X-A: b\nX-Injected: c", "X A: b"};

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *const headers[] = {"X-Fine: yes", bad[i], NULL};

        expect_misuse(f, &(uco_http_request_options){.url = "/echo", .headers = headers});
    }
    ck_assert_uint_eq(f->server.accepted, 0);
}

START_TEST(a_bad_header_is_refused)
{
    serve(send_bad_headers);
}
END_TEST

static void
send_range(struct fixture *f)
{
    static const char *const ranges[] = {"0-499", "500-", "-500"};

    for (size_t i = 0; i < COUNT(ranges); i++) {
        char header[64];

        snprintf(header, sizeof header, "Range: bytes=%s", ranges[i]);
        uco_http_response_free(
            ask(f, &(uco_http_request_options){.url = "/echo", .range = ranges[i]}));
        ck_assert_msg(was_sent(f, header), "%s: %s", header, f->server.last);
    }
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_ptr_null(strstr(f->server.last, "Range"));
}

START_TEST(a_range_of_bytes_is_asked_for)
{
    serve(send_range);
}
END_TEST

/* --- who asks --- */

static void
login_by_client(struct fixture *f)
{
    static const char *const urls[] = {"/basic", "/digest", "/digest256", "/bearer"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_client_options options = {
            .user = i < 3 ? "user" : NULL,
            .password = i < 3 ? "secret" : NULL,
            .token = i == 3 ? "token" : NULL,
            .auth = i == 1 || i == 2 ? UCO_HTTP_DIGEST : UCO_HTTP_BASIC,
        };

        reopen(f, &options);
        expect_text(f, urls[i], "welcome");
        expect_text(f, urls[i], "welcome");
        options.password = i < 3 ? "wrong" : NULL;
        options.token = i == 3 ? "wrong" : NULL;
        reopen(f, &options);
        expect_answer(f, &(uco_http_request_options){.url = urls[i]}, 401, "who");
    }
}

START_TEST(a_client_says_who_it_is)
{
    serve(login_by_client);
}
END_TEST

static void
login_by_request(struct fixture *f)
{
    uco_http_request_options request = {.url = "/basic", .user = "user", .password = "secret"};

    expect_answer(f, &request, 200, "welcome");
    request.auth = UCO_HTTP_DIGEST;
    request.url = "/digest";
    expect_answer(f, &request, 200, "welcome");
    request.url = "/digest256";
    expect_answer(f, &request, 200, "welcome");
    expect_answer(f, &(uco_http_request_options){.url = "/bearer", .token = "token"}, 200,
                  "welcome");
    /* And the client's again. */
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert(was_sent(f, "Authorization: Basic YTpi"));
}

START_TEST(a_request_says_who_it_is_in_place_of_its_client)
{
    serve_with(&(uco_http_client_options){.user = "a", .password = "b"}, login_by_request);
}
END_TEST

static void
login_by_url(struct fixture *f)
{
    char url[128];

    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%u/basic", (unsigned) f->server.port);
    expect_text(f, url, "welcome");
    expect_answer(f, &(uco_http_request_options){.url = "/basic"}, 401, "who");
}

START_TEST(a_url_says_who_asks)
{
    serve(login_by_url);
}
END_TEST

static ssize_t
read_letters(void *buf, size_t n, void *arg)
{
    size_t *left = arg;

    n = n < *left ? n : *left;
    memset(buf, 'x', n);
    *left -= n;
    return (ssize_t) n;
}

/* curl asks with an empty body first, so that nothing has to be read twice. */
static void
login_with_body(struct fixture *f)
{
    size_t left = 5000;
    uco_http_request_options request = {
        .method = "POST",
        .url = "/digest",
        .user = "user",
        .password = "secret",
        .auth = UCO_HTTP_DIGEST,
        .body = "hello",
        .body_size = 5,
    };

    expect_answer(f, &request, 200, "welcome");
    ck_assert_uint_eq(f->server.body_size, 5);
    request.body = NULL;
    request.body_size = 5000;
    request.read_body = read_letters;
    request.read_arg = &left;
    expect_answer(f, &request, 200, "welcome");
    ck_assert_uint_eq(f->server.body_size, 5000);
}

START_TEST(a_body_arrives_with_a_digest)
{
    serve(login_with_body);
}
END_TEST

/* Two that ask at once, of whom one may: what curl knows of one connection is no other's. */
static void
login_beside(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        uco_http_request_options request = {.url = "/digest",
                                            .auth = UCO_HTTP_DIGEST,
                                            .user = "user",
                                            .password = i % 2 == 0 ? "secret" : "wrong"};

        expect_answer(f, &request, i % 2 == 0 ? 200 : 401, NULL);
        expect_answer(f, &(uco_http_request_options){.url = "/digest"}, 401, NULL);
        ck_assert_ptr_null(strstr(f->server.last, "Authorization"));
    }
}

START_TEST(nobody_is_known_by_the_connection_that_another_used)
{
    serve(login_beside);
}
END_TEST

/* --- limits of a request's own --- */

static void
limit_request(struct fixture *f)
{
    expect_failure(f, &(uco_http_request_options){.url = "/bytes/101", .max_body = 100}, -EMSGSIZE);
    expect_failure(f, &(uco_http_request_options){.url = "/chunked/101", .max_body = 100},
                   -EMSGSIZE);
    expect_answer(f, &(uco_http_request_options){.url = "/bytes/100", .max_body = 100}, 200, NULL);
    expect_answer(f, &(uco_http_request_options){.url = "/bytes/5000", .max_body = 5000}, 200,
                  NULL);
    expect_error(f, "/bytes/1001", -EMSGSIZE);
    expect_failure(f, &(uco_http_request_options){.url = "/redirect/2", .max_redirects = 1},
                   -ELOOP);
    expect_answer(f, &(uco_http_request_options){.url = "/redirect/2", .max_redirects = -1}, 302,
                  "moved");
    expect_answer(f, &(uco_http_request_options){.url = "/redirect/2", .max_redirects = 2}, 200,
                  "there");
    expect_answer(f, &(uco_http_request_options){.url = "/gzip"}, 200, "hello, gzip\n");
    expect_answer(f, &(uco_http_request_options){.url = "/gzip", .no_decompression = true}, 200,
                  NULL);
    ck_assert_ptr_null(strstr(f->server.last, "gzip, "));
}

START_TEST(a_request_has_limits_of_its_own)
{
    serve_with(&(uco_http_client_options){.max_body = 1000}, limit_request);
}
END_TEST

static void
get_as_it_is(struct fixture *f)
{
    uco_http_response *response =
        ask(f, &(uco_http_request_options){.url = "/gzip", .no_decompression = true});

    ck_assert_uint_eq(response->size, 32);
    ck_assert_uint_eq(response->received, 32);
    ck_assert_int_eq((unsigned char) response->text[0], 0x1f);
    ck_assert_ptr_null(strstr(f->server.last, "deflate"));
    uco_http_response_free(response);
    response = fetch(f, "/gzip");
    ck_assert_uint_eq(response->size, 12);
    ck_assert_uint_eq(response->received, 32);
    uco_http_response_free(response);
}

START_TEST(a_body_can_be_had_as_it_came)
{
    serve(get_as_it_is);
}
END_TEST

static void
time_out_request(struct fixture *f)
{
    double began = uco_time();

    expect_failure(f, &(uco_http_request_options){.url = "/stall", .timeout = 2}, -ETIMEDOUT);
    ck_assert(uco_time() - began >= 2 && uco_time() - began < 3);
    began = uco_time();
    expect_failure(f, &(uco_http_request_options){.url = "/stall"}, -ETIMEDOUT);
    ck_assert(uco_time() - began >= 5 && uco_time() - began < 6);
    began = uco_time();
    expect_answer(f, &(uco_http_request_options){.url = "/late/8000", .timeout = 10}, 200, "late");
    ck_assert(uco_time() - began >= 8 && uco_time() - began < 9);
}

START_TEST(a_requests_timeout_stands_in_place_of_the_clients)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 5}, time_out_request);
}
END_TEST

/* --- what is told of the answer --- */

static void
look_at_response(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/bytes/5000");

    ck_assert_int_eq(response->version, 11);
    ck_assert_int_eq(response->attempts, 1);
    ck_assert_uint_eq(response->history_size, 0);
    ck_assert_uint_eq(response->received, 5000);
    ck_assert_uint_eq(response->sent, 0);
    ck_assert(response->timings.wait >= 0);
    ck_assert(response->timings.connect >= 0);
    ck_assert(response->timings.tls == -1);
    ck_assert(response->timings.first_byte >= response->timings.connect);
    ck_assert(response->timings.total >= response->timings.first_byte);
    uco_http_response_free(response);
    response = fetch(f, "/late/0");
    ck_assert(response->timings.lookup == -1);
    ck_assert(response->timings.connect == -1);
    uco_http_response_free(response);
    response = ask(f, &(uco_http_request_options){.url = "/upload", .body = "12", .body_size = 2});
    ck_assert_uint_eq(response->sent, 2);
    uco_http_response_free(response);
}

START_TEST(a_response_tells_how_it_came)
{
    serve(look_at_response);
}
END_TEST

static void
wait_in_line(struct fixture *f)
{
    struct visit v = {f, "/late/50"};
    uco_task *task = uco_create_task(visit, &v);
    uco_http_response *response;

    until_busy(f, 1);
    response = fetch(f, "/late/0");
    ck_assert(response->timings.wait > 0);
    uco_http_response_free(response);
    ck_assert_int_eq(uco_join(task), 200);
}

START_TEST(the_wait_for_a_connection_is_told)
{
    serve_with(&(uco_http_client_options){.max_connections = 1}, wait_in_line);
}
END_TEST

static void
look_at_headers(struct fixture *f)
{
    static const char *const expected[][2] = {
        {"Content-Type", "text/plain; charset=utf-8"},
        {"X-Twice", "first"},
        {"X-Twice", "second"},
        {"X-Folded", "one two"},
        {"X-Empty", ""},
        {"X-Spaces", "padded"},
        {"Content-Length", "2"},
    };
    uco_http_response *response = fetch(f, "/headers");
    const char *name, *value;
    size_t position = 0;

    for (size_t i = 0; i < COUNT(expected); i++) {
        ck_assert(uco_http_header_at(response, &position, &name, &value));
        ck_assert_str_eq(name, expected[i][0]);
        ck_assert_str_eq(value, expected[i][1]);
    }
    ck_assert(!uco_http_header_at(response, &position, &name, &value));
    ck_assert(!uco_http_header_at(response, &position, &name, &value));
    ck_assert_str_eq(uco_http_header_repeated(response, "x-twice", 0), "first");
    ck_assert_str_eq(uco_http_header_repeated(response, "x-twice", 1), "second");
    ck_assert_ptr_null(uco_http_header_repeated(response, "x-twice", 2));
    uco_http_response_free(response);
}

START_TEST(all_headers_can_be_looked_at_in_their_order)
{
    serve(look_at_headers);
}
END_TEST

/* --- misuse --- */

static void
ask_wrongly(struct fixture *f)
{
    const uco_http_request_options fine = {.url = "/echo"};
    const uco_http_request_options wrong[] = {
        {.url = "/echo", .timeout = -1},
        {.url = "/echo", .timeout = NAN},
        {.url = "/echo", .retries = -1},
        {.url = "/echo", .max_redirects = -2},
        {.url = "/echo", .expect_timeout = NAN},
        {.url = "/echo", .body_size = 5},
        {.url = "/echo", .body = "x", .body_size = 1, .body_file = "/etc/hostname"},
        {.url = "/echo", .range = "one\r\nX-Injected: yes"},
        {.url = "/echo", .token = "a\r\nX-Injected: yes"},
        {.url = "file:///etc/passwd"},
        {.url = "http://127.0.0.1/a b"},
    };
    uco_http_response *response = (uco_http_response *) (void *) f;

    for (size_t i = 0; i < COUNT(wrong); i++) {
        int r = uco_http_request(f->client, &wrong[i], &response);

        ck_assert_msg(r == -EINVAL, "number %zu: %d", i, r);
        ck_assert_ptr_null(response);
        ck_assert_int_eq(uco_http_stream(f->client, &wrong[i], &response), -EINVAL);
        ck_assert_ptr_null(response);
    }
    ck_assert_int_eq(uco_http_request(NULL, &fine, &response), -EINVAL);
    ck_assert_int_eq(uco_http_request(f->client, NULL, &response), -EINVAL);
    ck_assert_int_eq(uco_http_request(f->client, &fine, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_request(f->client, &(uco_http_request_options){0}, &response),
                     -EINVAL);
    ck_assert_int_eq(uco_http_stream(NULL, &fine, &response), -EINVAL);
    ck_assert_int_eq(uco_http_stream(f->client, NULL, &response), -EINVAL);
    ck_assert_int_eq(uco_http_stream(f->client, &fine, NULL), -EINVAL);
    ck_assert_uint_eq(f->server.accepted, 0);
}

START_TEST(bad_requests_are_refused_before_anything_is_asked)
{
    serve(ask_wrongly);
}
END_TEST

START_TEST(a_request_outside_a_coroutine_is_refused)
{
    const uco_http_request_options request = {.url = "http://127.0.0.1/"};
    uco_http_response *response;

    ck_assert_int_eq(uco_http_request(NULL, &request, &response), -EPERM);
    ck_assert_int_eq(uco_http_stream(NULL, &request, &response), -EPERM);
}
END_TEST

static void
add_requests(Suite *suite)
{
    TCase *methods = case_new(suite, "methods");
    TCase *sent = case_new(suite, "sent");
    TCase *who = case_new(suite, "who asks");

    tcase_add_test(methods, each_method_is_sent_as_it_is);
    tcase_add_test(methods, a_head_has_headers_and_no_body);
    tcase_add_test(methods, what_has_no_body_announces_none);
    tcase_add_test(methods, what_names_no_method_is_a_get_or_with_a_body_a_post);
    tcase_add_test(methods, a_method_is_one_word);
    tcase_add_test(sent, params_are_encoded_and_appended_to_the_urls_own);
    tcase_add_test(sent, a_name_without_a_value_is_refused);
    tcase_add_test(sent, a_requests_headers_stand_in_place_of_the_clients);
    tcase_add_test(sent, a_header_without_a_value_is_left_out);
    tcase_add_test(sent, a_bad_header_is_refused);
    tcase_add_test(sent, a_range_of_bytes_is_asked_for);
    tcase_add_test(who, a_client_says_who_it_is);
    tcase_add_test(who, a_request_says_who_it_is_in_place_of_its_client);
    tcase_add_test(who, a_url_says_who_asks);
    tcase_add_test(who, a_body_arrives_with_a_digest);
    tcase_add_test(who, nobody_is_known_by_the_connection_that_another_used);
}

static void
add_answers(Suite *suite)
{
    TCase *limits = case_new(suite, "limits");
    TCase *answers = case_new(suite, "answers");
    TCase *misuse = case_new(suite, "misuse");

    tcase_add_test(limits, a_request_has_limits_of_its_own);
    tcase_add_test(limits, a_body_can_be_had_as_it_came);
    tcase_add_test(limits, a_requests_timeout_stands_in_place_of_the_clients);
    tcase_add_test(answers, a_response_tells_how_it_came);
    tcase_add_test(answers, the_wait_for_a_connection_is_told);
    tcase_add_test(answers, all_headers_can_be_looked_at_in_their_order);
    tcase_add_test(misuse, bad_requests_are_refused_before_anything_is_asked);
    tcase_add_test(misuse, a_request_outside_a_coroutine_is_refused);
}

int
main(void)
{
    Suite *suite = suite_create("http requests");

    add_requests(suite);
    add_answers(suite);
    return suite_end(suite);
}
