/* SPDX-License-Identifier: MIT */

/*
 * Headers.
 *
 * 1. They are pairs of strings: names without colon, values without the white space around them. A
 *    value that was folded over several lines is one string, in which a space stands for each fold.
 * 2. Names are never empty, and have neither white space nor control characters. A line that cannot
 *    be a header is passed over, with the lines that continue it: servers send such lines, and
 *    nobody can ask for them.
 * 3. There is no NUL, since nobody would see what is behind it, and a CR within a value became a
 *    space, as RFC 9110 (5.5) has it. Other control characters are kept.
 * 4. A line is copied as it came, its name with the value behind it; zero bytes end both.
 * 5. Once sealed, only `received` changes.
 * 6. All lines of one request's answers, those of "100 Continue" and trailers too, have LINES_MAX
 *    bytes at most, and a head HEADERS_MAX headers. More is an error and not cut off: what is
 *    missing would be missed in silence. curl has limits of its own, which are lower or higher
 *    from version to version.
 *
 * The index is there for finding: with HEADERS_MAX headers of LINES_MAX bytes, asking for each of
 * them by its name and number is 8 million comparisons of hashes, and would be gigabytes of text.
 */

#include "http/headers.h"

#include "http/block.h"

#include <string.h>

#define LINES_MAX ((size_t) 1024 * 1024) /* bytes */
#define HEADERS_MAX ((size_t) 4096)
#define TEXT_FIRST ((size_t) 512)                          /* bytes: most heads fit in */
#define INDEX_FIRST (16 * sizeof(struct uco__http_header)) /* the same */

void
uco__http_headers_reset(struct uco__http_headers *headers)
{
    headers->size = 0;
    headers->count = 0;
    headers->received = 0;
    headers->begun = false;
    headers->whole = false;
    headers->sealed = false;
    headers->foldable = false;
}

void
uco__http_headers_done(struct uco__http_headers *headers)
{
    uco__free(headers->text);
    uco__free(headers->index);
    *headers = (struct uco__http_headers){0};
}

void
uco__http_headers_seal(struct uco__http_headers *headers)
{
    headers->sealed = true;
}

/* --- characters: the locale has no say in them --- */

/* A CR counts, since it is to be none. */
static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* What a name may have. */
static const bool of_name[256] = {
    ['!' ... '9'] = true,
    [';' ... '~'] = true,
    [0x80 ... 0xff] = true,
};

static unsigned char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char) (c - 'A' + 'a') : (unsigned char) c;
}

static bool
name_is(const char *one, const char *other)
{
    while (lower(*one) == lower(*other)) {
        if (*one == '\0')
            return true;
        one++;
        other++;
    }
    return false;
}

/* FNV-1a of a name as far as it goes, and how far that is. Bits that tell letters' cases apart do
 * not count; that makes a few other characters the same, too, which who compares the names sees. */
static uint32_t
name_hash(const char *name, size_t size, size_t *length)
{
    const unsigned char *at = (const unsigned char *) name;
    const unsigned char *end = at + size;
    uint32_t hash = UINT32_C(2166136261);

    for (; at < end && of_name[*at]; at++)
        hash = (hash ^ (*at | 0x20u)) * UINT32_C(16777619);
    *length = (size_t) (at - (const unsigned char *) name);
    return hash;
}

/* --- adding --- */

static void
trim(const char **text, size_t *size)
{
    while (*size > 0 && is_blank((*text)[*size - 1]))
        --*size;
    while (*size > 0 && is_blank(**text)) {
        ++*text;
        --*size;
    }
}

/* Room for so many bytes more of text. */
static int
text_reserve(struct uco__http_headers *headers, size_t size)
{
    size_t needed = headers->size + size;

    if (needed <= headers->capacity)
        return 0;
    return uco__http_block_grow(&headers->text, &headers->capacity,
                                needed > TEXT_FIRST ? needed : TEXT_FIRST);
}

static int
index_reserve(struct uco__http_headers *headers)
{
    size_t needed = (headers->count + 1) * sizeof *headers->index;
    char *block = (char *) headers->index;
    int r;

    if (needed <= headers->index_capacity)
        return 0;
    r = uco__http_block_grow(&block, &headers->index_capacity,
                             needed > INDEX_FIRST ? needed : INDEX_FIRST);
    headers->index = (struct uco__http_header *) (void *) block;
    return r;
}

/* A string, for which there is room; each CR from `from` on becomes a space. */
static void
text_put(struct uco__http_headers *headers, const char *text, size_t size, size_t from)
{
    char *at = headers->text + headers->size;
    char *end = at + size;

    memcpy(at, text, size);
    *end = '\0';
    headers->size += size + 1;
    at += from;
    while ((at = memchr(at, '\r', (size_t) (end - at))) != NULL)
        *at++ = ' ';
}

/* "name: value". */
static int
headers_add(struct uco__http_headers *headers, const char *line, size_t size)
{
    size_t name_size, value;
    uint32_t hash = name_hash(line, size, &name_size);
    int r;

    headers->foldable = false;
    /* White space before the colon is against the rules, but means nothing else. */
    for (value = name_size; value < size && is_blank(line[value]);)
        value++;
    if (name_size == 0 || value == size || line[value] != ':')
        return 0;
    for (value++; value < size && is_blank(line[value]);)
        value++;
    while (size > value && is_blank(line[size - 1]))
        size--;
    if (headers->count == HEADERS_MAX)
        return -EPROTO;
    r = text_reserve(headers, size + 1);
    if (r == 0)
        r = index_reserve(headers);
    if (r < 0)
        return r;
    headers->index[headers->count++] = (struct uco__http_header){
        .name = (uint32_t) headers->size,
        .value = (uint32_t) (headers->size + value),
        .hash = hash,
    };
    headers->foldable = true;
    text_put(headers, line, size, value);
    headers->text[headers->index[headers->count - 1].name + name_size] = '\0';
    return 0;
}

/* The rest of the value before it, which is the last of the text. */
static int
headers_fold(struct uco__http_headers *headers, const char *line, size_t size)
{
    int r;

    trim(&line, &size);
    if (!headers->foldable || size == 0)
        return 0;
    r = text_reserve(headers, size + 1);
    if (r < 0)
        return r;
    if (headers->index[headers->count - 1].value == headers->size - 1)
        headers->size--; /* nothing came before, so it is no rest */
    else
        headers->text[headers->size - 1] = ' ';
    text_put(headers, line, size, 0);
    return 0;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_status_line(const char *line, size_t size)
{
    return size >= 5 && memcmp(line, "HTTP/", 5) == 0;
}

/* A version of one or two digits, and a status of three. curl is content with less, and would make
 * a status of 4 from "HTTP/204". */
static bool
status_line_valid(const char *line, size_t size)
{
    size_t at = 5;

    if (at == size || !is_digit(line[at++]))
        return false;
    if (size - at >= 2 && line[at] == '.' && is_digit(line[at + 1]))
        at += 2;
    if (at == size || line[at] != ' ')
        return false;
    while (at < size && line[at] == ' ')
        at++;
    return size - at >= 3 && line[at] != '0' && is_digit(line[at]) && is_digit(line[at + 1]) &&
           is_digit(line[at + 2]) && (size - at == 3 || !is_digit(line[at + 3]));
}

static void
headers_begin(struct uco__http_headers *headers)
{
    size_t received = headers->received;

    uco__http_headers_reset(headers);
    headers->received = received;
    headers->begun = true;
}

int
uco__http_headers_add_line(struct uco__http_headers *headers, const char *line, size_t size)
{
    if (size > LINES_MAX - headers->received)
        return -EPROTO;
    headers->received += size;
    if (headers->sealed)
        return 0;
    if (size > 0 && memchr(line, '\0', size) != NULL)
        return -EPROTO;
    /* After an answer of 100 to 199 another follows, and after one that asks for a login. */
    if (!headers->begun || headers->whole) {
        if (!is_status_line(line, size))
            return headers->begun ? 0 : -EPROTO;
        if (!status_line_valid(line, size))
            return -EPROTO;
        headers_begin(headers);
        return 0;
    }
    /* To curl, too, a line that begins with a CR is the end, whatever it goes on with. */
    if (size == 0 || line[0] == '\r' || line[0] == '\n') {
        headers->whole = true;
        return 0;
    }
    if (line[size - 1] == '\n')
        size--;
    return is_blank(line[0]) ? headers_fold(headers, line, size) : headers_add(headers, line, size);
}

/* --- finding --- */

bool
uco__http_headers_next(const struct uco__http_headers *headers, size_t *position, const char **name,
                       const char **value)
{
    const struct uco__http_header *header;

    if (*position >= headers->count)
        return false;
    header = &headers->index[(*position)++];
    *name = headers->text + header->name;
    *value = headers->text + header->value;
    return true;
}

const char *
uco__http_headers_find(const struct uco__http_headers *headers, const char *name, size_t index)
{
    size_t size = strlen(name), length;
    uint32_t hash = name_hash(name, size, &length);

    if (length < size) /* nobody's name */
        return NULL;

    for (size_t i = 0; i < headers->count; i++) {
        const struct uco__http_header *header = &headers->index[i];

        if (header->hash == hash && name_is(headers->text + header->name, name) && index-- == 0)
            return headers->text + header->value;
    }
    return NULL;
}
