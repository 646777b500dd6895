/* SPDX-License-Identifier: MIT */

/*
 * Faults of the system that no single part of uco meets alone: peers that break or stall, file
 * descriptors that are shared, processes that fork, threads that are cancelled. docs/testing.md has
 * the whole list, and where the others are tested.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "server_scene.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <uco/process.h>

#if defined(__SANITIZE_THREAD__)
#define URING_UNWATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define URING_UNWATCHED 1
#endif
#endif

static const enum uco_backend backends[] = {UCO_BACKEND_EPOLL, UCO_BACKEND_IO_URING};

static bool
backend_lacks(enum uco_backend backend)
{
    uco_loop_options options = {.backend = backend};

#ifdef URING_UNWATCHED
    if (backend == UCO_BACKEND_IO_URING)
        return true;
#endif
    return backend == UCO_BACKEND_IO_URING &&
           (getenv("UCO_TEST_VALGRIND") != NULL || uco_run_with(&options, body_return, NULL) < 0);
}

/* Runs fn on a backend; what this machine has none of counts as done. */
static void
run_on(enum uco_backend backend, enum uco_clock clock, uco_fn *fn, void *arg)
{
    uco_loop_options options = {.backend = backend, .clock = clock, .slow_callback = UCO_FOREVER};

    if (backend_lacks(backend))
        test_skipped("no io_uring here");
    else
        ck_assert_int_eq(uco_run_with(&options, fn, arg), 0);
}

static uint64_t
turns(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats.turns;
}

/* Peers */

enum { MUCH = 512 * 1024 };

static intptr_t
sends_much_and_ends(void *arg)
{
    static char text[MUCH];

    ck_assert_int_eq(uco_stream_write(arg, text, sizeof text), sizeof text);
    return uco_stream_shutdown(arg);
}

static intptr_t
half_closes(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client = client_of(server);
    uco_task *sender = uco_create_task(sends_much_and_ends, client);
    char buf[4096];
    size_t size = 0;
    ssize_t n;

    (void) arg;
    while ((n = uco_stream_read(client, buf, sizeof buf)) > 0)
        size += (size_t) n;
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(size, MUCH);
    ck_assert_int_eq(uco_join(sender), 0);
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 0);
}

/* B15. */
START_TEST(who_has_said_all_still_gets_the_whole_answer)
{
    run_on(backends[_i], UCO_CLOCK_REAL, half_closes, NULL);
}
END_TEST

/* As much as can be sent before nobody takes any more. */
static size_t
stuff(int fd)
{
    static char text[64 * 1024];
    size_t size = 0, before;

    do {
        before = size;
        for (int i = 0; i < 10; i++) {
            ssize_t n;

            while ((n = send(fd, text, sizeof text, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
                size += (size_t) n;
            uco_sleep(0.01);
        }
    } while (size != before);
    return size;
}

static intptr_t
never_reads(void *arg)
{
    uco_server *server = server_of(echoes, NULL);
    uco_stream *other;
    int fd = tcp_connect(uco_server_port(server));

    (void) arg;
    /* What is on its way is the kernel's: some megabytes each way, at most. */
    ck_assert_uint_lt(stuff(fd), (size_t) 48 * 1024 * 1024);
    other = client_of(server);
    exchange(other, "others go on");
    ck_assert_int_eq(uco_stream_close(other), 0);
    ck_assert_int_eq(uco_server_close(server, 0), 0);
    close(fd);
    return 0;
}

/* B17. */
START_TEST(a_client_that_never_reads_is_no_longer_read_and_can_be_dropped)
{
    run_on(backends[_i], UCO_CLOCK_REAL, never_reads, NULL);
}
END_TEST

static intptr_t
writes_until_it_fails(uco_stream *s, void *arg)
{
    intptr_t r;

    do
        r = uco_stream_printf(s, "hello\n");
    while (r >= 0);
    *(intptr_t *) arg = r;
    return r;
}

static intptr_t
leaves_a_writer(void *arg)
{
    intptr_t result = 0;
    uco_server *server = server_of(writes_until_it_fails, &result);
    char c;
    int fd;

    (void) arg;
    signal(SIGPIPE, SIG_DFL);
    fd = tcp_connect(uco_server_port(server));
    ck_assert_int_eq(uco_read(fd, &c, 1), 1);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(uco_server_close(server, UCO_FOREVER), 0);
    ck_assert(result == -EPIPE || result == -ECONNRESET);
    return 0;
}

/* B13, B14. */
START_TEST(a_server_survives_its_clients_with_sigpipe_at_its_default)
{
    run_on(backends[_i], UCO_CLOCK_REAL, leaves_a_writer, NULL);
}
END_TEST

/* File descriptors */

static intptr_t
counts_turns(void *arg)
{
    for (;;) {
        int r = uco_yield();

        if (r < 0)
            return r;
        ++*(unsigned *) arg;
    }
}

static intptr_t
reads_in_vain(void *arg)
{
    struct scene scene = scene_tcp();
    unsigned others = 0;
    uco_task *other = uco_create_task(counts_turns, &others);

    (void) arg;
    say(&scene, "x");
    uco_test_fail("read", 1, true, EAGAIN);
    ck_assert_int_eq(uco_with_timeout(0.05, reads, scene.s), -ETIMEDOUT);
    ck_assert_uint_gt(others, 0);
    uco_test_fail_off();
    ck_assert_int_eq(reads(scene.s), 1);
    uco_cancel(other);
    ck_assert_int_eq(uco_join(other), -ECANCELED);
    scene_end(&scene);
    return 0;
}

/* B11: a look that is always told of bytes, and a read that never finds them. */
START_TEST(what_is_never_there_when_it_is_looked_at_ends_with_the_deadline)
{
    run_on(UCO_BACKEND_EPOLL, UCO_CLOCK_REAL, reads_in_vain, NULL);
}
END_TEST

static intptr_t
accepts(void *arg)
{
    return uco_accept4(*(int *) arg, NULL, NULL, SOCK_CLOEXEC);
}

static intptr_t
shares_a_listener(void *arg)
{
    uco_loop_options options = {.backend = UCO_BACKEND_EPOLL};
    int listener = uco_listen("127.0.0.1", 0, 0);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    uco_loop_thread *threads[2];

    (void) arg;
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    for (int i = 0; i < 2; i++)
        threads[i] = uco_loop_thread_start(&options);
    for (int round = 0; round < 50; round++) {
        uco_future *both[2];
        intptr_t fds[2];
        int clients[2];

        for (int i = 0; i < 2; i++) {
            both[i] =
                uco_run_coroutine_threadsafe(uco_loop_thread_loop(threads[i]), accepts, &listener);
        }
        clients[0] = tcp_connect(ntohs(address.sin_port));
        ck_assert_int_ge(uco_wait_any(both, 2, UCO_FOREVER), 0);
        ck_assert(!uco_done(both[0]) || !uco_done(both[1]));
        clients[1] = tcp_connect(ntohs(address.sin_port));
        ck_assert_int_eq(uco_gather(both, 2, fds), 0);
        for (int i = 0; i < 2; i++) {
            close((int) fds[i]);
            close(clients[i]);
        }
        uco_unref_all(both, 2);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(uco_loop_thread_stop(threads[i]), 0);
    return uco_close(listener);
}

/*
 * B11: a connection comes, and two loops that wait for one are told.
 *
 *   the one accepts it
 *   the other finds nothing        waits on, and gets the next
 */
START_TEST(who_was_told_of_what_another_took_waits_on)
{
    run_on(UCO_BACKEND_EPOLL, UCO_CLOCK_REAL, shares_a_listener, NULL);
}
END_TEST

static intptr_t
closes_one_of_two(void *arg)
{
    struct scene scene = scene_tcp();
    int copy = dup(uco_stream_fd(scene.s));
    uco_task *reader = parked(reads, scene.s);
    char buf[8];
    uint64_t before;

    (void) arg;
    ck_assert_int_eq(uco_stream_close(scene.s), 0);
    ck_assert_int_eq(uco_join(reader), -EBADF);
    say(&scene, "hello");
    before = turns();
    uco_sleep(0.05);
    ck_assert_uint_lt(turns() - before, 1000); /* a loop that spins makes tens of thousands */
    ck_assert_int_eq(recv(copy, buf, sizeof buf, MSG_DONTWAIT), 5); /* nothing was taken from it */
    close(copy);
    close(scene.other);
    return 0;
}

/* B6, B7. */
START_TEST(a_copy_of_a_closed_streams_socket_is_left_alone)
{
    run_on(backends[_i], UCO_CLOCK_REAL, closes_one_of_two, NULL);
}
END_TEST

static intptr_t
speaks_on_0_and_1(void *arg)
{
    int other = *(int *) arg;
    uco_stream *s;
    char buf[8];

    ck_assert_int_eq(write(other, "hello", 5), 5);
    ck_assert_int_eq(uco_read(0, buf, sizeof buf), 5);
    ck_assert_int_eq(uco_poll(0, POLLIN, 0.001), -ETIMEDOUT);
    ck_assert_int_eq(uco_write(1, "hello", 5), 5);
    s = stream_of(dup(0));
    ck_assert_int_eq(uco_with_timeout(0.001, reads, s), -ETIMEDOUT);
    ck_assert_int_eq(uco_stream_printf(s, "hello"), 5);
    ck_assert_int_eq(uco_stream_close(s), 0);
    return 0;
}

/* B19: as a program has them that inetd starts, or a shell in a pipe. */
START_TEST(the_standard_descriptors_stay_blocking)
{
    const int kept[] = {dup(0), dup(1)};

    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int fd = 0; fd < 2; fd++)
        ck_assert_int_eq(dup2(ends[0], fd), fd);
    run_on(backends[_i], UCO_CLOCK_REAL, speaks_on_0_and_1, &ends[1]);
    ck_assert_int_eq(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
    for (int fd = 0; fd < 2; fd++) {
        dup2(kept[fd], fd);
        close(ends[fd]);
    }
    close(kept[0]);
    close(kept[1]);
}
END_TEST

static intptr_t
accepts_on_0(void *arg)
{
    int listener = 0;
    uco_task *task = parked(accepts, &listener);
    int client = tcp_connect(*(uint16_t *) arg);
    int fd = (int) uco_join(task);

    ck_assert_int_ge(fd, 0);
    close(client);
    return uco_close(fd);
}

/* B19: as a service has it that is started with its listener. */
START_TEST(a_listener_that_is_a_standard_descriptor_stays_blocking)
{
    int kept = dup(0), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    uint16_t port;

    ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    ck_assert_int_eq(dup2(listener, 0), 0);
    port = ntohs(address.sin_port);
    run_on(backends[_i], UCO_CLOCK_REAL, accepts_on_0, &port);
    ck_assert_int_eq(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
    dup2(kept, 0);
    close(kept);
    close(listener);
}
END_TEST

static intptr_t
opens_much(void *arg)
{
    const char *const argv[] = {"cat", NULL};
    uco_process_options options = {.argv = argv, .stdin_fd = UCO_PIPE, .stdout_fd = UCO_PIPE};
    uco_server *server = server_of(echoes, NULL);
    uco_stream *client = uco_stream_dial("127.0.0.1", uco_server_port(server));
    uco_process *p = uco_process_spawn(&options);
    int before = *(int *) arg, after = 0;

    ck_assert_ptr_nonnull(client);
    ck_assert_ptr_nonnull(p);
    exchange(client, "x");
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);

        after += flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
    ck_assert_int_eq(after, before);
    uco_process_free(p);
    ck_assert_int_eq(uco_stream_close(client), 0);
    return uco_server_close(server, 0);
}

/* C9. */
START_TEST(each_descriptor_that_uco_opens_is_close_on_exec)
{
    int before = 0;

    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);

        before += flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
    run_on(backends[_i], UCO_CLOCK_REAL, opens_much, &before);
}
END_TEST

/* Processes and threads */

/* In the child, where the loop is the parent's: nothing reaches it, and a close is the child's own.
 */
static bool
child_is_kept_out(const struct scene *scene)
{
    char buf[8];
    int ends[2];

    if (pipe(ends) < 0 || write(ends[1], "x", 1) != 1)
        return false;
    return uco_read(ends[0], buf, sizeof buf) == -ESTALE &&
           uco_stream_read(scene->s, buf, sizeof buf) == -ESTALE &&
           uco_accept4(ends[0], NULL, NULL, 0) == -ESTALE &&
           uco_poll(ends[0], POLLIN, 1) == -ESTALE && uco_close(ends[0]) == 0 &&
           uco_close(uco_stream_fd(scene->s)) == 0;
}

static intptr_t
forks(void *arg)
{
    struct scene scene = scene_tcp();
    uco_task *reader = parked(reads, scene.s);
    int status;
    pid_t child;

    (void) arg;
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(child_is_kept_out(&scene) ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    uco_test_settle();
    ck_assert(!uco_done(reader));
    say(&scene, "hello");
    ck_assert_int_eq(uco_join(reader), 5);
    scene_end(&scene);
    return 0;
}

/* C8. */
START_TEST(a_child_of_fork_does_not_touch_what_its_parent_waits_for)
{
    run_on(backends[_i], UCO_CLOCK_REAL, forks, NULL);
}
END_TEST

struct cancelled {
    pthread_barrier_t barrier;
    enum uco_backend backend;
    intptr_t result;
};

static intptr_t
is_cancelled_by_pthreads(void *arg)
{
    struct cancelled *cancelled = arg;
    struct scene scene = scene_tcp();

    pthread_barrier_wait(&cancelled->barrier); /* no cancellation point, as the next */
    pthread_barrier_wait(&cancelled->barrier);
    for (int i = 0; i < 10; i++)
        uco_sleep(0.001);
    say(&scene, "x");
    ck_assert_int_eq(reads(scene.s), 1);
    scene_end(&scene);
    return 0;
}

static void *
thread_of_a_loop(void *arg)
{
    struct cancelled *cancelled = arg;
    uco_loop_options options = {.backend = cancelled->backend};

    cancelled->result = uco_run_with(&options, is_cancelled_by_pthreads, cancelled);
    pthread_testcancel();
    return NULL;
}

/* C12: the loop first comes to its end. */
START_TEST(a_loops_thread_is_cancelled_when_the_loop_has_ended)
{
    struct cancelled cancelled = {.backend = backends[_i], .result = 1};
    pthread_t thread;
    void *end;

    if (backend_lacks(cancelled.backend))
        return test_skipped("no io_uring here");
    pthread_barrier_init(&cancelled.barrier, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_of_a_loop, &cancelled), 0);
    pthread_barrier_wait(&cancelled.barrier);
    ck_assert_int_eq(pthread_cancel(thread), 0);
    pthread_barrier_wait(&cancelled.barrier);
    ck_assert_int_eq(pthread_join(thread, &end), 0);
    ck_assert_int_eq(cancelled.result, 0);
    ck_assert_ptr_eq(end, PTHREAD_CANCELED);
    pthread_barrier_destroy(&cancelled.barrier);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("fault_rows");
    TCase *tcase = case_new(suite, "peers");

    tcase_add_loop_test(tcase, who_has_said_all_still_gets_the_whole_answer, 0, COUNT(backends));
    tcase_add_loop_test(tcase, a_client_that_never_reads_is_no_longer_read_and_can_be_dropped, 0,
                        COUNT(backends));
    tcase_add_loop_test(tcase, a_server_survives_its_clients_with_sigpipe_at_its_default, 0,
                        COUNT(backends));

    tcase = case_new(suite, "descriptors");
    tcase_add_test(tcase, what_is_never_there_when_it_is_looked_at_ends_with_the_deadline);
    tcase_add_test(tcase, who_was_told_of_what_another_took_waits_on);
    tcase_add_loop_test(tcase, a_copy_of_a_closed_streams_socket_is_left_alone, 0, COUNT(backends));
    tcase_add_loop_test(tcase, the_standard_descriptors_stay_blocking, 0, COUNT(backends));
    tcase_add_loop_test(tcase, a_listener_that_is_a_standard_descriptor_stays_blocking, 0,
                        COUNT(backends));
    tcase_add_loop_test(tcase, each_descriptor_that_uco_opens_is_close_on_exec, 0, COUNT(backends));

    tcase = case_new(suite, "processes");
    tcase_add_loop_test(tcase, a_child_of_fork_does_not_touch_what_its_parent_waits_for, 0,
                        COUNT(backends));
    tcase_add_loop_test(tcase, a_loops_thread_is_cancelled_when_the_loop_has_ended, 0,
                        COUNT(backends));
    return suite_end(suite);
}
