/* SPDX-License-Identifier: MIT */
/* Requests that are sent again, where that was asked for and does no harm. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Seconds between a request and the one before it, by the loop's clock. */
static double
pause_before(const struct fixture *f, unsigned request)
{
    return f->server.when[request] - f->server.when[request - 1];
}

static uco_http_response *
ask_again(struct fixture *f, const char *method, const char *url, unsigned failures, int retries)
{
    f->server.failures = failures;
    f->server.requests = 0;
    return ask(f, &(uco_http_request_options){.method = method, .url = url, .retries = retries});
}

/* --- what is tried again --- */

static void
retry_statuses(struct fixture *f)
{
    static const int statuses[] = {429, 502, 503, 504};

    for (size_t i = 0; i < COUNT(statuses); i++) {
        uco_http_response *response;
        char url[32];

        snprintf(url, sizeof url, "/flaky/%d", statuses[i]);
        response = ask_again(f, NULL, url, 2, 3);
        ck_assert_int_eq(response->status, 200);
        ck_assert_str_eq(response->text, "well");
        ck_assert_int_eq(response->attempts, 3);
        ck_assert_uint_eq(response->history_size, 0);
        ck_assert_uint_eq(f->server.requests, 3);
        uco_http_response_free(response);
    }
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(a_server_that_is_busy_is_asked_again)
{
    serve_virtually(retry_statuses);
}
END_TEST

static void
retry_other_statuses(struct fixture *f)
{
    static const int statuses[] = {400, 401, 404, 408, 409, 500, 501, 505};

    for (size_t i = 0; i < COUNT(statuses); i++) {
        uco_http_response *response;
        char url[32];

        snprintf(url, sizeof url, "/flaky/%d", statuses[i]);
        response = ask_again(f, NULL, url, 2, 3);
        ck_assert_int_eq(response->status, statuses[i]);
        ck_assert_int_eq(response->attempts, 1);
        uco_http_response_free(response);
    }
}

START_TEST(other_answers_are_answers)
{
    serve_virtually(retry_other_statuses);
}
END_TEST

static void
retry_failures(struct fixture *f)
{
    static const char *const urls[] = {"/flaky/reset",    "/flaky/refuse", "/flaky/nothing",
                                       "/flaky/short",    "/flaky/cut",    "/flaky/stallbody",
                                       "/flaky/stallhead"};
    uco_http_client_options options = f->options;

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response = ask_again(f, NULL, urls[i], 2, 2);

        ck_assert_int_eq(response->status, 200);
        ck_assert_str_eq(response->text, "well");
        ck_assert_uint_eq(f->server.requests, 3);
        ck_assert_int_ge(response->attempts, 2); /* curl itself may have tried once more */
        uco_http_response_free(response);
        reopen(f, &options);
    }
}

START_TEST(a_connection_that_breaks_is_tried_again)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 1000, .read_timeout = 3},
                         retry_failures);
}
END_TEST

static void
retry_refused(struct fixture *f)
{
    char url[64];
    double began = uco_time();
    uco_http_request_options request = {.url = url, .retries = 3};

    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) free_port());
    expect_failure(f, &request, -ECONNREFUSED);
    ck_assert(uco_time() - began > 0);
    ck_assert(uco_time() - began <= 0.1 + 0.2 + 0.4 + 0.1);
}

START_TEST(a_refused_connection_is_tried_as_often_as_allowed)
{
    serve_virtually(retry_refused);
}
END_TEST

/* With a new client each time: on a connection that was kept curl itself tries once more. */
static void
retry_until_exhausted(struct fixture *f)
{
    uco_http_client_options options = f->options;
    uco_http_response *response = ask_again(f, NULL, "/flaky/503", 100, 4);

    ck_assert_int_eq(response->status, 503);
    ck_assert_str_eq(response->text, "oops");
    ck_assert_int_eq(response->attempts, 5);
    ck_assert_uint_eq(f->server.requests, 5);
    uco_http_response_free(response);
    reopen(f, &options);
    f->server.requests = 0;
    expect_failure(f, &(uco_http_request_options){.url = "/flaky/nothing", .retries = 2}, -EPROTO);
    ck_assert_uint_eq(f->server.requests, 3);
    f->server.requests = 0;
    expect_failure(f, &(uco_http_request_options){.url = "/flaky/nothing"}, -EPROTO);
    ck_assert_uint_eq(f->server.requests, 1);
}

START_TEST(in_the_end_the_last_failure_is_told)
{
    serve_virtually(retry_until_exhausted);
}
END_TEST

/* --- what is not --- */

static void
retry_methods(struct fixture *f)
{
    static const struct {
        const char *method;
        bool again;
    } methods[] = {{"GET", true},    {"HEAD", true},    {"PUT", true},
                   {"DELETE", true}, {"OPTIONS", true}, {"TRACE", true},
                   {"POST", false},  {"PATCH", false},  {"PROPFIND", false}};

    for (size_t i = 0; i < 2 * COUNT(methods); i++) {
        const char *method = methods[i / 2].method;
        uco_http_request_options request = {
            .method = method, .url = i % 2 == 0 ? "/flaky/503" : "/flaky/nothing", .retries = 3};
        uco_http_response *response;
        bool again = methods[i / 2].again;
        int r;

        f->server.failures = 1;
        f->server.requests = 0;
        r = uco_http_request(f->client, &request, &response);
        ck_assert_msg(f->server.requests == (again ? 2 : 1), "%s %s: %u", method, request.url,
                      f->server.requests);
        ck_assert(again || i % 2 == 0 ? r == 0 : r == -EPROTO || r == -ECONNRESET);
        if (r == 0)
            ck_assert_int_eq(response->status, again ? 200 : 503);
        uco_http_response_free(response);
        f->server.failures = 0;
    }
}

START_TEST(only_what_may_be_done_twice_is_sent_twice)
{
    serve_virtually(retry_methods);
}
END_TEST

static ssize_t
read_once(void *buf, size_t n, void *arg)
{
    size_t *left = arg;

    n = n < *left ? n : *left;
    memset(buf, 'x', n);
    *left -= n;
    return (ssize_t) n;
}

static void
retry_bodies(struct fixture *f)
{
    static const char *const form[] = {"a", "b", NULL};
    char path[] = "/tmp/uco-retry-XXXXXX";
    int fd = mkstemp(path);
    size_t left = 100;
    uco_http_request_options request = {
        .method = "PUT", .url = "/flaky/503", .retries = 3, .body = "hello", .body_size = 5};

    f->server.failures = 2;
    expect_answer(f, &request, 200, "well");
    ck_assert_str_eq(f->server.body, "hello");
    request.body = NULL;
    request.body_size = 0;
    request.form = form;
    f->server.failures = 2;
    expect_answer(f, &request, 200, "well");
    ck_assert_str_eq(f->server.body, "a=b");
    request.form = NULL;
    ck_assert_int_eq(write(fd, "from a file", 11), 11);
    close(fd);
    request.body_file = path;
    f->server.failures = 2;
    expect_answer(f, &request, 200, "well");
    ck_assert_str_eq(f->server.body, "from a file");
    unlink(path);
    request.body_file = NULL;
    request.read_body = read_once;
    request.read_arg = &left;
    f->server.failures = 2;
    f->server.requests = 0;
    expect_answer(f, &request, 503, "oops");
    ck_assert_uint_eq(f->server.requests, 1);
    ck_assert_uint_eq(f->server.body_size, 100);
}

START_TEST(a_body_is_sent_again_if_it_can_be_read_again)
{
    serve_virtually(retry_bodies);
}
END_TEST

/* --- when --- */

static void
retry_with_pauses(struct fixture *f)
{
    static const double longest[] = {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10};
    uco_http_response *response = ask_again(f, NULL, "/flaky/503", 10, 20);

    ck_assert_int_eq(response->attempts, 11);
    uco_http_response_free(response);
    for (unsigned i = 0; i < COUNT(longest); i++) {
        double pause = pause_before(f, i + 1);

        ck_assert_msg(pause >= longest[i] / 4 && pause <= longest[i] + 0.05, "pause %u: %g", i,
                      pause);
    }
}

START_TEST(the_pauses_double_up_to_ten_seconds)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 1000}, retry_with_pauses);
}
END_TEST

static void
retry_when_told(struct fixture *f)
{
    f->server.retry_after = "7";
    uco_http_response_free(ask_again(f, NULL, "/flaky/429", 2, 3));
    ck_assert(pause_before(f, 1) >= 7 && pause_before(f, 1) < 8);
    ck_assert(pause_before(f, 2) >= 7 && pause_before(f, 2) < 8);
    f->server.retry_after = "0";
    uco_http_response_free(ask_again(f, NULL, "/flaky/503", 2, 3));
    ck_assert(pause_before(f, 1) < 0.3);
}

START_TEST(the_server_may_say_when_in_seconds)
{
    serve_virtually(retry_when_told);
}
END_TEST

static void
retry_when_told_by_date(struct fixture *f)
{
    time_t then = time(NULL) + 11;
    char date[64];

    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
    f->server.retry_after = date;
    uco_http_response_free(ask_again(f, NULL, "/flaky/503", 1, 1));
    ck_assert_msg(pause_before(f, 1) >= 5 && pause_before(f, 1) < 12, "%g", pause_before(f, 1));
    then -= 1000;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
    uco_http_response_free(ask_again(f, NULL, "/flaky/503", 1, 1));
    ck_assert(pause_before(f, 1) < 0.3);
}

START_TEST(the_server_may_say_when_as_a_date)
{
    serve_virtually(retry_when_told_by_date);
}
END_TEST

static void
retry_when_told_nonsense(struct fixture *f)
{
    static const char *const nonsense[] = {
        "soon", "-5", "1e3", "", "99999999999999999999999999x", "Thu, 99 Foo 2020 99:99:99 GMT"};

    for (size_t i = 0; i < COUNT(nonsense); i++) {
        uco_http_response *response;

        f->server.retry_after = nonsense[i];
        response = ask_again(f, NULL, "/flaky/503", 1, 1);
        ck_assert_int_eq(response->status, 200);
        ck_assert_msg(pause_before(f, 1) < 0.3, "'%s': %g", nonsense[i], pause_before(f, 1));
        uco_http_response_free(response);
    }
}

START_TEST(what_is_no_time_is_not_waited_for)
{
    serve_virtually(retry_when_told_nonsense);
}
END_TEST

/* It would come too late: the answer that is there is better than a timeout. */
static void
retry_too_late(struct fixture *f)
{
    uco_http_response *response;
    double began = uco_time();

    f->server.retry_after = "60";
    response = ask_again(f, NULL, "/flaky/503", 10, 10);
    ck_assert_int_eq(response->status, 503);
    ck_assert_int_eq(response->attempts, 1);
    ck_assert(uco_time() - began < 1);
    uco_http_response_free(response);
    f->server.retry_after = "99999999999";
    response = ask_again(f, NULL, "/flaky/503", 10, 10);
    ck_assert_int_eq(response->status, 503);
    ck_assert(uco_time() - began < 2);
    uco_http_response_free(response);
    f->server.retry_after = NULL;
    began = uco_time();
    f->server.failures = 1000000;
    expect_failure(f, &(uco_http_request_options){.url = "/flaky/nothing", .retries = 1000},
                   -EPROTO);
    ck_assert(uco_time() - began < 30.1);
}

START_TEST(what_would_come_after_the_timeout_is_not_waited_for)
{
    serve_virtually(retry_too_late);
}
END_TEST

static void
retry_no_longer(struct fixture *f)
{
    double began = uco_time();

    f->server.failures = 100;
    expect_failure(f, &(uco_http_request_options){.url = "/flaky/stall", .retries = 100},
                   -ETIMEDOUT);
    ck_assert(uco_time() - began >= 19 && uco_time() - began < 21);
    ck_assert_uint_ge(f->server.requests, 3);
    ck_assert_uint_le(f->server.requests, 8);
}

START_TEST(the_timeout_is_that_of_all_attempts)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 20, .read_timeout = 3},
                         retry_no_longer);
}
END_TEST

/* --- and what else --- */

static intptr_t
ask_busy(void *arg)
{
    uco_http_response *response;
    intptr_t r;

    r = uco_http_request(arg, &(uco_http_request_options){.url = "/flaky/503", .retries = 100},
                         &response);
    ck_assert(r == -ECANCELED);
    ck_assert_ptr_null(response);
    return r;
}

static void
cancel_pause(struct fixture *f)
{
    uco_task *task = uco_create_task(ask_busy, f->client);

    f->server.failures = 1000;
    f->server.retry_after = "20";
    ck_assert_int_eq(uco_sleep(10), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_uint_eq(f->server.requests, 1);
    task = uco_create_task(ask_busy, f->client);
    ck_assert_int_eq(uco_sleep(10), 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_join(task), -ECANCELED);
}

START_TEST(the_wait_for_another_attempt_can_be_cancelled)
{
    serve_virtually(cancel_pause);
}
END_TEST

static intptr_t
ask_with_pause(void *arg)
{
    uco_http_response *response;
    int r = uco_http_request(arg, &(uco_http_request_options){.url = "/flaky/503", .retries = 3},
                             &response);

    if (r == 0)
        uco_http_response_free(response);
    return r;
}

/* Who waits for another attempt has no connection. */
static void
get_between(struct fixture *f)
{
    uco_task *task = uco_create_task(ask_with_pause, f->client);
    double began = uco_time();

    f->server.failures = 1;
    f->server.retry_after = "20";
    ck_assert_int_eq(uco_sleep(1), 0);
    expect_text(f, "/late/0", "late");
    ck_assert(uco_time() - began < 2);
    ck_assert_int_eq(uco_join(task), 0);
}

START_TEST(who_waits_for_another_attempt_keeps_no_connection)
{
    serve_virtually_with(&(uco_http_client_options){.max_connections = 1}, get_between);
}
END_TEST

static void
retry_stream(struct fixture *f)
{
    uco_http_request_options request = {.url = "/flaky/503", .retries = 3};
    uco_http_response *response;
    char text[16] = "";

    f->server.failures = 2;
    ck_assert_int_eq(uco_http_stream(f->client, &request, &response), 0);
    ck_assert_int_eq(response->status, 200);
    ck_assert_int_eq(response->attempts, 3);
    ck_assert_int_eq(uco_http_read(response, text, sizeof text - 1), 4);
    ck_assert_str_eq(text, "well");
    uco_http_response_free(response);
    f->server.failures = 100;
    ck_assert_int_eq(uco_http_stream(f->client, &request, &response), 0);
    ck_assert_int_eq(response->status, 503);
    ck_assert_int_eq(uco_http_read(response, text, sizeof text - 1), 4);
    ck_assert_str_eq(text, "oops");
    uco_http_response_free(response);
    /* What breaks in the body is the reader's affair: it has had the beginning. */
    request.url = "/flaky/short";
    f->server.failures = 1;
    ck_assert_int_eq(uco_http_stream(f->client, &request, &response), 0);
    ck_assert_int_eq(response->attempts, 1);
    ck_assert_int_eq(uco_http_read(response, text, sizeof text - 1), 10);
    ck_assert_int_eq(uco_http_read(response, text, sizeof text - 1), -EPROTO);
    uco_http_response_free(response);
}

START_TEST(a_stream_is_tried_again_until_its_head_has_come)
{
    serve_virtually(retry_stream);
}
END_TEST

static void
retry_redirected(struct fixture *f)
{
    uco_http_response *response;

    f->server.location = "/flaky/503";
    f->server.failures = 2;
    response = ask(f, &(uco_http_request_options){.url = "/moved/302", .retries = 2});
    ck_assert_int_eq(response->status, 200);
    ck_assert_int_eq(response->attempts, 3);
    ck_assert_uint_eq(response->history_size, 1);
    uco_http_response_free(response);
}

START_TEST(what_a_redirect_leads_to_is_tried_again_too)
{
    serve_virtually(retry_redirected);
}
END_TEST

static void
retry_by_curl(struct fixture *f)
{
    expect_text(f, "/once", "once");
    expect_text(f, "/once", "once");
    ck_assert_uint_eq(f->server.requests, 3);
    ck_assert_uint_eq(f->server.accepted, 2);
}

/* It has been idle for long, and the server closes it in the very moment. */
START_TEST(a_kept_connection_that_turns_out_to_be_dead_is_replaced)
{
    serve(retry_by_curl);
}
END_TEST

/* libcurl before 8.21 counts for a handle what it should count for a request, up to five. */
static void
retry_by_curl_often(struct fixture *f)
{
    for (int i = 0; i < 20; i++)
        expect_text(f, "/once", "once");
    ck_assert_uint_eq(f->server.accepted, 20);
}

START_TEST(dead_connections_are_replaced_however_many_there_were)
{
    serve(retry_by_curl_often);
}
END_TEST

static void
post_to_the_dead(struct fixture *f)
{
    uco_http_request_options request = {.url = "/once", .body = "order", .body_size = 5};
    uco_http_response *response;

    expect_text(f, "/once", "once");
    f->server.requests = 0;
    ck_assert_int_lt(uco_http_request(f->client, &request, &response), 0);
    ck_assert_uint_eq(f->server.requests, 1);
}

/* The server may have done what it was told to, before it closed. */
START_TEST(a_post_whose_connection_dies_is_not_sent_again)
{
    serve(post_to_the_dead);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http retries");
    TCase *what = case_new(suite, "what");
    TCase *when = case_new(suite, "when");
    TCase *beside = case_new(suite, "beside");

    tcase_add_test(what, a_server_that_is_busy_is_asked_again);
    tcase_add_test(what, other_answers_are_answers);
    tcase_add_test(what, a_connection_that_breaks_is_tried_again);
    tcase_add_test(what, a_refused_connection_is_tried_as_often_as_allowed);
    tcase_add_test(what, in_the_end_the_last_failure_is_told);
    tcase_add_test(what, only_what_may_be_done_twice_is_sent_twice);
    tcase_add_test(what, a_body_is_sent_again_if_it_can_be_read_again);
    tcase_add_test(when, the_pauses_double_up_to_ten_seconds);
    tcase_add_test(when, the_server_may_say_when_in_seconds);
    tcase_add_test(when, the_server_may_say_when_as_a_date);
    tcase_add_test(when, what_is_no_time_is_not_waited_for);
    tcase_add_test(when, what_would_come_after_the_timeout_is_not_waited_for);
    tcase_add_test(when, the_timeout_is_that_of_all_attempts);
    tcase_add_test(beside, the_wait_for_another_attempt_can_be_cancelled);
    tcase_add_test(beside, who_waits_for_another_attempt_keeps_no_connection);
    tcase_add_test(beside, a_stream_is_tried_again_until_its_head_has_come);
    tcase_add_test(beside, what_a_redirect_leads_to_is_tried_again_too);
    tcase_add_test(beside, a_kept_connection_that_turns_out_to_be_dead_is_replaced);
    tcase_add_test(beside, dead_connections_are_replaced_however_many_there_were);
    tcase_add_test(beside, a_post_whose_connection_dies_is_not_sent_again);
    return suite_end(suite);
}
