/* SPDX-License-Identifier: MIT */

/*
 * The ledger.
 *
 * 1. A note is in the list of its bucket, or in that of the free ones, or was never used.
 * 2. All memory is reserved when the ledger first begins, and stays: noting cannot fail for want of
 *    memory, and a test may limit that or have none. What does not fit is counted.
 * 3. No pointer to a noted block is in it, but only its complement: tools that look for leaks must
 *    not take a note for an owner.
 * 4. ThreadSanitizer does not see it. A lock that it knew would put each allocation of one thread
 *    before the next one of another, and hide the races between them.
 * 5. In a child of fork() it is off: another thread may have been in the middle of it, and what the
 *    child leaves is gone with it.
 */

#include "base/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTES_MAX ((uint32_t) 1 << 21)
#define BUCKETS_FIRST ((uint32_t) 1 << 10)
#define BUCKETS_MAX NOTES_MAX

#if UCO__TSAN
#define LEDGER_UNSEEN UCO__NO_SANITIZE
#else
#define LEDGER_UNSEEN
#endif

struct note {
    uint32_t next;      /* in its bucket, or of the free ones; 0: none */
    unsigned char kind; /* 0: free */
    bool kept;
    uintptr_t hidden; /* the key's complement */
    uint64_t size;
    const char *place;
    uint64_t number;
    uco__ledger_describer *describe;
};

static struct {
    struct note *notes; /* the first one is never used */
    uint32_t *buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t used;         /* notes that were in use once, and the first */
    uint32_t free;
    uint32_t count;
    uint64_t number;
    uint64_t lost;
} ledger;

static unsigned ledger_locked;

LEDGER_UNSEEN static void
ledger_lock(void)
{
    while (__atomic_exchange_n(&ledger_locked, 1, __ATOMIC_ACQUIRE) != 0)
        sched_yield();
}

LEDGER_UNSEEN static void
ledger_unlock(void)
{
    __atomic_store_n(&ledger_locked, 0, __ATOMIC_RELEASE);
}

/* --- notes; with the lock --- */

LEDGER_UNSEEN static uint32_t *
note_bucket(unsigned char kind, uintptr_t hidden)
{
    uint64_t mixed = (((uint64_t) hidden >> 4) ^ ((uint64_t) hidden << 60) ^ kind) *
                     UINT64_C(0x9e3779b97f4a7c15);

    return &ledger.buckets[(uint32_t) (mixed >> 32) & (ledger.bucket_count - 1)];
}

/* What points to the note, or to the end of its bucket's list. */
LEDGER_UNSEEN static uint32_t *
note_search(unsigned char kind, uintptr_t key)
{
    uint32_t *place = note_bucket(kind, ~key);

    while (*place != 0) {
        const struct note *note = &ledger.notes[*place];

        if (note->hidden == ~key && note->kind == kind)
            break;
        place = &ledger.notes[*place].next;
    }
    return place;
}

LEDGER_UNSEEN static void
buckets_double(void)
{
    ledger.bucket_count *= 2;
    for (uint32_t i = 0; i < ledger.bucket_count; i++)
        ledger.buckets[i] = 0;
    for (uint32_t i = 1; i < ledger.used; i++) {
        struct note *note = &ledger.notes[i];

        if (note->kind != 0) {
            uint32_t *bucket = note_bucket(note->kind, note->hidden);

            note->next = *bucket;
            *bucket = i;
        }
    }
}

/* One that is in no list yet; 0: there is no room. */
LEDGER_UNSEEN static uint32_t
note_take(void)
{
    uint32_t index = ledger.free;

    if (index != 0)
        ledger.free = ledger.notes[index].next;
    else if (ledger.used < NOTES_MAX)
        index = ledger.used++;
    if (index == 0)
        ledger.lost++;
    else
        ledger.count++;
    return index;
}

/* --- for uco --- */

LEDGER_UNSEEN void
uco__ledger_add(enum uco__ledger_kind kind, uintptr_t key, uint64_t size, const char *place)
{
    uint32_t *found;
    uint32_t index;

    ledger_lock();
    /* It may be known: a user's free() or close() tells nobody. */
    found = note_search((unsigned char) kind, key);
    index = *found != 0 ? *found : note_take();
    if (index != 0) {
        struct note *note = &ledger.notes[index];

        note->next = *found != 0 ? note->next : 0;
        note->kind = (unsigned char) kind;
        note->kept = false;
        note->hidden = ~key;
        note->size = size;
        note->place = place;
        note->number = ++ledger.number;
        note->describe = NULL;
        *found = index;
        if (ledger.count > ledger.bucket_count && ledger.bucket_count < BUCKETS_MAX)
            buckets_double();
    }
    ledger_unlock();
}

LEDGER_UNSEEN void
uco__ledger_drop(enum uco__ledger_kind kind, uintptr_t key)
{
    uint32_t *found;
    uint32_t index;

    ledger_lock();
    found = note_search((unsigned char) kind, key);
    index = *found;
    if (index != 0) {
        struct note *note = &ledger.notes[index];

        *found = note->next;
        note->kind = 0;
        note->next = ledger.free;
        ledger.free = index;
        ledger.count--;
    }
    ledger_unlock();
}

LEDGER_UNSEEN void
uco__ledger_keep_block(const void *block)
{
    uint32_t index;

    ledger_lock();
    index = *note_search(UCO__LEDGER_BLOCK, (uintptr_t) block);
    if (index != 0)
        ledger.notes[index].kept = true;
    ledger_unlock();
}

LEDGER_UNSEEN void
uco__ledger_describe_block(const void *block, uco__ledger_describer *describe)
{
    uint32_t index;

    ledger_lock();
    index = *note_search(UCO__LEDGER_BLOCK, (uintptr_t) block);
    if (index != 0)
        ledger.notes[index].describe = describe;
    ledger_unlock();
}

/* The file, as far as the kernel tells: all of its own anonymous kinds share one. */
LEDGER_UNSEEN static uint64_t
fd_file(long fd)
{
    struct stat status = {0};
    int saved = errno;
    int r = fstat((int) fd, &status);

    errno = saved;
    return r == 0 ? ((uint64_t) status.st_dev << 48) ^ (uint64_t) status.st_ino : 0;
}

LEDGER_UNSEEN void
uco__ledger_add_fd(long fd, const char *place)
{
    uco__ledger_add(UCO__LEDGER_FD, (uintptr_t) fd, fd_file(fd), place);
}

/* --- for tests --- */

static void
ledger_leave_to_parent(void)
{
    uco__ledger_end();
    ledger_unlock();
}

/* Between guards, so that the kernel merges it with no mapping that a test counts. */
static int
ledger_reserve(void)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    size_t notes = NOTES_MAX * sizeof *ledger.notes;
    size_t bytes = notes + BUCKETS_MAX * sizeof *ledger.buckets;
    char *map =
        mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED || mprotect(map + page, bytes, PROT_READ | PROT_WRITE) != 0 ||
        pthread_atfork(NULL, NULL, ledger_leave_to_parent) != 0)
        return -ENOMEM;
    ledger.notes = (struct note *) (void *) (map + page);
    ledger.buckets = (uint32_t *) (void *) (map + page + notes);
    return 0;
}

int
uco__ledger_begin(void)
{
    int r = ledger.notes == NULL ? ledger_reserve() : 0;

    if (r < 0)
        return r;
    ledger_lock();
    ledger.bucket_count = BUCKETS_FIRST;
    for (uint32_t i = 0; i < BUCKETS_FIRST; i++)
        ledger.buckets[i] = 0;
    ledger.used = 1;
    ledger.free = 0;
    ledger.count = 0;
    ledger.number = 0;
    ledger.lost = 0;
    ledger_unlock();
    atomic_fetch_or(&uco__faults_set, UCO__LEDGER_ON);
    return 0;
}

void
uco__ledger_end(void)
{
    atomic_fetch_and(&uco__faults_set, ~UCO__LEDGER_ON);
}

uint64_t
uco__ledger_lost(void)
{
    return ledger.lost;
}

size_t
uco__ledger_count(void)
{
    return ledger.count;
}

LEDGER_UNSEEN static struct uco__ledger_note
note_copy(const struct note *note)
{
    return (struct uco__ledger_note){
        .kind = (enum uco__ledger_kind) note->kind,
        .key = ~note->hidden,
        .size = note->size,
        .place = note->place,
        .number = note->number,
        .describe = note->describe,
    };
}

LEDGER_UNSEEN void
uco__ledger_each(void (*look)(const struct uco__ledger_note *note, void *arg), void *arg)
{
    for (uint32_t i = 1; i < ledger.used; i++) {
        const struct note *note = &ledger.notes[i];

        if ((note->kind == UCO__LEDGER_BLOCK || note->kind == UCO__LEDGER_MAP) && !note->kept) {
            struct uco__ledger_note copy = note_copy(note);

            look(&copy, arg);
        }
    }
}

LEDGER_UNSEEN bool
uco__ledger_find(enum uco__ledger_kind kind, uintptr_t key, struct uco__ledger_note *note)
{
    uint32_t index;

    ledger_lock();
    index = ledger.notes != NULL ? *note_search((unsigned char) kind, key) : 0;
    if (index != 0)
        *note = note_copy(&ledger.notes[index]);
    ledger_unlock();
    return index != 0;
}

bool
uco__ledger_find_fd(int fd, struct uco__ledger_note *note)
{
    return uco__ledger_find(UCO__LEDGER_FD, (uintptr_t) fd, note) && note->size == fd_file(fd);
}
