/* SPDX-License-Identifier: MIT */

#include "fixture.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
client_open(struct fixture *f, const uco_http_client_options *options)
{
    f->options = *options;
    snprintf(f->base_url, sizeof f->base_url, "http://127.0.0.1:%u", (unsigned) f->server.port);
    if (f->options.base_url == NULL)
        f->options.base_url = f->base_url;
    if (f->options.proxy == NULL)
        f->options.proxy = "";
    f->client = uco_http_client_new(&f->options);
    ck_assert_ptr_nonnull(f->client);
}

void
reopen(struct fixture *f, const uco_http_client_options *options)
{
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    client_open(f, options);
}

static intptr_t
fixture_run(void *arg)
{
    struct fixture *f = arg;
    uco_http_client_options options = f->options;

    server_start(&f->server);
    client_open(f, &options);
    f->body(f);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    server_stop(&f->server);
    return 0;
}

static void
serve_on(enum uco_clock clock, const uco_http_client_options *options,
         void (*body)(struct fixture *f))
{
    struct fixture f = {.options = *options, .body = body};
    uco_loop_options loop_options = reporting(&f.reports);

    loop_options.clock = clock;
    ck_assert_int_eq(uco_run_with(&loop_options, fixture_run, &f), 0);
    ck_assert_msg(f.reports.count == 0, "reported: %s", f.reports.all);
}

void
serve_with(const uco_http_client_options *options, void (*body)(struct fixture *f))
{
    serve_on(UCO_CLOCK_REAL, options, body);
}

void
serve(void (*body)(struct fixture *f))
{
    serve_with(&(uco_http_client_options){0}, body);
}

void
serve_virtually_with(const uco_http_client_options *options, void (*body)(struct fixture *f))
{
    serve_on(UCO_CLOCK_VIRTUAL, options, body);
}

void
serve_virtually(void (*body)(struct fixture *f))
{
    serve_virtually_with(&(uco_http_client_options){0}, body);
}

uco_http_response *
fetch(struct fixture *f, const char *url)
{
    uco_http_response *response;
    int r = uco_http_get(f->client, url, &response);

    ck_assert_msg(r == 0, "%s: %d, %s", url, r, uco_http_error(f->client));
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(uco_http_error(f->client), "");
    return response;
}

void
expect_text(struct fixture *f, const char *url, const char *text)
{
    uco_http_response *response = fetch(f, url);

    ck_assert_str_eq(response->text, text);
    ck_assert_uint_eq(response->size, strlen(text));
    uco_http_response_free(response);
}

void
expect_bytes(struct fixture *f, const char *url, size_t size)
{
    uco_http_response *response = fetch(f, url);
    size_t right = 0;

    ck_assert_int_eq(response->status, 200);
    ck_assert_uint_eq(response->size, size);
    while (right < size && response->text[right] == server_byte(right))
        right++;
    ck_assert_uint_eq(right, size);
    ck_assert_int_eq(response->text[size], '\0');
    uco_http_response_free(response);
}

void
expect_error(struct fixture *f, const char *url, int error)
{
    uco_http_response *response = (uco_http_response *) (void *) f;
    int r = uco_http_get(f->client, url, &response);

    ck_assert_msg(r == error, "%s: %d (%s) and not %d", url, r, uco_http_error(f->client), error);
    ck_assert_ptr_null(response);
    ck_assert_msg(strstr(uco_http_error(f->client), url) != NULL, "'%s' does not name %s",
                  uco_http_error(f->client), url);
}

uco_http_response *
ask(struct fixture *f, const uco_http_request_options *request)
{
    uco_http_response *response;
    int r = uco_http_request(f->client, request, &response);

    ck_assert_msg(r == 0, "%s: %d, %s", request->url, r, uco_http_error(f->client));
    ck_assert_ptr_nonnull(response);
    ck_assert_ptr_nonnull(response->text);
    ck_assert_str_eq(uco_http_error(f->client), "");
    return response;
}

void
expect_answer(struct fixture *f, const uco_http_request_options *request, long status,
              const char *text)
{
    uco_http_response *response = ask(f, request);

    ck_assert_int_eq(response->status, status);
    if (text != NULL)
        ck_assert_str_eq(response->text, text);
    uco_http_response_free(response);
}

void
expect_failure(struct fixture *f, const uco_http_request_options *request, int error)
{
    uco_http_response *response = (uco_http_response *) (void *) f;
    int r = uco_http_request(f->client, request, &response);

    ck_assert_msg(r == error, "%s: %d (%s) and not %d", request->url, r, uco_http_error(f->client),
                  error);
    ck_assert_ptr_null(response);
    ck_assert_str_ne(uco_http_error(f->client), "");
}

uco_http_response *
open_stream(struct fixture *f, const char *url)
{
    const uco_http_request_options request = {.url = url};
    uco_http_response *response;
    int r = uco_http_stream(f->client, &request, &response);

    ck_assert_msg(r == 0, "%s: %d, %s", url, r, uco_http_error(f->client));
    ck_assert_ptr_nonnull(response);
    ck_assert_ptr_null(response->text);
    return response;
}

bool
bytes_are_right(const void *data, size_t size, size_t position)
{
    const char *bytes = data;

    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != server_byte(position + i))
            return false;
    }
    return true;
}

size_t
drain(uco_http_response *response, size_t n)
{
    char *bytes = malloc(n);
    size_t size = 0;
    ssize_t r;

    ck_assert_ptr_nonnull(bytes);
    while ((r = uco_http_read(response, bytes, n)) > 0) {
        ck_assert_uint_le((size_t) r, n);
        ck_assert(bytes_are_right(bytes, (size_t) r, size));
        size += (size_t) r;
        ck_assert_uint_eq(response->size, size);
    }
    ck_assert_int_eq(r, 0);
    free(bytes);
    return size;
}

/* /endless begins anew each page. */
static bool
page_is_right(const char *bytes, size_t size, size_t position)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != server_byte((position + i) % SERVER_PAGE))
            return false;
    }
    return true;
}

void
read_endless(uco_http_response *response, size_t size)
{
    char bytes[4096];
    size_t position = response->size;

    while (size > 0) {
        ssize_t r = uco_http_read(response, bytes, size < sizeof bytes ? size : sizeof bytes);

        ck_assert_int_gt(r, 0);
        ck_assert(page_is_right(bytes, (size_t) r, position));
        position += (size_t) r;
        size -= (size_t) r;
    }
}

void
until_stalled(const struct fixture *f)
{
    uint64_t before;

    do {
        before = f->server.sent;
        ck_assert_int_eq(uco_sleep(0.03), 0);
    } while (f->server.sent == 0 || f->server.sent != before);
}

bool
was_sent(const struct fixture *f, const char *header)
{
    char line[1024];

    snprintf(line, sizeof line, "\r\n%s\r\n", header);
    return strstr(f->server.last, line) != NULL;
}

void
until_busy(const struct fixture *f, unsigned n)
{
    while (f->server.busy != n)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

void
until_open(const struct fixture *f, unsigned n)
{
    while (f->server.open != n)
        ck_assert_int_eq(uco_sleep(0.001), 0);
}

intptr_t
visit(void *arg)
{
    const struct visit *v = arg;
    uco_http_response *response;
    intptr_t r = uco_http_get(v->f->client, v->url, &response);

    if (r < 0) {
        ck_assert_ptr_null(response);
        return r;
    }
    r = response->status;
    uco_http_response_free(response);
    return r;
}

uint16_t
free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}
