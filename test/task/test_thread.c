/* SPDX-License-Identifier: MIT */
/*
 * Other threads: posts and submissions from them, blocking waits in them, the pool, and a loop in
 * a thread of its own.
 */
#include "../support/support.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NUMBER(n) ((void *) (intptr_t) (n))

static pthread_t
thread_start(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

/* Waits in a coroutine for what another thread is about to do. */
static void
await_semaphore(sem_t *semaphore)
{
    while (sem_trywait(semaphore) != 0)
        ck_assert_int_eq(uco_sleep(0.0001), 0);
}

static intptr_t
timer_slack_here(void *arg)
{
    (void) arg;
    return prctl(PR_GET_TIMERSLACK);
}

static intptr_t
asks_a_job_for_its_slack(void *arg)
{
    return uco_to_thread(timer_slack_here, arg);
}

/* A loop's own thread has the finest; what a job sleeps, or starts, is the user's. */
START_TEST(a_job_has_the_timer_slack_that_was_before_the_loop)
{
    ck_assert_int_eq(prctl(PR_SET_TIMERSLACK, 12345), 0);
    ck_assert_int_eq(run_virtual(asks_a_job_for_its_slack, NULL), 12345);
    ck_assert_int_eq(prctl(PR_GET_TIMERSLACK), 12345);
}
END_TEST

/* Posts */

enum { POSTERS = 8 };

static struct {
    uco_loop *loop;
    int each;
    int next[POSTERS];
    int total;
    bool disorder;
    int refused;
} flood;

/* The argument is the poster's number and the post's. */
static void
flood_receive(void *arg)
{
    intptr_t id = (intptr_t) arg;
    intptr_t poster = id % POSTERS, serial = id / POSTERS;

    if (serial != flood.next[poster]++)
        flood.disorder = true;
    if (++flood.total == POSTERS * flood.each)
        uco_loop_stop(flood.loop);
}

static void *
flood_send(void *number)
{
    intptr_t poster = (intptr_t) number, i;

    for (i = 0; i < flood.each; i++) {
        void *id = NUMBER(i * POSTERS + poster);

        if (uco_loop_call_soon_threadsafe(flood.loop, flood_receive, id) != 0)
            __atomic_add_fetch(&flood.refused, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* X9: eight threads at once: no post is lost, and each thread's stay in order. */
START_TEST(posts_of_eight_threads_all_arrive_in_each_ones_order)
{
    pthread_t threads[POSTERS];
    int i;

    memset(&flood, 0, sizeof flood);
    flood.loop = uco_loop_new(NULL);
    flood.each = scaled(100000);
    for (i = 0; i < POSTERS; i++)
        threads[i] = thread_start(flood_send, NUMBER(i));
    ck_assert_int_eq(uco_loop_run_forever(flood.loop), 0);
    for (i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(flood.refused, 0);
    ck_assert_int_eq(flood.total, POSTERS * flood.each);
    ck_assert(!flood.disorder);
    ck_assert_int_eq(uco_loop_close(flood.loop), 0);
    uco_loop_unref(flood.loop);
}
END_TEST

/* X9: a hundred thousand queued before the loop looks once. */
START_TEST(a_massive_queue_of_posts_runs_in_order)
{
    memset(&flood, 0, sizeof flood);
    flood.loop = uco_loop_new(NULL);
    flood.each = scaled(100000) / POSTERS;
    for (intptr_t i = 0; i < POSTERS; i++)
        flood_send(NUMBER(i));
    ck_assert_int_eq(uco_loop_run_forever(flood.loop), 0);
    ck_assert_int_eq(flood.total, POSTERS * flood.each);
    ck_assert(!flood.disorder);
    ck_assert_int_eq(uco_loop_close(flood.loop), 0);
    uco_loop_unref(flood.loop);
}
END_TEST

static void
stop_the_loop(void *loop)
{
    uco_loop_stop(loop);
}

static void *
post_a_stop_later(void *loop)
{
    usleep(5000); /* The loop is usually in the kernel by then; the test holds either way. */
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, stop_the_loop, loop), 0);
    return NULL;
}

/* X1: a post wakes a loop that sleeps in the kernel. */
START_TEST(a_post_wakes_a_sleeping_loop)
{
    uco_loop *loop = uco_loop_new(NULL);
    pthread_t thread = thread_start(post_a_stop_later, loop);

    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

static void *
resolve_later(void *future)
{
    usleep(5000);
    ck_assert_int_eq(uco_future_set_result(future, 11), 0);
    return NULL;
}

static intptr_t
awaits_a_thread(void *arg)
{
    uco_future *future = uco_future_new();
    pthread_t thread = thread_start(resolve_later, future);
    intptr_t r = uco_await(future);

    (void) arg;
    pthread_join(thread, NULL);
    uco_unref(future);
    return r;
}

START_TEST(a_future_set_by_a_thread_wakes_the_sleeping_loop)
{
    ck_assert_int_eq(run_real(awaits_a_thread, NULL), 11);
}
END_TEST

enum { PINGS = 20000 };

static struct {
    sem_t turn;
    int n;
} ping;

static void
ping_receive(void *loop)
{
    if (++ping.n == scaled(PINGS))
        uco_loop_stop(loop);
    sem_post(&ping.turn);
}

static void *
ping_thread(void *loop)
{
    for (int i = 0; i < scaled(PINGS); i++) {
        if (uco_loop_call_soon_threadsafe(loop, ping_receive, loop) != 0)
            return loop;
        sem_wait(&ping.turn);
    }
    return NULL;
}

/* X1: each post meets the loop on its way to sleep: one lost wake-up would hang here. */
START_TEST(no_wake_up_is_lost_between_looking_and_sleeping)
{
    uco_loop *loop = uco_loop_new(NULL);
    pthread_t thread;

    sem_init(&ping.turn, 0, 0);
    thread = thread_start(ping_thread, loop);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(ping.n, scaled(PINGS));
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
    sem_destroy(&ping.turn);
}
END_TEST

/* Starvation */

static bool stop_reposting;

static void
repost_threadsafe(void *loop)
{
    if (!stop_reposting)
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, repost_threadsafe, loop), 0);
}

static void
repost_soon(void *loop)
{
    if (!stop_reposting)
        ck_assert_int_eq(uco_loop_call_soon(loop, repost_soon, loop), 0);
}

static intptr_t
echoes(void *arg)
{
    const int *fd = arg;
    char c;
    int i;

    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(uco_read(*fd, &c, 1), 1);
        ck_assert_int_eq(uco_write(*fd, &c, 1), 1);
    }
    return 0;
}

/*
 * Goes on while something else tries to have the loop for itself: yields, sleeps, and talks over a
 * socket.
 */
static intptr_t
lives_beside(void *repost)
{
    uco_loop *loop = uco_get_running_loop();
    int ends[2], i;
    uco_task *echo;
    char c = 'x';

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    if (repost != NULL)
        uco_loop_call_soon(loop, *(uco_callback **) repost, loop);
    echo = uco_create_task(echoes, &ends[1]);
    for (i = 0; i < 100; i++) {
        ck_assert_int_eq(uco_yield(), 0);
        ck_assert_int_eq(uco_write(ends[0], &c, 1), 1);
        ck_assert_int_eq(uco_read(ends[0], &c, 1), 1);
    }
    ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_join(echo), 0);
    stop_reposting = true;
    uco_close(ends[0]);
    uco_close(ends[1]);
    return 0;
}

/* X8: a callback that posts itself again for ever starves neither tasks nor timers nor I/O. */
START_TEST(a_callback_that_reposts_itself_starves_nobody)
{
    uco_callback *threadsafe = repost_threadsafe, *soon = repost_soon;

    stop_reposting = false;
    ck_assert_int_eq(run_real(lives_beside, &threadsafe), 0);
    stop_reposting = false;
    ck_assert_int_eq(run_real(lives_beside, &soon), 0);
}
END_TEST

static intptr_t
yields_for_ever(void *arg)
{
    int r;

    (void) arg;
    do
        r = uco_yield();
    while (r == 0);
    return r;
}

static intptr_t
lives_beside_busy_tasks(void *arg)
{
    uco_unref(uco_create_task(yields_for_ever, arg));
    uco_unref(uco_create_task(yields_for_ever, arg));
    return lives_beside(NULL);
}

/* L21: nor do tasks that are always ready, whose next step belongs to the next turn. */
START_TEST(tasks_that_are_always_ready_starve_nobody)
{
    ck_assert_int_eq(run_real(lives_beside_busy_tasks, NULL), 0);
}
END_TEST

/* Submitting coroutines */

static uco_loop_thread *
loop_thread(void)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);

    ck_assert_ptr_nonnull(thread);
    return thread;
}

/* X2: result and error come back to the thread that submitted. */
START_TEST(a_submitted_coroutine_gives_its_result_or_error)
{
    uco_loop_thread *thread = loop_thread();
    uco_loop *loop = uco_loop_thread_loop(thread);
    uco_task *good = uco_run_coroutine_threadsafe(loop, body_return, NUMBER(42));
    uco_task *bad = (uco_run_coroutine_threadsafe) (loop, body_return, NUMBER(-EIO));

    ck_assert_int_eq(uco_future_wait(good, UCO_FOREVER), 42);
    ck_assert_int_eq(uco_future_wait(bad, UCO_FOREVER), -EIO);
    uco_unref(good);
    uco_unref(bad);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
}
END_TEST

/* X2: and so does its cancellation. */
START_TEST(a_submitted_coroutine_can_be_cancelled_by_the_submitter)
{
    uco_loop_thread *thread = loop_thread();
    uco_task *task =
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), body_sleep_forever, NULL);

    ck_assert_int_eq(uco_future_wait(task, 0.01), -ETIMEDOUT);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_future_wait(task, UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(uco_cancel(task), -EALREADY);
    uco_unref(task);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
}
END_TEST

static intptr_t
tells_its_name(void *arg)
{
    const char **name = arg;

    *name = uco_task_name(uco_current_task());
    return 0;
}

START_TEST(a_submitted_coroutine_takes_options)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_task_options options = {.name = "submitted", .eager = true};
    const char *name = NULL;
    uco_task *task = uco_run_coroutine_threadsafe_with(loop, &options, tells_its_name, &name);

    ck_assert_ptr_null(name);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, NULL), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, NULL), 0);
    ck_assert_str_eq(name, "submitted");
    uco_unref(task);
    options.stack_size = 100;
    errno = 0;
    ck_assert_ptr_null(uco_run_coroutine_threadsafe_with(loop, &options, body_return, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

static int discarded;

static void
discarded_reset(void)
{
    discarded = 0;
}

static void
discard(void *arg)
{
    ck_assert_ptr_eq(arg, &discarded);
    discarded++;
}

/* Accepted, but closed before it began: it is reported cancelled, never silent. */
START_TEST(a_submission_that_never_began_is_discarded_at_close)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_task_options options = {.discard = discard};
    uco_task *task = uco_run_coroutine_threadsafe_with(loop, &options, body_return, &discarded);

    ck_assert_ptr_nonnull(task);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    ck_assert_int_eq(discarded, 1);
    uco_unref(task);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(a_submission_cancelled_before_it_began_is_discarded)
{
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});
    uco_task_options options = {.discard = discard};
    uco_task *task = uco_run_coroutine_threadsafe_with(loop, &options, body_return, &discarded);

    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_sleep_1s, NULL), 0);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    ck_assert_int_eq(discarded, 1);
    uco_unref(task);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

/* X4: a task that could not be created says so to the submitter. */
START_TEST(a_submission_without_memory_is_refused)
{
    uco_loop *loop = uco_loop_new(NULL);

    uco_test_fail("malloc", 1, true, ENOMEM);
    errno = 0;
    ck_assert_ptr_null(uco_run_coroutine_threadsafe(loop, body_return, NULL));
    ck_assert_int_eq(errno, ENOMEM);
    uco_test_fail_off();
    errno = 0;
    ck_assert_ptr_null(uco_run_coroutine_threadsafe(NULL, body_return, NULL));
    ck_assert_int_eq(errno, EINVAL);
    errno = 0;
    ck_assert_ptr_null(uco_run_coroutine_threadsafe(loop, NULL, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
submits_without_a_stack(void *arg)
{
    uco_task_options options = {.discard = discard, .stack_size = 1 << 20};
    uco_task *task =
        uco_run_coroutine_threadsafe_with(uco_get_running_loop(), &options, body_return, arg);

    uco_test_fail("mmap", 1, true, ENOMEM);
    ck_assert_int_eq(uco_await(task), -ENOMEM);
    uco_test_fail_off();
    uco_unref(task);
    return 0;
}

/* X4: and one that gets no stack when it should begin ends with that. */
START_TEST(a_submission_without_a_stack_is_discarded)
{
    ck_assert_int_eq(run_real(submits_without_a_stack, &discarded), 0);
    ck_assert_int_eq(discarded, 1);
}
END_TEST

/* X7: late is refused, with the handle still good. */
START_TEST(a_late_submission_is_refused)
{
    uco_loop_thread *thread = loop_thread();
    uco_loop *loop = uco_loop_ref(uco_loop_thread_loop(thread));

    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    errno = 0;
    ck_assert_ptr_null(uco_run_coroutine_threadsafe(loop, body_return, NULL));
    ck_assert_int_eq(errno, ESHUTDOWN);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, stop_the_loop, loop), -ESHUTDOWN);
    ck_assert(!uco_loop_is_running(loop));
    uco_loop_unref(loop);
}
END_TEST

/* Blocking waits */

START_TEST(future_wait_tells_what_it_cannot_do)
{
    uco_future *future = uco_future_new();

    ck_assert_int_eq(uco_future_wait(NULL, 0), -ENOMEM);
    ck_assert_int_eq(uco_future_wait(future, NAN), -EINVAL);
    ck_assert_int_eq(uco_future_wait(future, 0), -ETIMEDOUT);
    ck_assert_int_eq(uco_future_wait(future, -1.0), -ETIMEDOUT);
    ck_assert(!uco_done(future));
    ck_assert_int_eq(uco_future_set_result(future, 5), 0);
    ck_assert_int_eq(uco_future_wait(future, 0), 5);
    ck_assert_int_eq(uco_future_wait(future, UCO_FOREVER), 5);
    uco_unref(future);
}
END_TEST

START_TEST(future_wait_is_not_early)
{
    uco_future *future = uco_future_new();
    double end = real_time() + 0.01;

    ck_assert_int_eq(uco_future_wait(future, 0.01), -ETIMEDOUT);
    ck_assert_double_ge(real_time(), end);
    uco_unref(future);
}
END_TEST

static void *
wait_for_future(void *future)
{
    return (void *) uco_future_wait(future, UCO_FOREVER);
}

START_TEST(several_threads_can_wait_for_one_future)
{
    uco_future *future = uco_future_new();
    pthread_t threads[4];
    void *result;
    int i;

    for (i = 0; i < 4; i++)
        threads[i] = thread_start(wait_for_future, future);
    usleep(1000);
    ck_assert_int_eq(uco_future_set_result(future, 9), 0);
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], &result);
        ck_assert_ptr_eq(result, NUMBER(9));
    }
    uco_unref(future);
}
END_TEST

static void
waits_in_a_callback(void *future)
{
    ck_assert_int_eq(uco_future_wait(future, 0), -EDEADLK);
    discarded++;
}

static intptr_t
waits_in_a_coroutine(void *arg)
{
    uco_future *future = uco_future_new();

    (void) arg;
    ck_assert_int_eq(uco_future_wait(future, UCO_FOREVER), -EDEADLK);
    uco_loop_call_soon(uco_get_running_loop(), waits_in_a_callback, future);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    uco_unref(future);
    return 0;
}

/* X13: a blocking wait inside a running loop is refused: it could only hang. */
START_TEST(future_wait_inside_a_loop_is_refused)
{
    ck_assert_int_eq(run_real(waits_in_a_coroutine, NULL), 0);
    ck_assert_int_eq(discarded, 1);
}
END_TEST

/* The pool */

static intptr_t
job_looks_around(void *arg)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (pthread_equal(pthread_self(), *(pthread_t *) arg) || uco_get_running_loop() != NULL ||
        uco_current_task() != NULL || !sigismember(&mask, SIGINT) || !sigismember(&mask, SIGUSR1))
        return -EBADMSG;
    return uco_sleep(1.0) == -EPERM ? 42 : -EBADMSG;
}

static intptr_t
uses_the_pool(void *arg)
{
    pthread_t self = pthread_self();
    uco_future *job = uco_to_thread_start(job_looks_around, &self);

    (void) arg;
    ck_assert_int_eq(uco_join(job), 42);
    ck_assert_int_eq(uco_to_thread(job_looks_around, &self), 42);
    ck_assert_int_eq(uco_to_thread(body_return, NUMBER(-EIO)), -EIO);
    ck_assert_uint_ge(stats_here().pool_threads, 1);
    while (stats_here().pool_jobs != 0) /* a job is counted until its thread is done with it */
        ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

/* X5: a job runs elsewhere, with signals blocked; results and errors come back. */
START_TEST(a_job_runs_in_another_thread)
{
    ck_assert_int_eq(run_real(uses_the_pool, NULL), 0);
}
END_TEST

static void
pool_in_a_callback(void *arg)
{
    uco_future **job = arg;

    ck_assert_int_eq(uco_to_thread(body_return, NULL), -EPERM);
    *job = uco_to_thread_start(body_return, NUMBER(6));
    ck_assert_ptr_nonnull(*job);
}

static intptr_t
misuses_the_pool(void *arg)
{
    uco_future *job = NULL;

    (void) arg;
    ck_assert_int_eq(uco_to_thread(NULL, NULL), -EINVAL);
    errno = 0;
    ck_assert_ptr_null(uco_to_thread_start(NULL, NULL));
    ck_assert_int_eq(errno, EINVAL);
    uco_loop_call_soon(uco_get_running_loop(), pool_in_a_callback, &job);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_future_set_result(job, 1), -EINVAL);
    ck_assert_int_eq(uco_join(job), 6);
    return 0;
}

START_TEST(the_pool_belongs_to_a_running_loop)
{
    ck_assert_int_eq(uco_to_thread(body_return, NULL), -EPERM);
    errno = 0;
    ck_assert_ptr_null(uco_to_thread_start(body_return, NULL));
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(run_real(misuses_the_pool, NULL), 0);
}
END_TEST

static intptr_t
job_meets_others(void *barrier)
{
    pthread_barrier_wait(barrier);
    return 1;
}

static intptr_t
four_jobs_meet(void *arg)
{
    pthread_barrier_t barrier;
    uco_future *jobs[4];
    int i;

    (void) arg;
    pthread_barrier_init(&barrier, NULL, 4);
    for (i = 0; i < 4; i++)
        jobs[i] = uco_to_thread_start(job_meets_others, &barrier);
    ck_assert_int_eq(uco_gather(jobs, 4, NULL), 0);
    uco_unref_all(jobs, 4);
    pthread_barrier_destroy(&barrier);
    return 0;
}

START_TEST(four_jobs_run_at_the_same_time)
{
    ck_assert_int_eq(run_real(four_jobs_meet, NULL), 0);
}
END_TEST

static intptr_t
hundred_jobs(void *arg)
{
    uco_future *jobs[100];
    intptr_t results[100];
    int i;

    (void) arg;
    for (i = 0; i < 100; i++)
        jobs[i] = uco_to_thread_start(body_return, NUMBER(i));
    ck_assert_int_eq(uco_gather(jobs, 100, results), 0);
    for (i = 0; i < 100; i++)
        ck_assert_int_eq(results[i], i);
    uco_unref_all(jobs, 100);
    return 0;
}

/* X11: more jobs than threads wait for their turn, and all are done. */
START_TEST(a_hundred_jobs_are_all_done)
{
    ck_assert_int_eq(run_real(hundred_jobs, NULL), 0);
}
END_TEST

/* A job that tells that it runs, and ends when it may. */
struct gate {
    sem_t running;
    sem_t open;
};

static void
gate_init(struct gate *gate)
{
    sem_init(&gate->running, 0, 0);
    sem_init(&gate->open, 0, 0);
}

static void
gate_done(struct gate *gate)
{
    sem_destroy(&gate->running);
    sem_destroy(&gate->open);
}

static intptr_t
job_behind_gate(void *arg)
{
    struct gate *gate = arg;

    sem_post(&gate->running);
    while (sem_wait(&gate->open) != 0)
        continue;
    return 7;
}

/*
 * Occupies the pool until a job has to queue: that one, the last of `jobs`, has not started.
 * Returns how many.
 */
enum { MANY_JOBS = 300 };

static int
fill_pool(struct gate *gate, uco_future *jobs[MANY_JOBS])
{
    int n = 0;

    for (;;) {
        uint64_t threads;

        ck_assert_int_lt(n, MANY_JOBS);
        jobs[n++] = uco_to_thread_start(job_behind_gate, gate);
        threads = stats_here().pool_threads;
        if (threads < stats_here().pool_jobs)
            return n;
        await_semaphore(&gate->running);
    }
}

static intptr_t
cancels_a_queued_job(void *arg)
{
    uco_future *jobs[MANY_JOBS];
    struct gate *gate = arg;
    int n = fill_pool(gate, jobs), i;

    ck_assert_int_ge(n, 5); /* four threads at least, and the one that waits */
    ck_assert_int_eq(uco_cancel(jobs[n - 1]), 0);
    ck_assert_int_eq(uco_await(jobs[n - 1]), -ECANCELED);
    for (i = 0; i < n - 1; i++)
        sem_post(&gate->open);
    for (i = 0; i < n - 1; i++)
        ck_assert_int_eq(uco_await(jobs[i]), 7);
    ck_assert_int_ne(sem_trywait(&gate->running), 0); /* the cancelled one never ran */
    uco_unref_all(jobs, (size_t) n);
    return 0;
}

START_TEST(a_job_cancelled_before_it_starts_never_runs)
{
    struct gate gate;

    gate_init(&gate);
    ck_assert_int_eq(run_real(cancels_a_queued_job, &gate), 0);
    gate_done(&gate);
}
END_TEST

static intptr_t
times_out_a_queued_job(void *arg)
{
    uco_future *jobs[MANY_JOBS];
    struct gate *gate = arg;
    int n = fill_pool(gate, jobs), i;
    uco_scope scope;
    intptr_t r;

    ck_assert_int_eq(uco_scope_open(&scope, 0.001), 0);
    r = uco_to_thread(body_return, NULL);
    ck_assert_int_eq(r, -ECANCELED);
    ck_assert_int_eq(uco_scope_close(&scope, r), -ETIMEDOUT);
    for (i = 0; i < n; i++)
        sem_post(&gate->open);
    ck_assert_int_eq(uco_gather(jobs, (size_t) n, NULL), 0);
    uco_unref_all(jobs, (size_t) n);
    return 0;
}

START_TEST(a_caller_that_times_out_takes_back_a_queued_job)
{
    struct gate gate;

    gate_init(&gate);
    ck_assert_int_eq(run_real(times_out_a_queued_job, &gate), 0);
    gate_done(&gate);
}
END_TEST

static intptr_t
asks_in_a_cancelled_scope(void *gate)
{
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    return uco_to_thread(job_behind_gate, gate);
}

START_TEST(in_a_cancelled_scope_no_job_is_begun)
{
    struct gate gate;

    gate_init(&gate);
    ck_assert_int_eq(run_real(asks_in_a_cancelled_scope, &gate), -ECANCELED);
    ck_assert_int_ne(sem_trywait(&gate.running), 0);
    gate_done(&gate);
}
END_TEST

static intptr_t
calls_job_behind_gate(void *gate)
{
    intptr_t r = uco_to_thread(job_behind_gate, gate);

    ck_assert_int_eq(uco_sleep(0), -ECANCELED);
    return r;
}

static intptr_t
cancels_the_caller_of_a_running_job(void *arg)
{
    struct gate *gate = arg;
    uco_task *caller = uco_create_task(calls_job_behind_gate, gate);

    await_semaphore(&gate->running);
    ck_assert_int_eq(uco_cancel(caller), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(caller));
    sem_post(&gate->open);
    return uco_join(caller);
}

/*
 * Once started it is completed: the caller keeps waiting, gets the result, and learns of the
 * cancellation afterwards.
 */
START_TEST(a_cancelled_caller_waits_for_a_job_that_runs)
{
    struct gate gate;

    gate_init(&gate);
    ck_assert_int_eq(run_real(cancels_the_caller_of_a_running_job, &gate), 7);
    gate_done(&gate);
}
END_TEST

static intptr_t
cancels_a_running_job(void *arg)
{
    struct gate *gate = arg;
    uco_future *job = uco_to_thread_start(job_behind_gate, gate);

    await_semaphore(&gate->running);
    ck_assert_int_eq(uco_cancel(job), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_result(job), -EINPROGRESS);
    sem_post(&gate->open);
    ck_assert_int_eq(uco_await(job), 7);
    ck_assert_int_eq(uco_cancel(job), -EALREADY);
    uco_unref(job);
    return 0;
}

START_TEST(a_job_that_runs_resolves_when_it_ends)
{
    struct gate gate;

    gate_init(&gate);
    ck_assert_int_eq(run_real(cancels_a_running_job, &gate), 0);
    gate_done(&gate);
}
END_TEST

static intptr_t
job_leaves_its_thread(void *arg)
{
    pthread_exit(arg);
}

static intptr_t
loses_pool_threads(void *arg)
{
    int i;

    for (i = 0; i < 20; i++)
        ck_assert_int_eq(uco_to_thread(job_leaves_its_thread, arg), -ECANCELED);
    ck_assert_int_eq(uco_to_thread(body_return, NUMBER(3)), 3);
    return four_jobs_meet(NULL);
}

START_TEST(a_job_that_ends_its_thread_is_cancelled_and_the_pool_recovers)
{
    ck_assert_int_eq(run_real(loses_pool_threads, NULL), 0);
}
END_TEST

static intptr_t
gets_no_threads(void *arg)
{
    (void) arg;
    uco_test_fail("pthread_create", 1, true, EAGAIN);
    ck_assert_int_eq(uco_to_thread(body_return, NULL), -EAGAIN);
    errno = 0;
    ck_assert_ptr_null(uco_to_thread_start(body_return, NULL));
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(stats_here().pool_jobs, 0);
    uco_test_fail_off();
    return four_jobs_meet(NULL);
}

/* X11: where the system gives no thread the job is refused, and its slot is free again. */
START_TEST(a_job_without_a_thread_is_refused)
{
    ck_assert_int_eq(run_real(gets_no_threads, NULL), 0);
}
END_TEST

static intptr_t
gets_one_thread(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_to_thread(body_return, NUMBER(1)), 1);
    uco_test_fail("pthread_create", 1, true, EAGAIN);
    ck_assert_int_eq(hundred_jobs(NULL), 0);
    uco_test_fail_off();
    return 0;
}

START_TEST(a_pool_that_cannot_grow_works_with_what_it_has)
{
    ck_assert_int_eq(run_real(gets_one_thread, NULL), 0);
}
END_TEST

static intptr_t
gets_no_memory(void *arg)
{
    (void) arg;
    uco_test_fail("malloc", 1, true, ENOMEM);
    errno = 0;
    ck_assert_ptr_null(uco_to_thread_start(body_return, NULL));
    ck_assert_int_eq(errno, ENOMEM);
    uco_test_fail_off();
    return uco_to_thread(body_return, NUMBER(3));
}

START_TEST(a_job_without_memory_is_refused)
{
    ck_assert_int_eq(run_real(gets_no_memory, NULL), 3);
}
END_TEST

struct abandoned {
    struct gate gate;
    uco_future *job;
};

static intptr_t
abandons_a_job(void *arg)
{
    struct abandoned *abandoned = arg;

    abandoned->job = uco_to_thread_start(job_behind_gate, &abandoned->gate);
    await_semaphore(&abandoned->gate.running);
    return 0;
}

/* X12: a job that ends after its loop has closed ends quietly, and its result can be read. */
START_TEST(a_job_may_end_after_its_loop)
{
    struct abandoned abandoned;

    gate_init(&abandoned.gate);
    ck_assert_int_eq(run_real(abandons_a_job, &abandoned), 0);
    ck_assert(!uco_done(abandoned.job));
    sem_post(&abandoned.gate.open);
    ck_assert_int_eq(uco_future_wait(abandoned.job, UCO_FOREVER), 7);
    uco_unref(abandoned.job);
    gate_done(&abandoned.gate);
}
END_TEST

/* X12: also when nobody holds its future any more. */
START_TEST(a_job_that_nobody_waits_for_may_end_after_its_loop)
{
    static struct abandoned abandoned; /* the thread may be in it when this returns */

    gate_init(&abandoned.gate);
    ck_assert_int_eq(run_real(abandons_a_job, &abandoned), 0);
    uco_unref(abandoned.job);
    sem_post(&abandoned.gate.open);
}
END_TEST

struct queued_at_close {
    struct gate gate;
    uco_future *jobs[MANY_JOBS];
    int n;
};

static intptr_t
leaves_a_queued_job(void *arg)
{
    struct queued_at_close *queued = arg;

    queued->n = fill_pool(&queued->gate, queued->jobs);
    return 0;
}

START_TEST(a_job_that_had_not_started_at_close_is_cancelled)
{
    struct queued_at_close queued;
    int i;

    gate_init(&queued.gate);
    ck_assert_int_eq(run_real(leaves_a_queued_job, &queued), 0);
    ck_assert_int_eq(uco_result(queued.jobs[queued.n - 1]), -ECANCELED);
    for (i = 0; i < queued.n; i++)
        sem_post(&queued.gate.open);
    for (i = 0; i < queued.n - 1; i++)
        ck_assert_int_eq(uco_future_wait(queued.jobs[i], UCO_FOREVER), 7);
    uco_unref_all(queued.jobs, (size_t) queued.n);
    gate_done(&queued.gate);
}
END_TEST

/* A loop in a thread */

static intptr_t
tells_its_thread(void *arg)
{
    pthread_t *where = arg;
    int r = uco_sleep(UCO_FOREVER);

    *where = pthread_self();
    return r;
}

START_TEST(stopping_a_loop_thread_cancels_its_tasks_on_their_own_thread)
{
    uco_loop_thread *thread = loop_thread();
    pthread_t where = pthread_self();
    uco_task *task =
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), tells_its_thread, &where);
    uco_task *after = uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), body_return, NULL);

    ck_assert_int_eq(uco_future_wait(after, UCO_FOREVER), 0); /* so the first has begun */
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    ck_assert_int_eq(uco_result(task), -ECANCELED);
    ck_assert(!pthread_equal(where, pthread_self()));
    uco_unref(after);
    uco_unref(task);
}
END_TEST

START_TEST(work_accepted_by_a_loop_thread_is_run_or_reported_cancelled)
{
    uco_loop_thread *thread = loop_thread();
    uco_loop *loop = uco_loop_thread_loop(thread);
    uco_task *tasks[100];
    int i;

    for (i = 0; i < 100; i++)
        tasks[i] = uco_run_coroutine_threadsafe(loop, body_return, NUMBER(i));
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    for (i = 0; i < 100; i++)
        ck_assert(uco_result(tasks[i]) == i || uco_result(tasks[i]) == -ECANCELED);
    uco_unref_all(tasks, 100);
}
END_TEST

static intptr_t
stops_its_own_thread(void *thread)
{
    return uco_loop_thread_stop(thread);
}

START_TEST(a_loop_thread_cannot_stop_itself)
{
    uco_loop_thread *thread = loop_thread();
    uco_task *task =
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), stops_its_own_thread, thread);

    ck_assert_int_eq(uco_future_wait(task, UCO_FOREVER), -EDEADLK);
    uco_unref(task);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
}
END_TEST

static intptr_t
reads_the_clock(void *arg)
{
    double *now = arg;

    *now = uco_time();
    return 0;
}

START_TEST(a_loop_thread_takes_options)
{
    uco_loop_thread *thread =
        uco_loop_thread_start(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});
    double now = -1.0;
    uco_task *task =
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), reads_the_clock, &now);

    ck_assert_int_eq(uco_future_wait(task, UCO_FOREVER), 0);
    ck_assert_double_eq(now, 0.0);
    uco_unref(task);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    errno = 0;
    ck_assert_ptr_null(uco_loop_thread_start(&(uco_loop_options){.spin = -1.0}));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static void
loop_thread_lacks(const char *what, int error)
{
    uco_loop_options options = {.backend = UCO_BACKEND_EPOLL};

    uco_test_fail(what, 1, true, error);
    errno = 0;
    ck_assert_ptr_null(uco_loop_thread_start(&options));
    ck_assert_int_eq(errno, error);
    uco_test_fail_off();
}

START_TEST(a_loop_thread_that_lacks_something_is_not_made)
{
    loop_thread_lacks("malloc", ENOMEM);
    loop_thread_lacks("epoll_create1", EMFILE);
    loop_thread_lacks("pthread_create", EAGAIN);
    ck_assert_int_eq(uco_loop_thread_stop(NULL), 0);
    errno = 0;
    ck_assert_ptr_null(uco_loop_thread_loop(NULL));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static intptr_t
awaits_a_task_of_another_loop(void *task)
{
    return uco_await(task);
}

START_TEST(a_task_can_be_awaited_from_another_loop)
{
    uco_loop_thread *thread = loop_thread();
    uco_future *gate = uco_future_new();
    uco_task *remote = uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread),
                                                    awaits_a_task_of_another_loop, gate);
    pthread_t resolver = thread_start(resolve_later, gate);

    ck_assert_int_eq(run_real(awaits_a_task_of_another_loop, remote), 11);
    pthread_join(resolver, NULL);
    uco_unref(remote);
    uco_unref(gate);
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
}
END_TEST

#define POSTS 300 /* enough for nodes to come back */

static void
count_post(void *arg)
{
    atomic_fetch_add((atomic_int *) arg, 1);
}

/* Nodes that are used again are allocations all the same. */
START_TEST(without_memory_no_post_is_taken_however_many_were_before)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(thread);
    atomic_int ran = 0;

    for (int i = 0; i < POSTS; i++)
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, count_post, &ran), 0);
    while (atomic_load(&ran) != POSTS)
        sched_yield();
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    for (int i = 0; i < POSTS; i++)
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, count_post, &ran), -ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(uco_loop_thread_stop(thread), 0);
    ck_assert_int_eq(atomic_load(&ran), POSTS);
}
END_TEST

static void
add_posts(Suite *suite)
{
    TCase *tc = case_new(suite, "posts");

    tcase_add_test(tc, a_job_has_the_timer_slack_that_was_before_the_loop);
    tcase_add_test(tc, posts_of_eight_threads_all_arrive_in_each_ones_order);
    tcase_add_test(tc, a_massive_queue_of_posts_runs_in_order);
    tcase_add_test(tc, a_post_wakes_a_sleeping_loop);
    tcase_add_test(tc, a_future_set_by_a_thread_wakes_the_sleeping_loop);
    tcase_add_test(tc, no_wake_up_is_lost_between_looking_and_sleeping);
    tcase_add_test(tc, a_callback_that_reposts_itself_starves_nobody);
    tcase_add_test(tc, tasks_that_are_always_ready_starve_nobody);
}

static void
add_submissions(Suite *suite)
{
    TCase *tc = case_new(suite, "submissions and waits");

    tcase_add_checked_fixture(tc, discarded_reset, NULL);
    tcase_add_test(tc, a_submitted_coroutine_gives_its_result_or_error);
    tcase_add_test(tc, a_submitted_coroutine_can_be_cancelled_by_the_submitter);
    tcase_add_test(tc, a_submitted_coroutine_takes_options);
    tcase_add_test(tc, a_submission_that_never_began_is_discarded_at_close);
    tcase_add_test(tc, a_submission_cancelled_before_it_began_is_discarded);
    tcase_add_test(tc, a_submission_without_memory_is_refused);
    tcase_add_test(tc, a_submission_without_a_stack_is_discarded);
    tcase_add_test(tc, a_late_submission_is_refused);
    tcase_add_test(tc, future_wait_tells_what_it_cannot_do);
    tcase_add_test(tc, future_wait_is_not_early);
    tcase_add_test(tc, several_threads_can_wait_for_one_future);
    tcase_add_test(tc, future_wait_inside_a_loop_is_refused);
    tcase_add_test(tc, a_task_can_be_awaited_from_another_loop);
}

static void
add_pool(Suite *suite)
{
    TCase *tc = case_new(suite, "pool");

    tcase_add_test(tc, a_job_runs_in_another_thread);
    tcase_add_test(tc, the_pool_belongs_to_a_running_loop);
    tcase_add_test(tc, four_jobs_run_at_the_same_time);
    tcase_add_test(tc, a_hundred_jobs_are_all_done);
    tcase_add_test(tc, a_job_cancelled_before_it_starts_never_runs);
    tcase_add_test(tc, a_caller_that_times_out_takes_back_a_queued_job);
    tcase_add_test(tc, in_a_cancelled_scope_no_job_is_begun);
    tcase_add_test(tc, a_cancelled_caller_waits_for_a_job_that_runs);
    tcase_add_test(tc, a_job_that_runs_resolves_when_it_ends);
    tcase_add_test(tc, a_job_that_ends_its_thread_is_cancelled_and_the_pool_recovers);
    tcase_add_test(tc, a_job_without_a_thread_is_refused);
    tcase_add_test(tc, a_pool_that_cannot_grow_works_with_what_it_has);
    tcase_add_test(tc, a_job_without_memory_is_refused);
    tcase_add_test(tc, a_job_may_end_after_its_loop);
    tcase_add_test(tc, a_job_that_nobody_waits_for_may_end_after_its_loop);
    tcase_add_test(tc, a_job_that_had_not_started_at_close_is_cancelled);
}

static void
add_loop_thread(Suite *suite)
{
    TCase *tc = case_new(suite, "loop thread");

    tcase_add_test(tc, stopping_a_loop_thread_cancels_its_tasks_on_their_own_thread);
    tcase_add_test(tc, work_accepted_by_a_loop_thread_is_run_or_reported_cancelled);
    tcase_add_test(tc, a_loop_thread_cannot_stop_itself);
    tcase_add_test(tc, a_loop_thread_takes_options);
    tcase_add_test(tc, a_loop_thread_that_lacks_something_is_not_made);
    tcase_add_test(tc, without_memory_no_post_is_taken_however_many_were_before);
}

int
main(void)
{
    Suite *suite = suite_create("thread");

    add_posts(suite);
    add_submissions(suite);
    add_pool(suite);
    add_loop_thread(suite);
    return suite_end(suite);
}
