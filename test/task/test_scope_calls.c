/* SPDX-License-Identifier: MIT */

/*
 * Each suspending call in a cancelled scope: what could be done at once is not, and what only
 * completes does. A new suspending call gets its line in CALLS.
 */

#include "support.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define NUMBER(n) ((void *) (intptr_t) (n))
#define assert_time(seconds) ck_assert_double_eq_tol(uco_time(), seconds, 1e-6)

/* What the suspending calls are made on: each could be done at once. */
struct world {
    uco_future *done;
    uco_lock lock; /* nobody's */
    uco_lock held; /* the caller's */
    uco_event event;
    uco_condition condition;
    uco_semaphore semaphore;
    uco_barrier barrier;
    uco_queue *queue; /* with one item, and room for more */
    uco_queue *empty;
    uco_select_case select;
    uco_group *group; /* empty */
    uco_generator *generator;
    int pair[2]; /* sockets, with one byte to read in each */
    int listener;
    int waiting; /* to be accepted */
    int client;  /* not connected */
    struct sockaddr_in address;
    struct addrinfo *addresses; /* of a look-up */
    char byte;
};

static intptr_t
body_never(void *arg)
{
    (void) arg;
    ck_abort_msg("a body that must not run has run");
    return 0;
}

static bool
predicate_true(void *arg)
{
    (void) arg;
    return true;
}

#define CALLS(CALL)                                                                                \
    CALL(sleep, uco_sleep(1.0))                                                                    \
    CALL(sleep_0, uco_sleep(0.0))                                                                  \
    CALL(yield, uco_yield())                                                                       \
    CALL(await, uco_await(w->done))                                                                \
    CALL(gather, uco_gather(&w->done, 1, NULL))                                                    \
    CALL(gather_all, uco_gather_all(&w->done, 1, NULL))                                            \
    CALL(wait_any, uco_wait_any(&w->done, 1, UCO_FOREVER))                                         \
    CALL(wait_all, uco_wait_all(&w->done, 1, UCO_FOREVER))                                         \
    CALL(to_thread, uco_to_thread(body_never, w))                                                  \
    CALL(settle, uco_test_settle())                                                                \
    CALL(lock, uco_lock_acquire(&w->lock))                                                         \
    CALL(event, uco_event_wait(&w->event))                                                         \
    CALL(condition, uco_condition_wait(&w->condition, &w->held))                                   \
    CALL(condition_for, uco_condition_wait_for(&w->condition, &w->held, predicate_true, NULL))     \
    CALL(semaphore, uco_semaphore_acquire(&w->semaphore))                                          \
    CALL(barrier, uco_barrier_wait(&w->barrier))                                                   \
    CALL(put, uco_queue_put(w->queue, "x"))                                                        \
    CALL(get, uco_queue_get(w->queue, &w->byte))                                                   \
    CALL(join_queue, uco_queue_join(w->empty))                                                     \
    CALL(select, uco_select(&w->select, 1, UCO_FOREVER))                                           \
    CALL(group_wait, uco_group_wait(w->group))                                                     \
    CALL(next, uco_generator_next(w->generator, NULL))                                             \
    CALL(read, uco_read(w->pair[0], &w->byte, 1))                                                  \
    CALL(write, uco_write(w->pair[0], "y", 1))                                                     \
    CALL(read_exactly, uco_read_exactly(w->pair[0], &w->byte, 1))                                  \
    CALL(write_all, uco_write_all(w->pair[0], "y", 1, NULL))                                       \
    CALL(poll, uco_poll(w->pair[0], POLLIN, UCO_FOREVER))                                          \
    CALL(accept, uco_accept4(w->listener, NULL, NULL, 0))                                          \
    CALL(readv, uco_readv(w->pair[0], &(struct iovec){&w->byte, 1}, 1))                            \
    CALL(writev, uco_writev(w->pair[0], &(struct iovec){&w->byte, 1}, 1))                          \
    CALL(recv, uco_recv(w->pair[0], &w->byte, 1, 0))                                               \
    CALL(send, uco_send(w->pair[0], "x", 1, 0))                                                    \
    CALL(recvfrom, uco_recvfrom(w->pair[0], &w->byte, 1, 0, NULL, NULL))                           \
    CALL(sendto, uco_sendto(w->pair[0], "x", 1, 0, NULL, 0))                                       \
    CALL(recvmsg, uco_recvmsg(w->pair[0], &(struct msghdr){0}, 0))                                 \
    CALL(sendmsg, uco_sendmsg(w->pair[0], &(struct msghdr){0}, 0))                                 \
    CALL(pread, uco_pread(w->pair[0], &w->byte, 1, 0))                                             \
    CALL(pwrite, uco_pwrite(w->pair[0], "x", 1, 0))                                                \
    CALL(open, uco_open("/dev/null", O_RDONLY, 0))                                                 \
    CALL(fsync, uco_fsync(w->pair[0]))                                                             \
    CALL(sendfile, uco_sendfile(w->pair[0], w->pair[0], NULL, 1))                                  \
    CALL(send_fd, uco_send_fd(w->pair[0], w->pair[0]))                                             \
    CALL(recv_fd, uco_recv_fd(w->pair[0]))                                                         \
    CALL(dial, uco_dial("127.0.0.1", ntohs(w->address.sin_port)))                                  \
    CALL(getaddrinfo, uco_getaddrinfo("127.0.0.1", "80", NULL, &w->addresses))                     \
    CALL(connect, uco_connect(w->client, (struct sockaddr *) &w->address, sizeof w->address))

#define DEFINE_CALL(name, expression)                                                              \
    static intptr_t call_##name(struct world *w)                                                   \
    {                                                                                              \
        (void) w;                                                                                  \
        return expression;                                                                         \
    }
CALLS(DEFINE_CALL)

#define CALL_ENTRY(name, expression) {#name, call_##name},
static const struct {
    const char *name;
    intptr_t (*call)(struct world *w);
} calls[] = {CALLS(CALL_ENTRY)};

static intptr_t
yield_one(void *arg)
{
    return uco_generator_yield(arg);
}

static void
make_sockets(struct world *w)
{
    socklen_t size = sizeof w->address;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, w->pair), 0);
    ck_assert_int_eq(write(w->pair[0], "x", 1), 1);
    ck_assert_int_eq(write(w->pair[1], "x", 1), 1);
    w->listener = uco_listen("127.0.0.1", 0, 5);
    ck_assert_int_ge(w->listener, 0);
    ck_assert_int_eq(getsockname(w->listener, (struct sockaddr *) &w->address, &size), 0);
    w->waiting = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(w->waiting, (struct sockaddr *) &w->address, size), 0);
    w->client = socket(AF_INET, SOCK_STREAM, 0);
}

static void
make_world(struct world *w)
{
    *w = (struct world){.done = uco_future_new()};
    ck_assert_int_eq(uco_future_set_result(w->done, 1), 0);
    ck_assert_int_eq(uco_lock_acquire(&w->held), 0);
    ck_assert_int_eq(uco_event_set(&w->event), 0);
    ck_assert_int_eq(uco_semaphore_init(&w->semaphore, 1), 0);
    ck_assert_int_eq(uco_barrier_init(&w->barrier, 1), 0);
    w->queue = uco_queue_new(1, 2);
    ck_assert_int_eq(uco_queue_put(w->queue, "x"), 0);
    w->empty = uco_queue_new(1, 1);
    w->select = (uco_select_case){.queue = w->queue, .op = UCO_SELECT_GET, .item = &w->byte};
    w->group = uco_group_new();
    w->generator = uco_generator_new(yield_one, NULL);
    make_sockets(w);
}

/* All is as it was made, and ends. */
static void
end_world(struct world *w)
{
    const int fds[] = {w->pair[0], w->pair[1], w->listener, w->waiting, w->client};

    ck_assert(!uco_lock_is_held(&w->lock));
    ck_assert_int_eq(uco_lock_release(&w->held), 0);
    ck_assert_int_eq(uco_semaphore_try_acquire(&w->semaphore), 0);
    ck_assert_int_eq(uco_barrier_wait(&w->barrier), 0);
    ck_assert_uint_eq(uco_queue_size(w->queue), 1);
    uco_queue_free(w->queue);
    uco_queue_free(w->empty);
    ck_assert_int_eq(uco_group_wait(w->group), 0);
    uco_group_free(w->group);
    ck_assert_int_eq(uco_generator_next(w->generator, NULL), 1);
    uco_generator_free(w->generator);
    for (int i = 0; i < 2; i++) {
        char bytes[2];

        ck_assert_int_eq(uco_read(w->pair[i], bytes, sizeof bytes), 1);
        ck_assert_int_eq(bytes[0], 'x');
    }
    for (size_t i = 0; i < COUNT(fds); i++)
        ck_assert_int_eq(uco_close(fds[i]), 0);
    uco_unref(w->done);
}

enum { BY_DEADLINE, BY_SCOPE, BY_TASK, WAYS };

static void
cancel_in_some_way(int way, uco_scope *s)
{
    ck_assert_int_eq(uco_scope_open(s, way == BY_DEADLINE ? 0.0 : UCO_FOREVER), 0);
    if (way == BY_SCOPE)
        ck_assert_int_eq(uco_scope_cancel(s), 0);
    if (way == BY_TASK)
        ck_assert_int_eq(uco_cancel(uco_current_task()), 0);
}

static intptr_t
count_turns(void *arg)
{
    while (uco_yield() == 0)
        ++*(int *) arg;
    return 0;
}

/* In a child: what is cancelled with it stays so. */
static intptr_t
each_call(void *arg)
{
    const intptr_t closed[WAYS] = {-ETIMEDOUT, 0, -ECANCELED};
    int way = (int) (intptr_t) arg, turns = 0;
    uco_task *others = uco_create_task(count_turns, &turns);
    uco_scope s, shield;
    struct world w;

    make_world(&w);
    cancel_in_some_way(way, &s);
    for (size_t i = 0; i < COUNT(calls); i++)
        ck_assert_msg(calls[i].call(&w) == -ECANCELED, "%s", calls[i].name);
    assert_time(0.0);
    ck_assert_int_ge(turns, (int) COUNT(calls) / 2);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_cancel(others), 0);
    ck_assert_int_eq(uco_join(others), 0);
    end_world(&w);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    ck_assert_int_eq(uco_scope_close(&s, -ECANCELED), closed[way]);
    return 0;
}

static intptr_t
each_call_main(void *arg)
{
    return uco_join(uco_create_task(each_call, arg));
}

START_TEST(in_a_cancelled_scope_each_call_that_could_be_done_at_once_fails_and_lets_others_run)
{
    run_in_all_orders(each_call_main, NUMBER(_i));
}
END_TEST

static intptr_t
clean_up(void *arg)
{
    uco_scope shield;

    ck_assert_int_eq(uco_sleep(UCO_FOREVER), -ECANCELED);
    ck_assert_int_eq(uco_shield_open(&shield, UCO_FOREVER), 0);
    ck_assert_int_eq(uco_sleep(1.0), 0);
    ck_assert_int_eq(uco_scope_close(&shield, 0), 0);
    return (intptr_t) arg;
}

static uco_task *
start_clean_up(intptr_t result)
{
    uco_task *task =
        uco_create_task_with(&(uco_task_options){.eager = true}, clean_up, NUMBER(result));

    ck_assert_ptr_nonnull(task);
    return task;
}

static intptr_t
yield_for_ever(void *arg)
{
    while (uco_generator_yield(NULL) == 0)
        ;
    return clean_up(arg);
}

static intptr_t
completing_calls(void *arg)
{
    uco_task *task = start_clean_up(5);
    uco_group *group = uco_group_new();
    uco_generator *generator = uco_generator_new(yield_for_ever, NULL);
    intptr_t result = 0;
    uco_scope s;

    ck_assert_int_eq(uco_generator_next(generator, NULL), 1);
    ck_assert_ptr_nonnull(uco_group_create_task(group, clean_up, NUMBER(-EIO)));
    ck_assert_int_eq(uco_test_settle(), 0);
    cancel_in_some_way((int) (intptr_t) arg, &s);
    ck_assert_int_eq(uco_gather(&task, 1, &result), -ECANCELED);
    ck_assert_int_eq(result, 5);
    ck_assert_int_eq(uco_gather_all(&task, 1, &result), -ECANCELED);
    ck_assert_int_eq(uco_join(task), 5);
    assert_time(1.0);
    task = start_clean_up(6);
    ck_assert_int_eq(uco_wait_for(task, UCO_FOREVER), 6);
    uco_unref(task);
    assert_time(2.0);
    ck_assert_int_eq(uco_group_wait(group), -EIO);
    ck_assert_ptr_nonnull(uco_group_create_task(group, body_sleep_forever, NULL));
    uco_group_free(group);
    assert_time(3.0);
    uco_generator_free(generator);
    assert_time(4.0);
    return uco_scope_close(&s, 0);
}

static intptr_t
completing_calls_main(void *arg)
{
    return uco_join(uco_create_task(completing_calls, arg));
}

START_TEST(in_a_cancelled_scope_each_completing_call_cancels_and_waits)
{
    run_in_all_orders(completing_calls_main, NUMBER(_i));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("scope calls");
    TCase *calls_case = case_new(suite, "calls");

    unsetenv("UCO_DEBUG");
    tcase_add_loop_test(
        calls_case,
        in_a_cancelled_scope_each_call_that_could_be_done_at_once_fails_and_lets_others_run, 0,
        WAYS);
    tcase_add_loop_test(calls_case, in_a_cancelled_scope_each_completing_call_cancels_and_waits, 0,
                        WAYS);
    return suite_end(suite);
}
