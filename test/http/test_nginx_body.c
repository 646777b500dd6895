/* SPDX-License-Identifier: MIT */
/* The client against the real nginx: 100 MB in both directions, and bodies that nginx does not
 * want. */
#include "certificates.h"
#include "nginx.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const uco_http_client_options no_options;

/* Without Expect, nothing holds the body back. */
#define NOT_ASKING .expect_timeout = -1

/* --- receiving --- */

static void
expect_large(const char *bytes, size_t position)
{
    static char right[NGINX_LARGE_STEP];

    nginx_large(position, right);
    ck_assert_int_eq(memcmp(bytes, right, sizeof right), 0);
}

static void
get_large(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/large");

    ck_assert_uint_eq(response->size, NGINX_LARGE_SIZE);
    ck_assert_uint_eq(response->received, NGINX_LARGE_SIZE);
    for (size_t at = 0; at < NGINX_LARGE_SIZE; at += NGINX_LARGE_STEP)
        expect_large(response->text + at, at);
    uco_http_response_free(response);
}

START_TEST(a_large_file_comes_whole)
{
    with_nginx(&no_options, get_large);
}
END_TEST

START_TEST(a_large_file_comes_whole_by_http2)
{
    with_nginx_tls(&no_options, get_large);
}
END_TEST

static long
memory_peak(void)
{
    struct rusage usage;

    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss; /* KiB */
}

#define AHEAD ((size_t) 1 << 20) /* bytes; far more than should be */

/* The reader is away now and then. By HTTP/2, libcurl 7.88 lets the server send 32 MB of a stream
 * whatever its reader does, and keeps them. */
static void
read_slowly(struct fixture *f)
{
    static char buffer[NGINX_LARGE_STEP];
    long before = memory_peak();
    uco_http_response *response = open_stream(f, "/large");

    if (response->version < 20)
        ck_assert_uint_le(response->received, AHEAD);
    for (size_t at = 0; at < NGINX_LARGE_SIZE; at += sizeof buffer) {
        for (int i = 0; at % (NGINX_LARGE_SIZE / 4) == 0 && i < 50; i++)
            connection_for(f, "/text");
        for (size_t have = 0; have < sizeof buffer;) {
            ssize_t n = uco_http_read(response, buffer + have, sizeof buffer - have);

            ck_assert_int_gt(n, 0);
            have += (size_t) n;
        }
        expect_large(buffer, at);
    }
    ck_assert_int_eq(uco_http_read(response, buffer, sizeof buffer), 0);
    ck_assert_uint_eq(response->size, NGINX_LARGE_SIZE);
    ck_assert_uint_eq(response->received, NGINX_LARGE_SIZE);
    if (response->version < 20 && !under_sanitizer())
        ck_assert_int_lt(memory_peak() - before, (long) (4 * AHEAD / 1024));
    uco_http_response_free(response);
}

START_TEST(a_stream_comes_no_faster_than_it_is_read)
{
    with_nginx(&no_options, read_slowly);
}
END_TEST

START_TEST(a_stream_that_is_read_slowly_comes_whole_by_http2)
{
    with_nginx_tls(&no_options, read_slowly);
}
END_TEST

static void
give_up(struct fixture *f)
{
    unsigned long connection = connection_for(f, "/hello");
    uco_http_response *response = open_stream(f, "/large");
    char byte;

    ck_assert_uint_eq(connection_of(response), connection);
    ck_assert_int_eq(uco_http_read(response, &byte, 1), 1);
    uco_http_response_free(response);
    ck_assert_uint_ne(connection_for(f, "/hello"), connection);
    nginx_reopen(f, &no_options);
    nginx_wait_idle();
}

START_TEST(a_stream_that_is_given_up_closes_its_connection)
{
    with_nginx(&no_options, give_up);
}
END_TEST

/* --- sending --- */

/* And it takes no room any longer. */
static void
expect_stored(const char *name)
{
    const char *const compare[] = {"cmp", nginx_path("www/large"), nginx_path(name), NULL};

    ck_assert_int_eq(program_run(compare), 0);
    ck_assert_int_eq(unlink(compare[2]), 0);
}

struct progress {
    uint64_t sent;
    unsigned calls;
};

static void
progress_note(uint64_t received, uint64_t total, uint64_t sent, void *arg)
{
    struct progress *progress = arg;

    (void) received;
    (void) total;
    ck_assert_uint_ge(sent, progress->sent);
    progress->sent = sent;
    progress->calls++;
}

static void
put_file(struct fixture *f)
{
    struct progress progress = {0};
    const uco_http_request_options request = {.method = "PUT",
                                              .url = "/stored/by-file",
                                              .body_file = nginx_path("www/large"),
                                              .progress = progress_note,
                                              .progress_arg = &progress};
    uco_http_response *response = ask(f, &request);

    ck_assert_int_eq(response->status, 201);
    ck_assert_uint_eq(response->sent, NGINX_LARGE_SIZE);
    uco_http_response_free(response);
    ck_assert_uint_eq(progress.sent, NGINX_LARGE_SIZE);
    ck_assert_uint_gt(progress.calls, 1);
    expect_stored("stored/by-file");
}

START_TEST(a_large_file_is_sent_whole)
{
    with_nginx(&no_options, put_file);
}
END_TEST

START_TEST(a_large_file_is_sent_whole_by_http2)
{
    with_nginx_tls(&no_options, put_file);
}
END_TEST

struct source {
    size_t at;
    char step[NGINX_LARGE_STEP];
};

/* Gives odd pieces, and lets others run in between. */
static ssize_t
source_read(void *buf, size_t n, void *arg)
{
    struct source *source = arg;
    size_t offset = source->at % NGINX_LARGE_STEP, left = NGINX_LARGE_STEP - offset;

    if (source->at == NGINX_LARGE_SIZE)
        return 0;
    if (offset == 0) {
        nginx_large(source->at, source->step);
        if (uco_yield() < 0)
            return -ECANCELED;
    }
    if (n > left)
        n = left;
    if (n > 7001)
        n = 7001;
    memcpy(buf, source->step + offset, n);
    source->at += n;
    return (ssize_t) n;
}

static void
put_source(struct fixture *f)
{
    static struct source source;
    struct progress progress = {0};
    const uco_http_request_options request = {.method = "PUT",
                                              .url = "/stored/by-source",
                                              .read_body = source_read,
                                              .read_arg = &source,
                                              .progress = progress_note,
                                              .progress_arg = &progress};
    uco_http_response *response = ask(f, &request);

    ck_assert_int_eq(response->status, 201);
    ck_assert_uint_eq(response->sent, NGINX_LARGE_SIZE);
    uco_http_response_free(response);
    ck_assert_uint_eq(progress.sent, NGINX_LARGE_SIZE);
    expect_stored("stored/by-source");
}

START_TEST(a_body_of_unknown_size_is_sent_whole)
{
    with_nginx(&no_options, put_source);
}
END_TEST

START_TEST(a_body_of_unknown_size_is_sent_whole_by_http2)
{
    with_nginx_tls(&no_options, put_source);
}
END_TEST

static void
put_stream(struct fixture *f)
{
    int fd = open(nginx_path("www/large"), O_RDONLY | O_CLOEXEC);
    uco_stream *stream = uco_stream_new(fd);
    const uco_http_request_options request = {.method = "PUT",
                                              .url = "/stored/by-stream",
                                              .body_stream = stream,
                                              .body_size = NGINX_LARGE_SIZE};

    expect_answer(f, &request, 201, NULL);
    expect_stored("stored/by-stream");
    ck_assert_int_eq(uco_stream_close(stream), 0);
}

START_TEST(a_stream_is_sent_whole)
{
    with_nginx(&no_options, put_stream);
}
END_TEST

static void
put_moved(struct fixture *f)
{
    const uco_http_request_options request = {
        .method = "PUT", .url = "/moved/stored/by-redirect", .body_file = nginx_path("www/large")};
    const uco_http_request_options hurried = {.method = "PUT",
                                              .url = "/moved/stored/by-redirect-too",
                                              .body_file = nginx_path("www/large"),
                                              NOT_ASKING};

    expect_answer(f, &request, 201, NULL);
    expect_stored("stored/by-redirect");
    expect_answer(f, &hurried, 201, NULL);
    expect_stored("stored/by-redirect-too");
}

START_TEST(a_large_file_is_sent_again_where_a_redirect_leads)
{
    with_nginx(&no_options, put_moved);
}
END_TEST

/* --- what nginx does not want --- */

static void
ask_before_too_much(struct fixture *f)
{
    const uco_http_request_options request = {
        .method = "PUT", .url = "/upload", .body_file = nginx_path("www/large")};
    uco_http_response *response = ask(f, &request);

    ck_assert_int_eq(response->status, 413);
    ck_assert_uint_eq(response->sent, 0);
    uco_http_response_free(response);
    expect_text(f, "/hello", "hello\n");
}

START_TEST(a_body_that_is_too_large_is_not_sent_when_nginx_is_asked)
{
    with_nginx(&no_options, ask_before_too_much);
}
END_TEST

/* nginx answers when it has seen the headers, and goes on reading for a while. */
static void
send_too_much(struct fixture *f)
{
    const uco_http_request_options request = {
        .method = "PUT", .url = "/upload", .body_file = nginx_path("www/large"), NOT_ASKING};

    for (int i = 0; i < 5; i++) {
        uco_http_response *response = ask(f, &request);

        ck_assert_int_eq(response->status, 413);
        ck_assert_ptr_nonnull(strstr(response->text, "413 Request Entity Too Large"));
        ck_assert_uint_lt(response->sent, NGINX_LARGE_SIZE);
        uco_http_response_free(response);
        expect_text(f, "/hello", "hello\n");
    }
}

START_TEST(an_early_answer_ends_the_sending)
{
    with_nginx(&no_options, send_too_much);
}
END_TEST

START_TEST(an_early_answer_ends_the_sending_by_http2)
{
    with_nginx_tls(&no_options, send_too_much);
}
END_TEST

/* A source that never ends is asked no more once there is an answer. */
static ssize_t
endless_read(void *buf, size_t n, void *arg)
{
    size_t *given = arg;

    if (uco_yield() < 0)
        return -ECANCELED;
    memset(buf, 'x', n);
    *given += n;
    return (ssize_t) n;
}

static void
send_for_ever(struct fixture *f)
{
    size_t given = 0;
    const uco_http_request_options request = {.method = "PUT",
                                              .url = "/upload",
                                              .read_body = endless_read,
                                              .read_arg = &given,
                                              .body_size = (size_t) 1 << 40,
                                              NOT_ASKING};

    expect_answer(f, &request, 413, NULL);
    ck_assert_uint_lt(given, (size_t) 1 << 30);
    expect_text(f, "/hello", "hello\n");
}

START_TEST(an_early_answer_ends_the_asking_of_a_source)
{
    with_nginx(&no_options, send_for_ever);
    with_nginx_tls(&no_options, send_for_ever);
}
END_TEST

static void
cancel_sending(struct fixture *f)
{
    const uco_http_request_options request = {.method = "PUT",
                                              .url = "/stored/cancelled",
                                              .read_body = endless_read,
                                              .read_arg = &(size_t){0},
                                              .body_size = 200 << 20,
                                              .timeout = 0.05};

    for (int i = 0; i < 5; i++) {
        uco_http_response *response;
        int r = uco_http_request(f->client, &request, &response);

        if (r == 0) /* a fast machine */
            uco_http_response_free(response);
        else
            ck_assert_int_eq(r, -ETIMEDOUT);
        expect_text(f, "/hello", "hello\n");
    }
}

START_TEST(a_body_that_is_being_sent_can_time_out)
{
    with_nginx(&no_options, cancel_sending);
    with_nginx_tls(&no_options, cancel_sending);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *receiving = case_new(suite, "receiving");
    TCase *sending = case_new(suite, "sending");
    TCase *unwanted = case_new(suite, "unwanted");

    tcase_add_test(receiving, a_large_file_comes_whole);
    tcase_add_test(receiving, a_large_file_comes_whole_by_http2);
    tcase_add_test(receiving, a_stream_comes_no_faster_than_it_is_read);
    tcase_add_test(receiving, a_stream_that_is_read_slowly_comes_whole_by_http2);
    tcase_add_test(receiving, a_stream_that_is_given_up_closes_its_connection);
    tcase_add_test(sending, a_large_file_is_sent_whole);
    tcase_add_test(sending, a_large_file_is_sent_whole_by_http2);
    tcase_add_test(sending, a_body_of_unknown_size_is_sent_whole);
    tcase_add_test(sending, a_body_of_unknown_size_is_sent_whole_by_http2);
    tcase_add_test(sending, a_stream_is_sent_whole);
    tcase_add_test(sending, a_large_file_is_sent_again_where_a_redirect_leads);
    tcase_add_test(unwanted, a_body_that_is_too_large_is_not_sent_when_nginx_is_asked);
    tcase_add_test(unwanted, an_early_answer_ends_the_sending);
    tcase_add_test(unwanted, an_early_answer_ends_the_sending_by_http2);
    tcase_add_test(unwanted, an_early_answer_ends_the_asking_of_a_source);
    tcase_add_test(unwanted, a_body_that_is_being_sent_can_time_out);
}

int
main(void)
{
    return nginx_tests("http nginx, bodies", add);
}
