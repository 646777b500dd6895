/* SPDX-License-Identifier: MIT */

/*
 * sse_client URL - Print a server's events as they come, until it has no more (204) or Ctrl-C.
 *
 * When the connection ends or breaks it is made again, after as long as the server asks for, and
 * the server is told which event was the last one, so that it can go on with the next.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uco/http.h>
#include <uco/uco.h>
#include <unistd.h>

#define TYPE "text/event-stream"
#define DELAY_FIRST 3.0 /* seconds, where the server says nothing */
#define DELAY_MAX 60.0
#define SILENCE 60.0 /* seconds; servers should send a comment now and then */

#define NO_ID "Last-Event-ID:" /* without a value it is not sent */

struct source {
    const char *url;
    uco_http_client *client;
    uco_stream *out;
    char last[1024]; /* the header */
    double delay;    /* as the server asks for */
    double wait;     /* longer, where that was to no avail */
};

/* What a new connection needs to know. An id holds until there is another, also for the streams
 * that follow. */
static void
source_note(struct source *source, const uco_http_event *event)
{
    size_t size = sizeof source->last;

    if (event->id[0] != '\0' &&
        snprintf(source->last, size, "%s %s", NO_ID, event->id) >= (int) size)
        strcpy(source->last, NO_ID); /* half an id is none */
    if (event->retry >= 0)
        source->delay = (double) event->retry / 1000;
    source->wait = source->delay;
}

/* Until the stream ends. A slow reader of ours is one of the server's, too: what is not printed is
 * not read. */
static int
source_print(struct source *source, uco_http_response *response)
{
    uco_http_event event;
    int r;

    while ((r = uco_http_read_event(response, &event)) == 1) {
        int printed = uco_stream_printf(source->out, "%s: %s\n", event.type, event.data);

        if (printed < 0)
            return printed;
        source_note(source, &event);
    }
    return r;
}

/* Less than 0: it is of no use to try again. 1: connect again. 0: there is no more. */
static int
source_follow(struct source *source)
{
    const char *headers[] = {"Accept: " TYPE, "Cache-Control: no-store", source->last, NULL};
    uco_http_request_options request = {
        .url = source->url, .headers = headers, .timeout = UCO_FOREVER};
    uco_http_response *response;
    const char *type;
    int r = uco_http_stream(source->client, &request, &response);

    if (r == 0) {
        type = uco_http_header(response, "Content-Type");
        if (response->status == 204) {
            uco_http_response_free(response);
            return 0;
        }
        if (response->status != 200 || type == NULL || strncasecmp(type, TYPE, strlen(TYPE)) != 0) {
            fprintf(stderr, "sse_client: %s: %ld, and no events\n", response->url,
                    response->status);
            uco_http_response_free(response);
            return -EPROTO;
        }
        r = source_print(source, response);
        uco_http_response_free(response);
    }
    if (r == -ECANCELED || r == -EPIPE || r == -EINVAL || r == -ENOMEM)
        return r;
    if (r < 0)
        fprintf(stderr, "sse_client: %s\n", uco_http_error(source->client));
    return 1;
}

static intptr_t
source_run(void *arg)
{
    struct source *source = arg;
    int r = -EIO;

    source->client = uco_http_client_new(&(uco_http_client_options){.read_timeout = SILENCE});
    source->out = uco_stream_new(STDOUT_FILENO);
    if (source->client != NULL && source->out != NULL) {
        while ((r = source_follow(source)) == 1) {
            r = uco_sleep(source->wait);
            if (r < 0)
                break;
            source->wait = source->wait < DELAY_MAX / 2 ? 2 * source->wait : DELAY_MAX;
        }
    }
    uco_stream_close(source->out);
    uco_http_client_close(source->client);
    return r;
}

int
main(int argc, char *argv[])
{
    struct source source = {.last = NO_ID, .delay = DELAY_FIRST, .wait = DELAY_FIRST};
    intptr_t r;

    if (argc != 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: sse_client URL\n");
        return 2;
    }
    source.url = argv[1];
    r = uco_run(source_run, &source);
    if (r == 0 || r == -ECANCELED || r == -EPIPE)
        return 0;
    if (r != -EPROTO)
        fprintf(stderr, "sse_client: %s\n", uco_strerror((int) r));
    return 1;
}
