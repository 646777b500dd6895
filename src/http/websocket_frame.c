/* SPDX-License-Identifier: MIT */

/* WebSocket frames. What a server may not send is refused here as soon as it can be seen. */

#include "http/websocket_frame.h"

#include <errno.h>
#include <string.h>

#define FINAL 0x80
#define RESERVED 0x70
#define OPCODE 0x0f
#define MASKED 0x80
#define SIZE 0x7f
#define SIZE_16 126 /* in place of a size: it follows, in so many bits */
#define SIZE_64 127

/* --- headers --- */

static bool
opcode_valid(unsigned opcode)
{
    return opcode <= UCO__WEBSOCKET_BINARY ||
           (opcode >= UCO__WEBSOCKET_CLOSE && opcode <= UCO__WEBSOCKET_PONG);
}

static uint64_t
number_read(const unsigned char *data, size_t size)
{
    uint64_t number = 0;

    while (size-- > 0)
        number = number << 8 | *data++;
    return number;
}

/* The least that may be written in this many bytes. */
static uint64_t
size_least(size_t bytes)
{
    return bytes == 2 ? SIZE_16 : bytes == 8 ? UINT64_C(0x10000) : 0;
}

int
uco__websocket_header_read(struct uco__websocket_header *header, const char *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *) data;
    size_t extended;

    if (size < 1)
        return 0;
    if ((bytes[0] & RESERVED) != 0 || !opcode_valid(bytes[0] & OPCODE))
        return -EPROTO;
    header->opcode = (enum uco__websocket_opcode)(bytes[0] & OPCODE);
    header->final = (bytes[0] & FINAL) != 0;
    if (uco__websocket_is_control(header->opcode) && !header->final)
        return -EPROTO;
    if (size < 2)
        return 0;
    header->size = bytes[1] & SIZE;
    if ((bytes[1] & MASKED) != 0 ||
        (uco__websocket_is_control(header->opcode) && header->size > UCO__WEBSOCKET_CONTROL_MAX))
        return -EPROTO;
    extended = header->size == SIZE_64 ? 8 : header->size == SIZE_16 ? 2 : 0;
    if (size < 2 + extended)
        return 0;
    if (extended > 0)
        header->size = number_read(bytes + 2, extended);
    if (header->size < size_least(extended) || header->size > INT64_MAX)
        return -EPROTO;
    return (int) (2 + extended);
}

size_t
uco__websocket_header_write(unsigned char to[UCO__WEBSOCKET_HEADER_MAX],
                            const struct uco__websocket_header *header,
                            const unsigned char mask[UCO__WEBSOCKET_MASK_SIZE])
{
    size_t extended = header->size >= size_least(8) ? 8 : header->size >= size_least(2) ? 2 : 0;
    unsigned size = extended == 8 ? SIZE_64 : extended == 2 ? SIZE_16 : (unsigned) header->size;

    to[0] = (unsigned char) ((header->final ? FINAL : 0) | header->opcode);
    to[1] = (unsigned char) (MASKED | size);
    for (size_t i = 0; i < extended; i++)
        to[2 + i] = (unsigned char) (header->size >> (8 * (extended - 1 - i)));
    memcpy(to + 2 + extended, mask, UCO__WEBSOCKET_MASK_SIZE);
    return 2 + extended + UCO__WEBSOCKET_MASK_SIZE;
}

void
uco__websocket_mask(char *to, const char *from, size_t size,
                    const unsigned char mask[UCO__WEBSOCKET_MASK_SIZE], uint64_t offset)
{
    unsigned char turned[8];
    uint64_t eight, word;
    size_t i = 0;

    for (size_t k = 0; k < sizeof turned; k++)
        turned[k] = mask[(offset + k) % UCO__WEBSOCKET_MASK_SIZE];
    memcpy(&eight, turned, sizeof eight);
    for (; size - i >= sizeof word; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= eight;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < size; i++)
        to[i] = (char) ((unsigned char) from[i] ^ turned[i % sizeof turned]);
}

/* --- what frames say --- */

bool
uco__websocket_code_valid(unsigned code)
{
    if (code >= 3000)
        return code < 5000; /* libraries', frameworks' and programs' own */
    /* 1004 means nothing; 1005, 1006 and 1015 are for those who tell that there was no code. */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/* How many bytes follow one that begins a character, and what the first of them may be; -1: it
 * begins none. */
static int
utf8_follow(unsigned char first, unsigned char *least, unsigned char *most)
{
    *least = first == 0xe0   ? 0xa0
             : first == 0xf0 ? 0x90
                             : 0x80;                            /* else it is longer than it must */
    *most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf; /* surrogates; the last one */
    if (first < 0x80)
        return 0;
    if (first < 0xc2 || first > 0xf4)
        return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

bool
uco__websocket_is_utf8(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *) text;
    size_t i = 0;

    while (i < size) {
        unsigned char least, most;
        int follow = utf8_follow(bytes[i++], &least, &most);

        if (follow < 0 || (size_t) follow > size - i)
            return false;
        for (; follow > 0; follow--, i++) {
            if (bytes[i] < least || bytes[i] > most)
                return false;
            least = 0x80;
            most = 0xbf;
        }
    }
    return true;
}
