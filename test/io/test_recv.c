/* SPDX-License-Identifier: MIT */
/* Sending and receiving on sockets, and reading and writing several buffers. */
#include "../support/support.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static void
pair_open(int type, int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
}

static void
pair_close(int ends[2])
{
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
}

/* A TCP connection within the calling task. */
static void
connection_open(int ends[2])
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int listener = uco_listen("127.0.0.1", 0, 0);

    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(ends[1], 0);
    ck_assert_int_eq(uco_connect(ends[1], (struct sockaddr *) &address, size), 0);
    ends[0] = uco_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(ends[0], 0);
    ck_assert_int_eq(uco_close(listener), 0);
}

/* --- recv and send --- */

struct receiver {
    int fd;
    size_t size;
    int flags;
    char text[64];
};

static intptr_t
receive(void *arg)
{
    struct receiver *receiver = arg;

    return uco_recv(receiver->fd, receiver->text, receiver->size, receiver->flags);
}

static intptr_t
receives_what_comes(void *arg)
{
    int ends[2];
    struct receiver receiver = {.size = sizeof receiver.text};
    uco_task *task;

    (void) arg;
    connection_open(ends);
    receiver.fd = ends[0];
    for (int i = 0; i < 3; i++) { /* from the second on, the first try is spared */
        task = uco_create_task(receive, &receiver);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert(!uco_done(task));
        ck_assert_int_eq(uco_send(ends[1], "hello", 5, 0), 5);
        ck_assert_int_eq(uco_join(task), 5);
        ck_assert_mem_eq(receiver.text, "hello", 5);
    }
    ck_assert_int_eq(uco_send(ends[1], "last", 4, 0), 4);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    ck_assert_int_eq(receive(&receiver), 4);
    ck_assert_int_eq(receive(&receiver), 0);
    pair_close(ends);
    return 0;
}

START_TEST(recv_waits_for_what_comes_and_sees_the_end)
{
    ck_assert_int_eq(run_virtual(receives_what_comes, NULL), 0);
}
END_TEST

static intptr_t
waits_for_all(void *arg)
{
    int ends[2];
    struct receiver receiver = {.size = 10, .flags = MSG_WAITALL};
    uco_task *task;

    (void) arg;
    connection_open(ends);
    receiver.fd = ends[0];
    task = uco_create_task(receive, &receiver);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert(!uco_done(task));
        ck_assert_int_eq(uco_send(ends[1], "ab", 2, 0), 2);
    }
    ck_assert_int_eq(uco_join(task), 10);
    ck_assert_mem_eq(receiver.text, "ababababab", 10);

    /* Half of it, then a cancellation: what has come is not lost. */
    task = uco_create_task(receive, &receiver);
    ck_assert_int_eq(uco_send(ends[1], "half", 4, 0), 4);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), 4);

    ck_assert_int_eq(uco_send(ends[1], "end", 3, 0), 3);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    ck_assert_int_eq(receive(&receiver), 3);
    pair_close(ends);
    return 0;
}

START_TEST(waitall_waits_for_all_bytes)
{
    ck_assert_int_eq(run_virtual(waits_for_all, NULL), 0);
}
END_TEST

static intptr_t
flags_are_heeded(void *arg)
{
    int ends[2];
    char text[8];

    (void) arg;
    connection_open(ends);
    ck_assert_int_eq(uco_recv(ends[0], text, sizeof text, MSG_DONTWAIT), -EAGAIN);
    ck_assert_int_eq(uco_recv(ends[0], text, sizeof text, MSG_ERRQUEUE), -EAGAIN);
    ck_assert_int_eq(uco_send(ends[1], "peek", 4, MSG_NOSIGNAL), 4);
    ck_assert_int_eq(uco_recv(ends[0], text, sizeof text, MSG_PEEK), 4);
    ck_assert_int_eq(uco_recv(ends[0], text, sizeof text, MSG_PEEK | MSG_WAITALL), 4);
    ck_assert_int_eq(uco_recv(ends[0], text, 2, MSG_WAITALL), 2);
    ck_assert_int_eq(uco_recv(ends[0], text, sizeof text, 0), 2);
    pair_close(ends);
    return 0;
}

START_TEST(flags_of_recv_are_heeded)
{
    ck_assert_int_eq(run_virtual(flags_are_heeded, NULL), 0);
}
END_TEST

/* Sends until nobody takes any more; *arg: the fd. */
static intptr_t
send_on_and_on(void *arg)
{
    static const char block[65536];
    ssize_t r;

    do
        r = uco_send(*(int *) arg, block, sizeof block, 0);
    while (r > 0);
    return r;
}

static intptr_t
sends_to_one_who_does_not_read(void *arg)
{
    int ends[2];
    uco_task *task;

    (void) arg;
    connection_open(ends);
    task = uco_create_task(send_on_and_on, &ends[1]);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_send(ends[1], "x", 1, MSG_DONTWAIT), -EAGAIN);
    ck_assert_int_eq(uco_send(ends[1], "x", 1, 0), -EBUSY);
    ck_assert_int_eq(uco_close(ends[0]), 0); /* with unread bytes: a reset */
    ck_assert_int_eq(uco_join(task), -ECONNRESET);
    ck_assert_int_eq(uco_send(ends[1], "x", 1, 0), -EPIPE);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

START_TEST(a_sender_waits_for_room_and_learns_of_a_reset)
{
    ck_assert_int_eq(run_virtual(sends_to_one_who_does_not_read, NULL), 0);
}
END_TEST

/* --- datagrams --- */

static int
datagram_socket(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) address, &size), 0);
    return fd;
}

static intptr_t
answer_a_datagram(void *arg)
{
    char text[16];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t r = uco_recvfrom(*(int *) arg, text, sizeof text, 0, (struct sockaddr *) &from, &size);

    if (r < 0)
        return r;
    return uco_sendto(*(int *) arg, text, (size_t) r, 0, (struct sockaddr *) &from, size);
}

struct sending {
    int fd;
    bool by_message;
    struct sockaddr_un to;
    socklen_t size;
};

static intptr_t
send_a_byte(void *arg)
{
    struct sending *sending = arg;
    struct iovec vector = {.iov_base = (char[1]){'x'}, .iov_len = 1};
    struct msghdr message = {.msg_name = &sending->to,
                             .msg_namelen = sending->size,
                             .msg_iov = &vector,
                             .msg_iovlen = 1};

    return sending->by_message ? uco_sendmsg(sending->fd, &message, 0)
                               : uco_sendto(sending->fd, "x", 1, 0,
                                            (struct sockaddr *) &sending->to, sending->size);
}

static intptr_t
sends_to_a_full_queue(void *arg)
{
    struct sending sending = {.by_message = arg != NULL, .to.sun_family = AF_UNIX};
    int receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uco_loop_stats before, after;
    uco_task *task;
    char byte;

    ck_assert_int_ge(receiver, 0);
    sending.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(sending.fd, 0);
    sending.size = sizeof(sa_family_t);
    ck_assert_int_eq(bind(receiver, (struct sockaddr *) &sending.to, sending.size), 0);
    sending.size = sizeof sending.to;
    ck_assert_int_eq(getsockname(receiver, (struct sockaddr *) &sending.to, &sending.size), 0);
    while (sendto(sending.fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *) &sending.to,
                  sending.size) == 1)
        continue;
    task = uco_create_task(send_a_byte, &sending);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &before), 0);
    ck_assert_int_eq(uco_sleep(0.25), 0);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &after), 0);
    ck_assert_uint_lt(after.polls - before.polls, 100);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_recv(receiver, &byte, 1, 0), 1);
    ck_assert_int_eq(uco_join(task), 1);
    task = uco_create_task(send_a_byte, &sending);
    ck_assert_int_eq(uco_sleep(0), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    pair_close((int[]){receiver, sending.fd});
    return 0;
}

/* The sender's own socket has room, so waiting for that would be no waiting. */
START_TEST(a_receiver_with_a_full_queue_is_waited_for_without_spinning)
{
    storm_stop();
    ck_assert_int_eq(run_real(sends_to_a_full_queue, _i != 0 ? &(bool){true} : NULL), 0);
}
END_TEST

static intptr_t
waits_beside_an_error(void *arg)
{
    struct receiver receiver = {.size = 8};
    uco_loop_stats before, after;
    struct sockaddr_in closed, own;
    int fd = datagram_socket(&closed), yes = 1;
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(uco_close(fd), 0);
    receiver.fd = datagram_socket(&own);
    ck_assert_int_eq(setsockopt(receiver.fd, IPPROTO_IP, IP_RECVERR, &yes, sizeof yes), 0);
    ck_assert_int_eq(uco_sendto(receiver.fd, "x", 1, 0, (struct sockaddr *) &closed, sizeof closed),
                     1);
    ck_assert_int_eq(uco_recv(receiver.fd, receiver.text, 8, 0), -ECONNREFUSED);
    task = uco_create_task(receive, &receiver);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &before), 0);
    ck_assert_int_eq(uco_sleep(0.25), 0);
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &after), 0);
    ck_assert_uint_lt(after.polls - before.polls, 100);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_sendto(receiver.fd, "x", 1, 0, (struct sockaddr *) &own, sizeof own), 1);
    ck_assert_int_eq(uco_join(task), 1);
    return uco_close(receiver.fd);
}

/* It makes the socket ready until it is read from the error queue. */
START_TEST(an_error_that_nobody_reads_does_not_make_a_receiver_spin)
{
    storm_stop();
    ck_assert_int_eq(run_real(waits_beside_an_error, NULL), 0);
}
END_TEST

static intptr_t
talks_by_datagrams(void *arg)
{
    struct sockaddr_in there, here;
    int server = datagram_socket(&there);
    int client = datagram_socket(&here);
    uco_task *task = uco_create_task(answer_a_datagram, &server);
    char text[16];

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_sendto(client, "question", 8, 0, (struct sockaddr *) &there, sizeof there),
                     8);
    ck_assert_int_eq(uco_recvfrom(client, text, sizeof text, 0, NULL, NULL), 8);
    ck_assert_mem_eq(text, "question", 8);
    ck_assert_int_eq(uco_join(task), 8);

    /* Connected; two at once stay two, and an empty one is one. */
    ck_assert_int_eq(uco_connect(client, (struct sockaddr *) &there, sizeof there), 0);
    ck_assert_int_eq(uco_connect(server, (struct sockaddr *) &here, sizeof here), 0);
    ck_assert_int_eq(uco_send(client, "one", 3, 0), 3);
    ck_assert_int_eq(uco_send(client, "", 0, 0), 0);
    ck_assert_int_eq(uco_send(client, "three", 5, 0), 5);
    ck_assert_int_eq(uco_recv(server, text, sizeof text, 0), 3);
    ck_assert_int_eq(uco_recv(server, text, sizeof text, MSG_WAITALL), 0);
    ck_assert_int_eq(uco_recv(server, text, sizeof text, MSG_WAITALL), 5);
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(client), 0);
    return 0;
}

START_TEST(datagrams_come_one_by_one_with_their_sender)
{
    ck_assert_int_eq(run_virtual(talks_by_datagrams, NULL), 0);
}
END_TEST

static intptr_t
receive_message(void *arg)
{
    char text[8];
    struct iovec vector = {text, sizeof text};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t r = uco_recvmsg(*(int *) arg, &message, 0);

    return r < 0 ? r : (message.msg_flags & MSG_TRUNC) != 0 ? 1000 + r : r;
}

static intptr_t
messages_are_whole(void *arg)
{
    int ends[2];
    struct iovec vectors[] = {{(void *) (uintptr_t) "ab", 2}, {(void *) (uintptr_t) "cd", 2}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};
    uco_task *task;

    (void) arg;
    pair_open(SOCK_SEQPACKET, ends);
    task = uco_create_task(receive_message, &ends[0]);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_sendmsg(ends[1], &message, 0), 4);
    ck_assert_int_eq(uco_join(task), 4);
    ck_assert_int_eq(uco_send(ends[1], "too long for it", 15, 0), 15);
    ck_assert_int_eq(receive_message(&ends[0]), 1008);
    pair_close(ends);
    return 0;
}

START_TEST(messages_keep_their_borders_and_flags)
{
    ck_assert_int_eq(run_virtual(messages_are_whole, NULL), 0);
}
END_TEST

/* --- several buffers --- */

struct scatter {
    int fd;
    char first[2], second[4];
};

static intptr_t
read_scattered(void *arg)
{
    struct scatter *scatter = arg;
    struct iovec vectors[] = {{scatter->first, sizeof scatter->first},
                              {NULL, 0},
                              {scatter->second, sizeof scatter->second}};

    return uco_readv(scatter->fd, vectors, COUNT(vectors));
}

/* arg: NULL, or it is a pipe. */
static intptr_t
vectors_work(void *arg)
{
    struct iovec vectors[] = {
        {NULL, 0}, {(void *) (uintptr_t) "ab", 2}, {(void *) (uintptr_t) "cde", 3}};
    struct scatter scatter = {.fd = -1};
    uco_task *task;
    int ends[2];

    if (arg != NULL)
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    else
        pair_open(SOCK_STREAM, ends);
    scatter.fd = ends[0];
    task = uco_create_task(read_scattered, &scatter);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_writev(ends[1], vectors, COUNT(vectors)), 5);
    ck_assert_int_eq(uco_join(task), 5);
    ck_assert_mem_eq(scatter.first, "ab", 2);
    ck_assert_mem_eq(scatter.second, "cde", 3);
    ck_assert_int_eq(uco_readv(ends[0], vectors, -1), -EINVAL);
    ck_assert_int_eq(uco_writev(ends[1], vectors, IOV_MAX + 1), -EINVAL);
    pair_close(ends);
    return 0;
}

START_TEST(several_buffers_are_read_and_written_at_once)
{
    ck_assert_int_eq(run_virtual(vectors_work, NULL), 0);
    ck_assert_int_eq(run_virtual(vectors_work, &(bool){true}), 0);
}
END_TEST

static intptr_t
reads_into_nothing(void *arg)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    struct iovec nothing[2] = {{NULL, 0}, {NULL, 0}};
    char text[8];
    int ends[2];

    (void) arg;
    for (size_t i = 0; i < COUNT(types); i++) {
        pair_open(types[i], ends);
        ck_assert_int_eq(uco_readv(ends[0], NULL, 0), 0);
        ck_assert_int_eq(uco_readv(ends[0], nothing, 2), 0);
        ck_assert_int_eq(uco_send(ends[1], "kept", 4, 0), 4);
        ck_assert_int_eq(uco_readv(ends[0], nothing, 2), 0);
        ck_assert_int_eq(uco_read(ends[0], text, sizeof text), 4);
        pair_close(ends);
    }
    ck_assert_int_eq(uco_readv(ends[0], NULL, 0), -EBADF);
    return 0;
}

START_TEST(reading_into_no_buffers_neither_waits_nor_takes)
{
    ck_assert_int_eq(run_virtual(reads_into_nothing, NULL), 0);
}
END_TEST

static intptr_t
vectors_of_a_file(void *arg)
{
    char path[] = "/tmp/uco-test-XXXXXX";
    int fd = mkstemp(path);
    struct iovec vectors[] = {{(void *) (uintptr_t) "ab", 2}, {(void *) (uintptr_t) "cde", 3}};
    struct scatter scatter = {.fd = fd};

    (void) arg;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(uco_writev(fd, vectors, COUNT(vectors)), 5);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(read_scattered(&scatter), 5);
    ck_assert_mem_eq(scatter.second, "cde", 3);
    ck_assert_int_eq(read_scattered(&scatter), 0);
    ck_assert_int_eq(uco_close(fd), 0);
    return 0;
}

START_TEST(a_regular_file_takes_several_buffers_too)
{
    ck_assert_int_eq(run_virtual(vectors_of_a_file, NULL), 0);
}
END_TEST

/* --- bad input and faults --- */

static intptr_t
wrong_kinds(void *arg)
{
    char text[4];
    int ends[2];

    (void) arg;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(uco_recv(ends[0], text, 4, 0), -ENOTSOCK);
    ck_assert_int_eq(uco_send(ends[1], text, 4, 0), -ENOTSOCK);
    ck_assert_int_eq(uco_recv(-1, text, 4, 0), -EBADF);
    ck_assert_int_eq(uco_sendto(-1, text, 4, 0, NULL, 0), -EBADF);
    ck_assert_int_eq(uco_read(ends[1], text, 4), -EBADF);
    ck_assert_int_eq(uco_write(ends[0], text, 4), -EBADF);
    pair_close(ends);
    return 0;
}

START_TEST(what_is_no_socket_is_refused)
{
    ck_assert_int_eq(run_virtual(wrong_kinds, NULL), 0);
}
END_TEST

START_TEST(outside_a_coroutine_nothing_is_sent_or_received)
{
    char text[4];
    struct iovec vector = {text, sizeof text};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    int ends[2];

    pair_open(SOCK_STREAM, ends);
    ck_assert_int_eq(uco_send(ends[0], "x", 1, 0), -EPERM);
    ck_assert_int_eq(uco_recv(ends[0], text, 1, 0), -EPERM);
    ck_assert_int_eq(uco_sendto(ends[0], "x", 1, 0, NULL, 0), -EPERM);
    ck_assert_int_eq(uco_recvfrom(ends[0], text, 1, 0, NULL, NULL), -EPERM);
    ck_assert_int_eq(uco_sendmsg(ends[0], &message, 0), -EPERM);
    ck_assert_int_eq(uco_recvmsg(ends[0], &message, 0), -EPERM);
    ck_assert_int_eq(uco_readv(ends[0], &vector, 1), -EPERM);
    ck_assert_int_eq(uco_writev(ends[0], &vector, 1), -EPERM);
    ck_assert_int_eq(recv(ends[1], text, 1, MSG_DONTWAIT), -1);
    pair_close(ends);
}
END_TEST

static intptr_t
faults_of_a_call(void *arg)
{
    struct receiver receiver = {.size = 4};
    uco_task *task;
    int ends[2];

    (void) arg;
    connection_open(ends);
    receiver.fd = ends[0];
    ck_assert_int_eq(uco_test_fail("write", 1, false, EINTR), 0);
    ck_assert_int_eq(uco_send(ends[1], "abcd", 4, 0), 4);
    ck_assert_int_eq(uco_test_fail("read", 1, false, EINTR), 0);
    ck_assert_int_eq(receive(&receiver), 4);
    ck_assert_int_eq(uco_test_fail("write", 1, false, ENOBUFS), 0);
    ck_assert_int_eq(uco_send(ends[1], "abcd", 4, 0), -ENOBUFS);
    ck_assert_int_eq(uco_test_fail("read", 1, false, ECONNRESET), 0);
    ck_assert_int_eq(receive(&receiver), -ECONNRESET);
    ck_assert_int_eq(uco_test_fail("epoll_ctl", 1, true, ENOMEM), 0);
    task = uco_create_task(receive, &receiver);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_test_fail_off();
    if (uco_done(task)) { /* it was not registered yet */
        ck_assert_int_eq(uco_join(task), -ENOMEM);
        task = uco_create_task(receive, &receiver);
    }
    ck_assert_int_eq(uco_send(ends[1], "abcd", 4, 0), 4);
    ck_assert_int_eq(uco_join(task), 4);
    pair_close(ends);
    return 0;
}

START_TEST(a_failed_call_loses_nothing)
{
    ck_assert_int_eq(run_virtual(faults_of_a_call, NULL), 0);
}
END_TEST

/* --- known fds, closed behind uco's back --- */

static intptr_t
read_a_reused_number(void *arg)
{
    char text[8];
    int ends[2], others[2], number;

    (void) arg;
    connection_open(ends);
    number = ends[0];
    ck_assert_int_eq(uco_sleep(0), 0);
    for (int i = 0; i < 2; i++) {
        struct receiver receiver = {.fd = number, .size = 8};
        uco_task *task = uco_create_task(receive, &receiver);

        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_int_eq(uco_send(ends[1], "x", 1, 0), 1);
        ck_assert_int_eq(uco_join(task), 1);
    }
    ck_assert_int_eq(pipe2(others, O_CLOEXEC), 0);
    ck_assert_int_eq(dup3(others[0], number, O_CLOEXEC), number); /* closes the connection */
    ck_assert_int_eq(write(others[1], "pipe", 4), 4);
    ck_assert_int_eq(uco_read(number, text, sizeof text), 4);
    ck_assert_int_eq(close(others[0]), 0);
    ck_assert_int_eq(close(others[1]), 0);
    ck_assert_int_eq(uco_read(number, text, sizeof text), 0);
    pair_close((int[]){number, ends[1]});
    return 0;
}

static intptr_t
read_a_file_of_a_reused_number(void *arg)
{
    int ends[2], number, file;
    char text[8];

    (void) arg;
    connection_open(ends);
    number = ends[0];
    for (int i = 0; i < 2; i++) {
        struct receiver receiver = {.fd = number, .size = 8};
        uco_task *task = uco_create_task(receive, &receiver);

        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_int_eq(uco_send(ends[1], "x", 1, 0), 1);
        ck_assert_int_eq(uco_join(task), 1);
    }
    file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(dup3(file, number, O_CLOEXEC), number); /* closes the connection */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_read(number, text, sizeof text), 8);
    pair_close((int[]){number, ends[1]});
    return close(file);
}

START_TEST(a_connection_closed_raw_does_not_hang_the_file_that_gets_its_number)
{
    ck_assert_int_eq(run_virtual(read_a_file_of_a_reused_number, NULL), 0);
    ck_assert_int_eq(run_real(read_a_file_of_a_reused_number, NULL), 0);
}
END_TEST

START_TEST(a_connection_closed_raw_does_not_hang_its_numbers_next_user)
{
    ck_assert_int_eq(run_virtual(read_a_reused_number, NULL), 0);
    ck_assert_int_eq(run_real(read_a_reused_number, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("send and receive");
    TCase *cases = case_new(suite, "sockets");

    tcase_add_test(cases, recv_waits_for_what_comes_and_sees_the_end);
    tcase_add_test(cases, waitall_waits_for_all_bytes);
    tcase_add_test(cases, flags_of_recv_are_heeded);
    tcase_add_test(cases, a_sender_waits_for_room_and_learns_of_a_reset);
    tcase_add_test(cases, datagrams_come_one_by_one_with_their_sender);
    tcase_add_test(cases, an_error_that_nobody_reads_does_not_make_a_receiver_spin);
    tcase_add_loop_test(cases, a_receiver_with_a_full_queue_is_waited_for_without_spinning, 0, 2);
    tcase_add_test(cases, messages_keep_their_borders_and_flags);

    cases = case_new(suite, "several buffers");
    tcase_add_test(cases, several_buffers_are_read_and_written_at_once);
    tcase_add_test(cases, reading_into_no_buffers_neither_waits_nor_takes);
    tcase_add_test(cases, a_regular_file_takes_several_buffers_too);

    cases = case_new(suite, "faults");
    tcase_add_test(cases, what_is_no_socket_is_refused);
    tcase_add_test(cases, outside_a_coroutine_nothing_is_sent_or_received);
    tcase_add_test(cases, a_failed_call_loses_nothing);
    tcase_add_test(cases, a_connection_closed_raw_does_not_hang_its_numbers_next_user);
    tcase_add_test(cases, a_connection_closed_raw_does_not_hang_the_file_that_gets_its_number);
    return suite_end(suite);
}
