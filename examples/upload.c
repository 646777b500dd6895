/* SPDX-License-Identifier: MIT */

/*
 * upload [-n] URL FILE... - Send files as a web form does, in one request, and print the answer.
 *
 * Files are read while they are sent, as fast as the server takes them, so they may be of any size;
 * a pipe will do, too. On a terminal it shows how far it is, with -n it does not.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <uco/http.h>
#include <uco/uco.h>
#include <unistd.h>

#define SILENCE 60.0 /* seconds; a whole upload may take as long as it likes */

struct upload {
    const char *url;
    char **files;
    size_t n;
    bool shows;
};

/* Called by the loop, which waits meanwhile: it must be short, and must not suspend. */
static void
show_progress(uint64_t received, uint64_t total, uint64_t sent, void *arg)
{
    (void) received;
    (void) total;
    (void) arg;
    fprintf(stderr, "\r%.1f MB", (double) sent / 1e6);
}

static uco_http_multipart *
form_new(const struct upload *upload)
{
    uco_http_multipart *form = uco_http_multipart_new();
    int r = form != NULL ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < upload->n; i++)
        r = uco_http_multipart_file(form, "file", upload->files[i], NULL, NULL);
    if (r == 0)
        return form;
    uco_http_multipart_free(form);
    return NULL;
}

static int
upload_send(const struct upload *upload, uco_http_client *client, uco_http_multipart *form)
{
    uco_http_request_options request = {
        .url = upload->url,
        .multipart = form,
        .progress = upload->shows ? show_progress : NULL,
        .timeout = UCO_FOREVER,
    };
    uco_http_response *response;
    int r = uco_http_request(client, &request, &response);

    if (upload->shows)
        fputc('\n', stderr);
    if (r < 0) {
        fprintf(stderr, "upload: %s\n", uco_http_error(client));
        return r;
    }
    printf("%ld\n", response->status);
    fwrite(response->text, 1, response->size, stdout);
    r = response->status < 300 ? 0 : -EPROTO;
    uco_http_response_free(response);
    return r;
}

static intptr_t
upload_run(void *arg)
{
    const struct upload *upload = arg;
    uco_http_client *client = uco_http_client_new(
        &(uco_http_client_options){.read_timeout = SILENCE, .max_body = 1024 * 1024});
    uco_http_multipart *form = form_new(upload);
    int r = -ENOMEM;

    if (client != NULL && form != NULL)
        r = upload_send(upload, client, form);
    uco_http_multipart_free(form);
    uco_http_client_close(client);
    return r;
}

int
main(int argc, char *argv[])
{
    struct upload upload = {.shows = isatty(STDERR_FILENO)};

    if (argc > 1 && strcmp(argv[1], "-n") == 0) {
        upload.shows = false;
        argc--;
        argv++;
    }
    if (argc < 3 || argv[1][0] == '-') {
        fprintf(stderr, "usage: upload [-n] URL FILE...\n");
        return 2;
    }
    upload.url = argv[1];
    upload.files = argv + 2;
    upload.n = (size_t) argc - 2;
    return uco_run(upload_run, &upload) == 0 ? 0 : 1;
}
