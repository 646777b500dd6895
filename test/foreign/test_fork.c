/* SPDX-License-Identifier: MIT */
/*
 * Every function of the core, in the child of a fork() inside a running loop.
 *
 * What has to do with the parent's loop answers -ESTALE; the rest does what it always does. None
 * hangs, crashes, or touches what the parent has. A structure test sees to it that no function is
 * missing here.
 */
#include "death.h"

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the parent has at the fork. */
struct scene {
    uco_loop *loop;
    uco_task *task;     /* sleeps */
    uco_future *future; /* pending */
    uco_future *done;   /* 5 */
    uco_group *group;   /* with a member */
    uco_task *member;   /* of it */
    uco_generator *generator;
    uco_queue *queue;   /* has one item and room for one more */
    uco_stream *stream; /* of a pair */
    uco_server *server;
    uco_process *process;
    uco_lock lock, held; /* held: by the task that forks */
    uco_event event;
    uco_condition condition;
    uco_semaphore semaphore;
    uco_barrier barrier;
    uco_scope scope; /* open */
    uco_local key;
    uco_timer timer;
    int ends[2];  /* a pair; the stream has the first */
    int other[2]; /* another */
};

static struct scene scene;

/* --- the rows --- */

static int failed;

static void
row(const char *name, intptr_t result, intptr_t expected)
{
    if (result == expected)
        return;
    failed++;
    printf("%s: %jd\n", name, (intmax_t) result);
    fflush(stdout);
}

/* It answers -ESTALE; NULL or zero, with errno ESTALE; what is expected. */
#define STALE(name, ...) row(#name, (intptr_t) name(__VA_ARGS__), -ESTALE)
#define NONE(name, ...) row(#name, (errno = 0, name(__VA_ARGS__) == 0) ? -errno : 0, -ESTALE)
#define GIVES(name, expected, ...) row(#name, (intptr_t) (name(__VA_ARGS__)), (intptr_t) (expected))
#define TRUE(condition) row(#condition, (condition), true)

static void
nothing(void *arg)
{
    (void) arg;
}

static intptr_t
generates(void *arg)
{
    return uco_generator_yield(arg);
}

static bool
is_true(void *arg)
{
    (void) arg;
    return true;
}

static int
compare(const void *a, const void *b)
{
    (void) a;
    (void) b;
    return 0;
}

static intptr_t
handles(uco_stream *stream, void *arg)
{
    (void) stream;
    (void) arg;
    return 0;
}

static void
rows_of_loops(void)
{
    uco_loop *loop = scene.loop;
    uco_post post = {.callback = nothing};
    uco_loop_stats stats;

    STALE(uco_loop_run_until_complete, loop, body_return, NULL);
    STALE(uco_loop_run_forever, loop);
    STALE(uco_loop_close, loop);
    STALE(uco_loop_call_soon, loop, nothing, NULL);
    STALE(uco_loop_call_soon_threadsafe, loop, nothing, NULL);
    STALE(uco_loop_post, loop, &post);
    STALE(uco_loop_set_wake_callback, loop, nothing, NULL);
    STALE(uco_wake_from_signal, loop);
    NONE(uco_loop_call_later, loop, 1.0, nothing, NULL);
    NONE(uco_loop_call_at, loop, 1.0, nothing, NULL);
    STALE(uco_timer_cancel, loop, scene.timer);
    STALE(uco_loop_add_reader, loop, scene.other[0], nothing, NULL);
    STALE(uco_loop_add_writer, loop, scene.other[0], nothing, NULL);
    STALE(uco_loop_remove_reader, loop, scene.other[0]);
    STALE(uco_loop_remove_writer, loop, scene.other[0]);
    STALE(uco_stats, loop, &stats);
    STALE(uco_dump, loop, STDERR_FILENO);
    STALE(uco_loop_add_signal_handler, loop, SIGUSR1, nothing, NULL);
    STALE(uco_loop_remove_signal_handler, loop, SIGUSR1);
    NONE(uco_run_coroutine_threadsafe, loop, body_return, NULL);
    NONE(uco_run_coroutine_threadsafe_with, loop, NULL, body_return, NULL);
    NONE(uco_run_coroutine_threadsafe_at, __FILE__, __LINE__, loop, NULL, body_return, NULL);
    uco_loop_stop(loop);
    GIVES(uco_loop_is_running, false, loop);
    GIVES(uco_get_running_loop, NULL);
    TRUE(uco_time() > 0);
    GIVES(uco_loop_ref, loop, loop);
    uco_loop_unref(loop);
}

static void
rows_of_tasks(void)
{
    uco_future *both[] = {scene.task, scene.future};
    intptr_t results[2];

    NONE(uco_create_task, body_return, NULL);
    NONE(uco_create_task_with, NULL, body_return, NULL);
    NONE(uco_create_task_at, __FILE__, __LINE__, NULL, body_return, NULL);
    STALE(uco_await, scene.future);
    STALE(uco_sleep, 1.0);
    STALE(uco_yield);
    STALE(uco_gather, both, 2, results);
    STALE(uco_gather_all, both, 2, results);
    STALE(uco_wait_any, both, 2, 1.0);
    STALE(uco_wait_all, both, 2, 1.0);
    STALE(uco_wait_for, scene.future, 1.0);
    GIVES(uco_future_wait, -ETIMEDOUT, scene.future, 0.001); /* another thread may resolve it */
    STALE(uco_future_wait, scene.task, 1.0);
    STALE(uco_to_thread, body_return, NULL);
    NONE(uco_to_thread_start, body_return, NULL);
    STALE(uco_test_settle);
    GIVES(uco_current_task, NULL);
    GIVES(uco_cancelled, false);
    GIVES(uco_done, false, scene.future);
    GIVES(uco_result, 5, scene.done);
    GIVES(uco_ref, scene.done, scene.done);
    uco_unref(scene.done);
    uco_unref_all(NULL, 0);
    GIVES(strcmp, 0, uco_task_name(scene.task), "sleeper");
    TRUE(uco_task_id(scene.task) > 0);
    TRUE(uco_task_stack_used(scene.task) == 0);
    uco_task_stack_used(scene.task);
    STALE(uco_cancel, scene.task);
    STALE(uco_detach, scene.task);
    STALE(uco_add_done_callback, scene.future, nothing, NULL);
    GIVES(uco_remove_done_callback, 0, scene.future, nothing, NULL);
    NONE(uco_local_get, scene.key);
    STALE(uco_local_set, scene.key, NULL);
    STALE(uco_join, scene.future);
}

static void
rows_of_scopes_and_groups(void)
{
    uco_task_options options = {.name = "late"};
    uco_scope scope;
    void *value;

    STALE(uco_scope_open, &scope, 1.0);
    STALE(uco_shield_open, &scope, 1.0);
    STALE(uco_scope_open_at, __FILE__, __LINE__, &scope, 1.0);
    STALE(uco_shield_open_at, __FILE__, __LINE__, &scope, 1.0);
    STALE(uco_scope_cancel, &scene.scope);
    STALE(uco_scope_reschedule, &scene.scope, 1.0);
    STALE(uco_scope_close, &scene.scope, 0);
    STALE(uco_with_timeout, 1.0, body_return, NULL);
    NONE(uco_group_new);
    NONE(uco_group_new_at, __FILE__, __LINE__);
    NONE(uco_group_create_task, scene.group, body_return, NULL);
    NONE(uco_group_create_task_with, scene.group, &options, body_return, NULL);
    NONE(uco_group_create_task_at, __FILE__, __LINE__, scene.group, &options, body_return, NULL);
    STALE(uco_group_wait, scene.group);
    STALE(uco_group_cancel, scene.group);
    uco_group_free(scene.group);
    NONE(uco_generator_new, generates, NULL);
    NONE(uco_generator_new_at, __FILE__, __LINE__, generates, NULL);
    STALE(uco_generator_yield, NULL);
    STALE(uco_generator_next, scene.generator, &value);
    uco_generator_free(scene.generator);
}

static void
rows_of_primitives(void)
{
    STALE(uco_lock_acquire, &scene.lock);
    STALE(uco_lock_try_acquire, &scene.lock);
    STALE(uco_lock_release, &scene.held);
    STALE(uco_lock_repair, &scene.held);
    GIVES(uco_lock_is_held, true, &scene.held);
    STALE(uco_event_wait, &scene.event);
    STALE(uco_event_set, &scene.event);
    STALE(uco_event_clear, &scene.event);
    GIVES(uco_event_is_set, false, &scene.event);
    STALE(uco_condition_wait, &scene.condition, &scene.held);
    STALE(uco_condition_wait_for, &scene.condition, &scene.held, is_true, NULL);
    STALE(uco_condition_notify, &scene.condition, 1);
    STALE(uco_condition_notify_all, &scene.condition);
    STALE(uco_semaphore_acquire, &scene.semaphore);
    STALE(uco_semaphore_try_acquire, &scene.semaphore);
    STALE(uco_semaphore_release, &scene.semaphore);
    GIVES(uco_semaphore_value, 1, &scene.semaphore);
    STALE(uco_barrier_wait, &scene.barrier);
    STALE(uco_barrier_abort, &scene.barrier);
    STALE(uco_barrier_reset, &scene.barrier);
    GIVES(uco_semaphore_init, 0, &(uco_semaphore){0}, 1);
    GIVES(uco_barrier_init, 0, &(uco_barrier){0}, 1);
}

static void
rows_of_queues(void)
{
    uco_select_case cases[] = {{.queue = scene.queue, .op = UCO_SELECT_GET, .item = &(int){0}}};
    int item = 0;

    /* They are nobody's until they are used. */
    TRUE(uco_queue_new(sizeof item, 1) != NULL);
    TRUE(uco_queue_new_lifo(sizeof item, 1) != NULL);
    TRUE(uco_queue_new_priority(sizeof item, 1, compare) != NULL);
    STALE(uco_queue_put, scene.queue, &item);
    STALE(uco_queue_get, scene.queue, &item);
    STALE(uco_queue_put_nowait, scene.queue, &item);
    STALE(uco_queue_get_nowait, scene.queue, &item);
    STALE(uco_queue_put_threadsafe, scene.queue, &item);
    STALE(uco_queue_join, scene.queue);
    STALE(uco_queue_task_done, scene.queue);
    STALE(uco_queue_shutdown, scene.queue, false);
    GIVES(uco_queue_size, 0, scene.queue);
    STALE(uco_select, cases, 1, 1.0);
    uco_queue_free(scene.queue);
}

static void
rows_of_descriptors(void)
{
    char buf[4] = "abc";
    struct iovec vector = {.iov_base = buf, .iov_len = sizeof buf};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    struct sockaddr *name = (struct sockaddr *) &address;
    struct addrinfo *list;
    int fd = scene.other[0];

    STALE(uco_open, "/dev/null", 0, 0);
    STALE(uco_fsync, fd);
    STALE(uco_pread, fd, buf, sizeof buf, 0);
    STALE(uco_pwrite, fd, buf, sizeof buf, 0);
    STALE(uco_sendfile, fd, fd, NULL, 1);
    STALE(uco_read, fd, buf, sizeof buf);
    STALE(uco_write, fd, buf, sizeof buf);
    STALE(uco_read_exactly, fd, buf, sizeof buf);
    STALE(uco_write_all, fd, buf, sizeof buf, NULL);
    STALE(uco_readv, fd, &vector, 1);
    STALE(uco_writev, fd, &vector, 1);
    STALE(uco_recv, fd, buf, sizeof buf, 0);
    STALE(uco_send, fd, buf, sizeof buf, 0);
    STALE(uco_recvfrom, fd, buf, sizeof buf, 0, NULL, NULL);
    STALE(uco_sendto, fd, buf, sizeof buf, 0, NULL, 0);
    STALE(uco_recvmsg, fd, &message, 0);
    STALE(uco_sendmsg, fd, &message, 0);
    STALE(uco_accept4, fd, NULL, NULL, 0);
    STALE(uco_connect, fd, name, sizeof(sa_family_t));
    STALE(uco_poll, fd, POLLIN, 1.0);
    STALE(uco_send_fd, fd, fd);
    STALE(uco_recv_fd, fd);
    STALE(uco_dial, "127.0.0.1", 1);
    TRUE(uco_listen("127.0.0.1", 0, 1) >= 0); /* waits for nothing */
    STALE(uco_getaddrinfo, "127.0.0.1", NULL, NULL, &list);
    GIVES(uco_gai_error, 0);
    uco_freeaddrinfo(NULL);
    GIVES(uco_close, 0, scene.other[1]);
}

static void
rows_of_streams(void)
{
    uco_server_options options = {.host = "127.0.0.1"};
    uco_stream *stream = scene.stream;
    const char *line;
    const void *data;
    char buf[4];

    NONE(uco_stream_new, scene.other[0]);
    NONE(uco_stream_new_at, __FILE__, __LINE__, scene.other[0]);
    NONE(uco_stream_dial, "127.0.0.1", 1);
    NONE(uco_stream_dial_at, __FILE__, __LINE__, "127.0.0.1", 1);
    STALE(uco_stream_read, stream, buf, sizeof buf);
    STALE(uco_stream_read_exactly, stream, buf, sizeof buf);
    STALE(uco_stream_read_until, stream, 'x', &line);
    STALE(uco_stream_read_line, stream, &line);
    STALE(uco_stream_peek, stream, &data);
    STALE(uco_stream_fill, stream, 1, &data);
    STALE(uco_stream_consume, stream, 0);
    STALE(uco_stream_set_limit, stream, 100);
    STALE(uco_stream_write, stream, "x", 1);
    STALE(uco_stream_printf, stream, "%d", 1);
    STALE(uco_stream_set_water_marks, stream, 1, 2);
    STALE(uco_stream_drain, stream);
    STALE(uco_stream_shutdown, stream);
    GIVES(uco_stream_fd, scene.ends[0], stream);
    STALE(uco_stream_close, stream);
    NONE(uco_server_start, "127.0.0.1", 0, handles, NULL);
    NONE(uco_server_start_with, &options, handles, NULL);
    NONE(uco_server_start_at, __FILE__, __LINE__, &options, handles, NULL);
    NONE(uco_server_start_on_at, __FILE__, __LINE__, "127.0.0.1", 0, handles, NULL);
    TRUE(uco_server_port(scene.server) > 0);
    STALE(uco_server_close, scene.server, 0);
}

static void
rows_of_processes_and_signals(void)
{
    const char *argv[] = {"true", NULL};
    uco_process_options options = {.argv = argv};
    char *text;
    size_t size;

    NONE(uco_process_spawn, &options);
    NONE(uco_process_spawn_at, __FILE__, __LINE__, &options);
    STALE(uco_process_wait, scene.process);
    STALE(uco_process_kill, scene.process, SIGKILL);
    STALE(uco_process_close_stdin, scene.process);
    STALE(uco_process_communicate, scene.process, NULL, 0, &text, &size, NULL, NULL);
    GIVES(uco_process_stdin, NULL, scene.process);
    GIVES(uco_process_stdout, NULL, scene.process);
    GIVES(uco_process_stderr, NULL, scene.process);
    TRUE(uco_process_pid(scene.process) > 0);
    uco_process_free(scene.process);
    STALE(uco_signal_wait, SIGUSR1);
    STALE(uco_signal_remember, SIGUSR1);
    STALE(uco_signal_forget, SIGUSR1);
}

static void
rows_of_tls(void)
{
    uco_tls_options options = {.host = "localhost", .insecure = true};
    uco_tls_context *context;
    char name[8];

    STALE(uco_stream_start_tls, scene.stream, &options);
    GIVES(uco_stream_tls_alpn, NULL, scene.stream);
    GIVES(uco_stream_tls_version, NULL, scene.stream);
    GIVES(uco_stream_tls_server_name, NULL, scene.stream);
    GIVES(uco_stream_tls_resumed, false, scene.stream);
    uco_stream_tls_error(scene.stream);
    TRUE(uco_stream_tls_peer_name(scene.stream, name, sizeof name) < 0);
    context = uco_tls_context_new(&options);
    uco_tls_context_ref(context);
    uco_tls_context_free(context);
    uco_tls_context_free(context);
    uco_tls_error();
}

/* What has nothing to do with any loop, or is the child's own. */
static void
rows_of_the_rest(void)
{
    uco_loop_thread *thread;
    uco_future *future;
    uco_local key;
    uco_loop *loop;

    TRUE(uco_version() != NULL);
    GIVES(strcmp, 0, uco_strerror(-EPIPE), strerror(EPIPE));
    GIVES(uco_local_new, 0, &key, NULL);
    GIVES(uco_local_free, 0, key);
    GIVES(uco_run, 4, body_return, (void *) 4);
    GIVES(uco_run_with, 4, NULL, body_return, (void *) 4);
    loop = uco_loop_new(&(uco_loop_options){.clock = UCO_CLOCK_MANUAL});
    TRUE(uco_test_advance(loop, 1.0) > 0);
    GIVES(uco_loop_close, 0, loop);
    uco_loop_unref(loop);
    future = uco_future_new();
    GIVES(uco_future_set_result, 0, future, 1);
    uco_unref(future);
    GIVES(uco_test_fail, 0, "malloc", 1000000, false, ENOMEM);
    uco_test_fail_off();
    if (TEST_TSAN)
        return;
    thread = uco_loop_thread_start(NULL);
    TRUE(uco_loop_thread_loop(thread) != NULL);
    GIVES(uco_loop_thread_stop, 0, thread);
}

static void
child_calls_all(void *arg)
{
    (void) arg;
    rows_of_loops();
    rows_of_tasks();
    rows_of_scopes_and_groups();
    rows_of_primitives();
    rows_of_queues();
    rows_of_descriptors();
    rows_of_tls();
    rows_of_streams();
    rows_of_processes_and_signals();
    rows_of_the_rest();
    _exit(failed);
}

/* --- the parent --- */

static void
scene_begin(void)
{
    uco_task_options options = {.name = "sleeper"};
    const char *argv[] = {"cat", NULL};
    int item = 3;

    memset(&scene, 0, sizeof scene);
    scene.loop = uco_get_running_loop();
    scene.task = uco_create_task_with(&options, body_sleep_1s, (void *) 7);
    scene.future = uco_future_new();
    scene.done = uco_future_new();
    ck_assert_int_eq(uco_future_set_result(scene.done, 5), 0);
    scene.group = uco_group_new();
    scene.member = uco_ref(uco_group_create_task(scene.group, body_sleep_1s, (void *) 8));
    scene.generator = uco_generator_new(generates, &scene);
    scene.queue = uco_queue_new(sizeof item, 2);
    ck_assert_int_eq(uco_queue_put(scene.queue, &item), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, scene.ends), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, scene.other), 0);
    scene.stream = uco_stream_new(scene.ends[0]);
    scene.server = uco_server_start("127.0.0.1", 0, handles, NULL);
    scene.process = uco_process_spawn(
        &(uco_process_options){.argv = argv, .stdin_fd = scene.other[1], .stdout_fd = UCO_DEVNULL});
    ck_assert_ptr_nonnull(scene.process);
    ck_assert_int_eq(uco_lock_acquire(&scene.lock), 0);
    ck_assert_int_eq(uco_lock_release(&scene.lock), 0);
    ck_assert_int_eq(uco_lock_acquire(&scene.held), 0);
    ck_assert_int_eq(uco_event_clear(&scene.event), 0);
    ck_assert_int_ge(uco_condition_notify_all(&scene.condition), 0);
    ck_assert_int_eq(uco_semaphore_init(&scene.semaphore, 1), 0);
    ck_assert_int_eq(uco_barrier_init(&scene.barrier, 2), 0);
    ck_assert_int_eq(uco_scope_open(&scene.scope, 1000.0), 0);
    ck_assert_int_eq(uco_local_new(&scene.key, NULL), 0);
    ck_assert_int_eq(uco_local_set(scene.key, &scene), 0);
    scene.timer = uco_loop_call_later(scene.loop, 1000.0, nothing, NULL);
    ck_assert_uint_ne(scene.timer, 0);
    ck_assert_int_eq(uco_test_settle(), 0);
}

/* All is there and works, as if nobody had forked. */
static void
scene_end(void)
{
    const char *line;
    void *value;
    int item;

    ck_assert_int_eq(uco_timer_cancel(scene.loop, scene.timer), 0);
    ck_assert_ptr_eq(uco_local_get(scene.key), &scene);
    ck_assert_int_eq(uco_local_free(scene.key), 0);
    ck_assert_int_eq(uco_scope_close(&scene.scope, 1), 1);
    ck_assert_int_eq(uco_semaphore_acquire(&scene.semaphore), 0);
    ck_assert_int_eq(uco_lock_acquire(&scene.lock), 0);
    ck_assert_int_eq(uco_lock_release(&scene.lock), 0);
    ck_assert_int_eq(uco_lock_release(&scene.held), 0);
    ck_assert_int_eq(uco_event_set(&scene.event), 0);
    ck_assert_int_eq(uco_event_wait(&scene.event), 0);
    ck_assert_int_eq(uco_process_kill(scene.process, SIGKILL), 0);
    ck_assert_int_eq(uco_process_wait(scene.process), SIGKILL);
    uco_process_free(scene.process);
    ck_assert_int_eq(uco_server_close(scene.server, 0), 0);
    ck_assert_int_eq(uco_write_all(scene.ends[1], "line\n", 5, NULL), 5);
    ck_assert_int_eq(uco_stream_read_line(scene.stream, &line), 5);
    ck_assert_int_eq(uco_stream_close(scene.stream), 0);
    uco_close(scene.ends[1]);
    uco_close(scene.other[0]);
    uco_close(scene.other[1]);
    ck_assert_int_eq(uco_queue_get(scene.queue, &item), 0);
    ck_assert_int_eq(item, 3);
    uco_queue_free(scene.queue);
    ck_assert_int_eq(uco_generator_next(scene.generator, &value), 1);
    ck_assert_ptr_eq(value, &scene);
    uco_generator_free(scene.generator);
    ck_assert_int_eq(uco_group_wait(scene.group), 0);
    ck_assert_int_eq(uco_result(scene.member), 8);
    uco_unref(scene.member);
    uco_group_free(scene.group);
    ck_assert_int_eq(uco_join(scene.task), 7);
    ck_assert_int_eq(uco_future_set_result(scene.future, 1), 0);
    uco_unref(scene.future);
    uco_unref(scene.done);
}

static intptr_t
forks(void *arg)
{
    struct death death;

    (void) arg;
    scene_begin();
    death = death_of(child_calls_all, NULL);
    ck_assert_msg(death.status == 0, "signal %d, status %d: %s", death.signal, death.status,
                  death.output);
    scene_end();
    return 0;
}

START_TEST(in_a_child_every_call_on_the_parents_loop_is_stale)
{
    ck_assert_int_eq(run_real(forks, NULL), 0);
}
END_TEST

/* Between two runs, when no loop is the thread's. */
START_TEST(in_a_child_a_loop_at_rest_is_stale_too)
{
    uco_loop *loop = uco_loop_new(NULL);
    pid_t child;
    int status;

    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, NULL), 0);
    child = fork();
    if (child == 0) {
        scene.loop = loop;
        rows_of_loops();
        rows_of_the_rest();
        _exit(failed);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(uco_loop_run_until_complete(loop, body_return, (void *) 3), 3);
    uco_loop_close(loop);
    uco_loop_unref(loop);
}
END_TEST

static intptr_t
forks_and_returns(void *arg)
{
    (void) arg;
    return fork() == 0 ? 0 : 1;
}

static void
runs_a_body_that_forks(void *arg)
{
    run_virtual(forks_and_returns, arg);
}

/* Both print to one pipe: the parent survives. */
START_TEST(a_child_that_returns_from_the_body_aborts)
{
    struct death death = death_of(runs_a_body_that_forks, NULL);

    ck_assert_int_eq(death.status, SURVIVED);
    ck_assert_ptr_nonnull(strstr(death.output, "a coroutine returned in a child of fork()"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("fork");
    TCase *tcase = case_new(suite, "child");

    unsetenv("UCO_DEBUG");
    tcase_add_test(tcase, in_a_child_every_call_on_the_parents_loop_is_stale);
    tcase_add_test(tcase, in_a_child_a_loop_at_rest_is_stale_too);
    tcase_add_test(tcase, a_child_that_returns_from_the_body_aborts);
    return suite_end(suite);
}
