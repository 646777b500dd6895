/* SPDX-License-Identifier: MIT */

/*
 * How large a task's stack is: what may be asked for, what is there then, and what happens when the
 * system has no room for it, or no guard.
 */
#include "../support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((size_t) 1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define FRAMES (7 * KIB) /* what the functions around the one that is measured need */

#define NO_SANITIZE __attribute__((no_sanitize_address, no_sanitize_thread))

static const size_t bad_sizes[] = {1,       4096,     16 * KIB - 1, GIB + 1,
                                   2 * GIB, GIB *KIB, SIZE_MAX / 2, SIZE_MAX};

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

static uco_task *
create(size_t stack_size, uco_fn *fn, void *arg)
{
    const uco_task_options options = {.stack_size = stack_size};

    return uco_create_task_with(&options, fn, arg);
}

/* --- what may be asked for --- */

static void
never_discarded(void *arg)
{
    (void) arg;
    ck_abort_msg("a task that was not created is not discarded");
}

static intptr_t
bad_sizes_main(void *arg)
{
    uco_task_options options = {.discard = never_discarded};

    (void) arg;
    for (size_t i = 0; i < COUNT(bad_sizes); i++) {
        options.stack_size = bad_sizes[i];
        errno = 0;
        ck_assert_ptr_null(uco_create_task_with(&options, body_return, NULL));
        ck_assert_int_eq(errno, EINVAL);
        errno = 0;
        ck_assert_ptr_null(
            uco_run_coroutine_threadsafe_with(uco_get_running_loop(), &options, body_return, NULL));
        ck_assert_int_eq(errno, EINVAL);
    }
    ck_assert_uint_eq(stats_here().tasks, 1);
    ck_assert_uint_eq(stats_here().tasks_created, 1);
    return uco_join(uco_create_task(body_return, NULL));
}

START_TEST(a_task_with_a_stack_of_no_sensible_size_is_not_created)
{
    unsetenv("UCO_DEBUG"); /* it is misuse */
    ck_assert_int_eq(run_virtual(bad_sizes_main, NULL), 0);
}
END_TEST

START_TEST(a_loop_with_a_stack_of_no_sensible_size_is_not_made)
{
    unsetenv("UCO_DEBUG");
    for (size_t i = 0; i < COUNT(bad_sizes); i++) {
        const uco_loop_options options = {.stack_size = bad_sizes[i]};

        errno = 0;
        ck_assert_ptr_null(uco_loop_new(&options));
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_int_eq(uco_run_with(&options, body_return, NULL), -EINVAL);
    }
}
END_TEST

static intptr_t
zero_main(void *arg)
{
    uco_loop_stats before;

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(body_return, NULL)), 0);
    before = stats_here();
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(uco_join(create(0, body_return, NULL)), 0);
    ck_assert_uint_eq(stats_here().stacks, before.stacks);
    ck_assert_int_eq(uco_join(create(48 * KIB, body_return, NULL)), 0);
    ck_assert_uint_eq(stats_here().stacks, before.stacks + 1);
    return 0;
}

/* _i: of a loop that has the default itself; of one that says a size. */
START_TEST(zero_is_the_loops_own_size)
{
    const uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL,
                                      .stack_size = _i == 0 ? 0 : 96 * KIB};

    ck_assert_int_eq(uco_run_with(&options, zero_main, NULL), 0);
}
END_TEST

/* --- what is there --- */

/* Keeps so many bytes of its stack over a suspension. */
static intptr_t
fills_its_stack(void *bytes)
{
    size_t size = (size_t) bytes;
    volatile unsigned char *frame = __builtin_alloca(size);

    for (size_t i = 0; i < size; i++)
        frame[i] = (unsigned char) (i % 251);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    for (size_t i = 0; i < size; i++) {
        if (frame[i] != i % 251)
            ck_abort_msg("byte %zu of %zu", i, size);
    }
    return 1;
}

static intptr_t
fills_main(void *arg)
{
    static const size_t sizes[] = {16 * KIB, 16 * KIB + 1, 20000, 65535, 65537, 100001, 1000001};
    uco_task *tasks[40]; /* more than there are colours of stacks */

    (void) arg;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t k = 0; k < COUNT(tasks); k++)
            tasks[k] = create(sizes[i], fills_its_stack, (void *) (sizes[i] - FRAMES));
        for (size_t k = 0; k < COUNT(tasks); k++)
            ck_assert_int_eq(uco_join(tasks[k]), 1);
    }
    return 0;
}

START_TEST(a_size_is_rounded_up_to_pages_and_all_of_it_can_be_used)
{
    ck_assert_int_eq(run_virtual(fills_main, NULL), 0);
}
END_TEST

/* Writes so far below its own frame. */
static NO_SANITIZE __attribute__((noinline)) void
write_below(size_t bytes)
{
    char here;

    *(volatile char *) ((uintptr_t) &here - bytes) = 1;
}

static intptr_t
writes_at_both_ends(void *bytes)
{
    write_below(4 * KIB);
    write_below((size_t) bytes - 16 * KIB);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    return 1;
}

static long
resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long size, resident;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

static intptr_t
huge_main(void *arg)
{
    size_t size = under_sanitizer() ? 32 * MIB : GIB;
    long before = resident_pages();
    uco_task *tasks[3];

    (void) arg;
    for (int i = 0; i < 3; i++)
        tasks[i] = create(size, writes_at_both_ends, (void *) size);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_ge(stats_here().stack_bytes, 3 * size);
    /* An emulator keeps books of its own on each page of a mapping. */
    if (!under_sanitizer() && getenv("UCO_TEST_EMULATED") == NULL)
        ck_assert_int_le(resident_pages() - before, 500);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_join(tasks[i]), 1);
    return 0;
}

START_TEST(the_largest_stack_is_only_address_space)
{
    ck_assert_int_eq(run_virtual(huge_main, NULL), 0);
}
END_TEST

/* --- no room --- */

static int discarded;

static void
count_discarded(void *arg)
{
    (void) arg;
    discarded++;
}

/* Sanitizers take terabytes for themselves, and an emulator does not limit its guest. */
static bool
address_space_can_be_limited(void)
{
    if (!under_sanitizer() && getenv("UCO_TEST_EMULATED") == NULL)
        return true;
    test_skipped("address space cannot be limited here");
    return false;
}

/* Leaves the process so much more address space than it has. */
static struct rlimit
limit_address_space(size_t more)
{
    struct rlimit before, limit;
    FILE *file = fopen("/proc/self/statm", "re");
    long pages;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld", &pages), 1);
    fclose(file);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t) pages * (rlim_t) sysconf(_SC_PAGESIZE) + more;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    return before;
}

enum { LARGE = 20 };

/* All at once, of which only a few fit; how many ran. */
static int
run_large(void)
{
    const uco_task_options options = {.stack_size = 16 * MIB, .discard = count_discarded};
    uco_task *tasks[LARGE], *small[50];
    int ran = 0;

    discarded = 0;
    for (int i = 0; i < LARGE; i++)
        tasks[i] = uco_create_task_with(&options, body_sleep_1s, NULL);
    ck_assert_int_eq(uco_sleep(0.5), 0);
    for (size_t i = 0; i < COUNT(small); i++)
        small[i] = create(16 * KIB, fills_its_stack, (void *) (4 * KIB));
    for (size_t i = 0; i < COUNT(small); i++)
        ck_assert_int_eq(uco_join(small[i]), 1);
    for (int i = 0; i < LARGE; i++) {
        intptr_t r = uco_join(tasks[i]);

        ck_assert(r == 0 || r == -ENOMEM);
        ran += r == 0;
    }
    ck_assert_int_eq(ran + discarded, LARGE);
    return ran;
}

static intptr_t
no_room_main(void *arg)
{
    struct rlimit before = limit_address_space(100 * MIB);
    int ran = run_large();

    (void) arg;
    ck_assert_int_ge(ran, 2);
    ck_assert_int_lt(ran, 8);
    ck_assert_int_eq(run_large(), ran); /* the same again: nothing was lost */
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    ck_assert_int_eq(run_large(), LARGE);
    ck_assert_uint_eq(stats_here().tasks, 1);
    return 0;
}

/* A2. This is also what vm.overcommit_memory=2 comes down to: mmap says no. That is the whole
 * machine's and cannot be set for a test. */
START_TEST(without_room_for_their_stacks_tasks_end_with_enomem_and_others_run)
{
    if (address_space_can_be_limited())
        ck_assert_int_eq(run_virtual(no_room_main, NULL), 0);
}
END_TEST

static intptr_t
other_sizes_main(void *arg)
{
    enum { OTHERS = 80, STAY = 20 };
    struct rlimit before = limit_address_space(100 * MIB);
    uco_task *tasks[OTHERS];

    (void) arg;
    for (int i = 0; i < OTHERS; i++)
        tasks[i] = create(MIB, i < STAY ? body_sleep_forever : body_sleep_1s, NULL);
    for (int i = STAY; i < OTHERS; i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
    /* What these leave behind, though it was needed right now, must not be in the way. */
    ck_assert_int_ge(run_large(), 1);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    for (int i = 0; i < STAY; i++) {
        ck_assert_int_eq(uco_cancel(tasks[i]), 0);
        ck_assert_int_eq(uco_join(tasks[i]), -ECANCELED);
    }
    return 0;
}

/* A2 */
START_TEST(stacks_that_are_only_kept_ready_make_room_for_others)
{
    if (address_space_can_be_limited())
        ck_assert_int_eq(run_fifo(other_sizes_main, NULL), 0); /* else some stay in each slab */
}
END_TEST

/* --- guards --- */

/* Forks, and the child writes down its own stack, page by page, for so many bytes. */
static intptr_t
overflows_in_a_child(void *bytes)
{
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would report it and exit */
        for (size_t depth = 0; depth <= (size_t) bytes; depth += 2 * KIB)
            write_below(depth + KIB);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static intptr_t
guards_main(void *arg)
{
    const size_t factor = under_sanitizer() ? 4 : 1;
    const size_t size = 32 * KIB;
    uco_task *tasks[100];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = create(size, body_sleep_1s, NULL);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(stats_here().stacks_unguarded, 0);
    ck_assert_int_eq(uco_join(create(size, overflows_in_a_child, (void *) (size * factor))),
                     SIGSEGV);
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
    return 0;
}

/* _i: with guards of the first choice; on a kernel that does not have those. */
START_TEST(a_task_that_overflows_its_stack_dies_by_its_guard)
{
    if (_i == 0 && getenv("UCO_TEST_EMULATED") != NULL) {
        test_skipped("an emulator takes MADV_GUARD_INSTALL for a hint");
        return;
    }
    if (_i == 1)
        ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    ck_assert_int_eq(run_virtual(guards_main, NULL), 0);
}
END_TEST

static long
map_count_max(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    long count = 0;

    if (file == NULL || fscanf(file, "%ld", &count) != 1)
        count = 0;
    if (file != NULL)
        fclose(file);
    return count;
}

enum { BEYOND = 300 };

static intptr_t
beyond_main(void *guarded)
{
    long count = (long) (intptr_t) guarded + BEYOND;
    int ended = 0;

    for (int round = 0; round < 2; round++) {
        uco_task **tasks = calloc((size_t) count, sizeof *tasks);

        for (long i = 0; i < count; i++)
            tasks[i] = create(16 * KIB, body_sleep_1s, NULL);
        ck_assert_int_eq(uco_test_settle(), 0);
        ck_assert_uint_ge(stats_here().stacks_unguarded, BEYOND);
        ck_assert_uint_le(stats_here().stacks_unguarded, BEYOND + 10);
        for (long i = 0; i < count; i++)
            ended += uco_join(tasks[i]) == 0;
        free(tasks);
    }
    ck_assert_int_eq(ended, 2 * (int) count);
    return 0;
}

/* Each guard by mprotect makes two mappings, and half of those that a process may have are for
 * others. What is beyond goes without; the second loop begins anew. */
START_TEST(beyond_the_mappings_there_may_be_stacks_have_no_guard_and_that_is_reported_once)
{
    long most = map_count_max() / 4;
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    if (under_sanitizer() || most == 0 || most > 20000)
        return;
    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    for (int round = 0; round < 2; round++) {
        reports.count = 0;
        ck_assert_int_eq(uco_run_with(&options, beyond_main, (void *) most), 0);
        ck_assert_uint_eq(reports.count, 1);
        ck_assert_ptr_nonnull(strstr(reports.last, "guard"));
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stack size");
    TCase *tc = case_new(suite, "sizes");

    tcase_add_test(tc, a_task_with_a_stack_of_no_sensible_size_is_not_created);
    tcase_add_test(tc, a_loop_with_a_stack_of_no_sensible_size_is_not_made);
    tcase_add_loop_test(tc, zero_is_the_loops_own_size, 0, 2);
    tcase_add_test(tc, a_size_is_rounded_up_to_pages_and_all_of_it_can_be_used);
    tcase_add_test(tc, the_largest_stack_is_only_address_space);

    tc = case_new(suite, "no room");
    tcase_add_test(tc, without_room_for_their_stacks_tasks_end_with_enomem_and_others_run);
    tcase_add_test(tc, stacks_that_are_only_kept_ready_make_room_for_others);

    tc = case_new(suite, "guards");
    tcase_add_loop_test(tc, a_task_that_overflows_its_stack_dies_by_its_guard, 0, 2);
    tcase_add_test(tc,
                   beyond_the_mappings_there_may_be_stacks_have_no_guard_and_that_is_reported_once);
    return suite_end(suite);
}
