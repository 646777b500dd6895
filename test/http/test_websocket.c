/* SPDX-License-Identifier: MIT */
/* WebSockets: messages both ways, the handshake, the end, and what others do meanwhile. */
#include "websocket_peer.h"

#include "certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- messages --- */

static void
echo_one(uco_websocket *ws, size_t size)
{
    char *data = malloc(size + 1);
    uco_websocket_message message = {0};

    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < size; i++)
        data[i] = server_byte(i);
    ck_assert_int_eq(uco_websocket_send(ws, data, size), 0);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert(!message.text);
    ck_assert_uint_eq(message.size, size);
    ck_assert_int_eq(memcmp(message.data, data, size), 0);
    ck_assert_int_eq(((const char *) message.data)[size], '\0');
    free(data);
}

static void
echo_sizes(struct fixture *f)
{
    static const size_t sizes[] = {0,     1,     3,     4,     125,    126,    127,    1000,
                                   65535, 65536, 65537, 70000, 131072, 200000, 3000000};
    uco_websocket *ws = peers_open(f, talk_echo);

    for (size_t i = 0; i < COUNT(sizes); i++)
        echo_one(ws, sizes[i]);
    peers_close(ws);
}

START_TEST(messages_of_all_sizes_come_back)
{
    ck_assert(uco_websocket_supported());
    serve(echo_sizes);
}
END_TEST

static void
echo_texts(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);

    ck_assert_int_eq(uco_websocket_send_text(ws, "gr\xc3\xbc\xc3\x9f dich"), 0);
    receive_text(ws, "gr\xc3\xbc\xc3\x9f dich");
    ck_assert_int_eq(uco_websocket_send_text(ws, ""), 0);
    receive_text(ws, "");
    peers_close(ws);
}

START_TEST(a_text_comes_back_as_a_text)
{
    serve(echo_texts);
}
END_TEST

static void
greeted(struct fixture *f)
{
    uco_websocket *ws;

    peers.greeting = "\x81\x05hello\x89\x01p\x01\x03wor\x80\x02ld";
    peers.greeting_size = 7 + 3 + 5 + 4;
    ws = peers_open(f, talk_listen);
    receive_text(ws, "hello");
    receive_text(ws, "world");
    peers_close(ws);
}

START_TEST(what_comes_with_the_handshake_is_not_lost)
{
    serve(greeted);
}
END_TEST

struct sender {
    uco_websocket *ws;
    char letter;
};

static intptr_t
send_many(void *arg)
{
    struct sender *sender = arg;
    size_t size = 100000;
    char *data = malloc(size);

    ck_assert_ptr_nonnull(data);
    memset(data, sender->letter, size);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(uco_websocket_send(sender->ws, data, size), 0);
    free(data);
    return 0;
}

static void
several_send(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);
    struct sender senders[3] = {{ws, 'a'}, {ws, 'b'}, {ws, 'c'}};
    uco_task *tasks[3];
    unsigned seen[3] = {0};

    for (int i = 0; i < 3; i++)
        tasks[i] = uco_create_task(send_many, &senders[i]);
    for (int i = 0; i < 15; i++) {
        uco_websocket_message message;
        const char *text;

        ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
        ck_assert_uint_eq(message.size, 100000);
        text = message.data;
        ck_assert(text[0] >= 'a' && text[0] <= 'c');
        seen[text[0] - 'a']++;
        for (size_t k = 0; k < message.size; k++)
            ck_assert_int_eq(text[k], text[0]);
    }
    ck_assert_int_eq(uco_gather(tasks, 3, NULL), 0);
    uco_unref_all(tasks, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(seen[i], 5);
    peers_close(ws);
}

START_TEST(several_tasks_messages_do_not_mix)
{
    serve(several_send);
}
END_TEST

static void
send_pings(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);
    char large[126] = {0};

    ck_assert_int_eq(uco_websocket_ping(ws, "there?", 6), 0);
    ck_assert_int_eq(uco_websocket_ping(ws, NULL, 0), 0);
    ck_assert_int_eq(uco_websocket_ping(ws, large, 125), 0);
    ck_assert_int_eq(uco_websocket_ping(ws, large, 126), -EMSGSIZE);
    ck_assert_int_eq(uco_websocket_send_text(ws, "after the answers"), 0);
    receive_text(ws, "after the answers");
    peers_close(ws);
}

START_TEST(pings_are_sent_and_their_answers_passed_over)
{
    serve(send_pings);
}
END_TEST

/* --- the handshake --- */

static void
choose_protocol(struct fixture *f)
{
    const char *const protocols[] = {"chat.v2", "chat.v1", NULL};
    const char *const headers[] = {"X-Room: 7", NULL};
    uco_websocket_options options = {.protocols = protocols, .headers = headers};
    uco_websocket *ws;

    peers.answer = "Sec-WebSocket-Protocol: chat.v1\r\n";
    peers_start(talk_listen);
    ws = uco_websocket_open(f->client, peers_url(), &options);
    ck_assert_ptr_nonnull(ws);
    ck_assert_str_eq(uco_websocket_protocol(ws), "chat.v1");
    ck_assert_ptr_nonnull(strstr(peers.last, "\r\nSec-WebSocket-Protocol: chat.v2, chat.v1\r\n"));
    ck_assert_ptr_nonnull(strstr(peers.last, "\r\nX-Room: 7\r\n"));
    ck_assert_ptr_nonnull(strstr(peers.last, "\r\nX-Client: yes\r\n"));
    ck_assert_ptr_nonnull(strstr(peers.last, "\r\nAuthorization: Bearer secret\r\n"));
    ck_assert_ptr_nonnull(strstr(peers.last, "\r\nCookie: taste=sweet\r\n"));
    ck_assert_ptr_nonnull(strstr(peers.last, "GET /chat HTTP/1.1\r\n"));
    peers_close(ws);
}

static void
choose_protocol_with_cookie(struct fixture *f)
{
    ck_assert_int_eq(uco_http_cookie_set(f->client, "taste=sweet; domain=127.0.0.1; path=/"), 0);
    f->body = choose_protocol;
    choose_protocol(f);
}

START_TEST(headers_cookies_and_sub_protocols_are_told)
{
    const char *const headers[] = {"X-Client: yes", "Authorization: Bearer secret", NULL};

    serve_with(&(uco_http_client_options){.headers = headers}, choose_protocol_with_cookie);
}
END_TEST

/* Opens one that must not become one. */
static void
expect_no_websocket(struct fixture *f, int error, const char *words)
{
    errno = 0;
    ck_assert_ptr_null(uco_websocket_open(f->client, peers_url(), NULL));
    ck_assert_msg(errno == -error, "%d and not %d: %s", -errno, error, uco_http_error(f->client));
    ck_assert_msg(strstr(uco_http_error(f->client), words) != NULL &&
                      strstr(uco_http_error(f->client), peers_url()) != NULL,
                  "'%s' has no '%s'", uco_http_error(f->client), words);
}

static void
refused(struct fixture *f)
{
    peers_start(talk_listen);
    peers.refusal = "HTTP/1.1 404 Not here\r\nContent-Length: 4\r\n\r\nnone";
    expect_no_websocket(f, -EPROTO, "404");
    peers.refusal = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    expect_no_websocket(f, -EPROTO, "200");
    peers.refusal = "HTTP/1.1 426 Upgrade Required\r\n\r\n";
    expect_no_websocket(f, -EPROTO, "426");
    peers.refusal = "SSH-2.0-OpenSSH\r\n";
    expect_no_websocket(f, -EPROTO, "");
    peers.refusal = "HTTP/1.1 101 Switch";
    expect_no_websocket(f, -EPROTO, "");
    peers.refusal = NULL;
    peers.upgrade = "irc";
    expect_no_websocket(f, -EPROTO, "something else");
    peers.upgrade = NULL;
    peers.wrong_accept = true;
    expect_no_websocket(f, -EPROTO, "Sec-WebSocket-Accept");
    peers.wrong_accept = false;
    peers.answer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    expect_no_websocket(f, -EPROTO, "extension");
    peers.answer = "Sec-WebSocket-Protocol: other\r\n";
    expect_no_websocket(f, -EPROTO, "sub-protocol");
    peers_stop();
    expect_text(f, "/bytes/0", "");
}

START_TEST(a_server_that_does_not_want_to_is_told_of)
{
    serve(refused);
}
END_TEST

static void
provisional(struct fixture *f)
{
    uco_websocket *ws;

    peers.answer = "X: y\r\n";
    ws = peers_open(f, talk_echo);
    echo_one(ws, 10);
    ck_assert_str_eq(uco_websocket_protocol(ws), "");
    peers_close(ws);
}

START_TEST(without_a_sub_protocol_there_is_none)
{
    serve(provisional);
}
END_TEST

static void
nobody_there(struct fixture *f)
{
    char url[64];

    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", (unsigned) free_port());
    ck_assert_ptr_null(uco_websocket_open(f->client, url, NULL));
    ck_assert_int_eq(errno, ECONNREFUSED);
    ck_assert_ptr_null(uco_websocket_open(f->client, "ws://no-such-host.invalid/", NULL));
    ck_assert(errno == ENOENT || errno == EAGAIN);
}

START_TEST(where_nobody_listens_none_is_opened)
{
    serve(nobody_there);
}
END_TEST

static void
no_answer(struct fixture *f)
{
    uco_websocket_options options = {.timeout = 0.05};

    peers.refusal = "";
    peers_start(talk_listen);
    ck_assert_ptr_null(uco_websocket_open(f->client, peers_url(), &options));
    ck_assert_int_eq(errno, ETIMEDOUT);
    peers_stop();
}

START_TEST(a_server_that_does_not_answer_is_given_up)
{
    serve(no_answer);
}
END_TEST

static void
say_password(struct fixture *f)
{
    char base[64];
    uco_websocket *ws;

    peers.digest = true;
    peers_start(talk_echo);
    snprintf(base, sizeof base, "http%s", peers_url() + 2);
    reopen(f, &(uco_http_client_options){
                  .base_url = base, .user = "me", .password = "secret", .auth = UCO_HTTP_DIGEST});
    ws = uco_websocket_open(f->client, peers_url(), NULL);
    ck_assert_msg(ws != NULL, "%s", uco_http_error(f->client));
    echo_one(ws, 100);
    peers_close(ws);
}

START_TEST(a_password_is_told_if_the_server_wants_it)
{
    serve(say_password);
}
END_TEST

static void
follow(struct fixture *f)
{
    char url[256];
    uco_websocket *ws;

    peers_start(talk_echo);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/to/http%s", (unsigned) f->server.port,
             peers_url() + 2);
    ws = uco_websocket_open(f->client, url, NULL);
    ck_assert_msg(ws != NULL, "%s", uco_http_error(f->client));
    echo_one(ws, 5);
    peers_close(ws);
}

START_TEST(a_redirect_is_followed)
{
    serve(follow);
}
END_TEST

static void
through_proxy(struct fixture *f)
{
    char proxy[64];
    uco_websocket *ws;

    peers_start(talk_echo);
    snprintf(proxy, sizeof proxy, "http%s", peers_url() + 2);
    reopen(f, &(uco_http_client_options){.proxy = proxy, .base_url = "http://far.test/"});
    ws = uco_websocket_open(f->client, "ws://far.test/chat", NULL);
    ck_assert_msg(ws != NULL, "%s", uco_http_error(f->client));
    echo_one(ws, 100);
    peers_close(ws);
}

START_TEST(a_proxy_builds_a_tunnel)
{
    serve(through_proxy);
}
END_TEST

static void
relative(struct fixture *f)
{
    char base[64];
    uco_websocket *ws;

    peers_start(talk_echo);
    snprintf(base, sizeof base, "http%.*s", (int) strcspn(peers_url() + 2, "c"), peers_url() + 2);
    reopen(f, &(uco_http_client_options){.base_url = base});
    ws = uco_websocket_open(f->client, "/chat", NULL);
    ck_assert_msg(ws != NULL, "%s", uco_http_error(f->client));
    peers_close(ws);
}

START_TEST(a_url_without_scheme_is_appended_to_the_base)
{
    serve(relative);
}
END_TEST

/* --- the clients' part --- */

static void
take_a_slot(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);
    struct visit v = {f, "/bytes/3"};
    uco_task *task = uco_create_task(visit, &v);

    echo_one(ws, 10);
    uco_test_settle();
    ck_assert(!uco_done(task));
    ck_assert_uint_eq(f->server.requests, 0);
    peers_close(ws);
    ck_assert_int_eq(uco_join(task), 200);
}

START_TEST(it_counts_among_the_clients_connections)
{
    serve_with(&(uco_http_client_options){.max_connections = 1}, take_a_slot);
}
END_TEST

static void
stay_silent(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);

    ck_assert_int_eq(uco_sleep(100), 0);
    echo_one(ws, 70000);
    peers_close(ws);
}

START_TEST(no_timeout_ends_one_that_is_silent)
{
    serve_virtually_with(&(uco_http_client_options){.max_body = 10, .min_speed = 1000},
                         stay_silent);
}
END_TEST

static void
close_client(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_listen);
    uco_websocket_message message;

    ck_assert_int_eq(uco_http_client_close(f->client), 0);
    f->client = NULL;
    ck_assert_int_eq(uco_websocket_receive(ws, &message), -ECANCELED);
    ck_assert_int_lt(uco_websocket_send_text(ws, "?"), 0);
    peers_close(ws);
}

START_TEST(the_clients_close_ends_it)
{
    serve(close_client);
}
END_TEST

static void
many_times(struct fixture *f)
{
    uco_websocket_message message;
    int fds = 0;

    peers_start(talk_echo);
    for (int i = 0; i < scaled(300); i++) {
        uco_websocket *ws = uco_websocket_open(f->client, peers_url(), NULL);

        ck_assert_ptr_nonnull(ws);
        ck_assert_int_eq(uco_websocket_send(ws, "x", 1), 0);
        ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
        ck_assert_int_eq(uco_websocket_close(ws, i % 2 == 0 ? 1000 : 0, NULL), 0);
        while (peers.open > 0)
            uco_sleep(0.0005);
        uco_test_settle();
        if (i == 10)
            fds = count_fds();
        if (i > 10)
            ck_assert_int_le(count_fds(), fds + 2);
    }
    peers_stop();
}

START_TEST(one_after_the_other_leaves_no_fd)
{
    serve(many_times);
}
END_TEST

/* --- TLS --- */

static void
echo_over_tls(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_echo);

    echo_one(ws, 1);
    echo_one(ws, 1000000);
    peers_close(ws);
}

START_TEST(one_over_tls_is_no_other)
{
    char directory[] = "/tmp/uco-ws-XXXXXX";
    char certificate[64], key[64], authority[64];
    uco_tls_options tls = {.cert_file = certificate, .key_file = key};

    ck_assert_ptr_nonnull(mkdtemp(directory));
    if (!certificates_make(directory)) {
        test_skipped("no openssl program");
        return;
    }
    snprintf(certificate, sizeof certificate, "%s/local.pem", directory);
    snprintf(key, sizeof key, "%s/local.key", directory);
    snprintf(authority, sizeof authority, "%s/ca.pem", directory);
    peers.tls = &tls;
    serve_with(&(uco_http_client_options){.ca_file = authority}, echo_over_tls);
}
END_TEST

/* --- misuse --- */

static void
misuse(struct fixture *f)
{
    const char *const bad[] = {"Connection: close", NULL}, *const worse[] = {"nothing", NULL},
                      *const protocols[] = {"a b", NULL};
    uco_websocket_message message;
    uco_websocket *ws = peers_open(f, talk_listen);
    char reason[125];

    memset(reason, 'r', 124);
    reason[124] = '\0';
    ck_assert_int_eq(uco_websocket_send(NULL, "", 1), -EINVAL);
    ck_assert_int_eq(uco_websocket_send(ws, NULL, 1), -EINVAL);
    ck_assert_int_eq(uco_websocket_send_text(ws, NULL), -EINVAL);
    ck_assert_int_eq(uco_websocket_send_text(ws, "\xc3"), -EINVAL);
    ck_assert_int_eq(uco_websocket_receive(NULL, &message), -EINVAL);
    ck_assert_int_eq(uco_websocket_receive(ws, NULL), -EINVAL);
    ck_assert_int_eq(uco_websocket_close(NULL, 1000, NULL), 0);
    ck_assert_int_eq(uco_websocket_close(ws, 1005, NULL), -EINVAL);
    ck_assert_int_eq(uco_websocket_close(ws, 999, NULL), -EINVAL);
    ck_assert_int_eq(uco_websocket_close(ws, -1, NULL), -EINVAL);
    ck_assert_int_eq(uco_websocket_close(ws, 5000, NULL), -EINVAL);
    ck_assert_int_eq(uco_websocket_close(ws, 1000, reason), -EINVAL);
    ck_assert_int_eq(uco_websocket_close_code(NULL), 0);
    ck_assert_str_eq(uco_websocket_protocol(NULL), "");
    ck_assert_ptr_null(uco_websocket_open(NULL, "ws://x/", NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(uco_websocket_open(f->client, NULL, NULL));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(uco_websocket_open(f->client, "http://127.0.0.1/", NULL));
    ck_assert_int_eq(errno, EINVAL);
    for (int i = 0; i < 3; i++) {
        uco_websocket_options options = {.headers = i == 0   ? bad
                                                    : i == 1 ? worse
                                                             : NULL,
                                         .protocols = i == 2 ? protocols : NULL};

        ck_assert_ptr_null(uco_websocket_open(f->client, peers_url(), &options));
        ck_assert_int_eq(errno, EINVAL);
    }
    ck_assert_ptr_null(
        uco_websocket_open(f->client, peers_url(), &(uco_websocket_options){.timeout = -1}));
    ck_assert_int_eq(errno, EINVAL);
    reason[123] = '\0';
    ck_assert_int_eq(uco_websocket_close(ws, 4999, reason), 0);
    peers_stop();
}

START_TEST(bad_arguments_change_nothing)
{
    serve(misuse);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http websocket");
    TCase *messages = case_new(suite, "messages");
    TCase *handshakes = case_new(suite, "handshake");
    TCase *clients = case_new(suite, "client");

    tcase_add_test(messages, messages_of_all_sizes_come_back);
    tcase_add_test(messages, a_text_comes_back_as_a_text);
    tcase_add_test(messages, what_comes_with_the_handshake_is_not_lost);
    tcase_add_test(messages, several_tasks_messages_do_not_mix);
    tcase_add_test(messages, pings_are_sent_and_their_answers_passed_over);
    tcase_add_test(handshakes, headers_cookies_and_sub_protocols_are_told);
    tcase_add_test(handshakes, a_server_that_does_not_want_to_is_told_of);
    tcase_add_test(handshakes, without_a_sub_protocol_there_is_none);
    tcase_add_test(handshakes, where_nobody_listens_none_is_opened);
    tcase_add_test(handshakes, a_server_that_does_not_answer_is_given_up);
    tcase_add_test(handshakes, a_password_is_told_if_the_server_wants_it);
    tcase_add_test(handshakes, a_redirect_is_followed);
    tcase_add_test(handshakes, a_proxy_builds_a_tunnel);
    tcase_add_test(handshakes, a_url_without_scheme_is_appended_to_the_base);
    tcase_add_test(handshakes, one_over_tls_is_no_other);
    tcase_add_test(clients, it_counts_among_the_clients_connections);
    tcase_add_test(clients, no_timeout_ends_one_that_is_silent);
    tcase_add_test(clients, the_clients_close_ends_it);
    tcase_add_test(clients, one_after_the_other_leaves_no_fd);
    tcase_add_test(clients, bad_arguments_change_nothing);
    return suite_end(suite);
}
