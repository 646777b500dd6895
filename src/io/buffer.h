/* SPDX-License-Identifier: MIT */
#ifndef UCO_IO_BUFFER_H
#define UCO_IO_BUFFER_H

/*
 * Memory for bytes on their way. A stream has a buffer only while it has bytes, so a loop's streams
 * use the same few again and again: they come from a cache.
 */

#include <stddef.h>
#include <stdint.h>

/* Of the buffers that are cached. A message of 16 KiB, as many are, leaves room: so the read that
 * has got it all is known to be the last. */
#define UCO__BUFFER_SIZE ((size_t) 32 * 1024)
/* Of those that hold little for long. */
#define UCO__BUFFER_SMALL ((size_t) 1024)

struct uco__buffer {
    struct uco__buffer *next;
    uint32_t capacity;
    uint32_t begin, end; /* of what is in it */
    char data[];
};

struct uco__buffer_cache {
    struct uco__buffer *free;
    unsigned count;
};

/* With room for `size` bytes or more; NULL without memory, or for 2 GiB and more. */
struct uco__buffer *uco__buffer_new(struct uco__buffer_cache *cache, size_t size);
/* NULL is fine. */
void uco__buffer_free(struct uco__buffer_cache *cache, struct uco__buffer *buffer);
void uco__buffer_cache_done(struct uco__buffer_cache *cache);

static inline size_t
uco__buffer_used(const struct uco__buffer *buffer)
{
    return buffer != NULL ? buffer->end - buffer->begin : 0;
}

/* A queue of bytes. */
struct uco__buffers {
    struct uco__buffer *first, *last; /* `last` is of no meaning without a first */
    size_t size;                      /* bytes in all */
};

/* All of it, or -ENOMEM and nothing. */
int uco__buffers_append(struct uco__buffers *buffers, struct uco__buffer_cache *cache,
                        const void *data, size_t n);
/* The first n bytes, which all are in the first buffer, are of no use any more. */
void uco__buffers_consume(struct uco__buffers *buffers, struct uco__buffer_cache *cache, size_t n);
void uco__buffers_clear(struct uco__buffers *buffers, struct uco__buffer_cache *cache);

#endif
