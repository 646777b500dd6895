/* SPDX-License-Identifier: MIT */
/* Handing file descriptors over Unix sockets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void
pair(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void
close_both(const int ends[2])
{
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
}

static intptr_t
receives(void *socket)
{
    return uco_recv_fd(*(int *) socket);
}

static intptr_t
passes_a_pipe(void *arg)
{
    int ends[2], tube[2], fd;
    uco_task *receiving;
    char c = 0;

    (void) arg;
    pair(ends);
    ck_assert_int_eq(pipe2(tube, O_CLOEXEC), 0);
    receiving = uco_create_task(receives, &ends[1]);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(receiving));
    ck_assert_int_eq(uco_send_fd(ends[0], tube[1]), 0);
    ck_assert_int_eq(uco_close(tube[1]), 0);
    fd = (int) uco_join(receiving);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(uco_write(fd, "x", 1), 1);
    ck_assert_int_eq(uco_read(tube[0], &c, 1), 1);
    ck_assert_int_eq(c, 'x');
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(uco_read(tube[0], &c, 1), 0);
    ck_assert_int_eq(uco_close(tube[0]), 0);
    close_both(ends);
    return 0;
}

START_TEST(a_passed_fd_is_a_duplicate_and_close_on_exec)
{
    ck_assert_int_eq(run_virtual(passes_a_pipe, NULL), 0);
}
END_TEST

enum { MANY = 20 };

static intptr_t
passes_many(void *arg)
{
    struct stat sent, received;
    int ends[2], fd;

    (void) arg;
    pair(ends);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(uco_send_fd(ends[0], ends[i % 2]), 0);
    for (int i = 0; i < MANY; i++) {
        fd = uco_recv_fd(ends[1]);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(ends[i % 2], &sent), 0);
        ck_assert_int_eq(fstat(fd, &received), 0);
        ck_assert_uint_eq(sent.st_ino, received.st_ino);
        ck_assert_int_eq(uco_close(fd), 0);
    }
    close_both(ends);
    return 0;
}

START_TEST(fds_arrive_one_by_one_in_their_order)
{
    ck_assert_int_eq(run_virtual(passes_many, NULL), 0);
}
END_TEST

static intptr_t
receives_the_end(void *arg)
{
    int ends[2];

    (void) arg;
    pair(ends);
    ck_assert_int_eq(uco_write(ends[0], "x", 1), 1);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_recv_fd(ends[1]), -EPROTO);
    ck_assert_int_eq(uco_recv_fd(ends[1]), -ENODATA);
    ck_assert_int_eq(uco_send_fd(ends[1], 1), -EPIPE);
    return uco_close(ends[1]);
}

START_TEST(a_byte_without_an_fd_and_the_end_are_told)
{
    ck_assert_int_eq(run_virtual(receives_the_end, NULL), 0);
}
END_TEST

/* A message with `count` times the same fd. */
static void
send_several(int socket, int fd, int count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec vector = {.iov_base = control, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control};
    struct cmsghdr *header = (struct cmsghdr *) control;

    message.msg_controllen = CMSG_SPACE((size_t) count * sizeof fd);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((size_t) count * sizeof fd);
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(header) + (size_t) i * sizeof fd, &fd, sizeof fd);
    ck_assert_int_eq(uco_sendmsg(socket, &message, 0), 1);
}

static intptr_t
receives_several(void *arg)
{
    const int yes = 1;
    int ends[2], fd, before;

    (void) arg;
    pair(ends);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes), 0);
    before = count_fds();
    send_several(ends[0], ends[0], 8);
    fd = uco_recv_fd(ends[1]);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_le(count_fds(), before + 2); /* and the poller's */
    ck_assert_int_eq(uco_close(fd), 0);
    close_both(ends);
    return 0;
}

START_TEST(of_several_fds_the_others_are_closed)
{
    ck_assert_int_eq(run_virtual(receives_several, NULL), 0);
}
END_TEST

static intptr_t
has_too_many(void *arg)
{
    struct rlimit limit, none;
    int ends[2], r;

    (void) arg;
    pair(ends);
    ck_assert_int_eq(uco_send_fd(ends[0], ends[0]), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    r = uco_recv_fd(ends[1]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(r, -EMFILE);
    ck_assert_int_eq(uco_send_fd(ends[0], ends[0]), 0);
    r = uco_recv_fd(ends[1]);
    ck_assert_int_ge(r, 0);
    ck_assert_int_eq(uco_close(r), 0);
    close_both(ends);
    return 0;
}

START_TEST(an_fd_for_which_there_is_no_room_is_told)
{
    ck_assert_int_eq(run_virtual(has_too_many, NULL), 0);
}
END_TEST

static intptr_t
uses_what_cannot_pass(void *arg)
{
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ends[2], tube[2];

    (void) arg;
    pair(ends);
    ck_assert_int_eq(pipe2(tube, O_CLOEXEC), 0);
    ck_assert_int_eq(uco_send_fd(tcp, 1), -EOPNOTSUPP);
    ck_assert_int_eq(uco_recv_fd(tcp), -EOPNOTSUPP);
    ck_assert_int_eq(uco_send_fd(tube[1], 1), -ENOTSOCK);
    ck_assert_int_eq(uco_recv_fd(tube[0]), -ENOTSOCK);
    ck_assert_int_eq(uco_send_fd(-1, 1), -EBADF);
    ck_assert_int_eq(uco_recv_fd(-1), -EBADF);
    ck_assert_int_eq(uco_send_fd(ends[0], -1), -EBADF);
    uco_test_fail("write", 1, false, ENOBUFS);
    ck_assert_int_eq(uco_send_fd(ends[0], 1), -ENOBUFS);
    uco_test_fail("read", 1, false, ECONNRESET);
    ck_assert_int_eq(uco_recv_fd(ends[0]), -ECONNRESET);
    uco_test_fail("getsockopt", 1, false, ENOMEM);
    ck_assert_int_eq(uco_send_fd(ends[0], 1), -ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(uco_send_fd(ends[0], 1), -ECANCELED);
    ck_assert_int_eq(uco_recv_fd(ends[1]), -ECANCELED);
    close_both(tube);
    close_both(ends);
    return uco_close(tcp);
}

START_TEST(what_cannot_pass_fds_is_refused)
{
    ck_assert_int_eq(uco_send_fd(0, 0), -EPERM);
    ck_assert_int_eq(uco_recv_fd(0), -EPERM);
    ck_assert_int_eq(run_virtual(uses_what_cannot_pass, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("pass");
    TCase *tc = case_new(suite, "passing fds");

    tcase_add_test(tc, a_passed_fd_is_a_duplicate_and_close_on_exec);
    tcase_add_test(tc, fds_arrive_one_by_one_in_their_order);
    tcase_add_test(tc, a_byte_without_an_fd_and_the_end_are_told);
    tcase_add_test(tc, of_several_fds_the_others_are_closed);
    tcase_add_test(tc, an_fd_for_which_there_is_no_room_is_told);
    tcase_add_test(tc, what_cannot_pass_fds_is_refused);
    return suite_end(suite);
}
