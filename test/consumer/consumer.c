/* SPDX-License-Identifier: MIT */

/* A program outside the tree, as a user would write it: two tasks sleep at the same time. */

#include <stdio.h>
#include <uco/http.h>
#include <uco/uco.h>

static intptr_t
nap(void *arg)
{
    int r = uco_sleep(0.01);

    return r < 0 ? r : (intptr_t) arg;
}

static intptr_t
body(void *arg)
{
    uco_task *tasks[] = {uco_create_task(nap, (void *) 3), uco_create_task(nap, (void *) 11)};
    intptr_t results[2];
    int r = uco_gather(tasks, 2, results);

    (void) arg;
    if (r == 0)
        r = uco_wait_all(tasks, 2, UCO_FOREVER);
    uco_unref_all(tasks, 2);
    if (r < 0)
        return r;
    printf("[%d, %d]\n", (int) results[0], (int) results[1]);
    return uco_http_client_close(uco_http_client_new(NULL));
}

int
main(void)
{
    intptr_t r = uco_run(body, NULL);

    if (r < 0)
        fprintf(stderr, "consumer: %s\n", uco_strerror((int) r));
    return r < 0;
}
