/* SPDX-License-Identifier: MIT */

/* The same from C++. */

#include <array>
#include <cstdio>
#include <uco/http.h>
#include <uco/uco.h>

static intptr_t
nap(void *arg)
{
    int r = uco_sleep(0.01);

    return r < 0 ? r : *static_cast<int *>(arg);
}

static intptr_t
body(void *)
{
    int numbers[] = {3, 11};
    std::array<uco_task *, 2> tasks = {uco_create_task(nap, &numbers[0]),
                                       uco_create_task(nap, &numbers[1])};
    std::array<intptr_t, 2> results;
    int r = uco_gather(tasks.data(), tasks.size(), results.data());

    if (r == 0)
        r = uco_wait_all(tasks.data(), tasks.size(), UCO_FOREVER);
    uco_unref_all(tasks.data(), tasks.size());
    if (r < 0)
        return r;
    std::printf("[%d, %d]\n", static_cast<int>(results[0]), static_cast<int>(results[1]));
    return uco_http_client_close(uco_http_client_new(nullptr));
}

int
main()
{
    intptr_t r = uco_run(body, nullptr);

    if (r < 0)
        std::fprintf(stderr, "consumer: %s\n", uco_strerror(static_cast<int>(r)));
    return r < 0;
}
