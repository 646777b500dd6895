/* SPDX-License-Identifier: MIT */
/* Streams: reading. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "stream_scene.h"

/* Reading what is there */

static intptr_t
reads_what_is_there(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();

        (void) arg;
        say(&scene, "abcdefgh");
        read_text(scene.s, 3, "abc");
        read_text(scene.s, 3, "def");
        read_text(scene.s, 100, "gh");
        ck_assert_int_eq(uco_stream_read(scene.s, NULL, 0), 0);
        scene_end(&scene);
    }
    return 0;
}

START_TEST(a_read_gives_what_is_there_and_keeps_the_rest)
{
    ck_assert_int_eq(run_virtual(reads_what_is_there, NULL), 0);
}
END_TEST

static intptr_t
reads_large(void *arg)
{
    static char text[200000], got[200000];
    struct scene scene = scene_unix();
    size_t done = 0;

    (void) arg;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char) (i * 31 % 251);
    ck_assert_int_eq(write(scene.other, text, 100000), 100000);
    /* Read sizes above and below what goes by a buffer. */
    for (size_t n = 1; done < 100000; n = n * 3 % 20011) {
        ssize_t r = uco_stream_read(scene.s, got + done, n < 100000 - done ? n : 100000 - done);

        ck_assert_int_gt(r, 0);
        done += (size_t) r;
    }
    ck_assert_mem_eq(got, text, 100000);
    scene_end(&scene);
    return 0;
}

START_TEST(reads_of_all_sizes_give_the_bytes_in_their_order)
{
    ck_assert_int_eq(run_virtual(reads_large, NULL), 0);
}
END_TEST

static intptr_t
waits_for_bytes(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();

        (void) arg;
        for (int round = 0; round < 3; round++) {
            uco_task *task = parked(reads, scene.s);

            ck_assert_ptr_null(scene.s->input);
            say(&scene, "x");
            ck_assert_int_eq(uco_join(task), 1);
        }
        scene_end(&scene);
    }
    return 0;
}

START_TEST(a_read_waits_for_bytes_and_has_no_buffer_meanwhile)
{
    run_in_all_orders(waits_for_bytes, NULL);
}
END_TEST

static intptr_t
reads_the_end(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();
        const char *line;
        const void *data;
        char c;

        (void) arg;
        say(&scene, "ab");
        say_no_more(&scene);
        read_text(scene.s, 100, "ab");
        for (int round = 0; round < 2; round++) {
            ck_assert_int_eq(uco_stream_read(scene.s, &c, 1), 0);
            ck_assert_int_eq(uco_stream_read_line(scene.s, &line), 0);
            ck_assert_int_eq(uco_stream_peek(scene.s, &data), 0);
            ck_assert_int_eq(uco_stream_read_exactly(scene.s, &c, 1), -ENODATA);
        }
        scene_end(&scene);
    }
    return 0;
}

START_TEST(the_end_is_zero_again_and_again)
{
    ck_assert_int_eq(run_virtual(reads_the_end, NULL), 0);
}
END_TEST

static intptr_t
reader_waits_for_the_end(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();
        uco_task *task = parked(reads, scene.s);

        (void) arg;
        say_no_more(&scene);
        ck_assert_int_eq(uco_join(task), 0);
        scene_end(&scene);
    }
    return 0;
}

START_TEST(the_end_wakes_a_reader)
{
    ck_assert_int_eq(run_virtual(reader_waits_for_the_end, NULL), 0);
}
END_TEST

/* Reading exactly */

struct exact {
    uco_stream *s;
    size_t n;
    char buf[20000];
};

static intptr_t
reads_exactly(void *arg)
{
    struct exact *exact = arg;

    return uco_stream_read_exactly(exact->s, exact->buf, exact->n);
}

/* Some sizes lie below and some above what goes by a buffer. */
static const size_t exact_sizes[] = {1, 10, 4095, 4096, 20000};

static intptr_t
exact_reads_come_in_pieces(void *arg)
{
    static struct exact exact;
    char text[20001];

    (void) arg;
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < COUNT(exact_sizes); i++) {
        struct scene scene = scene_unix();
        uco_task *task;

        exact = (struct exact){.s = scene.s, .n = exact_sizes[i]};
        task = parked(reads_exactly, &exact);
        for (size_t said = 0; said < exact.n;) {
            size_t more = exact.n - said < 3000 ? exact.n - said : 3000;

            more = said == 0 && more > 1 ? more - 1 : more;
            ck_assert(!uco_done(task));
            ck_assert_int_eq(write(scene.other, text, more), (ssize_t) more);
            said += more;
            uco_test_settle();
        }
        ck_assert_int_eq(write(scene.other, "y", 1), 1);
        ck_assert_int_eq(uco_join(task), (ssize_t) exact.n);
        ck_assert_mem_eq(exact.buf, text, exact.n);
        read_text(scene.s, 5, "y");
        scene_end(&scene);
    }
    return 0;
}

START_TEST(an_exact_read_waits_for_all_its_bytes)
{
    ck_assert_int_eq(run_virtual(exact_reads_come_in_pieces, NULL), 0);
}
END_TEST

static intptr_t
exact_reads_end_early(void *arg)
{
    static struct exact exact;

    (void) arg;
    for (size_t i = 1; i < COUNT(exact_sizes); i++) {
        struct scene scene = scene_unix();

        exact = (struct exact){.s = scene.s, .n = exact_sizes[i]};
        say(&scene, "abc");
        say_no_more(&scene);
        ck_assert_int_eq(reads_exactly(&exact), -ENODATA);
        read_text(scene.s, 100, "abc");
        ck_assert_int_eq(reads(scene.s), 0);
        ck_assert_int_eq(uco_stream_read_exactly(scene.s, NULL, 0), 0);
        scene_end(&scene);
    }
    return 0;
}

START_TEST(an_exact_read_that_ends_early_leaves_what_came)
{
    ck_assert_int_eq(run_virtual(exact_reads_end_early, NULL), 0);
}
END_TEST

static intptr_t
exact_reads_are_cancelled(void *arg)
{
    static struct exact exact;

    (void) arg;
    for (size_t i = 1; i < COUNT(exact_sizes); i++) {
        struct scene scene = scene_unix();
        uco_task *task;

        exact = (struct exact){.s = scene.s, .n = exact_sizes[i]};
        say(&scene, "ab");
        task = parked(reads_exactly, &exact);
        say(&scene, "c");
        uco_test_settle();
        uco_cancel(task);
        ck_assert_int_eq(uco_join(task), -ECANCELED);
        say(&scene, "d");
        read_text(scene.s, 3, "abc");
        read_text(scene.s, 100, "d");
        scene_end(&scene);
    }
    return 0;
}

START_TEST(a_cancelled_exact_read_loses_nothing)
{
    run_in_all_orders(exact_reads_are_cancelled, NULL);
}
END_TEST

static intptr_t
exact_read_without_memory_to_put_back(void *arg)
{
    static struct exact exact;
    struct scene scene = scene_unix();
    uco_task *task;

    (void) arg;
    exact = (struct exact){.s = scene.s, .n = sizeof exact.buf};
    say(&scene, "abc");
    task = parked(reads_exactly, &exact);
    uco_cancel(task);
    uco_test_fail("malloc", 1, true, ENOMEM);
    uco_test_settle();
    uco_test_fail_off();
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    say(&scene, "d");
    ck_assert_int_eq(reads(scene.s), -ENOMEM);
    ck_assert_int_eq(reads(scene.s), -ENOMEM);
    scene_end(&scene);
    return 0;
}

START_TEST(what_cannot_be_put_back_fails_all_later_reads)
{
    ck_assert_int_eq(run_virtual(exact_read_without_memory_to_put_back, NULL), 0);
}
END_TEST

/* Lines */

static intptr_t
reads_lines(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();
        const char *line;

        (void) arg;
        say(&scene, "one\ntwo\n\nlast");
        read_line_text(scene.s, "one\n");
        read_line_text(scene.s, "two\n");
        read_line_text(scene.s, "\n");
        say_no_more(&scene);
        read_line_text(scene.s, "last");
        ck_assert_int_eq(uco_stream_read_line(scene.s, &line), 0);
        scene_end(&scene);
    }
    return 0;
}

START_TEST(lines_come_one_by_one_and_the_last_may_have_no_end)
{
    ck_assert_int_eq(run_virtual(reads_lines, NULL), 0);
}
END_TEST

struct liner {
    uco_stream *s;
    char text[100];
};

static intptr_t
reads_one_line(void *arg)
{
    struct liner *liner = arg;
    const char *line;
    ssize_t r = uco_stream_read_line(liner->s, &line);

    if (r > 0 && r < (ssize_t) sizeof liner->text)
        memcpy(liner->text, line, (size_t) r);
    return r;
}

static intptr_t
line_comes_in_pieces(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();
        struct liner liner = {.s = scene.s};
        uco_task *task = parked(reads_one_line, &liner);

        (void) arg;
        for (const char *c = "across"; *c != '\0'; c++) {
            ck_assert_int_eq(write(scene.other, c, 1), 1);
            uco_test_settle();
            ck_assert(!uco_done(task));
            ck_assert_uint_le(scene.s->input->capacity, UCO__BUFFER_SMALL);
        }
        say(&scene, "\nrest");
        ck_assert_int_eq(uco_join(task), 7);
        ck_assert_str_eq(liner.text, "across\n");
        read_text(scene.s, 100, "rest");
        scene_end(&scene);
    }
    return 0;
}

START_TEST(a_line_may_come_in_pieces_that_are_kept_in_little_memory)
{
    run_in_all_orders(line_comes_in_pieces, NULL);
}
END_TEST

static intptr_t
reads_records(void *arg)
{
    struct scene scene = scene_unix();
    const char *line;

    (void) arg;
    ck_assert_int_eq(write(scene.other, "a\0bc\0", 5), 5);
    ck_assert_int_eq(uco_stream_read_until(scene.s, '\0', &line), 2);
    ck_assert_mem_eq(line, "a", 2);
    ck_assert_int_eq(uco_stream_read_until(scene.s, '\0', &line), 3);
    ck_assert_mem_eq(line, "bc", 3);
    scene_end(&scene);
    return 0;
}

START_TEST(any_byte_can_be_the_delimiter)
{
    ck_assert_int_eq(run_virtual(reads_records, NULL), 0);
}
END_TEST

static intptr_t
line_is_too_long(void *arg)
{
    struct scene scene = scene_unix();
    const char *line;

    (void) arg;
    ck_assert_int_eq(uco_stream_set_limit(scene.s, 5), 0);
    say(&scene, "abcdefg\nhi\n");
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), -EMSGSIZE);
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), -EMSGSIZE);
    read_text(scene.s, 2, "ab");
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), -EMSGSIZE);
    ck_assert_int_eq(uco_stream_set_limit(scene.s, 6), 0);
    read_line_text(scene.s, "cdefg\n");
    read_line_text(scene.s, "hi\n");
    scene_end(&scene);
    return 0;
}

START_TEST(a_line_above_the_limit_is_refused_and_kept)
{
    ck_assert_int_eq(run_virtual(line_is_too_long, NULL), 0);
}
END_TEST

static intptr_t
writes_long_line(void *arg)
{
    static char text[1000];
    int fd = *(int *) arg;

    memset(text, 'x', sizeof text);
    for (int i = 0; i < 65; i++)
        ck_assert_int_eq(uco_write_all(fd, text, sizeof text, NULL), (ssize_t) sizeof text);
    return uco_write_all(fd, "\nnext\n", 6, NULL);
}

static intptr_t
line_is_long(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *task = uco_create_task(writes_long_line, &scene.other);
    const char *line;

    (void) arg;
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), 65001);
    for (int i = 0; i < 65000; i++)
        ck_assert_int_eq(line[i], 'x');
    ck_assert_int_eq(line[65000], '\n');
    read_line_text(scene.s, "next\n");
    ck_assert_int_eq(uco_join(task), 6);
    scene_end(&scene);
    return 0;
}

START_TEST(a_line_may_be_as_long_as_the_limit)
{
    ck_assert_int_eq(run_virtual(line_is_long, NULL), 0);
}
END_TEST

/* Peeking */

static intptr_t
peeks(void *arg)
{
    struct scene scene = scene_tcp();
    const void *data;

    (void) arg;
    say(&scene, "abc");
    ck_assert_int_eq(uco_stream_peek(scene.s, &data), 3);
    ck_assert_mem_eq(data, "abc", 3);
    ck_assert_int_eq(uco_stream_consume(scene.s, 1), 0);
    ck_assert_int_eq(uco_stream_consume(scene.s, 3), -EINVAL);
    ck_assert_int_eq(uco_stream_peek(scene.s, &data), 2);
    ck_assert_mem_eq(data, "bc", 2);
    ck_assert_int_eq(uco_stream_consume(scene.s, 2), 0);
    ck_assert_ptr_null(scene.s->input);
    ck_assert_int_eq(uco_stream_consume(scene.s, 0), 0);
    ck_assert_int_eq(uco_stream_consume(scene.s, 1), -EINVAL);
    scene_end(&scene);
    return 0;
}

START_TEST(a_peek_shows_what_consume_takes)
{
    ck_assert_int_eq(run_virtual(peeks, NULL), 0);
}
END_TEST

static intptr_t
fills(void *arg)
{
    const void *data;

    return uco_stream_fill(arg, 5, &data);
}

static intptr_t
fill_waits(void *arg)
{
    struct scene scene = scene_tcp();
    const void *data;
    uco_task *task;

    (void) arg;
    say(&scene, "abc");
    task = parked(fills, scene.s);
    ck_assert_int_eq(uco_stream_consume(scene.s, 1), -EBUSY);
    say(&scene, "def");
    ck_assert_int_eq(uco_join(task), 6);
    ck_assert_int_eq(uco_stream_fill(scene.s, 6, &data), 6);
    ck_assert_mem_eq(data, "abcdef", 6);
    ck_assert_int_eq(uco_stream_fill(scene.s, 64 * 1024 + 1, &data), -EMSGSIZE);
    say_no_more(&scene);
    ck_assert_int_eq(uco_stream_fill(scene.s, 7, &data), 6);
    scene_end(&scene);
    return 0;
}

START_TEST(a_fill_waits_for_so_many_bytes_or_the_end)
{
    ck_assert_int_eq(run_virtual(fill_waits, NULL), 0);
}
END_TEST

/* Others, and errors */

static intptr_t
second_reader(void *arg)
{
    struct scene scene = scene_tcp();
    uco_task *task = parked(reads, scene.s);
    const char *line;
    const void *data;
    char c;

    (void) arg;
    ck_assert_int_eq(reads(scene.s), -EBUSY);
    ck_assert_int_eq(uco_stream_read_exactly(scene.s, &c, 1), -EBUSY);
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), -EBUSY);
    ck_assert_int_eq(uco_stream_peek(scene.s, &data), -EBUSY);
    say(&scene, "x");
    ck_assert_int_eq(uco_join(task), 1);
    scene_end(&scene);
    return 0;
}

START_TEST(a_second_reader_is_refused)
{
    run_in_all_orders(second_reader, NULL);
}
END_TEST

static intptr_t
reads_are_cancelled(void *arg)
{
    for (size_t i = 0; i < COUNT(scene_kinds); i++) {
        struct scene scene = scene_kinds[i]();
        struct liner liner = {.s = scene.s};
        uco_task *task = parked(reads_one_line, &liner);

        (void) arg;
        say(&scene, "ab");
        uco_test_settle();
        uco_cancel(task);
        ck_assert_int_eq(uco_join(task), -ECANCELED);
        ck_assert_int_eq(uco_with_timeout(0.5, reads_one_line, &liner), -ETIMEDOUT);
        say(&scene, "c\n");
        read_line_text(scene.s, "abc\n");
        scene_end(&scene);
    }
    return 0;
}

START_TEST(a_cancelled_read_loses_nothing)
{
    run_in_all_orders(reads_are_cancelled, NULL);
}
END_TEST

static intptr_t
reads_when_cancelled(void *arg)
{
    struct scene scene = scene_tcp();
    uco_scope scope;

    (void) arg;
    say(&scene, "abc");
    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(reads(scene.s), -ECANCELED);
    uco_scope_close(&scope, 0);
    read_text(scene.s, 100, "abc");
    scene_end(&scene);
    return 0;
}

START_TEST(in_a_cancelled_scope_nothing_is_read)
{
    ck_assert_int_eq(run_virtual(reads_when_cancelled, NULL), 0);
}
END_TEST

static intptr_t
connection_is_reset(void *arg)
{
    struct scene scene = scene_tcp();
    struct liner liner = {.s = scene.s};
    const char *line;
    uco_task *task = parked(reads_one_line, &liner);

    (void) arg;
    say(&scene, "some");
    uco_test_settle();
    reset(&scene);
    ck_assert_int_eq(uco_join(task), -ECONNRESET);
    read_text(scene.s, 2, "so");
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), -ECONNRESET);
    read_text(scene.s, 100, "me");
    ck_assert_int_eq(reads(scene.s), -ECONNRESET);
    ck_assert_int_eq(reads(scene.s), -ECONNRESET);
    scene_end(&scene);
    return 0;
}

START_TEST(what_came_before_a_reset_is_read_and_then_the_reset)
{
    ck_assert_int_eq(run_virtual(connection_is_reset, NULL), 0);
}
END_TEST

static intptr_t
write_hears_of_the_reset(void *arg)
{
    struct scene scene = scene_tcp();

    (void) arg;
    reset(&scene);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -ECONNRESET);
    ck_assert_int_eq(reads(scene.s), -ECONNRESET);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -ECONNRESET);
    ck_assert_int_eq(uco_stream_close(scene.s), -ECONNRESET);
    return 0;
}

START_TEST(a_reset_that_a_write_was_told_of_is_no_end_to_a_reader)
{
    ck_assert_int_eq(run_virtual(write_hears_of_the_reset, NULL), 0);
}
END_TEST

/* Other kinds of descriptors */

static intptr_t
reads_a_file(void *arg)
{
    char path[] = "/tmp/uco-stream-XXXXXX";
    int fd = mkstemp(path);
    uco_stream *s;

    (void) arg;
    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert_int_eq(write(fd, "first\nsecond\n", 13), 13);
    lseek(fd, 0, SEEK_SET);
    s = stream_of(fd);
    read_line_text(s, "first\n");
    read_text(s, 100, "second\n");
    ck_assert_int_eq(reads(s), 0);
    return uco_stream_close(s);
}

START_TEST(a_regular_file_is_read_to_its_end)
{
    ck_assert_int_eq(run_real(reads_a_file, NULL), 0);
}
END_TEST

static intptr_t
reads_a_terminal(void *arg)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave, flags;
    uco_stream *s;
    uco_task *task;

    (void) arg;
    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master) | unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(slave, 0);
    flags = fcntl(slave, F_GETFL);
    s = stream_of(slave);
    task = parked(reads, s);
    ck_assert_int_eq(write(master, "line\n", 5), 5);
    ck_assert_int_eq(uco_join(task), 5);
    ck_assert_int_eq(uco_stream_printf(s, "answer"), 6);
    ck_assert_int_eq(fcntl(slave, F_GETFL), flags);
    ck_assert_int_eq(uco_stream_close(s), 0);
    close(master);
    return 0;
}

START_TEST(a_terminal_is_read_without_changing_its_flags)
{
    ck_assert_int_eq(run_real(reads_a_terminal, NULL), 0);
}
END_TEST

/* Bad input */

static intptr_t
makes_of_nothing(void *arg)
{
    int ends[2];

    (void) arg;
    errno = 0;
    ck_assert_ptr_null(uco_stream_new(-1));
    ck_assert_int_eq(errno, EBADF);
    ck_assert_ptr_null(uco_stream_new(1000));
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    ck_assert_ptr_null((uco_stream_new) (ends[0]));
    ck_assert_int_eq(errno, EINVAL);
    close(ends[0]);
    close(ends[1]);
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_ptr_null(uco_stream_new(ends[0]));
    ck_assert_int_eq(errno, ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(write(ends[0], "x", 1), 1);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

START_TEST(what_cannot_be_a_stream_stays_the_callers)
{
    ck_assert_int_eq(run_virtual(makes_of_nothing, NULL), 0);
    ck_assert_ptr_null(uco_stream_new(0));
    ck_assert_int_eq(errno, EPERM);
}
END_TEST

static intptr_t
calls_badly(void *arg)
{
    struct scene scene = scene_tcp();
    const char *line;
    char c;

    (void) arg;
    ck_assert_int_eq(uco_stream_read(NULL, &c, 1), -EINVAL);
    ck_assert_int_eq(uco_stream_read(scene.s, NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_stream_read_exactly(scene.s, NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_stream_read_until(scene.s, '\n', NULL), -EINVAL);
    ck_assert_int_eq(uco_stream_peek(scene.s, NULL), -EINVAL);
    ck_assert_int_eq(uco_stream_read_line(NULL, &line), -EINVAL);
    ck_assert_int_eq(uco_stream_consume(NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_stream_set_limit(scene.s, 0), -EINVAL);
    ck_assert_int_eq(uco_stream_set_limit(scene.s, SIZE_MAX), -EINVAL);
    ck_assert_int_eq(uco_stream_fd(NULL), -EINVAL);
    scene_end(&scene);
    return 0;
}

START_TEST(bad_input_is_refused)
{
    ck_assert_int_eq(run_virtual(calls_badly, NULL), 0);
}
END_TEST

static intptr_t
makes_stream(void *arg)
{
    struct scene *scene = arg;

    *scene = scene_tcp();
    return 0;
}

static intptr_t
uses_foreign_stream(void *arg)
{
    struct scene *scene = arg;

    ck_assert_int_eq(reads(scene->s), -EPERM);
    ck_assert_int_eq(uco_stream_write(scene->s, "x", 1), -EPERM);
    ck_assert_int_eq(uco_stream_consume(scene->s, 0), -EPERM);
    ck_assert_int_eq(uco_stream_close(scene->s), -EPERM);
    return 0;
}

static intptr_t
ends_scene(void *arg)
{
    scene_end(arg);
    return 0;
}

START_TEST(a_stream_is_its_loops_and_a_coroutines)
{
    uco_loop *one = uco_loop_new(NULL), *two = uco_loop_new(NULL);
    struct scene scene;

    ck_assert_int_eq(uco_loop_run_until_complete(one, makes_stream, &scene), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(two, uses_foreign_stream, &scene), 0);
    ck_assert_int_eq(reads(scene.s), -EPERM);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPERM);
    ck_assert_int_eq(uco_loop_run_until_complete(one, ends_scene, &scene), 0);
    uco_loop_close(one);
    uco_loop_close(two);
    uco_loop_unref(one);
    uco_loop_unref(two);
}
END_TEST

static intptr_t
dials(void *arg)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int listening = uco_listen("127.0.0.1", 0, 1);
    uco_stream *s;
    uint16_t port;

    (void) arg;
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *) &address, &size), 0);
    port = ntohs(address.sin_port);
    s = uco_stream_dial("127.0.0.1", port);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(uco_stream_close(s), 0);
    close(listening);
    ck_assert_ptr_null((uco_stream_dial) ("127.0.0.1", port));
    ck_assert_int_eq(errno, ECONNREFUSED);
    return 0;
}

START_TEST(a_stream_can_be_dialled)
{
    ck_assert_int_eq(run_real(dials, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stream");
    TCase *tcase = case_new(suite, "read");

    tcase_add_test(tcase, a_read_gives_what_is_there_and_keeps_the_rest);
    tcase_add_test(tcase, reads_of_all_sizes_give_the_bytes_in_their_order);
    tcase_add_test(tcase, a_read_waits_for_bytes_and_has_no_buffer_meanwhile);
    tcase_add_test(tcase, the_end_is_zero_again_and_again);
    tcase_add_test(tcase, the_end_wakes_a_reader);
    tcase_add_test(tcase, an_exact_read_waits_for_all_its_bytes);
    tcase_add_test(tcase, an_exact_read_that_ends_early_leaves_what_came);
    tcase_add_test(tcase, a_cancelled_exact_read_loses_nothing);
    tcase_add_test(tcase, what_cannot_be_put_back_fails_all_later_reads);

    tcase = case_new(suite, "line");
    tcase_add_test(tcase, lines_come_one_by_one_and_the_last_may_have_no_end);
    tcase_add_test(tcase, a_line_may_come_in_pieces_that_are_kept_in_little_memory);
    tcase_add_test(tcase, any_byte_can_be_the_delimiter);
    tcase_add_test(tcase, a_line_above_the_limit_is_refused_and_kept);
    tcase_add_test(tcase, a_line_may_be_as_long_as_the_limit);
    tcase_add_test(tcase, a_peek_shows_what_consume_takes);
    tcase_add_test(tcase, a_fill_waits_for_so_many_bytes_or_the_end);

    tcase = case_new(suite, "error");
    tcase_add_test(tcase, a_second_reader_is_refused);
    tcase_add_test(tcase, a_cancelled_read_loses_nothing);
    tcase_add_test(tcase, in_a_cancelled_scope_nothing_is_read);
    tcase_add_test(tcase, what_came_before_a_reset_is_read_and_then_the_reset);
    tcase_add_test(tcase, a_reset_that_a_write_was_told_of_is_no_end_to_a_reader);

    tcase = case_new(suite, "kind");
    tcase_add_test(tcase, a_regular_file_is_read_to_its_end);
    tcase_add_test(tcase, a_terminal_is_read_without_changing_its_flags);
    tcase_add_test(tcase, what_cannot_be_a_stream_stays_the_callers);
    tcase_add_test(tcase, bad_input_is_refused);
    tcase_add_test(tcase, a_stream_is_its_loops_and_a_coroutines);
    tcase_add_test(tcase, a_stream_can_be_dialled);
    return suite_end(suite);
}
