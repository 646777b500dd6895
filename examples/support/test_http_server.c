/* SPDX-License-Identifier: MIT */

/* The examples' HTTP server, spoken to byte by byte: here is what no HTTP client would send. */

#include "http_server.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <support.h>

enum { ANSWER = 4096 };

struct talk {
    struct http_server server;
    const char *request;
    size_t piece; /* bytes sent at once; 0 = all */
    char answer[ANSWER];
};

static int
dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_connect(fd, (struct sockaddr *) &address, sizeof address), 0);
    return fd;
}

/* All that comes until the server closes. */
static void
answer_read(int fd, char answer[ANSWER])
{
    size_t used = 0;
    ssize_t n;

    while ((n = uco_read(fd, answer + used, ANSWER - 1 - used)) > 0)
        used += (size_t) n;
    ck_assert_int_eq(n, 0);
    answer[used] = '\0';
}

static intptr_t
talk(void *arg)
{
    struct talk *t = arg;
    size_t size = strlen(t->request);
    size_t piece = t->piece > 0 ? t->piece : size;
    uco_task *server;
    int fd;

    ck_assert_int_eq(http_server_open(&t->server, 0), 0);
    server = uco_create_task(http_server_run, &t->server);
    fd = dial(t->server.port);
    for (size_t done = 0; done < size; done += piece) {
        size_t n = size - done < piece ? size - done : piece;

        ck_assert_int_eq(uco_write_all(fd, t->request + done, n, NULL), (ssize_t) n);
        uco_test_settle();
    }
    answer_read(fd, t->answer);
    uco_close(fd);

    ck_assert_int_eq(uco_cancel(server), 0);
    ck_assert_int_eq(uco_join(server), -ECANCELED);
    ck_assert_uint_eq(t->server.open, 0);
    return 0;
}

/* What the server answers until it closes the connection. */
static char *
answer_to(struct talk *t, const char *request, size_t piece)
{
    t->request = request;
    t->piece = piece;
    ck_assert_int_eq(run_real(talk, t), 0);
    return t->answer;
}

START_TEST(a_request_in_single_bytes_is_understood)
{
    struct talk t;
    const char *answer = answer_to(&t, "GET /bytes/3 HTTP/1.1\r\nConnection: close\r\n\r\n", 1);

    ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    ck_assert_ptr_nonnull(strstr(answer, "Content-Length: 3\r\n"));
    ck_assert(http_page_check(strstr(answer, "\r\n\r\n") + 4, 3, 3));
}
END_TEST

START_TEST(two_requests_in_one_piece_get_two_answers)
{
    struct talk t;
    const char *answer =
        answer_to(&t, "GET /hello HTTP/1.1\r\n\r\nGET /no HTTP/1.1\r\nconnection:close\r\n\r\n", 0);

    ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 200 OK\r\n"), answer);
    ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\nhello from uco\nHTTP/1.1 404 Not Found\r\n"));
    ck_assert_uint_eq(t.server.served, 2);
}
END_TEST

START_TEST(http_1_0_closes_after_its_answer)
{
    struct talk t;

    ck_assert_ptr_nonnull(strstr(answer_to(&t, "GET /hello HTTP/1.0\r\n\r\n", 0), "200 OK"));
}
END_TEST

START_TEST(what_is_no_http_gets_400)
{
    static const char *const requests[] = {"\r\n\r\n", "hello\r\n\r\n", "GET\r\n\r\n",
                                           "GET hello HTTP/1.1\r\n\r\n", "GET /hello\r\n\r\n"};
    struct talk t;

    for (size_t i = 0; i < COUNT(requests); i++)
        ck_assert_ptr_nonnull(strstr(answer_to(&t, requests[i], 0), "400 Bad Request"));
}
END_TEST

START_TEST(numbers_have_limits)
{
    static const char *const requests[] = {
        "GET /bytes/-1 HTTP/1.0\r\n\r\n", "GET /bytes/99999999999999999999 HTTP/1.0\r\n\r\n",
        "GET /bytes/1x HTTP/1.0\r\n\r\n", "GET /slow/60001 HTTP/1.0\r\n\r\n",
        "GET /slow/1x HTTP/1.0\r\n\r\n",  "GET /bytes/67108865 HTTP/1.0\r\n\r\n",
    };
    struct talk t;

    for (size_t i = 0; i < COUNT(requests); i++)
        ck_assert_ptr_nonnull(strstr(answer_to(&t, requests[i], 0), "400 Bad Request"));
}
END_TEST

START_TEST(an_endless_header_gets_431)
{
    struct talk t;
    char *request = malloc(8 * 1024 + 1);

    ck_assert_ptr_nonnull(request);
    memset(request, 'x', 8 * 1024);
    request[8 * 1024] = '\0';
    ck_assert_ptr_nonnull(strstr(answer_to(&t, request, 0), "431 "));
    free(request);
}
END_TEST

START_TEST(a_silent_client_is_sent_away)
{
    struct talk t = {.request = "GET /hello"};

    ck_assert_int_eq(run_virtual(talk, &t), 0);
    ck_assert_str_eq(t.answer, "");
}
END_TEST

START_TEST(only_get_is_served)
{
    struct talk t;
    const char *answer = answer_to(&t, "POST /hello HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 0);

    ck_assert_ptr_nonnull(strstr(answer, "405 "));
}
END_TEST

/* A slow answer is under way when the server is cancelled. */
static intptr_t
cancel_under_way(void *arg)
{
    static const char request[] = "GET /slow/60000 HTTP/1.1\r\n\r\n";
    struct http_server *server = arg;
    uco_task *task;
    int fd;
    char byte;

    ck_assert_int_eq(http_server_open(server, 0), 0);
    task = uco_create_task(http_server_run, server);
    fd = dial(server->port);
    uco_write_all(fd, request, sizeof request - 1, NULL);
    uco_test_settle();
    ck_assert_uint_eq(server->open, 1);

    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_uint_eq(server->open, 0);
    ck_assert_int_eq(uco_read(fd, &byte, 1), 0);
    return uco_close(fd);
}

START_TEST(a_cancelled_server_closes_its_connections)
{
    struct http_server server;

    ck_assert_int_eq(run_real(cancel_under_way, &server), 0);
}
END_TEST

static intptr_t
never_started(void *arg)
{
    uco_task_options options = {.discard = http_server_discard};
    uco_task *task;

    ck_assert_int_eq(http_server_open(arg, 0), 0);
    task = uco_create_task_with(&options, http_server_run, arg);
    uco_cancel(task);
    return uco_join(task);
}

START_TEST(a_server_that_never_ran_closes_its_socket)
{
    struct http_server server;

    ck_assert_int_eq(run_virtual(never_started, &server),
                     -ECANCELED); /* and the ledger counts fds */
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http_server");
    TCase *tcase = case_new(suite, "http_server");

    tcase_add_test(tcase, a_request_in_single_bytes_is_understood);
    tcase_add_test(tcase, two_requests_in_one_piece_get_two_answers);
    tcase_add_test(tcase, http_1_0_closes_after_its_answer);
    tcase_add_test(tcase, what_is_no_http_gets_400);
    tcase_add_test(tcase, numbers_have_limits);
    tcase_add_test(tcase, an_endless_header_gets_431);
    tcase_add_test(tcase, a_silent_client_is_sent_away);
    tcase_add_test(tcase, only_get_is_served);
    tcase_add_test(tcase, a_cancelled_server_closes_its_connections);
    tcase_add_test(tcase, a_server_that_never_ran_closes_its_socket);
    return suite_end(suite);
}
