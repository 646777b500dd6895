/* SPDX-License-Identifier: MIT */

/*
 * Stack overflows: each in a child, which must say whose stack it was and die as it would have died
 * without; and faults that are none, which must end as if nobody had looked.
 */
#include "../support/support.h"

#include "core/loop.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE ((size_t) 64 * 1024)
#define SIZE_THERE (SIZE * UCO__SANITIZER_STACK_FACTOR)
#define LARGE_FRAME ((size_t) 200 * 1024 * UCO__SANITIZER_STACK_FACTOR)
#define NOINLINE __attribute__((noinline))

/* --- children --- */

struct end {
    int status;
    size_t size;
    char text[16384]; /* what it wrote to stderr */
};

static void
say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(99);
}

static void
child_run(uco_callback *scene, void *arg, int out)
{
    prctl(PR_SET_DUMPABLE, 0);
    dup2(out, STDERR_FILENO);
    alarm(60);
    if (getenv("UCO_TEST_EMULATED") != NULL) /* it takes MADV_GUARD_INSTALL for a hint */
        uco_test_fail("madvise", 1, true, EINVAL);
    scene(arg);
    _exit(0);
}

/* Runs the scene in a child; static, as its stack may be what is at stake. */
static struct end *
end_of(uco_callback *scene, void *arg)
{
    static struct end end;
    char *emulator;
    int pipes[2];
    pid_t child;
    ssize_t n;

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        child_run(scene, arg, pipes[1]);
    close(pipes[1]);
    end.size = 0;
    while ((n = read(pipes[0], end.text + end.size, sizeof end.text - 1 - end.size)) != 0) {
        if (n > 0)
            end.size += (size_t) n;
        else
            ck_assert_int_eq(errno, EINTR);
    }
    end.text[end.size] = '\0';
    emulator = strstr(end.text, "qemu: "); /* it says which signal killed */
    if (emulator != NULL)
        *emulator = '\0';
    close(pipes[0]);
    while (waitpid(child, &end.status, 0) < 0)
        ck_assert_int_eq(errno, EINTR);
    return &end;
}

static void
check_death(const struct end *end, int signo)
{
    ck_assert_msg(WIFSIGNALED(end->status) && WTERMSIG(end->status) == signo, "status 0x%x:\n%s",
                  (unsigned) end->status, end->text);
}

/* A fault that is nobody's is the sanitizer's to report, which ends by exit. */
static void
check_death_by_fault(const struct end *end)
{
    if (UCO__ASAN || UCO__TSAN)
        ck_assert_msg(end->status != 0, "it lives");
    else
        check_death(end, SIGSEGV);
}

static unsigned
count(const char *text, const char *part)
{
    unsigned n = 0;

    while ((text = strstr(text, part)) != NULL) {
        n++;
        text += strlen(part);
    }
    return n;
}

/* In one line, once: whose stack, how large, what is wrong with it and what to do. */
static void
check_report(const struct end *end, const char *who, size_t size, const char *what)
{
    const char *line = strstr(end->text, "uco: stack overflow in ");
    char number[32];
    char copy[1024];

    ck_assert_msg(line != NULL, "no report in:\n%s", end->text);
    ck_assert_uint_eq(count(end->text, "uco: stack overflow"), 1);
    snprintf(copy, sizeof copy, "%.*s", (int) strcspn(line, "\n"), line);
    snprintf(number, sizeof number, " %zu bytes", size);
    ck_assert_msg(strstr(copy, who) != NULL, "not in %s: %s", who, copy);
    ck_assert_msg(strstr(copy, number) != NULL, "not of %s: %s", number, copy);
    ck_assert_msg(strstr(copy, what) != NULL, "not '%s': %s", what, copy);
    ck_assert_msg(strstr(copy, "stack_size in uco_task_options") != NULL, "%s", copy);
}

static void
check_overflow(const struct end *end, const char *who)
{
    check_report(end, who, SIZE_THERE, "is full");
    check_death(end, SIGSEGV);
}

static void
check_no_report(const struct end *end)
{
    ck_assert_msg(strstr(end->text, "uco: stack overflow") == NULL, "%s", end->text);
}

/* --- what overflows --- */

static volatile int recursion_end = -1; /* never */

static NOINLINE int
recurse(int depth)
{
    volatile char frame[256];

    frame[depth % 256] = (char) depth;
    if (depth == recursion_end)
        return 0;
    return recurse(depth + 1) + frame[depth % 256];
}

static intptr_t
overflows(void *arg)
{
    (void) arg;
    return recurse(0);
}

static NOINLINE int
fill_large_frame(void)
{
    volatile char frame[LARGE_FRAME];

    for (size_t i = 0; i < sizeof frame; i += 1024)
        frame[i] = (char) i;
    return frame[1024];
}

static intptr_t
overflows_by_a_large_frame(void *arg)
{
    (void) arg;
    return fill_large_frame();
}

static char *
own_base(void)
{
    return uco__stack_base(uco__running->scheduler.current->stack);
}

/* Main: starts the body as a task called "deep". */
static intptr_t
start(uco_fn *fn, void *arg)
{
    const uco_task_options options = {.name = "deep", .stack_size = SIZE};

    return uco_join(uco_create_task_with(&options, fn, arg));
}

static intptr_t
starts_the_body(void *body)
{
    uco_fn *const *fn = body;

    return start(*fn, NULL);
}

static void
runs_a_task(void *body)
{
    run_virtual(starts_the_body, body);
}

/* Of a task "deep" that runs the body. */
static struct end *
end_of_task(uco_fn *body)
{
    return end_of(runs_a_task, &body);
}

/* --- reports --- */

START_TEST(endless_recursion_is_reported_by_name_with_what_to_do)
{
    const struct end *end = end_of_task(overflows);
    char line[64];

    check_overflow(end, "task 'deep' (id 2, created at ");
    snprintf(line, sizeof line, "test_overflow.c:");
    ck_assert_ptr_nonnull(strstr(end->text, line));
}
END_TEST

START_TEST(a_frame_larger_than_the_stack_is_reported)
{
    check_overflow(end_of_task(overflows_by_a_large_frame), "task 'deep'");
}
END_TEST

static void
runs_deep_main(void *arg)
{
    const uco_loop_options options = {.stack_size = SIZE};

    (void) arg;
    uco_run_with(&options, overflows, NULL);
}

START_TEST(a_task_without_a_name_goes_by_its_number)
{
    check_overflow(end_of(runs_deep_main, NULL), "task 'Task-1' (id 1");
}
END_TEST

static intptr_t
has_a_long_name(void *arg)
{
    char name[5000];
    uco_task_options options = {.name = name, .stack_size = SIZE};

    (void) arg;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    return uco_join(uco_create_task_with(&options, overflows, NULL));
}

static void
runs_with_a_long_name(void *arg)
{
    (void) arg;
    run_virtual(has_a_long_name, NULL);
}

START_TEST(a_long_name_is_cut_and_the_rest_of_the_line_is_there)
{
    check_overflow(end_of(runs_with_a_long_name, NULL), "task 'xxxxxxxxxxxxxxxx");
}
END_TEST

/* _i: with guards of the first choice; on a kernel that does not have those. */
static void
runs_with_guards(void *mprotected)
{
    uco_fn *body = overflows;

    if (mprotected != NULL)
        uco_test_fail("madvise", 1, true, EINVAL);
    runs_a_task(&body);
}

START_TEST(guards_of_either_kind_are_known)
{
    check_overflow(end_of(runs_with_guards, _i == 1 ? (void *) 1 : NULL), "task 'deep'");
}
END_TEST

/* As the deepest frame of an overflow does; going on from there would damage what the child still
 * needs. */
static intptr_t
writes_on_its_last_words(void *arg)
{
    (void) arg;
    own_base()[16] = 1;
    return 0;
}

static void
runs_without_guards(void *arg)
{
    uco_fn *body = writes_on_its_last_words;

    (void) arg;
    uco_test_fail("madvise", 1, true, EINVAL);
    uco_test_fail("mprotect", 1, true, ENOMEM);
    runs_a_task(&body);
}

START_TEST(without_guards_an_overflow_is_reported_by_name_when_the_task_ends)
{
    const struct end *end = end_of(runs_without_guards, NULL);

    ck_assert_msg(strstr(end->text, "uco: stack overflow in task 'deep' (id 2") != NULL, "%s",
                  end->text);
    ck_assert_ptr_nonnull(strstr(end->text, "has no guard page"));
    check_death(end, SIGABRT);
}
END_TEST

/* --- wherever a task is --- */

static intptr_t
yields_and_overflows(void *arg)
{
    int value;

    (void) arg;
    uco_generator_yield(&value);
    return recurse(0);
}

static intptr_t
asks_a_generator(void *arg)
{
    uco_generator *g = uco_generator_new(yields_and_overflows, NULL);
    void *value;

    (void) arg;
    while (uco_generator_next(g, &value) > 0)
        continue;
    return 0;
}

static void
runs_a_generator(void *arg)
{
    const uco_loop_options options = {.stack_size = SIZE};

    (void) arg;
    uco_run_with(&options, asks_a_generator, NULL);
}

START_TEST(a_generators_overflow_is_reported)
{
    check_overflow(end_of(runs_a_generator, NULL), "task '");
}
END_TEST

static intptr_t
overflows_after_a_job(void *arg)
{
    (void) arg;
    if (uco_to_thread(body_return, (void *) 3) != 3)
        return -EIO;
    return recurse(0);
}

START_TEST(the_caller_of_a_threads_job_is_reported)
{
    check_overflow(end_of_task(overflows_after_a_job), "task 'deep'");
}
END_TEST

static intptr_t
overflows_after_waits(void *arg)
{
    (void) arg;
    for (int i = 0; i < 100; i++)
        uco_sleep(0.001);
    return recurse(0);
}

START_TEST(a_task_among_many_is_the_one_that_is_named)
{
    check_overflow(end_of_task(overflows_after_waits), "task 'deep'");
}
END_TEST

static void
handler_overflows(const char *message, uco_task *task, void *arg)
{
    (void) message;
    (void) task;
    (void) arg;
    recurse(0);
}

static intptr_t
fails(void *arg)
{
    (void) arg;
    return -EIO;
}

/* The report is made where the last reference goes: here. */
static intptr_t
drops_a_failed_task(void *arg)
{
    uco_task *task = uco_create_task(fails, NULL);

    (void) arg;
    while (!uco_done(task))
        uco_yield();
    uco_unref(task);
    return 0;
}

static intptr_t
starts_one_that_drops(void *arg)
{
    (void) arg;
    return start(drops_a_failed_task, NULL);
}

static void
runs_a_handler_on_a_task(void *arg)
{
    const uco_loop_options options = {.exception_handler = handler_overflows};

    (void) arg;
    uco_run_with(&options, starts_one_that_drops, NULL);
}

START_TEST(a_callback_on_a_tasks_stack_is_reported_as_the_tasks)
{
    check_overflow(end_of(runs_a_handler_on_a_task, NULL), "task 'deep'");
}
END_TEST

static intptr_t
forks_and_overflows(void *arg)
{
    int status;
    pid_t child = fork();

    (void) arg;
    if (child == 0)
        return recurse(0);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? 0 : -EIO;
}

static void
runs_one_that_forks(void *arg)
{
    uco_fn *body = forks_and_overflows;

    (void) arg;
    if (run_virtual(starts_the_body, &body) != 0)
        _exit(1);
}

START_TEST(the_child_of_a_fork_reports_too)
{
    const struct end *end = end_of(runs_one_that_forks, NULL);

    check_report(end, "task 'deep'", SIZE_THERE, "is full");
    ck_assert_int_eq(end->status, 0);
}
END_TEST

/* --- threads --- */

static void *
thread_runs(void *arg)
{
    uco_fn *body = overflows;

    (void) arg;
    runs_a_task(&body);
    return NULL;
}

static void
runs_in_a_thread(void *arg)
{
    pthread_t thread;

    (void) arg;
    if (pthread_create(&thread, NULL, thread_runs, NULL) == 0)
        pthread_join(thread, NULL);
}

START_TEST(a_loop_in_a_second_thread_reports)
{
    check_overflow(end_of(runs_in_a_thread, NULL), "task 'deep'");
}
END_TEST

static intptr_t
spins_in_waits(void *arg)
{
    (void) arg;
    while (uco_sleep(0) == 0)
        continue;
    return 0;
}

static intptr_t
starts_spinning(void *arg)
{
    const uco_task_options options = {.name = "innocent"};

    (void) arg;
    uco_detach(uco_create_task_with(&options, spins_in_waits, NULL));
    return 0;
}

static void
runs_two_loops(void *arg)
{
    uco_loop_thread *threads[2];
    const uco_task_options options = {.name = "deep", .stack_size = SIZE};

    (void) arg;
    for (int i = 0; i < 2; i++) {
        threads[i] = uco_loop_thread_start(NULL);
        uco_future_wait(
            uco_run_coroutine_threadsafe(uco_loop_thread_loop(threads[i]), starts_spinning, NULL),
            UCO_FOREVER);
    }
    uco_future_wait(uco_run_coroutine_threadsafe_with(uco_loop_thread_loop(threads[1]), &options,
                                                      overflows, NULL),
                    UCO_FOREVER);
}

START_TEST(of_two_loops_at_once_it_is_the_right_one)
{
    check_overflow(end_of(runs_two_loops, NULL), "task 'deep'");
}
END_TEST

/* --- stacks for handlers --- */

static void
runs_with_its_own_stack(void *size)
{
    stack_t own = {.ss_size = (size_t) size, .ss_sp = malloc((size_t) size)};
    uco_fn *body = overflows;

    if (sigaltstack(&own, NULL) < 0)
        _exit(1);
    runs_a_task(&body);
}

START_TEST(a_thread_with_its_own_stack_for_handlers_reports)
{
    check_overflow(end_of(runs_with_its_own_stack, (void *) (uintptr_t) 65536), "task 'deep'");
}
END_TEST

/* A handler that the kernel finds room for must do with it, however small. */
START_TEST(a_small_one_is_enough)
{
    if (!under_sanitizer())
        check_overflow(end_of(runs_with_its_own_stack, (void *) (uintptr_t) SIGSTKSZ),
                       "task 'deep'");
}
END_TEST

static intptr_t
overflows_without_a_stack_for_handlers(void *arg)
{
    stack_t none = {.ss_flags = SS_DISABLE};

    (void) arg;
    sigaltstack(&none, NULL);
    return recurse(0);
}

START_TEST(without_one_there_is_no_report_and_the_death_is_the_same)
{
    const struct end *end = end_of_task(overflows_without_a_stack_for_handlers);

    check_no_report(end);
    check_death(end, SIGSEGV);
}
END_TEST

/* --- handlers that were there before --- */

static char *forbidden; /* a page */
static volatile sig_atomic_t faults;
static int expected_blocked; /* a signal; its mask in the handler is the wanted one */
static bool expected_open;   /* SIGSEGV itself is not blocked */

static void
forbid(void)
{
    forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (forbidden == MAP_FAILED)
        _exit(1);
}

/* ThreadSanitizer runs handlers with everything blocked. */
static void
check_mask(void)
{
    sigset_t blocked;

    if (UCO__TSAN)
        return;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (expected_blocked != 0 && sigismember(&blocked, expected_blocked) != 1)
        say("not blocked\n");
    if (sigismember(&blocked, SIGSEGV) != !expected_open)
        say("SIGSEGV is blocked, or not\n");
    if (sigismember(&blocked, SIGUSR2) != 0)
        say("too much is blocked\n");
}

static void
allow(void)
{
    check_mask();
    faults++;
    mprotect(forbidden, 4096, PROT_READ | PROT_WRITE);
}

static void
handle_info(int signo, siginfo_t *info, void *context)
{
    if (signo != SIGSEGV || info->si_addr != forbidden || info->si_code <= 0 || context == NULL)
        say("wrong information\n");
    allow();
    errno = EXDEV;
}

static void
handle_plain(int signo)
{
    if (signo != SIGSEGV)
        say("wrong signal\n");
    allow();
}

static void
handle_install(void (*info)(int, siginfo_t *, void *), void (*plain)(int), int flags)
{
    struct sigaction action = {.sa_flags = flags | (info != NULL ? SA_SIGINFO : 0)};

    if (info != NULL)
        action.sa_sigaction = info;
    else
        action.sa_handler = plain;
    if (expected_blocked != 0)
        sigaddset(&action.sa_mask, expected_blocked);
    if (sigaction(SIGSEGV, &action, NULL) < 0)
        _exit(1);
}

static bool
usr1_is_blocked(void)
{
    sigset_t blocked;

    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    return sigismember(&blocked, SIGUSR1) == 1;
}

/* Faults, is helped, and overflows. */
static intptr_t
faults_and_overflows(void *arg)
{
    (void) arg;
    for (int i = 0; i < 2; i++) {
        forbid();
        *(volatile char *) forbidden = 7;
        if (*(volatile char *) forbidden != 7 || faults != i + 1 || usr1_is_blocked())
            say("not helped\n");
    }
    return recurse(0);
}

static void *
runs_under_a_handler(void *arg)
{
    uco_fn *body = faults_and_overflows;

    runs_a_task(&body);
    return arg;
}

static void
runs_under_handle_info(void *in_a_thread)
{
    pthread_t thread;

    expected_blocked = SIGUSR1;
    handle_install(handle_info, NULL, SA_ONSTACK);
    if (in_a_thread == NULL)
        runs_under_a_handler(NULL);
    else if (pthread_create(&thread, NULL, runs_under_a_handler, NULL) == 0)
        pthread_join(thread, NULL);
}

static void
check_helped(const struct end *end)
{
    check_overflow(end, "task 'deep'");
    ck_assert_msg(strncmp(end->text, "uco: stack overflow", 19) == 0, "%s", end->text);
}

/* _i: in the main thread, in another. */
START_TEST(other_faults_go_to_the_handler_that_was_there_before)
{
    check_helped(end_of(runs_under_handle_info, _i == 1 ? (void *) 1 : NULL));
}
END_TEST

static void
runs_under_handle_plain(void *arg)
{
    (void) arg;
    handle_install(NULL, handle_plain, 0);
    runs_under_a_handler(NULL);
}

START_TEST(a_handler_without_information_is_called_too)
{
    check_helped(end_of(runs_under_handle_plain, NULL));
}
END_TEST

static void
runs_under_handle_nodefer(void *arg)
{
    (void) arg;
    expected_open = true;
    handle_install(handle_info, NULL, SA_NODEFER);
    runs_under_a_handler(NULL);
}

START_TEST(a_handler_that_may_be_interrupted_by_itself_may_be)
{
    check_helped(end_of(runs_under_handle_nodefer, NULL));
}
END_TEST

static void
runs_under_handle_once(void *arg)
{
    (void) arg;
    handle_install(handle_info, NULL, (int) SA_RESETHAND);
    runs_under_a_handler(NULL);
}

START_TEST(a_handler_for_one_fault_is_called_for_one)
{
    const struct end *end = end_of(runs_under_handle_once, NULL);

    check_no_report(end);
    check_death(end, SIGSEGV);
    ck_assert_str_eq(end->text, "");
}
END_TEST

static intptr_t
faults_without_a_trace(void *arg)
{
    (void) arg;
    forbid();
    errno = EDOM;
    *(volatile char *) forbidden = 7;
    if (errno != EDOM || faults != 1)
        say("something has changed\n");
    return 0;
}

static void
runs_faults_without_a_trace(void *arg)
{
    uco_fn *body = faults_without_a_trace;

    (void) arg;
    handle_install(NULL, handle_plain, 0);
    runs_a_task(&body);
}

START_TEST(whoever_had_the_fault_goes_on_as_before)
{
    const struct end *end = end_of(runs_faults_without_a_trace, NULL);

    ck_assert_str_eq(end->text, "");
    ck_assert_int_eq(end->status, 0);
}
END_TEST

static sigjmp_buf jump;

static void
handle_by_a_jump(int signo)
{
    (void) signo;
    siglongjmp(jump, 1);
}

static intptr_t
faults_and_jumps(void *arg)
{
    volatile int jumps = 0;

    (void) arg;
    forbid();
    while (jumps < 3) {
        if (sigsetjmp(jump, 1) != 0)
            jumps++;
        else
            *(volatile char *) forbidden = 7;
        uco_yield();
    }
    return recurse(0);
}

static void
runs_faults_and_jumps(void *arg)
{
    uco_fn *body = faults_and_jumps;

    (void) arg;
    handle_install(NULL, handle_by_a_jump, 0);
    runs_a_task(&body);
}

START_TEST(a_handler_may_jump_back_into_the_coroutine)
{
    check_helped(end_of(runs_faults_and_jumps, NULL));
}
END_TEST

static intptr_t
is_sent_signals_and_overflows(void *arg)
{
    (void) arg;
    raise(SIGSEGV);
    kill(getpid(), SIGSEGV);
    say("ignored\n");
    return recurse(0);
}

static void
runs_while_ignored(void *body)
{
    signal(SIGSEGV, SIG_IGN);
    runs_a_task(body);
}

START_TEST(where_it_was_ignored_what_is_sent_still_is_and_overflows_are_reported)
{
    uco_fn *body = is_sent_signals_and_overflows;
    const struct end *end = end_of(runs_while_ignored, &body);

    check_overflow(end, "task 'deep'");
    ck_assert_int_eq(strncmp(end->text, "ignored\n", 8), 0);
}
END_TEST

/* As a member of a structure that is not there. A constant one compilers would look through. */
static volatile uintptr_t nowhere = 16;

static intptr_t
writes_to_null(void *arg)
{
    (void) arg;
    *(volatile char *) nowhere = 1;
    return 0;
}

START_TEST(where_it_was_ignored_a_fault_kills_all_the_same)
{
    uco_fn *body = writes_to_null;
    const struct end *end = end_of(runs_while_ignored, &body);

    ck_assert_str_eq(end->text, "");
    check_death(end, SIGSEGV);
}
END_TEST

START_TEST(a_null_pointer_in_a_coroutine_dies_without_a_report)
{
    const struct end *end = end_of_task(writes_to_null);

    check_no_report(end);
    check_death_by_fault(end);
}
END_TEST

static intptr_t
reads_beyond_all_addresses(void *arg)
{
    (void) arg;
    /* Not a page fault: the kernel tells no address. */
    return *(volatile char *) (nowhere | (uintptr_t) 1 << 63);
}

START_TEST(nor_is_there_one_for_a_pointer_that_is_none)
{
    const struct end *end = end_of_task(reads_beyond_all_addresses);

    check_no_report(end);
    check_death_by_fault(end);
}
END_TEST

static intptr_t
is_sent_one(void *arg)
{
    (void) arg;
    raise(SIGSEGV);
    return 0;
}

static void
runs_by_default(void *body)
{
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would report it and exit */
    runs_a_task(body);
}

START_TEST(a_signal_that_was_sent_kills)
{
    uco_fn *body = is_sent_one;
    const struct end *end = end_of(runs_by_default, &body);

    ck_assert_str_eq(end->text, "");
    check_death(end, SIGSEGV);
}
END_TEST

/* --- handlers that come later --- */

static void
handle_by_exit(int signo)
{
    (void) signo;
    _exit(23);
}

static void
runs_twice_with_a_later_handler(void *arg)
{
    struct sigaction now;
    uco_fn *body = body_return;

    (void) arg;
    runs_a_task(&body);
    handle_install(NULL, handle_by_exit, SA_ONSTACK);
    runs_a_task(&body);
    sigaction(SIGSEGV, NULL, &now);
    if (now.sa_handler != handle_by_exit)
        say("it was replaced\n");
    body = overflows;
    runs_a_task(&body);
}

START_TEST(a_handler_that_is_installed_later_stays_and_gets_all)
{
    const struct end *end = end_of(runs_twice_with_a_later_handler, NULL);

    ck_assert_str_eq(end->text, "");
    ck_assert_int_eq(WEXITSTATUS(end->status), 23);
}
END_TEST

static struct sigaction replaced;

static void
handle_and_hand_on(int signo, siginfo_t *info, void *context)
{
    say("first\n");
    replaced.sa_sigaction(signo, info, context);
}

static void
runs_with_one_that_hands_on(void *arg)
{
    struct sigaction action = {.sa_sigaction = handle_and_hand_on,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    uco_fn *body = body_return;

    (void) arg;
    runs_a_task(&body);
    sigaction(SIGSEGV, &action, &replaced);
    body = overflows;
    runs_a_task(&body);
}

START_TEST(a_later_handler_may_hand_on_to_the_report)
{
    const struct end *end = end_of(runs_with_one_that_hands_on, NULL);

    check_overflow(end, "task 'deep'");
    ck_assert_int_eq(strncmp(end->text, "first\n", 6), 0);
}
END_TEST

/* --- near misses --- */

static void
calls_recurse(void *arg)
{
    (void) arg;
    recurse(0);
}

static intptr_t
calls_it_on_the_loops_stack(void *arg)
{
    (void) arg;
    uco_loop_call_soon(uco_get_running_loop(), calls_recurse, NULL);
    return uco_sleep(1.0);
}

static void *
thread_overflows_at_home(void *arg)
{
    run_virtual(calls_it_on_the_loops_stack, NULL);
    return arg;
}

static void
runs_on_a_small_thread(void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;

    (void) arg;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1024 * 1024);
    if (pthread_create(&thread, &attributes, thread_overflows_at_home, NULL) == 0)
        pthread_join(thread, NULL);
}

START_TEST(the_loops_own_stack_is_no_coroutines)
{
    const struct end *end = end_of(runs_on_a_small_thread, NULL);

    check_no_report(end);
    check_death_by_fault(end);
}
END_TEST

static intptr_t
has_a_job_overflow(void *arg)
{
    (void) arg;
    return uco_to_thread(overflows, NULL);
}

START_TEST(nor_is_a_pool_threads)
{
    const struct end *end = end_of_task(has_a_job_overflow);

    check_no_report(end);
    check_death_by_fault(end);
}
END_TEST

static intptr_t
reads_into_its_guard(void *arg)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    char *guard = own_base() - 100;

    (void) arg;
    if (zero < 0 || read(zero, guard, 50) != -1 || errno != EFAULT)
        say("read(2)\n");
    if (uco_read(zero, guard, 50) != -EFAULT)
        say("uco_read\n");
    close(zero);
    return 0;
}

START_TEST(a_system_call_into_the_guard_fails_and_nobody_dies)
{
    const struct end *end = end_of_task(reads_into_its_guard);

    ck_assert_str_eq(end->text, "");
    ck_assert_int_eq(end->status, 0);
}
END_TEST

static intptr_t
writes_below_its_stack(void *arg)
{
    (void) arg;
    own_base()[-8] = 1;
    return 0;
}

START_TEST(a_pointer_below_the_stack_may_be_a_stray_one)
{
    const struct end *end = end_of_task(writes_below_its_stack);

    check_report(end, "task 'deep'", SIZE_THERE, "maybe a stray pointer");
    check_death(end, SIGSEGV);
}
END_TEST

#if defined(__x86_64__)

/* As a function does whose frame is so large, where nobody looks at the pages in between. */
static NOINLINE void
write_in_a_frame(size_t size)
{
    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "subq %0, %%rsp\n\t"
                     "movb $1, (%%rsp)\n\t"
                     "movq %%rbx, %%rsp\n\t"
                     :
                     : "r"(size)
                     : "rbx", "memory", "cc");
}

/* Main's stack lies below this task's: over that, into its guard. */
static intptr_t
jumps_over_its_guard(void *main_base)
{
    uintptr_t here = (uintptr_t) __builtin_frame_address(0);

    write_in_a_frame(here - (uintptr_t) main_base + 2048);
    return 0;
}

static intptr_t
starts_one_that_jumps(void *arg)
{
    const uco_task_options options = {.name = "deep"};

    (void) arg;
    return uco_join(uco_create_task_with(&options, jumps_over_its_guard, own_base()));
}

static void
runs_one_that_jumps(void *arg)
{
    const uco_loop_options options = {.stack_size = SIZE};

    (void) arg;
    uco_run_with(&options, starts_one_that_jumps, NULL);
}

START_TEST(a_frame_that_goes_past_the_guard_is_reported_where_it_hits_anothers)
{
    const struct end *end = end_of(runs_one_that_jumps, NULL);

    check_report(end, "task 'deep'", SIZE_THERE, "-fstack-clash-protection");
    check_death(end, SIGSEGV);
}
END_TEST

#endif

static void
handle_nothing(int signo)
{
    (void) signo;
}

/* Goes down until there is no room for a handler's frame, but for its own. */
static NOINLINE int
raise_at_the_end(const char *base)
{
    volatile char frame[256];

    frame[0] = 1;
    if ((const char *) __builtin_frame_address(0) - base > 1100)
        return raise_at_the_end(base) + frame[0];
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    return frame[0];
}

static intptr_t
raises_at_the_end(void *arg)
{
    (void) arg;
    return raise_at_the_end(own_base());
}

static void
runs_with_a_handler_on_the_stack(void *arg)
{
    struct sigaction action = {.sa_handler = handle_nothing};
    uco_fn *body = raises_at_the_end;

    (void) arg;
    sigaction(SIGUSR1, &action, NULL);
    runs_a_task(&body);
}

/* Sanitizers put a handler of their own before each, and an emulator makes the frame itself. */
START_TEST(a_handler_that_finds_no_room_on_the_stack_is_reported)
{
    const struct end *end;

    if (under_sanitizer() || getenv("UCO_TEST_EMULATED") != NULL)
        return;
    end = end_of(runs_with_a_handler_on_the_stack, NULL);
    check_report(end, "task 'deep'", SIZE_THERE, "a signal handler found no room");
    check_death(end, SIGSEGV);
}
END_TEST

static void
add_reports(TCase *tc)
{
    tcase_add_test(tc, a_frame_larger_than_the_stack_is_reported);
    tcase_add_test(tc, a_task_without_a_name_goes_by_its_number);
    tcase_add_test(tc, a_long_name_is_cut_and_the_rest_of_the_line_is_there);
    tcase_add_loop_test(tc, guards_of_either_kind_are_known, 0, 2);
    tcase_add_test(tc, a_generators_overflow_is_reported);
    tcase_add_test(tc, the_caller_of_a_threads_job_is_reported);
    tcase_add_test(tc, a_task_among_many_is_the_one_that_is_named);
    tcase_add_test(tc, the_child_of_a_fork_reports_too);
    tcase_add_test(tc, of_two_loops_at_once_it_is_the_right_one);
    tcase_add_test(tc, a_thread_with_its_own_stack_for_handlers_reports);
    tcase_add_test(tc, a_small_one_is_enough);
    tcase_add_test(tc, without_one_there_is_no_report_and_the_death_is_the_same);
}

static void
add_handlers(TCase *tc)
{
    tcase_add_test(tc, a_handler_without_information_is_called_too);
    tcase_add_test(tc, a_handler_that_may_be_interrupted_by_itself_may_be);
    tcase_add_test(tc, a_handler_for_one_fault_is_called_for_one);
    tcase_add_test(tc, whoever_had_the_fault_goes_on_as_before);
    tcase_add_test(tc, a_handler_may_jump_back_into_the_coroutine);
    tcase_add_test(tc, where_it_was_ignored_what_is_sent_still_is_and_overflows_are_reported);
    tcase_add_test(tc, where_it_was_ignored_a_fault_kills_all_the_same);
    tcase_add_test(tc, a_null_pointer_in_a_coroutine_dies_without_a_report);
    tcase_add_test(tc, nor_is_there_one_for_a_pointer_that_is_none);
    tcase_add_test(tc, a_signal_that_was_sent_kills);
    tcase_add_test(tc, a_handler_that_is_installed_later_stays_and_gets_all);
    tcase_add_test(tc, a_later_handler_may_hand_on_to_the_report);
}

static void
add_near_misses(TCase *tc)
{
    tcase_add_test(tc, the_loops_own_stack_is_no_coroutines);
    tcase_add_test(tc, nor_is_a_pool_threads);
    tcase_add_test(tc, a_system_call_into_the_guard_fails_and_nobody_dies);
    tcase_add_test(tc, a_pointer_below_the_stack_may_be_a_stray_one);
#if defined(__x86_64__)
    tcase_add_test(tc, a_frame_that_goes_past_the_guard_is_reported_where_it_hits_anothers);
#endif
    tcase_add_test(tc, a_handler_that_finds_no_room_on_the_stack_is_reported);
}

int
main(void)
{
    Suite *suite = suite_create("overflow");
    TCase *tc = case_new(suite, "reports");

    tcase_add_test(tc, endless_recursion_is_reported_by_name_with_what_to_do);
    tcase_add_test(tc, without_guards_an_overflow_is_reported_by_name_when_the_task_ends);
    tcase_add_test(tc, a_callback_on_a_tasks_stack_is_reported_as_the_tasks);
    tcase_add_test(tc, a_loop_in_a_second_thread_reports);
    tcase_add_loop_test(tc, other_faults_go_to_the_handler_that_was_there_before, 0, 2);
    /* valgrind does not leave faults to the kernel: what is the same but for them is not worth two
     * seconds for each child. */
    if (getenv("UCO_TEST_VALGRIND") == NULL) {
        add_reports(tc);
        add_handlers(case_new(suite, "handlers"));
        add_near_misses(case_new(suite, "near misses"));
    }
    return suite_end(suite);
}
