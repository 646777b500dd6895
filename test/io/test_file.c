/* SPDX-License-Identifier: MIT */

/*
 * Regular files. Whether something was done by the pool shows when there is no thread for it
 * ("pthread_create" fails): then it gives ENOMEM.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../support/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 200 * 1000, BIG = 1000 * 1000 };

static char path[64];
static char data[BIG], got[BIG];

/* A file of SIZE bytes whose first bytes are known; it is on the disk. */
static int
file_new(void)
{
    int fd;

    snprintf(path, sizeof path, "/var/tmp/uco-file-XXXXXX");
    fd = mkostemp(path, O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char) (i * 7 + i / 1000);
    ck_assert_int_eq(write(fd, data, SIZE), SIZE);
    ck_assert_int_eq(fsync(fd), 0);
    return fd;
}

static void
file_done(int fd)
{
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(unlink(path), 0);
}

/* Takes a part of the file out of memory. Not every file system can. */
static void
forget(int fd, off_t from, off_t size)
{
    ck_assert_int_eq(posix_fadvise(fd, from, size, POSIX_FADV_DONTNEED), 0);
}

static bool
is_in_memory(int fd, off_t at)
{
    char c;

    return preadv2(fd, &(struct iovec){&c, 1}, 1, at, RWF_NOWAIT) == 1;
}

/* Whether the file system tells what is in memory. No reading ahead from here on: what is still
   under way cannot be forgotten. */
static bool
memory_is_told(int fd)
{
    ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0);
    forget(fd, 0, 0);
    return !is_in_memory(fd, 0) && pread(fd, got, 1, 0) == 1 && is_in_memory(fd, 0);
}

static void
no_threads(void)
{
    ck_assert_int_eq(uco_test_fail("pthread_create", 1, true, EAGAIN), 0);
}

/* open and fsync */

static intptr_t
opens(void *arg)
{
    int fd;

    (void) arg;
    fd = uco_open(path, O_RDONLY | O_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(uco_close(fd), 0);
    fd = uco_open(path, O_RDWR, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(uco_fsync(fd), 0);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(uco_open("/no/such/file", O_RDONLY, 0), -ENOENT);
    ck_assert_int_eq(uco_open("/", O_WRONLY, 0), -EISDIR);
    ck_assert_int_eq(uco_open(NULL, O_RDONLY, 0), -EINVAL);
    ck_assert_int_eq(uco_fsync(-1), -EBADF);
    return 0;
}

START_TEST(files_are_opened_with_the_callers_flags_alone)
{
    int fd = file_new();

    ck_assert_int_eq(uco_open(path, O_RDONLY, 0), -EPERM);
    ck_assert_int_eq(uco_fsync(fd), -EPERM);
    ck_assert_int_eq(run_virtual(opens, NULL), 0);
    file_done(fd);
}
END_TEST

static intptr_t
makes_a_file(void *arg)
{
    mode_t mask = umask(0);
    struct stat status;
    int fd = uco_open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);

    (void) arg;
    umask(mask);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0640);
    ck_assert_int_eq(uco_open(path, O_CREAT | O_EXCL | O_WRONLY, 0640), -EEXIST);
    return uco_close(fd);
}

START_TEST(a_new_file_has_its_mode)
{
    snprintf(path, sizeof path, "/tmp/uco-new-%d", (int) getpid());
    unlink(path);
    ck_assert_int_eq(run_virtual(makes_a_file, NULL), 0);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static intptr_t
opens_with_faults(void *arg)
{
    int fd = *(int *) arg;

    no_threads();
    ck_assert_int_eq(uco_open(path, O_RDONLY, 0), -ENOMEM);
    ck_assert_int_eq(uco_fsync(fd), -ENOMEM);
    uco_test_fail_off();
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(uco_open(path, O_RDONLY, 0), -ENOMEM);
    uco_test_fail_off();
    uco_test_fail("open", 1, false, EMFILE);
    ck_assert_int_eq(uco_open(path, O_RDONLY, 0), -EMFILE);
    uco_test_fail("open", 1, false, EWOULDBLOCK); /* a lease; and not the pool's EAGAIN */
    ck_assert_int_eq(uco_open(path, O_RDONLY, 0), -EAGAIN);
    uco_test_fail("fsync", 1, false, EIO);
    ck_assert_int_eq(uco_fsync(fd), -EIO);
    uco_test_fail("open", 1, false, EINTR);
    uco_test_fail("fsync", 1, false, EINTR);
    ck_assert_int_eq(uco_fsync(fd), 0);
    fd = uco_open(path, O_RDONLY | O_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    uco_test_fail_off();
    return uco_close(fd);
}

START_TEST(what_fails_is_told_and_interruptions_are_not)
{
    int fd = file_new();

    ck_assert_int_eq(run_virtual(opens_with_faults, &fd), 0);
    file_done(fd);
}
END_TEST

/* A FIFO opens when its other end does: until then the job is under way. */
static intptr_t
opens_a_fifo(void *arg)
{
    (void) arg;
    return uco_open(path, O_RDONLY | O_CLOEXEC, 0);
}

static atomic_int fifo_opened;

static void *
open_other_end(void *arg)
{
    int fd;

    (void) arg;
    while ((fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0) /* until the job waits there */
        sched_yield();
    atomic_store(&fifo_opened, fd);
    return NULL;
}

static intptr_t
is_cancelled_while_it_opens(void *arg)
{
    uco_task *opening = uco_create_task(opens_a_fifo, NULL);
    uco_loop_stats stats;
    pthread_t thread;
    int fd;

    (void) arg;
    do { /* until it has started, and cannot be taken back */
        ck_assert_int_eq(uco_sleep(0.001), 0);
        ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats), 0);
        fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    } while (fd < 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, open_other_end, NULL), 0);
    uco_cancel(opening);
    close(fd);
    fd = (int) uco_join(opening);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close(atomic_load(&fifo_opened));
    return uco_close(fd);
}

START_TEST(an_open_under_way_gives_its_fd_also_to_a_cancelled_caller)
{
    snprintf(path, sizeof path, "/tmp/uco-fifo-%d", (int) getpid());
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(run_real(is_cancelled_while_it_opens, NULL), 0);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static intptr_t
is_cancelled_before(void *arg)
{
    int fd = *(int *) arg;
    char c = 0;

    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(uco_open(path, O_RDONLY, 0), -ECANCELED);
    ck_assert_int_eq(uco_fsync(fd), -ECANCELED);
    ck_assert_int_eq(uco_pread(fd, &c, 1, 0), -ECANCELED);
    ck_assert_int_eq(uco_pwrite(fd, "x", 1, 0), -ECANCELED);
    return 0;
}

START_TEST(in_a_cancelled_scope_files_are_left_alone)
{
    int fd = file_new();

    ck_assert_int_eq(run_virtual(is_cancelled_before, &fd), 0);
    file_done(fd);
}
END_TEST

/* pread and pwrite */

static intptr_t
reads_and_writes(void *arg)
{
    int fd = *(int *) arg;

    ck_assert_int_eq(lseek(fd, 5, SEEK_SET), 5);
    ck_assert_int_eq(uco_pread(fd, got, 1000, 333), 1000);
    ck_assert_mem_eq(got, data + 333, 1000);
    ck_assert_int_eq(uco_pread(fd, got, SIZE, 1000), SIZE - 1000);
    ck_assert_mem_eq(got, data + 1000, SIZE - 1000);
    ck_assert_int_eq(uco_pread(fd, got, 10, SIZE), 0);
    ck_assert_int_eq(uco_pread(fd, got, 0, 0), 0);
    ck_assert_int_eq(uco_pwrite(fd, "hello", 5, 100), 5);
    ck_assert_int_eq(uco_pread(fd, got, 7, 99), 7);
    ck_assert_mem_eq(got + 1, "hello", 5);
    ck_assert_int_eq(got[6], data[105]);
    ck_assert_int_eq(uco_pwrite(fd, data, BIG, 0), BIG);
    ck_assert_int_eq(uco_pread(fd, got, BIG, 0), BIG);
    ck_assert_mem_eq(got, data, BIG);
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 5);
    return 0;
}

START_TEST(offsets_are_read_and_written_and_the_position_stays)
{
    int fd = file_new();

    ck_assert_int_eq(run_virtual(reads_and_writes, &fd), 0);
    file_done(fd);
}
END_TEST

static intptr_t
reads_badly(void *arg)
{
    int fd = *(int *) arg, ends[2];
    char c = 'c';

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(uco_pread(ends[0], &c, 1, 0), -ESPIPE);
    ck_assert_int_eq(uco_pwrite(ends[1], &c, 1, 0), -ESPIPE);
    ck_assert_int_eq(uco_pread(fd, &c, 1, -1), -EINVAL);
    ck_assert_int_eq(uco_pwrite(fd, &c, 1, -1), -EINVAL);
    ck_assert_int_eq(uco_pread(-1, &c, 1, 0), -EBADF);
    ck_assert_int_eq(uco_pread(fd, NULL, 1, 0), -EFAULT);
    ck_assert_int_eq(c, 'c');
    ck_assert_int_eq(uco_close(ends[0]), 0);
    ck_assert_int_eq(uco_close(ends[1]), 0);
    return 0;
}

START_TEST(what_cannot_be_read_at_an_offset_is_refused)
{
    int fd = file_new();
    char c;

    ck_assert_int_eq(uco_pread(fd, &c, 1, 0), -EPERM);
    ck_assert_int_eq(uco_pwrite(fd, &c, 1, 0), -EPERM);
    ck_assert_int_eq(run_virtual(reads_badly, &fd), 0);
    file_done(fd);
}
END_TEST

static intptr_t
reads_from_memory(void *arg)
{
    int fd = *(int *) arg;

    no_threads();
    ck_assert_int_eq(uco_pread(fd, got, 1000, 0), 1000);
    uco_test_fail("read", 1, false, EAGAIN); /* as what is not in memory gives */
    ck_assert_int_eq(uco_pread(fd, got, 1000, 0), -ENOMEM);
    uco_test_fail_off();
    ck_assert_int_eq(uco_pread(fd, got, 1000, 0), 1000);
    ck_assert_mem_eq(got, data, 1000);
    return 0;
}

START_TEST(only_what_is_in_memory_is_read_by_the_loops_thread)
{
    int fd = file_new();

    if (!is_in_memory(fd, 0))
        test_skipped("this file system does not tell what is in memory");
    else
        ck_assert_int_eq(run_virtual(reads_from_memory, &fd), 0);
    file_done(fd);
}
END_TEST

static intptr_t
reads_from_the_disk(void *arg)
{
    int fd = *(int *) arg;
    ssize_t r = 0;

    no_threads();
    /* The kernel need not let go of all, and a fast disk can be done before it looks again. */
    for (int i = 0; i < 100 && r != -ENOMEM; i++) {
        forget(fd, 0, 0);
        r = uco_pread(fd, got, 1000, 0);
        ck_assert(r == 1000 || r == -ENOMEM);
    }
    uco_test_fail_off();
    if (r != -ENOMEM)
        test_skipped("this kernel keeps what it is to forget");
    ck_assert_int_eq(uco_pread(fd, got, 1000, 0), 1000);
    ck_assert_mem_eq(got, data, 1000);
    return 0;
}

START_TEST(what_is_on_the_disk_is_read_by_the_pool)
{
    int fd = file_new();

    if (!memory_is_told(fd))
        test_skipped("this file system does not tell what is in memory");
    else
        ck_assert_int_eq(run_virtual(reads_from_the_disk, &fd), 0);
    file_done(fd);
}
END_TEST

static intptr_t
reads_half_from_memory(void *arg)
{
    int fd = *(int *) arg;
    bool kept = true;
    ssize_t r;

    /* The kernel need not let go of all. (Looking makes it begin to fetch.) */
    for (int i = 0; i < 10 && kept; i++) {
        forget(fd, 0, 0);
        ck_assert_int_eq(pread(fd, got, 4096, 0), 4096);
        kept = is_in_memory(fd, 65536);
    }
    if (kept) {
        test_skipped("this file system keeps what it is to forget");
        return 0;
    }
    /* The first try gets what is there, and has the kernel begin to fetch more. */
    uco_test_fail("read", 2, false, EIO);
    r = uco_pread(fd, got, 100000, 0);
    uco_test_fail_off();
    ck_assert_int_ge(r, 4096);
    ck_assert_mem_eq(got, data, (size_t) r);
    ck_assert_int_eq(uco_pread(fd, got, 100000, 0), 100000);
    ck_assert_mem_eq(got, data, 100000);
    return 0;
}

START_TEST(what_was_read_is_returned_whatever_follows)
{
    int fd = file_new();

    if (!memory_is_told(fd))
        test_skipped("this file system does not tell what is in memory");
    else
        ck_assert_int_eq(run_virtual(reads_half_from_memory, &fd), 0);
    file_done(fd);
}
END_TEST

static intptr_t
transfers_with_faults(void *arg)
{
    int fd = *(int *) arg;

    uco_test_fail("read", 1, false, EINTR);
    ck_assert_int_eq(uco_pread(fd, got, 100, 0), 100);
    uco_test_fail("read", 1, false, EOPNOTSUPP); /* then by the pool */
    ck_assert_int_eq(uco_pread(fd, got, 100, 0), 100);
    uco_test_fail("read", 1, false, EIO);
    ck_assert_int_eq(uco_pread(fd, got, 100, 0), -EIO);
    uco_test_fail("read", 1, false, EIO);
    ck_assert_int_eq(uco_pread(fd, got, BIG, 0), -EIO);
    uco_test_fail("write", 1, false, EAGAIN);
    ck_assert_int_eq(uco_pwrite(fd, data, 100, 0), 100);
    uco_test_fail("write", 1, false, EINTR);
    ck_assert_int_eq(uco_pwrite(fd, data, BIG, 0), BIG);
    uco_test_fail("write", 1, false, ENOSPC);
    ck_assert_int_eq(uco_pwrite(fd, data, 100, 0), -ENOSPC);
    uco_test_fail_off();
    return 0;
}

START_TEST(faults_of_the_disk_are_told)
{
    int fd = file_new();

    ck_assert_int_eq(run_virtual(transfers_with_faults, &fd), 0);
    file_done(fd);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("file");
    TCase *tc = case_new(suite, "open and fsync");

    tcase_add_test(tc, files_are_opened_with_the_callers_flags_alone);
    tcase_add_test(tc, a_new_file_has_its_mode);
    tcase_add_test(tc, what_fails_is_told_and_interruptions_are_not);
    tcase_add_test(tc, an_open_under_way_gives_its_fd_also_to_a_cancelled_caller);
    tcase_add_test(tc, in_a_cancelled_scope_files_are_left_alone);
    tc = case_new(suite, "pread and pwrite");
    tcase_add_test(tc, offsets_are_read_and_written_and_the_position_stays);
    tcase_add_test(tc, what_cannot_be_read_at_an_offset_is_refused);
    tcase_add_test(tc, only_what_is_in_memory_is_read_by_the_loops_thread);
    tcase_add_test(tc, what_is_on_the_disk_is_read_by_the_pool);
    tcase_add_test(tc, what_was_read_is_returned_whatever_follows);
    tcase_add_test(tc, faults_of_the_disk_are_told);
    return suite_end(suite);
}
