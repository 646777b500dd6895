/* SPDX-License-Identifier: MIT */
/* Servers and streams when the system fails them: no descriptors, no memory, each call in turn. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "server_scene.h"

#include <sys/resource.h>

/* Shortages of accept() */

static uint64_t
turns(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.turns;
}

static intptr_t
accept_fails(void *arg)
{
    int error = *(int *) arg;
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client;
    uint64_t before;

    uco_test_settle();
    uco_test_fail("accept4", 1, true, error);
    client = client_of(server);
    ck_assert_int_eq(uco_stream_printf(client, "x"), 1);
    before = turns();
    ck_assert_int_eq(uco_with_timeout(10, reads, client), -ETIMEDOUT);
    /* Ten tries a second, a few turns each. */
    ck_assert_uint_gt(turns() - before, 50);
    ck_assert_uint_lt(turns() - before, 1500);
    uco_test_fail_off();
    ck_assert_int_eq(reads(client), 1);
    uco_test_settle();
    /* Another episode is another report. */
    uco_test_fail("accept4", 1, true, error);
    ck_assert_int_eq(uco_stream_close(client), 0);
    client = client_of(server);
    uco_sleep(1);
    uco_test_fail_off();
    exchange(client, "y");
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(a_shortage_pauses_accepting_is_reported_once_and_passes)
{
    static int errors[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};

    for (size_t i = 0; i < COUNT(errors); i++) {
        struct reports reports;
        uco_loop_options options = reporting(&reports);

        ck_assert_int_eq(uco_run_with(&options, accept_fails, &errors[i]), 0);
        ck_assert_uint_eq(reports.count, 2);
        ck_assert_ptr_nonnull(strstr(reports.last, "cannot accept"));
    }
}
END_TEST

static intptr_t
descriptors_run_out(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    struct rlimit limit, low;
    uco_stream *clients[2];

    (void) arg;
    clients[0] = client_of(server);
    exchange(clients[0], "x");
    clients[1] = client_of(server);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t) uco_stream_fd(clients[1]) + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    ck_assert_int_eq(uco_stream_printf(clients[1], "y"), 1);
    ck_assert_int_eq(uco_with_timeout(10, reads, clients[1]), -ETIMEDOUT);
    exchange(clients[0], "those that are there go on");
    ck_assert_int_eq(uco_stream_close(clients[0]), 0);
    ck_assert_int_eq(reads(clients[1]), 1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(uco_stream_close(clients[1]), 0);
    return uco_server_close(server, 1);
}

START_TEST(when_descriptors_run_out_connections_wait_for_one)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.backend = UCO_BACKEND_EPOLL; /* a ring keeps to the limit of when it began to accept */
    ck_assert_int_eq(uco_run_with(&options, descriptors_run_out, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

static intptr_t
connections_are_gone(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client;
    uint64_t before;

    uco_test_settle();
    uco_test_fail("accept4", 1, *(bool *) arg, ECONNABORTED);
    client = client_of(server);
    ck_assert_int_eq(uco_stream_printf(client, "x"), 1);
    if (*(bool *) arg) {
        before = turns();
        ck_assert_int_eq(uco_with_timeout(10, reads, client), -ETIMEDOUT);
        ck_assert_uint_lt(turns() - before, 1500);
        uco_test_fail_off();
    }
    ck_assert_int_eq(uco_with_timeout(*(bool *) arg ? 1 : 0.001, reads, client), 1);
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(after_a_connection_that_is_gone_the_next_is_accepted_at_once)
{
    static bool for_ever[] = {false, true};

    for (size_t i = 0; i < COUNT(for_ever); i++) {
        struct reports reports;
        uco_loop_options options = reporting(&reports);

        ck_assert_int_eq(uco_run_with(&options, connections_are_gone, &for_ever[i]), 0);
        ck_assert_uint_eq(reports.count, for_ever[i] ? 1 : 0);
    }
}
END_TEST

static intptr_t
listener_breaks(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client = client_of(server);

    (void) arg;
    exchange(client, "x");
    ck_assert_int_eq(shutdown(server->fd, SHUT_RD), 0);
    uco_test_settle();
    exchange(client, "those that are there go on");
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(a_server_whose_socket_breaks_says_so_and_serves_on)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, listener_breaks, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "has stopped accepting"));
}
END_TEST

static intptr_t
no_stacks(void *arg)
{
    /* A size that the pool has none of. */
    uco_server_options options = {.host = "127.0.0.1", .stack_size = 1024 * 1024};
    uco_server *server = uco_server_start_with(&options, echoes, NULL);
    uco_stream *client;

    (void) arg;
    ck_assert_ptr_nonnull(server);
    uco_test_settle();
    uco_test_fail("mmap", 1, true, ENOMEM);
    client = client_of(server);
    ck_assert_int_eq(reads(client), 0); /* it was accepted, and had to be given up */
    ck_assert_int_eq(uco_stream_close(client), 0);
    uco_test_fail_off();
    client = client_of(server);
    exchange(client, "x");
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 1);
}

START_TEST(a_connection_without_a_stack_is_closed_and_the_next_may_be_served)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, no_stacks, NULL), 0);
    ck_assert_uint_ge(reports.count, 1);
}
END_TEST

static intptr_t
no_stack_for_the_server(void *arg)
{
    uco_server *server = server_of(echoes, NULL);

    (void) arg;
    uco_test_fail("mmap", 1, true, ENOMEM);
    uco_test_settle();
    uco_test_fail_off();
    ck_assert_int_eq(uco_dial("127.0.0.1", uco_server_port(server)), -ECONNREFUSED);
    return uco_server_close(server, 0);
}

START_TEST(a_server_without_a_stack_says_so)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.stack_size = (size_t) 256 * 1024 * 1024; /* such are made one by one */
    ck_assert_int_eq(uco_run_with(&options, no_stack_for_the_server, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "does not accept"));
}
END_TEST

/* Each call in turn */

struct fault {
    const char *what;
    int error;
    bool for_ever;
    unsigned long nth;
};

/* Both sides are uco's; what fails is told, and nothing hangs or is lost. */
static intptr_t
exchanges(void *arg)
{
    uint16_t port = uco_server_port(arg);
    uco_stream *s = uco_stream_dial("127.0.0.1", port);
    const char *line;
    ssize_t r;

    if (s == NULL)
        return -errno;
    r = uco_stream_printf(s, "hello\n");
    if (r >= 0)
        r = uco_stream_read_line(s, &line);
    if (r > 0) { /* 0: the other side had to give it up */
        ck_assert_int_eq(r, 6);
        ck_assert_mem_eq(line, "hello\n", 6);
    }
    uco_stream_close(s);
    return r;
}

/* While something fails there may be no answer, but there is an end. Afterwards all is well. */
static intptr_t
whole_exchange(void *arg)
{
    const struct fault *fault = arg;
    uco_server *server;

    uco_test_fail(fault->what, fault->nth, fault->for_ever, fault->error);
    server = uco_server_start("127.0.0.1", 0, echoes, NULL);
    if (server != NULL)
        uco_with_timeout(5, exchanges, server);
    uco_test_fail_off();
    if (server == NULL)
        return 0;
    ck_assert_int_eq(uco_with_timeout(5, exchanges, server), 6);
    return uco_server_close(server, 0);
}

static void
each_call_fails(const char *what, int error, unsigned long calls)
{
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        for (unsigned long nth = 1; nth <= calls; nth++) {
            struct reports reports;
            uco_loop_options options = reporting(&reports);
            struct fault fault = {what, error, for_ever != 0, nth};

            ck_assert_int_eq(uco_run_with(&options, whole_exchange, &fault), 0);
        }
    }
}

START_TEST(each_allocation_may_fail)
{
    each_call_fails("malloc", ENOMEM, 40);
}
END_TEST

START_TEST(each_mapping_may_fail)
{
    each_call_fails("mmap", ENOMEM, 10);
}
END_TEST

START_TEST(each_read_may_fail)
{
    each_call_fails("read", EIO, 12);
    each_call_fails("read", ENOMEM, 12);
}
END_TEST

START_TEST(each_write_may_fail)
{
    each_call_fails("write", EIO, 12);
    each_call_fails("write", ENOBUFS, 12);
}
END_TEST

START_TEST(each_epoll_ctl_may_fail)
{
    each_call_fails("epoll_ctl", ENOMEM, 12);
    each_call_fails("epoll_ctl", ENOSPC, 12);
}
END_TEST

START_TEST(each_other_call_may_fail)
{
    each_call_fails("accept4", EMFILE, 5);
    each_call_fails("socket", EMFILE, 4);
    each_call_fails("bind", EADDRINUSE, 2);
    each_call_fails("listen", EADDRINUSE, 2);
    each_call_fails("getsockopt", ENOBUFS, 8);
    each_call_fails("setsockopt", ENOBUFS, 4);
    each_call_fails("poll", ENOMEM, 4);
    each_call_fails("connect", ENETUNREACH, 4);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("server_faults");
    TCase *tcase = case_new(suite, "accept");

    tcase_add_test(tcase, a_shortage_pauses_accepting_is_reported_once_and_passes);
    tcase_add_test(tcase, when_descriptors_run_out_connections_wait_for_one);
    tcase_add_test(tcase, after_a_connection_that_is_gone_the_next_is_accepted_at_once);
    tcase_add_test(tcase, a_server_whose_socket_breaks_says_so_and_serves_on);
    tcase_add_test(tcase, a_connection_without_a_stack_is_closed_and_the_next_may_be_served);

    tcase_add_test(tcase, a_server_without_a_stack_says_so);

    tcase = case_new(suite, "each");
    tcase_add_test(tcase, each_allocation_may_fail);
    tcase_add_test(tcase, each_mapping_may_fail);
    tcase_add_test(tcase, each_read_may_fail);
    tcase_add_test(tcase, each_write_may_fail);
    tcase_add_test(tcase, each_epoll_ctl_may_fail);
    tcase_add_test(tcase, each_other_call_may_fail);
    return suite_end(suite);
}
