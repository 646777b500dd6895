/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_FILE_H
#define UCO_IO_FILE_H

/* Regular files, without waiting for a disk. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uco/common.h>

/* pread(2) of what is in memory. -EAGAIN: it is not; -EOPNOTSUPP: the file system does not tell.
 * The offset must not be negative. */
ssize_t uco__file_read_now(int fd, void *buf, size_t n, off_t offset);

/* Suspends: fn, which returns 0 and leaves its result in *arg, on the pool. 0, or why it did not
 * run: -ECANCELED, -ENOMEM (also for want of a thread). */
int uco__file_job(uco_fn *fn, void *arg);

#endif
