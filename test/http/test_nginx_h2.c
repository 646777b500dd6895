/* SPDX-License-Identifier: MIT */
/* The client against the real nginx: HTTP/2, whose streams share a connection. */
#include "nginx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uco_http_client_options no_options;

/* --- sharing --- */

#define TOGETHER 10

/* A task that fetches: the connection's number, or an error. */
static intptr_t
connection_task(void *arg)
{
    const struct visit *v = arg;
    uco_http_response *response;
    intptr_t r = uco_http_get(v->f->client, v->url, &response);

    if (r < 0)
        return r;
    ck_assert_int_eq(response->status, 200);
    ck_assert_int_eq(response->version, 20);
    r = (intptr_t) connection_of(response);
    uco_http_response_free(response);
    return r;
}

static void
get_together(struct fixture *f, const char *url, intptr_t numbers[TOGETHER])
{
    struct visit v = {.f = f, .url = url};
    uco_task *tasks[TOGETHER];

    for (size_t i = 0; i < TOGETHER; i++)
        tasks[i] = uco_create_task(connection_task, &v);
    ck_assert_int_eq(uco_gather_all(tasks, TOGETHER, numbers), 0);
    uco_unref_all(tasks, TOGETHER);
}

static void
share(struct fixture *f)
{
    intptr_t numbers[TOGETHER];

    get_together(f, "/text", numbers);
    for (size_t i = 0; i < TOGETHER; i++) {
        ck_assert_int_gt(numbers[i], 0);
        ck_assert_int_eq(numbers[i], numbers[0]);
    }
    ck_assert_uint_eq(connection_for(f, "/hello"), (unsigned long) numbers[0]);
}

START_TEST(ten_requests_at_once_share_one_connection)
{
    with_nginx_tls(&no_options, share);
}
END_TEST

static void
use_http1(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/request");

    ck_assert_int_eq(response->version, 11);
    ck_assert_ptr_nonnull(strstr(response->text, "HTTP/1.1"));
    uco_http_response_free(response);
}

START_TEST(a_client_of_http1_only_speaks_no_other)
{
    const uco_http_client_options options = {.http1_only = true};

    with_nginx_tls(&options, use_http1);
}
END_TEST

/* nginx says GOAWAY with the third. */
static void
outlive_connections(struct fixture *f)
{
    unsigned long numbers[7];

    for (size_t i = 0; i < COUNT(numbers); i++)
        numbers[i] = connection_for(f, "/hello");
    for (size_t i = 0; i < COUNT(numbers); i++)
        ck_assert_int_eq(numbers[i] == numbers[0], i < 3);
    ck_assert_uint_eq(numbers[5], numbers[3]);
    ck_assert_uint_ne(numbers[6], numbers[5]);
}

static const char *const few_address[] = {"few.test:*:127.0.0.1", NULL};

START_TEST(a_connection_that_nginx_wants_to_end_is_replaced)
{
    const uco_http_client_options options = {
        .addresses = few_address, .base_url = nginx_url("https", "few.test", nginx.tls, "")};

    with_nginx_tls(&options, outlive_connections);
}
END_TEST

static void
outlive_connections_together(struct fixture *f)
{
    intptr_t numbers[TOGETHER];

    get_together(f, "/text?end", numbers);
    for (size_t i = 0; i < TOGETHER; i++)
        ck_assert_int_gt(numbers[i], 0);
    ck_assert_int_eq(nginx_logged("200 GET /text?end HTTP/2.0"), TOGETHER);
}

START_TEST(requests_that_a_connection_has_no_room_for_go_to_another)
{
    const uco_http_client_options options = {
        .addresses = few_address, .base_url = nginx_url("https", "few.test", nginx.tls, "")};

    with_nginx_tls(&options, outlive_connections_together);
}
END_TEST

/* --- what is sent and what comes --- */

static void
exchange(struct fixture *f)
{
    const uco_http_request_options put = {
        .method = "PUT", .url = "/stored/h2", .body = "kept by streams", .body_size = 15};
    const uco_http_request_options head = {.method = "HEAD", .url = "/text"};
    const uco_http_request_options posted = {.url = "/echo", .body = "so it is", .body_size = 8};
    const uco_http_request_options part = {.url = "/text", .range = "10-12"};
    uco_http_response *response;

    expect_answer(f, &put, 201, NULL);
    expect_text(f, "/stored/h2", "kept by streams");
    response = ask(f, &head);
    ck_assert_int_eq(response->version, 20);
    ck_assert_uint_eq(response->size, 0);
    ck_assert_str_eq(uco_http_header(response, "Content-Length"), "1000");
    uco_http_response_free(response);
    response = ask(f, &posted);
    ck_assert_str_eq(uco_http_header(response, "X-Body"), "so it is");
    uco_http_response_free(response);
    expect_answer(f, &part, 206, "012");
    response = fetch(f, "/zipped/text");
    ck_assert_str_eq(uco_http_header(response, "Content-Encoding"), "gzip");
    ck_assert_uint_eq(response->size, NGINX_TEXT_SIZE);
    ck_assert_uint_lt(response->received, 200);
    uco_http_response_free(response);
}

START_TEST(streams_carry_what_connections_carry)
{
    with_nginx_tls(&no_options, exchange);
}
END_TEST

/* --- streams of which one ends before its time --- */

static uco_http_response *
large_open(struct fixture *f, unsigned long connection)
{
    uco_http_response *response = open_stream(f, "/large");

    ck_assert_int_eq(response->status, 200);
    ck_assert_int_eq(response->version, 20);
    if (connection != 0)
        ck_assert_uint_eq(connection_of(response), connection);
    return response;
}

/* Reads on, `steps` steps from a position. */
static void
large_read(uco_http_response *response, size_t position, size_t steps)
{
    static char right[NGINX_LARGE_STEP], buffer[NGINX_LARGE_STEP];

    for (; steps > 0; steps--, position += NGINX_LARGE_STEP) {
        nginx_large(position, right);
        for (size_t have = 0; have < sizeof buffer;) {
            ssize_t n = uco_http_read(response, buffer + have, sizeof buffer - have);

            ck_assert_int_gt(n, 0);
            have += (size_t) n;
        }
        ck_assert_int_eq(memcmp(buffer, right, sizeof buffer), 0);
    }
}

static void
free_one(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    uco_http_response *one = large_open(f, connection), *other = large_open(f, connection);

    large_read(one, 0, 2);
    large_read(other, 0, 2);
    uco_http_response_free(one);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
    large_read(other, 2 * NGINX_LARGE_STEP, 100);
    uco_http_response_free(other);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
}

START_TEST(a_stream_that_is_freed_in_the_middle_leaves_its_connection_to_the_others)
{
    with_nginx_tls(&no_options, free_one);
}
END_TEST

/* What curl kept of the one, the next that gets its handle must not see. */
static void
follow_one(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    uco_http_response *other = large_open(f, connection), *next;

    for (int i = 0; i < 3; i++) {
        uco_http_response *one = large_open(f, connection);

        large_read(one, 0, 5);
        for (int j = 0; j < 10; j++)
            connection_for(f, "/text");
        uco_http_response_free(one);
        next = large_open(f, connection);
        for (int j = 0; j < 10; j++)
            connection_for(f, "/text");
        large_read(next, 0, 200);
        uco_http_response_free(next);
    }
    large_read(other, 0, 10);
    uco_http_response_free(other);
}

START_TEST(a_stream_gets_nothing_of_what_was_kept_for_another)
{
    with_nginx_tls(&(uco_http_client_options){.timeout = 100}, follow_one);
}
END_TEST

static void
pause_one(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    uco_http_response *paused = large_open(f, connection);
    size_t end = (size_t) scaled(1600);
    uco_http_response *other;

    for (int i = 0; i < 20; i++)
        ck_assert_uint_eq(connection_for(f, "/text"), connection);
    other = large_open(f, connection);
    large_read(other, 0, end);
    uco_http_response_free(other);
    large_read(paused, 0, end);
    uco_http_response_free(paused);
}

START_TEST(a_stream_that_nobody_reads_holds_no_other_up)
{
    with_nginx_tls(&no_options, pause_one);
}
END_TEST

static void
reset_one(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    uco_http_response *other = large_open(f, connection);
    const uco_http_request_options gone = {.url = "/gone"};
    uco_http_response *response;
    int r;

    large_read(other, 0, 2);
    r = uco_http_request(f->client, &gone, &response);
    ck_assert_msg(r == -ECONNRESET || r == -EPROTO, "%d: %s", r, uco_http_error(f->client));
    ck_assert_ptr_null(response);
    expect_words(f, "/gone");
    large_read(other, 2 * NGINX_LARGE_STEP, 100);
    uco_http_response_free(other);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
}

START_TEST(a_stream_that_nginx_resets_is_an_error_of_its_request_only)
{
    with_nginx_tls(&no_options, reset_one);
}
END_TEST

/* For /proxied: promises more than it gives, and leaves when told to. */
static intptr_t
promise(uco_stream *stream, void *arg)
{
    const char *line;

    while (uco_stream_read_line(stream, &line) > 2)
        continue;
    uco_stream_printf(stream, "HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\npromised");
    uco_stream_drain(stream);
    return uco_event_wait(arg);
}

static void
break_one(struct fixture *f)
{
    char host[128], buffer[64];
    unsigned long connection = connection_for(f, "/hello");
    uco_event leave = {0};
    uco_http_response *response;
    uco_server *server;
    ssize_t n;

    snprintf(host, sizeof host, "unix:%s", nginx_path("upstream"));
    server = uco_server_start(host, 0, promise, &leave);
    ck_assert_ptr_nonnull(server);
    response = open_stream(f, "/proxied");
    ck_assert_int_eq(response->status, 200);
    ck_assert_uint_eq(connection_of(response), connection);
    for (size_t size = 0; size < strlen("promised"); size += (size_t) n) {
        n = uco_http_read(response, buffer, sizeof buffer);
        ck_assert_int_gt(n, 0);
    }
    uco_event_set(&leave);
    n = uco_http_read(response, buffer, sizeof buffer);
    ck_assert_msg(n == -ECONNRESET || n == -EPROTO, "%zd", n);
    ck_assert_int_eq(uco_http_read(response, buffer, sizeof buffer), n);
    ck_assert_uint_eq(response->size, strlen("promised"));
    uco_http_response_free(response);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
    uco_server_close(server, 0);
}

START_TEST(a_stream_that_is_reset_within_the_body_is_an_error_after_what_came)
{
    with_nginx_tls(&no_options, break_one);
}
END_TEST

static void
cancel_some(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    struct visit slow = {.f = f, .url = "/slow/large"};
    uco_http_response *other = large_open(f, connection);
    uco_task *tasks[5];

    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(visit, &slow);
    large_read(other, 0, 50);
    for (size_t i = 0; i < COUNT(tasks); i++) {
        ck_assert_int_eq(uco_cancel(tasks[i]), 0);
        ck_assert_int_eq(uco_join(tasks[i]), -ECANCELED);
    }
    large_read(other, 50 * NGINX_LARGE_STEP, 50);
    uco_http_response_free(other);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
}

START_TEST(requests_that_are_cancelled_leave_their_connection_to_the_others)
{
    with_nginx_tls(&no_options, cancel_some);
}
END_TEST

static void
exceed_time(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    const uco_http_request_options request = {.url = "/slow/large", .timeout = 0.2};

    expect_failure(f, &request, -ETIMEDOUT);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
}

START_TEST(a_request_whose_time_is_over_leaves_its_connection_to_the_others)
{
    with_nginx_tls(&no_options, exceed_time);
}
END_TEST

static void
exceed_size(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    const uco_http_request_options request = {.url = "/large", .max_body = 1 << 20};

    expect_failure(f, &request, -EMSGSIZE);
    ck_assert_uint_eq(connection_for(f, "/hello"), connection);
}

START_TEST(a_body_that_is_too_large_leaves_its_connection_to_the_others)
{
    with_nginx_tls(&no_options, exceed_size);
}
END_TEST

static void
close_with_streams(struct fixture *f)
{
    uco_http_response *responses[TOGETHER / 2];
    struct visit slow = {.f = f, .url = "/slow/large"};
    uco_task *task = uco_create_task(visit, &slow);
    char byte;

    for (size_t i = 0; i < COUNT(responses); i++)
        responses[i] = large_open(f, 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    for (size_t i = 0; i < COUNT(responses); i++) {
        ssize_t n;

        while ((n = uco_http_read(responses[i], &byte, 1)) > 0)
            continue;
        ck_assert_int_eq(n, -ECANCELED);
        uco_http_response_free(responses[i]);
    }
}

START_TEST(a_client_that_closes_ends_its_streams)
{
    with_nginx_tls(&no_options, close_with_streams);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *sharing = case_new(suite, "sharing");
    TCase *early = case_new(suite, "early ends");

    tcase_add_test(sharing, ten_requests_at_once_share_one_connection);
    tcase_add_test(sharing, a_client_of_http1_only_speaks_no_other);
    tcase_add_test(sharing, a_connection_that_nginx_wants_to_end_is_replaced);
    tcase_add_test(sharing, requests_that_a_connection_has_no_room_for_go_to_another);
    tcase_add_test(sharing, streams_carry_what_connections_carry);
    tcase_add_test(sharing, a_stream_that_nobody_reads_holds_no_other_up);
    tcase_add_test(early, a_stream_that_is_freed_in_the_middle_leaves_its_connection_to_the_others);
    tcase_add_test(early, a_stream_gets_nothing_of_what_was_kept_for_another);
    tcase_add_test(early, a_stream_that_nginx_resets_is_an_error_of_its_request_only);
    tcase_add_test(early, a_stream_that_is_reset_within_the_body_is_an_error_after_what_came);
    tcase_add_test(early, requests_that_are_cancelled_leave_their_connection_to_the_others);
    tcase_add_test(early, a_request_whose_time_is_over_leaves_its_connection_to_the_others);
    tcase_add_test(early, a_body_that_is_too_large_leaves_its_connection_to_the_others);
    tcase_add_test(early, a_client_that_closes_ends_its_streams);
}

int
main(void)
{
    return nginx_tests("http nginx, HTTP/2", add);
}
