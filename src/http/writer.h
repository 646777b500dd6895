/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_WRITER_H
#define UCO_HTTP_WRITER_H

/* What comes is written to a part: one buffer is filled while the other is written. */

#include "http/part.h"

#include <uco/task.h>

/* [start, end) is to be written. */
struct uco__http_buffer {
    struct uco__http_part *part;
    char *data; /* NULL: not needed yet */
    size_t start, end;
    uco_task *writer; /* NULL: nobody writes it */
};

struct uco__http_writer {
    struct uco__http_buffer buffers[2];
    struct uco__http_buffer *filling; /* one of them */
};

/* Needs no memory. */
void uco__http_writer_init(struct uco__http_writer *writer, struct uco__http_part *part);
/* After a flush. */
void uco__http_writer_done(struct uco__http_writer *writer);

/* Where the next bytes are to go to: the room there is, at least 1, or -ENOMEM. */
ssize_t uco__http_writer_room(struct uco__http_writer *writer, char **room);
/* So many are there now. May suspend. */
int uco__http_writer_add(struct uco__http_writer *writer, size_t size);

/* Nobody writes any more, and what was added is written, also in a cancelled scope; or an error,
 * and what could be written is. */
int uco__http_writer_flush(struct uco__http_writer *writer);

#endif
