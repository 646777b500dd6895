/* SPDX-License-Identifier: MIT */
/* Request bodies on their way: all of it arrives, no faster than the server reads, and what goes
 * wrong on either side is told. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEBIBYTE ((size_t) 1 << 20)

/* A source of server_byte()s. */
struct source {
    size_t size;
    size_t given;
    size_t piece;     /* at most so many at once; 0: any */
    size_t fail_at;   /* and there it fails; 0: it does not */
    double pause;     /* seconds before each piece */
    ssize_t result;   /* what it then gives, or for a size of 0 */
    uco_task *task;   /* that it must be called in; NULL: any */
    unsigned calls;   /* of it */
    bool interrupted; /* it was, by a cancellation */
};

static ssize_t
source_read(void *buf, size_t n, void *arg)
{
    struct source *s = arg;
    char *bytes = buf;

    s->calls++;
    ck_assert_uint_gt(n, 0);
    if (s->task != NULL)
        ck_assert_ptr_eq(uco_current_task(), s->task);
    if (s->pause > 0) {
        int r = uco_sleep(s->pause);

        s->interrupted |= r < 0;
        if (r < 0)
            return r;
    }
    if (s->fail_at > 0 && s->given >= s->fail_at)
        return s->result;
    if (s->piece > 0 && n > s->piece)
        n = s->piece;
    if (n > s->size - s->given)
        n = s->size - s->given;
    for (size_t i = 0; i < n; i++)
        bytes[i] = server_byte(s->given + i);
    s->given += n;
    return (ssize_t) n;
}

/* What the server has received, and given back. */
static void
expect_arrived(const struct fixture *f, uco_http_response *response, size_t size)
{
    ck_assert_int_eq(response->status, 200);
    ck_assert_uint_eq(f->server.body_size, size);
    ck_assert(bytes_are_right(f->server.body, size, 0));
    ck_assert_uint_eq(response->size, size);
    ck_assert(bytes_are_right(response->text, size, 0));
    ck_assert_uint_eq(response->sent, size);
    uco_http_response_free(response);
}

static const size_t sizes[] = {1,     2,     100,          16383,        16384,  16385,
                               65535, 65536, MEBIBYTE - 1, MEBIBYTE + 1, 5000003};

/* --- kinds of bodies --- */

static void
send_bytes(struct fixture *f)
{
    static char bytes[5000003];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = server_byte(i);
    for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
        uco_http_request_options request = {.method = i % 2 == 0 ? "POST" : "PUT",
                                            .url = "/upload",
                                            .body = bytes,
                                            .body_size = sizes[i / 2]};

        expect_arrived(f, ask(f, &request), sizes[i / 2]);
        ck_assert(!f->server.body_chunked);
    }
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(bytes_arrive)
{
    serve(send_bytes);
}
END_TEST

static void
send_source_of_known_size(struct fixture *f)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct source s = {.size = sizes[i], .task = uco_current_task()};
        uco_http_request_options request = {
            .url = "/upload", .body_size = sizes[i], .read_body = source_read, .read_arg = &s};

        expect_arrived(f, ask(f, &request), sizes[i]);
        ck_assert(!f->server.body_chunked);
        ck_assert(strncmp(f->server.last, "POST ", 5) == 0);
    }
}

START_TEST(a_callbacks_bytes_arrive)
{
    serve(send_source_of_known_size);
}
END_TEST

static void
send_source_of_unknown_size(struct fixture *f)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct source s = {.size = sizes[i], .piece = i % 2 == 0 ? 0 : 1000};
        uco_http_request_options request = {
            .method = "PUT", .url = "/upload", .read_body = source_read, .read_arg = &s};

        expect_arrived(f, ask(f, &request), sizes[i]);
        ck_assert(f->server.body_chunked);
    }
}

START_TEST(a_callbacks_bytes_arrive_in_chunks_when_nobody_knows_how_many)
{
    serve(send_source_of_unknown_size);
}
END_TEST

static void
send_nothing(struct fixture *f)
{
    struct source s = {.size = 0};
    uco_http_request_options request = {.url = "/upload", .read_body = source_read, .read_arg = &s};

    expect_arrived(f, ask(f, &request), 0);
    ck_assert_uint_eq(s.calls, 1);
}

START_TEST(a_callback_may_have_nothing)
{
    serve(send_nothing);
}
END_TEST

static void
send_form(struct fixture *f)
{
    static const char *const form[] = {"name", "Jane Doe", "sum", "1+1=2", "\xc3\xa9", "", NULL};

    expect_answer(f, &(uco_http_request_options){.url = "/upload", .form = form}, 200,
                  "name=Jane+Doe&sum=1%2B1%3D2&%C3%A9=");
    ck_assert(was_sent(f, "Content-Type: application/x-www-form-urlencoded"));
    ck_assert(strncmp(f->server.last, "POST ", 5) == 0);
}

START_TEST(a_form_arrives)
{
    serve(send_form);
}
END_TEST

static void
send_with_type(struct fixture *f)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    uco_http_request_options request = {
        .url = "/upload", .body = "{}", .body_size = 2, .headers = headers};

    expect_answer(f, &request, 200, "{}");
    ck_assert(was_sent(f, "Content-Type: application/json"));
    request.headers = NULL;
    expect_answer(f, &request, 200, "{}");
    ck_assert_ptr_null(strstr(f->server.last, "urlencoded"));
}

START_TEST(bytes_are_no_form)
{
    serve(send_with_type);
}
END_TEST

static void
file_make(char *path, size_t size)
{
    int fd = mkstemp(path);
    char *bytes = malloc(size);

    ck_assert_int_ge(fd, 0);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = server_byte(i);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t) size);
    free(bytes);
    close(fd);
}

static void
send_file(struct fixture *f)
{
    char path[] = "/tmp/uco-upload-XXXXXX";
    uco_http_request_options request = {.method = "PUT", .url = "/upload", .body_file = path};

    file_make(path, 3000001);
    expect_arrived(f, ask(f, &request), 3000001);
    ck_assert(!f->server.body_chunked);
    unlink(path);
    expect_failure(f, &request, -ENOENT);
    expect_text(f, "/late/0", "late");
}

START_TEST(a_file_arrives)
{
    serve(send_file);
}
END_TEST

static intptr_t
write_bytes(void *arg)
{
    int fd = *(int *) arg;

    for (size_t i = 0; i < 200000; i += 1000) {
        char bytes[1000];

        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = server_byte(i + k);
        ck_assert_int_eq(uco_write_all(fd, bytes, sizeof bytes, NULL), 1000);
    }
    return uco_close(fd);
}

static void
send_stream(struct fixture *f)
{
    uco_http_request_options request = {.url = "/upload"};
    uco_stream *stream;
    uco_task *task;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    task = uco_create_task(write_bytes, &ends[1]);
    stream = uco_stream_new(ends[0]);
    request.body_stream = stream;
    expect_arrived(f, ask(f, &request), 200000);
    ck_assert(f->server.body_chunked);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(uco_stream_close(stream), 0);
}

START_TEST(a_stream_arrives)
{
    serve(send_stream);
}
END_TEST

static void
send_multipart(struct fixture *f)
{
    uco_http_multipart *m = uco_http_multipart_new();
    uco_http_request_options request = {.url = "/upload", .multipart = m};

    ck_assert_int_eq(uco_http_multipart_text(m, "name", "Jane"), 0);
    ck_assert_int_eq(uco_http_multipart_bytes(m, "file", "a\0b", 3, "f.bin", NULL), 0);
    for (int i = 0; i < 2; i++) {
        expect_answer(f, &request, 200, NULL);
        ck_assert_ptr_nonnull(
            strstr(f->server.last, "\r\nContent-Type: multipart/form-data; boundary="));
        ck_assert_ptr_nonnull(strstr(f->server.body, "name=\"name\"\r\n\r\nJane\r\n--"));
        ck_assert_ptr_nonnull(strstr(f->server.body, "filename=\"f.bin\""));
        ck_assert(!f->server.body_chunked);
    }
    uco_http_multipart_free(m);
}

START_TEST(a_multipart_arrives_each_time_it_is_sent)
{
    serve(send_multipart);
}
END_TEST

/* What one request brings is another's body. */
static ssize_t
response_read(void *buf, size_t n, void *arg)
{
    return uco_http_read(arg, buf, n);
}

static void
send_response(struct fixture *f)
{
    uco_http_response *from = open_stream(f, "/chunked/1000000");
    uco_http_request_options request = {
        .url = "/upload", .read_body = response_read, .read_arg = from};

    expect_arrived(f, ask(f, &request), 1000000);
    uco_http_response_free(from);
    ck_assert_uint_eq(f->server.accepted, 2);
}

START_TEST(a_body_may_be_what_another_request_brings)
{
    serve(send_response);
}
END_TEST

/* --- "Expect: 100-continue" --- */

static void
expect_continue(struct fixture *f)
{
    struct source s = {.size = 2 * MEBIBYTE};
    uco_http_request_options request = {
        .url = "/upload", .body_size = s.size, .read_body = source_read, .read_arg = &s};

    expect_arrived(f, ask(f, &request), s.size);
    ck_assert(f->server.expected);
    s = (struct source){.size = 1000};
    request.body_size = 1000;
    expect_arrived(f, ask(f, &request), s.size);
    ck_assert(!f->server.expected);
    s = (struct source){.size = 2 * MEBIBYTE};
    request.body_size = s.size;
    request.expect_timeout = -1;
    expect_arrived(f, ask(f, &request), s.size);
    ck_assert(!f->server.expected);
}

START_TEST(a_large_body_waits_until_the_server_wants_it)
{
    serve(expect_continue);
}
END_TEST

static void
expect_ignored(struct fixture *f)
{
    struct source s = {.size = 2 * MEBIBYTE};
    uco_http_request_options request = {.url = "/ignore",
                                        .body_size = s.size,
                                        .read_body = source_read,
                                        .read_arg = &s,
                                        .expect_timeout = 0.05};
    double began = uco_time();

    expect_arrived(f, ask(f, &request), s.size);
    ck_assert(f->server.expected);
    ck_assert(uco_time() - began >= 0.05);
}

START_TEST(a_server_that_says_nothing_gets_the_body_after_a_while)
{
    serve(expect_ignored);
}
END_TEST

static void
expect_refused(struct fixture *f)
{
    static char bytes[2 * MEBIBYTE];
    struct source s = {.size = sizeof bytes};
    uco_http_request_options request = {
        .url = "/expect417", .body = bytes, .body_size = sizeof bytes, .expect_timeout = 20};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = server_byte(i);
    expect_arrived(f, ask(f, &request), sizeof bytes);
    ck_assert(!f->server.expected);
    ck_assert_uint_eq(f->server.requests, 2);
    request.body = NULL;
    request.read_body = source_read;
    request.read_arg = &s;
    expect_arrived(f, ask(f, &request), sizeof bytes);
    ck_assert_uint_eq(f->server.requests, 4);
}

START_TEST(a_server_that_knows_no_expectation_is_asked_without)
{
    serve(expect_refused);
}
END_TEST

/* --- servers that do not want it --- */

static void
send_unwanted(struct fixture *f)
{
    for (int i = 0; i < 3; i++) {
        struct source s = {.size = 200 * MEBIBYTE};
        uco_http_request_options request = {.url = "/early/413",
                                            .body_size = i == 2 ? 0 : s.size,
                                            .read_body = source_read,
                                            .read_arg = &s,
                                            .expect_timeout = i == 0 ? 0 : -1};

        f->server.received = 0;
        expect_answer(f, &request, 413, "early");
        ck_assert_uint_lt(f->server.received, s.size / 2);
        ck_assert_uint_lt(s.given, s.size / 2);
        if (i == 0)
            ck_assert_uint_eq(s.given, 0);
        until_open(f, 0);
    }
    expect_text(f, "/late/0", "late");
}

START_TEST(an_answer_that_comes_early_is_the_answer)
{
    serve(send_unwanted);
}
END_TEST

static void
send_to_who_hangs_up(struct fixture *f)
{
    for (int i = 0; i < 10; i++) {
        struct source s = {.size = 20 * MEBIBYTE};
        uco_http_request_options request = {.url = "/hangup",
                                            .body_size = s.size,
                                            .read_body = source_read,
                                            .read_arg = &s,
                                            .expect_timeout = -1};
        uco_http_response *response;
        int r = uco_http_request(f->client, &request, &response);

        ck_assert_msg(r == 0 || r == -ECONNRESET || r == -EPIPE, "%d: %s", r,
                      uco_http_error(f->client));
        if (r == 0)
            ck_assert_int_eq(response->status, 413);
        uco_http_response_free(response);
        expect_text(f, "/late/0", "late");
    }
}

START_TEST(a_server_that_hangs_up_is_an_error_or_its_answer)
{
    serve(send_to_who_hangs_up);
}
END_TEST

static void
send_to_who_says_fine(struct fixture *f)
{
    struct source s = {.size = 3 * MEBIBYTE};
    uco_http_request_options request = {.url = "/early/200",
                                        .body_size = s.size,
                                        .read_body = source_read,
                                        .read_arg = &s,
                                        .expect_timeout = -1};

    expect_answer(f, &request, 200, "early");
    until_open(f, 0);
    expect_text(f, "/late/0", "late");
}

START_TEST(a_server_may_be_content_before_it_has_read_all)
{
    serve(send_to_who_says_fine);
}
END_TEST

/* --- back-pressure --- */

struct sent {
    struct source source;
    uint64_t received, total, sent;
    unsigned calls;
    bool in_task; /* progress was called by a task */
};

static void
note_progress(uint64_t received, uint64_t total, uint64_t sent, void *arg)
{
    struct sent *s = arg;

    ck_assert_uint_ge(received, s->received);
    ck_assert_uint_ge(sent, s->sent);
    s->received = received;
    s->total = total;
    s->sent = sent;
    s->calls++;
    s->in_task |= uco_current_task() != NULL;
}

struct ask {
    struct fixture *f;
    uco_http_request_options request;
    int status;
};

static intptr_t
ask_as_task(void *arg)
{
    struct ask *a = arg;
    uco_http_response *response;
    int r = uco_http_request(a->f->client, &a->request, &response);

    if (r < 0) {
        ck_assert_ptr_null(response);
        return r;
    }
    a->status = (int) response->status;
    uco_http_response_free(response);
    return a->status;
}

static void
receive_little(const struct fixture *f)
{
    ck_assert_int_eq(setsockopt(f->server.fd, SOL_SOCKET, SO_RCVBUF, &(int){65536}, sizeof(int)),
                     0);
}

static void
send_to_who_waits(struct fixture *f)
{
    struct sent s = {.source = {.size = 32 * MEBIBYTE}};
    struct ask a = {f,
                    {.url = "/gateupload",
                     .read_body = source_read,
                     .read_arg = &s.source,
                     .progress = note_progress,
                     .progress_arg = &s,
                     .timeout = 100},
                    0};
    uco_task *task;
    uint64_t before;

    receive_little(f);
    task = uco_create_task(ask_as_task, &a);
    until_busy(f, 1);
    do {
        before = s.sent;
        ck_assert_int_eq(uco_sleep(0.05), 0);
    } while (s.sent == 0 || s.sent != before);
    ck_assert_uint_gt(s.sent, 0);
    ck_assert_uint_lt(s.sent, 16 * MEBIBYTE);
    ck_assert_uint_le(s.source.given, s.sent + MEBIBYTE);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    ck_assert_int_eq(uco_join(task), 200);
    ck_assert_uint_eq(f->server.body_size, s.source.size);
    ck_assert(bytes_are_right(f->server.body, s.source.size, 0));
    ck_assert_uint_eq(s.sent, s.source.size);
    ck_assert_uint_eq(s.received, s.source.size);
    ck_assert_uint_eq(s.total, s.source.size);
    ck_assert(!s.in_task);
}

START_TEST(who_does_not_read_is_not_sent_to)
{
    serve(send_to_who_waits);
}
END_TEST

static void
send_slowly(struct fixture *f)
{
    struct sent s = {.source = {.size = 2000000}};
    uco_http_request_options request = {.url = "/slow/10000",
                                        .body_size = s.source.size,
                                        .read_body = source_read,
                                        .read_arg = &s.source,
                                        .progress = note_progress,
                                        .progress_arg = &s,
                                        .expect_timeout = -1};

    receive_little(f);
    expect_arrived(f, ask(f, &request), s.source.size);
    ck_assert_uint_gt(s.calls, 5);
    ck_assert_uint_eq(s.sent, s.source.size);
    ck_assert_uint_eq(s.received, s.source.size);
}

START_TEST(progress_is_told_while_a_slow_server_reads)
{
    serve(send_slowly);
}
END_TEST

/* --- sources that go wrong --- */

static void
send_with_pauses(struct fixture *f)
{
    struct source s = {.size = 3000, .piece = 1000, .pause = 5};
    uco_http_request_options request = {
        .url = "/upload", .read_body = source_read, .read_arg = &s, .timeout = 60};
    double began = uco_time();

    expect_arrived(f, ask(f, &request), s.size);
    ck_assert(uco_time() - began >= 20);
    s = (struct source){.size = 3000, .piece = 1000, .pause = 5};
    request.body_size = s.size;
    expect_arrived(f, ask(f, &request), s.size);
}

START_TEST(a_callback_may_suspend)
{
    serve_virtually(send_with_pauses);
}
END_TEST

static void
send_what_fails(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        struct source s = {.size = 300000, .fail_at = i < 2 ? 100000 : 1, .result = -EXDEV};
        uco_http_request_options request = {.url = "/upload",
                                            .body_size = i % 2 == 0 ? s.size : 0,
                                            .read_body = source_read,
                                            .read_arg = &s};

        s.piece = 50000;
        expect_failure(f, &request, -EXDEV);
        ck_assert_uint_eq(s.given, i < 2 ? 100000 : 50000);
        expect_text(f, "/late/0", "late");
        until_open(f, 1);
    }
}

START_TEST(a_callback_that_fails_ends_the_request_with_its_error)
{
    serve(send_what_fails);
}
END_TEST

static void
send_too_little(struct fixture *f)
{
    struct source s = {.size = 1000};
    uco_http_request_options request = {
        .url = "/upload", .body_size = 1001, .read_body = source_read, .read_arg = &s};

    expect_failure(f, &request, -EIO);
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
    s.given = 0;
    s.size = 0;
    expect_failure(f, &request, -EIO);
}

START_TEST(a_callback_that_ends_early_is_an_error)
{
    serve(send_too_little);
}
END_TEST

static void
send_too_much(struct fixture *f)
{
    struct source s = {.size = 5000};
    uco_http_request_options request = {
        .url = "/upload", .body_size = 1000, .read_body = source_read, .read_arg = &s};

    expect_arrived(f, ask(f, &request), 1000);
    expect_text(f, "/late/0", "late");
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(of_a_callback_that_goes_on_only_the_announced_is_sent)
{
    serve(send_too_much);
}
END_TEST

static ssize_t
read_impossibly(void *buf, size_t n, void *arg)
{
    (void) buf;
    (void) arg;
    return (ssize_t) n + 1;
}

static void
send_impossible(struct fixture *f)
{
    uco_http_request_options request = {.url = "/upload", .read_body = read_impossibly};

    expect_failure(f, &request, -EINVAL);
    expect_text(f, "/late/0", "late");
}

START_TEST(a_callback_that_gives_more_than_asked_for_is_misuse)
{
    serve(send_impossible);
}
END_TEST

/* --- an early end --- */

static void
cancel_source(struct fixture *f)
{
    struct source s = {.size = 10000, .piece = 1000, .pause = 3};
    struct ask a = {f, {.url = "/upload", .read_body = source_read, .read_arg = &s}, 0};
    uco_task *task = uco_create_task(ask_as_task, &a);

    ck_assert_int_eq(uco_sleep(5), 0);
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert(s.interrupted);
    ck_assert_uint_eq(s.given, 1000);
    expect_text(f, "/late/0", "late");
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(f->server.open, 1);
}

START_TEST(a_cancelled_upload_ends_within_its_callback)
{
    serve_virtually(cancel_source);
}
END_TEST

static void
cancel_stalled(struct fixture *f)
{
    struct source s = {.size = 32 * MEBIBYTE};
    struct ask a = {
        f, {.url = "/gateupload", .read_body = source_read, .read_arg = &s, .timeout = 200}, 0};
    uco_task *task;

    receive_little(f);
    task = uco_create_task(ask_as_task, &a);
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert(!uco_done(task));
    ck_assert_int_eq(uco_cancel(task), 0);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    expect_text(f, "/late/0", "late");
}

START_TEST(an_upload_that_the_server_stalls_can_be_cancelled)
{
    serve(cancel_stalled);
}
END_TEST

static void
time_out_stalled(struct fixture *f)
{
    struct source s = {.size = 32 * MEBIBYTE};
    uco_http_request_options request = {
        .url = "/gateupload", .read_body = source_read, .read_arg = &s};

    receive_little(f);
    expect_failure(f, &request, -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "read_timeout"));
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
    expect_text(f, "/late/0", "late");
}

START_TEST(an_upload_that_the_server_stalls_times_out)
{
    serve_virtually_with(&(uco_http_client_options){.read_timeout = 3, .timeout = 100},
                         time_out_stalled);
}
END_TEST

static void
close_while_sending(struct fixture *f)
{
    struct source sources[3] = {{.size = 32 * MEBIBYTE},
                                {.size = 10000, .piece = 1000, .pause = 3},
                                {.size = 32 * MEBIBYTE}};
    struct ask asks[3];
    uco_task *tasks[3];

    receive_little(f);
    for (int i = 0; i < 3; i++) {
        asks[i] = (struct ask){f,
                               {.url = i < 2 ? "/gateupload" : "/upload",
                                .read_body = source_read,
                                .read_arg = &sources[i]},
                               0};
        tasks[i] = uco_create_task(ask_as_task, &asks[i]);
    }
    ck_assert_int_eq(uco_yield(), 0);
    ck_assert_int_eq(uco_sleep(0.01), 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    for (int i = 0; i < 3; i++) {
        intptr_t r = uco_join(tasks[i]);

        ck_assert_msg(r == -ECANCELED || (r == 200 && i == 2), "%d: %d", i, (int) r);
    }
    ck_assert_int_eq(uco_event_set(&f->server.gate), 0);
}

START_TEST(closing_the_client_ends_its_uploads)
{
    serve(close_while_sending);
}
END_TEST

/* At each turn of its life, an upload is cancelled once. */
static void
cancel_at_each_turn(struct fixture *f)
{
    for (int turns = 0; turns < scaled(100); turns++) {
        struct source s = {.size = 2 * MEBIBYTE, .piece = 100000};
        struct ask a = {f,
                        {.url = "/upload",
                         .body_size = turns % 2 == 0 ? s.size : 0,
                         .read_body = source_read,
                         .read_arg = &s},
                        0};
        uco_task *task = uco_create_task(ask_as_task, &a);
        intptr_t r;

        for (int i = 0; i < turns; i++)
            ck_assert_int_eq(uco_yield(), 0);
        uco_cancel(task);
        r = uco_join(task);
        ck_assert_msg(r == -ECANCELED || r == 200, "after %d turns: %d", turns, (int) r);
    }
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
}

START_TEST(an_upload_can_be_cancelled_at_any_turn)
{
    serve(cancel_at_each_turn);
}
END_TEST

/* --- both ways at once --- */

static void
stream_both_ways(struct fixture *f)
{
    struct source s = {.size = 500000, .piece = 10000};
    uco_http_request_options request = {.url = "/upload", .read_body = source_read, .read_arg = &s};
    uco_http_response *response;

    ck_assert_int_eq(uco_http_stream(f->client, &request, &response), 0);
    ck_assert_uint_eq(drain(response, 999), 500000);
    ck_assert_uint_eq(response->sent, 500000);
    uco_http_response_free(response);
}

START_TEST(a_stream_can_have_a_body)
{
    serve(stream_both_ways);
}
END_TEST

static void
send_many(struct fixture *f)
{
    enum { MANY = 30 };
    struct source sources[MANY];
    struct ask asks[MANY];
    uco_task *tasks[MANY];
    intptr_t results[MANY];

    for (int i = 0; i < MANY; i++) {
        sources[i] = (struct source){.size = (size_t) i * 10000, .piece = (size_t) i * 100 + 100};
        asks[i] = (struct ask){
            f, {.url = "/upload", .read_body = source_read, .read_arg = &sources[i]}, 0};
        tasks[i] = uco_create_task(ask_as_task, &asks[i]);
    }
    ck_assert_int_eq(uco_gather(tasks, MANY, results), 0);
    uco_unref_all(tasks, MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(results[i], 200);
}

START_TEST(many_send_at_once)
{
    serve(send_many);
}
END_TEST

static void
add_bodies(Suite *suite)
{
    TCase *bodies = case_new(suite, "bodies");
    TCase *expect = case_new(suite, "expect");
    TCase *unwanted = case_new(suite, "unwanted");

    tcase_add_test(bodies, bytes_arrive);
    tcase_add_test(bodies, a_callbacks_bytes_arrive);
    tcase_add_test(bodies, a_callbacks_bytes_arrive_in_chunks_when_nobody_knows_how_many);
    tcase_add_test(bodies, a_callback_may_have_nothing);
    tcase_add_test(bodies, a_form_arrives);
    tcase_add_test(bodies, bytes_are_no_form);
    tcase_add_test(bodies, a_file_arrives);
    tcase_add_test(bodies, a_stream_arrives);
    tcase_add_test(bodies, a_multipart_arrives_each_time_it_is_sent);
    tcase_add_test(bodies, a_body_may_be_what_another_request_brings);
    tcase_add_test(bodies, a_stream_can_have_a_body);
    tcase_add_test(bodies, many_send_at_once);
    tcase_add_test(expect, a_large_body_waits_until_the_server_wants_it);
    tcase_add_test(expect, a_server_that_says_nothing_gets_the_body_after_a_while);
    tcase_add_test(expect, a_server_that_knows_no_expectation_is_asked_without);
    tcase_add_test(unwanted, an_answer_that_comes_early_is_the_answer);
    tcase_add_test(unwanted, a_server_that_hangs_up_is_an_error_or_its_answer);
    tcase_add_test(unwanted, a_server_may_be_content_before_it_has_read_all);
}

static void
add_faults(Suite *suite)
{
    TCase *pressure = case_new(suite, "back-pressure");
    TCase *sources = case_new(suite, "sources");
    TCase *early = case_new(suite, "early ends");

    tcase_add_test(pressure, who_does_not_read_is_not_sent_to);
    tcase_add_test(pressure, progress_is_told_while_a_slow_server_reads);
    tcase_add_test(sources, a_callback_may_suspend);
    tcase_add_test(sources, a_callback_that_fails_ends_the_request_with_its_error);
    tcase_add_test(sources, a_callback_that_ends_early_is_an_error);
    tcase_add_test(sources, of_a_callback_that_goes_on_only_the_announced_is_sent);
    tcase_add_test(sources, a_callback_that_gives_more_than_asked_for_is_misuse);
    tcase_add_test(early, a_cancelled_upload_ends_within_its_callback);
    tcase_add_test(early, an_upload_that_the_server_stalls_can_be_cancelled);
    tcase_add_test(early, an_upload_that_the_server_stalls_times_out);
    tcase_add_test(early, closing_the_client_ends_its_uploads);
    tcase_add_test(early, an_upload_can_be_cancelled_at_any_turn);
}

int
main(void)
{
    Suite *suite = suite_create("http uploads");

    add_bodies(suite);
    add_faults(suite);
    return suite_end(suite);
}
