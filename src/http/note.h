/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_NOTE_H
#define UCO_HTTP_NOTE_H

/* What is kept beside a part: "<path>.part.etag", which says of which version it is. These calls
 * wait for the disk: they are the pool's. */

#include "http/version.h"

#include <sys/stat.h>

/* Zeroed but for its path. */
struct uco__http_note {
    char *path;
    bool there;  /* something is on the disk, or may be */
    bool marked; /* the part is being written: a power failure may damage it */
    size_t size; /* bytes, without the mark */
};

/* Whether what was found beside a target in a folder can be ours: 0; -EINVAL (no file, or one that
 * has other names too), -EACCES (another user's, where anybody can put files). */
int uco__http_beside_check(const struct stat *found, const char *folder);

/* Of which version the part is: none, if there is no note, if it is not whole, or if the system
 * went down while the part was written. 0, or an error. */
int uco__http_note_read(struct uco__http_note *note, const char *folder,
                        struct uco__http_version *version);
/* A new one, marked; `sync`: it is on the disk then. */
int uco__http_note_write(struct uco__http_note *note, const char *folder,
                         const struct uco__http_version *version, bool sync);
/* Of one that is there: marked, on the disk. */
int uco__http_note_mark(struct uco__http_note *note);
/* No longer: all of the part is on the disk. */
int uco__http_note_clear(struct uco__http_note *note);
/* `sync`: whatever happens next, it says nothing any more. */
int uco__http_note_remove(struct uco__http_note *note, bool sync);

#endif
