/* SPDX-License-Identifier: MIT */

/*
 * What a WebSocket receives.
 *
 * 1. What was taken off the connection is in `input` before the task can suspend: a cancelled call
 *    loses nothing, and the next one goes on.
 * 2. Where the server breaks the rules it is told why in a close frame, and nothing more is read.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/block.h"
#include "http/read.h"
#include "http/websocket.h"

#include <string.h>

/* Nothing more is received; the server is told. */
static int
input_fail(struct uco_websocket *ws, unsigned code, int error)
{
    ws->input.error = error;
    uco__websocket_send_close(ws, code, NULL);
    return error;
}

static int
input_fail_protocol(struct uco_websocket *ws)
{
    return input_fail(ws, UCO__WEBSOCKET_PROTOCOL_ERROR, -EPROTO);
}

/* More than `have` bytes: how many. Less cannot be: an end here is one too early. */
static ssize_t
input_peek(struct uco_websocket *ws, size_t have, char **data)
{
    ssize_t n = uco__http_peek(ws->response, have, data);

    if (n >= 0 && (size_t) n > have)
        return n;
    /* TLS says the same in its own words. */
    if (n >= 0 || n == -EPROTO)
        n = -ECONNRESET;
    return n;
}

/* --- frames --- */

/* Whether the frame may stand here. */
static bool
header_fits(const struct uco__websocket_input *input)
{
    if (uco__websocket_is_control(input->header.opcode))
        return true;
    return input->begun == (input->header.opcode == UCO__WEBSOCKET_CONTINUATION);
}

static int
frame_begin(struct uco_websocket *ws)
{
    struct uco__websocket_input *input = &ws->input;
    ssize_t n = 0;
    char *data;
    int r;

    do {
        n = input_peek(ws, (size_t) n, &data);
        if (n < 0)
            return (int) n;
        r = uco__websocket_header_read(&input->header, data, (size_t) n);
    } while (r == 0);
    if (r < 0 || !header_fits(input))
        return input_fail_protocol(ws);
    uco__http_consume(ws->response, (size_t) r);
    input->in_frame = true;
    input->left = input->header.size;
    if (uco__websocket_is_control(input->header.opcode))
        return 0;
    if (!input->begun) {
        input->begun = true;
        input->text = input->header.opcode == UCO__WEBSOCKET_TEXT;
    }
    if (input->left > input->max - input->size)
        return input_fail(ws, UCO__WEBSOCKET_TOO_LARGE, -EMSGSIZE);
    return 0;
}

/* --- control frames --- */

static int
close_take(struct uco_websocket *ws, const char *data, size_t size)
{
    unsigned code = UCO__WEBSOCKET_NO_CODE;

    if (size >= 2)
        code = (unsigned) (unsigned char) data[0] << 8 | (unsigned char) data[1];
    if (size == 1 || (size >= 2 && !uco__websocket_code_valid(code)))
        return input_fail_protocol(ws);
    if (size > 2 && !uco__websocket_is_utf8(data + 2, size - 2))
        return input_fail(ws, UCO__WEBSOCKET_BAD_TEXT, -EPROTO);
    ws->input.code = (int) code;
    uco__websocket_refuse(ws);
    uco__websocket_send_close(ws, code, NULL);
    return 0;
}

static int
control_read(struct uco_websocket *ws)
{
    struct uco__websocket_input *input = &ws->input;
    size_t size = (size_t) input->left;
    char *data = NULL;
    ssize_t n;
    int r = 0;

    if (size > 0) {
        n = input_peek(ws, size - 1, &data);
        if (n < 0)
            return (int) n;
    }
    if (input->header.opcode == UCO__WEBSOCKET_PING)
        uco__websocket_pong(ws, data, size);
    else if (input->header.opcode == UCO__WEBSOCKET_CLOSE)
        r = close_take(ws, data, size);
    uco__http_consume(ws->response, size);
    input->in_frame = false;
    return r;
}

/* --- messages --- */

/* 1: the frame was the message's last one. */
static int
message_end_frame(struct uco_websocket *ws)
{
    struct uco__websocket_input *input = &ws->input;
    int r = uco__http_block_grow(&input->data, &input->capacity, input->size + 1);

    if (r < 0)
        return r;
    input->in_frame = false;
    if (!input->header.final)
        return 0;
    input->data[input->size] = '\0';
    input->begun = false;
    input->whole = true;
    if (input->text && !uco__websocket_is_utf8(input->data, input->size))
        return input_fail(ws, UCO__WEBSOCKET_BAD_TEXT, -EPROTO);
    return 1;
}

static int
message_read(struct uco_websocket *ws)
{
    struct uco__websocket_input *input = &ws->input;
    char *data;

    while (input->left > 0) {
        ssize_t n = input_peek(ws, 0, &data);
        int r;

        if (n < 0)
            return (int) n;
        if ((uint64_t) n > input->left)
            n = (ssize_t) input->left;
        r = uco__http_block_grow(&input->data, &input->capacity, input->size + (size_t) n + 1);
        if (r < 0)
            return r;
        memcpy(input->data + input->size, data, (size_t) n);
        uco__http_consume(ws->response, (size_t) n);
        input->size += (size_t) n;
        input->left -= (uint64_t) n;
    }
    return message_end_frame(ws);
}

int
uco__websocket_read(struct uco_websocket *ws)
{
    struct uco__websocket_input *input = &ws->input;
    int r = 0;

    if (input->whole) {
        input->whole = false;
        input->size = 0;
    }
    while (r == 0) {
        if (input->error < 0)
            return input->error;
        if (input->code != 0)
            return 0;
        if (!input->in_frame)
            r = frame_begin(ws);
        else if (uco__websocket_is_control(input->header.opcode))
            r = control_read(ws);
        else
            r = message_read(ws);
    }
    return r;
}

int
uco_websocket_receive(uco_websocket *ws, uco_websocket_message *message)
{
    int r = uco__websocket_enter(ws, message != NULL, "uco_websocket_receive");

    if (r < 0)
        return r;
    if (ws->input.reading) {
        r = uco__misuse(-EBUSY, "uco_websocket_receive: another task receives from it");
    } else {
        ws->input.reading = true;
        r = uco__websocket_read(ws);
        ws->input.reading = false;
        if (r == 1)
            *message = (uco_websocket_message){
                .data = ws->input.data, .size = ws->input.size, .text = ws->input.text};
    }
    uco__websocket_leave(ws);
    return r;
}
