/* SPDX-License-Identifier: MIT */

/*
 * Writing what comes, while more comes.
 *
 * 1. A task writes one buffer while the other is filled; never are both written at the same time.
 * 2. What could not be written stays in its buffer, and nothing after it is written before it.
 */

#include "http/writer.h"

#include "base/system.h"

#include <uco/scope.h>

#define BUFFER_SIZE ((size_t) 256 * 1024)

void
uco__http_writer_init(struct uco__http_writer *writer, struct uco__http_part *part)
{
    *writer = (struct uco__http_writer){.buffers = {{.part = part}, {.part = part}}};
    writer->filling = &writer->buffers[0];
}

void
uco__http_writer_done(struct uco__http_writer *writer)
{
    uco__free(writer->buffers[0].data);
    uco__free(writer->buffers[1].data);
}

/* --- buffers --- */

static int
buffer_prepare(struct uco__http_buffer *buffer)
{
    if (buffer->data == NULL)
        buffer->data = uco__allocate(BUFFER_SIZE);
    return buffer->data != NULL ? 0 : -ENOMEM;
}

static intptr_t
buffer_write(void *arg)
{
    struct uco__http_buffer *buffer = arg;
    uint64_t before = buffer->part->size;
    int r = uco__http_part_write(buffer->part, buffer->data + buffer->start,
                                 buffer->end - buffer->start);

    buffer->start += (size_t) (buffer->part->size - before);
    if (buffer->start == buffer->end) {
        buffer->start = 0;
        buffer->end = 0;
    }
    return r;
}

/* Waits until nobody writes it. */
static int
buffer_join(struct uco__http_buffer *buffer)
{
    uco_task *writer = buffer->writer;

    buffer->writer = NULL;
    return writer != NULL ? (int) uco_join(writer) : 0;
}

static struct uco__http_buffer *
writer_other(struct uco__http_writer *writer)
{
    return &writer->buffers[writer->filling == &writer->buffers[0]];
}

/* --- the writer --- */

ssize_t
uco__http_writer_room(struct uco__http_writer *writer, char **room)
{
    struct uco__http_buffer *buffer = writer->filling;
    int r = buffer_prepare(buffer);

    if (r < 0)
        return r;
    *room = buffer->data + buffer->end;
    return (ssize_t) (BUFFER_SIZE - buffer->end);
}

/* The full buffer is written, after the other one, which is filled then. */
static int
writer_turn(struct uco__http_writer *writer)
{
    static const uco_task_options options = {.name = "a download's writer"};
    struct uco__http_buffer *full = writer->filling;
    struct uco__http_buffer *other = writer_other(writer);
    int r = buffer_join(other);

    if (r < 0)
        return r;
    if (buffer_prepare(other) == 0)
        full->writer = uco_create_task_with(&options, buffer_write, full);
    if (full->writer == NULL)
        return (int) buffer_write(full); /* slower, but it needs no memory */
    writer->filling = other;
    return 0;
}

int
uco__http_writer_add(struct uco__http_writer *writer, size_t size)
{
    writer->filling->end += size;
    return writer->filling->end == BUFFER_SIZE ? writer_turn(writer) : 0;
}

int
uco__http_writer_flush(struct uco__http_writer *writer)
{
    struct uco__http_buffer *buffers[] = {writer_other(writer), writer->filling};
    uco_scope shield;
    bool shielded = uco_shield_open(&shield, UCO_FOREVER) == 0;
    int r = 0;

    for (size_t i = 0; i < 2; i++) {
        buffer_join(buffers[i]);
        if (r == 0)
            r = (int) buffer_write(buffers[i]);
    }
    return shielded ? (int) uco_scope_close(&shield, r) : r;
}
