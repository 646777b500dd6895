/* SPDX-License-Identifier: MIT */
/* TLS on streams, both ends uco's. */
#include "tls_scene.h"

#include <sys/stat.h>

#define BULK ((size_t) 1024 * 1024)

/* --- what works --- */

static intptr_t
both_talk(void *arg)
{
    struct both both = both_new();
    char name[64];

    (void) arg;
    both_expect(&both, 0, 0);
    both_exchange(&both);
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
        both_exchange(&both);
        if (v->host != NULL && strpbrk(v->host, "12") != NULL) /* an address is not told */
            ck_assert_ptr_null(uco_stream_tls_server_name(both.server.s));
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
    {&good, &good_key, "::1", false, false, NULL},
    {&good, &good_key, "::1%lo", false, false, NULL},
    {&good, &good_key, "127.0.0.2", false, false, "IP address mismatch: 127.0.0.2"},
    {&wild, &wild_key, "a.example.com", false, false, NULL},
    {&wild, &wild_key, "a.b.example.com", false, false, "ostname mismatch: a.b.example.com"},
    {&wild, &wild_key, "example.com", false, false, "ostname mismatch: example.com"},
    {&alice, &alice_key, "127.0.0.1", false, false, "IP address mismatch: 127.0.0.1"},
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
    if (shown[0] == &alice) {
        both_expect(&both, 0, 0);
        both_exchange(&both);
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
    const struct file *shown[][2] = {{&alice, &alice_key}, {NULL, NULL}, {&own, &own_key}};

    ck_assert_int_eq(run_virtual(shows_certificate, shown[_i]), 0);
}
END_TEST

/* --- protocols --- */

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

static intptr_t
is_cancelled(void *arg)
{
    struct scene scene = scene_tcp();
    struct end end = {.s = scene.s, .options = {.host = "localhost", .ca_file = ca.path}};
    uco_task *task;
    char byte;

    (void) arg;
    task = uco_create_task(starts, &end);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_int_eq(uco_stream_write(scene.s, "x", 1), -ECONNABORTED);
    ck_assert_int_eq(uco_stream_read(scene.s, &byte, 1), -ECONNABORTED);
    ck_assert_int_eq(uco_stream_start_tls(scene.s, &end.options), -EALREADY);
    uco_stream_close(scene.s);
    close(scene.other);
    return 0;
}

START_TEST(a_handshake_can_be_cancelled)
{
    ck_assert_int_eq(run_virtual(is_cancelled, NULL), 0);
}
END_TEST

static intptr_t
starts_only(void *arg)
{
    struct end *end = arg;

    return uco_stream_start_tls(end->s, &end->options);
}

static intptr_t
is_closed_meanwhile(void *arg)
{
    struct scene scene = scene_tcp();
    struct end end = {.s = scene.s, .options = {.host = "localhost", .ca_file = ca.path}};
    uco_task *task;

    (void) arg;
    task = uco_create_task(starts_only, &end);
    ck_assert_int_eq(uco_test_settle(), 0);
    uco_stream_close(scene.s);
    ck_assert_int_eq(uco_join(task), -EBADF);
    close(scene.other);
    return 0;
}

START_TEST(a_close_ends_a_handshake)
{
    ck_assert_int_eq(run_virtual(is_closed_meanwhile, NULL), 0);
}
END_TEST

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
    both_exchange(&both);
    ck_assert_int_eq(uco_stream_start_tls(both.client.s, &both.client.options), -EALREADY);
    both_exchange(&both);
    both_end(&both);
    return 0;
}

START_TEST(a_stream_can_start_tls_in_its_middle_once)
{
    ck_assert_int_eq(run_virtual(starts_later, NULL), 0);
}
END_TEST

/* What a call may end with when one below it fails with EIO or for want of memory, or when the other
 * side has given up for such a reason. */
static void
expect_result(intptr_t result, const char *words, const char *kind)
{
    const int errors[] = {-EIO, -ENOMEM, -ECONNRESET, -EPROTO, -EPIPE};

    if (result >= 0)
        return;
    /* Without any memory some kernels and backends cannot tell what happened: time ends it. */
    if (result == -ECANCELED && strcmp(kind, "malloc") == 0)
        return;
    ck_assert(words[0] != '\0' || result == -ENOMEM); /* which needs no words */
    for (size_t i = 0; i < COUNT(errors); i++) {
        if (result == errors[i])
            return;
    }
    ck_abort_msg("%s: %d: %s", kind, (int) result, words);
}

/* With the nth call of this kind failing: both ends get a result that the header names, and can be
 * closed; and then all works as before. */
static intptr_t
fails_at(void *arg)
{
    void **what_and_nth = arg;
    struct both both = both_local();
    uco_task *task = uco_create_task(starts, &both.server);
    char byte;

    uco_test_fail(what_and_nth[0], (unsigned long) (uintptr_t) what_and_nth[1],
                  what_and_nth[2] != NULL, EIO);
    starts(&both.client);
    uco_join(task);
    expect_result(both.client.result, uco_stream_tls_error(both.client.s), what_and_nth[0]);
    expect_result(both.server.result, uco_stream_tls_error(both.server.s), what_and_nth[0]);
    if (both.client.result == 0 && both.server.result == 0) {
        intptr_t r = uco_stream_write(both.client.s, "ping", 4);

        expect_result(r, "a write", what_and_nth[0]);
        if (r == 4 && uco_stream_drain(both.client.s) == 0)
            expect_result(uco_stream_read(both.server.s, &byte, 1), "a read", what_and_nth[0]);
    }
    uco_test_fail_off();
    both_end(&both);
    return 0;
}

static intptr_t
fails_in_time(void *arg)
{
    intptr_t r = uco_with_timeout(60, fails_at, arg);
    struct both both = both_local();

    both_expect(&both, 0, 0);
    both_exchange(&both);
    both_end(&both);
    return r == -ETIMEDOUT && strcmp(*(char **) arg, "malloc") == 0 ? 0 : r;
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
        {.host = ".example.com"},
        {.server = true},
        {.host = "localhost", .verify_client = true},
        {.host = "localhost", .min_version = UCO_TLS_1_3, .max_version = UCO_TLS_1_2},
        {.host = "localhost", .key_file = good_key.path},
        {.host = "localhost", .alpn = "h2,"},
        {.host = "localhost", .ciphers = "none-such"},
    };
    const size_t of_stream = 3;

    (void) arg;
    for (size_t i = 0; i < of_stream; i++)
        ck_assert_int_eq(uco_stream_start_tls(scene.s, &bad[i]), -EINVAL);
    ck_assert_int_eq(uco_stream_start_tls(scene.s, NULL), -EINVAL);
    for (size_t i = of_stream; i < COUNT(bad); i++) {
        errno = 0;
        ck_assert_ptr_null(uco_tls_context_new(&bad[i]));
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_str_ne(uco_tls_error(), "");
    }
    ck_assert_ptr_null(uco_tls_context_new(NULL));
    ck_assert_int_eq(errno, EINVAL);
    scene_end(&scene);
    return 0;
}

START_TEST(bad_options_are_refused)
{
    ck_assert_int_eq(run_virtual(bad_options, NULL), 0);
}
END_TEST

/* --- files --- */

static struct file
file_named(const char *name)
{
    struct file file;

    snprintf(file.path, sizeof file.path, "%s/%s", directory, name);
    return file;
}

static struct file
file_make(const char *name, const char *text)
{
    struct file file = file_named(name);
    FILE *f = fopen(file.path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
    return file;
}

static void
expect_unfit(uco_tls_options options, int error, const char *words)
{
    errno = 0;
    ck_assert_ptr_null(uco_tls_context_new(&options));
    ck_assert_msg(errno == error, "%d: %s", errno, uco_tls_error());
    ck_assert_msg(strstr(uco_tls_error(), words) != NULL, "%s", uco_tls_error());
}

static intptr_t
bad_files(void *arg)
{
    struct file empty = file_make("empty.pem", ""), directory_empty = file_named("none");
    struct file locked = file_named("locked.pem");
    struct file garbage = file_make("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                                   "-----END CERTIFICATE-----\n");
    const char *const lock[] = {"openssl", "pkey",        "-aes128", "-passout",  "pass:secret",
                                "-in",     good_key.path, "-out",    locked.path, NULL};
    uco_tls_context *context;

    (void) arg;
    ck_assert_int_eq(run(lock), 0);
    ck_assert_int_eq(mkdir(directory_empty.path, 0700), 0);
    expect_unfit((uco_tls_options){.ca_file = "/nowhere.pem"}, ENOENT,
                 "/nowhere.pem: No such file");
    expect_unfit((uco_tls_options){.ca_path = "/nowhere"}, ENOENT, "/nowhere: No such file");
    expect_unfit((uco_tls_options){.ca_path = directory_empty.path}, EBADMSG, "rehash");
    expect_unfit((uco_tls_options){.ca_file = empty.path}, EBADMSG, "empty.pem: ");
    expect_unfit((uco_tls_options){.ca_file = garbage.path}, EBADMSG, "garbage.pem: ");
    expect_unfit((uco_tls_options){.cert_file = empty.path}, EBADMSG, "empty.pem: ");
    expect_unfit((uco_tls_options){.cert_file = good.path}, EBADMSG, good.path);
    expect_unfit((uco_tls_options){.cert_file = good.path, .key_file = garbage.path}, EBADMSG,
                 "garbage.pem: ");
    expect_unfit((uco_tls_options){.cert_file = good.path, .key_file = locked.path}, EBADMSG,
                 "locked.pem: ");
    expect_unfit((uco_tls_options){.cert_file = good.path, .key_file = other_key.path},
                 EKEYREJECTED, "mismatch");
    context = uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path});
    ck_assert_ptr_nonnull(context);
    ck_assert_str_eq(uco_tls_error(), "");
    uco_tls_context_free(context);
    return 0;
}

START_TEST(why_a_context_cannot_be_made_is_told_in_words)
{
    ck_assert_int_eq(run_virtual(bad_files, NULL), 0);
}
END_TEST

static intptr_t
trusts_directory(void *arg)
{
    struct file authorities = file_named("authorities"), copy = file_named("authorities/ca.pem");
    const char *const copying[] = {"cp", ca.path, copy.path, NULL};
    const char *const hashing[] = {"openssl", "rehash", authorities.path, NULL};
    struct both both;

    (void) arg;
    ck_assert_int_eq(mkdir(authorities.path, 0700), 0);
    ck_assert_int_eq(run(copying), 0);
    if (run(hashing) != 0) {
        test_skipped("no `openssl rehash`");
        return 0;
    }
    both = both_new();
    both.client.options.ca_file = NULL;
    both.client.options.ca_path = authorities.path;
    both.server.options.ca_path = authorities.path;
    both.server.options.verify_client = true;
    both.client.options.cert_file = alice.path;
    both.client.options.key_file = alice_key.path;
    both_expect(&both, 0, 0);
    both_exchange(&both);
    both_end(&both);
    return 0;
}

START_TEST(a_directory_of_authorities_is_trusted)
{
    ck_assert_int_eq(run_virtual(trusts_directory, NULL), 0);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *tls = case_new(suite, "TLS");

    tcase_add_test(tls, both_ends_talk_and_a_close_is_seen_as_the_end);
    tcase_add_test(tls, a_mebibyte_goes_both_ways_at_once_and_each_half_closes);
    tcase_add_loop_test(tls, only_a_certificate_for_the_host_is_accepted, 0, COUNT(verifications));
    tcase_add_loop_test(tls, a_server_can_want_a_certificate, 0, 3);
    tcase_add_test(tls, the_servers_preferred_protocol_is_chosen_and_none_in_common_is_an_error);
    tcase_add_test(tls, an_end_without_close_notify_is_an_error);
    tcase_add_test(tls, garbage_in_the_handshake_is_a_protocol_error);
    tcase_add_test(tls, a_peer_that_leaves_in_the_handshake_is_a_reset);
    tcase_add_test(tls, a_handshake_can_be_cancelled);
    tcase_add_test(tls, a_close_ends_a_handshake);
    tcase_add_test(tls, a_handshake_that_stalls_times_out_and_leaves_nothing_unprotected);
    tcase_add_test(tls, a_stream_can_start_tls_in_its_middle_once);
    tcase_add_loop_test(tls, any_call_may_fail, 0, 10);
    tcase_add_test(tls, plain_bytes_before_the_handshake_are_refused);
    tcase_add_test(tls, bad_options_are_refused);
    tcase_add_test(tls, why_a_context_cannot_be_made_is_told_in_words);
    tcase_add_test(tls, a_directory_of_authorities_is_trusted);
}

int
main(void)
{
    return tls_tests("io TLS", add);
}
