/* SPDX-License-Identifier: MIT */
#ifndef UCO_NET_H
#define UCO_NET_H

/* Connections by name: listening, dialling, and handing descriptors over. */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_listen() - Make a listening socket.
 *
 * The first of a name's addresses that can be listened on is taken, in the resolver's order.
 *
 * @host:     A numeric address, a name, NULL (all addresses), "unix:/path" or "unix:@abstract". A
 *            socket file that nobody listens on any more is replaced.
 * @port:     0 = any free one (getsockname(2) tells); of no meaning for "unix:".
 * @backlog:  0 or less = the system's greatest.
 *
 * Context:   Numeric addresses, NULL and "unix:": any thread, does not suspend. Names: coroutine,
 *            suspends.
 * Ownership: The fd is the caller's: uco_close(). Non-blocking and close-on-exec.
 * Returns:   The fd; -EADDRINUSE, -EACCES and bind(2)'s others; -ENOENT (unknown name), -EAGAIN
 *            (the look-up failed for now), -ENAMETOOLONG, -EINVAL; -EPERM (a name, not in a
 *            coroutine); -ECANCELED.
 */
UCO_API int uco_listen(const char *host, uint16_t port, int backlog);

/**
 * uco_dial() - Connect to a host by name (asyncio's open_connection): Happy Eyeballs, RFC 8305.
 *
 * The addresses of a name are tried in the resolver's order, but so that the families take turns,
 * beginning with the first's. An attempt that has not succeeded after 250 ms is joined by the next
 * one, one that fails at once; the first that connects wins, and the others are given up. So an
 * address that does not answer costs a quarter of a second. Nothing here limits the time of the
 * whole: a scope does (uco_with_timeout(), uco_scope_open()).
 *
 * @host:     A numeric address, a name, "unix:/path" or "unix:@abstract".
 * @port:     Of no meaning for "unix:".
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The fd is the caller's: uco_close(). Non-blocking, close-on-exec, and with TCP_NODELAY
 *            where it is TCP.
 * Returns:   The fd; when no address can be reached, the error of the one that failed first, but
 *            one that this machine has no route to or no support for (-ENETUNREACH, -EADDRNOTAVAIL,
 *            -EAFNOSUPPORT) only if all are such
 *            -ENOENT     an unknown name; or no such "unix:" path
 *            -EAGAIN     the name cannot be looked up for now; uco_getaddrinfo()'s others
 *            -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH and connect(2)'s others
 *            -EMFILE, -ENFILE
 *            -ENAMETOOLONG  "unix:" with too long a path
 *            -EINVAL     host is NULL, or "unix:" without a path
 *            -ECANCELED  an enclosing scope was cancelled: nothing is left open
 *            -EPERM      not in a coroutine
 *            -ENOMEM     no memory
 */
UCO_API int uco_dial(const char *host, uint16_t port);

/**
 * uco_send_fd() - Hand a file descriptor to another process, over a Unix socket.
 *
 * It goes with one byte of data, a zero, for which there must be room. The receiver gets a
 * duplicate: this one stays open, and may be closed as soon as the call has returned.
 *
 * @socket: A connected Unix socket.
 * @fd:     Any.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0
 *          -EBADF       either is not open
 *          -ENOTSOCK    no socket
 *          -EOPNOTSUPP  no Unix socket
 *          -EPIPE, -ECONNRESET  nobody receives any more
 *          -ETOOMANYREFS  too many fds are on their way already
 *          -ECANCELED   an enclosing scope was cancelled: nothing was sent
 *          -EBUSY, -EPERM, -ENOMEM as uco_send(), and sendmsg(2)'s errors
 */
UCO_API int uco_send_fd(int socket, int fd);

/**
 * uco_recv_fd() - Receive a file descriptor that uco_send_fd(), or anyone, has sent.
 *
 * One byte of data is taken, and the fd that came with it. If several came, the first is
 * returned and the others are closed.
 *
 * @socket:   A Unix socket.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The fd is the caller's: uco_close(). Close-on-exec; its other flags are shared with
 *            the sender's.
 * Returns:   The fd
 *            -ENODATA     the end
 *            -EPROTO      a byte without an fd; it is gone
 *            -EMFILE      an fd came, but this process has too many: it is lost
 *            -ENOTSOCK    no socket
 *            -EOPNOTSUPP  no Unix socket
 *            -ECANCELED   an enclosing scope was cancelled: nothing was received
 *            -EBADF, -EBUSY, -EPERM, -ENOMEM as uco_recv(), and recvmsg(2)'s errors
 */
UCO_API int uco_recv_fd(int socket);

UCO_END_DECLS

#endif
