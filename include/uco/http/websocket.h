/* SPDX-License-Identifier: MIT */
#ifndef UCO_INCLUDE_HTTP_WEBSOCKET_H
#define UCO_INCLUDE_HTTP_WEBSOCKET_H

/*
 * WebSocket (RFC 6455), over a client's connections: its limits, names, proxies, TLS, cookies and
 * headers hold here too.
 *
 * It needs nothing of libcurl's own WebSocket functions, which many builds of libcurl lack.
 */

#include <uco/http/client.h>

UCO_BEGIN_DECLS

typedef struct uco_websocket uco_websocket;

/** Zeroed, all fields mean their default. */
typedef struct uco_websocket_options {
    const char *const *headers;   /* "Name: value", NULL-terminated, in place of the client's of the
                                     same name; none that belongs to the handshake */
    const char *const *protocols; /* sub-protocols, the preferred one first, NULL-terminated */
    double timeout;               /* seconds, to open it; 0 = the client's. Once it is open no
                                     timeout holds */
    size_t max_message;           /* bytes; 0 = 16 MiB. A longer one ends with -EMSGSIZE */
    uintptr_t reserved[8];
} uco_websocket_options;

/** A message, with all of its fragments. */
typedef struct uco_websocket_message {
    const void *data; /* size bytes and a zero byte after them */
    size_t size;
    bool text; /* else binary */
    uintptr_t reserved[4];
} uco_websocket_message;

/** uco_websocket_supported() - Whether uco_websocket_open() can: with each libcurl that uco takes,
 * it can. Context: any thread. */
UCO_API bool uco_websocket_supported(void);

/**
 * uco_websocket_open() - Connect to a server.
 *
 * @c:        The client whose limits, names, proxies, cookies and TLS options hold. The connection
 *            counts among its connections, until it ends or is closed. The client's close ends it.
 * @url:      ws:// or wss://, or without scheme for a client that has a base_url. Redirects are
 *            followed as the client's are.
 * @options:  NULL = the defaults.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: uco_websocket_close(); a resource of the loop's.
 * Returns:   NULL with errno EPROTO (the server does not want to, or does not know how; see
 *            uco_http_error()), EINVAL (a bad URL, header or sub-protocol, or a NULL), or as
 *            uco_http_request().
 */
UCO_API uco_websocket *uco_websocket_open(uco_http_client *c, const char *url,
                                          const uco_websocket_options *options);

/** uco_websocket_open_at() - The same, and remembers the line that called it, for reports. */
UCO_API uco_websocket *uco_websocket_open_at(const char *file, int line, uco_http_client *c,
                                             const char *url, const uco_websocket_options *options);
#define uco_websocket_open(...) uco_websocket_open_at(__FILE__, __LINE__, __VA_ARGS__)

/** uco_websocket_protocol() - The sub-protocol the server has chosen, one of those that were
 * offered; "" = none. Borrowed from the WebSocket. */
UCO_API const char *uco_websocket_protocol(const uco_websocket *ws);

/**
 * uco_websocket_send() - Send a message: data, size bytes, or a text in UTF-8.
 *
 * Several tasks' messages go out one after the other.
 *
 * Context: Coroutine of the client's loop. Suspends until the system has taken all of it, or all
 *          but 64 KiB. A send that is cancelled after its beginning has gone out, and before its
 *          end, ends the connection.
 * Returns: 0, -EPIPE (it is closed, by either side, or the connection has ended), -ECONNRESET ...
 *          (while it was sent), -EINVAL (a NULL, or a text that is not UTF-8), -ECANCELED, -EPERM.
 */
UCO_API int uco_websocket_send(uco_websocket *ws, const void *data, size_t size);
UCO_API int uco_websocket_send_text(uco_websocket *ws, const char *text);

/** uco_websocket_ping() - Send a ping; the answer is not waited for. As uco_websocket_send(); at
 * most 125 bytes (-EMSGSIZE). */
UCO_API int uco_websocket_ping(uco_websocket *ws, const void *data, size_t size);

/**
 * uco_websocket_receive() - Receive a message. Pings are answered meanwhile.
 *
 * @message:  Set, if there is one.
 *
 * Context:   Coroutine of the client's loop; one receiver at a time. Suspends. A cancelled one
 *            loses nothing.
 * Ownership: What it points to is borrowed until the next call.
 * Returns:   1; 0: the server has closed (uco_websocket_close_code()).
 *            -ECONNRESET ...  the connection has ended without that
 *            -EMSGSIZE   a message larger than max_message
 *            -EPROTO     what is no WebSocket frame, or a text that is not UTF-8
 *            -EPIPE      it is being closed, by another task
 *            -EBUSY (another task receives), -EINVAL, -ECANCELED, -EPERM, -ENOMEM (nothing is
 *            lost). After -EMSGSIZE and -EPROTO the server is told why, and nothing more comes.
 */
UCO_API int uco_websocket_receive(uco_websocket *ws, uco_websocket_message *message);

/** uco_websocket_close_code() - What the server said when it closed: 1000 ...; 1005: nothing; 0:
 * it has not closed. */
UCO_API int uco_websocket_close_code(const uco_websocket *ws);

/**
 * uco_websocket_close() - Say goodbye, wait for the server's (5 s at most), close and free.
 *
 * Messages that come meanwhile are dropped, unless a task receives them. Tasks that send or receive
 * in the end get -EPIPE. A server that has said goodbye first has its answer when this returns.
 *
 * @code:   1000 = done, 1001 = going away, 3000 to 4999 = the program's own ...; 0 = close at once,
 *          without a word.
 * @reason: At most 123 bytes of UTF-8; NULL = none.
 *
 * A completing call; in a cancelled scope it does not wait. NULL is fine.
 *
 * Context: Coroutine of the client's loop; a callback with code 0.
 * Returns: 0, -EINVAL (a code that may not be sent, a bad reason, or it is being closed already:
 *          nothing changed), -EPERM, -ESTALE.
 */
UCO_API int uco_websocket_close(uco_websocket *ws, int code, const char *reason);

UCO_END_DECLS

#endif
