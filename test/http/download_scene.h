/* SPDX-License-Identifier: MIT */
#ifndef TEST_HTTP_DOWNLOAD_SCENE_H
#define TEST_HTTP_DOWNLOAD_SCENE_H

/*
 * What the tests of downloads share: a server of one file, which may change and be sent in many
 * ways, a client of it, and a folder, on the virtual clock.
 *
 * The server sends by plain system calls: a "write" that is made to fail is one to a file.
 */

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <uco/http.h>
#include <unistd.h>

#define NEVER SIZE_MAX

struct scene {
    /* The file. */
    size_t size;
    unsigned version; /* of its bytes */
    const char *etag; /* NULL: none */
    const char *modified;
    /* How it is served. */
    bool no_ranges;            /* Range is not understood */
    bool blind;                /* If-Range is not understood */
    bool chunked;              /* and Content-Length not known */
    bool silent;               /* answers of 206 have no ETag */
    long status;               /* of all answers; 0: as it should be */
    const char *content_range; /* of answers of 206 and 416, instead of the right one */
    size_t cut;                /* the connection ends after so many bytes of a body */
    unsigned cuts;             /* so often */
    size_t pause;              /* a body stops after so many bytes until the gate is open */
    size_t most;               /* bytes of a body of 206 */
    uco_event gate;
    void (*before)(struct scene *s); /* called with each request, before it is answered */
    /* What was asked for. */
    bool paused; /* a body has stopped */
    unsigned requests;
    char last[4096]; /* the last request's head */
    /* All around. */
    uco_server *server;
    uco_http_client *client;
    uco_http_client_options client_options;
    char base_url[64];
    char folder[64];
    char path[128], part[128], note[128]; /* "file" in the folder, and beside it */
    uco_http_download_result result;      /* of the last download */
    void (*body)(struct scene *s);
    struct reports reports;
};

/* --- the server --- */

static inline char
file_byte(unsigned version, size_t position)
{
    return (char) ('a' + (position + position / 1000 + version * 7) % 26);
}

static inline int
scene_send(uco_stream *stream, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(uco_stream_fd(stream), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        int r;

        if (n < 0 && errno != EAGAIN)
            return -EPIPE;
        if (n < 0) {
            r = uco_poll(uco_stream_fd(stream), POLLOUT, UCO_FOREVER);
            if (r < 0)
                return r;
            continue;
        }
        data += n;
        size -= (size_t) n;
    }
    return 0;
}

/* The value of a header of the last request; "" without one. */
static inline const char *
scene_header(const struct scene *s, const char *name)
{
    static char values[4][512];
    static unsigned next;
    char *value = values[next++ % 4];
    char line[64];
    const char *found;

    snprintf(line, sizeof line, "\r\n%s: ", name);
    found = strcasestr(s->last, line);
    value[0] = '\0';
    if (found != NULL) {
        found += strlen(line);
        snprintf(value, sizeof values[0], "%.*s", (int) strcspn(found, "\r"), found);
    }
    return value;
}

static inline int
scene_send_body(struct scene *s, uco_stream *stream, size_t first, size_t end)
{
    char *data = malloc(65536), line[32];
    size_t sent = 0;
    int r = 0;

    ck_assert_ptr_nonnull(data);
    while (r == 0 && first < end) {
        size_t n = end - first < 65536 ? end - first : 65536;

        if (sent < s->pause && n > s->pause - sent)
            n = s->pause - sent;
        if (s->cuts > 0 && n > s->cut - sent)
            n = s->cut - sent;
        for (size_t i = 0; i < n; i++)
            data[i] = file_byte(s->version, first + i);
        if (s->chunked && n > 0) {
            snprintf(line, sizeof line, "%zx\r\n", n);
            r = scene_send(stream, line, strlen(line));
        }
        if (r == 0)
            r = scene_send(stream, data, n);
        if (r == 0 && s->chunked && n > 0)
            r = scene_send(stream, "\r\n", 2);
        first += n;
        sent += n;
        if (r == 0 && sent == s->pause && first < end) {
            s->paused = true;
            r = uco_event_wait(&s->gate);
            s->paused = false;
        }
        if (r == 0 && s->cuts > 0 && sent == s->cut) {
            s->cuts--;
            r = -ECONNRESET;
        }
    }
    free(data);
    return r == 0 && s->chunked ? scene_send(stream, "0\r\n\r\n", 5) : r;
}

static inline int
scene_send_head(struct scene *s, uco_stream *stream, long status, size_t length,
                const char *content_range)
{
    char head[1024], extra[512] = "";
    size_t used = 0;

    if (s->etag != NULL && !(status == 206 && s->silent))
        used += (size_t) snprintf(extra + used, sizeof extra - used, "ETag: %s\r\n", s->etag);
    if (s->modified != NULL)
        used += (size_t) snprintf(extra + used, sizeof extra - used, "Last-Modified: %s\r\n",
                                  s->modified);
    if (content_range != NULL)
        used += (size_t) snprintf(extra + used, sizeof extra - used, "Content-Range: %s\r\n",
                                  content_range);
    if (s->chunked)
        snprintf(extra + used, sizeof extra - used, "Transfer-Encoding: chunked\r\n");
    else
        snprintf(extra + used, sizeof extra - used, "Content-Length: %zu\r\n", length);
    snprintf(head, sizeof head,
             "HTTP/1.1 %ld Status\r\nDate: Mon, 23 Nov 2020 12:00:00 GMT\r\n%s\r\n", status, extra);
    return scene_send(stream, head, strlen(head));
}

/* Whether If-Range allows a part to be sent. */
static inline bool
scene_may_range(const struct scene *s)
{
    const char *condition = scene_header(s, "If-Range");

    if (condition[0] == '\0' || s->blind)
        return true;
    return (s->etag != NULL && strcmp(condition, s->etag) == 0) ||
           (s->modified != NULL && strcmp(condition, s->modified) == 0);
}

static inline int
scene_answer(struct scene *s, uco_stream *stream)
{
    const char *range = scene_header(s, "Range");
    size_t first = 0, end = s->size;
    char content_range[96];
    int r;

    if (s->status != 0 && s->status != 200) {
        r = scene_send_head(s, stream, s->status, s->chunked ? 0 : 6, NULL);
        return r == 0 && !s->chunked ? scene_send(stream, "status", 6) : r;
    }
    if (range[0] == '\0' || s->no_ranges || !scene_may_range(s)) {
        r = scene_send_head(s, stream, 200, s->size, NULL);
        return r == 0 ? scene_send_body(s, stream, 0, s->size) : r;
    }
    ck_assert_int_eq(sscanf(range, "bytes=%zu-", &first), 1);
    if (first >= s->size) {
        snprintf(content_range, sizeof content_range, "bytes */%zu", s->size);
        r = scene_send_head(s, stream, 416, 0,
                            s->content_range != NULL ? s->content_range : content_range);
        return r == 0 && s->chunked ? scene_send(stream, "0\r\n\r\n", 5) : r;
    }
    if (s->most > 0 && end - first > s->most)
        end = first + s->most;
    snprintf(content_range, sizeof content_range, "bytes %zu-%zu/%zu", first, end - 1, s->size);
    r = scene_send_head(s, stream, 206, end - first,
                        s->content_range != NULL ? s->content_range : content_range);
    return r == 0 ? scene_send_body(s, stream, first, end) : r;
}

static inline intptr_t
scene_connection(uco_stream *stream, void *arg)
{
    struct scene *s = arg;
    char head[sizeof s->last];
    const char *line;
    ssize_t n;
    int r = 0;

    while (r == 0) {
        size_t used = 0;

        while ((n = uco_stream_read_line(stream, &line)) > 2) {
            ck_assert_uint_lt(used + (size_t) n, sizeof head);
            memcpy(head + used, line, (size_t) n);
            used += (size_t) n;
        }
        if (n <= 0)
            return 0;
        head[used] = '\0';
        memcpy(s->last, head, used + 1);
        s->requests++;
        if (s->before != NULL)
            s->before(s);
        r = scene_answer(s, stream);
    }
    return r == -ECANCELED ? r : -ECONNRESET;
}

/* --- the folder --- */

/* What is in the folder, sorted, with blanks between. */
static inline const char *
scene_names(const struct scene *s)
{
    static char names[2048];
    struct dirent **entries;
    int n = scandir(s->folder, &entries, NULL, alphasort);

    names[0] = '\0';
    ck_assert_int_ge(n, 0);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            size_t used = strlen(names);

            snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? " " : "",
                     entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    return names;
}

static inline void
scene_remove_all(const struct scene *s)
{
    struct dirent **entries;
    int n = scandir(s->folder, &entries, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        char path[512];

        snprintf(path, sizeof path, "%s/%s", s->folder, entries[i]->d_name);
        if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
            ck_assert_int_eq(remove(path), 0);
        free(entries[i]);
    }
    free(entries);
    ck_assert_int_eq(rmdir(s->folder), 0);
}

/* The bytes [0, size) of a version are in a file, and no others. */
static inline void
expect_bytes_in(const char *path, size_t size, unsigned version)
{
    FILE *file = fopen(path, "rb");
    size_t right = 0;
    int c;

    ck_assert_ptr_nonnull(file);
    while ((c = getc(file)) != EOF && c == file_byte(version, right))
        right++;
    fclose(file);
    ck_assert_msg(c == EOF && right == size, "%zu of %zu bytes, then %d", right, size, c);
}

static inline void
write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static inline void
expect_text_in(const char *path, const char *text)
{
    char found[1024];
    FILE *file = fopen(path, "rb");
    size_t n;

    ck_assert_ptr_nonnull(file);
    n = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    found[n] = '\0';
    ck_assert_str_eq(found, text);
}

/* What an earlier attempt has left. */
static inline void
leave_part(const struct scene *s, size_t size, unsigned version, const char *note)
{
    FILE *file = fopen(s->part, "wb");

    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < size; i++)
        putc(file_byte(version, i), file);
    fclose(file);
    if (note != NULL)
        write_text(s->note, note);
}

/* --- downloads --- */

static inline int
download_to(struct scene *s, const char *path, const uco_http_download_options *options)
{
    return uco_http_download(s->client, "/file", path, options, &s->result);
}

static inline int
download(struct scene *s, const uco_http_download_options *options)
{
    return download_to(s, s->path, options);
}

/* It must be there afterwards, whole, and alone. */
static inline void
expect_download(struct scene *s, const uco_http_download_options *options)
{
    int r = download(s, options);

    ck_assert_msg(r == 0, "%d: %s", r, uco_http_error(s->client));
    ck_assert_str_eq(uco_http_error(s->client), "");
    expect_bytes_in(s->path, s->size, s->version);
    ck_assert_uint_eq(s->result.size, s->size);
    ck_assert_str_eq(scene_names(s), "file");
}

static inline void
expect_failed_download(struct scene *s, const uco_http_download_options *options, int error)
{
    int r = download(s, options);

    ck_assert_msg(r == error, "%d and not %d: %s", r, error, uco_http_error(s->client));
    ck_assert_msg(strstr(uco_http_error(s->client), "/file") != NULL, "'%s'",
                  uco_http_error(s->client));
}

/* A download as a task. */
struct download_task {
    struct scene *s;
    uco_http_download_options options;
    uco_http_download_result result;
    uint64_t received; /* as progress told */
};

static inline void
download_told(uint64_t received, uint64_t total, void *arg)
{
    struct download_task *task = arg;

    (void) total;
    task->received = received;
}

static inline intptr_t
download_run(void *arg)
{
    struct download_task *task = arg;

    task->received = 0;
    task->options.progress = download_told;
    task->options.progress_arg = task;
    return uco_http_download(task->s->client, "/file", task->s->path, &task->options,
                             &task->result);
}

/* Until a body has stopped, and the task has all that was sent of it. */
static inline void
until_paused(const struct download_task *task)
{
    while (!task->s->paused || task->received < task->s->pause)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

/* --- all of it --- */

static inline void
scene_open_client(struct scene *s)
{
    s->client_options.base_url = s->base_url;
    s->client_options.proxy = "";
    s->client = uco_http_client_new(&s->client_options);
    ck_assert_ptr_nonnull(s->client);
}

static inline intptr_t
scene_run(void *arg)
{
    struct scene *s = arg;

    s->server = uco_server_start("127.0.0.1", 0, scene_connection, s);
    ck_assert_ptr_nonnull(s->server);
    snprintf(s->base_url, sizeof s->base_url, "http://127.0.0.1:%u",
             (unsigned) uco_server_port(s->server));
    scene_open_client(s);
    s->body(s);
    ck_assert_int_eq(uco_http_client_close(s->client), 0);
    ck_assert_int_eq(uco_server_close(s->server, 0), 0);
    return 0;
}

static inline void
scene_with(const uco_http_client_options *client_options, void (*body)(struct scene *s))
{
    struct scene s = {
        .size = 1000,
        .etag = "\"one\"",
        .cut = NEVER,
        .pause = NEVER,
        .folder = "/tmp/uco-download-XXXXXX",
        .client_options = *client_options,
        .body = body,
    };
    uco_loop_options options = reporting(&s.reports);

    ck_assert_ptr_nonnull(mkdtemp(s.folder));
    snprintf(s.path, sizeof s.path, "%s/file", s.folder);
    snprintf(s.part, sizeof s.part, "%s/file.part", s.folder);
    snprintf(s.note, sizeof s.note, "%s/file.part.etag", s.folder);
    options.clock = UCO_CLOCK_VIRTUAL;
    ck_assert_int_eq(uco_run_with(&options, scene_run, &s), 0);
    ck_assert_msg(s.reports.count == 0, "reported: %s", s.reports.all);
    scene_remove_all(&s);
}

static inline void
scene(void (*body)(struct scene *s))
{
    scene_with(&(uco_http_client_options){0}, body);
}

#endif
