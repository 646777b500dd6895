/* SPDX-License-Identifier: MIT */
/* How many requests run at once, and who is next. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#define MANY 100

/* Fetches a page MANY times at once. */
static void
fetch_many(struct fixture *f, const char *url)
{
    struct visit v = {f, url};
    uco_task *tasks[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather(tasks, MANY, NULL), 0);
    uco_unref_all(tasks, MANY);
    ck_assert_uint_eq(f->server.requests, MANY);
}

static void
get_ten_at_once(struct fixture *f)
{
    fetch_many(f, "/late/5");
    ck_assert_uint_eq(f->server.peak, 10);
    ck_assert_uint_eq(f->server.accepted, 10);
}

START_TEST(ten_requests_to_a_host_run_at_once)
{
    serve(get_ten_at_once);
}
END_TEST

static void
get_all_at_once(struct fixture *f)
{
    fetch_many(f, "/late/200");
    ck_assert_uint_eq(f->server.peak, MANY);
}

START_TEST(as_many_run_as_are_allowed_for_a_host)
{
    serve_with(&(uco_http_client_options){.max_per_host = 1000}, get_all_at_once);
}
END_TEST

static void
get_three_at_once(struct fixture *f)
{
    fetch_many(f, "/late/5");
    ck_assert_uint_eq(f->server.peak, 3);
}

START_TEST(as_many_run_as_are_allowed_in_all)
{
    serve_with(&(uco_http_client_options){.max_connections = 3}, get_three_at_once);
}
END_TEST

/* Three servers, one client: each has its own ten, and all together 15. */
static void
get_from_three(struct fixture *f)
{
    struct server servers[3];
    char urls[3][64];
    struct visit visits[3];
    uco_task *tasks[MANY];

    for (int i = 0; i < 3; i++) {
        server_start(&servers[i]);
        snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u/late/2", (unsigned) servers[i].port);
        visits[i] = (struct visit){f, urls[i]};
    }
    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(visit, &visits[i < MANY / 2 ? 0 : i % 3]);
    ck_assert_int_eq(uco_gather(tasks, MANY, NULL), 0);
    uco_unref_all(tasks, MANY);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_le(servers[i].peak, 10);
        server_stop(&servers[i]);
    }
    ck_assert_uint_eq(servers[0].peak, 10);
    ck_assert_uint_ge(servers[1].peak, 2);
    ck_assert_uint_eq(servers[0].requests + servers[1].requests + servers[2].requests, MANY);
}

START_TEST(a_host_that_is_full_keeps_no_other_waiting)
{
    serve_with(&(uco_http_client_options){.max_connections = 15}, get_from_three);
}
END_TEST

struct turns {
    struct fixture *f;
    int come;
    int served;
};

static intptr_t
take_turn(void *arg)
{
    struct turns *turns = arg;
    int number = turns->come++;
    uco_http_response *response = fetch(turns->f, "/late/0");

    ck_assert_int_eq(turns->served++, number);
    uco_http_response_free(response);
    return 0;
}

static void
get_in_order(struct fixture *f)
{
    struct turns turns = {.f = f};
    uco_task *tasks[20];

    for (int i = 0; i < 20; i++)
        tasks[i] = uco_create_task(take_turn, &turns);
    ck_assert_int_eq(uco_gather(tasks, 20, NULL), 0);
    uco_unref_all(tasks, 20);
}

START_TEST(who_came_first_is_served_first)
{
    serve_with(&(uco_http_client_options){.max_per_host = 1}, get_in_order);
}
END_TEST

START_TEST(who_came_first_is_served_first_of_all)
{
    serve_with(&(uco_http_client_options){.max_connections = 1}, get_in_order);
}
END_TEST

/*
 * Each second one that waits is cancelled, in an order of no order. The others all have their turn,
 * and no permit is lost: as many as before run at once afterwards.
 */
static void
cancel_waiters(struct fixture *f)
{
    struct visit v = {f, "/late/1"};
    uco_task *tasks[MANY];
    intptr_t results[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(visit, &v);
    for (int i = 0; i < MANY / 2; i++) {
        ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(tasks[i * 37 % MANY]);
    }
    ck_assert_int_eq(uco_gather_all(tasks, MANY, results), 0);
    for (int i = MANY / 2; i < MANY; i++)
        ck_assert_int_eq(results[i * 37 % MANY], 200);
    uco_unref_all(tasks, MANY);
    f->server.peak = 0;
    f->server.requests = 0;
    fetch_many(f, "/late/5");
    ck_assert_uint_eq(f->server.peak, 4);
}

START_TEST(who_is_cancelled_leaves_no_trace)
{
    serve_with(&(uco_http_client_options){.max_per_host = 4}, cancel_waiters);
}
END_TEST

START_TEST(who_is_cancelled_leaves_no_trace_of_all)
{
    serve_with(&(uco_http_client_options){.max_connections = 4}, cancel_waiters);
}
END_TEST

static void
redirect_under_limit(struct fixture *f)
{
    struct visit v = {f, "/redirect/5"};
    uco_task *tasks[20];
    intptr_t results[20];

    for (int i = 0; i < 20; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather(tasks, 20, results), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(results[i], 200);
    uco_unref_all(tasks, 20);
    ck_assert_uint_eq(f->server.peak, 1);
}

START_TEST(a_redirected_request_waits_its_turn_again)
{
    serve_with(&(uco_http_client_options){.max_connections = 1}, redirect_under_limit);
}
END_TEST

/* More at once than the process may have open: they wait. */
static void
get_a_thousand(struct fixture *f)
{
    enum { THOUSAND = 1000 };
    static uco_task *tasks[THOUSAND];
    struct visit v = {f, "/bytes/100"};
    int n = scaled(THOUSAND);

    for (int i = 0; i < n; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather(tasks, (size_t) n, NULL), 0);
    uco_unref_all(tasks, (size_t) n);
    ck_assert_uint_le(f->server.accepted, 10);
}

START_TEST(a_thousand_requests_need_ten_connections)
{
    serve(get_a_thousand);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http limit");
    TCase *limits = case_new(suite, "limits");
    TCase *turns = case_new(suite, "turns");

    tcase_add_test(limits, ten_requests_to_a_host_run_at_once);
    tcase_add_test(limits, as_many_run_as_are_allowed_for_a_host);
    tcase_add_test(limits, as_many_run_as_are_allowed_in_all);
    tcase_add_test(limits, a_host_that_is_full_keeps_no_other_waiting);
    tcase_add_test(limits, a_thousand_requests_need_ten_connections);
    tcase_add_test(turns, who_came_first_is_served_first);
    tcase_add_test(turns, who_came_first_is_served_first_of_all);
    tcase_add_test(turns, who_is_cancelled_leaves_no_trace);
    tcase_add_test(turns, who_is_cancelled_leaves_no_trace_of_all);
    tcase_add_test(turns, a_redirected_request_waits_its_turn_again);
    return suite_end(suite);
}
