/* SPDX-License-Identifier: MIT */
/* TLS on streams, both ends uco's. The certificates are made here by the openssl program; where
 * there is none, nothing is tested. */
#include "stream_scene.h"

#include <spawn.h>
#include <sys/wait.h>
#include <uco/tls.h>

extern char **environ;

#define EXIT_SKIPPED 77 /* as meson has it */
#define BULK ((size_t) 1024 * 1024)

/* --- certificates --- */

static char directory[] = "/tmp/uco-tls-XXXXXX";

/* A file of the directory, with its path. */
struct file {
    char path[64];
};
static struct file ca, ca_key, good, good_key, other, other_key, expired, expired_key, own, own_key,
    client, client_key;
static struct file *const files[] = {&ca,    &ca_key,    &good,    &good_key,
                                     &other, &other_key, &expired, &expired_key,
                                     &own,   &own_key,   &client,  &client_key};

static int
run(const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    status = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *) (uintptr_t) argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return status == 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Signed by the authority, or (issued = false) by itself. */
static bool
certificate_make(const struct file *certificate, const struct file *key, const char *subject,
                 const char *names, const char *days, bool issued)
{
    const char *argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:prime256v1",
                          "-nodes",
                          "-days",
                          days,
                          "-subj",
                          subject,
                          "-addext",
                          names,
                          "-keyout",
                          key->path,
                          "-out",
                          certificate->path,
                          "-CA",
                          ca.path,
                          "-CAkey",
                          ca_key.path,
                          "-addext",
                          "basicConstraints=critical,CA:FALSE",
                          NULL};

    if (!issued)
        argv[18] = NULL;
    return run(argv) == 0;
}

static const char local[] = "subjectAltName=DNS:localhost,IP:127.0.0.1";

/* `req` makes none that has ended; `x509` does, from a request. */
static bool
expired_make(void)
{
    const char *const request[] = {"openssl",
                                   "req",
                                   "-new",
                                   "-newkey",
                                   "ec",
                                   "-pkeyopt",
                                   "ec_paramgen_curve:prime256v1",
                                   "-nodes",
                                   "-subj",
                                   "/CN=localhost",
                                   "-addext",
                                   local,
                                   "-keyout",
                                   expired_key.path,
                                   "-out",
                                   expired.path,
                                   NULL};
    const char *const sign[] = {
        "openssl", "x509",        "-req",      "-in",   expired.path, "-CA",
        ca.path,   "-CAkey",      ca_key.path, "-days", "-1",         "-copy_extensions",
        "copy",    "-set_serial", "5",         "-out",  expired.path, NULL};

    return run(request) == 0 && run(sign) == 0;
}

static bool
certificates_make(void)
{
    if (mkdtemp(directory) == NULL)
        return false;
    for (size_t i = 0; i < COUNT(files); i++)
        snprintf(files[i]->path, sizeof files[i]->path, "%s/%zu.pem", directory, i);
    return certificate_make(&ca, &ca_key, "/CN=authority", "nsComment=none", "2", false) &&
           certificate_make(&good, &good_key, "/CN=localhost", local, "2", true) &&
           certificate_make(&other, &other_key, "/CN=elsewhere",
                            "subjectAltName=DNS:elsewhere.example", "2", true) &&
           expired_make() && certificate_make(&own, &own_key, "/CN=localhost", local, "2", false) &&
           certificate_make(&client, &client_key, "/CN=alice", "nsComment=none", "2", true);
}

static void
certificates_remove(void)
{
    for (size_t i = 0; i < COUNT(files); i++)
        unlink(files[i]->path);
    rmdir(directory);
}

/* --- both ends --- */

struct end {
    uco_stream *s;
    uco_tls_options options;
    intptr_t result; /* of the handshake */
};

struct both {
    struct end client, server;
};

static struct both
both_new(void)
{
    struct both both = {0};
    int ends[2];

    tcp_pair(ends);
    both.client.s = stream_of(ends[0]);
    both.server.s = stream_of(ends[1]);
    both.client.options = (uco_tls_options){.host = "localhost", .ca_file = ca.path};
    both.server.options =
        (uco_tls_options){.server = true, .cert_file = good.path, .key_file = good_key.path};
    return both;
}

static intptr_t
starts(void *arg)
{
    struct end *end = arg;

    end->result = uco_stream_start_tls(end->s, &end->options);
    if (end->result < 0)
        shutdown(uco_stream_fd(end->s), SHUT_WR); /* the other end need not wait */
    return end->result;
}

/* The handshake of both. */
static void
both_start(struct both *both)
{
    uco_task *task = uco_create_task(starts, &both->server);

    starts(&both->client);
    uco_join(task);
}

static void
both_end(struct both *both)
{
    uco_stream_close(both->client.s);
    uco_stream_close(both->server.s);
}

static void
both_expect(struct both *both, int client_result, int server_result)
{
    both_start(both);
    ck_assert_msg(both->client.result == client_result, "client: %d: %s", (int) both->client.result,
                  uco_stream_tls_error(both->client.s));
    ck_assert_msg(both->server.result == server_result, "server: %d: %s", (int) both->server.result,
                  uco_stream_tls_error(both->server.s));
}

static void
exchange(struct both *both)
{
    ck_assert_int_eq(uco_stream_write(both->client.s, "ping", 4), 4);
    read_text(both->server.s, 4, "ping");
    ck_assert_int_eq(uco_stream_write(both->server.s, "pong", 4), 4);
    read_text(both->client.s, 4, "pong");
}

/* --- what works --- */

static intptr_t
both_talk(void *arg)
{
    struct both both = both_new();
    char name[64];

    (void) arg;
    both_expect(&both, 0, 0);
    exchange(&both);
    ck_assert_str_eq(uco_stream_tls_version(both.client.s), "TLSv1.3");
    ck_assert_str_eq(uco_stream_tls_server_name(both.server.s), "localhost");
    ck_assert_ptr_null(uco_stream_tls_alpn(both.client.s));
    ck_assert_int_eq(uco_stream_tls_peer_name(both.client.s, name, sizeof name), 9);
    ck_assert_str_eq(name, "localhost");
    ck_assert_int_eq(uco_stream_tls_peer_name(both.server.s, name, sizeof name), -ENODATA);
    ck_assert_int_eq(uco_stream_close(both.client.s), 0);
    ck_assert_int_eq(uco_stream_read(both.server.s, name, sizeof name), 0);
    return uco_stream_close(both.server.s);
}

START_TEST(both_ends_talk_and_a_close_is_seen_as_the_end)
{
    ck_assert_int_eq(run_virtual(both_talk, NULL), 0);
}
END_TEST

static intptr_t
writes_bulk(void *arg)
{
    char *bulk = malloc(BULK);
    ssize_t r;

    for (size_t i = 0; i < BULK; i++)
        bulk[i] = (char) (i * 7 + i / 251);
    r = uco_stream_write(arg, bulk, BULK);
    free(bulk);
    return r == (ssize_t) BULK ? uco_stream_shutdown(arg) : r;
}

static void
read_bulk(uco_stream *s)
{
    char *bulk = malloc(BULK);
    size_t wrong = 0;

    ck_assert_int_eq(uco_stream_read_exactly(s, bulk, BULK), (ssize_t) BULK);
    for (size_t i = 0; i < BULK; i++)
        wrong += bulk[i] != (char) (i * 7 + i / 251);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_int_eq(uco_stream_read(s, bulk, 1), 0);
    free(bulk);
}

static intptr_t
reads_bulk(void *arg)
{
    read_bulk(arg);
    return 0;
}

static intptr_t
bulk_both_ways(void *arg)
{
    struct both both = both_new();
    uco_task *tasks[3];

    (void) arg;
    both_expect(&both, 0, 0);
    tasks[0] = uco_create_task(writes_bulk, both.client.s);
    tasks[1] = uco_create_task(writes_bulk, both.server.s);
    tasks[2] = uco_create_task(reads_bulk, both.server.s);
    read_bulk(both.client.s);
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
    both_end(&both);
    return 0;
}

START_TEST(a_mebibyte_goes_both_ways_at_once_and_each_half_closes)
{
    ck_assert_int_eq(run_virtual(bulk_both_ways, NULL), 0);
}
END_TEST

/* --- certificates that are not accepted, and those that are --- */

struct verification {
    const struct file *certificate, *key;
    const char *host;
    bool insecure, unknown;
    const char *words;
};

static intptr_t
verifies(void *arg)
{
    const struct verification *v = arg;
    struct both both = both_new();

    both.server.options.cert_file = v->certificate->path;
    both.server.options.key_file = v->key->path;
    both.client.options.host = v->host;
    both.client.options.insecure = v->insecure;
    if (v->unknown)
        both.client.options.ca_file = own.path;
    if (v->words == NULL) {
        both_expect(&both, 0, 0);
        exchange(&both);
    } else {
        both_expect(&both, -EKEYREJECTED, -EKEYREJECTED);
        ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(both.client.s), v->words));
        ck_assert_int_lt(uco_stream_write(both.client.s, "secret", 6), 0);
        ck_assert_int_lt(uco_stream_read(both.client.s, &both, 1), 0);
    }
    both_end(&both);
    return 0;
}

static const struct verification verifications[] = {
    {&good, &good_key, "localhost", false, false, NULL},
    {&good, &good_key, "localhost.", false, false, NULL},
    {&good, &good_key, "127.0.0.1", false, false, NULL},
    {&good, &good_key, "127.0.0.2", false, false, "IP address mismatch: 127.0.0.2"},
    {&other, &other_key, "localhost", false, false, "ostname mismatch: localhost"},
    {&expired, &expired_key, "localhost", false, false, "certificate has expired: localhost"},
    {&own, &own_key, "localhost", false, false, "self-signed certificate: localhost"},
    {&good, &good_key, "localhost", false, true, "localhost"},
    {&own, &own_key, "localhost", true, false, NULL},
    {&expired, &expired_key, NULL, true, false, NULL},
};

START_TEST(only_a_certificate_for_the_host_is_accepted)
{
    struct verification v = verifications[_i];

    ck_assert_int_eq(run_virtual(verifies, &v), 0);
}
END_TEST

static intptr_t
shows_certificate(void *arg)
{
    const struct file *const *shown = arg;
    struct both both = both_new();
    char name[16], byte;

    both.server.options.verify_client = true;
    both.server.options.ca_file = ca.path;
    both.client.options.cert_file = shown[0] != NULL ? shown[0]->path : NULL;
    both.client.options.key_file = shown[1] != NULL ? shown[1]->path : NULL;
    if (shown[0] == &client) {
        both_expect(&both, 0, 0);
        exchange(&both);
        ck_assert_int_eq(uco_stream_tls_peer_name(both.server.s, name, sizeof name), 5);
        ck_assert_str_eq(name, "alice");
        ck_assert_int_eq(uco_stream_tls_peer_name(both.server.s, name, 5), -EMSGSIZE);
    } else {
        /* In TLS 1.3 the client is done before the server has looked. */
        both_expect(&both, 0, -EKEYREJECTED);
        ck_assert_int_eq(uco_stream_read(both.client.s, &byte, 1), -EKEYREJECTED);
    }
    both_end(&both);
    return 0;
}

START_TEST(a_server_can_want_a_certificate)
{
    const struct file *shown[][2] = {{&client, &client_key}, {NULL, NULL}, {&own, &own_key}};

    ck_assert_int_eq(run_virtual(shows_certificate, shown[_i]), 0);
}
END_TEST

/* --- protocols and sessions --- */

static intptr_t
agrees(void *arg)
{
    struct both both = both_new();

    (void) arg;
    both.client.options.alpn = "http/1.1,h2";
    both.server.options.alpn = "h2,http/1.1";
    both_expect(&both, 0, 0);
    ck_assert_str_eq(uco_stream_tls_alpn(both.client.s), "h2");
    ck_assert_str_eq(uco_stream_tls_alpn(both.server.s), "h2");
    both_end(&both);
    both = both_new();
    both.client.options.alpn = "spdy/1";
    both.server.options.alpn = "h2";
    both_expect(&both, -EPROTO, -EPROTO);
    both_end(&both);
    return 0;
}

START_TEST(the_servers_preferred_protocol_is_chosen_and_none_in_common_is_an_error)
{
    ck_assert_int_eq(run_virtual(agrees, NULL), 0);
}
END_TEST

/* A connection to a listening socket, so that the next one has the same port. */
static struct both
both_connect(int listening, uco_tls_context *const contexts[2])
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    struct both both = {0};

    ck_assert_int_eq(getsockname(listening, (struct sockaddr *) &address, &size), 0);
    both.client.s = stream_of(tcp_connect(ntohs(address.sin_port)));
    both.server.s = stream_of(uco_accept4(listening, NULL, NULL, SOCK_CLOEXEC));
    both.client.options = (uco_tls_options){.host = "localhost", .context = contexts[0]};
    both.server.options = (uco_tls_options){.context = contexts[1]};
    return both;
}

static intptr_t
resumes(void *arg)
{
    const enum uco_tls_version version = arg != NULL ? UCO_TLS_1_2 : UCO_TLS_1_3;
    uco_tls_options options[] = {
        {.ca_file = ca.path, .max_version = version},
        {.server = true, .cert_file = good.path, .key_file = good_key.path},
    };
    uco_tls_context *contexts[] = {uco_tls_context_new(&options[0]),
                                   uco_tls_context_new(&options[1])};
    char name[16];

    /* Two servers in turn: the session of one is of no use for the other. */
    for (int server = 0; server < 2; server++) {
        int listening = uco_listen("127.0.0.1", 0, 0);

        for (int i = 0; i < 3; i++) {
            struct both both = both_connect(listening, contexts);

            both_expect(&both, 0, 0);
            exchange(&both);
            ck_assert_str_eq(uco_stream_tls_version(both.client.s),
                             arg != NULL ? "TLSv1.2" : "TLSv1.3");
            ck_assert_int_eq(uco_stream_tls_resumed(both.client.s), i > 0);
            ck_assert_int_eq(uco_stream_tls_resumed(both.server.s), i > 0);
            ck_assert_int_eq(uco_stream_tls_peer_name(both.client.s, name, sizeof name), 9);
            both_end(&both);
        }
        uco_close(listening);
    }
    uco_tls_context_free(contexts[0]);
    uco_tls_context_free(contexts[1]);
    return 0;
}

START_TEST(a_session_is_resumed_with_the_same_server_only)
{
    ck_assert_int_eq(run_virtual(resumes, _i == 0 ? NULL : (void *) &ca), 0);
}
END_TEST

/* --- what goes wrong on the wire --- */

static intptr_t
is_cut(void *arg)
{
    struct both both = both_new();
    char byte;

    (void) arg;
    both_expect(&both, 0, 0);
    ck_assert_int_eq(shutdown(uco_stream_fd(both.client.s), SHUT_WR), 0);
    ck_assert_int_eq(uco_stream_read(both.server.s, &byte, 1), -ECONNRESET);
    ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(both.server.s), "cut"));
    both_end(&both);
    return 0;
}

START_TEST(an_end_without_close_notify_is_an_error)
{
    ck_assert_int_eq(run_virtual(is_cut, NULL), 0);
}
END_TEST

static intptr_t
meets_garbage(void *arg)
{
    struct scene scene = scene_tcp();
    struct end end = {.s = scene.s, .options = {.host = "localhost", .ca_file = ca.path}};
    uco_task *task = uco_create_task(starts, &end);

    ck_assert_int_eq(uco_test_settle(), 0);
    if (arg != NULL)
        say(&scene, arg);
    else
        say_no_more(&scene);
    ck_assert_int_eq(uco_join(task), arg != NULL ? -EPROTO : -ECONNRESET);
    ck_assert_str_ne(uco_stream_tls_error(scene.s), "");
    uco_stream_close(scene.s);
    if (scene.other >= 0)
        close(scene.other);
    return 0;
}

START_TEST(garbage_in_the_handshake_is_a_protocol_error)
{
    ck_assert_int_eq(run_virtual(meets_garbage, (void *) (uintptr_t) "HTTP/1.1 400 Bad\r\n\r\n"),
                     0);
}
END_TEST

START_TEST(a_peer_that_leaves_in_the_handshake_is_a_reset)
{
    ck_assert_int_eq(run_virtual(meets_garbage, NULL), 0);
}
END_TEST

static intptr_t
meets_silence(void *arg)
{
    struct scene scene = scene_tcp();
    struct end end = {.s = scene.s, .options = {.host = "localhost", .ca_file = ca.path}};

    (void) arg;
    ck_assert_int_eq(uco_with_timeout(5, starts, &end), -ETIMEDOUT);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -ECONNABORTED);
    uco_stream_close(scene.s);
    close(scene.other);
    return 0;
}

START_TEST(a_handshake_that_stalls_times_out_and_leaves_nothing_unprotected)
{
    ck_assert_int_eq(run_virtual(meets_silence, NULL), 0);
}
END_TEST

static intptr_t
starts_later(void *arg)
{
    struct both both = both_new();
    const char *line;

    (void) arg;
    ck_assert_int_eq(uco_stream_printf(both.client.s, "STARTTLS\n"), 9);
    ck_assert_int_eq(uco_stream_read_line(both.server.s, &line), 9);
    ck_assert_int_eq(uco_stream_printf(both.server.s, "go ahead\n"), 9);
    ck_assert_int_eq(uco_stream_read_line(both.client.s, &line), 9);
    both_expect(&both, 0, 0);
    exchange(&both);
    ck_assert_int_eq(uco_stream_start_tls(both.client.s, &both.client.options), -EALREADY);
    exchange(&both);
    both_end(&both);
    return 0;
}

START_TEST(a_stream_can_start_tls_in_its_middle_once)
{
    ck_assert_int_eq(run_virtual(starts_later, NULL), 0);
}
END_TEST

/* With the nth call of this kind failing: whatever happens, both ends can be closed. */
static intptr_t
fails_at(void *arg)
{
    void **what_and_nth = arg;
    struct both both = both_new();
    char byte;

    uco_test_fail(what_and_nth[0], (unsigned long) (uintptr_t) what_and_nth[1],
                  what_and_nth[2] != NULL, EIO);
    both_start(&both);
    if (both.client.result == 0 && both.server.result == 0) {
        uco_stream_write(both.client.s, "ping", 4);
        uco_stream_read(both.server.s, &byte, 1);
    }
    uco_test_fail_off();
    both_end(&both);
    return 0;
}

static intptr_t
fails_in_time(void *arg)
{
    return uco_with_timeout(60, fails_at, arg);
}

START_TEST(any_call_may_fail)
{
    static const char *const kinds[] = {"malloc", "read", "write", "epoll_ctl", "open"};

    for (uintptr_t nth = 1; nth <= 40; nth++) {
        void *what[] = {(void *) (uintptr_t) kinds[_i / 2], (void *) nth,
                        _i % 2 != 0 ? what : NULL};

        ck_assert_int_eq(run_virtual(fails_in_time, what), 0);
    }
}
END_TEST

static intptr_t
is_injected(void *arg)
{
    struct scene scene = scene_tcp();
    struct end end = {.s = scene.s, .options = {.host = "localhost", .ca_file = ca.path}};
    const char *line;

    (void) arg;
    say(&scene, "go ahead\nslipped in");
    ck_assert_int_eq(uco_stream_read_line(scene.s, &line), 9);
    ck_assert_int_eq(starts(&end), -EPROTO);
    scene_end(&scene);
    return 0;
}

START_TEST(plain_bytes_before_the_handshake_are_refused)
{
    ck_assert_int_eq(run_virtual(is_injected, NULL), 0);
}
END_TEST

static intptr_t
bad_options(void *arg)
{
    struct scene scene = scene_tcp();
    const uco_tls_options bad[] = {
        {.host = NULL},
        {.host = ""},
        {.server = true},
        {.host = "localhost", .verify_client = true},
        {.host = "localhost", .min_version = UCO_TLS_1_3, .max_version = UCO_TLS_1_2},
        {.host = "localhost", .key_file = good_key.path},
        {.host = "localhost", .alpn = "h2,"},
        {.host = "localhost", .ciphers = "none-such"},
    };
    const uco_tls_options missing = {.ca_file = "/nowhere.pem"};
    const uco_tls_options unfit = {.cert_file = good.path, .key_file = other_key.path};

    (void) arg;
    ck_assert_int_eq(uco_stream_start_tls(scene.s, &bad[0]), -EINVAL);
    ck_assert_int_eq(uco_stream_start_tls(scene.s, &bad[1]), -EINVAL);
    ck_assert_int_eq(uco_stream_start_tls(scene.s, NULL), -EINVAL);
    for (size_t i = 2; i < COUNT(bad); i++) {
        errno = 0;
        ck_assert_ptr_null(uco_tls_context_new(&bad[i]));
        ck_assert_int_eq(errno, EINVAL);
    }
    ck_assert_ptr_null(uco_tls_context_new(&missing));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(uco_tls_context_new(&unfit));
    ck_assert_int_eq(errno, EKEYREJECTED);
    scene_end(&scene);
    return 0;
}

START_TEST(bad_options_and_files_are_told_apart)
{
    ck_assert_int_eq(run_virtual(bad_options, NULL), 0);
}
END_TEST

int
main(void)
{
    Suite *suite;
    TCase *tls;
    int result;

    if (!certificates_make()) {
        certificates_remove();
        return EXIT_SKIPPED;
    }
    suite = suite_create("io TLS");
    tls = case_new(suite, "TLS");
    tcase_add_test(tls, both_ends_talk_and_a_close_is_seen_as_the_end);
    tcase_add_test(tls, a_mebibyte_goes_both_ways_at_once_and_each_half_closes);
    tcase_add_loop_test(tls, only_a_certificate_for_the_host_is_accepted, 0, COUNT(verifications));
    tcase_add_loop_test(tls, a_server_can_want_a_certificate, 0, 3);
    tcase_add_test(tls, the_servers_preferred_protocol_is_chosen_and_none_in_common_is_an_error);
    tcase_add_loop_test(tls, a_session_is_resumed_with_the_same_server_only, 0, 2);
    tcase_add_test(tls, an_end_without_close_notify_is_an_error);
    tcase_add_test(tls, garbage_in_the_handshake_is_a_protocol_error);
    tcase_add_test(tls, a_peer_that_leaves_in_the_handshake_is_a_reset);
    tcase_add_test(tls, a_handshake_that_stalls_times_out_and_leaves_nothing_unprotected);
    tcase_add_test(tls, a_stream_can_start_tls_in_its_middle_once);
    tcase_add_loop_test(tls, any_call_may_fail, 0, 10);
    tcase_add_test(tls, plain_bytes_before_the_handshake_are_refused);
    tcase_add_test(tls, bad_options_and_files_are_told_apart);
    result = suite_end(suite);
    certificates_remove();
    return result;
}
