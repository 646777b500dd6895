/* SPDX-License-Identifier: MIT */
/* What a thread keeps beside its stack: errno and floating-point modes, which are a coroutine's own
 * here, and the signal mask, which is not. */
#include "death.h"

#include "core/context.h"

#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* --- errno --- */

static intptr_t
keeps_its_errno(void *arg)
{
    int own = (int) (intptr_t) arg;

    ck_assert_int_eq(errno, 0);
    errno = own;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(errno, own);
        ck_assert_int_eq(uco_sleep(0.001), 0);
        ck_assert_int_eq(errno, own);
    }
    return 0;
}

static intptr_t
several_keep_their_errno(void *arg)
{
    uco_task *tasks[4];

    (void) arg;
    for (int i = 0; i < (int) COUNT(tasks); i++)
        tasks[i] = uco_create_task(keeps_its_errno, (void *) (intptr_t) (i + 1));
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(errno_is_the_coroutines_own)
{
    run_in_all_orders(several_keep_their_errno, NULL);
}
END_TEST

/* --- the signal mask --- */

static bool
is_blocked(int signo)
{
    sigset_t set;

    pthread_sigmask(SIG_BLOCK, NULL, &set);
    return sigismember(&set, signo) == 1;
}

static void
mask(int how, int signo)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, signo);
    pthread_sigmask(how, &set, NULL);
}

static intptr_t
expects_blocked(void *arg)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(is_blocked(SIGUSR1), arg != NULL);
        ck_assert_int_eq(uco_yield(), 0);
    }
    return 0;
}

static intptr_t
puts_the_mask_back(void *arg)
{
    uco_task *other = uco_create_task(expects_blocked, arg);

    for (int i = 0; i < 3; i++) {
        mask(SIG_BLOCK, SIGUSR1);
        mask(SIG_UNBLOCK, SIGUSR1);
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert(!is_blocked(SIGUSR1));
    }
    return uco_join(other);
}

START_TEST(who_puts_the_mask_back_disturbs_nobody)
{
    ck_assert_int_eq(run_virtual(puts_the_mask_back, NULL), 0);
    ck_assert(!is_blocked(SIGUSR1));
}
END_TEST

START_TEST(tasks_run_with_the_mask_of_who_runs_the_loop)
{
    mask(SIG_BLOCK, SIGUSR1);
    ck_assert_int_eq(run_virtual(expects_blocked, (void *) 1), 0);
    ck_assert(is_blocked(SIGUSR1));
}
END_TEST

static intptr_t
looks_at_the_mask(void *arg)
{
    bool *blocked = arg;

    ck_assert_int_eq(uco_yield(), 0); /* the stack was entered before it is changed */
    *blocked = is_blocked(SIGUSR1);
    return 0;
}

static intptr_t
suspends_with_a_changed_mask(void *arg)
{
    uco_task *other = uco_create_task(looks_at_the_mask, arg);

    ck_assert_int_eq(uco_yield(), 0);
    mask(SIG_BLOCK, SIGUSR1);
    ck_assert_int_eq(uco_join(other), 0);
    ck_assert(is_blocked(SIGUSR1));
    mask(SIG_UNBLOCK, SIGUSR1);
    return 0;
}

/* swapcontext() keeps a mask for each context, the register switch does not. */
START_TEST(a_mask_that_is_left_changed_is_the_threads_with_the_register_switch)
{
    bool blocked = false;

    ck_assert_int_eq(run_fifo(suspends_with_a_changed_mask, &blocked), 0);
    ck_assert_int_eq(blocked, !uco__context_by_ucontext);
}
END_TEST

/* --- floating-point modes --- */

/* In the mode of the moment. Volatile, or the compiler computes in a mode of its own; divisions, as
 * it also believes to know how to round. */
static void
assert_rounds(int mode)
{
    volatile double one = 1, minus_one = -1, three = 3, up, down;
    volatile long double one_long = 1, three_long = 3, down_long;

    ck_assert_int_eq(fegetround(), mode);
    if (getenv("UCO_TEST_VALGRIND") != NULL)
        return; /* it keeps the mode, and rounds as it likes */
    up = one / three;
    down = minus_one / three;
    down_long = one_long / three_long;
    ck_assert_int_eq(up != 1.0 / 3.0, mode == FE_UPWARD);
    ck_assert_int_eq(down != -1.0 / 3.0, mode == FE_DOWNWARD);
#ifdef __x86_64__
    ck_assert_int_eq(down_long != 1.0L / 3.0L, mode == FE_DOWNWARD);
#endif
    ck_assert(down_long > 0);
}

static intptr_t
rounds_in_its_mode(void *arg)
{
    int mode = (int) (intptr_t) arg;

    assert_rounds(FE_TONEAREST);
    ck_assert_int_eq(fesetround(mode), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco_yield(), 0);
        assert_rounds(mode);
        ck_assert_int_eq(uco_sleep(0.001), 0);
        assert_rounds(mode);
    }
    return 0; /* with the mode as it is */
}

static intptr_t
several_round(void *arg)
{
    uco_task *tasks[] = {
        uco_create_task(rounds_in_its_mode, (void *) FE_UPWARD),
        uco_create_task(rounds_in_its_mode, (void *) FE_DOWNWARD),
        uco_create_task(rounds_in_its_mode, (void *) FE_TONEAREST),
    };

    (void) arg;
    ck_assert_int_eq(uco_gather(tasks, COUNT(tasks), NULL), 0);
    uco_unref_all(tasks, COUNT(tasks));
    assert_rounds(FE_TONEAREST);
    return uco_join(uco_create_task(rounds_in_its_mode, (void *) FE_DOWNWARD));
}

START_TEST(the_rounding_mode_is_the_coroutines_own)
{
    run_in_all_orders(several_round, NULL);
    assert_rounds(FE_TONEAREST);
}
END_TEST

static intptr_t
begins_with_the_mode(void *arg)
{
    ck_assert_int_eq(fegetround(), (int) (intptr_t) arg);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(fegetround(), (int) (intptr_t) arg);
    return 0;
}

static intptr_t
creates_some_with_the_mode(void *arg)
{
    ck_assert_int_eq(fegetround(), (int) (intptr_t) arg);
    ck_assert_int_eq(uco_join(uco_create_task(begins_with_the_mode, arg)), 0);
    ck_assert_int_eq(fesetround(FE_TOWARDZERO), 0);
    ck_assert_int_eq(uco_join(uco_create_task(begins_with_the_mode, arg)), 0);
    return 0;
}

START_TEST(tasks_begin_with_the_mode_of_who_runs_the_loop)
{
    static const int modes[] = {FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});

    for (size_t i = 0; i < COUNT(modes); i++) {
        ck_assert_int_eq(fesetround(modes[i]), 0);
        ck_assert_int_eq(uco_loop_run_until_complete(loop, creates_some_with_the_mode,
                                                     (void *) (intptr_t) modes[i]),
                         0);
        ck_assert_int_eq(fegetround(), modes[i]);
    }
    uco_loop_close(loop);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
starts_an_eager_one(void *arg)
{
    uco_task_options options = {.eager = true};
    uco_task *task;

    (void) arg;
    ck_assert_int_eq(fesetround(FE_UPWARD), 0);
    task = uco_create_task_with(&options, rounds_in_its_mode, (void *) FE_DOWNWARD);
    assert_rounds(FE_UPWARD);
    ck_assert_int_eq(uco_join(task), 0);
    assert_rounds(FE_UPWARD);
    return 0;
}

START_TEST(a_task_that_starts_at_once_begins_with_that_mode_too)
{
    ck_assert_int_eq(run_virtual(starts_an_eager_one, NULL), 0);
    assert_rounds(FE_TONEAREST);
}
END_TEST

static void
callback_changes_the_mode(void *arg)
{
    (void) arg;
    ck_assert_int_eq(fegetround(), FE_TONEAREST);
    ck_assert_int_eq(fesetround(FE_UPWARD), 0);
}

static intptr_t
queues_a_callback_that_changes_the_mode(void *arg)
{
    uco_loop *loop = uco_get_running_loop();

    ck_assert_int_eq(fesetround(FE_DOWNWARD), 0);
    ck_assert_int_eq(uco_loop_call_soon(loop, callback_changes_the_mode, arg), 0);
    ck_assert_int_eq(uco_join(uco_create_task(begins_with_the_mode, (void *) FE_TONEAREST)), 0);
    assert_rounds(FE_DOWNWARD);
    return 0;
}

START_TEST(what_a_callback_changes_ends_with_it)
{
    ck_assert_int_eq(run_virtual(queues_a_callback_that_changes_the_mode, NULL), 0);
}
END_TEST

static void
handler_changes_the_mode(const char *message, uco_task *task, void *arg)
{
    (void) message;
    (void) task;
    callback_changes_the_mode(arg);
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
    uco_task *task = uco_create_task(fails, arg);

    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(fesetround(FE_DOWNWARD), 0);
    uco_unref(task);
    assert_rounds(FE_DOWNWARD);
    return 0;
}

START_TEST(what_an_exception_handler_changes_ends_with_it)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL,
                                .exception_handler = handler_changes_the_mode};

    ck_assert_int_eq(uco_run_with(&options, drops_a_failed_task, NULL), 0);
    assert_rounds(FE_TONEAREST);
}
END_TEST

#ifdef __x86_64__

static volatile double zero, one = 1.0;

static intptr_t
divides_by_zero(void *arg)
{
    volatile long double quotient = 1.0L;

    for (int i = 0; i < 3; i++) {
        quotient /= (long double) zero;
        ck_assert(isinf(one / zero) && isinf((double) quotient));
        ck_assert_int_eq(uco_yield(), 0);
    }
    return (intptr_t) arg;
}

static intptr_t
traps_and_waits(void *arg)
{
    uco_task *other = uco_create_task(divides_by_zero, arg);
    volatile long double two;

    ck_assert_int_ne(feenableexcept(FE_DIVBYZERO), -1);
    ck_assert_int_eq(uco_join(other), 4);
    ck_assert_int_eq(fegetexcept(), FE_DIVBYZERO);
    two = (long double) one + 1; /* what the other did does not trap here */
    ck_assert(two == 2);
    return 0;
}

START_TEST(what_traps_is_the_coroutines_own)
{
    ck_assert_int_eq(run_virtual(traps_and_waits, (void *) 4), 0);
    ck_assert_int_eq(fegetexcept(), 0);
}
END_TEST

#endif

int
main(void)
{
    Suite *suite = suite_create("state");
    TCase *tcase = case_new(suite, "errno");

    tcase_add_test(tcase, errno_is_the_coroutines_own);

    tcase = case_new(suite, "signal mask");
    tcase_add_test(tcase, who_puts_the_mask_back_disturbs_nobody);
    tcase_add_test(tcase, tasks_run_with_the_mask_of_who_runs_the_loop);
    tcase_add_test(tcase, a_mask_that_is_left_changed_is_the_threads_with_the_register_switch);

    tcase = case_new(suite, "floating point");
    tcase_add_test(tcase, the_rounding_mode_is_the_coroutines_own);
    tcase_add_test(tcase, tasks_begin_with_the_mode_of_who_runs_the_loop);
    tcase_add_test(tcase, a_task_that_starts_at_once_begins_with_that_mode_too);
    tcase_add_test(tcase, what_a_callback_changes_ends_with_it);
    tcase_add_test(tcase, what_an_exception_handler_changes_ends_with_it);
#ifdef __x86_64__
    if (getenv("UCO_TEST_VALGRIND") == NULL) /* which knows no traps */
        tcase_add_test(tcase, what_traps_is_the_coroutines_own);
#endif
    return suite_end(suite);
}
