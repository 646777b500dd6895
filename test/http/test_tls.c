/* SPDX-License-Identifier: MIT */
/* TLS, against openssl's own server with a certificate made here. Where there is no openssl
 * program, nothing is tested. */
#include "fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define EXIT_SKIPPED 77 /* as meson has it */

static char directory[] = "/tmp/uco-tls-XXXXXX";
static char certificate[64], key[64];

static int
run(const char *const *argv)
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    status = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *) (uintptr_t) argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

/* For "localhost" and 127.0.0.1, signed by itself. */
static bool
certificate_make(void)
{
    const char *const argv[] = {"openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "ec",
                                "-pkeyopt",
                                "ec_paramgen_curve:prime256v1",
                                "-nodes",
                                "-days",
                                "2",
                                "-subj",
                                "/CN=localhost",
                                "-addext",
                                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                                "-keyout",
                                key,
                                "-out",
                                certificate,
                                NULL};

    if (mkdtemp(directory) == NULL)
        return false;
    snprintf(certificate, sizeof certificate, "%s/cert.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    return run(argv) == 0;
}

static void
certificate_remove(void)
{
    unlink(certificate);
    unlink(key);
    rmdir(directory);
}

struct tls_server {
    pid_t pid;
    FILE *output;
    unsigned port;
};

/* It tells the port that it has got. */
static void
tls_server_start(struct tls_server *server, bool asks_for_certificate)
{
    const char *argv[] = {"openssl",   "s_server",
                          "-accept",   "127.0.0.1:0",
                          "-cert",     certificate,
                          "-key",      key,
                          "-www",      "-Verify",
                          "1",         "-CAfile",
                          certificate, "-verify_return_error",
                          NULL};
    posix_spawn_file_actions_t actions;
    char line[256];
    int ends[2];

    if (!asks_for_certificate)
        argv[9] = NULL;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    ck_assert_int_eq(posix_spawnp(&server->pid, argv[0], &actions, NULL,
                                  (char *const *) (uintptr_t) argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    server->output = fdopen(ends[0], "r");
    ck_assert_ptr_nonnull(server->output);
    server->port = 0;
    while (server->port == 0 && fgets(line, sizeof line, server->output) != NULL) {
        if (strncmp(line, "ACCEPT ", 7) == 0)
            server->port = (unsigned) strtoul(strrchr(line, ':') + 1, NULL, 10);
    }
    ck_assert_uint_ne(server->port, 0);
}

static void
tls_server_stop(struct tls_server *server)
{
    kill(server->pid, SIGTERM);
    waitpid(server->pid, NULL, 0);
    fclose(server->output);
}

struct tls_case {
    uco_http_client_options options;
    const char *host;
    unsigned port;
    int result;
};

static intptr_t
get_tls(void *arg)
{
    struct tls_case *c = arg;
    uco_http_client *client;
    uco_http_response *response;
    char url[64];
    int r;

    c->options.proxy = "";
    client = uco_http_client_new(&c->options);
    ck_assert_ptr_nonnull(client);
    snprintf(url, sizeof url, "https://%s:%u/", c->host, c->port);
    for (int i = 0; i < 2; i++) {
        r = uco_http_get(client, url, &response);
        ck_assert_msg(r == c->result, "%d: %s", r, uco_http_error(client));
        if (r == 0) {
            ck_assert_int_eq(response->status, 200);
            ck_assert_ptr_nonnull(strstr(response->text, "s_server"));
            uco_http_response_free(response);
        }
    }
    return uco_http_client_close(client);
}

static void
try_tls(struct tls_case *c, bool asks_for_certificate)
{
    struct tls_server server;

    tls_server_start(&server, asks_for_certificate);
    c->port = server.port;
    ck_assert_int_eq(run_real(get_tls, c), 0);
    tls_server_stop(&server);
}

START_TEST(a_certificate_that_nobody_vouches_for_is_refused)
{
    struct tls_case c = {.host = "127.0.0.1", .result = -EPROTO};

    try_tls(&c, false);
}
END_TEST

START_TEST(an_insecure_client_takes_any_certificate)
{
    struct tls_case c = {.host = "127.0.0.1", .options.insecure = true};

    try_tls(&c, false);
}
END_TEST

START_TEST(a_certificate_of_the_ca_file_is_taken)
{
    struct tls_case c = {.host = "localhost", .options.ca_file = certificate};

    try_tls(&c, false);
}
END_TEST

START_TEST(a_certificate_for_another_host_is_refused)
{
    struct tls_case c = {
        .host = "other.localhost", .options.ca_file = certificate, .result = -EPROTO};

    try_tls(&c, false);
}
END_TEST

START_TEST(a_client_certificate_is_shown)
{
    struct tls_case c = {
        .host = "localhost",
        .options = {.ca_file = certificate,
                    .client_cert = certificate,
                    .client_key = key,
                    .http1_only = true},
    };

    try_tls(&c, true);
}
END_TEST

START_TEST(without_a_client_certificate_that_is_asked_for_it_fails)
{
    struct tls_case c = {.host = "localhost", .options.ca_file = certificate, .result = -EPROTO};

    try_tls(&c, true);
}
END_TEST

static intptr_t
visit_url(void *arg)
{
    void **client_and_url = arg;
    uco_http_response *response;
    intptr_t r = uco_http_get(client_and_url[0], client_and_url[1], &response);

    if (r == 0)
        uco_http_response_free(response);
    return r;
}

/* Nobody accepts the connection, so nobody answers: cancelled within the handshake, again and
 * again. */
static void
cancel_handshake(struct fixture *f)
{
    int silent = uco_listen("127.0.0.1", 0, 16);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    char url[64];
    void *arguments[] = {f->client, url};

    ck_assert_int_ge(silent, 0);
    ck_assert_int_eq(getsockname(silent, (struct sockaddr *) &address, &size), 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", (unsigned) ntohs(address.sin_port));
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(uco_with_timeout(0.01, visit_url, arguments), -ETIMEDOUT);
        expect_text(f, "/late/0", "late");
    }
    uco_close(silent);
}

START_TEST(a_request_can_be_cancelled_within_the_handshake)
{
    /* A machine without the usual certificates would fail before the handshake. */
    const uco_http_client_options options = {.ca_file = certificate};

    serve_with(&options, cancel_handshake);
}
END_TEST

int
main(void)
{
    Suite *suite;
    TCase *tls;
    int result;

    if (!certificate_make()) {
        certificate_remove();
        return EXIT_SKIPPED;
    }
    suite = suite_create("http TLS");
    tls = case_new(suite, "TLS");
    tcase_add_test(tls, a_certificate_that_nobody_vouches_for_is_refused);
    tcase_add_test(tls, an_insecure_client_takes_any_certificate);
    tcase_add_test(tls, a_certificate_of_the_ca_file_is_taken);
    tcase_add_test(tls, a_certificate_for_another_host_is_refused);
    tcase_add_test(tls, a_client_certificate_is_shown);
    tcase_add_test(tls, without_a_client_certificate_that_is_asked_for_it_fails);
    tcase_add_test(tls, a_request_can_be_cancelled_within_the_handshake);
    result = suite_end(suite);
    certificate_remove();
    return result;
}
