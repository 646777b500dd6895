/* SPDX-License-Identifier: MIT */

/*
 * serve [PORT] - The examples' HTTP server as a program, until it is interrupted (Ctrl-C).
 *
 *   serve 8080 &  fetch http://127.0.0.1:8080/hello http://127.0.0.1:8080/slow/500/bytes/100000
 */

#include "support/http_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uco/uco.h>

static intptr_t
serve(void *port)
{
    struct http_server server;
    intptr_t r = http_server_open(&server, *(uint16_t *) port);

    if (r < 0)
        return r;
    printf("http://127.0.0.1:%" PRIu16 "/hello\n", server.port);
    fflush(stdout);
    r = http_server_run(&server); /* a call: the server is this very task */
    printf("%u answers\n", server.served);
    return r;
}

int
main(int argc, char *argv[])
{
    long number = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    uint16_t port = (uint16_t) number;
    intptr_t r;

    if (number < 0 || number > UINT16_MAX || argc > 2) {
        fprintf(stderr, "usage: serve [PORT]\n");
        return 2;
    }
    r = uco_run(serve, &port); /* Ctrl-C cancels its main task, which is how a server ends */
    if (r == -ECANCELED)
        return 0;
    fprintf(stderr, "serve: %s\n", uco_strerror((int) r));
    return 1;
}
