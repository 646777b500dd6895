/* SPDX-License-Identifier: MIT */
/* TLS with another program at the other end: `openssl s_server` and `openssl s_client`. */
#include "tls_scene.h"

#define ARGUMENTS_MAX 40

/* --- the other program --- */

/* Its output is one stream, of which a test looks for words in the order in which they come. */
struct program {
    uco_process *process;
    char output[65536];
    size_t size;
    size_t seen; /* so far by program_expect() */
};

static const char *version_flags[] = {"-tls1_3", "-tls1_2"};
static const char *version_names[] = {"TLSv1.3", "TLSv1.2"};

static void
program_start(struct program *program, const char *const *fixed, const char *const *more)
{
    const char *argv[ARGUMENTS_MAX] = {"openssl"};
    size_t count = 1;
    uco_process_options options = {
        .argv = argv, .stdin_fd = UCO_PIPE, .stdout_fd = UCO_PIPE, .stderr_fd = UCO_STDOUT};

    for (; *fixed != NULL; fixed++)
        argv[count++] = *fixed;
    for (; more != NULL && *more != NULL; more++)
        argv[count++] = *more;
    ck_assert_uint_lt(count, ARGUMENTS_MAX);
    program->size = 0;
    program->seen = 0;
    program->output[0] = '\0';
    program->process = uco_process_spawn(&options);
    ck_assert_ptr_nonnull(program->process);
}

static void
program_says(struct program *program, const char *text)
{
    ck_assert_int_eq(uco_stream_write(uco_process_stdin(program->process), text, strlen(text)),
                     (ssize_t) strlen(text));
}

/* Reads what it prints until these words have come: where they begin. */
static const char *
program_expect(struct program *program, const char *words)
{
    for (;;) {
        const char *found = strstr(program->output + program->seen, words);
        ssize_t n;

        if (found != NULL) {
            program->seen = (size_t) (found - program->output) + strlen(words);
            return found;
        }
        ck_assert_uint_lt(program->size, sizeof program->output - 1);
        n = uco_stream_read(uco_process_stdout(program->process), program->output + program->size,
                            sizeof program->output - 1 - program->size);
        ck_assert_msg(n > 0, "no \"%s\": %s\n%s", words, uco_strerror((int) n), program->output);
        program->size += (size_t) n;
        program->output[program->size] = '\0';
    }
}

/* All that it prints until its end: the status. */
static int
program_end(struct program *program)
{
    ssize_t n;
    int status;

    while (
        (n = uco_stream_read(uco_process_stdout(program->process), program->output + program->size,
                             sizeof program->output - 1 - program->size)) > 0)
        program->size += (size_t) n;
    program->output[program->size] = '\0';
    status = uco_process_wait(program->process);
    uco_process_free(program->process);
    return status;
}

/* --- openssl s_server --- */

/* It sends each line back in reverse. */
static uint16_t
peer_server(struct program *program, const char *const *more)
{
    const char *const fixed[] = {"s_server", "-accept", "127.0.0.1:0", "-cert",
                                 good.path,  "-key",    good_key.path, "-CAfile",
                                 ca.path,    "-rev",    NULL};
    const char *address;

    program_start(program, fixed, more);
    address = program_expect(program, "ACCEPT ");
    program_expect(program, "\n");
    address = strchr(address, ':');
    ck_assert_ptr_nonnull(address);
    return (uint16_t) atoi(address + 1);
}

static uco_stream *
peer_connect(uint16_t port, uco_tls_options options, int *result)
{
    uco_stream *s = uco_stream_dial("127.0.0.1", port);

    ck_assert_ptr_nonnull(s);
    if (options.host == NULL)
        options.host = "localhost";
    if (options.ca_file == NULL)
        options.ca_file = ca.path;
    *result = uco_stream_start_tls(s, &options);
    return s;
}

static intptr_t
asks_server(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i], "-alpn", "reverse", NULL};
    struct program program;
    uint16_t port = peer_server(&program, more);
    int r;
    uco_stream *s = peer_connect(port, (uco_tls_options){.alpn = "other,reverse"}, &r);

    ck_assert_msg(r == 0, "%s: %s", uco_strerror(r), uco_stream_tls_error(s));
    ck_assert_str_eq(uco_stream_tls_version(s), version_names[i]);
    ck_assert_str_eq(uco_stream_tls_alpn(s), "reverse");
    ck_assert_int_eq(uco_stream_printf(s, "stressed\n"), 9);
    read_line_text(s, "desserts\n");
    ck_assert_int_eq(uco_stream_close(s), 0);
    uco_process_free(program.process);
    return 0;
}

static intptr_t
in_time(uco_fn *fn, size_t i)
{
    return uco_with_timeout(120, fn, &i);
}

static intptr_t
asks_server_in_time(void *arg)
{
    return in_time(asks_server, *(size_t *) arg);
}

START_TEST(s_server_answers)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(asks_server_in_time, &i), 0);
}
END_TEST

/* The client has a certificate that the server accepts, one that it does not, or none. */
static intptr_t
shows_server(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i % 2], "-Verify", "1", "-verify_return_error", NULL};
    const struct file *const shown[] = {&alice, &alice_key, &own, &own_key, NULL, NULL};
    const struct file *certificate = shown[i / 2 * 2], *key = shown[i / 2 * 2 + 1];
    struct program program;
    uint16_t port = peer_server(&program, more);
    char byte;
    int r;
    uco_stream *s = peer_connect(port,
                                 (uco_tls_options){
                                     .cert_file = certificate != NULL ? certificate->path : NULL,
                                     .key_file = key != NULL ? key->path : NULL,
                                 },
                                 &r);

    if (r == 0 && certificate != &alice)
        r = (int) uco_stream_read(s, &byte, 1); /* TLS 1.3 */
    if (certificate == &alice) {
        ck_assert_msg(r == 0, "%s: %s", uco_strerror(r), uco_stream_tls_error(s));
        ck_assert_int_eq(uco_stream_printf(s, "stressed\n"), 9);
        read_line_text(s, "desserts\n");
    } else if (certificate == NULL && i % 2 == 1) {
        /* TLS 1.2 has no word for it. */
        ck_assert_int_eq(r, -EPROTO);
        ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(s), "handshake failure"));
    } else {
        ck_assert_msg(r == -EKEYREJECTED, "%s: %s", uco_strerror(r), uco_stream_tls_error(s));
        ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(s), "the other side refused: "));
        program_expect(&program, certificate == NULL ? "peer did not return a certificate"
                                                     : "certificate verify failed");
    }
    uco_stream_close(s);
    uco_process_free(program.process);
    return 0;
}

static intptr_t
shows_server_in_time(void *arg)
{
    return in_time(shows_server, *(size_t *) arg);
}

START_TEST(s_server_looks_at_the_clients_certificate)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(shows_server_in_time, &i), 0);
}
END_TEST

static intptr_t
refuses_server(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i], NULL};
    struct program program;
    uint16_t port = peer_server(&program, more);
    int r;
    uco_stream *s = peer_connect(port, (uco_tls_options){.ca_file = own.path}, &r);

    ck_assert_int_eq(r, -EKEYREJECTED);
    uco_stream_close(s);
    program_expect(&program, "alert unknown ca");
    s = peer_connect(port, (uco_tls_options){.host = "elsewhere.example"}, &r);
    ck_assert_int_eq(r, -EKEYREJECTED);
    uco_stream_close(s);
    program_expect(&program, "alert bad certificate");
    uco_process_free(program.process);
    return 0;
}

static intptr_t
refuses_server_in_time(void *arg)
{
    return in_time(refuses_server, *(size_t *) arg);
}

START_TEST(s_server_hears_that_its_certificate_is_refused)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(refuses_server_in_time, &i), 0);
}
END_TEST

static intptr_t
resumes_server(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i], NULL};
    struct program program;
    uint16_t port = peer_server(&program, more);
    uco_tls_context *context = uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path});

    for (int n = 0; n < 3; n++) {
        int r;
        uco_stream *s = peer_connect(port, (uco_tls_options){.context = context}, &r);

        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(uco_stream_printf(s, "stressed\n"), 9);
        read_line_text(s, "desserts\n");
        ck_assert_int_eq(uco_stream_tls_resumed(s), n > 0);
        uco_stream_close(s);
    }
    uco_tls_context_free(context);
    uco_process_free(program.process);
    return 0;
}

static intptr_t
resumes_server_in_time(void *arg)
{
    return in_time(resumes_server, *(size_t *) arg);
}

START_TEST(s_server_resumes)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(resumes_server_in_time, &i), 0);
}
END_TEST

/* --- openssl s_client --- */

/* The uco end of what s_client is connected to. */
struct service {
    uco_tls_options options;
    int listening;
    char address[32];
    uco_stream *s; /* of the connection, when its handshake is over */
    int result;
    struct program program;
};

static void
service_init(struct service *service)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    memset(service, 0, sizeof *service);
    service->options = (uco_tls_options){.server = true,
                                         .cert_file = good.path,
                                         .key_file = good_key.path,
                                         .ca_file = ca.path,
                                         .alpn = "first,second"};
    service->listening = uco_listen("127.0.0.1", 0, 0);
    ck_assert_int_ge(service->listening, 0);
    ck_assert_int_eq(getsockname(service->listening, (struct sockaddr *) &address, &size), 0);
    snprintf(service->address, sizeof service->address, "127.0.0.1:%u", ntohs(address.sin_port));
}

static void
service_accept(struct service *service)
{
    int fd = uco_accept4(service->listening, NULL, NULL, SOCK_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    service->s = stream_of(fd);
    service->result = uco_stream_start_tls(service->s, &service->options);
}

/* It connects, with these arguments too. */
static void
service_meet(struct service *service, const char *const *more)
{
    const char *const fixed[] = {
        "s_client",         "-connect",  service->address,       "-servername", "localhost",
        "-verify_hostname", "localhost", "-verify_return_error", NULL};

    program_start(&service->program, fixed, more);
    service_accept(service);
}

static int
service_end(struct service *service)
{
    int status;

    uco_stream_close(service->s);
    status = program_end(&service->program);
    uco_close(service->listening);
    return status;
}

static intptr_t
serves_client(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i], "-CAfile",  ca.path, "-alpn",        "second",
                                "-cert",          alice.path, "-key",  alice_key.path, NULL};
    struct service service;
    char name[32];

    service_init(&service);
    service.options.verify_client = true;
    service_meet(&service, more);
    ck_assert_msg(service.result == 0, "%s", uco_stream_tls_error(service.s));
    ck_assert_str_eq(uco_stream_tls_version(service.s), version_names[i]);
    ck_assert_str_eq(uco_stream_tls_alpn(service.s), "second");
    ck_assert_str_eq(uco_stream_tls_server_name(service.s), "localhost");
    ck_assert_int_eq(uco_stream_tls_peer_name(service.s, name, sizeof name), 5);
    ck_assert_str_eq(name, "alice");
    program_says(&service.program, "hello\n");
    read_line_text(service.s, "hello\n");
    ck_assert_int_eq(uco_stream_printf(service.s, "good-bye\n"), 9);
    ck_assert_int_eq(service_end(&service), 0);
    ck_assert_ptr_nonnull(strstr(service.program.output, "Verification: OK"));
    ck_assert_ptr_nonnull(strstr(service.program.output, "ALPN protocol: second"));
    ck_assert_ptr_nonnull(strstr(service.program.output, "good-bye\n"));
    return 0;
}

static intptr_t
serves_client_in_time(void *arg)
{
    return in_time(serves_client, *(size_t *) arg);
}

START_TEST(s_client_is_served)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(serves_client_in_time, &i), 0);
}
END_TEST

static intptr_t
refuses_client(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i], "-CAfile", ca.path, NULL};
    struct service service;

    service_init(&service);
    service.options.verify_client = true;
    service_meet(&service, more);
    ck_assert_int_eq(service.result, -EKEYREJECTED);
    ck_assert_int_ne(service_end(&service), 0);
    ck_assert_ptr_nonnull(
        strstr(service.program.output, i == 0 ? "certificate required" : "handshake failure"));
    return 0;
}

static intptr_t
refuses_client_in_time(void *arg)
{
    return in_time(refuses_client, *(size_t *) arg);
}

START_TEST(s_client_without_a_certificate_is_refused)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(refuses_client_in_time, &i), 0);
}
END_TEST

static intptr_t
is_refused_by_client(void *arg)
{
    const size_t i = *(const size_t *) arg;
    const char *const more[] = {version_flags[i], "-CAfile", own.path, NULL};
    struct service service;

    service_init(&service);
    service_meet(&service, more);
    ck_assert_int_eq(service.result, -EKEYREJECTED);
    ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(service.s), "unknown ca"));
    ck_assert_int_ne(service_end(&service), 0);
    ck_assert_ptr_nonnull(strstr(service.program.output, "certificate verify failed"));
    return 0;
}

static intptr_t
is_refused_by_client_in_time(void *arg)
{
    return in_time(is_refused_by_client, *(size_t *) arg);
}

START_TEST(s_client_refuses_a_certificate_and_the_server_hears_why)
{
    size_t i = (size_t) _i;

    ck_assert_int_eq(run_real(is_refused_by_client_in_time, &i), 0);
}
END_TEST

/* A line that begins with K asks for new keys in both directions. */
static intptr_t
updates_client(void *arg)
{
    const char *const more[] = {version_flags[0], "-CAfile", ca.path, NULL};
    struct service service;

    (void) arg;
    service_init(&service);
    service_meet(&service, more);
    ck_assert_int_eq(service.result, 0);
    for (int i = 0; i < 3; i++) {
        program_says(&service.program, "K\n");
        program_expect(&service.program, "KEYUPDATE");
        program_says(&service.program, "hello\n");
        read_line_text(service.s, "hello\n");
        ck_assert_int_eq(uco_stream_printf(service.s, "good-bye\n"), 9);
        program_expect(&service.program, "good-bye");
    }
    ck_assert_int_eq(service_end(&service), 0);
    return 0;
}

static intptr_t
updates_client_in_time(void *arg)
{
    (void) arg;
    return in_time(updates_client, 0);
}

START_TEST(s_client_updates_its_keys)
{
    ck_assert_int_eq(run_real(updates_client_in_time, NULL), 0);
}
END_TEST

/* And one that begins with R asks for a new handshake. */
static intptr_t
renegotiates_client(void *arg)
{
    const char *const more[] = {version_flags[1], "-CAfile", ca.path, NULL};
    struct service service;
    char byte;

    (void) arg;
    service_init(&service);
    service_meet(&service, more);
    ck_assert_int_eq(service.result, 0);
    program_says(&service.program, "R\n");
    ck_assert_int_lt(uco_stream_read(service.s, &byte, 1), 0);
    ck_assert_int_ne(service_end(&service), 0);
    ck_assert_ptr_nonnull(strstr(service.program.output, "no renegotiation"));
    return 0;
}

static intptr_t
renegotiates_client_in_time(void *arg)
{
    (void) arg;
    return in_time(renegotiates_client, 1);
}

START_TEST(s_client_may_not_renegotiate)
{
    ck_assert_int_eq(run_real(renegotiates_client_in_time, NULL), 0);
}
END_TEST

/* It connects six times, five of them with the session of the first. */
static intptr_t
reconnects(void *arg)
{
    const char *const more[] = {version_flags[1], "-CAfile", ca.path, "-reconnect", NULL};
    const uco_tls_options options = {
        .server = true, .cert_file = good.path, .key_file = good_key.path};
    struct service service;
    char byte;

    (void) arg;
    service_init(&service);
    service.options.context = uco_tls_context_new(&options);
    ck_assert_ptr_nonnull(service.options.context);
    service_meet(&service, more);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(service.result, 0);
        ck_assert_int_eq(uco_stream_tls_resumed(service.s), i > 0);
        while (uco_stream_read(service.s, &byte, 1) > 0)
            continue;
        uco_stream_close(service.s);
        service_accept(&service);
    }
    ck_assert_int_eq(uco_stream_tls_resumed(service.s), 1);
    service_end(&service);
    ck_assert_ptr_nonnull(strstr(service.program.output, "Reused, TLSv1.2"));
    uco_tls_context_free(service.options.context);
    return 0;
}

static intptr_t
reconnects_in_time(void *arg)
{
    (void) arg;
    return in_time(reconnects, 1);
}

START_TEST(s_client_resumes)
{
    ck_assert_int_eq(run_real(reconnects_in_time, NULL), 0);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *server = case_new(suite, "s_server");
    TCase *client = case_new(suite, "s_client");

    tcase_add_loop_test(server, s_server_answers, 0, 2);
    tcase_add_loop_test(server, s_server_looks_at_the_clients_certificate, 0, 6);
    tcase_add_loop_test(server, s_server_hears_that_its_certificate_is_refused, 0, 2);
    tcase_add_loop_test(server, s_server_resumes, 0, 2);
    tcase_add_loop_test(client, s_client_is_served, 0, 2);
    tcase_add_loop_test(client, s_client_without_a_certificate_is_refused, 0, 2);
    tcase_add_loop_test(client, s_client_refuses_a_certificate_and_the_server_hears_why, 0, 2);
    tcase_add_test(client, s_client_updates_its_keys);
    tcase_add_test(client, s_client_may_not_renegotiate);
    tcase_add_test(client, s_client_resumes);
}

int
main(void)
{
    return tls_tests("io TLS with openssl's programs", add);
}
