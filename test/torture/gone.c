/* SPDX-License-Identifier: MIT */

/*
 * Memory that is gone for good: cancelling, closing, waking and the expiry of timers need none.
 *
 * 1. Everything is parked first; then each allocation and each mapping fails, until the end.
 * 2. What is done from then on succeeds, and all that was parked ends as it should.
 */

#include "scenarios.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <uco/io.h>
#include <uco/stream.h>
#include <unistd.h>

#define PARKED 12

/* What tasks wait for here. */
struct scene {
    uco_lock lock;
    uco_event event;
    uco_condition condition;
    uco_lock of_condition;
    uco_semaphore semaphore;
    uco_barrier barrier;
    uco_queue *full, *empty;
    uco_future *future;
    uco_generator *generator;
    int ends[2];
    unsigned parked;
};

static intptr_t
wait_lock(void *arg)
{
    return uco_lock_acquire(&((struct scene *) arg)->lock);
}

static intptr_t
wait_event(void *arg)
{
    return uco_event_wait(&((struct scene *) arg)->event);
}

static intptr_t
wait_condition(void *arg)
{
    struct scene *scene = arg;
    int r;

    SURE(uco_lock_acquire(&scene->of_condition));
    r = uco_condition_wait(&scene->condition, &scene->of_condition);
    SURE(uco_lock_release(&scene->of_condition));
    return r;
}

static intptr_t
wait_semaphore(void *arg)
{
    return uco_semaphore_acquire(&((struct scene *) arg)->semaphore);
}

static intptr_t
wait_barrier(void *arg)
{
    return uco_barrier_wait(&((struct scene *) arg)->barrier);
}

static intptr_t
wait_put(void *arg)
{
    return uco_queue_put(((struct scene *) arg)->full, &(int){1});
}

static intptr_t
wait_get(void *arg)
{
    int item;

    return uco_queue_get(((struct scene *) arg)->empty, &item);
}

static intptr_t
wait_select(void *arg)
{
    struct scene *scene = arg;
    int item;
    uco_select_case cases[2] = {{scene->empty, UCO_SELECT_GET, &item, 0},
                                {scene->full, UCO_SELECT_PUT, &item, 0}};

    return uco_select(cases, 2, UCO_FOREVER);
}

static intptr_t
wait_future(void *arg)
{
    return uco_await(((struct scene *) arg)->future);
}

static intptr_t
wait_readable(void *arg)
{
    char byte;

    return uco_read(((struct scene *) arg)->ends[0], &byte, 1);
}

static intptr_t
sleep_forever(void *arg)
{
    (void) arg;
    return uco_sleep(UCO_FOREVER);
}

/* A task whose own children are cancelled with it. */
static intptr_t
wait_children(void *arg)
{
    uco_task *children[3];
    int r;

    (void) arg;
    for (size_t i = 0; i < COUNT(children); i++)
        MADE(children[i], uco_create_task(sleep_forever, NULL), ENOMEM);
    r = uco_gather(children, COUNT(children), NULL);
    uco_unref_all(children, COUNT(children));
    return r;
}

static uco_fn *const waits[PARKED] = {
    wait_lock, wait_event,  wait_condition, wait_semaphore, wait_barrier,  wait_put,
    wait_get,  wait_select, wait_future,    wait_readable,  wait_children, sleep_forever,
};

static void
scene_set(struct scene *scene, uco_task *tasks[PARKED])
{
    memset(scene, 0, sizeof *scene);
    SURE(uco_barrier_init(&scene->barrier, 2));
    MADE(scene->full, uco_queue_new(sizeof(int), 1), ENOMEM);
    MADE(scene->empty, uco_queue_new(sizeof(int), 0), ENOMEM);
    MADE(scene->future, uco_future_new(), ENOMEM);
    SURE(uco_queue_put(scene->full, &(int){0}));
    SURE(uco_lock_acquire(&scene->lock));
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scene->ends) == 0);
    for (int i = 0; i < PARKED; i++)
        MADE(tasks[i], uco_create_task(waits[i], scene), ENOMEM);
    SURE(uco_test_settle());
    for (int i = 0; i < PARKED; i++)
        MUST(!uco_done(tasks[i]));
}

static void
scene_clear(struct scene *scene)
{
    SURE(uco_lock_release(&scene->lock));
    SURE(uco_close(scene->ends[0]));
    SURE(uco_close(scene->ends[1]));
    uco_queue_free(scene->full);
    uco_queue_free(scene->empty);
    uco_unref(scene->future);
}

static void
gone_cancel_run(void)
{
    uco_task *tasks[PARKED];
    struct scene scene;

    scene_set(&scene, tasks);
    torture_memory_gone();
    for (int i = 0; i < PARKED; i++)
        SURE(uco_cancel(tasks[i]));
    for (int i = 0; i < PARKED; i++)
        MUST(uco_join(tasks[i]) == -ECANCELED);
    scene_clear(&scene);
    torture_memory_back();
}

/* Each in a scope of its own whose time is over then. */
static intptr_t
wait_for_a_time(void *arg)
{
    struct scene *scene = arg;
    uco_scope scope;
    unsigned mine = scene->parked++;
    intptr_t r;

    SURE(uco_scope_open(&scope, 1 + mine));
    r = waits[mine](scene);
    MUST(r == -ECANCELED);
    return uco_scope_close(&scope, r);
}

static void
callback_counts(void *arg)
{
    ++*(int *) arg;
}

static void
gone_timers_run(void)
{
    uco_loop *loop = uco_get_running_loop();
    uco_task *parked[PARKED], *tasks[PARKED];
    struct scene scene;
    uco_timer timer, other;
    int called = 0;

    scene_set(&scene, parked);
    for (int i = 0; i < PARKED; i++) {
        SURE(uco_cancel(parked[i]));
        MUST(uco_join(parked[i]) == -ECANCELED);
        MADE(tasks[i], uco_create_task(wait_for_a_time, &scene), ENOMEM);
    }
    for (int i = 0; i < 10; i++) {
        MADE(timer, uco_loop_call_later(loop, i, callback_counts, &called), ENOMEM);
        MADE(other, uco_loop_call_later(loop, i, callback_counts, &called), ENOMEM);
        if (i % 2 == 0)
            SURE(uco_timer_cancel(loop, other));
    }
    SURE(uco_test_settle());
    torture_memory_gone();
    SURE(uco_sleep(100));
    MUST(called == 15);
    for (int i = 0; i < PARKED; i++)
        MUST(uco_join(tasks[i]) == -ETIMEDOUT);
    scene_clear(&scene);
    torture_memory_back();
}

/* Waking: by the loop, and from another thread */

static void *
waker(void *arg)
{
    struct scene *scene = arg;

    SURE(uco_future_set_result(scene->future, 7));
    return NULL;
}

static void
gone_wake_run(void)
{
    uco_task *tasks[PARKED];
    struct scene scene;
    pthread_t thread;

    scene_set(&scene, tasks);
    torture_memory_gone();
    MUST(pthread_create(&thread, NULL, waker, &scene) == 0);
    MUST(uco_await(scene.future) == 7);
    pthread_join(thread, NULL);
    MUST(uco_join(tasks[8]) == 7);
    SURE(uco_lock_release(&scene.lock));
    MUST(uco_join(tasks[0]) == 0);
    MUST(uco_lock_acquire(&scene.lock) == -EOWNERDEAD);
    SURE(uco_lock_repair(&scene.lock));
    SURE(uco_lock_acquire(&scene.lock));
    SURE(uco_event_set(&scene.event));
    SURE(uco_condition_notify_all(&scene.condition));
    SURE(uco_semaphore_release(&scene.semaphore));
    SURE(uco_barrier_wait(&scene.barrier));
    for (int i = 1; i < 5; i++)
        SURE(uco_join(tasks[i]));
    SURE(uco_queue_shutdown(scene.full, false));
    SURE(uco_queue_shutdown(scene.empty, true));
    MUST(uco_join(tasks[5]) == -ESHUTDOWN && uco_join(tasks[6]) == -ESHUTDOWN);
    SURE(uco_join(tasks[7]));
    MUST(write(scene.ends[1], "x", 1) == 1);
    MUST(uco_join(tasks[9]) == 1);
    for (int i = 10; i < PARKED; i++) {
        SURE(uco_cancel(tasks[i]));
        MUST(uco_join(tasks[i]) == -ECANCELED);
    }
    scene_clear(&scene);
    torture_memory_back();
}

/* Closing: a loop with all that in it */

static intptr_t
scene_left(void *arg)
{
    uco_task *tasks[PARKED];
    uco_loop *loop = uco_get_running_loop();
    struct scene *scene = arg;
    uco_timer timer;
    int called = 0;

    scene_set(scene, tasks);
    SURE(uco_lock_release(&scene->lock));
    for (int i = 0; i < PARKED; i++) {
        if (uco_done(tasks[i]))
            continue;
        SURE(uco_detach(tasks[i]));
        MADE(timer, uco_loop_call_later(loop, 1000, callback_counts, &called), ENOMEM);
    }
    uco_unref_all(tasks, PARKED);
    return 0;
}

static void
gone_close_run(void)
{
    uco_loop *loop = torture_loop_new();
    struct scene scene;

    SURE(uco_loop_run_until_complete(loop, scene_left, &scene));
    torture_memory_gone();
    SURE(uco_loop_close(loop));
    uco_loop_unref(loop);
    uco_queue_free(scene.full);
    uco_queue_free(scene.empty);
    uco_unref(scene.future);
    close(scene.ends[0]);
    close(scene.ends[1]);
    torture_memory_back();
}

/* Descriptors and streams that are closed under those who wait */

static intptr_t
stream_waits(void *arg)
{
    const char *line;

    return uco_stream_read_line(arg, &line);
}

static intptr_t
poll_waits(void *arg)
{
    return uco_poll(*(int *) arg, POLLIN, UCO_FOREVER);
}

static void
gone_io_run(void)
{
    int a[2], b[2];
    uco_stream *s;
    uco_task *reader, *poller;

    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) == 0);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b) == 0);
    MADE(s, uco_stream_new(a[0]), ENOMEM);
    MADE(reader, uco_create_task(stream_waits, s), ENOMEM);
    MADE(poller, uco_create_task(poll_waits, &b[0]), ENOMEM);
    SURE(uco_test_settle());
    torture_memory_gone();
    SURE(uco_close(b[0]));
    MUST(uco_join(poller) == -EBADF);
    SURE(uco_stream_close(s));
    MUST(uco_join(reader) == -EBADF);
    torture_memory_back();
    close(a[1]);
    close(b[1]);
}

const struct scenario torture_gone_cancel = {
    .name = "gone_cancel", .run = gone_cancel_run, .once = true};
const struct scenario torture_gone_timers = {
    .name = "gone_timers", .run = gone_timers_run, .once = true};
const struct scenario torture_gone_wake = {.name = "gone_wake", .run = gone_wake_run, .once = true};
const struct scenario torture_gone_close = {
    .name = "gone_close", .run = gone_close_run, .outside = true, .once = true};
const struct scenario torture_gone_io = {.name = "gone_io", .run = gone_io_run, .once = true};
