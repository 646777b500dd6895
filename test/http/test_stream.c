/* SPDX-License-Identifier: MIT */
/* Streamed responses: all of it comes, no faster than it is read, and an interrupted reader loses
 * nothing. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIBIBYTE ((size_t) 1024)
#define MEBIBYTE (KIBIBYTE * 1024)
#define AHEAD_MAX (512 * KIBIBYTE) /* what may be received and not yet read */

/* --- all of it --- */

static void
stream_in_pieces(struct fixture *f)
{
    static const size_t pieces[] = {1, 7, 1000, 16384, 65536, MEBIBYTE, 4 * MEBIBYTE};
    static const size_t sizes[] = {0, 1, 999, 100000, 3000000};
    char url[64];

    for (size_t i = 0; i < COUNT(pieces) * COUNT(sizes) * 2; i++) {
        size_t piece = pieces[i / 2 % COUNT(pieces)];
        size_t size = sizes[i / 2 / COUNT(pieces)];
        uco_http_response *response;

        if (piece < 1000 && size > 100000)
            continue;
        snprintf(url, sizeof url, i % 2 == 0 ? "/bytes/%zu" : "/chunked/%zu", size);
        response = open_stream(f, url);
        ck_assert_int_eq(response->status, 200);
        ck_assert_uint_eq(drain(response, piece), size);
        ck_assert_uint_eq(response->received, size);
        ck_assert_ptr_null(response->text);
        uco_http_response_free(response);
    }
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(a_body_can_be_read_in_pieces_of_any_size)
{
    serve(stream_in_pieces);
}
END_TEST

static void
stream_head(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/stallbody");
    char bytes[100];

    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(uco_http_header(response, "content-length"), "100");
    ck_assert_ptr_nonnull(strstr(response->url, "/stallbody"));
    ck_assert_int_eq(response->version, 11);
    ck_assert_int_eq(response->attempts, 1);
    ck_assert(response->timings.total == 0);
    ck_assert_int_eq(uco_http_read(response, bytes, sizeof bytes), 10);
    ck_assert_mem_eq(bytes, "0123456789", 10);
    uco_http_response_free(response);
    response = open_stream(f, "/bytes/10");
    ck_assert_uint_eq(drain(response, 100), 10);
    ck_assert(response->timings.total > 0);
    uco_http_response_free(response);
}

START_TEST(the_head_is_there_before_the_body)
{
    serve(stream_head);
}
END_TEST

static void
stream_chunks(struct fixture *f)
{
    static const char *const urls[] = {"/bytes/3000000", "/chunked/3000000"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response = open_stream(f, urls[i]);
        const void *data;
        size_t size = 0;
        ssize_t r;

        while ((r = uco_http_read_chunk(response, &data)) > 0) {
            ck_assert(bytes_are_right(data, (size_t) r, size));
            ck_assert_uint_le((size_t) r, AHEAD_MAX);
            size += (size_t) r;
        }
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(size, 3000000);
        ck_assert_int_eq(uco_http_read_chunk(response, &data), 0);
        uco_http_response_free(response);
    }
}

START_TEST(a_body_can_be_read_without_copying)
{
    serve(stream_chunks);
}
END_TEST

static void
stream_both(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/chunked/1000000");
    size_t size = 0;
    ssize_t r = 1;

    for (int i = 0; r > 0; i++) {
        const void *data;
        char bytes[777];

        r = i % 2 == 0 ? uco_http_read(response, bytes, sizeof bytes)
                       : uco_http_read_chunk(response, &data);
        if (r > 0)
            ck_assert(bytes_are_right(i % 2 == 0 ? bytes : data, (size_t) r, size));
        size += r > 0 ? (size_t) r : 0;
    }
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(size, 1000000);
    uco_http_response_free(response);
}

START_TEST(reads_of_both_kinds_may_take_turns)
{
    serve(stream_both);
}
END_TEST

static void
stream_nothing(struct fixture *f)
{
    static const uco_http_request_options requests[] = {
        {.url = "/bytes/0"},
        {.url = "/chunked/0"},
        {.url = "/status/204"},
        {.url = "/status/304"},
        {.url = "/bytes/1000", .method = "HEAD"},
    };

    for (size_t i = 0; i < COUNT(requests); i++) {
        uco_http_response *response;
        const void *data;

        ck_assert_int_eq(uco_http_stream(f->client, &requests[i], &response), 0);
        ck_assert_uint_eq(drain(response, 100), 0);
        ck_assert_int_eq(uco_http_read_chunk(response, &data), 0);
        uco_http_response_free(response);
    }
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(an_empty_body_is_at_its_end)
{
    serve(stream_nothing);
}
END_TEST

static void
stream_for_nothing(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/bytes/10");
    char byte;

    ck_assert_int_eq(uco_http_read(response, &byte, 0), 0);
    ck_assert_uint_eq(drain(response, 3), 10);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_http_read(response, &byte, 1), 0);
    uco_http_response_free(response);
}

START_TEST(a_read_of_nothing_takes_nothing_and_the_end_stays)
{
    serve(stream_for_nothing);
}
END_TEST

static void
stream_gzip(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gzip");
    char text[16] = "";

    for (size_t i = 0; i < 12; i++)
        ck_assert_int_eq(uco_http_read(response, text + i, 1), 1);
    ck_assert_str_eq(text, "hello, gzip\n");
    ck_assert_int_eq(uco_http_read(response, text, 1), 0);
    ck_assert_uint_eq(response->received, 32);
    uco_http_response_free(response);
}

START_TEST(a_streamed_body_is_unpacked_too)
{
    serve(stream_gzip);
}
END_TEST

static void
stream_redirected(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/redirect/3");
    char text[16] = "";

    ck_assert_int_eq(response->status, 200);
    ck_assert_uint_eq(response->history_size, 3);
    ck_assert_int_eq(uco_http_read(response, text, sizeof text - 1), 5);
    ck_assert_str_eq(text, "there");
    uco_http_response_free(response);
}

START_TEST(of_a_redirected_stream_only_the_last_body_is_read)
{
    serve(stream_redirected);
}
END_TEST

static void
read_memory(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/bytes/5000");
    const void *data;
    char bytes[16];

    ck_assert_int_eq(uco_http_read(response, bytes, sizeof bytes), 16);
    ck_assert(bytes_are_right(bytes, 16, 0));
    ck_assert_int_eq(uco_http_read_chunk(response, &data), 4984);
    ck_assert(bytes_are_right(data, 4984, 16));
    ck_assert_int_eq(uco_http_read(response, bytes, sizeof bytes), 0);
    ck_assert_uint_eq(response->size, 5000);
    ck_assert(bytes_are_right(response->text, 5000, 0));
    uco_http_response_free(response);
}

START_TEST(what_is_in_memory_can_be_read_too)
{
    serve(read_memory);
}
END_TEST

/* --- back-pressure --- */

static void
note_received(uint64_t received, uint64_t total, uint64_t sent, void *arg)
{
    (void) total;
    (void) sent;
    *(uint64_t *) arg = received;
}

static void
stream_endlessly(struct fixture *f)
{
    uint64_t received = 0, before;
    const uco_http_request_options request = {
        .url = "/endless", .progress = note_received, .progress_arg = &received};
    uco_http_response *response;

    ck_assert_int_eq(uco_http_stream(f->client, &request, &response), 0);
    until_stalled(f);
    ck_assert_uint_le(received, AHEAD_MAX);
    before = f->server.sent;
    ck_assert_uint_lt(before, 32 * MEBIBYTE); /* what the kernel keeps */
    for (int i = 0; i < 5; i++) {
        read_endless(response, 5 * MEBIBYTE);
        ck_assert_uint_le(received, response->size + AHEAD_MAX);
    }
    ck_assert_uint_eq(response->size, 25 * MEBIBYTE);
    until_stalled(f);
    ck_assert_uint_gt(f->server.sent, before);
    ck_assert_uint_le(received, response->size + AHEAD_MAX);
    ck_assert_uint_lt(f->server.sent, response->size + 32 * MEBIBYTE);
    uco_http_response_free(response);
    until_open(f, 0);
}

START_TEST(what_nobody_reads_cannot_be_sent)
{
    serve(stream_endlessly);
}
END_TEST

static void
stream_beside(struct fixture *f)
{
    uco_http_response *stalled[5];

    for (size_t i = 0; i < COUNT(stalled); i++)
        stalled[i] = open_stream(f, "/endless");
    until_stalled(f);
    for (int i = 0; i < 20; i++)
        expect_bytes(f, "/bytes/100000", 100000);
    for (size_t i = 0; i < COUNT(stalled); i++) {
        read_endless(stalled[i], 100000);
        uco_http_response_free(stalled[i]);
    }
    until_open(f, 1);
}

START_TEST(who_does_not_read_keeps_nobody_from_reading)
{
    serve(stream_beside);
}
END_TEST

static intptr_t
stream_as_task(void *arg)
{
    const struct visit *v = arg;
    const uco_http_request_options request = {.url = v->url};
    uco_http_response *response;
    char bytes[3000];
    size_t size = 0;
    ssize_t r = uco_http_stream(v->f->client, &request, &response);

    if (r < 0) {
        ck_assert_ptr_null(response);
        return r;
    }
    while ((r = uco_http_read(response, bytes, sizeof bytes)) > 0) {
        ck_assert(bytes_are_right(bytes, (size_t) r, size));
        size += (size_t) r;
    }
    uco_http_response_free(response);
    return r < 0 ? r : (ssize_t) size;
}

static void
stream_many(struct fixture *f)
{
    enum { MANY = 40 };
    struct visit v = {f, "/chunked/200000"};
    uco_task *tasks[MANY];
    intptr_t results[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(stream_as_task, &v);
    ck_assert_int_eq(uco_gather(tasks, MANY, results), 0);
    uco_unref_all(tasks, MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(results[i], 200000);
    ck_assert_uint_le(f->server.accepted, 10);
}

START_TEST(many_streams_are_read_at_once)
{
    serve(stream_many);
}
END_TEST

/* --- the connection is the response's --- */

static void
stream_alone(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gatebody");

    expect_error(f, "/late/0", -ETIMEDOUT); /* of the pool */
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    while (uco_http_read(response, &(char){0}, 1) > 0)
        continue;
    expect_text(f, "/late/0", "late"); /* before it is freed */
    uco_http_response_free(response);
    ck_assert_uint_eq(f->server.accepted, 1);
    response = open_stream(f, "/stallbody");
    uco_http_response_free(response);
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
    ck_assert_uint_eq(f->server.accepted, 2);
}

START_TEST(a_stream_has_a_connection_until_its_end_is_read_or_it_is_freed)
{
    serve_virtually_with(&(uco_http_client_options){.max_connections = 1, .pool_timeout = 1},
                         stream_alone);
}
END_TEST

static void
stream_and_free(struct fixture *f)
{
    static const char *const urls[] = {"/endless", "/stallbody", "/drip/100000", "/bytes/3000000",
                                       "/chunked/3000000"};
    char bytes[1000];

    for (size_t i = 0; i < 4 * COUNT(urls); i++) {
        uco_http_response *response = open_stream(f, urls[i / 4]);

        if (i % 4 > 0)
            ck_assert_int_gt(uco_http_read(response, bytes, i % 4 == 1 ? 1 : sizeof bytes), 0);
        if (i % 4 == 3)
            ck_assert_int_eq(uco_test_settle(), 0);
        uco_http_response_free(response);
        expect_text(f, "/late/0", "late");
        until_open(f, 1);
    }
}

START_TEST(a_stream_that_is_freed_in_the_middle_leaves_nothing)
{
    serve(stream_and_free);
}
END_TEST

/* --- readers that are interrupted --- */

static intptr_t
read_ten(void *arg)
{
    char bytes[100];

    return uco_http_read(arg, bytes, 10);
}

static void
stream_interrupted(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gatebody");
    char bytes[100];

    ck_assert_int_eq(uco_http_read(response, bytes, 100), 10);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uco_with_timeout(1, read_ten, response), -ETIMEDOUT);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_with_timeout(0, read_ten, response), -ETIMEDOUT);
    ck_assert_int_eq(uco_http_read(response, bytes, 100), 10);
    ck_assert_mem_eq(bytes, "abcdefghij", 10);
    ck_assert_int_eq(uco_http_read(response, bytes, 100), 0);
    uco_http_response_free(response);
    expect_text(f, "/late/0", "late");
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(a_cancelled_read_loses_nothing)
{
    serve_virtually(stream_interrupted);
}
END_TEST

struct reading {
    uco_http_response *response;
    char bytes[64];
    ssize_t result;
};

static intptr_t
read_as_task(void *arg)
{
    struct reading *reading = arg;

    reading->result = uco_http_read(reading->response, reading->bytes, sizeof reading->bytes);
    return 0;
}

/* Its read is cancelled when its bytes are there already, or have just not come. */
static void
stream_cancelled_late(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/drip/400");
    size_t size = 0;

    for (unsigned i = 0; size < 400; i++) {
        struct reading reading = {.response = response};
        uco_task *task = uco_create_task(read_as_task, &reading);

        for (unsigned turns = 0; turns < i % 13; turns++)
            ck_assert_int_eq(uco_yield(), 0);
        if (i % 3 == 0)
            ck_assert_int_eq(uco_sleep(0.004), 0);
        uco_cancel(task);
        uco_join(task);
        if (reading.result == -ECANCELED || reading.result == 0)
            continue; /* 0: it never began */
        ck_assert_int_gt(reading.result, 0);
        ck_assert(bytes_are_right(reading.bytes, (size_t) reading.result, size));
        size += (size_t) reading.result;
    }
    ck_assert_int_eq(uco_http_read(response, &(char){0}, 1), 0);
    uco_http_response_free(response);
}

START_TEST(a_read_that_is_cancelled_at_any_moment_loses_nothing)
{
    serve_virtually_with(&(uco_http_client_options){.timeout = 3600}, stream_cancelled_late);
}
END_TEST

static void
stream_to_two(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gatebody");
    struct reading reading = {.response = response};
    const void *data;
    uco_task *task;
    char byte;

    ck_assert_int_eq(uco_http_read(response, reading.bytes, 64), 10);
    task = uco_create_task(read_as_task, &reading);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_http_read(response, &byte, 1), -EBUSY);
    ck_assert_int_eq(uco_http_read_chunk(response, &data), -EBUSY);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(reading.result, 10);
    ck_assert_int_eq(uco_http_read(response, &byte, 1), 0);
    uco_http_response_free(response);
}

START_TEST(a_second_reader_is_refused)
{
    serve(stream_to_two);
}
END_TEST

/* At each turn of its life, a stream's reader is cancelled once. */
static void
cancel_at_each_turn(struct fixture *f)
{
    for (int turns = 0; turns < scaled(100); turns++) {
        struct visit v = {f, turns % 2 == 0 ? "/chunked/1000000" : "/bytes/300000"};
        uco_task *task = uco_create_task(stream_as_task, &v);
        intptr_t r;

        for (int i = 0; i < turns; i++)
            ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(task);
        r = uco_join(task);
        ck_assert_msg(r == -ECANCELED || r > 0, "after %d turns: %d", turns, (int) r);
    }
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
}

START_TEST(a_stream_can_be_cancelled_at_any_turn)
{
    serve(cancel_at_each_turn);
}
END_TEST

/* --- misuse --- */

static void
read_in_callback(void *arg)
{
    const void *data;
    char byte;

    ck_assert_int_eq(uco_http_read(arg, &byte, 1), -EPERM);
    ck_assert_int_eq(uco_http_read_chunk(arg, &data), -EPERM);
}

static intptr_t
read_elsewhere(void *arg)
{
    read_in_callback(arg);
    return 0;
}

static void
read_wrongly(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/gatebody");
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_task *task =
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), read_elsewhere, response);
    const void *data;
    char byte;

    ck_assert_int_eq(uco_join(task), 0);
    uco_loop_thread_stop(thread);
    ck_assert_int_eq(uco_loop_call_soon(uco_get_running_loop(), read_in_callback, response), 0);
    ck_assert_int_eq(uco_sleep(0), 0);
    ck_assert_int_eq(uco_http_read(NULL, &byte, 1), -EINVAL);
    ck_assert_int_eq(uco_http_read(response, NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_http_read_chunk(NULL, &data), -EINVAL);
    ck_assert_int_eq(uco_http_read_chunk(response, NULL), -EINVAL);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    ck_assert_int_eq(uco_http_read(response, &byte, 1), 1);
    ck_assert_int_eq(byte, '0');
    uco_http_response_free(response);
}

START_TEST(reading_needs_a_coroutine_of_the_clients_loop)
{
    serve(read_wrongly);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http streams");
    TCase *whole = case_new(suite, "whole");
    TCase *pressure = case_new(suite, "back-pressure");
    TCase *readers = case_new(suite, "readers");

    tcase_add_test(whole, a_body_can_be_read_in_pieces_of_any_size);
    tcase_add_test(whole, the_head_is_there_before_the_body);
    tcase_add_test(whole, a_body_can_be_read_without_copying);
    tcase_add_test(whole, reads_of_both_kinds_may_take_turns);
    tcase_add_test(whole, an_empty_body_is_at_its_end);
    tcase_add_test(whole, a_read_of_nothing_takes_nothing_and_the_end_stays);
    tcase_add_test(whole, a_streamed_body_is_unpacked_too);
    tcase_add_test(whole, of_a_redirected_stream_only_the_last_body_is_read);
    tcase_add_test(whole, what_is_in_memory_can_be_read_too);
    tcase_add_test(pressure, what_nobody_reads_cannot_be_sent);
    tcase_add_test(pressure, who_does_not_read_keeps_nobody_from_reading);
    tcase_add_test(pressure, many_streams_are_read_at_once);
    tcase_add_test(pressure, a_stream_has_a_connection_until_its_end_is_read_or_it_is_freed);
    tcase_add_test(pressure, a_stream_that_is_freed_in_the_middle_leaves_nothing);
    tcase_add_test(readers, a_cancelled_read_loses_nothing);
    tcase_add_test(readers, a_read_that_is_cancelled_at_any_moment_loses_nothing);
    tcase_add_test(readers, a_second_reader_is_refused);
    tcase_add_test(readers, a_stream_can_be_cancelled_at_any_turn);
    tcase_add_test(readers, reading_needs_a_coroutine_of_the_clients_loop);
    return suite_end(suite);
}
