/* SPDX-License-Identifier: MIT */
/* Two things at once: what comes together in one turn, and what is left of the hop before. */
#include "fixture.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TURNS 16 /* that are tried: what is to meet does so in one of them */

/* --- readers --- */

struct reading {
    struct fixture *f;
    uco_http_response *response;
    char bytes[64];
    ssize_t r;
};

static intptr_t
read_some(void *arg)
{
    struct reading *reading = arg;

    reading->r = uco_http_read(reading->response, reading->bytes, sizeof reading->bytes);
    if (reading->r == -EBUSY)
        uco_event_set(&reading->f->server.gate);
    return reading->r;
}

static void
yield(unsigned turns)
{
    while (turns-- > 0)
        ck_assert_int_eq(uco_sleep(0), 0);
}

/* Opens /gatebody, and reads what comes before the gate is open. */
static struct reading
open_gated(struct fixture *f)
{
    struct reading reading = {.f = f};

    uco_event_clear(&f->server.gate);
    reading.response = open_stream(f, "/gatebody");
    while (reading.r < 10) {
        ssize_t n = uco_http_read(reading.response, reading.bytes, 10 - (size_t) reading.r);

        ck_assert_int_gt(n, 0);
        reading.r += n;
    }
    return reading;
}

static size_t
read_the_rest(uco_http_response *response)
{
    char bytes[64];
    size_t size = 0;
    ssize_t n;

    while ((n = uco_http_read(response, bytes, sizeof bytes)) > 0)
        size += (size_t) n;
    ck_assert_int_eq(n, 0);
    return size;
}

static void
cancel_readers(struct fixture *f)
{
    for (unsigned turns = 0; turns < TURNS; turns++) {
        struct reading reading = open_gated(f);
        uco_task *task = uco_create_task(read_some, &reading);
        intptr_t r;

        yield(1);
        uco_event_set(&f->server.gate);
        yield(turns);
        uco_cancel(task);
        r = uco_join(task);
        ck_assert(r > 0 || r == -ECANCELED);
        ck_assert_uint_eq((r > 0 ? (size_t) r : 0) + read_the_rest(reading.response), 10);
        uco_http_response_free(reading.response);
    }
}

START_TEST(what_comes_as_its_reader_is_cancelled_is_not_lost)
{
    serve(cancel_readers);
}
END_TEST

/* A call that finds its result at once lets others run, once in a while. */
static void
read_in_two_tasks(struct fixture *f)
{
    for (unsigned calls = 50; calls < 70; calls++) {
        struct reading own = open_gated(f);
        struct reading other = {.f = f, .response = own.response};
        uco_task *task = uco_create_task(read_some, &other);

        own.r = 0;
        for (unsigned i = 0; i < calls && own.r == 0; i++)
            own.r = uco_http_read(own.response, own.bytes, 0);
        if (own.r == -EBUSY)
            uco_event_set(&f->server.gate);
        else
            read_some(&own);
        uco_join(task);
        ck_assert_msg((own.r == -EBUSY) != (other.r == -EBUSY), "%zd, %zd", own.r, other.r);
        uco_http_response_free(own.response);
    }
}

START_TEST(one_task_at_a_time_reads)
{
    serve_with(&(uco_http_client_options){.timeout = 5}, read_in_two_tasks);
}
END_TEST

struct lending {
    uco_http_response *response;
    const void *bytes;
    ssize_t size;
};

static intptr_t
borrow(void *arg)
{
    struct lending *lending = arg;

    lending->size = uco_http_read_chunk(lending->response, &lending->bytes);
    return lending->size;
}

/* The bytes of both have come, and one task runs before the other. */
static void
take_from_another(struct fixture *f)
{
    for (unsigned i = 0; i < TURNS; i++) {
        struct reading first = open_gated(f), second = open_gated(f);
        struct reading *own = i % 2 == 0 ? &first : &second;
        struct reading *others = i % 2 == 0 ? &second : &first;
        struct lending lending = {.response = others->response};
        uco_task *task = uco_create_task(borrow, &lending);

        yield(1);
        uco_event_set(&f->server.gate);
        ck_assert_int_eq(uco_http_read(own->response, own->bytes, sizeof own->bytes), 10);
        others->r = uco_http_read(others->response, others->bytes, sizeof others->bytes);
        ck_assert(others->r == 0 || others->r == -EBUSY);
        uco_join(task);
        ck_assert_int_eq(lending.size, 10);
        uco_http_response_free(first.response);
        uco_http_response_free(second.response);
    }
}

START_TEST(what_has_come_for_a_task_is_nobody_elses)
{
    serve_with(&(uco_http_client_options){.timeout = 5}, take_from_another);
}
END_TEST

/* --- what a hop leaves to the next --- */

static int
lead_to_echo(const uco_http_response *response, void *arg)
{
    struct fixture *f = arg;

    if (response->history_size == 0)
        f->server.location = "/echo";
    return 0;
}

static void
redirect_twice(struct fixture *f)
{
    static const char *const headers[] = {"Content-Language: de", "X-Own: 1", NULL};
    uco_http_request_options request = {
        .url = "/moved/303", .body = "text", .body_size = 4, .headers = headers};

    reopen(f, &(uco_http_client_options){.after_response = lead_to_echo, .hook_arg = f});
    f->server.location = "/moved/303";
    uco_http_response_free(ask(f, &request));
    ck_assert_str_eq(f->server.log, "POST /moved/303\nGET /moved/303\nGET /echo\n");
    ck_assert(was_sent(f, "X-Own: 1"));
    ck_assert(!was_sent(f, "Content-Language: de"));
}

START_TEST(a_body_that_was_dropped_is_not_described_later)
{
    serve(redirect_twice);
}
END_TEST

static void
wait_for_a_retry(struct fixture *f)
{
    uco_http_request_options request = {.url = "/flaky/503", .retries = 1};
    uco_http_response *response;

    f->server.failures = 1;
    f->server.retry_after = "5";
    response = ask(f, &request);
    ck_assert_int_eq(response->attempts, 2);
    ck_assert_double_lt(response->timings.wait, 1);
    uco_http_response_free(response);
}

START_TEST(the_wait_for_a_connection_is_that_of_the_last_request)
{
    serve_virtually(wait_for_a_retry);
}
END_TEST

/* --- bodies --- */

static void
ask_for_the_head_with_a_body(struct fixture *f)
{
    expect_failure(f,
                   &(uco_http_request_options){
                       .url = "/echo", .method = "HEAD", .body = "text", .body_size = 4},
                   -EINVAL);
    ck_assert_uint_eq(f->server.requests, 0);
}

START_TEST(a_request_for_a_head_has_no_body)
{
    serve(ask_for_the_head_with_a_body);
}
END_TEST

static ssize_t
read_never(void *buf, size_t n, void *arg)
{
    bool *interrupted = arg;
    int r = uco_sleep(UCO_FOREVER);

    (void) buf;
    (void) n;
    *interrupted = r == -ECANCELED;
    return r;
}

static void
answer_while_the_source_is_silent(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        bool interrupted = false;
        uco_http_request_options request = {.url = "/early/413",
                                            .body_size = i < 2 ? 0 : 1000,
                                            .read_body = read_never,
                                            .read_arg = &interrupted,
                                            .expect_timeout = -1,
                                            .timeout = 10};
        uco_http_response *response;
        int r = i % 2 == 0 ? uco_http_request(f->client, &request, &response)
                           : uco_http_stream(f->client, &request, &response);

        ck_assert_msg(r == 0, "%d: %d, %s", i, r, uco_http_error(f->client));
        ck_assert_int_eq(response->status, 413);
        ck_assert(interrupted);
        if (i % 2 != 0)
            ck_assert_uint_eq(read_the_rest(response), 5);
        uco_http_response_free(response);
    }
}

START_TEST(who_answers_early_waits_for_no_body)
{
    serve(answer_while_the_source_is_silent);
}
END_TEST

/* --- a server that closes a kept connection --- */

struct closer {
    int fd;
    char url[64];
    const char *first; /* the answer to a connection's first request */
    unsigned requests;
    char body[64]; /* of the request that was answered last */
};

/* Reads a head, and so much of a body: false at the end. */
static bool
take_request(int fd, char *text, size_t size, size_t body)
{
    size_t n = 0;
    const char *end = NULL;

    while (end == NULL || n < (size_t) (end - text) + 4 + body) {
        ssize_t r = uco_read(fd, text + n, size - n - 1);

        if (r <= 0)
            return false;
        n += (size_t) r;
        text[n] = '\0';
        end = strstr(text, "\r\n\r\n");
    }
    return true;
}

static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/* The first request of each connection is answered, and its second one not. */
static intptr_t
closer_run(void *arg)
{
    struct closer *closer = arg;
    char text[4096];
    int fd;

    while ((fd = uco_accept4(closer->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        bool has_body = closer->requests > 0 && closer->first == fine;

        if (take_request(fd, text, sizeof text, has_body ? 12 : 0)) {
            closer->requests++;
            if (has_body)
                snprintf(closer->body, sizeof closer->body, "%s", strstr(text, "\r\n\r\n") + 4);
            uco_write_all(fd, closer->first, strlen(closer->first), NULL);
            if (take_request(fd, text, sizeof text, 0))
                closer->requests++;
        }
        uco_close(fd);
    }
    return 0;
}

static uco_task *
closer_start(struct closer *closer, const char *first)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    *closer = (struct closer){.fd = uco_listen("127.0.0.1", 0, 0), .first = first};
    ck_assert_int_ge(closer->fd, 0);
    ck_assert_int_eq(getsockname(closer->fd, (struct sockaddr *) &address, &length), 0);
    snprintf(closer->url, sizeof closer->url, "http://127.0.0.1:%u/",
             (unsigned) ntohs(address.sin_port));
    return uco_create_task(closer_run, closer);
}

static void
closer_stop(struct closer *closer, uco_task *task)
{
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), 0);
    uco_close(closer->fd);
}

/* The first piece is read while curl finds out, and maybe connects again. */
static ssize_t
read_slowly(void *buf, size_t n, void *arg)
{
    unsigned *calls = arg;
    int r = *calls == 0 ? uco_sleep(0.1) : 0;

    if (r < 0)
        return r;
    ck_assert_uint_ge(n, 6);
    memcpy(buf, ++*calls == 1 ? "first " : "second", 6);
    return *calls <= 2 ? 6 : 0;
}

/* What curl does depends on its version; what was read for the old connection is not lost. */
static void
send_on_a_dead_connection(struct fixture *f)
{
    struct closer closer;
    uco_task *task = closer_start(&closer, fine);
    unsigned calls = 0;
    uco_http_request_options request = {.url = closer.url,
                                        .method = "PUT",
                                        .body_size = 12,
                                        .read_body = read_slowly,
                                        .read_arg = &calls,
                                        .retries = 1};
    uco_http_response *response;
    int r;

    expect_text(f, closer.url, "ok");
    r = uco_http_request(f->client, &request, &response);
    ck_assert_msg(r == 0 || r == -ECONNRESET, "%d: %s", r, uco_http_error(f->client));
    if (r == 0)
        ck_assert_str_eq(closer.body, "first second");
    else
        ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "closed the connection"));
    uco_http_response_free(response);
    closer_stop(&closer, task);
}

START_TEST(a_body_on_a_dead_connection_is_sent_whole_or_not)
{
    serve(send_on_a_dead_connection);
}
END_TEST

static void
answer_slowly(struct fixture *f)
{
    struct closer closer;
    uco_task *task = closer_start(&closer, "HTTP/1.1 503 Busy\r\nContent-Length: 500\r\n\r\nearly");
    bool interrupted = false;
    uco_http_request_options request = {.url = closer.url,
                                        .method = "PUT",
                                        .read_body = read_never,
                                        .read_arg = &interrupted,
                                        .expect_timeout = -1,
                                        .retries = 1,
                                        .timeout = 5};
    uco_http_response *response;
    char bytes[8];
    int r = uco_http_stream(f->client, &request, &response);

    ck_assert_msg(r == 0, "%d, %s", r, uco_http_error(f->client));
    ck_assert_int_eq(response->status, 503);
    ck_assert(interrupted);
    ck_assert_int_gt(uco_http_read(response, bytes, sizeof bytes), 0);
    uco_http_response_free(response);
    closer_stop(&closer, task);
}

START_TEST(the_head_of_an_early_answer_is_enough_to_stop_a_body)
{
    serve(answer_slowly);
}
END_TEST

static const char who[] =
    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
    "WWW-Authenticate: Digest realm=\"test\", nonce=\"n\", qop=\"auth\"\r\n\r\n";

static const char large[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nearly";

static void
answer_and_stay(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        struct closer closer;
        uco_task *task = closer_start(&closer, large);
        bool interrupted = false;
        uco_http_request_options request = {.url = closer.url,
                                            .body_size = i < 2 ? 0 : 1000,
                                            .read_body = read_never,
                                            .read_arg = &interrupted,
                                            .expect_timeout = -1,
                                            .timeout = 5};
        uco_http_response *response;
        int r = i % 2 == 0 ? uco_http_request(f->client, &request, &response)
                           : uco_http_stream(f->client, &request, &response);

        ck_assert_msg(r == 0, "%d: %d, %s", i, r, uco_http_error(f->client));
        ck_assert_int_eq(response->status, 413);
        ck_assert(interrupted);
        if (i % 2 != 0)
            ck_assert_uint_eq(read_the_rest(response), 5);
        uco_http_response_free(response);
        closer_stop(&closer, task);
    }
}

START_TEST(who_answers_early_and_stays_waits_for_no_body)
{
    serve(answer_and_stay);
}
END_TEST

static void
post_with_a_login(struct fixture *f)
{
    struct closer closer;
    uco_task *task = closer_start(&closer, who);
    uco_http_request_options request = {.url = closer.url,
                                        .body = "text",
                                        .body_size = 4,
                                        .user = "user",
                                        .password = "secret",
                                        .auth = UCO_HTTP_DIGEST};

    expect_failure(f, &request, -ECONNRESET);
    ck_assert_uint_eq(closer.requests, 2);
    closer_stop(&closer, task);
}

START_TEST(a_post_with_a_login_is_sent_once)
{
    serve(post_with_a_login);
}
END_TEST

/* --- closing --- */

static int
close_own_client(uco_http_call *call, void *arg)
{
    struct fixture *f = arg;

    (void) call;
    return uco_http_client_close(f->client);
}

static void
close_in_hook(struct fixture *f)
{
    reopen(f, &(uco_http_client_options){.before_request = close_own_client, .hook_arg = f});
    expect_error(f, "/late/0", -EDEADLK);
}

START_TEST(a_client_is_not_closed_by_its_own_request)
{
    serve(close_in_hook);
}
END_TEST

struct ending {
    struct fixture *f;
    bool closed;
};

static intptr_t
ask_until_closed(void *arg)
{
    const struct ending *ending = arg;
    uco_http_response *response;

    while (!ending->closed) {
        int r = uco_http_get(ending->f->client, "/late/0", &response);

        ck_assert(r == 0 || r == -ECANCELED);
        uco_http_response_free(response);
        ck_assert_int_eq(uco_sleep(0), 0);
    }
    return 0;
}

static void
close_while_asked(struct fixture *f)
{
    for (unsigned turns = 0; turns < TURNS; turns++) {
        struct ending ending = {.f = f};
        uco_task *tasks[3];

        for (size_t i = 0; i < COUNT(tasks); i++)
            tasks[i] = uco_create_task(ask_until_closed, &ending);
        yield(turns);
        ck_assert_int_eq(uco_http_client_close(f->client), 0);
        ending.closed = true;
        for (size_t i = 0; i < COUNT(tasks); i++)
            ck_assert_int_eq(uco_join(tasks[i]), 0);
        yield(3);
        f->client = uco_http_client_new(&f->options);
        ck_assert_ptr_nonnull(f->client);
    }
}

START_TEST(a_client_may_be_asked_until_it_is_closed)
{
    serve(close_while_asked);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http review");
    TCase *readers = case_new(suite, "readers");
    TCase *hops = case_new(suite, "hops");
    TCase *bodies = case_new(suite, "bodies");
    TCase *closing = case_new(suite, "closing");

    tcase_add_test(readers, what_comes_as_its_reader_is_cancelled_is_not_lost);
    tcase_add_test(readers, one_task_at_a_time_reads);
    tcase_add_test(readers, what_has_come_for_a_task_is_nobody_elses);
    tcase_add_test(hops, a_body_that_was_dropped_is_not_described_later);
    tcase_add_test(hops, the_wait_for_a_connection_is_that_of_the_last_request);
    tcase_add_test(bodies, a_request_for_a_head_has_no_body);
    tcase_add_test(bodies, who_answers_early_waits_for_no_body);
    tcase_add_test(bodies, a_body_on_a_dead_connection_is_sent_whole_or_not);
    tcase_add_test(bodies, who_answers_early_and_stays_waits_for_no_body);
    tcase_add_test(bodies, the_head_of_an_early_answer_is_enough_to_stop_a_body);
    tcase_add_test(bodies, a_post_with_a_login_is_sent_once);
    tcase_add_test(closing, a_client_is_not_closed_by_its_own_request);
    tcase_add_test(closing, a_client_may_be_asked_until_it_is_closed);
    return suite_end(suite);
}
