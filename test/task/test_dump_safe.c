/* SPDX-License-Identifier: MIT */
/* uco_dump() where it is hard: in signal handlers that have interrupted anything, from other
 * threads, of loops that hang, of memory that is damaged, and of many tasks. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/dumped.h"

#include "task/dump.h"
#include "task/runtime.h"
#include "task/task.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/time.h>

static void
end_all(uco_task *tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        uco_cancel(tasks[i]);
    for (size_t i = 0; i < n; i++)
        uco_join(tasks[i]);
}

/* --- in a handler --- */

static uco_loop *storm_loop;
static int storm_fd;
static atomic_uint storm_dumps;
static atomic_int storm_error;

static void
storm_handle(int signo)
{
    int r = uco_dump(storm_loop, storm_fd);

    (void) signo;
    if (r < 0)
        atomic_store(&storm_error, r);
    atomic_fetch_add(&storm_dumps, 1);
}

static bool
storm_goes_on(void)
{
    return atomic_load(&storm_dumps) < (unsigned) scaled(2000);
}

static void
storm_begin(void)
{
    struct sigaction action = {.sa_handler = storm_handle, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct itimerval often = {.it_interval.tv_usec = 200, .it_value.tv_usec = 200};

    storm_stop(); /* of the suite's own */
    storm_loop = uco_get_running_loop();
    storm_fd = open("/dev/null", O_WRONLY);
    ck_assert_int_ge(storm_fd, 0);
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
}

static void
storm_end(void)
{
    struct itimerval never = {0};

    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_eq(signal(SIGALRM, SIG_IGN) == SIG_ERR, false);
    close(storm_fd);
    ck_assert_int_eq(atomic_load(&storm_error), 0);
}

static intptr_t
yields_in_the_storm(void *arg)
{
    (void) arg;
    while (storm_goes_on())
        uco_yield();
    return 0;
}

static intptr_t
makes_children_in_the_storm(void *arg)
{
    while (storm_goes_on()) {
        uco_task *tasks[] = {uco_create_task(body_return, arg), named("named", body_return, arg)};

        uco_gather(tasks, COUNT(tasks), NULL);
        uco_unref_all(tasks, COUNT(tasks));
    }
    return 0;
}

static intptr_t
locks_in_the_storm(void *lock)
{
    while (storm_goes_on()) {
        ck_assert_int_eq(uco_lock_acquire(lock), 0);
        uco_yield();
        ck_assert_int_eq(uco_lock_release(lock), 0);
    }
    return 0;
}

static intptr_t
allocates_in_the_storm(void *arg)
{
    (void) arg;
    while (storm_goes_on()) {
        void *blocks[50];

        for (size_t i = 0; i < COUNT(blocks); i++)
            blocks[i] = malloc(100 * i);
        for (size_t i = 0; i < COUNT(blocks); i++)
            free(blocks[i]);
        uco_yield();
    }
    return 0;
}

static intptr_t
weathers(void *arg)
{
    uco_lock lock = {0};
    uco_task *tasks[] = {
        named("yields", yields_in_the_storm, arg),
        named("yields", yields_in_the_storm, arg),
        named("makes", makes_children_in_the_storm, arg),
        named("locks", locks_in_the_storm, &lock),
        named("locks", locks_in_the_storm, &lock),
        named("allocates", allocates_in_the_storm, arg),
    };

    storm_begin();
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
    storm_end();
    return 0;
}

START_TEST(a_handler_may_interrupt_the_switch_malloc_and_the_lists)
{
    ck_assert_int_eq(run_real(weathers, NULL), 0);
    ck_assert_uint_ge(atomic_load(&storm_dumps), (unsigned) scaled(2000));
}
END_TEST

/* --- damage --- */

static intptr_t
has_damaged_children(void *arg)
{
    uco_task *tasks[] = {
        named("first", body_sleep_forever, arg),
        named("second", body_sleep_forever, arg),
        named("third", body_sleep_forever, arg),
    };
    struct uco__task *first = (struct uco__task *) tasks[0];
    struct uco__task *second = (struct uco__task *) tasks[1];
    struct uco__list *const wrong[] = {
        NULL,
        (struct uco__list *) 16,
        (struct uco__list *) (uintptr_t) INTPTR_MAX,
        &first->sibling,
        &second->sibling,
        &first->children,
        (struct uco__list *) (void *) tasks,
    };
    struct uco__list *right = second->sibling.next;

    ck_assert_int_eq(uco_test_settle(), 0);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const char *text;

        second->sibling.next = wrong[i];
        text = dumped(uco_get_running_loop());
        second->sibling.next = right;
        ck_assert_tells(text, "task 'second' (");
        ck_assert_tells(text, "the list of tasks is damaged");
        ck_assert_tells_not(text, "'third'");
    }
    ck_assert_tells(dumped(uco_get_running_loop()), "'third'");
    end_all(tasks, COUNT(tasks));
    return 0;
}

START_TEST(a_damaged_list_of_tasks_is_left_with_a_message)
{
    ck_assert_int_eq(run_virtual(has_damaged_children, NULL), 0);
}
END_TEST

static uco_lock crossed[2];

static intptr_t
locks_crosswise(void *first)
{
    uco_lock *own = first, *other = own == &crossed[0] ? &crossed[1] : &crossed[0];
    int r;

    ck_assert_int_eq(uco_lock_acquire(own), 0);
    r = uco_sleep(1);
    if (r == 0)
        r = uco_lock_acquire(other);
    if (r == 0)
        uco_lock_release(other);
    uco_lock_release(own);
    return r;
}

static const char *
dumped_from_outside(void)
{
    int fd = dumped_file();

    ck_assert_int_eq(uco__dump_loop(uco__runtime_of(uco_get_running_loop()), fd, UCO__DUMP_OUTSIDE),
                     0);
    return dumped_text(fd);
}

static intptr_t
is_read_more_and_more(void *arg)
{
    uco_task *tasks[] = {
        named("left", locks_crosswise, &crossed[0]),
        named("right", locks_crosswise, &crossed[1]),
    };
    char *whole;

    (void) arg;
    ck_assert_int_eq(uco_sleep(2), 0);
    whole = strdup(dumped_from_outside());
    ck_assert_tells(whole, "a circle, in which each waits");
    for (unsigned long nth = 1;; nth++) {
        const char *text;

        ck_assert_int_eq(uco_test_fail("process_vm_readv", nth, true, EFAULT), 0);
        text = dumped_from_outside();
        uco_test_fail_off();
        if (strcmp(text, whole) == 0)
            break;
    }
    free(whole);
    end_all(tasks, COUNT(tasks));
    return 0;
}

/* A task that another thread ends while it is looked at is there no more at the next look. */
START_TEST(what_can_be_read_no_more_at_any_moment_does_not_keep_the_dump)
{
    ck_assert_int_eq(run_virtual(is_read_more_and_more, NULL), 0);
}
END_TEST

static intptr_t
has_a_child_with_damaged_insides(void *arg)
{
    uco_task *task = named("damaged", body_sleep_forever, arg);
    struct uco__task *inside = (struct uco__task *) task;
    struct uco__fiber *fiber = uco__task_fiber(inside);
    struct uco__wait *wait;
    struct uco__wait copy = {0};
    struct uco__stack *stack = fiber->stack;
    const char *file = inside->file;

    ck_assert_int_eq(uco_test_settle(), 0);
    wait = fiber->wait;
    stack = fiber->stack;
    fiber->wait = (struct uco__wait *) 8;
    fiber->stack = (struct uco__stack *) 24;
    inside->file = (const char *) 3;
    inside->scope = (struct uco__scope *) 40;
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "damaged"),
                    "waits for something that cannot be read");
    copy = *wait;
    copy.kind = (const struct uco__wait_kind *) (void *) &copy; /* is not one */
    fiber->wait = &copy;
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "damaged"),
                    "waits for something that cannot be read");
    fiber->wait = wait;
    fiber->stack = stack;
    inside->file = file;
    inside->scope = &inside->root;
    ck_assert_tells(dumped_line(dumped(uco_get_running_loop()), "damaged"), "waits for a sleep");
    end_all(&task, 1);
    return 0;
}

START_TEST(damaged_tasks_are_told_as_far_as_they_can_be_read)
{
    ck_assert_int_eq(run_virtual(has_a_child_with_damaged_insides, NULL), 0);
}
END_TEST

/* --- other threads --- */

static intptr_t
starts_a_sleeper(void *arg)
{
    uco_unref(named("sleeper", body_sleep_forever, arg));
    return uco_sleep(UCO_FOREVER);
}

START_TEST(another_thread_may_ask_a_loop_that_sleeps)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(thread);
    uco_task *task = uco_run_coroutine_threadsafe(loop, starts_a_sleeper, NULL);
    const char *text;

    do
        text = dumped(loop);
    while (strstr(text, "task 'sleeper' (") == NULL ||
           strstr(text, "waits for a sleep without end; since ") == NULL);
    ck_assert_tells_not(text, "from outside");
    uco_loop_thread_stop(thread);
    uco_unref(task);
}
END_TEST

static void *
asks_again_and_again(void *loop)
{
    int fd = open("/dev/null", O_WRONLY);

    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(uco_dump(loop, fd), 0);
    close(fd);
    return NULL;
}

static intptr_t
makes_tasks_while_asked(void *stop)
{
    while (!atomic_load((atomic_bool *) stop))
        uco_join(uco_create_task(yields_in_the_storm, NULL));
    return 0;
}

START_TEST(several_threads_may_ask_at_once)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_loop *loop = uco_loop_thread_loop(thread);
    atomic_bool stop = false;
    uco_task *task;
    pthread_t askers[3];

    atomic_store(&storm_dumps, 1000000); /* none is awaited */
    task = uco_run_coroutine_threadsafe(loop, makes_tasks_while_asked, &stop);
    for (size_t i = 0; i < COUNT(askers); i++)
        ck_assert_int_eq(pthread_create(&askers[i], NULL, asks_again_and_again, loop), 0);
    for (size_t i = 0; i < COUNT(askers); i++)
        pthread_join(askers[i], NULL);
    atomic_store(&stop, true);
    ck_assert_int_eq(uco_future_wait(task, UCO_FOREVER), 0);
    uco_unref(task);
    uco_loop_thread_stop(thread);
}
END_TEST

static atomic_int hangs; /* 1: it does; 2: it is to go on */

static void
hang(void *arg)
{
    (void) arg;
    atomic_store(&hangs, 1);
    while (atomic_load(&hangs) != 2)
        usleep(1000);
}

START_TEST(a_loop_that_hangs_is_read_from_outside)
{
    uco_loop_options options = {.slow_callback = UCO_FOREVER};
    uco_loop_thread *thread = uco_loop_thread_start(&options);
    uco_loop *loop = uco_loop_thread_loop(thread);
    uco_task *task = uco_run_coroutine_threadsafe(loop, starts_a_sleeper, NULL);
    const char *text;

    do
        text = dumped(loop);
    while (strstr(text, "waits for a sleep without end; since ") == NULL);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, hang, NULL), 0);
    while (atomic_load(&hangs) != 1)
        usleep(1000);
    text = dumped(loop);
    ck_assert_tells(text, "it has not answered for a second");
    ck_assert_tells(dumped_line(text, "sleeper"), "waits for a sleep without end");
    atomic_store(&hangs, 2);
    ck_assert_tells_not(dumped(loop), "it has not answered");
    uco_loop_thread_stop(thread);
    uco_unref(task);
}
END_TEST

/* --- many --- */

static intptr_t
has_many_children(void *arg)
{
    size_t n = (size_t) scaled(100000), told = 0;
    uco_task **tasks = calloc(n, sizeof *tasks);
    const char *text;

    for (size_t i = 0; i < n; i++)
        tasks[i] = uco_create_task(body_sleep_forever, arg);
    ck_assert_int_eq(uco_test_settle(), 0);
    text = dumped(uco_get_running_loop());
    for (const char *at = text; (at = strstr(at, "waits for a sleep without end; ")) != NULL; at++)
        told++;
    ck_assert_uint_eq(told, n);
    end_all(tasks, n);
    free(tasks);
    return 0;
}

START_TEST(a_hundred_thousand_tasks_are_told)
{
    ck_assert_int_eq(run_virtual(has_many_children, NULL), 0);
}
END_TEST

static intptr_t
has_a_child_below(void *depth)
{
    if (depth == NULL)
        return uco_sleep(UCO_FOREVER);
    return uco_join(uco_create_task(has_a_child_below, (void *) ((uintptr_t) depth - 1)));
}

static intptr_t
has_a_deep_tree(void *arg)
{
    uco_task *task = uco_create_task(has_a_child_below, (void *) (uintptr_t) 200);
    const char *text;

    (void) arg;
    ck_assert_int_eq(uco_test_settle(), 0);
    text = dumped(uco_get_running_loop());
    ck_assert_tells(text, "(level 200) task ");
    ck_assert_tells(text, ": 202 tasks, ");
    end_all(&task, 1);
    return 0;
}

START_TEST(a_deep_tree_stays_readable)
{
    ck_assert_int_eq(run_virtual(has_a_deep_tree, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump, safe");
    TCase *handlers = case_new(suite, "handlers");
    TCase *damage = case_new(suite, "damage");
    TCase *threads = case_new(suite, "threads");
    TCase *many = case_new(suite, "many");

    tcase_add_test(handlers, a_handler_may_interrupt_the_switch_malloc_and_the_lists);
    tcase_add_test(damage, a_damaged_list_of_tasks_is_left_with_a_message);
    tcase_add_test(damage, what_can_be_read_no_more_at_any_moment_does_not_keep_the_dump);
    tcase_add_test(damage, damaged_tasks_are_told_as_far_as_they_can_be_read);
    tcase_add_test(threads, another_thread_may_ask_a_loop_that_sleeps);
    tcase_add_test(threads, several_threads_may_ask_at_once);
    tcase_add_test(threads, a_loop_that_hangs_is_read_from_outside);
    tcase_add_test(many, a_hundred_thousand_tasks_are_told);
    tcase_add_test(many, a_deep_tree_stays_readable);
    return suite_end(suite);
}
