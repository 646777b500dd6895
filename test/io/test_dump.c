/* SPDX-License-Identifier: MIT */
/* What a dump tells of file descriptors, streams, servers, processes and signals. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/dumped.h"
#include "server_scene.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

static const char *
settled_dump(void)
{
    ck_assert_int_eq(uco_test_settle(), 0);
    return dumped(uco_get_running_loop());
}

static void
end_all(uco_task *tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco_cancel(tasks[i]);
    for (size_t i = 0; i < n; i++)
        uco_join(tasks[i]);
}

static const char *
fd_text(int fd, const char *what)
{
    static char text[100];

    snprintf(text, sizeof text, "fd %d to be %s", fd, what);
    return text;
}

/* --- file descriptors --- */

static intptr_t
reads_a_byte(void *fd)
{
    char byte;

    return uco_read(*(int *) fd, &byte, 1);
}

static intptr_t
polls(void *fd)
{
    return uco_poll(*(int *) fd, POLLIN | POLLOUT, 30.0);
}

static intptr_t
fills(void *fd)
{
    char bytes[4096] = {0};
    ssize_t n;

    do
        n = uco_write(*(int *) fd, bytes, sizeof bytes);
    while (n >= 0);
    return n;
}

static intptr_t
looks_at_fds(void *arg)
{
    int a[2], b[2];
    uco_task *tasks[3];
    const char *text;

    (void) arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    tasks[0] = named("reads", reads_a_byte, &a[0]);
    tasks[1] = named("fills", fills, &b[0]);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_cancel(tasks[1]);
    uco_join(tasks[1]);
    tasks[1] = named("fills", fills, &b[0]);
    text = settled_dump();
    ck_assert_tells(dumped_line(text, "reads"), fd_text(a[0], "readable; since "));
    ck_assert_tells(dumped_line(text, "fills"), fd_text(b[0], "writable; since "));
    end_all(&tasks[1], 1);
    tasks[1] = named("polls", polls, &b[0]);
    ck_assert_tells(dumped_line(settled_dump(), "polls"),
                    fd_text(b[0], "readable or writable, at most 30.000 s more; since "));
    end_all(tasks, 2);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    return 0;
}

START_TEST(an_fd_is_told_with_its_direction)
{
    ck_assert_int_eq(run_virtual(looks_at_fds, NULL), 0);
}
END_TEST

/* --- streams and servers --- */

static intptr_t
reads_a_stream(void *stream)
{
    char byte;

    return uco_stream_read(stream, &byte, 1);
}

static intptr_t
writes_too_much(void *stream)
{
    static const char bytes[8 * 1024 * 1024];

    return uco_stream_write(stream, bytes, sizeof bytes);
}

static intptr_t
drains(void *stream)
{
    return uco_stream_drain(stream);
}

static intptr_t
looks_at_streams(void *arg)
{
    int ends[2];
    uco_stream *stream;
    uco_task *tasks[3];
    const char *text;

    (void) arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    stream = stream_of(ends[0]);
    tasks[0] = named("reads", reads_a_stream, stream);
    tasks[1] = named("writes", writes_too_much, stream);
    ck_assert_int_eq(uco_test_settle(), 0);
    tasks[2] = named("drains", drains, stream);
    text = settled_dump();
    ck_assert_tells(dumped_line(text, "reads"), "waits for a stream, fd ");
    ck_assert_tells(dumped_line(text, "reads"), fd_text(ends[0], "readable"));
    ck_assert_tells(dumped_line(text, "writes"), fd_text(ends[0], "writable: "));
    ck_assert_tells(dumped_line(text, "writes"), " bytes are left to send; since ");
    ck_assert_tells(dumped_line(text, "drains"), "waits for a stream, fd ");
    end_all(tasks, COUNT(tasks));
    close(ends[1]);
    uco_stream_close(stream);
    return 0;
}

START_TEST(a_stream_is_told_with_its_fd_and_what_is_left)
{
    ck_assert_int_eq(run_virtual(looks_at_streams, NULL), 0);
}
END_TEST

static intptr_t
looks_at_a_server(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client = client_of(server);
    char wanted[100];
    const char *text;

    (void) arg;
    exchange(client, "ping");
    text = settled_dump();
    snprintf(wanted, sizeof wanted, "waits for a connection (port %u, 1 is open); since ",
             (unsigned) uco_server_port(server));
    ck_assert_tells(text, wanted);
    ck_assert_tells(text, "waits for a stream, fd ");
    ck_assert_int_eq(uco_stream_close(client), 0);
    ck_assert_int_eq(uco_server_close(server, UCO_FOREVER), 0);
    return 0;
}

START_TEST(a_server_is_told_with_its_port_and_connections)
{
    ck_assert_int_eq(run_virtual(looks_at_a_server, NULL), 0);
}
END_TEST

/* --- processes and signals --- */

static intptr_t
waits_for_a_process(void *process)
{
    return uco_process_wait(process);
}

static intptr_t
waits_for_a_signal(void *arg)
{
    (void) arg;
    return uco_signal_wait(SIGUSR2);
}

static intptr_t
looks_at_a_process(void *arg)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    const uco_process_options options = {.argv = argv};
    uco_process *process = uco_process_spawn(&options);
    uco_task *tasks[2];
    char wanted[100];
    const char *text;

    ck_assert_ptr_nonnull(process);
    tasks[0] = named("process", waits_for_a_process, process);
    tasks[1] = named("signal", waits_for_a_signal, arg);
    text = settled_dump();
    snprintf(wanted, sizeof wanted, "waits for process %d to end", (int) uco_process_pid(process));
    ck_assert_tells(dumped_line(text, "process"), wanted);
    snprintf(wanted, sizeof wanted, "waits for signal %d; since ", SIGUSR2);
    ck_assert_tells(dumped_line(text, "signal"), wanted);
    end_all(tasks, COUNT(tasks));
    uco_process_free(process);
    return 0;
}

START_TEST(a_process_and_a_signal_are_told_by_number)
{
    ck_assert_int_eq(run_virtual(looks_at_a_process, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump");
    TCase *waits = case_new(suite, "waits");

    tcase_add_test(waits, an_fd_is_told_with_its_direction);
    tcase_add_test(waits, a_stream_is_told_with_its_fd_and_what_is_left);
    tcase_add_test(waits, a_server_is_told_with_its_port_and_connections);
    tcase_add_test(waits, a_process_and_a_signal_are_told_by_number);
    return suite_end(suite);
}
