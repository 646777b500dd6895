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

#include <string.h>

#define KEYS_MAX ((uint32_t) 1 << 20)

struct uco__local_entry {
    size_t tables;
    uco_local key;
    void *value;
    void (*destroy)(void *value);
};

/* --- keys, of the whole process --- */

struct key {
    uint32_t serial; /* of the present use of the index, or of the last one */
    bool used;
    uint32_t next_free; /* index + 1 of the next free one; 0: none */
    void (*destroy)(void *value);
};

static struct uco__mutex keys_mutex;
static struct key *keys;
static uint32_t key_count;
static uint32_t key_free; /* as next_free */

static uint32_t
key_index(uco_local key)
{
    return (uint32_t) key;
}

/* With the mutex; NULL if it is not, or no more, a key. */
static struct key *
key_find(uco_local key)
{
    uint32_t index = key_index(key);

    if (index >= key_count || !keys[index].used || keys[index].serial != key >> 32)
        return NULL;
    return &keys[index];
}

/* With the mutex. */
static void
key_push(uint32_t index)
{
    keys[index].used = false;
    keys[index].next_free = key_free;
    key_free = index + 1;
}

/* With the mutex. */
static bool
keys_grow(void)
{
    uint32_t count = key_count > 0 ? key_count * 2 : 8;
    struct key *more;

    if (count > KEYS_MAX)
        return false;
    more = uco__reallocate(keys, count * sizeof *more);
    if (more == NULL)
        return false;
    memset(more + key_count, 0, (count - key_count) * sizeof *more);
    keys = more;
    for (uint32_t index = count; index-- > key_count;)
        key_push(index);
    key_count = count;
    return true;
}

/* With the mutex; NULL without memory. */
static struct key *
key_take(void)
{
    struct key *key;

    if (key_free == 0 && !keys_grow())
        return NULL;
    key = &keys[key_free - 1];
    key_free = key->next_free;
    key->used = true;
    key->serial++;
    return key;
}

int
uco_local_new(uco_local *key, void (*destroy)(void *value))
{
    struct key *taken;

    if (key == NULL)
        return uco__misuse(-EINVAL, "uco_local_new: the key is NULL");
    uco__mutex_lock(&keys_mutex);
    taken = key_take();
    if (taken != NULL) {
        taken->destroy = destroy;
        *key = (uco_local) taken->serial << 32 | (uint32_t) (taken - keys);
    }
    uco__mutex_unlock(&keys_mutex);
    return taken != NULL ? 0 : -ENOMEM;
}

/* Whether it is a key, and what destroys its values. */
static bool
key_ask(uco_local key, void (**destroy)(void *value))
{
    const struct key *found;

    uco__mutex_lock(&keys_mutex);
    found = key_find(key);
    *destroy = found != NULL ? found->destroy : NULL;
    uco__mutex_unlock(&keys_mutex);
    return found != NULL;
}

int
uco_local_free(uco_local key)
{
    struct key *found;

    uco__mutex_lock(&keys_mutex);
    found = key_find(key);
    if (found != NULL)
        key_push(key_index(key));
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

void
uco__locals_drop(struct uco__task *task)
{
    struct uco__locals *locals = task->locals;

    task->locals = NULL;
    if (--locals->holders > 0)
        return;
    for (size_t i = 0; i < locals->count; i++)
        entry_drop(task->future.loop, locals->entries[i]);
    uco__free(locals);
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
    if (old != NULL) {
        task->locals = old;
        uco__locals_drop(task);
        task->locals = locals;
    }
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
    void (*destroy)(void *value);
    int error;
    struct uco__task *task = uco__task_current(&error);

    if (task == NULL)
        return uco__error_null(uco__misuse(error, "uco_local_get: not in a coroutine"));
    if (!key_ask(key, &destroy))
        return uco__error_null(uco__misuse(-EINVAL, "uco_local_get: not a key"));
    entry = locals_find(task->locals, key);
    return entry != NULL ? entry->value : NULL;
}

int
uco_local_set(uco_local key, void *value)
{
    struct uco__local_entry *entry, *old;
    struct uco__locals *locals;
    void (*destroy)(void *value);
    int error;
    struct uco__task *task = uco__task_current(&error);

    if (task == NULL)
        return uco__misuse(error, "uco_local_set: not in a coroutine");
    if (!key_ask(key, &destroy))
        return uco__misuse(-EINVAL, "uco_local_set: not a key");
    entry = locals_find(task->locals, key);
    if ((entry != NULL ? entry->value : NULL) == value)
        return 0;
    entry = uco__allocate(sizeof *entry);
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
