/* SPDX-License-Identifier: MIT */
/* Processes: their file descriptors, and talking to them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIG ((size_t) 1024 * 1024)

static void
no_child_is_left(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

static uco_process *
shell_with(const char *script, int stdin_fd, int stdout_fd, int stderr_fd)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    uco_process_options options = {
        .argv = argv, .stdin_fd = stdin_fd, .stdout_fd = stdout_fd, .stderr_fd = stderr_fd};
    uco_process *p = uco_process_spawn(&options);

    ck_assert_msg(p != NULL, "%s", strerror(errno));
    return p;
}

static int
end(uco_process *p)
{
    int status = uco_process_wait(p);

    uco_process_free(p);
    return status;
}

/* Some text that is the same nowhere. */
static char *
big_text(void)
{
    char *text = malloc(BIG);

    for (size_t i = 0; i < BIG; i += 8)
        snprintf(text + i, 8, "%07zu", i / 8);
    for (size_t i = 7; i < BIG; i += 8)
        text[i] = '\n';
    return text;
}

/* Streams */

static intptr_t
talks_line_by_line(void *arg)
{
    uco_process *p =
        shell_with("while read -r line; do echo \"<$line>\"; done; exit 3", UCO_PIPE, UCO_PIPE, 0);
    const char *line;

    (void) arg;
    ck_assert_ptr_null(uco_process_stderr(p));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_stream_write(uco_process_stdin(p), "hello\n", 6), 6);
        ck_assert_int_eq(uco_stream_read_line(uco_process_stdout(p), &line), 8);
        ck_assert_int_eq(strncmp(line, "<hello>\n", 8), 0);
    }
    ck_assert_int_eq(uco_process_close_stdin(p), 0);
    ck_assert_ptr_null(uco_process_stdin(p));
    ck_assert_int_eq(uco_process_close_stdin(p), 0);
    ck_assert_int_eq(uco_stream_read_line(uco_process_stdout(p), &line), 0);
    ck_assert_int_eq(WEXITSTATUS(end(p)), 3);
    return 0;
}

START_TEST(a_program_is_spoken_to_through_streams)
{
    ck_assert_int_eq(run_real(talks_line_by_line, NULL), 0);
}
END_TEST

static intptr_t
reads_late(void *arg)
{
    uco_process *p = shell_with("echo last words; echo and more >&2", 0, UCO_PIPE, UCO_PIPE);
    char text[32] = "";

    (void) arg;
    ck_assert_int_eq(uco_process_wait(p), 0);
    ck_assert_int_eq(uco_stream_read_exactly(uco_process_stdout(p), text, 11), 11);
    ck_assert_str_eq(text, "last words\n");
    ck_assert_int_eq(uco_stream_read_exactly(uco_process_stderr(p), text, 9), 9);
    ck_assert_int_eq(uco_stream_read(uco_process_stdout(p), text, sizeof text), 0);
    uco_process_free(p);
    return 0;
}

/* P8 */
START_TEST(output_can_be_read_after_the_end)
{
    ck_assert_int_eq(run_real(reads_late, NULL), 0);
}
END_TEST

static intptr_t
waits(void *p)
{
    return uco_process_wait(p);
}

static intptr_t
does_not_read_for_a_while(void *arg)
{
    uco_process *p = shell_with("head -c 1000000 /dev/zero", 0, UCO_PIPE, 0);
    size_t size = 0;
    char buf[4096];
    ssize_t r;

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(0.1, waits, p), -ETIMEDOUT);
    while ((r = uco_stream_read(uco_process_stdout(p), buf, sizeof buf)) > 0)
        size += (size_t) r;
    ck_assert_uint_eq(size, 1000000);
    ck_assert_int_eq(end(p), 0);
    return 0;
}

/* P8 */
START_TEST(a_program_waits_for_its_reader)
{
    ck_assert_int_eq(run_real(does_not_read_for_a_while, NULL), 0);
}
END_TEST

static intptr_t
closes_a_borrowed_stream(void *arg)
{
    uco_process *p = shell_with("cat; exit 4", UCO_PIPE, UCO_PIPE, 0);
    char byte;

    (void) arg;
    ck_assert_int_eq(uco_stream_write(uco_process_stdin(p), "x", 1), 1);
    ck_assert_int_eq(uco_stream_close(uco_process_stdin(p)), 0);
    ck_assert_ptr_null(uco_process_stdin(p));
    ck_assert_int_eq(uco_process_close_stdin(p), 0);
    ck_assert_int_eq(uco_stream_read(uco_process_stdout(p), &byte, 1), 1);
    ck_assert_int_eq(uco_stream_close(uco_process_stdout(p)), 0);
    ck_assert_int_eq(WEXITSTATUS(end(p)), 4);
    return 0;
}

START_TEST(closing_a_stream_of_a_process_is_no_harm)
{
    ck_assert_int_eq(run_real(closes_a_borrowed_stream, NULL), 0);
}
END_TEST

static intptr_t
writes_to_the_dead(void *arg)
{
    uco_process *p = shell_with("exit 0", UCO_PIPE, 0, 0);
    ssize_t r;

    (void) arg;
    ck_assert_int_eq(uco_process_wait(p), 0);
    r = uco_stream_write(uco_process_stdin(p), "x", 1);
    ck_assert(r == 1 || r == -EPIPE);
    ck_assert_int_eq(uco_process_close_stdin(p), -EPIPE);
    uco_process_free(p);
    return 0;
}

/* P5, B13: SIGPIPE has its default action here. */
START_TEST(writing_to_a_program_that_has_ended_is_an_error_and_no_signal)
{
    ck_assert_int_eq(run_real(writes_to_the_dead, NULL), 0);
}
END_TEST

static intptr_t
reads_one(void *s)
{
    char byte;

    return uco_stream_read(s, &byte, 1);
}

static intptr_t
frees_under_a_reader(void *arg)
{
    uco_process *p = shell_with("exec cat", UCO_PIPE, UCO_PIPE, 0);
    uco_task *reader = uco_create_task(reads_one, uco_process_stdout(p));
    intptr_t r;

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_process_free(p);
    r = uco_join(reader);
    ck_assert(r == -EBADF || r == 0); /* the end may come first */
    return 0;
}

START_TEST(freeing_ends_who_is_suspended_in_a_stream)
{
    ck_assert_int_eq(run_real(frees_under_a_reader, NULL), 0);
}
END_TEST

static intptr_t
writes_much(void *s)
{
    char *text = calloc(1, BIG);
    intptr_t r = uco_stream_write(s, text, BIG);

    free(text);
    return r;
}

static intptr_t
frees_with_a_grandchild(void *arg)
{
    /* Both keep the pipe open, and do not read it. */
    uco_process *p =
        shell_with("sleep 1000 >/dev/null & echo $!; exec sleep 1000", UCO_PIPE, UCO_PIPE, 0);
    const char *line;
    uco_task *writer;
    pid_t grandchild;

    (void) arg;
    ck_assert_int_gt(uco_stream_read_line(uco_process_stdout(p), &line), 0);
    grandchild = (pid_t) strtol(line, NULL, 10);
    writer = uco_create_task(writes_much, uco_process_stdin(p));
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_process_free(p);
    ck_assert_int_lt(uco_join(writer), 0);
    ck_assert_int_eq(kill(grandchild, SIGKILL), 0);
    return 0;
}

START_TEST(freeing_does_not_wait_for_who_else_has_the_pipes)
{
    ck_assert_int_eq(run_real(frees_with_a_grandchild, NULL), 0);
}
END_TEST

static intptr_t
leaves_one_with_pipes(void *arg)
{
    uco_process *p = shell_with("exec cat", UCO_PIPE, UCO_PIPE, UCO_PIPE);

    (void) arg;
    ck_assert_int_eq(uco_stream_write(uco_process_stdin(p), "x", 1), 1);
    ck_assert_int_eq(reads_one(uco_process_stdout(p)), 1);
    return 0;
}

START_TEST(a_close_of_the_loop_closes_the_pipes_too)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaves_one_with_pipes, NULL), 0);
    ck_assert_uint_eq(reports.count, 1); /* the streams are the process's, and not reported */
}
END_TEST

/* Which fd becomes which */

static void
reads_text(int fd, const char *text)
{
    char buf[64] = "";

    ck_assert_int_eq(read(fd, buf, sizeof buf - 1), (ssize_t) strlen(text));
    ck_assert_str_eq(buf, text);
}

static intptr_t
crosses(void *arg)
{
    (void) arg;
    return end(shell_with("echo out; echo err >&2", UCO_DEVNULL, 2, 1));
}

START_TEST(stdout_and_stderr_may_cross)
{
    int first[2], second[2], saved[2] = {dup(1), dup(2)};
    intptr_t r;

    ck_assert_int_eq(pipe(first), 0);
    ck_assert_int_eq(pipe(second), 0);
    dup2(first[1], 1);
    dup2(second[1], 2);
    r = run_real(crosses, NULL);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    ck_assert_int_eq(r, 0);
    reads_text(first[0], "err\n");
    reads_text(second[0], "out\n");
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
        close(saved[i]);
    }
}
END_TEST

static intptr_t
merges(void *arg)
{
    uco_process *p = shell_with("echo out; echo err >&2", 0, UCO_PIPE, UCO_STDOUT);
    char text[9] = "";

    (void) arg;
    ck_assert_int_eq(uco_stream_read_exactly(uco_process_stdout(p), text, 8), 8);
    ck_assert_str_eq(text, "out\nerr\n");
    ck_assert_ptr_null(uco_process_stderr(p));
    return end(p);
}

START_TEST(stderr_may_go_where_stdout_goes)
{
    ck_assert_int_eq(run_real(merges, NULL), 0);
}
END_TEST

static intptr_t
gets_one_socket(void *arg)
{
    int ends[2];
    uco_process *p;

    (void) arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    p = shell_with("read line; echo \"$line $line\"; echo err >&2", ends[1], ends[1], ends[1]);
    ck_assert_int_ge(fcntl(ends[1], F_GETFD), 0); /* is still ours */
    ck_assert_int_eq(uco_close(ends[1]), 0);
    ck_assert_int_eq(uco_write_all(ends[0], "ho\n", 3, NULL), 3);
    ck_assert_int_eq(end(p), 0);
    reads_text(ends[0], "ho ho\nerr\n");
    return uco_close(ends[0]);
}

START_TEST(one_fd_may_become_all_three)
{
    ck_assert_int_eq(run_real(gets_one_socket, NULL), 0);
}
END_TEST

static intptr_t
echoes(void *arg)
{
    uco_process *p = shell_with("cat; echo err >&2", UCO_PIPE, UCO_PIPE, UCO_PIPE);
    char *out, *err;
    size_t out_size, err_size;

    (void) arg;
    ck_assert_int_eq(uco_process_communicate(p, "hello", 5, &out, &out_size, &err, &err_size), 0);
    ck_assert_str_eq(out, "hello");
    ck_assert_str_eq(err, "err\n");
    ck_assert_uint_eq(out_size, 5);
    ck_assert_uint_eq(err_size, 4);
    free(out);
    free(err);
    uco_process_free(p);
    return 0;
}

/* The pipes then get these numbers. */
START_TEST(pipes_work_where_the_standard_fds_are_closed)
{
    int saved[3] = {fcntl(0, F_DUPFD, 10), fcntl(1, F_DUPFD, 10), fcntl(2, F_DUPFD, 10)};
    intptr_t r;

    for (int i = 0; i < 3; i++) {
        if ((_i & 1 << i) != 0)
            close(i);
    }
    r = run_real(echoes, NULL);
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    ck_assert_int_eq(r, 0);
}
END_TEST

static intptr_t
looks_at_flags(void *arg)
{
    uco_process *p =
        shell_with("cat /proc/self/fdinfo/0 /proc/self/fdinfo/1", UCO_PIPE, UCO_PIPE, 0);
    const char *flags;
    char *out;

    (void) arg;
    ck_assert_int_eq(fcntl(uco_stream_fd(uco_process_stdout(p)), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_int_eq(uco_process_communicate(p, NULL, 0, &out, NULL, NULL, NULL), 0);
    flags = out;
    for (int i = 0; i < 2; i++) {
        flags = strstr(flags, "flags:");
        ck_assert_ptr_nonnull(flags);
        flags += strlen("flags:");
        ck_assert_int_eq(strtol(flags, NULL, 8) & O_NONBLOCK, 0);
    }
    free(out);
    uco_process_free(p);
    return 0;
}

START_TEST(the_programs_ends_of_the_pipes_stay_blocking)
{
    ck_assert_int_eq(run_real(looks_at_flags, NULL), 0);
}
END_TEST

static intptr_t
uses_the_null_device(void *arg)
{
    (void) arg;
    return end(shell_with("test -z \"$(cat)\" && echo lost && echo lost >&2", UCO_DEVNULL,
                          UCO_DEVNULL, UCO_DEVNULL));
}

START_TEST(the_null_device_is_empty_and_takes_all)
{
    ck_assert_int_eq(run_real(uses_the_null_device, NULL), 0);
}
END_TEST

/* Communicating */

static intptr_t
communicates_much(void *arg)
{
    uco_process *p = shell_with("exec tee /dev/stderr", UCO_PIPE, UCO_PIPE, UCO_PIPE);
    char *text = big_text(), *out, *err;
    size_t out_size, err_size;

    (void) arg;
    ck_assert_int_eq(uco_process_communicate(p, text, BIG, &out, &out_size, &err, &err_size), 0);
    ck_assert_uint_eq(out_size, BIG);
    ck_assert_uint_eq(err_size, BIG);
    ck_assert(memcmp(out, text, BIG) == 0 && memcmp(err, text, BIG) == 0);
    ck_assert_int_eq(out[BIG], '\0');
    free(out);
    free(err);
    free(text);
    uco_process_free(p);
    return 0;
}

/* P5 */
START_TEST(much_goes_both_ways_at_once)
{
    ck_assert_int_eq(run_real(communicates_much, NULL), 0);
}
END_TEST

static intptr_t
communicates_with_the_deaf(void *arg)
{
    uco_process *p = shell_with("exit 5", UCO_PIPE, UCO_PIPE, 0);
    char *text = big_text(), *out;
    size_t size;

    (void) arg;
    ck_assert_int_eq(WEXITSTATUS(uco_process_communicate(p, text, BIG, &out, &size, NULL, NULL)),
                     5);
    ck_assert_str_eq(out, "");
    ck_assert_uint_eq(size, 0);
    free(out);
    free(text);
    uco_process_free(p);
    return 0;
}

/* P5 */
START_TEST(a_program_may_ignore_its_input)
{
    ck_assert_int_eq(run_real(communicates_with_the_deaf, NULL), 0);
}
END_TEST

static intptr_t
communicates_without_interest(void *arg)
{
    uco_process *p = shell_with("exec tee /dev/stderr", UCO_PIPE, UCO_PIPE, UCO_PIPE);
    char *text = big_text(), *none = text;
    size_t size = 5;

    (void) arg;
    ck_assert_int_eq(uco_process_communicate(p, text, BIG, NULL, NULL, NULL, NULL), 0);
    uco_process_free(p);
    p = shell_with("exit 0", UCO_DEVNULL, 0, 0);
    ck_assert_int_eq(uco_process_communicate(p, text, 1, &none, &size, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_process_communicate(p, NULL, 1, &none, &size, NULL, NULL), -EINVAL);
    ck_assert_ptr_eq(none, text);
    ck_assert_int_eq(uco_process_communicate(p, NULL, 0, &none, &size, NULL, NULL), 0);
    ck_assert_ptr_null(none);
    ck_assert_uint_eq(size, 0);
    free(text);
    uco_process_free(p);
    return 0;
}

START_TEST(output_that_nobody_wants_holds_up_nobody)
{
    ck_assert_int_eq(run_real(communicates_without_interest, NULL), 0);
}
END_TEST

struct call {
    uco_process *process;
    const char *input;
    char *out;
    size_t size;
};

static intptr_t
communicates(void *arg)
{
    struct call *call = arg;

    return uco_process_communicate(call->process, call->input, call->input != NULL ? BIG : 0,
                                   &call->out, &call->size, NULL, NULL);
}

static intptr_t
communicates_again(void *arg)
{
    char *text = big_text();
    struct call call = {.process =
                            shell_with("echo one; kill -STOP $$; exec cat", UCO_PIPE, UCO_PIPE, 0),
                        .input = text};
    siginfo_t info;

    (void) arg;
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(uco_with_timeout(0.01, communicates, &call), -ETIMEDOUT);
    ck_assert_int_eq(
        waitid(P_PID, (id_t) uco_process_pid(call.process), &info, WSTOPPED | WEXITED | WNOWAIT),
        0);
    ck_assert_int_eq(uco_process_kill(call.process, SIGCONT), 0);
    ck_assert_int_eq(communicates(&call), 0);
    ck_assert_uint_eq(call.size, BIG + 4);
    ck_assert_int_eq(memcmp(call.out, "one\n", 4), 0);
    ck_assert_int_eq(memcmp(call.out + 4, text, BIG), 0);
    free(call.out);
    free(text);
    uco_process_free(call.process);
    return 0;
}

START_TEST(a_call_that_timed_out_can_be_made_again_and_nothing_is_lost)
{
    ck_assert_int_eq(run_real(communicates_again, NULL), 0);
}
END_TEST

static intptr_t
communicates_with_faults(void *arg)
{
    char *text = big_text();
    struct call call = {.process = shell_with("exec cat", UCO_PIPE, UCO_PIPE, 0), .input = text};
    unsigned long nth = 0;
    intptr_t r;

    do {
        uco_test_fail(arg, ++nth, false, ENOMEM);
        r = communicates(&call);
        uco_test_fail_off();
    } while (r == -ENOMEM && nth < 1000);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(call.size, BIG);
    ck_assert_int_eq(memcmp(call.out, text, BIG), 0);
    free(call.out);
    free(text);
    uco_process_free(call.process);
    return 0;
}

static const char *const faults[] = {"malloc", "mmap", "epoll_ctl"};

START_TEST(a_conversation_survives_each_fault)
{
    ck_assert_int_eq(run_real(communicates_with_faults, (void *) (uintptr_t) faults[_i]), 0);
}
END_TEST

static intptr_t
communicates_twice_at_once(void *arg)
{
    struct call call = {.process = shell_with("exec sleep 1000", UCO_DEVNULL, UCO_PIPE, 0)};
    uco_task *task = uco_create_task(communicates, &call);

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_process_communicate(call.process, NULL, 0, NULL, NULL, NULL, NULL),
                     -EBUSY);
    uco_process_free(call.process); /* under the other */
    if (uco_join(task) >= 0)
        free(call.out);
    return 0;
}

START_TEST(only_one_communicates_at_a_time_and_freeing_ends_it)
{
    ck_assert_int_eq(run_real(communicates_twice_at_once, NULL), 0);
}
END_TEST

static intptr_t
closes_stdin(void *arg)
{
    return uco_process_close_stdin(((struct call *) arg)->process);
}

static intptr_t
communicates_with_a_closed_stdin(void *input)
{
    struct call call = {.process = shell_with("exec cat", UCO_PIPE, UCO_PIPE, 0), .input = input};
    uco_task *task = uco_create_task(communicates, &call);
    uco_task *closer = uco_create_task(closes_stdin, &call); /* before that one's own tasks */
    intptr_t r = uco_join(task);

    ck_assert_int_eq(uco_join(closer), 0);
    if (r >= 0)
        free(call.out);
    uco_process_free(call.process);
    return r;
}

START_TEST(a_stdin_that_another_closes_is_an_error_if_there_is_input)
{
    char *text = big_text();

    ck_assert_int_eq(run_fifo(communicates_with_a_closed_stdin, text), -EBADF);
    ck_assert_int_eq(run_fifo(communicates_with_a_closed_stdin, NULL), 0);
    free(text);
}
END_TEST

static intptr_t
closes_stdin_when_cancelled(void *arg)
{
    uco_process *p = shell_with("exec sleep 1000", UCO_PIPE, UCO_DEVNULL, 0);
    char *text = big_text();
    uco_scope scope;

    (void) arg;
    ck_assert_int_eq(uco_stream_set_water_marks(uco_process_stdin(p), BIG, 2 * BIG), 0);
    ck_assert_int_eq(uco_stream_write(uco_process_stdin(p), text, BIG), BIG);
    ck_assert_int_eq(uco_scope_open(&scope, UCO_FOREVER), 0);
    uco_scope_cancel(&scope);
    ck_assert_int_eq(uco_process_close_stdin(p), -ECANCELED);
    uco_scope_close(&scope, 0);
    ck_assert_ptr_null(uco_process_stdin(p));
    free(text);
    uco_process_free(p);
    return 0;
}

START_TEST(closing_stdin_in_a_cancelled_scope_sends_nothing_more)
{
    ck_assert_int_eq(run_real(closes_stdin_when_cancelled, NULL), 0);
}
END_TEST

static void
free_without_memory(void *p)
{
    uco_test_fail("malloc", 1, true, ENOMEM);
    uco_process_free(p);
    uco_test_fail_off();
    uco_process_free(shell_with("exec cat", UCO_PIPE, UCO_DEVNULL, 0)); /* has newer streams */
}

static intptr_t
leaves_the_rest_to_the_loop(void *arg)
{
    uco_process *p = shell_with("exec cat", UCO_PIPE, UCO_PIPE, 0);

    (void) arg;
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), free_without_memory, p), 0);
    return uco_yield();
}

START_TEST(what_a_free_leaves_to_the_loop_needs_the_streams_pool)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, leaves_the_rest_to_the_loop, NULL), 0);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

static void
add_streams(Suite *suite)
{
    TCase *tc = case_new(suite, "streams");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, a_program_is_spoken_to_through_streams);
    tcase_add_test(tc, output_can_be_read_after_the_end);
    tcase_add_test(tc, a_program_waits_for_its_reader);
    tcase_add_test(tc, closing_a_stream_of_a_process_is_no_harm);
    tcase_add_test(tc, writing_to_a_program_that_has_ended_is_an_error_and_no_signal);
    tcase_add_test(tc, freeing_ends_who_is_suspended_in_a_stream);
    tcase_add_test(tc, freeing_does_not_wait_for_who_else_has_the_pipes);
    tcase_add_test(tc, a_close_of_the_loop_closes_the_pipes_too);
    tcase_add_test(tc, closing_stdin_in_a_cancelled_scope_sends_nothing_more);
    tcase_add_test(tc, what_a_free_leaves_to_the_loop_needs_the_streams_pool);
}

static void
add_fds(Suite *suite)
{
    TCase *tc = case_new(suite, "which fd becomes which");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, stdout_and_stderr_may_cross);
    tcase_add_test(tc, stderr_may_go_where_stdout_goes);
    tcase_add_test(tc, one_fd_may_become_all_three);
    tcase_add_loop_test(tc, pipes_work_where_the_standard_fds_are_closed, 1, 8);
    tcase_add_test(tc, the_programs_ends_of_the_pipes_stay_blocking);
    tcase_add_test(tc, the_null_device_is_empty_and_takes_all);
}

static void
add_conversations(Suite *suite)
{
    TCase *tc = case_new(suite, "communicating");

    tcase_add_checked_fixture(tc, NULL, no_child_is_left);
    tcase_add_test(tc, much_goes_both_ways_at_once);
    tcase_add_test(tc, a_program_may_ignore_its_input);
    tcase_add_test(tc, output_that_nobody_wants_holds_up_nobody);
    tcase_add_test(tc, a_call_that_timed_out_can_be_made_again_and_nothing_is_lost);
    tcase_add_loop_test(tc, a_conversation_survives_each_fault, 0, (int) COUNT(faults));
    tcase_add_test(tc, only_one_communicates_at_a_time_and_freeing_ends_it);
    tcase_add_test(tc, a_stdin_that_another_closes_is_an_error_if_there_is_input);
}

int
main(void)
{
    Suite *suite = suite_create("process pipes");

    add_streams(suite);
    add_fds(suite);
    add_conversations(suite);
    return suite_end(suite);
}
