/* SPDX-License-Identifier: MIT */
/*
 * The poller alone, without a loop: who is told of what, registrations that the kernel and we see
 * differently, faults.
 */
#include "../support/support.h"

#include "base/clock.h"
#include "base/system.h"
#include "core/poller.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#define STRAYS 40 /* more than it takes to make the set anew */

static struct uco__poller poller;
static struct uco__ready_queue ready;
static int doorbell;

static void
poller_open(void)
{
    doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(doorbell, 0);
    uco__ready_queue_init(&ready);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_epoll, doorbell, &ready), 0);
}

static void
poller_shut(void)
{
    ck_assert_uint_eq(poller.waiting, 0);
    ck_assert_uint_eq(poller.watching, 0);
    uco__poller_done(&poller);
    ck_assert_int_eq(uco__close(doorbell), 0);
}

static void
look(void)
{
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 0);
}

/* --- waits, and who watches --- */

struct waiter {
    struct uco__fd_wait wait;
    int notified;
    int result;
};

static void
waiter_notify(struct uco__fd_wait *wait, int result)
{
    struct waiter *waiter = UCO__CONTAINER(wait, struct waiter, wait);

    ck_assert(!wait->linked);
    waiter->notified++;
    waiter->result = result;
}

static int
waiter_start(struct waiter *waiter, int fd, short events)
{
    *waiter =
        (struct waiter){.wait = {.fd = fd, .events = events, .notify = waiter_notify}, .result = 1};
    return uco__poller_wait(&poller, &waiter->wait);
}

static void
waiter_was_told(const struct waiter *waiter, int result)
{
    ck_assert_int_eq(waiter->notified, 1);
    ck_assert_int_eq(waiter->result, result);
}

static struct uco__fd_watcher
watcher_of(int fd, short events)
{
    return (struct uco__fd_watcher){.fd = fd, .events = events};
}

/* As the loop does: takes it from the queue, and what it has seen. 0 if it was not queued. */
static short
watcher_run(struct uco__fd_watcher *watcher)
{
    struct uco__ready *node = uco__ready_queue_pop(&ready);
    short seen = watcher->seen;

    if (node == NULL)
        return 0;
    ck_assert_ptr_eq(node, &watcher->ready);
    ck_assert(watcher->queued);
    watcher->queued = false;
    watcher->seen = 0;
    return seen;
}

/* --- descriptors --- */

static void
pipe_open(int ends[2])
{
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static void
socket_open(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void
shut(int fd)
{
    ck_assert_int_eq(close(fd), 0);
}

static void
put(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static void
fill(int fd)
{
    static const char block[65536];

    while (write(fd, block, sizeof block) > 0)
        continue;
}

static void
empty(int fd)
{
    static char block[65536];

    while (read(fd, block, sizeof block) > 0)
        continue;
}

START_TEST(a_wait_ends_when_its_direction_is_ready)
{
    struct waiter reader, writer;
    int ends[2];

    poller_open();
    socket_open(ends);
    fill(ends[0]);
    ck_assert_int_eq(waiter_start(&reader, ends[0], POLLIN), 0);
    ck_assert_int_eq(waiter_start(&writer, ends[0], POLLOUT), 0);
    ck_assert_uint_eq(poller.waiting, 2);
    look();
    ck_assert(reader.notified == 0 && writer.notified == 0);
    put(ends[1]);
    look();
    waiter_was_told(&reader, 0);
    ck_assert_int_eq(writer.notified, 0);
    empty(ends[1]);
    look();
    waiter_was_told(&writer, 0);
    waiter_was_told(&reader, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* Nothing has to happen between: the registration is set again, so the kernel looks afresh. */
START_TEST(what_is_ready_already_ends_each_new_wait)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    pipe_open(ends);
    put(ends[1]);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
        look();
        waiter_was_told(&waiter, 0);
    }
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(one_wait_can_be_for_both_directions)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    socket_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN | POLLOUT), 0);
    put(ends[1]);
    look();
    look();
    waiter_was_told(&waiter, 0);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN | POLLOUT), 0);
    uco__poller_forget(&poller, ends[0]);
    waiter_was_told(&waiter, -EBADF);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(each_direction_has_room_for_one)
{
    static const short taken[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI, 0};
    static const short wanted[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLRDHUP, 0};
    static const bool busy[5][5] = {
        {1, 0, 1, 1, 1}, {0, 1, 1, 0, 0}, {1, 1, 1, 1, 1}, {1, 0, 1, 1, 1}, {1, 0, 1, 1, 1},
    };
    struct waiter one, other;
    int ends[2];

    poller_open();
    socket_open(ends);
    fill(ends[0]);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            ck_assert_int_eq(waiter_start(&one, ends[0], taken[i]), 0);
            ck_assert_int_eq(waiter_start(&other, ends[0], wanted[j]), busy[i][j] ? -EBUSY : 0);
            ck_assert_int_eq(other.wait.linked, !busy[i][j]);
            uco__poller_unwait(&poller, &other.wait);
            uco__poller_unwait(&poller, &one.wait);
            ck_assert_uint_eq(poller.waiting, 0);
        }
    }
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(waits_and_watchers_share_the_room)
{
    struct uco__fd_watcher in, out, both;
    struct waiter waiter;
    int ends[2];

    poller_open();
    socket_open(ends);
    in = watcher_of(ends[0], POLLIN);
    out = watcher_of(ends[0], POLLOUT);
    both = watcher_of(ends[0], POLLIN | POLLOUT);
    ck_assert_int_eq(uco__poller_watch(&poller, &in), 0);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), -EBUSY);
    ck_assert_int_eq(uco__poller_watch(&poller, &both), -EBUSY);
    ck_assert_ptr_eq(uco__poller_watcher(&poller, ends[0], UCO__READER), &in);
    ck_assert_ptr_null(uco__poller_watcher(&poller, ends[0], UCO__WRITER));
    ck_assert_ptr_null(uco__poller_watcher(&poller, -1, UCO__READER));
    ck_assert_ptr_null(uco__poller_watcher(&poller, 1 << 20, UCO__READER));
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLOUT), 0);
    ck_assert_int_eq(uco__poller_watch(&poller, &out), -EBUSY);
    ck_assert_uint_eq(poller.watching, 1);
    look();
    waiter_was_told(&waiter, 0);
    uco__poller_unwatch(&poller, &in);
    ck_assert_int_eq(uco__poller_watch(&poller, &both), 0);
    uco__poller_unwatch(&poller, &both);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(a_hang_up_wakes_whoever_waits)
{
    static const short events[] = {POLLOUT, 0, POLLIN};
    struct waiter waiter;
    int ends[2];

    poller_open();
    for (size_t i = 0; i < COUNT(events); i++) {
        pipe_open(ends);
        fill(ends[1]);
        ck_assert_int_eq(waiter_start(&waiter, ends[1], events[i]), 0);
        look();
        ck_assert_int_eq(waiter.notified, 0);
        shut(ends[0]);
        look();
        waiter_was_told(&waiter, 0);
        uco__poller_forget(&poller, ends[1]);
        shut(ends[1]);
    }
    poller_shut();
}
END_TEST

START_TEST(unwait_is_fine_for_a_wait_that_is_over)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    pipe_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    uco__poller_unwait(&poller, &waiter.wait);
    put(ends[1]);
    look();
    ck_assert_int_eq(waiter.notified, 0);
    ck_assert_uint_eq(poller.waiting, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* --- edges and levels --- */

/* The registration stays, but what nobody waits for wakes nobody a second time. */
START_TEST(an_edge_that_nobody_waits_for_costs_one_wake_up)
{
    struct waiter waiter;
    uint64_t began;
    int ends[2];

    storm_stop();
    poller_open();
    pipe_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    ck_assert(poller.fds[ends[0]].registered);
    put(ends[1]);
    ck_assert_int_eq(uco__poller_poll(&poller, UCO__NEVER), 0);
    began = uco__clock_real();
    ck_assert_int_eq(uco__poller_poll(&poller, 5 * UCO__MILLISECOND), 0);
    ck_assert_uint_ge(uco__clock_real() - began, 5 * UCO__MILLISECOND);
    ck_assert_int_eq(waiter.notified, 0);
    ck_assert_uint_eq(poller.stray, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(a_watcher_is_queued_for_as_long_as_there_is_something)
{
    struct uco__fd_watcher watcher;
    int ends[2];

    poller_open();
    socket_open(ends);
    watcher = watcher_of(ends[0], POLLIN);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    look();
    ck_assert_int_eq(watcher_run(&watcher), 0);
    put(ends[1]);
    for (int i = 0; i < 3; i++) {
        look();
        ck_assert_int_eq(watcher_run(&watcher), POLLIN);
    }
    empty(ends[0]);
    look();
    ck_assert_int_eq(watcher_run(&watcher), 0);
    uco__poller_unwatch(&poller, &watcher);
    put(ends[1]);
    look();
    ck_assert(uco__ready_queue_empty(&ready));
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(a_watcher_stands_in_the_queue_once_and_gathers_what_happens)
{
    struct uco__fd_watcher watcher;
    int ends[2];

    poller_open();
    socket_open(ends);
    watcher = watcher_of(ends[0], POLLIN | POLLOUT);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    look();
    put(ends[1]);
    look();
    shut(ends[1]);
    look();
    ck_assert_ptr_nonnull(ready.head); /* once, however often something came */
    ck_assert_ptr_null(ready.head->next);
    ck_assert_int_eq(watcher_run(&watcher) & (POLLIN | POLLOUT | POLLHUP),
                     POLLIN | POLLOUT | POLLHUP);
    uco__poller_unwatch(&poller, &watcher);
    shut(ends[0]);
    poller_shut();
}
END_TEST

/* A level-triggered registration that nobody needs would wake the loop for ever. */
START_TEST(when_a_watcher_and_its_company_go_the_registration_goes)
{
    struct uco__fd_watcher watcher;
    struct waiter waiter;
    int ends[2];

    poller_open();
    socket_open(ends);
    fill(ends[0]);
    watcher = watcher_of(ends[0], POLLIN);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLOUT), 0);
    ck_assert(poller.fds[ends[0]].level);
    uco__poller_unwatch(&poller, &watcher);
    put(ends[1]);
    empty(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLOUT), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    uco__poller_unwatch(&poller, &watcher);
    ck_assert(!poller.fds[ends[0]].registered);
    look();
    ck_assert(uco__ready_queue_empty(&ready));
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* --- closed, forgotten, reused --- */

START_TEST(forgetting_ends_the_waits_with_ebadf)
{
    struct waiter reader, writer;
    int ends[2];

    poller_open();
    socket_open(ends);
    fill(ends[0]);
    ck_assert_int_eq(waiter_start(&reader, ends[0], POLLIN), 0);
    ck_assert_int_eq(waiter_start(&writer, ends[0], POLLOUT), 0);
    uco__poller_forget(&poller, ends[0]);
    waiter_was_told(&reader, -EBADF);
    waiter_was_told(&writer, -EBADF);
    ck_assert(!poller.fds[ends[0]].registered);
    uco__poller_forget(&poller, ends[0]);
    uco__poller_forget(&poller, ends[1]);
    uco__poller_forget(&poller, -1);
    uco__poller_forget(&poller, 1 << 20);
    put(ends[1]);
    look();
    ck_assert_uint_eq(poller.stray, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* Gives `number`, which has just been closed, to the read end of a new pipe. */
static void
pipe_open_as(int ends[2], int number)
{
    pipe_open(ends);
    if (ends[0] != number) {
        ck_assert_int_eq(dup3(ends[0], number, O_CLOEXEC), number);
        shut(ends[0]);
        ends[0] = number;
    }
}

START_TEST(a_number_closed_behind_our_back_can_be_waited_for_again)
{
    struct waiter waiter;
    int old[2], new[2];

    poller_open();
    pipe_open(old);
    ck_assert_int_eq(waiter_start(&waiter, old[0], POLLIN), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    shut(old[0]);
    pipe_open_as(new, old[0]);
    ck_assert_int_eq(waiter_start(&waiter, new[0], POLLIN), 0);
    put(new[1]);
    look();
    waiter_was_told(&waiter, 0);
    shut(new[0]);
    shut(new[1]);
    shut(old[1]);
    poller_shut();
}
END_TEST

/* Closed while somebody waits: that wait stays, and can be given up. */
START_TEST(a_wait_for_a_closed_number_can_still_be_given_up)
{
    struct waiter waiter;
    int ends[2];

    poller_open();
    pipe_open(ends);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    shut(ends[0]);
    look();
    ck_assert_int_eq(waiter.notified, 0);
    uco__poller_unwait(&poller, &waiter.wait);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), -EBADF);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* The old pipe lives on in a copy, and the kernel reports it under the number that is now
 * another's. */
struct stale {
    int old[2];
    int copy;
    int new[2];
};

static void
stale_open(struct stale *stale)
{
    struct waiter waiter;

    pipe_open(stale->old);
    ck_assert_int_eq(waiter_start(&waiter, stale->old[0], POLLIN), 0);
    uco__poller_unwait(&poller, &waiter.wait);
    stale->copy = dup(stale->old[0]);
    ck_assert_int_ge(stale->copy, 0);
    shut(stale->old[0]);
    pipe_open_as(stale->new, stale->old[0]);
}

static void
stale_shut(const struct stale *stale)
{
    shut(stale->copy);
    shut(stale->old[1]);
    shut(stale->new[0]);
    shut(stale->new[1]);
}

/* Each write is an event of the old registration. */
static void
stale_events(const struct stale *stale, int n)
{
    for (int i = 0; i < n; i++) {
        put(stale->old[1]);
        look();
    }
}

START_TEST(an_event_of_an_earlier_registration_wakes_nobody)
{
    struct stale stale;
    struct waiter waiter;

    poller_open();
    stale_open(&stale);
    ck_assert_int_eq(waiter_start(&waiter, stale.new[0], POLLIN), 0);
    stale_events(&stale, 3);
    ck_assert_int_eq(waiter.notified, 0);
    ck_assert_uint_eq(poller.stray, 3);
    put(stale.new[1]);
    look();
    waiter_was_told(&waiter, 0);
    ck_assert_uint_eq(poller.stray, 0);
    stale_shut(&stale);
    poller_shut();
}
END_TEST

/* Those who wait and watch are taken over, and so is the doorbell. */
START_TEST(the_set_is_made_anew_when_stray_events_go_on)
{
    struct uco__fd_watcher watcher;
    struct stale stale;
    struct waiter waiter;
    int ends[2];

    poller_open();
    socket_open(ends);
    stale_open(&stale);
    watcher = watcher_of(ends[0], POLLIN);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    ck_assert_int_eq(waiter_start(&waiter, stale.new[0], POLLIN), 0);
    stale_events(&stale, STRAYS);
    ck_assert_uint_eq(poller.stray, 0);
    put(stale.old[1]);
    look();
    ck_assert_uint_eq(poller.stray, 0);
    put(stale.new[1]);
    put(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ck_assert_int_eq(watcher_run(&watcher), POLLIN);
    uco__doorbell_ring(doorbell);
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 1);
    uco__poller_unwatch(&poller, &watcher);
    stale_shut(&stale);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* A watched fd that lives on in a copy is reported for ever: level-triggered, and out of reach. */
START_TEST(a_watched_copy_does_not_keep_the_loop_awake)
{
    struct uco__fd_watcher watcher;
    uint64_t began;
    int ends[2], copy;

    storm_stop();
    poller_open();
    pipe_open(ends);
    watcher = watcher_of(ends[0], POLLIN);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    copy = dup(ends[0]);
    shut(ends[0]);
    uco__poller_unwatch(&poller, &watcher);
    put(ends[1]);
    for (int i = 0; i < STRAYS; i++)
        look();
    began = uco__clock_real();
    ck_assert_int_eq(uco__poller_poll(&poller, 5 * UCO__MILLISECOND), 0);
    ck_assert_uint_ge(uco__clock_real() - began, 5 * UCO__MILLISECOND);
    shut(copy);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* _i: 0 no fd for a new set, 1 no room in it for the doorbell. */
START_TEST(without_a_new_set_the_old_one_goes_on)
{
    int before = count_fds();
    struct stale stale;
    struct waiter waiter;

    poller_open();
    stale_open(&stale);
    ck_assert_int_eq(waiter_start(&waiter, stale.new[0], POLLIN), 0);
    ck_assert_int_eq(uco_test_fail(_i == 0 ? "epoll_create1" : "epoll_ctl", 1, true, ENOMEM), 0);
    stale_events(&stale, STRAYS);
    ck_assert_int_eq(waiter.notified, 0);
    uco_test_fail_off();
    stale_events(&stale, STRAYS);
    ck_assert_uint_eq(poller.stray, 0);
    put(stale.new[1]);
    look();
    waiter_was_told(&waiter, 0);
    stale_shut(&stale);
    poller_shut();
    ck_assert_int_eq(count_fds(), before);
}
END_TEST

/* The second epoll_ctl of the new set: it must not leave the one who waits to wait for ever. */
START_TEST(who_finds_no_room_in_the_new_set_is_told)
{
    struct stale stale;
    struct waiter waiter;

    poller_open();
    stale_open(&stale);
    ck_assert_int_eq(waiter_start(&waiter, stale.new[0], POLLIN), 0);
    ck_assert_int_eq(uco_test_fail("epoll_ctl", 2, false, ENOSPC), 0);
    stale_events(&stale, STRAYS);
    uco_test_fail_off();
    put(stale.new[1]);
    look();
    ck_assert_int_eq(waiter.notified, 1);
    stale_shut(&stale);
    poller_shut();
}
END_TEST

/* --- the table --- */

START_TEST(the_table_grows_with_the_numbers)
{
    static const int numbers[] = {63, 64, 200, 500};
    struct waiter waiters[COUNT(numbers)];
    int ends[2];

    poller_open();
    pipe_open(ends);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        ck_assert_int_eq(dup3(ends[0], numbers[i], O_CLOEXEC), numbers[i]);
        ck_assert_int_eq(waiter_start(&waiters[i], numbers[i], POLLIN), 0);
    }
    ck_assert_uint_gt(poller.capacity, 500);
    ck_assert_uint_eq(poller.waiting, COUNT(numbers));
    put(ends[1]);
    look();
    for (size_t i = 0; i < COUNT(numbers); i++) {
        waiter_was_told(&waiters[i], 0);
        uco__poller_forget(&poller, numbers[i]);
        shut(numbers[i]);
    }
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(without_memory_for_the_table_nothing_changes)
{
    struct uco__fd_watcher watcher;
    struct waiter one, other;
    int ends[2];

    poller_open();
    pipe_open(ends);
    ck_assert_int_eq(waiter_start(&one, ends[0], POLLIN), 0);
    ck_assert_int_eq(dup3(ends[0], 300, O_CLOEXEC), 300);
    watcher = watcher_of(300, POLLIN);
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(waiter_start(&other, 300, POLLIN), -ENOMEM);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), -ENOMEM);
    ck_assert(!other.wait.linked);
    ck_assert_uint_eq(poller.waiting, 1);
    ck_assert_uint_eq(poller.watching, 0);
    put(ends[1]);
    look();
    waiter_was_told(&one, 0);
    uco_test_fail_off();
    ck_assert_int_eq(waiter_start(&other, 300, POLLIN), 0);
    look();
    waiter_was_told(&other, 0);
    shut(300);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* --- faults --- */

START_TEST(what_cannot_be_waited_for_is_refused)
{
    char path[] = "uco-test-XXXXXX";
    int file = mkstemp(path);
    struct uco__fd_watcher watcher = watcher_of(file, POLLIN);
    struct waiter waiter;

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(unlink(path), 0);
    poller_open();
    ck_assert_int_eq(waiter_start(&waiter, file, POLLIN), -EPERM);
    ck_assert_int_eq(waiter_start(&waiter, file, POLLIN | POLLOUT), -EPERM);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), -EPERM);
    ck_assert_int_eq(waiter_start(&waiter, -1, POLLIN), -EBADF);
    ck_assert_int_eq(waiter_start(&waiter, 60, POLLIN), -EBADF);
    watcher = watcher_of(-1, POLLIN);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), -EBADF);
    ck_assert(!waiter.wait.linked);
    ck_assert_ptr_null(uco__poller_watcher(&poller, file, UCO__READER));
    poller_shut();
    shut(file);
}
END_TEST

START_TEST(a_failed_registration_leaves_no_trace)
{
    struct uco__fd_watcher watcher;
    struct waiter waiter;
    int ends[2];

    poller_open();
    socket_open(ends);
    watcher = watcher_of(ends[0], POLLIN | POLLOUT);
    ck_assert_int_eq(uco_test_fail("epoll_ctl", 1, true, ENOSPC), 0);
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), -ENOSPC);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), -ENOSPC);
    ck_assert(!waiter.wait.linked && !poller.fds[ends[0]].registered);
    ck_assert_ptr_null(uco__poller_watcher(&poller, ends[0], UCO__READER));
    ck_assert_ptr_null(uco__poller_watcher(&poller, ends[0], UCO__WRITER));
    uco_test_fail_off();
    put(ends[1]);
    look();
    ck_assert(waiter.notified == 0 && uco__ready_queue_empty(&ready));
    ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), 0);
    look();
    waiter_was_told(&waiter, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* The one who was there first still gets its event. _i: the second is 0 a wait, 1 a watcher. */
START_TEST(a_failed_second_registration_does_not_harm_the_first)
{
    struct uco__fd_watcher watcher;
    struct waiter reader, writer;
    int ends[2];

    poller_open();
    socket_open(ends);
    watcher = watcher_of(ends[0], POLLOUT);
    ck_assert_int_eq(waiter_start(&reader, ends[0], POLLIN), 0);
    ck_assert_int_eq(uco_test_fail("epoll_ctl", 1, false, ENOMEM), 0);
    if (_i == 0)
        ck_assert_int_eq(waiter_start(&writer, ends[0], POLLOUT), -ENOMEM);
    else
        ck_assert_int_eq(uco__poller_watch(&poller, &watcher), -ENOMEM);
    look();
    put(ends[1]);
    look();
    waiter_was_told(&reader, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

/* Taking a watcher away cannot fail; that the kernel does not follow harms nobody who stays. */
START_TEST(a_failed_removal_does_not_harm_who_stays)
{
    struct uco__fd_watcher watcher;
    struct waiter writer;
    int ends[2];

    poller_open();
    socket_open(ends);
    fill(ends[0]);
    watcher = watcher_of(ends[0], POLLIN);
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    ck_assert_int_eq(waiter_start(&writer, ends[0], POLLOUT), 0);
    ck_assert_int_eq(uco_test_fail("epoll_ctl", 1, false, ENOMEM), 0);
    uco__poller_unwatch(&poller, &watcher);
    empty(ends[1]);
    look();
    waiter_was_told(&writer, 0);
    shut(ends[0]);
    shut(ends[1]);
    poller_shut();
}
END_TEST

START_TEST(a_poller_that_cannot_be_made_leaves_nothing)
{
    int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int before = count_fds();

    ck_assert_int_eq(uco_test_fail("epoll_create1", 1, false, EMFILE), 0);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_epoll, bell, &ready), -EMFILE);
    ck_assert_int_eq(uco_test_fail("epoll_ctl", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_epoll, bell, &ready), -ENOMEM);
    ck_assert_int_eq(count_fds(), before);
    shut(bell);
}
END_TEST

/* --- waiting --- */

/* _i: 1 with a kernel that has no epoll_pwait2, and so milliseconds only. */
START_TEST(a_wait_in_the_kernel_is_never_too_short)
{
    static const uint64_t timeouts[] = {1,       999,     1000,    50001,   999999,
                                        1000000, 1000001, 2500001, 10000000};

    storm_stop();
    poller_open();
    if (_i == 1)
        ck_assert_int_eq(uco_test_fail("epoll_wait", 1, false, ENOSYS), 0);
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        uint64_t deadline = uco__clock_real() + timeouts[i];

        ck_assert_int_eq(uco__poller_poll(&poller, timeouts[i]), 0);
        ck_assert_uint_ge(uco__clock_real(), deadline);
    }
    poller_shut();
}
END_TEST

START_TEST(timeouts_of_any_length_can_be_asked_for)
{
    static const uint64_t timeouts[] = {
        0,
        1,
        UINT64_C(2147483647000000),
        UINT64_C(2147483648000000),
        UINT64_MAX / 2,
        UCO__NEVER - 1,
        UCO__NEVER,
    };

    poller_open();
    if (_i == 1)
        ck_assert_int_eq(uco_test_fail("epoll_wait", 2, false, ENOSYS), 0);
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        uco__doorbell_ring(doorbell);
        ck_assert_int_eq(uco__poller_poll(&poller, timeouts[i]), 1);
    }
    look();
    poller_shut();
}
END_TEST

/* So the loop need not read the counter each time. */
START_TEST(each_ring_is_told_once_though_nobody_answers)
{
    poller_open();
    for (int i = 0; i < 3; i++) {
        uco__doorbell_ring(doorbell);
        ck_assert_int_eq(uco__poller_poll(&poller, UCO__NEVER), 1);
        look();
    }
    uco__doorbell_ring(doorbell);
    uco__doorbell_ring(doorbell);
    ck_assert_int_eq(uco__poller_poll(&poller, UCO__NEVER), 1);
    look();
    uco__doorbell_ring(doorbell);
    uco__doorbell_answer(doorbell);
    look();
    poller_shut();
}
END_TEST

START_TEST(a_ring_of_a_full_doorbell_is_told)
{
    const uint64_t full = UINT64_MAX - 1;

    poller_open();
    ck_assert_int_eq(write(doorbell, &full, sizeof full), sizeof full);
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 1);
    look();
    uco__doorbell_ring(doorbell);
    ck_assert_int_eq(uco__poller_poll(&poller, 0), 1);
    look();
    poller_shut();
}
END_TEST

static void
on_alarm(int signo)
{
    (void) signo;
}

START_TEST(a_signal_ends_a_wait_without_an_error)
{
    const struct itimerval often = {.it_value = {.tv_usec = 1000},
                                    .it_interval = {.tv_usec = 1000}};
    static const uint64_t timeouts[] = {UCO__NEVER, 3600 * UCO__SECOND};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

    poller_open();
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (size_t i = 0; i < COUNT(timeouts); i++)
        ck_assert_int_eq(uco__poller_poll(&poller, timeouts[i]), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
    poller_shut();
}
END_TEST

START_TEST(a_wait_that_fails_is_told)
{
    poller_open();
    ck_assert_int_eq(uco_test_fail("epoll_wait", 1, false, EINTR), 0);
    ck_assert_int_eq(uco__poller_poll(&poller, UCO__NEVER), 0);
    ck_assert_int_eq(uco_test_fail("epoll_wait", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco__poller_poll(&poller, UCO__NEVER), -ENOMEM);
    look();
    poller_shut();
}
END_TEST

/* More than the kernel gives at a time: the rest comes with the next look. */
START_TEST(hundreds_of_events_all_arrive)
{
    enum { PIPES = 300 };
    static struct waiter waiters[PIPES];
    static int ends[PIPES][2];
    int told = 0;

    poller_open();
    for (int i = 0; i < PIPES; i++) {
        pipe_open(ends[i]);
        ck_assert_int_eq(waiter_start(&waiters[i], ends[i][0], POLLIN), 0);
        put(ends[i][1]);
    }
    uco__doorbell_ring(doorbell);
    for (int looks = 0; looks < PIPES / 10; looks++)
        ck_assert_int_ge(uco__poller_poll(&poller, 0), 0);
    for (int i = 0; i < PIPES; i++) {
        told += waiters[i].notified;
        shut(ends[i][0]);
        shut(ends[i][1]);
    }
    ck_assert_int_eq(told, PIPES);
    poller_shut();
}
END_TEST

static void
suite_registrations(Suite *suite)
{
    TCase *tc = case_new(suite, "numbers");

    tcase_add_test(tc, forgetting_ends_the_waits_with_ebadf);
    tcase_add_test(tc, a_number_closed_behind_our_back_can_be_waited_for_again);
    tcase_add_test(tc, a_wait_for_a_closed_number_can_still_be_given_up);
    tcase_add_test(tc, an_event_of_an_earlier_registration_wakes_nobody);
    tcase_add_test(tc, the_set_is_made_anew_when_stray_events_go_on);
    tcase_add_test(tc, a_watched_copy_does_not_keep_the_loop_awake);
    tcase_add_loop_test(tc, without_a_new_set_the_old_one_goes_on, 0, 2);
    tcase_add_test(tc, who_finds_no_room_in_the_new_set_is_told);
    tcase_add_test(tc, the_table_grows_with_the_numbers);
    tcase_add_test(tc, without_memory_for_the_table_nothing_changes);
}

static void
suite_faults(Suite *suite)
{
    TCase *tc = case_new(suite, "faults");

    tcase_add_test(tc, what_cannot_be_waited_for_is_refused);
    tcase_add_test(tc, a_failed_registration_leaves_no_trace);
    tcase_add_loop_test(tc, a_failed_second_registration_does_not_harm_the_first, 0, 2);
    tcase_add_test(tc, a_failed_removal_does_not_harm_who_stays);
    tcase_add_test(tc, a_poller_that_cannot_be_made_leaves_nothing);
    tcase_add_loop_test(tc, a_wait_in_the_kernel_is_never_too_short, 0, 2);
    tcase_add_loop_test(tc, timeouts_of_any_length_can_be_asked_for, 0, 2);
    tcase_add_test(tc, each_ring_is_told_once_though_nobody_answers);
    tcase_add_test(tc, a_ring_of_a_full_doorbell_is_told);
    tcase_add_test(tc, a_signal_ends_a_wait_without_an_error);
    tcase_add_test(tc, a_wait_that_fails_is_told);
    tcase_add_test(tc, hundreds_of_events_all_arrive);
}

int
main(void)
{
    Suite *suite = suite_create("poller");
    TCase *tc = case_new(suite, "waits");

    tcase_add_test(tc, a_wait_ends_when_its_direction_is_ready);
    tcase_add_test(tc, what_is_ready_already_ends_each_new_wait);
    tcase_add_test(tc, one_wait_can_be_for_both_directions);
    tcase_add_test(tc, each_direction_has_room_for_one);
    tcase_add_test(tc, waits_and_watchers_share_the_room);
    tcase_add_test(tc, a_hang_up_wakes_whoever_waits);
    tcase_add_test(tc, unwait_is_fine_for_a_wait_that_is_over);
    tcase_add_test(tc, an_edge_that_nobody_waits_for_costs_one_wake_up);
    tcase_add_test(tc, a_watcher_is_queued_for_as_long_as_there_is_something);
    tcase_add_test(tc, a_watcher_stands_in_the_queue_once_and_gathers_what_happens);
    tcase_add_test(tc, when_a_watcher_and_its_company_go_the_registration_goes);
    suite_registrations(suite);
    suite_faults(suite);
    return suite_end(suite);
}
