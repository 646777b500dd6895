/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing descriptors, waiting for them, and closing them: also behind the loop's
 * back.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* POLLRDHUP */
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void
socket_pair(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void
pipe_pair(int ends[2])
{
    ck_assert_int_eq(pipe(ends), 0);
}

static void
pair_close(int ends[2])
{
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
}

/* Reads one byte from the descriptor at arg: gives the byte, or the error. */
static intptr_t
reads_byte(void *arg)
{
    unsigned char c;
    ssize_t r = uco_read(*(int *) arg, &c, 1);

    return r == 1 ? c : r;
}

/* Fills what the descriptor at arg will take: gives the last result, an error. */
static intptr_t
writes_for_ever(void *arg)
{
    static const char block[65536];
    ssize_t r;

    do
        r = uco_write(*(int *) arg, block, sizeof block);
    while (r > 0);
    return r;
}

static uco_task *
parked(uco_fn *fn, void *arg)
{
    uco_task *task = uco_create_task(fn, arg);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    return task;
}

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

/* Reading and writing */

typedef void make_pair(int ends[2]);

static make_pair *const makers[] = {socket_pair, pipe_pair};

static intptr_t
passes_bytes(void *arg)
{
    int ends[2];
    char buf[8];
    uco_task *reader;

    (*(make_pair *const *) arg)(ends);
    reader = parked(reads_byte, &ends[0]);
    ck_assert_int_eq(uco_write(ends[1], "xyz", 3), 3);
    ck_assert_int_eq(uco_join(reader), 'x');
    ck_assert_int_eq(uco_read(ends[0], buf, sizeof buf), 2);
    ck_assert_int_eq(uco_read(ends[0], buf, 0), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    ck_assert_int_eq(uco_read(ends[0], buf, sizeof buf), 0);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    return 0;
}

START_TEST(a_reader_waits_for_bytes_and_sees_the_end)
{
    ck_assert_int_eq(run_virtual(passes_bytes, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
writes_a_megabyte(void *arg)
{
    size_t n = 1 << 20, done = 0;
    unsigned char *data = malloc(n);
    ssize_t r;

    for (size_t i = 0; i < n; i++)
        data[i] = (unsigned char) (i * 31 >> 4);
    r = uco_write_all(*(int *) arg, data, n, &done);
    ck_assert_int_eq(r, 1 << 20);
    ck_assert_uint_eq(done, n);
    free(data);
    return 0;
}

static intptr_t
passes_a_megabyte(void *arg)
{
    size_t n = 1 << 20, i;
    unsigned char *data = malloc(n);
    int ends[2];
    uco_task *writer;

    (*(make_pair *const *) arg)(ends);
    writer = uco_create_task(writes_a_megabyte, &ends[1]);
    ck_assert_int_eq(uco_read_exactly(ends[0], data, n), 1 << 20);
    for (i = 0; i < n && data[i] == (unsigned char) (i * 31 >> 4); i++)
        continue;
    ck_assert_uint_eq(i, n);
    ck_assert_int_eq(uco_join(writer), 0);
    pair_close(ends);
    free(data);
    return 0;
}

/*
 * More than a pipe or socket holds; the pipe is a blocking one, where a write that does not fit
 * would stop the thread.
 */
START_TEST(a_megabyte_passes_whole)
{
    ck_assert_int_eq(run_virtual(passes_a_megabyte, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
writes_more_than_fits(void *arg)
{
    size_t n = 1 << 20;
    char *data = calloc(1, n);
    int ends[2];
    ssize_t r;

    (*(make_pair *const *) arg)(ends);
    r = uco_write(ends[1], data, n);
    ck_assert_int_gt(r, 0);
    ck_assert_int_lt(r, 1 << 20);
    pair_close(ends);
    free(data);
    return 0;
}

START_TEST(a_write_that_does_not_fit_writes_what_does)
{
    ck_assert_int_eq(run_virtual(writes_more_than_fits, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
leaves_flags_alone(void *arg)
{
    int ends[2], flags[2];
    uco_task *reader, *writer;

    (void) arg;
    pipe_pair(ends);
    flags[0] = fcntl(ends[0], F_GETFL);
    flags[1] = fcntl(ends[1], F_GETFL);
    reader = parked(reads_byte, &ends[0]);
    ck_assert_int_eq(fcntl(ends[0], F_GETFL), flags[0]);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco_join(reader), 'x');
    writer = parked(writes_for_ever, &ends[1]);
    ck_assert_int_eq(fcntl(ends[1], F_GETFL), flags[1]);
    ck_assert_int_eq(uco_cancel(writer), 0);
    ck_assert_int_eq(uco_join(writer), -ECANCELED);
    pair_close(ends);
    return 0;
}

/* What others may share stays blocking, and yet nobody blocks. */
START_TEST(a_blocking_pipe_stays_blocking)
{
    ck_assert_int_eq(run_virtual(leaves_flags_alone, NULL), 0);
}
END_TEST

/* Both ends of a pseudo-terminal, which block. */
static void
terminal_pair(int ends[2])
{
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(ends[0], 0);
    ck_assert_int_eq(grantpt(ends[0]), 0);
    ck_assert_int_eq(unlockpt(ends[0]), 0);
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(ends[1], 0);
}

/* arg: no open file of its own can be had. */
static intptr_t
fills_a_terminal(void *arg)
{
    static char text[65536];
    int ends[2], flags;
    uco_task *writer;

    terminal_pair(ends);
    flags = fcntl(ends[1], F_GETFL);
    if (arg != NULL)
        uco_test_fail("open", 1, true, EMFILE);
    writer = parked(writes_for_ever, &ends[1]);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_gt(uco_read(ends[0], text, sizeof text), 0);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert(!uco_done(writer));
    }
    uco_test_fail_off();
    ck_assert_int_eq(fcntl(ends[1], F_GETFL), flags);
    ck_assert_int_eq(uco_cancel(writer), 0);
    ck_assert_int_eq(uco_join(writer), -ECANCELED);
    pair_close(ends);
    return 0;
}

START_TEST(a_terminal_that_nobody_reads_does_not_block_the_loop)
{
    ck_assert_int_eq(run_virtual(fills_a_terminal, _i != 0 ? &(bool){true} : NULL), 0);
}
END_TEST

static intptr_t
reads_in_pieces(void *arg)
{
    char *text = arg;

    return uco_read_exactly(*(int *) (text + 8), text, 6);
}

static intptr_t
sends_in_pieces(void *arg)
{
    struct {
        char text[8];
        int fd;
    } piece = {0};
    int ends[2];
    uco_task *reader;

    (void) arg;
    socket_pair(ends);
    piece.fd = ends[0];
    reader = parked(reads_in_pieces, &piece);
    ck_assert_int_eq(uco_write(ends[1], "abc", 3), 3);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(reader));
    ck_assert_int_eq(uco_write(ends[1], "defg", 4), 4);
    ck_assert_int_eq(uco_join(reader), 6);
    ck_assert_str_eq(piece.text, "abcdef");
    ck_assert_int_eq(uco_close(ends[1]), 0);
    ck_assert_int_eq(uco_read_exactly(ends[0], piece.text, 6), -ENODATA);
    ck_assert_str_eq(piece.text, "gbcdef"); /* what there was */
    ck_assert_int_eq(uco_close(ends[0]), 0);
    return 0;
}

START_TEST(read_exactly_collects_pieces_and_tells_of_an_early_end)
{
    ck_assert_int_eq(run_virtual(sends_in_pieces, NULL), 0);
}
END_TEST

struct half_write {
    int fd;
    size_t done;
};

static intptr_t
writes_eight_megabytes(void *arg)
{
    struct half_write *half = arg;
    size_t n = 8 << 20;
    char *data = calloc(1, n);
    ssize_t r = uco_write_all(half->fd, data, n, &half->done);

    free(data);
    return r;
}

static intptr_t
cancels_a_write(void *arg)
{
    int ends[2], there = 0;
    struct half_write half = {0};
    uco_task *writer;

    (*(make_pair *const *) arg)(ends);
    half.fd = ends[1];
    writer = parked(writes_eight_megabytes, &half);
    ck_assert_int_eq(uco_cancel(writer), 0);
    ck_assert_int_eq(uco_join(writer), -ECANCELED);
    ck_assert_int_eq(ioctl(ends[0], FIONREAD, &there), 0);
    ck_assert_int_gt(there, 0);
    ck_assert_uint_eq(half.done, (size_t) there);
    pair_close(ends);
    return 0;
}

START_TEST(a_cancelled_write_tells_how_much_was_written)
{
    ck_assert_int_eq(run_virtual(cancels_a_write, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
breaks_a_write(void *arg)
{
    int ends[2];
    struct half_write half = {0};
    uco_task *writer;

    (*(make_pair *const *) arg)(ends);
    half.fd = ends[1];
    writer = parked(writes_eight_megabytes, &half);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_join(writer), -EPIPE);
    ck_assert_uint_gt(half.done, 0);
    ck_assert_uint_lt(half.done, 8 << 20);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), -EPIPE);
    ck_assert_int_eq(uco_write_all(ends[1], "x", 1, NULL), -EPIPE);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

/* A broken pipe is an error and never a signal, also where that would kill. */
START_TEST(writing_to_nobody_is_epipe_and_no_signal)
{
    sigset_t pending;

    signal(SIGPIPE, SIG_DFL);
    ck_assert_int_eq(run_virtual(breaks_a_write, (void *) &makers[_i]), 0);
    sigpending(&pending);
    ck_assert(!sigismember(&pending, SIGPIPE));
}
END_TEST

static intptr_t
reads_a_file(void *arg)
{
    FILE *file = tmpfile();
    int fd = fileno(file);
    char text[16] = "";

    (void) arg;
    ck_assert_int_eq(uco_write_all(fd, "hello file", 10, NULL), 10);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(uco_read(fd, text, sizeof text), 10);
    ck_assert_str_eq(text, "hello file");
    ck_assert_int_eq(uco_read(fd, text, sizeof text), 0);
    ck_assert_int_eq(lseek(fd, 6, SEEK_SET), 6);
    ck_assert_int_eq(uco_read_exactly(fd, text, 5), -ENODATA);
    fclose(file);
    return 0;
}

START_TEST(a_regular_file_is_read_and_written)
{
    ck_assert_int_eq(run_real(reads_a_file, NULL), 0);
}
END_TEST

static intptr_t
meets_errors(void *arg)
{
    int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ends[2];
    char c = 0;

    (void) arg;
    pipe_pair(ends);
    ck_assert_int_eq(uco_read(directory, &c, 1), -EISDIR);
    ck_assert_int_eq(uco_read(ends[1], &c, 1), -EBADF); /* the wrong end */
    ck_assert_int_eq(uco_write(ends[0], &c, 1), -EBADF);
    ck_assert_int_eq(uco_close(directory), 0);
    pair_close(ends);
    ck_assert_int_eq(uco_read(directory, &c, 1), -EBADF);
    ck_assert_int_eq(uco_write(directory, &c, 1), -EBADF);
    ck_assert_int_eq(uco_read(-1, &c, 1), -EBADF);
    ck_assert_int_eq(uco_read_exactly(-1, &c, 1), -EBADF);
    ck_assert_int_eq(uco_write_all(-1, &c, 1, NULL), -EBADF);
    return 0;
}

START_TEST(the_systems_errors_are_passed_on)
{
    ck_assert_int_eq(run_virtual(meets_errors, NULL), 0);
}
END_TEST

static void
cannot_do_io(void *arg)
{
    int fd = *(int *) arg;
    char c = 0;

    ck_assert_int_eq(uco_read(fd, &c, 1), -EPERM);
    ck_assert_int_eq(uco_write(fd, &c, 1), -EPERM);
    ck_assert_int_eq(uco_read_exactly(fd, &c, 1), -EPERM);
    ck_assert_int_eq(uco_write_all(fd, &c, 1, NULL), -EPERM);
    ck_assert_int_eq(uco_poll(fd, POLLIN, 0), -EPERM);
}

static intptr_t
calls_back(void *fd)
{
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), cannot_do_io, fd), 0);
    return uco_sleep(1.0);
}

START_TEST(outside_a_coroutine_nothing_is_read_or_written)
{
    int ends[2];

    socket_pair(ends);
    cannot_do_io(&ends[0]);
    ck_assert_int_eq(run_virtual(calls_back, &ends[0]), 0);
    pair_close(ends);
}
END_TEST

/* Cancelling and sharing */

static intptr_t
cancels_a_read(void *arg)
{
    int ends[2], fds;
    uco_task *reader;

    (*(make_pair *const *) arg)(ends);
    fds = count_fds();
    reader = parked(reads_byte, &ends[0]);
    ck_assert_int_eq(uco_cancel(reader), 0);
    ck_assert_int_eq(uco_join(reader), -ECANCELED);
    ck_assert_double_eq(uco_time(), 0.0);
    ck_assert_int_eq(count_fds(), fds);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    /* Nothing was lost to the one that was cancelled. */
    ck_assert_int_eq(reads_byte(&ends[0]), 'x');
    pair_close(ends);
    return 0;
}

/* L22: a read is cancelled promptly, and leaves no trace. */
START_TEST(a_cancelled_read_takes_nothing)
{
    ck_assert_int_eq(run_virtual(cancels_a_read, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
reads_when_cancelled(void *arg)
{
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(reads_byte(arg), -ECANCELED);
    ck_assert_int_eq(uco_write(*(int *) arg, "x", 1), -ECANCELED);
    ck_assert_int_eq(uco_poll(*(int *) arg, POLLIN, 0), -ECANCELED);
    return 0;
}

START_TEST(in_a_cancelled_scope_what_is_ready_is_not_read)
{
    int ends[2];
    char c;

    socket_pair(ends);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(run_virtual(reads_when_cancelled, &ends[0]), 0);
    ck_assert_int_eq(read(ends[0], &c, 1), 1);
    pair_close(ends);
}
END_TEST

static intptr_t
times_out(void *arg)
{
    int ends[2];

    (void) arg;
    socket_pair(ends);
    ck_assert_int_eq(uco_with_timeout(2.0, reads_byte, &ends[0]), -ETIMEDOUT);
    ck_assert_double_eq(uco_time(), 2.0);
    ck_assert_int_eq(uco_with_timeout(3.0, writes_for_ever, &ends[0]), -ETIMEDOUT);
    ck_assert_double_eq(uco_time(), 5.0);
    ck_assert_uint_eq(stats_here().timers, 0);
    pair_close(ends);
    return 0;
}

START_TEST(scopes_give_reads_and_writes_their_timeout)
{
    ck_assert_int_eq(run_virtual(times_out, NULL), 0);
}
END_TEST

static intptr_t
waits_in_both_directions(void *arg)
{
    int ends[2];
    uco_task *reader, *writer;

    (void) arg;
    socket_pair(ends);
    reader = parked(reads_byte, &ends[0]);
    writer = parked(writes_for_ever, &ends[0]);
    ck_assert_int_eq(reads_byte(&ends[0]), -EBUSY);
    ck_assert_int_eq(uco_write(ends[0], "x", 1), -EBUSY);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, 1.0), -EBUSY);
    ck_assert_int_eq(uco_poll(ends[0], POLLOUT, 1.0), -EBUSY);
    ck_assert_int_eq(uco_write(ends[1], "y", 1), 1);
    ck_assert_int_eq(uco_join(reader), 'y');
    ck_assert_int_eq(uco_cancel(writer), 0);
    ck_assert_int_eq(uco_join(writer), -ECANCELED);
    pair_close(ends);
    return 0;
}

/*
 * L23: a second task in the same direction is refused, and the first not disturbed; both
 * directions at once are fine.
 */
START_TEST(a_second_waiter_in_the_same_direction_is_refused)
{
    ck_assert_int_eq(run_virtual(waits_in_both_directions, NULL), 0);
}
END_TEST

/* poll */

static intptr_t
polls(void *arg)
{
    int ends[2];

    (void) arg;
    socket_pair(ends);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, 0), -ETIMEDOUT);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, -1.0), -ETIMEDOUT);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, 2.0), -ETIMEDOUT);
    ck_assert_double_eq(uco_time(), 2.0);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN | POLLOUT, 2.0), POLLOUT);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, UCO_FOREVER), POLLIN);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    ck_assert_int_eq(uco_poll(ends[0], POLLRDHUP, 1.0), POLLRDHUP);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    ck_assert_int_ne(uco_poll(ends[0], POLLIN, 1.0) & POLLHUP, 0);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_double_eq(uco_time(), 2.0);
    return 0;
}

START_TEST(poll_tells_what_is_ready)
{
    ck_assert_int_eq(run_virtual(polls, NULL), 0);
}
END_TEST

static intptr_t
polls_for_reading(void *fd)
{
    return uco_poll(*(int *) fd, POLLIN, UCO_FOREVER);
}

static intptr_t
wakes_a_poll(void *arg)
{
    int ends[2];
    uco_task *poller;

    (*(make_pair *const *) arg)(ends);
    poller = parked(polls_for_reading, &ends[0]);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco_join(poller), POLLIN);
    ck_assert_int_eq(reads_byte(&ends[0]), 'x');
    poller = parked(polls_for_reading, &ends[0]); /* not by the event of before */
    ck_assert_int_eq(uco_close(ends[1]), 0);
    ck_assert_int_ne(uco_join(poller) & POLLHUP, 0);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    return 0;
}

START_TEST(poll_waits_until_something_is_ready)
{
    ck_assert_int_eq(run_virtual(wakes_a_poll, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
polls_badly(void *arg)
{
    int ends[2];

    (void) arg;
    socket_pair(ends);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, NAN), -EINVAL);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN | POLLNVAL, 1.0), -EINVAL);
    pair_close(ends);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, 1.0), -EBADF);
    ck_assert_int_eq(uco_poll(-1, POLLIN, 1.0), -EBADF);
    return 0;
}

START_TEST(poll_refuses_what_it_cannot_do)
{
    ck_assert_int_eq(run_virtual(polls_badly, NULL), 0);
}
END_TEST

/* Closing */

static intptr_t
closes_under_waiters(void *arg)
{
    int ends[2];
    uco_task *reader, *writer;

    (void) arg;
    socket_pair(ends);
    reader = parked(reads_byte, &ends[0]);
    writer = parked(writes_for_ever, &ends[0]);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    ck_assert_int_eq(uco_join(writer), -EBADF);
    ck_assert_int_eq(uco_close(ends[0]), -EBADF);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

/* L23: a close wakes reader and writer. */
START_TEST(close_wakes_who_waits)
{
    ck_assert_int_eq(run_virtual(closes_under_waiters, NULL), 0);
    ck_assert_int_eq(uco_close(-1), -EBADF);
}
END_TEST

static intptr_t
reuses_a_number_at_once(void *arg)
{
    int ends[2], others[2];
    uco_task *reader;

    (void) arg;
    socket_pair(ends);
    reader = parked(reads_byte, &ends[0]);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    socket_pair(others);
    /* The reader, ready but not run yet, must not read from this one. */
    ck_assert_int_eq(others[0], ends[0]);
    ck_assert_int_eq(uco_write(others[1], "x", 1), 1);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    ck_assert_int_eq(reads_byte(&others[0]), 'x');
    pair_close(others);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

START_TEST(a_woken_reader_leaves_the_numbers_next_owner_alone)
{
    ck_assert_int_eq(run_virtual(reuses_a_number_at_once, NULL), 0);
}
END_TEST

static intptr_t
closes_behind_a_waiter(void *arg)
{
    int ends[2];
    uco_task *reader;

    (void) arg;
    socket_pair(ends);
    reader = parked(reads_byte, &ends[0]);
    ck_assert_int_eq(close(ends[0]), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_cancel(reader), 0);
    ck_assert_int_eq(uco_join(reader), -ECANCELED);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

/* L23: a close that nobody was told of is survived: who waits can be cancelled. */
START_TEST(a_waiter_whose_descriptor_was_closed_raw_can_be_cancelled)
{
    ck_assert_int_eq(run_virtual(closes_behind_a_waiter, NULL), 0);
}
END_TEST

/* Makes the loop know the descriptor: a read that has to wait, and gets its byte. */
static void
make_known(int ends[2])
{
    uco_task *reader = parked(reads_byte, &ends[0]);

    ck_assert_int_eq(uco_write(ends[1], "k", 1), 1);
    ck_assert_int_eq(uco_join(reader), 'k');
}

static intptr_t
reuses_a_number_behind_the_loop(void *arg)
{
    int old[2], young[2], i;
    uco_task *reader;

    (void) arg;
    for (i = 0; i < 5; i++) {
        socket_pair(old);
        make_known(old);
        ck_assert_int_eq(close(old[0]), 0);
        socket_pair(young);
        ck_assert_int_eq(young[0], old[0]);
        reader = parked(reads_byte, &young[0]);
        ck_assert_int_eq(uco_write(young[1], "x", 1), 1);
        ck_assert_int_eq(uco_join(reader), 'x');
        pair_close(young);
        ck_assert_int_eq(uco_close(old[1]), 0);
    }
    return 0;
}

/* B5: closed and reused without a word, while the loop had it registered. */
START_TEST(a_number_closed_raw_and_reused_works)
{
    ck_assert_int_eq(run_virtual(reuses_a_number_behind_the_loop, NULL), 0);
}
END_TEST

static intptr_t
replaces_a_descriptor(void *arg)
{
    int old[2], young[2];
    uco_task *reader;

    (void) arg;
    socket_pair(old);
    make_known(old);
    socket_pair(young);
    ck_assert_int_eq(dup2(young[0], old[0]), old[0]);
    ck_assert_int_eq(close(young[0]), 0);
    reader = parked(reads_byte, &old[0]);
    ck_assert_int_eq(uco_write(young[1], "x", 1), 1);
    ck_assert_int_eq(uco_join(reader), 'x');
    ck_assert_int_eq(uco_close(young[1]), 0);
    pair_close(old);
    return 0;
}

START_TEST(a_descriptor_replaced_by_dup2_works)
{
    ck_assert_int_eq(run_virtual(replaces_a_descriptor, NULL), 0);
}
END_TEST

static intptr_t
leaves_a_dup_behind(void *arg)
{
    int ends[2], copy, i;
    uint64_t polls;

    socket_pair(ends);
    make_known(ends);
    copy = dup(ends[0]);
    ck_assert_int_eq(arg != NULL ? uco_close(ends[0]) : close(ends[0]), 0);
    polls = stats_here().polls;
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
        ck_assert_int_eq(uco_sleep(0.01), 0);
    }
    ck_assert_uint_le(stats_here().polls - polls, 200); /* spinning, it would be thousands */
    ck_assert_int_eq(reads_byte(&copy), 'x'); /* and the copy is a descriptor like any other */
    ck_assert_int_eq(uco_close(copy), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

/*
 * B7: a copy of a closed descriptor keeps the kernel reporting what nobody waits for: the loop
 * must not spin on that.
 */
START_TEST(a_copy_of_a_closed_descriptor_does_not_make_the_loop_spin)
{
    ck_assert_int_eq(run_real(leaves_a_dup_behind, NULL), 0);
    ck_assert_int_eq(run_real(leaves_a_dup_behind, (void *) 1), 0);
}
END_TEST

static intptr_t
meets_a_stale_event(void *arg)
{
    int old[2], young[2], copy;

    (void) arg;
    socket_pair(old);
    make_known(old);
    copy = dup(old[0]);
    ck_assert_int_eq(close(old[0]), 0);
    socket_pair(young);
    ck_assert_int_eq(young[0], old[0]);
    ck_assert_int_eq(uco_poll(young[0], POLLIN, 0), -ETIMEDOUT);
    ck_assert_int_eq(uco_write(old[1], "x", 1), 1);
    ck_assert_int_eq(uco_poll(young[0], POLLIN, 1.0), -ETIMEDOUT);
    ck_assert_int_eq(uco_write(young[1], "y", 1), 1);
    ck_assert_int_eq(reads_byte(&young[0]), 'y');
    ck_assert_int_eq(uco_close(copy), 0);
    ck_assert_int_eq(uco_close(old[1]), 0);
    pair_close(young);
    return 0;
}

/* B7, B8: the old one's event says nothing about the number's new owner. */
START_TEST(an_event_of_a_former_owner_wakes_nobody)
{
    ck_assert_int_eq(run_virtual(meets_a_stale_event, NULL), 0);
}
END_TEST

/* Faults */

static intptr_t
lacks_registration(void *arg)
{
    static const int errors[] = {ENOMEM, ENOSPC};
    int ends[2];
    size_t i;

    (void) arg;
    for (i = 0; i < COUNT(errors); i++) {
        socket_pair(ends);
        uco_test_fail("epoll_ctl", 1, true, errors[i]);
        ck_assert_int_eq(reads_byte(&ends[0]), -errors[i]);
        ck_assert_int_eq(uco_poll(ends[0], POLLIN, 1.0), -errors[i]);
        /* What need not wait needs no registration. */
        ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
        ck_assert_int_eq(reads_byte(&ends[0]), 'x');
        uco_test_fail_off();
        make_known(ends);
        pair_close(ends);
    }
    return 0;
}

/* B3 */
START_TEST(a_failed_registration_goes_to_the_caller)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .backend = UCO_BACKEND_EPOLL};

    ck_assert_int_eq(uco_run_with(&options, lacks_registration, NULL), 0);
}
END_TEST

static intptr_t
is_interrupted(void *arg)
{
    int ends[2];

    (*(make_pair *const *) arg)(ends);
    uco_test_fail("write", 1, false, EINTR);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    uco_test_fail("read", 1, false, EINTR);
    ck_assert_int_eq(reads_byte(&ends[0]), 'x');
    uco_test_fail("epoll_wait", 1, false, EINTR);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, 1.0), -ETIMEDOUT);
    uco_test_fail_off();
    pair_close(ends);
    return 0;
}

/* B10 */
START_TEST(an_interrupted_call_is_made_again)
{
    ck_assert_int_eq(run_virtual(is_interrupted, (void *) &makers[_i]), 0);
}
END_TEST

static intptr_t
meets_a_bad_disk(void *arg)
{
    int ends[2];

    (void) arg;
    pipe_pair(ends);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    uco_test_fail("read", 1, true, EIO);
    ck_assert_int_eq(reads_byte(&ends[0]), -EIO);
    uco_test_fail_off();
    ck_assert_int_eq(reads_byte(&ends[0]), 'x');
    pair_close(ends);
    return 0;
}

START_TEST(a_failed_read_loses_nothing)
{
    ck_assert_int_eq(run_virtual(meets_a_bad_disk, NULL), 0);
}
END_TEST

static void
ignore_signal(int signo)
{
    (void) signo;
}

static atomic_bool storm_over;

static void *
storm(void *thread)
{
    while (!atomic_load(&storm_over)) {
        pthread_kill(*(pthread_t *) thread, SIGUSR1);
        usleep(200);
    }
    return NULL;
}

static intptr_t
passes_several_megabytes(void *arg)
{
    int i;

    for (i = 0; i < 4; i++)
        ck_assert_int_eq(passes_a_megabyte(arg), 0);
    return uco_sleep(0.02);
}

/* B10: under a storm of signals without SA_RESTART nothing shows. */
START_TEST(a_storm_of_signals_changes_nothing)
{
    pthread_t self = pthread_self(), thread;

    atomic_store(&storm_over, false);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = ignore_signal}, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, storm, &self), 0);
    ck_assert_int_eq(run_real(passes_several_megabytes, (void *) &makers[_i]), 0);
    atomic_store(&storm_over, true);
    pthread_join(thread, NULL);
}
END_TEST

static void
add_reading(Suite *suite)
{
    TCase *tc = case_new(suite, "reading and writing");

    tcase_add_loop_test(tc, a_reader_waits_for_bytes_and_sees_the_end, 0, 2);
    tcase_add_loop_test(tc, a_megabyte_passes_whole, 0, 2);
    tcase_add_loop_test(tc, a_write_that_does_not_fit_writes_what_does, 0, 2);
    tcase_add_test(tc, a_blocking_pipe_stays_blocking);
    tcase_add_loop_test(tc, a_terminal_that_nobody_reads_does_not_block_the_loop, 0, 2);
    tcase_add_test(tc, read_exactly_collects_pieces_and_tells_of_an_early_end);
    tcase_add_loop_test(tc, a_cancelled_write_tells_how_much_was_written, 0, 2);
    tcase_add_loop_test(tc, writing_to_nobody_is_epipe_and_no_signal, 0, 2);
    tcase_add_test(tc, a_regular_file_is_read_and_written);
    tcase_add_test(tc, the_systems_errors_are_passed_on);
    tcase_add_test(tc, outside_a_coroutine_nothing_is_read_or_written);
}

static void
add_waiting(Suite *suite)
{
    TCase *tc = case_new(suite, "waiting");

    tcase_add_loop_test(tc, a_cancelled_read_takes_nothing, 0, 2);
    tcase_add_test(tc, in_a_cancelled_scope_what_is_ready_is_not_read);
    tcase_add_test(tc, scopes_give_reads_and_writes_their_timeout);
    tcase_add_test(tc, a_second_waiter_in_the_same_direction_is_refused);
    tcase_add_test(tc, poll_tells_what_is_ready);
    tcase_add_loop_test(tc, poll_waits_until_something_is_ready, 0, 2);
    tcase_add_test(tc, poll_refuses_what_it_cannot_do);
}

static void
add_closing(Suite *suite)
{
    TCase *tc = case_new(suite, "closing");

    tcase_add_test(tc, close_wakes_who_waits);
    tcase_add_test(tc, a_woken_reader_leaves_the_numbers_next_owner_alone);
    tcase_add_test(tc, a_waiter_whose_descriptor_was_closed_raw_can_be_cancelled);
    tcase_add_test(tc, a_number_closed_raw_and_reused_works);
    tcase_add_test(tc, a_descriptor_replaced_by_dup2_works);
    tcase_add_test(tc, a_copy_of_a_closed_descriptor_does_not_make_the_loop_spin);
    tcase_add_test(tc, an_event_of_a_former_owner_wakes_nobody);
}

static void
add_faults(Suite *suite)
{
    TCase *tc = case_new(suite, "faults");

    tcase_add_test(tc, a_failed_registration_goes_to_the_caller);
    tcase_add_loop_test(tc, an_interrupted_call_is_made_again, 0, 2);
    tcase_add_test(tc, a_failed_read_loses_nothing);
    tcase_add_loop_test(tc, a_storm_of_signals_changes_nothing, 0, 2);
}

int
main(void)
{
    Suite *suite = suite_create("fd");

    add_reading(suite);
    add_waiting(suite);
    add_closing(suite);
    add_faults(suite);
    return suite_end(suite);
}
