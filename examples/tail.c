/* SPDX-License-Identifier: MIT */

/*
 * tail [-n LINES] FILE... - The last lines of files, and what is appended to them from then on.
 *
 *   tail -n 0 /var/log/syslog /var/log/auth.log
 *
 * It follows names, as `tail -F` does. A file that is renamed away is read to its end, and then the
 * new one of that name from its beginning; one that is truncated is read from its beginning too;
 * one that is not there is waited for. Ctrl-C ends it.
 *
 * It shows that any file descriptor can be read from, here inotify's, and that regular files do not
 * stall the loop. Each file is watched twice: the open file itself, for what is appended to it,
 * also under its later names; and its directory, for a new file of its name.
 */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <uco/uco.h>
#include <unistd.h>

enum { BLOCK = 16 * 1024 };

struct file {
    const char *path;
    char *path_copy;  /* which the next one is a part of */
    const char *name; /* the path's last part */
    int fd;           /* -1: not there */
    int watch, directory_watch;
    off_t offset; /* of what is to be shown next */
    bool changed, moved;
};

struct tail {
    size_t n;
    struct file *files;
    const struct file *shown; /* whose lines came last */
    long lines;
    int inotify;
};

/* --- showing --- */

static ssize_t
show(struct tail *tail, const struct file *file, const char *data, size_t n)
{
    if (tail->n > 1 && tail->shown != file) {
        char title[PATH_MAX + 16];
        int length = snprintf(title, sizeof title, "%s==> %.*s <==\n",
                              tail->shown != NULL ? "\n" : "", PATH_MAX, file->path);
        ssize_t r = uco_write_all(STDOUT_FILENO, title, (size_t) length, NULL);

        if (r < 0)
            return r;
        tail->shown = file;
    }
    return uco_write_all(STDOUT_FILENO, data, n, NULL);
}

static int
show_rest(struct tail *tail, struct file *file)
{
    char block[BLOCK];
    ssize_t n;

    while ((n = uco_pread(file->fd, block, sizeof block, file->offset)) > 0) {
        file->offset += n;
        n = show(tail, file, block, (size_t) n);
        if (n < 0)
            break;
    }
    return (int) n;
}

/* Moves the offset from the end of the file to where its last lines begin. */
static int
seek_last_lines(struct file *file, long lines)
{
    off_t end = file->offset;
    char block[BLOCK];

    for (off_t at = end; at > 0;) {
        size_t size = at < BLOCK ? (size_t) at : BLOCK;
        ssize_t n = uco_pread(file->fd, block, size, at - (off_t) size);

        if (n != (ssize_t) size)
            return n < 0 ? (int) n : 0; /* it has become shorter: then nothing of it was shown */
        for (; n > 0; n--, at--) {
            if (block[n - 1] != '\n' || at == end) /* the last line's own end does not count */
                continue;
            if (--lines <= 0) {
                file->offset = at;
                return 0;
            }
        }
    }
    file->offset = 0;
    return 0;
}

/* --- opening --- */

static void
file_close(struct tail *tail, struct file *file)
{
    bool shared = false;

    if (file->fd < 0)
        return;
    for (size_t i = 0; i < tail->n; i++) /* the same file by another name has the same watch */
        shared = shared || (&tail->files[i] != file && tail->files[i].watch == file->watch);
    if (!shared)
        inotify_rm_watch(tail->inotify, file->watch);
    uco_close(file->fd);
    file->fd = file->watch = -1;
}

/* Takes fd. */
static int
file_use(struct tail *tail, struct file *file, int fd)
{
    char path[32];

    file_close(tail, file);
    /* by the fd: the path can be another file by now */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    file->watch = inotify_add_watch(tail->inotify, path, IN_MODIFY);
    if (file->watch < 0) {
        int r = -errno;

        uco_close(fd);
        return r;
    }
    file->fd = fd;
    file->offset = 0;
    return 0;
}

static bool
same_file(int fd, const struct stat *other)
{
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == other->st_dev &&
           status.st_ino == other->st_ino;
}

/* Opens what has the name now, unless that is the file that is open already. Returns 1 when it is
 * another. */
static int
file_reopen(struct tail *tail, struct file *file)
{
    int fd = uco_open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    struct stat status;
    int r = 0;

    if (fd < 0) {
        fprintf(stderr, "tail: %s: %s; waiting for it\n", file->path, uco_strerror(fd));
        return fd == -ECANCELED ? fd : 0;
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        fprintf(stderr, "tail: %s is no regular file\n", file->path);
    } else if (!same_file(file->fd, &status)) {
        if (file->fd >= 0)
            r = show_rest(tail, file);
        if (r == 0)
            return (r = file_use(tail, file, fd)) < 0 ? r : 1;
    }
    uco_close(fd);
    return r;
}

static int
file_start(struct tail *tail, struct file *file)
{
    struct stat status;
    int r;

    file->path_copy = strdup(file->path);
    if (file->path_copy == NULL)
        return -ENOMEM;
    file->directory_watch = inotify_add_watch(tail->inotify, dirname(file->path_copy),
                                              IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE);
    if (file->directory_watch < 0)
        return -errno;
    r = file_reopen(tail, file);
    if (r <= 0)
        return r;
    if (fstat(file->fd, &status) < 0)
        return -errno;
    file->offset = status.st_size;
    if (tail->lines > 0)
        r = seek_last_lines(file, tail->lines);
    return r < 0 ? r : show_rest(tail, file);
}

/* --- following --- */

static void
event_note(struct tail *tail, const struct inotify_event *event)
{
    for (size_t i = 0; i < tail->n; i++) {
        struct file *file = &tail->files[i];

        if (event->mask & IN_Q_OVERFLOW) /* some were lost: it can have been any */
            file->changed = file->moved = true;
        else if (event->wd == file->watch)
            file->changed = true;
        else if (event->wd == file->directory_watch && event->len > 0 &&
                 strcmp(event->name, file->name) == 0)
            file->moved = true;
    }
}

static int
file_follow(struct tail *tail, struct file *file)
{
    struct stat status;
    int r = 0;

    if (file->changed && file->fd >= 0) {
        if (fstat(file->fd, &status) == 0 && status.st_size < file->offset) {
            fprintf(stderr, "tail: %s: truncated\n", file->path);
            file->offset = 0;
        }
        r = show_rest(tail, file);
    }
    if (file->moved && r == 0)
        r = file_reopen(tail, file);
    if (r == 1) {
        fprintf(stderr, "tail: %s: a new file\n", file->path);
        r = show_rest(tail, file);
    }
    file->changed = file->moved = false;
    return r;
}

static intptr_t
tail_follow(struct tail *tail)
{
    union {
        struct inotify_event event; /* for its alignment */
        char bytes[BLOCK];
    } buffer;

    for (;;) {
        ssize_t n = uco_read(tail->inotify, &buffer, sizeof buffer);

        if (n < 0)
            return n;
        for (const char *at = buffer.bytes; at < buffer.bytes + n;) {
            const struct inotify_event *event = (const void *) at;

            event_note(tail, event);
            at += sizeof *event + event->len;
        }
        for (size_t i = 0; i < tail->n; i++) {
            int r = file_follow(tail, &tail->files[i]);

            if (r < 0)
                return r;
        }
    }
}

static intptr_t
tail_run(void *arg)
{
    struct tail *tail = arg;
    intptr_t r = 0;

    tail->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (tail->inotify < 0)
        return -errno;
    for (size_t i = 0; i < tail->n && r >= 0; i++)
        r = file_start(tail, &tail->files[i]);
    if (r >= 0)
        r = tail_follow(tail);
    for (size_t i = 0; i < tail->n; i++)
        file_close(tail, &tail->files[i]);
    uco_close(tail->inotify);
    return r;
}

/* --- the command line --- */

static bool
files_take(struct tail *tail, char *paths[])
{
    tail->files = calloc(tail->n, sizeof *tail->files);
    for (size_t i = 0; tail->files != NULL && i < tail->n; i++) {
        const char *slash = strrchr(paths[i], '/');

        tail->files[i] = (struct file){
            .path = paths[i],
            .name = slash != NULL ? slash + 1 : paths[i],
            .fd = -1,
            .watch = -1,
            .directory_watch = -1,
        };
    }
    return tail->files != NULL;
}

/* A number, or -1. */
static long
lines_parse(const char *text)
{
    char *end;
    long lines = strtol(text, &end, 10);

    return end != text && *end == '\0' ? lines : -1;
}

int
main(int argc, char *argv[])
{
    struct tail tail = {.lines = 10};
    intptr_t r;

    if (argc > 2 && strcmp(argv[1], "-n") == 0) {
        tail.lines = lines_parse(argv[2]);
        argc -= 2;
        argv += 2;
    }
    if (argc < 2 || argv[1][0] == '-' || tail.lines < 0) {
        fprintf(stderr, "usage: tail [-n LINES] FILE...\n");
        return 2;
    }
    tail.n = (size_t) argc - 1;
    if (!files_take(&tail, argv + 1))
        return 1;

    r = uco_run(tail_run, &tail);
    for (size_t i = 0; i < tail.n; i++)
        free(tail.files[i].path_copy);
    free(tail.files);
    if (r == -ECANCELED || r == -EPIPE)
        return 0;
    fprintf(stderr, "tail: %s\n", uco_strerror((int) r));
    return 1;
}
