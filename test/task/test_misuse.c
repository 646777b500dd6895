/* SPDX-License-Identifier: MIT */

/*
 * What callers do wrong: suspending where it cannot be, NULL and NaN, the wrong thread, a closed
 * loop, and no memory. Each gets the error that the headers name, and nothing changes; in debug
 * mode it aborts.
 */

#include "support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

#define assert_null(call, error)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_ptr_null(call);                                                                  \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

#define assert_no_timer(call, error)                                                               \
    do {                                                                                           \
        errno = 0;                                                                                 \
        ck_assert_uint_eq(call, 0);                                                                \
        ck_assert_int_eq(errno, error);                                                            \
    } while (0)

#define assert_nan(call) ck_assert(isnan(call))

static const double not_a_number = (double) NAN;

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static void
callback_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a callback that must not run has run");
}

/* What the suspending calls are made on: each would do something if it were allowed to. */
struct world {
    uco_future *future;         /* pending */
    uco_scope open;             /* by the task that makes the world, or by one that is suspended */
    uco_scope fresh;            /* for a call to open */
    int pair[2];                /* sockets, with one byte to read in pair[0] */
    int listener;               /* with one connection to accept */
    int dialled;                /* that connection's other end */
    int client;                 /* not connected */
    struct sockaddr_in address; /* the listener's */
    struct addrinfo *addresses; /* of a look-up */
    char byte;
    size_t call; /* index into suspending_calls */
    intptr_t result;
    bool called;
};

#define SUSPENDING_CALLS(CALL)                                                                     \
    CALL(uco_sleep, uco_sleep(1.0))                                                                \
    CALL(uco_yield, uco_yield())                                                                   \
    CALL(uco_await, uco_await(w->future))                                                          \
    CALL(uco_join, uco_join(w->future))                                                            \
    CALL(uco_gather, uco_gather(&w->future, 1, NULL))                                              \
    CALL(uco_gather_all, uco_gather_all(&w->future, 1, NULL))                                      \
    CALL(uco_wait_any, uco_wait_any(&w->future, 1, UCO_FOREVER))                                   \
    CALL(uco_wait_all, uco_wait_all(&w->future, 1, UCO_FOREVER))                                   \
    CALL(uco_wait_for, uco_wait_for(w->future, 0.0))                                               \
    CALL(uco_with_timeout, uco_with_timeout(1.0, body_never, w))                                   \
    CALL(uco_to_thread, uco_to_thread(body_never, w))                                              \
    CALL(uco_read, uco_read(w->pair[0], &w->byte, 1))                                              \
    CALL(uco_write, uco_write(w->pair[1], "x", 1))                                                 \
    CALL(uco_read_exactly, uco_read_exactly(w->pair[0], &w->byte, 1))                              \
    CALL(uco_write_all, uco_write_all(w->pair[1], "x", 1, NULL))                                   \
    CALL(uco_accept4, uco_accept4(w->listener, NULL, NULL, 0))                                     \
    CALL(uco_connect, uco_connect(w->client, (struct sockaddr *) &w->address, sizeof w->address))  \
    CALL(uco_poll, uco_poll(w->pair[0], POLLIN, UCO_FOREVER))                                      \
    CALL(uco_readv, uco_readv(w->pair[0], &(struct iovec){&w->byte, 1}, 1))                        \
    CALL(uco_writev, uco_writev(w->pair[1], &(struct iovec){&w->byte, 1}, 1))                      \
    CALL(uco_recv, uco_recv(w->pair[0], &w->byte, 1, 0))                                           \
    CALL(uco_send, uco_send(w->pair[1], "x", 1, 0))                                                \
    CALL(uco_recvfrom, uco_recvfrom(w->pair[0], &w->byte, 1, 0, NULL, NULL))                       \
    CALL(uco_sendto, uco_sendto(w->pair[1], "x", 1, 0, NULL, 0))                                   \
    CALL(uco_recvmsg, uco_recvmsg(w->pair[0], &(struct msghdr){0}, 0))                             \
    CALL(uco_sendmsg, uco_sendmsg(w->pair[1], &(struct msghdr){0}, 0))                             \
    CALL(uco_pread, uco_pread(w->pair[0], &w->byte, 1, 0))                                         \
    CALL(uco_pwrite, uco_pwrite(w->pair[1], "x", 1, 0))                                            \
    CALL(uco_open, uco_open("/dev/null", O_RDONLY, 0))                                             \
    CALL(uco_fsync, uco_fsync(w->pair[0]))                                                         \
    CALL(uco_sendfile, uco_sendfile(w->pair[1], w->pair[0], NULL, 1))                              \
    CALL(uco_send_fd, uco_send_fd(w->pair[0], w->pair[1]))                                         \
    CALL(uco_recv_fd, uco_recv_fd(w->pair[0]))                                                     \
    CALL(uco_dial, uco_dial("127.0.0.1", ntohs(w->address.sin_port)))                              \
    CALL(uco_getaddrinfo, uco_getaddrinfo("127.0.0.1", "80", NULL, &w->addresses))                 \
    CALL(uco_signal_wait, uco_signal_wait(SIGUSR1))                                                \
    CALL(uco_test_settle, uco_test_settle())                                                       \
    CALL(uco_scope_open, uco_scope_open(&w->fresh, 1.0))                                           \
    CALL(uco_shield_open, uco_shield_open(&w->fresh, 1.0))                                         \
    CALL(uco_scope_close, uco_scope_close(&w->open, 5))                                            \
    /* The caller is looked at before what it hands over. */                                       \
    CALL(uco_sleep_nan, uco_sleep(not_a_number))                                                   \
    CALL(uco_await_null, uco_await(NULL))                                                          \
    CALL(uco_join_null, uco_join(NULL))                                                            \
    CALL(uco_gather_none, uco_gather(NULL, 0, NULL))                                               \
    CALL(uco_gather_all_null, uco_gather_all(NULL, 1, NULL))                                       \
    CALL(uco_wait_any_none, uco_wait_any(NULL, 0, 0.0))                                            \
    CALL(uco_wait_all_nan, uco_wait_all(NULL, 0, not_a_number))                                    \
    CALL(uco_wait_for_null, uco_wait_for(NULL, 0.0))                                               \
    CALL(uco_with_timeout_null, uco_with_timeout(1.0, NULL, NULL))                                 \
    CALL(uco_to_thread_null, uco_to_thread(NULL, NULL))                                            \
    CALL(uco_read_closed, uco_read(-1, &w->byte, 1))                                               \
    CALL(uco_dial_null, uco_dial(NULL, 1))                                                         \
    CALL(uco_open_null, uco_open(NULL, 0, 0))                                                      \
    CALL(uco_getaddrinfo_null, uco_getaddrinfo(NULL, NULL, NULL, NULL))                            \
    CALL(uco_signal_wait_none, uco_signal_wait(0))                                                 \
    CALL(uco_stream_read_null, uco_stream_read(NULL, NULL, 0))                                     \
    CALL(uco_stream_write_null, uco_stream_write(NULL, NULL, 1))                                   \
    CALL(uco_stream_drain_null, uco_stream_drain(NULL))                                            \
    CALL(uco_process_wait_null, uco_process_wait(NULL))                                            \
    CALL(uco_poll_nan, uco_poll(w->pair[0], POLLIN, not_a_number))

#define SUSPENDING_FUNCTION(name, call)                                                            \
    static intptr_t call_##name(struct world *w)                                                   \
    {                                                                                              \
        (void) w;                                                                                  \
        return call;                                                                               \
    }
#define SUSPENDING_ENTRY(name, call) {#name, call_##name},

SUSPENDING_CALLS(SUSPENDING_FUNCTION)
static const struct {
    const char *name;
    intptr_t (*call)(struct world *w);
} suspending_calls[] = {SUSPENDING_CALLS(SUSPENDING_ENTRY)};

static void
world_listen(struct world *w)
{
    socklen_t length = sizeof w->address;

    w->address = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    w->listener = socket(AF_INET, SOCK_STREAM, 0);
    w->dialled = socket(AF_INET, SOCK_STREAM, 0);
    w->client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(w->listener, (struct sockaddr *) &w->address, length), 0);
    ck_assert_int_eq(listen(w->listener, 5), 0);
    ck_assert_int_eq(getsockname(w->listener, (struct sockaddr *) &w->address, &length), 0);
    ck_assert_int_eq(connect(w->dialled, (struct sockaddr *) &w->address, length), 0);
}

static void
world_init(struct world *w, int call)
{
    *w = (struct world){.future = uco_future_new(), .byte = '-', .call = (size_t) call};
    ck_assert_ptr_nonnull(w->future);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, w->pair), 0);
    ck_assert_int_eq(write(w->pair[1], "b", 1), 1);
    world_listen(w);
}

static void
world_call(void *arg)
{
    struct world *w = arg;

    w->result = suspending_calls[w->call].call(w);
    w->called = true;
}

/* The call was refused, and nothing has become of it. */
static void
world_check(struct world *w)
{
    struct pollfd listener = {.fd = w->listener, .events = POLLIN};
    socklen_t length = sizeof w->address;
    int unread;

    ck_assert(w->called);
    ck_assert_msg(w->result == -EPERM, "%s: %s", suspending_calls[w->call].name,
                  uco_strerror((int) w->result));
    ck_assert_int_eq(uco_result(w->future), -EINPROGRESS);
    ck_assert_int_eq(w->byte, '-');
    ck_assert_uint_eq(w->fresh.ticket[0] | w->fresh.ticket[1], 0);
    ck_assert_int_eq(ioctl(w->pair[0], FIONREAD, &unread), 0);
    ck_assert_int_eq(unread, 1);
    ck_assert_int_eq(poll(&listener, 1, 5000), 1);
    ck_assert_int_eq(getpeername(w->client, (struct sockaddr *) &w->address, &length), -1);
}

static void
world_done(struct world *w)
{
    ck_assert_int_eq(uco_future_set_result(w->future, 0), 0);
    uco_unref(w->future);
    close(w->pair[0]);
    close(w->pair[1]);
    close(w->listener);
    close(w->dialled);
    close(w->client);
}

static intptr_t
open_stop_close(void *arg)
{
    struct world *w = arg;

    ck_assert_int_eq(uco_scope_open(&w->open, UCO_FOREVER), 0);
    uco_loop_stop(uco_get_running_loop());
    while (!w->called)
        ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_scope_close(&w->open, 5), 5);
    uco_loop_stop(uco_get_running_loop());
    return 0;
}

START_TEST(no_call_suspends_outside_of_a_loop)
{
    uco_loop *loop = uco_loop_new(NULL);
    struct world w;

    world_init(&w, _i);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, open_stop_close, &w), -EINTR);
    world_call(&w);
    world_check(&w);
    ck_assert_int_eq(uco_loop_run_forever(loop), 0);
    world_done(&w);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

/* Has world_call() called in a certain way, within a loop. */
typedef void arrange_fn(struct world *w);

struct arranged {
    struct world world;
    arrange_fn *arrange;
};

static intptr_t
arranged_main(void *arg)
{
    struct arranged *a = arg;

    ck_assert_int_eq(uco_scope_open(&a->world.open, UCO_FOREVER), 0);
    a->arrange(&a->world);
    while (!a->world.called)
        ck_assert_int_eq(uco_yield(), 0);
    world_check(&a->world);
    ck_assert_int_eq(uco_scope_close(&a->world.open, 5), 5);
    return uco_yield();
}

static void
run_arranged(arrange_fn *arrange, int call)
{
    struct arranged a = {.arrange = arrange};

    world_init(&a.world, call);
    ck_assert_int_eq(run_virtual(arranged_main, &a), 0);
    world_done(&a.world);
}

static void
arrange_soon(struct world *w)
{
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), world_call, w), 0);
}

START_TEST(no_call_suspends_in_a_callback)
{
    run_arranged(arrange_soon, _i);
}
END_TEST

static void
arrange_timer(struct world *w)
{
    ck_assert_uint_ne(uco_loop_call_later(uco_get_running_loop(), 0.0, world_call, w), 0);
}

START_TEST(no_call_suspends_in_a_timer)
{
    run_arranged(arrange_timer, _i);
}
END_TEST

static void
arrange_done(struct world *w)
{
    uco_future *future = uco_future_new();

    ck_assert_int_eq(uco_add_done_callback(future, world_call, w), 0);
    ck_assert_int_eq(uco_future_set_result(future, 0), 0);
    uco_unref(future);
}

START_TEST(no_call_suspends_in_a_done_callback)
{
    run_arranged(arrange_done, _i);
}
END_TEST

static void
arrange_discard(struct world *w)
{
    uco_task_options options = {.discard = world_call};
    uco_task *task = uco_create_task_with(&options, body_never, w);

    ck_assert_int_eq(uco_cancel(task), 0);
    uco_unref(task);
}

START_TEST(no_call_suspends_in_a_discard)
{
    run_arranged(arrange_discard, _i);
}
END_TEST

static intptr_t
call_in_thread(void *arg)
{
    world_call(arg);
    return 0;
}

static void
arrange_thread(struct world *w)
{
    ck_assert_int_eq(uco_to_thread(call_in_thread, w), 0);
}

START_TEST(no_call_suspends_in_another_thread)
{
    run_arranged(arrange_thread, _i);
}
END_TEST

static void
assert_null_futures_refused(uco_future *f)
{
    ck_assert_int_eq(uco_future_set_result(NULL, 0), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(f, -UCO_MAX_ERROR - 1), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(f, INTPTR_MIN), -EINVAL);
    ck_assert(uco_done(NULL));
    ck_assert_int_eq(uco_result(NULL), -EINVAL);
    ck_assert_int_eq(uco_add_done_callback(NULL, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_add_done_callback(f, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_remove_done_callback(NULL, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_remove_done_callback(f, NULL, NULL), -EINVAL);
    assert_null(uco_ref(NULL), EINVAL);
    uco_unref(NULL);
    uco_unref_all(NULL, 0);
    uco_unref_all((uco_future *[3]){NULL}, 3);
    ck_assert_int_eq(uco_cancel(NULL), -EINVAL);
    ck_assert_int_eq(uco_detach(NULL), -EINVAL);
    ck_assert_int_eq(uco_detach(f), -EINVAL);
    assert_null(uco_task_name(NULL), EINVAL);
    assert_null(uco_task_name(f), EINVAL);
    ck_assert_uint_eq(uco_task_id(NULL), 0);
    ck_assert_uint_eq(uco_task_id(f), 0);
    ck_assert_int_eq(uco_result(f), -EINPROGRESS);
}

static void
assert_null_tasks_refused(void)
{
    uco_task_options small = {.stack_size = 1};

    assert_null(uco_create_task(NULL, NULL), EINVAL);
    assert_null(uco_create_task_with(NULL, NULL, NULL), EINVAL);
    assert_null(uco_create_task_with(&small, body_never, NULL), EINVAL);
    assert_null(uco_to_thread_start(NULL, NULL), EINVAL);
    ck_assert_int_eq(uco_scope_open(NULL, 1.0), -EINVAL);
    ck_assert_int_eq(uco_shield_open(NULL, 1.0), -EINVAL);
    ck_assert_int_eq(uco_scope_close(NULL, 0), -EINVAL);
    ck_assert_int_eq(uco_scope_cancel(NULL), -EINVAL);
    ck_assert_int_eq(uco_scope_reschedule(NULL, 1.0), -EINVAL);
}

static void
assert_null_loops_refused(uco_loop *loop)
{
    uco_post post = {.callback = callback_never}, no_callback = {0};
    uco_loop_stats stats;

    ck_assert_int_eq(uco_loop_call_soon(NULL, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon(loop, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(NULL, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_post(NULL, &post), -EINVAL);
    ck_assert_int_eq(uco_loop_post(loop, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_post(loop, &no_callback), -EINVAL);
    ck_assert_int_eq(uco_loop_set_wake_callback(NULL, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_wake_from_signal(NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_close(NULL), 0);
    assert_null(uco_loop_ref(NULL), EINVAL);
    uco_loop_unref(NULL);
    uco_loop_stop(NULL);
    ck_assert(!uco_loop_is_running(NULL));
    ck_assert_int_eq(uco_stats(NULL, &stats), -EINVAL);
    ck_assert_int_eq(uco_stats(loop, NULL), -EINVAL);
    assert_null(uco_run_coroutine_threadsafe(NULL, body_never, NULL), EINVAL);
    assert_null(uco_run_coroutine_threadsafe(loop, NULL, NULL), EINVAL);
    assert_null(uco_loop_thread_loop(NULL), EINVAL);
    ck_assert_int_eq(uco_loop_thread_stop(NULL), 0);
    assert_nan(uco_test_advance(NULL, 1.0));
}

static void
assert_bad_timers_and_watchers_refused(uco_loop *loop)
{
    assert_no_timer(uco_loop_call_later(NULL, 1.0, callback_never, NULL), EINVAL);
    assert_no_timer(uco_loop_call_later(loop, 1.0, NULL, NULL), EINVAL);
    assert_no_timer(uco_loop_call_later(loop, not_a_number, callback_never, NULL), EINVAL);
    assert_no_timer(uco_loop_call_at(NULL, 1.0, callback_never, NULL), EINVAL);
    assert_no_timer(uco_loop_call_at(loop, 1.0, NULL, NULL), EINVAL);
    assert_no_timer(uco_loop_call_at(loop, not_a_number, callback_never, NULL), EINVAL);
    ck_assert_int_eq(uco_timer_cancel(NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_timer_cancel(loop, 0), -EINVAL);
    ck_assert_int_eq(uco_timer_cancel(loop, UINT64_MAX), -EINVAL);
    ck_assert_int_eq(uco_loop_add_reader(NULL, 0, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_reader(loop, 0, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_reader(loop, -1, callback_never, NULL), -EBADF);
    ck_assert_int_eq(uco_loop_add_writer(NULL, 0, callback_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_writer(loop, 0, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_add_writer(loop, -1, callback_never, NULL), -EBADF);
    ck_assert_int_eq(uco_loop_remove_reader(NULL, 0), -EINVAL);
    ck_assert_int_eq(uco_loop_remove_writer(NULL, 0), -EINVAL);
    ck_assert_int_eq(uco_loop_remove_reader(loop, -1), -ENOENT);
}

static void
assert_bad_arguments_refused(uco_loop *loop)
{
    uco_future *future = uco_future_new();

    assert_null_futures_refused(future);
    assert_null_tasks_refused();
    assert_null_loops_refused(loop);
    assert_bad_timers_and_watchers_refused(loop);
    uco_unref(future);
}

START_TEST(bad_arguments_are_refused_outside_of_a_running_loop)
{
    uco_loop *loop = uco_loop_new(NULL);

    assert_bad_arguments_refused(loop);
    ck_assert_int_eq(uco_run(NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_run_with(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_run_until_complete(NULL, body_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_run_forever(NULL), -EINVAL);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
bad_arguments_main(void *arg)
{
    (void) arg;
    assert_bad_arguments_refused(uco_get_running_loop());
    return uco_yield();
}

START_TEST(bad_arguments_are_refused_in_a_coroutine)
{
    ck_assert_int_eq(run_virtual(bad_arguments_main, NULL), 0);
}
END_TEST

static intptr_t
set_task_main(void *arg)
{
    uco_task *task = uco_create_task(body_return, (void *) 4);

    (void) arg;
    ck_assert_int_eq(uco_future_set_result(task, 5), -EINVAL);
    ck_assert_int_eq(uco_future_set_result(uco_current_task(), 5), -EINVAL);
    return uco_join(task);
}

START_TEST(a_tasks_result_cannot_be_set)
{
    ck_assert_int_eq(run_virtual(set_task_main, NULL), 4);
}
END_TEST

static intptr_t
null_waits_main(void *arg)
{
    uco_future *none[2] = {NULL, NULL};
    intptr_t results[2] = {0, 0};

    (void) arg;
    ck_assert_int_eq(uco_await(NULL), -ENOMEM);
    ck_assert_int_eq(uco_join(NULL), -ENOMEM);
    ck_assert_int_eq(uco_wait_for(NULL, 1.0), -ENOMEM);
    ck_assert_int_eq(uco_gather(none, 2, results), -ENOMEM);
    ck_assert(results[0] == -ENOMEM && results[1] == -ENOMEM);
    ck_assert_int_eq(uco_gather_all(none, 2, NULL), 0);
    ck_assert_int_eq(uco_wait_any(none, 2, 1.0), 0);
    ck_assert_int_eq(uco_wait_all(none, 2, 1.0), 0);
    ck_assert_int_eq(uco_gather(NULL, 0, NULL), 0);
    ck_assert_int_eq(uco_gather_all(NULL, 0, NULL), 0);
    ck_assert_int_eq(uco_wait_all(NULL, 0, 1.0), 0);
    ck_assert_int_eq(uco_gather(NULL, 1, NULL), -EINVAL);
    ck_assert_int_eq(uco_gather_all(NULL, 1, NULL), -EINVAL);
    ck_assert_int_eq(uco_wait_any(NULL, 0, 1.0), -EINVAL);
    ck_assert_int_eq(uco_wait_any(NULL, 1, 1.0), -EINVAL);
    ck_assert_int_eq(uco_wait_all(NULL, 1, 1.0), -EINVAL);
    ck_assert_int_eq(uco_to_thread(NULL, NULL), -EINVAL);
    ck_assert_int_eq(uco_with_timeout(1.0, NULL, NULL), -EINVAL);
    return 0;
}

START_TEST(a_future_that_could_not_be_created_ends_every_wait)
{
    ck_assert_int_eq(run_virtual(null_waits_main, NULL), 0);
    ck_assert_int_eq(uco_future_wait(NULL, 0.0), -ENOMEM);
}
END_TEST

static intptr_t
nan_main(void *arg)
{
    uco_future *future = uco_future_new();
    uco_scope s = {{0}};

    (void) arg;
    ck_assert_int_eq(uco_sleep(not_a_number), -EINVAL);
    ck_assert_int_eq(uco_wait_any(&future, 1, not_a_number), -EINVAL);
    ck_assert_int_eq(uco_wait_all(&future, 1, not_a_number), -EINVAL);
    ck_assert_int_eq(uco_wait_for(future, not_a_number), -EINVAL);
    ck_assert_int_eq(uco_with_timeout(not_a_number, body_never, NULL), -EINVAL);
    ck_assert_int_eq(uco_scope_open(&s, not_a_number), -EINVAL);
    ck_assert_int_eq(uco_shield_open(&s, not_a_number), -EINVAL);
    ck_assert_int_eq(uco_poll(0, POLLIN, not_a_number), -EINVAL);
    ck_assert_int_eq(uco_result(future), -EINPROGRESS);
    ck_assert_uint_eq(s.ticket[0] | s.ticket[1], 0);
    uco_unref(future);
    return 0;
}

START_TEST(a_time_that_is_not_a_number_is_refused)
{
    uco_future *future = uco_future_new();

    ck_assert_int_eq(run_virtual(nan_main, NULL), 0);
    ck_assert_int_eq(uco_future_wait(future, not_a_number), -EINVAL);
    uco_unref(future);
}
END_TEST

static void
count_call(void *arg)
{
    ++*(int *) arg;
}

static intptr_t
negative_main(void *arg)
{
    uco_future *future = uco_future_new();
    uco_loop *loop = uco_get_running_loop();
    int calls = 0, fds[2];

    (void) arg;
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_sleep(-1.0), 0);
    ck_assert_int_eq(uco_wait_any(&future, 1, -1.0), -ETIMEDOUT);
    ck_assert_int_eq(uco_wait_all(&future, 1, -1.0), -ETIMEDOUT);
    ck_assert_int_eq(uco_poll(fds[0], POLLIN, -1.0), -ETIMEDOUT);
    ck_assert_int_eq(uco_poll(fds[1], POLLOUT, -1.0), POLLOUT);
    ck_assert_int_eq(uco_result(future), -EINPROGRESS);
    ck_assert_int_eq(uco_wait_for(future, -1.0), -ETIMEDOUT);
    ck_assert_uint_ne(uco_loop_call_later(loop, -1.0, count_call, &calls), 0);
    ck_assert_uint_ne(uco_loop_call_at(loop, -1.0, count_call, &calls), 0);
    while (calls < 2)
        ck_assert_int_eq(uco_yield(), 0);
    assert_time(1.0);
    uco_unref(future);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

START_TEST(a_time_below_zero_is_over_at_once)
{
    uco_future *future = uco_future_new();

    ck_assert_int_eq(run_virtual(negative_main, NULL), 0);
    ck_assert_int_eq(uco_future_wait(future, -1.0), -ETIMEDOUT);
    uco_unref(future);
}
END_TEST

static intptr_t
bad_fds_main(void *arg)
{
    char byte = 'x';
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fds[2];

    (void) arg;
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(write(fds[1], "b", 1), 1);
    ck_assert_int_eq(uco_read(-1, &byte, 1), -EBADF);
    ck_assert_int_eq(uco_write(-1, &byte, 1), -EBADF);
    ck_assert_int_eq(uco_read_exactly(-1, &byte, 1), -EBADF);
    ck_assert_int_eq(uco_write_all(-1, &byte, 1, NULL), -EBADF);
    ck_assert_int_eq(uco_accept4(-1, NULL, NULL, 0), -EBADF);
    ck_assert_int_eq(uco_connect(-1, (struct sockaddr *) &address, sizeof address), -EBADF);
    ck_assert_int_eq(uco_poll(-1, POLLIN, 0.0), -EBADF);
    ck_assert_int_eq(uco_poll(fds[0], POLLNVAL, 0.0), -EINVAL);
    if (!under_sanitizer()) /* valgrind objects before the kernel does */
        ck_assert_int_eq(uco_read(fds[0], NULL, 1), -EFAULT);
    close(fds[0]);
    close(fds[1]);
    ck_assert_int_eq(uco_close(fds[0]), -EBADF);
    ck_assert_int_eq(uco_close(-1), -EBADF);
    return 0;
}

START_TEST(bad_file_descriptors_and_buffers_are_refused)
{
    ck_assert_int_eq(run_virtual(bad_fds_main, NULL), 0);
    ck_assert_int_eq(uco_close(-1), -EBADF);
    ck_assert_int_eq(uco_listen("localhost", 0, 0), -EPERM);
}
END_TEST

START_TEST(loop_options_out_of_range_are_refused)
{
    const uco_loop_options refused[] = {
        {.clock = (enum uco_clock) 99},
        {.backend = (enum uco_backend) 99},
        {.stack_size = 1},
        {.stack_size = (1ul << 30) + 1},
        {.spin = -1.0},
        {.spin = not_a_number},
        {.slow_callback = not_a_number},
    };

    for (size_t i = 0; i < COUNT(refused); i++) {
        ck_assert_int_eq(uco_run_with(&refused[i], body_never, NULL), -EINVAL);
        assert_null(uco_loop_new(&refused[i]), EINVAL);
        assert_null(uco_loop_thread_start(&refused[i]), EINVAL);
    }
}
END_TEST

START_TEST(what_does_not_exist_cannot_be_made_to_fail)
{
    ck_assert_int_eq(uco_test_fail(NULL, 1, false, ENOMEM), -EINVAL);
    ck_assert_int_eq(uco_test_fail("no such call", 1, false, ENOMEM), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, 0), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, -EIO), -EINVAL);
    ck_assert_int_eq(uco_test_fail("read", 1, false, UCO_MAX_ERROR + 1), -EINVAL);
}
END_TEST

static intptr_t
advance_main(void *arg)
{
    uco_loop *loop = uco_get_running_loop();

    (void) arg;
    assert_nan(uco_test_advance(loop, -1.0));
    assert_nan(uco_test_advance(loop, not_a_number));
    assert_nan(uco_test_advance(loop, UCO_FOREVER));
    assert_time(0.0);
    ck_assert_double_eq_tol(uco_test_advance(loop, 0.5), 0.5, 1e-9);
    return 0;
}

static intptr_t
advance_virtual_main(void *arg)
{
    (void) arg;
    assert_nan(uco_test_advance(uco_get_running_loop(), 1.0));
    assert_time(0.0);
    return 0;
}

START_TEST(only_a_manual_clock_moves_by_hand_and_only_forward)
{
    uco_loop_options options = {.clock = UCO_CLOCK_MANUAL};

    ck_assert_int_eq(uco_run_with(&options, advance_main, NULL), 0);
    ck_assert_int_eq(run_virtual(advance_virtual_main, NULL), 0);
}
END_TEST

/* `other` is a loop that does not run. */
static void
assert_running_refused(uco_loop *other)
{
    uco_loop *running = uco_get_running_loop();

    ck_assert_int_eq(uco_run(body_never, NULL), -EBUSY);
    ck_assert_int_eq(uco_run_with(NULL, body_never, NULL), -EBUSY);
    ck_assert_int_eq(uco_loop_run_until_complete(running, body_never, NULL), -EBUSY);
    ck_assert_int_eq(uco_loop_run_until_complete(other, body_never, NULL), -EBUSY);
    ck_assert_int_eq(uco_loop_run_forever(running), -EBUSY);
    ck_assert_int_eq(uco_loop_run_forever(other), -EBUSY);
    ck_assert_int_eq(uco_loop_close(running), -EBUSY);
    ck_assert_int_eq(uco_loop_close(other), -EBUSY);
    ck_assert_int_eq(uco_run(NULL, NULL), -EINVAL);
    ck_assert_ptr_eq(uco_get_running_loop(), running);
    ck_assert(uco_loop_is_running(running));
    ck_assert(!uco_loop_is_running(other));
}

struct nested_run {
    uco_loop *other;
    bool called;
};

static void
callback_run(void *arg)
{
    struct nested_run *n = arg;

    assert_running_refused(n->other);
    n->called = true;
}

static intptr_t
nested_run_main(void *arg)
{
    struct nested_run *n = arg;
    uco_future *future = uco_future_new();

    assert_running_refused(n->other);
    ck_assert_int_eq(uco_future_wait(future, 0.0), -EDEADLK);
    uco_unref(future);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), callback_run, n), 0);
    while (!n->called)
        ck_assert_int_eq(uco_yield(), 0);
    return 0;
}

START_TEST(a_running_loop_runs_no_other_and_not_itself)
{
    struct nested_run n = {.other = uco_loop_new(NULL)};

    ck_assert_int_eq(run_virtual(nested_run_main, &n), 0);
    ck_assert_int_eq(uco_loop_run_until_complete(n.other, body_return, (void *) 3), 3);
    ck_assert_int_eq(uco_loop_close(n.other), 0);
    uco_loop_unref(n.other);
}
END_TEST

/* What a coroutine lends to a thread that may use none of it, while the loop runs. */
struct lent {
    uco_loop *loop;
    uco_scope scope;
    uco_timer timer;
    uco_task *child;
    int fd;
    int calls;
};

static void
assert_loop_refuses_thread(struct lent *l)
{
    uco_loop_stats stats;

    ck_assert_int_eq(uco_loop_call_soon(l->loop, callback_never, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_set_wake_callback(l->loop, callback_never, NULL), -EPERM);
    assert_no_timer(uco_loop_call_later(l->loop, 0.0, callback_never, NULL), EPERM);
    assert_no_timer(uco_loop_call_at(l->loop, 0.0, callback_never, NULL), EPERM);
    ck_assert_int_eq(uco_timer_cancel(l->loop, l->timer), -EPERM);
    ck_assert_int_eq(uco_loop_add_reader(l->loop, l->fd, callback_never, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_add_writer(l->loop, l->fd, callback_never, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_remove_reader(l->loop, l->fd), -EPERM);
    ck_assert_int_eq(uco_loop_remove_writer(l->loop, l->fd), -EPERM);
    ck_assert_int_eq(uco_loop_run_until_complete(l->loop, body_never, NULL), -EPERM);
    ck_assert_int_eq(uco_loop_run_forever(l->loop), -EPERM);
    ck_assert_int_eq(uco_loop_close(l->loop), -EBUSY);
    ck_assert_int_eq(uco_stats(l->loop, &stats), -EPERM);
    assert_nan(uco_test_advance(l->loop, 1.0));
    ck_assert_int_eq(uco_detach(l->child), -EPERM);
}

static intptr_t
misuse_from_thread(void *arg)
{
    struct lent *l = arg;

    assert_loop_refuses_thread(l);
    ck_assert_int_eq(uco_scope_cancel(&l->scope), -EPERM);
    ck_assert_int_eq(uco_scope_reschedule(&l->scope, 0.0), -EPERM);
    ck_assert_int_eq(uco_scope_close(&l->scope, 0), -EPERM);
    assert_null(uco_create_task(body_never, NULL), EPERM);
    assert_null(uco_create_task_with(NULL, body_never, NULL), EPERM);
    assert_null(uco_to_thread_start(body_never, NULL), EPERM);
    ck_assert_ptr_null(uco_get_running_loop());
    ck_assert_ptr_null(uco_current_task());
    ck_assert(!uco_cancelled());
    return 0;
}

static intptr_t
misuse_in_own_loop(void *arg)
{
    struct lent *l = arg;

    ck_assert_int_eq(uco_loop_call_soon(l->loop, callback_never, NULL), -EPERM);
    ck_assert_int_eq(uco_timer_cancel(l->loop, l->timer), -EPERM);
    ck_assert_int_eq(uco_detach(l->child), -EPERM);
    ck_assert_int_eq(uco_scope_cancel(&l->scope), -EINVAL);
    ck_assert_int_eq(uco_scope_reschedule(&l->scope, 0.0), -EINVAL);
    ck_assert_int_eq(uco_scope_close(&l->scope, 0), -EINVAL);
    return 0;
}

static intptr_t
misuse_from_other_loop(void *arg)
{
    return uco_run(misuse_in_own_loop, arg);
}

static intptr_t
lending_parent(void *arg)
{
    struct lent *l = arg;
    intptr_t r;

    l->loop = uco_get_running_loop();
    ck_assert_int_eq(uco_scope_open(&l->scope, UCO_FOREVER), 0);
    l->timer = uco_loop_call_later(l->loop, 1.0, count_call, &l->calls);
    l->child = uco_create_task(body_sleep_forever, NULL);
    r = uco_to_thread(misuse_from_thread, l);
    ck_assert_int_eq(r, 0);
    r = uco_to_thread(misuse_from_other_loop, l);
    ck_assert_int_eq(r, 0);
    ck_assert(!uco_cancelled());
    ck_assert_int_eq(uco_scope_close(&l->scope, 5), 5);
    return 0;
}

static intptr_t
lend_main(void *arg)
{
    struct lent l = {0};

    (void) arg;
    ck_assert_int_eq(uco_join(uco_create_task(lending_parent, &l)), 0);
    ck_assert_int_eq(uco_result(l.child), -ECANCELED);
    ck_assert_int_eq(uco_sleep(2.0), 0);
    ck_assert_int_eq(l.calls, 1);
    uco_unref(l.child);
    return 0;
}

START_TEST(another_thread_may_not_touch_a_running_loop)
{
    ck_assert_int_eq(run_virtual(lend_main, NULL), 0);
}
END_TEST

START_TEST(outside_of_a_loop_nothing_is_created)
{
    assert_null(uco_create_task(body_never, NULL), EPERM);
    assert_null(uco_create_task_with(NULL, body_never, NULL), EPERM);
    assert_null(uco_to_thread_start(body_never, NULL), EPERM);
    ck_assert_ptr_null(uco_get_running_loop());
    ck_assert_ptr_null(uco_current_task());
    ck_assert(!uco_cancelled());
}
END_TEST

START_TEST(a_closed_loop_refuses_everything)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_post post = {.callback = callback_never};
    uco_timer timer = uco_loop_call_later(loop, 100.0, callback_never, NULL);

    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert(!uco_loop_is_running(loop));
    uco_loop_stop(loop);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_run_forever(loop), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_call_soon(loop, callback_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_call_soon_threadsafe(loop, callback_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_post(loop, &post), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_set_wake_callback(loop, callback_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_wake_from_signal(loop), -ESHUTDOWN);
    assert_no_timer(uco_loop_call_later(loop, 0.0, callback_never, NULL), ESHUTDOWN);
    assert_no_timer(uco_loop_call_at(loop, 0.0, callback_never, NULL), ESHUTDOWN);
    ck_assert_int_eq(uco_timer_cancel(loop, timer), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_add_reader(loop, 0, callback_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_add_writer(loop, 0, callback_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_remove_reader(loop, 0), -ESHUTDOWN);
    ck_assert_int_eq(uco_loop_remove_writer(loop, 0), -ESHUTDOWN);
    assert_null(uco_run_coroutine_threadsafe(loop, body_never, NULL), ESHUTDOWN);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
leave_future(void *arg)
{
    *(uco_future **) arg = uco_future_new();
    return 0;
}

START_TEST(the_future_of_a_closed_loop_works_but_has_no_callbacks)
{
    uco_loop *loop = uco_loop_new(NULL);
    uco_future *future;

    ck_assert_int_eq(uco_loop_run_until_complete(loop, leave_future, &future), 0);
    ck_assert_int_eq(uco_loop_close(loop), 0);
    ck_assert_int_eq(uco_add_done_callback(future, callback_never, NULL), -ESHUTDOWN);
    ck_assert_int_eq(uco_future_set_result(future, 4), 0);
    ck_assert_int_eq(uco_future_wait(future, 0.0), 4);
    uco_unref(future);
    uco_loop_unref(loop);
}
END_TEST

START_TEST(a_future_made_outside_of_a_loop_takes_callbacks_only_inside_one)
{
    uco_future *future = uco_future_new();

    ck_assert_int_eq(uco_add_done_callback(future, callback_never, NULL), -EPERM);
    uco_unref(future);
}
END_TEST

struct outcome {
    int ran, discarded, refused;
};

static intptr_t
note_ran(void *arg)
{
    struct outcome *o = arg;

    o->ran++;
    return 0;
}

static void
note_discarded(void *arg)
{
    struct outcome *o = arg;

    ck_assert_ptr_null(uco_current_task());
    ck_assert_int_eq(uco_yield(), -EPERM);
    o->discarded++;
}

/* Each of n tasks runs, is discarded, or could not be created; who waits for it learns which. */
static struct outcome
create_in_need(int n, size_t stack_size, bool eager)
{
    struct outcome o = {0};
    uco_task_options options = {
        .stack_size = stack_size,
        .eager = eager,
        .discard = note_discarded,
    };

    for (int i = 0; i < n; i++) {
        struct outcome before = o;
        uco_task *task;

        errno = 0;
        task = uco_create_task_with(&options, note_ran, &o);
        if (task == NULL) {
            ck_assert_int_eq(errno, ENOMEM);
            o.refused++;
        }
        ck_assert_int_eq(uco_join(task), o.ran > before.ran ? 0 : -ENOMEM);
        ck_assert_int_eq(o.ran + o.discarded + o.refused, i + 1);
    }
    return o;
}

static intptr_t
no_stack_main(void *arg)
{
    (void) arg;
    for (int eager = 0; eager < 2; eager++) {
        size_t rare_size = (64 + 32 * (size_t) eager) << 20; /* which no pool has */
        struct outcome o;

        ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
        o = create_in_need(3, rare_size, eager);
        ck_assert_int_eq(o.ran, 0);
        uco_test_fail_off();
        o = create_in_need(3, rare_size, eager);
        ck_assert_int_eq(o.ran, 3);
    }
    return uco_sleep(1.0);
}

START_TEST(a_task_without_a_stack_ends_with_ENOMEM_and_the_loop_goes_on)
{
    ck_assert_int_eq(run_virtual(no_stack_main, NULL), 0);
}
END_TEST

static intptr_t
no_pool_main(void *arg)
{
    (void) arg;
    for (unsigned long nth = 1; nth <= 10; nth++) {
        struct outcome o;

        ck_assert_int_eq(uco_test_fail("malloc", nth, false, ENOMEM), 0);
        o = create_in_need(1, (128 + nth) << 20, nth % 2 == 0);
        uco_test_fail_off();
        ck_assert_int_eq(o.ran + o.discarded + o.refused, 1);
    }
    return uco_sleep(1.0);
}

START_TEST(whichever_allocation_fails_a_task_runs_or_is_discarded_or_refused)
{
    ck_assert_int_eq(run_virtual(no_pool_main, NULL), 0);
}
END_TEST

static intptr_t
no_memory_main(void *arg)
{
    uco_task *tasks[1000];
    int created = 0;

    (void) arg;
    ck_assert_int_eq(uco_test_fail("malloc", 1, true, ENOMEM), 0);
    ck_assert_int_eq(uco_test_fail("mmap", 1, true, ENOMEM), 0);
    for (size_t i = 0; i < COUNT(tasks); i++) {
        errno = 0;
        tasks[i] = uco_create_task(body_sleep_1s, NULL);
        if (tasks[i] == NULL)
            ck_assert_int_eq(errno, ENOMEM);
        else
            created++;
    }
    ck_assert_int_lt(created, COUNT(tasks));
    uco_test_fail_off();
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), tasks[i] != NULL ? 0 : -ENOMEM);
    ck_assert_int_eq(uco_join(uco_create_task(body_sleep_1s, (void *) 6)), 6);
    return 0;
}

START_TEST(a_task_without_memory_is_NULL_and_the_loop_goes_on)
{
    ck_assert_int_eq(run_virtual(no_memory_main, NULL), 0);
}
END_TEST

static intptr_t
sleep_in_timeouts(void *arg)
{
    uco_scope scopes[12];
    size_t open = 0;
    intptr_t r = 0;

    while (r == 0 && open < COUNT(scopes)) {
        r = uco_scope_open(&scopes[open], 5.0);
        open += r == 0;
    }
    if (r == 0)
        r = uco_sleep(1.0);
    while (open > 0)
        r = uco_scope_close(&scopes[--open], r);
    return r < 0 ? r : (intptr_t) arg;
}

static intptr_t
scenario_main(void *arg)
{
    uco_task *tasks[3];
    intptr_t r;

    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(sleep_in_timeouts, arg);
    r = uco_gather(tasks, COUNT(tasks), NULL);
    uco_unref_all(tasks, COUNT(tasks));
    return r < 0 ? r : uco_with_timeout(2.0, sleep_in_timeouts, arg);
}

/* Every allocation and mapping of a small program fails in turn, once or from then on. */
START_TEST(whatever_allocation_fails_the_program_ends_with_ENOMEM_or_its_result)
{
    static const char *const calls[] = {"malloc", "mmap", "eventfd", "epoll_create1", "epoll_ctl"};

    for (size_t i = 0; i < COUNT(calls); i++) {
        for (unsigned long nth = 1; nth <= 60; nth++) {
            uco_loop_options options = {.clock = UCO_CLOCK_VIRTUAL};
            intptr_t r;

            ck_assert_int_eq(uco_test_fail(calls[i], nth, _i, ENOMEM), 0);
            r = uco_run_with(&options, scenario_main, (void *) 9);
            uco_test_fail_off();
            ck_assert_msg(r == 9 || r == -ENOMEM, "%s %lu: %ld", calls[i], nth, (long) r);
        }
    }
}
END_TEST

/* With UCO_DEBUG=1, what the tests above call must abort. */
static void
expect_abort(void)
{
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}), 0);
    ck_assert_int_eq(setenv("UCO_DEBUG", "1", 1), 0);
}

START_TEST(in_debug_mode_suspending_outside_of_a_loop_aborts)
{
    struct world w;

    expect_abort();
    world_init(&w, _i);
    world_call(&w);
}
END_TEST

START_TEST(in_debug_mode_suspending_in_a_callback_aborts)
{
    expect_abort();
    run_arranged(arrange_soon, _i);
}
END_TEST

static intptr_t
debug_run_nested(void *arg)
{
    (void) arg;
    return uco_run(body_return, NULL);
}

static intptr_t
debug_close_nothing(void *arg)
{
    uco_scope s = {{0}};

    (void) arg;
    return uco_scope_close(&s, 0);
}

static intptr_t
debug_close_others(void *arg)
{
    return uco_scope_close(arg, 0);
}

static intptr_t
debug_close_others_scope(void *arg)
{
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_scope_open(&s, UCO_FOREVER), 0);
    return uco_join(uco_create_task(debug_close_others, &s));
}

static intptr_t
debug_sleep_nan(void *arg)
{
    (void) arg;
    return uco_sleep(not_a_number);
}

static intptr_t
debug_create_nothing(void *arg)
{
    (void) arg;
    return uco_create_task(NULL, NULL) == NULL;
}

static intptr_t
debug_set_task(void *arg)
{
    (void) arg;
    return uco_future_set_result(uco_current_task(), 1);
}

static intptr_t
call_soon_elsewhere(void *arg)
{
    return uco_loop_call_soon(arg, callback_never, NULL);
}

static intptr_t
debug_call_soon_elsewhere(void *arg)
{
    (void) arg;
    return uco_to_thread(call_soon_elsewhere, uco_get_running_loop());
}

static uco_fn *const debug_misuses[] = {
    debug_run_nested, debug_close_nothing,  debug_close_others_scope,  debug_sleep_nan,
    debug_set_task,   debug_create_nothing, debug_call_soon_elsewhere,
};

START_TEST(in_debug_mode_misuse_aborts)
{
    expect_abort();
    run_virtual(debug_misuses[_i], NULL);
}
END_TEST

START_TEST(the_loops_debug_option_makes_misuse_abort_too)
{
    uco_loop_options options = {.debug = true};

    expect_abort();
    unsetenv("UCO_DEBUG");
    uco_run_with(&options, debug_misuses[_i], NULL);
}
END_TEST

static intptr_t
no_misuse_main(void *arg)
{
    uco_scope s;

    (void) arg;
    ck_assert_int_eq(uco_await(NULL), -ENOMEM);
    ck_assert_int_eq(uco_join(NULL), -ENOMEM);
    uco_unref(NULL);
    ck_assert_int_eq(uco_sleep(-1.0), 0);
    ck_assert_int_eq(uco_scope_open(&s, 0.0), 0);
    ck_assert_int_eq(uco_scope_close(&s, uco_yield()), -ETIMEDOUT);
    ck_assert_ptr_nonnull(uco_current_task());
    return 0;
}

START_TEST(in_debug_mode_what_is_allowed_does_not_abort)
{
    expect_abort();
    ck_assert_int_eq(run_virtual(no_misuse_main, NULL), 0);
    ck_assert_ptr_null(uco_get_running_loop());
    ck_assert_ptr_null(uco_current_task());
    ck_assert(!uco_cancelled());
}
END_TEST

static void
add_suspending_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "suspending");
    int n = COUNT(suspending_calls);

    tcase_add_loop_test(tcase, no_call_suspends_outside_of_a_loop, 0, n);
    tcase_add_loop_test(tcase, no_call_suspends_in_a_callback, 0, n);
    tcase_add_loop_test(tcase, no_call_suspends_in_a_timer, 0, n);
    tcase_add_loop_test(tcase, no_call_suspends_in_a_done_callback, 0, n);
    tcase_add_loop_test(tcase, no_call_suspends_in_a_discard, 0, n);
    tcase_add_loop_test(tcase, no_call_suspends_in_another_thread, 0, n);
}

static void
add_argument_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "arguments");

    tcase_add_test(tcase, bad_arguments_are_refused_outside_of_a_running_loop);
    tcase_add_test(tcase, bad_arguments_are_refused_in_a_coroutine);
    tcase_add_test(tcase, a_tasks_result_cannot_be_set);
    tcase_add_test(tcase, a_future_that_could_not_be_created_ends_every_wait);
    tcase_add_test(tcase, a_time_that_is_not_a_number_is_refused);
    tcase_add_test(tcase, a_time_below_zero_is_over_at_once);
    tcase_add_test(tcase, bad_file_descriptors_and_buffers_are_refused);
    tcase_add_test(tcase, loop_options_out_of_range_are_refused);
    tcase_add_test(tcase, what_does_not_exist_cannot_be_made_to_fail);
    tcase_add_test(tcase, only_a_manual_clock_moves_by_hand_and_only_forward);
}

static void
add_place_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "place");

    tcase_add_test(tcase, a_running_loop_runs_no_other_and_not_itself);
    tcase_add_test(tcase, another_thread_may_not_touch_a_running_loop);
    tcase_add_test(tcase, outside_of_a_loop_nothing_is_created);
    tcase_add_test(tcase, a_closed_loop_refuses_everything);
    tcase_add_test(tcase, the_future_of_a_closed_loop_works_but_has_no_callbacks);
    tcase_add_test(tcase, a_future_made_outside_of_a_loop_takes_callbacks_only_inside_one);
}

static void
add_memory_tests(Suite *suite)
{
    TCase *tcase = case_new(suite, "memory");

    tcase_add_test(tcase, a_task_without_a_stack_ends_with_ENOMEM_and_the_loop_goes_on);
    tcase_add_test(tcase, whichever_allocation_fails_a_task_runs_or_is_discarded_or_refused);
    tcase_add_test(tcase, a_task_without_memory_is_NULL_and_the_loop_goes_on);
    tcase_add_loop_test(tcase, whatever_allocation_fails_the_program_ends_with_ENOMEM_or_its_result,
                        0, 2);
}

/* Without the ledger: these tests end by a signal. */
static void
add_debug_tests(Suite *suite)
{
    TCase *tcase = tcase_create("debug");

    suite_add_tcase(suite, tcase);
    tcase_add_loop_test_raise_signal(tcase, in_debug_mode_suspending_outside_of_a_loop_aborts,
                                     SIGABRT, 0, COUNT(suspending_calls));
    tcase_add_loop_test_raise_signal(tcase, in_debug_mode_suspending_in_a_callback_aborts, SIGABRT,
                                     0, COUNT(suspending_calls));
    tcase_add_loop_test_raise_signal(tcase, in_debug_mode_misuse_aborts, SIGABRT, 0,
                                     COUNT(debug_misuses));
    tcase_add_loop_test_raise_signal(tcase, the_loops_debug_option_makes_misuse_abort_too, SIGABRT,
                                     0, COUNT(debug_misuses));
    tcase_add_test(tcase, in_debug_mode_what_is_allowed_does_not_abort);
}

int
main(void)
{
    Suite *suite = suite_create("misuse");

    unsetenv("UCO_DEBUG");
    add_suspending_tests(suite);
    add_argument_tests(suite);
    add_place_tests(suite);
    add_memory_tests(suite);
    add_debug_tests(suite);
    return suite_end(suite);
}
