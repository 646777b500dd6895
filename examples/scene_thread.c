/* SPDX-License-Identifier: MIT */

/* A loop in a thread of its own: two calls instead of an order to remember, and each mistake gets
 * its error. */

#include "support/scene.h"

#include <errno.h>
#include <uco/uco.h>

/* tour: from here */
static intptr_t
square(void *arg)
{
    intptr_t x = (intptr_t) arg;
    int r = uco_sleep(0.5);

    return r < 0 ? r : x * x;
}

static int
squares_from_a_loop_thread(intptr_t results[3])
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL); /* its loop runs when this returns */
    uco_loop *loop = uco_loop_thread_loop(thread);
    uco_task *tasks[3];

    for (intptr_t i = 0; i < 3; i++)
        tasks[i] = uco_run_coroutine_threadsafe(loop, square, (void *) (i + 2));
    for (int i = 0; i < 3; i++)
        results[i] = uco_future_wait(tasks[i], 10.0); /* blocks this thread, not the loop */

    uco_unref_all(tasks, 3);
    return uco_loop_thread_stop(thread); /* refuses, cancels, drains, closes, joins, frees */
}
/* tour: to here */

static void
callback(void *arg)
{
    (void) arg;
}

/* What is wrong to do inside a loop; each answer goes to its place in the array. */
struct inside {
    uco_loop_thread *thread;
    intptr_t run, wait, stop;
};

static intptr_t
misuse_inside(void *arg)
{
    struct inside *answers = arg;

    answers->run = uco_run(square, NULL);
    answers->wait = uco_future_wait(uco_current_task(), 10.0);
    answers->stop = uco_loop_thread_stop(answers->thread);
    return 0;
}

static void
expect(struct scene *s, const char *what, intptr_t answer, int expected)
{
    scene_check(s, answer == expected, "%-66s %s", what, error_name((long) answer));
}

static void
misuse(struct scene *s, uco_loop_thread *thread)
{
    uco_loop *loop = uco_loop_thread_loop(thread);
    struct inside inside = {.thread = thread};
    uco_task *task;

    expect(s, "uco_loop_run_forever() of a loop that another thread runs",
           uco_loop_run_forever(loop), -EPERM);
    expect(s, "uco_loop_close() while it runs", uco_loop_close(loop), -EBUSY);
    expect(s, "uco_loop_call_soon() from the wrong thread",
           uco_loop_call_soon(loop, callback, NULL), -EPERM);
    expect(s, "uco_sleep() outside a coroutine", uco_sleep(1.0), -EPERM);

    task = uco_run_coroutine_threadsafe(loop, misuse_inside, &inside);
    uco_future_wait(task, UCO_FOREVER); /* until then it uses our locals */
    uco_unref(task);
    expect(s, "uco_run() inside a running loop", inside.run, -EBUSY);
    expect(s, "uco_future_wait(), which blocks, inside a running loop", inside.wait, -EDEADLK);
    expect(s, "uco_loop_thread_stop() from its own loop", inside.stop, -EDEADLK);
}

int
scene_thread(FILE *out)
{
    struct scene s = scene_begin(out);
    intptr_t results[3] = {0};
    uco_loop_thread *thread;
    double took;
    int r;

    scene_say(&s, "starts a loop in a thread, and submits three coroutines");
    r = squares_from_a_loop_thread(results);
    took = scene_seconds(&s);
    scene_say(&s, "[%ld, %ld, %ld]; the thread is joined", (long) results[0], (long) results[1],
              (long) results[2]);
    scene_check(&s, r == 0 && results[0] == 4 && results[1] == 9 && results[2] == 16,
                "start, submit, stop");
    scene_check(&s, took >= 0.5 && took < 1.4, "the three slept 0.5 s at the same time");

    scene_say(&s, "starts another, and does what one must not do; each answer comes at once");
    thread = uco_loop_thread_start(NULL);
    scene_check(&s, thread != NULL, "the loop runs");
    if (thread != NULL) {
        misuse(&s, thread);
        expect(&s, "uco_loop_thread_stop(), after all of this", uco_loop_thread_stop(thread), 0);
    }
    return scene_end(&s);
}
