/* SPDX-License-Identifier: MIT */
/* How WebSockets end: by either side, by cancellations, without memory, or not at all. */
#include "websocket_peer.h"

#include <stdlib.h>
#include <string.h>

/* --- the server's end --- */

static void
talk_goodbye(struct peer *peer)
{
    peer_send_text(peer, 0x81, "last words");
    peer_send(peer, 0x88,
              "\x0f\xa1"
              "enough",
              8);
    ck_assert_int_eq(peer_expect_close(peer, false), 4001);
}

static void
server_closes(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_goodbye);
    uco_websocket_message message;

    receive_text(ws, "last words");
    ck_assert_int_eq(uco_websocket_close_code(ws), 0);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 0);
    ck_assert_int_eq(uco_websocket_close_code(ws), 4001);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 0);
    ck_assert_int_eq(uco_websocket_send_text(ws, "wait"), -EPIPE);
    ck_assert_int_eq(uco_websocket_ping(ws, NULL, 0), -EPIPE);
    peers_close(ws);
}

START_TEST(the_servers_close_is_answered_with_its_code)
{
    serve(server_closes);
}
END_TEST

static void
talk_silent_goodbye(struct peer *peer)
{
    peer_send(peer, 0x88, "", 0);
    ck_assert_int_eq(peer_expect_close(peer, false), 1005);
}

static void
server_closes_silently(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_silent_goodbye);
    uco_websocket_message message;

    ck_assert_int_eq(uco_websocket_receive(ws, &message), 0);
    ck_assert_int_eq(uco_websocket_close_code(ws), 1005);
    peers_close(ws);
}

START_TEST(a_close_without_a_code_is_1005)
{
    serve(server_closes_silently);
}
END_TEST

static void
talk_end(struct peer *peer)
{
    peer_send_text(peer, 0x81, "one");
    peer_write(peer, "\x81\x05tw", 4);
}

static void
server_ends(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_end);
    uco_websocket_message message;

    receive_text(ws, "one");
    ck_assert_int_eq(uco_websocket_receive(ws, &message), -ECONNRESET);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), -ECONNRESET);
    ck_assert_int_eq(uco_websocket_close_code(ws), 0);
    ck_assert_int_eq(uco_websocket_send_text(ws, "still there?"), -EPIPE);
    peers_close(ws);
}

START_TEST(an_end_without_a_close_is_an_error)
{
    serve(server_ends);
}
END_TEST

static void
talk_later(struct peer *peer)
{
    (void) peer;
    uco_sleep(0.02);
}

static void
end_while_waiting(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_later);
    uco_websocket_message message;

    ck_assert_int_eq(uco_websocket_receive(ws, &message), -ECONNRESET);
    peers_close(ws);
}

START_TEST(an_end_wakes_who_receives)
{
    serve(end_while_waiting);
}
END_TEST

/* --- our end --- */

static char said[200];

static void
talk_listen_closely(struct peer *peer)
{
    struct peer_frame frame = {0};

    ck_assert(peer_receive(peer, &frame));
    ck_assert_int_eq(frame.first, 0x81);
    ck_assert(peer_receive(peer, &frame));
    ck_assert_int_eq(frame.first, 0x88);
    memcpy(said, frame.data, frame.size);
    /* What it does not want to hear any more. */
    peer_send_text(peer, 0x81, "by the way");
    peer_send_text(peer, 0x89, "?");
    peer_send(peer, 0x88, frame.data, frame.size);
    free(frame.data);
    ck_assert(!peer_receive(peer, &(struct peer_frame){0}));
}

static void
say_goodbye(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_listen_closely);

    ck_assert_int_eq(uco_websocket_send_text(ws, "hello"), 0);
    ck_assert_int_eq(uco_websocket_close(ws, 3999, "so long"), 0);
    ck_assert_str_eq(said, "\x0f\x9fso long");
    while (peers.open > 0)
        uco_sleep(0.001);
    peers_stop();
}

START_TEST(a_close_says_why_and_waits_for_the_answer)
{
    serve(say_goodbye);
}
END_TEST

static void
never_answered(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_nothing);
    double began = uco_time();

    ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), 0);
    ck_assert_double_eq_tol(uco_time() - began, 5, 0.5);
    peers_stop();
}

START_TEST(a_server_that_says_nothing_is_waited_for_5_s)
{
    serve_virtually(never_answered);
}
END_TEST

static void
close_silently(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_listen);

    ck_assert_int_eq(uco_websocket_close(ws, 0, "not told"), 0);
    while (peers.open > 0)
        uco_sleep(0.001);
    ck_assert_int_eq(peers.code, 0);
    peers_stop();
}

START_TEST(a_close_with_0_says_nothing)
{
    serve(close_silently);
}
END_TEST

static void
close_cancelled(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_nothing);
    uco_scope scope;

    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), 0);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    ws = uco_websocket_open(f->client, peers_url(), NULL);
    ck_assert_ptr_nonnull(ws);
    ck_assert_int_eq(uco_scope_open(&scope, 0.02), 0);
    ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), 0);
    ck_assert_int_eq(uco_scope_close(&scope, 0), 0);
    peers_stop();
}

START_TEST(a_cancelled_close_does_not_wait)
{
    serve(close_cancelled);
}
END_TEST

static intptr_t
receive_once(void *arg)
{
    uco_websocket_message message;

    return uco_websocket_receive(arg, &message);
}

static void
close_under_reader(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_nothing);
    uco_task *task = uco_create_task(receive_once, ws);

    uco_test_settle();
    ck_assert_int_eq(receive_once(ws), -EBUSY);
    ck_assert_int_eq(uco_websocket_close(ws, 0, NULL), 0);
    ck_assert_int_eq(uco_join(task), -EPIPE);
    ws = uco_websocket_open(f->client, peers_url(), NULL);
    ck_assert_ptr_nonnull(ws);
    task = uco_create_task(receive_once, ws);
    uco_test_settle();
    uco_cancel(task);
    ck_assert_int_eq(uco_join(task), -ECANCELED);
    ck_assert_int_eq(uco_websocket_close(ws, 0, NULL), 0);
    peers_stop();
}

START_TEST(a_close_ends_who_receives)
{
    serve(close_under_reader);
}
END_TEST

static void
close_beside_reader(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_listen);
    uco_task *task = uco_create_task(receive_once, ws);

    uco_test_settle();
    ck_assert_int_eq(uco_websocket_close(ws, 1001, NULL), 0);
    ck_assert_int_eq(uco_join(task), 0);
    ck_assert_int_eq(peers.code, 1001);
    peers_stop();
}

START_TEST(who_receives_hears_the_answer_to_our_close)
{
    serve(close_beside_reader);
}
END_TEST

static void
close_in_callback(void *arg)
{
    uco_websocket *ws = arg;

    ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), -EPERM);
    ck_assert_int_eq(uco_websocket_close(ws, 0, NULL), 0);
}

static void
callback_closes(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_nothing);

    uco_loop_call_soon(uco_get_running_loop(), close_in_callback, ws);
    ck_assert_int_eq(receive_once(ws), -EPIPE);
    ws = uco_websocket_open(f->client, peers_url(), NULL);
    ck_assert_ptr_nonnull(ws);
    uco_loop_call_soon(uco_get_running_loop(), close_in_callback, ws);
    uco_test_settle();
    peers_stop();
}

START_TEST(a_callback_closes_it_at_once)
{
    serve(callback_closes);
}
END_TEST

/* --- cancellation --- */

static void
talk_halves(struct peer *peer)
{
    struct peer_frame frame = {0};

    peer_write(peer,
               "\x01\x06"
               "fir",
               5);
    ck_assert(peer_receive(peer, &frame));
    peer_write(peer, "st,\x89", 4);
    ck_assert(peer_receive(peer, &frame));
    peer_write(peer, "\x03pin", 4);
    peer_expect(peer, 0x8a, "pin");
    peer_write(peer, "\x80\x06 ", 3);
    ck_assert(peer_receive(peer, &frame));
    peer_write(peer, "secon", 5);
    free(frame.data);
    peer_expect_close(peer, true);
}

static void
cancelled_receive(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_halves);
    uco_websocket_message message;

    for (int i = 0; i < 3; i++) {
        uco_scope scope;

        ck_assert_int_eq(uco_scope_open(&scope, 0.02), 0);
        ck_assert_int_eq(uco_websocket_receive(ws, &message), -ECANCELED);
        uco_scope_close(&scope, 0);
        ck_assert_int_eq(uco_websocket_send_text(ws, "go on"), 0);
    }
    receive_text(ws, "first, secon");
    peers_close(ws);
}

START_TEST(a_cancelled_receive_loses_nothing)
{
    serve(cancelled_receive);
}
END_TEST

struct large {
    uco_websocket *ws;
    char *data;
    size_t size;
};

static intptr_t
send_large(void *arg)
{
    struct large *large = arg;

    return uco_websocket_send(large->ws, large->data, large->size);
}

static void
cancelled_send(struct fixture *f)
{
    struct large large = {.ws = peers_open(f, talk_nothing), .size = (size_t) 64 * 1024 * 1024};
    uco_task *first, *second, *reader;

    large.data = calloc(1, large.size);
    ck_assert_ptr_nonnull(large.data);
    first = uco_create_task(send_large, &large);
    uco_sleep(0.05);
    second = uco_create_task(send_large, &large);
    reader = uco_create_task(receive_once, large.ws);
    uco_test_settle();
    ck_assert(!uco_done(first));
    /* Nothing of the second was sent. */
    uco_cancel(second);
    ck_assert_int_eq(uco_join(second), -ECANCELED);
    ck_assert(!uco_done(first));
    ck_assert(!uco_done(reader));
    uco_cancel(first);
    ck_assert_int_eq(uco_join(first), -ECANCELED);
    ck_assert_int_eq(uco_join(reader), -ECONNABORTED);
    free(large.data);
    ck_assert_int_eq(uco_websocket_send_text(large.ws, "?"), -EPIPE);
    peers_close(large.ws);
}

START_TEST(a_send_that_is_cancelled_half_way_ends_the_connection)
{
    serve(cancelled_send);
}
END_TEST

static void
cancelled_before(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);
    uco_scope scope;

    ck_assert_int_eq(uco_scope_open(&scope, 0), 0);
    ck_assert_int_eq(uco_websocket_send_text(ws, "no"), -ECANCELED);
    ck_assert_int_eq(receive_once(ws), -ECANCELED);
    ck_assert_ptr_null(uco_websocket_open(f->client, peers_url(), NULL));
    ck_assert_int_eq(errno, ECANCELED);
    uco_scope_close(&scope, 0);
    ck_assert_int_eq(uco_websocket_send_text(ws, "yes"), 0);
    receive_text(ws, "yes");
    peers_close(ws);
}

START_TEST(in_a_cancelled_scope_nothing_is_sent)
{
    serve(cancelled_before);
}
END_TEST

static void
talk_deaf(struct peer *peer)
{
    uco_sleep(0.05);
    talk_echo(peer);
}

/* Both sides send more than the connection holds before either reads. */
static void
both_send(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_deaf);
    struct large large = {.ws = ws, .size = (size_t) 8 * 1024 * 1024};
    uco_task *task;
    uco_websocket_message message;

    large.data = calloc(1, large.size);
    ck_assert_ptr_nonnull(large.data);
    task = uco_create_task(send_large, &large);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert_uint_eq(message.size, large.size);
    ck_assert_int_eq(uco_join(task), 0);
    free(large.data);
    peers_close(ws);
}

START_TEST(a_large_message_waits_for_a_slow_server)
{
    serve(both_send);
}
END_TEST

/* --- memory --- */

/* What fails may be the server's. */
static void
expect_memory(int error)
{
    ck_assert_msg(error == -ENOMEM || error == -ECONNRESET || error == -EPIPE || error == -EPROTO ||
                      error == -ETIMEDOUT,
                  "%d", error);
}

static int
talk_once(uco_websocket *ws)
{
    uco_websocket_message message;
    int r = uco_websocket_send_text(ws, "echo");

    if (r == 0)
        r = uco_websocket_receive(ws, &message);
    return r < 0 ? r : 0;
}

/* All of it, with the nth allocation failing: whether it went well. */
static bool
try_all(struct fixture *f, unsigned long nth)
{
    uco_websocket_options options = {.timeout = 1};
    uco_websocket *ws;
    int r;

    ck_assert_int_eq(uco_test_fail("malloc", nth, false, ENOMEM), 0);
    ws = uco_websocket_open(f->client, peers_url(), &options);
    r = ws != NULL ? talk_once(ws) : -errno;
    uco_test_fail_off();
    if (r < 0)
        expect_memory(r);
    ck_assert_int_eq(uco_websocket_close(ws, 0, NULL), 0);
    return r == 0;
}

static void
without_memory(struct fixture *f)
{
    unsigned long nth = 1;
    uco_websocket *ws;

    peers_start(talk_echo);
    ck_assert(try_all(f, 1000000));
    while (!try_all(f, nth) || nth < 40)
        ck_assert_uint_lt(++nth, 500);
    for (nth = 1; nth < 6; nth++) {
        int r;

        ws = uco_websocket_open(f->client, peers_url(), NULL);
        ck_assert_ptr_nonnull(ws);
        ck_assert_int_eq(uco_test_fail("malloc", nth, true, ENOMEM), 0);
        r = talk_once(ws);
        if (r < 0)
            expect_memory(r);
        ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), 0);
        uco_test_fail_off();
    }
    ck_assert(try_all(f, 1000000));
    peers_stop();
    f->reports.count = 0; /* the server's, that it had none to accept with */
}

START_TEST(without_memory_it_fails_and_nothing_is_lost)
{
    serve(without_memory);
}
END_TEST

/* --- left open --- */

static void
leave_open(struct fixture *f)
{
    ck_assert_ptr_nonnull(peers_open(f, talk_nothing));
    peers_stop();
}

static intptr_t
run_and_leave(void *arg)
{
    struct fixture *f = arg;

    f->client = uco_http_client_new(NULL);
    ck_assert_ptr_nonnull(f->client);
    leave_open(f);
    return 0;
}

START_TEST(one_left_open_is_closed_by_the_loop_and_reported)
{
    struct fixture f = {0};
    uco_loop_options options = reporting(&f.reports);

    options.clock = UCO_CLOCK_REAL;
    ck_assert_int_eq(uco_run_with(&options, run_and_leave, &f), 0);
    ck_assert_uint_eq(f.reports.count, 2);
    ck_assert_ptr_nonnull(strstr(f.reports.all, "WebSocket opened at "));
    ck_assert_ptr_nonnull(strstr(f.reports.all, "websocket_peer.c:"));
    ck_assert_ptr_nonnull(strstr(f.reports.all, "HTTP client opened at "));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http websocket end");
    TCase *servers = case_new(suite, "server");
    TCase *closes = case_new(suite, "close");
    TCase *cancellations = case_new(suite, "cancel");
    TCase *resources = case_new(suite, "resource");

    tcase_add_test(servers, the_servers_close_is_answered_with_its_code);
    tcase_add_test(servers, a_close_without_a_code_is_1005);
    tcase_add_test(servers, an_end_without_a_close_is_an_error);
    tcase_add_test(servers, an_end_wakes_who_receives);
    tcase_add_test(closes, a_close_says_why_and_waits_for_the_answer);
    tcase_add_test(closes, a_server_that_says_nothing_is_waited_for_5_s);
    tcase_add_test(closes, a_close_with_0_says_nothing);
    tcase_add_test(closes, a_cancelled_close_does_not_wait);
    tcase_add_test(closes, a_close_ends_who_receives);
    tcase_add_test(closes, who_receives_hears_the_answer_to_our_close);
    tcase_add_test(closes, a_callback_closes_it_at_once);
    tcase_add_test(cancellations, a_cancelled_receive_loses_nothing);
    tcase_add_test(cancellations, a_send_that_is_cancelled_half_way_ends_the_connection);
    tcase_add_test(cancellations, in_a_cancelled_scope_nothing_is_sent);
    tcase_add_test(cancellations, a_large_message_waits_for_a_slow_server);
    tcase_add_test(resources, without_memory_it_fails_and_nothing_is_lost);
    tcase_add_test(resources, one_left_open_is_closed_by_the_loop_and_reported);
    return suite_end(suite);
}
