/* SPDX-License-Identifier: MIT */

#include "websocket_peer.h"

#include "http/websocket_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peers peers;

/* --- the handshake --- */

static bool
head_read(struct peer *peer)
{
    size_t used = 0;
    const char *line;
    ssize_t n;

    peer->head[0] = '\0';
    while ((n = uco_stream_read_line(peer->stream, &line)) > 0) {
        ck_assert_uint_lt(used + (size_t) n, sizeof peer->head);
        memcpy(peer->head + used, line, (size_t) n);
        used += (size_t) n;
        peer->head[used] = '\0';
        if (n <= 2)
            break;
    }
    return n > 0;
}

static bool
handshake(struct peer *peer)
{
    char key[UCO__WEBSOCKET_KEY_SIZE] = "", accept[UCO__WEBSOCKET_ACCEPT_SIZE], answer[4096];
    const char *found;
    int n;

    if (!head_read(peer))
        return false;
    /* A proxy's part, of which nothing more is seen. */
    if (strncmp(peer->head, "CONNECT ", 8) == 0) {
        uco_stream_printf(peer->stream, "HTTP/1.1 200 there you are\r\n\r\n");
        if (!head_read(peer))
            return false;
    }
    if (peers.digest && strstr(peer->head, "\r\nAuthorization: Digest username=\"me\"") == NULL) {
        uco_stream_printf(peer->stream, "HTTP/1.1 401 Who?\r\nContent-Length: 3\r\n"
                                        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", "
                                        "qop=\"auth\"\r\n\r\nwho");
        return false;
    }
    strcpy(peers.last, peer->head);
    found = strstr(peer->head, "Sec-WebSocket-Key: ");
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(sscanf(found, "Sec-WebSocket-Key: %24s\r\n", key), 1);
    ck_assert_ptr_nonnull(strstr(peer->head, "\r\nUpgrade: websocket\r\n"));
    ck_assert_ptr_nonnull(strstr(peer->head, "\r\nConnection: Upgrade\r\n"));
    ck_assert_ptr_nonnull(strstr(peer->head, "\r\nSec-WebSocket-Version: 13\r\n"));
    ck_assert_ptr_null(strstr(peer->head, "Transfer-Encoding"));
    ck_assert_ptr_null(strstr(peer->head, "Expect"));
    if (peers.refusal != NULL && peers.refusal[0] == '\0')
        uco_sleep(UCO_FOREVER);
    if (peers.refusal != NULL) {
        uco_stream_printf(peer->stream, "%s", peers.refusal);
        return false;
    }
    uco__websocket_accept(accept, key);
    if (peers.wrong_accept)
        accept[0] ^= 1;
    n = snprintf(answer, sizeof answer,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\n"
                 "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                 peers.upgrade != NULL ? peers.upgrade : "WebSocket", accept,
                 peers.answer != NULL ? peers.answer : "");
    if (peers.greeting_size > 0)
        memcpy(answer + n, peers.greeting, peers.greeting_size);
    uco_stream_write(peer->stream, answer, (size_t) n + peers.greeting_size);
    return true;
}

/* --- connections --- */

static intptr_t
peer_run(uco_stream *stream, void *arg)
{
    struct peer *peer = calloc(1, sizeof *peer);

    (void) arg;
    ck_assert_ptr_nonnull(peer);
    peer->stream = stream;
    peers.opened++;
    peers.open++;
    if (handshake(peer))
        peers.talk(peer);
    peers.open--;
    free(peer);
    return 0;
}

void
peers_start(void (*talk)(struct peer *peer))
{
    uco_server_options options = {.host = "127.0.0.1", .tls = peers.tls};

    peers.talk = talk;
    peers.server = uco_server_start_with(&options, peer_run, NULL);
    ck_assert_ptr_nonnull(peers.server);
}

void
peers_stop(void)
{
    ck_assert_int_eq(uco_server_close(peers.server, 0), 0);
    peers.server = NULL;
}

const char *
peers_url(void)
{
    static char url[64];

    snprintf(url, sizeof url, "%s://127.0.0.1:%u/chat", peers.tls != NULL ? "wss" : "ws",
             (unsigned) uco_server_port(peers.server));
    return url;
}

uco_websocket *
peers_open(struct fixture *f, void (*talk)(struct peer *peer))
{
    uco_websocket *ws;

    peers_start(talk);
    ws = uco_websocket_open(f->client, peers_url(), NULL);
    ck_assert_msg(ws != NULL, "%s", uco_http_error(f->client));
    return ws;
}

void
peers_close(uco_websocket *ws)
{
    ck_assert_int_eq(uco_websocket_close(ws, 1000, NULL), 0);
    peers_stop();
}

/* --- frames --- */

void
peer_write(struct peer *peer, const void *bytes, size_t size)
{
    uco_stream_write(peer->stream, bytes, size);
    uco_stream_drain(peer->stream);
}

void
peer_send(struct peer *peer, unsigned char first, const void *data, size_t size)
{
    unsigned char head[10] = {first};
    size_t extended = size < 126 ? 0 : size < 65536 ? 2 : 8;

    head[1] = (unsigned char) (extended == 0 ? size : extended == 2 ? 126 : 127);
    for (size_t i = 0; i < extended; i++)
        head[2 + i] = (unsigned char) (size >> 8 * (extended - 1 - i));
    uco_stream_write(peer->stream, head, 2 + extended);
    uco_stream_write(peer->stream, data, size);
    uco_stream_drain(peer->stream);
}

void
peer_send_text(struct peer *peer, unsigned char first, const char *text)
{
    peer_send(peer, first, text, strlen(text));
}

static uint64_t
number(const unsigned char *bytes, size_t size)
{
    uint64_t value = 0;

    while (size-- > 0)
        value = value << 8 | *bytes++;
    return value;
}

bool
peer_receive(struct peer *peer, struct peer_frame *frame)
{
    unsigned char head[8], mask[4];
    uint64_t size;

    if (uco_stream_read_exactly(peer->stream, head, 2) != 2)
        return false;
    frame->first = head[0];
    ck_assert_int_ne(head[1] & 0x80, 0);
    size = head[1] & 0x7f;
    if (size >= 126) {
        size_t extended = size == 126 ? 2 : 8;

        if (uco_stream_read_exactly(peer->stream, head, extended) != (ssize_t) extended)
            return false;
        size = number(head, extended);
        ck_assert_uint_ge(size, extended == 2 ? 126 : 65536);
    }
    frame->size = size;
    free(frame->data);
    frame->data = calloc(1, size + 1);
    ck_assert_ptr_nonnull(frame->data);
    if (uco_stream_read_exactly(peer->stream, mask, 4) != 4 ||
        uco_stream_read_exactly(peer->stream, frame->data, size) != (ssize_t) size)
        return false;
    for (size_t i = 0; i < size; i++)
        frame->data[i] = (char) ((unsigned char) frame->data[i] ^ mask[i % 4]);
    return true;
}

void
peer_expect(struct peer *peer, unsigned char first, const char *text)
{
    struct peer_frame frame = {0};

    ck_assert(peer_receive(peer, &frame));
    ck_assert_int_eq(frame.first, first);
    ck_assert_str_eq(frame.data, text);
    ck_assert_uint_eq(frame.size, strlen(text));
    free(frame.data);
}

int
peer_expect_close(struct peer *peer, bool answer)
{
    struct peer_frame frame = {0};

    peers.code = 0;
    while (peers.code == 0 && peer_receive(peer, &frame)) {
        if (frame.first != 0x88)
            continue;
        ck_assert_uint_ne(frame.size, 1);
        peers.code = frame.size > 0 ? (int) number((unsigned char *) frame.data, 2) : 1005;
        if (answer)
            peer_send(peer, 0x88, frame.data, frame.size);
    }
    free(frame.data);
    return peers.code;
}

/* --- conversations --- */

void
talk_echo(struct peer *peer)
{
    struct peer_frame frame = {0};

    while (peer_receive(peer, &frame)) {
        peer_send(peer, frame.first == 0x89 ? 0x8a : frame.first, frame.data, frame.size);
        if (frame.first == 0x88)
            break;
    }
    free(frame.data);
}

void
talk_listen(struct peer *peer)
{
    peer_expect_close(peer, true);
}

void
talk_nothing(struct peer *peer)
{
    (void) peer;
    uco_sleep(UCO_FOREVER);
}

void
receive_text(uco_websocket *ws, const char *text)
{
    uco_websocket_message message;

    ck_assert_int_eq(uco_websocket_receive(ws, &message), 1);
    ck_assert(message.text);
    ck_assert_str_eq(message.data, text);
    ck_assert_uint_eq(message.size, strlen(text));
}
