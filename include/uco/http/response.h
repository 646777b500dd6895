/* SPDX-License-Identifier: MIT */
#ifndef UCO_INCLUDE_HTTP_RESPONSE_H
#define UCO_INCLUDE_HTTP_RESPONSE_H

/* HTTP responses: read at once, as a stream, by lines, as events. */

#include <uco/http/client.h>

UCO_BEGIN_DECLS

/** A response on the way to the last. */
typedef struct uco_http_hop {
    long status;
    const char *url;
} uco_http_hop;

/** How long the last request took, in seconds from when it had its connection slot. -1: there was
 * no such step, as on a connection that was kept alive. */
typedef struct uco_http_timings {
    double wait;       /* for a connection slot, before it began */
    double lookup;     /* to the host's addresses */
    double connect;    /* to the connection */
    double tls;        /* to the end of the handshake */
    double first_byte; /* to the response */
    double total;      /* to the end; of a streamed response, 0 until then */
} uco_http_timings;

/** A response. What is a pointer is borrowed from it. */
struct uco_http_response {
    long status;      /* 200, 404 ... */
    const char *text; /* the body, size bytes and a zero byte after them; of a streamed one NULL */
    size_t size;      /* bytes; of a streamed one, those delivered so far */
    const char *url;  /* where it came from, after redirects */
    int version;      /* of HTTP, as 10, 11, 20, 30 */
    int attempts;     /* 1, and one for each retry */
    const uco_http_hop *history; /* redirects, the first one first */
    size_t history_size;
    uco_http_timings timings;
    uint64_t received; /* bytes of the body as they came, before decompression */
    uint64_t sent;     /* bytes of the request's body */
    uintptr_t reserved[8];
};

/**
 * uco_http_header() - A header of a response.
 *
 * @name:     Case does not matter. Of a repeated header, the first.
 *
 * Context:   Any thread.
 * Ownership: Borrowed from the response.
 * Returns:   The value, or NULL if there is none.
 */
UCO_API const char *uco_http_header(const uco_http_response *r, const char *name);

/**
 * uco_http_header_repeated() - One of the headers of a name that comes several times.
 *
 * @name:     Case does not matter.
 * @index:    0 = the first.
 *
 * Context:   Any thread.
 * Ownership: Borrowed from the response.
 * Returns:   The value, or NULL if there are not so many.
 */
UCO_API const char *uco_http_header_repeated(const uco_http_response *r, const char *name,
                                             size_t index);

/**
 * uco_http_header_at() - All headers, one after the other, in the order in which they came.
 *
 * @position: 0 at first; moved on by each call.
 * @name:     Set to the name as it came.
 * @value:    Set to the value.
 *
 * Context:   Any thread.
 * Ownership: Borrowed from the response.
 * Returns:   true; false at the end.
 */
UCO_API bool uco_http_header_at(const uco_http_response *r, size_t *position, const char **name,
                                const char **value);

/**
 * uco_http_read() - Read what comes next of a streamed response's body.
 *
 * Back-pressure: what nobody reads, the server cannot send. A cancelled read loses nothing. For a
 * response that is in memory it reads from there.
 *
 * @buf, @n:  Where to, and how many bytes at most.
 *
 * Context:   Coroutine of the client's loop; one reader at a time. Suspends.
 * Returns:   How many bytes; 0 at the end of the body, or for n = 0. What came before an error is
 *            delivered first; then each call returns it: as uco_http_request(). -EBUSY (another
 *            task reads), -EINVAL (a NULL), -EPERM, -ECANCELED.
 */
UCO_API ssize_t uco_http_read(uco_http_response *r, void *buf, size_t n);

/**
 * uco_http_read_chunk() - As uco_http_read(), without copying: what has come, as much as there is.
 *
 * @data:     Set to the bytes.
 *
 * Ownership: Borrowed until the next call with this response.
 * Returns:   As uco_http_read().
 */
UCO_API ssize_t uco_http_read_chunk(uco_http_response *r, const void **data);

/**
 * uco_http_read_line() - Read the next line of a body.
 *
 * @line:     Set to the line, without "\n" or "\r\n", and with a zero byte after it. The last one
 *            need not end with "\n". NULL at the end and on an error.
 * @max:      How long a line may be, in bytes; 0 = 1 MiB.
 *
 * Context:   As uco_http_read().
 * Ownership: Borrowed until the next call with this response.
 * Returns:   The line's length (it may be 0: look at *line); 0 with NULL at the end; -EMSGSIZE (a
 *            longer line: nothing of it is lost), or as uco_http_read().
 */
UCO_API ssize_t uco_http_read_line(uco_http_response *r, const char **line, size_t max);

/** A server-sent event. */
typedef struct uco_http_event {
    const char *type; /* "message" where the server says nothing */
    const char *data; /* data_size bytes and a zero byte after them */
    size_t data_size;
    const char *id; /* the last one the server has told, maybe with an earlier event; "" */
    long retry;     /* milliseconds to wait before connecting again; -1: the server has told none */
    uintptr_t reserved[4];
} uco_http_event;

/**
 * uco_http_read_event() - Read the next of a stream of server-sent events (text/event-stream).
 *
 * @event:    Set, if there is one.
 *
 * Context:   As uco_http_read().
 * Ownership: What it points to is borrowed until the next call with this response.
 * Returns:   1; 0 at the end (what was not yet a whole event is dropped, as the standard says);
 *            -EMSGSIZE (an event of more than 16 MiB), or as uco_http_read().
 */
UCO_API int uco_http_read_event(uco_http_response *r, uco_http_event *event);

/**
 * uco_http_response_free() - Free a response. One that is still being received is given up, and its
 * connection closed. NULL is fine.
 *
 * Context: Any thread; of the client's loop while it is being received. Does not suspend.
 */
UCO_API void uco_http_response_free(uco_http_response *r);

UCO_END_DECLS

#endif
