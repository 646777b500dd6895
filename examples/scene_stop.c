/* SPDX-License-Identifier: MIT */

/* A loop that is stopped before its work is done answers for each piece of it. */

#include "support/scene.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <uco/uco.h>

enum { MAX_TASKS = 20000, ENOUGH = 20 };

struct work {
    uco_loop *loop;
    uco_task *tasks[MAX_TASKS]; /* the submitter's until it is joined */
    size_t accepted;
    intptr_t refused; /* what the first late submit got */
    size_t posted;    /* callbacks accepted */
    size_t run;       /* callbacks run; the loop's thread's until that is joined */
    atomic_int finished;
};

static void
count_one(void *arg)
{
    struct work *w = arg;

    w->run++;
}

static intptr_t
job(void *arg)
{
    struct work *w = arg;
    int r = uco_sleep(0.1);

    if (r < 0)
        return r; /* cancelled by the stop: said, not forgotten */
    atomic_fetch_add(&w->finished, 1);
    return 0;
}

/* tour: from here */
static void *
submit_until_refused(void *arg)
{
    struct work *w = arg;

    while (w->accepted < MAX_TASKS) {
        uco_task *task = uco_run_coroutine_threadsafe(w->loop, job, w);

        if (task == NULL) {
            w->refused = -errno; /* the loop has begun to close */
            break;
        }
        w->tasks[w->accepted++] = task;
        w->posted += uco_loop_call_soon_threadsafe(w->loop, count_one, w) == 0;
        scene_pause(0.001);
    }
    return NULL;
}
/* tour: to here */

static int
start_and_stop(struct work *w)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    pthread_t submitter;
    int r;

    if (thread == NULL)
        return -errno;
    /* Who may post late holds a reference, so that the handle is still there to say no. */
    w->loop = uco_loop_ref(uco_loop_thread_loop(thread));
    r = -pthread_create(&submitter, NULL, submit_until_refused, w);
    if (r < 0) {
        uco_loop_thread_stop(thread);
        return r;
    }

    /* tour: from here */
    while (atomic_load(&w->finished) < ENOUGH)
        scene_pause(0.001);
    r = uco_loop_thread_stop(thread); /* with jobs under way, and more coming in */
    pthread_join(submitter, NULL);
    /* tour: to here */
    return r;
}

struct tally {
    size_t done, cancelled, lost;
};

static struct tally
tally_up(struct work *w)
{
    struct tally t = {0};

    for (size_t i = 0; i < w->accepted; i++) {
        switch (uco_result(w->tasks[i])) {
        case 0:
            t.done++;
            break;
        case -ECANCELED:
            t.cancelled++;
            break;
        default:
            t.lost++;
        }
    }
    return t;
}

int
scene_stop(FILE *out)
{
    static struct work w;
    struct scene s = scene_begin(out);
    struct tally t;
    int r;

    w = (struct work){0};
    scene_say(&s, "one thread submits a job each millisecond; another stops the loop under way");
    r = start_and_stop(&w);
    t = tally_up(&w);
    scene_say(&s, "stopped: %zu jobs accepted, %zu done, %zu cancelled", w.accepted, t.done,
              t.cancelled);
    scene_say(&s, "%zu callbacks accepted, %zu run", w.posted, w.run);

    scene_check(&s, r == 0 && t.done >= ENOUGH, "the loop was stopped while jobs came in");
    scene_check(&s, t.lost == 0 && t.done + t.cancelled == w.accepted,
                "each accepted job is done, or says that it was cancelled");
    scene_check(&s, w.run == w.posted, "each accepted callback ran once");
    scene_check(&s, w.refused == -ESHUTDOWN, "the submit that came too late got %s",
                error_name((long) w.refused));
    scene_check(
        &s, w.loop != NULL && uco_loop_call_soon_threadsafe(w.loop, count_one, &w) == -ESHUTDOWN,
        "and so does any later one");

    uco_unref_all(w.tasks, w.accepted);
    uco_loop_unref(w.loop);
    return scene_end(&s);
}
