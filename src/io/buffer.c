/* SPDX-License-Identifier: MIT */

/*
 * Buffers, a cache of them, and queues of bytes made of them.
 *
 * 1. Only buffers of UCO__BUFFER_SIZE are cached.
 * 2. A queue has no empty buffer in it.
 */

#include "io/buffer.h"

#include "base/system.h"
#include "core/sanitizer.h"

#include <string.h>

/* Under AddressSanitizer each is freed, so that it sees who goes on using one. */
#define CACHE_MAX (UCO__ASAN ? 0U : 16U)

struct uco__buffer *
uco__buffer_new(struct uco__buffer_cache *cache, size_t size)
{
    struct uco__buffer *buffer = cache->free;

    if (size <= UCO__BUFFER_SMALL)
        size = UCO__BUFFER_SMALL;
    else if (size <= UCO__BUFFER_SIZE)
        size = UCO__BUFFER_SIZE;
    else if (size > INT32_MAX)
        return NULL;
    if (size == UCO__BUFFER_SIZE && buffer != NULL) {
        cache->free = buffer->next;
        cache->count--;
    } else {
        buffer = uco__reallocate(NULL, sizeof *buffer + size); /* which is not zeroed */
        if (buffer == NULL)
            return NULL;
        buffer->capacity = (uint32_t) size;
    }
    buffer->next = NULL;
    buffer->begin = 0;
    buffer->end = 0;
    return buffer;
}

void
uco__buffer_free(struct uco__buffer_cache *cache, struct uco__buffer *buffer)
{
    if (buffer == NULL || buffer->capacity != UCO__BUFFER_SIZE || cache->count + 1 > CACHE_MAX) {
        uco__free(buffer);
        return;
    }
    buffer->next = cache->free;
    cache->free = buffer;
    cache->count++;
}

void
uco__buffer_cache_done(struct uco__buffer_cache *cache)
{
    while (cache->free != NULL) {
        struct uco__buffer *buffer = cache->free;

        cache->free = buffer->next;
        uco__free(buffer);
    }
    cache->count = 0;
}

int
uco__buffers_append(struct uco__buffers *buffers, struct uco__buffer_cache *cache, const void *data,
                    size_t n)
{
    struct uco__buffer *last = buffers->first != NULL ? buffers->last : NULL;
    size_t room = last != NULL ? last->capacity - last->end : 0;
    size_t now = n < room ? n : room;
    struct uco__buffer *more = NULL;

    if (n > now) {
        size_t size = n - now;

        /* Where something waits already, more will come. */
        if (last != NULL && size < UCO__BUFFER_SIZE)
            size = UCO__BUFFER_SIZE;
        more = uco__buffer_new(cache, size);
        if (more == NULL)
            return -ENOMEM;
        memcpy(more->data, (const char *) data + now, n - now);
        more->end = (uint32_t) (n - now);
    }
    if (now > 0) {
        memcpy(last->data + last->end, data, now);
        last->end += (uint32_t) now;
    }
    if (more != NULL) {
        if (last != NULL)
            last->next = more;
        else
            buffers->first = more;
        buffers->last = more;
    }
    buffers->size += n;
    return 0;
}

void
uco__buffers_consume(struct uco__buffers *buffers, struct uco__buffer_cache *cache, size_t n)
{
    struct uco__buffer *first = buffers->first;

    first->begin += (uint32_t) n;
    buffers->size -= n;
    if (first->begin < first->end)
        return;
    buffers->first = first->next;
    uco__buffer_free(cache, first);
}

void
uco__buffers_clear(struct uco__buffers *buffers, struct uco__buffer_cache *cache)
{
    while (buffers->first != NULL)
        uco__buffers_consume(buffers, cache, uco__buffer_used(buffers->first));
}
