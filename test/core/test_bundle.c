/* SPDX-License-Identifier: MIT */

/*
 * Callbacks from other threads, several to a node of the inbox: each runs once, in the order in
 * which they were posted, whatever becomes of the thread that posted and of the loop.
 */
#include "../support/support.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define BUNDLE 16 /* more than so many posts need a second one */

static uco_loop *loop;
static atomic_int failures; /* in threads, which assert nothing */

/* Callbacks that are posted with the numbers from 0 up. */
static int next_number;
static bool disorder;

static void
expect(void *number)
{
    if ((intptr_t) number != next_number++)
        disorder = true;
}

static void
stop(void *to_stop)
{
    uco_loop_stop(to_stop);
}

static void
post(uco_loop *to, uco_callback *callback, void *arg)
{
    if (uco_loop_call_soon_threadsafe(to, callback, arg) != 0)
        atomic_fetch_add(&failures, 1);
}

static void
post_numbers(int from, int to)
{
    for (int i = from; i < to; i++)
        post(loop, expect, NUMBER(i));
}

static void
begin(void)
{
    loop = uco_loop_new(&(uco_loop_options){.slow_callback = UCO_FOREVER});
    ck_assert_ptr_nonnull(loop);
}

static void
end(void)
{
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
    ck_assert_int_eq(atomic_load(&failures), 0);
    ck_assert(!disorder);
}

static void
run_until_stopped(int numbers)
{
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    ck_assert_int_eq(next_number, numbers);
}

static pthread_t
thread_start(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static void
thread_join(pthread_t thread)
{
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void
semaphore_wait(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* --- order --- */

enum { MIXED = 3000 };

static uco_post mixed_nodes[MIXED];
static uco_future *mixed_futures[MIXED];

static intptr_t
mixed_prepare(void *arg)
{
    (void) arg;
    for (int i = 0; i < MIXED; i++) {
        mixed_nodes[i] = (uco_post){.callback = expect, .arg = NUMBER(i)};
        mixed_futures[i] = uco_future_new();
        ck_assert_int_eq(uco_add_done_callback(mixed_futures[i], expect, NUMBER(i)), 0);
    }
    return 0;
}

static void *
mixed_post(void *arg)
{
    for (int i = 0; i < MIXED; i++) {
        int r, way = i * 7919 % 31;

        if (way < 3)
            r = uco_loop_post(loop, &mixed_nodes[i]);
        else if (way < 6)
            r = uco_future_set_result(mixed_futures[i], 0);
        else
            r = uco_loop_call_soon_threadsafe(loop, expect, NUMBER(i));
        atomic_fetch_add(&failures, r != 0);
    }
    post(loop, stop, loop);
    return arg;
}

/* X9. _i: the thread posts while the loop runs; or all of it before. */
START_TEST(a_threads_posts_of_all_kinds_run_in_order)
{
    pthread_t thread;

    begin();
    ck_assert_int_eq(uco_loop_run_until_complete(loop, mixed_prepare, NULL), 0);
    thread = thread_start(mixed_post, NULL);
    if (_i == 1)
        thread_join(thread);
    run_until_stopped(MIXED);
    if (_i == 0)
        thread_join(thread);
    uco_unref_all(mixed_futures, MIXED);
    end();
}
END_TEST

enum { TURNS = 1000 };

static sem_t turn_of[2];
static int turn_number;

static void *
post_in_turn(void *arg)
{
    intptr_t self = (intptr_t) arg;

    for (int turn = 0; turn < TURNS; turn++) {
        semaphore_wait(&turn_of[self]);
        for (int i = 0; i <= turn % 3; i++)
            post(loop, expect, NUMBER(turn_number++));
        if (self == 1 && turn == TURNS - 1)
            post(loop, stop, loop);
        sem_post(&turn_of[1 - self]);
    }
    return NULL;
}

/*
 * A                     B
 * -                     -
 * posts 0
 * tells B
 *                       posts 1
 *                       tells A
 * posts 2, 3, not to the bundle of 0
 */
START_TEST(posts_of_two_threads_run_in_the_order_that_the_threads_see)
{
    pthread_t threads[2];

    begin();
    sem_init(&turn_of[0], 0, 1);
    sem_init(&turn_of[1], 0, 0);
    for (intptr_t i = 0; i < 2; i++)
        threads[i] = thread_start(post_in_turn, NUMBER(i));
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    for (int i = 0; i < 2; i++)
        thread_join(threads[i]);
    ck_assert_int_eq(next_number, turn_number);
    end();
}
END_TEST

static sem_t told;

static void
queue_own_and_tell(void *number)
{
    if (uco_loop_call_soon(loop, expect, number) != 0)
        disorder = true;
    sem_post(&told);
}

static void
nothing(void *arg)
{
    (void) arg;
}

static void *
post_what_was_caused(void *arg)
{
    for (int i = 0; i < TURNS; i++) {
        post(loop, queue_own_and_tell, NUMBER(2 * i));
        for (int k = 0; k < i % BUNDLE; k++)
            post(loop, nothing, NULL);
        semaphore_wait(&told);
        post(loop, expect, NUMBER(2 * i + 1));
    }
    post(loop, stop, loop);
    return arg;
}

/* Also the loop's own thread is one whose posts come before what they have caused. */
START_TEST(what_a_callback_queues_runs_before_what_a_thread_posts_because_of_it)
{
    pthread_t thread;

    begin();
    sem_init(&told, 0, 0);
    thread = thread_start(post_what_was_caused, NULL);
    run_until_stopped(2 * TURNS);
    thread_join(thread);
    end();
}
END_TEST

enum { THREADS = 4 };

static struct {
    int each;
    atomic_int next[THREADS];
    int total;
} flood;

static void
flood_receive(void *arg)
{
    intptr_t id = (intptr_t) arg;

    if (id / THREADS != atomic_fetch_add(&flood.next[id % THREADS], 1))
        disorder = true;
    if (++flood.total == THREADS * flood.each)
        uco_loop_stop(loop);
}

static void *
flood_post(void *thread)
{
    for (intptr_t i = 0; i < flood.each; i++)
        post(loop, flood_receive, NUMBER(i * THREADS + (intptr_t) thread));
    return NULL;
}

START_TEST(posts_of_four_threads_each_run_once_and_in_each_ones_order)
{
    pthread_t threads[THREADS];

    begin();
    flood.each = scaled(50000);
    for (intptr_t i = 0; i < THREADS; i++)
        threads[i] = thread_start(flood_post, NUMBER(i));
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(atomic_load(&flood.next[i]), flood.each);
    end();
}
END_TEST

static void *
post_at_odd_moments(void *arg)
{
    int n = scaled(300000);
    volatile int pause;

    for (int i = 0; i < n; i++) {
        post(loop, expect, NUMBER(i));
        for (pause = 0; pause < i * 7919 % 127; pause++)
            continue;
    }
    post(loop, stop, loop);
    return arg;
}

/* The loop does nothing but look for posts, so now and then it runs a bundle right when the thread
 * is about to add to that. */
START_TEST(what_comes_too_late_for_a_bundle_goes_into_the_next)
{
    pthread_t thread;

    loop = uco_loop_new(&(uco_loop_options){.slow_callback = UCO_FOREVER, .spin = 1.0});
    thread = thread_start(post_at_odd_moments, NULL);
    run_until_stopped(scaled(300000));
    thread_join(thread);
    end();
}
END_TEST

/* --- turns --- */

enum { TURN_POSTS = 2 * BUNDLE + 5 };

static uint64_t turn_of_number[TURN_POSTS + 2];
static uint64_t posts_seen;

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(loop, &stats), 0);
    return stats;
}

static void
note_turn(void *number)
{
    uco_loop_stats stats = stats_here();

    turn_of_number[next_number] = stats.turns;
    posts_seen = stats.posts;
    expect(number);
}

/* The first of all has another one posted by a thread, and posts one itself. */
static void
note_and_post_more(void *poster)
{
    note_turn(NUMBER(0));
    sem_post(&told);
    semaphore_wait(poster);
    post(loop, note_turn, NUMBER(TURN_POSTS));
}

static sem_t posted;

static void *
post_a_turn(void *arg)
{
    post(loop, note_and_post_more, &posted);
    for (int i = 1; i < TURN_POSTS; i++)
        post(loop, note_turn, NUMBER(i));
    sem_post(&posted);
    semaphore_wait(&told);
    post(loop, note_turn, NUMBER(TURN_POSTS + 1));
    post(loop, stop, loop);
    sem_post(&posted);
    return arg;
}

/* X8 */
START_TEST(what_is_posted_while_a_bundle_runs_waits_for_the_next_turn)
{
    pthread_t thread;

    begin();
    sem_init(&told, 0, 0);
    sem_init(&posted, 0, 0);
    thread = thread_start(post_a_turn, NULL);
    semaphore_wait(&posted);
    run_until_stopped(TURN_POSTS + 2);
    thread_join(thread);
    for (int i = 1; i < TURN_POSTS; i++)
        ck_assert_uint_eq(turn_of_number[i], turn_of_number[0]);
    ck_assert_uint_eq(turn_of_number[TURN_POSTS], turn_of_number[0] + 1);
    ck_assert_uint_eq(turn_of_number[TURN_POSTS + 1], turn_of_number[0] + 1);
    end();
}
END_TEST

START_TEST(each_callback_of_a_bundle_counts_as_a_post)
{
    begin();
    for (int i = 0; i < TURN_POSTS; i++)
        post(loop, note_turn, NUMBER(i));
    post(loop, stop, loop);
    run_until_stopped(TURN_POSTS);
    ck_assert_uint_eq(stats_here().posts, TURN_POSTS + 1);
    end();
}
END_TEST

static void
post_own(void *left)
{
    expect(NUMBER(next_number));
    if ((intptr_t) left > 0)
        post(loop, post_own, NUMBER((intptr_t) left - 1));
    else
        uco_loop_stop(loop);
}

START_TEST(a_callback_posts_from_its_loops_own_thread)
{
    begin();
    post(loop, post_own, NUMBER(100));
    run_until_stopped(101);
    ck_assert_uint_eq(stats_here().posts, 1); /* the rest came from the loop's own */
    end();
}
END_TEST

#define SLOW 0.02 /* seconds */

static void
hog(void *arg)
{
    double until = real_time() + 2 * SLOW;

    (void) arg;
    while (real_time() < until)
        continue;
}

/* Each by itself: one report of them all would not tell how many. */
START_TEST(each_slow_callback_of_a_bundle_is_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.clock = UCO_CLOCK_REAL;
    options.slow_callback = SLOW;
    loop = uco_loop_new(&options);
    for (int i = 0; i < 3; i++) {
        post(loop, hog, NULL);
        post(loop, nothing, NULL);
    }
    post(loop, stop, loop);
    run_until_stopped(0);
    ck_assert_uint_ge(reports.count, 3);
    ck_assert_ptr_nonnull(strstr(reports.all, "a callback kept the loop for"));
    end();
}
END_TEST

/* --- threads that come and go --- */

enum { SHORT_THREADS = 200 };

static int
short_posts(int thread)
{
    return 1 + thread % 20;
}

static void *
post_and_end(void *number)
{
    for (int i = 0; i < short_posts((int) (intptr_t) number); i++)
        post(loop, expect, NUMBER(turn_number++));
    return NULL;
}

static void *
start_short_threads(void *arg)
{
    for (int i = 0; i < SHORT_THREADS; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, post_and_end, NUMBER(i)) == 0)
            pthread_join(thread, NULL);
        else
            atomic_fetch_add(&failures, 1);
    }
    post(loop, stop, loop);
    return arg;
}

/* _i: the loop runs while they end; or afterwards. */
START_TEST(what_a_thread_posted_right_before_its_end_runs)
{
    pthread_t thread;

    begin();
    thread = thread_start(start_short_threads, NULL);
    if (_i == 1)
        thread_join(thread);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    if (_i == 0)
        thread_join(thread);
    ck_assert_int_eq(next_number, turn_number);
    end();
}
END_TEST

static pthread_key_t keys[2];

static void
count(void *arg)
{
    (void) arg;
    next_number++;
}

static void
post_count(void *arg)
{
    post(loop, count, arg);
}

static void *
post_by_destructors(void *arg)
{
    pthread_setspecific(keys[0], loop);
    pthread_setspecific(keys[1], loop);
    post(loop, count, NULL);
    return arg;
}

/* A thread's keys are destroyed in the order in which they were made: one here is older than any
 * that the first post may make, and one is younger. */
START_TEST(a_thread_posts_by_the_destructors_of_its_keys)
{
    begin();
    ck_assert_int_eq(pthread_key_create(&keys[0], post_count), 0);
    post(loop, count, NULL);
    ck_assert_int_eq(pthread_key_create(&keys[1], post_count), 0);
    thread_join(thread_start(post_by_destructors, NULL));
    post(loop, stop, loop);
    run_until_stopped(4);
    pthread_key_delete(keys[0]);
    pthread_key_delete(keys[1]);
    end();
}
END_TEST

static sem_t closed;
static uco_loop *second_loop;

static void *
outlive_the_loop(void *first_loop)
{
    for (int i = 0; i < BUNDLE + 2; i++)
        post(first_loop, expect, NUMBER(i));
    post(first_loop, stop, first_loop);
    semaphore_wait(&closed);
    for (int i = 0; i < 3; i++) {
        if (uco_loop_call_soon_threadsafe(first_loop, expect, NULL) != -ESHUTDOWN)
            atomic_fetch_add(&failures, 1);
    }
    uco_loop_unref(first_loop);
    for (int i = BUNDLE + 2; i < 5 * BUNDLE; i++)
        post(second_loop, expect, NUMBER(i));
    post(second_loop, stop, second_loop);
    return NULL;
}

START_TEST(a_thread_outlives_the_loop_and_posts_to_another)
{
    pthread_t thread;

    begin();
    uco_loop_ref(loop);
    second_loop = uco_loop_new(NULL);
    sem_init(&closed, 0, 0);
    thread = thread_start(outlive_the_loop, loop);
    run_until_stopped(BUNDLE + 2);
    end();
    sem_post(&closed);
    loop = second_loop;
    run_until_stopped(5 * BUNDLE);
    thread_join(thread);
    end();
}
END_TEST

static struct {
    int next;
    bool disorder;
} of_loop[2];

static void
expect_of_loop(void *arg)
{
    intptr_t id = (intptr_t) arg;

    if (id / 2 != of_loop[id % 2].next++)
        of_loop[id % 2].disorder = true;
}

/* _i: how many posts in a row go to the same loop. */
START_TEST(a_thread_posts_to_two_loops_in_turn)
{
    uco_loop_thread *threads[2];
    int n = scaled(50000);

    for (int i = 0; i < 2; i++) {
        threads[i] = uco_loop_thread_start(NULL);
        ck_assert_ptr_nonnull(threads[i]);
    }
    for (int i = 0; i < n; i += _i) {
        for (int k = 0; k < 2 * _i; k++)
            post(uco_loop_thread_loop(threads[k / _i]), expect_of_loop,
                 NUMBER((i + k % _i) * 2 + k / _i));
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(uco_loop_thread_stop(threads[i]), 0);
        ck_assert_int_eq(of_loop[i].next, (n + _i - 1) / _i * _i);
        ck_assert(!of_loop[i].disorder);
    }
    ck_assert_int_eq(atomic_load(&failures), 0);
}
END_TEST

/* --- refused --- */

static int accepted[THREADS];

static void *
post_until_refused(void *thread)
{
    intptr_t self = (intptr_t) thread, i = 0;
    int r;

    do {
        /* No more than the loop can take: on a busy machine it might be very late. */
        while (i - atomic_load(&flood.next[self]) > 1000)
            sched_yield();
        r = uco_loop_call_soon_threadsafe(loop, flood_receive, NUMBER(i * THREADS + self));
        i += r == 0;
    } while (r == 0);
    accepted[self] = (int) i;
    for (int k = 0; k < 10; k++) {
        if (r != -ESHUTDOWN)
            atomic_fetch_add(&failures, 1);
        r = uco_loop_call_soon_threadsafe(loop, flood_receive, NULL);
    }
    return NULL;
}

static intptr_t
yields_a_little(void *turns)
{
    for (intptr_t i = 0; i < (intptr_t) turns; i++)
        ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

/* X7 */
START_TEST(what_was_accepted_before_or_while_the_loop_closes_runs_once)
{
    int rounds = under_sanitizer() ? 20 : 100;

    flood.each = 0x7fffffff / THREADS; /* so that nobody stops it */
    for (int round = 0; round < rounds; round++) {
        pthread_t threads[THREADS];

        begin();
        for (intptr_t i = 0; i < THREADS; i++) {
            atomic_store(&flood.next[i], 0);
            threads[i] = thread_start(post_until_refused, NUMBER(i));
        }
        ck_assert_int_eq(uco_loop_run_until_complete(loop, yields_a_little, NUMBER(round % 5)), 0);
        ck_assert_int_eq(uco_loop_close(loop), 0);
        for (int i = 0; i < THREADS; i++)
            thread_join(threads[i]);
        for (int i = 0; i < THREADS; i++)
            ck_assert_int_eq(atomic_load(&flood.next[i]), accepted[i]);
        end();
    }
}
END_TEST

/* A fault that is set for one allocation fails one post, and not only something behind it. */
START_TEST(one_failing_allocation_fails_one_post)
{
    begin();
    post_numbers(0, 1);
    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, expect, NULL), -ENOMEM);
    uco_test_fail_off();
    post_numbers(1, 3);
    post(loop, stop, loop);
    run_until_stopped(3);
    end();
}
END_TEST

/* _i: how many posts wait already: none, such that there is room beside them, or not. Each once
 * before the thread's first post, and once after the loop has run some. */
START_TEST(a_post_without_memory_is_refused_and_the_next_one_is_not)
{
    begin();
    for (int round = 0; round < 2; round++) {
        int first = next_number;

        post_numbers(first, first + _i);
        ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
        for (int k = 0; k < 3; k++)
            ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, expect, NULL), -ENOMEM);
        uco_test_fail_off();
        post_numbers(first + _i, first + _i + 3 * BUNDLE);
        post(loop, stop, loop);
        run_until_stopped(first + _i + 3 * BUNDLE);
    }
    end();
}
END_TEST

/* Exits with the number of what is wrong, or 0. */
static int
post_in_child(void)
{
    static uco_loop *parents; /* no leak in the eyes of valgrind */

    parents = loop;
    if (uco_loop_call_soon_threadsafe(parents, expect, NULL) != -ESTALE)
        return 1;
    loop = uco_loop_new(NULL);
    next_number = 0;
    post_numbers(0, 3 * BUNDLE);
    post(loop, stop, loop);
    if (uco_loop_run_forever(loop) != 0 || next_number != 3 * BUNDLE || disorder)
        return 2;
    return uco_loop_call_soon_threadsafe(parents, expect, NULL) == -ESTALE ? 0 : 3;
}

static void *
post_fork_post(void *exit_code)
{
    int status = -1;
    pid_t pid;

    post_numbers(0, 3);
    pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL); /* not Check's handler */
        alarm(10);
        _exit(post_in_child());
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        *(int *) exit_code = WEXITSTATUS(status);
    post_numbers(3, 2 * BUNDLE);
    post(loop, stop, loop);
    return NULL;
}

START_TEST(a_thread_that_has_posted_and_forks_posts_on_and_its_child_to_its_own_loop)
{
    int exit_code = -1;

    unsetenv("UCO_DEBUG"); /* it is misuse */
    begin();
    thread_join(thread_start(post_fork_post, &exit_code));
    ck_assert_int_eq(exit_code, 0);
    run_until_stopped(2 * BUNDLE);
    end();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("bundle");
    TCase *tc = case_new(suite, "order");

    tcase_add_loop_test(tc, a_threads_posts_of_all_kinds_run_in_order, 0, 2);
    tcase_add_test(tc, posts_of_two_threads_run_in_the_order_that_the_threads_see);
    tcase_add_test(tc, what_a_callback_queues_runs_before_what_a_thread_posts_because_of_it);
    tcase_add_test(tc, posts_of_four_threads_each_run_once_and_in_each_ones_order);
    tcase_add_test(tc, what_comes_too_late_for_a_bundle_goes_into_the_next);

    tc = case_new(suite, "turns");
    tcase_add_test(tc, what_is_posted_while_a_bundle_runs_waits_for_the_next_turn);
    tcase_add_test(tc, each_callback_of_a_bundle_counts_as_a_post);
    tcase_add_test(tc, a_callback_posts_from_its_loops_own_thread);
    tcase_add_test(tc, each_slow_callback_of_a_bundle_is_reported);

    tc = case_new(suite, "threads");
    tcase_add_loop_test(tc, what_a_thread_posted_right_before_its_end_runs, 0, 2);
    tcase_add_test(tc, a_thread_posts_by_the_destructors_of_its_keys);
    tcase_add_test(tc, a_thread_outlives_the_loop_and_posts_to_another);
    tcase_add_loop_test(tc, a_thread_posts_to_two_loops_in_turn, 1, 4);

    tc = case_new(suite, "refused");
    tcase_add_test(tc, what_was_accepted_before_or_while_the_loop_closes_runs_once);
    tcase_add_test(tc, one_failing_allocation_fails_one_post);
    tcase_add_loop_test(tc, a_post_without_memory_is_refused_and_the_next_one_is_not, 0,
                        BUNDLE + 2);
    tcase_add_test(tc, a_thread_that_has_posted_and_forks_posts_on_and_its_child_to_its_own_loop);
    return suite_end(suite);
}
