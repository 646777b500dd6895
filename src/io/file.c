/* SPDX-License-Identifier: MIT */

/*
 * Regular files: open, fsync, pread, pwrite.
 *
 * 1. The loop's thread waits for no disk: it asks for what can be done at once (RWF_NOWAIT), and
 *    the rest is the pool's. open and fsync are always the pool's.
 * 2. A job works on its caller's frame: uco_to_thread() comes back only when the job has ended or
 *    will never start.
 * 3. What was read or written is returned, whatever went wrong after it.
 */

#include "io/file.h"

#include "base/system.h"
#include "core/report.h"
#include "io/fd.h"

#include <fcntl.h>
#include <uco/file.h>
#include <uco/thread.h>
#include <unistd.h>

/* Copying more than this takes longer than handing it to a thread, and the loop does nothing else
 * meanwhile. */
#define AT_ONCE_MAX ((size_t) 256 * 1024)

int
uco__file_job(uco_fn *fn, void *arg)
{
    intptr_t r = uco_to_thread(fn, arg);

    /* No thread for it is no reason to try again at once, as EAGAIN would be. */
    return r == -EAGAIN ? -ENOMEM : (int) r;
}

/* --- open and fsync --- */

struct open_job {
    const char *path;
    int flags;
    mode_t mode;
    int result;
};

static intptr_t
open_run(void *arg)
{
    struct open_job *job = arg;

    do
        job->result = (int) UCO__SYSTEM(open, open(job->path, job->flags, job->mode));
    while (job->result == -EINTR);
    return 0;
}

int
uco_open(const char *path, int flags, mode_t mode)
{
    struct open_job job = {.path = path, .flags = flags, .mode = mode};
    struct uco__task *task;
    int r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    if (path == NULL)
        return uco__misuse(-EINVAL, "uco_open: the path is NULL");
    r = uco__file_job(open_run, &job);
    return r < 0 ? r : job.result;
}

struct fsync_job {
    int fd;
    int result;
};

static intptr_t
fsync_run(void *arg)
{
    struct fsync_job *job = arg;

    do
        job->result = (int) UCO__SYSTEM(fsync, fsync(job->fd));
    while (job->result == -EINTR);
    return 0;
}

int
uco_fsync(int fd)
{
    struct fsync_job job = {.fd = fd};
    struct uco__task *task;
    int r = uco__fd_begin(&task);

    if (r == 0)
        r = uco__file_job(fsync_run, &job);
    return r < 0 ? r : job.result;
}

/* --- pread and pwrite --- */

struct transfer {
    int fd;
    bool write;
    char *buf;
    size_t size;
    off_t offset;
    ssize_t result;
};

/* Neither an old kernel nor a file system that cannot promise it is an error. An offset of -1 would
 * mean the file's position here. */
static ssize_t
transfer_now(const struct transfer *transfer)
{
    struct iovec vector = {.iov_base = transfer->buf, .iov_len = transfer->size};
    ssize_t r;

    if (transfer->write)
        r = UCO__SYSTEM(write, pwritev2(transfer->fd, &vector, 1, transfer->offset, RWF_NOWAIT));
    else
        r = UCO__SYSTEM(read, preadv2(transfer->fd, &vector, 1, transfer->offset, RWF_NOWAIT));
    return r == -EINVAL || r == -ENOSYS ? -EOPNOTSUPP : r;
}

static intptr_t
transfer_run(void *arg)
{
    struct transfer *job = arg;

    do {
        if (job->write)
            job->result = UCO__SYSTEM(write, pwrite(job->fd, job->buf, job->size, job->offset));
        else
            job->result = UCO__SYSTEM(read, pread(job->fd, job->buf, job->size, job->offset));
    } while (job->result == -EINTR);
    return 0;
}

static void
transfer_advance(struct transfer *transfer, size_t n)
{
    transfer->buf += n;
    transfer->size -= n;
    transfer->offset += (off_t) n;
}

static ssize_t
transfer_all(struct transfer *transfer)
{
    const size_t size = transfer->size;
    ssize_t r = size > AT_ONCE_MAX ? -EAGAIN : transfer_now(transfer);

    /* Of what is half in memory that half comes; the end of the file looks the same. */
    while (r == -EINTR || (r > 0 && (size_t) r < transfer->size)) {
        if (r > 0)
            transfer_advance(transfer, (size_t) r);
        r = transfer_now(transfer);
    }
    if (r == -EAGAIN || r == -EOPNOTSUPP) {
        r = uco__file_job(transfer_run, transfer);
        if (r == 0)
            r = transfer->result;
    }
    if (r > 0)
        transfer_advance(transfer, (size_t) r);
    return transfer->size < size ? (ssize_t) (size - transfer->size) : r;
}

static ssize_t
transfer_begin(struct transfer *transfer)
{
    struct uco__task *task;
    int r = uco__fd_begin(&task);

    if (r < 0)
        return r;
    if (transfer->offset < 0)
        return -EINVAL;
    return transfer_all(transfer);
}

ssize_t
uco__file_read_now(int fd, void *buf, size_t n, off_t offset)
{
    return transfer_now(&(struct transfer){.fd = fd, .buf = buf, .size = n, .offset = offset});
}

ssize_t
uco_pread(int fd, void *buf, size_t n, off_t offset)
{
    return transfer_begin(&(struct transfer){.fd = fd, .buf = buf, .size = n, .offset = offset});
}

ssize_t
uco_pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    return transfer_begin(&(struct transfer){
        .fd = fd, .write = true, .buf = (char *) (uintptr_t) buf, .size = n, .offset = offset});
}
