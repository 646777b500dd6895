/* SPDX-License-Identifier: MIT */
/* Succeeds where a loop can have the io_uring backend. */
#include <stdlib.h>
#include <uco/uco.h>

static intptr_t
nothing(void *arg)
{
    (void) arg;
    return 0;
}

int
main(void)
{
    uco_loop_options options = {.backend = UCO_BACKEND_IO_URING};

    return uco_run_with(&options, nothing, NULL) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
