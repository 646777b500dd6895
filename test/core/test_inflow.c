/* SPDX-License-Identifier: MIT */
/* What an io_uring reads and accepts ahead: order, bounds, the end, closed fds, faults. */
#include "uring_scene.h"

#include <pthread.h>
#include <sys/resource.h>

/* Of the kernel before 6.12, and of the one after. */
enum { SHARED, WHOLE, POOLS };

#ifdef UCO_IO_URING
extern bool uco__inflow_whole;
#endif

static void
choose_pool(int pool)
{
#ifdef UCO_IO_URING
    uco__inflow_whole = pool == WHOLE;
#endif
    (void) pool;
}

static void
send_all(int fd, const char *data, size_t size)
{
    ck_assert_int_eq(send(fd, data, size, MSG_NOSIGNAL), (ssize_t) size);
}

/* Waits for news; the wait has its event. */
static void
await(int fd)
{
    struct waiter waiter;

    waiter_begin(&waiter, fd, POLLIN);
    look_until(&waiter.notified);
    waiter_was_told(&waiter, 0);
}

/* A pair, of which ends[0] is read ahead from now on. */
static void
flow_open(int ends[2])
{
    struct waiter waiter;
    char byte;

    socket_open(ends);
    uco__poller_know(&poller, ends[0], false);
    ck_assert_int_eq(uco__poller_receive(&poller, ends[0], &byte, 1), -EOPNOTSUPP);
    waiter_begin(&waiter, ends[0], POLLIN);
    look();
    ck_assert_int_eq(waiter.notified, 0);
    uco__poller_unwait(&poller, &waiter.wait);
}

/* What a reader does: takes what was read ahead, or reads itself, or waits. */
static ssize_t
read_some(int fd, char *data, size_t size)
{
    for (;;) {
        ssize_t r = uco__poller_receive(&poller, fd, data, size);

        if (r == -EOPNOTSUPP)
            r = UCO__RESULT(recv(fd, data, size, MSG_DONTWAIT));
        if (r != -EAGAIN)
            return r;
        await(fd);
    }
}

static char
pattern(size_t i)
{
    return (char) (i * 31 + i / 251);
}

START_TEST(what_was_received_is_taken_without_a_call)
{
    char data[16];
    int ends[2];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    flow_open(ends);
    ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data, 16), -EAGAIN);
    for (int i = 0; i < 100; i++) {
        send_all(ends[1], "hello, world", 12);
        await(ends[0]);
        ck_assert_int_lt(recv(ends[0], data, 16, MSG_DONTWAIT), 0);
        ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data, 5), 5);
        ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data + 5, 11), 7);
        ck_assert_int_eq(memcmp(data, "hello, world", 12), 0);
        ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data, 16), -EAGAIN);
    }
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(the_end_comes_after_the_data_and_stays)
{
    char data[16];
    int ends[2];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    flow_open(ends);
    send_all(ends[1], "bye", 3);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    ck_assert_int_eq(read_some(ends[0], data, 16), 3);
    ck_assert_int_eq(read_some(ends[0], data, 16), 0);
    ck_assert_int_eq(read_some(ends[0], data, 16), 0);
    await(ends[0]); /* whoever asks whether it can be read is told so */
    ck_assert_int_eq(read_some(ends[0], data, 16), 0);
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(news_that_nobody_has_taken_end_each_new_wait)
{
    int ends[2];
    char byte;

    if (uring_lacks())
        return;
    poller_open();
    flow_open(ends);
    put(ends[1]);
    for (int i = 0; i < 3; i++)
        await(ends[0]);
    ck_assert_int_eq(uco__poller_receive(&poller, ends[0], &byte, 1), 1);
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(a_reset_comes_after_what_was_received_before_it)
{
    struct linger hard = {.l_onoff = 1};
    struct sockaddr_in address;
    int listener, ends[2];
    char data[16];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    listener = listener_open(&address);
    ends[1] = connection_to(&address);
    ends[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(ends[0], 0);
    ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data, 16), -EOPNOTSUPP);
    send_all(ends[1], "last", 4);
    await(ends[0]);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    shut(ends[1]);
    look();
    ck_assert_int_eq(read_some(ends[0], data, 16), 4);
    ck_assert_int_eq(read_some(ends[0], data, 16), -ECONNRESET);
    forget(ends[0]);
    shut(listener);
    poller_shut();
}
END_TEST

struct sender {
    int fd;
    size_t size;
};

static void *
sender_run(void *arg)
{
    const struct sender *sender = arg;
    static char block[40000];
    size_t done = 0;

    while (done < sender->size) {
        size_t n = 1 + done * 7919 % sizeof block;

        n = n < sender->size - done ? n : sender->size - done;
        for (size_t i = 0; i < n; i++)
            block[i] = pattern(done + i);
        for (size_t sent = 0; sent < n;) { /* a signal cuts it short */
            ssize_t r = send(sender->fd, block + sent, n - sent, MSG_NOSIGNAL);

            ck_assert(r > 0 || (r < 0 && errno == EINTR));
            sent += r > 0 ? (size_t) r : 0;
        }
        done += n;
    }
    shutdown(sender->fd, SHUT_WR);
    return NULL;
}

/* Reads all that a sender of so many bytes sends. */
static void
read_pattern(int fd, size_t total)
{
    static char data[70000];
    size_t done = 0;

    for (;;) {
        ssize_t n = read_some(fd, data, 1 + done * 104729 % sizeof data);

        ck_assert_int_ge(n, 0);
        if (n == 0)
            break;
        for (ssize_t i = 0; i < n; i++) {
            if (data[i] != pattern(done + (size_t) i))
                ck_abort_msg("byte %zu is wrong", done + (size_t) i);
        }
        done += (size_t) n;
    }
    ck_assert_uint_eq(done, total);
}

START_TEST(a_long_flow_comes_whole_and_in_order)
{
    struct sender sender = {.size = (size_t) scaled(16 * 1024 * 1024)};
    pthread_t thread;
    int ends[2];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    flow_open(ends);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, 0), 0);
    sender.fd = ends[1];
    ck_assert_int_eq(pthread_create(&thread, NULL, sender_run, &sender), 0);
    read_pattern(ends[0], sender.size);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* The peer fills the socket, and no more than a bounded part is taken out of it. */
START_TEST(a_reader_that_does_not_come_stops_the_flow)
{
    static const char block[65536];
    static char data[65536];
    size_t sent = 0, taken = 0;
    int ends[2];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    flow_open(ends);
    for (int turn = 0; turn < 200; turn++) {
        ssize_t n = send(ends[1], block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);

        sent += n > 0 ? (size_t) n : 0;
        look();
    }
    ck_assert_uint_lt(sent, (size_t) 4 * 1024 * 1024);
    shutdown(ends[1], SHUT_WR);
    while (taken < sent) {
        ssize_t n = read_some(ends[0], data, sizeof data);

        ck_assert_int_gt(n, 0);
        taken += (size_t) n;
    }
    ck_assert_int_eq(read_some(ends[0], data, 1), 0);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* Copying it twice would cost more than the calls. */
START_TEST(what_comes_in_large_parts_is_soon_read_by_its_reader)
{
    static char block[8192], data[8192];
    ssize_t n = 0;
    int ends[2];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    flow_open(ends);
    for (int i = 0; i < 100; i++) {
        memset(block, i, sizeof block);
        send_all(ends[1], block, sizeof block);
        for (size_t done = 0; done < sizeof data; done += (size_t) n) {
            n = read_some(ends[0], data + done, sizeof data - done);
            ck_assert_int_gt(n, 0);
        }
        ck_assert_int_eq(memcmp(block, data, sizeof data), 0);
    }
    ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data, 1), -EOPNOTSUPP);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* There are kernels whose receiving request misses such an end. */
START_TEST(an_end_that_comes_with_data_is_not_missed)
{
    char data[16];
    int ends[2];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    for (int i = 0; i < scaled(1000); i++) {
        flow_open(ends);
        for (int turn = 0; turn < i % 3; turn++) {
            send_all(ends[1], "hello", 5);
            ck_assert_int_eq(read_some(ends[0], data, 16), 5);
        }
        send_all(ends[1], "bye", 3);
        ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
        ck_assert_int_eq(read_some(ends[0], data, 16), 3);
        ck_assert_int_eq(read_some(ends[0], data, 16), 0);
        ends_close(ends);
    }
    poller_shut();
}
END_TEST

/* All buffers are held by readers that do not come. */
START_TEST(without_buffers_the_reader_reads_itself)
{
    enum { FLOWS = 40 };
    int ends[FLOWS][2];
    char data[16];

    if (uring_lacks())
        return;
    choose_pool(WHOLE);
    poller_open();
    flow_open(ends[0]);
    uco_test_fail("mmap", 1, true, ENOMEM); /* sixteen, and no more */
    for (int i = 1; i < FLOWS; i++)
        flow_open(ends[i]);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < FLOWS; i++)
            send_all(ends[i][1], "hello", 5);
        look_at_all();
        for (int i = FLOWS - 1; i >= 0; i--) {
            ck_assert_int_eq(read_some(ends[i][0], data, 16), 5);
            ck_assert_int_eq(memcmp(data, "hello", 5), 0);
        }
    }
    uco_test_fail_off();
    for (int i = 0; i < FLOWS; i++)
        ends_close(ends[i]);
    poller_shut();
}
END_TEST

START_TEST(more_buffers_are_made_when_there_are_too_few)
{
    enum { FLOWS = 100 };
    static struct waiter waiters[FLOWS];
    int ends[FLOWS][2];
    char data[16];

    if (uring_lacks())
        return;
    choose_pool(WHOLE);
    poller_open();
    for (int i = 0; i < FLOWS; i++)
        flow_open(ends[i]);
    for (int turn = 0; turn < 20; turn++) {
        for (int i = 0; i < FLOWS; i++)
            send_all(ends[i][1], "hello", 5);
        look_at_all();
        for (int i = 0; i < FLOWS; i++) {
            ssize_t n = uco__poller_receive(&poller, ends[i][0], data, 16);

            ck_assert(n == 5 || (n == -EOPNOTSUPP && turn < 15));
            if (n < 0)
                ck_assert_int_eq(read_some(ends[i][0], data, 16), 5);
            waiter_begin(&waiters[i], ends[i][0], POLLIN);
        }
        look();
        for (int i = 0; i < FLOWS; i++)
            uco__poller_unwait(&poller, &waiters[i].wait);
    }
    for (int i = 0; i < FLOWS; i++)
        ends_close(ends[i]);
    poller_shut();
}
END_TEST

START_TEST(what_was_read_ahead_goes_with_its_fd)
{
    int first[2], second[2];
    char data[16];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    for (int i = 0; i < scaled(400); i++) {
        flow_open(first);
        send_all(first[1], "old", 3);
        if (i % 2 == 0)
            look();
        forget(first[0]);
        ck_assert_int_lt(send(first[1], "x", 1, MSG_NOSIGNAL), 0); /* gone at once */
        flow_open(second);
        ck_assert_int_eq(second[0], first[0]);
        send_all(second[1], "new", 3);
        ck_assert_int_eq(read_some(second[0], data, 16), 3);
        ck_assert_int_eq(memcmp(data, "new", 3), 0);
        shut(first[1]);
        ends_close(second);
    }
    poller_shut();
}
END_TEST

/* Nobody has asked that the new one be read ahead. */
START_TEST(a_number_that_was_closed_behind_our_back_is_not_read_ahead)
{
    struct waiter waiter;
    int first[2], second[2];
    char data[16];

    if (uring_lacks())
        return;
    for (int known = 0; known < 2; known++) {
        poller_open();
        flow_open(first);
        shut(first[0]);
        socket_open(second);
        ck_assert_int_eq(second[0], first[0]);
        uco__poller_know(&poller, second[0], false);
        if (known) {
            ck_assert_int_eq(uco__poller_receive(&poller, second[0], data, 1), -EOPNOTSUPP);
            send_all(second[1], "new", 3);
            ck_assert_int_eq(read_some(second[0], data, 16), 3);
        }
        waiter_begin(&waiter, second[0], POLLIN);
        look();
        send_all(second[1], "new", 3);
        look();
        waiter_was_told(&waiter, 0);
        if (!known)
            ck_assert_int_eq(recv(second[0], data, 16, 0), 3);
        shut(first[1]);
        ends_close(second);
        poller_shut();
    }
}
END_TEST

START_TEST(what_is_no_socket_is_read_by_its_reader)
{
    int ends[2];
    char byte;

    if (uring_lacks())
        return;
    poller_open();
    pipe_open(ends);
    uco__poller_know(&poller, ends[0], false);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco__poller_receive(&poller, ends[0], &byte, 1), -EOPNOTSUPP);
        put(ends[1]);
        await(ends[0]);
        if (i == 0)
            await(ends[0]);
        ck_assert_int_eq(uco__poller_receive(&poller, ends[0], &byte, 1), -EOPNOTSUPP);
        ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    }
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(a_writer_waits_beside_the_flow)
{
    struct waiter reader, writer;
    int ends[2];
    char byte;

    if (uring_lacks())
        return;
    poller_open();
    flow_open(ends);
    fill(ends[0]);
    waiter_begin(&reader, ends[0], POLLIN);
    waiter_begin(&writer, ends[0], POLLOUT);
    look();
    ck_assert(reader.notified == 0 && writer.notified == 0);
    put(ends[1]);
    look();
    waiter_was_told(&reader, 0);
    ck_assert_int_eq(writer.notified, 0);
    empty(ends[1]);
    look();
    waiter_was_told(&writer, 0);
    ck_assert_int_eq(uco__poller_receive(&poller, ends[0], &byte, 1), 1);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* --- faults --- */

START_TEST(no_memory_for_a_flow_means_plain_reading)
{
    int ends[2];
    char byte;

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    for (unsigned long nth = 1; nth <= 6; nth++) {
        uco_test_fail("malloc", nth, true, ENOMEM);
        uco_test_fail("mmap", 1, nth % 2, ENOMEM);
        uco__poller_know(&poller, ends[0], false);
        put(ends[1]);
        uco_test_fail_off();
        ck_assert_int_eq(read_some(ends[0], &byte, 1), 1);
    }
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(no_memory_for_what_has_come_loses_nothing)
{
    enum { FLOWS = 100 };
    int ends[FLOWS][2];
    char data[16];
    int r;

    if (uring_lacks())
        return;
    poller_open();
    for (int i = 0; i < FLOWS; i++)
        flow_open(ends[i]);
    for (int i = 0; i < FLOWS; i++)
        send_all(ends[i][1], "hello", 5);
    uco_test_fail("malloc", 1, true, ENOMEM);
    do
        r = uco__poller_poll(&poller, UCO__SECOND);
    while (r == 0);
    ck_assert_int_eq(r, -ENOMEM);
    ck_assert_int_eq(uco__poller_poll(&poller, UCO__SECOND), -ENOMEM);
    uco_test_fail_off();
    for (int i = 0; i < FLOWS; i++)
        ck_assert_int_eq(read_some(ends[i][0], data, 16), 5);
    for (int i = 0; i < FLOWS; i++)
        ends_close(ends[i]);
    poller_shut();
}
END_TEST

static const int enter_errors[] = {EINTR, EAGAIN, EBUSY, ENOMEM};

START_TEST(calls_that_fail_lose_nothing_of_a_flow)
{
    struct waiter waiter;
    int ends[2];
    char data[16];

    if (uring_lacks())
        return;
    for (size_t i = 0; i < COUNT(enter_errors); i++) {
        for (unsigned long nth = 1; nth <= 8; nth++) {
            poller_open();
            socket_open(ends);
            uco__poller_know(&poller, ends[0], false);
            uco_test_fail("io_uring_enter", nth, nth % 2, enter_errors[i]);
            ck_assert_int_eq(uco__poller_receive(&poller, ends[0], data, 1), -EOPNOTSUPP);
            waiter_begin(&waiter, ends[0], POLLIN);
            (void) uco__poller_poll(&poller, 0);
            send_all(ends[1], "hello", 5);
            (void) uco__poller_poll(&poller, 0);
            uco__poller_unwait(&poller, &waiter.wait);
            uco_test_fail_off();
            ck_assert_int_eq(read_some(ends[0], data, 16), 5);
            send_all(ends[1], "again", 5);
            ck_assert_int_eq(read_some(ends[0], data, 16), 5);
            uco_test_fail("io_uring_enter", nth, nth % 2, enter_errors[i]);
            ends_close(ends);
            uco_test_fail_off();
            poller_shut();
        }
    }
}
END_TEST

static int thread_fd;

static void *
thread_reads(void *arg)
{
    char data[16];

    (void) arg;
    ck_assert_int_eq(read_some(thread_fd, data, 2), 2);
    ck_assert_int_eq(memcmp(data, "he", 2), 0);
    ck_assert_int_eq(read_some(thread_fd, data, 16), 3);
    ck_assert_int_eq(memcmp(data, "llo", 3), 0);
    send_all(*(const int *) arg, "world", 5);
    await(thread_fd);
    return NULL;
}

START_TEST(another_thread_goes_on_where_the_first_one_stopped)
{
    pthread_t thread;
    int ends[2];
    char data[16];

    if (uring_lacks())
        return;
    choose_pool(_i);
    poller_open();
    for (int i = 0; i < 3; i++) {
        flow_open(ends);
        thread_fd = ends[0];
        send_all(ends[1], "hello", 5);
        if (i % 2 == 0)
            look();
        ck_assert_int_eq(pthread_create(&thread, NULL, thread_reads, &ends[1]), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(read_some(ends[0], data, 16), 5);
        ck_assert_int_eq(memcmp(data, "world", 5), 0);
        send_all(ends[1], "home", 4);
        ck_assert_int_eq(read_some(ends[0], data, 16), 4);
        ends_close(ends);
    }
    poller_shut();
}
END_TEST

/* --- connections --- */

static int
accept_some(int listener)
{
    for (;;) {
        int r = uco__poller_accept(&poller, listener, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (r == -EOPNOTSUPP)
            r = (int) UCO__RESULT(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (r != -EAGAIN)
            return r;
        await(listener);
    }
}

START_TEST(connections_are_accepted_ahead)
{
    struct sockaddr_in address;
    struct waiter waiter;
    int listener, clients[5], fd;

    if (uring_lacks())
        return;
    poller_open();
    listener = listener_open(&address);
    uco__poller_know(&poller, listener, false);
    ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_NONBLOCK | SOCK_CLOEXEC),
                     -EOPNOTSUPP);
    waiter_begin(&waiter, listener, POLLIN);
    look();
    for (size_t i = 0; i < COUNT(clients); i++)
        clients[i] = connection_to(&address);
    look_until(&waiter.notified);
    for (size_t i = 0; i < COUNT(clients); i++) {
        fd = accept_some(listener);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        shut(fd);
        shut(clients[i]);
    }
    ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_NONBLOCK | SOCK_CLOEXEC), -EAGAIN);
    forget(listener);
    poller_shut();
}
END_TEST

START_TEST(connections_that_nobody_takes_are_closed_with_the_listener)
{
    struct sockaddr_in address;
    struct waiter waiter;
    int listener, client;
    char byte;

    if (uring_lacks())
        return;
    for (int turn = 0; turn < 2; turn++) {
        poller_open();
        listener = listener_open(&address);
        ck_assert_int_eq(waiter_start(&waiter, listener, POLLIN), 0);
        uco__poller_unwait(&poller, &waiter.wait);
        ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_CLOEXEC), -EOPNOTSUPP);
        waiter_begin(&waiter, listener, POLLIN);
        client = connection_to(&address);
        look_until(&waiter.notified);
        if (turn == 0)
            forget(listener);
        poller_shut();
        ck_assert_int_eq(read(client, &byte, 1), 0);
        if (turn != 0)
            shut(listener);
        shut(client);
    }
}
END_TEST

START_TEST(a_listener_that_nobody_serves_leaves_the_rest_in_its_queue)
{
    enum { CLIENTS = 300 };
    struct sockaddr_in address;
    struct waiter waiter;
    int listener, clients[CLIENTS];
    int before, fd;

    if (uring_lacks())
        return;
    poller_open();
    listener = listener_open(&address);
    uco__poller_know(&poller, listener, false);
    ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_CLOEXEC), -EOPNOTSUPP);
    waiter_begin(&waiter, listener, POLLIN);
    look();
    before = count_fds();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = connection_to(&address);
        look();
    }
    ck_assert_int_lt(count_fds() - before - CLIENTS, 100);
    for (int i = 0; i < CLIENTS; i++) {
        fd = accept_some(listener);
        ck_assert_int_ge(fd, 0);
        shut(fd);
        shut(clients[i]);
    }
    forget(listener);
    poller_shut();
}
END_TEST

START_TEST(too_many_open_files_are_the_acceptors_error)
{
    struct sockaddr_in address;
    struct rlimit limit, low;
    struct waiter waiter;
    int listener, client, fd;

    if (uring_lacks())
        return;
    poller_open();
    listener = listener_open(&address);
    uco__poller_know(&poller, listener, false);
    ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_CLOEXEC), -EOPNOTSUPP);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t) listener + 2; /* for the client */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    waiter_begin(&waiter, listener, POLLIN);
    look();
    client = connection_to(&address);
    look_until(&waiter.notified);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(accept_some(listener), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    fd = accept_some(listener);
    ck_assert_int_ge(fd, 0);
    shut(fd);
    shut(client);
    forget(listener);
    poller_shut();
}
END_TEST

/* As if accept4(2) itself had failed: the connection is still there. */
START_TEST(an_accept_that_fails_keeps_the_connection)
{
    struct sockaddr_in address;
    struct waiter waiter;
    int listener, client, fd;

    if (uring_lacks())
        return;
    poller_open();
    listener = listener_open(&address);
    uco__poller_know(&poller, listener, false);
    ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_CLOEXEC), -EOPNOTSUPP);
    waiter_begin(&waiter, listener, POLLIN);
    client = connection_to(&address);
    look_until(&waiter.notified);
    uco_test_fail("accept4", 1, false, ENFILE);
    ck_assert_int_eq(uco__poller_accept(&poller, listener, SOCK_CLOEXEC), -ENFILE);
    fd = uco__poller_accept(&poller, listener, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    shut(fd);
    shut(client);
    forget(listener);
    poller_shut();
}
END_TEST

START_TEST(epoll_reads_and_accepts_nothing_ahead)
{
    char byte;

    doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(doorbell, 0);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_epoll, doorbell, &ready), 0);
    ck_assert_int_eq(uco__poller_receive(&poller, doorbell, &byte, 1), -EOPNOTSUPP);
    ck_assert_int_eq(uco__poller_accept(&poller, doorbell, 0), -EOPNOTSUPP);
    poller_shut();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("inflow");
    TCase *tcase = case_new(suite, "receiving");

    tcase_add_loop_test(tcase, what_was_received_is_taken_without_a_call, 0, POOLS);
    tcase_add_loop_test(tcase, the_end_comes_after_the_data_and_stays, 0, POOLS);
    tcase_add_test(tcase, news_that_nobody_has_taken_end_each_new_wait);
    tcase_add_loop_test(tcase, a_reset_comes_after_what_was_received_before_it, 0, POOLS);
    tcase_add_loop_test(tcase, a_long_flow_comes_whole_and_in_order, 0, POOLS);
    tcase_add_loop_test(tcase, a_reader_that_does_not_come_stops_the_flow, 0, POOLS);
    tcase_add_loop_test(tcase, what_comes_in_large_parts_is_soon_read_by_its_reader, 0, POOLS);
    tcase_add_loop_test(tcase, an_end_that_comes_with_data_is_not_missed, 0, POOLS);
    tcase_add_test(tcase, without_buffers_the_reader_reads_itself);
    tcase_add_test(tcase, more_buffers_are_made_when_there_are_too_few);
    tcase_add_loop_test(tcase, what_was_read_ahead_goes_with_its_fd, 0, POOLS);
    tcase_add_test(tcase, a_number_that_was_closed_behind_our_back_is_not_read_ahead);
    tcase_add_test(tcase, what_is_no_socket_is_read_by_its_reader);
    tcase_add_test(tcase, a_writer_waits_beside_the_flow);

    tcase = case_new(suite, "faults");
    tcase_add_test(tcase, no_memory_for_a_flow_means_plain_reading);
    tcase_add_test(tcase, no_memory_for_what_has_come_loses_nothing);
    tcase_add_test(tcase, calls_that_fail_lose_nothing_of_a_flow);
    tcase_add_loop_test(tcase, another_thread_goes_on_where_the_first_one_stopped, 0, POOLS);

    tcase = case_new(suite, "accepting");
    tcase_add_test(tcase, connections_are_accepted_ahead);
    tcase_add_test(tcase, connections_that_nobody_takes_are_closed_with_the_listener);
    tcase_add_test(tcase, a_listener_that_nobody_serves_leaves_the_rest_in_its_queue);
    tcase_add_test(tcase, too_many_open_files_are_the_acceptors_error);
    tcase_add_test(tcase, an_accept_that_fails_keeps_the_connection);
    tcase_add_test(tcase, epoll_reads_and_accepts_nothing_ahead);
    return suite_end(suite);
}
