/* SPDX-License-Identifier: MIT */
/* Servers with TLS. */
#include "tls_scene.h"

#include "server_scene.h"

static uco_tls_options server_tls; /* `server` is left false: a server's are a server's */

static uco_server *
tls_server(uco_stream_fn *handler, void *arg)
{
    uco_server_options options = {.host = "127.0.0.1", .tls = &server_tls};
    uco_server *server;

    server_tls =
        (uco_tls_options){.cert_file = good.path, .key_file = good_key.path, .alpn = "echo"};
    server = uco_server_start_with(&options, handler, arg);
    ck_assert_msg(server != NULL, "%s", uco_tls_error());
    return server;
}

static uco_stream *
tls_client(const uco_server *server, uco_tls_context *context)
{
    uco_stream *s = client_of(server);
    const uco_tls_options options = {
        .host = "localhost", .ca_file = ca.path, .alpn = "echo", .context = context};
    int r = uco_stream_start_tls(s, &options);

    ck_assert_msg(r == 0, "%s: %s", uco_strerror(r), uco_stream_tls_error(s));
    return s;
}

static intptr_t
talks(void *arg)
{
    uco_stream *s = tls_client(arg, NULL);
    char text[100];

    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "message %d", i);
        exchange(s, text);
    }
    ck_assert_str_eq(uco_stream_tls_alpn(s), "echo");
    return uco_stream_close(s);
}

static intptr_t
echoes_to_many(void *arg)
{
    uco_server *server = tls_server(echoes, NULL);
    uco_task *tasks[10];

    (void) arg;
    for (size_t i = 0; i < COUNT(tasks); i++)
        tasks[i] = uco_create_task(talks, server);
    for (size_t i = 0; i < COUNT(tasks); i++)
        ck_assert_int_eq(uco_join(tasks[i]), 0);
    return uco_server_close(server, 1e9);
}

START_TEST(a_server_with_tls_echoes_to_many)
{
    ck_assert_int_eq(run_real(echoes_to_many, NULL), 0);
}
END_TEST

static intptr_t
connects_again(void *arg)
{
    uco_server *server = tls_server(echoes, NULL);
    uco_tls_context *context =
        uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path, .alpn = "echo"});

    (void) arg;
    for (int i = 0; i < 4; i++) {
        uco_stream *s = tls_client(server, context);

        exchange(s, "hello");
        ck_assert_int_eq(uco_stream_tls_resumed(s), i > 0);
        ck_assert_int_eq(uco_stream_close(s), 0);
    }
    uco_tls_context_free(context);
    return uco_server_close(server, 1e9);
}

START_TEST(connections_of_one_server_resume_each_other)
{
    ck_assert_int_eq(run_real(connects_again, NULL), 0);
}
END_TEST

/* Who says nothing, and who says something else, costs its own connection only. */
static intptr_t
meets_bad_clients(void *arg)
{
    uco_server *server = arg;
    uco_stream *silent = client_of(server), *plain = client_of(server);
    char buf[100];

    ck_assert_int_eq(uco_stream_write(plain, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    while (uco_stream_read(plain, buf, sizeof buf) > 0)
        continue; /* an alert */
    ck_assert_int_eq(talks(server), 0);
    ck_assert_int_eq(uco_stream_read(silent, buf, sizeof buf), 0);
    uco_stream_close(silent);
    uco_stream_close(plain);
    return 0;
}

static intptr_t
serves_bad_clients(void *arg)
{
    uco_server_options options = {.host = "127.0.0.1", .tls = &server_tls, .tls_timeout = 0.5};
    uco_server *server;
    intptr_t r;

    (void) arg;
    server_tls =
        (uco_tls_options){.cert_file = good.path, .key_file = good_key.path, .alpn = "echo"};
    server = uco_server_start_with(&options, echoes, NULL);
    r = meets_bad_clients(server);
    uco_server_close(server, 1e9);
    return r;
}

START_TEST(a_silent_client_is_cut_off_and_a_plain_one_refused_without_a_word)
{
    struct reports reports;
    uco_loop_options options = reporting(&reports);

    options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&options, serves_bad_clients, NULL), 0);
    ck_assert_msg(strstr(reports.all, "a connection of the server") == NULL, "%s", reports.all);
}
END_TEST

static intptr_t
starts_badly(void *arg)
{
    uco_tls_context *of_client = uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path});
    uco_tls_options bad[] = {
        {.context = of_client},
        {.cert_file = NULL},
        {.cert_file = "/nowhere.pem"},
        {.cert_file = good.path, .key_file = other_key.path},
    };
    const int errors[] = {EINVAL, EINVAL, ENOENT, EKEYREJECTED};

    (void) arg;
    for (size_t i = 0; i < COUNT(bad); i++) {
        uco_server_options options = {.host = "127.0.0.1", .tls = &bad[i]};

        errno = 0;
        ck_assert_ptr_null(uco_server_start_with(&options, echoes, NULL));
        ck_assert_int_eq(errno, errors[i]);
        ck_assert(i == 0 || uco_tls_error()[0] != '\0');
    }
    ck_assert_str_ne(uco_tls_error(), "");
    uco_tls_context_free(of_client);
    return 0;
}

START_TEST(a_server_that_cannot_have_tls_does_not_start)
{
    ck_assert_int_eq(run_virtual(starts_badly, NULL), 0);
}
END_TEST

static intptr_t
says_much(uco_stream *s, void *arg)
{
    size_t n = (size_t) 512 * 1024;
    char *data = calloc(1, n);
    ssize_t r = uco_stream_write(s, data, n);

    (void) arg;
    free(data);
    return r < 0 ? r : 0;
}

/* The handler's end closes the connection, with all it has written, and the end is said. */
static intptr_t
is_told_much(void *arg)
{
    uco_server *server = tls_server(says_much, NULL);
    uco_stream *s = tls_client(server, NULL);
    char buf[8192];
    size_t got = 0;
    ssize_t n;

    (void) arg;
    while ((n = uco_stream_read(s, buf, sizeof buf)) > 0)
        got += (size_t) n;
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(got, 512 * 1024);
    uco_stream_close(s);
    return uco_server_close(server, 1e9);
}

START_TEST(what_a_handler_wrote_arrives_and_ends_well)
{
    ck_assert_int_eq(run_real(is_told_much, NULL), 0);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *tls = case_new(suite, "servers");

    tcase_add_test(tls, a_server_with_tls_echoes_to_many);
    tcase_add_test(tls, connections_of_one_server_resume_each_other);
    tcase_add_test(tls, a_silent_client_is_cut_off_and_a_plain_one_refused_without_a_word);
    tcase_add_test(tls, a_server_that_cannot_have_tls_does_not_start);
    tcase_add_test(tls, what_a_handler_wrote_arrives_and_ends_well);
}

int
main(void)
{
    return tls_tests("io TLS servers", add);
}
