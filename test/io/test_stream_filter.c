/* SPDX-License-Identifier: MIT */
/* Streams: the seam to what stands between them and the wire. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "stream_scene.h"

/* Turns letters round, a byte for a byte, and reads ahead. */
struct turner {
    struct uco__stream_filter filter;
    uco_stream *s;
    char ahead[4096];
    size_t begin, end;
    int fails;  /* the next transmit does */
    bool sinks; /* what it is given */
    bool fills; /* the way before it says good-bye */
    unsigned shut, freed;
};

static char
turned(char c)
{
    return (char) (c ^ 0x15);
}

static ssize_t
turner_receive(struct uco__stream_filter *filter, void *buf, size_t n)
{
    struct turner *turner = (struct turner *) filter;
    size_t left;

    if (turner->begin == turner->end) {
        ssize_t r = uco__stream_receive_raw(turner->s, turner->ahead, sizeof turner->ahead);

        if (r <= 0)
            return r;
        turner->begin = 0;
        turner->end = (size_t) r;
    }
    left = turner->end - turner->begin;
    n = n < left ? n : left;
    n = n < 100 ? n : 100; /* as much as a record has */
    for (size_t i = 0; i < n; i++)
        ((char *) buf)[i] = turned(turner->ahead[turner->begin + i]);
    turner->begin += n;
    return (ssize_t) n;
}

static ssize_t
turner_transmit(struct uco__stream_filter *filter, const void *buf, size_t n)
{
    struct turner *turner = (struct turner *) filter;
    static char record[UCO__STREAM_SLICE];
    int r;

    ck_assert_uint_le(n, sizeof record);
    if (turner->fails != 0)
        return turner->fails;
    if (turner->sinks)
        return (ssize_t) n;
    for (size_t i = 0; i < n; i++)
        record[i] = turned(((const char *) buf)[i]);
    r = uco__stream_transmit_raw(turner->s, record, n);
    return r < 0 ? r : (ssize_t) n;
}

static int
turner_shut(struct uco__stream_filter *filter)
{
    struct turner *turner = (struct turner *) filter;
    static const char junk[65536];

    turner->shut++;
    while (turner->fills && send(uco_stream_fd(turner->s), junk, sizeof junk, MSG_DONTWAIT) > 0)
        continue;
    return uco__stream_transmit_raw(turner->s, "bye", 3);
}

static void
turner_free(struct uco__stream_filter *filter)
{
    ((struct turner *) filter)->freed++;
}

static const struct uco__stream_filter_operations turner_operations = {
    .receive = turner_receive,
    .transmit = turner_transmit,
    .shut = turner_shut,
    .free = turner_free,
};

static void
turner_begin(struct turner *turner, uco_stream *s)
{
    *turner = (struct turner){.filter.operations = &turner_operations, .s = s};
    ck_assert_int_eq(uco__stream_claim(s), 0);
    ck_assert_int_eq(uco__stream_set_filter(s, &turner->filter), 0);
    ck_assert_int_eq(uco__stream_set_filter(s, &turner->filter), -EINVAL);
    uco__stream_unclaim(s);
}

static void
say_turned(const struct scene *scene, const char *text)
{
    char buf[500];
    size_t n = strlen(text);

    ck_assert_uint_le(n, sizeof buf);
    for (size_t i = 0; i < n; i++)
        buf[i] = turned(text[i]);
    ck_assert_int_eq(write(scene->other, buf, n), (ssize_t) n);
}

static intptr_t
filters(void *arg)
{
    struct scene scene = scene_unix();
    struct turner turner;
    char buf[20] = "";
    uco_task *task;

    (void) arg;
    turner_begin(&turner, scene.s);
    ck_assert_int_eq(uco_stream_printf(scene.s, "hello"), 5);
    ck_assert_uint_eq(other_reads(&scene, buf, sizeof buf), 5);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(buf[i], turned("hello"[i]));
    task = parked(reads, scene.s);
    say_turned(&scene, "one");
    ck_assert_int_ge(uco_join(task), 1);
    scene_end(&scene);
    ck_assert_uint_eq(turner.shut, 1);
    ck_assert_uint_eq(turner.freed, 1);
    return 0;
}

START_TEST(all_goes_through_the_filter)
{
    ck_assert_int_eq(run_virtual(filters, NULL), 0);
}
END_TEST

/* The fd has nothing any more, but the filter has. */
static intptr_t
filter_has_more(void *arg)
{
    struct scene scene = scene_unix();
    struct turner turner;
    static char text[401];
    size_t done = 0;

    (void) arg;
    turner_begin(&turner, scene.s);
    memset(text, 'x', 400);
    say_turned(&scene, text);
    while (done < 400) {
        char buf[30];
        ssize_t r = uco_stream_read(scene.s, buf, sizeof buf);

        ck_assert_int_gt(r, 0);
        done += (size_t) r;
    }
    say_turned(&scene, "line\n");
    say_no_more(&scene);
    read_line_text(scene.s, "line\n");
    ck_assert_int_eq(reads(scene.s), 0);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPIPE);
    ck_assert_uint_eq(turner.freed, 1);
    return 0;
}

START_TEST(what_the_filter_holds_is_read_without_waiting)
{
    ck_assert_int_eq(run_virtual(filter_has_more, NULL), 0);
}
END_TEST

#define LARGE ((size_t) 1024 * 1024)

static intptr_t
writes_large(void *arg)
{
    static char data[LARGE];

    memset(data, 'x', sizeof data);
    return uco_stream_write(arg, data, sizeof data);
}

static intptr_t
filters_much(void *arg)
{
    static char got[2 * LARGE + 3];
    struct scene scene = scene_unix();
    struct turner turner;
    uco_task *tasks[2];
    size_t done = 0;

    (void) arg;
    shrink_buffers(&scene);
    turner_begin(&turner, scene.s);
    tasks[0] = parked(writes_large, scene.s);
    ck_assert_uint_le(scene.s->output.size, 64 * 1024 + UCO__STREAM_SLICE);
    tasks[1] = parked(writes_large, scene.s);
    ck_assert_uint_le(scene.s->output.size, 64 * 1024 + UCO__STREAM_SLICE);
    while (done < 2 * LARGE) {
        ssize_t r = uco_read(scene.other, got + done, sizeof got - done);

        ck_assert_int_gt(r, 0);
        for (ssize_t i = 0; i < r; i++, done++) {
            if (got[done] != turned('x'))
                ck_abort_msg("byte %zu is another", done);
        }
    }
    ck_assert_int_eq(uco_join(tasks[0]), (ssize_t) LARGE);
    ck_assert_int_eq(uco_join(tasks[1]), (ssize_t) LARGE);
    ck_assert_int_eq(uco_stream_shutdown(scene.s), 0);
    ck_assert_uint_eq(turner.shut, 1);
    ck_assert_int_eq(uco_read(scene.other, got, 10), 3);
    ck_assert_mem_eq(got, "bye", 3);
    ck_assert_int_eq(uco_read(scene.other, got, 10), 0);
    scene_end(&scene);
    ck_assert_uint_eq(turner.shut, 1);
    return 0;
}

START_TEST(much_goes_through_a_filter_in_bounded_memory)
{
    ck_assert_int_eq(run_virtual(filters_much, NULL), 0);
}
END_TEST

static intptr_t
filter_write_is_cancelled(void *arg)
{
    struct scene scene = scene_unix();
    struct turner turner;
    uco_task *task;

    (void) arg;
    turner_begin(&turner, scene.s);
    task = parked(writes_large, scene.s);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_int_eq(uco_with_timeout(1, writes_large, scene.s), -ETIMEDOUT);
    uco_close(scene.other);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPIPE);
    ck_assert_uint_eq(turner.freed, 1);
    return 0;
}

START_TEST(a_write_through_a_filter_can_be_cancelled)
{
    run_in_all_orders(filter_write_is_cancelled, NULL);
}
END_TEST

static intptr_t
filter_fails(void *arg)
{
    struct scene scene = scene_unix();
    struct turner turner;

    (void) arg;
    turner_begin(&turner, scene.s);
    turner.fails = -EPROTO;
    ck_assert_int_eq(uco_stream_printf(scene.s, "x"), -EPROTO);
    turner.fails = 0;
    ck_assert_int_eq(uco_stream_printf(scene.s, "x"), -EPROTO);
    ck_assert_int_eq(uco_stream_close(scene.s), -EPROTO);
    ck_assert_uint_eq(turner.freed, 1);
    close(scene.other);
    return 0;
}

START_TEST(an_error_of_a_filter_stays)
{
    ck_assert_int_eq(run_virtual(filter_fails, NULL), 0);
}
END_TEST

/* A handshake: claims, waits for a byte, and lets go. */
static intptr_t
shakes_hands(void *arg)
{
    uco_stream *s = arg;
    int r = uco__stream_claim(s);
    ssize_t got;
    char c;

    if (r < 0)
        return r;
    ck_assert_int_eq(uco__stream_transmit_raw(s, "hi", 2), 0);
    r = uco__stream_wait_sent(s);
    while (r == 0 && (got = uco__stream_receive_raw(s, &c, 1)) == -EAGAIN)
        r = uco__stream_wait(s);
    uco__stream_unclaim(s);
    return r < 0 ? r : got;
}

static intptr_t
claimed_is_busy(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *task = parked(shakes_hands, scene.s);

    (void) arg;
    ck_assert_int_eq(reads(scene.s), -EBUSY);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -EBUSY);
    ck_assert_int_eq(shakes_hands(scene.s), -EBUSY);
    say(&scene, "y");
    ck_assert_int_eq(uco_join(task), 1);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), 1);

    task = parked(shakes_hands, scene.s);
    ck_assert_int_eq(uco_stream_close(scene.s), 0);
    ck_assert_int_eq(uco_join(task), -EBADF);
    close(scene.other);
    return 0;
}

START_TEST(a_claimed_stream_is_its_claimers)
{
    run_in_all_orders(claimed_is_busy, NULL);
}
END_TEST

static intptr_t
reads_long(void *arg)
{
    const void *data;

    return uco_stream_fill(arg, 3, &data);
}

static intptr_t
claim_is_refused(void *arg)
{
    struct scene scene = scene_unix();
    uco_task *task;

    (void) arg;
    task = parked(reads, scene.s);
    ck_assert_int_eq(uco__stream_claim(scene.s), -EBUSY);
    say(&scene, "a");
    ck_assert_int_eq(uco_join(task), 1);
    say(&scene, "injected");
    ck_assert_int_eq(reads_long(scene.s), 8);
    ck_assert_int_eq(uco__stream_claim(scene.s), -EPROTO);
    read_text(scene.s, 100, "injected");
    task = parked(writes_large, scene.s);
    ck_assert_int_eq(uco__stream_claim(scene.s), -EBUSY);
    uco_cancel(task);
    uco_join(task);
    scene_end(&scene);
    return 0;
}

START_TEST(a_stream_in_use_cannot_be_claimed)
{
    ck_assert_int_eq(run_virtual(claim_is_refused, NULL), 0);
}
END_TEST

/* How much is sent for one before others have their turn */

static intptr_t
counts_its_turns(void *arg)
{
    unsigned *turns = arg;

    while (uco_yield() == 0)
        (*turns)++;
    return 0;
}

static intptr_t
filter_takes_all(void *arg)
{
    static char data[8 * 1024 * 1024];
    struct scene scene = scene_unix();
    struct turner turner;
    unsigned turns = 0;
    uco_task *task;

    (void) arg;
    turner_begin(&turner, scene.s);
    turner.sinks = true;
    task = uco_create_task(counts_its_turns, &turns);
    ck_assert_int_eq(uco_stream_write(scene.s, data, sizeof data), (ssize_t) sizeof data);
    ck_assert_uint_ge(turns, 8);
    uco_cancel(task);
    uco_join(task);
    scene_end(&scene);
    return 0;
}

START_TEST(a_long_write_through_a_filter_lets_others_run)
{
    ck_assert_int_eq(run_virtual(filter_takes_all, NULL), 0);
}
END_TEST

/* Water marks of zero */

static intptr_t
writes_little(void *arg)
{
    return uco_stream_write(arg, "123456789", 9);
}

/* Writes until one has to wait. */
static uco_task *
stalled_write(uco_stream *s)
{
    for (;;) {
        uco_task *task = uco_create_task(writes_little, s);

        uco_test_settle();
        if (!uco_done(task))
            return task;
        ck_assert_int_eq(uco_join(task), 9);
        ck_assert_uint_eq(s->output.size, 0);
    }
}

static intptr_t
filter_keeps_nothing(void *arg)
{
    static char buf[65536];
    struct scene scene = scene_unix();
    struct turner turner;
    uco_task *task;

    (void) arg;
    shrink_buffers(&scene);
    turner_begin(&turner, scene.s);
    ck_assert_int_eq(uco_stream_set_water_marks(scene.s, 0, 0), 0);
    task = stalled_write(scene.s);
    while (!uco_done(task))
        ck_assert_int_gt(uco_read(scene.other, buf, sizeof buf), 0);
    ck_assert_int_eq(uco_join(task), 9);
    ck_assert_uint_eq(scene.s->output.size, 0);

    task = stalled_write(scene.s);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), 9); /* all of it was taken */
    close(scene.other);
    uco_stream_close(scene.s);
    return 0;
}

START_TEST(with_marks_of_zero_a_write_waits_for_what_the_filter_made_of_it)
{
    ck_assert_int_eq(run_virtual(filter_keeps_nothing, NULL), 0);
}
END_TEST

/* The good-bye */

static intptr_t
shuts(void *arg)
{
    return uco_stream_shutdown(arg);
}

static intptr_t
shutdown_is_cancelled(void *arg)
{
    static char buf[65536];
    struct scene scene = scene_unix();
    struct turner turner;
    uco_task *task;
    ssize_t r;

    (void) arg;
    turner_begin(&turner, scene.s);
    turner.fills = true;
    task = parked(shuts, scene.s);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    task = uco_create_task(shuts, scene.s);
    while ((r = uco_read(scene.other, buf, sizeof buf)) > 0)
        continue;
    ck_assert_int_eq(r, 0);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(uco_stream_shutdown(scene.s), 0);
    ck_assert_uint_eq(turner.shut, 1);
    scene_end(&scene);
    return 0;
}

START_TEST(a_shutdown_that_was_cancelled_can_be_done_again)
{
    run_in_all_orders(shutdown_is_cancelled, NULL);
}
END_TEST

/* The close of a flush that is about to go on */

static intptr_t
closes(void *arg)
{
    return uco_stream_close(arg);
}

static intptr_t
writes_more(void *arg)
{
    static char data[8 * 1024 * 1024];

    return uco_stream_write(arg, data, sizeof data);
}

static intptr_t
closed_before_going_on(void *arg)
{
    static char buf[2 * 1024 * 1024];
    const int wide = 1024 * 1024;
    struct scene scene;
    const uco_task_options at_once = {.eager = true};
    struct turner turner;
    uco_task *task, *closer;
    int ends[2];

    (void) arg;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(fcntl(ends[1], F_SETPIPE_SZ, wide), wide);
    scene = (struct scene){.s = stream_of(ends[1]), .other = ends[0]};
    turner_begin(&turner, scene.s);
    task = parked(writes_more, scene.s);
    other_reads(&scene, buf, sizeof buf);
    while (!UCO__CONTAINER(scene.s->writers.next, struct uco__stream_writer, link)->wait.woken)
        uco_yield();
    ck_assert_uint_gt(scene.s->output.size, 0);
    closer = uco_create_task_with(&at_once, closes, scene.s);
    ck_assert(!uco_done(closer)); /* it waits for the writer to leave */
    ck_assert_uint_eq(scene.s->output.size, 0);
    ck_assert_int_eq(uco_join(task), -EBADF);
    ck_assert_int_eq(uco_join(closer), 0);
    close(scene.other);
    return 0;
}

START_TEST(a_close_sends_what_a_writer_was_about_to)
{
    ck_assert_int_eq(run_fifo(closed_before_going_on, NULL), 0);
}
END_TEST

/* Two who close, as a server does when its handler's stream is being closed by another task */

static intptr_t
shuts_as_owner(void *arg)
{
    return uco__stream_shut(arg, uco__task_here());
}

static intptr_t
owner_is_cancelled(void *arg)
{
    static char buf[65536];
    struct scene scene;
    struct turner turner;
    uco_task *closer, *owner;
    int ends[2];

    (void) arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    scene = (struct scene){.s = uco__stream_make(uco_get_running_loop()), .other = ends[1]};
    uco__stream_attach(scene.s, ends[0], true, false);
    scene.s->owner = &scene;
    turner_begin(&turner, scene.s);
    turner.fills = true;
    while (scene.s->output.size == 0)
        ck_assert_int_eq(writes_little(scene.s), 9);
    closer = parked(shuts_as_owner, scene.s);
    owner = parked(shuts_as_owner, scene.s);
    while (other_reads(&scene, buf, sizeof buf) > 0)
        continue;
    uco_cancel(owner);
    uco__stream_flush(scene.s);
    ck_assert_int_ne(uco_wait_for(closer, 5), -ETIMEDOUT);
    uco_unref(closer);
    ck_assert_int_eq(uco_join(owner), 0);
    uco__stream_destroy(scene.s);
    close(scene.other);
    return 0;
}

START_TEST(a_cancelled_owner_does_not_wait_for_anothers_good_bye)
{
    run_in_all_orders(owner_is_cancelled, NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stream_filter");
    TCase *tcase = case_new(suite, "filter");

    tcase_add_test(tcase, all_goes_through_the_filter);
    tcase_add_test(tcase, what_the_filter_holds_is_read_without_waiting);
    tcase_add_test(tcase, much_goes_through_a_filter_in_bounded_memory);
    tcase_add_test(tcase, a_write_through_a_filter_can_be_cancelled);
    tcase_add_test(tcase, an_error_of_a_filter_stays);
    tcase_add_test(tcase, a_claimed_stream_is_its_claimers);
    tcase_add_test(tcase, a_stream_in_use_cannot_be_claimed);
    tcase_add_test(tcase, a_long_write_through_a_filter_lets_others_run);
    tcase_add_test(tcase, with_marks_of_zero_a_write_waits_for_what_the_filter_made_of_it);
    tcase_add_test(tcase, a_shutdown_that_was_cancelled_can_be_done_again);
    tcase_add_test(tcase, a_close_sends_what_a_writer_was_about_to);
    tcase_add_test(tcase, a_cancelled_owner_does_not_wait_for_anothers_good_bye);
    return suite_end(suite);
}
