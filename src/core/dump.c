/* SPDX-License-Identifier: MIT */

/*
 * The writer of dumps.
 *
 * 1. Nothing here allocates, locks or uses stdio: it runs in signal handlers, also in one that has
 *    interrupted malloc().
 * 2. Only what the dump itself has is read by a load; all else by uco__dump_read().
 */

#include "core/dump.h"

#include "core/loop.h"

#include <string.h>

#define STRING_CHUNK ((size_t) 64)
#define NUMBER_MAX 24 /* characters */

void
uco__dump_init(struct uco__dump *dump, const struct uco_loop *loop, int fd, bool foreign)
{
    /* Not all of it: the buffer is large. */
    dump->fd = fd;
    dump->error = 0;
    uco__peek_init(&dump->peek, foreign);
    dump->loop = loop;
    dump->now = 0;
    if (loop->options.clock == UCO_CLOCK_REAL)
        dump->now = uco__clock_real();
    else
        UCO__DUMP_GET(dump, &dump->now, &loop->virtual_now);
    dump->silent = false;
    dump->edge_wanted = 0;
    dump->edges = 0;
    dump->edge = NULL;
    dump->used = 0;
}

static void
dump_flush(struct uco__dump *dump)
{
    if (dump->error == 0)
        dump->error = uco__write_all(dump->fd, dump->buffer, dump->used);
    dump->used = 0;
}

int
uco__dump_end(struct uco__dump *dump)
{
    if (dump->fd == UCO__DUMP_MEMORY)
        dump->buffer[dump->used] = '\0';
    else if (dump->used > 0)
        dump_flush(dump);
    return dump->error;
}

static void
dump_character(struct uco__dump *dump, char character)
{
    if (dump->silent)
        return;
    if (dump->used == sizeof dump->buffer - 1) {
        if (dump->fd == UCO__DUMP_MEMORY)
            return;
        dump_flush(dump);
    }
    dump->buffer[dump->used++] = character;
}

void
uco__dump_text(struct uco__dump *dump, const char *text)
{
    for (; *text != '\0'; text++)
        dump_character(dump, *text);
}

bool
uco__dump_read(struct uco__dump *dump, void *to, const void *from, size_t size)
{
    return uco__peek(&dump->peek, to, from, size);
}

/* Control characters would make one line of a dump look like two, or a terminal do things. */
static char
character_shown(char character)
{
    unsigned char value = (unsigned char) character;

    return value < ' ' || value == 0x7f ? '?' : character;
}

bool
uco__dump_string(struct uco__dump *dump, const char *string)
{
    char chunk[STRING_CHUNK];

    if (dump->silent)
        return true;
    for (size_t done = 0; done < UCO__DUMP_STRING_MAX;) {
        /* Where each read is a system call, up to an aligned place: what comes after the string's
         * end may be another page. */
        size_t size =
            dump->peek.foreign ? STRING_CHUNK - ((uintptr_t) string + done) % STRING_CHUNK : 1;

        if (!uco__dump_read(dump, chunk, string + done, size))
            return done > 0;
        for (size_t i = 0; i < size; i++) {
            if (chunk[i] == '\0')
                return true;
            dump_character(dump, character_shown(chunk[i]));
        }
        done += size;
    }
    uco__dump_text(dump, "...");
    return true;
}

void
uco__dump_number(struct uco__dump *dump, uint64_t number)
{
    char digits[NUMBER_MAX];
    size_t i = sizeof digits;

    digits[--i] = '\0';
    do {
        digits[--i] = (char) ('0' + number % 10);
        number /= 10;
    } while (number > 0);
    uco__dump_text(dump, &digits[i]);
}

void
uco__dump_tenths(struct uco__dump *dump, uint64_t tenths)
{
    const char fraction[] = {'.', (char) ('0' + tenths % 10), '\0'};

    uco__dump_number(dump, tenths / 10);
    uco__dump_text(dump, fraction);
}

void
uco__dump_address(struct uco__dump *dump, const void *address)
{
    uintptr_t rest = (uintptr_t) address;
    char digits[NUMBER_MAX];
    size_t i = sizeof digits;

    digits[--i] = '\0';
    do {
        digits[--i] = "0123456789abcdef"[rest % 16];
        rest /= 16;
    } while (rest > 0);
    uco__dump_text(dump, "0x");
    uco__dump_text(dump, &digits[i]);
}

/* Cut, not rounded: what has lasted 0.99 s has not lasted a second. */
void
uco__dump_time(struct uco__dump *dump, uint64_t ns)
{
    uint64_t milliseconds = ns / UCO__MILLISECOND;
    char fraction[] = ".000";

    uco__dump_number(dump, milliseconds / 1000);
    fraction[1] = (char) ('0' + milliseconds / 100 % 10);
    fraction[2] = (char) ('0' + milliseconds / 10 % 10);
    fraction[3] = (char) ('0' + milliseconds % 10);
    uco__dump_text(dump, fraction);
    uco__dump_text(dump, " s");
}

bool
uco__dump_time_until(struct uco__dump *dump, uint64_t deadline)
{
    if (deadline == UCO__NEVER)
        return false;
    uco__dump_time(dump, deadline > dump->now ? deadline - dump->now : 0);
    return true;
}

void
uco__dump_limit(struct uco__dump *dump, const struct uco__timer *timer)
{
    struct uco__timer copy;

    /* A node that is in no list points to itself; the copy, to the original. */
    if (!UCO__DUMP_GET(dump, &copy, timer) || copy.node.link.next == &timer->node.link)
        return;
    uco__dump_text(dump, ", at most ");
    uco__dump_time_until(dump, copy.node.deadline);
    uco__dump_text(dump, " more");
}

void
uco__dump_wait(struct uco__dump *dump, const struct uco__wait *wait,
               const struct uco__wait_kind *kind)
{
    struct uco__wait_kind copy;

    /* What lies in a frame that was overwritten must not be called. */
    if (!UCO__DUMP_GET(dump, &copy, kind) || copy.self != kind) {
        uco__dump_text(dump, UCO__DUMP_UNREADABLE);
        return;
    }
    if (copy.describe == NULL || !copy.describe(dump, wait))
        uco__dump_string(dump, copy.text);
}
