/* SPDX-License-Identifier: MIT */
/* What a dump tells of HTTP requests: method, URL and phase. */
#include "fixture.h"

#include "../support/dumped.h"

static const char *
settled_line(const char *name)
{
    static char line[1024];

    ck_assert_int_eq(uco_test_settle(), 0);
    snprintf(line, sizeof line, "%s", dumped_line(dumped(uco_get_running_loop()), name));
    return line;
}

/* Until the dump says so of the task. */
static void
until_told(const char *name, const char *what)
{
    while (strstr(settled_line(name), what) == NULL)
        ck_assert_int_eq(uco_sleep(0.002), 0);
}

static void
cancelled(uco_task *task)
{
    uco_cancel(task);
    uco_join(task);
}

static void
stall(struct fixture *f)
{
    struct visit v = {f, "/stall?token=secret"};
    uco_task *task = named("visitor", visit, &v);
    const char *line;

    until_told("visitor", "the request is sent");
    line = settled_line("visitor");
    ck_assert_tells(line, "waits for the HTTP response to GET http://127.0.0.1:");
    ck_assert_tells(line, "/stall, the request is sent; since ");
    ck_assert_tells_not(line, "secret");
    cancelled(task);
}

START_TEST(a_request_that_is_not_answered)
{
    serve(stall);
}
END_TEST

/* As it is allowed to be, and as curl takes it, too; the last one is longer than what is read of it.
 */
static void
stall_with_logins(struct fixture *f)
{
    static const char *const logins[] = {"http://me:secret", "http:///me:secret",
                                         "http://me:secret"};
    char filler[600], url[800];

    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    for (size_t i = 0; i < COUNT(logins); i++) {
        struct visit v = {f, url};
        uco_task *task;

        snprintf(url, sizeof url, "%s%s@%s/stall", logins[i], i < 2 ? "" : filler,
                 f->base_url + strlen("http://"));
        task = named("visitor", visit, &v);
        until_told("visitor", "the request is sent");
        ck_assert_tells_not(settled_line("visitor"), "secret");
        ck_assert_tells(settled_line("visitor"), i < 2 ? "127.0.0.1:" : "a URL too long");
        cancelled(task);
    }
}

START_TEST(a_password_is_not_told)
{
    serve(stall_with_logins);
}
END_TEST

static intptr_t
reads_a_stream(void *response)
{
    char bytes[100];
    ssize_t n;

    do
        n = uco_http_read(response, bytes, sizeof bytes);
    while (n > 0);
    return n;
}

static void
stall_in_the_body(struct fixture *f)
{
    uco_http_response *response = open_stream(f, "/stallbody");
    uco_task *task = named("reader", reads_a_stream, response);

    until_told("reader", "receiving the body: 10 bytes so far");
    ck_assert_tells(settled_line("reader"), "waits for more of the HTTP response to GET http://");
    cancelled(task);
    uco_http_response_free(response);
}

START_TEST(a_body_that_does_not_go_on)
{
    serve(stall_in_the_body);
}
END_TEST

static void
wait_for_a_connection(struct fixture *f)
{
    struct visit v = {f, "/stall"};
    uco_task *first = named("first", visit, &v);
    uco_task *second;

    until_told("first", "the request is sent");
    second = named("second", visit, &v);
    until_told("second", "waits for a free HTTP connection to 127.0.0.1:");
    cancelled(second);
    cancelled(first);
}

START_TEST(a_request_whose_turn_has_not_come)
{
    serve_with(&(uco_http_client_options){.max_connections = 1}, wait_for_a_connection);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dump");
    TCase *requests = case_new(suite, "requests");

    tcase_add_test(requests, a_request_that_is_not_answered);
    tcase_add_test(requests, a_password_is_not_told);
    tcase_add_test(requests, a_body_that_does_not_go_on);
    tcase_add_test(requests, a_request_whose_turn_has_not_come);
    return suite_end(suite);
}
