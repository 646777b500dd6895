/* SPDX-License-Identifier: MIT */
/* Clients' options: what is refused, what is copied, and what curl makes of them. */
#include "fixture.h"
#include "http/options.h"

#include <arpa/inet.h>
#include <locale.h>
#include <math.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- what is refused --- */

static int
result_of(const uco_http_client_options *given)
{
    uco_http_client_options copy;
    int r = uco__http_options_init(&copy, given);

    uco__http_options_done(&copy);
    return r;
}

#define OPTIONS(...) (&(uco_http_client_options){__VA_ARGS__})
#define refused(...) ck_assert_int_eq(result_of(OPTIONS(__VA_ARGS__)), -EINVAL)
#define taken(...) ck_assert_int_eq(result_of(OPTIONS(__VA_ARGS__)), 0)

START_TEST(times_are_numbers_of_at_least_0)
{
    refused(.timeout = -1);
    refused(.connect_timeout = NAN);
    refused(.read_timeout = -INFINITY);
    refused(.pool_timeout = -0.001);
    taken(.timeout = UCO_FOREVER, .read_timeout = 1e-9);
    refused(.min_speed = -1);
    refused(.min_speed = NAN);
    refused(.min_speed = INFINITY);
    taken(.min_speed = 0.5);
    refused(.max_redirects = -2);
    taken(.max_redirects = -1);
}
END_TEST

static void
refuse_headers(const char *header)
{
    const char *const headers[] = {"Good: one", header, NULL};

    ck_assert_msg(result_of(OPTIONS(.headers = headers)) == -EINVAL, "'%s'", header);
}

START_TEST(headers_are_names_and_values_on_one_line)
{
    static const char *const good[] = {"A: b", "A:b", "A:", "X-!#$%&'*+.^_`|~9: \t\xe4", NULL};

    taken(.headers = good);
    refuse_headers("");
    refuse_headers("A");
    refuse_headers(": b");
    refuse_headers("A B: c");
    refuse_headers("A : c");
    refuse_headers(" A: c");
    refuse_headers("A: b\r\nC: d");
    refuse_headers("A: b\n");
    refuse_headers("A: b\x7f");
    refuse_headers("A: b\x01");
    refuse_headers("A\t: b");
    refuse_headers("\xe4: b");
    refused(.user_agent = "me\r\nX: y");
    taken(.user_agent = "");
}
END_TEST

/* A program that has read its token from a file, with the newline, is told so on its standard error
 * and ends. */
START_TEST(a_header_that_is_refused_is_not_shown)
{
    static const char *const headers[] = {"Authorization: Bearer secret\n", NULL};
    char text[512];
    int pipes[2];
    ssize_t size;
    pid_t child;

    ck_assert_int_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        setenv("UCO_DEBUG", "1", 1);
        dup2(pipes[1], STDERR_FILENO);
        result_of(OPTIONS(.headers = headers));
        _exit(0);
    }
    close(pipes[1]);
    size = read(pipes[0], text, sizeof text - 1);
    ck_assert_int_gt(size, 0);
    text[size] = '\0';
    ck_assert_ptr_nonnull(strstr(text, "'Authorization'"));
    ck_assert_ptr_null(strstr(text, "secret"));
    close(pipes[0]);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

static void
expect_secrets(void)
{
    ck_assert(uco__http_header_is_secret("Authorization: x"));
    ck_assert(uco__http_header_is_secret("AUTHORIZATION:x"));
    ck_assert(uco__http_header_is_secret("authorization:"));
    ck_assert(uco__http_header_is_secret("COOKIE: x"));
    ck_assert(uco__http_header_is_secret("proxy-AUTHORIZATION: x"));
    ck_assert(uco__http_header_is_secret("HOST: x"));
    ck_assert(!uco__http_header_is_secret("Authorization2: x"));
    ck_assert(!uco__http_header_is_secret("X-Authorization: x"));
    ck_assert(!uco__http_header_is_secret("Cookies: x"));
    ck_assert(!uco__http_header_is_secret("A: Cookie: x"));
}

START_TEST(headers_that_speak_for_somebody_are_secret)
{
    expect_secrets();
}
END_TEST

/* In Turkish the small letter of "I" has no dot, and is no "i". */
START_TEST(secrets_are_so_in_every_language)
{
    char places[] = "/tmp/uco-http-locale-XXXXXX";
    char command[160];

    ck_assert_ptr_nonnull(mkdtemp(places));
    snprintf(command, sizeof command, "localedef -i tr_TR -f UTF-8 %s/tr_TR.UTF-8 >/dev/null 2>&1",
             places);
    if (system(command) != 0)
        test_skipped("localedef cannot make a Turkish locale");
    setenv("LOCPATH", places, 1);
    setlocale(LC_ALL, "tr_TR.UTF-8");
    expect_secrets();
    setlocale(LC_ALL, "C");
    snprintf(command, sizeof command, "rm -r %s", places);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(a_login_is_a_user_or_a_token)
{
    refused(.password = "p");
    refused(.user = "u", .token = "t");
    refused(.password = "p", .token = "t");
    refused(.user = "u:v");
    refused(.user = "u\n");
    refused(.user = "u", .password = "p\r");
    refused(.token = "");
    refused(.token = "t\nX: y");
    refused(.auth = (uco_http_auth) 2);
    taken(.user = "", .password = "");
    taken(.user = "u");
    taken(.user = "u", .password = "p:q", .auth = UCO_HTTP_DIGEST);
    taken(.token = "t");
}
END_TEST

START_TEST(urls_are_looked_at_first)
{
    refused(.base_url = "example.org");
    refused(.base_url = "ftp://example.org");
    refused(.base_url = "");
    taken(.base_url = "http://example.org/api");
    refused(.proxy = "ftp://p");
    refused(.proxy = "http://a b");
    refused(.proxy = "http://p", .unix_socket = "/s");
    taken(.proxy = "", .unix_socket = "/s");
    taken(.proxy = "socks5h://user:secret@p:1");
}
END_TEST

START_TEST(cookies_are_kept_or_not)
{
    refused(.cookie_file = "");
    refused(.cookie_file = "/f", .no_cookies = true);
    taken(.cookie_file = "/f");
    taken(.no_cookies = true);
}
END_TEST

#define PIN "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

START_TEST(a_pinned_key_is_a_hash_or_a_file)
{
    taken(.pinned_key = PIN);
    taken(.pinned_key = PIN ";" PIN);
    refused(.pinned_key = PIN ";");
    refused(.pinned_key = PIN ";;" PIN);
    refused(.pinned_key = PIN "," PIN);
    refused(.pinned_key = "sha256//");
    refused(.pinned_key = "sha256//AAAA");
    refused(.pinned_key = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    refused(.pinned_key = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA*A=");
    refused(.pinned_key = PIN ";sha1//AAAA");
    ck_assert_int_eq(result_of(OPTIONS(.pinned_key = "")), -ENOENT);
    ck_assert_int_eq(result_of(OPTIONS(.pinned_key = "/nowhere/key.pem")), -ENOENT);
    taken(.pinned_key = "/dev/null");
}
END_TEST

START_TEST(a_key_belongs_to_a_certificate)
{
    refused(.client_key = "/dev/null");
    refused(.key_password = "p");
    refused(.client_key = "/dev/null", .key_password = "p");
    taken(.client_cert = "/dev/null");
    taken(.client_cert = "/dev/null", .client_key = "/dev/null", .key_password = "p");
    ck_assert_int_eq(result_of(OPTIONS(.client_cert = "/nowhere")), -ENOENT);
    ck_assert_int_eq(result_of(OPTIONS(.client_cert = "/dev/null", .client_key = "/nowhere")),
                     -ENOENT);
    ck_assert_int_eq(result_of(OPTIONS(.ca_file = "/nowhere")), -ENOENT);
}
END_TEST

START_TEST(a_local_address_is_no_name_to_look_up)
{
    char loopback[IF_NAMESIZE];

    taken(.local_address = "127.0.0.1");
    taken(.local_address = "::1");
    refused(.local_address = "");
    refused(.local_address = "an.example.of.a.name");
    refused(.local_address = "127.0.0.1:80");
    refused(.local_address = "[::1]");
    refused(.local_address = "eth0/x");
    ck_assert_int_eq(result_of(OPTIONS(.local_address = "localhost")), -ENODEV);
    ck_assert_int_eq(result_of(OPTIONS(.local_address = "host!localhost")), -ENODEV);
    ck_assert_int_eq(result_of(OPTIONS(.local_address = "127.1")), -ENODEV);
    if (if_indextoname(1, loopback) != NULL)
        taken(.local_address = loopback);
    else
        test_skipped("there is no interface");
}
END_TEST

START_TEST(a_unix_sockets_path_has_a_limit)
{
    char path[109];

    memset(path, 'p', sizeof path);
    path[108] = '\0';
    refused(.unix_socket = path);
    path[107] = '\0';
    taken(.unix_socket = path);
    refused(.unix_socket = "");
    refused(.unix_socket = "@");
    taken(.unix_socket = "@a");
}
END_TEST

static void
refuse_address(const char *address)
{
    uco_http_client_options options = {.addresses = (const char *const[]){address, NULL}};

    ck_assert_ptr_null(uco_http_client_new(&options));
    ck_assert_msg(errno == EINVAL, "'%s': %d", address, errno);
}

static void
take_address(const char *address)
{
    uco_http_client_options options = {.addresses = (const char *const[]){address, NULL}};
    uco_http_client *client = uco_http_client_new(&options);

    ck_assert_msg(client != NULL, "'%s'", address);
    ck_assert_int_eq(uco_http_client_close(client), 0);
}

static intptr_t
try_addresses(void *arg)
{
    static const char *const bad[] = {
        "",
        ":",
        "::",
        "host",
        "host:80",
        "host:80:",
        "host::127.0.0.1",
        ":80:127.0.0.1",
        "host:x:127.0.0.1",
        "host:70000:127.0.0.1",
        "host:+80:127.0.0.1",
        "host:**:127.0.0.1",
        "host:80:name",
        "host:80:127.1",
        "host:80:127.0.0.1,",
        "host:80:,127.0.0.1",
        "host:80:127.0.0.1 127.0.0.2",
        "host:80:[127.0.0.1]",
        "host:80:[::1",
        "host:80:[]",
        "*:80:127.0.0.1",
        "a b:80:127.0.0.1",
        "a/b:80:127.0.0.1",
        "a@b:80:127.0.0.1",
        "[::1]:80:127.0.0.1",
        "http://host:80:127.0.0.1",
    };
    static const char *const good[] = {
        "host:80:127.0.0.1",
        "host:*:127.0.0.1",
        "host:80:127.0.0.1,127.0.0.2",
        "host:80:[::1]",
        "host:80:127.0.0.1,[::1]",
        "host:80:::1",
        "Host.:443:[2001:db8::1],192.0.2.1",
        "192.0.2.1:80:127.0.0.1",
    };

    (void) arg;
    for (size_t i = 0; i < COUNT(bad); i++)
        refuse_address(bad[i]);
    for (size_t i = 0; i < COUNT(good); i++)
        take_address(good[i]);
    return 0;
}

START_TEST(addresses_are_hosts_ports_and_addresses)
{
    ck_assert_int_eq(run_real(try_addresses, NULL), 0);
}
END_TEST

static intptr_t
try_new(void *arg)
{
    (void) arg;
    ck_assert_ptr_null(uco_http_client_new(OPTIONS(.timeout = -1)));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(uco_http_client_new(OPTIONS(.ca_file = "/nowhere")));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(uco_http_client_new(OPTIONS(.local_address = "nothing0")));
    ck_assert_int_eq(errno, ENODEV);
    return 0;
}

START_TEST(no_client_is_opened_with_bad_options)
{
    ck_assert_int_eq(run_real(try_new, NULL), 0);
}
END_TEST

/* --- what is copied --- */

static bool
copied(const char *copy, const char *original)
{
    return copy != original && strcmp(copy, original) == 0;
}

START_TEST(all_strings_are_copied)
{
    const uco_http_client_options given = {
        .base_url = "http://h",
        .proxy = "http://p",
        .ca_file = "/dev/null",
        .client_cert = "/dev/null",
        .client_key = "/dev/null",
        .cookie_file = "/c",
        .user_agent = "me",
        .no_proxy = "a,b",
        .key_password = "k",
        .pinned_key = PIN,
        .user = "u",
        .password = "p",
        .local_address = "127.0.0.1",
        .headers = (const char *const[]){"A: b", NULL},
        .addresses = (const char *const[]){"a:1:127.0.0.1", NULL},
    };
    uco_http_client_options copy;

    ck_assert_int_eq(uco__http_options_init(&copy, &given), 0);
    ck_assert(copied(copy.base_url, given.base_url));
    ck_assert(copied(copy.proxy, given.proxy));
    ck_assert(copied(copy.ca_file, given.ca_file));
    ck_assert(copied(copy.client_cert, given.client_cert));
    ck_assert(copied(copy.client_key, given.client_key));
    ck_assert(copied(copy.cookie_file, given.cookie_file));
    ck_assert(copied(copy.user_agent, given.user_agent));
    ck_assert(copied(copy.no_proxy, given.no_proxy));
    ck_assert(copied(copy.key_password, given.key_password));
    ck_assert(copied(copy.pinned_key, given.pinned_key));
    ck_assert(copied(copy.user, given.user));
    ck_assert(copied(copy.password, given.password));
    ck_assert(copied(copy.local_address, given.local_address));
    ck_assert_ptr_null(copy.headers);
    ck_assert_ptr_null(copy.addresses);
    uco__http_options_done(&copy);
    ck_assert_int_eq(
        uco__http_options_init(&copy, OPTIONS(.token = "t", .unix_socket = "/s", .proxy = "")), 0);
    ck_assert_str_eq(copy.token, "t");
    ck_assert_str_eq(copy.unix_socket, "/s");
    uco__http_options_done(&copy);
}
END_TEST

START_TEST(what_is_0_is_the_default)
{
    uco_http_client_options copy;

    ck_assert_int_eq(uco__http_options_init(&copy, OPTIONS(0)), 0);
    ck_assert(copy.timeout == 30 && copy.connect_timeout == 10 && copy.read_timeout == 30);
    ck_assert(copy.pool_timeout == UCO_FOREVER);
    ck_assert_uint_eq(copy.max_connections, 100);
    ck_assert_uint_eq(copy.max_per_host, 10);
    ck_assert_int_eq(copy.max_redirects, 20);
    ck_assert_uint_ge(copy.max_body, SIZE_MAX / 2);
    ck_assert(strncmp(copy.user_agent, "uco/", 4) == 0);
    uco__http_options_done(&copy);
    uco__http_options_done(&copy);
}
END_TEST

START_TEST(without_memory_nothing_is_half_copied)
{
    const uco_http_client_options given = {
        .base_url = "http://h", .proxy = "http://p", .user = "u", .password = "p"};
    uco_http_client_options copy;
    unsigned long nth = 0;
    int r;

    do {
        ck_assert_int_eq(uco_test_fail("malloc", ++nth, false, ENOMEM), 0);
        r = uco__http_options_init(&copy, &given);
        uco_test_fail_off();
        uco__http_options_done(&copy);
        ck_assert(r == 0 || r == -ENOMEM);
    } while (r < 0);
    ck_assert_uint_gt(nth, 4);
}
END_TEST

/* --- what curl makes of them --- */

static void
get_plain(struct fixture *f)
{
    expect_text(f, "/gzip", "hello, gzip\n");
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nAccept-Encoding: "));
    reopen(f, OPTIONS(.no_decompression = true, .user_agent = "me/1"));
    uco_http_response_free(fetch(f, "/gzip"));
    ck_assert_ptr_null(strstr(f->server.last, "\r\nAccept-Encoding: "));
    ck_assert(was_sent(f, "User-Agent: me/1"));
}

START_TEST(a_client_may_want_bodies_as_they_are)
{
    serve(get_plain);
}
END_TEST

static void
get_compressed(struct fixture *f)
{
    uco_http_response *response = fetch(f, "/gzip");

    ck_assert_uint_eq(response->size, 32);
    ck_assert_int_eq(response->text[0], 0x1f);
    uco_http_response_free(response);
}

START_TEST(what_is_not_decompressed_is_delivered_as_it_came)
{
    serve_with(OPTIONS(.no_decompression = true), get_compressed);
}
END_TEST

static void
get_slowly(struct fixture *f)
{
    expect_error(f, "/drip/2000", -ETIMEDOUT);
    expect_bytes(f, "/bytes/5000", 5000);
}

START_TEST(an_answer_that_is_too_slow_ends)
{
    serve_with(OPTIONS(.min_speed = 100000, .read_timeout = 1), get_slowly);
}
END_TEST

/* A redirect leads from one name of the server's to another. */
static void
get_abroad(struct fixture *f)
{
    const char *const headers[] = {"HOST: inner.test", "AUTHORIZATION: secret", "X-Any: more",
                                   NULL};
    char answer[160];

    reopen(f, OPTIONS(.headers = headers));
    snprintf(answer, sizeof answer,
             "HTTP/1.1 302 Found\r\nLocation: http://localhost:%u/echo\r\n"
             "Content-Length: 0\r\n\r\n",
             (unsigned) f->server.port);
    f->server.raw = answer;
    f->server.raw_size = 0;
    uco_http_response_free(fetch(f, "/echo"));
    ck_assert(was_sent(f, "Host: inner.test"));
    uco_http_response_free(fetch(f, "/raw"));
    ck_assert(was_sent(f, "X-Any: more"));
    ck_assert_ptr_nonnull(strstr(f->server.last, "\r\nHost: localhost:"));
    ck_assert_ptr_null(strstr(f->server.last, "inner.test"));
    ck_assert_ptr_null(strstr(f->server.last, "secret"));
}

START_TEST(another_host_sees_neither_secrets_nor_the_first_ones_name)
{
    serve(get_abroad);
}
END_TEST

/* --- where connections go --- */

static char directory[] = "/tmp/uco-http-options-XXXXXX";

static intptr_t
answer_one(uco_stream *stream, void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix";
    unsigned *count = arg;
    const char *line;

    ++*count;
    while (uco_stream_read_line(stream, &line) > 2)
        continue;
    return uco_stream_write(stream, answer, sizeof answer - 1);
}

/* A server at a Unix socket, and a client of it. */
static void
get_by_unix_socket(struct fixture *f, const char *listen, const char *path)
{
    unsigned count = 0;
    uco_server *server = uco_server_start(listen, 0, answer_one, &count);

    ck_assert_ptr_nonnull(server);
    reopen(f, OPTIONS(.unix_socket = path));
    expect_text(f, "http://nowhere.invalid/", "unix");
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(uco_server_close(server, 1), 0);
    ck_assert_uint_eq(f->server.accepted, 0);
}

static void
get_by_path(struct fixture *f)
{
    char path[64], listen[80];

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    snprintf(listen, sizeof listen, "unix:%s", path);
    get_by_unix_socket(f, listen, path);
    unlink(path);
    expect_error(f, "http://nowhere.invalid/", -ENOENT);
    rmdir(directory);
}

START_TEST(all_connections_go_to_a_unix_socket)
{
    serve(get_by_path);
}
END_TEST

static void
get_by_abstract_name(struct fixture *f)
{
    char path[64], listen[80];

    snprintf(path, sizeof path, "@uco-http-options-%d", (int) getpid());
    snprintf(listen, sizeof listen, "unix:%s", path);
    get_by_unix_socket(f, listen, path);
}

START_TEST(a_unix_socket_may_have_an_abstract_name)
{
    serve(get_by_abstract_name);
}
END_TEST

/* Where the next connection comes from. */
static intptr_t
accept_one(void *arg)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfrom";
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    const int *listener = arg;
    char head[1024];
    int fd = uco_accept4(*listener, (struct sockaddr *) &peer, &length, SOCK_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(uco_read(fd, head, sizeof head), 0);
    ck_assert_int_gt(uco_write_all(fd, answer, sizeof answer - 1, NULL), 0);
    uco_close(fd);
    return (intptr_t) ntohl(peer.sin_addr.s_addr);
}

static intptr_t
source_of(struct fixture *f, const char *local_address)
{
    int listener = uco_listen("127.0.0.1", 0, 0);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    intptr_t source;
    uco_task *task;
    char url[64];

    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &length), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", (unsigned) ntohs(address.sin_port));
    task = uco_create_task(accept_one, &listener);
    reopen(f, OPTIONS(.local_address = local_address));
    expect_text(f, url, "from");
    source = uco_join(task);
    uco_close(listener);
    return source;
}

static void
get_from_address(struct fixture *f)
{
    ck_assert_int_eq(source_of(f, "127.0.0.7"), 0x7f000007);
    ck_assert_int_eq(source_of(f, "127.0.0.1"), 0x7f000001);
}

START_TEST(connections_come_from_a_local_address)
{
    serve(get_from_address);
}
END_TEST

static void
get_from_interface(struct fixture *f)
{
    ck_assert_int_eq(source_of(f, "lo"), 0x7f000001);
}

START_TEST(connections_come_from_an_interface)
{
    if (if_nametoindex("lo") != 0)
        serve(get_from_interface);
    else
        test_skipped("there is no interface 'lo'");
}
END_TEST

static void
get_from_elsewhere(struct fixture *f)
{
    reopen(f, OPTIONS(.local_address = "192.0.2.1"));
    expect_error(f, "http://127.0.0.1:1/", -EADDRNOTAVAIL);
}

START_TEST(an_address_of_another_machine_is_the_requests_error)
{
    serve(get_from_elsewhere);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http options");
    TCase *refusals = case_new(suite, "refused");
    TCase *copies = case_new(suite, "copied");
    TCase *requests = case_new(suite, "requests");

    tcase_add_test(refusals, times_are_numbers_of_at_least_0);
    tcase_add_test(refusals, headers_are_names_and_values_on_one_line);
    tcase_add_test(refusals, a_header_that_is_refused_is_not_shown);
    tcase_add_test(refusals, headers_that_speak_for_somebody_are_secret);
    tcase_add_test(refusals, secrets_are_so_in_every_language);
    tcase_add_test(refusals, a_login_is_a_user_or_a_token);
    tcase_add_test(refusals, urls_are_looked_at_first);
    tcase_add_test(refusals, cookies_are_kept_or_not);
    tcase_add_test(refusals, a_pinned_key_is_a_hash_or_a_file);
    tcase_add_test(refusals, a_key_belongs_to_a_certificate);
    tcase_add_test(refusals, a_local_address_is_no_name_to_look_up);
    tcase_add_test(refusals, a_unix_sockets_path_has_a_limit);
    tcase_add_test(refusals, addresses_are_hosts_ports_and_addresses);
    tcase_add_test(refusals, no_client_is_opened_with_bad_options);
    tcase_add_test(copies, all_strings_are_copied);
    tcase_add_test(copies, what_is_0_is_the_default);
    tcase_add_test(copies, without_memory_nothing_is_half_copied);
    tcase_add_test(requests, a_client_may_want_bodies_as_they_are);
    tcase_add_test(requests, what_is_not_decompressed_is_delivered_as_it_came);
    tcase_add_test(requests, an_answer_that_is_too_slow_ends);
    tcase_add_test(requests, another_host_sees_neither_secrets_nor_the_first_ones_name);
    tcase_add_test(requests, all_connections_go_to_a_unix_socket);
    tcase_add_test(requests, a_unix_socket_may_have_an_abstract_name);
    tcase_add_test(requests, connections_come_from_a_local_address);
    tcase_add_test(requests, connections_come_from_an_interface);
    tcase_add_test(requests, an_address_of_another_machine_is_the_requests_error);
    return suite_end(suite);
}
