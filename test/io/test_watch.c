/* SPDX-License-Identifier: MIT */
/*
 * Callbacks for descriptors: uco_loop_add_reader() and its kin. turn() makes the loop do one turn
 * exactly.
 */
#include "../support/support.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
turn(uco_loop *loop)
{
    uco_loop_stop(loop);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
}

/* The kernel is asked at a turn's end, so what is ready before one is called back in the next. */
static void
turns(uco_loop *loop, int n)
{
    while (n-- > 0)
        turn(loop);
}

static void
socket_pair(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void
pair_close(int ends[2])
{
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
}

static void
loop_end(uco_loop *loop)
{
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}

static void
put(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
}

static void
count_one(void *arg)
{
    ++*(int *) arg;
}

static void
stop_running_loop(void *arg)
{
    (void) arg;
    uco_loop_stop(uco_get_running_loop());
}

struct reader {
    int fd;
    int calls;
    char text[32];
};

static void
read_one(void *arg)
{
    struct reader *reader = arg;

    ck_assert_int_eq(read(reader->fd, &reader->text[reader->calls++], 1), 1);
}

/*
 * Level-triggered: a callback that takes one byte at a time is called for each, once a turn at
 * most.
 */
START_TEST(a_reader_is_called_for_as_long_as_there_is_something)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], i, before;
    struct reader reader = {0};

    socket_pair(ends);
    reader.fd = ends[0];
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], read_one, &reader), 0);
    turns(loop, 3);
    ck_assert_int_eq(reader.calls, 0);
    put(ends[1], "abcd");
    for (i = 0; i < 20; i++) {
        before = reader.calls;
        turn(loop);
        ck_assert_int_le(reader.calls, before + 1);
    }
    ck_assert_str_eq(reader.text, "abcd");
    ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), 0);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

static void
read_one_of_four(void *arg)
{
    struct reader *reader = arg;

    read_one(reader);
    if (reader->calls == 4)
        stop_running_loop(NULL);
}

/* The same where the loop sleeps between the turns. */
START_TEST(a_reader_wakes_a_sleeping_loop)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2];
    struct reader reader = {0};

    ck_assert_int_eq(pipe(ends), 0);
    reader.fd = ends[0];
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], read_one_of_four, &reader), 0);
    put(ends[1], "abcd");
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_str_eq(reader.text, "abcd");
    loop_end(loop);
    pair_close(ends);
}
END_TEST

static void
read_and_stop(void *arg)
{
    read_one(arg);
    stop_running_loop(NULL);
}

/* L7: an event is called back once, although the loop was stopped in between. */
START_TEST(an_event_is_not_repeated_after_a_stop)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2];
    struct reader reader = {0};

    socket_pair(ends);
    reader.fd = ends[0];
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], read_and_stop, &reader), 0);
    put(ends[1], "a");
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    turns(loop, 3);
    ck_assert_int_eq(reader.calls, 1);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

START_TEST(a_writer_is_called_while_there_is_room)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], calls = 0, before;

    socket_pair(ends);
    ck_assert_int_eq(uco_loop_add_writer(loop, ends[0], count_one, &calls), 0);
    turns(loop, 5);
    ck_assert_int_ge(calls, 3);
    before = calls;
    ck_assert_int_eq(uco_loop_remove_writer(loop, ends[0]), 0);
    turns(loop, 3);
    ck_assert_int_eq(calls, before);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

START_TEST(both_directions_of_a_descriptor_can_be_watched)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], writable = 0, before;
    struct reader reader = {0};

    socket_pair(ends);
    reader.fd = ends[0];
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], read_one, &reader), 0);
    ck_assert_int_eq(uco_loop_add_writer(loop, ends[0], count_one, &writable), 0);
    put(ends[1], "a");
    turns(loop, 3);
    ck_assert_int_eq(reader.calls, 1);
    ck_assert_int_ge(writable, 1);
    ck_assert_int_eq(uco_loop_remove_writer(loop, ends[0]), 0);
    before = writable;
    put(ends[1], "b");
    turns(loop, 3);
    ck_assert_int_eq(reader.calls, 2);
    ck_assert_int_eq(writable, before);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

START_TEST(the_end_and_a_broken_pipe_are_called_back_too)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], others[2], at_end = 0, broken = 0;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(pipe(others), 0);
    close(ends[1]);
    close(others[0]);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &at_end), 0);
    ck_assert_int_eq(uco_loop_add_writer(loop, others[1], count_one, &broken), 0);
    turns(loop, 4);
    ck_assert_int_ge(at_end, 2);
    ck_assert_int_ge(broken, 2);
    loop_end(loop);
    uco_close(ends[0]);
    uco_close(others[1]);
}
END_TEST

START_TEST(a_second_call_replaces_the_callback)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], first = 0, second = 0;

    socket_pair(ends);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &first), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &second), 0);
    put(ends[1], "a");
    turns(loop, 3);
    ck_assert_int_eq(first, 0);
    ck_assert_int_ge(second, 1);
    ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), 0);
    ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), -ENOENT);
    ck_assert_int_eq(uco_loop_remove_writer(loop, ends[0]), -ENOENT);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

struct couple {
    int fds[2];
    int calls;
    bool by_close;
};

static void
remove_both(void *arg)
{
    struct couple *couple = arg;
    int i;

    couple->calls++;
    for (i = 0; i < 2; i++) {
        if (couple->by_close)
            ck_assert_int_eq(uco_close(couple->fds[i]), 0);
        else
            ck_assert_int_eq(uco_loop_remove_reader(uco_get_running_loop(), couple->fds[i]), 0);
    }
}

/* Both are due in the same turn; whichever runs first removes both. */
static int
calls_of_two_that_remove_each_other(bool by_close)
{
    uco_loop *loop = uco_loop_new(NULL);
    int one[2], other[2];
    struct couple couple = {.by_close = by_close};

    socket_pair(one);
    socket_pair(other);
    couple.fds[0] = one[0];
    couple.fds[1] = other[0];
    ck_assert_int_eq(uco_loop_add_reader(loop, one[0], remove_both, &couple), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, other[0], remove_both, &couple), 0);
    put(one[1], "a");
    put(other[1], "a");
    turns(loop, 4);
    loop_end(loop);
    if (!by_close) {
        uco_close(one[0]);
        uco_close(other[0]);
    }
    uco_close(one[1]);
    uco_close(other[1]);
    return couple.calls;
}

START_TEST(a_reader_removed_while_it_is_due_does_not_run)
{
    ck_assert_int_eq(calls_of_two_that_remove_each_other(false), 1);
}
END_TEST

START_TEST(close_removes_a_reader_also_while_it_is_due)
{
    ck_assert_int_eq(calls_of_two_that_remove_each_other(true), 1);
}
END_TEST

struct reuse {
    int fds[2];   /* both due; the first one to run replaces the other */
    int raw;      /* closed behind the loop's back */
    int young[2]; /* young[0] gets the other's number */
    int young_calls;
    int calls;
};

static void
replace_the_other(struct reuse *reuse, int mine, int other)
{
    char c;

    ck_assert_int_eq(read(mine, &c, 1), 1);
    ck_assert_int_eq(uco_loop_remove_reader(uco_get_running_loop(), mine), 0);
    if (reuse->calls++ > 0)
        return;
    ck_assert_int_eq(reuse->raw ? close(other) : uco_close(other), 0);
    socket_pair(reuse->young);
    ck_assert_int_eq(reuse->young[0], other);
    ck_assert_int_eq(
        uco_loop_add_reader(uco_get_running_loop(), other, count_one, &reuse->young_calls), 0);
}

static void
first_replaces_second(void *arg)
{
    struct reuse *reuse = arg;

    replace_the_other(reuse, reuse->fds[0], reuse->fds[1]);
}

static void
second_replaces_first(void *arg)
{
    struct reuse *reuse = arg;

    replace_the_other(reuse, reuse->fds[1], reuse->fds[0]);
}

/*
 * B8: two are due in one batch of events; the first closes the other, whose number is at once
 * somebody else's.
 */
START_TEST(an_event_does_not_reach_the_numbers_next_owner)
{
    uco_loop *loop = uco_loop_new(NULL);
    int one[2], other[2];
    struct reuse reuse = {.raw = _i};

    socket_pair(one);
    socket_pair(other);
    reuse.fds[0] = one[0];
    reuse.fds[1] = other[0];
    ck_assert_int_eq(uco_loop_add_reader(loop, one[0], first_replaces_second, &reuse), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, other[0], second_replaces_first, &reuse), 0);
    put(one[1], "a");
    put(other[1], "a");
    turns(loop, 4);
    ck_assert_int_eq(reuse.calls, 1);
    ck_assert_int_eq(reuse.young_calls, 0);
    put(reuse.young[1], "a");
    turns(loop, 3);
    ck_assert_int_ge(reuse.young_calls, 1); /* but its own does */
    loop_end(loop);
    uco_close(one[1]);
    uco_close(other[1]);
    uco_close(reuse.young[1]);
    uco_close(one[0]); /* one of these two is young[0] now */
    uco_close(other[0]);
}
END_TEST

/* B5: nobody told the loop that the watched descriptor was closed, and the number is another's. */
START_TEST(a_watched_number_closed_raw_and_reused_can_be_watched_again)
{
    uco_loop *loop = uco_loop_new(NULL);
    int old[2], young[2], old_calls = 0, young_calls = 0;

    socket_pair(old);
    ck_assert_int_eq(uco_loop_add_reader(loop, old[0], count_one, &old_calls), 0);
    turns(loop, 2);
    ck_assert_int_eq(close(old[0]), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, old[0], count_one, &old_calls), -EBADF);
    socket_pair(young);
    ck_assert_int_eq(young[0], old[0]);
    ck_assert_int_eq(uco_loop_add_reader(loop, young[0], count_one, &young_calls), 0);
    turns(loop, 2);
    ck_assert_int_eq(young_calls, 0);
    put(young[1], "a");
    turns(loop, 3);
    ck_assert_int_ge(young_calls, 1);
    ck_assert_int_eq(old_calls, 0);
    loop_end(loop);
    uco_close(old[1]);
    pair_close(young);
}
END_TEST

static intptr_t
sleeps_a_little(void *arg)
{
    uco_loop_stats before, after;
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    ck_assert_int_eq(uco_stats(loop, &before), 0);
    ck_assert_int_eq(uco_sleep(0.03), 0);
    ck_assert_int_eq(uco_stats(loop, &after), 0);
    ck_assert_uint_le(after.polls - before.polls, 200); /* spinning, it would be thousands */
    return 0;
}

/*
 * B7: a watched descriptor is closed raw while a copy lives: its events go on in the kernel, but
 * must not make us spin.
 */
START_TEST(a_copy_of_a_watched_descriptor_does_not_make_the_loop_spin)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], copy, calls = 0, r;

    socket_pair(ends);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &calls), 0);
    turns(loop, 2);
    copy = dup(ends[0]);
    ck_assert_int_eq(close(ends[0]), 0);
    r = uco_loop_remove_reader(loop, ends[0]);
    ck_assert(r == 0 || r == -ENOENT);
    put(ends[1], "a");
    ck_assert_int_eq(uco_loop_run_until_complete(loop, sleeps_a_little, NULL), 0);
    ck_assert_int_eq(calls, 0);
    loop_end(loop);
    uco_close(copy);
    uco_close(ends[1]);
}
END_TEST

static intptr_t
reads_byte(void *arg)
{
    char c;
    ssize_t r = uco_read(*(int *) arg, &c, 1);

    return r == 1 ? c : r;
}

static intptr_t
waits_beside_watchers(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int ends[2], calls = 0;
    uco_task *reader;

    (void) arg;
    socket_pair(ends);
    reader = uco_create_task(reads_byte, &ends[0]);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &calls), -EBUSY);
    ck_assert_int_eq(uco_loop_add_writer(loop, ends[0], count_one, &calls), 0);
    ck_assert_int_eq(uco_loop_remove_writer(loop, ends[0]), 0);
    put(ends[1], "x");
    ck_assert_int_eq(uco_join(reader), 'x');
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &calls), 0);
    ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), 0);
    ck_assert_int_eq(calls, 0);
    pair_close(ends);
    return 0;
}

START_TEST(a_descriptor_that_a_task_reads_from_is_busy)
{
    ck_assert_int_eq(run_virtual(waits_beside_watchers, NULL), 0);
}
END_TEST

START_TEST(watching_refuses_what_cannot_be_watched)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2];
    FILE *file = tmpfile();

    socket_pair(ends);
    ck_assert_int_eq(uco_loop_add_reader(NULL, ends[0], count_one, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_writer(NULL, ends[0], count_one, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_writer(loop, ends[0], NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_remove_reader(NULL, ends[0]), -EINVAL);
    ck_assert_int_eq(uco_loop_remove_writer(NULL, ends[0]), -EINVAL);
    ck_assert_int_eq(uco_loop_add_reader(loop, fileno(file), count_one, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_add_writer(loop, fileno(file), count_one, NULL), -EPERM);
    fclose(file);
    pair_close(ends);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, NULL), -EBADF);
    ck_assert_int_eq(uco_loop_add_writer(loop, -1, count_one, NULL), -EBADF);
    ck_assert_int_eq(uco_loop_remove_reader(loop, -1), -ENOENT);
    loop_end(loop);
}
END_TEST

START_TEST(watching_belongs_to_the_loops_thread)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(thread);
    int ends[2];

    socket_pair(ends);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_add_writer(loop, ends[0], count_one, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), -EPERM);
    ck_assert_int_eq(uco_loop_remove_writer(loop, ends[0]), -EPERM);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    pair_close(ends);
}
END_TEST

/* L12: after the close nothing can be watched, and nothing is. */
START_TEST(a_closed_loop_watches_nothing)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2], calls = 0;

    socket_pair(ends);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &calls), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_add_writer(loop, ends[0], count_one, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_remove_writer(loop, ends[0]), -ESHUTDOWN);
    ck_assert_int_eq(calls, 0);
    uco_loop_unref(loop);
    put(ends[1], "x"); /* the descriptor itself is the caller's, and open */
    pair_close(ends);
}
END_TEST

START_TEST(a_failed_registration_is_told_and_leaves_no_watcher)
{
    static const int errors[] = {ENOMEM, ENOSPC};
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.backend = UCO_BACKEND_EPOLL});
    int ends[2], calls = 0;
    size_t i;

    socket_pair(ends);
    put(ends[1], "a");
    for (i = 0; i < COUNT(errors); i++) {
        uco_test_fail("epoll_ctl", 1, true, errors[i]);
        ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &calls), -errors[i]);
        uco_test_fail_off();
        ck_assert_int_eq(uco_loop_remove_reader(loop, ends[0]), -ENOENT);
        turns(loop, 2);
        ck_assert_int_eq(calls, 0);
    }
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], count_one, &calls), 0);
    turns(loop, 2);
    ck_assert_int_ge(calls, 1);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

static void
cannot_suspend(void *arg)
{
    char c;

    ck_assert_int_eq(uco_sleep(1.0), -EPERM);
    ck_assert_int_eq(uco_read(*(int *) arg, &c, 1), -EPERM);
    ck_assert_ptr_null(uco_current_task());
    ck_assert_int_eq(uco_loop_remove_reader(uco_get_running_loop(), *(int *) arg), 0);
    stop_running_loop(NULL);
}

START_TEST(a_reader_runs_outside_any_task_and_may_remove_itself)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2];

    socket_pair(ends);
    put(ends[1], "a");
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], cannot_suspend, &ends[0]), 0);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    turns(loop, 2);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

struct echo {
    int fd;
    int left;
};

static void
echo_back(void *arg)
{
    struct echo *echo = arg;
    char c;

    ck_assert_int_eq(read(echo->fd, &c, 1), 1);
    ck_assert_int_eq(write(echo->fd, &c, 1), 1);
    if (--echo->left == 0)
        stop_running_loop(NULL);
}

static void
repost(void *arg)
{
    struct echo *echo = arg;

    if (echo->left > 0)
        ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), repost, echo), 0);
}

/* L21: callbacks that are always ready do not keep the loop from looking at its descriptors. */
START_TEST(a_busy_loop_still_looks_at_its_descriptors)
{
    uco_loop *loop = uco_loop_new(NULL);
    int ends[2];
    struct echo one, other;

    socket_pair(ends);
    one = (struct echo){.fd = ends[0], .left = 100};
    other = (struct echo){.fd = ends[1], .left = 1000};
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[0], echo_back, &one), 0);
    ck_assert_int_eq(uco_loop_add_reader(loop, ends[1], echo_back, &other), 0);
    ck_assert_int_eq(uco_loop_call_soon(loop, repost, &one), 0);
    put(ends[1], "x");
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_int_eq(one.left, 0);
    loop_end(loop);
    pair_close(ends);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("watch");
    TCase *tc = case_new(suite, "watchers");

    tcase_add_test(tc, a_reader_is_called_for_as_long_as_there_is_something);
    tcase_add_test(tc, a_reader_wakes_a_sleeping_loop);
    tcase_add_test(tc, an_event_is_not_repeated_after_a_stop);
    tcase_add_test(tc, a_writer_is_called_while_there_is_room);
    tcase_add_test(tc, both_directions_of_a_descriptor_can_be_watched);
    tcase_add_test(tc, the_end_and_a_broken_pipe_are_called_back_too);
    tcase_add_test(tc, a_second_call_replaces_the_callback);
    tcase_add_test(tc, a_reader_removed_while_it_is_due_does_not_run);
    tcase_add_test(tc, close_removes_a_reader_also_while_it_is_due);
    tcase_add_loop_test(tc, an_event_does_not_reach_the_numbers_next_owner, 0, 2);
    tcase_add_test(tc, a_watched_number_closed_raw_and_reused_can_be_watched_again);
    tcase_add_test(tc, a_copy_of_a_watched_descriptor_does_not_make_the_loop_spin);
    tcase_add_test(tc, a_descriptor_that_a_task_reads_from_is_busy);
    tcase_add_test(tc, watching_refuses_what_cannot_be_watched);
    tcase_add_test(tc, watching_belongs_to_the_loops_thread);
    tcase_add_test(tc, a_closed_loop_watches_nothing);
    tcase_add_test(tc, a_failed_registration_is_told_and_leaves_no_watcher);
    tcase_add_test(tc, a_reader_runs_outside_any_task_and_may_remove_itself);
    tcase_add_test(tc, a_busy_loop_still_looks_at_its_descriptors);
    return suite_end(suite);
}
