/* SPDX-License-Identifier: MIT */
/* Streams: writing, the queue behind it, and waiting for that. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "stream_scene.h"

#include <pthread.h>
#include <signal.h>

#define MIB ((size_t) 1024 * 1024)

/* What is written is a pattern that repeats after so many bytes. */
#define PERIOD 253

static char
byte_at(size_t i)
{
    return (char) (i % PERIOD);
}

struct writing {
    uco_stream *s;
    char *data;
    size_t n;
};

static struct writing
writing_of(uco_stream *s, size_t n)
{
    struct writing writing = {.s = s, .data = malloc(n), .n = n};

    ck_assert_ptr_nonnull(writing.data);
    for (size_t i = 0; i < n; i++)
        writing.data[i] = byte_at(i);
    return writing;
}

static intptr_t
writes(void *arg)
{
    const struct writing *writing = arg;

    return uco_stream_write(writing->s, writing->data, writing->n);
}

static intptr_t
drains(void *arg)
{
    return uco_stream_drain(arg);
}

/* Reads the other end to the `n`th byte, from the `from`th on. */
static void
other_must_read(const struct scene *scene, size_t from, size_t n)
{
    static char buf[65536], pattern[sizeof buf + PERIOD];

    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = byte_at(i);
    while (from < n) {
        ssize_t r = uco_read(scene->other, buf, n - from < sizeof buf ? n - from : sizeof buf);

        ck_assert_int_gt(r, 0);
        ck_assert(memcmp(buf, pattern + from % PERIOD, (size_t) r) == 0);
        from += (size_t) r;
    }
}

/* Writes what the system takes, and so much more that `kept` bytes are in the queue. How much in
 * all. */
static size_t
stall(const struct scene *scene, size_t kept)
{
    size_t total = 0;
    char c;

    while (scene->s->output.size == 0) {
        c = byte_at(total);
        ck_assert_int_eq(uco_stream_write(scene->s, &c, 1), 1);
        total++;
    }
    while (scene->s->output.size < kept) {
        c = byte_at(total);
        ck_assert_int_eq(uco_stream_write(scene->s, &c, 1), 1);
        total++;
    }
    return total;
}

/* Writing */

static intptr_t
writes_at_once(void *arg)
{
    struct scene scene = scene_tcp();
    char buf[10] = "";

    (void) arg;
    ck_assert_int_eq(uco_stream_write(scene.s, "hello", 5), 5);
    ck_assert_int_eq(uco_stream_write(scene.s, NULL, 0), 0);
    ck_assert_uint_eq(scene.s->output.size, 0);
    ck_assert_uint_eq(other_reads(&scene, buf, sizeof buf), 5);
    ck_assert_str_eq(buf, "hello");
    scene_end(&scene);
    return 0;
}

START_TEST(a_small_write_is_sent_at_once)
{
    ck_assert_int_eq(run_virtual(writes_at_once, NULL), 0);
}
END_TEST

static intptr_t
loop_sends_the_queue(void *arg)
{
    struct scene scene = scene_unix();
    size_t total;

    (void) arg;
    shrink_buffers(&scene);
    total = stall(&scene, 60000);
    other_must_read(&scene, 0, total);
    ck_assert_uint_eq(scene.s->output.size, 0);
    ck_assert_ptr_null(scene.s->output.first);
    scene_end(&scene);
    return 0;
}

START_TEST(what_is_queued_is_sent_by_the_loop)
{
    ck_assert_int_eq(run_virtual(loop_sends_the_queue, NULL), 0);
}
END_TEST

static intptr_t
waits_between_the_marks(void *arg)
{
    struct scene scene = scene_unix();
    struct writing writing = writing_of(scene.s, 2000);
    size_t total, from = 0;
    uco_task *task;

    (void) arg;
    shrink_buffers(&scene);
    ck_assert_int_eq(uco_stream_set_water_marks(scene.s, 1000, 4000), 0);
    total = stall(&scene, 3000);
    task = parked(writes, &writing);
    while (!uco_done(task)) {
        char c;

        ck_assert_uint_le(scene.s->output.size, 4000);
        ck_assert_int_eq(read(scene.other, &c, 1), 1);
        ck_assert_int_eq(c, byte_at(from++));
        uco_test_settle();
    }
    ck_assert_uint_le(scene.s->output.size, 1000);
    ck_assert_int_eq(uco_join(task), 2000);
    other_must_read(&scene, from, total);
    other_must_read(&scene, 0, 2000);
    free(writing.data);
    scene_end(&scene);
    return 0;
}

START_TEST(a_write_waits_above_the_high_mark_until_the_low_one)
{
    ck_assert_int_eq(run_virtual(waits_between_the_marks, NULL), 0);
}
END_TEST

static intptr_t
marks_are_zero(void *arg)
{
    struct scene scene = scene_unix();
    struct writing writing = writing_of(scene.s, 500000);
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(uco_stream_set_water_marks(scene.s, 0, 0), 0);
    task = parked(writes, &writing);
    ck_assert_uint_eq(scene.s->output.size, 0);
    other_must_read(&scene, 0, 100000);
    ck_assert_uint_eq(scene.s->output.size, 0);
    other_must_read(&scene, 100000, 500000);
    ck_assert_int_eq(uco_join(task), 500000);
    ck_assert_int_eq(uco_stream_set_water_marks(scene.s, 2, 1), -EINVAL);
    ck_assert_int_eq(uco_stream_set_water_marks(scene.s, 2, SIZE_MAX), -EINVAL);
    free(writing.data);
    scene_end(&scene);
    return 0;
}

START_TEST(with_marks_of_zero_nothing_is_queued)
{
    ck_assert_int_eq(run_virtual(marks_are_zero, NULL), 0);
}
END_TEST

static intptr_t
large_write_arrives(void *arg)
{
    size_t n = 16 * MIB;

    (void) arg;
    for (size_t i = 0; i < 2; i++) { /* a pipe's stream only reads here */
        struct scene scene = scene_kinds[i]();
        struct writing writing = writing_of(scene.s, n);
        uco_task *task = parked(writes, &writing);

        ck_assert_uint_le(scene.s->output.size, 64 * 1024);
        other_must_read(&scene, 0, n);
        ck_assert_int_eq(uco_join(task), (ssize_t) n);
        free(writing.data);
        scene_end(&scene);
    }
    return 0;
}

START_TEST(a_large_write_arrives_from_its_own_memory)
{
    ck_assert_int_eq(run_virtual(large_write_arrives, NULL), 0);
}
END_TEST

static intptr_t
writes_to_a_pipe(void *arg)
{
    struct scene scene;
    struct writing writing;
    uco_task *task;
    int ends[2], flags;

    (void) arg;
    ck_assert_int_eq(pipe(ends), 0);
    flags = fcntl(ends[1], F_GETFL);
    scene = (struct scene){.s = stream_of(ends[1]), .other = ends[0]};
    writing = writing_of(scene.s, MIB);
    task = parked(writes, &writing);
    other_must_read(&scene, 0, MIB);
    ck_assert_int_eq(uco_join(task), (ssize_t) MIB);
    ck_assert_int_eq(fcntl(ends[1], F_GETFL), flags);
    ck_assert_int_eq(uco_stream_shutdown(scene.s), -ENOTSOCK);
    free(writing.data);
    scene_end(&scene);
    return 0;
}

START_TEST(a_pipe_is_written_to_without_changing_its_flags)
{
    ck_assert_int_eq(run_virtual(writes_to_a_pipe, NULL), 0);
}
END_TEST

static intptr_t
writes_again_and_again(void *arg)
{
    struct writing *writing = arg;
    ssize_t r;

    do
        r = uco_stream_write(writing->s, writing->data, writing->n);
    while (r >= 0);
    return r;
}

/* A peer that never reads */

static intptr_t
peer_never_reads(void *arg)
{
    static struct writing writing;
    struct scene scene = scene_tcp();
    uco_task *task;

    (void) arg;
    writing = writing_of(scene.s, 64 * MIB);
    ck_assert_int_eq(uco_with_timeout(5, writes, &writing), -ETIMEDOUT);
    ck_assert_uint_le(scene.s->output.size, 64 * 1024);
    task = parked(writes_again_and_again, &writing);
    ck_assert_uint_le(scene.s->output.size, 64 * 1024);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert(uco__list_empty(&scene.s->writers));
    writing.n = 10;
    task = parked(writes_again_and_again, &writing);
    ck_assert_uint_le(scene.s->output.size, 64 * 1024);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    free(writing.data);
    close(scene.other);
    ck_assert_int_lt(uco_stream_close(scene.s), 0);
    return 0;
}

START_TEST(a_peer_that_never_reads_costs_bounded_memory)
{
    ck_assert_int_eq(run_virtual(peer_never_reads, NULL), 0);
}
END_TEST

static intptr_t
write_is_cancelled(void *arg)
{
    struct scene scene = scene_unix();
    struct writing writing = writing_of(scene.s, 100000);
    size_t total;
    uco_task *first, *second;

    (void) arg;
    shrink_buffers(&scene);
    total = stall(&scene, 1000);
    first = parked(writes, &writing);
    second = parked(writes, &writing);
    uco_cancel(first);
    ck_assert_int_eq(uco_join(first), -ECANCELED);
    /* Nothing of it was sent: the queue stood before it. */
    other_must_read(&scene, 0, total);
    other_must_read(&scene, 0, 100000);
    ck_assert_int_eq(uco_join(second), 100000);
    free(writing.data);
    scene_end(&scene);
    return 0;
}

START_TEST(a_write_that_is_cancelled_in_the_queue_leaves_it)
{
    run_in_all_orders(write_is_cancelled, NULL);
}
END_TEST

/* A pipe that takes more at once than the loop sends for one writer. */
static struct scene
scene_wide_pipe(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(fcntl(ends[1], F_SETPIPE_SZ, (int) MIB), (int) MIB);
    return (struct scene){.s = stream_of(ends[1]), .other = ends[0]};
}

/* Cancelled when it is about to go on with what the loop has left to it. */
static intptr_t
writer_about_to_is_cancelled(void *arg)
{
    static char buf[2 * MIB];
    struct scene scene = scene_wide_pipe();
    struct writing writings[] = {writing_of(scene.s, 16 * MIB), writing_of(scene.s, MIB)};
    uco_task *tasks[] = {parked(writes, &writings[0]), parked(writes, &writings[1])};

    (void) arg;
    ck_assert_uint_eq(other_reads(&scene, buf, sizeof buf), MIB);
    while (scene.s->writable.linked)
        uco_yield();
    uco_cancel(tasks[0]);
    ck_assert_int_eq(uco_join(tasks[0]), -ECANCELED);
    while (!uco_done(tasks[1]))
        ck_assert_int_gt(uco_read(scene.other, buf, sizeof buf), 0);
    ck_assert_int_eq(uco_join(tasks[1]), (ssize_t) MIB);
    close(scene.other);
    uco_stream_close(scene.s);
    free(writings[0].data);
    free(writings[1].data);
    return 0;
}

START_TEST(who_is_cancelled_before_going_on_leaves_the_rest_to_those_behind)
{
    ck_assert_int_eq(run_fifo(writer_about_to_is_cancelled, NULL), 0);
}
END_TEST

/* As before Linux 6.4, which cannot promise for a pipe that it does not wait: it is given a part at
 * a time, and is not full when it has taken one. */
static intptr_t
writes_by_parts(void *arg)
{
    struct scene scene = scene_wide_pipe();
    struct writing writing = writing_of(scene.s, 2 * MIB);
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(uco_test_fail("write", 1, true, EOPNOTSUPP), 0);
    task = parked(writes, &writing);
    other_must_read(&scene, 0, 2 * MIB);
    ck_assert_int_eq(uco_join(task), (ssize_t) writing.n);
    uco_test_settle();
    for (writing.n = 20000; writing.n <= 200000; writing.n *= 10) {
        ck_assert_int_eq(uco_with_timeout(1, writes, &writing), (ssize_t) writing.n);
        ck_assert_uint_eq(scene.s->output.size, 0);
        other_must_read(&scene, 0, writing.n);
    }
    uco_test_fail_off();
    free(writing.data);
    scene_end(&scene);
    return 0;
}

START_TEST(a_pipe_that_takes_a_part_is_given_the_next_one_at_once)
{
    ck_assert_int_eq(run_virtual(writes_by_parts, NULL), 0);
}
END_TEST

/* Several at once */

#define WRITERS 5
#define PIECE 100000

struct piece {
    uco_stream *s;
    char letter;
};

static intptr_t
writes_piece(void *arg)
{
    const struct piece *piece = arg;
    static char text[WRITERS][PIECE];
    char *mine = text[piece->letter - 'a'];

    memset(mine, piece->letter, PIECE);
    return uco_stream_write(piece->s, mine, PIECE);
}

static intptr_t
several_write(void *arg)
{
    static char got[WRITERS * PIECE];
    struct scene scene = scene_unix();
    struct piece pieces[WRITERS];
    uco_task *tasks[WRITERS];
    char seen[WRITERS + 1] = "";
    bool same = true;

    shrink_buffers(&scene);
    for (int i = 0; i < WRITERS; i++) {
        pieces[i] = (struct piece){.s = scene.s, .letter = (char) ('a' + i)};
        tasks[i] = uco_create_task(writes_piece, &pieces[i]);
    }
    uco_test_settle();
    for (size_t done = 0; done < sizeof got;) {
        ssize_t r = uco_read(scene.other, got + done, sizeof got - done);

        ck_assert_int_gt(r, 0);
        done += (size_t) r;
    }
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(uco_join(tasks[i]), PIECE);
        seen[i] = got[(size_t) i * PIECE];
        for (size_t k = 0; k < PIECE; k++)
            same &= got[(size_t) i * PIECE + k] == seen[i];
        ck_assert(same);
    }
    if (*(const bool *) arg)
        ck_assert_str_eq(seen, "abcde");
    scene_end(&scene);
    return 0;
}

START_TEST(writes_of_several_tasks_stay_in_one_piece_and_in_order)
{
    bool fifo = true;

    ck_assert_int_eq(run_fifo(several_write, &fifo), 0);
    fifo = false;
    for (uint64_t seed = 1; seed <= (uint64_t) scaled(20); seed++)
        ck_assert_int_eq(run_seeded(seed, several_write, &fifo), 0);
}
END_TEST

struct ticker {
    unsigned ticks;
    bool stop;
};

static intptr_t
ticks(void *arg)
{
    struct ticker *ticker = arg;

    while (!ticker->stop && uco_yield() == 0)
        ticker->ticks++;
    return 0;
}

static void *
swallows(void *arg)
{
    static char buf[65536];

    while (read(*(int *) arg, buf, sizeof buf) > 0)
        ;
    return NULL;
}

/* The other side is another thread, which is as fast as the loop. */
static intptr_t
long_write_lets_others_run(void *arg)
{
    struct scene scene = scene_unix();
    struct writing writing = writing_of(scene.s, 64 * MIB);
    struct ticker ticker = {0};
    uco_task *task = uco_create_task(ticks, &ticker);
    pthread_t thread;

    (void) arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, swallows, &scene.other), 0);
    ck_assert_int_eq(writes(&writing), (ssize_t) writing.n);
    ck_assert_uint_gt(ticker.ticks, 10);
    ticker.stop = true;
    uco_join(task);
    ck_assert_int_eq(uco_stream_close(scene.s), 0);
    pthread_join(thread, NULL);
    close(scene.other);
    free(writing.data);
    return 0;
}

START_TEST(a_long_write_lets_others_run)
{
    ck_assert_int_eq(run_real(long_write_lets_others_run, NULL), 0);
}
END_TEST

/* printf */

static intptr_t
prints(void *arg)
{
    struct scene scene = scene_unix();
    static char text[100001], got[100001];

    (void) arg;
    memset(text, 'x', 100000);
    ck_assert_int_eq(uco_stream_printf(scene.s, "%s %d\n", "text", 7), 7);
    ck_assert_uint_eq(other_reads(&scene, got, sizeof got), 7);
    ck_assert_str_eq(got, "text 7\n");
    ck_assert_int_eq(uco_stream_printf(scene.s, "%s", ""), 0);
    ck_assert_int_eq(uco_stream_printf(scene.s, "%s", text), 100000);
    ck_assert_uint_eq(other_reads(&scene, got, sizeof got), 100000);
    ck_assert_str_eq(got, text);
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(uco_stream_printf(scene.s, "%s", text), -ENOMEM);
    uco_test_fail_off();
    ck_assert_uint_eq(other_reads(&scene, got, sizeof got), 0);
    scene_end(&scene);
    return 0;
}

START_TEST(printf_formats_what_is_sent)
{
    ck_assert_int_eq(run_virtual(prints, NULL), 0);
}
END_TEST

/* Memory */

static intptr_t
no_memory_for_the_queue(void *arg)
{
    struct scene scene = scene_unix();
    struct writing writing = writing_of(scene.s, 20000);
    size_t total;
    uco_task *task;

    (void) arg;
    shrink_buffers(&scene);
    total = stall(&scene, 1);
    task = uco_create_task(writes, &writing);
    uco__buffer_cache_done(&scene.s->pool->buffers);
    uco_test_fail("malloc", 1, true, ENOMEM);
    uco_test_settle();
    ck_assert(!uco_done(task)); /* it waits instead */
    other_must_read(&scene, 0, total);
    other_must_read(&scene, 0, 20000);
    ck_assert_int_eq(uco_join(task), 20000);
    uco_test_fail_off();
    free(writing.data);
    scene_end(&scene);
    return 0;
}

START_TEST(a_write_without_memory_for_the_queue_waits_instead)
{
    ck_assert_int_eq(run_virtual(no_memory_for_the_queue, NULL), 0);
}
END_TEST

static intptr_t
loop_cannot_be_told(void *arg)
{
    struct scene scene = scene_unix();
    static char buf[1000000];

    (void) arg;
    shrink_buffers(&scene);
    while (send(uco_stream_fd(scene.s), "x", 1, MSG_DONTWAIT) == 1)
        ;
    uco_test_fail("epoll_ctl", 1, true, ENOSPC);
    ck_assert_int_eq(uco_stream_write(scene.s, "abc", 3), -ENOSPC);
    uco_test_fail_off();
    ck_assert_uint_eq(scene.s->output.size, 0);
    ck_assert_int_eq(uco_stream_write(scene.s, "abc", 3), 3);
    other_reads(&scene, buf, sizeof buf);
    ck_assert_int_eq(uco_stream_drain(scene.s), 0);
    ck_assert_uint_eq(other_reads(&scene, buf, sizeof buf), 3);
    scene_end(&scene);
    return 0;
}

START_TEST(a_write_that_cannot_be_waited_for_takes_nothing)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .backend = UCO_BACKEND_EPOLL};

    ck_assert_int_eq(uco_run_with(&options, loop_cannot_be_told, NULL), 0);
}
END_TEST

/* Draining and shutting down */

static intptr_t
several_drain(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *tasks[3];
    size_t total;

    (void) arg;
    ck_assert_int_eq(uco_stream_drain(scene.s), 0);
    shrink_buffers(&scene);
    total = stall(&scene, 1000);
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = parked(drains, scene.s);
    uco_cancel(tasks[1]);
    ck_assert_int_eq(uco_join(tasks[1]), -ECANCELED);
    ck_assert_int_eq(uco_with_timeout(1, drains, scene.s), -ETIMEDOUT);
    other_must_read(&scene, 0, total);
    ck_assert_int_eq(uco_join(tasks[0]), 0);
    ck_assert_int_eq(uco_join(tasks[2]), 0);
    scene_end(&scene);
    return 0;
}

START_TEST(any_number_of_tasks_can_drain)
{
    run_in_all_orders(several_drain, NULL);
}
END_TEST

static intptr_t
drain_fails(void *arg)
{
    struct scene scene = scene_tcp();
    struct writing writing = writing_of(scene.s, 64 * MIB);
    uco_task *writer, *drainer;

    (void) arg;
    writer = parked(writes, &writing);
    drainer = parked(drains, scene.s);
    reset(&scene);
    ck_assert_int_eq(uco_join(writer), -ECONNRESET);
    ck_assert_int_eq(uco_join(drainer), -ECONNRESET);
    ck_assert_int_eq(uco_stream_drain(scene.s), -ECONNRESET);
    ck_assert_int_eq(uco_stream_printf(scene.s, "x"), -ECONNRESET);
    ck_assert_int_eq(uco_stream_shutdown(scene.s), -ECONNRESET);
    ck_assert_int_eq(uco_stream_close(scene.s), -ECONNRESET);
    free(writing.data);
    return 0;
}

START_TEST(a_reset_ends_who_writes_or_drains)
{
    ck_assert_int_eq(run_virtual(drain_fails, NULL), 0);
}
END_TEST

static intptr_t
writes_to_nobody(void *arg)
{
    struct scene scene = scene_unix();
    int ends[2];

    (void) arg;
    ck_assert_ptr_eq(signal(SIGPIPE, SIG_DFL), SIG_DFL);
    say_no_more(&scene);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -EPIPE);
    ck_assert_int_eq(uco_stream_drain(scene.s), -EPIPE);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPIPE);
    ck_assert_int_eq(pipe(ends), 0);
    scene.s = stream_of(ends[1]);
    close(ends[0]);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -EPIPE);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPIPE);
    return 0;
}

START_TEST(writing_to_nobody_is_an_error_and_no_signal)
{
    ck_assert_int_eq(run_virtual(writes_to_nobody, NULL), 0);
}
END_TEST

static intptr_t
shuts_down(void *arg)
{
    return uco_stream_shutdown(arg);
}

static intptr_t
reader_of_a_pipe_leaves(void *arg)
{
    struct scene scene;
    struct writing writing;
    uco_task *writer, *drainer;
    int ends[2];

    (void) arg;
    ck_assert_int_eq(pipe(ends), 0);
    scene = (struct scene){.s = stream_of(ends[1]), .other = ends[0]};
    writing = writing_of(scene.s, MIB);
    writer = parked(writes, &writing);
    drainer = parked(drains, scene.s);
    say_no_more(&scene);
    ck_assert_int_eq(uco_join(writer), -EPIPE);
    ck_assert_int_eq(uco_join(drainer), -EPIPE);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPIPE);
    free(writing.data);
    return 0;
}

START_TEST(a_writer_hears_when_the_reader_of_its_pipe_leaves)
{
    run_in_all_orders(reader_of_a_pipe_leaves, NULL);
}
END_TEST

static intptr_t
connection_is_half_closed(void *arg)
{
    for (size_t i = 0; i < 2; i++) {
        struct scene scene = scene_kinds[i]();
        uco_task *task;
        size_t total;
        char c;

        (void) arg;
        shrink_buffers(&scene);
        total = stall(&scene, 100);
        task = parked(shuts_down, scene.s);
        other_must_read(&scene, 0, total);
        ck_assert_int_eq(uco_read(scene.other, &c, 1), 0);
        ck_assert_int_eq(uco_join(task), 0);
        ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -EPIPE);
        ck_assert_int_eq(uco_stream_shutdown(scene.s), 0);
        say(&scene, "answer");
        read_text(scene.s, 100, "answer");
        say_no_more(&scene);
        ck_assert_int_eq(reads(scene.s), 0);
        scene_end(&scene);
    }
    return 0;
}

START_TEST(after_a_shutdown_the_other_side_reads_the_end_and_may_go_on)
{
    ck_assert_int_eq(run_virtual(connection_is_half_closed, NULL), 0);
}
END_TEST

/* Files */

static intptr_t
writes_a_file(void *arg)
{
    char path[] = "/tmp/uco-stream-XXXXXX", got[100] = "";
    int fd = mkstemp(path), second;
    struct writing one, two;
    uco_task *task;
    uco_stream *s;

    (void) arg;
    second = open(path, O_RDONLY);
    unlink(path);
    s = stream_of(fd);
    one = (struct writing){.s = s, .data = (char[]){"one "}, .n = 4};
    two = (struct writing){.s = s, .data = (char[]){"two "}, .n = 4};
    task = uco_create_task(writes, &two);
    ck_assert_int_eq(writes(&one), 4);
    ck_assert_int_eq(uco_join(task), 4);
    ck_assert_int_eq(uco_stream_printf(s, "%d", 3), 1);
    ck_assert_int_eq(uco_stream_drain(s), 0);
    ck_assert_int_eq(read(second, got, sizeof got), 9);
    ck_assert_str_eq(got, "one two 3");
    close(second);
    return uco_stream_close(s);
}

START_TEST(a_regular_file_is_written_in_order)
{
    ck_assert_int_eq(run_real(writes_a_file, NULL), 0);
}
END_TEST

static intptr_t
writes_badly(void *arg)
{
    struct scene scene = scene_tcp();

    (void) arg;
    ck_assert_int_eq(uco_stream_write(NULL, "x", 1), -EINVAL);
    ck_assert_int_eq(uco_stream_write(scene.s, NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", SIZE_MAX), -EINVAL);
    ck_assert_int_eq(uco_stream_drain(NULL), -EINVAL);
    ck_assert_int_eq(uco_stream_shutdown(NULL), -EINVAL);
    ck_assert_int_eq(uco_stream_set_water_marks(NULL, 1, 2), -EINVAL);
    scene_end(&scene);
    return 0;
}

static intptr_t
shutdown_fails(void *arg)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uco_stream *s = stream_of(fd);

    (void) arg;
    ck_assert_int_eq(uco_stream_shutdown(s), -ENOTCONN);
    ck_assert_int_eq(uco_stream_shutdown(s), -ENOTCONN);
    ck_assert_int_eq(uco_stream_close(s), 0);
    return 0;
}

START_TEST(a_shutdown_that_has_failed_is_not_done)
{
    ck_assert_int_eq(run_virtual(shutdown_fails, NULL), 0);
}
END_TEST

START_TEST(bad_input_is_refused)
{
    ck_assert_int_eq(run_virtual(writes_badly, NULL), 0);
}
END_TEST

enum { QUEUED = 60000 };

static intptr_t
reads_what_was_queued(void *arg)
{
    static char bytes[QUEUED];
    size_t total = 0;
    ssize_t r;

    while (total < QUEUED && (r = uco_read(*(int *) arg, bytes, sizeof bytes)) > 0)
        total += (size_t) r;
    return (intptr_t) total;
}

/* Each time that the reader has made room, it is the loop that sends on: that makes nobody ready, but
 * the other fd readable. */
static intptr_t
no_time_passes_meanwhile(void *arg)
{
    static char bytes[QUEUED];
    struct scene scene = scene_unix();

    (void) arg;
    shrink_buffers(&scene);
    ck_assert_int_eq(uco_stream_write(scene.s, bytes, sizeof bytes), QUEUED);
    ck_assert_int_eq(uco_with_timeout(1, reads_what_was_queued, &scene.other), QUEUED);
    scene_end(&scene);
    return 0;
}

START_TEST(virtual_time_stands_still_while_the_loop_sends)
{
    ck_assert_int_eq(run_virtual(no_time_passes_meanwhile, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stream_write");
    TCase *tcase = case_new(suite, "write");

    tcase_add_test(tcase, virtual_time_stands_still_while_the_loop_sends);
    tcase_add_test(tcase, a_small_write_is_sent_at_once);
    tcase_add_test(tcase, what_is_queued_is_sent_by_the_loop);
    tcase_add_test(tcase, a_write_waits_above_the_high_mark_until_the_low_one);
    tcase_add_test(tcase, with_marks_of_zero_nothing_is_queued);
    tcase_add_test(tcase, a_large_write_arrives_from_its_own_memory);
    tcase_add_test(tcase, a_pipe_is_written_to_without_changing_its_flags);
    tcase_add_test(tcase, a_peer_that_never_reads_costs_bounded_memory);
    tcase_add_test(tcase, a_write_that_is_cancelled_in_the_queue_leaves_it);
    tcase_add_test(tcase, who_is_cancelled_before_going_on_leaves_the_rest_to_those_behind);
    tcase_add_test(tcase, a_pipe_that_takes_a_part_is_given_the_next_one_at_once);
    tcase_add_test(tcase, writes_of_several_tasks_stay_in_one_piece_and_in_order);
    tcase_add_test(tcase, a_long_write_lets_others_run);
    tcase_add_test(tcase, printf_formats_what_is_sent);
    tcase_add_test(tcase, a_write_without_memory_for_the_queue_waits_instead);
    tcase_add_test(tcase, a_write_that_cannot_be_waited_for_takes_nothing);
    tcase_add_test(tcase, a_regular_file_is_written_in_order);
    tcase_add_test(tcase, bad_input_is_refused);

    tcase = case_new(suite, "drain");
    tcase_add_test(tcase, any_number_of_tasks_can_drain);
    tcase_add_test(tcase, a_reset_ends_who_writes_or_drains);
    tcase_add_test(tcase, a_writer_hears_when_the_reader_of_its_pipe_leaves);
    tcase_add_test(tcase, writing_to_nobody_is_an_error_and_no_signal);
    tcase_add_test(tcase, after_a_shutdown_the_other_side_reads_the_end_and_may_go_on);
    tcase_add_test(tcase, a_shutdown_that_has_failed_is_not_done);
    return suite_end(suite);
}
