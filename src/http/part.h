/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_PART_H
#define UCO_HTTP_PART_H

/* The file side of a download: a file that is written beside its place, and put there when it is
 * whole. All calls are a coroutine's, and may suspend. */

#include "http/note.h"
#include "http/target.h"
#include "http/version.h"

#include <sys/types.h>

struct uco__http_part {
    /* What is to be done: set before the opening, and left alone. */
    const char *path;
    bool resume;     /* the file is "<path>.part", and may hold what an earlier attempt brought */
    bool no_replace; /* -EEXIST if there is a file at the path */
    bool no_sync;
    bool readable; /* uco__http_part_read() */
    mode_t mode;   /* of a new file, before the umask */
    /* Its own. */
    int fd; /* -1: not open */
    struct uco__http_target target;
    bool can_name;              /* a file can get a name after it was made */
    char *name;                 /* of the file that is written; NULL: it has none */
    struct uco__http_note note; /* with `resume` */
    bool owned;                 /* what has that name is ours: locked, or of our making */
    bool stale;       /* with `resume`: there may be something of another version on the disk */
    bool begun;       /* with `resume`: what was there is gone */
    bool written;     /* there may be bytes in it */
    bool broken;      /* bytes may be missing */
    bool placed;      /* it is where it belongs, under its own name */
    bool keep;        /* it is being closed, and what came is to stay */
    uint64_t syncing; /* the disk was told of so many bytes */
    uint64_t size;    /* bytes that are written, and belong to `version` */
    struct uco__http_version version;
};

/* Whether and where the file may be written, and opens it: 0; -EBUSY (another writes to it),
 * -EEXIST, -EISDIR, -EINVAL (the path is a device, or the like) ... On an error too, it is to be
 * closed. */
int uco__http_part_open(struct uco__http_part *part);

/* What it has is of no use: the next bytes are the first ones. Nothing happens to the file before
 * uco__http_part_begin(). */
void uco__http_part_forget(struct uco__http_part *part);
/* The bytes to come are the first ones, and of this version. */
int uco__http_part_begin(struct uco__http_part *part, const struct uco__http_version *version);

/* Appends. */
int uco__http_part_write(struct uco__http_part *part, const void *data, size_t size);
ssize_t uco__http_part_read(struct uco__http_part *part, void *buf, size_t n, uint64_t offset);

/* It is whole: puts it in its place. Cancelled before that: -ECANCELED; after that it is done. */
int uco__http_part_finish(struct uco__http_part *part);

/* Closes it. If it is not in its place: with `keep`, what came stays for another attempt, else
 * nothing does. In a cancelled scope too. */
void uco__http_part_close(struct uco__http_part *part, bool keep);

#endif
