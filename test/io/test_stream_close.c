/* SPDX-License-Identifier: MIT */
/* Streams: their close, by the user and by the loop. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "stream_scene.h"

#include <sys/mman.h>

struct kind {
    scene_make *make;
};

static intptr_t
closes(void *arg)
{
    return uco_stream_close(arg);
}

static intptr_t
drains(void *arg)
{
    return uco_stream_drain(arg);
}

static intptr_t
writes_much(void *arg)
{
    static char data[256 * 1024 * 1024]; /* more than the system takes, never touched */

    return uco_stream_write(arg, data, sizeof data);
}

/* Writes until so much is queued. How much in all. */
static size_t
stall(const struct scene *scene, size_t kept)
{
    size_t total = 0;

    shrink_buffers(scene);
    for (; scene->s->output.size < kept; total += 10)
        ck_assert_int_eq(uco_stream_write(scene->s, "123456789\n", 10), 10);
    return total;
}

static size_t
other_reads_to_the_end(const struct scene *scene)
{
    static char buf[65536];
    size_t total = 0;
    ssize_t r;

    while ((r = uco_read(scene->other, buf, sizeof buf)) > 0)
        total += (size_t) r;
    ck_assert_int_eq(r, 0);
    return total;
}

static intptr_t
close_flushes(void *arg)
{
    struct scene scene = ((const struct kind *) arg)->make();
    size_t total = stall(&scene, 50000);
    uco_task *task = parked(closes, scene.s);

    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -EBADF);
    ck_assert_int_eq(reads(scene.s), -EBADF);
    ck_assert_int_eq(uco_stream_close(scene.s), -EBADF);
    ck_assert_uint_eq(other_reads_to_the_end(&scene), total);
    ck_assert_int_eq(uco_join(task), 0);
    close(scene.other);
    ck_assert_int_eq(uco_stream_close(NULL), 0);
    return 0;
}

START_TEST(a_close_sends_what_was_written)
{
    static struct kind local = {scene_unix}, internet = {scene_tcp};

    run_in_all_orders(close_flushes, &local);
    ck_assert_int_eq(run_virtual(close_flushes, &internet), 0);
}
END_TEST

static intptr_t
close_is_cancelled(void *arg)
{
    struct scene scene = scene_unix();
    uco_scope scope;
    int fds = count_fds();

    (void) arg;
    stall(&scene, 1000);
    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(uco_stream_close(scene.s), -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    ck_assert_int_eq(count_fds(), fds - 1);
    close(scene.other);

    scene = scene_unix();
    stall(&scene, 1000);
    ck_assert_int_eq(uco_with_timeout(1, closes, scene.s), -ETIMEDOUT);
    ck_assert_int_eq(count_fds(), fds - 1);
    close(scene.other);

    scene = scene_unix();
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), 1);
    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(uco_stream_close(scene.s), 0);
    uco_scope_close(&scope, 0);
    close(scene.other);
    return 0;
}

START_TEST(a_cancelled_close_closes_without_sending)
{
    ck_assert_int_eq(run_virtual(close_is_cancelled, NULL), 0);
}
END_TEST

static intptr_t
close_wakes_others(void *arg)
{
    struct scene scene = ((const struct kind *) arg)->make();
    uco_task *reader = parked(reads, scene.s), *writers[2], *drainer, *closer;

    writers[0] = parked(writes_much, scene.s);
    writers[1] = parked(writes_much, scene.s);
    drainer = parked(drains, scene.s);
    closer = uco_create_task(closes, scene.s);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    ck_assert_int_eq(uco_join(writers[0]), -EBADF);
    ck_assert_int_eq(uco_join(writers[1]), -EBADF);
    if (!uco_done(closer))
        other_reads_to_the_end(&scene);
    ck_assert_int_eq(uco_join(closer), 0);
    ck_assert_int_le(uco_join(drainer), 0);
    close(scene.other);
    return 0;
}

START_TEST(a_close_wakes_those_who_read_or_write)
{
    static struct kind local = {scene_unix}, internet = {scene_tcp};

    run_in_all_orders(close_wakes_others, &local);
    ck_assert_int_eq(run_virtual(close_wakes_others, &internet), 0);
}
END_TEST

static intptr_t
drainer_of_a_cancelled_close(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *drainer, *closer;

    (void) arg;
    stall(&scene, 1000);
    drainer = parked(drains, scene.s);
    closer = parked(closes, scene.s);
    uco_cancel(closer);
    ck_assert_int_eq(uco_join(closer), -ECANCELED);
    ck_assert_int_eq(uco_join(drainer), -EBADF);
    close(scene.other);
    return 0;
}

START_TEST(a_close_that_does_not_send_tells_those_who_drain)
{
    run_in_all_orders(drainer_of_a_cancelled_close, NULL);
}
END_TEST

static intptr_t
close_with_unread_data(void *arg)
{
    struct scene scene = scene_tcp();
    char c;

    (void) arg;
    say(&scene, "never read");
    ck_assert_int_eq(uco_stream_read(scene.s, &c, 1), 1);
    say(&scene, "not even received");
    scene_end(&scene);
    return 0;
}

START_TEST(a_close_with_unread_bytes_does_not_wait)
{
    ck_assert_int_eq(run_virtual(close_with_unread_data, NULL), 0);
}
END_TEST

/* The number is given to something else, of which the poller knows nothing. */
static intptr_t
numbers_are_used_again(void *arg)
{
    (void) arg;
    for (int i = 0; i < 20; i++) {
        struct scene scene = (i % 2 == 0 ? scene_tcp : scene_pipe)();
        uco_task *task = parked(reads, scene.s);

        say(&scene, "x");
        ck_assert_int_eq(uco_join(task), 1);
        task = parked(reads, scene.s);
        ck_assert_int_eq(uco_stream_close(scene.s), 0);
        ck_assert_int_eq(uco_join(task), -EBADF);
        close(scene.other);
    }
    return 0;
}

START_TEST(a_number_that_is_used_again_is_another_stream)
{
    run_in_all_orders(numbers_are_used_again, NULL);
}
END_TEST

static intptr_t
fd_is_closed_under_the_stream(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *reader, *writer;

    (void) arg;
    reader = parked(reads, scene.s);
    writer = parked(writes_much, scene.s);
    ck_assert_int_eq(uco_close(uco_stream_fd(scene.s)), 0);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    ck_assert_int_eq(uco_join(writer), -EBADF);
    ck_assert_int_eq(reads(scene.s), -EBADF);
    ck_assert_int_eq(uco_stream_close(scene.s), -EBADF);
    close(scene.other);
    return 0;
}

START_TEST(an_fd_that_is_closed_under_its_stream_is_an_error)
{
    ck_assert_int_eq(run_virtual(fd_is_closed_under_the_stream, NULL), 0);
}
END_TEST

static intptr_t
others_read_at_each_step(void *arg)
{
    uco_stream *s = arg;
    intptr_t r = 0;

    while (r >= 0)
        r = uco_stream_write(s, "x", 1);
    return r;
}

/* Who is at a checkpoint when the stream is closed comes back to it. */
static intptr_t
close_meets_checkpoints(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *tasks[3];

    (void) arg;
    ck_assert_int_eq(uco_stream_set_water_marks(scene.s, 0, 0), 0);
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(others_read_at_each_step, scene.s);
    for (int i = 0; i < 3; i++)
        uco_yield();
    ck_assert_int_eq(uco_stream_close(scene.s), 0);
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), -EBADF);
    close(scene.other);
    return 0;
}

START_TEST(a_close_waits_for_all_who_are_inside)
{
    run_in_all_orders(close_meets_checkpoints, NULL);
}
END_TEST

/* It is told, and comes back while the close waits for it. */
static intptr_t
tries_again(void *arg)
{
    intptr_t r = reads(arg);
    uco_scope scope;

    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(uco_stream_printf(arg, "bye"), -ECANCELED);
    uco_scope_close(&scope, 0);
    return r;
}

static intptr_t
close_meets_a_late_call(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *task = parked(tries_again, scene.s);

    (void) arg;
    ck_assert_int_eq(uco_stream_close(scene.s), 0);
    ck_assert_int_eq(uco_join(task), -EBADF);
    close(scene.other);
    return 0;
}

START_TEST(a_call_that_comes_during_the_close_does_not_come_back_to_the_stream)
{
    ck_assert_int_eq(run_fifo(close_meets_a_late_call, NULL), 0);
}
END_TEST

static intptr_t
reads_a_line(void *arg)
{
    const char *line;

    return uco_stream_read_line(arg, &line);
}

/* The pool reads, a piece at a time. */
static intptr_t
close_of_a_file(void *arg)
{
    const size_t size = 256 * 1024;
    int fd = memfd_create("a long line", MFD_CLOEXEC);
    uco_stream *s = stream_of(fd);
    uco_task *reader;

    (void) arg;
    ck_assert_int_eq(ftruncate(fd, (off_t) size), 0);
    ck_assert_int_eq(uco_stream_set_limit(s, 2 * size), 0);
    ck_assert_int_eq(uco_test_fail("read", 1, true, EOPNOTSUPP), 0);
    reader = uco_create_task(reads_a_line, s);
    uco_yield();
    ck_assert_int_eq(uco_stream_close(s), 0);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    uco_test_fail_off();
    return 0;
}

START_TEST(a_close_ends_the_reader_of_a_file_after_the_piece_that_it_reads)
{
    ck_assert_int_eq(run_real(close_of_a_file, NULL), 0);
}
END_TEST

/* The loop's close */

static int opened_at;

static intptr_t
leaves_open(void *arg)
{
    struct scene *scene = arg;
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    opened_at = __LINE__ + 1;
    scene->s = uco_stream_new(ends[0]);
    scene->other = ends[1];
    ck_assert_int_eq(uco_stream_printf(scene->s, "said"), 4);
    return 0;
}

START_TEST(the_loop_closes_and_reports_a_stream_that_is_left_open)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    struct scene scene;
    char expected[100], buf[10] = "";

    ck_assert_int_eq(uco_run_with(&options, leaves_open, &scene), 0);
    ck_assert_uint_eq(reports.count, 1);
    snprintf(expected, sizeof expected, "test_stream_close.c:%d", opened_at);
    ck_assert_ptr_nonnull(strstr(reports.last, "stream opened at"));
    ck_assert_ptr_nonnull(strstr(reports.last, expected));
    ck_assert_int_eq(read(scene.other, buf, sizeof buf), 4);
    ck_assert_int_eq(read(scene.other, buf, sizeof buf), 0);
    close(scene.other);
}
END_TEST

static intptr_t
leaves_readers_and_writers(void *arg)
{
    struct scene *scene = arg;

    *scene = scene_unix();
    uco_unref(parked(reads, scene->s));
    uco_unref(parked(writes_much, scene->s));
    return 0;
}

START_TEST(the_loop_ends_those_who_use_a_stream_that_is_left_open)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    struct scene scene;

    ck_assert_int_eq(uco_run_with(&options, leaves_readers_and_writers, &scene), 0);
    ck_assert_uint_eq(reports.count, 1);
    close(scene.other);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stream_close");
    TCase *tcase = case_new(suite, "close");

    tcase_add_test(tcase, a_close_sends_what_was_written);
    tcase_add_test(tcase, a_cancelled_close_closes_without_sending);
    tcase_add_test(tcase, a_close_wakes_those_who_read_or_write);
    tcase_add_test(tcase, a_close_that_does_not_send_tells_those_who_drain);
    tcase_add_test(tcase, a_close_with_unread_bytes_does_not_wait);
    tcase_add_test(tcase, a_number_that_is_used_again_is_another_stream);
    tcase_add_test(tcase, an_fd_that_is_closed_under_its_stream_is_an_error);
    tcase_add_test(tcase, a_close_waits_for_all_who_are_inside);
    tcase_add_test(tcase, a_call_that_comes_during_the_close_does_not_come_back_to_the_stream);
    tcase_add_test(tcase, a_close_ends_the_reader_of_a_file_after_the_piece_that_it_reads);

    tcase = case_new(suite, "loop");
    tcase_add_test(tcase, the_loop_closes_and_reports_a_stream_that_is_left_open);
    tcase_add_test(tcase, the_loop_ends_those_who_use_a_stream_that_is_left_open);
    return suite_end(suite);
}
