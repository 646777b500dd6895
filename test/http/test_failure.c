/* SPDX-License-Identifier: MIT */
/* Servers that do it wrong, and connections that break. After each, the client works as before. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static void
fail_then_fetch(struct fixture *f, const char *url, int error)
{
    expect_error(f, url, error);
    expect_text(f, "/late/0", "late");
}

static void
get_short(struct fixture *f)
{
    fail_then_fetch(f, "/short", -EPROTO);
    ck_assert_uint_eq(f->server.accepted, 2);
}

START_TEST(a_body_that_ends_early_is_an_error)
{
    serve(get_short);
}
END_TEST

static void
get_reset(struct fixture *f)
{
    fail_then_fetch(f, "/reset", -ECONNRESET);
}

START_TEST(a_reset_within_the_body_is_an_error)
{
    serve(get_reset);
}
END_TEST

static void
get_cut(struct fixture *f)
{
    fail_then_fetch(f, "/cut", -EPROTO);
}

START_TEST(an_end_within_the_headers_is_an_error)
{
    serve(get_cut);
}
END_TEST

static void
get_nothing(struct fixture *f)
{
    fail_then_fetch(f, "/nothing", -EPROTO);
}

START_TEST(an_end_before_the_answer_is_an_error)
{
    serve(get_nothing);
}
END_TEST

static void
get_nonsense(struct fixture *f)
{
    fail_then_fetch(f, "/garbage", -EPROTO);
    fail_then_fetch(f, "/badchunk", -EPROTO);
    fail_then_fetch(f, "/badgzip", -EPROTO);
    fail_then_fetch(f, "/flood", -EPROTO);
}

START_TEST(what_is_not_http_is_an_error)
{
    serve(get_nonsense);
}
END_TEST

/* In a handle that has had a response libcurl 7.88 would append it to a header of that, which is
 * freed: valgrind sees it. */
static void
get_folded(struct fixture *f)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\n and: more\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\tand: more\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\n and: more\nContent-Length: 2\n\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n and: more\r\n\r\nok",
        "HTTP/1.1 103 Early Hints\r\n and: more\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok",
    };

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        expect_text(f, "/late/0", "late");
        f->server.raw = answers[i];
        fail_then_fetch(f, "/raw", -EPROTO);
    }
}

START_TEST(a_head_that_begins_in_the_middle_of_a_header_is_an_error)
{
    serve(get_folded);
}
END_TEST

/* What is looked at is the head's second line, and nothing else. */
static void
get_blanks(struct fixture *f)
{
    static char answer[40000];
    int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nA:%30000s\r\n\r\nlong", "");

    ck_assert_int_lt(length, (int) sizeof answer);
    expect_text(f, "/late/0", "late");
    f->server.raw = "HTTP/1.1 200 OK\r\n\r\n a body";
    expect_text(f, "/raw", " a body");
    f->server.raw = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\ttoo";
    expect_text(f, "/raw", "\ttoo");
    f->server.raw = "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\n last";
    expect_text(f, "/raw", " last");
    f->server.raw =
        answer; /* curl hands it on in pieces, of which the second begins with a blank */
    expect_text(f, "/raw", "long");
    expect_text(f, "/late/0", "late");
}

START_TEST(blanks_anywhere_else_are_fine)
{
    serve(get_blanks);
}
END_TEST

static void
get_too_much(struct fixture *f)
{
    expect_bytes(f, "/bytes/1000", 1000);
    expect_bytes(f, "/chunked/1000", 1000);
    fail_then_fetch(f, "/bytes/1001", -EMSGSIZE);
    fail_then_fetch(f, "/chunked/1001", -EMSGSIZE);
    fail_then_fetch(f, "/chunked/100000", -EMSGSIZE);
    fail_then_fetch(f, "/endless", -EMSGSIZE);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(f->server.open, 1);
}

START_TEST(a_body_has_a_limit)
{
    serve_with(&(uco_http_client_options){.max_body = 1000}, get_too_much);
}
END_TEST

static void
get_refused(struct fixture *f)
{
    char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) free_port());
    fail_then_fetch(f, url, -ECONNREFUSED);
    snprintf(url, sizeof url, "http://localhost:%u/", (unsigned) free_port());
    fail_then_fetch(f, url, -ECONNREFUSED);
    snprintf(url, sizeof url, "http://[::1]:%u/", (unsigned) free_port());
    fail_then_fetch(f, url, -ECONNREFUSED);
}

START_TEST(a_port_where_nobody_listens_refuses)
{
    serve(get_refused);
}
END_TEST

static void
get_stopped(struct fixture *f)
{
    expect_text(f, "/late/0", "late");
    server_stop(&f->server);
    expect_error(f, "/late/0", -ECONNREFUSED);
}

START_TEST(a_server_that_has_gone_refuses_too)
{
    serve(get_stopped);
}
END_TEST

/* Each new socket fails, and the client says why. */
static void
get_without_descriptors(struct fixture *f)
{
    struct rlimit before, none;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    expect_error(f, "/late/0", -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect_text(f, "/late/0", "late");
}

START_TEST(without_descriptors_a_request_fails)
{
    serve(get_without_descriptors);
}
END_TEST

static void
get_unwatched(struct fixture *f)
{
    for (unsigned long i = 1; i <= 3; i++) {
        uco_http_response *response;

        reopen(f, &(uco_http_client_options){.read_timeout = 1.0});
        ck_assert_int_eq(uco_test_fail("epoll_ctl", i, true, ENOMEM), 0);
        if (uco_http_get(f->client, "/late/0", &response) == 0)
            uco_http_response_free(response);
        uco_test_fail_off();
        expect_text(f, "/late/0", "late");
    }
}

/* The kernel has no memory to watch a socket. The server of the test suffers from that as well, so
 * the request may end with any error; but it ends, and the next one is served. */
START_TEST(a_socket_that_cannot_be_watched_ends_its_request)
{
    serve(get_unwatched);
}
END_TEST

#define CROWD 60

static void
get_mixed(struct fixture *f)
{
    static const struct {
        const char *url;
        intptr_t result;
    } kinds[] = {{"/bytes/5000", 200},    {"/short", -EPROTO},   {"/late/3", 200},
                 {"/reset", -ECONNRESET}, {"/nothing", -EPROTO}, {"/chunked/9000", 200},
                 {"/badchunk", -EPROTO},  {"/leave", 200}};
    struct visit visits[COUNT(kinds)];
    uco_task *tasks[CROWD];
    intptr_t results[CROWD];

    for (size_t i = 0; i < CROWD; i++) {
        visits[i % COUNT(kinds)] = (struct visit){f, kinds[i % COUNT(kinds)].url};
        tasks[i] = uco_create_task(visit, &visits[i % COUNT(kinds)]);
    }
    ck_assert_int_eq(uco_gather_all(tasks, CROWD, results), 0);
    uco_unref_all(tasks, CROWD);
    for (size_t i = 0; i < CROWD; i++)
        ck_assert_msg(results[i] == kinds[i % COUNT(kinds)].result, "%s: %d",
                      kinds[i % COUNT(kinds)].url, (int) results[i]);
}

START_TEST(what_fails_leaves_the_others_alone)
{
    serve(get_mixed);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http failures");
    TCase *answers = case_new(suite, "answers");
    TCase *connections = case_new(suite, "connections");

    tcase_add_test(answers, a_body_that_ends_early_is_an_error);
    tcase_add_test(answers, a_reset_within_the_body_is_an_error);
    tcase_add_test(answers, an_end_within_the_headers_is_an_error);
    tcase_add_test(answers, an_end_before_the_answer_is_an_error);
    tcase_add_test(answers, what_is_not_http_is_an_error);
    tcase_add_test(answers, a_head_that_begins_in_the_middle_of_a_header_is_an_error);
    tcase_add_test(answers, blanks_anywhere_else_are_fine);
    tcase_add_test(answers, a_body_has_a_limit);
    tcase_add_test(connections, a_port_where_nobody_listens_refuses);
    tcase_add_test(connections, a_server_that_has_gone_refuses_too);
    tcase_add_test(connections, without_descriptors_a_request_fails);
    tcase_add_test(connections, a_socket_that_cannot_be_watched_ends_its_request);
    tcase_add_test(connections, what_fails_leaves_the_others_alone);
    return suite_end(suite);
}
