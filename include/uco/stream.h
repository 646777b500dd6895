/* SPDX-License-Identifier: MIT */
#ifndef UCO_STREAM_H
#define UCO_STREAM_H

/*
 * Streams: buffered reading and writing of a socket, pipe or terminal.
 *
 * A stream belongs to the loop it was made on (-EPERM elsewhere). One task may read and others may
 * write at the same time. It has memory for bytes only while there are some, so idle streams are
 * small.
 *
 * An error of the connection stays: what was received before it is delivered first, then each call
 * returns it. A cancelled read loses nothing.
 */

#include <uco/common.h>

UCO_BEGIN_DECLS

typedef struct uco_stream uco_stream;

/**
 * uco_stream_new() - Make a stream of a file descriptor.
 *
 * @fd:       A connected stream socket, a pipe, a terminal; a regular file too, which the pool
 *            reads and writes. Its flags are left as they are. From here on only the stream may use
 *            it.
 *
 * Context:   Inside a running loop, whose resource it becomes: a stream that is left open is closed
 *            by the loop's close, and reported with the line that opened it. Does not suspend.
 * Ownership: uco_stream_close(), which also closes fd. When it fails fd is still the caller's.
 * Returns:   NULL with errno EPERM (outside a running loop), EBADF, EINVAL (a socket that carries
 *            messages), ESHUTDOWN (the loop is at the end of its close), ENOMEM or ESTALE.
 */
UCO_API uco_stream *uco_stream_new(int fd);

/**
 * uco_stream_new_at() - uco_stream_new(), and remembers the line that called it, for reports.
 *
 * @file: A string that is never freed, as __FILE__.
 * @line: As __LINE__.
 */
UCO_API uco_stream *uco_stream_new_at(const char *file, int line, int fd);
#define uco_stream_new(...) uco_stream_new_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_stream_dial() - Connect by uco_dial(), and make a stream of the connection.
 *
 * @host, @port: As uco_dial()'s.
 *
 * Context:   Coroutine. Suspends; scopes give the timeout.
 * Ownership: uco_stream_close().
 * Returns:   NULL with errno as uco_dial()'s or uco_stream_new()'s errors.
 */
UCO_API uco_stream *uco_stream_dial(const char *host, uint16_t port);

/** uco_stream_dial_at() - uco_stream_dial(), and remembers the line, as uco_stream_new_at(). */
UCO_API uco_stream *uco_stream_dial_at(const char *file, int line, const char *host, uint16_t port);
#define uco_stream_dial(...) uco_stream_dial_at(__FILE__, __LINE__, __VA_ARGS__)

/**
 * uco_stream_fd() - The stream's file descriptor, for options and addresses.
 *
 * Context:   Any thread, while the stream is open.
 * Ownership: The stream's: neither read, write nor close it.
 * Returns:   The fd; -EINVAL (NULL), -EBADF (closed).
 */
UCO_API int uco_stream_fd(const uco_stream *s);

/**
 * uco_stream_read() - Read what is there, waiting until there is something.
 *
 * Context: Coroutine. Suspends.
 * Returns: The number of bytes, at least 1; 0 at the end, and for n = 0
 *          -ECONNRESET  the other side has broken the connection; all that came before was read
 *          -EBUSY       another task waits to read from it
 *          -EBADF       the stream was or is being closed
 *          -ECANCELED   an enclosing scope was cancelled: nothing is lost
 *          -ENOMEM      nothing is lost
 *          -EINVAL      a NULL
 *          -EPERM       not in a coroutine, or another loop's stream
 *          and read(2)'s errors
 */
UCO_API ssize_t uco_stream_read(uco_stream *s, void *buf, size_t n);

/**
 * uco_stream_read_exactly() - Read n bytes.
 *
 * Context: Coroutine. Suspends.
 * Returns: n
 *          -ENODATA     the end came first
 *          and uco_stream_read()'s errors. After any of these, what was received can still be read.
 *          Only where 4 KiB or more were asked for and there is no memory for putting back what
 *          came, that is lost, and all further reads fail with -ENOMEM.
 */
UCO_API ssize_t uco_stream_read_exactly(uco_stream *s, void *buf, size_t n);

/**
 * uco_stream_read_until() - Read up to and with a delimiter.
 *
 * At the end of the stream, what is left is a last line without a delimiter.
 *
 * @line:     Set on success: the line, without a zero byte after it, in the stream's own buffer
 *            until the next call that reads from the stream.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The line is the stream's.
 * Returns:   The line's length with its delimiter; 0 at the end
 *            -EMSGSIZE    no delimiter within the limit (64 KiB, or uco_stream_set_limit()).
 *                         Nothing is lost: read it by uco_stream_read() or uco_stream_peek(), or
 *                         set a higher limit and call again
 *            and uco_stream_read()'s errors; what was received of a line that an error has cut
 *            short can be read by uco_stream_read().
 */
UCO_API ssize_t uco_stream_read_until(uco_stream *s, char delimiter, const char **line);

/** uco_stream_read_line() - uco_stream_read_until() '\n'. */
UCO_API ssize_t uco_stream_read_line(uco_stream *s, const char **line);

/**
 * uco_stream_peek() - Look at what has been received, waiting until there is something.
 *
 * The cheapest way to read, without a copy: peek, use, uco_stream_consume(), and so on. A stream
 * that is read so needs no buffer of the caller's while it is idle.
 *
 * @data:     Set if the result is not 0 or an error: the bytes, in the stream's own buffer until
 *            the next call that reads from the stream or consumes.
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The bytes are the stream's.
 * Returns:   How many, at least 1; 0 at the end; or uco_stream_read()'s errors.
 */
UCO_API ssize_t uco_stream_peek(uco_stream *s, const void **data);

/**
 * uco_stream_fill() - uco_stream_peek() until at least n bytes are there: for parsers that need
 * more.
 *
 * @n:        1 up to the limit (64 KiB, or uco_stream_set_limit()).
 *
 * Context:   Coroutine. Suspends.
 * Ownership: The bytes are the stream's.
 * Returns:   How many, n or more; fewer only when the end has come; -EMSGSIZE (n is above the
 *            limit); or uco_stream_read()'s errors.
 */
UCO_API ssize_t uco_stream_fill(uco_stream *s, size_t n, const void **data);

/**
 * uco_stream_consume() - Take bytes that uco_stream_peek() has shown.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL (more than there are, NULL), -EBUSY (a task waits to read), -EBADF, -EPERM.
 */
UCO_API int uco_stream_consume(uco_stream *s, size_t n);

/**
 * uco_stream_set_limit() - How long a line may be.
 *
 * @limit:  Bytes, with the delimiter: 1 to 512 MiB; 64 KiB unless set.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL, -EBADF, -EPERM.
 */
UCO_API int uco_stream_set_limit(uco_stream *s, size_t limit);

/**
 * uco_stream_write() - Write all of it.
 *
 * It is sent at once as far as that is possible. The rest is kept, and sent by the loop; only while
 * more than the high-water mark would be kept, the call suspends, until at most the low-water mark
 * is left. So memory is bounded however much is written. Several tasks may write at once: each
 * write stays in one piece, in the order of the calls.
 *
 * Context: Coroutine. Suspends only above the high-water mark.
 * Returns: n: all is sent or will be
 *          -EPIPE       nobody reads the other end, or uco_stream_shutdown() was called
 *          -ECONNRESET  the other side has broken the connection
 *          -ECANCELED   an enclosing scope was cancelled. When that was while the call waited, a
 *                       part may have been sent: then the stream is of use only where the other
 *                       side can tell
 *          -EBADF       the stream was or is being closed; a part may have been sent
 *          -ENOMEM, -ENOSPC  nothing was taken
 *          -EBUSY       someone else waits for the fd to be writable
 *          -EINVAL, -EPERM as uco_stream_read(), and write(2)'s errors
 */
UCO_API ssize_t uco_stream_write(uco_stream *s, const void *buf, size_t n);

/**
 * uco_stream_printf() - uco_stream_write() of what printf(3) would make.
 *
 * Context: As uco_stream_write().
 * Returns: The number of bytes; -ENOMEM (nothing was taken), -EOVERFLOW, or uco_stream_write()'s
 *          errors.
 */
UCO_API int uco_stream_printf(uco_stream *s, const char *format, ...) UCO_PRINTF(2, 3);

/**
 * uco_stream_set_water_marks() - How much a stream keeps for sending.
 *
 * @low:    Bytes: a write that waits goes on when so many or fewer are kept; 16 KiB unless set.
 * @high:   Bytes: a write waits rather than have more kept; 64 KiB unless set. 0 for both: a write
 *          returns when the system has all of it.
 *
 * Context: Loop's thread. Does not suspend.
 * Returns: 0, -EINVAL (low above high, 2 GiB or more), -EBADF, -EPERM.
 */
UCO_API int uco_stream_set_water_marks(uco_stream *s, size_t low, size_t high);

/**
 * uco_stream_drain() - Wait until all that was written is sent.
 *
 * Context: Coroutine. Suspends. Any number of tasks at once.
 * Returns: 0, or the error that made it impossible (-EPIPE, -ECONNRESET ...); -ECANCELED (it is
 *          still being sent), -EBADF, -EBUSY, -EPERM, -ENOMEM, -EINVAL.
 */
UCO_API int uco_stream_drain(uco_stream *s);

/**
 * uco_stream_shutdown() - Send all that was written, then tell the other side that no more comes.
 *
 * The other side reads the end; reading from it goes on. Later writes get -EPIPE.
 *
 * Context: Coroutine. Suspends.
 * Returns: 0, also when it was done before; -ENOTSOCK (no socket: close it instead); -ENOTCONN; or
 *          uco_stream_drain()'s errors: then it is not done.
 */
UCO_API int uco_stream_shutdown(uco_stream *s);

/**
 * uco_stream_close() - Send what was written, close the stream and its fd, and free it.
 *
 * A completing call. Tasks that are suspended reading or writing get -EBADF first, and what they
 * have not handed over is dropped; then it waits until all is sent, unless an enclosing scope is or
 * gets cancelled; then until the others have left. NULL is fine. In a server's handler it closes
 * the connection early; the server then does not.
 *
 * Context: Coroutine of the stream's loop.
 * Returns: 0
 *          -ECANCELED   a cancellation has kept it from sending all
 *          -EPIPE, -ECONNRESET ...  the error that did, of this or an earlier call
 *          -EBADF       it is being closed already
 *          -EPERM       not in a coroutine, or another loop's stream: nothing was done
 *          In all other cases it is closed and freed.
 */
UCO_API int uco_stream_close(uco_stream *s);

UCO_END_DECLS

#endif
