/* SPDX-License-Identifier: MIT */
#ifndef UCO_FILE_H
#define UCO_FILE_H

/*
 * Regular files: POSIX's names, parameters and order, with negative errno results; each suspends
 * only its coroutine, also while a disk or a file server is slow. uco_read() and uco_write() of
 * <uco/io.h> work on regular files too.
 *
 * What the kernel has in memory is read and written at once; all else is done by the loop's pool of
 * threads (uco_to_thread()), and a call is completing once a thread has begun with it: its caller
 * waits for the end also when it is cancelled, and gets the result. An fd must not be closed while
 * a call is using it.
 */

#include <uco/common.h>

#include <sys/types.h>

UCO_BEGIN_DECLS

/**
 * uco_open() - open(2), on the pool: the path may be on a file server that does not answer.
 *
 * A FIFO opens only when its other end does, and until then holds a thread of the pool and its
 * caller, cancelled or not: open those with O_NONBLOCK (or O_RDWR).
 *
 * @path:     Need not outlive the call.
 * @flags:    As open(2), and no others are added: who may run other programs says O_CLOEXEC.
 * @mode:     Of a file that O_CREAT or O_TMPFILE makes.
 *
 * Context:   Coroutine. Suspends; completing once it has begun.
 * Ownership: The fd is the caller's: uco_close().
 * Returns:   The fd, also to a caller that was cancelled meanwhile
 *            -ECANCELED  an enclosing scope was cancelled before: nothing was opened or made
 *            -EINVAL     path is NULL
 *            -EPERM      not in a coroutine
 *            -ENOMEM     no memory, or no thread for it
 *            and open(2)'s errors
 */
UCO_API int uco_open(const char *path, int flags, mode_t mode);

/**
 * uco_fsync() - fsync(2), on the pool: wait until what was written to a file is on its disk.
 *
 * Context: Coroutine. Suspends; completing once it has begun.
 * Returns: 0; -ECANCELED, -EPERM, -ENOMEM as uco_open(), and fsync(2)'s errors.
 */
UCO_API int uco_fsync(int fd);

/**
 * uco_pread() - pread(2): read at an offset; the file's position stays.
 *
 * Fewer than n bytes come only at the end of the file, before an error, and when the caller is
 * cancelled between what is in memory and what is not.
 *
 * @offset: Bytes from the start.
 *
 * Context: Coroutine. Suspends, unless all is in memory; completing once a thread reads.
 * Returns: The number of bytes; 0 at the end, or for n = 0
 *          -ESPIPE     no file: a pipe, a socket, a terminal
 *          -EINVAL     offset is negative
 *          -ECANCELED  an enclosing scope was cancelled: nothing was read
 *          -EPERM      not in a coroutine
 *          -ENOMEM     no memory, or no thread for it
 *          and pread(2)'s errors
 */
UCO_API ssize_t uco_pread(int fd, void *buf, size_t n, off_t offset);

/**
 * uco_pwrite() - pwrite(2): write at an offset; the file's position stays.
 *
 * As with pwrite(2), a file that was opened with O_APPEND is appended to, whatever the offset.
 *
 * Context: Coroutine. Suspends, unless it can be done in memory; completing once a thread writes.
 * Returns: The number of bytes, fewer than n where uco_pread() would read fewer, or when the disk
 *          is full; errors as uco_pread(), and pwrite(2)'s.
 */
UCO_API ssize_t uco_pwrite(int fd, const void *buf, size_t n, off_t offset);

/**
 * uco_sendfile() - sendfile(2): send from a file, waiting until there is room.
 *
 * What of the file is in memory goes to a socket or a pipe without being copied; what is not is
 * first read into memory by the pool. Where the kernel cannot do that - another kind of out_fd, a
 * file system that does not tell what is in memory, O_DIRECT - it is copied through a buffer.
 *
 * @out_fd: A socket (made non-blocking, but for 0 to 2), a pipe, or anything else that uco_write()
 *          takes.
 * @in_fd:  A regular file or a block device.
 * @offset: Where to read, moved on by what was sent, in_fd's position then stays; NULL: at in_fd's
 *          position, which moves.
 * @count:  Bytes.
 *
 * Context: Coroutine. Suspends.
 * Returns: The number of bytes sent, which may be fewer than count; 0 at the end of the file, or
 *          for count = 0
 *          -EPIPE, -ECONNRESET  nobody reads any more
 *          -EINVAL     in_fd is a pipe, a socket or a terminal, or the offset is negative
 *          -EBADF      not open, not open for reading or writing, or out_fd was closed by
 *                      uco_close() meanwhile
 *          -EBUSY      another task waits to write to out_fd
 *          -ECANCELED  an enclosing scope was cancelled: nothing was sent
 *          -EPERM      not in a coroutine
 *          -ENOMEM     no memory, or no thread to read the disk
 *          and sendfile(2)'s errors
 */
UCO_API ssize_t uco_sendfile(int out_fd, int in_fd, off_t *offset, size_t count);

UCO_END_DECLS

#endif
