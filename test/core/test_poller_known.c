/* SPDX-License-Identifier: MIT */
/* The poller's short cuts for fds that it knows, and the check that finds out when they were
 * wrong. */
#include "../support/support.h"

#include "base/system.h"
#include "core/poller.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct uco__poller poller;
static struct uco__ready_queue ready;
static int doorbell;

static void
poller_open(void)
{
    doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(doorbell, 0);
    uco__ready_queue_init(&ready);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_epoll, doorbell, &ready), 0);
}

static void
poller_shut(void)
{
    ck_assert_uint_eq(poller.waiting, 0);
    uco__poller_done(&poller);
    ck_assert_int_eq(close(doorbell), 0);
}

static void
look(void)
{
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 0);
}

struct waiter {
    struct uco__fd_wait wait;
    int notified;
    int result;
};

static void
waiter_notify(struct uco__fd_wait *wait, int result)
{
    struct waiter *waiter = UCO__CONTAINER(wait, struct waiter, wait);

    waiter->notified++;
    waiter->result = result;
}

static int
waiter_start(struct waiter *waiter, int fd, short events)
{
    *waiter =
        (struct waiter){.wait = {.fd = fd, .events = events, .notify = waiter_notify}, .result = 1};
    return uco__poller_wait(&poller, &waiter->wait);
}

static void
waiter_was_told(const struct waiter *waiter, int result)
{
    ck_assert_int_eq(waiter->notified, 1);
    ck_assert_int_eq(waiter->result, result);
}

/* A TCP connection over the loopback; ends[0] is known. */
static void
connection_open(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(ends[1], (struct sockaddr *) &address, size), 0);
    ends[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(ends[0], 0);
    ck_assert_int_eq(close(listener), 0);
    uco__poller_know(&poller, ends[0], true);
}

/* As who owns the fd closes it. */
static void
connection_shut(int ends[2])
{
    uco__poller_forget(&poller, ends[0]);
    ck_assert_int_eq(close(ends[0]), 0);
    ck_assert_int_eq(close(ends[1]), 0);
}

static void
send_byte(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

/* Reads up to 8 bytes, and tells the poller as uco_read() does. */
static ssize_t
read_and_note(int fd)
{
    char bytes[8];
    ssize_t r = uco__read_now(fd, bytes, sizeof bytes);

    if (r > 0 && (size_t) r < sizeof bytes)
        uco__poller_note_short_read(&poller, fd);
    return r;
}

START_TEST(a_known_fd_is_registered_once)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    connection_open(ends);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
        uco_test_fail("epoll_ctl", 1, true, ENOMEM); /* from here on none is made */
        send_byte(ends[1]);
        look();
        waiter_was_told(&waiter, 0);
        ck_assert_int_eq(read_and_note(ends[0]), 1);
    }
    uco_test_fail_off();
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(interest_in_the_other_direction_is_added_and_stays)
{
    struct waiter reader, writer;
    int ends[2];

    poller_open();
    connection_open(ends);
    ck_assert_int_eq(waiter_start(&reader, ends[0], POLLIN), 0);
    ck_assert_int_eq(waiter_start(&writer, ends[0], POLLOUT), 0);
    look();
    waiter_was_told(&writer, 0);
    ck_assert_int_eq(reader.notified, 0);
    uco_test_fail("epoll_ctl", 1, true, ENOMEM);
    ck_assert_int_eq(waiter_start(&writer, ends[0], POLLOUT), 0);
    uco_test_fail_off();
    send_byte(ends[1]);
    look();
    waiter_was_told(&reader, 0);
    uco__poller_unwait(&poller, &writer.wait);
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(after_a_short_read_nothing_is_there_until_an_event)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    connection_open(ends);
    send_byte(ends[1]);
    ck_assert_int_eq(read_and_note(ends[0]), 1);
    ck_assert(!uco__poller_is_drained(&poller, ends[0])); /* not registered: nobody would tell */
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    send_byte(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ck_assert_int_eq(read_and_note(ends[0]), 1);
    ck_assert(uco__poller_is_drained(&poller, ends[0]));
    send_byte(ends[1]);
    look();
    ck_assert(!uco__poller_is_drained(&poller, ends[0]));
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(once_the_end_has_come_reads_are_tried)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    connection_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    send_byte(ends[1]);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    look();
    waiter_was_told(&waiter, 0);
    ck_assert_int_eq(read_and_note(ends[0]), 1);
    ck_assert(!uco__poller_is_drained(&poller, ends[0])); /* the end is no other event */
    ck_assert_int_eq(read_and_note(ends[0]), 0);
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(a_unix_socket_is_never_taken_for_drained)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    uco__poller_know(&poller, ends[0], false);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    send_byte(ends[1]);
    look();
    ck_assert_int_eq(read_and_note(ends[0]), 1);
    ck_assert(!uco__poller_is_drained(&poller, ends[0])); /* reads end where control data is */
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(who_waits_for_a_number_that_is_another_file_now_is_told)
{
    struct waiter waiter;
    int ends[2], number;

    poller_open();
    connection_open(ends);
    number = ends[0];
    ck_assert_int_eq(waiter_start(&waiter, number, POLLIN), 0);
    ck_assert_int_eq(close(number), 0); /* behind its back */
    ck_assert_int_eq(dup3(ends[1], number, O_CLOEXEC), number);
    uco__poller_know(&poller, number, true); /* as if accepted */
    waiter_was_told(&waiter, -EBADF);
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(a_check_finds_a_number_that_was_closed_raw_and_reused)
{
    struct waiter waiter;
    int ends[2], others[2], number;

    poller_open();
    connection_open(ends);
    number = ends[0];
    ck_assert_int_eq(waiter_start(&waiter, number, POLLIN), 0);
    send_byte(ends[1]);
    look();
    ck_assert_int_eq(read_and_note(number), 1);
    ck_assert_int_eq(pipe2(others, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(dup3(others[0], number, O_CLOEXEC), number); /* closes the connection */
    ck_assert_int_eq(close(others[0]), 0);
    send_byte(others[1]);
    ck_assert_int_eq(waiter_start(&waiter, number, POLLIN), 0);
    look();
    ck_assert_int_eq(waiter.notified, 0);
    uco__poller_check(&poller);
    look();
    waiter_was_told(&waiter, 0);
    ck_assert(!uco__poller_is_drained(&poller, number));
    ck_assert_int_eq(close(others[1]), 0);
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(a_check_tells_who_waits_for_a_closed_number)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    connection_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    look();
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 0);
    ck_assert_int_eq(close(ends[0]), 0);
    uco__poller_check(&poller);
    look();
    ck_assert_int_eq(waiter.notified,
                     0); /* it was registered by this very wait, so it is checked */
    uco__poller_unwait(&poller, &waiter.wait);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    uco__poller_check(&poller);
    waiter_was_told(&waiter, -EBADF);
    uco__poller_forget(&poller, ends[0]);
    ck_assert_int_eq(close(ends[1]), 0);
    poller_shut();
}
END_TEST

START_TEST(a_check_tells_who_waits_for_a_number_that_is_a_file_now)
{
    struct waiter waiter;
    int ends[2], file, number;

    poller_open();
    connection_open(ends);
    number = ends[0];
    ck_assert_int_eq(waiter_start(&waiter, number, POLLIN), 0);
    send_byte(ends[1]);
    look();
    ck_assert_int_eq(read_and_note(number), 1);
    ck_assert(uco__poller_is_drained(&poller, number));
    file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(dup3(file, number, O_CLOEXEC), number); /* closes the connection */
    ck_assert_int_eq(close(file), 0);
    ck_assert_int_eq(waiter_start(&waiter, number, POLLIN), 0);
    uco__poller_check(&poller);
    waiter_was_told(&waiter, -EPERM);
    ck_assert(!uco__poller_is_drained(&poller, number));
    ck_assert(!uco__poller_is_known(&poller, number));
    ck_assert(!poller.trusting);
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(a_wait_is_checked_once_and_only_if_it_is_long)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    connection_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    ck_assert(!poller.trusting);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    ck_assert(poller.trusting);
    uco_test_fail("epoll_ctl", 1, true, ENOMEM);
    uco__poller_check_some(&poller, 1);
    ck_assert(poller.trusting); /* it has only now waited for the beginning of a period */
    uco__poller_check_some(&poller, 2);
    ck_assert(poller.trusting); /* without memory: another time */
    uco_test_fail_off();
    uco__poller_check_some(&poller, 3);
    ck_assert(!poller.trusting);
    ck_assert_int_eq(waiter.notified, 0);
    send_byte(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    connection_shut(ends);
    poller_shut();
}
END_TEST

START_TEST(a_watcher_on_a_known_fd_works_and_goes)
{
    struct uco__fd_watcher watcher;
    struct waiter waiter;
    int ends[2];

    poller_open();
    connection_open(ends);
    watcher = (struct uco__fd_watcher){.fd = ends[0], .events = POLLIN};
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    send_byte(ends[1]);
    for (int i = 0; i < 2; i++) { /* level-triggered: told again */
        look();
        ck_assert_ptr_eq(uco__ready_queue_pop(&ready), &watcher.ready);
        watcher.queued = false;
    }
    uco__poller_unwatch(&poller, &watcher);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    look();
    waiter_was_told(&waiter, 0);
    connection_shut(ends);
    poller_shut();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("known fds");
    TCase *cases = case_new(suite, "known");

    tcase_add_test(cases, a_known_fd_is_registered_once);
    tcase_add_test(cases, interest_in_the_other_direction_is_added_and_stays);
    tcase_add_test(cases, after_a_short_read_nothing_is_there_until_an_event);
    tcase_add_test(cases, once_the_end_has_come_reads_are_tried);
    tcase_add_test(cases, a_unix_socket_is_never_taken_for_drained);
    tcase_add_test(cases, who_waits_for_a_number_that_is_another_file_now_is_told);
    tcase_add_test(cases, a_check_finds_a_number_that_was_closed_raw_and_reused);
    tcase_add_test(cases, a_check_tells_who_waits_for_a_closed_number);
    tcase_add_test(cases, a_check_tells_who_waits_for_a_number_that_is_a_file_now);
    tcase_add_test(cases, a_wait_is_checked_once_and_only_if_it_is_long);
    tcase_add_test(cases, a_watcher_on_a_known_fd_works_and_goes);
    return suite_end(suite);
}
