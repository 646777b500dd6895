/* SPDX-License-Identifier: MIT */

/*
 * What a WebSocket sends.
 *
 * 1. A message is one frame. It waits in the frame of its task, is copied to curl under its mask
 *    when curl asks, and its task goes on when curl asks for more: then the system has it.
 * 2. Between two frames, an answer to a ping comes first, and a close last. After a close frame
 *    nothing is sent.
 * 3. Nothing here needs memory, so that what is received can always be answered. Of pings that come
 *    faster than they can be answered the last one is.
 * 4. A frame of which curl has a part cannot be taken back: its task's cancellation ends the
 *    connection.
 */

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/describe.h"
#include "http/websocket.h"
#include "task/task.h"

#include <string.h>
#include <sys/random.h>

static struct uco__websocket_frame *
frame_of_link(struct uco__list *link)
{
    return UCO__CONTAINER(link, struct uco__websocket_frame, link);
}

/* --- masks --- */

/* Masks keep a program that chooses what is sent from writing what a proxy on the way takes for
 * HTTP: they must not be foreseen. */
static int
mask_take(struct uco__websocket_output *output, unsigned char mask[UCO__WEBSOCKET_MASK_SIZE])
{
    if (output->masks_left == 0) {
        long r = UCO__SYSTEM(getrandom, getrandom(output->masks, sizeof output->masks, 0));

        if (r < 0)
            return (int) r;
        output->masks_left = UCO__WEBSOCKET_MASKS;
    }
    output->masks_left--;
    memcpy(mask, output->masks + output->masks_left * UCO__WEBSOCKET_MASK_SIZE,
           UCO__WEBSOCKET_MASK_SIZE);
    return 0;
}

/* --- frames --- */

static int
frame_init(struct uco_websocket *ws, struct uco__websocket_frame *frame,
           enum uco__websocket_opcode opcode, const char *data, size_t size)
{
    struct uco__websocket_header header = {.opcode = opcode, .final = true, .size = size};
    int r = mask_take(&ws->output, frame->mask);

    uco__list_init(&frame->link);
    frame->ws = ws;
    frame->awaited = false;
    frame->header_size = uco__websocket_header_write(frame->header, &header, frame->mask);
    frame->data = data;
    frame->size = size;
    frame->done = 0;
    return r;
}

static bool
frame_is_done(const struct uco__websocket_frame *frame)
{
    return frame->done == frame->header_size + frame->size;
}

static size_t
frame_copy(struct uco__websocket_frame *frame, char *to, size_t room)
{
    size_t copied = 0, n, offset;

    if (frame->done < frame->header_size) {
        copied = frame->header_size - frame->done;
        if (copied > room)
            copied = room;
        memcpy(to, frame->header + frame->done, copied);
        frame->done += copied;
    }
    if (frame->done < frame->header_size)
        return copied;
    offset = frame->done - frame->header_size;
    n = frame->size - offset;
    if (n > room - copied)
        n = room - copied;
    if (n > 0)
        uco__websocket_mask(to + copied, frame->data + offset, n, frame->mask, offset);
    frame->done += n;
    return copied + n;
}

static void
frame_end(struct uco__websocket_frame *frame, int result)
{
    uco__list_remove(&frame->link);
    if (frame->awaited)
        uco__wake(&frame->wait, result);
}

/* --- the order of frames --- */

/* Of ours; NULL: there is no mask for it, and the connection ends. */
static struct uco__websocket_frame *
control_begin(struct uco_websocket *ws, struct uco__websocket_control *control,
              enum uco__websocket_opcode opcode, const char *data)
{
    int r = frame_init(ws, &control->frame, opcode, data, control->size);

    if (r < 0)
        uco__http_upgrade_fail(&ws->upgrade, r);
    return r == 0 ? &control->frame : NULL;
}

static struct uco__websocket_frame *
output_next(struct uco_websocket *ws)
{
    struct uco__websocket_output *output = &ws->output;
    struct uco__list *link;

    if (output->closed)
        return NULL;
    if (output->pong.due) {
        output->pong.due = false;
        memcpy(output->pong_sent, output->pong.data, output->pong.size);
        return control_begin(ws, &output->pong, UCO__WEBSOCKET_PONG, output->pong_sent);
    }
    link = uco__list_pop_front(&output->waiting);
    if (link != NULL)
        return frame_of_link(link);
    if (!output->close.due)
        return NULL;
    output->closed = true;
    return control_begin(ws, &output->close, UCO__WEBSOCKET_CLOSE, output->close.data);
}

static size_t
output_send(struct uco__http_upgrade *upgrade, char *to, size_t size)
{
    struct uco_websocket *ws = UCO__CONTAINER(upgrade, struct uco_websocket, upgrade);
    struct uco__websocket_output *output = &ws->output;
    size_t used = 0;

    while (!uco__list_empty(&output->taken))
        frame_end(frame_of_link(output->taken.next), 0);
    if (output->closed && output->current == NULL) {
        output->flushed = true;
        uco__websocket_tell_closer(ws);
    }
    while (used < size) {
        if (output->current == NULL)
            output->current = output_next(ws);
        if (output->current == NULL)
            break;
        used += frame_copy(output->current, to + used, size - used);
        if (!frame_is_done(output->current))
            break;
        if (output->current->awaited)
            uco__list_push_back(&output->taken, &output->current->link);
        output->current = NULL;
    }
    return used;
}

void
uco__websocket_output_end(struct uco_websocket *ws, int error)
{
    struct uco__websocket_output *output = &ws->output;

    if (output->ended)
        return;
    output->ended = true;
    output->error = error;
    if (output->current != NULL)
        frame_end(output->current, error);
    output->current = NULL;
    while (!uco__list_empty(&output->taken))
        frame_end(frame_of_link(output->taken.next), error);
    while (!uco__list_empty(&output->waiting))
        frame_end(frame_of_link(output->waiting.next), error);
    uco__websocket_tell_closer(ws);
}

/* An end without a word of the TLS layer's is no other error than one without it. */
static void
output_ended(struct uco__http_upgrade *upgrade, int error)
{
    struct uco_websocket *ws = UCO__CONTAINER(upgrade, struct uco_websocket, upgrade);

    uco__websocket_output_end(ws, error == 0 ? -EPIPE : error == -EPROTO ? -ECONNRESET : error);
}

void
uco__websocket_output_init(struct uco_websocket *ws)
{
    uco__list_init(&ws->output.waiting);
    uco__list_init(&ws->output.taken);
    ws->upgrade.send = output_send;
    ws->upgrade.ended = output_ended;
}

/* --- control frames --- */

void
uco__websocket_pong(struct uco_websocket *ws, const char *data, size_t size)
{
    if (size > 0)
        memcpy(ws->output.pong.data, data, size);
    ws->output.pong.size = size;
    ws->output.pong.due = true;
    uco__http_upgrade_send(&ws->upgrade);
}

void
uco__websocket_send_close(struct uco_websocket *ws, unsigned code, const char *reason)
{
    struct uco__websocket_control *close = &ws->output.close;
    size_t length = reason != NULL ? strlen(reason) : 0;

    if (close->due)
        return;
    close->due = true;
    if (code != UCO__WEBSOCKET_NO_CODE) {
        close->data[0] = (char) (code >> 8);
        close->data[1] = (char) code;
        if (length > 0)
            memcpy(close->data + 2, reason, length);
        close->size = 2 + length;
    }
    uco__http_upgrade_send(&ws->upgrade);
}

void
uco__websocket_refuse(struct uco_websocket *ws)
{
    while (!uco__list_empty(&ws->output.waiting))
        frame_end(frame_of_link(ws->output.waiting.next), -EPIPE);
}

/* --- what users send --- */

static enum uco__abort
frame_abort(struct uco__wait *wait)
{
    struct uco__websocket_frame *frame = UCO__CONTAINER(wait, struct uco__websocket_frame, wait);
    struct uco_websocket *ws = frame->ws;

    frame->awaited = false;
    uco__list_remove(&frame->link);
    if (ws->output.current == frame) {
        ws->output.current = NULL;
        uco__websocket_output_end(ws, -EPIPE);
        uco__http_upgrade_fail(&ws->upgrade, -ECONNABORTED);
    }
    return UCO__UNLINKED;
}

static int
frame_await(struct uco_websocket *ws, struct uco__websocket_frame *frame)
{
    int error;
    intptr_t r;

    frame->awaited = true;
    uco__list_push_back(&ws->output.waiting, &frame->link);
    uco__http_upgrade_send(&ws->upgrade);
    uco__wait_init(&frame->wait, &uco__wait_frame, frame_abort);
    r = uco__task_park(uco__task_current(&error), &frame->wait);
    if (r != UCO__INTERRUPTED)
        return (int) r;
    return frame_is_done(frame) ? 0 : -ECANCELED; /* curl has it: it is sent */
}

static int
websocket_send(struct uco_websocket *ws, const char *function, enum uco__websocket_opcode opcode,
               const char *data, size_t size)
{
    struct uco__websocket_frame frame;
    int r = uco__websocket_enter(ws, data != NULL || size == 0, function);

    if (r < 0)
        return r;
    if (ws->output.ended) {
        r = ws->output.error;
    } else if (ws->output.close.due) {
        r = -EPIPE;
    } else {
        r = frame_init(ws, &frame, opcode, data, size);
        if (r == 0)
            r = frame_await(ws, &frame);
    }
    uco__websocket_leave(ws);
    return r;
}

int
uco_websocket_send(uco_websocket *ws, const void *data, size_t size)
{
    return websocket_send(ws, "uco_websocket_send", UCO__WEBSOCKET_BINARY, data, size);
}

int
uco_websocket_send_text(uco_websocket *ws, const char *text)
{
    size_t size = text != NULL ? strlen(text) : SIZE_MAX;

    if (text != NULL && !uco__websocket_is_utf8(text, size))
        return uco__misuse(-EINVAL, "uco_websocket_send_text: the text is not UTF-8");
    return websocket_send(ws, "uco_websocket_send_text", UCO__WEBSOCKET_TEXT, text, size);
}

int
uco_websocket_ping(uco_websocket *ws, const void *data, size_t size)
{
    if (size > UCO__WEBSOCKET_CONTROL_MAX)
        return -EMSGSIZE;
    return websocket_send(ws, "uco_websocket_ping", UCO__WEBSOCKET_PING, data, size);
}
