/* SPDX-License-Identifier: MIT */

/*
 * sendfile. Whether the disk was read by the pool shows when there is no thread for it
 * ("pthread_create" fails): then it gives ENOMEM.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SIZE = 3 * 1000 * 1000 };

static char data[SIZE], got[SIZE + 1];
static char path[64];

static int
file_new(void)
{
    int fd;

    snprintf(path, sizeof path, "/var/tmp/uco-sendfile-XXXXXX");
    fd = mkostemp(path, O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (i * 7 + i / 1000);
    ck_assert_int_eq(write(fd, data, SIZE), SIZE);
    ck_assert_int_eq(fsync(fd), 0);
    return fd;
}

static void
file_done(int fd)
{
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(unlink(path), 0);
}

static void
forget(int fd)
{
    ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static bool
is_in_memory(int fd)
{
    char c;

    return preadv2(fd, &(struct iovec){&c, 1}, 1, 0, RWF_NOWAIT) == 1;
}

/* Whether this file system can take a file out of memory, and tells. */
static bool
can_forget(int fd)
{
    char c;

    forget(fd);
    if (!is_in_memory(fd) && pread(fd, &c, 1, 0) == 1 && is_in_memory(fd))
        return true;
    test_skipped("this file system does not tell what is in memory");
    return false;
}

static void
no_threads(void)
{
    ck_assert_int_eq(uco_test_fail("pthread_create", 1, true, EAGAIN), 0);
}

static void
open_sockets(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void
open_pipe(int ends[2])
{
    int pipe_ends[2];

    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0); /* and not O_NONBLOCK */
    ends[0] = pipe_ends[1];
    ends[1] = pipe_ends[0];
}

struct sender {
    int out, in;
    off_t *offset;
};

static intptr_t
sends_all(void *arg)
{
    struct sender *sender = arg;
    ssize_t r, sent = 0;

    while ((r = uco_sendfile(sender->out, sender->in, sender->offset, SIZE)) > 0)
        sent += r;
    ck_assert_int_eq(uco_close(sender->out), 0);
    return r < 0 ? r : sent;
}

/* Sends the whole file through ends, which it closes. */
static void
sends_through(int ends[2], int in, off_t *offset, off_t from)
{
    struct sender sender = {.out = ends[0], .in = in, .offset = offset};
    uco_task *sending = uco_create_task(sends_all, &sender);

    ck_assert_int_eq(uco_read_exactly(ends[1], got, SIZE - (size_t) from), SIZE - from);
    ck_assert_int_eq(uco_read(ends[1], got + SIZE, 1), 0);
    ck_assert_int_eq(uco_join(sending), SIZE - from);
    ck_assert_int_eq(memcmp(got, data + from, SIZE - (size_t) from), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
}

static intptr_t
sends_a_file(void *arg)
{
    static void (*const opens[])(int ends[2]) = {open_sockets, open_pipe};
    int in = *(int *) arg, ends[2];

    for (size_t i = 0; i < COUNT(opens) * 4; i++) {
        off_t from = 12345, offset = from;

        if (i % 2 != 0)
            forget(in);
        opens[i / 4](ends);
        ck_assert_int_eq(lseek(in, from, SEEK_SET), from);
        sends_through(ends, in, i / 2 % 2 != 0 ? &offset : NULL, from);
        ck_assert_int_eq(lseek(in, 0, SEEK_CUR), i / 2 % 2 != 0 ? from : SIZE);
        ck_assert_int_eq(offset, i / 2 % 2 != 0 ? SIZE : from);
    }
    return 0;
}

START_TEST(a_file_is_sent_to_a_socket_and_to_a_pipe)
{
    int in = file_new();

    ck_assert_int_eq(run_virtual(sends_a_file, &in), 0);
    file_done(in);
}
END_TEST

static intptr_t
sends_from_memory(void *arg)
{
    int in = *(int *) arg, ends[2];
    off_t offset = 0;
    ssize_t r = 0;
    char c;

    open_sockets(ends);
    no_threads();
    /* The kernel need not let go of all, and a fast disk can be done before it looks again. */
    for (int i = 0; i < 100 && r != -ENOMEM; i++) {
        forget(in);
        offset = 0;
        r = uco_sendfile(ends[0], in, &offset, 500);
        ck_assert(r == 500 || r == -ENOMEM);
        ck_assert_int_eq(offset, r == 500 ? 500 : 0);
        if (r == 500) /* what a socket holds is not let go of */
            ck_assert_int_eq(read(ends[1], got, 500), 500);
    }
    if (r != -ENOMEM)
        test_skipped("this kernel keeps what it is to forget");
    ck_assert_int_eq(pread(in, &c, 1, 0), 1);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &offset, 500), 500);
    ck_assert_int_eq(read(ends[1], got, 500), 500);
    uco_test_fail_off();
    forget(in);
    offset = 0;
    ck_assert_int_gt(uco_sendfile(ends[0], in, &offset, 5000), 0);
    ck_assert(is_in_memory(in));
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

START_TEST(the_disk_is_read_by_the_pool)
{
    int in = file_new();

    if (can_forget(in))
        ck_assert_int_eq(run_virtual(sends_from_memory, &in), 0);
    file_done(in);
}
END_TEST

/* By way of a buffer: to a file, and from what the kernel does not send from. */
static intptr_t
copies(void *arg)
{
    int in = *(int *) arg, out = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), ends[2];
    off_t offset = 0;
    ssize_t r;

    ck_assert_int_ge(out, 0);
    ck_assert_int_eq(lseek(in, 0, SEEK_SET), 0);
    while ((r = uco_sendfile(out, in, NULL, SIZE)) > 0)
        continue;
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(pread(out, got, SIZE, 0), SIZE);
    ck_assert_int_eq(memcmp(got, data, SIZE), 0);
    open_sockets(ends);
    uco_test_fail("read", 1, false, EOPNOTSUPP);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &offset, 100), 100);
    uco_test_fail("sendfile", 1, false, EINVAL);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &offset, 100), 100);
    uco_test_fail_off();
    ck_assert_int_eq(offset, 200);
    ck_assert_int_eq(uco_read_exactly(ends[1], got, 200), 200);
    ck_assert_int_eq(memcmp(got, data, 200), 0);
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(uco_sendfile(out, in, &offset, 100), -ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(offset, 200);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return uco_close(out);
}

START_TEST(what_the_kernel_does_not_send_is_copied)
{
    int in = file_new();

    ck_assert_int_eq(run_virtual(copies, &in), 0);
    file_done(in);
}
END_TEST

/* As inetd hands a connection over. */
static intptr_t
sends_to_standard_output(void *arg)
{
    int in = *(int *) arg, saved = dup(STDOUT_FILENO), ends[2], flags;
    off_t offset = 0;
    ssize_t r;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(dup2(ends[0], STDOUT_FILENO), STDOUT_FILENO);
    r = uco_sendfile(STDOUT_FILENO, in, &offset, 100);
    flags = fcntl(STDOUT_FILENO, F_GETFL);
    ck_assert_int_eq(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(close(saved), 0);
    ck_assert_int_eq(r, 100);
    ck_assert_int_eq(flags & O_NONBLOCK, 0);
    ck_assert_int_eq(uco_read_exactly(ends[1], got, 100), 100);
    ck_assert_int_eq(memcmp(got, data, 100), 0);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    return uco_close(ends[1]);
}

START_TEST(a_socket_among_the_standard_streams_stays_blocking)
{
    int in = file_new();

    ck_assert_int_eq(run_virtual(sends_to_standard_output, &in), 0);
    file_done(in);
}
END_TEST

static intptr_t
sends_until_it_is_full(void *arg)
{
    struct sender *sender = arg;
    ssize_t r;

    while ((r = uco_sendfile(sender->out, sender->in, NULL, 100000)) > 0)
        ck_assert_int_lt(lseek(sender->in, 0, SEEK_CUR), SIZE);
    return r;
}

static intptr_t
nobody_reads(void *arg)
{
    static void (*const opens[])(int ends[2]) = {open_sockets, open_pipe};
    struct sender sender = {.in = *(int *) arg};
    uco_task *sending;
    int ends[2];

    for (size_t i = 0; i < 3 * COUNT(opens); i++) {
        ck_assert_int_eq(lseek(sender.in, 0, SEEK_SET), 0);
        opens[i / 3](ends);
        sender.out = ends[0];
        sending = uco_create_task(sends_until_it_is_full, &sender);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert(!uco_done(sending));
        if (i % 3 == 0) {
            ck_assert_int_eq(uco_sendfile(ends[0], sender.in, NULL, 1), -EBUSY);
            ck_assert_int_eq(uco_cancel(sending), 0);
            ck_assert_int_eq(uco_join(sending), -ECANCELED);
        } else if (i % 3 == 1) {
            ck_assert_int_eq(uco_close(ends[0]), 0);
            ck_assert_int_eq(uco_join(sending), -EBADF);
        } else {
            ck_assert_int_eq(uco_close(ends[1]), 0);
            ck_assert_int_eq(uco_join(sending), -EPIPE);
        }
        if (i % 3 != 1)
            ck_assert_int_eq(uco_close(ends[0]), 0);
        if (i % 3 != 2)
            ck_assert_int_eq(uco_close(ends[1]), 0);
    }
    return 0;
}

START_TEST(who_waits_for_room_can_be_cancelled_closed_and_left)
{
    int in = file_new();

    ck_assert_int_eq(run_virtual(nobody_reads, &in), 0);
    file_done(in);
}
END_TEST

static intptr_t
sends_to_nobody(void *arg)
{
    static void (*const opens[])(int ends[2]) = {open_sockets, open_pipe};
    int in = *(int *) arg, ends[2];
    sigset_t pending;
    off_t offset = 0;

    for (size_t i = 0; i < COUNT(opens); i++) {
        opens[i](ends);
        ck_assert_int_eq(uco_close(ends[1]), 0);
        errno = 77;
        ck_assert_int_eq(uco_sendfile(ends[0], in, &offset, SIZE), -EPIPE);
        ck_assert_int_eq(errno, 77);
        ck_assert_int_eq(sigpending(&pending), 0);
        ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
        ck_assert_int_eq(uco_close(ends[0]), 0);
    }
    return 0;
}

/* B13 */
START_TEST(sigpipe_is_not_raised)
{
    int in = file_new();

    ck_assert_ptr_eq(signal(SIGPIPE, SIG_DFL), SIG_DFL);
    ck_assert_int_eq(run_virtual(sends_to_nobody, &in), 0);
    file_done(in);
}
END_TEST

static intptr_t
sends_once(void *arg)
{
    struct sender *sender = arg;

    return uco_sendfile(sender->out, sender->in, sender->offset, 1000);
}

static intptr_t
the_number_is_used_again(void *arg)
{
    off_t offset = 0;
    struct sender sender = {.in = *(int *) arg, .offset = &offset};
    uco_task *sending;
    int ends[2], others[2];

    open_sockets(ends);
    sender.out = ends[0];
    uco_test_fail("read", 1, false, EAGAIN); /* not in memory: the pool reads it */
    sending = uco_create_task_with(&(uco_task_options){.eager = true}, sends_once, &sender);
    ck_assert(!uco_done(sending));
    ck_assert_int_eq(uco_close(ends[0]), 0);
    open_sockets(others);
    ck_assert_int_eq(others[0], ends[0]);
    ck_assert_int_eq(uco_join(sending), -EBADF);
    ck_assert_int_eq(recv(others[1], got, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    ck_assert_int_eq(uco_close(others[0]), 0);
    return uco_close(others[1]);
}

START_TEST(nothing_is_sent_to_who_has_got_the_number_meanwhile)
{
    int in = file_new();

    ck_assert_int_eq(run_virtual(the_number_is_used_again, &in), 0);
    file_done(in);
}
END_TEST

static intptr_t
sends_badly(void *arg)
{
    int in = *(int *) arg, ends[2], pipes[2];
    int write_only = open(path, O_WRONLY | O_CLOEXEC), folder = open("/", O_RDONLY | O_CLOEXEC);
    off_t zero = 0, negative = -1;

    open_sockets(ends);
    open_pipe(pipes);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &negative, 1), -EINVAL);
    ck_assert_int_eq(uco_sendfile(ends[0], pipes[1], NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_sendfile(ends[0], pipes[1], &zero, 1), -EINVAL);
    ck_assert_int_eq(uco_sendfile(ends[0], ends[1], NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_sendfile(ends[0], folder, &zero, 1), -EINVAL);
    ck_assert_int_eq(uco_sendfile(ends[0], write_only, &zero, 1), -EBADF);
    ck_assert_int_eq(uco_sendfile(pipes[1], in, &zero, 1), -EBADF);
    ck_assert_int_eq(uco_sendfile(ends[0], -1, NULL, 1), -EBADF);
    ck_assert_int_eq(uco_sendfile(-1, in, &zero, 1), -EBADF);
    ck_assert_int_eq(uco_sendfile(-1, in, &zero, 0), -EBADF);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &zero, 0), 0);
    zero = SIZE;
    ck_assert_int_eq(uco_sendfile(ends[0], in, &zero, 10), 0);
    zero = 0;
    uco_test_fail("sendfile", 1, false, EINTR);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &zero, 10), 10);
    uco_test_fail("sendfile", 1, false, EIO);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &zero, 10), -EIO);
    uco_test_fail_off();
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(uco_sendfile(ends[0], in, &zero, 10), -ECANCELED);
    ck_assert_int_eq(zero, 10);
    ck_assert_int_eq(uco_close(write_only) | uco_close(folder) | uco_close(ends[0]) |
                         uco_close(ends[1]) | uco_close(pipes[0]) | uco_close(pipes[1]),
                     0);
    return 0;
}

START_TEST(nonsense_and_errors_are_told)
{
    int in = file_new();

    ck_assert_int_eq(uco_sendfile(1, in, NULL, 1), -EPERM);
    ck_assert_int_eq(run_virtual(sends_badly, &in), 0);
    file_done(in);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sendfile");
    TCase *tc = case_new(suite, "sendfile");

    tcase_add_test(tc, a_file_is_sent_to_a_socket_and_to_a_pipe);
    tcase_add_test(tc, the_disk_is_read_by_the_pool);
    tcase_add_test(tc, what_the_kernel_does_not_send_is_copied);
    tcase_add_test(tc, a_socket_among_the_standard_streams_stays_blocking);
    tcase_add_test(tc, who_waits_for_room_can_be_cancelled_closed_and_left);
    tcase_add_test(tc, sigpipe_is_not_raised);
    tcase_add_test(tc, nothing_is_sent_to_who_has_got_the_number_meanwhile);
    tcase_add_test(tc, nonsense_and_errors_are_told);
    return suite_end(suite);
}
