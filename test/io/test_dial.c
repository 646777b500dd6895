/* SPDX-License-Identifier: MIT */
/* Dialling. The time is virtual: what happens when can be told to the millisecond. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "io/dial_scene.h"

/* Dials a name that must be reached. */
static void
dials(const char *name)
{
    int fd;

    scene_begin();
    fd = uco_dial(name, PORT);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(uco_write(fd, "x", 1), 1);
    ck_assert_int_eq(uco_close(fd), 0);
}

static int
fails(const char *name)
{
    scene_begin();
    return uco_dial(name, PORT);
}

static intptr_t
dials_for_ever(void *name)
{
    return uco_dial(name, PORT);
}

#define SCENE_TEST(name, fn)                                                                       \
    START_TEST(name)                                                                               \
    {                                                                                              \
        scene_open();                                                                              \
        ck_assert_int_eq(run_virtual(fn, NULL), 0);                                                \
        scene_close();                                                                             \
    }                                                                                              \
    END_TEST

/* One address */

static intptr_t
dials_a_number(void *arg)
{
    struct sockaddr_in in;
    socklen_t size = sizeof in;
    int fd, value = 0;

    (void) arg;
    getsockname(scene.good, (struct sockaddr *) &in, &size);
    fd = uco_dial("127.0.0.1", ntohs(in.sin_port));
    ck_assert_int_ge(fd, 0);
    size = sizeof value;
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    ck_assert_int_ne(value, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    return uco_close(fd);
}

SCENE_TEST(a_number_is_dialled_without_delay_and_close_on_exec, dials_a_number)

static intptr_t
dials_one_address(void *arg)
{
    uco_loop_stats stats[2];

    (void) arg;
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats[0]), 0);
    dials("t4o");
    ck_assert_str_eq(scene.log, "a0 ");
    ck_assert_int_eq(uco_stats(uco_get_running_loop(), &stats[1]), 0);
    ck_assert_int_eq(stats[1].tasks_created, stats[0].tasks_created);
    ck_assert_int_eq(fails("t4r"), -ECONNREFUSED);
    ck_assert_int_eq(fails("t4u"), -ENETUNREACH);
    return 0;
}

SCENE_TEST(one_address_is_connected_to_by_the_caller, dials_one_address)

static intptr_t
dials_itself(void *arg)
{
    (void) arg;
    scene_begin();
    ck_assert_int_eq(uco_dial("t4s", (uint16_t) (20000 + getpid() % 10000)), -ECONNREFUSED);
    return 0;
}

SCENE_TEST(a_socket_connected_to_itself_is_refused, dials_itself)

/* Several addresses */

static intptr_t
alternates(void *arg)
{
    (void) arg;
    ck_assert_int_eq(fails("t4r4r4r6r6r"), -ECONNREFUSED);
    ck_assert_str_eq(scene.log, "a0 d0 b0 e0 c0 ");
    ck_assert_int_eq(fails("t6r6r4r"), -ECONNREFUSED);
    ck_assert_str_eq(scene.log, "a0 c0 b0 ");
    dials("t6r6r4o6o");
    ck_assert_str_eq(scene.log, "a0 c0 ");
    return 0;
}

START_TEST(families_take_turns_beginning_with_the_firsts)
{
    if (!has_ipv6())
        return;
    scene_open();
    ck_assert_int_eq(run_virtual(alternates, NULL), 0);
    scene_close();
}
END_TEST

static intptr_t
passes_over_a_black_hole(void *arg)
{
    (void) arg;
    dials("t4b4o");
    ck_assert_str_eq(scene.log, "a0 b250 ");
    dials("t4b4b4b4o4o");
    ck_assert_str_eq(scene.log, "a0 b250 c500 d750 ");
    return 0;
}

SCENE_TEST(an_address_that_does_not_answer_costs_250_ms, passes_over_a_black_hole)

static intptr_t
goes_on_after_a_refusal(void *arg)
{
    (void) arg;
    dials("t4r4r4o");
    ck_assert_str_eq(scene.log, "a0 b0 c0 ");
    dials("t4b4r4b4o");
    ck_assert_str_eq(scene.log, "a0 b250 c250 d500 ");
    return 0;
}

SCENE_TEST(one_that_fails_is_followed_at_once, goes_on_after_a_refusal)

static intptr_t
breaks_at_100_ms(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_sleep(0.100), 0);
    break_slow(0);
    return 0;
}

static intptr_t
fails_while_it_waits(void *arg)
{
    uco_task *other = uco_create_task(breaks_at_100_ms, NULL);

    (void) arg;
    dials("t4b4b4o");
    ck_assert_str_eq(scene.log, "a0 b100 c350 ");
    return uco_join(other);
}

SCENE_TEST(the_delay_is_counted_from_the_latest_attempt, fails_while_it_waits)

static intptr_t
the_first_is_late(void *arg)
{
    char name[] = "t4b4b";
    uco_task *dialling;
    int old, fd;

    (void) arg;
    scene_begin();
    dialling = uco_create_task(dials_for_ever, name);
    ck_assert_int_eq(uco_sleep(1), 0);
    ck_assert_str_eq(scene.log, "a0 b250 ");
    old = let_slow_connect(0);
    fd = (int) uco_join(dialling);
    ck_assert_int_eq(fd, scene.slow[0]);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(close(old), 0);
    ck_assert_int_eq(fcntl(scene.slow[1], F_GETFD), -1);
    return 0;
}

SCENE_TEST(an_early_attempt_may_win_late, the_first_is_late)

static intptr_t
two_win(void *arg)
{
    char name[] = "t4b4b4b";
    uco_task *dialling;
    int old[2], fd;

    (void) arg;
    scene_begin();
    dialling = uco_create_task(dials_for_ever, name);
    ck_assert_int_eq(uco_sleep(1), 0);
    old[0] = let_slow_connect(0);
    old[1] = let_slow_connect(1);
    fd = (int) uco_join(dialling);
    ck_assert(fd == scene.slow[0] || fd == scene.slow[1]);
    ck_assert_int_eq(uco_close(fd), 0);
    close(old[0]);
    close(old[1]);
    return 0;
}

SCENE_TEST(of_two_that_connect_at_the_same_time_one_is_closed, two_win)

/* Failure */

static intptr_t
tells_the_most_telling(void *arg)
{
    (void) arg;
    ck_assert_int_eq(fails("t4u4r4u"), -ECONNREFUSED);
    ck_assert_int_eq(fails("t4u4u"), -ENETUNREACH);
    return 0;
}

SCENE_TEST(an_unreachable_address_tells_less_than_a_refusal, tells_the_most_telling)

static intptr_t
tells_the_first(void *arg)
{
    (void) arg;
    uco_test_fail("connect", 2, false, EHOSTUNREACH);
    ck_assert_int_eq(fails("t4r4r4r"), -ECONNREFUSED);
    uco_test_fail("connect", 1, false, EHOSTUNREACH);
    ck_assert_int_eq(fails("t4r4r4r"), -EHOSTUNREACH);
    ck_assert_int_eq(fails("nobody"), -ENOENT);
    uco_test_fail_off();
    return 0;
}

SCENE_TEST(when_all_fail_the_first_error_counts, tells_the_first)

static intptr_t
is_refused_nonsense(void *arg)
{
    char host[300] = "unix:/tmp/";

    (void) arg;
    memset(host + strlen(host), 'x', sizeof host - 1 - strlen(host));
    ck_assert_int_eq(uco_dial(NULL, PORT), -EINVAL);
    ck_assert_int_eq(uco_dial("unix:", PORT), -EINVAL);
    ck_assert_int_eq(uco_dial(host, PORT), -ENAMETOOLONG);
    ck_assert_int_eq(uco_dial("unix:/no/such/socket", PORT), -ENOENT);
    ck_assert_int_eq(uco_dial("", PORT), -ENOENT);
    return 0;
}

START_TEST(bad_hosts_are_refused)
{
    ck_assert_int_eq(uco_dial("127.0.0.1", PORT), -EPERM);
    ck_assert_int_eq(run_virtual(is_refused_nonsense, NULL), 0);
}
END_TEST

enum { FAULTS = 40 }; /* more than a call has chances to fail */

/* Whatever fails, and whenever: uco_dial() tells, gets over it, or is left with an address that
 * does not answer; and nothing is left open (the ledger). */
static void
survives(const char *what, int error, const char *name)
{
    for (unsigned long nth = 1; nth <= FAULTS; nth++) {
        int fd;

        scene_begin();
        uco_test_fail(what, nth, false, error);
        fd = (int) uco_with_timeout(10, dials_for_ever, (void *) (uintptr_t) name);
        uco_test_fail_off();
        ck_assert(fd >= 0 || fd == -error || fd == -EAGAIN || fd == -ETIMEDOUT);
        if (fd >= 0)
            ck_assert_int_eq(uco_close(fd), 0);
    }
}

static intptr_t
meets_faults(void *arg)
{
    (void) arg;
    survives("malloc", ENOMEM, "t4b4r4o");
    survives("malloc", ENOMEM, "t4o");
    survives("mmap", ENOMEM, "t4b4r4o");
    survives("socket", EMFILE, "t4b4r4o");
    survives("connect", ENOBUFS, "t4b4r4o");
    survives("setsockopt", EINVAL, "t4b4o");
    survives("epoll_ctl", ENOMEM, "t4b4b4o");
    survives("fcntl", EACCES, "t4b4o");
    return 0;
}

SCENE_TEST(single_faults_are_survived, meets_faults)

static intptr_t
meets_lasting_faults(void *arg)
{
    (void) arg;
    uco_test_fail("socket", 1, true, EMFILE);
    ck_assert_int_eq(fails("t4o4o"), -EMFILE);
    uco_test_fail("socket", 2, true, EMFILE);
    ck_assert_int_eq(fails("t4r4o"), -ECONNREFUSED);
    uco_test_fail_off();
    uco_test_fail("mmap", 1, true, ENOMEM);
    uco_test_fail("malloc", 1, true, ENOMEM);
    ck_assert_int_eq(fails("t4o4o4o"), -ENOMEM);
    uco_test_fail_off();
    return 0;
}

SCENE_TEST(lasting_faults_are_told, meets_lasting_faults)

static intptr_t
has_no_stacks(void *arg)
{
    (void) arg;
    ck_assert_int_eq(fails("t4r"), -ECONNREFUSED); /* the look-up has what it needs */
    uco_test_fail("mmap", 1, true, ENOMEM);
    for (bool full = false; !full;) { /* until no pooled stack is left */
        uco_task *sleeper = uco_create_task(body_sleep_forever, NULL);

        ck_assert_int_eq(uco_test_settle(), 0);
        full = uco_done(sleeper);
        ck_assert(!full || uco_result(sleeper) == -ENOMEM);
        uco_unref(sleeper);
    }
    errno = 77;
    ck_assert_int_eq(fails("t4o4o4o"), -ENOMEM);
    ck_assert_int_eq(errno, 77);
    ck_assert_str_eq(scene.log, "");
    uco_test_fail_off();
    return 0;
}

START_TEST(without_stacks_for_the_attempts_there_is_no_memory)
{
    uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL, .stack_size = 512 * 1024};

    ck_assert_int_eq(uco_run_with(&options, has_no_stacks, NULL), 0);
}
END_TEST

/* Cancellation */

static intptr_t
is_cancelled_at_each_stage(void *arg)
{
    static const double stages[] = {0, 0.1, 0.25, 0.3, 0.5, 0.6, 10};
    char names[][12] = {"t4b", "t4b4b4b"};

    (void) arg;
    for (size_t i = 0; i < COUNT(stages) * COUNT(names); i++) {
        uco_task *dialling = uco_create_task(dials_for_ever, names[i % COUNT(names)]);
        int fds = count_fds();

        scene_begin();
        ck_assert_int_eq(uco_sleep(stages[i / COUNT(names)]), 0);
        ck_assert_int_eq(uco_cancel(dialling), 0);
        ck_assert_int_eq(uco_join(dialling), -ECANCELED);
        if (i >= COUNT(names)) /* the poller has made its fds */
            ck_assert_int_eq(count_fds(), fds);
    }
    return 0;
}

SCENE_TEST(a_cancelled_dial_leaves_nothing_open, is_cancelled_at_each_stage)

static intptr_t
times_out(void *arg)
{
    char name[] = "t4b4b";

    (void) arg;
    scene_begin();
    ck_assert_int_eq(uco_with_timeout(10, dials_for_ever, name), -ETIMEDOUT);
    ck_assert_double_eq_tol(uco_time() - scene.start, 10, 1e-6);
    ck_assert_str_eq(scene.log, "a0 b250 ");
    return 0;
}

SCENE_TEST(a_scope_gives_the_timeout, times_out)

static intptr_t
wins_too_late(void *arg)
{
    char name[] = "t4b4b";
    uco_task *dialling;
    intptr_t fd;
    int old;

    (void) arg;
    scene_begin();
    dialling = uco_create_task(dials_for_ever, name);
    ck_assert_int_eq(uco_sleep(1), 0);
    old = let_slow_connect(0);
    ck_assert_int_eq(uco_cancel(dialling), 0);
    fd = uco_join(dialling);
    ck_assert_int_eq(fd, -ECANCELED);
    return close(old);
}

SCENE_TEST(who_connects_after_the_cancellation_is_closed, wins_too_late)

static intptr_t
is_cancelled_before(void *arg)
{
    (void) arg;
    ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
    ck_assert_int_eq(fails("t4o4o"), -ECANCELED);
    ck_assert_int_eq(fails("127.0.0.1"), -ECANCELED);
    ck_assert_int_eq(fails("unix:/no/such/socket"), -ECANCELED);
    ck_assert_str_eq(scene.log, "");
    return 0;
}

SCENE_TEST(in_a_cancelled_scope_nothing_is_dialled, is_cancelled_before)

/* Unix sockets */

static intptr_t
dials_a_unix_socket(void *arg)
{
    int listening = uco_listen(arg, 0, 0);
    int fd, server;
    char c = 0;

    ck_assert_int_ge(listening, 0);
    fd = uco_dial(arg, 0);
    ck_assert_int_ge(fd, 0);
    server = uco_accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(server, 0);
    ck_assert_int_eq(uco_write(fd, "x", 1), 1);
    ck_assert_int_eq(uco_read(server, &c, 1), 1);
    ck_assert_int_eq(c, 'x');
    ck_assert_int_eq(uco_close(server), 0);
    ck_assert_int_eq(uco_close(fd), 0);
    ck_assert_int_eq(uco_close(listening), 0);
    return 0;
}

START_TEST(unix_sockets_are_dialled_by_path_and_by_abstract_name)
{
    char host[64];

    snprintf(host, sizeof host, "unix:@uco-dial-%d", (int) getpid());
    ck_assert_int_eq(run_virtual(dials_a_unix_socket, host), 0);
    snprintf(host, sizeof host, "unix:/tmp/uco-dial-%d", (int) getpid());
    ck_assert_int_eq(run_virtual(dials_a_unix_socket, host), 0);
    ck_assert_int_eq(unlink(host + strlen("unix:")), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dial");
    TCase *tc = case_new(suite, "one address");

    tcase_add_test(tc, a_number_is_dialled_without_delay_and_close_on_exec);
    tcase_add_test(tc, one_address_is_connected_to_by_the_caller);
    tcase_add_test(tc, a_socket_connected_to_itself_is_refused);
    tcase_add_test(tc, unix_sockets_are_dialled_by_path_and_by_abstract_name);
    tc = case_new(suite, "several");
    tcase_add_test(tc, families_take_turns_beginning_with_the_firsts);
    tcase_add_test(tc, an_address_that_does_not_answer_costs_250_ms);
    tcase_add_test(tc, one_that_fails_is_followed_at_once);
    tcase_add_test(tc, the_delay_is_counted_from_the_latest_attempt);
    tcase_add_test(tc, an_early_attempt_may_win_late);
    tcase_add_test(tc, of_two_that_connect_at_the_same_time_one_is_closed);
    tc = case_new(suite, "failure");
    tcase_add_test(tc, when_all_fail_the_first_error_counts);
    tcase_add_test(tc, an_unreachable_address_tells_less_than_a_refusal);
    tcase_add_test(tc, bad_hosts_are_refused);
    tcase_add_test(tc, single_faults_are_survived);
    tcase_add_test(tc, lasting_faults_are_told);
    tcase_add_test(tc, without_stacks_for_the_attempts_there_is_no_memory);
    tc = case_new(suite, "cancellation");
    tcase_add_test(tc, a_cancelled_dial_leaves_nothing_open);
    tcase_add_test(tc, a_scope_gives_the_timeout);
    tcase_add_test(tc, who_connects_after_the_cancellation_is_closed);
    tcase_add_test(tc, in_a_cancelled_scope_nothing_is_dialled);
    return suite_end(suite);
}
