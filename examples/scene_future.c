/* SPDX-License-Identifier: MIT */

/* A future that another thread resolves wakes the loop. */

#include "support/scene.h"

#include <errno.h>
#include <pthread.h>
#include <uco/uco.h>

struct meeting {
    struct scene scene;
    uco_loop *loop;
    uco_future *answer;
    double resolved; /* seconds; written before the future is resolved */
    double woken;
    bool knocked;
};

static void knock(void *arg);

/* tour: from here */
static void *
other_thread(void *arg) /* an ordinary thread: it has no loop, and needs none */
{
    struct meeting *m = arg;

    scene_pause(0.5);
    uco_loop_call_soon_threadsafe(m->loop, knock, m); /* runs knock(m) in the loop's thread */
    scene_pause(0.5);
    m->resolved = scene_seconds(&m->scene);
    uco_future_set_result(m->answer, 42); /* from any thread, and the loop wakes */
    return NULL;
}

static intptr_t
meet(void *arg)
{
    struct meeting *m = arg;
    pthread_t thread;
    intptr_t result = -EAGAIN;

    m->loop = uco_get_running_loop();
    m->answer = uco_future_new();
    if (pthread_create(&thread, NULL, other_thread, m) == 0) {
        result = uco_await(m->answer); /* nothing else to do: the whole loop is asleep */
        m->woken = scene_seconds(&m->scene);
        pthread_join(thread, NULL);
    }
    uco_unref(m->answer);
    return result;
}
/* tour: to here */

static void
knock(void *arg)
{
    struct meeting *m = arg;

    m->knocked = uco_get_running_loop() == m->loop && uco_current_task() == NULL;
    scene_say(&m->scene, "a callback, posted by the other thread, runs in the loop");
}

int
scene_future(FILE *out)
{
    struct meeting m = {.scene = scene_begin(out)};
    struct scene *s = &m.scene;
    intptr_t result;

    scene_say(s, "awaits a future; the loop sleeps");
    result = uco_run(meet, &m);
    scene_say(s, "the future gave %ld, %.2f ms after the other thread had set it", (long) result,
              (m.woken - m.resolved) * 1000.0);

    scene_check(s, m.knocked,
                "uco_loop_call_soon_threadsafe() ran its callback in the loop's thread");
    scene_check(s, result == 42 && m.woken >= 1.0, "the future's result arrived, after 1 s");
    scene_check(s, m.woken >= m.resolved && m.woken - m.resolved < 0.5,
                "the loop woke for it at once");
    return scene_end(s);
}
