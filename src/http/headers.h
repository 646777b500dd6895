/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_HEADERS_H
#define UCO_HTTP_HEADERS_H

/* The head of a response: its headers, in the order in which they came. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where one is in the text, and a hash of its name in lower case. */
struct uco__http_header {
    uint32_t name;
    uint32_t value;
    uint32_t hash;
};

struct uco__http_headers {
    char *text; /* lines "name: value", with a zero byte behind each of both */
    size_t size;
    size_t capacity;
    struct uco__http_header *index;
    size_t count;
    size_t index_capacity; /* bytes */
    size_t received;       /* bytes of lines, whether they were kept or not */
    bool begun;            /* a status line has come */
    bool whole;            /* and the empty line after its headers */
    bool sealed;           /* it is the user's: nothing changes any more */
    bool foldable;         /* the last line was kept, so the next may continue it */
};

/* Empties it for another request's answer. */
void uco__http_headers_reset(struct uco__http_headers *headers);
void uco__http_headers_done(struct uco__http_headers *headers);

/* A line of the head as it came; another status line begins anew, once a head is whole. 0, -ENOMEM,
 * -EPROTO (not of a head, or too much). */
int uco__http_headers_add_line(struct uco__http_headers *headers, const char *line, size_t size);
/* This head is the answer's, and what it has is lent to the user: lines that follow, as those after
 * a chunked body, change nothing. */
void uco__http_headers_seal(struct uco__http_headers *headers);

/* The value of the name's index-th header; NULL: there is none. */
const char *uco__http_headers_find(const struct uco__http_headers *headers, const char *name,
                                   size_t index);
/* The next one: moves *position, which is 0 at first, on. */
bool uco__http_headers_next(const struct uco__http_headers *headers, size_t *position,
                            const char **name, const char **value);

#endif
