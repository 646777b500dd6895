/* SPDX-License-Identifier: MIT */
/* Fetching, and what is fetched. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- pages --- */

static void
get_sizes(struct fixture *f)
{
    static const size_t sizes[] = {0,    1,     2,     100,   1023,  1024,
                                   1025, 16384, 65535, 65536, 65537, 1000003};
    char url[64];

    for (size_t i = 0; i < COUNT(sizes); i++) {
        snprintf(url, sizeof url, "/bytes/%zu", sizes[i]);
        expect_bytes(f, url, sizes[i]);
        snprintf(url, sizeof url, "/chunked/%zu", sizes[i]);
        expect_bytes(f, url, sizes[i]);
    }
}

START_TEST(a_page_of_any_size_comes_whole)
{
    serve(get_sizes);
}
END_TEST

static void
get_empty(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/bytes/0");

    ck_assert_int_eq(response->status, 200);
    ck_assert_uint_eq(response->size, 0);
    ck_assert_str_eq(response->text, "");
    uco_http_response_free(response);
}

START_TEST(an_empty_page_is_an_empty_string)
{
    serve(get_empty);
}
END_TEST

static void
get_statuses(struct fixture *f)
{
    static const int statuses[] = {200, 201, 203, 299, 300, 400, 404, 418, 500, 503, 599};
    char url[64];

    for (size_t i = 0; i < COUNT(statuses); i++) {
        uco_http_response *response;

        snprintf(url, sizeof url, "/status/%d", statuses[i]);
        response = fetch(f, url);
        ck_assert_int_eq(response->status, statuses[i]);
        ck_assert_str_eq(response->text, "status");
        uco_http_response_free(response);
    }
}

START_TEST(a_status_that_tells_of_an_error_is_a_response)
{
    serve(get_statuses);
}
END_TEST

static void
get_gzip(struct fixture *f)
{
    expect_text(f, "/gzip", "hello, gzip\n");
}

START_TEST(a_compressed_body_is_unpacked)
{
    serve(get_gzip);
}
END_TEST

static void
get_continue(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/continue");

    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(response->text, "done");
    ck_assert_ptr_null(uco_http_header(response, "X-Early"));
    ck_assert_str_eq(uco_http_header(response, "X-Late"), "yes");
    uco_http_response_free(response);
}

START_TEST(what_comes_before_the_answer_is_not_the_answer)
{
    serve(get_continue);
}
END_TEST

static void
get_headers(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/headers");

    ck_assert_str_eq(uco_http_header(response, "content-type"), "text/plain; charset=utf-8");
    ck_assert_str_eq(uco_http_header(response, "CONTENT-LENGTH"), "2");
    ck_assert_str_eq(uco_http_header(response, "x-twice"), "first");
    ck_assert_str_eq(uco_http_header(response, "X-Folded"), "one two");
    ck_assert_str_eq(uco_http_header(response, "X-Empty"), "");
    ck_assert_str_eq(uco_http_header(response, "X-Spaces"), "padded");
    ck_assert_ptr_null(uco_http_header(response, "X-Absent"));
    ck_assert_ptr_null(uco_http_header(response, "X-Twic"));
    ck_assert_ptr_null(uco_http_header(response, ""));
    ck_assert_ptr_null(uco_http_header(response, NULL));
    ck_assert_ptr_null(uco_http_header(NULL, "X-Twice"));
    uco_http_response_free(response);
}

START_TEST(headers_are_found_whatever_their_case)
{
    serve(get_headers);
}
END_TEST

static void
get_more(struct fixture *f)
{
    expect_text(f, "/more", "01234");
    expect_text(f, "/late/0", "late");
    ck_assert_uint_eq(f->server.accepted, 2);
}

/* What comes after the announced length is no answer to anything: the connection is not used again.
 * */
START_TEST(a_body_longer_than_announced_is_cut_and_its_connection_closed)
{
    serve(get_more);
}
END_TEST

START_TEST(freeing_no_response_is_fine)
{
    uco_http_response_free(NULL);
}
END_TEST

/* --- connections --- */

static void
get_ten_in_a_row(struct fixture *f)
{
    for (int i = 0; i < 10; i++)
        expect_bytes(f, "/bytes/100", 100);
    ck_assert_uint_eq(f->server.accepted, 1);
    ck_assert_uint_eq(f->server.requests, 10);
}

START_TEST(a_connection_is_kept_for_the_next_request)
{
    serve(get_ten_in_a_row);
}
END_TEST

static void
get_left(struct fixture *f)
{
    for (int i = 0; i < 5; i++) {
        expect_text(f, "/leave", "left");
        ck_assert_int_eq(uco_test_settle(), 0);
    }
    ck_assert_uint_eq(f->server.requests, 5);
    ck_assert_uint_eq(f->server.accepted, 5);
}

START_TEST(a_connection_that_the_server_closed_is_replaced)
{
    serve(get_left);
}
END_TEST

static void
get_and_close(struct fixture *f)
{
    expect_text(f, "/late/0", "late");
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(f->server.open, 1);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_uint_eq(f->server.open, 0);
}

START_TEST(closing_the_client_closes_its_connections)
{
    serve(get_and_close);
}
END_TEST

#define MANY 100

static void
get_many(struct fixture *f)
{
    uco_task *tasks[MANY];
    struct visit visits[MANY];
    intptr_t results[MANY];
    char urls[MANY][32];

    for (int i = 0; i < MANY; i++) {
        snprintf(urls[i], sizeof urls[i], "/bytes/%d", i * i * 10);
        visits[i] = (struct visit){f, urls[i]};
        tasks[i] = uco_create_task(visit, &visits[i]);
    }
    ck_assert_int_eq(uco_gather(tasks, MANY, results), 0);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(results[i], 200);
    uco_unref_all(tasks, MANY);
    ck_assert_uint_eq(f->server.requests, MANY);
}

START_TEST(a_hundred_pages_come_at_once)
{
    serve(get_many);
}
END_TEST

static void
get_in_virtual_time(struct fixture *f)
{
    uco_task *tasks[MANY];
    intptr_t results[MANY];
    struct visit v = {f, "/late/20000"};
    double began = uco_time();
    int answered = 0;

    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather_all(tasks, MANY, results), 0);
    uco_unref_all(tasks, MANY);
    for (int i = 0; i < MANY; i++) {
        ck_assert(results[i] == 200 || results[i] == -ETIMEDOUT);
        answered += results[i] == 200;
    }
    ck_assert_int_eq(answered, 10);
    ck_assert(uco_time() - began >= 30 && uco_time() - began < 31);
    expect_error(f, "/stall", -ETIMEDOUT);
    ck_assert(uco_time() - began >= 60 && uco_time() - began < 62);
}

/* 20 s an answer, ten at once: after 30 s, the rest has timed out. In no time. */
START_TEST(a_server_in_the_same_loop_can_have_a_virtual_clock)
{
    serve_virtually(get_in_virtual_time);
}
END_TEST

/* --- URLs --- */

static void
get_absolute(struct fixture *f)
{
    uco_http_response *response;
    char url[128];

    snprintf(url, sizeof url, "http://127.0.0.1:%u/bytes/3?a=b#c", (unsigned) f->server.port);
    response = fetch(f, url);
    ck_assert_str_eq(response->text, "abc");
    ck_assert_str_eq(response->url, url);
    ck_assert(strncmp(f->server.last, "GET /bytes/3?a=b HTTP/1.1\r\n", 27) == 0);
    uco_http_response_free(response);
}

START_TEST(an_absolute_url_goes_past_the_base)
{
    serve_with(&(uco_http_client_options){.base_url = "http://nowhere.invalid/x"}, get_absolute);
}
END_TEST

static void
get_joined(struct fixture *f)
{
    static const char *const cases[][3] = {
        {"", "/echo", "/echo"},         {"/", "/echo", "/echo"}, {"/", "echo", "/echo"},
        {"", "echo", "/echo"},          {"/ec", "ho", "/ec/ho"}, {"/echo", "", "/echo"},
        {"/echo", "?q=1", "/echo?q=1"}, {"/a/", "/b", "/a/b"},   {"/a", "b:c://d", "/a/b:c://d"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char base[64], expected[64];

        snprintf(base, sizeof base, "http://127.0.0.1:%u%s", (unsigned) f->server.port,
                 cases[i][0]);
        reopen(f, &(uco_http_client_options){.base_url = base});
        uco_http_response_free(fetch(f, cases[i][1]));
        snprintf(expected, sizeof expected, "GET %s HTTP/1.1\r\n", cases[i][2]);
        ck_assert_msg(strncmp(f->server.last, expected, strlen(expected)) == 0, "%s: %s", expected,
                      f->server.last);
    }
}

START_TEST(a_url_without_scheme_is_appended_to_the_base)
{
    serve(get_joined);
}
END_TEST

static void
get_without_base(struct fixture *f)
{
    uco_http_client *client = uco_http_client_new(&(uco_http_client_options){.proxy = ""});
    uco_http_client *other = f->client;

    f->client = client;
    expect_error(f, "/bytes/1", -EINVAL);
    expect_error(f, "127.0.0.1", -EINVAL);
    expect_error(f, "", -EINVAL);
    expect_error(f, "file:///etc/passwd", -EINVAL);
    expect_error(f, "ftp://127.0.0.1/", -EINVAL);
    expect_error(f, "nonsense://127.0.0.1/", -EINVAL);
    expect_error(f, "http://", -EINVAL);
    expect_error(f, "http://127.0.0.1:99999/", -EINVAL);
    expect_error(f, "http://127.0.0.1/a b", -EINVAL);
    expect_error(f, "http://[::1/", -EINVAL);
    f->client = other;
    ck_assert_int_eq(uco_http_client_close(client), 0);
}

START_TEST(only_http_and_https_urls_are_taken)
{
    serve(get_without_base);
}
END_TEST

static void
get_with_password(struct fixture *f)
{
    char url[128];
    uco_http_response *response;

    snprintf(url, sizeof url, "http://user:secret@127.0.0.1:%u/short", (unsigned) f->server.port);
    ck_assert_int_eq(uco_http_get(f->client, url, &response), -EPROTO);
    ck_assert_ptr_null(strstr(uco_http_error(f->client), "secret"));
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "http://127.0.0.1"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nAuthorization: Basic "));
}

START_TEST(an_error_does_not_tell_the_password)
{
    serve(get_with_password);
}
END_TEST

/* --- redirects --- */

static void
get_redirected(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/redirect/20");
    char url[64];

    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(response->text, "there");
    snprintf(url, sizeof url, "http://127.0.0.1:%u/redirect/0", (unsigned) f->server.port);
    ck_assert_str_eq(response->url, url);
    ck_assert_ptr_null(uco_http_header(response, "Location"));
    uco_http_response_free(response);
    ck_assert_uint_eq(f->server.accepted, 1);
}

START_TEST(redirects_are_followed)
{
    serve(get_redirected);
}
END_TEST

static void
get_redirected_too_often(struct fixture *f)
{
    expect_text(f, "/redirect/3", "there");
    expect_error(f, "/redirect/4", -ELOOP);
    f->server.requests = 0;
    expect_error(f, "/loop", -ELOOP);
    ck_assert_uint_eq(f->server.requests, 4);
}

START_TEST(too_many_redirects_are_a_loop)
{
    serve_with(&(uco_http_client_options){.max_redirects = 3}, get_redirected_too_often);
}
END_TEST

static void
get_not_redirected(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/redirect/3");

    ck_assert_int_eq(response->status, 301);
    ck_assert_str_eq(response->text, "moved");
    ck_assert_str_eq(uco_http_header(response, "Location"), "2");
    uco_http_response_free(response);
}

START_TEST(redirects_can_be_left_alone)
{
    serve_with(&(uco_http_client_options){.max_redirects = -1}, get_not_redirected);
}
END_TEST

static void
get_redirected_astray(struct fixture *f)
{
    static const char *const urls[] = {"/to/file:///etc/passwd", "/to/ftp://127.0.0.1/",
                                       "/to/gopher://127.0.0.1:70/_x", "/to/http://"};

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response;

        ck_assert_int_eq(uco_http_get(f->client, urls[i], &response), -EINVAL);
        ck_assert_ptr_null(response);
    }
}

START_TEST(a_redirect_leads_to_http_or_nowhere)
{
    serve(get_redirected_astray);
}
END_TEST

static void
get_redirected_abroad(struct fixture *f)
{
    struct server other;
    char url[128];

    server_start(&other);
    snprintf(url, sizeof url, "/to/http://127.0.0.1:%u/echo", (unsigned) other.port);
    uco_http_response_free(fetch(f, url));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nAuthorization: Bearer secret\r\n"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nX-Plain: yes\r\n"));
    ck_assert_ptr_null(strstr(other.last, "secret"));
    ck_assert_ptr_nonnull(strstr(other.last, "\r\nX-Plain: yes\r\n"));
    uco_http_response_free(fetch(f, "/to//echo"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "secret"));
    server_stop(&other);
}

START_TEST(a_redirect_elsewhere_takes_no_secrets_along)
{
    static const char *const headers[] = {"authorization: none", "Authorization: Bearer secret",
                                          "X-Plain: yes", NULL};

    serve_with(&(uco_http_client_options){.headers = headers + 1}, get_redirected_abroad);
}
END_TEST

/* --- what is sent --- */

static void
get_echo(struct fixture *f)
{
    char agent[64];

    uco_http_response_free(fetch(f, "/echo"));
    snprintf(agent, sizeof agent, "\r\nUser-Agent: uco/%s\r\n", uco_version());
    ck_assert_ptr_nonnull(strstr(f->server.last, agent));
    ck_assert_ptr_nonnull(strstr(f->server.last, "gzip"));
    reopen(f, &(uco_http_client_options){.user_agent = "tester"});
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nUser-Agent: tester\r\n"));
}

START_TEST(the_user_agent_is_named)
{
    serve(get_echo);
}
END_TEST

static void
get_two_cookies(struct fixture *f)
{
    expect_text(f, "/cookie", "set");
    ck_assert_ptr_null(strstr(f->server.last, "Cookie:"));
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nCookie: taste=sweet\r\n"));
    reopen(f, &(uco_http_client_options){0});
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_ptr_null(strstr(f->server.last, "Cookie:"));
}

START_TEST(cookies_are_kept_as_long_as_the_client)
{
    serve(get_two_cookies);
}
END_TEST

static void
get_kept_cookies(struct fixture *f)
{
    uco_http_client_options options = f->options;

    expect_text(f, "/cookie", "set");
    reopen(f, &options);
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nCookie: taste=sweet\r\n"));
}

START_TEST(cookies_are_kept_in_a_file)
{
    char path[] = "/tmp/uco-cookies-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    close(fd);
    unlink(path);
    serve_with(&(uco_http_client_options){.cookie_file = path}, get_kept_cookies);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static intptr_t
close_with_bad_cookie_file(void *arg)
{
    uco_http_client_options options = {.proxy = "", .cookie_file = "/nowhere/at/all"};

    (void) arg;
    return uco_http_client_close(uco_http_client_new(&options));
}

START_TEST(cookies_that_cannot_be_written_are_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    ck_assert_int_eq(uco_run_with(&options, close_with_bad_cookie_file, NULL), 0);
    ck_assert_uint_eq(reports.count, 1);
    ck_assert_ptr_nonnull(strstr(reports.last, "/nowhere/at/all"));
}
END_TEST

static void
get_through_proxy(struct fixture *f)
{
    uco_http_client_options options = {.base_url = "http://somewhere.invalid"};
    char proxy[64];

    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", (unsigned) f->server.port);
    options.proxy = proxy;
    reopen(f, &options);
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_msg(strncmp(f->server.last, "GET http://somewhere.invalid/echo HTTP/1.1\r\n", 44) ==
                      0,
                  "%s", f->server.last);
}

START_TEST(a_proxy_is_asked_for_what_is_elsewhere)
{
    serve(get_through_proxy);
}
END_TEST

static void
get_through_environment(struct fixture *f)
{
    uco_http_client_options options = {.base_url = "http://somewhere.invalid", .proxy = ""};
    char proxy[64];

    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", (unsigned) f->server.port);
    setenv("http_proxy", proxy, 1);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    reopen(f, &options);
    expect_error(f, "/echo", -ENOENT);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    options.proxy = NULL;
    f->client = uco_http_client_new(&options);
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_uint_eq(f->server.requests, 1);
}

START_TEST(the_environments_proxy_is_used_unless_there_is_to_be_none)
{
    serve(get_through_environment);
}
END_TEST

/* --- clients, and their misuse --- */

static intptr_t
leave_client_open(void *arg)
{
    uco_http_client_options options = {.proxy = ""};

    *(int *) arg = __LINE__ + 1;
    uco_http_client_new(&options);
    return 0;
}

START_TEST(a_client_left_open_is_closed_and_reported)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char place[64];
    int line;

    ck_assert_int_eq(uco_run_with(&options, leave_client_open, &line), 0);
    ck_assert_uint_eq(reports.count, 1);
    snprintf(place, sizeof place, "test_http.c:%d ", line);
    ck_assert_msg(strstr(reports.last, place) != NULL, "'%s' does not name %s", reports.last,
                  place);
    ck_assert_ptr_nonnull(strstr(reports.last, "HTTP client"));
}
END_TEST

static void
forget_client_in_use(struct fixture *f)
{
    uco_http_client_options options = f->options;
    uco_http_client *forgotten = f->client;

    expect_bytes(f, "/bytes/10", 10);
    f->client = uco_http_client_new(&options);
    expect_bytes(f, "/bytes/10", 10);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    (void) forgotten;
    f->reports.count = 0;
}

static intptr_t
forget_run(void *arg)
{
    struct fixture *f = arg;
    char base_url[64];

    server_start(&f->server);
    snprintf(base_url, sizeof base_url, "http://127.0.0.1:%u", (unsigned) f->server.port);
    f->options = (uco_http_client_options){.base_url = base_url, .proxy = ""};
    f->client = uco_http_client_new(&f->options);
    forget_client_in_use(f);
    server_stop(&f->server);
    return 0;
}

START_TEST(a_client_left_open_has_its_connections_closed)
{
    struct fixture f = {0};
    uco_loop_options options = reporting(&f.reports);

    ck_assert_int_eq(uco_run_with(&options, forget_run, &f), 0);
    ck_assert_uint_eq(f.reports.count, 1);
}
END_TEST

START_TEST(a_client_needs_a_running_loop)
{
    errno = 0;
    ck_assert_ptr_null(uco_http_client_new(NULL));
    ck_assert_int_eq(errno, EPERM);
    ck_assert_ptr_null((uco_http_client_new) (NULL));
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(uco_http_client_close(NULL), 0);
    ck_assert_str_eq(uco_http_error(NULL), "");
}
END_TEST

static intptr_t
refuse_options(void *arg)
{
    static const char *const bad[] = {"no colon", NULL};
    static const char *const injected[] = {"X-A: b\r\nX-Injected: c", NULL};
    const uco_http_client_options wrong[] = {
        {.timeout = -1},          {.connect_timeout = NAN}, {.read_timeout = -UCO_FOREVER},
        {.pool_timeout = -0.1},   {.max_redirects = -2},    {.base_url = "/relative"},
        {.base_url = "file:///"}, {.headers = bad},         {.headers = injected},
    };
    const uco_http_client_options missing[] = {
        {.ca_file = "/nowhere"}, {.client_cert = "/nowhere"}, {.client_key = "/nowhere"}};

    (void) arg;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        ck_assert_ptr_null(uco_http_client_new(&wrong[i]));
        ck_assert_int_eq(errno, EINVAL);
    }
    for (size_t i = 0; i < COUNT(missing); i++) {
        ck_assert_ptr_null(uco_http_client_new(&missing[i]));
        ck_assert_int_eq(errno, ENOENT);
    }
    return 0;
}

START_TEST(options_are_checked)
{
    ck_assert_int_eq(run_real(refuse_options, NULL), 0);
}
END_TEST

static void
get_from_callback(void *arg)
{
    struct fixture *f = arg;
    uco_http_response *response = (uco_http_response *) (void *) f;

    ck_assert_int_eq(uco_http_get(f->client, "/late/0", &response), -EPERM);
    ck_assert_ptr_null(response);
    ck_assert_str_eq(uco_http_error(f->client), "");
}

static void
get_wrongly(struct fixture *f)
{
    uco_http_response *response = (uco_http_response *) (void *) f;

    uco_loop_call_soon(uco_get_running_loop(), get_from_callback, f);
    ck_assert_int_eq(uco_sleep(0.001), 0);
    ck_assert_int_eq(uco_http_get(NULL, "/late/0", &response), -EINVAL);
    ck_assert_ptr_null(response);
    ck_assert_int_eq(uco_http_get(f->client, NULL, &response), -EINVAL);
    ck_assert_int_eq(uco_http_get(f->client, "/late/0", NULL), -EINVAL);
    ck_assert_uint_eq(f->server.accepted, 0);
}

START_TEST(a_request_needs_a_coroutine_and_its_arguments)
{
    uco_http_response *response;

    ck_assert_int_eq(uco_http_get(NULL, "http://127.0.0.1/", &response), -EPERM);
    serve(get_wrongly);
}
END_TEST

static intptr_t
get_from_elsewhere(void *arg)
{
    struct fixture *f = arg;
    uco_http_response *response;

    ck_assert_int_eq(uco_http_get(f->client, "/late/0", &response), -EPERM);
    ck_assert_ptr_null(response);
    ck_assert_int_eq(uco_http_client_close(f->client), -EPERM);
    return 0;
}

static void
get_from_other_loop(struct fixture *f)
{
    uco_loop_thread *thread = uco_loop_thread_start(NULL);
    uco_task *task =
        uco_run_coroutine_threadsafe(uco_loop_thread_loop(thread), get_from_elsewhere, f);

    ck_assert_int_eq(uco_await(task), 0);
    uco_unref(task);
    uco_loop_thread_stop(thread);
    expect_text(f, "/late/0", "late");
}

START_TEST(another_loops_client_is_refused)
{
    serve(get_from_other_loop);
}
END_TEST

static void
get_error_words(struct fixture *f)
{
    expect_error(f, "/short", -EPROTO);
    expect_text(f, "/late/0", "late");
    ck_assert_str_eq(uco_http_error(f->client), "");
}

START_TEST(words_for_an_error_stay_until_the_next_request)
{
    serve(get_error_words);
}
END_TEST

static intptr_t
wait_for_ever(void *arg)
{
    uco_http_client_options options = {.base_url = arg, .proxy = ""};
    uco_http_client *client = uco_http_client_new(&options);
    uco_future *never = uco_future_new();
    uco_http_response *response;
    intptr_t r = uco_http_get(client, "/", &response);

    ck_assert_int_eq(r, -ECONNREFUSED);
    r = uco_await(never);
    uco_unref(never);
    uco_http_client_close(client);
    return r;
}

/* A client that has nothing to do is nothing that could wake anybody. */
START_TEST(an_idle_client_hides_no_deadlock)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);
    char url[64];

    if (under_sanitizer())
        return; /* some have a thread of their own, which might wake somebody */
    options.clock = UCO_CLOCK_REAL;
    snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned) free_port());
    ck_assert_int_eq(uco_run_with(&options, wait_for_ever, url), -EDEADLK);
    ck_assert_uint_eq(reports.count, 1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http");
    TCase *pages = case_new(suite, "pages");
    TCase *connections = case_new(suite, "connections");
    TCase *urls = case_new(suite, "URLs");
    TCase *redirects = case_new(suite, "redirects");
    TCase *sent = case_new(suite, "sent");
    TCase *clients = case_new(suite, "clients");

    tcase_add_test(pages, a_page_of_any_size_comes_whole);
    tcase_add_test(pages, an_empty_page_is_an_empty_string);
    tcase_add_test(pages, a_status_that_tells_of_an_error_is_a_response);
    tcase_add_test(pages, a_compressed_body_is_unpacked);
    tcase_add_test(pages, what_comes_before_the_answer_is_not_the_answer);
    tcase_add_test(pages, headers_are_found_whatever_their_case);
    tcase_add_test(pages, a_body_longer_than_announced_is_cut_and_its_connection_closed);
    tcase_add_test(pages, freeing_no_response_is_fine);
    tcase_add_test(connections, a_connection_is_kept_for_the_next_request);
    tcase_add_test(connections, a_connection_that_the_server_closed_is_replaced);
    tcase_add_test(connections, closing_the_client_closes_its_connections);
    tcase_add_test(connections, a_hundred_pages_come_at_once);
    tcase_add_test(connections, a_server_in_the_same_loop_can_have_a_virtual_clock);
    tcase_add_test(urls, an_absolute_url_goes_past_the_base);
    tcase_add_test(urls, a_url_without_scheme_is_appended_to_the_base);
    tcase_add_test(urls, only_http_and_https_urls_are_taken);
    tcase_add_test(urls, an_error_does_not_tell_the_password);
    tcase_add_test(redirects, redirects_are_followed);
    tcase_add_test(redirects, too_many_redirects_are_a_loop);
    tcase_add_test(redirects, redirects_can_be_left_alone);
    tcase_add_test(redirects, a_redirect_leads_to_http_or_nowhere);
    tcase_add_test(redirects, a_redirect_elsewhere_takes_no_secrets_along);
    tcase_add_test(sent, the_user_agent_is_named);
    tcase_add_test(sent, cookies_are_kept_as_long_as_the_client);
    tcase_add_test(sent, cookies_are_kept_in_a_file);
    tcase_add_test(sent, cookies_that_cannot_be_written_are_reported);
    tcase_add_test(sent, a_proxy_is_asked_for_what_is_elsewhere);
    tcase_add_test(sent, the_environments_proxy_is_used_unless_there_is_to_be_none);
    tcase_add_test(clients, a_client_left_open_is_closed_and_reported);
    tcase_add_test(clients, a_client_left_open_has_its_connections_closed);
    tcase_add_test(clients, a_client_needs_a_running_loop);
    tcase_add_test(clients, options_are_checked);
    tcase_add_test(clients, a_request_needs_a_coroutine_and_its_arguments);
    tcase_add_test(clients, another_loops_client_is_refused);
    tcase_add_test(clients, words_for_an_error_stay_until_the_next_request);
    tcase_add_test(clients, an_idle_client_hides_no_deadlock);
    return suite_end(suite);
}
