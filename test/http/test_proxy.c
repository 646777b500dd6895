/* SPDX-License-Identifier: MIT */
/*
 * Proxies: which requests go through one, and what that one is told. The test's server is the
 * proxy: for it a page of another host is one that is not there.
 */
#include "fixture.h"
#include "http/options.h"
#include "http/proxy.h"
#include "http/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- hosts without proxy --- */

static bool
is_listed(const char *list, const char *host)
{
    return uco__http_no_proxy(list, host, strlen(host));
}

START_TEST(a_listed_host_is_listed_with_all_under_it)
{
    ck_assert(is_listed("example.org", "example.org"));
    ck_assert(is_listed("example.org", "www.example.org"));
    ck_assert(is_listed("example.org", "a.b.example.org"));
    ck_assert(is_listed(".example.org", "example.org"));
    ck_assert(is_listed(".example.org", "www.example.org"));
    ck_assert(is_listed("EXAMPLE.org", "example.org"));
    ck_assert(is_listed("example.org.", "example.org"));
    ck_assert(is_listed("example.org", "example.org."));
    ck_assert(!is_listed("example.org", "nonexample.org"));
    ck_assert(!is_listed("www.example.org", "example.org"));
    ck_assert(!is_listed("example.org", "example.org.uk"));
    ck_assert(!is_listed("example", "example.org"));
    ck_assert(!is_listed("*.example.org", "www.example.org"));
}
END_TEST

START_TEST(a_list_has_commas_or_blanks)
{
    ck_assert(is_listed("a,b,c", "b"));
    ck_assert(is_listed("a, b ,c", "b"));
    ck_assert(is_listed("a b c", "c"));
    ck_assert(is_listed("\ta\tb", "b"));
    ck_assert(is_listed(",,b,,", "b"));
    ck_assert(!is_listed("a,b,c", "d"));
    ck_assert(!is_listed("", "a"));
    ck_assert(!is_listed(",", "a"));
    ck_assert(!is_listed(".", "a"));
    ck_assert(!is_listed("..", "a"));
    ck_assert(!is_listed(" ", "a"));
    ck_assert(!is_listed(NULL, "a"));
}
END_TEST

START_TEST(a_star_alone_lists_all)
{
    ck_assert(is_listed("*", "example.org"));
    ck_assert(is_listed("*", "192.0.2.1"));
    ck_assert(is_listed("*", "[::1]"));
    ck_assert(!is_listed("*,a", "example.org"));
    ck_assert(!is_listed("a,*", "example.org"));
}
END_TEST

START_TEST(addresses_are_listed_one_by_one_or_as_networks)
{
    ck_assert(is_listed("192.0.2.1", "192.0.2.1"));
    ck_assert(!is_listed("192.0.2.1", "192.0.2.10"));
    ck_assert(!is_listed("2.1", "192.0.2.1"));
    ck_assert(!is_listed(".0.2.1", "192.0.2.1"));
    ck_assert(is_listed("192.0.2.0/24", "192.0.2.200"));
    ck_assert(!is_listed("192.0.2.0/24", "192.0.3.200"));
    ck_assert(is_listed("192.0.2.0/23", "192.0.3.200"));
    ck_assert(is_listed("10.0.0.0/8,192.168.0.0/16", "192.168.7.7"));
    ck_assert(is_listed("192.0.2.77/32", "192.0.2.77"));
    ck_assert(!is_listed("192.0.2.76/32", "192.0.2.77"));
    ck_assert(is_listed("192.0.2.76/31", "192.0.2.77"));
    ck_assert(is_listed("0.0.0.0/0", "192.0.2.77"));
    ck_assert(!is_listed("192.0.2.0/33", "192.0.2.1"));
    ck_assert(!is_listed("192.0.2.0/", "192.0.2.0"));
    ck_assert(!is_listed("192.0.2.0/x", "192.0.2.0"));
    ck_assert(!is_listed("192.0.2.0/24x", "192.0.2.0"));
    ck_assert(!is_listed("192.0.2.0/4294967320", "192.0.2.0"));
    ck_assert(!is_listed("192.0.2/24", "192.0.2.1"));
    ck_assert(!is_listed("example.org", "192.0.2.1"));
}
END_TEST

START_TEST(addresses_of_ipv6_are_listed_in_every_spelling)
{
    ck_assert(is_listed("::1", "[::1]"));
    ck_assert(is_listed("[::1]", "[::1]"));
    ck_assert(is_listed("0:0:0:0:0:0:0:1", "[::1]"));
    ck_assert(!is_listed("::2", "[::1]"));
    ck_assert(is_listed("2001:db8::/32", "[2001:db8:1::1]"));
    ck_assert(!is_listed("2001:db8::/32", "[2001:db9::1]"));
    ck_assert(is_listed("2001:db8::/29", "[2001:dbf::1]"));
    ck_assert(!is_listed("2001:db8::/29", "[2001:dc0::1]"));
    ck_assert(is_listed("::/0", "[2001:db9::1]"));
    ck_assert(!is_listed("::/129", "[::]"));
    ck_assert(!is_listed("127.0.0.1", "[::1]"));
    ck_assert(is_listed("fe80::/10", "[fe80::1%eth0]"));
    ck_assert(is_listed("fe80::1", "[fe80::1%eth0]"));
    ck_assert(!is_listed("fe80::2", "[fe80::1%eth0]"));
    ck_assert(!is_listed("::ffff:192.0.2.1", "192.0.2.1"));
}
END_TEST

/* --- which way --- */

/* The proxy that a client with these options has for a URL; "" = none. */
static const char *
way(const uco_http_client_options *given, const char *url)
{
    static char text[128];
    uco_http_client_options options;
    struct uco__http_origin origin;
    const char *why, *proxy;

    ck_assert_int_eq(uco__http_options_init(&options, given), 0);
    ck_assert_int_eq(uco__http_origin_init(&origin, url, &why), 0);
    proxy = uco__http_proxy_for(&options, &origin);
    snprintf(text, sizeof text, "%s", proxy != NULL ? proxy : "");
    uco__http_origin_done(&origin);
    uco__http_options_done(&options);
    return text;
}

static void
clear_environment(void)
{
    static const char *const names[] = {
        "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY",
    };

    for (size_t i = 0; i < COUNT(names); i++)
        unsetenv(names[i]);
}

START_TEST(a_client_has_the_proxy_it_is_given)
{
    uco_http_client_options options = {.proxy = "http://p:1", .no_proxy = "a.test"};

    ck_assert_str_eq(way(&options, "http://b.test/"), "http://p:1");
    ck_assert_str_eq(way(&options, "https://b.test/"), "http://p:1");
    ck_assert_str_eq(way(&options, "http://a.test/"), "");
    ck_assert_str_eq(way(&options, "http://www.a.test/"), "");
    setenv("http_proxy", "http://e:2", 1);
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://p:1");
    options.proxy = "";
    ck_assert_str_eq(way(&options, "http://b.test/"), "");
    clear_environment();
}
END_TEST

START_TEST(the_environment_has_a_proxy_for_each_scheme)
{
    uco_http_client_options options = {0};

    ck_assert_str_eq(way(&options, "http://b.test/"), "");
    setenv("ALL_PROXY", "http://all:1", 1);
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://all:1");
    ck_assert_str_eq(way(&options, "https://b.test/"), "http://all:1");
    setenv("all_proxy", "http://all:2", 1);
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://all:2");
    setenv("HTTPS_PROXY", "http://https:1", 1);
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://all:2");
    ck_assert_str_eq(way(&options, "https://b.test/"), "http://https:1");
    setenv("https_proxy", "http://https:2", 1);
    ck_assert_str_eq(way(&options, "https://b.test/"), "http://https:2");
    setenv("http_proxy", "http://http:1", 1);
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://http:1");
    ck_assert_str_eq(way(&options, "https://b.test/"), "http://https:2");
    setenv("http_proxy", "", 1);
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://all:2");
    clear_environment();
}
END_TEST

START_TEST(a_cgi_programs_header_is_no_proxy)
{
    setenv("HTTP_PROXY", "http://evil:1", 1);
    ck_assert_str_eq(way(&(uco_http_client_options){0}, "http://b.test/"), "");
    ck_assert_str_eq(way(&(uco_http_client_options){0}, "https://b.test/"), "");
    clear_environment();
}
END_TEST

START_TEST(the_environment_lists_hosts_without_proxy)
{
    uco_http_client_options options = {.proxy = "http://p:1"};

    setenv("NO_PROXY", "a.test", 1);
    ck_assert_str_eq(way(&options, "http://a.test/"), "");
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://p:1");
    setenv("no_proxy", "b.test", 1);
    ck_assert_str_eq(way(&options, "http://a.test/"), "http://p:1");
    ck_assert_str_eq(way(&options, "http://b.test/"), "");
    options.no_proxy = "";
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://p:1");
    options.no_proxy = "c.test";
    ck_assert_str_eq(way(&options, "http://b.test/"), "http://p:1");
    ck_assert_str_eq(way(&options, "http://c.test/"), "");
    clear_environment();
}
END_TEST

START_TEST(a_unix_socket_needs_no_proxy)
{
    setenv("http_proxy", "http://p:1", 1);
    ck_assert_str_eq(way(&(uco_http_client_options){.unix_socket = "/s"}, "http://b.test/"), "");
    clear_environment();
}
END_TEST

START_TEST(a_client_without_memory_for_the_environment_is_none)
{
    uco_http_client_options options;
    int r;

    setenv("http_proxy", "http://p:1", 1);
    for (unsigned long nth = 1;; nth++) {
        ck_assert_int_eq(uco_test_fail("malloc", nth, false, ENOMEM), 0);
        r = uco__http_options_init(&options, &(uco_http_client_options){0});
        uco_test_fail_off();
        uco__http_options_done(&options);
        if (r == 0)
            break;
        ck_assert_int_eq(r, -ENOMEM);
        ck_assert_uint_lt(nth, 20);
    }
    clear_environment();
}
END_TEST

START_TEST(a_proxys_url_is_what_curl_takes_for_one)
{
    static const char *const good[] = {
        "http://p",   "http://p:1",  "HTTP://p:1/",    "p:3128",
        "p",          "127.0.0.1:1", "socks5://p",     "socks5h://user:secret@p:1",
        "socks4://p", "socks4a://p", "http://[::1]:1",
    };
    static const char *const bad[] = {
        "ftp://p",        "file:///p",  "socks6://p", "http://", "http://p:x",
        "http://p:70000", "http://a b", ":1",         "//",
    };
    const char *why;

    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(uco__http_proxy_check(good[i], &why) == 0, "%s: %s", good[i], why);
    for (size_t i = 0; i < COUNT(bad); i++) {
        why = "";
        ck_assert_msg(uco__http_proxy_check(bad[i], &why) == -EINVAL, "%s", bad[i]);
        ck_assert_str_ne(why, "");
    }
}
END_TEST

START_TEST(a_proxy_is_spoken_to_by_tls_where_curl_can)
{
    const char *why = "";
    int r = uco__http_proxy_check("https://p", &why);

    if ((curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTPS_PROXY) != 0)
        ck_assert_int_eq(r, 0);
    else
        ck_assert_int_eq(r, -ENOSYS);
}
END_TEST

/* --- with a client --- */

/* A client whose proxy is the test's server. */
static void
through_server(struct fixture *f, const char *scheme, const uco_http_client_options *options)
{
    uco_http_client_options with = *options;
    char proxy[64];

    snprintf(proxy, sizeof proxy, "%s127.0.0.1:%u", scheme, (unsigned) f->server.port);
    with.proxy = proxy;
    reopen(f, &with);
}

static long
status_of(struct fixture *f, const char *url)
{
    uco_http_response *response = fetch(f, url);
    long status = response->status;

    uco_http_response_free(response);
    return status;
}

static bool
last_begins(const struct fixture *f, const char *text)
{
    return strncmp(f->server.last, text, strlen(text)) == 0;
}

static void
get_through(struct fixture *f)
{
    through_server(f, "http://user:secret@", &(uco_http_client_options){0});
    ck_assert_int_eq(status_of(f, "http://nowhere.invalid/page?query"), 404);
    ck_assert(last_begins(f, "GET http://nowhere.invalid/page?query HTTP/1.1\r\n"));
    ck_assert(was_sent(f, "Host: nowhere.invalid"));
    ck_assert(was_sent(f, "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="));
}

START_TEST(a_proxy_is_asked_for_the_whole_url)
{
    serve(get_through);
}
END_TEST

static void
get_listed(struct fixture *f)
{
    through_server(f, "", &(uco_http_client_options){.no_proxy = "127.0.0.0/8"});
    expect_text(f, "/late/0", "late");
    ck_assert(last_begins(f, "GET /late/0 HTTP/1.1\r\n"));
    ck_assert_int_eq(status_of(f, "http://nowhere.invalid/"), 404);
    ck_assert(last_begins(f, "GET http://nowhere.invalid/ HTTP/1.1\r\n"));
    expect_text(f, "/late/0", "late");
    ck_assert(last_begins(f, "GET /late/0 HTTP/1.1\r\n"));
}

START_TEST(one_client_asks_some_hosts_directly)
{
    serve(get_listed);
}
END_TEST

static void
get_connect(struct fixture *f)
{
    through_server(f, "http://user:secret@",
                   &(uco_http_client_options){
                       .headers = (const char *const[]){"Authorization: Bearer mine", NULL},
                   });
    expect_error(f, "https://nowhere.invalid/page", -EPROTO);
    ck_assert(last_begins(f, "CONNECT nowhere.invalid:443 HTTP/1.1\r\n"));
    ck_assert(was_sent(f, "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="));
    ck_assert(!was_sent(f, "Authorization: Bearer mine"));
}

START_TEST(a_tunnels_proxy_sees_no_secrets_of_the_host)
{
    serve(get_connect);
}
END_TEST

static void
get_by_environment(struct fixture *f)
{
    uco_http_client_options options = {.proxy = NULL};
    char proxy[64];

    snprintf(proxy, sizeof proxy, "127.0.0.1:%u", (unsigned) f->server.port);
    setenv("http_proxy", proxy, 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = uco_http_client_new(&options);
    ck_assert_ptr_nonnull(f->client);
    clear_environment(); /* what was read is read */
    ck_assert_int_eq(status_of(f, "http://nowhere.invalid/"), 404);
    expect_error(f, "https://nowhere.invalid/", -ECONNREFUSED);
    ck_assert_int_eq(status_of(f, "http://nowhere.invalid/"), 404);
}

START_TEST(the_environments_proxy_is_the_one_at_the_clients_opening)
{
    serve(get_by_environment);
}
END_TEST

static void
get_by_a_bad_environment(struct fixture *f)
{
    uco_http_client_options options = {.proxy = NULL};

    setenv("http_proxy", "ftp://127.0.0.1", 1);
    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = uco_http_client_new(&options);
    ck_assert_ptr_nonnull(f->client);
    expect_error(f, "http://nowhere.invalid/", -EINVAL);
    ck_assert_ptr_nonnull(strstr(uco_http_error(f->client), "proxy"));
    clear_environment();
}

START_TEST(a_bad_proxy_in_the_environment_is_the_requests_error)
{
    serve(get_by_a_bad_environment);
}
END_TEST

static void
get_refused(struct fixture *f)
{
    char proxy[64];

    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", (unsigned) free_port());
    reopen(f, &(uco_http_client_options){.proxy = proxy});
    expect_error(f, "/late/0", -ECONNREFUSED);
}

START_TEST(a_proxy_that_is_not_there_is_an_error)
{
    serve(get_refused);
}
END_TEST

/* --- SOCKS --- */

/* A proxy for one connection, which it answers itself. */
struct socks {
    int fd;
    uco_task *task;
    unsigned char request[300]; /* as RFC 1928 has it */
};

static void
socks_read(int fd, void *to, size_t n)
{
    ck_assert_int_eq(uco_read_exactly(fd, to, n), (ssize_t) n);
}

static intptr_t
socks_run(void *arg)
{
    static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsocks";
    static const unsigned char done[] = {5, 0, 0, 1, 127, 0, 0, 1, 0, 80};
    struct socks *socks = arg;
    unsigned char *request = socks->request;
    char head[1024];
    int fd = uco_accept4(socks->fd, NULL, NULL, SOCK_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    socks_read(fd, request, 2);
    socks_read(fd, request + 2, request[1]); /* ways to log in */
    ck_assert_int_eq(uco_write_all(fd, "\5\0", 2, NULL), 2);
    socks_read(fd, request, 5);
    if (request[3] == 3)
        socks_read(fd, request + 5, request[4] + 2u);
    else
        socks_read(fd, request + 5, request[3] == 1 ? 5 : 17);
    ck_assert_int_eq(uco_write_all(fd, done, sizeof done, NULL), sizeof done);
    ck_assert_int_gt(uco_read(fd, head, sizeof head), 0);
    ck_assert_int_eq(uco_write_all(fd, page, strlen(page), NULL), (ssize_t) strlen(page));
    uco_close(fd);
    return 0;
}

static void
socks_start(struct socks *socks, struct fixture *f, const char *scheme)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    char proxy[64];
    const char *const addresses[] = {"host.test:80:192.0.2.7", "proxy.test:*:127.0.0.1", NULL};

    *socks = (struct socks){.fd = uco_listen("127.0.0.1", 0, 0)};
    ck_assert_int_ge(socks->fd, 0);
    ck_assert_int_eq(getsockname(socks->fd, (struct sockaddr *) &address, &length), 0);
    socks->task = uco_create_task(socks_run, socks);
    snprintf(proxy, sizeof proxy, "%s://proxy.test:%u", scheme, (unsigned) ntohs(address.sin_port));
    reopen(f, &(uco_http_client_options){.proxy = proxy, .addresses = addresses});
}

static void
socks_stop(struct socks *socks)
{
    ck_assert_int_eq(uco_join(socks->task), 0);
    uco_close(socks->fd);
}

static void
get_by_socks5(struct fixture *f)
{
    struct socks socks;

    socks_start(&socks, f, "socks5");
    expect_text(f, "http://host.test/", "socks");
    ck_assert_int_eq(memcmp(socks.request, "\5\1\0\1\300\0\2\7\0\120", 10), 0);
    socks_stop(&socks);
}

START_TEST(a_socks5_proxy_is_told_an_address)
{
    serve(get_by_socks5);
}
END_TEST

static void
get_by_socks5h(struct fixture *f)
{
    struct socks socks;

    socks_start(&socks, f, "socks5h");
    expect_text(f, "http://host.test/", "socks");
    ck_assert_int_eq(memcmp(socks.request, "\5\1\0\3\11host.test\0\120", 16), 0);
    socks_stop(&socks);
}

START_TEST(a_socks5h_proxy_is_told_a_name)
{
    serve(get_by_socks5h);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http proxy");
    TCase *lists = case_new(suite, "lists");
    TCase *ways = case_new(suite, "ways");
    TCase *clients = case_new(suite, "clients");

    clear_environment();
    tcase_add_test(lists, a_listed_host_is_listed_with_all_under_it);
    tcase_add_test(lists, a_list_has_commas_or_blanks);
    tcase_add_test(lists, a_star_alone_lists_all);
    tcase_add_test(lists, addresses_are_listed_one_by_one_or_as_networks);
    tcase_add_test(lists, addresses_of_ipv6_are_listed_in_every_spelling);
    tcase_add_test(ways, a_client_has_the_proxy_it_is_given);
    tcase_add_test(ways, the_environment_has_a_proxy_for_each_scheme);
    tcase_add_test(ways, a_cgi_programs_header_is_no_proxy);
    tcase_add_test(ways, the_environment_lists_hosts_without_proxy);
    tcase_add_test(ways, a_unix_socket_needs_no_proxy);
    tcase_add_test(ways, a_client_without_memory_for_the_environment_is_none);
    tcase_add_test(ways, a_proxys_url_is_what_curl_takes_for_one);
    tcase_add_test(ways, a_proxy_is_spoken_to_by_tls_where_curl_can);
    tcase_add_test(clients, a_proxy_is_asked_for_the_whole_url);
    tcase_add_test(clients, one_client_asks_some_hosts_directly);
    tcase_add_test(clients, a_tunnels_proxy_sees_no_secrets_of_the_host);
    tcase_add_test(clients, the_environments_proxy_is_the_one_at_the_clients_opening);
    tcase_add_test(clients, a_bad_proxy_in_the_environment_is_the_requests_error);
    tcase_add_test(clients, a_proxy_that_is_not_there_is_an_error);
    tcase_add_test(clients, a_socks5_proxy_is_told_an_address);
    tcase_add_test(clients, a_socks5h_proxy_is_told_a_name);
    return suite_end(suite);
}
