/* SPDX-License-Identifier: MIT */

/* WebSocket: frames alone, and a server that sends any. */

#include "fuzz_text.h"

#include "http/websocket_frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uco/http.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- what a byte string says, read slowly --- */

/* Characters one by one, by their numbers. */
static bool
model_is_utf8(const char *text, size_t size)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

    for (size_t i = 0; i < size;) {
        unsigned char first = (unsigned char) text[i++];
        unsigned follow = first < 0x80             ? 0
                          : (first & 0xe0) == 0xc0 ? 1
                          : (first & 0xf0) == 0xe0 ? 2
                                                   : 3;
        uint32_t character = follow == 0 ? first : first & (0x3fU >> follow);

        if (follow == 3 && (first & 0xf8) != 0xf0)
            return false;
        for (unsigned k = 0; k < follow; k++) {
            if (i == size || ((unsigned char) text[i] & 0xc0) != 0x80)
                return false;
            character = character << 6 | ((unsigned char) text[i++] & 0x3fU);
        }
        if (character < least[follow] || character > 0x10ffff ||
            (character >= 0xd800 && character <= 0xdfff))
            return false;
    }
    return true;
}

struct model_frame {
    unsigned opcode;
    bool final;
    uint64_t size;
    size_t head; /* bytes before its content */
};

/* 1; 0: there is not all of its head; -EPROTO. */
static int
model_frame_read(struct model_frame *frame, const char *text, size_t left)
{
    const unsigned char *bytes = (const unsigned char *) text;
    bool control;

    if (left < 2)
        return 0;
    *frame = (struct model_frame){bytes[0] & 15, bytes[0] >= 128, bytes[1] & 127, 2};
    control = frame->opcode >= 8;
    if ((bytes[0] & 0x70) != 0 || bytes[1] >= 128 ||
        (control ? frame->opcode > 10 : frame->opcode > 2))
        return -EPROTO;
    if (control && (!frame->final || frame->size > 125))
        return -EPROTO;
    if (frame->size < 126)
        return 1;
    frame->head += frame->size == 126 ? 2 : 8;
    if (left < frame->head)
        return 0;
    frame->size = 0;
    for (size_t i = 2; i < frame->head; i++)
        frame->size = frame->size << 8 | bytes[i];
    if (frame->size < (frame->head == 4 ? 126 : 65536) || frame->size >> 63 != 0)
        return -EPROTO;
    return 1;
}

/* --- frames --- */

static void
header_check(const char *text, size_t size)
{
    static const unsigned char mask[UCO__WEBSOCKET_MASK_SIZE] = {1, 2, 3, 4};
    struct uco__websocket_header header = {0};
    struct model_frame frame = {0};
    unsigned char written[UCO__WEBSOCKET_HEADER_MAX];
    int expected = model_frame_read(&frame, text, size);
    int before = 0, r = 0;

    /* Byte by byte: what is no header stays none, and what is one needs no more. */
    for (size_t n = 0; n <= size; n++) {
        char *copy = malloc(n + 1);

        if (copy == NULL)
            abort();
        memcpy(copy, text, n);
        r = uco__websocket_header_read(&header, copy, n);
        free(copy);
        if (before != 0 && r != before)
            text_mismatch("%d with %zu bytes, before it was %d", r, n, before);
        before = r;
    }
    if (size >= 2 && (r > 0 ? 1 : r) != expected)
        text_mismatch("a header: %d and not %d", r, expected);
    if (r <= 0 || size < 2)
        return;
    if (header.size != frame.size || (unsigned) header.opcode != frame.opcode ||
        header.final != frame.final || (size_t) r != frame.head)
        text_mismatch("another header");
    if (uco__websocket_header_write(written, &header, mask) != (size_t) r + sizeof mask ||
        written[0] != (unsigned char) text[0] || (written[1] & 127) != text[1] ||
        memcmp(written + 2, text + 2, (size_t) r - 2) != 0)
        text_mismatch("a header is written otherwise than it was read");
}

static void
frames_run(struct text_input *input)
{
    static const unsigned char mask[UCO__WEBSOCKET_MASK_SIZE] = {0x5a, 0, 0xff, 0x81};
    char *masked = malloc(input->size + 1);
    size_t cut = text_below(input, input->size + 1);

    if (masked == NULL)
        abort();
    header_check(input->bytes, input->size < 20 ? input->size : 20);
    /* From each place, since most texts go wrong at their beginning. */
    for (size_t i = 0; i < input->size && i < 64; i++) {
        size_t size = i % 2 == 0 ? input->size - i : 1 + text_below(input, input->size - i);

        if (uco__websocket_is_utf8(input->bytes + i, size) != model_is_utf8(input->bytes + i, size))
            text_mismatch("UTF-8, or not: %zu bytes from %zu on", size, i);
    }
    uco__websocket_mask(masked, input->bytes, cut, mask, 0);
    uco__websocket_mask(masked + cut, input->bytes + cut, input->size - cut, mask, cut);
    for (size_t i = 0; i < input->size; i++) {
        if ((unsigned char) masked[i] != ((unsigned char) input->bytes[i] ^ mask[i % 4]))
            text_mismatch("byte %zu is masked wrong, cut at %zu", i, cut);
    }
    free(masked);
}

static const struct text_piece frames_pieces[] = {
    PIECE("\x81\x05hello"),
    PIECE("\x82\x03"
          "abc"),
    PIECE("\x01\x02he"),
    PIECE("\x80\x03llo"),
    PIECE("\x00\x01l"),
    PIECE("\x02\x01"
          "b"),
    PIECE("\x89\x00"),
    PIECE("\x89\x04ping"),
    PIECE("\x8a\x00"),
    PIECE("\x88\x02\x03\xe8"),
    PIECE("\x88\x00"),
    PIECE("\x88\x01"),
    PIECE("\x88\x06\x03\xe9"
          "gone"),
    PIECE("\x81\x7e"),
    PIECE("\x82\x7e\x00\x80"),
    PIECE("\x82\x7e\x01\x00"),
    PIECE("\x82\x7f"),
    PIECE("\x00\x00\x00\x00\x00\x01\x00\x00"),
    PIECE("\x7f\xff\xff\xff\xff\xff\xff\xff"),
    PIECE("\x81\x02\xc3\xa9"),
    PIECE("\x01\x01\xc3"),
    PIECE("\x80\x01\xa9"),
    PIECE("\x81\x01\xff"),
    PIECE("\x81\x03\xed\xa0\x80"),
    PIECE("\x81\x04\xf0\x9f\x98\x80"),
    PIECE("\x81\x85"),
    PIECE("\xc1\x00"),
    PIECE("\x83\x00"),
    PIECE("\x81\x00"),
    PIECE("\x01\x00"),
    PIECE("\x80\x00"),
    PIECE("0123456789012345678901234567890123456789012345678901234567890123"),
};

const struct text_target text_frames = {
    .target.name = "frames",
    .pieces = frames_pieces,
    .piece_count = COUNT(frames_pieces),
    .run = frames_run,
};

/* --- a server that sends any --- */

/* A message as the model says it, one after the other in `bytes`. */
struct model {
    const char *bytes;
    size_t left;
    size_t max;    /* bytes of a message */
    char *message; /* what there is of it */
    size_t size;
    bool text, open; /* open: its last fragment has not come */
};

static int
model_close(const struct model_frame *frame, const char *content)
{
    unsigned code = frame->size >= 2
                        ? (unsigned) (unsigned char) content[0] << 8 | (unsigned char) content[1]
                        : 0;

    if (frame->size == 0)
        return 0;
    if (frame->size == 1 || !uco__websocket_code_valid(code) ||
        !model_is_utf8(content + 2, (size_t) frame->size - 2))
        return -EPROTO;
    return 0;
}

/* 1: there is a message. 0: it is closed. -ECONNRESET: the bytes are over. */
static int
model_receive(struct model *model)
{
    struct model_frame frame;
    const char *content;
    int r;

    for (;;) {
        r = model_frame_read(&frame, model->bytes, model->left);
        if (r <= 0)
            return r < 0 ? r : -ECONNRESET;
        if (frame.opcode < 8 && (frame.opcode == 0) != model->open)
            return -EPROTO;
        if (frame.opcode < 8 && frame.size > model->max - (model->open ? model->size : 0))
            return -EMSGSIZE;
        if (frame.size > model->left - frame.head)
            return -ECONNRESET;
        content = model->bytes + frame.head;
        model->bytes = content + frame.size;
        model->left -= frame.head + (size_t) frame.size;
        if (frame.opcode == 8)
            return model_close(&frame, content);
        if (frame.opcode > 8)
            continue;
        if (frame.opcode != 0) {
            model->text = frame.opcode == 1;
            model->size = 0;
        }
        memcpy(model->message + model->size, content, (size_t) frame.size);
        model->size += (size_t) frame.size;
        model->open = !frame.final;
        if (frame.final)
            return model->text && !model_is_utf8(model->message, model->size) ? -EPROTO : 1;
    }
}

/* Reads what is asked, and answers it. */
static bool
peer_shake_hands(uco_stream *s)
{
    char key[UCO__WEBSOCKET_KEY_SIZE] = "", accept[UCO__WEBSOCKET_ACCEPT_SIZE];
    const char *line;
    ssize_t r;

    while ((r = uco_stream_read_line(s, &line)) > 2) {
        char text[256];

        snprintf(text, sizeof text, "%.*s", (int) r, line);
        sscanf(text, "Sec-WebSocket-Key: %24s", key);
    }
    if (r != 2 || key[0] == '\0')
        return false;
    uco__websocket_accept(accept, key);
    return uco_stream_printf(s,
                             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                             accept) >= 0;
}

static intptr_t
peer_run(uco_stream *s, void *arg)
{
    struct text_input *input = arg;
    char rest[256];

    if (!peer_shake_hands(s))
        return 0;
    for (size_t at = 0, size; at < input->size; at += size) {
        size = text_cut(input, at);
        if (uco_stream_write(s, input->bytes + at, size) < 0 || uco_stream_drain(s) < 0)
            return 0;
        if (text_below(input, 3) == 0)
            (void) uco_sleep(0.001);
    }
    (void) uco_stream_shutdown(s);
    while (uco_stream_read(s, rest, sizeof rest) > 0)
        ;
    return 0;
}

/* How it ends must be as the model says, but where a client may see sooner or later than the model
 * that it is over. */
static void
check_end(const struct model *model, int expected, int actual)
{
    bool over = actual == -ECONNRESET || actual == -EPIPE;
    bool broken = actual == -EPROTO || actual == -EMSGSIZE;

    if (expected == actual || (expected == -ECONNRESET && over))
        return;
    if ((expected == -EPROTO || expected == -EMSGSIZE) && broken)
        return;
    /* What is no UTF-8 is seen before the rest of its message is there; and so is what a head
     * cannot become. */
    if (broken && ((model->open && model->text) || model->left > 0))
        return;
    text_mismatch("it ends with %d and not %d", actual, expected);
}

static void
client_receive(struct text_input *input, uco_websocket *ws, size_t max)
{
    struct model model = {.bytes = input->bytes, .left = input->size, .max = max};
    uco_websocket_message message;
    int r, expected;

    model.message = malloc(input->size + 1);
    if (model.message == NULL)
        abort();
    while ((r = uco_websocket_receive(ws, &message)) == 1) {
        expected = model_receive(&model);
        if (expected != 1)
            text_mismatch("a message where there is none: %d", expected);
        if (message.size != model.size || message.text != model.text ||
            memcmp(message.data, model.message, model.size) != 0 ||
            ((const char *) message.data)[message.size] != '\0')
            text_mismatch("another message");
    }
    check_end(&model, model_receive(&model), r);
    if (r != 0 && uco_websocket_receive(ws, &message) == 1)
        text_mismatch("a message after the end");
    free(model.message);
}

static intptr_t
websocket_talk(void *arg)
{
    struct text_input *input = arg;
    char address[64], host[80];
    uco_http_client_options options = {
        .base_url = "http://fuzz.invalid", .unix_socket = address, .timeout = 60};
    uco_websocket_options opening = {.max_message = input->random % 4 == 1 ? 100 : TEXT_MAX};
    uco_http_client *client;
    uco_websocket *ws;
    uco_server *server;

    snprintf(address, sizeof address, "@uco-fuzz-text-%d", (int) getpid());
    snprintf(host, sizeof host, "unix:%s", address);
    server = uco_server_start(host, 0, peer_run, input);
    client = uco_http_client_new(&options);
    if (server == NULL || client == NULL)
        text_mismatch("no server, or no client: %s", strerror(errno));
    ws = uco_websocket_open(client, "ws://fuzz.invalid/", &opening);
    if (ws == NULL)
        text_mismatch("it does not open: %s", uco_http_error(client));
    client_receive(input, ws, opening.max_message);
    if (uco_websocket_close(ws, input->random % 3 == 0 ? 0 : 1000, NULL) != 0)
        text_mismatch("it does not close");
    if (uco_http_client_close(client) != 0 || uco_server_close(server, 0) != 0)
        text_mismatch("the client, or the server, does not close");
    return 0;
}

static void
websocket_run(struct text_input *input)
{
    text_run_loop(input, websocket_talk);
}

const struct text_target text_websocket = {
    .target.name = "websocket",
    .pieces = frames_pieces,
    .piece_count = COUNT(frames_pieces),
    .run = websocket_run,
};
