/* SPDX-License-Identifier: MIT */
#ifndef UCO_BASE_LEDGER_H
#define UCO_BASE_LEDGER_H

/*
 * What uco has taken from the system and not given back: memory, mappings, file descriptors and
 * threads, each with the place that took it. For tests, which begin it and ask at the end what is
 * left. While nobody has begun it, it costs the one load that asks for faults.
 */

#include "base/compiler.h"
#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UCO__TEXT(token) UCO__TEXT_OF(token)
#define UCO__TEXT_OF(token) #token

/* Where the program is: what the allocating macros of base/system.h note. */
#define UCO__PLACE __FILE__ ":" UCO__TEXT(__LINE__)

enum uco__ledger_kind {
    UCO__LEDGER_BLOCK = 1,
    UCO__LEDGER_MAP,
    UCO__LEDGER_FD,
    UCO__LEDGER_THREAD,
};

/* Writes into `text` what a block that is left contains: lines, each ended by a line feed. Called
 * with the ledger ended, while nobody else uses the block. */
typedef void uco__ledger_describer(const void *block, char *text, size_t size);

struct uco__ledger_note {
    enum uco__ledger_kind kind;
    uintptr_t key; /* an address, an fd, or the kernel's number of a thread */
    uint64_t size; /* bytes; of an fd, what tells its file from others */
    const char *place;
    uint64_t number;                 /* 1 is what was noted first */
    uco__ledger_describer *describe; /* NULL: nothing is to be said */
};

static inline bool
uco__ledger_is_on(void)
{
    /* Relaxed: as for faults. */
    return UCO__UNLIKELY(
        (atomic_load_explicit(&uco__faults_set, memory_order_relaxed) & UCO__LEDGER_ON) != 0);
}

/* --- for uco: any thread --- */

UCO__EXPORT void uco__ledger_add(enum uco__ledger_kind kind, uintptr_t key, uint64_t size,
                                 const char *place);
/* Before it is given back: afterwards another thread may have got the same one already. */
UCO__EXPORT void uco__ledger_drop(enum uco__ledger_kind kind, uintptr_t key);
UCO__EXPORT void uco__ledger_keep_block(const void *block);
UCO__EXPORT void uco__ledger_describe_block(const void *block, uco__ledger_describer *describe);
UCO__EXPORT void uco__ledger_add_fd(long fd, const char *place);

/* The block stays until the process ends. Say why, where this is called. */
static inline void
uco__ledger_keep(const void *block)
{
    if (uco__ledger_is_on())
        uco__ledger_keep_block(block);
}

/* The block is the user's from now on, who gives it back by free(). */
static inline void
uco__ledger_hand_over(const void *block)
{
    if (uco__ledger_is_on() && block != NULL)
        uco__ledger_drop(UCO__LEDGER_BLOCK, (uintptr_t) block);
}

/* Should the block be left, this can say more of it than its size. */
static inline void
uco__ledger_describe(const void *block, uco__ledger_describer *describe)
{
    if (uco__ledger_is_on())
        uco__ledger_describe_block(block, describe);
}

/* The result of a call that makes an fd, as it is. */
static inline long
uco__ledger_fd(long fd, const char *place)
{
    if (uco__ledger_is_on() && fd >= 0)
        uco__ledger_add_fd(fd, place);
    return fd;
}

/* --- for tests --- */

/* Forgets all, and notes from here on; not in a child of fork(). 0, or -ENOMEM. */
int uco__ledger_begin(void);
/* Notes nothing any more. What is there can be looked at until it begins again. */
void uco__ledger_end(void);
/* How much could not be noted, for want of room. */
uint64_t uco__ledger_lost(void);
/* How many notes there are, also of what is kept. */
size_t uco__ledger_count(void);
/* The blocks and mappings that are left and not kept, the oldest first or nearly so. */
void uco__ledger_each(void (*look)(const struct uco__ledger_note *note, void *arg), void *arg);
/* Of a thing that there is, as the caller knows: whether uco has made it. */
bool uco__ledger_find(enum uco__ledger_kind kind, uintptr_t key, struct uco__ledger_note *note);
bool uco__ledger_find_fd(int fd, struct uco__ledger_note *note);

#endif
