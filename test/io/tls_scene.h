/* SPDX-License-Identifier: MIT */
#ifndef TEST_IO_TLS_SCENE_H
#define TEST_IO_TLS_SCENE_H

/* What the tests of TLS share: certificates, made by the openssl program, and both ends of a
 * connection. Where there is no such program, nothing is tested. */

#include "stream_scene.h"

#include <spawn.h>
#include <sys/wait.h>
#include <uco/tls.h>

extern char **environ;

#define EXIT_SKIPPED 77 /* as meson has it */

/* --- certificates --- */

static char directory[] = "/tmp/uco-tls-XXXXXX";

/* A file of the directory, with its path. */
struct file {
    char path[64];
};
static struct file ca, ca_key, good, good_key, other, other_key, expired, expired_key, own, own_key,
    alice, alice_key, wild, wild_key;
static struct file *const files[] = {&ca,        &ca_key,    &good,        &good_key, &other,
                                     &other_key, &expired,   &expired_key, &own,      &own_key,
                                     &alice,     &alice_key, &wild,        &wild_key};

static inline int
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
static inline bool
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

static const char local[] = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1";

/* `req` makes none that has ended; `x509` does, from a request. */
static inline bool
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

static inline bool
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
           certificate_make(&alice, &alice_key, "/CN=alice", "nsComment=none", "2", true) &&
           certificate_make(&wild, &wild_key, "/CN=wild", "subjectAltName=DNS:*.example.com", "2",
                            true);
}

static inline void
certificates_remove(void)
{
    const char *const argv[] = {"rm", "-rf", "--", directory, NULL};

    run(argv);
}

/* A program of tests, with the certificates there are for as long as it runs. */
static inline int
tls_tests(const char *name, void (*add)(Suite *suite))
{
    Suite *suite;
    int result;

    if (!certificates_make()) {
        certificates_remove();
        return EXIT_SKIPPED;
    }
    suite = suite_create(name);
    add(suite);
    result = suite_end(suite);
    certificates_remove();
    return result;
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

static inline struct both
both_of(int client_fd, int server_fd)
{
    struct both both = {0};

    both.client.s = stream_of(client_fd);
    both.server.s = stream_of(server_fd);
    both.client.options = (uco_tls_options){.host = "localhost", .ca_file = ca.path};
    both.server.options =
        (uco_tls_options){.server = true, .cert_file = good.path, .key_file = good_key.path};
    return both;
}

static inline struct both
both_new(void)
{
    int ends[2];

    tcp_pair(ends);
    return both_of(ends[0], ends[1]);
}

/* What one writes the other can read at once, so that a virtual clock does not jump in between. */
static inline struct both
both_local(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    return both_of(ends[0], ends[1]);
}

static inline intptr_t
starts(void *arg)
{
    struct end *end = arg;

    end->result = uco_stream_start_tls(end->s, &end->options);
    if (end->result < 0)
        shutdown(uco_stream_fd(end->s), SHUT_WR); /* the other end need not wait */
    return end->result;
}

/* The handshake of both. */
static inline void
both_start(struct both *both)
{
    uco_task *task = uco_create_task(starts, &both->server);

    starts(&both->client);
    uco_join(task);
}

static inline void
both_end(struct both *both)
{
    uco_stream_close(both->client.s);
    uco_stream_close(both->server.s);
}

static inline void
both_expect(struct both *both, int client_result, int server_result)
{
    both_start(both);
    ck_assert_msg(both->client.result == client_result, "client: %d: %s", (int) both->client.result,
                  uco_stream_tls_error(both->client.s));
    ck_assert_msg(both->server.result == server_result, "server: %d: %s", (int) both->server.result,
                  uco_stream_tls_error(both->server.s));
}

static inline void
both_exchange(struct both *both)
{
    ck_assert_int_eq(uco_stream_write(both->client.s, "ping", 4), 4);
    read_text(both->server.s, 4, "ping");
    ck_assert_int_eq(uco_stream_write(both->server.s, "pong", 4), 4);
    read_text(both->client.s, 4, "pong");
}

#endif
