/* SPDX-License-Identifier: MIT */
/* A process that ends inside a coroutine: exit(), quick_exit(), abort(). What the program has
 * registered for its end runs, on the coroutine's stack. */
#include "death.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <unistd.h>

/* The coroutines that exit() leaves behind hold memory that nobody else knows of. */
extern "C" int
__lsan_is_turned_off()
{
    return 1;
}

namespace
{

bool armed; /* in children that end so */

struct tells {
    const char *what;
    explicit tells(const char *text) : what(text) {}
    ~tells()
    {
        std::string message = armed ? std::string(what) + "\n" : "";

        if (armed)
            (void) !write(STDOUT_FILENO, message.data(), message.size());
    }
};

tells of_the_program("static destructor");
thread_local tells of_the_thread("thread's destructor");

void
at_exit()
{
    /* The loop is still running: nothing can be done to it. */
    std::printf("exit handler %d %d\n", uco_loop_close(uco_get_running_loop()) == -EBUSY,
                uco_current_task() != nullptr);
    std::fflush(stdout);
}

void
at_quick_exit_too()
{
    std::printf("quick exit handler\n");
    std::fflush(stdout);
}

intptr_t
ends(void *arg)
{
    ck_assert_int_eq(uco_yield(), 0);
    switch (*static_cast<char *>(arg)) {
    case 'e':
        std::exit(3);
    case 'q':
        std::quick_exit(4);
    case 'a':
        std::abort();
    default:
        _exit(5);
    }
}

intptr_t
blocks(void *)
{
    for (;;)
        pause();
}

/* It ends in the midst of other tasks, a pool's job, another thread's loop, and timers. */
intptr_t
ends_amid_others(void *arg)
{
    uco_task_options options = {};

    options.name = "last";
    options.stack_size = under_sanitizer() ? 0 : 32 * 1024;
    uco_detach(uco_create_task(body_sleep_forever, nullptr));
    uco_detach(uco_create_task(body_sleep_1s, nullptr));
    uco_detach(uco_to_thread_start(blocks, nullptr));
    uco_loop_thread_start(nullptr);
    return uco_join(uco_create_task_with(&options, ends, arg));
}

void
dies(void *arg)
{
    armed = true;
    std::atexit(at_exit);
    std::at_quick_exit(at_quick_exit_too);
    (void) of_the_thread.what; /* it is made when it is first used */
    run_virtual(ends_amid_others, arg);
}

bool
said(const struct death &death, const char *what)
{
    return std::strstr(death.output, what) != nullptr;
}

START_TEST(exit_in_a_coroutine_runs_handlers_and_destructors)
{
    char way = 'e';
    struct death death = death_of(dies, &way);

    ck_assert_msg(death.status == 3, "%d %d: %s", death.signal, death.status, death.output);
    ck_assert_msg(said(death, "exit handler 1 1\n"), "%s", death.output);
    ck_assert_msg(said(death, "static destructor\n"), "%s", death.output);
    ck_assert_msg(said(death, "thread's destructor\n"), "%s", death.output);
    ck_assert_msg(!said(death, "uco:"), "%s", death.output);
}
END_TEST

START_TEST(quick_exit_in_a_coroutine_runs_its_handlers_only)
{
    char way = 'q';
    struct death death = death_of(dies, &way);

    ck_assert_msg(death.status == 4, "%d %d: %s", death.signal, death.status, death.output);
    ck_assert_str_eq(death.output, "quick exit handler\n");
}
END_TEST

START_TEST(abort_in_a_coroutine_is_the_programs)
{
    char way = 'a';
    struct death death = death_of(dies, &way);

    ck_assert_int_eq(death.signal, SIGABRT);
    ck_assert_str_eq(death.output, "");
}
END_TEST

START_TEST(underscore_exit_in_a_coroutine_runs_nothing)
{
    char way = '_';
    struct death death = death_of(dies, &way);

    ck_assert_int_eq(death.status, 5);
    ck_assert_str_eq(death.output, "");
}
END_TEST

void
exits_in_a_callback(void *)
{
    std::exit(6);
}

intptr_t
queues_a_callback_that_exits(void *)
{
    uco_loop_call_soon(uco_get_running_loop(), exits_in_a_callback, nullptr);
    return uco_sleep(1.0);
}

void
dies_in_a_callback(void *)
{
    armed = true;
    run_virtual(queues_a_callback_that_exits, nullptr);
}

START_TEST(exit_in_a_callback_does_the_same)
{
    struct death death = death_of(dies_in_a_callback, nullptr);

    ck_assert_msg(death.status == 6, "%d %d: %s", death.signal, death.status, death.output);
    ck_assert_msg(said(death, "static destructor\n"), "%s", death.output);
}
END_TEST

/* The main thread ends the process while another runs a loop. */
void
exits_beside_a_loop(void *)
{
    uco_loop_thread *thread = uco_loop_thread_start(nullptr);

    armed = true;
    uco_unref(
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), body_sleep_forever, nullptr));
    std::exit(7);
}

START_TEST(exit_beside_a_loop_of_another_thread_waits_for_nothing)
{
    struct death death = death_of(exits_beside_a_loop, nullptr);

    ck_assert_msg(death.status == 7, "%d %d: %s", death.signal, death.status, death.output);
    ck_assert_msg(said(death, "static destructor\n"), "%s", death.output);
}
END_TEST

/* A loop that is closed by a static object's destructor, or by an exit handler. */
uco_loop *left_open;

void
closes_what_is_left_open()
{
    std::printf("close %d\n", uco_loop_close(left_open));
    uco_loop_unref(left_open);
    std::fflush(stdout);
}

void
leaves_a_loop_open(void *)
{
    left_open = uco_loop_new(nullptr);
    uco_unref(uco_run_coroutine_threadsafe(left_open, body_sleep_forever, nullptr));
    std::atexit(closes_what_is_left_open);
    std::exit(0);
}

START_TEST(a_loop_may_be_closed_at_exit)
{
    struct death death = death_of(leaves_a_loop_open, nullptr);

    ck_assert_int_eq(death.status, 0);
    ck_assert_msg(said(death, "close 0\n"), "%s", death.output);
}
END_TEST

/* --- objects of a thread --- */

struct counts {
    int *counter;
    ~counts()
    {
        if (counter != nullptr)
            ++*counter;
    }
};

thread_local counts per_thread;

intptr_t
sets_the_threads_object(void *arg)
{
    per_thread.counter = static_cast<int *>(arg);
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_ptr_eq(per_thread.counter, arg);
    return 0;
}

START_TEST(a_thread_local_object_is_the_threads_and_goes_with_it)
{
    int destroyed = 0;
    std::thread thread([&] {
        ck_assert_int_eq(run_virtual(sets_the_threads_object, &destroyed), 0);
        ck_assert_int_eq(destroyed, 0);
    });

    thread.join();
    ck_assert_int_eq(destroyed, 1);
}
END_TEST

} // namespace

int
main()
{
    Suite *suite = suite_create("exit");
    TCase *tcase = case_new(suite, "process");

    tcase_add_test(tcase, exit_in_a_coroutine_runs_handlers_and_destructors);
    tcase_add_test(tcase, quick_exit_in_a_coroutine_runs_its_handlers_only);
    tcase_add_test(tcase, abort_in_a_coroutine_is_the_programs);
    tcase_add_test(tcase, underscore_exit_in_a_coroutine_runs_nothing);
    tcase_add_test(tcase, exit_in_a_callback_does_the_same);
    tcase_add_test(tcase, exit_beside_a_loop_of_another_thread_waits_for_nothing);
    tcase_add_test(tcase, a_loop_may_be_closed_at_exit);

    tcase = case_new(suite, "thread");
    tcase_add_test(tcase, a_thread_local_object_is_the_threads_and_goes_with_it);
    return suite_end(suite);
}
