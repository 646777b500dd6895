/* SPDX-License-Identifier: MIT */

/* Calling a coroutine and starting a task look different, because they are. */

#include "support/scene.h"

#include <uco/uco.h>

struct both {
    struct scene scene;
    intptr_t called[2];
    intptr_t gathered[2];
    double calls_took; /* seconds */
    double tasks_took;
};

static void calls_done(struct both *b);

/* tour: from here */
static intptr_t
f(void *arg) /* an ordinary function, that may suspend */
{
    intptr_t x = (intptr_t) arg;
    int r = uco_sleep(1.0);

    return r < 0 ? r : x * x + 2;
}

static intptr_t
both_ways(void *arg)
{
    struct both *b = arg;
    uco_task *tasks[2];
    int r;

    b->called[0] = f((void *) 1); /* a call: it returns when f has returned, */
    b->called[1] = f((void *) 3); /* so this one begins after a second */
    calls_done(b);

    tasks[0] = uco_create_task(f, (void *) 1); /* a task: it runs beside its creator */
    tasks[1] = uco_create_task(f, (void *) 3);
    r = uco_gather(tasks, 2, b->gathered);
    uco_unref_all(tasks, 2);
    return r;
}
/* tour: to here */

static void
calls_done(struct both *b)
{
    b->calls_took = scene_seconds(&b->scene);
    scene_say(&b->scene, "[%ld, %ld]; now the same as two tasks, gathered", (long) b->called[0],
              (long) b->called[1]);
}

int
scene_gather(FILE *out)
{
    struct both b = {.scene = scene_begin(out)};
    struct scene *s = &b.scene;
    intptr_t r;

    scene_say(s, "calls f(1), then f(3)");
    r = uco_run(both_ways, &b);
    b.tasks_took = scene_seconds(s) - b.calls_took;
    scene_say(s, "[%ld, %ld]", (long) b.gathered[0], (long) b.gathered[1]);

    scene_check(s, b.called[0] == 3 && b.called[1] == 11 && b.calls_took >= 2.0,
                "two calls take 2 s, and look like it");
    scene_check(s, r == 0 && b.gathered[0] == 3 && b.gathered[1] == 11,
                "gather gives [3, 11], in the order of its tasks");
    scene_check(s, b.tasks_took >= 1.0 && b.tasks_took < 1.8, "after 1 s, not 2");
    return scene_end(s);
}
