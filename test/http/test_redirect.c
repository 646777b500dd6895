/* SPDX-License-Identifier: MIT */
/* Redirects: with which method and body, where to, and what is not taken along. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* A page of another host, as far as secrets go: another port. */
static void
leads_to(struct fixture *f, const char *location)
{
    f->server.location = location;
    f->server.log[0] = '\0';
}

/* --- methods and bodies --- */

static void
redirect_methods(struct fixture *f)
{
    static const struct {
        int status;
        const char *method, *then;
    } cases[] = {
        {301, "GET", "GET"},       {302, "GET", "GET"},       {303, "GET", "GET"},
        {307, "GET", "GET"},       {308, "GET", "GET"},       {301, "HEAD", "HEAD"},
        {302, "HEAD", "HEAD"},     {303, "HEAD", "HEAD"},     {307, "HEAD", "HEAD"},
        {301, "POST", "GET"},      {302, "POST", "GET"},      {303, "POST", "GET"},
        {307, "POST", "POST"},     {308, "POST", "POST"},     {301, "PUT", "PUT"},
        {302, "PUT", "PUT"},       {303, "PUT", "GET"},       {307, "PUT", "PUT"},
        {308, "PUT", "PUT"},       {301, "DELETE", "DELETE"}, {303, "DELETE", "GET"},
        {308, "DELETE", "DELETE"}, {302, "PATCH", "PATCH"},   {303, "PATCH", "GET"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char url[32], expected[64];

        snprintf(url, sizeof url, "/moved/%d", cases[i].status);
        snprintf(expected, sizeof expected, "%s %s\n%s /echo\n", cases[i].method, url,
                 cases[i].then);
        leads_to(f, "/echo");
        expect_answer(f, &(uco_http_request_options){.method = cases[i].method, .url = url}, 200,
                      NULL);
        ck_assert_str_eq(f->server.log, expected);
    }
}

START_TEST(each_redirect_has_its_method)
{
    serve(redirect_methods);
}
END_TEST

static void
redirect_bodies(struct fixture *f)
{
    static const char *const headers[] = {"Content-Type: text/x-test", NULL};
    static const int statuses[] = {301, 302, 303, 307, 308};

    for (size_t i = 0; i < COUNT(statuses); i++) {
        char url[32];
        bool again = statuses[i] > 303;
        uco_http_request_options request = {
            .url = url, .body = "hello", .body_size = 5, .headers = headers};

        snprintf(url, sizeof url, "/moved/%d", statuses[i]);
        leads_to(f, "/upload");
        expect_answer(f, &request, 200, again ? "hello" : "");
        ck_assert(strncmp(f->server.last, again ? "POST " : "GET /", 5) == 0);
        ck_assert(was_sent(f, "Content-Type: text/x-test") == again);
        ck_assert((strstr(f->server.last, "Content-Length") != NULL) == again);
        request.method = "PUT";
        expect_answer(f, &request, 200, statuses[i] == 303 ? "" : "hello");
    }
}

START_TEST(a_body_goes_where_its_method_goes)
{
    serve(redirect_bodies);
}
END_TEST

static void
redirect_files(struct fixture *f)
{
    static const char *const form[] = {"a", "b", NULL};
    uco_http_multipart *m = uco_http_multipart_new();
    char path[] = "/tmp/uco-redirect-XXXXXX";
    int fd = mkstemp(path);
    uco_http_request_options request = {.method = "PUT", .url = "/moved/307", .body_file = path};

    leads_to(f, "/upload");
    ck_assert_int_eq(write(fd, "from a file", 11), 11);
    close(fd);
    expect_answer(f, &request, 200, "from a file");
    unlink(path);
    request.body_file = NULL;
    request.form = form;
    expect_answer(f, &request, 200, "a=b");
    request.form = NULL;
    request.multipart = m;
    ck_assert_int_eq(uco_http_multipart_text(m, "name", "Jane"), 0);
    expect_answer(f, &request, 200, NULL);
    ck_assert_ptr_nonnull(strstr(f->server.body, "Jane"));
    uco_http_multipart_free(m);
}

START_TEST(a_body_that_can_be_read_again_is)
{
    serve(redirect_files);
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

static void
redirect_callback(struct fixture *f)
{
    size_t left = 5000;
    uco_http_request_options request = {.method = "PUT",
                                        .url = "/moved/307",
                                        .body_size = 5000,
                                        .read_body = read_letters,
                                        .read_arg = &left};

    leads_to(f, "/upload");
    expect_failure(f, &request, -ESPIPE);
    expect_text(f, "/late/0", "late");
    left = 5000;
    request.url = "/moved/303";
    expect_answer(f, &request, 200, "");
    left = 5000;
    request.body_size = 0;
    request.url = "/moved/308";
    expect_failure(f, &request, -ESPIPE);
    left = 5000;
    request.max_redirects = -1;
    expect_answer(f, &request, 308, "moved");
}

START_TEST(a_body_that_cannot_be_read_twice_ends_it)
{
    serve(redirect_callback);
}
END_TEST

/* --- where to --- */

static void
redirect_along(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/redirect/3");
    static const int statuses[] = {301, 302, 301};
    char url[64];

    ck_assert_int_eq(response->status, 200);
    ck_assert_uint_eq(response->history_size, 3);
    for (size_t i = 0; i < 3; i++) {
        snprintf(url, sizeof url, "http://127.0.0.1:%u/redirect/%zu", (unsigned) f->server.port,
                 3 - i);
        ck_assert_str_eq(response->history[i].url, url);
        ck_assert_int_eq(response->history[i].status, statuses[i]);
    }
    ck_assert_str_eq(response->url + strlen(response->url) - 11, "/redirect/0");
    ck_assert_int_eq(response->attempts, 1);
    uco_http_response_free(response);
    response = fetch(f, "/late/0");
    ck_assert_uint_eq(response->history_size, 0);
    uco_http_response_free(response);
}

START_TEST(the_way_to_an_answer_is_told)
{
    serve(redirect_along);
}
END_TEST

static void
redirect_relatively(struct fixture *f)
{
    static const char *const cases[][2] = {
        {"/echo/a", "/echo/a"},
        {"x", "/moved/x"},
        {"./x", "/moved/x"},
        {"../echo/y", "/echo/y"},
        {"../../../../echo", "/echo"},
        {"?a=b", "/moved/302?a=b"},
        {"/echo?a=b&c=%20d", "/echo?a=b&c=%20d"},
        {"/echo#part", "/echo"},
        {"/echo/a b", "/echo/a%20b"},
        {"/echo/\xc3\xa9", "/echo/%c3%a9"},
        {"//127.0.0.1:PORT/echo", "/echo"},
        {"http://127.0.0.1:PORT/echo/z", "/echo/z"},
        {"HTTP://127.0.0.1:PORT/echo/Z", "/echo/Z"},
        {"http://127.0.0.1:PORT", "/"},
        {"  /echo/trimmed  ", "/echo/trimmed"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char location[128], expected[128];
        const char *port = strstr(cases[i][0], "PORT");
        uco_http_request_options request = {.url = "/moved/302", .max_redirects = 1};
        uco_http_response *response;

        snprintf(location, sizeof location, "%s", cases[i][0]);
        if (port != NULL)
            snprintf(location, sizeof location, "%.*s%u%s", (int) (port - cases[i][0]), cases[i][0],
                     (unsigned) f->server.port, port + 4);
        snprintf(expected, sizeof expected, "GET /moved/302\nGET %s\n", cases[i][1]);
        leads_to(f, location);
        if (uco_http_request(f->client, &request, &response) == 0)
            uco_http_response_free(response);
        ck_assert_msg(strcasecmp(f->server.log, expected) == 0, "'%s': %s", location,
                      f->server.log);
    }
}

START_TEST(a_location_may_be_relative_and_odd)
{
    serve(redirect_relatively);
}
END_TEST

static void
redirect_nowhere(struct fixture *f)
{
    static const int statuses[] = {300, 304, 305, 306, 399};

    leads_to(f, NULL);
    expect_answer(f, &(uco_http_request_options){.url = "/moved/302"}, 302, "moved");
    for (size_t i = 0; i < COUNT(statuses); i++) {
        uco_http_response *response;
        char url[32];

        if (statuses[i] == 304)
            continue;
        leads_to(f, "/echo");
        snprintf(url, sizeof url, "/moved/%d", statuses[i]);
        response = fetch(f, url);
        ck_assert_int_eq(response->status, statuses[i]);
        ck_assert_uint_eq(response->history_size, 0);
        uco_http_response_free(response);
    }
}

START_TEST(without_a_location_or_with_another_status_it_is_an_answer)
{
    serve(redirect_nowhere);
}
END_TEST

static void
redirect_astray(struct fixture *f)
{
    static const char *const locations[] = {
        "file:///etc/passwd",         "ftp://127.0.0.1/",   "gopher://127.0.0.1:70/_x",
        "javascript:alert(1)",        "data:text/plain,hi", "http://",
        "http://127.0.0.1:99999/",    "http://[::1/",       "unix:///run/x.sock",
        "http://user@[bad host]/echo"};

    for (size_t i = 0; i < COUNT(locations); i++) {
        uco_http_response *response;
        int r;

        leads_to(f, locations[i]);
        r = uco_http_request(f->client, &(uco_http_request_options){.url = "/moved/302"},
                             &response);
        ck_assert_msg(r == -EINVAL, "%s: %d", locations[i], r);
        ck_assert_ptr_null(response);
        ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "/moved/302"));
        ck_assert_str_eq(f->server.log, "GET /moved/302\n");
    }
    expect_text(f, "/late/0", "late");
}

START_TEST(a_location_that_is_no_web_page_is_an_error)
{
    serve(redirect_astray);
}
END_TEST

static void
redirect_in_circles(struct fixture *f)
{
    leads_to(f, "/moved/302");
    expect_error(f, "/moved/302", -ELOOP);
    ck_assert_uint_eq(f->server.requests, 21);
    expect_error(f, "/redirect/21", -ELOOP);
    expect_text(f, "/redirect/20", "there");
}

START_TEST(there_are_twenty_redirects_and_no_more)
{
    serve(redirect_in_circles);
}
END_TEST

static void
redirect_with_long_body(struct fixture *f)
{
    f->server.raw = "HTTP/1.1 302 Found\r\nLocation: /late/0\r\nContent-Length: 10\r\n\r\nabc";
    expect_error(f, "/raw", -EPROTO);
    f->server.raw = "HTTP/1.1 302 Found\r\nLocation: /late/0\r\n\r\nuntil the end";
    expect_text(f, "/raw", "late");
    ck_assert_uint_eq(f->server.accepted, 3);
}

START_TEST(the_body_of_a_redirect_is_read_and_left_out)
{
    serve(redirect_with_long_body);
}
END_TEST

static void
redirect_with_endless_body(struct fixture *f)
{
    expect_text(f, "/lead", "late");
    ck_assert_str_eq(f->server.log, "GET /lead\nGET /late/0\n");
    f->server.failures = 2;
    expect_answer(f, &(uco_http_request_options){.url = "/lead", .retries = 2}, 200, "late");
    expect_answer(f, &(uco_http_request_options){.url = "/lead", .max_body = 100}, 200, "late");
    until_open(f, 1);
}

/* Its end is not waited for, so its connection is closed. */
START_TEST(the_body_of_a_redirect_may_have_no_end)
{
    serve(redirect_with_endless_body);
}
END_TEST

/* --- what is taken along --- */

static void
redirect_abroad(struct fixture *f)
{
    static const char *const headers[] = {"Authorization: Bearer secret", "Cookie: a=secret",
                                          "Proxy-Authorization: Basic secret", "X-Plain: yes",
                                          NULL};
    uco_http_request_options requests[] = {
        {.url = "/moved/307", .headers = headers},
        {.url = "/moved/307", .user = "user", .password = "secret"},
        {.url = "/moved/307", .token = "secret"},
    };
    struct server other;
    char url[64];

    server_start(&other);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/echo", (unsigned) other.port);
    for (size_t i = 0; i < COUNT(requests); i++) {
        leads_to(f, url);
        expect_answer(f, &requests[i], 200, NULL);
        ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nAuthorization: "));
        ck_assert_ptr_null(strstr(other.last, "Authorization"));
        ck_assert_ptr_null(strstr(other.last, "secret"));
        ck_assert_ptr_null(strstr(other.last, "Cookie"));
        if (i == 0)
            ck_assert_ptr_nonnull(strstr(other.last, "\r\nX-Plain: yes\r\n"));
        leads_to(f, "/echo");
        expect_answer(f, &requests[i], 200, NULL);
        ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nAuthorization: "));
    }
    server_stop(&other);
}

START_TEST(a_requests_secrets_stay_at_its_host)
{
    serve(redirect_abroad);
}
END_TEST

static void
redirect_there_and_back(struct fixture *f)
{
    struct server other;
    char there[64], back[128];

    server_start(&other);
    snprintf(there, sizeof there, "http://127.0.0.1:%u/moved/302", (unsigned) other.port);
    snprintf(back, sizeof back, "http://127.0.0.1:%u/echo", (unsigned) f->server.port);
    leads_to(f, there);
    other.location = back;
    uco_http_response_free(fetch(f, "/moved/302"));
    ck_assert_ptr_null(strstr(other.last, "Authorization"));
    ck_assert_str_eq(other.log, "GET /moved/302\n");
    ck_assert_str_eq(f->server.log, "GET /moved/302\nGET /echo\n");
    server_stop(&other);
}

START_TEST(a_clients_secrets_stay_at_its_host)
{
    serve_with(&(uco_http_client_options){.token = "secret"}, redirect_there_and_back);
}
END_TEST

static void
redirect_digest_abroad(struct fixture *f)
{
    uco_http_request_options request = {
        .url = "/moved/302", .user = "user", .password = "secret", .auth = UCO_HTTP_DIGEST};
    struct server other;
    char url[64];

    server_start(&other);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/digest", (unsigned) other.port);
    leads_to(f, url);
    expect_answer(f, &request, 401, "who");
    ck_assert_ptr_null(strstr(other.last, "Authorization"));
    leads_to(f, "/digest");
    expect_answer(f, &request, 200, "welcome");
    server_stop(&other);
}

START_TEST(a_password_is_proved_to_its_host_only)
{
    serve(redirect_digest_abroad);
}
END_TEST

static void
redirect_to_password(struct fixture *f)
{
    char url[128];

    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%u/basic", (unsigned) f->server.port);
    leads_to(f, url);
    expect_text(f, "/moved/302", "welcome");
    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%u/short", (unsigned) f->server.port);
    expect_error(f, "/moved/302", -EPROTO);
    ck_assert_ptr_null(strstr(uco_http_error(f->client), "secret"));
}

START_TEST(a_location_may_say_who_asks)
{
    serve(redirect_to_password);
}
END_TEST

static void
redirect_cookies(struct fixture *f)
{
    f->server.raw = "HTTP/1.1 302 Found\r\nSet-Cookie: way=here; Path=/\r\nLocation: /echo\r\n"
                    "Content-Length: 0\r\n\r\n";
    uco_http_response_free(fetch(f, "/raw"));
    ck_assert(was_sent(f, "Cookie: way=here"));
}

START_TEST(a_cookie_of_a_redirect_is_kept)
{
    serve(redirect_cookies);
}
END_TEST

static void
redirect_range_and_params(struct fixture *f)
{
    static const char *const params[] = {"a", "b", NULL};

    leads_to(f, "/echo");
    uco_http_response_free(
        ask(f, &(uco_http_request_options){.url = "/moved/302", .range = "5-9", .params = params}));
    ck_assert_str_eq(f->server.log, "GET /moved/302?a=b\nGET /echo\n");
    ck_assert(was_sent(f, "Range: bytes=5-9"));
}

START_TEST(params_are_the_first_urls_and_a_range_is_for_all)
{
    serve(redirect_range_and_params);
}
END_TEST

static void
redirect_in_time(struct fixture *f)
{
    double began = uco_time();

    f->server.raw = "HTTP/1.1 302 Found\r\nLocation: /late/2000\r\nContent-Length: 0\r\n\r\n";
    expect_failure(f, &(uco_http_request_options){.url = "/raw", .timeout = 1}, -ETIMEDOUT);
    ck_assert(uco_time() - began < 1.5);
    expect_answer(f, &(uco_http_request_options){.url = "/raw", .timeout = 3}, 200, "late");
}

START_TEST(the_timeout_is_that_of_all_redirects)
{
    serve_virtually(redirect_in_time);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http redirects");
    TCase *methods = case_new(suite, "methods");
    TCase *where = case_new(suite, "where to");
    TCase *along = case_new(suite, "taken along");

    tcase_add_test(methods, each_redirect_has_its_method);
    tcase_add_test(methods, a_body_goes_where_its_method_goes);
    tcase_add_test(methods, a_body_that_can_be_read_again_is);
    tcase_add_test(methods, a_body_that_cannot_be_read_twice_ends_it);
    tcase_add_test(where, the_way_to_an_answer_is_told);
    tcase_add_test(where, a_location_may_be_relative_and_odd);
    tcase_add_test(where, without_a_location_or_with_another_status_it_is_an_answer);
    tcase_add_test(where, a_location_that_is_no_web_page_is_an_error);
    tcase_add_test(where, there_are_twenty_redirects_and_no_more);
    tcase_add_test(where, the_body_of_a_redirect_is_read_and_left_out);
    tcase_add_test(where, the_body_of_a_redirect_may_have_no_end);
    tcase_add_test(along, a_requests_secrets_stay_at_its_host);
    tcase_add_test(along, a_clients_secrets_stay_at_its_host);
    tcase_add_test(along, a_password_is_proved_to_its_host_only);
    tcase_add_test(along, a_location_may_say_who_asks);
    tcase_add_test(along, a_cookie_of_a_redirect_is_kept);
    tcase_add_test(along, params_are_the_first_urls_and_a_range_is_for_all);
    tcase_add_test(along, the_timeout_is_that_of_all_redirects);
    return suite_end(suite);
}
