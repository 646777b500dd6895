/* SPDX-License-Identifier: MIT */
/* The client against the real nginx: HTTP/1.1. */
#include "nginx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uco_http_client_options no_options;

/* --- methods --- */

static void
use_methods(struct fixture *f)
{
    const uco_http_request_options head = {.method = "HEAD", .url = "/text"};
    const uco_http_request_options put = {
        .method = "PUT", .url = "/stored/methods", .body = "kept", .body_size = 4};
    const uco_http_request_options empty = {
        .method = "PUT", .url = "/stored/methods", .body = "", .body_size = 0};
    const uco_http_request_options delete = {.method = "DELETE", .url = "/stored/methods"};
    uco_http_response *response = ask(f, &head);

    ck_assert_int_eq(response->status, 200);
    ck_assert_int_eq(response->version, 11);
    ck_assert_uint_eq(response->size, 0);
    ck_assert_str_eq(uco_http_header(response, "Content-Length"), "1000");
    uco_http_response_free(response);
    expect_answer(f, &put, 201, NULL);
    expect_text(f, "/stored/methods", "kept");
    expect_answer(f, &empty, 204, NULL);
    expect_text(f, "/stored/methods", "");
    expect_answer(f, &delete, 204, NULL);
    expect_answer(f, &delete, 404, NULL);
}

START_TEST(nginx_understands_each_method)
{
    with_nginx(&no_options, use_methods);
}
END_TEST

static void
post(struct fixture *f)
{
    const uco_http_request_options plain = {
        .url = "/echo", .body = "so it is", .body_size = 8, .params = NULL};
    const char *const fields[] = {"name", "A & B", "city", "K\xc3\xb6ln", NULL};
    const uco_http_request_options form = {.url = "/echo", .form = fields};
    uco_http_response *response = ask(f, &plain);

    ck_assert_str_eq(response->text, "hello\n");
    ck_assert_str_eq(uco_http_header(response, "X-Body"), "so it is");
    ck_assert_str_eq(uco_http_header(response, "X-Length"), "8");
    uco_http_response_free(response);
    response = ask(f, &form);
    ck_assert_str_eq(uco_http_header(response, "X-Body"), "name=A+%26+B&city=K%C3%B6ln");
    ck_assert_str_eq(uco_http_header(response, "X-Type"), "application/x-www-form-urlencoded");
    uco_http_response_free(response);
}

START_TEST(nginx_gets_what_is_posted)
{
    with_nginx(&no_options, post);
}
END_TEST

static void
get_error_pages(struct fixture *f)
{
    expect_answer(f, &(uco_http_request_options){.url = "/nowhere"}, 502, NULL);
    expect_answer(f, &(uco_http_request_options){.url = "/not-there"}, 404, NULL);
    expect_answer(f, &(uco_http_request_options){.url = "/hello", .method = "GET"}, 200, NULL);
}

START_TEST(an_error_page_of_nginx_is_a_response)
{
    with_nginx(&no_options, get_error_pages);
}
END_TEST

/* --- connections --- */

static void
reuse_connection(struct fixture *f)
{
    unsigned long first = 0;

    for (unsigned long i = 1; i <= 5; i++) {
        uco_http_response *response = fetch(f, "/connection");
        unsigned long number, requests;

        ck_assert_int_eq(sscanf(response->text, "%lu %lu", &number, &requests), 2);
        if (i == 1)
            first = number;
        ck_assert_uint_eq(number, first);
        ck_assert_uint_eq(requests, i);
        uco_http_response_free(response);
    }
}

START_TEST(one_connection_serves_requests_that_come_one_after_another)
{
    with_nginx(&no_options, reuse_connection);
}
END_TEST

static void
leave_connections(struct fixture *f)
{
    unsigned long numbers[7], closing;

    for (size_t i = 0; i < COUNT(numbers); i++)
        numbers[i] = connection_for(f, "/few");
    for (size_t i = 0; i < COUNT(numbers); i++)
        ck_assert_int_eq(numbers[i] == numbers[0], i < 3);
    ck_assert_uint_eq(numbers[5], numbers[3]);
    ck_assert_uint_ne(numbers[6], numbers[5]);
    closing = connection_for(f, "/closing");
    ck_assert_uint_ne(connection_for(f, "/closing"), closing);
}

START_TEST(a_connection_that_nginx_closes_with_the_answer_is_not_used_again)
{
    with_nginx(&no_options, leave_connections);
}
END_TEST

/* Nobody tells the client: it sees the end of the connection, or the next request does. */
static void
lose_connections(struct fixture *f)
{
    const uco_http_request_options request = {
        .url = "/brief", .method = "POST", .body = "body", .body_size = 4};
    unsigned long last = 0;

    for (int i = 0; i < 3; i++) {
        uco_http_response *response = ask(f, &request);

        ck_assert_int_eq(response->status, 200);
        ck_assert_int_eq(response->attempts, 1);
        ck_assert_uint_ne(connection_of(response), last);
        last = connection_of(response);
        uco_http_response_free(response);
        nginx_wait_idle();
    }
    ck_assert_int_eq(nginx_logged("POST /brief"), 3);
}

START_TEST(a_connection_that_nginx_closed_between_requests_is_replaced)
{
    with_nginx(&no_options, lose_connections);
}
END_TEST

#define MANY 200
#define CONNECTIONS 7

static void
get_many(struct fixture *f)
{
    static uco_task *tasks[MANY];
    struct visit v = {.f = f, .url = "/text?many"};
    intptr_t results[MANY];

    for (size_t i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather(tasks, MANY, results), 0);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_int_eq(results[i], 200);
    uco_unref_all(tasks, MANY);
    ck_assert_int_eq(nginx_logged("200 GET /text?many HTTP/1.1"), MANY);
}

static void
count_connections(struct fixture *f)
{
    unsigned long first = connection_for(f, "/hello");

    get_many(f);
    nginx_reopen(f, &no_options);
    /* One by nginx_logged(), one by the client that is new. */
    ck_assert_uint_le(connection_for(f, "/hello"), first + CONNECTIONS - 1 + 2);
}

START_TEST(many_requests_share_as_many_connections_as_are_allowed)
{
    const uco_http_client_options options = {.max_per_host = CONNECTIONS};

    with_nginx(&options, count_connections);
}
END_TEST

static void
use_socket(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/request");

    ck_assert_str_eq(response->text, "GET made-up.test HTTP/1.1 tester/7\n");
    ck_assert_str_eq(response->url, "http://made-up.test/request");
    uco_http_response_free(response);
}

START_TEST(a_unix_socket_is_asked_whatever_the_host)
{
    const uco_http_client_options options = {.base_url = "http://made-up.test",
                                             .unix_socket = nginx_path("socket"),
                                             .user_agent = "tester/7"};

    with_nginx(&options, use_socket);
}
END_TEST

static void
use_addresses(struct fixture *f)
{
    const char *url = nginx_url("http", "made-up.test", nginx.plain, "/request");
    char text[64];

    snprintf(text, sizeof text, "GET made-up.test HTTP/1.1 tester/7\n");
    expect_text(f, url, text);
}

START_TEST(a_host_is_where_the_options_say)
{
    const char *const addresses[] = {"made-up.test:*:127.0.0.1", NULL};
    const uco_http_client_options options = {.addresses = addresses, .user_agent = "tester/7"};

    with_nginx(&options, use_addresses);
}
END_TEST

/* --- compression, ranges, versions --- */

/* Digits from a position on. */
static void
expect_digits(const uco_http_response *response, size_t from, size_t size)
{
    ck_assert_uint_eq(response->size, size);
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(response->text[i], (char) ('0' + (from + i) % 10));
    ck_assert_int_eq(response->text[size], '\0');
}

static void
get_zipped(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/zipped/text");

    expect_digits(response, 0, NGINX_TEXT_SIZE);
    ck_assert_uint_gt(response->received, 0);
    ck_assert_uint_lt(response->received, 200);
    ck_assert_str_eq(uco_http_header(response, "Content-Encoding"), "gzip");
    uco_http_response_free(response);
}

START_TEST(what_nginx_compresses_is_unpacked)
{
    with_nginx(&no_options, get_zipped);
}
END_TEST

static void
get_as_is(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/zipped/text");

    ck_assert_ptr_null(uco_http_header(response, "Content-Encoding"));
    expect_digits(response, 0, NGINX_TEXT_SIZE);
    uco_http_response_free(response);
}

START_TEST(a_client_without_decompression_is_sent_what_is_there)
{
    const uco_http_client_options options = {.no_decompression = true};

    with_nginx(&options, get_as_is);
}
END_TEST

static void
get_packed(struct fixture *f)
{
    const char *const headers[] = {"Accept-Encoding: gzip", NULL};
    const uco_http_request_options request = {
        .url = "/zipped/text", .headers = headers, .no_decompression = true};
    uco_http_response *response = ask(f, &request);

    ck_assert_str_eq(uco_http_header(response, "Content-Encoding"), "gzip");
    ck_assert_uint_eq(response->size, response->received);
    ck_assert_uint_lt(response->size, 200);
    ck_assert_int_eq(memcmp(response->text, "\x1f\x8b", 2), 0);
    uco_http_response_free(response);
}

START_TEST(a_request_without_decompression_gets_what_came)
{
    with_nginx(&no_options, get_packed);
}
END_TEST

static void
get_ranges(struct fixture *f)
{
    static const struct {
        const char *range, *answer;
        size_t from, size;
    } ranges[] = {
        {"3-17", "bytes 3-17/1000", 3, 15},
        {"995-", "bytes 995-999/1000", 995, 5},
        {"-4", "bytes 996-999/1000", 996, 4},
        {"990-2000", "bytes 990-999/1000", 990, 10},
    };

    for (size_t i = 0; i < COUNT(ranges); i++) {
        uco_http_response *response =
            ask(f, &(uco_http_request_options){.url = "/text", .range = ranges[i].range});

        ck_assert_int_eq(response->status, 206);
        ck_assert_str_eq(uco_http_header(response, "Content-Range"), ranges[i].answer);
        expect_digits(response, ranges[i].from, ranges[i].size);
        uco_http_response_free(response);
    }
}

START_TEST(a_range_is_a_part_of_the_file)
{
    with_nginx(&no_options, get_ranges);
}
END_TEST

static void
get_range_beyond(struct fixture *f)
{
    uco_http_response *response =
        ask(f, &(uco_http_request_options){.url = "/text", .range = "1000-"});

    ck_assert_int_eq(response->status, 416);
    ck_assert_str_eq(uco_http_header(response, "Content-Range"), "bytes */1000");
    uco_http_response_free(response);
    expect_text(f, "/hello", "hello\n");
}

START_TEST(a_range_beyond_the_end_is_answered_with_416)
{
    with_nginx(&no_options, get_range_beyond);
}
END_TEST

static void
get_unchanged(struct fixture *f)
{
    char header[128];
    const char *const headers[] = {header, NULL};
    const uco_http_request_options request = {.url = "/text", .headers = headers};
    uco_http_response *response = fetch(f, "/text");

    snprintf(header, sizeof header, "If-None-Match: %s", uco_http_header(response, "ETag"));
    uco_http_response_free(response);
    response = ask(f, &request);
    ck_assert_int_eq(response->status, 304);
    ck_assert_uint_eq(response->size, 0);
    uco_http_response_free(response);
    snprintf(header, sizeof header, "If-None-Match: \"another\"");
    expect_answer(f, &request, 200, NULL);
}

START_TEST(what_has_not_changed_is_not_sent_again)
{
    with_nginx(&no_options, get_unchanged);
}
END_TEST

/* --- timings --- */

static void
look_at_timings(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/text");
    const uco_http_timings *t = &response->timings;

    ck_assert_double_ge(t->wait, 0);
    ck_assert_double_ge(t->connect, 0);
    ck_assert_double_eq(t->tls, -1);
    ck_assert_double_ge(t->first_byte, t->connect);
    ck_assert_double_ge(t->total, t->first_byte);
    ck_assert_double_lt(t->total, 20);
    uco_http_response_free(response);
    response = fetch(f, "/text");
    ck_assert_double_eq(response->timings.connect, -1);
    ck_assert_double_gt(response->timings.first_byte, 0);
    ck_assert_double_ge(response->timings.total, response->timings.first_byte);
    uco_http_response_free(response);
}

START_TEST(timings_come_in_their_order)
{
    with_nginx(&no_options, look_at_timings);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *methods = case_new(suite, "methods");
    TCase *connections = case_new(suite, "connections");
    TCase *files = case_new(suite, "files");

    tcase_add_test(methods, nginx_understands_each_method);
    tcase_add_test(methods, nginx_gets_what_is_posted);
    tcase_add_test(methods, an_error_page_of_nginx_is_a_response);
    tcase_add_test(methods, timings_come_in_their_order);
    tcase_add_test(connections, one_connection_serves_requests_that_come_one_after_another);
    tcase_add_test(connections, a_connection_that_nginx_closes_with_the_answer_is_not_used_again);
    tcase_add_test(connections, a_connection_that_nginx_closed_between_requests_is_replaced);
    tcase_add_test(connections, many_requests_share_as_many_connections_as_are_allowed);
    tcase_add_test(connections, a_unix_socket_is_asked_whatever_the_host);
    tcase_add_test(connections, a_host_is_where_the_options_say);
    tcase_add_test(files, what_nginx_compresses_is_unpacked);
    tcase_add_test(files, a_client_without_decompression_is_sent_what_is_there);
    tcase_add_test(files, a_request_without_decompression_gets_what_came);
    tcase_add_test(files, a_range_is_a_part_of_the_file);
    tcase_add_test(files, a_range_beyond_the_end_is_answered_with_416);
    tcase_add_test(files, what_has_not_changed_is_not_sent_again);
}

int
main(void)
{
    return nginx_tests("http nginx", add);
}
