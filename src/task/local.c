/* SPDX-License-Identifier: MIT */

/*
 * Task-local storage.
 *
 * 1. Tasks that have the same values share one table. It is copied when one of them sets a value,
 *    so inheriting costs one count, however many values there are.
 * 2. An entry counts the tables that it is in. The last one to lose it destroys the value, as a
 *    callback.
 * 3. A key is an index and a serial number; the index is used again, the number is not. An entry
 *    remembers its key, so one of a key that was freed is never taken for another's.
 */

#include "task/local.h"

#include "base/error.h"
#include "base/futex.h"
#include "base/system.h"
#include "core/report.h"

#include <pthread.h>

#define KEY_CHUNK 256 /* keys */
#define KEY_CHUNKS_MAX 256

struct uco__local_entry {
    size_t tables;
    uco_local key;
    void *value;
    void (*destroy)(void *value);
};

/* --- keys, of the whole process --- */

struct key {
    atomic_uint serial; /* odd while the key is in use; each use of the index has another */
    uint32_t next_free; /* index + 1 of the next free one; 0: none */
    void (*destroy)(void *value);
};

static struct uco__mutex keys_mutex;                     /* of all that is not atomic */
static _Atomic(struct key *) key_chunks[KEY_CHUNKS_MAX]; /* they never move, nor go */
static uint32_t key_chunk_count;
static uint32_t key_free; /* as next_free */

/* A fork must not happen while another thread has the mutex: nobody would give it back. */
static void
keys_fork_prepare(void)
{
    uco__mutex_lock(&keys_mutex);
}

static void
keys_fork_parent(void)
{
    uco__mutex_unlock(&keys_mutex);
}

static void
keys_fork_child(void)
{
    keys_mutex = (struct uco__mutex){0};
}

static void
keys_setup(void)
{
    pthread_atfork(keys_fork_prepare, keys_fork_parent, keys_fork_child);
}

static uint32_t
key_index(uco_local key)
{
    return (uint32_t) key;
}

/* NULL if it is not, or no more, a key. */
static struct key *
key_find(uco_local key)
{
    uint32_t index = key_index(key);
    uint32_t serial = (uint32_t) (key >> 32);
    struct key *chunk;

    if (index / KEY_CHUNK >= KEY_CHUNKS_MAX || serial % 2 == 0)
        return NULL;
    /* Acquire pairs with the release in keys_grow(): what the chunk was zeroed with is there. */
    chunk = atomic_load_explicit(&key_chunks[index / KEY_CHUNK], memory_order_acquire);
    /* Relaxed: who has a key knows of its making, and of its end if that came before. */
    if (chunk == NULL ||
        atomic_load_explicit(&chunk[index % KEY_CHUNK].serial, memory_order_relaxed) != serial)
        return NULL;
    return &chunk[index % KEY_CHUNK];
}

/* With the mutex. */
static struct key *
key_at(uint32_t index)
{
    return &atomic_load_explicit(&key_chunks[index / KEY_CHUNK],
                                 memory_order_relaxed)[index % KEY_CHUNK];
}

/* With the mutex. */
static void
key_push(uint32_t index)
{
    key_at(index)->next_free = key_free;
    key_free = index + 1;
}

/* With the mutex. */
static bool
keys_grow(void)
{
    struct key *chunk =
        key_chunk_count < KEY_CHUNKS_MAX ? uco__allocate(KEY_CHUNK * sizeof *chunk) : NULL;

    if (chunk == NULL)
        return false;
    uco__ledger_keep(chunk); /* others may look a key up without the mutex, at any time */
    atomic_store_explicit(&key_chunks[key_chunk_count], chunk, memory_order_release);
    for (uint32_t i = KEY_CHUNK; i-- > 0;)
        key_push(key_chunk_count * KEY_CHUNK + i);
    key_chunk_count++;
    return true;
}

int
uco_local_new(uco_local *key, void (*destroy)(void *value))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct key *taken;
    uint32_t index;
    int r = -ENOMEM;

    if (key == NULL)
        return uco__misuse(-EINVAL, "uco_local_new: the key is NULL");
    pthread_once(&once, keys_setup);
    uco__mutex_lock(&keys_mutex);
    if (key_free != 0 || keys_grow()) {
        index = key_free - 1;
        taken = key_at(index);
        key_free = taken->next_free;
        taken->destroy = destroy;
        *key = (uco_local) (atomic_fetch_add(&taken->serial, 1) + 1) << 32 | index;
        r = 0;
    }
    uco__mutex_unlock(&keys_mutex);
    return r;
}

int
uco_local_free(uco_local key)
{
    struct key *found;

    uco__mutex_lock(&keys_mutex);
    found = key_find(key);
    if (found != NULL) {
        atomic_fetch_add(&found->serial, 1);
        key_push(key_index(key));
    }
    uco__mutex_unlock(&keys_mutex);
    return found != NULL ? 0 : uco__misuse(-EINVAL, "uco_local_free: not a key");
}

/* --- values --- */

static void
entry_drop(struct uco_loop *loop, struct uco__local_entry *entry)
{
    struct uco__fiber *current;

    if (entry == NULL || --entry->tables > 0)
        return;
    if (entry->destroy != NULL && entry->value != NULL) {
        current = uco__scheduler_callback_begin(loop);
        entry->destroy(entry->value);
        uco__scheduler_callback_end(loop, current);
    }
    uco__free(entry);
}

/* One holder less. */
static void
locals_release(struct uco_loop *loop, struct uco__locals *locals)
{
    if (--locals->holders > 0)
        return;
    for (size_t i = 0; i < locals->count; i++)
        entry_drop(loop, locals->entries[i]);
    uco__free(locals);
}

void
uco__locals_drop(struct uco__task *task)
{
    struct uco__locals *locals = task->locals;

    task->locals = NULL;
    locals_release(task->future.loop, locals);
}

/* The task's own table, with room for `count` entries; NULL without memory. */
static struct uco__locals *
locals_own(struct uco__task *task, size_t count)
{
    struct uco__locals *old = task->locals;
    struct uco__locals *locals;

    if (old != NULL && old->holders == 1 && old->count >= count)
        return old;
    if (old != NULL && old->count >= count)
        count = old->count;
    else if (old != NULL && old->count * 2 > count)
        count = old->count * 2;
    locals = uco__allocate(sizeof *locals + count * sizeof locals->entries[0]);
    if (locals == NULL)
        return NULL;
    locals->holders = 1;
    locals->count = count;
    for (size_t i = 0; old != NULL && i < old->count; i++) {
        locals->entries[i] = old->entries[i];
        if (old->entries[i] != NULL)
            old->entries[i]->tables++;
    }
    task->locals = locals;
    if (old != NULL)
        locals_release(task->future.loop, old);
    return locals;
}

static struct uco__local_entry *
locals_find(const struct uco__locals *locals, uco_local key)
{
    uint32_t index = key_index(key);
    struct uco__local_entry *entry =
        locals != NULL && index < locals->count ? locals->entries[index] : NULL;

    return entry != NULL && entry->key == key ? entry : NULL;
}

void *
uco_local_get(uco_local key)
{
    const struct uco__local_entry *entry;
    int error;
    struct uco__task *task = uco__task_current(&error);

    if (key_find(key) == NULL)
        return uco__error_null(uco__misuse(-EINVAL, "uco_local_get: not a key"));
    if (task == NULL)
        return uco__error_null(uco__misuse(error, "uco_local_get: not in a coroutine"));
    entry = locals_find(task->locals, key);
    return entry != NULL ? entry->value : NULL;
}

static int
locals_set(struct uco__task *task, uco_local key, void *value, void (*destroy)(void *value))
{
    struct uco__local_entry *entry = uco__allocate(sizeof *entry);
    struct uco__local_entry *old;
    struct uco__locals *locals;

    if (entry == NULL)
        return -ENOMEM;
    *entry = (struct uco__local_entry){.tables = 1, .key = key, .value = value, .destroy = destroy};
    locals = locals_own(task, (size_t) key_index(key) + 1);
    if (locals == NULL) {
        uco__free(entry);
        return -ENOMEM;
    }
    old = locals->entries[key_index(key)];
    locals->entries[key_index(key)] = entry;
    entry_drop(task->future.loop, old);
    return 0;
}

int
uco_local_set(uco_local key, void *value)
{
    const struct uco__local_entry *entry;
    const struct key *found;
    void (*destroy)(void *value) = NULL;
    int error;
    struct uco__task *task = uco__task_current(&error);

    uco__mutex_lock(&keys_mutex);
    found = key_find(key);
    if (found != NULL)
        destroy = found->destroy;
    uco__mutex_unlock(&keys_mutex);
    if (found == NULL)
        return uco__misuse(-EINVAL, "uco_local_set: not a key");
    if (task == NULL)
        return uco__misuse(error, "uco_local_set: not in a coroutine");
    entry = locals_find(task->locals, key);
    if ((entry != NULL ? entry->value : NULL) == value)
        return 0;
    return locals_set(task, key, value, destroy);
}
