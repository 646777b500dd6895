/* SPDX-License-Identifier: MIT */
/*
 * System calls as negative errors: faults, calls that never wait, SIGPIPE, and signal dispositions.
 */
#include "../support/support.h"

#include "base/system.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- faults --- */

START_TEST(the_nth_call_fails_and_no_other)
{
    ck_assert_int_eq(uco_test_fail("read", 3, false, ECONNRESET), 0);
    for (int call = 1; call <= 6; call++)
        ck_assert_int_eq(uco__fault(UCO__FAULT_read), call == 3 ? -ECONNRESET : 0);
}
END_TEST

START_TEST(for_ever_means_from_the_nth_on)
{
    ck_assert_int_eq(uco_test_fail("mmap", 3, true, ENOMEM), 0);
    for (int call = 1; call <= 6; call++)
        ck_assert_int_eq(uco__fault(UCO__FAULT_mmap), call >= 3 ? -ENOMEM : 0);
    ck_assert_int_eq(uco_test_fail("mmap", 0, false, 0), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_mmap), 0);
}
END_TEST

START_TEST(each_fault_counts_its_own_calls)
{
    ck_assert_int_eq(uco_test_fail("read", 2, false, EIO), 0);
    ck_assert_int_eq(uco_test_fail("write", 1, true, ENOSPC), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_write), -ENOSPC);
    ck_assert_int_eq(uco__fault(UCO__FAULT_read), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_write), -ENOSPC);
    ck_assert_int_eq(uco__fault(UCO__FAULT_close), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_read), -EIO);
}
END_TEST

START_TEST(setting_a_fault_again_starts_its_count_again)
{
    ck_assert_int_eq(uco_test_fail("poll", 2, false, EIO), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_poll), 0);
    ck_assert_int_eq(uco_test_fail("poll", 2, false, EINTR), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_poll), 0);
    ck_assert_int_eq(uco__fault(UCO__FAULT_poll), -EINTR);
    ck_assert_uint_eq(atomic_load(&uco__faults_set) & ~UCO__LEDGER_ON, 1);
}
END_TEST

#define FAULT_NAME(name) #name,
static const char *const fault_names[] = {UCO__FAULTS(FAULT_NAME)};

START_TEST(every_fault_can_be_set_and_all_are_off_at_once)
{
    ck_assert_uint_eq(COUNT(fault_names), UCO__FAULT_COUNT);
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        ck_assert_int_eq(uco_test_fail(fault_names[i], 1, true, 1 + i), 0);
    ck_assert_uint_eq(atomic_load(&uco__faults_set) & ~UCO__LEDGER_ON, UCO__FAULT_COUNT);
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        ck_assert_int_eq(uco__fault((enum uco__fault) i), -1 - i);
    uco_test_fail_off();
    ck_assert_uint_eq(atomic_load(&uco__faults_set) & ~UCO__LEDGER_ON, 0);
    for (int i = 0; i < UCO__FAULT_COUNT; i++)
        ck_assert_int_eq(uco__fault((enum uco__fault) i), 0);
}
END_TEST

START_TEST(what_cannot_be_set_is_refused)
{
    ck_assert_int_eq(uco_test_fail(NULL, 1, false, EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("", 1, false, EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("readv", 1, false, EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, 0), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, -EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, 4096), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, 4095), 0);
    ck_assert_uint_eq(atomic_load(&uco__faults_set) & ~UCO__LEDGER_ON, 1);
}
END_TEST

/* --- memory --- */

START_TEST(allocations_are_zeroed_and_can_fail)
{
    unsigned char *block = uco__allocate(1000);
    char *copy = uco__string_copy("text");

    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(block[i], 0);
    ck_assert_str_eq(copy, "text");
    ck_assert_ptr_null(uco__string_copy(NULL));
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_ptr_null(uco__allocate(1));
    ck_assert_ptr_null(uco__string_copy("text"));
    ck_assert_ptr_null(uco__reallocate(copy, 100));
    ck_assert_str_eq(copy, "text");
    uco_test_fail_off();
    copy = uco__reallocate(copy, 100);
    ck_assert_str_eq(copy, "text");
    uco__free(copy);
    uco__free(block);
    uco__free(NULL);
}
END_TEST

START_TEST(a_mapping_is_zeroed_and_goes_away_whole)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    void *map = NULL;
    unsigned char resident;
    char *bytes;

    ck_assert_int_eq(uco_test_fail("mmap", 1, false, EAGAIN), 0);
    ck_assert_int_eq(uco__map(2 * page, &map), -EAGAIN);
    ck_assert_ptr_null(map);
    ck_assert_int_eq(uco__map(2 * page, &map), 0);
    bytes = map;
    ck_assert(bytes[0] == 0 && bytes[2 * page - 1] == 0);
    bytes[2 * page - 1] = 1;
    uco__unmap(map, 2 * page);
    ck_assert_int_eq(mincore(map, page, &resident), -1);
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_int_lt(uco__map(SIZE_MAX / 2, &map), 0);
    ck_assert_ptr_eq(map, bytes);
}
END_TEST

/* --- reading and writing without waiting --- */

/* Linux before 6.4 knows no RWF_NOWAIT for pipes, and qemu-user has no preadv2. */
static bool
pipes_know_nowait(void)
{
    char byte;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    int ends[2];
    bool known;

    ck_assert_int_eq(pipe(ends), 0);
    known = preadv2(ends[0], &vector, 1, -1, RWF_NOWAIT) < 0 && errno == EAGAIN;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(close(ends[i]), 0);
    return known;
}

/* Both ends blocking: these calls must not depend on O_NONBLOCK, nor set it. Pipes of a kernel that
 * leaves no other way have it from the beginning. */
static int
ends_flags(int kind)
{
    return kind == 0 && !pipes_know_nowait() ? O_NONBLOCK : 0;
}

static void
ends_open(int ends[2], int kind)
{
    if (kind == 0)
        ck_assert_int_eq(pipe2(ends, ends_flags(kind)), 0);
    else
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void
ends_close(const int ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            ck_assert_int_eq(uco__close(ends[i]), 0);
    }
}

static void
flags_unchanged(const int ends[2], int kind)
{
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fcntl(ends[i], F_GETFL) & O_NONBLOCK, ends_flags(kind));
}

/* _i: 0 a pipe, 1 a socket. */
START_TEST(reading_from_the_empty_would_wait)
{
    int ends[2];
    char text[8] = "";

    ends_open(ends, _i);
    ck_assert_int_eq(uco__read_now(ends[0], text, sizeof text), -EAGAIN);
    ck_assert_int_eq(write(ends[1], "abc", 3), 3);
    ck_assert_int_eq(uco__read_now(ends[0], text, 2), 2);
    ck_assert_int_eq(uco__read_now(ends[0], text + 2, 6), 1);
    ck_assert_str_eq(text, "abc");
    ck_assert_int_eq(uco__read_now(ends[0], text, sizeof text), -EAGAIN);
    flags_unchanged(ends, _i);
    ck_assert_int_eq(uco__close(ends[1]), 0);
    ends[1] = -1;
    ck_assert_int_eq(uco__read_now(ends[0], text, sizeof text), 0);
    ends_close(ends);
}
END_TEST

START_TEST(writing_to_the_full_would_wait)
{
    static char block[65536];
    int ends[2];
    ssize_t r;
    size_t sum = 0;

    ends_open(ends, _i);
    while ((r = uco__write_now(ends[1], block, sizeof block)) > 0)
        sum += (size_t) r;
    ck_assert_int_eq(r, -EAGAIN);
    ck_assert_uint_gt(sum, 4095);
    flags_unchanged(ends, _i);
    while (sum > 0) {
        r = uco__read_now(ends[0], block, sizeof block);
        ck_assert_int_gt(r, 0);
        sum -= (size_t) r;
    }
    ck_assert_int_eq(uco__write_now(ends[1], "x", 1), 1);
    ends_close(ends);
}
END_TEST

START_TEST(what_is_nonblocking_already_stays_so)
{
    int ends[2];
    char byte;

    ends_open(ends, _i);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
    ck_assert_int_eq(uco__set_nonblocking(ends[0]), 0);
    ck_assert_int_eq(uco__read_now(ends[0], &byte, 1), -EAGAIN);
    ck_assert_int_eq(uco__read_ready(ends[0], &byte, 1), -EAGAIN);
    ck_assert_int_ne(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    ends_close(ends);
}
END_TEST

/* A terminal is such a one: the kernel knows no RWF_NOWAIT for it. */
START_TEST(a_descriptor_that_cannot_promise_it_says_so)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    char byte;

    if (fd < 0)
        return; /* no terminals here */
    ck_assert_int_eq(uco__read_now(fd, &byte, 1), -EOPNOTSUPP);
    ck_assert_int_eq(uco__write_now(fd, "x", 1), -EOPNOTSUPP);
    ck_assert_int_eq(uco__set_nonblocking(fd), -ENOTSOCK); /* others may have it open too */
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    ck_assert_int_lt(uco__read_now(fd, &byte, 1), 0);
    ck_assert_int_ne(uco__read_now(fd, &byte, 1), -EOPNOTSUPP);
    ck_assert_int_eq(uco__write_now(fd, "x", 1), 1);
    ck_assert_int_eq(uco__close(fd), 0);
}
END_TEST

START_TEST(bad_descriptors_and_faults_are_errors)
{
    int ends[2];
    char byte;

    ck_assert_int_eq(uco__read_now(-1, &byte, 1), -EBADF);
    ck_assert_int_eq(uco__write_now(-1, "x", 1), -EBADF);
    ck_assert_int_eq(uco__read_ready(1000, &byte, 1), -EBADF);
    ck_assert_int_eq(uco__set_nonblocking(-1), -EBADF);
    ck_assert_int_eq(uco__close(-1), -EBADF);
    ends_open(ends, 0);
    ck_assert_int_eq(uco__read_now(ends[1], &byte, 1), -EBADF);
    ck_assert_int_eq(uco__write_now(ends[0], "x", 1), -EBADF);
    ck_assert_int_eq(uco_test_fail("read", 1, false, ECONNRESET), 0);
    ck_assert_int_eq(uco_test_fail("write", 1, false, ENOBUFS), 0);
    ck_assert_int_eq(uco__write_now(ends[1], "x", 1), -ENOBUFS);
    ck_assert_int_eq(uco__read_now(ends[0], &byte, 1), -ECONNRESET);
    ck_assert_int_eq(uco__write_now(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco__read_now(ends[0], &byte, 1), 1);
    ends_close(ends);
}
END_TEST

/* poll says "writable" when PIPE_BUF bytes fit: more than that could wait in the middle. */
START_TEST(a_ready_write_is_no_larger_than_what_poll_promised)
{
    static char block[4 * PIPE_BUF];
    int ends[2];

    ends_open(ends, 0);
    while (uco__poll_now(ends[1], POLLOUT) == POLLOUT)
        ck_assert_int_eq(uco__write_ready(ends[1], block, sizeof block), PIPE_BUF);
    ck_assert_int_eq(uco__write_now(ends[1], block, PIPE_BUF), -EAGAIN);
    ck_assert_int_eq(uco__read_ready(ends[0], block, sizeof block), (ssize_t) sizeof block);
    ck_assert_int_eq(uco__write_ready(ends[1], block, 1), 1);
    ends_close(ends);
}
END_TEST

START_TEST(poll_tells_what_is_ready_now)
{
    int ends[2];

    ends_open(ends, 0);
    ck_assert_int_eq(uco__poll_now(ends[0], POLLIN), 0);
    ck_assert_int_eq(uco__poll_now(ends[1], POLLOUT), POLLOUT);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(uco__poll_now(ends[0], POLLIN | POLLOUT), POLLIN);
    ck_assert_int_eq(uco__close(ends[1]), 0);
    ck_assert_int_eq(uco__poll_now(ends[0], POLLIN), POLLIN | POLLHUP);
    ck_assert_int_eq(uco__poll_now(ends[1], POLLIN), -EBADF);
    ck_assert_int_eq(uco__poll_now(-1, POLLIN), -EBADF);
    ends[1] = -1;
    ends_close(ends);
}
END_TEST

START_TEST(an_interrupted_poll_is_tried_again)
{
    int ends[2];

    ends_open(ends, 1);
    ck_assert_int_eq(uco_test_fail("poll", 1, false, EINTR), 0);
    ck_assert_int_eq(uco__poll_now(ends[0], POLLOUT), POLLOUT);
    ck_assert_int_eq(uco_test_fail("poll", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco__poll_now(ends[0], POLLOUT), -ENOMEM);
    ends_close(ends);
}
END_TEST

START_TEST(a_regular_file_is_known_as_one)
{
    char path[] = "uco-test-XXXXXX";
    char text[8] = "text";
    int fd = mkstemp(path);
    int ends[2];

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    ends_open(ends, 0);
    ck_assert(uco__is_file(fd));
    ck_assert(!uco__is_file(ends[0]));
    ck_assert(!uco__is_file(-1));
    ck_assert_int_eq(uco__file_writev(fd, &(struct iovec){text, 4}, 1), 4);
    text[0] = '\0';
    ck_assert_int_eq(pread(fd, text, sizeof text, 0), 4);
    ck_assert_str_eq(text, "text");
    ck_assert_int_eq(uco__file_writev(ends[0], &(struct iovec){text, 1}, 1), -EBADF);
    ends_close(ends);
    ck_assert_int_eq(uco__close(fd), 0);
}
END_TEST

START_TEST(an_interrupted_close_is_a_close)
{
    int fd = eventfd(0, 0);

    ck_assert_int_eq(uco_test_fail("close", 1, false, EINTR), 0);
    ck_assert_int_eq(uco__close(fd), 0);
    ck_assert_int_eq(uco_test_fail("close", 1, false, EIO), 0);
    ck_assert_int_eq(uco__close(fd), -EIO);
    ck_assert_int_eq(uco__close(fd), 0);
    ck_assert_int_eq(uco__close(fd), -EBADF);
}
END_TEST

/* --- SIGPIPE --- */

static bool
is_pending(int signo)
{
    sigset_t set;

    sigpending(&set);
    return sigismember(&set, signo) == 1;
}

static bool
is_blocked(int signo)
{
    sigset_t set;

    pthread_sigmask(SIG_BLOCK, NULL, &set);
    return sigismember(&set, signo) == 1;
}

static void
set_blocked(int signo, bool blocked)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, signo);
    pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static int
broken_open(int ends[2], int kind)
{
    ends_open(ends, kind);
    ck_assert_int_eq(uco__close(ends[0]), 0);
    ends[0] = -1;
    return ends[1];
}

/* The signal has its default action: raised once, it ends the test. */
START_TEST(writing_to_nobody_raises_no_sigpipe)
{
    int ends[2];
    int fd = broken_open(ends, _i);

    ck_assert_ptr_eq(signal(SIGPIPE, SIG_DFL), SIG_DFL);
    set_blocked(SIGPIPE, false);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(uco__write_now(fd, "x", 1), -EPIPE);
        ck_assert_int_eq(_i == 0 ? uco__write_ready(fd, "x", 1) : -EPIPE, -EPIPE);
    }
    ck_assert(!is_pending(SIGPIPE));
    ck_assert(!is_blocked(SIGPIPE));
    ends_close(ends);
}
END_TEST

START_TEST(a_blocked_sigpipe_stays_blocked_and_not_pending)
{
    int ends[2];
    int fd = broken_open(ends, _i);

    set_blocked(SIGPIPE, true);
    ck_assert_int_eq(uco__write_now(fd, "x", 1), -EPIPE);
    ck_assert(is_blocked(SIGPIPE));
    ck_assert(!is_pending(SIGPIPE));
    ends_close(ends);
}
END_TEST

START_TEST(a_sigpipe_that_was_pending_before_is_still_pending)
{
    int ends[2];
    int fd = broken_open(ends, _i);

    set_blocked(SIGPIPE, true);
    raise(SIGPIPE);
    ck_assert_int_eq(uco__write_now(fd, "x", 1), -EPIPE);
    ck_assert_int_eq(_i == 0 ? uco__write_ready(fd, "x", 1) : -EPIPE, -EPIPE);
    ck_assert(is_pending(SIGPIPE));
    ck_assert(is_blocked(SIGPIPE));
    ends_close(ends);
}
END_TEST

/* A write that succeeds must not eat the signal either. */
START_TEST(a_good_write_leaves_a_pending_sigpipe)
{
    int ends[2];

    ends_open(ends, _i);
    set_blocked(SIGPIPE, true);
    raise(SIGPIPE);
    ck_assert_int_eq(uco__write_now(ends[1], "x", 1), 1);
    ck_assert(is_pending(SIGPIPE));
    ends_close(ends);
}
END_TEST

/* --- doorbells --- */

START_TEST(a_doorbell_rings_until_it_is_answered)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    ck_assert_int_eq(uco__poll_now(fd, POLLIN), 0);
    for (int i = 0; i < 3; i++)
        uco__doorbell_ring(fd);
    ck_assert_int_eq(uco__poll_now(fd, POLLIN), POLLIN);
    uco__doorbell_answer(fd);
    ck_assert_int_eq(uco__poll_now(fd, POLLIN), 0);
    uco__doorbell_answer(fd);
    ck_assert_int_eq(uco__close(fd), 0);
}
END_TEST

START_TEST(a_full_doorbell_still_rings_and_errno_is_kept)
{
    const uint64_t full = UINT64_MAX - 1;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    ck_assert_int_eq(write(fd, &full, sizeof full), sizeof full);
    errno = EXFULL;
    uco__doorbell_ring(fd);
    ck_assert_int_eq(errno, EXFULL);
    ck_assert_int_eq(uco__poll_now(fd, POLLIN), POLLIN);
    errno = EXFULL;
    uco__doorbell_answer(fd);
    uco__doorbell_answer(fd);
    ck_assert_int_eq(errno, EXFULL);
    ck_assert_int_eq(uco__poll_now(fd, POLLIN), 0);
    ck_assert_int_eq(uco__close(fd), 0);
}
END_TEST

/* --- threads --- */

struct seen {
    const void *self;
    bool main;
    bool only;
};

static void *
look_around(void *arg)
{
    struct seen *seen = arg;

    *seen = (struct seen){uco__thread_self(), uco__thread_is_main(), uco__thread_is_only()};
    return NULL;
}

START_TEST(a_thread_knows_itself_and_the_main_one)
{
    struct seen here, there;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, look_around, &there), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    look_around(&here);
    ck_assert_ptr_eq(here.self, uco__thread_self());
    ck_assert_ptr_ne(here.self, there.self);
    ck_assert(here.main && !there.main);
    ck_assert(!there.only);
}
END_TEST

/* The name of a program stands in /proc in brackets, and may hold some itself. */
START_TEST(being_alone_is_known_whatever_the_program_is_called)
{
    int threads = count_threads();

    ck_assert_int_eq(pthread_setname_np(pthread_self(), "a) R 1 (b) 9"), 0);
    ck_assert_int_eq(uco__thread_is_only(), threads == 1);
}
END_TEST

/* --- signals --- */

static volatile sig_atomic_t handled;

static void
handle(int signo)
{
    (void) signo;
    handled++;
}

static void
handle_otherwise(int signo)
{
    (void) signo;
    handled += 100;
}

static struct sigaction
action_of(int signo)
{
    struct sigaction action;

    ck_assert_int_eq(sigaction(signo, NULL, &action), 0);
    return action;
}

START_TEST(a_signal_with_its_default_is_taken_for_once)
{
    ck_assert(uco__signal_take(SIGUSR1, handle));
    ck_assert_ptr_eq(action_of(SIGUSR1).sa_handler, handle);
    ck_assert_int_ne(action_of(SIGUSR1).sa_flags & SA_ONSTACK, 0);
    ck_assert_int_ne(action_of(SIGUSR1).sa_flags & SA_RESTART, 0);
    raise(SIGUSR1);
    ck_assert_int_eq(handled, 1);
    ck_assert_ptr_eq(action_of(SIGUSR1).sa_handler, SIG_DFL);
}
END_TEST

START_TEST(a_signal_that_somebody_has_is_left_to_them)
{
    signal(SIGUSR1, handle_otherwise);
    ck_assert(!uco__signal_take(SIGUSR1, handle));
    ck_assert_ptr_eq(action_of(SIGUSR1).sa_handler, handle_otherwise);
    signal(SIGUSR2, SIG_IGN);
    ck_assert(!uco__signal_take(SIGUSR2, handle));
    ck_assert_ptr_eq(action_of(SIGUSR2).sa_handler, SIG_IGN);
    ck_assert(!uco__signal_take(SIGKILL, handle));
    ck_assert(!uco__signal_take(0, handle));
    ck_assert(!uco__signal_take(9999, handle));
}
END_TEST

START_TEST(only_our_own_handler_is_put_back)
{
    ck_assert(uco__signal_take(SIGUSR1, handle));
    errno = EXFULL;
    uco__signal_default(SIGUSR1, handle);
    ck_assert_ptr_eq(action_of(SIGUSR1).sa_handler, SIG_DFL);
    ck_assert(uco__signal_take(SIGUSR2, handle));
    signal(SIGUSR2, handle_otherwise);
    errno = EXFULL;
    uco__signal_default(SIGUSR2, handle);
    uco__signal_default(9999, handle);
    ck_assert_int_eq(errno, EXFULL);
    ck_assert_ptr_eq(action_of(SIGUSR2).sa_handler, handle_otherwise);
}
END_TEST

static void
suite_faults(Suite *suite)
{
    TCase *tc = case_new(suite, "faults");

    tcase_add_test(tc, the_nth_call_fails_and_no_other);
    tcase_add_test(tc, for_ever_means_from_the_nth_on);
    tcase_add_test(tc, each_fault_counts_its_own_calls);
    tcase_add_test(tc, setting_a_fault_again_starts_its_count_again);
    tcase_add_test(tc, every_fault_can_be_set_and_all_are_off_at_once);
    tcase_add_test(tc, what_cannot_be_set_is_refused);
    tcase_add_test(tc, allocations_are_zeroed_and_can_fail);
    tcase_add_test(tc, a_mapping_is_zeroed_and_goes_away_whole);
}

static void
suite_descriptors(Suite *suite)
{
    TCase *tc = case_new(suite, "descriptors");

    tcase_add_loop_test(tc, reading_from_the_empty_would_wait, 0, 2);
    tcase_add_loop_test(tc, writing_to_the_full_would_wait, 0, 2);
    tcase_add_loop_test(tc, what_is_nonblocking_already_stays_so, 0, 2);
    tcase_add_test(tc, a_descriptor_that_cannot_promise_it_says_so);
    tcase_add_test(tc, bad_descriptors_and_faults_are_errors);
    tcase_add_test(tc, a_ready_write_is_no_larger_than_what_poll_promised);
    tcase_add_test(tc, poll_tells_what_is_ready_now);
    tcase_add_test(tc, an_interrupted_poll_is_tried_again);
    tcase_add_test(tc, a_regular_file_is_known_as_one);
    tcase_add_test(tc, an_interrupted_close_is_a_close);
    tcase_add_test(tc, a_doorbell_rings_until_it_is_answered);
    tcase_add_test(tc, a_full_doorbell_still_rings_and_errno_is_kept);
}

static void
suite_signals(Suite *suite)
{
    TCase *tc = case_new(suite, "signals");

    tcase_add_loop_test(tc, writing_to_nobody_raises_no_sigpipe, 0, 2);
    tcase_add_loop_test(tc, a_blocked_sigpipe_stays_blocked_and_not_pending, 0, 2);
    tcase_add_loop_test(tc, a_sigpipe_that_was_pending_before_is_still_pending, 0, 2);
    tcase_add_loop_test(tc, a_good_write_leaves_a_pending_sigpipe, 0, 2);
    tcase_add_test(tc, a_signal_with_its_default_is_taken_for_once);
    tcase_add_test(tc, a_signal_that_somebody_has_is_left_to_them);
    tcase_add_test(tc, only_our_own_handler_is_put_back);
}

int
main(void)
{
    Suite *suite = suite_create("system");
    TCase *tc = case_new(suite, "threads");

    tcase_add_test(tc, a_thread_knows_itself_and_the_main_one);
    tcase_add_test(tc, being_alone_is_known_whatever_the_program_is_called);
    suite_faults(suite);
    suite_descriptors(suite);
    suite_signals(suite);
    return suite_end(suite);
}
