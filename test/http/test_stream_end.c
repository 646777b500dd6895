/* SPDX-License-Identifier: MIT */
/* How streamed responses end: by errors, by time, with a task or a client, in a callback. Whoever
 * stops reading leaves nothing behind. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#define KIBIBYTE ((size_t) 1024)
#define MEBIBYTE (KIBIBYTE * 1024)
#define AHEAD_MAX (512 * KIBIBYTE) /* what may be received and not yet read */

/* --- errors --- */

static void
expect_then(struct fixture *f, const char *url, size_t size, int error)
{
    uco_http_response *response = open_stream(f, url);
    const void *data;
    char bytes[100];
    size_t got = 0;
    ssize_t r;

    while ((r = uco_http_read(response, bytes, 3)) > 0)
        got += (size_t) r;
    ck_assert_msg(r == error, "%s: %zd (%s)", url, r, uco_http_error(f->client));
    ck_assert_uint_eq(got, size);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), url));
    ck_assert_int_eq(uco_http_read(response, bytes, 3), error);
    ck_assert_int_eq(uco_http_read_chunk(response, &data), error);
    ck_assert_int_eq(response->status, 200);
    uco_http_response_free(response);
    expect_text(f, "/late/0", "late");
}

static void
stream_what_breaks(struct fixture *f)
{
    expect_then(f, "/short", 10, -EPROTO);
    f->server.raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nmany\r\n";
    expect_then(f, "/raw", 5, -EPROTO);
    f->server.raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    expect_then(f, "/raw", 5, -EPROTO);
}

START_TEST(what_came_before_an_error_is_delivered_first)
{
    serve(stream_what_breaks);
}
END_TEST

static void
stream_reset(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gatereset");
    char bytes[100];

    ck_assert_int_eq(uco_http_read(response, bytes, 4), 4);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    until_open(f, 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_http_read(response, bytes, 100), 6);
    ck_assert_mem_eq(bytes, "456789", 6);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_http_read(response, bytes, 100), -ECONNRESET);
    uco_http_response_free(response);
    expect_text(f, "/late/0", "late");
}

START_TEST(what_came_before_a_reset_is_delivered_first)
{
    serve(stream_reset);
}
END_TEST

static void
stream_too_much(struct fixture *f)
{
    const uco_http_request_options requests[] = {
        {.url = "/chunked/3000000", .max_body = 2500},
        {.url = "/bytes/3000000", .max_body = 2500},
        {.url = "/endless", .max_body = MEBIBYTE},
    };

    for (size_t i = 0; i < COUNT(requests); i++) {
        uco_http_response *response;
        char bytes[1000];
        size_t size = 0;
        ssize_t r = uco_http_stream(f->client, &requests[i], &response);

        while (r >= 0 && (r = uco_http_read(response, bytes, sizeof bytes)) > 0)
            size += (size_t) r;
        ck_assert_int_eq(r, -EMSGSIZE);
        ck_assert_uint_le(size, requests[i].max_body);
        uco_http_response_free(response);
        expect_text(f, "/late/0", "late");
        until_open(f, 1);
    }
    expect_answer(f, &(uco_http_request_options){.url = "/chunked/2500", .max_body = 2500}, 200,
                  NULL);
}

START_TEST(a_streamed_body_has_a_limit_too)
{
    serve(stream_too_much);
}
END_TEST

static void
stream_to_no_head(struct fixture *f)
{
    static const char *const urls[] = {"/nothing", "/cut", "/garbage"};
    uco_http_response *response = (uco_http_response *) (void *) f;

    for (size_t i = 0; i < COUNT(urls); i++) {
        ck_assert_int_eq(
            uco_http_stream(f->client, &(uco_http_request_options){.url = urls[i]}, &response),
            -EPROTO);
        ck_assert_ptr_null(response);
        expect_text(f, "/late/0", "late");
    }
    ck_assert_int_eq(uco_http_stream(f->client,
                                     &(uco_http_request_options){.url = "/stallhead", .timeout = 2},
                                     &response),
                     -ETIMEDOUT);
    ck_assert_ptr_null(response);
}

START_TEST(without_a_head_there_is_no_stream)
{
    serve_virtually(stream_to_no_head);
}
END_TEST

/* --- time --- */

static void
stream_slowly(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/drip/10000");
    double began = uco_time();
    char bytes[100];
    size_t size = 0;
    ssize_t r;

    while ((r = uco_http_read(response, bytes, sizeof bytes)) > 0)
        size += (size_t) r;
    ck_assert_int_eq(r, -ETIMEDOUT);
    ck_assert(uco_time() - began >= 2.9 && uco_time() - began < 4);
    ck_assert_uint_gt(size, 10);
    ck_assert_uint_lt(size, 1000);
    uco_http_response_free(response);
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
}

START_TEST(the_timeout_counts_head_and_body)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 3}, stream_slowly);
}
END_TEST

static void
stream_unread(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/endless");
    char bytes[4096];
    size_t size = 0;
    ssize_t r;

    ck_assert_int_eq(uco_sleep(5), 0);
    ck_assert_uint_eq(f->server.open, 0); /* the connection has gone */
    while ((r = uco_http_read(response, bytes, sizeof bytes)) > 0)
        size += (size_t) r;
    ck_assert_int_eq(r, -ETIMEDOUT);
    ck_assert_uint_gt(size, 0);
    ck_assert_uint_le(size, AHEAD_MAX);
    expect_text(f, "/late/0", "late");
    uco_http_response_free(response);
}

START_TEST(a_stream_that_is_never_read_ends_by_the_timeout)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 3, .max_connections = 1},
                         stream_unread);
}
END_TEST

static void
stream_with_pauses(struct fixture *f)
{
    static const char *const urls[] = {"/gatebody", "/endless"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response = open_stream(f, urls[i]);
        char bytes[10];

        ck_assert_int_eq(uco_sleep(50), 0); /* nobody reads: the server is not to blame */
        ck_assert_int_eq(uco_http_read(response, bytes, 10), 10);
        ck_assert_int_eq(uco_sleep(50), 0);
        if (i == 0)
            ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
        ck_assert_int_eq(uco_http_read(response, bytes, 10), 10);
        uco_http_response_free(response);
    }
}

START_TEST(the_read_timeout_does_not_count_while_nobody_reads)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 1000, .read_timeout = 3},
                         stream_with_pauses);
}
END_TEST

static void
stream_silence(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gatebody");
    double began;
    char bytes[100];

    ck_assert_int_eq(uco_http_read(response, bytes, 100), 10);
    ck_assert_int_eq(uco_sleep(20), 0);
    began = uco_time();
    ck_assert_int_eq(uco_http_read(response, bytes, 100), -ETIMEDOUT);
    ck_assert(uco_time() - began >= 2.9 && uco_time() - began < 4);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "read_timeout"));
    uco_http_response_free(response);
}

START_TEST(the_read_timeout_counts_while_somebody_reads)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 1000, .read_timeout = 3},
                         stream_silence);
}
END_TEST

static void
stream_too_slowly(struct fixture *f)
{
    uco_http_response *response;

    expect_error(f, "/drip/100000", -ETIMEDOUT);
    response = open_stream(f, "/endless");
    read_endless(response, 100000);
    until_stalled(f);
    ck_assert_int_eq(uco_sleep(2.5), 0); /* it is the reader who is slow */
    read_endless(response, MEBIBYTE);
    uco_http_response_free(response);
}

/* curl measures the speed, with its own clock. */
START_TEST(a_server_that_is_too_slow_is_given_up)
{
    serve_with(&(uco_http_client_options){.min_speed = 2000, .read_timeout = 1}, stream_too_slowly);
}
END_TEST

/* --- ends of tasks, clients and loops --- */

static void
stream_over_close(struct fixture *f)
{
    static const char *const urls[] = {"/endless", "/stallbody", "/bytes/10", "/bytes/3000000"};
    uco_http_response *responses[COUNT(urls)];
    const void *data;
    char bytes[5];

    for (size_t i = 0; i < COUNT(urls); i++) {
        responses[i] = open_stream(f, urls[i]);
        ck_assert_int_eq(uco_http_read(responses[i], bytes, 5), 5);
    }
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    until_open(f, 0);
    for (size_t i = 0; i < COUNT(urls); i++) {
        ssize_t r = 1;

        while (r > 0)
            r = uco_http_read_chunk(responses[i], &data);
        ck_assert_msg(r == -ECANCELED || (i == 2 && r == 0), "%s: %zd", urls[i], r);
        ck_assert_int_eq(responses[i]->status, 200);
        uco_http_response_free(responses[i]);
    }
}

START_TEST(closing_the_client_ends_its_streams)
{
    serve(stream_over_close);
}
END_TEST

static intptr_t
read_until_error(void *arg)
{
    const void *data;
    ssize_t r;

    while ((r = uco_http_read_chunk(arg, &data)) > 0)
        continue;
    ck_assert(!uco_cancelled());
    return r;
}

static void
close_while_read(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/stallbody");
    uco_task *task = uco_create_task(read_until_error, response);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    uco_http_response_free(response);
}

START_TEST(closing_the_client_wakes_who_reads)
{
    serve(close_while_read);
}
END_TEST

struct opening {
    struct fixture *f;
    const char *url;
    uco_http_response *response;
};

static intptr_t
open_and_die(void *arg)
{
    struct opening *opening = arg;

    opening->response = open_stream(opening->f, opening->url);
    return 0;
}

static void
stream_of_the_dead(struct fixture *f)
{
    struct opening openings[] = {
        {f, "/chunked/500000", NULL}, {f, "/endless", NULL}, {f, "/stallbody", NULL}};

    for (size_t i = 0; i < COUNT(openings); i++)
        ck_assert_int_eq(uco_join(uco_create_task(open_and_die, &openings[i])), 0);
    ck_assert_uint_eq(drain(openings[0].response, 1000), 500000);
    for (size_t i = 0; i < COUNT(openings); i++)
        uco_http_response_free(openings[i].response);
    until_open(f, 1);
}

START_TEST(a_stream_outlives_the_task_that_opened_it)
{
    serve(stream_of_the_dead);
}
END_TEST

static intptr_t
read_until_cancelled(void *arg)
{
    struct opening *opening = arg;
    const void *data;
    ssize_t r;

    opening->response = open_stream(opening->f, opening->url);
    while ((r = uco_http_read_chunk(opening->response, &data)) > 0)
        continue;
    ck_assert(uco_cancelled());
    uco_http_response_free(opening->response);
    return r;
}

static void
stream_and_die(struct fixture *f)
{
    static const char *const urls[] = {"/stallbody", "/drip/100000"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        struct opening opening = {f, urls[i], NULL};
        uco_task *task = uco_create_task(read_until_cancelled, &opening);

        until_busy(f, 1);
        ck_assert_int_eq(uco_sleep(0.01), 0);
        ck_assert_int_eq(uco_cancel(task), 0);
        ck_assert_int_eq(uco_join(task), -ECANCELED);
        expect_text(f, "/late/0", "late");
        until_open(f, 1);
    }
}

START_TEST(a_task_that_is_cancelled_frees_its_stream)
{
    serve(stream_and_die);
}
END_TEST

static uco_http_response *left_open;
static int left_open_line;

static intptr_t
leave_stream_open(void *arg)
{
    struct fixture *f = arg;
    char base_url[64];

    server_start(&f->server);
    snprintf(base_url, sizeof base_url, "http://127.0.0.1:%u", (unsigned) f->server.port);
    f->client = uco_http_client_new(&(uco_http_client_options){.base_url = base_url, .proxy = ""});
    left_open_line = __LINE__ + 1;
    return uco_http_stream(f->client, &(uco_http_request_options){.url = "/endless"}, &left_open);
}

START_TEST(a_stream_that_is_open_at_the_loops_end_is_reported)
{
    struct fixture f = {0};
    uco_loop_options options = reporting(&f.reports);
    char place[64];

    options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&options, leave_stream_open, &f), 0);
    uco_unref(f.server.task);
    ck_assert_uint_eq(f.reports.count, 2); /* and the client */
    snprintf(place, sizeof place, "test_stream_end.c:%d;", left_open_line);
    ck_assert_msg(strstr(f.reports.all, place) != NULL, "'%s' does not name %s", f.reports.all,
                  place);
    uco_http_response_free(left_open);
}
END_TEST

/* --- in callbacks --- */

struct interruption {
    uco_http_response *response; /* to be freed, when `after` bytes have come */
    uco_task *task;              /* to be cancelled, likewise */
    uco_http_client *client;     /* to be closed, likewise */
    uint64_t after;
    uint64_t received;
    bool done;
};

static void
interrupt(uint64_t received, uint64_t total, uint64_t sent, void *arg)
{
    struct interruption *i = arg;

    (void) total;
    (void) sent;
    ck_assert_ptr_null(uco_current_task());
    ck_assert_int_eq(uco_sleep(0), -EPERM);
    ck_assert_uint_ge(received, i->received);
    i->received = received;
    if (received < i->after || i->done)
        return;
    i->done = true;
    if (i->task != NULL)
        ck_assert_int_eq(uco_cancel(i->task), 0);
    if (i->client != NULL)
        ck_assert_int_eq(uco_http_client_close(i->client), 0);
    uco_http_response_free(i->response);
}

struct interrupted {
    struct fixture *f;
    struct interruption interruption;
    bool streamed;
};

static intptr_t
get_interrupted(void *arg)
{
    struct interrupted *i = arg;
    const uco_http_request_options request = {
        .url = "/endless", .progress = interrupt, .progress_arg = &i->interruption};
    uco_http_response *response;
    intptr_t r;

    if (!i->streamed) {
        r = uco_http_request(i->f->client, &request, &response);
        ck_assert_ptr_null(response);
        return r;
    }
    r = uco_http_stream(i->f->client, &request, &response);
    if (r < 0)
        return r;
    do {
        const void *data;

        r = uco_http_read_chunk(response, &data);
    } while (r > 0);
    uco_http_response_free(response);
    return r;
}

static void
cancel_in_progress(struct fixture *f)
{
    for (int n = 0; n < 6; n++) {
        struct interrupted i = {.f = f, .streamed = n % 2 == 0};

        i.interruption.after = (uint64_t) n * 100000;
        i.interruption.task = uco_create_task(get_interrupted, &i);
        ck_assert_int_eq(uco_join(i.interruption.task), -ECANCELED);
        ck_assert(i.interruption.done);
        expect_text(f, "/late/0", "late");
        until_open(f, 1);
    }
}

START_TEST(progress_may_cancel_the_request)
{
    serve(cancel_in_progress);
}
END_TEST

static void
close_in_progress(struct fixture *f)
{
    uco_http_client_options options = f->options;

    for (int n = 0; n < 6; n++) {
        struct interrupted i = {.f = f, .streamed = n % 2 == 0};

        i.interruption.after = (uint64_t) n * 100000;
        i.interruption.client = f->client;
        ck_assert_int_eq(uco_join(uco_create_task(get_interrupted, &i)), -ECANCELED);
        ck_assert(i.interruption.done);
        until_open(f, 0);
        f->client = uco_http_client_new(&options);
    }
}

START_TEST(progress_may_close_the_client)
{
    serve(close_in_progress);
}
END_TEST

static void
free_in_progress(struct fixture *f)
{
    struct interruption i = {.after = UINT64_MAX};
    const uco_http_request_options request = {
        .url = "/drip/100000", .progress = interrupt, .progress_arg = &i};

    ck_assert_int_eq(uco_http_stream(f->client, &request, &i.response), 0);
    i.after = i.received + 1;
    while (!i.done)
        ck_assert_int_eq(uco_sleep(0.001), 0);
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
}

START_TEST(progress_may_free_the_stream)
{
    serve(free_in_progress);
}
END_TEST

/* The last call tells of all that has come, when curl has let go of it already. */
static void
interrupt_the_last(uint64_t received, uint64_t total, uint64_t sent, void *arg)
{
    if (received == 20)
        interrupt(received, total, sent, arg);
}

static void
free_at_the_end(struct fixture *f)
{
    struct interruption i = {.done = false};
    const uco_http_request_options request = {
        .url = "/gatebody", .progress = interrupt_the_last, .progress_arg = &i};

    ck_assert_int_eq(uco_http_stream(f->client, &request, &i.response), 0);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    while (!i.done)
        ck_assert_int_eq(uco_sleep(0.001), 0);
    expect_text(f, "/late/0", "late");
}

START_TEST(progress_may_free_the_stream_at_its_end)
{
    serve(free_at_the_end);
}
END_TEST

static intptr_t
get_twenty(void *arg)
{
    struct interrupted *i = arg;
    const uco_http_request_options request = {.url = i->streamed ? "/bytes/20" : "/chunked/20",
                                              .progress = interrupt_the_last,
                                              .progress_arg = &i->interruption};
    uco_http_response *response;
    intptr_t r = uco_http_request(i->f->client, &request, &response);

    uco_http_response_free(response);
    return r;
}

static void
end_at_the_end(struct fixture *f)
{
    uco_http_client_options options = f->options;

    for (int n = 0; n < 4; n++) {
        struct interrupted i = {.f = f, .streamed = n % 2 == 0};
        uco_task *task = uco_create_task(get_twenty, &i);
        intptr_t r;

        i.interruption.task = n < 2 ? task : NULL;
        i.interruption.client = n < 2 ? NULL : f->client;
        r = uco_join(task);
        ck_assert(r == 0 || r == -ECANCELED);
        ck_assert(i.interruption.done);
        if (n >= 2)
            f->client = uco_http_client_new(&options);
        expect_text(f, "/late/0", "late");
    }
}

START_TEST(progress_may_cancel_and_close_at_the_end)
{
    serve(end_at_the_end);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http stream ends");
    TCase *errors = case_new(suite, "errors");
    TCase *time = case_new(suite, "time");
    TCase *ends = case_new(suite, "ends");
    TCase *called = case_new(suite, "callbacks");

    tcase_add_test(errors, what_came_before_an_error_is_delivered_first);
    tcase_add_test(errors, what_came_before_a_reset_is_delivered_first);
    tcase_add_test(errors, a_streamed_body_has_a_limit_too);
    tcase_add_test(errors, without_a_head_there_is_no_stream);
    tcase_add_test(time, the_timeout_counts_head_and_body);
    tcase_add_test(time, a_stream_that_is_never_read_ends_by_the_timeout);
    tcase_add_test(time, the_read_timeout_does_not_count_while_nobody_reads);
    tcase_add_test(time, the_read_timeout_counts_while_somebody_reads);
    tcase_add_test(time, a_server_that_is_too_slow_is_given_up);
    tcase_add_test(ends, closing_the_client_ends_its_streams);
    tcase_add_test(ends, closing_the_client_wakes_who_reads);
    tcase_add_test(ends, a_stream_outlives_the_task_that_opened_it);
    tcase_add_test(ends, a_task_that_is_cancelled_frees_its_stream);
    tcase_add_test(ends, a_stream_that_is_open_at_the_loops_end_is_reported);
    tcase_add_test(called, progress_may_cancel_the_request);
    tcase_add_test(called, progress_may_close_the_client);
    tcase_add_test(called, progress_may_free_the_stream);
    tcase_add_test(called, progress_may_free_the_stream_at_its_end);
    tcase_add_test(called, progress_may_cancel_and_close_at_the_end);
    return suite_end(suite);
}
