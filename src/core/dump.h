/* SPDX-License-Identifier: MIT */
#ifndef UCO_CORE_DUMP_H
#define UCO_CORE_DUMP_H

/*
 * Writing a dump: text to an fd from a signal handler, without memory of its own and without
 * trusting the memory that it tells of.
 *
 * What a task waits for is told by the layer whose wait it is (struct uco__wait_kind). That reads
 * all it needs by uco__dump_read(), also what it has a pointer to: a copy, or nothing.
 */

#include "base/compiler.h"
#include "base/safely.h"
#include "core/scheduler.h"
#include "core/timers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UCO__DUMP_BUFFER 2048
#define UCO__DUMP_STRING_MAX 256 /* bytes of a text of the user's */
#define UCO__DUMP_UNREADABLE                                                                       \
    "something that cannot be read (its memory is damaged, or just being changed)"
#define UCO__DUMP_MEMORY (-2) /* instead of an fd: what fits stays in the buffer */

struct uco__dump {
    int fd;
    int error; /* of a write; the rest is dropped then */
    struct uco__peek peek;
    const struct uco_loop *loop;
    uint64_t now; /* of the loop's clock */
    /* Of a search for cycles: nothing is written. */
    bool silent;
    unsigned edge_wanted; /* the number of the one that is asked for */
    unsigned edges;       /* counted so far */
    const void *edge;     /* that one: a task */
    size_t used;
    char buffer[UCO__DUMP_BUFFER];
};

/* `foreign`: another thread may run the loop meanwhile. */
void uco__dump_init(struct uco__dump *dump, const struct uco_loop *loop, int fd, bool foreign);
/* Writes what is left: 0, or the first error. In memory: ends the text. */
int uco__dump_end(struct uco__dump *dump);

/* A constant text. */
UCO__EXPORT void uco__dump_text(struct uco__dump *dump, const char *text);
/* A text that may not be there: true if it was. What cannot be printed becomes a question mark. */
UCO__EXPORT bool uco__dump_string(struct uco__dump *dump, const char *string);
UCO__EXPORT void uco__dump_number(struct uco__dump *dump, uint64_t number);
/* A number of tenths, as "2.5". */
UCO__EXPORT void uco__dump_tenths(struct uco__dump *dump, uint64_t tenths);
UCO__EXPORT void uco__dump_address(struct uco__dump *dump, const void *address);
/* "2.5 s". */
UCO__EXPORT void uco__dump_time(struct uco__dump *dump, uint64_t ns);
/* The same until a moment of the loop's clock; nothing and false when that is never. */
UCO__EXPORT bool uco__dump_time_until(struct uco__dump *dump, uint64_t deadline);

/* ", at most 2.5 s more" for a timer that is pending. */
UCO__EXPORT void uco__dump_limit(struct uco__dump *dump, const struct uco__timer *timer);

/* A copy of what lies at `from`; false if that cannot be read. */
UCO__EXPORT bool uco__dump_read(struct uco__dump *dump, void *to, const void *from, size_t size);

/* UCO__CONTAINER() of what is only looked at. */
#define UCO__DUMP_AROUND(pointer, type, member)                                                    \
    ((const type *) ((uintptr_t) (pointer) -offsetof(type, member)))
/* A copy of the struct, of this type, whose member the wait is; and of a variable elsewhere. */
#define UCO__DUMP_READ_AROUND(dump, to, wait, type, member)                                        \
    uco__dump_read((dump), (to), UCO__DUMP_AROUND(wait, type, member), sizeof(type))
#define UCO__DUMP_GET(dump, to, from) uco__dump_read((dump), (to), (from), sizeof *(to))

/* What the wait is for; `wait` is not trusted. */
void uco__dump_wait(struct uco__dump *dump, const struct uco__wait *wait,
                    const struct uco__wait_kind *kind);

#endif
