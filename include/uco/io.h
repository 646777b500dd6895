/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_H
#define UCO_IO_H

/*
 * Files and sockets: POSIX's names, parameters and order, with negative errno results; each
 * suspends only its coroutine.
 *
 * SIGPIPE is never raised. A second task that waits for the same direction of one fd gets -EBUSY. A
 * socket is made non-blocking when a call needs it; no other fd has its flags changed: what others
 * may share is polled.
 */

#include <uco/common.h>

#include <sys/socket.h>
#include <sys/uio.h>

UCO_BEGIN_DECLS

/**
 * uco_read() - read(2): read what is there, waiting until there is something.
 *
 * @fd:     A socket, pipe, terminal or any other that can be polled; a regular file that is not in
 *          memory is read by the pool.
 *
 * Context: Coroutine. Suspends.
 * Returns: The number of bytes; 0 at the end, or for n = 0
 *          -ECANCELED  an enclosing scope was cancelled: nothing was read
 *          -EBADF      not open, or closed by uco_close() meanwhile
 *          -EBUSY      another task waits to read from fd
 *          -EPERM      not in a coroutine
 *          -ENOMEM     no memory to wait
 *          and read(2)'s errors
 */
UCO_API ssize_t uco_read(int fd, void *buf, size_t n);

/**
 * uco_write() - write(2): write some, waiting until there is room.
 *
 * Context: Coroutine. Suspends.
 * Returns: The number of bytes written, which may be fewer than n
 *          -EPIPE      nobody reads the other end
 *          -EBUSY      another task waits to write to fd
 *          -ECANCELED, -EBADF, -EPERM, -ENOMEM as uco_read(), and write(2)'s errors
 */
UCO_API ssize_t uco_write(int fd, const void *buf, size_t n);

/**
 * uco_read_exactly() - uco_read() until n bytes are there.
 *
 * Context: Coroutine. Suspends.
 * Returns: n, -ENODATA when the end came first, or uco_read()'s errors (what was read until then is
 *          in buf).
 */
UCO_API ssize_t uco_read_exactly(int fd, void *buf, size_t n);

/**
 * uco_write_all() - uco_write() until all is written.
 *
 * @done:   How many bytes were written, also on an error; NULL = not wanted.
 *
 * Context: Coroutine. Suspends.
 * Returns: n, or uco_write()'s errors.
 */
UCO_API ssize_t uco_write_all(int fd, const void *buf, size_t n, size_t *done);

/**
 * uco_readv() - readv(2): uco_read() into several buffers.
 *
 * Context: Coroutine. Suspends.
 * Returns: As uco_read(); -EINVAL (count is negative or over IOV_MAX).
 */
UCO_API ssize_t uco_readv(int fd, const struct iovec *vectors, int count);

/**
 * uco_writev() - writev(2): uco_write() from several buffers.
 *
 * Context: Coroutine. Suspends.
 * Returns: As uco_write(); -EINVAL (count is negative or over IOV_MAX).
 */
UCO_API ssize_t uco_writev(int fd, const struct iovec *vectors, int count);

/**
 * uco_recv() - recv(2): receive from a socket, waiting until something is there.
 *
 * @flags:  As recv(2). MSG_WAITALL waits for all n bytes: fewer come at the end, before an error
 *          and when the caller is cancelled; what stopped it is what the next call returns. With
 *          MSG_DONTWAIT or MSG_ERRQUEUE it does not wait: -EAGAIN.
 *
 * Context: Coroutine. Suspends.
 * Returns: The number of bytes; 0 at the end
 *          -ENOTSOCK   no socket
 *          -ECANCELED, -EBADF, -EBUSY, -EPERM, -ENOMEM as uco_read(), and recv(2)'s errors
 */
UCO_API ssize_t uco_recv(int fd, void *buf, size_t n, int flags);

/**
 * uco_send() - send(2): send on a socket, waiting until there is room.
 *
 * @flags:  As send(2). With MSG_DONTWAIT it does not wait: -EAGAIN.
 *
 * Context: Coroutine. Suspends.
 * Returns: The number of bytes sent, which on a stream may be fewer than n
 *          -EPIPE, -ECONNRESET   nobody reads any more
 *          -ENOTSOCK             no socket
 *          -ECANCELED, -EBADF, -EBUSY, -EPERM, -ENOMEM as uco_read(), and send(2)'s errors
 */
UCO_API ssize_t uco_send(int fd, const void *buf, size_t n, int flags);

/**
 * uco_recvfrom() - recvfrom(2): uco_recv(), and who sent it.
 *
 * @addr, @len: As recvfrom(2); may be NULL.
 *
 * Context: Coroutine. Suspends.
 * Returns: As uco_recv(). For n = 0 on a datagram socket 0: the datagram is gone.
 */
UCO_API ssize_t uco_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr,
                             socklen_t *len);

/**
 * uco_sendto() - sendto(2): uco_send() to an address.
 *
 * Context: Coroutine. Suspends.
 * Returns: As uco_send(), and sendto(2)'s errors.
 */
UCO_API ssize_t uco_sendto(int fd, const void *buf, size_t n, int flags,
                           const struct sockaddr *addr, socklen_t len);

/**
 * uco_recvmsg() - recvmsg(2): receive into several buffers, with control data (fds, addresses,
 * time stamps).
 *
 * @flags:  As uco_recv(), but MSG_WAITALL waits only for the first bytes.
 *
 * Context: Coroutine. Suspends.
 * Returns: As uco_recv(); msg is filled in as by recvmsg(2).
 */
UCO_API ssize_t uco_recvmsg(int fd, struct msghdr *msg, int flags);

/**
 * uco_sendmsg() - sendmsg(2): send from several buffers, with control data.
 *
 * Context: Coroutine. Suspends.
 * Returns: As uco_send(), and sendmsg(2)'s errors.
 */
UCO_API ssize_t uco_sendmsg(int fd, const struct msghdr *msg, int flags);

/**
 * uco_accept4() - accept4(2): wait for a connection.
 *
 * A connection that was aborted before it could be accepted is passed over.
 *
 * @fd:       A listening socket; made non-blocking, but for 0 to 2, which are polled.
 * @addr, @len: As accept4(2); may be NULL.
 * @flags:    SOCK_CLOEXEC, SOCK_NONBLOCK. The calls of this header need neither.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The new fd is the caller's.
 * Returns:   The new fd; -ECANCELED, -EBADF, -EBUSY, -EPERM, -ENOMEM as uco_read(); -EMFILE,
 *            -ENFILE and accept4(2)'s others.
 */
UCO_API int uco_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

/**
 * uco_connect() - connect(2): connect a socket, waiting until it is or is refused.
 *
 * @fd:     A socket; made non-blocking. After an error, -ECANCELED included, it can only be closed.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0; -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH and connect(2)'s others; -ECANCELED, -EBADF,
 *          -EBUSY, -EPERM, -ENOMEM as uco_read().
 */
UCO_API int uco_connect(int fd, const struct sockaddr *addr, socklen_t len);

/**
 * uco_poll() - Wait until a file descriptor is ready.
 *
 * @events:  POLLIN, POLLOUT, POLLPRI and POLLRDHUP of poll(2).
 * @timeout: Seconds; UCO_FOREVER = no limit; zero or less = only look.
 *
 * Context:  Coroutine. Suspends, unless it is ready.
 * Returns:  revents as of poll(2): more than zero; may have POLLERR and POLLHUP
 *           -ETIMEDOUT
 *           -EINVAL     NaN, or other events
 *           -EBADF, -EBUSY, -ECANCELED, -EPERM, -ENOMEM as uco_read()
 */
UCO_API int uco_poll(int fd, short events, double timeout);

/**
 * uco_close() - close(2). Those of this loop who wait on the fd are woken with -EBADF first; its
 * watchers are removed.
 *
 * Context: Any thread; only the running loop's own waiters are woken. Does not suspend.
 * Returns: 0, -EBADF (not open), and close(2)'s others, after which it is closed all the same.
 */
UCO_API int uco_close(int fd);

UCO_END_DECLS

#endif
