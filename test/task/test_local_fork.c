/* SPDX-License-Identifier: MIT */

/*
 * Task-local storage in the child of a fork.
 */

#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STUCK 10 /* seconds */
#define FORKS (under_sanitizer() ? 20 : 200)

static uco_local key; /* made before the fork */
static atomic_bool stop;
static atomic_ulong made;
static atomic_ulong failed;

/* In a child nothing is asserted: it exits with the number of what went wrong, or 0. */
static void
assert_child(int (*fn)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        signal(SIGALRM, SIG_DFL); /* not Check's handler */
        alarm(CHILD_STUCK);
        _exit(fn());
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status), "the child was killed by signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

/* Asserts nothing either: what Check allocates for that in a thread is lost to a child. */
static void *
make_keys(void *arg)
{
    uco_local other;

    while (!atomic_load(&stop)) {
        if (uco_local_new(&other, NULL) != 0 || uco_local_free(other) != 0)
            atomic_fetch_add(&failed, 1);
        atomic_fetch_add(&made, 1);
    }
    return arg;
}

static intptr_t
use_keys(void *arg)
{
    const uco_local *own = arg;
    int a, b;

    if (uco_local_get(key) != NULL || uco_local_set(key, &a) != 0 || uco_local_get(key) != &a)
        return 1;
    if (uco_local_get(*own) != NULL || uco_local_set(*own, &b) != 0 || uco_local_get(*own) != &b)
        return 2;
    return uco_local_free(*own) == 0 && uco_local_get(key) == &a ? 0 : 3;
}

static int
child_with_a_loop(void)
{
    uco_local own;

    return uco_local_new(&own, NULL) == 0 ? (int) run_virtual(use_keys, &own) : 4;
}

START_TEST(a_child_has_keys_though_another_thread_was_making_one_at_the_fork)
{
    pthread_t threads[2];
    unsigned long before;

    if (getenv("UCO_TEST_VALGRIND") != NULL)
        return; /* it runs one thread at a time, and the one that forks hardly ever */
    ck_assert_int_eq(uco_local_new(&key, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_keys, NULL), 0);
    for (int i = 0; i < FORKS; i++)
        assert_child(child_with_a_loop);
    before = atomic_load(&made);
    while (atomic_load(&made) == before) /* the parent's go on */
        sched_yield();
    atomic_store(&stop, true);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&failed), 0);
    ck_assert_int_eq(uco_local_free(key), 0);
}
END_TEST

static int
child_in_a_coroutine(void)
{
    uco_local own;
    int value;

    if (uco_local_set(key, &value) != -ESTALE)
        return 1;
    errno = 0;
    if (uco_local_get(key) != NULL || errno != ESTALE)
        return 2;
    return uco_local_new(&own, NULL) == 0 && uco_local_free(own) == 0 ? 0 : 3;
}

static intptr_t
forks_main(void *arg)
{
    int value;

    (void) arg;
    ck_assert_int_eq(uco_local_set(key, &value), 0);
    assert_child(child_in_a_coroutine);
    ck_assert_ptr_eq(uco_local_get(key), &value);
    return 0;
}

START_TEST(a_task_that_forks_has_no_values_in_the_child)
{
    ck_assert_int_eq(uco_local_new(&key, NULL), 0);
    ck_assert_int_eq(run_virtual(forks_main, NULL), 0);
    ck_assert_int_eq(uco_local_free(key), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("local fork");
    TCase *tcase = case_new(suite, "fork");

    unsetenv("UCO_DEBUG");
    tcase_add_test(tcase, a_child_has_keys_though_another_thread_was_making_one_at_the_fork);
    tcase_add_test(tcase, a_task_that_forks_has_no_values_in_the_child);
    return suite_end(suite);
}
