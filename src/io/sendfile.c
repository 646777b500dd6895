/* SPDX-License-Identifier: MIT */

/*
 * sendfile.
 *
 * 1. sendfile(2) waits for the disk whatever the socket's flags, so it is only told to send what
 *    was just seen to be in memory, or read into memory by the pool.
 * 2. The pool never uses out_fd: while a job is queued, out_fd may be closed and its number may
 *    become another connection's. That it still is the same is looked at after each job.
 * 3. One call sends once: what was sent is returned, whatever comes after it.
 */

#include "base/system.h"
#include "io/fd.h"
#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <uco/file.h>
#include <uco/io.h>
#include <unistd.h>

/* One call sends at most so much: what it takes to look whether it is in memory, and to read it. */
#define SENDFILE_MAX ((size_t) 256 * 1024)
/* The buffer through which is copied what cannot be sent otherwise. */
#define SENDFILE_COPY_MAX ((size_t) 64 * 1024)
/* What memory holds of a file, it holds in units of at least so many bytes. */
#define SENDFILE_PAGE 4096

struct sending {
    struct uco__task *task;
    int out;
    int in;
    off_t *offset;  /* NULL: the file's own position */
    off_t position; /* where to read */
    size_t count;
    struct stat status; /* of out */
};

/* --- the file's side --- */

static size_t
page_rest(off_t at)
{
    return SENDFILE_PAGE - (size_t) (at % SENDFILE_PAGE);
}

/* How much is in memory, from the position on: a byte of each page is read to find out. -EAGAIN:
 * nothing; 0: this is the end. */
static ssize_t
in_memory(const struct sending *sending, size_t n)
{
    size_t found = 0;
    ssize_t r = 0;
    char byte;

    while (found < n) {
        off_t at = sending->position + (off_t) found;

        r = uco__file_read_now(sending->in, &byte, 1, at);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            break;
        found += page_rest(at);
    }
    if (found == 0)
        return r;
    return (ssize_t) (found < n ? found : n);
}

struct fetch {
    int fd;
    off_t position;
    size_t size;
    ssize_t result; /* how much of it is in memory now; 0: the end; or an error */
};

static intptr_t
fetch_run(void *arg)
{
    struct fetch *fetch = arg;
    size_t found = 0;
    ssize_t r = 0;
    char byte;

    /* Lets the disk have all of it at once; the reads then wait for it to come. */
    (void) UCO__RESULT(readahead(fetch->fd, fetch->position, fetch->size));
    while (found < fetch->size) {
        off_t at = fetch->position + (off_t) found;

        r = UCO__SYSTEM(read, pread(fetch->fd, &byte, 1, at));
        if (r == -EINTR)
            continue;
        if (r <= 0)
            break;
        found += page_rest(at);
    }
    fetch->result = found == 0 ? r : (ssize_t) (found < fetch->size ? found : fetch->size);
    return 0;
}

/* --- the other side --- */

static int
out_look(struct sending *sending)
{
    return (int) UCO__SYSTEM(stat, fstat(sending->out, &sending->status));
}

/* Whether out is still what it was: 0, -EBADF. */
static int
out_check(const struct sending *sending)
{
    struct sending now = {.out = sending->out};

    if (out_look(&now) < 0 || now.status.st_dev != sending->status.st_dev ||
        now.status.st_ino != sending->status.st_ino)
        return -EBADF;
    return 0;
}

static ssize_t
fetch_on_pool(const struct sending *sending, size_t n)
{
    struct fetch fetch = {.fd = sending->in, .position = sending->position, .size = n};
    int r = uco__file_job(fetch_run, &fetch);

    if (r == 0)
        r = out_check(sending);
    return r < 0 ? r : fetch.result;
}

static ssize_t
send_now(const struct sending *sending, size_t n)
{
    return S_ISFIFO(sending->status.st_mode)
               ? uco__splice_file(sending->out, sending->in, sending->offset, n)
               : uco__sendfile(sending->out, sending->in, sending->offset, n);
}

/* --- through a buffer --- */

static ssize_t
copy_with(const struct sending *sending, char *buf, size_t size)
{
    ssize_t r = uco_pread(sending->in, buf, size, sending->position);
    int same;

    if (r <= 0)
        return r;
    same = out_check(sending);
    if (same < 0)
        return same;
    r = uco_write(sending->out, buf, (size_t) r);
    if (r > 0 && sending->offset != NULL)
        *sending->offset += r;
    else if (r > 0)
        (void) UCO__SYSTEM(lseek, lseek(sending->in, sending->position + r, SEEK_SET));
    return r;
}

static ssize_t
copy(const struct sending *sending)
{
    size_t size = sending->count < SENDFILE_COPY_MAX ? sending->count : SENDFILE_COPY_MAX;
    char *buf = uco__allocate(size);
    ssize_t r;

    if (buf == NULL)
        return -ENOMEM;
    r = copy_with(sending, buf, size);
    uco__free(buf);
    return r;
}

/* --- sendfile --- */

/* Where to read: 0, or an error. */
static int
position_find(struct sending *sending)
{
    off_t at = sending->offset != NULL
                   ? *sending->offset
                   : (off_t) UCO__SYSTEM(lseek, lseek(sending->in, 0, SEEK_CUR));

    if (at < 0)
        return at == -EBADF && sending->offset == NULL ? -EBADF : -EINVAL;
    sending->position = at;
    return 0;
}

/* One try. -EAGAIN: there is no room; -EOPNOTSUPP: it must be copied. */
static ssize_t
try_to_send(struct sending *sending)
{
    size_t n = sending->count < SENDFILE_MAX ? sending->count : SENDFILE_MAX;
    ssize_t r = position_find(sending);

    if (r < 0)
        return r;
    r = in_memory(sending, n);
    if (r == -EAGAIN)
        r = fetch_on_pool(sending, n);
    if (r <= 0)
        return r == -ESPIPE || r == -EISDIR ? -EINVAL : r;
    r = send_now(sending, (size_t) r);
    return r == -EINVAL || r == -ENOSYS ? -EOPNOTSUPP : r;
}

/* 0, or an error; -EOPNOTSUPP: out is neither a socket nor a pipe, or a socket that may be shared,
 * as it is one of the standard streams. */
static int
sending_begin(struct sending *sending)
{
    int r = uco__fd_begin(&sending->task);

    if (r == 0)
        r = out_look(sending);
    if (r == 0)
        r = position_find(sending);
    if (r < 0 || S_ISFIFO(sending->status.st_mode))
        return r;
    if (!S_ISSOCK(sending->status.st_mode) || sending->out <= STDERR_FILENO)
        return -EOPNOTSUPP;
    return uco__set_nonblocking(sending->out);
}

ssize_t
uco_sendfile(int out_fd, int in_fd, off_t *offset, size_t count)
{
    struct sending sending = {.out = out_fd, .in = in_fd, .offset = offset, .count = count};
    ssize_t r = sending_begin(&sending);

    if (count == 0 && (r == 0 || r == -EOPNOTSUPP))
        return 0;
    while (r == 0) {
        r = try_to_send(&sending);
        if (r == -EAGAIN)
            r = uco__fd_wait(sending.task, out_fd, POLLOUT, UCO_FOREVER);
        else if (r == -EINTR)
            r = uco__task_checkpoint(sending.task);
        else if (r != -EOPNOTSUPP)
            return r;
    }
    if (r != -EOPNOTSUPP)
        return r;
    r = copy(&sending);
    return r == -ESPIPE || r == -EISDIR ? -EINVAL : r;
}
