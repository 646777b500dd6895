/* SPDX-License-Identifier: MIT */
/* Requests that end before their answer is there: by a timeout, a cancellation, or the client's
 * close. */
#include "fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHORT 0.05 /* seconds: what is to time out */

/* A port of 127.0.0.1 where a connection is neither taken nor refused: the queue of its listener is
 * full. */
struct hole {
    int listener;
    int queued[4];
    char url[64];
};

static void
hole_open(struct hole *hole)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    hole->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(hole->listener, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(hole->listener, 0), 0);
    ck_assert_int_eq(getsockname(hole->listener, (struct sockaddr *) &address, &length), 0);
    for (size_t i = 0; i < COUNT(hole->queued); i++) {
        hole->queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert(connect(hole->queued[i], (struct sockaddr *) &address, sizeof address) == 0 ||
                  errno == EINPROGRESS);
    }
    snprintf(hole->url, sizeof hole->url, "http://127.0.0.1:%u/",
             (unsigned) ntohs(address.sin_port));
}

static void
hole_close(const struct hole *hole)
{
    close(hole->listener);
    for (size_t i = 0; i < COUNT(hole->queued); i++)
        close(hole->queued[i]);
}

/* A page that must come. On a slow machine the client's timeout may be too short for it; then it is
 * asked for again. */
static size_t
eventually(struct fixture *f, const char *url)
{
    uco_http_response *response;
    size_t size;
    int r;

    while ((r = uco_http_get(f->client, url, &response)) == -ETIMEDOUT)
        continue;
    ck_assert_msg(r == 0, "%s: %d, %s", url, r, uco_http_error(f->client));
    ck_assert_int_eq(response->status, 200);
    size = response->size;
    uco_http_response_free(response);
    return size;
}

/* After what ended early the client is as before, and no connection with half an answer is left. */
static void
still_works(struct fixture *f)
{
    ck_assert_uint_eq(eventually(f, "/bytes/1000"), 1000);
    while (f->server.open != 1 || f->server.busy != 0)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

/* Until the server has a request to answer. */
static void
until_asked(const struct fixture *f)
{
    while (f->server.busy == 0)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

/* --- the client's timeouts --- */

static void
time_out(struct fixture *f)
{
    static const char *const urls[] = {"/stall", "/stallhead", "/stallbody", "/drip/1000"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        expect_error(f, urls[i], -ETIMEDOUT);
        ck_assert(!uco_cancelled());
        still_works(f);
    }
}

START_TEST(the_timeout_ends_a_request_wherever_it_is)
{
    serve_with(&(uco_http_client_options){.timeout = SHORT}, time_out);
}
END_TEST

static void
time_out_reading(struct fixture *f)
{
    expect_error(f, "/stall", -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "read_timeout"));
    expect_error(f, "/stallhead", -ETIMEDOUT);
    expect_error(f, "/stallbody", -ETIMEDOUT);
    ck_assert_uint_eq(eventually(f, "/drip/40"),
                      40); /* takes four times as long, but is never silent for so long */
    still_works(f);
}

START_TEST(the_read_timeout_ends_a_silence_only)
{
    serve_with(&(uco_http_client_options){.read_timeout = SHORT}, time_out_reading);
}
END_TEST

static void
time_out_connecting(struct fixture *f)
{
    struct hole hole;

    hole_open(&hole);
    expect_error(f, hole.url, -ETIMEDOUT);
    ck_assert_uint_eq(eventually(f, "/late/100"), 4);
    still_works(f);
    hole_close(&hole);
}

START_TEST(the_connect_timeout_ends_a_connecting_request_only)
{
    serve_with(&(uco_http_client_options){.connect_timeout = SHORT}, time_out_connecting);
}
END_TEST

START_TEST(the_timeout_ends_a_connecting_request_too)
{
    serve_with(&(uco_http_client_options){.timeout = 6 * SHORT}, time_out_connecting);
}
END_TEST

static void
time_out_waiting(struct fixture *f)
{
    struct visit slow = {f, "/late/200"};
    uco_task *task = uco_create_task(visit, &slow);

    until_asked(f);
    expect_error(f, "/late/0", -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "pool_timeout"));
    ck_assert_int_eq(uco_join(task), 200);
    still_works(f);
}

START_TEST(the_pool_timeout_ends_a_wait_for_a_connection)
{
    serve_with(&(uco_http_client_options){.pool_timeout = SHORT, .max_connections = 1},
               time_out_waiting);
}
END_TEST

/* --- cancellation --- */

/* Cancels a request that is under way. */
static void
cancel_one(struct fixture *f, const char *url)
{
    struct visit v = {f, url};
    uco_task *task = uco_create_task(visit, &v);

    ck_assert_int_eq(uco_sleep(SHORT / 5), 0);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
}

static intptr_t
get_in_scope(void *arg)
{
    const struct visit *v = arg;
    uco_http_response *response;
    int r = uco_http_get(v->f->client, v->url, &response);

    ck_assert_int_eq(r, -ECANCELED);
    ck_assert_ptr_null(response);
    ck_assert_int_eq(uco_http_get(v->f->client, "/late/0", &response), -ECANCELED);
    return r;
}

static void
cancel_by_scope(struct fixture *f, const char *url)
{
    struct visit v = {f, url};

    ck_assert_int_eq(uco_with_timeout(SHORT / 5, get_in_scope, &v), -ETIMEDOUT);
}

static void
cancel_everywhere(struct fixture *f)
{
    static const char *const urls[] = {"/stall", "/stallhead", "/stallbody", "/drip/1000",
                                       "/endless"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        cancel_one(f, urls[i]);
        still_works(f);
        cancel_by_scope(f, urls[i]);
        still_works(f);
    }
}

START_TEST(a_cancelled_request_ends_wherever_it_is)
{
    serve(cancel_everywhere);
}
END_TEST

static void
cancel_connecting(struct fixture *f)
{
    struct hole hole;

    hole_open(&hole);
    cancel_one(f, hole.url);
    cancel_by_scope(f, hole.url);
    still_works(f);
    hole_close(&hole);
}

START_TEST(a_cancelled_request_ends_while_it_connects)
{
    serve(cancel_connecting);
}
END_TEST

static void
cancel_waiting(struct fixture *f)
{
    struct visit slow = {f, "/late/100"};
    uco_task *task = uco_create_task(visit, &slow);

    until_asked(f);
    cancel_one(f, "/bytes/1");
    cancel_by_scope(f, "/bytes/1");
    ck_assert_int_eq(uco_join(task), 200);
    ck_assert_uint_eq(f->server.requests, 1);
    still_works(f);
}

START_TEST(a_cancelled_request_ends_while_it_waits_for_a_connection)
{
    serve_with(&(uco_http_client_options){.max_per_host = 1}, cancel_waiting);
}
END_TEST

static void
cancel_at_once(struct fixture *f)
{
    struct visit v = {f, "/late/0"};

    ck_assert_int_eq(uco_with_timeout(0, get_in_scope, &v), -ETIMEDOUT);
    ck_assert_uint_eq(f->server.accepted, 0);
    still_works(f);
}

START_TEST(in_a_cancelled_scope_nothing_is_asked)
{
    serve(cancel_at_once);
}
END_TEST

/* At each turn of its life, a request is cancelled once. Whatever it then gives, nothing is left of
 * it. */
static void
cancel_at_each_turn(struct fixture *f)
{
    for (int turns = 0; turns < scaled(60); turns++) {
        struct visit v = {f, turns % 2 == 0 ? "/bytes/100000" : "/redirect/2"};
        uco_task *task = uco_create_task(visit, &v);
        intptr_t r;

        for (int i = 0; i < turns; i++)
            ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(task);
        r = uco_join(task);
        ck_assert(r == -ECANCELED || r == 200);
    }
    still_works(f);
}

START_TEST(a_request_can_be_cancelled_at_any_turn)
{
    serve(cancel_at_each_turn);
}
END_TEST

static intptr_t
get_with_outer_timeout(void *arg)
{
    struct fixture *f = arg;
    uco_http_response *response;
    intptr_t r = uco_http_get(f->client, "/stall", &response);

    ck_assert_int_eq(r, -ETIMEDOUT);
    return r;
}

static void
time_out_inside_first(struct fixture *f)
{
    ck_assert_int_eq(uco_with_timeout(10, get_with_outer_timeout, f), -ETIMEDOUT);
}

START_TEST(the_clients_timeout_is_not_the_callers)
{
    serve_with(&(uco_http_client_options){.timeout = SHORT}, time_out_inside_first);
}
END_TEST

/* --- the client's close --- */

#define CROWD 20

static void
close_in_use(struct fixture *f)
{
    static const char *const urls[] = {"/stall", "/stallbody", "/endless", "/drip/1000"};
    struct visit visits[COUNT(urls)];
    uco_task *tasks[CROWD];
    intptr_t results[CROWD];

    for (size_t i = 0; i < CROWD; i++) {
        visits[i % COUNT(urls)] = (struct visit){f, urls[i % COUNT(urls)]};
        tasks[i] = uco_create_task(visit, &visits[i % COUNT(urls)]);
    }
    ck_assert_int_eq(uco_sleep(SHORT), 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_gather_all(tasks, CROWD, results), 0);
    for (size_t i = 0; i < CROWD; i++)
        ck_assert_int_eq(results[i], -ECANCELED);
    uco_unref_all(tasks, CROWD);
    while (f->server.open != 0)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

START_TEST(closing_the_client_ends_its_requests)
{
    serve(close_in_use);
}
END_TEST

static void
close_callback(void *arg)
{
    struct fixture *f = arg;

    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
}

static intptr_t
get_closed(void *arg)
{
    struct fixture *f = arg;
    uco_http_response *response;

    ck_assert_int_eq(uco_http_get(f->client, "/stallbody", &response), -ECANCELED);
    ck_assert_ptr_null(response);
    ck_assert_ptr_nonnull(strstr(uco_http_error(NULL), "closed"));
    ck_assert(!uco_cancelled());
    return 0;
}

static void
close_in_callback(struct fixture *f)
{
    uco_task *task = uco_create_task(get_closed, f);

    ck_assert_int_eq(uco_sleep(SHORT), 0);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), close_callback, f), 0);
    ck_assert_int_eq(uco_join(task), 0);
    f->client = uco_http_client_new(NULL);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), close_callback, f), 0);
    ck_assert_int_eq(uco_sleep(0), 0);
    ck_assert_ptr_null(f->client);
}

START_TEST(a_callback_can_close_a_client_in_use)
{
    serve(close_in_callback);
}
END_TEST

static intptr_t
close_client(void *arg)
{
    struct fixture *f = arg;
    uco_http_client *client = f->client;

    f->client = NULL;
    return uco_http_client_close(client);
}

static intptr_t
close_cancelled(void *arg)
{
    struct fixture *f = arg;
    struct visit v = {f, "/stall"};
    uco_task *task = uco_create_task(visit, &v);

    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(close_client(f), 0);
    ck_assert(uco_done(task));
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    uco_unref(task);
    return 0;
}

static void
close_in_cancelled_scope(struct fixture *f)
{
    ck_assert_int_eq(uco_with_timeout(SHORT, close_cancelled, f), 0);
}

START_TEST(a_close_in_a_cancelled_scope_completes)
{
    serve(close_in_cancelled_scope);
}
END_TEST

static intptr_t
leave_all_open(void *arg)
{
    struct fixture *f = arg;
    static struct visit v;
    char base_url[64];

    server_start(&f->server);
    snprintf(base_url, sizeof base_url, "http://127.0.0.1:%u", (unsigned) f->server.port);
    f->client = uco_http_client_new(&(uco_http_client_options){.base_url = base_url, .proxy = ""});
    v = (struct visit){f, "/stallbody"};
    for (int i = 0; i < 5; i++) {
        uco_task *task = uco_create_task(visit, &v);

        uco_detach(task);
        uco_unref(task);
    }
    return uco_sleep(SHORT);
}

START_TEST(a_loop_that_closes_ends_requests_and_client)
{
    struct fixture f = {0};
    uco_loop_options options = reporting(&f.reports);

    options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&options, leave_all_open, &f), 0);
    uco_unref(f.server.task);
    ck_assert_uint_eq(f.reports.count, 1);
    ck_assert_ptr_nonnull(strstr(f.reports.last, "HTTP client"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http cancel");
    TCase *timeouts = case_new(suite, "timeouts");
    TCase *cancelled = case_new(suite, "cancelled");
    TCase *closed = case_new(suite, "closed");

    tcase_add_test(timeouts, the_timeout_ends_a_request_wherever_it_is);
    tcase_add_test(timeouts, the_read_timeout_ends_a_silence_only);
    tcase_add_test(timeouts, the_connect_timeout_ends_a_connecting_request_only);
    tcase_add_test(timeouts, the_timeout_ends_a_connecting_request_too);
    tcase_add_test(timeouts, the_pool_timeout_ends_a_wait_for_a_connection);
    tcase_add_test(cancelled, a_cancelled_request_ends_wherever_it_is);
    tcase_add_test(cancelled, a_cancelled_request_ends_while_it_connects);
    tcase_add_test(cancelled, a_cancelled_request_ends_while_it_waits_for_a_connection);
    tcase_add_test(cancelled, in_a_cancelled_scope_nothing_is_asked);
    tcase_add_test(cancelled, a_request_can_be_cancelled_at_any_turn);
    tcase_add_test(cancelled, the_clients_timeout_is_not_the_callers);
    tcase_add_test(closed, closing_the_client_ends_its_requests);
    tcase_add_test(closed, a_callback_can_close_a_client_in_use);
    tcase_add_test(closed, a_close_in_a_cancelled_scope_completes);
    tcase_add_test(closed, a_loop_that_closes_ends_requests_and_client);
    return suite_end(suite);
}
