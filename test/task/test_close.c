/* SPDX-License-Identifier: MIT */
/*
 * The end of a loop: what is left over is run or cancelled, what comes late is refused; and what
 * fork() leaves of a loop.
 */
#include "../support/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBER(n) ((void *) (intptr_t) (n))

static void
count_one(void *arg)
{
    ++*(int *) arg;
}

static uco_loop *
virtual_loop(void)
{
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});

    ck_assert_ptr_nonnull(loop);
    return loop;
}

static intptr_t
settles(void *arg)
{
    (void) arg;
    return uco_test_settle();
}

/* Runs the loop until its tasks are parked. */
static void
park_all(uco_loop *loop)
{
    ck_assert_int_eq(uco_loop_run_until_complete(loop, settles, NULL), 0);
}

/* What is left over */

START_TEST(tasks_left_at_close_end_cancelled)
{
    enum { TASKS = 1000 };
    uco_loop *loop = virtual_loop();
    uco_task *tasks[TASKS];
    int i;

    for (i = 0; i < TASKS; i++)
        tasks[i] = uco_run_coroutine_threadsafe(loop, body_sleep_forever, NULL);
    park_all(loop);
    ck_assert(!uco_done(tasks[0]));
    ck_assert_int_eq(uco_loop_close(loop), 0);
    for (i = 0; i < TASKS; i++) {
        ck_assert(uco_done(tasks[i]));
        ck_assert_int_eq(uco_result(tasks[i]), -ECANCELED);
    }
    uco_unref_all(tasks, TASKS);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
leaves_a_sulker(void *arg)
{
    uco_task_options options = {.name = "sulker"};
    uco_task *idle = uco_create_task(body_sleep_forever, NULL);
    uco_task *sulker = uco_create_task_with(&options, *(uco_fn **) arg, NULL);

    ck_assert_int_eq(uco_detach(idle), 0);
    ck_assert_int_eq(uco_detach(sulker), 0);
    uco_unref(idle);
    uco_unref(sulker);
    ck_assert_int_eq(uco_test_settle(), 0);
    return 42;
}

static intptr_t
fails_when_cancelled(void *arg)
{
    (void) arg;
    return uco_sleep(UCO_FOREVER) == -ECANCELED ? -EIO : 0;
}

/* L18: what is left is cancelled, its errors are reported, and main's result is kept. */
START_TEST(run_cancels_what_is_left_and_keeps_its_result)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_fn *sulker = fails_when_cancelled;

    ck_assert_int_eq(uco_run_with(&options, leaves_a_sulker, &sulker), 42);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "sulker"));
}
END_TEST

static intptr_t
takes_its_time(void *arg)
{
    uco_scope shield;

    (void) arg;
    uco_sleep(UCO_FOREVER);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(35.0), 0);
    return uco_scope_close(&shield, 0);
}

START_TEST(a_task_that_delays_the_close_is_reported_by_name)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_fn *sulker = takes_its_time;

    ck_assert_int_eq(uco_run_with(&options, leaves_a_sulker, &sulker), 42);
    ck_assert_uint_eq(reports.count, 3);
    ck_assert_ptr_nonnull(strstr(reports.last, "sulker"));
}
END_TEST

START_TEST(accepted_posts_run_once_at_close)
{
    uco_loop *loop = virtual_loop();
    int soon = 0, threadsafe = 0, posted = 0, i;
    uco_post post = {.callback = count_one, .arg = &posted};

    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(uco_loop_call_soon(loop, count_one, &soon), 0);
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, count_one, &threadsafe), 0);
    }
    ck_assert_int_eq(uco_loop_post(loop, &post), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(soon, 100);
    ck_assert_int_eq(threadsafe, 100);
    ck_assert_int_eq(posted, 1);
    uco_loop_unref(loop);
}
END_TEST

static void
cannot_post_any_more(void *loop)
{
    uco_post post = {.callback = count_one};

    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, count_one, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_post(loop, &post), -ESHUTDOWN);
    errno = 0;
    ck_assert_ptr_null(uco_run_coroutine_threadsafe(loop, body_return, NULL));
    ck_assert_int_eq(errno, ESHUTDOWN);
}

START_TEST(a_callback_of_the_close_cannot_post)
{
    uco_loop *loop = virtual_loop();

    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, cannot_post_any_more, loop), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

struct late_call {
    int accepted;
    int run;
};

static void
run_late(void *arg)
{
    struct late_call *late = arg;

    late->run++;
}

static void
call_soon_late(void *arg)
{
    struct late_call *late = arg;

    late->accepted += uco_loop_call_soon(uco_get_running_loop(), run_late, late) == 0;
}

/* What a callback of the close queues runs, if that was accepted. */
START_TEST(a_callback_queued_by_a_callback_of_the_close_runs_or_is_refused)
{
    uco_loop *loop = virtual_loop();
    struct late_call late = {0};
    int i;

    for (i = 0; i < 100; i++)
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, call_soon_late, &late), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(late.run, late.accepted);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(timers_are_dropped_at_close)
{
    uco_loop *loop = virtual_loop();
    int count = 0;

    ck_assert_uint_ne(uco_loop_call_later(loop, 1.0, count_one, &count), 0);
    ck_assert_uint_ne(uco_loop_call_later(loop, UCO_FOREVER, count_one, &count), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(count, 0);
    uco_loop_unref(loop);
}
END_TEST

struct family {
    uco_task *child;
    uco_task *orphan;
};

static intptr_t
cleans_up(void *arg)
{
    uco_scope shield;

    (void) arg;
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return uco_scope_close(&shield, 0);
}

static intptr_t
creates_when_cancelled(void *arg)
{
    struct family *family = arg;
    uco_scope shield;

    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    family->child = uco_create_task(cleans_up, family);
    family->orphan = uco_create_task(cleans_up, family);
    ck_assert_int_eq(uco_detach(family->orphan), 0);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return uco_scope_close(&shield, 0);
}

START_TEST(tasks_made_while_cleaning_up_end_before_the_close_does)
{
    uco_loop *loop = virtual_loop();
    struct family family = {0};
    uco_task *task = uco_run_coroutine_threadsafe(loop, creates_when_cancelled, &family);

    park_all(loop);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_result(task), 0);
    ck_assert(uco_done(family.child));
    ck_assert(uco_done(family.orphan));
    uco_unref(family.child);
    uco_unref(family.orphan);
    uco_unref(task);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
does_io_when_cancelled(void *arg)
{
    const int *ends = arg;
    uco_scope shield;
    char c = 0;

    ck_assert_int_eq(uco_read(ends[0], &c, 1), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_to_thread(body_return, NUMBER(3)), 3);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco_read(ends[0], &c, 1), 1);
    return uco_scope_close(&shield, c);
}

START_TEST(clean_up_during_the_close_may_use_everything)
{
    uco_loop *loop = virtual_loop();
    int ends[2];
    uco_task *task;

    ck_assert_int_eq(pipe(ends), 0);
    task = uco_run_coroutine_threadsafe(loop, does_io_when_cancelled, ends);
    park_all(loop);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_result(task), 'x');
    uco_unref(task);
    uco_loop_unref(loop);
    uco_close(ends[0]);
    uco_close(ends[1]);
}
END_TEST

/* When it may be closed, and by whom */

START_TEST(close_twice_is_fine)
{
    uco_loop *loop = virtual_loop();

    ck_assert_int_eq(uco_loop_close(NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

/* L11: everything after the close is refused. */
START_TEST(a_closed_loop_refuses_everything)
{
    uco_loop *loop = virtual_loop();
    uco_timer timer = uco_loop_call_later(loop, 1.0, count_one, NULL);

    ck_assert_int_eq(uco_loop_close(loop), 0);
    cannot_post_any_more(loop);
    ck_assert_int_eq(uco_loop_call_soon(loop, count_one, NULL), -ESHUTDOWN);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_later(loop, 1.0, count_one, NULL), 0);
    ck_assert_int_eq(errno, ESHUTDOWN);
    errno = 0;
    ck_assert_uint_eq(uco_loop_call_at(loop, 1.0, count_one, NULL), 0);
    ck_assert_int_eq(errno, ESHUTDOWN);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, count_one, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_wake_from_signal(loop), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_run_forever(loop), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, NULL), -ESHUTDOWN);
    ck_assert(!uco_loop_is_running(loop));
    uco_loop_unref(loop);
}
END_TEST

static void *
close_it(void *loop)
{
    return NUMBER(uco_loop_close(loop));
}

static void
close_is_refused(void *loop)
{
    pthread_t thread;
    void *r;

    ck_assert_int_eq(uco_loop_close(loop), -EBUSY);
    ck_assert_int_eq(pthread_create(&thread, NULL, close_it, loop), 0);
    pthread_join(thread, &r);
    ck_assert_ptr_eq(r, NUMBER(-EBUSY));
}

static intptr_t
closes_its_loop(void *other)
{
    uco_loop *loop = uco_get_running_loop();

    close_is_refused(loop);
    ck_assert_int_eq(uco_loop_close(other), -EBUSY);
    ck_assert_int_eq(uco_loop_call_soon(loop, close_is_refused, loop), 0);
    return uco_sleep(1.0);
}

/*
 * L11: while it runs it can't be closed: not by its coroutines, its callbacks, nor by another
 * thread.
 */
START_TEST(a_running_loop_cannot_be_closed)
{
    uco_loop *other = virtual_loop();

    ck_assert_int_eq(run_virtual(closes_its_loop, other), 0);
    ck_assert_int_eq(uco_loop_close(other), 0);
    uco_loop_unref(other);
}
END_TEST

static intptr_t
closes_again_in_its_clean_up(void *loop)
{
    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    close_is_refused(loop);
    return 5;
}

START_TEST(a_loop_that_is_being_closed_is_busy)
{
    uco_loop *loop = virtual_loop();
    uco_task *task = uco_run_coroutine_threadsafe(loop, closes_again_in_its_clean_up, loop);

    park_all(loop);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_result(task), 5);
    uco_unref(task);
    uco_loop_unref(loop);
}
END_TEST

static void *
run_and_leave(void *loop)
{
    park_all(loop);
    return NULL;
}

static intptr_t
tells_its_thread_when_cancelled(void *where)
{
    int r = uco_sleep(UCO_FOREVER);

    *(pthread_t *) where = pthread_self();
    return r;
}

START_TEST(another_thread_than_ran_it_can_close_a_loop)
{
    uco_loop *loop = virtual_loop();
    pthread_t thread, where;
    uco_task *task = uco_run_coroutine_threadsafe(loop, tells_its_thread_when_cancelled, &where);

    ck_assert_int_eq(pthread_create(&thread, NULL, run_and_leave, loop), 0);
    where = thread;
    pthread_join(thread, NULL);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    ck_assert(pthread_equal(where, pthread_self()));
    uco_unref(task);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(the_last_reference_closes_and_reports)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_loop *loop = uco_loop_new(&options);
    uco_task *task = uco_run_coroutine_threadsafe(loop, body_sleep_forever, NULL);

    park_all(loop);
    ck_assert_ptr_eq(uco_loop_ref(loop), loop);
    uco_loop_unref(loop);
    ck_assert(!uco_done(task));
    uco_loop_unref(loop);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    ck_assert_uint_ge(reports.count, 1);
    uco_unref(task);
}
END_TEST

START_TEST(a_loop_that_was_closed_is_not_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    uco_loop *loop = uco_loop_new(&options);

    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
    ck_assert_uint_eq(reports.count, 0);
}
END_TEST

/* Posting while it closes */

static struct race {
    uco_loop *loop;
    atomic_int accepted; /* written by the poster */
    int run;             /* by the loop */
    int last;            /* what the poster was told in the end */
} race;

static void
race_receive(void *arg)
{
    (void) arg;
    race.run++;
}

static void *
race_post(void *arg)
{
    uco_loop *loop = race.loop;
    int r;

    (void) arg;
    while ((r = uco_loop_call_soon_threadsafe(loop, race_receive, NULL)) == 0) {
        /* The closing thread may have to wait for a processor: no use in piling up more then. */
        if (atomic_fetch_add(&race.accepted, 1) > 300)
            sched_yield();
    }
    race.last = r;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, race_receive, NULL), -ESHUTDOWN);
    uco_loop_unref(loop);
    return NULL;
}

static void
race_round(void)
{
    pthread_t thread;

    race = (struct race){.loop = uco_loop_new(NULL)};
    uco_loop_ref(race.loop);
    if (pthread_create(&thread, NULL, race_post, NULL) != 0)
        ck_abort_msg("no thread");
    while (atomic_load(&race.accepted) == 0)
        sched_yield();
    if (uco_loop_close(race.loop) != 0)
        ck_abort_msg("close failed");
    uco_loop_unref(race.loop);
    pthread_join(thread, NULL);
    if (race.last != -ESHUTDOWN || race.run != atomic_load(&race.accepted))
        ck_abort_msg("told %d; %d posts were accepted, %d ran", race.last, race.accepted, race.run);
}

/*
 * X7: each post is run or refused, never half: the loop closes while a thread posts as fast as it
 * can.
 */
START_TEST(each_post_that_a_closing_loop_accepted_runs_once)
{
    int i;

    for (i = 0; i < scaled(10000); i++)
        race_round();
}
END_TEST

static void *
stop_it(void *thread)
{
    return NUMBER(uco_loop_thread_stop(thread));
}

/* X7: the same for coroutines, and a loop that runs until it is stopped. */
START_TEST(a_submission_is_run_or_refused_while_the_loop_closes)
{
    int i, refused = 0;

    for (i = 0; i < scaled(200); i++) {
        uco_loop_thread *thread = uco_loop_thread_start(NULL);
        uco_loop *loop = uco_loop_ref(uco_loop_thread_loop(thread));
        pthread_t stopper;
        uco_task *task;

        ck_assert_int_eq(pthread_create(&stopper, NULL, stop_it, thread), 0);
        while ((task = uco_run_coroutine_threadsafe(loop, body_return, NUMBER(1))) != NULL) {
            intptr_t r = uco_future_wait(task, UCO_FOREVER);

            if (r != 1 && r != -ECANCELED)
                ck_abort_msg("ended with %d", (int) r);
            uco_unref(task);
        }
        refused += errno == ESHUTDOWN;
        pthread_join(stopper, NULL);
        uco_loop_unref(loop);
    }
    ck_assert_int_eq(refused, scaled(200));
}
END_TEST

/* Futures after the close */

static intptr_t
makes_a_future(void *arg)
{
    *(uco_future **) arg = uco_future_new();
    return 0;
}

START_TEST(futures_outlive_their_loop)
{
    uco_future *future = NULL;

    ck_assert_int_eq(run_virtual(makes_a_future, &future), 0);
    ck_assert_int_eq(uco_result(future), -EINPROGRESS);
    ck_assert_int_eq(uco_add_done_callback(future, count_one, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_future_set_result(future, 8), 0);
    ck_assert(uco_done(future));
    ck_assert_int_eq(uco_future_wait(future, 0), 8);
    uco_unref(future);
}
END_TEST

/* F17: a callback whose loop has closed is dropped. */
START_TEST(done_callbacks_of_a_closed_loop_are_dropped)
{
    uco_loop *loop = virtual_loop();
    uco_future *future = NULL;
    int count = 0;

    ck_assert_int_eq(uco_loop_run_until_complete(loop, makes_a_future, &future), 0);
    ck_assert_int_eq(uco_add_done_callback(future, count_one, &count), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_future_set_result(future, 8), 0);
    ck_assert_int_eq(count, 0);
    uco_unref(future);
    uco_loop_unref(loop);
}
END_TEST

/* fork */

/*
 * Runs fn in a forked child and gives its exit status: 0 if all is well, -1 if a signal ended it.
 * Nothing of Check's may be used in there.
 */
static int
in_child(int (*fn)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(fn(arg));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Gives the number, from 1, of the first of n results that is not -ESTALE. */
static int
first_not_stale(const intptr_t results[], size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (results[i] != -ESTALE)
            return (int) i + 1;
    }
    return 0;
}

static intptr_t
errno_of(bool refused)
{
    int error = errno;

    errno = 0;
    return refused ? -error : 0;
}

static int
loop_is_stale(void *arg)
{
    uco_loop *loop = arg;
    uco_post post = {.callback = count_one};
    uco_loop_stats stats;
    const intptr_t results[] = {
        uco_loop_call_soon(loop, count_one, NULL),
        uco_loop_call_soon_threadsafe(loop, count_one, NULL),
        uco_loop_post(loop, &post),
        uco_loop_set_wake_callback(loop, count_one, NULL),
        uco_wake_from_signal(loop),
        errno_of(uco_loop_call_later(loop, 1.0, count_one, NULL) == 0),
        errno_of(uco_loop_call_at(loop, 1.0, count_one, NULL) == 0),
        uco_timer_cancel(loop, 1),
        uco_loop_add_reader(loop, 0, count_one, NULL),
        uco_loop_add_writer(loop, 0, count_one, NULL),
        uco_loop_remove_reader(loop, 0),
        uco_loop_remove_writer(loop, 0),
        errno_of(uco_run_coroutine_threadsafe(loop, body_return, NULL) == NULL),
        uco_stats(loop, &stats),
        uco_loop_run_forever(loop),
        uco_loop_run_until_complete(loop, body_return, NULL),
        uco_loop_close(loop),
    };

    return first_not_stale(results, COUNT(results));
}

static intptr_t
forks_in_its_loop(void *arg)
{
    uco_loop *loop = uco_get_running_loop();
    int ends[2];
    char c;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(in_child(loop_is_stale, loop), 0);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_loop_call_soon(loop, count_one, arg), 0);
    ck_assert_int_eq(uco_write(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco_read(ends[0], &c, 1), 1);
    uco_close(ends[0]);
    uco_close(ends[1]);
    return 0;
}

/* In the child the loop is stale, whatever is asked of it; the parent goes on unharmed. */
START_TEST(in_a_forked_child_the_parents_running_loop_is_stale)
{
    int count = 0;

    ck_assert_int_eq(run_real(forks_in_its_loop, &count), 0);
    ck_assert_int_eq(count, 1);
}
END_TEST

START_TEST(in_a_forked_child_the_parents_resting_loop_is_stale)
{
    uco_loop *loop = virtual_loop();
    uco_task *task = uco_run_coroutine_threadsafe(loop, body_sleep_forever, NULL);

    park_all(loop);
    ck_assert_int_eq(in_child(loop_is_stale, loop), 0);
    park_all(loop);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    uco_unref(task);
    uco_loop_unref(loop);
}
END_TEST

static int
coroutine_is_stale(void *task)
{
    char c;
    const intptr_t results[] = {
        uco_sleep(1.0),
        uco_yield(),
        uco_await(task),
        uco_read(0, &c, 1),
        uco_to_thread(body_return, NULL),
        uco_test_settle(),
        errno_of(uco_create_task(body_return, NULL) == NULL),
        errno_of(uco_to_thread_start(body_return, NULL) == NULL),
    };

    return first_not_stale(results, COUNT(results));
}

static intptr_t
forks_beside_a_task(void *arg)
{
    uco_task *task = uco_create_task(body_sleep_1s, arg);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(in_child(coroutine_is_stale, task), 0);
    return uco_join(task);
}

START_TEST(in_a_forked_child_a_coroutine_cannot_suspend)
{
    ck_assert_int_eq(run_virtual(forks_beside_a_task, NUMBER(4)), 4);
}
END_TEST

static intptr_t
lives_a_whole_life(void *arg)
{
    int ends[2];
    char c = 0;

    (void) arg;
    if (pipe(ends) != 0 || uco_sleep(0.001) != 0 || uco_to_thread(body_return, NUMBER(3)) != 3)
        return 1;
    if (uco_write(ends[1], "x", 1) != 1 || uco_read(ends[0], &c, 1) != 1 || c != 'x')
        return 2;
    return uco_close(ends[0]) == 0 && uco_close(ends[1]) == 0 ? 0 : 3;
}

static int
runs_a_loop(void *arg)
{
    return uco_run(lives_a_whole_life, arg) == 0 ? 0 : 1;
}

static intptr_t
uses_a_pool_thread(void *arg)
{
    return uco_to_thread(body_return, arg);
}

static void *
waits_for_the_end(void *fd)
{
    char byte;

    return read((int) (intptr_t) fd, &byte, 1) == 0 ? NULL : fd;
}

static void *
return_at_once(void *arg)
{
    return arg;
}

static int
has_a_thread(void *arg)
{
    pthread_t thread;

    (void) arg;
    return pthread_create(&thread, NULL, return_at_once, NULL) != 0 ||
           pthread_join(thread, NULL) != 0;
}

/* Whether the child of a process with several threads can start some itself. ThreadSanitizer does
 * not allow it; qemu-user (7.2, of Debian 12) still has the parent's in a table, and aborts. */
static bool
a_child_of_threads_can_have_some(void)
{
    pthread_t thread;
    int ends[2];
    bool can;

    if (under_sanitizer())
        return false;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, waits_for_the_end, NUMBER(ends[0])), 0);
    can = in_child(has_a_thread, NULL) == 0;
    ck_assert_int_eq(close(ends[1]), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(close(ends[0]), 0);
    return can;
}

START_TEST(a_forked_child_outside_any_loop_can_run_one)
{
    uco_loop *loop = virtual_loop();

    if (a_child_of_threads_can_have_some())
        ck_assert_int_eq(uco_loop_run_until_complete(loop, uses_a_pool_thread, NUMBER(3)), 3);
    ck_assert_int_eq(in_child(runs_a_loop, NULL), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, lives_a_whole_life, NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
looks_at_descriptors(void *arg)
{
    const bool *before = arg;
    int fd;

    for (fd = 0; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0 && !before[fd])
            ck_assert_msg(flags & FD_CLOEXEC, "descriptor %d would leak into a new program", fd);
    }
    return 0;
}

START_TEST(no_descriptor_of_a_loop_survives_exec)
{
    bool open_before[64];
    int fd;

    for (fd = 0; fd < 64; fd++)
        open_before[fd] = fcntl(fd, F_GETFD) >= 0;
    ck_assert_int_eq(run_real(looks_at_descriptors, open_before), 0);
}
END_TEST

static void
add_left_over(Suite *suite)
{
    TCase *tc = case_new(suite, "left over");

    tcase_add_test(tc, tasks_left_at_close_end_cancelled);
    tcase_add_test(tc, run_cancels_what_is_left_and_keeps_its_result);
    tcase_add_test(tc, a_task_that_delays_the_close_is_reported_by_name);
    tcase_add_test(tc, accepted_posts_run_once_at_close);
    tcase_add_test(tc, a_callback_of_the_close_cannot_post);
    tcase_add_test(tc, a_callback_queued_by_a_callback_of_the_close_runs_or_is_refused);
    tcase_add_test(tc, timers_are_dropped_at_close);
    tcase_add_test(tc, tasks_made_while_cleaning_up_end_before_the_close_does);
    tcase_add_test(tc, clean_up_during_the_close_may_use_everything);
}

static void
add_closing(Suite *suite)
{
    TCase *tc = case_new(suite, "closing");

    tcase_add_test(tc, close_twice_is_fine);
    tcase_add_test(tc, a_closed_loop_refuses_everything);
    tcase_add_test(tc, a_running_loop_cannot_be_closed);
    tcase_add_test(tc, a_loop_that_is_being_closed_is_busy);
    tcase_add_test(tc, another_thread_than_ran_it_can_close_a_loop);
    tcase_add_test(tc, the_last_reference_closes_and_reports);
    tcase_add_test(tc, a_loop_that_was_closed_is_not_reported);
    tcase_add_test(tc, futures_outlive_their_loop);
    tcase_add_test(tc, done_callbacks_of_a_closed_loop_are_dropped);
}

static void
add_races(Suite *suite)
{
    TCase *tc = case_new(suite, "races");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, each_post_that_a_closing_loop_accepted_runs_once);
    tcase_add_test(tc, a_submission_is_run_or_refused_while_the_loop_closes);
}

static void
add_fork(Suite *suite)
{
    TCase *tc = case_new(suite, "fork");

    tcase_add_test(tc, in_a_forked_child_the_parents_running_loop_is_stale);
    tcase_add_test(tc, in_a_forked_child_the_parents_resting_loop_is_stale);
    tcase_add_test(tc, in_a_forked_child_a_coroutine_cannot_suspend);
    tcase_add_test(tc, a_forked_child_outside_any_loop_can_run_one);
    tcase_add_test(tc, no_descriptor_of_a_loop_survives_exec);
}

int
main(void)
{
    Suite *suite = suite_create("close");

    add_left_over(suite);
    add_closing(suite);
    add_races(suite);
    add_fork(suite);
    return suite_end(suite);
}
