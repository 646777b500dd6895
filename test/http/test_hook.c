/* SPDX-License-Identifier: MIT */
/* What a client has called before each of its requests and after each response. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

static struct trace hooks;
static struct fixture *hooked;
static int hook_result;
static const char *hook_header;

static int
note_before(uco_http_call *call, void *arg)
{
    ck_assert_ptr_eq(arg, &hooks);
    trace_add(&hooks, 'b');
    trace_add(&hooks, (char) ('0' + uco_http_call_attempt(call)));
    trace_add(&hooks, uco_http_call_method(call)[0]);
    trace_add(&hooks, uco_http_call_url(call)[strlen(uco_http_call_url(call)) - 1]);
    return 0;
}

static int
note_after(const uco_http_response *response, void *arg)
{
    ck_assert_ptr_eq(arg, &hooks);
    trace_add(&hooks, 'a');
    trace_add(&hooks, (char) ('0' + response->status / 100));
    trace_add(&hooks, response->url[strlen(response->url) - 1]);
    ck_assert_ptr_nonnull(uco_http_header(response, "Content-Length"));
    return 0;
}

static void
get_with_hooks(struct fixture *f)
{
    expect_text(f, "/redirect/2", "there");
    ck_assert_str_eq(hooks.text, "b0G2a32b0G1a31b0G0a20");
    memset(&hooks, 0, sizeof hooks);
    f->server.failures = 2;
    expect_answer(f,
                  &(uco_http_request_options){.method = "PUT", .url = "/flaky/503", .retries = 3},
                  200, "well");
    ck_assert_str_eq(hooks.text, "b0P3a53b1P3a53b2P3a23");
}

START_TEST(hooks_see_each_request_and_each_answer_in_order)
{
    serve_virtually_with(&(uco_http_client_options){.before_request = note_before,
                                                    .after_response = note_after,
                                                    .hook_arg = &hooks},
                         get_with_hooks);
}
END_TEST

static int
set_headers(uco_http_call *call, void *arg)
{
    char header[64];

    (void) arg;
    snprintf(header, sizeof header, "X-Hook: %s",
             strrchr(uco_http_call_url(call), '/') + 1); /* gone when this returns */
    ck_assert_int_eq(uco_http_call_set_header(call, "X-Hook: first"), 0);
    ck_assert_int_eq(uco_http_call_set_header(call, header), 0);
    ck_assert_int_eq(uco_http_call_set_header(call, "x-client: the hook's"), 0);
    ck_assert_int_eq(uco_http_call_set_header(call, "User-Agent:"), 0);
    ck_assert_int_eq(uco_http_call_set_header(call, "no colon"), -EINVAL);
    ck_assert_int_eq(uco_http_call_set_header(call, "X-A: b\r\nX-Injected: c"), -EINVAL);
    ck_assert_int_eq(uco_http_call_set_header(call, NULL), -EINVAL);
    return 0;
}

static void
get_with_hook_headers(struct fixture *f)
{
    for (int i = 0; i < 3; i++) {
        char url[64], header[64];

        snprintf(url, sizeof url, "/echo/%d", i);
        snprintf(header, sizeof header, "X-Hook: %d", i);
        uco_http_response_free(fetch(f, url));
        ck_assert(was_sent(f, header));
        ck_assert(was_sent(f, "x-client: the hook's"));
        ck_assert_ptr_null(strstr(f->server.last, "first"));
        ck_assert_ptr_null(strstr(f->server.last, "the client's"));
        ck_assert_ptr_null(strstr(f->server.last, "User-Agent"));
        ck_assert_ptr_null(strstr(f->server.last, "Injected"));
    }
}

START_TEST(a_hook_can_change_what_is_sent)
{
    static const char *const headers[] = {"X-Client: the client's", NULL};

    serve_with(&(uco_http_client_options){.headers = headers, .before_request = set_headers},
               get_with_hook_headers);
}
END_TEST

static int
fail_before(uco_http_call *call, void *arg)
{
    (void) call;
    (void) arg;
    return hook_result;
}

static int
fail_after(const uco_http_response *response, void *arg)
{
    (void) response;
    (void) arg;
    return hook_result;
}

static void
get_with_failing_hook(struct fixture *f)
{
    uco_http_response *response = (uco_http_response *) (void *) f;

    hook_result = 0;
    expect_text(f, "/late/0", "late");
    hook_result = -EXDEV;
    expect_error(f, "/late/0", -EXDEV);
    ck_assert_int_eq(
        uco_http_stream(f->client, &(uco_http_request_options){.url = "/endless"}, &response),
        -EXDEV);
    ck_assert_ptr_null(response);
    hook_result = 1;
    expect_text(f, "/late/0", "late");
    until_open(f, 1);
}

START_TEST(a_hook_that_fails_before_ends_the_request_with_its_error)
{
    serve_with(&(uco_http_client_options){.before_request = fail_before}, get_with_failing_hook);
}
END_TEST

START_TEST(a_hook_that_fails_after_ends_the_request_with_its_error)
{
    serve_with(&(uco_http_client_options){.after_response = fail_after}, get_with_failing_hook);
}
END_TEST

static int
sleep_before(uco_http_call *call, void *arg)
{
    (void) arg;
    ck_assert_ptr_nonnull(uco_current_task());
    ck_assert_str_eq(uco_http_call_method(call), "GET");
    return uco_sleep(3);
}

static int
sleep_after(const uco_http_response *response, void *arg)
{
    (void) arg;
    ck_assert_ptr_nonnull(response);
    return uco_sleep(3);
}

static void
get_with_slow_hooks(struct fixture *f)
{
    double began = uco_time();

    expect_bytes(f, "/bytes/1000", 1000);
    ck_assert(uco_time() - began >= 6 && uco_time() - began < 7);
    expect_failure(f, &(uco_http_request_options){.url = "/late/0", .timeout = 2}, -ETIMEDOUT);
    expect_failure(f, &(uco_http_request_options){.url = "/late/0", .timeout = 5}, -ETIMEDOUT);
    expect_answer(f, &(uco_http_request_options){.url = "/late/0", .timeout = 7}, 200, "late");
}

START_TEST(hooks_may_suspend_and_the_timeout_counts_it)
{
    serve_virtually_with(&(uco_http_client_options){.before_request = sleep_before,
                                                    .after_response = sleep_after,
                                                    .read_timeout = 1},
                         get_with_slow_hooks);
}
END_TEST

/* As one that fetches a token does. */
static int
login_before(uco_http_call *call, void *arg)
{
    uco_http_response *response;
    char header[128];

    (void) arg;
    if (strstr(uco_http_call_url(call), "/bytes/5") != NULL)
        return 0;
    response = fetch(hooked, "/bytes/5");
    snprintf(header, sizeof header, "Authorization: Bearer %s", response->text);
    uco_http_response_free(response);
    return uco_http_call_set_header(call, header);
}

static void
get_within_hook(struct fixture *f)
{
    hooked = f;
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert(was_sent(f, "Authorization: Bearer abcde"));
    ck_assert_str_eq(f->server.log, "GET /bytes/5\nGET /echo\n");
}

START_TEST(a_hook_may_use_the_client_itself)
{
    serve_with(&(uco_http_client_options){.before_request = login_before}, get_within_hook);
}
END_TEST

static int
set_given_header(uco_http_call *call, void *arg)
{
    (void) arg;
    return hook_header != NULL ? uco_http_call_set_header(call, hook_header) : 0;
}

static void
stream_with_hooks(struct fixture *f)
{
    uco_http_response *response;

    hook_header = "X-Streamed: yes";
    response = open_stream(f, "/bytes/100000");
    ck_assert(was_sent(f, "X-Streamed: yes"));
    ck_assert_uint_eq(drain(response, 1000), 100000);
    uco_http_response_free(response);
}

START_TEST(hooks_are_called_for_streams_too)
{
    serve_with(&(uco_http_client_options){.before_request = set_given_header}, stream_with_hooks);
}
END_TEST

/* --- an end within a hook --- */

static struct {
    struct fixture *f;
    bool inside;
    int result;
} sleeper;

static int
sleep_for_ever(uco_http_call *call, void *arg)
{
    (void) call;
    (void) arg;
    sleeper.inside = true;
    sleeper.result = uco_sleep(UCO_FOREVER);
    return sleeper.result;
}

static int
sleep_for_ever_after(const uco_http_response *response, void *arg)
{
    (void) response;
    return sleep_for_ever(NULL, arg);
}

static intptr_t
stream_and_free(void *arg)
{
    const struct visit *v = arg;
    const uco_http_request_options request = {.url = v->url};
    uco_http_response *response = (uco_http_response *) (void *) v;
    int r = uco_http_stream(v->f->client, &request, &response);

    ck_assert_int_lt(r, 0);
    ck_assert_ptr_null(response);
    return r;
}

static void
end_within_hook(struct fixture *f)
{
    uco_http_client_options options = f->options;

    for (int i = 0; i < 4; i++) {
        struct visit v = {f, i % 2 == 0 ? "/bytes/10" : "/endless"};
        uco_task *task = uco_create_task(i % 2 == 0 ? visit : stream_and_free, &v);

        sleeper.inside = false;
        while (!sleeper.inside)
            ck_assert_int_eq(uco_sleep(0.001), 0);
        if (i < 2) {
            ck_assert_int_eq(uco_cancel(task), 0);
        } else {
            ck_assert_int_eq(uco_http_client_close(f->client), 0);
            f->client = uco_http_client_new(&options);
        }
        ck_assert_int_eq(uco_join(task), -ECANCELED);
        ck_assert_int_eq(sleeper.result, -ECANCELED);
    }
    until_open(f, 0);
}

START_TEST(a_request_can_end_within_the_hook_before_it)
{
    serve_with(&(uco_http_client_options){.before_request = sleep_for_ever}, end_within_hook);
}
END_TEST

START_TEST(a_request_can_end_within_the_hook_after_it)
{
    serve_with(&(uco_http_client_options){.after_response = sleep_for_ever_after}, end_within_hook);
}
END_TEST

static int
sleep_a_while(const uco_http_response *response, void *arg)
{
    (void) response;
    (void) arg;
    return uco_sleep(0.05);
}

/* All of it comes while the hook sleeps, or as much as may come. */
static void
stream_during_hook(struct fixture *f)
{
    static const char *const urls[] = {"/bytes/0", "/bytes/1000", "/chunked/50000",
                                       "/bytes/3000000"};
    static const size_t sizes[] = {0, 1000, 50000, 3000000};

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response = open_stream(f, urls[i]);

        ck_assert_uint_eq(drain(response, 10000), sizes[i]);
        uco_http_response_free(response);
    }
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(a_stream_goes_on_while_a_hook_sleeps)
{
    serve_with(&(uco_http_client_options){.after_response = sleep_a_while}, stream_during_hook);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http hooks");
    TCase *called = case_new(suite, "called");
    TCase *ends = case_new(suite, "ends");

    tcase_add_test(called, hooks_see_each_request_and_each_answer_in_order);
    tcase_add_test(called, a_hook_can_change_what_is_sent);
    tcase_add_test(called, a_hook_that_fails_before_ends_the_request_with_its_error);
    tcase_add_test(called, a_hook_that_fails_after_ends_the_request_with_its_error);
    tcase_add_test(called, hooks_may_suspend_and_the_timeout_counts_it);
    tcase_add_test(called, a_hook_may_use_the_client_itself);
    tcase_add_test(called, hooks_are_called_for_streams_too);
    tcase_add_test(ends, a_request_can_end_within_the_hook_before_it);
    tcase_add_test(ends, a_request_can_end_within_the_hook_after_it);
    tcase_add_test(ends, a_stream_goes_on_while_a_hook_sleeps);
    return suite_end(suite);
}
