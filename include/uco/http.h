/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_H
#define UCO_HTTP_H

/*
 * An HTTP client over libcurl's multi interface.
 *
 * http/client.h     clients: their options, their cookies
 * http/request.h    requests, and what is sent with them
 * http/body.h       forms, multipart bodies, query parameters
 * http/response.h   responses: read at once, as a stream, by lines, as events
 * http/download.h   a URL into a file, going on where the last attempt ended
 * http/websocket.h  WebSocket
 *
 * Only http and https, also after redirects. A status of 400 or more is a response, not an error. A
 * client belongs to its loop (-EPERM from another); one that is left open when its loop closes is
 * closed by the loop, and reported with the file and line that opened it. A cancelled or timed-out
 * request leaves its connection clean or closed, never reused half-read.
 */

#include <uco/http/body.h>
#include <uco/http/client.h>
#include <uco/http/download.h>
#include <uco/http/request.h>
#include <uco/http/response.h>
#include <uco/http/websocket.h>

#endif
