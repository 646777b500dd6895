/* SPDX-License-Identifier: MIT */
/*
 * The ledger: what a test leaves is found, whatever it is, and named with the place that made it.
 */
#include "../support/ledger.h"
#include "../support/support.h"

#include "base/system.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each test has a ledger in the ledger that is around it: ledger_open() begins anew. At its end the
 * outer one begins again, with nothing in it. */
static void
outer_again(void)
{
    ledger_open();
}

/* Where the line before it is. */
#define LINE_BEFORE (__LINE__ - 1)

static void
check_says(const char *report, const char *what, int line)
{
    char place[64];

    snprintf(place, sizeof place, "test_ledger.c:%d", line);
    ck_assert_ptr_nonnull(report);
    ck_assert_msg(strstr(report, what) != NULL, "'%s' is not in:\n%s", what, report);
    ck_assert_msg(strstr(report, place) != NULL, "'%s' is not in:\n%s", place, report);
}

static size_t
lines_of(const char *report)
{
    size_t lines = 0;

    for (; *report != '\0'; report++)
        lines += *report == '\n';
    return lines;
}

/* --- memory --- */

START_TEST(a_block_that_is_left_is_named_with_its_place)
{
    void *block, *other;
    const char *left;
    int line;

    ledger_open();
    other = uco__allocate(40);
    block = uco__allocate(1234);
    line = LINE_BEFORE;
    uco__free(other);
    left = ledger_close(0);
    check_says(left, "block of 1234 bytes, number 2,", line);
    ck_assert_uint_eq(lines_of(left), 1);
    uco__free(block);
    outer_again();
}
END_TEST

START_TEST(each_way_to_allocate_is_noted)
{
    char *blocks[3];
    const char *left;
    int line;

    ledger_open();
    blocks[0] = uco__string_copy("text");
    blocks[1] = uco__allocate_lines(1);
    blocks[2] = uco__reallocate(NULL, 77);
    line = LINE_BEFORE;
    left = ledger_close(0);
    check_says(left, "block of 5 bytes", line - 2);
    check_says(left, "block of 1 bytes", line - 1);
    check_says(left, "block of 77 bytes", line);
    for (size_t i = 0; i < COUNT(blocks); i++)
        uco__free(blocks[i]);
    outer_again();
}
END_TEST

START_TEST(blocks_of_one_place_are_told_together)
{
    void *blocks[100];
    const char *left;
    int line = 0;

    ledger_open();
    for (size_t i = 0; i < COUNT(blocks); i++) {
        blocks[i] = uco__allocate(10);
        line = LINE_BEFORE;
    }
    left = ledger_close(0);
    check_says(left, "100 blocks of 1000 bytes, the first is number 1,", line);
    ck_assert_uint_eq(lines_of(left), 1);
    for (size_t i = 0; i < COUNT(blocks); i++)
        uco__free(blocks[i]);
    outer_again();
}
END_TEST

START_TEST(a_block_that_grows_is_one_block)
{
    void *block;
    const char *left;
    int line;

    ledger_open();
    block = uco__allocate(10);
    block = uco__reallocate(block, 100000);
    line = LINE_BEFORE;
    left = ledger_close(0);
    check_says(left, "block of 100000 bytes", line);
    ck_assert_uint_eq(lines_of(left), 1);
    uco__free(block);
    outer_again();
}
END_TEST

START_TEST(a_block_that_could_not_grow_is_noted_as_before)
{
    void *block;
    const char *left;
    int line;

    ledger_open();
    block = uco__allocate(10);
    line = LINE_BEFORE;
    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    ck_assert_ptr_null(uco__reallocate(block, 100000));
    /* A sanitizer would take that for a bug. */
    if (!under_sanitizer())
        ck_assert_ptr_null(uco__reallocate(block, SIZE_MAX / 4));
    left = ledger_close(0);
    check_says(left, "block of 10 bytes", line);
    ck_assert_uint_eq(lines_of(left), 1);
    uco__free(block);
    outer_again();
}
END_TEST

START_TEST(what_is_given_back_is_not_left)
{
    void *map;

    ledger_open();
    uco__free(uco__reallocate(uco__allocate(1), 1000));
    uco__free(uco__string_copy("text"));
    uco__free(NULL);
    ck_assert_int_eq(uco__map(4096, &map), 0);
    uco__unmap(map, 4096);
    ck_assert_int_eq(uco__close((int) UCO__SYSTEM(eventfd, eventfd(0, EFD_CLOEXEC))), 0);
    ck_assert_uint_eq(uco__ledger_count(), 0);
    ck_assert_ptr_null(ledger_close(0));
    outer_again();
}
END_TEST

START_TEST(a_mapping_that_is_left_is_named_with_its_place)
{
    void *map;
    int r, line;

    ledger_open();
    r = uco__map(40960, &map);
    line = LINE_BEFORE;
    ck_assert_int_eq(r, 0);
    check_says(ledger_close(0), "mapping of 40960 bytes", line);
    uco__unmap(map, 40960);
    outer_again();
}
END_TEST

START_TEST(what_is_kept_for_the_process_is_not_left)
{
    void *block;

    ledger_open();
    block = uco__allocate(10);
    uco__ledger_keep(block);
    ck_assert_ptr_null(ledger_close(0));
    uco__free(block);
    outer_again();
}
END_TEST

START_TEST(what_is_handed_over_is_the_users)
{
    char *block;

    ledger_open();
    block = uco__string_copy("text");
    uco__ledger_hand_over(block);
    uco__ledger_hand_over(NULL);
    ck_assert_ptr_null(ledger_close(0));
    free(block);
    outer_again();
}
END_TEST

START_TEST(many_blocks_are_found_again)
{
    enum { BLOCKS = 20000 };
    void **blocks = calloc(BLOCKS, sizeof *blocks);

    ledger_open();
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = uco__allocate(16);
    ck_assert_uint_eq(uco__ledger_count(), BLOCKS);
    for (int i = 0; i < BLOCKS; i += 2)
        uco__free(blocks[i]);
    for (int i = 0; i < BLOCKS; i += 2)
        blocks[i] = uco__allocate(16);
    ck_assert_uint_eq(uco__ledger_count(), BLOCKS);
    for (int i = 0; i < BLOCKS; i++)
        uco__free(blocks[i]);
    ck_assert_uint_eq(uco__ledger_count(), 0);
    free(blocks);
    ck_assert_ptr_null(ledger_close(0));
    outer_again();
}
END_TEST

static void *
allocate_and_free(void *arg)
{
    void *blocks[16] = {NULL};

    for (size_t i = 0; i < 20000; i++) {
        uco__free(blocks[i % COUNT(blocks)]);
        blocks[i % COUNT(blocks)] = uco__allocate(i % 300);
    }
    for (size_t i = 0; i < COUNT(blocks); i++)
        uco__free(blocks[i]);
    return arg;
}

START_TEST(threads_share_the_ledger)
{
    pthread_t threads[4];

    ledger_open();
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_and_free, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(uco__ledger_count(), 0);
    ck_assert_ptr_null(ledger_close(10));
    outer_again();
}
END_TEST

/* More than two million notes take 100 MB. */
START_TEST(what_does_not_fit_is_told)
{
    const uintptr_t notes = 3000000;
    const char *left;

    if (under_sanitizer()) {
        test_skipped("too slow here");
        return;
    }
    ledger_open();
    for (uintptr_t key = 1; key <= notes; key++)
        uco__ledger_add(UCO__LEDGER_BLOCK, key * 16, 1, UCO__PLACE);
    ck_assert_uint_eq(uco__ledger_count() + uco__ledger_lost(), notes);
    ck_assert_uint_gt(uco__ledger_lost(), 0);
    left = ledger_close(0);
    ck_assert_ptr_nonnull(strstr(left, "could not be noted"));
    outer_again();
}
END_TEST

/* --- file descriptors --- */

START_TEST(an_fd_that_is_left_is_named_with_its_place)
{
    int fd, line;

    ledger_open();
    fd = (int) UCO__SYSTEM(eventfd, eventfd(0, EFD_CLOEXEC));
    line = LINE_BEFORE;
    check_says(ledger_close(0), "eventfd", line);
    close(fd);
    outer_again();
}
END_TEST

START_TEST(an_fd_of_the_tests_own_is_named_by_its_file)
{
    const char *left;
    int fd;

    ledger_open();
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    left = ledger_close(0);
    ck_assert_ptr_nonnull(left);
    ck_assert_ptr_nonnull(strstr(left, "/dev/null, not made by uco"));
    close(fd);
    outer_again();
}
END_TEST

START_TEST(a_number_that_is_used_again_is_nobody_elses)
{
    const char *left;
    int fd, again;

    ledger_open();
    fd = (int) UCO__SYSTEM(eventfd, eventfd(0, EFD_CLOEXEC));
    close(fd); /* and uco is not told */
    again = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(again, fd);
    left = ledger_close(0);
    ck_assert_ptr_nonnull(left);
    ck_assert_ptr_nonnull(strstr(left, "/dev/null, not made by uco"));
    close(again);
    outer_again();
}
END_TEST

START_TEST(an_fd_that_was_open_before_must_still_be)
{
    const char *left;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int again;

    ledger_open();
    close(fd);
    left = ledger_close(0);
    ck_assert_ptr_nonnull(left);
    ck_assert_ptr_nonnull(strstr(left, "which was open before, is closed"));
    again = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(again, fd);
    close(again);
    outer_again();
}
END_TEST

/* --- threads --- */

static void *
wait_for_it(void *arg)
{
    while (sem_wait(arg) != 0)
        continue;
    return NULL;
}

START_TEST(a_thread_that_is_left_is_named_with_its_place)
{
    pthread_t thread;
    sem_t end;
    int r, line;

    sem_init(&end, 0, 0);
    ledger_open();
    r = uco__thread_start(&thread, NULL, wait_for_it, &end);
    line = LINE_BEFORE;
    ck_assert_int_eq(r, 0);
    while (uco__ledger_count() == 0) /* until it has said who it is */
        sched_yield();
    check_says(ledger_close(0), "thread ", line);
    sem_post(&end);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    sem_destroy(&end);
    outer_again();
}
END_TEST

START_TEST(a_thread_that_ends_is_not_left)
{
    pthread_t thread;
    sem_t end;

    sem_init(&end, 0, 0);
    ledger_open();
    ck_assert_int_eq(uco__thread_start(&thread, NULL, wait_for_it, &end), 0);
    sem_post(&end);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ptr_null(ledger_close(10));
    sem_destroy(&end);
    outer_again();
}
END_TEST

START_TEST(a_thread_that_cannot_be_had_is_an_error)
{
    pthread_t thread;

    ck_assert_int_eq(uco_test_fail("pthread_create", 1, false, EAGAIN), 0);
    ck_assert_int_eq(uco__thread_start(&thread, NULL, wait_for_it, NULL), -EAGAIN);
}
END_TEST

/* --- tasks and loops --- */

static int lost_line;

static intptr_t
lose_a_handle(void *arg)
{
    uco_task **lost = arg;
    uco_task_options options = {.name = "lost"};
    uco_task *other = uco_create_task(body_return, NULL);

    *lost = uco_create_task_with(&options, body_return, NULL);
    lost_line = LINE_BEFORE;
    uco_await(*lost);
    uco_await(other);
    uco_unref(other);
    return 0;
}

START_TEST(a_task_whose_handle_is_lost_is_named_with_its_place)
{
    const char *left;
    uco_task *lost;

    ledger_open();
    ck_assert_int_eq(run_virtual(lose_a_handle, &lost), 0);
    left = ledger_close(0);
    check_says(left, "task 'lost', created at ", lost_line);
    ck_assert_ptr_nonnull(strstr(left, "ended, 1 reference left"));
    ck_assert_ptr_nonnull(strstr(left, "a loop: closed"));
    ck_assert_ptr_null(strstr(left, "'Task-"));
    uco_unref(lost);
    outer_again();
}
END_TEST

START_TEST(a_loop_that_is_lost_is_told_with_its_tasks)
{
    uco_loop *loop;
    const char *left;

    ledger_open();
    loop = uco_loop_new(NULL);
    ck_assert_ptr_nonnull(loop);
    left = ledger_close(0);
    ck_assert_ptr_nonnull(left);
    ck_assert_ptr_nonnull(strstr(left, "a loop: not closed"));
    ck_assert_ptr_nonnull(strstr(left, "made at src/task/run.c:"));
    ck_assert_ptr_nonnull(strstr(left, "made at src/core/inbox.c:"));
    uco_loop_close(loop);
    uco_loop_unref(loop);
    outer_again();
}
END_TEST

START_TEST(what_a_thread_keeps_for_its_posts_is_not_left)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);

    ck_assert_ptr_nonnull(thread);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(uco_loop_call_soon_threadsafe(uco_loop_thread_loop(thread), free, NULL),
                         0);
    uco_loop_thread_stop(thread);
}
END_TEST

/* --- on and off --- */

START_TEST(when_it_is_off_it_notes_nothing)
{
    pthread_t thread;
    void *map;

    ledger_open();
    uco__ledger_end();
    ck_assert(!uco__ledger_is_on());
    uco__free(uco__reallocate(uco__allocate(1), 1000));
    ck_assert_int_eq(uco__map(4096, &map), 0);
    uco__unmap(map, 4096);
    ck_assert_int_eq(uco__close((int) UCO__SYSTEM(eventfd, eventfd(0, EFD_CLOEXEC))), 0);
    ck_assert_int_eq(uco__thread_start(&thread, NULL, allocate_and_free, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(run_virtual(body_return, NULL), 0);
    outer_again();
}
END_TEST

START_TEST(a_child_of_fork_has_none)
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(uco__ledger_is_on() ? 1 : 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(uco__ledger_is_on());
}
END_TEST

/* --- a test that fails, in a suite of its own --- */

static void *careless; /* for LeakSanitizer it is no leak then */

START_TEST(this_one_leaves_a_block)
{
    careless = uco__allocate(99);
    ck_assert_ptr_nonnull(careless);
}
END_TEST

static int
run_the_careless_one(void)
{
    Suite *suite = suite_create("careless");
    TCase *tcase = case_new(suite, "careless");
    SRunner *runner;
    TestResult **failures;
    const char *message;
    int failed;

    tcase_add_test(tcase, this_one_leaves_a_block);
    runner = srunner_create(suite);
    srunner_run(runner, "careless", "careless", CK_SILENT); /* whatever the environment selects */
    failed = srunner_ntests_failed(runner);
    failures = srunner_failures(runner);
    message = failed == 1 ? tr_msg(failures[0]) : "";
    failed = failed == 1 && strstr(message, "block of 99 bytes") != NULL;
    if (!failed)
        fprintf(stderr, "a test that leaves a block did not fail as it should: %s\n", message);
    free(failures);
    srunner_free(runner);
    return failed;
}

int
main(void)
{
    Suite *suite = suite_create("ledger");
    TCase *memory = case_new(suite, "memory");
    TCase *fds = case_new(suite, "fds");
    TCase *threads = case_new(suite, "threads");
    TCase *tasks = case_new(suite, "tasks");
    TCase *on = case_new(suite, "on and off");

    tcase_add_test(memory, a_block_that_is_left_is_named_with_its_place);
    tcase_add_test(memory, each_way_to_allocate_is_noted);
    tcase_add_test(memory, blocks_of_one_place_are_told_together);
    tcase_add_test(memory, a_block_that_grows_is_one_block);
    tcase_add_test(memory, a_block_that_could_not_grow_is_noted_as_before);
    tcase_add_test(memory, what_is_given_back_is_not_left);
    tcase_add_test(memory, a_mapping_that_is_left_is_named_with_its_place);
    tcase_add_test(memory, what_is_kept_for_the_process_is_not_left);
    tcase_add_test(memory, what_is_handed_over_is_the_users);
    tcase_add_test(memory, many_blocks_are_found_again);
    tcase_add_test(memory, threads_share_the_ledger);
    tcase_add_test(memory, what_does_not_fit_is_told);
    tcase_add_test(fds, an_fd_that_is_left_is_named_with_its_place);
    tcase_add_test(fds, an_fd_of_the_tests_own_is_named_by_its_file);
    tcase_add_test(fds, a_number_that_is_used_again_is_nobody_elses);
    tcase_add_test(fds, an_fd_that_was_open_before_must_still_be);
    tcase_add_test(threads, a_thread_that_is_left_is_named_with_its_place);
    tcase_add_test(threads, a_thread_that_ends_is_not_left);
    tcase_add_test(threads, a_thread_that_cannot_be_had_is_an_error);
    tcase_add_test(tasks, a_task_whose_handle_is_lost_is_named_with_its_place);
    tcase_add_test(tasks, a_loop_that_is_lost_is_told_with_its_tasks);
    tcase_add_test(tasks, what_a_thread_keeps_for_its_posts_is_not_left);
    tcase_add_test(on, when_it_is_off_it_notes_nothing);
    tcase_add_test(on, a_child_of_fork_has_none);
    if (!run_the_careless_one()) {
        suite_end(suite);
        return EXIT_FAILURE;
    }
    return suite_end(suite);
}
