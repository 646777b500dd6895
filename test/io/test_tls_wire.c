/* SPDX-License-Identifier: MIT */
/* TLS on a wire that delivers as it likes, and messages that come after the handshake. */
#include "tls_scene.h"

#include "io/tls.h"

static SSL *
ssl_of(const uco_stream *s)
{
    return uco__tls_of(s)->ssl;
}

/* --- a wire in the test's hands --- */

struct relay {
    struct both both;
    int client, server; /* the other ends of their sockets */
    uco_tls_context *contexts[2];
};

/* The server wants a certificate, so that its tickets are long. */
static struct relay
relay_new(void)
{
    struct relay relay;
    int ends[2][2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[0]), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[1]), 0);
    relay.both = both_of(ends[0][0], ends[1][0]);
    relay.client = ends[0][1];
    relay.server = ends[1][1];
    relay.both.client.options.cert_file = alice.path;
    relay.both.client.options.key_file = alice_key.path;
    relay.both.server.options.ca_file = ca.path;
    relay.both.server.options.verify_client = true;
    relay.contexts[0] = uco_tls_context_new(&relay.both.client.options);
    relay.contexts[1] = uco_tls_context_new(&relay.both.server.options);
    ck_assert(relay.contexts[0] != NULL && relay.contexts[1] != NULL);
    relay.both.client.options.context = relay.contexts[0];
    relay.both.server.options.context = relay.contexts[1];
    return relay;
}

/* So many bytes at most of those that are there: how many were. */
static size_t
relay_move(int from, int to, size_t most)
{
    char buf[65536];
    ssize_t n = recv(from, buf, most < sizeof buf ? most : sizeof buf, MSG_DONTWAIT);

    if (n <= 0)
        return 0;
    ck_assert_int_eq(send(to, buf, (size_t) n, MSG_NOSIGNAL), n);
    ck_assert_int_eq(uco_test_settle(), 0);
    return (size_t) n;
}

static void
relay_end(struct relay *relay)
{
    both_end(&relay->both);
    close(relay->client);
    close(relay->server);
    uco_tls_context_free(relay->contexts[0]);
    uco_tls_context_free(relay->contexts[1]);
}

static intptr_t
reads_ping(void *arg)
{
    char buf[8];
    ssize_t n = uco_stream_read_exactly(arg, buf, 4);

    return n == 4 && memcmp(buf, "ping", 4) == 0 ? 0 : n < 0 ? n : -EBADMSG;
}

static intptr_t
goes_byte_by_byte(void *arg)
{
    struct relay relay = relay_new();
    uco_task *tasks[2], *reader;

    (void) arg;
    tasks[0] = uco_create_task(starts, &relay.both.client);
    tasks[1] = uco_create_task(starts, &relay.both.server);
    while (!uco_done(tasks[0]) || !uco_done(tasks[1])) {
        ck_assert_int_eq(uco_test_settle(), 0);
        relay_move(relay.client, relay.server, 1);
        relay_move(relay.server, relay.client, 1);
    }
    ck_assert_int_eq(uco_join(tasks[0]), 0);
    ck_assert_int_eq(uco_join(tasks[1]), 0);
    reader = parked(reads_ping, relay.both.server.s);
    ck_assert_int_eq(uco_stream_write(relay.both.client.s, "ping", 4), 4);
    while (relay_move(relay.client, relay.server, 1) > 0)
        continue;
    ck_assert_int_eq(uco_join(reader), 0);
    relay_end(&relay);
    return 0;
}

START_TEST(records_may_come_byte_by_byte)
{
    ck_assert_int_eq(run_virtual(goes_byte_by_byte, NULL), 0);
}
END_TEST

/* A server's ticket that holds the client's certificate fills two of the smallest records. */
static struct relay
relay_before_tickets(void)
{
    struct relay relay = relay_new();
    uco_task *tasks[2];

    SSL_CTX_set_max_send_fragment(relay.contexts[1]->ssl_context, 512);
    tasks[0] = uco_create_task(starts, &relay.both.client);
    tasks[1] = uco_create_task(starts, &relay.both.server);
    while (!uco_done(tasks[0]) || !uco_done(tasks[1])) {
        ck_assert_int_eq(uco_test_settle(), 0);
        relay_move(relay.client, relay.server, SIZE_MAX);
        if (!uco_done(tasks[1]))
            relay_move(relay.server, relay.client, SIZE_MAX);
    }
    ck_assert_int_eq(uco_join(tasks[0]), 0);
    ck_assert_int_eq(uco_join(tasks[1]), 0);
    return relay;
}

static intptr_t
gets_half_a_ticket(void *arg)
{
    struct relay relay = relay_before_tickets();
    uco_stream *s = relay.both.client.s;
    uco_task *reader = parked(reads_ping, s);
    uco_task *waiting = parked(reads_ping, relay.both.server.s);

    (void) arg;
    relay_move(relay.server, relay.client, 600);
    ck_assert(SSL_in_init(ssl_of(s)));
    ck_assert_int_eq(uco_stream_write(s, "ping", 4), 4);
    ck_assert_uint_eq(relay_move(relay.client, relay.server, SIZE_MAX), 0);
    while (relay_move(relay.server, relay.client, SIZE_MAX) > 0)
        continue;
    ck_assert_uint_gt(relay_move(relay.client, relay.server, SIZE_MAX), 0);
    ck_assert_int_eq(uco_join(waiting), 0);
    ck_assert_int_eq(uco_stream_write(relay.both.server.s, "ping", 4), 4);
    relay_move(relay.server, relay.client, SIZE_MAX);
    ck_assert_int_eq(uco_join(reader), 0);
    relay_end(&relay);
    return 0;
}

START_TEST(what_is_written_amid_a_ticket_is_sent_after_it)
{
    ck_assert_int_eq(run_virtual(gets_half_a_ticket, NULL), 0);
}
END_TEST

static intptr_t
gets_half_a_ticket_for_ever(void *arg)
{
    static const char slice[16 * 1024];
    struct relay relay = relay_before_tickets();
    uco_stream *s = relay.both.client.s;
    uco_task *reader = parked(reads_ping, s);
    ssize_t r = 0;
    size_t taken = 0;

    relay_move(relay.server, relay.client, 600);
    while (arg == NULL && r >= 0) {
        r = uco_stream_write(s, slice, sizeof slice);
        taken += r > 0 ? (size_t) r : 0;
    }
    if (arg != NULL) {
        ck_assert_int_eq(uco_stream_write(s, "lost", 4), 4);
        ck_assert_int_eq(uco_stream_close(s), -EPROTO);
        relay.both.client.s = NULL;
        ck_assert_int_eq(uco_join(reader), -EBADF);
    } else {
        ck_assert_int_eq(r, -EPROTO);
        ck_assert_uint_le(taken, 1024 * 1024);
        ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(s), "does not finish"));
        uco_cancel(reader);
        ck_assert_int_eq(uco_join(reader), -ECANCELED);
    }
    relay_end(&relay);
    return 0;
}

START_TEST(a_message_that_is_never_finished_costs_bounded_memory)
{
    ck_assert_int_eq(run_virtual(gets_half_a_ticket_for_ever, NULL), 0);
}
END_TEST

START_TEST(a_close_amid_a_message_says_that_not_all_was_sent)
{
    ck_assert_int_eq(run_virtual(gets_half_a_ticket_for_ever, &ca), 0);
}
END_TEST

/* --- small records --- */

#define BYTES 2000

static intptr_t
writes_bytes(void *arg)
{
    for (int i = 0; i < BYTES; i++) {
        char byte = (char) i;
        ssize_t r = uco_stream_write(arg, &byte, 1);

        if (r != 1)
            return r;
    }
    return 0;
}

static intptr_t
reads_bytes(void *arg)
{
    char buf[BYTES];
    ssize_t r = uco_stream_read_exactly(arg, buf, sizeof buf);

    for (int i = 0; i < BYTES && r > 0; i++)
        r = buf[i] == (char) i ? r : -EBADMSG;
    return r;
}

static intptr_t
sends_bytes(void *arg)
{
    struct both both = both_new();
    uco_task *tasks[3];

    (void) arg;
    both_expect(&both, 0, 0);
    tasks[0] = uco_create_task(writes_bytes, both.client.s);
    tasks[1] = uco_create_task(writes_bytes, both.server.s);
    tasks[2] = uco_create_task(reads_bytes, both.client.s);
    ck_assert_int_eq(reads_bytes(both.server.s), BYTES);
    ck_assert_int_eq(uco_join(tasks[0]), 0);
    ck_assert_int_eq(uco_join(tasks[1]), 0);
    ck_assert_int_eq(uco_join(tasks[2]), BYTES);
    both_end(&both);
    return 0;
}

START_TEST(records_of_one_byte_arrive)
{
    ck_assert_int_eq(run_virtual(sends_bytes, NULL), 0);
}
END_TEST

/* --- messages after the handshake --- */

static intptr_t
updates_keys(void *arg)
{
    struct both both = both_new();

    (void) arg;
    both_expect(&both, 0, 0);
    for (int i = 0; i < 20; i++) {
        int kind = i % 2 != 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;

        ck_assert_int_eq(SSL_key_update(ssl_of(both.server.s), kind), 1);
        if (i % 3 == 0)
            ck_assert_int_eq(SSL_key_update(ssl_of(both.client.s), kind), 1);
        both_exchange(&both);
    }
    ck_assert_int_eq(uco_stream_shutdown(both.client.s), 0);
    ck_assert_int_eq(uco_stream_write(both.server.s, "pong", 4), 4);
    read_text(both.client.s, 4, "pong");
    both_end(&both);
    return 0;
}

START_TEST(keys_may_be_updated_at_any_time)
{
    ck_assert_int_eq(run_virtual(updates_keys, NULL), 0);
}
END_TEST

static struct both
both_of_1_2(bool (*settle)(struct both *both))
{
    struct both both = both_local();

    both.client.options.max_version = UCO_TLS_1_2;
    both_expect(&both, 0, 0);
    if (settle != NULL)
        ck_assert(settle(&both));
    return both;
}

static intptr_t
renegotiates(void *arg)
{
    struct both both = both_of_1_2(NULL);
    uco_stream *asking = arg != NULL ? both.server.s : both.client.s;
    uco_stream *asked = arg != NULL ? both.client.s : both.server.s;
    uco_task *task = parked(reads, asked);

    /* uco's own does not ask for it. */
    ck_assert_int_eq(SSL_renegotiate(ssl_of(asking)), 0);
    SSL_clear_options(ssl_of(asking), SSL_OP_NO_RENEGOTIATION);
    ck_assert_int_eq(SSL_renegotiate(ssl_of(asking)), 1);
    SSL_do_handshake(ssl_of(asking));
    ck_assert_int_eq(reads(asking), -EPROTO);
    ck_assert_int_eq(uco_join(task), -EPROTO);
    both_end(&both);
    return 0;
}

START_TEST(a_second_handshake_is_refused)
{
    ck_assert_int_eq(run_virtual(renegotiates, _i == 0 ? NULL : (void *) &ca), 0);
}
END_TEST

static bool
both_small_buffers(struct both *both)
{
    const int size = 4096;
    SSL *ssl = ssl_of(both->server.s);

    SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
    return setsockopt(uco_stream_fd(both->client.s), SOL_SOCKET, SO_SNDBUF, &size, sizeof size) ==
           0;
}

/* Each request is refused by an answer, which the server does not read. */
static intptr_t
asks_and_does_not_read(void *arg)
{
    struct both both = both_of_1_2(both_small_buffers);
    SSL *ssl = ssl_of(both.server.s);
    uco_task *task = parked(reads, both.client.s);
    int asked = 0;

    (void) arg;
    while (!uco_done(task)) {
        ck_assert_int_lt(asked++, 20000);
        ck_assert_int_eq(SSL_renegotiate(ssl), 1);
        SSL_do_handshake(ssl);
        if (asked % 50 == 0)
            ck_assert_int_eq(uco_test_settle(), 0);
    }
    ck_assert_int_eq(uco_join(task), -EPROTO);
    ck_assert_ptr_nonnull(strstr(uco_stream_tls_error(both.client.s), "without reading"));
    ck_assert_uint_le(both.client.s->output.size, 100 * 1024);
    uco_cancel(uco_current_task()); /* so that nothing is waited for */
    both_end(&both);
    return 0;
}

static intptr_t
asks_in_task(void *arg)
{
    uco_join(uco_create_task(asks_and_does_not_read, arg));
    return 0;
}

START_TEST(who_asks_and_does_not_read_is_cut_off)
{
    ck_assert_int_eq(run_virtual(asks_in_task, NULL), 0);
}
END_TEST

/* --- ends --- */

#define MUCH ((size_t) 300 * 1024)

static intptr_t
writes_and_closes(void *arg)
{
    char *data = calloc(1, MUCH);
    ssize_t r = uco_stream_write(arg, data, MUCH);

    free(data);
    return uco_stream_close(arg) == 0 && r == (ssize_t) MUCH ? 0 : -EIO;
}

static intptr_t
leaves_tickets_unread(void *arg)
{
    struct both both = both_new();
    uco_task *task;
    char buf[4096];
    size_t got = 0;
    ssize_t n;

    (void) arg;
    both_expect(&both, 0, 0);
    task = uco_create_task(writes_and_closes, both.client.s);
    ck_assert_int_eq(uco_test_settle(), 0);
    while ((n = uco_stream_read(both.server.s, buf, sizeof buf)) > 0)
        got += (size_t) n;
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(got, MUCH);
    ck_assert_int_eq(uco_join(task), 0);
    /* And the connection has ended as it should. */
    ck_assert_int_eq(recv(uco_stream_fd(both.server.s), buf, 1, 0), 0);
    uco_stream_close(both.server.s);
    return 0;
}

START_TEST(a_client_that_never_reads_loses_no_bytes_by_its_close)
{
    ck_assert_int_eq(run_virtual(leaves_tickets_unread, NULL), 0);
}
END_TEST

static intptr_t
cannot_write(void *arg)
{
    struct both both = both_new();

    (void) arg;
    both_expect(&both, 0, 0);
    ck_assert_int_eq(uco_stream_write(both.server.s, "why", 3), 3);
    uco_test_fail("write", 1, false, EPIPE);
    ck_assert_int_eq(uco_stream_write(both.client.s, "x", 1), -EPIPE);
    uco_test_fail_off();
    ck_assert_int_eq(uco_stream_write(both.client.s, "x", 1), -EPIPE);
    ck_assert_str_ne(uco_stream_tls_error(both.client.s), "");
    read_text(both.client.s, 3, "why");
    ck_assert_int_eq(uco_stream_close(both.client.s), -EPIPE);
    ck_assert_int_eq(reads(both.server.s), -ECONNRESET);
    uco_stream_close(both.server.s);
    return 0;
}

START_TEST(what_came_before_a_write_failed_can_be_read)
{
    ck_assert_int_eq(run_virtual(cannot_write, NULL), 0);
}
END_TEST

/* Whatever others leave in OpenSSL's queue of errors is not this stream's. */
static intptr_t
finds_errors(void *arg)
{
    struct both both = both_new();
    uco_task *task;

    (void) arg;
    both_expect(&both, 0, 0);
    task = parked(reads_ping, both.server.s);
    SSL_CTX_use_certificate_file(uco__tls_of(both.client.s)->context->ssl_context, "/nowhere",
                                 SSL_FILETYPE_PEM);
    ck_assert_int_eq(uco_stream_write(both.client.s, "ping", 4), 4);
    ck_assert_int_eq(uco_join(task), 0);
    both_exchange(&both);
    both_end(&both);
    return 0;
}

START_TEST(errors_of_others_do_not_count)
{
    ck_assert_int_eq(run_virtual(finds_errors, NULL), 0);
}
END_TEST

static void
add(Suite *suite)
{
    TCase *tls = case_new(suite, "wire");

    tcase_add_test(tls, records_may_come_byte_by_byte);
    tcase_add_test(tls, what_is_written_amid_a_ticket_is_sent_after_it);
    tcase_add_test(tls, a_message_that_is_never_finished_costs_bounded_memory);
    tcase_add_test(tls, a_close_amid_a_message_says_that_not_all_was_sent);
    tcase_add_test(tls, records_of_one_byte_arrive);
    tcase_add_test(tls, keys_may_be_updated_at_any_time);
    tcase_add_loop_test(tls, a_second_handshake_is_refused, 0, 2);
    tcase_add_test(tls, who_asks_and_does_not_read_is_cut_off);
    tcase_add_test(tls, a_client_that_never_reads_loses_no_bytes_by_its_close);
    tcase_add_test(tls, what_came_before_a_write_failed_can_be_read);
    tcase_add_test(tls, errors_of_others_do_not_count);
}

int
main(void)
{
    return tls_tests("io TLS wire", add);
}
