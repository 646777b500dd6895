/* SPDX-License-Identifier: MIT */
/* C++ exceptions in coroutines. What the C++ run-time library keeps for a thread is a coroutine's
 * own here. */
#include "death.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

/* No exception leaves a coroutine: inside, ck_assert is used as anywhere. */

namespace
{

/* Whoever is inside no catch block and no destructor sees this. */
void
assert_clean()
{
    ck_assert(std::current_exception() == nullptr);
    ck_assert_int_eq(std::uncaught_exceptions(), 0);
}

/* Counts those that are alive. */
struct counted {
    static int alive;
    counted()
    {
        alive++;
    }
    ~counted()
    {
        alive--;
    }
    counted(const counted &) = delete;
};
int counted::alive;

/* --- caught where they are thrown --- */

void
throw_after_a_suspension(int depth)
{
    counted here;

    ck_assert_int_eq(uco_yield(), 0);
    if (depth == 0)
        throw std::runtime_error("deep");
    throw_after_a_suspension(depth - 1);
}

intptr_t
catches(void *)
{
    try {
        throw_after_a_suspension(10);
    } catch (const std::runtime_error &error) {
        ck_assert_str_eq(error.what(), "deep");
        return 1;
    }
    return 0;
}

intptr_t
two_catch(void *)
{
    uco_task *tasks[] = {uco_create_task(catches, nullptr), uco_create_task(catches, nullptr)};
    intptr_t results[2];

    ck_assert_int_eq(uco_gather(tasks, 2, results), 0);
    ck_assert_int_eq(results[0] + results[1], 2);
    uco_unref_all(tasks, 2);
    return 0;
}

START_TEST(an_exception_is_caught_in_its_coroutine)
{
    run_in_all_orders(two_catch, nullptr);
    ck_assert_int_eq(counted::alive, 0);
    assert_clean();
}
END_TEST

/* --- suspended inside catch blocks --- */

void
rethrow()
{
    throw;
}

intptr_t
suspends_in_a_catch_block(void *arg)
{
    const char *mine = static_cast<const char *>(arg);

    assert_clean();
    try {
        try {
            throw std::runtime_error(mine);
        } catch (...) {
            ck_assert_int_eq(uco_yield(), 0);
            ck_assert_int_eq(uco_sleep(0.001), 0);
            try {
                std::rethrow_exception(std::current_exception());
            } catch (const std::exception &error) {
                ck_assert_str_eq(error.what(), mine);
                ck_assert_int_eq(uco_yield(), 0);
                ck_assert_str_eq(error.what(), mine);
            }
            ck_assert_int_eq(uco_yield(), 0);
            rethrow();
        }
    } catch (const std::runtime_error &error) {
        ck_assert_str_eq(error.what(), mine);
        ck_assert_int_eq(uco_sleep(0.001), 0);
        ck_assert_str_eq(error.what(), mine);
    }
    assert_clean();
    return 0;
}

intptr_t
suspends_outside(void *)
{
    for (int i = 0; i < 6; i++) {
        assert_clean();
        ck_assert_int_eq(uco_yield(), 0);
    }
    return 0;
}

intptr_t
several_suspend_in_catch_blocks(void *)
{
    static char texts[4][8] = {"one", "two", "three", "four"};
    uco_task *tasks[5];

    for (int i = 0; i < 4; i++)
        tasks[i] = uco_create_task(suspends_in_a_catch_block, texts[i]);
    tasks[4] = uco_create_task(suspends_outside, nullptr);
    ck_assert_int_eq(uco_gather(tasks, 5, nullptr), 0);
    uco_unref_all(tasks, 5);
    assert_clean();
    return 0;
}

START_TEST(coroutines_suspended_inside_catch_blocks_rethrow_their_own)
{
    run_in_all_orders(several_suspend_in_catch_blocks, nullptr);
    assert_clean();
}
END_TEST

/* --- suspended inside destructors --- */

struct suspends_when_it_goes {
    ~suspends_when_it_goes()
    {
        int before = std::uncaught_exceptions();

        ck_assert_int_eq(before, 1);
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(uco_sleep(0.001), 0);
        ck_assert_int_eq(std::uncaught_exceptions(), before);
    }
};

intptr_t
unwinds_slowly(void *arg)
{
    try {
        suspends_when_it_goes first, second;

        throw arg;
    } catch (void *caught) {
        ck_assert_ptr_eq(caught, arg);
    }
    assert_clean();
    return 0;
}

intptr_t
several_unwind_slowly(void *)
{
    int places[2];
    uco_task *tasks[] = {
        uco_create_task(unwinds_slowly, &places[0]),
        uco_create_task(suspends_outside, nullptr),
        uco_create_task(unwinds_slowly, &places[1]),
    };

    ck_assert_int_eq(uco_gather(tasks, 3, nullptr), 0);
    uco_unref_all(tasks, 3);
    return 0;
}

START_TEST(coroutines_suspended_in_destructors_unwind_their_own)
{
    run_in_all_orders(several_unwind_slowly, nullptr);
}
END_TEST

/* --- beginnings --- */

intptr_t
begins_clean(void *arg)
{
    assert_clean();
    ck_assert_int_eq(uco_yield(), 0);
    assert_clean();
    ++*static_cast<int *>(arg);
    return 0;
}

intptr_t
starts_others_in_a_catch_block(void *arg)
{
    uco_task_options eager = {};
    uco_task *tasks[3];

    eager.eager = true;
    try {
        throw 7;
    } catch (int) {
        tasks[0] = uco_create_task_with(&eager, begins_clean, arg);
        ck_assert(std::current_exception() != nullptr);
        tasks[1] = uco_create_task(begins_clean, arg);
        ck_assert_int_eq(uco_gather(tasks, 2, nullptr), 0);
        uco_unref_all(tasks, 2);
        try {
            throw;
        } catch (int caught) {
            ck_assert_int_eq(caught, 7);
        }
        /* From a stack that is used a second time. */
        ck_assert_int_eq(uco_join(uco_create_task(begins_clean, arg)), 0);
        ck_assert(std::current_exception() != nullptr);
    }
    assert_clean();
    return 0;
}

START_TEST(what_a_catch_block_starts_begins_without_exceptions)
{
    int begun = 0;

    ck_assert_int_eq(run_virtual(starts_others_in_a_catch_block, &begun), 0);
    ck_assert_int_eq(begun, 3);
}
END_TEST

void
callback_sees_none(void *arg)
{
    assert_clean();
    ++*static_cast<int *>(arg);
}

intptr_t
waits_for_a_callback_in_a_catch_block(void *arg)
{
    try {
        throw 7;
    } catch (int) {
        ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_sees_none, arg), 0);
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(uco_sleep(1.0), 0);
        ck_assert(std::current_exception() != nullptr);
    }
    return 0;
}

START_TEST(a_callback_begins_without_exceptions)
{
    int called = 0;

    ck_assert_int_eq(run_virtual(waits_for_a_callback_in_a_catch_block, &called), 0);
    ck_assert_int_eq(called, 1);
}
END_TEST

intptr_t
fails(void *)
{
    return -EIO;
}

void
handler_sees_none(const char *, uco_task *, void *arg)
{
    callback_sees_none(arg);
}

/* The report is made where the last reference goes: here. */
intptr_t
drops_a_failed_task_in_a_catch_block(void *)
{
    uco_task *task = uco_create_task(fails, nullptr);

    ck_assert_int_eq(uco_sleep(1.0), 0);
    try {
        throw 7;
    } catch (int) {
        uco_unref(task);
        ck_assert(std::current_exception() != nullptr);
    }
    return 0;
}

START_TEST(an_exception_handler_on_a_tasks_stack_begins_without_exceptions)
{
    int called = 0;
    uco_loop_options options = {};

    options.clock = UCO_CLOCK_VIRTUAL;
    options.exception_handler = handler_sees_none;
    options.exception_arg = &called;
    ck_assert_int_eq(uco_run_with(&options, drops_a_failed_task_in_a_catch_block, nullptr), 0);
    ck_assert_int_eq(called, 1);
}
END_TEST

START_TEST(a_loop_may_run_inside_a_catch_block)
{
    int begun = 0;

    try {
        try {
            throw std::runtime_error("outside");
        } catch (...) {
            ck_assert_int_eq(run_virtual(begins_clean, &begun), 0);
            ck_assert_int_eq(run_virtual(several_suspend_in_catch_blocks, nullptr), 0);
            throw;
        }
    } catch (const std::runtime_error &error) {
        ck_assert_str_eq(error.what(), "outside");
    }
    assert_clean();
    ck_assert_int_eq(begun, 1);
}
END_TEST

/* --- threads --- */

void
runs_a_loop()
{
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(run_virtual(several_suspend_in_catch_blocks, nullptr), 0);
}

START_TEST(each_thread_has_exceptions_of_its_own)
{
    std::thread other(runs_a_loop);

    runs_a_loop();
    other.join();
}
END_TEST

intptr_t
goes_on_elsewhere(void *arg)
{
    try {
        throw std::runtime_error("moved");
    } catch (...) {
        ck_assert_int_eq(uco_await(static_cast<uco_future *>(arg)), 5);
        try {
            throw;
        } catch (const std::runtime_error &error) {
            ck_assert_str_eq(error.what(), "moved");
        }
    }
    return 6;
}

intptr_t
resolves(void *arg)
{
    return uco_future_set_result(static_cast<uco_future *>(arg), 5);
}

START_TEST(a_catch_block_goes_on_in_the_thread_that_runs_its_loop)
{
    uco_loop *loop = uco_loop_new(nullptr);
    uco_future *future = uco_future_new();
    uco_task *task = uco_run_coroutine_threadsafe(loop, goes_on_elsewhere, future);

    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, nullptr), 0);
    assert_clean();
    std::thread other([&] {
        try {
            throw 3;
        } catch (int) {
            ck_assert_int_eq(uco_loop_run_until_complete(loop, resolves, future), 0);
            ck_assert_int_eq(uco_loop_close(loop), 0);
            ck_assert(std::current_exception() != nullptr);
        }
    });
    other.join();
    assert_clean();
    ck_assert(uco_done(task));
    uco_unref(task);
    uco_unref(future);
    uco_loop_unref(loop);
}
END_TEST

/* --- through uco's own functions --- */

intptr_t
throws(void *arg)
{
    throw std::runtime_error(static_cast<const char *>(arg));
}

intptr_t
catches_around_a_timeout(void *arg)
{
    uco_scope scope;

    ck_assert_int_eq(uco_scope_open(&scope, 5.0), 0);
    try {
        uco_with_timeout(1.0, throws, arg);
        ck_abort_msg("nothing was thrown");
    } catch (const std::runtime_error &error) {
        ck_assert_str_eq(error.what(), "through");
    }
    ck_assert_int_eq(uco_scope_close(&scope, 3), 3);
    /* The deadline of the call that was left is gone with the outer scope. */
    ck_assert_int_eq(uco_sleep(2.0), 0);
    return 0;
}

/* As any scope that is left open: the next outer close closes and reports it. */
START_TEST(an_exception_may_pass_a_call_that_runs_a_function)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char text[] = "through";

    ck_assert_int_eq(uco_run_with(&options, catches_around_a_timeout, text), 0);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

/* --- uncaught --- */

intptr_t
body_of_a_named_task(void *arg)
{
    ck_assert_int_eq(uco_yield(), 0);
    return throws(arg);
}

intptr_t
creates_a_task_that_throws(void *arg)
{
    uco_task_options options = {};

    options.name = "the careless one";
    return uco_join(uco_create_task_with(&options, body_of_a_named_task, arg));
}

void
dies_of_an_exception(void *arg)
{
    run_virtual(creates_a_task_that_throws, arg);
}

START_TEST(an_exception_that_leaves_a_body_terminates_and_names_the_task)
{
    char text[] = "what it says";
    struct death death = death_of(dies_of_an_exception, text);

    assert_aborted(&death, "uco: uncaught C++ exception in task 'the careless one'\n");
    assert_aborted(&death, "what it says");
}
END_TEST

void
handler_of_the_program()
{
    try {
        throw;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "the program's handler: %s\n", error.what());
    }
    std::abort();
}

void
dies_with_a_handler(void *arg)
{
    std::set_terminate(handler_of_the_program);
    dies_of_an_exception(arg);
}

START_TEST(the_programs_terminate_handler_is_called)
{
    char text[] = "what it says";
    struct death death = death_of(dies_with_a_handler, text);

    assert_aborted(&death, "uco: uncaught C++ exception in task 'the careless one'\n");
    assert_aborted(&death, "the program's handler: what it says");
}
END_TEST

intptr_t
throws_again(void *)
{
    try {
        throw 3;
    } catch (...) {
        ck_assert_int_eq(uco_yield(), 0);
        throw;
    }
}

void
dies_of_a_rethrow(void *)
{
    run_virtual(throws_again, nullptr);
}

START_TEST(a_rethrow_that_leaves_a_body_is_named_too)
{
    struct death death = death_of(dies_of_a_rethrow, nullptr);

    assert_aborted(&death, "uco: uncaught C++ exception in task '");
}
END_TEST

void
callback_throws(void *)
{
    throw std::runtime_error("of a callback");
}

intptr_t
queues_a_callback_that_throws(void *)
{
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_throws, nullptr), 0);
    return uco_sleep(1.0);
}

/* A caller that would catch it does not get it: the loop would be left as it is. */
void
dies_of_a_callback(void *)
{
    try {
        run_virtual(queues_a_callback_that_throws, nullptr);
    } catch (...) {
    }
}

START_TEST(an_exception_that_leaves_a_callback_terminates)
{
    struct death death = death_of(dies_of_a_callback, nullptr);

    assert_aborted(&death, "uco: uncaught C++ exception in a callback\n");
    assert_aborted(&death, "of a callback");
}
END_TEST

void
dies_under_its_caller(void *arg)
{
    try {
        dies_of_an_exception(arg);
    } catch (...) {
    }
}

START_TEST(an_exception_does_not_reach_who_runs_the_loop)
{
    char text[] = "not for you";
    struct death death = death_of(dies_under_its_caller, text);

    assert_aborted(&death, "uco: uncaught C++ exception in task 'the careless one'\n");
}
END_TEST

void
handler_throws(const char *, uco_task *, void *)
{
    throw std::runtime_error("of a handler");
}

intptr_t
drops_a_failed_task(void *)
{
    uco_task *task = uco_create_task(fails, nullptr);

    ck_assert_int_eq(uco_sleep(1.0), 0);
    try {
        uco_unref(task);
    } catch (...) {
    }
    return 0;
}

void
dies_of_a_handler(void *)
{
    uco_loop_options options = {};

    options.clock = UCO_CLOCK_VIRTUAL;
    options.exception_handler = handler_throws;
    uco_run_with(&options, drops_a_failed_task, nullptr);
}

/* Also where a coroutine whose stack it runs on would catch it. */
START_TEST(an_exception_that_leaves_an_exception_handler_terminates)
{
    struct death death = death_of(dies_of_a_handler, nullptr);

    assert_aborted(&death, "uco: uncaught C++ exception in a callback\n");
    assert_aborted(&death, "of a handler");
}
END_TEST

struct says_goodbye {
    ~says_goodbye()
    {
        std::fprintf(stderr, "a destructor ran\n");
    }
};

intptr_t
ends_its_thread(void *)
{
    says_goodbye object;

    ck_assert_int_eq(uco_yield(), 0);
    pthread_exit(nullptr);
}

void
dies_of_pthread_exit(void *)
{
    run_virtual(ends_its_thread, nullptr);
}

/* It unwinds the stack, as an exception that nobody can catch. */
START_TEST(pthread_exit_runs_destructors_and_aborts)
{
    struct death death = death_of(dies_of_pthread_exit, nullptr);

    assert_aborted(&death, "a destructor ran");
    assert_aborted(&death, "the thread that runs the loop is about to end");
}
END_TEST

} // namespace

int
main()
{
    Suite *suite = suite_create("exceptions");
    TCase *tcase = case_new(suite, "caught");

    tcase_add_test(tcase, an_exception_is_caught_in_its_coroutine);
    tcase_add_test(tcase, coroutines_suspended_inside_catch_blocks_rethrow_their_own);
    tcase_add_test(tcase, coroutines_suspended_in_destructors_unwind_their_own);
    tcase_add_test(tcase, what_a_catch_block_starts_begins_without_exceptions);
    tcase_add_test(tcase, a_callback_begins_without_exceptions);
    tcase_add_test(tcase, an_exception_handler_on_a_tasks_stack_begins_without_exceptions);
    tcase_add_test(tcase, a_loop_may_run_inside_a_catch_block);
    tcase_add_test(tcase, each_thread_has_exceptions_of_its_own);
    tcase_add_test(tcase, a_catch_block_goes_on_in_the_thread_that_runs_its_loop);
    tcase_add_test(tcase, an_exception_may_pass_a_call_that_runs_a_function);

    tcase = case_new(suite, "uncaught");
    tcase_add_test(tcase, an_exception_that_leaves_a_body_terminates_and_names_the_task);
    tcase_add_test(tcase, the_programs_terminate_handler_is_called);
    tcase_add_test(tcase, a_rethrow_that_leaves_a_body_is_named_too);
    tcase_add_test(tcase, an_exception_that_leaves_a_callback_terminates);
    tcase_add_test(tcase, an_exception_that_leaves_an_exception_handler_terminates);
    tcase_add_test(tcase, an_exception_does_not_reach_who_runs_the_loop);
    if (!TEST_TSAN)
        tcase_add_test(tcase, pthread_exit_runs_destructors_and_aborts);
    return suite_end(suite);
}
