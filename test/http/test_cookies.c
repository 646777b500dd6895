/* SPDX-License-Identifier: MIT */
/* Cookies: where they are sent, and how the user sees them. */
#include "fixture.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names that all lead to the test's server. */
static const char *const hosts[] = {
    "example.org:*:127.0.0.1",   "a.example.org:*:127.0.0.1",
    "b.example.org:*:127.0.0.1", "x.a.example.org:*:127.0.0.1",
    "other.org:*:127.0.0.1",     "shop.co.uk:*:127.0.0.1",
    "a.test:*:127.0.0.1",        NULL,
};

#define OPTIONS(...) (&(uco_http_client_options){.addresses = hosts, __VA_ARGS__})

static const char *
url_at(const struct fixture *f, const char *host, const char *path)
{
    static char url[128];

    snprintf(url, sizeof url, "http://%s:%u%s", host, (unsigned) f->server.port, path);
    return url;
}

/* A page of the host's sets this cookie. */
static void
set_by(struct fixture *f, const char *host, const char *cookie)
{
    static char answer[6000];

    snprintf(answer, sizeof answer,
             "HTTP/1.1 200 OK\r\nSet-Cookie: %s\r\nContent-Length: 2\r\n\r\nok", cookie);
    f->server.raw = answer;
    f->server.raw_size = 0;
    expect_text(f, url_at(f, host, "/raw"), "ok");
}

static int
compare(const void *one, const void *other)
{
    return strcmp(*(char *const *) one, *(char *const *) other);
}

/* What is sent with a page of the host's, sorted; "" = nothing. */
static const char *
sent_to(struct fixture *f, const char *host, const char *path)
{
    static char text[256];
    char copy[256], *cookies[8], *rest = NULL;
    size_t count = 0;
    const char *found;

    uco_http_response_free(fetch(f, url_at(f, host, path)));
    found = strstr(f->server.last, "\r\nCookie: ");
    text[0] = '\0';
    if (found == NULL)
        return text;
    snprintf(copy, sizeof copy, "%.*s", (int) strcspn(found + 10, "\r"), found + 10);
    for (char *each = strtok_r(copy, "; ", &rest); each != NULL; each = strtok_r(NULL, "; ", &rest))
        cookies[count++] = each;
    qsort(cookies, count, sizeof cookies[0], compare);
    for (size_t i = 0; i < count; i++) {
        strcat(text, i > 0 ? "; " : "");
        strcat(text, cookies[i]);
    }
    return text;
}

/* --- where they are sent --- */

static void
send_back(struct fixture *f)
{
    expect_text(f, "/cookie", "set");
    ck_assert(!was_sent(f, "Cookie: taste=sweet"));
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert(was_sent(f, "Cookie: taste=sweet"));
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "");
}

START_TEST(a_cookie_is_sent_back)
{
    serve_with(OPTIONS(0), send_back);
}
END_TEST

static void
send_to_hosts(struct fixture *f)
{
    set_by(f, "a.example.org", "own=1");
    set_by(f, "a.example.org", "all=2; Domain=example.org");
    ck_assert_str_eq(sent_to(f, "a.example.org", "/"), "all=2; own=1");
    ck_assert_str_eq(sent_to(f, "b.example.org", "/"), "all=2");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "all=2");
    ck_assert_str_eq(sent_to(f, "x.a.example.org", "/"), "all=2");
    ck_assert_str_eq(sent_to(f, "other.org", "/"), "");
    ck_assert_str_eq(sent_to(f, "127.0.0.1", "/"), "");
}

START_TEST(a_cookie_is_its_hosts_or_its_domains)
{
    serve_with(OPTIONS(0), send_to_hosts);
}
END_TEST

static void
send_to_paths(struct fixture *f)
{
    set_by(f, "example.org", "deep=1; Path=/deep");
    ck_assert_str_eq(sent_to(f, "example.org", "/deep"), "deep=1");
    ck_assert_str_eq(sent_to(f, "example.org", "/deep/er"), "deep=1");
    ck_assert_str_eq(sent_to(f, "example.org", "/deeper"), "");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "");
}

START_TEST(a_cookie_is_its_paths)
{
    serve_with(OPTIONS(0), send_to_paths);
}
END_TEST

static void
send_until_over(struct fixture *f)
{
    set_by(f, "example.org", "a=1; Max-Age=1000");
    set_by(f, "example.org", "b=2; Expires=Fri, 01 Jan 2100 00:00:00 GMT");
    set_by(f, "example.org", "c=3; Expires=Fri, 01 Jan 2010 00:00:00 GMT");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "a=1; b=2");
    set_by(f, "example.org", "a=; Max-Age=0");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "b=2");
    set_by(f, "example.org", "b=; Expires=Fri, 01 Jan 2010 00:00:00 GMT");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "");
}

START_TEST(a_cookie_ends_when_its_time_is_over)
{
    serve_with(OPTIONS(0), send_until_over);
}
END_TEST

static void
send_secure(struct fixture *f)
{
    set_by(f, "example.org", "stolen=1; Secure");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "");
    ck_assert_int_eq(uco_http_cookie_set(f->client, "s=1; domain=example.org; secure"), 0);
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "");
    set_by(f, "example.org", "s=overlaid; Domain=example.org");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "");
}

START_TEST(a_secure_cookie_is_neither_sent_nor_set_without_tls)
{
    serve_with(OPTIONS(0), send_secure);
}
END_TEST

static void
refuse_domains(struct fixture *f)
{
    char *jar;

    set_by(f, "a.example.org", "other=1; Domain=other.org");
    set_by(f, "a.example.org", "sibling=1; Domain=b.example.org");
    set_by(f, "a.example.org", "below=1; Domain=x.a.example.org");
    if ((curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_PSL) != 0) {
        set_by(f, "shop.co.uk", "uk=1; Domain=co.uk");
        set_by(f, "a.example.org", "org=1; Domain=org");
        set_by(f, "a.example.org", "dot=1; Domain=.org");
    } else {
        test_skipped("this libcurl has no list of public suffixes");
    }
    jar = uco_http_cookies(f->client);
    ck_assert_str_eq(jar, "");
    free(jar);
}

START_TEST(a_host_sets_no_cookies_for_others)
{
    serve_with(OPTIONS(0), refuse_domains);
}
END_TEST

static void
keep_none(struct fixture *f)
{
    char *jar;

    expect_text(f, "/cookie", "set");
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert_ptr_null(strstr(f->server.last, "\r\nCookie:"));
    ck_assert_int_eq(uco_http_cookie_set(f->client, "a=1; domain=example.org"), -EINVAL);
    ck_assert_int_eq(uco_http_cookies_clear(f->client), 0);
    jar = uco_http_cookies(f->client);
    ck_assert_str_eq(jar, "");
    free(jar);
}

START_TEST(a_client_may_do_without)
{
    serve_with(OPTIONS(.no_cookies = true), keep_none);
}
END_TEST

static void
keep_apart(struct fixture *f)
{
    uco_http_client *other = uco_http_client_new(&f->options);
    char *jar;

    ck_assert_ptr_nonnull(other);
    expect_text(f, "/cookie", "set");
    jar = uco_http_cookies(other);
    ck_assert_str_eq(jar, "");
    free(jar);
    ck_assert_int_eq(uco_http_client_close(other), 0);
}

START_TEST(each_client_has_a_jar_of_its_own)
{
    serve_with(OPTIONS(0), keep_apart);
}
END_TEST

/* --- the user's calls --- */

static void
expect_jar(struct fixture *f, const char *expected)
{
    char *jar = uco_http_cookies(f->client);

    ck_assert_ptr_nonnull(jar);
    ck_assert_str_eq(jar, expected);
    free(jar);
}

static void
set_by_hand(struct fixture *f)
{
    expect_jar(f, "");
    ck_assert_int_eq(uco_http_cookie_set(f->client, "a=1; domain=example.org; path=/"), 0);
    expect_jar(f, ".example.org\tTRUE\t/\tFALSE\t0\ta\t1\n");
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "a=1");
    ck_assert_int_eq(uco_http_cookie_set(f->client, " a = 2 ;Domain=.Example.org;path=/"), 0);
    ck_assert_str_eq(sent_to(f, "b.example.org", "/"), "a=2");
    ck_assert_int_eq(uco_http_cookie_set(f->client, "b=3; domain=127.0.0.1; path=/deep; httponly"),
                     0);
    ck_assert_str_eq(sent_to(f, "127.0.0.1", "/deep"), "b=3");
    ck_assert_int_eq(uco_http_cookie_set(f->client, "a=; domain=example.org; path=/; max-age=0"),
                     0);
    expect_jar(f, "#HttpOnly_127.0.0.1\tFALSE\t/deep\tFALSE\t0\tb\t3\n");
    ck_assert_int_eq(uco_http_cookie_set(f->client, "c=; domain=example.org"), 0);
    ck_assert_str_eq(sent_to(f, "example.org", "/"), "c=");
    ck_assert_int_eq(uco_http_cookies_clear(f->client), 0);
    expect_jar(f, "");
    ck_assert_str_eq(sent_to(f, "127.0.0.1", "/deep"), "");
    ck_assert_int_eq(uco_http_cookies_clear(f->client), 0);
}

START_TEST(a_cookie_is_set_by_hand)
{
    serve_with(OPTIONS(0), set_by_hand);
}
END_TEST

static void
set_badly(struct fixture *f)
{
    static const char *const bad[] = {
        "",
        ";",
        "a",
        "a; domain=example.org",
        "=1; domain=example.org",
        " =1; domain=example.org",
        "a=1",
        "a=1;",
        "a=1; domain",
        "a=1; domain=",
        "a=1; domain= ",
        "a=1; domain=.",
        "a=1; path=/",
        "a=1\tb; domain=example.org",
        "a=1; domain=example.org\r\nX: y",
        "a=\x01; domain=example.org",
        "a=\x7f; domain=example.org",
        "__Secure-a=1; domain=example.org",
        "__Host-a=1; domain=example.org; secure; path=/",
    };
    char large[5000] = "a=";

    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(uco_http_cookie_set(f->client, bad[i]) == -EINVAL, "'%s'", bad[i]);
    memset(large + 2, 'x', 4500);
    strcpy(large + 4502, "; domain=example.org");
    ck_assert_int_eq(uco_http_cookie_set(f->client, large), -EINVAL);
    ck_assert_int_eq(uco_http_cookie_set(f->client, NULL), -EINVAL);
    ck_assert_int_eq(uco_http_cookie_set(NULL, "a=1; domain=example.org"), -EINVAL);
    ck_assert_int_eq(uco_http_cookies_clear(NULL), -EINVAL);
    ck_assert_ptr_null(uco_http_cookies(NULL));
    ck_assert_int_eq(errno, EINVAL);
    expect_jar(f, "");
}

/* One of so many bytes. */
static int
set_large(struct fixture *f, size_t size)
{
    static const char domain[] = "; domain=a.test";
    char cookie[5000] = "a=";

    memset(cookie + 2, 'x', sizeof cookie - 2);
    strcpy(cookie + size - strlen(domain), domain);
    return uco_http_cookie_set(f->client, cookie);
}

static void
set_badly_again(struct fixture *f)
{
    ck_assert_int_eq(uco_http_cookie_set(f->client, "__Secure-a=1; domain=a.test; secure"), 0);
    ck_assert_int_eq(uco_http_cookie_set(f->client, "__Secure-a=2; domain=a.test"), -EINVAL);
    ck_assert_int_eq(uco_http_cookie_set(f->client, "a=1; domain=a.test"), 0);
    ck_assert_int_eq(set_large(f, 4001), -EINVAL);
    ck_assert_int_eq(set_large(f, 4999), -EINVAL);
    ck_assert_str_eq(sent_to(f, "a.test", "/"), "a=1");
    ck_assert_int_eq(set_large(f, 4000), 0);
}

START_TEST(what_is_no_cookie_replaces_none)
{
    serve_with(OPTIONS(0), set_badly_again);
}
END_TEST

START_TEST(what_is_no_cookie_is_not_set)
{
    serve_with(OPTIONS(0), set_badly);
}
END_TEST

static void *
use_elsewhere(void *client)
{
    ck_assert_int_eq(uco_http_cookie_set(client, "a=1; domain=example.org"), -EPERM);
    ck_assert_int_eq(uco_http_cookies_clear(client), -EPERM);
    ck_assert_ptr_null(uco_http_cookies(client));
    ck_assert_int_eq(errno, EPERM);
    return NULL;
}

static intptr_t
use_in_thread(void *client)
{
    use_elsewhere(client);
    return 0;
}

static void
set_elsewhere(struct fixture *f)
{
    ck_assert_int_eq(uco_to_thread(use_in_thread, f->client), 0);
    expect_jar(f, "");
}

START_TEST(a_jar_belongs_to_its_loop)
{
    serve_with(OPTIONS(0), set_elsewhere);
}
END_TEST

static void
list_without_memory(struct fixture *f)
{
    unsigned long nth = 0;
    char *jar;

    ck_assert_int_eq(uco_http_cookie_set(f->client, "a=1; domain=example.org"), 0);
    do {
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        jar = uco_http_cookies(f->client);
        uco_test_fail_off();
        if (jar == NULL)
            ck_assert_int_eq(errno, ENOMEM);
    } while (jar == NULL);
    ck_assert_uint_gt(nth, 1);
    free(jar);
    ck_assert_int_eq(uco_test_fail("malloc", 1, false, ENOMEM), 0);
    ck_assert_int_eq(uco_http_cookie_set(f->client, "b=1; domain=example.org"), -ENOMEM);
    uco_test_fail_off();
}

START_TEST(without_memory_there_is_no_list)
{
    serve_with(OPTIONS(0), list_without_memory);
}
END_TEST

/* libcurl before 8.21 keeps the name in the handle, which the next request has. */
static void
name_another_host(struct fixture *f)
{
    const char *const headers[] = {"Host: other.org", NULL};
    const uco_http_request_options request = {.url = url_at(f, "example.org", "/echo"),
                                              .headers = headers};
    char answer[160];

    reopen(f, OPTIONS(0));
    set_by(f, "other.org", "own=secret");
    uco_http_response_free(ask(f, &request));
    ck_assert(was_sent(f, "Host: other.org"));
    ck_assert_str_eq(sent_to(f, "example.org", "/echo"), "");
    ck_assert_str_eq(sent_to(f, "other.org", "/echo"), "own=secret");
    reopen(f, OPTIONS(.headers = headers));
    set_by(f, "other.org", "own=secret");
    snprintf(answer, sizeof answer,
             "HTTP/1.1 302 Found\r\nLocation: http://b.example.org:%u/echo\r\n"
             "Content-Length: 0\r\n\r\n",
             (unsigned) f->server.port);
    f->server.raw = answer;
    uco_http_response_free(fetch(f, url_at(f, "example.org", "/raw")));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nHost: b.example.org:"));
    ck_assert_ptr_null(strstr(f->server.last, "\r\nCookie:"));
}

START_TEST(a_host_header_names_the_cookies_of_its_own_request_only)
{
    serve(name_another_host);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http cookies");
    TCase *places = case_new(suite, "places");
    TCase *calls = case_new(suite, "calls");

    tcase_add_test(places, a_cookie_is_sent_back);
    tcase_add_test(places, a_cookie_is_its_hosts_or_its_domains);
    tcase_add_test(places, a_cookie_is_its_paths);
    tcase_add_test(places, a_cookie_ends_when_its_time_is_over);
    tcase_add_test(places, a_secure_cookie_is_neither_sent_nor_set_without_tls);
    tcase_add_test(places, a_host_sets_no_cookies_for_others);
    tcase_add_test(places, a_host_header_names_the_cookies_of_its_own_request_only);
    tcase_add_test(places, a_client_may_do_without);
    tcase_add_test(places, each_client_has_a_jar_of_its_own);
    tcase_add_test(calls, a_cookie_is_set_by_hand);
    tcase_add_test(calls, what_is_no_cookie_is_not_set);
    tcase_add_test(calls, what_is_no_cookie_replaces_none);
    tcase_add_test(calls, a_jar_belongs_to_its_loop);
    tcase_add_test(calls, without_memory_there_is_no_list);
    return suite_end(suite);
}
