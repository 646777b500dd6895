/* SPDX-License-Identifier: MIT */
/*
 * The four-byte mutex, and waiting for a word.
 */
#include "../support/support.h"

#include "base/clock.h"
#include "base/futex.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

#define THREADS 4

static void
threads_run(pthread_t threads[THREADS], void *(*fn)(void *), void *arg)
{
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fn, arg), 0);
}

static void
threads_join(pthread_t threads[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

struct counter {
    struct uco__mutex mutex;
    long count; /* not atomic: that is the test */
    int rounds;
};

static void *
count_up(void *arg)
{
    struct counter *counter = arg;

    for (int i = 0; i < counter->rounds; i++) {
        uco__mutex_lock(&counter->mutex);
        counter->count++;
        uco__mutex_unlock(&counter->mutex);
    }
    return NULL;
}

START_TEST(the_mutex_lets_one_in_at_a_time)
{
    struct counter counter = {.rounds = scaled(200000)};
    pthread_t threads[THREADS];

    threads_run(threads, count_up, &counter);
    threads_join(threads);
    ck_assert_int_eq(counter.count, (long) THREADS * counter.rounds);
    ck_assert_uint_eq(atomic_load(&counter.mutex.state), 0);
}
END_TEST

/* Whoever holds it gives the processor away, so that the others run into the kernel. */
static void *
count_up_slowly(void *arg)
{
    struct counter *counter = arg;

    for (int i = 0; i < counter->rounds; i++) {
        long before;

        uco__mutex_lock(&counter->mutex);
        before = counter->count;
        sched_yield();
        counter->count = before + 1;
        uco__mutex_unlock(&counter->mutex);
    }
    return NULL;
}

START_TEST(who_waits_in_the_kernel_is_woken)
{
    struct counter counter = {.rounds = scaled(20000)};
    pthread_t threads[THREADS];

    threads_run(threads, count_up_slowly, &counter);
    threads_join(threads);
    ck_assert_int_eq(counter.count, (long) THREADS * counter.rounds);
    ck_assert_uint_eq(atomic_load(&counter.mutex.state), 0);
}
END_TEST

static void *
thread_check_mutex(void *arg)
{
    struct uco__mutex *mutex = arg;

    for (int i = 0; i < 3; i++) {
        uco__mutex_lock(mutex);
        ck_assert_uint_eq(atomic_load(&mutex->state), 1);
        uco__mutex_unlock(mutex);
        ck_assert_uint_eq(atomic_load(&mutex->state), 0);
    }
    return NULL;
}

START_TEST(a_free_mutex_is_taken_and_left_without_a_mark)
{
    struct uco__mutex mutex = {0};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, thread_check_mutex, &mutex), 0);
    pthread_join(thread, NULL);
}
END_TEST

static void *
thread_count(void *arg)
{
    atomic_uint *count = arg;

    for (int i = 0; i < 10000; i++) {
        uco__count_add(count, 2);
        ck_assert(!uco__count_drop(count, 1));
        ck_assert(!uco__count_drop(count, 1));
    }
    return NULL;
}

START_TEST(references_are_counted_by_many_threads)
{
    atomic_uint count = 1;
    pthread_t threads[4];

    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread_count, &count), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&count), 1);
    ck_assert(uco__count_drop(&count, 1));
}
END_TEST

START_TEST(references_are_counted_by_one_thread)
{
    atomic_uint count = 1;

    uco__count_add(&count, 3);
    ck_assert(!uco__count_drop(&count, 2));
    ck_assert_uint_eq(atomic_load(&count), 2);
    ck_assert(uco__count_drop(&count, 2));
}
END_TEST

START_TEST(another_value_is_not_waited_for)
{
    atomic_uint word = 7;

    ck_assert_int_eq(uco__futex_wait(&word, 6, UCO__NEVER), 0);
    ck_assert_int_eq(uco__futex_wait(&word, 8, uco__clock_real() + 3600 * UCO__SECOND), 0);
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline_and_not_before)
{
    static const uint64_t times[] = {1, 999, 50000, 1000000, 20000001};
    atomic_uint word = 7;

    for (size_t i = 0; i < COUNT(times); i++) {
        uint64_t deadline = uco__clock_real() + times[i];
        int r;

        while ((r = uco__futex_wait(&word, 7, deadline)) == 0)
            continue;
        ck_assert_int_eq(r, -ETIMEDOUT);
        ck_assert_uint_ge(uco__clock_real(), deadline);
    }
}
END_TEST

START_TEST(a_deadline_that_has_passed_is_over_at_once)
{
    atomic_uint word = 7;

    ck_assert_int_eq(uco__futex_wait(&word, 7, 0), -ETIMEDOUT);
    ck_assert_int_eq(uco__futex_wait(&word, 7, uco__clock_real()), -ETIMEDOUT);
}
END_TEST

struct gate {
    atomic_uint word;
    atomic_int passed;
};

static void *
pass_gate(void *arg)
{
    struct gate *gate = arg;

    while (atomic_load(&gate->word) == 0)
        uco__futex_wait(&gate->word, 0, UCO__NEVER);
    atomic_fetch_add(&gate->passed, 1);
    return NULL;
}

START_TEST(a_wake_reaches_all_who_wait)
{
    for (int round = 0; round < 50; round++) {
        struct gate gate = {0};
        pthread_t threads[THREADS];

        threads_run(threads, pass_gate, &gate);
        for (int i = 0; i < round; i++)
            sched_yield();
        ck_assert_int_eq(atomic_load(&gate.passed), 0);
        atomic_store(&gate.word, 1);
        uco__futex_wake_all(&gate.word);
        threads_join(threads);
        ck_assert_int_eq(atomic_load(&gate.passed), THREADS);
    }
}
END_TEST

static void
on_alarm(int signo)
{
    (void) signo;
}

/* Without a deadline, and nobody changes the word: only the signal can end the wait. */
START_TEST(a_signal_ends_a_wait_without_cause)
{
    const struct itimerval often = {.it_value = {.tv_usec = 1000},
                                    .it_interval = {.tv_usec = 1000}};
    struct sigaction action = {.sa_handler = on_alarm};
    atomic_uint word = 7;

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    ck_assert_int_eq(uco__futex_wait(&word, 7, UCO__NEVER), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("futex");
    TCase *tc = case_new(suite, "mutex");

    tcase_add_test(tc, a_free_mutex_is_taken_and_left_without_a_mark);
    tcase_add_test(tc, the_mutex_lets_one_in_at_a_time);
    tcase_add_test(tc, references_are_counted_by_many_threads);
    tcase_add_test(tc, references_are_counted_by_one_thread);
    tcase_add_test(tc, who_waits_in_the_kernel_is_woken);

    tc = case_new(suite, "words");
    tcase_add_test(tc, another_value_is_not_waited_for);
    tcase_add_test(tc, a_wait_ends_at_its_deadline_and_not_before);
    tcase_add_test(tc, a_deadline_that_has_passed_is_over_at_once);
    tcase_add_test(tc, a_wake_reaches_all_who_wait);
    tcase_add_test(tc, a_signal_ends_a_wait_without_cause);
    return suite_end(suite);
}
