/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <uco/uco.h>

struct drink {
    const char *name;
    double seconds;
};

static intptr_t
brew(void *arg) /* a coroutine is an ordinary function */
{
    const struct drink *drink = arg;
    int r;

    printf("%s: on\n", drink->name);
    r = uco_sleep(drink->seconds); /* suspends this coroutine, not the thread */
    if (r < 0)
        return r; /* cancelled: errors are negative errnos, everywhere */
    printf("%s: ready\n", drink->name);
    return 0;
}

static intptr_t
breakfast(void *arg)
{
    struct drink tea = {"tea", 1.0}, coffee = {"coffee", 0.5};
    uco_task *tasks[] = {uco_create_task(brew, &tea), uco_create_task(brew, &coffee)};
    int r = uco_gather(tasks, 2, NULL); /* both, after one second */

    (void) arg;
    uco_unref_all(tasks, 2);
    return r;
}

int
main(void)
{
    return uco_run(breakfast, NULL) == 0 ? 0 : 1;
}
