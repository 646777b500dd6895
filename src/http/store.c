/* SPDX-License-Identifier: MIT */

/*
 * Blocks of bodies.
 *
 * 1. Responses may be freed in any thread, and after their client: whoever may give blocks back has
 *    a reference, and a mutex is around the few pointers.
 * 2. The block that was given back last is taken first: it is the one that is still in the caches.
 */

#include "http/store.h"

#include "base/system.h"

#include <pthread.h>

#define BLOCKS_MAX 64
#define BYTES_MAX ((size_t) 32 * 1024 * 1024)
#define BYTES_IDLE ((size_t) 2 * 1024 * 1024) /* of a client without requests */
#define WASTE 4                               /* a block may be so many times as large as needed */

struct block {
    char *memory;
    size_t capacity;
};

struct uco__http_store {
    atomic_uint references;
    pthread_mutex_t mutex;
    struct block blocks[BLOCKS_MAX]; /* the last one was given last */
    size_t count;
    size_t bytes;
};

struct uco__http_store *
uco__http_store_new(void)
{
    struct uco__http_store *store = uco__allocate(sizeof *store);

    if (store == NULL)
        return NULL;
    atomic_init(&store->references, 1);
    pthread_mutex_init(&store->mutex, NULL);
    return store;
}

struct uco__http_store *
uco__http_store_ref(struct uco__http_store *store)
{
    atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);
    return store;
}

static struct block
store_remove(struct uco__http_store *store, size_t index)
{
    struct block block = store->blocks[index];

    store->bytes -= block.capacity;
    store->count--;
    for (; index < store->count; index++)
        store->blocks[index] = store->blocks[index + 1];
    return block;
}

/* Frees what was given longest ago. */
static void
store_shrink(struct uco__http_store *store, size_t blocks, size_t bytes)
{
    while (store->count > blocks || store->bytes > bytes)
        uco__free(store_remove(store, 0).memory);
}

void
uco__http_store_unref(struct uco__http_store *store)
{
    if (store == NULL || atomic_fetch_sub(&store->references, 1) > 1)
        return;
    store_shrink(store, 0, 0);
    pthread_mutex_destroy(&store->mutex);
    uco__free(store);
}

char *
uco__http_store_take(struct uco__http_store *store, size_t size, size_t *capacity)
{
    struct block found = {0};

    if (size < UCO__HTTP_STORE_LEAST)
        return NULL;
    pthread_mutex_lock(&store->mutex);
    for (size_t i = store->count; i-- > 0 && found.memory == NULL;) {
        const struct block *block = &store->blocks[i];

        if (block->capacity >= size && block->capacity / WASTE <= size)
            found = store_remove(store, i);
    }
    pthread_mutex_unlock(&store->mutex);
    *capacity = found.capacity;
    return found.memory;
}

void
uco__http_store_give(struct uco__http_store *store, char *block, size_t capacity)
{
    if (block == NULL || capacity < UCO__HTTP_STORE_LEAST || capacity > BYTES_MAX) {
        uco__free(block);
        return;
    }
    pthread_mutex_lock(&store->mutex);
    store_shrink(store, BLOCKS_MAX - 1, BYTES_MAX - capacity);
    store->blocks[store->count++] = (struct block){block, capacity};
    store->bytes += capacity;
    pthread_mutex_unlock(&store->mutex);
}

void
uco__http_store_trim(struct uco__http_store *store)
{
    pthread_mutex_lock(&store->mutex);
    store_shrink(store, BLOCKS_MAX, BYTES_IDLE);
    pthread_mutex_unlock(&store->mutex);
}
