/* SPDX-License-Identifier: MIT */
/* Servers: accepting, limits, and their close. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "server_scene.h"

#include <math.h>
#include <netinet/tcp.h>

/* Connections */

static intptr_t
serves_many(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *clients[50];

    (void) arg;
    for (size_t i = 0; i < COUNT(clients); i++)
        clients[i] = client_of(server);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT(clients); i++)
            exchange(clients[i], "ping");
    }
    ck_assert_uint_eq(server->connections, COUNT(clients));
    for (size_t i = 0; i < COUNT(clients); i++)
        ck_assert_int_eq(uco_stream_close(clients[i]), 0);
    uco_test_settle();
    ck_assert_uint_eq(server->connections, 0);
    ck_assert_int_eq(uco_server_close(server, UCO_FOREVER), 0);
    return 0;
}

START_TEST(a_server_runs_a_task_for_each_connection)
{
    ck_assert_int_eq(run_virtual(serves_many, NULL), 0);
}
END_TEST

static intptr_t
serves_one(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client = client_of(server);

    (void) arg;
    exchange(client, "one");
    exchange(client, "two");
    ck_assert_int_eq(uco_stream_shutdown(client), 0);
    ck_assert_int_eq(reads(client), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_server_close(server, 1), 0);
    return 0;
}

START_TEST(an_exchange_works_in_each_order)
{
    run_in_all_orders(serves_one, NULL);
}
END_TEST

static intptr_t
has_no_delay(uco_stream *s, void *arg)
{
    int on = 0;
    socklen_t size = sizeof on;

    (void) arg;
    ck_assert_int_eq(getsockopt(uco_stream_fd(s), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    return uco_stream_printf(s, "%s", on != 0 ? "on" : "off");
}

static intptr_t
checks_no_delay(void *arg)
{
    uco_server *server = server_of(has_no_delay, NULL);
    uco_stream *client = client_of(server);

    (void) arg;
    read_text(client, 100, "on");
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(connections_send_small_messages_at_once)
{
    ck_assert_int_eq(run_virtual(checks_no_delay, NULL), 0);
}
END_TEST

static intptr_t
listens_elsewhere(void *arg)
{
    uco_server_options options = {.host = "unix:@uco-test-server"};
    uco_server *server = uco_server_start_with(&options, echoes, NULL);
    uco_stream *client = uco_stream_dial("unix:@uco-test-server", 0);

    (void) arg;
    ck_assert_ptr_nonnull(server);
    ck_assert_uint_eq(uco_server_port(server), 0);
    exchange(client, "unix");
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_server_close(server, 1), 0);

    server = (uco_server_start_with) (NULL, echoes, NULL);
    ck_assert_ptr_nonnull(server);
    client = client_of(server);
    exchange(client, "any");
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_server_close(server, 1), 0);

    options = (uco_server_options){.fd = uco_listen("127.0.0.1", 0, 0)};
    ck_assert_int_ge(options.fd, 0);
    server = uco_server_start_with(&options, echoes, NULL);
    ck_assert_ptr_nonnull(server);
    client = client_of(server);
    exchange(client, "given");
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_server_close(server, 1), 0);
    ck_assert_int_eq(fcntl(options.fd, F_GETFD), -1);
    return 0;
}

START_TEST(a_server_listens_where_it_is_told)
{
    ck_assert_int_eq(run_virtual(listens_elsewhere, NULL), 0);
}
END_TEST

static intptr_t
shares_a_port(void *arg)
{
    uco_server_options options = {.host = "127.0.0.1", .reuse_port = true};
    uco_server *one = uco_server_start_with(&options, echoes, NULL), *two;

    (void) arg;
    ck_assert_ptr_nonnull(one);
    options.port = uco_server_port(one);
    two = uco_server_start_with(&options, echoes, NULL);
    ck_assert_ptr_nonnull(two);
    ck_assert_ptr_null(uco_server_start("127.0.0.1", options.port, echoes, NULL));
    ck_assert_int_eq(errno, EADDRINUSE);
    ck_assert_int_eq(uco_server_close(one, 0), 0);
    return uco_server_close(two, 0);
}

START_TEST(servers_can_share_a_port)
{
    ck_assert_int_eq(run_virtual(shares_a_port, NULL), 0);
}
END_TEST

static intptr_t
limits_connections(void *arg)
{
    uco_server_options options = {.host = "127.0.0.1", .max_connections = 2};
    uco_server *server = uco_server_start_with(&options, echoes, NULL);
    uco_stream *clients[3];

    (void) arg;
    for (size_t i = 0; i < COUNT(clients); i++) {
        clients[i] = client_of(server);
        ck_assert_int_eq(uco_stream_printf(clients[i], "x"), 1);
    }
    ck_assert_int_eq(reads(clients[0]), 1);
    ck_assert_int_eq(reads(clients[1]), 1);
    ck_assert_int_eq(uco_with_timeout(10, reads, clients[2]), -ETIMEDOUT);
    ck_assert_uint_eq(server->connections, 2);
    ck_assert_int_eq(uco_stream_close(clients[0]), 0);
    ck_assert_int_eq(reads(clients[2]), 1);
    ck_assert_int_eq(uco_stream_close(clients[1]), 0);
    ck_assert_int_eq(uco_stream_close(clients[2]), 0);
    return uco_server_close(server, 1);
}

START_TEST(above_the_limit_connections_wait)
{
    run_in_all_orders(limits_connections, NULL);
}
END_TEST

/* Handlers */

static intptr_t
returns_error(uco_stream *s, void *arg)
{
    (void) s;
    return *(int *) arg;
}

static intptr_t
handler_fails(void *arg)
{
    uco_server *server = server_of(returns_error, arg);

    for (int i = 0; i < 2; i++) {
        uco_stream *client = client_of(server);

        ck_assert_int_eq(reads(client), 0);
        ck_assert_int_eq(uco_stream_close(client), 0);
    }
    return uco_server_close(server, 1);
}

START_TEST(the_errors_of_connections_are_silent_and_others_reported)
{
    static int errors[] = {-ECONNRESET, -EPIPE, -ECANCELED, -ETIMEDOUT, -ENODATA, 0, 7, -EINVAL};

    for (size_t i = 0; i < COUNT(errors); i++) {
        struct reports reports;
        uco_loop_options options = reporting(&reports);

        ck_assert_int_eq(uco_run_with(&options, handler_fails, &errors[i]), 0);
        ck_assert_uint_eq(reports.count, errors[i] == -EINVAL ? 2 : 0);
        if (reports.count > 0)
            ck_assert_ptr_nonnull(strstr(reports.last, "task 'Task-"));
    }
}
END_TEST

static intptr_t
closes_itself(uco_stream *s, void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_stream_printf(s, "bye"), 3);
    ck_assert_int_eq(uco_stream_close(s), 0);
    ck_assert_int_eq(uco_stream_close(s), -EBADF);
    ck_assert_int_eq(uco_stream_printf(s, "more"), -EBADF);
    ck_assert_int_eq(uco_stream_fd(s), -EBADF);
    return 0;
}

static intptr_t
handler_closes(void *arg)
{
    uco_server *server = server_of(closes_itself, NULL);
    uco_stream *client = client_of(server);

    (void) arg;
    read_text(client, 100, "bye");
    ck_assert_int_eq(reads(client), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(a_handler_may_close_its_stream)
{
    run_in_all_orders(handler_closes, NULL);
}
END_TEST

static intptr_t
closes_stream(void *arg)
{
    return uco_stream_close(arg);
}

static uco_task *other_closer;

/* Not as a child: it goes on when the handler has returned. */
static intptr_t
is_closed_by_another(uco_stream *s, void *arg)
{
    static char much[4 * 1024 * 1024];
    const uco_task_options at_once = {.eager = true};

    ck_assert_int_eq(uco_stream_set_water_marks(s, sizeof much, sizeof much), 0);
    ck_assert_int_eq(uco_stream_write(s, much, sizeof much), (ssize_t) sizeof much);
    if (*(bool *) arg)
        uco_stream_write(s, much, sizeof much);
    other_closer = uco_create_task_with(&at_once, closes_stream, s);
    uco_detach(other_closer);
    uco_sleep(0.001);
    return 0;
}

static intptr_t
others_close(void *arg)
{
    static char buf[1024 * 1024];
    uco_server *server = server_of(is_closed_by_another, arg);
    uco_stream *client = client_of(server);
    ssize_t r = 1;

    uco_sleep(1);
    if (!*(bool *) arg) {
        while (r > 0)
            r = uco_stream_read(client, buf, sizeof buf);
        ck_assert_int_eq(r, 0);
    }
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    ck_assert_int_le(uco_join(other_closer), 0);
    return uco_stream_close(client);
}

START_TEST(another_task_may_close_a_handlers_stream)
{
    static bool stalls[] = {false, true};

    for (size_t i = 0; i < COUNT(stalls); i++) {
        for (uint64_t seed = 0; seed < 10; seed++)
            ck_assert_int_eq(run_seeded(seed, others_close, &stalls[i]), 0);
    }
}
END_TEST

struct child {
    uco_stream *s;
    intptr_t result;
};

/* Goes on with the stream until that fails, and once more. */
static intptr_t
uses_the_stream(void *arg)
{
    struct child *child = arg;
    uco_scope scope;

    child->result = reads(child->s);
    ck_assert_int_eq(uco_shield_open(&scope, 1), 0);
    uco_sleep(0.5);
    ck_assert_int_eq(reads(child->s), -EBADF);
    ck_assert_int_eq(uco_stream_printf(child->s, "x"), -EBADF);
    uco_scope_close(&scope, 0);
    return 0;
}

static intptr_t
leaves_a_child(uco_stream *s, void *arg)
{
    struct child *child = arg;

    child->s = s;
    uco_unref(uco_create_task(uses_the_stream, child));
    uco_sleep(0.001);
    return uco_stream_printf(s, "done");
}

static intptr_t
child_outlives_handler(void *arg)
{
    struct child child = {.result = 1};
    uco_server *server = server_of(leaves_a_child, &child);
    uco_stream *client = client_of(server);

    (void) arg;
    read_text(client, 100, "done");
    ck_assert_int_eq(reads(client), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_server_close(server, UCO_FOREVER), 0);
    ck_assert(child.result == -EBADF || child.result == -ECANCELED);
    return 0;
}

START_TEST(a_handlers_tasks_may_still_know_the_stream_when_it_has_returned)
{
    run_in_all_orders(child_outlives_handler, NULL);
}
END_TEST

/* The close */

static intptr_t
closes_with_grace(void *arg)
{
    double grace = *(double *) arg;
    uco_server *server = server_of(echoes, NULL);
    uint16_t port = uco_server_port(server);
    uco_stream *client = client_of(server);
    double began;
    int fd;

    exchange(client, "x");
    began = uco_time();
    ck_assert_int_eq(uco_server_close(server, grace), 0);
    ck_assert_double_ge(uco_time() - began, grace);
    ck_assert_double_le(uco_time() - began, grace + 1e-6);
    ck_assert_int_eq(reads(client), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    fd = uco_dial("127.0.0.1", port);
    ck_assert_int_eq(fd, -ECONNREFUSED);
    return 0;
}

START_TEST(a_close_cancels_the_handlers_after_the_grace)
{
    static double graces[] = {0, 7};

    for (size_t i = 0; i < COUNT(graces); i++)
        run_in_all_orders(closes_with_grace, &graces[i]);
}
END_TEST

static intptr_t
closes_server(void *arg)
{
    return uco_server_close(arg, UCO_FOREVER);
}

static intptr_t
close_waits(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client = client_of(server);
    uco_task *task;

    (void) arg;
    exchange(client, "before");
    task = parked(closes_server, server);
    ck_assert_int_eq(uco_server_close(server, 0), -EBADF);
    exchange(client, "meanwhile");
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_join(task), 0);

    server = server_of(echoes, NULL);
    client = client_of(server);
    exchange(client, "x");
    task = parked(closes_server, server);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(reads(client), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    return 0;
}

START_TEST(within_the_grace_connections_go_on)
{
    run_in_all_orders(close_waits, NULL);
}
END_TEST

static intptr_t
ignores_for_a_while(uco_stream *s, void *arg)
{
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(reads(s), -ECANCELED);
    ck_assert_int_eq(uco_stream_printf(s, "x"), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&scope, 60), 0);
    uco_sleep(25);
    ck_assert_int_eq(uco_stream_printf(s, "bye"), 3);
    uco_scope_close(&scope, 0);
    return 0;
}

static intptr_t
close_meets_stubborn_handler(void *arg)
{
    uco_server *server = server_of(ignores_for_a_while, NULL);
    uco_stream *client = client_of(server);
    double began;

    (void) arg;
    uco_test_settle();
    began = uco_time();
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    ck_assert_double_ge(uco_time() - began, 25);
    read_text(client, 100, "bye");
    ck_assert_int_eq(reads(client), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    return 0;
}

START_TEST(a_handler_that_ignores_its_cancellation_is_waited_for_and_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, close_meets_stubborn_handler, NULL), 0);
    ck_assert_uint_eq(reports.count, 2);
    ck_assert_ptr_nonnull(strstr(reports.last, "Task-"));
}
END_TEST

static intptr_t
closes_own_server(uco_stream *s, void *arg)
{
    uco_server **server = arg;

    ck_assert_int_eq(uco_server_close(*server, 0), -EDEADLK);
    return uco_stream_printf(s, "no");
}

static intptr_t
handler_closes_server(void *arg)
{
    uco_server *server;
    uco_stream *client;

    (void) arg;
    server = server_of(closes_own_server, &server);
    client = client_of(server);
    read_text(client, 100, "no");
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(a_handler_cannot_close_its_own_server)
{
    ck_assert_int_eq(run_virtual(handler_closes_server, NULL), 0);
}
END_TEST

/* Nobody has seen the connection yet. */
static intptr_t
closes_at_once(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    int fd = tcp_connect(uco_server_port(server));

    for (intptr_t i = 0; i < (intptr_t) arg; i++)
        uco_yield();
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    close(fd);
    return uco_server_close(NULL, 0);
}

START_TEST(a_server_can_be_closed_at_any_step)
{
    for (intptr_t steps = 0; steps < 8; steps++)
        run_in_all_orders(closes_at_once, (void *) steps);
}
END_TEST

/* The loop's close */

static int started_at;
static uco_stream *left_client;

static intptr_t
starts_in_a_task(void *arg)
{
    uco_server **server = arg;

    started_at = __LINE__ + 1;
    *server = uco_server_start("127.0.0.1", 0, echoes, NULL);
    return 0;
}

static intptr_t
leaves_server_open(void *arg)
{
    uco_server *server;

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(starts_in_a_task, &server)), 0);
    left_client = client_of(server);
    exchange(left_client, "it goes on");
    return 0;
}

START_TEST(a_server_outlives_its_starter_and_is_closed_and_reported_by_the_loop)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char expected[100];

    ck_assert_int_eq(uco_run_with(&options, leaves_server_open, NULL), 0);
    ck_assert_uint_eq(reports.count, 2); /* the client too, but not the handler's stream */
    snprintf(expected, sizeof expected, "test_server.c:%d", started_at);
    ck_assert_ptr_nonnull(strstr(reports.all, "server opened at"));
    ck_assert_ptr_nonnull(strstr(reports.all, expected));
    ck_assert_ptr_nonnull(strstr(reports.all, "stream opened at"));
}
END_TEST

/* A second close, by one who has had 63 calls finish at once: the next one lets others run. */
struct late_close {
    uco_server *server;
    int step; /* of the first close */
    bool closed;
};

static intptr_t
closes_late(void *arg)
{
    const struct late_close *late = arg;
    uco_event event = {0};

    uco_event_set(&event);
    for (int i = 0; i < late->step; i++)
        uco_yield();
    for (int i = 0; i < 63; i++)
        ck_assert_int_eq(uco_event_wait(&event), 0);
    return late->closed ? -EBADF : uco_server_close(late->server, 0);
}

static intptr_t
closed_twice(void *arg)
{
    struct late_close *late = arg;
    uco_task *task;

    late->server = server_of(echoes, NULL);
    late->closed = false;
    uco_test_settle();
    task = uco_create_task(closes_late, late);
    ck_assert_int_eq(uco_server_close(late->server, 0), 0);
    late->closed = true;
    ck_assert_int_eq(uco_join(task), -EBADF);
    return 0;
}

START_TEST(a_second_close_is_refused_before_it_lets_others_run)
{
    struct late_close late;

    for (late.step = 0; late.step < 8; late.step++)
        ck_assert_int_eq(run_fifo(closed_twice, &late), 0);
}
END_TEST

/* Bad input */

static intptr_t
starts_badly(void *arg)
{
    uco_server_options options = {.stack_size = 1};
    int ends[2];

    (void) arg;
    ck_assert_ptr_null(uco_server_start("127.0.0.1", 0, NULL, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(uco_server_start_with(&options, echoes, NULL));
    ck_assert_int_eq(errno, EINVAL);
    options = (uco_server_options){.tls_timeout = NAN};
    ck_assert_ptr_null(uco_server_start_with(&options, echoes, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    options = (uco_server_options){.fd = ends[0]};
    ck_assert_ptr_null(uco_server_start_with(&options, echoes, NULL));
    ck_assert_int_eq(errno, EINVAL);
    close(ends[0]);
    close(ends[1]);
    ck_assert_ptr_null(uco_server_start_with(&options, echoes, NULL));
    ck_assert_int_eq(errno, EBADF);
    ck_assert_uint_eq(uco_server_port(NULL), 0);
    return 0;
}

static intptr_t
starts_tls_badly(void *arg)
{
    uco_tls_options tls = {.cert_file = "/nonexistent/certificate"};
    uco_server_options options = {.host = "127.0.0.1", .tls = &tls};

    (void) arg;
    ck_assert_ptr_null(uco_server_start_with(&options, echoes, NULL));
    ck_assert(errno == ENOENT || errno == ENOSYS);
    return 0;
}

START_TEST(a_server_without_its_certificate_does_not_start)
{
    ck_assert_int_eq(run_virtual(starts_tls_badly, NULL), 0);
}
END_TEST

static intptr_t
closes_badly(void *arg)
{
    uco_server *server = server_of(echoes, NULL);

    (void) arg;
    ck_assert_int_eq(uco_server_close(server, NAN), -EINVAL);
    return uco_server_close(server, -1);
}

START_TEST(bad_input_is_refused)
{
    ck_assert_int_eq(run_virtual(starts_badly, NULL), 0);
    ck_assert_int_eq(run_virtual(closes_badly, NULL), 0);
    ck_assert_ptr_null((uco_server_start) ("127.0.0.1", 0, echoes, NULL));
    ck_assert_int_eq(errno, EPERM);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("server");
    TCase *tcase = case_new(suite, "accept");

    tcase_add_test(tcase, a_server_runs_a_task_for_each_connection);
    tcase_add_test(tcase, an_exchange_works_in_each_order);
    tcase_add_test(tcase, connections_send_small_messages_at_once);
    tcase_add_test(tcase, a_server_listens_where_it_is_told);
    tcase_add_test(tcase, servers_can_share_a_port);
    tcase_add_test(tcase, above_the_limit_connections_wait);
    tcase_add_test(tcase, bad_input_is_refused);
    tcase_add_test(tcase, a_server_without_its_certificate_does_not_start);

    tcase = case_new(suite, "handler");
    tcase_add_test(tcase, the_errors_of_connections_are_silent_and_others_reported);
    tcase_add_test(tcase, a_handler_may_close_its_stream);
    tcase_add_test(tcase, another_task_may_close_a_handlers_stream);
    tcase_add_test(tcase, a_handlers_tasks_may_still_know_the_stream_when_it_has_returned);

    tcase = case_new(suite, "close");
    tcase_add_test(tcase, a_close_cancels_the_handlers_after_the_grace);
    tcase_add_test(tcase, within_the_grace_connections_go_on);
    tcase_add_test(tcase, a_handler_that_ignores_its_cancellation_is_waited_for_and_reported);
    tcase_add_test(tcase, a_handler_cannot_close_its_own_server);
    tcase_add_test(tcase, a_server_can_be_closed_at_any_step);
    tcase_add_test(tcase, a_second_close_is_refused_before_it_lets_others_run);
    tcase_add_test(tcase, a_server_outlives_its_starter_and_is_closed_and_reported_by_the_loop);
    return suite_end(suite);
}
