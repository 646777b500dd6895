/* SPDX-License-Identifier: MIT */
/* TLS's sessions: which connection resumes which. */
#include "tls_scene.h"

#include "io/tls.h"

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
    int listening[] = {uco_listen("127.0.0.1", 0, 0), uco_listen("127.0.0.1", 0, 0)};
    char name[16];

    /* Two servers in turn: the session of one is of no use for the other. */
    for (int server = 0; server < 2; server++) {
        for (int i = 0; i < 3; i++) {
            struct both both = both_connect(listening[server], contexts);

            both_expect(&both, 0, 0);
            both_exchange(&both);
            ck_assert_str_eq(uco_stream_tls_version(both.client.s),
                             arg != NULL ? "TLSv1.2" : "TLSv1.3");
            ck_assert_int_eq(uco_stream_tls_resumed(both.client.s), i > 0);
            ck_assert_int_eq(uco_stream_tls_resumed(both.server.s), i > 0);
            ck_assert_int_eq(uco_stream_tls_peer_name(both.client.s, name, sizeof name), 9);
            both_end(&both);
        }
    }
    uco_close(listening[0]);
    uco_close(listening[1]);
    uco_tls_context_free(contexts[0]);
    uco_tls_context_free(contexts[1]);
    return 0;
}

START_TEST(a_session_is_resumed_with_the_same_server_only)
{
    ck_assert_int_eq(run_virtual(resumes, _i == 0 ? NULL : (void *) &ca), 0);
}
END_TEST

static int
resumed(int listening, uco_tls_context *const contexts[2], const char *host)
{
    struct both both = both_connect(listening, contexts);
    int yes;

    both.client.options.host = host;
    both_expect(&both, 0, 0);
    both_exchange(&both);
    yes = uco_stream_tls_resumed(both.client.s);
    both_end(&both);
    return yes;
}

static intptr_t
asks_two_hosts(void *arg)
{
    uco_tls_context *contexts[] = {
        uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path}),
        uco_tls_context_new(
            &(uco_tls_options){.server = true, .cert_file = good.path, .key_file = good_key.path}),
    };
    int listening = uco_listen("127.0.0.1", 0, 0);

    (void) arg;
    ck_assert_int_eq(resumed(listening, contexts, "localhost"), 0);
    ck_assert_int_eq(resumed(listening, contexts, "127.0.0.1"), 0);
    ck_assert_int_eq(resumed(listening, contexts, "::1"), 0);
    ck_assert_int_eq(resumed(listening, contexts, "localhost."), 1);
    ck_assert_int_eq(resumed(listening, contexts, "127.0.0.1"), 1);
    uco_close(listening);
    uco_tls_context_free(contexts[0]);
    uco_tls_context_free(contexts[1]);
    return 0;
}

START_TEST(a_session_is_for_the_host_that_was_verified)
{
    ck_assert_int_eq(run_virtual(asks_two_hosts, NULL), 0);
}
END_TEST

static intptr_t
verifies_later(void *arg)
{
    uco_tls_context *server = uco_tls_context_new(
        &(uco_tls_options){.server = true, .cert_file = own.path, .key_file = own_key.path});
    uco_tls_context *careless = uco_tls_context_new(&(uco_tls_options){.insecure = true});
    uco_tls_context *careful = uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path});
    int listening = uco_listen("127.0.0.1", 0, 0);
    struct both both;

    (void) arg;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(resumed(listening, (uco_tls_context *[]){careless, server}, "localhost"),
                         i);
    both = both_connect(listening, (uco_tls_context *[]){careful, server});
    both_expect(&both, -EKEYREJECTED, -EKEYREJECTED);
    both_end(&both);
    /* What options say beside a context does not count. */
    both = both_connect(listening, (uco_tls_context *[]){careful, server});
    both.client.options.insecure = true;
    both_expect(&both, -EKEYREJECTED, -EKEYREJECTED);
    both_end(&both);
    uco_close(listening);
    uco_tls_context_free(careful);
    uco_tls_context_free(careless);
    uco_tls_context_free(server);
    return 0;
}

START_TEST(a_session_that_was_not_verified_is_of_no_use_where_it_must_be)
{
    ck_assert_int_eq(run_virtual(verifies_later, NULL), 0);
}
END_TEST

/* A server that does not understand what it is offered. */
static void
fail_once(int listening, uco_tls_context *const contexts[2])
{
    struct both both = both_connect(listening, contexts);
    uco_task *task = uco_create_task(starts, &both.client);

    ck_assert_int_eq(uco_test_settle(), 0);
    ck_assert_int_eq(uco_stream_write(both.server.s, "no such thing\n", 14), 14);
    ck_assert_int_eq(uco_join(task), -EPROTO);
    both_end(&both);
}

static intptr_t
forgets(void *arg)
{
    uco_tls_context *contexts[] = {
        uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path, .max_version = UCO_TLS_1_2}),
        uco_tls_context_new(
            &(uco_tls_options){.server = true, .cert_file = good.path, .key_file = good_key.path}),
    };
    int listening = uco_listen("127.0.0.1", 0, 0);

    (void) arg;
    ck_assert_int_eq(resumed(listening, contexts, "localhost"), 0);
    ck_assert_int_eq(resumed(listening, contexts, "127.0.0.1"), 0);
    ck_assert_int_eq(resumed(listening, contexts, "localhost"), 1);
    fail_once(listening, contexts);
    ck_assert_int_eq(resumed(listening, contexts, "localhost"), 0);
    ck_assert_int_eq(resumed(listening, contexts, "127.0.0.1"), 1);
    uco_close(listening);
    uco_tls_context_free(contexts[0]);
    uco_tls_context_free(contexts[1]);
    return 0;
}

START_TEST(sessions_of_a_host_are_forgotten_when_a_handshake_with_one_fails)
{
    ck_assert_int_eq(run_virtual(forgets, NULL), 0);
}
END_TEST

/* More hosts than a context keeps sessions of. */
static intptr_t
asks_many(void *arg)
{
    uco_tls_context *contexts[] = {
        uco_tls_context_new(&(uco_tls_options){.insecure = true}),
        uco_tls_context_new(
            &(uco_tls_options){.server = true, .cert_file = good.path, .key_file = good_key.path}),
    };
    int listening = uco_listen("127.0.0.1", 0, 0);
    char host[32];

    (void) arg;
    for (int i = 0; i < 140; i++) { /* two sessions each */
        snprintf(host, sizeof host, "h%d.example", i);
        ck_assert_int_eq(resumed(listening, contexts, host), 0);
        ck_assert_uint_le(contexts[0]->session_count, 256);
    }
    ck_assert_uint_eq(contexts[0]->session_count, 256);
    ck_assert_int_eq(resumed(listening, contexts, "h139.example"), 1);
    ck_assert_int_eq(resumed(listening, contexts, "h0.example"), 0);
    uco_close(listening);
    uco_tls_context_free(contexts[0]);
    uco_tls_context_free(contexts[1]);
    return 0;
}

START_TEST(a_context_keeps_so_many_sessions_and_no_more)
{
    ck_assert_int_eq(run_virtual(asks_many, NULL), 0);
}
END_TEST

/* --- several loops --- */

static uco_tls_context *shared[2];

static intptr_t
shares(void *arg)
{
    int listening = uco_listen("127.0.0.1", 0, 0);

    (void) arg;
    for (int i = 0; i < scaled(40); i++)
        ck_assert_int_eq(resumed(listening, shared, i % 3 == 0 ? "127.0.0.1" : "localhost"), i > 1);
    return uco_close(listening);
}

static void *
shares_in_thread(void *arg)
{
    return (void *) run_real(shares, arg);
}

static intptr_t
makes_shared(void *arg)
{
    (void) arg;
    shared[0] = uco_tls_context_new(&(uco_tls_options){.ca_file = ca.path});
    shared[1] = uco_tls_context_new(
        &(uco_tls_options){.server = true, .cert_file = good.path, .key_file = good_key.path});
    return shared[0] != NULL && shared[1] != NULL;
}

START_TEST(loops_in_several_threads_share_a_context)
{
    pthread_t threads[3];
    void *result;

    ck_assert_int_eq(run_real(makes_shared, NULL), 1);
    for (size_t i = 0; i < COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, shares_in_thread, NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_null(result);
    }
    uco_tls_context_free(shared[0]);
    uco_tls_context_free(shared[1]);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *tls = case_new(suite, "sessions");

    tcase_add_loop_test(tls, a_session_is_resumed_with_the_same_server_only, 0, 2);
    tcase_add_test(tls, a_session_is_for_the_host_that_was_verified);
    tcase_add_test(tls, a_session_that_was_not_verified_is_of_no_use_where_it_must_be);
    tcase_add_test(tls, sessions_of_a_host_are_forgotten_when_a_handshake_with_one_fails);
    tcase_add_test(tls, a_context_keeps_so_many_sessions_and_no_more);
    tcase_add_test(tls, loops_in_several_threads_share_a_context);
}

int
main(void)
{
    return tls_tests("io TLS sessions", add);
}
