/* SPDX-License-Identifier: MIT */
/* uco_dump(): where it goes, and what it returns. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/dumped.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void
end_all(uco_task *tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco_cancel(tasks[i]);
    for (size_t i = 0; i < n; i++)
        uco_join(tasks[i]);
}

static intptr_t
dumps_badly(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int ends[2];

    (void) arg;
    ck_assert_int_eq(uco_dump(loop, -1), -EBADF);
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    errno = 77;
    ck_assert_int_eq(uco_dump(loop, ends[1]), -EPIPE); /* and no SIGPIPE */
    ck_assert_int_eq(errno, 77);
    close(ends[1]);
    ck_assert_int_eq(uco_test_fail("write", 1, false, ENOSPC), 0);
    ck_assert_int_eq(uco_dump(loop, STDERR_FILENO), -ENOSPC);
    uco_test_fail_off();
    ck_assert_int_eq(uco_test_fail("write", 1, false, EINTR), 0);
    ck_assert_tells(dumped(loop), "1 task");
    uco_test_fail_off();
    return 0;
}

START_TEST(what_the_fd_says_is_the_result)
{
    ck_assert_int_eq(run_virtual(dumps_badly, NULL), 0);
    ck_assert_int_eq(uco_dump(NULL, STDERR_FILENO), -EINVAL);
}
END_TEST

static intptr_t
dumps_into_a_full_pipe(void *arg)
{
    int ends[2];
    char bytes[4096] = {0};

    (void) arg;
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], bytes, sizeof bytes) > 0)
        continue;
    ck_assert_int_eq(uco_test_fail("poll", 1, true, EINTR), 0); /* so that it is not waited for */
    ck_assert_int_eq(uco_dump(uco_get_running_loop(), ends[1]), -EAGAIN);
    uco_test_fail_off();
    close(ends[0]);
    close(ends[1]);
    return 0;
}

START_TEST(an_fd_that_takes_nothing_ends_the_dump)
{
    ck_assert_int_eq(run_virtual(dumps_into_a_full_pipe, NULL), 0);
}
END_TEST

/* The kernel takes less than was given at once where a socket's buffer is small. */
static intptr_t
dumps_into_a_small_socket(void *arg)
{
    uco_task *tasks[200];
    static char text[1 << 20];
    size_t size = 0;
    int ends[2], small = 1;
    pid_t child;
    ssize_t n;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = named("one of many", body_sleep_forever, arg);
    ck_assert_int_eq(uco_test_settle(), 0);
    /* A child reads at its leisure, and counts. */
    child = fork();
    if (child == 0) {
        close(ends[1]);
        while ((n = read(ends[0], text + size, sizeof text - 1 - size)) > 0)
            size += (size_t) n;
        n = 0;
        for (const char *at = text; (at = strstr(at, "one of many")) != NULL; at++)
            n++;
        _exit(n == (ssize_t) COUNT(tasks) ? 0 : 1);
    }
    ck_assert_int_eq(uco_dump(uco_get_running_loop(), ends[1]), 0);
    close(ends[1]);
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, ends, 0), child);
    ck_assert_int_eq(ends[0], 0);
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(partial_writes_are_continued)
{
    ck_assert_int_eq(run_virtual(dumps_into_a_small_socket, NULL), 0);
}
END_TEST

START_TEST(a_loop_that_is_not_run_or_is_closed)
{
    uco_loop *loop = uco_loop_new(NULL);

    ck_assert_tells(dumped(loop), ": 0 tasks, ");
    uco_loop_close(loop);
    ck_assert_int_eq(uco_dump(loop, STDERR_FILENO), -ESHUTDOWN);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
dumps_in_a_child(void *arg)
{
    int status;
    pid_t child = fork();

    (void) arg;
    if (child == 0)
        _exit(uco_dump(uco_get_running_loop() != NULL ? uco_get_running_loop() : arg,
                       STDERR_FILENO) == -ESTALE
                  ? 0
                  : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    return 0;
}

START_TEST(a_parents_loop_is_stale)
{
    uco_loop *loop = uco_loop_new(NULL);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, dumps_in_a_child, loop), 0);
    uco_loop_close(loop);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(what_cannot_be_read_is_left_out)
{
    uco_loop *loop = uco_loop_new(NULL);

    ck_assert_int_eq(uco_test_fail("process_vm_readv", 1, true, EFAULT), 0);
    ck_assert_tells(dumped(loop), "0 tasks");
    uco_test_fail_off();
    uco_loop_close(loop);
    uco_loop_unref(loop);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump, write");
    TCase *writing = case_new(suite, "writing");

    tcase_add_test(writing, what_the_fd_says_is_the_result);
    tcase_add_test(writing, an_fd_that_takes_nothing_ends_the_dump);
    tcase_add_test(writing, partial_writes_are_continued);
    tcase_add_test(writing, a_loop_that_is_not_run_or_is_closed);
    tcase_add_test(writing, a_parents_loop_is_stale);
    tcase_add_test(writing, what_cannot_be_read_is_left_out);
    return suite_end(suite);
}
