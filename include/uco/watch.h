/* SPDX-License-Identifier: MIT */
#ifndef UCO_WATCH_H
#define UCO_WATCH_H

/* Callbacks for as long as a file descriptor is ready. Coroutines rather use <uco/io.h>. */

#include <uco/common.h>

UCO_BEGIN_DECLS

/**
 * uco_loop_add_reader() - Call back while a file descriptor is ready for reading.
 *
 * The callback runs once a turn for as long as there is something to read (or the end, or an
 * error). A second call for the same fd replaces the callback.
 *
 * Context: Loop's thread.
 * Returns: 0
 *          -EBADF      not an open file descriptor
 *          -EBUSY      a task waits to read from it
 *          -EINVAL     loop or cb is NULL
 *          -ENOMEM, -ENOSPC  no memory, here or in the kernel
 *          -EPERM the loop runs in another thread, or fd is one that is always ready (a regular
 *          file) -ESHUTDOWN, -ESTALE
 */
UCO_API int uco_loop_add_reader(uco_loop *loop, int fd, uco_callback *cb, void *arg);

/**
 * uco_loop_add_writer() - uco_loop_add_reader() for writing.
 *
 * Context: Loop's thread.
 * Returns: As uco_loop_add_reader().
 */
UCO_API int uco_loop_add_writer(uco_loop *loop, int fd, uco_callback *cb, void *arg);

/**
 * uco_loop_remove_reader() - Stop calling back. The callback does not run again, also when it was
 * due already.
 *
 * Context: Loop's thread.
 * Returns: 0           removed
 *          -ENOENT     there was none
 *          -EINVAL     loop is NULL
 *          -EPERM, -ESHUTDOWN, -ESTALE
 */
UCO_API int uco_loop_remove_reader(uco_loop *loop, int fd);

/**
 * uco_loop_remove_writer() - uco_loop_remove_reader() for writing.
 *
 * Context: Loop's thread.
 * Returns: As uco_loop_remove_reader().
 */
UCO_API int uco_loop_remove_writer(uco_loop *loop, int fd);

UCO_END_DECLS

#endif
