/* SPDX-License-Identifier: MIT */
/* WebSocket frames: as they are written and read, and from servers that break the rules. */
#include "websocket_peer.h"

#include "http/websocket_frame.h"

#include <stdlib.h>
#include <string.h>

/* --- without a connection --- */

/* RFC 6455, 1.3. */
START_TEST(the_servers_answer_is_the_hash_of_the_key)
{
    char key[UCO__WEBSOCKET_KEY_SIZE], accept[UCO__WEBSOCKET_ACCEPT_SIZE];

    uco__websocket_key(key, (const unsigned char *) "the sample nonce");
    ck_assert_str_eq(key, "dGhlIHNhbXBsZSBub25jZQ==");
    uco__websocket_accept(accept, key);
    ck_assert_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
END_TEST

/* RFC 6455, 5.7. */
START_TEST(a_frame_is_written_as_the_rfc_has_it)
{
    static const unsigned char mask[] = {0x37, 0xfa, 0x21, 0x3d};
    static const unsigned char expected[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                             0x7f, 0x9f, 0x4d, 0x51, 0x58};
    struct uco__websocket_header header = {.opcode = UCO__WEBSOCKET_TEXT, .final = true, .size = 5};
    unsigned char frame[UCO__WEBSOCKET_HEADER_MAX + 5];
    size_t size = uco__websocket_header_write(frame, &header, mask);

    uco__websocket_mask((char *) frame + size, "Hello", 5, mask, 0);
    ck_assert_uint_eq(size + 5, sizeof expected);
    ck_assert_mem_eq(frame, expected, sizeof expected);
}
END_TEST

START_TEST(a_mask_goes_on_where_it_was)
{
    static const unsigned char mask[] = {1, 2, 3, 4};
    char text[100], whole[100], pieces[100];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char) (i * 7);
    uco__websocket_mask(whole, text, sizeof text, mask, 0);
    for (size_t piece = 1; piece < 40; piece++) {
        for (size_t i = 0; i < sizeof text; i += piece) {
            size_t n = sizeof text - i < piece ? sizeof text - i : piece;

            uco__websocket_mask(pieces + i, text + i, n, mask, i);
        }
        ck_assert_mem_eq(pieces, whole, sizeof whole);
    }
    for (size_t i = 0; i < sizeof text; i++)
        ck_assert_int_eq(whole[i], text[i] ^ (char) mask[i % 4]);
}
END_TEST

struct header_row {
    const char *bytes;
    size_t size;
    int result;
    uint64_t content;
};

START_TEST(headers_are_read_as_far_as_they_go)
{
    static const struct header_row rows[] = {
        {"", 0, 0, 0},
        {"\x81", 1, 0, 0},
        {"\x81\x00", 2, 2, 0},
        {"\x82\x7d", 2, 2, 125},
        {"\x82\x7e", 2, 0, 0},
        {"\x82\x7e\x00", 3, 0, 0},
        {"\x82\x7e\x00\x7e", 4, 4, 126},
        {"\x82\x7e\xff\xff", 4, 4, 65535},
        {"\x82\x7e\x00\x7d", 4, -EPROTO, 0}, /* longer than it must be */
        {"\x82\x7f\0\0\0\0\0\1\0", 9, 0, 0},
        {"\x82\x7f\0\0\0\0\0\1\0\0", 10, 10, 65536},
        {"\x82\x7f\0\0\0\0\0\0\xff\xff", 10, -EPROTO, 0},
        {"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, 10, INT64_MAX},
        {"\x82\x7f\x80\0\0\0\0\0\0\0", 10, -EPROTO, 0},
        {"\x81\x80", 2, -EPROTO, 0}, /* masked */
        {"\xc1", 1, -EPROTO, 0},     /* of an extension */
        {"\xa1", 1, -EPROTO, 0},
        {"\x91", 1, -EPROTO, 0},
        {"\x83", 1, -EPROTO, 0}, /* opcodes of nothing */
        {"\x87", 1, -EPROTO, 0},
        {"\x8b", 1, -EPROTO, 0},
        {"\x8f", 1, -EPROTO, 0},
        {"\x09", 1, -EPROTO, 0}, /* a control frame in pieces */
        {"\x89\x7e", 2, -EPROTO, 0},
        {"\x88\x7d", 2, 2, 125},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct uco__websocket_header header = {0};
        int r = uco__websocket_header_read(&header, rows[i].bytes, rows[i].size);

        ck_assert_msg(r == rows[i].result, "row %zu: %d", i, r);
        if (r > 0)
            ck_assert_uint_eq(header.size, rows[i].content);
    }
}
END_TEST

START_TEST(only_utf8_is_utf8)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xe2\x82\xac."};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2.",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe2\x82",
                                      "\xe2\x82.",
                                      "\xf0\x90\x80"};

    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(uco__websocket_is_utf8(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(!uco__websocket_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
}
END_TEST

START_TEST(some_codes_are_never_sent)
{
    static const unsigned bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535};
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999};

    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert(!uco__websocket_code_valid(bad[i]));
    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert(uco__websocket_code_valid(good[i]));
}
END_TEST

/* --- fragments --- */

static void
talk_fragments(struct peer *peer)
{
    peer_send_text(peer, 0x01, "frag");
    peer_send_text(peer, 0x89, "one");
    peer_expect(peer, 0x8a, "one");
    peer_send_text(peer, 0x00, "");
    peer_send_text(peer, 0x8a, "nobody asked");
    peer_send_text(peer, 0x00, "men");
    peer_send_text(peer, 0x89, "");
    peer_expect(peer, 0x8a, "");
    peer_send_text(peer, 0x80, "ts");
    peer_send_text(peer, 0x02, "");
    peer_send_text(peer, 0x80, "");
    peer_expect_close(peer, true);
}

static void
fragments(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_fragments);
    uco_websocket_message message;

    receive_text(ws, "fragments");
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert(!message.text);
    ck_assert_uint_eq(message.size, 0);
    ck_assert_str_eq(message.data, "");
    peers_close(ws);
}

START_TEST(fragments_are_put_together_and_pings_among_them_answered)
{
    serve(fragments);
}
END_TEST

static void
talk_slowly(struct peer *peer)
{
    static const char bytes[] = "\x01\x03one\x89\x02hi\x80\x7e\x00\x80"
                                "12345678901234567890123456789012345678901234567890123456789012"
                                "34567890123456789012345678901234567890123456789012345678901234"
                                "5678";

    ck_assert_uint_eq(sizeof bytes - 1, 5 + 4 + 4 + 128);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        peer_write(peer, bytes + i, 1);
        uco_sleep(0.0001);
    }
    peer_expect(peer, 0x8a, "hi");
    peer_expect_close(peer, false);
    peer_write(peer, "\x88", 1);
    uco_sleep(0.001);
    peer_write(peer, "\x02", 1);
    uco_sleep(0.001);
    peer_write(peer, "\x03\xe8", 2);
}

static void
slowly(struct fixture *f)
{
    uco_websocket *ws = peers_open(f, talk_slowly);
    uco_websocket_message message;

    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert_uint_eq(message.size, 3 + 128);
    ck_assert_int_eq(strncmp(message.data, "one123", 6), 0);
    peers_close(ws);
    ck_assert_int_eq(peers.code, 1000);
}

START_TEST(one_byte_at_a_time_is_enough)
{
    serve(slowly);
}
END_TEST

/* --- what is against the rules --- */

struct violation {
    const char *bytes;
    size_t size;
    int error;
    int code; /* that the server is told */
};

static const struct violation violations[] = {
    {"\x81\x85mask", 6, -EPROTO, 1002},
    {"\xc1\x01x", 3, -EPROTO, 1002},
    {"\x83\x01x", 3, -EPROTO, 1002},
    {"\x80\x01x", 3, -EPROTO, 1002},                /* goes on with nothing */
    {"\x01\x01x\x81\x01y", 6, -EPROTO, 1002},       /* begins another in the middle */
    {"\x09\x01x", 3, -EPROTO, 1002},                /* a ping in pieces */
    {"\x89\x7e\x00\x7e", 4, -EPROTO, 1002},         /* a large ping */
    {"\x88\x01x", 3, -EPROTO, 1002},                /* half a code */
    {"\x88\x02\x03\xed", 4, -EPROTO, 1002},         /* 1005 */
    {"\x88\x02\x00\x00", 4, -EPROTO, 1002},         /* 0 */
    {"\x88\x04\x03\xe8\xff\xff", 6, -EPROTO, 1007}, /* a reason that is none */
    {"\x81\x02\xc3\x28", 4, -EPROTO, 1007},         /* a text that is none */
    {"\x01\x01\xe2\x80\x01\xff", 6, -EPROTO, 1007}, /* the same in pieces */
    {"\x82\x7e\x03\xe9", 4, -EMSGSIZE, 1009},       /* 1001 bytes */
    {"\x02\x7e\x01\xf4", 4, 0, 0},                  /* 500, and they do not come */
    {"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, -EMSGSIZE, 1009},
    {"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10, -EPROTO, 1002},
};

static const struct violation *present;

static void
talk_violation(struct peer *peer)
{
    if (present->size > 0)
        peer_write(peer, present->bytes, present->size);
    if (present->code == 0)
        return;
    peer_expect_close(peer, true);
}

static void
violate(struct fixture *f)
{
    uco_websocket_options options = {.max_message = 1000};
    uco_websocket_message message;

    peers_start(talk_violation);
    for (present = violations; present < violations + COUNT(violations); present++) {
        int error = present->error != 0 ? present->error : -ECONNRESET;
        uco_websocket *ws = uco_websocket_open(f->client, peers_url(), &options);
        int r;

        ck_assert_ptr_nonnull(ws);
        peers.code = 0;
        r = uco_websocket_receive(ws, &message);
        ck_assert_msg(r == error, "violation %d: %d", (int) (present - violations), r);
        ck_assert_int_eq(uco_websocket_receive(ws, &message), error);
        if (present->code != 0)
            ck_assert_int_eq(uco_websocket_send_text(ws, "?"), -EPIPE);
        ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), 0);
        while (peers.open > 0)
            uco_sleep(0.001);
        ck_assert_msg(peers.code == present->code, "violation %d: told %d",
                      (int) (present - violations), peers.code);
    }
    peers_stop();
}

START_TEST(what_breaks_the_rules_ends_it_and_the_server_is_told_why)
{
    serve(violate);
}
END_TEST

static void
talk_limit(struct peer *peer)
{
    char bytes[600];

    memset(bytes, 'x', sizeof bytes);
    peer_send(peer, 0x82, bytes, 600);
    peer_send(peer, 0x02, bytes, 600);
    peer_send(peer, 0x80, bytes, 400);
    peer_send(peer, 0x02, bytes, 600);
    peer_send(peer, 0x80, bytes, 401);
    peer_expect_close(peer, true);
}

static void
at_limit(struct fixture *f)
{
    uco_websocket_options options = {.max_message = 1000};
    uco_websocket_message message;
    uco_websocket *ws;

    peers_start(talk_limit);
    ws = uco_websocket_open(f->client, peers_url(), &options);
    ck_assert_ptr_nonnull(ws);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert_uint_eq(message.size, 600);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert_uint_eq(message.size, 1000);
    ck_assert_int_eq(uco_websocket_receive(ws, &message), -EMSGSIZE);
    peers_close(ws);
    ck_assert_int_eq(peers.code, 1009);
}

START_TEST(a_messages_limit_counts_all_its_fragments)
{
    serve(at_limit);
}
END_TEST

static unsigned long random_state;

static unsigned
random_next(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned) (random_state >> 33);
}

/* Mostly frames that are nearly right. */
static void
talk_noise(struct peer *peer)
{
    static const unsigned char firsts[] = {0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88};
    char bytes[300];

    for (int i = 0; i < 40; i++) {
        size_t size = random_next() % (random_next() % 4 == 0 ? sizeof bytes : 10);

        for (size_t k = 0; k < size; k++)
            bytes[k] = (char) random_next();
        if (random_next() % 16 == 0)
            peer_write(peer, bytes, size);
        else
            peer_send(peer, firsts[random_next() % (i < 30 ? 8 : sizeof firsts)], bytes, size);
    }
}

static void
noise(struct fixture *f)
{
    uco_websocket_message message;
    int rounds = scaled(200);

    peers_start(talk_noise);
    for (int i = 0; i < rounds; i++) {
        uco_websocket *ws;
        int r;

        random_state = (unsigned long) i;
        ws = uco_websocket_open(f->client, peers_url(), NULL);
        ck_assert_ptr_nonnull(ws);
        do {
            r = uco_websocket_receive(ws, &message);
            if (r == 1)
                ck_assert_int_eq(((const char *) message.data)[message.size], '\0');
        } while (r == 1);
        ck_assert(r == 0 || r == -EPROTO || r == -ECONNRESET || r == -EPIPE);
        ck_assert_int_eq(uco_websocket_close(ws, 0, NULL), 0);
    }
    peers_stop();
}

START_TEST(noise_does_no_harm)
{
    serve(noise);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("http websocket wire");
    TCase *frames = case_new(suite, "frames");
    TCase *messages = case_new(suite, "messages");
    TCase *rules = case_new(suite, "rules");

    tcase_add_test(frames, the_servers_answer_is_the_hash_of_the_key);
    tcase_add_test(frames, a_frame_is_written_as_the_rfc_has_it);
    tcase_add_test(frames, a_mask_goes_on_where_it_was);
    tcase_add_test(frames, headers_are_read_as_far_as_they_go);
    tcase_add_test(frames, only_utf8_is_utf8);
    tcase_add_test(frames, some_codes_are_never_sent);
    tcase_add_test(messages, fragments_are_put_together_and_pings_among_them_answered);
    tcase_add_test(messages, one_byte_at_a_time_is_enough);
    tcase_add_test(rules, what_breaks_the_rules_ends_it_and_the_server_is_told_why);
    tcase_add_test(rules, a_messages_limit_counts_all_its_fragments);
    tcase_add_test(rules, noise_does_no_harm);
    return suite_end(suite);
}
