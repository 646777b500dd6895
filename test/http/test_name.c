/* SPDX-License-Identifier: MIT */
/*
 * Host names. This program has a getaddrinfo() of its own, which the library and curl call: under
 * .test, names are what their first label says. "local" is 127.0.0.1, "both" has a dead address
 * before it, "slow" takes a moment, "never" does not come back before the test says so.
 */
#include "fixture.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static atomic_uint lookups;
static atomic_bool released;

static void
pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static struct addrinfo *
address_new(const char *text, const char *port, struct addrinfo *next)
{
    struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
    struct sockaddr_in *address = (struct sockaddr_in *) (void *) (info + 1);

    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t) (port != NULL ? atoi(port) : 0));
    inet_pton(AF_INET, text, &address->sin_addr);
    *info = (struct addrinfo){
        .ai_family = AF_INET,
        .ai_socktype = SOCK_STREAM,
        .ai_protocol = IPPROTO_TCP,
        .ai_addrlen = sizeof *address,
        .ai_addr = (struct sockaddr *) address,
        .ai_next = next,
    };
    return info;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    *result = NULL;
    if (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0) {
        struct in_addr address;

        if (node == NULL || inet_pton(AF_INET, node, &address) != 1)
            return EAI_NONAME;
        *result = address_new(node, service, NULL);
        return 0;
    }
    atomic_fetch_add(&lookups, 1);
    if (strncmp(node, "slow.", 5) == 0) {
        for (int i = 0; i < 30; i++)
            pause_briefly();
    }
    while (strncmp(node, "never.", 6) == 0 && !atomic_load(&released))
        pause_briefly();
    if (strncmp(node, "busy.", 5) == 0)
        return EAI_AGAIN;
    if (strstr(node, ".test") == NULL || strncmp(node, "unknown.", 8) == 0)
        return EAI_NONAME;
    *result = address_new("127.0.0.1", service, NULL);
    if (strncmp(node, "both.", 5) == 0)
        *result = address_new("127.0.0.9", service, *result);
    return 0;
}

void
freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

static char *
named(struct fixture *f, const char *host, const char *path)
{
    static char url[128];

    snprintf(url, sizeof url, "http://%s:%u%s", host, (unsigned) f->server.port, path);
    return url;
}

static void
get_named(struct fixture *f)
{
    uco_http_response *response = fetch(f, named(f, "Local.Test", "/echo"));

    ck_assert_str_eq(response->url, named(f, "Local.Test", "/echo"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nHost: Local.Test:"));
    uco_http_response_free(response);
    ck_assert_uint_eq(atomic_load(&lookups), 1);
}

START_TEST(a_name_leads_to_its_address)
{
    serve(get_named);
}
END_TEST

static void
get_named_again(struct fixture *f)
{
    for (int i = 0; i < 5; i++)
        expect_text(f, named(f, "local.test", "/leave"), "left");
    ck_assert_uint_eq(f->server.accepted, 5);
    ck_assert_uint_eq(atomic_load(&lookups), 1);
}

START_TEST(a_name_is_remembered_for_a_while)
{
    serve(get_named_again);
}
END_TEST

#define MANY 100

static void
get_many_named(struct fixture *f)
{
    struct visit v = {f, named(f, "slow.test", "/late/0")};
    uco_task *tasks[MANY];

    for (int i = 0; i < MANY; i++)
        tasks[i] = uco_create_task(visit, &v);
    ck_assert_int_eq(uco_gather(tasks, MANY, NULL), 0);
    uco_unref_all(tasks, MANY);
    ck_assert_uint_eq(f->server.requests, MANY);
    ck_assert_uint_eq(atomic_load(&lookups), 1);
}

START_TEST(a_hundred_requests_ask_for_a_name_once)
{
    serve_with(&(uco_http_client_options){.max_per_host = MANY}, get_many_named);
}
END_TEST

static void
get_both(struct fixture *f)
{
    expect_text(f, named(f, "both.test", "/late/0"), "late");
}

START_TEST(a_dead_address_is_passed_over)
{
    serve(get_both);
}
END_TEST

static void
get_unknown(struct fixture *f)
{
    expect_error(f, named(f, "unknown.test", "/"), -ENOENT);
    expect_error(f, named(f, "unknown.test", "/"), -ENOENT);
    ck_assert_uint_eq(atomic_load(&lookups), 2);
    expect_error(f, named(f, "busy.test", "/"), -EAGAIN);
    expect_text(f, "/late/0", "late");
}

START_TEST(an_unknown_name_is_an_error)
{
    serve(get_unknown);
}
END_TEST

static void
get_known_to_nobody(struct fixture *f)
{
    char endless[300];

    expect_error(f, "http://invalid/", -ENOENT);
    atomic_store(&lookups, 0);
    expect_error(f, "http://some.host.invalid/", -ENOENT);
    expect_error(f, "http://some.host.INVALID./", -ENOENT);
    expect_error(f, "https://some.host.invalid/", -ENOENT);
    expect_text(f, "/late/0", "late");
    expect_text(f, named(f, "localhost", "/late/0"), "late");
    expect_text(f, named(f, "any.localhost", "/late/0"), "late");
    expect_text(f, named(f, "LocalHost.", "/late/0"), "late");
    expect_text(f, named(f, "any.localhost.", "/late/0"), "late");
    expect_error(f, "http://[::1]:1/", -ECONNREFUSED);
    snprintf(endless, sizeof endless, "http://%0260d.localhost/", 0);
    expect_error(f, endless, -ENOENT);
    snprintf(endless, sizeof endless, "http://%0260d.test/", 0);
    expect_error(f, endless, -ENOENT);
    ck_assert_uint_eq(atomic_load(&lookups), 0);
}

START_TEST(nobody_is_asked_what_is_known)
{
    serve(get_known_to_nobody);
}
END_TEST

static intptr_t
get_never(void *arg)
{
    struct fixture *f = arg;
    uco_http_response *response;

    return uco_http_get(f->client, "http://never.test/", &response);
}

static void
cancel_lookup(struct fixture *f)
{
    double began = real_time();

    ck_assert_int_eq(uco_with_timeout(0.02, get_never, f), -ETIMEDOUT);
    ck_assert(real_time() - began < 5);
    expect_text(f, "/late/0", "late");
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert(real_time() - began < 5);
    atomic_store(&released, true);
}

START_TEST(a_lookup_that_does_not_come_back_keeps_nobody)
{
    serve(cancel_lookup);
}
END_TEST

static void
time_out_lookup(struct fixture *f)
{
    expect_error(f, "http://never.test/", -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "connect_timeout"));
    atomic_store(&released, true);
}

START_TEST(the_connect_timeout_is_the_lookups_too)
{
    serve_with(&(uco_http_client_options){.connect_timeout = 0.02}, time_out_lookup);
}
END_TEST

/* Whoever asked first leaves; the one who waits for the same answer gets it. */
static void
leave_lookup(struct fixture *f)
{
    struct visit v = {f, named(f, "slow.test", "/late/0")};
    uco_task *first = uco_create_task(visit, &v);
    uco_task *second = uco_create_task(visit, &v);

    ck_assert_int_eq(uco_sleep(0.005), 0);
    uco_cancel(first);
    ck_assert_int_eq(uco_join(first), -ECANCELED);
    ck_assert_int_eq(uco_join(second), 200);
    ck_assert_uint_eq(atomic_load(&lookups), 1);
}

START_TEST(a_lookup_goes_on_for_those_who_stay)
{
    serve(leave_lookup);
}
END_TEST

static void
close_during_lookup(struct fixture *f)
{
    struct visit v = {f, "http://never.test/"};
    uco_task *task = uco_create_task(visit, &v);

    ck_assert_int_eq(uco_sleep(0.005), 0);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    atomic_store(&released, true);
}

START_TEST(closing_the_client_gives_a_lookup_up)
{
    serve(close_during_lookup);
}
END_TEST

/* --- what the user says --- */

static void
get_given(struct fixture *f)
{
    char one[64];
    const char *const addresses[] = {
        "unknown.test:*:127.0.0.9,127.0.0.1",
        "other.test:1:127.0.0.1",
        "192.0.2.1:*:127.0.0.1",
        "localhost:*:127.0.0.9",
        "twice.test:*:127.0.0.9",
        "twice.test:*:127.0.0.1",
        "port.test:*:127.0.0.9",
        one,
        NULL,
    };

    snprintf(one, sizeof one, "Port.test:%u:127.0.0.1", (unsigned) f->server.port);
    reopen(f, &(uco_http_client_options){.addresses = addresses});
    expect_text(f, named(f, "unknown.test", "/late/0"), "late");
    expect_text(f, named(f, "UNKNOWN.test", "/leave"), "left");
    expect_text(f, named(f, "192.0.2.1", "/leave"), "left");
    expect_text(f, named(f, "twice.test", "/leave"), "left");
    expect_text(f, named(f, "port.test", "/leave"), "left");
    expect_error(f, named(f, "localhost", "/"), -ECONNREFUSED);
    expect_error(f, "http://other.test:1/", -ECONNREFUSED);
    ck_assert_uint_eq(atomic_load(&lookups), 0);
    expect_text(f, named(f, "other.test", "/late/0"), "late");
    ck_assert_uint_eq(atomic_load(&lookups), 1);
    expect_text(f, named(f, "below.unknown.test", "/late/0"), "late");
    ck_assert_uint_eq(atomic_load(&lookups), 2);
}

START_TEST(what_the_user_says_of_a_name_comes_first)
{
    serve(get_given);
}
END_TEST

/* --- proxies --- */

/* A client whose proxy is the test's server under a name. */
static void
through(struct fixture *f, const char *host, double connect_timeout)
{
    char proxy[64];

    snprintf(proxy, sizeof proxy, "http://%s:%u", host, (unsigned) f->server.port);
    reopen(f, &(uco_http_client_options){.proxy = proxy, .connect_timeout = connect_timeout});
}

static void
get_through_named(struct fixture *f)
{
    through(f, "Local.Test", 0);
    for (int i = 0; i < 3; i++)
        uco_http_response_free(fetch(f, "http://unknown.test/leave"));
    ck_assert_uint_eq(atomic_load(&lookups), 1);
    through(f, "both.test", 0);
    uco_http_response_free(fetch(f, "http://unknown.test/"));
    ck_assert_uint_eq(atomic_load(&lookups), 2);
    through(f, "localhost", 0);
    uco_http_response_free(fetch(f, "http://unknown.test/"));
    ck_assert_uint_eq(atomic_load(&lookups), 2);
}

START_TEST(a_proxys_name_is_looked_up_and_not_the_hosts)
{
    serve(get_through_named);
}
END_TEST

static void
get_through_unknown(struct fixture *f)
{
    through(f, "unknown.test", 0);
    expect_error(f, "http://local.test/", -ENOENT);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "proxy"));
    ck_assert_uint_eq(atomic_load(&lookups), 1);
    through(f, "never.test", 0.02);
    expect_error(f, "http://local.test/", -ETIMEDOUT);
    atomic_store(&released, true);
}

START_TEST(a_proxy_without_address_keeps_nobody)
{
    serve(get_through_unknown);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http names");
    TCase *names = case_new(suite, "names");

    tcase_add_test(names, a_name_leads_to_its_address);
    tcase_add_test(names, a_name_is_remembered_for_a_while);
    tcase_add_test(names, a_hundred_requests_ask_for_a_name_once);
    tcase_add_test(names, a_dead_address_is_passed_over);
    tcase_add_test(names, an_unknown_name_is_an_error);
    tcase_add_test(names, nobody_is_asked_what_is_known);
    tcase_add_test(names, a_lookup_that_does_not_come_back_keeps_nobody);
    tcase_add_test(names, the_connect_timeout_is_the_lookups_too);
    tcase_add_test(names, a_lookup_goes_on_for_those_who_stay);
    tcase_add_test(names, closing_the_client_gives_a_lookup_up);
    tcase_add_test(names, what_the_user_says_of_a_name_comes_first);
    tcase_add_test(names, a_proxys_name_is_looked_up_and_not_the_hosts);
    tcase_add_test(names, a_proxy_without_address_keeps_nobody);
    return suite_end(suite);
}
