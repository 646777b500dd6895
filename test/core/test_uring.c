/* SPDX-License-Identifier: MIT */
/* The poller on io_uring: readiness, closed and reused fds, faults, other threads, and whole loops. */
#include "uring_scene.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

/* --- readiness --- */

START_TEST(a_wait_ends_when_its_direction_is_ready)
{
    struct waiter reader, writer;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    fill(ends[0]);
    waiter_begin(&reader, ends[0], POLLIN);
    waiter_begin(&writer, ends[0], POLLOUT);
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
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(what_is_ready_already_ends_each_new_wait)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    pipe_open(ends);
    put(ends[1]);
    for (int i = 0; i < 3; i++) {
        waiter_begin(&waiter, ends[0], POLLIN);
        look();
        waiter_was_told(&waiter, 0);
    }
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(a_known_fd_is_waited_for_again_and_again)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    uco__poller_know(&poller, ends[0], false);
    for (int i = 0; i < 5; i++) {
        waiter_begin(&waiter, ends[0], POLLIN);
        look();
        ck_assert_int_eq(waiter.notified, 0);
        put(ends[1]);
        look();
        waiter_was_told(&waiter, 0);
        empty(ends[0]);
    }
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(a_hang_up_ends_the_waits_of_both_directions)
{
    struct waiter reader, writer;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    fill(ends[0]);
    waiter_begin(&reader, ends[0], POLLIN);
    waiter_begin(&writer, ends[0], POLLOUT);
    shut(ends[1]);
    look();
    waiter_was_told(&reader, 0);
    waiter_was_told(&writer, 0);
    forget(ends[0]);
    poller_shut();
}
END_TEST

START_TEST(a_watcher_is_told_in_each_turn_while_its_fd_is_ready)
{
    struct uco__fd_watcher watcher;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    pipe_open(ends);
    watcher = (struct uco__fd_watcher){.fd = ends[0], .events = POLLIN};
    ck_assert_int_eq(uco__poller_watch(&poller, &watcher), 0);
    look();
    ck_assert(!watcher.queued);
    put(ends[1]);
    for (int i = 0; i < 3; i++) {
        look();
        ck_assert(watcher.queued);
        ck_assert_ptr_eq(uco__ready_queue_pop(&ready), &watcher.ready);
        watcher.queued = false;
    }
    empty(ends[0]);
    look(); /* what was asked for before is answered still */
    uco__ready_queue_init(&ready);
    watcher.queued = false;
    look();
    ck_assert(!watcher.queued);
    uco__poller_unwatch(&poller, &watcher);
    put(ends[1]);
    look();
    ck_assert(!watcher.queued);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* More than there are places in the ring. */
START_TEST(a_thousand_fds_are_waited_for_at_once)
{
    enum { MOST = 1000 };
    struct rlimit limit;
    static struct waiter waiters[MOST];
    int n = MOST;

    if (uring_lacks())
        return;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < MOST + 100)
        n = (int) limit.rlim_cur - 100;
    poller_open();
    for (int i = 0; i < n; i++) {
        int fd = eventfd(i % 2 == 0, EFD_NONBLOCK | EFD_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        waiter_begin(&waiters[i], fd, POLLIN);
    }
    look_at_all();
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(waiters[i].notified, i % 2 == 0);
        if (i % 2 != 0)
            uco__doorbell_ring(waiters[i].wait.fd);
    }
    look_at_all();
    for (int i = 0; i < n; i++) {
        waiter_was_told(&waiters[i], 0);
        forget(waiters[i].wait.fd);
    }
    poller_shut();
}
END_TEST

/* --- what cannot be polled --- */

START_TEST(what_is_always_ready_is_refused)
{
    static const char *const paths[] = {"/proc/self/exe", "/", "/dev/null"};
    struct waiter waiter;

    if (uring_lacks())
        return;
    poller_open();
    for (size_t i = 0; i < COUNT(paths); i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(waiter_start(&waiter, fd, POLLIN), -EPERM);
        shut(fd);
        ck_assert_int_eq(waiter_start(&waiter, fd, POLLIN), -EBADF);
    }
    ck_assert_int_eq(waiter.notified, 0);
    poller_shut();
}
END_TEST

START_TEST(a_timer_is_no_file)
{
    struct itimerspec soon = {.it_value.tv_nsec = 1};
    struct waiter waiter;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    if (!uring_lacks()) {
        poller_open();
        waiter_begin(&waiter, fd, POLLIN);
        look();
        ck_assert_int_eq(waiter.notified, 0);
        ck_assert_int_eq(timerfd_settime(fd, 0, &soon, NULL), 0);
        look_until(&waiter.notified);
        forget(fd);
        fd = -1;
        poller_shut();
    }
    if (fd >= 0)
        shut(fd);
}
END_TEST

/* --- closed and used again --- */

START_TEST(forgetting_an_fd_ends_its_waits_and_lets_go_of_the_file_at_once)
{
    struct waiter reader, writer;
    int ends[2];
    char byte;

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    fill(ends[0]);
    waiter_begin(&reader, ends[0], POLLIN);
    waiter_begin(&writer, ends[0], POLLOUT);
    look();
    forget(ends[0]);
    waiter_was_told(&reader, -EBADF);
    waiter_was_told(&writer, -EBADF);
    /* The other side sees the end without another look. */
    empty(ends[1]);
    ck_assert_int_eq(read(ends[1], &byte, 1), 0);
    shut(ends[1]);
    look();
    poller_shut();
}
END_TEST

START_TEST(a_listeners_port_is_free_once_it_is_forgotten)
{
    struct sockaddr_in address;
    struct waiter waiter;
    int listener, again;

    if (uring_lacks())
        return;
    poller_open();
    for (int i = 0; i < 20; i++) {
        listener = listener_open(&address);
        waiter_begin(&waiter, listener, POLLIN);
        look();
        forget(listener);
        again = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(again, (struct sockaddr *) &address, sizeof address), 0);
        shut(again);
    }
    poller_shut();
}
END_TEST

START_TEST(an_event_of_the_fd_that_had_the_number_before_is_nothing)
{
    struct waiter old, new;
    int first[2], second[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(first);
    waiter_begin(&old, first[0], POLLIN);
    look();
    put(first[1]); /* its completion is there, and not taken in */
    uco__poller_unwait(&poller, &old.wait);
    forget(first[0]);
    pipe_open(second);
    ck_assert_int_eq(second[0], first[0]);
    waiter_begin(&new, second[0], POLLIN);
    look();
    ck_assert(old.notified == 0 && new.notified == 0);
    put(second[1]);
    look();
    waiter_was_told(&new, 0);
    shut(first[1]);
    ends_close(second);
    poller_shut();
}
END_TEST

START_TEST(a_number_that_was_closed_behind_our_back_can_be_waited_for_again)
{
    struct waiter old, new;
    int first[2], second[2];

    if (uring_lacks())
        return;
    poller_open();
    pipe_open(first);
    waiter_begin(&old, first[0], POLLIN);
    look();
    uco__poller_unwait(&poller, &old.wait);
    shut(first[0]);
    pipe_open(second);
    ck_assert_int_eq(second[0], first[0]);
    waiter_begin(&new, second[0], POLLIN);
    look();
    shut(first[1]); /* a hang-up of the old one */
    look();
    ck_assert_int_eq(new.notified, 0);
    put(second[1]);
    look();
    waiter_was_told(&new, 0);
    ends_close(second);
    poller_shut();
}
END_TEST

/* Nobody waits, so nothing of ours holds the file: close(2) is enough. */
START_TEST(a_wait_that_is_given_up_holds_no_file)
{
    struct waiter waiter;
    int ends[2];
    char byte;

    if (uring_lacks())
        return;
    poller_open();
    for (int known = 0; known < 2; known++) {
        socket_open(ends);
        if (known)
            uco__poller_know(&poller, ends[0], false);
        waiter_begin(&waiter, ends[0], POLLIN);
        look();
        uco__poller_unwait(&poller, &waiter.wait);
        look();
        shut(ends[0]);
        look();
        ck_assert_int_eq(read(ends[1], &byte, 1), 0);
        forget(ends[1]);
    }
    poller_shut();
}
END_TEST

START_TEST(a_wait_after_one_that_was_given_up_at_once_is_told)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    uco__poller_know(&poller, ends[0], false);
    waiter_begin(&waiter, ends[0], POLLIN);
    uco__poller_unwait(&poller, &waiter.wait); /* before the ring was told of it */
    waiter_begin(&waiter, ends[0], POLLIN);
    look();
    put(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ends_close(ends);
    poller_shut();
}
END_TEST

START_TEST(a_wait_for_nothing_but_the_end_is_told_on_a_known_fd_too)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    uco__poller_know(&poller, ends[0], false);
    waiter_begin(&waiter, ends[0], POLLIN);
    look();
    uco__poller_unwait(&poller, &waiter.wait);
    look();
    waiter_begin(&waiter, ends[0], 0);
    look();
    ck_assert_int_eq(waiter.notified, 0);
    shut(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    forget(ends[0]);
    poller_shut();
}
END_TEST

START_TEST(a_dup_that_stays_alive_tells_nobody_anything)
{
    struct waiter waiter;
    int ends[2], other[2], copy;

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    copy = dup(ends[0]);
    ck_assert_int_ge(copy, 0);
    waiter_begin(&waiter, ends[0], POLLIN);
    look();
    forget(ends[0]);
    pipe_open(other);
    ck_assert_int_eq(other[0], ends[0]);
    waiter_begin(&waiter, other[0], POLLIN);
    for (int i = 0; i < 40; i++) {
        put(ends[1]);
        look();
    }
    ck_assert_uint_eq(poller.stray, 0);
    ck_assert_int_eq(waiter.notified, 0);
    shut(copy);
    shut(ends[1]);
    ends_close(other);
    poller_shut();
}
END_TEST

/* Each leaves a completion behind: there is room for 4,096. */
START_TEST(ten_thousand_are_forgotten_between_two_looks)
{
    struct waiter waiter, other;
    int ends[2], others[2];
    int n = scaled(10000);

    if (uring_lacks())
        return;
    poller_open();
    pipe_open(others);
    waiter_begin(&other, others[0], POLLIN);
    for (int i = 0; i < n; i++) {
        pipe_open(ends);
        waiter_begin(&waiter, ends[0], POLLIN);
        if (i % 1000 == 0)
            look();
        put(ends[1]);
        ends_close(ends);
        waiter_was_told(&waiter, -EBADF);
    }
    put(others[1]);
    look();
    waiter_was_told(&other, 0);
    ends_close(others);
    poller_shut();
}
END_TEST

START_TEST(ten_thousand_waits_are_given_up)
{
    struct waiter waiter;
    int ends[2];
    int n = scaled(10000);

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    for (int i = 0; i < n; i++) {
        waiter_begin(&waiter, ends[0], i % 3 == 0 ? POLLIN | POLLRDHUP : POLLIN);
        if (i % 2 == 0)
            look();
        uco__poller_unwait(&poller, &waiter.wait);
        ck_assert_int_eq(waiter.notified, 0);
    }
    waiter_begin(&waiter, ends[0], POLLIN);
    put(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* --- time --- */

/* A signal ends a wait early: it goes on for what is left, as a loop's does. */
static void
wait_for(uint64_t time)
{
    uint64_t began = uco__clock_real();
    uint64_t waited = 0;
    int waits = 0;

    while (waited < time) {
        ck_assert_int_eq(uco__poller_poll(&poller, time - waited), 0);
        waited = uco__clock_real() - began;
        waits++;
    }
    if (getenv("UCO_TEST_STORM") == NULL)
        ck_assert_int_eq(waits, 1);
}

START_TEST(no_wait_is_shorter_than_its_time)
{
    static const uint64_t times[] = {1, 999, 50000, 1000001, 5000000};
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    for (size_t i = 0; i < COUNT(times); i++) {
        wait_for(times[i]);
        /* The same when there is something to say in the same call. */
        pipe_open(ends);
        waiter_begin(&waiter, ends[0], POLLIN);
        wait_for(times[i]);
        uco__poller_unwait(&poller, &waiter.wait);
        ends_close(ends);
        look();
    }
    poller_shut();
}
END_TEST

static void *
thread_rings(void *arg)
{
    (void) arg;
    uco__doorbell_ring(doorbell);
    return NULL;
}

START_TEST(each_ring_of_the_doorbell_ends_a_wait)
{
    pthread_t thread;
    int r;

    if (uring_lacks())
        return;
    poller_open();
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, thread_rings, NULL), 0);
        while ((r = uco__poller_poll(&poller, UCO__NEVER)) == 0)
            continue; /* a signal */
        ck_assert_int_eq(r, 1);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        look();
        if (i % 2 == 0)
            uco__doorbell_answer(doorbell);
    }
    poller_shut();
}
END_TEST

/* --- faults --- */

START_TEST(a_ring_that_cannot_be_made_leaves_nothing)
{
    static const int errors[] = {EPERM, ENOSYS, ENOMEM, EMFILE};

    if (uring_lacks())
        return;
    doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    for (size_t i = 0; i < COUNT(errors); i++) {
        uco_test_fail("io_uring_queue_init", 1, false, errors[i]);
        ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_uring, doorbell, &ready),
                         -errors[i]);
    }
    uco_test_fail("malloc", 1, false, ENOMEM);
    ck_assert_int_eq(uco__poller_init(&poller, &uco__poller_uring, doorbell, &ready), -ENOMEM);
    shut(doorbell);
}
END_TEST

static const int enter_errors[] = {EINTR, EAGAIN, EBUSY, ENOMEM};

START_TEST(a_call_that_fails_once_loses_nothing)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    for (size_t i = 0; i < COUNT(enter_errors); i++) {
        for (unsigned long nth = 1; nth <= 4; nth++) {
            socket_open(ends);
            uco_test_fail("io_uring_enter", nth, false, enter_errors[i]);
            waiter_begin(&waiter, ends[0], POLLIN);
            (void) uco__poller_poll(&poller, 0);
            put(ends[1]);
            (void) uco__poller_poll(&poller, 0);
            uco_test_fail_off();
            look();
            waiter_was_told(&waiter, 0);
            ends_close(ends);
        }
    }
    poller_shut();
}
END_TEST

START_TEST(a_call_that_always_fails_is_an_error_of_each_wait)
{
    struct waiter waiter, forgotten;
    int ends[2], other[2];

    if (uring_lacks())
        return;
    poller_open();
    for (size_t i = 0; i < COUNT(enter_errors); i++) {
        socket_open(ends);
        socket_open(other);
        waiter_begin(&forgotten, other[0], POLLIN);
        look();
        uco_test_fail("io_uring_enter", 1, true, enter_errors[i]);
        waiter_begin(&waiter, ends[0], POLLIN);
        for (int turn = 0; turn < 3; turn++)
            ck_assert_int_eq(uco__poller_poll(&poller, UCO__NEVER),
                             enter_errors[i] == EINTR ? 0 : -enter_errors[i]);
        ends_close(other);
        waiter_was_told(&forgotten, -EBADF);
        put(ends[1]);
        uco_test_fail_off();
        look();
        waiter_was_told(&waiter, 0);
        ends_close(ends);
    }
    poller_shut();
}
END_TEST

START_TEST(no_memory_for_a_record_is_the_waits_error)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    for (unsigned long nth = 1; nth <= 2; nth++) {
        uco_test_fail("malloc", nth, true, ENOMEM);
        ck_assert_int_eq(waiter_start(&waiter, ends[0], POLLIN), -ENOMEM);
        uco_test_fail_off();
    }
    ck_assert_int_eq(waiter.notified, 0);
    waiter_begin(&waiter, ends[0], POLLIN);
    uco_test_fail("malloc", 1, true, ENOMEM);
    put(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ends_close(ends);
    uco_test_fail_off();
    poller_shut();
}
END_TEST

/* --- other threads --- */

static void *
thread_looks(void *arg)
{
    struct waiter *waiter = arg;

    look_until(&waiter->notified);
    return NULL;
}

static void
thread_run(void *(*body)(void *arg), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, body, arg), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

START_TEST(what_one_thread_waited_for_the_next_one_is_told)
{
    struct waiter first, second;
    int ends[2], others[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    socket_open(others);
    waiter_begin(&first, ends[0], POLLIN);
    waiter_begin(&second, others[0], POLLIN);
    look();
    put(ends[1]);
    thread_run(thread_looks, &first);
    waiter_was_told(&first, 0);
    ck_assert_int_eq(second.notified, 0);
    /* The requests of the other thread have ended with it. */
    for (int i = 0; i < 3; i++) {
        waiter_begin(&first, ends[0], POLLIN);
        thread_run(thread_looks, &first);
    }
    put(others[1]);
    look();
    waiter_was_told(&second, 0);
    ends_close(ends);
    ends_close(others);
    poller_shut();
}
END_TEST

START_TEST(a_thread_that_gets_no_ring_of_its_own_tries_again)
{
    struct waiter waiter;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    waiter_begin(&waiter, ends[0], POLLIN);
    put(ends[1]);
    thread_run(thread_looks, &waiter);
    waiter_begin(&waiter, ends[0], POLLIN);
    uco_test_fail("io_uring_queue_init", 1, false, EMFILE);
    ck_assert_int_eq(uco__poller_poll(&poller, 0), -EMFILE);
    look();
    waiter_was_told(&waiter, 0);
    ends_close(ends);
    poller_shut();
}
END_TEST

/* A thread may begin where one has ended, at the same address: only the kernel knows. */
START_TEST(a_ring_that_is_another_threads_is_left)
{
    struct waiter waiter, other;
    int ends[2];

    if (uring_lacks())
        return;
    poller_open();
    socket_open(ends);
    waiter_begin(&waiter, ends[0], POLLIN);
    look();
    waiter_begin(&other, doorbell, POLLPRI); /* something to be said */
    uco_test_fail("io_uring_enter", 1, false, EEXIST);
    look();
    uco_test_fail_off();
    put(ends[1]);
    look();
    waiter_was_told(&waiter, 0);
    ends_close(ends);
    uco__poller_forget(&poller, doorbell);
    poller_shut();
}
END_TEST

/* --- whole loops --- */

static intptr_t
run_on(enum uco_clock clock, uco_fn *fn, void *arg)
{
    uco_loop_options options = {.clock = clock, .backend = UCO_BACKEND_IO_URING};

    return uco_run_with(&options, fn, arg);
}

static intptr_t
sends_back(void *arg)
{
    const int *fd = arg;
    char byte;
    ssize_t r;

    while ((r = uco_read(*fd, &byte, 1)) > 0)
        ck_assert_int_eq(uco_write(*fd, &byte, 1), 1);
    return r;
}

static intptr_t
talks(void *arg)
{
    int ends[2];
    uco_task *other;

    (void) arg;
    socket_open(ends);
    other = uco_create_task(sends_back, &ends[1]);
    for (int i = 0; i < 100; i++) {
        char byte = (char) i;

        ck_assert_int_eq(uco_write(ends[0], &byte, 1), 1);
        byte = -1;
        ck_assert_int_eq(uco_read(ends[0], &byte, 1), 1);
        ck_assert_int_eq(byte, (char) i);
    }
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_join(other), 0);
    return uco_close(ends[1]);
}

START_TEST(tasks_talk_over_a_socket)
{
    if (uring_lacks())
        return;
    ck_assert_int_eq(run_on(UCO_CLOCK_REAL, talks, NULL), 0);
    ck_assert_int_eq(run_on(UCO_CLOCK_VIRTUAL, talks, NULL), 0);
}
END_TEST

static intptr_t
reads_a_byte(void *arg)
{
    char byte;

    return uco_read(*(const int *) arg, &byte, 1);
}

static intptr_t
is_closed_under(void *arg)
{
    int ends[2];
    uco_task *reader;

    (void) arg;
    socket_open(ends);
    reader = uco_create_task(reads_a_byte, &ends[0]);
    uco_test_settle();
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    return uco_close(ends[1]);
}

START_TEST(a_reader_is_told_when_its_fd_is_closed)
{
    if (uring_lacks())
        return;
    ck_assert_int_eq(run_on(UCO_CLOCK_VIRTUAL, is_closed_under, NULL), 0);
}
END_TEST

static intptr_t
polls_until_late(void *arg)
{
    int ends[2];
    double began = uco_time();

    (void) arg;
    socket_open(ends);
    ck_assert_int_eq(uco_poll(ends[0], POLLIN, 3600), -ETIMEDOUT);
    ck_assert(uco_time() >= began + 3600);
    shut(ends[0]);
    shut(ends[1]);
    return 0;
}

START_TEST(a_virtual_clock_jumps_while_a_ring_waits)
{
    if (uring_lacks())
        return;
    ck_assert_int_eq(run_on(UCO_CLOCK_VIRTUAL, polls_until_late, NULL), 0);
}
END_TEST

static intptr_t
cancels_many(void *arg)
{
    int n = scaled(10000);
    int ends[2];

    (void) arg;
    socket_open(ends);
    for (int i = 0; i < n; i++) {
        uco_task *reader = uco_create_task(reads_a_byte, &ends[0]);

        uco_test_settle();
        ck_assert_int_eq(uco_cancel(reader), 0);
        ck_assert_int_eq(uco_join(reader), -ECANCELED);
    }
    put(ends[1]);
    ck_assert_int_eq(reads_a_byte(&ends[0]), 1);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    return uco_close(ends[1]);
}

START_TEST(ten_thousand_readers_are_cancelled)
{
    if (uring_lacks())
        return;
    ck_assert_int_eq(run_on(UCO_CLOCK_VIRTUAL, cancels_many, NULL), 0);
}
END_TEST

/* The loop lives on, if slowly. */
static intptr_t
has_no_kernel(void *arg)
{
    (void) arg;
    for (size_t i = 0; i < COUNT(enter_errors); i++) {
        uco_test_fail("io_uring_enter", 1, true, enter_errors[i]);
        ck_assert_int_eq(uco_sleep(0.005), 0);
        uco_test_fail_off();
    }
    return talks(NULL);
}

START_TEST(a_loop_survives_a_kernel_that_refuses_every_call)
{
    struct reports r;
    uco_loop_options options = reporting(&r);

    if (uring_lacks())
        return;
    options.clock = UCO_CLOCK_REAL;
    options.backend = UCO_BACKEND_IO_URING;
    ck_assert_int_eq(uco_run_with(&options, has_no_kernel, NULL), 0);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_ptr_nonnull(strstr(r.last, "waiting for events failed"));
}
END_TEST

static uco_loop *shared_loop;

static void *
thread_runs_loop(void *arg)
{
    ck_assert_int_eq(uco_loop_run_until_complete(shared_loop, talks, arg), 0);
    return NULL;
}

START_TEST(threads_run_a_loop_one_after_the_other)
{
    uco_loop_options options = {.backend = UCO_BACKEND_IO_URING};

    if (uring_lacks())
        return;
    shared_loop = uco_loop_new(&options);
    ck_assert_ptr_nonnull(shared_loop);
    for (int i = 0; i < 3; i++) {
        thread_run(thread_runs_loop, NULL);
        ck_assert_int_eq(uco_loop_run_until_complete(shared_loop, talks, NULL), 0);
        thread_run(thread_runs_loop, NULL);
    }
    ck_assert_int_eq(uco_loop_close(shared_loop), 0);
    uco_loop_unref(shared_loop);
}
END_TEST

static intptr_t
forks(void *arg)
{
    uco_task *reader;
    int ends[2], status, before;
    pid_t child;

    (void) arg;
    socket_open(ends);
    reader = uco_create_task(reads_a_byte, &ends[0]);
    uco_test_settle();
    before = count_fds();
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int lost = before - count_fds();

        /* The doorbell and the ring. */
        _exit(lost == 2 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    put(ends[1]);
    ck_assert_int_eq(uco_join(reader), 1);
    ck_assert_int_eq(uco_close(ends[0]), 0);
    return uco_close(ends[1]);
}

START_TEST(a_child_lets_go_of_the_ring_and_the_parent_goes_on)
{
    if (uring_lacks())
        return;
    ck_assert_int_eq(run_on(UCO_CLOCK_REAL, forks, NULL), 0);
}
END_TEST

/* --- which backend --- */

START_TEST(a_backend_that_was_asked_for_is_had_or_refused)
{
    uco_loop_options options = {.backend = UCO_BACKEND_IO_URING};

    if (uring_lacks())
        return;
    uco_test_fail("epoll_create1", 1, true, EMFILE);
    ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), 7);
    uco_test_fail_off();
    uco_test_fail("io_uring_queue_init", 1, true, EPERM);
    ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), -EPERM);
    uco_test_fail("io_uring_queue_init", 1, true, ENOSYS);
    ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), -ENOSYS);
    options.backend = UCO_BACKEND_EPOLL;
    setenv("UCO_BACKEND", "io_uring", 1);
    ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), 7);
}
END_TEST

START_TEST(the_environments_wish_is_done_where_it_can_be)
{
    uco_loop_options options = {.backend = UCO_BACKEND_AUTO};

    if (uring_lacks())
        return;
    setenv("UCO_BACKEND", "io_uring", 1);
    uco_test_fail("epoll_create1", 1, true, EMFILE);
    ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), 7);
    uco_test_fail_off();
    uco_test_fail("io_uring_queue_init", 1, true, EPERM);
    ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), 7);
}
END_TEST

START_TEST(without_a_wish_it_is_epoll)
{
    static const char *const wishes[] = {NULL, "", "auto", "epoll", "kqueue"};
    uco_loop_options options = {.backend = UCO_BACKEND_AUTO};

    uco_test_fail("io_uring_queue_init", 1, true, EMFILE);
    for (size_t i = 0; i < COUNT(wishes); i++) {
        unsetenv("UCO_BACKEND");
        if (wishes[i] != NULL)
            setenv("UCO_BACKEND", wishes[i], 1);
        ck_assert_int_eq(uco_run_with(&options, body_return, (void *) 7), 7);
    }
}
END_TEST

static void
add_poller_cases(Suite *suite)
{
    TCase *tcase = case_new(suite, "readiness");

    tcase_add_test(tcase, a_wait_ends_when_its_direction_is_ready);
    tcase_add_test(tcase, what_is_ready_already_ends_each_new_wait);
    tcase_add_test(tcase, a_known_fd_is_waited_for_again_and_again);
    tcase_add_test(tcase, a_hang_up_ends_the_waits_of_both_directions);
    tcase_add_test(tcase, a_watcher_is_told_in_each_turn_while_its_fd_is_ready);
    tcase_add_test(tcase, a_thousand_fds_are_waited_for_at_once);
    tcase_add_test(tcase, what_is_always_ready_is_refused);
    tcase_add_test(tcase, a_timer_is_no_file);

    tcase = case_new(suite, "closed and used again");
    tcase_add_test(tcase, forgetting_an_fd_ends_its_waits_and_lets_go_of_the_file_at_once);
    tcase_add_test(tcase, a_listeners_port_is_free_once_it_is_forgotten);
    tcase_add_test(tcase, an_event_of_the_fd_that_had_the_number_before_is_nothing);
    tcase_add_test(tcase, a_number_that_was_closed_behind_our_back_can_be_waited_for_again);
    tcase_add_test(tcase, a_wait_that_is_given_up_holds_no_file);
    tcase_add_test(tcase, a_wait_after_one_that_was_given_up_at_once_is_told);
    tcase_add_test(tcase, a_wait_for_nothing_but_the_end_is_told_on_a_known_fd_too);
    tcase_add_test(tcase, a_dup_that_stays_alive_tells_nobody_anything);
    tcase_add_test(tcase, ten_thousand_are_forgotten_between_two_looks);
    tcase_add_test(tcase, ten_thousand_waits_are_given_up);

    tcase = case_new(suite, "time");
    tcase_add_test(tcase, no_wait_is_shorter_than_its_time);
    tcase_add_test(tcase, each_ring_of_the_doorbell_ends_a_wait);

    tcase = case_new(suite, "faults");
    tcase_add_test(tcase, a_ring_that_cannot_be_made_leaves_nothing);
    tcase_add_test(tcase, a_call_that_fails_once_loses_nothing);
    tcase_add_test(tcase, a_call_that_always_fails_is_an_error_of_each_wait);
    tcase_add_test(tcase, no_memory_for_a_record_is_the_waits_error);

    tcase = case_new(suite, "threads");
    tcase_add_test(tcase, what_one_thread_waited_for_the_next_one_is_told);
    tcase_add_test(tcase, a_thread_that_gets_no_ring_of_its_own_tries_again);
    tcase_add_test(tcase, a_ring_that_is_another_threads_is_left);
}

int
main(void)
{
    Suite *suite = suite_create("io_uring");
    TCase *tcase;

    add_poller_cases(suite);
    tcase = case_new(suite, "loops");
    tcase_add_test(tcase, tasks_talk_over_a_socket);
    tcase_add_test(tcase, a_reader_is_told_when_its_fd_is_closed);
    tcase_add_test(tcase, a_virtual_clock_jumps_while_a_ring_waits);
    tcase_add_test(tcase, ten_thousand_readers_are_cancelled);
    tcase_add_test(tcase, a_loop_survives_a_kernel_that_refuses_every_call);
    tcase_add_test(tcase, threads_run_a_loop_one_after_the_other);
    tcase_add_test(tcase, a_child_lets_go_of_the_ring_and_the_parent_goes_on);

    tcase = case_new(suite, "which backend");
    tcase_add_test(tcase, a_backend_that_was_asked_for_is_had_or_refused);
    tcase_add_test(tcase, the_environments_wish_is_done_where_it_can_be);
    tcase_add_test(tcase, without_a_wish_it_is_epoll);
    return suite_end(suite);
}
