/* SPDX-License-Identifier: MIT */

/*
 * WebSockets: their calls, and their end.
 *
 * 1. One is freed when it was closed and no task is in a call of its.
 * 2. A close says goodbye, if there is somebody to hear it, and then breaks the connection: that
 *    ends the other tasks' calls.
 *
 * libcurl has functions for WebSockets. Most builds before 8.11 lack them; they tell where a
 * message ends since 8.13, and of empty ones since 8.16; those of 7.88 write wrong lengths, and
 * make the socket a blocking one. So libcurl only carries the bytes (http/upgrade.h).
 */

#include "http/websocket.h"

#include "base/error.h"
#include "base/system.h"
#include "core/report.h"
#include "http/describe.h"
#include "task/task.h"

#include <string.h>
#include <uco/scope.h>

#define GOODBYE 5.0 /* seconds to wait for the server's */

bool
uco_websocket_supported(void)
{
    return true;
}

const char *
uco_websocket_protocol(const uco_websocket *ws)
{
    return ws != NULL ? ws->protocol : "";
}

int
uco_websocket_close_code(const uco_websocket *ws)
{
    return ws != NULL ? ws->input.code : 0;
}

/* --- calls --- */

void
uco__websocket_tell_closer(struct uco_websocket *ws)
{
    if (ws->closer != NULL)
        uco__wake(ws->closer, 0);
}

int
uco__websocket_enter(struct uco_websocket *ws, bool pointers, const char *function)
{
    int error;

    if (uco__task_current(&error) == NULL)
        return uco__misuse(error, "%s: not in a coroutine", function);
    if (ws == NULL || !pointers)
        return uco__misuse(-EINVAL, "%s: a NULL", function);
    if (ws->loop != uco_get_running_loop())
        return uco__misuse(-EPERM, "%s: another loop's WebSocket", function);
    if (ws->closing)
        return -EPIPE;
    ws->users++;
    error = uco__checkpoint();
    /* Others run in it. */
    if (error == 0 && ws->closing)
        error = -EPIPE;
    if (error < 0)
        uco__websocket_leave(ws);
    return error;
}

void
uco__websocket_leave(struct uco_websocket *ws)
{
    ws->users--;
    if (!ws->closing)
        return;
    if (ws->closer != NULL)
        uco__websocket_tell_closer(ws);
    else if (ws->users == 0)
        uco__websocket_free(ws);
}

/* --- the end --- */

void
uco__websocket_free(struct uco_websocket *ws)
{
    uco__http_upgrade_drop(&ws->upgrade);
    uco_http_response_free((uco_http_response *) ws->response);
    uco__free(ws->input.data);
    uco__free(ws);
}

/* Whoever is in a call leaves it. */
static void
websocket_break(struct uco_websocket *ws)
{
    ws->closing = true;
    uco__websocket_output_end(ws, -EPIPE);
    uco__http_upgrade_fail(&ws->upgrade, -EPIPE);
}

/* In a callback: nobody waits. */
static void
websocket_drop(struct uco_websocket *ws)
{
    websocket_break(ws);
    if (ws->users == 0)
        uco__websocket_free(ws);
}

void
uco__websocket_close_resource(struct uco__resource *resource)
{
    websocket_drop(UCO__CONTAINER(resource, struct uco_websocket, resource));
}

/* Waits for something to change; false: the caller was cancelled, or has waited long enough. */
static bool
closer_wait(struct uco_websocket *ws, const struct uco__wait_kind *kind, bool cancellable)
{
    struct uco__wait wait;
    int error;
    intptr_t r;

    uco__wait_init(&wait, kind, cancellable ? uco__wait_abort_plain : NULL);
    ws->closer = &wait;
    if (cancellable)
        r = uco__task_park(uco__task_current(&error), &wait);
    else
        r = uco__park(&wait);
    ws->closer = NULL;
    return r != UCO__INTERRUPTED;
}

/* Whether there is nothing to wait for any more. */
static bool
goodbye_is_over(const struct uco_websocket *ws)
{
    return ws->output.ended || (ws->output.flushed && (ws->input.code != 0 || ws->input.error < 0));
}

static void
websocket_say_goodbye(struct uco_websocket *ws, unsigned code, const char *reason)
{
    struct uco__websocket_input *input = &ws->input;
    bool go_on = true;

    uco__websocket_send_close(ws, code, reason);
    while (go_on && !goodbye_is_over(ws)) {
        if (input->reading || input->code != 0 || input->error < 0) {
            go_on = closer_wait(ws, &uco__wait_goodbye, true);
            continue;
        }
        input->reading = true;
        go_on = uco__websocket_read(ws) >= 0; /* messages that nobody wants any more */
        input->reading = false;
    }
}

static int
close_check(const struct uco_websocket *ws, int code, const char *reason, bool in_task)
{
    if (code != 0 && (code < 0 || !uco__websocket_code_valid((unsigned) code)))
        return uco__misuse(-EINVAL, "uco_websocket_close: %d may not be sent", code);
    if (reason != NULL && (strlen(reason) > UCO__WEBSOCKET_REASON_MAX ||
                           !uco__websocket_is_utf8(reason, strlen(reason))))
        return uco__misuse(-EINVAL, "uco_websocket_close: the reason is too long, or not UTF-8");
    if (code != 0 && !in_task)
        return uco__misuse(-EPERM, "uco_websocket_close: not in a coroutine, with code %d", code);
    if (ws->closing)
        return uco__misuse(-EINVAL, "uco_websocket_close: it is being closed already");
    return 0;
}

int
uco_websocket_close(uco_websocket *ws, int code, const char *reason)
{
    uco_scope scope;
    int error, r;
    bool in_task;

    if (ws == NULL)
        return 0;
    if (uco__loop_current(&error) == NULL)
        return uco__misuse(error, "uco_websocket_close: outside a running loop");
    if (uco_get_running_loop() != ws->loop)
        return uco__misuse(-EPERM, "uco_websocket_close: another loop's WebSocket");
    in_task = uco__task_current(&error) != NULL;
    r = close_check(ws, code, reason, in_task);
    if (r < 0)
        return r;
    uco__loop_remove_resource(ws->loop, &ws->resource);
    if (!in_task) {
        websocket_drop(ws);
        return 0;
    }
    ws->closing = true;
    ws->users++;
    if (code != 0 && !uco_cancelled() && uco_scope_open(&scope, GOODBYE) == 0) {
        websocket_say_goodbye(ws, (unsigned) code, reason);
        uco_scope_close(&scope, 0);
    }
    websocket_break(ws);
    while (ws->users > 1)
        closer_wait(ws, &uco__wait_users, false);
    uco__websocket_free(ws);
    return 0;
}
