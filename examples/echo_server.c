/* SPDX-License-Identifier: MIT */

/*
 * echo_server [--host HOST] [--port PORT] [--tls CERT KEY] - Sends back whatever it gets.
 *
 * It listens on 127.0.0.1 and any free port unless told otherwise, prints where, and goes on until
 * it is interrupted (Ctrl-C). With --tls, which wants two files in PEM, it speaks TLS.
 *
 *   echo_server --port 7777 &  nc 127.0.0.1 7777
 *
 * It shows a server with a task a connection, and streams: the data is sent from where it was
 * received, in the stream's own buffer. A client that does not read holds up its own task, in
 * uco_stream_write(), and so what is kept for it stays small.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/tls.h>
#include <uco/uco.h>

struct options {
    const char *host;
    uint16_t port;
    const char *cert, *key; /* NULL: no TLS */
};

/* The server closes the stream afterwards, and a connection's error is none of the others'. */
static intptr_t
echo(uco_stream *stream, void *arg)
{
    const void *data;
    ssize_t n;

    (void) arg;
    while ((n = uco_stream_peek(stream, &data)) > 0) {
        ssize_t r = uco_stream_write(stream, data, (size_t) n);

        if (r < 0)
            return r;
        uco_stream_consume(stream, (size_t) n);
    }
    return n; /* 0: the client has said all, and has got all when the stream is closed */
}

static intptr_t
serve(void *arg)
{
    const struct options *options = arg;
    uco_tls_options tls = {.server = true, .cert_file = options->cert, .key_file = options->key};
    uco_server_options server_options = {
        .host = options->host,
        .port = options->port,
        .tls = options->cert != NULL ? &tls : NULL,
    };
    uco_server *server = uco_server_start_with(&server_options, echo, NULL);

    if (server == NULL)
        return -errno;
    printf("%s:%" PRIu16 "\n", options->host, uco_server_port(server));
    fflush(stdout);

    uco_sleep(UCO_FOREVER); /* until Ctrl-C cancels this task */
    return uco_server_close(server, 0);
}

static bool
port_parse(const char *text, uint16_t *port)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t) number;
    return true;
}

static bool
options_parse(struct options *options, char *argv[])
{
    for (argv++; *argv != NULL; argv++) {
        if (strcmp(*argv, "--host") == 0 && argv[1] != NULL) {
            options->host = *++argv;
        } else if (strcmp(*argv, "--port") == 0 && argv[1] != NULL) {
            if (!port_parse(*++argv, &options->port))
                return false;
        } else if (strcmp(*argv, "--tls") == 0 && argv[1] != NULL && argv[2] != NULL) {
            options->cert = *++argv;
            options->key = *++argv;
        } else {
            return false;
        }
    }
    return true;
}

int
main(int argc, char *argv[])
{
    struct options options = {.host = "127.0.0.1"};
    intptr_t r;

    (void) argc;
    if (!options_parse(&options, argv)) {
        fprintf(stderr, "usage: echo_server [--host HOST] [--port PORT] [--tls CERT KEY]\n");
        return 2;
    }
    r = uco_run(serve, &options);
    if (r < 0 && r != -ECANCELED) {
        fprintf(stderr, "echo_server: %s\n", uco_strerror((int) r));
        return 1;
    }
    return 0;
}
