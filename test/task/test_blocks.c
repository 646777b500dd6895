/* SPDX-License-Identifier: MIT */

/*
 * The memory of tasks, their control blocks and stacks: it goes back to the system after a burst,
 * whoever created the tasks and whoever dropped them, also after their loop.
 */
#include "../support/support.h"

#include "core/trim.h"
#include "task/runtime.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define SLAB 64 /* stacks a slab, once there are many */

enum { HANDLES = 2000 };

static uco_task *handles[HANDLES];

static const struct uco__task_blocks *
blocks_of(const uco_loop *loop)
{
    return &uco__runtime_of(loop)->blocks;
}

static uco_loop_stats
stats_here(void)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
    return stats;
}

/* What a loop does once a second, n times; or in slices. */
static void
periods(int n)
{
    for (int i = 0; i < n; i++) {
        uco_get_running_loop()->trim_at = 0;
        ck_assert_int_eq(uco_sleep(0.0001), 0);
    }
}

/* A thread does fn(arg) while the loop stands still. */
static void
in_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* A field of a file of /proc, in KiB. */
static long
read_field(const char *path, const char *name)
{
    char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    const char *field;

    close(fd);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    field = strstr(text, name);
    ck_assert_ptr_nonnull(field);
    return strtol(field + strlen(name), NULL, 10);
}

/* Without the code, of which ever more is read in. Counted page by page: what statm tells may be
 * late by some hundred KiB. */
static long
resident_kib(void)
{
    return read_field("/proc/self/smaps_rollup", "\nAnonymous:");
}

static long
tables_kib(void)
{
    return read_field("/proc/self/status", "\nVmPTE:");
}

/* --- bursts --- */

static int ended;

static intptr_t
ends_at_once(void *arg)
{
    ended++;
    return (intptr_t) arg;
}

static intptr_t
waits_on_its_stack(void *gate)
{
    volatile char frame[2 * 4096];
    intptr_t r;

    memset((void *) (uintptr_t) frame, 1, sizeof frame);
    r = uco_await(gate);
    for (size_t i = 0; i < sizeof frame; i++) {
        if (frame[i] != 1)
            return -EBADMSG;
    }
    ended += r == 7;
    return r;
}

/* So many tasks at once, that never suspend. */
static void
burst_short(int n)
{
    ended = 0;
    for (int i = 0; i < n; i++)
        uco_unref(uco_create_task(ends_at_once, NULL));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(ended, n);
}

/* So many that all wait. */
static void
burst_parked(int n)
{
    uco_future *gate = uco_future_new();

    ended = 0;
    for (int i = 0; i < n; i++)
        uco_unref(uco_create_task(waits_on_its_stack, gate));
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_ge(stats_here().stacks, (uint64_t) n);
    ck_assert_int_eq(uco_future_set_result(gate, 7), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(ended, n);
    uco_unref(gate);
}

static intptr_t
bursts_main(void *arg)
{
    int n = under_sanitizer() ? 500 : 3000;
    uco_future *gate = uco_future_new();

    (void) arg;
    for (int round = 0; round < 3; round++) {
        burst_parked(n);
        uco_unref(uco_create_task(waits_on_its_stack, gate));
        periods(60);
        ck_assert_uint_eq(stats_here().stacks_in_use, 2 + (uint64_t) round);
        ck_assert_uint_le(stats_here().stacks, 4 * SLAB);
        burst_parked(n);
        periods(60);
    }
    ck_assert_int_eq(uco_future_set_result(gate, 7), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(ended, n + 3);
    uco_unref(gate);
    return 0;
}

/* _i: on the real clock; on the virtual one. */
START_TEST(a_loop_gives_back_what_its_tasks_no_longer_need)
{
    ck_assert_int_eq((_i == 0 ? run_real : run_virtual)(bursts_main, NULL), 0);
}
END_TEST

static struct {
    void (*burst)(int n);
    int tasks;
} load;

/* What may be left of page tables: those of the control blocks, whose address space stays (4 KiB
 * for 2 MiB), and a few where the stacks that are kept ready lie elsewhere now. */
static long
tables_left_kib(void)
{
    return (long) (blocks_of(uco_get_running_loop())->segments * 64 / 512) + 40;
}

static intptr_t
load_main(void *arg)
{
    long resident, tables;

    (void) arg;
    load.burst(2000); /* what is needed once */
    periods(50);
    resident = resident_kib();
    tables = tables_kib();
    load.burst(load.tasks);
    ck_assert_int_ge(resident_kib(), 2 * resident);
    periods(400);
    ck_assert_int_le(resident_kib(), resident + resident / 10);
    ck_assert_int_le(tables_kib(), tables + tables / 10 + tables_left_kib());
    return 0;
}

/* _i: which. Sanitizers and emulators have memory of their own for each byte of ours. */
START_TEST(what_a_burst_of_tasks_took_comes_back)
{
    if (under_sanitizer() || getenv("UCO_TEST_EMULATED") != NULL) {
        test_skipped("what this process takes is not only the library's");
        return;
    }
    load.burst = _i == 0 ? burst_short : burst_parked;
    load.tasks = _i == 0 ? 100000 : 20000;
    ck_assert_int_eq(run_real(load_main, NULL), 0);
}
END_TEST

static intptr_t
idle_main(void *arg)
{
    (void) arg;
    burst_parked(1000);
    return uco_sleep(2.5);
}

/* Without anything to do it wakes up for that by itself; and when it is done, no more. */
START_TEST(an_idle_loop_wakes_up_to_give_memory_back)
{
    uco_loop *loop = uco_loop_new(NULL);
    uint64_t polls;

    storm_stop();
    ck_assert_int_eq(uco_loop_run_until_complete(loop, idle_main, NULL), 0);
    ck_assert_uint_le(loop->stacks.count, 4 * SLAB);
    polls = loop->polls;
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_sleep_1s, NULL), 0);
    ck_assert_uint_le(loop->polls - polls, 5);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
hot_main(void *arg)
{
    const struct uco__task_blocks *blocks = blocks_of(uco_get_running_loop());
    size_t bare;

    (void) arg;
    burst_short(5000);
    periods(1);
    bare = blocks->bare_count;
    for (int i = 0; i < 10; i++) {
        burst_short(5000);
        periods(1);
        ck_assert_uint_eq(blocks->bare_count, bare);
    }
    periods(20);
    ck_assert_uint_ge(blocks->bare_count, blocks->segments - 1);
    ck_assert(!uco__task_blocks_have_spare(blocks));
    burst_short(5000);
    return 0;
}

START_TEST(blocks_that_each_period_needs_stay)
{
    ck_assert_int_eq(run_virtual(hot_main, NULL), 0);
}
END_TEST

static intptr_t
kept_main(void *arg)
{
    const struct uco__task_blocks *blocks = blocks_of(uco_get_running_loop());
    size_t bare;

    (void) arg;
    burst_short(5000);
    bare = blocks->bare_count;
    ck_assert_int_eq(uco_test_fail("madvise", 1, true, EINVAL), 0);
    periods(20);
    ck_assert_uint_eq(blocks->bare_count, bare);
    burst_short(5000);
    uco_test_fail_off();
    ck_assert_uint_eq(blocks->bare_count, bare);
    periods(20);
    ck_assert_uint_ge(blocks->bare_count, blocks->segments - 1);
    return 0;
}

START_TEST(blocks_that_cannot_be_given_back_are_used_again)
{
    ck_assert_int_eq(run_virtual(kept_main, NULL), 0);
}
END_TEST

/* --- no memory --- */

/* Until there is no free block. */
static int
create_until_no_memory(void)
{
    int n = 0;
    uco_task *task;

    ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
    errno = 0;
    for (; (task = uco_create_task(ends_at_once, NULL)) != NULL; n++)
        uco_unref(task);
    ck_assert_int_eq(errno, ENOMEM);
    uco_test_fail_off();
    return n;
}

static intptr_t
refused_main(void *nth)
{
    int n;

    burst_short(1000);
    ended = 0;
    n = create_until_no_memory();
    ck_assert_int_ge(n, 1000);
    if (nth != NULL) {
        ck_assert_int_eq(uco_test_fail("malloc", (unsigned long) nth, false, ENOMEM), 0);
        errno = 0;
        ck_assert_ptr_null(uco_create_task(ends_at_once, NULL));
        ck_assert_int_eq(errno, ENOMEM);
        uco_test_fail_off();
    }
    ck_assert_int_eq(uco_join(uco_create_task(ends_at_once, NUMBER(3))), 3);
    ck_assert_int_eq(ended, n + 1);
    burst_short(2 * n);
    return 0;
}

/* _i: the area of new blocks cannot be mapped; the block, the list of segments, the area's record
 * is not to be had. */
START_TEST(a_task_without_memory_for_its_block_is_refused_and_no_other_is_lost)
{
    ck_assert_int_eq(run_virtual(refused_main, NUMBER(_i)), 0);
}
END_TEST

/* --- other threads --- */

static void *
submit_all(void *loop)
{
    for (int i = 0; i < HANDLES; i++)
        handles[i] = uco_run_coroutine_threadsafe(loop, ends_at_once, NUMBER(i));
    return NULL;
}

static void *
unref_all(void *arg)
{
    uco_unref_all(handles, HANDLES);
    return arg;
}

static void *
submit_and_unref_all(void *loop)
{
    submit_all(loop);
    return unref_all(NULL);
}

static void
create_all(void)
{
    for (int i = 0; i < HANDLES; i++)
        handles[i] = uco_create_task(ends_at_once, NUMBER(i));
}

/* Who creates them and where the last reference goes: thread, loop (when they end); thread,
 * thread; thread, the loop's own; loop, thread. */
static void
burst_between_threads(int kind)
{
    uco_loop *loop = uco_get_running_loop();

    ended = 0;
    if (kind == 0)
        in_thread(submit_and_unref_all, loop);
    else if (kind < 3)
        in_thread(submit_all, loop);
    else
        create_all();
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(ended, HANDLES);
    if (kind == 2)
        unref_all(NULL);
    else if (kind != 0)
        in_thread(unref_all, NULL);
}

static intptr_t
between_threads_main(void *kind)
{
    const struct uco__task_blocks *blocks = blocks_of(uco_get_running_loop());
    int bursts = under_sanitizer() ? 20 : 100;
    size_t segments = 0;
    int maps = 0;

    for (int i = 0; i < bursts; i++) {
        burst_between_threads((int) (intptr_t) kind);
        if (i % 10 == 0)
            periods(i / 2);
        if (i == bursts / 2) {
            segments = blocks->segments;
            maps = count_maps();
        }
    }
    ck_assert_uint_eq(blocks->segments, segments);
    if (!under_sanitizer())
        ck_assert_int_le(count_maps(), maps + 2);
    periods(50);
    ck_assert_uint_ge(blocks->bare_count, segments - 2);
    return 0;
}

/* _i: a kind of burst. */
START_TEST(blocks_that_go_from_thread_to_thread_are_used_again)
{
    ck_assert_int_eq(run_virtual(between_threads_main, NUMBER(_i)), 0);
}
END_TEST

static intptr_t
spare_main(void *kind)
{
    uco_loop *loop = uco_get_running_loop();

    burst_between_threads((int) (intptr_t) kind);
    ck_assert(uco__task_blocks_have_spare(blocks_of(loop)));
    periods(50);
    ck_assert(!uco__task_blocks_have_spare(blocks_of(loop)));
    return 0;
}

/* Else an idle loop would not wake up for it. */
START_TEST(what_other_threads_left_over_is_seen_as_spare)
{
    ck_assert_int_eq(run_virtual(spare_main, NUMBER(_i)), 0);
}
END_TEST

/* --- after the loop --- */

static intptr_t
holds_all_main(void *arg)
{
    (void) arg;
    create_all();
    for (int i = 0; i < HANDLES; i += 2) {
        uco_unref(handles[i]);
        handles[i] = uco_create_task(body_sleep_forever, NULL);
        ck_assert_int_eq(uco_detach(handles[i]), 0);
    }
    return uco_test_settle();
}

/* Makes a loop, closes it with the handles alive, and drops those. */
static void
outlive_loop(bool foreign, bool drop_in_thread, bool loop_goes_first)
{
    uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});

    if (foreign)
        in_thread(submit_all, loop);
    else
        ck_assert_int_eq(uco_loop_run_until_complete(loop, holds_all_main, NULL), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    if (loop_goes_first)
        uco_loop_unref(loop);
    for (int i = 0; i < HANDLES; i++) {
        intptr_t expected = foreign || i % 2 == 0 ? -ECANCELED : i;

        ck_assert_int_eq(uco_result(handles[i]), expected);
    }
    if (drop_in_thread)
        in_thread(unref_all, NULL);
    else
        unref_all(NULL);
    if (!loop_goes_first)
        uco_loop_unref(loop);
}

/* _i: each bit is a choice. The first time is for malloc's and the threads' own growth. */
START_TEST(tasks_outlive_their_loop_and_its_memory_goes_with_the_last)
{
    int maps = 0;

    for (int round = 0; round < 6; round++) {
        outlive_loop((_i & 1) != 0, (_i & 2) != 0, (_i & 4) != 0);
        if (round == 1)
            maps = count_maps();
    }
    if (!under_sanitizer())
        ck_assert_int_le(count_maps(), maps);
}
END_TEST

static void *
unref_half(void *arg)
{
    for (int i = 0; i < HANDLES; i += 2)
        uco_unref(handles[i]);
    return arg;
}

/* Some before, some while and some after the loop closes. */
START_TEST(threads_drop_tasks_while_their_loop_closes)
{
    for (int round = 0; round < scaled(60); round++) {
        uco_loop *loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_VIRTUAL});
        pthread_t thread;

        ck_assert_int_eq(uco_loop_run_until_complete(loop, holds_all_main, NULL), 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, unref_half, NULL), 0);
        ck_assert_int_eq(uco_loop_close(loop), 0);
        uco_loop_unref(loop);
        for (int i = 1; i < HANDLES; i += 2)
            uco_unref(handles[i]);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("blocks");
    TCase *tc = case_new(suite, "bursts");

    tcase_add_loop_test(tc, a_loop_gives_back_what_its_tasks_no_longer_need, 0, 2);
    tcase_add_loop_test(tc, what_a_burst_of_tasks_took_comes_back, 0, 2);
    tcase_add_test(tc, an_idle_loop_wakes_up_to_give_memory_back);
    tcase_add_test(tc, blocks_that_each_period_needs_stay);
    tcase_add_test(tc, blocks_that_cannot_be_given_back_are_used_again);

    tc = case_new(suite, "no memory");
    tcase_add_loop_test(tc, a_task_without_memory_for_its_block_is_refused_and_no_other_is_lost, 0,
                        4);

    tc = case_new(suite, "threads");
    tcase_add_loop_test(tc, blocks_that_go_from_thread_to_thread_are_used_again, 0, 4);
    tcase_add_loop_test(tc, what_other_threads_left_over_is_seen_as_spare, 0, 4);

    tc = case_new(suite, "after the loop");
    tcase_add_loop_test(tc, tasks_outlive_their_loop_and_its_memory_goes_with_the_last, 0, 8);
    tcase_add_test(tc, threads_drop_tasks_while_their_loop_closes);
    return suite_end(suite);
}
