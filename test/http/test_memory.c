/* SPDX-License-Identifier: MIT */
/*
 * Without memory: each allocation of a client's life fails in turn, uco's and curl's. The result is
 * the right one or -ENOMEM, and nothing is left over (the sanitizers look).
 */
#include "fixture.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define MOST 3000 /* more allocations than anything here makes */

static const char *const urls[] = {"/bytes/5000", "/redirect/1", "/gzip", "/nowhere"};

/* Whether anything failed. */
static bool
try_all(struct fixture *f)
{
    bool failed = false;

    for (size_t i = 0; i < COUNT(urls); i++) {
        uco_http_response *response = (uco_http_response *) (void *) f;
        int r = uco_http_get(f->client, urls[i], &response);

        ck_assert_msg(r == 0 || r == -ENOMEM, "%s: %d, %s", urls[i], r, uco_http_error(f->client));
        failed |= r < 0;
        if (r < 0)
            ck_assert_ptr_null(response);
        uco_http_response_free(response);
    }
    return failed;
}

/* The server allocates too, for a connection; so let one stand before anything fails. */
static void
warm_up(struct fixture *f)
{
    ck_assert(!try_all(f));
}

static void
fail_each_of_ours(struct fixture *f)
{
    unsigned long nth = 0;
    bool failed;

    do {
        warm_up(f);
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        failed = try_all(f);
        uco_test_fail_off();
        ck_assert_uint_lt(nth, MOST);
    } while (failed);
    ck_assert_uint_gt(nth, 10);
    warm_up(f);
}

START_TEST(a_request_without_memory_fails_and_the_next_one_works)
{
    serve(fail_each_of_ours);
}
END_TEST

static void
fail_all_of_ours(struct fixture *f)
{
    warm_up(f);
    for (unsigned long nth = 1; nth < 30; nth++) {
        uco_http_response *response;

        ck_assert_int_eq(uco_test_fail("malloc", nth, true, ENOMEM), 0);
        if (uco_http_get(f->client, urls[nth % COUNT(urls)], &response) == 0)
            uco_http_response_free(response);
        uco_test_fail_off();
    }
    warm_up(f);
}

START_TEST(a_client_survives_when_there_is_no_memory_at_all)
{
    serve(fail_all_of_ours);
}
END_TEST

static void
fail_each_of_new(struct fixture *f)
{
    static const char *const headers[] = {"X-One: 1", "X-Two: 2", NULL};
    uco_http_client_options options = f->options;
    unsigned long nth = 0;
    uco_http_client *client;

    options.headers = headers;
    options.user_agent = "tester";
    do {
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        errno = 0;
        client = uco_http_client_new(&options);
        uco_test_fail_off();
        if (client == NULL)
            ck_assert_int_eq(errno, ENOMEM);
        ck_assert_uint_lt(nth, MOST);
    } while (client == NULL);
    ck_assert_uint_gt(nth, 3);
    ck_assert_int_eq(uco_http_client_close(client), 0);
}

START_TEST(a_client_without_memory_is_no_client)
{
    serve(fail_each_of_new);
}
END_TEST

/* --- curl's own allocations --- */

static unsigned long countdown; /* 0: none fails */

static bool
refused(void)
{
    return countdown != 0 && --countdown == 0;
}

static void *
curl_malloc(size_t size)
{
    return refused() ? NULL : malloc(size);
}

static void *
curl_realloc(void *block, size_t size)
{
    return refused() ? NULL : realloc(block, size);
}

static char *
curl_strdup(const char *text)
{
    return refused() ? NULL : strdup(text);
}

static void *
curl_calloc(size_t count, size_t size)
{
    return refused() ? NULL : calloc(count, size);
}

/* The first to call it decides; the client's own call then changes nothing. */
static void
curl_memory_begin(void)
{
    ck_assert_int_eq(curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, free, curl_realloc,
                                          curl_strdup, curl_calloc),
                     CURLE_OK);
}

static bool
get_once(struct fixture *f, const char *url)
{
    uco_http_response *response = (uco_http_response *) (void *) f;
    int r = uco_http_get(f->client, url, &response);

    if (r < 0)
        ck_assert_ptr_null(response);
    uco_http_response_free(response);
    return r == 0;
}

/* With a connection that stands, and from the beginning. What curl gives for want of memory is
 * mostly -ENOMEM, but not always: it takes some for the server's failure. */
static void
fail_each_of_curls(struct fixture *f)
{
    const uco_http_client_options options = f->options;

    for (size_t i = 0; i < 2 * COUNT(urls); i++) {
        unsigned long nth = 0, left;

        do {
            if (i % 2 == 0)
                reopen(f, &options);
            countdown = ++nth;
            get_once(f, urls[i / 2]);
            left = countdown;
            countdown = 0;
            ck_assert_uint_lt(nth, MOST);
        } while (left == 0);
        ck_assert(get_once(f, urls[i / 2]));
    }
}

START_TEST(curl_without_memory_fails_a_request_and_the_next_one_works)
{
    curl_memory_begin();
    serve_with(&(uco_http_client_options){.timeout = 1.0}, fail_each_of_curls);
    curl_global_cleanup();
}
END_TEST

/* libcurl has the header with the password ready, then lacks memory for what comes behind it, and
 * keeps the header. */
static void
fail_each_of_a_login(struct fixture *f)
{
    const uco_http_request_options request = {.url = "/echo", .user = "user", .password = "secret"};
    unsigned long nth = 0, left;

    uco_http_response_free(ask(f, &request));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nAuthorization: Basic "));
    do {
        uco_http_response *response = NULL;

        countdown = ++nth;
        (void) uco_http_request(f->client, &request, &response);
        left = countdown;
        countdown = 0;
        uco_http_response_free(response);
        uco_http_response_free(fetch(f, "/echo"));
        ck_assert_ptr_null(strstr(f->server.last, "\r\nAuthorization:"));
        ck_assert_uint_lt(nth, MOST);
    } while (left == 0);
}

START_TEST(a_password_that_was_not_sent_for_want_of_memory_is_not_sent_later)
{
    curl_memory_begin();
    serve_with(&(uco_http_client_options){.timeout = 1.0}, fail_each_of_a_login);
    curl_global_cleanup();
}
END_TEST

static void
fail_each_of_curls_new(struct fixture *f)
{
    uco_http_client_options options = f->options;
    unsigned long nth = 0;
    uco_http_client *client;

    do {
        countdown = ++nth;
        errno = 0;
        client = uco_http_client_new(&options);
        countdown = 0;
        if (client == NULL)
            ck_assert_int_eq(errno, ENOMEM);
        ck_assert_uint_lt(nth, MOST);
    } while (client == NULL);
    ck_assert_int_eq(uco_http_client_close(client), 0);
}

START_TEST(curl_without_memory_is_no_client)
{
    curl_memory_begin();
    serve(fail_each_of_curls_new);
    curl_global_cleanup();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http memory");
    TCase *ours = case_new(suite, "ours");
    TCase *curls = case_new(suite, "curl's");

    tcase_add_test(ours, a_request_without_memory_fails_and_the_next_one_works);
    tcase_add_test(ours, a_client_survives_when_there_is_no_memory_at_all);
    tcase_add_test(ours, a_client_without_memory_is_no_client);
    tcase_add_test(curls, curl_without_memory_fails_a_request_and_the_next_one_works);
    tcase_add_test(curls, a_password_that_was_not_sent_for_want_of_memory_is_not_sent_later);
    tcase_add_test(curls, curl_without_memory_is_no_client);
    return suite_end(suite);
}
